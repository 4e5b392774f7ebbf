"""From what a file holds to the pixels that a net sees: size, scale, normal draws."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from ..npz import Raw
from ..numeric import checked
from .files import Stamp, read_half

#: How pixels may be scaled.
SCALES = ("unit", "standardised")


@checked
def scaled_by(name: str, scale: str) -> str | None:
    """The set by whose mean and sd, those of its whole training half, images of a set are scaled; None: they are not.

    A limit takes none of these images away, so that the digest of the first few says nothing of them.

    >>> from pruning_lab import data
    >>> data.scaled_by("digits", "unit"), data.scaled_by("digits", "standardised")
    (None, 'digits')
    """
    gaussian = name.startswith("gaussian:")
    return name.removeprefix("gaussian:") if gaussian != (scale == "standardised") else None


def pixels_of(raw: Raw, size: int | None, rows: slice) -> torch.Tensor:
    """Some images as float32 in [0, 1], [N, C, H, W], resized to squares of `size` pixels unless None."""
    images = torch.from_numpy(np.ascontiguousarray(raw.images[rows].transpose(0, 3, 1, 2))).float() / raw.white
    if size is not None and tuple(images.shape[-2:]) != (size, size):
        images = F.interpolate(images, size=(size, size), mode="bilinear", align_corners=False, antialias=True)
    return images


def drawn(raw: Raw, size: int | None, split: str) -> torch.Tensor:
    """The draw for a whole split, of which a limit takes the first: `randn` depends on how much is drawn."""
    n, height, width, channels = raw.images.shape
    seed = {"train": 20_190_614, "test": 20_190_615}[split]
    return torch.randn(n, channels, size or height, size or width, generator=torch.Generator().manual_seed(seed))


@lru_cache(maxsize=4)
@torch.inference_mode(False)
def moments_of(name: str, size: int | None, root: Path, stamp: Stamp) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and sd per channel of the whole training set, [C, 1, 1] each; a constant channel has sd 1."""
    images = pixels_of(read_half(name, "train", root, stamp), size, slice(None)).double()
    mean, sd = images.mean((0, 2, 3)), images.std((0, 2, 3), correction=0)
    sd = torch.where(sd > 0, sd, torch.ones_like(sd))
    return mean.float()[:, None, None], sd.float()[:, None, None]
