"""Nets trained under masks in numbers: records of children -> tidy tables, one number a net, rows of figures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ..experiments import MaskedTraining
from ..store import Record, find

NAMES = {"resnet50": "ResNet50", "resnet50_cifar": "ResNet50 (small stem)", "vit": "ViT"}
KIND = ["ranking", "criterion", "end"]
Kind = tuple[str, str, str]  # a value of each of KIND
DENSE: Kind = ("", "dense", "")
MASKS = (("random", ""), ("magnitude", "best"), ("magnitude", "worst"), ("diff", "best"), ("diff", "worst"))  # the source's
GLOBAL, LOCAL = ([(ranking, *mask) for mask in MASKS] for ranking in ("global", "local"))
BEST_DIFF: Kind = ("global", "diff", "best")
PANELS = {"global": "ranked globally, 2 % floor", "local": "ranked within each layer"}
VARIANTS = {"output": "output layer {}", "floor": "floor {:g}", "rate": "rate {:g}", "density": "density {:g}"}
NO_FLOOR, SLOW = "no floor", "rate 0.1"
WHICH = ["model", "seed", *KIND, "variant", "label"]  # what a net is
LEARNT = 20  # training accuracy in % that a net has to pass


def described(plan: Iterable[MaskedTraining]) -> pd.DataFrame:
    """What each child of a plan is, a row each in the plan's order.

    experiment, model, seed; ranking ("global" or "local", "" where nothing is removed), criterion ("dense" there) and end (which of
    the ranked weights stay, "best" or "worst", or "shuffled" within layers, or at random in "ERK"'s densities, or "");
    rate, output ("whole" or "masked"), floor, density (NaN where it has none); variant (in what it differs from most children of
    its model, such as "rate 0.1"; "" in nothing); label, what a figure calls it.
    """
    table = pd.DataFrame([_fields(e) for e in dict.fromkeys(plan)], columns=["experiment", "model", "seed", *KIND, *VARIANTS])
    usual = {model: {c: Counter(part[c].dropna()).most_common(1) for c in VARIANTS} for model, part in table.groupby("model")}
    table["variant"] = [_variant(row, usual[row["model"]]) for row in table.to_dict("records")]
    return table.assign(label=[named(kind, more) for *kind, more in table[[*KIND, "variant"]].itertuples(index=False)])


def _fields(e: MaskedTraining) -> dict[str, object]:
    dense = e.density == 1
    ranked = "" if e.criterion == "random" else "worst" if e.invert else "best"
    kind = e.scope if e.scope == "local" else "global", e.criterion, "shuffled" if e.shuffle else "ERK" if e.scope == "erk" else ranked
    floor = np.nan if dense or e.scope != "global" else e.floor
    trained = dict(rate=(e.recipe or e.parent.recipe).lr, output="whole" if "out.weight" in e.skip else "masked")
    fields = dict(experiment=e, model=e.parent.model, seed=e.seed) | dict(zip(KIND, DENSE if dense else kind, strict=True))
    return fields | trained | dict(floor=floor, density=np.nan if dense else e.density)


def _variant(row: Mapping[str, Any], usual: Mapping[str, list[tuple[Any, int]]]) -> str:
    """In what a child differs from most; what it has none of (NaN) is no difference."""
    odd = {c: row[c] for c in VARIANTS if row[c] == row[c] and row[c] != usual[c][0][0]}
    return ", ".join(NO_FLOOR if (c, value) == ("floor", 0) else VARIANTS[c].format(value) for c, value in odd.items())


def named(kind: Sequence[str], variant: str = "") -> str:
    """A kind of net as figures call it, such as "global: diff, best; no floor"."""
    ranking, *mask = kind
    head = f"{ranking}: {masked(mask)}" if ranking else masked(mask)
    return "; ".join(filter(None, (head, variant)))


def masked(mask: Sequence[str]) -> str:
    """A mask as figures call it, such as "diff, best"."""
    return ", ".join(filter(None, mask))


def nets(plan: Iterable[MaskedTraining]) -> pd.DataFrame:
    """Rows of `described`, with accuracy after the last epoch in % (test, train) and how many layers are on the floor (floored).

    NaN where no record is stored: the net's loss ran away, or it was not run.
    """
    table, columns = described(plan), ["test", "train", "floored"]
    ends = {row["experiment"]: _end(row["experiment"], record) for row, record in _records(table)}
    return table.join(pd.DataFrame([ends.get(e, [np.nan] * 3) for e in table.experiment], columns=columns, dtype=float))


def _records(table: pd.DataFrame) -> Iterator[tuple[dict[str, Any], Record]]:
    """The rows of `described` that are stored, each with its record."""
    for row in table.to_dict("records"):
        if (record := find(row["experiment"])) is not None:
            yield row, record


def _end(e: MaskedTraining, record: Record) -> list[float]:
    last = record.table.iloc[-1]
    return [100 * last.test_accuracy, 100 * last.train_accuracy, on_floor(e.floor, record.arrays).sum()]


def on_floor(floor: float, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    """Which layers of a net keep no more than the floor, of those that its mask covers, [layers] bool."""
    return arrays["covered"] & (arrays["kept"] <= np.ceil(np.round(floor * arrays["weights"], 6)))


def layers(plan: Iterable[MaskedTraining]) -> pd.DataFrame:
    """A row a masked layer of each stored net that is not dense: what the net is (as `described`), layers (the layer's name), depth
    (1 reads the image), weights, kept, density (%), floored (no more is left than the floor)."""
    parts = []
    for row, record in _records(described(plan)):
        if row["criterion"] != "dense":
            seen = pd.DataFrame({name: record.arrays[name] for name in ("layers", "weights", "kept")})
            seen = seen.assign(floored=on_floor(row["experiment"].floor, record.arrays))[record.arrays["covered"]]
            told = {name: row[name] for name in WHICH}
            parts.append(seen.assign(**told, depth=range(1, 1 + len(seen)), density=100 * seen.kept / seen.weights))
    return pd.concat(parts) if parts else pd.DataFrame(columns=[*WHICH, "layers", "depth", "weights", "kept", "density", "floored"])


def epochs(plan: Iterable[MaskedTraining]) -> pd.DataFrame:
    """A row an epoch of each stored net: what the net is (as `described`), epoch, train_accuracy and test_accuracy in [0, 1]."""
    columns, parts = ["epoch", "train_accuracy", "test_accuracy"], []
    for row, record in _records(described(plan)):
        parts.append(record.table[columns].assign(**{name: row[name] for name in WHICH}))
    return pd.concat(parts) if parts else pd.DataFrame(columns=[*columns, *WHICH])


def resnets(nets: pd.DataFrame) -> list[str]:
    """The ResNet50s of which any net is stored; the one with the small stem where none is."""
    both = nets[nets.model.isin(("resnet50", "resnet50_cifar")) & nets.test.notna()]
    return sorted(both.model.unique()) or ["resnet50_cifar"]


def level(nets: pd.DataFrame, model: str, *kinds: Kind, column: str = "test", variant: str = "") -> pd.Series:
    """Of each seed the highest number of these kinds of nets; seeds that lack one of the kinds are left out."""
    part = nets[(nets.model == model) & (nets.variant == variant)]
    wide = part.pivot(index="seed", columns=KIND, values=column).reindex(columns=pd.MultiIndex.from_tuples(kinds))
    return wide.max(axis=1, skipna=False).dropna()


def minus(nets: pd.DataFrame, model: str, first: Kind | list[Kind], second: Kind | list[Kind]) -> list[float]:
    """Test accuracy of one kind of net minus another's in points, one number a seed; of several kinds the best."""
    a, b = (level(nets, model, *(kinds if isinstance(kinds, list) else [kinds])) for kinds in (first, second))
    return (a - b).dropna().tolist()


def kinds(nets: pd.DataFrame, model: str, *rankings: str) -> list[Kind]:
    """The kinds of nets with these rankings that a plan has, in its order."""
    part = nets[(nets.model == model) & (nets.variant == "") & nets.ranking.isin(rankings)]
    return list(dict.fromkeys(part[KIND].itertuples(index=False, name=None)))


def of_kind(layers: pd.DataFrame, model: str, kind: Kind) -> pd.DataFrame:
    """The layers of the usual nets of one kind."""
    same = (layers[KIND] == list(kind)).all(axis=1)
    return layers[same & (layers.model == model) & (layers.variant == "")]


def thirds(layers: pd.DataFrame, model: str, kind: Kind) -> pd.Series:
    """Log of the mean density of the last third of the layers over that of the first, by seed."""
    found = {}
    for seed, part in of_kind(layers, model, kind).groupby("seed"):
        last = part.depth.max()
        early, late = part.density[part.depth <= last // 3], part.density[part.depth > last - last // 3]
        found[seed] = float(np.log(late.mean() / early.mean()))
    return pd.Series(found, dtype=float)


def lost(nets: pd.DataFrame, model: str) -> pd.DataFrame:
    """Rows of the nets of a model that failed: training accuracy of no more than 20 %, or a loss that ran away. None where none was run.

    Beside them again_test (the same net's test accuracy at rate 0.1, NaN: not run) and learns (whether that net learns).
    """
    own = nets[nets.model == model]
    failed = own[(own.variant == "") & ~(own.train > LEARNT)] if own.train.notna().any() else own[:0]
    again = own[own.variant == SLOW].assign(again_test=lambda t: t.test, learns=lambda t: t.train > LEARNT)
    return failed.merge(again[[*KIND, "seed", "again_test", "learns"]], how="left", on=[*KIND, "seed"])


def lost_table(nets: pd.DataFrame, model: str) -> pd.DataFrame | None:
    """The nets that failed, for the page; None where there is none."""
    failed = lost(nets, model)
    told = {"mask": failed.label, "seed": failed.seed}
    told |= {"training accuracy, %": _told(failed.train, "ran away"), "test accuracy, %": _told(failed.test, "ran away")}
    told |= {"layers on the floor": _told(failed.floored, "unknown", 0)}
    told |= {"test accuracy at rate 0.1, %": _told(failed.again_test, "not run")}
    return pd.DataFrame(told) if len(failed) else None


def _told(values: pd.Series, missing: str, digits: int = 1) -> list[str]:
    return [f"{value:.{digits}f}" if value == value else missing for value in values]
