"""A model stays as it is: what a pass changes is put back, and what a module has made ready is made anew.

Modules hold more than parameters: caches of evaluation mode, masked weights, power iterations. A tensor that one pass
leaves there belongs to that pass's graph, which is gone afterwards.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.utils.prune import BasePruningMethod

PLAIN = frozenset(vars(nn.Module()))  # what every module holds


class Kept:
    """Attributes and buffers of a module and all inside it, and what lists, sets and dictionaries among them hold."""

    def __init__(self, module: nn.Module):
        self.attributes = [(vars(m), dict(vars(m))) for m in module.modules()]
        self.contents = [
            (value, value.copy())
            for _, before in self.attributes
            for name, own in before.items()
            if name not in PLAIN or name in ("_buffers", "_modules")  # for parameters others may stand for a while
            for value in _containers(own)
        ]
        self.buffers = [(b, b._version, b.detach().clone()) for b in module.buffers()]
        self.parameters = [(m._parameters, dict(m._parameters)) for m in module.modules()]

    def restore(self) -> None:
        """Puts back all but parameters."""
        for held, before in self.attributes:
            if held.keys() != before.keys() or any(held[name] is not value for name, value in before.items()):
                held.clear()
                held.update(before)
        for container, before in self.contents:
            _refilled(container, before)
        for k, (buffer, version, value) in enumerate(self.buffers):
            if buffer._version != version:
                buffer.data.copy_(value)
                self.buffers[k] = (buffer, buffer._version, value)

    def restore_all(self) -> None:
        """Puts back everything."""
        self.restore()
        for held, before in self.parameters:
            _refilled(held, before)


def _containers(value: object, depth: int = 3) -> Iterator[list | set | dict]:
    """A list, set or dictionary, and those inside it."""
    if isinstance(value, list | set | dict) and depth:
        yield value
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _containers(inner, depth - 1)


def _refilled(container: list | set | dict, before: list | set | dict) -> None:
    if container != before if isinstance(container, set) else not _same(container, before):
        container.clear()
        container.extend(before) if isinstance(container, list) else container.update(before)


def _same(container: list | dict, before: list | dict) -> bool:
    if isinstance(container, dict):
        return container.keys() == before.keys() and all(container[name] is value for name, value in before.items())
    return len(container) == len(before) and all(a is b for a, b in zip(container, before, strict=True))


@contextmanager
def as_it_was(model: nn.Module) -> Iterator[Kept]:
    """Whatever happens inside, the model holds afterwards what it held; inside, each call makes anew what it caches."""
    hooks = []
    try:
        hooks += _masked_anew(model) + _cached_anew(model)
        kept, values = Kept(model), [(p, p.detach().clone()) for p in model.parameters()]
        try:
            yield kept
        finally:
            kept.restore_all()
            _put_back(values + [(buffer, value) for buffer, _, value in kept.buffers])
    finally:
        for hook in hooks:
            hook.remove()


def _put_back(values: list[tuple[Tensor, Tensor]]) -> None:
    """Writes back what was changed in place: an embedding with a largest norm shortens its rows as it reads them."""
    for t, value in values:
        if t.layout != torch.strided or not torch.equal(t, value):  # compressed rows cannot be compared
            t.data.copy_(value)


def _masked_anew(model: nn.Module) -> list:
    """Modules that hold layers that torch's prune has masked, however deep, mask them before they are read, as
    attention reads its output layer without calling it; a chain calls what it holds.
    """
    hooks = []
    for parent in (m for m in model.modules() if type(m).forward is not nn.Sequential.forward):
        inside = [m for m in parent.modules() if m is not parent]
        masked = [(m, hook) for m in inside for hook in m._forward_pre_hooks.values()]
        if masked := [pair for pair in masked if isinstance(pair[1], BasePruningMethod)]:
            hooks.append(parent.register_forward_pre_hook(_masks(masked), prepend=True))
    return hooks


def _masks(masked):
    def mask(module, args):
        for child, hook in masked:
            hook(child, None)

    return mask


def _cached_anew(model: nn.Module) -> list:
    """Modules that keep a tensor ready in evaluation mode, and whose `train` throws it away, do so before each call."""
    return [
        m.register_forward_pre_hook(_thrown_away, prepend=True)
        for m in model.modules()
        if not m.training and type(m).train is not nn.Module.train and _caches(m)
    ]


def _caches(module: nn.Module) -> bool:
    """Whether a module may hold what it computed: a tensor that is no parameter, or a dictionary that can take one."""
    own = {name: value for name, value in vars(module).items() if name not in PLAIN}
    return any(isinstance(value, Tensor | dict) for value in own.values()) or any(
        b is not None and b.requires_grad for b in module._buffers.values()
    )


def _thrown_away(module: nn.Module, args: tuple) -> None:
    modes = [(m, m.training) for m in module.modules()]
    with torch.enable_grad():
        module.train()
        module.eval()
    for m, mode in modes:
        m.training = mode
