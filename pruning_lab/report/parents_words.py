"""What chapter 7 says: sentences of children by the size of their parent, numbers for its answer."""

from __future__ import annotations

import pandas as pd

from ..masks import mlp_weights
from .masks import NOT_RUN, SOURCE, described, ranks
from .numbers import counted, spoken
from .parents import PAIRS, Ratios, emptied, extreme, larger, tops


def numbers(judged: pd.DataFrame) -> dict[str, str]:
    """What the answer's sentences ask for: how many nets decide, and points per doubling of the parent."""
    rows = judged.set_index("part")
    names = {m: f"{m}, per doubling of the parent" for m in ("magnitude", "diff")}
    told = {m: f"{abs(rows['mean'][part]):.1f}" for m, part in names.items()}
    return told | dict(nets=counted(int(rows.n[names["magnitude"]]), "net"))


def sentences(
    planned: Ratios, inputs: int, table: pd.DataFrame, tenths: pd.DataFrame, plane: pd.DataFrame
) -> dict[str, str]:
    """What the page says, by the names that its prose has for it."""
    differences = {name: extreme(table, pair, planned.values()) for name, pair in PAIRS.items()}
    far = "; ".join(f"{name} {spoken(values, 1, 'points')}" for name, values in differences.items())
    more = "; ".join(f"{m} {spoken(larger(table, tenths, m), 1, 'doublings')}" for m in SOURCE)
    top = "; ".join(f"{m} {spoken(tops(table, tenths, m), 1, 'points')}" for m in SOURCE)
    widths = [described(e)["parent"] for e in planned]
    biases = 4 * (max(widths) - min(widths)) / mlp_weights(min(widths), inputs)
    return dict(
        ends_read=f"Test accuracy: {'; '.join(ended(table, m) for m in ranks(table))}." if len(table) else NOT_RUN,
        fit_read=fit(table),
        emptied_read=emptied(table) or "No mask leaves a layer without weights.",
        pairs_read=f"Over the two largest parents: {far}.",
        both_read=f"Fixed size over a tenth: parent at 99 % of the best, {more}; best accuracy, {top}.",
        plane_read=best_of(plane),
        biases=f"{100 * biases:.1f}",
        least=f"{100 / max(planned.values()):.1f}",
        largest=f"{mlp_weights(6496) / 1e6:.0f}",
        child=f"{mlp_weights(512) / 1e6:.2f}",
    )


def ended(table: pd.DataFrame, mask: str) -> str:
    """Where the line of a mask begins and ends, and its best."""
    means = table[table["mask"] == mask].groupby("ratio").test.mean()
    best = f"best {means.max():.1f} % at ratio {means.idxmax()}"
    return f"{mask} from {means.iloc[0]:.1f} % to {means.iloc[-1]:.1f} %, {best}"


def fit(table: pd.DataFrame) -> str:
    """How much of their training images parents get right at the end, the least and the most of a size."""
    means = table[table.criterion != "dense"].groupby("ratio").parent_fit.mean()
    if means.empty:
        return "No child has been run at this size yet."
    return f"Parents end with {means.min():.1f} to {means.max():.1f} % of their training images right."


def best_of(plane: pd.DataFrame) -> str:
    """The best child of all and the best dense net, means over nets."""
    if plane.empty:
        return NOT_RUN
    means = plane.groupby(["weights", "kept"]).test.mean()
    uncut = means.index.get_level_values("weights") == means.index.get_level_values("kept")
    child, dense, told = means[~uncut], means[uncut], "No child yet"
    if len(child):
        weights, kept = child.idxmax()
        told = f"The best child keeps {kept:,} of {weights:,} weights ({child.max():.1f} %)"
    if dense.empty:
        return f"{told}."
    return f"{told}; the best dense net here has {dense.max():.1f} %, with {dense.idxmax()[0]:,} weights."
