"""Whether a report keeps its price while it works: a machine may be busier then than when it was timed."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

SLOWER = 1.5  # times as long as expected, and it is said
SURE = 5.0  # seconds of work after which that is no chance


@dataclass
class Pace:
    """Work of known size, so many seconds of it expected, with `after` more behind it; says when it takes longer.

    size: of the work, in any unit, of which `done` is done; told: how many times slower it was said to be.
    """

    expected: float
    size: float
    after: float
    say: Callable[[str], None]
    clock: Callable[[], float] = time.perf_counter
    done: float = 0.0
    told: float = 1.0
    start: float = field(init=False)

    def __post_init__(self):
        self.start = self.clock()

    def went(self, size: float) -> None:
        """So much more of the work is done: a new price is told if the pace of all so far is `SLOWER` than the last."""
        self.done += size
        now = self.clock()
        took, due = now - self.start, self.expected * self.done / self.size
        if took < SURE or took < SLOWER * self.told * due or self.done >= self.size:
            return
        self.told = took / due
        more = self.told * (self.expected - due + self.after)
        self.say(f"  {self.told:.1f} times slower than priced (is the machine busy?): about {more:.0f} s more")
