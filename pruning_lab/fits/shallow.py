"""One-hidden-layer nets under squared loss: SGD with momentum, its gradients written out.

Six thousand epochs of a tiny net are a hundred thousand steps: autograd would take longer than the arithmetic.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch

CHECKED = 10  # epochs after which the training error is looked at, where training may stop early


class Shallow(NamedTuple):
    """The weights of a net: `inner` [inputs, H], `shift` [H], `outer` [H, outputs], `base` [outputs]."""

    inner: torch.Tensor
    shift: torch.Tensor
    outer: torch.Tensor
    base: torch.Tensor

    @property
    def parameters(self) -> int:
        """(d + 1) H + (H + 1) K."""
        return sum(part.numel() for part in self)

    def hidden(self, images: torch.Tensor) -> torch.Tensor:
        """What the hidden units give, [n, H]."""
        return torch.addmm(self.shift, images, self.inner).relu_()

    @property
    def norm(self) -> float:
        """Of all weights and shifts as one vector."""
        return math.sqrt(sum(part.double().square().sum().item() for part in self))

    def to(self, device: torch.device) -> Shallow:
        """The net on a device."""
        return Shallow(*(part.to(device) for part in self))

    def outputs(self, images: torch.Tensor) -> torch.Tensor:
        """What the net gives, [n, outputs]."""
        return torch.addmm(self.base, self.hidden(images), self.outer)


@dataclass(frozen=True)
class Rule:
    """How such a net is trained: the rate is multiplied by `decay` after every `every` epochs; `stop` at zero error."""

    epochs: int
    lr: float = 0.01
    momentum: float = 0.95
    batch: int = 128
    decay: float = 1.0
    every: int = 500
    stop: bool = False


def glorot(inputs: int, width: int, outputs: int, draw: torch.Generator) -> Shallow:
    """A net of uniform weights within +-sqrt(6 / (fan in + fan out)), shifts zero (Glorot & Bengio 2010)."""
    shapes = (inputs, width), (width, outputs)
    inner, outer = ((2 * torch.rand(shape, generator=draw) - 1) * math.sqrt(6 / sum(shape)) for shape in shapes)
    return Shallow(inner, torch.zeros(width), outer, torch.zeros(outputs))


def widened(net: Shallow, width: int, draw: torch.Generator, sd: float) -> Shallow:
    """A wider net that begins with a smaller one's weights; those of its new units are normal, their shifts zero.

    ValueError: it would not be wider.
    """
    (inputs, old), outputs = net.inner.shape, net.outer.shape[1]
    if width < old:
        raise ValueError(f"a net of {old} units cannot begin one of {width}: give widths in ascending order")
    new = width - old
    more = sd * torch.randn(inputs, new, generator=draw), sd * torch.randn(new, outputs, generator=draw)
    extra = Shallow(more[0], torch.zeros(new), more[1], net.base).to(net.inner.device)
    inner, outer = torch.cat([net.inner, extra.inner], dim=1), torch.cat([net.outer, extra.outer])
    return Shallow(inner, torch.cat([net.shift, extra.shift]), outer, net.base.clone())


def gradients(net: Shallow, images: torch.Tensor, targets: torch.Tensor) -> Shallow:
    """Of the mean over images of the squared distance to their targets, in the order of the weights."""
    hidden = net.hidden(images)
    error = torch.addmm(net.base, hidden, net.outer).sub_(targets).mul_(2 / len(images))
    back = (error @ net.outer.T).mul_(hidden > 0)
    return Shallow(images.T @ back, back.sum(0), hidden.T @ error, error.sum(0))


@torch.inference_mode()
def train(
    net: Shallow, images: torch.Tensor, targets: torch.Tensor, rule: Rule, draw: torch.Generator
) -> tuple[Shallow, int]:
    """The trained net, and the number of epochs that it took; the one given stays as it was.

    images: [n, inputs]. targets: [n, outputs]; the class of an image is its largest. draw: of the order of images.

    FloatingPointError: the weights are not finite.
    """
    weights = torch.cat([part.flatten() for part in net])  # all in one row: a step is then two sums, not eight
    moved, net, taken = torch.zeros_like(weights), _parts(weights, net), rule.epochs
    for epoch in range(rule.epochs):
        lr = rule.lr * rule.decay ** (epoch // rule.every)
        for rows in torch.randperm(len(images), generator=draw).to(images.device).split(rule.batch):
            step = gradients(net, images[rows], targets[rows])
            moved.mul_(rule.momentum).add_(torch.cat([part.flatten() for part in step]))
            weights.add_(moved, alpha=-lr)
        if (epoch + 1) % CHECKED == 0 and rule.stop and error_of(net, images, targets) == 0:
            taken = epoch + 1
            break
    if not torch.isfinite(weights).all():
        raise FloatingPointError(f"the weights are not finite after {taken} epochs at rate {rule.lr}: lower it")
    return net, taken


def _parts(weights: torch.Tensor, like: Shallow) -> Shallow:
    """Weights in one row as those of a net, in the same memory."""
    rows = weights.split([part.numel() for part in like])
    return Shallow(*(row.view(part.shape) for row, part in zip(rows, like, strict=True)))


def error_of(net: Shallow, images: torch.Tensor, targets: torch.Tensor) -> float:
    """Share of images whose largest output is not their class."""
    return (net.outputs(images).argmax(1) != targets.argmax(1)).float().mean().item()
