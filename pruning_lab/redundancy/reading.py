"""What a user has, by name: a net, its images, its weights; one sentence for whatever is not as it should be."""

from __future__ import annotations

import importlib
import inspect
import os
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .. import data as sets
from .. import environment, npz, samples
from ..nets.given import shown
from .found import sentence

LIMIT = 10_000  # images that are read of a loader or a data set
HALVES = ("train", "test")
ARRAYS = (Tensor, np.ndarray)


@dataclass(frozen=True)
class Given:
    """A net with its images; `test` is None where there is one half alone."""

    name: str
    model: nn.Module
    train: Any
    test: Any


def given(model: Any, data: Any, weights: str | Path | None = None) -> Given:
    """A net and its images from what a user names.

    Args:
        model: a module, a function without arguments that gives one, or "my_module:name" of either.
        data: images and labels: anything with these attributes, a tuple of two tensors or arrays, a data set or loader
            of such pairs (read up to `LIMIT` images), or a tuple or mapping of two of these, train and test;
            "my_module:name" of one, or of a function that gives one; a folder with train.npz and test.npz; a name that
            `data.load` has.
        weights: a .safetensors file, whose names and shapes must be the net's.

    Raises:
        ValueError: says which of them is wrong, what was expected, what to do.
    """
    net = _net(_named(model, "model") if isinstance(model, str) else model, shown(model))
    if weights is not None:
        _load(net, Path(weights))
    train, test = _halves(_found(data) if isinstance(data, str | Path) else data, data)
    return Given(model if isinstance(model, str) else type(net).__name__, net, train, test)


def _named(spec: str, what: str) -> Any:
    """The object that "module:name" means; modules of the current folder are found, too."""
    module, _, name = spec.partition(":")
    if not module or not name:
        raise ValueError(f"{what} {spec!r} names no object: expected my_module:name, as in my_module:make_net")
    if not {"", os.getcwd()} & set(sys.path):
        sys.path.append(os.getcwd())
    try:
        held = _imported(module)
    except (Exception, SystemExit) as error:  # whatever stands in it
        raise ValueError(
            f"{what} {spec!r}: the module {module!r} cannot be imported ({sentence(error)}): "
            "expected one in the current folder or on PYTHONPATH"
        ) from error
    for part in name.split("."):
        if not hasattr(held, part):
            raise ValueError(f"{what} {spec!r}: {module!r} has no {part!r}{_own(held, what)}")
        held = getattr(held, part)
    return held


def _imported(module: str) -> ModuleType:
    return _beside_torchvision(lambda: importlib.import_module(module))


def _beside_torchvision(call: Callable[[], Any]) -> Any:
    """What a call of a user's code gives; torchvision, which it may import, is mended where it does not fit torch."""
    try:
        return call()
    except RuntimeError as error:
        if "torchvision::" not in str(error):
            raise
        environment.import_torchvision()
        return call()


def _own(held: Any, what: str) -> str:
    """Which name to give instead, as an end of a sentence: of what a module itself defines and does not import, those
    that may be a net, or data.
    """
    there = vars(held) if hasattr(held, "__dict__") else {}
    named = {n: v for n, v in there.items() if not n.startswith("_") and not isinstance(v, ModuleType)}
    if isinstance(held, ModuleType):
        named = {n: v for n, v in named.items() if getattr(v, "__module__", None) in (None, held.__name__)
                 or not (isinstance(v, type) or inspect.isroutine(v))}  # fmt: skip
    named = {n: v for n, v in named.items() if _may_be(v, what)}
    if named:
        return f"; expected one of its own: {', '.join(list(named)[:10])}"
    return ", and nothing in it may be " + ("a net, or a function that gives one" if what == "model" else "data")


def _may_be(value: Any, what: str) -> bool:
    """Whether a value may be a net or a function without arguments that gives one; or what data may be."""
    is_class, net = isinstance(value, type), isinstance(value, nn.Module)
    if what == "model" and (net or not callable(value)):
        return net
    if what == "model" and is_class and not issubclass(value, nn.Module):
        return False
    if what != "model" and (net or is_class):
        return False
    return not callable(value) or _needs_nothing(value)


def _needs_nothing(made: Callable[..., Any]) -> bool:
    """Whether something can be called without arguments, as far as it says."""
    try:
        inspect.signature(made).bind()
    except TypeError:
        return False
    except ValueError:  # it says nothing
        return True
    return True


def _called(made: Callable[[], Any], what: str) -> Any:
    try:
        return _beside_torchvision(made)
    except Exception as error:  # whatever a user's function raises
        inside = len(traceback.extract_tb(error.__traceback__)) > 2  # beyond this frame and the one that mends
        if isinstance(error, TypeError) and not inside:
            why = "expected a function that needs none, such as lambda: make_net(10)"
            raise ValueError(f"{what} cannot be called without arguments ({sentence(error)}): {why}") from error
        raise ValueError(f"{what} fails when it is called ({sentence(error)}): it has to be mended there") from error


def _net(found: Any, what: str) -> nn.Module:
    if not isinstance(found, nn.Module) and callable(found):
        found = _called(found, f"the model {what}")
    if not isinstance(found, nn.Module):
        kind = type(found).__name__
        raise ValueError(f"the model {what} is of type {kind}: expected an nn.Module, or a function that gives one")
    return found


def _load(net: nn.Module, file: Path) -> None:
    """Put the weights of a file into a net, all or none."""
    from safetensors.torch import load_file

    try:
        tensors = load_file(file)
    except Exception as error:  # safetensors has errors of its own
        raise ValueError(
            f"weights {str(file)!r} cannot be read as .safetensors ({error}): write them by "
            "safetensors.torch.save_file(model.state_dict(), path)"
        ) from error
    own = net.state_dict()
    wrong = {
        "missing": [n for n in own if n not in tensors],
        "not in the net": [n for n in tensors if n not in own],
        "of other shapes": [n for n in own if n in tensors and own[n].shape != tensors[n].shape],
    }
    if any(wrong.values()):
        told = "; ".join(f"{len(names)} {what}, as {names[0]!r}" for what, names in wrong.items() if names)
        raise ValueError(
            f"weights {str(file)!r} are not those of this {type(net).__name__}: {told}; "
            "expected the names and shapes of its state_dict()"
        )
    net.load_state_dict(tensors)


# Images


def _found(spec: str | Path) -> Any:
    """What a folder, "module:name" or the name of a set means."""
    if Path(spec).is_dir():
        return _folder(Path(spec))
    if ":" in str(spec) and not str(spec).startswith("gaussian:"):
        return _named(str(spec), "data")
    with suppress(ValueError):
        return {half: sets.load(str(spec), half, device="cpu") for half in HALVES}
    raise ValueError(
        f"data {str(spec)!r} is no folder, no my_module:name and no set that is known: expected a folder with "
        f"train.npz and test.npz, my_module:data, or one of {', '.join(sets.names())}"
    )


def _folder(folder: Path) -> dict[str, Any]:
    files = {half: folder / f"{half}.npz" for half in HALVES}
    if not any(file.is_file() for file in files.values()):
        raise ValueError(f"data {str(folder)!r}: this folder has neither train.npz nor test.npz: numpy.savez("
                         "'train.npz', images=..., labels=...) writes one, images uint8 [N, H, W, C]")  # fmt: skip
    return {half: _half(file) for half, file in files.items() if file.is_file()}


def _half(file: Path) -> Any:
    """The first images of one half of a folder, in [0, 1]."""
    raw = npz.read(file)
    images = torch.from_numpy(raw.images[:LIMIT].transpose(0, 3, 1, 2).copy()).float() / raw.white
    return SimpleNamespace(images=images, labels=torch.from_numpy(raw.labels[:LIMIT].copy()))


def _halves(found: Any, what: Any) -> tuple[Any, Any]:
    """Train and test as splits; test is None where there is but one half."""
    if callable(found) and not _is_split(found) and not isinstance(found, Iterable):
        found = _called(found, f"data {shown(what)}")
    if isinstance(found, Mapping):
        halves = [found[half] for half in HALVES if half in found]
        if not halves:
            raise ValueError(f"data {shown(what)} have {shown(list(found))}: expected 'train' and 'test' (a folder: "
                             "train.npz and test.npz)")  # fmt: skip
    elif isinstance(found, Sequence) and len(found) == 2 and not _is_pair(found) and not _is_split(found):
        halves = list(found)
    else:
        halves = [found]
    splits = [_split(half, what) for half in halves]
    return splits[0], splits[1] if len(splits) > 1 else None


def _is_split(found: Any) -> bool:
    return all(isinstance(getattr(found, name, None), ARRAYS) for name in ("images", "labels"))


def _is_pair(found: Any) -> bool:
    return isinstance(found, tuple | list) and len(found) == 2 and all(isinstance(t, ARRAYS) for t in found)


def _split(found: Any, what: Any) -> Any:
    """Images and labels of one half, checked."""
    if isinstance(found, ARRAYS):
        raise ValueError(f"data {shown(what)} are one array {[*found.shape]}: expected images and their labels, a pair")
    if not _is_split(found):
        images, labels = found if _is_pair(found) else _read(found, what)
        found = SimpleNamespace(images=images, labels=labels)
    if any(isinstance(part, np.ndarray) for part in (found.images, found.labels)):
        found = SimpleNamespace(images=_tensor(found.images, what), labels=_tensor(found.labels, what))
    try:
        images, labels = samples.checked(found)
        samples.check_pictures(images)
    except ValueError as error:
        raise ValueError(f"data {shown(what)}: {error}") from error
    if odd := int((~images.isfinite().flatten(1).all(1)).sum()):
        raise ValueError(f"data {shown(what)}: {odd} of {len(images)} images are not finite: expected numbers alone")
    if labels.ndim != 1 or labels.is_floating_point():
        kind = f"{list(labels.shape)} {labels.dtype}"
        raise ValueError(f"data {shown(what)}: labels are {kind}: expected one whole number an image, [N]")
    return found


def _tensor(found: Any, what: Any) -> Tensor:
    """An array of NumPy as a tensor with memory of its own; of float64 the float32 that nets compute in."""
    if isinstance(found, Tensor):
        return found
    if found.dtype.kind not in "biuf":
        raise ValueError(f"data {shown(what)} have an array of {found.dtype}: expected numbers")
    made = torch.from_numpy(np.ascontiguousarray(found.astype(found.dtype.newbyteorder("="))))
    return made.float() if made.dtype == torch.float64 else made


def _read(found: Any, what: Any) -> tuple[Tensor, Tensor]:
    """The first `LIMIT` images and labels of a loader, or of a data set of single pairs."""
    if not isinstance(found, Iterable) and not (hasattr(found, "__getitem__") and hasattr(found, "__len__")):
        raise ValueError(
            f"data {shown(what)} are of type {type(found).__name__}: expected images and labels (attributes, or a "
            "tuple of two tensors), a data set or loader of such pairs, or a folder with train.npz and test.npz"
        )
    batched = isinstance(found, torch.utils.data.DataLoader) and found.batch_size is not None
    images, labels, count = [], [], 0
    for pair in _pairs(found):
        image, label = _pair(pair, what, batched)
        images.append(image), labels.append(label)
        count += len(label)
        if count >= LIMIT:
            break
    if len({part.shape[1:] for part in images}) > 1:
        raise ValueError(f"data {shown(what)}: images are of several sizes: resize them to one, as transforms do")
    if not images:
        raise ValueError(f"data {shown(what)} hold no images: expected at least one")
    return torch.cat(images)[:LIMIT], torch.cat(labels)[:LIMIT]


def _pairs(found: Any) -> Iterable[Any]:
    """What comes one after the other; a data set may have numbers and a length alone."""
    return found if hasattr(found, "__iter__") else (found[i] for i in range(min(len(found), LIMIT)))


def _pair(pair: Any, what: Any, batched: bool) -> tuple[Tensor, Tensor]:
    """Images [n, ...] and labels [n] of a batch, or of one image and its label."""
    try:
        image, label = pair[0], torch.as_tensor(pair[1])
    except (TypeError, ValueError, LookupError, RuntimeError) as error:
        kind = type(pair).__name__
        raise ValueError(f"data {shown(what)} give one {kind} after the other: expected pairs of an image and a whole "
                         "number") from error  # fmt: skip
    if not isinstance(image, Tensor):
        raise ValueError(f"data {shown(what)} give images as {type(image).__name__}: expected tensors, as "
                         "torchvision.transforms.ToTensor() makes them")  # fmt: skip
    return (image, label) if batched or label.ndim else (image[None], label[None])
