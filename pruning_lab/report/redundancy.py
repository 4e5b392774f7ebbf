"""The redundancy of a given net in tables and figures: the same for the book's page and for the one file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from .. import figures
from ..redundancy import Report
from ..redundancy.curves import MARGIN
from ..redundancy.found import ALL, called
from . import redundancy_words
from .numbers import counted

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

SHOWN = 400  # layers or fewer have a row each in a figure


class Section(NamedTuple):
    """One message: what a figure will show, the figure, what to see in it, and the tables behind it by name."""

    heading: str
    before: str
    figure: Figure | None
    after: str
    tables: Mapping[str, pd.DataFrame]


def sections(found: Report, command: str) -> list[Section]:
    """All messages in the order in which they are read; `command` makes them again."""
    made: list[Callable[[Report, str], Section]] = [
        spared, curves, idle, explained, graph, spectra, gradients, masks, savings,
    ]  # fmt: skip
    return [make(found, command) for make in made] + [_rest(found)]


def _about(name: str, title: str, alt: str, command: str) -> dict[str, str]:
    return dict(title=title, alt=alt, file=f"{name}.csv", command=command)


def spared(found: Report, command: str) -> Section:
    """How many units of each layer can go."""
    table = found.layers.assign(ruled=100 * found.layers.share, drawn=100 * found.layers.random / found.layers.units)
    title = "Units that go before accuracy falls by more than a point, layer by layer"
    alt = "For each layer two dots: the share of units that can go by the best criterion, and in random order."
    drawn = table[table.free.notna()] if table.free.notna().any() else table
    drawn = drawn.drop(columns="reason")[:SHOWN]
    figure = figures.dots(drawn, {"ruled": "best criterion", "drawn": "random order, mean of 3"}, by="layer",
                          axis="units that can go, %", ends=(-2, 102),
                          **_about("layers", title, alt, command))  # fmt: skip
    before = "How much of each layer can be left out, the rest of the net being whole:"
    return Section(
        "What each layer can spare", before, figure, redundancy_words.of_layers(found), {"layers": found.layers}
    )


def curves(found: Report, command: str) -> Section:
    """Accuracy along the orders of the layer that can spare most units."""
    heading, before = "On the way", "Accuracy while the units of one layer go, by several orders:"
    free = found.layers[found.layers.free.notna()]
    if free.empty:
        return Section(heading, "", None, "No layer's units could be taken out.", {"curves": found.curves})
    drawn = free.loc[(free.share * (free.share < 1)).idxmax()]
    layer = drawn.layer
    part = found.curves[found.curves.layer == layer]
    alt = f"Accuracy against units removed from {called(layer)}, a line an order; dotted: a point below the whole net."
    about = _about("curve", f"Layer {layer}: accuracy as units go", alt, command)
    figure = figures.along(part.drop(columns="layer"), margin=found.accuracy - MARGIN, **about)
    dots = "" if redundancy_words.everywhere(found) else "Dots are where accuracy was looked at. "
    most = ", which can spare most without sparing all" if drawn.share < 1 else ""
    after = (f"This is layer {layer}{most}. Dotted: one point below the whole net. "
             f"{dots}`worth` is the first-order change of the loss without a unit.")  # fmt: skip
    return Section(heading, before, figure, after.replace("`", ""), {"curves": found.curves})


def idle(found: Report, command: str) -> Section:
    """Dead and repeated units."""
    table = found.layers.assign(
        dead_share=100 * found.layers.dead / found.layers.units,
        repeated_share=100 * found.layers.repeated / found.layers.units,
    )
    title = "Units that are dead, and units that repeat another"
    alt = "For each layer two dots: the share of dead units, and of units that repeat an earlier one."
    figure = figures.dots(table[["layer", "units", "dead", "repeated", "dead_share", "repeated_share"]][:SHOWN],
                          {"dead_share": "dead", "repeated_share": "repeats another"}, by="layer",
                          axis="units of the layer, %", ends=(-2, 102),
                          **_about("idle", title, alt, command))  # fmt: skip
    dead, again = (int(found.layers[column].sum()) for column in ("dead", "repeated"))
    after = (f"Dead: no image's loss answers to the unit; {dead:,} are. Repeating: a cosine of 0.9 or more with an "
             f"earlier unit; {again:,} do.")  # fmt: skip
    before = "Units that do nothing, and units that say what another says already:"
    return Section("Dead and repeated units", before, figure, after, {})


def explained(found: Report, command: str) -> Section:
    """Whether norms or angles say which units the loss would miss."""
    title = "What a unit's worth goes with: its norm, its angles"
    alt = "For each layer two dots: rank correlations of units' worth with norm and with angle, the other being held."
    names = {"norm_alone": "norm, angles held", "angle_alone": "angles, norm held"}
    figure = figures.dots(found.why.drop(columns="reason")[:SHOWN], names, by="layer", ends=(-1.05, 1.05),
                          axis="partial rank correlation with worth", **_about("why", title, alt, command))  # fmt: skip
    by = found.why["by"].value_counts()
    after = (f"Norms say more in {counted(int(by.get('norm', 0)), 'layer')}, angles in "
             f"{counted(int(by.get('angle', 0)), 'layer')}, neither in {int(by.get('neither', 0))}. Angles: minus a "
             "unit's overlap with all others, its share of the frame potential.")  # fmt: skip
    before = "Is the unit that the loss would miss a long one, or one that points where no other does?"
    return Section("Norms against angles", before, figure, after, {"why": found.why, "units": found.units})


def graph(found: Report, command: str) -> Section:
    """The graph of one layer."""
    heading = "The graph of one layer"
    if found.edges.empty:
        return Section(
            heading,
            "",
            None,
            "No two units of a layer that could be drawn are nearer than four standard deviations of chance.",
            {},
        )
    from ..widgets.graph_still import settle

    layer = found.edges.layer.iloc[0]
    units = found.units[found.units.layer == layer]
    one, other = found.edges.one.to_numpy(int), found.edges.other.to_numpy(int)
    start = np.random.default_rng(0).normal(size=(len(units), 2)) * 0.3
    places = settle(start, one, other, found.edges.cosine.to_numpy(float))
    of = f"{len(units)} units of {called(layer)}"
    alt = f"The {of} as dots, their area by norm, linked where their cosine is above chance."
    figure = figures.web(
        found.edges, places, units, **_about("edges", f"Layer {layer}: units that point alike", alt, command)
    )
    pairs = f"{len(one):,} pairs of layer {layer}'s {len(units):,} units"
    after = f"{pairs} are nearer than four standard deviations of chance; what gathers says the same."
    before = "Units that point alike are pulled together:"
    return Section(heading, before, figure, after, {"edges": found.edges})


def spectra(found: Report, command: str) -> Section:
    """Stable ranks and spikes."""
    full = found.spectra[["rows", "columns"]].astype(float).min(axis=1)
    table = found.spectra.assign(rank=100 * found.spectra.stable_rank / full, above=100 * found.spectra.spikes / full)
    title = "How many directions a layer uses"
    alt = "For each layer two dots: its stable rank and its spikes, as shares of the rank that it could have."
    names = {"rank": "stable rank", "above": "singular values above noise"}
    figure = figures.dots(table.drop(columns="reason")[:SHOWN], names, by="layer",
                          axis="of the largest rank there is, %", ends=(-2, 102),
                          **_about("spectra", title, alt, command))  # fmt: skip
    after = "Noise of the same size has a stable rank near a quarter to one of the full rank, and no value above it."
    return Section("Stable rank and spikes", "The spectrum of each layer's weights:", figure, after,
                   {"spectra": found.spectra})  # fmt: skip


def gradients(found: Report, command: str) -> Section:
    """Coherence and diffs on a sample."""
    heading, before = "Coherence and diffs", "Do the samples agree on where the weights should go?"
    table = found.gradients
    if table.coherence.isna().all():
        return Section(heading, before, None, f"Not measured: {'; '.join(filter(None, table.reason))}.",
                       {"gradients": table})  # fmt: skip
    title, alt = "Coherence of the samples' gradients", "For each layer a dot: the coherence of the samples' gradients."
    figure = figures.dots(table.drop(columns="reason")[:SHOWN], {"unbiased": "coherence"}, by="layer", log=True,
                          axis="unbiased coherence", **_about("gradients", title, alt, command))  # fmt: skip
    whole = table[table.layer == ALL].iloc[0]
    after = (f"Of the whole net {whole.unbiased:.2g}; 0 where samples have nothing in common, 1 where all agree. "
             f"Diffs, the mean signs of single weights, spread by {whole.diffs:.2g}.")  # fmt: skip
    return Section(heading, before, figure, after, {"gradients": table})


def masks(found: Report, command: str) -> Section:
    """What a mask leaves where."""
    heading, kinds = "A mask at 10 %", "linear, convolutional and attention layers"
    before = f"If the largest tenth of all weights of {kinds} stayed, where would they lie?"
    table = found.masks.assign(kept_share=100 * found.masks.density.astype(float))
    title = "What a mask by magnitude at density 0.1 leaves of each layer"
    alt = "For each layer a dot: the share of its weights that stays."
    figure = figures.dots(table.drop(columns="reason")[:SHOWN], {"kept_share": "weights that stay"}, by="layer",
                          axis="weights of the layer that stay, %", ends=(-2, 102),
                          **_about("masks", title, alt, command))  # fmt: skip
    known = table[table.kept_share.notna()]
    if known.empty:
        return Section(heading, before, None, f"Not measured: {'; '.join(table.reason)}.", {"masks": found.masks})
    most, least = known.loc[known.kept_share.idxmax()], known.loc[known.kept_share.idxmin()]
    empty = int((known.kept == 0).sum())
    after = f"Most stays in {called(most.layer)}, {most.kept_share:.0f} %"
    after += f"; least in {called(least.layer)}, {least.kept_share:.2g} %." if len(known) > 1 else "."
    after += f" Nothing is left of {counted(empty, 'layer')}, so that nothing passes." if empty else ""
    return Section(heading, before, figure, after, {"masks": found.masks})


def savings(found: Report, command: str) -> Section:
    """What smaller copies save."""
    heading = "What leaving units out really saves"
    before = "Copies that are really smaller, built, counted and timed on this machine, against the whole net:"
    table = found.savings[found.savings.left_out.notna()].reset_index(drop=True)
    if len(table) < 2:
        said = "; ".join(filter(None, found.savings.reason)) or "no smaller copy"
        return Section(heading, before, None, f"Not measured: {said}.", {"savings": found.savings})
    columns = {"parameters": "parameters", "multiply_adds": "multiply-adds", "milliseconds": "milliseconds"}
    shares = pd.DataFrame({said: 100 * table[c].astype(float) / float(table[c][0]) for c, said in columns.items()})
    shares["accuracy"] = 100 * table.accuracy
    names = {k: f"{100 * part:.0f} % of what each layer can spare left out" for k, part in enumerate(table.left_out)}
    rows = shares[1:].T.rename(columns=names).rename_axis("of").reset_index()
    alt = "Parameters, multiply-adds, milliseconds and accuracy of smaller copies, in per cent of the whole net's."
    about = _about("savings", "Smaller copies, in per cent of the whole net (accuracy: its own)", alt, command)
    drawn = {name: name for name in rows.columns[1:]}
    figure = figures.dots(rows, drawn, by="of", axis="%", **about)
    last = table.iloc[-1]
    size = f"{shares.parameters.iloc[-1]:.0f} % of its parameters"
    ways = f"from {shares.accuracy.iloc[0]:.1f} to {shares.accuracy.iloc[-1]:.1f} %"
    after = (
        f"Without {last.units:,.0f} units the net has {size} and {redundancy_words.speed(last)}; accuracy goes {ways}, "
    )
    after += "without any retraining."
    return Section(heading, before, figure, after, {"savings": found.savings})


def _rest(found: Report) -> Section:
    """What was not measured, and what was asked for in time."""
    reasons = pd.concat(
        [
            t[t.reason != ""][["layer", "reason"]].assign(table=name)
            for name, t in found.tables().items()
            if "reason" in t
        ]
    )
    before = (
        f"{counted(len(reasons), 'row')} of all tables were not measured, each with its reason." if len(reasons) else ""
    )
    return Section("Not measured, and why", before, None, "", {"not measured": reasons, "prices": found.prices})
