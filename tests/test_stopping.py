"""Losses that a recipe names, and trainings that end at a loss or a margin: what they read, say, and resume to."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from pruning_lab import GradientSnapshots, MaskedTraining, MaskSources, Snapshots, Train, data, gradients, losses, run
from pruning_lab.experiments.train import multiplications
from pruning_lab.nets import models
from pruning_lab.records.experiment import same
from pruning_lab.running import cluster, estimate, measuring
from pruning_lab.training import checkpoint
from pruning_lab.training.fit import EACH_EPOCH, evaluate, fit
from pruning_lab.training.recipe import Recipe, hold_out
from pruning_lab.training.stopping import margins

SGD = Recipe(lr=0.1, momentum=0.9, batch=32, epochs=12)
SQUARED = replace(SGD, loss="squared", lr=0.02)


def halves():
    return tuple(data.load("digits", s, limit=n, device="cpu") for s, n in (("train", 120), ("test", 60)))


def net():
    return models.build("lenet_300_100", (1, 8, 8), width=12)


def trained(recipe, **options):
    model = net()
    return model, fit(model, *halves(), recipe, **options)


def naive_squared(model, split):
    with torch.no_grad():
        outputs = model(split.images).double().numpy()
    wanted = np.zeros_like(outputs)
    for row, label in zip(wanted, split.labels.tolist(), strict=True):
        row[label] = 1
    return float(((outputs - wanted) ** 2).sum() / len(outputs))


def naive_margins(model, split):
    with torch.no_grad():
        outputs = model(split.images).numpy()
    return [row[label] - max(np.delete(row, label)) for row, label in zip(outputs, split.labels.tolist(), strict=True)]


# losses


def test_the_squared_loss_is_the_summed_squared_difference_a_mean_over_images():
    outputs, labels = torch.tensor([[1.0, 0.5, 0.0], [0.0, 0.0, 0.0]]), torch.tensor([0, 2])
    assert losses.squared(outputs, labels).tolist() == [0.25, 1.0]
    assert losses.mean("squared", outputs, labels).item() == 0.625
    assert losses.summed("squared", outputs, labels).item() == 1.25


def test_the_recipes_loss_is_what_is_descended_and_what_is_reported():
    recipe = replace(SQUARED, epochs=1, momentum=0.0, batch=200, holdout=20)
    model, start, splits = net(), net(), halves()
    history = fit(model, *splits, recipe, seed=1)
    train, validation = hold_out(splits[0], 20, 1)
    row = history.rows[-1]
    assert row["train_loss"] == pytest.approx(naive_squared(start, train), rel=1e-5)
    assert row["test_loss"] == pytest.approx(naive_squared(model, splits[1]), rel=1e-5)
    assert row["validation_loss"] == pytest.approx(naive_squared(model, validation), rel=1e-5)
    outputs = start(train.images)
    (outputs - nn.functional.one_hot(train.labels, 10)).square().sum().div(len(train)).backward()
    for p, q in zip(start.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(p - recipe.lr * p.grad, q)


def test_evaluating_by_another_loss_changes_no_accuracy():
    model, test = net(), halves()[1]
    by_default, by_square = evaluate(model, test), evaluate(model, test, loss="squared")
    assert by_default[1] == by_square[1] and by_square[0] == pytest.approx(naive_squared(model, test), rel=1e-5)


# stopping


def test_training_stops_after_the_first_epoch_whose_running_loss_is_low_enough():
    whole = trained(SGD)[1].table
    limit = float(whole.train_loss[7])
    first = int((whole.train_loss <= limit).idxmax()) + 1
    model, history = trained(replace(SGD, stop_loss=limit))
    assert len(history.rows) == first < len(whole)
    pd_columns = list(whole.columns)
    assert history.table[pd_columns].equals(whole[pd_columns][:first])  # until then nothing is changed
    assert history.table.loss_reached.tolist() == [0] * (first - 1) + [1]
    assert history.stopped == (first, ("loss",)) and trained(SGD)[1].stopped is None


def test_a_loss_that_is_read_after_the_epoch_is_that_of_the_net_as_it_stands():
    seen = []
    hooks = [(EACH_EPOCH, lambda _, model: seen.append(evaluate(model, halves()[0])[0]) or {})]
    recipe = replace(SGD, stop_loss=1.7, stop_reading="evaluated")
    _, history = trained(recipe, hooks=hooks)
    assert history.table.evaluated_loss.tolist() == pytest.approx(seen, rel=1e-6)
    first = next(k for k, loss in enumerate(seen, 1) if loss <= 1.7)
    assert len(history.rows) == first and history.stopped == (first, ("loss",))


def test_margins_are_how_far_the_true_output_is_ahead():
    model, split = net(), halves()[0]
    with torch.no_grad():
        found = margins(model(split.images), split.labels)
    assert found.tolist() == pytest.approx(naive_margins(model, split), abs=1e-6)


def test_training_stops_once_so_many_images_have_the_margin():
    shares = []

    def look(_, model):
        shares.append(np.mean([m >= 1.0 for m in naive_margins(model, halves()[0])]))
        return {}

    _, history = trained(replace(SGD, stop_margin=(0.2, 1.0)), hooks=[(EACH_EPOCH, look)])
    assert history.table.margin_share.tolist() == pytest.approx(shares)
    first = next(k for k, share in enumerate(shares, 1) if share >= 0.2)
    assert len(history.rows) == first < 12 and history.stopped == (first, ("margin",))


def test_of_two_rules_the_first_that_is_met_ends_the_training():
    both = replace(SGD, stop_margin=(1.0, 1e6), stop_loss=2.0)
    _, history = trained(both)
    assert history.stopped == (len(history.rows), ("loss",)) and history.table.margin_reached.sum() == 0


def test_the_limit_stands_where_no_rule_is_met():
    _, history = trained(replace(SGD, epochs=2, stop_loss=1e-9))
    assert len(history.rows) == 2 and history.stopped is None


def test_the_last_epoch_of_a_stopped_training_is_tested_on_all_images():
    _, history = trained(replace(SGD, stop_loss=2.0, tested_on=10))
    assert history.table.test_images.tolist() == [10] * (len(history.rows) - 1) + [60] and len(history.rows) < 12


def test_the_epoch_of_the_lowest_validation_loss_is_kept_of_a_stopped_training_too():
    model, history = trained(replace(SGD, stop_loss=2.2, holdout=30, keep="lowest_validation_loss"))
    assert history.stopped
    kept = evaluate(model, hold_out(halves()[0], 30, 0)[1])[0]
    assert kept == pytest.approx(history.table.validation_loss.min(), rel=1e-6)


RULES = [
    dict(stop_loss=2.0),
    dict(stop_loss=1.8, stop_reading="evaluated"),
    dict(stop_margin=(0.2, 1.0)),
    dict(stop_loss=0.935, loss="squared", lr=0.02),
]


@pytest.mark.parametrize("rule", RULES, ids=str)
@pytest.mark.parametrize("dies", [2, "last"])
def test_a_killed_training_resumes_to_the_stop_of_an_unbroken_one(tmp_path, capsys, rule, dies):
    recipe = replace(SGD, **rule)
    expected, unbroken = trained(recipe, seed=1)
    dies = len(unbroken.rows) if dies == "last" else dies

    def die(epoch, _):
        if epoch == dies:
            raise KeyboardInterrupt
        return {}

    how = dict(seed=1, checkpoint_file=tmp_path / "c.ckpt", save_every=0)
    with pytest.raises(KeyboardInterrupt):
        trained(recipe, hooks=[(EACH_EPOCH, die)], **how)
    found, history = trained(recipe, hooks=[(EACH_EPOCH, lambda *_: {})], **how)
    assert "starts over" not in capsys.readouterr().err
    assert history.rows == unbroken.rows and history.stopped == unbroken.stopped is not None
    assert all(torch.equal(a, b) for a, b in zip(found.parameters(), expected.parameters(), strict=True))


def test_a_stopped_training_is_read_back_from_its_checkpoint_and_goes_no_further(tmp_path):
    recipe, how = replace(SGD, stop_loss=2.0), dict(checkpoint_file=tmp_path / "c.ckpt", save_every=0)
    first, history = trained(recipe, **how)
    again, other = trained(recipe, **how)
    assert history.rows == other.rows
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))


@pytest.mark.parametrize(
    "edit",
    [lambda rows: rows[0].update(loss_reached=1), lambda rows: rows[0].pop("loss_reached")],
    ids=["a stop before the last row", "a row that does not say"],
)
def test_a_checkpoint_whose_rows_cannot_be_those_of_its_rule_is_broken(tmp_path, capsys, edit):
    recipe = replace(SGD, stop_loss=1e-9, epochs=3)
    how = dict(checkpoint_file=tmp_path / "c.ckpt", save_every=0)
    trained(recipe, **how)
    groups, values = checkpoint.load(tmp_path / "c.ckpt")
    edit(values["rows"])
    values["holds"]["rows"] = [list(row) for row in values["rows"]]
    checkpoint.save(tmp_path / "c.ckpt", groups, values)
    _, history = trained(recipe, **how)
    assert "is broken" in capsys.readouterr().err and len(history.rows) == 3


def test_looks_at_iterations_past_the_stop_are_not_taken():
    hooks = [((0, 4, 48), lambda *_: dict(seen=1))]
    _, history = trained(replace(SGD, stop_loss=2.0), hooks=hooks)
    assert history.stopped and history.snapshots.table.iteration.tolist() == [0, 4]


@pytest.mark.parametrize(
    "bad, words",
    [
        (dict(loss="hinge"), "'hinge' is none of"),
        (dict(stop_loss=0.0), "stop_loss=0.0: expected a positive number"),
        (dict(stop_loss=True), "stop_loss=True: expected a positive number"),
        (dict(stop_loss=float("nan")), "stop_loss=nan: expected a positive number"),
        (dict(stop_reading="guessed", stop_loss=0.1), "'guessed' is none of"),
        (dict(stop_reading="evaluated"), "stop_reading='evaluated' reads no loss: give stop_loss"),
        (dict(stop_margin=0.99), "stop_margin=0.99: expected two numbers"),
        (dict(stop_margin=(0.99,)), "expected two numbers"),
        (dict(stop_margin=(1.5, 10.0)), "a share of the training images, above 0 and at most 1"),
        (dict(stop_margin=(0.0, 10.0)), "a share of the training images, above 0 and at most 1"),
        (dict(stop_margin=(0.9, "10")), "expected two numbers"),
    ],
)
def test_a_loss_or_a_rule_that_cannot_be_followed_is_refused(bad, words):
    with pytest.raises(ValueError, match="recipe:") as error:
        Recipe(epochs=1, **bad)
    assert words in str(error.value)


def test_a_list_of_two_numbers_is_the_tuple_of_them():
    assert Recipe(epochs=1, stop_margin=[0.99, 10]) == Recipe(epochs=1, stop_margin=(0.99, 10))


# in experiments

RECIPE = replace(SGD, epochs=2)
NET = Train("digits", "lenet_300_100", replace(RECIPE, loss="squared", lr=0.02), width=9, limit=120)


def test_losses_and_gradients_of_experiments_are_the_recipes(store_folder):
    looked = run(GradientSnapshots(NET, (0, 2)))
    model, seen = NET.trained(), NET.split("train", 120)
    assert looked.table.loss.iloc[-1] == pytest.approx(naive_squared(model, seen), rel=1e-5)
    found = gradients.statistics(model, seen, loss=losses.squared, silent=0).coherence()
    assert looked.arrays["numbers"][-1, 0, 0] == pytest.approx(found, rel=1e-5)
    assert found != pytest.approx(gradients.statistics(model, seen, silent=0).coherence(), rel=1e-3)
    sources = run(MaskSources(NET, (0, 2)), weights=True)
    assert sources.table.loss.iloc[-1] == pytest.approx(looked.table.loss.iloc[-1])
    diffs = gradients.statistics(model, seen, loss=losses.squared, silent=0).diffs["fc1.weight"]
    torch.testing.assert_close(sources.weights()["fc1.weight"], diffs.cpu())
    snapshots = run(Snapshots(NET, ("fc1",), (0,), sample=50))
    assert snapshots.table.loss[0] == pytest.approx(naive_squared(NET.fresh(), NET.split("test", 50)), rel=1e-5)


def test_gradients_that_masks_read_are_of_the_parents_loss(store_folder, monkeypatch):
    child, asked = MaskedTraining(NET, "weight_taylor"), []
    assert "gradient" in child.reads
    real = gradients.statistics
    monkeypatch.setattr(gradients, "statistics", lambda *a, **k: asked.append(k["loss"]) or real(*a, **k))
    child.masks()
    assert asked == [losses.squared]
    replace(child, parent=replace(NET, recipe=RECIPE)).masks()
    assert asked[1:] == [gradients.cross_entropy]


# options of a model


def test_options_build_the_net_enter_the_key_and_leave_the_label():
    net = Train("digits", "mlp", RECIPE, options={"hidden": [30, 10]})
    assert net.options == (("hidden", (30, 10)),) and hash(net) == hash(replace(net))
    assert [m.out_features for m in net.fresh() if isinstance(m, nn.Linear)] == [30, 10, 10]
    plain = Train("digits", "mlp", RECIPE)
    assert net.label() == plain.label() and net.key != plain.key
    assert net == Train("digits", "mlp", RECIPE, options=(("hidden", (30, 10)),))
    assert same(net, net.config()) and not same(plain, net.config())
    assert multiplications(net) == 64 * 30 + 30 * 10 + 10 * 10
    assert cluster.step_work(net.training()) == 3 * 32 * multiplications(net)


def test_hidden_layers_of_given_widths_keep_their_ratio():
    sizes = [m.out_features for m in models.build("mlp", (1, 8, 8), width=15, hidden=(30, 10)) if hasattr(m, "weight")]
    assert sizes == [15, 5, 10]
    assert len(models.build("mlp", (1, 8, 8), hidden=())) == len(models.build("mlp", (1, 8, 8), hidden=0))
    with pytest.raises(ValueError, match=r"hidden\[1\]=0: expected a whole number, 1 or more"):
        models.build("mlp", (1, 8, 8), hidden=(30, 0))


def test_options_do_not_depend_on_their_order():
    pairs = [("patch", 2), ("depth", 1)]
    both = [Train("digits", "vit", RECIPE, options=o) for o in (pairs, pairs[::-1], dict(pairs))]
    assert len({e.key for e in both}) == 1 and both[0].options == (("depth", 1), ("patch", 2))


@pytest.mark.parametrize(
    "model, options, words",
    [
        ("mlp", dict(depth=3), r"mlp does not take the options \['depth'\]: it takes hidden"),
        ("conv_2", dict(hidden=3), r"conv_2 does not take the options \['hidden'\]: it takes none"),
        ("mlp", 3, "expected names with values"),
        ("mlp", [(3, 4)], "expected names with values"),
        ("mlp", [("hidden", 3), ("hidden", 4)], "say 'hidden' twice"),
    ],
)
def test_options_that_a_model_does_not_take_are_refused_by_name(model, options, words):
    with pytest.raises(ValueError, match=words):
        Train("digits", model, RECIPE, options=options)


def test_a_net_whose_model_is_not_here_may_stand_in_a_plan():
    assert Train("digits", "of_a_plugin", RECIPE, options=dict(depth=3)).options == (("depth", 3),)


# what it would take


def test_an_early_stop_makes_an_estimate_the_most_that_it_can_be(monkeypatch, store_folder):
    monkeypatch.setattr(estimate, "measure", lambda *_: estimate.Step(0.01, 1e-4))
    monkeypatch.setattr(estimate, "speed", lambda: estimate.SPEED / 2)
    plain = replace(NET, recipe=replace(RECIPE, epochs=3))
    base = estimate.estimate([plain])
    stops = replace(plain, recipe=replace(plain.recipe, stop_margin=(0.9, 1.0)))
    most = estimate.estimate([stops])
    assert most.seconds[stops] == pytest.approx(base.seconds[plain] + 3 * 120 * 1e-4)
    assert "at most about" in most.text() and "at most" not in base.text()
    wide = replace(plain, model="mlp", options=dict(hidden=2))
    signs = [estimate.signature(e.training()) for e in (wide, replace(wide, options=dict(hidden=3)))]
    assert signs[0] != signs[1] and "mlp hidden=2" in estimate.estimate([wide]).text()


def test_a_step_is_measured_without_stopping():
    rule = replace(NET, recipe=replace(NET.recipe, stop_loss=1e3, stop_reading="evaluated"))
    assert measuring._timed(rule.training(), [1, 2, 9])[1] > 0


def test_of_options_nothing_is_said_where_a_model_takes_any_or_is_not_here(monkeypatch):
    monkeypatch.setitem(models.MODELS, "any", lambda in_shape, classes, width, **more: None)
    for name in ("any", "not here"):
        assert models.check_options(name, dict(depth=3)) is None
