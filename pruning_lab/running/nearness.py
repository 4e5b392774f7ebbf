"""Two answers to one question: whether they have the same bits, or lie as near as other seeds do.

Near are the means of a column, the number of its rows, its last row, and every row. Means and numbers of rows lie
within three standard deviations over seeds. Rows are many, and of few seeds some lie far apart: of two answers no row
lies further apart, in standard deviations over seeds, than three times as far as the furthest row of any seed lies from
the other seeds. The last row, where a run ends, is asked by itself too, so that what goes before cannot hide it.

Deviations are over the published seeds and over those with what was computed here in the place of the one that is in
question, whichever is less: else a number that is wrong would widen what it is held against.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..records.record import Stored
from .lines import ENOUGH

BITS, DEVIATIONS, NEITHER = "equal bits", "three standard deviations", "neither"
MOST = 3.0  # standard deviations over seeds
ROUNDING = 1e-6  # of the largest size: what is the same at every seed may differ so far


class Far(NamedTuple):
    """What is further than allowed: of what, how far in standard deviations, and where."""

    name: str
    distance: float
    where: str = ""

    def __str__(self) -> str:
        far = f"{self.distance:.1f} deviations" if math.isfinite(self.distance) else "no number to compare"
        return f"{self.name} ({self.where}{far})"


def judged(
    published: Stored, here: Any, kin: Sequence[Stored], timed: Sequence[str] = ()
) -> tuple[str, bool | None, str]:
    """The test for an answer that was computed again, whether it passes, and words.

    Args:
        published, here: with `table`, `arrays` and `meta`. kin: published answers of the same thing at the other seeds.
            timed: columns that are times.
    """
    old, new = (_answer(one, timed) for one in (published, here))
    other = [k for k in sorted(old.keys() | new.keys()) if k not in old or k not in new or not _same(old[k], new[k])]
    why = apart(published.meta, here.meta)
    if not other:
        return BITS, True, BITS if not why else f"{BITS}, though {why}"
    if not why:
        return BITS, False, f"not the same bits in {few(other)}"
    seeds = len(kin) + 1
    if seeds < ENOUGH:
        return NEITHER, None, f"{why}, and there are fewer than {ENOUGH} seeds to compare with"
    far = _far(old, new, [_answer(one, timed) for one in kin])
    if far:
        worst = few([str(one) for one in sorted(far, key=lambda one: -one.distance)])
        return DEVIATIONS, False, f"{why}; further than {DEVIATIONS} over {seeds} seeds in {worst}"
    return DEVIATIONS, True, f"within {DEVIATIONS} over {seeds} seeds, since {why}"


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
    old: Mapping[str, np.ndarray], new: Mapping[str, np.ndarray], others: Sequence[Mapping[str, np.ndarray]]
) -> list[Far]:
    """What is too far off, once a name.

    Infinitely far: a name or words that are the same at every seed are others here, or a number is none.
    """
    far = [Far(k, math.inf) for k in sorted(old.keys() ^ new.keys())]
    for k in sorted(old.keys() & new.keys()):
        was, now, seeds = old[k], new[k], [one[k] for one in others if k in one]
        if was.dtype.kind in "biuf" and now.dtype.kind in "biuf":
            found = list(_tests(k, *map(np.atleast_1d, (was, now)), list(map(np.atleast_1d, seeds))))
            far += [max(found, key=lambda one: one.distance)] if found else []
        elif not _same(was, now) and len(seeds) == len(others) and all(_same(was, one) for one in seeds):
            far.append(Far(k, math.inf))
    return far


def _tests(k: str, old: np.ndarray, new: np.ndarray, others: Sequence[np.ndarray]) -> Iterator[Far]:
    """What is too far off in one column or array, by each test."""
    for read, where in ((_mean, ""), (len, "in the number of rows: ")):
        if (distance := _apart_by(read(old), read(new), list(map(read, others)))) > MOST:
            yield Far(k, distance, where)
    if not len(old) or not len(new) or old.shape[1:] != new.shape[1:]:
        return
    ends = [one[-1:] for one in others if len(one) and one.shape[1:] == old.shape[1:]]
    usual = _usual(ends if old.shape != new.shape else [one for one in others if one.shape == old.shape])
    if (distance := _furthest(old[-1:], new[-1:], ends, usual)[0]) > 0:
        yield Far(k, distance, "in the last row: ")
    if old.shape == new.shape:
        distance, row = _furthest(old, new, [one for one in others if one.shape == old.shape], usual)
        if distance > 0:
            yield Far(k, distance, f"in row {row + 1} of {len(old)}: ")


def _apart_by(was: float, now: float, others: Sequence[float]) -> float:
    """The distance of two numbers in standard deviations over seeds; 0 where neither is a number."""
    if math.isnan(was) and math.isnan(now):
        return 0.0
    both = [[one for one in (mine, *others) if math.isfinite(one)] for mine in (was, now)]
    size = max((abs(one) for one in others if math.isfinite(one)), default=abs(was)) or 1.0
    spread = min(float(np.std(seeds, ddof=1)) if len(seeds) > 1 else 0.0 for seeds in both)
    distance = abs(now - was) / max(spread, ROUNDING * size / MOST)
    return math.inf if math.isnan(distance) else distance


def _furthest(was: np.ndarray, now: np.ndarray, others: Sequence[np.ndarray], usual: float) -> tuple[float, int]:
    """How many standard deviations the furthest number lies off, and its row; 0: no further than seeds, or too few."""
    if len(others) + 1 < ENOUGH or not was.size:
        return 0.0, 0
    both = [np.stack([mine, *others]).astype(np.float64) for mine in (was, now)]
    limit = MOST * min(_reach(drawn, usual) for drawn in both)
    spread = np.fmin(*(_spread(drawn, usual) for drawn in both))
    distances = _parted(both[0][0], both[1][0], spread)
    odd = np.isfinite(was) != np.isfinite(now)
    agreed = np.isin(np.isfinite(np.stack(others)).mean(0), (0.0, 1.0))  # all others are numbers, or none is
    distances[odd & agreed] = np.inf
    row = int(np.unravel_index(distances.argmax(), distances.shape)[0])
    return (float(distances.max()), row) if distances.max() > limit else (0.0, row)


def _reach(drawn: np.ndarray, usual: float) -> float:
    """How far the furthest number of any seed lies from the mean of the other seeds, in their standard deviations."""
    rests = [np.delete(drawn, k, 0) for k in range(len(drawn))]
    with np.errstate(invalid="ignore"):
        far = [_parted(one, rest.mean(0), _spread(rest, usual)) for one, rest in zip(drawn, rests, strict=True)]
    return max(1.0, *(float(one.max()) for one in far))


def _parted(one: np.ndarray, other: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """Distances in standard deviations; 0 where both or either is no number."""
    with np.errstate(invalid="ignore"):
        distances = abs(one - other) / spread
    return np.where((one == other) | ~np.isfinite(distances), 0.0, distances)


def _spread(drawn: np.ndarray, usual: float) -> np.ndarray:
    """The standard deviation of each number over seeds, never 0.

    usual: that of a number that is the same at every seed (all images were right) though others are not.
    """
    spread, size = _deviation(drawn)
    spread = np.where(spread > ROUNDING * size, spread, usual)
    return np.fmax(spread, ROUNDING * np.where(size > 0, size, 1.0) / MOST)


def _deviation(drawn: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    with np.errstate(invalid="ignore"):
        return drawn.std(0, ddof=1), abs(drawn).max(0)


def _usual(seeds: Sequence[np.ndarray]) -> float:
    """The middle one of the deviations over seeds of those numbers that are not the same at every seed; 0: all are."""
    if len(seeds) < ENOUGH - 1:
        return 0.0
    spread, size = _deviation(np.stack(seeds).astype(np.float64))
    moving = spread[spread > ROUNDING * size]
    return float(np.median(moving)) if moving.size else 0.0


def _mean(values: np.ndarray) -> float:
    """The mean of the finite numbers; NaN where there is none."""
    kept = values.astype(np.float64).ravel()
    kept = kept[np.isfinite(kept)]
    return float(kept.mean()) if kept.size else math.nan


def few(names: Sequence[str]) -> str:
    """The first three of some names, and how many more there are."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
