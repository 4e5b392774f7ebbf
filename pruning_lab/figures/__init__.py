"""Tidy tables -> plotly figures."""

from .layers import histories
from .style import COLOURS, FROM_THE_SOURCE, GREY, SPARE, colour, line_name, summarise, words
from .units import importance, turning, unit_curves
from .verdicts import differences

__all__ = [
    "COLOURS", "FROM_THE_SOURCE", "GREY", "SPARE", "colour", "differences", "histories", "importance", "line_name", "summarise",
    "turning", "unit_curves", "words",
]  # fmt: skip
