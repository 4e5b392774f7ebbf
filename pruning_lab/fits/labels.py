"""Labels as numbers to be fitted, some of them drawn anew."""

from __future__ import annotations

import numpy as np


def redrawn(labels: np.ndarray, share: float, classes: int, draw: np.random.Generator) -> np.ndarray:
    """Labels [n] of which exactly round(share n), drawn, are uniform over all classes: a K-th of them stay right.

    ValueError: a share outside [0, 1].
    """
    if not 0 <= share <= 1:
        raise ValueError(f"a share of {share} of the labels cannot be redrawn: expected 0 to 1")
    chosen = draw.permutation(len(labels))[: round(share * len(labels))]
    fresh = draw.integers(classes, size=len(chosen))
    out = np.array(labels)
    out[chosen] = fresh
    return out


def one_hot(labels: np.ndarray, classes: int) -> np.ndarray:
    """[n, classes] float64: one at an image's class, else zero."""
    return np.eye(classes)[labels]


def risk(outputs: np.ndarray, labels: np.ndarray) -> float:
    """Mean over images of the squared distance from outputs [n, K] to one-hot labels [n], summed over classes.

    Answering zero always has a risk of 1, answering 1/K always one of 1 - 1/K.
    """
    return float(np.square(outputs - one_hot(labels, outputs.shape[1])).sum(1).mean())


def error(outputs: np.ndarray, labels: np.ndarray) -> float:
    """Share of images [n] whose largest output [n, K] is not that of their label."""
    return float((outputs.argmax(1) != labels).mean())
