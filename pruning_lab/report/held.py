"""What is left of a correlation once the length of weight vectors is held fixed, in words from both numbers."""

from __future__ import annotations

from html import escape

import numpy as np
import pandas as pd

from .verdicts import FEWEST

HELD = ", length held"  # ends the name of the part that holds it; the part before is the correlation as it is
LEFT = {  # does what is left lie surely on the same side? -> what the page says
    True: "the angle says something of its own",
    False: "the lengths of weight vectors carry it",
}


def note(parts: pd.DataFrame) -> str:
    """A sentence on every part of a claim, rows of `verdicts.judge`, that also has nets with the length held.

    "" where none has, or no correlation is surely off zero: then there is nothing that something could carry.
    """
    rows = {row["part"]: row for row in parts.to_dict("records") if row["n"] >= FEWEST and np.isfinite(row["high"])}
    pairs = [(name, row, rows[name + HELD]) for name, row in rows.items() if name + HELD in rows]
    told = [_told(name, raw, held) for name, raw, held in pairs if _side(raw)]
    return f"{'; '.join(told)}." if told else ""


def small(parts: pd.DataFrame) -> str:
    """The same as HTML beneath a claim's word; "" of none."""
    said = note(parts)
    return f'<span class="lab-by">{escape(said)}</span>' if said else ""


def _told(name: str, raw: dict[str, float], held: dict[str, float]) -> str:
    numbers = f"{raw['mean']:+.2f}, with the length held {held['mean']:+.2f}"
    return f"{name}: {numbers}: {LEFT[_side(held) == _side(raw)]}"


def _side(row: dict[str, float]) -> int:
    """On which side of zero an interval lies; 0: it spans it."""
    return int(row["low"] > 0) - int(row["high"] < 0)
