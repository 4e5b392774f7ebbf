"""Masks against naive loops in exact arithmetic: sort everything, hand weights out one by one, count in Python."""

import copy
import json
import math
from fractions import Fraction

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn
from torch.nn.utils import prune

from pruning_lab import criteria, environment, gradients, masks
from pruning_lab.criteria import weight as weight_criteria
from pruning_lab.data import Split
from pruning_lab.masks import budgets
from pruning_lab.masks.ranking import SCOPES
from pruning_lab.masks.weights import weights
from pruning_lab.nets import models
from pruning_lab.training.fit import fit
from pruning_lab.training.recipe import Recipe

BUILT_IN = ["magnitude", *(n for n, f in criteria.WEIGHT.items() if f.__module__ == weight_criteria.__name__)]
SHAPES = [{"a": (3, 2)}, {"a": (1, 1), "b": (7, 5)}, {"a": (4, 3, 2, 2), "b": (2, 4), "c": (5, 6), "d": (1, 3)}]
quiet = pytest.mark.filterwarnings("ignore::pruning_lab.masks.EmptyLayer")


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def conv(seed=0):
    """A small net with a convolution, a norm, biases, and two linear layers."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(16, 6), nn.ReLU(), nn.Linear(6, 3)
        ).eval()  # fmt: skip


def split(n=20, seed=1):
    images = torch.randn(n, 1, 4, 4, generator=seeded(seed))
    return Split(images, torch.randint(3, (n,), generator=seeded(seed + 1)), ("0", "1", "2"), "noise", "")


def drawn(shapes, seed, values=None):
    """Random scores; whole numbers below `values` for many ties."""
    if values is None:
        return {name: torch.randn(shape, generator=seeded(seed)) for name, shape in shapes.items()}
    return {name: torch.randint(values, shape, generator=seeded(seed)).float() for name, shape in shapes.items()}


def flat(found):
    """All masks in one row of booleans."""
    return [kept for mask in found.values() for kept in mask.flatten().tolist()]


def kept(found):
    return [int(mask.sum()) for mask in found.values()]


# Slow twins


def naive_total(density, n):
    return math.floor(Fraction(str(density)) * n + Fraction(1, 2))


def naive_shares(shares, least, most, wanted):
    """Webster's rule one by one."""
    found = list(least)
    while sum(found) < wanted:
        best = None
        for k in range(len(found)):
            value = Fraction(shares[k], 2 * found[k] + 1)
            if found[k] < most[k] and (best is None or value > best[0]):
                best = value, k
        found[best[1]] += 1
    return found


def naive(scores, density, scope, floor, invert):
    """Masks as sets of places, by sorting Python floats."""
    sign = 1 if invert else -1
    rows = {name: [sign * float(x) for x in s.double().flatten()] for name, s in scores.items()}
    orders = {name: sorted(range(len(row)), key=lambda i, row=row: (row[i], i)) for name, row in rows.items()}
    wanted = naive_total(density, sum(map(len, rows.values())))
    least = [math.ceil(Fraction(str(floor)) * len(row)) for row in rows.values()]
    if scope == "global":
        chosen = {name: set(orders[name][:count]) for name, count in zip(rows, least, strict=True)}
        rest = [
            (x, k, i, name)
            for k, (name, row) in enumerate(rows.items())
            for i, x in enumerate(row)
            if i not in chosen[name]
        ]
        for _, _, i, name in sorted(rest)[: wanted - sum(least)]:
            chosen[name].add(i)
        return chosen
    shares = [len(row) if scope == "local" else sum(scores[name].shape) for name, row in rows.items()]
    counts = naive_shares(shares, least, [len(row) for row in rows.values()], wanted)
    return {name: set(orders[name][:count]) for name, count in zip(rows, counts, strict=True)}


def places(found):
    return {name: set(mask.flatten().nonzero()[:, 0].tolist()) for name, mask in found.items()}


def naive_erk(shapes, density):
    """Densities as in the authors' code: layers that would pass one are made dense, and the rest share what is left."""
    sizes = {name: math.prod(shape) for name, shape in shapes.items()}
    dense = set()
    while True:
        left = density * sum(sizes.values()) - sum(sizes[name] for name in dense)
        raw = {name: sum(shape) / sizes[name] for name, shape in shapes.items()}
        epsilon = left / sum(raw[name] * sizes[name] for name in shapes if name not in dense)
        over = {name for name in shapes if name not in dense and epsilon * raw[name] > 1}
        if not over:
            return {name: 1.0 if name in dense else epsilon * raw[name] for name in shapes}
        dense |= over


# Building

densities = st.floats(0.01, 1).map(lambda d: round(d, 3))


@quiet
@settings(max_examples=300, deadline=None)
@given(st.sampled_from(SHAPES), st.integers(0, 2**31), st.sampled_from([None, 3, 1]), densities,
       st.sampled_from(SCOPES), st.sampled_from([0.0, 0.02, 0.1, 0.3]), st.booleans())  # fmt: skip
def test_masks_equal_a_naive_sort_with_ties_by_position_and_an_exact_count(
    shapes, seed, values, density, scope, floor, invert
):
    scores = drawn(shapes, seed, values)
    before = copy.deepcopy(scores)
    sizes = [s.numel() for s in scores.values()]
    least = [math.ceil(Fraction(str(floor)) * n) for n in sizes]
    if naive_total(density, sum(sizes)) < sum(least):
        with pytest.raises(
            ValueError,
            match=f"of {sum(sizes):,} weights, but floors of {floor:g} in {len(sizes)} layers need {sum(least)}",
        ):
            masks.build(scores, density, scope, floor)
        return
    found = masks.build(scores, density, scope, floor, invert=invert)
    assert places(found) == naive(scores, density, scope, floor, invert)
    assert sum(kept(found)) == naive_total(density, sum(sizes))
    assert all(mask.dtype == torch.bool and mask.shape == scores[name].shape for name, mask in found.items())
    assert all(count >= few for count, few in zip(kept(found), least, strict=True))
    assert all(torch.equal(before[name], s) for name, s in scores.items())


@quiet
@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("criterion", sorted(criteria.WEIGHT))
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**31), grid=st.lists(densities, min_size=2, max_size=6, unique=True), how=st.booleans())
def test_every_criterion_gives_exact_and_nested_masks(scope, criterion, seed, grid, how):
    model = conv(seed % 7)
    values = {
        r: {n: torch.randn(w.shape, generator=seeded(seed)) for n, w in weights(model).items()}
        for r in ("init", "gradient", "diff")
    }
    values = {r: v for r, v in values.items() if r in criteria.needs(criteria.WEIGHT[criterion])}
    scores = masks.scores(model, criterion, seed=seed, **values)
    found = masks.grid(scores, grid, scope, invert=how, shuffle="layer" if how else None, seed=seed)
    assert list(found) == grid
    for density, each in found.items():
        assert sum(kept(each)) == naive_total(density, 36 + 96 + 18)
        assert all(
            torch.equal(m, each[n])
            for n, m in masks.build(
                scores, density, scope, invert=how, shuffle="layer" if how else None, seed=seed
            ).items()
        )
    for low, high in zip(sorted(grid), sorted(grid)[1:], strict=False):
        assert all(h or not k for k, h in zip(flat(found[low]), flat(found[high]), strict=True))


@quiet
@settings(max_examples=50, deadline=None)
@given(st.sampled_from(SHAPES), st.integers(0, 2**31), st.integers(1, 99))
def test_the_worst_are_all_but_the_best(shapes, seed, percent):
    n = sum(math.prod(shape) for shape in shapes.values())
    best = naive_total(percent / 100, n)
    if not 0 < best < n:
        return
    whole = torch.randperm(n, generator=seeded(seed)).split([math.prod(s) for s in shapes.values()])
    scores = {name: part.view(shape) for (name, shape), part in zip(shapes.items(), whole, strict=True)}
    one = masks.build(scores, best / n)
    other = masks.build(scores, (n - best) / n, invert=True)
    assert all(torch.equal(one[name], ~other[name]) for name in shapes)


@quiet
@pytest.mark.parametrize("scope", SCOPES)
@settings(max_examples=50, deadline=None)
@given(values=st.lists(st.integers(-5, 5), min_size=8, max_size=8), density=densities)
def test_only_ranks_count(scope, values, density):
    scores = {
        "a": torch.tensor(values[:4], dtype=torch.float64).view(2, 2),
        "b": torch.tensor(values[4:], dtype=torch.float64).view(4, 1),
    }
    bent = {name: (s / 3).exp() - 7 for name, s in scores.items()}
    assert flat(masks.build(scores, density, scope)) == flat(masks.build(bent, density, scope))


@quiet
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.int64])
def test_ties_stay_by_position(dtype):
    scores = {"a": torch.tensor([[1, 2], [2, 2]], dtype=dtype), "b": torch.tensor([[2, 0], [2, 0]], dtype=dtype)}
    assert flat(masks.build(scores, 0.375)) == [False, True, True, True] + [False] * 4
    assert flat(masks.build(scores, 0.5)) == [False, True, True, True, True, False, False, False]
    assert flat(masks.build(scores, 0.375, invert=True)) == [True, False, False, False, False, True, False, True]


EXACT = [torch.bool, torch.uint8, torch.int8, torch.int16, torch.uint16, torch.int32, torch.uint32, torch.int64,
         torch.uint64, torch.float16, torch.bfloat16, torch.float8_e5m2, torch.float32, torch.float64]  # fmt: skip


def ends(kind):
    """Numbers of a type as Python has them: its lowest, its highest and their neighbours, and some between, with
    ties.
    """
    if kind == torch.bool:
        return [True, False, False, True, True, False]
    if kind.is_floating_point:
        most = torch.finfo(kind).max
        return [-most, most, 0.0, -0.0, 1.0, -1.0, 0.5, most, torch.finfo(kind).tiny, -most]
    low, high = torch.iinfo(kind).min, torch.iinfo(kind).max
    return [low, high, high - 1, low + 1, 0, 1, 2, high, low, 0]


def scored(values, kind):
    """Exact: uint64 takes no number above int64's through `torch.tensor`."""
    if kind == torch.uint64:
        return torch.from_numpy(np.array(values, dtype=np.uint64))
    return (
        torch.tensor(values, dtype=torch.float64).to(kind)
        if kind.is_floating_point
        else torch.tensor(values, dtype=kind)
    )


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("invert", [False, True])
@pytest.mark.parametrize("kind", EXACT, ids=str)
@quiet
def test_scores_of_every_type_are_ranked_as_python_ranks_them(kind, invert, scope):
    values = ends(kind)
    layers = {"a": scored(values, kind), "b": scored(values[::-1], kind)}
    rows = [values] if scope != "global" else [values + values[::-1]]
    for density in (0.1, 0.3, 0.5, 0.85):
        found = flat(masks.build(layers, density, scope, invert=invert))
        count = round(density * 2 * len(values) + 1e-9) if scope == "global" else sum(found[: len(values)])
        best = sorted(range(len(rows[0])), key=lambda k: (rows[0][k] if invert else -rows[0][k], k))[:count]
        assert [k for k, stays in enumerate(found[: len(rows[0])]) if stays] == sorted(best)


@quiet
def test_scores_of_several_types_are_ranked_together():
    double, byte = torch.tensor([0.1, 0.2], dtype=torch.float64), torch.tensor([0, 1], dtype=torch.uint8)
    layers = {"a": torch.tensor([0.1, 0.3]), "b": double, "c": byte}
    assert flat(masks.build(layers, 2 / 6)) == [False, True, False, False, False, True]
    third = masks.build(layers, 4 / 6)  # 0.1 in float32 is a little above 0.1
    assert flat(third) == [True, True, False, True, False, True]
    whole = {
        "a": torch.tensor([2**62 + 1, -1]),
        "b": torch.tensor([True, False]),
        "c": torch.tensor([200], dtype=torch.uint8),
    }
    assert flat(masks.build(whole, 0.4)) == [True, False, False, False, True]
    assert flat(masks.build(whole, 0.4, invert=True)) == [False, True, False, True, False]


def test_scores_without_an_order_or_a_common_type_are_refused():
    with pytest.raises(ValueError, match="scores of 'a' are torch.complex64, which has no order: pass real numbers"):
        masks.build({"a": torch.tensor([1j, 2])}, 0.5)
    with pytest.raises(
        ValueError, match=r"scores of 'b' exceed 9,007,.*float64 does not hold exactly.*scores of one type"
    ):
        masks.build({"a": torch.rand(2), "b": torch.tensor([2**53 + 1, 0])}, 0.5)
    with pytest.raises(ValueError, match="scores of 'b' exceed .*int64 does not hold"):
        masks.build({"a": torch.tensor([1, 2]), "b": scored([2**63, 0], torch.uint64)}, 0.5)
    assert masks.build({"a": torch.rand(2), "b": torch.tensor([2**53 + 1, 0])}, 0.5, "local")["b"].tolist() == [
        True,
        False,
    ]


def sorted_masks(layers, density, floor, invert):
    """Global masks from one stable sort over all weights: each layer's floor first, then the best of the rest."""
    sign = -1 if invert else 1
    rows = [(s.flatten().double() * sign).numpy() for s in layers.values()]
    kept_rows = [np.zeros(len(row), bool) for row in rows]
    for row, stays in zip(rows, kept_rows, strict=True):
        stays[np.argsort(-row, kind="stable")[: math.ceil(Fraction(str(floor)) * len(row))]] = True
    every, stays = np.concatenate(rows), np.concatenate(kept_rows)
    order = np.argsort(np.where(stays, np.inf, -every), kind="stable")
    stays[order[: naive_total(density, len(every)) - stays.sum()]] = True
    return stays.tolist()


@quiet
@pytest.mark.parametrize("invert", [False, True])
@pytest.mark.parametrize("floor", [0.0, 0.02, 0.2])
@pytest.mark.parametrize("kind", ["distinct", "rounded", "one tie", "whole", "few whole", "all equal", "half"])
def test_large_masks_equal_one_stable_sort(kind, floor, invert, monkeypatch):
    monkeypatch.setattr(masks.cuts, "_BLOCK", 1000)
    scores = drawn({"a": (130, 70), "b": (3, 1), "c": (50, 40), "d": (9000,)}, 7)
    if kind == "rounded":
        scores = {n: (s * 20).round() / 20 + (n == "c") * 0.5 for n, s in scores.items()}
    elif kind == "one tie":
        scores = {n: s.clamp(max=1.0) for n, s in scores.items()}
    elif kind.endswith("whole"):
        scores = {n: (s * (1e6 if kind == "whole" else 2)).long() for n, s in scores.items()}
    elif kind == "all equal":
        scores = {n: torch.zeros_like(s) for n, s in scores.items()}
    elif kind == "half":
        scores = {n: s.to(torch.bfloat16) for n, s in scores.items()}
    grid = masks.grid(scores, [0.9, 0.2, 0.5, 1.0], floor=floor, invert=invert)
    for density, found in grid.items():
        assert flat(found) == sorted_masks(scores, density, floor, invert)


@quiet
def test_whole_numbers_at_the_end_of_their_type_keep_their_floors():
    most = torch.iinfo(torch.int64).max
    scores = {"a": torch.tensor([most, most, 1, 0]), "b": torch.tensor([most, -5, -6, -7])}
    assert kept(masks.build(scores, 0.5, floor=0.5)) == [2, 2]
    assert kept(masks.build(scores, 0.375, floor=0.25)) == [2, 1]
    assert places(masks.build(scores, 0.625, floor=0.5)) == {"a": {0, 1, 2}, "b": {0, 1}}


def test_the_kth_largest_is_that_of_a_sort_on_a_cpu_and_elsewhere():
    values = drawn({"a": (500,)}, 3, 40)["a"]
    expected = [None if k == 0 else values.sort(descending=True).values[k - 1].item() for k in (0, 1, 250, 499, 500, 1)]
    found = masks.cuts.kth_largest(values.clone(), [0, 1, 250, 499, 500, 1])
    assert [edge if edge is None else edge.item() for edge in found] == expected

    class Elsewhere(torch.Tensor):
        device = torch.device("cuda")

    found = masks.cuts.kth_largest(values.as_subclass(Elsewhere), [0, 1, 250, 499, 500, 1])
    assert [edge if edge is None else edge.item() for edge in found] == expected


def test_scores_are_left_as_they_are_and_none_for_no_density():
    scores = drawn(SHAPES[1], 5)
    before = copy.deepcopy(scores)
    for scope in SCOPES:
        assert masks.grid(scores, [], scope) == {}
        masks.build(scores, 0.5, scope, floor=0.1, invert=True)
    assert all(torch.equal(before[n], s) for n, s in scores.items())


def test_the_warning_of_an_empty_layer_points_at_the_callers_line():
    scores = {"a": torch.arange(9.0) + 100, "b": torch.arange(9.0)}
    for call in (
        lambda: masks.build(scores, 0.2),
        lambda: masks.grid(scores, [0.2]),
        lambda: masks.random(nn.Sequential(nn.Linear(30, 30), nn.Linear(2, 1)), 0.01),
    ):
        with pytest.warns(masks.EmptyLayer) as told:
            call()
        assert told[0].filename == __file__ and told[0].lineno == call.__code__.co_firstlineno


def test_scores_that_are_not_finite_or_hold_no_values_are_refused():
    for value in (math.nan, math.inf, -math.inf):
        for kind in (torch.float16, torch.float32, torch.float64):
            with pytest.raises(ValueError, match="scores of 'b' are not finite: check what the criterion read"):
                masks.build({"a": torch.rand(3), "b": torch.tensor([1.0, value, 2.0], dtype=kind)}, 0.5)
    with pytest.raises(ValueError, match="scores of 'a' are a list: expected tensors by the weights' names"):
        masks.build({"a": [1, 2]}, 0.5)
    with pytest.raises(ValueError, match="scores of 'a' lie on the meta device, which holds no values"):
        masks.build({"a": torch.rand(3, device="meta")}, 0.5)


def test_the_floor_holds_a_layer_that_ranks_last():
    scores = {"a": torch.arange(100.0).view(10, 10) + 1000, "b": torch.arange(150.0).view(15, 10)}
    with pytest.warns(masks.EmptyLayer, match="density 0.1 no weight is left in b"):
        starved = masks.build(scores, 0.1)
    assert kept(starved) == [25, 0] and masks.emptied(starved) == ["b"]
    held = masks.build(scores, 0.1, floor=0.02)
    assert kept(held) == [22, 3] and masks.emptied(held) == []
    assert places(held)["b"] == {147, 148, 149}
    assert masks.table(held).to_dict("list") == dict(
        layer=["a", "b"], weights=[100, 150], kept=[22, 3], density=[0.22, 0.02]
    )


def test_fewer_weights_than_the_floors_need_is_an_error_with_the_numbers():
    scores = {"a": torch.rand(10, 10), "b": torch.rand(5, 10)}
    with pytest.raises(
        ValueError, match=r"density 0.01 keeps 2 of 150 weights, but floors of 0.02 in 2 layers need 3.*at least 0.02"
    ):
        masks.build(scores, 0.01, floor=0.02)
    assert kept(masks.build(scores, 0.02, floor=0.02)) == [2, 1]


def test_decimal_fractions_mean_what_is_written():
    scores = {"a": torch.rand(100, 1)}
    assert [kept(masks.build(scores, 0.5, floor=f / 100)) for f in (7, 14, 28)] == [[50]] * 3
    assert budgets.floors(0.07, [100]) == [7] and budgets.floors(0.071, [100]) == [8]
    assert budgets.total(0.145, 100) == 15 and budgets.total(0.29, 100) == 29 and budgets.total(1, 7) == 7
    few = 2_364_416 / masks.mlp_weights(6496)  # as many weights as the source's net of width 512
    assert budgets.total(few, masks.mlp_weights(6496)) == 2_364_416


def test_skipped_weights_get_no_mask_and_do_not_count():
    scores = {"a": torch.rand(10, 10), "b": torch.rand(10, 10) + 1, "c": torch.rand(10, 10)}
    found = masks.build(scores, 0.1, skip=["b"])
    assert list(found) == ["a", "c"] and sum(kept(found)) == 20


def test_bad_arguments_are_refused():
    scores = {"a": torch.rand(4, 4)}
    for how, text in [
        (dict(density=0.0), "density=0.0: expected the fraction"), (dict(density=1.1), "density=1.1"),
        (dict(density=math.nan), "density=nan"),
        (dict(floor=-0.1), "floor=-0.1"), (dict(floor=1.2), "floor=1.2"),
        (dict(scope="layer"), "scope='layer'.*global, local, erk"), (dict(shuffle="all"), "shuffle='all'"),
        (dict(skip="a"), "skip='a'"), (dict(skip=["z"]), r"skip=\['z'\].*\['a'\]"),
        (dict(skip=["a"]), "no scores to rank: 1 layers were given and 1 skipped"),
        (dict(scores={"a": torch.tensor([[math.nan]])}), "scores of 'a' are not finite"),
        (dict(scores={}), "no scores to rank"),
    ]:  # fmt: skip
        with pytest.raises(ValueError, match=text):
            masks.build(**(dict(scores=scores, density=0.5) | how))


# Budgets


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 12), st.integers(0, 4), st.integers(4, 9)), min_size=1, max_size=6), st.data())
def test_shares_equal_handing_out_one_by_one(layers, data):
    shares, least, most = map(list, zip(*layers, strict=True))
    wanted = data.draw(st.integers(sum(least), sum(most)))
    assert budgets.by_share(shares, least, most, wanted) == naive_shares(shares, least, most, wanted)


@pytest.mark.parametrize("scope", ["local", "erk"])
def test_budgets_of_large_layers_are_exact_and_within_one_of_their_share(scope):
    shapes = {n: tuple(w.shape) for n, w in weights(models.build("conv_6", (3, 32, 32))).items()}
    sizes = [math.prod(s) for s in shapes.values()]
    for density in (0.001, 0.1, 0.3, 0.95):
        shares = sizes if scope == "local" else [budgets.erk(s) for s in shapes.values()]
        found = budgets.by_share(shares, [0] * len(sizes), sizes, budgets.total(density, sum(sizes)))
        expected = naive_erk(shapes, density) if scope == "erk" else dict.fromkeys(shapes, density)
        assert sum(found) == naive_total(density, sum(sizes))
        assert all(abs(count - expected[n] * size) <= 1 for n, count, size in zip(shapes, found, sizes, strict=True))


def test_erk_caps_small_layers_and_redistributes():
    model = models.build("lenet_300_100", (1, 28, 28))
    found = masks.random(model, 0.1, "erk", seed=3)
    assert found["out.weight"].all() and sum(kept(found)) == 26_620
    assert kept(found) == [18_714, 6_906, 1000]  # shares 1084 : 400 of what the output layer leaves


def test_a_lone_number_and_an_empty_layer_have_masks_or_none_under_every_budget():
    for scope in SCOPES:
        found = masks.build({"a": torch.tensor(1.0), "b": torch.rand(2, 3), "c": torch.rand(0, 3)}, 1.0, scope)
        assert found["a"].tolist() is True and found["b"].all() and found["c"].shape == (0, 3)


def test_random_masks_are_seeded_and_have_the_density_in_every_layer():
    model = models.build("lenet_300_100", (1, 28, 28))
    first, again, other = (masks.random(model, 0.1, seed=seed) for seed in (0, 0, 1))
    assert kept(first) == [23_520, 3000, 100] == kept(other)
    assert flat(first) == flat(again) != flat(other)
    columns = first["fc1.weight"].sum(0).float()  # 300 draws of 0.1 each
    assert abs(columns.mean() - 30) < 0.01 and 4.5 < columns.std() < 6.0
    with pytest.raises(ValueError, match="budget='even': expected one of uniform, erk"):
        masks.random(model, 0.1, "even")


@quiet
@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), densities, st.sampled_from(SCOPES))
def test_a_shuffle_keeps_each_layers_count(seed, density, scope):
    scores = drawn(SHAPES[2], seed)
    plain, shuffled, again = (
        masks.build(scores, density, scope, shuffle=s, seed=seed) for s in (None, "layer", "layer")
    )
    assert kept(plain) == kept(shuffled) and flat(shuffled) == flat(again)


def test_a_shuffle_moves_places_and_its_seed_counts():
    scores = {"a": torch.arange(10_000.0).view(100, 100)}
    plain, one, two = (
        masks.build(scores, 0.3, shuffle=s, seed=k)["a"] for s, k in ((None, 0), ("layer", 0), ("layer", 1))
    )
    for a, b in ((plain, one), (plain, two), (one, two)):
        assert 800 < int((a & b).sum()) < 1000  # 900 by chance


# What may be masked, and scores


def test_maskable_weights():
    assert masks.maskable(conv()) == ["0.weight", "4.weight", "6.weight"]
    assert masks.maskable(models.build("mlp", (3, 32, 32), width=8)) == [
        f"{n}.weight" for n in ("fc1", "fc2", "fc3", "fc4", "out")
    ]
    assert masks.maskable(nn.Linear(2, 3)) == ["weight"]
    attention = nn.TransformerEncoderLayer(8, 2, 16)
    assert masks.maskable(attention) == [
        "self_attn.in_proj_weight", "self_attn.out_proj.weight", "linear1.weight", "linear2.weight"]  # fmt: skip
    tied = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    tied[1].weight = tied[0].weight
    assert masks.maskable(tied) == ["0.weight"]


def test_the_mlp_has_the_weights_of_the_formula():
    model = models.build("mlp", (3, 32, 32), width=512)
    scores = {name: torch.zeros(()).expand(w.shape) for name, w in weights(model).items()}
    assert sum(s.numel() for s in scores.values()) == masks.mlp_weights(512) == 2_364_416


def test_one_of_four_shortcuts_of_resnet50_stays_whole():
    environment.import_torchvision()
    with torch.device("meta"):
        model = models.MODELS["resnet50"]((3, 32, 32), 10, None)
    model = nn.Sequential(model)
    shortcuts = {n: w.numel() for n, w in weights(model).items() if "downsample" in n}
    assert list(shortcuts.values()) == [16_384, 131_072, 524_288, 2_097_152]
    assert set(weights(model)) - set(masks.maskable(model)) == {"layer1.0.downsample.0.weight"}
    assert set(weights(model)) == set(masks.maskable(model, small=0))
    assert (
        len(masks.maskable(model)) == 53
        and "out.weight" in masks.maskable(model)
        and "conv1.weight" in masks.maskable(model)
    )


def test_small_shortcut_convolutions_stay_whole():
    net = nn.Module()
    net.shortcut, net.other = nn.Conv2d(1000, 100, 1, device="meta"), nn.Conv2d(999, 100, 1, device="meta")
    net.block = nn.ModuleDict(
        dict(downsample=nn.Sequential(nn.Conv2d(999, 100, 1, device="meta")), shortcut=nn.Linear(2, 2))
    )
    assert masks.maskable(net) == ["shortcut.weight", "other.weight", "block.shortcut.weight"]
    assert "block.downsample.0.weight" in masks.maskable(net, small=99_900)


def test_tokens_positions_and_norms_of_the_transformer_stay_whole():
    model = models.build("vit", (3, 8, 8), width=16, depth=1)
    named = [f"block1.{n}.weight" for n in ("attention.qkv", "attention.out", "fc1", "fc2")]
    assert masks.maskable(model) == ["patches.weight", *named, "out.weight"]


ORACLES = {
    "magnitude": lambda weight: abs(weight),
    "diff": lambda diff: abs(diff),
    "gradient": lambda gradient: abs(gradient),
    "weight_taylor": lambda weight, gradient: abs(weight * gradient),
    "random": lambda noise: noise,
}


def test_every_weight_criterion_has_an_oracle():
    assert set(ORACLES) == set(BUILT_IN)


@pytest.mark.parametrize("name", BUILT_IN)
def test_weight_criteria_equal_a_naive_loop(name):
    reads = criteria.needs(criteria.WEIGHT[name])
    values = {read: torch.randn(3, 2, generator=seeded(k), dtype=torch.float64) for k, read in enumerate(reads)}
    rows = zip(*(v.flatten().tolist() for v in values.values()), strict=True)
    assert name in ORACLES, f"write {name} as a plain loop, for the table ORACLES"
    expected = [ORACLES[name](**dict(zip(reads, row, strict=True))) for row in rows]
    assert criteria.WEIGHT[name](**values).flatten().tolist() == expected


def test_criteria_over_units_still_read_what_they_read():
    for name, function in criteria.UNIT.items():
        assert criteria.needs(name) == criteria.needs(function), name


def naive_statistics(model, data):
    """Mean gradient and mean sign of the weights, one sample at a time in float64."""
    model, total = copy.deepcopy(model).double(), {}
    for x, y in zip(data.images.double(), data.labels, strict=True):
        loss = nn.functional.cross_entropy(model(x[None]), y[None])
        for name, g in zip(weights(model), torch.autograd.grad(loss, list(weights(model).values())), strict=True):
            mean, sign = total.get(name, (0, 0))
            total[name] = mean + g / len(data.labels), sign + g.sign() / len(data.labels)
    return total


def test_gradient_criteria_read_the_statistics_of_a_split():
    model, data = conv(), split()
    slow, stats = naive_statistics(model, data), gradients.statistics(model, data)
    for name, want in {
        "gradient": lambda w, g, s: g.abs(),
        "diff": lambda w, g, s: s.abs(),
        "weight_taylor": lambda w, g, s: (w * g).abs(),
    }.items():
        expected = {n: want(w.detach().double(), *slow[n]) for n, w in weights(model).items()}
        for found in (masks.scores(model, name, data=data), masks.scores(model, name, statistics=stats)):
            assert list(found) == list(expected)
            for n, score in found.items():
                torch.testing.assert_close(score.double(), expected[n], rtol=1e-4, atol=1e-6)
    given = masks.scores(model, "diff", diff=stats.diffs)
    assert all(torch.equal(s, stats.diffs[n].abs()) for n, s in given.items())


def test_nothing_is_computed_that_nobody_asked_for(monkeypatch):
    asked = []
    whole = gradients.statistics
    monkeypatch.setattr(
        gradients, "statistics", lambda model, data, want: asked.append(want) or whole(model, data, want=want)
    )
    model, data = conv(), split()
    for criterion in ("magnitude", "random", "diff", "gradient", "weight_taylor"):
        masks.scores(model, criterion, data=data)
    masks.scores(model, "diff", data=data, diff=dict(weights(model)))
    assert asked == [{"diffs"}, {"mean"}, {"mean"}]


def test_scores_of_some_weights_with_functions_of_ones_own():
    model, start = conv(), conv(1)

    def movement(weight, init):
        return (weight - init).abs()

    found = masks.scores(model, movement, names=["4.weight"], init=dict(start.named_parameters()))
    assert list(found) == ["4.weight"] and torch.equal(found["4.weight"], (model[4].weight - start[4].weight).abs())
    assert not found["4.weight"].requires_grad


def test_noise_is_seeded_and_another_in_every_layer():
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3)).to(torch.bfloat16)
    one, again, two = (masks.scores(model, "random", seed=seed) for seed in (0, 0, 1))
    assert torch.equal(one["0.weight"], again["0.weight"]) and not torch.equal(one["0.weight"], two["0.weight"])
    assert not torch.equal(one["0.weight"], one["1.weight"])
    assert one["0.weight"].dtype == torch.float32 and len(one["0.weight"].unique()) == 9


def test_what_cannot_be_scored_is_refused():
    model, broken = conv(), conv()
    nn.init.constant_(broken[4].weight, math.inf)
    stats = gradients.statistics(model, split(), want={"mean"})
    for how, text in [
        (dict(criterion="taylor"), "unknown criterion 'taylor'.*magnitude"),
        (dict(criterion="norm"), "unknown criterion"),
        (dict(criterion="diff"), "'diff' reads diff, not held by the model: pass data=, a Split, or statistics="),
        (dict(criterion=lambda init: init), "reads init.*pass init=, tensors by the weights' names"),
        (dict(criterion="magnitude", names=["1.weight"]),
         r"no weights called \['1.weight'\]: expected some of \['0.weight'"),
        (dict(criterion="magnitude", power={}), "no criterion reads power"),
        (dict(criterion="magnitude", model=broken), "'4.weight' has 96 weights that are not finite"),
        (dict(criterion="magnitude", model=nn.ReLU()), "ReLU has no weights to score"),
        (dict(criterion="diff", statistics=stats), "'diff' of '0.weight' is missing.*were the statistics asked"),
        (dict(criterion="diff", diff={n: torch.zeros(1) for n in weights(model)}),
         r"'diff' of '0.weight' has shape \[1\]"),
        (dict(criterion=lambda weight: weight.sum(0)),
         r"returned shape \[1, 3, 3\] for '0.weight': expected \[4, 1, 3, 3\]"),
        (dict(criterion=lambda weight: 1.0), "returned float for '0.weight': expected a tensor"),
        (dict(criterion=lambda weight: weight / 0), "scores of '0.weight' that are not finite"),
    ]:  # fmt: skip
        with pytest.raises(ValueError, match=text):
            masks.scores(**(dict(model=model) | how))


# In use


def test_training_under_masks_keeps_pruned_weights_at_zero():
    model, data = conv(), split()
    found = masks.build(masks.scores(model, "magnitude"), 0.2, floor=0.02)
    fit(model, data, data, Recipe("sgd", lr=0.1, momentum=0.9, weight_decay=0.1, batch=5, epochs=2), mask=found)
    assert all(not weights(model)[name][~mask].count_nonzero() for name, mask in found.items())


def test_counts_of_maskable_and_of_all_weights():
    model = conv()
    found = masks.build(masks.scores(model, "magnitude"), 0.5, skip=["0.weight"])
    assert masks.counts(model, found) == dict(
        kept=57, maskable=114, kept_of_all=57 + 36, weights=150, density=0.5, density_of_all=93 / 150)  # fmt: skip
    assert masks.counts(model, {}) == dict(
        kept=0, maskable=0, kept_of_all=150, weights=150, density=1.0, density_of_all=1.0
    )


def test_pytorchs_own_pruning_sees_the_masks():
    model, plain, data = conv(), conv(), split()
    found = masks.build(masks.scores(model, "magnitude"), 0.3)
    assert masks.from_torch(model) == {}
    assert masks.to_torch(model, found) is model and prune.is_pruned(model)
    for name, mask in found.items():
        weights(plain)[name].data *= mask
    assert torch.equal(model(data.images), plain(data.images))
    read = masks.from_torch(model)
    assert read.keys() == found.keys() and all(
        torch.equal(read[n], m) and read[n].dtype == torch.bool for n, m in found.items()
    )
    assert masks.maskable(model) == list(found)
    with pytest.raises(ValueError, match=r"\['0.weight', '4.weight', '6.weight'\] are masked already"):
        masks.to_torch(model, found)
    prune.remove(model[0], "weight")
    assert list(masks.from_torch(model)) == ["4.weight", "6.weight"]


def test_pytorchs_magnitude_pruning_keeps_the_same_weights():
    model, theirs = conv(), conv()
    ours = masks.build(masks.scores(model, "magnitude"), 0.3)
    layers = [(theirs[k], "weight") for k in (0, 4, 6)]
    prune.global_unstructured(layers, prune.L1Unstructured, amount=150 - 45)
    assert all(torch.equal(m, ours[n]) for n, m in masks.from_torch(theirs).items())


def test_a_layer_by_itself_and_attention_go_through_pytorch():
    for model in (nn.Linear(3, 4), nn.MultiheadAttention(8, 2)):
        found = masks.build(masks.scores(model, "magnitude"), 0.25)
        read = masks.from_torch(masks.to_torch(model, found))
        assert all(torch.equal(read[n], m) for n, m in found.items()) and read


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no other device")
def test_masks_of_another_device_go_to_the_weights():
    model = conv()
    found = masks.build(masks.scores(model, "magnitude"), 0.3)
    masks.to_torch(model.to("cuda"), found)
    assert {m.device.type for m in masks.from_torch(model).values()} == {"cuda"}


def unchanged(model, call, text):
    """A refused call leaves all of a model as it was."""
    before = [(dict(vars(m)), dict(m._parameters), dict(m._buffers), [*m._forward_pre_hooks]) for m in model.modules()]
    with pytest.raises(ValueError, match=text):
        call(model)
    after = [(dict(vars(m)), dict(m._parameters), dict(m._buffers), [*m._forward_pre_hooks]) for m in model.modules()]
    assert [[*map(str, one)] for one in after] == [[*map(str, one)] for one in before]


class Masked(nn.Linear):
    """Has a mask of its own."""

    def __init__(self, inputs, outputs):
        super().__init__(inputs, outputs)
        self.register_buffer("weight_mask", torch.zeros(outputs, inputs))


def test_masks_never_replace_what_a_layer_has_under_their_names():
    def with_attribute(name, value):
        model = nn.Sequential(nn.Linear(8, 6), nn.Linear(6, 3))
        setattr(model[1], name, value)
        return model

    for model, taken in [
        (nn.Sequential(nn.Linear(8, 6), Masked(6, 3)), "weight_mask"),
        (with_attribute("weight_mask", None), "weight_mask"),
        (with_attribute("weight_orig", nn.Parameter(torch.zeros(3, 6))), "weight_orig"),
        (with_attribute("weight_orig", 5), "weight_orig"),
    ]:
        found = masks.build({n: torch.rand(w.shape) for n, w in weights(model).items()}, 0.5)
        unchanged(
            model,
            lambda m, found=found: masks.to_torch(m, found),
            f"'1' has a {taken} of its own, which .*another name",
        )
    alone = Masked(8, 3)
    unchanged(alone, lambda m: masks.to_torch(m, {"weight": torch.ones(3, 8).bool()}), "'the model' has a weight_mask")
    plain = nn.Sequential(nn.Linear(8, 6), Masked(6, 3))
    masks.to_torch(plain, {"0.weight": torch.ones(6, 8).bool()})
    assert list(masks.from_torch(plain)) == ["0.weight"]


def test_weights_without_values_have_no_masks():
    model, ones = conv().to("meta"), torch.ones(6, 16).bool()
    unchanged(model, lambda m: masks.to_torch(m, {"4.weight": ones}), "lies on the meta device, .* give .*to_empty")
    pruned = masks.to_torch(conv(), {"4.weight": ones}).to("meta")
    with pytest.raises(ValueError, match="lies on the meta device"):
        masks.from_torch(pruned)
    unchanged(conv(), lambda m: masks.to_torch(m, {"4.weight": ones.to("meta")}), "'4.weight' lies on the meta device")


def test_what_torch_prunes_beside_weights_is_left_out():
    model = nn.Sequential(nn.Embedding(5, 8), nn.Linear(8, 6), nn.LayerNorm(6), nn.Linear(6, 3))
    for layer, name in ((0, "weight"), (1, "bias"), (1, "weight"), (2, "weight"), (3, "bias")):
        prune.random_unstructured(model[layer], name, 0.5)
    found = masks.from_torch(model)
    assert list(found) == ["1.weight"] and masks.counts(model, found)["kept"] == 24
    masks.to_torch(model, {"3.weight": torch.eye(3, 6).bool()})
    assert list(masks.from_torch(model)) == ["1.weight", "3.weight"]
    with pytest.raises(ValueError, match=r"\['1.weight'\] are masked already"):
        masks.to_torch(model, found)


def test_a_weight_of_two_layers_is_not_masked_in_one_of_them():
    model = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False), nn.Linear(4, 2))
    model[1].weight = model[0].weight
    with pytest.raises(ValueError, match="0.weight and 1.weight are one weight, of which"):
        masks.to_torch(model, {"0.weight": torch.ones(4, 4).bool()})
    assert not prune.is_pruned(model)
    masks.to_torch(model, {"2.weight": torch.eye(2, 4).bool()})
    assert list(masks.from_torch(model)) == ["2.weight"]


def test_masks_that_do_not_fit_are_refused():
    model = conv()
    for wrong, text in [
        (
            {"1.weight": torch.ones(4).bool()},
            r"masks for \['1.weight'\], which are no weights of the model; it has \['0.weight'",
        ),
        (
            {"4.weight": torch.ones(6, 15).bool()},
            r"mask of '4.weight' is torch.bool \[6, 15\]: expected bool \[6, 16\]",
        ),
        ({"4.weight": torch.ones(6, 16)}, r"mask of '4.weight' is torch.float32 \[6, 16\]"),
    ]:
        for use in (masks.to_torch, masks.counts):
            with pytest.raises(ValueError, match=text):
                use(model, wrong)
    assert not prune.is_pruned(model)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.integers(0, 5), min_size=0, max_size=4), max_size=4), st.integers(0, 2**31))
def test_files_give_back_what_was_saved(tmp_path_factory, shapes, seed):
    file = tmp_path_factory.mktemp("masks") / "new" / "some.safetensors"
    found = {f"{9 - k}.weight": torch.rand(shape, generator=seeded(seed)) < 0.5 for k, shape in enumerate(shapes)}
    masks.save(file, found)
    read = masks.load(file)
    assert list(read) == list(found) and all(
        torch.equal(read[n], m) and read[n].dtype == torch.bool for n, m in found.items()
    )
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_a_file_has_a_bit_a_weight(tmp_path):
    found = {"a": torch.rand(1000, 800, generator=seeded(0)) < 0.1}
    masks.save(tmp_path / "a", found)
    assert (tmp_path / "a").stat().st_size < 100_500


def test_broken_and_foreign_files_are_named(tmp_path):
    file, model = tmp_path / "m.safetensors", conv()
    masks.save(file, masks.build(masks.scores(model, "magnitude"), 0.5))
    assert masks.load(file, model).keys() == weights(model).keys()
    with pytest.raises(ValueError, match="no weights of the model"):
        masks.load(file, nn.Linear(2, 2))
    whole = file.read_bytes()
    file.write_bytes(whole[:-3])
    with pytest.raises(ValueError, match="m.safetensors is broken, or no file of masks"):
        masks.load(file)
    save_file({"a": torch.ones(2)}, file)
    with pytest.raises(ValueError, match="its format is None, not 'pruning_lab masks 1'"):
        masks.load(file)
    save_file(
        {"a": torch.ones(2, dtype=torch.uint8)},
        file,
        dict(format="pruning_lab masks 1", shapes=json.dumps({"a": [3, 3, 3]})),
    )
    with pytest.raises(ValueError, match=r"uint8 \[2\] cannot be a mask of shape \[3, 3, 3\]"):
        masks.load(file)
    with pytest.raises(FileNotFoundError):
        masks.load(tmp_path / "none")
    with pytest.raises(ValueError, match="mask of 'a' is torch.float32"):
        masks.save(file, {"a": torch.ones(3)})


# Overlap


def test_overlap_equals_sets_in_python():
    one, two = (masks.build(drawn(SHAPES[2], seed), 0.4, floor=0.1) for seed in (0, 1))
    found = masks.overlap(one, two).set_index("layer")
    a, b = places(one), places(two)
    for name in one:
        row, n = found.loc[name], one[name].numel()
        drawn_by_chance = len(a[name]) * len(b[name]) / n
        assert (row.weights, row.kept_a, row.kept_b, row.shared) == (
            n,
            len(a[name]),
            len(b[name]),
            len(a[name] & b[name]),
        )
        assert row.overlap == len(a[name] & b[name]) / min(len(a[name]), len(b[name]))
        assert row.jaccard == len(a[name] & b[name]) / len(a[name] | b[name])
        assert row.chance == row.chance_in_layers == drawn_by_chance / min(len(a[name]), len(b[name]))
    row, n = found.loc["whole"], sum(m.numel() for m in one.values())
    assert row.shared == sum(len(a[name] & b[name]) for name in one) and row.weights == n
    assert row.chance == row.kept_a * row.kept_b / n / min(row.kept_a, row.kept_b)
    in_layers = sum(len(a[name]) * len(b[name]) / one[name].numel() for name in one)
    assert row.chance_in_layers == pytest.approx(in_layers / min(row.kept_a, row.kept_b))
    assert row.jaccard_in_layers == pytest.approx(in_layers / (row.kept_a + row.kept_b - in_layers))
    assert row.above_chance == pytest.approx((row.overlap - row.chance) / (1 - row.chance))


def test_chance_is_what_random_masks_share():
    model = models.build("lenet_300_100", (1, 28, 28))
    one, two = (masks.random(model, 0.2, "erk", seed=seed) for seed in (0, 1))
    row = masks.overlap(one, two).set_index("layer").loc["whole"]
    assert row.overlap == pytest.approx(row.chance_in_layers, abs=0.01) and row.jaccard == pytest.approx(
        row.jaccard_in_layers, abs=0.01
    )
    assert row.chance == pytest.approx(0.2, abs=1e-4) and row.chance_in_layers > 0.2
    same = masks.overlap(one, one).set_index("layer").loc["whole"]
    assert (same.overlap, same.jaccard, same.above_chance) == (1, 1, 1)


def test_overlap_of_empty_and_of_foreign_masks():
    none, some = {"a": torch.zeros(2, 2, dtype=torch.bool)}, {"a": torch.tensor([[True, False], [False, False]])}
    assert np.isnan(masks.overlap(none, some).overlap).all() and (masks.overlap(none, some).jaccard == 0).all()
    assert np.isnan(masks.overlap(none, none).jaccard).all()
    with pytest.raises(ValueError, match=r"\['b'\] are in one alone"):
        masks.overlap(some, some | {"b": some["a"]})
    with pytest.raises(ValueError, match="no masks"):
        masks.overlap({}, {})
    with pytest.raises(ValueError, match=r"'a' has \[2, 2\] and \[4\]"):
        masks.overlap(some, {"a": some["a"].flatten()})


WRONG_MASKS = {  # what is no set of masks, and what is said
    "a list": ([], "masks are a list: expected a mapping from the weights' names to tensors"),
    "a tensor": (torch.ones(2, 2).bool(), "masks are a Tensor: expected a mapping"),
    "lists": ({"a": [[True]]}, "masks of 'a' are a list: expected tensors by"),
    "arrays": ({"a": np.ones((2, 2), bool)}, "masks of 'a' are a ndarray: expected tensors"),
    "numbers": ({"a": torch.ones(2, 2)}, "mask of 'a' is torch.float32"),
    "bytes": ({"a": torch.ones(2, 2, dtype=torch.uint8)}, "mask of 'a' is torch.uint8"),
    "no values": ({"a": torch.ones(2, 2, dtype=torch.bool, device="meta")}, "mask of 'a' lies on the meta device"),
    "sparse": ({"a": torch.eye(2).bool().to_sparse()}, "mask of 'a' is torch.sparse_coo: expected an ordinary tensor"),
}


@pytest.mark.parametrize("name", WRONG_MASKS)
def test_masks_that_are_none_are_refused_by_whoever_counts_them(name, tmp_path):
    wrong, text = WRONG_MASKS[name]
    right = {"a": torch.ones(2, 2).bool()}
    for call in (
        lambda: masks.overlap(wrong, wrong),
        lambda: masks.overlap(right, wrong),
        lambda: masks.overlap(wrong, right),
        lambda: masks.emptied(wrong),
        lambda: masks.table(wrong),
        lambda: masks.save(tmp_path / "new", wrong),
    ):
        with pytest.raises(ValueError, match=text):
            call()
    assert not [*tmp_path.iterdir()]


def test_a_layer_without_weights_has_an_empty_mask_through_every_call(tmp_path):
    with pytest.warns(UserWarning, match="zero-element"):
        model = nn.Sequential(nn.Linear(8, 0), nn.Linear(0, 6), nn.ReLU(), nn.Linear(6, 3))
    x = torch.randn(4, 8)
    for how in ("magnitude", "random", lambda weight: weight):
        scores = masks.scores(model, how)
        assert list(scores) == ["0.weight", "1.weight", "3.weight"] == masks.maskable(model)
    for scope in SCOPES:
        for shuffle in (None, "layer"):
            found = masks.build(scores, 0.5, scope, 0.1, shuffle=shuffle)
            alone = masks.build({"3.weight": scores["3.weight"]}, 0.5, scope, 0.1, shuffle=shuffle)
            assert list(found) == list(scores) and kept(found) == [0, 0, 9]
            assert torch.equal(found["3.weight"], alone["3.weight"]) and found["1.weight"].shape == (6, 0)
    assert list(masks.build(scores, 0.5, skip=["0.weight"])) == ["1.weight", "3.weight"]
    assert masks.emptied(found) == [] and masks.counts(model, found)["kept"] == 9
    assert masks.table(found).density.isna().tolist() == [True, True, False]
    assert masks.overlap(found, found).iloc[-1].shared == 9
    masks.save(tmp_path / "masks", found)
    assert all(torch.equal(m, found[n]) for n, m in masks.load(tmp_path / "masks", model).items())
    assert [*masks.random(model, 0.5, "erk")] == [*masks.random(model, 0.5)] == list(found)
    expected = F.linear(torch.relu(model[1](model[0](x))), model[3].weight * found["3.weight"], model[3].bias)
    torch.testing.assert_close(masks.sparse(model, found)(x), expected)
    torch.testing.assert_close(masks.to_torch(model, found)(x), expected)
    assert masks.from_torch(model).keys() == found.keys()
    with pytest.raises(ValueError, match="no scores to rank: 1 layers were given and 0 skipped"):
        masks.build({"a": torch.rand(0, 3)}, 0.5)


@pytest.mark.filterwarnings("error")
def test_a_whole_mask_shares_no_more_than_chance():
    whole, some = torch.ones(2, 3, dtype=torch.bool), torch.tensor([[True, False, True], [False, False, False]])
    none, nothing = torch.zeros(2, 3, dtype=torch.bool), torch.zeros(0, 3, dtype=torch.bool)
    for a, b in ((whole, whole), (whole, some), (some, whole)):
        found = masks.overlap({"a": a}, {"a": b})
        assert (found.overlap == 1).all() and (found.chance == 1).all() and (found.chance_in_layers == 1).all()
        assert (found.above_chance == 0).all() and (found.jaccard == found.jaccard_chance).all()
    for a, b in ((whole, none), (none, none), (none, some)):
        found = masks.overlap({"a": a}, {"a": b})
        assert found[["overlap", "chance", "chance_in_layers", "above_chance"]].isna().all(axis=None)
    found = masks.overlap({"a": nothing, "b": some}, {"a": nothing, "b": some}).set_index("layer")
    assert (
        found.loc["b"].above_chance == found.loc["whole"].above_chance == 1
        and found.loc["whole"].chance_in_layers == 2 / 6
    )
    assert found.loc["a"].drop(["weights", "kept_a", "kept_b", "shared"]).isna().all()
    found = masks.overlap({"a": whole, "b": some}, {"a": whole, "b": some}).set_index("layer")
    assert found.above_chance.tolist() == [0, 1, 1]  # a whole layer does not make the net whole


# Widths


def test_widths_of_the_sources_parents():
    assert masks.scaled_width(512, 10) == 2340
    assert [masks.scaled_width(512, r) for r in (1, 2, 4, 8, 16, 32, 62)] == [512, 843, 1335, 2049, 3074, 4535, 6496]


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 5000), st.floats(1, 100))
def test_scaled_width_is_the_sources_formula_and_the_nearest_unit(w, r):
    source = w + (math.sqrt(3 * r * w * (3 * w + 3082) + 2374681) - 3 * w - 1541) / 3
    found = masks.scaled_width(w, r)
    assert abs(found - source) <= 0.5 + 1e-6 * source
    wanted = r * masks.mlp_weights(w)
    assert masks.mlp_weights(found - 1) < wanted < masks.mlp_weights(found + 1)


def test_weights_of_other_mlps():
    for hidden in (1, 2, 3):
        model = models.build("mlp", (1, 8, 8), classes=4, width=11, hidden=hidden)
        assert masks.mlp_weights(11, 64, 4, hidden) == sum(w.numel() for w in weights(model).values())
        assert masks.scaled_width(11, 1, 64, 4, hidden) == 11
    assert masks.scaled_width(10, 3, hidden=1) == 30 and masks.scaled_width(1, 0.01) == 1
    for bad in (dict(width=0, ratio=2), dict(width=5, ratio=0), dict(width=5, ratio=1, hidden=0)):
        with pytest.raises(ValueError, match="expected at least 1"):
            masks.scaled_width(**bad)


class Reads(nn.Module):
    """Reads the weight of a layer two chains below it, which it never calls."""

    def __init__(self):
        super().__init__()
        self.n, self.out = nn.Sequential(nn.Sequential(nn.Linear(8, 8)), nn.ReLU()), nn.Linear(8, 3)

    def forward(self, x):
        return self.out(nn.functional.linear(x, self.n[0][0].weight).relu())


def test_whoever_reads_a_masked_weight_from_above_reads_it_as_it_is_now():
    torch.manual_seed(0)
    model, x = Reads(), torch.randn(4, 8)
    masks.to_torch(model, masks.build(masks.scores(model, "magnitude"), 0.5))
    before = model(x).detach()
    with torch.no_grad():
        model.n[0][0].weight_orig.mul_(5)
    assert not torch.equal(before, model(x))
    for _ in range(2):  # each has a graph of its own
        model(x).sum().backward()
    assert not model.n[0][0].weight_orig.grad[~model.n[0][0].weight_mask.bool()].any()
