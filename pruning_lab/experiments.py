"""The wiring: what each experiment is made of."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import nn

from . import criteria, data, environment, metrics, models, provenance, store, structure, units
from .experiment import Experiment, Result
from .precision import tensor_float_32
from .recipe import Recipe
from .train import Log, evaluate, fit


@dataclass(frozen=True)
class Train(Experiment):
    """One net trained from scratch; the table has one row an epoch (see `train.History`)."""

    modules: ClassVar[tuple[str, ...]] = ("data", "models", "recipe", "train", "checkpoint", "precision")
    has_weights: ClassVar[bool] = True

    dataset: str
    model: str
    recipe: Recipe
    seed: int = 0
    width: int | None = None
    init: str = "default"
    scale: str = "unit"
    image_size: int | None = None
    limit: int | None = None  # training images; None: all
    start: Train | None = None  # begin at this run's trained weights instead of fresh ones

    def split(self, name: str, limit: int | None = None) -> data.Split:
        """The training or test images as this net sees them."""
        return data.load(self.dataset, name, limit=limit, image_size=self.image_size, scale=self.scale)

    def untrained(self) -> nn.Sequential:
        """The net at its initial weights, on the CPU."""
        shape, classes = self._shape()
        model = models.build(self.model, shape, classes, self.width, self.seed, self.init)
        if self.start is not None:
            model.load_state_dict(store.run(self.start, weights=True).weights())
        return model

    def trained(self) -> nn.Sequential:
        """The net at its trained weights, on the device, in evaluation mode; trained now if no machine-local weights exist."""
        model = self.untrained()
        model.load_state_dict(store.run(self, weights=True).weights())
        return model.to(environment.device()).eval()

    def compute(self) -> Result:
        return self.train(store.scratch(self))[0]

    def train(self, checkpoint_file: Path, **hooks: Any) -> tuple[Result, Log]:
        """What `compute` gives, and the snapshots that hooks (`snapshot`, `snapshot_at`; see `train.fit`) took on the way."""
        model = self.untrained()
        train, test = self.split("train", self.limit), self.split("test")
        history = fit(model, train, test, self.recipe, seed=self.seed, checkpoint_file=checkpoint_file, **hooks)
        return Result(history.table, history.arrays, model.state_dict(), history.seconds), history.snapshots

    def cost(self) -> float:
        images = len(self.split("train", self.limit))
        return 6e-11 * _multiplications(self) * self.recipe.batch * self.recipe.steps(images)  # three passes at 1e11 operations a second

    def label(self) -> str:
        return f"{self.model}-{self.dataset.replace(':', '-')}-s{self.seed}"

    def data_read(self) -> dict[str, dict[str, str | int]]:
        found = {s: data.fingerprint(self.dataset, s, self.limit if s == "train" else None) for s in ("train", "test")}
        return {f"{self.dataset}/{s}": f for s, f in found.items() if f}

    def _shape(self) -> tuple[tuple[int, int, int], int]:
        first = self.split("test", 1)
        return tuple(first.images.shape[1:]), len(first.classes)


def _multiplications(net: Train) -> int:
    fresh = replace(net, start=None).untrained()  # a cost is asked for before the run that a net starts from has its record
    return models.multiplications(fresh, tuple(net.split("test", 1).images.shape[1:]))


@dataclass(frozen=True)
class Snapshots(Experiment):
    """The weight vectors of some layers while a net trains, from a training that leaves the net's own record as well.

    Table: iteration, epoch, accuracy in [0, 1] and loss on the first `sample` test images. Arrays of each layer, float16:
    `<layer>.norms` [T, units] and `<layer>.gram` [T, units, units] of its weight vectors, `<layer>.null` [T, units, units]
    of the same weights with all entries permuted; and `<layer>.classes` [T, units] int16, the class whose images (of the
    first `sample` for training) activate a unit most, -1 where none does.
    """

    modules: ClassVar[tuple[str, ...]] = (*Train.modules, "criteria", "surgery", "units")
    published: ClassVar[bool] = False  # megabytes; what is read off them is published

    net: Train
    layers: tuple[str, ...]
    at: tuple[int, ...]  # iterations; 0: before the first
    sample: int = 1000

    def parents(self) -> list[Experiment]:
        return self.net.parents()

    def leaves(self) -> list[Experiment]:
        return [self.net]

    def own_code(self) -> dict[str, str]:
        return super().own_code() | self.net.own_code()

    def compute(self) -> Result:
        result, snapshots = self.net.train(store.scratch(self), snapshot=self._look, snapshot_at=self.at)
        store.put(self.net, result)
        return Result(snapshots.table, snapshots.arrays, seconds=result.seconds)

    def _look(self, iteration: int, model: nn.Module) -> dict[str, float | torch.Tensor]:
        recipe, images = self.net.recipe, len(self.net.split("train", self.net.limit))
        per_epoch = -(-(images - recipe.holdout) // recipe.batch)
        loss, accuracy = evaluate(model, self.net.split("test", self.sample))
        found = dict(epoch=iteration / per_epoch, accuracy=accuracy, loss=loss)
        for layer in self.layers:
            weight = model.get_submodule(layer).weight.detach().flatten(1)
            order = torch.randperm(weight.numel(), generator=torch.Generator().manual_seed(iteration)).to(weight.device)
            shuffled = weight.flatten()[order].view_as(weight)
            active = units.class_activations(model, layer, self.net.split("train", self.sample))
            classes = torch.where(active.amax(0) > 0, active.argmax(0), -1)
            with tensor_float_32(False):
                arrays = dict(norms=weight.norm(dim=1), gram=weight @ weight.T, null=shuffled @ shuffled.T)
            found |= {f"{layer}.{name}": values.half() for name, values in arrays.items()}
            found[f"{layer}.classes"] = classes.short()
        return found

    def cost(self) -> float:
        return self.net.cost()

    def label(self) -> str:
        return f"{self.net.label()}-{'_'.join(self.layers)}"

    def data_read(self) -> dict[str, dict[str, str | int]]:
        return self.net.data_read()


@dataclass(frozen=True)
class UnitCurve(Experiment):
    """Accuracy along the removal orders of a group of criteria, which share one pass over the test images.

    Table: criterion, remove ("lowest" or "highest" score first), repeat, removed (0..units), accuracy in [0, 1], loss.
    `repeats` counts the orders of a criterion that reads noise; one that reads nothing else has one direction.
    """

    modules: ClassVar[tuple[str, ...]] = ("data", "models", "criteria", "surgery", "units", "precision")

    parent: Train
    layer: str
    group: tuple[str, ...] = ("norm", "frame_potential", "random")
    repeats: int = 5
    sample: int = 1000  # training images from which criteria read activations
    test_images: int | None = None  # None: all

    def compute(self) -> Result:
        model, orders = self.parent.trained(), {}
        for criterion in self.group:
            reads = criteria.needs(criterion)
            seen = self.parent.split("train", self.sample) if any(r.startswith("activation") for r in reads) else None
            given = {"init": self.parent.untrained().get_submodule(self.layer).weight} if "init" in reads else {}
            for repeat in range(self.repeats if "noise" in reads else 1):
                for remove in ("lowest",) if reads == ("noise",) else ("lowest", "highest"):
                    found = units.order(model, self.layer, criterion, remove=remove, data=seen, seed=repeat, **given)
                    orders[criterion, remove, repeat] = found
        curves = units.pruning_curves(model, self.layer, orders, self.parent.split("test"), self.test_images)
        tables = [self._table(*curve).assign(criterion=c, remove=r, repeat=k) for (c, r, k), curve in curves.items()]
        return Result(pd.concat(tables)[["criterion", "remove", "repeat", "removed", "accuracy", "loss"]])

    @staticmethod
    def _table(accuracy: torch.Tensor, loss: torch.Tensor) -> pd.DataFrame:
        columns = dict(accuracy=accuracy.cpu().numpy(), loss=loss.cpu().numpy())
        return pd.DataFrame(dict(removed=range(len(accuracy))) | columns).round(6)

    def cost(self) -> float:
        images = self.test_images or len(self.parent.split("test"))
        return 2e-11 * images * 3 * _multiplications(self.parent)

    def label(self) -> str:
        return f"{self.parent.label()}-{self.layer}-{'_'.join(self.group)[:40]}"

    def sources(self) -> dict[str, str]:
        """Source digests of the criteria that are not the library's own."""
        return {name: provenance.source_digest(f) for name in self.group if (f := criteria.find(name)).__module__ != criteria.__name__}

    def data_read(self) -> dict[str, dict[str, str | int]]:
        return self.parent.data_read()


@dataclass(frozen=True)
class UnitImportance(Experiment):
    """What each unit of a layer is worth by itself.

    Table: unit, norm, share (of the frame potential), loss_increase and accuracy_drop when that unit alone goes.
    """

    modules: ClassVar[tuple[str, ...]] = ("data", "models", "criteria", "surgery", "units", "precision")

    parent: Train
    layer: str
    test_images: int | None = None

    def compute(self) -> Result:
        model = self.parent.trained()
        alone = units.removal_losses(model, self.layer, self.parent.split("test"), self.test_images)
        norm, share = (units.scores(model, self.layer, c).cpu().numpy() for c in ("norm", "frame_potential"))
        increase = (alone.loss - alone.whole_loss).cpu().numpy()
        drop = (alone.whole_accuracy - alone.accuracy).cpu().numpy()
        columns = dict(unit=range(len(norm)), norm=norm, share=share / share.sum(), loss_increase=increase, accuracy_drop=drop)
        return Result(pd.DataFrame(columns).round(9))

    def cost(self) -> float:
        images = self.test_images or len(self.parent.split("test"))
        return 2e-11 * images * 2 * _multiplications(self.parent)

    def label(self) -> str:
        return f"{self.parent.label()}-{self.layer}"

    def data_read(self) -> dict[str, dict[str, str | int]]:
        return self.parent.data_read()


@dataclass(frozen=True)
class LayerStructure(Experiment):
    """The graph of a layer's weight vectors in numbers, at the snapshots in `at` (None: all), beside the same weights permuted.

    Table: iteration, epoch, accuracy, weights ("trained" or "permuted"), then the columns of `structure.describe`.
    """

    modules: ClassVar[tuple[str, ...]] = ("metrics", "structure")

    snapshots: Snapshots
    layer: str
    deviations: float = 4.0
    neighbours: int = 5
    at: tuple[int, ...] | None = None

    def compute(self) -> Result:
        record, rows = store.run(self.snapshots), []
        inputs, classes = self._inputs(), record.arrays[f"{self.layer}.classes"]
        for t, row in record.table[record.table.iteration.isin(self.at or self.snapshots.at)].iterrows():
            when = row[["iteration", "epoch", "accuracy"]].to_dict()
            for weights, name in (("trained", "gram"), ("permuted", "null")):
                gram = record.arrays[f"{self.layer}.{name}"][t]
                found = structure.describe(gram, inputs, classes[t], deviations=self.deviations, neighbours=self.neighbours)
                rows.append(when | dict(weights=weights) | found)
        return Result(pd.DataFrame(rows).astype(dict(iteration=int)).round(6))

    def _inputs(self) -> int:
        return self.snapshots.net.untrained().get_submodule(self.layer).weight[0].numel()

    def label(self) -> str:
        return f"{self.snapshots.net.label()}-{self.layer}"

    def data_read(self) -> dict[str, dict[str, str | int]]:
        return self.snapshots.data_read()


@dataclass(frozen=True)
class LayerGraph(Experiment):
    """What a page needs to draw a layer's weight vectors as a graph, at those snapshots that `at` names (None: all).

    Table: iteration, epoch, accuracy. Arrays: `norms` [T, U] float16, `cosines` [T, U (U - 1) / 2] int8 (`structure.pack`),
    `classes` [T, U]; of the last snapshot of the training `communities` and `clusters` [U]; `order.<criterion>` [U], the units
    of the trained net in the order of their removal; for a layer that reads the image `pictures` [U, h, w, channels] int8, at most 14 x 14.
    """

    modules: ClassVar[tuple[str, ...]] = ("metrics", "structure", "criteria", "surgery", "units", "precision")

    snapshots: Snapshots
    layer: str
    at: tuple[int, ...] | None = None
    orders: tuple[str, ...] = ("norm", "frame_potential", "random")

    def compute(self) -> Result:
        record, net = store.run(self.snapshots), self.snapshots.net
        chosen = record.table.index[record.table.iteration.isin(self.at or self.snapshots.at)]
        grams = record.arrays[f"{self.layer}.gram"]
        last = metrics.cosines(grams[-1])
        arrays = dict(
            norms=record.arrays[f"{self.layer}.norms"][chosen],
            cosines=structure.pack(metrics.cosines(grams[t]) for t in chosen),
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

    def data_read(self) -> dict[str, dict[str, str | int]]:
        return self.snapshots.data_read()
