"""Training one net: a recipe, and `fit`, which resumes after being killed with the result of an unbroken run."""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import nn
from tqdm import tqdm

from ..data import Split
from ..literal import plain
from ..precision import tensor_float_32
from . import checkpoint
from .recipe import Recipe, moments_of, optimizer

Hook = Callable[[int, nn.Module], Mapping[str, float | torch.Tensor | np.ndarray]]


@dataclass
class Log:
    """What was noted along the way: numbers as `rows` of a table, tensors in `stacks`."""

    rows: list[dict[str, float]] = field(default_factory=list)
    stacks: dict[str, list[np.ndarray]] = field(default_factory=dict)

    @property
    def table(self) -> pd.DataFrame:
        """One row a note."""
        return pd.DataFrame(self.rows)

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """Name -> the tensors of all notes, stacked."""
        return {k: np.stack(v) for k, v in self.stacks.items()}

    def add(self, row: Mapping[str, float | torch.Tensor | np.ndarray]) -> None:
        """Append one note; numbers go to the table, tensors and arrays to the stacks."""
        row = {k: v.item() if isinstance(v, np.generic) else v for k, v in row.items()}
        self.rows.append({k: v for k, v in row.items() if isinstance(v, int | float)})
        for k, v in row.items():
            if not isinstance(v, int | float):
                self.stacks.setdefault(k, []).append(
                    np.array(v.detach().cpu().numpy() if isinstance(v, torch.Tensor) else v)
                )  # a copy: hooks hand out live weights


@dataclass
class History(Log):
    """What training left behind: one row a finished epoch, the hook's tensors stacked by epoch, and `snapshots`.

    Columns: epoch, iteration, lr, train_loss, train_accuracy (running means over the epoch), test_loss, test_accuracy,
    ...
    """

    snapshots: Log = field(default_factory=Log)
    seconds: float = 0.0  # time spent training, earlier processes included


def derived_seed(*parts: object) -> int:
    """A seed that depends on all parts and on nothing else, in [0, 2^63); NumPy's 3 is 3."""
    return int.from_bytes(hashlib.sha256(repr(plain(parts)).encode()).digest()[:8], "big") >> 1


def snapshot_iterations(steps: int, count: int = 30) -> tuple[int, ...]:
    """At most `count` of the iterations 0..`steps`: half in equal steps, half in the first of them, denser at first.

    Fewer than four are in equal steps; a single one is the last. ValueError: `count` below 1, `steps` below 0.
    """
    if count < 1 or steps < 0:
        raise ValueError(f"{count} snapshots of {steps} steps: expected at least 1 of 0 or more")
    if count < 4 or steps == 0:
        return tuple(int(k) for k in np.unique(np.rint(np.linspace(steps, 0, count))))
    even = np.linspace(0, steps, max(2, count - count // 2 + 1))
    early = np.geomspace(min(1, even[1]), even[1], count // 2)
    return tuple(int(k) for k in np.unique(np.rint(np.concatenate([early, even]))))


def evaluate(model: nn.Module, split: Split, batch: int = 1000) -> tuple[float, float]:
    """Mean cross-entropy and accuracy in [0, 1], in evaluation mode; the model's mode is put back."""
    was_training, loss, right = model.training, 0.0, 0
    model.eval()
    with torch.inference_mode():
        for x, y in zip(split.images.split(batch), split.labels.split(batch), strict=True):
            logits = model(x)
            loss += F.cross_entropy(logits, y, reduction="sum").item()
            right += (logits.argmax(1) == y).sum().item()
    model.train(was_training)
    return loss / len(split), right / len(split)


def fit(
    model: nn.Module,
    train: Split,
    test: Split,
    recipe: Recipe,
    *,
    seed: int = 0,
    mask: Mapping[str, torch.Tensor] | None = None,
    each_epoch: Hook | None = None,
    snapshot: Hook | None = None,
    snapshot_at: Collection[int] = (),
    checkpoint_file: Path | None = None,
    save_every: float = 30.0,
) -> History:
    """Train in place on the data's device and return the history; the model ends in evaluation mode.

    Args:
        mask: parameter name -> bool tensor of its shape; where False, the weight is zero after every step.
        each_epoch: called after every epoch with its number and the model in evaluation mode; its row joins the
            history.
        snapshot: called likewise after the iterations in `snapshot_at` (0: before the first); its row joins the
            snapshots.
        checkpoint_file: file to save to (at most every `save_every` seconds) and to resume from; removed by the caller.

    Raises:
        ValueError: a mask or a snapshot that this training cannot have. FloatingPointError: the loss is not finite.
        MemoryError: the device's memory does not suffice.
    """
    device = train.images.device
    model.to(device)
    if device.type != "mps" and any(isinstance(m, nn.Conv2d) for m in model.modules()):
        model.to(memory_format=torch.channels_last)  # 10 to 15 % faster on two CPU cores
    run = _Run(model, train, test, recipe, seed, mask or {}, checkpoint_file)
    run.watch(snapshot, snapshot_at)
    try:
        with _own_random_numbers(device), tensor_float_32(recipe.precision == "tf32"):
            run.resume()
            run.look()
            with _progress(run) as bar:
                while run.iteration < run.steps:
                    run.one_epoch(each_epoch)
                    bar.set_postfix_str(_reached(run))
                    bar.update(run.iteration - bar.n)
                    run.save(save_every)
    except torch.OutOfMemoryError as error:
        raise MemoryError(
            f"{type(model).__name__} of {sum(p.numel() for p in model.parameters()):,} parameters with batches of "
            f"{recipe.batch} does not fit on {device}: lower the recipe's batch or the model's width ({error})"
        ) from error
    run.finish()
    if "ipykernel" in sys.modules:  # a progress bar needs a terminal
        print(
            f"trained on {train.name}: {run.steps:,} iterations, {run.history.seconds:.1f} s, {_reached(run)}",
            flush=True,
        )
    return run.history


def _own_random_numbers(device: torch.device) -> AbstractContextManager[None]:
    """What is drawn inside leaves the generators outside as they were."""
    return torch.random.fork_rng(devices=[device] if device.type == "cuda" else [])


def _progress(run: _Run) -> tqdm:
    return tqdm(
        total=run.steps,
        initial=run.iteration,
        unit="it",
        disable=None,
        file=sys.stderr,
        leave=False,
        desc=f"training on {run.train.name}",
    )


def _reached(run: _Run) -> str:
    return f"test {100 * run.history.rows[-1]['test_accuracy']:.1f} %"


class _Run:
    """The state of one training, all of which a checkpoint holds."""

    def __init__(
        self,
        model: nn.Module,
        train: Split,
        test: Split,
        recipe: Recipe,
        seed: int,
        mask: Mapping[str, torch.Tensor],
        checkpoint_file: Path | None,
    ) -> None:
        self.model, self.test, self.recipe, self.file = model, test, recipe, checkpoint_file
        self.seed = plain(seed)
        self.train, self.validation = _hold_out(train, recipe.holdout, seed)
        self.steps = recipe.steps(len(self.train))
        parameters = dict(model.named_parameters())
        if unknown := mask.keys() - parameters.keys():
            raise ValueError(f"mask for {sorted(unknown)}, which the model does not have; it has {sorted(parameters)}")
        self.masked = {n: (parameters[n], ~m.to(parameters[n].device)) for n, m in mask.items()}
        self.apply_mask()
        self.begins = checkpoint.digest(model.state_dict()) if checkpoint_file else ""
        self.snapshot, self.snapshot_at = None, frozenset[int]()
        self.saved_at = self.began = time.monotonic()
        self.start()

    def start(self) -> None:
        """Stand at the beginning, with a fresh optimiser and nothing noted; the weights are as they are."""
        self.iteration, self.epoch, self.history, self.best = 0, 0, History(), {}
        self.optimizer = optimizer(self.recipe, list(self.model.parameters()))

    def watch(self, snapshot: Hook | None, at: Collection[int]) -> None:
        """Look at the model by `snapshot` at these iterations."""
        at = [plain(k) for k in at]
        if broken := [k for k in at if k != int(k)]:
            raise ValueError(f"snapshot at iteration {broken[0]}: expected whole numbers")
        if outside := sorted(k for k in at if not 0 <= k <= self.steps):
            raise ValueError(f"snapshot at iteration {outside[0]}, but this training goes from 0 to {self.steps}")
        self.snapshot, self.snapshot_at = snapshot, frozenset(int(k) for k in at)

    def due(self) -> frozenset[int]:
        """The iterations at which a snapshot is taken."""
        return self.snapshot_at if self.snapshot else frozenset()

    def ends(self, epoch: int) -> int:
        """The iteration at which an epoch, counted from 1, is over."""
        return min(self.steps, epoch * -(-len(self.train) // self.recipe.batch))

    def lr_at(self, iteration: int) -> float:
        """The learning rate of the step that follows so many others."""
        return self.recipe.lr * self.recipe.drop_factor ** sum(iteration >= d for d in self.recipe.drops)

    def measured(self) -> tuple[str, ...]:
        """The columns that each epoch's row has, whatever hooks there are."""
        every = ("epoch", "iteration", "lr", "train_loss", "train_accuracy", "test_loss", "test_accuracy")
        return every if self.validation is None else (*every, "validation_loss", "validation_accuracy")

    def apply_mask(self) -> None:
        with torch.no_grad():
            for p, gone in self.masked.values():
                p.masked_fill_(gone, 0.0)

    def one_epoch(self, each_epoch: Hook | None) -> None:
        """Train to the end of the epoch (or of the run), then evaluate."""
        torch.manual_seed(derived_seed(self.seed, "epoch", self.epoch))
        order = torch.randperm(len(self.train)) if self.recipe.shuffle else torch.arange(len(self.train))
        order = order.to(self.train.labels.device)
        self.model.train()
        loss, right, seen = torch.zeros((), device=order.device), torch.zeros((), device=order.device), 0
        for batch in order.split(self.recipe.batch)[: self.steps - self.iteration]:
            batch_loss, logits = self.step(self.train.images[batch], self.train.labels[batch])
            loss += batch_loss * len(batch)
            right += (logits.argmax(1) == self.train.labels[batch]).sum()
            seen += len(batch)
        self.epoch += 1
        self.record(loss.item() / seen, right.item() / seen, each_epoch)

    def step(self, images: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        lr = self.lr_at(self.iteration)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        if self.recipe.augmentation == "crop_flip":
            images = _crop_flip(images)
        self.optimizer.zero_grad(set_to_none=True)
        with torch.autocast(images.device.type, torch.bfloat16, enabled=self.recipe.precision == "bfloat16"):
            logits = self.model(images)
            loss = F.cross_entropy(logits.float(), labels)
        loss.backward()
        self.optimizer.step()
        self.apply_mask()
        self.iteration += 1
        # a look at the loss waits for the device: not at every step
        if self.iteration % 100 == 1 and not loss.isfinite():
            raise self.not_finite(lr, self.epoch + 1)
        self.look()
        return loss.detach(), logits.detach()

    def look(self) -> None:
        """Take a snapshot if one is due here and not yet taken."""
        if self.iteration not in self.due() or self.iteration in self.seen():
            return
        was_training = self.model.training
        self.model.eval()
        with _own_random_numbers(self.train.images.device):
            row = dict(self.snapshot(self.iteration, self.model))
        self.model.train(was_training)
        self.history.snapshots.add(dict(iteration=self.iteration) | row)

    def seen(self) -> set[float]:
        return {row["iteration"] for row in self.history.snapshots.rows}

    def not_finite(self, lr: float, epoch: int) -> FloatingPointError:
        return FloatingPointError(
            f"loss is not finite in epoch {epoch}, by iteration {self.iteration}, at learning rate {lr:g}; lower it"
        )

    def record(self, loss: float, accuracy: float, each_epoch: Hook | None) -> None:
        lr = self.optimizer.param_groups[0]["lr"]
        if not np.isfinite(loss):
            raise self.not_finite(lr, self.epoch)
        self.model.eval()
        row = dict(epoch=self.epoch, iteration=self.iteration, lr=lr, train_loss=loss, train_accuracy=accuracy)
        row["test_loss"], row["test_accuracy"] = evaluate(self.model, self.test)
        if not np.isfinite(row["test_loss"]):
            raise self.not_finite(lr, self.epoch)
        if self.validation is not None:
            row["validation_loss"], row["validation_accuracy"] = evaluate(self.model, self.validation)
            if row["validation_loss"] < min((r["validation_loss"] for r in self.history.rows), default=np.inf):
                self.best = {k: v.clone() for k, v in self.model.state_dict().items()}
        self.history.add(row | dict(each_epoch(self.epoch, self.model) if each_epoch else {}))

    def finish(self) -> None:
        """Put the kept weights into the model and check that what the mask removed is exactly zero."""
        if self.recipe.keep == "lowest_validation_loss":
            self.model.load_state_dict(self.best)
        self.model.eval()
        self.history.seconds += time.monotonic() - self.began
        for p, gone in self.masked.values():
            if p[gone].count_nonzero():
                raise AssertionError("a masked weight is not zero after training")

    def save(self, every: float) -> None:
        """Write the checkpoint unless the last one is younger than `every` seconds."""
        if self.file is None or time.monotonic() - self.saved_at < every:
            return
        state = self.optimizer.state_dict()["state"]
        groups = {
            "model": self.model.state_dict(),
            "best": self.best,
            "optimizer": {
                f"{k}.{n}": v for k, moments in state.items() for n, v in moments.items() if isinstance(v, torch.Tensor)
            },
            "stack": _numbered(self.history),
            "snapshot": _numbered(self.history.snapshots),
        }
        seconds = self.history.seconds + time.monotonic() - self.began
        rows = dict(rows=self.history.rows, snapshots=self.history.snapshots.rows)
        values = self.identity() | rows | dict(iteration=self.iteration, epoch=self.epoch, seconds=seconds)
        checkpoint.save(self.file, groups, values | dict(holds=_inventory(groups, **rows)))
        self.saved_at = time.monotonic()

    def identity(self) -> dict:
        """What a checkpoint must agree in to be this run's."""
        shapes = {name: list(p.shape) for name, p in self.model.named_parameters()}
        gone = hashlib.sha256()
        for name in sorted(self.masked):
            gone.update(f"\n{name}\n".encode() + np.packbits(self.masked[name][1].cpu().numpy()).tobytes())
        net = dict(shapes=shapes, masked=gone.hexdigest(), begins=self.begins)
        seen = dict(data=self.train.digest, test=self.test.digest, snapshot_at=sorted(self.snapshot_at))
        scaled = dict(scaled_by=[self.train.scaled_by, self.test.scaled_by], image=list(self.train.images.shape[1:]))
        where = dict(device=self.train.images.device.type, torch=torch.__version__)  # sums round otherwise on others
        return json.loads(json.dumps(dict(recipe=asdict(self.recipe), seed=self.seed) | net | seen | scaled | where))

    def resume(self) -> None:
        """Go on from the checkpoint if there is a sound one of this run; any other is named, and leaves no trace."""
        if self.file is None:
            return
        checkpoint.clear(self.file)
        if (found := checkpoint.load(self.file)) is None:
            return
        groups, values = found
        if other := [k for k, v in self.identity().items() if values.get(k) != v]:
            words = f"belongs to another run; training starts over (not the same: {', '.join(other)})"
            print(f"checkpoint {self.file.name} {words}", file=sys.stderr)
            return
        clean = {k: v.clone() for k, v in self.model.state_dict().items()}
        try:
            self.restore(groups, values)
        except (MemoryError, torch.OutOfMemoryError):  # says nothing against the checkpoint
            raise
        except Exception as error:  # whatever it is, the run can do without
            why = f"{type(error).__name__}: {error}"
            print(f"checkpoint {self.file.name} is broken ({why}); training starts over", file=sys.stderr)
            self.model.load_state_dict(clean)
            self.start()

    def restore(self, groups: Mapping[str, Mapping[str, torch.Tensor]], values: Mapping[str, Any]) -> None:
        """Take over the state in a checkpoint. ValueError, KeyError, ...: it is not whole, or cannot be of this run."""
        rows, snapshots, told = values["rows"], values["snapshots"], values["holds"]
        if told != json.loads(json.dumps(_inventory(groups, rows, snapshots))):
            raise ValueError("it lacks some of what was saved, or has more")
        self.check_progress(values)
        _check_fit(groups["model"], self.model.state_dict())
        if best := groups.get("best", {}):
            _check_fit(best, groups["model"])
        if bool(best) != any(r["validation_loss"] < np.inf for r in rows if self.validation is not None):
            raise ValueError("best weights and validation losses do not go together")
        self.model.load_state_dict(groups["model"])
        self.best = {k: v.to(self.train.images.device) for k, v in best.items()}
        self.restore_optimizer(groups.get("optimizer", {}))
        self.iteration, self.epoch = values["iteration"], values["epoch"]
        stacks, looks = ([(k, groups[g][k]) for k in told["tensors"].get(g, {})] for g in ("stack", "snapshot"))
        self.history = History(rows, _stacked(stacks), Log(snapshots, _stacked(looks)), values["seconds"])

    def check_progress(self, values: Mapping[str, Any]) -> None:
        """ValueError, KeyError: these values of a checkpoint cannot be those of this run after so many epochs."""
        epoch, iteration, seconds = (values[k] for k in ("epoch", "iteration", "seconds"))
        whole = type(epoch) is type(iteration) is int
        if not (whole and epoch >= 1 and self.ends(epoch - 1) < self.steps and iteration == self.ends(epoch)):
            raise ValueError(f"epoch {epoch!r} does not end at iteration {iteration!r}")
        if not (type(seconds) in (int, float) and 0 <= seconds < np.inf):
            raise ValueError(f"{seconds!r} seconds cannot be")
        ends = [self.ends(k + 1) for k in range(epoch)]
        expected = [dict(epoch=k + 1, iteration=end, lr=self.lr_at(end - 1)) for k, end in enumerate(ends)]
        if [{k: row[k] for k in ("epoch", "iteration", "lr")} for row in values["rows"]] != expected:
            raise ValueError(f"its rows are not those of {epoch} epochs")
        if [row["iteration"] for row in values["snapshots"]] != [k for k in sorted(self.due()) if k <= iteration]:
            raise ValueError(f"its snapshots are not those up to iteration {iteration}")
        for row in values["rows"] + values["snapshots"]:
            if not all(isinstance(v, int | float) for v in row.values()):
                raise ValueError("a row holds what is no number")
        for row in values["rows"]:
            if lacking := [k for k in self.measured() if k not in row]:
                raise ValueError(f"a row lacks {', '.join(lacking)}")

    def restore_optimizer(self, moments: Mapping[str, torch.Tensor]) -> None:
        """Give the optimiser its moments, `<number of the parameter>.<name>` -> tensor. ValueError: it has others."""
        state: dict[int, dict[str, torch.Tensor]] = {}
        parameters = list(self.model.parameters())
        for name, stored in moments.items():
            k, moment = name.split(".")
            like = stored if moment == "step" else parameters[int(k)]
            if stored.shape != (expected := () if moment == "step" else like.shape):
                raise ValueError(f"{moment} of parameter {k} has shape {list(stored.shape)}, not {list(expected)}")
            # a fused step walks the memory of weights and moments side by side, so their strides must be the same
            state.setdefault(int(k), {})[moment] = torch.empty_like(like, requires_grad=False).copy_(stored)
        if other := [k for k, held in state.items() if held.keys() != moments_of(self.recipe)]:
            raise ValueError(f"moments of parameter {other[0]} are {sorted(state[other[0]])}")
        self.optimizer.load_state_dict(self.optimizer.state_dict() | {"state": state})


def _numbered(log: Log) -> dict[str, torch.Tensor]:
    return {f"{k}.{i}": torch.from_numpy(a) for k, stack in log.stacks.items() for i, a in enumerate(stack)}


def _stacked(numbered: Iterable[tuple[str, torch.Tensor]]) -> dict[str, list[np.ndarray]]:
    """What `_numbered` took apart, in the order it had."""
    stacks: dict[str, list[np.ndarray]] = {}
    for name, tensor in numbered:
        stacks.setdefault(name.rsplit(".", 1)[0], []).append(tensor.numpy())
    return stacks


def _inventory(groups: Mapping[str, Mapping[str, torch.Tensor]], rows: list[dict], snapshots: list[dict]) -> dict:
    """What a checkpoint holds, said in it once more: type and shape of each tensor, in order; columns of each row."""
    tensors = {g: {k: [str(t.dtype), *t.shape] for k, t in named.items()} for g, named in groups.items() if named}
    return dict(tensors=tensors, rows=[list(r) for r in rows], snapshots=[list(r) for r in snapshots])


def _check_fit(stored: Mapping[str, torch.Tensor], own: Mapping[str, torch.Tensor]) -> None:
    """ValueError: tensors of a checkpoint that have other names, shapes or types than a model's own."""
    kinds = [{k: (t.dtype, t.shape) for k, t in state.items()} for state in (stored, own)]
    if other := sorted(k for k in kinds[0].keys() | kinds[1].keys() if kinds[0].get(k) != kinds[1].get(k)):
        raise ValueError(f"its {', '.join(other[:3])} cannot be those of the model")


def _hold_out(train: Split, holdout: int, seed: int) -> tuple[Split, Split | None]:
    if not holdout:
        return train, None
    if holdout >= len(train):
        raise ValueError(f"holdout {holdout} leaves no training image of {len(train)}")
    order = torch.randperm(len(train), generator=torch.Generator().manual_seed(derived_seed(seed, "holdout"))).to(
        train.labels.device
    )
    kept, held = order[holdout:].sort().values, order[:holdout]
    return tuple(replace(train, images=train.images[rows], labels=train.labels[rows]) for rows in (kept, held))


def _crop_flip(images: torch.Tensor) -> torch.Tensor:
    """Random crops after padding by four pixels (reflected), half of them mirrored; a draw an image, on the device."""
    n, _, height, width = images.shape
    padded = F.pad(images, (4, 4, 4, 4), mode="reflect")
    top, left = (torch.randint(9, (n, 1), device=images.device) for _ in range(2))
    columns = torch.arange(width, device=images.device).expand(n, width)
    columns = torch.where(torch.rand(n, 1, device=images.device) < 0.5, columns.flip(1), columns) + left
    rows = torch.arange(height, device=images.device) + top
    return padded[
        torch.arange(n, device=images.device)[:, None, None], :, rows[:, :, None], columns[:, None, :]
    ].permute(0, 3, 1, 2)
