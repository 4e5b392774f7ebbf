"""Random rows of the same spectrum: what counts as groups above them, and what does not."""

import numpy as np
import pytest

from pruning_lab import LayerStructure, Recipe, Snapshots, Train, metrics, run
from pruning_lab.units import nulls, structure

UNITS, INPUTS = 120, 400


def gram(weights):
    return weights @ weights.T


def noise(seed):
    return np.random.default_rng(seed).standard_normal((UNITS, INPUTS))


def low_rank(seed, rank=6, size=1.0):
    """A layer that moved within a few dimensions, each unit its own way: nothing gathers."""
    draw = np.random.default_rng([seed, 1])
    moved = draw.standard_normal((UNITS, rank)) @ draw.standard_normal((rank, INPUTS))
    return noise(seed) + size * moved


def grouped(seed, groups=6, size=2.0):
    """A layer whose units moved to a few places."""
    draw = np.random.default_rng([seed, 2])
    return noise(seed) + size * draw.standard_normal((groups, INPUTS))[np.arange(UNITS) % groups]


def above(weights, seed, draws=5):
    """How far a layer stands above its null in hundredths: near less opposite pairs, modularity, pairs."""

    def numbers(g):
        found = structure.describe(g, INPUTS)
        return np.array([found["pairs"] - structure.opposite(g, INPUTS), found["modularity"], found["pairs"]])

    own = gram(weights)
    return 100 * (numbers(own) - np.mean([numbers(nulls.same_spectrum(own, (seed, k))) for k in range(draws)], axis=0))


def test_rows_keep_their_lengths_and_their_spectrum():
    own = gram(low_rank(0))
    drawn = nulls.same_spectrum(own, 3)
    assert np.diagonal(drawn) == pytest.approx(np.diagonal(own))
    values, wanted = (np.linalg.eigvalsh(metrics.cosines(g)) for g in (drawn, own))
    assert values[-6:] == pytest.approx(wanted[-6:], rel=0.15)  # but for the way back to length one
    assert values[:-6].max() < values[-6:].min() / 3, "six directions hold nearly all, as in the layer"
    assert drawn == pytest.approx(drawn.T)


def test_a_draw_is_that_of_its_seed():
    own = gram(noise(0))
    assert np.array_equal(nulls.same_spectrum(own, (1, 2)), nulls.same_spectrum(own, (1, 2)))
    assert not np.allclose(nulls.same_spectrum(own, (1, 2)), nulls.same_spectrum(own, (1, 3)))


def test_every_direction_is_equally_likely():
    """Cosines of pairs are as often above zero as below, whatever the layer's own are."""
    together = gram(noise(0) + 3)  # all vectors share one direction
    assert (metrics.cosines(together)[np.triu_indices(UNITS, 1)] > 0).all()
    signs = [np.sign(nulls.same_spectrum(together, k)[np.triu_indices(UNITS, 1)]).mean() for k in range(20)]
    assert abs(np.mean(signs)) < 0.05


def test_zero_rows_stay_zero():
    weights = low_rank(0)
    weights[[3, 7]] = 0
    drawn = nulls.same_spectrum(gram(weights), 0)
    assert np.isfinite(drawn).all() and not drawn[[3, 7]].any() and not drawn[:, [3, 7]].any()
    assert np.diagonal(drawn) == pytest.approx(np.diagonal(gram(weights)))
    assert not nulls.same_spectrum(np.zeros((4, 4))).any()


@pytest.mark.parametrize("seed", range(3))
def test_a_change_of_low_rank_is_no_structure(seed):
    own = low_rank(seed)
    found, start = structure.describe(gram(own), INPUTS), structure.describe(gram(noise(seed)), INPUTS)
    assert found["pairs"] > start["pairs"] + 0.1, "shuffled entries would call it structure"
    gathered, modularity, pairs = above(own, seed)
    assert abs(gathered) < 3 and abs(modularity) < 3 and abs(pairs) < 3


@pytest.mark.parametrize("seed", range(3))
def test_true_groups_are_structure(seed):
    gathered, modularity, pairs = above(grouped(seed), seed)
    assert gathered > 10 and modularity > 10
    assert pairs < 0, "near pairs alone tell nothing: as few dimensions hold more of them without any groups"


def test_vectors_that_move_together_have_near_pairs_and_no_opposite_ones():
    together = gram(noise(0) + 0.5)
    assert structure.opposite(together, INPUTS) == 0
    assert above(noise(0) + 0.5, 0)[0] > 20


@pytest.mark.parametrize("deviations", [1.0, 4.0])
def test_opposite_pairs_are_those_below_minus_the_cut_off(deviations):
    weights = low_rank(1)
    rows = weights / np.linalg.norm(weights, axis=1, keepdims=True)
    far = [rows[i] @ rows[j] < -deviations / INPUTS**0.5 for i in range(UNITS) for j in range(i)]
    assert structure.opposite(gram(weights), INPUTS, deviations) == pytest.approx(np.mean(far))


@pytest.fixture
def watched(tmp_path, monkeypatch):
    monkeypatch.setenv("PRUNING_LAB_STORE", str(tmp_path))
    net = Train("digits", "lenet_300_100", Recipe(lr=0.1, batch=32, iterations=6), width=10, limit=100, seed=3)
    return Snapshots(net, ("fc1",), (0, 3, 6), 50)


def test_a_record_may_have_rows_of_the_same_spectrum_beside_the_permuted_ones(watched):
    plain, full = run(LayerStructure(watched, "fc1")), run(LayerStructure(watched, "fc1", null="spectrum"))
    same = full.table[full.table.weights != "spectrum"].drop(columns="opposite").reset_index(drop=True)
    same = same.astype(plain.table.dtypes)  # counts beside means are floats
    assert same.equals(plain.table), "the option changes nothing that was there"
    assert plain.arrays == {} and "opposite" not in plain.table
    arrays = run(watched).arrays
    for t, iteration in enumerate((0, 3, 6)):
        own, classes = arrays["fc1.gram"][t], arrays["fc1.classes"][t]
        drawn = [nulls.same_spectrum(own, (3, iteration, k)) for k in range(5)]
        row = full.table[(full.table.weights == "spectrum") & (full.table.iteration == iteration)].iloc[0]
        told = [structure.describe(g, 64, classes) for g in drawn]
        assert row.modularity == pytest.approx(np.mean([one["modularity"] for one in told]), abs=1e-6)
        assert row.opposite == pytest.approx(np.mean([structure.opposite(g, 64) for g in drawn]), abs=1e-6)
        assert row.norm == pytest.approx(told[0]["norm"], abs=1e-6)


def test_the_grams_of_both_ends_are_kept(watched):
    e = LayerStructure(watched, "fc1", at=(3, 6), null="spectrum")
    record, upper = run(e), np.triu_indices(10)
    assert record.arrays["gram"].shape == (2, 55) and record.arrays["gram"].dtype == np.float16
    for kept, t in zip(record.arrays["gram"], (1, 2), strict=True):
        assert np.array_equal(kept, run(watched).arrays["fc1.gram"][t][upper])


def test_a_null_that_is_none_is_refused(watched):
    with pytest.raises(ValueError, match="null='shuffled': expected one of"):
        LayerStructure(watched, "fc1", null="shuffled")


def test_the_option_is_in_no_key_of_what_was_there(watched):
    assert LayerStructure(watched, "fc1").key == LayerStructure(watched, "fc1", null="permuted").key
    assert LayerStructure(watched, "fc1", null="spectrum").key != LayerStructure(watched, "fc1").key
