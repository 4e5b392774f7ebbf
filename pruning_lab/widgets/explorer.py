"""The explorer: a chart whose sliders and menus choose among combinations that were computed beforehand."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import anywidget
import numpy as np
import pandas as pd
import traitlets as t

from ..figures import style
from . import chart, curves
from .still import Still

STATIC = Path(__file__).parent / "static"
STYLES = ("bar", "line", "dashed", "dots", "path", "arrow")
LOOSE = {"dots", "path", "arrow"}  # their points stand in the order of their rows
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#E69F00", "#56B4E9", "#CC79A7", *style.SPARE)


class Explorer(anywidget.AnyWidget):
    """A chart of the curves in a tidy table, one combination of its controls at a time; drawn by static/explorer.js.

    A control with more than two numbers is a slider, any other a menu. A later control offers what exists for the
    earlier ones.

    Args:
        table: one row a point: the controls, `series`, x, y. A missing control means all of its values (a null curve
            that holds for every epoch); NaN in y is a gap. What combinations share is stored once; numbers have 12 bits
            or more.
        controls: columns, the most general first.
        series, x, y: columns.
        styles: series -> "line" (if not named) or "dashed" along x, "bar" (x are bin centres), "dots", "path" (from
            point to point in their order) or "arrow" (with a head at the last); or one for all.
        colours: series -> colour; a criterion has its own, "null" is ink, others take the next of a colour-blind safe
            palette.
        captions: control columns (missing: all values) and `caption`, said under the chart.
        title, labels: what is drawn; column, series or value -> words, with units.
        units: control -> how its values are written, with {} for the number: "{} times".
        ranges: "x", "y" -> (low, high) of the axes; without, what holds all combinations, so that axes stand still.
        log: "x", "y" or both. equal: a unit is as long on both axes.
        start: control -> value at the start.
        name: the chart's name in the page's address and in files; without, made from the title.

    Raises ValueError that says what was expected for a table or an option that cannot be drawn.

    >>> import pandas as pd
    >>> from pruning_lab import widgets
    >>> table = pd.DataFrame(dict(epoch=[0, 0, 1, 1], curve="norm", diff=[0.0, 1.0] * 2, share=[1.0, 2.0, 3.0, 4.0]))
    >>> chart = widgets.Explorer(table, controls=["epoch"], title="Shares")
    >>> chart.choose(epoch=1)
    >>> x, y = chart.curve("norm")
    >>> y.round(2).tolist()
    [3.0, 4.0]
    """

    _esm = (STATIC / "explorer.js").read_text(encoding="utf-8")
    _css = "".join((STATIC / name).read_text(encoding="utf-8") for name in ("controls.css", "explorer.css"))

    meta = t.Dict().tag(sync=True)
    data = t.Bytes().tag(sync=True)  # curves.pack; js/explorer/decode.js reads it
    choice = t.List(t.Int()).tag(sync=True)  # the place of each control's value; `chosen` has the values

    def __init__(
        self,
        table: pd.DataFrame,
        controls: Sequence[str] = ("net", "data", "layer", "epoch"),
        *,
        series: str = "curve",
        x: str = "diff",
        y: str = "share",
        styles: Mapping[str, str] | str = "line",
        colours: Mapping[str, str] | None = None,
        captions: pd.DataFrame | None = None,
        title: str = "",
        labels: Mapping | None = None,
        units: Mapping[str, str] | None = None,
        ranges: Mapping[str, tuple[float, float]] | None = None,
        log: Iterable[str] = (),
        equal: bool = False,
        start: Mapping | None = None,
        name: str = "",
    ):
        controls, labels, log = list(controls), dict(labels or {}), _log(log)
        styles = _styles(styles, table, series)
        found = curves.grid(table, controls, series, x, y, {key for key, drawn in styles.items() if drawn in LOOSE})
        axes = chart.ranges(found, [styles[key] == "bar" for key in found.series], log, ranges or {})
        data, packed = curves.pack(found, "y" in log, _captions(captions, controls, found))
        meta = {
            "title": title, "name": _name(name, title), "equal": equal, "packed": packed,
            "controls": [_control(key, values, labels, (units or {}).get(key, "{}"))
                         for key, values in zip(controls, found.values, strict=True)],
            "series": _series(found.series, styles, colours or {}, labels),
            "x": {"name": x, "label": _words(x, labels), "range": axes["x"], "log": "x" in log,
                  "whole": all((column == np.round(column)).all() for column in found.x)},
            "y": {"name": y, "label": _words(y, labels), "range": axes["y"], "log": "y" in log},
        }  # fmt: skip
        self._packed = curves.unpack(data, packed, len(controls), len(found.series))
        meta["start"] = self._find(meta, start or {})
        super().__init__(meta=meta, data=data, choice=meta["start"])

    @t.validate("choice")
    def _exists(self, proposal):
        if proposal["value"] not in self._packed.parts["combinations"].tolist():
            raise t.TraitError(f"there is no combination {proposal['value']}")
        return proposal["value"]

    @property
    def chosen(self) -> dict:
        """Control -> value, of the combination in sight."""
        return {
            control["name"]: control["values"][place]
            for control, place in zip(self.meta["controls"], self.choice, strict=True)
        }

    def choose(self, **values) -> None:
        """Show these values, the other controls as they are or as near as there is; ValueError: none."""
        self.choice = self._find(self.meta, values, self.choice)

    def curve(self, series: str, **values) -> tuple[np.ndarray, np.ndarray] | None:
        """x [P] and y [P] as the page draws them, None where there are none; `values` as in `choose`."""
        names = [one["name"] for one in self.meta["series"]]
        if series not in names:
            raise ValueError(f"there is no series {series!r}: it is one of {', '.join(names)}")
        return self._packed.curve(self._row(self._find(self.meta, values, self.choice)), names.index(series))

    def state_bytes(self) -> int:
        """Size of this widget in a page: its state as JSON, bytes in base64, its script included."""
        state = self.get_state()
        binary = [state.pop(key) for key in list(state) if isinstance(state[key], bytes | memoryview)]
        return len(json.dumps(state, default=str)) + sum(4 * math.ceil(len(part) / 3) + 60 for part in binary)

    def fallback(self, choices: Iterable[Mapping] | None = None) -> Still:
        """The start and up to three other combinations (or those named) side by side: for print, or without scripts."""
        return self._still(choices)

    def still(self, choices: Iterable[Mapping] | None = None) -> Still:
        """The same picture as `fallback`, which a page always shows."""
        return replace(self._still(choices), always=True)

    def _still(self, choices: Iterable[Mapping] | None) -> Still:
        start = self.meta["start"]
        places = self._others() if choices is None else [self._find(self.meta, wanted, start) for wanted in choices]
        rows = [self._row(place) for place in places]
        parts = [[self._packed.curve(row, s) for s in range(len(self.meta["series"]))] for row in rows]
        return chart.still(self.meta, places, parts, [self._packed.caption(row) for row in rows])

    def _others(self) -> list[list[int]]:
        """The start and up to three more that differ in the last control in which there are any."""
        start, all_of_them = self.meta["start"], self._packed.parts["combinations"]
        for number in reversed(range(len(start))):
            near = all_of_them[(np.delete(all_of_them, number, 1) == np.delete(start, number)).all(axis=1)]
            if len(near) > 1:
                spread = {round(part * (len(near) - 1) / 3) for part in range(4)}
                others = [near[k].tolist() for k in sorted(spread) if near[k].tolist() != start]
                return sorted([start, *others[-3:]], key=self._row)
        return [start]

    def _row(self, place: Sequence[int]) -> int:
        return int(np.flatnonzero((self._packed.parts["combinations"] == place).all(axis=1))[0])

    def _find(self, meta: dict, wanted: Mapping, near: Sequence[int] | None = None) -> list[int]:
        """The first combination with the wanted values, or the nearest to `near`, the earlier controls first."""
        controls = {control["name"]: (number, control["values"]) for number, control in enumerate(meta["controls"])}
        rows = self._packed.parts["combinations"]
        for key, value in wanted.items():
            if key not in controls:
                raise ValueError(f"there is no control {key!r}: it is one of {', '.join(controls)}")
            number, values = controls[key]
            if value not in values:
                raise ValueError(f"no {key} {value!r} here: it is one of {', '.join(map(str, values))}")
            rows = rows[rows[:, number] == values.index(value)]
        if not len(rows):
            raise ValueError(f"there is no curve for {', '.join(f'{key} {value}' for key, value in wanted.items())}")
        return rows[0].tolist() if near is None else self._nearest(rows, list(controls.values()), list(near))

    def _nearest(self, rows: np.ndarray, controls: Sequence[tuple[int, list]], near: list[int]) -> list[int]:
        """Of the combinations `rows` the one that a page goes to from `near`; settle in js/explorer/choose.js does the
        same.
        """
        every = self._packed.parts["combinations"]
        for number, values in controls:
            places, want = list(dict.fromkeys(rows[:, number].tolist())), near[number]
            if want in places:
                place = want
            elif isinstance(values[want], str):
                before = dict.fromkeys(every[(every[:, :number] == near[:number]).all(axis=1), number].tolist())
                place = places[min(list(before).index(want), len(places) - 1)]
            else:
                place = min(places, key=lambda p, at=values[want], values=values: abs(values[p] - at))
            rows = rows[rows[:, number] == place]
        return rows[0].tolist()


def _name(name: str, title: str) -> str:
    """The name, or the title's letters and digits."""
    if name and not re.fullmatch(r"\w+", name):
        raise ValueError(f"the name {name!r} stands in the page's address: letters, digits and _ only")
    return name or re.sub(r"\W+", "_", title.lower()).strip("_") or "chart"


def _log(log: Iterable[str]) -> set[str]:
    if set(log) - {"x", "y"}:
        raise ValueError(f"log is 'x', 'y' or both, not {log!r}")
    return set(log)


def _styles(styles: Mapping[str, str] | str, table: pd.DataFrame, series: str) -> dict[str, str]:
    """Series -> style, for every series of the table; raises ValueError for a style that is none."""
    names = pd.unique(table[series].dropna()) if series in table else ()
    styles = {str(name): styles if isinstance(styles, str) else styles.get(name, "line") for name in names}
    wrong = set(styles.values()) - set(STYLES)
    if wrong:
        raise ValueError(f"there is no style {sorted(map(str, wrong))}: it is one of {', '.join(STYLES)}")
    return styles


def _captions(captions: pd.DataFrame | None, controls: Sequence[str], found: curves.Grid) -> list[str]:
    """What is said of each combination; raises ValueError for columns that are none, or two captions for one."""
    texts = [""] * len(found.combinations)
    if captions is None:
        return texts
    if "caption" not in captions or set(captions) - {"caption", *controls}:
        raise ValueError(f"captions have a column 'caption' and columns of {controls}, not {list(captions)}")
    numbered = [{value: place for place, value in enumerate(values)} for values in found.values]
    columns = [captions.get(name, pd.Series([None] * len(captions), captions.index)) for name in controls]
    for caption, *values in zip(captions["caption"], *columns, strict=True):
        fits = np.ones(len(texts), bool)
        for number, value in enumerate(values):
            if not pd.isna(value):
                fits &= found.combinations[:, number] == numbered[number].get(value, -1)
        for row in np.flatnonzero(fits):
            if texts[row]:
                raise ValueError(f"two captions for one combination: {texts[row]!r} and {caption!r}")
            texts[row] = str(caption)
    return texts


def _words(name, labels: Mapping) -> str:
    """A column, a series or a value as a reader sees it."""
    plain = f"{name:,}" if isinstance(name, int) else f"{name:g}" if isinstance(name, float) else style.words(name)
    return str(labels.get(name, plain))


def _control(name: str, values: list, labels: Mapping, unit: str) -> dict:
    numbers = not any(isinstance(value, str) for value in values)
    shown = [unit.format(_words(value, labels)) for value in values]
    return {
        "name": name,
        "label": _words(name, labels),
        "slider": numbers and len(values) > 2,
        "values": values,
        "shown": shown,
    }


def _series(names: Sequence[str], styles: Mapping, colours: Mapping, labels: Mapping) -> list[dict]:
    """Name, words, style and colour of each series; ink is the page's own."""
    own = {
        name: colours.get(name) or style.COLOURS.get(name) or (style.INK if name == "null" else None) for name in names
    }
    free = iter([colour for colour in PALETTE if colour not in own.values()] * (1 + len(names)))
    found = []
    for name in names:
        hue = own[name] or next(free, PALETTE[0])
        hue = "currentColor" if hue == style.INK else hue
        found.append({"name": name, "label": _words(name, labels), "style": styles[name], "colour": hue})
    return found
