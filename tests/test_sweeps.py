"""Sweeps, the experiments of the chapters, and the command line."""

import inspect
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
import torch

from pruning_lab import (
    PROFILES,
    MaskedTraining,
    Recipe,
    Snapshots,
    Train,
    UnitCurve,
    UnitImportance,
    criteria,
    data,
    units,
)
from pruning_lab.__main__ import main
from pruning_lab.nets import models
from pruning_lab.records import certificates, record, store
from pruning_lab.records.experiment import lineage
from pruning_lab.records.store import Experiment, Result
from pruning_lab.running import budget, chapters, estimate, sound, sweeps
from pruning_lab.running.shelves import _published_size
from pruning_lab.running.workers import task

GOES_ON = "the same command goes on from there, trainings from their checkpoints\n"
ROOT = Path(__file__).resolve().parents[1]
RECIPE = Recipe(lr=0.1, momentum=0.9, batch=32, iterations=20)
NET = Train("digits", "lenet_300_100", RECIPE, width=8, limit=150)


@dataclass(frozen=True)
class Parent(Experiment):
    has_weights: ClassVar[bool] = True
    name: str
    price: float = 1.0

    def compute(self):
        note(self.name)
        return Result(pd.DataFrame(dict(x=[1])), weights=dict(w=torch.ones(1)))

    def cost(self):
        return self.price


@dataclass(frozen=True)
class Child(Experiment):
    parent: Parent
    name: str = "child"
    price: float = 1.0

    def compute(self):
        assert store.find(self.parent, weights=True), "the parent must be there"
        note(self.name)
        return Result(pd.DataFrame(dict(x=[2])))

    def cost(self):
        return self.price


@dataclass(frozen=True)
class Broken(Experiment):
    error: str
    price: float = 5.0

    def compute(self):
        raise dict(stop=KeyboardInterrupt, nan=FloatingPointError).get(self.error, ValueError)(self.error)

    def cost(self):
        return self.price


def note(name):
    with open(os.environ["SWEEP_LOG"], "a") as log:
        print(name, file=log, flush=True)


def computed():
    log = Path(os.environ["SWEEP_LOG"])
    return log.read_text().split() if log.exists() else []


@pytest.fixture(autouse=True)
def shelves(store_folder, tmp_path, monkeypatch):
    """Two empty shelves, and a log of what was computed, in order."""
    monkeypatch.setenv("PRUNING_LAB_RESULTS", str(tmp_path / "results"))
    monkeypatch.setenv("SWEEP_LOG", str(tmp_path / "log"))
    store.forget()


# sweeps


def test_parents_go_first_then_the_cheapest(capsys):
    dear, cheap = Parent("dear", 9.0), Parent("cheap", 1.0)
    plan = [Child(dear, "c3", 3.0), Child(cheap, "c1", 1.0), Child(cheap, "c2", 2.0), dear, Child(cheap, "c1", 1.0)]
    sweeps.sweep(plan)
    assert computed() == ["cheap", "dear", "c1", "c2", "c3"]
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines[:2]] == [f"1/5 Parent {cheap.key}", f"2/5 Parent {dear.key}"]
    assert lines[-1].endswith("about 0 s left") and len(lines) == 5


def test_what_is_left_is_told_without_absurdity_from_the_first_run_on():
    """A run that costs next to nothing takes half a second all the same, and a long one as long as its cost says."""
    short, long = [replace(NET, seed=seed) for seed in (1, 2, 3, 4)], replace(NET, seed=9)
    state = sweeps._Sweep(sweeps.missing([*short, long]), sweeps.Here(None), sweeps.Limit())
    state.costs = dict.fromkeys(short, 1e-5) | {long: 60.0}
    state.stored.add(short[0])
    state.took[short[0]] = 0.5
    state.began -= 0.5
    assert 61 < state.left() < 65
    state.failed[long] = None
    assert 1 < state.left() < 2
    for e in short[1:]:
        state.stored.add(e)
        state.took[e] = 0.5
    assert state.left() == 0


def test_a_short_first_run_which_begins_what_all_others_use_tells_nothing_of_them():
    short, long = [replace(NET, seed=seed) for seed in (1, 2, 3, 4)], replace(NET, seed=9)
    state = sweeps._Sweep(sweeps.missing([*short, long]), sweeps.Here(None), sweeps.Limit())
    state.took[short[0]] = 3.0
    assert state.limit.ahead(state) == ""
    state.took[short[1]] = 0.1
    assert re.fullmatch(r"about \d+ s left", state.limit.ahead(state))
    state.took = {long: 60.0}
    assert "left" in state.limit.ahead(state)


def test_a_second_sweep_computes_nothing(capsys):
    plan = [Child(Parent("p"))]
    sweeps.sweep(plan)
    capsys.readouterr()
    sweeps.sweep(plan)
    assert computed() == ["p", "child"] and capsys.readouterr().out == "all 1 records are stored\n"


def test_levels_need_only_those_before_them():
    a, b = Parent("a", 2.0), Parent("b", 1.0)
    assert sweeps.missing([Child(a), Child(b), a]) == [[b, a], [Child(a), Child(b)]]
    store.run(b, weights=True)
    assert sweeps.missing([Child(a), Child(b)]) == [[Child(b), a], [Child(a)]]
    assert sweeps.missing([b]) == [] and sweeps.missing([]) == []


def test_published_nets_are_trained_again_only_for_a_child():
    parent = Parent("p")
    store.run(parent)
    store.publish(parent)
    (store.folder_of(parent) / "record.json").unlink()  # another machine: the weights were never published
    assert sweeps.missing([parent]) == []
    assert (
        sweeps.missing([parent, Child(parent)])
        == sweeps.missing([Child(parent), parent])
        == [[parent], [Child(parent)]]
    )
    sweeps.sweep([parent, Child(parent)])
    assert computed() == ["p", "p", "child"]
    assert store.find(parent).shelf == "published" and sweeps.missing([parent, Child(parent)]) == []


def test_a_published_child_needs_no_parent():
    child = Child(Parent("p"))
    store.run(child.parent, weights=True)
    store.run(child)
    store.publish(child)
    for e in (child, child.parent):
        (store.folder_of(e) / "record.json").unlink()
    assert sweeps.missing([child]) == []


class Elsewhere:
    """An executor that computes at `result`, as one that knows no more than `submit` and `result` may."""

    def __init__(self):
        self.waiting, self.most = [], 0

    def submit(self, function, *arguments):
        self.waiting.append((function, arguments))
        self.most = max(self.most, len(self.waiting))
        executor = self

        class Future:
            def result(self):
                executor.waiting.remove((function, arguments))
                return function(*arguments)

        return Future()


def test_any_executor_gets_a_whole_level_at_once():
    executor = Elsewhere()
    sweeps.sweep([Child(Parent(n), f"c{n}") for n in "abc"], executor)
    assert computed() == ["a", "b", "c", "ca", "cb", "cc"] and executor.most == 3 and not executor.waiting


@dataclass(frozen=True)
class Whole(Experiment):
    """Stores its part's record on its way."""

    part: Parent
    error: bool = False

    def needs(self):
        return []

    def also_stores(self):
        return [self.part]

    def compute(self):
        if self.error:
            raise FloatingPointError("nan")
        store.put(self.part, replace(self.part.compute(), seconds=0.1))
        return Result(pd.DataFrame(dict(x=[3])))


def test_a_child_waits_for_its_own_parents_and_for_no_others():
    release = threading.Event()

    class Slow(Parent):
        def compute(self):
            assert release.wait(60), "the other's child never came"
            return super().compute()

    class Last(Child):
        def compute(self):
            found = super().compute()  # which asserts that its own parent is there
            release.set()
            return found

    with ThreadPoolExecutor(2) as executor:
        sweeps.sweep([Child(Slow("slow"), "slow-child"), Last(Parent("quick"), "quick-child")], executor)
    assert computed() == ["quick", "quick-child", "slow", "slow-child"]


def test_a_child_waits_for_whoever_stores_its_parent():
    a, b = Parent("a"), Parent("b")
    plan = [Child(a, "ca"), Child(b, "cb"), Whole(a)]
    assert sweeps.makers(sweeps.missing(plan)) == {
        Whole(a): [],
        b: [],
        Child(a, "ca"): [[Whole(a)]],
        Child(b, "cb"): [[b]],
    }
    with ThreadPoolExecutor(3) as executor:
        sweeps.sweep(plan, executor)
    assert sorted(computed()) == ["a", "b", "ca", "cb"]


def test_a_child_is_left_out_only_if_nobody_stored_its_parent():
    a = Parent("a")
    with pytest.raises(sweeps.SweepError, match="^1 of 3 failed, 2 are stored; the first: nan$"):
        sweeps.sweep([Whole(a), Whole(a, error=True), Child(a)])
    b = Parent("b")
    with pytest.raises(sweeps.SweepError, match="^2 of 2 failed, 0 are stored; the first: nan$"):
        sweeps.sweep([Whole(b, error=True), Child(b)])
    assert computed() == ["a", "child"]


def test_worker_processes_give_the_same_records(capsys):
    nets = [NET, replace(NET, seed=1)]
    with sweeps.pool(2) as executor:
        sweeps.sweep([UnitCurve(net, "fc1", repeats=1) for net in nets], executor)
    assert "4/4" in capsys.readouterr().out
    for net in nets:
        there = store.find(UnitCurve(net, "fc1", repeats=1))
        assert there.meta["device"]["threads"] == 1
        here = UnitCurve(net, "fc1", repeats=1).compute().table.reset_index(drop=True)
        pd.testing.assert_frame_equal(there.table, here, check_dtype=False, check_exact=True)


def test_a_number_of_workers_in_the_environment_is_a_pool_of_so_many_at_most(monkeypatch):
    made = []
    monkeypatch.setattr(sweeps, "pool", lambda n: made.append(n) or nullcontext())
    for workers, runs, expected in (("3", 2, [2]), ("2", 3, [2]), ("2", 1, []), ("1", 3, []), ("", 3, [])):
        monkeypatch.setenv("PRUNING_LAB_WORKERS", workers)
        made.clear()
        sweeps.sweep([Parent(f"{workers}-{runs}-{k}") for k in range(runs)])
        assert made == expected
    monkeypatch.setenv("PRUNING_LAB_WORKERS", "2")
    sweeps.sweep([Parent(f"own-{k}") for k in range(3)], Elsewhere())
    assert made == []
    for wrong in ("0", "many"):
        monkeypatch.setenv("PRUNING_LAB_WORKERS", wrong)
        with pytest.raises(ValueError, match=f"PRUNING_LAB_WORKERS='{wrong}'"):
            sweeps.sweep([Parent(wrong)])


@dataclass(frozen=True)
class Timed(Parent):
    alone: ClassVar[bool] = True


def test_what_takes_time_is_computed_last_by_itself_and_here():
    executor = Elsewhere()
    others = [Parent("a", price=9), Parent("b", price=9), Child(Parent("a", price=9), "c")]
    sweeps.sweep([Timed("t", price=0.1), Timed("u", price=0.2), *others], executor)
    assert computed() == ["a", "b", "c", "t", "u"] and executor.most == 2


def test_stopping_says_how_far_it_came(capsys):
    plan = [Parent("a"), Broken("stop"), Parent("never", 9.0)]
    with pytest.raises(KeyboardInterrupt):
        sweeps.sweep(plan)
    assert capsys.readouterr().out.endswith(f"stopped: 1 of 3 are stored; {GOES_ON}")
    assert computed() == ["a"] and store.find(Parent("a")) is not None


def test_stopping_takes_back_what_was_submitted():
    cancelled = []

    class Executor(Elsewhere):
        def submit(self, *work):
            future = super().submit(*work)
            future.cancel = lambda: cancelled.append(work[1].name if hasattr(work[1], "name") else "stop")
            return future

    with pytest.raises(KeyboardInterrupt):
        sweeps.sweep([Broken("stop", 0.5), Parent("a"), Parent("b")], Executor())
    assert {"a", "b"} <= set(cancelled) and computed() == []


def test_an_executor_that_is_not_ours_is_never_ended():
    class Executor(Elsewhere):
        def stop(self):
            raise AssertionError("others may still use it")

    with pytest.raises(KeyboardInterrupt):
        sweeps.sweep([Broken("stop", 0.5), Parent("a")], Executor())


class Place:
    """Where the last that was taken is computed first, and one fails: no executor and no futures."""

    def __init__(self):
        self.running, self.calls, self.slots = {}, [], 1

    def submit(self, e):
        self.running[e] = len(self.calls)
        self.calls.append(("submit", e))

    def next(self, patience):
        assert patience() > 0
        return max(self.running, key=self.running.get)

    def result(self, e):
        del self.running[e]
        return task(e)

    def stop(self):
        self.calls.append(("stop", list(self.running)))


def test_a_sweep_asks_nothing_of_where_it_computes_but_to_submit_tell_what_is_next_and_stop(capsys):
    a, b, bad = Parent("a"), Parent("b"), Broken("nan")
    place, plan = Place(), [Child(a, "ca"), Child(b, "cb"), Child(bad, "lost")]
    with pytest.raises(sweeps.SweepError, match="^2 of 6 failed, 4 are stored; the first: nan$"):
        sweeps._Sweep(sweeps.missing(plan), place, sweeps.Limit()).run(plan)
    assert computed() == ["b", "cb", "a", "ca"]
    assert place.calls == [("submit", e) for e in (a, b, bad, Child(b, "cb"), Child(a, "ca"))]
    place, plan = Place(), [Parent("c"), Broken("stop"), Parent("d", 9.0)]
    with pytest.raises(KeyboardInterrupt):
        sweeps._Sweep(sweeps.missing(plan), place, sweeps.Limit()).run(plan)
    assert computed()[4:] == ["d"] and place.calls[-1] == ("stop", [Parent("c")])
    assert capsys.readouterr().out.endswith(f"stopped: 1 of 3 are stored; {GOES_ON}")


@pytest.mark.parametrize(
    "executor", [lambda: None, Elsewhere, lambda: ThreadPoolExecutor(1)], ids=["here", "elsewhere", "threads"]
)
def test_a_failure_is_named_and_the_others_go_on_without_what_builds_on_it(capsys, executor):
    bad = Broken("nan", 0.5)
    lost = [Child(bad, "lost"), Child(Child(bad, "lost"), "lost too")]
    plan = [Parent("a"), bad, *lost, Parent("b", 9.0), Child(Parent("a"), "ca"), Child(Parent("b", 9.0), "cb")]
    with pytest.raises(sweeps.SweepError, match=r"^3 of 7 failed, 4 are stored; the first: nan$") as caught:
        sweeps.sweep(plan, executor())
    assert isinstance(caught.value.__cause__, FloatingPointError) and computed() == ["a", "b", "ca", "cb"]
    assert [e for e in plan if store.find(e)] == [e for e in plan if e not in (bad, *lost)]
    lines = capsys.readouterr().out.splitlines()
    line = inspect.getsourcelines(Broken.compute)[1] + 1  # in code that is not the library's
    assert [line for line in lines if line.startswith("failed")] == [
        f"failed: Broken {bad.key}: FloatingPointError: nan (test_sweeps.py, line {line})"
    ]
    assert [line.split(" ")[0] for line in lines if not line.startswith("failed")] == ["1/7", "2/7", "3/7", "4/7"]
    assert len(lines) == 5 and lines[0].startswith("failed")  # it is the cheapest: all others came after


def test_every_failure_is_named_and_the_next_sweep_tries_them_again(capsys, monkeypatch):
    plan = [Broken("nan"), Broken("other"), Parent("a")]
    with pytest.raises(sweeps.SweepError, match="^2 of 3 failed, 1 are stored; the first: "):
        sweeps.sweep(plan)
    assert capsys.readouterr().out.count("failed: Broken ") == 2
    monkeypatch.setattr(Broken, "compute", lambda self: Result(pd.DataFrame(dict(x=[1]))))
    sweeps.sweep(plan)
    assert capsys.readouterr().out.count("2/2 Broken") == 1 and computed() == ["a"] and not sweeps.missing(plan)


# one that cannot even be asked


def no_network(*_):
    raise OSError("no network")


@pytest.fixture
def absent(tmp_path, monkeypatch):
    """A net on a set that is not here and cannot be had."""
    monkeypatch.setenv("PRUNING_LAB_DATA", str(tmp_path / "data"))
    monkeypatch.setitem(data.DOWNLOADS, "mnist", no_network)
    return replace(NET, dataset="mnist")


@pytest.mark.parametrize("limit", [None, 300], ids=["all", "in a budget"])
def test_a_net_whose_data_are_not_here_fails_alone(absent, capsys, limit):
    bad = [absent, UnitCurve(absent, "fc1"), MaskedTraining(absent), MaskedTraining(absent, criterion="diff")]
    bad += [Snapshots(replace(absent, seed=1), ("fc1",), (0,))]
    good = [NET, UnitCurve(NET, "fc1", test_images=20), Parent("a")]
    assert len([e for level in sweeps.missing([*bad, *good]) for e in level]) == len(bad) + len(good)
    with pytest.raises(sweeps.SweepError, match="could not be downloaded"):
        sweeps.sweep([*bad, *good], limit=limit and budget.Budget(limit))
    assert all(store.find(e) for e in good)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("failed: ")]
    assert lines and all("FileNotFoundError: mnist is not in" in line for line in lines)
    assert len([line for line in lines if line.startswith(f"failed: Train {absent.key}: ")]) == 1


def test_a_net_whose_data_are_not_here_is_left_out_of_a_plan_and_named(absent, capsys, monkeypatch):
    curve = UnitCurve(absent, "fc1")
    bad = [absent, curve, MaskedTraining(absent, criterion="diff", begin=3)]
    monkeypatch.setattr(estimate, "measure", lambda t, say: estimate.Step(0.01, 1e-4))
    found = estimate.estimate([*bad, NET, Child(Parent("a"))])
    assert set(found.seconds) == {NET, Parent("a"), Child(Parent("a"))} == set(found.waits)
    assert set(found.left_out) >= set(bad)
    lines = found.text(2).splitlines()
    assert len([line for line in lines if line.startswith("left out: ")]) == len(found.left_out)
    assert lines[-1].startswith("with 2 workers")
    assert any(line.startswith(f"left out: Train {absent.key}: FileNotFoundError: mnist is not in") for line in lines)
    monkeypatch.setattr(chapters, "plan", lambda *_: [*bad, NET])
    assert main(["plan", "01"]) == 2
    out, err = capsys.readouterr()
    assert "lenet_300_100 8" in out and f"left out: UnitCurve {curve.key}: " in out
    assert err.splitlines()[-1].startswith("pruning_lab: of ")
    assert "runs it cannot be told what they take; the first: FileNotFoundError: " in err


def test_what_builds_on_what_is_left_out_is_left_out(absent):
    @dataclass(frozen=True)
    class Reads(Experiment):
        net: Train

        def compute(self):
            return Result(pd.DataFrame(dict(x=[1])))

    found = estimate.estimate([Reads(absent), Reads(NET)])
    assert found.left_out[Reads(absent)] == f"LookupError: it builds on Train {absent.key}"
    assert Reads(NET) in found.seconds
    assert found.total()[0] > 0


class Odd(Parent):
    """Says what it is by an error, in one of its methods."""


ASKED = ["cost", "needs", "also_stores", "made_of", "plugin_digests", "label", "data_read", "training", "code",
         "config"]  # fmt: skip


@pytest.fixture
def odd(monkeypatch):
    def make(what):
        def raises(self):
            raise ZeroDivisionError(what)

        monkeypatch.setattr(Odd, what, raises)
        return Odd("o")

    return make


@pytest.mark.parametrize("what", ASKED)
@pytest.mark.parametrize("limit", [None, 300], ids=["all", "in a budget"])
def test_one_odd_experiment_stops_no_sweep(odd, capsys, what, limit):
    bad, good = odd(what), [Parent("a"), Child(Parent("b"))]
    with suppress(sweeps.SweepError):
        sweeps.sweep([bad, Child(bad, "lost"), *good], limit=limit and budget.Budget(limit))
    assert all(store.find(e) for e in good) and {"a", "b", "child"} <= set(computed())
    failed = [line for line in capsys.readouterr().out.splitlines() if line.startswith("failed: Odd")]
    harmless = {"cost", "also_stores", "training"}  # nothing that it takes to compute this one
    expected = [] if what in harmless else [f"ZeroDivisionError: {what}"]
    assert [line.split(": ", 2)[2].partition(" (test_sweeps.py, line ")[0] for line in failed] == expected, failed


@pytest.mark.parametrize("what", ASKED)
def test_one_odd_experiment_stops_no_plan_and_no_list(odd, capsys, monkeypatch, tmp_path, what):
    bad, good = odd(what), [Parent("a"), Child(Parent("a"))]
    monkeypatch.setattr(estimate, "speed", lambda: estimate.SPEED)
    found = estimate.estimate([bad, *good])
    assert {Parent("a"), Child(Parent("a"))} <= found.seconds.keys()
    assert (bad in found.seconds) != (bad in found.left_out)
    for e in lineage(good):
        store.run(e)
    monkeypatch.setattr(chapters, "chapters", lambda: [Path("01_toy.ipynb")])
    monkeypatch.setattr(chapters, "plan", lambda *_: [bad, *good])
    assert main(["list"]) == 0
    assert capsys.readouterr().out.count(" 2/") == len(PROFILES)
    # other files of tests have a Child of their own
    monkeypatch.setattr(sound, "kinds", lambda: dict(Parent=Parent, Child=Child, Odd=type(bad)))
    assert main(["pack", str(tmp_path / "out"), "01"]) == 0
    assert "2 records packed" in capsys.readouterr().out
    assert main(["publish", "01", "--profile", "night"]) == 0
    assert all(store.find(e).shelf == "published" for e in good)


def test_a_chapter_whose_plan_cannot_be_made_is_named_in_the_list(capsys, monkeypatch):
    real = chapters.plan

    def plan(path, profile, *given):
        return real(path, profile, *given) if path.stem.startswith("01") else {}[path.stem]

    monkeypatch.setattr(chapters, "plan", plan)
    assert main(["list"]) == 0
    out, err = capsys.readouterr()
    assert out.count("01_frame_potential") == len(PROFILES) and "left out: 02_" in err and "KeyError" in err


def test_what_would_fail_them_all_is_said_before_anything_begins(capsys):
    certificates.save([])
    certificates.file().write_text("{")
    with pytest.raises(ValueError, match="certificates.json is broken"):
        sweeps.sweep([Parent("a")])
    assert computed() == []


# the experiments


def test_train_gives_the_net_that_fit_gives():
    from pruning_lab import data
    from pruning_lab.training.fit import fit

    record = store.run(NET, weights=True)
    model = models.build("lenet_300_100", (1, 8, 8), width=8, seed=0)
    history = fit(model, data.load("digits", "train", limit=150), data.load("digits", "test"), RECIPE, seed=0)
    assert all(torch.equal(v, model.state_dict()[k].cpu()) for k, v in record.weights().items())
    pd.testing.assert_frame_equal(record.table, history.table)
    assert record.meta["data"].keys() == {"digits/train", "digits/test"} and not store.scratch(NET).exists()
    trained = NET.trained()
    assert not trained.training and torch.equal(trained.fc1.weight.cpu(), record.weights()["fc1.weight"])


def test_settings_reach_the_net():
    net = replace(NET, model="conv_2", width=4, image_size=16, scale="standardised", init="glorot", seed=3)
    assert net.untrained().conv1.weight.shape == (4, 1, 3, 3) and not net.untrained().conv1.bias.any()
    assert net.split("train").images.shape[-1] == 16 and net.split("train").images.min() < 0
    assert torch.equal(
        net.untrained().fc1.weight, models.build("conv_2", (1, 16, 16), width=4, seed=3, init="glorot").fc1.weight
    )


def test_a_curve_is_the_one_that_units_gives():
    every = tuple(criteria.UNIT)
    e = UnitCurve(NET, "fc1", every, repeats=2, sample=50, test_images=60)
    table, model = store.run(e).table, NET.trained()
    noisy = [c for c in every if "noise" in criteria.needs(c)]
    assert len(table) == 9 * (2 * len(noisy) + 2 * (len(every) - len(noisy)))
    assert set(table[table.criterion.isin(noisy)].remove) == {"lowest"} and set(
        table[~table.criterion.isin(noisy)].repeat
    ) == {0}
    for (criterion, remove, repeat), part in table.groupby(["criterion", "remove", "repeat"]):
        seen = NET.split("train", 50) if any(r.startswith("activation") for r in criteria.needs(criterion)) else None
        order = units.order(model, "fc1", criterion, remove=remove, data=seen, seed=repeat)
        accuracy, loss = units.pruning_curve(model, "fc1", order, NET.split("test", 60))
        np.testing.assert_allclose(part.accuracy, accuracy.cpu(), atol=1e-6)
        np.testing.assert_allclose(part.loss, loss.cpu(), atol=1e-5)
        assert part.removed.tolist() == list(range(9))


def test_importance_is_what_a_unit_alone_is_worth():
    table, model = store.run(UnitImportance(NET, "fc1")).table, NET.trained()
    test = NET.split("test")
    with torch.inference_mode():
        whole = torch.nn.functional.cross_entropy(model(test.images), test.labels).item()
        for unit in range(8):
            small = units.remove(model, "fc1", torch.tensor([unit]))
            loss = torch.nn.functional.cross_entropy(small(test.images), test.labels).item()
            assert table.loss_increase[unit] == pytest.approx(loss - whole, abs=1e-5)
    np.testing.assert_allclose(table.norm, model.fc1.weight.detach().cpu().norm(dim=1), rtol=1e-5)
    assert table.share.sum() == pytest.approx(1) and table.unit.tolist() == list(range(8))


def test_costs_rise_with_the_work():
    assert replace(NET, recipe=replace(RECIPE, iterations=40)).cost() == pytest.approx(2 * NET.cost())
    assert (
        replace(NET, width=80).cost() > 5 * NET.cost()
        and UnitCurve(NET, "fc1", test_images=10).cost() < UnitCurve(NET, "fc1").cost()
    )


# chapters


def notebook(folder, *cells):
    """A chapter with cells given as (tag, source)."""
    path = folder / "07_toy.ipynb"
    found = [
        dict(cell_type="code", metadata=dict(tags=[tag] if tag else []), source=source.splitlines(True))
        for tag, source in cells
    ]
    path.write_text(json.dumps(dict(cells=found, metadata={}, nbformat=4, nbformat_minor=5)))
    return path


PLAN = """from pruning_lab import Recipe, Train, UnitCurve
SIZES = {"smoke": 1, "night": 2}
nets = [Train("digits", "lenet_300_100", Recipe(lr=rate, iterations=3), seed=s, width=4, limit=64)
        for s in range(seeds or SIZES[profile])]
experiments = [UnitCurve(net, "fc1", repeats=1, test_images=20) for net in nets]
"""
PARAMETERS = 'profile = "laptop"\nseeds = None\nrate = 0.1\n'


@pytest.fixture
def toy(tmp_path):
    return notebook(tmp_path, ("parameters", PARAMETERS), ("", "raise SystemExit"), ("plan", PLAN))


def test_chapters_are_found_by_number_name_and_path(toy):
    path = chapters.chapters()[0]
    assert path.name == "01_frame_potential.ipynb"
    for name in ("01", "frame_potential", "01_frame_potential", "01_frame_potential.ipynb", str(path)):
        assert chapters.chapter(name) == path
    assert chapters.chapter(str(toy)) == toy
    assert chapters.chapter("evidence") == path.with_name("evidence.ipynb")  # a page that is no chapter
    with pytest.raises(ValueError, match="evidence plans nothing: it has no cell tagged `plan`"):
        chapters.plan("evidence", "smoke")
    with pytest.raises(ValueError, match="no chapter '99'; there are 01_frame_potential"):
        chapters.chapter("99")


def test_a_plan_is_parameters_then_overrides_then_the_plan_cells(toy):
    assert [e.parent.seed for e in chapters.plan(toy, "night")] == [0, 1]
    assert len(chapters.plan(toy, "smoke", dict(seeds=3))) == 3
    assert chapters.plan(toy, "smoke", dict(rate=0.5))[0].parent.recipe.lr == 0.5


def test_plans_that_cannot_be_made_are_refused(tmp_path, toy):
    with pytest.raises(ValueError, match="07_toy has no parameter 'sedes'; it has profile, rate, seeds"):
        chapters.plan(toy, "smoke", dict(sedes=3))
    with pytest.raises(ValueError, match="the plan of 07_toy has no profile 'paper'"):
        chapters.plan(toy, "paper")
    path = notebook(tmp_path, ("parameters", PARAMETERS), ("plan", "experiments = 3"))
    with pytest.raises(ValueError, match="must end in a list `experiments`"):
        chapters.plan(path, "smoke")
    path = notebook(tmp_path, ("parameters", PARAMETERS), ("plan", "dict()['other']"))
    with pytest.raises(KeyError, match="other"):
        chapters.plan(path, "smoke")
    for text in ("", "no json", "[]", '{"cells": 5}', '{"cells": [5]}', "[" * 100_000):
        path.write_text(text)
        with pytest.raises(ValueError, match=r"07_toy.ipynb is no notebook \("):
            chapters.plan(path, "smoke")


def test_the_same_experiment_twice_is_one(tmp_path):
    path = notebook(
        tmp_path, ("parameters", PARAMETERS), ("plan", PLAN), ("plan", "experiments = experiments + experiments")
    )
    assert len(chapters.plan(path, "night")) == 2


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("path", chapters.chapters(), ids=lambda path: path.stem)
def test_every_chapter_has_a_plan_at_every_profile(path, profile):
    plan = chapters.plan(path, profile)
    assert plan and len({(type(e), e.key) for e in plan}) == len(plan)
    if profile == "smoke":  # the same nets whatever else is said: seeds are asked for
        seeds = {e.seed for e in lineage(chapters.plan(path, profile, dict(seeds=1))) if type(e) is Train}
        assert seeds <= {0, 10}  # from 10 on where measures were amended


# the command line


def test_list_names_chapters_profiles_and_what_is_stored(capsys):
    assert main(["list"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert rows[0][:3] == ["chapter", "profile", "records"]
    assert [r[1] for r in rows[1:] if r[0] == "01_frame_potential"] == list(PROFILES)
    assert all(
        r[2].startswith("0/") and r[3] == ("never" if r[1] in PROFILES[:2] else "0") and r[4] == "-" for r in rows[1:]
    )


def test_sweep_publish_and_clean(toy, capsys, tmp_path):
    assert main(["sweep", str(toy), "--profile", "night"]) == 0
    assert "4/4 UnitCurve" in capsys.readouterr().out
    assert main(["sweep", str(toy), "--profile", "night"]) == 0
    assert capsys.readouterr().out == "all 2 records are stored\n"
    assert main(["publish", str(toy), "--profile", "night"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 5 and lines[-1].startswith("4 records published; the shelf holds 0.0 MB")
    assert all((tmp_path / "results" / line).is_dir() for line in lines[:-1])
    assert not list((tmp_path / "results").rglob("*.safetensors"))
    assert main(["publish", str(toy), "--profile", "night"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("0 records published") and "4 were published before, and 0 are not stored" in out
    assert main(["clean"]) == 0
    assert "emptied" not in capsys.readouterr().out and list((tmp_path / "store").glob("Train/*"))
    assert main(["clean", "records", "locks"]) == 0
    assert capsys.readouterr().out.count("emptied") == 2
    assert not [f for f in (tmp_path / "store").rglob("*") if f.is_file()]
    assert len(list((tmp_path / "results").glob("*/*"))) == 4  # what is published stays


def test_only_what_everybody_s_plan_has_is_published(toy, capsys, tmp_path, monkeypatch):
    words = [str(toy), "--profile", "night"]
    for given in (["-p", "rate", "0.2"], ["-p", "seeds", "3"]):
        assert main(["sweep", *words, *given]) == 0
        capsys.readouterr()
        assert main(["publish", *words, *given]) == 2
        out, err = capsys.readouterr()
        assert "are in no plan that a reader without your -p and PRUNING_LAB_PLUGINS has, such as" in err
        assert out == "" and err.count("\n") == 1 and not (tmp_path / "results").exists()
    assert main(["publish", *words, "-p", "seeds", "1"]) == 0
    assert "2 records published" in capsys.readouterr().out
    monkeypatch.setattr(UnitCurve, "plugin_digests", lambda self: {"mine": "0123456789ab"})
    assert main(["publish", *words]) == 2
    assert "2 of 4 are in no plan" in capsys.readouterr().err


def test_what_was_published_is_taken_back_but_for_what_others_have(toy, capsys, tmp_path, monkeypatch):
    path, shelf = tmp_path / "08_other.ipynb", tmp_path / "results"
    toy.write_text(toy.read_text().replace('\\"night\\": 2', '\\"night\\": 2, \\"gpu\\": 0, \\"paper\\": 0'))
    shutil.copy(toy, path)
    words = [str(toy), "--profile", "night"]
    assert main(["sweep", *words]) == main(["publish", *words]) == 0
    monkeypatch.setattr(chapters, "chapters", lambda: [toy, path])
    capsys.readouterr()
    assert main(["unpublish", *words]) == 0  # the other chapter has all of it
    assert capsys.readouterr().out.startswith("0 records taken from the published shelf; the shelf holds ")
    monkeypatch.setattr(chapters, "chapters", lambda: [toy])
    assert main(["unpublish", *words, "-p", "seeds", "1"]) == 0  # the chapter itself has it
    assert len(list(shelf.glob("*/*"))) == 4
    path.write_text(toy.read_text().replace("lr=rate", "lr=rate / 2"))
    monkeypatch.setattr(chapters, "chapters", lambda: [path])
    capsys.readouterr()
    assert main(["unpublish"]) == 0  # no plan of the book has any
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 5 and lines[-1].startswith("4 records taken from the published shelf")
    assert not list(shelf.glob("*/*")) and list((tmp_path / "store").glob("Train/*/record.json"))
    assert main(["publish", *words]) == 0 and len(list(shelf.glob("*/*"))) == 4
    assert main(["unpublish", *words]) == 0 and not list(shelf.glob("*/*"))
    assert main(["unpublish", str(toy), "--profile", "laptop"]) == 2
    assert "never published" in capsys.readouterr().err


def test_cleaning_records_takes_nothing_else_from_a_folder_that_is_shared(store_folder, capsys):
    """PRUNING_LAB_STORE may name any folder of the user's: only what holds records is ours."""
    store.run(Parent("a"))
    own = [
        "holiday/photos/sea.jpg",
        "holiday/list.txt",
        "letter.txt",
        "taxes/record.json",
        "music/old/live/record.json",
        "checkpoints/c",
    ]
    for name in own:
        (store_folder / name).parent.mkdir(parents=True, exist_ok=True)
        (store_folder / name).write_text("mine")
    assert main(["clean", "records"]) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert [name for name, line in lines.items() if line.endswith("emptied")] == ["records"]
    assert not (store_folder / "Parent").exists() and store.find(Parent("a")) is None
    assert all((store_folder / name).read_text() == "mine" for name in own)
    assert main(["clean", "checkpoints"]) == 0
    assert [name for name in own if not (store_folder / name).exists()] == ["checkpoints/c"]


def kept(shelf):
    """Bytes under a shelf that may be published, plain tables packed."""
    files = [f for f in shelf.glob("*/*/*") if f.name != "weights.safetensors"]
    return sum(len(record.packed(f.read_bytes())) if f.name == "table.csv" else f.stat().st_size for f in files)


def test_what_does_not_fit_the_published_shelf_is_refused_as_a_whole(toy, capsys, tmp_path, store_folder, monkeypatch):
    words = [str(toy), "--profile", "night"]
    assert main(["sweep", *words, "-p", "seeds", "1"]) == main(["publish", *words, "-p", "seeds", "1"]) == 0
    before = sorted((tmp_path / "results").rglob("*"))
    assert main(["sweep", *words]) == 0
    capsys.readouterr()
    size = kept(store_folder)  # what is published now and what is to come; weights do not count
    assert 0 < kept(tmp_path / "results") < size
    monkeypatch.setattr(store, "SHELF_LIMIT", size - 1)
    assert main(["publish", *words]) == 2
    out, err = capsys.readouterr()
    assert "the published shelf would hold " in err and err.count("\n") == 1 and not out
    assert sorted((tmp_path / "results").rglob("*")) == before
    monkeypatch.setattr(store, "SHELF_LIMIT", size)
    assert main(["publish", *words]) == 0
    assert (
        capsys.readouterr().out.splitlines()[-1].startswith("2 records published")
        and kept(tmp_path / "results") == size
    )


def test_the_published_shelf_has_a_limit_of_30_megabytes():
    assert store.SHELF_LIMIT == 30_000_000


def test_a_record_that_went_takes_no_room_on_the_published_shelf(store_folder):
    store.run(Parent("a"))
    folder = store.folder_of(Parent("a"))
    size = _published_size(folder)
    assert size == kept(store_folder) > 0
    (folder / record.TABLE).unlink()
    assert _published_size(folder) == 0


def test_a_sweep_in_which_something_failed_ends_with_2_and_one_line(toy, capsys, monkeypatch):
    def fail(self):
        raise FloatingPointError("loss is not finite")

    monkeypatch.setattr(UnitCurve, "compute", fail)
    assert main(["sweep", str(toy), "--profile", "night"]) == 2
    out, err = capsys.readouterr()
    assert err == "pruning_lab: 2 of 4 failed, 2 are stored; the first: loss is not finite\n"
    assert out.count("failed: UnitCurve ") == 2 and out.count("/4 Train ") == 2


def test_what_stays_on_this_machine_is_left_out_of_what_is_published(toy, capsys, tmp_path, monkeypatch):
    words = [str(toy), "--profile", "night"]
    assert main(["sweep", *words]) == 0
    monkeypatch.setattr(Train, "published", False)
    capsys.readouterr()
    assert main(["publish", *words]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("2 records published")
    assert [f.name for f in (tmp_path / "results").iterdir()] == ["UnitCurve"]


@pytest.mark.parametrize("profile", ["smoke", "laptop"])
def test_small_profiles_are_never_published(toy, capsys, profile, tmp_path):
    assert main(["publish", str(toy), "--profile", profile]) == 2
    assert "never published" in capsys.readouterr().err and not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    "words, says",
    [
        (["sweep", "99"], "no chapter '99'; there are 01_"),
        (["publish", "nosuch", "--profile", "night"], "no chapter 'nosuch'"),
        (
            ["sweep", "01", "-p", "sedes", "3"],
            "01_frame_potential has no parameter 'sedes'; it has dataset, profile, seeds",
        ),
        (["sweep", "01", "--profile", "smoke", "-p", "dataset", "minst"], "unknown data set 'minst'; known here"),
        (["run", "99"], "no chapter '99'"),
    ],
    ids=str,
)
def test_errors_are_one_line_and_exit_code_2(capsys, words, says):
    assert main(words) == 2
    err = capsys.readouterr().err
    assert err.startswith("pruning_lab: ") and says in err and err.count("\n") == 1


def test_no_word_at_all_is_answered_by_the_list_of_commands(capsys):
    assert main([]) == 2
    err = capsys.readouterr().err
    assert err.startswith("usage: ") and "\n    sweep " in err and "\n    report " in err


def test_nothing_in_the_project_speaks_of_using_what_other_code_made():
    """A record is current or certified, or it is made again: there is no word by which that is switched off."""
    gone = re.compile(r"PRUNING_LAB_KEE[P]|--kee[p](?![\w-])|\bkee[p]: bool|\bkee[p]=(True|False|None)")
    suffixes = {".py", ".md", ".ipynb", ".toml", ".yml", ".js", ".txt", ""}
    ours = [ROOT / name for name in ("pruning_lab", "book", "tests", "benchmarks", "js", ".ci")]
    files = [*(f for f in ROOT.iterdir()), *(f for folder in ours for f in folder.rglob("*"))]
    files = [
        f for f in files if f.is_file() and f.suffix in suffixes and not {"node_modules", "results"} & set(f.parts)
    ]
    assert len(files) > 100 and not [
        str(f) for f in files if gone.search(f.read_text(encoding="utf-8", errors="replace"))
    ]
    signatures = (store.find, store.run, store.gather, sweeps.sweep, sweeps.missing, estimate.estimate)
    assert not [f.__name__ for f in signatures if "keep" in inspect.signature(f).parameters]


@pytest.mark.parametrize(
    "words",
    [
        ["bake"],
        ["sweep"],
        ["sweep", "01", "--profile", "huge"],
        ["sweep", "01", "--kee" + "p"],
        ["clean", "everything"],
    ],
    ids=str,
)
def test_words_that_are_no_command_exit_with_2(capsys, words):
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert caught.value.code == 2 and "usage:" in capsys.readouterr().err


def test_a_device_that_is_not_there_is_one_line(monkeypatch, capsys, toy):
    monkeypatch.setenv("PRUNING_LAB_DEVICE", "abacus")
    assert main(["sweep", str(toy), "--profile", "night"]) == 2
    assert "PRUNING_LAB_DEVICE='abacus' cannot be used here" in capsys.readouterr().err


def test_ctrl_c_is_exit_code_130_and_is_told(monkeypatch, toy, capsys):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(Train, "compute", stop)
    assert main(["sweep", str(toy), "--profile", "night"]) == 130
    assert capsys.readouterr().err == ""  # the sweep has said what is stored
    monkeypatch.setattr("pruning_lab.running.shelves.clean", stop)
    assert main(["clean"]) == 130 and "interrupted" in capsys.readouterr().err


PLUGIN = """from pruning_lab import unit_criterion

@unit_criterion
def largest_weight(weight):
    return weight.flatten(1).abs().amax(1)
"""


def test_a_plugin_s_criterion_is_in_every_chapter(tmp_path):
    (tmp_path / "my_criteria.py").write_text(PLUGIN)
    code = """
import torch
from pruning_lab import chapters, sweep
from pruning_lab.records import store
torch.set_num_threads(1)
plan = [e for e in chapters.plan(chapters.chapter("01"), "smoke", dict(seeds=1))
        if "largest_weight" in getattr(e, "group", ())]
assert {e.layer for e in plan} >= {"fc1", "conv2"}, plan
sweep(plan[:1])
assert set(store.find(plan[0]).table.criterion) == {"largest_weight"}
assert plan[0].plugin_digests().keys() == {"largest_weight"}
"""
    more = dict(PRUNING_LAB_PLUGINS="my_criteria", PYTHONPATH=os.pathsep.join([str(ROOT), str(tmp_path)]))
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], env=os.environ | more, cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


class BrokenPool:
    """A pool of which a worker has died: it takes nothing more."""

    def submit(self, fn, *args):
        raise RuntimeError("a worker died")


def test_a_broken_pool_is_said_like_any_failure(store_folder, capsys):
    with pytest.raises(sweeps.SweepError, match="2 of 2 failed, 0 are stored; the first: a worker died"):
        sweeps.sweep([Parent("one"), Parent("two")], BrokenPool())
    assert capsys.readouterr().out.count("failed: Parent") == 2
