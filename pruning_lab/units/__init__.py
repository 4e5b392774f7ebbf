"""Units of a layer: orders of removal, accuracy along them, real removal; their graph is in `structure`."""

from ..nets.surgery import place_of, remove, zeroed
from .removal import Curve, Single, class_activations, order, pruning_curve, pruning_curves, removal_losses, scores

__all__ = [
    "Curve", "Single", "class_activations", "order", "place_of", "pruning_curve", "pruning_curves", "remove",
    "removal_losses", "scores", "zeroed",
]  # fmt: skip
