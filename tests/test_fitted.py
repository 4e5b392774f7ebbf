"""The experiments that fit one kind of model at many sizes: what they store, of which data, by which seed."""

import numpy as np
import pandas as pd
import pytest
import torch

from pruning_lab import Forest, RandomFeatures, ShallowNets, data, replace
from pruning_lab.experiments import fitted
from pruning_lab.running.trials import small

HOW = dict(limit=96, tested_on=50)
FEATURES = RandomFeatures("digits", (0.08, 1.0, 1.3), noises=(0.0, 0.2), **HOW)
FOREST = Forest("digits", leaves=(4,), trees=(1, 3), **HOW)
NETS = ShallowNets("digits", (0.16, 0.32, 3.2), epochs=40, lr=0.05, **HOW)


def test_features_interpolate_from_as_many_on_as_there_are_images():
    table = FEATURES.compute().table.set_index(["noise", "features"])
    assert list(table.index) == [(share, n) for n in (8, 96, 124) for share in (0.0, 0.2)]
    assert (table.images == 96).all()
    assert (table.train_risk.unstack("features")[[96, 124]] < 1e-5).all(axis=None)
    assert (table.train_risk.unstack("features")[8] > 0.1).all()
    assert table.norm[0.2, 96] > table.norm[0.2, 124]
    clean = replace(FEATURES, noises=(0.0,)).compute().table
    pd.testing.assert_frame_equal(clean, table.loc[[0.0]].reset_index()[clean.columns])


def test_a_ridge_leaves_training_risk_where_least_norm_leaves_none():
    table = replace(FEATURES, noises=(0.0,), ridge=1.0).compute().table
    assert (table.train_risk > 0.01).all()
    assert (table.norm < FEATURES.compute().table.groupby("features").norm.min().max()).all()


def test_a_forest_has_its_axes_one_after_the_other():
    table = FOREST.compute().table
    assert table.axis.tolist() == ["leaves", "trees", "trees", *["leaves of many trees"] * 2]
    assert table.leaves.tolist() == [4, 0, 0, 4, 0] and table.trees.tolist() == [1, 1, 3, 3, 3]
    assert (table.images == 96).all() and table.total[0] == 4 and table.total[3] == 12
    assert (table.train_error[table.leaves == 0] == 0).all()
    assert table.test_error[2] == table.test_error[4]


def test_nets_begin_fresh_or_at_the_net_before_and_the_first_of_both_alike():
    table = NETS.compute().table
    assert table.start.tolist() == ["fresh"] * 3 + ["smaller"] * 3
    assert table.parameters.tolist() == [(64 + 1) * w + (w + 1) * 10 for w in (1, 3, 40)] * 2
    assert (table.parameters <= 960 * np.array([0.16, 0.32, 3.2] * 2)).all()
    assert (table.threshold == 960).all()
    assert table.below.tolist() == [True, True, False] * 2
    assert (table.epochs[~table.below] == 40).all()
    again = replace(NETS, multiples=(0.16, 0.32)).compute().table
    pd.testing.assert_frame_equal(again[again.start == "smaller"].reset_index(drop=True),
                                  table[table.start == "smaller"][:2].reset_index(drop=True))  # fmt: skip


def test_a_net_above_the_threshold_keeps_its_rate_and_never_stops():
    assert NETS.rule(True).decay == 0.9 and NETS.rule(True).stop
    assert NETS.rule(False).decay == 1.0 and not NETS.rule(False).stop


@pytest.mark.parametrize("e", [FEATURES, FOREST, NETS], ids=lambda e: type(e).__name__)
def test_a_seed_is_an_answer_and_its_data_are_named(e):
    first, again, other = (replace(e, seed=seed).compute().table for seed in (0, 0, 1))
    pd.testing.assert_frame_equal(first, again)
    assert not np.allclose(first.test_risk, other.test_risk)
    assert e.data_read() == {"digits/train": data.fingerprint("digits", "train", 96),
                             "digits/test": data.fingerprint("digits", "test", 50)}  # fmt: skip
    assert e.label() == "digits-96-s0" and 0 < e.cost() < 10
    assert small(replace(e, limit=200, seed=3)).seed == 0 and small(e).limit == 96


def test_noise_is_of_the_training_labels_alone():
    noisy = replace(NETS, noise=0.5, multiples=(20.0,), epochs=400).compute().table
    assert (noisy.test_error > 0.1).all()
    forest = replace(FOREST, noise=1.0).compute().table
    assert forest.train_error[1] == 0 and forest.test_error[1] > 0.5  # it fits what was redrawn


def test_risks_of_both_halves_are_of_their_own_labels():
    out = np.eye(3)
    found = fitted.measured(out, np.array([0, 1, 2]), out, np.array([1, 1, 2]))
    assert found == dict(train_risk=0, train_error=0, test_risk=pytest.approx(2 / 3), test_error=pytest.approx(1 / 3))


def test_shared_images_stay_as_they_are():
    before = data.shared("digits", "train", limit=96).images.clone()
    FEATURES.compute()
    assert torch.equal(before, data.shared("digits", "train", limit=96).images)
