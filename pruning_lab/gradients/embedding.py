"""Embeddings: a sample's gradient is zero but for the rows that it looks up."""

import torch
from torch import Tensor, nn

from .parts import Formula
from .sums import Sums


class Rows:
    """`where` [n, tokens] are the rows that the samples look up, `d` [n, tokens, width] the gradients of these."""

    def __init__(self, where: Tensor, d: Tensor, size: int):
        self.where, self.d, self.size = where, d, size

    def form(self, here: slice) -> Tensor:
        where, d = self.where[here], self.d[here]
        found = d.new_zeros(len(d), self.size, d.shape[2])
        return found.scatter_add_(1, where[..., None].expand_as(d), d).flatten(1)

    def add_to(self, sums: Sums) -> None:
        """A sample's tokens that share a row are added before their sign is taken."""
        n, _, width = self.d.shape
        samples = torch.arange(n, device=self.where.device)[:, None]
        pairs, index = (samples * self.size + self.where).flatten().unique(return_inverse=True)
        rows = self.d.new_zeros(len(pairs), width).index_add_(0, index, self.d.reshape(-1, width))
        sums.add_at(rows, pairs % self.size)


def embedding(module: nn.Embedding, x: Tensor, d: Tensor):
    """`x` [n, ...] whole numbers, `d` [n, ..., width]; the padding row gets no gradient."""
    x, d = x.reshape(len(x), -1), d.reshape(len(d), -1, d.shape[-1])
    if module.padding_idx is not None:
        d = d * (x != module.padding_idx)[..., None]
    return {"weight": lambda: Rows(x, d, module.num_embeddings)}


def fits(module: nn.Embedding, dim: int, share: int, ndim: int) -> bool:
    """The gradient is neither scaled by how often a row is read nor are rows rescaled on the way."""
    return module.max_norm is None and not module.scale_grad_by_freq


FORMULAS: dict[type, tuple[Formula, object]] = {nn.Embedding: (embedding, fits)}
