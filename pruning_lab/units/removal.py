"""Accuracy along an order in which the units of a layer are removed, and what the next layer reads of them.

A unit is a neuron or a filter with all that belongs to it (`surgery`); any `nn.Sequential` will do, also one that is
not from `models`.
"""

from collections.abc import Iterator, Mapping, Sized
from numbers import Integral
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .. import samples
from ..nets.given import shown
from ..nets.surgery import place_of, unit_numbers
from ..precision import evaluation
from ..samples import wide

_BYTES = {"cpu": 2**24, "cuda": 2**28}  # of the widest tensor of a chunk of images: changes speed and memory, no answer
_BLOCK = 64  # units added one by one before they are taken in one product, so that rounding does not add up


class Curve(NamedTuple):
    """What removing 0..n units costs: `accuracy` in [0, 1] and `loss` (mean cross-entropy), both [n + 1] float64.

    >>> import torch
    >>> from pruning_lab import units
    >>> curve = units.Curve(torch.tensor([0.9, 0.5, 0.1]), torch.tensor([0.3, 1.2, 2.3]))
    >>> len(curve.accuracy) - 1  # units that went
    2
    """

    accuracy: Tensor  # [n + 1]
    loss: Tensor  # [n + 1]


class Single(NamedTuple):
    """What removing each unit alone costs: `accuracy` and `loss`, [n] float64, and those of the whole net.

    >>> import torch
    >>> from pruning_lab import units
    >>> single = units.Single(torch.tensor([0.8, 0.9]), torch.tensor([0.5, 0.3]), 0.9, 0.3)
    >>> (single.loss - single.whole_loss).argmax().item()  # the unit that costs most
    0
    """

    accuracy: Tensor  # [n]
    loss: Tensor  # [n]
    whole_accuracy: float  # with no unit removed
    whole_loss: float  # likewise


def pruning_curve(model: nn.Sequential, layer: str, order: Tensor, test, limit: int | None = None) -> Curve:
    """Accuracy and loss, [n + 1] each, on a `Split` after removing 0..n units in this order [n], without retraining.

    >>> from pruning_lab import data, models, units
    >>> digits = data.load("digits", "test", limit=20, device="cpu")
    >>> net = models.build("mlp", (1, 8, 8), width=4)
    >>> curve = units.pruning_curve(net, "fc1", units.order(net, "fc1", "norm"), digits)
    >>> curve.accuracy.shape  # after 0, 1, ... 4 removals
    torch.Size([5])
    """
    return pruning_curves(model, layer, {"order": order}, test, limit)["order"]


def pruning_curves(
    model: nn.Sequential, layer: str, orders: Mapping[str, Tensor], test, limit: int | None = None
) -> dict[str, Curve]:
    """A `Curve` for each of several orders [n], which share one pass over all that lies before the next layer.

    The next layer is linear in what it reads: each unit adds one term, and only what lies behind is computed anew.
    `limit`: so many first images. ValueError: an order that is not a permutation of the layer's units; images and
    labels that do not fit the model; losses that are not finite.

    >>> from pruning_lab import data, models, units
    >>> digits = data.load("digits", "test", limit=20, device="cpu")
    >>> net = models.build("mlp", (1, 8, 8), width=4)
    >>> orders = {name: units.order(net, "fc1", name) for name in ("norm", "frame_potential")}
    >>> curves = units.pruning_curves(net, "fc1", orders, digits)
    >>> [curve.loss.shape for curve in curves.values()]
    [torch.Size([5]), torch.Size([5])]
    """
    place = place_of(model, layer)
    if not isinstance(orders, Mapping):
        raise ValueError(f"orders are a {type(orders).__name__}: expected a mapping from names to orders of removal")
    orders = {name: _permutation(name, order, place.units) for name, order in orders.items()}
    totals, count = dict.fromkeys(orders, 0.0), 0
    with evaluation(model):
        for inputs, labels in _chunks(place, test, limit):
            count += len(labels)
            for name, order in orders.items():
                totals[name] = totals[name] + _tally(_along(place, inputs, order), place.tail, labels)
    return {name: Curve(*_means(total, count).flip(1)) for name, total in totals.items()}


def removal_losses(model: nn.Sequential, layer: str, test, limit: int | None = None) -> Single:
    """Accuracy and loss on a `Split` with each unit of a layer alone removed, and with none.

    >>> from pruning_lab import data, models, units
    >>> digits = data.load("digits", "test", limit=20, device="cpu")
    >>> single = units.removal_losses(models.build("mlp", (1, 8, 8), width=4), "fc1", digits)
    >>> single.loss.shape
    torch.Size([4])
    """
    place, total, count = place_of(model, layer), 0.0, 0
    with evaluation(model):
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

    >>> from pruning_lab import data, models, units
    >>> digits = data.load("digits", "test", limit=20, device="cpu")
    >>> net = models.build("mlp", (1, 8, 8), width=4)
    >>> units.class_activations(net, "fc1", digits).shape
    torch.Size([10, 4])
    """
    place, named = place_of(model, layer), getattr(data, "classes", ())
    classes = len(named) if isinstance(named, Sized) and not isinstance(named, str) else 0
    samples.check_range(samples.checked(data)[1], classes, f"the split names {classes} classes (split.classes)")
    totals, counts = 0.0, torch.bincount(data.labels.long(), minlength=classes).double().cpu()
    with evaluation(model):
        for inputs, labels in _chunks(place, data, None, classes):
            member = F.one_hot(labels, classes).T.double().cpu()
            totals = totals + member @ _double(wide(inputs).flatten(2).mean(2)).cpu()
    if bad := int((~totals.isfinite()).any(0).sum()):
        raise ValueError(
            f"what the next layer reads of {bad} of {place.units} units is not finite: check images and weights for "
            "NaN, or widen the model's type (model.float())"
        )
    return totals / counts.clamp_min(1)[:, None]


def _double(tensor):
    return (tensor.cpu() if tensor.device.type == "mps" else tensor).double()  # MPS has no float64


# What the next layer reads, and what it makes of it


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
            f"the model cannot read an image of shape {list(image.shape[1:])}: {shown(str(error))}; {_expected(place)}"
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


def _permutation(name, order, units):
    order = unit_numbers(order, units, f"order {name!r}")
    if order.shape != (units,) or order.sort().values.tolist() != list(range(units)):
        raise ValueError(f"order {name!r} is no order of removal: expected each of 0..{units - 1} once")
    return order
