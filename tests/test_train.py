"""Training: deterministic, resumable after a kill, masked weights at zero, and the recipe does what it says."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import nn

from pruning_lab import data
from pruning_lab.nets import models
from pruning_lab.training import checkpoint
from pruning_lab.training import fit as train
from pruning_lab.training.fit import EACH_EPOCH, evaluate, fit
from pruning_lab.training.recipe import Recipe, crop_flip, derived_seed, hold_out, optimizer, snapshot_iterations

ROOT = Path(__file__).resolve().parents[1]
SGD = Recipe(optimizer="sgd", lr=0.1, momentum=0.9, weight_decay=1e-2, batch=64, epochs=2)
ADAM = Recipe(optimizer="adam", lr=1e-3, weight_decay=1e-2, batch=64, epochs=2)


def halves(limit=150, test=80, **options):
    return tuple(
        data.load("digits", s, limit=n, device="cpu", **options) for s, n in (("train", limit), ("test", test))
    )


def small(seed=0):
    return models.build("lenet_300_100", (1, 8, 8), width=12, seed=seed)


def weights(model):
    return {k: v.clone() for k, v in model.state_dict().items()}


def same(a, b):
    return all(torch.equal(a[k], b[k]) for k in a) and a.keys() == b.keys()


def trained(recipe, *, model=None, limit=150, **options):
    model = model or small()
    return model, fit(model, *halves(limit), recipe, **options)


# determinism


@pytest.mark.parametrize(
    "recipe", [SGD, ADAM, replace(SGD, augmentation="crop_flip"), replace(ADAM, holdout=30)], ids=str
)
def test_training_is_determined_by_its_seed(recipe):
    torch.manual_seed(1)
    first, history = trained(recipe, seed=3)
    torch.manual_seed(2)
    again, history_again = trained(recipe, seed=3)
    other, _ = trained(recipe, seed=4)
    assert same(weights(first), weights(again)) and history.rows == history_again.rows
    assert not same(weights(first), weights(other))


def test_training_leaves_the_global_generator_and_precision_alone():
    torch.manual_seed(5)
    before, tf32 = torch.random.get_rng_state(), torch.backends.cuda.matmul.allow_tf32
    trained(replace(SGD, precision="tf32"))
    assert torch.equal(before, torch.random.get_rng_state()) and torch.backends.cuda.matmul.allow_tf32 == tf32


def test_the_order_of_images_is_shuffled_anew_each_epoch_or_never():
    seen = {}
    for shuffle in (True, False):
        split, test = halves(64)
        model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
        model.register_forward_hook(
            lambda m, x, _, s=shuffle: seen.setdefault(s, []).append(x[0].clone()) if m.training else None
        )
        fit(model, split, test, Recipe(lr=0.1, batch=64, epochs=2, shuffle=shuffle))
    assert torch.equal(seen[False][0], split.images) and torch.equal(seen[False][1], split.images)
    first, second = (sorted(b.flatten(1).tolist()) for b in seen[True])
    assert first == second == sorted(split.images.flatten(1).tolist())  # each image once an epoch
    assert not torch.equal(seen[True][0], seen[True][1]) and not torch.equal(seen[True][0], split.images)


# resuming

RUN = """
import sys, time
from pathlib import Path
import torch
from safetensors.torch import save_file
from pruning_lab import data
from pruning_lab.nets import models
from pruning_lab.training.fit import fit
from pruning_lab.training.recipe import Recipe

def run(file, out, kind, wait):
    torch.set_num_threads(1)
    sgd = Recipe(optimizer="sgd", lr=0.1, momentum=0.9, weight_decay=1e-3, batch=64, epochs=6, drops=(8, 14))
    adam = Recipe(optimizer="adam", lr=1e-3, batch=64, epochs=6, augmentation="crop_flip", holdout=20,
                  keep="lowest_validation_loss")
    name, width, recipe = dict(fc=("lenet_300_100", 12, sgd), conv=("conv_2", 6, adam))[kind]
    def hook(epoch, model):
        if epoch > 2:
            time.sleep(wait)  # long enough to be killed in
        return dict(norm=sum(p.norm().item() for p in model.parameters()),
                    first=next(model.parameters()).detach().numpy())
    def look(iteration, model):
        return dict(sum=sum(p.sum().item() for p in model.parameters()), half=next(model.parameters()).half())
    splits = [data.load("digits", s, limit=150, device="cpu") for s in ("train", "test")]
    model = models.build(name, (1, 8, 8), width=width)
    hooks = [("each epoch", hook), ((0, 2, 3, 6, 8, 10, 12, 18), look)]
    history = fit(model, *splits, recipe, seed=1, hooks=hooks, checkpoint_file=Path(file), save_every=0)
    noted = dict(hook=history.arrays["first"], snapshots=history.snapshots.arrays["half"])
    tensors = model.state_dict() | {k: torch.from_numpy(v) for k, v in noted.items()}
    save_file({k: v.contiguous() for k, v in tensors.items()}, out)
    history.table.to_csv(f"{out}.csv", index=False)
    history.snapshots.table.to_csv(f"{out}.snapshots.csv", index=False)

if __name__ == "__main__":
    run(*sys.argv[1:4], float(sys.argv[4]))
"""


@pytest.fixture(scope="module")
def doomed(tmp_path_factory):
    """Runs that will be killed, kind -> (process, its folder); they start together to wait for their imports only
    once.
    """
    found = {}
    for kind in ("fc", "conv"):
        folder = tmp_path_factory.mktemp(kind)
        (folder / "run.py").write_text(RUN)
        command = [sys.executable, folder / "run.py", folder / "b.ckpt", folder / "b", kind, "600"]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        found[kind] = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True), folder
    yield found
    for process, _ in found.values():
        process.kill()
        process.communicate()


@pytest.mark.parametrize("kind", ["fc", "conv"])
def test_a_killed_run_resumes_to_the_weights_of_an_unbroken_one(doomed, capsys, kind):
    """SGD's momentum, and Adam's moments under channels-last weights: the step must find all of them as it left
    them.
    """
    broken, tmp_path = doomed[kind]
    here = {"__name__": "here"}
    exec(RUN, here)
    here["run"](tmp_path / "w.ckpt", tmp_path / "w", kind, 0)
    while not (tmp_path / "b.ckpt").exists() and broken.poll() is None:
        time.sleep(0.02)
    broken.send_signal(signal.SIGKILL)
    errors = broken.communicate(timeout=900)[1]
    assert broken.returncode == -signal.SIGKILL and not (tmp_path / "b").exists(), errors
    _, values = checkpoint.load(tmp_path / "b.ckpt")
    assert 1 <= values["epoch"] < 6
    here["run"](tmp_path / "b.ckpt", tmp_path / "b", kind, 0)
    assert "starts over" not in capsys.readouterr().err
    assert same(load_file(tmp_path / "b"), load_file(tmp_path / "w"))
    for end in ("csv", "snapshots.csv"):
        assert (tmp_path / f"b.{end}").read_text() == (tmp_path / f"w.{end}").read_text()


def test_a_finished_run_is_read_back_from_its_checkpoint(tmp_path):
    calls = []
    hooks = [(EACH_EPOCH, lambda epoch, _: calls.append(epoch) or {})]
    options = dict(checkpoint_file=tmp_path / "c", save_every=0, hooks=hooks)
    model, history = trained(SGD, **options)
    again, history_again = trained(SGD, **options)
    assert calls == [1, 2] and same(weights(model), weights(again)) and history.rows == history_again.rows
    assert history_again.seconds >= checkpoint.load(tmp_path / "c")[1]["seconds"] > 0


def test_a_checkpoint_is_written_only_so_often(tmp_path):
    trained(SGD, checkpoint_file=tmp_path / "c", save_every=1000)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "change", [dict(recipe=replace(SGD, lr=0.05)), dict(seed=1), dict(limit=100)], ids=["recipe", "seed", "data"]
)
def test_a_foreign_checkpoint_is_named_and_ignored(tmp_path, capsys, change):
    trained(SGD, checkpoint_file=tmp_path / "c.ckpt", save_every=0)
    options = {"recipe": SGD, **change}
    found, _ = trained(checkpoint_file=tmp_path / "c.ckpt", save_every=1000, **options)
    assert "checkpoint c.ckpt belongs to another run; training starts over" in capsys.readouterr().err
    assert same(weights(found), weights(trained(**options)[0]))


@pytest.mark.parametrize("keep", [0, 4, 200, 0.9])
def test_a_broken_checkpoint_is_named_and_ignored(tmp_path, capsys, keep):
    file = tmp_path / "c.ckpt"
    expected, _ = trained(SGD, checkpoint_file=file, save_every=0)
    whole = file.read_bytes()
    file.write_bytes(whole[: int(keep * len(whole)) if 0 < keep < 1 else keep])
    found, _ = trained(SGD, checkpoint_file=file, save_every=0)
    assert "checkpoint c.ckpt is broken" in capsys.readouterr().err
    assert same(weights(found), weights(expected))
    assert checkpoint.load(file) is not None and [f.name for f in tmp_path.iterdir()] == ["c.ckpt"]


def test_tensors_that_no_run_of_ours_wrote_are_no_checkpoint(tmp_path, capsys):
    save_file({"a": torch.zeros(1)}, tmp_path / "c.ckpt")
    assert checkpoint.load(tmp_path / "c.ckpt") is None and "is broken" in capsys.readouterr().err
    assert checkpoint.load(tmp_path / "none") is None and not capsys.readouterr().err


def test_checkpoints_hold_what_was_saved(tmp_path):
    groups = {"model": {"a.b": torch.randn(2, 3).T, "c/d": torch.zeros(0)}, "optimizer": {"0.step": torch.tensor(3.0)}}
    checkpoint.save(tmp_path / "deep" / "c", groups, dict(iteration=3, rows=[dict(loss=0.1)]))
    found, values = checkpoint.load(tmp_path / "deep" / "c")
    assert values == dict(iteration=3, rows=[dict(loss=0.1)])
    assert found.keys() == groups.keys() and all(same(found[k], groups[k]) for k in groups)


FOREIGN = "checkpoint c belongs to another run; training starts over"


def wide():
    return models.build("lenet_300_100", (1, 8, 8), width=15)


def test_a_checkpoint_of_another_net_is_ignored(tmp_path, capsys):
    trained(SGD, checkpoint_file=tmp_path / "c", save_every=0)
    found, _ = trained(SGD, model=wide(), checkpoint_file=tmp_path / "c")
    assert FOREIGN in capsys.readouterr().err
    assert same(weights(found), weights(trained(SGD, model=wide())[0]))


def masks(count):
    """A mask that removes the first `count` weights of fc1."""
    return {"fc1.weight": torch.arange(12 * 64).reshape(12, 64) >= count}


@pytest.mark.parametrize("before, after", [(None, 300), (300, None), (300, 301)])
def test_a_checkpoint_of_a_net_with_another_number_of_weights_removed_is_ignored(tmp_path, capsys, before, after):
    first, second = (dict(mask=masks(n)) if n else {} for n in (before, after))
    trained(SGD, checkpoint_file=tmp_path / "c", save_every=0, **first)
    trained(SGD, checkpoint_file=tmp_path / "c", save_every=1000, **first)
    assert FOREIGN not in capsys.readouterr().err  # its own
    found, _ = trained(SGD, checkpoint_file=tmp_path / "c", save_every=1000, **second)
    assert FOREIGN in capsys.readouterr().err
    assert same(weights(found), weights(trained(SGD, **second)[0]))


def summed(_, model):
    return dict(sum=model.fc1.weight.sum().item())


@pytest.mark.parametrize(
    "before, after",
    [
        (dict(mask=masks(300)), dict(mask={"fc1.weight": ~masks(12 * 64 - 300)["fc1.weight"]})),
        (dict(hooks=[((1, 4), summed)]), dict(hooks=[((1, 5), summed)])),
        (dict(), dict(hooks=[((0,), summed)])),
        (dict(hooks=[((0,), summed)]), dict()),
        (dict(hooks=[((1, 4), summed)]), dict(hooks=[((1,), summed), ((4,), summed)])),
        (dict(hooks=[((1,), summed), ((4,), summed)]), dict(hooks=[((1, 4), summed), ((), summed)])),
    ],
    ids=[
        "another mask of the same size",
        "other snapshots",
        "now with snapshots",
        "now without",
        "one hook becomes two",
        "two hooks at other places",
    ],
)
def test_a_checkpoint_of_another_mask_or_other_snapshots_is_ignored(tmp_path, capsys, before, after):
    options = dict(checkpoint_file=tmp_path / "c")
    for _ in range(2):
        trained(SGD, save_every=0, **options, **before)
    assert FOREIGN not in capsys.readouterr().err  # its own
    found, history = trained(SGD, save_every=1000, **options, **after)
    assert FOREIGN in capsys.readouterr().err
    expected, fresh = trained(SGD, **options | dict(checkpoint_file=None), **after)
    assert same(weights(found), weights(expected)) and history.snapshots.rows == fresh.snapshots.rows


# what the recipe says


@pytest.mark.parametrize(
    "bad",
    [
        dict(optimizer="lion", epochs=1),
        dict(precision="float16", epochs=1),
        dict(augmentation="mixup", epochs=1),
        dict(keep="best", epochs=1),
        dict(),
        dict(epochs=1, iterations=1),
        dict(epochs=0),
        dict(iterations=-1),
        dict(epochs=1, batch=0),
        dict(epochs=1, lr=0.0),
        dict(epochs=1, keep="lowest_validation_loss"),
    ],
    ids=str,
)
def test_a_recipe_that_cannot_be_followed_is_refused(bad):
    with pytest.raises(ValueError, match="recipe:"):
        Recipe(**bad)


@pytest.mark.parametrize(
    "images, batch, epochs, steps", [(150, 64, 2, 6), (128, 64, 3, 6), (1, 64, 1, 1), (129, 64, 1, 3)]
)
def test_steps_of_an_epoch_count_the_last_partial_batch(images, batch, epochs, steps):
    assert Recipe(batch=batch, epochs=epochs).steps(images) == steps
    assert Recipe(batch=batch, iterations=17).steps(images) == 17


def test_epochs_and_iterations_are_two_words_for_one_run():
    by_epochs, history = trained(SGD)
    by_iterations, other = trained(replace(SGD, epochs=None, iterations=6))
    assert same(weights(by_epochs), weights(by_iterations)) and history.rows == other.rows
    assert history.table.iteration.tolist() == [3, 6] and history.table.epoch.tolist() == [1, 2]


def test_iterations_may_end_within_an_epoch_and_its_row_is_the_last():
    sizes = []
    model = small()
    model.register_forward_hook(lambda m, x, _: sizes.append(len(x[0])) if m.training else None)
    _, history = trained(Recipe(batch=64, iterations=5), model=model)
    assert sizes == [64, 64, 22, 64, 64]
    assert history.table[["epoch", "iteration"]].values.tolist() == [[1, 3], [2, 5]]
    last = history.rows[-1]
    assert (last["test_loss"], last["test_accuracy"]) == evaluate(model, halves()[1])
    assert not model.training


def reference(recipe, model, split, orders):
    """The same run by a plain loop with an optimiser of our own choosing, one step a batch of each order."""
    kind, k = torch.optim.SGD if recipe.optimizer == "sgd" else torch.optim.Adam, 0
    more = dict(momentum=recipe.momentum) if recipe.optimizer == "sgd" else {}
    optimizer, losses = kind(model.parameters(), recipe.lr, weight_decay=recipe.weight_decay, fused=False, **more), []
    for order in orders:
        for batch in order.split(recipe.batch):
            for group in optimizer.param_groups:
                group["lr"] = recipe.lr * recipe.drop_factor ** len([d for d in recipe.drops if k >= d])
            optimizer.zero_grad()
            loss = F.cross_entropy(model(split.images[batch]), split.labels[batch])
            loss.backward()
            optimizer.step()
            losses.append((loss.item(), len(batch)))
            k += 1
    return losses


@pytest.mark.parametrize(
    "recipe", [SGD, ADAM, replace(SGD, drops=(2, 4), drop_factor=0.5)], ids=["sgd", "adam", "drops"]
)
def test_fit_is_the_plain_loop(recipe):
    recipe = replace(recipe, shuffle=False)
    model, history = trained(recipe)
    plain = small()
    losses = reference(recipe, plain, halves()[0], [torch.arange(150)] * 2)
    for a, b in zip(model.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)
    for row, part in zip(history.rows, (losses[:3], losses[3:]), strict=True):
        assert row["train_loss"] == pytest.approx(sum(loss * n for loss, n in part) / 150, rel=1e-4)


def test_the_learning_rate_drops_after_the_iterations_named(monkeypatch):
    seen, step = [], train._Run.step

    def watched(run, *batch):
        out = step(run, *batch)
        seen.append(run.state.optimizer.param_groups[0]["lr"])
        return out

    monkeypatch.setattr(train._Run, "step", watched)
    _, history = trained(Recipe(lr=1.0, batch=64, iterations=7, drops=(2, 3, 6)))
    assert seen == pytest.approx([1, 1, 0.1, 0.01, 0.01, 0.01, 0.001])
    assert history.table.lr.tolist() == pytest.approx([0.1, 0.01, 0.001])


@pytest.mark.parametrize(
    "length, images, steps, ends",
    [
        (dict(epochs=3), 150, 9, [3, 6, 9, 9]),
        (dict(epochs=2), 128, 4, [2, 4, 4]),
        (dict(iterations=7), 150, 7, [3, 6, 7, 7]),
        (dict(iterations=1), 1000, 1, [1, 1]),
    ],
)
def test_a_recipe_knows_when_epochs_end(length, images, steps, ends):
    recipe = Recipe(batch=64, **length)
    assert recipe.steps(images) == steps
    assert [recipe.end(k + 1, images) for k in range(len(ends))] == ends
    assert recipe.steps_per_epoch(images) == -(-images // 64)


def test_a_recipe_knows_the_rate_of_every_step():
    recipe = Recipe(lr=1.0, iterations=7, drops=(2, 3, 6), drop_factor=0.5)
    assert [recipe.lr_at(k) for k in range(7)] == [1, 1, 0.5, 0.25, 0.25, 0.25, 0.125]


def test_drops_change_the_step_and_not_only_the_number():
    frozen, _ = trained(Recipe(lr=0.1, batch=64, iterations=6, drops=(3,), drop_factor=0.0))
    stopped, _ = trained(Recipe(lr=0.1, batch=64, iterations=3))
    assert same(weights(frozen), weights(stopped))


@pytest.mark.parametrize("recipe, kind", [(SGD, torch.optim.SGD), (ADAM, torch.optim.Adam)])
def test_the_optimiser_is_fused_and_fresh(recipe, kind):
    made = optimizer(recipe, list(small().parameters()))
    assert type(made) is kind and made.defaults["fused"] and made.defaults["weight_decay"] == 1e-2 and not made.state


def test_bfloat16_keeps_weights_in_float32():
    model, history = trained(replace(SGD, precision="bfloat16"))
    assert all(p.dtype == torch.float32 for p in model.parameters()) and np.isfinite(history.table.train_loss).all()
    assert not same(weights(model), weights(trained(SGD)[0]))


def test_crops_and_flips_are_those_of_a_slow_loop():
    images = torch.randn(40, 2, 9, 7, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(8)
    found = crop_flip(images)
    torch.manual_seed(8)
    top, left = torch.randint(9, (40, 1)), torch.randint(9, (40, 1))
    flips = torch.rand(40, 1) < 0.5
    assert found.shape == images.shape and len(top.unique()) == len(left.unique()) == 9 and 8 < flips.sum() < 32

    def mirrored(k, n):  # the index of a pixel that lies k steps from the first, reflected at the edges
        return -k if k < 0 else 2 * (n - 1) - k if k >= n else k

    for i in range(40):
        for row in range(9):
            for column in range(7):
                x = (6 - column if flips[i] else column) + left[i].item() - 4
                expected = images[i, :, mirrored(row + top[i].item() - 4, 9), mirrored(x, 7)]
                assert torch.equal(found[i, :, row, column], expected)


# masks


@pytest.mark.parametrize("recipe", [SGD, ADAM], ids=["sgd", "adam"])
@pytest.mark.parametrize("name", ["lenet_300_100", "conv_2"])
def test_masked_weights_are_zero_after_every_step(recipe, name, monkeypatch):
    model = models.build(name, (1, 8, 8), width=6, seed=2)
    generator = torch.Generator().manual_seed(0)
    masks = {
        n: torch.rand(p.shape, generator=generator) < 0.3 for n, p in model.named_parameters() if n.endswith("weight")
    }
    counts, step = [], train._Run.step

    def watched(run, *batch):
        out = step(run, *batch)
        counts.append(sum(int(dict(model.named_parameters())[n][~m].count_nonzero()) for n, m in masks.items()))
        return out

    monkeypatch.setattr(train._Run, "step", watched)
    before = weights(model)
    trained(recipe, model=model, mask=masks)
    assert counts == [0] * 6
    for n, m in masks.items():
        after = model.state_dict()[n]
        assert after[m].count_nonzero() == m.sum() and not torch.equal(after[m], before[n][m])  # the others have moved


def test_a_mask_without_its_parameter_is_refused():
    with pytest.raises(ValueError, match=r"mask for .'fc9.weight'.*fc1.weight"):
        trained(SGD, mask={"fc9.weight": torch.ones(1, dtype=torch.bool)})


def test_a_mask_that_keeps_all_changes_nothing():
    masks = {n: torch.ones_like(p, dtype=torch.bool) for n, p in small().named_parameters()}
    assert same(weights(trained(SGD, mask=masks)[0]), weights(trained(SGD)[0]))


# test images after each epoch


def test_a_recipe_may_look_at_few_test_images_until_the_end():
    longer = replace(SGD, epochs=4)
    (model, history), (whole, all_of_them) = trained(replace(longer, tested_on=40)), trained(longer)
    _, test = halves()
    assert same(weights(model), weights(whole)) and len(history.rows) == 4
    assert [row["test_images"] for row in history.rows] == [40] * (len(history.rows) - 1) + [len(test)]
    last = ("test_loss", "test_accuracy")
    assert [history.rows[-1][k] for k in last] == [all_of_them.rows[-1][k] for k in last]
    assert [history.rows[-1][k] for k in last] == pytest.approx(evaluate(model, test))
    assert history.rows[0]["test_accuracy"] * 40 == pytest.approx(round(history.rows[0]["test_accuracy"] * 40))
    assert "test_images" not in all_of_them.rows[0]


def test_more_test_images_than_there_are_is_all_of_them():
    _, history = trained(replace(SGD, tested_on=10**9))
    _, whole = trained(SGD)
    names = ("epoch", "test_loss", "test_accuracy")
    assert [[row[k] for k in names] for row in history.rows] == [[row[k] for k in names] for row in whole.rows]


def test_what_is_tested_in_all_is_counted():
    recipe = Recipe(epochs=5, batch=10)
    assert recipe.tests(95, 1000) == 5000 and replace(recipe, tested_on=200).tests(95, 1000) == 4 * 200 + 1000
    assert replace(recipe, tested_on=2000).tests(95, 1000) == 5000
    assert Recipe(iterations=25, batch=10, tested_on=200).tests(95, 1000) == 2 * 200 + 1000


@pytest.mark.parametrize("images", [0, -3])
def test_no_test_images_after_an_epoch_are_refused(images):
    with pytest.raises(ValueError, match=f"^recipe: tested_on={images}: expected at least 1 image after each epoch"):
        Recipe(epochs=1, tested_on=images)


# holding out, and whose weights are kept


def test_held_out_images_are_drawn_by_seed_and_not_trained_on():
    split, _ = halves()
    parts = {s: hold_out(split, 40, s) for s in (0, 1)}
    kept, held = parts[0]
    rows = [tuple(x.flatten().tolist()) for part in (kept, held) for x in part.images]
    assert (len(kept), len(held)) == (110, 40) and sorted(rows) == sorted(
        tuple(x.flatten().tolist()) for x in split.images
    )
    assert torch.equal(held.images, hold_out(split, 40, 0)[1].images) and not torch.equal(
        held.images, parts[1][1].images
    )
    assert hold_out(split, 0, 0) == (split, None)
    with pytest.raises(ValueError, match="holdout 150 leaves no training image of 150: lower the recipe's holdout"):
        hold_out(split, 150, 0)


@pytest.mark.parametrize("images, holdout", [(800, 5000), (150, 150), (1, 1)])
def test_a_recipe_that_holds_out_all_images_says_so(images, holdout):
    with pytest.raises(ValueError, match=f"^holdout {holdout} leaves no training image of {images}: lower the recipe"):
        Recipe(epochs=1, holdout=holdout).trained_on(images)
    assert (
        Recipe(epochs=1, holdout=holdout).trained_on(holdout + 1) == 1 and Recipe(epochs=1).trained_on(images) == images
    )


def test_the_epoch_of_lowest_validation_loss_is_kept_if_asked():
    recipe = Recipe(lr=0.8, momentum=0.95, batch=16, epochs=6, holdout=30)
    states = []

    def note(_, model):
        return states.append(weights(model)) or {}

    last, history = trained(recipe, hooks=[(EACH_EPOCH, note)])
    losses = history.table.validation_loss.tolist()
    assert min(losses) < losses[-1], "the run must get worse at its end for this test to say anything"
    assert same(weights(last), states[-1])
    best, history_best = trained(replace(recipe, keep="lowest_validation_loss"))
    assert same(weights(best), states[losses.index(min(losses))])
    assert history_best.rows == history.rows  # the last row is still the last epoch's
    _, held = hold_out(halves()[0], 30, 0)
    assert evaluate(best, held)[0] == pytest.approx(min(losses))


# failures


def test_a_loss_that_is_not_finite_stops_the_run_and_is_named():
    with pytest.raises(
        FloatingPointError, match=r"not finite in epoch \d+, by iteration \d+, at learning rate 1e\+20; lower it"
    ):
        trained(Recipe(lr=1e20, batch=64, epochs=3))


def test_a_loss_that_breaks_in_a_long_epoch_stops_within_a_hundred_steps():
    with pytest.raises(FloatingPointError, match="in epoch 1, by iteration 101,"):
        trained(Recipe(lr=3e38, batch=1, epochs=1), model=nn.Sequential(nn.Flatten(), nn.Linear(64, 10)))


def test_weights_broken_by_the_very_last_step_stop_the_run():
    seen = []
    with pytest.raises(FloatingPointError, match="not finite in epoch .*, by iteration 1, at learning rate"):
        trained(Recipe(lr=1e38, batch=64, iterations=1), hooks=[(EACH_EPOCH, lambda *_: seen.append(1) or {})])
    assert not seen  # no row of such a net is made


def test_a_test_loss_that_is_not_finite_stops_the_run_although_it_trained_well(monkeypatch):
    """The training loss is of weights one step older: here it is finite to the end."""
    rows, record = [], train._Run.record
    monkeypatch.setattr(train._Run, "record", lambda run, loss, *rest: rows.append(loss) or record(run, loss, *rest))
    with pytest.raises(FloatingPointError, match="by iteration 1,"):
        trained(Recipe(lr=1e38, batch=64, iterations=1))
    assert len(rows) == 1 and np.isfinite(rows[0])


@pytest.mark.parametrize(
    "limit, batch, broken_after, says",
    [
        (150, 1, 0, "epoch 1, by iteration 1,"),
        (150, 1, 170, "epoch 2, by iteration 201,"),
        (101, 1, 100, "epoch 1, by iteration 101,"),
        (150, 64, 5, "epoch 2, by iteration 6,"),
        (150, 64, 6, "epoch 2, by iteration 6,"),
    ],
    ids=["first step", "within an epoch", "last step, looked at", "last step", "after the last step"],
)
def test_the_epoch_in_which_the_loss_breaks_is_named(limit, batch, broken_after, says):
    def spoil(_, model):
        model[1].bias.data.fill_(np.nan)
        return {}

    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    with pytest.raises(FloatingPointError, match=f"loss is not finite in {says}"):
        trained(Recipe(lr=0.1, batch=batch, epochs=3), model=model, limit=limit, hooks=[((broken_after,), spoil)])


def test_out_of_memory_names_the_net_and_what_to_lower():
    class Hungry(nn.Module):
        def forward(self, x):
            raise torch.OutOfMemoryError("tried to allocate")

    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10), Hungry())
    with pytest.raises(
        MemoryError,
        match=r"Sequential of 650 parameters with batches of 64 does not fit on cpu: lower the recipe's batch",
    ):
        trained(SGD, model=model)


# hooks and history


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_rows_and_arrays_of_the_hook_join_the_history():
    modes = []

    def hook(epoch, model):
        modes.append(model.training)
        return dict(ten=10 * epoch, ratio=np.float64(epoch), weight=model.out.weight, spectrum=np.full(3, epoch))

    model, history = trained(replace(SGD, epochs=3), hooks=[(EACH_EPOCH, hook)])
    assert modes == [False] * 3
    assert history.table.ten.tolist() == [10, 20, 30] and history.table.ratio.tolist() == [1, 2, 3]
    found = history.arrays
    assert found.keys() == {"weight", "spectrum"} and found["weight"].shape == (3, 10, 4)
    assert not np.array_equal(found["weight"][0], found["weight"][1])  # copies, not three views of the last epoch
    np.testing.assert_array_equal(found["weight"][2], model.out.weight.detach().numpy())
    np.testing.assert_array_equal(found["spectrum"][:, 0], [1, 2, 3])


def test_a_hook_that_draws_random_numbers_changes_nothing():
    drawing = [(EACH_EPOCH, lambda *_: dict(noise=torch.rand(1).item()))]
    assert same(weights(trained(SGD, hooks=drawing)[0]), weights(trained(SGD)[0]))


def test_a_tensor_of_the_hook_is_copied_without_a_warning():
    trained(SGD, hooks=[(EACH_EPOCH, lambda *_: dict(noise=torch.rand(5)))])


@pytest.mark.parametrize("loaded", [True, False])
def test_a_notebook_gets_one_line_and_others_none(monkeypatch, capsys, loaded):
    if loaded:
        monkeypatch.setitem(sys.modules, "ipykernel", ModuleType("ipykernel"))
    else:
        monkeypatch.delitem(sys.modules, "ipykernel", raising=False)
    _, history = trained(SGD)
    accuracy = f"{100 * history.rows[-1]['test_accuracy']:.1f}"
    line = f"trained on digits: 6 iterations, {history.seconds:.1f} s, test {accuracy} %\n"
    assert capsys.readouterr().out == (line if loaded else "")


# snapshots


def normed():
    """A net that takes note of the mode it is in: batch statistics and dropout."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.Dropout(0.3),
            nn.Flatten(),
            nn.Linear(256, 10),
        )


@pytest.mark.parametrize("at", [range(7), (0, 4), (6,), {5, 1, 3}, ()], ids=str)
def test_snapshots_are_of_the_weights_after_just_these_iterations(at):
    modes = []

    def look(k, model):
        modes.append(any(m.training for m in model.modules()))
        return dict(twice=2 * k, ratio=k / 3, weight=model[0].weight, mean=model[1].running_mean.numpy())

    _, history = trained(SGD, model=normed(), hooks=[(at, look)])
    assert history.snapshots.rows == [dict(iteration=k, twice=2 * k, ratio=k / 3) for k in sorted(at)]
    assert modes == [False] * len(at) and history.arrays == {}
    assert all(len(v) == len(at) for v in history.snapshots.arrays.values())
    for place, k in enumerate(sorted(at)):
        stopped = trained(replace(SGD, epochs=None, iterations=k), model=normed())[0] if k else normed()
        assert np.array_equal(history.snapshots.arrays["weight"][place], stopped[0].weight.detach().numpy())
        assert np.array_equal(history.snapshots.arrays["mean"][place], stopped[1].running_mean.numpy())


@pytest.mark.parametrize(
    "recipe, net",
    [
        (SGD, small),
        (ADAM, normed),
        (replace(SGD, augmentation="crop_flip"), normed),
        (replace(SGD, holdout=30, epochs=3), small),
    ],
    ids=["plain", "batch norm and dropout", "crops and flips", "held-out images"],
)
def test_snapshots_do_not_disturb_the_training(recipe, net):
    def look(k, model):
        torch.manual_seed(k)
        return dict(noise=torch.rand(3), drawn=torch.randn(1).item())

    alone, expected = trained(recipe, model=net())
    watched, history = trained(recipe, model=net(), hooks=[(range(7), look)])
    assert len(history.snapshots.rows) == 7
    assert same(weights(alone), weights(watched)) and history.rows == expected.rows


@pytest.mark.parametrize("death", [0, 1, 3, 4, 6, 8, 9])
def test_a_run_that_died_at_a_snapshot_resumes_to_the_snapshots_of_an_unbroken_one(tmp_path, capsys, death):
    """The checkpoint is that of the last whole epoch: snapshots at its end are in it, later ones are taken anew."""
    calls, recipe = [], replace(ADAM, epochs=3, augmentation="crop_flip")

    def look(k, model, last=99):
        calls.append(k)
        if k == last:
            raise KeyboardInterrupt
        return dict(
            sum=model[0].weight.sum().item(), noise=torch.rand(2), **{"conv.gram": model[0].weight.flatten(1).half()}
        )

    at, options = (0, 1, 3, 4, 6, 8, 9), dict(checkpoint_file=tmp_path / "c", save_every=0)
    with pytest.raises(KeyboardInterrupt):
        trained(recipe, model=normed(), hooks=[(at, lambda k, model: look(k, model, death))], **options)
    calls.clear()
    found, history = trained(recipe, model=normed(), hooks=[(at, look)], **options)
    saved = 3 * max(0, (death - 1) // 3)
    assert calls == [k for k in at if k > saved or saved == 0]
    assert "starts over" not in capsys.readouterr().err
    expected, unbroken = trained(recipe, model=normed(), hooks=[(at, look)])
    assert same(weights(found), weights(expected)) and history.rows == unbroken.rows
    assert history.snapshots.rows == unbroken.snapshots.rows
    arrays = history.snapshots.arrays
    assert (
        arrays.keys() == unbroken.snapshots.arrays.keys() == {"noise", "conv.gram"}
        and arrays["conv.gram"].dtype == np.float16
    )
    assert all(np.array_equal(v, unbroken.snapshots.arrays[k]) for k, v in arrays.items())


@pytest.mark.parametrize(
    "at, says", [((0, 7), "at iteration 7,"), ((3, -1), "at iteration -1,"), ((9, 8), "at iteration 8,")]
)
def test_a_snapshot_outside_the_training_is_refused(at, says):
    model, before = small(), weights(small())
    with pytest.raises(ValueError, match=f"snapshot {says} but this training goes from 0 to 6"):
        trained(SGD, model=model, hooks=[(at, lambda *_: {})])
    assert same(weights(model), before)


@settings(deadline=None)
@given(steps=st.integers(1, 10**6), count=st.integers(4, 200))
def test_snapshot_iterations_go_from_the_start_to_the_end_and_are_not_too_many(steps, count):
    found = snapshot_iterations(steps, count)
    assert found[0] == 0 and found[-1] == steps and list(found) == sorted(set(found)) and len(found) <= count
    assert all(type(k) is int for k in found)


@settings(deadline=None)
@given(steps=st.integers(0, 10**6), count=st.integers(1, 200))
def test_snapshot_iterations_are_never_more_than_asked_for_and_end_at_the_end(steps, count):
    found = snapshot_iterations(steps, count)
    assert 1 <= len(found) <= count and list(found) == sorted(set(found)) and found[-1] == steps
    assert all(type(k) is int for k in found) and (found[0] == 0 or count == 1)


def as_it_was(steps, count):
    """The formula before it was mended below four."""
    even = np.linspace(0, steps, max(2, count - count // 2 + 1))
    early = np.geomspace(min(1, even[1]), even[1], count // 2)
    return tuple(int(k) for k in np.unique(np.rint(np.concatenate([early, even]))))


@settings(deadline=None)
@given(steps=st.integers(1, 10**6), count=st.integers(4, 200))
def test_four_and_more_snapshot_iterations_are_those_they_always_were(steps, count):
    assert snapshot_iterations(steps, count) == as_it_was(steps, count)
    assert snapshot_iterations(np.int64(steps), np.int32(count)) == as_it_was(steps, count)


def test_few_snapshot_iterations_of_few_steps():
    assert [snapshot_iterations(10, k) for k in (1, 2, 3, 4)] == [(10,), (0, 10), (0, 5, 10), (0, 1, 5, 10)]
    assert [snapshot_iterations(1, k) for k in (1, 2, 3, 4)] == [(1,), (0, 1), (0, 1), (0, 1)]
    assert {snapshot_iterations(0, k) for k in (1, 2, 3, 4, 30)} == {(0,)}
    assert [snapshot_iterations(2, k) for k in (1, 2, 3)] == [(2,), (0, 2), (0, 1, 2)]


@pytest.mark.parametrize("steps, count", [(10, 0), (10, -3), (-1, 30), (-1, 1), (0, 0)])
def test_no_snapshots_or_less_than_no_steps_are_refused(steps, count):
    with pytest.raises(ValueError, match=f"{count} snapshots of {steps} steps: expected at least 1 of 0 or more"):
        snapshot_iterations(steps, count)


def test_half_of_the_snapshot_iterations_are_before_the_first_of_equal_steps():
    assert snapshot_iterations(1000, 10) == (0, 1, 4, 14, 53, 200, 400, 600, 800, 1000)
    assert snapshot_iterations(3) == (0, 1, 2, 3) and snapshot_iterations(1) == (0, 1)
    assert len(snapshot_iterations(50_000)) == 30


@pytest.mark.parametrize("batch", [7, 80, 1000])
def test_evaluate_is_the_naive_mean(batch):
    model, (_, split) = small().double().train(), halves()
    split = replace(split, images=split.images.double())
    losses, right = [], 0
    for x, y in zip(split.images, split.labels, strict=True):
        logits = model(x[None])[0].detach()
        losses.append((logits.logsumexp(0) - logits[y]).item())
        right += int(logits.argmax() == y)
    loss, accuracy = evaluate(model, split, batch)
    assert loss == pytest.approx(np.mean(losses), rel=1e-12) and accuracy == right / 80
    assert model.training  # as it was


def test_evaluation_is_without_dropout_and_leaves_no_trace_in_norms():
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10), nn.BatchNorm1d(10), nn.Dropout(0.5))
    before = weights(model)
    assert evaluate(model, halves()[1]) == evaluate(model, halves()[1])
    assert same(before, weights(model))


def test_derived_seeds_hang_on_all_their_parts():
    seeds = {derived_seed(s, word, e) for s in range(3) for word in ("epoch", "holdout") for e in range(3)}
    assert len(seeds) == 18 and all(0 <= s < 2**63 for s in seeds)
    assert derived_seed(0, "epoch", 0) == derived_seed(0, "epoch", 0) == 7460590104804654284


def test_a_small_net_learns_digits():
    model = models.build("lenet_300_100", (1, 8, 8), width=60)
    _, history = trained(Recipe(lr=0.1, momentum=0.9, batch=32, epochs=15), model=model, limit=600)
    assert history.table.test_accuracy.iloc[-1] > 0.8 and history.table.train_accuracy.iloc[-1] > 0.95
