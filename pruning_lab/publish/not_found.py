"""The page that a server shows where there is none: right addresses in whatever folder, at whatever depth."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

MARK = "_static/lab.css"  # lies in the book's own folder, and in no folder above it

# A server shows this page at the address that was asked for, so that the folder it lies in must be found first: upwards
# from there, the first that has the book's style sheet. Of a page that is opened from a folder it is where it lies.
SCRIPT = """
(async () => {
  if (location.protocol === "file:") return;
  let folder = new URL(".", location.href);
  for (;;) {
    const answer = await fetch(new URL("%s", folder), { method: "HEAD" }).catch(() => null);
    if (answer?.ok) break;
    const above = new URL("..", folder);
    if (above.href === folder.href) return;
    folder = above;
  }
  const base = document.createElement("base");
  base.href = folder.href;
  document.head.prepend(base);
  document.documentElement.dataset.found = folder.pathname;
})();
"""
STYLE = """
:root { color-scheme: light dark; background: Canvas; color: CanvasText; }
body { font: 1.1rem/1.6 system-ui, sans-serif; max-width: 40rem; margin: 10vh auto; padding: 0 1rem; }
input, button { font: inherit; padding: .3rem .6rem; }
"""


def page(book: str, titles: Mapping[str, str]) -> str:
    """The page's HTML, complete in itself: what the book is called, and its pages as address -> title."""
    links = "\n".join(f'<li><a href="{escape(name)}">{escape(title)}</a></li>' for name, title in titles.items())
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>No such page - {escape(book)}</title>
<style>{STYLE}</style>
<script>{SCRIPT % MARK}</script>
</head>
<body>
<main>
<h1>There is no such page</h1>
<p>It may have moved. This is the book "{escape(book)}"; search in it, or open one of its pages.</p>
<form action="search.html" role="search">
<label>Search <input type="search" name="q"></label> <button>Search</button>
</form>
<ul>
{links}
</ul>
</main>
</body>
</html>
"""
