"""What every figure shares: one colour a criterion, told apart by colour-blind readers too; title, alt text, rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ..criteria import whose

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

INK = "#000001"  # the book's pages draw it dark on light and light on dark
GREY = "#808080"
COLOURS = {  # Okabe & Ito's palette; what is not in it takes the next of SPARE
    "norm": "#0072B2", "frame_potential": "#D55E00", "random": GREY, "frame_potential_raw": "#CC79A7",
    "inner_product": "#009E73", "activation": "#E69F00", "taylor": "#56B4E9",
    "dense": INK, "magnitude": "#0072B2", "diff": "#D55E00", "gradient": "#E69F00", "weight_taylor": "#56B4E9",
    "real images": "#0072B2", "Gaussian images": "#D55E00", "Gaussian, from trained weights": "#009E73",
}  # fmt: skip
DASHES = {
    "at chance": "dot",
    "worst": "dash",
    "shuffled": "dot",
    "local": "dashdot",
    "ERK": "longdash",
    "first weights": "longdashdot",
}
RAMP = ("#3B528B", "#2C728E", "#21908C", "#27AD81", "#5DC863", "#AADC32")
SPARE = ("#B5508A", "#44AA99", "#999933", "#7D76D0")  # contrast of 3 on light and on dark
TICKS = 6  # on a logarithmic axis at most
MEANS_FROM = 3  # nets; fewer are drawn as single runs
ENDS = {"lowest": "lowest first", "highest": "highest first"}


def colour(criterion: str) -> str:
    """The colour of a criterion, the same in every figure; a user's own gets one by its name."""
    return COLOURS.get(criterion) or SPARE[sum(criterion.encode()) % len(SPARE)]


def look(name: object, colours: Mapping[str, str] | None = None) -> dict[str, str]:
    """Colour and dash of a line: of a criterion and, after a comma, what was done to its mask ("magnitude, worst")."""
    criterion, _, how = str(name).partition(", ")
    return dict(color=(colours or COLOURS).get(name) or colour(criterion), dash=DASHES.get(how, "solid"))


def words(name: str) -> str:
    """A criterion's name as a reader sees it."""
    return name.replace("_", " ")


def line_name(criterion: str, remove: str) -> str:
    """The name of a line; what is in no source document is marked as this library's or as the reader's."""
    name = "random order" if criterion == "random" else f"{words(criterion)}, {ENDS[remove]}"
    return name if (by := whose(criterion)) == "source" else f"{name} ({by})"


def family_name(criterion: str) -> str:
    """The legend's name of a criterion's lines, marked as `line_name` marks them."""
    name = "random order" if criterion == "random" else words(criterion)
    return name if (by := whose(criterion)) == "source" else f"{name} ({by})"


def summarise(table: pd.DataFrame, by: Sequence[str], value: str) -> pd.DataFrame:
    """Mean and standard deviation of `value` over nets and orders, and the number of nets, one row a group of `by`."""
    seeds = table.assign(seed=table.get("seed", 0))
    out = seeds.groupby(list(by), sort=False).agg(
        mean=(value, "mean"), sd=(value, lambda v: v.std(ddof=1)), nets=("seed", "nunique")
    )
    return out.reset_index()


def log_axis(values: Iterable[float]) -> dict[str, object]:
    """A logarithmic axis of numbers with at most `TICKS` ticks, each a whole number as one writes it: "0.1", "1,000".

    Powers of ten; where fewer than three are there also what lies between, where there are too many every second.
    """
    known = np.asarray(list(values), dtype=float)
    known = known[np.isfinite(known) & (known > 0)]
    ticks = _powers(known.min(), known.max()) if len(known) else []
    if not ticks:
        return dict(type="log")
    written = [np.format_float_positional(v, trim="-") if v < 1 else f"{v:,.15g}" for v in ticks]
    return dict(type="log", tickvals=ticks, ticktext=written)


def _powers(low: float, high: float) -> list[float]:
    """The ticks between two numbers, or one at each where no round one lies there."""
    first, last = (int(np.floor(np.log10(end))) for end in (low, high))
    found = {}
    for factors in ((1,), (1, 3), (1, 2, 5), (1, 2, 3, 5, 7)):
        every = [float(f"{f}e{k}") for k in range(first, last + 1) for f in factors]
        found[factors] = [v for v in every if low * 0.999 <= v <= high * 1.001]
    if (powers := found[1,])[2:]:
        return powers[:: -(-len(powers) // TICKS)]
    few = [ticks for ticks in found.values() if 2 <= len(ticks) <= TICKS]
    return few[-1] if few else sorted({float(f"{end:.2g}") for end in (low, high)})


def ramp(count: int) -> list[str]:
    """So many colours in an order, from blue to green, seen on light and on dark pages alike."""
    stops, found = [[int(hue[i : i + 2], 16) for i in (1, 3, 5)] for hue in RAMP], []
    for k in range(count):
        place, part = divmod(k * (len(stops) - 1) / max(count - 1, 1), 1)
        after = stops[min(int(place) + 1, len(stops) - 1)]
        mixed = [round(a + (b - a) * part) for a, b in zip(stops[int(place)], after, strict=True)]
        found.append("#" + "".join(f"{channel:02X}" for channel in mixed))
    return found


def faint(hue: str) -> str:
    """A colour for a band."""
    r, g, b = (int(hue[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({r},{g},{b},0.16)"


def finish(
    figure: Figure, title: str, alt: str, file: str, command: str, rows: pd.DataFrame, records: Sequence[str] = ()
) -> Figure:
    """What every figure carries: title, alt text, its rows as CSV, the command that makes it again, hashes of the
    published records that it draws.
    """
    text = rows.to_csv(index=False, float_format="%.6g")
    meta = dict(alt=alt, rows=text, file=file, command=command, records=list(records))
    figure.update_layout(title=title, meta=meta, legend=dict(orientation="h", y=-0.2))
    return figure
