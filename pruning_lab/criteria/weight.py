"""What a single weight is worth: one small function each, in the shape of what it reads.

`gradient` and `diff` stand for all samples: the mean of their gradients, and the mean of their gradients' signs.
"""

from torch import Tensor

from .registry import weight_criterion


@weight_criterion
def magnitude(weight):
    """Absolute value of each weight, in the shape of `weight`.

    >>> import torch
    >>> from pruning_lab import criteria
    >>> criteria.magnitude(torch.tensor([[0.5, -1.0]])).tolist()
    [[0.5, 1.0]]
    """
    return weight.abs()


@weight_criterion
def diff(diff: Tensor) -> Tensor:
    """How far the samples' gradients agree in sign, |mean sign|, in [0, 1], in the shape of `diff` (003, sections 3.1
    and 5.3).

    >>> import torch
    >>> from pruning_lab import criteria
    >>> criteria.diff(torch.tensor([[0.5, -1.0]])).tolist()
    [[0.5, 1.0]]
    """
    return diff.abs()


@weight_criterion
def random(noise: Tensor) -> Tensor:
    """A seeded random order, in the shape of `noise` (003, section 5.3).

    >>> import torch
    >>> from pruning_lab import criteria
    >>> criteria.WEIGHT["random"](torch.tensor([[0.25, 0.75]])).tolist()
    [[0.25, 0.75]]
    """
    return noise


@weight_criterion(ours=True)
def gradient(gradient: Tensor) -> Tensor:
    """Ours: absolute value of the mean gradient, in the shape of `gradient`.

    >>> import torch
    >>> from pruning_lab import criteria
    >>> criteria.gradient(torch.tensor([[0.5, -1.0]])).tolist()
    [[0.5, 1.0]]
    """
    return gradient.abs()


@weight_criterion(ours=True)
def weight_taylor(weight: Tensor, gradient: Tensor) -> Tensor:
    """Ours: first-order change of the mean loss when the weight goes, |weight x mean gradient|, in the shape of
    `weight` (Lee et al. 2019, section 4.1).

    Not called `taylor`: a name reads the same for units and for weights.

    >>> import torch
    >>> from pruning_lab import criteria
    >>> criteria.weight_taylor(torch.tensor([[2.0, -1.0]]), torch.tensor([[0.5, 3.0]])).tolist()
    [[1.0, 3.0]]
    """
    return (weight * gradient).abs()
