"""Units of a layer: accuracy as they go, what each is worth, and a toy of their angles."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ..criteria import whose
from .style import COLOURS, GREY, MEANS_FROM, colour, faint, family_name, finish, line_name, summarise

LINE = ["criterion", "remove"]

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


def unit_curves(
    tables: Mapping[str, pd.DataFrame],
    *,
    title: str,
    alt: str,
    file: str,
    command: str,
    records: Sequence[str] = (),
    chance: float = 0.1,
    published: Mapping[str, Mapping[int, float]] | None = None,
    published_name: str = "published",
    shown: Collection[str] = (),
    dead: int = 0,
) -> Figure:
    """Accuracy against the number of units removed, one panel a table, one line a criterion and direction.

    Args:
        tables: panel title -> rows with criterion, remove, removed, accuracy in [0, 1] and seed.
        published: "criterion/remove" -> {units removed: accuracy in %}, drawn as crosses on the first panel.
        shown: criteria of ours whose lines, lowest first, are seen without a choice in the legend.
        dead: so many units of the first panel never fire; the cuts up to there are shaded.
    """  # fmt: skip
    from plotly.subplots import make_subplots

    figure = make_subplots(
        cols=len(tables),
        subplot_titles=list(tables) if len(tables) > 1 else None,
        shared_yaxes=True,
        horizontal_spacing=0.05,
    )
    for column, table in enumerate(tables.values(), 1):
        _panel(figure, column, table, shown)
    _name(figure, tables)
    if dead:
        words = dict(text=f"as many as never fire: {dead}", showarrow=False, x=dead / 2, y=100 * chance)
        figure.add_vrect(x0=0, x1=dead, fillcolor=GREY, opacity=0.15, line_width=0, layer="below", row=1, col=1)
        figure.add_annotation(**words, row=1, col=1)
    for key, points in (published or {}).items():
        figure.add_trace(_crosses(key, points, published_name, first=key == next(iter(published))), row=1, col=1)
    figure.update_yaxes(range=[100 * chance - 5, 101])
    figure.update_yaxes(title="test accuracy, %", row=1, col=1)
    figure.update_layout(height=480 if len(tables) == 1 else 440)
    by = ["criterion", "remove", "removed"]
    rows = [summarise(table, by, "accuracy").assign(panel=name) for name, table in tables.items() if len(table)]
    rows = pd.concat(rows) if rows else pd.DataFrame(columns=by)
    return _keyed(finish(figure, title, alt, file, command, rows, records), tables)


def _keyed(figure: Figure, tables: Mapping[str, pd.DataFrame]) -> Figure:
    """Say over the legend, once for all lines, what dashes, bands and thin lines are, and of how many nets."""
    nets = [part.seed.nunique() for table in tables.values() if len(table) for _, part in table.groupby(LINE)]
    if not nets:
        return figure
    many = [n for n in nets if n >= MEANS_FROM]
    told = ["solid: lowest first, dashed: highest first"]
    told += [f"lines: means, bands: ± sd, {_spread(many)} nets"] if many else []
    told += [f"thin lines: single nets, {_spread(few)} each"] if (few := [n for n in nets if n < MEANS_FROM]) else []
    return figure.update_layout(legend_title=dict(text="<br>".join(told), side="top", font_size=13))


def _spread(counts: Collection[int]) -> str:
    low, high = min(counts), max(counts)
    return f"{low}" if low == high else f"{low} to {high}"


def _name(figure: Figure, tables: Mapping[str, pd.DataFrame]) -> None:
    """One entry in the legend for every criterion: it switches both of its orders, in every panel."""
    import plotly.graph_objects as go

    for criterion in dict.fromkeys(c for table in tables.values() if len(table) for c in table.criterion):
        own = [trace for trace in figure.data if trace.legendgroup == criterion]
        seen = True if any(trace.visible is True for trace in own) else "legendonly"
        figure.add_trace(go.Scatter(x=[None], y=[None], mode="lines", name=family_name(criterion), hoverinfo="skip",
                                    legendgroup=criterion, showlegend=True, visible=seen,
                                    line=dict(color=colour(criterion), width=2.5)), row=1, col=1)  # fmt: skip


def _panel(figure: Figure, column: int, table: pd.DataFrame, shown: Collection[str]) -> None:
    """Draw one table."""
    for line, part in table.groupby(LINE, sort=False) if len(table) else ():
        seen = whose(line[0]) != "ours" or (line[0] in shown and line[1] == "lowest")
        for trace in _line(*line, part, seen=seen):
            figure.add_trace(trace, row=1, col=column)
    if table.empty:
        words = dict(text="not run at this size yet", showarrow=False, x=0.5, y=50, xref="x domain")
        figure.add_annotation(**words, row=1, col=column)
    figure.update_xaxes(title="units removed", row=1, col=column)


def _line(criterion: str, remove: str, part: pd.DataFrame, seen: bool) -> list:
    """A mean with its band, from three nets on; fewer are drawn one by one."""
    import plotly.graph_objects as go

    name, hue, seeds = line_name(criterion, remove), colour(criterion), part.groupby("seed")
    dash = "solid" if remove == "lowest" else "dash"
    common = dict(legendgroup=criterion, showlegend=False, visible=True if seen else "legendonly")
    if seeds.ngroups < MEANS_FROM:
        runs = [run.groupby("removed").accuracy.mean() * 100 for _, run in seeds]
        title = f"{name} ({seeds.ngroups} single net{'s' * (seeds.ngroups > 1)})"
        return [go.Scatter(x=run.index, y=run.round(3), name=title,
                           line=dict(color=hue, width=1.5, dash=dash),
                           hovertemplate="%{x} removed: %{y:.1f} %<extra>" + name + "</extra>", **common)
                for run in runs]  # fmt: skip
    means = summarise(part, ["removed"], "accuracy")
    x, mean, sd = means.removed.to_numpy(), 100 * means["mean"].to_numpy(), 100 * means["sd"].to_numpy()
    line = go.Scatter(x=x, y=mean.round(3), customdata=sd.round(3), name=f"{name} (± sd, {seeds.ngroups} nets)",
                      line=dict(color=hue, width=2.5, dash=dash),
                      hovertemplate="%{x} removed: %{y:.1f} % (sd %{customdata:.1f})<extra>" + name + "</extra>",
                      **common)  # fmt: skip
    edge = np.concatenate([mean + sd, (mean - sd)[::-1]]).clip(0, 100).round(2)
    band = go.Scatter(x=np.concatenate([x, x[::-1]]), y=edge, fill="toself", fillcolor=faint(hue), line_width=0,
                      mode="lines", hoverinfo="skip", name=f"{name}: band", **common)  # fmt: skip
    return [band, line]


def _crosses(key: str, points: Mapping[int, float], name: str, first: bool):
    import plotly.graph_objects as go

    criterion, remove = key.split("/")
    return go.Scatter(x=list(points), y=list(points.values()), mode="markers", name=name, legendgroup="published",
                      showlegend=first,
                      marker=dict(color=colour(criterion), symbol="x-thin", size=11,
                                  line=dict(width=2.5, color=colour(criterion))),
                      hovertemplate=f"{name}: {line_name(criterion, remove)}, "
                      + "%{x} removed: %{y} %<extra></extra>")  # fmt: skip


def importance(
    table: pd.DataFrame, *, title: str, alt: str, file: str, command: str, records: Sequence[str] = ()
) -> Figure:
    """Norm against share of frame potential, a dot a unit, coloured by what its removal alone adds to the test loss.

    Args:
        table: rows with unit, norm, share and loss_increase.
    """
    import plotly.graph_objects as go

    if table.empty:  # not run yet: axes without a dot
        table = pd.DataFrame(columns=["unit", "norm", "share", "loss_increase"], dtype=float)
    top = float(table.loss_increase.quantile(0.98)) if len(table) else 1.0
    text = (
        "unit %{customdata[0]}: norm %{x:.3g}, share %{y:.3g} times the mean, loss +%{customdata[1]:.3g}<extra></extra>"
    )
    marker = dict(color=table.loss_increase, cmin=0, cmax=top, colorscale="Cividis", size=9,
                  line=dict(width=0.5, color=GREY), colorbar=dict(title="increase in<br>test loss"))  # fmt: skip
    dots = go.Scatter(x=table.norm, y=table.share * len(table), mode="markers", marker=marker, name="one unit",
                      hovertemplate=text, customdata=np.stack([table.unit, table.loss_increase], 1))  # fmt: skip
    figure = go.Figure(dots)
    figure.update_xaxes(title="norm of the unit's weights")
    figure.update_yaxes(title="share of the frame potential, mean = 1")
    figure.update_layout(height=460, showlegend=False)
    return finish(figure, title, alt, file, command, table[["unit", "norm", "share", "loss_increase"]], records)


def turning(
    angles: Sequence[float],
    vectors: np.ndarray,
    shares: np.ndarray,
    *,
    title: str,
    alt: str,
    file: str,
    command: str,
    records: Sequence[str] = (),
) -> Figure:
    """A toy with a slider: unit vectors in the plane and each one's share of their frame potential.

    Args:
        angles: the slider's stops in degrees, [stops]. vectors: [stops, units, 2]. shares: [stops, units].
    """
    import plotly.graph_objects as go
    from plotly.subplots import make_subplots

    names = [f"w{k + 1}" for k in range(vectors.shape[1])]
    panels = ("Weight vectors, all of length 1", "Share of the frame potential")
    figure = make_subplots(cols=2, subplot_titles=panels, horizontal_spacing=0.12)
    for trace in _turned(names, vectors[0], shares[0]):
        figure.add_trace(trace)
    stops = list(zip(angles, vectors, shares, strict=True))
    figure.frames = [go.Frame(name=f"{a:g}", data=_turned(names, v, s)) for a, v, s in stops]
    how = dict(mode="immediate", frame=dict(duration=0), transition=dict(duration=0))
    steps = [dict(label=f"{a:g}°", method="animate", args=[[f"{a:g}"], how]) for a in angles]
    slider = dict(steps=steps, currentvalue=dict(prefix="w1 stands at "), pad=dict(t=45))
    figure.update_layout(sliders=[slider], showlegend=False, height=470)
    figure.update_xaxes(range=[-1.25, 1.25], row=1, col=1, showticklabels=False, zeroline=True)
    figure.update_yaxes(range=[-0.2, 1.3], row=1, col=1, showticklabels=False, scaleanchor="x")
    figure.update_yaxes(range=[0, float(shares.max()) * 1.05], row=1, col=2)
    rows = [dict(angle=a, unit=n, share=s) for a, _, stop in stops for n, s in zip(names, stop, strict=True)]
    return finish(figure, title, alt, file, command, pd.DataFrame(rows), records)


def _turned(names: Sequence[str], vectors: np.ndarray, shares: np.ndarray) -> list:
    """One stop of the toy: vectors [units, 2] as rays, the first in another colour, and a bar a share."""
    import plotly.graph_objects as go

    hues = [COLOURS["frame_potential"]] + [COLOURS["norm"]] * (len(names) - 1)
    style = dict(mode="lines+markers+text", textposition="top center", hoverinfo="name", xaxis="x", yaxis="y")
    lines = [go.Scatter(x=[0, v[0]], y=[0, v[1]], text=["", n], line=dict(color=h, width=3),
                        marker=dict(size=[0, 8]), name=n, **style)
             for v, n, h in zip(vectors.round(4), names, hues, strict=True)]  # fmt: skip
    bars = dict(name="share", hovertemplate="%{x}: %{y:.2f}<extra></extra>", xaxis="x2", yaxis="y2")
    return [*lines, go.Bar(x=names, y=shares.round(4), marker_color=hues, **bars)]
