"""Convolutions in one and two dimensions, with any stride, padding, dilation and groups."""

import torch.nn.functional as F
from torch import Tensor, nn

from .parts import Formed, Formula, Product, over_positions


def conv(module: nn.Conv1d | nn.Conv2d, x: Tensor, d: Tensor):
    """Weight: output gradients times patches of the input, summed over positions; bias: d_i summed over positions.

    `x` [n, channels, ...], `d` [n, filters, ...].
    """
    inputs = module.weight[0].numel()
    return {
        "weight": lambda: Product(
            d.flatten(2).unflatten(1, (module.groups, -1)), x, lambda some: patches(module, some), inputs, lazy=True
        ),
        "bias": lambda: Formed(d.flatten(2).sum(2), over_positions(d.flatten(2))),
    }


def patches(module: nn.Conv1d | nn.Conv2d, x: Tensor) -> Tensor:
    """What each position of the output reads, [n, groups, inputs, positions]."""
    if any(module._reversed_padding_repeated_twice):  # left and right may differ, and the border may be a mirror
        mode = "constant" if module.padding_mode == "zeros" else module.padding_mode
        x = F.pad(x, module._reversed_padding_repeated_twice, mode=mode)
    kernel, stride, dilation = (
        (1, *t) if x.ndim == 3 else t for t in (module.kernel_size, module.stride, module.dilation)
    )
    x = x.unsqueeze(2) if x.ndim == 3 else x
    alone = kernel == (1, 1)  # a position reads a pixel: nothing to copy
    found = x[:, :, :: stride[0], :: stride[1]].flatten(2) if alone else F.unfold(x, kernel, dilation, 0, stride)
    return found.unflatten(1, (module.groups, -1))


def fits(module: nn.Module, dim: int, share: int, ndim: int) -> bool:
    """Samples come first, one image each."""
    return dim == 0 and share == 1 and ndim == module.weight.ndim


FORMULAS: dict[type, tuple[Formula, object]] = {nn.Conv1d: (conv, fits), nn.Conv2d: (conv, fits)}
