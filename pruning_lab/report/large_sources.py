"""What masks of large networks are made of: how early a mask by magnitude settles, and of which epoch the diffs are."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from ..experiments import MaskedTraining
from .large import NAMES
from .reads import find

COLUMNS = ("model", "seed", "first", "chance", "peak", "loss", "refreshed")


def sources(plan: Iterable[MaskedTraining]) -> pd.DataFrame:
    """A row a parent of which the diffs are stored.

    first: the share of the final magnitude mask that the mask by the first weights has, in %; chance: the same of a
    random mask with as many weights a layer. peak, loss: the epoch at which the diffs were taken, and the loss there.
    refreshed: whether the peak is that with batch norms' own statistics.
    """
    rows = []
    for e in dict.fromkeys(e.diffs_from for e in plan if "diff" in e.reads):
        if (record := find(e)) is not None:
            first, at = record.table.iloc[0], record.table[record.table.peak].iloc[0]
            masks = (100 * first.overlap, 100 * first.chance_in_layers)
            rows.append((e.net.model, e.net.seed, *masks, at.epoch, at.loss, e.refreshed))
    return pd.DataFrame(rows, columns=COLUMNS)


def table(found: pd.DataFrame) -> pd.DataFrame:
    """`sources` for the page, as text; means over parents."""
    if found.empty:
        return pd.DataFrame()
    groups = found.groupby("model", sort=False)
    shares = {words: groups[column].mean().map("{:.0f}".format).tolist() for column, words in SHARES.items()}
    peaks = groups.peak.agg(lambda epochs: ", ".join(f"{epoch:.0f}" for epoch in epochs))
    losses = groups.loss.agg(lambda losses: ", ".join(f"{loss:.2f}" for loss in losses))
    named = {"net": [NAMES[model] for model in peaks.index]}
    return pd.DataFrame(named | shares | {PEAKS: peaks.tolist(), LOSSES: losses.tolist()})


SHARES = {"first": "first mask in the last, %", "chance": "a random one, %"}
PEAKS, LOSSES = "diffs from epoch", "loss there"


def words(found: pd.DataFrame) -> str:
    """How much of the magnitude mask stands before the training, in a sentence a kind of net."""
    told = [
        f"in {NAMES[model]}, {part['first'].mean():.0f} % of it is in the mask by the first weights "
        f"(a random mask with as many weights a layer: {part.chance.mean():.0f} %)"
        for model, part in found.groupby("model", sort=False)
    ]
    return f"Of the final magnitude mask, {'; '.join(told)}." if told else "Not run at this size yet."
