"""Least squares on random Fourier features, for many numbers of features at once.

Of fewer features than samples all fits come from one Cholesky factor of the normal equations: the leading block of the
factor is the factor of the leading block. Beyond, the Gram matrix of samples grows feature by feature, and each number
of features has a factor of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import linalg

BLOCK = 2_000  # features that are held at a time; even


@dataclass(frozen=True)
class Fourier:
    """Pairs of a cosine and a sine: feature 2k is cos(v_k x), feature 2k + 1 is sin(v_k x), v_k normal, sd 1 / sigma.

    Over sqrt(N / 2), inner products of N of them tend to exp(-|x - x'|^2 / (2 sigma^2)) (Rahimi & Recht 2007).
    """

    inputs: int
    most: int  # features, even
    sigma: float
    seed: int

    def __post_init__(self) -> None:
        if self.most < 2 or self.most % 2 or self.inputs < 1 or self.sigma <= 0:
            told = f"{self.most} features of {self.inputs} inputs at sigma {self.sigma}"
            raise ValueError(f"{told}: expected an even number of features, inputs and a positive sigma")

    def blocks(self, *images: np.ndarray) -> Iterator[tuple[slice, list[np.ndarray]]]:
        """Features of images [n, inputs], not scaled, some columns after the other: which, and [n, columns] of each."""
        draw = np.random.default_rng(self.seed)
        for start in range(0, self.most, BLOCK):
            columns = slice(start, min(start + BLOCK, self.most))
            directions = draw.standard_normal((self.inputs, (columns.stop - start) // 2)) / self.sigma
            yield columns, [_waves(part @ directions) for part in images]


def _waves(angles: np.ndarray) -> np.ndarray:
    """Cosines and sines, in turns: [n, k] -> [n, 2 k]."""
    out = np.empty((len(angles), 2 * angles.shape[1]))
    np.cos(angles, out=out[:, ::2])
    np.sin(angles, out=out[:, 1::2])
    return out


@dataclass(frozen=True)
class Fit:
    """What so many features come to: outputs on both halves [n, K], and norms of the coefficients [K]."""

    features: int
    train: np.ndarray
    test: np.ndarray
    norms: np.ndarray


def fits(
    features: Fourier,
    train: np.ndarray,
    targets: np.ndarray,
    test: np.ndarray,
    sizes: Sequence[int],
    ridge: float = 0.0,
) -> list[Fit]:
    """The fit of least norm by each number of features, of features over sqrt(N / 2).

    train, test: images [n, inputs], float64. targets: [n, K]. sizes: even, ascending, at most `features.most`.
    ridge: what a unit of the squared norm costs, beside the sum of squared errors; of 0 it is least norm among the
    best.

    ValueError: sizes that are odd, not ascending or too large.
    """
    _check(sizes, features.most)
    within = [size for size in sizes if size <= len(train)]
    beyond = [size for size in sizes if size > len(train)]
    coefficients = _few(features, train, targets, within, ridge) | _many(features, train, targets, beyond, ridge)
    return _answers(features, train, test, coefficients, targets.shape[1])


def _check(sizes: Sequence[int], most: int) -> None:
    if list(sizes) != sorted(set(sizes)) or any(size < 2 or size % 2 for size in sizes) or max(sizes) > most:
        raise ValueError(f"numbers of features {list(sizes)}: expected even ones, ascending, at most {most}")


def _few(
    features: Fourier, train: np.ndarray, targets: np.ndarray, sizes: Sequence[int], ridge: float
) -> dict[int, np.ndarray]:
    """Number of features, at most n -> coefficients [N, K], of features that are not scaled."""
    if not sizes:
        return {}
    wide = np.concatenate([part for columns, (part,) in features.blocks(train) if columns.start < sizes[-1]], axis=1)
    wide = wide[:, : sizes[-1]]
    right, found = wide.T @ targets, {}
    square = not ridge and sizes[-1] == len(train)
    if square:  # the normal equations would square a condition that is at its worst here
        found[sizes[-1]] = linalg.lstsq(wide, targets, lapack_driver="gelsy", check_finite=False)[0]
    if least := sizes[: -1 if square else None]:
        gram = wide[:, : least[-1]].T @ wide[:, : least[-1]]
        shared = None if ridge else _lower(gram)
        for size in least:
            lower = None if shared is None else shared[:size, :size]
            found[size] = _solved(gram[:size, :size], right[:size], ridge * size / 2, lower)
    return found


def _lower(matrix: np.ndarray) -> np.ndarray | None:
    """The lower Cholesky factor; None: in float64 the matrix is singular."""
    try:
        return linalg.cholesky(matrix, lower=True, check_finite=False)
    except linalg.LinAlgError:
        return None


def _solved(gram: np.ndarray, right: np.ndarray, ridge: float, lower: np.ndarray | None = None) -> np.ndarray:
    """What a matrix with `ridge` on top of its diagonal takes to `right`, of least norm where it is singular."""
    raised = gram + ridge * np.eye(len(gram)) if ridge else gram
    lower = _lower(raised) if lower is None else lower
    if lower is None:  # images that are there twice
        return linalg.pinvh(raised, check_finite=False) @ right
    return linalg.cho_solve((lower, True), right, check_finite=False)


def _many(
    features: Fourier, train: np.ndarray, targets: np.ndarray, sizes: Sequence[int], ridge: float
) -> dict[int, np.ndarray]:
    """Number of features above n -> multipliers [n, K]: the coefficients are the features' sums weighted by them."""
    gram, found, waiting = np.zeros((len(train), len(train))), {}, list(sizes)
    for columns, (part,) in features.blocks(train) if sizes else ():
        done = columns.start
        while waiting and waiting[0] <= columns.stop:
            _grow(gram, part[:, done - columns.start : waiting[0] - columns.start])
            done = waiting.pop(0)
            found[done] = _solved(gram, targets, ridge * done / 2)
        if not waiting:
            break
        _grow(gram, part[:, done - columns.start :])
    return found


def _grow(gram: np.ndarray, part: np.ndarray) -> None:
    gram += part @ part.T


def _answers(
    features: Fourier, train: np.ndarray, test: np.ndarray, solved: dict[int, np.ndarray], classes: int
) -> list[Fit]:
    """Outputs and norms by number of features, all in one more pass over the features."""
    outputs = {size: [np.zeros((len(images), classes)) for images in (train, test)] for size in solved}
    squares = {size: np.zeros(classes) for size in solved}
    for columns, parts in features.blocks(train, test):
        for size in (size for size in solved if size > columns.start):
            end = min(columns.stop, size)
            own = parts[0][:, : end - columns.start]
            some = solved[size][columns.start : end] if size <= len(train) else own.T @ solved[size]
            squares[size] += np.square(some).sum(0)
            for out, part in zip(outputs[size], parts, strict=True):
                out += part[:, : end - columns.start] @ some
    return [Fit(size, *outputs[size], np.sqrt(squares[size] * size / 2)) for size in sorted(solved)]
