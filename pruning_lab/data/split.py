"""Half of an image set as tensors."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch


@dataclass(frozen=True)
class Split:
    """Half of an image set: `images` [N, C, H, W] float32, `labels` [N] int64, both on one device.

    >>> import torch
    >>> from pruning_lab import data
    >>> split = data.Split(torch.zeros(3, 1, 8, 8), torch.tensor([0, 1, 1]), ("a", "b"), "mine/train", digest="")
    >>> len(split)
    3
    >>> split
    Split(classes=('a', 'b'), name='mine/train', digest='', lossy=0, scaled_by='')
    """

    images: torch.Tensor = field(repr=False)  # [N, C, H, W] float32
    labels: torch.Tensor = field(repr=False)  # [N] int64
    classes: tuple[str, ...]  # names, by label
    name: str  # of the set and half
    digest: str  # sha256 of pixels and labels as stored, before scaling; first 16 hexadecimal digits
    lossy: int = 0  # images whose pixels are known not to be the published ones
    scaled_by: str = ""  # digest of the whole training half whose mean and sd scaled the pixels; empty: none did

    def __len__(self) -> int:
        return len(self.labels)
