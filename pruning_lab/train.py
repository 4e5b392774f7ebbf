"""Training one net: a recipe, and `fit`, which resumes after being killed with the result of an unbroken run."""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import nn
from tqdm import tqdm

from . import checkpoint
from .data import Split
from .precision import tensor_float_32
from .recipe import Recipe, optimizer

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
        self.rows.append({k: v for k, v in row.items() if isinstance(v, int | float)})
        for k, v in row.items():
            if not isinstance(v, int | float):
                self.stacks.setdefault(k, []).append(
                    np.array(v.detach().cpu().numpy() if isinstance(v, torch.Tensor) else v)
                )  # a copy: hooks hand out live weights


@dataclass
class History(Log):
    """What training left behind: one row a finished epoch, the hook's tensors stacked by epoch, and `snapshots`.

    Columns: epoch, iteration, lr, train_loss, train_accuracy (running means over the epoch), test_loss, test_accuracy, ...
    """

    snapshots: Log = field(default_factory=Log)
    seconds: float = 0.0  # time spent training, earlier processes included


def derived_seed(*parts: object) -> int:
    """A seed that depends on all parts and on nothing else, in [0, 2^63)."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:8], "big") >> 1


def snapshot_iterations(steps: int, count: int = 30) -> tuple[int, ...]:
    """At most `count` of the iterations 0..`steps`: half in equal steps, the first of which holds the other half, denser to its start."""
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
        each_epoch: called after every epoch with its number and the model in evaluation mode; its row joins the history.
        snapshot: called likewise after the iterations in `snapshot_at` (0: before the first); its row joins the snapshots.
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
            f"{type(model).__name__} of {sum(p.numel() for p in model.parameters()):,} parameters with batches of {recipe.batch} "
            f"does not fit on {device}: lower the recipe's batch or the model's width ({error})"
        ) from error
    run.finish()
    if "ipykernel" in sys.modules:  # a progress bar needs a terminal
        print(f"trained on {train.name}: {run.steps:,} iterations, {run.history.seconds:.1f} s, {_reached(run)}", flush=True)
    return run.history


def _own_random_numbers(device: torch.device) -> AbstractContextManager[None]:
    """What is drawn inside leaves the generators outside as they were."""
    return torch.random.fork_rng(devices=[device] if device.type == "cuda" else [])


def _progress(run: _Run) -> tqdm:
    return tqdm(
        total=run.steps, initial=run.iteration, unit="it", disable=None, file=sys.stderr, leave=False, desc=f"training on {run.train.name}"
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
        self.model, self.test, self.recipe, self.seed, self.file = model, test, recipe, seed, checkpoint_file
        self.train, self.validation = _hold_out(train, recipe.holdout, seed)
        self.steps, self.iteration, self.epoch = recipe.steps(len(self.train)), 0, 0
        self.history, self.best = History(), {}
        parameters = dict(model.named_parameters())
        if unknown := mask.keys() - parameters.keys():
            raise ValueError(f"mask for {sorted(unknown)}, which the model does not have; it has {sorted(parameters)}")
        self.masked = [(parameters[n], ~m.to(parameters[n].device)) for n, m in mask.items()]
        self.apply_mask()
        self.optimizer = optimizer(recipe, list(parameters.values()))
        self.snapshot, self.snapshot_at = None, frozenset[int]()
        self.saved_at = self.began = time.monotonic()

    def watch(self, snapshot: Hook | None, at: Collection[int]) -> None:
        """Look at the model by `snapshot` at these iterations."""
        if outside := sorted(k for k in at if not 0 <= k <= self.steps):
            raise ValueError(f"snapshot at iteration {outside[0]}, but this training goes from 0 to {self.steps}")
        self.snapshot, self.snapshot_at = snapshot, frozenset(at)

    def apply_mask(self) -> None:
        with torch.no_grad():
            for p, gone in self.masked:
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
        lr = self.recipe.lr * self.recipe.drop_factor ** sum(self.iteration >= d for d in self.recipe.drops)
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
        if self.iteration % 100 == 1 and not loss.isfinite():  # a look at the loss waits for the device: not at every step
            raise self.not_finite(lr, self.epoch + 1)
        self.look()
        return loss.detach(), logits.detach()

    def look(self) -> None:
        """Take a snapshot if one is due here and not yet taken."""
        if self.snapshot is None or self.iteration not in self.snapshot_at or self.iteration in self.seen():
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
        return FloatingPointError(f"loss is not finite in epoch {epoch}, by iteration {self.iteration}, at learning rate {lr:g}; lower it")

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
        for p, gone in self.masked:
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
            "optimizer": {f"{k}.{n}": v for k, moments in state.items() for n, v in moments.items() if isinstance(v, torch.Tensor)},
            "stack": _numbered(self.history),
            "snapshot": _numbered(self.history.snapshots),
        }
        seconds = self.history.seconds + time.monotonic() - self.began
        rows = dict(rows=self.history.rows, snapshots=self.history.snapshots.rows)
        checkpoint.save(self.file, groups, self.identity() | rows | dict(iteration=self.iteration, epoch=self.epoch, seconds=seconds))
        self.saved_at = time.monotonic()

    def identity(self) -> dict:
        """What a checkpoint must agree in to be this run's."""
        shapes = {name: list(p.shape) for name, p in self.model.named_parameters()}
        gone = hashlib.sha256(b"".join(np.packbits(g.cpu().numpy()).tobytes() for _, g in self.masked)).hexdigest()
        who = dict(recipe=asdict(self.recipe), seed=self.seed, data=self.train.digest, shapes=shapes, masked=gone)
        return json.loads(json.dumps(who | dict(snapshot_at=sorted(self.snapshot_at))))

    def resume(self) -> None:
        """Go on from the checkpoint if there is one of this recipe, seed and data; a foreign one is ignored, and named."""
        found = checkpoint.load(self.file) if self.file else None
        if found is None:
            return
        groups, values = found
        if any(values.get(k) != v for k, v in self.identity().items()):
            print(f"checkpoint {self.file.name} belongs to another run; training starts over", file=sys.stderr)
            return
        self.model.load_state_dict(groups["model"])
        self.best = {k: v.to(self.train.images.device) for k, v in groups.get("best", {}).items()}
        self.restore_optimizer(groups.get("optimizer", {}))
        self.iteration, self.epoch, self.history.rows = values["iteration"], values["epoch"], values["rows"]
        self.history.seconds, self.history.snapshots.rows = values["seconds"], values["snapshots"]
        for log, group in ((self.history, "stack"), (self.history.snapshots, "snapshot")):
            for k, v in sorted(groups.get(group, {}).items(), key=lambda item: int(item[0].rsplit(".", 1)[1])):
                log.stacks.setdefault(k.rsplit(".", 1)[0], []).append(v.numpy())

    def restore_optimizer(self, moments: Mapping[str, torch.Tensor]) -> None:
        state: dict[int, dict[str, torch.Tensor]] = {}
        parameters = list(self.model.parameters())
        for name, stored in moments.items():
            k, moment = name.split(".")
            like = parameters[int(k)] if stored.shape == parameters[int(k)].shape else stored
            # a fused step walks the memory of weights and moments side by side, so their strides must be the same
            state.setdefault(int(k), {})[moment] = torch.empty_like(like, requires_grad=False).copy_(stored)
        self.optimizer.load_state_dict(self.optimizer.state_dict() | {"state": state})


def _numbered(log: Log) -> dict[str, torch.Tensor]:
    return {f"{k}.{i}": torch.from_numpy(a) for k, stack in log.stacks.items() for i, a in enumerate(stack)}


def _hold_out(train: Split, holdout: int, seed: int) -> tuple[Split, Split | None]:
    if not holdout:
        return train, None
    if holdout >= len(train):
        raise ValueError(f"holdout {holdout} leaves no training image of {len(train)}")
    order = torch.randperm(len(train), generator=torch.Generator().manual_seed(derived_seed(seed, "holdout"))).to(train.labels.device)
    kept, held = order[holdout:].sort().values, order[:holdout]
    return tuple(replace(train, images=train.images[rows], labels=train.labels[rows]) for rows in (kept, held))


def _crop_flip(images: torch.Tensor) -> torch.Tensor:
    """Random crops after padding by four pixels (reflected), half of them mirrored; one draw an image, on the device."""
    n, _, height, width = images.shape
    padded = F.pad(images, (4, 4, 4, 4), mode="reflect")
    top, left = (torch.randint(9, (n, 1), device=images.device) for _ in range(2))
    columns = torch.arange(width, device=images.device).expand(n, width)
    columns = torch.where(torch.rand(n, 1, device=images.device) < 0.5, columns.flip(1), columns) + left
    rows = torch.arange(height, device=images.device) + top
    return padded[torch.arange(n, device=images.device)[:, None, None], :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
