"""Coherence and diffs by epoch, against nets trained to each epoch and looked at by hand."""

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from pruning_lab import GradientHistory, GradientSnapshots, MaskSources, Recipe, Train, data, gradients, snapshot_epochs
from pruning_lab.experiments import gradients as module
from pruning_lab.experiments.train import looked_at
from pruning_lab.gradients import summary
from pruning_lab.records import store
from pruning_lab.running import sweeps
from pruning_lab.training.fit import evaluate

NET = Train("digits", "mlp", Recipe("adam", lr=1e-3, batch=32, epochs=3), width=6, limit=100, scale="standardised")
LOOK = GradientSnapshots(NET, (0, 1, 3), sample=50, followed=8)
NORMED = Train("digits", "resnet50_cifar", Recipe(lr=0.05, batch=32, epochs=1), width=2, limit=64, scale="standardised")


@pytest.fixture(autouse=True)
def shelves(store_folder, tmp_path, monkeypatch):
    """Two empty shelves."""
    monkeypatch.setenv("PRUNING_LAB_RESULTS", str(tmp_path / "results"))
    store.forget()


def trained_to(epoch):
    """The net after so many epochs of its training, which has no drops."""
    return replace(NET, recipe=replace(NET.recipe, epochs=epoch)).trained() if epoch else NET.untrained().eval()


def test_epochs_are_dense_at_first_then_every_twentieth():
    assert snapshot_epochs(200) == (*range(11), *range(20, 201, 10))
    assert snapshot_epochs(3) == (0, 1, 2, 3) and snapshot_epochs(20) == tuple(range(21))
    assert len(snapshot_epochs(300)) == 11 + 20 and snapshot_epochs(1000)[11:13] == (50, 100)


def test_every_snapshot_is_the_net_of_that_epoch():
    record, images = store.run(LOOK), NET.split("train", 50)
    assert record.table.epoch.tolist() == [0, 1, 3] and record.table.iteration.tolist() == [0, 4, 12]
    for t, epoch in enumerate((0, 1, 3)):
        model = trained_to(epoch)
        found = gradients.statistics(model, images)
        np.testing.assert_allclose(
            record.table.loc[t, ["loss", "accuracy"]].to_numpy(float), evaluate(model, images), rtol=1e-5
        )
        rows = summary.rows(model, found)
        np.testing.assert_allclose(record.arrays["numbers"][t], rows["numbers"], rtol=1e-5, atol=1e-7)
        np.testing.assert_array_equal(record.arrays["histograms"][t], rows["histograms"])
        np.testing.assert_allclose(record.arrays["magnitudes"][t], summary.magnitudes(model), rtol=1e-5)
        for name, values in summary.followed(model, found, 8).items():
            np.testing.assert_allclose(record.arrays[name][t], values, rtol=1e-5)


def test_published_answers_keep_every_sign(monkeypatch):
    """Until their versions are raised, experiments differentiate as they did, also where a gradient is zero but for
    rounding.
    """
    asked, statistics = [], gradients.statistics
    monkeypatch.setattr(
        gradients, "statistics", lambda *args, **how: (asked.append(how.get("silent")), statistics(*args, **how))[1]
    )
    store.run(LOOK)
    store.run(MaskSources(NET, (0, 1), 50))
    assert len(asked) == 4 and set(asked) == {0}


def test_the_training_leaves_the_record_that_it_would_leave_alone():
    assert sweeps.missing([LOOK, NET]) == [[LOOK]] and LOOK.needs() == [] and not LOOK.published
    store.run(LOOK)
    beside = store.find(NET, weights=True).weights()
    alone = NET.compute().weights
    assert all(torch.equal(v, beside[k]) for k, v in alone.items())


def test_the_engine_s_code_belongs_to_the_answer():
    rooms = {"gradients", "gradients.engine", "metrics.ranks", "training.fit", "experiments.gradients"}
    assert rooms <= GradientHistory(LOOK).code().keys()


def test_histories_tell_the_peak_but_never_at_epoch_0(monkeypatch):
    layers = ["fc1", "fc2", "fc3", "fc4", "out"]
    stored = store.run(LOOK)
    numbers = stored.arrays["numbers"].copy()
    numbers[:, 0, 0] = 0.9, 0.2, 0.3
    other = SimpleNamespace(
        table=stored.table, arrays={k: stored.arrays[k] for k in reversed(stored.arrays)} | dict(numbers=numbers)
    )
    monkeypatch.setattr(store, "run", lambda e, **_: other)
    found = GradientHistory(LOOK).compute()
    table = found.table
    assert table.layer.tolist() == ["whole", *layers] * 3
    assert set(table[table.peak].epoch) == {3} and table.peak.sum() == 6
    assert table[table.layer == "whole"].coherence.tolist() == [0.9, 0.2, 0.3]
    np.testing.assert_allclose(table[list(summary.COLUMNS)].to_numpy().reshape(3, 6, 7), numbers, atol=1e-8)
    assert found.arrays["histograms"].shape == (3, 6, 201) and found.arrays["paths"].shape == (3, 5 * 20)
    np.testing.assert_array_equal(found.arrays["magnitudes"], stored.arrays["magnitudes"][[0, 2]])


def test_epoch_0_of_a_net_with_batch_norm_knows_the_images_and_training_does_not():
    look = GradientSnapshots(NORMED, (0, 1), sample=64, followed=4)
    record = store.run(look)
    model, images = NORMED.untrained(), NORMED.split("train", 64)
    norms = [m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    first, inputs = norms[0], []
    handle = first.register_forward_hook(lambda _, given, out: inputs.append(given[0].detach()))
    for m in norms:
        m.momentum = 1.0
    model.train()(images.images)
    handle.remove()
    torch.testing.assert_close(first.running_mean, inputs[0].mean((0, 2, 3)))
    found = gradients.statistics(model.eval(), images)
    assert record.arrays["numbers"][0, 0, 0] == pytest.approx(found.coherence(), rel=1e-4)
    plain = gradients.statistics(NORMED.untrained().eval(), images)
    assert abs(plain.coherence() / found.coherence() - 1) > 1e-3
    alone = NORMED.compute().weights
    assert all(torch.equal(v, store.find(NORMED, weights=True).weights()[k]) for k, v in alone.items())


def test_refreshed_norms_have_a_coherence_of_their_own_and_change_nothing_else():
    record, images = store.run(GradientSnapshots(NORMED, (0, 1), 64, 4)), NORMED.split("train", 64)
    assert record.table.refreshed[0] == pytest.approx(record.arrays["numbers"][0, 0, 0])
    model = NORMED.trained()
    assert record.arrays["numbers"][1, 0, 0] == pytest.approx(gradients.statistics(model, images).coherence(), rel=1e-4)
    for m in model.modules():
        if isinstance(m, torch.nn.BatchNorm2d):
            m.momentum = 1.0
    model.train()(images.images)
    assert record.table.refreshed[1] == pytest.approx(gradients.statistics(model.eval(), images).coherence(), rel=1e-4)
    assert abs(record.table.refreshed[1] / record.arrays["numbers"][1, 0, 0] - 1) > 1e-3
    assert "refreshed" not in store.run(LOOK).table


def test_travel_compares_the_deciles_of_living_weights():
    rng = np.random.default_rng(0)
    weights, diffs = rng.normal(size=(3, 43)), rng.uniform(size=43)
    diffs[[5, 17, 40]] = np.nan
    alive = [k for k in range(43) if k not in (5, 17, 40)]
    ranked = sorted(alive, key=lambda k: diffs[k])
    way = [abs(weights[2, k] - weights[0, k]) for k in range(43)]
    expected = np.median([way[k] for k in ranked[-4:]]) / np.median([way[k] for k in ranked[:4]])
    log, rho = module._travel(weights, diffs)
    assert log == pytest.approx(math.log(expected))
    assert rho == pytest.approx(spearmanr(diffs[alive], np.abs(weights[2])[alive]).statistic)


def test_travel_without_weights_or_way_is_no_number():
    assert all(map(math.isnan, module._travel(np.ones((2, 30)), np.full(30, np.nan))))
    assert math.isnan(module._travel(np.ones((2, 30)), np.linspace(0, 1, 30))[0])


def test_paths_begin_at_zero_and_belong_to_the_ends():
    weights, diffs = np.arange(12.0).reshape(2, 6) ** 2, np.array([0.3, np.nan, 0.9, 0.1, 0.5, 0.2])
    paths = module._paths(weights, diffs, 2)
    way = weights[1] - weights[0]
    assert paths[0].tolist() == [0] * 4 and paths[1].tolist() == [way[2], way[4], way[3], way[5]]
    few = module._paths(weights, np.array([np.nan] * 5 + [0.2]), 2)
    assert few[1, 0] == few[1, 2] == way[5] and np.isnan(few[:, [1, 3]]).all()


def test_a_limited_net_is_differentiated_on_its_own_images_only():
    assert looked_at(NET, 500) == looked_at(NET, None) == GradientSnapshots(NET, (0,)).images == 100
    assert looked_at(replace(NET, limit=None), 500) == 500


def test_looks_cost_two_passes_of_their_images_beside_the_training():
    held = replace(NET, recipe=replace(NET.recipe, holdout=20))
    for net in (NET, held):
        trained = net.recipe.batch * net.recipe.steps(100 - net.recipe.holdout)
        found = GradientSnapshots(net, (0, 1, 2), sample=50).cost()
        assert found == pytest.approx(net.cost() * (1 + 2 * 50 * 3 / trained))


def test_images_are_counted_as_they_are_there(tmp_path, monkeypatch):
    whole = len(replace(NET, limit=None).split("train"))
    asked = {
        (None, None): whole,
        (None, 50): 50,
        (100, 50): 50,
        (100, 500): 100,
        (None, 5_000): whole,
        (9_999, 5_000): whole,
    }
    for (limit, sample), images in asked.items():
        for name in ("digits", "gaussian:digits"):
            assert GradientSnapshots(replace(NET, limit=limit, dataset=name), (0,), sample).images == images
    monkeypatch.setenv("PRUNING_LAB_DATA", str(tmp_path))  # published records are read where their data are not
    assert GradientSnapshots(replace(NET, limit=None, dataset="cifar10"), (0,), 5_000).images == 5_000
    assert not data.is_here("cifar10", "train") and data.is_here("gaussian:digits", "test")
    assert looked_at(replace(NET, limit=None), None) is None
