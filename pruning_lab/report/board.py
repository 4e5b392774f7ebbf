"""The claims of a page in one table: what was claimed, the nets, the interval, the word and why it is open."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from . import claims, held, strips
from .numbers import counted, measured
from .verdicts import FEWEST, OPEN, SO_FAR

if TYPE_CHECKING:
    from IPython.display import HTML

KEY = (
    "Dots are nets, hollow where they do not count; the bar is the 95 % interval over nets (90 % where both sides have "
    "a margin), the line zero, dashed a margin. Right of zero is as claimed; rows differ in scale. "
    "A ratio is written as a change in per cent, from twice on as so many times; where the part says that something "
    "falls, it is what became of that. "
    "Holds and fails stand for reproduced and not reproduced away from the source's own nets and data. "
    "Our questions decide nothing."
)
EXPLAINED = '<a href="verdicts.html">How verdicts are made</a>.'  # beside the page that has the table
HEAD = ("part", "nets", "measured", "n", "came out")


def table(judged: pd.DataFrame, hours: float | None = None) -> HTML:
    """A row a claim with its word, under it a row a part, and what was amended in a fold; last, what chance decides.

    Args:
        judged: rows of `verdicts.judge`, of one claim or several. hours: what one more net of all that the page shows
            takes, in core-hours; None where it is not known.
    """
    from IPython.display import HTML

    if judged.empty:
        return HTML("<p>No part of these claims has been run yet.</p>")
    rows = [_claim(claims.load()[id], parts, hours) for id, parts in judged.groupby("claim", sort=False)]
    head = "".join(f'<th scope="col">{name}</th>' for name in HEAD)
    caption = f"<caption>{escape(KEY)} {EXPLAINED}</caption>"
    table = f'<table class="dataframe lab-verdicts">{caption}<thead><tr>{head}</tr></thead>{"".join(rows)}</table>'
    return HTML(f"{table}<p>{by_chance(judged)}</p>")


def measured_on(judged: pd.DataFrame) -> str:
    """What sets the runs of a page apart from the sources' own, in a sentence: of most claims, then of the others."""
    on = judged.groupby("claim", sort=False)["on"].first().replace("", "the source's own kind of nets and data")
    (usual, _), *others = on.value_counts().items()
    told = [usual, *(f"{counted(count, 'claim')} on {other}" for other, count in others)]
    return f"Measured on {'; '.join(told)}." if judged.on.any() else ""


def by_chance(judged: pd.DataFrame) -> str:
    """How many of the parts that claim a difference chance alone would decide."""
    tried = int(((judged.n >= FEWEST) & (judged.kind == "differs") & (judged.by == "source")).sum())
    return (
        f"Of the sources' parts, {tried} claim a difference and have at least three nets; "
        f"by chance alone about {0.05 * tried:.1f} of them would look decided."
    )


def _claim(claim: claims.Claim, parts: pd.DataFrame, hours: float | None) -> str:
    """One claim: a group of rows."""
    needs = f" Needs: {claim.needs}." if claim.needs else ""
    told = escape(f"{claim.id}: {claim.claim}{needs}") + _amended(claim)
    word = escape(parts.overall.iloc[0]) + held.small(parts)
    head = (
        f'<tr class="lab-claim" id="claim-{claim.id}"><th scope="rowgroup" colspan="4">{told}</th><th>{word}</th></tr>'
    )
    return f"<tbody>{head}{''.join(_part(row, hours) for row in parts.to_dict('records'))}</tbody>"


def _amended(claim: claims.Claim) -> str:
    """What was changed after the first run, in a fold."""
    told = [f"{a.date}: {a.what} Why: {a.why} Under the rule before: {a.before}." for a in claim.amended]
    folds = "".join(f"<p>{escape(one)}</p>" for one in told)
    return f'<details class="lab-amended"><summary>Amended</summary>{folds}</details>' if told else ""


def _part(row: dict[str, Any], hours: float | None) -> str:
    """One part: a row."""
    name = row["part"] + (" (our question)" if row["by"] == "ours" else "")
    mean = measured(row) if row["n"] else "none"
    cells = [escape(name), strips.of_nets(row), escape(mean), str(row["n"]), escape(came_out(row, hours))]
    return "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"


def came_out(row: dict[str, Any], hours: float | None = None) -> str:
    """The word of a part; where it is open the reason, how many nets would decide it and what they cost."""
    told = row["verdict"] + (f": {row['reason']}" if row["reason"] else "")
    return told + (f"; {deciding(row, hours)}" if row["verdict"] == OPEN and SO_FAR not in row["reason"] else "")


def deciding(row: dict[str, Any], hours: float | None = None) -> str:
    """How many nets would decide an open part if further ones come out alike, and what the missing ones cost."""
    count = row["needed"]
    if count is None or np.isnan(count):
        many = f"more than 1,000 {row['one']}s would decide it"
        return many if len(set(row["values"])) > 1 else "the spread is not known"
    missing = max(int(count) - row["n"], 0)
    cost = (
        f", for {missing * hours:,.{0 if missing * hours >= 10 else 1}f} core-hours more" if hours and missing else ""
    )
    return f"about {int(count)} {row['one']}s in all would decide it{cost}"
