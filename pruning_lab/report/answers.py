"""The answer at the head of a chapter: a sentence for every outcome of a part, of which the verdicts choose one."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import TYPE_CHECKING, Any

import pandas as pd

from . import board, claims, held, strips
from .numbers import counts
from .verdicts import ELSEWHERE, NO, NOT_IN_REACH, OPEN, YES

if TYPE_CHECKING:
    from IPython.display import HTML

OUTCOMES = {YES: "yes", ELSEWHERE[YES]: "yes", NO: "no", ELSEWHERE[NO]: "no", OPEN: "open"}
NONE = "none"  # of what was not run, is not in reach, or is too small for a verdict
MISSED = "missed"  # of what was run and is not in reach, where a sentence of its own says so
Sentences = Mapping[str, Mapping[str, str]]  # "claim: part" -> outcome ("yes", "no", "open", "none", perhaps "missed")


def answer(sentences: Sentences, judged: pd.DataFrame, **numbers: Any) -> str:
    """The sentences that the verdicts choose, in their order, with numbers put in; one that says nothing is left out.

    Of nets that were run and did not get to where a claim speaks it is the outcome "missed", where a part has one.

    Raises:
        KeyError: a part that was not judged, an outcome without a sentence, or a number that a sentence asks for.
    """
    words = {f"{row.claim}: {row.part}": row.verdict for row in judged.itertuples()}
    chosen = [told[outcome(words[part], told)] for part, told in sentences.items()]
    return " ".join(filter(None, (sentence.format(**numbers) for sentence in chosen)))


def outcome(word: str, told: Mapping[str, str]) -> str:
    """Which of a part's sentences the word of its verdict chooses."""
    if word == NOT_IN_REACH and MISSED in told:
        return MISSED
    return OUTCOMES.get(word, NONE)


def strip(judged: pd.DataFrame) -> HTML:
    """The claims of a page in a few lines: each in short, a dot a part, and its word."""
    from IPython.display import HTML

    rows = [_line(claims.load()[id], parts) for id, parts in judged.groupby("claim", sort=False)]
    hollow = strips.HOLLOW if any("lab-hollow" in row for row in rows) else ""
    told = " ".join(filter(None, (board.measured_on(judged), strips.DOT, hollow)))
    name = 'aria-label="The claims of this chapter"'
    return HTML(
        f'<table class="lab-claims" {name}><caption>{escape(told)} {board.EXPLAINED}</caption>{"".join(rows)}</table>'
    )


def _line(claim: claims.Claim, parts: pd.DataFrame) -> str:
    link = f'<a href="#claim-{claim.id}">{escape(claim.short or claim.claim)}</a>'
    theirs = parts[parts.by == "source"]
    nets = counts(theirs.n, theirs.one)
    word = escape(parts.overall.iloc[0] + (f" ({nets})" if nets else ""))
    return f"<tr><td>{link}</td><td>{strips.of_claim(theirs, claim.id)}</td><td>{word}{held.small(parts)}</td></tr>"
