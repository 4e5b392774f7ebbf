"""When a training ends before its limit: at a training loss, or once enough training images have a margin."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn

from .. import losses
from ..data import Split
from .recipe import Recipe

REACHED = dict(loss="loss_reached", margin="margin_reached")  # what a rule reads -> the column that says it is met


def columns(recipe: Recipe) -> list[str]:
    """What the rules of a recipe add to the row of an epoch."""
    names = ["evaluated_loss"] if recipe.stop_reading == "evaluated" else []
    names += ["loss_reached"] if recipe.stop_loss is not None else []
    return names + (["margin_share", "margin_reached"] if recipe.stop_margin is not None else [])


def read(model: nn.Module, train: Split, recipe: Recipe, running: float) -> dict[str, float]:
    """The values of these `columns` after an epoch whose running loss is known; the model is in evaluation mode.

    Rules are read on all images that train, without augmentation; reached is 0 or 1.
    """
    row: dict[str, float] = _reread(model, train, recipe) if recipe.rereads else {}
    if recipe.stop_loss is not None:
        row["loss_reached"] = int(row.get("evaluated_loss", running) <= recipe.stop_loss)
    if recipe.stop_margin is not None:
        row["margin_reached"] = int(row["margin_share"] >= recipe.stop_margin[0])
    return {name: row[name] for name in columns(recipe)}


def met(row: Mapping[str, float]) -> tuple[str, ...]:
    """Which rules the row of an epoch meets: some of "loss" and "margin"."""
    return tuple(what for what, column in REACHED.items() if row.get(column))


def stopped(rows: Sequence[Mapping[str, float]]) -> tuple[int, tuple[str, ...]] | None:
    """The epoch after which a training met a rule, and which; None: it went to its limit without."""
    why = met(rows[-1]) if rows else ()
    return (int(rows[-1]["epoch"]), why) if why else None


def margins(outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """How far each image's true output is ahead of its largest other one, [n]; negative where it is behind."""
    true = labels[:, None]
    return outputs.gather(1, true)[:, 0] - outputs.scatter(1, true, -torch.inf).amax(1)


@torch.inference_mode()
def _reread(model: nn.Module, train: Split, recipe: Recipe, batch: int = 1000) -> dict[str, float]:
    """Mean loss of the training images, and the share of them that has the margin, by their columns' names."""
    loss, wide = 0.0, 0
    for x, y in zip(train.images.split(batch), train.labels.split(batch), strict=True):
        outputs = model(x)
        loss += losses.summed(recipe.loss, outputs, y).item()
        if recipe.stop_margin is not None:
            wide += (margins(outputs, y) >= recipe.stop_margin[1]).sum().item()
    return dict(evaluated_loss=loss / len(train), margin_share=wide / len(train))
