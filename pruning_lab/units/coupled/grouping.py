"""Units that go together in any net: along a residual stream, through depthwise convolutions, heads of attention.

A group holds what its units have in all layers. A group that cannot lose units says why (`tied`). What the trace of
Torch-Pruning proposes counts only where a trial finds it to hold (`trial`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from ...nets import layers
from ...nets.given import check_names, shown
from ...nets.surgery import copied, unit_numbers
from .cuts import Cut, is_norm, mixes, zero
from .heads import Attention, attentions
from .tracing import Found, Trace
from .trial import Trial, differ, outputs, smaller


@dataclass(frozen=True)
class Group:
    """Units that belong together: `units` of them, of the layer `name` and of all other `layers` and `norms`.

    `kind`: "units", "heads" of attention, or "stream", where several layers' outputs are added. `tied`: why none of
    them can go; None where they can.
    """

    name: str
    kind: str
    units: int
    layers: tuple[str, ...]
    norms: tuple[str, ...] = ()
    tied: str | None = None
    cuts: tuple[Cut, ...] = field(default=(), repr=False)
    attention: str | None = field(default=None, repr=False)  # the module that counts heads


def groups(model: nn.Module, example: Tensor, only: Collection[str] | None = None) -> list[Group]:
    """All groups of units of a model, in the order of its forward pass; the model stays as it is.

    Args:
        example: a batch [n, ...] of what the model reads, of its type and on its device.
        only: names of groups; others are neither tried nor given. None: all.

    Raises:
        ValueError: a model that cannot be copied, has forward hooks, or does not run on the example; names that no
        group has. ImportError: Torch-Pruning is not here.
    """
    _check(model, example)
    if only is not None:
        check_names("only", only)
    trace, attended = Trace(model, example), attentions(model)
    found: dict[str, Found | list[Attention]] = {ways[0].name: ways for ways in attended.values()}
    found |= {one.name: one for one in trace.found(_inside(model, attended))}
    if unknown := set(only or ()) - found.keys():
        raise ValueError(f"only={sorted(unknown)}: expected names of groups, some of {', '.join(found)}")
    trial, order = Trial(model, example), list(trace.calls)
    made = [_made(model, trial, one) for name, one in found.items() if only is None or name in only]
    return sorted(made, key=lambda group: order.index(group.name) if group.name in order else len(order))


def _inside(model: nn.Module, attended: Mapping[str, Sequence[Attention]]) -> set[str]:
    """The layers that heads have rows of, which name no group of their own; of torch's own, all that it holds."""
    rows = {cut.module for ways in attended.values() for cut in ways[0].cuts if not cut.reads}
    torch_s = [name for name in attended if isinstance(model.get_submodule(name), nn.MultiheadAttention)]
    return rows | {n for name in torch_s for n, _ in model.get_submodule(name).named_modules(prefix=name)}


def _made(model: nn.Module, trial: Trial, one: Found | list[Attention]) -> Group:
    return _tried(model, trial, one) if isinstance(one, Found) else _heads(model, trial, one)


def zero_units(model: nn.Module, group: Group, removed) -> nn.Module:
    """A copy in which the removed units' rows, biases, norm scales and shifts, and the columns that read them are zero,
    so that nothing reads anything of them.

    ValueError: a tied group, or one of another model; numbers that are no units of it.
    """
    gone = _gone(model, group, removed)
    made = copied(model)
    zero(made, group.cuts, gone)
    return made


def remove_units(model: nn.Module, group: Group, removed, example: Tensor) -> nn.Module:
    """A really smaller copy, whose outputs on the example are those of `zero_units`: that is checked.

    ValueError: as for `zero_units`; no unit would be left; outputs differ by more than rounding.
    """
    gone = _gone(model, group, removed)
    if len(gone) == group.units:
        raise ValueError(
            f"removing all {group.units} units of {group.name!r} leaves no layer: keep one, or use zero_units"
        )
    _check_example(example)
    small = smaller(model, group.cuts, gone, group.units, group.attention)
    try:
        same = not differ(outputs(zero_units(model, group, gone), example), outputs(small, example))
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # whatever a model's own code makes of an example that it cannot read
        raise ValueError(
            f"without units of {group.name!r} the model does not run on the example of shape {list(example.shape)}: "
            f"{shown(str(error))}"
        ) from error
    if not same:
        raise ValueError(
            f"without units of {group.name!r} the model's outputs are not those with zeros in their place: the group "
            "is that of another model; ask for groups(model, example) again"
        )
    return small


# What a group is made of


def _heads(model: nn.Module, trial: Trial, ways: Sequence[Attention]) -> Group:
    """The heads of a module in the first way of belonging that a trial bears out."""
    tied = []
    for way in ways:
        reason = _refused(model, way.cuts) or trial.refusal(way.cuts, way.heads, way.module)
        if reason is None:
            return _group(way.name, "heads", way.heads, way.cuts, None, model, way.module)
        tied.append(reason)
    return _group(ways[0].name, "heads", ways[0].heads, ways[0].cuts, tied[0], model, ways[0].module)


def _tried(model: nn.Module, trial: Trial, found: Found) -> Group:
    """A group that the trace found, tied where its layers or a trial say so."""
    if found.tied:
        modules = dict(model.named_modules())
        norms = tuple(n for n in found.members if n in modules and (is_norm(modules[n]) or mixes(modules[n])))
        inside = tuple(n for n in found.members if n not in norms)
        return Group(found.name, found.kind, found.units, inside, norms, found.tied)
    reason = _refused(model, found.cuts) or trial.refusal(found.cuts, found.units, None)
    return _group(found.name, found.kind, found.units, found.cuts, reason, model)


def _refused(model: nn.Module, cuts: Sequence[Cut]) -> str | None:
    """Why these modules are not what their classes say, or share what they hold; None: they are plain."""
    names = list(dict.fromkeys(cut.module for cut in cuts))
    norms = [n for n in names if is_norm(model.get_submodule(n))]
    plain = [n for n in names if isinstance(model.get_submodule(n), nn.Linear | nn.modules.conv._ConvNd)]
    try:
        layers.check(model, plain)
        for name in norms:
            layers.check_plain(model.get_submodule(name), name)
        layers.check_alone(model, names)
    except ValueError as error:
        return str(error)
    return None


def _group(name: str, kind: str, units: int, cuts: Sequence[Cut], tied: str | None, model: nn.Module,
           attention: str | None = None) -> Group:  # fmt: skip
    norms = [c.module for c in cuts if is_norm(model.get_submodule(c.module))]
    losers = [_loser(model, cut) for cut in cuts if cut.module not in norms]
    return Group(name, kind, units, tuple(dict.fromkeys(losers)), tuple(norms), tied, tuple(cuts), attention)


def _loser(model: nn.Module, cut: Cut) -> str:
    """The name of a layer that loses something; of a parameter of no layer, its own."""
    if isinstance(model.get_submodule(cut.module), nn.Linear | nn.modules.conv._ConvNd | nn.MultiheadAttention):
        return cut.module
    return ".".join(filter(None, [cut.module, cut.tensors[0][0]]))


# What is given


def _check(model: nn.Module, example: Tensor) -> None:
    layers.check_model(model)
    _check_example(example)
    layers.check_copy(model)
    for name, module in model.named_modules():
        if layers.hooked(module) and not layers.computed(module):
            raise ValueError(
                f"{name or 'the model'!r} has forward hooks, which would run while units are tried: take them away "
                "first (the handle's .remove())"
            )
    copied(model)


def _check_example(example: Tensor) -> None:
    """ValueError unless this is a batch."""
    if not isinstance(example, Tensor) or example.ndim < 2 or not len(example):
        given = list(example.shape) if isinstance(example, Tensor) else type(example).__name__
        raise ValueError(f"the example is {given}: expected a batch [n, ...] of what the model reads, a tensor")


def check_group(model: nn.Module, group: Group) -> None:
    """ValueError unless units of this group of this model can go, and the model can be copied."""
    layers.check_model(model)
    if not isinstance(group, Group):
        raise ValueError(f"group={shown(group)}: expected one of groups(model, example)")
    if group.tied is not None:
        raise ValueError(f"the units of {group.name!r} stay: {group.tied}")
    for cut in group.cuts:
        _check_fits(model, cut, group)
    if reason := _refused(model, group.cuts):
        raise ValueError(reason)
    layers.check_copy(model)


def _gone(model: nn.Module, group: Group, removed) -> list[int]:
    """The numbers of units that go, each once; ValueError where they cannot, before anything is copied."""
    check_group(model, group)
    return sorted(set(unit_numbers(removed, group.units, "removed").reshape(-1).tolist()))


def _check_fits(model: nn.Module, cut: Cut, group: Group) -> None:
    """ValueError unless the model has the tensors that a cut names, large enough for it."""
    highest = max((p for positions in cut.positions for p in positions), default=-1)
    try:
        module = model.get_submodule(cut.module)
        held = [(getattr(module, a, None), dim) for a, dim in cut.tensors]
        fits = all(t is None or t.shape[dim] > highest for t, dim in held)
    except (AttributeError, IndexError):
        fits = False
    if not fits:
        raise ValueError(
            f"the model has no {cut.module!r} such as the group of {group.name!r} names: the group is that of another "
            "model; ask for groups(model, example) again"
        )
