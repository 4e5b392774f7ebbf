"""How far two arrays agree in their order."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from ..numeric import shown


def rank_correlation(x: np.ndarray, y: np.ndarray) -> float:
    """Spearman's rank correlation of two arrays [n], ties sharing their mean rank; NaN where one is constant or
    has a NaN.

    ValueError: arrays of something else than real numbers, or of other lengths.

    >>> import numpy as np
    >>> from pruning_lab import metrics
    >>> round(metrics.rank_correlation(np.array([1, 2, 3]), np.array([10, 20, 15])), 6)
    0.5
    """
    for name, value in ("x", x), ("y", y):
        if np.asarray(value).dtype.kind not in "biuf":
            raise ValueError(f"{name}={shown(value)}: expected an array of real numbers")
    a, b = (pd.Series(v).rank().to_numpy() for v in (x, y))
    a, b = a - a.mean(), b - b.mean()
    scale = math.sqrt((a @ a) * (b @ b))
    return float(a @ b) / scale if scale else math.nan


def partial_rank_correlation(x: np.ndarray, y: np.ndarray, given: np.ndarray) -> float:
    """Rank correlation of x and y [n] without what both share with `given` (first-order partial correlation).

    NaN where x or y is a monotone function of `given`.

    >>> import numpy as np
    >>> from pruning_lab import metrics
    >>> x, y, given = np.array([1, 2, 3, 4, 5]), np.array([2, 1, 3, 5, 4]), np.array([1, 1, 2, 1, 2])
    >>> round(metrics.partial_rank_correlation(x, y, given), 3)
    0.81
    """
    xy, xz, yz = rank_correlation(x, y), rank_correlation(x, given), rank_correlation(y, given)
    left = 1 - xz**2, 1 - yz**2  # one swap of neighbours among n ranks leaves about 24 / n^3, rounding 1e-15
    return (xy - xz * yz) / math.sqrt(left[0] * left[1]) if all(part > 1e-12 for part in left) else math.nan
