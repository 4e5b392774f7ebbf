"""Any other module: each sample's gradient by `vmap(grad)` through it alone, or one by one where that fails."""

import warnings
from functools import partial

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.utils._pytree import tree_leaves

from .calls import Call, Place, detached
from .kept import Kept
from .silent import heard_rows
from .sums import Sums, allowed

_MORE = 32  # times the bytes of formed gradients: here each step calls the module again

# call, places, gradients of its outputs
Given = list[tuple[Call, list[Place | None], list[Place | None], list[Tensor | None]]]


class NotAlone(ValueError):
    """A module that cannot be called by itself."""

    def __init__(self, module: nn.Module, error: Exception | str):
        super().__init__(f"{type(module).__name__}, called by itself for one sample, fails: {error}")
        self.module = module


class Fallback:
    """A module, and those of its parameters that have no formula: `parameters` by the module's own names."""

    def __init__(self, module: nn.Module, parameters: dict[str, Tensor], vectorised: bool = True):
        self.module, self.parameters, self.vectorised, self.kept = module, parameters, vectorised, Kept(module)
        # PyTorch 2.13's BatchNorm has a wrong gradient for a batch of one
        self.twice = any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in module.modules())

    def add_to(self, sums: dict[str, Sums], given: Given, n: int) -> None:
        """Adds the gradients of n samples, summed over the module's calls."""
        some = next(iter(self.parameters.values()))
        step = max(
            1, _MORE * allowed(some.device) // sum(p.numel() * p.element_size() for p in self.parameters.values())
        )
        start = 0
        while start < n:
            here = slice(start, min(start + step, n))
            for name, rows in self._rows(given, here).items():
                attention = isinstance(self.module, nn.MultiheadAttention)
                sums[name].add(rows, heard=partial(heard_rows, rows) if attention else None)
            start = here.stop

    def _rows(self, given: Given, here: slice) -> dict[str, Tensor]:
        calls = [self._one_call(*entry, here) for entry in given]
        return {name: sum(call[name] for call in calls) for name in self.parameters}

    def _one_call(self, call: Call, read: list, gave: list, deltas: list, here: slice) -> dict[str, Tensor]:
        if self.vectorised:
            try:
                return self._all_at_once(call, read, gave, deltas, here)
            except (
                Exception
            ):  # an operation without a rule for vmap, a branch that looks at values: each has its own error
                self.vectorised = False
        try:
            rows = [self._gradient(call, read, gave, deltas, slice(i, i + 1)) for i in range(here.start, here.stop)]
        except Exception as error:  # it reads what only the whole model prepares
            raise NotAlone(self.module, error) from error
        return {name: torch.stack([row[name] for row in rows]) for name in self.parameters}

    def _gradient(self, call, read, gave, deltas, here) -> dict[str, Tensor]:
        """One sample's; where batch norms are inside it goes twice, the second time without a gradient."""
        leaves = [
            place.samples(leaf, here) if place else leaf for leaf, place in zip(detached(call.read), read, strict=True)
        ]
        deltas = [None if d is None else place.samples(d, here) for d, place in zip(deltas, gave, strict=True)]
        if self.twice:
            leaves = [
                torch.cat([leaf, leaf], place.dim) if place else leaf for leaf, place in zip(leaves, read, strict=True)
            ]
            deltas = [
                None if d is None else torch.cat([d, torch.zeros_like(d)], place.dim)
                for d, place in zip(deltas, gave, strict=True)
            ]
        parameters = {name: p.detach().requires_grad_() for name, p in self.parameters.items()}
        found = torch.autograd.grad(
            self._inner(parameters, call, leaves, deltas), list(parameters.values()), allow_unused=True
        )
        return {
            name: torch.zeros_like(p) if g is None else g
            for (name, p), g in zip(parameters.items(), found, strict=True)
        }

    def _all_at_once(self, call, read, gave, deltas, here) -> dict[str, Tensor]:
        leaves = [
            place.first(place.samples(leaf, here)) if place else leaf
            for leaf, place in zip(detached(call.read), read, strict=True)
        ]
        deltas = [
            None if d is None else place.first(place.samples(d, here)) for d, place in zip(deltas, gave, strict=True)
        ]
        batched, moving = (
            [k for k, place in enumerate(read) if place],
            [k for k, d in enumerate(deltas) if d is not None],
        )

        def inner(parameters, some_leaves, some_deltas):
            own = list(leaves)
            for k, leaf in zip(batched, some_leaves, strict=True):
                own[k] = leaf.unsqueeze(read[k].dim) if read[k].share == 1 else leaf
            given = dict(zip(moving, some_deltas, strict=True))
            own_deltas = [
                None if k not in given else given[k].unsqueeze(gave[k].dim) if gave[k].share == 1 else given[k]
                for k in range(len(deltas))
            ]
            return self._inner(parameters, call, own, own_deltas)

        parameters = {name: p.detach() for name, p in self.parameters.items()}
        with torch.no_grad(), warnings.catch_warnings():  # gradients only where `grad` asks for them
            warnings.simplefilter("ignore")  # an operation that vmap does one by one is slow, not wrong
            return vmap(grad(inner), (None, 0, 0))(
                parameters, [leaves[k] for k in batched], [deltas[k] for k in moving]
            )

    def _inner(self, parameters, call, leaves, deltas) -> Tensor:
        """The inner product of outputs and their gradients: its gradient is the loss's."""
        args, kwargs = call.arguments(leaves)
        self.kept.restore()
        out = tree_leaves(functional_call(self.module, parameters, args, kwargs))
        return sum((o * d).sum() for o, d in zip(out, deltas, strict=True) if d is not None)
