"""Subspaces of a layer's units: the leading directions of a matrix, chance ones, projections, and how two overlap.

ValueError: what is given is of another kind or not finite, or no finite number comes out.
"""

from __future__ import annotations

import numpy as np

from ..numeric import checked


@checked
def leading(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Left singular vectors [rows, rows] as columns, the largest value's first, and their singular values [rows].

    From the eigenvectors of the matrix times its transpose, in float64: singular values below 1e-8 of the largest are
    rounding.

    >>> import numpy as np
    >>> from pruning_lab.metrics import subspaces
    >>> directions, values = subspaces.leading(np.diag([1.0, 3.0]))
    >>> np.abs(directions[:, 0]).tolist(), values.tolist()
    ([0.0, 1.0], [3.0, 1.0])
    """
    matrix = np.asarray(matrix, dtype=float)
    squares, vectors = np.linalg.eigh(matrix @ matrix.T)
    return vectors[:, ::-1], np.sqrt(squares[::-1].clip(0))


@checked(rows=(1, None), count=(1, None))
def random_directions(rows: int, count: int, seed: int) -> np.ndarray:
    """An orthonormal basis [rows, count] of a subspace drawn uniformly from all of that dimension.

    >>> import numpy as np
    >>> from pruning_lab.metrics import subspaces
    >>> basis = subspaces.random_directions(rows=4, count=2, seed=0)
    >>> (basis.T @ basis).round(6).tolist() == np.eye(2).tolist()
    True
    """
    return np.linalg.qr(np.random.default_rng(seed).standard_normal((rows, count)))[0]


@checked
def projected(matrix: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """The columns of a matrix [rows, columns] as far as they lie in the subspace of an orthonormal basis [rows, k].

    >>> import numpy as np
    >>> from pruning_lab.metrics import subspaces
    >>> subspaces.projected(np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[1.0], [0.0]])).tolist()
    [[1.0, 2.0], [0.0, 0.0]]
    """
    return basis @ (basis.T @ np.asarray(matrix, dtype=float))


@checked
def overlap(one: np.ndarray, other: np.ndarray) -> float:
    """Mean squared cosine of the principal angles of two subspaces, from orthonormal bases [rows, k] and [rows, m].

    The mean is over the smaller dimension: 1 where one contains the other, 0 where they are orthogonal; of a given one
    and one drawn at random max(k, m) / rows.

    >>> import numpy as np
    >>> from pruning_lab.metrics import subspaces
    >>> subspaces.overlap(np.array([[1.0], [0.0]]), np.eye(2)), subspaces.overlap(np.eye(2)[:, :1], np.eye(2)[:, 1:])
    (1.0, 0.0)
    """
    return float(np.square(one.T @ other).sum() / min(one.shape[1], other.shape[1]))
