"""Training one net: `fit`, which resumes after being killed with the result of an unbroken run, and its loop."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from .. import losses
from ..data import Split
from ..literal import plain
from ..precision import tensor_float_32
from . import checkpoint, stopping
from .hooks import EACH_EPOCH, Hook, Hooks, When, own_random_numbers
from .recipe import Recipe, crop_flip, derived_seed, hold_out
from .state import History, State

__all__ = ["EACH_EPOCH", "Hook", "When", "evaluate", "fit"]


def evaluate(model: nn.Module, split: Split, batch: int = 1000, loss: str = "cross_entropy") -> tuple[float, float]:
    """Mean loss (one of `losses.LOSSES`) and accuracy in [0, 1], in evaluation mode; the model's mode is put back.

    >>> from pruning_lab import data, models
    >>> from pruning_lab.training import fit
    >>> digits = data.load("digits", "test", limit=20, device="cpu")
    >>> loss, accuracy = fit.evaluate(models.build("mlp", (1, 8, 8), width=4), digits)
    >>> loss > 0, 0 <= accuracy <= 1
    (True, True)
    """
    was_training, total, right = model.training, 0.0, 0
    model.eval()
    with torch.inference_mode():
        for x, y in zip(split.images.split(batch), split.labels.split(batch), strict=True):
            logits = model(x)
            total += losses.summed(loss, logits, y).item()
            right += (logits.argmax(1) == y).sum().item()
    model.train(was_training)
    return total / len(split), right / len(split)


def fit(
    model: nn.Module,
    train: Split,
    test: Split,
    recipe: Recipe,
    *,
    seed: int = 0,
    mask: Mapping[str, torch.Tensor] | None = None,
    hooks: Iterable[tuple[When, Hook]] = (),
    checkpoint_file: Path | None = None,
    save_every: float = 30.0,
) -> History:
    """Train in place on the data's device and return the history; the model ends in evaluation mode.

    Args:
        mask: parameter name -> bool tensor of its shape; where False, the weight is zero after every step.
        hooks: pairs (when, hook). `hook(number, model)` looks at the model in evaluation mode and returns numbers and
            tensors by name: columns of its row. When is `EACH_EPOCH`, and the row that of the epoch of this number;
            or some iterations (0: before the first), and the row that of this iteration in `history.snapshots`; those
            past the end of a training that stops early are not looked at.
        checkpoint_file: file to save to (at most every `save_every` seconds) and to resume from; removed by the caller.

    Raises:
        ValueError: a mask or a hook that this training cannot have. FloatingPointError: the loss is not finite.
        MemoryError: the device's memory does not suffice.

    >>> from pruning_lab import Recipe, data, models
    >>> from pruning_lab.training import fit
    >>> train, test = (data.load("digits", half, limit=20, device="cpu") for half in ("train", "test"))
    >>> net = models.build("mlp", (1, 8, 8), width=4)
    >>> mask = {"fc1.weight": net.fc1.weight > 0}
    >>> history = fit.fit(net, train, test, Recipe(epochs=2), mask=mask)
    >>> bool((net.fc1.weight[~mask["fc1.weight"]] == 0).all())  # a pruned weight stays zero
    True
    """
    device = train.images.device
    model.to(device)
    if device.type != "mps" and any(isinstance(m, nn.Conv2d) for m in model.modules()):
        model.to(memory_format=torch.channels_last)  # 10 to 15 % faster on two CPU cores
    run = _Run(model, (train, test), recipe, seed, mask or {}, hooks, checkpoint_file)
    try:
        with own_random_numbers(device), tensor_float_32(recipe.precision == "tf32"):
            run.go(save_every)
    except torch.OutOfMemoryError as error:
        size = f"{sum(p.numel() for p in model.parameters()):,} parameters with batches of {recipe.batch}"
        mend = "lower the recipe's batch or the model's width"
        raise MemoryError(f"{type(model).__name__} of {size} does not fit on {device}: {mend} ({error})") from error
    run.finish()
    history = run.state.history
    if "ipykernel" in sys.modules:  # a progress bar needs a terminal
        took = f"{run.state.iteration:,} iterations, {history.seconds:.1f} s"
        print(f"trained on {train.name}: {took}, {_reached(history)}", flush=True)
    return history


def _reached(history: History) -> str:
    words = f"test {100 * history.rows[-1]['test_accuracy']:.1f} %"
    return f"{words}, stopped by its {' and '.join(history.stopped[1])}" if history.stopped else words


def _removed(model: nn.Module, mask: Mapping[str, torch.Tensor]) -> dict[str, tuple[nn.Parameter, torch.Tensor]]:
    """Name -> a parameter and where a mask removes its weights. ValueError: a mask that the model cannot have."""
    parameters = dict(model.named_parameters())
    if unknown := mask.keys() - parameters.keys():
        raise ValueError(f"mask for {sorted(unknown)}, which the model does not have; it has {sorted(parameters)}")
    for name, m in mask.items():
        if m.dtype != torch.bool or m.shape != parameters[name].shape:
            expected = f"expected torch.bool {list(parameters[name].shape)}, True where a weight stays"
            raise ValueError(f"mask for {name!r} is {m.dtype} {list(m.shape)}: {expected}")
    return {name: (parameters[name], ~m.to(parameters[name].device)) for name, m in mask.items()}


class _Run:
    """The loop of one training: its steps, epochs and snapshots; where it stands is its `state`."""

    def __init__(
        self,
        model: nn.Module,
        splits: tuple[Split, Split],
        recipe: Recipe,
        seed: int,
        mask: Mapping[str, torch.Tensor],
        hooks: Iterable[tuple[When, Hook]] = (),
        file: Path | None = None,
    ) -> None:
        self.model, self.recipe, self.seed = model, recipe, plain(seed)
        self.train, self.validation = hold_out(splits[0], recipe.holdout, seed)
        self.test, self.steps = splits[1], recipe.steps(len(self.train))
        few = slice(recipe.tested_on)  # of the test images: seen after each epoch but the last
        self.few = replace(self.test, images=self.test.images[few], labels=self.test.labels[few])
        self.hooks, self.masked = Hooks(hooks, self.steps), _removed(model, mask)
        self.apply_mask()
        own = self.identity() if file else {}
        self.state = State(model, recipe, len(self.train), self.hooks.due, file, own)

    def identity(self) -> dict[str, Any]:
        """What a checkpoint must agree in to be this run's, which stands at its beginning."""
        shapes, gone = {name: list(p.shape) for name, p in self.model.named_parameters()}, hashlib.sha256()
        for name in sorted(self.masked):
            gone.update(f"\n{name}\n".encode() + np.packbits(self.masked[name][1].cpu().numpy()).tobytes())
        net = dict(shapes=shapes, masked=gone.hexdigest(), begins=checkpoint.digest(self.model.state_dict()))
        seen = dict(data=self.train.digest, test=self.test.digest, snapshot_at=self.hooks.asked())
        scaled = dict(scaled_by=[self.train.scaled_by, self.test.scaled_by], image=list(self.train.images.shape[1:]))
        where = dict(device=self.train.images.device.type, torch=torch.__version__)  # sums round otherwise on others
        return json.loads(json.dumps(dict(recipe=asdict(self.recipe), seed=self.seed) | net | seen | scaled | where))

    def go(self, save_every: float) -> None:
        """Train from where the checkpoint stands, or from the beginning, to the end."""
        state = self.state
        state.resume()
        self.look()
        how = dict(unit="it", disable=None, file=sys.stderr, leave=False, desc=f"training on {self.train.name}")
        with tqdm(total=self.steps, initial=state.iteration, **how) as bar:
            while state.iteration < self.steps and not state.history.stopped:
                self.one_epoch()
                bar.set_postfix_str(_reached(state.history))
                bar.update(state.iteration - bar.n)
                state.save(save_every)

    def apply_mask(self) -> None:
        with torch.no_grad():
            for p, gone in self.masked.values():
                p.masked_fill_(gone, 0.0)

    def one_epoch(self) -> None:
        """Train to the end of the epoch (or of the run), then evaluate."""
        torch.manual_seed(derived_seed(self.seed, "epoch", self.state.epoch))
        order = torch.randperm(len(self.train)) if self.recipe.shuffle else torch.arange(len(self.train))
        order = order.to(self.train.labels.device)
        self.model.train()
        loss, right, seen = torch.zeros((), device=order.device), torch.zeros((), device=order.device), 0
        for batch in order.split(self.recipe.batch)[: self.steps - self.state.iteration]:
            batch_loss, logits = self.step(self.train.images[batch], self.train.labels[batch])
            loss += batch_loss * len(batch)
            right += (logits.argmax(1) == self.train.labels[batch]).sum()
            seen += len(batch)
        self.state.epoch += 1
        self.record(loss.item() / seen, right.item() / seen)

    def step(self, images: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        for group in self.state.optimizer.param_groups:
            group["lr"] = self.recipe.lr_at(self.state.iteration)
        if self.recipe.augmentation == "crop_flip":
            images = crop_flip(images)
        self.state.optimizer.zero_grad(set_to_none=True)
        with torch.autocast(images.device.type, torch.bfloat16, enabled=self.recipe.precision == "bfloat16"):
            logits = self.model(images)
            loss = losses.mean(self.recipe.loss, logits.float(), labels)
        loss.backward()
        self.state.optimizer.step()
        self.apply_mask()
        self.state.iteration += 1
        if self.state.iteration % 100 == 1:  # a look at the loss waits for the device: not at every step
            self.check_finite(loss.item(), self.state.epoch + 1)
        self.look()
        return loss.detach(), logits.detach()

    def look(self) -> None:
        """Take a snapshot if one is due here and not yet taken."""
        iteration, snapshots = self.state.iteration, self.state.history.snapshots
        if iteration not in self.state.due or any(row["iteration"] == iteration for row in snapshots.rows):
            return
        was_training = self.model.training
        self.model.eval()
        row = self.hooks.snapshot(iteration, self.model)
        self.model.train(was_training)
        snapshots.add(row)

    def check_finite(self, loss: float, epoch: int) -> None:
        if not np.isfinite(loss):
            where = f"epoch {epoch}, by iteration {self.state.iteration}"
            lr = self.state.optimizer.param_groups[0]["lr"]
            raise FloatingPointError(f"loss is not finite in {where}, at learning rate {lr:g}; lower it")

    def record(self, loss: float, accuracy: float) -> None:
        state, lr = self.state, self.state.optimizer.param_groups[0]["lr"]
        self.check_finite(loss, state.epoch)
        self.model.eval()
        row = dict(epoch=state.epoch, iteration=state.iteration, lr=lr, train_loss=loss, train_accuracy=accuracy)
        stops = stopping.read(self.model, self.train, self.recipe, loss)
        test = self.test if state.iteration == self.steps or stopping.met(stops) else self.few
        row["test_loss"], row["test_accuracy"] = evaluate(self.model, test, loss=self.recipe.loss)
        if self.recipe.tested_on is not None:
            row["test_images"] = len(test)
        self.check_finite(row["test_loss"], state.epoch)
        if self.validation is not None:
            validated = evaluate(self.model, self.validation, loss=self.recipe.loss)
            row["validation_loss"], row["validation_accuracy"] = validated
            if row["validation_loss"] < min((r["validation_loss"] for r in state.history.rows), default=np.inf):
                state.best = {k: v.clone() for k, v in self.model.state_dict().items()}
        state.history.add(self.hooks.epoch_row(row | stops, state.epoch, self.model))

    def finish(self) -> None:
        """Put the kept weights into the model and check that what the mask removed is exactly zero."""
        if self.recipe.keep == "lowest_validation_loss":
            self.model.load_state_dict(self.state.best)
        self.model.eval()
        self.state.history.seconds = self.state.seconds()
        for p, gone in self.masked.values():
            if p[gone].count_nonzero():
                raise AssertionError("a masked weight is not zero after training")
