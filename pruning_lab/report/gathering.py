"""Filters of a wide convolution on images: whether they gather, what a small net makes of their centres; units that
repeat, by width.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from .. import metrics
from ..experiments import CentreStart, FilterClusters, Train, UnitCurve, UnitRepeats
from .curves import slopes
from .evidence import Evidence
from .reads import run
from .xord import half_closed

KINDS = {"initial": "at the start", "trained": "trained", "random": "random, trained lengths"}
BIN = 10  # degrees
STARTS = ("large", "small, random weights", "small, from centres")
FITS = 0.99  # training accuracy of the last epoch
UNITS = {
    "half": "repeated: correlation from 0.5, %",
    "nearly": "repeated: correlation from 0.9, %",
    "gone": "removable within a point, %",
    "test": "test accuracy, %",
}


def angles(found: Evidence) -> pd.DataFrame:
    """Mean angle to the nearest centre in degrees, a row a net (its seed), a column a kind of weights; and `fit`."""
    rows = {}
    for e in found.of(FilterClusters):
        means = run(e).table.groupby("weights").angle.mean()
        rows[e.parent.seed] = means.to_dict() | dict(fit=fit(e.parent))
    return pd.DataFrame.from_dict(rows, orient="index", columns=[*KINDS, "fit"], dtype=float).sort_index()


def fit(net: Train) -> float:
    """Training accuracy in [0, 1], a running mean over the last epoch."""
    return float(run(net).table.train_accuracy.iloc[-1])


def histogram(found: Evidence) -> pd.DataFrame:
    """Share of filters by angle in steps of ten: rows with filters (a kind of weights), seed, degrees, share."""
    rows = []
    edges = np.arange(0, 181, BIN)
    for e in found.of(FilterClusters):
        for kind, part in run(e).table.groupby("weights", sort=False):
            shares = 100 * np.histogram(part.angle, edges)[0] / len(part)
            rows += [(KINDS[kind], e.parent.seed, a + BIN / 2, s) for a, s in zip(edges[:-1], shares, strict=True)]
    table = pd.DataFrame(rows, columns=["filters", "seed", "degrees", "share"])
    return table[table.degrees <= table.degrees[table.share > 0].max()] if len(table) else table


def closer(table: pd.DataFrame) -> tuple[dict[str, pd.Series], dict[str, int]]:
    """AL1 on nets that fit their images, and how many do not."""
    fits = table[table.fit >= FITS]
    values = {
        "closer than at the start": fits.initial - fits.trained,
        "closer than random vectors": fits.random - fits.trained,
    }
    return values, dict.fromkeys(values, len(table) - len(fits))


def by_epoch(found: Evidence) -> pd.DataFrame:
    """Test error in per cent by epoch of large nets and of small ones: rows with net, seed, epoch, error."""
    rows = []
    for e in found.of(CentreStart):
        nets = zip(STARTS, (e.clusters.parent, e.fresh, e), strict=True)
        for name, net in nets:
            table = run(net).table.dropna(subset="test_accuracy")
            errors = 100 * (1 - table.test_accuracy)
            rows += [(name, e.fresh.seed, epoch, error) for epoch, error in zip(table.epoch, errors, strict=True)]
    return pd.DataFrame(rows, columns=["net", "seed", "epoch", "error"])


def ends(found: Evidence) -> pd.DataFrame:
    """Test error in per cent at the end, a row a seed, a column a net; and `fit` of the large one."""
    table = by_epoch(found)
    last = table[table.epoch == table.groupby(["net", "seed"]).epoch.transform("max")]
    wide = last.pivot(index="seed", columns="net", values="error").reindex(columns=list(STARTS))
    fits = {e.fresh.seed: fit(e.clusters.parent) for e in found.of(CentreStart)}
    return wide.assign(fit=pd.Series(fits, dtype=float))


def from_centres(table: pd.DataFrame) -> tuple[pd.Series, int]:
    """AL3 on images: `xord.half_closed` of those whose large net fits, and how many do not."""
    fits = table[table.fit >= FITS]
    large, small, centres = (fits[name] for name in STARTS)
    return half_closed(small, centres, large), len(table) - len(fits)


def units(found: Evidence) -> pd.DataFrame:
    """A row a net, by width and seed: shares of the first layer's units in per cent, test and training accuracy.

    half, nearly: correlated by 0.5 or by 0.9 with another. gone: removable in random order (see `metrics.removable`),
    a mean over orders.
    """
    curves = {e.parent: run(e).table for e in found.of(UnitCurve)}
    rows = []
    for e in found.of(UnitRepeats):
        if (curve := curves.get(e.parent)) is None:
            continue
        net, strong = e.parent, run(e).table.correlation
        gone = curve.groupby("repeat").accuracy.apply(lambda a: metrics.removable(a.to_numpy())).mean()
        shares = dict(half=100 * (strong >= 0.5).mean(), nearly=100 * (strong >= 0.9).mean(), gone=100 * gone)
        ends = dict(test=100 * run(net).table.test_accuracy.iloc[-1], fit=fit(net))
        rows.append(dict(net="LeNet", width=net.width, seed=net.seed) | shares | ends)
    return pd.DataFrame(rows, columns=["net", "width", "seed", *UNITS, "fit"]).sort_values(["width", "seed"])


def rising(table: pd.DataFrame) -> tuple[dict[str, pd.Series], dict[str, int]]:
    """RU1, slopes per doubling, of the seeds whose nets of all widths fit; and how many do not."""
    poor = set(table.seed[table.fit < FITS])
    fits = table[~table.seed.isin(poor)]
    names = dict(half="repeated: correlation from 0.5", nearly="repeated: correlation from 0.9", gone="removable")
    wide = {name: fits.pivot(index="seed", columns="width", values=column) for column, name in names.items()}
    return {name: slopes(values) for name, values in wide.items()}, dict.fromkeys(names.values(), len(poor))
