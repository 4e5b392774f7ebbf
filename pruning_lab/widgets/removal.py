"""A layer's units as dots that go one by one while the net's accuracy is read off a curve: two SVGs and a slider.

The page's own script (`book/_static/removal.js`) moves it; without it the picture shows all units and both curves.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape

import numpy as np

from ..units import structure
from .graph_still import settle

SIDE, LEFT, WIDE = 300, 40, 300  # of the layer's picture, beside the plot, of the plot; in units of the SVG
TOP, BOTTOM = 14, 262  # of the plot
PAIRS = 3  # a unit: the strongest pairs pull


def places(packed: np.ndarray, norms: np.ndarray, seed: int = 0) -> np.ndarray:
    """Where the units of a layer come to lie, [U, 2] within +-1, by the forces of the force graph; the same each time.

    packed, norms: as `LayerGraph` has them, `cosines` [T, U (U - 1) / 2] and `norms` [T, U]; the last T is drawn.
    """
    ones = np.ones_like(norms, dtype=float)
    cosines = structure.unpack(packed, ones)[-1]
    i, j = np.triu_indices(len(cosines), 1)
    strong = np.argsort(-cosines[i, j], kind="stable")[: PAIRS * len(cosines)]
    i, j = i[strong], j[strong]
    start = np.random.default_rng(seed).normal(size=(len(cosines), 2)) * 0.3
    found = settle(start, i, j, np.maximum(cosines[i, j], 0) + 0.05)
    return found / max(float(np.abs(found).max()), 1e-6)


def picture(
    places: np.ndarray, norms: np.ndarray, silent: np.ndarray, orders: Mapping[str, Sequence[int]],
    accuracy: Mapping[str, Sequence[float]], title: str, caption: str, origin: str = "",
) -> str:  # fmt: skip
    """The figure as HTML.

    Args:
        places, norms, silent: of the units, [U, 2], [U] and booleans [U], the last those that never fire.
        orders: name -> the units in the order of their removal. accuracy: name -> in [0, 1] after 0..U removals.
        title: what is found, which stands above. caption: what is drawn. origin: of the numbers, in a fold.

    Raises:
        ValueError: an order is none of all units, or an accuracy has not U + 1 numbers.
    """
    units = len(places)
    for name, order in orders.items():
        if sorted(order) != list(range(units)) or len(accuracy[name]) != units + 1:
            raise ValueError(f"{name!r}: expected an order of {units} units and {units + 1} accuracies")
    share = {name: [round(1000 * float(value)) for value in accuracy[name]] for name in orders}
    data = {"orders": {name: [int(unit) for unit in order] for name, order in orders.items()}, "share": share,
            "silent": [int(unit) for unit in np.flatnonzero(silent)]}  # fmt: skip
    plot = {"left": LEFT, "width": WIDE, "top": TOP, "bottom": BOTTOM}
    packed = escape(json.dumps(data | plot, separators=(",", ":")), quote=False).replace("'", "&#39;")
    drawn = _svg(SIDE, _dots(places, norms, silent), f"{title}. {caption}")
    drawn += _svg(LEFT + WIDE + 12, _plot(share, units), _told(share, units))
    head, foot = f"<h2>{escape(title)}</h2>", f"<figcaption>{escape(caption)}{_fold(origin)}</figcaption>"
    inside = f"{head}<div>{drawn}</div>{_controls(units, orders)}{foot}"
    return f"<figure class=\"lab-removal\" data-removal='{packed}'>{inside}</figure>"


def _fold(origin: str) -> str:
    return f"<details><summary>Where the numbers come from</summary>{escape(origin)}</details>" if origin else ""


def _svg(width: int, inside: str, told: str) -> str:
    return f'<svg role="img" aria-label="{escape(told)}" viewBox="0 0 {width} {SIDE}">{inside}</svg>'


def _told(share: Mapping[str, Sequence[int]], units: int) -> str:
    """The curves in words: what is right with none, half and all of the units gone."""
    half = units // 2
    said = [f"{name}: {v[0] / 10:.1f}, {v[half] / 10:.1f} and {v[-1] / 10:.1f} %" for name, v in share.items()]
    return f"Accuracy with 0, {half} and {units} neurons removed. {'; '.join(said)}."


def _dots(places: np.ndarray, norms: np.ndarray, silent: np.ndarray) -> str:
    x, y = np.rint(SIDE / 2 + places.T * (SIDE / 2 - 10)).astype(int)
    radius = 2.2 + 5 * np.sqrt(norms / max(float(np.max(norms)), 1e-30))
    kinds = [' class="s"' if still else "" for still in silent]
    marks = [
        f'<circle cx="{a}" cy="{b}" r="{r:.1f}"{kind}/>' for a, b, r, kind in zip(x, y, radius, kinds, strict=True)
    ]
    return f'<g class="lab-units">{"".join(marks)}</g>'


def _plot(share: Mapping[str, Sequence[int]], units: int) -> str:
    """Both curves from 0 to 100 %, an axis, and the marker that a script moves."""
    left, height = LEFT, BOTTOM - TOP
    axis = [f'<path class="lab-axis" d="M{left} {TOP}V{BOTTOM}H{left + WIDE}"/>']
    axis += [f'<text x="{left - 6}" y="{BOTTOM - height * v / 100 + 4:.0f}" text-anchor="end">{v} %</text>'
             for v in (0, 50, 100)]  # fmt: skip
    axis += [f'<text x="{left + WIDE * v / units:.0f}" y="{BOTTOM + 16}" text-anchor="middle">{v}</text>'
             for v in (0, units // 2, units)]  # fmt: skip
    axis.append(f'<text x="{left + WIDE / 2:.0f}" y="{BOTTOM + 32}" text-anchor="middle">neurons removed</text>')
    axis.append(f'<text x="{left + 4}" y="{TOP - 4}">test images right</text>')
    lines = [_line(name, values, " chosen" * (not number)) for number, (name, values) in enumerate(share.items())]
    lines += _names(share, units)
    start = BOTTOM - height * next(iter(share.values()))[0] / 1000
    needle = f'<path class="lab-needle" d="M{left} {TOP}V{BOTTOM}"/>'
    dot = f'<circle class="lab-at" cx="{left}" cy="{start:.1f}" r="5"/>'
    return f'<g class="lab-curve">{"".join(axis)}{"".join(lines)}{needle}{dot}</g>'


def _names(share: Mapping[str, Sequence[int]], units: int) -> list[str]:
    """Each curve's name where they lie furthest apart: over the upper one, under the lower ones."""
    values = np.asarray(list(share.values()))
    at = int(np.ptp(values, axis=0)[: units // 2 + 1].argmax())  # in the left half, where names have room
    upper = values[:, at].argmax()
    marks = []
    for number, (name, curve) in enumerate(share.items()):
        y = BOTTOM - (BOTTOM - TOP) * curve[at] / 1000 + (-8 if number == upper else 18)
        x, end = LEFT + WIDE * at / units, "start" if number == upper else "end"
        marks.append(f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{end}" class="lab-name">{escape(name)}</text>')
    return marks


def _line(name: str, values: Sequence[int], more: str) -> str:
    x = np.linspace(LEFT, LEFT + WIDE, len(values))
    y = BOTTOM - (BOTTOM - TOP) * np.asarray(values) / 1000
    way = "L".join(f"{a:.0f} {b:.0f}" for a, b in zip(x, y, strict=True))
    return f'<path class="lab-line{more}" data-order="{escape(name)}" d="M{way}"/>'


def _controls(units: int, orders: Mapping[str, Sequence[int]]) -> str:
    """A slider, a choice between the orders, and what is read off; a page without scripts does not show them."""
    marks = ["checked"] + [""] * (len(orders) - 1)
    choices = "".join(f'<label><input type="radio" name="order" value="{escape(name)}" {mark}> {escape(name)}</label>'
                      for name, mark in zip(orders, marks, strict=True))  # fmt: skip
    slider = f'<label>Neurons removed <input type="range" min="0" max="{units}" value="0" name="removed"></label>'
    return (
        f"<form hidden>{slider}<fieldset><legend>Which go first?</legend>{choices}</fieldset><output></output></form>"
    )
