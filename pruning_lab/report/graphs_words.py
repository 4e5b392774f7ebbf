"""What the page on the force graph says of its numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd

from ..experiments import LayerGraph, Train
from ..records.store import run
from ..widgets import ForceGraph
from . import verdicts
from .evidence import Evidence
from .graphs import across, ends, growth, history
from .numbers import counted, side, spelled
from .page import Page
from .units import NAMES, Where, place

CROWDING = {  # side of the interval of the correlation at the end -> what the page says
    "none": "",
    "few": "{layer} has too few nets to tell.",
    "above": "In {layer}, large units crowd at the end.",
    "below": "In {layer}, large units spread at the end.",
    "open": "In {layer}, large units do neither for sure at the end.",
}


def sentences(page: Page, where: Mapping[str, Where], verdicts: pd.DataFrame, two: ForceGraph | None) -> dict[str, str]:
    """What the page says, by the names that its prose has for it; `where` names a layer for each of its figures."""
    found, told = page.shown, {}
    for name, (model, layer) in where.items():
        told[f"{name}_words"] = introduced(found, model, layer)
        told[f"{name}_read"] = f"{moved(found, model, layer)}."
        told[f"{name}_numbers"] = measured(found, model, layer)
    first = next((place for place in where.values() if len(history(found, *place))), next(iter(where.values())))
    told["answer_fg1"], told["fg1_parts"] = (
        moved(found, *first),
        tally(verdicts[verdicts.claim == "FG1"], page.is_source),
    )
    told["answer_fg2"], told["class_read"] = clustered(found, *where["vgg19"])
    return told | dict(merged_read=mixed(two), plain_vgg=without_norms(found))


def introduced(found: Evidence, model: str, layer: str) -> str:
    """What a film shows."""
    drawn = found.of(LayerGraph, model=model, layer=layer)
    if not drawn:
        return f"{NAMES[model]} {layer}; it has not been run at this size."
    units = run(drawn[0]).arrays["norms"].shape[1]
    return f"{place(found, model, layer)}: {units} units; the picture is one net, seed {drawn[0].snapshots.net.seed}."


def moved(found: Evidence, model: str, layer: str) -> str:
    """How many pairs come nearer than chance, and how the mean norm changes."""
    table = history(found, model, layer)
    if table.empty:
        return f"{NAMES[model]} {layer} has not been run at this size"
    (start, end), (_, null) = ends(table), ends(table, "permuted")
    return (
        f"In {NAMES[model]} {layer} on {found.data(model)}, {100 * start.pairs.mean():.2f} % of all pairs are nearer "
        f"than chance at the start and {100 * end.pairs.mean():.1f} % at the end "
        f"(permuted: {100 * null.pairs.mean():.2f} %); the mean norm changes by {np.mean(growth(table)):+.0f} %"
    )


def measured(found: Evidence, model: str, layer: str) -> str:
    """Component, modularity and spread of norms at both ends."""
    table = history(found, model, layer)
    if table.empty:
        return "Not run at this size yet."
    (start, end), (_, null) = ends(table), ends(table, "permuted")
    return (
        f"The largest component holds {100 * start.component.mean():.1f} % of the units at the start and "
        f"{100 * end.component.mean():.1f} % at the end (permuted: {100 * null.component.mean():.1f} %). Modularity "
        f"goes from {start.modularity.mean():.2f} to {end.modularity.mean():.2f} "
        f"(permuted: {null.modularity.mean():.2f}), the spread of norms from {start.spread.mean():.2f} "
        f"to {end.spread.mean():.2f} (permuted: {null.spread.mean():.2f})."
    )


def clustered(found: Evidence, model: str, layer: str) -> tuple[str, str]:
    """Modularity at both ends, and how far communities follow the classes."""
    table = history(found, model, layer)
    if table.empty:
        return f"{NAMES[model]} has not been run at this size yet", ""
    (start, end), (_, null) = ends(table), ends(table, "permuted")
    told = (
        f"In {NAMES[model]}'s last convolution, modularity goes from {start.modularity.mean():.2f} to "
        f"{end.modularity.mean():.2f} (permuted: {null.modularity.mean():.2f})"
    )
    agreement = spelled(*verdicts.interval(end.agreement.dropna()), 2)
    return told, (
        f"Do the communities follow the classes? Agreement is {agreement} at the end, "
        f"{start.agreement.mean():+.2f} at the start; 0 is chance, 1 is one community a class."
    )


def crowded(found: Evidence, where: Iterable[Where]) -> str:
    """Whether large units crowd or spread at the end, a sentence a layer that was run."""
    said = []
    for model, layer in where:
        table = history(found, model, layer)
        word = side(ends(table)[1].crowding) if len(table) else "none"
        said.append(CROWDING[word].format(layer=f"{NAMES[model]} {layer}"))
    return " ".join(filter(None, said))


def mixed(two: ForceGraph | None) -> str:
    """How many edges join units of different nets."""
    if two is None:
        return "It needs the weights of two nets that were trained on this machine."
    seen, share = across(two)
    return (
        f"Of the {seen} edges in sight at the end, {100 * share:.0f} % join units of different nets; "
        "of all pairs, half do."
    )


def without_norms(found: Evidence) -> str:
    """How VGG19 ends as the source's table has it, without batch normalisation."""
    nets = [run(e).table.test_accuracy for e in found.of(Train)]
    if not nets:
        return "none was run at this size."
    last, best = 100 * nets[0].iloc[-1], 100 * nets[0].max()
    return (
        f"one net of the same training on {found.data('vgg19')} ends at {last:.1f} % of the test images "
        f"(best epoch {best:.1f} %)."
    )


def tally(verdicts: pd.DataFrame, is_source: bool) -> str:
    """How many parts hold on each net, such as "reproduced: 5 of 5 parts on LeNet fc1 (5 nets)"."""
    nets = verdicts[verdicts.n > 0].assign(net=verdicts.part.str.split(":").str[0]).groupby("net", sort=False)
    held = {net: rows.verdict.str.contains("^reproduced|^holds").sum() for net, rows in nets}
    said = [f"{held[net]} of {len(rows)} parts on {net} ({counted(rows.n.min(), 'net')})" for net, rows in nets]
    return f"{'reproduced' if is_source else 'holds'}: {', '.join(said)}"
