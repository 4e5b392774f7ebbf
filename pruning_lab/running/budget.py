"""A sweep inside a time limit: what decides most per second first, and nothing begun that cannot be finished.

A **line** is what a figure or a verdict draws from: one experiment's settings under several seeds. Three nets decide
a line, so the third net of a line is worth 3, the second 2, the first 1, a further one a half; a net of a line for
which the plan has fewer than three, 1. What an experiment costs is its own time and that of the missing runs that it
builds on, each shared with the others that wait for it. The best ratio begins first, if it and all that it needs fit
into the time that is left.
"""

from __future__ import annotations

import signal
import statistics
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from ..records import provenance, store
from ..records.experiment import Experiment, lineage, named, odd
from ..training import checkpoint
from . import estimate
from .lines import ENOUGH, line
from .sweeps import LONGEST, Limit, OutOfTime, duration, price, told
from .workers import one_thread

if TYPE_CHECKING:
    from .sweeps import _Sweep

ENDING = 5.0  # seconds kept for the end of the process, at most a tenth of the budget
MEASURING = 0.1  # of the budget, after which no further kind of net is measured
OVERHEAD = 0.1  # seconds that any run takes beside what it computes: records read and written
ROOM = 1.1  # times what a run is expected to take must be left, or it is not begun
AGAIN = 2.0  # seconds after which a run that missed the end of its time is told once more
SHORT = 0.1  # seconds of measuring from which nothing is said of other programs
SHOWN = 12  # kinds of run that are listed as not begun


class Budget(Limit):
    """A limit of so many seconds of wall-clock time; for one sweep."""

    def __init__(self, seconds: float, since: float | None = None) -> None:
        """A budget that began at `since` (`time.monotonic()`; default: now). ValueError: no seconds above 0, or more
        than a year.
        """
        if not 0 < seconds <= LONGEST:
            raise ValueError(f"a budget of {seconds:g} seconds: expected a number above 0, at most {LONGEST:,}")
        self.seconds = seconds
        self.since = time.monotonic() if since is None else since
        self.end = self.since + seconds - min(ENDING, seconds / 10)
        self.begun: dict[Experiment, float] = {}  # when
        self.slots = 1

    def left(self) -> float:
        """Seconds in which something may still run."""
        return self.end - time.monotonic()

    def open(self, experiments: Sequence[Experiment], state: _Sweep) -> None:
        """Estimate what is missing, by a tenth of the time at most."""
        self.lines = _Lines(experiments, state.waiting)
        self.slots = state.place.slots
        with self._alarm(), one_thread():
            self.forecast = Forecast(state.waiting, self.left() * MEASURING, self.left())
            bad = odd(experiments)
            self.forecast.remember(lineage([e for e in experiments if e not in bad]))

    def choose(self, state: _Sweep) -> list[Experiment]:
        """The run to begin now, if a worker is free and there is one that fits."""
        if len(state.running) >= self.slots or any(e.alone for e in state.running):
            return []
        paths = _Paths(state, self.remaining)
        ways = {e: way for e, makers in self.lines.makers.items() if (way := paths.shortest(makers))}
        shared = Counter(run for way in ways.values() for run in way)
        have = self.lines.count(state.stored | state.running.keys())
        ready, best = set(state.ready()), (0.0, None)
        for e, way in ways.items():
            first = next((run for run in way if run in ready), None)
            if first is None or ROOM * sum(map(self.remaining, way)) > self.left():
                continue
            price = sum(self.remaining(run) / shared[run] for run in way)
            best = max(best, (self.lines.worth(e, have) / max(price, 1e-9), first), key=lambda pair: pair[0])
        first = best[1]
        if first is None or (first.alone and state.running):
            return []
        self.begun[first] = time.monotonic()
        return [first]

    def remaining(self, e: Experiment) -> float:
        """Seconds until a run has ended, from its beginning or, if it runs, from now."""
        expected = self.forecast.seconds(e)
        return max(expected - (time.monotonic() - self.begun[e]), 0.0) if e in self.begun else expected

    def call(self, task: Callable[[Experiment], float], e: Experiment) -> float:
        """Compute an experiment in this process, until the time is over."""
        with self._alarm():
            return task(e)

    def patience(self) -> float:
        """Seconds that may pass while nothing finishes."""
        if (left := self.left()) <= 0:
            raise OutOfTime
        return min(left, super().patience())

    def took(self, e: Experiment, seconds: float) -> None:
        """Learn how long a run took."""
        self.forecast.learn(e, seconds)

    def ahead(self, state: _Sweep) -> str:
        """What is left of the budget."""
        return f"{duration(max(self.left(), 0.0))} of the budget left"

    def close(self, state: _Sweep) -> None:
        """Say what is stored, what was stopped on its way, and what was not begun, by kind."""
        begun = state.costs.keys() - state.stored - state.failed.keys() - state.waiting.keys()
        # what has a record by now ended as the time did
        state.stored |= {e for e in begun if told(lambda e=e: store.find(e, e.has_weights), None)}
        used = time.monotonic() - self.since
        print(
            f"{len(state.stored)} of {len(state.costs)} are stored after {used:.0f} s of {self.seconds:g} s", flush=True
        )
        for e in sorted(begun - state.stored, key=named):
            print(f"stopped on its way: {named(e)}; the same command goes on from its last checkpoint", flush=True)
        if state.waiting:
            self._say_waiting(list(state.waiting))

    def _say_waiting(self, waiting: list[Experiment]) -> None:
        if not hasattr(self, "forecast"):  # the time was over while it was estimated
            print(f"not begun: {len(waiting)}", flush=True)
            return
        seconds = {e: self.forecast.seconds(e) for e in waiting}
        kinds: dict[str, list[float]] = {}
        for e in waiting:
            kinds.setdefault(told(lambda e=e: _words(e), type(e).__name__), []).append(seconds[e])
        print(f"not begun: {len(waiting)}, about {duration(sum(seconds.values()))} one after another", flush=True)
        for words, each in sorted(kinds.items(), key=lambda item: -sum(item[1]))[:SHOWN]:
            print(f"  {len(each)} x {words}: about {duration(sum(each))}", flush=True)
        if len(kinds) > SHOWN:
            print(f"  and {len(kinds) - SHOWN} kinds more", flush=True)
        if long := [e for e in waiting if ROOM * seconds[e] > self.seconds]:
            print(
                f"{len(long)} of them take longer than such a budget, up to {duration(max(seconds[e] for e in long))}",
                flush=True,
            )

    @contextmanager
    def _alarm(self) -> Iterator[None]:
        """Raise OutOfTime in the block once the time is over, which only a main thread can."""
        if self.left() <= 0:
            raise OutOfTime
        if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "setitimer"):
            yield
            return

        def over(*_: Any) -> None:
            raise OutOfTime

        handler, timer, began = (
            signal.signal(signal.SIGALRM, over),
            signal.getitimer(signal.ITIMER_REAL),
            time.monotonic(),
        )
        signal.setitimer(signal.ITIMER_REAL, self.left(), AGAIN)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, handler)
            if timer[0]:  # somebody else's clock goes on
                signal.setitimer(signal.ITIMER_REAL, max(timer[0] - (time.monotonic() - began), 0.01), timer[1])


class Forecast:
    """Seconds that runs take here: by measured steps, else by `cost()`, and corrected by what others took."""

    def __init__(self, runs: Iterable[Experiment], patience: float, longest: float) -> None:
        """Measure for about `patience` seconds, cheapest first, and nothing that takes far longer than `longest`.

        What cannot be told of, such as a net whose data are not here, takes nothing: it fails when its turn comes.
        """
        self.measured: dict[Any, Any] = {}
        self.runs = {e: 0.0 for e in runs}
        self.sums: dict[Any, tuple[float, float]] = {}  # of a kind: seconds that runs took, and those expected of them
        start, before = time.monotonic(), estimate._clock()
        late = []
        for e in sorted(self.runs, key=price):
            if told(lambda e=e: self._known(e), False) or (
                time.monotonic() - start < patience and self._rough(e) < 10 * longest
            ):
                self.runs[e] = told(lambda e=e: estimate.run_seconds(e, self.measured), 0.0)
            else:
                late.append(e)
        self.load = _load(before, estimate._clock())
        ratio = self._ratio()
        for e in late:
            self.runs[e] = ratio * self._rough(e)
        self.runs = {e: (self.load * s + OVERHEAD) * (1 - told(lambda e=e: done(e), 0.0)) for e, s in self.runs.items()}

    def _rough(self, e: Experiment) -> float:
        return told(lambda: estimate.rough_seconds(e, self.measured), 0.0)

    def _known(self, e: Experiment) -> bool:
        training = e.training()
        return training is not None and estimate.signature(training) in self.measured

    def _ratio(self) -> float:
        """Measured over rough seconds, of the trainings that were measured."""
        both = [(s, estimate.rough_seconds(e, self.measured)) for e, s in self.runs.items() if s and self._known(e)]
        return statistics.median(s / max(rough, 1e-9) for s, rough in both) if both else 1.0

    def seconds(self, e: Experiment) -> float:
        """What a run takes, if it takes as much longer than expected as those of its kind did."""
        took, expected = self.sums.get(kind(e), (1.0, 1.0))
        return self.runs[e] * took / expected

    def learn(self, e: Experiment, seconds: float, expected: float | None = None) -> None:
        """Correct what is expected of a kind by what a run of it took."""
        took, before = self.sums.get(kind(e), (0.0, 0.0))
        self.sums[kind(e)] = took + max(seconds, 1e-3), before + (self.runs[e] if expected is None else expected)

    def remember(self, experiments: Iterable[Experiment]) -> None:
        """Learn from records that this device made before, of kinds that are to come."""
        to_come = {kind(e) for e in self.runs}
        for e in experiments:
            if e in self.runs or kind(e) not in to_come or not (e.training() is None or self._known(e)):
                continue
            record = store.find(e)
            if (
                record is not None
                and record.shelf == "local"
                and record.meta["device"]["name"] == provenance.device()["name"]
            ):
                expected = self.load * estimate.run_seconds(e, self.measured) + OVERHEAD
                self.learn(e, float(record.meta["seconds"]) + OVERHEAD, expected)


def _load(before: tuple[float, float], after: tuple[float, float]) -> float:
    """How many times longer things take because others compute here too, from 1 to 4, by what measuring took."""
    free = estimate._between(before, after)
    return min(4.0, max(1.0, (after[0] - before[0]) / free)) if free > SHORT else 1.0


@lru_cache(maxsize=10_000)
def kind(e: Experiment) -> tuple:
    """What two runs share whose times go together: the class, and the nets that they train or are made of."""
    return type(e).__name__, *told(lambda: _nets(e), [e])


def _nets(e: Experiment) -> list[tuple]:
    trainings = [t for part in lineage([e]) if (t := part.training()) is not None]
    return list(dict.fromkeys(map(estimate.signature, trainings)))


def done(e: Experiment) -> float:
    """The fraction of a training that an earlier call has behind it, by its checkpoint."""
    training, file = e.training(), store.half_done(e)
    if training is None or file is None or (found := checkpoint.load(file)) is None:
        return 0.0
    return min(0.99, max(0.0, found[1].get("iteration", 0) / estimate.iterations(training)))


class _Lines:
    """The lines of a plan: which run stores a missing experiment, and what one more net is worth to its line."""

    def __init__(self, experiments: Sequence[Experiment], waiting: Iterable[Experiment]) -> None:
        by_leaf: dict[Experiment, list[Experiment]] = {}
        for e in waiting:
            for stored in (e, *told(e.also_stores, [])):
                by_leaf.setdefault(stored, []).append(e)
        self.of = {e: told(lambda e=e: line(e), repr(e)) for e in experiments}
        self.totals = Counter(self.of.values())
        self.makers = {e: [e] if e in by_leaf.get(e, ()) else by_leaf[e] for e in experiments if e in by_leaf}

    def count(self, begun: Iterable[Experiment]) -> Counter[str]:
        """Nets of each line that are stored, or will be by what has begun."""
        begun = set(begun)
        return Counter(
            name for e, name in self.of.items() if begun.intersection(self.makers.get(e, ())) or e not in self.makers
        )

    def worth(self, e: Experiment, have: Counter[str]) -> float:
        """What this net is worth to its line."""
        if self.totals[self.of[e]] < ENOUGH:
            return 1.0
        return have[self.of[e]] + 1.0 if have[self.of[e]] < ENOUGH else 0.5


class _Paths:
    """At one moment of a sweep: what has to run, in order, before something is stored."""

    def __init__(self, state: _Sweep, seconds: Callable[[Experiment], float]) -> None:
        self.state, self.seconds = state, seconds
        self.known: dict[Experiment, tuple[Experiment, ...] | None] = {}

    def shortest(self, makers: Sequence[Experiment]) -> tuple[Experiment, ...] | None:
        """The shortest of their ways; empty: one is stored. None: all have failed."""
        if self.state.stored.intersection(makers):
            return ()
        ways = [way for e in makers if (way := self.way(e)) is not None]
        return min(ways, key=lambda way: sum(map(self.seconds, way)), default=None)

    def way(self, e: Experiment) -> tuple[Experiment, ...] | None:
        """A run and those that it waits for, these first; None: it has failed, or what it builds on."""
        if e not in self.known:
            before = [self.shortest(group) for group in self.state.waiting.get(e, ())]
            lost = None in before or (e not in self.state.waiting and e not in self.state.running)
            self.known[e] = None if lost else tuple(dict.fromkeys([run for way in before for run in way] + [e]))
        return self.known[e]


def _words(e: Experiment) -> str:
    """A run in a few words: its class, and the nets and data that it trains or is made of."""
    nets = dict.fromkeys(
        f"{t.net.model}{f' {t.net.width}' if t.net.width else ''} on {t.net.dataset}"
        for part in lineage([e])
        if (t := part.training()) is not None
    )
    return " ".join([type(e).__name__, ", ".join(nets)]).strip()
