"""Checkpoints: what is broken in one, by accident or design, is named, and the run ends as if there had been none."""

import hashlib
import json
import os
import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from pruning_lab import data
from pruning_lab.nets import models
from pruning_lab.training import checkpoint
from pruning_lab.training.fit import EACH_EPOCH, _Run, evaluate, fit
from pruning_lab.training.recipe import Recipe, derived_seed
from pruning_lab.training.state import History, _inventory

ROOT = Path(__file__).resolve().parents[1]
ADAM = Recipe(optimizer="adam", lr=1e-2, batch=32, epochs=3, drops=(5,), holdout=30, keep="lowest_validation_loss")
SGD = Recipe(optimizer="sgd", lr=0.1, momentum=0.9, batch=32, epochs=3, augmentation="crop_flip")
PLAIN = replace(SGD, momentum=0.0)
SPLITS = [data.load("digits", split, limit=n, device="cpu") for split, n in (("train", 126), ("test", 40))]


def net(seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(72, 10))


def each(epoch, model, dies=None):
    if epoch == dies:
        raise KeyboardInterrupt
    return dict(norm=model[4].weight.norm().item(), seen=epoch > 1, bias=model[4].bias, even=model[1].running_mean)


def look(iteration, model):
    return dict(sum=model[0].weight.sum().item(), conv=model[0].weight.half())


def answer(recipe, file=None, model=None, dies=None, every=0.0):
    """All that a training leaves, as bytes that can be compared; and the model."""
    model = model or net()
    hooks = [(EACH_EPOCH, lambda epoch, m: each(epoch, m, dies)), ((0, 2, 4, 5, 8, 9), look)]
    history = fit(model, *SPLITS, recipe, seed=1, checkpoint_file=file, save_every=every, hooks=hooks)
    tensors = {f"w.{k}": v.numpy() for k, v in model.state_dict().items()}
    for word, log in (("h", history), ("s", history.snapshots)):
        tensors |= {f"{word}.{k}": v for k, v in log.arrays.items()}
    noted = [(k, str(v.dtype), v.shape, v.tobytes()) for k, v in tensors.items()]
    return noted, json.dumps([history.rows, history.snapshots.rows])


@pytest.fixture(scope="module")
def left(tmp_path_factory):
    """Name -> a recipe, the checkpoint of a run that died in its third epoch, and the answer of an unbroken run."""
    found = {}
    for name, recipe in dict(adam=ADAM, sgd=SGD, plain=PLAIN).items():
        file = tmp_path_factory.mktemp(name) / "c.ckpt"
        with pytest.raises(KeyboardInterrupt):
            answer(recipe, file, dies=3)
        found[name] = recipe, file.read_bytes(), answer(recipe)
    return found


def resumed(left, name, edit, tmp_path, capsys):
    """Whether a run that meets the edited checkpoint says that it starts over; it must end as the unbroken one."""
    recipe, whole, expected = left[name]
    file = tmp_path / "c.ckpt"
    file.write_bytes(whole)
    edit(file)
    capsys.readouterr()
    assert answer(recipe, file, every=1e9) == expected
    return "c.ckpt" in (said := capsys.readouterr().err) and "starts over" in said


@pytest.mark.parametrize("name", ["adam", "sgd", "plain"])
def test_a_whole_checkpoint_is_resumed_to_the_answer_of_the_unbroken_run(left, name, tmp_path, capsys):
    assert not resumed(left, name, lambda file: None, tmp_path, capsys)


def flips(left, name, seeds, tmp_path, capsys):
    """How often it was noticed that one byte at a random place had one or more of its bits flipped."""
    noticed = 0
    for seed in seeds:
        draw = random.Random(seed)

        def flip(file, draw=draw):
            content = bytearray(file.read_bytes())
            # half of the flips in the header, where the names and values are
            end = len(content) if draw.random() < 0.5 else 8 + int.from_bytes(content[:8], "little")
            content[draw.randrange(end)] ^= draw.randrange(1, 256)
            file.write_bytes(content)

        noticed += resumed(left, name, flip, tmp_path, capsys)
    return noticed


@pytest.mark.parametrize("name", ["adam", "sgd"])
def test_a_flipped_byte_never_changes_an_answer(left, name, tmp_path, capsys):
    assert flips(left, name, range(60), tmp_path, capsys) >= 55  # a space that pads the header may be any space


@pytest.mark.soak
@pytest.mark.parametrize("name", ["adam", "sgd", "plain"])
def test_no_flipped_byte_of_very_many_changes_an_answer(left, name, tmp_path, capsys):
    assert flips(left, name, range(1000, 3000), tmp_path, capsys) >= 1800


@pytest.mark.parametrize("keep", [0, 7, 8, 9, 0.1, 0.5, 0.9, -1])
def test_a_checkpoint_cut_short_changes_no_answer(left, keep, tmp_path, capsys):
    def cut(file):
        content = file.read_bytes()
        file.write_bytes(content[: int(keep * len(content)) if 0 < keep < 1 else keep])

    assert resumed(left, "adam", cut, tmp_path, capsys)


# edits that carry a digest of their own


def edited(edit):
    """An edit of groups and values that is saved as a sound checkpoint."""

    def on(file):
        groups, values = checkpoint.load(file)
        edit(groups, values)
        checkpoint.save(file, groups, values)

    return on


def set_in(*path, to):
    """Set a value, or a tensor, at this path; `to` may be a function of what is there."""

    def edit(groups, values):
        place = values if path[0] in values else groups
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = to(place[path[-1]]) if callable(to) else to

    return edit


def drop(*path):
    def edit(groups, values):
        place = values if path[0] in values else groups
        for step in path[:-1]:
            place = place[step]
        del place[path[-1]]

    return edit


def rolled_back(groups, values):
    """All counts of the first epoch beside the weights of the second."""
    rows, snapshots = values["rows"][:1], values["snapshots"][:2]
    values.update(epoch=1, iteration=rows[0]["iteration"], rows=rows, snapshots=snapshots)
    groups["stack"] = {k: v for k, v in groups["stack"].items() if k.endswith(".0")}
    groups["snapshot"] = {k: v for k, v in groups["snapshot"].items() if k[-1] in "01"}


EDITS = {
    **{f"no group {g}": drop(g) for g in ("model", "optimizer", "stack", "snapshot")},
    **{f"no {k} among the values": drop(k) for k in ("iteration", "epoch", "rows", "snapshots", "seconds")},
    "no weight": drop("model", "0.weight"),
    "no running mean": drop("model", "1.running_mean"),
    "one weight more": lambda g, v: g["model"].update({"7.weight": torch.zeros(2)}),
    "one stack of a hook is short": drop("stack", "bias.1"),
    "a stack of a hook lacks its first": drop("stack", "bias.0"),
    "a stack is numbered anew": lambda g, v: g["stack"].update({"bias.7": g["stack"].pop("bias.1")}),
    "a stack has no number": lambda g, v: g["stack"].update({"bias": g["stack"].pop("bias.1")}),
    "one snapshot's stack is short": drop("snapshot", "conv.2"),
    "weights in float64": set_in("model", "4.weight", to=lambda t: t.double()),
    "weights in float16": set_in("model", "4.weight", to=lambda t: t.half()),
    "weights of another shape": set_in("model", "4.weight", to=lambda t: t.T.contiguous()),
    "weights of fewer rows": set_in("model", "4.weight", to=lambda t: t[:9]),
    "a counter in float32": set_in("model", "1.num_batches_tracked", to=lambda t: t.float()),
    "a stack in float64": set_in("stack", "bias.0", to=lambda t: t.double()),
    "a stack cut short": set_in("stack", "bias.1", to=lambda t: t[:5]),
    "a snapshot in float32": set_in("snapshot", "conv.0", to=lambda t: t.float()),
    **{f"iteration {k!r}": set_in("iteration", to=k) for k in (0, 3, 5, 7, 9, -1, 10**9, 6.0, True, "6", None, [6])},
    **{f"epoch {k!r}": set_in("epoch", to=k) for k in (0, 1, 3, -1, 10**9, 2.0, True, "2", None, {})},
    "iteration and epoch of the end": lambda g, v: v.update(iteration=v["rows"][0]["iteration"] * 3, epoch=3),
    "iteration and epoch of the start": lambda g, v: v.update(iteration=0, epoch=0),
    "iteration and epoch of the first": lambda g, v: v.update(iteration=v["rows"][0]["iteration"], epoch=1),
    "rolled back": rolled_back,
    "rows truncated": set_in("rows", to=lambda rows: rows[:1]),
    "no rows": set_in("rows", to=[]),
    "rows doubled": set_in("rows", to=lambda rows: rows * 2),
    "rows reversed": set_in("rows", to=lambda rows: rows[::-1]),
    "rows that are no list": set_in("rows", to="rows"),
    "rows that are a dict": set_in("rows", to=lambda rows: dict(enumerate(rows))),
    "a row that is no dict": set_in("rows", 0, to=[1, 2, 3]),
    **{f"a row without {k}": drop("rows", 0, k) for k in ("epoch", "iteration", "lr", "test_loss", "norm")},
    "a last row without its accuracy": drop("rows", 1, "test_accuracy"),
    "a loss in words": set_in("rows", 1, "test_loss", to="0.3"),
    "a loss of none": set_in("rows", 0, "train_loss", to=None),
    "a hook's number in words": set_in("rows", 0, "norm", to="1"),
    "another learning rate in a row": set_in("rows", 1, "lr", to=0.5),
    "another iteration in a row": set_in("rows", 0, "iteration", to=lambda k: k + 1),
    "a row more in a row": set_in("rows", 0, to=lambda row: row | dict(more=1.0)),
    "snapshots truncated": set_in("snapshots", to=lambda rows: rows[:-1]),
    "no snapshots": set_in("snapshots", to=[]),
    "snapshots of other iterations": set_in("snapshots", 0, "iteration", to=1),
    "a snapshot without its number": drop("snapshots", 1, "sum"),
    "a snapshot's number in words": set_in("snapshots", 1, "sum", to="1"),
    **{f"seconds {s!r}": set_in("seconds", to=s) for s in ("x", None, -5.0, float("nan"), float("inf"), [1.0], True)},
}
MOMENTS = {
    "adam": {
        "no step": drop("optimizer", "0.step"),
        "no second moment": drop("optimizer", "2.exp_avg_sq"),
        "nothing of one": lambda g, _: [g["optimizer"].pop(f"1.{m}") for m in ("step", "exp_avg", "exp_avg_sq")],
        "a moment of another shape": set_in("optimizer", "0.exp_avg", to=lambda t: t.flatten()),
        "a moment of one number": set_in("optimizer", "0.exp_avg", to=torch.tensor(0.5)),
        "a moment in float16": set_in("optimizer", "0.exp_avg", to=lambda t: t.half()),
        "a moment in float64": set_in("optimizer", "5.exp_avg", to=lambda t: t.double()),
        "a step of two numbers": set_in("optimizer", "0.step", to=torch.ones(2)),
        "moments of a parameter that is not there": lambda g, v: g["optimizer"].update({"9.exp_avg": torch.zeros(2)}),
        "moments of no parameter": lambda g, v: g["optimizer"].update({"x": torch.zeros(2)}),
        "no best weights": drop("best"),
        "one best weight missing": drop("best", "4.bias"),
        "best weights of another shape": set_in("best", "4.weight", to=lambda t: t[:3]),
        "best weights in float16": set_in("best", "4.weight", to=lambda t: t.half()),
    },
    "sgd": {
        "no momentum": drop("optimizer", "0.momentum_buffer"),
        "momentum of another shape": set_in("optimizer", "4.momentum_buffer", to=lambda t: t.T.contiguous()),
        "momentum in float64": set_in("optimizer", "4.momentum_buffer", to=lambda t: t.double()),
        "another's moments": lambda g, v: g["optimizer"].update({"0.exp_avg": g["optimizer"].pop("0.momentum_buffer")}),
        "best weights without held-out images": lambda g, v: g.update(best=g["model"]),
    },
    "plain": {"moments where there are none": lambda g, v: g.update(optimizer={"0.exp_avg": g["model"]["0.weight"]})},
}
CASES = [(name, words) for name in ("adam", "sgd") for words in EDITS]
CASES += [(name, words) for name in MOMENTS for words in MOMENTS[name]]


@pytest.mark.parametrize("name, words", CASES, ids=[f"{n}-{w}" for n, w in CASES])
def test_an_edited_checkpoint_with_a_right_digest_is_named_and_changes_no_answer(left, name, words, tmp_path, capsys):
    edit = (EDITS | MOMENTS[name])[words]
    assert resumed(left, name, edited(edit), tmp_path, capsys)


DEEPER = {
    "no best weights": drop("best"),
    "a row without its loss": drop("rows", 1, "test_loss"),
    "a moment of another shape": set_in("optimizer", "0.exp_avg", to=lambda t: t.flatten()),
    "weights of another shape": set_in("model", "4.weight", to=lambda t: t.T.contiguous()),
    "a moment less": drop("optimizer", "2.exp_avg_sq"),
    "a row more": set_in("rows", to=lambda rows: [*rows, rows[-1]]),
}


@pytest.mark.parametrize("words", DEEPER)
def test_an_edit_that_says_what_it_holds_is_named_too(left, words, tmp_path, capsys):
    def edit(groups, values):
        DEEPER[words](groups, values)
        values["holds"] = _inventory(groups, values["rows"], values["snapshots"])

    assert resumed(left, "adam", edited(edit), tmp_path, capsys)


@pytest.mark.parametrize("values", [[], 3, "x", None])
def test_values_with_a_right_digest_that_are_no_names_are_broken(tmp_path, capsys, values):
    checkpoint.save(tmp_path / "c.ckpt", {"model": {"w": torch.zeros(2)}}, values)
    assert checkpoint.load(tmp_path / "c.ckpt") is None
    assert f"its values are {type(values).__name__}: expected names with values" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["[]", "3", '"x"', "null", "{", "[" * 10_000 + "]" * 10_000], ids=lambda t: t[:5])
def test_values_that_are_none_are_a_broken_checkpoint(left, text, tmp_path, capsys):
    def edit(file):
        tensors, stored = raw(file)
        save_file(tensors, file, metadata=stored | dict(values=text))

    assert resumed(left, "adam", edit, tmp_path, capsys)


def raw(file):
    with safe_open(file, "pt") as stored:
        return {k: stored.get_tensor(k) for k in stored.keys()}, stored.metadata()  # noqa: SIM118  it is no dict


def test_a_checkpoint_without_a_digest_is_broken(left, tmp_path, capsys):
    def edit(file):
        tensors, stored = raw(file)
        save_file(tensors, file, metadata=dict(values=stored["values"]))

    assert resumed(left, "adam", edit, tmp_path, capsys)


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t.update({"model/4.weight": t["model/4.weight"] + 1e-6}),
        lambda t: t.update({"model/4.weight": t["model/4.weight"].double()}),
        lambda t: t.update({"model/4.weight": t["model/4.weight"].view(72, 10)}),
        lambda t: t.update({"model/4.weight": t["model/4.weight"].view(torch.int32)}),
        lambda t: t.update({"model/1.weight": t["model/1.bias"], "model/1.bias": t["model/1.weight"]}),
        lambda t: t.update({"model/2.weight": t.pop("model/1.weight")}),
        lambda t: t.pop("optimizer/0.step"),
        lambda t: t.update({"optimizer/9.step": torch.zeros(0)}),
    ],
    ids=["value", "precision", "shape", "type", "swapped", "renamed", "missing", "added"],
)
def test_the_digest_covers_names_types_shapes_and_bytes(left, change, tmp_path, capsys):
    def edit(file):
        tensors, stored = raw(file)
        change(tensors)
        save_file(tensors, file, metadata=stored)

    assert resumed(left, "adam", edit, tmp_path, capsys)


def test_every_kind_of_tensor_comes_back(tmp_path):
    kinds = [torch.float32, torch.float64, torch.bfloat16, torch.int64, torch.int16, torch.uint8, torch.bool]
    group = {str(kind): torch.tensor([[0, 1, 1], [1, 0, 1]]).to(kind).T for kind in kinds}
    group |= {"one": torch.tensor(3.0), "none": torch.zeros(0, 4), "nan": torch.tensor([float("nan"), -0.0])}
    saved = dict(nan=float("nan"), words="ä", deep=[dict(a=[1, 2.5])])
    checkpoint.save(tmp_path / "c", {"g": group}, saved)
    found, values = checkpoint.load(tmp_path / "c")
    assert found["g"].keys() == group.keys() and repr(values) == repr(saved)
    for k, v in group.items():
        assert found["g"][k].dtype == v.dtype and torch.equal(found["g"][k].nan_to_num(), v.nan_to_num()), k


# nothing half-restored


@pytest.mark.parametrize("words", ["no weight", "no rows", "seconds 'x'", "weights of fewer rows", "a loss in words"])
@pytest.mark.parametrize("name", ["adam", "sgd"])
def test_a_resume_that_fails_leaves_the_run_as_it_was(left, name, words, tmp_path, monkeypatch):
    recipe, whole, _ = left[name]
    (tmp_path / "c.ckpt").write_bytes(whole)
    edited(EDITS[words])(tmp_path / "c.ckpt")
    model = net()
    state = _Run(model, SPLITS, recipe, 1, {}, [((0, 2, 4, 5, 8, 9), look)], tmp_path / "c.ckpt").state
    before = {k: v.clone() for k, v in model.state_dict().items()}
    state.resume()
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert (state.iteration, state.epoch, state.best, state.history) == (0, 0, {}, History())
    assert not state.optimizer.state and state.optimizer.param_groups[0]["lr"] == recipe.lr


def test_an_error_in_the_midst_of_restoring_leaves_the_run_as_it_was(left, tmp_path, monkeypatch, capsys):
    recipe, whole, expected = left["adam"]
    (tmp_path / "c.ckpt").write_bytes(whole)
    load, calls = torch.optim.Adam.load_state_dict, []

    def fails(self, state):
        load(self, state)
        calls.append(1)
        raise RuntimeError("a moment that does not fit")

    monkeypatch.setattr(torch.optim.Adam, "load_state_dict", fails)
    assert answer(recipe, tmp_path / "c.ckpt", every=1e9) == expected and calls
    said = "checkpoint c.ckpt is broken (RuntimeError: a moment that does not fit); training starts over\n"
    assert capsys.readouterr().err == said


def test_too_little_memory_for_a_checkpoint_is_no_broken_checkpoint(left, tmp_path, monkeypatch):
    recipe, whole, _ = left["adam"]
    (tmp_path / "c.ckpt").write_bytes(whole)

    def fails(self, state):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(torch.optim.Adam, "load_state_dict", fails)
    with pytest.raises(MemoryError, match="does not fit on cpu"):
        answer(recipe, tmp_path / "c.ckpt")
    assert (tmp_path / "c.ckpt").read_bytes() == whole


def test_a_checkpoint_of_a_net_in_another_precision_is_not_cast(tmp_path, capsys):
    splits = [replace(s, images=s.images.double()) for s in SPLITS]
    with pytest.raises(KeyboardInterrupt):
        dies = [(EACH_EPOCH, lambda e, m: each(e, m, 3))]
        fit(net(), *SPLITS, SGD, checkpoint_file=tmp_path / "c", save_every=0, hooks=dies)
    double, alone = net().double(), net().double()
    history = fit(double, *splits, SGD, checkpoint_file=tmp_path / "c", save_every=1e9)
    assert history.rows == fit(alone, *splits, SGD).rows and "starts over" in capsys.readouterr().err


def test_a_checkpoint_measured_on_other_test_images_is_anothers(tmp_path, capsys):
    other = data.load("digits", "test", limit=20, device="cpu")
    fit(net(), *SPLITS, SGD, checkpoint_file=tmp_path / "c", save_every=0)
    found = fit(net(), SPLITS[0], other, SGD, checkpoint_file=tmp_path / "c", save_every=1e9)
    assert "checkpoint c belongs to another run" in capsys.readouterr().err
    assert found.rows == fit(net(), SPLITS[0], other, SGD).rows


@pytest.mark.parametrize("name", ["0.weight", "1.bias", "1.running_mean", "1.num_batches_tracked"])
def test_a_checkpoint_of_a_run_that_began_elsewhere_is_anothers(tmp_path, capsys, name):
    def begin(more):
        model = net()
        model.state_dict()[name].view(-1)[0] += more
        return model

    fit(begin(0), *SPLITS, SGD, checkpoint_file=tmp_path / "c", save_every=0)
    resumed, alone = begin(1), begin(1)
    found = fit(resumed, *SPLITS, SGD, checkpoint_file=tmp_path / "c", save_every=1e9)
    assert "checkpoint c belongs to another run; training starts over (not the same: begins)" in capsys.readouterr().err
    assert found.rows == fit(alone, *SPLITS, SGD).rows
    assert all(torch.equal(v, alone.state_dict()[k]) for k, v in resumed.state_dict().items())
    fit(begin(0), *SPLITS, SGD, checkpoint_file=tmp_path / "c", save_every=1e9)
    assert not capsys.readouterr().err  # its own


def test_weights_that_a_mask_removes_anyway_are_no_other_beginning(tmp_path, capsys):
    mask = {"4.weight": torch.arange(720).view(10, 72) % 3 > 0}
    fit(net(), *SPLITS, SGD, mask=mask, checkpoint_file=tmp_path / "c", save_every=0)
    model = net()
    model[4].weight.data[~mask["4.weight"]] = 5.0
    fit(model, *SPLITS, SGD, mask=mask, checkpoint_file=tmp_path / "c", save_every=1e9)
    assert not capsys.readouterr().err


ELSEWHERE = dict(device="cuda", torch="2.0.1", image=[1, 9, 9], scaled_by=["", "0" * 16])


@pytest.mark.parametrize("what, there", ELSEWHERE.items(), ids=ELSEWHERE)
def test_a_checkpoint_made_elsewhere_is_named_and_the_run_starts_over(left, tmp_path, capsys, what, there):
    recipe, whole, expected = left["adam"]
    file = tmp_path / "c.ckpt"
    file.write_bytes(whole)
    edited(set_in(what, to=there))(file)
    assert answer(recipe, file, every=1e9) == expected
    said = f"checkpoint c.ckpt belongs to another run; training starts over (not the same: {what})\n"
    assert capsys.readouterr().err == said


@pytest.mark.parametrize("what", ["begins", *ELSEWHERE])
def test_a_checkpoint_that_does_not_say_where_it_is_from_is_anothers(left, tmp_path, capsys, what):
    assert resumed(left, "sgd", edited(drop(what)), tmp_path, capsys)


def test_images_scaled_by_others_are_other_images(tmp_path, capsys):
    def halves(scale):
        return [data.load("digits", s, limit=n, scale=scale, device="cpu") for s, n in (("train", 126), ("test", 40))]

    fit(net(), *halves("unit"), SGD, checkpoint_file=tmp_path / "c", save_every=0)
    found = fit(net(), *halves("standardised"), SGD, checkpoint_file=tmp_path / "c", save_every=1e9)
    assert "(not the same: scaled_by)" in capsys.readouterr().err
    assert found.rows == fit(net(), *halves("standardised"), SGD).rows


def twins():
    """A net with two layers of one size."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.Linear(64, 10))


def test_masks_that_swap_two_layers_of_one_size_are_another_run_and_their_order_is_none(tmp_path, capsys):
    some = torch.arange(64 * 64).view(64, 64) % 3 > 0
    first, swapped = {"1.weight": some, "3.weight": ~some}, {"1.weight": ~some, "3.weight": some}
    moved = {"3.weight": some}
    options = dict(checkpoint_file=tmp_path / "c", save_every=0)
    fit(twins(), *SPLITS, SGD, mask=first, **options)
    fit(twins(), *SPLITS, SGD, mask=dict(reversed(first.items())), **options)
    assert not capsys.readouterr().err
    for mask, before in ((swapped, first), (moved, {"1.weight": some})):
        (tmp_path / "c").unlink(missing_ok=True)
        fit(twins(), *SPLITS, SGD, mask=before, **options)
        found, alone = twins(), twins()
        fit(found, *SPLITS, SGD, mask=mask, checkpoint_file=tmp_path / "c", save_every=1e9)
        assert "belongs to another run" in capsys.readouterr().err
        fit(alone, *SPLITS, SGD, mask=mask)
        assert all(torch.equal(v, alone.state_dict()[k]) for k, v in found.state_dict().items())


# what a death leaves behind

DIES = """
import os, sys
from pathlib import Path
import test_checkpoint as t
from pruning_lab.training import checkpoint
def dies(*_):
    os._exit(9)
Path.replace = dies
t.answer(t.SGD, Path(sys.argv[1]))
"""


def test_what_a_death_in_saving_left_is_taken_away_by_the_next_run(tmp_path, capsys):
    path = os.pathsep.join([str(ROOT), str(Path(__file__).parent)])
    command = [sys.executable, "-c", DIES, str(tmp_path / "c.safetensors")]
    done = subprocess.run(command, env=os.environ | dict(PYTHONPATH=path), cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 9, done.stderr
    assert [f.name for f in tmp_path.iterdir()] == ["c.part"]
    (tmp_path / "other.part").write_bytes(b"another run may be writing it")
    assert answer(SGD, tmp_path / "c.safetensors", every=1e9) == answer(SGD)
    assert [f.name for f in tmp_path.iterdir()] == ["other.part"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_a_save_that_fails_leaves_nothing_half_written(tmp_path, monkeypatch, error):
    def some(tensors, file, metadata):
        file.write_bytes(b"half")
        raise error

    monkeypatch.setattr(checkpoint, "save_file", some)
    with pytest.raises(error):
        checkpoint.save(tmp_path / "c", {"g": {"a": torch.zeros(1)}}, {})
    assert not list(tmp_path.iterdir())


# settings from NumPy


def test_numpy_numbers_in_a_recipe_a_seed_and_snapshots_are_plain_numbers(tmp_path, capsys):
    whole = dict(batch=np.int64(32), epochs=np.int32(3), drops=np.array([2, 4]))
    recipe = Recipe(lr=np.float64(0.1), momentum=np.float32(0.5), **whole)
    plain = Recipe(lr=0.1, momentum=0.5, batch=32, epochs=3, drops=(2, 4))
    assert recipe == plain and repr(recipe) == repr(plain)
    notes, options = [], dict(checkpoint_file=tmp_path / "c", save_every=0)
    places = (0, 4, 9), np.array([0, 4, 9]), (0.0, np.float64(4), 9)
    for r, seed, at in zip((plain, recipe, recipe), (3, np.int64(3), np.uint8(3)), places, strict=True):
        model = models.build("lenet_300_100", (1, 8, 8), width=6)
        history = fit(model, *SPLITS, r, seed=seed, hooks=[(at, lambda k, _: dict(k=np.int64(k)))], **options)
        notes.append((history.rows, history.snapshots.rows, history.snapshots.arrays, evaluate(model, SPLITS[1])))
    assert notes[0] == notes[1] == notes[2] and notes[0][1] == [dict(iteration=k, k=k) for k in (0, 4, 9)]
    assert not capsys.readouterr().err
    with pytest.raises(ValueError, match="snapshot at iteration 2.5: expected whole numbers"):
        fit(net(), *SPLITS, SGD, hooks=[((2.5,), look)])


def test_a_seed_from_numpy_draws_what_the_plain_one_draws(tmp_path):
    assert derived_seed(np.int64(3), "epoch", np.int8(0)) == derived_seed(3, "epoch", 0)
    found = [fit(net(), *SPLITS, ADAM, seed=seed).rows for seed in (3, np.int64(3), 4)]
    assert found[0] == found[1] != found[2]


def test_the_digest_is_not_of_the_platforms_making(tmp_path):
    """What the file says of itself, made again with plain means."""
    group = {"b": torch.tensor([[1.0, 2.0]], dtype=torch.float32), "a": torch.tensor(5)}
    checkpoint.save(tmp_path / "c", {"g": group}, dict(x=1))
    _, stored = raw(tmp_path / "c")
    told = hashlib.sha256(stored["values"].encode())
    for name, t in (("g/a", group["a"]), ("g/b", group["b"])):
        told.update(f"\n{name} {t.dtype} {list(t.shape)}\n".encode() + t.numpy().tobytes())
    assert stored["digest"] == told.hexdigest()
