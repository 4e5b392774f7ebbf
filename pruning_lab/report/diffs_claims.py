"""Parts of the claims on diffs: one number a net for each, in the unit of its claim, and their verdicts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from ..experiments import GradientHistory
from ..records.store import run
from .coherence import SIZES, measured
from .contrast import NAMES, RESNETS, histories, home
from .diffs import ARMS, layers, peaks
from .evidence import Evidence
from .page import Page

WIDER, WAYS = "log of the spread over the null's", "ratio of ways"
FACTOR = 1.25  # DI4's margin on the ratio of ways
MARGINS = {"DI1": 1, "DI3": -np.log(0.9), "DI4": 1}
UNITS = dict(DI1="margins", DI2="log ratio", DI3="log ratio", DI4="margins", DI5="points")
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
    """Parts of the claims on these models, a row each: claim, part, net, measure, unit, kind ("": the claim's), values.

    Values are one number a net, in the unit; those that are not finite are left out. DI5 is not about ResNet50.
    """
    wider = {model: both(found, model, lambda a, b: log_ratio(layers(a), layers(b))) for model in models}
    spikes = {model: both(found, model, lambda a, b: agreed(a) - agreed(b)) for model in models if model not in RESNETS}
    rows = [
        *_by_arm("DI1", found, models, ARMS, normality),
        *_by_arm("DI2", found, models, ARMS, widened),
        *(_part("DI3", NAMES[model], values) for model, values in wider.items()),
        *_by_arm("DI4", found, models, ["real"], travels),
        *(_part("DI5", NAMES[model], values) for model, values in spikes.items()),
    ]
    return pd.DataFrame(rows)


def _by_arm(id: str, found: Evidence, models: Sequence[str], kinds: Iterable[str], measure: Numbers) -> Iterator[dict]:
    for model, kind in ((model, kind) for model in models for kind in kinds):
        numbers = [measure(e) for e in histories(found, model, kind).values()]
        for name in numbers[0] if numbers else ["not run"]:
            yield _part(id, NAMES[model], [n[name] for n in numbers], name, f"{NAMES[model]}, {ARMS[kind]}: {name}")


def _part(id: str, net: str, values: list[float], measure: str = "", part: str = "") -> dict[str, object]:
    unit, kind = ("log ratio", "differs") if measure == WIDER else (UNITS[id], "")
    finite = [value for value in values if np.isfinite(value)]
    return dict(claim=id, part=part or net, net=net, measure=measure, unit=unit, kind=kind, values=finite)


def judged(page: Page, found: Evidence, tested: pd.DataFrame) -> pd.DataFrame:
    """The verdicts on the `parts` of a run, claim by claim."""
    verdicts, on = [], found.apart(SIZES)
    for id, rows in tested.set_index("part").groupby("claim", sort=False):
        how = dict(margin=MARGINS.get(id, 0), kinds=rows.kind[rows.kind != ""].to_dict(), unit=rows.unit.to_dict())
        verdicts.append(page.judge(id, rows["values"].to_dict(), found, on=on, **how))
    return pd.concat(verdicts)


def beside(page: Page, verdicts: pd.DataFrame) -> pd.DataFrame:
    """The same measures of the fully-connected net, a row a part."""
    told = [(row.claim, row.part, measured(row, 2, row.unit), row.n) for row in verdicts.itertuples()]
    columns = ["claim", f"part, on {home(page, 'mlp').data('mlp')}", "measured", "nets"]
    return pd.DataFrame(told, columns=columns)
