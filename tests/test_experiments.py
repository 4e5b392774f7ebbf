"""Snapshots of a net's weight vectors, the record of the net that they leave behind, and nets that begin at another's
weights.
"""

import dataclasses
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from pruning_lab import (
    InferenceSpeed,
    MaskedTraining,
    Recipe,
    Snapshots,
    Train,
    UnitCurve,
    UnitImportance,
    criteria,
    masks,
    units,
)
from pruning_lab.records import store
from pruning_lab.running import sweeps
from pruning_lab.training.fit import evaluate

RECIPE = Recipe(lr=0.1, momentum=0.9, batch=32, iterations=20)
NET = Train("digits", "lenet_300_100", RECIPE, width=9, limit=150)
CONV = Train("digits", "conv_2", replace(RECIPE, holdout=30, iterations=6), width=5, limit=150)
LOOK = Snapshots(NET, ("fc1", "fc2"), (0, 3, 20), sample=100)
PUBLISHED = Path(__file__).resolve().parents[1] / "book" / "results"


@pytest.fixture(autouse=True)
def shelves(store_folder, tmp_path, monkeypatch):
    """Two empty shelves."""
    monkeypatch.setenv("PRUNING_LAB_RESULTS", str(tmp_path / "results"))
    store.forget()


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k].cpu(), b[k].cpu()) for k in a)


def weight(net, layer):
    """A layer's trained weight vectors, [units, inputs]."""
    return store.find(net, weights=True).weights()[f"{layer}.weight"].flatten(1)


def half(values):
    return values.half().numpy()


# the net and its snapshots


def test_the_net_is_in_the_key_of_its_snapshots_though_it_is_no_parent():
    assert LOOK.made_of() == [NET] and LOOK.needs() == [] and sweeps.missing([LOOK]) == [[LOOK]]
    keys = [
        LOOK.key,
        replace(LOOK, net=replace(NET, seed=1)).key,
        replace(LOOK, net=replace(NET, recipe=replace(RECIPE, lr=0.2))).key,
    ]
    change = dict(layers=("fc1",), at=(0, 20), sample=99)
    assert change.keys() | {"net"} == {f.name for f in dataclasses.fields(Snapshots)}
    keys += [replace(LOOK, **{name: value}).key for name, value in change.items()]
    assert len(set(keys)) == 6 and all(key.startswith("lenet_300_100-digits-s") for key in keys)


def test_snapshots_rest_on_the_code_of_the_training_too():
    assert LOOK.code().items() > NET.code().items()
    assert {"experiments.layers", "units.removal", "criteria.unit", "training.fit"} <= LOOK.code().keys()


def test_snapshots_leave_the_net_s_own_record():
    expected = NET.compute()
    assert store.find(NET) is None
    store.run(LOOK)
    found = store.find(NET, weights=True)
    assert found.notes == () and found.meta["code"] == NET.code() and found.meta["config"] == NET.config()
    assert found.meta["data"] == NET.data_read() and found.meta["parents"] == {}
    assert same(found.weights(), expected.weights)
    pd.testing.assert_frame_equal(found.table, expected.table)
    assert not list(store.scratch(LOOK).parent.glob("*")) and sweeps.missing([NET, UnitCurve(NET, "fc1")]) == [
        [UnitCurve(NET, "fc1")]
    ]


def test_a_net_that_is_stored_already_is_left_alone():
    folder = store.run(NET, weights=True).folder
    before = {f.name: f.stat().st_mtime_ns for f in folder.iterdir()}
    assert store.run(LOOK).table.iteration.tolist() == [0, 3, 20]
    assert {f.name: f.stat().st_mtime_ns for f in folder.iterdir()} == before and len(before) == 4


def test_a_row_is_of_the_first_test_images_and_counts_epochs_of_what_is_trained_on():
    table = store.run(replace(LOOK, at=(0, 3, 5, 20))).table
    assert list(table) == ["iteration", "epoch", "accuracy", "loss"] and table.epoch.tolist() == [0, 0.6, 1, 4]
    loss, accuracy = evaluate(NET.trained(), NET.split("test", 100))
    assert (table.loss.iloc[-1], table.accuracy.iloc[-1]) == (pytest.approx(loss), accuracy)
    held_out = store.run(Snapshots(CONV, ("conv1",), (1, 6), sample=50)).table
    assert held_out.epoch.tolist() == [0.25, 1.5]  # 120 images in batches of 32


@pytest.mark.parametrize(
    "look", [LOOK, Snapshots(CONV, ("conv1", "conv2", "fc1"), (0, 2, 6), sample=80)], ids=["linear", "convolution"]
)
def test_the_last_snapshot_is_of_the_trained_weights(look):
    arrays, units_of = store.run(look).arrays, dict(fc1=9, fc2=3) if look is LOOK else dict(conv1=5, conv2=5, fc1=20)
    assert arrays.keys() == {
        f"{layer}.{name}" for layer in look.layers for name in ("norms", "gram", "null", "classes")
    }
    for layer, n in units_of.items():
        shapes = dict(norms=(3, n), gram=(3, n, n), null=(3, n, n), classes=(3, n))
        for name, shape in shapes.items():
            found = arrays[f"{layer}.{name}"]
            assert found.shape == shape and found.dtype == (np.int16 if name == "classes" else np.float16)
        rows = weight(look.net, layer).double()
        np.testing.assert_allclose(arrays[f"{layer}.gram"][-1], (rows @ rows.T).numpy(), rtol=2**-10, atol=1e-6)
        np.testing.assert_allclose(arrays[f"{layer}.norms"][-1], rows.norm(dim=1).numpy(), rtol=2**-10)
        active = units.class_activations(look.net.trained(), layer, look.net.split("train", look.sample))
        assert arrays[f"{layer}.classes"][-1].tolist() == active.argmax(0).where(active.amax(0) > 0, -1).tolist()


def test_snapshots_before_the_first_iteration_are_of_the_initial_weights():
    arrays, rows = store.run(LOOK).arrays, NET.untrained().fc1.weight.detach()
    np.testing.assert_array_equal(arrays["fc1.norms"][0], half(rows.norm(dim=1)))
    assert not np.array_equal(arrays["fc1.gram"][0], arrays["fc1.gram"][1])


def test_the_null_is_of_the_same_weights_in_another_place():
    """Its diagonal has the same sum, that of all squares, and other entries; each snapshot is permuted apart."""
    arrays = store.run(LOOK).arrays
    for layer in LOOK.layers:
        gram, null = (
            np.diagonal(arrays[f"{layer}.{name}"].astype(np.float64), axis1=1, axis2=2) for name in ("gram", "null")
        )
        np.testing.assert_allclose(null.sum(1), gram.sum(1), rtol=1e-3)
        assert (np.abs(np.sort(null) - np.sort(gram)).max(1) > 0.01 * gram.max(1)).all()
    for place, entries in ((0, NET.untrained().fc1.weight.detach()), (2, weight(NET, "fc1"))):
        order = torch.randperm(9 * 64, generator=torch.Generator().manual_seed(LOOK.at[place]))
        shuffled = entries.flatten()[order].view(9, 64)
        np.testing.assert_allclose(arrays["fc1.null"][place], half(shuffled @ shuffled.T), rtol=2**-9, atol=1e-6)


def test_a_unit_that_no_image_activates_has_no_class(monkeypatch):
    fresh = Train.untrained

    def with_dead_units(net):
        model = fresh(net)
        model.fc1.bias.data[[2, 5]] = -100
        return model

    monkeypatch.setattr(Train, "untrained", with_dead_units)
    classes = store.run(LOOK).arrays["fc1.classes"]
    assert (classes[:, [2, 5]] == -1).all() and (classes[0, [0, 1, 3, 4]] >= 0).any()
    assert classes.min() == -1 and classes.max() <= 9


# beginning at the weights of another run

LATER = replace(NET, start=NET, seed=1)


def test_a_net_may_begin_at_the_trained_weights_of_another():
    trained = store.run(NET, weights=True)
    assert same(LATER.untrained().state_dict(), trained.weights())
    record = store.run(LATER, weights=True)
    assert record.meta["parents"] == {NET.key: trained.meta["files"]["weights.safetensors"]}
    assert not same(record.weights(), trained.weights()) and store.find(LATER, weights=True).notes == ()


def test_snapshots_of_a_net_that_begins_at_another_s_weights_begin_there_too():
    look = replace(LOOK, net=LATER)
    assert look.needs() == LATER.needs() == [NET] and sweeps.missing([look]) == [[NET], [look]]
    arrays, rows = store.run(look).arrays, weight(NET, "fc1")
    np.testing.assert_array_equal(arrays["fc1.norms"][0], half(rows.norm(dim=1)))
    assert (
        store.find(LATER, weights=True).meta["parents"].keys() == store.find(look).meta["parents"].keys() == {NET.key}
    )
    assert same(store.find(LATER, weights=True).weights(), LATER.compute().weights)


def test_the_run_whose_weights_a_net_begins_at_is_in_its_key():
    assert (
        len(
            {
                replace(NET, seed=1).key,
                LATER.key,
                replace(LATER, start=replace(NET, seed=2)).key,
                replace(LATER, start=LATER).key,
            }
        )
        == 4
    )
    assert replace(LATER, start=None).key == replace(NET, seed=1).key


def test_the_cost_of_a_net_is_known_before_the_run_at_whose_weights_it_begins():
    assert LATER.cost() == NET.cost() == replace(LOOK, net=LATER).cost() and UnitCurve(LATER, "fc1").cost() > 0
    assert store.find(NET) is None  # nothing was trained to know it


def test_costs_are_multiply_adds_at_the_speed_of_two_cores():
    each = 64 * 9 + 9 * 3 + 3 * 10
    assert NET.cost() == pytest.approx(3 * each * 32 * 20 / 5e10)
    held = replace(NET, recipe=replace(RECIPE, iterations=None, epochs=2, holdout=30))
    assert held.cost() == pytest.approx(3 * each * 32 * 8 / 5e10)  # 120 images are four batches
    assert MaskedTraining(NET, recipe=replace(RECIPE, batch=10)).cost() == pytest.approx(3 * each * 10 * 20 / 5e10)
    assert UnitCurve(NET, "fc1", test_images=70).cost() == pytest.approx(70 * 3 * each / 5e10)
    assert UnitImportance(NET, "fc1").cost() == pytest.approx(445 * 2 * each / 5e10)
    speed = InferenceSpeed(4, shape=(1, 8, 8), batches=(1, 8), rounds=2)
    assert speed.cost() == pytest.approx(9 * 3 * 2 * 2 * masks.mlp_weights(speed.wide, 64, 10) / 5e10)


# keys of what is published


def rebuilt(config):
    """The experiment that a stored config of a `Train` describes."""
    start = rebuilt(config["start"]) if config.get("start") else None
    recipe = Recipe(**{k: tuple(v) if isinstance(v, list) else v for k, v in config["recipe"].items()})
    return Train(**config | dict(recipe=recipe, start=start))


def test_published_nets_have_the_keys_that_their_settings_give_today():
    records = [json.loads(f.read_text()) for f in sorted(PUBLISHED.glob("Train/*/record.json"))]
    assert any(r["config"]["dataset"] == "mnist" and r["config"]["model"] == "lenet_300_100" for r in records)
    assert [rebuilt(r["config"]).key for r in records] == [f.name for f in sorted((PUBLISHED / "Train").iterdir())]


def test_a_sweep_trains_a_net_once_where_snapshots_leave_its_record():
    curve = UnitCurve(NET, "fc1", ("norm",), test_images=50)
    assert sweeps.missing([curve, NET, LOOK]) == [[LOOK], [curve]]
    sweeps.sweep([curve, NET, LOOK])
    assert all(store.find(e) is not None for e in (curve, NET, LOOK)) and not sweeps.missing([curve, NET, LOOK])


def test_a_net_is_trained_by_itself_where_its_snapshots_are_there_without_its_weights():
    store.run(LOOK)
    (store.find(NET, weights=True).folder / "weights.safetensors").unlink()
    curve = UnitCurve(NET, "fc1", ("norm",), test_images=50)
    assert sweeps.missing([curve, LOOK]) == [[NET], [curve]]


def steepness(weight, gradient, diff):
    """A criterion of one's own: how far the mean gradient pulls along a unit's weights, as far as samples agree."""
    return (weight * gradient * diff.abs()).flatten(1).sum(1)


def test_a_curve_has_criteria_that_read_gradients(monkeypatch):
    steepness.ours = False
    monkeypatch.setitem(criteria.UNIT, "steepness", steepness)
    curve = UnitCurve(NET, "fc1", ("steepness",), sample=40, test_images=50)
    read = {c: replace(curve, group=(c,), sample=200).data_read() for c in ("steepness", "activation", "norm")}
    assert read["steepness"] == read["activation"] != read["norm"]
    table = store.run(curve).table
    assert len(table) == 2 * 10 and set(table.remove) == {"lowest", "highest"}
    order = units.order(NET.trained(), "fc1", steepness, data=NET.split("train", 40))
    expected = units.pruning_curve(NET.trained(), "fc1", order, NET.split("test"), limit=50)
    assert table[table.remove == "lowest"].accuracy.tolist() == expected.accuracy.numpy().round(6).tolist()
