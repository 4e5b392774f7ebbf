"""What the page on single units says: its answer's numbers, units that never fire, the best criterion."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from .. import figures, metrics
from . import live
from .evidence import Evidence
from .numbers import spoken
from .reads import run
from .units import CLAIMS, LIVE, MANY_DEAD, NAMES, NOT_RUN, Where, curves, difference, half, importances
from .why import why

DIFFERENCES = {
    "FP1": "shortest minus smallest share",
    "FP2": "smallest share minus random",
    "FP3": "random minus largest share",
}


def numbers(found: Evidence, judged: pd.DataFrame) -> dict[str, str]:
    """What the answer's sentences ask for: points of FP1 on LeNet, its nets, the share of dead units, and reasons."""
    first = judged[(judged.claim == "FP1") & (judged.part == "LeNet fc1")].iloc[0]
    dead = dead_units(found, *MANY_DEAD)
    share = 100 * (dead.dead / dead.units).mean()
    why_lenet, why_conv = why(judged, "FP1", "LeNet fc1"), why(judged, "FP2", "Conv-2 fc1")
    told = dict(short=f"{abs(first['mean']):.0f}", nets=str(first.n), dead=f"{share:.0f}")
    return told | dict(why_lenet=why_lenet, why_conv=why_conv)


def sentences(found: Evidence, where: Sequence[Where]) -> dict[str, str]:
    """What the page says of each figure of curves beyond where its lines are, and of dead units."""
    names = ("lenet_best", "fc1_best", "conv2_best")
    told = {name: best(curves(found, *one)) for name, one in zip(names, where, strict=True)}
    return told | dict(dead_read=deaths(found, where), conv2_reversed=reversal(curves(found, *where[-1])))


def turned(angles: Sequence[float], shares: np.ndarray) -> dict[str, str]:
    """What the toy shows: shares [stops, units] from its first stop to where the turned vector, the first, has most."""
    first, rest = shares[:, 0], shares[:, 1:]
    top = int(first.argmax())
    rise = int((rest[top] > rest[0]).sum())
    return dict(
        toy_read=f"From {angles[0]}° to {angles[top]}°, where the first vector's share is largest, it goes from "
        f"{first[0]:.1f} to {first[top]:.1f}; of the other {rest.shape[1]} shares {rise} rise with it."
    )


def dead_units(found: Evidence, model: str, layer: str) -> pd.DataFrame:
    """A row a net of a layer: seed, units, dead (units whose removal changes the test loss by nothing)."""
    tables = {e.parent.seed: run(e).table for e in importances(found, model, layer)}
    rows = [dict(seed=seed, units=len(t), dead=len(t) - len(live.firing(t))) for seed, t in tables.items()]
    return pd.DataFrame(rows, columns=["seed", "units", "dead"])


def deaths(found: Evidence, where: Iterable[Where]) -> str:
    """How many units of each layer never fire, net by net."""
    told = []
    for model, layer in where:
        if len(table := dead_units(found, model, layer)):
            each = ", ".join(map(str, table.dead))
            told.append(f"{each} of {table.units.iloc[0]} in {NAMES[model]} {layer}")
    return f"Units that change no test loss when they go, net by net: {'; '.join(told)}." if told else NOT_RUN


def stretch(found: Evidence) -> int:
    """How many units never fire in every net of the layer in which most do not: 0 where it was not run."""
    return int(dead_units(found, *MANY_DEAD).dead.min()) if len(dead_units(found, *MANY_DEAD)) else 0


def lively(found: Evidence) -> pd.DataFrame:
    """Differences between orders in the layer with most dead units: over all cuts, and over those of live units."""
    table = curves(found, *MANY_DEAD)
    both = {"all cuts": table, "cuts of live units": live.moving(table)}
    return pd.DataFrame([
        {f"{LIVE.partition(',')[0]}, points": words}
        | {name: spoken(difference(part, claim)) for name, part in both.items()}
        for claim, words in DIFFERENCES.items()
    ])  # fmt: skip


def best(table: pd.DataFrame) -> str:
    """Which criterion leaves most of a layer's accuracy with half of its units gone, and over all cuts."""
    if table.empty:
        return ""
    at, whole = half(table), metrics.curve_means(table)
    lowest = (
        whole.loc[:, whole.columns.get_level_values("remove") == "lowest"].droplevel("remove", axis="columns").mean()
    )
    return (
        f"Of all criteria, {figures.words(at.idxmax())} leaves most with half gone ({at.max():.1f} %), "
        f"{figures.words(lowest.idxmax())} most over all cuts."
    )


def reversal(table: pd.DataFrame) -> str:
    """Whether removing the largest share first beats removing the smallest norm first, computed."""
    means = metrics.curve_means(table) if len(table) else pd.DataFrame()
    pair = [("frame_potential", "highest"), CLAIMS["FP1"][0]]
    if not {*pair} <= {*means.columns}:
        return ""
    gap = (means[pair[0]] - means[pair[1]]).dropna()
    return f"Largest share first minus smallest norm first: {spoken(gap)} points over all cuts."
