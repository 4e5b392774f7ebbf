"""The explorer's axes, and its picture on paper: some combinations side by side as one SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

import numpy as np

from .curves import Grid
from .still import Still

WIDE, HIGH, LEFT, TOP, BELOW = 200, 130, 44, 36, 34  # of one panel, in units of the SVG
TICKS = (1, 2, 2.5, 5, 10)


def ranges(found: Grid, bars: Sequence[bool], log: set[str], given: Mapping) -> dict[str, list[float]]:
    """What each axis goes from and to: as given, or so that all combinations have room; bars stand on zero.

    Raises ValueError for an axis that is none, bounds that do not ascend, or what a logarithm has no place for.
    """
    if set(given) - {"x", "y"}:
        raise ValueError(f"ranges are of 'x' and 'y', not {sorted(given)}")
    standing = {int(c) for column, bar in zip(found.curves.T, bars, strict=True) if bar for c in column if c >= 0}
    halves = [float(np.diff(found.x[c]).min()) / 2 if len(found.x[c]) > 1 else 0.5 for c in standing]
    ends = {}
    for axis, arrays in (("x", found.x), ("y", found.y)):
        if axis == "x" and axis in log and any((part <= 0).any() for part in arrays):
            raise ValueError("a logarithmic x axis has no place for zero or less")
        if axis in given:
            low, high = map(float, given[axis])
        else:
            half = max(halves, default=0) if axis == "x" and axis not in log else 0
            low, high = _room(np.concatenate(arrays), axis in log, half, axis == "y" and bool(standing))
        if not (np.isfinite([low, high]).all() and low < high) or (axis in log and low <= 0):
            raise ValueError(
                f"the {axis} axis goes from {low:g} to {high:g}: expected are ascending numbers, above zero where log"
            )
        ends[axis] = [low, high]
    return ends


def _room(values: np.ndarray, log: bool, half: float, zero: bool) -> tuple[float, float]:
    """Bounds a little outside the values, or on zero."""
    values = values[np.isfinite(values)]
    if log:
        if not (values > 0).any():
            raise ValueError("a logarithmic axis needs numbers above zero")
        low, high = np.log10(values[values > 0].min()), np.log10(values.max())
        pad = 0.04 * (high - low) or 0.5
        return float(10 ** (low - pad)), float(10 ** (high + pad))
    low, high = (values.min(), values.max()) if len(values) else (0.0, 1.0)
    if half:
        return float(low - half), float(high + half)
    if zero:
        low, high = min(low, 0.0), max(high, 0.0)
    pad = 0.04 * (high - low) or abs(0.05 * high) or 0.5
    return float(low - (0 if zero and low == 0 else pad)), float(high + pad)


def still(meta: dict, places: Sequence[Sequence[int]], parts: Sequence[Sequence], captions: Sequence[str]) -> Still:
    """One panel a combination: its own values above, what all have in common in the caption."""
    said = [[control["shown"][p] for control, p in zip(meta["controls"], place, strict=True)] for place in places]
    moving = [len({row[number] for row in said}) > 1 for number in range(len(meta["controls"]))]
    names = [control["label"] for control in meta["controls"]]
    common = ", ".join(
        f"{name} {value}" for name, value, moves in zip(names, said[0], moving, strict=True) if not moves
    )
    heads = [
        ", ".join(f"{name} {value}" for name, value, moves in zip(names, row, moving, strict=True) if moves)
        for row in said
    ]
    columns = min(len(places), 2)
    drawn = [_panel(meta, number % columns, number // columns, head, curves)
             for number, (head, curves) in enumerate(zip(heads, parts, strict=True))]  # fmt: skip
    width, height = columns * (WIDE + LEFT + 12), -(-len(places) // columns) * (HIGH + TOP + BELOW)
    legend, more = _legend(meta["series"], height, width)
    texts = [text for text in dict.fromkeys(captions) if text]
    caption = ". ".join(part.rstrip(".") for part in (meta["title"], common, *texts) if part) + "."
    alt = f"{caption} {meta['y']['label']} against {meta['x']['label']}; {'; '.join(filter(None, heads))}"
    svg = (f'<svg role="img" aria-label="{escape(alt)}" viewBox="0 0 {width} {height + more}" width="100%" '
           f'font-size="11" style="max-width:{1.4 * width:g}px;color:inherit">{"".join(drawn)}{legend}'
           "</svg>")  # fmt: skip
    return Still(svg, caption)


def _panel(meta: dict, column: int, row: int, head: str, parts: Sequence) -> str:
    across, up = meta["x"]["range"], meta["y"]["range"]
    if meta["equal"]:
        unit = min(WIDE / (across[1] - across[0]), HIGH / (up[1] - up[0]))
        across, up = _around(across, WIDE / unit), _around(up, HIGH / unit)
    (x, x_ticks), (y, y_ticks) = _scale(across, meta["x"], WIDE), _scale(up, meta["y"], HIGH)
    marks = "".join(f'<text x="{x(v):.1f}" y="{HIGH + 13}" text-anchor="middle">{v:g}</text>' for v in x_ticks)
    marks += "".join(f'<path d="M0 {HIGH - y(v):.1f}h{WIDE}" stroke="currentColor" stroke-opacity=".15"/>'
                     f'<text x="-5" y="{HIGH - y(v) + 4:.1f}" text-anchor="end">{v:g}</text>'
                     for v in y_ticks)  # fmt: skip
    marks += f'<text x="{WIDE / 2}" y="{HIGH + 26}" text-anchor="middle">{escape(meta["x"]["label"])}</text>'
    marks += f'<text x="{-LEFT + 4}" y="-6">{escape(meta["y"]["label"])}</text>'
    marks += f'<text x="{WIDE / 2}" y="-20" text-anchor="middle" font-weight="600">{escape(head)}</text>'
    # bars lie below
    pairs = sorted(zip(meta["series"], parts, strict=True), key=lambda pair: pair[0]["style"] != "bar")
    base = HIGH if meta["y"]["log"] else HIGH - y(0)
    lines = "".join(_curve(one, x(part[0]), HIGH - y(part[1]), base) for one, part in pairs if part)
    at = f"{LEFT + column * (WIDE + LEFT + 12)} {TOP + row * (HIGH + TOP + BELOW)}"
    return (f'<g transform="translate({at})"><g fill="currentColor">{marks}</g>'
            f'<svg width="{WIDE}" height="{HIGH}">{lines}</svg>'
            f'<path d="M0 0V{HIGH}H{WIDE}" fill="none" stroke="currentColor"/></g>')  # fmt: skip


def _around(ends: Sequence[float], span: float) -> tuple[float, float]:
    """Bounds so far apart, around the same middle: one unit is as long on both axes."""
    middle = sum(ends) / 2
    return middle - span / 2, middle + span / 2


def _scale(ends: Sequence[float], axis: Mapping, size: float):
    """A function from numbers to places, and the numbers written at the axis; `whole` ones where all places are."""
    low, high = ends
    if axis["log"]:
        a, b = np.log10([low, high])
        powers = np.arange(np.ceil(a), np.floor(b) + 1)
        ticks = (10 ** powers[:: max(1, len(powers) // 4)]).tolist() or [low, high]
        return lambda v: size * (np.log10(np.where(np.asarray(v) > 0, v, np.nan)) - a) / (b - a), ticks
    rough = (high - low) / 4
    power = 10 ** np.floor(np.log10(rough))
    steps = [float(k * power) for k in TICKS if k * power >= rough * 0.999]
    step = next((s for s in steps if s.is_integer()), 1.0) if axis.get("whole") else steps[0]
    ticks = step * np.arange(np.ceil(low / step - 1e-9), np.floor(high / step + 1e-9) + 1) + 0.0
    return lambda v: size * (np.asarray(v) - low) / (high - low), ticks.tolist()


def _curve(one: dict, x: np.ndarray, y: np.ndarray, base: float) -> str:
    """The marks of one series at places x [P] and y [P]; a gap is where either is NaN."""
    there = np.isfinite(x) & np.isfinite(y)
    hue = escape(one["colour"])
    if one["style"] == "dots":
        return "".join(
            f'<circle cx="{a:.1f}" cy="{b:.1f}" r="2" fill="{hue}"/>' for a, b in zip(x[there], y[there], strict=True)
        )
    if one["style"] == "bar":
        half = np.diff(x).min() / 2 if len(x) > 1 else 8
        path = "".join(
            f"M{a - half:.1f} {base:.1f}V{b:.1f}h{2 * half:.2f}V{base:.1f}"
            for a, b in zip(x[there], y[there], strict=True)
        )
        return f'<path d="{path}" fill="{hue}" fill-opacity=".6"/>'
    fresh = np.r_[True, ~there[:-1]]
    path = "".join(
        f"{'M' if new else 'L'}{a:.1f} {b:.1f}" for a, b, new in zip(x[there], y[there], fresh[there], strict=True)
    )
    head = _head(x[there], y[there]) if one["style"] == "arrow" else ""
    dash = ' stroke-dasharray="5 3"' if one["style"] == "dashed" else ""
    return f'<path d="{path}{head}" fill="none" stroke="{hue}" stroke-width="1.5"{dash}/>'


def _head(x: np.ndarray, y: np.ndarray) -> str:
    """Two short strokes at the last point, against the way there."""
    if len(x) < 2 or (x[-1] == x[-2] and y[-1] == y[-2]):
        return ""
    way = np.arctan2(y[-1] - y[-2], x[-1] - x[-2])
    return "".join(
        f"M{x[-1]:.1f} {y[-1]:.1f}l{-7 * np.cos(way + turn):.1f} {-7 * np.sin(way + turn):.1f}"
        for turn in (-0.45, 0.45)
    )


def _legend(series: Sequence[dict], top: float, width: float) -> tuple[str, float]:
    """A row or more of names with their colours, and how high they are; none where there is one series only."""
    if len(series) < 2:
        return "", 0
    found, x, y = [], 8.0, top + 14
    for one in series:
        wide = 28 + 6.2 * len(one["label"])
        if x > 8 and x + wide > width:
            x, y = 8.0, y + 16
        thick, dash = (
            (8, "") if one["style"] == "bar" else (2, ' stroke-dasharray="5 3"' if one["style"] == "dashed" else "")
        )
        found.append(f'<path d="M{x} {y - 4}h14" stroke="{escape(one["colour"])}" stroke-width="{thick}"{dash}/>'
                     f'<text x="{x + 18}" y="{y}" fill="currentColor">{escape(one["label"])}</text>')  # fmt: skip
        x += wide
    return "".join(found), y - top + 8
