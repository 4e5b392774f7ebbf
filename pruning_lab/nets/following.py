"""The graph of a model's calls from one run on tensors that have sizes alone, where its code needs to know sizes.

A run has what a trace on stand-ins has not: lengths, shapes that are unpacked or compared, loops over them. What it
is to be run on is guessed from the first layer.
"""

import operator
import random
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from .counting import on_meta

SIDES = {1: (64, 1024, 16_000), 2: (32, 224, 64, 256, 28), 3: (16, 32, 64, 112)}  # of images, by dimensions of a layer
_ADDS = {torch.ops.aten.add, torch.ops.aten.add_}


def run_graph(model: nn.Module, layers: tuple[type[nn.Module], ...]) -> fx.Graph | None:
    """The graph of what a copy of a model calls, `layers` being one node each; None where it does not run.

    Hooks are no part of it. Sums are `operator.add`, all else is `operator.pos`. The model stays as it was.
    """
    drawn = random.getstate()
    try:
        with torch.random.fork_rng(devices=[]):
            return _first_that_runs(model, layers)
    finally:
        random.setstate(drawn)


def _first_that_runs(model: nn.Module, layers: tuple[type[nn.Module], ...]) -> fx.Graph | None:
    for shape in _shapes(model):
        try:
            return _followed(on_meta(model).eval(), layers, torch.empty(2, *shape, device="meta"))
        except Exception:  # whatever a model's own code makes of sizes that it does not expect
            continue
    return None


def _shapes(model: nn.Module) -> Iterator[tuple[int, ...]]:
    """Sizes of an image that the first layer of a model may read."""
    first = next((m for m in model.modules() if isinstance(m, nn.Linear | nn.modules.conv._ConvNd)), None)
    if isinstance(first, nn.Linear):
        yield (first.in_features,)
    elif first is not None:
        dimensions = len(first.kernel_size)
        yield from ((first.in_channels, *[side] * dimensions) for side in SIDES[dimensions])


def _followed(model: nn.Module, layers: tuple[type[nn.Module], ...], image: Tensor) -> fx.Graph:
    """The graph of one run of a model, a copy, whose own hooks are taken away."""
    for m in model.modules():
        for hooks in (m._forward_hooks, m._forward_pre_hooks):
            hooks.clear()
    calls = _Calls(image)
    for name, m in model.named_modules():
        if isinstance(m, layers):
            m.register_forward_hook(calls.of_layer(name), with_kwargs=True)
    with torch.no_grad(), torch.device("meta"), calls:
        model(image)
    return calls.graph


class _Calls(TorchDispatchMode):
    """Writes down which tensors each operation reads and gives."""

    def __init__(self, image: Tensor) -> None:
        super().__init__()
        self.graph = fx.Graph()
        self.held: dict[int, tuple[Tensor, fx.Node]] = {}  # by id, which stays a tensor's own while it is held
        self._give(image, self.graph.placeholder("image"))

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        out, read = func(*args, **(kwargs or {})), self._read((args, kwargs))
        made = operator.add if func.overloadpacket in _ADDS else operator.pos
        self._give(out, self.graph.create_node("call_function", made, read))
        return out

    def of_layer(self, name: str) -> Any:
        """A hook that makes one node of all that a layer has done."""

        def after(_: nn.Module, args: tuple, kwargs: dict, out: Any) -> None:
            self._give(out, self.graph.create_node("call_module", name, self._read((args, kwargs))))

        return after

    def _read(self, given: Any) -> tuple[fx.Node, ...]:
        """The nodes of the tensors among what is given; one that nothing has made gets a node of its own."""
        tensors = [t for t in tree_leaves(given) if isinstance(t, Tensor)]
        for t in tensors:
            if id(t) not in self.held:
                self._give(t, self.graph.create_node("get_attr", "held"))
        return tuple(self.held[id(t)][1] for t in tensors)

    def _give(self, out: Any, node: fx.Node) -> None:
        for t in tree_leaves(out):
            if isinstance(t, Tensor):
                self.held[id(t)] = t, node
