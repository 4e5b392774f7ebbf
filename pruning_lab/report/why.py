"""Why a part of a claim is open, in words for the head of a chapter."""

from __future__ import annotations

import pandas as pd

from .verdicts import SO_FAR

FEW, SPREAD, ALIKE = "too few nets yet", "the nets disagree", "all nets gave one number"


def why(judged: pd.DataFrame, claim: str, part: str) -> str:
    """The reason for which a part is open; "" where it is not.

    Raises:
        KeyError: a part that was not judged.
    """
    rows = judged[(judged.claim == claim) & (judged.part == part)]
    if rows.empty:
        raise KeyError(f"{claim}: {part}")
    reason = rows.reason.iloc[0]
    if SO_FAR in reason:
        return FEW
    return SPREAD if "spans" in reason else ALIKE if "one number" in reason else ""
