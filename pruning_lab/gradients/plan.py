"""Which parameter's gradients come from where, found by running a few images and walking autograd's graph once.

A parameter read by nothing but layers with a formula is theirs. Of the others, one that broadcasts over the samples
gets a row for each; the rest belong to the smallest module inside which they do all their work, and which is
differentiated sample by sample.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from . import conv, embedding, free, linear, norms
from .calls import Call, places, run

FORMULAS = linear.FORMULAS | conv.FORMULAS | norms.FORMULAS | embedding.FORMULAS
_ACTIVATIONS = {"cpu": 2**29, "cuda": 2**31}  # bytes that the layers of one chunk of samples read and give
_LARGEST = 1024  # samples in a chunk


@dataclass
class Plan:
    """Parameters by name; for each that gets a gradient, one of three sources."""

    parameters: dict[str, Tensor]
    where: dict[nn.Module, list[tuple[list, list]]]  # places of the samples in what each call reads and gives
    # layers with a formula, and their own name for it
    sites: dict[str, list[tuple[nn.Module, str]]] = field(default_factory=dict)
    # the shape of one sample's row, broadcast over the samples
    free: dict[str, tuple[int, ...]] = field(default_factory=dict)
    others: dict[nn.Module, list[str]] = field(default_factory=dict)
    chunk: int = 1

    @property
    def modules(self) -> list[nn.Module]:
        """Those whose calls must be noted."""
        return list(dict.fromkeys([m for found in self.sites.values() for m, _ in found] + list(self.others)))

    def give_to(self, module: nn.Module, name: str) -> None:
        """Takes a parameter from wherever it was: its gradients now come from this module, sample by sample."""
        self.sites.pop(name, None), self.free.pop(name, None)
        for names in self.others.values():
            names[:] = [other for other in names if other != name]
        self.others.setdefault(module, []).append(name)
        self.others = {m: names for m, names in self.others.items() if names}

    @property
    def used(self) -> set[str]:
        """Parameters that get a gradient."""
        return {*self.sites, *self.free, *(name for names in self.others.values() for name in names)}


def plan(model: nn.Module, images: Tensor, labels: Tensor, loss) -> Plan:
    """Who does what; `images`, `labels` are a split's first three (or fewer). ValueError: samples not told apart."""
    index = torch.arange(3, device=images.device) % len(images)
    images, labels = images[index], labels[index.to(labels.device)]
    out, three = run(model, images, model.modules())
    each = loss(out, labels)
    out, two = run(model, images[:2].clone(), model.modules())
    where = _where(two, three)
    _check_alone(model, where, three, loss(out, labels[:2]), each)
    total = each.sum()
    found = Plan({name: p for name, p in model.named_parameters() if p.requires_grad and p.numel()}, where)
    _divide(found, model, images, three, total)
    found.chunk = _chunk(found, images, three)
    return found


def _check_alone(model: nn.Module, where: dict, calls: dict[nn.Module, list[Call]], two: Tensor, three: Tensor) -> None:
    """ValueError where an image's output or loss is not its own."""
    if not all(call.untouched() for call in calls[model]):
        raise ValueError("the model changes its input in place: make its first operation out of place")
    if model not in where:
        raise ValueError(
            "the model's output for one image depends on the other images of its batch, or on chance, so that an image "
            "has no gradient of its own: expected one output an image, images first, in a tensor or in tuples, "
            "lists and dictionaries of tensors, and the same each time; look for batch statistics and random numbers"
        )
    if rough := [m for m, found in calls.items() if any(_is_rough(leaf) for call in found for leaf in call.gave)]:
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
    where = {}
    for module, calls in three.items():
        if len(two.get(module, [])) != len(calls):
            continue
        pairs = list(zip(two[module], calls, strict=True))
        found = [(places(a.read, b.read), places(a.gave, b.gave)) for a, b in pairs]
        if all(read is not None and gave is not None and any(gave) for read, gave in found) and all(
            c.untouched() for c in calls
        ):
            where[module] = found
    return where


def _divide(found: Plan, model: nn.Module, images: Tensor, calls: dict[nn.Module, list[Call]], total: Tensor) -> None:
    names = {p: name for name, p in found.parameters.items()}
    sites = [m for m in calls if m in found.where and _has_formula(m, found.where[m], calls[m])]
    read: dict[Tensor, list[tuple[nn.Module, str]]] = {}
    for m in sites:
        for own, p in m.named_parameters(recurse=False):
            read.setdefault(p, []).append((m, own))
    loose = _reached(total, [c for m in sites for c in calls[m]]) & names.keys()
    graph = _reached(total, []) & names.keys()
    for p in [p for p in names if p in graph]:
        if p not in loose:
            found.sites[names[p]] = read.get(p, [])
            continue
        own = _owner(found, model, names[p], p, calls, total)
        # layers whose work would be done again for the sake of p
        inside = any(m is not own and m in sites for m in own.modules())
        shape = free.row_shape(model, p, images) if inside else None
        if shape is not None:
            found.free[names[p]] = shape
        else:
            found.others.setdefault(own, []).append(names[p])


def _has_formula(module: nn.Module, where: list[tuple[list, list]], calls: list[Call]) -> bool:
    """Whether a module is just what its type says, and each of its calls of a shape that the formula takes."""
    formula = FORMULAS.get(type(module))
    if formula is None or "forward" in vars(module) or module._forward_hooks or module._forward_pre_hooks:
        return False
    if not isinstance(module.weight, nn.Parameter) or not isinstance(
        getattr(module, "bias", None), nn.Parameter | None
    ):
        return False  # computed from something else
    for call, (read, gave) in zip(calls, where, strict=True):
        if len(read) != 1 or len(gave) != 1 or read[0] != gave[0] or not isinstance(call.read[0], Tensor):
            return False
        if not formula[1](module, *read[0], call.read[0].ndim):
            return False
    return True


def _owner(found, model, name, p, calls, total):
    """The smallest module, from the one that holds p upwards, through whose calls alone the loss depends on p."""
    path = name.split(".")[:-1]
    for k in range(len(path), 0, -1):
        module = model.get_submodule(".".join(path[:k]))
        if module in found.where and p not in _reached(total, calls[module]):
            return module
    return model


def _reached(total: Tensor, skipped: list[Call]) -> set[Tensor]:
    """Leaves that autograd's graph reaches from the loss going from some calls' outputs straight to their inputs."""
    jumps = {edge.node: call.sources for call in skipped for edge in call.edges if edge is not None}
    # a call that hands on its input is no step
    jumps = {node: sources for node, sources in jumps.items() if node not in sources}
    found, seen, stack = set(), set(), [total.grad_fn]
    while stack:
        node = stack.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            found.add(node.variable)
        stack += jumps[node] if node in jumps else [following for following, _ in node.next_functions]
    return found


def _chunk(found: Plan, images: Tensor, calls: dict[nn.Module, list[Call]]) -> int:
    leaves = [leaf for m in found.modules for call in calls[m] for leaf in (*call.read, *call.gave, *call.gave)]
    size = sum(leaf.numel() * leaf.element_size() for leaf in (images, *leaves) if isinstance(leaf, Tensor)) / 3
    return int(min(_LARGEST, max(1, _ACTIVATIONS.get(images.device.type, 2**27) // size)))
