"""Weight vectors of one layer over time -> the few bytes that a page needs to draw them as a graph, and back."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from .. import metrics

MOST_UNITS = 2048
NEAREST = 3  # of every unit, kept whatever the budget
BARE = -15  # deflated, without a header
FIRST = 128  # what stands for the last code of a pair that comes for the first time
ESCAPE = 255  # a gap of 255 or more between two pair numbers takes another byte for each 255 in it


@dataclass(frozen=True)
class Pairs:
    """The strongest pairs of every snapshot: numbers in the upper triangle, row by row, and cosines in 8 bits.

    `data` is deflated. It holds what changes from one snapshot to the next, which is little: first, for each snapshot,
    the gaps between the numbers of the pairs that come or go, or of all pairs where `anew[t]` (that is shorter), those
    of t from byte `offsets[t]` on; from `offsets[-1]` on, for each snapshot and each of its `counts[t]` pairs in
    ascending order, a byte: the code of the cosine minus the pair's last code (FIRST where it has none), modulo 256. A
    code q means the cosine `low + (high - low) q / 255`. All pairs at or above `floors[t]` are there; below it only
    each unit's nearest.
    """

    data: bytes
    offsets: list[int]
    counts: list[int]
    anew: list[bool]
    floors: list[float]
    low: float
    high: float


def snapshots(arrays: Sequence | np.ndarray, what: str = "snapshot") -> list[np.ndarray]:
    """Arrays or tensors [T, U, ...] as a list of T arrays [U, D]; ValueError: unequal shapes, no unit."""
    parts = [np.asarray(part.detach().cpu() if hasattr(part, "detach") else part) for part in arrays]
    shapes = sorted({part.shape for part in parts})
    if len(shapes) != 1:
        raise ValueError(f"every {what} must have the same shape, but there are {shapes or 'none'}")
    if len(shapes[0]) < 2 or 0 in shapes[0]:
        raise ValueError(f"a {what} needs one row or more a unit, [units, inputs], but its shape is {shapes[0]}")
    units = shapes[0][0]
    if units > MOST_UNITS:
        raise ValueError(f"{units:,} units are too many to draw, {MOST_UNITS:,} is the most: "
                         "choose rows first, for example weights[:, np.argsort(-norms[-1])[:512]]")  # fmt: skip
    return [part.reshape(units, -1) for part in parts]


def finite(values: np.ndarray, place: str) -> np.ndarray:
    """The values as float32; raises ValueError that names the first row with a NaN or an infinity."""
    good = np.isfinite(values := values.astype(np.float32, copy=False))
    if not good.all():
        row = int(np.flatnonzero(~good.all(axis=tuple(range(1, values.ndim))))[0])
        raise ValueError(f"{place}, unit {row}: NaN or infinity, which has no place in a picture")
    return values


def from_rows(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Norms [U] and cosines [U, U] of the rows [U, D]; a zero row has cosine zero with all, itself included."""
    peak = np.abs(rows).max(axis=1)
    scaled = rows / np.where(peak > 0, peak, 1)[:, None]  # squares of huge or tiny weights would leave float32
    norms = np.sqrt(np.einsum("ud,ud->u", scaled, scaled))
    unit = scaled / np.where(norms > 0, norms, 1)[:, None]
    return norms.astype(np.float64) * peak, np.clip(unit @ unit.T, -1, 1)


def from_products(gram: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Norms [U] and cosines [U, U] out of inner products [U, U]; raises ValueError where they cannot be such."""
    gram = gram.astype(np.float64)
    square = np.diagonal(gram)
    if gram.shape[0] != gram.shape[1] or not np.allclose(gram, gram.T, atol=1e-2 * max(np.abs(gram).max(), 1e-30)):
        raise ValueError(f"a Gram matrix is square and symmetric, this one {gram.shape} is not")
    if (square < 0).any():
        raise ValueError("a Gram matrix has squared norms on its diagonal, this one has negative numbers there")
    return np.sqrt(square), metrics.cosines(gram).astype(np.float32)


def shares(cosines: np.ndarray, nets: Sequence[int]) -> np.ndarray:
    """Each unit's part [U] of the frame potential of its own net: its squared cosines over those of all units."""
    out, start = np.zeros(len(cosines)), 0
    for size in nets:
        own = slice(start, start := start + size)
        rows = np.square(cosines[own, own]).sum(axis=1, dtype=np.float64)
        out[own] = rows / max(rows.sum(), 1e-300)
    return out


def gaps(numbers: np.ndarray) -> np.ndarray:
    """Ascending pair numbers as bytes of their gaps; every full 255 in a gap is a byte of its own."""
    steps = np.diff(numbers, prepend=0)
    full = steps // ESCAPE
    out = np.full(len(numbers) + int(full.sum()), ESCAPE, np.uint8)
    out[np.cumsum(full + 1) - 1] = steps % ESCAPE
    return out


def strongest(cosines: np.ndarray, alive: np.ndarray, budget: int) -> tuple[np.ndarray, np.ndarray, float]:
    """Numbers and cosines of the pairs kept, ascending by number, and the weakest cosine that is there completely.

    As many of the strongest as fit into `budget` bytes, and each unit's nearest. Pairs with a zero row are none. Raises
    ValueError where there is room for the nearest only: no cut-off would then show all pairs above it.
    """
    units = len(cosines)
    upper = np.triu_indices(units, 1)
    values = cosines[upper]
    possible = np.flatnonzero(alive[upper[0]] & alive[upper[1]])
    near = nearest(cosines, alive)
    most = min(len(possible), max(budget // 2, 0))
    order = possible[_top(values[possible], most)]
    while True:
        kept = np.union1d(order, near).astype(np.int64)
        excess = len(kept) + len(gaps(kept)) - budget
        if excess <= 0 or not len(order):
            break
        order = order[: len(order) - max(1, excess // 3)]
    if not len(order) and len(possible):
        raise ValueError(f"{max(budget, 0):,} bytes a snapshot are too few for more than each unit's nearest "
                         f"({len(near):,} pairs): take fewer snapshots or units, or a larger limit")  # fmt: skip
    floor = float(values[order[-1]]) if len(order) else 1.0
    return kept, values[kept], -1.0 if len(order) == len(possible) else floor


def _top(values: np.ndarray, most: int) -> np.ndarray:
    """Positions of the `most` largest values, largest first, ties by position."""
    if most < len(values):
        edge = np.partition(values, len(values) - most)[len(values) - most] if most else np.inf
        above, level = np.flatnonzero(values > edge), np.flatnonzero(values == edge)
        chosen = np.concatenate([above, level[: most - len(above)]])
    else:
        chosen = np.arange(len(values))
    return chosen[np.argsort(-values[chosen], kind="stable")]


def nearest(cosines: np.ndarray, alive: np.ndarray) -> np.ndarray:
    """Numbers of the pairs that hold each unit's NEAREST most similar units, ascending, each once."""
    units, live = len(cosines), np.flatnonzero(alive)
    most = min(NEAREST, len(live) - 1)
    if most < 1:
        return np.empty(0, np.int64)
    part = cosines[np.ix_(live, live)].copy()
    np.fill_diagonal(part, -2)
    other = live[np.argpartition(-part, most - 1, axis=1)[:, :most]].ravel()
    own = np.repeat(live, most)
    i, j = np.minimum(own, other), np.maximum(own, other)
    return np.unique(i * (2 * units - i - 1) // 2 + j - i - 1)


def pack(kept: Iterable[tuple[np.ndarray, np.ndarray, float]]) -> Pairs:
    """What `strongest` found in each snapshot, as bytes."""
    kept = list(kept)
    cosines = [values for _, values, _ in kept if len(values)]
    low = float(min((v.min() for v in cosines), default=0.0))
    high = float(max((v.max() for v in cosines), default=1.0))
    span = high - low
    last = np.full(1 + max((int(n[-1]) for n, _, _ in kept if len(n)), default=0), FIRST, np.uint8)
    before, changes, anew, steps = np.empty(0, np.int64), [], [], []
    for numbers, values, _ in kept:
        codes = np.rint((values - low) / span * 255 if span > 0 else np.zeros(len(values))).astype(np.uint8)
        differ, whole = gaps(np.setxor1d(before, numbers)).tobytes(), gaps(numbers).tobytes()
        anew.append(len(whole) < len(differ))
        changes.append(whole if anew[-1] else differ)
        steps.append((codes - last[numbers]).tobytes())  # in eight bits, so modulo 256
        before, last[numbers] = numbers, codes
    offsets = [0, *np.cumsum([len(part) for part in changes]).tolist()]
    floors = [max(floor, low) for _, _, floor in kept]
    press = zlib.compressobj(9, wbits=BARE)
    data = press.compress(b"".join(changes + steps)) + press.flush()
    return Pairs(data, offsets, [len(n) for n, _, _ in kept], anew, floors, low, high)


def unpack(pairs: Pairs, snapshot: int, units: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Units i < j [pairs] and their cosines [pairs] in one snapshot."""
    numbers, codes = next(found for t, found in enumerate(_replayed(pairs, units)) if t == snapshot)
    first = np.cumsum(np.r_[0, np.arange(units - 1, 0, -1)])  # number of the pair (i, i + 1)
    i = np.searchsorted(first[:-1] if units > 1 else first, numbers, side="right") - 1
    cosines = pairs.low + (pairs.high - pairs.low) * codes.astype(np.float64) / 255
    return i, numbers - first[i] + i + 1, cosines


def _replayed(pairs: Pairs, units: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Numbers and codes of the pairs of one snapshot after the other."""
    raw = np.frombuffer(zlib.decompress(pairs.data, BARE), np.uint8)
    last, numbers, at = np.full(units * (units - 1) // 2, FIRST, np.uint8), np.empty(0, np.int64), pairs.offsets[-1]
    for t, count in enumerate(pairs.counts):
        steps = raw[pairs.offsets[t] : pairs.offsets[t + 1]].astype(np.int64)
        numbers = np.setxor1d(numbers[:0] if pairs.anew[t] else numbers, np.cumsum(steps)[steps < ESCAPE])
        last[numbers] += raw[at : at + count]
        at += count
        yield numbers, last[numbers]


def labels(values, units: int, times: int) -> tuple[bytes, list[str], bool]:
    """Codes (one byte each, 255 = none), their names, and whether they change with time, of labels [U] or [T, U]."""
    values = np.asarray(values)
    if values.shape not in {(units,), (times, units)}:
        raise ValueError(f"a colour needs one label a unit, [{units}] or [{times}, {units}], not {list(values.shape)}")
    names = sorted(set(values.ravel().tolist()))
    names = [name for name in names if name not in (-1, "")]
    if len(names) > ESCAPE:
        raise ValueError(f"{len(names)} different labels are too many to colour, {ESCAPE} is the most")
    code = {name: number for number, name in enumerate(names)}
    codes = [code.get(value, ESCAPE) for value in values.ravel().tolist()]
    return bytes(codes), [str(name) for name in names], values.ndim == 2


def pictures(values, units: int) -> tuple[bytes, list[int]]:
    """Each unit's weights as a picture, [U, h, w] or [U, h, w, 3], in bytes with 128 for zero, at most 14 x 14."""
    values = np.asarray(values, np.float32)
    if values.ndim not in (3, 4) or len(values) != units or values.shape[3:] not in ((), (1,), (3,)):
        raise ValueError(f"pictures must be [{units}, h, w] or [{units}, h, w, 3], not {list(values.shape)}")
    values = finite(values.reshape(*values.shape[:3], -1), "pictures")
    for axis in (1, 2):
        values = _shrink(values, axis)
    peak = np.abs(values).max(axis=(1, 2, 3), keepdims=True)
    scaled = 128 + 127 * values / np.where(peak > 0, peak, 1)
    return np.rint(scaled).astype(np.uint8).tobytes(), list(values.shape[1:])


def _shrink(values: np.ndarray, axis: int, most: int = 14) -> np.ndarray:
    """The means of at most `most` equal stretches along an axis."""
    size = values.shape[axis]
    if size <= most:
        return values
    edges = np.arange(most) * size // most
    sums = np.add.reduceat(values, edges, axis=axis)
    shape = [1] * values.ndim
    shape[axis] = most
    return sums / np.diff(np.r_[edges, size]).reshape(shape)
