"""Criteria against naive float64 loops, and properties that every entry of the registries has."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pruning_lab import criteria
from pruning_lab.criteria.registry import evaluate, finite, unread

SHAPES = [(1, 3), (2, 1), (5, 4), (4, 3, 2, 2), (7, 2, 3, 3)]


def reads(names, shape, seed=0, unit=True):
    """Random float64 tensors for what a criterion reads."""
    generator = torch.Generator().manual_seed(seed)
    draw = lambda *size: torch.randn(*size, generator=generator, dtype=torch.float64)  # noqa: E731
    values = {name: draw(*shape) for name in ("weight", "init", "gradient", "diff")}
    values |= {name: draw(6, shape[0], 3) for name in ("activation", "activation_gradient")}
    values["noise"] = torch.rand(shape[0] if unit else shape, generator=generator, dtype=torch.float64)
    return {name: values[name] for name in names}


def rows(weight):
    return [unit.flatten().tolist() for unit in weight]


def dot(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True))


def pairs(weight, term):
    return [[term(a, b) for b in rows(weight)] for a in rows(weight)]


def squared_cosine(a, b):
    lengths = dot(a, a) * dot(b, b)
    return dot(a, b) ** 2 / lengths if lengths else 0.0


def by_unit(activation, value):
    """Mean over images of `value(positions of one image and unit)`, unit by unit."""
    images, units, _ = activation.shape
    return [sum(value(i, u) for i in range(images)) / images for u in range(units)]


ORACLES = {
    "norm": lambda weight: [math.sqrt(dot(row, row)) for row in rows(weight)],
    "frame_potential": lambda weight: pairs(weight, squared_cosine),
    "frame_potential_raw": lambda weight: pairs(weight, lambda a, b: dot(a, b) ** 2),
    "inner_product": lambda weight: pairs(weight, dot),
    "random": lambda noise: noise.tolist(),
    "activation": lambda activation: by_unit(
        activation, lambda i, u: sum(abs(a) for a in activation[i, u].tolist()) / activation.shape[2]
    ),
    "taylor": lambda activation, activation_gradient: by_unit(
        activation, lambda i, u: abs(dot(activation[i, u].tolist(), activation_gradient[i, u].tolist()))
    ),
}
BUILT_IN = [name for name, function in criteria.UNIT.items() if function.__module__.startswith(criteria.__name__)]


def test_every_criterion_of_the_library_has_an_oracle():
    assert set(BUILT_IN) == set(ORACLES)


@pytest.mark.parametrize("name", BUILT_IN)
@pytest.mark.parametrize("shape", SHAPES)
def test_unit_criteria_equal_naive_loops(name, shape):
    values = reads(criteria.needs(name), shape)
    expected = torch.tensor(ORACLES[name](**values), dtype=torch.float64)
    torch.testing.assert_close(criteria.UNIT[name](**values), expected, rtol=1e-12, atol=1e-12)


def test_magnitude_equals_a_naive_loop():
    weight = torch.tensor([[-2.0, 0.5], [0.0, -0.0]])
    assert criteria.WEIGHT["magnitude"](weight).tolist() == [[2.0, 0.5], [0.0, 0.0]]


@pytest.mark.parametrize("name", sorted(criteria.WEIGHT))
def test_weight_criteria_keep_the_shape(name):
    values = reads(criteria.needs(name), (4, 3, 2, 2), unit=False)
    assert criteria.WEIGHT[name](**values).shape == (4, 3, 2, 2)


@pytest.mark.parametrize("name", sorted(criteria.UNIT))
@settings(max_examples=15, deadline=None)
@given(shape=st.sampled_from(SHAPES), seed=st.integers(0, 2**31), data=st.data())
def test_units_in_another_order_have_the_same_scores_in_that_order(name, shape, seed, data):
    function, values = criteria.UNIT[name], reads(criteria.needs(name), shape, seed)
    permutation = torch.tensor(data.draw(st.permutations(range(shape[0]))))
    moved = {k: v[:, permutation] if k.startswith("activation") else v[permutation] for k, v in values.items()}
    expected = function(**values)[permutation]
    expected = expected[:, permutation] if expected.ndim == 2 else expected
    torch.testing.assert_close(function(**moved), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", sorted(criteria.UNIT))
def test_criteria_are_deterministic_finite_and_leave_what_they_read_alone(name):
    values = reads(criteria.needs(name), (6, 3))
    before = {k: v.clone() for k, v in values.items()}
    first, second = criteria.UNIT[name](**values), criteria.UNIT[name](**values)
    assert torch.equal(first, second) and first.isfinite().all()
    assert all(torch.equal(before[k], v) for k, v in values.items())
    assert first.shape in ((6,), (6, 6))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31), st.lists(st.floats(1e-6, 1e6), min_size=5, max_size=5), st.integers(0, 31))
def test_scale_and_sign_of_rows(seed, scales, signs):
    weight = torch.randn(5, 3, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    c = torch.tensor(scales, dtype=torch.float64) * torch.tensor([-1.0 if signs >> k & 1 else 1.0 for k in range(5)])
    scaled, both = weight * c[:, None, None], c[:, None] * c[None]
    close = lambda a, b: torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)  # noqa: E731
    close(criteria.norm(scaled), criteria.norm(weight) * c.abs())
    close(criteria.frame_potential(scaled), criteria.frame_potential(weight))
    close(criteria.inner_product(scaled) / both, criteria.inner_product(weight))
    close(criteria.frame_potential_raw(scaled) / both.square(), criteria.frame_potential_raw(weight))


def test_frame_potential_is_blind_to_sign_and_inner_product_is_not():
    weight = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0]])
    assert criteria.frame_potential(weight).tolist() == [[1, 1, 0], [1, 1, 0], [0, 0, 1]]
    assert criteria.inner_product(weight).tolist() == [[1, -1, 0], [-1, 1, 0], [0, 0, 1]]


def test_frame_potential_lies_between_the_bounds_of_the_frame_potential():
    weight = torch.randn(9, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    assert 81 / 4 <= criteria.frame_potential(weight).sum() <= 81


@pytest.mark.parametrize("name", [n for n in BUILT_IN if criteria.needs(n) == ("weight",)])
def test_zero_rows_score_zero_and_duplicates_alike(name):
    weight = torch.tensor([[0.0, 0.0], [3.0, 4.0], [3.0, 4.0]])
    terms = criteria.UNIT[name](weight)
    score = terms.sum(1) if terms.ndim == 2 else terms
    assert score[0] == 0 and score[1] == score[2] > 0


def test_rows_far_below_one_still_have_an_angle():
    weight = torch.tensor([[1e-30, 0.0], [2.0, 0.0]], dtype=torch.float64)
    torch.testing.assert_close(criteria.frame_potential(weight), torch.ones(2, 2, dtype=torch.float64))


def test_taylor_is_the_first_order_change_of_the_loss_when_a_unit_goes():
    activation = torch.tensor([[[1.0, 2.0]], [[3.0, 0.0]]])
    gradient = torch.tensor([[[1.0, -1.0]], [[2.0, 5.0]]])
    assert criteria.taylor(activation, gradient).tolist() == [(1 + 6) / 2]  # |1 - 2|, |6 + 0|


def test_ours_are_marked():
    ours = {name for name in BUILT_IN if criteria.UNIT[name].ours}
    assert ours == {"frame_potential_raw", "inner_product", "activation", "taylor"}
    assert all(criteria.UNIT[name].__doc__.startswith("Ours: ") for name in ours)
    assert all(function.__doc__ for function in (*criteria.UNIT.values(), *criteria.WEIGHT.values()))


@pytest.mark.usefixtures("registries")
def test_a_criterion_is_a_source_s_ours_or_the_reader_s():
    by = {name: criteria.whose(name) for name in (*criteria.UNIT, *criteria.WEIGHT)}
    assert {name for name, one in by.items() if one == "source"} == {
        "norm", "frame_potential", "random", "magnitude", "diff",
    }  # fmt: skip
    assert set(by.values()) == {"source", "ours"} and criteria.whose("nosuch") == "yours"
    for ours in (False, True):

        @criteria.unit_criterion(ours=ours)
        def mine(weight):
            return weight.flatten(1).sum(1)

        assert criteria.whose("mine") == "yours"
    mine.__module__ = "pruning_lab.criteria.unit"  # one that the library gains
    assert criteria.whose("mine") == "ours"


def test_needs_follows_the_parameters():
    assert criteria.needs("norm") == ("weight",)
    assert criteria.needs(criteria.taylor) == ("activation", "activation_gradient")
    assert criteria.needs("magnitude") == ("weight",)


@pytest.fixture
def registries():
    """Both registries, as they were before once the test is over."""
    before = [(held, dict(held)) for held in (criteria.UNIT, criteria.WEIGHT)]
    yield
    for held, entries in before:
        held.clear()
        held.update(entries)


@pytest.mark.usefixtures("registries")
def test_registration():
    @criteria.unit_criterion(ours=True)
    def spread(weight, init):
        return (weight - init).flatten(1).norm(dim=1)

    @criteria.weight_criterion
    def movement(weight, gradient):
        return -weight * gradient

    assert criteria.UNIT["spread"] is spread and spread.ours
    assert criteria.WEIGHT["movement"] is movement and not movement.ours
    assert criteria.find("spread", criteria.UNIT) is spread


@pytest.mark.usefixtures("registries")
def test_a_parameter_that_nothing_provides_is_refused():
    with pytest.raises(ValueError, match=r"'greedy' has parameters \['weight', 'power'\].*weight, init, gradient"):

        @criteria.unit_criterion
        def greedy(weight, power=2):
            return weight.flatten(1).pow(power).sum(1)

    with pytest.raises(ValueError, match="at least one"):
        criteria.weight_criterion(lambda: None)
    assert "greedy" not in criteria.UNIT


@pytest.mark.usefixtures("registries")
def test_a_name_cannot_be_taken_twice():
    def norm(weight):
        return weight.flatten(1).norm(dim=1)

    with pytest.raises(ValueError, match="'norm' is registered already"):
        criteria.unit_criterion(norm)
    assert criteria.UNIT["norm"] is not norm


def again(module, qualname, parameter="weight"):
    """A function as a module or a cell that runs once more defines it."""
    names = {"__name__": module}
    exec(f"def {qualname}({parameter}):\n    return {parameter}.flatten(1).norm(dim=1)", names)
    return names[qualname]


@pytest.mark.usefixtures("registries")
@pytest.mark.parametrize("register", [criteria.unit_criterion, criteria.weight_criterion])
def test_a_module_or_a_cell_that_runs_again_replaces_its_own(register):
    registry = criteria.UNIT if register is criteria.unit_criterion else criteria.WEIGHT
    for parameter in ("weight", "weight", "gradient"):
        register(mine := again("__main__", "mine", parameter))
        assert registry["mine"] is mine
    with pytest.raises(
        ValueError, match="'mine' is registered already, by __main__: give the new function another name"
    ):
        register(again("another", "mine"))
    assert registry["mine"] is mine
    assert register(mine) is mine


@pytest.mark.usefixtures("registries")
@pytest.mark.parametrize("register, name", [(criteria.unit_criterion, n) for n in ("norm", "random", "taylor")]
                         + [(criteria.weight_criterion, n) for n in ("magnitude", "random", "diff")])  # fmt: skip
def test_what_the_library_holds_is_nobody_else_s(register, name):
    registry = criteria.UNIT if register is criteria.unit_criterion else criteria.WEIGHT
    held = registry[name]
    for module in ("mine", "__main__", held.__module__):
        with pytest.raises(ValueError, match=f"'{name}' is registered already, by pruning_lab"):
            register(again(module, name))
    assert registry[name] is held


@pytest.mark.usefixtures("registries")
def test_a_name_reads_the_same_for_units_and_for_weights():
    reads = {name: criteria.needs(name) for name in criteria.UNIT | criteria.WEIGHT}
    with pytest.raises(
        ValueError,
        match="'norm' is registered already, by pruning_lab.criteria.unit, for units, and reads weight: give",
    ):
        criteria.weight_criterion(again("mine", "norm", "gradient"))
    with pytest.raises(
        ValueError,
        match="'diff' is registered already, by pruning_lab.criteria.weight, for weights, and reads diff: give",
    ):
        criteria.unit_criterion(again("mine", "diff"))
    criteria.weight_criterion(again("mine", "norm"))
    criteria.unit_criterion(again("mine", "magnitude"))
    assert {name: criteria.needs(name) for name in criteria.UNIT | criteria.WEIGHT} == reads


def test_unknown_names_list_the_known():
    with pytest.raises(ValueError, match="unknown criterion 'l2'.*frame_potential.*norm"):
        criteria.find("l2")


def test_a_criterion_is_called_with_what_it_reads_of_what_is_held():
    held = {name: torch.full((2, 3), value) for name, value in [("weight", 3.0), ("init", 1.0), ("diff", 9.0)]}
    found = evaluate(lambda init, weight: weight - init, held, "fc1", [(2, 3)], {})
    assert torch.equal(found, torch.full((2, 3), 2.0))
    assert evaluate(lambda noise: noise, held | {"noise": torch.ones(2)}, "fc1", [(2,), (2, 2)], {}).tolist() == [1, 1]
    assert evaluate(lambda weight: weight @ weight.T, held, "fc1", [(2,), (2, 2)], {}).shape == (2, 2)


def bad(init):
    return init


@pytest.mark.parametrize(
    "function, held, says",
    [
        (bad, {}, "'bad' reads init, not held by the model: pass init=, a tensor"),
        (criteria.gradient, {}, "'gradient' reads gradient, not held by the model: pass a Split"),
        (bad, {"init": torch.zeros(3)}, r"'init' of 'fc1' has shape \[3\]: expected \[2, 3\]"),
        (bad, {"init": torch.zeros(2, 3)}, r"'bad' returned shape \[2, 3\] for 'fc1': expected \[2\] or \[2, 2\]"),
        (lambda weight: weight.tolist(), {}, "returned list for 'fc1': expected a tensor"),
        (lambda noise: noise, {"noise": torch.zeros(2, 3)}, r"'noise' of 'fc1' has shape \[2, 3\]: expected \[2\]"),
        (lambda weight: weight[:, 0] / 0, {}, "gives scores of 'fc1' that are not finite: check what it reads"),
    ],
)
def test_what_a_criterion_reads_and_returns_is_checked(function, held, says):
    with pytest.raises(ValueError, match=says):
        evaluate(function, {"weight": torch.ones(2, 3)} | held, "fc1", [(2,), (2, 2)], {"gradient": "a Split"})


def test_what_is_given_is_read_by_some_criterion():
    assert unread(criteria.weight_taylor, {"gradient": 1, "init": 2}) == ["weight"]
    with pytest.raises(ValueError, match="no criterion reads initial, power: expected some of weight, init, gradient"):
        unread(criteria.magnitude, {"power": 1, "initial": 2, "init": 3})


def test_weights_that_are_not_finite_are_counted():
    assert finite(weight := torch.ones(3), "fc1") is weight
    with pytest.raises(ValueError, match="'fc1' has 2 weights that are not finite: train it again, with a lower"):
        finite(torch.tensor([math.nan, 1.0, -math.inf]), "fc1")
