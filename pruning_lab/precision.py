"""How exactly a device multiplies."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


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
