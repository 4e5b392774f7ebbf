"""Nets that detect equal pairs, by width: how many fail, what they explore, where their filters end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd

from ..experiments import Xord
from ..widgets import Explorer
from ..worlds import xord
from .evidence import Evidence
from .page import Page
from .reads import run

NARROW, WIDE, SMALL = (2, 4), (50, 100), 2
SAMPLED, DIVERSE, CENTRES = "sampled inputs", "diverse points", "from centres"
MEASURES = {
    "fails": "runs that fail, % of those that fit",
    "error": "their error on all inputs, %",
    "explored": "starts that explore, %",
    "angle_end": "angle to the closest pattern, degrees",
}
FAILURES = {name: MEASURES[name] for name in ("fails", "error")}
COLUMNS = ("arm", "k", "seed", "runs", "fit", "fails", "error", "failed", "explored", "angle_start", "angle_end")
HUES = {"for equal pairs": "#0072B2", "against": "#D55E00"}
SPAN = 1.25  # of the plane, times the longest filter
WAYS = 8  # of a kind that are drawn: more hide the filters
CROSS, STROKES = 0.08, ((-1, -1), (1, 1), (0, np.nan), (-1, 1), (1, -1), (0, np.nan))
EQUAL = ("(1, 1)", "(-1, -1)")


def arm(e: Xord) -> str:
    """What a block was trained on, or where it began."""
    return CENTRES if e.start else DIVERSE if e.n is None else SAMPLED


def blocks(found: Evidence) -> pd.DataFrame:
    """A row a block: fit (per cent of its runs with zero training error); of those the per cent that fails (not zero
    error on all inputs) and their mean error; failed, explored: per cent of all runs; and mean angles in degrees.
    """
    rows = [_row(e) for e in found.of(Xord)]
    return pd.DataFrame(rows, columns=COLUMNS).sort_values(["arm", "k", "seed"], ignore_index=True)


def _row(e: Xord) -> dict[str, object]:
    table = run(e).table
    fits, wrong = table.train_error == 0, table.test_error > 0
    named = dict(arm=arm(e), k=e.k, seed=e.seed, runs=e.runs, fit=100 * fits.mean())
    ends = dict(fails=100 * wrong[fits].mean(), error=100 * table.test_error[fits].mean(), failed=100 * wrong.mean())
    means = dict(explored=100 * table.explored.mean(), angle_start=table.angle_start.mean())
    return named | ends | means | dict(angle_end=table.angle_end.mean())


def beside_diverse(table: pd.DataFrame) -> pd.DataFrame:
    """Blocks on diverse points and on sampled inputs, those of widths that both have."""
    arms = table[table.arm.isin([SAMPLED, DIVERSE])]
    return arms[arms.groupby("k").arm.transform("nunique") == 2]


def _wide(table: pd.DataFrame, column: str, arm: str = SAMPLED) -> pd.DataFrame:
    return table[table.arm == arm].pivot(index="seed", columns="k", values=column)


def _mean(wide: pd.DataFrame, ks: tuple[int, ...]) -> pd.Series:
    """The mean over those widths that there are, one a seed that has them all; empty where there is none."""
    there = [k for k in ks if k in wide]
    return wide[there].mean(axis=1, skipna=False) if there else pd.Series(dtype=float)


def narrow_less_wide(table: pd.DataFrame, column: str) -> pd.Series:
    """The mean over narrow widths minus that over wide ones, one a seed."""
    wide = _wide(table, column)
    return (_mean(wide, NARROW) - _mean(wide, WIDE)).dropna()


def parts(table: pd.DataFrame) -> dict[str, pd.Series]:
    """AL2, one number a block."""
    turned = _mean(_wide(table, "angle_start"), WIDE) - _mean(_wide(table, "angle_end"), WIDE)
    return {
        "narrow fail more often": narrow_less_wide(table, "fails"),
        "narrow err more": narrow_less_wide(table, "error"),
        "wide start explores more": -narrow_less_wide(table, "explored"),
        "wide layers cluster": turned.dropna(),
    }


def closed(table: pd.DataFrame) -> pd.Series:
    """AL3: what centres close of the gap between small and large beyond half of it, in points, one a block."""
    fresh, centres = _wide(table, "failed"), _wide(table, "failed", CENTRES)
    if SMALL not in fresh or SMALL not in centres:
        return pd.Series(dtype=float)
    large = fresh[fresh.columns.max()]
    return half_closed(fresh[SMALL], centres[SMALL], large)


def half_closed(small: pd.Series, centres: pd.Series, large: pd.Series) -> pd.Series:
    """Errors of a small net at random and from centres, and of a large one -> by how much centres close more than half
    of the gap; above zero: they do.
    """
    return (small - centres - (small - large) / 2).dropna()


def by_step(found: Evidence, ks: tuple[int, ...] = (2, 4, 50)) -> pd.DataFrame:
    """Mean errors of the blocks of some widths by step, in per cent: rows with width, seed, step, train, test."""
    rows = []
    for e in found.of(Xord):
        if arm(e) == SAMPLED and e.k in ks:
            arrays = run(e).arrays
            errors = (100 * arrays[f"{name}_error"].astype(float).mean(1) for name in ("train", "test"))
            columns = zip(arrays["steps"] + 1, *errors, strict=True)
            rows += [(f"k = {e.k}", e.seed, int(step), train, test) for step, train, test in columns]
    return pd.DataFrame(rows, columns=["width", "seed", "step", "train", "test"])


def chances(table: pd.DataFrame) -> str:
    """What share of the starts explores beside its probability, in a sentence."""
    sampled = table[table.arm == SAMPLED].groupby("k").explored.mean()
    if sampled.empty:
        return "Not run at this size yet."
    told = [f"k = {k}: {v:.0f} % ({100 * xord.chance_explored(k):.0f} %)" for k, v in sampled.items()]
    return f"Starts that explore, and in brackets their probability: {', '.join(told)}."


# The plane


def explorer(page: Page, most: int = 12) -> Explorer | None:
    """Filters of single runs in their plane, by width, run and step; None: not run."""
    found = page.home(lambda evidence: evidence.of(Xord))
    seen = {e.k: e for e in sorted(found.of(Xord), key=lambda e: -e.seed) if arm(e) == SAMPLED and e.k <= max(WIDE) / 2}
    if not seen:
        return None
    chosen = [seen[k] for k in sorted(seen) if k in (2, 4, 16, 50)] or list(seen.values())
    rows, told = [], []
    for e in chosen:
        record = run(e)
        for number in range(record.arrays["paths"].shape[1]):
            rows += _points(e, record.arrays, number, most)
            told += _captions(e, record, number, most)
    drawn = dict(
        styles={"patterns": "dots", "missed pattern": "path"} | {f"{side}: way": "path" for side in HUES},
        colours={f"{side}{end}": hue for side, hue in HUES.items() for end in ("", ": way")}
        | {"patterns": "#808080", "missed pattern": "#CC79A7"},
    )
    drawn["styles"] |= dict.fromkeys(HUES, "dots")
    return Explorer(
        pd.DataFrame(rows, columns=["k", "run", "step", "curve", "x", "y"]), ("k", "run", "step"), x="x", y="y",
        captions=pd.DataFrame(told), equal=True, title="Filters of one net", name="filters", **drawn,
        start=dict(k=chosen[-1].k, run=1, step=max(row[2] for row in rows if row[2] is not None)),
        labels=dict(x="first weight, over the longest filter", y="second weight", k="filters of a kind, k"),
    )  # fmt: skip


def _shown(steps: np.ndarray, most: int) -> list[int]:
    """At most so many of the looks, the first and the last among them."""
    return sorted({round(k) for k in np.linspace(0, len(steps) - 1, most)})


def _points(e: Xord, arrays: Mapping[str, np.ndarray], number: int, most: int) -> Iterator[tuple]:
    """Rows k, run, step, curve, x, y: filters at each step, scaled by the longest there; ways of the first `WAYS`."""
    steps, paths = arrays["steps"], arrays["paths"][:, number].astype(float)
    unit = np.linalg.norm(paths, axis=-1).max(axis=(1, 2))
    missing = arrays_missed(arrays, number)
    for t in _shown(steps, most):
        here = paths[t] / unit[t]
        where = (e.k, number + 1, int(steps[t]))
        for side, filters in zip(HUES, here, strict=True):
            yield from ((*where, side, *map(_short, f)) for f in filters)
        for pattern, (x, y) in enumerate(xord.PATTERNS.tolist()):
            x, y = SPAN * x / 2**0.5, SPAN * y / 2**0.5
            yield (*where, "patterns", x, y)
            if pattern in missing[t]:
                yield from ((*where, "missed pattern", x + CROSS * a, y + CROSS * b) for a, b in STROKES)
    scaled = paths / unit[:, None, None, None]
    for side, ways in zip(HUES, np.moveaxis(scaled, 1, 0), strict=True):
        for way in np.moveaxis(ways, 1, 0)[:WAYS]:
            yield from ((e.k, number + 1, None, f"{side}: way", *map(_short, p)) for p in way[_shown(steps, most)])
            yield (e.k, number + 1, None, f"{side}: way", 0.0, np.nan)


def arrays_missed(arrays: Mapping[str, np.ndarray], number: int) -> list[set[int]]:
    """The equal patterns that a run's net does not find, as numbers of `PATTERNS`, at each look."""
    import torch

    missed = xord.missed(torch.from_numpy(arrays["paths"][:, number].astype(float)))
    return [{p for p in (0, 1) if row[p]} for row in missed.tolist()]


def _short(value: float) -> float:
    return float(f"{value:.3g}")


def _captions(e: Xord, record, number: int, most: int) -> Iterator[dict[str, object]]:
    """What is said of a run at each step shown."""
    arrays, missing = record.arrays, arrays_missed(record.arrays, number)
    for t in _shown(arrays["steps"], most):
        errors = (100 * float(arrays[f"{name}_error"][t, number]) for name in ("train", "test"))
        said = "Training error {:.1f} %, error on all inputs {:.2f} %.".format(*errors)
        lacks = " and ".join(EQUAL[p] for p in sorted(missing[t]))
        said += f" Beside unequal pairs it misses {lacks}." if lacks else " It finds both equal patterns."
        yield dict(k=e.k, run=number + 1, step=int(arrays["steps"][t]), caption=said)
