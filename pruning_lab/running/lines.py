"""Lines: what a figure or a verdict draws from, one experiment's settings under several seeds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from ..records.experiment import Experiment, settings
from .sweeps import stored_by, told

if TYPE_CHECKING:
    from .sweeps import _Sweep

ENOUGH = 3  # nets that decide a line


@lru_cache(maxsize=65_536)
def line(e: Experiment) -> str:
    """The name of the line of an experiment: its class and settings, without its own and its parts' seeds."""
    known = [(short, full.split(".")[-1], value) for short, full, value in settings(e) if value is not None]
    said = [f"{short}={value!r}" for short, last, value in known if last != "seed"]
    return f"{type(e).__name__} {', '.join(said)}"


class Lines:
    """The lines of a plan: which run stores a missing experiment, and what one more net is worth to its line."""

    def __init__(self, experiments: Sequence[Experiment], waiting: Iterable[Experiment]) -> None:
        by = stored_by(waiting)
        self.of = {e: told(lambda e=e: line(e), repr(e)) for e in experiments}
        self.totals = Counter(self.of.values())
        self.makers = {e: [e] if e in by[e] else by[e] for e in experiments if e in by}

    def count(self, begun: Iterable[Experiment]) -> Counter[str]:
        """Nets of each line that are stored, or will be by what has begun."""
        begun = set(begun)
        have = [e for e in self.of if e not in self.makers or begun.intersection(self.makers[e])]
        return Counter(self.of[e] for e in have)

    def worth(self, e: Experiment, have: Counter[str]) -> float:
        """What this net is worth to its line."""
        if self.totals[self.of[e]] < ENOUGH:
            return 1.0
        return have[self.of[e]] + 1.0 if have[self.of[e]] < ENOUGH else 0.5


class Paths:
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
