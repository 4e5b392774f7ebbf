"""The graph's numbers: planted groups are found, chance is told from structure, and what is stored comes back."""

import io
import math

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_mutual_info_score

from pruning_lab import LayerGraph, LayerStructure, Recipe, Snapshots, Train, metrics, run, units
from pruning_lab.units import structure


def bundles(groups=4, size=15, inputs=200, noise=0.3, seed=0):
    """Weights [groups x size, inputs] around random directions, and the group of each."""
    rng = np.random.default_rng(seed)
    label = np.repeat(np.arange(groups), size)
    return rng.normal(size=(groups, inputs))[label] + noise * rng.normal(size=(groups * size, inputs)), label


def gram(weights):
    return weights @ weights.T


def scattered(units=60, inputs=200, seed=0):
    return np.random.default_rng(seed).normal(size=(units, inputs))


def slow(gram, inputs, deviations, neighbours):
    """The numbers that need no communities, one pair at a time."""
    units, norms = range(len(gram)), [math.sqrt(row[k]) for k, row in enumerate(gram)]
    cosine = {
        (i, j): gram[i, j] / norms[i] / norms[j] if norms[i] and norms[j] else 0.0
        for i in units
        for j in units
        if i != j
    }
    pairs = [c for (i, j), c in cosine.items() if i < j]
    near, largest = {pair for pair, c in cosine.items() if c > deviations / math.sqrt(inputs)}, 0
    for unit in units:
        part, fresh = {unit}, {unit}
        while fresh := {j for j in units for i in fresh if (i, j) in near} - part:
            part |= fresh
        largest = max(largest, len(part))
    nearest = [np.mean(sorted(cosine[i, j] for j in units if j != i)[-neighbours:]) for i in units]
    mean = sum(norms) / len(norms)
    return dict(
        pairs=sum(c > deviations / math.sqrt(inputs) for c in pairs) / len(pairs),
        close=sum(c >= 0.5 for c in pairs) / len(pairs), component=largest / len(gram), norm=mean,
        spread=math.sqrt(sum((n - mean) ** 2 for n in norms) / len(norms)) / mean,
        crowding=metrics.rank_correlation(np.array(norms), np.array(nearest)),
    )  # fmt: skip


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("deviations, neighbours", [(4.0, 5), (1.5, 5), (2.0, 2), (1.0, 15)])
def test_the_numbers_equal_naive_loops(seed, deviations, neighbours):
    weights = np.concatenate([scattered(12, 10, seed), bundles(2, 4, 10, 1.0, seed)[0]])
    weights[seed] = 0
    found = structure.describe(gram(weights), 10, deviations=deviations, neighbours=neighbours, seed=seed)
    right = slow(gram(weights), 10, deviations, neighbours)
    assert {name: found[name] for name in right} == pytest.approx(right)


def test_a_pair_at_the_cut_off_is_not_above_it_and_one_at_a_half_is_close():
    cosines = np.eye(6)
    for (i, j), c in {(0, 1): 0.5, (1, 2): 0.75, (2, 3): 0.625, (3, 4): -0.75, (0, 5): 0.375}.items():
        cosines[i, j] = cosines[j, i] = c
    assert structure.chance(64) == 0.5 and structure.chance(64, 3.0) == 0.375
    for deviations, pairs, component in ((4.0, 2, 3), (3.0, 3, 4)):
        found = structure.describe(cosines, 64, deviations=deviations)
        assert (found["pairs"], found["close"], found["component"]) == pytest.approx(
            (pairs / 15, 3 / 15, component / 6)
        )


def strongest(cosines, neighbours):
    """The graph of the strongest pairs, found by sorting all; of equal ones the first."""
    units = range(len(cosines))
    pairs = sorted(((i, j) for i in units for j in units if i < j), key=lambda pair: -cosines[pair])
    graph = nx.empty_graph(len(cosines))
    graph.add_weighted_edges_from(
        (*pair, cosines[pair]) for pair in pairs[: neighbours * len(cosines)] if cosines[pair] > 0
    )
    return graph


def modularity(graph, parts):
    """Newman's sum over parts: the share of weight inside, less what the degrees alone would give."""
    weight = {tuple(sorted(edge)): w for *edge, w in graph.edges.data("weight")}
    total, found = sum(weight.values()), 0.0
    for part in parts:
        inside = sum(w for edge, w in weight.items() if part.issuperset(edge))
        ends = sum(w * len(part.intersection(edge)) for edge, w in weight.items())
        found += inside / total - (ends / (2 * total)) ** 2
    return found


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("neighbours", [1, 2, 5])
def test_communities_are_louvain_s_of_the_strongest_pairs(neighbours, seed):
    tied = np.where(np.add.outer(np.arange(40), np.arange(40)) % 2, 0.5, 0.25)
    for cosines in (
        metrics.cosines(gram(scattered(40, 9, seed))),
        metrics.cosines(gram(bundles(5, 8, 9, 1.5, seed)[0])),
        tied,
    ):
        labels, found = structure.communities(cosines, neighbours, seed)
        graph = strongest(cosines, neighbours)
        parts = nx.community.louvain_communities(graph, seed=seed)
        assert {frozenset(np.flatnonzero(labels == k)) for k in set(labels) - {-1}} == {
            frozenset(p) for p in parts if len(p) > 2
        }
        assert found == pytest.approx(modularity(graph, parts))


def test_the_choices_of_a_description_are_those_of_its_communities():
    weights, label = scattered(40, 9), np.arange(40) % 4
    cosines, made = metrics.cosines(gram(weights)), {}
    for neighbours, seed in ((5, 0), (5, 1), (5, 2), (2, 0)):
        labels, value = structure.communities(cosines, neighbours, seed)
        made[neighbours, seed] = dict(modularity=value, communities=labels.max() + 1, largest=(labels == 0).mean(),
                                      agreement=structure.agreement(labels, label))  # fmt: skip
        found = structure.describe(gram(weights), 9, label, neighbours=neighbours, seed=seed)
        assert {name: found[name] for name in made[neighbours, seed]} == pytest.approx(made[neighbours, seed])
    assert len({choice["modularity"] for choice in made.values()}) == 4  # each would have been noticed
    assert structure.describe(gram(weights), 9, label) == structure.describe(
        gram(weights), 9, label, deviations=4, neighbours=5, seed=0
    )
    assert structure.communities(cosines)[1] == made[5, 0]["modularity"]


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
        for found in (many, few):  # what is weaker than the strongest pairs, five a unit or two, says nothing
            least = np.sort(found[np.triu_indices(60, 1)])[::-1][60 * neighbours - 1]
            halved = np.where(found >= least, found, found / 2)
            assert structure.communities(halved, neighbours)[1] == structure.communities(found, neighbours)[1]
        assert structure.communities(many, neighbours)[1] > structure.communities(few, neighbours)[1] + 0.2


def test_communities_are_numbered_from_the_largest_and_small_ones_have_none():
    weights = np.concatenate([bundles(1, 20, seed=1)[0], bundles(1, 8, seed=2)[0], bundles(1, 2, seed=3)[0]])
    cosines = metrics.cosines(gram(weights))
    labels, _ = structure.communities(np.where(cosines > 0.5, cosines, 0), 5)
    assert labels.tolist() == [0] * 20 + [1] * 8 + [-1] * 2
    assert (labels == structure.communities(np.where(cosines > 0.5, cosines, 0), 5)[0]).all()


def test_of_equally_large_communities_the_one_with_the_first_unit_comes_first():
    weights = np.concatenate([bundles(1, n, seed=n)[0] for n in (8, 20, 9)])[:36]
    cosines = metrics.cosines(gram(weights))
    assert structure.communities(np.where(cosines > 0.5, cosines, 0), 20)[0].tolist() == [1] * 8 + [0] * 20 + [2] * 8


def test_the_largest_community_is_a_share_of_all_units():
    weights = np.concatenate([bundles(1, 20, seed=1)[0], bundles(1, 8, seed=2)[0], scattered(2)])
    found = structure.describe(gram(weights), 200, neighbours=7)  # 190 pairs in one group, 20 of 28 in the other
    assert found["communities"] == 2 and found["largest"] == 20 / 30


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
    one, other = (
        structure.describe(gram(w), 200, c) for w, c in ((weights, label), (7 * weights[order], label[order]))
    )
    assert one.pop("norm") == pytest.approx(other.pop("norm") / 7)
    assert one == pytest.approx(other, abs=1e-9)


def test_k_means_finds_planted_groups_from_cosines_alone():
    weights, label = bundles(5, 12)
    weights[0] = 0
    found = structure.clusters(metrics.cosines(gram(weights)), 5)
    assert found[0] == -1 and structure.agreement(found, label) == pytest.approx(1)


@pytest.mark.parametrize("seed", range(3))
def test_k_means_from_cosines_is_that_of_the_directions(seed):
    weights = scattered(40, 6, seed)
    directions = weights / np.linalg.norm(weights, axis=1, keepdims=True)
    found = structure.clusters(metrics.cosines(gram(weights)), seed=seed)
    assert structure.agreement(
        found, KMeans(10, n_init=10, random_state=seed).fit_predict(directions)
    ) == pytest.approx(1)


def test_a_few_units_are_a_cluster_each():
    weights = scattered(5)
    weights[2] = 0
    found = structure.clusters(metrics.cosines(gram(weights)))
    assert found[2] == -1 and sorted(np.delete(found, 2)) == [0, 1, 2, 3]


def test_units_without_a_class_do_not_count_for_the_agreement():
    labels = np.array([0, 0, 1, 1, 1, -1])
    assert structure.agreement(labels, np.array([0, 0, 7, 7, -1, 0])) == pytest.approx(1)
    assert math.isnan(structure.agreement(labels, np.array([5, -1, -1, 7, -1, 5])))
    assert structure.agreement(labels, np.array([5, 5, -1, 7, -1, 5])) == pytest.approx(1)  # three are enough


def test_agreement_is_adjusted_mutual_information():
    labels, classes = np.random.default_rng(0).integers(0, 4, (2, 30))
    classes[:12] = labels[:12]
    found = structure.agreement(labels, classes)
    assert found == pytest.approx(adjusted_mutual_info_score(classes, labels)) and 0.05 < found < 0.9


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 12), st.integers(1, 5), st.integers(0, 1000))
def test_packed_cosines_come_back_finely_where_most_pairs_are(units, times, seed):
    # unrelated snapshots: differences wrap around
    weights = np.stack([scattered(units, 8, seed + t) for t in range(times)])
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
    assert (
        loose.iteration.tolist() == [0, 0, 60, 60]
        and (loose.pairs.to_numpy() > table[table.iteration != 10].pairs).all()
    )


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
    assert (
        graph.meta["orders"][0]["accuracy"] == pytest.approx(curve, abs=1e-4)
        and graph.meta["orders"][1]["accuracy"] is None
    )
    assert {c["name"] for c in graph.meta["colours"]} >= {"preferred class", "community", "k-means cluster"}


def test_a_graph_may_hold_some_of_the_snapshots(watched):
    record = run(LayerGraph(watched, "fc1", at=(0, 60)))
    assert record.table.iteration.tolist() == [0, 60] and len(record.arrays["cosines"]) == 2 == len(
        record.arrays["classes"]
    )
    assert (record.arrays["communities"] == run(LayerGraph(watched, "fc1")).arrays["communities"]).all()


SQUARES = [None, "x", [[1.0, 0.0], [0.0, 1.0]], np.zeros((0, 0)), np.ones((3, 2)), np.ones(4), np.full((3, 3), np.nan),
           np.diag([1.0, np.inf])]  # fmt: skip


@pytest.mark.parametrize("wrong", SQUARES, ids=lambda wrong: f"{type(wrong).__name__}{list(np.shape(wrong))}")
def test_what_is_no_square_of_finite_numbers_is_refused(wrong):
    for call in (
        lambda: structure.describe(wrong, 10),
        lambda: structure.communities(wrong),
        lambda: structure.clusters(wrong),
    ):
        with pytest.raises(
            ValueError, match=r"expected an array \[units, units\]|numbers that are not finite: check the"
        ):
            call()


@pytest.mark.parametrize(
    "how, text",
    [
        *[(dict(inputs=wrong), "inputs=.*: expected numbers, the first above 0") for wrong in (0, -1, "x", None, True)],
        *[(dict(deviations=wrong), "deviations=.*: expected numbers") for wrong in ("x", None, np.nan)],
        *[
            (dict(neighbours=wrong), "neighbours=.*: expected a whole number, 1 or")
            for wrong in (0, -1, 2.5, "5", None)
        ],
        *[(dict(seed=wrong), "seed=.*: expected a whole number from 0 to") for wrong in (-1, 1.5, "x", 2**32)],
        *[
            (dict(classes=wrong), r"classes=.*: expected one whole number a unit, \[5\]")
            for wrong in (np.zeros(2), "x")
        ],
    ],
    ids=str,
)
def test_other_choices_of_a_description_are_refused(how, text):
    square = np.eye(5) + 0.1
    with pytest.raises(ValueError, match=text):
        structure.describe(square, **dict(inputs=10) | how)
    other = {name: value for name, value in how.items() if name in ("neighbours", "seed")}
    if other:
        for call in (structure.communities, structure.clusters) if "seed" in other else (structure.communities,):
            with pytest.raises(ValueError, match=text):
                call(square, **other)
    for count in (0, -1, 2.5):
        with pytest.raises(ValueError, match="count=.*: expected a whole number, 1 or more"):
            structure.clusters(square, count)
