"""Units that say what another says already, and how much of a layer may go."""

from __future__ import annotations

import numpy as np

from ..numeric import checked


@checked
def strongest_correlation(outputs: np.ndarray) -> np.ndarray:
    """Of each unit the largest |Pearson correlation| with another, [units], of outputs [images, units].

    Zero for a unit that never changes, and where there is no other (Casper et al. 2019 count those with 0.5 or more).

    >>> import numpy as np
    >>> from pruning_lab import metrics
    >>> outputs = np.array([[0.0, 0.0, 1.0], [1.0, -2.0, 1.0], [2.0, -4.0, 1.0]])  # three images, three units
    >>> metrics.strongest_correlation(outputs).round(6).tolist()
    [1.0, 1.0, 0.0]
    """
    x = np.asarray(outputs, dtype=float)
    x = x - x.mean(0)
    lengths = np.linalg.norm(x, axis=0)
    alive = lengths > 1e-7 * max(float(lengths.max(initial=0)), 1e-30)
    x = np.where(alive, x / np.where(alive, lengths, 1), 0)
    together = np.abs(x.T @ x)
    np.fill_diagonal(together, 0)
    return together.max(1, initial=0).clip(0, 1)


@checked
def removable(accuracy: np.ndarray, margin: float = 0.01) -> float:
    """The share of a layer's units that can go, one by one, before accuracy first falls more than `margin` below the
    whole net's; `accuracy` [units + 1] in [0, 1], after 0..units removals.

    >>> import numpy as np
    >>> from pruning_lab import metrics
    >>> metrics.removable(np.array([0.9, 0.895, 0.7, 0.9, 0.1]))  # one of four units
    0.25
    """
    fallen = np.flatnonzero(np.asarray(accuracy) < accuracy[0] - margin - 1e-9)
    last = fallen[0] - 1 if len(fallen) else len(accuracy) - 1
    return float(last / (len(accuracy) - 1))
