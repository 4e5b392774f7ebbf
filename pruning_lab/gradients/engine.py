"""One pass over a split, a few samples at a time, and what is made of the sums."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..precision import tensor_float_32
from .apart import keep_apart
from .checks import checked
from .doubts import Beyond, Branches, Doubtful, Doubts
from .kept import Kept, as_it_was
from .loss import Loss, cross_entropy, losses
from .passes import Task
from .plan import Plan, plan
from .remembered import fingerprint, forget, recall, remember
from .result import Statistics
from .silent import SILENT
from .sums import Sums
from .verify import Watch, verified


def statistics(
    model: nn.Module,
    split,
    loss: Loss = cross_entropy,
    chunk: int | None = None,
    want=frozenset({"diffs", "coherence"}),
    groups: int = 0,
    silent: float = SILENT,
) -> Statistics:
    """Mean, mean sign (diffs) and coherence of the gradients of all samples, exactly; the model stays as it is.

    No sample's gradient is kept, and no layer's gradients are formed for more samples than a byte budget allows. Who
    gives which gradient is found with the first three samples, and kept for the next call with the same model; a few
    samples of every chunk are passed once more in other company, and must give the same. Random layers other than
    dropout are found only if they change the answer for these: use `model.eval()`. In float32, PyTorch's backward pass
    of a norm over positions has lost the gradient itself where inputs lie 1e4 spreads from zero: use float64 there.

    Args:
        split: a `data.Split`, or anything with `images` [N, ...] and `labels` [N, ...].
        loss: (outputs, labels) -> one number a sample, [n].
        chunk: samples that go through the model at once; None: as many as a byte budget allows. It changes no answer.
        want: some of "diffs", "coherence" (which has the mean) and "mean"; nothing is computed that is not wanted.
        groups: fixed blocks of samples, in their order, for the jackknife; costs the memory of so many copies of the
            parameters.
        silent: a gradient that is zero but for rounding has sign 0 in the diffs, not the sign of its rounding, as that
            of a bias of attention's keys. That is: of one sample, a bias or shift that is summed over positions or
            calls, at or below `silent` eps of the largest sum of magnitudes in its layer, or of which nothing is above
            a hundred times that; all of an output of a linear layer over a single token, or of `nn.MultiheadAttention`
            without a formula, at or below `silent` eps of the parameter's largest entry; all of an output of a
            projection of attention with one, whose own gradients are at or below `silent` eps of the largest beside
            them. Weights summed over positions, layers on one vector a sample, parameters that no layer holds and
            other modules without a formula are taken as they are. 0: the sign of whatever is not zero.

    Raises:
        ValueError: bad arguments; a loss or gradient that is not finite; a module in training mode that has no gradient
            for each sample (batch norm, dropout); a model whose output for one image depends on the others; nothing to
            differentiate.

    >>> from pruning_lab import data, gradients, models
    >>> net = models.build("mlp", (1, 8, 8), width=4, hidden=1)
    >>> digits = data.load("digits", "train", limit=20, device="cpu")
    >>> found = gradients.statistics(net, digits, groups=4)
    >>> found.diffs["fc1.weight"].shape, found.diffs["fc1.weight"].abs().max().item() <= 1
    (torch.Size([4, 64]), True)
    >>> found.coherence_error("fc1") > 0
    True
    """
    images, labels = checked(model, split, loss, chunk, want, groups, silent)
    blocks = _blocks(len(images), groups)
    with _settled(next(model.parameters()).device):
        mark = fingerprint(model, *(_ready(model, t[:1]) for t in (images, labels)), loss)
        with as_it_was(model) as kept:
            work = _Work(model, images, labels, loss, kept, frozenset(want), blocks, chunk, silent)
            sums, how = work.recalled(mark) or work.planned()
        remember(model, mark, how)
    return _result(model, sums, blocks, work.want, how.used)


@contextmanager
def _settled(device):
    """Gradients on, and everything in the parameters' own precision, whatever holds outside."""
    with (
        torch.inference_mode(False),
        torch.enable_grad(),
        torch.autocast(device.type, enabled=False),
        tensor_float_32(False),
    ):
        yield


@dataclass
class _Work:
    """What is asked for, and the ways to it: a plan of an earlier call, or one that is made."""

    model: nn.Module
    images: Tensor
    labels: Tensor
    loss: Loss
    kept: Kept
    want: frozenset[str]
    blocks: list[tuple[int, int]]
    chunk: int | None
    silent: float

    def recalled(self, mark: list) -> tuple[dict[str, Sums], Plan] | None:
        """Sums by the plan of an earlier call, or None: there is none, or it does not hold any more."""
        if (how := recall(self.model, mark)) is None:
            return None
        task = Task(self.model, self.loss, self.kept, how)
        try:
            sums = self._sums(task)
        except ValueError:  # what changed a fingerprint does not show; a fault of the samples shows again
            sums = None
        if sums is None or task.read != how.used:
            forget(self.model)
            return None
        return sums, how

    def planned(self) -> tuple[dict[str, Sums], Plan]:
        """Sums by a plan of today; where a chunk shows that it does not hold for all, by another one."""
        doubts, branches = Doubts(), None
        while True:
            try:
                return self._by_plan(doubts)
            except Doubtful as error:
                if not error.told(doubts) or self.model in doubts.mixed:
                    raise
                branches = error if isinstance(error, Branches) else branches
            except ValueError as error:  # what began as a branch ends as samples that meet
                raise branches or error from error

    def _by_plan(self, doubts: Doubts) -> tuple[dict[str, Sums], Plan]:
        first = _three(self._samples([i for i in doubts.samples if i < len(self.images)]))
        doubts.apart &= keep_apart(self.model, self.loss, *first, self.kept)
        how = plan(self.model, *first, self._first_losses, self.kept, doubts)
        try:
            task = verified(Task(self.model, self.loss, self.kept, how), *first)
        except Beyond as error:
            error.sample = doubts.samples[error.sample % min(len(self.images), len(doubts.samples))]
            doubts.tried.add(error.sample)
            raise
        return self._sums(task), task.how

    def _first_losses(self, out: object, y: Tensor) -> Tensor:
        return losses(self.loss, out, y, "the first images")

    def _sums(self, task: Task) -> dict[str, Sums]:
        how, watch = task.how, Watch(task, len(self.images))
        sums = {
            name: Sums(p, self.want, len(self.blocks), self.silent)
            for name, p in how.parameters.items()
            if name in how.used
        }
        for block, start, stop in _pieces(self.blocks, self.chunk or how.chunk):
            for own in sums.values():
                own.block = block
            places = watch.chosen(stop - start)
            try:
                seen = task.add(*self._samples(slice(start, stop)), sums, f"samples {start} to {stop - 1}", places)
            except Beyond as error:
                error.sample = start + error.sample % (stop - start)
                raise
            if task.passed is not None:
                watch.check_all(task.passed, start, stop, self._samples)
                task.passed = None
            looked, backward = iter(seen), True  # one backward pass a chunk
            for together, ends in watch.companies(places, start):
                watch.check([next(looked) for _ in ends], *self._samples(together), ends, backward)
                backward = False
        return sums

    def _samples(self, which: slice | list[int]) -> list[Tensor]:
        return [_ready(self.model, t[which]) for t in (self.images, self.labels)]


def _three(first: list[Tensor]) -> list[Tensor]:
    """Three samples, where there may be fewer."""
    return [t[torch.arange(3, device=t.device) % len(t)] for t in first]


def _ready(model, t):
    """Samples on the model's device, and in its precision unless they are whole numbers."""
    p = next(p for p in model.parameters() if p.requires_grad)
    t = t.clone() if t.is_inference() else t.detach()
    return t.to(p.device, p.dtype if t.is_floating_point() else t.dtype)


def _blocks(n, groups):
    """First and last + 1 of each block of samples, as equal as can be."""
    g = groups or 1
    return [(n * b // g, n * (b + 1) // g) for b in range(g)]


def _pieces(blocks, chunk) -> Iterator[tuple[int, int, int]]:
    for block, (first, last) in enumerate(blocks):
        for start in range(first, last, chunk):
            yield block, start, min(start + chunk, last)


def _result(
    model: nn.Module, sums: dict[str, Sums], blocks: list[tuple[int, int]], want: frozenset[str], used: set[str]
) -> Statistics:
    parameters, n = dict(model.named_parameters()), blocks[-1][1]
    mean, diffs, inner, squares = {}, {}, {}, {}
    for name, p in parameters.items():
        kept = sums.pop(name, None) or Sums(p.detach(), want, len(blocks))
        if kept.total is not None:
            mean[name] = (kept.total.sum(0) / n).view_as(p)
            if not _finite(mean[name]):
                raise ValueError(
                    f"the gradient of {name!r} is not finite: check inputs and weights for NaN and overflow"
                )
        if kept.signs is not None:
            diffs[name] = (kept.signs / n).view_as(p)
        if kept.squares is not None:
            inner[name], squares[name] = _inner(kept.total), kept.squares.cpu()
            if not squares[name].isfinite().all():
                raise ValueError(
                    f"the squared gradient of {name!r} is too large for {p.dtype}: convert the model (model.double())"
                )
    return Statistics(
        n, mean, diffs, {name: float(s.sum()) / n for name, s in squares.items()},
        tuple(name for name in parameters if name not in used), _precision(model), tuple(b - a for a, b in blocks),
        inner, squares,
    )  # fmt: skip


def _finite(t: Tensor) -> bool:
    """Whether every number is finite, read once: the least and the largest of what holds NaN are NaN."""
    return not t.numel() or bool(torch.stack(t.aminmax()).isfinite().all())


def _precision(model):
    kinds = {str(p.dtype).removeprefix("torch.") for p in model.parameters() if p.requires_grad}
    return " and ".join(sorted(kinds))


def _inner(total: Tensor) -> Tensor:
    """Inner products of the blocks' sums, [blocks, blocks] float64, a strip of columns at a time."""
    inner = torch.zeros(len(total), len(total), dtype=torch.float64)
    for strip in total.split(2**18, dim=1):
        wide = strip.double()
        inner += (wide @ wide.T).cpu()
    return inner
