"""Diffs in numbers: the votes of images on every weight while nets train -> tidy tables, parts of claims, sentences."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import SimpleNamespace

import numpy as np
import pandas as pd
import torch

from .. import gradients
from ..experiments import GradientHistory
from ..records.store import run
from ..widgets import Explorer
from . import claims, coherence
from .coherence import NAMES, RESNETS, SIZES, geometric, histories, home, measured, peak_epoch, rowed, stacked, whole
from .evidence import Evidence
from .page import Page

ARMS = {kind: coherence.ARMS[kind] for kind in ("real", "noise")}
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
WIDER, WAYS = "log of the spread over the null's", "ratio of ways"
FACTOR = 1.25  # DI4's margin on the ratio of ways
MARGINS = {"DI1": 1, "DI3": -np.log(0.9), "DI4": 1}
UNITS = dict(DI1="margins", DI2="log ratio", DI3="log ratio", DI4="margins", DI5="points")
AGREED = {  # whether DI5 was run, and whether any weight was seen on which all images agree -> what the page says
    (False, False): "Not run yet",
    (True, False): "In a {nets} no weight was seen on which all images agree, on noise or on real images",
    (True, True): "Gaussian images give this many more weights on which all images agree: {pieces}",
}
Numbers = Callable[[GradientHistory], Mapping[str, float]]


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
    table = whole(e).query("epoch > 0")
    return {"the peak": peak_epoch(e), "the low": table.epoch[table.coherence.idxmin()]}


def layers(e: GradientHistory, mark: str = "the peak") -> pd.DataFrame:
    """One row a layer, by its name, at the peak or the low."""
    table = run(e).table.query("layer != 'whole'")
    return table[table.epoch == marks(e)[mark]].set_index("layer")


def peaks(nets: Iterable[GradientHistory]) -> pd.DataFrame:
    """The row of all layers together at the peak, one a net."""
    return pd.concat([whole(e).query("peak") for e in nets]).drop(columns="layer").astype(float)


def by_layer(found: Evidence, model: str) -> pd.DataFrame:
    """Measures at the peak, a row a layer, a seed and an arm; empty if not run.

    Depth 1 reads the image; `spread` is over the null's; `travel` the way of the highest tenth over the lowest's.
    """
    return stacked(found, model, ARMS, _by_layer)


def _by_layer(e: GradientHistory) -> pd.DataFrame:
    table, travel = layers(e).reset_index(), np.exp(run(e).arrays["travel"][:, 0])
    return table.assign(spread=table.sd * np.sqrt(e.snapshots.images), travel=travel, depth=range(1, 1 + len(table)))


def about(page: Page, found: Evidence, model: str, measures: Mapping[str, str], part: str) -> dict[str, object]:
    """How a figure of measures by layer is drawn: its axes, title, alt text and file, named after the first measure."""
    alt = f"{NAMES[model]}: {', '.join(measures.values())}, by layer, on real and on Gaussian images."
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
    tables = pd.concat([table for where, e in seen for table in _histograms(e, where)])
    told = pd.DataFrame([row for where, e in seen for row in _captions(e, where)])
    where, e = seen[0]
    return Explorer(
        tables, ("net", "images", "layer", "epoch"), captions=told, start=where | dict(epoch=marks(e)["the peak"]),
        styles={"diffs": "bar", NULL: "line"}, colours={"diffs": "#0072B2", NULL: "#808080"},
        title="Diffs of one layer at one epoch", labels=dict(share="share of weights"), name="histograms",
    )  # fmt: skip


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
    means["coherence"] = geometric(peaks(nets).coherence)
    means["top"] = np.mean([layers(e).agree.max() for e in nets])
    return {words: form.format(means[column]) for column, (words, form) in AGREEING.items()}


def centred(table: pd.DataFrame) -> pd.Series:
    """|mean| / sd of the diffs, layer by layer."""
    return table["mean"].abs() / table.sd


def normality(e: GradientHistory) -> dict[str, float]:
    """DI1 in the median layer at the peak: how far diffs are off centre and normal, in margins; log of their spread."""
    table = layers(e)
    off, tails = centred(table).median() / 0.1, table["kurtosis"].abs().median()
    wider = np.log(table.sd.median() * np.sqrt(e.snapshots.images))
    return {"|mean| / sd": off, "excess kurtosis": tails, WIDER: wider}


def travels(e: GradientHistory) -> dict[str, float]:
    """DI4 in the median layer, in margins: how far the ways of both tenths differ, and how |diff| goes with |w|."""
    log, rho = np.nanmedian(np.abs(run(e).arrays["travel"]), axis=0)
    return {WAYS: log / np.log(FACTOR), "rank correlation with |w|": rho / 0.1}


def widened(e: GradientHistory) -> dict[str, float]:
    """DI2: log ratio of spreads at the peak and at the low."""
    return {"peak over low": log_ratio(layers(e), layers(e, "the low"))}


def log_ratio(a: pd.DataFrame, b: pd.DataFrame) -> float:
    """Of spreads, layer by layer, averaged; layers without any spread are left out."""
    return float(np.log(a.sd / b.sd).replace([np.inf, -np.inf], np.nan).mean())


def agreed(e: GradientHistory) -> float:
    """Share of weights on which all images agree at the peak, %."""
    return 100 * peaks([e]).agree.iloc[0]


def both(found: Evidence, model: str, minus: Callable[[GradientHistory, GradientHistory], float]) -> list[float]:
    """A number of the net on Gaussian images and the one on real ones, one a seed that is in both arms."""
    real, noise = (histories(found, model, kind) for kind in ARMS)
    return [minus(noise[seed], real[seed]) for seed in real if seed in noise]


def parts(found: Evidence, models: Sequence[str]) -> pd.DataFrame:
    """Parts of the claims on these models, a row each: claim, part, net, measure, unit, kind ("": the claim's), values.

    Values are one number a net, in the unit; those that are not finite are left out. DI5 is not about ResNet50.
    """
    wider = {model: both(found, model, lambda a, b: log_ratio(layers(a), layers(b))) for model in models}
    spikes = {model: both(found, model, lambda a, b: agreed(a) - agreed(b)) for model in models if model not in RESNETS}
    rows = [
        *_by_arm("DI1", found, models, ARMS, normality),
        *_by_arm("DI2", found, models, ARMS, widened),
        *(_part("DI3", NAMES[model], values) for model, values in wider.items()),
        *_by_arm("DI4", found, models, ["real"], travels),
        *(_part("DI5", NAMES[model], values) for model, values in spikes.items()),
    ]
    return pd.DataFrame(rows)


def _by_arm(id: str, found: Evidence, models: Sequence[str], kinds: Iterable[str], measure: Numbers) -> Iterator[dict]:
    for model, kind in ((model, kind) for model in models for kind in kinds):
        numbers = [measure(e) for e in histories(found, model, kind).values()]
        for name in numbers[0] if numbers else ["not run"]:
            yield _part(id, NAMES[model], [n[name] for n in numbers], name, f"{NAMES[model]}, {ARMS[kind]}: {name}")


def _part(id: str, net: str, values: list[float], measure: str = "", part: str = "") -> dict[str, object]:
    unit, kind = ("log ratio", "differs") if measure == WIDER else (UNITS[id], "")
    finite = [value for value in values if np.isfinite(value)]
    return dict(claim=id, part=part or net, net=net, measure=measure, unit=unit, kind=kind, values=finite)


def judged(page: Page, found: Evidence, tested: pd.DataFrame) -> pd.DataFrame:
    """The verdicts on the `parts` of a run, claim by claim."""
    verdicts, on = [], found.apart(SIZES)
    for id, rows in tested.set_index("part").groupby("claim", sort=False):
        how = dict(margin=MARGINS.get(id, 0), kinds=rows.kind[rows.kind != ""].to_dict(), unit=rows.unit.to_dict())
        verdicts.append(page.judge(id, rows["values"].to_dict(), found, on=on, **how))
    return pd.concat(verdicts)


def beside(page: Page, verdicts: pd.DataFrame) -> pd.DataFrame:
    """The same measures of the fully-connected net, a row a part."""
    told = [(row.claim, row.part, measured(row, 2, row.unit), row.n) for row in verdicts.itertuples()]
    columns = ["claim", f"part, on {home(page, 'mlp').data('mlp')}", "measured", "nets"]
    return pd.DataFrame(told, columns=columns)


def sentences(page: Page, theirs: pd.DataFrame, ours: pd.DataFrame) -> dict[str, str]:
    """What the page says, by the names of its prose; `parts` of the claims on the nets of the source and on ours."""
    kinds = coherence.resnets(page)
    at = {model: home(page, model) for model in NAMES}
    nets = [e for model in (*kinds, "vit") for kind in ARMS for e in histories(at[model], model, kind).values()]
    ways, agree = _ways(of_claim("DI4", theirs, ours)), _agree(of_claim("DI5", theirs, ours))
    return dict(
        answer_di1=_normal(of_claim("DI1", theirs, ours)),
        answer_di4=ways,
        answer_di5=agree,
        travel_read=f"{ways}.",
        agree_read=f"{agree}.",
        main_words=f"a {NAMES[kinds[0]]}",
        main_read=read(at[kinds[0]], kinds[0]),
        vit_read=read(at["vit"], "vit"),
        mlp_read=read(at["mlp"], "mlp"),
        histogram_words=f"Nets: {len(histories(at['vit'], 'vit', 'real'))} on each kind of images.",
        spikes_read=" ".join(_spike(at[model], model) for model in ("vit", "mlp")),
        oq4_read=" ".join(_with_loss(at[model], model) for model in ("vit", "mlp")),
        strict_read=_strict(nets),
        origin=coherence.origin(page),
    )


def of_claim(id: str, *tables: pd.DataFrame) -> pd.DataFrame:
    """The parts of a claim that were run, from the first of the tables that has any."""
    every = [table[(table.claim == id) & (table["values"].map(len) > 0)] for table in tables]
    return next((rows for rows in every if len(rows)), every[-1])


def read(found: Evidence, model: str) -> str:
    """Between what the spread and the excess kurtosis of the layers lie, on both kinds of images."""
    table = by_layer(found, model)
    if table.empty:
        return f"The {NAMES[model]} has not been run at this size."
    means = table.groupby(["images", "layer"])[["spread", "kurtosis"]].mean()
    low, high = means.groupby("images").min(), means.groupby("images").max()
    pieces = [
        f"on {name} the spread is {low.spread[name]:.1f} to {high.spread[name]:.1f} times that of coin tossing and the "
        f"excess kurtosis {low['kurtosis'][name]:.1f} to {high['kurtosis'][name]:.1f}"
        for name in low.index
    ]
    return f"The {NAMES[model]}, by layer: {', '.join(pieces)}."


def _nets(rows: pd.DataFrame) -> str:
    return " and a ".join(rows.net.unique())


def _normal(rows: pd.DataFrame) -> str:
    rows = rows[rows.measure != WIDER]
    found = [claims.verdict(values, "same", MARGINS["DI1"]) for values in rows["values"]]
    inside = sum(verdict.low > -1 and verdict.high < 1 for verdict in found)
    begin = f"Of {len(rows)} tests whether diffs of a {_nets(rows)} are centred and normal,"
    return f"{begin} {inside} stay inside their margin" if len(rows) else "Not run yet"


def _ways(rows: pd.DataFrame) -> str:
    rows = rows[rows.measure == WAYS]
    pieces = [f"{FACTOR ** np.mean(values):.2f} ({net})" for net, values in zip(rows.net, rows["values"], strict=True)]
    begin = "In the median layer, the ways of the tenth with the highest and of the tenth with the lowest diffs differ"
    return f"{begin} by a factor of {', '.join(pieces)}" if pieces else "Not run yet"


def _agree(rows: pd.DataFrame) -> str:
    pieces = [f"{np.mean(values):+.3f} points on a {net}" for net, values in zip(rows.net, rows["values"], strict=True)]
    seen = any(any(values) for values in rows["values"])
    return AGREED[len(rows) > 0, seen].format(nets=_nets(rows), pieces=", ".join(pieces))


def _spike(found: Evidence, model: str) -> str:
    nets = {name: histories(found, model, kind).values() for kind, name in ARMS.items()}
    pieces = [f"{np.mean([at_spike(e) for e in es]):.0f} % on {name}" for name, es in nets.items() if es]
    begin = f"In the last layer of a {NAMES[model]}, at the peak, this part of the weights has a |diff| from 0.75 to"
    return f"{begin} 0.85: {', '.join(pieces)}." if pieces else f"The {NAMES[model]} has not been run at this size."


def at_spike(e: GradientHistory) -> float:
    """Share of the last layer's weights with |diff| from 0.75 to 0.85 at the peak, %."""
    near = (np.abs(PLACES) > 0.75) & (np.abs(PLACES) < 0.85)
    return 100 * at_ends(e)["last_the peak"][near].sum()


def _with_loss(found: Evidence, model: str) -> str:
    arms = [histories(found, model, kind).values() for kind in ARMS]
    if not all(arms):
        return f"The {NAMES[model]} has not been run at this size."
    (real, noise), rho = (peaks(nets).mean() for nets in arms), [np.mean([with_loss(e) for e in nets]) for nets in arms]
    return (
        f"{NAMES[model][0].upper() + NAMES[model][1:]}: on Gaussian images diffs are spread {noise.sd / real.sd:.2f} "
        f"times as wide as on real ones, each at its peak, where the loss is {noise.loss:.2f} against {real.loss:.2f} "
        f"and {100 * noise.dead:.0f} % against {100 * real.dead:.0f} % of the weights have no gradient. "
        f"Rank correlation of spread and loss from epoch to epoch: {rho[1]:+.2f} on Gaussian and {rho[0]:+.2f} on real "
        "images."
    )


def with_loss(e: GradientHistory) -> float:
    """Rank correlation of the whole net's spread and its loss from epoch to epoch, epoch 0 left out."""
    return whole(e).query("epoch > 0")[["sd", "loss"]].corr("spearman").iloc[0, 1]


def _strict(nets: Sequence[GradientHistory]) -> str:
    tables = [layers(e) for e in nets]
    inside = sum(int(((centred(table) < 0.1) & (table["kurtosis"].abs() < 1)).sum()) for table in tables)
    begin = f"Of {sum(map(len, tables))} layers of all these nets"
    return f"{begin} {inside} have diffs within both margins of DI1." if tables else "Not run at this size yet."
