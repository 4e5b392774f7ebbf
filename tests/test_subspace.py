"""Spectra while a net trains, and projections of what training added, against the same made by hand."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from pruning_lab import Projection, Recipe, Spectrum, Train
from pruning_lab.experiments import subspace
from pruning_lab.metrics import spectrum
from pruning_lab.records import store
from pruning_lab.running import estimate
from pruning_lab.training.fit import evaluate

RECIPE = Recipe(lr=0.3, momentum=0.9, batch=32, epochs=6)
NET = Train("digits", "mlp", RECIPE, width=60, limit=120, options=dict(hidden=2))
LAYERS = ("fc1", "fc2")
LOOK = Spectrum(NET, LAYERS, (0, 2), ranks=(1, 60), sample=50)


@pytest.fixture(autouse=True)
def shelves(store_folder, tmp_path, monkeypatch):
    """Two empty shelves."""
    monkeypatch.setenv("PRUNING_LAB_RESULTS", str(tmp_path / "results"))
    store.forget()


def w(model, layer):
    return model.get_submodule(layer).weight.detach().double().cpu().numpy()


def by_hand(start, end, layer, k):
    """A layer's weights with its update projected on its k leading left singular vectors, by NumPy's decomposition."""
    left, values, right = np.linalg.svd(w(end, layer) - w(start, layer), full_matrices=False)
    return w(start, layer) + (left[:, :k] * values[:k]) @ right[:k]


def test_looks_are_of_the_epochs_asked_for_and_of_the_end():
    record = store.run(LOOK)
    assert record.table.epoch.tolist() == [0, 0, 2, 2, 6, 6] and record.table.layer.tolist() == [*LAYERS] * 3
    for t, epoch in enumerate((2, 6), 1):
        short = NET if epoch == 6 else replace(NET, recipe=replace(RECIPE, epochs=epoch))
        model, start = short.trained(), NET.untrained()
        for layer in LAYERS:
            values = np.linalg.svd(w(model, layer), compute_uv=False)
            np.testing.assert_allclose(record.arrays[f"{layer}.values"][t], values, rtol=1e-4, atol=1e-6)
            update = np.linalg.svd(w(model, layer) - w(start, layer), compute_uv=False)
            np.testing.assert_allclose(record.arrays[f"{layer}.update"][t], update, rtol=1e-3, atol=1e-5)
        row = record.table[(record.table.epoch == epoch) & (record.table.layer == "fc2")].iloc[0]
        assert row.distance == pytest.approx(np.linalg.norm(w(model, "fc2") - w(start, "fc2")), rel=1e-4)
        assert row.accuracy == evaluate(model, NET.split("test", 50))[1]
        assert row.largest == pytest.approx(np.linalg.norm(w(model, "fc2"), 2) ** 2, rel=1e-4)


def test_the_edge_is_that_of_the_actual_start():
    table, start = store.run(LOOK).table, NET.untrained()
    for row in table.itertuples():
        assert row.start_variance == pytest.approx(float((w(start, row.layer) ** 2).mean()))
        assert row.edge == pytest.approx(spectrum.spike_edge(int(row.rows), int(row.columns), row.start_variance))
    first, last = (table[(table.layer == "fc1") & (table.epoch == epoch)].iloc[0] for epoch in (0, 6))
    assert first.spikes == 0 < last.spikes and first.distance == 0 < last.distance
    assert first.bulk_variance == pytest.approx(first.start_variance, rel=0.2) and first.update_stable_rank == 0


def test_small_layers_are_listed_with_the_reason():
    table = store.run(Spectrum(NET, ("fc1", "out"), (0,))).table.set_index("layer")
    assert "10 eigenvalues above zero, fewer than 50" in table.loc["out"].reason.tolist()
    assert table.loc["out"].alpha.isna().all() and table.loc["fc1"].alpha.notna().all()


def test_accuracies_by_rank_are_those_of_nets_made_by_hand():
    record, start = store.run(LOOK), NET.untrained()
    assert record.arrays["projected"].shape == (3, 3, 2)
    whole = record.table[record.table.layer == "fc1"].accuracy.to_numpy()
    np.testing.assert_allclose(record.arrays["projected"][:, :, 1], np.repeat(whole[:, None], 3, 1), atol=1e-6)
    model, end = NET.trained(), NET.trained()
    for layer in LAYERS:
        model.get_submodule(layer).weight.data.copy_(torch.from_numpy(by_hand(start, end, layer, 1)))
    assert record.arrays["projected"][2, 0, 0] == pytest.approx(evaluate(model, NET.split("test", 50))[1])


def test_a_net_that_stops_early_is_looked_at_where_it_stopped():
    net = replace(NET, recipe=replace(RECIPE, stop_loss=2.2))
    record, history = store.run(Spectrum(net, ("fc1",), (0, 5))), store.run(net).table
    stop = int(history.epoch.iloc[-1])
    assert 1 <= stop < 5 and record.table.epoch.tolist() == [0, stop]


def test_the_training_leaves_the_record_that_it_would_leave_alone():
    store.run(LOOK)
    left = store.find(NET, weights=True)
    weights = left.weights()
    result, _ = NET.train_with(store.scratch(NET))
    assert all(torch.equal(weights[k].cpu(), v.cpu()) for k, v in result.weights.items())


PROJECTION = Projection(NET, LAYERS, (1, 8, 60), test_images=80)


def test_projections_are_those_of_nets_made_by_hand():
    table, start, end = store.run(PROJECTION).table, NET.untrained(), NET.trained()
    test = NET.split("test", 80)
    rows = table.set_index(["kept", "place", "k"])
    model = NET.trained()
    model.fc2.weight.data.copy_(torch.from_numpy(by_hand(start, end, "fc2", 8)))
    row = rows.loc["update", "fc2", 8]
    assert row.accuracy == evaluate(model, test)[1]
    assert row["drop"] == pytest.approx(100 * (evaluate(end, test)[1] - row.accuracy))
    lost = w(end, "fc2") - by_hand(start, end, "fc2", 8)
    assert row.residual == pytest.approx(np.linalg.norm(lost, 2) / np.linalg.norm(w(end, "fc2"), 2), rel=1e-6)
    noise = np.linalg.norm(lost) / 60 * 2 * math.sqrt(60)
    assert row.noise == pytest.approx(noise / np.linalg.norm(w(end, "fc2"), 2), rel=1e-6)
    assert rows.loc["update", "all", 8].isna().residual
    left, values, right = np.linalg.svd(w(end, "fc1"), full_matrices=False)
    model = NET.trained()
    model.fc1.weight.data.copy_(torch.from_numpy((left[:, :8] * values[:8]) @ right[:8]))
    assert rows.loc["weight", "fc1", 8].accuracy == evaluate(model, test)[1]


def test_all_directions_change_nothing_and_random_ones_are_drawn_by_the_nets_seed():
    table = store.run(PROJECTION).table
    assert table[table.k == 60]["drop"].abs().max() == 0 and set(table.kept) == {"update", "random", "weight"}
    again = PROJECTION.compute().table
    assert again.equals(store.run(PROJECTION).table)
    model, start, end = NET.trained(), NET.untrained(), NET.trained()
    from pruning_lab.metrics import subspaces
    from pruning_lab.training.recipe import derived_seed

    basis = subspaces.random_directions(60, 8, derived_seed(0, "fc1", 8))
    kept = w(start, "fc1") + basis @ (basis.T @ (w(end, "fc1") - w(start, "fc1")))
    model.fc1.weight.data.copy_(torch.from_numpy(kept))
    row = table.set_index(["kept", "place", "k"]).loc["random", "fc1", 8]
    assert row.accuracy == evaluate(model, NET.split("test", 80))[1]


def test_overlaps_of_what_update_and_weights_keep():
    overlap = store.run(PROJECTION).arrays["overlap"]
    assert overlap.shape == (2, 3) and (overlap[:, 2] == pytest.approx(1, abs=1e-5)) and (overlap >= 0).all()
    start, end = NET.untrained(), NET.trained()
    sides = [np.linalg.svd(m)[0][:, 0] for m in (w(end, "fc1") - w(start, "fc1"), w(end, "fc1"))]
    assert overlap[0, 0] == pytest.approx((sides[0] @ sides[1]) ** 2, rel=1e-4)


def test_a_convolution_counts_its_filters_as_rows():
    net = Train("digits", "conv_2", replace(RECIPE, epochs=1), width=4, limit=64)
    record = store.run(Projection(net, ("conv2",), (1, 4), test_images=40))
    last = record.table[record.table.k == 4]
    assert (last["drop"].abs() == 0).all()


def test_a_layer_that_is_not_there_is_named():
    with pytest.raises(ValueError, match=r"no layer 'fc9' with weights: expected some of \['fc1', 'fc2', 'out'\]"):
        subspace.weights_of(NET.fresh(), ("fc9",))


def test_what_it_would_take_can_be_told(monkeypatch):
    monkeypatch.setattr(estimate, "measure", lambda *_: estimate.Step(0.01, 1e-4))
    monkeypatch.setattr(estimate, "speed", lambda: estimate.SPEED / 2)
    found = estimate.estimate([LOOK, PROJECTION])
    assert not found.left_out and all(found.seconds[e] > 0 for e in (LOOK, PROJECTION))
