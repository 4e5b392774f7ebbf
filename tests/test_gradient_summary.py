"""What is kept of a snapshot, against NumPy and against naive counts."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from pruning_lab import gradients
from pruning_lab.gradients import summary
from pruning_lab.nets import models


@pytest.fixture(scope="module")
def seen():
    """A net with a dead unit, and the statistics of 40 images."""
    model = models.build("conv_2", (1, 8, 8), width=4)
    with torch.no_grad():
        model.conv1.weight[0], model.conv1.bias[0] = 0, -1
    generator = torch.Generator().manual_seed(0)
    split = SimpleNamespace(
        images=torch.randn(40, 1, 8, 8, generator=generator), labels=torch.randint(10, (40,), generator=generator)
    )
    return model, gradients.statistics(model.eval(), split)


def test_only_weights_of_layers_count():
    vit = models.build("vit", (1, 8, 8), width=8, depth=1)
    assert list(summary.matrices(vit)) == [
        "patches",
        *(f"block1.{n}" for n in ("attention.qkv", "attention.out", "fc1", "fc2")),
        "out",
    ]
    vit.patches.weight.requires_grad_(False)
    assert "patches" not in summary.matrices(vit)


def test_numbers_are_numpy_s(seen):
    model, found = seen
    got = summary.rows(model, found)["numbers"].numpy()
    layers = list(summary.matrices(model))
    assert got.shape == (1 + len(layers), len(summary.COLUMNS))
    pooled, dead = [], 0
    for row, layer in zip(got[1:], layers, strict=True):
        diffs, mean = (kept[f"{layer}.weight"].numpy().ravel().astype(float) for kept in (found.diffs, found.mean))
        alive = diffs[(diffs != 0) | (mean != 0)]
        pooled.append(alive)
        dead += len(diffs) - len(alive)
        z = (alive - alive.mean()) / alive.std()
        beyond = sum(abs(d) > 0.99 for d in alive) / len(alive)
        expected = [
            found.coherence(layer),
            found.coherence(layer, unbiased=True),
            alive.mean(),
            alive.std(),
            (z**4).mean() - 3,
            beyond,
        ]
        np.testing.assert_allclose(row, [*expected, 1 - len(alive) / len(diffs)], rtol=1e-9, atol=1e-12)
    everything = np.concatenate(pooled)
    np.testing.assert_allclose(got[0, 2:4], [everything.mean(), everything.std()], rtol=1e-9)
    np.testing.assert_allclose(got[0, [0, 6]], [found.coherence(), dead / (dead + len(everything))], rtol=1e-9)


def test_weights_before_and_behind_a_dead_unit_are_the_dead_ones(seen):
    model, found = seen
    rows = summary.rows(model, found)["numbers"]
    assert rows[1, -1] >= 1 / 4 and rows[2, -1] >= 1 / 4  # one filter of four, and what reads it
    kept = summary.followed(model, found, 10**6)
    assert kept["conv1.diffs"].isnan()[:9].all() and not kept["out.diffs"].isnan().all()


def test_histograms_count_every_living_weight_in_its_place(seen):
    model, found = seen
    got = summary.rows(model, found, bins=5)["histograms"]
    for counts, layer in zip(got[1:], summary.matrices(model), strict=True):
        diffs, mean = found.diffs[f"{layer}.weight"].flatten(), found.mean[f"{layer}.weight"].flatten()
        naive = [0] * 5
        for d, m in zip(diffs.tolist(), mean.tolist(), strict=True):
            if d or m:
                naive[min(4, math.floor((d + 1) / 2 * 5))] += 1
        assert counts.tolist() == naive
    assert torch.equal(got[0], got[1:].sum(0))


def test_the_ends_of_the_range_fall_into_the_end_places():
    assert summary._histogram(torch.tensor([-1.0, -1.0, 0.0, 1.0]), 201)[[0, 100, 200]].tolist() == [2, 1, 1]


def test_magnitudes_are_quantiles_of_the_lowest_ones():
    model = nn.Sequential(nn.Linear(100, 10))
    with torch.no_grad():
        model[0].weight.copy_(-torch.randperm(1000, generator=torch.Generator().manual_seed(0)).view(10, 100).float())
    got = summary.magnitudes(model, kept=0.99, grid=10)
    assert got.shape == (2, 10) and got[0].tolist() == [49, 148, 247, 346, 445, 544, 643, 742, 841, 940]
    assert summary.magnitudes(model, kept=0.5, grid=1).flatten().tolist() == [250, 250]


def test_the_same_weights_are_followed_each_time(seen):
    model, found = seen
    one, again = (summary.followed(model, found, 7, seed=3) for _ in range(2))
    assert all(torch.equal(one[k].nan_to_num(9), again[k].nan_to_num(9)) and len(one[k]) == 7 for k in one)
    whole = summary.followed(model, found, 10**6)
    assert torch.equal(whole["fc1.weights"], model.fc1.weight.flatten())
    other = summary.followed(model, found, 7, seed=4)
    assert not torch.equal(one["fc1.weights"], other["fc1.weights"])
