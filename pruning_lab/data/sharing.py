"""Splits that several callers read: no copies, and what was written to them is found."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache
from weakref import WeakSet

import torch

from .split import Split


class Changed(RuntimeError):
    """Shared images or labels were written to, or their file was replaced, while something was computed from them.

    >>> from pruning_lab import data
    >>> try:
    ...     with data.watched():
    ...         data.shared("digits", "train", limit=3, device="cpu").images.numpy()[:] = 0
    ... except data.Changed:
    ...     print("found")
    found
    >>> data.shared("digits", "train", limit=3, device="cpu").images.max().item() > 0  # made again
    True
    """


@contextmanager
def watched() -> Iterator[None]:
    """What is computed inside reads shared splits as they were loaded: bytes get a look at first use and in the end.

    Raises:
        Changed: in the end, if what was handed out meanwhile was written to.

    >>> from pruning_lab import data
    >>> with data.watched():
    ...     mean = data.shared("digits", "test", limit=5, device="cpu").images.mean()
    >>> 0 < mean.item() < 1
    True
    """
    lent: WeakSet[Kept] = WeakSet()
    for kept in list(_KEPT):
        kept.trusted = False
    _WATCHES.append(lent)
    try:
        yield
    finally:
        _WATCHES[:] = [w for w in _WATCHES if w is not lent]
    for kept in list(lent):
        if not kept.sound():
            raise Changed(
                f"images or labels of {kept.split.name} were changed in place while something was computed from them, "
                "so that the answer does not count: a model or a hook that writes to its input has to copy it first "
                "(x.clone()); `data.load` gives a copy"
            )


class Kept:
    """A split that several callers read, made again where one of them has written to it."""

    def __init__(self, make: Callable[[], Split]) -> None:
        self.make = make
        self.fill()
        _KEPT.add(self)

    def fill(self) -> None:
        """Make the split and note what it is like."""
        self.split = self.make()
        self.versions, self.marks = self._versions(), self._marks()
        self.trusted = True  # its bytes need no look before it is handed out

    def hand_out(self) -> Split:
        """The split in tensor objects of the caller's own, over memory that is shared."""
        if not (self.trusted and self.versions == self._versions() or self.sound()):
            self.fill()
        for watch in _WATCHES:
            watch.add(self)
        return replace(self.split, images=self.split.images.detach(), labels=self.split.labels.detach())

    def sound(self) -> bool:
        """Whether its bytes are those that were loaded; a layer that writes what stood there already does no harm."""
        self.trusted = self._marks() == self.marks
        self.versions = self._versions()
        for watch in _WATCHES:
            watch.discard(self)
        return self.trusted

    def _versions(self) -> tuple[int, int]:
        return self.split.images._version, self.split.labels._version  # torch counts writings, through views as well

    def _marks(self) -> tuple[int, ...]:
        return (*_marks(self.split.images), *_marks(self.split.labels))


_KEPT: WeakSet[Kept] = WeakSet()  # those in the cache of `_load`
_WATCHES: list[WeakSet[Kept]] = []  # for each `watched` that is open: what was handed out since its bytes had a look


def _marks(values: torch.Tensor) -> list[int]:
    """A whole number for each stretch of a tensor, which changes with any one number of it and with their order."""
    stretches = values.contiguous().view(-1).view(torch.int32).split(_STRETCH)
    weights = _weights(values.device)
    product = _dotted if values.device.type == "cpu" else _summed
    return product(stretches, weights)


def _dotted(stretches: Sequence[torch.Tensor], weights: torch.Tensor) -> list[int]:
    """Inner products of each stretch with the weights, modulo 2^32: exact."""
    return [int(torch.dot(part, weights[: len(part)])) for part in stretches]


def _summed(stretches: Sequence[torch.Tensor], weights: torch.Tensor) -> list[int]:
    """As `_dotted`, on devices whose `dot` takes no whole numbers."""
    return torch.stack([(part * weights[: len(part)]).sum(dtype=torch.int32) for part in stretches]).tolist()


_STRETCH = 2**18


@lru_cache
def _weights(device: torch.device) -> torch.Tensor:
    """Odd numbers: times any of them, no change of a number of 32 bits is lost modulo 2^32."""
    generator = torch.Generator().manual_seed(1)
    drawn = torch.randint(-(2**31), 2**31 - 1, (_STRETCH,), generator=generator, dtype=torch.int32, device="cpu")
    return (drawn | 1).to(device)
