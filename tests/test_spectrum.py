"""Spectra and subspaces against simulated noise, spectra made to measure, and NumPy's own decomposition."""

import numpy as np
import pytest
import torch

from pruning_lab import data
from pruning_lab.metrics import spectrum, subspaces
from pruning_lab.nets import models


def draw(rows, columns, seed=0, scale=1.0):
    return scale * np.random.default_rng(seed).standard_normal((rows, columns))


def test_the_edges_of_a_layer_at_its_default_initialisation_are_those_of_its_eigenvalues():
    """A layer of 256 x 16,384 at PyTorch's default: its entries are uniform, of variance 1 / (3 x 16,384)."""
    torch.manual_seed(0)
    layer = torch.nn.Linear(16_384, 256)
    low, high = spectrum.bulk_edges(256, 16_384, 1 / (3 * 16_384))
    assert (round(low, 4), round(high, 4)) == (0.2552, 0.4219)
    values = np.linalg.eigvalsh((layer.weight @ layer.weight.T).detach().double().numpy())
    assert values[0] == pytest.approx(low, rel=0.02) and values[-1] == pytest.approx(high, rel=0.02)


@pytest.mark.parametrize("rows, columns", [(60, 300), (300, 60), (120, 120)])
def test_the_density_is_that_of_simulated_noise(rows, columns):
    values = np.concatenate([np.linalg.svd(draw(rows, columns, k, 0.1), compute_uv=False) ** 2 for k in range(20)])
    low, high = spectrum.bulk_edges(rows, columns, 0.01)
    edges = np.linspace(low, high, 9)[1:]
    grid = np.linspace(low, high, 200_001)[1:]
    shares = np.cumsum(spectrum.bulk_density(grid, rows, columns, 0.01)) * (grid[1] - grid[0])
    assert shares[-1] == pytest.approx(1, abs=5e-3)
    for edge in edges:
        assert (values <= edge).mean() == pytest.approx(np.interp(edge, grid, shares), abs=0.02)
    assert not spectrum.bulk_density([low - 1e-3, high + 1e-3], rows, columns, 0.01).any()


@pytest.mark.parametrize("rows, columns", [(80, 200), (200, 80), (150, 150)])
def test_the_variance_of_noise_is_found_beside_spikes(rows, columns):
    noise = draw(rows, columns, 1, 0.3)
    noise[:, 0] += 5
    found = spectrum.bulk_variance(spectrum.singular_values(noise), rows, columns)
    assert found == pytest.approx(0.09, rel=0.08)


def test_noise_has_no_spikes_but_once_in_a_hundred_draws():
    found = [spectrum.spikes(spectrum.singular_values(draw(40, 80, k)), 40, 80, 1.0) for k in range(400)]
    assert 0 < np.mean([n > 0 for n in found]) < 0.03


@pytest.mark.parametrize("count", [1, 3])
def test_every_planted_direction_is_a_spike(count):
    left, right = subspaces.random_directions(90, count, 0), subspaces.random_directions(200, count, 1)
    planted = draw(90, 200, 3) + 60 * left @ right.T
    assert spectrum.spikes(spectrum.singular_values(planted), 90, 200, 1.0) == count


def test_singular_values_and_their_stable_rank():
    values = spectrum.singular_values(np.diag([3.0, 4.0, 0.0]))
    assert values.tolist() == [4.0, 3.0, 0.0] and spectrum.stable_rank(values) == 25 / 16
    assert spectrum.stable_rank(np.ones(7)) == 7 and spectrum.stable_rank(np.zeros(3)) == 0


@pytest.mark.parametrize("alpha", [1.8, 2.5, 4.0])
def test_a_made_tail_has_its_exponent_within_its_deviation(alpha):
    found = [
        spectrum.tail_exponent((1 - np.random.default_rng(k).random(400)) ** (-1 / (alpha - 1))) for k in range(20)
    ]
    assert np.mean([t.alpha for t in found]) == pytest.approx(alpha, rel=0.06)
    for t in found:
        assert t.deviation == pytest.approx((t.alpha - 1) / np.sqrt(t.count)) and t.start >= 1 and t.reason == ""


def test_a_tail_begins_where_the_power_law_does():
    draws = np.random.default_rng(0)
    tail = 10 * (1 - draws.random(300)) ** (-1 / 1.5)
    found = spectrum.tail_exponent(np.concatenate([draws.uniform(0, 10, 700), tail]))
    assert found.start == pytest.approx(10, rel=0.35) and found.alpha == pytest.approx(2.5, abs=0.35)


def test_the_exponent_is_that_of_the_naive_loop():
    x = np.sort(np.random.default_rng(5).pareto(1.7, 60) + 0.2)
    best = None
    for start in x[:-1]:
        tail = [v for v in x if v >= start]
        alpha = 1 + len(tail) / sum(np.log(v / start) for v in tail)
        distance = max(
            max(abs(1 - (v / start) ** (1 - alpha) - k / len(tail)) for k in (i, i + 1)) for i, v in enumerate(tail)
        )
        best = min(best or (9, 0), (distance, alpha))
    assert spectrum.tail_exponent(x).alpha == pytest.approx(best[1], rel=1e-9)


def test_a_largest_eigenvalue_that_comes_twice_is_no_tail_of_its_own():
    x = np.sort(np.random.default_rng(5).pareto(1.7, 60) + 0.2)
    found = spectrum.tail_exponent(np.r_[x, x[-1]])
    assert found.start < x[-1] and np.isfinite([found.alpha, found.deviation]).all()


def test_too_few_eigenvalues_have_no_exponent_and_say_so():
    found = spectrum.tail_exponent(np.r_[np.arange(1.0, 11), np.zeros(90)])
    assert np.isnan(found.alpha) and found.reason == "10 eigenvalues above zero, fewer than 50"


@pytest.mark.soak
@pytest.mark.filterwarnings("ignore")
def test_exponents_and_ranks_are_those_of_weightwatcher():
    """It looks at one side of each step alone, and may begin a tail a little later: alike within the deviation."""
    peer = pytest.importorskip("weightwatcher", reason="weightwatcher is not installed: pip install weightwatcher")
    torch.manual_seed(0)
    sizes = ((64, 300), (300, 200), (200, 10))
    first, second, out = layers = [torch.nn.Linear(*size) for size in sizes]
    net = torch.nn.Sequential(first, torch.nn.ReLU(), second, torch.nn.ReLU(), out)
    digits = data.load("digits", "train")
    optimiser = torch.optim.SGD(net.parameters(), lr=0.3)
    for _ in range(300):
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(net(digits.images.flatten(1)), digits.labels).backward()
        optimiser.step()
    heavy, draws = torch.nn.Linear(400, 300, bias=False), np.random.default_rng(0)
    heavy.weight.data = torch.tensor(draws.pareto(2.5, (300, 400)) * draws.choice([-1, 1], (300, 400))).float()
    table = peer.WeightWatcher(model=torch.nn.Sequential(*layers, heavy)).analyze(min_evals=spectrum.FEWEST)
    for layer, row in zip((first, second, heavy), table.itertuples(), strict=True):
        values = spectrum.singular_values(layer.weight.detach().numpy())
        found = spectrum.tail_exponent(values**2)
        assert spectrum.stable_rank(values) == pytest.approx(row.stable_rank, rel=1e-4)
        assert abs(found.alpha - row.alpha) < found.deviation


# subspaces


@pytest.mark.parametrize("rows, columns", [(9, 14), (14, 9)])
def test_leading_directions_are_those_of_numpy(rows, columns):
    matrix = draw(rows, columns)
    vectors, values = subspaces.leading(matrix)
    left, expected, right = np.linalg.svd(matrix, full_matrices=False)
    assert values[: len(expected)] == pytest.approx(expected) and values[len(expected) :] == pytest.approx(0, abs=1e-6)
    for k in (1, 4, 9):
        best = (left[:, :k] * expected[:k]) @ right[:k]
        assert subspaces.projected(matrix, vectors[:, :k]) == pytest.approx(best, abs=1e-9)


def test_a_random_basis_is_orthonormal_and_given_by_its_seed():
    basis = subspaces.random_directions(12, 5, 3)
    assert basis.T @ basis == pytest.approx(np.eye(5), abs=1e-12)
    assert np.array_equal(basis, subspaces.random_directions(12, 5, 3))
    assert not np.array_equal(basis, subspaces.random_directions(12, 5, 4))


def test_overlaps_of_subspaces():
    eye = np.eye(6)
    assert subspaces.overlap(eye[:, :2], eye[:, :2]) == 1 and subspaces.overlap(eye[:, :2], eye[:, 2:4]) == 0
    assert subspaces.overlap(eye[:, :2], eye[:, 1:3]) == 0.5 and subspaces.overlap(eye[:, :4], eye[:, :1]) == 1
    turned = [subspaces.overlap(eye[:, :2], subspaces.random_directions(6, 3, k)) for k in range(300)]
    assert np.mean(turned) == pytest.approx(3 / 6, abs=0.03)


def test_frames_of_random_directions_have_the_potential_that_is_told_of_them():
    from pruning_lab.metrics import frame_potential

    drawn = [frame_potential(torch.from_numpy(draw(30, 20, k))) for k in range(200)]
    assert np.mean(drawn) == pytest.approx(spectrum.chance_potential(30, 20), rel=0.01)
    layer = models.build("mlp", (1, 8, 8), width=30, hidden=1).fc1.weight
    assert frame_potential(layer) == pytest.approx(spectrum.chance_potential(30, 64), rel=0.1)
