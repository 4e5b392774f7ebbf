"""The wiring: what each experiment is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from . import data, environment, models, store
from .recipe import Recipe
from .store import Experiment, Result
from .train import fit


@dataclass(frozen=True)
class Train(Experiment):
    """One net trained from scratch; the table has one row an epoch (see `train.History`)."""

    modules: ClassVar[tuple[str, ...]] = ("data", "models", "recipe", "train", "checkpoint")

    dataset: str
    model: str
    recipe: Recipe
    seed: int = 0
    width: int | None = None
    init: str = "default"
    scale: str = "unit"
    image_size: int | None = None
    limit: int | None = None  # training images; None: all

    def split(self, name: str, limit: int | None = None) -> data.Split:
        """The training or test images as this net sees them."""
        return data.load(self.dataset, name, limit=limit, image_size=self.image_size, scale=self.scale)

    def untrained(self) -> nn.Sequential:
        """The net at its initial weights, on the CPU."""
        shape, classes = self._shape()
        return models.build(self.model, shape, classes, self.width, self.seed, self.init)

    def trained(self) -> nn.Sequential:
        """The net at its trained weights, on the device, in evaluation mode; trained now if no machine-local weights exist."""
        model = self.untrained()
        model.load_state_dict(store.run(self, weights=True).weights())
        return model.to(environment.device()).eval()

    def compute(self) -> Result:
        model = self.untrained()
        train, test = self.split("train", self.limit), self.split("test")
        history = fit(model, train, test, self.recipe, seed=self.seed, checkpoint_file=store.scratch(self))
        return Result(history.table, history.arrays, model.state_dict(), history.seconds)

    def cost(self) -> float:
        images = len(self.split("train", self.limit))
        work = models.multiplications(self.untrained(), self._shape()[0]) * self.recipe.batch * self.recipe.steps(images)
        return 6e-11 * work  # three passes of two operations, at 1e11 a second

    def label(self) -> str:
        return f"{self.model}-{self.dataset.replace(':', '-')}-s{self.seed}"

    def data_read(self) -> dict[str, dict[str, str | int]]:
        found = {s: data.fingerprint(self.dataset, s, self.limit if s == "train" else None) for s in ("train", "test")}
        return {f"{self.dataset}/{s}": f for s, f in found.items() if f}

    def _shape(self) -> tuple[tuple[int, int, int], int]:
        first = self.split("test", 1)
        return tuple(first.images.shape[1:]), len(first.classes)
