"""How a net is trained, as literal settings, and what they come to: schedule, optimiser, held-out images, crops."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from ..data import Split
from ..literal import plain, settle
from ..losses import LOSSES
from ..numeric import checked

OPTIMIZERS = ("sgd", "adam")
PRECISIONS = ("float32", "tf32", "bfloat16")
AUGMENTATIONS = ("none", "crop_flip")
KEEPS = ("last", "lowest_validation_loss")
READINGS = ("running", "evaluated")


@dataclass(frozen=True)
class Recipe:
    """How a net is trained; every field is literal. Either `iterations` or `epochs` is given.

    Training may stop after an earlier epoch than the last: `iterations` or `epochs` is its limit. stop_loss: once the
    training loss is at or below it, read as stop_reading says: "running", the mean over the epoch's batches as they
    were trained on, or "evaluated", of the net after the epoch on all images that train. stop_margin: (share, margin),
    once at least this share of the images that train has its true output ahead of every other by this margin, after
    the epoch. Of two rules the first that is met ends it. loss: that of training, and of every loss that is reported
    of it (see `losses`).

    ValueError: a name that is none of those known; both or none of `iterations` and `epochs`; numbers out of range;
    a stop that cannot be read.

    >>> from pruning_lab import Recipe
    >>> Recipe("adam", lr=1e-3, epochs=3, batch=32).steps(100)  # 3 epochs of 4 steps
    12
    >>> Recipe(lr=1.0, iterations=10, drops=(5,), drop_factor=0.5).lr_at(5)
    0.5
    """

    optimizer: str = "sgd"  # "sgd" or "adam"
    lr: float = 0.1  # learning rate at the start
    momentum: float = 0.0  # of "sgd"
    weight_decay: float = 0.0  # pull of weights to zero, as the optimiser has it
    batch: int = 64  # images a step
    iterations: int | None = None  # steps in all
    epochs: int | None = None  # passes over the images that train
    drops: tuple[int, ...] = ()  # iterations after which the learning rate is multiplied by `drop_factor`
    drop_factor: float = 0.1  # of the learning rate, at each of `drops`
    shuffle: bool = True  # whether each epoch has an order of its own
    augmentation: str = "none"  # "none" or "crop_flip"
    precision: str = "float32"  # "float32", "tf32" or "bfloat16"
    holdout: int = 0  # training images, drawn by seed, that are set aside for validation
    # whose weights are reported: "last", or "lowest_validation_loss", the epoch's of lowest loss on held-out images
    keep: str = "last"
    # the first so many test images after each epoch but the last, which sees all of them; None: all after each
    tested_on: int | None = None
    loss: str = "cross_entropy"  # a name in `losses`
    stop_loss: float | None = None  # None: no such stop
    stop_reading: str = "running"  # "running" or "evaluated"
    stop_margin: tuple[float, float] | None = None  # (share, margin); None: no such stop

    def __post_init__(self) -> None:
        settle(self)
        known = dict(optimizer=OPTIMIZERS, precision=PRECISIONS, augmentation=AUGMENTATIONS, keep=KEEPS)
        known |= dict(loss=LOSSES, stop_reading=READINGS)
        for name, values in known.items():
            if (value := getattr(self, name)) not in values:
                raise ValueError(f"recipe: {value!r} is none of {values}")
        if (self.iterations is None) == (self.epochs is None) or (self.iterations or self.epochs or 0) < 1:
            given = f"{self.iterations} and {self.epochs}"
            raise ValueError(f"recipe: give either iterations or epochs, at least 1; got {given}")
        if self.batch < 1 or self.lr <= 0:
            raise ValueError(f"recipe: batch {self.batch} and lr {self.lr} must be positive")
        if self.tested_on is not None and self.tested_on < 1:
            raise ValueError(f"recipe: tested_on={self.tested_on}: expected at least 1 image after each epoch, or None")
        if self.keep != "last" and self.holdout < 1:
            raise ValueError("recipe: keep='lowest_validation_loss' needs holdout images to validate on")
        self._check_stops()

    def _check_stops(self) -> None:
        """ValueError: a rule that no training could follow. A list of two numbers becomes the tuple of them."""
        if self.stop_loss is not None and not (_is_number(self.stop_loss) and self.stop_loss > 0):
            raise ValueError(f"recipe: stop_loss={self.stop_loss!r}: expected a positive number, or None")
        if self.stop_loss is None and self.stop_reading != "running":
            raise ValueError(f"recipe: stop_reading={self.stop_reading!r} reads no loss: give stop_loss as well")
        if (given := self.stop_margin) is None:
            return
        if not (isinstance(given, tuple | list) and len(given) == 2 and all(_is_number(v) for v in given)):
            raise ValueError(f"recipe: stop_margin={given!r}: expected two numbers, (share, margin), as (0.99, 10)")
        if not 0 < given[0] <= 1:
            raise ValueError(
                f"recipe: stop_margin={given!r}: expected a share of the training images, above 0 and at most 1, first"
            )
        object.__setattr__(self, "stop_margin", tuple(given))

    @property
    def stops(self) -> bool:
        """Whether training may end before its limit, so that `steps` and `tests` are upper bounds."""
        return self.stop_loss is not None or self.stop_margin is not None

    @property
    def rereads(self) -> bool:
        """Whether all images that train are passed once more after each epoch, for a rule that reads them."""
        return self.stop_margin is not None or self.stop_reading == "evaluated"

    def trained_on(self, images: int) -> int:
        """How many of a set's images train: those that are not held out. ValueError: none would."""
        return images - _held(self.holdout, images)

    def steps_per_epoch(self, images: int) -> int:
        """Iterations of one pass over a training set of so many images (held-out ones not counted)."""
        return -(-images // self.batch)

    def steps(self, images: int) -> int:
        """Iterations in all, likewise; the most that there can be, where it `stops` early."""
        return self.iterations or self.epochs * self.steps_per_epoch(images)

    def tests(self, images: int, test_images: int) -> int:
        """How many test images are looked at in all, at most, of a set of so many, where so many train."""
        epochs = -(-self.steps(images) // self.steps_per_epoch(images))
        return (epochs - 1) * min(self.tested_on or test_images, test_images) + test_images

    def end(self, epoch: int, images: int) -> int:
        """The iteration at which an epoch, counted from 1, is over, likewise."""
        return min(self.steps(images), epoch * self.steps_per_epoch(images))

    def lr_at(self, iteration: int) -> float:
        """The learning rate of the step that follows so many others."""
        return self.lr * self.drop_factor ** sum(iteration >= d for d in self.drops)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


@checked
def snapshot_iterations(steps: int, count: int = 30) -> tuple[int, ...]:
    """At most `count` of the iterations 0..`steps`: half in equal steps, half in the first of them, denser at first.

    Fewer than four are in equal steps; a single one is the last. ValueError: `count` below 1, `steps` below 0.

    >>> from pruning_lab import snapshot_iterations
    >>> snapshot_iterations(100, count=6)
    (0, 1, 6, 33, 67, 100)
    """
    if count < 1 or steps < 0:
        raise ValueError(f"{count} snapshots of {steps} steps: expected at least 1 of 0 or more")
    if count < 4 or steps == 0:
        return tuple(int(k) for k in np.unique(np.rint(np.linspace(steps, 0, count))))
    even = np.linspace(0, steps, max(2, count - count // 2 + 1))
    early = np.geomspace(min(1, even[1]), even[1], count // 2)
    return tuple(int(k) for k in np.unique(np.rint(np.concatenate([early, even]))))


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


def derived_seed(*parts: object) -> int:
    """A seed that depends on all parts and on nothing else, in [0, 2^63); NumPy's 3 is 3."""
    return int.from_bytes(hashlib.sha256(repr(plain(parts)).encode()).digest()[:8], "big") >> 1


def hold_out(train: Split, holdout: int, seed: int) -> tuple[Split, Split | None]:
    """The images that train, in their order, and those held out, drawn by the seed; None: none are.

    ValueError: none would be left to train on.
    """
    if not _held(holdout, len(train)):
        return train, None
    order = torch.randperm(len(train), generator=torch.Generator().manual_seed(derived_seed(seed, "holdout")))
    order = order.to(train.labels.device)
    kept, held = order[holdout:].sort().values, order[:holdout]
    return tuple(replace(train, images=train.images[rows], labels=train.labels[rows]) for rows in (kept, held))


def _held(holdout: int, images: int) -> int:
    if holdout and holdout >= images:
        raise ValueError(f"holdout {holdout} leaves no training image of {images}: lower the recipe's holdout")
    return holdout


def crop_flip(images: torch.Tensor) -> torch.Tensor:
    """Random crops after padding by four pixels (reflected), half of them mirrored; a draw an image, on the device."""
    n, _, height, width = images.shape
    padded = F.pad(images, (4, 4, 4, 4), mode="reflect")
    top, left = (torch.randint(9, (n, 1), device=images.device) for _ in range(2))
    columns = torch.arange(width, device=images.device).expand(n, width)
    columns = torch.where(torch.rand(n, 1, device=images.device) < 0.5, columns.flip(1), columns) + left
    rows = torch.arange(height, device=images.device) + top
    each = torch.arange(n, device=images.device)[:, None, None]
    return padded[each, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
