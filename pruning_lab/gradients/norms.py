"""Scales and shifts of normalised inputs: LayerNorm, RMSNorm, GroupNorm, and BatchNorm with fixed statistics."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .parts import Formed, Formula, over_positions


def layer_norm(module: nn.LayerNorm, x: Tensor, d: Tensor):
    """Scale: d times the normalised input, summed over tokens; shift: d. `x`, `d` [n, ..., *normalized_shape]."""
    return _last(module, d, lambda: F.layer_norm(x, module.normalized_shape, eps=module.eps))


def rms_norm(module: nn.RMSNorm, x: Tensor, d: Tensor):
    """As `layer_norm`, without mean and shift."""
    return _last(module, d, lambda: F.rms_norm(x, module.normalized_shape, eps=module.eps))


def group_norm(module: nn.GroupNorm, x: Tensor, d: Tensor):
    """Scale: d times the normalised input, summed over a channel's positions; shift: d. `x`, `d` [n, channels, ...]."""
    return _channels(d, lambda: F.group_norm(x, module.num_groups, eps=module.eps))


def batch_norm(module: nn.modules.batchnorm._BatchNorm, x: Tensor, d: Tensor):
    """As `group_norm`, normalised by the running statistics."""
    shape = (-1, *[1] * (x.ndim - 2))
    scale = (module.running_var + module.eps).rsqrt()
    # centred first: a large mean must not cancel
    return _channels(d, lambda: x - module.running_mean.view(shape), scale)


def _last(module, d, normalised):
    def over_tokens(t):
        return t.reshape(len(t), -1, *module.normalized_shape).sum(1)

    one = d.ndim == 1 + len(module.normalized_shape)
    return {
        "weight": lambda: Formed(over_tokens(d * normalised())),
        "bias": lambda: Formed(over_tokens(d), None if one else lambda: over_tokens(d.abs())),
    }


def _channels(d, normalised, scale=1):
    d = d.flatten(2) if d.ndim > 2 else d[:, :, None]
    return {
        "weight": lambda: Formed(torch.einsum("ncl,ncl->nc", d, normalised().reshape(d.shape)) * scale),
        "bias": lambda: Formed(d.sum(2), over_positions(d)),
    }


def trailing(module: nn.LayerNorm | nn.RMSNorm, dim: int, share: int, ndim: int) -> bool:
    """Samples lie along any dimension before those that are normalised."""
    return dim < ndim - len(module.normalized_shape)


def first(module: nn.Module, dim: int, share: int, ndim: int) -> bool:
    """Samples come first, and statistics, where they are stored, are the stored ones."""
    return dim == 0 and share == 1 and getattr(module, "running_mean", module.weight) is not None


FORMULAS: dict[type, tuple[Formula, object]] = {
    nn.LayerNorm: (layer_norm, trailing), nn.RMSNorm: (rms_norm, trailing), nn.GroupNorm: (group_norm, first),
    nn.BatchNorm1d: (batch_norm, first), nn.BatchNorm2d: (batch_norm, first), nn.BatchNorm3d: (batch_norm, first),
}  # fmt: skip
