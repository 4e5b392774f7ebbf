"""Numbers read off curves over a size (a width, a number of weights): one row a net, one column a size, ascending."""

from __future__ import annotations

import numpy as np
import pandas as pd


def slopes(curves: pd.DataFrame) -> list[float]:
    """Of a straight line through each row, per doubling of the size; rows that lack a size are left out."""
    whole = curves.dropna()
    doublings = np.log2(curves.columns.to_numpy(float))
    return [float(np.polyfit(doublings, row, 1)[0]) for row in whole.to_numpy(float)] if len(doublings) > 1 else []


def sufficient(curves: pd.DataFrame, share: float = 0.99) -> pd.Series:
    """log2 of the size at which each row first reaches `share` of its own best; straight between sizes, in doublings."""
    return curves.apply(_first, axis=1, share=share).astype(float)


def shared(one: pd.DataFrame, other: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Both, cut to the sizes between the larger of their smallest and the smaller of their largest; the ends are read off straight lines.

    Raises:
        ValueError: they have no such stretch in common.
    """
    low, high = max(one.columns.min(), other.columns.min()), min(one.columns.max(), other.columns.max())
    if low >= high:
        raise ValueError(f"sizes {list(one.columns)} and {list(other.columns)} have no stretch in common")
    return _cut(one, low, high), _cut(other, low, high)


def _first(row: pd.Series, share: float) -> float:
    x, y = np.log2(row.index.to_numpy(float)), row.to_numpy(float)
    level = share * y.max()
    k = int((y >= level).argmax())
    return x[k] if k == 0 else float(np.interp(level, y[k - 1 : k + 1], x[k - 1 : k + 1]))


def _cut(curves: pd.DataFrame, low: float, high: float) -> pd.DataFrame:
    sizes = [low, *(size for size in curves.columns if low < size < high), high]
    x, ends = np.log2(curves.columns.to_numpy(float)), np.log2(np.asarray(sizes, float))
    return pd.DataFrame([np.interp(ends, x, row) for row in curves.to_numpy(float)], index=curves.index, columns=sizes)
