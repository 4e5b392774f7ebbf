"""Which parameter's gradients come from where, found by running a few images and walking autograd's graph once.

A parameter read by nothing but layers with a formula is theirs. Of the others, one that broadcasts over the samples
gets a row for each; the rest belong to the smallest module inside which they do all their work, and which is
differentiated sample by sample.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from . import attention, broadcast
from .calls import Call, places, run
from .checks import check_finite
from .doubts import Doubts
from .failed import why
from .formulas import changed, formula
from .graph import Readers, leaves, passed, reached
from .kept import Kept
from .meeting import DEPENDS, entangled
from .parts import Formula
from .projections import Projection

_ACTIVATIONS = {"cpu": 2**29, "cuda": 2**31}  # bytes that the layers of one chunk of samples read and give
_LARGEST = 1024  # samples in a chunk


@dataclass
class Plan:
    """Parameters by name; for each that gets a gradient, one of three sources."""

    parameters: dict[str, Tensor]
    where: dict[nn.Module, list[tuple[list, list]]]  # places of the samples in what each call reads and gives
    # layers with a formula, and their own name for it
    sites: dict[str, list[tuple[nn.Module, str]]] = field(default_factory=dict)
    formulas: dict[nn.Module, Formula] = field(default_factory=dict)
    # the shape of one sample's row, broadcast over the samples
    rows: dict[str, tuple[int, ...]] = field(default_factory=dict)
    fallback: dict[nn.Module, list[str]] = field(default_factory=dict)
    one_by_one: set[nn.Module] = field(default_factory=set)  # of these, what no `vmap` takes
    chunk: int = 1
    expected: dict[str, Tensor] = field(
        default_factory=dict
    )  # gradients of the plan's samples, until they are verified
    apart: bool = True  # whether samples keep apart whatever they show
    kinds: Counter | None = None  # of the nodes of autograd's graph, for samples that keep apart

    @property
    def modules(self) -> list[nn.Module]:
        """Those whose calls must be noted."""
        return list(dict.fromkeys([m for sites in self.sites.values() for m, _ in sites] + list(self.fallback)))

    def steps(self, module: nn.Module, calls: dict[nn.Module, list[Call]]) -> "list[Call | Projection]":
        """What gradients are followed to: a module's calls, or the projections of attention that has a formula."""
        own = calls.get(module, [])
        inside = self.formulas.get(module) is attention.parts
        return [step for call in own for step in call.steps] if inside else own

    def give_to(self, module: nn.Module, name: str) -> None:
        """Takes a parameter from wherever it was: its gradients now come from this module, sample by sample."""
        self.sites.pop(name, None), self.rows.pop(name, None)
        for names in self.fallback.values():
            names[:] = [other for other in names if other != name]
        self.fallback.setdefault(module, []).append(name)
        self.fallback = {m: names for m, names in self.fallback.items() if names}

    @property
    def used(self) -> set[str]:
        """Parameters that get a gradient."""
        return {*self.sites, *self.rows, *(name for names in self.fallback.values() for name in names)}


def plan(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    loss: Callable[[object, Tensor], Tensor],
    kept: Kept,
    doubts: Doubts,
) -> Plan:
    """Who does what; `images`, `labels` are three samples. ValueError: samples not told apart."""
    out, three = _tried(model, images, kept)
    each = loss(out, labels)
    out, two = _tried(model, images[:2].clone(), kept)
    where = _where(two, three)
    _check_alone(model, where, three, loss(out, labels[:2]), each)
    mixed = {*doubts.mixed, *entangled(model, where, three, each, at=1)}
    where = {m: own for m, own in where.items() if m not in mixed}
    how = Plan({name: p for name, p in model.named_parameters() if p.requires_grad and p.numel()}, where)
    how.apart = doubts.apart
    _divide(how, model, three, each.sum(), doubts, {m for m in where if _open(m, two, three, doubts)})
    for name in how.parameters.keys() & doubts.whole:
        how.give_to(model, name)
    how.chunk = _chunk(how, images, three)
    how.expected = _expected(how, each.sum())
    return how


def _tried(model: nn.Module, images: Tensor, kept: Kept) -> tuple[object, dict[nn.Module, list[Call]]]:
    """As `run`, with a sentence of ours where the model fails."""
    begun: list[Call] = []
    try:
        return run(model, images, model.modules(), kept, begun=begun)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # it may say in many ways that it expected another shape
        raise ValueError(why(model, images, begun, error)) from error


def _expected(how: Plan, total: Tensor) -> dict[str, Tensor]:
    """What autograd gives for the samples together; a sparse embedding's gradient becomes dense."""
    names = [name for name in how.parameters if name in how.used]
    found = torch.autograd.grad(total, [how.parameters[name] for name in names], allow_unused=True)
    dense = [
        torch.zeros_like(how.parameters[name]) if g is None else g.to_dense()
        for name, g in zip(names, found, strict=True)
    ]
    check_finite(dense, "the first samples")
    return dict(zip(names, dense, strict=True))


def _check_alone(model: nn.Module, where: dict, calls: dict[nn.Module, list[Call]], two: Tensor, three: Tensor) -> None:
    """ValueError where an image's output or loss is not its own."""
    if not all(call.untouched() for call in calls[model]):
        raise ValueError("the model changes its input in place: make its first operation out of place")
    if model not in where:
        raise ValueError(DEPENDS)
    if rough := [m for m, own in calls.items() if any(_is_rough(leaf) for call in own for leaf in call.gave)]:
        raise ValueError(
            f"{type(rough[0]).__name__} gives half precision, in which the sign of a small gradient is noise: "
            "convert the model (model.float()) and take autocast out of it"
        )
    if places([two], [three]) is None:
        raise ValueError(
            "the loss of one sample depends on the others of its batch: expected each sample's own loss, "
            "not divided by their number (reduction='none')"
        )


def _is_rough(leaf):
    return isinstance(leaf, Tensor) and leaf.requires_grad and leaf.dtype in (torch.float16, torch.bfloat16)


def _where(two, three):
    where, known = {}, {}  # what one module gives another one reads, and those around both
    for module, calls in three.items():
        if len(two.get(module, [])) != len(calls):
            continue
        pairs = list(zip(two[module], calls, strict=True))
        each = [(places(a.read, b.read, known), places(a.gave, b.gave, known)) for a, b in pairs]
        if all(read is not None and gave is not None and any(gave) for read, gave in each) and all(
            c.untouched() for c in calls
        ):
            where[module] = each
    return where


def _open(module: nn.Module, two: dict, three: dict, doubts: Doubts) -> bool:
    """Whether attention's projections may be looked at: where samples stay in their places inside of it."""
    if not isinstance(module, nn.MultiheadAttention) or any(child in three for child in module.children()):
        return False
    ordered = not changed(module, nn.MultiheadAttention) or (doubts.apart and len(three[module]) == 1)
    return ordered and attention.told(two[module], three[module])


def _divide(
    how: Plan,
    model: nn.Module,
    calls: dict[nn.Module, list[Call]],
    total: Tensor,
    doubts: Doubts,
    opened: set[nn.Module],
) -> None:
    names = {p: name for name, p in how.parameters.items()}
    known = [m for m in calls if m in how.where and m not in doubts.unlike]
    how.formulas = {m: by for m in known if (by := formula(m, how.where[m], calls[m]))}
    how.formulas |= dict.fromkeys((m for m in known if m in opened), attention.parts)
    loose = _loose(how, calls, total)
    if partly := [m for m in known if m in opened and not loose.isdisjoint(m.parameters())]:
        how.formulas = {m: by for m, by in how.formulas.items() if m not in partly}
        loose = _loose(how, calls, total)
    read: dict[Tensor, list[tuple[nn.Module, str]]] = {}
    for m, by in how.formulas.items():
        for own, p in m.named_parameters(recurse=by is attention.parts):
            read.setdefault(p, []).append((m, own))
    graph, readers, tried = reached(total, []) & names.keys(), None, set()
    for p in [p for p in names if p in graph]:
        if p not in loose:
            how.sites[names[p]] = read.get(p, [])
            continue
        readers = readers or Readers(total)
        own = _owner(how, model, names[p], p, calls, readers)
        # layers whose work would be done again for the sake of p
        inside = doubts.apart and names[p] not in doubts.without_row
        inside = inside and any(m is not own and m in how.formulas for m in own.modules())
        kind = type(own), next(name for name, q in own.named_parameters() if q is p)
        shape = broadcast.row_shape(own, p, calls[own], how.where[own]) if inside and kind not in tried else None
        if shape is not None:
            how.rows[names[p]] = shape
        else:  # what fails in one block would fail in the next
            tried.add(kind)
            how.fallback.setdefault(own, []).append(names[p])


def _loose(how: Plan, calls: dict[nn.Module, list[Call]], total: Tensor) -> set[Tensor]:
    """Parameters that something else than layers with a formula reads."""
    return reached(total, [step for m in how.formulas for step in how.steps(m, calls)]) & {*how.parameters.values()}


@dataclass
class Read:
    """Names of the parameters that a loss reads, of those that it reads elsewhere than the plan has it, and the kinds
    of nodes in autograd's graph.
    """

    names: set[str]
    beyond: set[str]
    kinds: Counter


def read_by(
    how: Plan, model: nn.Module, rows: dict[str, Tensor], calls: dict[nn.Module, list[Call]], total: Tensor
) -> Read:
    """What a loss reads. A parameter that is read beside the row that stands for it is read elsewhere."""
    nodes, names = passed(total, []), {p: name for name, p in how.parameters.items()}
    ends = leaves(nodes)
    graph = {names[p] for p in ends & names.keys()}
    skipped = [step for m in how.modules if m is not model for step in how.steps(m, calls)]
    past = {names[p] for p in reached(total, skipped) & names.keys()}
    inside = {*how.sites, *(name for m, own in how.fallback.items() if m is not model for name in own)}
    beyond = (graph - how.used) | (graph & how.rows.keys()) | (past & inside)
    return Read(graph | {name for name, row in rows.items() if row in ends}, beyond, Counter(map(type, nodes)))


def _owner(how, model, name, p, calls, readers):
    """The smallest module, from the one that holds p upwards, through whose calls alone the loss depends on p."""
    path = name.split(".")[:-1]
    for k in range(len(path), 0, -1):
        module = model.get_submodule(".".join(path[:k]))
        if module in how.where and readers.all_inside(p, calls[module]):
            return module
    return model


def _chunk(how: Plan, images: Tensor, calls: dict[nn.Module, list[Call]]) -> int:
    leaves = [leaf for m in how.modules for call in calls[m] for leaf in (*call.read, *call.gave, *call.gave)]
    size = sum(leaf.numel() * leaf.element_size() for leaf in (images, *leaves) if isinstance(leaf, Tensor))
    size = (size + sum(step.bytes for m in how.modules for call in calls[m] for step in call.steps)) / 3
    return int(min(_LARGEST, max(1, _ACTIVATIONS.get(images.device.type, 2**27) // size)))
