"""Numbers of nets over two quantities at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from .panels import nothing_was_run
from .style import GREY, finish, log_axis, summarise

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


def plane(
    table: pd.DataFrame,
    *,
    x: str,
    y: str,
    value: str,
    labels: Mapping[str, str],
    title: str,
    alt: str,
    file: str,
    command: str,
    records: Sequence[str] = (),
) -> Figure:
    """A dot for every pair of `x` and `y`, both on logarithmic axes; its colour is the mean of `value` over nets.

    Args:
        table: rows with seed, `x`, `y` and `value`. labels: column -> words with the unit.
    """
    import plotly.graph_objects as go

    rows = summarise(table, [x, y], value) if len(table) else pd.DataFrame(columns=[x, y, "mean", "sd", "nets"])
    figure = go.Figure(_dots(rows, x, y, value, labels) if len(rows) else None)
    if len(rows):
        figure.update_xaxes(title=labels[x], **_axis(rows[x])).update_yaxes(title=labels[y], **_axis(rows[y]))
        figure.update_layout(height=460, showlegend=False)
    else:
        nothing_was_run(figure)
    return finish(figure, title, alt, file, command, rows, records)


def _axis(values: pd.Series) -> dict[str, object]:
    """A logarithmic axis from below the smallest to above the largest, so that no dot lies on it, with few ticks."""
    low, high = np.log10(values.min()), np.log10(values.max())
    room = max(0.1, 0.08 * (high - low))
    return log_axis(values) | dict(range=[float(low - room), float(high + room)])


def _dots(rows: pd.DataFrame, x: str, y: str, value: str, labels: Mapping[str, str]):
    import plotly.graph_objects as go

    marker = dict(size=24, color=rows["mean"].round(2), colorscale="Cividis", line=dict(width=1, color=GREY),
                  colorbar=dict(title=dict(text=labels[value], side="right")))  # fmt: skip
    places = f"%{{x:,}} {labels[x]}<br>%{{y:,}} {labels[y]}"
    told = f"{places}<br>{labels[value]} %{{marker.color:.1f}}<br>nets: %{{customdata}}"
    return go.Scatter(x=rows[x], y=rows[y], customdata=rows.nets, mode="markers", marker=marker,
                      hovertemplate=told + "<extra></extra>")  # fmt: skip
