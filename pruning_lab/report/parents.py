"""Children by the size of their parent: records of masked children -> tidy tables, parts of PP1 to PP4, a toy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd
import torch

from ..experiments import MaskedTraining
from ..masks import build, mlp_weights
from ..records.experiment import Experiment
from . import curves, fitting, reads
from .evidence import Evidence
from .fitting import Parts
from .masks import SIZES, SOURCE, ends, in_pairs, ran, ranks, spans
from .page import Page
from .reads import find

NONE, NOTHING = pd.Series(dtype=float), pd.DataFrame()
NEEDS, TOPS = "parent, fixed size over a tenth", "fixed size minus a tenth, at the top"
PAIRS = {
    "magnitude minus diff": ("magnitude", "diff"),
    "magnitude minus random": ("magnitude", "random"),
    "diff minus random": ("diff", "random"),
}
HUES = {  # of lines that are no mask's; readable on light and on dark
    "magnitude minus diff": "#CC79A7", "magnitude minus random": "#44AA99", "diff minus random": "#999933",
    "fixed size": "#CC79A7", "a tenth": "#44AA99",
}  # fmt: skip
Ratios = Mapping[Experiment, float]  # a planned net -> how many times the weights of the dense net its parent has


def stored(found: Evidence, planned: Iterable[Experiment], inputs: int) -> pd.DataFrame:
    """The stored rows of `masks.ends`, with the weights of parents and dense nets, and `parent_fit`.

    inputs: numbers of an image.
    """
    table = ran(ends(found, planned))
    weights = table.parent.map(lambda width: mlp_weights(width, inputs))
    table = table.assign(weights=weights, kept=table.kept.astype(float).fillna(weights).astype(int))
    return table.assign(parent_fit=table.experiment.map(parent_fit).astype(float))


def parent_fit(e: Experiment) -> float:
    """Training accuracy [%] of the net that a child was cut from, or of a dense net its own; nan: not stored."""
    record = find(e.parent if isinstance(e, MaskedTraining) else e)
    return np.nan if record is None else 100 * record.table.train_accuracy.iloc[-1]


def fixed(found: Evidence, planned: Ratios, inputs: int) -> pd.DataFrame:
    """Children with as many weights as the dense net, which begins the line of every mask: `stored`, and ratio."""
    table = stored(found, planned, inputs)
    table = table.assign(ratio=[planned[e] for e in table.experiment])
    dense = table[table.criterion == "dense"]
    lines = [pd.concat([dense.assign(mask=m), table[table["mask"] == m]]) for m in ranks(table)]
    return pd.concat(lines or [dense])


def emptied(table: pd.DataFrame) -> str:
    """Which masks leave layers without any weight, and how many; empty if none does."""
    counts = table.assign(count=table.emptied.map(len)).groupby(["mask", "ratio"])["count"].max()
    names = [f"{mask} at {ratio} times ({count})" for (mask, ratio), count in counts.items() if count]
    return f"Layers without any weight: {', '.join(names)}." if names else ""


def about(page: Page, found: Evidence, drawn: pd.DataFrame, words: str) -> dict[str, str]:
    """What a figure of `fixed` carries."""
    reads.rows(drawn, alone=True)
    alt = f"How children of equal size end by the weights of their parent. {spans(drawn, 'ratio')}"
    return page.about(f"ends-{found.profile}", title=f"{words}, {found.data('mlp')}", alt=alt, found=found)


def against(table: pd.DataFrame, pairs: Mapping[str, tuple[str, str]] = PAIRS) -> pd.DataFrame:
    """Differences in test accuracy on the same seed and parent: ratio, weights, seed, points, pair."""
    children = table[table.ratio > 1]
    wide = children.pivot(index=["ratio", "weights", "seed"], columns="mask", values="test")
    for pair in pairs.values():
        reads.rows(in_pairs(children, pair, ["ratio", "weights", "seed"]))
    parts = [
        (wide[a] - wide[b]).dropna().rename("points").reset_index().assign(pair=name)
        for name, (a, b) in pairs.items() if {a, b} <= set(wide)
    ]  # fmt: skip
    return pd.concat(parts) if parts else pd.DataFrame(columns=["ratio", "weights", "seed", "points", "pair"])


def both(table: pd.DataFrame, tenths: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """Children of fixed size and of a tenth (`child`), with test accuracy in a column for each of these masks."""
    series = {"fixed size": table, "a tenth": tenths}
    found = pd.concat([part.assign(child=child) for child, part in series.items() if len(part)] or [table])
    found = found.assign(**{m: found.test.where(found["mask"] == m) for m in names}).dropna(how="all", subset=names)
    reads.rows(found)
    return found


def on_plane(found: Evidence, planned: Iterable[Experiment], inputs: int) -> pd.DataFrame:
    """Dense nets and children by magnitude, as `stored` has them."""
    table = stored(found, planned, inputs)
    drawn = table[table.criterion.isin(["dense", "magnitude"])]
    reads.rows(drawn, alone=True)
    return drawn


def whole(table: pd.DataFrame, mask: str, along: str) -> pd.DataFrame:
    """Test accuracy under one mask by seed and `along`, of the seeds that have all; empty where a size lacks."""
    found = table[table["mask"] == mask].pivot(index="seed", columns=along, values="test").dropna()
    return found if found.shape[1] == table[along].nunique() else pd.DataFrame()


def rises(table: pd.DataFrame, mask: str) -> pd.Series:
    """Slope of children's test accuracy per doubling of the parent, one number a seed; none below three parents."""
    found = whole(table[table.ratio > 1], mask, "ratio")
    return curves.slopes(found) if found.shape[1] > 2 else NONE


def extreme(table: pd.DataFrame, pair: tuple[str, str], ratios: Iterable[float]) -> pd.Series:
    """The difference of two masks, averaged over the two largest ratios of the plan, one number a seed."""
    largest = sorted(set(ratios))[-2:]
    found = against(table, {"pair": pair})
    each = found[found.ratio.isin(largest)].groupby("seed").points.agg(["mean", "size"])
    return each["mean"][each["size"] == len(largest)].astype(float)


def shared(table: pd.DataFrame, tenths: pd.DataFrame, mask: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Test accuracy of children of fixed size, and of a tenth, by seed and the parent's weights, where both have it."""
    one, other = (whole(part, mask, "weights") for part in (table[table.ratio > 1], tenths))
    both = (part.loc[one.index.intersection(other.index)] for part in (one, other))
    return (NOTHING, NOTHING) if one.empty or other.empty else curves.shared(*both)


def larger(table: pd.DataFrame, tenths: pd.DataFrame, mask: str) -> pd.Series:
    """Doublings of the parent's weights, fixed size over a tenth, each to 99 % of its own best; one number a seed."""
    one, other = (curves.sufficient(part) for part in shared(table, tenths, mask))
    return one - other


def tops(table: pd.DataFrame, tenths: pd.DataFrame, mask: str) -> pd.Series:
    """Test accuracy, fixed size minus a tenth, each at the parent of its highest mean over nets; one number a seed."""
    both = shared(table, tenths, mask)
    if both[0].empty:
        return NONE
    one, other = (part[part.mean().idxmax()] for part in both)
    return one - other


def parts(table: pd.DataFrame, tenths: pd.DataFrame, ratios: Iterable[float]) -> dict[str, Parts]:
    """One number a net for each part of PP1 to PP4."""
    return {
        "PP1": {f"{m}, per doubling of the parent": rises(table, m) for m in SOURCE},
        "PP2": {f"{name}, largest parents": extreme(table, pair, ratios) for name, pair in PAIRS.items()},
        "PP3": {f"{m}: {NEEDS}": larger(table, tenths, m) for m in SOURCE},
        "PP4": {f"{m}: {TOPS}": tops(table, tenths, m) for m in SOURCE},
    }


def fitted(table: pd.DataFrame, along: str) -> pd.DataFrame:
    """The children that count: of parents of sizes at which most fit, and of seeds whose parents fit at each."""
    children = table[table.criterion != "dense"]
    sizes, seeds = fitting.counted(children, along, "parent_fit")
    return children[children[along].isin(sizes) & children.seed.isin(seeds)]


def verdicts(page: Page, table: pd.DataFrame, tenths: pd.DataFrame, ratios: Iterable[float]) -> pd.DataFrame:
    """The verdicts of PP1 to PP4 on what is shown; of parents that fit, and where children of a tenth level off."""
    on, counted = page.shown.apart(SIZES, "mlp"), (fitted(table, "ratio"), fitted(tenths, "weights"))
    every, found = parts(table, tenths, ratios), parts(*counted, ratios)
    rising = [m for m in SOURCE if not fitting.levels_off(shared(*counted, m)[1])]
    for id, words in (("PP3", NEEDS), ("PP4", TOPS)):
        found[id] |= {f"{m}: {words}": NONE for m in rising}
    return pd.concat([page.judge(id, of, short=fitting.short(every[id], of), on=on) for id, of in found.items()])


def toy(ratios: Iterable[int]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """36 random connections of a layer with `ratio` times as many places: curves and captions for an explorer."""
    rows, told = [], []
    for ratio in ratios:
        units = round(6 * ratio**0.5)
        noise = torch.rand(units, units, generator=torch.Generator().manual_seed(0))
        kept = build({"layer": noise}, 36 / units**2)["layer"].nonzero().tolist()
        at = np.linspace(0, 1, units)
        lines = [end for to, start in kept for end in ((0, at[start]), (1, at[to]), (1, np.nan))]
        rows += [(ratio, "connection", *end) for end in lines] + [(ratio, "unit", x, y) for x in (0, 1) for y in at]
        told.append((ratio, f"{units} units to {units}: each reads {36 / units:.1f} of {units}"))
    table = pd.DataFrame(rows, columns=["ratio", "curve", "side", "place"])
    return table, pd.DataFrame(told, columns=["ratio", "caption"])
