"""Linear layers, on one vector a sample or on any number of tokens."""

from torch import Tensor, nn

from .parts import Formed, Formula, Product


def linear(module: nn.Linear, x: Tensor, d: Tensor):
    """Weight: d_i a_i^T summed over tokens; bias: d_i. `x` [n, ..., inputs], `d` [n, ..., outputs]."""
    tokens = x.ndim > 2
    x, d = (t.reshape(len(t), -1, t.shape[-1]).transpose(1, 2)[:, None] for t in (x, d))
    terms = (lambda: d[:, 0].abs().sum(2)) if tokens else None
    return {
        "weight": lambda: Product(d, x, lambda u: u, module.in_features, lazy=False, tokens=tokens),
        "bias": lambda: Formed(d.sum((1, 3)), terms),
    }


def fits(module: nn.Linear, dim: int, share: int, ndim: int) -> bool:
    """Samples lie along any dimension but that of the features."""
    return dim < ndim - 1


FORMULAS: dict[type, tuple[Formula, object]] = {nn.Linear: (linear, fits)}
