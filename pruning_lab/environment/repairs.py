"""What is mended in the libraries below: glibc hands memory back too early, torchvision may not fit its torch."""

from __future__ import annotations

import ctypes
import sys
from functools import cache
from types import ModuleType

import torch


@cache
def reuse_memory() -> bool:
    """Let this process keep the memory that tensors free for the next batch; whether its C library can (glibc can).

    By default glibc maps every large block anew and hands it back to the system, which clears each page of it:
    evaluating a net with large activations on a CPU is then three times as slow. Memory at the peak stays about the
    same.

    >>> from pruning_lab import environment
    >>> environment.reuse_memory() in (True, False)
    True
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, TypeError, AttributeError):  # Windows has no such name, macOS and musl no such function
        return False
    return all([mallopt(_MAPPED_BLOCKS, 0), mallopt(_KEPT_BYTES, 2**31 - 1)])


_MAPPED_BLOCKS, _KEPT_BYTES = -4, -1  # M_MMAP_MAX and M_TRIM_THRESHOLD of malloc.h


def import_torchvision() -> ModuleType:
    """torchvision, also where its compiled operators do not fit the torch beside it.

    A CUDA build of torchvision beside a CPU-only torch fails at import because `torchvision::nms` and then `qnms` do
    not exist (pytorch/vision issues 9077, 9085). Declaring the two schemas makes models and data sets usable.

    >>> from pruning_lab import environment
    >>> environment.import_torchvision().__name__
    'torchvision'
    """
    try:
        import torchvision
    except RuntimeError as error:
        if "torchvision::" not in str(error):
            raise
        _declare_operators()
        for name in [n for n in sys.modules if n.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        import torchvision
    return torchvision


def _declare_operators() -> None:
    schemas = [f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor" for name in ("nms", "qnms")]
    for schema in schemas:
        if not hasattr(torch.ops.torchvision, schema.split("(")[0]):
            _LIBRARIES.append(torch.library.Library("torchvision", "FRAGMENT"))
            _LIBRARIES[-1].define(schema)


_LIBRARIES: list[torch.library.Library] = []  # a library that is collected takes its schemas with it
