"""Masks from a trained parent, and nets trained under them."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ClassVar

import numpy as np
import torch
from torch import nn

from .. import criteria, data, environment, gradients, masks
from ..masks.weights import weights
from ..records import source, store
from ..records.experiment import Experiment, Result, Training
from ..training import checkpoint
from ..training.fit import evaluate, fit
from ..training.recipe import Recipe, derived_seed
from ..training.state import Log
from .gradients import SILENT, snapshot_epochs
from .train import Train, WhileTraining, multiplications, steps_per_epoch


@dataclass(frozen=True)
class MaskSources(WhileTraining):
    """What masks of a net are made of, epoch by epoch, from a training that leaves the net's own record as well.

    The peak is the epoch, from 1 on, where the net's coherence is highest (003, section 5.3). Table: iteration, epoch,
    accuracy in [0, 1] and loss on the images that were differentiated, coherence (none at epoch 0), peak (bool); then
    how the mask of the largest
    weights at that epoch overlaps the one at the end: overlap, chance, chance_in_layers, above_chance (`masks.overlap`,
        the
    whole net; global, at `density`). Weights: the diffs at the peak by the weights' names, in their shapes.
    """

    has_weights: ClassVar[bool] = True

    net: Train
    epochs: tuple[int, ...]  # 0: before the first
    sample: int | None = None  # the first so many training images are differentiated; None: all
    density: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        if max(self.epochs, default=0) < 1:
            raise ValueError(f"epochs {self.epochs}: expected at least one from 1 on, else there is no peak")

    def compute(self) -> Result:
        result, snapshots, diffs = self._watched()
        shared = self._shared(snapshots.arrays["mask"])
        table = snapshots.table.assign(peak=lambda t: t.index == t.coherence.idxmax())
        table = table.assign(**{c: [s[c] for s in shared] for c in shared[0]}).round(9)
        store.put(self.net, result)
        _peak_file(self).unlink()
        return Result(table, {}, diffs, result.seconds)

    def _watched(self) -> tuple[Result, Log, dict[str, torch.Tensor]]:
        """The training, what was seen on its way, and the diffs at the peak; made again if a run that died lost those.

        FloatingPointError: there is no peak.
        """
        scratch, file = store.scratch(self), _peak_file(self)
        at = [epoch * steps_per_epoch(self.net) for epoch in self.epochs]
        checkpoint.clear(file)
        for _ in range(2):
            look = partial(self._look, _Peak(file))
            result, snapshots = self.net.train(scratch, snapshot=look, snapshot_at=at)
            if snapshots.table.coherence.isna().all():
                raise FloatingPointError(f"{self.key}: no coherence at any of its epochs: all gradients are zero")
            if (diffs := _Peak(file).diffs(snapshots)) is not None:
                return result, snapshots, diffs
            print(f"{self.key}: the diffs of the peak are not those of this training; it starts over", file=sys.stderr)
            scratch.unlink(missing_ok=True)
            file.unlink(missing_ok=True)
        raise RuntimeError(f"{self.key}: the diffs of the peak cannot be read back from {file.name}")

    def _look(self, peak: _Peak, iteration: int, model: nn.Module) -> dict[str, float | np.ndarray]:
        """What is seen at one epoch; the diffs of the highest coherence so far go to a file."""
        seen = _differentiated(self.net, self.sample)
        loss, accuracy = evaluate(model, seen)
        row = dict(epoch=iteration // steps_per_epoch(self.net), accuracy=accuracy, loss=loss)
        with _quiet():
            kept = masks.build(masks.scores(model, "magnitude"), self.density)
        row["mask"] = np.packbits(np.concatenate([m.flatten().cpu().numpy() for m in kept.values()]))
        row["state"] = _state(model)
        if iteration == 0:  # counts for no maximum, and batch norms have no statistics yet
            return row
        found = gradients.statistics(model, seen, want={"coherence", "diffs"}, silent=SILENT)
        row["coherence"] = found.coherence()
        peak.offer(iteration, row, {name: found.diffs[name] for name in kept})
        return row

    def _shared(self, packed: np.ndarray) -> list[dict[str, float]]:
        """How the mask of each snapshot overlaps the last one's."""
        every = weights(net := self.net.fresh())
        shapes = {name: every[name].shape for name in masks.maskable(net)}
        last = _unpacked(packed[-1], shapes)
        wholes = [masks.overlap(_unpacked(stack, shapes), last).iloc[-1] for stack in packed]
        columns = ("overlap", "chance", "chance_in_layers", "above_chance")
        return [{c: float(whole[c]) for c in columns} for whole in wholes]

    def training(self) -> Training:
        def look(iteration: int, model: nn.Module) -> dict[str, float | np.ndarray]:
            with TemporaryDirectory() as folder:
                return self._look(_Peak(Path(folder) / "peak.safetensors"), iteration, model)

        return Training(self.net, self.net.recipe, look, len(self.epochs))

    def label(self) -> str:
        return f"{self.net.label()}-masks"


class _Peak:
    """The diffs at the highest coherence of one training, in a file beside its checkpoint, and the net's state there.

    A run that died may have left the file from beyond its last checkpoint; training may go another way from there now.
    """

    def __init__(self, file: Path) -> None:
        self.file, self.highest = file, None

    def offer(self, iteration: int, row: Mapping[str, float | np.ndarray], diffs: Mapping[str, torch.Tensor]) -> None:
        """Keep these diffs if no earlier iteration of this training has a higher coherence than the row."""
        if self.highest is None:
            self.highest = self._before(iteration)
        if row["coherence"] > self.highest:
            seen = dict(iteration=iteration, coherence=row["coherence"], state=row["state"].tolist())
            checkpoint.save(self.file, {"diffs": diffs}, seen)
            self.highest = row["coherence"]

    def _before(self, iteration: int) -> float:
        """The coherence in the file, if that is from before an iteration; what is from later is of a run that died."""
        _, seen = checkpoint.load(self.file) or ({}, {})
        return seen["coherence"] if seen.get("iteration", iteration) < iteration else -np.inf

    def diffs(self, snapshots: Log) -> dict[str, torch.Tensor] | None:
        """The diffs, on the CPU; None: they are not there, or not of the net at the peak of these snapshots."""
        groups, seen = checkpoint.load(self.file) or ({}, {})
        place = snapshots.table.coherence.idxmax()
        ours = "state" in snapshots.arrays and seen.get("state") == snapshots.arrays["state"][place].tolist()
        return groups["diffs"] if ours else None


def _peak_file(e: MaskSources) -> Path:
    return store.scratch(e).with_suffix(".peak.safetensors")


def _state(model: nn.Module) -> np.ndarray:
    """The digest of a net's weights and buffers, [32] uint8."""
    return np.frombuffer(bytes.fromhex(checkpoint.digest(model.state_dict())), np.uint8)


@contextmanager
def _quiet() -> Iterator[None]:
    """Empty layers are not warned of."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", masks.EmptyLayer)
        yield


def _differentiated(net: Train, sample: int | None) -> data.Split:
    return net.split("train", min((n for n in (net.limit, sample) if n), default=None))


def _unpacked(packed: np.ndarray, shapes: dict[str, torch.Size]) -> dict[str, torch.Tensor]:
    sizes = [shape.numel() for shape in shapes.values()]
    flat = torch.from_numpy(np.unpackbits(packed, count=sum(sizes))).bool().split(sizes)
    return {name: part.view(shape) for (name, shape), part in zip(shapes.items(), flat, strict=True)}


@dataclass(frozen=True)
class MaskedTraining(Experiment):
    """A net trained from its beginning under a mask taken from its parent, which is trained once for all its masks.

    Table: as `training.state.History`, and at the end of each epoch nonzero (weights that are not zero, of those that a
    mask covers) and escaped (masked weights that are not zero: 0, or the training fails). Arrays, a row a layer, masked
    or not: layers (names), weights, kept, covered (whether a mask covers it); and emptied, the names of the layers of
    which nothing is left.
    """

    is_net: ClassVar[bool] = True

    parent: Train
    criterion: str = "magnitude"
    density: float = 0.1  # of the weights that masks may remove
    scope: str = "global"  # see `masks.build` for this and the next four
    floor: float = 0.0
    skip: tuple[str, ...] = ()
    invert: bool = False
    shuffle: str | None = None
    # weights drawn anew; "initial": the parent's own first ones; or the parent's after so many iterations
    begin: str | int = "fresh"
    recipe: Recipe | None = None  # None: the parent's
    # the first so many training images are differentiated, where the criterion reads that; None: all
    sample: int | None = None
    seed: int = 0

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
        return MaskSources(net, snapshot_epochs(epochs), self.sample)

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
        with _quiet():  # the record says it
            kept, model = self.masks(), self._beginning()
        if empty := masks.emptied(kept):
            print(f"{self.key}: no weight is left in {', '.join(empty)}", flush=True)
        train, test = self.parent.split("train", self.parent.limit), self.parent.split("test")
        hooks = dict(each_epoch=partial(_zeros, kept), checkpoint_file=store.scratch(self))
        history = fit(model, train, test, self._recipe(), seed=derived_seed(self.seed, "child"), mask=kept, **hooks)
        return Result(
            history.table, _layers(model, kept) | dict(emptied=np.array(empty, dtype=str)), seconds=history.seconds
        )

    def _recipe(self) -> Recipe:
        return self.recipe or self.parent.recipe

    def _scores(self) -> dict[str, torch.Tensor]:
        seed, given = derived_seed(self.seed, "mask"), {}
        model = self.parent.trained() if self._reads_parent() else self.parent.fresh().to(environment.device())
        if "init" in self.reads:
            given["init"] = dict(self.parent.untrained().named_parameters())
        if "diff" in self.reads:
            given["diff"] = store.run(self.diffs_from, weights=True).weights()
        seen = _differentiated(self.parent, self.sample) if "gradient" in self.reads else None
        # Of the statistics the mean alone is read here, which `silent` does not touch: diffs come from `diffs_from`.
        return masks.scores(model, self.criterion, data=seen, seed=seed, **given)

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
        found = [self.parent] if self._reads_parent() else self.parent.needs() if first else []
        found += [self.diffs_from] if "diff" in self.reads else []
        return found + ([self.early] if isinstance(self.begin, int) else [])

    def cost(self) -> float:
        recipe, images = self._recipe(), data.size(self.parent.dataset, "train", self.parent.limit)
        return 6e-11 * multiplications(self.parent) * recipe.batch * recipe.steps(images)

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
