"""What a plan would take: how many steps, measured once a kind of net; memory by hand; a sweep's end by workers."""

import time
from dataclasses import dataclass, replace
from types import SimpleNamespace

import pandas as pd
import pytest
import torch

from pruning_lab import GradientSnapshots, MaskedTraining, MaskSources, Recipe, Snapshots, Train, UnitCurve, data
from pruning_lab.__main__ import main
from pruning_lab.nets import models
from pruning_lab.records import store
from pruning_lab.records.experiment import Experiment, Result
from pruning_lab.running import estimate, measuring, sweeps
from pruning_lab.running.measuring import Step
from pruning_lab.training.fit import fit

RECIPE = Recipe(lr=0.1, momentum=0.9, batch=32, iterations=20)
NET = Train("digits", "lenet_300_100", RECIPE, width=8, limit=150)
TEST = 445  # images


@dataclass(frozen=True)
class Job(Experiment):
    name: str
    price: float = 1.0
    after: Experiment | None = None

    def compute(self):
        return Result(pd.DataFrame(dict(x=[1])))

    def cost(self):
        return self.price


@pytest.fixture(autouse=True)
def shelves(store_folder, tmp_path, monkeypatch):
    """Two empty shelves."""
    monkeypatch.setenv("PRUNING_LAB_RESULTS", str(tmp_path / "results"))
    store.forget()
    return store_folder


@pytest.fixture
def measured(monkeypatch):
    """Measuring takes no time and says what it was asked for."""
    asked = []
    monkeypatch.setattr(estimate, "measure", lambda t, say: asked.append(t.net) or Step(0.01, 1e-4))
    monkeypatch.setattr(estimate, "speed", lambda: estimate.SPEED / 2)
    return asked


def test_a_training_takes_its_steps_and_an_evaluation_an_epoch(measured):
    assert len(data.load("digits", "test")) == TEST
    found = estimate.estimate([NET]).seconds[NET]
    assert found == pytest.approx(20 * 0.01 + 4 * TEST * 1e-4)  # 150 images are 5 batches: 20 steps are 4 epochs
    part = replace(NET, recipe=replace(RECIPE, iterations=22))
    assert estimate.estimate([part]).seconds[part] == pytest.approx(22 * 0.01 + 5 * TEST * 1e-4)
    whole = replace(NET, recipe=replace(RECIPE, iterations=None, epochs=3), limit=None)
    assert estimate.estimate([whole]).seconds[whole] == pytest.approx(3 * 43 * 0.01 + 3 * TEST * 1e-4)  # 1352 images
    held = replace(NET, recipe=replace(RECIPE, iterations=None, epochs=3, holdout=50))
    assert estimate.estimate([held]).seconds[held] == pytest.approx(3 * 4 * 0.01 + 3 * (TEST + 50) * 1e-4)
    few = replace(NET, recipe=replace(RECIPE, tested_on=40))
    assert estimate.estimate([few]).seconds[few] == pytest.approx(20 * 0.01 + (3 * 40 + TEST) * 1e-4)


@pytest.mark.parametrize("length", [dict(iterations=20), dict(iterations=None, epochs=3)], ids=["iterations", "epochs"])
def test_a_hold_out_of_all_images_is_said_as_training_says_it(length):
    held = replace(NET, recipe=replace(RECIPE, holdout=5000, **length))
    looks = [Snapshots(held, ("fc1",), (0,)), GradientSnapshots(held, (0, 1)), MaskSources(held, (0, 1))]
    children = [UnitCurve(held, "fc1"), MaskedTraining(held), MaskedTraining(held, "diff")]
    says = "holdout 5000 leaves no training image of 150: lower the recipe's holdout"
    for e in [held, *looks, *children]:
        found = estimate.estimate([e])
        assert not found.seconds and e in found.left_out, e
        assert any(says in why for why in found.left_out.values()), found.left_out
    with pytest.raises(ValueError, match=says):
        store.run(held)


def test_nets_that_step_alike_are_measured_once(measured):
    alike = [
        NET,
        replace(NET, seed=1),
        replace(NET, recipe=replace(RECIPE, lr=0.2, iterations=9)),
        replace(NET, init="glorot"),
    ]
    recipes = [dict(batch=16), dict(optimizer="adam", momentum=0.0), dict(momentum=0.0), dict(precision="bfloat16")]
    other = [replace(NET, recipe=replace(RECIPE, **change)) for change in [*recipes, dict(augmentation="crop_flip")]]
    other += [replace(NET, width=9), replace(NET, model="mlp"), replace(NET, image_size=16)]
    found = estimate.estimate(alike + other)
    assert len(measured) == 1 + len(other) and len(found.seconds) == len(alike + other)
    known = {}
    for _ in range(2):
        estimate.estimate(alike, measured=known)
    assert len(measured) == 2 + len(other)  # the second call knows it from the first


def test_looks_are_tried_where_short_and_reckoned_where_long(measured, monkeypatch):
    monkeypatch.setattr(estimate, "one_look", lambda training: 0.5)
    training = 20 * 0.01 + 4 * TEST * 1e-4
    look = Snapshots(NET, ("fc1",), (0, 3, 20), sample=100)
    assert estimate.estimate([look]).seconds == {look: pytest.approx(training + 3 * 0.5)}  # the net is left on its way
    grads = GradientSnapshots(replace(NET, recipe=replace(RECIPE, iterations=None, epochs=4)), (0, 2, 4), 100)
    assert estimate.estimate([grads]).seconds[grads] == pytest.approx(training + 3 * 0.5)
    monkeypatch.setattr(measuring, "LONG", 0.01)
    # two trainings' passes over 100 images, three times; the training sees 640
    reckoned = 0.2 * 2 * 100 * 3 / (32 * 20)
    assert estimate.estimate([grads]).seconds[grads] == pytest.approx(training + reckoned)


def test_a_look_that_is_tried_takes_time():
    assert 0 < measuring.one_look(Snapshots(NET, ("fc1",), (0,), sample=20).training()) < 30


def test_what_trains_nothing_takes_its_cost_at_this_speed(measured):
    curve = UnitCurve(NET, "fc1")
    found = estimate.estimate([curve, Job("a", 3.0)])
    assert (
        found.seconds[Job("a", 3.0)] == 6.0
        and found.seconds[curve] == pytest.approx(2 * curve.cost())
        and NET in found.seconds
    )
    assert found.memory[curve] == 0 and set(found.steps) == {NET}


def test_the_speed_is_that_of_a_product(monkeypatch):
    clock = iter([(k / 10, k / 10) for k in range(100)])
    monkeypatch.setattr(measuring, "clock", lambda: next(clock))
    assert measuring.speed() == pytest.approx(512**3 / 0.1)


def test_memory_is_weights_gradients_moments_images_and_activations():
    weights = 64 * 8 + 8 + 8 * 3 + 3 + 3 * 10 + 10
    images = (150 + TEST) * (64 * 4 + 8)
    batch = 32 * 4 * (64 + 64 + 8 + 8 + 3 + 3 + 10)  # the image, flattened, two layers with their ReLU, the logits
    best = dict(holdout=9, keep="lowest_validation_loss")
    for change, copies in ((dict(momentum=0.0), 2), ({}, 3), (dict(optimizer="adam"), 4), (best, 4)):
        net = replace(NET, recipe=replace(RECIPE, **change))
        assert measuring.peak_bytes(net.training()) == 4 * copies * weights + images + batch
    net = models.build("conv_2", (1, 4, 4), width=2)
    # two layers and their ReLU; pooled, flattened; two layers and theirs, logits
    conv, flat, full = 4 * 2 * 16, 2 * 4 + 2 * 4, 4 * 8 + 10
    assert measuring.activations(net, (1, 4, 4)) == conv + flat + full
    assert measuring.batch_of(replace(NET, limit=20).training()) == 20  # no batch is larger than the set


def test_on_the_cpu_time_that_others_had_does_not_count(monkeypatch):
    monkeypatch.setenv("PRUNING_LAB_DEVICE", "cpu")
    assert measuring.between((0.0, 5.0), (10.0, 7.0)) == 2.0 and measuring.between((0.0, 5.0), (1.0, 7.0)) == 1.0
    monkeypatch.setattr(measuring.environment, "device", lambda: torch.device("meta"))
    assert measuring.between((0.0, 5.0), (10.0, 7.0)) == 10.0  # a GPU computes while the process waits


def test_a_measured_step_is_what_a_step_takes():
    """Both in seconds of this process on a processor."""
    net = replace(NET, width=300, recipe=replace(RECIPE, iterations=400), limit=None)
    found = estimate.measure(net.training())
    model, split = net.untrained(), net.split("train")
    start = time.process_time()
    fit(model, split, replace(split, images=split.images[:8], labels=split.labels[:8]), net.recipe)
    assert 1 / 3 < 400 * found.step / (time.process_time() - start) < 3
    assert 0 < found.evaluation < found.step


def test_the_end_of_a_sweep_by_workers():
    a, b, c = Job("a", 4.0), Job("b", 1.0), Job("c", 2.0)
    after_b = Job("d", 5.0, b)
    found = estimate.estimate([a, b, c, after_b], fresh=True)
    scale = found.seconds[b]
    assert found.total()[0] == pytest.approx(12 * scale) and found.total(1)[1] == estimate.BASE
    assert found.total(2)[0] == pytest.approx(7 * scale)  # b to 1 and a to 5 on one, c to 2 and d to 7 on the other
    assert found.total(9)[0] == pytest.approx(6 * scale)  # b and what follows it


def test_memory_of_workers_is_that_of_the_largest():
    found = estimate.Estimate(dict.fromkeys("abc", 1.0), dict(a=10, b=30, c=20), dict.fromkeys("abc", []), {}, 3, 0)
    assert [found.total(n)[1] - n * estimate.BASE for n in (1, 2, 3)] == [30, 50, 60] and found.total(9)[
        1
    ] == 60 + 3 * estimate.BASE


def test_what_is_stored_is_not_counted_unless_afresh(measured, shelves):
    curve = UnitCurve(NET, "fc1", test_images=20)
    store.run(NET)
    found = estimate.estimate([curve, NET])
    assert list(found.seconds) == [curve] and (found.stored, found.asked) == (1, 2)
    lines, missing = found.text(1, 4.2).splitlines(), "1 run is missing, what these build on included"
    assert lines[0] == f"1 of 2 experiments are stored; {missing}"
    assert lines[-1] == "to that come about 4 s until a process has begun here, as this one took"
    assert "has begun" not in found.text(1)
    fresh = estimate.estimate([curve, NET], fresh=True)
    assert list(fresh.seconds) == [NET, curve] and fresh.stored == 0
    sweeps.sweep([curve])
    done = estimate.estimate([curve, NET])
    assert (
        done.text(4, 9.0) == "2 of 2 experiments are stored; 0 runs are missing, what these build on included"
        and done.table().empty
    )


def test_nothing_is_stored_or_computed_by_measuring(shelves, monkeypatch):
    # it steps otherwise than what it starts from
    later = replace(NET, start=replace(NET, seed=1), recipe=replace(RECIPE, batch=16))
    monkeypatch.setattr(Train, "compute", lambda self: pytest.fail("it was computed"))
    before = torch.random.get_rng_state()
    found = estimate.estimate([later])
    assert set(found.seconds) == {later, later.start} and all(s > 0 for s in found.seconds.values())
    assert not list(shelves.rglob("record.json")) and torch.equal(before, torch.random.get_rng_state())


def test_the_table_has_a_row_a_kind(measured):
    nets = [replace(NET, seed=s, width=w) for s in (0, 1) for w in (8, 9)]
    table = estimate.estimate([UnitCurve(net, "fc1") for net in nets]).table()
    rows = table[["what", "model", "width", "runs", "iterations"]].fillna(0).values.tolist()
    assert rows == [
        ["Train", "lenet_300_100", 8, 2, 20],
        ["Train", "lenet_300_100", 9, 2, 20],
        ["UnitCurve", "", 0, 4, 0],
    ]
    assert table.step_ms.tolist()[:2] == [10.0, 10.0] and table.seconds[0] == pytest.approx(2 * (0.2 + 4 * TEST * 1e-4))


def test_the_command_says_what_is_missing_and_what_it_takes(measured, capsys, monkeypatch):
    threads, before = [], torch.get_num_threads()
    monkeypatch.setattr(torch, "set_num_threads", threads.append)
    assert main(["plan", "05", "--profile", "smoke", "--workers", "3"]) == 0
    lines = capsys.readouterr().out.splitlines()
    lines = [line for line in lines if "until a process has begun" not in line]  # a busy machine may take a second
    missing = "10 runs are missing, what these build on included; they leave 15 records"
    assert lines[0] == f"0 of 5 experiments are stored; {missing}" and threads == [1, before]
    assert [line.split()[0] for line in lines[2:-2]] == ["GradientSnapshots"] * 5 + ["GradientHistory"]
    assert lines[-2].startswith("in one process: about ") and lines[-1].startswith(
        "with 3 workers that do not slow each other down: "
    )
    assert main(["plan", "05", "--profile", "smoke", "-p", "sedes", "3"]) == 2


@pytest.mark.parametrize(
    "seconds, words",
    [
        (0, "0 s"),
        (99.4, "99 s"),
        (100, "2 min"),
        (5990, "1 h 40 min"),
        (6100, "1 h 42 min"),
        (86400, "24 h 0 min"),
        (200000, "2 d 7 h"),
    ],
)
def test_durations_are_said_in_units_that_matter(seconds, words):
    assert sweeps.duration(seconds) == words


def test_base_experiments_train_nothing():
    assert Job("a").training() is None and UnitCurve(NET, "fc1").training() is None
    t = GradientSnapshots(NET, (0, 1)).training()
    assert (t.net, t.recipe, t.looks) == (NET, RECIPE, 2) and NET.training() == estimate.Training(NET, RECIPE)
    assert SimpleNamespace(**vars(NET)).model == t.net.model
