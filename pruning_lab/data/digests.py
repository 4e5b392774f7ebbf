"""Digests of image sets: of the bytes as stored, and how many images are known not to be the published ones."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

import numpy as np

from .files import Stamp, read_half
from .pixels import drawn


@lru_cache(maxsize=64)
def stored_digest(name: str, split: str, limit: int | None, root: Path, stamp: Stamp) -> str:
    raw = read_half(name.removeprefix("gaussian:"), split, root, stamp)
    n = min(limit or len(raw.labels), len(raw.labels))
    images = raw.images[:n]
    if name.startswith("gaussian:"):
        images = drawn(raw, None, split)[:n].numpy()
    return digest(images, raw.labels[:n])


@lru_cache(maxsize=64)
def count_lossy(name: str, split: str, limit: int | None, root: Path, stamp: Stamp) -> int:
    if name.startswith("gaussian:"):
        return 0
    places = read_half(name, split, root, stamp).lossy
    return int((places < (limit or np.inf)).sum())


def digest(images: np.ndarray, labels: np.ndarray) -> str:
    h = hashlib.sha256(repr((images.shape, str(images.dtype))).encode())
    h.update(np.ascontiguousarray(images))
    h.update(np.ascontiguousarray(labels))
    return h.hexdigest()[:16]
