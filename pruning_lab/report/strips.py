"""Small pictures of numbers beside their rows in a table: an interval with a dot a net, a claim with a dot a part."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

import numpy as np
import pandas as pd

from .numbers import measured
from .verdicts import ELSEWHERE, NOT_IN_REACH, OPEN, lacks_nets

DOT = (
    "Each dot is a part of a claim (a layer, a net, a mask): right of the grey bar it holds, left it fails, on it our "
    "nets do not tell."
)
HOLLOW = "Hollow: fewer nets than planned, so no verdict yet."  # a part's dot; a net's is where it does not count
DECIDED = {*ELSEWHERE, *ELSEWHERE.values()}  # words
WIDTH, HEIGHT, EDGE = 180, 18, 8  # of a picture, in pixels, and the room at its sides
MIDDLE, RADIUS = HEIGHT // 2, 3.5
ROWS = (MIDDLE, MIDDLE - 5, MIDDLE + 5)  # where dots stand that would cover each other, in this order
MOST = 4.0  # half-intervals: what lies further away is drawn there
CLEAR = 0.25  # half-intervals that a dot is drawn from the bar's end at least: it does not lie on both sides


def of_nets(row: Mapping[str, Any]) -> str:
    """The nets of one part: a dot each, hollow where it does not count, the interval, zero, and dashed the margin.

    row: as `verdicts.judge` gives it. "" without any net.
    """
    values = np.asarray(row["values"], dtype=float)
    if not len(values):
        return ""
    ends = [end for end in (row["low"], row["high"]) if np.isfinite(end)]
    bounds = _bounds(row["kind"], row["margin"])
    reach = 1.05 * np.abs([*values, *ends, *bounds]).max() or 1.0
    marks = [_line(0, reach, "lab-zero"), *(_line(bound, reach, "lab-margin") for bound in bounds)]
    if len(ends) == 2:
        low, high = (_place(end, reach) for end in ends)
        marks.append(f'<path class="lab-interval" d="M{low:.1f} {MIDDLE}H{high:.1f}"/>')
    marks += _dots(values, reach, row["counted"])
    return _picture(marks, f"{row['part']}: {_told(row)}")


def of_claim(parts: pd.DataFrame, name: str) -> str:
    """A dot a part: how many half-intervals its mean lies on the claimed side of what decides, from -4 to +4.

    Right of +1 the claim holds, left of -1 it fails, between, in grey, it is open: a dot keeps off the bar's ends by
    its word. A part is hollow that has fewer nets than were fixed. Parts without a verdict on an interval, those whose
    nets did not get where the claim speaks among them, have no dot; "" where none has.
    """
    rows = [row for row in parts.to_dict("records") if np.isfinite(row["high"]) and row["verdict"] != NOT_IN_REACH]
    if not rows:
        return ""
    places = [_clear(distance(row), row) for row in rows]
    open_ = f'<path class="lab-open" d="M{_place(-1, MOST):.1f} {MIDDLE}H{_place(1, MOST):.1f}"/>'
    dots = _dots(places, MOST, [not lacks_nets(row) for row in rows])
    told = "; ".join(f"{row['part']} {distance(row):+.1f}" for row in rows)  # as measured, wherever the dot is drawn
    return _picture([open_, _line(0, MOST, "lab-zero"), *dots], f"{name}, half-intervals from the boundary: {told}")


def _clear(place: float, row: Mapping[str, Any]) -> float:
    """Where a dot is drawn: clear of the bar's end on the side that its part's word says, where nets were enough."""
    if lacks_nets(row):
        return place
    if row["verdict"] == OPEN:
        return float(np.clip(place, CLEAR - 1, 1 - CLEAR))
    return float(np.sign(place) * max(abs(place), 1 + CLEAR)) if row["verdict"] in DECIDED else place


def distance(row: Mapping[str, Any]) -> float:
    """How far a part's mean lies on the claimed side of the nearest boundary, in halves of its interval; within +-4.

    One number for points, log ratios and margins: above 1 is reproduced, below -1 is not.
    """
    half = (row["high"] - row["low"]) / 2
    bound = max(map(abs, _bounds(row["kind"], row["margin"])), default=0.0)
    side = bound - abs(row["mean"]) if row["kind"] in ("same", "size") else row["mean"] + bound
    side = abs(side) if row["kind"] == "either" else side
    return float(np.clip(side / half, -MOST, MOST)) if half else float(MOST * np.sign(side))


def _bounds(kind: str, margin: float) -> list[float]:
    """Where the boundary lies beside zero, in the unit of the numbers."""
    ends = {"at_least": [-margin], "same": [-margin, margin]}
    ends["size"] = [-np.log(margin), np.log(margin)] if margin > 0 else []
    return [float(end) for end in ends.get(kind, []) if end]


def _place(value: float, reach: float) -> float:
    """Pixels from the left, zero being in the middle."""
    return WIDTH / 2 + (WIDTH / 2 - EDGE) * float(np.clip(value / reach, -1, 1))


def _line(value: float, reach: float, kind: str) -> str:
    return f'<path class="{kind}" d="M{_place(value, reach):.1f} 2V{HEIGHT - 2}"/>'


def _dots(values: Iterable[float], reach: float, counts: Iterable[bool]) -> list[str]:
    """A dot each, hollow where it does not count; one that would cover another goes above or below it."""
    dots, placed = [], []
    for value, full in zip(values, counts, strict=True):
        across = _place(value, reach)
        taken = {row for x, row in placed if abs(x - across) < 2 * RADIUS}
        row = next((row for row in ROWS if row not in taken), MIDDLE)
        placed.append((across, row))
        kind = "lab-net" if full else "lab-net lab-hollow"
        dots.append(f'<circle class="{kind}" cx="{across:.1f}" cy="{row}" r="{RADIUS}"/>')
    return dots


def _told(row: Mapping[str, Any]) -> str:
    return f"mean {measured(row)}"


def _picture(marks: Iterable[str], told: str) -> str:
    size = f'width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}"'
    return f'<svg class="lab-strip" role="img" aria-label="{escape(told)}" {size}>{"".join(marks)}</svg>'
