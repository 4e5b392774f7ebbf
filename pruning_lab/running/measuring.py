"""Steps of training, evaluation, looks at a net and products of matrices, measured on this device."""

from __future__ import annotations

import contextlib
import io
import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from .. import environment
from ..data import Split
from ..records.experiment import Training
from ..training.fit import evaluate, fit

# steps before the clock counts; blocks of steps, of which the best counts; seconds of a block
WARM, BLOCKS, BLOCK = 2, 4, 0.05
LONG = 2.0  # seconds: a look expected to take longer is not tried but reckoned by `cost()`


@dataclass(frozen=True)
class Step:
    """What was measured of one net: seconds of a training step and of evaluating one image."""

    step: float
    evaluation: float


def measure(training: Training, say: Callable[[str], None] = lambda _: None) -> Step:
    """Seconds of one step, the best of a few after a warm-up, and of evaluating one image, on the net's data."""
    net = training.net
    say(f"measuring {net.model}{f' {net.width}' if net.width else ''}, batches of {batch_of(training)}")
    first = _timed(training, [1, 2])[0]
    block = min(20, max(1, round(BLOCK / max(first, 1e-9))))
    at = [WARM + k * block for k in range(BLOCKS + 1)]
    blocks = [first] if first > LONG else [t / block for t in _timed(training, at)]
    test, model = net.split("test"), _fresh(training).to(environment.device())
    some = replace(test, images=test.images[:1000], labels=test.labels[:1000])
    evaluation = min(_seconds(lambda: evaluate(model, some)) for _ in range(2 if first > LONG else 3))
    return Step(min(blocks), evaluation / len(some))


def speed() -> float:
    """Multiply-adds a second of this device in the product of two matrices of 512 rows, the best of a few."""
    a = torch.ones(512, 512, device=environment.device())
    return 512**3 / min(_seconds(lambda: a @ a) for _ in range(10))


def one_look(training: Training) -> float:
    """Seconds of a look at the net, the best of three; one that takes long is not tried again."""
    model = _fresh(training).to(environment.device()).eval()
    first = _seconds(lambda: training.look(1, model))
    return min([first, *(_seconds(lambda: training.look(1, model)) for _ in range(0 if first > LONG else 2))])


def peak_bytes(training: Training) -> int:
    """Peak bytes of a training in float32: weights, gradients, moments, images, a batch's input and activations."""
    model, net = _fresh(training), training.net
    state = sum(p.numel() for p in model.parameters()) * 4
    moments = 2 if training.recipe.optimizer == "adam" else int(training.recipe.momentum > 0)
    kept = int(training.recipe.keep != "last")
    splits = net.split("train", net.limit), net.split("test")
    images = sum(s.images.nbytes + s.labels.nbytes for s in splits)
    each = activations(model, tuple(splits[0].images.shape[1:]))
    return state * (2 + moments + kept) + images + batch_of(training) * 4 * (each + splits[0].images[0].numel())


def activations(model: nn.Module, shape: tuple[int, ...]) -> int:
    """Numbers that the layers of a net give out for one image of `shape` (C, H, W): what the way back needs."""
    counts: list[int] = []
    meta = deepcopy(model).to("meta").eval()
    for m in meta.modules():
        if not list(m.children()):
            m.register_forward_hook(lambda _, __, out: counts.append(out.numel()))
    meta(torch.empty(1, *shape, device="meta"))
    return sum(counts)


def _timed(training: Training, at: list[int]) -> list[float]:
    """Seconds between those iterations of a training on as many images as that takes."""
    net, stamps = training.net, []
    seen, batch = net.split("train", net.limit), batch_of(training)
    rows = torch.arange(at[-1] * batch, device=seen.labels.device) % len(seen)
    images = replace(seen, images=seen.images[rows], labels=seen.labels[rows])
    short = dict(batch=batch, iterations=at[-1], epochs=None, drops=(), lr=1e-9, holdout=0, keep="last")
    recipe = replace(training.recipe, **short, stop_loss=None, stop_reading="running", stop_margin=None)

    def stamp(*_: Any) -> dict[str, float]:
        stamps.append(clock())
        return {}

    # `fit` says what it reached
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        fit(_fresh(training), images, _few(net.split("test")), recipe, hooks=[(at, stamp)])
    return [between(a, b) for a, b in zip(stamps, stamps[1:], strict=False)]


def _few(split: Split) -> Split:
    return replace(split, images=split.images[:8], labels=split.labels[:8])


def _fresh(training: Training) -> nn.Module:
    return replace(training.net, start=None).untrained()  # a net that it starts from may not be there yet


def batch_of(training: Training) -> int:
    """Images of a step: no batch is larger than the set."""
    return min(training.recipe.batch, images_of(training))


def images_of(training: Training) -> int:
    """How many it is trained on. ValueError: its recipe holds out all of them."""
    return training.recipe.trained_on(len(training.net.split("train", training.net.limit)))


def on_cpu() -> bool:
    """Whether this process computes on the CPU."""
    return environment.device().type == "cpu"


def clock() -> tuple[float, float]:
    """Seconds that have passed, and that this process has computed; on a GPU once it has done what it was given."""
    if environment.device().type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter(), time.process_time()


def between(start: tuple[float, float], end: tuple[float, float]) -> float:
    """Seconds on a free machine: on a CPU no more than was computed, for the rest of the time others had it."""
    passed, computed = (b - a for a, b in zip(start, end, strict=True))
    return min(passed, computed) if on_cpu() else passed


def _seconds(call: Callable[[], Any]) -> float:
    start = clock()
    call()
    return between(start, clock())
