"""Image sets that are fetched where they are not on disk, each stored as `.npz` for the next time."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from .. import environment, npz
from ..npz import Raw
from .files import file_of

_CIFAR10_ARCHIVE = ("https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz", "c32a1d4ab5d03f1284b67883e8d87530")


def names() -> list[str]:
    """Names that `load` knows here: the built-in sets and every folder under the data root that holds a set.

    >>> from pruning_lab import data
    >>> "digits" in data.names(), "cifar10" in data.names()
    (True, True)
    """
    root = environment.data_root()
    own = {p.parent.name for p in root.glob("*/train.npz")} if root.is_dir() else set()
    return sorted({"digits", *DOWNLOADS, *own})


def bring(name: str, split: str, root: Path) -> None:
    """Download a set that is not on disk. ValueError: there is none of this name."""
    check_name(name, split, root)
    file = file_of(name, split, root)
    if name != "digits" and not file.is_file():
        npz.write(file, _download_once(name, split, root))


def check_name(name: str, split: str, root: Path) -> None:
    """ValueError: no set of this name is embedded, on disk, or known where to be had."""
    file = file_of(name, split, root)
    if name != "digits" and name not in DOWNLOADS and not file.is_file():
        raise ValueError(
            f"unknown data set {name!r}; known here: {', '.join(names())}. Your own: put images uint8 "
            f"[N, H, W, C] and labels [N] into {file.parent}{os.sep}train.npz and test.npz"
        )


def _download_once(name: str, split: str, root: Path) -> Raw:
    """The set, unless it could not be had a moment ago: who lists a hundred runs on it does not wait for each."""
    key = name, split, root, DOWNLOADS[name]
    when, why = _FAILED.get(key, (-np.inf, ""))
    if time.monotonic() - when > _PATIENCE:
        try:
            return _download(name, split, root, file_of(name, split, root))
        except FileNotFoundError as error:
            _FAILED[key] = time.monotonic(), str(error)
            raise
    raise FileNotFoundError(why)


_PATIENCE = 60.0  # seconds after which a download that failed is tried again
_FAILED: dict[tuple, tuple[float, str]] = {}  # when, and how


def _download(name: str, split: str, root: Path, file: Path) -> Raw:
    root.mkdir(parents=True, exist_ok=True)
    try:
        return DOWNLOADS[name](root, split)
    except Exception as error:  # no network, a full disk, an md5 that does not fit: torchvision has many words for it
        raise FileNotFoundError(
            f"{name} is not in {root} and could not be downloaded ({error}). Put the set there as {file} "
            "(images uint8 [N, H, W, C], labels [N]) or set PRUNING_LAB_DATA to the folder that has it"
        ) from error


def _mnist_like(dataset: str) -> Callable[[Path, str], Raw]:
    def fetch(root: Path, split: str) -> Raw:
        environment.import_torchvision()
        from torchvision import datasets

        found = getattr(datasets, dataset)(root=root, train=split == "train", download=True)
        return Raw(found.data.numpy()[..., None], found.targets.numpy().astype(np.int64), tuple(found.classes))

    return fetch


def _cifar10(root: Path, split: str) -> Raw:
    """CIFAR-10 from its binary version, records of one label byte and 3,072 pixels; the python version is a pickle."""
    environment.import_torchvision()
    from torchvision.datasets.utils import download_and_extract_archive

    url, md5 = _CIFAR10_ARCHIVE
    download_and_extract_archive(url, download_root=str(root), md5=md5)
    folder = root / "cifar-10-batches-bin"
    files = ["test_batch.bin"] if split == "test" else [f"data_batch_{k}.bin" for k in range(1, 6)]
    rows = np.concatenate([np.fromfile(folder / f, np.uint8) for f in files]).reshape(-1, 3073)
    classes = (folder / "batches.meta.txt").read_text().split()
    return Raw(
        np.ascontiguousarray(rows[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)),
        rows[:, 0].astype(np.int64),
        tuple(classes),
    )


#: Sets that torchvision can bring: name -> a function of a folder and a half that returns it.
DOWNLOADS: dict[str, Callable[[Path, str], Raw]] = {
    "mnist": _mnist_like("MNIST"),
    "fashion_mnist": _mnist_like("FashionMNIST"),
    "cifar10": _cifar10,
}
