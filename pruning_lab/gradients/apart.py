"""Whether samples keep apart in a model whatever they show: one of three is no number, and where that goes is seen.

Where it stays in its own third of all that is computed, and no number decides what is computed or in which order, a
few samples of a chunk stand for all. Anywhere else every sample is passed once more in other company.
"""

import warnings
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from .kept import Kept

_THREE = 3
# What may be done with whole numbers and truth values that depend on samples: each entry by itself.
_EACH = frozenset({
    "where", "masked_fill", "masked_fill_", "embedding", "eq", "ne", "lt", "gt", "le", "ge", "logical_and",
    "logical_or", "logical_not", "logical_xor", "bitwise_and", "bitwise_or", "bitwise_not", "bitwise_xor",
    "_to_copy", "clone", "copy_", "detach", "alias", "view", "_unsafe_view", "unsqueeze", "squeeze", "expand",
    "slice", "transpose", "permute", "t", "add", "sub", "mul", "rsub", "neg", "abs", "clamp", "clamp_min",
    "clamp_max", "remainder", "div", "zeros_like", "ones_like", "full_like", "new_zeros", "new_ones",
    "new_full", "empty_like", "new_empty", "isfinite", "isnan",
})  # fmt: skip
# along a dimension
_OVER = frozenset({"sum", "any", "all", "amax", "amin", "argmax", "cumsum", "count_nonzero", "max", "min"})
_REORDERS = frozenset(
    {"index", "index_select", "gather", "cat", "flip", "index_put", "index_put_", "scatter", "index_add", "sort"}
)
# Give what does not depend on numbers they are given, or some of these as they are.
_WITHOUT = frozenset({
    "zeros_like", "ones_like", "full_like", "empty_like", "rand_like", "randn_like", "new_zeros", "new_ones",
    "new_full", "new_empty", "new_empty_strided", "fill", "fill_", "zero_", "index", "index_select", "gather",
})  # fmt: skip


class _Meet(Exception):
    """Samples may meet, or change places, or a number decides what is computed."""


def keep_apart(model: nn.Module, loss: Callable, images: Tensor, labels: Tensor, kept: Kept) -> bool:
    """Whether one of three samples stays by itself in every operation of a forward pass."""
    images = images.clone()
    mode = _Follow()
    if images.is_floating_point():
        images[0] = torch.nan
    else:
        mode.note(images)
    kept.restore()
    try:
        with warnings.catch_warnings(), mode:
            warnings.simplefilter("ignore")  # what is worth a warning is said where samples are numbers
            loss(model(images), labels)
    except torch.OutOfMemoryError:
        raise
    except Exception:  # it looks at numbers, which one sample has not
        return False
    return True


class _Follow(TorchDispatchMode):
    """Looks at all that is computed; `noted` are whole numbers that depend on samples."""

    def __init__(self):
        super().__init__()
        self.noted: dict[int, Tensor] = {}

    def note(self, t: Tensor) -> None:
        self.noted[id(t)] = t

    def follow(self, function, types, args=(), kwargs=None):
        """One operation, and a look at what it was given and what came out."""
        kwargs, name = kwargs or {}, function.overloadpacket.__name__
        given = [t for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)]
        noted = [t for t in given if id(t) in self.noted]
        if noted:
            _check_each(name, noted, args, kwargs)
        if name in _REORDERS and any(_lost(t) for t in given):
            _check_order(name, args, kwargs)
        passes_on = not function.is_view and name not in _WITHOUT
        in_place = passes_on and function._schema.is_mutable
        lost_before = in_place and any(_lost(t) for t in (given[1:] if name == "copy_" else given))
        out = function(*args, **kwargs)
        if not function.is_view or noted:
            self._look(given, bool(noted), out)
        if passes_on and _all_numbers(out) and (lost_before if in_place else any(_lost(t) for t in given)):
            raise _Meet  # where what was lost goes from here cannot be seen
        return out

    def _look(self, given: list[Tensor], noted: bool, out: object) -> None:
        for t in tree_leaves(out):
            if isinstance(t, Tensor) and t.is_floating_point():
                _look_at(t, noted)
            elif noted or any(_lost(g) for g in given):
                if not isinstance(t, Tensor) or not _in_three(t):  # a number that decides, or of all samples
                    raise _Meet
                self.note(t)


# Not in the class, where PyTorch would wrap it in its compiler, whose import takes a second.
_Follow.__torch_dispatch__ = _Follow.follow


def _look_at(t: Tensor, noted: bool) -> None:
    """_Meet unless no number is lost but in its own third; what was made of whole numbers is lost again."""
    if _lost(t):
        if not _alone(t):
            raise _Meet
    elif noted and t.numel():
        if not _in_three(t):
            raise _Meet
        t.detach()[: len(t) // _THREE].fill_(torch.nan)


def _all_numbers(out: object) -> bool:
    """Whether there are floating-point numbers among what came out, and none of them is lost."""
    floats = [t for t in tree_leaves(out) if isinstance(t, Tensor) and t.is_floating_point() and t.numel()]
    return bool(floats) and not any(_lost(t) for t in floats)


def _lost(t: Tensor) -> bool:
    return t.is_floating_point() and bool(t.detach().sum().isnan())


def _in_three(t: Tensor) -> bool:
    return t.ndim > 0 and len(t) % _THREE == 0


def _alone(t: Tensor) -> bool:
    """Whether what is no number lies in the first third along one of the dimensions, or in each third entry of it."""
    for dim in range(t.ndim):
        if t.shape[dim] % _THREE == 0:
            front = t.detach().movedim(dim, 0)
            if not any(front.reshape(_THREE, -1).sum(1).isnan().tolist()[1:]):
                return True
            if not any(front.reshape(-1, _THREE, front[:1].numel()).sum((0, 2)).isnan().tolist()[1:]):
                return True
    return False


def _check_each(name: str, noted: list[Tensor], args: tuple, kwargs: dict) -> None:
    """_Meet where whole numbers that depend on samples do more than stand for themselves."""
    if name in _OVER:
        dims = args[1] if len(args) > 1 else kwargs.get("dim")
        dims = [dims] if isinstance(dims, int) else dims
        if dims and all(d % max(1, noted[0].ndim) for d in dims):
            return
    if name not in _EACH:
        raise _Meet


def _check_order(name: str, args: tuple, kwargs: dict) -> None:
    """_Meet where rows of samples may change places."""
    if name.startswith("index") and isinstance(args[1], list | tuple):
        first = args[1][0] if args[1] else None
        if first is None or first.flatten().tolist() == list(range(_THREE)):
            return
        raise _Meet
    dim = args[1] if len(args) > 1 else kwargs.get("dim", 0)
    dims = dim if isinstance(dim, list | tuple) else [dim]
    ndim = max(t.ndim for t in tree_leaves(args) if isinstance(t, Tensor))
    if any(isinstance(d, int) and d % max(1, ndim) == 0 for d in dims):
        raise _Meet
