"""What belongs to units that go together: rows, columns and entries of many tensors, set to zero or really cut away."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ...nets.between import owned

STATISTICS = ("running_mean", "running_var")  # cut with a unit, but not set to zero: a variance is none
_EACH = ("weight", "bias", *STATISTICS)


class Cut(NamedTuple):
    """What one module loses: along one dimension of each of its tensors, the positions of each unit."""

    module: str
    tensors: tuple[tuple[str, int], ...]  # attribute and dimension
    positions: tuple[tuple[int, ...], ...]  # by unit
    sizes: tuple[str, ...] = ()  # attributes that say how many there are
    reads: bool = False  # it reads the units, so that zeros here silence them

    def of(self, units: Iterable[int]) -> list[int]:
        """The positions of several units, in order."""
        return sorted(p for unit in units for p in self.positions[unit])


def depthwise(module: nn.Module) -> bool:
    """Whether a module is a convolution of each channel alone, so that its units go with what feeds them."""
    conv = isinstance(module, nn.modules.conv._ConvNd)
    return conv and 1 < module.groups == module.in_channels == module.out_channels


def grouped(module: nn.Module) -> bool:
    """Whether a module is a convolution of several channels at a time, whose groups go whole."""
    return isinstance(module, nn.modules.conv._ConvNd) and module.groups > 1 and not depthwise(module)


def is_norm(module: nn.Module) -> bool:
    """Whether a module has something for each channel, or looks at it alone."""
    return isinstance(module, nn.modules.batchnorm._NormBase) or owned(module)


def mixes(module: nn.Module) -> bool:
    """Whether a module is a norm over several channels."""
    several = isinstance(module, nn.GroupNorm) and module.num_groups != module.num_channels
    return several or isinstance(module, nn.LayerNorm | nn.RMSNorm)


def cut_of(name: str, module: nn.Module, reads: bool, positions: Sequence[Sequence[int]]) -> Cut | None:
    """What a layer or a norm loses on the side where it reads the units, or gives them; None: it has nothing of them.

    ValueError: a kind of module whose parts are not known, or one that mixes channels.
    """
    held = tuple(tuple(sorted(p)) for p in positions)
    if mixes(module):
        kind = type(module).__name__
        raise ValueError(f"its channels go through a {kind} ({name!r}), whose mean and variance are over all of them")
    if isinstance(module, nn.PReLU) and not owned(module):
        return None
    if is_norm(module):
        sizes = [s for s in ("num_features", "num_channels", "num_groups", "num_parameters") if hasattr(module, s)]
        return Cut(name, tuple((a, 0) for a in _EACH), held, tuple(sizes))
    if depthwise(module):
        return Cut(name, (("weight", 0), ("bias", 0)), held, ("in_channels", "out_channels", "groups"))
    if not isinstance(module, nn.Linear | nn.modules.conv._ConvNd):
        raise ValueError(f"{name!r}, a {type(module).__name__}, reads them in a way of its own")
    sides = ("in_features", "out_features") if isinstance(module, nn.Linear) else ("in_channels", "out_channels")
    turned = getattr(module, "transposed", False)  # such a convolution has its inputs first
    if reads:
        return Cut(name, (("weight", 0 if turned else 1),), held, sides[:1], reads=True)
    return Cut(name, (("weight", 1 if turned else 0), ("bias", 0)), held, sides[1:])


def _tensor(model: nn.Module, cut: Cut, attribute: str) -> Tensor | None:
    return getattr(model.get_submodule(cut.module), attribute, None)


@torch.no_grad()
def zero(model: nn.Module, cuts: Iterable[Cut], units: Sequence[int]) -> None:
    """Sets to zero, in place, what units have in these cuts; running statistics stay."""
    for cut in cuts:
        for attribute, dim in cut.tensors:
            tensor = _tensor(model, cut, attribute)
            if tensor is not None and attribute not in STATISTICS:
                tensor.index_fill_(dim, torch.tensor(cut.of(units), dtype=torch.int64, device=tensor.device), 0)


@contextmanager
def zeroing(model: nn.Module, cuts: Sequence[Cut], units: Sequence[int]) -> Iterator[None]:
    """Zeros in these cuts while it lasts; afterwards each tensor has its numbers again, bit by bit."""
    touched = [_tensor(model, cut, a) for cut in cuts for a, _ in cut.tensors if a not in STATISTICS]
    held = [(t, t.detach().clone()) for t in touched if t is not None]
    zero(model, cuts, units)
    try:
        yield
    finally:
        with torch.no_grad():
            for tensor, numbers in reversed(held):
                tensor.copy_(numbers)


def take_away(model: nn.Module, cuts: Iterable[Cut], units: Sequence[int]) -> None:
    """Cuts units off, in place: smaller tensors, and sizes that say so."""
    for cut in cuts:
        module, gone = model.get_submodule(cut.module), cut.of(units)
        for attribute, dim in cut.tensors:
            if (tensor := getattr(module, attribute, None)) is not None:
                setattr(module, attribute, _without(tensor, dim, gone))
        for size in cut.sizes:
            setattr(module, size, getattr(module, size) - len(gone))


def _without(tensor: Tensor, dim: int, gone: Sequence[int]) -> Tensor:
    kept = torch.ones(tensor.shape[dim], dtype=torch.bool)
    kept[list(gone)] = False
    small = tensor.detach().index_select(dim, kept.nonzero()[:, 0].to(tensor.device))
    return nn.Parameter(small, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else small
