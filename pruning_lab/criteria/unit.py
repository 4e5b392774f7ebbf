"""What a unit is worth: one small function each."""

import torch
import torch.nn.functional as F

from .registry import unit_criterion


@unit_criterion
def norm(weight):
    """l2 norm of a unit's row, [units] (000, section 3.1: magnitude pruning)."""
    return weight.flatten(1).norm(dim=1)


@unit_criterion
def frame_potential(weight):
    """Squared cosines between units, [units, units]; a row sum is the unit's share of the frame potential (000, 3.1).

    Blind to a row's norm and, being squared, to its sign: opposite rows count as alike. A zero row has cosine 0
    with every row, itself included.
    """
    rows = F.normalize(weight.flatten(1), dim=1, eps=torch.finfo(weight.dtype).tiny)
    return (rows @ rows.T).square()


@unit_criterion
def random(noise):
    """A seeded random order, [units] (000, section 3.1: random pruning)."""
    return noise


@unit_criterion(ours=True)
def frame_potential_raw(weight):
    """Ours: the frame potential of rows that are not normalised, [units, units]: squared inner products."""
    rows = weight.flatten(1)
    return (rows @ rows.T).square()


@unit_criterion(ours=True)
def inner_product(weight):
    """Ours: inner products of rows, signed, neither normalised nor squared, [units, units]: the row sum is a unit's
    inner product with the sum of all rows still there, and opposite rows cancel."""
    rows = weight.flatten(1)
    return rows @ rows.T


@unit_criterion(ours=True)
def activation(activation):
    """Ours: mean absolute activation over images and positions, [units]."""
    return activation.abs().mean((0, 2))


@unit_criterion(ours=True)
def taylor(activation, activation_gradient):
    """Ours: first-order change of an image's loss when the unit goes, |sum over positions of activation x gradient|,
    mean over images, [units] (Molchanov et al. 2017, section 2.2; their mean over positions is a constant apart)."""
    return (activation * activation_gradient).sum(2).abs().mean(0)
