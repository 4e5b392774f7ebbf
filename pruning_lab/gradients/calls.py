"""What modules read and give while a batch passes, and where in it each sample stands."""

from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge
from torch.utils._pytree import tree_flatten, tree_unflatten

from .kept import Kept
from .projections import Projection, Projections, projection


class Place(NamedTuple):
    """Where samples stand in a tensor: along dimension `dim`, `share` entries each, one sample after the other."""

    dim: int
    share: int

    def samples(self, tensor: Tensor, here: slice) -> Tensor:
        """The part of a tensor that belongs to some samples."""
        return tensor.narrow(self.dim, here.start * self.share, (here.stop - here.start) * self.share)

    def first(self, tensor: Tensor) -> Tensor:
        """A view with the samples in front, [n, ...]; a share of several is a dimension of its own, where it was."""
        split = tensor if self.share == 1 else tensor.unflatten(self.dim, (-1, self.share))
        return split.movedim(self.dim, 0)


class Call:
    """One call of a module: leaves of its arguments and outputs, and where the gradients of the outputs will arrive.

    `steps` are the projections of attention.
    """

    def __init__(self, module: nn.Module, args: tuple, kwargs: dict):
        self.module, self.steps, self.looking = module, list[Projection](), None
        self.read, self.spec = tree_flatten((args, kwargs))
        self.versions = [leaf._version if isinstance(leaf, Tensor) else 0 for leaf in self.read]
        self.sources = [leaf.grad_fn for leaf in self.read if isinstance(leaf, Tensor) and leaf.grad_fn is not None]

    def look(self) -> None:
        """From here on attention's projections are noted."""
        if isinstance(self.module, nn.MultiheadAttention) and any(p.requires_grad for p in self.module.parameters()):
            self.looking = Projections(self._note)
            self.looking.__enter__()

    def look_away(self) -> None:
        """No more."""
        if self.looking is not None:
            self.looking.__exit__(None, None, None)
            self.looking = None

    def _note(self, *of) -> None:
        if found := projection(self.module, *of):
            self.steps.append(found)

    def answered(self, out: object) -> None:
        """Notes the outputs, before anything behind the module changes them in place."""
        self.gave = tree_flatten(out)[0]
        self.edges: list[GradientEdge | None] = [_edge(leaf) for leaf in self.gave]

    def arguments(self, leaves: list) -> tuple[tuple, dict]:
        """`args, kwargs` with other leaves."""
        return tree_unflatten(leaves, self.spec)

    def untouched(self) -> bool:
        """Whether what was read is still what it was."""
        return all(
            leaf._version == v for leaf, v in zip(self.read, self.versions, strict=True) if isinstance(leaf, Tensor)
        ) and all(step.untouched() for step in self.steps)


def _edge(leaf: object) -> GradientEdge | None:
    return get_gradient_edge(leaf) if isinstance(leaf, Tensor) and leaf.requires_grad else None


def run(
    model: nn.Module,
    images: Tensor,
    modules: Iterable[nn.Module],
    kept: Kept,
    looks: Mapping[nn.Module, Callable[[Call], None]] | None = None,
    begun: list[Call] | None = None,
) -> tuple[object, dict[nn.Module, list[Call]]]:
    """The model's output, beginning from what it held at first, and, module by module, the calls in their order.

    `looks` see a module's call before anything behind it changes what it gave. `begun` has, where the model fails, the
    calls that have not ended, the innermost last.
    """
    kept.restore()
    calls: dict[nn.Module, list[Call]] = {}
    open_calls: list[Call] = [] if begun is None else begun

    def begin(module, args, kwargs):
        open_calls.append(Call(module, args, kwargs))
        open_calls[-1].look()

    def end(module, args, kwargs, out):
        call = open_calls.pop()
        call.look_away()
        call.answered(out)
        if looks and module in looks:
            looks[module](call)
        calls.setdefault(module, []).append(call)

    hooks = []
    try:
        for module in modules:  # before and after the hooks that others have put there, which are part of the module
            hooks.append(module.register_forward_pre_hook(begin, prepend=True, with_kwargs=True))
            hooks.append(module.register_forward_hook(end, with_kwargs=True))
        return model(images), calls
    finally:
        for call in reversed(open_calls):
            call.look_away()
        for hook in hooks:
            hook.remove()


def places(two: list, three: list, known: dict | None = None) -> list[Place | None] | None:
    """Where samples stand in each leaf, from the same call for two and three images; None for a shared leaf.

    None altogether if that cannot be told, or if what belongs to the first two images depends on the third. `known` has
    the answers for pairs of leaves that other calls read or gave, and takes these.
    """
    if len(two) != len(three):
        return None
    known = {} if known is None else known
    each = []
    for a, b in zip(two, three, strict=True):
        if (id(a), id(b)) not in known:
            known[id(a), id(b)] = _place(a, b)
        each.append(known[id(a), id(b)])
    return None if any(place is False for place in each) else each


def _place(a: object, b: object) -> Place | None | bool:
    if not (isinstance(a, Tensor) and isinstance(b, Tensor)):
        return None if type(a) is type(b) and not isinstance(a, Tensor) and _equal(a, b) else False
    if a.ndim != b.ndim:
        return False
    differ = [dim for dim in range(a.ndim) if a.shape[dim] != b.shape[dim]]
    if not differ:
        return None if _alike(a, b) else False
    (dim, *more), share = differ, b.shape[differ[0]] - a.shape[differ[0]]
    if more or share < 1 or (a.shape[dim], b.shape[dim]) != (2 * share, 3 * share):
        return False
    return Place(dim, share) if _alike(a, b.narrow(dim, 0, 2 * share)) else False


def _equal(a: object, b: object) -> bool:
    return a is b or (isinstance(a, Hashable) and a == b)


def _alike(a: Tensor, b: Tensor) -> bool:
    """Equal up to rounding, which may depend on the size of a batch."""
    a, b = a.detach(), b.detach()
    if not a.is_floating_point():
        return torch.equal(a, b)
    scale = a.nan_to_num(0, 0, 0).abs().amax() if a.numel() else 0
    return bool(((a == b) | ((a - b).abs() <= 1e-3 * scale)).all())


def detached(leaves: list) -> list:
    """Leaves of arguments, tensors without their graph."""
    return [leaf.detach() if isinstance(leaf, Tensor) else leaf for leaf in leaves]
