"""One number of each net in two or three arms, on one line: how far the arms lie apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from .panels import nothing_was_run
from .style import GREY, finish, log_axis, look

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


def dumbbells(
    table: pd.DataFrame,
    *,
    by: str,
    value: str,
    axis: str,
    title: str,
    alt: str,
    file: str,
    command: str,
    records: Sequence[str] = (),
    hollow: str = "",
    reason: str = "",
) -> Figure:
    """A line a kind of net on a logarithmic axis: a dot a net, a diamond at each arm's mean, a bar between these.

    Args:
        table: rows with label (the kind of net), seed, `by` (the arm; its colour is its own) and `value`, positive.
        axis: what is along the line.
        hollow: a column that is true for nets whose dots are hollow, and an arm's diamond where all of them are;
            `reason` says in the legend why.
    """
    import plotly.graph_objects as go

    figure, shown = go.Figure(), set()
    table = table if len(table) else pd.DataFrame(columns=["label", "seed", by, value])
    means = table.assign(log=np.log(table[value].astype(float))).groupby(["label", by], sort=False).log.mean()
    means = np.exp(means)
    for label, ends in means.groupby(level="label", sort=False):
        line = dict(mode="lines", line=dict(color=GREY, width=3), showlegend=False, hoverinfo="skip")
        figure.add_trace(go.Scatter(x=[ends.min(), ends.max()], y=[label] * 2, name=label, **line))
    for (label, arm), part in table.groupby(["label", by], sort=False):
        empty = part[hollow].astype(bool) if hollow else pd.Series(False, index=part.index)
        for trace in _dots(label, arm, part[value], means[label, arm], arm not in shown, empty):
            figure.add_trace(trace)
        shown.add(arm)
    if hollow and len(table) and table[hollow].any():
        ring = dict(color=GREY, size=9, symbol="circle-open", line_width=2)
        figure.add_trace(go.Scatter(x=[None], y=[None], mode="markers", marker=ring, name=reason, hoverinfo="skip"))
    figure.update_xaxes(**log_axis(table[value]), title=axis)
    rows = list(dict.fromkeys(table.label))
    figure.update_yaxes(categoryorder="array", categoryarray=rows[::-1], automargin=True, showgrid=False)
    figure.update_layout(height=170 + 44 * len(rows))
    if table.empty:
        nothing_was_run(figure)
    return finish(figure, title, alt, file, command, table, records)


def _dots(label: str, arm: str, values: pd.Series, mean: float, first: bool, empty: pd.Series) -> list:
    """Faint dots of single nets and the diamond of their mean; `first` has the legend's entry, `empty` are hollow."""
    import plotly.graph_objects as go

    hue, common = look(arm)["color"], dict(mode="markers", legendgroup=arm)
    symbols = ["circle-open" if one else "circle" for one in empty]
    middle_as = "diamond-open" if len(empty) and empty.all() else "diamond"
    look_of = dict(color=hue, size=7, opacity=0.5, symbol=symbols if any(empty) else "circle")
    dots = go.Scatter(x=list(values), y=[label] * len(values), marker=look_of, name=arm,
                      showlegend=False, hovertemplate="one net: %{x:.3g}<extra></extra>", **common)  # fmt: skip
    told = f"mean of {len(values)}: %{{x:.3g}}<extra>{arm}</extra>"
    middle = go.Scatter(x=[mean], y=[label], marker=dict(color=hue, size=12, symbol=middle_as), name=arm,
                        showlegend=first, hovertemplate=told, **common)  # fmt: skip
    return [dots, middle]
