"""What is kept of one parameter while samples pass by."""

import copy
from collections.abc import Callable

import torch
from torch import Tensor

# bytes of per-sample gradients formed at once: about a cache; changes speed and memory, no answer
BYTES = {"cpu": 2**21, "cuda": 2**28}


def allowed(device: torch.device) -> int:
    """Bytes of gradients formed at once."""
    return BYTES.get(device.type, 2**26)


def budget(device: torch.device, numbers: int, itemsize: int) -> int:
    """How many tensors of so many numbers are formed at once, at least one."""
    return max(1, allowed(device) // max(1, numbers * itemsize))


class Sums:
    """Sums over samples of a parameter's gradient g: `total` [blocks, P] of g, `signs` [P] of sign(g), `squares`
    [blocks] of |g|^2.

    Those not wanted are None. `block` is the block of samples that is passing by. `silent` says which signs are 0 (see
    `silent`).
    """

    def __init__(self, parameter: Tensor, want: frozenset[str], blocks: int, silent: float = 0):
        flat, device = parameter.numel(), parameter.device
        self.total = parameter.new_zeros(blocks, flat) if want & {"mean", "coherence"} else None
        self.signs = parameter.new_zeros(flat) if "diffs" in want else None
        self.squares = torch.zeros(blocks, dtype=torch.float64, device=device) if "coherence" in want else None
        self.block, self.silent = 0, silent

    def add(
        self, rows: Tensor, start: int = 0, scratch: bool = False, heard: Callable[[float], Tensor] | None = None
    ) -> None:
        """Takes gradients of some samples, `rows` [samples, ...], for the entries from `start` on.

        `scratch` ones may be overwritten.
        `heard` makes of `silent` the gradients [samples, P] whose signs are taken; None: these are.
        """
        flat = rows.flatten(1) if rows.ndim > 1 else rows[:, None]
        here = slice(start, start + flat.shape[1])
        if self.total is not None:
            self.total[self.block, here] += flat.sum(0)
        self.add_squares(rows)
        if self.signs is not None:
            flat = heard(self.silent).reshape(flat.shape) if heard and self.silent else flat
            self.signs[here] += (flat.sign_() if scratch else flat.sign()).sum(0)

    def part(self, here: slice) -> "Sums":
        """Those of some entries alone; what is added there is added here."""
        total, signs = self.total, self.signs
        return self.but(total=None if total is None else total[:, here], signs=None if signs is None else signs[here])

    def but(self, **others: Tensor | None) -> "Sums":
        """The same with other tensors in the place of some."""
        found = copy.copy(self)
        vars(found).update(others)
        return found

    def add_at(self, rows: Tensor, where: Tensor) -> None:
        """Takes gradients that are zero but for some rows: `rows` [R, width], of which each belongs to one sample, at
        rows `where` [R].
        """
        for kept, values in ((self.total, lambda: rows), (self.signs, rows.sign)):
            if kept is not None:
                flat = kept if kept is self.signs else kept[self.block]
                flat.view(-1, rows.shape[1]).index_add_(0, where, values())
        self.add_squares(rows)

    def add_squares(self, rows: Tensor) -> None:
        """Adds the squares of all entries: float32 along the last dimension only, so that rounding does not add up."""
        if self.squares is not None:
            self.squares[self.block] += torch.linalg.vector_norm(rows, dim=-1).double().square().sum()
