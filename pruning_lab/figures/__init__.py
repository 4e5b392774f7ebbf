"""Tidy tables -> plotly figures."""

from .dots import along, dots, web
from .dumbbells import dumbbells
from .layers import histories
from .panels import panels, paths
from .plane import plane
from .style import COLOURS, GREY, SPARE, colour, line_name, ramp, summarise, words
from .units import importance, turning, unit_curves
from .verdicts import differences, levels, parts

__all__ = [
    "COLOURS", "GREY", "SPARE", "along", "colour", "differences", "dots", "dumbbells", "histories", "importance",
    "levels", "line_name", "panels", "parts", "paths", "plane", "ramp", "summarise", "turning", "unit_curves", "web",
    "words",
]  # fmt: skip
