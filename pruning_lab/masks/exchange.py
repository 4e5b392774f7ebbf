"""Masks in the hands of others: PyTorch's own pruning, and files."""

import json
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.utils import prune

from ..nets import layers
from ..nets.given import shown
from .compare import check, check_masks
from .weights import weights

# Lists and dictionaries of modules, which are never called, and chains, which call what they hold.
_READS_NONE = (nn.Module.forward, nn.Sequential.forward)
_FORMAT = "pruning_lab masks 1"


def to_torch(model: nn.Module, masks: Mapping[str, Tensor]) -> nn.Module:
    """The same model with its weights masked by `torch.nn.utils.prune`, as other tools read it: `weight_orig` and
    `weight_mask`.

    Masks are by the weights' names and in their shapes; they may lie on another device. A module that holds a masked
    layer, however deep, may read its weight without calling it, as `nn.MultiheadAttention` does: it makes that weight
    anew whenever it is called. `prune.remove` makes a mask permanent.

    ValueError: masks that the model cannot have, or has already, or of a weight that two layers share or that is
    computed from others; nothing is masked then.

    >>> from pruning_lab import masks, models
    >>> net = models.build("mlp", (1, 8, 8), width=4, hidden=1)
    >>> pruned = masks.to_torch(net, masks.random(net, density=0.5))
    >>> sorted(name for name, _ in pruned.fc1.named_buffers())
    ['weight_mask']
    """
    layers.check_model(model)
    check(model, masks)
    if taken := _pruned(model).keys() & masks.keys():
        raise ValueError(
            f"{sorted(taken)} are masked already: make that permanent by torch.nn.utils.prune.remove, "
            "or use a fresh model"
        )
    for name in masks:
        layer, _, attribute = name.rpartition(".")
        layers.check_plain(model.get_submodule(layer), layer or "the model", [attribute])
        _check_free(model.get_submodule(layer), layer or "the model", attribute)
    _check_alone(model, masks)
    for name, mask in masks.items():
        layer, _, attribute = name.rpartition(".")
        module = model.get_submodule(layer)
        prune.custom_from_mask(module, attribute, mask.to(getattr(module, attribute).device))
        _make_anew(model, layer)
    return model


def _check_free(module: nn.Module, name: str, attribute: str) -> None:
    """ValueError where a layer has something under a name that `torch.nn.utils.prune` gives."""
    if taken := [a for a in (f"{attribute}_orig", f"{attribute}_mask") if hasattr(module, a)]:
        raise ValueError(
            f"{name!r} has a {taken[0]} of its own, which torch.nn.utils.prune would replace: give it another name"
        )


def _make_anew(model: nn.Module, name: str) -> None:
    """Has each module that holds a masked layer, however deep, make its weight anew before each call of its own."""
    while name:
        name = name.rpartition(".")[0]
        holder = model.get_submodule(name)
        if type(holder).forward in _READS_NONE or _masked_anew in holder._forward_pre_hooks.values():
            continue
        holder.register_forward_pre_hook(_masked_anew)


def _masked_anew(holder: nn.Module, _: object) -> None:
    for layer in holder.modules():
        for hook in layer._forward_pre_hooks.values():
            if layer is not holder and isinstance(hook, prune.BasePruningMethod):
                hook(layer, ())


def _check_alone(model: nn.Module, masks: Mapping[str, Tensor]) -> None:
    """ValueError where a masked weight is tied: `torch.nn.utils.prune` would mask one of its uses only."""
    held = list(model.named_parameters(remove_duplicate=False))
    for name, weight in [(n, w) for n, w in held if n in masks]:
        if same := [n for n, w in held if n != name and layers.overlap(w, weight) and not _same_layer(model, n, name)]:
            names = " and ".join(sorted([name, *same], key=[n for n, _ in held].index))
            raise ValueError(f"{names} are one weight, of which torch.nn.utils.prune would mask one use "
                             "only: multiply the weight by its mask in place instead")  # fmt: skip


def _same_layer(model: nn.Module, name: str, other: str) -> bool:
    """Whether two names are those of one layer that stands in a model twice."""
    one, two = (model.get_submodule(n.rpartition(".")[0]) for n in (name, other))
    return one is two


def from_torch(model: nn.Module) -> dict[str, Tensor]:
    """Masks by the weights' names and in their shapes, as `torch.nn.utils.prune` holds them in a model; empty if it has
    none.

    Masks are of weights alone, here as everywhere: what else is pruned, such as a bias, is left out. ValueError: a
    model without values.

    >>> import torch
    >>> from pruning_lab import masks
    >>> layer = torch.nn.Sequential(torch.nn.Linear(4, 1))
    >>> pruned = torch.nn.utils.prune.random_unstructured(layer[0], "weight", amount=3)
    >>> masks.from_torch(layer)["0.weight"].sum().item()
    1
    """
    layers.check_model(model)
    pruned = _pruned(model)
    return {name: pruned[name] for name in weights(model) if name in pruned} if pruned else {}


def _pruned(model: nn.Module) -> dict[str, Tensor]:
    """All masks of `torch.nn.utils.prune` in a model, biases' and others' among them."""
    held = dict(model.named_buffers())
    originals = [name.removesuffix("_orig") for name, _ in model.named_parameters() if name.endswith("_orig")]
    return {name: held[f"{name}_mask"] != 0 for name in originals if f"{name}_mask" in held}


def save(file: Path | str, masks: Mapping[str, Tensor]) -> None:
    """Write masks and their shapes as safetensors, eight weights a byte, to a file that replaces an older one in one
    step.

    ValueError: masks that are not bool.

    >>> import tempfile
    >>> from pathlib import Path
    >>> import torch
    >>> from pruning_lab import masks
    >>> file = Path(tempfile.mkdtemp(), "kept.safetensors")
    >>> masks.save(file, {"fc1.weight": torch.tensor([[True, False]])})
    >>> file.is_file()
    True
    """
    check_masks(masks)
    file = _path(file)
    if file.is_dir():
        raise ValueError(f"{file} is a folder: expected the name of a file")
    packed = {name: torch.from_numpy(np.packbits(mask.cpu().numpy())) for name, mask in masks.items()}
    shapes = {name: list(mask.shape) for name, mask in masks.items()}
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(file.name + ".part")
    try:
        save_file(packed, part, metadata=dict(format=_FORMAT, shapes=json.dumps(shapes)))
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)


def load(file: Path | str, model: nn.Module | None = None) -> dict[str, Tensor]:
    """What `save` wrote, masks by name in their shapes, in its order, on the CPU.

    ValueError: broken, not of masks, or not of this model's shapes.

    >>> import tempfile
    >>> from pathlib import Path
    >>> from pruning_lab import masks, models
    >>> net = models.build("mlp", (1, 8, 8), width=4, hidden=1)
    >>> file = Path(tempfile.mkdtemp(), "kept.safetensors")
    >>> masks.save(file, masks.random(net, density=0.5))
    >>> masks.counts(net, masks.load(file, net))["kept"]
    148
    """
    file = _path(file)
    if file.is_dir():
        raise ValueError(f"{file} is a folder: expected a file of masks")
    try:
        with safe_open(file, "np") as stored:
            told = stored.metadata() or {}
            if told.get("format") != _FORMAT:
                raise ValueError(f"its format is {told.get('format')!r}, not {_FORMAT!r}")
            masks = {
                name: _unpacked(stored.get_tensor(name), shape) for name, shape in json.loads(told["shapes"]).items()
            }
    except (SafetensorError, ValueError, KeyError) as error:
        raise ValueError(
            f"{file.name} is broken, or no file of masks ({error}): write it again by masks.save"
        ) from error
    if model is not None:
        check(model, masks)
    return masks


def _path(file: Path | str) -> Path:
    if not isinstance(file, str | os.PathLike) or not str(file):
        raise ValueError(f"file={shown(file)}: expected the path of a file")
    return Path(file)


def _unpacked(packed: np.ndarray, shape: list[int]) -> Tensor:
    size = int(np.prod(shape, dtype=np.int64))
    if packed.dtype != np.uint8 or packed.shape != (-(-size // 8),):
        raise ValueError(f"{packed.dtype} {list(packed.shape)} cannot be a mask of shape {shape}")
    return torch.from_numpy(np.unpackbits(packed, count=size)).bool().view(shape)
