"""What stands under a figure, as HTML: its rows, the records that it draws, the command that makes it again."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape
from urllib.parse import quote

import pandas as pd

EVIDENCE = "evidence.html"  # beside every chapter: the page of all records
OWN = "<span>Records: of this build's own run</span>"
RUN = re.compile(r"python -m pruning_lab run (?P<chapter>\d\d)\w*")  # what `report.page` writes under a figure


def tools(rows: str, file: str, command: str, records: Sequence[str], more: str = "") -> str:
    """One line of links and folds.

    rows: HTML that leads to the rows. file: the name of the rows' file, which names the figure. records: hashes of the
    published records that the figure draws (`reads.used`). more: HTML that stands before the command.
    """
    fold = f'<div class="highlight"><pre>{escape(command)}</pre></div>' if command else ""
    return f'<div class="lab-tools">{rows}{_records(file, command, records)}{more}{folded("Command", fold)}</div>'


def saved(rows: pd.DataFrame, file: str, page: str) -> str:
    """A link that holds rows as text, for a figure whose page writes no file of them; the file is named by both."""
    text = quote(rows.to_csv(index=False, lineterminator="\n"), safe=" ,;:=/.()[]{}+-_*!?'|~")
    return f'<a download="{escape(named(page, file))}" href="data:text/csv;charset=utf-8,{text}">Rows (CSV)</a>'


def named(page: str, file: str) -> str:
    """What a file is called that a reader takes from a page of this name, "": a page that has none."""
    return f"{page}-{file}" if page else file


def folded(label: str, content: str) -> str:
    """Content behind a label; nothing of none."""
    return f"<details><summary>{label}</summary>{content}</details>" if content else ""


def address(figure: str, records: Sequence[str]) -> str:
    """The address of exactly these records, relative to a chapter."""
    return f"{EVIDENCE}#figure={quote(figure, safe='')}&records={'.'.join(records)}"


def _records(file: str, command: str, records: Sequence[str]) -> str:
    """A link to the records; words where none of them is published, nothing under a figure without records."""
    run = RUN.match(command)
    if not run:
        return ""
    if not records:
        return OWN
    figure = f"{run['chapter']} {file.removesuffix('.csv')}"
    return f'<a href="{escape(address(figure, records))}">Records ({len(records)})</a>'
