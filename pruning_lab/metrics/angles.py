"""Angles between the weight vectors of a layer."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from ..numeric import checked


@checked
def frame_potential(weight: torch.Tensor) -> float:
    """Sum of squared cosines over all ordered pairs of rows of `weight` [units, ...], zero rows left out.

    For n unit vectors in d dimensions at least n^2 / d and n, at most n^2 (Benedetto & Fickus 2003).

    >>> import torch
    >>> from pruning_lab import metrics
    >>> metrics.frame_potential(torch.tensor([[2.0, 0.0], [0.0, 1.0], [-1.0, 0.0]]))
    5.0
    """
    rows = F.normalize(weight.detach().flatten(1).double(), dim=1)
    return (rows @ rows.T).square().sum().item()


@checked
def cosines(gram: np.ndarray) -> np.ndarray:
    """Cosines [U, U] float64 out of inner products [U, U]; a zero row has cosine zero with all, itself included.

    >>> import numpy as np
    >>> from pruning_lab import metrics
    >>> rows = np.array([[2.0, 0.0], [0.0, 3.0], [0.0, 0.0]])
    >>> metrics.cosines(rows @ rows.T).tolist()
    [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0]]
    """
    gram = np.asarray(gram, dtype=float)
    norms = np.sqrt(np.diagonal(gram).clip(0))
    alive = norms > 0
    safe = np.where(alive, norms, 1)
    angles = np.where(alive[:, None] & alive, gram / safe[:, None] / safe, 0).clip(-1, 1)
    np.fill_diagonal(angles, alive)
    return angles
