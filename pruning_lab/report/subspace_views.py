"""What a page about subspaces shows and says: figures' captions, the toy, the explorer's tables, sentences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np
import pandas as pd

from ..experiments import Spectrum, Train
from ..figures.style import INK
from ..metrics import spectrum
from ..running.lines import ENOUGH
from ..widgets import Explorer
from . import reads
from . import subspaces as read
from .diffs import some
from .evidence import Evidence
from .numbers import counted
from .page import Page, show
from .reads import run

BINS = 48
SERIES = {"weights": "weights", "noise": "noise at the start", "kept": "kept of the update", "gone": "thrown away"}
STYLES = {"weights": "bar", "noise": "line", "kept": "dots", "gone": "dots"}
HUES = {"weights": "#808080", "noise": INK, "kept": "#0072B2", "gone": "#E69F00"}
TOY, STRENGTHS = (200, 400), tuple(np.round(np.arange(0, 3.01, 0.25), 2))


def planted() -> tuple[pd.DataFrame, pd.DataFrame]:
    """The toy: one direction of some strength added to noise, 200 x 400, of variance one over its larger side.

    Rows of strength, curve, x (eigenvalue of W W^T), y; and a caption a strength, by the library's own edge.
    """
    rows, columns = TOY
    draws = np.random.default_rng(0)
    noise, left, right = (draws.standard_normal(size) for size in (TOY, rows, columns))
    noise, variance = noise / np.sqrt(columns), 1 / columns
    direction = np.outer(left, right) / np.linalg.norm(left) / np.linalg.norm(right)
    edges, tables, told = np.linspace(0, 11, 89), [], []
    grid = np.linspace(*spectrum.bulk_edges(rows, columns, variance), 121)
    for s in STRENGTHS:
        values = spectrum.singular_values(noise + s * direction)
        heights = np.histogram(values**2, edges)[0] / rows / (edges[1] - edges[0])
        middles = (edges[1:] + edges[:-1]) / 2
        tables.append(pd.DataFrame(dict(strength=s, curve="eigenvalues", x=middles, y=heights)))
        line = spectrum.bulk_density(grid, rows, columns, variance)
        tables.append(pd.DataFrame(dict(strength=s, curve="noise", x=grid, y=line)))
        above = spectrum.spikes(values, rows, columns, variance)
        text = f"{above} above the edge, the largest at {values.max() ** 2:.2f}"
        told.append(dict(strength=s, caption=text))
    return pd.concat(tables), pd.DataFrame(told)


def toy() -> Explorer:
    """The planted direction as a chart with a slider for its strength."""
    table, told = planted()
    return Explorer(
        table, ("strength",), series="curve", x="x", y="y", captions=told, start=dict(strength=2.0),
        styles={"eigenvalues": "bar", "noise": "line"}, colours={"eigenvalues": "#0072B2", "noise": INK},
        title="Noise and one planted direction", name="planted",
        labels=dict(x="eigenvalue of W W^T", y="density", noise="noise alone (Marchenko and Pastur)",
                    strength="strength of the planted direction"),
    )  # fmt: skip


def about(page: Page, file: str, words: str, found: Evidence | None = None, wide: bool = True) -> dict[str, str]:
    """What a figure of this page carries; `wide`: it is of the widest nets of two hidden layers."""
    found = page.shown if found is None else found
    nets = f"{read.main_width(found):,} wide" if wide else "One hidden layer"
    if wide and (out := read.left_out(found)):
        nets += f" ({counted(out, 'net')} short of the margin left out)"
    title = f"{nets}, {found.data()}: {words}" if found else words
    return page.about(f"{file}-{found.profile}", title=title, alt=f"{words}, by net.", found=found)


def explorers(page: Page) -> tuple[Explorer, Explorer] | None:
    """Spectrum and accuracy of one net by layer, epoch and k; None: not run."""
    found = page.home(_ranked)
    seen = [e for e in read.spectra(found) if e.ranks and e.net.width == read.main_width(found)]
    if not seen:
        return None
    e = seen[0]
    start = dict(layer=read.LAYERS["fc1"], epoch=_epochs(e)[-1], k=_nearest(e.ranks))
    controls = ("layer", "epoch", "k")
    left = Explorer(
        pd.concat(_spectra(e)), controls, series="curve", x="value", y="density", styles=STYLES, colours=HUES,
        start=start, title="Singular values of one layer", name="spectrum",
        labels=SERIES | dict(value="singular value", density="density"),
    )  # fmt: skip
    right = Explorer(
        pd.concat(_accuracies(e)), controls, series="curve", x="rank", y="accuracy", log=["x"],
        styles={"by k": "line", "at once": "line", "here": "dots", "whole": "dashed"},
        colours={"by k": "#0072B2", "at once": "#009E73", "here": "#D55E00", "whole": "#808080"},
        start=start, title="Accuracy with k directions of the update left", name="accuracy",
        labels={"rank": "k", "accuracy": "test accuracy, %", "by k": "this layer alone", "here": "at this k",
                "at once": read.PLACES[read.EVERY], "whole": read.WHOLE},
    )  # fmt: skip
    return left, right


def _ranked(found: Evidence) -> bool:
    return any(e.ranks for e in read.spectra(found))


def linked(page: Page) -> None:
    """Put both charts on the page; what one is set to the other follows."""
    from ipywidgets import jslink

    if (pair := explorers(page)) is not None:
        jslink((pair[0], "choice"), (pair[1], "choice"))
        used, command = reads.used(), page.command(page.home(_ranked))
        for chart in pair:
            show(chart, command, used)


def _epochs(e: Spectrum) -> list[float]:
    """The epochs of a net's looks, at most eight of them."""
    every = run(e).table.epoch.unique()
    return [round(float(every[k]), 2) for k in some(len(every))]


def _nearest(ranks: tuple[int, ...]) -> int:
    return min(ranks, key=lambda k: abs(k - read.K))


def _looks(e: Spectrum) -> Iterator[tuple[dict[str, object], int, int, pd.Series]]:
    """Every layer and epoch that is drawn: its controls, the layer's place, the look's, its row."""
    table, record = run(e).table, list(run(e).table.epoch.unique())
    for k, layer in enumerate(e.layers):
        for epoch in _epochs(e):
            t = int(np.argmin(np.abs(np.array(record) - epoch)))
            row = table[(table.layer == layer) & (table.epoch == record[t])].iloc[0]
            yield dict(layer=read.LAYERS.get(layer, layer), epoch=epoch), k, t, row


def _spectra(e: Spectrum) -> Iterator[pd.DataFrame]:
    arrays = run(e).arrays
    tops = {n: max(arrays[f"{n}.values"].max(), arrays[f"{n}.update"].max()) for n in e.layers}
    for where, k, t, row in _looks(e):
        layer = e.layers[k]
        edges = np.linspace(0, 1.02 * tops[layer], BINS + 1)
        heights = np.histogram(arrays[f"{layer}.values"][t], edges, density=True)[0]
        middles = (edges[1:] + edges[:-1]) / 2
        yield pd.DataFrame(where | dict(k=np.nan, curve="weights", value=middles, density=heights))
        grid = np.linspace(edges[1] / 4, edges[-1], 160)
        line = 2 * grid * spectrum.bulk_density(grid**2, int(row.rows), int(row.columns), row.start_variance)
        yield pd.DataFrame(where | dict(k=np.nan, curve="noise", value=grid, density=line))
        update = arrays[f"{layer}.update"][t][: max(e.ranks)]
        low = -0.04 * heights.max()
        for rank in e.ranks:
            for curve, part in (("kept", update[:rank]), ("gone", update[rank:])):
                if len(part):
                    yield pd.DataFrame(where | dict(k=rank, curve=curve, value=part, density=low))


def _accuracies(e: Spectrum) -> Iterator[pd.DataFrame]:
    projected = 100 * run(e).arrays["projected"]
    for where, k, t, row in _looks(e):
        found = projected[t, 1 + k]
        yield pd.DataFrame(where | dict(k=np.nan, curve="by k", rank=e.ranks, accuracy=found))
        at_once = projected[t, 0]  # the first of the places
        yield pd.DataFrame(where | dict(k=np.nan, curve="at once", rank=e.ranks, accuracy=at_once))
        ends = [min(e.ranks), max(e.ranks)]
        yield pd.DataFrame(where | dict(k=np.nan, curve="whole", rank=ends, accuracy=100 * row.accuracy))
        for rank, accuracy in zip(e.ranks, found, strict=True):
            yield pd.DataFrame(where | dict(k=rank, curve="here", rank=[rank], accuracy=accuracy))


# sentences


def sentences(page: Page) -> dict[str, str]:
    """What the page says of its records, by the names that its prose has for it."""
    found = page.shown
    return dict(rank_read=_rank(found), residual_read=_residual(found), signal_read=_signal(found),
                distance_read=_distance(found), stopped=stopped(found))  # fmt: skip


def numbers(page: Page) -> dict[str, str]:
    """What the answer's sentences ask for: points that the first layer loses at k = 16, per cent per doubling."""
    found = page.shown
    lost = read.drops(found).get(read.LAYERS["fc1"], pd.Series(dtype=float))
    moved = next(iter(read.distances(read.by_width(found), read.widths_of(page)).values()), pd.Series(dtype=float))
    fall = 100 * (np.exp(-abs(moved.mean())) - 1) if len(moved) else np.nan
    return dict(points=f"{-lost.mean():.1f}", fall=f"{abs(fall):.0f}")


def few(page: Page) -> str:
    """Which nets of the plan that is shown there are fewer than three of, in a sentence."""
    planned = Counter(_named(e.net) for e in page.plan(page.shown.profile) if isinstance(e, Spectrum))
    have = Counter(_named(e.net) for e in page.shown.of(Spectrum))
    short = [f"{name} ({have[name]})" for name, count in planned.items() if have[name] < min(count, ENOUGH)]
    return f"Fewer than three nets: {', '.join(short)}." if short else ""


def _named(net: Train) -> str:
    layers = "two hidden layers" if net.recipe.stop_margin is not None else "one hidden layer"
    return f"{layers}, {net.width:,} wide"


def stopped(found: Evidence) -> str:
    """After how many epochs the nets stopped, and how many did not get to their margin or loss."""
    told = []
    for deep, what in ((True, "their margin"), (False, "their loss")):
        nets = [e.net for e in read.spectra(found, deep)]
        if nets:
            ends = [int(run(net).table.epoch.iloc[-1]) for net in nets]
            got = sum(map(read.reached, nets))
            span = f"{min(ends)}" if min(ends) == max(ends) else f"{min(ends)} to {max(ends)}"
            told.append(f"{got} of {len(nets)} nets reached {what}, after {span} epochs")
    return "; ".join(told) + "." if told else "Not run at this size yet."


def _rank(found: Evidence) -> str:
    table = read.by_rank(found)
    at = table[table.k == read.K].groupby("kept")[read.EVERY].mean() if len(table) else {}
    if not len(at):
        return "Not run at this size yet."
    update, chance, own = (at[name] for name in read.KEPT.values())
    return (
        f"With {read.K} leading directions of the update in both layers, accuracy is {update:.1f} %; with {read.K} "
        f"random ones {chance:.1f} %; with the weights themselves cut to their own {read.K}, {own:.1f} %."
    )


def _residual(found: Evidence) -> str:
    table = read.thrown_away(found)
    at = table[(table.k == read.K) & (table.what == "thrown away")] if len(table) else table
    if at.empty:
        return "Not run at this size yet."
    said = [f"{at[layer].mean():.2f} in the {name}" for layer, name in read.LAYERS.items()]
    return f"At k = {read.K} what is thrown away has, over the norm of W, {' and '.join(said)}."


def _signal(found: Evidence) -> str:
    table = read.by_epoch(found)
    if table.empty:
        return "Not run at this size yet."
    said = []
    for name, part in table.groupby("layer", sort=False):
        last = part.sort_values("epoch").groupby("seed").tail(1)
        text = (
            f"{last.spikes.mean():.0f} eigenvalues above the edge in the {name}, the largest {last.largest.mean():.1f}"
        )
        said.append(f"{text} times it, the bulk at {last.bulk.mean():.3f} of the start's variance")
    return f"At the end there are {'; '.join(said)}."


def unmoved(found: Evidence) -> str:
    """Why there is no distance of nets of one hidden layer to draw: none was run, or none got to its loss; else ""."""
    if len(read.by_width(found)):
        return ""
    nets = len(read.spectra(found, deep=False))
    return f"none of {counted(nets, 'net')} reached its loss" if nets else "not run at this size yet"


def _distance(found: Evidence) -> str:
    table = read.by_width(found)
    if table.empty:
        return f"{unmoved(found).capitalize()}."
    means = table.groupby("width")[list(read.MOVES)].mean()
    narrow, wide = means.index[[0, -1]]
    a, b = means.distance[[narrow, wide]]
    return f"From width {narrow:,} to {wide:,}, the distance goes from {a:.2f} to {b:.2f}."
