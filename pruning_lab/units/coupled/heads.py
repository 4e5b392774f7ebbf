"""Attention heads: which modules have them, what belongs to one, and attention with fewer of them.

A head is its rows of the layers for queries, keys and values, and the columns that read it in the layer behind. Heads
go whole.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from .cuts import Cut, cut_of

COUNTS = ("heads", "num_heads", "n_heads", "num_attention_heads")  # what modules call the number of their heads
_WIDTHS = ("attn_dim", "all_head_size", "inner_dim")  # what they call heads times numbers a head
_TRIPLES = (
    ("qkv",),
    ("q", "k", "v"),
    ("q_proj", "k_proj", "v_proj"),
    ("query", "key", "value"),
    ("to_q", "to_k", "to_v"),
)
_BEHIND = ("out", "proj", "out_proj", "o_proj", "to_out")


class Attention(NamedTuple):
    """A module with heads: the layer that names it, how many there are, and one way of what belongs to each."""

    module: str
    name: str
    heads: int
    cuts: tuple[Cut, ...]


def attentions(model: nn.Module) -> dict[str, list[Attention]]:
    """Of each module with heads, by its name: the ways in which its rows may belong to heads, the likeliest first.

    Names say what may be a head; whether it is one, a trial decides (`trial`).
    """
    found = {name: _ways(name, module) for name, module in model.named_modules()}
    return {name: ways for name, ways in found.items() if ways}


def _ways(name: str, module: nn.Module) -> list[Attention]:
    if isinstance(module, nn.MultiheadAttention):
        return _of_torch(name, module)
    heads = next((n for a in COUNTS if isinstance(n := getattr(module, a, None), int) and n > 0), 0)
    behind = next((a for a in _BEHIND if isinstance(getattr(module, a, None), nn.Linear)), None)
    triple = next((t for t in _TRIPLES if all(isinstance(getattr(module, a, None), nn.Linear) for a in t)), None)
    if not heads or not behind or not triple or getattr(module, behind).in_features % heads:
        return []
    start, width = name and f"{name}.", getattr(module, behind).in_features
    if any(getattr(module, a).out_features * len(triple) != 3 * width for a in triple):
        return []
    last = cut_of(start + behind, getattr(module, behind), True, _rows(heads, width, 1))
    layouts = ("parts", "heads") if len(triple) == 1 else ("parts",)
    ways = []
    for layout in layouts:
        rows = _rows(heads, width, 3 // len(triple), layout)
        cuts = [cut_of(start + a, getattr(module, a), False, rows) for a in triple]
        ways.append(Attention(name, start + triple[0], heads, (*cuts, last)))
    return ways


def _rows(heads: int, width: int, parts: int, layout: str = "parts") -> list[list[int]]:
    """The rows of each head where `parts` (queries, keys, values) of `width` stand one after the other, or head by
    head.
    """
    each = width // heads
    if layout == "heads":
        return [list(range(h * parts * each, (h + 1) * parts * each)) for h in range(heads)]
    return [[p * width + r for p in range(parts) for r in range(h * each, (h + 1) * each)] for h in range(heads)]


def _of_torch(name: str, module: nn.MultiheadAttention) -> list[Attention]:
    if module.in_proj_weight is None or module.bias_k is not None or module.add_zero_attn:
        return []
    width, start = module.embed_dim, name and f"{name}."
    each = tuple(map(tuple, _rows(module.num_heads, width, 3)))
    first = Cut(name, (("in_proj_weight", 0), ("in_proj_bias", 0)), each)
    last = cut_of(f"{start}out_proj", module.out_proj, True, _rows(module.num_heads, width, 1))
    return [Attention(name, name, module.num_heads, (first, last))]


def settle(model: nn.Module, name: str, left: int) -> None:
    """Tells a module whose heads were cut away that `left` are there; torch's own gets another in its place."""
    module = model.get_submodule(name)
    if isinstance(module, nn.MultiheadAttention):
        small = FewerHeads(module, left)
        if not name:
            raise ValueError(
                "the model is nothing but nn.MultiheadAttention, whose heads cannot go: put it in a module"
            )
        model.set_submodule(name, small)
        return
    before = next(n for a in COUNTS if isinstance(n := getattr(module, a, None), int) and n > 0)
    for attribute in COUNTS:
        if getattr(module, attribute, None) == before:
            setattr(module, attribute, left)
    for attribute in _WIDTHS:
        if isinstance(width := getattr(module, attribute, None), int) and width % before == 0:
            setattr(module, attribute, width // before * left)


class FewerHeads(nn.Module):
    """What `nn.MultiheadAttention` gives with `heads` heads left, of tokens as wide as before.

    Made from one whose rows were cut. It takes what that takes, but no mask of each head its own and no single sequence
    without a batch: ValueError.
    """

    def __init__(self, cut: nn.MultiheadAttention, heads: int) -> None:
        super().__init__()
        self.heads, self.batch_first, self.dropout = heads, cut.batch_first, cut.dropout
        self.in_proj_weight, self.in_proj_bias = cut.in_proj_weight, cut.in_proj_bias
        self.out_proj = cut.out_proj
        self.train(cut.training)

    def forward(self, query: Tensor, key: Tensor, value: Tensor, key_padding_mask: Tensor | None = None,
                need_weights: bool = True, attn_mask: Tensor | None = None, average_attn_weights: bool = True,
                is_causal: bool = False) -> tuple[Tensor, Tensor | None]:  # fmt: skip
        """Tokens [N, T, width] (or [T, N, width] as `batch_first` says), and the attention paid, if wanted."""
        _check_shapes(query, attn_mask)
        read = [x if self.batch_first else x.transpose(0, 1) for x in (query, key, value)]
        weights = self.in_proj_weight.chunk(3)
        biases = (None,) * 3 if self.in_proj_bias is None else self.in_proj_bias.chunk(3)
        q, k, v = (nn.functional.linear(x, w, b).unflatten(2, (self.heads, -1)).transpose(1, 2)
                   for x, w, b in zip(read, weights, biases, strict=True))  # fmt: skip
        logits = q @ k.transpose(2, 3) / math.sqrt(q.shape[3])
        if attn_mask is not None:
            logits = logits + _added(attn_mask, logits)
        if key_padding_mask is not None:
            logits = logits + _added(key_padding_mask, logits)[:, None, None]
        paid = nn.functional.dropout(logits.softmax(3), self.dropout, self.training)
        out = self.out_proj((paid @ v).transpose(1, 2).flatten(2))
        out = out if self.batch_first else out.transpose(0, 1)
        return out, (paid.mean(1) if average_attn_weights else paid) if need_weights else None


def _check_shapes(query: Tensor, mask: Tensor | None) -> None:
    if query.ndim != 3 or (mask is not None and mask.ndim != 2):
        masked = "none" if mask is None else list(mask.shape)
        raise ValueError(
            f"attention whose heads were cut, of a query {list(query.shape)} and a mask {masked}: expected a batch of "
            "sequences, and one mask [queries, keys] for all heads"
        )


def _added(mask: Tensor, like: Tensor) -> Tensor:
    """A mask as numbers to add; True of a mask of bools leaves out."""
    return torch.zeros_like(mask, dtype=like.dtype).masked_fill(mask, -torch.inf) if mask.dtype == torch.bool else mask
