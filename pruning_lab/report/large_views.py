"""What figures of nets under masks draw: tables of `large` -> rows of figures, explorers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from ..widgets import Explorer
from . import claims
from .evidence import Evidence
from .large import DENSE, GLOBAL, KIND, NAMES, NO_FLOOR, PANELS, kinds, level, masked, minus, named, thirds
from .page import Page

CURVES = {"best": "keeps the best", "worst": "keeps the worst", "ERK": "ERK", "": "random"}
FLOORED = "on the floor or empty"
BLUE, GREEN, ORANGE, GREY = "#0072B2", "#009E73", "#D55E00", "#808080"
FIGURES = {  # of one model: title, name of the file, words for who does not see it
    "levels": ("{net}, {data}: one tenth of the weights", "{model}-{profile}",
               "{net}: test and training accuracy of dense nets and of nets under each mask."),
    "dense": ("{net}, {data}: masked minus dense", "dense-{model}",
              "{net}: test accuracy under each mask minus that of the dense net of the same seed."),
    "layers": ("{net}, {data}: weights kept by layer, %", "layers-{model}",
               "{net}: density of each layer by depth under global masks by magnitude and by diff."),
}  # fmt: skip
BLUE, GREEN, ORANGE, GREY = "#0072B2", "#009E73", "#D55E00", "#808080"


def about(page: Page, figure: str, model: str, found: Evidence | None = None, part: str = "") -> dict[str, str]:
    """What a figure of one model carries."""
    of = page.shown if found is None else found
    told = dict(net=NAMES[model], data=of.data(model), model=model, profile=of.profile)
    title, file, alt = (words.format(**told) for words in FIGURES[figure])
    return page.about(file, title=title + part, alt=alt, found=of)


def _summed(values: Sequence[float]) -> dict[str, Any]:
    return dict(zip(("mean", "low", "high"), claims.interval(values), strict=True)) | dict(n=len(values), values=list(values))


def _drawn(parts: Mapping[str, tuple[str, Sequence[float]]]) -> pd.DataFrame:
    """Rows of `figures.differences` from label -> (group, one number a net); those without a net are left out."""
    found = [dict(label=label, group=group) | _summed(values) for label, (group, values) in parts.items() if len(values)]
    return pd.DataFrame(found, columns=["label", "group", "mean", "low", "high", "n", "values"])


def by_mask(nets: pd.DataFrame, model: str) -> pd.DataFrame:
    """Rows of `figures.levels`: test accuracy by mask, a panel a ranking, dense nets first in both; `beside` is the training accuracy."""
    rows = []
    for ranking, panel in PANELS.items():
        for kind in [DENSE, *kinds(nets, model, ranking)]:
            test, train = (level(nets, model, kind, column=column) for column in ("test", "train"))
            rows += [dict(label=masked(kind[1:]), panel=panel, beside=train.mean()) | _summed(test)] if len(test) else []
    return pd.DataFrame(rows)


def from_dense(nets: pd.DataFrame, model: str) -> pd.DataFrame:
    """Rows of `figures.differences`: test accuracy under each mask minus the dense net's, in points."""
    return _drawn({named(kind): (kind[1], minus(nets, model, kind, DENSE)) for kind in kinds(nets, model, *PANELS)})


def best_minus_worst(nets: pd.DataFrame, models: Iterable[str]) -> pd.DataFrame:
    """Rows of `figures.differences`: the best-ranked mask minus its inverse, in points."""
    pairs = [(model, ranking, c) for model in models for ranking in PANELS for c in ("magnitude", "diff")]
    return _drawn({f"{NAMES[model]}, {ranking}: {c}": (c, minus(nets, model, (ranking, c, "best"), (ranking, c, "worst")))
                   for model, ranking, c in pairs})  # fmt: skip


def choices(nets: pd.DataFrame, models: Iterable[str]) -> pd.DataFrame:
    """Rows of `figures.differences`: nets of each variant minus those that are usual, in points."""
    parts = {}
    for model in models:
        odd = nets[(nets.model == model) & (nets.variant != "")]
        for *kind, variant, label in odd[[*KIND, "variant", "label"]].drop_duplicates().itertuples(index=False):
            gaps = level(nets, model, tuple(kind), variant=variant) - level(nets, model, tuple(kind))
            parts[f"{NAMES[model]}, {label}"] = kind[1], gaps.dropna().tolist()
    return _drawn(parts)


def by_depth(layers: pd.DataFrame, model: str) -> pd.DataFrame:
    """Rows of `figures.panels`: density by depth under the global masks of a model, in the columns magnitude and diff by criterion;
    random masks with ERK's densities are in both."""
    usual = (layers.model == model) & (layers.variant == "") & (layers.ranking == "global")
    part = layers[usual & layers.end.isin(("best", "worst", "ERK"))]
    part = part.assign(mask=[masked(mask) for mask in part[KIND[1:]].itertuples(index=False)])
    return part.assign(**{c: part.density.where(part.criterion.isin((c, "random"))) for c in ("magnitude", "diff")})


def late_over_early(layers: pd.DataFrame, models: Iterable[str]) -> pd.DataFrame:
    """Rows of `figures.differences`: `thirds` of each ranked mask."""
    ranked = [(model, kind) for model in models for kind in GLOBAL if kind[2]]
    return _drawn({f"{NAMES[m]}: {masked(kind[1:])}": (kind[1], thirds(layers, m, kind).tolist()) for m, kind in ranked})


def layer_explorer(layers: pd.DataFrame) -> Explorer | None:
    """Density by depth of every mask, means over nets, at least 0.2 %; dots where a layer is on the floor in any. None: not run."""
    part = layers[layers.end.isin(list(CURVES)) & layers.variant.isin(("", NO_FLOOR))]
    if part.empty:
        return None
    means = part.groupby(["model", *KIND, "variant", "depth"], sort=False).agg(density=("density", "mean"), floored=("floored", "max"))
    means = means.reset_index().assign(density=lambda t: t.density.clip(lower=0.2), net=lambda t: t.model.map(NAMES))
    means = means.assign(ranking=means.ranking + means.variant.radd(", ").where(means.variant != "", ""), curve=means.end.map(CURVES))
    look = {"keeps the best": "line", "keeps the worst": "dashed", FLOORED: "dots"}
    hues = {"keeps the best": BLUE, "keeps the worst": BLUE, "ERK": GREEN, "random": GREY, FLOORED: ORANGE}
    labels = dict(density="weights kept, %", depth="layer, by depth")
    return Explorer(
        pd.concat([means, means[means.floored.astype(bool)].assign(curve=FLOORED)]), ("net", "criterion", "ranking"),
        x="depth", y="density", styles=look, colours=hues, log=("y",), labels=labels, start=dict(criterion="diff"),
        title="Weights kept by layer", name="layers",
    )  # fmt: skip


def epoch_explorer(epochs: pd.DataFrame) -> Explorer | None:
    """Accuracy by epoch under every mask, means over nets, with the dense nets' behind. None: not run."""
    part = epochs[epochs.variant == ""].assign(net=lambda t: t.model.map(NAMES))
    means = part.groupby(["net", *KIND, "epoch"], sort=False)[["train_accuracy", "test_accuracy"]].mean().mul(100).reset_index()
    long = means.melt(["net", *KIND, "epoch"], var_name="images", value_name="accuracy")
    dense = long[(long.criterion == "dense") & (long.images == "test_accuracy")].drop(columns="ranking").assign(curve="dense, test images")
    own = long[long.criterion != "dense"]
    own = own.assign(mask=[masked(mask) for mask in own[KIND[1:]].itertuples(index=False)])
    own = own.assign(curve=own.images.map({"train_accuracy": "training images", "test_accuracy": "test images"}))
    if own.empty:
        return None
    return Explorer(
        pd.concat([own, dense]), ("net", "mask", "ranking"), x="epoch", y="accuracy", styles={"training images": "dashed"},
        colours={"training images": BLUE, "test images": BLUE, "dense, test images": GREY}, labels=dict(accuracy="accuracy, %"),
        ranges=dict(y=(0, 100)), title="Accuracy while the child trains", name="epochs",
    )  # fmt: skip


def toy(masks: Mapping[tuple[str, float, bool], Mapping[str, Any]]) -> Explorer:
    """Masks of layers by ranking, factor from layer to layer, and whether the lowest scores stay -> what is left of each layer."""
    rows = [dict(ranking=ranking, factor=factor, curve="keeps the lowest" if lowest else "keeps the highest scores", layer=k,
                 density=100 * (int(mask.sum()) / mask.numel()))
            for (ranking, factor, lowest), found in masks.items() for k, mask in enumerate(found.values(), 1)]  # fmt: skip
    table = pd.DataFrame(rows)
    thin = (table.density <= 2).groupby([table.ranking, table.factor], sort=False).sum().rename("thin").reset_index()
    captions = thin.assign(caption=[f"layers at 2 % or less, both masks together: {count}" for count in thin.thin])
    hues = {"keeps the highest scores": BLUE, "keeps the lowest": BLUE}
    return Explorer(
        table, ("ranking", "factor"), x="layer", y="density", styles={"keeps the lowest": "dashed"}, colours=hues,
        captions=captions.drop(columns="thin"), labels=dict(density="weights kept, %", factor="scores grow by"),
        start=dict(ranking="global", factor=1.5), title="What is left of six layers", name="toy",
    )  # fmt: skip
