"""What figures of nets under masks draw: tables of `large` -> rows of figures, explorers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd
from pandas import DataFrame

from ..widgets import Explorer
from . import reads
from .evidence import Evidence
from .large import DENSE, GLOBAL, KIND, NAMES, NO_FLOOR, RANKINGS, kinds, level, masked, minus, named, thirds
from .numbers import drawn, summed
from .page import Page

PANELS = dict(zip(RANKINGS, ("ranked globally, 2 % floor", "ranked within each layer"), strict=True))
CURVES = {"best": "keeps the best", "worst": "keeps the worst", "ERK": "ERK", "": "random"}  # by the column end
IMAGES = {"train_accuracy": "training images", "test_accuracy": "test images"}
FLOORED, HIGHEST, LOWEST = "on the floor or empty", "keeps the highest scores", "keeps the lowest"
HUES = dict.fromkeys((*CURVES.values(), *IMAGES.values(), HIGHEST, LOWEST), "#0072B2")
HUES |= {"ERK": "#009E73", "random": "#808080", "dense, test images": "#808080", FLOORED: "#D55E00"}
FIGURES = {  # of one model: title, name of the file, words for who does not see it
    "levels": ("{net}, {data}: one tenth of the weights", "{model}-{profile}",
               "{net}: test and training accuracy of dense nets and of nets under each mask."),
    "dense": ("{net}, {data}: masked minus dense", "dense-{model}",
              "{net}: test accuracy under each mask minus that of the dense net of the same seed."),
    "layers": ("{net}, {data}: weights kept by layer, %", "layers-{model}",
               "{net}: density of each layer by depth under global masks by magnitude and by diff."),
}  # fmt: skip
KIND_OF = "kind of net"
BLUE, GREEN, ORANGE, GREY = "#0072B2", "#009E73", "#D55E00", "#808080"


def about(page: Page, figure: str, model: str, found: Evidence | None = None, part: str = "") -> dict[str, str]:
    """What a figure of one model carries."""
    of = page.shown if found is None else found
    told = dict(net=NAMES[model], data=of.data(model), model=model, profile=of.profile)
    title, file, alt = (words.format(**told) for words in FIGURES[figure])
    return page.about(file, title=title + part, alt=alt, found=of)


def by_mask(nets: DataFrame, model: str) -> DataFrame:
    """Rows of `figures.levels`: test accuracy by mask, dense first, a panel a ranking; beside: training accuracy."""
    rows = []
    for ranking, panel in PANELS.items():
        for kind in [DENSE, *kinds(nets, model, ranking)]:
            test, train = (level(nets, model, kind, column=column) for column in ("test", "train"))
            if len(test):
                rows.append(dict(label=masked(kind[1:]), panel=panel, beside=train.mean()) | summed(test))
    return DataFrame(rows)


def from_dense(nets: DataFrame, model: str) -> DataFrame:
    """Rows of `figures.differences`: test accuracy under each mask minus the dense net's, in points."""
    return drawn((named(k), k[1], minus(nets, model, k, DENSE)) for k in kinds(nets, model, *PANELS))


def best_minus_worst(nets: DataFrame, models: Iterable[str]) -> DataFrame:
    """Rows of `figures.differences`: the best-ranked mask minus its inverse, in points."""
    pairs = [(m, ranking, c) for m in models for ranking in PANELS for c in ("magnitude", "diff")]
    return drawn((f"{NAMES[m]}, {r}: {c}", c, minus(nets, m, (r, c, "best"), (r, c, "worst"))) for m, r, c in pairs)


def choices(nets: DataFrame, models: Iterable[str]) -> DataFrame:
    """Rows of `figures.differences`: nets of each variant minus those that are usual, in points."""
    parts = []
    for model in models:
        odd = nets[(nets.model == model) & (nets.variant != "")]
        for *kind, variant, label in odd[[*KIND, "variant", "label"]].drop_duplicates().itertuples(index=False):
            gaps = level(nets, model, tuple(kind), variant=variant) - level(nets, model, tuple(kind))
            parts.append((f"{NAMES[model]}, {label}", kind[1], gaps.dropna().tolist()))
    return drawn(parts)


def by_depth(layers: DataFrame, model: str) -> DataFrame:
    """Rows of `figures.panels`: density by depth under a model's global masks, in the columns magnitude and diff.

    Random masks with ERK's densities are in both.
    """
    usual = (layers.model == model) & (layers.variant == "") & (layers.ranking == "global")
    part = layers[usual & layers.end.isin(("best", "worst", "ERK"))]
    reads.rows(part)
    part = part.assign(mask=[masked(mask) for mask in part[KIND[1:]].itertuples(index=False)])
    part = part.assign(kind=part.layers.map(role))
    return part.assign(**{c: part.density.where(part.criterion.isin((c, "random"))) for c in ("magnitude", "diff")})


def role(layer: str) -> str:
    """What a layer is within its block, such as "conv2" or "attention.qkv"; "outer conv1" outside of blocks."""
    within = re.match(r"(layer\d+\.\d+|block\d+)\.", layer)
    return layer[within.end() :] if within else f"outer {layer}"


def late_over_early(layers: DataFrame, models: Iterable[str]) -> DataFrame:
    """Rows of `figures.differences`: `thirds` of each ranked mask."""
    ranked = [(m, kind) for m in models for kind in GLOBAL[1:]]
    return drawn((f"{NAMES[m]}: {masked(kind[1:])}", kind[1], thirds(layers, m, kind).tolist()) for m, kind in ranked)


def layer_explorer(layers: DataFrame) -> Explorer | None:
    """Density by depth of every mask, means over nets, those on the floor in any net marked. None: not run."""
    part = layers[layers.end.isin(list(CURVES)) & layers.variant.isin(("", NO_FLOOR))]
    if part.empty:
        return None
    reads.rows(part)
    part = part.assign(net=part.model.map(NAMES), curve=part.end.map(CURVES))
    part["ranking"] = [masked(pair) for pair in zip(part.ranking, part.variant, strict=True)]
    by = ["net", "ranking", "criterion", "curve", "depth"]
    means = part.groupby(by, sort=False).agg(density=("density", "mean"), floored=("floored", "max")).reset_index()
    means["density"] = means.density.clip(lower=0.2)
    floored = means[means.floored.astype(bool)].assign(curve=FLOORED)
    return Explorer(
        pd.concat([means, floored]), ("net", "criterion", "ranking"), x="depth", y="density", log=("y",),
        styles="dots", colours=HUES | {CURVES["worst"]: "#7D76D0"},  # a line would join layers of different kinds
        labels=dict(density="weights kept, %", depth="layer, by depth", net=KIND_OF), start=dict(criterion="diff"),
        title="Weights kept by layer", name="layers",
    )  # fmt: skip


def epoch_explorer(epochs: DataFrame) -> Explorer | None:
    """Accuracy by epoch under every mask, means over nets, with the dense nets' behind. None: not run."""
    part, by = epochs[epochs.variant == ""], ["net", *KIND, "epoch"]
    reads.rows(part)
    means = part.assign(net=part.model.map(NAMES)).groupby(by, sort=False)[list(IMAGES)].mean().mul(100).reset_index()
    long = means.melt(by, var_name="images", value_name="accuracy")
    own = long[long.criterion != "dense"]
    if own.empty:
        return None
    masks = [masked(mask) for mask in own[KIND[1:]].itertuples(index=False)]
    own = own.assign(mask=masks, curve=own.images.map(IMAGES))
    dense = long[(long.criterion == "dense") & (long.images == "test_accuracy")].drop(columns="ranking")
    return Explorer(
        pd.concat([own, dense.assign(curve="dense, test images")]), ("net", "mask", "ranking"), x="epoch", y="accuracy",
        styles={"training images": "dashed"}, colours=HUES, labels=dict(accuracy="accuracy, %", net=KIND_OF),
        ranges=dict(y=(0, 100)), title="Accuracy while the child trains", name="epochs",
    )  # fmt: skip


def toy_read(masks: Mapping[tuple[str, float, bool], Mapping[str, Any]]) -> str:
    """What the toy's masks, as `toy` takes them, leave of the first and the last layer where scores grow most."""
    told = []
    for (ranking, factor, lowest), found in masks.items():
        if factor == max(other for _, other, _ in masks):
            first, *_, last = (100 * int(mask.sum()) / mask.numel() for mask in found.values())
            told.append(f"{ranking}, {'worst' if lowest else 'best'} mask: {first:.0f} and {last:.0f} %")
    return f"At the end of the slider the first and the last layer keep, ranked {'; '.join(told)}."


def toy(masks: Mapping[tuple[str, float, bool], Mapping[str, Any]]) -> Explorer:
    """What each layer keeps: masks of layers by (ranking, factor from layer to layer, do the lowest scores stay?)."""
    rows = [
        (ranking, factor, LOWEST if lowest else HIGHEST, layer, 100 * (int(mask.sum()) / mask.numel()))
        for (ranking, factor, lowest), found in masks.items()
        for layer, mask in enumerate(found.values(), 1)
    ]
    table = DataFrame(rows, columns=["ranking", "factor", "curve", "layer", "density"])
    thin = (table.density <= 2).groupby([table.ranking, table.factor], sort=False).sum()
    said = thin.map("layers at 2 % or less, both masks together: {}".format)
    return Explorer(
        table, ("ranking", "factor"), x="layer", y="density", captions=said.rename("caption").reset_index(),
        styles={LOWEST: "dashed"}, colours=HUES,
        labels=dict(density="weights kept, %", factor="scores grow"), units=dict(factor="{} times"),
        start=dict(ranking="global", factor=1.5), title="What is left of six layers", name="toy",
    )  # fmt: skip
