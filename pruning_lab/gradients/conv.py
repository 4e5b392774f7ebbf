"""Convolutions in one and two dimensions, with any stride, padding, dilation and groups."""

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .parts import PATCHES, Formed, Formula, Product, over_positions
from .sums import budget


def conv(module: nn.Conv1d | nn.Conv2d, x: Tensor, d: Tensor):
    """Weight: output gradients times patches of the input, summed over positions; bias: d_i summed over positions.

    `x` [n, channels, ...], `d` [n, filters, ...].
    """
    inputs = module.weight[0].numel()
    product = partial(Product, d.flatten(2).unflatten(1, (module.groups, -1)), x, partial(patches, module), inputs)
    return {
        "weight": (lambda: Formed(depthwise(module, x, d), weights=True))
        if _is_depthwise(module, d)
        else partial(product, lazy=True),
        "bias": lambda: Formed(d.flatten(2).sum(2), over_positions(d.flatten(2))),
    }


def _is_depthwise(module: nn.Module, d: Tensor) -> bool:
    """Whether each channel has one filter, and there are many places to put it: unfolding would copy each pixel for
    each of the filter's weights.
    """
    alone = module.weight.shape[1] == 1 and module.weight.shape[0] == module.groups
    plain = module.weight.ndim == 4 and module.dilation == (1, 1) and module.kernel_size[0] > 1
    return alone and plain and d[0, 0].numel() > 1


def depthwise(module: nn.Conv2d, x: Tensor, d: Tensor) -> Tensor:
    """Gradients of all samples, [n, channels, 1, kernel, kernel]: rows are unfolded, columns are not."""
    size = x[0].numel() * module.kernel_size[1]
    step = PATCHES * budget(d.device, size, d.element_size())
    return torch.cat([_by_rows(module, *some) for some in zip(x.split(step), d.split(step), strict=True)])


def _by_rows(module: nn.Conv2d, x: Tensor, d: Tensor) -> Tensor:
    (height, width), (down, right) = module.kernel_size, module.stride
    lines = padded(module, x).unfold(3, width, right).contiguous()  # [n, channels, lines, columns of the output, width]
    d_flat = d.flatten(0, 1).flatten(1)[:, None]
    last = (d.shape[2] - 1) * down + 1
    each = [lines[:, :, k : k + last : down].flatten(0, 1).flatten(1, 2) for k in range(height)]
    return torch.cat([torch.bmm(d_flat, u) for u in each], 1).view(len(x), -1, 1, height, width)


def padded(module: nn.Conv1d | nn.Conv2d, x: Tensor) -> Tensor:
    """What the layer has read with its border around it; left and right may differ, and the border may be a mirror."""
    if not any(module._reversed_padding_repeated_twice):
        return x
    mode = "constant" if module.padding_mode == "zeros" else module.padding_mode
    return F.pad(x, module._reversed_padding_repeated_twice, mode=mode)


def patches(module: nn.Conv1d | nn.Conv2d, x: Tensor) -> Tensor:
    """What each position of the output reads, [n, groups, inputs, positions]."""
    x = padded(module, x)
    kernel, stride, dilation = (
        (1, *t) if x.ndim == 3 else t for t in (module.kernel_size, module.stride, module.dilation)
    )
    x = x.unsqueeze(2) if x.ndim == 3 else x
    alone = kernel == (1, 1)  # a position reads a pixel: nothing to copy
    columns = x[:, :, :: stride[0], :: stride[1]].flatten(2) if alone else F.unfold(x, kernel, dilation, 0, stride)
    return columns.unflatten(1, (module.groups, -1))


def fits(module: nn.Module, dim: int, share: int, ndim: int) -> bool:
    """Samples come first, one image each."""
    return dim == 0 and share == 1 and ndim == module.weight.ndim


FORMULAS: dict[type, tuple[Formula, object]] = {nn.Conv1d: (conv, fits), nn.Conv2d: (conv, fits)}
