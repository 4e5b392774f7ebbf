"""What a list of experiments would take on this device, from measured steps: runs, time and memory."""

from __future__ import annotations

import contextlib
import heapq
import io
import time
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, fields, replace
from typing import Any

import pandas as pd
import torch
from torch import nn

from .. import environment
from ..data import Split
from ..experiments.cost import SPEED
from ..records.experiment import Experiment, Training, named
from ..records.store import find
from ..training.fit import evaluate, fit
from .sweeps import duration, makers, missing, told

BASE = 500_000_000  # bytes of a process that has loaded Python and torch, on a GPU those of its context
# steps before the clock counts; blocks of steps, of which the best counts; seconds of a block
WARM, BLOCKS, BLOCK = 2, 4, 0.05
LONG = 2.0  # seconds: a look expected to take longer is not tried but reckoned by `cost()`


@dataclass(frozen=True)
class Step:
    """What was measured of one net: seconds of a training step and of evaluating one image."""

    step: float
    evaluation: float


@dataclass(frozen=True)
class Estimate:
    """Seconds and peak bytes of every missing run, in the order of the sweep, and how many of the plan are stored."""

    seconds: dict[Experiment, float]
    memory: dict[Experiment, int]
    waits: dict[Experiment, list[list[Experiment]]]
    steps: dict[Experiment, Step]  # of those that train
    asked: int
    stored: int
    left_out: dict[Experiment, str] = field(default_factory=dict)  # of which this cannot be told, and why

    def table(self) -> pd.DataFrame:
        """A row for each kind of run: what, model, width, data, batch, iterations; runs, step_ms, seconds in all, bytes
        of one.
        """
        rows = [self._row(e) for e in self.seconds]
        if not rows:
            return pd.DataFrame()
        table = pd.DataFrame(rows)
        keys = [c for c in table if c not in ("runs", "step_ms", "seconds", "bytes")]
        how = dict(runs="sum", step_ms="first", seconds="sum", bytes="max")
        return table.groupby(keys, dropna=False, sort=False).agg(how).reset_index()

    def _row(self, e: Experiment) -> dict[str, Any]:
        row = dict(
            what=type(e).__name__, model="", width=None, data="", batch=None, iterations=None, runs=1, step_ms=None
        )
        if t := e.training():
            row |= dict(model=t.net.model, width=t.net.width, data=t.net.dataset, batch=t.recipe.batch)
            row |= dict(iterations=iterations(t), step_ms=1000 * self.steps[e].step)
        return row | dict(seconds=self.seconds[e], bytes=self.memory[e])

    def total(self, workers: int = 1) -> tuple[float, int]:
        """Seconds and peak bytes with so many workers that do not slow each other down, each with its `BASE`.

        ValueError: no workers.
        """
        if workers < 1:
            raise ValueError(f"{workers} workers: expected 1 or more")
        largest = sorted(self.memory.values(), reverse=True)[:workers]
        return _makespan(self.seconds, self.waits, workers), sum(largest) + BASE * max(1, len(largest))

    def text(self, workers: int = 1) -> str:
        """The table and the totals, for a terminal."""
        where = (
            f"{torch.get_num_threads()} CPU thread{'s' * (torch.get_num_threads() > 1)}"
            if _cpu()
            else str(environment.device())
        )
        head = (
            f"{self.stored} of {self.asked} experiments are stored; {len(self.seconds)} runs are missing, "
            "what these build on included"
        )
        lines = [head, *self._lines()] if self.seconds else [head]
        lines += [f"left out: {named(e)}: {why}" for e, why in self.left_out.items()]
        for n in sorted({1, workers}) if self.seconds else ():
            seconds, memory = self.total(n)
            who = "in one process" if n == 1 else f"with {n} workers that do not slow each other down"
            lines.append(
                f"{who}: about {duration(seconds)}, {memory / 1e9:.1f} GB (estimated from steps measured here, {where})"
            )
        return "\n".join(lines)

    def _lines(self) -> list[str]:
        lines = [
            f"{'':19} {'net':20} {'data':18} {'runs':>5} {'steps a run':>11} {'a step':>10} {'a run':>12} {'memory':>9}"
        ]
        for row in self.table().itertuples():
            net = row.model + (f" {row.width:.0f}" if pd.notna(row.width) else "")
            steps = (f"{row.iterations:,.0f}", f"{row.step_ms:,.2f} ms") if pd.notna(row.iterations) else ("", "")
            a_run, memory = _short(row.seconds / row.runs), f"{row.bytes / 1e6:,.0f} MB" if row.bytes else ""
            lines.append(
                f"{row.what:19} {net:20} {row.data:18} {row.runs:5} {steps[0]:>11} {steps[1]:>10} "
                f"{a_run:>12} {memory:>9}"
            )
        return lines


def estimate(
    experiments: Sequence[Experiment],
    fresh: bool = False,
    measured: dict[Any, Any] | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Estimate:
    """Measure one step of every different net that the missing runs train, and add up.

    A training takes its number of steps, one evaluation an epoch and its looks; anything else takes its `cost()` at the
    speed of this device. Times are those of a machine on which nothing else computes. Memory is reckoned, not measured:
    parameters, gradients, moments, images and the activations of a batch; what criteria and statistics take comes on
    top.

    Args:
        fresh: as if nothing were stored.
        measured: what earlier calls in this process measured, and this one adds to. say: told what is being measured.

    One that cannot be estimated, such as a net whose data are not here, is left out with its error, and what builds on
    it.
    """
    measured = {} if measured is None else measured
    environment.reuse_memory()  # as a sweep does
    waits = makers(missing(experiments, fresh))
    seconds, memory, steps, left_out = {}, {}, {}, {}
    for e, groups in waits.items():
        try:
            _check_makers(groups, left_out)
            seconds[e], memory[e], step = _one(e, measured, say)
        except Exception as error:  # whatever an experiment may raise: the others are none the worse
            left_out[e] = f"{type(error).__name__}: {error}"
        else:
            steps |= {e: step} if step else {}
    waits = {e: [[maker for maker in group if maker in seconds] for group in waits[e]] for e in seconds}
    stored = 0 if fresh else sum(told(lambda e=e: find(e), None) is not None for e in experiments)
    return Estimate(seconds, memory, waits, steps, len(experiments), stored, left_out)


def _one(e: Experiment, measured: dict[Any, Any], say: Callable[[str], None]) -> tuple[float, int, Step | None]:
    """Seconds and bytes of one run, and its step if it trains."""
    _ = e.key  # without one it can never be stored
    seconds, training = run_seconds(e, measured, say), e.training()
    if training is None:
        return seconds, 0, None
    sign = signature(training)
    return seconds, _once(measured, ("memory", sign, training.net.limit), lambda: peak_bytes(training)), measured[sign]


def _check_makers(groups: Sequence[Sequence[Experiment]], left_out: dict[Experiment, str]) -> None:
    """LookupError: nobody stores what it builds on."""
    for group in groups:
        if left_out.keys() >= set(group):
            raise LookupError(f"it builds on {named(group[0])}")


def run_seconds(e: Experiment, measured: dict[Any, Any], say: Callable[[str], None] = lambda _: None) -> float:
    """Seconds of one run on this device; what has to be measured for it is added to `measured`."""
    training = e.training()
    if training is None:
        return rough_seconds(e, measured)
    step = _once(measured, signature(training), lambda: measure(training, say))
    return _training_seconds(training, step) + training.looks * _look(e, training, step, measured)


def rough_seconds(e: Experiment, measured: dict[Any, Any]) -> float:
    """What `cost()` comes to at the speed of this device, which is measured once."""
    return e.cost() * _once(measured, "speed", lambda: SPEED / speed())


def iterations(training: Training) -> int:
    """Steps of a whole training."""
    return training.recipe.steps(_images(training))


def signature(training: Training) -> tuple:
    """What the time of a step hangs on: two trainings that agree in it are measured once."""
    net, r = training.net, training.recipe
    images = net.split("train", net.limit).images
    net_and_images = net.model, net.width, tuple(images.shape[1:]), _batch(training)
    return (*net_and_images, r.optimizer, bool(r.momentum), r.precision, r.augmentation)


def measure(training: Training, say: Callable[[str], None] = lambda _: None) -> Step:
    """Seconds of one step, the best of a few after a warm-up, and of evaluating one image, on the net's data."""
    net = training.net
    say(f"measuring {net.model}{f' {net.width}' if net.width else ''}, batches of {_batch(training)}")
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


def peak_bytes(training: Training) -> int:
    """Bytes at the peak of a training: weights, gradients and moments, images, and a batch's input and activations, all
    in float32.
    """
    model, net = _fresh(training), training.net
    state = sum(p.numel() for p in model.parameters()) * 4
    moments = 2 if training.recipe.optimizer == "adam" else int(training.recipe.momentum > 0)
    kept = int(training.recipe.keep != "last")
    splits = net.split("train", net.limit), net.split("test")
    images = sum(s.images.nbytes + s.labels.nbytes for s in splits)
    each = activations(model, tuple(splits[0].images.shape[1:]))
    return state * (2 + moments + kept) + images + _batch(training) * 4 * (each + splits[0].images[0].numel())


def activations(model: nn.Module, shape: tuple[int, ...]) -> int:
    """Numbers that the layers of a net give out for one image of `shape` (C, H, W): what the way back needs."""
    counts: list[int] = []
    meta = deepcopy(model).to("meta").eval()
    for m in meta.modules():
        if not list(m.children()):
            m.register_forward_hook(lambda _, __, out: counts.append(out.numel()))
    meta(torch.empty(1, *shape, device="meta"))
    return sum(counts)


def _training_seconds(training: Training, step: Step) -> float:
    steps, evaluated = iterations(training), len(training.net.split("test")) + training.recipe.holdout
    epochs = -(-steps // training.recipe.steps_per_epoch(_images(training)))
    return steps * step.step + epochs * step.evaluation * evaluated


def _look(e: Experiment, training: Training, step: Step, measured: dict) -> float:
    """Seconds of one look at the net: tried, unless `cost()` lets expect that it takes long."""
    if not training.looks or training.look is None:
        return 0.0
    more = max(e.cost() / max(training.net.cost(), 1e-12) - 1, 0.0) / training.looks  # in trainings
    if (expected := more * iterations(training) * step.step) > LONG:
        return expected
    own = [(f.name, getattr(e, f.name)) for f in fields(e) if not isinstance(getattr(e, f.name), Experiment)]
    return _once(measured, (type(e), signature(training), repr(own)), lambda: _one_look(training))


def _one_look(training: Training) -> float:
    """The best of three; one that takes long is not tried again."""
    model = _fresh(training).to(environment.device()).eval()
    first = _seconds(lambda: training.look(1, model))
    return min([first, *(_seconds(lambda: training.look(1, model)) for _ in range(0 if first > LONG else 2))])


def _timed(training: Training, at: list[int]) -> list[float]:
    """Seconds between those iterations of a training on as many images as that takes."""
    net, stamps = training.net, []
    seen, batch = net.split("train", net.limit), _batch(training)
    rows = torch.arange(at[-1] * batch, device=seen.labels.device) % len(seen)
    images = replace(seen, images=seen.images[rows], labels=seen.labels[rows])
    short = dict(batch=batch, iterations=at[-1], epochs=None, drops=(), lr=1e-9, holdout=0, keep="last")
    recipe = replace(training.recipe, **short)

    def stamp(*_: Any) -> dict[str, float]:
        stamps.append(_clock())
        return {}

    # `fit` says what it reached
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        fit(_fresh(training), images, _few(net.split("test")), recipe, hooks=[(at, stamp)])
    return [_between(a, b) for a, b in zip(stamps, stamps[1:], strict=False)]


def _short(seconds: float) -> str:
    return f"{seconds:.2g} s" if seconds < 10 else duration(seconds)


def _few(split: Split) -> Split:
    return replace(split, images=split.images[:8], labels=split.labels[:8])


def _fresh(training: Training) -> nn.Module:
    return replace(training.net, start=None).untrained()  # a net that it starts from may not be there yet


def _batch(training: Training) -> int:
    return min(training.recipe.batch, _images(training))


def _images(training: Training) -> int:
    """How many it is trained on. ValueError: its recipe holds out all of them."""
    return training.recipe.trained_on(len(training.net.split("train", training.net.limit)))


def _cpu() -> bool:
    return environment.device().type == "cpu"


def _clock() -> tuple[float, float]:
    """Seconds that have passed, and that this process has computed; on a GPU once it has done what it was given."""
    if environment.device().type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter(), time.process_time()


def _between(start: tuple[float, float], end: tuple[float, float]) -> float:
    """Seconds on a free machine: on a CPU no more than was computed, for the rest of the time others had it."""
    passed, computed = (b - a for a, b in zip(start, end, strict=True))
    return min(passed, computed) if _cpu() else passed


def _seconds(call: Callable[[], Any]) -> float:
    start = _clock()
    call()
    return _between(start, _clock())


def _once(known: dict, key: Any, value: Callable[[], Any]) -> Any:
    if key not in known:
        known[key] = value()
    return known[key]


def _makespan(seconds: dict[Experiment, float], waits: dict[Experiment, list[list[Experiment]]], workers: int) -> float:
    """When the last of the runs is done if each begins, in their order, once a worker is free and what it waits for is
    done.
    """
    waiting, done, running, now = dict(waits), set(), [], 0.0
    while waiting or running:
        ready = [e for e, groups in waiting.items() if all(done.issuperset(group) for group in groups)]
        for e in ready[: workers - len(running)]:
            del waiting[e]
            heapq.heappush(running, (now + seconds[e], id(e), e))
        now, _, e = heapq.heappop(running)
        done.add(e)
    return now
