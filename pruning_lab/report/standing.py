"""Where each claim stands: one word out of those of its parts, how sure it is, and which question it belongs to."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd

from ..running import chapters
from . import claims, strips
from .verdicts import ELSEWHERE, NO, NOT_IN_REACH, NOT_RUN, OPEN, YES

QUESTIONS = {  # -> the chapters that ask it, written or to come
    "Which units could go, and how do they lie?": ("frame_potential", "force_graph", "alignment", "subspace"),
    "Do gradients tell learning from memorising?": ("coherence", "diffs", "width", "memorisation"),
    "Which weights may go?": (
        "pruning_by_width", "pruning_by_parent", "large_networks", "lottery_ticket", "pruning_at_init", "layers",
    ),
    "Why do nets with so much to spare work at all?": (
        "intrinsic_dimension", "landscape", "double_descent", "neural_collapse",
    ),
}  # fmt: skip
OTHER = "More questions"  # of chapters that are not named above
SOURCES = {
    "000": "Heitmann, redundancy", "001": "Heitmann, dynamics", "002": "Denis", "003": "Yauney", "004": "Sarkar",
}  # fmt: skip
WORDS = {  # of a claim -> its glyph, and what it says of the source's parts
    "holds": ("✓", "every part of it holds"),
    "holds where run": ("✓–", "every part that was run holds; others were not run, or are not in reach"),
    "holds in part": ("✓?", "some parts hold, others are open"),
    "holds and fails": ("✓✗", "some parts hold, others fail"),
    "fails in part": ("✗?", "some parts fail, others are open"),
    "fails where run": ("✗–", "every part that was run fails; others were not run, or are not in reach"),
    "fails": ("✗", "every part of it fails"),
    "open": ("?", "no part is decided: the intervals do not tell, or there are too few nets"),
    "not in reach": ("…", "the runs did not get to where it speaks"),
    "not run": ("–", "nothing has been run, or nothing large enough for a verdict"),
}
HOLDS, FAILS = {YES, ELSEWHERE[YES]}, {NO, ELSEWHERE[NO]}


def word(parts: Iterable[str]) -> str:
    """The one of `WORDS` for the words of a claim's deciding parts."""
    said = list(parts)
    yes, no = (any(one in group for one in said) for group in (HOLDS, FAILS))
    if yes and no:
        return "holds and fails"
    if yes or no:
        rest = {*said} - HOLDS - FAILS
        return ("holds" if yes else "fails") + (" in part" if OPEN in rest else " where run" if rest else "")
    return next((one for one in (OPEN, NOT_IN_REACH) if one in said), NOT_RUN)


def certainty(parts: pd.DataFrame) -> float:
    """How many half-intervals the least sure of a claim's parts lies from what decides it; -1: no part has two nets."""
    rows = [row for row in parts.to_dict("records") if np.isfinite(row["high"]) and np.isfinite(row["low"])]
    return min((abs(strips.distance(row)) for row in rows), default=-1.0)


def table(every: pd.DataFrame) -> pd.DataFrame:
    """A row a claim, in the order of the list: claim, page (the chapter's notebook, "" of one to come), word, overall
    (the tally), on (what sets the run apart), sure (`certainty`), n (the fewest nets of a part that ran).

    every: `told.every`.
    """
    rows = []
    for id, parts in every.groupby("claim", sort=False):
        theirs = parts[parts.by == "source"]
        ran = theirs.n[theirs.n > 0]
        first = dict(claim=id, page=parts.page.iloc[0], overall=parts.overall.iloc[0], on=parts.on.iloc[0])
        rows.append(first | dict(word=word(theirs.verdict), sure=certainty(theirs), n=int(min(ran, default=0))))
    return pd.DataFrame(rows)


def question(chapter: str) -> str:
    """The one of `QUESTIONS` that a chapter of `claims.yml` asks; `OTHER` where none has it."""
    return next((asked for asked, those in QUESTIONS.items() if chapter in those), OTHER)


def pages() -> dict[str, str]:
    """Chapter of `claims.yml` -> its notebook's name, of those that are written."""
    return {path.stem[3:]: path.stem for path in chapters.chapters()}


def titles() -> dict[str, str]:
    """Chapter of `claims.yml` -> how the pages name it: "5 Width", or without a number for one to come."""
    found = {}
    for path in chapters.chapters():
        first = next(
            "".join(cell["source"]) for cell in chapters.read(path)["cells"] if cell["cell_type"] == "markdown"
        )
        found[path.stem[3:]] = f"{int(path.stem[:2])} {first.splitlines()[0].removeprefix('# ').partition(':')[0]}"
    return {claim.chapter: claim.chapter.replace("_", " ").capitalize() for claim in claims.load().values()} | found


def counts(standings: pd.DataFrame) -> dict[str, int]:
    """How many claims have each of `WORDS`, those that some have, in its order."""
    return {one: n for one in WORDS if (n := int((standings.word == one).sum()))}


def sources(claim: claims.Claim) -> list[str]:
    """The keys in `SOURCES` of the documents that make a claim."""
    return [key.strip() for key in claim.source.split(",")]
