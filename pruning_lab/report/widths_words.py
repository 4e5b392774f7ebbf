"""What the page on width says of its numbers."""

from __future__ import annotations

import numpy as np
import pandas as pd

from .numbers import counted, side
from .widths import FITS, means_of, over_all, slope

NEAR = 0.5  # points of test accuracy that are hardly a rise
GOES = {  # side of the interval of a slope -> what the measure does
    "above": "rises", "below": "falls", "open": "does neither for sure", "few": "is known of too few nets",
    "none": "has not been run",
}  # fmt: skip
PUZZLED = {  # sides of coherence and of the gap -> what the page says; any other pair is open
    ("above", "above"): "In our nets both rise together, as in the source",
    ("below", "below"): "In our nets both fall together",
    ("above", "below"): "In our nets the puzzle runs the other way",
    ("below", "above"): "In our nets the puzzle runs the other way",
}


def sentences(table: pd.DataFrame) -> dict[str, str]:
    """What the page says of `by_width`, by the names that its prose has for it."""
    return dict(
        ends_read=moved(table, "test", "test accuracy") + " %.",
        loss_read=moved(table, "test_loss", "the test loss at the end") + lowest(table),
        gradients_read=moved(table, "fc1", "the spread of the first layer's diffs") + " times that of coin tossing.",
        when_read=moved(table, "when", "the epoch of the peak", 0) + ".",
        fit_read=fitted(table),
        puzzle_read=puzzled(table),
        steps_read=same_way(table),
    )


def numbers(table: pd.DataFrame) -> dict[str, str]:
    """What the answer's sentences ask for: changes per doubling of the width, and of the loss over all widths."""
    grown, lost = (np.exp(float(np.mean(values))) if len(values) else np.nan
                   for values in (slope(table, "peak", log=True), over_all(table, "test_loss")))  # fmt: skip
    points = slope(table, "test").mean()
    return dict(peak=f"{100 * abs(grown - 1):.0f}", loss=f"{lost:.1f}", points=f"{abs(points):.1f}", until=until(table))


def until(table: pd.DataFrame) -> str:
    """Up to which width mean test accuracy rises: the narrowest that comes within `NEAR` points of the best."""
    if table.empty:
        return "with width"
    means = means_of(table).test
    width = int((means >= means.max() - NEAR).idxmax())
    return "with every width" if width == means.index[-1] else f"up to {width} units a layer and hardly beyond"


def moved(table: pd.DataFrame, column: str, words: str, digits: int = 1) -> str:
    """From what to what the mean of a measure goes between the narrowest and the widest net."""
    if table.empty:
        return "Not run at this size yet"
    means = means_of(table)[column]
    narrow, wide = means.index[[0, -1]]
    return f"From width {narrow} to {wide}, {words} goes from {means[narrow]:.{digits}f} to {means[wide]:.{digits}f}"


def fitted(table: pd.DataFrame) -> str:
    """How many nets fit their images."""
    if table.empty:
        return "Not run at this size yet."
    return f"Of {counted(len(table), 'net')} {(table.fit >= FITS).sum()} get {FITS} % of their training images right."


def puzzled(table: pd.DataFrame) -> str:
    """Whether coherence and the gap go the same way when nets get wider, by the intervals of their slopes."""
    if table.empty or table.width.nunique() < 2:
        return "Not run at this size yet."
    both = tuple(side(slope(table, name, log=name == "peak")) for name in ("peak", "gap"))
    told = PUZZLED.get(both, "Which way the puzzle runs in our nets is open")
    return f"{told}: with width, coherence {GOES[both[0]]} and the gap {GOES[both[1]]}."


def same_way(table: pd.DataFrame) -> str:
    """At how many steps to the next width coherence and the gap rise, and at how many both move the same way."""
    if table.empty:
        return "Not run at this size yet."
    means = means_of(table)
    coherence, gap = np.diff(means.peak) > 0, np.diff(means.gap) > 0
    return (
        f"Of {len(gap)} steps to the next width, {coherence.sum()} raise the coherence and {gap.sum()} the gap; "
        f"{(coherence == gap).sum()} move both the same way."
    )


def lowest(table: pd.DataFrame) -> str:
    """How the lowest loss of any epoch goes, after a sentence about the last."""
    return "; " + moved(table, "lowest", "the lowest of any epoch").partition(", ")[2] + "." if len(table) else "."
