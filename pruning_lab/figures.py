"""Tidy tables -> plotly figures. One colour a criterion everywhere, chosen to be told apart by colour-blind readers too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

INK = "#000001"  # the book's pages draw it dark on light and light on dark
GREY = "#808080"
COLOURS = {  # Okabe & Ito's palette; what is not in it takes the next of SPARE
    "norm": "#0072B2", "frame_potential": "#D55E00", "random": GREY, "frame_potential_raw": "#CC79A7",
    "inner_product": "#009E73", "activation": "#E69F00", "taylor": "#56B4E9",
}  # fmt: skip
SPARE = ("#882255", "#44AA99", "#999933", "#332288")
FROM_THE_SOURCE = ("norm", "frame_potential", "random")
MEANS_FROM = 3  # nets; fewer are drawn as single runs
ENDS = {"lowest": "lowest first", "highest": "highest first"}


def colour(criterion: str) -> str:
    """The colour of a criterion, the same in every figure; a user's own gets one by its name."""
    return COLOURS.get(criterion) or SPARE[sum(criterion.encode()) % len(SPARE)]


def words(name: str) -> str:
    """A criterion's name as a reader sees it."""
    return name.replace("_", " ")


def line_name(criterion: str, remove: str) -> str:
    """The legend's name of a line; what is in no source document is marked."""
    name = "random order" if criterion == "random" else f"{words(criterion)}, {ENDS[remove]}"
    return name if criterion in FROM_THE_SOURCE else f"{name} (ours)"


def summarise(table: pd.DataFrame, by: Sequence[str], value: str) -> pd.DataFrame:
    """Mean and standard deviation of `value` over nets and orders, and the number of nets, one row a group of `by`."""
    seeds = table.assign(seed=table.get("seed", 0))
    out = seeds.groupby(list(by), sort=False).agg(mean=(value, "mean"), sd=(value, lambda v: v.std(ddof=1)), nets=("seed", "nunique"))
    return out.reset_index()


def unit_curves(
    tables: Mapping[str, pd.DataFrame],
    *,
    title: str,
    alt: str,
    file: str,
    command: str,
    chance: float = 0.1,
    published: Mapping[str, Mapping[int, float]] | None = None,
    published_name: str = "published",
) -> Figure:
    """Accuracy against the number of units removed, one panel a table, one line a criterion and direction.

    Args:
        tables: panel title -> rows with criterion, remove, removed, accuracy in [0, 1] and seed.
        published: "criterion/remove" -> {units removed: accuracy in %}, drawn as crosses on the first panel.
    """  # fmt: skip
    from plotly.subplots import make_subplots

    figure = make_subplots(
        cols=len(tables), subplot_titles=list(tables) if len(tables) > 1 else None, shared_yaxes=True, horizontal_spacing=0.05
    )
    rows, named = [], set()
    for column, (name, table) in enumerate(tables.items(), 1):
        lines = table.groupby(["criterion", "remove"], sort=False) if len(table) else ()
        for (criterion, remove), part in lines:
            for trace in _line(criterion, remove, part, first=(criterion, remove) not in named):
                figure.add_trace(trace, row=1, col=column)
            named.add((criterion, remove))
        if len(table):
            rows.append(summarise(table, ["criterion", "remove", "removed"], "accuracy").assign(panel=name))
        else:
            figure.add_annotation(text="not run at this size yet", showarrow=False, x=0.5, y=50, xref="x domain", row=1, col=column)
        figure.update_xaxes(title="units removed", row=1, col=column)
    for key, points in (published or {}).items():
        figure.add_trace(_crosses(key, points, published_name, first=key == next(iter(published))), row=1, col=1)
    figure.update_yaxes(range=[100 * chance - 5, 101])
    figure.update_yaxes(title="test accuracy, %", row=1, col=1)
    figure.update_layout(height=480 if len(tables) == 1 else 440)
    return _finish(figure, title, alt, file, command, pd.concat(rows) if rows else pd.DataFrame(columns=["criterion", "remove", "removed"]))


def _line(criterion: str, remove: str, part: pd.DataFrame, first: bool) -> list:
    """A mean with its band, from three nets on; fewer are drawn one by one."""
    import plotly.graph_objects as go

    name, hue, seeds = line_name(criterion, remove), colour(criterion), part.groupby("seed")
    dash = "solid" if remove == "lowest" else "dash"
    common = dict(legendgroup=name, visible=True if criterion in FROM_THE_SOURCE else "legendonly")
    if seeds.ngroups < MEANS_FROM:
        runs = [run.groupby("removed").accuracy.mean() * 100 for _, run in seeds]
        title = f"{name} ({seeds.ngroups} single net{'s' * (seeds.ngroups > 1)})"
        return [go.Scatter(x=run.index, y=run.round(3), name=title, showlegend=first and not k, line=dict(color=hue, width=1.5, dash=dash),
                           hovertemplate="%{x} removed: %{y:.1f} %<extra>" + name + "</extra>", **common)
                for k, run in enumerate(runs)]  # fmt: skip
    means = summarise(part, ["removed"], "accuracy")
    x, mean, sd = means.removed.to_numpy(), 100 * means["mean"].to_numpy(), 100 * means["sd"].to_numpy()
    line = go.Scatter(x=x, y=mean.round(3), customdata=sd.round(3), name=f"{name} (± sd, {seeds.ngroups} nets)", showlegend=first,
                      line=dict(color=hue, width=2.5, dash=dash),
                      hovertemplate="%{x} removed: %{y:.1f} % (sd %{customdata:.1f})<extra>" + name + "</extra>", **common)  # fmt: skip
    edge = np.concatenate([mean + sd, (mean - sd)[::-1]]).clip(0, 100).round(2)
    band = go.Scatter(x=np.concatenate([x, x[::-1]]), y=edge, fill="toself", fillcolor=_faint(hue), line_width=0, mode="lines",
                      hoverinfo="skip", showlegend=False, name=f"{name}: band", **common)  # fmt: skip
    return [band, line]


def _crosses(key: str, points: Mapping[int, float], name: str, first: bool):
    import plotly.graph_objects as go

    criterion, remove = key.split("/")
    return go.Scatter(x=list(points), y=list(points.values()), mode="markers", name=name, legendgroup="published", showlegend=first,
                      marker=dict(color=colour(criterion), symbol="x-thin", size=11, line=dict(width=2.5, color=colour(criterion))),
                      hovertemplate=f"{name}: {line_name(criterion, remove)}, " + "%{x} removed: %{y} %<extra></extra>")  # fmt: skip


def differences(table: pd.DataFrame, *, title: str, axis: str, alt: str, file: str, command: str) -> Figure:
    """Differences with their intervals, one row each, and a dot for every net.

    Args:
        table: rows with label, group (one colour each), mean, low, high, n, verdict and values (list, one a net).
    """
    import plotly.graph_objects as go

    if table.empty:  # nothing is stored yet: axes without a row
        table = pd.DataFrame(columns=["label", "group", "mean", "low", "high", "n", "verdict", "values"])
    figure = go.Figure()
    hues = dict(zip(table.group.drop_duplicates(), SPARE * len(table), strict=False))
    for _, row in table.iterrows():
        hue = COLOURS.get(row.group, hues[row.group])
        dots = dict(mode="markers", marker=dict(color=hue, opacity=0.45, size=7), hovertemplate="one net: %{x:.3g}<extra></extra>")
        figure.add_trace(go.Scatter(x=row["values"], y=[row.label] * len(row["values"]), name="one net", showlegend=False, **dots))
        figure.add_trace(_diamond(row, hue))
    figure.add_vline(x=0, line=dict(color=INK, width=1))
    figure.update_xaxes(title=axis)
    figure.update_yaxes(autorange="reversed", showgrid=False)
    figure.update_layout(height=130 + 34 * len(table))
    return _finish(figure, title, alt, file, command, table.drop(columns="values"))


def _diamond(row: pd.Series, hue: str):
    """A mean with its interval, which is left out where there are too few nets for one."""
    import plotly.graph_objects as go

    finite = np.isfinite([row.low, row.high]).all()
    ends = f"[{row.low:.3g}, {row.high:.3g}]" if finite else "too few nets for an interval"
    reach = dict(array=[row.high - row["mean"]], arrayminus=[row["mean"] - row.low]) if finite else dict(array=[0])
    marker = dict(color=hue, size=11, symbol="diamond")
    hover = f"{row.verdict}: {row['mean']:.3g} {ends}, n = {row.n}<extra></extra>"
    error = dict(type="data", symmetric=False, thickness=2.5, **reach)
    return go.Scatter(x=[row["mean"]], y=[row.label], error_x=error, mode="markers", name=row.label, showlegend=False,
                      marker=marker, hovertemplate=hover)  # fmt: skip


def importance(table: pd.DataFrame, *, title: str, alt: str, file: str, command: str) -> Figure:
    """Norm against share of the frame potential, one dot a unit, coloured by what its removal alone adds to the test loss.

    Args:
        table: rows with unit, norm, share and loss_increase.
    """
    import plotly.graph_objects as go

    if table.empty:  # not run yet: axes without a dot
        table = pd.DataFrame(columns=["unit", "norm", "share", "loss_increase"], dtype=float)
    top = float(table.loss_increase.quantile(0.98)) if len(table) else 1.0
    text = "unit %{customdata[0]}: norm %{x:.3g}, share %{y:.3g} times the mean, loss +%{customdata[1]:.3g}<extra></extra>"
    marker = dict(color=table.loss_increase, cmin=0, cmax=top, colorscale="Cividis", size=9, line=dict(width=0.5, color=GREY),
                  colorbar=dict(title="increase in<br>test loss"))  # fmt: skip
    dots = go.Scatter(x=table.norm, y=table.share * len(table), mode="markers", marker=marker, name="one unit", hovertemplate=text,
                      customdata=np.stack([table.unit, table.loss_increase], 1))  # fmt: skip
    figure = go.Figure(dots)
    figure.update_xaxes(title="norm of the unit's weights")
    figure.update_yaxes(title="share of the frame potential, mean = 1")
    figure.update_layout(height=460, showlegend=False)
    return _finish(figure, title, alt, file, command, table[["unit", "norm", "share", "loss_increase"]])


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
    figure.update_layout(height=100 + 230 * down)
    rows = table[["seed", *columns]] if len(table) else pd.DataFrame(columns=columns)
    return _finish(figure, title, alt, file, command, rows)


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
    band = go.Scatter(x=np.concatenate([x, x[::-1]]), y=edge, fill="toself", fillcolor=_faint(hue), line_width=0, mode="lines",
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


def turning(angles: Sequence[float], vectors: np.ndarray, shares: np.ndarray, *, title: str, alt: str, file: str, command: str) -> Figure:
    """A toy with a slider: unit vectors in the plane and each one's share of their frame potential.

    Args:
        angles: the slider's stops in degrees, [stops]. vectors: [stops, units, 2]. shares: [stops, units].
    """
    import plotly.graph_objects as go
    from plotly.subplots import make_subplots

    names = [f"w{k + 1}" for k in range(vectors.shape[1])]
    hues = [COLOURS["frame_potential"]] + [COLOURS["norm"]] * (len(names) - 1)

    def traces(stop: int) -> list:
        style = dict(mode="lines+markers+text", textposition="top center", hoverinfo="name", xaxis="x", yaxis="y")
        rays = zip(vectors[stop].round(4), names, hues, strict=True)
        lines = [go.Scatter(x=[0, v[0]], y=[0, v[1]], text=["", n], line=dict(color=h, width=3), marker=dict(size=[0, 8]), name=n, **style)
                 for v, n, h in rays]  # fmt: skip
        bars = dict(name="share", hovertemplate="%{x}: %{y:.2f}<extra></extra>", xaxis="x2", yaxis="y2")
        return [*lines, go.Bar(x=names, y=shares[stop].round(4), marker_color=hues, **bars)]

    panels = ("Weight vectors, all of length 1", "Share of the frame potential")
    figure = make_subplots(cols=2, subplot_titles=panels, horizontal_spacing=0.12)
    for trace in traces(0):
        figure.add_trace(trace)
    figure.frames = [go.Frame(name=f"{a:g}", data=traces(k)) for k, a in enumerate(angles)]
    steps = [
        dict(
            label=f"{a:g}°",
            method="animate",
            args=[[f"{a:g}"], dict(mode="immediate", frame=dict(duration=0), transition=dict(duration=0))],
        )
        for a in angles
    ]
    figure.update_layout(
        sliders=[dict(steps=steps, currentvalue=dict(prefix="w1 stands at "), pad=dict(t=45))], showlegend=False, height=470
    )
    figure.update_xaxes(range=[-1.25, 1.25], row=1, col=1, showticklabels=False, zeroline=True)
    figure.update_yaxes(range=[-0.2, 1.3], row=1, col=1, showticklabels=False, scaleanchor="x")
    figure.update_yaxes(range=[0, float(shares.max()) * 1.05], row=1, col=2)
    rows = pd.DataFrame(
        [dict(angle=a, unit=n, share=s) for a, stop in zip(angles, shares, strict=True) for n, s in zip(names, stop, strict=True)]
    )
    return _finish(figure, title, alt, file, command, rows)


def _faint(hue: str) -> str:
    r, g, b = (int(hue[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({r},{g},{b},0.16)"


def _finish(figure: Figure, title: str, alt: str, file: str, command: str, rows: pd.DataFrame) -> Figure:
    """What every figure carries: title, alt text, its rows as CSV, the command that makes it again."""
    text = rows.to_csv(index=False, float_format="%.6g")
    figure.update_layout(title=title, meta=dict(alt=alt, rows=text, file=file, command=command), legend=dict(orientation="h", y=-0.2))
    return figure
