"""A net while it is measured: in evaluation mode, and afterwards as it was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from .. import samples
from ..precision import evaluation

BATCH = 64  # images that pass at once; changes speed and memory, no answer


@contextmanager
def quiet(model: nn.Module, gradients: bool = False) -> Iterator[None]:
    """Evaluation mode, no TensorFloat-32, gradients only where they are asked for; afterwards all is as it was."""
    with torch.inference_mode(False), evaluation(model, gradients):
        yield


def like(model: nn.Module) -> Tensor:
    """A tensor of the type and on the device that a model computes in."""
    return next((p for p in model.parameters() if p.is_floating_point()), torch.zeros(()))


def accuracy(model: nn.Module, split, limit: int | None = None) -> float:
    """The share of the first `limit` images of a split that a net names rightly, in [0, 1].

    ValueError: images or labels that do not fit the net.
    """
    images, labels = samples.checked(split)
    samples.check_pictures(images)
    images, labels, target, hits = images[:limit], labels[:limit], like(model), 0
    with quiet(model):
        for x, y in zip(images.split(BATCH), labels.split(BATCH), strict=True):
            logits = model(x.to(target))
            samples.check_logits(logits, y)
            hits += int((logits.argmax(1) == y.to(logits.device)).sum())
    return hits / len(labels)


def slopes(loss: Tensor, images: Tensor, model: nn.Module) -> None:
    """Carry a loss's gradient back through a model: to the images, or, where these are looked up, to the weights.

    Hooks see it on the way. RuntimeError: there is nothing that the loss could be differentiated by.
    """
    if torch.autograd.grad(loss, images, allow_unused=True)[0] is None:
        torch.autograd.grad(loss, [p for p in model.parameters() if p.requires_grad], allow_unused=True)
