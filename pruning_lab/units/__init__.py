"""Units of a layer: orders of removal, accuracy along them, real removal; their graph is in `structure`.

Those of a plain row of layers; in nets of any other form units go together, which `coupled` has.
"""

from ..nets.surgery import place_of, remove, zeroed
from .orders import order, scores
from .removal import Curve, Single, class_activations, pruning_curve, pruning_curves, removal_losses

__all__ = [
    "Curve", "Single", "class_activations", "order", "place_of", "pruning_curve", "pruning_curves", "remove",
    "removal_losses", "scores", "zeroed",
]  # fmt: skip
