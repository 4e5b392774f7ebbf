"""Lengths and angles of a layer's weight vectors: repeats, overlaps, which of both tells worth, a graph."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import torch

from .. import metrics
from ..units import structure
from .found import table
from .parts import Part
from .sight import Seen

REPEATED = 0.9  # cosine from which a unit repeats another
EDGES = 2500  # pairs of a graph, the nearest
DRAWN = 512  # units of a layer whose graph is drawn


def of_units(name: str, weight: torch.Tensor, seen: Seen | None) -> pd.DataFrame:
    """The table `units` of one layer from its weight vectors [units, inputs] float64."""
    cosines = _cosines(weight)
    apart = cosines - np.diag(np.diagonal(cosines) + 2)
    blank = np.full(len(weight), np.nan)
    of_loss = dict(moved=blank, worth=blank)
    if seen is not None:
        of_loss = dict(moved=seen.moved.numpy(), worth=seen.worth.numpy())
    return pd.DataFrame(
        dict(layer=name, unit=np.arange(len(weight)), norm=weight.norm(dim=1).numpy(),
             overlap=np.square(cosines).sum(1), nearest=apart.max(1) if len(weight) > 1 else blank,
             repeats=np.tril(cosines, -1).max(1) >= REPEATED, **of_loss)
    )  # fmt: skip


def _cosines(weight: torch.Tensor) -> np.ndarray:
    return metrics.cosines((weight @ weight.T).numpy())


def why(part: Part, of_layer: pd.DataFrame) -> dict:
    """A row of the table `why`: whether lengths or angles say which unit the loss misses."""
    row = dict(layer=part.name, units=len(of_layer))
    if of_layer.worth.isna().all():
        return row | dict(reason="the loss says nothing of these units: the layer did not run as one group an image")
    if len(of_layer) < 3:
        return row | dict(reason="fewer than three units have no order")
    worth, norm, angle = (v.to_numpy() for v in (of_layer.worth, of_layer.norm, -of_layer.overlap))
    row |= dict(
        norm=metrics.rank_correlation(worth, norm), angle=metrics.rank_correlation(worth, angle),
        norm_alone=metrics.partial_rank_correlation(worth, norm, angle),
        angle_alone=metrics.partial_rank_correlation(worth, angle, norm),
    )  # fmt: skip
    alone = {name: row[f"{name}_alone"] for name in ("norm", "angle")}  # NaN: nothing is left for it to explain
    alone = {name: value for name, value in alone.items() if not math.isnan(value)}
    if not alone:
        return row | dict(reason="the units are equal in worth, norm or angle, so that there is no order to explain")
    return row | dict(by=max(alone, key=alone.get) if max(alone.values()) > 2 / math.sqrt(len(of_layer)) else "neither")


def edges(name: str, weight: torch.Tensor) -> pd.DataFrame:
    """The table `edges` of one layer: pairs nearer than chance, the nearest first, at most `EDGES`."""
    cosines = _cosines(weight)
    one, other = np.triu_indices(len(cosines), 1)
    values = cosines[one, other]
    kept = np.argsort(-values, kind="stable")[:EDGES]
    kept = kept[values[kept] > structure.chance(weight.shape[1])]
    rows = dict(layer=name, one=one[kept], other=other[kept], cosine=values[kept])
    return pd.DataFrame(rows) if len(kept) else table("edges", [])


def drawn(layers: pd.DataFrame) -> str | None:
    """The layer whose graph is worth a look: of those with few enough units the one that repeats most of them."""
    small = layers[layers.repeated.notna() & (layers.units <= DRAWN) & (layers.units >= 3)]
    if small.empty:
        return None
    share = small.repeated.astype(float) / small.units
    return small.layer[share.idxmax()]
