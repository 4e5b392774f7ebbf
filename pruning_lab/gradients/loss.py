"""The loss of each sample: cross-entropy, or a function that a reader brings."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from ..samples import check_logits

Loss = Callable[[object, Tensor], Tensor]


def cross_entropy(outputs: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of each sample, [n], from logits [n, classes] and labels [n].

    By how far the true class is ahead: where it is sure, p - 1 would be rounded to zero, and its gradient's sign with
    it.

    >>> import math
    >>> import torch
    >>> from pruning_lab import gradients
    >>> gradients.cross_entropy(torch.zeros(2, 4), torch.tensor([0, 3])).allclose(torch.tensor(math.log(4.0)))
    True
    """
    if labels.is_floating_point():
        return F.cross_entropy(outputs, labels, reduction="none")
    true = labels.long()[:, None]
    others = outputs.scatter(1, true, -torch.inf).logsumexp(1)
    return F.softplus(others - outputs.gather(1, true)[:, 0])


def losses(loss, out, y, which):
    """One finite loss a sample, [n]."""
    if loss is cross_entropy:
        check_logits(out, y, shares=True, otherwise="; for anything else name a loss of your own (loss=...)")
    found = loss(out, y)
    if not isinstance(found, Tensor) or found.shape != (len(y),):
        shape = list(found.shape) if isinstance(found, Tensor) else type(found).__name__
        raise ValueError(
            f"the loss gives {shape} for {len(y)} samples: expected one number a sample, [{len(y)}] (reduction='none')"
        )
    if not found.isfinite().all():
        bad = int((~found.isfinite()).sum())
        raise ValueError(
            f"the loss of {bad} of {which} is not finite: check inputs and weights for NaN, or train with a lower rate"
        )
    if not found.requires_grad:
        raise ValueError("the loss depends on no parameter that requires a gradient: unfreeze some, or check the loss")
    return found
