"""Which units the loss of an image answers to: one forward and one backward pass, whatever the net is made of."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .. import samples
from ..samples import wide
from .quiet import BATCH, like, quiet, slopes


class Seen(NamedTuple):
    """Of each unit of a layer: the share of images with a gradient at its output, and the mean first-order change of an
    image's loss without it, |sum over positions of output times gradient|; both [units] float64.
    """

    moved: Tensor
    worth: Tensor


def seen(model: nn.Module, split, layers: Iterable[str], limit: int | None = None) -> dict[str, Seen]:
    """What the loss says of the units of linear and convolutional layers, by name, on the first `limit` images.

    A unit that a ReLU behind it always shuts, and one that nothing reads, moves for no image. Left out are layers that
    do not run, and those whose outputs are not one group of rows an image. The net stays as it is. ValueError: images
    or labels that do not fit the net; a loss that cannot be differentiated.
    """
    images, labels = samples.checked(split)
    samples.check_pictures(images)
    sums, images, labels = {}, images[:limit], labels[:limit]
    target, named = like(model), {name: model.get_submodule(name) for name in layers}
    with quiet(model, gradients=True):
        for x, y in zip(images.split(BATCH), labels.split(BATCH), strict=True):
            for name, part in _of_batch(model, named, x.to(target), y.to(target.device, torch.int64)).items():
                sums[name] = sums.get(name, 0) + part
    return {name: Seen(*(both / len(labels))) for name, both in sums.items()}


def _of_batch(model: nn.Module, named: dict[str, nn.Module], x: Tensor, y: Tensor) -> dict[str, Tensor]:
    """Sums over a batch, [2, units] float64, of each layer that ran."""
    outputs: dict[str, list[Tensor]] = {}
    products: dict[str, list[Tensor]] = {name: [] for name in named}

    def keep(name: str, layer: nn.Module):
        def hook(_, __, output):
            if isinstance(output, Tensor) and output.requires_grad:
                value = output.detach().clone()  # an activation in place would write over it
                outputs.setdefault(name, []).append(value)
                output.register_hook(lambda gradient: products[name].append(_rows(layer, value, gradient, len(x))))

        return hook

    handles = [layer.register_forward_hook(keep(name, layer)) for name, layer in named.items()]
    try:
        x = x.detach().clone().requires_grad_()  # layers behind it have gradients, be their weights frozen or not
        logits = model(x)
        samples.check_logits(logits, y)
        slopes(F.cross_entropy(wide(logits), y, reduction="sum"), x, model)
    finally:
        for handle in handles:
            handle.remove()
    return {name: _summed(parts) for name, parts in products.items() if parts and all(p is not None for p in parts)}


def _rows(layer: nn.Module, output: Tensor, gradient: Tensor, images: int) -> Tensor | None:
    """Products and magnitudes of gradients by image and unit, [2, images, units] float64; None: no group an image."""
    dim = 1 if isinstance(layer, nn.modules.conv._ConvNd) else -1
    both = [t.movedim(dim, -1) for t in (output, gradient)]
    if len(output) % images or not len(output):
        return None
    values, slopes = (wide(t).reshape(images, -1, t.shape[-1]).double() for t in both)
    return torch.stack([(values * slopes).sum(1), slopes.abs().amax(1)]).cpu()


def _summed(parts: list[Tensor]) -> Tensor:
    """Over calls of a layer and images: how often a gradient is there, and the change of the loss, [2, units]."""
    product, slope = sum(part[0] for part in parts), sum(part[1] for part in parts)
    return torch.stack([(slope > 0).sum(0).double(), product.abs().sum(0)])
