"""Numbers in prose and tables: one way to write them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from .verdicts import interval


def spoken(values: Sequence[float], digits: int = 1, unit: str = "") -> str:
    """The mean over nets with its 95 % interval, such as "+1.2 points (+0.3 to +2.1)"; "not run" without any net."""
    return "not run" if len(values) == 0 else spelled(*interval(values), digits, unit)


def spelled(mean: float, low: float, high: float, digits: int = 1, unit: str = "") -> str:
    """A mean and the ends of its interval as `spoken` writes them; ends that are not known are left out."""
    ends = f" ({low:+.{digits}f} to {high:+.{digits}f})" if np.isfinite(low) else ""
    return f"{mean:+.{digits}f}" + (f" {unit}" if unit else "") + ends


def side(values: Sequence[float], least: int = 3) -> str:
    """On which side of zero the interval over nets lies: "above", "below", "open" (neither), "few" nets, "none"."""
    if len(values) < least:
        return "few" if len(values) else "none"
    _, low, high = interval(values)
    return "above" if low > 0 else "below" if high < 0 else "open"


def counted(count: int, one: str, many: str = "") -> str:
    """A count with its noun: "1 net", "3 nets"."""
    return f"{count} {one if count == 1 else many or one + 's'}"


def summed(values: Sequence[float]) -> dict[str, Any]:
    """Mean, low and high ends of the interval, n, and the values themselves."""
    mean, low, high = interval(values)
    return dict(mean=mean, low=low, high=high, n=len(values), values=list(values))


def drawn(parts: Iterable[tuple[str, str, Sequence[float]]]) -> pd.DataFrame:
    """Rows for `figures.differences` from label, group and one number a net; those without a net are left out."""
    rows = [dict(label=label, group=group) | summed(values) for label, group, values in parts if len(values)]
    return pd.DataFrame(rows, columns=["label", "group", "mean", "low", "high", "n", "values"])
