"""Units that never fire: how many there are, and curves without them."""

from __future__ import annotations

import pandas as pd


def firing(worth: pd.DataFrame) -> pd.DataFrame:
    """Of one net's rows of `UnitImportance` those of live units: the loss changes when they go."""
    return worth[worth.loss_increase != 0]


def moving(curves: pd.DataFrame) -> pd.DataFrame:
    """Curves without the cuts that took a unit for nothing: whose loss is that of the cut before.

    A unit that never fires adds nothing to the next layer, so that what is left is the curve of the live units in the
    same order. `removed` counts what is left, from 0 on.
    """
    if curves.empty:
        return curves
    line = ["seed", "criterion", "remove", "repeat"]
    ordered = curves.sort_values([*line, "removed"])
    moved = ordered[ordered.groupby(line).loss.diff() != 0]
    return moved.assign(removed=moved.groupby(line).cumcount())
