"""How many units of a part can go before accuracy falls by more than a point, and accuracy on the way."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from torch import Tensor, nn

from .. import units
from .parts import Part, without
from .prefix import Prefix
from .quiet import accuracy

MARGIN = 0.01  # of accuracy, in [0, 1]
STEPS = (1 / 16, 1 / 4, 1 / 2, 1)  # shares of the units at which accuracy is looked at
HALVINGS = 1  # further looks between the last step that holds and the first that does not


class Along(NamedTuple):
    """Along one order: how many go before accuracy first falls more than `MARGIN`, and units removed -> accuracy."""

    free: int
    points: dict[int, float]


def exact(model: nn.Sequential, part: Part, orders: Mapping, test, limit: int) -> dict[tuple[str, int], Along]:
    """Along each order after every single unit, of a layer in a plain row; all orders share one pass."""
    named = {f"{criterion} {seed}": order for (criterion, seed), order in orders.items()}
    curves = units.pruning_curves(model, part.name, named, test, limit)
    return {key: _of_curve(curve.accuracy) for key, curve in zip(orders, curves.values(), strict=True)}


def _of_curve(values: Tensor) -> Along:
    fallen = (values < values[0] - MARGIN - 1e-9).nonzero()
    free = int(fallen[0]) - 1 if len(fallen) else len(values) - 1
    return Along(free, dict(enumerate(values.tolist())))


def stepped(look: Callable[[Tensor], float], part: Part, order: Tensor, whole: float) -> Along:
    """Along one order at a few steps up to the first fall, then nearer to it: `free` is at least true.

    look: units that are silent -> accuracy. whole: the accuracy of the net itself on the same images.
    """
    return walked(lambda count: look(order[:count]), part.units, whole)


def looking(model: nn.Module, part: Part, test, limit: int, prefix: Prefix | None) -> Callable[[Tensor], float]:
    """Units of a part that are silent -> accuracy on the first `limit` images."""
    if part.group is None:
        return lambda removed: accuracy(without(model, part, removed), test, limit)
    return lambda removed: prefix.accuracy(part.group, removed.tolist())


def remembered(look: Callable[[Tensor], float]) -> Callable[[Tensor], float]:
    """The same, but no set of units is looked at twice: all orders of a part end where all of its units are silent."""
    known: dict[frozenset[int], float] = {}

    def once(removed: Tensor) -> float:
        if (silent := frozenset(removed.tolist())) not in known:
            known[silent] = look(removed)
        return known[silent]

    return once


def walked(look: Callable[[int], float], size: int, whole: float) -> Along:
    """As `stepped`, by a function from units removed to accuracy."""
    points, good, bad = {0: whole}, 0, None
    for count in sorted({max(1, round(share * size)) for share in STEPS}):
        points[count] = look(count)
        if points[count] < whole - MARGIN - 1e-9:
            bad = count
            break
        good = count
    for _ in range(HALVINGS if bad is not None else 0):
        if bad - good < 2:
            break
        middle = (good + bad) // 2
        points[middle] = look(middle)
        good, bad = (good, middle) if points[middle] < whole - MARGIN - 1e-9 else (middle, bad)
    return Along(good, dict(sorted(points.items())))
