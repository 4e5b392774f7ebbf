"""What units are worth: accuracies along orders of removal, and each unit alone -> tables, claims, sentences."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from .. import figures, metrics
from ..experiments import UnitCurve, UnitImportance
from ..nets import models
from . import evidence, held, live
from .evidence import Evidence
from .numbers import drawn, spoken
from .page import Page
from .reads import run

NAMES = {"lenet_300_100": "LeNet", "conv_2": "Conv-2", "vgg19_bn": "VGG19"}
SOURCE = dict(init="default", scale="unit", shuffle=True, keep="last")  # unless the page says otherwise
FIRST = ("norm", "frame_potential", "random")  # the criteria of the source
CLAIMS = {  # claim -> the order that does better by it, and the worse one: criterion, which score goes first
    "FP1": (("norm", "lowest"), ("frame_potential", "lowest")),
    "FP2": (("frame_potential", "lowest"), ("random", "lowest")),
    "FP3": (("random", "lowest"), ("frame_potential", "highest")),
}
HALVES = {"first half of the units": (0.0, 0.5), "second half": (0.5, 1.0)}
NORM_HELD, ANGLE = "share and worth, norm held", "share and worth"
MANY_DEAD, LIVE = ("conv_2", "fc1"), "Conv-2 fc1, live units"  # a layer of which half never fires, and its own part
PAIRS = {
    "share and norm": ("share", "norm"),
    ANGLE: ("share", "loss_increase"),
    "norm and worth": ("norm", "loss_increase"),
}
THEIRS = {  # the source's names say what happens to the matrix that is left
    "max_mag": ("norm", "lowest"),
    "min_mag": ("norm", "highest"),
    "max_fp": ("frame_potential", "lowest"),
    "min_fp": ("frame_potential", "highest"),
    "random": ("random", "lowest"),
}
PRINTED = {"lenet_300_100": "266K", "conv_2": "4.3M", "conv_6": "1.7M", "vgg19": "20.0M"}
CROSSES = "The crosses were read off figure 2a of the source: one net, good to about two points."
SMALL = "Compare the order of the lines, not their height: digits are easier, and Conv-2 is narrower."
SETTINGS = {  # whether the nets are the source's -> what the page says of its crosses, and how many images it held out
    True: dict(crosses=CROSSES, held_out="5,000"),
    False: dict(crosses="", held_out="100"),
}
NOT_RUN = "This layer has not been run at this size yet."
Where = tuple[str, str]  # a model and one of its layers


def place(found: Evidence, model: str, layer: str) -> str:
    """A layer and the data of its nets, such as "Conv-2 fc1, CIFAR-10"."""
    return ", ".join(filter(None, (f"{NAMES[model]} {layer}", found.data(model))))


def about(page: Page, model: str, layer: str) -> dict[str, str]:
    """What the figure of one layer's curves carries."""
    where = place(page.shown, model, layer)
    alt = f"{where}: accuracy against units removed, by criterion."
    return page.about(f"{model}-{layer}", title=f"Test accuracy as units go: {where}", alt=alt)


def curves(found: Evidence, model: str, layer: str, **choice: object) -> pd.DataFrame:
    """Rows of `UnitCurve` of one layer, a row an order, a number of removed units and a seed; empty if not run."""
    return found.table(UnitCurve, model=model, layer=layer, **(SOURCE | choice))


def panels(found: Evidence, where: Iterable[Where]) -> dict[str, pd.DataFrame]:
    """The curves of layers, by the words over their panel."""
    return {place(found, *one): curves(found, *one) for one in where}


def crosses() -> dict[str, dict[int, float]]:
    """Heitmann's figure 2a: an order such as "norm/lowest" -> units removed -> accuracy in per cent."""
    read = evidence.reference("heitmann_lenet_fc1")["accuracy_after_removing"]
    return {"/".join(THEIRS[name]): points for name, points in read.items()}


def difference(table: pd.DataFrame, claim: str, first: float = 0.0, last: float = 1.0) -> pd.Series:
    """The claim's better curve minus its worse one, averaged over a part of the cuts: points, by seed of the nets that
    have both.
    """
    better, worse = CLAIMS[claim]
    means = metrics.curve_means(table, first, last).reindex(columns=pd.MultiIndex.from_tuples([better, worse]))
    return (means[better] - means[worse]).dropna()


def parts(found: Evidence, where: Iterable[Where], claim: str) -> dict[str, pd.Series]:
    """Parts of one of `CLAIMS`: its difference in each layer, and over the cuts that take a live unit."""
    each = {f"{NAMES[model]} {layer}": difference(curves(found, model, layer), claim) for model, layer in where}
    return each | {LIVE: difference(live.moving(curves(found, *MANY_DEAD)), claim)}


def halves(found: Evidence, where: Iterable[Where]) -> pd.DataFrame:
    """FP2's difference at cuts of up to half of the units, and at those from half on, a row a layer."""
    rows = []
    for model, layer in sorted(where):
        table = curves(found, model, layer)
        spans = {name: spoken(difference(table, "FP2", *span)) for name, span in HALVES.items()}
        rows.append({"share minus random, points": f"{NAMES[model]} {layer}"} | spans)
    return pd.DataFrame(rows)


def worth(found: Evidence, model: str, layer: str, seed: int = 0) -> pd.DataFrame:
    """Rows of `UnitImportance` of one net's layer, a row a unit; empty if not run."""
    return found.table(UnitImportance, model=model, layer=layer, seed=seed, **SOURCE)


def correlations(table: pd.DataFrame) -> dict[str, float]:
    """Rank correlations of one net's units: of each of `PAIRS`, and of share with worth, the norm taken out of both."""
    found = {name: metrics.rank_correlation(table[one], table[other]) for name, (one, other) in PAIRS.items()}
    return found | {NORM_HELD: metrics.partial_rank_correlation(table.share, table.loss_increase, table.norm)}


def ranks(found: Evidence, where: Iterable[Where]) -> dict[str, pd.DataFrame]:
    """`correlations` by layer, a row a net, by seed; empty where a layer was not run."""
    columns = [*PAIRS, NORM_HELD]
    rows = {one: {e.parent.seed: correlations(run(e).table) for e in importances(found, *one)} for one in where}
    return {
        f"{NAMES[model]} {layer}": pd.DataFrame.from_dict(nets, orient="index", columns=columns, dtype=float)
        for (model, layer), nets in rows.items()
    }


def importances(found: Evidence, model: str, layer: str) -> list[UnitImportance]:
    """What measured each unit of a layer alone, one a net."""
    return found.of(UnitImportance, model=model, layer=layer, **SOURCE)


def angles(found: Evidence, where: Iterable[Where]) -> dict[str, pd.Series]:
    """Parts of FP4: rank correlation of share with worth by layer, the same with the norm held, and of live units."""
    ranked = ranks(found, where)
    raw = {layer: table[ANGLE].dropna() for layer, table in ranked.items()}
    length = {f"{layer}{held.HELD}": table[NORM_HELD].dropna() for layer, table in ranked.items()}
    firing = {e.parent.seed: correlations(live.firing(run(e).table))[ANGLE] for e in importances(found, *MANY_DEAD)}
    return raw | length | {LIVE: pd.Series(firing, dtype=float).dropna()}


def averages(ranked: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """The means over nets of `ranks`, a row a layer that was run."""
    return pd.DataFrame([{"rank correlation of": name, **table.mean()} for name, table in ranked.items() if len(table)])


def choices(found: Evidence, others: Mapping[str, Mapping[str, object]], where: Where) -> pd.DataFrame:
    """The claims' differences in one layer, in points, as above and under every other choice, a row each."""
    rows = []
    for name, choice in {"as above": {}, **others}.items():
        table = curves(found, *where, **choice)
        spans = {claim: spoken(difference(table, claim)) for claim in CLAIMS}
        rows.append({f"{NAMES[where[0]]} {where[1]}": name, **spans, "nets": table.seed.nunique() if len(table) else 0})
    return pd.DataFrame(rows)


def shifts(found: Evidence, others: Mapping[str, Mapping[str, object]], where: Where) -> pd.DataFrame:
    """How far every other choice moves the mean accuracy of the source's curves, in points, over nets of one seed.

    Rows for `figures.differences`; a choice not run has none.
    """
    ours = _lowest(curves(found, *where))
    moved = {name: _lowest(curves(found, *where, **choice)) - ours for name, choice in others.items()}
    parts = [
        (name, criterion, shift[criterion].dropna().tolist()) for name, shift in moved.items() for criterion in FIRST
    ]
    rows = drawn((f"{name}: {figures.words(criterion)}", criterion, values) for name, criterion, values in parts)
    return rows.assign(verdict="shift")


def _lowest(table: pd.DataFrame) -> pd.DataFrame:
    """Mean accuracy along the source's orders, lowest score first, in points: a row a net, a column a criterion."""
    orders = pd.MultiIndex.from_product([FIRST, ["lowest"]])
    return metrics.curve_means(table).reindex(columns=orders).droplevel(1, axis="columns")


def sizes() -> pd.DataFrame:
    """The numbers of weights that the source's table prints, and what its layers have, without biases; a row a net."""
    shapes = {name: (1, 28, 28) if name == "lenet_300_100" else (3, 32, 32) for name in PRINTED}
    counts = [models.weight_count(models.build(name, shape)) for name, shape in shapes.items()]
    return pd.DataFrame({"net": PRINTED.keys(), "the table prints": PRINTED.values(), "its layers have": counts})


def size_words() -> dict[str, str]:
    """How many per cent Conv-6 has more than printed, the two hidden layers of VGG19's head, and VGG19 without them."""
    counts = sizes().set_index("net")["its layers have"]
    head = sum(layer.weight.numel() for layer in models.build("vgg19", (3, 32, 32))[-5:-1] if hasattr(layer, "weight"))
    more = 100 * counts.conv_6 / 1.7e6 - 100
    return dict(conv6_more=f"{more:.0f}", vgg_head=f"{head:,}", vgg_short=f"{counts.vgg19 - head:,}")


def half(table: pd.DataFrame) -> pd.Series:
    """Accuracy in per cent with half of the units gone, lowest score first, by criterion; the mean over nets."""
    middle = table[(table.removed == table.removed.max() // 2) & (table["remove"] == "lowest")]
    return 100 * middle.groupby("criterion").accuracy.mean()


def left(table: pd.DataFrame) -> str:
    """What is left of a layer's accuracy with half of its units gone."""
    if table.empty or not {*FIRST} <= {*table.criterion}:
        return NOT_RUN
    whole, at = 100 * table[table.removed == 0].accuracy.mean(), half(table)
    return (
        f"The nets start at {whole:.1f} %. With half of the units gone, {at.norm:.1f} % is left by norm, "
        f"{at.frame_potential:.1f} % by share of the frame potential and {at.random:.1f} % in random order."
    )


def gap(table: pd.DataFrame, order: str, points: Mapping[int, float]) -> float:
    """Published points (units removed -> per cent) minus our mean curve along that order, averaged over the points."""
    criterion, remove = order.split("/")
    rows = table[(table.criterion == criterion) & (table["remove"] == remove)]
    ours = 100 * rows.groupby("removed").accuracy.mean()
    return float(np.mean([value - ours[n] for n, value in points.items()]))


def gaps(table: pd.DataFrame) -> str:
    """How far the source's points lie from our lines, on average; nothing where there are none of ours."""
    if table.empty:
        return ""
    found = {order: gap(table, order, points) for order, points in crosses().items()}
    said = [f"{figures.line_name(*order.split('/'))} {value:+.1f}" for order, value in found.items()]
    return f" The source's points minus our lines, averaged: {'; '.join(said)} points."


def sentences(page: Page, where: Sequence[Where]) -> dict[str, str]:
    """What the page says, by the names that its prose has for it; `where` names the layers of its three figures."""
    found, names = page.shown, ("lenet_read", "fc1_read", "conv2_read")
    told = {name: left(curves(found, *one)) for name, one in zip(names, where, strict=True)}
    told["lenet_read"] += gaps(curves(found, *where[0])) if page.is_source else ""
    narrow = page.profile in ("smoke", "laptop") and "dataset" not in page.given
    return told | dict(own_note=SMALL if narrow else "") | SETTINGS[page.is_source] | size_words()
