"""What wider nets do, in numbers: ends and gradients of fully-connected nets by width -> tables, claims, sentences."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from ..experiments import GradientHistory
from ..records.store import run
from .curves import slopes
from .evidence import Evidence
from .page import Page

MLP, DEEP = "mlp", ("resnet50", "resnet50_cifar", "vit")
NAMES = {"resnet50": "ResNet50", "resnet50_cifar": "ResNet50 (small stem)", "vit": "ViT"}
LAYERS = ("fc1", "fc2", "fc3", "fc4", "out")
SIZES = {"paper": "", "gpu": "fewer epochs", "night": "narrow nets, fewer images and epochs"}
ENDS = {"fit": "training accuracy, %", "test": "test accuracy, %", "test_loss": "test loss", "gap": "gap, points"}
GRADIENTS = {
    "peak": "coherence at its peak",
    "first": "coherence, mean of the first tenth",
    "fc1": "spread of diffs over the null's, fc1",
    "out": "spread of diffs over the null's, out",
}
LEVEL = 0.5  # points per doubling: a gap that moves less is level
RISING = f"gap per doubling above {LEVEL}, narrowest third"
PUZZLE = {  # column -> how it is headed and written
    "peak": ("coherence at its peak", "{:.3g}"),
    "when": ("epoch of the peak", "{:.0f}"),
    "first": ("coherence, first tenth", "{:.3g}"),
    "gap": ("gap, points", "{:.1f}"),
    "test": ("test accuracy, %", "{:.1f}"),
    "fit": ("training accuracy, %", "{:.1f}"),
}
COLUMNS = ("net", "width", "seed", "fit", "test", "gap", "test_loss", "peak", "when", "first", *LAYERS)
Parts = dict[str, list[float]]


def by_width(found: Evidence) -> pd.DataFrame:
    """The fully-connected nets, a row each, by width and seed.

    fit, test: accuracy at the end in per cent, fit that of all training images, a running mean over the last epoch.
    gap: their difference in points. peak, when: the highest coherence from epoch 1 on, and its epoch. first: the mean
    coherence over the first tenth of the training. fc1 to out: the spread of a layer's diffs at the peak over that of
    coin tossing.
    """
    rows = [_row(e) for e in found.of(GradientHistory, model=MLP)]
    return pd.DataFrame(rows, columns=COLUMNS).sort_values(["width", "seed"])


def _row(e: GradientHistory) -> dict[str, object]:
    net, table = e.snapshots.net, run(e).table
    last = run(net).table.iloc[-1]
    seen = table[(table.layer == "whole") & (table.epoch > 0)]
    first = seen[seen.epoch <= max(1, net.recipe.epochs // 10)].coherence.mean()
    fit, test = 100 * last.train_accuracy, 100 * last.test_accuracy
    named = dict(net="fully-connected nets", width=net.width, seed=net.seed)
    ends = dict(fit=fit, test=test, gap=fit - test, test_loss=last.test_loss)
    coherent = dict(peak=seen.coherence.max(), when=seen.epoch[seen.coherence.idxmax()], first=first)
    spread = table[table.peak].set_index("layer").sd * np.sqrt(e.snapshots.images)
    return named | ends | coherent | {layer: spread[layer] for layer in LAYERS}


def whole(found: Evidence) -> pd.DataFrame:
    """`by_width` of the seeds that have a net of every width."""
    table = by_width(found)
    return table[table.groupby("seed").width.transform("nunique") == table.width.nunique()]


def about(page: Page, found: Evidence, file: str, words: str, measures: Mapping[str, str]) -> dict[str, str]:
    """What a figure of these measures by width carries."""
    title = f"Fully-connected nets, {found.data(MLP)}: {words}"
    alt = f"{', '.join(measures.values())} of fully-connected nets by width."
    return page.about(f"{file}-{found.profile}", title=title, alt=alt, found=found)


def puzzle(table: pd.DataFrame) -> pd.DataFrame:
    """Coherence beside the gap: of `by_width` the means over nets as text, a row a width; empty if not run."""
    if table.empty:
        return pd.DataFrame()
    means = _means(table)
    told = {words: means[column].map(form.format) for column, (words, form) in PUZZLE.items()}
    return pd.DataFrame({"width": means.index.map("{:.0f}".format)} | told | {"nets": table.groupby("width").size()})


def slope(table: pd.DataFrame, column: str, log: bool = False) -> list[float]:
    """Of a measure, or of its logarithm, per doubling of the width; one a seed that has every width of the table."""
    wide = table.pivot(index="seed", columns="width", values=column)
    return slopes(np.log(wide) if log else wide)


def third(table: pd.DataFrame, widest: bool) -> pd.DataFrame:
    """The rows of the widest third of the widths, or of the narrowest; two widths at least."""
    every = sorted(table.width.unique())
    count = max(2, len(every) // 3)
    return table[table.width.isin(every[-count:] if widest else every[:count])]


def losses(table: pd.DataFrame) -> Parts:
    """WI1: log of the test loss of the narrowest width whose nets all fit (99 %) over that of the widest."""
    fits, values = table.groupby("width").fit.min(), []
    narrow, wide = fits[fits >= 99].index.min(), table.width.max()
    if narrow < wide:
        loss = table.pivot(index="seed", columns="width", values="test_loss")
        values = np.log(loss[narrow] / loss[wide]).dropna().tolist()
    return {"loss, narrowest that fits over widest": values}


def gaps(table: pd.DataFrame) -> Parts:
    """WI2: the gap's slope over the widest third, and by how much that over the narrowest is more than level."""
    narrow = [value - LEVEL for value in slope(third(table, widest=False), "gap")]
    return {"gap per doubling, widest third": slope(third(table, widest=True), "gap"), RISING: narrow}


def peaks(table: pd.DataFrame) -> Parts:
    """WI3: slope of the log of the peak."""
    return {"log peak per doubling": slope(table, "peak", log=True)}


def spreads(table: pd.DataFrame) -> Parts:
    """WI4: slope of the log of the spread of the diffs in each layer, down being above zero."""
    rising = {layer: slope(table, layer, log=True) for layer in LAYERS}
    return {f"{layer}: spread of diffs, falling": [-value for value in values] for layer, values in rising.items()}


def over_widest(found: Evidence, model: str) -> list[float]:
    """Log of a deep net's peak over that of the widest fully-connected net, one a seed that has both."""
    table = whole(found)
    wide = table[table.width == table.width.max()].set_index("seed").peak
    nets = {e.snapshots.net.seed: run(e).table for e in found.of(GradientHistory, model=model)}
    tops = {seed: t[(t.layer == "whole") & (t.epoch > 0)].coherence.max() for seed, t in nets.items()}
    return [float(np.log(top / wide[seed])) for seed, top in tops.items() if seed in wide]


def has_deep(found: Evidence) -> bool:
    """Whether a deep net can be compared with the widest fully-connected net."""
    return any(over_widest(found, model) for model in DEEP)


def deeper(found: Evidence) -> Parts:
    """WI5: the deep nets over the widest; a ResNet50 with the source's stem is named only where there is one."""
    *stems, vit = DEEP
    resnets = [model for model in stems if over_widest(found, model)] or stems[1:]
    return {f"{NAMES[model]} over the widest": over_widest(found, model) for model in [*resnets, vit]}


def sentences(table: pd.DataFrame, verdicts: pd.DataFrame) -> dict[str, str]:
    """What the page says of `by_width` and the verdicts, by the names that its prose has for it."""
    first = verdicts[verdicts.n > 0].groupby("claim")["mean"].first()  # of a claim's parts that were run
    return dict(
        answer_wi1=_loss_rise(first.get("WI1")),
        answer_wi2=moved(table, "gap", "the gap, in points,") + _level(first.get("WI2")),
        answer_wi3=moved(table, "peak", "peak coherence", 4) + _factors(table, first.get("WI3")),
        ends_read=moved(table, "test", "test accuracy") + " %.",
        gradients_read=moved(table, "fc1", "the spread of the first layer's diffs") + " times that of coin tossing.",
        when_read=moved(table, "when", "the epoch of the peak", 0) + ".",
        puzzle_read=same_way(table),
    )


def moved(table: pd.DataFrame, column: str, words: str, digits: int = 1) -> str:
    """From what to what the mean of a measure goes between the narrowest and the widest net."""
    if table.empty:
        return "Not run at this size yet"
    means = _means(table)[column]
    narrow, wide = means.index[[0, -1]]
    return f"From width {narrow} to {wide}, {words} goes from {means[narrow]:.{digits}f} to {means[wide]:.{digits}f}"


def same_way(table: pd.DataFrame) -> str:
    """At how many steps to the next width coherence and the gap rise, and at how many both move the same way."""
    if table.empty:
        return "Not run at this size yet."
    means = _means(table)
    coherence, gap = np.diff(means.peak) > 0, np.diff(means.gap) > 0
    return (
        f"Of {len(gap)} steps to the next width, {coherence.sum()} raise the coherence and {gap.sum()} the gap; "
        f"{(coherence == gap).sum()} move both the same way."
    )


def _means(table: pd.DataFrame) -> pd.DataFrame:
    return table.drop(columns=["net", "seed"]).groupby("width").mean()


def _loss_rise(ratio: float | None) -> str:
    if ratio is None:
        return "At this size too few widths fit their images to say whether the test loss rises"
    return f"The widest net's test loss is {np.exp(-ratio):.2f} times that of the narrowest that fits"


def _level(change: float | None) -> str:
    return "" if change is None else f"; over the widest third it changes by {change:+.1f} points per doubling"


def _factors(table: pd.DataFrame, change: float | None) -> str:
    first = slope(table, "first", log=True)
    if change is None or not first:
        return ""
    return (
        f"; a straight line through all widths changes by a factor of {np.exp(change):.2f} per doubling, one through "
        f"the means of the first tenth of the training by {np.exp(np.mean(first)):.2f}"
    )
