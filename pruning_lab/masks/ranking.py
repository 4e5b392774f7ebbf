"""Masks from scores: how many weights each layer keeps, and which."""

import sys
import warnings
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..nets.given import check_flag, check_names, check_seed, check_tensors, shown
from . import budgets, cuts
from .weights import scores as scores_of

SCOPES = ("global", "local", "erk")
BUDGETS = {"uniform": "local", "erk": "erk"}


class EmptyLayer(UserWarning):
    """A layer has no weight left; `emptied` names the layers of a mask that has any.

    >>> import torch, warnings
    >>> from pruning_lab import masks
    >>> with warnings.catch_warnings(record=True) as said:
    ...     warnings.simplefilter("always")
    ...     kept = masks.build({"a": torch.tensor([1.0, 2.0]), "b": torch.tensor([3.0, 4.0])}, density=0.5)
    >>> said[0].category.__name__, masks.emptied(kept)
    ('EmptyLayer', ['a'])
    """


def build(
    scores: Mapping[str, Tensor],
    density: float,
    scope: str = "global",
    floor: float = 0.0,
    skip: Collection[str] = (),
    *,
    invert: bool = False,
    shuffle: str | None = None,
    seed: int = 0,
) -> dict[str, Tensor]:
    """Masks by the weights' names, in their shapes, True stays; of equal scores the earlier position stays, and the
    total is exact.

    A layer without weights has a mask without any.

    Args:
        scores: tensors by name, floating-point, whole numbers or bool; the highest stay, compared exactly whatever
            their type.
        density: fraction of all these weights that stays, skipped ones aside; the nearest whole number, halves up.
        scope: "global" ranks all weights together, "local" gives each layer the same density, "erk" its share under the
            Erdos-Renyi-Kernel (Evci et al. 2020).
        floor: density below which no layer falls; the source has 0.02 under global ranking (003, section 6.1).
        skip: names that get no mask.
        invert: keeps the lowest scores in place of the highest (003, section 6.1: the "_worst" masks).
        shuffle: "layer" keeps each layer's count and draws the places anew, by `seed` (Frankle et al. 2021).

    Raises:
        ValueError: bad arguments; scores that are complex or not finite; fewer weights than the floors need.

    Warns:
        EmptyLayer: a layer keeps nothing.

    >>> import torch
    >>> from pruning_lab import masks
    >>> scores = {"fc1.weight": torch.tensor([[4.0, 3.0], [2.0, 0.0]]), "out.weight": torch.tensor([[1.0, 5.0]])}
    >>> masks.build(scores, density=0.5)["fc1.weight"].tolist()
    [[True, True], [False, False]]
    >>> masks.build(scores, density=0.5, scope="local")["fc1.weight"].tolist()
    [[True, True], [False, False]]
    >>> masks.build(scores, density=1.5)
    Traceback (most recent call last):
        ...
    ValueError: density=1.5: expected the fraction of weights kept, above 0 and at most 1
    """
    return grid(scores, [density], scope, floor, skip, invert=invert, shuffle=shuffle, seed=seed)[density]


def grid(
    scores: Mapping[str, Tensor],
    densities: Iterable[float],
    scope: str = "global",
    floor: float = 0.0,
    skip: Collection[str] = (),
    *,
    invert: bool = False,
    shuffle: str | None = None,
    seed: int = 0,
) -> dict[float, dict[str, Tensor]]:
    """Masks for each density, by the weights' names and in their shapes, each inside those of higher densities; else as
    `build`. One search serves all.

    >>> import torch
    >>> from pruning_lab import masks
    >>> found = masks.grid({"fc1.weight": torch.tensor([4.0, 3.0, 2.0, 0.0])}, densities=[0.25, 0.5])
    >>> {density: kept["fc1.weight"].tolist() for density, kept in found.items()}
    {0.25: [True, False, False, False], 0.5: [True, True, False, False]}
    """
    _check_how(densities, invert, seed)
    layers, densities = _checked(scores, scope, skip, shuffle), list(densities)
    sizes = [s.numel() for s in layers.values()]
    least = budgets.floors(floor, sizes)
    totals = {density: _affordable(density, floor, sizes, least) for density in densities}
    ranked = [_ranked(s, invert) for s in layers.values()]
    ends = dict(zip(totals, _cuts(scope, layers, ranked, least, list(totals.values())), strict=True))
    for density in densities:
        _warn(density, [name for name, cut in zip(layers, ends[density], strict=True) if cut.count == 0])
    generator = torch.Generator().manual_seed(int(seed))
    masks: dict[float, dict[str, Tensor]] = {density: {} for density in densities}
    for k, (name, s) in enumerate(layers.items()):
        drawn = torch.randperm(s.numel(), generator=generator).to(s.device) if shuffle else None
        for density in densities:
            cut = ends[density][k]
            kept = cuts.kept(ranked[k], cut) if drawn is None else _first(drawn, cut.count)
            masks[density][name] = kept.view(s.shape)
    return {density: _with_empty(found, scores, skip) for density, found in masks.items()}


def _with_empty(found: Mapping[str, Tensor], scores: Mapping[str, Tensor], skip: Collection[str]) -> dict[str, Tensor]:
    """The masks in the order of the scores, a layer's without weights among them."""
    named = {name: s for name, s in scores.items() if name not in skip}
    return {name: found[name] if s.numel() else s.new_zeros(s.shape, dtype=torch.bool) for name, s in named.items()}


def random(model: nn.Module, density: float, budget: str = "uniform", seed: int = 0, **how: Any) -> dict[str, Tensor]:
    """Seeded random masks in the shapes of the weights, each layer at the same density ("uniform") or its
    Erdos-Renyi-Kernel's ("erk"); `how` as for `build`.

    ValueError: another budget, or what `build` refuses.

    >>> from pruning_lab import masks, models
    >>> net = models.build("mlp", (1, 8, 8), width=4, hidden=1)
    >>> masks.table(masks.random(net, density=0.25, seed=1)).kept.tolist()
    [64, 10]
    """
    if not isinstance(budget, str) or budget not in BUDGETS:
        raise ValueError(f"budget={shown(budget)}: expected one of {', '.join(BUDGETS)}")
    return build(scores_of(model, "random", seed=seed), density, BUDGETS[budget], **how)


def _check_how(densities: Iterable[float], invert: bool, seed: int) -> None:
    if isinstance(densities, str) or not isinstance(densities, Iterable):
        raise ValueError(f"densities={shown(densities)}: expected several fractions, as in [0.1, 0.5]")
    check_flag("invert", invert)
    check_seed(seed)


def _checked(scores: Mapping[str, Tensor], scope: str, skip: Collection[str], shuffle: str | None) -> dict[str, Tensor]:
    if scope not in SCOPES or shuffle not in (None, "layer"):
        raise ValueError(
            f"scope={scope!r}, shuffle={shuffle!r}: expected a scope of {', '.join(SCOPES)}, and None or 'layer'"
        )
    check_tensors("scores", scores)
    check_names("skip", skip)
    if set(skip) - scores.keys():
        raise ValueError(f"skip={skip!r}: expected some of the names {list(scores)}")
    for name, s in scores.items():
        if s.is_meta:
            raise ValueError(
                f"scores of {name!r} lie on the meta device, which holds no values: score a model with some"
            )
        if s.layout != torch.strided:
            raise ValueError(f"scores of {name!r} are stored as {s.layout}: pass ordinary tensors (.to_dense())")
    layers = {name: s.detach() for name, s in scores.items() if name not in skip and s.numel()}
    if not layers:
        raise ValueError(f"no scores to rank: {len(scores)} layers were given and {len(set(skip))} skipped")
    together = [layers] if scope == "global" else [{name: s} for name, s in layers.items()]
    layers = {name: s for some in together for name, s in _comparable(some).items()}
    for name, s in layers.items():
        if not torch.stack(s.aminmax()).isfinite().all():  # which a NaN passes on to
            raise ValueError(f"scores of {name!r} are not finite: check what the criterion read")
    if len({s.device for s in layers.values()} if scope == "global" else [0]) > 1:
        raise ValueError("scores lie on several devices: move them to one to rank them together")
    return layers


def _comparable(layers: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same scores in one type that sorts, negates and holds every value of theirs: float32, float64 or int64.

    ValueError: complex numbers, which have no order; whole numbers that no one type holds beside the others.
    """
    if unordered := [name for name, s in layers.items() if s.is_complex() or s.is_quantized]:
        kind = layers[unordered[0]].dtype
        raise ValueError(f"scores of {unordered[0]!r} are {kind}, which has no order: pass real numbers, such as their "
                         "absolute values")  # fmt: skip
    kinds = {s.dtype for s in layers.values()}
    if kinds == {torch.uint64}:
        lowest = torch.iinfo(torch.int64).min
        return {name: s.view(torch.int64) ^ lowest for name, s in layers.items()}  # less 2^63: the same order
    if not any(kind.is_floating_point for kind in kinds):
        return {name: _within(s, name, torch.int64, 2**63 - 1) for name, s in layers.items()}
    wide = torch.float32 if all(kind.is_floating_point and kind != torch.float64 for kind in kinds) else torch.float64
    return {name: s.to(wide) if s.is_floating_point() else _within(s, name, wide, 2**53) for name, s in layers.items()}


def _within(scores: Tensor, name: str, kind: torch.dtype, most: int) -> Tensor:
    """Whole numbers in another type; ValueError where it does not hold them exactly."""
    beyond = scores.dtype != torch.bool and torch.iinfo(scores.dtype).max > most
    values = scores.cpu().numpy() if beyond else None  # torch has no least and largest of uint64
    if beyond and max(-int(values.min()), int(values.max())) > most:
        raise ValueError(f"scores of {name!r} exceed {most:,}, which {kind} does not hold exactly beside the other "
                         "layers': give all layers scores of one type")  # fmt: skip
    return scores.to(kind)


def _affordable(density: float, floor: float, sizes: Sequence[int], least: Sequence[int]) -> int:
    kept, weights = budgets.total(density, sum(sizes)), sum(sizes)
    if kept < sum(least):
        raise ValueError(
            f"density {float(density):g} keeps {kept:,} of {weights:,} weights, but floors of {float(floor):g} in "
            f"{len(sizes)} layers need {sum(least):,}: ask for a density of at least {sum(least) / weights:.3g}, or "
            "lower the floor"
        )
    return kept


def _ranked(scores: Tensor, invert: bool) -> Tensor:
    """A layer's scores in one row, [weights], the highest of which stay."""
    flat = scores.flatten()
    if not invert:
        return flat
    return -flat if flat.is_floating_point() else ~flat  # ~x is -x - 1, which the lowest has too


def _cuts(
    scope: str, layers: Mapping[str, Tensor], ranked: Sequence[Tensor], least: Sequence[int], totals: Sequence[int]
) -> list[Sequence[cuts.Cut]]:
    """For each total, where each layer is cut."""
    if scope == "global":
        return cuts.by_rank(ranked, least, totals)
    sizes = [len(s) for s in ranked]
    shares = sizes if scope == "local" else [budgets.erk(s.shape) for s in layers.values()]
    counts = [budgets.by_share(shares, least, sizes, kept) for kept in totals]
    of_layers = [cuts.by_count(s, [each[k] for each in counts]) for k, s in enumerate(ranked)]
    return list(zip(*of_layers, strict=True))


def _first(order: Tensor, count: int) -> Tensor:
    mask = torch.zeros(len(order), dtype=torch.bool, device=order.device)
    mask[order[:count]] = True
    return mask


def _warn(density: float, empty: list[str]) -> None:
    if empty:
        text = (
            f"at density {float(density):g} no weight is left in {', '.join(empty)}: nothing passes there; "
            "a floor, as floor=0.02, keeps some"
        )
        warnings.warn(text, EmptyLayer, stacklevel=_outside())


def _outside() -> int:
    """How many calls above the one that asks the library was called: there a warning points."""
    package, level, frame = __name__.partition(".")[0], 0, sys._getframe(1)
    while frame.f_back and frame.f_globals.get("__name__", "").partition(".")[0] == package:
        frame, level = frame.f_back, level + 1
    return level + 1
