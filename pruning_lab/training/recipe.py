"""How a net is trained, as literal settings."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from ..literal import settle

OPTIMIZERS = ("sgd", "adam")
PRECISIONS = ("float32", "tf32", "bfloat16")
AUGMENTATIONS = ("none", "crop_flip")
KEEPS = ("last", "lowest_validation_loss")


@dataclass(frozen=True)
class Recipe:
    """How a net is trained; every field is literal. Either `iterations` or `epochs` is given.

    drops: iterations after which the learning rate is multiplied by `drop_factor`.
    holdout: training images (drawn by seed) set aside for validation. keep: whose weights are reported, the last
    epoch's or those of the epoch with the lowest loss on the held-out images.
    """

    optimizer: str = "sgd"
    lr: float = 0.1
    momentum: float = 0.0
    weight_decay: float = 0.0
    batch: int = 64
    iterations: int | None = None
    epochs: int | None = None
    drops: tuple[int, ...] = ()
    drop_factor: float = 0.1
    shuffle: bool = True
    augmentation: str = "none"
    precision: str = "float32"
    holdout: int = 0
    keep: str = "last"

    def __post_init__(self) -> None:
        settle(self)
        for value, known in (
            (self.optimizer, OPTIMIZERS),
            (self.precision, PRECISIONS),
            (self.augmentation, AUGMENTATIONS),
            (self.keep, KEEPS),
        ):
            if value not in known:
                raise ValueError(f"recipe: {value!r} is none of {known}")
        if (self.iterations is None) == (self.epochs is None) or (self.iterations or self.epochs or 0) < 1:
            raise ValueError(
                f"recipe: give either iterations or epochs, at least 1; got {self.iterations} and {self.epochs}"
            )
        if self.batch < 1 or self.lr <= 0:
            raise ValueError(f"recipe: batch {self.batch} and lr {self.lr} must be positive")
        if self.keep != "last" and self.holdout < 1:
            raise ValueError("recipe: keep='lowest_validation_loss' needs holdout images to validate on")

    def steps(self, images: int) -> int:
        """Iterations in all for a training set of so many images (held-out ones not counted)."""
        return self.iterations or self.epochs * -(-images // self.batch)


def optimizer(recipe: Recipe, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    """A fresh optimiser; its step is fused where the device knows one."""
    fused = parameters[0].device.type in ("cpu", "cuda", "mps")
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(parameters, recipe.lr, recipe.momentum, weight_decay=recipe.weight_decay, fused=fused)
    return torch.optim.Adam(parameters, recipe.lr, weight_decay=recipe.weight_decay, fused=fused)


def moments_of(recipe: Recipe) -> set[str]:
    """The names of what the recipe's optimiser remembers of a parameter."""
    if recipe.optimizer == "adam":
        return {"step", "exp_avg", "exp_avg_sq"}
    return {"momentum_buffer"} if recipe.momentum else set()
