"""What a unit or a weight is worth: two registries, and the library's own functions in them.

`registry` says how a criterion is written.
"""

from .registry import (
    READS,
    UNIT,
    WEIGHT,
    evaluate,
    find,
    finite,
    needs,
    unit_criterion,
    unread,
    weight_criterion,
    whose,
)
from .unit import activation, frame_potential, frame_potential_raw, inner_product, norm, random, taylor
from .weight import diff, gradient, magnitude, weight_taylor

__all__ = [
    "READS", "UNIT", "WEIGHT", "activation", "diff", "evaluate", "find", "finite", "frame_potential",
    "frame_potential_raw", "gradient", "inner_product", "magnitude", "needs", "norm", "random", "taylor",
    "unit_criterion", "unread", "weight_criterion", "weight_taylor", "whose",
]  # fmt: skip
