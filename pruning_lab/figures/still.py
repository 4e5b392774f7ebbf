"""Curves as one small SVG file that needs no script, for places that show pictures alone; light and dark."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

import pandas as pd

from .style import look, summarise

WIDE, HIGH = 760, 380  # of the picture
LEFT, RIGHT, TOP, BOTTOM = 66, 175, 52, 52  # around the axes
STYLE = """
text { font: 14px system-ui, sans-serif; fill: #1f2328 }
.title { font-weight: 600; font-size: 16px }
.grid { stroke: #80808055 }
@media (prefers-color-scheme: dark) { text { fill: #f0f3f6 } }
"""


def curves(table: pd.DataFrame, names: dict[str, str], title: str, x: str, y: str, alt: str) -> str:
    """An SVG of the mean of `accuracy` in [0, 1] over nets along `removed`, a line a `criterion`, with its deviation.

    Args:
        names: criterion -> the words beside its line, in the order in which they are drawn. x, y: titles of the axes.
        alt: what a reader hears who does not see it.

    Raises:
        ValueError: a criterion has no rows.
    """
    if lacking := sorted(names.keys() - set(table.criterion)):
        raise ValueError(f"no rows of {', '.join(lacking)}: expected some of each criterion that is named")
    found = {name: summarise(table[table.criterion == name], ["removed"], "accuracy") for name in names}
    last = int(table.removed.max())
    parts = [*_axes(last, x, y), *_bands(found, last), *_lines(found, last), *_labels(found, names)]
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDE} {HIGH}" width="{WIDE}" height="{HIGH}"'
    opened = f'{head} role="img"><title>{escape(alt)}</title><style>{STYLE}</style>'
    return "\n".join([opened, f'<text class="title" x="{LEFT}" y="28">{escape(title)}</text>', *parts, "</svg>", ""])


def _place(removed: float, accuracy: float, last: int) -> str:
    across, down = WIDE - LEFT - RIGHT, HIGH - TOP - BOTTOM
    return f"{LEFT + across * removed / last:.1f},{TOP + down * (1 - min(max(accuracy, 0), 1)):.1f}"


def _axes(last: int, x: str, y: str) -> Iterator[str]:
    """Lines and numbers at every fifth of both axes, and their titles."""
    for fifth in range(6):
        right, height = (_place(at, fifth / 5, last).split(",") for at in (last, last * fifth / 5))
        level, across = right[1], height[0]
        yield f'<path class="grid" d="M{LEFT},{level}H{WIDE - RIGHT}"/>'
        yield f'<text x="{LEFT - 8}" y="{float(level) + 5:.1f}" text-anchor="end">{20 * fifth} %</text>'
        yield f'<text x="{across}" y="{HIGH - BOTTOM + 20}" text-anchor="middle">{last * fifth // 5}</text>'
    yield f'<text x="{(LEFT + WIDE - RIGHT) / 2}" y="{HIGH - 10}" text-anchor="middle">{escape(x)}</text>'
    turned = f"rotate(-90 14 {(TOP + HIGH - BOTTOM) / 2})"
    middle = (TOP + HIGH - BOTTOM) / 2
    yield f'<text x="14" y="{middle}" text-anchor="middle" transform="{turned}">{escape(y)}</text>'


def _bands(found: dict[str, pd.DataFrame], last: int) -> Iterator[str]:
    for name, rows in found.items():
        if rows.sd.notna().all():
            there = [_place(r, m + s, last) for r, m, s in zip(rows.removed, rows["mean"], rows.sd, strict=True)]
            back = [_place(r, m - s, last) for r, m, s in zip(rows.removed, rows["mean"], rows.sd, strict=True)]
            yield f'<path d="M{"L".join([*there, *back[::-1]])}Z" fill="{look(name)["color"]}" opacity=".2"/>'


def _lines(found: dict[str, pd.DataFrame], last: int) -> Iterator[str]:
    for name, rows in found.items():
        points = "L".join(_place(r, m, last) for r, m in zip(rows.removed, rows["mean"], strict=True))
        yield f'<path d="M{points}" fill="none" stroke="{look(name)["color"]}" stroke-width="2.5"/>'


def _labels(found: dict[str, pd.DataFrame], names: dict[str, str]) -> Iterator[str]:
    """A sample of each line and its words, on the right."""
    for number, name in enumerate(found):
        level, begin = TOP + 14 + 26 * number, WIDE - RIGHT + 14
        yield f'<path d="M{begin},{level - 5}h22" stroke="{look(name)["color"]}" stroke-width="4"/>'
        yield f'<text x="{begin + 30}" y="{level}">{escape(names[name])}</text>'
