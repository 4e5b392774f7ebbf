"""Coherence and diffs while a net trains."""

from __future__ import annotations

import math
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np
import pandas as pd
import torch
from torch import nn

from .. import data, gradients, losses
from ..gradients import summary
from ..metrics import rank_correlation
from ..records import store
from ..records.experiment import Experiment, Result, Training
from ..training.fit import evaluate
from ..training.recipe import Recipe
from .train import Train, WhileTraining, ends, looked_at, steps_per_epoch, trained_on

# Published records were made when every sign counted, also that of a gradient that is zero but for rounding. With the
# library's own `gradients.silent.SILENT` the diffs of a vision transformer's key biases are others: whoever takes it
# here raises the `version` of the experiments that read it.
SILENT = 0


def each_loss(recipe: Recipe) -> gradients.loss.Loss:
    """The recipe's loss of each image, as `gradients.statistics` takes it."""
    return losses.squared if recipe.loss == "squared" else gradients.cross_entropy


def snapshot_epochs(epochs: int) -> tuple[int, ...]:
    """The epochs 0..10 and every twentieth part of the training, as far as it goes.

    >>> from pruning_lab import snapshot_epochs
    >>> snapshot_epochs(40)
    (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30, 32, 34, 36, 38, 40)
    """
    return tuple(sorted({*range(min(10, epochs) + 1), *(round(epochs * k / 20) for k in range(21))}))


@dataclass(frozen=True)
class GradientSnapshots(WhileTraining):
    """Gradient statistics at the end of epochs while a net trains, in a training that leaves the net's own record too.

    The model stands still meanwhile, in evaluation mode. Loss and gradients are of the recipe's loss. Table: iteration,
    epoch, accuracy in [0, 1] and loss on the images that were differentiated; of a net with batch norms also
    `refreshed`: the coherence of a copy whose norms have these images' own statistics. All else is of the net with its
    running statistics; at epoch 0, when it has none yet, of that copy. Arrays of T snapshots and L layers, all layers
    together first: `numbers` [T, 1 + L, 7] and `histograms` [T, 1 + L, 201] (see `gradients.summary.rows`),
    `magnitudes` [T, 1 + L, 500], and of some weights `<layer>.weights` and `<layer>.diffs` [T, weights].

    >>> from pruning_lab import GradientSnapshots, Recipe, Train, run
    >>> net = Train("digits", "mlp", Recipe(iterations=1), width=6, limit=20)
    >>> record = run(GradientSnapshots(net, epochs=(0, 1)))
    >>> record.table.epoch.tolist()
    [0, 1]
    >>> record.arrays["numbers"].shape
    (2, 6, 7)
    """

    published: ClassVar[bool] = False  # megabytes; what is read off them is published

    net: Train  # the net whose training is looked at
    epochs: tuple[int, ...]  # 0: before the first
    sample: int | None = None  # the first so many training images are differentiated; None: all
    followed: int = 10_000  # weights a layer

    def compute(self) -> Result:
        hooks = [(ends(self.net, self.epochs), self._look)]
        result, snapshots = self.net.train_with(store.scratch(self), hooks)
        store.put(self.net, result)
        return Result(snapshots.table, snapshots.arrays, seconds=result.seconds)

    def _look(self, iteration: int, model: nn.Module) -> dict[str, float | torch.Tensor]:
        seen = self.net.split("train", looked_at(self.net, self.sample))
        refreshed = _with_own_statistics(model, seen)
        if iteration == 0:
            model = refreshed
        loss, accuracy = evaluate(model, seen, loss=self.net.recipe.loss)
        differentiated = partial(gradients.statistics, loss=each_loss(self.net.recipe), silent=SILENT)
        statistics = differentiated(model, seen)
        numbers = dict(epoch=iteration // steps_per_epoch(self.net), accuracy=accuracy, loss=loss)
        if refreshed is not model:
            numbers["refreshed"] = differentiated(refreshed, seen, want={"coherence"}).coherence()
        elif _norms(model):
            numbers["refreshed"] = statistics.coherence()
        arrays = summary.rows(model, statistics) | dict(magnitudes=summary.magnitudes(model))
        return numbers | arrays | summary.followed(model, statistics, self.followed)

    @property
    def images(self) -> int:
        """How many images are differentiated; where the set is not on this machine, as many as were asked for."""
        asked, name = looked_at(self.net, self.sample), self.net.dataset
        return asked if asked is not None and not data.is_here(name, "train") else data.size(name, "train", asked)

    def cost(self) -> float:
        trained = self.net.recipe.batch * self.net.recipe.steps(trained_on(self.net))
        return self.net.cost() * (1 + 2 * self.images * len(self.epochs) / trained)

    def training(self) -> Training:
        return Training(self.net, self.net.recipe, self._look, len(self.epochs))

    def label(self) -> str:
        return f"{self.net.label()}-gradients"


def _norms(model: nn.Module) -> list[nn.Module]:
    return [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]


def _with_own_statistics(model: nn.Module, split: data.Split, batch: int = 1000) -> nn.Module:
    """The model, or, where it has batch norms, a copy whose running statistics are means over the split's batches."""
    if not _norms(model):
        return model
    model = deepcopy(model).train()
    for m in _norms(model):
        m.reset_running_stats()
        m.momentum = None  # a plain mean over the batches
    with torch.no_grad():
        for images in split.images.split(batch):
            model(images)
    return model.eval()


@dataclass(frozen=True)
class GradientHistory(Experiment):
    """Coherence and diffs of every layer by epoch, and how far weights of high and low diff travel.

    The peak is the epoch, from 1 on, where the whole net's coherence is highest. Table: the columns of the snapshots,
    layer ("whole": all of them), peak (bool), then `gradients.summary.COLUMNS`. Arrays, layers as in the table:
    `histograms` [T, 1 + L, 201] of the diffs from -1 to 1, `magnitudes` [2, 1 + L, 500] (quantiles of the lowest 99 %
    of |w|, at the first and the last snapshot), `travel` [L, 2] (log ratio of the median way from first to last
    snapshot, top over bottom decile of |diff| at the peak; rank correlation of that |diff| with |w| at the end),
    `paths` [T, 2 L ends] of the weights of highest and of lowest |diff| at the peak, less where they began (a layer's
    highest, its lowest, the next layer's).

    >>> from pruning_lab import GradientHistory, GradientSnapshots, Recipe, Train, run
    >>> net = Train("digits", "mlp", Recipe(iterations=1), width=6, limit=20)
    >>> history = run(GradientHistory(GradientSnapshots(net, epochs=(0, 1)), ends=2))
    >>> sorted(set(history.table.layer))
    ['fc1', 'fc2', 'fc3', 'fc4', 'out', 'whole']
    >>> history.arrays["histograms"].shape
    (2, 6, 201)
    """

    snapshots: GradientSnapshots  # what is summed up
    ends: int = 10  # weights of highest, and of lowest, |diff| whose paths are kept

    def compute(self) -> Result:
        record = store.run(self.snapshots)
        numbers = record.arrays["numbers"]
        layers = [n.removesuffix(".diffs") for n in record.arrays if n.endswith(".diffs")]
        layers.sort(key=self._order().index)
        seen = record.table.epoch.to_numpy() > 0
        peak = int(np.where(seen, numbers[:, 0, 0], -np.inf).argmax())
        table = self._table(record.table, numbers, ["whole", *layers], peak)
        kept = [(record.arrays[f"{n}.weights"], np.abs(record.arrays[f"{n}.diffs"][peak])) for n in layers]
        return Result(
            table,
            dict(
                histograms=record.arrays["histograms"].astype(np.int32),
                magnitudes=record.arrays["magnitudes"][[0, -1]],
                travel=np.array([_travel(*pair) for pair in kept], dtype=np.float32),
                paths=np.concatenate([_paths(*pair, self.ends) for pair in kept], axis=1).astype(np.float32),
            ),
        )

    def _order(self) -> list[str]:
        return list(summary.matrices(self.snapshots.net.fresh()))

    @staticmethod
    def _table(snapshots: pd.DataFrame, numbers: np.ndarray, layers: list[str], peak: int) -> pd.DataFrame:
        rows = [
            row | dict(layer=layer, peak=t == peak) | dict(zip(summary.COLUMNS, numbers[t, k].tolist(), strict=True))
            for t, row in enumerate(snapshots.to_dict("records"))
            for k, layer in enumerate(layers)
        ]
        return pd.DataFrame(rows).round(9)

    def cost(self) -> float:
        return 0.05  # one record is read

    def label(self) -> str:
        return self.snapshots.label()


def _travel(weights: np.ndarray, diffs: np.ndarray) -> tuple[float, float]:
    """Of weights [T, n] and their |diff| [n], those without gradient left out; NaN for fewer than ten, or where nothing
    moved.
    """
    alive = np.isfinite(diffs)
    way, size, diffs = np.abs(weights[-1] - weights[0])[alive], np.abs(weights[-1])[alive], diffs[alive]
    tenth = len(diffs) // 10
    if not tenth:
        return math.nan, math.nan
    order = np.argsort(diffs, kind="stable")
    low, high = np.median(way[order[:tenth]]), np.median(way[order[-tenth:]])
    return (math.log(high / low) if low > 0 and high > 0 else math.nan), rank_correlation(diffs, size)


def _paths(weights: np.ndarray, diffs: np.ndarray, ends: int) -> np.ndarray:
    """Ways [T, 2 ends] of the weights with the highest and the lowest |diff|; NaN where there are too few."""
    order = np.argsort(np.where(np.isfinite(diffs), diffs, np.inf), kind="stable")[: np.isfinite(diffs).sum()]
    paths = np.full((len(weights), 2 * ends), np.nan)
    for first, chosen in ((0, order[::-1][:ends]), (ends, order[:ends])):
        paths[:, first : first + len(chosen)] = weights[:, chosen] - weights[0, chosen]
    return paths
