"""What a report takes, before it starts: from one timed forward and backward pass, and how many images that leaves."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .. import samples
from ..nets.given import is_number, shown
from ..samples import wide
from .found import sentence
from .parts import CRITERIA, SEEDS, Part, parts, weighted
from .quiet import like, quiet, slopes

T = TypeVar("T")
MINUTES = 1.0
TIMED = 16  # images of the pass that is timed
FEWEST = 32  # images on which accuracy is measured, whatever the time
MOST = 10_000
ENOUGH = 256  # images from which a plain layer's curve is taken after every single unit
LOOKS = 3.2  # forward passes along one order where accuracy falls late or never; the last is shared by all orders
BEHIND = 0.75  # of a pass is left, the mean over groups all along a net, where what runs before is not computed again
BACKWARD = 8  # what per-sample gradients cost, in forward and backward passes
FLOPS = 1e10  # a second, of a decomposition on one core
ROUNDS = 5  # in which each net is timed
FEW = 4  # images of the passes that tell with how many threads
GAIN = 1.5  # times as fast, and one thread is taken


@dataclass(frozen=True)
class Budget:
    """Seconds by part, and images: for accuracy, for gradients; exact: plain layers are looked at unit by unit; left:
    names of parts for whose curves there is no time.
    """

    seconds: dict[str, float]
    images: int
    sampled: int
    exact: bool
    left: frozenset[str] = frozenset()


def price(model: nn.Module, data, minutes: float | None = None) -> dict[str, float]:
    """Seconds by part that a report on this net is expected to take here, if it may take `minutes` (one by default).

    The number of images is chosen so that it fits; where `FEWEST` images do not, fewer layers are looked at, spread
    over the net, and the others are said to be left. data: anything with images and labels. ValueError: as `report`.
    """
    images, _ = samples.checked(data)
    check_minutes(minutes)
    example = images[:2].to(like(model))
    check_takes(model, example)
    with threads(model, images):
        found, seconds = timed(lambda: parts(model, example))
        return budget(model, data, found, minutes, groups=seconds).seconds


def budget(
    model: nn.Module, data, found: list[Part], minutes: float | None = None, most: int = MOST, groups: float = 0.0
) -> Budget:
    """How the time is spent; `most`: so many images there are; groups: seconds in which it was found what goes
    together.
    """
    check_minutes(minutes)
    allowed = 60 * (MINUTES if minutes is None else minutes)
    forward, backward = _timed(model, data)
    free = [part for part in found if part.tied is None]
    plain = all(part.group is None for part in free)
    savings = forward * TIMED * 4 * (ROUNDS + 2) + forward * 8 * len(free) * (not plain)  # each cut is checked
    seconds = dict(groups=groups, spectra=_spectra(model), masks=2e-8 * _size(model) + 0.05, savings=savings)
    left = max(allowed - sum(seconds.values()), 0.2 * allowed)
    sampled = _whole(0.2 * left / (BACKWARD * backward), FEWEST, len(data.labels))
    seconds["gradients"] = sampled * BACKWARD * backward
    ways = {  # seconds an image: unit by unit, or at a few steps
        True: sum(part.units for part in free) * (len(CRITERIA) + SEEDS) * forward / 2,
        False: len(free) * (len(CRITERIA) + SEEDS) * LOOKS * forward * (1.0 if plain else BEHIND),
    }
    images = {way: _whole(0.7 * left / (cost + backward + 4 * forward), FEWEST, most) for way, cost in ways.items()}
    exact = plain and images[True] >= min(ENOUGH, images[False])
    sight = images[exact] * (backward + 4 * forward)
    count = min(len(free), max(1, int(len(free) * (0.7 * left - sight) / (images[exact] * ways[exact] + 1e-9))))
    seconds |= {"curves": images[exact] * ways[exact] * count / max(len(free), 1), "sight": sight}
    chosen = {round(k) for k in torch.linspace(0, len(free) - 1, count).tolist()} if free else set()
    out = frozenset(part.name for k, part in enumerate(free) if k not in chosen)
    return Budget(seconds, images[exact], sampled, exact, out)


def check_minutes(minutes: float | None) -> None:
    """ValueError unless these are a time, or None."""
    if minutes is not None and (not is_number(minutes) or not 0 < minutes < math.inf):
        raise ValueError(f"minutes={shown(minutes)}: expected a number above 0")


def check_takes(model: nn.Module, example: Tensor) -> None:
    """ValueError: the net does not take a batch of these images."""
    try:
        with quiet(model):
            model(example)
    except Exception as error:  # whatever a net of somebody else's may raise
        flat = "; a net of convolutions takes [N, C, H, W]: images[:, None] has one channel" * (example.ndim == 3)
        raise ValueError(
            f"{type(model).__name__} does not take images {[*example.shape[1:]]}: {sentence(error)}; "
            f"expected a net whose forward takes one batch [N, ...] of them and returns logits [N, classes]{flat}"
        ) from error


def _timed(model: nn.Module, data) -> tuple[float, float]:
    """Seconds of an image forward, and forward and backward, the second time that it is done."""
    images, labels = samples.checked(data)
    samples.check_pictures(images)
    target = like(model)
    x = images[:TIMED].detach().to(target, copy=True).requires_grad_()
    y = labels[:TIMED].to(target.device)

    def forward():
        with torch.no_grad():
            return model(x)

    def both():
        loss = F.cross_entropy(wide(model(x)), y.long())
        if loss.requires_grad:  # else it is told where gradients are wanted
            slopes(loss, x, model)

    with quiet(model, gradients=True):
        samples.check_logits(forward(), y)
        both()
        return timed(forward)[1] / len(x), timed(both)[1] / len(x)


@contextmanager
def threads(model: nn.Module, images: Tensor) -> Iterator[None]:
    """As many threads as PyTorch has, or one where a pass takes less with it; afterwards as many as before.

    On a busy machine a pass of a small net is over before its threads have all had their turn.
    """
    before = torch.get_num_threads()
    few = images[:FEW].to(like(model))
    try:
        if before > 1 and few.device.type == "cpu":
            took = {count: _pass(model, few, count) for count in (before, 1)}
            torch.set_num_threads(1 if took[1] < took[before] / GAIN else before)
        yield
    finally:
        torch.set_num_threads(before)


def _pass(model: nn.Module, images: Tensor, count: int) -> float:
    """Seconds of a pass with so many threads, the median of three."""
    torch.set_num_threads(count)
    with quiet(model):
        return sorted(timed(lambda: model(images))[1] for _ in range(3))[1]


def timed(call: Callable[[], T]) -> tuple[T, float]:
    """What a call gives, and how many seconds it took."""
    start = time.perf_counter()
    given = call()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return given, max(time.perf_counter() - start, 1e-7)


def _whole(number: float, least: int, most: int) -> int:
    return min(max(int(number), least), most)


def _size(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def decomposition(rows: int, columns: int) -> float:
    """Seconds that the singular values of a matrix take, about."""
    return 0.002 + 8 * min(rows, columns) ** 2 * max(rows, columns) / FLOPS


def _spectra(model: nn.Module) -> float:
    shapes = [layer.weight.shape for layer in weighted(model).values() if isinstance(layer.weight, torch.Tensor)]
    return sum(min(decomposition(s[0], math.prod(s[1:])), LONGEST) for s in shapes if len(s) > 1)


LONGEST = 10.0  # seconds that one matrix may take
