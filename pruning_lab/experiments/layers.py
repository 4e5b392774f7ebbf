"""A layer's weight vectors while a net trains: their angles, what stands in them, and the graph that a page draws."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import nn

from .. import units
from ..metrics import cosines
from ..nets import models
from ..precision import tensor_float_32
from ..records import store
from ..records.experiment import Experiment, Result, Training
from ..training.fit import evaluate
from ..units import nulls, structure
from .train import Train, WhileTraining, steps_per_epoch

NULLS = ("permuted", "spectrum")
DRAWS = 5  # of random rows a snapshot


@dataclass(frozen=True)
class Snapshots(WhileTraining):
    """The weight vectors of some layers while a net trains, from a training that leaves the net's own record as well.

    Table: iteration, epoch, accuracy in [0, 1] and loss (the recipe's) on the first `sample` test images. Arrays of
    each layer, float16: `<layer>.norms` [T, units] and `<layer>.gram` [T, units, units] of its weight vectors,
    `<layer>.null` [T, units, units] of the same weights with all entries permuted; and `<layer>.classes` [T, units]
    int16, the class whose images (of the first `sample` for training) activate a unit most, -1 where none does.

    >>> from pruning_lab import Recipe, Snapshots, Train, run
    >>> net = Train("digits", "mlp", Recipe(iterations=1), width=6, limit=20)
    >>> record = run(Snapshots(net, layers=("fc1",), at=(0, 1), sample=50))
    >>> record.table.iteration.tolist()
    [0, 1]
    >>> record.arrays["fc1.gram"].shape
    (2, 6, 6)
    """

    published: ClassVar[bool] = False  # megabytes; what is read off them is published

    net: Train  # the net whose training is looked at
    layers: tuple[str, ...]  # whose weight vectors are kept
    at: tuple[int, ...]  # iterations; 0: before the first
    sample: int = 1000  # the first so many images, of training and of testing

    def compute(self) -> Result:
        result, snapshots = self.net.train_with(store.scratch(self), [(self.at, self._look)])
        store.put(self.net, result)
        return Result(snapshots.table, snapshots.arrays, seconds=result.seconds)

    def _look(self, iteration: int, model: nn.Module) -> dict[str, float | torch.Tensor]:
        loss, accuracy = evaluate(model, self.net.split("test", self.sample), loss=self.net.recipe.loss)
        row = dict(epoch=iteration / steps_per_epoch(self.net), accuracy=accuracy, loss=loss)
        for layer in self.layers:
            weight = model.get_submodule(layer).weight.detach().flatten(1)
            order = torch.randperm(weight.numel(), generator=torch.Generator().manual_seed(iteration)).to(weight.device)
            shuffled = weight.flatten()[order].view_as(weight)
            active = units.class_activations(model, layer, self.net.split("train", self.sample))
            classes = torch.where(active.amax(0) > 0, active.argmax(0), -1)
            with tensor_float_32(False):
                arrays = dict(norms=weight.norm(dim=1), gram=weight @ weight.T, null=shuffled @ shuffled.T)
            row |= {f"{layer}.{name}": values.half() for name, values in arrays.items()}
            row[f"{layer}.classes"] = classes.short()
        return row

    def training(self) -> Training:
        return Training(self.net, self.net.recipe, self._look, len(self.at))

    def data_read(self) -> dict[str, dict[str, str | int]]:
        return super().data_read() | self.net.seen(self.sample)

    def label(self) -> str:
        return f"{self.net.label()}-{'_'.join(self.layers)}"


@dataclass(frozen=True)
class LayerStructure(Experiment):
    """The graph of a layer's weight vectors in numbers, at the snapshots in `at` (None: all), beside the same weights
    permuted.

    Table: iteration, epoch, accuracy, weights ("trained" or "permuted"), then the columns of `structure.describe`. With
    null="spectrum" also `opposite` (`structure.opposite`) and rows whose `weights` are "spectrum": means over five
    draws of rows of the same lengths whose directions have the same spectrum (`units.nulls.same_spectrum`); and the
    array `gram` [2, U (U + 1) / 2] float16, upper triangles row by row of the inner products at the first and the last
    of these snapshots, from which any other null can be drawn.

    ValueError: another null.

    >>> from pruning_lab import LayerStructure, Recipe, Snapshots, Train, run
    >>> net = Train("digits", "mlp", Recipe(iterations=1), width=6, limit=20)
    >>> record = run(LayerStructure(Snapshots(net, layers=("fc1",), at=(0, 1), sample=50), "fc1", neighbours=1))
    >>> record.table[["iteration", "weights"]].values.tolist()
    [[0, 'trained'], [0, 'permuted'], [1, 'trained'], [1, 'permuted']]
    """

    snapshots: Snapshots  # where the weight vectors come from
    layer: str  # one of the snapshots' layers
    deviations: float = 4.0  # a pair is one from so many standard deviations of chance on
    neighbours: int = 5  # strongest pairs a unit, on average
    at: tuple[int, ...] | None = None  # iterations among the snapshots'; None: all
    null: str = "permuted"  # "permuted", or "spectrum" for rows of the same spectrum beside it

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.null not in NULLS:
            raise ValueError(f"null={self.null!r}: expected one of {NULLS}")

    def compute(self) -> Result:
        record, rows = store.run(self.snapshots), []
        chosen = record.table[record.table.iteration.isin(self.at or self.snapshots.at)]
        for t, row in chosen.iterrows():
            when = row[["iteration", "epoch", "accuracy"]].to_dict()
            rows += [when | numbers for numbers in self._at(record.arrays, t, int(row.iteration))]
        grams = record.arrays[f"{self.layer}.gram"][chosen.index[[0, -1]]]
        arrays = {} if self.null == "permuted" else dict(gram=np.stack([g[np.triu_indices(len(g))] for g in grams]))
        return Result(pd.DataFrame(rows).astype(dict(iteration=int)).round(6), arrays)

    def _at(self, arrays: dict[str, np.ndarray], t: int, iteration: int) -> list[dict[str, float | str]]:
        """The rows of one snapshot."""
        classes = arrays[f"{self.layer}.classes"][t]
        grams = {name: arrays[f"{self.layer}.{kind}"][t] for name, kind in (("trained", "gram"), ("permuted", "null"))}
        rows = [dict(weights=name) | self._described(gram, classes) for name, gram in grams.items()]
        if self.null == "permuted":
            return rows
        seed = self.snapshots.net.seed
        draws = [nulls.same_spectrum(grams["trained"], (seed, iteration, k)) for k in range(DRAWS)]
        return [*rows, dict(weights="spectrum") | _means([self._described(g, classes) for g in draws])]

    def _described(self, gram: np.ndarray, classes: np.ndarray) -> dict[str, float]:
        inputs, how = self._inputs(), dict(deviations=self.deviations, neighbours=self.neighbours)
        numbers = structure.describe(gram, inputs, classes, **how)
        more = {} if self.null == "permuted" else dict(opposite=structure.opposite(gram, inputs, self.deviations))
        return numbers | more

    def _inputs(self) -> int:
        return self.snapshots.net.fresh().get_submodule(self.layer).weight[0].numel()

    def label(self) -> str:
        return f"{self.snapshots.net.label()}-{self.layer}"


def _means(rows: list[dict[str, float]]) -> dict[str, float]:
    return pd.DataFrame(rows).mean().to_dict()


@dataclass(frozen=True)
class LayerGraph(Experiment):
    """What a page needs to draw a layer's weight vectors as a graph, at those snapshots that `at` names (None: all).

    Table: iteration, epoch, accuracy. Arrays: `norms` [T, U] float16, `cosines` [T, U (U - 1) / 2] int8
    (`structure.pack`), `classes` [T, U]; of the last snapshot of the training `communities` and `clusters` [U];
    `order.<criterion>` [U], the units of the trained net in the order of their removal; for a layer that reads the
    image `pictures` [U, h, w, channels] int8, at most 14 x 14.

    >>> from pruning_lab import LayerGraph, Recipe, Snapshots, Train, run
    >>> net = Train("digits", "mlp", Recipe(iterations=1), width=6, limit=20)
    >>> graph = run(LayerGraph(Snapshots(net, layers=("fc1",), at=(0, 1), sample=50), "fc1", orders=("norm",)))
    >>> graph.arrays["cosines"].shape  # two snapshots of 6 x 5 / 2 pairs
    (2, 15)
    >>> sorted(graph.arrays["order.norm"].tolist())
    [0, 1, 2, 3, 4, 5]
    """

    snapshots: Snapshots  # where the weight vectors come from
    layer: str  # one of the snapshots' layers
    at: tuple[int, ...] | None = None  # iterations among the snapshots'; None: all
    orders: tuple[str, ...] = ("norm", "frame_potential", "random")  # criteria by which units go, see `criteria.UNIT`

    def compute(self) -> Result:
        record, net = store.run(self.snapshots), self.snapshots.net
        chosen = record.table.index[record.table.iteration.isin(self.at or self.snapshots.at)]
        grams = record.arrays[f"{self.layer}.gram"]
        last = cosines(grams[-1])
        arrays = dict(
            norms=record.arrays[f"{self.layer}.norms"][chosen],
            cosines=structure.pack(cosines(grams[t]) for t in chosen),
            classes=record.arrays[f"{self.layer}.classes"][chosen],
            communities=structure.communities(last)[0],
            clusters=structure.clusters(last, len(net.split("test", 1).classes)),
        )
        model = net.trained()
        arrays |= {f"order.{c}": units.order(model, self.layer, c).cpu().numpy().astype(np.int16) for c in self.orders}
        if self.layer == models.prunable(model)[0]:
            weight = model.get_submodule(self.layer).weight.detach().cpu()
            arrays["pictures"] = self._pictures(weight, net.split("test", 1).images.shape[1:])
        return Result(record.table.loc[chosen, ["iteration", "epoch", "accuracy"]], arrays)

    @staticmethod
    def _pictures(weight: torch.Tensor, image: torch.Size) -> np.ndarray:
        """Weights of a layer that reads the image, [units, h, w, channels] int8, each unit's largest at 127."""
        pictures = weight.unflatten(1, image) if weight.ndim == 2 else weight
        pictures = F.adaptive_avg_pool2d(pictures, [min(side, 14) for side in pictures.shape[-2:]])
        scaled = pictures / pictures.abs().amax((1, 2, 3), keepdim=True).clamp_min(1e-30)
        return (127 * scaled).round().to(torch.int8).movedim(1, -1).numpy()

    def label(self) -> str:
        return f"{self.snapshots.net.label()}-{self.layer}"
