"""How exactly a device multiplies, and nets while they are measured."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def tensor_float_32(allowed: bool) -> Iterator[None]:
    """TensorFloat-32 products (10 bits of mantissa) on CUDA allowed or not; afterwards everything is as it was."""
    products, convolutions = torch.backends.cuda.matmul, torch.backends.cudnn
    before = products.allow_tf32, convolutions.allow_tf32
    products.allow_tf32 = convolutions.allow_tf32 = allowed
    try:
        yield
    finally:
        products.allow_tf32, convolutions.allow_tf32 = before


@contextmanager
def evaluation(model: nn.Module, gradients: bool = False) -> Iterator[None]:
    """Evaluation mode without TensorFloat-32, gradients only where they are asked for; afterwards all is as it was."""
    flags = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.set_grad_enabled(gradients), tensor_float_32(False):
            yield
    finally:
        for module, training in flags:
            module.training = training
