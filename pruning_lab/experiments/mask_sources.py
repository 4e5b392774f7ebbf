"""What masks are made of: magnitudes and diffs while a net trains, and the epoch at which its coherence is highest."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ClassVar

import numpy as np
import torch
from torch import nn

from .. import gradients, masks
from ..masks.weights import weights
from ..records import store
from ..records.experiment import Result, Training
from ..training import checkpoint
from ..training.fit import evaluate
from ..training.state import Log
from .gradients import SILENT, _with_own_statistics, each_loss
from .train import Train, WhileTraining, ends, looked_at, steps_per_epoch


@dataclass(frozen=True)
class MaskSources(WhileTraining):
    """What masks of a net are made of, epoch by epoch, from a training that leaves the net's own record as well.

    The peak is the epoch, from 1 on, where the net's coherence is highest (003, section 5.3). Table: iteration, epoch,
    accuracy in [0, 1] and loss on the images that were differentiated, coherence (none at epoch 0), peak (bool); then
    how the mask of the largest weights at that epoch overlaps the one at the end: overlap, chance, chance_in_layers,
    above_chance (`masks.overlap`, the whole net; global, at `density`). Weights: the diffs at the peak by the weights'
    names, in their shapes. Loss and gradients are of the recipe's loss. All are of the net with its running
    statistics or, if `refreshed`, of a copy whose batch norms have these images' own ones.

    ValueError: no epoch from 1 on, so that there is no peak.

    >>> from pruning_lab import MaskSources, Recipe, Train, run
    >>> net = Train("digits", "mlp", Recipe(iterations=1), width=6, limit=20)
    >>> table = run(MaskSources(net, epochs=(0, 1), density=0.5)).table
    >>> table[["epoch", "peak"]].values.tolist()
    [[0, False], [1, True]]
    """

    has_weights: ClassVar[bool] = True

    net: Train  # the net whose training is looked at
    epochs: tuple[int, ...]  # 0: before the first
    sample: int | None = None  # the first so many training images are differentiated; None: all
    density: float = 0.1  # of the masks that are compared
    refreshed: bool = False  # whether batch norms take these images' own statistics

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
        at = ends(self.net, self.epochs)
        checkpoint.clear(file)
        for _ in range(2):
            result, snapshots = self.net.train_with(scratch, [(at, partial(self._look, _Peak(file)))])
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
        seen = self.net.split("train", looked_at(self.net, self.sample))
        read = _with_own_statistics(model, seen) if self.refreshed else model
        loss, accuracy = evaluate(read, seen, loss=self.net.recipe.loss)
        row = dict(epoch=iteration // steps_per_epoch(self.net), accuracy=accuracy, loss=loss)
        with quiet():
            kept = masks.build(masks.scores(model, "magnitude"), self.density)
        row["mask"] = np.packbits(np.concatenate([m.flatten().cpu().numpy() for m in kept.values()]))
        row["state"] = _state(model)
        if iteration == 0:  # counts for no maximum, and batch norms have no statistics yet
            return row
        how = dict(want={"coherence", "diffs"}, loss=each_loss(self.net.recipe), silent=SILENT)
        statistics = gradients.statistics(read, seen, **how)
        row["coherence"] = statistics.coherence()
        peak.offer(iteration, row, {name: statistics.diffs[name] for name in kept})
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
def quiet() -> Iterator[None]:
    """Empty layers are not warned of."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", masks.EmptyLayer)
        yield


def _unpacked(packed: np.ndarray, shapes: dict[str, torch.Size]) -> dict[str, torch.Tensor]:
    sizes = [shape.numel() for shape in shapes.values()]
    flat = torch.from_numpy(np.unpackbits(packed, count=sum(sizes))).bool().split(sizes)
    return {name: part.view(shape) for (name, shape), part in zip(shapes.items(), flat, strict=True)}
