"""Whether masks, compressed rows and smaller nets infer faster."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from .. import environment, masks
from ..nets import models
from ..records.experiment import Experiment, Result
from . import cost


@dataclass(frozen=True)
class InferenceSpeed(Experiment):
    """Size and time of a wide `mlp` dense, masked and in compressed rows, beside a narrow dense one, on one device.

    The wide net has `ratio` times the weights of the narrow one; at a density of 1 / ratio its random masks keep as
    many as that has. Weights are untrained: time does not depend on them. Compute it on a machine that does nothing
    else; a sweep computes it last, by itself. Table: see `masks.inference`.

    >>> from pruning_lab import InferenceSpeed
    >>> speed = InferenceSpeed(width=4, shape=(1, 8, 8), batches=(1,), rounds=1)
    >>> speed.wide
    24
    >>> table = speed.compute().table  # `run` would keep it
    >>> table.net.tolist()
    ['dense', 'masked', 'csr', 'smaller']
    """

    alone: ClassVar[bool] = True
    timed: ClassVar[tuple[str, ...]] = ("milliseconds", "low", "high", "of_dense")

    width: int  # of the narrow net
    ratio: float = 10.0  # weights of the wide net over those of the narrow one
    density: float = 0.1  # of the wide net's weights, in every layer
    shape: tuple[int, int, int] = (3, 32, 32)  # of an image
    classes: int = 10  # outputs
    batches: tuple[int, ...] = (1, 32, 1000)  # images that are passed at once
    rounds: int = 30  # times that each is timed
    seed: int = 0  # of weights, masks and images

    @property
    def wide(self) -> int:
        """Width of the net that is masked."""
        return masks.scaled_width(self.width, self.ratio, self._inputs(), self.classes)

    def compute(self) -> Result:
        model, smaller = self._net(self.wide), self._net(self.width)
        kept = masks.random(model, self.density, seed=self.seed)
        return Result(masks.inference(model, kept, smaller, self.batches, rounds=self.rounds, seed=self.seed).round(6))

    def cost(self) -> float:
        weights = masks.mlp_weights(self.wide, self._inputs(), self.classes)
        # the narrow net aside, three ways to run the wide one, twice a round
        return cost.passes(weights, sum(self.batches), 3 * 2 * self.rounds)

    def label(self) -> str:
        return f"mlp-{self.wide}-at-{self.density:.3g}-beside-{self.width}"

    def _net(self, width: int) -> nn.Sequential:
        return models.build("mlp", self.shape, self.classes, width, self.seed).to(environment.device())

    def _inputs(self) -> int:
        channels, height, side = self.shape
        return channels * height * side
