"""What wider nets do, in numbers: ends and gradients of fully-connected nets by width -> tables, claims, sentences."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd

from ..experiments import GradientHistory
from . import coherence, contrast, reads
from .curves import slopes
from .evidence import Evidence
from .page import Page
from .reads import run

MLP, DEEP = "mlp", ("resnet50", "resnet50_cifar", "vit")
NAMES = {"resnet50": "ResNet50", "resnet50_cifar": "ResNet50 (small stem)", "vit": "ViT"}
LAYERS = ("fc1", "fc2", "fc3", "fc4", "out")
SIZES = {"paper": "", "gpu": "fewer epochs", "night": "widths to 1,024, fewer images"}
ENDS = {"fit": "training accuracy, %", "test": "test accuracy, %", "test_loss": "test loss", "gap": "gap, points"}
GRADIENTS = {
    "peak": "coherence at its peak",
    "first": "coherence, mean of the first tenth",
    "fc1": "spread of diffs over coin tossing's, first layer",
    "out": "spread of diffs over coin tossing's, last layer",
}
LEVEL = 0.5  # points per doubling: a gap that moves less is level
LEVELS = 1_500  # units a layer where the source sees the gap level off
FITS = 99  # per cent of the training images
PUZZLE = {  # column -> how it is headed and written
    "peak": ("coherence at its peak", "{:.3g}"),
    "when": ("epoch of the peak", "{:.0f}"),
    "first": ("coherence, first tenth", "{:.3g}"),
    "gap": ("gap, points", "{:.1f}"),
    "test": ("test accuracy, %", "{:.1f}"),
    "fit": ("training accuracy, %", "{:.1f}"),
}
COLUMNS = ("net", "width", "seed", "fit", "test", "gap", "test_loss", "lowest", "peak", "when", "first", *LAYERS)
LINE = "by a straight line through all widths"
LOSSES = (f"narrowest over widest, {LINE}", "narrowest that fits over widest", f"lowest loss of any epoch, {LINE}")
Parts = dict[str, pd.Series]


def by_width(found: Evidence) -> pd.DataFrame:
    """The fully-connected nets, a row each, by width and seed; those on the images of the widest one.

    fit, test: accuracy at the end in per cent, fit that of all training images, a running mean over the last epoch.
    gap: their difference in points. test_loss, lowest: the loss at the end, and the lowest of any epoch. peak, when:
    the highest coherence from epoch 1 on, and its epoch. first: mean coherence over the first tenth of the training.
    fc1 to out: the spread of a layer's diffs at the peak over that of coin tossing.
    """
    return pd.DataFrame([_row(e) for e in drawn(found)], columns=COLUMNS).sort_values(["width", "seed"])


def drawn(found: Evidence) -> list[GradientHistory]:
    """The fully-connected nets on the images of the widest one."""
    nets = found.of(GradientHistory, model=MLP)
    widest = max(nets, key=lambda e: e.snapshots.net.width, default=None)
    return [e for e in nets if e.snapshots.net.limit == widest.snapshots.net.limit]


def _row(e: GradientHistory) -> dict[str, object]:
    net, table = e.snapshots.net, run(e).table
    trained = run(net).table
    last = trained.iloc[-1]
    seen = table[(table.layer == "whole") & (table.epoch > 0)]
    first = seen[seen.epoch <= max(1, net.recipe.epochs // 10)].coherence.mean()
    fit, test = 100 * last.train_accuracy, 100 * last.test_accuracy
    named = dict(net="fully-connected nets", width=net.width, seed=net.seed)
    ends = dict(fit=fit, test=test, gap=fit - test, test_loss=last.test_loss, lowest=trained.test_loss.min())
    coherent = dict(peak=seen.coherence.max(), when=seen.epoch[seen.coherence.idxmax()], first=first)
    spread = table[table.peak].set_index("layer").sd * np.sqrt(e.snapshots.images)
    return named | ends | coherent | {layer: spread[layer] for layer in LAYERS}


def whole(found: Evidence) -> pd.DataFrame:
    """`by_width` of the seeds that have a net of every width."""
    table = by_width(found)
    return table[table.groupby("seed").width.transform("nunique") == table.width.nunique()]


def about(page: Page, found: Evidence, file: str, words: str, measures: Mapping[str, str]) -> dict[str, str]:
    """What a figure of these measures by width carries."""
    reads.note(part for e in drawn(found) for part in (e, e.snapshots.net))
    title = f"Fully-connected nets, {found.data(MLP)}: {words}"
    alt = f"{', '.join(measures.values())} of fully-connected nets by width."
    return page.about(f"{file}-{found.profile}", title=title, alt=alt, found=found)


def puzzle(table: pd.DataFrame) -> pd.DataFrame:
    """Coherence beside the gap: of `by_width` the means over nets as text, a row a width; empty if not run."""
    if table.empty:
        return pd.DataFrame()
    means = means_of(table)
    told = {words: means[column].map(form.format) for column, (words, form) in PUZZLE.items()}
    return pd.DataFrame({"width": means.index.map("{:.0f}".format)} | told | {"nets": table.groupby("width").size()})


def slope(table: pd.DataFrame, column: str, log: bool = False) -> pd.Series:
    """Of a measure, or of its logarithm, per doubling of the width; one a seed that has every width of the table."""
    wide = _wide(table, column)
    return slopes(np.log(wide) if log else wide)


def _wide(table: pd.DataFrame, column: str) -> pd.DataFrame:
    return table.pivot(index="seed", columns="width", values=column)


def third(table: pd.DataFrame, widest: bool) -> pd.DataFrame:
    """The rows of the widest third of the widths, or of the narrowest; two widths at least."""
    every = sorted(table.width.unique())
    count = max(2, len(every) // 3)
    return table[table.width.isin(every[-count:] if widest else every[:count])]


def losses(table: pd.DataFrame) -> Parts:
    """WI1: logs of the narrowest net's test loss over the widest's, by a straight line and of those that fit alone.

    On the line are only seeds of which every net fits its images.
    """
    fits, part = table.groupby("width").fit.min(), pd.Series(dtype=float)
    narrow, wide = fits[fits >= FITS].index.min(), table.width.max()
    if narrow < wide:
        loss = _wide(table, "test_loss")
        part = np.log(loss[narrow] / loss[wide]).dropna()
    end, lowest = (-over_all(table[~table.seed.isin(unfitted(table))], column) for column in ("test_loss", "lowest"))
    return dict(zip(LOSSES, (end, part, lowest), strict=True))


def unfitted(table: pd.DataFrame) -> list[int]:
    """The seeds of which a net does not fit its images."""
    return sorted(set(table.seed[table.fit < FITS]))


def over_all(table: pd.DataFrame, column: str) -> pd.Series:
    """Log of the widest net's value over the narrowest's, both on a straight line through all widths; one a seed."""
    return slope(table, column, log=True) * np.log2(table.width.max() / table.width.min())


def gaps(table: pd.DataFrame) -> Parts:
    """WI2: the gap's slope over the widest third, and by how much that over the narrowest is more than level."""
    return {
        "level over the widest third": slope(third(table, widest=True), "gap"),
        f"above {LEVEL} over the narrowest third": slope(third(table, widest=False), "gap") - LEVEL,
    }


def peaks(table: pd.DataFrame) -> Parts:
    """WI3: slopes of the logs of the peak and of the mean over the first tenth."""
    return {
        "peak": slope(table, "peak", log=True),
        "mean of the first tenth of the training": slope(table, "first", log=True),
    }


def spreads(table: pd.DataFrame) -> Parts:
    """WI4: slope of the log of the spread of the diffs in each layer, down being above zero."""
    return {layer: -slope(table, layer, log=True) for layer in LAYERS}


def accuracies(table: pd.DataFrame) -> Parts:
    """WI7: slope of the test accuracy."""
    return {"test accuracy at the end of training": slope(table, "test")}


def judged(page: Page, table: pd.DataFrame, deep: Evidence) -> pd.DataFrame:
    """The verdicts of the chapter's claims on `whole`, and on a run that has deep nets beside the widest."""
    on, slopes_of, narrow = page.shown.apart(SIZES), gaps(table), {}
    if table.width.max() < LEVELS:
        slopes_of, narrow = {}, {name: len(values) for name, values in slopes_of.items()}
    return pd.concat([
        page.judge("WI1", losses(table), short=dict.fromkeys(LOSSES[::2], len(unfitted(table))), on=on),
        page.judge("WI2", slopes_of, short=narrow, on=on),
        page.judge("WI3", peaks(table), on=on),
        page.judge("WI4", spreads(table), on=on),
        page.judge("WI5", deeper(deep), deep, on=deep.apart(coherence.SIZES)),
        page.judge("WI7", accuracies(table), on=on),
    ])  # fmt: skip


def over_widest(found: Evidence, model: str) -> pd.Series:
    """Log of a deep net's peak over that of the widest fully-connected net on the same images, one a seed with both."""
    deep = found.of(GradientHistory, model=model)
    same = {(e.snapshots.net.limit, e.snapshots.sample) for e in deep}
    wide = [e for e in found.of(GradientHistory, model=MLP) if (e.snapshots.net.limit, e.snapshots.sample) in same]
    widest = max((e.snapshots.net.width for e in wide), default=None)
    wide = [e for e in wide if e.snapshots.net.width == widest]
    return np.log(_tops(deep) / _tops(wide)).dropna()


def _tops(nets: Iterable[GradientHistory]) -> pd.Series:
    """The highest coherence from epoch 1 on, by seed, read as chapter 3 reads it."""
    return pd.Series({e.snapshots.net.seed: contrast.peak(e) for e in nets}, dtype=float)


def has_deep(found: Evidence) -> bool:
    """Whether a deep net can be compared with the widest fully-connected net."""
    return any(len(over_widest(found, model)) for model in DEEP)


def deeper(found: Evidence) -> Parts:
    """WI5: the deep nets over the widest; of ResNet50 the one with the source's stem, where there is one."""
    *stems, vit = (over_widest(found, model) for model in DEEP)
    resnet = next((values for values in stems if len(values)), stems[0])
    return {"ResNet50 over the widest": resnet, "ViT over the widest": vit}


def means_of(table: pd.DataFrame) -> pd.DataFrame:
    """The means over nets of `by_width`, a row a width."""
    return table.drop(columns=["net", "seed"]).groupby("width").mean()
