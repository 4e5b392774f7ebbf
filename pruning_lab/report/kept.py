"""What masks keep: shares of layers, how early the mask is known, how children learn under it, a toy."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

import pandas as pd
import torch

from .. import masks
from ..experiments import MaskedTraining, MaskSources
from ..figures.style import INK
from ..records.experiment import Experiment
from ..widgets import Explorer
from .evidence import Evidence
from .masks import named, ran, ranked, ranks, tenths
from .reads import run

LAYERS = ("fc1", "fc2", "fc3", "fc4", "out")
CONTROLS = ["width", "mask", "density"]
LABELS = dict(accuracy="accuracy, %", density="density", width="width of the dense net")
LOOKS = {"training": "dashed", "test": "line", "dense, training": "dashed", "dense, test": "line"}
HUES = {"training": "#44AA99", "test": "#44AA99", "dense, training": INK, "dense, test": INK}


def layers(table: pd.DataFrame) -> pd.DataFrame:
    """Share of each layer that the best, worst and random masks keep, at the largest width with all that are stored.

    Columns: width, seed, mask, layer, place, density (of the layer, in per cent).
    """
    names = [*ranks(table), *(named(m, "worst") for m in ranked(table)), named("random", "ERK")]
    found = ran(tenths(table))
    found = found[found["mask"].isin(names)]
    masks_at = found.groupby("width")["mask"].nunique()
    widest = max(masks_at.index[masks_at == found["mask"].nunique()], default=None)
    found = found[found.width == widest].sort_values("mask", key=lambda c: c.map(names.index), kind="stable")
    rows = [
        dict(width=net.width, seed=net.seed, mask=net.mask, layer=layer, place=place, density=share)
        for net in found.itertuples() for place, (layer, share) in enumerate(shares(net.experiment).items())
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=["width", "seed", "mask", "layer", "place", "density"])


def shares(e: MaskedTraining) -> dict[str, float]:
    """How much of each layer a mask keeps [%]."""
    arrays = run(e).arrays
    return {name: 100 * kept / of for name, kept, of in zip(LAYERS, arrays["kept"], arrays["weights"], strict=True)}


def learning(table: pd.DataFrame, name: str) -> Explorer | None:
    """How children learn, by width, mask and density, beside the dense net of that width; None: not run."""
    groups = {key: part.experiment.tolist() for key, part in ran(table).groupby(CONTROLS, sort=False)}
    dense = {width: nets for (width, mask, _), nets in groups.items() if mask == "dense"}
    sparse = {key: nets for key, nets in groups.items() if key[1] != "dense"}
    points = [of(key) | point for key, nets in sparse.items() for point in curves_of(nets)]
    if {width for width, *_ in sparse} <= set(dense):
        beside = {width: curves_of(nets) for width, nets in dense.items()}
        points += [of(key) | p | dict(curve=f"dense, {p['curve']}") for key in sparse for p in beside[key[0]]]
    if not sparse:
        return None
    captions = pd.DataFrame([of(key) | dict(caption=caption(nets)) for key, nets in sparse.items()])
    how = dict(styles=LOOKS, colours=HUES, labels=LABELS, title="How a child learns", name=name)
    return Explorer(pd.DataFrame(points), tuple(CONTROLS), x="epoch", y="accuracy", captions=captions, **how)


def of(key: Sequence[Any]) -> dict[str, Any]:
    """The columns that say which width, mask and density a row is of."""
    return dict(zip(CONTROLS, key, strict=True))


def curves_of(nets: Iterable[Experiment]) -> list[dict[str, Any]]:
    """Training and test accuracy [%] by epoch, means over nets: curve, epoch, accuracy."""
    means = pd.concat([run(e).table for e in nets]).groupby("epoch")[["train_accuracy", "test_accuracy"]].mean()
    words = {"train_accuracy": "training", "test_accuracy": "test"}
    return [dict(curve=words[c], epoch=epoch, accuracy=100 * v) for c in means for epoch, v in means[c].items()]


def caption(nets: Collection[MaskedTraining]) -> str:
    """How many nets a curve is the mean of, and what the first one's mask keeps of each layer."""
    kept = ", ".join(f"{layer} {share:.2g} %" for layer, share in shares(next(iter(nets))).items())
    return f"mean of {len(nets)} nets; kept: {kept}"


def settling(found: Evidence, table: pd.DataFrame) -> pd.DataFrame:
    """Rows of `MaskSources` of the parents that were looked at, with width (of the dense net), seed and name."""
    looked = {e.net: e for e in found.of(MaskSources)}
    children = table[table.criterion != "dense"]
    widths = {e.parent: width for e, width in zip(children.experiment, children.width, strict=True)}
    seen = {e: width for e, width in widths.items() if e in looked}
    parts = [run(looked[e]).table.assign(width=w, seed=e.seed, name=f"width {w}") for e, w in seen.items()]
    return pd.concat(parts) if parts else pd.DataFrame(columns=["width", "seed", "name", "epoch", "overlap"])


def toy(densities: Sequence[float]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Two layers of 300 weights, the first with smaller ones, ranked together or alone: points, captions."""
    drawn = torch.Generator().manual_seed(0)
    weights = {"first": torch.randn(300, generator=drawn) / 5, "second": torch.randn(300, generator=drawn) / 3}
    sizes, points, told = {name: w.abs() for name, w in weights.items()}, [], []
    for words, scope in (("together", "global"), ("layer by layer", "local")):
        for density in densities:
            found = masks.build(sizes, density, scope)
            for place, (name, values) in enumerate(weights.items()):
                curves = ["kept" if stays else "removed" for stays in found[name].tolist()]
                spread = [place + 0.3 * (k % 10 - 5) / 5 for k in range(len(values))]
                points.append(pd.DataFrame(dict(curve=curves, weight=values.tolist(), layer=spread)))
                points[-1] = points[-1].assign(ranked=words, density=density)
            kept = ", ".join(f"{name} layer {100 * mask.float().mean():.0f} %" for name, mask in found.items())
            told.append(dict(ranked=words, density=density, caption=f"kept: {kept}"))
    return pd.concat(points, ignore_index=True), pd.DataFrame(told)
