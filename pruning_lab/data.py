"""Image sets by name, as tensors on the device.

A set is looked for in this order: embedded (`digits`), `<root>/<name>/{train,test}.npz`, torchvision's downloads.
What torchvision brought is written as `.npz` for the next time. Nothing pickled is ever read.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from . import environment

SCALES = ("unit", "standardised")
_CIFAR10_ARCHIVE = ("https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz", "c32a1d4ab5d03f1284b67883e8d87530")


@dataclass(frozen=True)
class Split:
    """Half of an image set: `images` [N, C, H, W] float32, `labels` [N] int64, both on one device."""

    images: torch.Tensor = field(repr=False)
    labels: torch.Tensor = field(repr=False)
    classes: tuple[str, ...]
    name: str
    digest: str  # sha256 of pixels and labels as stored, before scaling; first 16 hexadecimal digits
    lossy: int = 0  # images whose pixels are known not to be the published ones

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class _Raw:
    images: np.ndarray = field(repr=False)  # [N, H, W, C] uint8 or float in [0, 1]
    labels: np.ndarray = field(repr=False)  # [N] int64
    classes: tuple[str, ...]
    lossy: np.ndarray = field(repr=False, default_factory=lambda: np.zeros(0, np.int64))
    white: float = 255.0


def names() -> list[str]:
    """Names that `load` knows here: the built-in sets and every folder under the data root that holds a set."""
    root = environment.data_root()
    own = {p.parent.name for p in root.glob("*/train.npz")} if root.is_dir() else set()
    return sorted({"digits", *_DOWNLOADS, *own})


def load(
    name: str,
    split: str,
    *,
    limit: int | None = None,
    image_size: int | None = None,
    scale: str = "unit",
    device: torch.device | str | None = None,
) -> Split:
    """The first `limit` images of a split ("train" or "test"), whole if None.

    Args:
        name: one of `names()`, or `gaussian:<name>`: the same labels, pixels drawn once from N(0, 1), which stands for
            pixels already standardised per channel (with scale "unit": shifted and stretched to the real mean and sd).
        image_size: side in pixels to which images are resized (bilinear).
        scale: "unit" for pixels in [0, 1], "standardised" for zero mean and unit sd per channel of the training set.

    Raises:
        ValueError: unknown name, split or scale; a file that is truncated, misshapen or holds labels out of range or NaN.
        FileNotFoundError: the set is not on disk and cannot be downloaded.
    """
    if split not in ("train", "test") or scale not in SCALES:
        raise ValueError(f"split must be 'train' or 'test' and scale one of {SCALES}, got {split!r} and {scale!r}")
    _check_name(name)
    if limit is not None and limit < 1:
        raise ValueError(f"limit must be at least 1, got {limit}")
    target = torch.device(device) if device is not None else environment.device()
    return _load(name, split, limit, image_size, scale, target, environment.data_root())


def fingerprint(name: str, split: str, limit: int | None = None) -> dict[str, str | int] | None:
    """`digest` and `lossy` as `load` would give them, or None where the set is not on this machine; nothing is downloaded."""
    _check_name(name)
    base = name.removeprefix("gaussian:")
    if base != "digits" and not (environment.data_root() / base / f"{split}.npz").is_file():
        return None
    root = environment.data_root()
    return dict(digest=_stored_digest(name, split, limit, root), lossy=_lossy(name, split, limit, root))


def _check_name(name: str) -> None:
    """A name is one folder under the data root: it never leads out of it."""
    if not re.fullmatch(r"(gaussian:)?\w[\w.-]*", name):
        raise ValueError(
            f"{name!r} is no name of a data set: letters, digits, '_', '.' and '-', not '.' or '-' first "
            f"(a folder under {environment.data_root()})"
        )


@lru_cache(maxsize=64)
def _stored_digest(name: str, split: str, limit: int | None, root: Path) -> str:
    raw = _raw(name.removeprefix("gaussian:"), split, root)
    n = min(limit or len(raw.labels), len(raw.labels))
    images = raw.images[:n]
    if name.startswith("gaussian:"):
        images = _normal(raw, None, split)[:n].numpy()
    return _digest(images, raw.labels[:n])


def _lossy(name: str, split: str, limit: int | None, root: Path) -> int:
    if name.startswith("gaussian:"):
        return 0
    places = _raw(name, split, root).lossy
    return int((places < (limit or np.inf)).sum())


@lru_cache(maxsize=4)
def _load(name: str, split: str, limit: int | None, size: int | None, scale: str, device: torch.device, root: Path) -> Split:
    gaussian, base = name.startswith("gaussian:"), name.removeprefix("gaussian:")
    raw = _raw(base, split, root)
    n = min(limit or len(raw.labels), len(raw.labels))
    images = _normal(raw, size, split)[:n] if gaussian else _pixels(raw, size, slice(n))
    if gaussian != (scale == "standardised"):
        mean, sd = _moments(base, size, root)
        images = images * sd + mean if gaussian else (images - mean) / sd
    labels = torch.from_numpy(raw.labels[:n]).to(device)
    return Split(images.to(device), labels, raw.classes, name, _stored_digest(name, split, limit, root), _lossy(name, split, limit, root))


def _pixels(raw: _Raw, size: int | None, rows: slice) -> torch.Tensor:
    images = torch.from_numpy(np.ascontiguousarray(raw.images[rows].transpose(0, 3, 1, 2))).float() / raw.white
    if size is not None and tuple(images.shape[-2:]) != (size, size):
        images = F.interpolate(images, size=(size, size), mode="bilinear", align_corners=False, antialias=True)
    return images


def _normal(raw: _Raw, size: int | None, split: str) -> torch.Tensor:
    """The draw for a whole split, of which a limit takes the first: `randn` depends on how much is drawn."""
    n, height, width, channels = raw.images.shape
    seed = {"train": 20_190_614, "test": 20_190_615}[split]
    return torch.randn(n, channels, size or height, size or width, generator=torch.Generator().manual_seed(seed))


@lru_cache(maxsize=4)
def _moments(name: str, size: int | None, root: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and sd per channel of the whole training set, [C, 1, 1] each; a constant channel has sd 1."""
    images = _pixels(_raw(name, "train", root), size, slice(None)).double()
    mean, sd = images.mean((0, 2, 3)), images.std((0, 2, 3), correction=0)
    sd = torch.where(sd > 0, sd, torch.ones_like(sd))
    return mean.float()[:, None, None], sd.float()[:, None, None]


def _digest(images: np.ndarray, labels: np.ndarray) -> str:
    h = hashlib.sha256(repr((images.shape, str(images.dtype))).encode())
    h.update(np.ascontiguousarray(images))
    h.update(np.ascontiguousarray(labels))
    return h.hexdigest()[:16]


@lru_cache(maxsize=4)
def _raw(name: str, split: str, root: Path) -> _Raw:
    if name == "digits":
        return _digits(split)
    file = root / name / f"{split}.npz"
    if file.is_file():
        return _read(file)
    if name not in _DOWNLOADS:
        raise ValueError(
            f"unknown data set {name!r}; known here: {', '.join(names())}. Your own: put images uint8 "
            f"[N, H, W, C] and labels [N] into {file.parent}{os.sep}train.npz and test.npz"
        )
    raw = _download(name, split, root, file)
    _write(file, raw)
    return raw


def _digits(split: str) -> _Raw:
    """scikit-learn's 1,797 scans, 8 x 8 (Alpaydin & Kaynak 1998): in file order, every fourth of a class is for testing."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    labels = bunch.target.astype(np.int64)
    rank = np.zeros(len(labels), np.int64)  # position of each scan among those of its class
    for k in range(10):
        rank[labels == k] = np.arange((labels == k).sum())
    here = (rank % 4 == 3) == (split == "test")
    return _Raw(bunch.images[here, :, :, None].astype(np.uint8), labels[here], tuple("0123456789"), white=16.0)


def _read(file: Path) -> _Raw:
    """A set of the layout `images`, `labels`, optionally `classes` and `lossy`; checked."""
    arrays = _arrays(file)
    images, labels = arrays["images"], arrays["labels"]
    if images.ndim != 4 or labels.shape != images.shape[:1] or len(labels) == 0 or images.shape[-1] not in (1, 3):
        raise ValueError(f"{file}: images {images.shape} and labels {labels.shape}; expected [N, H, W, C] with C 1 or 3, and [N], N > 0")
    _check_values(file, images, labels)
    classes = tuple(str(c) for c in arrays["classes"]) if "classes" in arrays else _numbered(file, labels)
    if labels.min() < 0 or labels.max() >= len(classes):
        raise ValueError(f"{file}: labels from {labels.min()} to {labels.max()}, but {len(classes)} classes")
    white = 255.0 if images.dtype == np.uint8 else 1.0
    return _Raw(images, labels.astype(np.int64), classes, arrays.get("lossy", np.zeros(0, np.int64)), white)


def _arrays(file: Path, only: tuple[str, ...] = ()) -> dict[str, np.ndarray]:
    """The arrays of an .npz file, or those named; raises ValueError where it is broken or no image set."""
    try:
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as z:  # NumPy leaves a broken file open
            arrays = {k: z[k] if not only or k in only else None for k in z.files}
    except Exception as error:  # zipfile, zlib, numpy and the file system each have their own
        raise ValueError(f"{file} cannot be read as .npz without pickles ({error}); delete it or write it again") from error
    if not {"images", "labels"} <= arrays.keys():
        raise ValueError(f"{file} holds {sorted(arrays)}; expected arrays 'images' and 'labels'")
    return arrays


def _numbered(file: Path, labels: np.ndarray) -> tuple[str, ...]:
    """Class names for a set that has none: numbers up to the highest label in either half, at most 10,000."""
    other = file.with_name("test.npz" if file.name == "train.npz" else "train.npz")
    highest = int(labels.max())
    if other.is_file():
        highest = max(highest, int(_arrays(other, ("labels",))["labels"].max(initial=0)))
    if highest >= 10_000:
        raise ValueError(f"{file}: a label of {highest}, and no array 'classes' that names so many")
    return tuple(map(str, range(highest + 1)))


def _check_values(file: Path, images: np.ndarray, labels: np.ndarray) -> None:
    if not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"{file}: labels are {labels.dtype}; expected whole numbers")
    if images.dtype == np.uint8:
        return
    if not np.issubdtype(images.dtype, np.floating):
        raise ValueError(f"{file}: images are {images.dtype}; expected uint8 in 0..255 (or float in [0, 1])")
    if not np.isfinite(images).all():
        raise ValueError(f"{file}: {int((~np.isfinite(images)).sum())} pixels are NaN or infinite")
    if images.min() < 0 or images.max() > 1:
        raise ValueError(f"{file}: float pixels from {images.min():g} to {images.max():g}; expected [0, 1]")


def _write(file: Path, raw: _Raw) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=file.parent, suffix=".npz", delete=False) as part:
        try:
            np.savez_compressed(part, images=raw.images, labels=raw.labels.astype(np.uint8), classes=np.array(raw.classes))
            Path(part.name).replace(file)
        except BaseException:
            Path(part.name).unlink(missing_ok=True)
            raise


def _download(name: str, split: str, root: Path, file: Path) -> _Raw:
    root.mkdir(parents=True, exist_ok=True)
    try:
        return _DOWNLOADS[name](root, split)
    except Exception as error:  # no network, a full disk, an md5 that does not fit: torchvision has many words for it
        raise FileNotFoundError(
            f"{name} is not in {root} and could not be downloaded ({error}). Put the set there as {file} "
            "(images uint8 [N, H, W, C], labels [N]) or set PRUNING_LAB_DATA to the folder that has it"
        ) from error


def _mnist_like(dataset: str) -> Callable[[Path, str], _Raw]:
    def fetch(root: Path, split: str) -> _Raw:
        environment.import_torchvision()
        from torchvision import datasets

        found = getattr(datasets, dataset)(root=root, train=split == "train", download=True)
        return _Raw(found.data.numpy()[..., None], found.targets.numpy().astype(np.int64), tuple(found.classes))

    return fetch


def _cifar10(root: Path, split: str) -> _Raw:
    """CIFAR-10 from its binary version, records of one label byte and 3,072 pixels; the python version is a pickle."""
    environment.import_torchvision()
    from torchvision.datasets.utils import download_and_extract_archive

    url, md5 = _CIFAR10_ARCHIVE
    download_and_extract_archive(url, download_root=str(root), md5=md5)
    folder = root / "cifar-10-batches-bin"
    files = ["test_batch.bin"] if split == "test" else [f"data_batch_{k}.bin" for k in range(1, 6)]
    rows = np.concatenate([np.fromfile(folder / f, np.uint8) for f in files]).reshape(-1, 3073)
    classes = (folder / "batches.meta.txt").read_text().split()
    return _Raw(np.ascontiguousarray(rows[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)), rows[:, 0].astype(np.int64), tuple(classes))


_DOWNLOADS: dict[str, Callable[[Path, str], _Raw]] = {
    "mnist": _mnist_like("MNIST"),
    "fashion_mnist": _mnist_like("FashionMNIST"),
    "cifar10": _cifar10,
}
