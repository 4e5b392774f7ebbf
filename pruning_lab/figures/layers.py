"""A layer while it trains."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from .style import COLOURS, GREY, MEANS_FROM, faint, finish, summarise

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


def histories(table: pd.DataFrame, measures: Mapping[str, str], *, title: str, alt: str, file: str, command: str) -> Figure:
    """How numbers of a layer change while it trains, one panel a measure, trained weights beside permuted ones.

    Args:
        table: rows with iteration, seed, weights ("trained" or "permuted") and the measures.
        measures: column -> the words over its panel.
    """
    from plotly.subplots import make_subplots

    across, hues = 2, {"trained": COLOURS["norm"], "permuted": GREY}
    down = -(-len(measures) // across)
    gaps = dict(horizontal_spacing=0.12, vertical_spacing=0.16)
    figure = make_subplots(rows=down, cols=across, subplot_titles=list(measures.values()), **gaps)
    columns = ["weights", "iteration", *measures]
    for number, column in enumerate(measures):
        place = dict(row=1 + number // across, col=1 + number % across)
        for weights, hue in hues.items():
            part = table[table.weights == weights] if len(table) else table
            for trace in _history(part, column, weights, hue, first=number == 0) if len(part) else ():
                figure.add_trace(trace, **place)
        figure.update_xaxes(**_counted(table.iteration.max() if len(table) else 1), **place)
        figure.update_xaxes(title="iteration" if place["row"] == down else None, **place)
    if table.empty:
        figure.add_annotation(text="not run at this size yet", showarrow=False, x=0.5, y=0.5, xref="paper", yref="paper")
        figure.update_yaxes(visible=False)
    figure.update_layout(height=100 + 230 * down if len(table) else 230)
    rows = table[["seed", *columns]] if len(table) else pd.DataFrame(columns=columns)
    return finish(figure, title, alt, file, command, rows)


def _history(part: pd.DataFrame, column: str, name: str, hue: str, first: bool) -> list:
    """The mean over nets with its band of one standard deviation; fewer than three nets are drawn one by one."""
    import plotly.graph_objects as go

    seeds, common = part.groupby("seed"), dict(legendgroup=name, line_width=2)
    hover = "iteration %{customdata}: %{y:.3g}<extra>" + name + "</extra>"
    if seeds.ngroups < MEANS_FROM:
        label = f"{name} ({seeds.ngroups} single net{'s' * (seeds.ngroups > 1)})"
        return [go.Scatter(x=_past_zero(run.iteration), y=run[column], customdata=run.iteration, name=label, line_color=hue,
                           showlegend=first and not k, hovertemplate=hover, **common)
                for k, (_, run) in enumerate(seeds)]  # fmt: skip
    means = summarise(part, ["iteration"], column)
    x, mean, sd = _past_zero(means.iteration), means["mean"].to_numpy(), means.sd.to_numpy()
    edge = np.concatenate([mean + sd, (mean - sd)[::-1]]).round(5)
    band = go.Scatter(x=np.concatenate([x, x[::-1]]), y=edge, fill="toself", fillcolor=faint(hue), line_width=0, mode="lines",
                      hoverinfo="skip", showlegend=False, name=f"{name}: band", legendgroup=name)  # fmt: skip
    line = go.Scatter(x=x, y=mean.round(5), customdata=means.iteration, name=f"{name} (± sd, {seeds.ngroups} nets)", line_color=hue,
                      showlegend=first, hovertemplate=hover, **common)  # fmt: skip
    return [band, line]


def _past_zero(iterations: pd.Series) -> np.ndarray:
    """Places on a logarithmic axis, on which iteration 0 stands half a step before 1."""
    return iterations.to_numpy(dtype=float).clip(0.5)


def _counted(last: float) -> dict:
    """A logarithmic axis from iteration 0 on."""
    powers = [10**k for k in range(1 + int(np.log10(max(last, 1))))]
    return dict(type="log", tickvals=[0.5, *powers], ticktext=["0", *(f"{p:,}" for p in powers)])
