"""What chapter 6 says: sentences of masked children and dense nets of equal size, numbers for its answer."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from ..masks import mlp_weights
from ..records.store import Record
from . import masks
from .evidence import reference
from .masks import NOT_RUN, Pair, named, per_seed, ran, ranks, tenths
from .numbers import counted, spoken
from .page import Page

SOURCE_TABLES = ("yauney_resnet50", "yauney_vit")


def numbers(judged: pd.DataFrame) -> dict[str, str]:
    """What the answer's sentences ask for: how many nets decide, and by how many points a tenth beats a dense net."""
    rows = judged.set_index("part")
    told = {m: f"{abs(rows['mean'][f'{m} over dense']):.1f}" for m in ("magnitude", "random")}
    return told | dict(nets=counted(int(rows.n["magnitude over dense"]), "net"))


def sentences(
    page: Page, table: pd.DataFrame, where: pd.DataFrame, settled: pd.DataFrame, timed: Record
) -> dict[str, str]:
    """What the page says, by the names that its prose has for it.

    table: `masks.by_width`, of what is shown; where, settled: `kept.layers`, `kept.settling`; timed: `InferenceSpeed`.
    """
    names, width, device = ranks(table), masks.several(table), timed.meta["device"]
    threads = timed.table.threads.iloc[0]
    over = each(table, {m: (m, "dense") for m in names})
    return dict(
        origin=page.shown.origin(),
        missing=page.shown.few(),
        ends_read=ended(table),
        fit_read=fit(table),
        emptied_read=masks.emptied(ran(tenths(table[table.rung.isin(["", "worst"])])))
        or "No mask leaves a layer without weights.",
        paired_read=f"Averaged over widths: {over}.",
        layers_read=shared(where[where["mask"].isin(names)]),
        ladder_read=climbed(masks.ladder(table)),
        inverse_read=inverted(masks.inverses(table)),
        inverse_width=f"width {width}" if width else "no width of this profile",
        source_read=in_the_source(),
        settling_read=settled_at(settled),
        speed_read=timings(timed),
        speed_device=f"{device['name']} ({device['type'].upper()}), {counted(threads, 'CPU thread')}",
        local_read=f"Layer by layer minus together: {each(table, {m: (named(m, 'local'), m) for m in names})}.",
        biases=f"up to {4 * (table.parent - table.width).max():,}",
        too_many=f"{mlp_weights(2800) / 1e5:.0f}",
        most=f"{mlp_weights(2100) / 1e5:.0f}",
    )


def each(table: pd.DataFrame, pairs: Mapping[str, Pair], column: str = "test") -> str:
    """The differences of pairs, averaged over widths."""
    return "; ".join(f"{name} {spoken(per_seed(table, pair, column), 1, 'points')}" for name, pair in pairs.items())


def ended(table: pd.DataFrame) -> str:
    """Mean test accuracy of dense nets and of the best masks, at the narrowest width and at the widest."""
    found = ran(tenths(table[table.rung == ""]))
    if found.empty:
        return NOT_RUN
    means = found.groupby(["width", "mask"]).test.mean().unstack()
    order = [m for m in ("dense", *ranks(table)) if m in means]
    said = [(w, ", ".join(f"{m} {means[m][w]:.1f} %" for m in order)) for w in means.index[[0, -1]]]
    return "; ".join(f"at width {w}, {words}" for w, words in dict(said).items()).capitalize() + "."


def fit(table: pd.DataFrame) -> str:
    """How much of their training images the dense nets get right at the end, the least and the most of a width."""
    dense = ran(table[table.criterion == "dense"])
    if dense.empty:
        return "No dense net has been run at this size yet."
    means = dense.groupby("width").fit.mean()
    return f"Dense nets end with {means.min():.1f} to {means.max():.1f} % of their training images right."


def climbed(steps: pd.DataFrame) -> str:
    """The step of the ladder that is worth most, and how many of all lie clear of zero."""
    if steps.empty:
        return NOT_RUN
    most = steps.loc[steps["mean"].abs().idxmax()]
    clear = int(((steps.low > 0) | (steps.high < 0)).sum())
    largest = f"{most.label}, {spoken(most['values'], 1, 'points')}"
    return f"The largest step: {largest}. Of {counted(len(steps), 'step')}, {clear} have an interval clear of zero."


def inverted(inverse: pd.DataFrame) -> str:
    """Best minus worst by mask, at the smallest density and at the largest."""
    told = []
    for mask, part in inverse.groupby("mask", sort=False):
        ends = {density: part.points[part.density == density] for density in (part.density.min(), part.density.max())}
        said = [f"{spoken(values, 1, 'points')} at density {density:g}" for density, values in ends.items()]
        told.append(f"{mask} {', '.join(said)}")
    return f"Best minus worst: {'; '.join(told)}." if told else NOT_RUN


def in_the_source() -> str:
    """Best minus worst of the magnitude masks in the source's own tables."""
    scores = [(name, reference(name)[f"{scope}_10"]) for name in SOURCE_TABLES for scope in ("global", "local")]
    points = [100 * (of["magnitude_best"] - of["magnitude_worst"]) for _, of in scores]
    said = ", ".join(f"{p:.1f}" for p in points[:-1]) + f" and {points[-1]:.1f}"
    return f"In the source's own tables, whose differences it calls rather small, best minus worst is {said} points."


def shared(where: pd.DataFrame) -> str:
    """What each mask keeps of the first layer and of the last."""
    means = where.groupby(["mask", "layer"]).density.mean()
    words = "{} {:.1f} % of the first layer and {:.1f} % of the last"
    told = [words.format(mask, means[mask, "fc1"], means[mask, "out"]) for mask in where["mask"].unique()]
    return f"Kept: {'; '.join(told)}." if told else NOT_RUN


def settled_at(settled: pd.DataFrame) -> str:
    """Share of the final mask that is there before the first step, after a tenth of the training and after half."""
    if settled.empty:
        return NOT_RUN
    means = settled.groupby("epoch")[["overlap", "chance_in_layers"]].mean()
    last = means.index.max()
    start, tenth, half = (100 * means.overlap[means.index <= at].iloc[-1] for at in (0, last / 10, last / 2))
    return (
        f"Before the first step the largest weights already have {start:.0f} % of the final mask, after a tenth of the "
        f"training {tenth:.0f} %, after half {half:.0f} %. Chance that knows how many each layer keeps has "
        f"{100 * means.chance_in_layers[0]:.0f} % at the start."
    )


def timings(timed: Record) -> str:
    """How long each net takes beside the dense one, by how many images it sees at once."""
    ratios = {batch: part.set_index("net").of_dense for batch, part in timed.table.groupby("batch")}
    told = [
        f"with {counted(batch, 'image')} at once a masked net takes {of['masked']:.2f} times as long as the dense one, "
        f"compressed rows {of['csr']:.2f}, the smaller net {of['smaller']:.2f}"
        for batch, of in ratios.items()
    ]
    return "; ".join(told).capitalize() + "."
