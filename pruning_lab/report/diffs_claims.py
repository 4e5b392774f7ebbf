"""Parts of the claims on diffs: one number a net for each, in the unit of its claim, and their verdicts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

import numpy as np
import pandas as pd

from ..experiments import GradientHistory
from .coherence import SIZES
from .contrast import PARTS, RESNETS
from .diffs import ARMS, layers, peaks
from .evidence import Evidence
from .page import Page
from .reads import run
from .regime import Measured, Parts, judged, measured

CLAIMS = ("DI1", "DI2", "DI3", "DI4", "DI5")
OFF, TAILS, WIDER = "|mean| / sd", "excess kurtosis", "log of the spread over the null's"
WAYS, SIZE, BEYOND = "ratio of ways", "rank correlation with |w|", "share of layers beyond a margin"
CENTRED, NORMAL = 0.1, 1.0  # DI1's margins on |mean| / sd and on the excess kurtosis
FACTOR, RANK = 1.25, 0.1  # DI4's margins on the ratio of ways and on the rank correlation
FEW = 0.1  # of the layers: more that are beyond a margin are not few
Numbers = Callable[[GradientHistory], Mapping[str, float]]


def centred(table: pd.DataFrame) -> pd.Series:
    """|mean| / sd of the diffs, layer by layer."""
    return table["mean"].abs() / table.sd


def normality(e: GradientHistory) -> dict[str, float]:
    """DI1 in the median layer at the peak: how far diffs are off centre and normal, in margins; log of their spread."""
    table = layers(e)
    off, tails = centred(table).median() / CENTRED, table["kurtosis"].abs().median() / NORMAL
    return {OFF: off, TAILS: tails, WIDER: np.log(table.sd.median() * np.sqrt(e.snapshots.images))}


def travels(e: GradientHistory) -> dict[str, float]:
    """DI4: in the median layer, in margins, how far the ways of both tenths differ and how |diff| goes with |w|; and by
    how much the share of layers that are beyond either margin is below a tenth.
    """
    log, rho = (np.abs(run(e).arrays["travel"]) / (np.log(FACTOR), RANK)).T
    told = np.isfinite(log) | np.isfinite(rho)
    beyond = ((log > 1) | (rho > 1))[told].mean() if told.any() else np.nan
    return {WAYS: _median(log), SIZE: _median(rho), BEYOND: FEW - beyond}


def _median(values: np.ndarray) -> float:
    """The median of what is finite; NaN of nothing."""
    return float(pd.Series(values).median())


def widened(e: GradientHistory) -> dict[str, float]:
    """DI2: log ratio of spreads at the peak and at the low."""
    return {"peak over low": log_ratio(layers(e), layers(e, "the low"))}


def log_ratio(a: pd.DataFrame, b: pd.DataFrame) -> float:
    """Of spreads, layer by layer, averaged; layers without any spread are left out."""
    return float(np.log(a.sd / b.sd).replace([np.inf, -np.inf], np.nan).mean())


def wider(real: GradientHistory, noise: GradientHistory) -> float:
    """DI3: log ratio of spreads, Gaussian over real, each at its own peak."""
    return log_ratio(layers(noise), layers(real))


def agreed(real: GradientHistory, noise: GradientHistory) -> float:
    """DI5: share of weights on which all images agree at the peak, Gaussian minus real, in points."""
    one, other = peaks([noise, real]).agree
    return 100 * (one - other)


def parts(found: Evidence, models: Sequence[str]) -> Parts:
    """Parts of the claims on these models. DI5 is not about ResNet50."""
    named, both = {PARTS[model]: model for model in models}, tuple(ARMS)
    return {
        "DI1": dict(_by_arm(found, named, both, (OFF, TAILS, WIDER), normality)),
        "DI2": dict(_by_arm(found, named, both, ("peak over low",), widened)),
        "DI3": {name: measured(found, model, both, wider) for name, model in named.items()},
        "DI4": dict(_by_arm(found, named, ("real",), (WAYS, SIZE, BEYOND), travels)),
        "DI5": {n: measured(found, model, both, agreed) for n, model in named.items() if model not in RESNETS},
    }


def _by_arm(
    found: Evidence, named: Mapping[str, str], kinds: Sequence[str], measures: Sequence[str], numbers: Numbers
) -> Iterator[tuple[str, Measured]]:
    def one(measure: str, e: GradientHistory) -> float:
        return numbers(e)[measure]

    for (name, model), kind, measure in ((n, k, m) for n in named.items() for k in kinds for m in measures):
        yield f"{name}, {ARMS[kind]}: {measure}", measured(found, model, (kind,), partial(one, measure))


def verdicts(page: Page, found: Evidence, resnet: str) -> pd.DataFrame:
    """The verdicts on a run, claim by claim, on this kind of ResNet50, the ViT and, as parts of ours, the MLP."""
    return judged(page, found, parts(found, [resnet, "vit", "mlp"]), CLAIMS, found.apart(SIZES))
