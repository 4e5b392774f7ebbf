"""Where a training stands, and how it outlives its process: saved whole, restored whole or not at all."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from . import checkpoint, stopping
from .recipe import Recipe, moments_of, optimizer

MEASURED = ("epoch", "iteration", "lr", "train_loss", "train_accuracy", "test_loss", "test_accuracy")
VALIDATED = ("validation_loss", "validation_accuracy")


@dataclass
class Log:
    """What was noted along the way: numbers as `rows` of a table, tensors in `stacks`."""

    rows: list[dict[str, float]] = field(default_factory=list)
    stacks: dict[str, list[np.ndarray]] = field(default_factory=dict)

    @property
    def table(self) -> pd.DataFrame:
        """One row a note."""
        return pd.DataFrame(self.rows)

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """Name -> the tensors of all notes, stacked."""
        return {k: np.stack(v) for k, v in self.stacks.items()}

    def add(self, row: Mapping[str, float | torch.Tensor | np.ndarray]) -> None:
        """Append one note; numbers go to the table, tensors and arrays to the stacks."""
        row = {k: v.item() if isinstance(v, np.generic) else v for k, v in row.items()}
        self.rows.append({k: v for k, v in row.items() if isinstance(v, int | float)})
        for k, v in row.items():
            if not isinstance(v, int | float):
                array = v.detach().cpu().numpy() if isinstance(v, torch.Tensor) else v
                self.stacks.setdefault(k, []).append(np.array(array))  # a copy: hooks hand out live weights


@dataclass
class History(Log):
    """What training left behind: one row a finished epoch, the hooks' tensors stacked by epoch, and `snapshots`.

    Columns: those `MEASURED` (in training as running means over the epoch), those `VALIDATED` if any, test_images (how
    many were looked at) where the recipe says `tested_on`, those of its rules for stopping (`stopping.columns`), the
    hooks'. Losses are the recipe's.
    """

    snapshots: Log = field(default_factory=Log)
    seconds: float = 0.0  # time spent training, earlier processes included

    @property
    def stopped(self) -> tuple[int, tuple[str, ...]] | None:
        """The epoch after which a rule ended the training, and which: "loss", "margin"; None: it had its limit."""
        return stopping.stopped(self.rows)


@dataclass(eq=False)
class State:
    """Where a training stands: all that a checkpoint holds."""

    model: nn.Module
    recipe: Recipe
    images: int  # trained on
    due: frozenset[int] = frozenset()  # the iterations at which snapshots are taken
    file: Path | None = None
    identity: dict[str, Any] = field(default_factory=dict)  # what the file must agree in to be this training's
    iteration: int = 0
    epoch: int = 0
    history: History = field(default_factory=History)
    best: dict[str, torch.Tensor] = field(default_factory=dict)
    began: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.optimizer, self.saved_at = optimizer(self.recipe, list(self.model.parameters())), self.began

    def seconds(self) -> float:
        """Time spent training, earlier processes included."""
        return self.history.seconds + time.monotonic() - self.began

    def save(self, every: float) -> None:
        """Write the checkpoint unless the last one is younger than `every` seconds."""
        if self.file is None or time.monotonic() - self.saved_at < every:
            return
        held = self.optimizer.state_dict()["state"].items()
        moments = {f"{k}.{n}": v for k, own in held for n, v in own.items() if isinstance(v, torch.Tensor)}
        groups = dict(model=self.model.state_dict(), best=self.best, optimizer=moments)
        groups |= dict(stack=_numbered(self.history), snapshot=_numbered(self.history.snapshots))
        rows = dict(rows=self.history.rows, snapshots=self.history.snapshots.rows)
        stands = dict(iteration=self.iteration, epoch=self.epoch, seconds=self.seconds())
        checkpoint.save(self.file, groups, self.identity | rows | stands | dict(holds=_inventory(groups, **rows)))
        self.saved_at = time.monotonic()

    def resume(self) -> None:
        """Go on from the checkpoint if there is a sound one of this run; any other is named, and leaves no trace."""
        if self.file is None:
            return
        checkpoint.clear(self.file)
        if (found := checkpoint.load(self.file)) is None:
            return
        groups, values = found
        if other := [k for k, v in self.identity.items() if values.get(k) != v]:
            words = f"belongs to another run; training starts over (not the same: {', '.join(other)})"
            print(f"checkpoint {self.file.name} {words}", file=sys.stderr)
            return
        try:
            self._restore(groups, values)
        except (MemoryError, torch.OutOfMemoryError):  # says nothing against the checkpoint
            raise
        except Exception as error:  # whatever it is, the run can do without
            why = f"{type(error).__name__}: {error}"
            print(f"checkpoint {self.file.name} is broken ({why}); training starts over", file=sys.stderr)

    def _restore(self, groups: checkpoint.Groups, values: Mapping[str, Any]) -> None:
        """Take over what a checkpoint holds, once all of it fits. ValueError, KeyError, ...: it does not."""
        rows, snapshots, told = values["rows"], values["snapshots"], values["holds"]
        if told != json.loads(json.dumps(_inventory(groups, rows, snapshots))):
            raise ValueError("it lacks some of what was saved, or has more")
        self._check_progress(values)
        _check_fit(groups["model"], self.model.state_dict())
        if best := groups.get("best", {}):
            _check_fit(best, groups["model"])
        if bool(best) != any(r["validation_loss"] < np.inf for r in rows if self.recipe.holdout):
            raise ValueError("best weights and validation losses do not go together")
        stacks, looks = ([(k, groups[g][k]) for k in told["tensors"].get(g, {})] for g in ("stack", "snapshot"))
        history = History(rows, _stacked(stacks), Log(snapshots, _stacked(looks)), values["seconds"])
        device = next(self.model.parameters()).device
        best = {k: v.to(device) for k, v in best.items()}
        fresh = self._optimizer_with(groups.get("optimizer", {}))
        self.model.load_state_dict(groups["model"])
        self.optimizer, self.history, self.best = fresh, history, best
        self.iteration, self.epoch = values["iteration"], values["epoch"]

    def _check_progress(self, values: Mapping[str, Any]) -> None:
        """ValueError, KeyError: these values of a checkpoint cannot be those of this run after so many epochs."""
        epoch, iteration, seconds = (values[k] for k in ("epoch", "iteration", "seconds"))
        end, whole = partial(self.recipe.end, images=self.images), type(epoch) is type(iteration) is int
        if not (whole and epoch >= 1 and end(epoch - 1) < end(epoch) == iteration):
            raise ValueError(f"epoch {epoch!r} does not end at iteration {iteration!r}")
        if not (type(seconds) in (int, float) and 0 <= seconds < np.inf):
            raise ValueError(f"{seconds!r} seconds cannot be")
        ends = {k: end(k) for k in range(1, epoch + 1)}
        expected = [dict(epoch=k, iteration=last, lr=self.recipe.lr_at(last - 1)) for k, last in ends.items()]
        if [{k: row[k] for k in ("epoch", "iteration", "lr")} for row in values["rows"]] != expected:
            raise ValueError(f"its rows are not those of {epoch} epochs")
        if [row["iteration"] for row in values["snapshots"]] != [k for k in sorted(self.due) if k <= iteration]:
            raise ValueError(f"its snapshots are not those up to iteration {iteration}")
        for row in values["rows"] + values["snapshots"]:
            if not all(isinstance(v, int | float) for v in row.values()):
                raise ValueError("a row holds what is no number")
        if any(stopping.met(row) for row in values["rows"][:-1]):
            raise ValueError("it goes on where it should have stopped")
        measured = (*MEASURED, *VALIDATED * bool(self.recipe.holdout), *stopping.columns(self.recipe))
        for row in values["rows"]:
            if lacking := [k for k in measured if k not in row]:
                raise ValueError(f"a row lacks {', '.join(lacking)}")

    def _optimizer_with(self, moments: Mapping[str, torch.Tensor]) -> torch.optim.Optimizer:
        """A fresh one with these moments, `<number of the parameter>.<name>` -> tensor. ValueError: it has others."""
        state: dict[int, dict[str, torch.Tensor]] = {}
        parameters = list(self.model.parameters())
        for name, stored in moments.items():
            k, moment = name.split(".")
            like = stored if moment == "step" else parameters[int(k)]
            if stored.shape != (expected := () if moment == "step" else like.shape):
                raise ValueError(f"{moment} of parameter {k} has shape {list(stored.shape)}, not {list(expected)}")
            # a fused step walks the memory of weights and moments side by side, so their strides must be the same
            state.setdefault(int(k), {})[moment] = torch.empty_like(like, requires_grad=False).copy_(stored)
        if other := [k for k, held in state.items() if held.keys() != moments_of(self.recipe)]:
            raise ValueError(f"moments of parameter {other[0]} are {sorted(state[other[0]])}")
        fresh = optimizer(self.recipe, parameters)
        fresh.load_state_dict(fresh.state_dict() | {"state": state})
        return fresh


def _numbered(log: Log) -> dict[str, torch.Tensor]:
    return {f"{k}.{i}": torch.from_numpy(a) for k, stack in log.stacks.items() for i, a in enumerate(stack)}


def _stacked(numbered: Iterable[tuple[str, torch.Tensor]]) -> dict[str, list[np.ndarray]]:
    """What `_numbered` took apart, in the order it had."""
    stacks: dict[str, list[np.ndarray]] = {}
    for name, tensor in numbered:
        stacks.setdefault(name.rsplit(".", 1)[0], []).append(tensor.numpy())
    return stacks


def _inventory(groups: Mapping[str, Mapping[str, torch.Tensor]], rows: list[dict], snapshots: list[dict]) -> dict:
    """What a checkpoint holds, said in it once more: type and shape of each tensor, in order; columns of each row."""
    tensors = {g: {k: [str(t.dtype), *t.shape] for k, t in named.items()} for g, named in groups.items() if named}
    return dict(tensors=tensors, rows=[list(r) for r in rows], snapshots=[list(r) for r in snapshots])


def _check_fit(stored: Mapping[str, torch.Tensor], own: Mapping[str, torch.Tensor]) -> None:
    """ValueError: tensors of a checkpoint that have other names, shapes or types than a model's own."""
    kinds = [{k: (t.dtype, t.shape) for k, t in state.items()} for state in (stored, own)]
    if other := sorted(k for k in kinds[0].keys() | kinds[1].keys() if kinds[0].get(k) != kinds[1].get(k)):
        raise ValueError(f"its {', '.join(other[:3])} cannot be those of the model")
