"""Masks beside a model, and beside each other."""

from collections.abc import Mapping

import pandas as pd
import torch
from torch import Tensor, nn

from ..nets.given import check_tensors
from .weights import weights


def check_masks(masks: Mapping[str, Tensor]) -> None:
    """ValueError unless these are bool tensors by the weights' names, with values."""
    check_tensors("masks", masks)
    for name, mask in masks.items():
        if mask.dtype != torch.bool:
            raise ValueError(f"mask of {name!r} is {mask.dtype}: expected bool, True for what stays")
        if mask.is_meta or mask.layout != torch.strided:
            kind = "lies on the meta device, which holds no values" if mask.is_meta else f"is {mask.layout}"
            raise ValueError(f"mask of {name!r} {kind}: expected an ordinary tensor, True for what stays")


def check(model: nn.Module, masks: Mapping[str, Tensor]) -> None:
    """ValueError unless every mask is a bool tensor of the shape of the model's weights of that name."""
    check_tensors("masks", masks)
    shapes = {name: w.shape for name, w in weights(model).items()}
    if unknown := [name for name in masks if name not in shapes]:
        raise ValueError(f"masks for {unknown}, which are no weights of the model; it has {list(shapes)}")
    for name, mask in masks.items():
        if mask.dtype != torch.bool or mask.shape != shapes[name]:
            raise ValueError(f"mask of {name!r} is {mask.dtype} {list(mask.shape)}: expected bool {list(shapes[name])}")
    check_masks(masks)


def emptied(masks: Mapping[str, Tensor]) -> list[str]:
    """Names of the weights of which nothing stays, of masks in their shapes; a layer without weights is not among them.

    ValueError: masks that are not bool.

    >>> import torch
    >>> from pruning_lab import masks
    >>> masks.emptied({"a": torch.tensor([False, False]), "b": torch.tensor([True, False])})
    ['a']
    """
    check_masks(masks)
    return [name for name, mask in masks.items() if mask.numel() and not mask.any()]


def counts(model: nn.Module, masks: Mapping[str, Tensor]) -> dict[str, int | float]:
    """How many weights stay: `kept` of the `maskable` ones, `kept_of_all` of all `weights`, and both as densities.

    masks: bool, by the weights' names and in their shapes. All weights are those of linear, convolutional and attention
    layers; biases, norms and tokens are not counted.

    >>> from pruning_lab import masks, models
    >>> net = models.build("mlp", (1, 8, 8), width=4, hidden=1)
    >>> masks.counts(net, masks.random(net, density=0.5))
    {'kept': 148, 'maskable': 296, 'kept_of_all': 148, 'weights': 296, 'density': 0.5, 'density_of_all': 0.5}
    """
    check(model, masks)
    kept, maskable = sum(int(m.sum()) for m in masks.values()), sum(m.numel() for m in masks.values())
    every = sum(w.numel() for w in weights(model).values())
    of_all = kept + every - maskable
    sizes = dict(kept=kept, maskable=maskable, kept_of_all=of_all, weights=every)
    return sizes | dict(density=kept / maskable if maskable else 1.0, density_of_all=of_all / every if every else 1.0)


def table(masks: Mapping[str, Tensor]) -> pd.DataFrame:
    """One row a layer, in the order of masks, whatever their shapes: layer, weights, kept, density (NaN: no weights).

    ValueError: masks that are not bool.

    >>> import torch
    >>> from pruning_lab import masks
    >>> masks.table({"fc1.weight": torch.tensor([[True, False], [False, False]])}).values.tolist()
    [['fc1', 4, 1, 0.25]]
    """
    check_masks(masks)
    rows = [dict(layer=name.removesuffix(".weight"), weights=m.numel(), kept=int(m.sum())) for name, m in masks.items()]
    layers = pd.DataFrame(rows, columns=["layer", "weights", "kept"])
    return layers.assign(density=layers.kept / layers.weights)


def overlap(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> pd.DataFrame:
    """What two sets of masks, in the same shapes, share beside what chance would: one row a layer, and one for the net
    (layer "whole").

    Columns: layer, weights, kept_a, kept_b, shared; `overlap`, shared over the smaller of both, in [0, 1]; `jaccard`,
    shared over what is in either; `chance` and `jaccard_chance`, the same where as many places are drawn at random;
    `chance_in_layers` and `jaccard_in_layers`, where as many are drawn in every layer; `above_chance`, (overlap -
    chance) / (1 - chance). That is 0 by chance and 1 for one mask inside the other, but 0 where one of both is whole:
    any mask lies inside a whole one, which says no more than chance. Jaccard's chance is that of the expected share.
    NaN where a mask keeps nothing, `jaccard` where neither does. ValueError: masks that are not bool, or are of other
    names or shapes than each other.

    >>> import torch
    >>> from pruning_lab import masks
    >>> one = {"fc1.weight": torch.tensor([True, True, False, False])}
    >>> other = {"fc1.weight": torch.tensor([True, False, True, False])}
    >>> masks.overlap(one, other)[["layer", "overlap", "chance"]].values.tolist()
    [['fc1', 0.5, 0.5], ['whole', 0.5, 0.5]]
    """
    check_masks(a)
    check_masks(b)
    if a.keys() != b.keys() or not a:
        raise ValueError(f"no masks, or of other weights: {sorted(a.keys() ^ b.keys())} are in one alone")
    if wrong := [name for name in a if a[name].shape != b[name].shape]:
        raise ValueError(
            f"masks of other shapes: {wrong[0]!r} has {list(a[wrong[0]].shape)} and {list(b[wrong[0]].shape)}"
        )
    shares = pd.DataFrame([_shared(name, a[name], b[name]) for name in a])
    drawn = shares.kept_a * shares.kept_b / shares.weights
    whole = shares.drop(columns="layer").sum().to_frame().T.assign(layer="whole")
    return _with_shares(
        pd.concat([shares, whole], ignore_index=True), pd.concat([drawn, pd.Series([drawn.sum()])], ignore_index=True)
    )


def _shared(name: str, a: Tensor, b: Tensor) -> dict[str, str | int]:
    shared = int((a & b.to(a.device)).sum())
    return dict(
        layer=name.removesuffix(".weight"), weights=a.numel(), kept_a=int(a.sum()), kept_b=int(b.sum()), shared=shared
    )


def _with_shares(counted: pd.DataFrame, in_layers: pd.Series) -> pd.DataFrame:
    smaller, both = counted[["kept_a", "kept_b"]].min(axis=1), counted.kept_a + counted.kept_b
    drawn = counted.kept_a * counted.kept_b / counted.weights
    columns = dict(overlap=counted.shared / smaller, jaccard=counted.shared / (both - counted.shared))
    columns |= dict(chance=drawn / smaller, jaccard_chance=drawn / (both - drawn))
    columns |= dict(chance_in_layers=in_layers / smaller, jaccard_in_layers=in_layers / (both - in_layers))
    counted = counted.assign(**columns)
    whole = (smaller > 0) & (counted[["kept_a", "kept_b"]].max(axis=1) == counted.weights)  # chance is 1
    return counted.assign(above_chance=((counted.overlap - counted.chance) / (1 - counted.chance)).mask(whole, 0.0))
