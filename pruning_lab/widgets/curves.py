"""A tidy table of curves -> the few bytes that a page needs to draw any combination of its controls, and back."""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

MOST_POINTS = 200_000  # kept: what two combinations share counts once
MANY = 120_000  # points above which y has 12 bits instead of 16
NONE = 2**32 - 1  # no curve here


@dataclass(frozen=True)
class Grid:
    """Which curve stands where: `curves` [N, S] are places in `x` and `y` for N combinations and S series, -1 for none.

    `values` are each control's and `combinations` [N, C] places in them, in the order in which a menu offers them:
    numbers and categories in their own, all others as they first come with the values of the controls before.
    """

    values: list[list]
    series: list[str]
    combinations: np.ndarray
    curves: np.ndarray
    x: list[np.ndarray]
    y: list[np.ndarray]


def grid(table: pd.DataFrame, controls: Sequence[str], series: str, x: str, y: str, loose: set[str]) -> Grid:
    """The table's curves; those of a series in `loose` keep the order of their rows, all others go by x.

    A row without a value of a control belongs to all of its values. Raises ValueError for a missing column, an empty
    table, x that is no number, an infinite y, a point or a curve that comes twice, too many points.
    """
    table = _checked(table, controls, series, x, y)
    values, places, sorts = zip(*(_places(table[name], name) for name in controls), strict=True)
    names, series_places, _ = _places(table[series], series)
    names = list(map(str, names))
    keys = np.column_stack([*places, series_places])
    xs, ys = (table[name].to_numpy(float) for name in (x, y))
    free = np.isin(series_places, [number for number, name in enumerate(names) if name in loose])
    order = np.lexsort((np.where(free, 0, xs), *keys.T[::-1]))
    keys, xs, ys, free = keys[order], xs[order], ys[order], free[order]
    fresh = np.r_[True, (np.diff(keys, axis=0) != 0).any(axis=1)]
    twice = np.flatnonzero(~fresh[1:] & ~free[1:] & (np.diff(xs) == 0))
    if len(twice):
        *place, one = keys[twice[0]]
        raise ValueError(f"{x} = {xs[twice[0]]:g} comes twice for {series} {names[one]!r} at "
                         f"{_named(controls, values, place)}: one row a point is expected")  # fmt: skip
    starts = np.flatnonzero(fresh)
    kept_x, kept_y, numbers = _distinct(np.split(xs, starts[1:]), np.split(ys, starts[1:]))
    combinations, curves = _spread(keys[starts], numbers, len(names), controls, values, names)
    come = _come(combinations, sorts, keys[starts], np.minimum.reduceat(order, starts))
    combinations, curves = combinations[come], curves[come]
    return Grid(list(values), names, combinations, curves, kept_x, kept_y)


def _checked(table, controls: Sequence[str], series: str, x: str, y: str) -> pd.DataFrame:
    """The columns that are read, x and y as numbers; raises ValueError that says what was expected."""
    wanted = [*controls, series, x, y]
    if not controls or len(set(wanted)) != len(wanted):
        raise ValueError(f"controls, series, x and y must be different columns, one control or more; they are {wanted}")
    lacks = [name for name in wanted if name not in table.columns]
    if lacks:
        raise ValueError(f"the table lacks {lacks}: its columns are {list(table.columns)}")
    if not len(table):
        raise ValueError("the table is empty: one row a point is expected")
    table = table[wanted].reset_index(drop=True)
    for name in (x, y):
        try:
            table[name] = pd.to_numeric(table[name]).astype(float)
        except (ValueError, TypeError):
            raise ValueError(f"column {name!r} must hold numbers") from None
    for name, bad in ((x, ~np.isfinite(table[x])), (y, np.isinf(table[y])), (series, table[series].isna())):
        if bad.any():
            row = int(np.flatnonzero(bad)[0])
            raise ValueError(
                f"row {row}: {name} is {table[name][row]}; x must be finite, y finite or NaN for a gap, series named"
            )
    return table


def _places(column: pd.Series, name: str) -> tuple[list, np.ndarray, bool]:
    """The values of a control, each row's place among them (-1 for all), and whether they are ordered."""
    category = isinstance(column.dtype, pd.CategoricalDtype)
    places, found = pd.factorize(column, sort=category)
    values = [value.item() if hasattr(value, "item") else value for value in found]
    if not values:
        raise ValueError(f"column {name!r} has no value at all")
    numbers = all(type(value) in (int, float) for value in values)
    if numbers:
        whole = all(float(value).is_integer() for value in values)  # integers become floats beside a missing value
        texts = sorted(set(map(int, values) if whole else values))
    else:
        values = list(map(str, values))
        texts = list(dict.fromkeys(values))
    at = {text: place for place, text in enumerate(texts)}
    return texts, np.array([*map(at.get, values), -1])[places], category or numbers


def _come(combinations: np.ndarray, sorts: Sequence[bool], keys: np.ndarray, firsts: np.ndarray) -> np.ndarray:
    """The order [N] of the combinations; `firsts` are the rows of the table where the curves `keys` begin."""
    levels = []
    for number, own in enumerate(sorts):
        if own:
            levels.append(combinations[:, number])
            continue
        known = (keys[:, : number + 1] >= 0).all(axis=1)
        groups, group_of = np.unique(
            np.r_[combinations[:, : number + 1], keys[known, : number + 1]], axis=0, return_inverse=True
        )
        first = np.full(len(groups), len(keys) + firsts.max())
        np.minimum.at(first, group_of[len(combinations) :], firsts[known])
        levels.append(first[group_of[: len(combinations)]])
    return np.lexsort(levels[::-1])


def _distinct(xs: list[np.ndarray], ys: list[np.ndarray]) -> tuple[list[np.ndarray], list[np.ndarray], np.ndarray]:
    """Curves without repetition, and the number of each given one; ValueError: too many points."""
    found, x, y, numbers = {}, [], [], np.empty(len(xs), np.int64)
    for place, pair in enumerate(zip(xs, ys, strict=True)):
        key = tuple(part.tobytes() for part in pair)
        if key not in found:
            found[key] = len(x)
            x.append(pair[0])
            y.append(pair[1])
        numbers[place] = found[key]
    points = sum(map(len, y))
    if points > MOST_POINTS:
        raise ValueError(f"{points:,} points are too many for a page, {MOST_POINTS:,} is the most: "
                         "choose fewer epochs or bins; a curve that combinations share counts once")  # fmt: skip
    return x, y, numbers


def _spread(
    keys: np.ndarray, numbers: np.ndarray, series: int, controls, values, names
) -> tuple[np.ndarray, np.ndarray]:
    """Combinations [N, C] and their curves [N, S]; a key with -1 stands for every value of that control."""
    whole = (keys >= 0).all(axis=1)
    if not whole.any():
        raise ValueError(
            f"no row has a value for each of {list(controls)}: rows that hold for all values need some that do not"
        )
    combinations, rows = np.unique(keys[whole, :-1], axis=0, return_inverse=True)
    curves = np.full((len(combinations), series), -1)
    curves[rows, keys[whole, -1]] = numbers[whole]
    for key, number in zip(keys[~whole], numbers[~whole], strict=True):
        fits = ((key[:-1] < 0) | (combinations == key[:-1])).all(axis=1)
        taken = np.flatnonzero(fits & (curves[:, key[-1]] >= 0))
        if len(taken):
            place = _named(controls, values, combinations[taken[0]])
            raise ValueError(
                f"two curves of {names[key[-1]]!r} at {place}: one for all values of a control and one for this"
            )
        curves[fits, key[-1]] = number
    return combinations, curves


def _named(controls: Sequence[str], values, places) -> str:
    """A combination in words."""
    return ", ".join(
        f"{name} {value[p] if p >= 0 else 'of any value'}"
        for name, value, p in zip(controls, values, places, strict=True)
    )


# Bytes


def pack(found: Grid, log: bool, captions: Sequence[str]) -> tuple[bytes, dict]:
    """The curves as compressed bytes, and what `unpack` needs to read them; y as logarithms where `log`.

    Raises ValueError for a negative y where `log`.
    """
    shared, texts = {}, {text: number for number, text in enumerate(dict.fromkeys(captions))}
    x_of = [shared.setdefault(part.tobytes(), len(shared)) for part in found.x]
    xs = [np.frombuffer(part) for part in shared]
    lengths = np.array([len(part) for part in found.y])
    y = np.concatenate(found.y)
    if log and (y < 0).any():
        raise ValueError(f"y has {y[y < 0][0]:g}, which has no place on a logarithmic axis")
    sections = {
        "combinations": found.combinations.astype("<u4"),
        "curves": np.where(found.curves < 0, NONE, found.curves).astype("<u4"),
        "x_of": np.array(x_of, "<u4"),
        "lengths": np.array([len(part) for part in xs], "<u4"),
        "x": np.concatenate(xs).astype("<f4"),
        "captions": np.frombuffer(json.dumps(list(texts)).encode(), np.uint8),
        "caption_of": np.array([texts[text] for text in captions], "<u4"),
    }
    bits = 16 if len(y) <= MANY else 12
    codes, ends = _codes(y, lengths, bits, log)
    # bytes of a kind press well
    sections |= {"ends": ends, "low": (codes & 255).astype(np.uint8), "high": (codes >> 8).astype(np.uint8)}
    press = zlib.compressobj(strategy=zlib.Z_FILTERED)  # for noisy numbers: fewer repetitions are sought
    data = press.compress(b"".join(part.tobytes() for part in sections.values())) + press.flush()
    return data, {"sections": [[name, part.nbytes] for name, part in sections.items()], "bits": bits, "log": log}


def _codes(y: np.ndarray, lengths: np.ndarray, bits: int, log: bool) -> tuple[np.ndarray, np.ndarray]:
    """Codes [points] and the least and greatest number [curves, 2] of every curve; two codes mean zero and a gap."""
    zero, gap = 2**bits - 2, 2**bits - 1
    none = np.isnan(y) | (log & (y == 0))
    with np.errstate(divide="ignore"):
        scaled = np.where(none, np.nan, np.log10(y) if log else y)
    starts = np.r_[0, np.cumsum(lengths)[:-1]]
    ends = np.stack([np.fmin.reduceat(scaled, starts), np.fmax.reduceat(scaled, starts)], axis=1)
    ends = np.where(np.isnan(ends), 0, ends)
    step = np.repeat((ends[:, 1] - ends[:, 0]) / (zero - 1), lengths)
    parts = (scaled - np.repeat(ends[:, 0], lengths)) / np.where(step > 0, step, 1)
    codes = np.where(none, np.where(np.isnan(y), gap, zero), np.rint(np.nan_to_num(parts)))
    return codes.astype(np.uint16), ends.astype("<f8")


@dataclass(frozen=True)
class Packed:
    """What a page reads out of the bytes; js/explorer/decode.js does the same."""

    parts: dict[str, np.ndarray]
    starts: np.ndarray  # of each curve in the codes
    bits: int
    log: bool

    def curve(self, row: int, series: int) -> tuple[np.ndarray, np.ndarray] | None:
        """x [P] and y [P] of a series in a combination, NaN in the gaps; None where it has no curve."""
        number = self.parts["curves"][row, series]
        if number == NONE:
            return None
        first = np.r_[0, np.cumsum(self.parts["lengths"])][self.parts["x_of"][number]]
        codes = self.parts["codes"][self.starts[number] : self.starts[number + 1]].astype(float)
        low, high = self.parts["ends"][number]
        zero, gap = 2**self.bits - 2, 2**self.bits - 1
        y = low + (high - low) * codes / (zero - 1)
        y = np.where(codes == zero, 0, 10**y) if self.log else y
        return self.parts["x"][first : first + len(codes)], np.where(codes == gap, np.nan, y)

    def caption(self, row: int) -> str:
        """What is said of a combination."""
        return json.loads(self.parts["captions"].tobytes())[self.parts["caption_of"][row]]


KINDS = {"x": "<f4", "ends": "<f8", "low": "u1", "high": "u1", "captions": "u1"}


def unpack(data: bytes, meta: dict, controls: int, series: int) -> Packed:
    """The arrays that `pack` put into the bytes."""
    raw, parts, at = zlib.decompress(data), {}, 0
    for name, size in meta["sections"]:
        parts[name] = np.frombuffer(raw[at : at + size], KINDS.get(name, "<u4"))
        at += size
    shapes = {"combinations": (-1, controls), "curves": (-1, series), "ends": (-1, 2)}
    parts |= {name: parts[name].reshape(shape) for name, shape in shapes.items()}
    parts["codes"] = parts.pop("low") + 256 * parts.pop("high").astype(np.uint16)
    starts = np.r_[0, np.cumsum(parts["lengths"][parts["x_of"]])]
    return Packed(parts, starts.astype(np.int64), meta["bits"], meta["log"])
