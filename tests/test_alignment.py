"""Vectors that gather, small nets from their centres, units that repeat: made vectors with known answers, tiny nets."""

import numpy as np
import pytest
import torch

from pruning_lab import CentreStart, FilterClusters, Recipe, Train, UnitRepeats, metrics, run

DIGITS = Recipe("adam", lr=3e-3, batch=32, epochs=2)


def test_centres_are_means_of_those_nearest_to_them():
    rng = np.random.default_rng(0)
    true = np.array([[10.0, 0, 0], [0, 10, 0], [0, 0, 10]])
    vectors = np.repeat(true, 20, 0) + rng.normal(0, 0.1, (60, 3))
    centres, members = metrics.kmeans(vectors, 3)
    for k in range(3):
        assert np.allclose(centres[k], vectors[members == k].mean(0))
    assert sorted(np.bincount(members)) == [20, 20, 20]
    assert (metrics.angles_to_nearest(vectors, centres) < 3).all()


def test_centres_need_as_many_vectors_and_may_be_fewer_than_distinct():
    with pytest.raises(ValueError, match="at least as many vectors"):
        metrics.kmeans(np.zeros((2, 3)), 3)
    centres, members = metrics.kmeans(np.ones((5, 2)), 2)
    assert centres.tolist() == [[1, 1], [1, 1]] and set(members) == {0, 1}


def test_angles_are_to_the_nearest_centre_and_a_zero_vector_has_a_right_angle():
    vectors, centres = np.array([[2.0, 0], [1, 1], [-3, 0], [0, 0]]), np.array([[1.0, 0], [0, 5]])
    assert metrics.angles_to_nearest(vectors, centres) == pytest.approx([0, 45, 90, 90])


def test_random_directions_keep_lengths_alone():
    vectors = np.arange(12.0).reshape(4, 3)
    drawn = metrics.random_directions(vectors, 1)
    assert np.allclose(np.linalg.norm(drawn, axis=1), np.linalg.norm(vectors, axis=1))
    assert not np.allclose(drawn, vectors)
    assert np.array_equal(drawn, metrics.random_directions(vectors, 1))


def test_a_unit_repeats_what_another_says_whatever_its_sign_and_scale():
    x = np.random.default_rng(0).normal(size=(50, 3))
    outputs = np.c_[x, -2 * x[:, 0] + 5, np.full(50, 3.0)]
    found = metrics.strongest_correlation(outputs)
    naive = np.abs(np.corrcoef(x[:, 1], x[:, 2])[0, 1]), np.abs(np.corrcoef(x[:, 1], x[:, 0])[0, 1])
    assert found[[0, 3]] == pytest.approx([1, 1])
    assert found[1] == pytest.approx(max(naive))
    assert found[4] == 0
    assert metrics.strongest_correlation(outputs[:, :1]).tolist() == [0]


@pytest.mark.parametrize(
    "accuracy, share", [([0.9, 0.9, 0.89, 0.88, 0.95], 0.5), ([0.9, 0.91, 0.92], 1.0), ([0.9, 0.8, 0.9], 0.0)]
)
def test_what_can_go_ends_where_accuracy_first_falls_by_more_than_the_margin(accuracy, share):
    assert metrics.removable(accuracy) == share


def test_a_layer_is_clustered_before_and_after_and_beside_random_vectors(store_folder):
    net = Train("digits", "conv_max", DIGITS, width=9, limit=64)
    record = run(FilterClusters(net, clusters=2))
    before, after = (model.conv1.weight.detach().cpu().flatten(1).numpy() for model in (net.untrained(), net.trained()))
    table = record.table.set_index(["weights", "unit"])
    for name, vectors in (("initial", before), ("trained", after), ("random", after)):
        assert table.length[name].to_numpy() == pytest.approx(np.linalg.norm(vectors, axis=1), abs=1e-5)
    angle = metrics.angles_to_nearest(after, record.arrays["centres"])
    assert table.angle["trained"].to_numpy() == pytest.approx(angle, abs=1e-3)
    assert not np.allclose(table.angle["random"], table.angle["trained"])
    nearest = np.linalg.norm(after[:, None] - record.arrays["centres"], axis=2).argmin(1)
    bias = net.trained().conv1.bias.detach().cpu().numpy()
    assert record.arrays["biases"] == pytest.approx([bias[nearest == k].mean() for k in range(2)], abs=1e-5)


def test_a_small_net_begins_at_the_centres_and_is_trained_by_the_same_recipe(store_folder, monkeypatch):
    from pruning_lab.experiments import alignment

    net, seen = Train("digits", "conv_max", DIGITS, width=9, limit=64), {}

    def spy(model, train, test, recipe, **how):
        seen.update(weight=model.conv1.weight.detach().clone(), out=model.out.weight.detach().clone(), recipe=recipe)
        return fit(model, train, test, recipe, **how)

    fit = alignment.fit
    clusters = FilterClusters(net, clusters=2)
    run(clusters)
    monkeypatch.setattr(alignment, "fit", spy)
    small = CentreStart(clusters)
    record = run(small)
    assert small.fresh.width == 2 and small.training().net == small.fresh
    assert torch.allclose(seen["weight"].flatten(1), torch.from_numpy(run(clusters).arrays["centres"].copy()))
    assert torch.equal(seen["out"], small.fresh.untrained().out.weight)
    assert seen["recipe"] == DIGITS
    assert record.table.epoch.max() == 2


@pytest.mark.parametrize("model, layer, width", [("lenet_300_100", "fc1", 7), ("conv_max", "conv1", 5)])
def test_repeats_are_read_off_what_the_next_layer_sees(store_folder, model, layer, width):
    net = Train("digits", model, DIGITS, width=width, limit=64)
    table = run(UnitRepeats(net, layer, sample=40)).table
    trained, images = net.trained().cpu(), net.split("test", 40).images.cpu()
    until = [m for _, m in trained.named_children()]
    names = [n for n, _ in trained.named_children()]
    following = names.index("fc2") if layer == "fc1" else names.index("out")
    with torch.no_grad():
        read = torch.nn.Sequential(*until[:following])(images).double().numpy()
    naive = np.nan_to_num(np.abs(np.corrcoef(read.T))) - 10 * np.eye(width)
    assert table.correlation.to_numpy() == pytest.approx(naive.max(1).clip(0), abs=1e-5)


def test_the_convolution_s_pool_is_over_all_positions_or_squares_of_them():
    from pruning_lab import models

    shape = (1, 12, 12)
    whole, squares = (models.build("conv_max", shape, 10, 3, pool=pool) for pool in (None, 4))
    assert whole.out.in_features == 3 and squares.out.in_features == 12
    images = torch.rand(2, *shape)
    by_hand = torch.relu(whole.conv1(images)).flatten(2).amax(2)
    assert torch.allclose(whole.out(by_hand), whole(images), atol=1e-6)
    with pytest.raises(ValueError, match="8 pixels are needed"):
        models.build("conv_max", (1, 7, 7), pool=4)


def test_what_is_made_of_a_net_costs_by_its_size():
    nets = [Train("digits", "conv_max", DIGITS, width=width, limit=64) for width in (4, 40)]
    few, many = (UnitRepeats(net, "conv1", sample=40) for net in nets)
    assert 0 < few.cost() < many.cost() and few.cost() < UnitRepeats(nets[0], "conv1", sample=80).cost()
    start = CentreStart(FilterClusters(nets[1], clusters=4))
    assert start.cost() == start.fresh.cost() > 0
