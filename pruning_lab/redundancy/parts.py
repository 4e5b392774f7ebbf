"""The parts of a net whose units can go: layers of a plain row, or groups of layers that lose a unit together."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from .. import units
from ..criteria import find
from ..nets import layers as checks
from ..units import coupled
from .found import sentence
from .sight import Seen

CRITERIA = ("norm", "frame_potential", "worth")
SEEDS = 3  # random orders


@dataclass(frozen=True)
class Part:
    """Units that can go, or not: `tied` says why."""

    name: str  # the layer that names it
    kind: str  # "units", "heads", "stream"; "weights": those that are not in a layer whose units are looked at
    units: float  # NaN where it has none that is known
    tied: str | None = None
    group: Any = field(default=None, repr=False)  # what `coupled.groups` found; None: a layer of a plain row
    parameters: int = 0  # of "weights"


def weighted(model: nn.Module) -> dict[str, nn.Module]:
    """The linear and convolutional layers by name, in order; a layer that stands in several places once."""
    return {n: m for n, m in model.named_modules() if isinstance(m, nn.Linear | nn.modules.conv._ConvNd)}


def rows(model: nn.Module, name: str) -> Tensor | None:
    """The weight vectors of a layer's units, [units, inputs] float64 on the CPU; None: it has none that can be read."""
    if name not in (named := weighted(model)):
        return None  # a stream may be named after a parameter
    weight = checks.current(named[name], "weight")
    if not isinstance(weight, Tensor) or weight.ndim < 2 or weight.is_meta:
        return None
    return weight.detach().flatten(1).double().cpu()


def parts(model: nn.Module, example: Tensor) -> list[Part]:
    """All parts in the order of the net; layers and other weights that no part names stand at the end with a reason."""
    found = _in_a_row(model) if isinstance(model, nn.Sequential) and not checks.own_forward(model) else []
    if all(part.tied for part in found):
        try:
            found = [_of_group(group) for group in coupled.groups(model, example)]
        except (ValueError, ImportError) as error:
            found = found or [Part(n, "units", _size(m), sentence(error)) for n, m in weighted(model).items()]
    groups = [part.group for part in found if part.group]
    modules = {name for name, _ in model.named_modules()}
    # a parameter of its own in a group that stays as it is has a reason of its own, too
    of_groups = {n for g in groups for n in (*g.layers, *g.norms) if not g.tied or n in modules}
    named = {part.name for part in found} | of_groups
    cuts = [cut for group in groups for cut in group.cuts]
    read = {cut.module for cut in cuts}
    left = {n: "no group of units was found here" for n in weighted(model) if n not in named | read}
    left |= _beside(model, groups)
    found += [Part(n, "units", _size(model.get_submodule(n)), why) for n, why in left.items()]
    whole = named | set(weighted(model)) | {name for name in read if _of_torch(model.get_submodule(name))}
    tensors = {f"{cut.module}.{tensor}".lstrip(".") for cut in cuts for tensor, _ in cut.tensors}
    return found + _others(model, whole, named | tensors)


def _beside(model: nn.Module, groups: list) -> dict[str, str]:
    """The layers that stay since they go with another one that does: name -> reason."""
    going = {n for g in groups if not g.tied for n in g.layers} | {g.name for g in groups}
    tied = {n: g for g in groups if g.tied for n in g.layers if n in weighted(model) and n not in going}
    return {n: g.tied if g.tied == coupled.OUTPUTS else f"goes with {g.name}: {g.tied}" for n, g in tied.items()}


def _of_torch(module: nn.Module) -> bool:
    return type(module).__module__.startswith("torch.nn.")


def _others(model: nn.Module, whole: set[str], tensors: set[str]) -> list[Part]:
    """The weights of two or more dimensions that no part holds, by layer or, of own parameters, by parameter.

    whole: modules that parts hold with all that is in them. tensors: parameters that parts hold.
    """
    found = []
    for name, module in model.named_modules():
        own = {n: p for n, p in module.named_parameters(name, recurse=False) if p.ndim > 1 and n not in tensors}
        if name in whole or not own:
            continue
        if _of_torch(module):
            kind = type(module).__name__
            tied = f"of kind {kind}: only linear and convolutional layers and heads of attention are looked at"
            size = sum(p.numel() for p in module.parameters(recurse=False))
            found.append(Part(name, "weights", math.nan, tied, parameters=size))
        else:
            tied = "a parameter of its own, not of a layer: which of its dimensions is one of units is not known"
            found += [Part(n, "weights", math.nan, tied, parameters=p.numel()) for n, p in own.items()]
    return found


def _in_a_row(model: nn.Sequential) -> list[Part]:
    """The layers of a plain row; the last gives the outputs."""
    names, found = list(weighted(model)), []
    for name in names:
        tied = coupled.OUTPUTS if name == names[-1] else None
        try:
            if tied is None:
                units.place_of(model, name)
        except ValueError as error:
            tied = sentence(error)
        found.append(Part(name, "units", _size(model.get_submodule(name)), tied))
    return found


def _of_group(group) -> Part:
    return Part(group.name, group.kind, int(group.units), group.tied, group)


def _size(layer: nn.Module) -> int:
    return layer.out_features if isinstance(layer, nn.Linear) else layer.out_channels


def orders(model: nn.Module, part: Part, seen: Seen | None) -> dict[tuple[str, int], Tensor]:
    """(criterion, seed) -> units in the order in which they go, for `CRITERIA` and three random ones.

    What a criterion cannot say of a part is left out.
    """
    found = {}
    for criterion in CRITERIA:
        try:
            found[criterion, 0] = _by(model, part, criterion, seen)
        except ValueError:
            continue
    for seed in range(SEEDS):
        found["random", seed] = torch.randperm(part.units, generator=torch.Generator().manual_seed(seed))
    return found


def _by(model: nn.Module, part: Part, criterion: str, seen: Seen | None) -> Tensor:
    if criterion == "worth":
        if seen is None or len(seen.worth) != part.units:
            raise ValueError("what the loss says is of other units")
        return seen.worth.argsort(stable=True)
    if part.group is None:
        return units.order(model, part.name, criterion).cpu()
    return coupled.group_scores(model, part.group, find(criterion).__name__).argsort(stable=True).cpu()


def without(model: nn.Module, part: Part, removed: Tensor) -> nn.Module:
    """A copy in which these units give nothing."""
    zero = units.zeroed if part.group is None else coupled.zero_units
    return zero(model, part.name if part.group is None else part.group, removed)


def smaller(model: nn.Module, part: Part, removed: Tensor, example: Tensor) -> nn.Module:
    """A copy that really lacks these units."""
    if part.group is None:
        return units.remove(model, part.name, removed)
    # each dimension of each weight is of one group alone, so that a group holds where others have lost units
    return coupled.remove_units(model, part.group, removed, example)
