"""What a list of experiments would take on this device, from measured steps: runs, time and memory."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import pandas as pd
import torch

from .. import environment
from ..experiments.cost import SPEED
from ..records.experiment import Experiment, Training, named
from ..records.store import find
from . import measuring
from .measuring import Step, batch_of, images_of, measure, on_cpu, one_look, peak_bytes, speed
from .sweeps import duration, makers, missing, told

BASE = 500_000_000  # bytes of a process that has loaded Python and torch, on a GPU those of its context
FEW = 3  # runs left out for one reason, from which on they share a line


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
        """A row a kind of run: what it is, its net and data, runs, step_ms, seconds in all, bytes of one."""
        rows = [self._row(e) for e in self.seconds]
        if not rows:
            return pd.DataFrame()
        table = pd.DataFrame(rows)
        keys = [c for c in table if c not in ("runs", "step_ms", "seconds", "bytes")]
        how = dict(runs="sum", step_ms="first", seconds="sum", bytes="max")
        return table.groupby(keys, dropna=False, sort=False).agg(how).reset_index()

    def _row(self, e: Experiment) -> dict[str, Any]:
        row = dict(what=type(e).__name__, model="", width=None, data="", batch=None, iterations=None)
        row |= dict(runs=1, step_ms=None)
        if t := e.training():
            row |= dict(model=_model(t.net), width=t.net.width, data=t.net.dataset, batch=t.recipe.batch)
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

    def text(self, workers: int = 1, start: float = 0.0) -> str:
        """The table and the totals, for a terminal; `start`: seconds that a process takes to begin, if known."""
        threads = torch.get_num_threads()
        where = f"{threads} CPU thread{'s' * (threads > 1)}" if on_cpu() else str(environment.device())
        runs, records = len(self.seconds), sum(1 + len(told(e.also_stores, [])) for e in self.seconds)
        missing = f"{runs} run{' is' if runs == 1 else 's are'} missing, what these build on included"
        missing += f"; they leave {records} records" * (records != runs)
        head = f"{self.stored} of {self.asked} experiments are stored; {missing}"
        lines = [head, *self._lines()] if self.seconds else [head]
        lines += _left_out(self.left_out)
        for n in sorted({1, workers}) if self.seconds else ():
            seconds, memory = self.total(n)
            who = "in one process" if n == 1 else f"with {n} workers that do not slow each other down"
            most = "at most " if any(_may_stop(e) for e in self.seconds) else ""
            takes = f"{most}about {duration(seconds)}, {memory / 1e9:.1f} GB"
            lines.append(f"{who}: {takes} (estimated from steps measured here, {where})")
        if self.seconds and start >= 1:
            lines.append(f"to that come about {duration(start)} until a process has begun here, as this one took")
        return "\n".join(lines)

    def _lines(self) -> list[str]:
        rows = [("", "net", "data", "runs", "steps a run", "a step", "a run", "memory")]
        for row in self.table().itertuples():
            net = row.model + (f" {row.width:.0f}" if pd.notna(row.width) else "")
            steps = (f"{row.iterations:,.0f}", f"{row.step_ms:,.2f} ms") if pd.notna(row.iterations) else ("", "")
            memory = f"{row.bytes / 1e6:,.0f} MB" if row.bytes else ""
            rows.append((row.what, net, row.data, row.runs, *steps, _short(row.seconds / row.runs), memory))
        return ["{:19} {:20} {:18} {:>5} {:>11} {:>10} {:>12} {:>9}".format(*row) for row in rows]


def estimate(
    experiments: Sequence[Experiment],
    fresh: bool = False,
    measured: dict[Any, Any] | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Estimate:
    """Measure one step of every different net that the missing runs train, and add up.

    A training takes its number of steps, one evaluation an epoch and its looks; where its recipe may stop it early this
    is the most that it can take. Anything else takes its `cost()` at the speed of this device. Times are those of a
    machine on which nothing else computes. Memory is reckoned, not measured: parameters, gradients, moments, images and
    the activations of a batch; what criteria and statistics take comes on top.

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


def _may_stop(e: Experiment) -> bool:
    """Whether it is a training that its recipe may stop before its limit."""
    return (training := e.training()) is not None and training.recipe.stops


def _model(net: Any) -> str:
    """A net's model with its options, as a table names it."""
    return net.model + "".join(f" {name}={value}" for name, value in net.options)


def _left_out(why: Mapping[Experiment, str]) -> list[str]:
    """One line a run of which this cannot be told; more than a few that have one reason share a line."""
    of_reason: dict[str, list[Experiment]] = {}
    for e, reason in why.items():
        of_reason.setdefault(reason, []).append(e)
    lines = []
    for reason, runs in of_reason.items():
        if len(runs) > FEW:
            lines.append(f"left out: {named(runs[0])} and {len(runs) - 1} more: {reason}")
        else:
            lines += [f"left out: {named(e)}: {reason}" for e in runs]
    return lines


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
    """Steps of a whole training; the most that there can be, where its recipe may stop it early."""
    return training.recipe.steps(images_of(training))


def signature(training: Training) -> tuple:
    """What the time of a step hangs on: two trainings that agree in it are measured once."""
    net, r = training.net, training.recipe
    images = net.split("train", net.limit).images
    net_and_images = net.model, net.width, tuple(images.shape[1:]), batch_of(training)
    return (*net_and_images, net.options, r.optimizer, bool(r.momentum), r.precision, r.augmentation, r.loss)


def _training_seconds(training: Training, step: Step) -> float:
    steps, images, recipe = iterations(training), images_of(training), training.recipe
    epochs = -(-steps // recipe.steps_per_epoch(images))
    evaluated = recipe.tests(images, len(training.net.split("test"))) + epochs * recipe.holdout
    evaluated += epochs * images * recipe.rereads
    return steps * step.step + step.evaluation * evaluated


def _look(e: Experiment, training: Training, step: Step, measured: dict) -> float:
    """Seconds of one look at the net: tried, unless `cost()` lets expect that it takes long."""
    if not training.looks or training.look is None:
        return 0.0
    more = max(e.cost() / max(training.net.cost(), 1e-12) - 1, 0.0) / training.looks  # in trainings
    if (expected := more * iterations(training) * step.step) > measuring.LONG:
        return expected
    own = [(f.name, getattr(e, f.name)) for f in fields(e) if not isinstance(getattr(e, f.name), Experiment)]
    return _once(measured, (type(e), signature(training), repr(own)), lambda: one_look(training))


def _once(known: dict, key: Any, value: Callable[[], Any]) -> Any:
    if key not in known:
        known[key] = value()
    return known[key]


def _makespan(seconds: dict[Experiment, float], waits: dict[Experiment, list[list[Experiment]]], workers: int) -> float:
    """When the last run is done if each begins, in order, once a worker is free and what it waits for is done."""
    waiting, done, running, now = dict(waits), set(), [], 0.0
    while waiting or running:
        ready = [e for e, groups in waiting.items() if all(done.issuperset(group) for group in groups)]
        for e in ready[: workers - len(running)]:
            del waiting[e]
            heapq.heappush(running, (now + seconds[e], id(e), e))
        now, _, e = heapq.heappop(running)
        done.add(e)
    return now


def _short(seconds: float) -> str:
    return f"{seconds:.2g} s" if seconds < 10 else duration(seconds)
