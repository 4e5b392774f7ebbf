"""Two answers to one question: whether they have the same bits, or lie as near as other seeds do."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..records.record import Stored
from .lines import ENOUGH

BITS, DEVIATIONS, NEITHER = "equal bits", "three standard deviations", "neither"
MOST = 3.0  # standard deviations over seeds
ROUNDING = 1e-6  # of the largest size: what is the same at every seed may differ so far


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
        return BITS, False, f"not the same bits in {few(other)}"
    if len(kin) < ENOUGH:
        return NEITHER, None, f"{why}, and there are fewer than {ENOUGH} seeds to compare with"
    far = _far(old, new, [_answer(one, timed) for one in kin])
    if far:
        worst = few([f"{k} ({_times(d)})" for k, d in sorted(far.items(), key=lambda item: -item[1])])
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


def few(names: Sequence[str]) -> str:
    """The first three of some names, and how many more there are."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
