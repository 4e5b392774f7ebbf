"""Whether units that seem to belong together do: tried on a copy of the model whose numbers are drawn by chance.

What goes together does not depend on weights, but weights may hide it (a scale near zero, a dead branch). So a copy
gets others, and some units go in three ways that must give the same outputs: what reads them gets zero columns; all
that they have is zero; they are really cut away.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from ...nets.given import shown
from ...samples import wide
from .cuts import STATISTICS, Cut, take_away, zeroing
from .heads import settle

_SILENT = "nothing can be tried: the model's outputs do not depend on what reads them"
IMAGES = 2  # of the example, that a trial runs on
FEW = 16  # units, of which several parts go in turn


class Trial:
    """A copy of a model with weights drawn by chance, and its outputs on a few of the example's images."""

    def __init__(self, model: nn.Module, example: Tensor) -> None:
        self.model, self.example, self.whole, self.fault = drawn(model), wide(example[:IMAGES]), [], None
        try:
            self.whole = outputs(self.model, self.example)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # whatever a model's own code makes of other weights
            self.fault = (
                f"nothing can be tried: with weights drawn by chance the model does not run, {shown(str(error))}"
            )

    def refusal(self, cuts: Sequence[Cut], units: int, attention: str | None) -> str | None:
        """Why these cuts are not all that belongs to the units; None: they are.

        None too for a single unit, which nobody can take away.
        """
        if self.fault or units < 2:
            return self.fault
        reason = None
        for gone in _parts(units):
            try:
                reason = self._difference(cuts, gone, units, attention)
            except torch.OutOfMemoryError:
                raise
            except Exception as error:  # whatever a model's own code makes of other sizes
                return f"the model does not run without some of them: {shown(str(error))}"
            if reason != _SILENT and (reason or units > FEW):
                return reason
        return reason

    def _difference(self, cuts: Sequence[Cut], gone: Sequence[int], units: int, attention: str | None) -> str | None:
        with zeroing(self.model, [cut for cut in cuts if cut.reads], gone):
            silent = outputs(self.model, self.example)
        if not all(t.isfinite().all() for t in (*self.whole, *silent)):
            return "nothing can be tried: outputs of the model with weights drawn by chance are not finite"
        if not differ(self.whole, silent):
            return _SILENT
        with zeroing(self.model, cuts, gone):
            if differ(silent, outputs(self.model, self.example)):
                return "more depends on them than the layers that the trace found: with zeros there, outputs differ"
        small = smaller(self.model, cuts, gone, units, attention, shared=True)
        if differ(silent, outputs(small, self.example)):
            return "without them the model's outputs are not those with zeros in their place"
        return None


def _parts(units: int) -> list[list[int]]:
    """Which units go in trials: where they are few, so many parts that each two are told apart by one, as a part that
    the model maps to itself shows nothing; of many units a half drawn by chance, or the other.
    """
    mixed = torch.randperm(units, generator=torch.Generator().manual_seed(units)).tolist()
    if units > FEW:
        return [mixed[: units // 2], mixed[units // 2 :]]
    return [[u for k, u in enumerate(mixed) if k >> bit & 1] for bit in range((units - 1).bit_length())]


def smaller(model: nn.Module, cuts: Sequence[Cut], gone: Sequence[int], units: int, attention: str | None,
            shared: bool = False) -> nn.Module:  # fmt: skip
    """A copy from which units are cut away; `shared`: its other numbers are those of the model."""
    held = [*model.parameters(), *model.buffers()] if shared else []
    small = copy.deepcopy(model, {id(t): t for t in held})
    take_away(small, cuts, gone)
    if attention is not None:
        settle(small, attention, units - len(set(gone)))
    return small


@torch.no_grad()
def outputs(model: nn.Module, images: Tensor) -> list[Tensor]:
    """All tensors of floating-point numbers that a model gives, in evaluation mode; it stays as it was."""
    flags = [(m, m.training) for m in model.modules()]
    model.eval()
    try:
        with torch.random.fork_rng(devices=[]):
            given = [t for t in tree_leaves(model(images)) if isinstance(t, Tensor)]
    finally:
        for m, training in flags:
            m.training = training
    return [t for t in given if t.is_floating_point()]


def differ(first: Sequence[Tensor], second: Sequence[Tensor]) -> bool:
    """Whether outputs differ by more than rounding: the root of the type's precision, of the largest among them."""
    return any(a.shape != b.shape or _far(a, b) for a, b in zip(first, second, strict=True))


def _far(a: Tensor, b: Tensor) -> bool:
    most = torch.finfo(a.dtype).eps ** 0.5 * float(a.abs().max())
    return not float((wide(a) - wide(b)).abs().max()) <= most


@torch.no_grad()
def drawn(model: nn.Module) -> nn.Module:
    """A copy with other numbers, the same ones each time: He's scale for weights, about one for scales and variances,
    mostly above zero for shifts, so that few units are dead.
    """
    made, draw = copy.deepcopy(model), torch.Generator().manual_seed(0)
    if any(p.is_floating_point() and p.element_size() < 4 for p in made.parameters()):
        made.float()  # in half precision, rounding would hide what differs
    held = [*made.named_parameters(), *((n, b) for n, b in made.named_buffers() if n.rpartition(".")[2] in STATISTICS)]
    for name, tensor in held:
        if not tensor.is_floating_point():
            continue
        last, size = name.rpartition(".")[2], tensor.shape
        if last.endswith(("bias", "mean")):
            numbers = 0.3 + 0.1 * torch.randn(size, generator=draw)
        elif tensor.ndim < 2:
            numbers = 0.5 + torch.rand(size, generator=draw)
        else:
            numbers = torch.randn(size, generator=draw) * (2 / max(size[1:].numel(), 1)) ** 0.5
        tensor.copy_(numbers)
    return made
