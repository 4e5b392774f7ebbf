"""What a unit is worth: one small function each."""

import torch
import torch.nn.functional as F

from .registry import unit_criterion


@unit_criterion
def norm(weight):
    """l2 norm of a unit's row, [units] (000, section 3.1: magnitude pruning).

    >>> import torch
    >>> from pruning_lab import criteria
    >>> criteria.norm(torch.tensor([[3.0, 4.0], [0.0, 1.0]])).tolist()
    [5.0, 1.0]
    """
    return weight.flatten(1).norm(dim=1)


@unit_criterion
def frame_potential(weight):
    """Squared cosines between units, [units, units]; a row sum is the unit's share of the frame potential (000, 3.1).

    Blind to a row's norm and, being squared, to its sign: opposite rows count as alike. A zero row has cosine 0
    with every row, itself included.

    >>> import torch
    >>> from pruning_lab import criteria
    >>> criteria.frame_potential(torch.tensor([[2.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])).tolist()
    [[1.0, 0.0, 1.0], [0.0, 1.0, 0.0], [1.0, 0.0, 1.0]]
    """
    rows = F.normalize(weight.flatten(1), dim=1, eps=torch.finfo(weight.dtype).tiny)
    return (rows @ rows.T).square()


@unit_criterion
def random(noise):
    """A seeded random order, [units] (000, section 3.1: random pruning).

    >>> import torch
    >>> from pruning_lab import criteria, models, units
    >>> criteria.random(torch.tensor([0.25, 0.75])).tolist()
    [0.25, 0.75]
    >>> net = models.build("mlp", (1, 8, 8), width=4)
    >>> units.order(net, "fc1", "random", seed=1).equal(units.order(net, "fc1", "random", seed=1))
    True
    """
    return noise


@unit_criterion(ours=True)
def frame_potential_raw(weight):
    """Ours: the frame potential of rows that are not normalised, [units, units]: squared inner products.

    >>> import torch
    >>> from pruning_lab import criteria
    >>> criteria.frame_potential_raw(torch.tensor([[2.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])).tolist()
    [[16.0, 0.0, 4.0], [0.0, 1.0, 0.0], [4.0, 0.0, 1.0]]
    """
    rows = weight.flatten(1)
    return (rows @ rows.T).square()


@unit_criterion(ours=True)
def inner_product(weight):
    """Ours: inner products of rows, signed, neither normalised nor squared, [units, units]: the row sum is a unit's
    inner product with the sum of all rows still there, and opposite rows cancel.

    >>> import torch
    >>> from pruning_lab import criteria
    >>> criteria.inner_product(torch.tensor([[2.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])).sum(1).tolist()
    [2.0, 1.0, -1.0]
    """
    rows = weight.flatten(1)
    return rows @ rows.T


@unit_criterion(ours=True)
def activation(activation):
    """Ours: mean absolute activation over images and positions, [units].

    >>> import torch
    >>> from pruning_lab import criteria
    >>> criteria.activation(torch.tensor([[[1.0, -3.0], [0.0, 0.0]]])).tolist()  # one image, two units, two positions
    [2.0, 0.0]
    """
    return activation.abs().mean((0, 2))


@unit_criterion(ours=True)
def taylor(activation, activation_gradient):
    """Ours: first-order change of an image's loss when the unit goes, |sum over positions of activation x gradient|,
    mean over images, [units] (Molchanov et al. 2017, section 2.2; their mean over positions is a constant apart).

    >>> import torch
    >>> from pruning_lab import criteria
    >>> activation = torch.tensor([[[1.0, 2.0], [3.0, 0.0]]])  # one image, two units, two positions
    >>> criteria.taylor(activation, torch.tensor([[[1.0, -1.0], [0.5, 9.0]]])).tolist()
    [1.0, 1.5]
    """
    return (activation * activation_gradient).sum(2).abs().mean(0)
