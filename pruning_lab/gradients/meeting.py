"""Whether samples meet inside a model: then a sample has no gradient of its own."""

import torch
from torch import Tensor, nn

from .calls import Call, Place
from .doubts import Branches, NotTold

DEPENDS = (
    "the model's output for one image depends on the other images of its batch, or on chance, so that an image "
    "has no gradient of its own: expected one output an image, images first, in a tensor or in tuples, "
    "lists and dictionaries of tensors, and the same each time; look for batch statistics and random numbers"
)


def check_sizes(where: dict, calls: dict[nn.Module, list[Call]], names: dict[nn.Module, str], n: int) -> None:
    """NotTold where a module is called another number of times than at first, if it is called, or where what a call
    reads or gives is not as long as n samples make it.
    """
    other = [m for m, own in where.items() if len(calls.get(m, [])) not in (0, len(own))]
    for m in other:
        raise Branches(
            other,
            f"{type(m).__name__} was called {len(where[m])} times for some images and {len(calls[m])} times for "
            "others: a model that branches on what it sees needs one split for each branch",
        )
    wrong = {m: got for m, own in where.items() if (got := _unlike_any(calls.get(m), own, n)) is not None}
    for m, got in wrong.items():
        who = f"{names[m] or 'model'!r} ({type(m).__name__})"
        raise NotTold(
            list(wrong), f"{who} has {got} entries for {n} samples, which is not as many for each as at first"
        )


def _unlike_any(calls: list[Call] | None, own: list[tuple[list, list]], n: int) -> int | None:
    """The first of `_unlike` of a module's calls, if there are any."""
    for call, places in zip(calls, own, strict=True) if calls else ():
        for leaves, leaf_places in zip((call.read, call.gave), places, strict=True):
            if (got := _unlike(leaves, leaf_places, n)) is not None:
                return got
    return None


def _unlike(leaves: list, places: list[Place | None], n: int) -> int | None:
    """How many entries a leaf has that has not the same number for each of n samples; None if all are as they should
    be.
    """
    if len(leaves) != len(places):
        return len(leaves)
    for leaf, place in zip(leaves, places, strict=True):
        if place and (leaf.ndim <= place.dim or leaf.shape[place.dim] != n * place.share):
            return leaf.shape[place.dim] if leaf.ndim > place.dim else 1
    return None


def entangled(
    model: nn.Module, where: dict, calls: dict[nn.Module, list[Call]], each: Tensor, at: int
) -> list[nn.Module]:
    """Modules that give something for another sample on which the loss or output of the one at a place depends.

    Outputs and losses `each` [n] may be the same in any company, and yet samples meet, in something that is equal for
    all of them: a mean over a batch of ones. ValueError where it is the loss itself in which they meet.
    """
    given = {}
    for m, own in where.items():
        for call, (_, gave) in zip(calls[m], own, strict=True) if calls.get(m) else ():
            for edge, place in zip(call.edges, gave, strict=True):
                if edge is not None and place is not None:
                    given.setdefault((edge, place), []).append(m)
    total, edges = _of_one(model, where, calls, each, at), list(dict.fromkeys(edge for edge, _ in given))
    deltas = dict(zip(edges, torch.autograd.grad(total, edges, allow_unused=True, retain_graph=True), strict=True))
    met = [m for (edge, place), own in given.items() if _others_have_some(deltas[edge], place, at) for m in own]
    if model in met:
        raise ValueError(DEPENDS)
    return list(dict.fromkeys(met))


def _of_one(model, where, calls, each, at):
    """The loss of a sample, and its outputs in a direction drawn at random: a sure answer has no loss."""
    generator, total = torch.Generator().manual_seed(0), each[at]
    call, (_, gave) = calls[model][0], where[model][0]
    for leaf, place in zip(call.gave, gave, strict=True):
        if place is not None and leaf.requires_grad:
            own = place.samples(leaf, slice(at, at + 1))
            total = total + (own * torch.randn(own.shape, generator=generator, dtype=own.dtype).to(own.device)).sum()
    return total


def _others_have_some(delta: Tensor | None, place: Place, at: int) -> bool:
    if delta is None or not delta.numel():
        return False
    rows = place.first(delta).abs()
    largest = rows.reshape(len(rows), -1).amax(1)
    own = largest[at].clone()
    largest[at] = 0
    return bool((largest > torch.finfo(delta.dtype).eps * own).any())


class Seen:
    """What one sample gave in its company: the model's outputs and the loss."""

    def __init__(self, gave: list, places: list[Place | None], each: Tensor, at: int):
        here, own = slice(at, at + 1), [(t, place) for t, place in zip(gave, places, strict=True) if place]
        self.given = [place.samples(t, here).detach().clone() for t, place in own] + [each[here].detach().clone()]
        self.sizes = [float(t.detach().nan_to_num(0, 0, 0).abs().amax()) if t.numel() else 0 for t, _ in own]
        self.sizes.append(sum(self.sizes) + float(each.detach().abs().amax()))

    def check(self, other: "Seen") -> None:
        """ValueError where the sample gave something else in another company."""
        for a, b, *sizes in zip(self.given, other.given, self.sizes, other.sizes, strict=True):
            if a.shape != b.shape or not bool(((a == b) | ((a - b).abs() <= 1e-3 * max(sizes))).all()):
                raise ValueError(DEPENDS)
