"""A sweep inside a time limit: what it begins first, what it never begins, how it ends, what it says."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import pandas as pd
import pytest
import torch

from pruning_lab import Recipe, Train, UnitCurve, environment
from pruning_lab.__main__ import main
from pruning_lab.records import store
from pruning_lab.records.store import Experiment, Result
from pruning_lab.running import estimate, forecast, lines, sweeps
from pruning_lab.running.budget import Budget
from pruning_lab.training import checkpoint

ROOT = Path(__file__).resolve().parents[1]
NET = Train("digits", "lenet_300_100", Recipe(lr=0.1, batch=32, iterations=20), width=8, limit=150)
LONG = 1e6  # seconds


@dataclass(frozen=True)
class Net(Experiment):
    has_weights: ClassVar[bool] = True
    name: str
    seed: int = 0
    price: float = 10.0

    def compute(self):
        note(f"{self.name}{self.seed}")
        return Result(pd.DataFrame(dict(x=[1])), weights=dict(w=torch.ones(1)))

    def cost(self):
        return self.price


@dataclass(frozen=True)
class Curve(Experiment):
    parent: Net
    name: str = "curve"
    price: float = 1.0

    def compute(self):
        assert store.find(self.parent, weights=True), "the parent must be there"
        note(f"{self.name}-of-{self.parent.name}{self.parent.seed}")
        return Result(pd.DataFrame(dict(x=[1])))

    def cost(self):
        return self.price


@dataclass(frozen=True)
class Endless(Net):
    """It says that it takes a moment, and never ends."""

    price: float = 0.01

    def compute(self):
        note(f"{self.name}{self.seed}")
        while True:
            time.sleep(0.01)


@dataclass(frozen=True)
class Timed(Net):
    alone: ClassVar[bool] = True


@dataclass(frozen=True)
class Broken(Net):
    def compute(self):
        raise FloatingPointError("nan")


@dataclass(frozen=True)
class Whole(Experiment):
    """Stores its part's record on its way."""

    part: Net
    price: float = 12.0

    def needs(self):
        return []

    def also_stores(self):
        return [self.part]

    def compute(self):
        note(f"whole-of-{self.part.name}{self.part.seed}")
        store.put(self.part, replace(self.part.compute(), seconds=0.1))
        return Result(pd.DataFrame(dict(x=[3])))

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
    """Two empty shelves, a log of what was computed, a device on which a second of `cost()` is a second."""
    monkeypatch.setenv("PRUNING_LAB_RESULTS", str(tmp_path / "results"))
    monkeypatch.setenv("SWEEP_LOG", str(tmp_path / "log"))
    monkeypatch.setattr(estimate, "speed", lambda: estimate.SPEED)
    return store_folder


@pytest.fixture
def as_foreseen(monkeypatch):
    """Runs take what was expected of them."""
    monkeypatch.setattr(forecast.Forecast, "learn", lambda *_: None)


# What comes first


def test_a_net_that_brings_a_line_to_three_goes_before_one_that_adds_a_fourth(as_foreseen):
    full = [Net("full", s) for s in range(5)]
    for e in full[:3]:
        store.run(e, weights=True)
    short = [Net("short", s) for s in range(3)]
    for e in short[:2]:
        store.run(e, weights=True)
    new = [Net("new", s) for s in range(3)]
    before = computed()
    sweeps.sweep([*full, *new, *short], limit=Budget(LONG))
    assert computed()[len(before) :] == ["short2", "new0", "new1", "new2", "full3", "full4"]


def test_of_equal_worth_the_shorter_goes_first_and_a_line_is_brought_to_three_before_the_next(as_foreseen):
    dear, cheap = ([Net(name, s, price) for s in range(3)] for name, price in (("dear", 15.0), ("cheap", 10.0)))
    sweeps.sweep([*dear, *cheap], limit=Budget(LONG))
    assert computed() == ["cheap0", "cheap1", "cheap2", "dear0", "dear1", "dear2"]


def test_a_line_of_fewer_than_three_is_worth_one_a_net(as_foreseen):
    lone, line = Net("lone", 0, 10.0), [Net("line", s, 10.5) for s in range(3)]
    sweeps.sweep([*line, lone], limit=Budget(LONG))
    assert computed() == ["lone0", "line0", "line1", "line2"]
    assert lines.line(Net("a", 1)) == lines.line(Net("a", 2)) != lines.line(Net("b", 1))
    assert lines.line(Curve(Net("a", 1))) == lines.line(Curve(Net("a", 2))) != lines.line(Curve(Net("a", 1), "other"))


def test_what_many_wait_for_is_shared_among_them(as_foreseen):
    wide, narrow = Net("wide", 0, 20.0), Net("narrow", 0, 10.0)
    plan = [Curve(narrow, "only"), *(Curve(wide, f"c{k}") for k in range(4))]
    sweeps.sweep(plan, limit=Budget(LONG))
    assert computed()[:2] == ["wide0", "c0-of-wide0"] and computed()[-2:] == ["narrow0", "only-of-narrow0"]


def test_a_record_that_another_run_leaves_is_not_computed_twice(as_foreseen):
    nets = [Net("n", s) for s in range(3)]
    sweeps.sweep([*nets, *map(Whole, nets), *map(Curve, nets)], limit=Budget(LONG))
    assert [name for name in computed() if name.startswith("n")] == ["n0", "n1", "n2"]
    assert not sweeps.missing([*nets, *map(Whole, nets), *map(Curve, nets)])


def test_everything_is_stored_where_there_is_time_for_it(capsys):
    plan = [Curve(Net(n, s), f"c{k}", 0.1) for n in "ab" for s in range(2) for k in range(2)]
    sweeps.sweep(plan, limit=Budget(LONG))
    out = capsys.readouterr().out.splitlines()
    assert len(computed()) == 12 and "12 of 12 are stored after " in out[-1] and " of the budget left" in out[0]


# What is never begun


def test_what_cannot_be_finished_is_not_begun_nor_what_only_it_needs(capsys, as_foreseen):
    plan = [Net("fits", 0, 5.0), Net("long", 0, 500.0), Curve(Net("half", 0, 50.0), price=100.0)]
    sweeps.sweep(plan, limit=Budget(100))
    assert computed() == ["fits0"]
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith("1 of 4 are stored after ") and lines[1].endswith(" s of 100 s")
    assert lines[2:] == [
        "not begun: 3, about 11 min one after another", "  2 x Net: about 9 min", "  1 x Curve: about 2 min",
        "2 of them take longer than such a budget, up to 8 min",
    ]  # fmt: skip


def test_a_parent_is_not_begun_if_there_is_no_time_for_its_child(as_foreseen):
    sweeps.sweep([Curve(Net("p", 0, 60.0), price=60.0), Net("other", 0, 70.0)], limit=Budget(100))
    assert computed() == ["other0"]


def test_runs_that_took_longer_correct_what_is_expected_of_their_kind():
    plan = [Net("n", s, 10.0) for s in range(4)]
    found = forecast.Forecast(plan, 10.0, LONG)
    assert found.seconds(plan[1]) == pytest.approx(10 + forecast.OVERHEAD, rel=0.2)
    expected = found.seconds(plan[1])
    found.learn(plan[0], 3 * expected)
    assert found.seconds(plan[1]) == pytest.approx(3 * expected)
    found.learn(plan[2], expected)
    assert found.seconds(plan[1]) == pytest.approx(2 * expected)
    other = forecast.Forecast([Curve(plan[0])], 10.0, LONG)
    other.learn(Curve(plan[0]), 5.0)
    assert other.sums.keys() == {forecast.kind(Curve(plan[0]))} != {forecast.kind(plan[0])}


def test_times_of_records_that_this_device_made_before_are_learnt_from(monkeypatch):
    old, new = Net("n", 0, 10.0), Net("n", 1, 10.0)
    store.run(old, weights=True)
    file = store.folder_of(old) / "record.json"
    meta = json.loads(file.read_text())

    def foreseen(**change):
        file.write_text(json.dumps(meta | change))
        found = forecast.Forecast([new], 10.0, LONG)
        before = found.seconds(new)
        found.remember([old, new])
        return found.seconds(new) / before

    assert foreseen(seconds=40.0) == pytest.approx(4, rel=0.1)
    assert foreseen(seconds=40.0, device=meta["device"] | dict(name="another")) == 1


def test_measuring_ends_with_its_time_and_the_rest_is_reckoned(monkeypatch):
    asked = []
    monkeypatch.setattr(estimate, "measure", lambda t, say: asked.append(t.net.width) or estimate.Step(0.01, 1e-4))
    nets = [replace(NET, width=w) for w in (8, 16, 32)]
    all_of_them = forecast.Forecast(nets, 100.0, LONG)
    assert asked == [8, 16, 32]
    asked.clear()
    clock = iter(range(0, 10_000, 6))
    monkeypatch.setattr(forecast.time, "monotonic", lambda: next(clock))
    some = forecast.Forecast(nets, 10.0, LONG)
    assert asked == [8] and some.seconds(nets[2]) > some.seconds(nets[1]) > 0
    assert some.seconds(nets[0]) / some.load == pytest.approx(all_of_them.seconds(nets[0]) / all_of_them.load, rel=0.5)


# How it ends


class UntilOneIsEndless(Budget):
    """Its time is over as soon as something endless runs and two are stored."""

    def left(self):
        over = len(computed()) > 2 and all(store.find(Net(n, 0, 0.001)) for n in "ab")
        return 0.0 if over else super().left()

    def call(self, task, e):
        if type(e) is Endless:
            self.end = time.monotonic() + 0.3
        return Budget.call(self, task, e)


@pytest.mark.parametrize("executor", [lambda: None, lambda: sweeps.pool(2)], ids=["here", "workers"])
def test_what_runs_when_the_time_is_over_is_stopped_and_the_rest_is_stored(capsys, executor, monkeypatch, as_foreseen):
    monkeypatch.setattr(sweeps.cluster, "LOOK", 0.1)
    plan = [Net("a", 0, 0.001), Net("b", 0, 0.001), Endless("e"), Endless("f"), Net("never", 0, 1e7)]
    made = executor()
    before = signal.getsignal(signal.SIGALRM)
    sweeps.sweep(plan, made, UntilOneIsEndless(LONG))
    assert sorted(computed())[:2] == ["a0", "b0"] and "never0" not in computed() and set(computed()) & {"e0", "f0"}
    assert (
        store.find(Net("a", 0, 0.001)) and store.find(Net("b", 0, 0.001)) and signal.getsignal(signal.SIGALRM) is before
    )
    out = capsys.readouterr().out
    assert "2 of 5 are stored after " in out and "not begun: " in out and "stopped on its way: Endless " in out
    assert f"stopped on its way: Endless {Endless('e').key}; the same command goes on from its last checkpoint" in out
    if made:
        made.shutdown()


def test_a_training_that_was_stopped_goes_on_from_its_checkpoint(monkeypatch):
    from pruning_lab.training import fit as train

    monkeypatch.setitem(train.fit.__kwdefaults__, "save_every", 0.0)
    monkeypatch.setattr(estimate, "measure", lambda t, say: estimate.Step(1e-9, 1e-9))
    net = replace(NET, recipe=replace(NET.recipe, iterations=10**7))
    sweeps.sweep([net], limit=Budget(4))
    assert store.find(net) is None and 0 < forecast.done(net) < 1
    iteration = checkpoint.load(store.scratch(net))[1]["iteration"]
    assert forecast.done(net) == pytest.approx(iteration / 10**7)
    expected = forecast.Forecast([net], 10.0, LONG)
    checkpoint.save(store.scratch(net), {}, dict(iteration=9 * 10**6))
    assert forecast.Forecast([net], 10.0, LONG).seconds(net) < 0.5 * expected.seconds(net)


def test_time_that_is_over_before_it_begins_begins_nothing(capsys):
    for since in (LONG, 0.95 * 100):
        sweeps.sweep([Net("a")], limit=Budget(100, time.monotonic() - since))
    assert computed() == [] and capsys.readouterr().out.count("0 of 1 are stored after ") == 2


def test_what_takes_time_has_the_machine_to_itself(as_foreseen):
    running = []

    class Executor:
        slots = 2

        def submit(self, fn, e):
            running.append(e)

            class Future:
                def result(self):
                    running.remove(e)
                    return fn(e)

            return Future()

    class Alone(Timed):
        def compute(self):
            assert not running
            return super().compute()

    sweeps.sweep([Alone("timed", 0, 0.1), *(Net("n", s) for s in range(3))], Executor(), Budget(LONG))
    assert sorted(computed()) == ["n0", "n1", "n2", "timed0"]


def test_no_more_is_begun_at_a_time_than_the_executor_has_workers(as_foreseen):
    most, running = [], []

    class Executor:
        slots = 3

        def submit(self, fn, e):
            running.append(e)
            most.append(len(running))

            class Future:
                def result(self):
                    running.remove(e)
                    return fn(e)

            return Future()

    sweeps.sweep([Net("n", s) for s in range(8)], Executor(), Budget(LONG))
    assert max(most) == 3 and len(computed()) == 8


def test_a_failure_inside_a_budget_is_still_a_failure(capsys):
    with pytest.raises(sweeps.SweepError, match="^2 of 3 failed, 1 are stored; the first: nan$"):
        sweeps.sweep([Broken("b"), Curve(Broken("b")), Net("a")], limit=Budget(LONG))
    assert "1 of 3 are stored after " in capsys.readouterr().out and computed() == ["a0"]


def test_a_sweep_in_another_thread_has_no_alarm_and_begins_nothing_that_is_too_long(as_foreseen):
    plan, said = [Net("a"), Net("long", 0, 500.0)], []
    thread = threading.Thread(target=lambda: said.append(sweeps.sweep(plan, limit=Budget(100))))
    thread.start()
    thread.join()
    assert said == [None] and computed() == ["a0"]


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf")])
def test_a_budget_that_is_no_time_is_refused(seconds):
    with pytest.raises(ValueError, match="expected a number above 0"):
        Budget(seconds)


def test_a_clock_that_somebody_else_set_goes_on():
    limit = Budget(LONG)
    heard, before = [], signal.getitimer(signal.ITIMER_REAL)
    handler = signal.signal(signal.SIGALRM, lambda *_: heard.append(1))
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    try:
        with limit._alarm():
            assert signal.getitimer(signal.ITIMER_REAL)[0] > 1000
        end = time.monotonic() + 900
        while not heard and time.monotonic() < end:
            time.sleep(0.01)
    finally:
        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, *before)
    assert heard == [1]


# The command

PLAN = """from pruning_lab import Recipe, Train, UnitCurve
recipe = Recipe(lr=0.1, iterations=6)
nets = [Train("digits", "lenet_300_100", recipe, seed=s, width={width}, limit=64) for s in range(2)]
experiments = [UnitCurve(net, "fc1", repeats=1, test_images=20) for net in nets] + {more}
"""
ENDLESS = '[Train("digits", "lenet_300_100", Recipe(iterations=10**7), width=4, limit=64)]'


def chapter(folder, name, width, more="[]"):
    path = folder / name
    cells = [("parameters", 'profile = "laptop"\n'), ("plan", PLAN.format(width=width, more=more))]
    found = [dict(cell_type="code", metadata=dict(tags=[tag]), source=text.splitlines(True)) for tag, text in cells]
    path.write_text(json.dumps(dict(cells=found, metadata={}, nbformat=4, nbformat_minor=5)))
    return str(path)


def test_several_chapters_are_one_sweep(tmp_path, capsys):
    both = [chapter(tmp_path, "07_a.ipynb", 4), chapter(tmp_path, "08_b.ipynb", 5)]
    assert main(["sweep", *both, "--budget", "1000"]) == 0
    assert "8 of 8 are stored after " in capsys.readouterr().out
    assert main(["sweep", *both]) == 0 and capsys.readouterr().out == "all 4 records are stored\n"
    assert main(["sweep", both[0], "--budget", "1000"]) == 0 and capsys.readouterr().out == "all 2 records are stored\n"


def test_the_command_ends_inside_its_budget_with_0_and_says_what_is_left(tmp_path):
    path = chapter(tmp_path, "07_a.ipynb", 4, ENDLESS)
    more = dict(PYTHONPATH=str(ROOT), OMP_NUM_THREADS="1")
    words = [sys.executable, "-m", "pruning_lab", "sweep", path, "--budget", "100"]
    start = time.monotonic()
    done = subprocess.run(words, env=os.environ | more, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - start < 100
    assert "4 of 5 are stored after " in done.stdout and "not begun: 1, about " in done.stdout
    assert "1 of them take longer than such a budget, up to " in done.stdout and done.stderr == ""


@pytest.mark.parametrize("seconds", ["0", "-3", "nan", "inf", "soon", "True", ""])
def test_a_budget_that_is_no_number_of_seconds_is_one_line(tmp_path, capsys, seconds):
    with pytest.raises(SystemExit) as caught:
        main(["sweep", chapter(tmp_path, "07_a.ipynb", 4), f"--budget={seconds}"])
    assert caught.value.code == 2 and "expected a number of seconds above 0" in capsys.readouterr().err.splitlines()[-1]


def test_a_process_knows_its_age():
    code = "import time; time.sleep(1.5); from pruning_lab import environment; print(environment.age())"
    start = time.monotonic()
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert float(found.stdout) + 0.02 >= 1.5 and float(found.stdout) < time.monotonic() - start + 0.02
    assert environment.age() > 0


def test_a_curve_is_estimated_with_the_net_it_needs():
    curve = UnitCurve(NET, "fc1", repeats=1, test_images=20)
    sweeps.sweep([curve], limit=Budget(LONG))
    assert store.find(curve) and store.find(NET)
