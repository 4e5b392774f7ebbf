"""The order in which a criterion removes the units of a layer, and accuracy along it.

A unit is a neuron or a filter with all that belongs to it (`surgery`); any `nn.Sequential` will do, also one that is
not from `models`.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from numbers import Integral
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .. import criteria, gradients, samples
from ..nets.given import check_seed, running, shown
from ..nets.surgery import place_of, remove, unit_numbers, zeroed
from ..precision import tensor_float_32
from ..samples import wide

__all__ = [
    "Curve",
    "Single",
    "class_activations",
    "order",
    "pruning_curve",
    "pruning_curves",
    "removal_losses",
    "remove",
    "scores",
    "zeroed",
]

_BYTES = {"cpu": 2**24, "cuda": 2**28}  # of the widest tensor of a chunk of images: changes speed and memory, no answer
_STATISTICS = {"gradient": "mean", "diff": "diffs"}  # what is read of `gradients.Statistics`
_BLOCK = 64  # units added one by one before they are taken in one product, so that rounding does not add up


class Curve(NamedTuple):
    """What removing 0..n units costs: `accuracy` in [0, 1] and `loss` (mean cross-entropy), both [n + 1] float64."""

    accuracy: Tensor
    loss: Tensor


class Single(NamedTuple):
    """What removing each unit alone costs: `accuracy` and `loss`, [n] float64, and those of the whole net."""

    accuracy: Tensor
    loss: Tensor
    whole_accuracy: float
    whole_loss: float


def scores(model: nn.Sequential, layer: str, criterion, *, data=None, seed: int = 0, **given: Tensor) -> Tensor:
    """Scores of a layer's units while all are there, [units] float64 (pairwise: row sums); arguments as for `order`."""
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
    """
    if not isinstance(remove, str) or remove not in ("lowest", "highest"):
        raise ValueError(f"remove={shown(remove)}: expected 'lowest' or 'highest'")
    values = _values(model, layer, criterion, data, seed, given)
    values = values if remove == "lowest" else -values
    positions = _greedy(values) if values.ndim == 2 else values.argsort(stable=True)
    return positions.to(place_of(model, layer).layer.weight.device)


def pruning_curve(model: nn.Sequential, layer: str, order: Tensor, test, limit: int | None = None) -> Curve:
    """Accuracy and loss on a `Split` after removing 0..n units in this order, without retraining."""
    return pruning_curves(model, layer, {"order": order}, test, limit)["order"]


def pruning_curves(
    model: nn.Sequential, layer: str, orders: Mapping[str, Tensor], test, limit: int | None = None
) -> dict[str, Curve]:
    """A `Curve` for each of several orders, which share one pass over all that lies before the next layer.

    The next layer is linear in what it reads: each unit adds one term, and only what lies behind is computed anew.
    `limit`: so many first images. ValueError: an order that is not a permutation of the layer's units; images and
    labels that do not fit the model; losses that are not finite.
    """
    place = place_of(model, layer)
    if not isinstance(orders, Mapping):
        raise ValueError(f"orders are a {type(orders).__name__}: expected a mapping from names to orders of removal")
    orders = {name: _permutation(name, order, place.units) for name, order in orders.items()}
    totals, count = dict.fromkeys(orders, 0.0), 0
    with _evaluation(model):
        for inputs, labels in _chunks(place, test, limit):
            count += len(labels)
            for name, order in orders.items():
                totals[name] = totals[name] + _tally(_along(place, inputs, order), place.tail, labels)
    return {name: Curve(*_means(total, count).flip(1)) for name, total in totals.items()}


def removal_losses(model: nn.Sequential, layer: str, test, limit: int | None = None) -> Single:
    """Accuracy and loss on a `Split` with each unit of a layer alone removed, and with none."""
    place, total, count = place_of(model, layer), 0.0, 0
    with _evaluation(model):
        for inputs, labels in _chunks(place, test, limit):
            count += len(labels)
            total = total + _tally(_one_by_one(place, inputs), place.tail, labels)
    accuracy, loss = _means(total, count)
    return Single(accuracy[1:], loss[1:], float(accuracy[0]), float(loss[0]))


def class_activations(model: nn.Sequential, layer: str, data) -> Tensor:
    """Mean activation of a layer's units on the images of each class of a `Split`, [classes, units] float64.

    What the next layer reads is averaged over images and positions. A class without images has zeros.
    ValueError: images that do not fit the model; labels that name none of the split's classes; activations that are
    not finite.
    """
    place, classes = place_of(model, layer), len(getattr(data, "classes", ()))
    samples.check_range(samples.checked(data)[1], classes, f"the split names {classes} classes (split.classes)")
    totals, counts = 0.0, torch.bincount(data.labels.long(), minlength=classes).double().cpu()
    with _evaluation(model):
        for inputs, labels in _chunks(place, data, None, classes):
            member = F.one_hot(labels, classes).T.double().cpu()
            totals = totals + member @ _double(wide(inputs).flatten(2).mean(2)).cpu()
    if bad := int((~totals.isfinite()).any(0).sum()):
        raise ValueError(
            f"what the next layer reads of {bad} of {place.units} units is not finite: check images and weights for "
            "NaN, or widen the model's type (model.float())"
        )
    return totals / counts.clamp_min(1)[:, None]


# What a criterion says


def _values(model, layer, criterion, data, seed, given):
    """Float64 scores [units] or pairwise terms [units, units] of a layer's units."""
    place, function = place_of(model, layer), criteria.find(criterion)
    check_seed(seed)
    criteria.finite(place.layer.weight, layer)
    n, asked = place.units, criteria.unread(function, given)
    ways = dict.fromkeys(("activation", "activation_gradient", *_STATISTICS), "data=, a Split")
    with _evaluation(model):
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
    with running(images):
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


def _double(tensor):
    return (tensor.cpu() if tensor.device.type == "mps" else tensor).double()  # MPS has no float64


# Accuracy along an order


def _chunks(place, split, limit, classes=None) -> Iterator[tuple[Tensor, Tensor]]:
    """What `following` reads, [images, units, ...] stored unit by unit, and labels, in chunks of bounded size.

    `classes`: of what labels are; None: the model's outputs. ValueError: images, labels or a limit that do not fit.
    """
    images, labels = samples.checked(split)
    samples.check_pictures(images)
    if limit is not None and not (isinstance(limit, Integral) and not isinstance(limit, bool) and limit >= 1):
        raise ValueError(f"no images to measure on: the split has {len(images)}, limit={limit}; expected None or 1, 2, "
                         "...")  # fmt: skip
    images, labels = images[:limit], labels[:limit]
    weight = place.layer.weight
    logits, before, behind = _batches(place, images[:1].to(weight))
    if classes is None:
        samples.check_logits(logits.expand(len(labels), -1), labels)
    for x, y in zip(images.split(behind), labels.split(behind), strict=True):
        inputs = torch.cat([place.head(_channels_last(part.to(weight))) for part in x.split(before)])
        if isinstance(place.following, nn.Linear):
            inputs = inputs.unflatten(1, (place.units, -1))
        yield inputs.transpose(0, 1).contiguous().transpose(0, 1), y.to(weight.device, torch.int64)


def _batches(place, image):
    """What one image gives, and the number of images in a batch before `following`, and in a chunk from there on."""
    try:
        read, before = _widest(place.head, image)
        logits, behind = _widest((place.following, *place.tail), read)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # whatever a module makes of what it cannot read
        raise ValueError(
            f"the model cannot read an image of shape {list(image.shape[1:])} ({shown(str(error))}): {_expected(place)}"
        ) from error
    if read.ndim != (2 if isinstance(place.following, nn.Linear) else 4) or logits.ndim != 2:
        raise ValueError(
            f"one image gives {list(read.shape)} after the layer and {list(logits.shape)} in the end: "
            "expected [1, units] or [1, units, height, width], and logits [1, classes]"
        )
    numbers = _BYTES.get(image.device.type, 2**26) // image.element_size()
    return logits, max(1, numbers // before), max(1, numbers // behind)


def _expected(place):
    """What the first layer with weights reads, in words."""
    first = next(m for m in [*place.head, place.following] if isinstance(m, nn.Linear | nn.Conv2d))
    if isinstance(first, nn.Linear):
        return f"expected {first.in_features} numbers, which its first linear layer reads"
    return f"expected [{first.in_channels}, height, width], which its first convolution reads"


def _widest(modules, x):
    """The output and the size of the largest tensor on the way."""
    x, numel = x.clone(), x.numel()
    for module in modules:
        x = module(x)
        if not isinstance(x, Tensor):
            raise TypeError(f"a {type(module).__name__} gives a {type(x).__name__}, not a tensor")
        numel = max(numel, x.numel())
    return x, numel


def _channels_last(x):
    """Images in the layout in which a CPU convolves a little and pools ten times faster."""
    return x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x


def _whole(place, inputs):
    return place.following(inputs.flatten(1) if isinstance(place.following, nn.Linear) else _channels_last(inputs))


def _share(place, inputs, units):
    """What these units (a slice or a list) add to the output of `following`, [images, outputs, ...]."""
    weight = place.following.weight
    if isinstance(place.following, nn.Conv2d):  # its stride, padding and dilation, on fewer channels and without bias
        return place.following._conv_forward(_channels_last(inputs[:, units]), _channels_last(weight[:, units]), None)
    return F.linear(inputs[:, units].flatten(1), weight.unflatten(1, (place.units, -1))[:, units].flatten(1))


def _along(place, inputs, order):
    """Outputs of `following` with n, n - 1, ..., 0 units removed: summed upwards from its bias, so nothing cancels."""
    base = torch.zeros_like(wide(_share(place, inputs, slice(0, 1))))
    if place.following.bias is not None:
        base += place.following.bias.view(-1, *[1] * (base.ndim - 2))
    yield base.to(inputs.dtype)
    for block in order.flip(0).split(_BLOCK):
        total, block = base, block.tolist()
        for unit in block:
            total = total + wide(_share(place, inputs, slice(unit, unit + 1)))
            yield total.to(inputs.dtype)
        base = base + wide(_share(place, inputs, block))


def _one_by_one(place, inputs):
    """Outputs of `following`: whole, then without each unit alone."""
    whole = _whole(place, inputs)
    yield whole
    for unit in range(place.units):
        yield (wide(whole) - wide(_share(place, inputs, slice(unit, unit + 1)))).to(inputs.dtype)


def _tally(outputs, tail, labels):
    """Right answers and summed cross-entropy for each of the outputs of `following`, [2, outputs] float64."""
    hits, losses = [], []
    overwrites = any(getattr(module, "inplace", False) for module in tail.modules())
    for output in outputs:
        logits = wide(tail(output.clone() if overwrites else output))
        hits.append((logits.argmax(1) == labels).sum())
        losses.append((logits.logsumexp(1) - logits.gather(1, labels[:, None])[:, 0]).sum())
    return torch.stack([_double(torch.stack(hits)), _double(torch.stack(losses))])


def _means(total, count):
    """Accuracy and mean loss from `_tally`'s sums; ValueError where a loss is not finite."""
    if bad := int((~total[1].isfinite()).sum()):
        raise ValueError(
            f"the loss of {bad} of {total.shape[1]} nets is not finite: check images and weights for NaN, or widen the "
            "model's type (model.float())"
        )
    return total / count


@contextmanager
def _evaluation(model):
    """Evaluation mode without gradients and without TensorFloat-32; afterwards everything is as it was."""
    flags = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.no_grad(), tensor_float_32(False):
            yield
    finally:
        for module, training in flags:
            module.training = training


def _permutation(name, order, units):
    order = unit_numbers(order, units, f"order {name!r}")
    if order.shape != (units,) or order.sort().values.tolist() != list(range(units)):
        raise ValueError(f"order {name!r} is no order of removal: expected each of 0..{units - 1} once")
    return order
