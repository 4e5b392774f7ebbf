"""The last plan of each model, by names: made once, and used again while model, loss and kind of input are the same.

Nothing here keeps a model alive, and nothing that is recalled is trusted: the engine compares what it gives with
autograd.
"""

import weakref
from collections.abc import Callable, Hashable

import torch
from torch import Tensor, nn

from .kept import PLAIN
from .plan import Plan

_MOST = 1000  # entries of a list that are looked at
_plans: "weakref.WeakKeyDictionary[nn.Module, tuple[list, dict]]" = weakref.WeakKeyDictionary()


class _Same:
    """Equal to another if both are about the same object and it is still there."""

    def __init__(self, value: object):
        try:
            self.here = weakref.ref(value)
        except TypeError:  # nothing refers to it weakly: by what it shows
            shown = repr(value)
            self.here = lambda: shown

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.here() is not None and self._is(other.here())

    def _is(self, value: object) -> bool:
        mine = self.here()
        return mine is value or (isinstance(mine, str) and mine == value)

    __hash__ = None


def fingerprint(model: nn.Module, image: Tensor, label: Tensor, loss: Callable) -> list:
    """What a plan depends on: modules and their settings, which tensors they share, the kind of samples, the loss."""
    order: dict[Tensor, int] = {}
    return [
        [_kind(image), _kind(label), _Same(loss)],
        [(name, _module(m, order)) for name, m in model.named_modules(remove_duplicate=False)],
    ]


def _module(m: nn.Module, order: dict[Tensor, int]) -> list:
    tensors = [
        (name, None if t is None else (order.setdefault(t, len(order)), *_kind(t)))
        for held in (m._parameters, m._buffers)
        for name, t in held.items()
    ]
    hooks = [_Same(hook) for held in (m._forward_hooks, m._forward_pre_hooks) for hook in held.values()]
    settings = [(name, _setting(value)) for name, value in vars(m).items() if name not in PLAIN]
    return [_Same(type(m)), _Same(type(m).forward), m.training, tensors, hooks, settings]


def _kind(t: Tensor) -> tuple:
    return tuple(t.shape), t.dtype, t.device, t.requires_grad


def _setting(value: object, depth: int = 3) -> object:
    if isinstance(value, Tensor):
        return _kind(value)
    if isinstance(value, dict | list | tuple | set) and depth and len(value) <= _MOST:
        entries = value.items() if isinstance(value, dict) else value
        return [type(value).__name__, *(_setting(entry, depth - 1) for entry in entries)]
    if isinstance(value, bool | int | float | str | bytes | complex | None | torch.dtype | torch.device):
        return type(value).__name__, value
    return _Same(value)


def recall(model: nn.Module, mark: list) -> Plan | None:
    """The plan of a model that is still what it was."""
    was, kept = _plans.get(model, (None, None))
    if was != mark:
        return None
    modules = dict(model.named_modules())
    parameters = dict(model.named_parameters())
    return Plan(
        {name: parameters[name] for name in kept["parameters"]},
        {modules[name]: where for name, where in kept["where"].items()},
        {name: [(modules[m], own) for m, own in sites] for name, sites in kept["sites"].items()},
        {modules[name]: formula for name, formula in kept["formulas"].items()},
        dict(kept["rows"]),
        {modules[name]: list(names) for name, names in kept["fallback"].items()},
        {modules[name] for name in kept["one_by_one"]},
        chunk=kept["chunk"],
        apart=kept["apart"],
        kinds=kept["kinds"],
    )


def remember(model: nn.Module, mark: list, how: Plan) -> None:
    """Keeps a plan by the names of modules and parameters."""
    names: dict[Hashable, str] = {m: name for name, m in model.named_modules()}
    kept = dict(
        parameters=list(how.parameters),
        where={names[m]: how.where[m] for m in dict.fromkeys([*how.modules, model])},
        sites={name: [(names[m], own) for m, own in sites] for name, sites in how.sites.items()},
        formulas={names[m]: how.formulas[m] for m in how.modules if m in how.formulas},
        rows=dict(how.rows),
        fallback={names[m]: list(own) for m, own in how.fallback.items()},
        one_by_one=[names[m] for m in how.one_by_one],
        chunk=how.chunk,
        apart=how.apart,
        kinds=how.kinds,
    )
    _plans[model] = (mark, kept)


def forget(model: nn.Module) -> None:
    """Drops what is kept of a model."""
    _plans.pop(model, None)
