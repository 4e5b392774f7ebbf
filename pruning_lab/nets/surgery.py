"""What belongs to a unit of a layer, and its removal.

A unit is a neuron or a filter: its row, its bias, its norm's scale and shift, and its outgoing weights. Without it
the next layer reads nothing from it, whatever the activation in between. Any `nn.Sequential` will do, nested or not,
also one that is not from `models`; only what stands between a layer and the next is restricted (`_BETWEEN`).
"""

import copy
from typing import NamedTuple

import torch
from torch import nn

_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)
_BETWEEN = (  # all of these keep units apart
    *_NORMS, nn.Flatten, nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveMaxPool2d, nn.AdaptiveAvgPool2d, nn.Dropout,
    nn.Dropout2d, nn.Identity, nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU, nn.Mish,
    nn.Softplus, nn.Softsign, nn.Tanh, nn.Tanhshrink, nn.Sigmoid, nn.LogSigmoid, nn.Hardtanh, nn.Hardswish,
    nn.Hardsigmoid,
)  # fmt: skip


class Place(NamedTuple):
    """A layer, the next one with weights, and the modules around them."""

    layer: nn.Module
    norms: list[nn.Module]  # between `layer` and `following`
    following: nn.Module  # the next layer with weights
    head: nn.Sequential  # all before `following`
    tail: nn.Sequential  # all after it
    units: int


def zeroed(model: nn.Sequential, layer: str, removed) -> nn.Sequential:
    """A copy in which the removed units' rows, biases, norm scales and shifts, and outgoing weights are zero."""
    model = copy.deepcopy(model)
    place = place_of(model, layer)
    gone = ~_kept(place, removed)
    with torch.no_grad():
        for module in (place.layer, *place.norms):
            for tensor in (module.weight, module.bias):
                if tensor is not None:
                    tensor[_spread(gone, len(tensor))] = 0
        place.following.weight[:, _spread(gone, place.following.weight.shape[1])] = 0
    return model


def remove(model: nn.Sequential, layer: str, removed) -> nn.Sequential:
    """A really smaller copy without the removed units, whose outputs are those of `zeroed`.

    ValueError: no unit would be left; the layer is a grouped convolution, whose groups must stay of one size.
    """
    model = copy.deepcopy(model)
    place = place_of(model, layer)
    kept = _kept(place, removed)
    if not kept.any():
        raise ValueError(f"removing all {place.units} units of {layer!r} leaves no layer: keep one, or use zeroed")
    if getattr(place.layer, "groups", 1) != 1:
        raise ValueError(f"{layer!r} is a grouped convolution, whose units cannot go one by one: use zeroed")
    for module in (place.layer, *place.norms):
        for name in ("weight", "bias", "running_mean", "running_var"):
            _keep(module, name, kept, 0)
    _keep(place.following, "weight", kept, 1)
    setattr(place.layer, "out_features" if isinstance(place.layer, nn.Linear) else "out_channels", int(kept.sum()))
    inputs = "in_features" if isinstance(place.following, nn.Linear) else "in_channels"
    setattr(place.following, inputs, place.following.weight.shape[1])
    for module in place.norms:
        module.num_features = len(module.running_mean)
    return model


# Where the parts of a unit are


def place_of(model: nn.Sequential, layer: str) -> Place:
    """Finds a layer by name; ValueError where its units cannot be told apart in what the next layer reads."""
    modules = dict(_flat(model))
    names = list(modules)
    weighted = [name for name in names if isinstance(modules[name], nn.Linear | nn.Conv2d)]
    if layer not in weighted[:-1]:
        raise ValueError(f"{layer!r} has no units that can go: expected a layer before another, one of {weighted[:-1]}")
    following = weighted[weighted.index(layer) + 1]
    start, stop = names.index(layer), names.index(following)
    _check_between(modules, layer, following, names[start + 1 : stop])
    _check_plain(modules, layer, following)
    every = list(modules.values())
    norms = [module for module in every[start:stop] if isinstance(module, _NORMS)]
    head, tail = nn.Sequential(*every[:stop]), nn.Sequential(*every[stop + 1 :])
    return Place(modules[layer], norms, modules[following], head, tail, len(modules[layer].weight))


def _flat(model, prefix=""):
    """Names and modules in the order of computation, nested `nn.Sequential`s unrolled."""
    if not isinstance(model, nn.Sequential) or type(model).forward is not nn.Sequential.forward:
        raise ValueError(f"{type(model).__name__} is not a plain nn.Sequential: build the model as one, nested or not")
    for name, module in model._modules.items():
        if isinstance(module, nn.Sequential):
            yield from _flat(module, f"{prefix}{name}.")
        else:
            yield prefix + name, module


def _check_between(modules, layer, following, between):
    first, second = modules[layer], modules[following]
    for name in between:
        if not _keeps_apart(modules[name]):
            raise ValueError(
                f"{name!r}, {modules[name]}, between {layer!r} and {following!r} may mix units: expected "
                "activations, pooling, batch norm, dropout or nn.Flatten()"
            )
    flattened = any(isinstance(modules[name], nn.Flatten) for name in between)
    opened = isinstance(first, nn.Conv2d) and flattened  # then a unit has as many inputs of `following` as positions
    span, rest = divmod(second.weight.shape[1], len(first.weight))
    same = opened if isinstance(second, nn.Linear) != isinstance(first, nn.Linear) else span == 1 and not opened
    if not same or rest or span < 1:
        raise ValueError(
            f"{following!r}, {second}, does not read all units of {layer!r}, {first}, alike: expected "
            "matching sizes, groups=1, and nn.Flatten() between a convolution and a linear layer"
        )


def _check_plain(modules, layer, following):
    for name, module in modules.items():
        if sum(module is other for other in modules.values()) > 1 and next(module.parameters(), None) is not None:
            raise ValueError(f"{name!r} stands in the model twice: units of shared weights cannot go one by one")
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.running_mean is None:
            raise ValueError(f"{name!r} depends on the batch: use track_running_stats=True")
    for name in (layer, following):
        if "weight" not in modules[name]._parameters:
            raise ValueError(f"the weight of {name!r} is computed from others: make it plain, as prune.remove does")


def _keeps_apart(module):
    if isinstance(module, nn.Flatten):
        return (module.start_dim, module.end_dim) == (1, -1)
    return isinstance(module, _BETWEEN) or (isinstance(module, nn.PReLU) and module.num_parameters == 1)


def _kept(place, removed):
    """Mask of the units that stay, [units] bool, from the numbers of those that go."""
    removed = torch.as_tensor(removed, device=place.layer.weight.device)
    numbers = not removed.dtype.is_floating_point and removed.dtype != torch.bool
    if removed.numel() and not (numbers and removed.min() >= 0 and removed.max() < place.units):
        raise ValueError(f"removed={removed.tolist()}: expected numbers of units, 0..{place.units - 1}")
    kept = torch.ones(place.units, dtype=torch.bool, device=removed.device)
    kept[removed.long()] = False
    return kept


def _spread(mask, size):
    """A mask over units as one over `size` entries, of which a flattened unit has several in a row."""
    return mask.repeat_interleave(size // len(mask))


def _keep(module, name, kept, dim):
    tensor = getattr(module, name, None)
    if tensor is not None:
        small = tensor.detach().index_select(dim, _spread(kept, tensor.shape[dim]).nonzero()[:, 0])
        setattr(module, name, nn.Parameter(small, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else small)
