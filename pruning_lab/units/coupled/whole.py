"""Groups of a grouped convolution: each goes whole, with the channels that it reads and those that it gives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from torch import nn

from .cuts import Cut

Positions = tuple[tuple[int, ...], ...]


class Across(NamedTuple):
    """The side of a grouped convolution that units of some layer reach: positions by unit."""

    module: str
    reads: bool
    positions: Positions


def merged(conv: nn.Module, before: Sequence[Cut], reads: Positions, behind: Sequence[Cut],
           gives: Positions) -> tuple[Cut, ...] | None:  # fmt: skip
    """Cuts whose units are a convolution's groups, from those of the units that it reads and of those that it gives.

    None: some unit is in no group or in several.
    """
    first = _members(reads, conv.in_channels // conv.groups, conv.groups)
    second = _members(gives, conv.out_channels // conv.groups, conv.groups)
    if first is None or second is None:
        return None
    return (*(_gathered(cut, first) for cut in before), *(_gathered(cut, second) for cut in behind))


def of_conv(name: str, conv: nn.Module) -> tuple[Cut, ...]:
    """What a grouped convolution loses with its groups: rows, and three sizes."""
    rows, read = conv.out_channels // conv.groups, conv.in_channels // conv.groups
    if conv.transposed:  # its weight has a row for each channel that it reads
        tensors = [((("weight", 0),), _blocks(conv.groups, read), ("in_channels",)),
                   ((("bias", 0),), _blocks(conv.groups, rows), ("out_channels",))]  # fmt: skip
    else:
        tensors = [((("weight", 0), ("bias", 0)), _blocks(conv.groups, rows), ("out_channels",)),
                   ((), _blocks(conv.groups, read), ("in_channels",))]  # fmt: skip
    tensors.append(((), _blocks(conv.groups, 1), ("groups",)))
    return tuple(Cut(name, *each) for each in tensors)


def _blocks(groups: int, each: int) -> Positions:
    return tuple(tuple(range(k * each, (k + 1) * each)) for k in range(groups))


def _members(positions: Positions, each: int, groups: int) -> list[list[int]] | None:
    """The units of each group; None where a unit has channels of no group or of several."""
    members: list[list[int]] = [[] for _ in range(groups)]
    for unit, held in enumerate(positions):
        where = {p // each for p in held}
        if len(where) != 1:
            return None
        members[where.pop()].append(unit)
    return members


def _gathered(cut: Cut, members: Sequence[Sequence[int]]) -> Cut:
    return cut._replace(positions=tuple(tuple(cut.of(units)) for units in members))
