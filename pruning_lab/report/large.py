"""Nets trained under masks in numbers: records of children -> tidy tables, one number a net."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from pandas import DataFrame

from ..experiments import MaskedTraining
from ..records.store import Record
from . import reads
from .reads import find

NAMES = {"resnet50": "ResNet50", "resnet50_cifar": "ResNet50 (small stem)", "vit": "ViT"}
KIND = ["ranking", "criterion", "end"]
Kind = tuple[str, str, str]  # a value of each of KIND
RANKINGS = ("global", "local")
MASKS = [("random", ""), *((c, end) for c in ("magnitude", "diff") for end in ("best", "worst"))]  # the source's
GLOBAL, LOCAL = ([(ranking, *mask) for mask in MASKS] for ranking in RANKINGS)
DENSE: Kind = ("", "dense", "")
VARIANTS = {"output": "output layer {}", "floor": "floor {:g}", "rate": "rate {:g}", "density": "density {:g}"}
NO_FLOOR, SLOW = "no floor", "rate 0.1"
READY = ["steady", "settled"]
NET = ["model", "seed", *KIND, "variant", "label"]
NORMED = ("resnet50", "resnet50_cifar")  # nets with batch norms
FITS = 99  # training accuracy in % of dense nets that fit
STARVES = 0.1  # of the layers that a mask covers, on the floor
LEARNT = 20  # training accuracy in % that a net has to pass
LOST = {  # column of the page -> of `lost`, format, words where there is no number
    "training accuracy, %": ("train", "{:.1f}", "no record"),
    "test accuracy, %": ("test", "{:.1f}", "no record"),
    "layers on the floor": ("floored", "{:.0f}", "unknown"),
    "test accuracy at rate 0.1, %": ("again", "{:.1f}", "not run"),
}


def described(plan: Iterable[MaskedTraining]) -> DataFrame:
    """What each child of a plan is: a row each, in the plan's order.

    experiment, model, seed; ranking ("global" or "local", "" where nothing is removed); criterion ("dense" there); end
    (which of the ranked weights stay, "best" or "worst", or "shuffled" within layers, or "ERK", or ""); rate, output
    ("whole" or "masked"), floor, density (NaN where it has none); variant (in what it differs from most children of its
    model, such as "rate 0.1"; "" in nothing); label (what a figure calls it); steady (is it tested with statistics of
    batch norms that are those of its weights: refreshed, or after a drop of the rate?), settled (are its diffs, if it
    has any, of a peak by such statistics?).
    """
    rows = [_fields(e) for e in dict.fromkeys(plan)]
    table, usual = DataFrame(rows, columns=["experiment", *NET[:5], *VARIANTS, *READY]), {}
    for model, part in table.groupby("model"):
        usual[model] = {c: Counter(part[c].dropna()).most_common(1) for c in VARIANTS}
    table["variant"] = [_variant(row, usual[row["model"]]) for row in table.to_dict("records")]
    labels = [named(kind, more) for *kind, more in table[[*KIND, "variant"]].itertuples(index=False)]
    return table.assign(label=labels)


def _fields(e: MaskedTraining) -> dict[str, Any]:
    ranked = "" if e.criterion == "random" else "worst" if e.invert else "best"
    end = "shuffled" if e.shuffle else "ERK" if e.scope == "erk" else ranked
    kind = "local" if e.scope == "local" else "global", e.criterion, end
    fields = dict(experiment=e, model=e.parent.model, seed=e.seed, rate=(e.recipe or e.parent.recipe).lr)
    fields |= dict(output="whole" if "out.weight" in e.skip else "masked")
    fields |= dict(steady=_steady(e), settled=e.refreshed or e.criterion != "diff" or e.parent.model not in NORMED)
    if e.density == 1:
        return fields | dict(zip(KIND, DENSE, strict=True))
    floor = e.floor if e.scope == "global" else np.nan
    return fields | dict(zip(KIND, kind, strict=True)) | dict(floor=floor, density=e.density)


def _steady(e: MaskedTraining) -> bool:
    """Whether a child's batch norms have the statistics of its weights when it is tested, or it has none."""
    return e.refreshed or bool((e.recipe or e.parent.recipe).drops) or e.parent.model not in NORMED


def _variant(row: Mapping[str, Any], usual: Mapping[str, list[tuple[Any, int]]]) -> str:
    """In what a child differs from most; what it has none of (NaN) is no difference."""
    odd = {c: row[c] for c in VARIANTS if row[c] == row[c] and row[c] != usual[c][0][0]}
    return ", ".join(NO_FLOOR if (c, is_) == ("floor", 0) else VARIANTS[c].format(is_) for c, is_ in odd.items())


def named(kind: Sequence[str], variant: str = "") -> str:
    """A kind of net as figures call it, such as "global: diff, best; no floor"."""
    ranking, *mask = kind
    head = ": ".join(filter(None, (ranking, masked(mask))))
    return "; ".join(filter(None, (head, variant)))


def masked(mask: Sequence[str]) -> str:
    """A mask as figures call it, such as "diff, best"."""
    return ", ".join(filter(None, mask))


def _records(table: DataFrame) -> Iterator[tuple[MaskedTraining, dict[str, Any], Record]]:
    """Of the rows of `described` those that are stored: the experiment, the columns NET, the record."""
    for row in table.to_dict("records"):
        if (record := find(row["experiment"])) is not None:
            yield row["experiment"], {name: row[name] for name in NET}, record


def nets(plan: Iterable[MaskedTraining]) -> DataFrame:
    """Rows of `described` with test, train (accuracy in the end, %, with refreshed statistics where there are), floored
    (layers on the floor) and covered (layers that the mask covers).

    NaN where no record is stored: the net's loss ran away, or it was not run.
    """
    table, ends = described(plan), {}
    for e, _, record in _records(table):
        last = record.table.iloc[-1]
        train, test = record.arrays.get("refreshed", (last.train_accuracy, last.test_accuracy))
        ends[e] = [100 * test, 100 * train, on_floor(e.floor, record.arrays).sum(), record.arrays["covered"].sum()]
    found = [ends.get(e, [np.nan] * 4) for e in table.experiment]
    return table.join(DataFrame(found, columns=["test", "train", "floored", "covered"], dtype=float))


def on_floor(floor: float, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    """Which layers of a net keep no more than the floor, of those that its mask covers, [layers] bool."""
    return arrays["covered"] & (arrays["kept"] <= np.ceil(np.round(floor * arrays["weights"], 6)))


def layers(plan: Iterable[MaskedTraining]) -> DataFrame:
    """A row a masked layer of each stored net that is not dense.

    Columns: NET, layers (the layer's name), depth (1 reads the image), weights, kept, density (%), floored (bool).
    """
    parts = [DataFrame(columns=[*NET, "layers", "depth", "weights", "kept", "density", "floored"])]
    for e, net, record in _records(described(plan)):
        if net["criterion"] != "dense":
            seen = DataFrame({name: record.arrays[name] for name in ("layers", "weights", "kept")})
            seen = seen.assign(floored=on_floor(e.floor, record.arrays), **net, experiment=e)[record.arrays["covered"]]
            parts.append(seen.assign(depth=range(1, 1 + len(seen)), density=100 * seen.kept / seen.weights))
    return pd.concat(parts[1:] or parts)


def epochs(plan: Iterable[MaskedTraining]) -> DataFrame:
    """A row an epoch of each stored net: the columns NET, epoch, train_accuracy and test_accuracy in [0, 1]."""
    columns = ["epoch", "train_accuracy", "test_accuracy"]
    parts = [record.table[columns].assign(**net, experiment=e) for e, net, record in _records(described(plan))]
    return pd.concat(parts or [DataFrame(columns=[*columns, *NET])])


def resnets(nets: DataFrame) -> list[str]:
    """The ResNet50s of which any net is stored; the one with the small stem where none is."""
    stored = set(nets.model[nets.test.notna()])
    return [model for model in ("resnet50", "resnet50_cifar") if model in stored] or ["resnet50_cifar"]


def level(nets: DataFrame, model: str, *kinds: Kind, column: str = "test", variant: str = "") -> pd.Series:
    """Of each seed the highest number of these kinds of nets; seeds that lack one of the kinds are left out."""
    part = nets[(nets.model == model) & (nets.variant == variant)]
    reads.rows(part[part[KIND].apply(tuple, axis=1).isin(kinds)].dropna(subset=[column]))
    wide = part.pivot(index="seed", columns=KIND, values=column).reindex(columns=pd.MultiIndex.from_tuples(kinds))
    return wide.max(axis=1, skipna=False).dropna()


def minus(nets: DataFrame, model: str, first: Kind | list[Kind], second: Kind | list[Kind]) -> pd.Series:
    """Test accuracy of one kind of net minus another's in points, by seed; of several kinds the best."""
    a, b = (level(nets, model, *(kinds if isinstance(kinds, list) else [kinds])) for kinds in (first, second))
    return (a - b).dropna()


def ready(nets: DataFrame, model: str, *kinds: Kind) -> set[int]:
    """The seeds of which dense nets fit, and nets of these kinds are tested, and their diffs taken, in that regime."""
    usual = nets[(nets.model == model) & (nets.variant == "")]
    fit = set(usual.seed[(usual.criterion == "dense") & (usual.train >= FITS)])
    own = usual[usual[KIND].apply(tuple, axis=1).isin(kinds)]
    return fit - set(own.seed[~(own.steady & own.settled).astype(bool)])


def starved(nets: DataFrame, model: str, kind: Kind) -> set[int]:
    """The seeds of which the mask of this kind has a tenth of its layers on the floor, or more."""
    share = level(nets, model, kind, column="floored") / level(nets, model, kind, column="covered")
    return set(share.index[share >= STARVES])


def kinds(nets: DataFrame, model: str, *rankings: str) -> list[Kind]:
    """The kinds of nets with these rankings that a plan has, in its order."""
    part = nets[(nets.model == model) & (nets.variant == "") & nets.ranking.isin(rankings)]
    return list(dict.fromkeys(part[KIND].itertuples(index=False, name=None)))


def of_kind(layers: DataFrame, model: str, kind: Kind) -> DataFrame:
    """The layers of the usual nets of one kind."""
    same = (layers[KIND] == list(kind)).all(axis=1)
    found = layers[same & (layers.model == model) & (layers.variant == "")]
    reads.rows(found)
    return found


def thirds(layers: DataFrame, model: str, kind: Kind) -> pd.Series:
    """Log of the mean density of the last third of the layers over that of the first, by seed."""
    found = {}
    for seed, part in of_kind(layers, model, kind).groupby("seed"):
        density, third = part.sort_values("depth").density, len(part) // 3
        found[seed] = float(np.log(density.tail(third).mean() / density.head(third).mean()))
    return pd.Series(found, dtype=float)


def lost(nets: DataFrame, model: str) -> DataFrame:
    """Rows of the nets of a model that failed: training accuracy of at most 20 %, or no record where others have one.

    Those were not run, or their loss ran away. Nothing was run: no rows. Beside them again, test accuracy at rate 0.1
    (NaN: not run), and learns (does that?).
    """
    own = nets[nets.model == model]
    failed = own[(own.variant == "") & ~(own.train > LEARNT)] if own.train.notna().any() else own[:0]
    slow = own[own.variant == SLOW].assign(again=lambda t: t.test, learns=lambda t: t.train > LEARNT)
    return failed.merge(slow[[*KIND, "seed", "again", "learns"]], how="left", on=[*KIND, "seed"])


def lost_table(nets: DataFrame, model: str) -> DataFrame:
    """The nets that failed, for the page."""
    failed = lost(nets, model)
    told = {"mask": failed.label, "seed": failed.seed}
    for name, (column, words, none) in LOST.items():
        told[name] = [words.format(number) if number == number else none for number in failed[column]]
    return DataFrame(told)
