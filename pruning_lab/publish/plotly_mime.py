"""myst-nb plugin: a plotly output becomes a figure that lab.js draws when it comes near, with its rows and its command.

The notebook keeps the ordinary plotly output, so JupyterLab and papermill need nothing special. `layout.meta` says
what the page adds: {"alt": text, "rows": CSV text or a path from the project's root, "file": "name.csv",
"command": what makes it again, "records": hashes of the published records that it draws}.
"""

import json
import re
from html import escape
from pathlib import Path, PurePosixPath

from docutils import nodes

from ..report import beneath
from . import figure_rows

MIME = "application/vnd.plotly.v1+json"
KEPT_TAGS = re.compile(r"&lt;(/?(?:b|i|em|strong|sub|sup)|br ?/?)&gt;")


class PlotlyMime:
    """The renderer that pyproject.toml registers under `myst_nb.mime_renderers`."""

    mime_priority_overrides = [("*", MIME, 1)]  # for every builder: linkcheck and latex warn otherwise

    @staticmethod
    def handle_mime(renderer, data, inline: bool):
        """The nodes of one figure, or None for anything that is not a plotly figure on a line of its own."""
        if data.mime_type != MIME or inline:
            return None
        figure = data.content if isinstance(data.content, dict) else json.loads(data.string)
        meta = (figure.get("layout") or {}).get("meta")
        meta = meta if isinstance(meta, dict) else {}
        if not meta.get("alt"):
            message = "plotly figure without alt text: fig.update_layout(meta={'alt': ...})"
            renderer.logger.warning(message, subtype="plotly_alt", line=data.line)
        link = _serve_rows(renderer, meta.get("file"), figure_rows.inert(_rows(renderer, figure, meta, data.line)))
        html = figure_html(figure, meta, link)
        return [
            nodes.raw(text=html, format="html", classes=["output", "lab-out"]),
            nodes.raw(text=r"\emph{Interactive figure: see the web page.}", format="latex"),
        ]


def figure_html(figure: dict, meta: dict, link: str) -> str:
    """The figure as HTML: title, an empty box for the plot, its JSON, alt text, link to the rows, table, command."""
    layout = dict(figure.get("layout") or {})
    layout.pop("template", None)  # lab.js has a light and a dark one
    layout["meta"] = {key: value for key, value in meta.items() if key not in ("rows", "records")}
    title = layout.pop("title", None)  # as HTML it wraps on a phone
    alt = str(meta.get("alt") or figure_rows.plain(title) or "Figure")
    height = int(layout.get("height") or 450)
    drawn = {"data": figure.get("data", []), "layout": layout, "frames": figure.get("frames")}
    body = json.dumps(drawn, separators=(",", ":")).replace("<", "\\u003c")  # no text in it can end the script element
    return (
        f'<figure class="lab-figure" role="group" aria-label="{escape(alt)}">{_title(title)}'
        f'<div class="lab-plot" style="min-height:{height}px"></div>'
        f'<script type="application/json" class="lab-json">{body}</script>'
        f'<noscript><p class="lab-alt">{escape(alt)}</p></noscript>'
        f"{_tools(figure, meta, link)}</figure>"
    )


def _title(title) -> str:
    """A plotly title as the figure's caption; its simple tags stay, all others are shown as text."""
    if not isinstance(title, dict):
        title = {"text": title}
    parts = [title.get("text"), (title.get("subtitle") or {}).get("text")]
    parts = [KEPT_TAGS.sub(r"<\1>", escape(str(part), quote=False)) for part in parts if part]
    if not parts:
        return ""
    small = f'<br><span class="lab-subtitle">{parts[1]}</span>' if len(parts) > 1 else ""
    return f'<figcaption class="lab-title">{parts[0]}{small}</figcaption>'


def _tools(figure: dict, meta: dict, link: str) -> str:
    """What stands under the figure; sphinx-copybutton gives the command a copy button."""
    place = PurePosixPath(link)  # .../rows/<page>/<name>
    file = escape(beneath.named(place.parent.name, place.name))
    rows, table = f'<a href="{escape(link)}" download="{file}">Rows (CSV)</a>', figure_rows.table(figure)
    told = [str(meta.get(key) or "") for key in ("file", "command")]
    return beneath.tools(rows, *told, meta.get("records") or (), beneath.folded("Table", table))


def _rows(renderer, figure: dict, meta: dict, line) -> str:
    """The CSV text behind the figure: given, read from the file named, or else what the figure itself holds."""
    rows = meta.get("rows")
    if not rows or "\n" in rows:
        return rows or figure_rows.rows_csv(figure)
    env = renderer.renderer.sphinx_env
    path = Path(env.app.srcdir, env.config.lab_root, rows) if env else Path(rows)
    if path.is_file():
        return path.read_text(encoding="utf-8")
    renderer.logger.warning(f"no file with the figure's rows: {rows}", subtype="plotly_rows", line=line)
    return figure_rows.rows_csv(figure)


def _serve_rows(renderer, name: str | None, text: str) -> str:
    """Write the rows beside the page, as _downloads/rows/<page>/<name>; returns the address relative to the page."""
    env = renderer.renderer.sphinx_env
    taken = env.temp_data.setdefault("lab_rows", {})  # of this page: Sphinx empties it after each
    stem = re.sub(r"[^\w.-]+", "-", Path(name or f"figure-{len(taken) + 1}").stem).strip("-.") or "figure"
    name = next(n for n in _names(stem) if taken.get(n, text) == text)
    taken[name] = text
    place = f"_downloads/rows/{Path(env.docname).name}/{name}"
    path = Path(env.app.outdir, place)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return "../" * env.docname.count("/") + place


def _names(stem: str):
    """name.csv, name-2.csv, name-3.csv, ..."""
    yield f"{stem}.csv"
    number = 2
    while True:
        yield f"{stem}-{number}.csv"
        number += 1
