"""The weights that masks may remove, and their scores."""

from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from .. import criteria, gradients
from ..nets import layers
from ..nets.given import check_mapping, check_names, check_seed, is_number, shown
from ..nets.shortcuts import shortcuts as on_shortcuts

SMALL = 100_000  # weights under which a shortcut convolution is left whole
_WEIGHTS = {  # kinds of layers and the attributes that hold their weights
    nn.Linear: ("weight",),
    nn.modules.conv._ConvNd: ("weight",),
    nn.MultiheadAttention: ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight"),
}
_STATISTICS = {"gradient": "mean", "diff": "diffs"}  # what a criterion reads: what `gradients.Statistics` calls it
_WAYS = {"init": "init=, tensors by the weights' names"} | dict.fromkeys(_STATISTICS, "data=, a Split, or statistics=")


def weights(model: nn.Module) -> dict[str, Tensor]:
    """The weights of all linear, convolutional and attention layers by name, in order, one that is shared once.

    One that is computed from others, as under `torch.nn.utils.prune`, is what they make now. ValueError: a scripted
    model; a layer without sizes.
    """
    layers.check_model(model, values=False)
    named: dict[str, Tensor] = {}
    seen: set[object] = set()
    for name, module in model.named_modules():
        for attribute in (a for kind, names in _WEIGHTS.items() if isinstance(module, kind) for a in names):
            tensor, source = layers.current(module, attribute), layers.source(module, attribute)
            if tensor is not None and source not in seen:
                seen.add(source)
                named[f"{name}.{attribute}" if name else attribute] = tensor
    return named


def maskable(model: nn.Module, small: int = SMALL, shortcuts: Collection[str] | None = None) -> list[str]:
    """Names of the weights that masks may remove: all of `weights` but `left_whole`, which has the arguments.

    Biases, norms, embeddings, tokens and positions stay whole; the output layer is masked. In ResNet50 of the usual
    width that leaves one of four shortcut convolutions whole, the first stage's with 16,384 weights; the others have
    131,072, 524,288 and 2,097,152 (003, section 5.3, which leaves ResNet50's output layer whole too:
    `skip=["out.weight"]`).

    >>> from pruning_lab import masks, models
    >>> masks.maskable(models.build("mlp", (1, 8, 8), width=4, hidden=1))
    ['fc1.weight', 'out.weight']
    """
    whole = left_whole(model, small, shortcuts)
    return [name for name in weights(model) if name not in whole]


def left_whole(model: nn.Module, small: int = SMALL, shortcuts: Collection[str] | None = None) -> list[str]:
    """Names of the weights that `maskable` skips: shortcut convolutions of fewer weights than `small`.

    Args:
        small: weights from which a shortcut convolution is masked as others are; 0: all are.
        shortcuts: names of the convolutions on shortcuts; None: those that are added to a longer path, as
            `nets.shortcuts` finds them (by the names `downsample` and `shortcut` where a model's calls cannot be
            followed without images).

    Raises:
        ValueError: a name that is none of a convolution; a `small` that is no number, 0 or more.

    >>> from pruning_lab import masks, models
    >>> net = models.build("conv_2", (1, 8, 8), width=4)
    >>> masks.left_whole(net, shortcuts=["conv2"]), masks.left_whole(net)
    (['conv2.weight'], [])
    """
    if not is_number(small) or not small >= 0:
        raise ValueError(f"small={shown(small)}: expected a number of weights, 0 or more")
    if shortcuts is not None:
        check_names("shortcuts", shortcuts)
    few = {n: w for n, w in weights(model).items() if w.ndim > 2 and (w.numel() < small or shortcuts is not None)}
    if shortcuts is None:
        shortcuts = on_shortcuts(model) if few else []
    elif unknown := [name for name in shortcuts if f"{name.removesuffix('.weight')}.weight" not in few]:
        raise ValueError(f"shortcuts={unknown}, which are no convolutions: expected some of "
                         f"{[n.removesuffix('.weight') for n in few]}")  # fmt: skip
    named = {f"{name.removesuffix('.weight')}.weight" for name in shortcuts}
    return [name for name, w in few.items() if name in named and w.numel() < small]


def scores(
    model: nn.Module,
    criterion: Any,
    *,
    names: Collection[str] | None = None,
    data: Any = None,
    statistics: Any = None,
    seed: int = 0,
    **given: Mapping[str, Tensor],
) -> dict[str, Tensor]:
    """Scores of single weights by the parameter's name, in its shape, type and device; what is higher stays longer.

    Args:
        criterion: a name in `criteria.WEIGHT`, or a function whose parameters are in `criteria.READS`.
        names: the weights to score; None: `maskable` ones.
        data: a `Split` from which `gradient` or `diff` is computed where the criterion reads it and nobody gave it.
        statistics: a `gradients.Statistics` to read `gradient` and `diff` from instead.
        seed: of the noise that a criterion reads, which is uniform in [0, 1).
        given: mappings from names to tensors that a criterion reads and the model does not hold: `init`, `gradient`,
            `diff`.

    Raises:
        ValueError: unknown criterion or names; nothing to read from; weights or scores that are not finite or of
        another shape.

    >>> from pruning_lab import data, masks, models
    >>> net = models.build("mlp", (1, 8, 8), width=4, hidden=1)
    >>> digits = data.load("digits", "train", limit=20, device="cpu")
    >>> {name: tuple(score.shape) for name, score in masks.scores(net, "diff", data=digits).items()}
    {'fc1.weight': (4, 64), 'out.weight': (10, 4)}
    """
    check_seed(seed)
    function, chosen = criteria.find(criterion, criteria.WEIGHT), _chosen(model, names)
    for read, tensors in given.items():
        check_mapping(read, tensors)
    asked, reads = criteria.unread(function, given), criteria.needs(function)
    statistics_read = _from_statistics(model, asked, data, statistics)
    held = {"weight": chosen, "noise": _noise(chosen, seed) if "noise" in reads else {}} | statistics_read | given
    names_of = layers.aliases(model)
    with torch.no_grad():
        return {
            name: criteria.evaluate(
                function, _of(held, reads, names_of.get(name, [name]), name, w.device), name, [w.shape], _WAYS
            )
            for name, w in chosen.items()
        }


def _chosen(model: nn.Module, names: Collection[str] | None) -> dict[str, Tensor]:
    layers.check_model(model)
    if names is not None:
        check_names("names", names)
        if not names:
            raise ValueError("names=[]: expected some of the model's weights, or None for all that masks may remove")
    every = weights(model)
    names = maskable(model) if names is None else names
    if unknown := [name for name in names if name not in every]:
        raise ValueError(f"no weights called {unknown}: expected some of {list(every)}")
    if not names:
        raise ValueError(
            f"{type(model).__name__} has no weights to score: expected linear, convolutional or attention layers"
        )
    return {name: criteria.finite(every[name], name).detach() for name in names}


def _from_statistics(
    model: nn.Module, reads: Collection[str], data: Any, statistics: Any
) -> dict[str, Mapping[str, Tensor]]:
    wanted = {read: _STATISTICS[read] for read in reads if read in _STATISTICS}
    if wanted and statistics is None and data is not None:
        statistics = gradients.statistics(model, data, want=set(wanted.values()))
    if wanted and statistics is not None and not all(hasattr(statistics, kept) for kept in wanted.values()):
        raise ValueError(
            f"statistics is a {type(statistics).__name__}: expected what gradients.statistics(model, split) gives"
        )
    return {} if statistics is None else {read: getattr(statistics, kept) for read, kept in wanted.items()}


def _noise(chosen: Mapping[str, Tensor], seed: int) -> dict[str, Tensor]:
    """Drawn on the CPU, so that a seed means the same noise on every device; never in fewer than 24 bits."""
    generator = torch.Generator().manual_seed(int(seed))
    return {name: torch.rand(w.shape, generator=generator).to(w.device) for name, w in chosen.items()}


def _of(
    held: Mapping[str, Any], reads: Collection[str], names: Collection[str], name: str, device: torch.device
) -> dict[str, Tensor]:
    """What is held of the weights called `name`: these themselves, and what else a criterion reads.

    A weight that several layers share is held under any of its `names`.
    """
    tensors = {}
    for read in (read for read in ("weight", *reads) if read in held):
        there = next((n for n in (name, *names) if n in held[read]), None)
        if there is None:
            raise ValueError(f"{read!r} of {name!r} is missing: {_lacking(held[read], name)}")
        if not isinstance(held[read][there], Tensor) or held[read][there].is_meta:
            kind = type(held[read][there]).__name__
            raise ValueError(f"{read!r} of {name!r} is a {kind}: expected a tensor with values (torch.as_tensor)")
        tensors[read] = held[read][there].detach().to(device)
    return tensors


def _lacking(tensors: Mapping[str, Tensor], name: str) -> str:
    if made := [n for n in tensors if n.startswith((f"{name}_", _parametrized(name)))]:
        return (
            f"the weight is computed from {', '.join(made)}, and only these have one: make it plain, as "
            "torch.nn.utils.prune.remove or parametrize.remove_parametrizations does"
        )
    return f"it has {list(tensors)[:5]}; were the statistics asked for it?"


def _parametrized(name: str) -> str:
    """How the parameters begin from which `torch.nn.utils.parametrize` computes a weight."""
    layer, _, attribute = name.rpartition(".")
    return f"{layer}.parametrizations.{attribute}." if layer else f"parametrizations.{attribute}."
