"""Rough seconds on two CPU cores, by which a sweep orders its experiments."""

from __future__ import annotations

SPEED = 5e10  # multiply-adds a second


def passes(multiplications: float, images: float, count: float = 1) -> float:
    """Seconds of so many passes forward, each of so many images at so many multiply-adds."""
    return count * images * multiplications / SPEED


def steps(multiplications: float, batch: int, count: int) -> float:
    """Seconds of so many steps of training: three passes of a batch, one forward and two backward."""
    return passes(multiplications, batch, 3 * count)
