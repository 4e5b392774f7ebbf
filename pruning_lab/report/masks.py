"""Masked children in numbers: records of dense nets and of children under masks -> tidy tables and differences.

A table has a row a planned net (see `ends`); its numbers are missing where the net is not stored, so that a table also
says what was planned. A mask is called by its criterion and its rung: "magnitude, worst".
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import pandas as pd

from ..experiments import MaskedTraining, Train
from ..records.experiment import Experiment
from . import reads
from .evidence import Evidence
from .numbers import drawn
from .page import Page
from .reads import run

ENDS = {"test": "test accuracy, %", "fit": "training accuracy, %", "loss": "test loss", "gap": "gap, points"}
SHORT = {"test": "test accuracy, %", "gap": "gap, points"}
POINTS = {"test": "test accuracy, points", "gap": "gap, points"}
RUNGS = ("", "local", "worst", "shuffled", "ERK", "first weights")  # "": the best of all layers together, fresh weights
SOURCE = ("magnitude", "diff", "random")  # its criteria
SIZES = {
    "night": "narrow nets, fewer images",
    "gpu": "a shorter training",
    "paper": "",
}  # what sets runs apart from the source
NUMBERS = ("fit", "test", "gap", "loss", "kept", "emptied")
NOT_RUN = "Not run at this size yet."
Pair = tuple[str, str]  # two masks, the first minus the second


def named(criterion: str, rung: str = "") -> str:
    """What a mask is called."""
    return f"{criterion}, {rung}" if rung else criterion


def described(e: Train | MaskedTraining) -> dict[str, Any]:
    """What a net is, from its fields: seed, criterion, scope, rung, mask (its name), density, parent (its width).

    A dense net has the criterion "dense", and is its own parent.
    """
    if isinstance(e, Train):
        return dict(seed=e.seed, criterion="dense", scope="", rung="", mask="dense", density=1.0, parent=e.width)
    tried = {"local": e.scope == "local", "worst": e.invert, "shuffled": e.shuffle is not None, "ERK": e.scope == "erk"}
    rung = ", ".join(word for word, is_so in (tried | {"first weights": e.begin == "initial"}).items() if is_so)
    how = dict(criterion=e.criterion, scope=e.scope, rung=rung, mask=named(e.criterion, rung), density=e.density)
    return dict(seed=e.seed, **how, parent=e.parent.width)


def measured(e: Train | MaskedTraining) -> dict[str, Any]:
    """How a stored net ends: fit and test [%], gap [points], loss, kept (weights), emptied (layers' names)."""
    record = run(e)
    last = record.table.iloc[-1]
    fit, test = 100 * last.train_accuracy, 100 * last.test_accuracy
    kept = record.arrays["kept"].sum() if "kept" in record.arrays else None
    emptied = tuple(str(name).removesuffix(".weight") for name in record.arrays.get("emptied", ()))
    return dict(fit=fit, test=test, gap=fit - test, loss=last.test_loss, kept=kept, emptied=emptied)


def ends(found: Evidence, planned: Iterable[Experiment]) -> pd.DataFrame:
    """A row a planned net: what it is (`described`), how it ends (`measured`; missing: not stored), `experiment`."""
    nets = [e for e in dict.fromkeys(planned) if isinstance(e, Train | MaskedTraining)]
    stored = set(found.experiments)
    rows = [described(e) | (measured(e) if e in stored else {}) | dict(experiment=e) for e in nets]
    return pd.DataFrame(rows, columns=[*described(nets[0]), *NUMBERS, "experiment"])


def by_width(found: Evidence, planned: Iterable[Experiment]) -> pd.DataFrame:
    """`ends`, and `width`: that of the dense net of equal size.

    A plan has as many widths of parents as of dense nets, and the wider parent belongs to the wider dense net.
    """
    table = ends(found, planned)
    is_dense = table.criterion == "dense"
    widths = dict(zip(sorted(set(table.parent[~is_dense])), sorted(set(table.parent[is_dense])), strict=True))
    return table.assign(width=table.parent.where(is_dense, table.parent.map(widths)).astype(int))


def ran(table: pd.DataFrame) -> pd.DataFrame:
    """The nets that are stored."""
    return table.dropna(subset="test")


def tenths(table: pd.DataFrame) -> pd.DataFrame:
    """The dense nets and the children that keep a tenth."""
    return table[table.density.isin([0.1, 1.0])]


def ranks(table: pd.DataFrame) -> list[str]:
    """The criteria of the plan in its order."""
    return [name for name in table.criterion.unique() if name != "dense"]


def ranked(table: pd.DataFrame) -> list[str]:
    """Those that rank weights, so that there is a worst."""
    return [name for name in ranks(table) if name != "random"]


def lines(table: pd.DataFrame, criteria: Iterable[str], rungs: Collection[str] = RUNGS) -> pd.DataFrame:
    """The stored tenths by mask in this order, after the dense nets, each from narrow to wide."""
    names = ["dense", *(named(criterion, rung) for criterion in criteria for rung in rungs)]
    found = ran(tenths(table))
    order = {name: k for k, name in enumerate(names)}
    found = found[found["mask"].isin(names)]
    return found.sort_values(["mask", "width"], key=lambda c: c.map(order) if c.name == "mask" else c)


def emptied(drawn: pd.DataFrame, along: str = "width") -> str:
    """Which masks leave a layer without any weight, in words; empty if none does."""
    hit = drawn[drawn.emptied.map(len) > 0]
    names = [
        f"{mask} at {along} {place} ({'; '.join(sorted(set(part.emptied.map(', '.join))))})"
        for (mask, place), part in hit.groupby(["mask", along])
    ]
    return f"A layer without any weight: {', '.join(names)}." if names else ""


def about(page: Page, found: Evidence, drawn: pd.DataFrame, file: str, words: str) -> dict[str, str]:
    """What a figure of `lines` carries."""
    reads.rows(drawn, alone=True)
    alt = f"How nets end by width of the dense net. {spans(drawn, 'width')}"
    return page.about(f"{file}-{found.profile}", title=f"{words}, {found.data('mlp')}", alt=alt, found=found)


def spans(drawn: pd.DataFrame, along: str) -> str:
    """From what to what the mean test accuracy of each line goes, from the smallest size to the largest, in words."""
    told = []
    for mask, part in drawn.groupby("mask", sort=False):
        means = part.groupby(along).test.mean()
        told.append(f"{mask} {means.iloc[0]:.1f} to {means.iloc[-1]:.1f} %")
    return f"Test accuracy from the smallest size to the largest: {'; '.join(told)}." if told else NOT_RUN


def against(table: pd.DataFrame, pairs: Mapping[str, Pair], column: str = "test") -> pd.DataFrame:
    """Differences of pairs of masks, tenths on the same seed and width: width, seed, points, pair."""
    wide = tenths(table).pivot(index=["width", "seed"], columns="mask", values=column)
    parts = [
        (wide[a] - wide[b]).dropna().rename("points").reset_index().assign(pair=name)
        for name, (a, b) in pairs.items() if {a, b} <= set(wide)
    ]  # fmt: skip
    return pd.concat(parts) if parts else pd.DataFrame(columns=["width", "seed", "points", "pair"])


def paired(table: pd.DataFrame, pairs: Mapping[str, Pair]) -> pd.DataFrame:
    """The same in test accuracy and in gap: width, seed, pair, test, gap."""
    for pair in pairs.values():
        reads.rows(in_pairs(tenths(table), pair, ["width", "seed"]))
    test, gap = (against(table, pairs, column).rename(columns={"points": column}) for column in POINTS)
    return test.merge(gap, how="outer")


def in_pairs(table: pd.DataFrame, pair: Pair, along: list[str]) -> pd.DataFrame:
    """The stored rows of two masks that have each other at the same place."""
    found = ran(table)
    found = found[found["mask"].isin(pair)]
    return found[found.groupby(along)["mask"].transform("nunique") == 2]


def complete(table: pd.DataFrame, pair: Pair) -> list[int]:
    """Widths at which as many seeds as planned, or three, have both."""
    counts = against(table, {"pair": pair}).groupby("width").seed.nunique()
    return sorted(counts.index[counts >= min(3, table.seed.nunique())])


def per_seed(
    table: pd.DataFrame, pair: Pair, column: str = "test", widths: Collection[int] | None = None, widest: bool = False
) -> pd.Series:
    """One number a seed: its mean difference over the complete widths, or those among `widths`, or the widest alone."""
    differences, whole = against(table, {"pair": pair}, column), complete(table, pair)
    chosen = whole[-1:] if widest else [w for w in whole if widths is None or w in widths]
    each = differences[differences.width.isin(chosen)].groupby("seed").points.agg(["mean", "size"])
    return each["mean"][each["size"] == len(chosen)].astype(float)


def steps(table: pd.DataFrame) -> dict[str, Pair]:
    """The steps of the ladder: what a step asks -> its two masks."""
    others = {"best minus worst": "worst", "best minus shuffled": "shuffled", "together minus layer by layer": "local"}
    found = {f"{m}: {name}": (m, named(m, rung)) for name, rung in others.items() for m in ranked(table)}
    found |= {f"{m}: shuffled minus random": (named(m, "shuffled"), "random") for m in ranked(table)}
    found |= {"random: layer by layer minus plain": (named("random", "local"), "random")}
    found |= {"random: ERK minus plain": (named("random", "ERK"), "random")}
    return found | {"magnitude: first weights minus fresh": (named("magnitude", "first weights"), "magnitude")}


def ladder(table: pd.DataFrame, column: str = "test") -> pd.DataFrame:
    """What each step is worth over the widths planned with the whole ladder, as `figures.differences` takes it."""
    whole = set(table.width[table.rung == "shuffled"])
    for pair in steps(table).values():
        reads.rows(in_pairs(tenths(table[table.width.isin(whole)]), pair, ["width", "seed"]))
    parts = (
        (name, name.partition(":")[0], per_seed(table, pair, column, whole)) for name, pair in steps(table).items()
    )
    return drawn(parts).assign(verdict="")


def several(table: pd.DataFrame) -> int | None:
    """The largest width whose children are planned at several densities."""
    counts = table[table.criterion != "dense"].groupby("width").density.nunique()
    return max(counts.index[counts > 1], default=None)


def inverses(table: pd.DataFrame) -> pd.DataFrame:
    """Best minus worst in test accuracy, by density, on the same seed at that width: seed, density, points, mask."""
    part, places = table[table.width == several(table)], ["seed", "density"]
    wide = part.pivot(index=places, columns="mask", values="test")
    pairs = [(m, named(m, "worst")) for m in ranked(table) if {m, named(m, "worst")} <= set(wide)]
    for pair in pairs:
        reads.rows(in_pairs(part, pair, places))
    parts = [(wide[a] - wide[b]).dropna().rename("points").reset_index().assign(mask=a) for a, b in pairs]
    return pd.concat(parts) if parts else pd.DataFrame(columns=["seed", "density", "points", "mask"])
