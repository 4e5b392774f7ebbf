"""What the graph of a layer's weight vectors shows, as numbers: pairs nearer than chance, communities, lengths."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from .. import metrics
from ..nets.given import check_whole, is_number, shown
from ..numeric import checked, sound

LEAST = 3  # units that make a community
LARGEST = 1e100  # of an inner product, whose square is then finite
COMPANDED = 127  # a cosine c is kept as round(127 sign(c) sqrt(|c|)): fine where most pairs are, at right angles


def chance(inputs: int, deviations: float = 4.0) -> float:
    """The cosine that a pair of random directions in so many dimensions passes by so many standard deviations only.

    ValueError: no number of dimensions, or no number of deviations.

    >>> from pruning_lab.units import structure
    >>> structure.chance(100)  # 4 standard deviations of 1 / sqrt(100)
    0.4
    """
    if not (is_number(inputs) and 0 < inputs < math.inf and is_number(deviations) and math.isfinite(deviations)):
        raise ValueError(f"inputs={shown(inputs)}, deviations={shown(deviations)}: expected numbers, the first above 0")
    return deviations / math.sqrt(inputs)


def describe(
    gram: np.ndarray,
    inputs: int,
    classes: np.ndarray | None = None,
    *,
    deviations: float = 4.0,
    neighbours: int = 5,
    seed: int = 0,
) -> dict[str, float]:
    """Numbers of the graph of weight vectors whose inner products are `gram` [U, U].

    Two graphs are read. Of all pairs above `chance`: `pairs` and `close` (cosine of 0.5 or more), as shares of all
    pairs, and `component`, the share of units in the largest connected part. Of the strongest pairs, as many as
    `neighbours` times the units, so that graphs have equally many edges: `modularity` of Louvain's communities (Blondel
    et al. 2008), the number of `communities` of three units or more, the share of units in the `largest`, and
    `agreement` with `classes` [U] (adjusted mutual information, 0 by chance; units of class -1 left out). Lengths: mean
    `norm`, `spread` (sd over mean), and `crowding`, the rank correlation of a unit's norm with the mean cosine of its
    `neighbours` nearest. NaN where a number has no meaning: `agreement` without classes, `modularity` without an edge,
    `spread` and `crowding` of lengths that are zero or alike, shares of pairs of a single unit.

    ValueError: numbers that are not finite, or no square of them; fewer than one neighbour; classes of other units.

    >>> import numpy as np
    >>> from pruning_lab.units import structure
    >>> gram = np.kron(np.eye(2), np.ones((3, 3)))  # two groups of three equal rows
    >>> numbers = structure.describe(gram, inputs=100, neighbours=1)
    >>> numbers["communities"], round(numbers["pairs"], 3)
    (2, 0.4)
    """
    _check(gram, "gram", neighbours, seed)
    if classes is not None and np.shape(classes) != (len(gram),):
        raise ValueError(f"classes={shown(classes)}: expected one whole number a unit, [{len(gram)}]")
    cosines, norms, units = metrics.cosines(gram), np.sqrt(np.diagonal(gram).astype(float)), len(gram)
    upper = cosines[np.triu_indices(units, 1)]
    labels, modularity = communities(cosines, neighbours, seed)
    sizes = np.bincount(labels[labels >= 0], minlength=1)
    nearest = np.sort(cosines - 2 * np.eye(units), axis=1)[:, -neighbours:].mean(1)
    return dict(
        pairs=float((upper > chance(inputs, deviations)).mean()),
        close=float((upper >= 0.5).mean()),
        component=_component(cosines > chance(inputs, deviations)) / units,
        modularity=modularity,
        communities=int((sizes > 0).sum()),
        largest=sizes.max() / units,
        agreement=math.nan if classes is None else agreement(labels, classes),
        norm=float(norms.mean()),
        spread=float(norms.std() / norms.mean()) if norms.any() else math.nan,
        crowding=metrics.rank_correlation(norms, nearest),
    )


def opposite(gram: np.ndarray, inputs: int, deviations: float = 4.0) -> float:
    """Share of all pairs whose cosine is below minus `chance`, of weight vectors of inner products `gram` [U, U].

    NaN of a single unit. ValueError: as `describe`.

    >>> import numpy as np
    >>> from pruning_lab.units import structure
    >>> structure.opposite(np.array([[1.0, -1.0], [-1.0, 1.0]]), inputs=100)
    1.0
    """
    _check(gram, "gram", 1, 0)
    return float((metrics.cosines(gram)[np.triu_indices(len(gram), 1)] < -chance(inputs, deviations)).mean())


def communities(cosines: np.ndarray, neighbours: int = 5, seed: int = 0) -> tuple[np.ndarray, float]:
    """Louvain's communities of the strongest pairs of `cosines` [U, U], and their modularity.

    Labels [U] are 0, 1, ... from the largest on, -1 for units in none of three or more. Edges weigh their cosine; pairs
    at right angles or beyond are none. Modularity is NaN without any edge. ValueError: as `describe`.

    >>> import numpy as np
    >>> from pruning_lab.units import structure
    >>> labels, modularity = structure.communities(np.kron(np.eye(2), np.ones((3, 3))), neighbours=1)
    >>> labels.tolist(), round(modularity, 3)
    ([0, 0, 0, 1, 1, 1], 0.5)
    """
    _check(cosines, "cosines", neighbours, seed)
    import networkx as nx

    units = len(cosines)
    i, j = np.triu_indices(units, 1)
    kept = np.argsort(-cosines[i, j], kind="stable")[: neighbours * units]
    graph = nx.empty_graph(units)
    edges = ((int(a), int(b), float(cosines[a, b])) for a, b in zip(i[kept], j[kept], strict=True))
    graph.add_weighted_edges_from(edge for edge in edges if edge[2] > 0)
    labels = np.full(units, -1, np.int16)
    if not graph.number_of_edges():
        return labels, math.nan
    parts = nx.community.louvain_communities(graph, seed=seed)
    for number, part in enumerate(sorted((p for p in parts if len(p) >= LEAST), key=lambda p: (-len(p), min(p)))):
        labels[list(part)] = number
    return labels, float(nx.community.modularity(graph, parts))


def clusters(cosines: np.ndarray, count: int = 10, seed: int = 0) -> np.ndarray:
    """k-means clusters [U] of the directions whose cosines are [U, U]; -1 for units of norm zero.

    ValueError: numbers that are not finite, or no square of them; fewer than one cluster.

    >>> import numpy as np
    >>> from pruning_lab.units import structure
    >>> labels = structure.clusters(np.kron(np.eye(2), np.ones((3, 3))), count=2)
    >>> (labels[:3] == labels[0]).all().item(), (labels[:3] != labels[3:]).all().item()
    (True, True)
    """
    _check(cosines, "cosines", count, seed, "count")
    from sklearn.cluster import KMeans

    alive = np.flatnonzero(np.diagonal(cosines) > 0)
    labels = np.full(len(cosines), -1, np.int16)
    if len(alive):
        values, vectors = np.linalg.eigh(cosines[np.ix_(alive, alive)])
        places = vectors * np.sqrt(values.clip(0))  # points with these inner products
        labels[alive] = KMeans(min(count, len(alive)), n_init=10, random_state=seed).fit_predict(places)
    return labels


def agreement(labels: np.ndarray, classes: np.ndarray) -> float:
    """Adjusted mutual information of two labellings [U], over units that have both; NaN for fewer than three.

    >>> import numpy as np
    >>> from pruning_lab.units import structure
    >>> round(structure.agreement(np.array([0, 0, 1, 1]), np.array([5, 5, 7, 7])), 6)
    1.0
    """
    from sklearn.metrics import adjusted_mutual_info_score

    both = (labels >= 0) & (classes >= 0)
    return float(adjusted_mutual_info_score(classes[both], labels[both])) if both.sum() >= LEAST else math.nan


def pack(cosines: Iterable[np.ndarray]) -> np.ndarray:
    """Cosines [U, U] of T snapshots as int8 [T, U (U - 1) / 2]: upper triangles row by row, each minus the one before,
    modulo 256.

    Snapshots early in training hardly differ, so that the differences take few bytes on disk. ValueError: cosines that
    are not finite.

    >>> import numpy as np
    >>> from pruning_lab.units import structure
    >>> structure.pack([np.array([[1.0, 0.5], [0.5, 1.0]]), np.array([[1.0, 0.0], [0.0, 1.0]])]).shape
    (2, 1)
    """
    upper = sound("cosines", np.stack([c[np.triu_indices(len(c), 1)] for c in cosines]))
    steps = np.rint(COMPANDED * np.sign(upper) * np.sqrt(np.abs(upper))).astype(np.int16)
    return np.diff(steps, axis=0, prepend=np.int16(0)).astype(np.int8)


@checked
def unpack(packed: np.ndarray, norms: np.ndarray) -> np.ndarray:
    """Inner products [T, U, U] of weight vectors of these norms [T, U] from what `pack` made of their cosines.

    ValueError: norms that are not finite, or of other snapshots or units.

    >>> import numpy as np
    >>> from pruning_lab.units import structure
    >>> packed = structure.pack([np.array([[1.0, 0.0], [0.0, 1.0]])])
    >>> structure.unpack(packed, np.array([[2.0, 3.0]])).tolist()
    [[[4.0, 0.0], [0.0, 9.0]]]
    """
    times, units = norms.shape
    part = np.cumsum(packed, axis=0, dtype=np.int8).astype(float) / COMPANDED
    upper = np.zeros((times, units, units))
    upper[:, *np.triu_indices(units, 1)] = np.sign(part) * part**2
    cosines = upper + upper.transpose(0, 2, 1) + np.eye(units)
    return cosines * norms[:, :, None] * norms[:, None]


def _check(square: np.ndarray, name: str, count: int, seed: int, counted: str = "neighbours") -> None:
    """ValueError unless it is a square of finite numbers, with as many as wanted of something, and a seed."""
    shape = np.shape(square)
    if not hasattr(square, "shape") or len(shape) != 2 or shape[0] != shape[1] or not shape[0]:
        raise ValueError(
            f"{name} is a {type(square).__name__} of shape {list(shape)}: expected an array [units, units]"
        )
    if bad := int((~(np.abs(np.asarray(square, float)) < LARGEST)).sum()):  # which NaN is not, either
        raise ValueError(f"{name} has {bad} numbers that are not finite: check the weights that it was made of")
    check_whole(counted, count)
    check_whole("seed", seed, 0, 2**32 - 1)


def _component(linked: np.ndarray) -> int:
    """Units in the largest connected part of a graph given as booleans [U, U]."""
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import connected_components

    return int(np.bincount(connected_components(csr_array(linked), directed=False)[1]).max())
