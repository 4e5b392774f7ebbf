"""The report: everything that is known of a net's redundancy, part by part, none of which stops the others."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import pandas as pd
from torch import Tensor, nn

from .. import samples
from ..nets import layers as checks
from . import angles, curves, looks
from .found import ALL, COLUMNS, Report, called, sentence, table
from .pace import Pace
from .parts import Part, orders, parts, rows, weighted
from .prefix import Prefix
from .prices import MINUTES, MOST, Budget, budget, check_minutes, check_takes, threads, timed
from .quiet import accuracy, like
from .savings import counted, savings
from .sight import Seen, seen

Say = Callable[[str], None]
A_POINT = 100  # images of which one is a point of accuracy
LATE = "no time for it"  # how the reason begins of a layer that was left out for the time
SPELLED = {"groups": "what goes together", "sight": "single units"}  # parts of a price whose names say too little


def report(model: nn.Module, train, test=None, *, minutes: float | None = None, say: Say | None = None) -> Report:
    """The redundancy of a net that gives logits [n, classes] for images [n, ...], measured where the net lies.

    The net stays as it is. What it does not allow is a row with the reason.

    Args:
        train, test: anything with `images` [N, ...] floating-point and `labels` [N] whole numbers; accuracy is measured
            on `test`, where there is none on `train`.
        minutes: about how long it may take, one by default; more time means more images.
        say: is told the price before anything starts, and what is being done.

    Raises:
        ValueError: no such net; images or labels that do not fit it.
    """
    start, say = time.perf_counter(), say or (lambda words: None)
    checks.check_model(model)
    measured = train if test is None else test
    for split in (train, measured):
        samples.check_pictures(samples.checked(split)[0])
    example = measured.images[:2].to(like(model))
    check_minutes(minutes)
    check_takes(model, example)
    count = counted(model, tuple(measured.images.shape[1:]))  # first: what it imports takes seconds
    with threads(model, measured.images):
        found, seconds = timed(lambda: parts(model, example))
        spent = budget(model, train, found, minutes, min(len(measured.labels), MOST), seconds)
        say(_priced(spent) + _coarse(spent.images, len(measured.labels), minutes or MINUTES))
        tables = _measured(model, train, measured, found, spent, say)
        right = accuracy(model, measured, spent.images)
    return Report(
        net=type(model).__name__, accuracy=right,
        chance=_most_common(measured.labels[: spent.images]), images=spent.images,
        measured_on="train" if test is None else "test", parameters=sum(p.numel() for p in model.parameters()),
        multiply_adds=count, in_shape=tuple(measured.images.shape[1:]),
        seconds=time.perf_counter() - start, device=str(like(model).device), **tables,
        beyond=sum(part.parameters for part in found),
    )  # fmt: skip


def _most_common(labels: Tensor) -> float:
    """The share of the most common label."""
    return float(labels.unique(return_counts=True)[1].max() / len(labels))


def _priced(spent: Budget) -> str:
    """The price tag."""
    named = {SPELLED.get(name, name): seconds for name, seconds in spent.seconds.items()}
    parts = ", ".join(f"{name} {seconds:.0f}" for name, seconds in named.items() if seconds >= 0.5)
    told = f"about {sum(spent.seconds.values()):.0f} s" + (f" (seconds: {parts})" if parts else "")
    left = f"; no time for curves of {len(spent.left)} layers" if spent.left else ""
    return f"{told}; accuracy on {spent.images:,} images, gradients of {spent.sampled:,}{left}"


def _coarse(images: int, there: int, minutes: float) -> str:
    """What accuracy on few images cannot tell, and what would; nothing where one image is a point or less."""
    if images >= A_POINT:
        return ""
    long = math.ceil(minutes * A_POINT / images)
    more = f"{long} minute{'s' * (long != 1)}" if there > images else "more images"
    return f"; one image is {100 / images:.2g} points of accuracy: curves are finer with {more}"


def _measured(model, train, test, found: list[Part], spent: Budget, say: Say) -> dict[str, pd.DataFrame]:
    """All tables, by name."""
    say("units: dead, repeated, lengths and angles")
    notes: dict[str, str] = {}
    sight = _seen(model, test, spent.images, notes)
    of_units = {part.name: _units(model, part, sight.get(part.name)) for part in found}
    made = dict(units=_joined("units", list(of_units.values())))
    made["why"] = table("why", [_why(part, of_units[part.name]) for part in found if part.kind != "weights"])
    say("curves: how many units go before accuracy falls by one point")
    made |= _along(model, test, found, spent, sight, of_units, notes, say)
    best = made.pop("best")
    say("spectra, gradients and a mask")
    made["spectra"] = looks.tried("spectra", lambda: looks.spectra(model))
    made["gradients"] = looks.tried("gradients", lambda: looks.sampled(model, train, spent.sampled))
    made["masks"] = looks.tried("masks", lambda: looks.masked(model))
    for name, reason in (("spectra", "it is no one matrix of a layer's units"), ("masks", "no mask is made of it")):
        made[name] = _with_others(name, made[name], found, reason)
    made["edges"] = _graph(model, made["layers"])
    say("savings: smaller copies, counted and timed")
    made["savings"] = looks.tried("savings", lambda: savings(model, best, test, spent.images))
    made["prices"] = table("prices", [dict(layer=ALL, part=part, seconds=seconds, images=_images(part, spent))
                                      for part, seconds in spent.seconds.items()])  # fmt: skip
    return made


def _with_others(name: str, made: pd.DataFrame, found: list[Part], reason: str) -> pd.DataFrame:
    """A table with a row for all weights that no layer holds."""
    names = [part.name for part in found if part.kind == "weights" and part.name not in set(made.layer)]
    return _joined(name, [made, table(name, [dict(layer=layer, reason=reason) for layer in names])])


def _images(part: str, spent: Budget) -> float:
    return {"gradients": spent.sampled, "curves": spent.images, "sight": spent.images}.get(part, math.nan)


def _seen(model: nn.Module, test, limit: int, notes: dict[str, str]) -> dict[str, Seen]:
    """What the loss says of all layers' units; a net that refuses is noted for every layer."""
    try:
        return seen(model, test, weighted(model), limit)
    except (ValueError, RuntimeError) as error:
        notes |= dict.fromkeys(weighted(model), f"dead units are not known: {sentence(error)}")
        return {}


def _units(model: nn.Module, part: Part, of_loss: Seen | None) -> pd.DataFrame:
    weight = rows(model, part.name)
    if weight is None or len(weight) != part.units or not weight.isfinite().all():
        return table("units", [])
    return angles.of_units(part.name, weight, of_loss)


def _why(part: Part, of_layer: pd.DataFrame) -> dict:
    if of_layer.empty:
        return dict(layer=part.name, reason="its units are not the rows of one weight matrix that can be read")
    return angles.why(part, of_layer)


def _along(model, test, found, spent, sight, of_units, notes, say) -> dict:
    """The tables `layers` and `curves`, and of each part that can spare units its best order and their number."""
    whole, layers, points, best = accuracy(model, test, spent.images), [], [], {}
    prefix = Prefix(model, test, spent.images) if any(part.group for part in found) else None
    looked = [part.name for part in found if part.tied is None and part.name not in spent.left]
    pace = _pace(spent, [part for part in found if part.name in looked], say)
    for part in found:
        row = _plain(part, of_units[part.name], notes)
        if part.name in spent.left:
            row["reason"] = f"{LATE}: allow more (minutes=, --minutes)"
        elif part.tied is None:
            at = f"{looked.index(part.name) + 1} of {len(looked)}"
            say(f"  {at}: looking at {called(part.name)}, {part.units} {part.kind}")
            try:
                ways = orders(model, part, sight.get(part.name))
                along = _curves(model, part, ways, whole, test, spent, prefix)
                row |= _best(part, along)
                points += _points(part, along)
                best[part] = ways[row["criterion"], 0], row["free"]
            except (ValueError, RuntimeError) as error:
                row["reason"] = sentence(error)
            pace.went(_size(part, spent))
        layers.append(row)
    return dict(layers=table("layers", layers), curves=table("curves", points), best=best)


def _size(part: Part, spent: Budget) -> int:
    """Of the work of a part's curves, against that of the others."""
    return part.units if spent.exact else 1


def _pace(spent: Budget, looked: list[Part], say: Say) -> Pace:
    after = sum(spent.seconds[name] for name in ("spectra", "gradients", "masks", "savings"))
    return Pace(spent.seconds["curves"], sum(_size(part, spent) for part in looked), after, say)


def _plain(part: Part, of_layer: pd.DataFrame, notes: dict[str, str]) -> dict:
    """What a layer's row has without any removal."""
    row = dict(layer=part.name, kind=part.kind, units=part.units, reason=part.tied or notes.get(part.name, ""))
    if len(of_layer):
        row["repeated"] = int(of_layer.repeats.sum())
        row["dead"] = int((of_layer.moved == 0).sum()) if of_layer.moved.notna().any() else math.nan
    return row


def _curves(model, part: Part, ways, whole: float, test, spent: Budget, prefix) -> dict[tuple[str, int], curves.Along]:
    if spent.exact and part.group is None:
        return curves.exact(model, part, ways, test, spent.images)
    look = curves.remembered(curves.looking(model, part, test, spent.images, prefix))
    return {key: curves.stepped(look, part, order, whole) for key, order in ways.items()}


def _best(part: Part, along: dict[tuple[str, int], curves.Along]) -> dict:
    """The criterion by which most units go, and the mean of random orders."""
    ruled = {criterion: found.free for (criterion, _), found in along.items() if criterion != "random"}
    drawn = [found.free for (criterion, _), found in along.items() if criterion == "random"]
    chosen = max(ruled, key=ruled.get)
    return dict(free=ruled[chosen], share=ruled[chosen] / part.units, criterion=chosen, random=sum(drawn) / len(drawn))


def _points(part: Part, along: dict[tuple[str, int], curves.Along]) -> list[dict]:
    return [dict(layer=part.name, criterion=criterion, seed=seed, removed=removed, accuracy=value)
            for (criterion, seed), found in along.items() for removed, value in found.points.items()]  # fmt: skip


def _graph(model: nn.Module, layers: pd.DataFrame) -> pd.DataFrame:
    name = angles.drawn(layers)
    return table("edges", []) if name is None else angles.edges(name, rows(model, name))


def _joined(name: str, tables: list[pd.DataFrame]) -> pd.DataFrame:
    tables = [t for t in tables if len(t)]
    return pd.concat(tables, ignore_index=True)[list(COLUMNS[name])] if tables else table(name, [])
