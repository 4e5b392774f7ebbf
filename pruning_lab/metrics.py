"""Tensors and arrays -> numbers that describe a layer."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F


def frame_potential(weight: torch.Tensor) -> float:
    """Sum of squared cosines over all ordered pairs of rows of `weight` [units, ...], zero rows left out.

    For n unit vectors in d dimensions at least n^2 / d and n, at most n^2 (Benedetto & Fickus 2003).
    """
    rows = F.normalize(weight.detach().flatten(1).double(), dim=1)
    return (rows @ rows.T).square().sum().item()


def cosines(gram: np.ndarray) -> np.ndarray:
    """Cosines [U, U] float64 out of inner products [U, U]; a zero row has cosine zero with all, itself included."""
    gram = np.asarray(gram, dtype=float)
    norms = np.sqrt(np.diagonal(gram).clip(0))
    alive = norms > 0
    safe = np.where(alive, norms, 1)
    found = np.where(alive[:, None] & alive, gram / safe[:, None] / safe, 0).clip(-1, 1)
    np.fill_diagonal(found, alive)
    return found


def rank_correlation(x: np.ndarray, y: np.ndarray) -> float:
    """Spearman's rank correlation of two arrays [n], ties sharing their mean rank; NaN where one is constant."""
    a, b = (pd.Series(v).rank().to_numpy() for v in (x, y))
    a, b = a - a.mean(), b - b.mean()
    scale = math.sqrt((a @ a) * (b @ b))
    return float(a @ b) / scale if scale else math.nan


def partial_rank_correlation(x: np.ndarray, y: np.ndarray, given: np.ndarray) -> float:
    """Rank correlation of x and y [n] without what both share with `given` (first-order partial correlation).

    NaN where x or y is a monotone function of `given`.
    """
    xy, xz, yz = rank_correlation(x, y), rank_correlation(x, given), rank_correlation(y, given)
    left = 1 - xz**2, 1 - yz**2  # one swap of neighbours among n ranks leaves about 24 / n^3, rounding 1e-15
    return (xy - xz * yz) / math.sqrt(left[0] * left[1]) if all(part > 1e-12 for part in left) else math.nan


def curve_means(curves: pd.DataFrame, first: float = 0.0, last: float = 1.0) -> pd.DataFrame:
    """Mean accuracy along removal curves, in points: one row a net (seed), one column a (criterion, remove).

    Args:
        curves: rows with criterion, remove, removed (0..n), accuracy in [0, 1] and seed; repeats are averaged.
        first, last: the part of the curve that counts, as fractions of n.
    """
    if curves.empty:
        return pd.DataFrame()
    n = curves.groupby(["seed", "criterion", "remove"]).removed.transform("max")
    part = curves[(curves.removed >= first * n) & (curves.removed <= last * n)]
    return 100 * part.groupby(["seed", "criterion", "remove"]).accuracy.mean().unstack(["criterion", "remove"])
