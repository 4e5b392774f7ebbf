"""A plotly figure as JSON -> the numbers in it: rows for a CSV file, a table for a page without scripts.

Rows that a page offers are opened in spreadsheets, which take a cell that begins with =, +, - or @ for a formula: in
those that are no numbers an apostrophe stands before it (`inert`). The records' own `table.csv` are not touched, since
they are read back.
"""

import base64
import csv
import io
import re
from html import escape

import numpy as np

MOST_ROWS = 40  # of each line in a table on the page; the CSV has all
MOST_COLUMNS = 9
_FORMULA = re.compile(r"\s*[=+\-@\uff1d\uff0b\uff0d\uff20]|[\t\r\n]")  # full-width signs count too
_NUMBER = re.compile(r"[+-]?((\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?|inf|infinity|nan)", re.IGNORECASE | re.ASCII)


def plain(text) -> str:
    """A plotly text (string, or a title object) without its tags."""
    text = text.get("text") if isinstance(text, dict) else text
    text = "" if text is None else str(text)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", text)).strip()


def values(array) -> list:
    """A plotly array, plain or packed as {dtype, bdata, shape}, as a list; empty for anything else."""
    if isinstance(array, dict) and "bdata" in array:
        flat = np.frombuffer(base64.b64decode(array["bdata"]), np.dtype(array["dtype"]).newbyteorder("<"))
        shape = array.get("shape", flat.size)
        shape = [int(n) for n in shape.split(",")] if isinstance(shape, str) else shape
        return flat.reshape(shape).tolist()
    return list(array) if isinstance(array, list | tuple) else []


def lines(figure: dict) -> list[tuple[str, list, list]]:
    """(name, x, y) of every trace that shows data; bands and other decoration (`hoverinfo: skip`) are left out."""
    found, titles = [], panels(figure)
    for number, trace in enumerate(figure.get("data", []), 1):
        x, y = values(trace.get("x")), values(trace.get("y"))
        if trace.get("hoverinfo") == "skip" or trace.get("visible") is False or "z" in trace or not (x or y):
            continue
        x, y = (x or list(range(len(y)))), (y or [None] * len(x))
        panel = titles.get(trace.get("xaxis", "x"))
        found.append((f"{panel}: " * bool(panel) + (plain(trace.get("name")) or f"line {number}"), x, y))
    return found


def panels(figure: dict) -> dict[str, str]:
    """The title above each panel by its x axis ("x", "x2", ...); empty where there is one panel only."""
    layout = figure.get("layout", {})
    axes = {key.replace("axis", ""): value for key, value in layout.items() if re.fullmatch(r"xaxis\d*", key)}
    titles = {}
    for name, axis in axes.items() if len(axes) > 1 else ():
        top = (layout.get("yaxis" + str(axis.get("anchor", name))[1:]) or {}).get("domain", [0, 1])[1]
        middle = sum(axis.get("domain", [0, 1])) / 2
        for note in layout.get("annotations", []):
            on_paper = note.get("xref") == note.get("yref") == "paper"
            if on_paper and abs(note.get("x", 9) - middle) < 0.01 and abs(note.get("y", 9) - top) < 0.01:
                titles[name] = plain(note.get("text"))
    return titles


def cells(figure: dict) -> list[tuple[str, list, list, list]]:
    """(name, x, y, z [len(y), len(x)]) of every heatmap."""
    found = []
    for number, trace in enumerate(figure.get("data", []), 1):
        z = values(trace.get("z"))
        if z and isinstance(z[0], list):
            x = values(trace.get("x")) or list(range(len(z[0])))
            y = values(trace.get("y")) or list(range(len(z)))
            found.append((plain(trace.get("name")) or f"map {number}", x, y, z))
    return found


def axis_titles(figure: dict) -> tuple[str, str]:
    """The titles of the first two axes, "x" and "y" where there is none."""
    layout = figure.get("layout", {})
    x, y = (plain((layout.get(axis) or {}).get("title")) for axis in ("xaxis", "yaxis"))
    return x or "x", y or "y"


def rows_csv(figure: dict) -> str:
    """Everything drawn, one row a point, at full precision."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    maps = cells(figure)
    writer.writerow(["line", *axis_titles(figure)] + (["value"] if maps else []))
    writer.writerows((name, *pair) for name, x, y in lines(figure) for pair in zip(x, y, strict=False))
    for name, x, y, z in maps:
        writer.writerows((name, a, b, v) for b, row in zip(y, z, strict=False) for a, v in zip(x, row, strict=False))
    return out.getvalue()


def inert(text: str) -> str:
    """CSV text whose cells no spreadsheet takes for a formula: an apostrophe stands before what could be; numbers stay.

    Text without such cells is returned as it is.
    """
    rows = list(csv.reader(io.StringIO(text, newline="")))
    safe = [[_inert(cell) for cell in row] for row in rows]
    if safe == rows:
        return text
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(safe)
    return out.getvalue()


def _inert(cell: str) -> str:
    return f"'{cell}" if _FORMULA.match(cell) and not _NUMBER.fullmatch(cell) else cell


def table(figure: dict) -> str:
    """An HTML table of what is drawn: a column a line where all lines share their x, else one row a point."""
    x_title, y_title = axis_titles(figure)
    found = lines(figure)
    if found and len(found) <= MOST_COLUMNS and all(x == found[0][1] for _, x, _ in found):
        columns = zip(*(y for _, _, y in found), strict=False)
        body, total = _thin([(a, *row) for a, row in zip(found[0][1], columns, strict=False)])
        return _html([x_title, *(name for name, _, _ in found)], body, y_title, total)
    if found:
        parts = [_thin([(name, a, b) for a, b in zip(x, y, strict=False)]) for name, x, y in found]
        return _html(["", x_title, y_title], [row for body, _ in parts for row in body], "", sum(n for _, n in parts))
    for name, x, y, z in cells(figure)[:1]:
        body = [(b, *row) for b, row in zip(y, z, strict=False)]
        return _html([f"{y_title} / {x_title}", *(_text(a) for a in x)], body, name, len(body))
    return ""


def _thin(rows: list) -> tuple[list, int]:
    """At most MOST_ROWS of the rows, evenly spread with both ends, and how many there were."""
    if len(rows) <= MOST_ROWS:
        return rows, len(rows)
    return [rows[round(i)] for i in np.linspace(0, len(rows) - 1, MOST_ROWS)], len(rows)


def _text(value) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else plain(value)


def _html(head: list[str], body: list, caption: str, total: int) -> str:
    note = f"{len(body)} of {total} rows (the CSV has all)" if len(body) < total else ""
    caption = "; ".join(part for part in (caption, note) if part)
    rows = "".join("<tr>" + "".join(f"<td>{escape(_text(v))}</td>" for v in row) + "</tr>" for row in body)
    return (
        '<div class="lab-table"><table class="table">'
        + (f"<caption>{escape(caption)}</caption>" if caption else "")
        + "<thead><tr>"
        + "".join(f'<th scope="col">{escape(name)}</th>' for name in head)
        + "</tr></thead>"
        + f"<tbody>{rows}</tbody></table></div>"
    )
