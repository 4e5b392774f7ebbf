"""What runs take here: by measured steps, corrected by what earlier ones took, less what is half done."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from ..records import provenance, store
from ..records.experiment import Experiment, trainings
from ..training import checkpoint
from . import estimate
from .measuring import between, clock
from .sweeps import price, told

OVERHEAD = 0.1  # seconds that any run takes beside what it computes: records read and written
SHORT = 0.1  # seconds of measuring from which nothing is said of other programs


class Forecast:
    """Seconds that runs take here: by measured steps, else by `cost()`, and corrected by what others took."""

    def __init__(self, runs: Iterable[Experiment], patience: float, longest: float) -> None:
        """Measure for about `patience` seconds, cheapest first, and nothing that takes far longer than `longest`.

        What cannot be told of, such as a net whose data are not here, takes nothing: it fails when its turn comes.
        """
        self.measured: dict[Any, Any] = {}
        self.runs = {e: 0.0 for e in runs}
        self.sums: dict[Any, tuple[float, float]] = {}  # of a kind: seconds that runs took, and those expected of them
        start, before = time.monotonic(), clock()
        late = []
        for e in sorted(self.runs, key=price):
            known = told(lambda e=e: self._known(e), False)
            if known or (time.monotonic() - start < patience and self._rough(e) < 10 * longest):
                self.runs[e] = told(lambda e=e: estimate.run_seconds(e, self.measured), 0.0)
            else:
                late.append(e)
        self.load = _load(before, clock())
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
            record, here = store.find(e), provenance.device()["name"]
            if record is not None and record.shelf == "local" and record.meta["device"]["name"] == here:
                expected = self.load * estimate.run_seconds(e, self.measured) + OVERHEAD
                self.learn(e, float(record.meta["seconds"]) + OVERHEAD, expected)


def _load(before: tuple[float, float], after: tuple[float, float]) -> float:
    """How many times longer things take because others compute here too, from 1 to 4, by what measuring took."""
    free = between(before, after)
    return min(4.0, max(1.0, (after[0] - before[0]) / free)) if free > SHORT else 1.0


@lru_cache(maxsize=10_000)
def kind(e: Experiment) -> tuple:
    """What two runs share whose times go together: the class, and the nets that they train or are made of."""
    return type(e).__name__, *told(lambda: dict.fromkeys(map(estimate.signature, trainings(e))), [e])


def done(e: Experiment) -> float:
    """The fraction of a training that an earlier call has behind it, by its checkpoint."""
    training, file = e.training(), store.half_done(e)
    if training is None or file is None or (found := checkpoint.load(file)) is None:
        return 0.0
    return min(0.99, max(0.0, found[1].get("iteration", 0) / estimate.iterations(training)))
