"""One net, layer by layer: dots on a line a layer, accuracy along orders, the graph of a layer's units."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from .panels import nothing_was_run
from .style import COLOURS, GREY, SPARE, colour, finish, log_axis, words

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

SYMBOLS = ("diamond", "circle-open", "square", "x-thin-open")
HUES = (COLOURS["frame_potential"], GREY, COLOURS["norm"], SPARE[0])


def dots(
    table: pd.DataFrame, measures: Mapping[str, str], *, by: str, axis: str, title: str, alt: str, file: str,
    command: str, log: bool = False, ends: tuple[float, float] | None = None,
) -> Figure:  # fmt: skip
    """A line a row of `table`, named by its column `by`, and a dot a measure on it; numbers that are missing have none.

    A name that is a number gets the column's beside it: layer 1.

    measures: column -> its name in the legend. ends: of the axis, which is logarithmic with `log` where the numbers
    span more than a factor of ten.
    """
    import plotly.graph_objects as go

    figure, names = go.Figure(), [_label(f"{by} {name}" if str(name).isdigit() else name) for name in table[by]]
    values = table[list(measures)].astype(float)
    if log := log and values.max(axis=None) > 10 * values.where(values > 0).min(axis=None):
        values = values.where(values > 0)  # a logarithmic axis has no others
    for name, row in zip(names, values.to_numpy(), strict=True):
        if np.isfinite(row).sum() > 1:
            line = dict(mode="lines", line=dict(color=GREY, width=1), showlegend=False, hoverinfo="skip")
            figure.add_trace(go.Scatter(x=[np.nanmin(row), np.nanmax(row)], y=[name] * 2, **line))
    for (column, said), symbol, hue in zip(measures.items(), SYMBOLS, HUES, strict=False):
        marker = dict(color=hue, size=10, symbol=symbol, line=dict(width=2, color=hue))
        hover = f"%{{y}}: {_label(said)} %{{x:.3g}}<extra></extra>"
        figure.add_trace(go.Scatter(x=_short(values[column]), y=names, mode="markers", name=_label(said), marker=marker,
                                    hovertemplate=hover))  # fmt: skip
    figure.update_xaxes(title=axis, range=ends, **(log_axis(values.stack()) if log else dict(type="linear")))
    figure.update_yaxes(categoryorder="array", categoryarray=names[::-1], type="category", automargin=True)
    figure.update_layout(height=150 + 26 * len(names), showlegend=len(measures) > 1)
    if not values.notna().any(axis=None):
        nothing_was_run(figure)
        figure.layout.annotations[0].text = "not measured: the reasons stand in the table"
    return finish(figure, title, alt, file, command, table)


def along(table: pd.DataFrame, *, title: str, alt: str, file: str, command: str, margin: float | None = None) -> Figure:
    """Accuracy of one net against units removed, a line an order; `margin`: the accuracy under which none should fall.

    table: rows with criterion, seed, removed and accuracy in [0, 1].
    """
    import plotly.graph_objects as go

    figure, named = go.Figure(), set()
    for (criterion, _), part in table.groupby(["criterion", "seed"], sort=False):
        name = "random order" if criterion == "random" else words(criterion)
        mode = "lines" if len(part) > 30 else "lines+markers"
        look = dict(color=colour(criterion), width=1.5 if criterion == "random" else 2.5)
        hover = "%{x} removed: %{y:.1f} %<extra>" + name + "</extra>"
        figure.add_trace(go.Scatter(x=part.removed.tolist(), y=_short(100 * part.accuracy), name=name, mode=mode,
                                    legendgroup=name, line=look, showlegend=name not in named,
                                    hovertemplate=hover))  # fmt: skip
        named.add(name)
    if margin is not None:
        figure.add_hline(y=100 * margin, line=dict(color=GREY, dash="dot", width=2))
    figure.update_xaxes(title="units removed").update_yaxes(title="accuracy, %", range=[-1, 101])
    figure.update_layout(height=420)
    return finish(figure, title, alt, file, command, table)


def web(
    edges: pd.DataFrame, places: np.ndarray, units: pd.DataFrame, *, title: str, alt: str, file: str, command: str
) -> Figure:
    """The graph of a layer: a dot a unit at its place [units, 2], its area by norm, a line a pair.

    edges: rows with one, other and cosine. units: rows with unit, norm and repeats, in the order of the places.
    """
    import plotly.graph_objects as go

    ends = np.full((len(edges), 3, 2), np.nan)
    ends[:, 0], ends[:, 1] = places[edges.one.to_numpy(int)], places[edges.other.to_numpy(int)]
    lines = dict(mode="lines", line=dict(color=GREY, width=1), hoverinfo="skip", showlegend=False)
    figure = go.Figure(go.Scatter(x=_short(ends[..., 0].ravel()), y=_short(ends[..., 1].ravel()), **lines))
    sizes = 5 + 12 * np.sqrt(units.norm.to_numpy(float) / max(float(units.norm.max()), 1e-30))
    for again, name, hue in ((False, "unit", COLOURS["norm"]), (True, "repeats another", COLOURS["frame_potential"])):
        mine = units.repeats.to_numpy(bool) == again
        told = np.stack([units.unit[mine], units.norm[mine]], 1)
        figure.add_trace(go.Scatter(
            x=_short(places[mine, 0]), y=_short(places[mine, 1]), mode="markers", name=name, customdata=told,
            marker=dict(color=hue, size=sizes[mine].round(1)),
            hovertemplate="unit %{customdata[0]:.0f}: norm %{customdata[1]:.3g}<extra></extra>",
        ))  # fmt: skip
    figure.update_xaxes(visible=False).update_yaxes(visible=False, scaleanchor="x").update_layout(height=480)
    return finish(figure, title, alt, file, command, edges)


def _label(name: object) -> str:
    """Text as plotly shows it letter by letter, which takes tags for markup."""
    return escape(str(name), quote=False)


def _short(values) -> list[float | None]:
    """Five digits are enough to draw; what is missing is None, as JSON has it."""
    return [float(f"{v:.5g}") if np.isfinite(v) else None for v in np.asarray(values, float)]
