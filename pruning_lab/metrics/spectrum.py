"""Spectra of weight matrices: singular values, the bulk that noise alone would have, spikes above it, and tails.

ValueError: what is given is of another kind, not finite or too small, or no finite number comes out.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from ..numeric import checked

SOME, ANY = (1, None), (0, None)  # ranges of sizes and of variances
FEWEST = 50  # eigenvalues below which a tail has no exponent
UPPER = 2.02  # the quantile 0.99 of the Tracy-Widom law of real matrices (Johnstone 2001, table 1)


class Tail(NamedTuple):
    """A power law x^-alpha of the eigenvalues from `start` on: its exponent, its standard deviation, how many.

    reason: why there is none (then the numbers are NaN), else "".

    >>> from pruning_lab.metrics import spectrum
    >>> spectrum.Tail(2.5, 0.1, 1.0, 50).reason
    ''
    """

    alpha: float  # exponent
    deviation: float  # its standard deviation
    start: float  # smallest eigenvalue of the tail
    count: int  # eigenvalues in it
    reason: str = ""  # why there is none


@checked
def singular_values(matrix: np.ndarray) -> np.ndarray:
    """Of a matrix [rows, columns], the largest first, [min(rows, columns)] float64; their squares are eigenvalues.

    >>> import numpy as np
    >>> from pruning_lab.metrics import spectrum
    >>> spectrum.singular_values(np.diag([1.0, 3.0])).round(6).tolist()
    [3.0, 1.0]
    """
    return np.linalg.svd(np.asarray(matrix, dtype=float), compute_uv=False)


@checked
def stable_rank(values: np.ndarray) -> float:
    """Squared Frobenius over squared spectral norm, from singular values [k]; 0 of a matrix of zeros.

    >>> import numpy as np
    >>> from pruning_lab.metrics import spectrum
    >>> spectrum.stable_rank(np.array([2.0, 2.0, 0.0]))
    2.0
    """
    squares = np.square(np.asarray(values, dtype=float))
    return float(squares.sum() / squares.max()) if squares.any() else 0.0


@checked(rows=SOME, columns=SOME, variance=ANY)
def bulk_edges(rows: int, columns: int, variance: float) -> tuple[float, float]:
    """Between which the eigenvalues of W W^T lie that are not zero, where W has independent entries of this variance.

    In the limit of large matrices: variance (sqrt(rows) +- sqrt(columns))^2 (Marchenko & Pastur 1967).

    >>> from pruning_lab.metrics import spectrum
    >>> spectrum.bulk_edges(rows=100, columns=25, variance=1.0)
    (25.0, 225.0)
    """
    near, far = abs(math.sqrt(rows) - math.sqrt(columns)), math.sqrt(rows) + math.sqrt(columns)
    return variance * near**2, variance * far**2


@checked(rows=SOME, columns=SOME, variance=ANY)
def spike_edge(rows: int, columns: int, variance: float) -> float:
    """What the largest eigenvalue of such a matrix of noise exceeds once in a hundred draws (Johnstone 2001).

    >>> from pruning_lab.metrics import spectrum
    >>> spectrum.spike_edge(100, 25, 1.0) > spectrum.bulk_edges(100, 25, 1.0)[1]
    True
    """
    n, p = math.sqrt(rows), math.sqrt(columns)
    return bulk_edges(rows, columns, variance)[1] + variance * UPPER * (n + p) * (1 / n + 1 / p) ** (1 / 3)


@checked(rows=SOME, columns=SOME, variance=ANY)
def bulk_density(eigenvalues: np.ndarray, rows: int, columns: int, variance: float) -> np.ndarray:
    """The density of Marchenko and Pastur at these eigenvalues [n] of W W^T, not zero, [n]; its area is 1.

    >>> import numpy as np
    >>> from pruning_lab.metrics import spectrum
    >>> spectrum.bulk_density(np.array([10.0, 100.0]), rows=100, columns=25, variance=1.0).round(5).tolist()
    [0.0, 0.00616]
    """
    x, (low, high) = np.asarray(eigenvalues, dtype=float), bulk_edges(rows, columns, variance)
    inside = (x > low) & (x < high)
    scale = 2 * math.pi * variance * min(rows, columns)
    return np.where(inside, np.sqrt(np.where(inside, (high - x) * (x - low), 0)), 0) / (scale * np.where(inside, x, 1))


@checked(rows=SOME, columns=SOME)
def bulk_variance(values: np.ndarray, rows: int, columns: int) -> float:
    """The variance of noise whose eigenvalues have the same median as the squares of these singular values [k].

    A few spikes hardly move a median; entries that differ in variance, such as weights of dead inputs, do.

    >>> import numpy as np
    >>> from pruning_lab.metrics import spectrum
    >>> noise = np.random.default_rng(0).normal(0, 2, (100, 50))  # of deviation 2
    >>> round(spectrum.bulk_variance(spectrum.singular_values(noise), 100, 50))
    4
    """
    return float(np.median(np.square(np.asarray(values, dtype=float))) / _median(rows, columns))


@checked(rows=SOME, columns=SOME, variance=ANY)
def spikes(values: np.ndarray, rows: int, columns: int, variance: float) -> int:
    """How many squares of these singular values [k] lie above the `spike_edge` of noise of this variance.

    >>> import numpy as np
    >>> from pruning_lab.metrics import spectrum
    >>> spectrum.spikes(np.array([30.0, 14.0, 10.0]), rows=100, columns=25, variance=1.0)
    1
    """
    return int((np.square(np.asarray(values, dtype=float)) > spike_edge(rows, columns, variance)).sum())


@checked(nan=True)
def tail_exponent(eigenvalues: np.ndarray) -> Tail:
    """The power law of the tail of eigenvalues [n] that lies nearest to one, by the distance of Kolmogorov and Smirnov.

    alpha = 1 + n / sum(log(x / start)), its deviation (alpha - 1) / sqrt(n) (Clauset, Shalizi & Newman 2009, section
    3); every eigenvalue but the largest is tried as the start. NaN, with the reason, of fewer than 50 above zero.

    >>> import numpy as np
    >>> from pruning_lab.metrics import spectrum
    >>> values = (1 - (np.arange(200) + 0.5) / 200) ** (-1 / 1.5)  # quantiles of a power law of exponent 2.5
    >>> round(spectrum.tail_exponent(values).alpha, 1)
    2.5
    """
    x = np.sort(np.asarray(eigenvalues, dtype=float))
    x = x[x > 0]
    if len(x) < FEWEST:
        return Tail(math.nan, math.nan, math.nan, 0, f"{len(x)} eigenvalues above zero, fewer than {FEWEST}")
    logs, best = np.log(x), (math.inf, math.nan, 0)
    for k in range(len(x) - 1):
        excess = logs[k:] - logs[k]
        if not (total := excess.sum()):
            continue
        alpha = 1 + len(excess) / total
        lower = 1 - np.exp(excess * (1 - alpha))
        ranks = np.arange(len(excess) + 1) / len(excess)
        distance = max(np.abs(lower - ranks[:-1]).max(), np.abs(lower - ranks[1:]).max())
        best = min(best, (distance, alpha, k))
    _, alpha, k = best
    count = len(x) - k
    return Tail(float(alpha), float((alpha - 1) / math.sqrt(count)), float(x[k]), count)


@checked(rows=SOME, columns=SOME)
def chance_potential(rows: int, columns: int) -> float:
    """The frame potential that so many random directions have on average: n + n (n - 1) / d.

    >>> from pruning_lab.metrics import spectrum
    >>> spectrum.chance_potential(rows=10, columns=9)
    20.0
    """
    return rows + rows * (rows - 1) / columns


@lru_cache
def _median(rows: int, columns: int) -> float:
    """Of the bulk at variance 1. Over singular values, where the density is finite, also that of a square matrix."""
    low, high = bulk_edges(rows, columns, 1.0)
    roots = np.linspace(math.sqrt(low), math.sqrt(high), 20_001)
    middles = (roots[1:] + roots[:-1]) / 2
    shares = np.cumsum(2 * middles * bulk_density(middles**2, rows, columns, 1.0))
    return float(middles[np.searchsorted(shares, shares[-1] / 2)] ** 2)
