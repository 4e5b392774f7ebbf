"""One of every kind of experiment: that it is every kind, what is said of one that fails, how the CPU compares."""

import inspect
import os

import numpy as np
import pandas as pd
import pytest

from pruning_lab import criteria, environment, experiments
from pruning_lab.__main__ import main
from pruning_lab.nets import models
from pruning_lab.records.experiment import lineage
from pruning_lab.running import smoke
from pruning_lab.training.recipe import AUGMENTATIONS, KEEPS, OPTIMIZERS, PRECISIONS


@pytest.fixture(autouse=True)
def quiet_shelves(store_folder):
    """A store that no smoke may touch."""


@pytest.fixture
def few(monkeypatch):
    """Only three small experiments."""
    plan = [smoke.net("mlp"), experiments.UnitImportance(smoke.net("lenet_300_100"), "fc1"), smoke.net("vit")]
    monkeypatch.setattr(smoke, "experiments", lambda: plan)
    return plan


def ours():
    """Our settings; torch adds some of its own."""
    return {name: value for name, value in os.environ.items() if name.startswith("PRUNING_LAB_")}


def test_it_has_every_kind_of_experiment_net_recipe_and_criterion():
    plan = lineage(smoke.experiments())
    assert {type(e).__name__ for e in plan} == set(experiments.__all__)
    nets = [e for e in plan if isinstance(e, experiments.Train)]
    own = {name for name, made in models.MODELS.items() if inspect.getmodule(made).__name__.startswith("pruning_lab.")}
    assert {e.model for e in nets} == set(smoke.WIDTHS) == own
    for field, known in (
        ("optimizer", OPTIMIZERS),
        ("precision", PRECISIONS),
        ("augmentation", AUGMENTATIONS),
        ("keep", KEEPS),
    ):
        assert {getattr(e.recipe, field) for e in nets} == set(known), field
    masked = [e for e in plan if isinstance(e, experiments.MaskedTraining)]
    assert {e.criterion for e in masked} == set(criteria.WEIGHT) and {e.scope for e in masked} == {
        "global",
        "local",
        "erk",
    }
    assert {name for e in plan if isinstance(e, experiments.UnitCurve) for name in e.group} == set(criteria.UNIT)
    assert smoke.experiments() == smoke.experiments() and len(set(plan)) == len(plan)


def test_all_of_it_works_here_and_touches_no_store(capsys, store_folder, monkeypatch):
    monkeypatch.delenv("PRUNING_LAB_DEVICE", raising=False)
    before = ours()
    assert main(["smoke", "--device", "cpu"]) == 0
    lines = capsys.readouterr().out.splitlines()
    count = len(lineage(smoke.experiments()))
    assert len(lines) == count + 1 and all(line.startswith("ok ") for line in lines[:-1])
    assert lines[-1].startswith(f"{count} of {count} work, ")
    assert ours() == before and not store_folder.exists()


def test_one_that_fails_is_named_and_stops_no_other(few, capsys, monkeypatch):
    def fail(self):
        raise FloatingPointError("no kernel")

    monkeypatch.setattr(experiments.UnitImportance, "compute", fail)
    assert main(["smoke", "--device", "cpu"]) == 2
    out, err = capsys.readouterr()
    [bad] = [line for line in out.splitlines() if line.startswith("FAILED")]
    assert bad.endswith(f"UnitImportance {few[1].key}: FloatingPointError: no kernel")
    assert out.count("ok ") == 3 and "3 of 4 work, " in out
    assert err == f"pruning_lab: 1 of 4 failed: UnitImportance {few[1].key}\n"


def test_answers_that_cannot_be_are_failures(few, capsys, monkeypatch):
    was = experiments.Train.compute

    def spoiled(self):
        found = was(self)
        found.table["test_accuracy"] = 1.5
        return found

    monkeypatch.setattr(experiments.Train, "compute", spoiled)
    assert main(["smoke", "--device", "cpu"]) == 2
    assert "test_accuracy from 1.5 to 1.5" in capsys.readouterr().out
    assert smoke.strange(pd.DataFrame()) == "it has no rows"
    assert (
        smoke.strange(pd.DataFrame(dict(loss=[1.0, np.inf])))
        == smoke.strange(pd.DataFrame(dict(loss=[np.nan])))
        == "loss is not finite"
    )
    assert smoke.strange(pd.DataFrame(dict(coherence=[np.nan, 0.1], accuracy=[0.0, 1.0]))) is None


def test_another_device_is_compared_with_the_cpu(few, capsys, monkeypatch):
    """`cpu:0` is the CPU under a name that is not `cpu`."""
    assert main(["smoke", "--device", "cpu:0"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("the CPU computed 4 of 4, for comparison\n") and out.count("ok ") == 4
    was = experiments.Train.compute

    def wrong(self):
        found = was(self)
        if environment.device().index == 0 and self.model == "vit":
            found.table["test_loss"] *= 2
        return found

    monkeypatch.setattr(experiments.Train, "compute", wrong)
    assert main(["smoke", "--device", "cpu:0"]) == 2
    out = capsys.readouterr().out
    assert "test_loss is " in out and ", on the CPU " in out and out.count("FAILED") == 1


def test_close_is_a_fifth():
    table = pd.DataFrame(dict(test_loss=[2.0, 2.2], coherence=[0.1, 0.2], other=[1, 2]))
    assert smoke.difference(table, table.assign(test_loss=[2.3, 2.3], other=[7, 7])) is None
    assert smoke.difference(table, table.assign(test_loss=[3.0, 3.2])) == "test_loss is 2.1 on average, on the CPU 3.1"
    assert smoke.difference(table, table.assign(coherence=[0.5, 0.5])) == "coherence is 0.15 on average, on the CPU 0.5"
    assert smoke.difference(table, table[:1]) == "a table of 2 rows and 3 columns, on the CPU 1 and 3"
    assert smoke.difference(table, None) == "it fails on the CPU, so that there is nothing to compare with"


def test_a_device_that_is_not_there_is_one_line(capsys):
    before = ours()
    assert main(["smoke", "--device", "abacus"]) == 2
    assert "PRUNING_LAB_DEVICE='abacus' cannot be used here" in capsys.readouterr().err and ours() == before
