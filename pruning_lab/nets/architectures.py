"""Networks with branches, registered with those of `models`: ResNet50 and the vision transformer."""

from __future__ import annotations

from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import nn

from .. import environment
from . import models
from .models import register, sized

STEMS = ("imagenet", "cifar")


@register
@sized
def resnet50(in_shape: tuple[int, int, int], classes: int, width: int | None, stem: str = "imagenet") -> models.Layers:
    """torchvision's ResNet50 (He et al. 2016, stride in the 3 x 3 convolution), its blocks and initialisation; its last
    layer is `out`.

    Args:
        stem: "imagenet" for a 7 x 7 convolution of stride 2 and max-pooling, "cifar" for one 3 x 3 convolution.

    ValueError: another stem.

    >>> from pruning_lab import models
    >>> models.build("resnet50", (3, 32, 32), classes=10, width=2, stem="cifar").out
    Linear(in_features=64, out_features=10, bias=True)
    """
    if stem not in STEMS:
        raise ValueError(f"resnet50: stem {stem!r} is none of {STEMS}")
    first, net = width or 64, OrderedDict[str, nn.Module]()
    kernel, stride, padding = (7, 2, 3) if stem == "imagenet" else (3, 1, 1)
    net["conv1"] = nn.Conv2d(in_shape[0], first, kernel, stride, padding, bias=False)
    net["bn1"], net["relu"] = nn.BatchNorm2d(first), nn.ReLU(inplace=True)
    if stem == "imagenet":
        net["maxpool"] = nn.MaxPool2d(3, 2, 1)
    inputs = first
    for k, blocks in enumerate((3, 4, 6, 3)):
        net[f"layer{k + 1}"], inputs = _stage(inputs, first * 2**k, blocks, stride=1 if k == 0 else 2)
    net["avgpool"], net["flatten"] = nn.AdaptiveAvgPool2d(1), nn.Flatten()
    net["out"] = nn.Linear(inputs, classes)
    for m in nn.Sequential(net).modules():
        if isinstance(m, nn.Conv2d):
            nn.init.kaiming_normal_(m.weight, mode="fan_out", nonlinearity="relu")
    return net


@register
@sized
def resnet50_cifar(in_shape: tuple[int, int, int], classes: int, width: int | None) -> models.Layers:
    """`resnet50` with the stem for small images: one 3 x 3 convolution, no pooling.

    >>> from pruning_lab import models
    >>> models.build("resnet50_cifar", (3, 32, 32), classes=10, width=2).conv1
    Conv2d(3, 2, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1), bias=False)
    """
    return resnet50(in_shape, classes, width, stem="cifar")


def _stage(inputs: int, units: int, blocks: int, stride: int) -> tuple[nn.Sequential, int]:
    """Bottleneck blocks, of which the first changes channels and size; and the channels that they give."""
    block = environment.import_torchvision().models.resnet.Bottleneck
    outputs = units * block.expansion
    layers = []
    for k in range(blocks):
        shortcut = None
        if k == 0:
            shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
        layers.append(block(inputs, units, stride if k == 0 else 1, shortcut))
        inputs = outputs
    return nn.Sequential(*layers), outputs


class Tokens(nn.Module):
    """Positions of a picture [N, dim, h, w] as tokens [N, 1 + h w, dim], a class token first, with learned positions
    added.

    >>> import torch
    >>> from pruning_lab.nets import architectures
    >>> architectures.Tokens(count=4, dim=8)(torch.zeros(2, 8, 2, 2)).shape
    torch.Size([2, 5, 8])
    """

    def __init__(self, count: int, dim: int) -> None:
        super().__init__()
        self.token = nn.Parameter(0.02 * torch.randn(1, 1, dim))
        self.positions = nn.Parameter(0.02 * torch.randn(1, 1 + count, dim))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x.flatten(2).transpose(1, 2)
        return torch.cat([self.token.expand(len(x), -1, -1), x], dim=1) + self.positions


class Attention(nn.Module):
    """Self-attention of tokens [N, T, dim], several heads, from one linear layer for queries, keys and values.

    >>> import torch
    >>> from pruning_lab.nets import architectures
    >>> architectures.Attention(dim=8, heads=2)(torch.zeros(3, 5, 8)).shape
    torch.Size([3, 5, 8])
    """

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv, self.out = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = self.qkv(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class Block(nn.Module):
    """Attention, then two fully-connected layers with GELU, of tokens [N, T, dim]; each behind a norm and beside a
    shortcut.

    >>> import torch
    >>> from pruning_lab.nets import architectures
    >>> architectures.Block(dim=8, heads=2)(torch.zeros(3, 5, 8)).shape
    torch.Size([3, 5, 8])
    """

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.attention = nn.LayerNorm(dim), Attention(dim, heads)
        self.norm2, self.fc1, self.gelu, self.fc2 = (
            nn.LayerNorm(dim),
            nn.Linear(dim, dim),
            nn.GELU(),
            nn.Linear(dim, dim),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.fc2(self.gelu(self.fc1(self.norm2(x))))


class ClassToken(nn.Module):
    """The first of the tokens [N, T, dim]: [N, dim].

    >>> import torch
    >>> from pruning_lab.nets import architectures
    >>> architectures.ClassToken()(torch.zeros(3, 5, 8)).shape
    torch.Size([3, 8])
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x[:, 0]


@register
@sized
def vit(
    in_shape: tuple[int, int, int], classes: int, width: int | None, patch: int = 4, depth: int = 6, heads: int = 8
) -> models.Layers:
    """Vision transformer (Dosovitskiy et al. 2021) at Yauney's sizes (003, section 2.1): patch 4, depth 6, 8 heads,
    512 wide.

    Tokens and fully-connected layers are `width` wide; norms stand before each branch, positions are learned, nothing
    is dropped.

    ValueError: a width that the heads do not divide, or images that patches do not.

    >>> from pruning_lab import models
    >>> models.build("vit", (3, 32, 32), classes=10, width=16, depth=1).out
    Linear(in_features=16, out_features=10, bias=True)
    """
    channels, height, wide = in_shape
    dim = width or 512
    if dim % heads or height % patch or wide % patch:
        raise ValueError(
            f"vit: width {dim} must be a multiple of {heads} heads, and {height} x {wide} pixels of patches of {patch}"
        )
    net: models.Layers = OrderedDict(patches=nn.Conv2d(channels, dim, patch, patch))
    net["tokens"] = Tokens((height // patch) * (wide // patch), dim)
    net |= {f"block{k}": Block(dim, heads) for k in range(1, depth + 1)}
    net["norm"], net["first"], net["out"] = nn.LayerNorm(dim), ClassToken(), nn.Linear(dim, classes)
    return net
