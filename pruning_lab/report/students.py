"""Students wider than their teacher: errors by width and time, and which units share one of the teacher's."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ..experiments import TeacherStudent
from .evidence import Evidence
from .reads import run

ARMS = {True: "both layers", False: "first layer only"}
HUES = {
    "both layers": "#0072B2", "both layers, no noise": "#56B4E9", "first layer only": "#D55E00",
    "first layer only, no noise": "#E69F00",
}  # fmt: skip
PAST = 0.005  # error below which a student of the teacher's size has left the plateau
FLOOR = 1e-9  # smaller errors are as good as none, and counted as this
MEASURES = {"error": "generalisation error", "sharing": "student units that carry a teacher's"}
COLUMNS = ("arm", "noise", "width", "teacher", "seed", "error", "sharing")


def arm(e: TeacherStudent) -> str:
    """Which layers are trained, and whether outputs are noisy."""
    return ARMS[e.both] + ("" if e.noise else ", no noise")


def students(found: Evidence) -> pd.DataFrame:
    """A row a student at its end: error, and sharing, how many units carry one of the teacher's."""
    rows = []
    for e in found.of(TeacherStudent):
        record = run(e)
        last = [record.arrays[name][-1] for name in ("cosines", "second", "lengths")]
        ends = dict(error=max(FLOOR, record.table.error.iloc[-1]), sharing=carriers(*last))
        named = dict(arm=arm(e), noise=e.noise, width=e.student, teacher=e.teacher, seed=e.seed)
        rows.append(named | ends)
    return pd.DataFrame(rows, columns=COLUMNS).sort_values(["arm", "width", "seed"], ignore_index=True)


def carriers(cosines: np.ndarray, second: np.ndarray, lengths: np.ndarray) -> float:
    """How many student units carry a teacher's unit, a mean over these: one over the sum of squared shares.

    A unit's share is its second-layer weight x length x cosine, where that is positive; cosines [K, M], else [K].
    """
    weight = np.clip((second * lengths)[:, None] * cosines, 0, None).astype(float)
    total = weight.sum(0)
    shares = weight / np.where(total > 0, total, 1)
    squares = (shares**2).sum(0)
    return float(np.mean(np.where(squares > 0, 1 / np.where(squares > 0, squares, 1), 0)))


def parts(table: pd.DataFrame) -> tuple[dict[str, pd.Series], dict[str, int]]:
    """TS1, one number a seed, of seeds whose student of the teacher's size left the plateau; and how many did not."""
    values, short = {}, {}
    for words in ("", ", no noise"):
        for both, claim in ((False, "error rises"), (True, "error does not rise")):
            name, told = ARMS[both] + words, f"{ARMS[both]}{words}: {claim}"
            log = np.log(_past(table, name, "error"))
            values[told] = (-1 if both else 1) * _grown(log)
            short[told] = table[table.arm == name].seed.nunique() - len(log)
    values["both layers: units share a teacher's"] = _grown(_past(table, ARMS[True], "sharing"))
    short["both layers: units share a teacher's"] = short["both layers: error does not rise"]
    return values, short


def _past(table: pd.DataFrame, name: str, column: str) -> pd.DataFrame:
    """By seed and width, of the seeds that left the plateau and have every width."""
    own = table[table.arm == name]
    left = own.seed[(own.width == own.teacher) & (own.error < PAST)]
    return own[own.seed.isin(left)].pivot(index="seed", columns="width", values=column).dropna()


def _grown(wide: pd.DataFrame) -> pd.Series:
    """The widest minus the narrowest; empty of fewer than two widths."""
    return wide.iloc[:, -1] - wide.iloc[:, 0] if len(wide.columns) > 1 else pd.Series(dtype=float)


def by_step(found: Evidence, noisy: bool = True) -> pd.DataFrame:
    """Errors by step: rows with arm, seed, step and a column a student's width, `units_<width>`."""
    tables = []
    for e in found.of(TeacherStudent):
        if bool(e.noise) == noisy:
            table = run(e).table
            own = dict(arm=ARMS[e.both], seed=e.seed, width=f"units_{e.student}", step=table.step + 1)
            tables.append(table[["error"]].clip(lower=FLOOR).assign(**own))
    if not tables:
        return pd.DataFrame(columns=["arm", "seed", "step"])
    wide = pd.concat(tables).pivot(index=["arm", "seed", "step"], columns="width", values="error")
    return wide.reset_index().rename_axis(columns=None)


def panels_of(table: pd.DataFrame) -> dict[str, str]:
    """The columns of `by_step` that are widths, and their panels' words."""
    widths = sorted(int(name.removeprefix("units_")) for name in table if name.startswith("units_"))
    return {f"units_{width}": f"error, student of {width}" for width in widths} or {"units": "not run at this size yet"}


def overlaps(found: Evidence) -> pd.DataFrame:
    """The overlap matrix of the widest student of both layers with noise, of its first seed, as text for a table."""
    wide = [e for e in found.of(TeacherStudent) if e.both and e.noise]
    if not wide:
        return pd.DataFrame()
    e = max(wide, key=lambda e: (e.student, -e.seed))
    arrays = run(e).arrays
    cosines, second, lengths = (arrays[name][-1] for name in ("cosines", "second", "lengths"))
    columns = {f"teacher's unit {m + 1}": [f"{v:+.2f}" for v in cosines[:, m]] for m in range(e.teacher)}
    more = {"length": [f"{v:.2f}" for v in lengths], "second-layer weight": [f"{v:+.2f}" for v in second]}
    return pd.DataFrame({"student's unit": [str(k + 1) for k in range(e.student)]} | columns | more)
