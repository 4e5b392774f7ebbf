"""The graph's numbers: planted groups are found, chance is told from structure, and what is stored comes back."""

import io
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pruning_lab import LayerGraph, LayerStructure, Recipe, Snapshots, Train, metrics, run, structure, units


def bundles(groups=4, size=15, inputs=200, noise=0.3, seed=0):
    """Weights [groups x size, inputs] around random directions, and the group of each."""
    rng = np.random.default_rng(seed)
    label = np.repeat(np.arange(groups), size)
    return rng.normal(size=(groups, inputs))[label] + noise * rng.normal(size=(groups * size, inputs)), label


def gram(weights):
    return weights @ weights.T


def scattered(units=60, inputs=200, seed=0):
    return np.random.default_rng(seed).normal(size=(units, inputs))


def test_planted_groups_are_the_communities():
    weights, label = bundles()
    found = structure.describe(gram(weights), 200, label)
    assert found["communities"] == 4 and found["largest"] == 0.25 and found["agreement"] == pytest.approx(1)
    assert found["modularity"] == pytest.approx(0.75, abs=0.02)  # 1 - 1 / groups, if no edge leaves a group
    assert found["component"] == 0.25 and found["pairs"] == pytest.approx(14 / 59) == found["close"]


def test_random_directions_have_no_structure():
    found = [structure.describe(gram(scattered(seed=s)), 200, np.arange(60) % 6, seed=s) for s in range(5)]
    assert all(f["pairs"] < 0.002 and f["component"] < 0.06 and f["close"] == 0 for f in found)
    assert abs(np.mean([f["agreement"] for f in found])) < 0.1 and max(f["modularity"] for f in found) < 0.5


def test_a_cut_off_at_four_deviations_is_passed_by_one_pair_in_thirty_thousand():
    cosines = metrics.cosines(gram(scattered(1200, 64)))[np.triu_indices(1200, 1)]
    share = (cosines > structure.chance(64, 3.0)).mean()
    assert structure.chance(64, 3.0) == 3 / 8 and 0.0005 < share < 0.0025  # the normal's tail is 0.00135
    assert (cosines > structure.chance(64)).mean() < 6e-5


def test_graphs_of_equally_many_edges_are_compared():
    for neighbours in (2, 5):
        weights, _ = bundles(seed=3)
        many, few = metrics.cosines(gram(weights)), metrics.cosines(gram(scattered()))
        for found in (many, few):
            kept = np.sort(found[np.triu_indices(60, 1)])[::-1][: 60 * neighbours]
            assert len(kept) == 60 * neighbours and (kept > 0).all()
        assert structure.communities(many, neighbours)[1] > structure.communities(few, neighbours)[1] + 0.2


def test_communities_are_numbered_from_the_largest_and_small_ones_have_none():
    weights = np.concatenate([bundles(1, 20, seed=1)[0], bundles(1, 8, seed=2)[0], bundles(1, 2, seed=3)[0]])
    cosines = metrics.cosines(gram(weights))
    labels, _ = structure.communities(np.where(cosines > 0.5, cosines, 0), 5)
    assert labels.tolist() == [0] * 20 + [1] * 8 + [-1] * 2
    assert (labels == structure.communities(np.where(cosines > 0.5, cosines, 0), 5)[0]).all()


def test_opposite_vectors_are_no_neighbours():
    one = np.random.default_rng(0).normal(size=50)
    weights = np.stack([one, -one, one, -one, one, -one])
    labels, _ = structure.communities(metrics.cosines(gram(weights)), 5)
    assert labels.tolist() in ([0, 1] * 3, [1, 0] * 3)


def test_a_dead_layer_has_no_edge_and_no_modularity():
    found = structure.describe(np.zeros((5, 5)), 10)
    assert found["pairs"] == found["norm"] == found["communities"] == found["largest"] == 0
    assert math.isnan(found["modularity"]) and math.isnan(found["spread"]) and math.isnan(found["agreement"])
    assert (structure.clusters(metrics.cosines(np.zeros((5, 5)))) == -1).all()


def test_lengths_are_measured_and_large_units_that_crowd_are_told_from_those_that_spread():
    weights, _ = bundles(2, 10)
    alone = scattered(20)
    size = np.linspace(1, 2, 20)[:, None]
    alone, weights = (w / np.linalg.norm(w, axis=1, keepdims=True) for w in (alone, weights))
    crowd = np.concatenate([alone, size * weights + 1e-9])
    found = structure.describe(gram(crowd), 200)
    assert found["norm"] == pytest.approx(np.linalg.norm(crowd, axis=1).mean()) and found["crowding"] > 0.5
    assert found["spread"] == pytest.approx(np.linalg.norm(crowd, axis=1).std() / found["norm"])
    assert structure.describe(gram(np.concatenate([3 * crowd[:20], crowd[20:]])), 200)["crowding"] < -0.3


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000))
def test_numbers_do_not_depend_on_the_order_of_units_or_their_common_length(seed):
    weights, label = bundles(3, 6, seed=seed)
    order = np.random.default_rng(seed).permutation(18)
    one, other = (structure.describe(gram(w), 200, c) for w, c in ((weights, label), (7 * weights[order], label[order])))
    assert one.pop("norm") == pytest.approx(other.pop("norm") / 7)
    assert one == pytest.approx(other, abs=1e-9)


def test_k_means_finds_planted_groups_from_cosines_alone():
    weights, label = bundles(5, 12)
    weights[0] = 0
    found = structure.clusters(metrics.cosines(gram(weights)), 5)
    assert found[0] == -1 and structure.agreement(found, label) == pytest.approx(1)


def test_units_without_a_class_do_not_count_for_the_agreement():
    labels = np.array([0, 0, 1, 1, 1, -1])
    assert structure.agreement(labels, np.array([5, 5, 7, 7, -1, 5])) == pytest.approx(1)
    assert math.isnan(structure.agreement(labels, np.array([5, -1, -1, 7, -1, 5])))


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 12), st.integers(1, 5), st.integers(0, 1000))
def test_packed_cosines_come_back_finely_where_most_pairs_are(units, times, seed):
    weights = np.stack([scattered(units, 8, seed + t) for t in range(times)])  # unrelated snapshots: differences wrap around
    norms, right = np.linalg.norm(weights, axis=2), np.stack([metrics.cosines(gram(w)) for w in weights])
    packed = structure.pack(right)
    assert packed.dtype == np.int8 and packed.shape == (times, units * (units - 1) // 2)
    back = structure.unpack(packed, norms)
    error = np.abs(np.stack([metrics.cosines(g) for g in back]) - right)
    assert (error <= np.sqrt(np.abs(right)) / 127 + 1 / (4 * 127**2) + 1e-9).all()
    assert np.allclose(np.diagonal(back, axis1=1, axis2=2), norms**2)


def test_opposite_snapshots_survive_the_difference_between_them():
    ends = np.array([[1.0, 1], [1, 1]]), np.array([[1.0, -1], [-1, 1]])
    back = structure.unpack(structure.pack([*ends, *ends]), np.ones((4, 2)))
    assert np.allclose(back, [*ends, *ends])


def test_snapshots_that_stand_still_take_no_bytes():
    still = [metrics.cosines(gram(scattered(100)))] * 30
    sizes = []
    for part in (still, still[:1]):
        np.savez_compressed(file := io.BytesIO(), cosines=structure.pack(part))
        sizes.append(file.tell())
    assert sizes[0] < 1.2 * sizes[1]


def test_cosines_of_zero_rows_are_zero():
    found = metrics.cosines(gram(np.array([[3.0, 0], [0, 0], [1, 1]])))
    assert np.allclose(found, [[1, 0, 2**-0.5], [0, 0, 0], [2**-0.5, 0, 1]])


@pytest.fixture
def watched(tmp_path, monkeypatch):
    monkeypatch.setenv("PRUNING_LAB_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("PRUNING_LAB_RESULTS", str(tmp_path / "results"))
    net = Train("digits", "lenet_300_100", Recipe("sgd", lr=0.05, momentum=0.9, batch=64, iterations=60), width=24)
    return Snapshots(net, ("fc1",), (0, 10, 60), sample=200)


def test_the_record_of_a_structure_holds_trained_and_permuted_weights_by_snapshot(watched):
    table = run(LayerStructure(watched, "fc1")).table
    assert table.groupby("weights").iteration.apply(list).to_dict() == {w: [0, 10, 60] for w in ("trained", "permuted")}
    stored, last = run(watched).arrays, table[(table.iteration == 60)].set_index("weights")
    again = structure.describe(stored["fc1.gram"][2], 64, stored["fc1.classes"][2])
    assert {k: last.loc["trained", k] for k in again} == pytest.approx(again, abs=1e-5, nan_ok=True)
    assert last.norm.trained > table[(table.iteration == 0) & (table.weights == "trained")].norm.iloc[0]
    assert last.spread.trained > last.spread.permuted
    loose = run(LayerStructure(watched, "fc1", deviations=1.0, at=(0, 60))).table
    assert loose.iteration.tolist() == [0, 0, 60, 60] and (loose.pairs.to_numpy() > table[table.iteration != 10].pairs).all()


def test_the_record_of_a_graph_draws_the_layer_without_its_weights(watched):
    from pruning_lab.widgets import ForceGraph

    record, model = run(LayerGraph(watched, "fc1")), watched.net.trained()
    weight = model.get_submodule("fc1").weight.detach().cpu().double().numpy()
    assert np.allclose(record.arrays["norms"][-1], np.linalg.norm(weight, axis=1), rtol=2e-3)
    back = structure.unpack(record.arrays["cosines"], record.arrays["norms"].astype(float))
    assert np.abs(metrics.cosines(back[-1]) - metrics.cosines(gram(weight))).max() < 0.011
    assert record.arrays["order.norm"].tolist() == units.order(model, "fc1", "norm").tolist()
    picture = record.arrays["pictures"][3].astype(float).ravel()
    assert np.corrcoef(picture, weight[3])[0, 1] > 0.999 and np.abs(picture).max() == 127
    curve = np.linspace(1, 0.1, 25)
    graph = ForceGraph.from_layer(record.table, record.arrays, {"norm": curve}, snapshot=-1)
    assert graph.meta["time"] == "iteration" and graph.meta["epochs"] == [0, 10, 60] and graph.snapshot == 2
    assert [o["name"] for o in graph.meta["orders"]] == ["norm", "frame potential", "random"]
    assert graph.meta["orders"][0]["accuracy"] == pytest.approx(curve, abs=1e-4) and graph.meta["orders"][1]["accuracy"] is None
    assert {c["name"] for c in graph.meta["colours"]} >= {"preferred class", "community", "k-means cluster"}


def test_a_graph_may_hold_some_of_the_snapshots(watched):
    record = run(LayerGraph(watched, "fc1", at=(0, 60)))
    assert record.table.iteration.tolist() == [0, 60] and len(record.arrays["cosines"]) == 2 == len(record.arrays["classes"])
    assert (record.arrays["communities"] == run(LayerGraph(watched, "fc1")).arrays["communities"]).all()
