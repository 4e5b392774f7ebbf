"""One pass over a split: forward, back to the layers' outputs, and from there each layer's own way to its sums."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn

from ..precision import tensor_float_32
from .asked import check_finite, checked, some
from .calls import Call, run
from .free import replaced
from .loss import Loss, cross_entropy, losses
from .other import NotAlone, Other
from .parts import Formed, Part
from .plan import FORMULAS, Plan, plan
from .result import Statistics
from .silent import SILENT, heard
from .sums import Sums, budget


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

    No sample's gradient is kept, and no layer's gradients are formed for more samples than a byte budget allows. Random
    layers
    other than dropout are found only if they change the answer for the first three samples: use `model.eval()`. In
    float32, PyTorch's backward pass of a norm over positions has lost the gradient itself where inputs lie 1e4 spreads
    from zero: use float64 there.

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
            a hundred times that; all of an output of a linear layer over a single token, or of `nn.MultiheadAttention`,
            at or below `silent` eps of the parameter's largest entry. Weights summed over positions, layers on one
            vector a sample, parameters that no layer holds and modules without a formula are taken as they are. 0: the
            sign of whatever is not zero.

    Raises:
        ValueError: bad arguments; a loss or gradient that is not finite; a module in training mode that has no gradient
            for each sample (batch norm, dropout); a model whose output for one image depends on the others; nothing to
            differentiate.
    """
    images, labels = checked(model, split, chunk, want, groups, silent)
    want = frozenset(want)
    with _settled(next(model.parameters()).device), _buffers_kept(model):
        first = [_ready(model, t[:3]) for t in (images, labels)]
        how = plan(model, *first, lambda out, y: losses(loss, out, y, "the first images"))
        _verify(model, *first, loss, how)
        blocks = _blocks(len(images), groups)
        sums = {name: Sums(p, want, len(blocks), silent) for name, p in how.parameters.items() if name in how.used}
        others = _others(how)
        for block, start, stop in _pieces(blocks, chunk or how.chunk):
            for kept in sums.values():
                kept.block = block
            x, y = (_ready(model, t[start:stop]) for t in (images, labels))
            _pass(model, x, y, loss, how, others, sums, f"samples {start} to {stop - 1}")
    return _result(model, sums, blocks, want, how.used)


# A few samples at a time


def _blocks(n, groups):
    """First and last + 1 of each block of samples, as equal as can be."""
    g = groups or 1
    return [(n * b // g, n * (b + 1) // g) for b in range(g)]


def _pieces(blocks, chunk) -> Iterator[tuple[int, int, int]]:
    for block, (first, last) in enumerate(blocks):
        for start in range(first, last, chunk):
            yield block, start, min(start + chunk, last)


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


@contextmanager
def _buffers_kept(model):
    """Puts buffers back that a pass changes, such as a spectral norm's in training mode."""
    before = [
        (m._buffers, name, b, b._version, b.clone())
        for m in model.modules()
        for name, b in m._buffers.items()
        if b is not None
    ]
    try:
        yield
    finally:
        for held, name, buffer, version, value in before:
            held[name] = buffer
            if buffer._version != version:
                buffer.data.copy_(value)


def _ready(model, t):
    """Samples on the model's device, and in its precision unless they are whole numbers."""
    p = next(p for p in model.parameters() if p.requires_grad)
    t = t.clone() if t.is_inference() else t.detach()
    return t.to(p.device, p.dtype if t.is_floating_point() else t.dtype)


def _verify(model: nn.Module, x: Tensor, y: Tensor, loss: Loss, how: Plan) -> None:
    """Compares the sum over a few samples with autograd's gradient; one that differs goes to the model as a whole.

    The walk along the graph is exact but for what modules hand to each other behind its back, such as an attribute.
    """
    parameters = {name: p for name, p in how.parameters.items() if name in how.used}
    total = losses(loss, model(x), y, "the first samples").sum()
    # a sparse embedding's gradient is not dense
    expected = [g.to_dense() for g in torch.autograd.grad(total, list(parameters.values()))]
    check_finite(expected, "the first samples")
    largest = max(float(g.abs().max()) for g in expected)
    for last in (False, True):
        sums = {name: Sums(p, frozenset({"mean"}), 1) for name, p in parameters.items()}
        try:
            _pass(model, x, y, loss, how, _others(how), sums, "the first samples")
            wrong = [
                name
                for name, g in zip(parameters, expected, strict=True)
                if not _close(sums[name].total.view_as(g), g, largest)
            ]
        except NotAlone as error:
            if last:
                raise
            wrong = list(how.others[error.module])
        if not wrong:
            return
        if last:
            raise ValueError(
                f"gradients of {some(wrong)}, sample by sample, do not add up to those of the batch: the model gives "
                "another answer each time, its samples depend on each other, the loss reads parameters itself, "
                "or a hook changes their gradients"
            )
        for name in wrong:
            how.give_to(model, name)


def _close(found, expected, largest):
    return bool((found - expected).abs().max() <= 1e-3 * expected.abs().max() + 1e-5 * largest)


def _others(how: Plan) -> list[Other]:
    return [Other(m, _own_names(m, [how.parameters[name] for name in names])) for m, names in how.others.items()]


def _pass(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    loss: Loss,
    how: Plan,
    others: list[Other],
    sums: dict[str, Sums],
    which: str,
) -> None:
    n = len(x)
    rows = {name: _row_for_each(how.parameters[name], n, shape) for name, shape in how.free.items()}
    with replaced(model, {how.parameters[name]: row for name, row in rows.items()}):
        out, calls = run(model, x, how.modules)
    total = losses(loss, out, y, which).sum()
    _check_calls(how, calls)
    edges = list(
        dict.fromkeys(edge for found in calls.values() for call in found for edge in call.edges if edge is not None)
    )
    found = torch.autograd.grad(total, [*rows.values(), *edges], allow_unused=True)
    deltas = dict(zip(edges, found[len(rows) :], strict=True))
    with torch.no_grad():
        check_finite(found, which)
        for name, row in zip(rows, found, strict=False):
            if row is not None:
                sums[name].add(row)
        for name, sites in how.sites.items():
            _add(
                sums[name],
                how.parameters[name],
                [part for m, own in sites for part in _parts(m, own, how, calls.get(m, []), deltas)],
                n,
            )
    for other in others:
        _add_other(other, how, calls.get(other.module, []), deltas, sums, n)


def _row_for_each(p: Tensor, n: int, shape: tuple[int, ...]) -> Tensor:
    return p.detach().view(1, *shape).expand(n, *shape).clone().requires_grad_()


def _check_calls(how, calls):
    for m in how.modules:
        if len(calls.get(m, [])) != len(how.where[m]):
            raise ValueError(
                f"{type(m).__name__} was called {len(how.where[m])} times for some images and {len(calls.get(m, []))} "
                "times for others: a model that branches on what it sees needs one split for each branch"
            )
        if not all(call.untouched() for call in calls[m]):
            raise ValueError(
                f"what {type(m).__name__} has read was changed in place afterwards: make that operation out of place"
            )


def _parts(module: nn.Module, own: str, how: Plan, calls: list[Call], deltas: dict) -> list[Part]:
    """What each call of a layer with a formula gives to one of its parameters."""
    found = []
    for call, (read, gave) in zip(calls, how.where[module], strict=True):
        delta = deltas.get(call.edges[0])
        if delta is not None:
            formula = FORMULAS[type(module)][0]
            found.append(formula(module, read[0].first(call.read[0].detach()), gave[0].first(delta))[own]())
    return found


def _add(sums: Sums, parameter: Tensor, parts: list[Part], n: int) -> None:
    """Adds a parameter's gradients; where several calls give to it, one sample's are added first."""
    if len(parts) == 1:
        parts[0].add_to(sums)
    elif parts:
        step = budget(parameter.device, parameter.numel(), parameter.element_size())
        for start in range(0, n, step):
            here = slice(start, min(start + step, n))
            rows = sum(part.form(here) for part in parts)
            listens = sums.silent and all(isinstance(part, Formed) for part in parts)
            terms = sum(part.sizes(here) for part in parts) if listens else None
            sums.add(rows, heard=partial(heard, rows, terms) if listens else None)


def _add_other(other: Other, how: Plan, calls: list[Call], deltas: dict, sums: dict[str, Sums], n: int) -> None:
    given = []
    for call, (read, gave) in zip(calls, how.where[other.module], strict=True):
        arrived = [None if edge is None else deltas[edge] for edge in call.edges]
        if any(d is not None and place is None for d, place in zip(arrived, gave, strict=True)):
            raise NotAlone(
                other.module, "the loss depends on an output that all samples share, such as a penalty on weights"
            )
        if any(d is not None for d in arrived):
            given.append((call, read, gave, arrived))
    if given:
        names = {how.parameters[name]: name for name in how.others[other.module]}
        other.add_to({own: sums[names[p]] for own, p in other.parameters.items()}, given, n)


def _own_names(module: nn.Module, parameters: list[Tensor]) -> dict[str, Tensor]:
    own = {p: name for name, p in reversed(list(module.named_parameters()))}
    return {own[p]: p for p in parameters}


# The answer


def _result(
    model: nn.Module, sums: dict[str, Sums], blocks: list[tuple[int, int]], want: frozenset[str], used: set[str]
) -> Statistics:
    parameters, n = dict(model.named_parameters()), blocks[-1][1]
    mean, diffs, inner, squares = {}, {}, {}, {}
    for name, p in parameters.items():
        kept = sums.pop(name, None) or Sums(p.detach(), want, len(blocks))
        if kept.total is not None:
            mean[name] = (kept.total.sum(0) / n).view_as(p)
            if not mean[name].isfinite().all():
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


def _precision(model):
    kinds = {str(p.dtype).removeprefix("torch.") for p in model.parameters() if p.requires_grad}
    return " and ".join(sorted(kinds))


def _inner(total: Tensor) -> Tensor:
    """Inner products of the blocks' sums, [blocks, blocks] float64, a strip of columns at a time."""
    found = torch.zeros(len(total), len(total), dtype=torch.float64)
    for strip in total.split(2**18, dim=1):
        wide = strip.double()
        found += (wide @ wide.T).cpu()
    return found
