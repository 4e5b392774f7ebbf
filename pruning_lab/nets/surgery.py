"""What belongs to a unit of a layer, and its removal.

A unit is a neuron or a filter: its row, its bias, its norm's scale and shift, and its outgoing weights. Without it
the next layer reads nothing from it, whatever the activation in between. Any `nn.Sequential` will do, nested or not,
also one that is not from `models`; only what stands between a layer and the next is restricted (`between`).
"""

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from . import layers
from .between import keeps_apart, owned
from .given import shown

_SIZES = ("num_features", "num_channels", "num_groups", "num_parameters")  # what modules between call their units


class Place(NamedTuple):
    """A layer, the next one with weights, and the modules around them."""

    layer: nn.Module
    norms: list[nn.Module]  # between `layer` and `following`, with something for each unit
    following: nn.Module  # the next layer with weights
    head: nn.Sequential  # all before `following`
    tail: nn.Sequential  # all after it
    units: int


def zeroed(model: nn.Sequential, layer: str, removed) -> nn.Sequential:
    """A copy in which the removed units' rows, biases, norm scales and shifts, and outgoing weights are zero.

    >>> from pruning_lab import models, units
    >>> net = units.zeroed(models.build("mlp", (1, 8, 8), width=4, hidden=1), "fc1", [0, 2])
    >>> net.fc1.weight.abs().sum(1).gt(0).tolist()
    [False, True, False, True]
    """
    gone = _gone(model, layer, removed)
    place = place_of(model := copied(model), layer)
    with torch.no_grad():
        for module in (place.layer, *place.norms):
            for tensor in (module.weight, getattr(module, "bias", None)):
                if tensor is not None:
                    tensor[_spread(gone, len(tensor))] = 0
        place.following.weight[:, _spread(gone, place.following.weight.shape[1])] = 0
    return model


def remove(model: nn.Sequential, layer: str, removed) -> nn.Sequential:
    """A really smaller copy without the removed units, whose outputs are those of `zeroed`.

    ValueError: no unit would be left; the layer is a grouped convolution, whose groups must stay of one size.

    >>> import torch
    >>> from pruning_lab import models, units
    >>> net = models.build("mlp", (1, 8, 8), width=4, hidden=1)
    >>> small = units.remove(net, "fc1", [0, 2])
    >>> small.fc1
    Linear(in_features=64, out_features=2, bias=True)
    >>> images = torch.ones(1, 1, 8, 8)
    >>> torch.allclose(small(images), units.zeroed(net, "fc1", [0, 2])(images), atol=1e-6)
    True
    """
    kept = ~_gone(model, layer, removed)
    if not kept.any():
        raise ValueError(f"removing all {len(kept)} units of {layer!r} leaves no layer: keep one, or use zeroed")
    if getattr(model.get_submodule(layer), "groups", 1) != 1:
        raise ValueError(f"{layer!r} is a grouped convolution, whose units cannot go one by one: use zeroed")
    place = place_of(model := copied(model), layer)
    for module in (place.layer, *place.norms):
        for name in ("weight", "bias", "running_mean", "running_var"):
            _keep(module, name, kept, 0)
    _keep(place.following, "weight", kept, 1)
    setattr(place.layer, "out_features" if isinstance(place.layer, nn.Linear) else "out_channels", int(kept.sum()))
    inputs = "in_features" if isinstance(place.following, nn.Linear) else "in_channels"
    setattr(place.following, inputs, place.following.weight.shape[1])
    for module in place.norms:
        for name in _SIZES:
            if (size := getattr(module, name, None)) is not None:
                setattr(module, name, int(_spread(kept, size).sum()))
    return model


def copied(model: nn.Module) -> nn.Module:
    """A copy of a model. ValueError: it holds something that cannot be copied."""
    try:
        return copy.deepcopy(model)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # whatever an attribute of a module may raise
        raise ValueError(
            f"the model cannot be copied ({shown(str(error))}): take away what its modules hold beside tensors and "
            "plain values"
        ) from error


def removable(model: nn.Sequential) -> list[str]:
    """Names of the layers whose units can go, in order."""
    modules = _modules(model)
    return [name for name in _weighted(modules)[:-1] if not _refusal(model, modules, name)]


# Where the parts of a unit are


def place_of(model: nn.Sequential, layer: str) -> Place:
    """Finds a layer by name; ValueError where its units cannot be told apart in what the next layer reads.

    >>> from pruning_lab import models, units
    >>> place = units.place_of(models.build("mlp", (1, 8, 8), width=4, hidden=1), "fc1")
    >>> place.units, place.following
    (4, Linear(in_features=4, out_features=10, bias=True))
    """
    modules = _modules(model)
    if layer not in _weighted(modules)[:-1]:
        raise ValueError(f"{layer!r} has no units that can go: {_expected(model, modules)}")
    if refusal := _refusal(model, modules, layer):
        raise ValueError(refusal)
    if modules[layer].weight.is_complex():
        raise ValueError(f"{layer!r} has complex weights: units are scored and left out where they are real numbers")
    names, every = list(modules), list(modules.values())
    following = _following(modules, layer)
    start, stop = names.index(layer), names.index(following)
    norms = [module for module in every[start + 1 : stop] if owned(module)]
    head, tail = nn.Sequential(*every[:stop]), nn.Sequential(*every[stop + 1 :])
    return Place(modules[layer], norms, modules[following], head, tail, len(modules[layer].weight))


def _modules(model: nn.Module) -> dict[str, nn.Module]:
    """Names and modules in the order of computation, nested `nn.Sequential`s unrolled; ValueError where there is
    none.
    """
    layers.check_model(model)
    if not _in_a_row(model):
        raise ValueError(
            f"{type(model).__name__} is not a plain nn.Sequential: units can go where layers stand in a row and each "
            "is read by the next alone, not where a forward of its own or branches join them; single weights of any "
            "net can go (masks)"
        )
    return dict(_flat(model))


def _in_a_row(module: nn.Module) -> bool:
    return isinstance(module, nn.Sequential) and not layers.own_forward(module)


def _flat(model: nn.Sequential, prefix: str = "") -> Iterator[tuple[str, nn.Module]]:
    if layers.hooked(model):
        raise ValueError(
            f"{prefix[:-1] or 'the model'!r} has forward hooks (its own, or those of all modules), which a measurement "
            "layer by layer would pass by: take them away first (the handle's .remove())"
        )
    for name, module in model._modules.items():
        if _in_a_row(module):
            yield from _flat(module, f"{prefix}{name}.")
        else:
            yield prefix + name, module


def _weighted(modules: Mapping[str, nn.Module]) -> list[str]:
    return [name for name, module in modules.items() if isinstance(module, nn.Linear | nn.Conv2d)]


def _following(modules: Mapping[str, nn.Module], layer: str) -> str:
    names = _weighted(modules)
    return names[names.index(layer) + 1]


def _expected(model: nn.Module, modules: Mapping[str, nn.Module]) -> str:
    """The layers whose units can go; where there is none, why not."""
    candidates = _weighted(modules)[:-1]
    if not candidates:
        return "expected a layer before another one, but the model has no two linear or convolutional layers in a row"
    if fit := [name for name in candidates if not _refusal(model, modules, name)]:
        return f"expected a layer before another, one of {fit}"
    return f"no layer of this model has; {_refusal(model, modules, candidates[0])}"


def _refusal(model: nn.Module, modules: Mapping[str, nn.Module], layer: str) -> str:
    """Why the units of a layer that stands before another cannot go one by one; empty if they can."""
    names, following = list(modules), _following(modules, layer)
    between = names[names.index(layer) + 1 : names.index(following)]
    try:
        _check_between(modules, layer, following, between)
        _check_batch(model)
        layers.check(model, [layer, *between], hooks=False)
        layers.check(model, [following])
    except ValueError as error:
        return str(error)
    return ""


def _check_between(modules: Mapping[str, nn.Module], layer: str, following: str, between: Sequence[str]) -> None:
    first, second, flattened = modules[layer], modules[following], False
    for name in between:
        if getattr(modules[name], "return_indices", False):
            raise ValueError(
                f"{name!r}, {_short(modules[name])}, gives positions beside numbers, which no layer reads: use "
                "return_indices=False"
            )
        if not keeps_apart(modules[name], pictures=isinstance(first, nn.Conv2d) and not flattened):
            raise ValueError(
                f"{name!r}, {_short(modules[name])}, between {layer!r} and {following!r} may mix units: expected "
                "activations, pooling, padding, norms of each unit alone, dropout or nn.Flatten()"
            )
        flattened = flattened or isinstance(modules[name], nn.Flatten)
    for name in (layer, following):  # before their sizes are asked for: a parametrised weight would take a step
        layers.check_plain(modules[name], name)
    if not len(first.weight):
        raise ValueError(f"{layer!r}, {_short(first)}, has no units: expected a layer of at least one")
    opened = isinstance(first, nn.Conv2d) and flattened  # then a unit has as many inputs of `following` as positions
    span, rest = divmod(second.weight.shape[1], len(first.weight))
    same = opened if isinstance(second, nn.Linear) != isinstance(first, nn.Linear) else span == 1 and not opened
    if not same or rest or span < 1:
        raise ValueError(
            f"{following!r}, {_short(second)}, does not read all units of {layer!r}, {_short(first)}, alike: expected "
            "matching sizes, groups=1, and nn.Flatten() between a convolution and a linear layer"
        )


def _check_batch(model: nn.Module) -> None:
    for name, module in model.named_modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.running_mean is None:
            raise ValueError(f"{name!r} depends on the batch: use track_running_stats=True")


def _short(module: nn.Module) -> str:
    """A module in words: as it describes itself, or by its class where it has others inside."""
    inside = next(module.children(), None) is not None
    return f"a {type(module).__name__} with layers of its own" if inside else str(module)


# Which units go


def _gone(model: nn.Sequential, layer: str, removed) -> Tensor:
    """Which units go, [units] bool, from their numbers; ValueError where a copy without them cannot be made."""
    place = place_of(model, layer)
    names, following = list(modules := _modules(model)), _following(modules, layer)
    layers.check(model, names[names.index(layer) : names.index(following) + 1])
    layers.check_copy(model)
    gone = torch.zeros(place.units, dtype=torch.bool, device=place.layer.weight.device)
    gone[unit_numbers(removed, place.units, "removed").to(gone.device)] = True
    return gone


def unit_numbers(given, units: int, name: str) -> Tensor:
    """Numbers of units as int64; ValueError unless all are whole and in 0..units - 1."""
    try:
        numbers = torch.as_tensor(given)
        if numbers.is_meta or numbers.layout != torch.strided or numbers.ndim > 1:
            raise ValueError("no row of numbers")
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise ValueError(f"{name}={shown(given)}: expected numbers of units, 0..{units - 1}") from error
    wrong = numbers.dtype.is_floating_point or numbers.dtype.is_complex or numbers.dtype == torch.bool
    if numbers.numel() and (wrong or not ((numbers.long() >= 0) & (numbers.long() < units)).all()):
        raise ValueError(f"{name}={shown(numbers.tolist())}: expected numbers of units, 0..{units - 1}")
    return numbers.long()


def _spread(mask: Tensor, size: int) -> Tensor:
    """A mask over units as one over `size` entries, of which a flattened unit has several in a row."""
    return mask.repeat_interleave(size // len(mask))


def _keep(module: nn.Module, name: str, kept: Tensor, dim: int) -> None:
    tensor = getattr(module, name, None)
    if tensor is not None:
        small = tensor.detach().index_select(dim, _spread(kept, tensor.shape[dim]).nonzero()[:, 0])
        setattr(module, name, nn.Parameter(small, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else small)
