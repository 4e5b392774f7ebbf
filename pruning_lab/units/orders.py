"""The order in which a criterion removes the units of a layer, and what it reads of them.

A unit is a neuron or a filter with all that belongs to it (`surgery`); any `nn.Sequential` will do, also one that is
not from `models`.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .. import criteria, gradients, samples
from ..nets.given import check_seed, shown
from ..nets.surgery import place_of
from ..precision import evaluation
from ..samples import wide
from .removal import _chunks, _double, _whole

_STATISTICS = {"gradient": "mean", "diff": "diffs"}  # what is read of `gradients.Statistics`


def scores(model: nn.Sequential, layer: str, criterion, *, data=None, seed: int = 0, **given: Tensor) -> Tensor:
    """Scores of a layer's units while all are there, [units] float64 (pairwise: row sums); arguments as for `order`.

    >>> import torch
    >>> from pruning_lab import models, units
    >>> net = models.build("mlp", (1, 8, 8), width=2, hidden=1)
    >>> _ = net.fc1.weight.data.copy_(torch.tensor([2.0, 3.0])[:, None].expand(2, 64))
    >>> units.scores(net, "fc1", "frame_potential").round(decimals=4).tolist()  # two parallel rows
    [2.0, 2.0]
    """
    values = _values(model, layer, criterion, data, seed, given)
    return values.sum(1) if values.ndim == 2 else values


def order(
    model: nn.Sequential, layer: str, criterion, *, remove: str = "lowest", data=None, seed: int = 0, **given: Tensor
) -> Tensor:
    """A layer's units in the order of their removal, [units] int64; of equal scores the lower position goes first.

    Pairwise terms make it greedy: after each removal the terms of the removed unit leave the scores.

    Args:
        criterion: a name in `criteria.UNIT`, or a function whose parameters are in `criteria.READS`.
        remove: "lowest" or "highest" score first.
        data: a `Split` for criteria that read `gradient` or `diff`, or activations: then images x units x positions
            numbers are held at once.
        seed: of the noise that a criterion reads.
        given: tensors that a criterion reads and the model does not hold: `init`, and `gradient` and `diff` without
            `data`.

    Raises:
        ValueError: no such layer, criterion or direction; weights or scores not finite; nothing to read from; images
        and labels that do not fit the model.

    >>> import torch
    >>> from pruning_lab import models, units
    >>> net = models.build("mlp", (1, 8, 8), width=3, hidden=1)
    >>> _ = net.fc1.weight.data.copy_(torch.tensor([2.0, 3.0, 1.0])[:, None].expand(3, 64))
    >>> units.order(net, "fc1", "norm").tolist()
    [2, 0, 1]
    >>> units.order(net, "fc1", "norm", remove="highest").tolist()
    [1, 0, 2]
    """
    if not isinstance(remove, str) or remove not in ("lowest", "highest"):
        raise ValueError(f"remove={shown(remove)}: expected 'lowest' or 'highest'")
    values = _values(model, layer, criterion, data, seed, given)
    values = values if remove == "lowest" else -values
    positions = _greedy(values) if values.ndim == 2 else values.argsort(stable=True)
    return positions.to(place_of(model, layer).layer.weight.device)


# What a criterion says


def _values(model, layer, criterion, data, seed, given):
    """Float64 scores [units] or pairwise terms [units, units] of a layer's units."""
    place, function = place_of(model, layer), criteria.find(criterion)
    check_seed(seed)
    criteria.finite(place.layer.weight, layer)
    n, asked = place.units, criteria.unread(function, given)
    ways = dict.fromkeys(("activation", "activation_gradient", *_STATISTICS), "data=, a Split")
    with evaluation(model):
        held = _held(place, asked, data, seed) | _differentiated(model, layer, asked, data) | _of_one_s_own(given)
        values = _double(criteria.evaluate(function, held, layer, [(n,), (n, n)], ways))
    return _exact(values) if values.ndim == 2 else values


def _of_one_s_own(given):
    """What a caller gave, activations as copies, which a criterion may do with what it likes."""
    return {
        read: t.clone() if read.startswith("activation") and isinstance(t, Tensor) else t for read, t in given.items()
    }


def _held(place, asked, data, seed):
    """What a criterion may read of the layer, in float64: its weights, noise, and activations that are `asked` for."""
    weight = _double(place.layer.weight.detach())
    noise = torch.rand(place.units, generator=torch.Generator().manual_seed(int(seed)), dtype=torch.float64)
    held = {"weight": weight, "noise": noise.to(weight.device)}
    if data is not None and any(read.startswith("activation") for read in asked):
        held |= _activations(place, data, gradients="activation_gradient" in asked)
    return held


def _differentiated(model, layer, asked, data):
    """The mean gradient and the diffs of a layer's weights over all samples, as far as they are `asked` for."""
    kept = {read: _STATISTICS[read] for read in asked if read in _STATISTICS}
    if not kept or data is None:
        return {}
    images, _ = samples.checked(data)
    samples.check_pictures(images)
    statistics = gradients.statistics(model, data, want=set(kept.values()))
    return {read: _double(getattr(statistics, name)[f"{layer}.weight"]) for read, name in kept.items()}


def _activations(place, data, gradients):
    """`activation` and, if wanted, `activation_gradient`, [images, units, positions]: what `following` reads."""
    parts = {"activation": []} | ({"activation_gradient": []} if gradients else {})
    for inputs, labels in _chunks(place, data, None):
        parts["activation"].append(wide(inputs).flatten(2))
        if gradients:
            with torch.enable_grad():
                leaf = inputs.detach().requires_grad_()
                loss = F.cross_entropy(wide(place.tail(_whole(place, leaf))), labels, reduction="sum")
            parts["activation_gradient"].append(wide(torch.autograd.grad(loss, leaf)[0]).flatten(2))
    return {name: torch.cat(tensors) for name, tensors in parts.items()}


def _greedy(terms):
    """Positions by smallest row sum over what is still there, one removal after the other: O(n) work each."""
    score, columns = terms.sum(1), terms.T.contiguous()
    positions = torch.empty(len(score), dtype=torch.int64, device=score.device)
    for k in range(len(score)):
        worst = score.argmin(dim=0, keepdim=True)  # the first of equals
        positions[k : k + 1] = worst
        score -= columns.index_select(0, worst)[0]
        score.index_fill_(0, worst, torch.inf)
    return positions


def _exact(terms):
    """Pairwise terms rounded to 40 bits below the largest in their row, so that their sums are exact in float64.

    Scores then neither drift as units go nor depend on the order of summation, and ties stay ties.
    """
    bits = min(40, 52 - len(terms).bit_length())
    largest = terms.abs().amax(1, keepdim=True).clamp_min(2.0**-900)
    step = largest / torch.frexp(largest).mantissa * 2.0**-bits  # a power of two, exactly
    return (terms / step).round_().mul_(step)
