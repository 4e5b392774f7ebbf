"""Every sample of a chunk passed once more, in other company and another order: what it gives must stay its own."""

import torch
from torch import Tensor, nn

from .calls import Call
from .doubts import NotTold
from .meeting import DEPENDS
from .plan import Plan

_CLOSE = 1e-4  # of the largest entry: more than rounding leaves, less than two samples differ


class Passed:
    """What all samples of a chunk gave: outputs and losses, and, where their order counts, what modules read and gave.

    The order counts where a parameter's gradient is put together from several calls, or from what one call reads and
    gives.
    """

    def __init__(self, model: nn.Module, how: Plan, calls: dict[nn.Module, list[Call]], each: Tensor):
        ((_, gave),) = _rows(how, calls, model)
        self.own = [*gave, each.detach()]
        self.inner = {m: _rows(how, calls, m) for m in how.modules if m is not model and _ordered(how, m)}

    def check(self, other: "Passed", here: list[int], there: list[int]) -> None:
        """ValueError where outputs or losses of samples differ in the other pass; NotTold where others do."""
        if not _same(self.own, other.own, here, there):
            raise ValueError(DEPENDS)
        both = [(m, mine, other.inner[m]) for m, mine in self.inner.items() if mine and other.inner[m]]
        if wrong := [m for m, mine, its in both if not _same(_flat(mine), _flat(its), here, there)]:
            raise NotTold(wrong, f"samples change places before {type(wrong[0]).__name__} or inside of it")


def _rows(how: Plan, calls: dict[nn.Module, list[Call]], m: nn.Module) -> list[tuple[list[Tensor], list[Tensor]]]:
    """What each call of a module reads and gives, samples first."""
    return [
        tuple(
            [place.first(leaf.detach()) for leaf, place in zip(leaves, places, strict=True) if place]
            for leaves, places in ((call.read, read), (call.gave, gave))
        )
        for call, (read, gave) in (zip(calls[m], how.where[m], strict=True) if calls[m] else ())
    ]


def _flat(rows: list[tuple[list[Tensor], list[Tensor]]]) -> list[Tensor]:
    return [t for read, gave in rows for t in (*read, *gave)]


def _ordered(how: Plan, m: nn.Module) -> bool:
    """Whether it matters in which order a module reads samples: not to a layer's only call, whose rows are summed."""
    of_many = [name for name, sites in how.sites.items() if sum(len(how.where[site]) for site, _ in sites) > 1]
    return m in how.fallback or any(m is site for name in of_many for site, _ in how.sites[name])


def _same(mine: list[Tensor], its: list[Tensor], here: list[int], there: list[int]) -> bool:
    return len(mine) == len(its) and all(_close(a, b, here, there) for a, b in zip(mine, its, strict=True))


def _close(a: Tensor, b: Tensor, here: list[int], there: list[int]) -> bool:
    if a.shape[1:] != b.shape[1:]:
        return False
    scale = a.nan_to_num(0, 0, 0).abs().amax() if a.is_floating_point() and a.numel() else 0
    a, b = a[here], b[there]
    if not a.is_floating_point():
        return torch.equal(a, b)
    return bool(((a == b) | (a.isnan() & b.isnan()) | ((a - b).abs() <= _CLOSE * scale)).all())


def parts(start: int, stop: int, n: int, generator: torch.Generator) -> list[tuple[list[int], list[int]]]:
    """A chunk's samples in two halves, in an order drawn at random: which go together, and places of the chunk's own.

    One that would be alone goes with another sample of the n; none where there is no other.
    """
    order = [start + i for i in torch.randperm(stop - start, generator=generator).tolist()]
    halves = [half for half in (order[0::2], order[1::2]) if half]
    if n == 1:
        return []
    return [(half if len(half) > 1 else [(half[0] + 1) % n, half[0]], half) for half in halves]
