"""How a measured number is written beside its interval: ratios in per cent or in times, all else in its own unit."""

import math

import pandas as pd
import pytest

from pruning_lab.report import board, strips, verdicts
from pruning_lab.report.numbers import amount

INF = math.inf


@pytest.mark.parametrize(
    "numbers, unit, said",
    [
        ((1.234, 0.5, 2.0), "points", "+1.23 points (+0.50 to +2.00)"),
        ((1.234, -INF, INF), "points per doubling", "+1.23 points per doubling"),
        ((math.log(1.1), math.log(1.05), math.log(1.5)), "log ratio", "+10.0 % (+5.0 to +50.0)"),
        ((math.log(0.9), math.log(0.8), 0.0), "log ratio per doubling", "-10.0 % per doubling (-20.0 to +0.0)"),
        ((math.log(5), math.log(2.5), math.log(10)), "log ratio", "5.0 times (2.5 to 10.0)"),
        ((math.log(1.5), math.log(0.9), math.log(2.5)), "log ratio", "1.5 times (0.9 to 2.5)"),  # one end is far
        ((math.log(0.05), -INF, INF), "log ratio per doubling", "0.05 times per doubling"),
        ((math.log(0.004), -9.0, math.log(120)), "log ratio", "0.004 times (0.0001 to 120.0)"),
        ((math.log(1.1), -INF, INF), "log ratio", "+10.0 %"),
        ((-0.001, -0.5, 0.004), "points", "+0.00 points (-0.50 to +0.00)"),
        ((-0.0001, -INF, INF), "log ratio", "+0.0 %"),
        ((0.0, 0.0, 0.0), "log ratio", "+0.0 % (+0.0 to +0.0)"),
    ],
)
def test_a_ratio_is_written_as_a_change_in_per_cent_or_beyond_double_and_half_as_times(numbers, unit, said):
    assert amount(*numbers, unit) == said


@pytest.mark.parametrize("claim, part, said", [("WI3", "peak", " % per doubling ("), ("CO1", "ViT", " times (")])
def test_no_page_says_log_ratio(claim, part, said):
    wide = 0.1 if "%" in said else 1.5
    values = pd.Series([wide - 0.01, wide, wide + 0.01] * 3, index=range(10, 19))
    rows = verdicts.judge(claim, {part: values})
    page = board.table(rows).data
    drawn = strips.of_nets(rows[rows.part == part].iloc[0])
    assert "log ratio" not in page + drawn
    assert said in page and said in drawn
