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
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from .. import environment
from ..records import provenance, record, store
from ..records.experiment import Experiment, lineage
from . import folders
from .budget import Budget
from .lines import ENOUGH, line
from .nearness import BITS, DEVIATIONS, NEITHER, apart, few, judged
from .register import Entry, entries, name
from .sweeps import OutOfTime, duration

FORMAT = 1
UNREAD = "their data cannot be read here"
OTHER = 30.0  # times what a record of another type of device took is expected here, until one was computed


@dataclass(frozen=True)
class Said:
    """What came of one record: the test that it was put to, whether it passed (None: there is none), and words."""

    record: str
    test: str
    agrees: bool | None
    words: str
    seconds: float
    unlike: str = ""  # why equal bits cannot be asked of it


@dataclass
class Outcome:
    """What was computed again, of how many published records, and why the others were not: reason -> how many."""

    published: int
    said: list[Said] = field(default_factory=list)
    left: dict[str, int] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)

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
    outcome = Outcome(len(shelf) + len(broken), broken=list(broken))
    outcome.leave("they are broken", len(broken))
    for key, why in broken.items():
        say(f"{'BROKEN':8} {'-':>9}  {key}: {why}")
    say(f"{len(shelf):,} records read; the cheapest are computed now, with all that they are made of")
    alike: dict[str, list[Entry]] = {}
    for entry in shelf:
        alike.setdefault(line(entry.experiment), []).append(entry)
    with _apart():
        _compute(_Prices(shelf), alike, Budget(60 * minutes), outcome, say)
    outcome.said = [_doubted(one, outcome.said, say) for one in outcome.said]
    return outcome


def _doubted(one: Said, said: Sequence[Said], say: Callable[[str], None]) -> Said:
    """The same, with a word where it is merely near though others that were made so have the same bits here."""
    alike = sum(other.unlike == one.unlike and other.test == BITS and other.agrees is True for other in said)
    if not one.agrees or one.test != DEVIATIONS or alike < ENOUGH:
        return one
    words = f"but {alike} other records that were made so have the same bits here: look at this one"
    say(f"{'DOUBTFUL':8} {'-':>9}  {one.record}: near, {words}")
    return replace(one, words=f"{one.words}, {words}")


class _Prices:
    """What published records take here, with all that they are made of and that was not computed yet."""

    def __init__(self, shelf: Sequence[Entry]) -> None:
        here = environment.device().type
        self.waiting = {entry: lineage([entry.experiment]) for entry in shelf}
        took = {entry.experiment: entry.meta["seconds"] for entry in shelf}
        abroad = {entry.experiment for entry in shelf if entry.meta["device"]["type"] != here}
        parts = dict.fromkeys(part for those in self.waiting.values() for part in those)
        self.seconds = {e: (took[e] if e in took else _guessed(e)) * (OTHER if e in abroad else 1) for e in parts}
        self.spent = self.expected = 0.0

    def of(self, entry: Entry) -> float:
        """Seconds, by what the records say."""
        return sum(self.seconds[part] for part in self.waiting[entry])

    def here(self, entry: Entry) -> float:
        """Seconds, by what those took that were computed here; no machine is more than ten times as fast."""
        return self.of(entry) * max(self.spent / self.expected if self.expected else 1.0, 0.1)

    def take(self) -> Entry:
        """The one that takes least; it waits no longer."""
        return min(self.waiting, key=self.of)

    def learn(self, entry: Entry, seconds: float) -> None:
        """Something was computed, in so many seconds."""
        self.spent, self.expected = self.spent + seconds, self.expected + self.of(entry)
        self.seconds |= dict.fromkeys(self.waiting.pop(entry), 0.0)


def _guessed(experiment: Experiment) -> float:
    """Seconds of what no record tells; without end where its data, which it is reckoned from, are not here."""
    try:
        return experiment.cost()
    except (ValueError, OSError):
        return math.inf


def _idle(entry: Entry) -> str:
    """Why a record is not computed here: another key today, mere times, other data; "" where it can be."""
    if entry.experiment.key != entry.folder.name:
        return "they have another key today"
    return "they are times of another machine" if entry.experiment.alone else _lacks_data(entry)


def _lacks_data(entry: Entry) -> str:
    try:
        here = entry.experiment.data_read()
    except (ValueError, OSError):
        return UNREAD
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
    blind = sum(prices.of(entry) == math.inf for entry in prices.waiting)
    outcome.leave(UNREAD, blind)
    outcome.leave("there was no time for them", len(prices.waiting) - blind)


def _again(entry: Entry, alike: Mapping[str, Sequence[Entry]]) -> Said:
    """Compute one record and compare it."""
    start = time.perf_counter()
    try:
        with contextlib.redirect_stdout(None):
            here = store.run(entry.experiment)
        published = record.read(entry.folder)
        kin = [record.read(other.folder) for other in alike[line(entry.experiment)] if other is not entry]
        test, agrees, words = judged(published, here, kin, entry.experiment.timed)
        unlike = apart(published.meta, here.meta)
    except Exception as error:  # whatever it is, the others are none the worse
        test, agrees, unlike = NEITHER, False, ""
        words = record.plain(f"it fails here: {type(error).__name__}: {error}")
    return Said(name(entry.experiment), test, agrees, words, round(time.perf_counter() - start, 1), unlike)


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
    try:
        part.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
        return part.replace(place)
    finally:
        part.unlink(missing_ok=True)


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
        _see_shown(told)
        return told
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        how = "take it from git again, or run `python -m pruning_lab verify`"
        raise ValueError(f"{place.name} is broken ({error!r}): {how}") from error


def _earlier() -> str:
    """What the outcome that is stored was, as an end of a sentence; nothing where there is none that can be read."""
    try:
        told = last()
    except ValueError:
        return ""
    return f": {len(told['records']):,} records in {told['minutes']:g} min" if told else ""


def _see_shown(told: Mapping[str, Any]) -> None:
    """See that an outcome has what a page shows of it. ValueError, LookupError, AttributeError: it has not."""
    texts = [told["time"], told["summary"], told["versions"]["torch"], *told["left"].keys()]
    texts += [told["device"][name] for name in ("name", "type", "instructions")]
    texts += [one[name] for one in told["records"] for name in ("record", "words")]
    if not all(isinstance(text, str) for text in texts):
        raise ValueError("what should be text is none")
    if type(told["minutes"]) not in (int, float) or any(
        one["agrees"] not in (True, False, None) for one in told["records"]
    ):
        raise ValueError("it has no minutes, or an outcome that is none")


def run(minutes: float, say: Callable[[str], None] = print) -> None:
    """Verify, say how it went, and store it.

    ValueError: something differs or is broken, nothing could be computed, or there is no book and no other shelf.
    """
    folders.shelf()
    say("published records are read, and held against their checksums; then the cheapest are computed again")
    outcome = verify(minutes, say)
    for why, count in outcome.left.items():
        say(f"not computed: {count}, since {why}")
    say(f"{outcome.summary()}, in {duration(sum(one.seconds for one in outcome.said))}")
    if not outcome.said:
        how = "name a folder with the data sets by PRUNING_LAB_DATA, or give more minutes"
        raise ValueError(f"no published record was computed again: {how}")
    earlier = _earlier()
    try:
        where = save(outcome, minutes).name
        back = f"git lists it as changed, and `git restore` takes the last one back{earlier}"
        say(f"the outcome is stored beside the published records, for the book's page of evidence: {where} ({back})")
    except OSError as error:
        say(f"the outcome is not stored: {error.strerror}")
    bad = [one.record for one in outcome.said if one.agrees is False]
    parts = [f"{len(bad)} published records differ from what this machine computes: {few(bad)}"] * bool(bad)
    parts += [f"{len(outcome.broken)} are broken: {few(outcome.broken)}"] * bool(outcome.broken)
    if parts:
        raise ValueError("; ".join(parts))
