"""What training adds to a layer's weights: its spectrum while a net trains, and what a few directions of it keep."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import nn

from ..metrics import frame_potential, spectrum, subspaces
from ..records import store
from ..records.experiment import Experiment, Result, Training
from ..training.fit import evaluate
from ..training.recipe import derived_seed
from . import cost
from .train import Train, WhileTraining, ends, multiplications, steps_per_epoch

EVERY = "all"  # the layers at once
KEPT = ("update", "random", "weight")
Weights = dict[str, np.ndarray]


@dataclass(frozen=True)
class Spectrum(WhileTraining):
    """Singular values of some layers' weights W, and of W - Z, while a net trains; Z are the weights that it began at.

    Looked at after those `epochs` that the training reaches, and at its end. Table, a row a look and layer: iteration,
    epoch, accuracy (on the first `sample` test images, in [0, 1]), layer, rows, columns, norm and distance (Frobenius,
    of W and of W - Z), spectral and update_spectral, stable_rank and update_stable_rank, start_variance (of Z's
    entries), bulk_variance (`spectrum.bulk_variance`), edge (above it an eigenvalue of W W^T is a spike, by the
    variance of Z), spikes, largest (eigenvalue), alpha, alpha_deviation, tail (eigenvalues in it), reason (why there is
    no alpha), potential and chance_potential (`frame_potential`, and that of as many random directions). Arrays of T
    looks: `<layer>.values` and `<layer>.update` [T, min(rows, columns)] float32, the largest first; with `ranks` also
    `projected` [T, 1 + L, ranks], the accuracy with W - Z projected on its so many leading left singular vectors, all
    layers at once first, then each alone.

    >>> from pruning_lab import Recipe, Spectrum, Train, run
    >>> net = Train("digits", "mlp", Recipe(iterations=1), width=6, limit=20)
    >>> record = run(Spectrum(net, layers=("fc1",), ranks=(1, 2), sample=20))
    >>> record.table[["epoch", "layer", "rows", "columns"]].values.tolist()
    [[0.0, 'fc1', 6.0, 64.0], [1.0, 'fc1', 6.0, 64.0]]
    >>> record.arrays["fc1.update"].shape
    (2, 6)
    """

    net: Train  # the net whose training is looked at
    layers: tuple[str, ...]  # whose weights are looked at
    epochs: tuple[int, ...] = (0,)  # 0: before the first
    ranks: tuple[int, ...] = ()  # directions that are kept, for `projected`; none: not asked
    sample: int = 2000  # the first so many test images

    def compute(self) -> Result:
        result, seen = self.net.train_with(store.scratch(self), [(ends(self.net, self.epochs), self._look)])
        store.put(self.net, result)
        last = int(result.table.iteration.iloc[-1])
        if last not in [row["iteration"] for row in seen.rows]:
            model = self.net.fresh()
            model.load_state_dict(result.weights)
            where = self.net.split("test", 1).images.device
            seen.add(dict(iteration=last) | self._look(last, model.to(where).eval()))
        return Result(self._table(seen.table, seen.arrays), seen.arrays, seconds=result.seconds)

    def _look(self, iteration: int, model: nn.Module) -> dict[str, float | np.ndarray]:
        test, began = self.net.split("test", self.sample), weights_of(self.net.untrained(), self.layers)
        found, bases = dict(accuracy=evaluate(model, test)[1]), {}
        for layer, weight in weights_of(model, self.layers).items():
            bases[layer], values = subspaces.leading(weight - began[layer])
            few = min(weight.shape)
            found[f"{layer}.update"] = values[:few].astype(np.float32)
            found[f"{layer}.values"] = spectrum.singular_values(weight).astype(np.float32)
            found[f"{layer}.potential"] = frame_potential(torch.from_numpy(weight))
        if self.ranks:
            found["projected"] = np.array(
                [[self._kept(model, began, bases, place, k) for k in self.ranks] for place in places(self.layers)],
                dtype=np.float32,
            )
        return found

    def _kept(self, model: nn.Module, began: Weights, bases: Weights, place: str, k: int) -> float:
        """Accuracy with the update of one place projected on its k leading directions."""
        kept = {layer: bases[layer][:, :k] for layer in of_place(place, self.layers)}
        return accuracy_with(model, began, kept, self.net.split("test", self.sample))

    def _table(self, looks: pd.DataFrame, arrays: Mapping[str, np.ndarray]) -> pd.DataFrame:
        began, rows = weights_of(self.net.untrained(), self.layers), []
        for t, look in enumerate(looks.to_dict("records")):
            at = dict(iteration=int(look["iteration"]), epoch=look["iteration"] / steps_per_epoch(self.net))
            for layer, weight in began.items():
                values, update = (arrays[f"{layer}.{name}"][t].astype(float) for name in ("values", "update"))
                numbers = described(values, update, weight) | dict(potential=look[f"{layer}.potential"])
                numbers |= dict(chance_potential=spectrum.chance_potential(*weight.shape))
                rows.append(at | dict(accuracy=look["accuracy"], layer=layer) | numbers)
        return pd.DataFrame(rows)

    def training(self) -> Training:
        return Training(self.net, self.net.recipe, self._look, len(self.epochs) + 1)

    def data_read(self) -> dict[str, dict[str, str | int]]:
        return super().data_read() | self.net.seen(self.sample)

    def label(self) -> str:
        return f"{self.net.label()}-{'_'.join(self.layers)}"


@dataclass(frozen=True)
class Projection(Experiment):
    """Accuracy with few directions of a trained net's update left: Z + P (W - Z), P on k of the layer's directions.

    Table: place (a layer, or "all" at once), kept, k, accuracy in [0, 1] on the test images, drop (of the whole net's
    accuracy, points), residual (spectral norm of what is thrown away over that of W; of "all" none), noise (the same of
    independent entries of the residual's Frobenius norm). kept says on what is projected: "update", on the k leading
    left singular vectors of W - Z; "random", on a random subspace of that dimension; "weight": W itself, on its own k
    leading ones. Array: `overlap` [L, ranks], of the subspaces that "update" and "weight" keep.

    >>> from pruning_lab import Projection, Recipe, Train, run
    >>> net = Train("digits", "mlp", Recipe(iterations=1), width=6, limit=20)
    >>> table = run(Projection(net, layers=("fc1",), ranks=(1, 2), test_images=20)).table
    >>> sorted(set(table.kept)), sorted(set(table.place))
    (['random', 'update', 'weight'], ['all', 'fc1'])
    """

    parent: Train  # the trained net
    layers: tuple[str, ...]  # that are projected, each alone and all at once
    ranks: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64, 128)  # directions that are kept
    test_images: int | None = None  # None: all

    def compute(self) -> Result:
        model = self.parent.trained()
        began, ended = (weights_of(m, self.layers) for m in (self.parent.untrained(), model))
        test = self.parent.split("test", self.test_images)
        whole = evaluate(model, test)[1]
        bases = {"update": {n: subspaces.leading(ended[n] - began[n]) for n in self.layers}}
        bases["weight"] = {n: subspaces.leading(ended[n]) for n in self.layers}
        zero = {n: np.zeros_like(w) for n, w in began.items()}
        rows = []
        for kept in KEPT:
            start = zero if kept == "weight" else began
            for k in self.ranks:
                chosen = {n: self._basis(kept, n, k, bases, len(began[n])) for n in self.layers}
                for place in places(self.layers):
                    those = {n: chosen[n] for n in of_place(place, self.layers)}
                    accuracy = accuracy_with(model, start, those, test)
                    row = dict(place=place, kept=kept, k=k, accuracy=accuracy, drop=100 * (whole - accuracy))
                    rows.append(row | _residual(ended, start, those))
        return Result(pd.DataFrame(rows), dict(overlap=self._overlaps(bases)))

    def _basis(self, kept: str, layer: str, k: int, bases: Mapping, units: int) -> np.ndarray:
        if kept == "random":
            return subspaces.random_directions(units, min(k, units), derived_seed(self.parent.seed, layer, k))
        return bases[kept][layer][0][:, :k]

    def _overlaps(self, bases: Mapping) -> np.ndarray:
        def of(layer: str, k: int) -> float:
            return subspaces.overlap(*(bases[kept][layer][0][:, :k] for kept in ("update", "weight")))

        return np.array([[of(layer, k) for k in self.ranks] for layer in self.layers], dtype=np.float32)

    def cost(self) -> float:
        images = self.test_images or len(self.parent.split("test"))
        looks = len(KEPT) * len(self.ranks) * len(places(self.layers))
        return cost.passes(multiplications(self.parent), images, looks)

    def label(self) -> str:
        return f"{self.parent.label()}-{'_'.join(self.layers)}"


def places(layers: tuple[str, ...]) -> tuple[str, ...]:
    """All layers at once, then each alone."""
    return (EVERY, *layers)


def of_place(place: str, layers: tuple[str, ...]) -> tuple[str, ...]:
    """The layers that a place is."""
    return layers if place == EVERY else (place,)


def weights_of(model: nn.Module, layers: Iterable[str]) -> Weights:
    """The weight vectors of some layers, [units, inputs] float64. ValueError: a layer that has no weights."""
    found = {}
    for layer in layers:
        try:
            weight = model.get_submodule(layer).weight
        except AttributeError as error:
            having = [n for n, m in model.named_modules() if isinstance(m, nn.Linear | nn.Conv2d)]
            raise ValueError(f"no layer {layer!r} with weights: expected some of {having}") from error
        found[layer] = weight.detach().flatten(1).double().cpu().numpy()
    return found


def accuracy_with(model: nn.Module, began: Weights, bases: Weights, test) -> float:
    """Accuracy of a copy whose named layers hold Z + B B^T (W - Z), B their bases, Z where they began."""
    changed = deepcopy(model)
    with torch.no_grad():
        for layer, basis in bases.items():
            weight = changed.get_submodule(layer).weight
            update = weight.flatten(1).double().cpu().numpy() - began[layer]
            kept = began[layer] + subspaces.projected(update, basis)
            weight.copy_(torch.from_numpy(kept).view_as(weight))
    return evaluate(changed, test)[1]


def described(values: np.ndarray, update: np.ndarray, began: np.ndarray) -> dict[str, float | str]:
    """The numbers of `Spectrum` from the singular values of W and of W - Z, and from Z itself [rows, columns]."""
    rows, columns = began.shape
    variance, tail = float(np.square(began).mean()), spectrum.tail_exponent(values**2)
    numbers = dict(
        rows=rows, columns=columns, norm=_norm(values), distance=_norm(update),
        spectral=values.max(), update_spectral=update.max(),
        stable_rank=spectrum.stable_rank(values), update_stable_rank=spectrum.stable_rank(update),
        start_variance=variance, bulk_variance=spectrum.bulk_variance(values, rows, columns),
        edge=spectrum.spike_edge(rows, columns, variance), spikes=spectrum.spikes(values, rows, columns, variance),
        largest=values.max() ** 2, alpha=tail.alpha, alpha_deviation=tail.deviation, tail=tail.count,
    )  # fmt: skip
    return {name: float(value) for name, value in numbers.items()} | dict(reason=tail.reason)


def _norm(values: np.ndarray) -> float:
    return math.sqrt(float(np.square(values).sum()))


def _residual(ended: Weights, start: Weights, bases: Weights) -> dict[str, float]:
    """Spectral norm of what one layer throws away, and of noise of its Frobenius norm, over the spectral norm of W."""
    if len(bases) > 1:
        return dict(residual=math.nan, noise=math.nan)
    [(layer, basis)] = bases.items()
    update, (rows, columns) = ended[layer] - start[layer], ended[layer].shape
    lost, whole = update - subspaces.projected(update, basis), np.linalg.norm(ended[layer], 2)
    noise = math.sqrt(spectrum.bulk_edges(rows, columns, float(np.square(lost).mean()))[1])
    return dict(residual=float(np.linalg.norm(lost, 2) / whole), noise=noise / whole)
