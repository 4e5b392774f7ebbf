"""Which layers lose something with a unit of another: Torch-Pruning's dependency groups (Fang et al. 2023, "DepGraph"),
read as cuts.

What it says is a proposal: `trial` tries each.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from ...nets.given import shown
from .cuts import Cut, cut_of, depthwise, grouped
from .whole import Across, Positions, merged, of_conv

LAYERS = (nn.Linear, nn.modules.conv._ConvNd)
OUTPUTS = "the model's outputs"  # the reason of units that are what the model gives


class Found(NamedTuple):
    """What goes together with the units of a layer, as far as the trace knows."""

    name: str
    kind: str  # "units" or "stream"
    units: int
    cuts: tuple[Cut, ...]
    members: tuple[str, ...]  # layers, parameters and norms that the trace passes
    tied: str | None
    across: tuple[Across, ...] = ()  # sides of grouped convolutions


class Trace:
    """A copy of a model after one pass: what it called, in order, and Torch-Pruning's graph of it.

    ValueError: the model does not run on the example; `pip install` where Torch-Pruning is not here.
    """

    def __init__(self, model: nn.Module, example: Tensor) -> None:
        tp = _torch_pruning()
        self.model = copy.deepcopy(model).eval()
        for p in self.model.parameters():  # the graph is that of the gradients
            p.requires_grad_(p.is_floating_point())
        self.names = {module: name for name, module in self.model.named_modules()}
        self.widths: set[int] = set()  # of the model's outputs, along every dimension but that of the images
        self.example = example
        self.calls, self.graph, self.fault = self._called(example), None, ""
        try:
            with warnings.catch_warnings(), torch.enable_grad(), torch.random.fork_rng(devices=[]):
                warnings.simplefilter("ignore")
                graph = tp.DependencyGraph()
                self.graph = graph.build_dependency(
                    self.model, (example,), output_transform=_differentiable, verbose=False
                )
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # whatever a trace makes of code that it does not know
            self.fault = f"not seen by the trace: {type(error).__name__}, {shown(str(error))}"

    def _called(self, example: Tensor) -> dict[str, int]:
        """How often each module is called in a pass, in the order in which first calls begin."""
        calls: dict[str, int] = {}

        def note(module: nn.Module, *_: Any) -> None:
            calls[self.names[module]] = calls.get(self.names[module], 0) + 1

        hooks = [m.register_forward_pre_hook(note) for m in self.names]
        try:
            with torch.no_grad(), torch.random.fork_rng(devices=[]):
                given = self.model(example)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # whatever a module makes of what it cannot read
            raise ValueError(
                f"the model does not run on the example of shape {list(example.shape)} ({shown(str(error))}): expected "
                "a batch of what it reads"
            ) from error
        finally:
            for hook in hooks:
                hook.remove()
        self.widths = {size for t in tree_leaves(given) if isinstance(t, Tensor) for size in t.shape[1:]}
        return calls

    def found(self, passed_by: Sequence[str] = ()) -> Iterator[Found]:
        """A group for each layer that no other's has, in the order of the pass; layers `passed_by` get none."""
        layers = [n for n, m in self.model.named_modules() if isinstance(m, LAYERS)]
        order, seen = [n for n in self.calls if n in layers], set(passed_by)
        for name in order:
            module = self.model.get_submodule(name)
            if name in seen or depthwise(module):
                continue
            group = self._whole(self._group(name, module))
            seen |= {cut.module for cut in group.cuts if not cut.reads} | {name}
            yield group
        for name in layers:
            if name not in seen:
                yield Found(name, "units", len(self.model.get_submodule(name).weight), (), (name,), self._unseen(name))

    def _unseen(self, name: str) -> str:
        if self.fault:
            return self.fault
        if name not in self.calls:
            return "not seen by the trace: a pass over the example does not call it as a layer"
        return "it convolves the model's inputs one by one, which stay"

    def _group(self, name: str, module: nn.Module) -> Found:
        units = module.out_features if isinstance(module, nn.Linear) else module.out_channels
        if self.fault or module not in self.graph.module2node:
            return Found(name, "units", units, (), (name,), self.fault or "not seen by the trace: its outputs are lost")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                rows = self.graph.get_pruning_group(
                    module, self.graph.get_pruner_of_module(module).prune_out_channels, list(range(units))
                )
            items = [_item(self.graph, *pair) for pair in _pairs(rows)]
        except Exception as error:  # whatever Torch-Pruning makes of a graph that it cannot follow
            reason = f"not seen by the trace: {type(error).__name__}, {shown(str(error))}"
            return Found(name, "units", units, (), (name,), reason)
        kind = "stream" if any(_joins(node) for node, *_ in items) else "units"
        cuts, across, tied = self._cuts(items, units)
        members = [self._called_name(node.module) for node, *_ in items]
        return Found(name, kind, units, cuts, tuple(dict.fromkeys(filter(None, members))), tied, across)

    def _whole(self, found: Found) -> Found:
        """A group whose units reach a grouped convolution: as its groups, with all that these give; else tied."""
        if found.tied or not found.across:
            return found
        name, reads, positions = found.across[0]
        conv = self.model.get_submodule(name)
        stay = found._replace(tied=f"{name!r} is a grouped convolution of {conv.groups} groups")
        if len(found.across) > 1 or not reads or self.calls[name] > 1:
            return stay
        behind = self._group(name, conv)
        if behind.tied or [a[:2] for a in behind.across] != [(name, False)]:
            return stay
        cuts = merged(conv, found.cuts, positions, behind.cuts, behind.across[0].positions)
        if cuts is None:
            return stay
        members = tuple(dict.fromkeys((*found.members, *behind.members)))
        return found._replace(units=conv.groups, cuts=(*cuts, *of_conv(name, conv)), members=members, across=())

    def _called_name(self, module: Any) -> str:
        if isinstance(module, nn.Parameter):
            return self.graph._param_to_name.get(module, "")
        return self.names.get(module, "")

    def _cuts(self, items: Sequence[tuple], units: int) -> tuple[tuple[Cut, ...], tuple[Across, ...], str | None]:
        """What each module of a group loses; grouped convolutions apart; why the units stay, the first of reasons."""
        cuts: list[Cut] = []
        across: list[Across] = []
        last = [here for node, reads, here, _ in items if _ends(node, reads)]
        giving = [self._called_name(n.module) for n, reads, *_ in items if isinstance(n.module, LAYERS) and not reads]
        reasons = [self._leaving(len(here), giving) for here in last[:1]]
        for node, reads, here, roots in items:
            name, positions = self._called_name(node.module), _by_unit(here, roots, units)
            if grouped(node.module):
                across.append(Across(name, reads, positions))
                continue
            try:
                cuts += filter(None, [self._cut(name, node, reads, positions)])
            except ValueError as reason:
                reasons.append(str(reason))
        repeated = [c.module for c in cuts if self.calls.get(c.module, 1) > 1]
        if repeated and not reasons:
            reasons.append(f"{repeated[0]!r} is called {self.calls[repeated[0]]} times in a pass")
        return tuple(cuts), tuple(across), reasons[0] if reasons else None

    def _leaving(self, numbers: int, giving: Sequence[str]) -> str:
        """Why units stay whose numbers reach the end: they are the outputs if there are as many of these, each its own.

        giving: the layers that give them, of which the last in a pass is asked.
        """
        what = "what reads them is no layer, such as a product with a parameter"
        if numbers not in (self.widths or {1}):  # one output may come without a dimension of its own
            sizes = " x ".join(map(str, sorted(self.widths))) or "one"
            return f"{what}: {numbers} numbers go in, and the outputs are {sizes}"
        order = list(self.calls)
        known = [name for name in giving if self.calls.get(name) == 1]
        if numbers > 1 and known and not self._apart(max(known, key=order.index), numbers):
            return f"{what}: each of them moves several outputs"
        return OUTPUTS

    def _apart(self, name: str, numbers: int) -> bool:
        """Whether a layer's first unit moves one of so many outputs alone, or outputs stand in the units' order, as
        those of a softmax do; where that cannot be seen it is taken for granted.
        """
        module = self.model.get_submodule(name)
        axis = -1 if isinstance(module, nn.Linear) else 1
        units: list[Tensor] = []

        def pass_(moved: bool) -> list[Tensor]:
            def move(_: nn.Module, __: Any, given: Tensor) -> Tensor:
                units.append(given)
                given = given.clone()
                given.select(axis, 0).add_(moved * (1 + given.abs().max()))
                return given

            hook = module.register_forward_hook(move)
            try:
                with torch.no_grad(), torch.random.fork_rng(devices=[]):
                    return [t for t in tree_leaves(self.model(self.example)) if isinstance(t, Tensor)]
            finally:
                hook.remove()

        try:
            before, after = pass_(False), pass_(True)
        except torch.OutOfMemoryError:
            raise
        except Exception:  # whatever a model's own code makes of it: then nothing is known
            return True
        if units[0].shape[axis] != numbers or [t.shape for t in before] != [t.shape for t in after]:
            return True
        return any(_own(a, b, numbers) or _in_order(units[0], a) for a, b in zip(before, after, strict=True))

    def _cut(self, name: str, node: Any, reads: bool, positions: Positions) -> Cut | None:
        module = node.module
        if isinstance(module, nn.Parameter):
            owner, _, attribute = name.rpartition(".")
            return Cut(owner, ((attribute, node.pruning_dim),), positions)
        if not name:  # a step between layers
            return None
        return cut_of(name, module, reads, positions)


def _torch_pruning() -> Any:
    """The package; ImportError with what to install where it is not here."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import torch_pruning
    except ImportError as error:
        how = "pip install '.[report]' in the project's folder"
        raise ImportError(f"coupled units need the package torch-pruning: {how}") from error
    return torch_pruning


def _differentiable(given: Any) -> list[Tensor]:
    """Those of a model's outputs that have a graph."""
    return [t for t in tree_leaves(given) if isinstance(t, Tensor) and t.grad_fn is not None]


def _pairs(rows: Any) -> list[tuple]:
    return [(item.dep, item.idxs, item.root_idxs) for item in rows.items]


def _item(graph: Any, dep: Any, here: list, roots: list) -> tuple:
    """A node, whether it reads the units (else it gives them or passes them on), positions, and the units of these."""
    reads = graph.is_in_channel_pruning_fn(dep.handler) and not graph.is_out_channel_pruning_fn(dep.handler)
    return dep.target, reads, here, roots


def _by_unit(here: Sequence[int], roots: Sequence[int | None], units: int) -> Positions:
    positions: list[list[int]] = [[] for _ in range(units)]
    for position, root in zip(here, roots, strict=True):
        if root is not None:
            positions[root].append(position)
    return tuple(tuple(sorted(each)) for each in positions)


def _ends(node: Any, reads: bool) -> bool:
    """Whether what a node gives of the units leaves the model."""
    return not reads and not node.outputs


def _own(before: Tensor, after: Tensor, numbers: int) -> bool:
    """Whether, along a dimension of so many, one number at most is another than before."""
    for axis in range(1, before.ndim):
        others = [d for d in range(before.ndim) if d != axis]
        if before.shape[axis] == numbers and (before != after).sum(others).count_nonzero() <= 1:
            return True
    return False


def _in_order(units: Tensor, outputs: Tensor) -> bool:
    """Whether outputs are the units' numbers by a rule that keeps which is larger."""
    same = outputs.ndim > 1 and units.flatten(1).shape == outputs.flatten(1).shape
    return same and torch.equal(units.flatten(1).argsort(1), outputs.flatten(1).argsort(1))


def _joins(node: Any) -> bool:
    """Whether a node adds two things that layers give."""
    added = "AddBackward" in str(getattr(node.module, "_grad_fn", ""))
    return added and sum(not isinstance(n.module, nn.Parameter) for n in node.inputs) > 1
