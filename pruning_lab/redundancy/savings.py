"""What really leaving units out saves here: copies that are smaller, counted, timed and asked for their accuracy."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from statistics import median

import pandas as pd
import torch
from torch import Tensor, nn

from ..nets.counting import multiplications
from .found import ALL, sentence, table
from .parts import Part, smaller
from .prices import ROUNDS
from .quiet import accuracy, like, quiet

SHARES = (0.5, 1.0)  # of the units that each layer alone can spare
BATCH = 16  # images of a pass that is timed


def counted(model: nn.Module, in_shape: tuple[int, ...]) -> float:
    """Multiply-adds of one image; NaN where they cannot be counted."""
    try:
        return float(multiplications(model, in_shape))
    except ValueError:
        return math.nan


def savings(model: nn.Module, best: Mapping[Part, tuple[Tensor, int]], test, limit: int) -> pd.DataFrame:
    """The table `savings`: the whole net, and copies without parts of what each layer alone can spare.

    best: part -> the order in which its units go, and how many can. Milliseconds are the best of `ROUNDS` passes over
    the same images, the nets taking turns; `faster` is the median over rounds of how many times as fast as the whole
    net a copy is, `slowest` and `fastest` are the ends. A layer that refuses keeps its units and has a row with the
    reason.
    """
    example, refusals = test.images[:2].to(like(model)), []
    nets, gone = {0.0: model}, {0.0: 0}
    for share in SHARES:
        made, removed = _without(model, best, share, example, refusals)
        if removed and removed not in gone.values():
            nets[share], gone[share] = made, removed
    times = _milliseconds(nets, test.images[:BATCH].to(like(model)))
    ratios = {share: sorted(a / b for a, b in zip(times[0.0], times[share], strict=True)) for share in list(nets)[1:]}
    rows = [
        dict(layer=ALL, left_out=share, units=gone[share], parameters=sum(p.numel() for p in net.parameters()),
             multiply_adds=counted(net, tuple(test.images.shape[1:])), milliseconds=min(times[share]),
             accuracy=accuracy(net, test, limit), **_told(ratios.get(share)))
        for share, net in nets.items()
    ]  # fmt: skip
    if len(nets) == 1:
        rows.append(dict(layer=ALL, units=0, reason="no layer can spare a unit, so that nothing can be left out"))
    return table("savings", rows + list({r["layer"]: r for r in refusals}.values()))


def _told(ratios: Sequence[float] | None) -> dict[str, float]:
    """How many times as fast as the whole net, of sorted ratios: the middle and the ends."""
    return dict(faster=median(ratios), slowest=ratios[0], fastest=ratios[-1]) if ratios else {}


def _without(model, best, share, example, refusals) -> tuple[nn.Module, int]:
    """A copy without this share of what each part can spare, and how many units went."""
    removed = 0
    for part, (order, free) in best.items():
        count = min(int(share * free), part.units - 1)  # no layer is left without a unit
        if count < 1:
            continue
        try:
            model = smaller(model, part, order[:count].sort().values, example)
            removed += count
        except (ValueError, RuntimeError) as error:
            refusals.append(dict(layer=part.name, reason=sentence(error)))
    return model, removed


def _milliseconds(nets: Mapping[float, nn.Module], images: Tensor) -> dict[float, list[float]]:
    """Of one pass, by round, in which every net has its turn, the first another one each time."""
    names, took = list(nets), {name: [] for name in nets}
    for k in range(ROUNDS + 1):  # the first warms
        turn = k % len(names)
        for name in names[turn:] + names[:turn]:
            with quiet(nets[name]):
                seconds = _passed(nets[name], images)
            took[name] += [1e3 * seconds] if k else []
    return took


def _passed(net: nn.Module, images: Tensor) -> float:
    start = time.perf_counter()
    net(images)
    if images.is_cuda:
        torch.cuda.synchronize(images.device)
    return time.perf_counter() - start
