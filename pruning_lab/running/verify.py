"""Published records computed again, cheapest first: equal bits on the same kind of machine, near on any other.

Nothing that is stored is used: nets that a record was measured on are trained anew, in a folder that goes afterwards.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .. import environment
from ..records import provenance, record, store
from ..records.experiment import lineage
from ..records.record import Stored
from .budget import Budget
from .lines import ENOUGH, line
from .register import Entry, entries, name
from .sweeps import OutOfTime, duration

FORMAT = 1
BITS, DEVIATIONS, NEITHER = "equal bits", "three standard deviations", "neither"
MOST = 3.0  # standard deviations over seeds
ROUNDING = 1e-6  # of the largest size: what is the same at every seed may differ so far
OTHER = 30.0  # times what a record of another type of device took is expected here, until one was computed


@dataclass(frozen=True)
class Said:
    """What came of one record: the test that it was put to, whether it passed (None: there is none), and words."""

    record: str
    test: str
    agrees: bool | None
    words: str
    seconds: float


@dataclass
class Outcome:
    """What was computed again, of how many published records, and why the others were not: reason -> how many."""

    published: int
    said: list[Said] = field(default_factory=list)
    left: dict[str, int] = field(default_factory=dict)

    def leave(self, why: str, count: int = 1) -> None:
        """Count what is not computed."""
        if count:
            self.left[why] = self.left.get(why, 0) + count

    def summary(self) -> str:
        """All in one sentence."""
        counts = [f"{sum(s.test == t and bool(s.agrees) for s in self.said)} agree by {t}" for t in (BITS, DEVIATIONS)]
        differ, idle = (sum(s.agrees is value for s in self.said) for value in (False, None))
        parts = [*counts, f"{differ} differ", *[f"{idle} cannot be compared"] * bool(idle)]
        return f"{len(self.said)} of {self.published} published records computed again: {', '.join(parts)}"


def verify(minutes: float, say: Callable[[str], None] = print) -> Outcome:
    """Compute published records again, those that take least first, as many as fit into so many minutes.

    ValueError: the minutes are no number above 0.
    """
    Budget(60 * minutes)  # before a shelf is read for it
    shelf, broken = entries()
    outcome = Outcome(len(shelf) + len(broken))
    outcome.leave("they are broken", len(broken))
    alike: dict[str, list[Entry]] = {}
    for entry in shelf:
        alike.setdefault(line(entry.experiment), []).append(entry)
    with _apart():
        _compute(_Prices(shelf), alike, Budget(60 * minutes), outcome, say)
    return outcome


class _Prices:
    """What published records take here, with all that they are made of and that was not computed yet."""

    def __init__(self, shelf: Sequence[Entry]) -> None:
        here = environment.device().type
        self.waiting = {entry: lineage([entry.experiment]) for entry in shelf}
        took = {entry.experiment: entry.meta["seconds"] for entry in shelf}
        abroad = {entry.experiment for entry in shelf if entry.meta["device"]["type"] != here}
        parts = dict.fromkeys(part for those in self.waiting.values() for part in those)
        self.seconds = {e: (took[e] if e in took else e.cost()) * (OTHER if e in abroad else 1) for e in parts}
        self.spent = self.expected = 0.0

    def of(self, entry: Entry) -> float:
        """Seconds, by what the records say."""
        return sum(self.seconds[part] for part in self.waiting[entry])

    def here(self, entry: Entry) -> float:
        """Seconds, by what those took that were computed here."""
        return self.of(entry) * (self.spent / self.expected if self.expected else 1.0)

    def take(self) -> Entry:
        """The one that takes least; it waits no longer."""
        return min(self.waiting, key=self.of)

    def learn(self, entry: Entry, seconds: float) -> None:
        """Something was computed, in so many seconds."""
        self.spent, self.expected = self.spent + seconds, self.expected + self.of(entry)
        self.seconds |= dict.fromkeys(self.waiting.pop(entry), 0.0)


def _idle(entry: Entry) -> str:
    """Why a record is not computed here: another key today, mere times, other data; "" where it can be."""
    if entry.experiment.key != entry.folder.name:
        return "they have another key today"
    return "they are times of another machine" if entry.experiment.alone else _lacks_data(entry)


def _lacks_data(entry: Entry) -> str:
    try:
        here = entry.experiment.data_read()
    except (ValueError, OSError):
        return "their data cannot be read here"
    wanted = {split: seen["digest"] for split, seen in entry.meta["data"].items()}
    if any(split not in here for split in wanted if not split.endswith("of its start")):
        return "their data are not here"
    other = any(here[split]["digest"] != digest for split, digest in wanted.items() if split in here)
    return "their data have other bytes here" if other else ""


@contextmanager
def _apart() -> Iterator[None]:
    """Inside, both shelves are empty folders that go afterwards."""
    names = ("PRUNING_LAB_STORE", "PRUNING_LAB_RESULTS")
    before = {setting: os.environ.get(setting) for setting in names}
    with tempfile.TemporaryDirectory(prefix="verify-") as folder:
        os.environ |= {setting: str(Path(folder, setting)) for setting in names}
        try:
            yield
        finally:
            for setting, value in before.items():
                os.environ.pop(setting, None)
                if value is not None:
                    os.environ[setting] = value


def _compute(
    prices: _Prices, alike: Mapping[str, Sequence[Entry]], limit: Budget, outcome: Outcome, say: Callable[[str], None]
) -> None:
    """One after the other, the cheapest of those that are left first; what is not begun is counted."""
    while prices.waiting:
        entry = prices.take()
        if why := _idle(entry):
            outcome.leave(why)
            del prices.waiting[entry]
            continue
        if prices.here(entry) > limit.left():
            break
        start = time.perf_counter()
        try:
            said = limit.call(lambda _, entry=entry: _again(entry, alike), entry.experiment)
        except OutOfTime:
            break
        prices.learn(entry, time.perf_counter() - start)
        outcome.said.append(said)
        word = {True: "agrees", False: "DIFFERS", None: "-"}[said.agrees]
        say(f"{word:8} {said.seconds:7.1f} s  {said.record}: {said.words}")
    outcome.leave("there was no time for them", len(prices.waiting))


def _again(entry: Entry, alike: Mapping[str, Sequence[Entry]]) -> Said:
    """Compute one record and compare it."""
    start = time.perf_counter()
    try:
        with contextlib.redirect_stdout(None):
            here = store.run(entry.experiment)
        published = record.read(entry.folder)
        kin = [record.read(other.folder) for other in alike[line(entry.experiment)]]
        test, agrees, words = judged(published, here, kin, entry.experiment.timed)
    except Exception as error:  # whatever it is, the others are none the worse
        test, agrees, words = NEITHER, False, record.plain(f"it fails here: {type(error).__name__}: {error}")
    return Said(name(entry.experiment), test, agrees, words, round(time.perf_counter() - start, 1))


def judged(
    published: Stored, here: Any, kin: Sequence[Stored], timed: Sequence[str] = ()
) -> tuple[str, bool | None, str]:
    """The test for an answer that was computed again, whether it passes, and words.

    Args:
        published, here: with `table`, `arrays` and `meta`. kin: published answers of the same thing at every seed, the
            one in question included. timed: columns that are times.
    """
    old, new = (_answer(one, timed) for one in (published, here))
    other = [k for k in sorted(old.keys() | new.keys()) if k not in old or k not in new or not _same(old[k], new[k])]
    why = apart(published.meta, here.meta)
    if not other:
        return BITS, True, BITS if not why else f"{BITS}, though {why}"
    if not why:
        return BITS, False, f"not the same bits in {_few(other)}"
    if len(kin) < ENOUGH:
        return NEITHER, None, f"{why}, and there are fewer than {ENOUGH} seeds to compare with"
    far = _far(old, new, [_answer(one, timed) for one in kin])
    if far:
        worst = _few([f"{k} ({_times(d)})" for k, d in sorted(far.items(), key=lambda item: -item[1])])
        return DEVIATIONS, False, f"{why}; further than {DEVIATIONS} over {len(kin)} seeds in {worst}"
    return DEVIATIONS, True, f"within {DEVIATIONS} over {len(kin)} seeds, since {why}"


def apart(there: Mapping[str, Any], here: Mapping[str, Any]) -> str:
    """Why equal bits cannot be asked of two answers, by their `record.json`; "" where they can."""
    reasons = []
    for what, words in (("type", "device"), ("instructions", "instructions"), ("threads", "threads")):
        old, new = there["device"].get(what), here["device"].get(what)
        if old is None:
            reasons.append(f"its {words} were not kept")
        elif old != new:
            reasons.append(f"it was made with {words} {old}, here {new}")
    if there["device"]["type"] != "cpu" and there["device"]["name"] != here["device"]["name"]:
        reasons.append(f"it was made on {there['device']['name']}")
    versions = [
        k for k in ("python", "torch", "numpy", "system") if there["versions"].get(k) != here["versions"].get(k)
    ]
    reasons += [f"it was made with {k} {there['versions'].get(k)}, here {here['versions'].get(k)}" for k in versions]
    return " and ".join(reasons)


def _answer(found: Any, timed: Sequence[str]) -> dict[str, np.ndarray]:
    """All that a record answers, by name: columns of its table but for times, and arrays."""
    columns = {f"column {k}": found.table[k].to_numpy() for k in found.table if k not in timed}
    return columns | {f"array {k}": np.asarray(v) for k, v in found.arrays.items()}


def _same(a: np.ndarray, b: np.ndarray) -> bool:
    if a.dtype != b.dtype or a.shape != b.shape:
        return False
    return a.tolist() == b.tolist() if a.dtype == object else a.tobytes() == b.tobytes()


def _far(
    old: Mapping[str, np.ndarray], new: Mapping[str, np.ndarray], kin: Sequence[Mapping[str, np.ndarray]]
) -> dict[str, float]:
    """What is too far off -> by how many standard deviations over seeds; one number stands for an array, its mean.

    Infinite: a name or words that are the same at every seed are others here, or a number is none.
    """
    far = {k: math.inf for k in old.keys() ^ new.keys()}
    for k in old.keys() & new.keys():
        if old[k].dtype.kind not in "biuf" or new[k].dtype.kind not in "biuf":
            fixed = all(k in one and _same(old[k], one[k]) for one in kin)
            far |= {k: math.inf} if fixed and not _same(old[k], new[k]) else {}
            continue
        seeds = [mean for one in kin if k in one and math.isfinite(mean := _mean(one[k]))]
        was, now = _mean(old[k]), _mean(new[k])
        if math.isnan(was) and math.isnan(now):
            continue
        size = max(map(abs, seeds), default=0.0) or 1.0
        spread = max(float(np.std(seeds, ddof=1)) if len(seeds) > 1 else 0.0, ROUNDING * size / MOST)
        distance = abs(now - was) / spread
        if not distance <= MOST:
            far[k] = math.inf if math.isnan(distance) else distance
    return far


def _mean(values: np.ndarray) -> float:
    """The mean of the finite numbers; NaN where there is none."""
    kept = values.astype(np.float64).ravel()
    kept = kept[np.isfinite(kept)]
    return float(kept.mean()) if kept.size else math.nan


def _times(distance: float) -> str:
    return f"{distance:.1f} deviations" if math.isfinite(distance) else "no number to compare"


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def file() -> Path:
    """Where the last outcome is kept: beside the published records."""
    return environment.published_shelf() / "verified.json"


def save(outcome: Outcome, minutes: float) -> Path:
    """Store an outcome in the place of the last one: no name of a host or user, no path. OSError: it cannot be."""
    device = {k: v for k, v in provenance.device().items() if k != "cores"} | dict(threads=provenance.THREADS)
    told = dict(format=FORMAT, time=provenance.now(), minutes=minutes, device=device, versions=provenance.versions())
    told |= dict(published=outcome.published, summary=outcome.summary(), left=outcome.left)
    told["records"] = [asdict(one) for one in outcome.said]
    place = file()
    place.parent.mkdir(parents=True, exist_ok=True)
    part = place.with_suffix(".part")
    part.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    part.replace(place)
    return place


def last() -> Mapping[str, Any] | None:
    """The last outcome that was stored; None: there is none. ValueError: the file is broken."""
    place = file()
    if not place.is_file():
        return None
    try:
        told = json.loads(place.read_text(encoding="utf-8"))
        if told["format"] != FORMAT:
            raise ValueError(f"its format is {told['format']}, this library reads {FORMAT}")
        for one in told["records"]:
            Said(**one)
        return told
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        how = "take it from git again, or run `python -m pruning_lab verify`"
        raise ValueError(f"{place.name} is broken ({error!r}): {how}") from error


def run(minutes: float, say: Callable[[str], None] = print) -> None:
    """Verify, say how it went, and store it. ValueError: something differs, or nothing could be computed."""
    outcome = verify(minutes, say)
    for why, count in outcome.left.items():
        say(f"not computed: {count}, since {why}")
    say(f"{outcome.summary()}, in {duration(sum(one.seconds for one in outcome.said))}")
    if not outcome.said:
        how = "name a folder with the data sets by PRUNING_LAB_DATA, or give more minutes"
        raise ValueError(f"no published record was computed again: {how}")
    try:
        save(outcome, minutes)
    except OSError as error:
        say(f"the outcome is not stored: {error.strerror}")
    if bad := [one.record for one in outcome.said if one.agrees is False]:
        raise ValueError(f"{len(bad)} published records differ from what this machine computes: {_few(bad)}")
