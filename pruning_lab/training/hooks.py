"""Hooks: functions that look at a net while it trains, each with when it is called, and the rows that they give."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import torch
from torch import nn

from ..literal import plain

#: When a hook is called after every epoch.
EACH_EPOCH = "each epoch"
#: A function of an epoch's or iteration's number and the model; it returns columns of a row.
Hook = Callable[[int, nn.Module], Mapping[str, float | torch.Tensor | np.ndarray]]
#: `EACH_EPOCH`, or the iterations at which a hook is called (0: before the first).
When = str | Collection[int]
EXPECTED = f"expected pairs (when, hook), with {EACH_EPOCH!r} or iterations for when, and a function for hook"


class Hooks:
    """The hooks of a training of so many steps, in their order: those called after each epoch, those at iterations.

    ValueError: a pair that is none, or an iteration that this training does not have.
    """

    def __init__(self, pairs: Iterable[tuple[When, Hook]], steps: int) -> None:
        pairs = [_pair(pair) for pair in pairs]
        self.epochs = [hook for when, hook in pairs if isinstance(when, str)]
        self.at = [(_iterations(when, steps), hook) for when, hook in pairs if not isinstance(when, str)]

    @property
    def due(self) -> frozenset[int]:
        """The iterations at which a snapshot is taken."""
        return frozenset[int]().union(*(at for at, _ in self.at))

    def asked(self) -> list[int] | list[list[int]]:
        """The iterations as a checkpoint tells them: in order, and of several hooks a list for each."""
        lists = [sorted(at) for at, _ in self.at]
        return lists[0] if len(lists) == 1 else lists

    def snapshot(self, iteration: int, model: nn.Module) -> dict[str, Any]:
        """One row: the iteration, and what the hooks that are due there give."""
        return _row(dict(iteration=iteration), [hook for at, hook in self.at if iteration in at], iteration, model)

    def epoch_row(self, row: Mapping[str, float], epoch: int, model: nn.Module) -> dict[str, Any]:
        """The row of an epoch, and what the hooks that are called after each give."""
        return _row(dict(row), self.epochs, epoch, model)


def own_random_numbers(device: torch.device) -> AbstractContextManager[None]:
    """What is drawn inside leaves the generators outside as they were."""
    return torch.random.fork_rng(devices=[device] if device.type == "cuda" else [])


def _row(row: dict[str, Any], hooks: Iterable[Hook], number: int, model: nn.Module) -> dict[str, Any]:
    """A row and the columns of some hooks. ValueError: a hook gives no columns, or one that the row has."""
    for hook in hooks:
        with own_random_numbers(next(model.parameters()).device):
            found = hook(number, model)
        if not isinstance(found, Mapping):
            raise ValueError(f"{_named(hook)} returned {type(found).__name__}: expected a dict of numbers and tensors")
        if words := [k for k, v in found.items() if not isinstance(v, torch.Tensor) and _kind(v) not in "biufc"]:
            raise ValueError(f"{_named(hook)} gives {words[0]!r} that is no number: expected numbers and tensors")
        if twice := sorted(row.keys() & found.keys()):
            raise ValueError(f"{_named(hook)} gives {twice[0]!r}, which its row has already: give it another name")
        row |= found
    return row


def _kind(value: Any) -> str:
    return np.asarray(value).dtype.kind


def _named(hook: Hook) -> str:
    return f"hook {getattr(hook, '__name__', type(hook).__name__)}"


def _pair(pair: Any) -> tuple[When, Hook]:
    if not isinstance(pair, tuple | list) or len(pair) != 2 or not callable(pair[1]):
        raise ValueError(f"hooks: {pair!r}: {EXPECTED}")
    when, hook = pair
    if not (when == EACH_EPOCH if isinstance(when, str) else isinstance(when, Iterable)):
        raise ValueError(f"hooks: called at {when!r}: {EXPECTED}")
    return when, hook


def _iterations(at: Iterable[int], steps: int) -> frozenset[int]:
    """The iterations, as whole numbers. ValueError: one that a training of so many steps does not have."""
    at = [plain(k) for k in at]
    if broken := [k for k in at if type(k) not in (int, float) or not float(k).is_integer()]:
        raise ValueError(f"snapshot at iteration {broken[0]!r}: expected whole numbers")
    if outside := sorted(k for k in at if not 0 <= k <= steps):
        raise ValueError(f"snapshot at iteration {outside[0]}, but this training goes from 0 to {steps}")
    return frozenset(int(k) for k in at)
