"""How many weights each layer keeps. Totals are exact, and no layer keeps fewer where the total grows: masks nest."""

import math
from collections.abc import Sequence
from fractions import Fraction

from ..nets.given import is_number, shown


def total(density: float, weights: int) -> int:
    """The number of weights that a density keeps, halves rounded up; ValueError unless 0 < density <= 1."""
    if not is_number(density) or not 0 < density <= 1:
        raise ValueError(f"density={shown(density)}: expected the fraction of weights kept, above 0 and at most 1")
    return math.floor(_exact(density) * weights + Fraction(1, 2))


def floors(floor: float, sizes: Sequence[int]) -> list[int]:
    """The least number of weights that each layer keeps, rounded up; ValueError unless 0 <= floor <= 1."""
    if not is_number(floor) or not 0 <= floor <= 1:
        raise ValueError(f"floor={shown(floor)}: expected the least density of a layer, from 0 to 1")
    return [math.ceil(_exact(floor) * size) for size in sizes]


def by_share(shares: Sequence[int], least: Sequence[int], most: Sequence[int], kept: int) -> list[int]:
    """Counts that sum to `kept`, in proportion to `shares` as `least` and `most` allow; what these take is shared out.

    Counts are rounded by Webster's rule: the nearest to one multiple of all shares, the multiple chosen so that the sum
    is right; where two layers would round up at the same multiple, the earlier does so first.
    """

    def counts(multiple: float) -> list[int]:
        return [min(max(math.floor(multiple * s + 0.5), a), b) for s, a, b in zip(shares, least, most, strict=True)]

    low, high = 0.0, max((b + 1) / s for s, b in zip(shares, most, strict=True))
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if sum(counts(middle)) <= kept else (low, middle)
    handed = counts(low * (1 - 1e-9))  # a little less: the last few are handed out exactly
    while sum(handed) < kept:
        open_ = [k for k, most_here in enumerate(most) if handed[k] < most_here]
        handed[max(open_, key=lambda k: Fraction(shares[k], 2 * handed[k] + 1))] += 1  # the first of equals
    return handed


def erk(shape: Sequence[int]) -> int:
    """A layer's share under the Erdos-Renyi-Kernel: the sum of its dimensions (Evci et al. 2020, section 3).

    Its density is then proportional to (inputs + outputs + kernel sides) / (inputs x outputs x kernel sides). A lone
    number has share 1.
    """
    return sum(shape) or 1


def _exact(fraction: float) -> Fraction:
    """What was written, so that 7 % of 100 is 7."""
    return Fraction(str(float(fraction)))
