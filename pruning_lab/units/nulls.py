"""What a layer's angles would be by chance: rows as long as its own that point anywhere its spectrum allows."""

from __future__ import annotations

import numpy as np

from .. import metrics


def same_spectrum(gram: np.ndarray, seed: int | tuple[int, ...] = 0) -> np.ndarray:
    """Inner products [U, U] of random rows with the lengths of those whose inner products are `gram` [U, U].

    Their directions have the same spectrum: the eigenvalues of the matrix of cosines, under random eigenvectors, after
    which each row is scaled back to its length. So they share as few dimensions as the layer's own, but no groups. Rows
    of length zero stay so.
    """
    cosines, norms = metrics.cosines(gram), np.sqrt(np.diagonal(gram).astype(float))
    alive = np.flatnonzero(norms > 0)
    values = np.linalg.eigvalsh(cosines[np.ix_(alive, alive)].astype(float)).clip(0)
    turned = _rotation(len(alive), np.random.default_rng(seed))
    drawn = (turned * values) @ turned.T
    scale = norms[alive] / np.sqrt(np.diagonal(drawn))
    found = np.zeros((len(norms), len(norms)))
    found[np.ix_(alive, alive)] = drawn * scale[:, None] * scale
    return found


def _rotation(size: int, draw: np.random.Generator) -> np.ndarray:
    """A rotation or reflection [size, size], all being equally likely."""
    q, r = np.linalg.qr(draw.standard_normal((size, size)))
    return q * np.sign(np.diagonal(r))
