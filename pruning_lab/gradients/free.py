"""Free parameters: a class token, positions, a scale.

If a row for each sample can stand where the parameter stood, each sample's gradient is that of its row, and costs
nothing.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves


@contextmanager
def replaced(model: nn.Module, rows: Mapping[Tensor, Tensor]) -> Iterator[None]:
    """Other tensors where parameters stand, wherever they stand in the model; afterwards everything is as it was."""
    before = [
        (m._parameters, name, p)
        for m in model.modules()
        for name, p in m._parameters.items()
        if p is not None and p in rows
    ]
    try:
        for held, name, p in before:
            held[name] = rows[p]
        yield
    finally:
        for held, name, p in before:
            held[name] = p


def row_shape(model: nn.Module, p: Tensor, images: Tensor) -> tuple[int, ...] | None:
    """The shape of one sample's row with which a parameter broadcasts over the samples, or None: `images` [3, ...] are
    tried.

    Each image is given noise of its own on the parameter: together they must give what each gives alone.
    """
    generator = torch.Generator().manual_seed(0)
    scale = 0.1 * p.detach().abs().mean() + 0.01
    noise = torch.randn(len(images), *p.shape, generator=generator, dtype=p.dtype).to(p.device) * scale
    with torch.no_grad():
        alone = [_output(model, images[i : i + 1], {p: p + noise[i]}) for i in range(len(images))]
        plain = [_output(model, images[i : i + 1], {}) for i in range(len(images))]
        if any(a is None for a in (*alone, *plain)):
            return None
        alone, plain = torch.stack(alone), torch.stack(plain)
        effect = (alone - plain).abs().amax(1)
        if (effect <= 1e-4 * plain.abs().amax()).any():
            return None  # nothing can be told
        for shape in _shapes(p):
            together = _output(model, images, {p: (p + noise).view(len(images), *shape)}, len(images))
            if (
                together is not None
                and together.shape == alone.shape
                and ((together - alone).abs().amax(1) <= 1e-3 * effect).all()
            ):
                return shape
    return None


def _shapes(p: Tensor) -> list[tuple[int, ...]]:
    leading = [tuple(p.shape[1:])] if p.ndim and p.shape[0] == 1 else []
    return leading + [(1,) * k + tuple(p.shape) for k in range(4)]


def _output(model: nn.Module, images: Tensor, rows: Mapping[Tensor, Tensor], n: int | None = None) -> Tensor | None:
    """The model's outputs in one vector a sample ([P], or [n, P]), or None where the shapes do not fit."""
    try:
        with replaced(model, rows):
            leaves = [t for t in tree_leaves(model(images)) if isinstance(t, Tensor) and t.is_floating_point()]
        return torch.cat([t.flatten() if n is None else t.reshape(n, -1) for t in leaves], dim=-1)
    except Exception:  # a model may say in many ways that it expected another shape
        return None
