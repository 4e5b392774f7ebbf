"""Angles between the weight vectors of a layer."""

from __future__ import annotations

import numpy as np
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
    angles = np.where(alive[:, None] & alive, gram / safe[:, None] / safe, 0).clip(-1, 1)
    np.fill_diagonal(angles, alive)
    return angles
