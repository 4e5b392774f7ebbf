"""Numbers in prose and tables: one way to write them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from .verdicts import interval


def spoken(values: Sequence[float], digits: int = 1, unit: str = "") -> str:
    """The mean over nets with its 95 % interval, such as "+1.2 points (+0.3 to +2.1)"; "not run" without any net."""
    return "not run" if len(values) == 0 else spelled(*interval(values), digits, unit)


def spelled(mean: float, low: float, high: float, digits: int = 1, unit: str = "") -> str:
    """A mean and the ends of its interval as `spoken` writes them; ends that are not known are left out."""
    told = [_signed(x, digits) for x in (mean, low, high)]
    ends = f" ({told[1]} to {told[2]})" if np.isfinite(low) else ""
    return told[0] + (f" {unit}" if unit else "") + ends


def amount(mean: float, low: float, high: float, unit: str) -> str:
    """A measured number in its unit with its interval: "+1.20 points (+0.30 to +2.10)"; infinite ends are left out.

    A log ratio is written as what it means: a change in per cent, "+10.0 % per doubling (+8.1 to +12.0)", or where a
    number lies beyond double or half as a factor, "5.0 times (3.1 to 8.0)".
    """
    if not unit.startswith("log ratio"):
        return spelled(mean, low, high, digits([mean, low, high]), unit)
    numbers = [mean, low, high] if np.isfinite([low, high]).all() else [mean]
    far = max(map(abs, numbers)) > np.log(2) + 1e-12
    told = [_times(x) if far else _signed(100 * np.expm1(x), 1) for x in numbers]
    ends = f" ({told[1]} to {told[2]})" if len(told) > 1 else ""
    return f"{told[0]} {'times' if far else '%'}{unit.removeprefix('log ratio')}{ends}"


def measured(row: Mapping[str, Any]) -> str:
    """The amount of a part, a row of `verdicts.judge`, in the direction of its sentence: a ratio that it says falls is
    written as the fall, "-5.5 % (-6.0 to -5.0)".
    """
    ends = [row["mean"], row["low"], row["high"]]
    if row.get("turned") in (True,):  # not NaN, of verdicts that were written without it
        ends = [-row["mean"], -row["high"], -row["low"]]
    return amount(*ends, row["unit"])


def size(row: Mapping[str, Any]) -> str:
    """A part's amount with its nets, as every page writes it: "+12.8 points (+12.1 to +13.5), 5 nets"."""
    return f"{measured(row)}, {counted(row['n'], row.get('one', 'net'))}"


def digits(numbers: Iterable[float]) -> int:
    """After the point, so that the largest of some numbers has at least two."""
    most = max((abs(x) for x in numbers if np.isfinite(x)), default=0.0)
    return 1 if most >= 10 else 2 if most >= 0.1 or not most else 1 - int(np.floor(np.log10(most)))


def _signed(number: float, places: int) -> str:
    return f"{round(number, places) + 0.0:+.{places}f}"  # no minus before nothing


def _times(log: float) -> str:
    """A factor of its logarithm: one decimal, below a half one figure."""
    factor = float(np.exp(log))
    return f"{factor:.1f}" if factor >= 0.5 else f"{factor:.{-int(np.floor(np.log10(factor)))}f}"


def side(values: Sequence[float], least: int = 3) -> str:
    """On which side of zero the interval over nets lies: "above", "below", "open" (neither), "few" nets, "none"."""
    if len(values) < least:
        return "few" if len(values) else "none"
    _, low, high = interval(values)
    return "above" if low > 0 else "below" if high < 0 else "open"


def counted(count: int, one: str, many: str = "") -> str:
    """A count with its noun: "1 net", "3 nets"."""
    return f"{count} {one if count == 1 else many or one + 's'}"


def counts(nets: Iterable[int], ones: Iterable[str]) -> str:
    """How many nets parts have, of those that have any: "5 nets", "3 to 5 nets", "5 nets or seeds"; "" of none."""
    some = [(int(n), one) for n, one in zip(nets, ones, strict=True) if n]
    few, most = (end((n for n, _ in some), default=0) for end in (min, max))
    names = list(dict.fromkeys(one if most == 1 else f"{one}s" for _, one in some))
    return f"{few} to {most} {' or '.join(names)}" if few < most else f"{most} {' or '.join(names)}" if some else ""


def summed(values: Sequence[float]) -> dict[str, Any]:
    """Mean, low and high ends of the interval, n, and the values themselves."""
    mean, low, high = interval(values)
    return dict(mean=mean, low=low, high=high, n=len(values), values=list(values))


def drawn(parts: Iterable[tuple[str, str, Sequence[float]]]) -> pd.DataFrame:
    """Rows for `figures.differences` from label, group and one number a net; those without a net are left out."""
    rows = [dict(label=label, group=group) | summed(values) for label, group, values in parts if len(values)]
    return pd.DataFrame(rows, columns=["label", "group", "mean", "low", "high", "n", "values"])
