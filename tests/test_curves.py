"""Numbers read off curves, beside naive loops."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pruning_lab.report import curves

SIZES = st.lists(st.integers(1, 10_000), min_size=2, max_size=7, unique=True).map(sorted)


def drawn(sizes, seed, rows=3):
    return pd.DataFrame(np.random.default_rng(seed).random((rows, len(sizes))), columns=sizes)


@settings(deadline=None)
@given(SIZES, st.integers(0, 1000))
def test_a_slope_is_that_of_the_least_squares_line_per_doubling(sizes, seed):
    table = drawn(sizes, seed)
    x = [math.log2(size) for size in sizes]
    middle = sum(x) / len(x)
    for (_, y), found in zip(table.iterrows(), curves.slopes(table), strict=True):
        steep = sum((a - middle) * (b - y.mean()) for a, b in zip(x, y, strict=True)) / sum(
            (a - middle) ** 2 for a in x
        )
        assert found == pytest.approx(steep, rel=1e-9, abs=1e-9)


def test_slopes_need_whole_rows_and_two_sizes():
    table = pd.DataFrame([[1.0, 3.0, 5.0], [1.0, np.nan, 5.0]], columns=[16, 32, 64])
    assert curves.slopes(table).tolist() == pytest.approx([2.0])
    assert curves.slopes(table[[16]]).empty
    assert curves.slopes(pd.DataFrame()).empty


def test_the_sufficient_size_is_read_between_dots():
    table = pd.DataFrame([[0.0, 50.0, 100.0], [100.0, 10.0, 20.0], [0.0, 0.0, 100.0]], columns=[4, 8, 32])
    assert curves.sufficient(table).tolist() == pytest.approx([3 + 2 * 49 / 50, 2.0, 3 + 2 * 0.99])
    assert curves.sufficient(table, share=0.5).tolist() == pytest.approx([3.0, 2.0, 4.0])
    assert curves.sufficient(pd.DataFrame()).tolist() == []


@settings(deadline=None)
@given(SIZES, st.integers(0, 1000), st.floats(0.5, 1.0))
def test_no_smaller_size_on_the_drawn_line_is_sufficient(sizes, seed, share):
    table = drawn(sizes, seed)
    for (_, row), found in zip(table.iterrows(), curves.sufficient(table, share), strict=True):
        x, level = np.log2(np.asarray(sizes, float)), share * row.max()
        if row.iloc[0] >= level:
            assert found == x[0]
            continue
        assert np.interp(found, x, row) == pytest.approx(level, abs=1e-9)
        assert (np.interp(np.linspace(x[0], found, 200)[:-1], x, row) < level + 1e-9).all()


def test_two_curves_are_cut_to_the_stretch_that_both_have():
    one = pd.DataFrame([[0.0, 1.0, 2.0, 3.0]], columns=[1, 2, 4, 8], index=[7])
    other = pd.DataFrame([[10.0, 20.0]], columns=[2, 32])
    a, b = curves.shared(one, other)
    assert list(a.columns) == [2, 4, 8] and a.loc[7].tolist() == [1.0, 2.0, 3.0]
    assert list(b.columns) == [2, 8] and b.loc[0].tolist() == pytest.approx([10.0, 15.0])
    back = curves.shared(other, one)
    assert back[0].equals(b) and back[1].equals(a)
    for apart in (pd.DataFrame([[1.0, 2.0]], columns=[8, 16]), pd.DataFrame()):
        assert all(curves.sufficient(part).empty for part in curves.shared(one, apart))


@settings(deadline=None)
@given(SIZES, SIZES, st.integers(0, 1000))
def test_cutting_moves_no_point_of_a_line(sizes, others, seed):
    one, other = drawn(sizes, seed), drawn(others, seed + 1)
    if max(sizes[0], others[0]) >= min(sizes[-1], others[-1]):
        return
    for before, after in zip((one, other), curves.shared(one, other), strict=True):
        assert (after.columns.min(), after.columns.max()) == (max(sizes[0], others[0]), min(sizes[-1], others[-1]))
        x = np.log2(np.linspace(after.columns.min(), after.columns.max(), 50))
        for (_, was), (_, now) in zip(before.iterrows(), after.iterrows(), strict=True):
            lines = [np.interp(x, np.log2(np.asarray(row.index, float)), row) for row in (was, now)]
            np.testing.assert_allclose(*lines, atol=1e-9)
