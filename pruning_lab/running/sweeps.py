"""Sweeps: run what is missing of a list of experiments, each as soon as its parents are stored."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from contextlib import ExitStack, contextmanager
from functools import partial
from types import MappingProxyType
from typing import Any, Protocol

from .. import environment
from ..records import certificates
from ..records.disk import DiskFull
from ..records.experiment import Experiment, named
from ..records.store import find
from . import cluster, plugins
from .cluster import ClusterError
from .parameters import PROFILES, check_notebook
from .workers import Elsewhere, Here, Unguarded, pool, task

__all__ = ["PROFILES", "Executor", "SweepError", "duration", "makers", "missing", "pool", "price", "sweep"]

TOLD = 5.0  # seconds of runs that say as much about this machine as costs do
LONGEST = 366 * 86_400  # seconds of a budget: clocks take no number, however large


class Executor(Protocol):
    """Anything that takes work: `concurrent.futures` pools, a Dask client."""

    def submit(self, fn: Any, *args: Any) -> Any:
        """Start a call elsewhere: a future with `result()`; one with `add_done_callback` says that it is done."""


class SweepError(RuntimeError):
    """Some experiments of a sweep failed; the others are stored. `failed` has their errors, None for what was left out
    with its parent.
    """

    failed: Mapping[Experiment, Exception | None] = MappingProxyType({})


class OutOfTime(BaseException):
    """The time that a sweep was given is over; raised in the middle of what this process computes, as Ctrl-C is."""


class Limit:
    """What begins when in a sweep, and when it ends: here all that is ready, and never; another: `budget.Budget`."""

    def open(self, experiments: Sequence[Experiment], state: _Sweep) -> None:
        """Get ready to choose among what the sweep waits for."""

    def choose(self, state: _Sweep) -> list[Experiment]:
        """What begins now, of what is ready; none: not before one that runs has ended. What must be alone is last."""
        ready = state.ready()
        if plain := [e for e in ready if not e.alone]:
            return plain
        return ready[:1] if not state.running and all(e.alone for e in state.waiting) else []

    def call(self, task: Callable[[Experiment], float], e: Experiment) -> float:
        """Compute an experiment in this process. OutOfTime: it took too long."""
        return task(e)

    def patience(self) -> float:
        """Seconds that may pass while nothing finishes. OutOfTime: there are none."""
        return cluster.LOOK

    def took(self, e: Experiment, seconds: float) -> None:
        """Learn how long a run took."""

    def ahead(self, state: _Sweep) -> str:
        """What is said of the time after a run; nothing after a short first one, which begins what all others use."""
        if len(state.took) < 2 and sum(state.took.values()) < TOLD and len(state.costs) > 1:
            return ""
        return f"about {duration(max(state.left(), 0.0))} left"

    def close(self, state: _Sweep) -> None:
        """Say what was left undone."""


def sweep(experiments: Iterable[Experiment], executor: Executor | None = None, limit: Limit | None = None) -> None:
    """Compute and store every experiment that has no record, and the parents that those need; print a line for each.

    One that fails is named, and what builds on it is left out; the rest goes on, and SweepError is raised in the end.
    Ctrl-C, a full disk and a cluster that cannot go on stop it: what is stored stays, and the same call goes on from
    there.

    Args:
        executor: where to compute: a pool, a Dask client; None: the cluster that `PRUNING_LAB_CLUSTER` names, else a
            pool of `PRUNING_LAB_WORKERS`, else here, one after another.
        limit: what may be begun and for how long, such as `budget.Budget(540)`; None: everything, until it is done.

    Raises:
        SweepError: some failed. DiskFull: no room for records. ClusterError: no scheduler, or workers that do not fit.
        ValueError: the notebook that calls was given a parameter that it does not have, or of another kind or range;
            what is to be swept is no list of experiments.

    >>> from pruning_lab import Recipe, Train, find, sweep
    >>> nets = [Train("digits", "mlp", Recipe(iterations=1), width=6, limit=20, seed=seed) for seed in (0, 1)]
    >>> sweep(nets)
    all 2 records are stored
    >>> all(find(net) for net in nets)
    True
    """
    check_notebook()
    experiments = _experiments(experiments)
    environment.device(), certificates.stored()  # what would fail them all is said before anything begins
    levels = missing(experiments)
    if not levels:
        print(f"all {len(experiments)} records are stored", flush=True)
        return
    limit = limit or Limit()
    with _place(executor, sum(map(len, levels)), partial(limit.call, task)) as place:
        _Sweep(levels, place, limit).run(experiments)


def _experiments(given: Iterable[Experiment]) -> list[Experiment]:
    """Experiments, each once; ValueError where something else is among them."""
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise ValueError(f"sweep was given a {type(given).__name__}: expected a list of experiments")
    given = list(given)
    if odd := [e for e in given if not hasattr(e, "needs")]:
        raise ValueError(f"sweep was given a {type(odd[0]).__name__} in its list: expected experiments alone")
    return list(dict.fromkeys(given))


def missing(experiments: Sequence[Experiment], fresh: bool = False) -> list[list[Experiment]]:
    """What has to be computed, in levels of which each needs only those before it; the cheapest of a level first.

    One of which something cannot be told, such as the price of a net whose data are not here, comes last in its level.

    Args:
        fresh: as if nothing were stored.
    """
    depth: dict[Experiment, int] = {}

    def visit(e: Experiment, weights: bool) -> int:
        if e not in depth:
            if not fresh and told(lambda: find(e, weights and e.has_weights), None) is not None:
                return -1
            depth[e] = 1 + max((visit(p, True) for p in told(e.needs, [])), default=-1)
        return depth[e]

    for e in experiments:
        visit(e, False)
    left = {other for e in depth for other in told(e.also_stores, [])}
    depth = {e: d for e, d in depth.items() if e not in left}
    levels = [[e for e in depth if depth[e] == d] for d in range(max(depth.values(), default=-1) + 1)]
    return [sorted(level, key=price) for level in levels]


def price(e: Experiment) -> float:
    """Its `cost()`; infinite where that cannot be told."""
    return told(e.cost, math.inf)


def told(question: Callable[[], Any], otherwise: Any) -> Any:
    """The answer of an experiment, or what to go on with: what is wrong with it is said when its turn comes."""
    try:
        return question()
    except Exception:  # whatever it may raise: the others are none the worse
        return otherwise


def makers(levels: Iterable[Iterable[Experiment]]) -> dict[Experiment, list[list[Experiment]]]:
    """For each missing experiment, in their order, those it waits for: for each missing parent, all that store it."""
    waiting = [e for level in levels for e in level]
    by = stored_by(waiting)
    return {e: [by[p] for p in told(e.needs, []) if p in by] for e in waiting}


def stored_by(runs: Iterable[Experiment]) -> dict[Experiment, list[Experiment]]:
    """For each experiment whose record some runs store, those runs."""
    by: dict[Experiment, list[Experiment]] = {}
    for e in runs:
        for made in (e, *told(e.also_stores, [])):
            by.setdefault(made, []).append(e)
    return by


def duration(seconds: float) -> str:
    """Seconds in the two largest units that say something: "45 s", "12 min", "3 h 20 min", "4 d 6 h"."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 100:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes // 1440} d {minutes % 1440 // 60} h"


class _Sweep:
    """The state of one sweep: what waits, what runs, what is stored, what failed."""

    def __init__(self, levels: list[list[Experiment]], place: Here, limit: Limit) -> None:
        self.place, self.limit, self.running = place, limit, place.running
        self.waiting = makers(levels)
        self.costs = {e: p if math.isfinite(p := price(e)) else 0.0 for e in self.waiting}  # it may well fail at once
        self.stored: set[Experiment] = set()
        self.took: dict[Experiment, float] = {}  # seconds
        self.failed: dict[Experiment, Exception | None] = {}  # None: left out, for its parent failed
        self.began = time.perf_counter()

    def run(self, experiments: Sequence[Experiment]) -> None:
        try:
            self.limit.open(experiments, self)
            self.submit()
            while self.running:
                self.settle(self.place.next(self.limit.patience))
                self.submit()
        except OutOfTime:
            self.place.stop()
        except Unguarded as error:
            raise SweepError(str(error)) from None
        except (KeyboardInterrupt, DiskFull, ClusterError, CancelledError) as error:
            self.place.stop()
            stored = len(self.stored)
            how = "the same command goes on from there, trainings from their checkpoints"
            print(f"stopped: {stored} of {len(self.costs)} are stored; {how}", flush=True)
            if isinstance(error, CancelledError):
                raise SweepError(f"the executor gave up what it was given ({error}); {stored} are stored") from error
            raise
        self.limit.close(self)
        if self.failed:
            first = next(error for error in self.failed.values() if error is not None)
            said = f"{len(self.failed)} of {len(self.costs)} failed, {len(self.stored)} are stored; the first: {first}"
            error = SweepError(said)
            error.failed = dict(self.failed)
            raise error from first

    def submit(self) -> None:
        """Leave out what has lost a parent; start what the limit lets begin."""
        for e, groups in list(self.waiting.items()):
            if any(self.failed.keys() >= set(group) for group in groups):
                del self.waiting[e]
                self.failed[e] = None
        while chosen := self.limit.choose(self):
            for e in chosen:
                del self.waiting[e]
                self.place.submit(e)

    def ready(self) -> list[Experiment]:
        """What waits for nothing any more, in order."""
        done = self.stored | self.failed.keys()
        return [e for e, groups in self.waiting.items() if all(done.issuperset(group) for group in groups)]

    def settle(self, e: Experiment) -> None:
        """Count an experiment as stored or failed, and say so."""
        try:
            seconds = self.place.result(e)
        except (DiskFull, ClusterError, CancelledError, Unguarded):
            raise
        except Exception as error:  # whatever an experiment may raise: the others are none the worse
            self.failed[e] = error
            print(f"failed: {named(e)}: {type(error).__name__}: {error}{plugins.place(error)}", flush=True)
            return
        self.stored.add(e)
        self.took[e] = seconds
        self.limit.took(e, seconds)
        done = f"{len(self.stored)}/{len(self.costs)} {named(e)}: {seconds:.1f} s"
        ahead = self.limit.ahead(self)
        print(f"{done}, {ahead}" if ahead else done, flush=True)

    def left(self) -> float:
        """Seconds to go, if every run takes as long as the shortest one, and for its cost as long as those that are
        stored; costs are seconds of some machine, and this one is held to be like it until `TOLD` seconds of them ran.
        """
        took, cost = self.took.values(), sum(self.costs[e] for e in self.took)
        each = min(took, default=0.0)
        rate = (sum(took) - each * len(took) + TOLD) / (cost + TOLD)
        ahead = sum(each + rate * self.costs[e] for e in self.costs.keys() - self.stored - self.failed.keys())
        beside = min((time.perf_counter() - self.began) / max(sum(took), 1e-9), 1.0)  # several run at a time
        return beside * ahead if took else ahead


@contextmanager
def _place(executor: Any, runs: int, call: Callable[[Experiment], float]) -> Iterator[Here]:
    """Where an executor has a sweep computed, or, for None, the environment; `call` computes what is computed here."""
    with ExitStack() as stack:
        if executor is None and (address := environment.cluster()):
            executor = stack.enter_context(cluster.connect(address))
        elif executor is None and (workers := min(environment.workers(), runs)) > 1:
            executor = stack.enter_context(pool(workers))
        if cluster.is_client(executor):
            yield stack.enter_context(cluster.serving(executor, call))
        else:
            yield Here(call) if executor is None else Elsewhere(executor, call)
