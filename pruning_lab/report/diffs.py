"""Diffs in numbers: the votes of images on every weight while nets train -> tidy tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from types import SimpleNamespace

import numpy as np
import pandas as pd
import torch

from .. import gradients
from ..experiments import GradientHistory
from ..widgets import Explorer
from . import contrast
from .contrast import NAMES, coherent, geometric, histories, home, peak, peak_epoch, rowed, stacked, whole
from .evidence import Evidence
from .page import Page
from .reads import run

ARMS = {kind: contrast.ARMS[kind] for kind in ("real", "noise")}
SPREAD = {"spread": "spread over the null's", "kurtosis": "excess kurtosis"}
TRAVEL = {
    "travel": "way of the highest over the lowest tenth",
    "dead": "share of weights without gradient",
    "agree": "share of weights with |diff| > 0.99",
}
FLOORS = {"spread": 1, "kurtosis": 0, "travel": 1}  # where a panel has a dotted line
BINS = 67  # three of the record's places in one
PLACES = np.round((np.arange(BINS) + 0.5) / BINS * 2 - 1, 4)  # their middles
NULL = "coin tossing"
ENDS = {"first": 0, "last": -1}  # layers
PANELS = {f"{end}_{mark}": f"{end} layer, at {mark}" for end in ENDS for mark in ("the peak", "the low")}
AGREEING = {  # number -> its column in the table of spikes, and how it is written
    "epoch": ("epoch of the peak", "{:.0f}"),
    "loss": ("loss", "{:.2f}"),
    "coherence": ("coherence", "{:.2g}"),
    "sd": ("spread of diffs", "{:.3f}"),
    "agree": ("|diff| > 0.99", "{:.3%}"),
    "top": ("in its top layer", "{:.2%}"),
    "dead": ("no gradient", "{:.1%}"),
}


def votes() -> tuple[pd.DataFrame, pd.DataFrame]:
    """The toy: fifteen samples and a neuron with one weight.

    Rows of weight, curve, x, y: a dot where the weight would fit a sample best, named by what the sample wants, and the
    weight's own line; and a caption for each weight.
    """
    rng = np.random.default_rng(1)
    inputs = rng.uniform(0.5, 1.5, 15)
    targets = inputs * rng.normal(1, 0.5, 15)
    best, places = np.sort(targets / inputs), np.round(np.linspace(-0.5, 2.5, 31), 2)
    dots = [(w, "smaller" if x < w else "larger", x, k + 1) for w in places for k, x in enumerate(best)]
    rows = [(w, f"wants it {want}", x, y) for w, want, x, y in dots]
    rows += [(w, "the weight", w, y) for w in places for y in (0, 16)]
    told = [dict(weight=w, caption=f"diff {vote(inputs, targets, w):+.2f}") for w in places]
    return pd.DataFrame(rows, columns=["weight", "curve", "x", "y"]).round(3), pd.DataFrame(told)


def vote(inputs: np.ndarray, targets: np.ndarray, weight: float) -> float:
    """The diff of a neuron's only weight under squared error, over samples [n]."""
    images, labels = (torch.tensor(values)[:, None] for values in (inputs, targets))
    neuron = torch.nn.Linear(1, 1, bias=False).double()
    torch.nn.init.constant_(neuron.weight, weight)
    samples = SimpleNamespace(images=images, labels=labels)
    return gradients.statistics(neuron, samples, loss=lambda out, y: (out - y).square().sum(1)).diffs["weight"].item()


def marks(e: GradientHistory) -> dict[str, int]:
    """The epochs, after epoch 0, where the coherence of the whole net is highest and where it is lowest."""
    return {"the peak": peak_epoch(e), "the low": int(coherent(e).idxmin())}


def layers(e: GradientHistory, mark: str = "the peak") -> pd.DataFrame:
    """One row a layer, by its name, at the peak or the low."""
    table = run(e).table.query("layer != 'whole'")
    return table[table.epoch == marks(e)[mark]].set_index("layer")


def peaks(nets: Iterable[GradientHistory]) -> pd.DataFrame:
    """The row of all layers together at the peak, one a net."""
    rows = [whole(e)[whole(e).epoch == peak_epoch(e)] for e in nets]
    return pd.concat(rows).drop(columns="layer").astype(float)


def by_layer(found: Evidence, model: str) -> pd.DataFrame:
    """Measures at the peak, a row a layer, a seed and an arm; empty if not run.

    Depth 1 reads the image; `spread` is over the null's; `travel` the way of the highest tenth over the lowest's.
    """
    return stacked(found, model, ARMS, _by_layer)


def _by_layer(e: GradientHistory) -> pd.DataFrame:
    table, travel = layers(e).reset_index(), np.exp(run(e).arrays["travel"][:, 0])
    return table.assign(spread=table.sd * np.sqrt(e.snapshots.images), travel=travel, depth=range(1, 1 + len(table)))


def seen(table: pd.DataFrame, measures: Mapping[str, str]) -> dict[str, str]:
    """The measures that are not zero everywhere: an empty panel says nothing. All of them where nothing was run."""
    return {name: words for name, words in measures.items() if table.empty or table[name].any()}


def about(
    page: Page, found: Evidence, model: str, measures: Mapping[str, str], part: str, read: str = ""
) -> dict[str, object]:
    """How a figure of measures by layer is drawn: its axes, title, alt text and file, named after the first measure.

    read: what is to be seen, for who does not see it.
    """
    alt = f"{NAMES[model]}: {', '.join(measures.values())}, by layer, on real and on Gaussian images. {read}".strip()
    title, file = f"{NAMES[model]}, {found.data(model)}: {part}", f"{next(iter(measures))}-{model}-{found.profile}"
    axes = dict(by="images", x="depth", said="layer", floor=FLOORS, log=("travel",))
    return axes | page.about(file, title=title, alt=alt, found=found)


def shares(e: GradientHistory) -> np.ndarray:
    """Share of weights in each place from -1 to 1, [epochs, layers, places], all layers together first."""
    table = run(e).table
    counts = run(e).arrays["histograms"].reshape(table.epoch.nunique(), table.layer.nunique(), BINS, 3).sum(3)
    return counts / np.maximum(1, counts.sum(2, keepdims=True))


def null(e: GradientHistory) -> np.ndarray:
    """Share of diffs in each place if votes were fair coins, [places]."""
    edges = np.linspace(-1, 1, BINS + 1) * np.sqrt(e.snapshots.images / 2)
    upper = torch.erf(torch.tensor(edges)).numpy()
    return (upper[1:] - upper[:-1]) / 2


def at_ends(e: GradientHistory) -> dict[str, np.ndarray]:
    """Share of weights in each place, by the column of `PANELS`: both outer layers, at the peak and at the low."""
    share, epochs, names = shares(e), list(run(e).table.epoch.unique()), list(run(e).table.layer.unique())
    outer = [k for k, name in enumerate(names) if name != "whole"]
    at = {mark: share[epochs.index(epoch)] for mark, epoch in marks(e).items()}
    return {f"{end}_{mark}": by_number[outer[k]] for end, k in ENDS.items() for mark, by_number in at.items()}


def outer_layers(found: Evidence, model: str) -> pd.DataFrame:
    """Shares in the outer layers, a row a place and a net, of the null and of both arms; empty if not run."""
    coins = stacked(found, model, ["real"], lambda e: pd.DataFrame(dict.fromkeys(PANELS, null(e)) | dict(diff=PLACES)))
    seen = stacked(found, model, ARMS, lambda e: pd.DataFrame(at_ends(e) | dict(diff=PLACES)))
    return pd.concat([coins.assign(images=NULL), seen]) if len(seen) else seen


def explorer(page: Page) -> Explorer | None:
    """The histograms of one net of each model and arm, by layer and epoch; None: not run."""
    places = [(model, kind, _one(home(page, model), model, kind)) for model in NAMES for kind in ARMS]
    seen = [(dict(net=NAMES[model], images=ARMS[kind]), e) for model, kind, e in places if e]
    if not seen:
        return None
    tables = cut(pd.concat([table for where, e in seen for table in _histograms(e, where)]))
    told = pd.DataFrame([row for where, e in seen for row in _captions(e, where)])
    where, e = seen[0]
    return Explorer(
        tables, ("net", "images", "layer", "epoch"), captions=told, start=where | dict(epoch=marks(e)["the peak"]),
        styles={"diffs": "bar", NULL: "line"}, colours={"diffs": "#0072B2", NULL: "#808080"},
        title="Diffs of one layer at one epoch", name="histograms",
        labels=dict(share="share of weights (what is over the top is cut)", net="kind of net"),
    )  # fmt: skip


def cut(tables: pd.DataFrame) -> pd.DataFrame:
    """Histograms no higher than three in four need: one that is all at one place, and the null, flatten the rest."""
    bars = tables[tables.curve == "diffs"]
    places = [name for name in bars if name not in ("curve", "diff", "share")]
    return tables.assign(share=tables.share.clip(upper=1.1 * bars.groupby(places).share.max().quantile(0.75)))


def _one(found: Evidence, model: str, kind: str) -> GradientHistory | None:
    return next(iter(histories(found, model, kind).values()), None)


def _histograms(e: GradientHistory, where: dict[str, str]) -> Iterator[pd.DataFrame]:
    """Tables of the explorer, one a line: some epochs, the marks among them, and some layers of one net."""
    table, share, coins = run(e).table, shares(e), null(e)
    names, epochs = list(table.layer.unique()), list(table.epoch.unique())
    for t in sorted({*some(len(epochs)), *(epochs.index(mark) for mark in marks(e).values())}):
        for k in some(len(names)):
            place = where | dict(layer=names[k], epoch=epochs[t])
            for curve, line in (("diffs", share[t, k]), (NULL, coins)):
                yield pd.DataFrame(place | dict(curve=curve, diff=PLACES, share=line))


def some(count: int, most: int = 8) -> list[int]:
    """Of so many places at most eight, evenly, the first and the last among them."""
    return sorted({round(k) for k in np.linspace(0, count - 1, most)})


def _captions(e: GradientHistory, where: dict[str, str]) -> Iterator[dict[str, object]]:
    names = {epoch: f"; of the whole net this is {mark}" for mark, epoch in marks(e).items()}
    for row in run(e).table.itertuples():
        text = f"coherence of the layer {row.coherence:.3g}{names.get(row.epoch, '')}"
        yield where | dict(layer=row.layer, epoch=row.epoch, caption=text)


def paths(found: Evidence, model: str) -> pd.DataFrame:
    """Ways of the middle layer's weights of highest and lowest |diff|, a row a weight and epoch, of one net an arm."""
    rows = []
    for kind, name in ARMS.items():
        if e := _one(found, model, kind):
            ends, middle = e.ends, len(run(e).arrays["travel"]) // 2
            kept, epochs = run(e).arrays["paths"][:, 2 * ends * middle :], run(e).table.epoch.unique()
            for k in range(2 * ends):
                told = dict(images=name, end="highest" if k < ends else "lowest", weight=k)
                rows.append(pd.DataFrame(dict(epoch=epochs) | told | dict(way=kept[:, k])))
    return pd.concat(rows) if rows else pd.DataFrame()


def about_paths(page: Page, found: Evidence, model: str) -> dict[str, str]:
    """What a figure of single weights carries."""
    title = f"One {NAMES[model]}, {found.data(model)}: highest and lowest |diff|"
    alt = "Change of single weights by epoch: highest and lowest diffs, on real and on Gaussian images."
    return dict(by="images") | page.about(f"paths-{model}", title=title, alt=alt, found=found)


def agreeing(page: Page) -> pd.DataFrame:
    """On how many weights all images agree at the peak, and what goes with it, averaged; a row a model and arm."""
    return rowed(page, ARMS, _agreeing)


def _agreeing(nets: list[GradientHistory]) -> dict[str, str]:
    means = peaks(nets).mean()
    means["coherence"] = geometric(map(peak, nets))
    means["top"] = np.mean([layers(e).agree.max() for e in nets])
    return {words: form.format(means[column]) for column, (words, form) in AGREEING.items()}
