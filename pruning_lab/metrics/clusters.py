"""Whether vectors gather: k-means centres, and angles to the nearest."""

from __future__ import annotations

import numpy as np

from ..numeric import checked


@checked(count=(1, None))
def kmeans(vectors: np.ndarray, count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Centres [count, n] and each vector's cluster [vectors], the best of ten starts.

    ValueError: fewer vectors than centres.

    >>> import numpy as np
    >>> from pruning_lab import metrics
    >>> centres, labels = metrics.kmeans(np.array([[0.0, 0.0], [0.0, 2.0], [9.0, 0.0]]), count=2)
    >>> sorted(centres.tolist())
    [[0.0, 1.0], [9.0, 0.0]]
    """
    from sklearn.cluster import KMeans

    if len(vectors) < count:
        raise ValueError(f"{count} centres of {len(vectors)} vectors: expected at least as many vectors")
    if len(np.unique(vectors, axis=0)) < count:  # k-means has then no others to offer
        return vectors[:count].copy(), np.arange(len(vectors)) % count
    found = KMeans(count, n_init=10, random_state=seed).fit(vectors)
    return found.cluster_centers_, found.labels_


@checked
def angles_to_nearest(vectors: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Degrees between each of `vectors` [V, n] and the centre [C, n] nearest in angle, [V] in 0..180.

    A zero vector has 90 with all.

    >>> import numpy as np
    >>> from pruning_lab import metrics
    >>> metrics.angles_to_nearest(np.array([[0.0, 2.0], [-1.0, 0.0]]), np.array([[1.0, 0.0]])).round(6).tolist()
    [90.0, 180.0]
    """
    vectors, centres = (_unit(part) for part in (vectors, centres))
    return np.degrees(np.arccos((vectors @ centres.T).max(1).clip(-1, 1)))


@checked
def random_directions(vectors: np.ndarray, seed: int = 0) -> np.ndarray:
    """Vectors of the same lengths whose directions are random, [V, n] float64.

    >>> import numpy as np
    >>> from pruning_lab import metrics
    >>> drawn = metrics.random_directions(np.array([[3.0, 4.0], [0.0, 1.0]]))
    >>> np.linalg.norm(drawn, axis=1).round(6).tolist()
    [5.0, 1.0]
    """
    drawn = np.random.default_rng(seed).standard_normal(np.shape(vectors))
    return _unit(drawn) * np.linalg.norm(vectors, axis=1, keepdims=True)


def _unit(vectors: np.ndarray) -> np.ndarray:
    vectors = np.asarray(vectors, dtype=float)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0)
