"""A layer while it trains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from .panels import grid, lines, lowest, nothing_was_run
from .style import COLOURS, GREY, finish

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


def histories(
    table: pd.DataFrame,
    measures: Mapping[str, str],
    *,
    title: str,
    alt: str,
    file: str,
    command: str,
    records: Sequence[str] = (),
) -> Figure:
    """How numbers of a layer change while it trains, one panel a measure, trained weights beside their nulls.

    Args:
        table: rows with iteration, seed, weights ("trained", "permuted" or "spectrum") and the measures.
        measures: column -> the words over its panel.
    """
    figure, places = grid(measures)
    hues = {"trained": COLOURS["norm"], "spectrum": COLOURS["frame_potential"], "permuted": GREY}
    named = dict(spectrum="random rows, same spectrum")
    placed = table.assign(place=_past_zero(table.iteration)) if len(table) else table
    for number, (column, place) in enumerate(places.items()):
        for weights, hue in hues.items() if len(table) else ():
            part = placed[placed.weights == weights]
            for trace in (
                lines(part, "place", column, named.get(weights, weights), dict(color=hue), not number, said="iteration")
                if len(part)
                else ()
            ):
                figure.add_trace(trace, **place)
        figure.update_xaxes(**_counted(table.iteration.max() if len(table) else 1), **place)
        figure.update_xaxes(title="iteration" if lowest(place, places) else None, **place)
    if table.empty:
        nothing_was_run(figure)
    columns = ["weights", "iteration", *measures]
    return finish(
        figure, title, alt, file, command, table[["seed", *columns]] if len(table) else pd.DataFrame(columns=columns)
    )


def _past_zero(iterations: pd.Series) -> np.ndarray:
    """Places on a logarithmic axis, on which iteration 0 stands half a step before 1."""
    return iterations.to_numpy(dtype=float).clip(0.5)


def _counted(last: float) -> dict:
    """A logarithmic axis from iteration 0 on."""
    powers = [10**k for k in range(1 + int(np.log10(max(last, 1))))]
    return dict(type="log", tickvals=[0.5, *powers], ticktext=["0", *(f"{p:,}" for p in powers)])
