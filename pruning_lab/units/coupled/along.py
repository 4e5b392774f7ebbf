"""What groups of units are worth, and accuracy along an order in which they go."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ... import criteria, samples
from ...criteria.registry import called
from ...nets.given import check_seed, check_whole, shown
from ...nets.surgery import copied, unit_numbers
from ...precision import evaluation
from ...samples import wide
from ..removal import Curve, _double, _means, _permutation
from .cuts import Cut, zero
from .grouping import Group, check_group

BATCH = 128  # images at once: changes memory and speed, no answer beyond rounding
_READ = ("weight", "noise", "activation", "activation_gradient")


def group_scores(model: nn.Module, group: Group, criterion, data=None, seed: int = 0) -> Tensor:
    """Scores of a group's units while all are there, [units] float64; what scores higher stays longer.

    Of "units", the rows of the layer that names them (pairwise terms: row sums over the layer); of "heads", means over
    a head's rows; of a "stream", means over the layers that give it. Activations are what the first layer that reads
    the units gets, its columns of one unit being positions.

    Args:
        criterion: a name in `criteria.UNIT`, or a function that reads `weight`, `noise`, `activation` or
            `activation_gradient`.
        data: a `Split`, for activations.
        seed: of the noise that a criterion reads.

    Raises:
        ValueError: a tied group; a criterion that reads anything else, or has no `data`; activations in a group whose
        readers are not called as layers; scores that are not finite.
    """
    check_group(model, group)
    check_seed(seed)
    function = criteria.find(criterion)
    reads = criteria.needs(function)
    if other := [read for read in reads if read not in _READ]:
        raise ValueError(
            f"criterion {called(function)!r} reads {', '.join(other)}, which coupled units do not have one by "
            f"one: expected a criterion that reads some of {', '.join(_READ)}"
        )
    if any(read.startswith("activation") for read in reads):
        if "weight" in reads:
            raise ValueError(
                f"criterion {called(function)!r} reads weights beside activations, and coupled units have rows of "
                "several layers: expected a criterion that reads one of the two"
            )
        return _of_activations(model, group, function, data, seed)
    givers = [cut for cut in group.cuts if _gives(model, cut)]
    parts = [_of_rows(model, cut, function, seed, group) for cut in (givers if group.kind != "units" else givers[:1])]
    return torch.stack(parts).mean(0)


def group_curve(model: nn.Module, group: Group, order, split, counts: Sequence[int], limit: int | None = None) -> Curve:
    """Accuracy and loss on a `Split` after the first c units of an order went, for each c of `counts`, [counts].

    A copy has zeros where something reads a unit that went: its outputs are those of `remove_units`. One pass a count.

    Args:
        counts: whole numbers from 0 to the group's units; all units may go.
        limit: so many first images.

    Raises:
        ValueError: a tied group; an order that is not one of its units; counts out of range; images and labels that do
        not fit the model; losses that are not finite.
    """
    check_group(model, group)
    order = _permutation("order", order, group.units).tolist()
    counts = _checked_counts(counts, group.units)
    found, gone, images = {}, 0, 0
    with evaluation(made := copied(model)):
        for count in sorted(set(counts)):
            zero(made, [cut for cut in group.cuts if cut.reads], order[gone:count])
            (found[count], images), gone = _tallied(made, split, limit), count
    return Curve(*_means(torch.stack([found[count] for count in counts], dim=1), images))


# Scores


def _gives(model: nn.Module, cut: Cut) -> bool:
    """Whether a cut is of rows that give the units; norms and parameters have none."""
    module = model.get_submodule(cut.module)
    return (
        not cut.reads
        and bool(cut.tensors)
        and isinstance(module, nn.Linear | nn.modules.conv._ConvNd | nn.MultiheadAttention)
    )


def _of_rows(model: nn.Module, cut: Cut, function, seed: int, group: Group) -> Tensor:
    """The mean score of each unit's rows in one layer, [units]."""
    attribute, dim = cut.tensors[0]
    rows = _double(getattr(model.get_submodule(cut.module), attribute).detach()).movedim(dim, 0)
    criteria.finite(rows, cut.module)
    n = len(rows)
    values = _evaluated(function, {"weight": rows, "noise": _noise(n, seed, rows)}, cut.module, n)
    return torch.stack([values[list(positions)].mean() for positions in cut.positions])


def _evaluated(function, held: dict[str, Tensor], name: str, n: int) -> Tensor:
    ways = dict.fromkeys(("activation", "activation_gradient"), "data=, a Split")
    values = _double(criteria.evaluate(function, held, name, [(n,), (n, n)], ways))
    return values.sum(1) if values.ndim == 2 else values


def _noise(n: int, seed: int, like: Tensor) -> Tensor:
    return torch.rand(n, generator=torch.Generator().manual_seed(int(seed)), dtype=torch.float64).to(like.device)


def _of_activations(model: nn.Module, group: Group, function, data, seed: int) -> Tensor:
    """Scores from what the first layer that reads the units gets of them."""
    cut = next(cut for cut in group.cuts if cut.reads)
    like = next(p for p in model.parameters() if p.is_floating_point())
    held = {"weight": like, "noise": _noise(group.units, seed, like)}  # nobody reads that weight
    if data is not None:
        held |= _activations(model, group, cut, data, "activation_gradient" in criteria.needs(function))
    return _evaluated(function, held, group.name, group.units)


def _activations(model: nn.Module, group: Group, cut: Cut, data, gradients: bool) -> dict[str, Tensor]:
    """`activation` and, if wanted, `activation_gradient`, [images, units, positions]."""
    parts: dict[str, list[Tensor]] = {"activation": [], **({"activation_gradient": []} if gradients else {})}
    reader, caught = model.get_submodule(cut.module), []

    def catch(_: nn.Module, given: tuple) -> tuple:
        caught.append(given[0].detach().requires_grad_(gradients))
        return (caught[-1], *given[1:])

    hook = reader.register_forward_pre_hook(catch)
    try:
        with evaluation(model):
            for images, labels in _batches(model, data, None):
                caught.clear()
                with torch.set_grad_enabled(gradients):
                    loss = F.cross_entropy(wide(model(images)), labels, reduction="sum")
                tensors = [_caught(caught, group, cut, len(labels))]
                tensors += torch.autograd.grad(loss, tensors) if gradients else []
                for part, tensor in zip(parts.values(), tensors, strict=True):
                    part.append(_by_unit(_double(tensor.detach()), reader, cut))
    finally:
        hook.remove()
    return {name: torch.cat(part) for name, part in parts.items()}


def _caught(caught: Sequence[Tensor], group: Group, cut: Cut, images: int) -> Tensor:
    """What a reader was given; ValueError unless it is one tensor of as many images, of whose units all are as wide."""
    if len(caught) != 1 or len(caught[0]) != images or len({len(p) for p in cut.positions}) != 1:
        raise ValueError(
            f"the activations of {group.name!r} cannot be told apart in what {cut.module!r} reads, image by image: use "
            "a criterion that reads weights"
        )
    return caught[0]


def _by_unit(read: Tensor, reader: nn.Module, cut: Cut) -> Tensor:
    """What a layer reads, [images, units, positions]; several columns of one unit are positions, too."""
    columns = torch.tensor(cut.positions, device=read.device)
    if isinstance(reader, nn.Linear):
        return read.flatten(1, -2)[:, :, columns].permute(0, 2, 1, 3).flatten(2) if read.ndim > 2 else read[:, columns]
    return read.flatten(2)[:, columns].flatten(2)


# Accuracy


def _checked_counts(counts, units: int) -> list[int]:
    """Counts of units; ValueError unless there are some, each from 0 to `units`."""
    given = unit_numbers(counts, units + 1, "counts")
    if given.ndim != 1 or not len(given):
        raise ValueError(f"counts={shown(counts)}: expected several, each from 0 to {units}")
    return given.tolist()


def _batches(model: nn.Module, split, limit: int | None) -> Iterator[tuple[Tensor, Tensor]]:
    """Images and labels in batches, where the model is; ValueError where they do not fit it."""
    images, labels = samples.checked(split)
    samples.check_pictures(images)
    check_whole("limit", limit, none=True)
    images, labels = images[:limit], labels[:limit]
    like = next(p for p in model.parameters() if p.is_floating_point())
    logits = _one(model, images[:1].to(like))
    samples.check_logits(logits.expand(len(labels), -1) if logits.ndim == 2 else logits, labels)
    for x, y in zip(images.split(BATCH), labels.split(BATCH), strict=True):
        yield x.to(like), y.to(like.device, torch.int64)


def _one(model: nn.Module, image: Tensor) -> Tensor:
    """What one image gives; ValueError where the model cannot read it, or gives no tensor."""
    try:
        with evaluation(model):
            given = model(image)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # whatever a module makes of what it cannot read
        raise ValueError(
            f"the model cannot read an image of shape {list(image.shape[1:])}: {shown(str(error))}"
        ) from error
    if not isinstance(given, Tensor):
        raise ValueError(f"the model gives a {type(given).__name__}: expected one tensor of logits [n, classes]")
    return given


def _tallied(model: nn.Module, split, limit: int | None) -> tuple[Tensor, int]:
    """Right answers and summed cross-entropy, [2] float64, and how many images there were."""
    total, images = torch.zeros(2, dtype=torch.float64), 0
    for x, y in _batches(model, split, limit):
        logits = wide(model(x))
        hits = (logits.argmax(1) == y).sum()
        loss = (logits.logsumexp(1) - logits.gather(1, y[:, None])[:, 0]).sum()
        total, images = total + torch.stack([_double(hits), _double(loss)]).cpu(), images + len(y)
    return total, images
