"""Numbers of nets along something, a panel a measure: epochs, widths, layers."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from .style import COLOURS, GREY, MEANS_FROM, faint, finish, log_axis, look, summarise

MARKS = ("circle", "diamond", "square", "cross")
BOLD = 6  # pixels, of a line that is seen below others
BANDS = {"mean": "± sd", "median": "median, band: all"}  # what a line is of its nets -> what the legend says
NOT_RUN = "not run at this size yet"

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


def panels(
    table: pd.DataFrame,
    measures: Mapping[str, str],
    *,
    by: str,
    title: str,
    alt: str,
    file: str,
    command: str,
    records: Sequence[str] = (),
    x: str = "epoch",
    said: str | None = None,
    log: Collection[str] = (),
    floor: Mapping[str, float] | None = None,
    colours: Mapping[str, str] | None = None,
    ladder: str | None = None,
    of: str = "nets",
    shares: bool = False,
    bold: Collection[str] = (),
    hollow: Collection[str] = (),
    centre: str = "mean",
    nothing: str = "",
) -> Figure:
    """How numbers of nets change along `x`, one panel a measure, a colour for each value of `by`.

    Args:
        table: rows with `x`, seed, `by` and the measures; a measure may lack at some places.
        measures: column -> the words over its panel; those that end in "%" are shares, and no band leaves 0 to
            100 (`shares`: all are). log: those, `x` among them, on a logarithmic axis.
        said: the column whose values a reader sees under the pointer, `x` by default.
        floor: column -> a value at which its panel has a dotted line.
        colours: value of `by` -> colour, where it is no criterion with a colour of its own.
        ladder: a column whose values have lines of their own, a mark each, where neighbours on `x` differ in kind.
        of: what the legend counts, where seeds are not of nets.
        bold: values of `by` whose lines are wide and lie below all others, and show where these cover them.
        hollow: values of `by` whose marks are hollow and whose lines are thin.
        centre: what a line is of its nets, "mean" with one standard deviation or "median" with all of them as its band.
        nothing: why there is nothing to draw; "": it was not run.
    """
    figure, places = grid(measures)
    along, how = _axis(table, x, log), dict(colours=colours, said=said, ladder=ladder, of=of, bold=bold, hollow=hollow)
    named = set()  # lines that have their entry in the legend: from the first panel that has them
    for column, place in places.items():
        share = shares or measures[column].endswith(", %")
        named |= _draw(figure, table, by, x, column, place, named, share=share, centre=centre, **how)
        if share:  # room for a dot at 100 %, none for a tick beyond
            figure.update_yaxes(autorangeoptions=dict(clipmax=102, clipmin=None if column in log else -2), **place)
        figure.update_xaxes(title=x if lowest(place, places) else None, **place)
        figure.update_xaxes(**along, **place)
        figure.update_yaxes(**_upwards(table, column, log), **place)
        if column in (floor or {}) and len(table):
            figure.add_hline(y=floor[column], line=dict(color=GREY, dash="dot", width=2), **place)
    if table.empty:
        nothing_was_run(figure, nothing)
    columns = list(dict.fromkeys([by, x, said or x, *measures]))
    rows = table[["seed", *columns]] if len(table) else pd.DataFrame(columns=columns)
    return finish(figure, title, alt, file, command, rows, records)


def _draw(
    figure: Figure,
    table: pd.DataFrame,
    by: str,
    x: str,
    column: str,
    place: Mapping[str, int],
    named: Collection[object],
    *,
    colours: Mapping[str, str] | None,
    said: str | None,
    share: bool,
    ladder: str | None,
    of: str,
    bold: Collection[str],
    hollow: Collection[str],
    centre: str,
) -> set[object]:
    """Add the lines of one panel; those that were drawn. `named`: lines that have their entry in the legend already."""
    drawn, groups = set(), list(table.groupby(by, sort=False)) if len(table) else []
    for name, part in sorted(groups, key=lambda group: group[0] not in bold):
        if part[column].notna().any():
            kinds = list(part.groupby(ladder, sort=False)) if ladder else [(None, part)]
            for number, (_, rows) in enumerate(kinds):
                first, how = name not in named and not number, dict(share=share, of=of, centre=centre)
                for trace in lines(rows, x, column, name, look(name, colours), first, said, **how):
                    _stressed(trace, name in bold, name in hollow)
                    figure.add_trace(_marked(trace, number) if ladder else trace, **place)
            drawn.add(name)
    return drawn


def _stressed(trace, bold: bool, hollow: bool) -> None:
    """Make a line wide, or its marks hollow; a band stays as it is."""
    if bold and trace.fill != "toself":
        trace.update(line_width=BOLD, marker_size=2 * BOLD)
    if hollow and trace.fill != "toself":
        trace.update(mode="lines+markers", line_width=1, marker=dict(symbol="circle-open", size=7))


def _axis(table: pd.DataFrame, x: str, log: Collection[str]) -> dict[str, object]:
    """The axis along `x`: a logarithmic one has numbers that are there, where these are few, else plain ones."""
    if x not in log:
        return dict(type=None)
    if (ticks := _ticks(table[x]) if len(table) else None) is None:
        return log_axis(table[x] if len(table) else ())
    return dict(type="log", tickvals=ticks, ticktext=[f"{v:g}" for v in ticks])


def _upwards(table: pd.DataFrame, column: str, log: Collection[str]) -> dict[str, object]:
    """The axis of a measure."""
    if column not in log:
        return dict(type="linear")
    return log_axis(table[column] if len(table) else ())


def _marked(trace, number: int):
    """A line with marks of its own, thin between them, hollow where it is dashed; a band stays as it is."""
    if trace.fill != "toself":
        hollow = "-open" if trace.line.dash not in (None, "solid") else ""
        trace.update(
            mode="lines+markers", line_width=1, marker=dict(symbol=MARKS[number % len(MARKS)] + hollow, size=6)
        )
    return trace


def _ticks(values: pd.Series, most: int = 6) -> list[float] | None:
    """Of few small numbers on a logarithmic axis those there, as far as they have room; None: what plotly finds."""
    there = sorted(values.unique())
    if len(there) > 12 or there[0] <= 0 or there[-1] >= 10_000:
        return None
    room, found = np.log(there[-1] / there[0]) / most, there[:1]
    found += there[1:][-1:]
    for v in there[1:-1]:
        if min(abs(np.log(v / other)) for other in found) >= room:
            found.append(v)
    return sorted(found)


def grid(measures: Mapping[str, str]) -> tuple[Figure, dict[str, dict[str, int]]]:
    """An empty figure of two panels a row with these words over them, and each measure's row and column.

    Beside the last of an odd number stand no axes: on a phone they would be a panel with nothing in it.
    """
    from plotly.subplots import make_subplots

    across = min(2, len(measures))
    down = -(-len(measures) // across)
    gap = dict(horizontal_spacing=0.12, vertical_spacing=0.4 / down)
    cells = [[{} if k * across + column < len(measures) else None for column in range(across)] for k in range(down)]
    figure = make_subplots(rows=down, cols=across, specs=cells, subplot_titles=list(measures.values()), **gap)
    figure.update_layout(height=100 + 230 * down)
    return figure, {column: dict(row=1 + k // across, col=1 + k % across) for k, column in enumerate(measures)}


def lowest(place: Mapping[str, int], places: Mapping[str, Mapping[str, int]]) -> bool:
    """Whether no panel stands below this one, so that its axis is named."""
    return place["row"] == max(other["row"] for other in places.values() if other["col"] == place["col"])


def nothing_was_run(figure: Figure, why: str = "") -> None:
    """Say so in place of the panels, or why there is nothing to draw."""
    figure.layout.annotations = ()  # titles of panels that are not there would run into the words
    figure.add_annotation(text=why or NOT_RUN, showarrow=False, x=0.5, y=0.5, xref="paper", yref="paper")
    figure.update_xaxes(visible=False).update_yaxes(visible=False).update_layout(height=230)


def lines(
    part: pd.DataFrame, x: str, column: str, name: str, drawn: dict[str, str], first: bool, said: str | None = None,
    share: bool = False, of: str = "nets", centre: str = "mean",
) -> list:  # fmt: skip
    """The mean over nets along `x` with its band of one standard deviation, or as `centre` their median with a band
    that holds all of them; fewer than three nets are drawn one by one.

    `said` is the column whose values a reader sees, where `x` is only where they stand; `first` has the legend's entry,
    which counts `of`. share: the numbers are per cent of something, and the band ends where nothing can be.
    """
    import plotly.graph_objects as go

    part, said = part.dropna(subset=column), said or x
    seeds, common = part.groupby("seed"), dict(legendgroup=name, line=dict(width=2) | drawn)
    common["hovertemplate"] = said + " %{customdata}: %{y:.3g}<extra>" + name + "</extra>"
    if seeds.ngroups < MEANS_FROM:
        label = f"{name} ({seeds.ngroups} single {of if seeds.ngroups > 1 else of.removesuffix('s')})"
        return [go.Scatter(x=run[x], y=_short(run[column]), customdata=run[said], name=label,
                           showlegend=first and not k, **common)
                for k, (_, run) in enumerate(seeds)]  # fmt: skip
    middles = _middles(part, list(dict.fromkeys([x, said])), column, centre)
    if pd.api.types.is_numeric_dtype(middles[x]):
        middles = middles.sort_values(x)
    along, middle, low, high = (middles[name].to_numpy() for name in (x, "middle", "low", "high"))
    edge, inside = np.concatenate([high, low[::-1]]), faint(drawn["color"])
    edge = _short(edge.clip(0, 100) if share else edge)
    band = go.Scatter(x=np.concatenate([along, along[::-1]]), y=edge, fill="toself", fillcolor=inside, line_width=0,
                      mode="lines", hoverinfo="skip", showlegend=False, name=f"{name}: band",
                      legendgroup=name)  # fmt: skip
    label = f"{name} ({BANDS[centre]}, {seeds.ngroups} {of})"
    return [
        band,
        go.Scatter(x=along, y=_short(middle), customdata=middles[said], name=label, showlegend=first, **common),
    ]


def _middles(part: pd.DataFrame, by: Sequence[str], column: str, centre: str) -> pd.DataFrame:
    """What is drawn of a column, a row a group of `by`: middle, and low and high, the edges of its band."""
    if centre == "median":
        found = part.groupby(by, sort=False)[column].agg(middle="median", low="min", high="max")
        return found.reset_index()
    means = summarise(part, by, column)
    low, high = means["mean"] - means.sd, means["mean"] + means.sd
    low = low.clip(lower=part[column].min()) if (part[column] > 0).all() else low  # a logarithmic axis has no zero
    return means[by].assign(middle=means["mean"], low=low, high=high)


def _short(values: np.ndarray) -> list[float]:
    """Five digits are enough to draw, and weigh less in a page."""
    return [float(f"{value:.5g}") for value in values]


def paths(
    table: pd.DataFrame, *, by: str, title: str, alt: str, file: str, command: str, records: Sequence[str] = ()
) -> Figure:
    """The ways of single weights by epoch, a panel for each value of `by`: those of highest and of lowest |diff|.

    Args:
        table: rows with epoch, `by`, end ("highest" or "lowest"), weight (a number) and way.
    """
    import plotly.graph_objects as go

    kinds = list(table[by].unique()) if len(table) else []
    figure, places = grid({kind: kind for kind in kinds or ["none"]})
    hues, shown = {"highest": COLOURS["frame_potential"], "lowest": COLOURS["norm"]}, set()
    for (kind, end, _), part in table.groupby([by, "end", "weight"], sort=False) if len(table) else ():
        look = dict(
            line=dict(color=hues[end], width=1), opacity=0.7, mode="lines", legendgroup=end, showlegend=end not in shown
        )
        hover = f"{end} |diff|, epoch %{{x}}: %{{y:+.3g}}<extra></extra>"
        figure.add_trace(
            go.Scatter(x=part.epoch, y=part.way, name=f"{end} |diff|", hovertemplate=hover, **look), **places[kind]
        )
        shown.add(end)
    figure.update_xaxes(title="epoch").update_yaxes(title="change since epoch 0", col=1)
    figure.update_layout(height=380)
    if table.empty:
        nothing_was_run(figure)
    return finish(figure, title, alt, file, command, table, records)
