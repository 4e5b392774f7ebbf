"""Numbers read off curves over a size (a width, a number of weights): one row a net, one column a size, ascending."""

from __future__ import annotations

import numpy as np
import pandas as pd


def slopes(curves: pd.DataFrame) -> pd.Series:
    """Of a straight line through each row, per doubling of the size; rows that lack a size are left out."""
    whole = curves.dropna() if len(curves.columns) > 1 else curves.iloc[:0]
    doublings = np.log2(curves.columns.to_numpy(float))
    values = [float(np.polyfit(doublings, row, 1)[0]) for row in whole.to_numpy(float)]
    return pd.Series(values, index=whole.index, dtype=float)


def sufficient(curves: pd.DataFrame, share: float = 0.99) -> pd.Series:
    """log2 of the size at which each row first reaches `share` of its own best; straight between, in doublings."""
    return pd.Series([_first(row, share) for _, row in curves.iterrows()], index=curves.index, dtype=float)


def shared(one: pd.DataFrame, other: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Both, cut to the sizes between the larger of their smallest and the smaller of their largest; the ends are read
    off straight lines.

    Two empty tables where there is no such stretch.
    """
    low, high = (
        end(*sizes) for end, sizes in zip((max, min), zip(*(_ends(t) for t in (one, other)), strict=True), strict=True)
    )
    if not low < high:
        return pd.DataFrame(), pd.DataFrame()
    return _cut(one, low, high), _cut(other, low, high)


def _ends(curves: pd.DataFrame) -> tuple[float, float]:
    sizes = curves.columns.to_numpy(float)
    return (sizes[0], sizes[-1]) if sizes.size else (np.inf, -np.inf)


def _first(row: pd.Series, share: float) -> float:
    x, y = np.log2(row.index.to_numpy(float)), row.to_numpy(float)
    level = share * y.max()
    k = int((y >= level).argmax())
    return x[k] if k == 0 else float(np.interp(level, y[k - 1 : k + 1], x[k - 1 : k + 1]))


def _cut(curves: pd.DataFrame, low: float, high: float) -> pd.DataFrame:
    sizes = [low, *(size for size in curves.columns if low < size < high), high]
    x, ends = np.log2(curves.columns.to_numpy(float)), np.log2(np.asarray(sizes, float))
    return pd.DataFrame([np.interp(ends, x, row) for row in curves.to_numpy(float)], index=curves.index, columns=sizes)
