"""Risk by size of models that come to fit all their images: features, nets, forests -> tables and claims."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from ..experiments import Forest, RandomFeatures, ShallowNets, Train
from ..experiments.fitted import Fitted
from ..records.experiment import Experiment
from .evidence import Evidence
from .page import Page
from .reads import run

SIZES = {"paper": "", "gpu": ""}
FEATURE_SIZES = SIZES | {"night": ""}
NET_SIZES = SIZES | {"night": "fewer, smaller images"}
TO, FRESH, ALL = "re-use to the threshold", "fresh weights", "re-use throughout"
ARMS = (TO, FRESH, ALL)
CLEAN, NOISY = "true labels", "a fifth redrawn"
NEAR = (0.5, 2.0)  # parameters over n K, between which a net is at the threshold
FITS = 0.01  # share of training images: a net of no larger error fits them
OVER_IMAGES, OVER_NK = "features over images", "parameters over n K"  # columns of figures: the ratio, as it is read
Parts = Mapping[str, pd.Series]
Short = Mapping[str, int]


def own(found: Evidence) -> Evidence:
    """The models that this chapter fits, without those that it borrows."""
    return Evidence(found.profile, tuple(e for e in found.experiments if isinstance(e, Fitted)), found.missing)


def drawn(found: Evidence, figure: str) -> list[Experiment]:
    """The models that a figure of this chapter draws, by its name in `descent_words.FIGURES`."""
    if figure == "features":
        return [e for e in found.of(RandomFeatures) if not e.ridge]
    if figure in ("leaves", "trees"):
        return found.of(Forest)
    return [e for e in found.of(ShallowNets) if figure == "noise" or not e.noise]


def features(found: Evidence) -> pd.DataFrame:
    """Fits on random features, a row each: line, noise, ridge, ratio (features over images), seed, norm, risks, and
    errors in per cent.
    """
    parts = [run(e).table.assign(ridge=e.ridge, seed=e.seed) for e in found.of(RandomFeatures)]
    table = _joined(parts, ["features", "images", "noise", "ridge", "seed", "norm"])
    named = [
        _labels(noise) + (f", ridge {ridge:g}" if ridge else "")
        for noise, ridge in zip(table.noise, table.ridge, strict=True)
    ]
    table = table.assign(line=named, ratio=table.features / table.images).sort_values(["ridge", "noise", "ratio"])
    return table.assign(**{OVER_IMAGES: table.ratio})


def nets(found: Evidence) -> pd.DataFrame:
    """Nets of one hidden layer, a row a net of an arm: arm, line, noise, ratio (parameters over n K), width, seed,
    below, norm, risks, and errors in per cent. A fresh net beyond the threshold stands in two arms.
    """
    parts = [run(e).table.assign(noise=e.noise, seed=e.seed) for e in found.of(ShallowNets)]
    table = _joined(parts, ["start", "width", "parameters", "threshold", "below", "epochs", "noise", "seed", "norm"])
    smaller, below = table.start == "smaller", table.below.astype(bool)
    arms = {TO: smaller == below, FRESH: ~smaller, ALL: smaller}
    table = pd.concat([table[rows].assign(arm=arm) for arm, rows in arms.items()])
    named = [arm + (f", {NOISY}" if noise else "") for arm, noise in zip(table.arm, table.noise, strict=True)]
    table = table.assign(line=named, ratio=table.parameters / table.threshold).sort_values(["noise", "ratio"])
    return table.assign(**{OVER_NK: [float(f"{ratio:.2g}") for ratio in table.ratio]})


def forests(found: Evidence) -> pd.DataFrame:
    """Forests, a row each of an axis: axis, leaves (of a tree, full-grown ones too), trees, seed, risks, and errors in
    per cent.
    """
    parts = [run(e).table.assign(seed=e.seed) for e in found.of(Forest)]
    table = _joined(parts, ["axis", "leaves", "trees", "total", "images", "seed"])
    grown = table.total[table.leaves == 0] / table.trees[table.leaves == 0]
    full = round(grown.mean()) if len(grown) else 0  # a full-grown tree has as many as it takes
    return table.assign(full=table.leaves == 0, leaves=table.leaves.where(table.leaves > 0, full))


def _joined(parts: list[pd.DataFrame], columns: list[str]) -> pd.DataFrame:
    """Tables of records below each other, errors in per cent; of none, one of these columns."""
    columns = [*columns, "train_risk", "train_error", "test_risk", "test_error"]
    table = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns, dtype=float)
    return table.assign(train_error=100 * table.train_error, test_error=100 * table.test_error)


def _labels(noise: float) -> str:
    return NOISY if noise else CLEAN


def wide(table: pd.DataFrame, column: str) -> pd.DataFrame:
    """A measure by seed and ratio, of the seeds that have every ratio."""
    return table.pivot_table(index="seed", columns="ratio", values=column).dropna()


def classical(table: pd.DataFrame) -> pd.Series:
    """Log of the lowest test risk of fewer features than images over that of the most, one a seed."""
    risk = wide(table, "test_risk")
    less = risk[[ratio for ratio in risk if ratio < 1]]
    return np.log(less.min(axis=1) / risk.iloc[:, -1]) if risk.size and less.size else pd.Series(dtype=float)


def at_threshold(table: pd.DataFrame) -> pd.Series:
    """Log of the lowest test risk of fewer features than images over that of as many, one a seed."""
    return classical(table[table.ratio <= 1])


def where(table: pd.DataFrame, column: str) -> pd.Series:
    """Log of the ratio at which a measure is highest, one a seed."""
    values = wide(table, column)
    return np.log(values.idxmax(axis=1)) if values.size else pd.Series(dtype=float)


def feature_parts(table: pd.DataFrame) -> Parts:
    """DD1's parts of `features`."""
    plain = table[table.ridge == 0]
    clean, noisy = plain[plain.noise == 0], plain[plain.noise > 0]
    return {
        "where the risk peaks": where(clean, "test_risk"),
        "where the norm peaks": where(clean, "norm"),
        "most features against the classical best": classical(clean),
        "most features against the classical best, noisy labels": classical(noisy),
        "as many features as images against the classical best, with a ridge": at_threshold(
            table[(table.ridge > 0) & (table.noise == 0)]
        ),
    }


def unfitted(table: pd.DataFrame) -> list[int]:
    """The seeds of which a net of more than n K parameters does not fit its images."""
    return sorted(set(table.seed[(table.ratio > 1) & (table.train_error > 100 * FITS)]))


def risen(table: pd.DataFrame) -> pd.Series:
    """Log of the highest test risk at the threshold over the lowest of smaller nets, one a seed."""
    risk = wide(table, "test_risk")
    return np.log(_peak(risk) / risk[[ratio for ratio in risk if ratio < NEAR[0]]].min(axis=1)).dropna()


def fallen(table: pd.DataFrame) -> pd.Series:
    """Log of the highest test risk at the threshold over that of the widest net, one a seed."""
    risk = wide(table, "test_risk")
    return np.log(_peak(risk) / risk.iloc[:, -1]).dropna() if risk.size else pd.Series(dtype=float)


def _peak(risk: pd.DataFrame) -> pd.Series:
    return risk[[ratio for ratio in risk if NEAR[0] <= ratio <= NEAR[1]]].max(axis=1)


def highest(table: pd.DataFrame) -> pd.Series:
    """Log of the size, over n K, of the net of highest test risk, of those from the dip before the threshold on."""
    risk = wide(table, "test_risk")
    smaller = [ratio for ratio in risk if ratio < NEAR[0]]
    if not smaller:
        return pd.Series(dtype=float)
    dips = risk[smaller].idxmin(axis=1)
    return pd.Series(
        {seed: np.log(row[row.index >= dips[seed]].idxmax()) for seed, row in risk.iterrows()}, dtype=float
    )


def net_parts(table: pd.DataFrame) -> tuple[Parts, Short]:
    """DD2's parts of `nets`, of the seeds that fit, and how many do not."""
    parts, short = {}, {}
    for arm, noisy, said in ((TO, False, TO), (FRESH, False, FRESH), (ALL, False, ALL),
                             (FRESH, True, f"{FRESH}, noisy labels")):  # fmt: skip
        line = table[(table.arm == arm) & ((table.noise > 0) == noisy)]
        lost = unfitted(line)
        line = line[~line.seed.isin(lost)]
        measured = {"fall from the peak": fallen}
        measured |= {"rise to the peak": risen} if arm != ALL else {}
        measured |= {"where the risk peaks": highest} if arm == TO else {}
        for name, measure in measured.items():
            parts[f"nets, {said}: {name}"] = measure(line) if len(line) else pd.Series(dtype=float)
            short[f"nets, {said}: {name}"] = len(lost)
    return parts, short


def forest_parts(table: pd.DataFrame) -> Parts:
    """DD2's parts of `forests`."""
    risk = {axis: rows.pivot_table(index="seed", columns=["full", "leaves", "trees"], values="test_risk").dropna()
            for axis, rows in table.groupby("axis")}  # fmt: skip
    empty = pd.DataFrame()
    few, many, broad = (risk.get(axis, empty) for axis in ("leaves", "trees", "leaves of many trees"))
    if few.empty or many.empty or broad.empty:
        return {}
    grown = broad.loc[:, broad.columns.get_level_values("full").astype(bool)].iloc[:, 0]
    cut = broad.loc[:, ~broad.columns.get_level_values("full").astype(bool)].min(axis=1)
    return {
        "forests: rise to one full-grown tree": np.log(many.iloc[:, 0] / few.min(axis=1)),
        "forests: fall with more trees": np.log(many.iloc[:, 0] / many.iloc[:, -1]),
        "many trees: rise with leaves": np.log(grown / cut),
    }


def past_zero(table: pd.DataFrame) -> tuple[pd.Series, int]:
    """Test error of the narrowest net without an error in training minus that of the widest, in points, one a seed;
    and how many seeds have no such net that is not the widest.
    """
    train, test, found = wide(table, "train_error"), wide(table, "test_error"), {}
    for seed, row in train.iterrows():
        fitting = row.index[row == 0]
        if len(fitting) and fitting[0] < train.columns[-1] and row.iloc[-1] == 0:
            found[seed] = test.loc[seed, fitting[0]] - test.loc[seed].iloc[-1]
    return pd.Series(found, dtype=float), len(train) - len(found)


def deep(found: Evidence) -> pd.Series:
    """The same of chapter 5's nets, from the narrowest width of which every seed fits its images."""
    last = {(e.width, e.seed): run(e).table.iloc[-1] for e in found.of(Train)}
    table = pd.DataFrame([dict(width=w, seed=s, fit=row.train_accuracy, test=100 * row.test_accuracy)
                          for (w, s), row in last.items()], columns=["width", "seed", "fit", "test"])  # fmt: skip
    fits = table.groupby("width").fit.min()
    narrow, widest = fits.index[fits >= 1 - FITS].min(), table.width.max()
    if table.empty or not narrow < widest:
        return pd.Series(dtype=float)
    test = table.pivot(index="seed", columns="width", values="test")
    return (test[widest] - test[narrow]).dropna()


def error_parts(table: pd.DataFrame, found: Evidence) -> tuple[Parts, Short]:
    """WI6's parts of `nets` and of chapter 5's nets."""
    lines = {"one hidden layer": (FRESH, False), "one hidden layer, noisy labels": (FRESH, True),
             "one hidden layer, re-use throughout": (ALL, False)}  # fmt: skip
    parts, short = {}, {}
    for name, (arm, noisy) in lines.items():
        parts[name], short[name] = past_zero(table[(table.arm == arm) & ((table.noise > 0) == noisy)])
    return parts | {"four hidden layers, chapter 5": deep(found)}, short


def judged(page: Page) -> pd.DataFrame:
    """The verdicts of the chapter's three claims on what is shown."""
    shown, mine = page.shown, own(page.shown)
    on = {name: mine.apart(sizes, source="MNIST") for name, sizes in (("f", FEATURE_SIZES), ("n", NET_SIZES))}
    table = nets(shown)
    (of_nets, lost), (errors, unreached) = net_parts(table), error_parts(table, shown)
    return pd.concat([
        page.judge("DD1", feature_parts(features(shown)), on=on["f"]),
        page.judge("DD2", {**of_nets, **forest_parts(forests(shown))}, short=lost, on=on["n"]),
        page.judge("WI6", errors, short=unreached, on=on["n"]),
    ])  # fmt: skip
