"""Image sets by name: loaded as tensors of one's own or shared ones, their sizes and fingerprints."""

from __future__ import annotations

import re
from functools import lru_cache
from numbers import Integral
from pathlib import Path

import torch

from .. import environment
from .digests import marks_of
from .downloads import bring, check_name
from .files import Stamp, count_images, file_of, read_half, stamp_of
from .pixels import SCALES, drawn, moments_of, pixels_of, scaled_by
from .sharing import Kept
from .split import Split

LARGEST = 8192  # pixels of a side


def load(
    name: str,
    split: str,
    *,
    limit: int | None = None,
    image_size: int | None = None,
    scale: str = "unit",
    device: torch.device | str | None = None,
) -> Split:
    """The first `limit` images of a split ("train" or "test"), whole if None, in tensors of the caller's own.

    Args:
        name: one of `names()`, or `gaussian:<name>`: the same labels, pixels drawn once from N(0, 1), which stands for
            pixels already standardised per channel (with scale "unit": shifted and stretched to the real mean and sd).
        image_size: side in pixels to which images are resized (bilinear).
        scale: "unit" for pixels in [0, 1], "standardised" for zero mean and unit sd per channel of the training set.

    Raises:
        ValueError: unknown name, split or scale; a file that is truncated, misshapen, holds labels out of range or NaN,
            or does not go with the other half of its set.
        FileNotFoundError: the set is not on disk and cannot be downloaded.

    >>> from pruning_lab import data
    >>> digits = data.load("digits", "train", limit=5, device="cpu")
    >>> digits.images.shape, digits.labels.dtype, len(digits.classes)
    (torch.Size([5, 1, 8, 8]), torch.int64, 10)
    >>> data.load("digits", "middle")
    Traceback (most recent call last):
        ...
    ValueError: split must be 'train' or 'test', got 'middle'
    """
    return _made(*_asked(name, split, limit, image_size, scale, device))


def shared(
    name: str,
    split: str,
    *,
    limit: int | None = None,
    image_size: int | None = None,
    scale: str = "unit",
    device: torch.device | str | None = None,
) -> Split:
    """What `load` gives, in tensors that all callers in this process share: to be read, never to be written to.

    Nothing is copied, so that a training and each look at it may ask anew. What was written to through a tensor is made
    again, never handed out; what was written to past torch (`.numpy()`, `.data`) is found by `watched`.

    >>> from pruning_lab import data
    >>> one, other = (data.shared("digits", "test", limit=5, device="cpu") for _ in range(2))
    >>> one.images.data_ptr() == other.images.data_ptr()
    True
    """
    return _load(*_asked(name, split, limit, image_size, scale, device)).hand_out()


def size(name: str, split: str, limit: int | None = None) -> int:
    """Number of images that `load` would give, from the head of the file: no pixel is read. Raises as `load` does.

    >>> from pruning_lab import data
    >>> data.size("digits", "train"), data.size("digits", "train", limit=5)
    (1352, 5)
    """
    _check(name, split, limit)
    base, root = name.removeprefix("gaussian:"), environment.data_root()
    bring(base, split, root)
    n = count_images(base, split, root, stamp_of(base, root))
    return min(limit or n, n)


def is_here(name: str, split: str) -> bool:
    """Whether `load` needs no download. ValueError: as `load` has it, but for a name that nobody knows.

    >>> from pruning_lab import data
    >>> data.is_here("digits", "train")
    True
    """
    _check(name, split, None)
    base = name.removeprefix("gaussian:")
    return base == "digits" or file_of(base, split, environment.data_root()).is_file()


def check_known(name: str) -> None:
    """ValueError for the name of a set that is neither here nor can be downloaded; nothing is read or downloaded.

    >>> from pruning_lab import data
    >>> data.check_known("digits")
    >>> data.check_known("no_such_set")
    Traceback (most recent call last):
        ...
    ValueError: unknown data set 'no_such_set'; known here: ...
    """
    _check(name, "train", None)
    check_name(name.removeprefix("gaussian:"), "train", environment.data_root())


def fingerprint(name: str, split: str, limit: int | None = None) -> dict[str, str | int] | None:
    """`digest` and `lossy` as `load` would give them; None: the set is not on this machine. Nothing is downloaded.

    ValueError: as `load` has it.

    >>> from pruning_lab import data
    >>> data.fingerprint("digits", "test", limit=5) == data.fingerprint("digits", "test", limit=6)
    False
    >>> sorted(data.fingerprint("digits", "test", limit=5))
    ['digest', 'lossy']
    """
    _check(name, split, limit)
    if not is_here(name, split):
        return None
    base, root = name.removeprefix("gaussian:"), environment.data_root()
    digest, lossy = marks_of(name, split, limit, root, stamp_of(base, root))
    return dict(digest=digest, lossy=lossy)


def _asked(
    name: str, split: str, limit: int | None, image_size: int | None, scale: str, device: torch.device | str | None
) -> tuple[object, ...]:
    """All that determines what is handed out, checked; the set is on disk from here on."""
    _check(name, split, limit)
    _check_count("image_size", image_size)
    if image_size is not None and image_size > LARGEST:
        raise ValueError(f"image_size must be at most {LARGEST:,} pixels, got {image_size!r}")
    if scale not in SCALES:
        raise ValueError(f"scale must be one of {SCALES}, got {scale!r}")
    target = environment.device() if device is None else environment.usable(device)
    base, root = name.removeprefix("gaussian:"), environment.data_root()
    bring(base, split, root)
    return name, split, limit, image_size, scale, target, root, stamp_of(base, root)


def _check(name: str, split: str, limit: int | None) -> None:
    """A name is one folder under the data root: it never leads out of it."""
    if not isinstance(name, str) or not re.fullmatch(r"(gaussian:)?\w[\w.-]*", name):
        raise ValueError(
            f"{name!r} is no name of a data set: letters, digits, '_', '.' and '-', not '.' or '-' first "
            f"(a folder under {environment.data_root()})"
        )
    if split not in ("train", "test"):
        raise ValueError(f"split must be 'train' or 'test', got {split!r}")
    _check_count("limit", limit)


def _check_count(what: str, value: int | None) -> None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, Integral) or value < 1):
        raise ValueError(f"{what} must be None or a whole number of at least 1, got {value!r}")


@lru_cache(maxsize=4)
def _load(*asked: object) -> Kept:
    return Kept(lambda: _made(*asked))


@torch.inference_mode(False)  # a tensor made in that mode could never be trained on
def _made(
    name: str,
    split: str,
    limit: int | None,
    size: int | None,
    scale: str,
    device: torch.device,
    root: Path,
    stamp: Stamp,
) -> Split:
    gaussian, base = name.startswith("gaussian:"), name.removeprefix("gaussian:")
    raw = read_half(base, split, root, stamp)
    n = min(limit or len(raw.labels), len(raw.labels))
    images = drawn(raw, size, split)[:n] if gaussian else pixels_of(raw, size, slice(n))
    scaling = ""
    if scaled_by(name, scale) is not None:
        scaling, _ = marks_of(base, "train", None, root, stamp)
        mean, sd = moments_of(base, size, root, stamp)
        images = images * sd + mean if gaussian else (images - mean) / sd
    labels = torch.tensor(raw.labels[:n], device=device)  # a copy: what is kept of a file is never handed out
    marks = marks_of(name, split, limit, root, stamp)
    return Split(images.to(device), labels, raw.classes, name, *marks, scaling)
