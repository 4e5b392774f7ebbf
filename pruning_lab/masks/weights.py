"""The weights that masks may remove, and their scores."""

from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from .. import criteria, gradients

SMALL = 100_000  # weights under which a shortcut convolution is left whole
_SHORTCUTS = {"downsample", "shortcut"}
_WEIGHTS = {  # kinds of layers and the attributes that hold their weights
    nn.Linear: ("weight",),
    nn.modules.conv._ConvNd: ("weight",),
    nn.MultiheadAttention: ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight"),
}
_STATISTICS = {"gradient": "mean", "diff": "diffs"}  # what a criterion reads: what `gradients.Statistics` calls it
_WAYS = {"init": "init=, tensors by the weights' names"} | dict.fromkeys(_STATISTICS, "data=, a Split, or statistics=")


def weights(model: nn.Module) -> dict[str, Tensor]:
    """The weights of all linear, convolutional and attention layers by name, in order, one that is shared once."""
    found: dict[str, Tensor] = {}
    for name, module in model.named_modules():
        for attribute in (a for kind, names in _WEIGHTS.items() if isinstance(module, kind) for a in names):
            tensor = getattr(module, attribute)
            if tensor is not None and not any(tensor is other for other in found.values()):
                found[f"{name}.{attribute}" if name else attribute] = tensor
    return found


def maskable(model: nn.Module, small: int = SMALL) -> list[str]:
    """Names of the weights that masks may remove: all of `weights` but shortcuts of fewer weights than `small`.

    Biases, norms, embeddings, tokens and positions stay whole; the output layer is masked. A shortcut convolution is
    one below a module called `downsample` or `shortcut`. In ResNet50 of the usual width that leaves one of four whole,
    the first stage's with 16,384 weights; the others have 131,072, 524,288 and 2,097,152 (003, section 5.3, which
    leaves ResNet50's output layer whole too: `skip=["out.weight"]`).
    """
    return [
        n for n, w in weights(model).items() if w.numel() >= small or w.ndim == 2 or not _SHORTCUTS & set(n.split("."))
    ]


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
    """
    function, layers = criteria.find(criterion, criteria.WEIGHT), _chosen(model, names)
    asked, reads = criteria.unread(function, given), criteria.needs(function)
    found = _from_statistics(model, asked, data, statistics)
    held = {"weight": layers, "noise": _noise(layers, seed) if "noise" in reads else {}} | found | given
    with torch.no_grad():
        return {
            name: criteria.evaluate(function, _of(held, reads, name, w.device), name, [w.shape], _WAYS)
            for name, w in layers.items()
        }


def _chosen(model: nn.Module, names: Collection[str] | None) -> dict[str, Tensor]:
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
    return {} if statistics is None else {read: getattr(statistics, kept) for read, kept in wanted.items()}


def _noise(layers: Mapping[str, Tensor], seed: int) -> dict[str, Tensor]:
    """Drawn on the CPU, so that a seed means the same noise on every device; never in fewer than 24 bits."""
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.rand(w.shape, generator=generator).to(w.device) for name, w in layers.items()}


def _of(held: Mapping[str, Any], reads: Collection[str], name: str, device: torch.device) -> dict[str, Tensor]:
    """What is held of the weights called `name`: these themselves, and what else a criterion reads."""
    found = {read: held[read] for read in ("weight", *reads) if read in held}
    for read, tensors in found.items():
        if name not in tensors:
            kept = f"it has {list(tensors)[:5]}; were the statistics asked for it?"
            raise ValueError(f"{read!r} of {name!r} is missing: {kept}")
    return {read: tensors[name].detach().to(device) for read, tensors in found.items()}
