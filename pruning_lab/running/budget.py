"""A sweep inside a time limit: what decides most per second first, and nothing begun that cannot be finished.

A **line** is what a figure or a verdict draws from: one experiment's settings under several seeds. Three nets decide
a line, so the third net of a line is worth 3, the second 2, the first 1, a further one a half; a net of a line for
which the plan has fewer than three, 1. What an experiment costs is its own time and that of the missing runs that it
builds on, each shared with the others that wait for it. The best ratio begins first, if it and all that it needs fit
into the time that is left.
"""

from __future__ import annotations

import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ..records import store
from ..records.experiment import Experiment, lineage, named, odd, trainings
from ..records.provenance import one_thread
from .forecast import Forecast
from .lines import Lines, Paths
from .sweeps import LONGEST, Limit, OutOfTime, duration, told

if TYPE_CHECKING:
    from .sweeps import _Sweep

ENDING = 5.0  # seconds kept for the end of the process, at most a tenth of the budget
MEASURING = 0.1  # of the budget, after which no further kind of net is measured
ROOM = 1.1  # times what a run is expected to take must be left, or it is not begun
AGAIN = 2.0  # seconds after which a run that missed the end of its time is told once more
SHOWN = 12  # kinds of run that are listed as not begun


class Budget(Limit):
    """A limit of so many seconds of wall-clock time; for one sweep."""

    def __init__(self, seconds: float, since: float | None = None) -> None:
        """A budget that began at `since` (`time.monotonic()`; default: now). ValueError: none, or more than a year."""
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
        self.lines = Lines(experiments, state.waiting)
        self.slots = state.place.slots
        with self._alarm(), one_thread():
            self.forecast = Forecast(state.waiting, self.left() * MEASURING, self.left())
            bad = odd(experiments)
            self.forecast.remember(lineage([e for e in experiments if e not in bad]))

    def choose(self, state: _Sweep) -> list[Experiment]:
        """The run to begin now, if a worker is free and there is one that fits."""
        if len(state.running) >= self.slots or any(e.alone for e in state.running):
            return []
        paths = Paths(state, self.remaining)
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
        stored = f"{len(state.stored)} of {len(state.costs)} are stored"
        print(f"{stored} after {used:.0f} s of {self.seconds:g} s", flush=True)
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
            longest = duration(max(seconds[e] for e in long))
            print(f"{len(long)} of them take longer than such a budget, up to {longest}", flush=True)

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

        handler, timer = signal.signal(signal.SIGALRM, over), signal.getitimer(signal.ITIMER_REAL)
        began = time.monotonic()
        signal.setitimer(signal.ITIMER_REAL, self.left(), AGAIN)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, handler)
            if timer[0]:  # somebody else's clock goes on
                signal.setitimer(signal.ITIMER_REAL, max(timer[0] - (time.monotonic() - began), 0.01), timer[1])


def _words(e: Experiment) -> str:
    """A run in a few words: its class, and the nets and data that it trains or is made of."""
    nets = [t.net for t in trainings(e)]
    words = dict.fromkeys(f"{n.model}{f' {n.width}' if n.width else ''} on {n.dataset}" for n in nets)
    return " ".join([type(e).__name__, ", ".join(words)]).strip()
