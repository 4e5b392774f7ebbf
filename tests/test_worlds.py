"""Small worlds: exact counts against brute force, closed forms against sums over inputs and Monte Carlo."""

import itertools

import numpy as np
import pytest
import torch

from pruning_lab import TeacherStudent, Xord, run
from pruning_lab.running import trials
from pruning_lab.worlds import committee, xord

PAIRS = [(1, 1), (-1, -1), (1, -1), (-1, 1)]


def filters(k=3, runs=4, seed=0):
    return xord.fresh(k, runs, 1.0, seed)


def naive_output(net, x):
    """Of one net [2, k, 2] for an input [d, 2], by the definition."""
    votes = [sum(max(0.0, max(float(f[0] * a + f[1] * b) for a, b in x)) for f in side) for side in net.tolist()]
    return votes[0] - votes[1]


@pytest.mark.parametrize("d", [2, 3, 4])
def test_population_and_error_are_those_of_all_inputs(d):
    nets = filters()
    inputs = list(itertools.product(PAIRS, repeat=d))
    labels = [1 if any(a == b for a, b in x) else -1 for x in inputs]
    share = {y: 0.5 / labels.count(y) for y in (1, -1)}
    counts = xord.counts_of_inputs(d)
    for row, present in enumerate(xord.SETS.tolist()):
        wanted = {p for p, there in zip(PAIRS, present, strict=True) if there}
        assert counts[row] == sum(set(x) == wanted for x in inputs)
    assert xord.population(d).sum().item() == pytest.approx(1)
    for net, error in zip(nets, xord.errors(nets, xord.population(d)).tolist(), strict=True):
        wrong = [share[y] for x, y in zip(inputs, labels, strict=True) if y * naive_output(net, x) <= 0]
        assert error == pytest.approx(sum(wrong))


def test_a_population_of_one_pair_is_refused():
    with pytest.raises(ValueError, match="at least two pairs"):
        xord.population(1)


def test_the_gradient_is_that_of_the_loss():
    nets, shares = filters(5, 3, 1), xord.training_sets(4, 20, 3, 0)
    moving = nets.clone().requires_grad_()
    best = torch.where(xord.SETS, (moving @ xord.PATTERNS.T)[..., None, :], -torch.inf).amax(-1).relu().sum(-2)
    loss = (shares * (2.0 - xord.LABELS * (best[:, 0] - best[:, 1])).relu()).sum()
    loss.backward()
    assert torch.allclose(xord.gradient(nets, shares, 2.0), moving.grad)
    assert moving.grad.abs().sum() > 0


def test_training_sets_hold_n_inputs_and_diverse_ones_all_patterns():
    drawn = xord.training_sets(3, 20, 500, 0)
    assert torch.allclose(drawn.sum(1), torch.ones(500, dtype=torch.float64))
    assert torch.allclose(drawn * 20, (drawn * 20).round())
    assert torch.allclose(drawn.mean(0), xord.population(3), atol=0.02)
    whole = xord.training_sets(3, None, 2, 0)[0]
    assert xord.SETS[whole > 0].tolist() == [[False, False, True, True], [True] * 4]


def test_a_net_of_a_filter_for_each_pattern_makes_no_error_and_one_that_lacks_one_misses_it():
    whole = torch.tensor([[[[3.0, 3.0], [-3.0, -3.0]], [[1.0, -1.0], [-1.0, 1.0]]]]).double()
    assert xord.errors(whole, xord.population(5)).item() == 0
    assert xord.explored(whole).all() and not xord.missed(whole).any()
    assert xord.angles(whole).item() == pytest.approx(0, abs=1e-6)
    half = whole.clone()
    half[0, 0, 1] = torch.tensor([3.0, 3.0])
    assert xord.missed(half).tolist() == [[False, True]] and not xord.explored(half).any()
    assert 0 < xord.errors(half, xord.population(5)).item() < 0.5


def test_exploration_has_its_probability_and_random_filters_lie_at_22_degrees():
    for k in (2, 4, 8):
        found = xord.explored(xord.fresh(k, 4000, 1e-3, k)).double().mean().item()
        assert found == pytest.approx(xord.chance_explored(k), abs=0.03)
    assert xord.angles(xord.fresh(50, 200, 1.0, 0)).mean().item() == pytest.approx(22.5, abs=0.3)


def test_wide_nets_learn_what_narrow_ones_miss(store_folder):
    narrow, wide = (run(Xord(k, runs=12, steps=400)) for k in (2, 32))
    assert (wide.table.train_error == 0).all() and wide.table.explored.all()
    assert (narrow.table.test_error > 0).mean() > (wide.table.test_error > 0).mean()
    assert (wide.table.angle_end < wide.table.angle_start / 2).all()
    assert np.array_equal(narrow.arrays["sets"], wide.arrays["sets"])
    assert wide.arrays["steps"][[0, -1]].tolist() == [0, 400]
    assert np.allclose(wide.arrays["test_error"][-1], wide.table.test_error, atol=1e-3)
    assert wide.arrays["paths"].shape == (len(wide.arrays["steps"]), 3, 2, 32, 2)
    assert np.allclose(wide.arrays["paths"][-1], wide.arrays["final"][:3], rtol=1e-3)


def test_a_small_net_begins_at_the_centres_of_a_large_one(store_folder):
    large = Xord(16, runs=3, steps=400)
    first = Xord(2, runs=3, steps=400, start=large).first()
    final = torch.from_numpy(run(large).arrays["final"].copy()).double()
    assert first.shape == (3, 2, 2, 2)
    for centres, members in zip(first.flatten(0, 1), final.flatten(0, 1), strict=True):
        nearest = torch.cdist(members, centres).argmin(1)
        means = torch.stack([members[nearest == c].mean(0) for c in range(2)])
        assert torch.allclose(means, centres, atol=1e-6)


@pytest.mark.parametrize(
    "wrong, said",
    [(dict(k=0), "at least 1"), (dict(k=2, d=1), "at least 2"), (dict(k=8, start=Xord(4)), "8 filters or more")],
)
def test_settings_that_make_no_nets_are_refused(wrong, said):
    with pytest.raises(ValueError, match=said):
        Xord(**wrong)
    with pytest.raises(ValueError, match="at least 1"):
        TeacherStudent(0)


def test_the_error_in_closed_form_is_that_of_many_inputs():
    rng = np.random.default_rng(0)
    student, teacher = committee.drawn(4, 30, rng, signs=True), committee.drawn(2, 30, rng)
    x = rng.standard_normal((200_000, 30))
    squares = (committee.said(student, x) - committee.said(teacher, x)) ** 2 / 2
    exact = committee.error(student, teacher)
    assert exact == pytest.approx(squares.mean(), abs=4 * squares.std() / np.sqrt(len(x)))
    assert committee.error(teacher, teacher) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("both", [True, False])
def test_a_step_goes_against_the_gradient_of_the_squared_error(both):
    rng = np.random.default_rng(1)
    student, teacher = committee.drawn(3, 5, rng, signs=True), committee.drawn(2, 5, rng)
    after = committee.train(
        student, teacher, np.random.default_rng(2), lr=0.1, noise=0.3, both=both, steps=1, at=(), look=None
    )
    draw = np.random.default_rng(2)
    x = draw.standard_normal((committee.CHUNK, 5))
    y = torch.from_numpy(committee.said(teacher, x) + 0.3 * draw.standard_normal(committee.CHUNK))[0]
    w, v = (torch.from_numpy(part.copy()).requires_grad_() for part in (student.w, student.v))
    output = (torch.erf(w @ torch.from_numpy(x[0]) / np.sqrt(10)) * v).sum()
    ((output - y) ** 2 / 2).backward()
    assert np.allclose(after.w, student.w - 0.1 * w.grad.numpy())
    assert np.allclose(after.v, student.v - (0.1 / 5 * v.grad.numpy() if both else 0))


def test_a_student_learns_and_what_is_kept_is_of_its_way(store_folder):
    record = run(TeacherStudent(3, steps=3000, inputs=20, noise=0.0))
    assert record.table.step.iloc[[0, -1]].tolist() == [0, 3000]
    assert record.table.error.iloc[-1] < record.table.error.iloc[0] / 5
    looks = len(record.table)
    shapes = {name: values.shape for name, values in record.arrays.items()}
    assert shapes == dict(cosines=(looks, 3, 2), second=(looks, 3), lengths=(looks, 3))
    first_only = run(TeacherStudent(3, both=False, steps=10, inputs=20))
    assert (first_only.arrays["second"] == 1).all()


def test_a_twin_of_a_world_is_tiny_and_begins_where_its_own_does():
    large = Xord(100, seed=11)
    twin = trials.small(Xord(2, seed=11, start=large))
    assert (twin.k, twin.runs, twin.steps, twin.seed) == (2, 4, 60, 0)
    assert twin.start == trials.small(large) and twin.start.k == 8
    assert trials.small(TeacherStudent(8, both=False, seed=11)) == TeacherStudent(8, both=False, steps=60)


def test_more_filters_and_more_steps_cost_more():
    assert 0 < Xord(2).cost() < Xord(100).cost() < Xord(100, steps=2000).cost()
    assert TeacherStudent(2, steps=100).cost() == pytest.approx(TeacherStudent(2, steps=200).cost() / 2)
