"""The force graph in numbers: records of layers while their nets train -> tidy tables and films."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd

from ..experiments import LayerGraph, LayerStructure, Train, UnitCurve
from ..widgets import ForceGraph
from .evidence import Evidence
from .numbers import spoken
from .page import Page
from .reads import find, run
from .units import NAMES, Where, place

NULLS = SPECTRUM, PERMUTED = "spectrum", "permuted"  # records with the first have the second, too
SOURCE = dict(init="default", deviations=4.0, neighbours=5)  # what the pages measure unless they say otherwise
MEASURES = {
    "pairs": "near pairs, share of all",
    "opposite": "opposite pairs, share of all",
    "modularity": "modularity",
    "spread": "spread of norms",
}
CLASSES = {"agreement": "agreement with classes"}
GAINS = {  # measure -> its name as a part, and the null that it is held against
    "gathered": ("more pairs near than opposite", SPECTRUM),
    "modularity": ("modularity", SPECTRUM),
    "pairs": ("pairs nearer than in random rows", SPECTRUM),
    "spread": ("spread of norms", PERMUTED),
}
CHOSEN = {"pairs": "near pairs", "modularity": "modularity", "spread": "spread of norms"}
BESIDE = {SPECTRUM: "random rows of the same spectrum", PERMUTED: "entries shuffled"}  # null -> its words
CHOICES = {
    "as above": {},
    "cut-off of 5 deviations": dict(deviations=5.0),
    "3 pairs a unit": dict(neighbours=3),
    "10 pairs a unit": dict(neighbours=10),
    "Glorot's initialisation": dict(init="glorot"),
}


def about(page: Page, found: Evidence, model: str, layer: str, part: str = "") -> dict[str, str]:
    """What a figure of one layer's history carries."""
    where = place(found, model, layer)
    alt = f"{where}: measures of the layer's graph by iteration, trained weights beside their nulls."
    return page.about(
        f"{model}-{layer}-{found.profile}", title=", ".join(filter(None, (where, part))), alt=alt, found=found
    )


def history(found: Evidence, model: str, layer: str, **choice: object) -> pd.DataFrame:
    """Rows of `LayerStructure` of one layer, a row an iteration, a seed and `weights` (trained, permuted, and, of nets
    that have it, spectrum); empty if not run. `gathered`: pairs that are near less those that are opposite.
    """
    both = [found.table(LayerStructure, model=model, layer=layer, null=null, **(SOURCE | choice)) for null in NULLS]
    full, plain = (table if len(table) else pd.DataFrame(columns=["seed"]) for table in both)
    parts = [part for part in (full, plain[~plain.seed.isin(full.seed)]) if len(part)]
    if not parts:
        return pd.DataFrame()
    table = pd.concat(parts, ignore_index=True)
    opposite = table.opposite if "opposite" in table else np.nan
    return table.assign(gathered=table.pairs - opposite)


def measures(table: pd.DataFrame, classes: bool = False) -> dict[str, str]:
    """Of `MEASURES` (and of `CLASSES`) those that were measured; all where nothing was run."""
    every = MEASURES | (CLASSES if classes else {})
    return {c: words for c, words in every.items() if table.empty or (c in table and table[c].notna().any())}


def ends(table: pd.DataFrame, weights: str = "trained") -> tuple[pd.DataFrame, pd.DataFrame]:
    """Of a history the rows of iteration 0 and of the last, by seed."""
    part = table[table.weights == weights].set_index("seed")
    return part[part.iteration == 0], part[part.iteration == part.groupby(level=0).iteration.transform("max")]


def gain(table: pd.DataFrame, column: str, null: str = SPECTRUM) -> pd.Series:
    """How far a measure stands above a null at the end, minus the same at the start, in hundredths, by seed of the nets
    that have both.
    """
    if table.empty:
        return pd.Series(dtype=float)
    start, end = (
        trained[column] - chance[column] for trained, chance in zip(ends(table), ends(table, null), strict=True)
    )
    return (100 * (end - start)).dropna()


def growth(table: pd.DataFrame) -> pd.Series:
    """Growth of the mean norm from start to end in per cent, by seed."""
    if table.empty:
        return pd.Series(dtype=float)
    start, end = ends(table)
    return 100 * (end.norm / start.norm - 1)


def parts(found: Evidence, model: str, layer: str, columns: Iterable[str], grows: bool = False) -> dict[str, pd.Series]:
    """Parts of a claim on one layer: the gain in each of these measures, and, if asked, the growth of the mean norm."""
    table, name = history(found, model, layer), f"{NAMES[model]} {layer}"
    gains = {f"{name}: {GAINS[column][0]}": gain(table, column, GAINS[column][1]) for column in columns}
    return gains | ({f"{name}: growth of the mean norm": growth(table)} if grows else {})


def judged(page: Page) -> pd.DataFrame:
    """The verdicts of the chapter's claims on what the page shows."""
    shown, narrow = page.shown, "a narrow net" if page.shown.profile == "night" else ""
    on = "" if page.is_source else shown.data("lenet_300_100")
    first = parts(shown, "lenet_300_100", "fc1", GAINS, grows=True) | parts(shown, "conv_2", "fc1", GAINS, grows=True)
    second = parts(shown, "vgg19_bn", "conv16", ["modularity", "gathered"])
    return pd.concat([page.judge("FG1", first, on=on), page.judge("FG2", second, on=on or narrow)])


def crowding(found: Evidence, where: Iterable[Where]) -> pd.DataFrame:
    """Rank correlation of a unit's norm with the mean cosine of its nearest units, at both ends, a row a layer."""
    rows = []
    for model, layer in where:
        if len(table := history(found, model, layer)):
            spans = {name: spoken(part.crowding, 2) for name, part in zip(("start", "end"), ends(table), strict=True)}
            rows.append({"layer": place(found, model, layer), **spans, "nets": len(ends(table)[1])})
    return pd.DataFrame(rows)


def choices(found: Evidence, where: Iterable[Where]) -> pd.DataFrame:
    """What measures gain above a null under every choice that the source leaves open, a row a layer and choice that was
    run; the null is random rows of the same spectrum where those were drawn.
    """
    rows = []
    for model, layer in where:
        for name, choice in CHOICES.items():
            if len(table := history(found, model, layer, **choice)):
                null = SPECTRUM if (table.weights == SPECTRUM).any() else PERMUTED
                gains = {words: spoken(gain(table, column, null)) for column, words in CHOSEN.items()}
                told = {"layer": f"{NAMES[model]} {layer}", "choice": name, **gains, "above": BESIDE[null]}
                rows.append(told | {"nets": table.seed.nunique()})
    return pd.DataFrame(rows)


def film(found: Evidence, model: str, layer: str, name: str) -> ForceGraph | None:
    """The graph of one net's layer, with the accuracy along each order of removal if measured; None: not run."""
    drawn = found.of(LayerGraph, model=model, layer=layer)
    if not drawn:
        return None
    record, net = run(drawn[0]), drawn[0].snapshots.net
    measured = [e for e in found.of(UnitCurve) if e.parent == net and e.layer == layer]
    curves = [run(e).table for e in measured]
    lowest = (
        curves[0].query("remove == 'lowest' and repeat == 0")
        if curves
        else pd.DataFrame(columns=["criterion", "accuracy"])
    )
    accuracy = {criterion: rows.accuracy.tolist() for criterion, rows in lowest.groupby("criterion")}
    title = f"{place(found, model, layer)}: weight vectors of one net"
    made = ForceGraph.from_layer(record.table, record.arrays, accuracy, name=name, snapshot=-1, title=title)
    made.read = [drawn[0], *measured]  # it may be shown by another cell than this one
    return made


MERGED = 300_000  # bytes in the page: of two layers together the weak pairs are many and say little


def merged(found: Evidence, model: str, layer: str) -> ForceGraph | None:
    """Two nets that differ in their seed in one graph, at the start and the end; None: two have no weights here."""
    watched = [e.snapshots.net for e in found.of(LayerStructure, model=model, layer=layer, **SOURCE)]
    two = [net for net in watched if find(net, weights=True)][:2]  # published records have no weights
    if len(two) < 2:
        return None
    told = dict(
        limit=MERGED,
        name="merged",
        time="snapshot",
        snapshot=-1,
        title=f"{NAMES[model]} {layer}: two nets in one graph",
    )
    return ForceGraph.from_snapshots(
        {f"seed {net.seed}": _both_ends(net, layer) for net in two}, ["start", "end"], **told
    )


def _both_ends(net: Train, layer: str) -> np.ndarray:
    """Weights at the start and at the end, [2, units, inputs]."""
    return np.stack([model.get_submodule(layer).weight.detach().cpu() for model in (net.untrained(), net.trained())])


def across(drawn: ForceGraph) -> tuple[int, float]:
    """Of the edges in sight at the end of a graph of two nets: how many, and the share between nets (0 without any)."""
    i, j, cosines = drawn.edges(1)
    size, seen = drawn.meta["nets"][0][1], cosines >= drawn.cutoff
    return int(seen.sum()), float(((i < size) != (j < size))[seen].mean()) if seen.any() else 0.0
