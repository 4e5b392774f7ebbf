"""Nets trained under masks, which come from a trained parent."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar

import numpy as np
import torch
from torch import nn

from .. import criteria, data, environment, gradients, masks
from ..masks.weights import weights
from ..records import source, store
from ..records.experiment import Experiment, Result, Training
from ..training.fit import EACH_EPOCH, evaluate, fit
from ..training.recipe import Recipe, derived_seed
from .gradients import _with_own_statistics, each_loss, snapshot_epochs
from .mask_sources import MaskSources, quiet
from .train import Train, looked_at, steps_per_epoch, training_cost


@dataclass(frozen=True)
class MaskedTraining(Experiment):
    """A net trained from its beginning under a mask taken from its parent, which is trained once for all its masks.

    Table: as `training.state.History`, and at the end of each epoch nonzero (weights that are not zero, of those that a
    mask covers) and escaped (masked weights that are not zero: 0, or the training fails). Arrays, a row a layer, masked
    or not: layers (names), weights, kept, covered (whether a mask covers it); and emptied, the names of the layers of
    which nothing is left. Gradients that a criterion reads are of the loss of the parent's recipe, test losses
    of the child's. If `refreshed`, diffs are those of `MaskSources(refreshed=True)`, and the array `refreshed`
    [2] has the accuracy in the end on training and test images with batch-norm statistics of all training images.

    ValueError: no such criterion; a `begin` that is neither word nor a number of iterations above 0.

    >>> from pruning_lab import MaskedTraining, Recipe, Train, run
    >>> net = Train("digits", "mlp", Recipe(iterations=1), width=6, limit=20)
    >>> child = run(MaskedTraining(net, density=0.5))
    >>> child.table.escaped.tolist()
    [0]
    >>> int(child.arrays["kept"].sum()), int(child.arrays["weights"].sum())
    (276, 552)
    """

    is_net: ClassVar[bool] = True

    parent: Train  # the net that the mask is taken from
    criterion: str = "magnitude"  # name in `criteria.WEIGHT`
    density: float = 0.1  # of the weights that masks may remove
    scope: str = "global"  # "global", "local" or "erk", see `masks.build`
    floor: float = 0.0  # density below which no layer falls
    skip: tuple[str, ...] = ()  # weights that get no mask
    invert: bool = False  # keeps the lowest scores
    shuffle: str | None = None  # "layer": places drawn anew in every layer, as many
    # weights drawn anew; "initial": the parent's own first ones; or the parent's after so many iterations
    begin: str | int = "fresh"
    recipe: Recipe | None = None  # None: the parent's
    # the first so many training images are differentiated, where the criterion reads that; None: all
    sample: int | None = None
    seed: int = 0  # of fresh weights, of noise and shuffled masks, and of training
    refreshed: bool = False  # whether batch norms take statistics of the images, see above

    def __post_init__(self) -> None:
        super().__post_init__()
        criteria.find(self.criterion, criteria.WEIGHT)
        if not (self.begin in ("fresh", "initial") or (isinstance(self.begin, int) and self.begin > 0)):
            raise ValueError(
                f"begin={self.begin!r}: expected 'fresh', 'initial' or a number of iterations of the parent, at least 1"
            )

    @property
    def reads(self) -> tuple[str, ...]:
        """What the criterion reads."""
        return criteria.needs(criteria.find(self.criterion, criteria.WEIGHT))

    @property
    def diffs_from(self) -> MaskSources:
        """The parent's training as it was looked at for diffs."""
        net = self.parent
        epochs = net.recipe.epochs or max(1, net.recipe.iterations // steps_per_epoch(net))
        return MaskSources(net, snapshot_epochs(epochs), self.sample, refreshed=self.refreshed)

    @property
    def early(self) -> Train:
        """The parent's training up to where this one begins."""
        return replace(self.parent, recipe=replace(self.parent.recipe, iterations=self.begin, epochs=None))

    def masks(self) -> dict[str, torch.Tensor]:
        """The masks by the weights' names, on the device; the parent is trained now if its weights are not here."""
        shuffled = derived_seed(self.seed, "shuffle")
        how = dict(floor=self.floor, skip=self.skip, invert=self.invert, shuffle=self.shuffle, seed=shuffled)
        return masks.build(self._scores(), self.density, self.scope, **how)

    def compute(self) -> Result:
        with quiet():  # the record says it
            kept, model = self.masks(), self._beginning()
        if empty := masks.emptied(kept):
            print(f"{self.key}: no weight is left in {', '.join(empty)}", flush=True)
        train, test = self.parent.split("train", self.parent.limit), self.parent.split("test")
        how = dict(seed=derived_seed(self.seed, "child"), mask=kept, hooks=[(EACH_EPOCH, partial(_zeros, kept))])
        history = fit(model, train, test, self._recipe(), checkpoint_file=store.scratch(self), **how)
        arrays = _layers(model, kept) | dict(emptied=np.array(empty, dtype=str))
        if self.refreshed:
            own = _with_own_statistics(model, train)
            arrays["refreshed"] = np.array([evaluate(own, split)[1] for split in (train, test)])
        return Result(history.table, arrays, seconds=history.seconds)

    def _recipe(self) -> Recipe:
        return self.recipe or self.parent.recipe

    def _scores(self) -> dict[str, torch.Tensor]:
        seed, given = derived_seed(self.seed, "mask"), {}
        model = self.parent.trained() if self._reads_parent() else self.parent.fresh().to(environment.device())
        if "init" in self.reads:
            given["init"] = dict(self.parent.untrained().named_parameters())
        if "diff" in self.reads:
            given["diff"] = store.run(self.diffs_from, weights=True).weights()
        if "gradient" in self.reads:
            # Of these statistics the mean alone is read, which `silent` does not touch: diffs come from `diffs_from`.
            how = dict(want={"mean"}, loss=each_loss(self.parent.recipe))
            given["gradient"] = gradients.statistics(model, self._seen(), **how).mean
        return masks.scores(model, self.criterion, seed=seed, **given)

    def _seen(self) -> data.Split:
        """The images that are differentiated."""
        return self.parent.split("train", looked_at(self.parent, self.sample))

    def _reads_parent(self) -> bool:
        return bool({"weight", "gradient"} & set(self.reads))

    def _beginning(self) -> nn.Module:
        if self.begin == "fresh":
            return replace(self.parent, seed=derived_seed(self.seed, "child"), start=None).untrained()
        return self.parent.untrained() if self.begin == "initial" else self.early.trained()

    def made_of(self) -> list[Experiment]:
        return [self.parent, *([self.diffs_from] if "diff" in self.reads else [])]

    def needs(self) -> list[Experiment]:
        first = self.begin == "initial" or "init" in self.reads
        parents = [self.parent] if self._reads_parent() else self.parent.needs() if first else []
        parents += [self.diffs_from] if "diff" in self.reads else []
        return parents + ([self.early] if isinstance(self.begin, int) else [])

    def cost(self) -> float:
        return training_cost(self.parent, self._recipe())

    def training(self) -> Training:
        return Training(self.parent, self._recipe())

    def label(self) -> str:
        ranks = (
            self.criterion,
            "worst" * self.invert,
            "shuffled" * bool(self.shuffle),
            self.scope * (self.scope != "global"),
        )
        return "-".join(filter(None, (self.parent.label(), *ranks, f"{self.density:.3g}")))

    def plugin_digests(self) -> dict[str, str]:
        """Source digest of a criterion that is not the library's own."""
        function = criteria.find(self.criterion, criteria.WEIGHT)
        return {} if source.is_ours(function) else {self.criterion: source.plugin_digest(function)}


def _zeros(kept: dict[str, torch.Tensor], _: int, model: nn.Module) -> dict[str, int]:
    """How many covered weights are not zero, and how many of these the masks had removed."""
    values = dict(model.named_parameters())
    nonzero = sum(int(values[n].count_nonzero()) for n in kept)
    escaped = sum(int(values[n].masked_fill(m.to(values[n].device), 0).count_nonzero()) for n, m in kept.items())
    if escaped:
        raise AssertionError(f"{escaped} masked weights are not zero after an epoch")
    return dict(nonzero=nonzero, escaped=escaped)


def _layers(model: nn.Module, kept: dict[str, torch.Tensor]) -> dict[str, np.ndarray]:
    every = weights(model)
    stays = [int(kept[n].sum()) if n in kept else w.numel() for n, w in every.items()]
    counts = dict(weights=np.array([w.numel() for w in every.values()]), kept=np.array(stays))
    return (
        dict(layers=np.array([n.removesuffix(".weight") for n in every]), covered=np.array([n in kept for n in every]))
        | counts
    )
