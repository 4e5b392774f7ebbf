"""`nn.MultiheadAttention`: each of its projections is a linear layer over tokens, of which several share a weight.

Heads, masks, zero attention and what else lies between projections play no part: autograd passes through it.
"""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from .calls import Call, Place, places
from .parts import Formed, Part, Product
from .projections import Projection
from .sums import Sums

_OUT = "out_proj."


def told(two: list[Call], three: list[Call]) -> bool:
    """Whether samples can be told apart in what attention's projections read, from calls for two and three samples."""
    pairs = [(a.steps, b.steps) for a, b in zip(two, three, strict=True)]
    return all(a and len(a) == len(b) and _alike(list(zip(a, b, strict=True))) for a, b in pairs)


def _alike(pairs: list[tuple[Projection, Projection]]) -> bool:
    shares = {b.batch - a.batch for a, b in pairs}
    if len(shares) > 1:
        return False
    where = Place(1, *shares)
    return all(
        (a.weight, a.bias, 3 * a.batch) == (b.weight, b.bias, 2 * b.batch)
        and ((a.x is None and b.x is None) or places([a.x], [b.x]) == [where])
        for a, b in pairs
    )


def parts(module: nn.Module, call: Call, deltas: dict, n: int, own: str) -> list[Part]:
    """What one call gives to a parameter of the module; several parts, where its rows are read more than once."""
    given = [(step, _of_samples(deltas[step.edges[0]], step, n)) for step in call.steps if _arrived(step, deltas)]
    p = module.get_parameter(own)
    if p.ndim == 1:
        return _bias(p, [(step.bias[1], d) for step, d in given if step.bias and step.bias[0] == own])
    found = [(step, d) for step, d in given if step.weight and step.weight[0] == own]
    repeated = [_repeated(d) for step, d in found if step.x is None]
    beside = [d for step, d in given if step.x is not None and step.weight and _inner(step.weight[0]) == _inner(own)]
    products = [(step.weight[1], _product(_of_samples(step.x, step, n), d)) for step, d in found if step.x is not None]
    return repeated + [Stack(stack, p, beside) for stack in _stacks(products)]


def _arrived(step: Projection, deltas: dict) -> bool:
    return step.edges[0] is not None and deltas[step.edges[0]] is not None


def _inner(own: str) -> bool:
    return not own.startswith(_OUT)


def _of_samples(t: Tensor, step: Projection, n: int) -> Tensor:
    """From [tokens, batch, width], or the same with one dimension less, [n, tokens, width]."""
    t = t.reshape(-1, n, step.batch // n, t.shape[-1])
    return t[:, :, 0].transpose(0, 1) if step.batch == n else t.transpose(0, 1).flatten(1, 2)


def _bias(p: Tensor, pieces: list[tuple[int, Tensor]]) -> list[Part]:
    def summed(of: Callable[[Tensor], Tensor]) -> Tensor:
        rows = p.new_zeros(len(pieces[0][1]), len(p))
        for start, d in pieces:
            rows[:, start : start + d.shape[2]] += of(d).sum(1)
        return rows

    return [Formed(summed(lambda d: d), lambda: summed(torch.abs))] if pieces else []


def _repeated(d: Tensor) -> Formed:
    """A bias that stands among the keys or values of each of a sample's entries, [n, entries, width]."""
    return Formed(d.sum(1), (lambda: d.abs().sum(1)) if d.shape[1] > 1 else None)


def _product(x: Tensor, d: Tensor) -> Product:
    x, d = (t.transpose(1, 2)[:, None] for t in (x, d))
    return Product(d, x, lambda u: u, x.shape[2], lazy=False, tokens=True)


def _stacks(products: list[tuple[int, Product]]) -> Iterator[dict[int, Product]]:
    """Products of which none shares a row with another one of its stack."""
    while products:
        stack, rest, taken = {}, [], set()
        for start, product in products:
            rows = set(range(start, start + product.d.shape[2]))
            if rows & taken:
                rest.append((start, product))
            else:
                stack[start], taken = product, taken | rows
        yield stack
        products = rest


class Stack:
    """Products that give rows of one weight, by their first row.

    An output whose own gradients are zero but for rounding beside those of the call's other projections (`beside`)
    has no sign: the queries and keys of a token that has nothing to choose from.
    """

    def __init__(self, products: dict[int, Product], weight: Tensor, beside: list[Tensor]):
        self.products, self.shape, self.beside = products, weight.shape, beside

    def form(self, here: slice) -> Tensor:
        """Gradients of these samples, [samples, P]."""
        rows = [(start, product.form(here)) for start, product in self.products.items()]
        found = rows[0][1].new_zeros(len(rows[0][1]), self.shape.numel())
        for start, some in rows:
            first = start * self.shape[1]
            found[:, first : first + some.shape[1]] = some
        return found

    def add_to(self, sums: Sums) -> None:
        """Adds all samples."""
        for start, product in self.products.items():
            first = start * self.shape[1]
            own = sums.part(slice(first, first + product.d.shape[2] * self.shape[1]))
            quiet = self._quiet(product.d, sums.silent) if own.signs is not None and sums.silent else None
            if quiet is None or not quiet.any():
                product.add_to(own)
                continue
            product.add_to(own.but(signs=torch.zeros_like(own.signs)))  # the same way as where all are heard
            loud = product.d.masked_fill(quiet[:, None, :, None], 0)
            Product(loud, product.x, product.unfold, product.inputs, lazy=False, tokens=True).add_to(
                own.but(total=None, squares=None)
            )

    def _quiet(self, d: Tensor, silent: float) -> Tensor:
        """Outputs that are silent, [samples, outputs]."""
        largest = torch.stack([each.abs().amax((1, 2)) for each in self.beside]).amax(0)
        return d.abs().amax((1, 3)) <= silent * torch.finfo(d.dtype).eps * largest[:, None]
