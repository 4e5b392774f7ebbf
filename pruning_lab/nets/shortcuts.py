"""Which convolutions stand on a shortcut: what is added to a longer path. Read from the graph of a model's calls.

The graph is that of `torch.fx`: a copy of the model runs once on stand-ins for tensors or, where its code needs to
know sizes, on tensors that have these alone (`following`). Code that needs real numbers has no such graph; there names
decide.
"""

import operator
import random
from collections.abc import Collection, Iterator
from contextlib import contextmanager

import torch
from torch import fx, nn

from .counting import on_meta
from .following import run_graph

NAMES = frozenset({"downsample", "shortcut"})  # of modules on shortcuts, where there is no graph
_LAYERS = (nn.Linear, nn.modules.conv._ConvNd, nn.MultiheadAttention)
_ADDS = {operator.add, operator.iadd, torch.add, "add", "add_"}


def shortcuts(model: nn.Module) -> list[str]:
    """Names of the convolutions that stand on a shortcut: on the way to a sum whose other part has more layers behind
    it, counted from where the two ways part.

    Where a module's calls cannot be followed without images, its parts' are; between these, names decide.
    """
    convolutions = _convolutions(model, "")
    if not convolutions or _in_a_row(model):
        return []
    shorter = _on_shortcuts(model, "")
    return [name for name in convolutions if name in shorter]


def _convolutions(module: nn.Module, prefix: str) -> list[str]:
    return [name for name, m in module.named_modules(prefix=prefix) if isinstance(m, nn.modules.conv._ConvNd)]


def _on_shortcuts(module: nn.Module, prefix: str) -> set[str]:
    """Names, which begin with `prefix`, of the layers on shortcuts inside a module."""
    graph = (_graph(module) or run_graph(module, _LAYERS)) if next(module.children(), None) is not None else None
    start = prefix and f"{prefix}."
    if graph is not None:
        layers = {name for name, m in module.named_modules() if isinstance(m, _LAYERS)}
        return {start + name for node in graph.nodes if _is_sum(node) for name in _shorter(node, layers)}
    inside: set[str] = set()
    for name, child in module.named_children():
        inside.update(_convolutions(child, start + name) if name in NAMES else _on_shortcuts(child, start + name))
    return inside


def _in_a_row(model: nn.Module) -> bool:
    """Whether nothing but plain `nn.Sequential`s hold a model's layers, so that nothing is added."""
    parents = [m for m in model.modules() if next(m.children(), None) is not None]
    return all(isinstance(m, nn.Sequential) and type(m).forward is nn.Sequential.forward for m in parents)


class _Tracer(fx.Tracer):
    """Follows calls down to the layers; hooks are no part of the graph and do not run."""

    def is_leaf_module(self, module: nn.Module, name: str) -> bool:
        return isinstance(module, _LAYERS) or super().is_leaf_module(module, name)

    def call_module(self, module: nn.Module, forward: object, args: tuple, kwargs: dict) -> object:
        return super().call_module(module, module.forward, args, kwargs)


def _graph(model: nn.Module) -> fx.Graph | None:
    """The graph of a model's calls; None where its code does not run on stand-ins. The model stays as it was."""
    with _unchanged(model):
        try:
            return _Tracer(autowrap_modules=()).trace(_stand_in(model))
        except Exception:  # whatever a model's own code makes of a stand-in: it has no graph, and names decide
            return None


def _stand_in(model: nn.Module) -> nn.Module:
    """A copy whose tensors have sizes alone, so that code which writes to some changes nothing; else the model."""
    try:
        return on_meta(model)
    except Exception:  # it holds something that cannot be copied
        return model


@contextmanager
def _unchanged(model: nn.Module) -> Iterator[None]:
    """Puts back what code that runs on stand-ins leaves in modules' attributes, and what chance it has used."""
    before = [(vars(m), dict(vars(m)), [(v, v.copy()) for v in vars(m).values() if isinstance(v, dict | list | set)])
              for m in model.modules()]  # fmt: skip
    drawn = random.getstate()
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        random.setstate(drawn)
        for attributes, values, held in before:
            attributes.clear()
            attributes.update(values)
            for container, content in held:
                container.clear()
                (container.extend if isinstance(container, list) else container.update)(content)


def _is_sum(node: fx.Node) -> bool:
    return node.op in ("call_function", "call_method") and node.target in _ADDS


def _shorter(total: fx.Node, layers: Collection[str]) -> list[str]:
    """The layers that only the shorter of two ways to a sum passes; none where both have as many."""
    if len(total.all_input_nodes) != 2:
        return []
    first, second = (_behind(part) for part in total.all_input_nodes)
    one, other = ([n.target for n in way if n.op == "call_module" and n.target in layers]
                  for way in (first - second, second - first))  # fmt: skip
    return [] if len(one) == len(other) else min(one, other, key=len)


def _behind(node: fx.Node) -> set[fx.Node]:
    """A node and all that it is computed from."""
    behind, left = set(), [node]
    while left:
        if (one := left.pop()) not in behind:
            behind.add(one)
            left += one.all_input_nodes
    return behind
