"""A layer that its class does not tell: what it gives must be, in every chunk, what the formula takes it to give."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .calls import Call, Place
from .parts import Formula

_ROUNDING = 300  # eps of the largest entry of a sample, and more of sums


@dataclass(frozen=True)
class Tried:
    """A formula that autograd has confirmed for the first samples, and what the layer gives where it holds."""

    formula: Formula
    base: type[nn.Module]
    gives: Callable[[type[nn.Module], nn.Module, Tensor], Tensor]

    def __call__(self, module: nn.Module, x: Tensor, d: Tensor) -> dict:
        return self.formula(module, x, d)

    @torch.no_grad()
    def holds(self, call: Call, place: Place) -> bool:
        """Whether a call has given, up to rounding, what the formula takes it to give."""
        x, out = call.read[0].detach(), call.gave[0].detach()
        if self.gives is plain and self.base in _WEIGHTED:
            found, expected, terms = _WEIGHTED[self.base](self.base, call.module, x, out)
        else:
            found, expected, terms = out, self.gives(self.base, call.module, x), 1
        if found.shape != expected.shape:
            return False
        largest = place.first(out).flatten(1).abs().amax(1)
        off = place.first((found - expected).abs()).flatten(1).amax(1)
        return bool((off <= _ROUNDING * torch.finfo(out.dtype).eps * terms**0.5 * largest).all())


def plain(base: type[nn.Module], module: nn.Module, x: Tensor) -> Tensor:
    """What the layer's class gives."""
    return base.forward(module, x)


def followed(base: type[nn.Module], module: nn.Module, x: Tensor) -> Tensor:
    """What the layer's children make of that."""
    return behind(module, base.forward(module, x))


def behind(module: nn.Module, inner: Tensor) -> Tensor:
    """What a module's children make of something, one after the other."""
    out = inner * 1  # which an activation may change in place
    for child in module.children():
        out = child(out)
    return out


def channels_second(base: type[nn.Module], module: nn.Module, x: Tensor) -> Tensor:
    """What the layer's class gives over the channels of images, [n, channels, ...]."""
    return base.forward(module, x.movedim(1, -1)).movedim(-1, 1)


def _signs(outputs: int, like: Tensor) -> Tensor:
    """Signs drawn at random, [outputs]: their sum is off where one output is (Freivalds 1977)."""
    drawn = torch.randint(2, (outputs,), generator=torch.Generator().manual_seed(0))
    return (2 * drawn - 1).to(like)


def _linear(base: type[nn.Module], module: nn.Linear, x: Tensor, out: Tensor) -> tuple[Tensor, Tensor, int]:
    """Sums of all outputs with random signs, as given and as the class gives them, and their number of terms."""
    signs = _signs(module.out_features, out)
    expected = x @ (signs @ module.weight)
    expected = expected if module.bias is None else expected + signs @ module.bias
    return (out @ signs)[..., None], expected[..., None], module.out_features


def _conv(base: type[nn.Module], module: nn.Conv1d | nn.Conv2d, x: Tensor, out: Tensor) -> tuple[Tensor, Tensor, int]:
    """As `_linear`, of the filters of each group."""
    signs = _signs(module.out_channels, out).view(module.groups, -1)
    weight = torch.einsum("gf,gf...->g...", signs, module.weight.unflatten(0, signs.shape))
    bias = None if module.bias is None else (signs * module.bias.view_as(signs)).sum(1)
    expected = base._conv_forward(module, x, weight, bias)
    found = torch.einsum("gf,ngf...->ng...", signs, out.unflatten(1, signs.shape))
    return found, expected, signs.shape[1]


_WEIGHTED = {nn.Linear: _linear, nn.Conv1d: _conv, nn.Conv2d: _conv}
