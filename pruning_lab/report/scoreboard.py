"""All claims of the sources as one table: a row each with its strip, its size, its word, and its parts in a fold."""

from __future__ import annotations

import base64
import csv
import io
from collections.abc import Mapping
from html import escape
from itertools import groupby
from typing import TYPE_CHECKING, Any

import pandas as pd

from . import claims, held, standing, strips
from .board import EXPLAINED
from .numbers import counted, counts, size
from .standing import SOURCES, WORDS
from .told import Told, every

if TYPE_CHECKING:
    from IPython.display import HTML

HEAD = ("claim", "measured", "came out")
COLUMNS = ("claim", "part", "by", "kind", "margin", "unit", "n", "mean", "low", "high", "verdict", "reason", "on")
LEGEND = (
    "Holds where run: the other parts were not run, or got no verdict. In part: the others are open. "
    f"{strips.DOT} The bar is as wide as a part's own interval, whatever its unit. {strips.HOLLOW}"
)


def board(told: Mapping[str, Told]) -> HTML:
    """Squares by word, controls (shown where a script can run), and the table of all claims by question and chapter."""
    from IPython.display import HTML

    table = every(told)
    standings = standing.table(table)
    body = "".join(_groups(standings, dict(iter(table.groupby("claim", sort=False)))))
    head = "".join(f'<th scope="col">{name}</th>' for name in HEAD)
    caption = f"<caption>{LEGEND} {EXPLAINED}</caption>"
    rows = f'<table class="lab-board">{caption}<thead><tr>{head}</tr></thead>{body}</table>'
    return HTML(f'<div class="lab-claims-page">{squares(standings)}{_controls(standings)}{rows}{_csv(table)}</div>')


def squares(standings: pd.DataFrame, page: str = "") -> str:
    """The claims as squares, stacked by word; each leads to its row, of this page or of another."""
    told = standings.set_index("claim").word
    stacks = []
    for word, count in standing.counts(standings).items():
        glyph, _ = WORDS[word]
        marks = "".join(_square(id, word, page) for id in told.index[told == word])
        name = f'<span class="lab-glyph">{glyph}</span> {word} <b>{count}</b>'
        stacks.append(f'<li data-word="{word}"><span class="lab-word">{name}</span><span>{marks}</span></li>')
    return f'<ul class="lab-squares">{"".join(stacks)}</ul>'


def _square(id: str, word: str, page: str) -> str:
    name = escape(f"{_short(claims.load()[id])}: {word}")
    return f'<a href="{page}#{id}" title="{name}" aria-label="{name}" data-word="{word}"></a>'


def _short(claim: claims.Claim) -> str:
    return claim.short or claim.claim


def _groups(standings: pd.DataFrame, parts: Mapping[str, pd.DataFrame]) -> list[str]:
    """Groups of rows: under each question its chapters, under each chapter its claims."""
    titles, known, order = standing.titles(), claims.load(), [*standing.QUESTIONS, standing.OTHER]
    rows = standings.to_dict("records")
    rows.sort(key=lambda row: order.index(standing.question(known[row["claim"]].chapter)))
    made, asked = [], ""
    grouped = [(chapter, list(those)) for chapter, those in groupby(rows, key=lambda row: known[row["claim"]].chapter)]
    for chapter, those in grouped:
        if (question := standing.question(chapter)) != asked:
            head = f'<tr><th scope="rowgroup" colspan="{len(HEAD)}">{escape(question)}</th></tr>'
            made.append(f'<tbody class="lab-question">{head}</tbody>')
        asked = question
        made.append(_chapter(titles[chapter], those, parts))
    return made


def _chapter(title: str, those: list[dict[str, Any]], parts: Mapping[str, pd.DataFrame]) -> str:
    """The rows of one chapter under its name and, where all have the same, what they were measured on."""
    page, ran = those[0]["page"], [row for row in those if row["n"]]
    name = f'<a href="{page}.html">{escape(title)}</a>' if page else f"{escape(title)} (to come)"
    apart = len({row["on"] for row in ran}) > 1
    where = _chip(ran[0]) if ran and not apart else ""
    head = f'<tr class="lab-chapter"><th scope="rowgroup" colspan="{len(HEAD)}">{name} {where}{_words(those)}</th></tr>'
    return f"<tbody>{head}{''.join(_row(row, parts[row['claim']], apart) for row in those)}</tbody>"


def _words(those: list[dict[str, Any]]) -> str:
    """How many claims have which word: seen where a narrow page has the claims of a chapter folded away."""
    there = [row["word"] for row in those]
    said = ", ".join(f"{word} {there.count(word)}" for word in WORDS if word in there)
    return f'<span class="lab-words">{escape(said)}</span>'


def _chip(row: Mapping[str, Any]) -> str:
    """What the nets of a claim that was run are."""
    where = f"measured on {row['on']}" if row["on"] else "as in the source"
    return f'<span class="lab-chip">{escape(where)}</span>' if row["n"] else ""


def _row(row: dict[str, Any], parts: pd.DataFrame, apart: bool) -> str:
    """One claim: a row with what a script filters and sorts by; `apart`: it says itself what it was measured on."""
    claim, theirs = claims.load()[row["claim"]], parts[parts.by == "source"]
    data = {"word": row["word"], "source": " ".join(standing.sources(claim)), "chapter": claim.chapter,
            "sure": f"{row['sure']:.2f}", "nets": row["n"], "own": int(row["n"] > 0 and not row["on"])}  # fmt: skip
    said = " ".join(f'data-{name}="{escape(str(value))}"' for name, value in data.items())
    short = escape(_short(claim))
    name = f'<a href="{row["page"]}.html#claim-{claim.id}">{short}</a>' if row["page"] else short
    by = escape(", ".join(SOURCES[key] for key in standing.sources(claim)))
    where = _chip(row) if apart else ""
    numbers = f"{strips.of_claim(theirs, claim.id)}{came(theirs)}"
    cells = [numbers, f"{_glyph(row['word'])} {escape(row['overall'])}{held.small(parts)}"]
    first = f'<th scope="row">{name} {where}<span class="lab-by">{claim.id}, {by}</span>{_fold(claim, parts)}</th>'
    return f'<tr id="{claim.id}" {said}>{first}{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>'


def _glyph(word: str) -> str:
    return f'<span class="lab-glyph" data-word="{word}" aria-hidden="true">{WORDS[word][0]}</span>'


def came(theirs: pd.DataFrame) -> str:
    """What came out of the only part that ran, with its interval and nets; of several how many there are."""
    ran = theirs[theirs.n > 0].to_dict("records")
    if len(ran) == 1:
        return escape(size(ran[0]))
    return f"{counted(len(ran), 'part')}, {counts(theirs.n, theirs.one)}" if ran else ""


def _fold(claim: claims.Claim, parts: pd.DataFrame) -> str:
    """The whole claim and its parts, under the short one."""
    rows = [row for row in parts.to_dict("records") if row["part"]]
    items = "".join(f"<li>{escape(_part(row))}</li>" for row in rows)
    said = f"<p>{escape(claim.claim)} <i>{escape(claim.where)}</i></p>"
    name = counted(len(rows), "part") if rows else "in full"
    return f"<details><summary>{name}</summary>{said}{f'<ul>{items}</ul>' if rows else ''}</details>"


def _part(row: Mapping[str, Any]) -> str:
    ours = " (our question)" if row["by"] == "ours" else ""
    reason = f", {row['reason']}" if row["reason"] else ""
    return f"{row['part']}{ours}: {row['verdict']}{reason}" + (f"; {size(row)}" if row["n"] else "")


def _controls(standings: pd.DataFrame) -> str:
    """What filters and sorts; a page without scripts does not show it."""
    titles, known = standing.titles(), claims.load()
    there = dict.fromkeys(known[id].chapter for id in standings.claim)  # in the order of the book
    chapters = [(chapter, titles[chapter]) for chapter in there]
    sorts = [("", "question"), ("sure", "certainty"), ("nets", "number of nets")]
    selects = [_select("source", "Source", [("", "all"), *SOURCES.items()]),
               _select("chapter", "Chapter", [("", "all"), *chapters]), _select("sort", "Sort by", sorts)]  # fmt: skip
    own = '<label><input type="checkbox" name="own"> the source\'s setting only</label>'
    reset = '<button type="reset">Show all</button>'
    return f'<form class="lab-controls" hidden>{"".join(selects)}{own}{reset}<output></output></form>'


def _select(name: str, label: str, options: list[tuple[str, str]]) -> str:
    inside = "".join(f'<option value="{escape(value)}">{escape(text)}</option>' for value, text in options)
    return f'<label>{label} <select name="{name}">{inside}</select></label>'


def _csv(table: pd.DataFrame) -> str:
    """A link to the rows of all parts."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(
        [["" if pd.isna(row[name]) else row[name] for name in COLUMNS] for row in table.to_dict("records")]
    )
    packed = base64.b64encode(out.getvalue().encode()).decode()
    return f'<p><a download="claims.csv" href="data:text/csv;charset=utf-8;base64,{packed}">All parts as CSV</a></p>'


def questions() -> HTML:
    """What the sources only ask: each with its chapter and where it stands there."""
    from IPython.display import HTML

    titles, pages = standing.titles(), standing.pages()
    items = []
    for claim in (one for one in claims.load().values() if one.asks):
        title = escape(titles[claim.chapter])
        where = f'<a href="{pages[claim.chapter]}.html">{title}</a>' if claim.chapter in pages else f"{title} (to come)"
        text = claim.short or claim.claim.removeprefix("(question) ")
        items.append(f'<li id="{claim.id}">{escape(text)} <span class="lab-by">{claim.id}, {where}</span></li>')
    return HTML(f'<ul class="lab-questions">{"".join(items)}</ul>')


def sentences(told: Mapping[str, Told]) -> dict[str, Any]:
    """What pages say of all claims: how many there are, how they stand, and which chapters were not heard."""
    standings, written = standing.table(every(told)), standing.pages()
    ran = standings[standings.n > 0]
    stand = [f"{word} {n}" for word, n in standing.counts(ran).items()]
    read = f"Nets were run for {len(ran)} of them: {', '.join(stand)}." if stand else ""
    lost = [f"{int(stem[:2])}" for stem in written.values() if stem not in told]
    unheard = (
        f"Chapters without a verdict in this build: {', '.join(lost)}. Their claims stand here as not run; "
        "the command that builds the whole book fills them in."
    )
    asked = sum(claim.asks for claim in claims.load().values())
    here = sum(claim.chapter in written for claim in claims.load().values() if not claim.asks)
    counted_ = dict(claims_made=len(standings), claims_here=here, claims_to_come=len(standings) - here)
    return counted_ | dict(questions_asked=asked, standing_read=read, unheard=unheard if lost else "")
