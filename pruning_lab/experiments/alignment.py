"""Whether weight vectors gather while a net trains, what a small net makes of their centres, and which units repeat."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pandas as pd
import torch
from torch import nn

from .. import environment
from ..metrics import angles_to_nearest, kmeans, random_directions, strongest_correlation
from ..nets.surgery import place_of
from ..records import store
from ..records.experiment import Experiment, Result, Training
from ..training.fit import fit
from ..training.recipe import derived_seed
from . import cost
from .train import Train, multiplications, training_cost

WEIGHTS = ("initial", "trained", "random")


@dataclass(frozen=True)
class FilterClusters(Experiment):
    """How close a layer's weight vectors lie to their k-means centres before and after training.

    Table, a row a vector: weights ("initial"; "trained"; "random": the trained lengths in random directions), unit,
    length, angle (degrees to the centre nearest in angle). Arrays, of the trained vectors: `centres` [clusters, n]
    float32, `biases` [clusters] float32, the mean of each cluster's.

    >>> from pruning_lab import FilterClusters, Recipe, Train, run
    >>> net = Train("digits", "mlp", Recipe(iterations=1), width=6, limit=20)
    >>> record = run(FilterClusters(net, "fc1", clusters=2))
    >>> record.table.groupby("weights").size().to_dict()
    {'initial': 6, 'random': 6, 'trained': 6}
    >>> record.arrays["centres"].shape
    (2, 64)
    """

    parent: Train  # the trained net
    layer: str = "conv1"  # whose weight vectors are clustered
    clusters: int = 4  # centres of k-means

    def compute(self) -> Result:
        before, after = (_vectors(net, self.layer) for net in (self.parent.untrained(), self.parent.trained()))
        null = random_directions(after, derived_seed("null", self.parent.seed) % 2**32)
        seed, tables = derived_seed("centres", self.parent.seed) % 2**32, []
        for name, vectors in zip(WEIGHTS, (before, after, null), strict=True):
            centres, members = kmeans(vectors, self.clusters, seed)
            angle = angles_to_nearest(vectors, centres)
            columns = dict(weights=name, unit=range(len(vectors)), length=np.linalg.norm(vectors, axis=1), angle=angle)
            tables.append(pd.DataFrame(columns).round(6))
            if name == "trained":
                kept = dict(centres=centres.astype(np.float32), biases=self._biases(members))
        return Result(pd.concat(tables, ignore_index=True), kept)

    def _biases(self, members: np.ndarray) -> np.ndarray:
        bias = self.parent.trained().get_submodule(self.layer).bias
        bias = np.zeros(len(members)) if bias is None else bias.detach().cpu().numpy()
        return np.array([bias[members == k].mean() for k in range(self.clusters)], dtype=np.float32)

    def label(self) -> str:
        return f"{self.parent.label()}-{self.layer}"


def _vectors(net: nn.Module, layer: str) -> np.ndarray:
    """A layer's weight vectors, [units, n] float64."""
    return net.get_submodule(layer).weight.detach().cpu().flatten(1).double().numpy()


@dataclass(frozen=True)
class CentreStart(Experiment):
    """A net with as many units in its first layer as there are centres, trained from these as a large one was.

    All its other weights are fresh, those of `fresh` at the same seed. Table: as `training.state.History`.

    >>> from pruning_lab import CentreStart, FilterClusters, Recipe, Train, run
    >>> net = Train("digits", "mlp", Recipe(iterations=1), width=6, limit=20)
    >>> small = CentreStart(FilterClusters(net, "fc1", clusters=2))
    >>> small.fresh.width
    2
    >>> len(run(small).table)
    1
    """

    is_net: ClassVar[bool] = True

    clusters: FilterClusters  # of the large net: the first layer begins at their centres

    @property
    def fresh(self) -> Train:
        """The same small net from weights drawn at random, by the large one's recipe and seed."""
        return replace(self.clusters.parent, width=self.clusters.clusters)

    def compute(self) -> Result:
        net, model = self.fresh, self.fresh.untrained()
        found, layer = store.run(self.clusters).arrays, model.get_submodule(self.clusters.layer)
        with torch.no_grad():
            layer.weight.copy_(torch.tensor(found["centres"]).view_as(layer.weight))
            if layer.bias is not None:
                layer.bias.copy_(torch.tensor(found["biases"]))
        how = dict(seed=net.seed, checkpoint_file=store.scratch(self))
        history = fit(model, net.split("train", net.limit), net.split("test"), net.recipe, **how)
        return Result(history.table, history.arrays, seconds=history.seconds)

    def cost(self) -> float:
        return training_cost(self.fresh, self.fresh.recipe)

    def training(self) -> Training:
        return Training(self.fresh, self.fresh.recipe)

    def label(self) -> str:
        return f"{self.clusters.parent.label()}-centres"


@dataclass(frozen=True)
class UnitRepeats(Experiment):
    """Which units of a trained layer say what another says.

    Table, a row a unit: unit, correlation (largest |Pearson correlation| with another unit of what the next layer reads
    of both, over the first `sample` test images; zero for a unit that never changes).

    >>> from pruning_lab import Recipe, Train, UnitRepeats, run
    >>> net = Train("digits", "mlp", Recipe(iterations=1), width=6, limit=20)
    >>> table = run(UnitRepeats(net, sample=50)).table
    >>> table.unit.tolist(), bool(table.correlation.between(0, 1.000001).all())
    ([0, 1, 2, 3, 4, 5], True)
    """

    parent: Train  # the trained net
    layer: str = "fc1"  # whose units are compared
    sample: int = 1000  # the first so many test images

    def compute(self) -> Result:
        place, test = place_of(self.parent.trained(), self.layer), self.parent.split("test", self.sample)
        with torch.no_grad():
            read = place.head(test.images.to(environment.device()))
        if isinstance(place.following, nn.Linear):
            read = read.unflatten(1, (place.units, -1))
        by_unit = read.transpose(0, 1).flatten(1).T.double().cpu().numpy()  # positions count as images do
        found = strongest_correlation(by_unit)
        return Result(pd.DataFrame(dict(unit=range(len(found)), correlation=found)).round(6))

    def cost(self) -> float:
        return cost.passes(multiplications(self.parent), self.sample)

    def label(self) -> str:
        return f"{self.parent.label()}-{self.layer}"
