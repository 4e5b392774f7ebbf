"""What the page on the force graph says of its numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd

from ..experiments import LayerGraph, Train
from ..widgets import ForceGraph
from . import verdicts
from .evidence import Evidence
from .graphs import BESIDE, NULLS, across, ends, growth, history
from .numbers import side, spelled
from .page import Page
from .reads import run
from .units import NAMES, Where, place
from .why import why

CROWDING = {  # side of the interval of the correlation at the end -> what the page says
    "none": "",
    "few": "{layer} has too few nets to tell.",
    "above": "In {layer}, large units crowd at the end.",
    "below": "In {layer}, large units spread at the end.",
    "open": "In {layer}, large units do neither for sure at the end.",
}
GROWS, NEAR, GROUPS = (
    ("FG1", "LeNet fc1: growth of the mean norm"),
    ("FG1", "LeNet fc1: more pairs near than opposite"),
    ("FG2", "VGG19 conv16: modularity"),
)


def numbers(judged: pd.DataFrame) -> dict[str, str]:
    """What the answer's sentences ask for: how far norms grow in LeNet, and why a part is open."""
    grown = judged[(judged.claim == GROWS[0]) & (judged.part == GROWS[1])].iloc[0]
    reasons = {f"why_{name}": why(judged, *part) for name, part in dict(grown=GROWS, near=NEAR, groups=GROUPS).items()}
    return dict(grown=f"{abs(grown['mean']):.0f}") | reasons


def sentences(page: Page, where: Mapping[str, Where], two: ForceGraph | None) -> dict[str, str]:
    """What the page says, by the names that its prose has for it; `where` names a layer for each of its figures."""
    found, told = page.shown, {}
    for name, (model, layer) in where.items():
        told[f"{name}_words"] = introduced(found, model, layer)
        told[f"{name}_read"] = f"{moved(found, model, layer)}.{silent(found, model, layer)}"
        told[f"{name}_numbers"] = measured(found, model, layer)
    told["class_read"] = followed(found, *where["vgg19"])
    return told | dict(merged_read=mixed(two), plain_vgg=without_norms(found))


def lengths(arrows: np.ndarray) -> str:
    """From what to what lengths the arrows of the toy go, [snapshots, arrows, 2]."""
    begin, end = (
        [f"{length:.3g}" for length in np.unique(np.linalg.norm(arrows[at], axis=1).round(6))] for at in (0, -1)
    )
    return f"Their lengths go from {_listed(begin)} to {_listed(end)}."


def _listed(words: list[str]) -> str:
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def introduced(found: Evidence, model: str, layer: str) -> str:
    """What a film shows."""
    drawn = found.of(LayerGraph, model=model, layer=layer)
    if not drawn:
        return f"{NAMES[model]} {layer}; it has not been run at this size."
    units = run(drawn[0]).arrays["norms"].shape[1]
    return f"{place(found, model, layer)}: {units} units; the picture is one net, seed {drawn[0].snapshots.net.seed}."


def silent(found: Evidence, model: str, layer: str) -> str:
    """How many units of the net that is drawn are active on none of the sampled images in the end."""
    drawn = found.of(LayerGraph, model=model, layer=layer)
    if not drawn:
        return ""
    classes = run(drawn[0]).arrays["classes"][-1]
    return (
        f" Units that are active on none of the {drawn[0].snapshots.sample:,} training images that were looked at, and "
        f"so never fire and are grey where colour stands for classes: {int((classes < 0).sum())} of {len(classes)}."
    )


def moved(found: Evidence, model: str, layer: str) -> str:
    """How many pairs come nearer than chance, how many opposite, and how the mean norm changes."""
    table = history(found, model, layer)
    if table.empty:
        return f"{NAMES[model]} {layer} has not been run at this size"
    start, end = ends(table)
    told = (
        f"In {NAMES[model]} {layer} on {found.data(model)}, {100 * start.pairs.mean():.2f} % of all pairs are near at "
        f"the start and {100 * end.pairs.mean():.1f} % at the end{opposite(table)}"
    )
    return f"{told}; the mean norm changes by {growth(table).mean():+.0f} %"


def opposite(table: pd.DataFrame) -> str:
    """How many pairs are opposite at the end, and what random rows of the same spectrum have; "" if not measured."""
    (_, end), (_, chance) = ends(table), ends(table, "spectrum")
    if chance.empty:
        return ""
    far, near, back = (100 * part.mean() for part in (end.opposite, chance.pairs, chance.opposite))
    return f", {far:.1f} % opposite (random rows of the same spectrum: {near:.1f} and {back:.1f} %)"


def measured(found: Evidence, model: str, layer: str) -> str:
    """Modularity and spread of norms at both ends, beside what there is of nulls."""
    table = history(found, model, layer)
    if table.empty:
        return "Not run at this size yet."
    told = [f"{words} goes from {_way(table, column)}" for column, words in _NUMBERS.items()]
    return ", ".join(told)[:1].upper() + ", ".join(told)[1:] + "."


_NUMBERS = {"modularity": "modularity", "spread": "the spread of norms"}


def _way(table: pd.DataFrame, column: str) -> str:
    """The means of a measure at both ends, and at the end of each null."""
    start, end = (part[column].mean() for part in ends(table))
    last = {BESIDE[null]: ends(table, null)[1][column].mean() for null in NULLS}
    beside = "; ".join(f"{words}: {value:.2f}" for words, value in last.items() if value == value)
    return f"{start:.2f} to {end:.2f} ({beside})"


def followed(found: Evidence, model: str, layer: str) -> str:
    """How far communities follow the classes."""
    table = history(found, model, layer)
    if table.empty:
        return ""
    start, end = ends(table)
    agreement = spelled(*verdicts.interval(end.agreement.dropna()), 2)
    return (
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
        return "it needs the weights of two nets that were trained on this machine."
    seen, share = across(two)
    told = f"of the {seen} nearest pairs at the end, {100 * share:.0f} % join units of different nets"
    return f"{told}; of all pairs, half do."


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
