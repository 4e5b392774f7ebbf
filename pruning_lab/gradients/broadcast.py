"""Parameters that broadcast over the samples: a class token, positions, a scale.

If a row for each sample can stand where the parameter stood, each sample's gradient is that of its row, and costs
nothing.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from .calls import Call, Place, detached
from .kept import Kept

SAMPLES = 3  # that a trial has


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


def row_shape(owner: nn.Module, p: Tensor, calls: list[Call], where: list[tuple[list, list]]) -> tuple[int, ...] | None:
    """The shape of one sample's row with which a parameter broadcasts over the samples, or None.

    Tried on what the module has read that alone depends on it, for three samples. Each is given noise of its own on the
    parameter: together they must give what each gives alone.
    """
    trials = [_Trial(owner, p, call, *place) for call, place in zip(calls, where, strict=True)]
    if not all(trial.tells() for trial in trials):
        return None
    return next((shape for shape in _shapes(p) if all(trial.fits(shape) for trial in trials)), None)


def _shapes(p: Tensor) -> list[tuple[int, ...]]:
    leading = [tuple(p.shape[1:])] if p.ndim and p.shape[0] == 1 else []
    return leading + [(1,) * k + tuple(p.shape) for k in range(4)]


class _Trial:
    """One call of a module, for three samples, with other tensors in a parameter's place."""

    def __init__(self, owner: nn.Module, p: Tensor, call: Call, read: list, gave: list):
        self.owner, self.p, self.call, self.read, self.gave, self.kept = (
            owner,
            p.detach(),
            call,
            read,
            gave,
            Kept(owner),
        )
        scale, generator = 0.1 * self.p.abs().mean() + 0.01, torch.Generator().manual_seed(0)
        noise = torch.randn(SAMPLES, *p.shape, generator=generator, dtype=p.dtype)
        self.noise, self.parameter = noise.to(p.device) * scale, p

    def tells(self) -> bool:
        """Whether the module's outputs show, sample by sample, what stands in the parameter's place."""
        plain = self._output(slice(0, SAMPLES), {})
        alone = [self._output(slice(i, i + 1), {self.parameter: self.p + self.noise[i]}) for i in range(SAMPLES)]
        if plain is None or not plain.numel() or any(a is None or a.shape != plain[:1].shape for a in alone):
            return False
        self.alone = torch.cat(alone)
        self.effect = (self.alone - plain).abs().amax(1)
        return bool((self.effect > 1e-4 * plain.abs().amax()).all())

    def fits(self, shape: tuple[int, ...]) -> bool:
        """Whether rows of this shape give together what each gives alone."""
        together = self._output(slice(0, SAMPLES), {self.parameter: (self.p + self.noise).view(SAMPLES, *shape)})
        if together is None or together.shape != self.alone.shape:
            return False
        return bool(((together - self.alone).abs().amax(1) <= 1e-3 * self.effect).all())

    @torch.no_grad()
    def _output(self, here: slice, rows: Mapping[Tensor, Tensor]) -> Tensor | None:
        """What the module gives some samples, [samples, P], or None where the shapes do not fit."""
        leaves = [
            place.samples(leaf, here).clone() if isinstance(place, Place) else leaf
            for leaf, place in zip(detached(self.call.read), self.read, strict=True)
        ]
        args, kwargs = self.call.arguments(leaves)
        self.kept.restore()
        try:
            with replaced(self.owner, rows):
                out = tree_leaves(self.owner(*args, **kwargs))
            given = [place.first(leaf).flatten(1) for leaf, place in zip(out, self.gave, strict=True) if place]
            return torch.cat([t for t in given if t.is_floating_point()], dim=1)
        except Exception:  # a model may say in many ways that it expected another shape
            return None
