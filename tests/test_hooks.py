"""Hooks of a training: one list of (when, hook), whose rows join the epochs' or are snapshots."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pruning_lab import data
from pruning_lab.nets import models
from pruning_lab.training import checkpoint
from pruning_lab.training.fit import EACH_EPOCH, fit
from pruning_lab.training.hooks import Hooks
from pruning_lab.training.recipe import Recipe

SGD = Recipe(lr=0.1, momentum=0.9, batch=64, epochs=2)
SPLITS = [data.load("digits", split, limit=n, device="cpu") for split, n in (("train", 150), ("test", 80))]


def small():
    return models.build("lenet_300_100", (1, 8, 8), width=12)


def trained(hooks, recipe=SGD, model=None, **options):
    return fit(model or small(), *SPLITS, recipe, hooks=hooks, **options)


def first(number, model):
    return dict(first=model.fc1.weight[0, 0].item(), row=model.fc1.weight[0])


def drawn(name):
    return lambda *_: {name: torch.rand(1).item()}


def test_hooks_of_one_moment_share_its_row():
    history = trained([(EACH_EPOCH, first), ((0, 4), first), ((4, 6), drawn("drawn")), (EACH_EPOCH, drawn("drawn"))])
    assert {"first", "drawn"} <= set(history.table) and history.arrays["row"].shape == (2, 64)
    assert [row.keys() for row in history.snapshots.rows] == [
        {"iteration", "first"}, {"iteration", "first", "drawn"}, {"iteration", "drawn"},
    ]  # fmt: skip
    assert history.snapshots.table.iteration.tolist() == [0, 4, 6]
    assert history.snapshots.arrays["row"].shape == (2, 64)


def test_a_hook_draws_what_it_would_draw_alone():
    alone = trained([(EACH_EPOCH, drawn("b")), ((3,), drawn("d"))])
    both = trained([(EACH_EPOCH, drawn("a")), (EACH_EPOCH, drawn("b")), ((3,), drawn("c")), ((3,), drawn("d"))])
    assert both.table.b.tolist() == alone.table.b.tolist()
    assert both.snapshots.table.d.tolist() == alone.snapshots.table.d.tolist()
    assert both.table.test_loss.tolist() == trained([]).table.test_loss.tolist()


def test_hooks_are_numbered_by_epoch_or_by_iteration():
    seen = []
    trained(
        [(EACH_EPOCH, lambda k, _: seen.append(("epoch", k)) or {}), ([6, 0, 3], lambda k, _: seen.append(k) or {})]
    )
    assert seen == [0, 3, ("epoch", 1), 6, ("epoch", 2)]


NO_PAIRS = {
    "a pair in place of a list": ((0, 3), first),
    "a hook alone": [first],
    "a hook that is none": [((0, 3), "first")],
    "three parts": [((0, 3), first, 1)],
    "a number": [(3, first)],
    "another word": [("epochs", first)],
    "a word of iterations": [("03", first)],
    "none": [(None, first)],
}


@pytest.mark.parametrize("hooks", NO_PAIRS.values(), ids=NO_PAIRS)
def test_hooks_that_are_no_pairs_are_refused_before_anything_is_changed(hooks):
    model, before = small(), small().state_dict()
    mask = {"fc1.weight": torch.zeros(12, 64, dtype=torch.bool)}
    with pytest.raises(ValueError, match=r"^hooks: .*expected pairs \(when, hook\), with 'each epoch' or iterations"):
        trained(hooks, model=model, mask=mask)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items()) and model.training


ODD = {
    "half": 2.5,
    "text": "3",
    "none": None,
    "truth": True,
    "nan": float("nan"),
    "infinite": float("inf"),
    "pair": (3,),
}


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
def test_an_iteration_that_is_no_whole_number_is_refused(odd):
    with pytest.raises(ValueError, match="snapshot at iteration .*: expected whole numbers"):
        Hooks([((0, odd), first)], 6)


@pytest.mark.parametrize("at", [range(0, 7, 3), np.array([6, 0, 3]), {0, 3, 6}, iter([0, 3, 6]), (0.0, np.int8(3), 6)])
def test_iterations_come_in_any_collection(at):
    hooks = Hooks([(at, first)], 6)
    assert hooks.due == {0, 3, 6} and hooks.asked() == [0, 3, 6] and json.dumps(hooks.asked()) == "[0, 3, 6]"


RETURNED = {
    "nothing": (lambda *_: None, "returned NoneType: expected a dict"),
    "a number": (lambda *_: 3.0, "returned float: expected a dict"),
    "words": (lambda *_: dict(a="high"), "gives 'a' that is no number"),
    "none": (lambda *_: dict(a=None), "gives 'a' that is no number"),
    "the row's own": (lambda *_: dict(test_loss=1.0), "gives 'test_loss', which its row has already"),
    "another hook's": (lambda *_: dict(first=1.0), "gives 'first', which its row has already"),
}


@pytest.mark.parametrize("hook, says", RETURNED.values(), ids=RETURNED)
def test_a_row_that_is_none_or_has_a_column_twice_is_refused(hook, says):
    with pytest.raises(ValueError, match=f"hook <lambda> {says}"):
        trained([(EACH_EPOCH, first), (EACH_EPOCH, hook)])


def test_the_hooks_of_the_page_of_the_library_work_as_they_stand():
    text = (Path(__file__).resolve().parents[1] / "book" / "library.md").read_text(encoding="utf-8")
    [code] = [part for part in re.findall(r"```python\n(.*?)```", text, re.S) if "hooks = [" in part]
    here = dict(model=small())
    exec(code, here)
    history = here["history"]
    assert history.snapshots.arrays["fc1"].shape == (3, 12, 64) and history.snapshots.table.iteration.tolist() == [
        0,
        10,
        50,
    ]
    assert len(history.table.norm) == 3 and history.table.norm.iloc[-1] == here["model"].fc1.weight.norm().item()


def test_a_snapshot_has_its_iteration_but_once():
    with pytest.raises(ValueError, match="hook <lambda> gives 'iteration', which its row has already"):
        trained([((3,), lambda k, _: dict(iteration=k))])


def test_several_hooks_resume_to_the_rows_of_an_unbroken_run(tmp_path):
    def hooks(dies):
        def last(epoch, _):
            if epoch == dies:
                raise KeyboardInterrupt
            return dict(epochs=epoch)

        return [((0, 2, 5), first), ((2, 9), drawn("drawn")), (EACH_EPOCH, last), (EACH_EPOCH, drawn("more"))]

    recipe, options = replace(SGD, epochs=3), dict(checkpoint_file=tmp_path / "c", save_every=0)
    with pytest.raises(KeyboardInterrupt):
        trained(hooks(3), recipe, **options)
    assert checkpoint.load(tmp_path / "c")[1]["epoch"] == 2
    found, expected = trained(hooks(None), recipe, **options), trained(hooks(None), recipe)
    assert found.rows == expected.rows and found.snapshots.rows == expected.snapshots.rows
    assert np.array_equal(found.snapshots.arrays["row"], expected.snapshots.arrays["row"])


def test_a_checkpoint_says_what_it_said_before_hooks_were_a_list(tmp_path):
    """Half-done runs of that time go on: names of values and groups, and iterations of one hook as a plain list."""
    trained([((0, 4), first), (EACH_EPOCH, first)], checkpoint_file=tmp_path / "c", save_every=0)
    groups, values = checkpoint.load(tmp_path / "c")
    assert values["snapshot_at"] == [0, 4] and groups.keys() == {"model", "optimizer", "stack", "snapshot"}
    assert values.keys() == {
        "recipe", "seed", "shapes", "masked", "begins", "data", "test", "snapshot_at", "scaled_by", "image", "device",
        "torch", "rows", "snapshots", "iteration", "epoch", "seconds", "holds",
    }  # fmt: skip
    (tmp_path / "c").unlink()
    trained([], checkpoint_file=tmp_path / "c", save_every=0)
    assert checkpoint.load(tmp_path / "c")[1]["snapshot_at"] == []


MASKS = {
    "another shape": torch.ones(64, 12, dtype=torch.bool),
    "one that would spread": torch.ones(64, dtype=torch.bool),
    "numbers": torch.ones(12, 64),
    "bytes": torch.ones(12, 64, dtype=torch.uint8),
}


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
def test_a_mask_of_another_shape_or_type_is_refused_before_anything_is_changed(mask):
    model, before = small(), small().state_dict()
    both = {"fc2.weight": torch.zeros(4, 12, dtype=torch.bool), "fc1.weight": mask}
    with pytest.raises(
        ValueError, match=r"mask for 'fc1.weight' is torch.*: expected torch.bool \[12, 64\], True where"
    ):
        trained([], model=model, mask=both)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
