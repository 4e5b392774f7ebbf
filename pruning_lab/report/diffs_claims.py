"""Parts of the claims on diffs: one number a net for each, in the unit of its claim, and their verdicts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from ..experiments import GradientHistory
from ..records.store import run
from .coherence import SIZES
from .contrast import NAMES, PARTS, RESNETS, histories
from .diffs import ARMS, layers, peaks
from .evidence import Evidence
from .page import Page

WIDER, WAYS = "log of the spread over the null's", "ratio of ways"
FACTOR = 1.25  # DI4's margin on the ratio of ways
Numbers = Callable[[GradientHistory], Mapping[str, float]]


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
    """Parts of the claims on these models, a row each that was run: claim, part, net, measure, values.

    Values are one number a net; those that are not finite are left out. DI5 is not about ResNet50.
    """
    wider = {model: both(found, model, lambda a, b: log_ratio(layers(a), layers(b))) for model in models}
    spikes = {model: both(found, model, lambda a, b: agreed(a) - agreed(b)) for model in models if model not in RESNETS}
    rows = [
        *_by_arm("DI1", found, models, ARMS, normality),
        *_by_arm("DI2", found, models, ARMS, widened),
        *(_part("DI3", model, values) for model, values in wider.items()),
        *_by_arm("DI4", found, models, ["real"], travels),
        *(_part("DI5", model, values) for model, values in spikes.items()),
    ]
    return pd.DataFrame(rows, columns=["claim", "part", "net", "measure", "values"])


def _by_arm(id: str, found: Evidence, models: Sequence[str], kinds: Iterable[str], measure: Numbers) -> Iterator[dict]:
    for model, kind in ((model, kind) for model in models for kind in kinds):
        numbers = [measure(e) for e in histories(found, model, kind).values()]
        for name in numbers[0] if numbers else []:
            yield _part(id, model, [n[name] for n in numbers], name, f"{PARTS[model]}, {ARMS[kind]}: {name}")


def _part(id: str, model: str, values: list[float], measure: str = "", part: str = "") -> dict[str, object]:
    finite = [value for value in values if np.isfinite(value)]
    return dict(claim=id, part=part or PARTS[model], net=NAMES[model], measure=measure, values=finite)


def judged(page: Page, found: Evidence, tested: pd.DataFrame) -> pd.DataFrame:
    """The verdicts on the `parts` of a run, claim by claim."""
    values, on = (
        {id: rows.set_index("part")["values"].to_dict() for id, rows in tested.groupby("claim")},
        found.apart(SIZES),
    )
    return pd.concat([page.judge(id, values.get(id, {}), found, on=on) for id in ("DI1", "DI2", "DI3", "DI4", "DI5")])
