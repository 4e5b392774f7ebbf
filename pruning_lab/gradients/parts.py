"""One layer's call -> its parameters' gradients, a sample at a time.

A part can `form` the gradients of some samples, and can `add_to` sums over all samples without forming more than it
needs.
"""

from collections.abc import Callable, Iterator
from typing import Protocol

import torch
from torch import Tensor

from .silent import heard
from .sums import Sums, budget

PATCHES = 8  # unfolded inputs may take so many times the bytes of formed gradients
CANCELLED = 4  # see `_ghost`; ResNet50, Conv-2 and the vision transformer stay below 1.2 where inputs are images


class Part(Protocol):
    """Gradients of one parameter that one call of its layer gives to n samples."""

    def form(self, here: slice) -> Tensor:
        """Gradients of these samples, [samples, P]."""

    def add_to(self, sums: Sums) -> None:
        """Adds all samples."""


# (module, input, output's gradient), samples first -> by parameter
Formula = Callable[..., dict[str, Callable[[], Part]]]


class Formed:
    """Gradients that are no larger than what the layer passes on: `rows` [n, ...].

    Where they are sums over positions, `terms` gives the sums of the terms' magnitudes, in the same shape. Those of
    `weights` have their signs as they are.
    """

    def __init__(self, rows: Tensor, terms: Callable[[], Tensor] | None = None, weights: bool = False):
        self.rows, self.terms, self.weights = rows, terms, weights

    def form(self, here: slice) -> Tensor:
        return self.rows[here].reshape(len(self.rows[here]), -1)

    def sizes(self, here: slice) -> Tensor:
        """Sums of the terms' magnitudes, [samples, P]."""
        return (self.rows.abs() if self.terms is None else self.terms())[here].reshape(len(self.rows[here]), -1)

    def add_to(self, sums: Sums) -> None:
        every = slice(None)
        sums.add(self.rows, heard=self.terms and (lambda silent: heard(self.form(every), self.sizes(every), silent)))


def over_positions(d: Tensor) -> Callable[[], Tensor] | None:
    """The `terms` of a sum of d [n, channels, positions] over positions; none of one position."""
    return (lambda: d.abs().sum(2)) if d.shape[2] > 1 else None


class Product:
    """Gradients that are sums over positions of output gradient times input: sample i has, group by group, d_i u_i^T.

    Args:
        d: [n, groups, outputs, positions].
        x: what the layer has read, [n, ...]; `unfold` makes of some samples of it u [samples, groups, inputs,
            positions].
        inputs: of one output.
        lazy: unfolding takes memory, so that it is done for few samples at once.
        tokens: positions are tokens, of which there may be one.
    """

    def __init__(
        self, d: Tensor, x: Tensor, unfold: Callable[[Tensor], Tensor], inputs: int, lazy: bool, tokens: bool = False
    ):
        self.d, self.x, self.unfold, self.inputs, self.tokens = d, x, unfold, inputs, tokens
        size = d.shape[1] * inputs * d.shape[3]
        self.step = PATCHES * budget(d.device, size, d.element_size()) if lazy else len(d)

    def form(self, here: slice) -> Tensor:
        pairs = zip(self.d[here].split(self.step), self.x[here].split(self.step), strict=True)
        return torch.cat([_products(d, self.unfold(x)).flatten(1) for d, x in pairs])

    def add_to(self, sums: Sums) -> None:
        for d, x in zip(self.d.split(self.step), self.x.split(self.step), strict=True):
            self._way(sums)(d, self.unfold(x), sums)

    def _way(self, sums: Sums) -> Callable[[Tensor, Tensor, Sums], None]:
        groups, outputs, positions = self.d.shape[1:]
        if groups == positions == 1:
            return _outer_of_token if self.tokens else _outer
        if sums.signs is not None:
            return _formed_of_tokens if self.tokens else _formed
        # Norms from two Gram matrices over positions ("ghost" norms, Goodfellow 2015; Li et al. 2022), or from the
        # gradient itself, which is written, and read twice.
        ghost = positions**2 * (outputs + self.inputs) < 4 * outputs * self.inputs
        return _ghost if ghost or sums.squares is None else _formed


def _outer_of_token(d: Tensor, u: Tensor, sums: Sums) -> None:
    """As `_outer`; a token alone weighs 1 whatever its query and key, so that these have no gradient but rounding."""
    _outer(d, u, sums, silent=True)


def _outer(d: Tensor, u: Tensor, sums: Sums, silent: bool = False) -> None:
    """One position: the sign of an outer product is the outer product of signs, its norm the product of norms."""
    d, u = d[:, 0, :, 0], u[:, 0, :, 0]
    shape = d.shape[1], u.shape[1]
    if sums.total is not None:
        sums.total[sums.block].view(shape).addmm_(d.T, u)
    if sums.signs is not None:
        signed = heard(d, None, sums.silent) if silent and sums.silent else d
        sums.signs.view(shape).addmm_(signed.sign().T, u.sign())
    if sums.squares is not None:
        norms = [torch.linalg.vector_norm(t, dim=1).double() for t in (d, u)]
        sums.squares[sums.block] += (norms[0] * norms[1]).square().sum()


def _ghost(d: Tensor, u: Tensor, sums: Sums) -> None:
    """Mean and norms without any sample's own gradient: |d u^T|^2 is the inner product of d^T d and u^T u.

    That sum over pairs of positions has rounding of the size of its terms. Where they cancel, as behind a norm whose
    inputs lie far from zero, so that their root mean square is `CANCELLED` times the sum's, a sample's gradient is
    formed after all.
    """
    if sums.total is not None:
        sums.total[sums.block] += torch.einsum("ngol,ngkl->gok", d, u).flatten()
    if sums.squares is not None:
        d, u = d.flatten(0, 1), u.flatten(0, 1)
        inner = torch.bmm(d.transpose(1, 2), d).mul_(torch.bmm(u.transpose(1, 2), u))
        rough = torch.linalg.vector_norm(inner, dim=(1, 2)) > CANCELLED * inner.sum((1, 2))
        if not rough.any():
            sums.squares[sums.block] += inner.sum(dtype=torch.float64)
            return
        sums.squares[sums.block] += inner[~rough].sum(dtype=torch.float64)
        few = budget(d.device, d.shape[1] * u.shape[1], d.element_size())
        for d_few, u_few in zip(d[rough].split(few), u[rough].split(few), strict=True):
            sums.add_squares(torch.bmm(d_few, u_few.transpose(1, 2)).flatten(1))


def _formed_of_tokens(d: Tensor, u: Tensor, sums: Sums) -> None:
    """As `_formed`; strips are lower, as products over tokens are fast, and what is summed has more samples."""
    _formed(d, u, sums, least=16)


def _formed(d: Tensor, u: Tensor, sums: Sums, least: int = 4) -> None:
    """A few outputs of a few samples at a time, so that a product is read again while it is still in the cache."""
    n, groups, outputs, _ = d.shape
    inputs = u.shape[2]
    for first, few in _strips(groups, outputs, inputs, min(n, least), d):
        start = 0 if first is None else first.start * inputs
        rows = d if first is None else d[:, :, first]
        for d_few, u_few in zip(rows.split(few), u.split(few), strict=True):
            sums.add(_products(d_few, u_few).flatten(1, 2), start, scratch=True)


def _strips(groups: int, outputs: int, inputs: int, n: int, like: Tensor) -> Iterator[tuple[slice | None, int]]:
    """Outputs to take at once (None: all), and samples, at least n: sums are visited less often than products."""
    if groups > 1:
        yield None, budget(like.device, groups * outputs * inputs, like.element_size())
        return
    height = min(outputs, budget(like.device, inputs * n, like.element_size()))
    for start in range(0, outputs, height):
        yield slice(start, min(start + height, outputs)), budget(like.device, height * inputs, like.element_size())


def _products(d: Tensor, u: Tensor) -> Tensor:
    """d u^T for each sample and group, [n, groups, outputs, inputs]."""
    return torch.bmm(d.flatten(0, 1), u.flatten(0, 1).transpose(1, 2)).unflatten(0, d.shape[:2])
