"""The answer at the head of a chapter: a sentence for every outcome of a part, of which the verdicts choose one."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import TYPE_CHECKING, Any

import pandas as pd

from . import board, claims, strips
from .numbers import counts
from .verdicts import ELSEWHERE, NO, OPEN, YES

if TYPE_CHECKING:
    from IPython.display import HTML

OUTCOMES = {YES: "yes", ELSEWHERE[YES]: "yes", NO: "no", ELSEWHERE[NO]: "no", OPEN: "open"}
NONE = "none"  # of what was not run, is not in reach, or is too small for a verdict
Sentences = Mapping[str, Mapping[str, str]]  # "claim: part" -> outcome ("yes", "no", "open", "none") -> sentence


def answer(sentences: Sentences, judged: pd.DataFrame, **numbers: Any) -> str:
    """The sentences that the verdicts choose, in their order, with numbers put in; one that says nothing is left out.

    Raises:
        KeyError: a part that was not judged, an outcome without a sentence, or a number that a sentence asks for.
    """
    words = {f"{row.claim}: {row.part}": row.verdict for row in judged.itertuples()}
    chosen = [told[OUTCOMES.get(words[part], NONE)] for part, told in sentences.items()]
    return " ".join(filter(None, (sentence.format(**numbers) for sentence in chosen)))


def strip(judged: pd.DataFrame) -> HTML:
    """The claims of a page in a few lines: each in short, a dot a part, and its word."""
    from IPython.display import HTML

    rows = [_line(claims.load()[id], parts) for id, parts in judged.groupby("claim", sort=False)]
    told = f"{board.measured_on(judged)} A dot is a part: right of the bar it holds, left of the bar it fails. "
    told = f"{told.strip()} {strips.HOLLOW}"
    name = 'aria-label="The claims of this chapter"'
    return HTML(
        f'<table class="lab-claims" {name}><caption>{escape(told)} {board.EXPLAINED}</caption>{"".join(rows)}</table>'
    )


def _line(claim: claims.Claim, parts: pd.DataFrame) -> str:
    link = f'<a href="#claim-{claim.id}">{escape(claim.short or claim.claim)}</a>'
    theirs = parts[parts.by == "source"]
    nets = counts(theirs.n)
    word = escape(parts.overall.iloc[0] + (f" ({nets})" if nets else ""))
    return f"<tr><td>{link}</td><td>{strips.of_claim(theirs, claim.id)}</td><td>{word}</td></tr>"
