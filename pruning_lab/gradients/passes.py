"""A few samples at a time: forward, back to the layers' outputs, and from there each layer's own way to its sums."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from . import attention
from .broadcast import replaced
from .calls import Call, run
from .checks import check_finite
from .company import Passed
from .doubts import Beyond, NotByRows, NotLike, NotTold
from .fallback import Fallback, NotAlone
from .kept import Kept
from .loss import Loss, losses
from .meeting import Seen, check_sizes
from .parts import Formed, Part
from .plan import Plan, read_by
from .silent import heard
from .sums import Sums, budget
from .told import Tried


@dataclass
class Task:
    """A model and its loss, what it holds, and who gives its gradients."""

    model: nn.Module
    loss: Loss
    kept: Kept
    how: Plan

    def __post_init__(self):
        self.noted = list(dict.fromkeys([*self.how.modules, self.model]))
        self.read: set[str] = set()  # parameters that a loss has read so far
        tried = {m: by for m, by in self.how.formulas.items() if isinstance(by, Tried) and m in self.noted}
        self.looks = {m: partial(self._look, by, m) for m, by in tried.items()}
        self.odd: list[nn.Module] = []  # layers that gave something else than their formula takes them to give
        self.passed: Passed | None = None  # by the last samples, where few do not stand for all
        self.names = {m: name for name, m in self.model.named_modules()}
        self.fallback = [
            Fallback(m, _own_names(m, [self.how.parameters[name] for name in names]), m not in self.how.one_by_one)
            for m, names in self.how.fallback.items()
        ]

    def add(self, x: Tensor, y: Tensor, sums: dict[str, Sums], which: str, watched: Sequence[int] = ()) -> list[Seen]:
        """Adds the gradients of samples x, y to the sums; what those at some places have given.

        A lone sample goes twice, with one loss: PyTorch 2.13's BatchNorm has a wrong gradient for a batch of one.
        """
        n, how = len(x), self.how
        x, y = (_at_least_two(t) for t in (x, y))
        rows, calls, each = self._forward(x, y, which)
        if self.odd:
            raise NotLike(self.odd)
        self._check_calls(calls, len(x))
        total = each[:n].sum()
        self._check_read(rows, calls, total, (x, y, which))
        self.passed = self.all_of(calls, each) if self.unusual else None
        deltas = _deltas(total, rows, [step for m in how.modules for step in how.steps(m, calls)])
        with torch.no_grad():
            check_finite(deltas.values(), which)
            self._add_all(sums, rows, calls, deltas, len(x))
        for fallback in self.fallback:
            self._add_fallback(fallback, calls[fallback.module], deltas, sums, len(x))
        return [self.seen(calls, each, at) for at in watched]

    def _forward(self, x: Tensor, y: Tensor, which: str) -> tuple[dict[str, Tensor], dict, Tensor]:
        """Rows in the place of parameters, the calls of noted modules, each sample's loss [n]."""
        how = self.how
        rows = {name: _row_for_each(how.parameters[name], len(x), shape) for name, shape in how.rows.items()}
        try:
            with replaced(self.model, {how.parameters[name]: row for name, row in rows.items()}):
                out, calls = run(self.model, x, self.noted, self.kept, self.looks)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # a model may say in many ways that it expected another shape
            if rows:
                raise NotByRows(set(rows), error) from error
            raise ValueError(f"the model fails on {which}, though not on the first ones: {error}") from error
        return rows, {m: calls.get(m, []) for m in self.noted}, losses(self.loss, out, y, which)

    def _check_read(self, rows: dict[str, Tensor], calls: dict[nn.Module, list[Call]], total: Tensor, given) -> None:
        """Beyond where a parameter is read elsewhere than in the plan, with the first sample that does so."""
        read = read_by(self.how, self.model, rows, calls, total)
        if read.beyond:
            raise Beyond(read.beyond, self._first_beyond(*given))
        self.read |= read.names
        self.kinds = read.kinds
        self.unusual = not self.how.apart or self.how.kinds not in (None, read.kinds)
        if self.unusual and rows:  # which may stand before samples change places, and behind it
            raise NotByRows(set(rows), "other operations than at first")

    def _first_beyond(self, x: Tensor, y: Tensor, which: str) -> int:
        """The place of a sample that reads beyond the plan, found by halves; the last one where none does alone."""
        start, stop = 0, len(x)
        while stop - start > 1:
            middle = (start + stop) // 2
            few = [_at_least_two(t[start:middle]) for t in (x, y)]
            rows, calls, each = self._forward(*few, which)
            beyond = read_by(self.how, self.model, rows, calls, each.sum()).beyond
            start, stop = (start, middle) if beyond else (middle, stop)
        return start

    def seen(self, calls: dict[nn.Module, list[Call]], each: Tensor, at: int) -> Seen:
        """What one sample has given."""
        return Seen(calls[self.model][0].gave, self.how.where[self.model][0][1], each, at)

    def all_of(self, calls: dict[nn.Module, list[Call]], each: Tensor) -> Passed:
        """What all samples have given."""
        return Passed(self.model, self.how, calls, each)

    def _look(self, tried: Tried, module: nn.Module, call: Call) -> None:
        if not tried.holds(call, self.how.where[module][0][1][0]):
            self.odd.append(module)

    def _check_calls(self, calls: dict[nn.Module, list[Call]], n: int) -> None:
        check_sizes({m: self.how.where[m] for m in self.noted}, calls, self.names, n)
        for m in self.how.modules:
            if not all(call.untouched() for call in calls[m]):
                raise ValueError(
                    f"what {type(m).__name__} has read was changed in place afterwards: make that operation out of "
                    "place"
                )
        for m in self.how.modules:
            if any(step.batch % n for call in calls[m] for step in call.steps):
                raise NotTold([m], f"{type(m).__name__} has not the same number of entries for each sample inside")

    def _add_all(self, sums, rows, calls, deltas, n) -> None:
        for name, row in rows.items():
            if deltas[row] is not None:
                sums[name].add(deltas[row])
        for name, sites in self.how.sites.items():
            parts = [part for m, own in sites for part in self._parts(m, own, calls[m], deltas, n)]
            _add(sums[name], self.how.parameters[name], parts, n)

    def _parts(self, module: nn.Module, own: str, calls: list[Call], deltas: dict, n: int) -> list[Part]:
        """What each call of a layer with a formula gives to one of its parameters."""
        formula, parts = self.how.formulas[module], []
        if formula is attention.parts:
            return [part for call in calls for part in formula(module, call, deltas, n, own)]
        for call, (read, gave) in zip(calls, self.how.where[module], strict=True) if calls else ():
            delta = deltas.get(call.edges[0])
            if delta is not None:
                parts.append(formula(module, read[0].first(call.read[0].detach()), gave[0].first(delta))[own]())
        return parts

    def _add_fallback(self, fallback: Fallback, calls: list[Call], deltas: dict, sums: dict[str, Sums], n: int) -> None:
        given, module = [], fallback.module
        for call, (read, gave) in zip(calls, self.how.where[module], strict=True) if calls else ():
            arrived = [None if edge is None else deltas[edge] for edge in call.edges]
            if any(d is not None and place is None for d, place in zip(arrived, gave, strict=True)):
                raise NotAlone(
                    module, "the loss depends on an output that all samples share, such as a penalty on weights"
                )
            if any(d is not None for d in arrived):
                given.append((call, read, gave, arrived))
        if given:
            names = {self.how.parameters[name]: name for name in self.how.fallback[module]}
            fallback.add_to({own: sums[names[p]] for own, p in fallback.parameters.items()}, given, n)
            if not fallback.vectorised:
                self.how.one_by_one.add(module)


def _at_least_two(t: Tensor) -> Tensor:
    """A lone sample twice."""
    return t.repeat(2, *[1] * (t.ndim - 1)) if len(t) == 1 else t


def _row_for_each(p: Tensor, n: int, shape: tuple[int, ...]) -> Tensor:
    return p.detach().view(1, *shape).expand(n, *shape).clone().requires_grad_()


def _deltas(total: Tensor, rows: dict[str, Tensor], calls: list[Call]) -> dict:
    """Gradients by what they belong to: rows, and edges behind the calls."""
    edges = dict.fromkeys(edge for call in calls for edge in call.edges if edge is not None)
    wanted = [*rows.values(), *edges]
    return dict(zip(wanted, torch.autograd.grad(total, wanted, allow_unused=True), strict=True))


def _add(sums: Sums, parameter: Tensor, parts: list[Part], n: int) -> None:
    """Adds a parameter's gradients; where several calls give to it, one sample's are added first."""
    if len(parts) == 1:
        parts[0].add_to(sums)
    elif parts:
        step = budget(parameter.device, parameter.numel(), parameter.element_size())
        for start in range(0, n, step):
            here = slice(start, min(start + step, n))
            rows = sum(part.form(here) for part in parts)
            listens = sums.silent and all(isinstance(part, Formed) and not part.weights for part in parts)
            terms = sum(part.sizes(here) for part in parts) if listens else None
            sums.add(rows, heard=partial(heard, rows, terms) if listens else None)


def _own_names(module: nn.Module, parameters: list[Tensor]) -> dict[str, Tensor]:
    own = {p: name for name, p in reversed(list(module.named_parameters()))}
    return {own[p]: p for p in parameters}
