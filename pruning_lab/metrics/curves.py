"""Accuracy along a removal order as one number."""

from __future__ import annotations

import pandas as pd

from ..numeric import checked


@checked
def curve_means(curves: pd.DataFrame, first: float = 0.0, last: float = 1.0) -> pd.DataFrame:
    """Mean accuracy along removal curves, in points: one row a net (seed), one column a (criterion, remove).

    Args:
        curves: rows with criterion, remove, removed (0..n), accuracy in [0, 1] and seed; repeats are averaged.
        first, last: the part of the curve that counts, as fractions of n.

    >>> import pandas as pd
    >>> from pruning_lab import metrics
    >>> curve = dict(criterion="norm", remove="lowest", removed=[0, 1, 2], accuracy=[1.0, 0.75, 0.5], seed=0)
    >>> metrics.curve_means(pd.DataFrame(curve)).values.tolist()
    [[75.0]]
    """
    if curves.empty:
        return pd.DataFrame()
    n = curves.groupby(["seed", "criterion", "remove"]).removed.transform("max")
    part = curves[(curves.removed >= first * n) & (curves.removed <= last * n)]
    return 100 * part.groupby(["seed", "criterion", "remove"]).accuracy.mean().unstack(["criterion", "remove"])
