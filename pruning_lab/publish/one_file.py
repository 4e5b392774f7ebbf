"""A report as one HTML file that opens offline: figures drawn by plotly's script inside it, tables, their rows as CSV.

Nothing is asked of another host, and the page says so to the browser (a content security policy). Names of layers and
whatever else is given stand as text.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pandas as pd

from ..records import disk
from . import figure_rows

HERE = Path(__file__).parent / "static"
MOST = 60  # rows of a table on the page; its CSV has all
POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:; font-src data:"
)


def page(
    title: str, answer: str, origin: str, sections: Iterable[Any], written: Any = lambda table: table,
    means: Callable[[str, str], str] = lambda table, column: "",
) -> str:  # fmt: skip
    """The file's text.

    sections: anything with heading, before, figure (a plotly figure or None), after and tables (name -> DataFrame), as
    `report.redundancy.sections` gives. written: a table -> the same as it stands on the page. means: names of a table
    and of a column -> what it holds, "" where that is plain.
    """
    body = "".join(_section(section, written, means) for section in sections)
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(POLICY)}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta name="color-scheme" content="light dark"><title>{escape(title)}</title>'
        f"<style>{_static('one_file.css')}</style></head><body><main><h1>{escape(title)}</h1>"
        f'<p class="answer">{escape(answer)}</p><p class="origin">{escape(origin)}</p>{body}</main>'
        f"<script>{_plotly()}</script><script>{_static('one_file.js')}</script></body></html>\n"
    )


def write(path: Path, text: str) -> None:
    """Put the file in its place, whole or not at all. OSError: there is no such folder, or no room."""
    part = path.with_name(f".{path.name}.part")
    try:
        with disk.room("the report", path.parent, part):
            part.write_text(text, encoding="utf-8")
            part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _section(section: Any, written: Any, means: Callable[[str, str], str]) -> str:
    figure = "" if section.figure is None else _figure(json.loads(section.figure.to_json()), not section.tables)
    tables = "".join(_table(name, table, written, means) for name, table in section.tables.items())
    before, after = (f"<p>{escape(words)}</p>" if words else "" for words in (section.before, section.after))
    return f"<section><h2>{escape(section.heading)}</h2>{before}{figure}{after}{tables}</section>"


def _figure(figure: Mapping[str, Any], rows: bool) -> str:
    """A box for the plot with its JSON beside it, alt text, and its rows where no table below has them."""
    layout = dict(figure.get("layout") or {})
    layout.pop("template", None)  # the page has a light and a dark one
    title, meta = figure_rows.plain(layout.pop("title", None)), layout.pop("meta", None) or {}
    drawn = json.dumps({"data": figure.get("data", []), "layout": layout}, separators=(",", ":"))
    alt, height = str(meta.get("alt") or title), int(layout.get("height") or 450)
    return (
        f'<figure role="group" aria-label="{escape(alt)}"><figcaption>{title}</figcaption>'
        f'<div class="plot" style="height:{height}px"></div>'
        f'<script type="application/json">{_inside_a_script(drawn)}</script><noscript>{escape(alt)}</noscript>'
        f"{_rows(meta.get('file', 'figure.csv'), str(meta.get('rows', ''))) if rows else ''}</figure>"
    )


def _table(name: str, table: pd.DataFrame, written: Any, means: Callable[[str, str], str]) -> str:
    """A table behind a fold, at most `MOST` rows of it, what its columns hold, and all of it as CSV."""
    shown = written(table[:MOST])
    head = "".join(f'<th scope="col">{escape(str(column).replace("_", " "))}</th>' for column in shown.columns)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in row) + "</tr>"
        for row in shown.itertuples(index=False)
    )
    count = f"{len(table):,} rows" if len(table) <= MOST else f"the first {MOST} of {len(table):,} rows"
    wide = f'<div class="wide" tabindex="0" role="region" aria-label="{escape(name)}">'
    link = _rows(f"{name.replace(' ', '_')}.csv", table.to_csv(index=False, float_format="%.6g"))
    return (
        f"<details><summary>Table: {escape(name)} ({count})</summary>"
        f"{wide}<table><thead><tr>{head}</tr></thead>"
        f"<tbody>{body}</tbody></table></div>{_columns(name, table, means)}</details>{link}"
    )


def _columns(name: str, table: pd.DataFrame, means: Callable[[str, str], str]) -> str:
    """What the columns of a table hold, those that have a word on it."""
    said = {str(column): means(name, str(column)) for column in table.columns}
    rows = [f"<dt>{escape(c.replace('_', ' '))}</dt><dd>{escape(words)}</dd>" for c, words in said.items() if words]
    return f'<dl class="columns">{"".join(rows)}</dl>' if rows else ""


def _rows(name: str, text: str) -> str:
    """A link that saves CSV text, which no spreadsheet takes for formulas."""
    address = f"data:text/csv;charset=utf-8,{quote(figure_rows.inert(text))}"
    return f'<p class="rows"><a download="{escape(name)}" href="{address}">Rows (CSV): {escape(name)}</a></p>'


def _static(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")


def _plotly() -> str:
    """The script of the installed plotly package."""
    import plotly

    source = Path(plotly.__file__).parent / "package_data" / "plotly.min.js"
    return source.read_text(encoding="utf-8").replace("</script", "<\\/script").replace("<!--", "<\\!--")


def _inside_a_script(text: str) -> str:
    """JSON in which nothing can end the script element that it stands in."""
    return text.replace("<", "\\u003c")
