"""The files of image sets: where each lies, how it stands there now, and what it holds, read once."""

from __future__ import annotations

import time
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from .. import npz
from ..npz import Raw

Stamp = tuple[tuple[int, ...] | None, ...]  # of the files on which a set depends; empty for an embedded one


def file_of(name: str, split: str, root: Path) -> Path:
    """Where a half of a set of the user's own, or a downloaded one, lies; whether it is there is not asked."""
    return root / name / f"{split}.npz"


def stamp_of(name: str, root: Path) -> Stamp:
    """Times in ns, size and number of both files of a set: a half is checked against the other, may have its names."""
    return () if name == "digits" else tuple(_times(file_of(name, split, root)) for split in ("train", "test"))


def _times(file: Path) -> tuple[int, ...] | None:
    try:
        found = file.stat()
    except OSError:
        return None  # it is not there, which is said where it is read
    return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino


def _let_the_clock_tick(stamp: Stamp) -> None:
    """Wait until a file written now would have a later time than these: file systems count time in steps."""
    newest = max((t for times in stamp if times for t in times[:2]), default=0)
    while 0 <= time.time_ns() - newest < _TICK:
        time.sleep(_TICK / 1e9 / 10)


_TICK = 20_000_000  # ns, above the steps in which file systems write times


@lru_cache(maxsize=4)
def read_half(name: str, split: str, root: Path, stamp: Stamp) -> Raw:
    """A half as stored, read once for all that is made of it; handed out to nobody."""
    if name == "digits":
        return _digits(split)
    _let_the_clock_tick(stamp)
    return npz.read(file_of(name, split, root))


@lru_cache(maxsize=64)
def count_images(name: str, split: str, root: Path, stamp: Stamp) -> int:
    """How many images a half has, from its header alone. ValueError, FileNotFoundError: as `read_half`."""
    if name == "digits":
        return len(read_half(name, split, root, stamp).labels)
    _let_the_clock_tick(stamp)
    return npz.headers(file_of(name, split, root))["images"].shape[0]


def _digits(split: str) -> Raw:
    """scikit-learn's 1,797 scans, 8 x 8 (Alpaydin & Kaynak 1998): in file order, each fourth of a class for testing."""
    scans = _scans()
    images, labels = scans[:, :64].reshape(-1, 8, 8, 1), scans[:, 64].astype(np.int64)
    rank = np.zeros(len(labels), np.int64)  # position of each scan among those of its class
    for k in range(10):
        rank[labels == k] = np.arange((labels == k).sum())
    here = (rank % 4 == 3) == (split == "test")
    return Raw(images[here].astype(np.uint8), labels[here], tuple("0123456789"), white=16.0)


def _scans() -> np.ndarray:
    """Pixels 0..16 and label of each scan, [1797, 65], from scikit-learn's own file: to import it takes a second."""
    place = find_spec("sklearn")
    file = Path(place.origin).parent / "datasets" / "data" / "digits.csv.gz" if place and place.origin else None
    if file is not None and file.is_file():
        return np.loadtxt(file, delimiter=",")
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return np.column_stack([bunch.data, bunch.target])
