"""Numbers behind verdicts: differences with their intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from .style import COLOURS, GREY, INK, SPARE, finish, log_axis, look

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


def differences(
    table: pd.DataFrame, *, title: str, axis: str, alt: str, file: str, command: str, records: Sequence[str] = (),
    ratios: bool = False,
) -> Figure:  # fmt: skip
    """Differences with their intervals, one row each, and a dot for every net.

    Args:
        table: rows with label, group (one colour each), mean, low, high, n, verdict and values (list, one a net).
        ratios: the numbers are natural logarithms of ratios, which are drawn as what they are: on a logarithmic axis,
            with a line at 1.
    """
    import plotly.graph_objects as go

    if table.empty:  # nothing is stored yet: axes without a row
        table = pd.DataFrame(columns=["label", "group", "mean", "low", "high", "n", "verdict", "values"])
    figure, rows = go.Figure(), table.drop(columns="values")
    table = _as_ratios(table) if ratios else table
    hues = dict(zip(table.group.drop_duplicates(), SPARE * len(table), strict=False))
    for _, row in table.iterrows():
        hue = COLOURS.get(row.group, hues[row.group])
        figure.add_traces([_nets(row, hue), _diamond(row, hue)])
    figure.add_vline(x=1 if ratios else 0, line=dict(color=INK, width=1))
    drawn = [1.0, *(value for values in table["values"] for value in values)]
    figure.update_xaxes(title=axis, **(log_axis(drawn) if ratios else {}))
    figure.update_yaxes(autorange="reversed", showgrid=False)
    figure.update_layout(height=130 + 34 * len(table))
    return finish(figure, title, alt, file, command, rows, records)


def _as_ratios(table: pd.DataFrame) -> pd.DataFrame:
    """Rows of logarithms as rows of what they are logarithms of."""
    numbers = {name: np.exp(table[name].astype(float)) for name in ("mean", "low", "high")}
    return table.assign(values=[np.exp(values).tolist() for values in table["values"]], **numbers)


def parts(table: pd.DataFrame, *, title: str, alt: str, file: str, command: str, records: Sequence[str] = ()) -> Figure:
    """The parts of claims as `verdicts.judge` gives them: a row each, a panel a unit, a colour a claim, a dot a net.

    Parts that were not run are left out. Right of zero is what a claim of a difference says; one with a margin allows
    for it on the left of zero, one of no difference on both sides; margins are not drawn.
    """
    from plotly.subplots import make_subplots

    table = table[table.n > 0]
    units = list(table.unit.unique()) or ["not run at this size yet"]
    counts = [max((table.unit == unit).sum(), 1) for unit in units]
    room = 34 * sum(counts) + 70 * len(units)
    figure = make_subplots(rows=len(units), row_heights=counts, vertical_spacing=70 / room if len(units) > 1 else 0)
    hues = dict(zip(table.claim.drop_duplicates(), SPARE * len(table), strict=False))
    for number, unit in enumerate(units, 1):
        for _, row in table[table.unit == unit].iterrows():
            for trace in (_nets(row, hues[row.claim]), _diamond(row, hues[row.claim])):
                figure.add_trace(trace, row=number, col=1)
        figure.add_vline(x=0, line=dict(color=INK, width=1), row=number, col=1)
        figure.update_xaxes(title=unit, row=number, col=1)
    figure.update_yaxes(autorange="reversed", showgrid=False, automargin=True)
    figure.update_layout(height=60 + room)
    return finish(figure, title, alt, file, command, table.drop(columns="values"), records)


def levels(
    table: pd.DataFrame,
    *,
    title: str,
    axis: str,
    alt: str,
    file: str,
    command: str,
    records: Sequence[str] = (),
    chance: float | None = None,
) -> Figure:
    """Percentages of nets with their intervals, a row a kind of net and a panel a group of kinds, a dot for every net.

    Args:
        table: rows with label (its colour is that of the criterion before the comma), panel, mean, low, high, n, values
            (list, one a net) and beside (the mean of a second number, an open circle; NaN: none).
        chance: where a dotted line stands.
    """
    import plotly.graph_objects as go
    from plotly.subplots import make_subplots

    if table.empty:
        table = pd.DataFrame(columns=["label", "panel", "mean", "low", "high", "n", "beside", "values"])
    kinds = list(table.panel.unique()) or ["not run at this size yet"]
    figure = make_subplots(cols=len(kinds), shared_yaxes=True, subplot_titles=kinds, horizontal_spacing=0.04)
    for _, row in table.iterrows():
        hue, place = look(row.label)["color"], dict(row=1, col=1 + kinds.index(row.panel))
        common = dict(y=[row.label], name=row.label, mode="markers", showlegend=False)
        for trace in (_nets(row, hue), _diamond(row, hue)):
            figure.add_trace(trace, **place)
        ring = dict(
            marker=dict(color=hue, size=11, symbol="circle-open", line_width=2),
            hovertemplate="beside it: %{x:.3g}<extra></extra>",
        )
        figure.add_trace(go.Scatter(common | dict(x=[row.beside]) | ring), **place)
    if chance is not None:
        figure.add_vline(x=chance, line=dict(color=GREY, dash="dot", width=2))
    figure.update_xaxes(title=axis, range=[0, 101])
    rows = list(dict.fromkeys(table.label))
    figure.update_yaxes(
        categoryorder="array", categoryarray=rows, autorange="reversed", showgrid=False, automargin=True
    )
    figure.update_layout(height=150 + 34 * len(rows))
    return finish(figure, title, alt, file, command, table.drop(columns="values"), records)


def _nets(row: pd.Series, hue: str):
    """A dot for every net of a row."""
    import plotly.graph_objects as go

    look = dict(color=hue, opacity=0.45, size=7)
    return go.Scatter(x=row["values"], y=[row.label] * len(row["values"]), name="one net", mode="markers", marker=look,
                      showlegend=False, hovertemplate="one net: %{x:.3g}<extra></extra>")  # fmt: skip


def _diamond(row: pd.Series, hue: str):
    """A mean with its interval, which is left out where there are too few nets for one."""
    import plotly.graph_objects as go

    finite = np.isfinite([row.low, row.high]).all()
    ends = f"[{row.low:.3g}, {row.high:.3g}]" if finite else "too few nets for an interval"
    reach = dict(array=[row.high - row["mean"]], arrayminus=[row["mean"] - row.low]) if finite else dict(array=[0])
    marker = dict(color=hue, size=11, symbol="diamond")
    hover = f"{row.get('verdict', 'mean')}: {row['mean']:.3g} {ends}, n = {row.n}<extra></extra>"
    error = dict(type="data", symmetric=False, thickness=2.5, **reach)
    return go.Scatter(x=[row["mean"]], y=[row.label], error_x=error, mode="markers", name=row.label, showlegend=False,
                      marker=marker, hovertemplate=hover)  # fmt: skip
