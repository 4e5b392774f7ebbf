"""Random features, forests and nets of one hidden layer, against oracles that are not themselves."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from pruning_lab.fits import forests, fourier, labels, shallow

DRAW = np.random.default_rng(0)
TRAIN, TEST, TARGETS = DRAW.random((20, 5)), DRAW.random((30, 5)), DRAW.random((20, 3))
WAVES = fourier.Fourier(5, 60, 1.0, 7)


def features(size, images, waves=WAVES):
    """The first features over sqrt(N / 2), one number at a time."""
    directions = np.concatenate([part for part in _directions(waves)], axis=1)
    out = np.empty((len(images), size))
    for i, image in enumerate(images):
        for k in range(size):
            angle = sum(image[j] * directions[j, k // 2] for j in range(len(image)))
            out[i, k] = (math.sin if k % 2 else math.cos)(angle)
    return out / math.sqrt(size / 2)


def _directions(waves):
    draw = np.random.default_rng(waves.seed)
    for start in range(0, waves.most, fourier.BLOCK):
        count = (min(start + fourier.BLOCK, waves.most) - start) // 2
        yield draw.standard_normal((waves.inputs, count)) / waves.sigma


@pytest.mark.parametrize("block", [2_000, 8])
def test_every_size_has_the_fit_of_least_norm_that_lstsq_finds(monkeypatch, block):
    monkeypatch.setattr(fourier, "BLOCK", block)
    sizes = (2, 8, 14, 20, 22, 30, 60)
    found = fourier.fits(WAVES, TRAIN, TARGETS, TEST, sizes)
    assert [fit.features for fit in found] == list(sizes)
    for fit in found:
        wide = features(fit.features, TRAIN)
        slow = np.linalg.lstsq(wide, TARGETS, rcond=None)[0]
        np.testing.assert_allclose(fit.norms, np.linalg.norm(slow, axis=0), rtol=1e-6)
        np.testing.assert_allclose(fit.train, wide @ slow, atol=1e-6)
        np.testing.assert_allclose(fit.test, features(fit.features, TEST) @ slow, rtol=1e-6, atol=1e-6)


def test_a_ridge_costs_the_squared_norm():
    """Least squares on rows added below, which is another way to the same answer, on either side of n."""
    for fit in fourier.fits(WAVES, TRAIN, TARGETS, TEST, (8, 20, 40), ridge=0.3):
        wide = features(fit.features, TRAIN)
        rows = np.concatenate([wide, math.sqrt(0.3) * np.eye(fit.features)])
        slow = np.linalg.lstsq(rows, np.concatenate([TARGETS, np.zeros((fit.features, 3))]), rcond=None)[0]
        np.testing.assert_allclose(fit.norms, np.linalg.norm(slow, axis=0), rtol=1e-9)
        np.testing.assert_allclose(fit.test, features(fit.features, TEST) @ slow, atol=1e-9)


def test_inner_products_of_many_features_tend_to_the_gaussian_kernel():
    wide = features(20_000, TRAIN[:4], fourier.Fourier(5, 20_000, 0.7, 1))
    distances = ((TRAIN[:4, None] - TRAIN[None, :4]) ** 2).sum(2)
    np.testing.assert_allclose(wide @ wide.T, np.exp(-distances / (2 * 0.7**2)), atol=0.05)


def test_images_that_are_there_twice_have_the_fit_of_least_norm_too():
    twice = np.concatenate([TRAIN[:10], TRAIN[:10]])
    for fit in fourier.fits(WAVES, twice, TARGETS, TEST, (6, 16, 20, 40)):
        slow = np.linalg.lstsq(features(fit.features, twice), TARGETS, rcond=1e-8)[0]
        np.testing.assert_allclose(fit.test, features(fit.features, TEST) @ slow, rtol=1e-4, atol=1e-4)


class Isotropic(fourier.Fourier):
    """Standard normal features instead of waves, new for every set of images."""

    def blocks(self, *images):
        draw = np.random.default_rng(self.seed)
        yield slice(0, self.most), [draw.standard_normal((len(part), self.most)) for part in images]


@pytest.mark.parametrize("n, size", [(40, 20), (40, 80)])
def test_of_pure_noise_isotropic_features_have_the_variance_in_closed_form(n, size):
    """sigma^2 N / (n - N - 1) below n and sigma^2 n / (N - n - 1) above (Belkin, Hsu & Xu 2020; Hastie et al. 2022)."""
    draw = np.random.default_rng(3)
    noise, empty = draw.standard_normal((n, 400)), np.zeros((400, 1))
    found = []
    for seed in range(20):
        [fit] = fourier.fits(Isotropic(1, size, 1.0, seed), np.zeros((n, 1)), noise, empty, (size,))
        found.append(np.square(fit.test).mean())
    low, high = min(n, size), max(n, size)
    assert np.mean(found) == pytest.approx(low / (high - low - 1), rel=0.05)


@pytest.mark.parametrize("sizes", [(3,), (4, 2), (2, 2), (62,), (0, 2)])
def test_sizes_that_cannot_be_are_named(sizes):
    with pytest.raises(ValueError, match="expected even ones, ascending, at most 60"):
        fourier.fits(WAVES, TRAIN, TARGETS, TEST, sizes)


@pytest.mark.parametrize("wrong", [dict(most=7), dict(most=0), dict(inputs=0), dict(sigma=0.0)])
def test_features_that_cannot_be_are_named(wrong):
    with pytest.raises(ValueError, match="expected an even number of features"):
        fourier.Fourier(**dict(inputs=3, most=4, sigma=1.0, seed=0) | wrong)


def test_exactly_so_many_labels_are_redrawn_and_a_tenth_of_those_stays_right():
    true = np.arange(50_000) % 10
    noisy = labels.redrawn(true, 0.2, 10, np.random.default_rng(1))
    assert (noisy != true).mean() == pytest.approx(0.2 * 0.9, abs=0.005)
    assert (np.bincount(noisy) > 4_500).all()
    few = labels.redrawn(np.zeros(10, int), 0.25, 1_000_000, np.random.default_rng(1))
    assert (few != 0).sum() == 2
    assert (labels.redrawn(true, 0.0, 10, np.random.default_rng(1)) == true).all()
    with pytest.raises(ValueError, match="expected 0 to 1"):
        labels.redrawn(true, 1.5, 10, np.random.default_rng(1))


def test_risk_and_error_of_answers_that_are_known():
    true = np.array([0, 1, 1, 3])
    assert labels.risk(np.zeros((4, 4)), true) == 1
    assert labels.risk(np.full((4, 4), 0.25), true) == pytest.approx(0.75)
    assert labels.error(labels.one_hot(np.array([0, 1, 2, 3]), 4), true) == 0.25


def test_forests_have_the_leaves_and_trees_that_were_asked_for():
    draw = np.random.default_rng(0)
    images, true = draw.random((60, 4)), draw.integers(3, size=60) + 1  # no image has class 0
    wanted = forests.sizes((2, 5), (1, 3))
    assert wanted == [
        ("leaves", 2, 1), ("leaves", 5, 1), ("trees", None, 1), ("trees", None, 3),
        ("leaves of many trees", 2, 3), ("leaves of many trees", 5, 3), ("leaves of many trees", None, 3),
    ]  # fmt: skip
    sizes = dict.fromkeys((leaves, trees) for _, leaves, trees in wanted)
    found = {size: (total, answer(images)) for size, total, answer in forests.grown(images, true, sizes, 4, 1)}
    assert [found[size][0] for size in ((2, 1), (5, 1), (2, 3))] == [2, 5, 6]
    assert all(np.allclose(out.sum(1), 1) and not out[:, 0].any() for _, out in found.values())
    assert labels.error(found[None, 1][1], true) == labels.risk(found[None, 3][1], true) == 0  # no bootstrap


def net(seed=0, width=6):
    return shallow.glorot(5, width, 3, torch.Generator().manual_seed(seed))


def torch_net(begun):
    """The same net of torch's own layers."""
    model = nn.Sequential(nn.Linear(5, begun.shift.numel()), nn.ReLU(), nn.Linear(begun.shift.numel(), 3))
    for p, part in zip(model.parameters(), (begun.inner.T, begun.shift, begun.outer.T, begun.base), strict=True):
        p.data = part.clone()
    return model


def test_training_is_that_of_torch_with_autograd():
    images, targets = torch.rand(20, 5), torch.eye(3)[torch.arange(20) % 3]
    begun = net()
    before = [part.clone() for part in begun]
    rule = shallow.Rule(6, lr=0.05, momentum=0.9, batch=8, decay=0.5, every=2)
    trained, epochs = shallow.train(begun, images, targets, rule, torch.Generator().manual_seed(4))
    assert all(torch.equal(a, b) for a, b in zip(before, begun, strict=True)) and epochs == 6
    model, draw = torch_net(begun), torch.Generator().manual_seed(4)
    optimizer = torch.optim.SGD(model.parameters(), 0.05, momentum=0.9)
    for epoch in range(6):
        optimizer.param_groups[0]["lr"] = 0.05 * 0.5 ** (epoch // 2)
        for rows in torch.randperm(20, generator=draw).split(8):
            optimizer.zero_grad()
            (model(images[rows]) - targets[rows]).square().sum(1).mean().backward()
            optimizer.step()
    torch.testing.assert_close(trained.outputs(images), model(images).detach(), rtol=1e-5, atol=1e-6)
    weights = torch.cat([p.detach().flatten() for p in model.parameters()])
    assert trained.norm == pytest.approx(weights.norm().item(), rel=1e-5)


def test_training_stops_where_there_is_no_error_left():
    images = torch.eye(5).repeat(4, 1)
    targets = torch.eye(3)[torch.arange(20) % 5 % 3]
    rule = shallow.Rule(2_000, lr=0.1, momentum=0.0, batch=20, stop=True)
    trained, epochs = shallow.train(net(width=16), images, targets, rule, torch.Generator())
    assert epochs < 2_000 and epochs % shallow.CHECKED == 0
    assert shallow.error_of(trained, images, targets) == 0


def test_a_rate_that_is_too_high_is_named():
    images, targets = torch.rand(20, 5), torch.eye(3)[torch.arange(20) % 3]
    with pytest.raises(FloatingPointError, match="not finite after 300 epochs at rate 9.0"):
        shallow.train(net(), images, targets, shallow.Rule(300, lr=9.0), torch.Generator())


def test_a_widened_net_begins_with_the_smaller_ones_weights():
    small = net(width=4)
    wide = shallow.widened(small, 500, torch.Generator().manual_seed(1), sd=0.1)
    assert torch.equal(wide.inner[:, :4], small.inner) and torch.equal(wide.outer[:4], small.outer)
    assert wide.parameters == (5 + 1) * 500 + (500 + 1) * 3
    assert wide.inner[:, 4:].std().item() == pytest.approx(0.1, rel=0.1)
    assert not wide.shift[4:].any() and wide.base.data_ptr() != small.base.data_ptr()
    with pytest.raises(ValueError, match="ascending order"):
        shallow.widened(small, 3, torch.Generator(), sd=0.1)


def test_fresh_weights_lie_within_glorots_bounds():
    drawn = net(width=400)
    assert drawn.inner.abs().max().item() == pytest.approx(math.sqrt(6 / 405), rel=0.01)
    assert drawn.outer.abs().max().item() == pytest.approx(math.sqrt(6 / 403), rel=0.02)
