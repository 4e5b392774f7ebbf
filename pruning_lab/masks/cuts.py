"""Where scores are cut: the k-th largest of them, and how many of its equals stay, in place of a sort.

Scores are flat tensors of one type that has an order, float32, float64 or int64; none of them is changed.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

_BLOCK = 2**20  # weights of which equal scores are counted at once: changes memory, no answer


class Cut(NamedTuple):
    """How many scores of a layer stay, and the lowest of these; None where none stays, or where nobody asked."""

    count: int
    edge: Tensor | None


def by_rank(layers: Sequence[Tensor], least: Sequence[int], totals: Sequence[int]) -> list[list[Cut]]:
    """For each total, what each layer keeps of the so many best of all, given that it keeps the `least` of its own.

    Equal scores stay by position, so the earlier layer's come first.
    """
    pool = torch.cat(list(layers))
    floors = [_raised(part, few) for part, few in zip(pool.split([len(s) for s in layers]), least, strict=True)]
    edges = kth_largest(pool, totals)
    return [_shared_out(layers, least, floors, edge, kept) for edge, kept in zip(edges, totals, strict=True)]


def by_count(layer: Tensor, counts: Sequence[int]) -> list[Cut]:
    """The cuts that keep so many of a layer's scores."""
    return [Cut(count, edge) for count, edge in zip(counts, kth_largest(layer.clone(), counts), strict=True)]


def kept(layer: Tensor, cut: Cut) -> Tensor:
    """Which scores stay, [weights] bool; of those that equal the edge the first ones."""
    if cut.edge is None:
        return torch.zeros(len(layer), dtype=torch.bool, device=layer.device)
    mask = layer >= cut.edge
    extra = int(mask.count_nonzero()) - cut.count
    if extra:
        _drop(mask, layer == cut.edge, extra)
    return mask


def kth_largest(values: Tensor, ranks: Sequence[int]) -> list[Tensor | None]:
    """The k-th largest number for each k, 0-dimensional; None for k = 0. On a CPU `values` is left in another order."""
    some = sorted({k for k in ranks if k})
    if values.device.type == "cpu" and some:
        values.numpy().partition([len(values) - k for k in some])  # in place, and several times as fast as torch's
        edges = {k: values[len(values) - k].clone() for k in some}
    else:
        edges = {k: values.kthvalue(len(values) - k + 1).values for k in some}
    return [edges.get(k) for k in ranks]


def _raised(part: Tensor, few: int) -> Tensor | None:
    """The lowest of the `few` highest scores of a part of the pool, these being raised above all others."""
    [edge] = kth_largest(part, [few])
    part[kept(part, Cut(few, edge))] = torch.inf if part.is_floating_point() else torch.iinfo(part.dtype).max
    return edge


def _shared_out(
    layers: Sequence[Tensor], least: Sequence[int], floors: Sequence[Tensor | None], edge: Tensor | None, kept: int
) -> list[Cut]:
    """The layers' cuts where the pool, floors raised above all, is cut at `edge`."""
    if edge is None:
        return [Cut(0, None)] * len(layers)
    numbers = torch.stack([torch.stack([(s > edge).count_nonzero(), (s == edge).count_nonzero()]) for s in layers])
    spare, cuts = kept - sum(max(few, above) for few, (above, _) in zip(least, numbers.tolist(), strict=True)), []
    for few, floor, (above, equal) in zip(least, floors, numbers.tolist(), strict=True):
        ties = min(max(0, above + equal - max(few, above)), spare)
        spare -= ties
        count = max(few, above) + ties
        at_floor = count > above + equal  # the floor reaches below the common edge
        cuts.append(Cut(count, None if count == 0 else floor if at_floor else edge))
    return cuts


def _drop(mask: Tensor, equal: Tensor, extra: int) -> None:
    """Takes the last `extra` of the equal scores out of a mask."""
    for here, ties in zip(reversed(mask.split(_BLOCK)), reversed(equal.split(_BLOCK)), strict=True):
        last = ties.nonzero()[:, 0][-extra:]
        here[last] = False
        extra -= len(last)
        if not extra:
            return
