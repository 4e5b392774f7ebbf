"""Image sets by name, as tensors on the device.

A set is looked for in this order: embedded (`digits`), `<root>/<name>/{train,test}.npz`, torchvision's downloads.
What torchvision brought is written as `.npz` for the next time. Nothing pickled is ever read. A file that is written
anew counts from the next call on: its time and size belong to the key of all that is kept of it.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache
from numbers import Integral
from pathlib import Path
from weakref import WeakSet

import numpy as np
import torch
import torch.nn.functional as F

from . import environment, npz
from .npz import Raw as _Raw

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
    scaled_by: str = ""  # digest of the whole training half whose mean and sd scaled the pixels; empty: none did

    def __len__(self) -> int:
        return len(self.labels)


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
    """
    return _load(*_asked(name, split, limit, image_size, scale, device)).hand_out()


class Changed(RuntimeError):
    """Shared images or labels were written to, or their file was replaced, while something was computed from them."""


@contextmanager
def watched() -> Iterator[None]:
    """What is computed inside reads shared splits as they were loaded: bytes get a look at first use and in the end.

    Raises:
        Changed: in the end, if what was handed out meanwhile was written to.
    """
    lent: WeakSet[_Kept] = WeakSet()
    for kept in list(_KEPT):
        kept.trusted = False
    _WATCHES.append(lent)
    try:
        yield
    finally:
        _WATCHES[:] = [w for w in _WATCHES if w is not lent]
    for kept in list(lent):
        if not kept.sound():
            raise Changed(
                f"images or labels of {kept.split.name} were changed in place while something was computed from them, "
                "so that the answer does not count: a model or a hook that writes to its input has to copy it first "
                "(x.clone()); `data.load` gives a copy"
            )


def size(name: str, split: str, limit: int | None = None) -> int:
    """Number of images that `load` would give, from the head of the file: no pixel is read. Raises as `load` does."""
    _check(name, split, limit)
    base, root = name.removeprefix("gaussian:"), environment.data_root()
    _bring(base, split, root)
    n = _images(base, split, root, _stamp(base, root))
    return min(limit or n, n)


def is_here(name: str, split: str) -> bool:
    """Whether `load` needs no download. ValueError: as `load` has it, but for a name that nobody knows."""
    _check(name, split, None)
    base = name.removeprefix("gaussian:")
    return base == "digits" or _file(base, split, environment.data_root()).is_file()


def fingerprint(name: str, split: str, limit: int | None = None) -> dict[str, str | int] | None:
    """`digest` and `lossy` as `load` would give them; None: the set is not on this machine. Nothing is downloaded.

    ValueError: as `load` has it.
    """
    _check(name, split, limit)
    if not is_here(name, split):
        return None
    base, root = name.removeprefix("gaussian:"), environment.data_root()
    key = (name, split, limit, root, _stamp(base, root))
    return dict(digest=_stored_digest(*key), lossy=_lossy(*key))


def scaled_by(name: str, scale: str) -> str | None:
    """The set by whose mean and sd, those of its whole training half, images of a set are scaled; None: they are not.

    A limit takes none of these images away, so that the digest of the first few says nothing of them.
    """
    gaussian = name.startswith("gaussian:")
    return name.removeprefix("gaussian:") if gaussian != (scale == "standardised") else None


_Stamp = tuple[tuple[int, ...] | None, ...]  # of the files on which a set depends; empty for an embedded one


def _asked(
    name: str, split: str, limit: int | None, image_size: int | None, scale: str, device: torch.device | str | None
) -> tuple[object, ...]:
    """All that determines what is handed out, checked; the set is on disk from here on."""
    _check(name, split, limit)
    _check_count("image_size", image_size)
    if scale not in SCALES:
        raise ValueError(f"scale must be one of {SCALES}, got {scale!r}")
    target = torch.device(device) if device is not None else environment.device()
    base, root = name.removeprefix("gaussian:"), environment.data_root()
    _bring(base, split, root)
    return name, split, limit, image_size, scale, target, root, _stamp(base, root)


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


def _file(name: str, split: str, root: Path) -> Path:
    return root / name / f"{split}.npz"


def _stamp(name: str, root: Path) -> _Stamp:
    """Times in ns, size and number of both files of a set: a half is checked against the other, may have its names."""
    return () if name == "digits" else tuple(_times(_file(name, split, root)) for split in ("train", "test"))


def _times(file: Path) -> tuple[int, ...] | None:
    try:
        found = file.stat()
    except OSError:
        return None  # it is not there, which is said where it is read
    return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino


def _let_the_clock_tick(stamp: _Stamp) -> None:
    """Wait until a file written now would have a later time than these: file systems count time in steps."""
    newest = max((t for times in stamp if times for t in times[:2]), default=0)
    while 0 <= time.time_ns() - newest < _TICK:
        time.sleep(_TICK / 1e9 / 10)


_TICK = 20_000_000  # ns, above the steps in which file systems write times


@lru_cache(maxsize=64)
def _stored_digest(name: str, split: str, limit: int | None, root: Path, stamp: _Stamp) -> str:
    raw = _raw(name.removeprefix("gaussian:"), split, root, stamp)
    n = min(limit or len(raw.labels), len(raw.labels))
    images = raw.images[:n]
    if name.startswith("gaussian:"):
        images = _normal(raw, None, split)[:n].numpy()
    return _digest(images, raw.labels[:n])


@lru_cache(maxsize=64)
def _lossy(name: str, split: str, limit: int | None, root: Path, stamp: _Stamp) -> int:
    if name.startswith("gaussian:"):
        return 0
    places = _raw(name, split, root, stamp).lossy
    return int((places < (limit or np.inf)).sum())


@lru_cache(maxsize=64)
def _images(name: str, split: str, root: Path, stamp: _Stamp) -> int:
    if name == "digits":
        return len(_raw(name, split, root, stamp).labels)
    _let_the_clock_tick(stamp)
    return npz.headers(_file(name, split, root))["images"].shape[0]


class _Kept:
    """A split that several callers read, made again where one of them has written to it."""

    def __init__(self, make: Callable[[], Split]) -> None:
        self.make = make
        self.fill()
        _KEPT.add(self)

    def fill(self) -> None:
        """Make the split and note what it is like."""
        self.split = self.make()
        self.versions, self.marks = self._versions(), self._marks()
        self.trusted = True  # its bytes need no look before it is handed out

    def hand_out(self) -> Split:
        """The split in tensor objects of the caller's own, over memory that is shared."""
        if not (self.trusted and self.versions == self._versions() or self.sound()):
            self.fill()
        for watch in _WATCHES:
            watch.add(self)
        return replace(self.split, images=self.split.images.detach(), labels=self.split.labels.detach())

    def sound(self) -> bool:
        """Whether its bytes are those that were loaded; a layer that writes what stood there already does no harm."""
        self.trusted = self._marks() == self.marks
        self.versions = self._versions()
        for watch in _WATCHES:
            watch.discard(self)
        return self.trusted

    def _versions(self) -> tuple[int, int]:
        return self.split.images._version, self.split.labels._version  # torch counts writings, through views as well

    def _marks(self) -> tuple[int, ...]:
        return (*_marks(self.split.images), *_marks(self.split.labels))


_KEPT: WeakSet[_Kept] = WeakSet()  # those in the cache of `_load`
_WATCHES: list[WeakSet[_Kept]] = []  # for each `watched` that is open: what was handed out since its bytes had a look


def _marks(values: torch.Tensor) -> list[int]:
    """A whole number for each stretch of a tensor, which changes with any one number of it and with their order."""
    stretches = values.contiguous().view(-1).view(torch.int32).split(_STRETCH)
    weights = _weights(values.device)
    product = _dotted if values.device.type == "cpu" else _summed
    return product(stretches, weights)


def _dotted(stretches: Sequence[torch.Tensor], weights: torch.Tensor) -> list[int]:
    """Inner products of each stretch with the weights, modulo 2^32: exact."""
    return [int(torch.dot(part, weights[: len(part)])) for part in stretches]


def _summed(stretches: Sequence[torch.Tensor], weights: torch.Tensor) -> list[int]:
    """As `_dotted`, on devices whose `dot` takes no whole numbers."""
    return torch.stack([(part * weights[: len(part)]).sum(dtype=torch.int32) for part in stretches]).tolist()


_STRETCH = 2**18


@lru_cache
def _weights(device: torch.device) -> torch.Tensor:
    """Odd numbers: times any of them, no change of a number of 32 bits is lost modulo 2^32."""
    generator = torch.Generator().manual_seed(1)
    drawn = torch.randint(-(2**31), 2**31 - 1, (_STRETCH,), generator=generator, dtype=torch.int32, device="cpu")
    return (drawn | 1).to(device)


@lru_cache(maxsize=4)
def _load(*asked: object) -> _Kept:
    return _Kept(lambda: _made(*asked))


@torch.inference_mode(False)  # a tensor made in that mode could never be trained on
def _made(
    name: str,
    split: str,
    limit: int | None,
    size: int | None,
    scale: str,
    device: torch.device,
    root: Path,
    stamp: _Stamp,
) -> Split:
    gaussian, base = name.startswith("gaussian:"), name.removeprefix("gaussian:")
    raw = _raw(base, split, root, stamp)
    n = min(limit or len(raw.labels), len(raw.labels))
    images = _normal(raw, size, split)[:n] if gaussian else _pixels(raw, size, slice(n))
    moments = ""
    if scaled_by(name, scale) is not None:
        moments = _stored_digest(base, "train", None, root, stamp)
        mean, sd = _moments(base, size, root, stamp)
        images = images * sd + mean if gaussian else (images - mean) / sd
    labels = torch.tensor(raw.labels[:n], device=device)  # a copy: what is kept of a file is never handed out
    key = (name, split, limit, root, stamp)
    return Split(images.to(device), labels, raw.classes, name, _stored_digest(*key), _lossy(*key), moments)


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
@torch.inference_mode(False)
def _moments(name: str, size: int | None, root: Path, stamp: _Stamp) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and sd per channel of the whole training set, [C, 1, 1] each; a constant channel has sd 1."""
    images = _pixels(_raw(name, "train", root, stamp), size, slice(None)).double()
    mean, sd = images.mean((0, 2, 3)), images.std((0, 2, 3), correction=0)
    sd = torch.where(sd > 0, sd, torch.ones_like(sd))
    return mean.float()[:, None, None], sd.float()[:, None, None]


def _digest(images: np.ndarray, labels: np.ndarray) -> str:
    h = hashlib.sha256(repr((images.shape, str(images.dtype))).encode())
    h.update(np.ascontiguousarray(images))
    h.update(np.ascontiguousarray(labels))
    return h.hexdigest()[:16]


@lru_cache(maxsize=4)
def _raw(name: str, split: str, root: Path, stamp: _Stamp) -> _Raw:
    """A half as stored, read once for all that is made of it; handed out to nobody."""
    if name == "digits":
        return _digits(split)
    _let_the_clock_tick(stamp)
    return npz.read(_file(name, split, root))


def _bring(name: str, split: str, root: Path) -> None:
    """Download a set that is not on disk. ValueError: there is none of this name."""
    file = _file(name, split, root)
    if name == "digits" or file.is_file():
        return
    if name not in _DOWNLOADS:
        raise ValueError(
            f"unknown data set {name!r}; known here: {', '.join(names())}. Your own: put images uint8 "
            f"[N, H, W, C] and labels [N] into {file.parent}{os.sep}train.npz and test.npz"
        )
    npz.write(file, _download_once(name, split, root))


def _digits(split: str) -> _Raw:
    """scikit-learn's 1,797 scans, 8 x 8 (Alpaydin & Kaynak 1998): in file order, each fourth of a class for testing."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    labels = bunch.target.astype(np.int64)
    rank = np.zeros(len(labels), np.int64)  # position of each scan among those of its class
    for k in range(10):
        rank[labels == k] = np.arange((labels == k).sum())
    here = (rank % 4 == 3) == (split == "test")
    return _Raw(bunch.images[here, :, :, None].astype(np.uint8), labels[here], tuple("0123456789"), white=16.0)


def _download_once(name: str, split: str, root: Path) -> _Raw:
    """The set, unless it could not be had a moment ago: who lists a hundred runs on it does not wait for each."""
    key = name, split, root, _DOWNLOADS[name]
    when, why = _FAILED.get(key, (-np.inf, ""))
    if time.monotonic() - when > _PATIENCE:
        try:
            return _download(name, split, root, _file(name, split, root))
        except FileNotFoundError as error:
            _FAILED[key] = time.monotonic(), str(error)
            raise
    raise FileNotFoundError(why)


_PATIENCE = 60.0  # seconds after which a download that failed is tried again
_FAILED: dict[tuple, tuple[float, str]] = {}  # when, and how


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
    return _Raw(
        np.ascontiguousarray(rows[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)),
        rows[:, 0].astype(np.int64),
        tuple(classes),
    )


_DOWNLOADS: dict[str, Callable[[Path, str], _Raw]] = {
    "mnist": _mnist_like("MNIST"),
    "fashion_mnist": _mnist_like("FashionMNIST"),
    "cifar10": _cifar10,
}
