"""The style sheets of a built page as one file, asked for last in its head: on a slow line a reader sees text sooner.

A page shows nothing before its style sheets are there, and runs no script that stands below one of them. A dozen
sheets are a dozen requests, and scripts that a theme wants early come before what is read.
"""

import hashlib
import os
import re
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

LINK = re.compile(r'[ \t]*<link\b[^>]*\brel="stylesheet"[^>]*>\n?')
PRELOADED = re.compile(r'[ \t]*<link\b[^>]*\brel="preload"[^>]*\bas="script"[^>]*>\n?')  # they are asked for anyway
ADDRESS = re.compile(r"""url\(\s*(["']?)(?!["']|data:|#|[a-z]+:|//)([^"')]+)\1\s*\)""")
IMPORT = re.compile(r"""@import\s+(?:url\(\s*)?["']?(?![a-z]+:|//)([^"')\s;]+)["']?\s*\)?\s*;""")
ODD = re.compile(r'\b(?:media|title|disabled)\b|href="(?:[a-z]+:|//)')  # attributes of a sheet that stays by itself
NOISE = re.compile(r'@charset\s*"[^"]*";|/\*# sourceMappingURL=[^*]*\*/')  # what counts at the start or end of a file
FOLDER = "_static"
WRITTEN = "book-*.css"


def join(html: Path) -> None:
    """Give every page of a built book one sheet, which holds what its own held, in their order.

    A page that has one already gets it anew: Sphinx writes no page again whose sheets alone have changed.
    """
    asked = set()
    for page in sorted(html.rglob("*.html")):
        text = page.read_text(encoding="utf-8")
        head, end, rest = text.partition("</head>")
        links = LINK.findall(head)
        sheets = [sheet for link in links for sheet in _files(link, page, html)]
        if not end or len(sheets) < 2 or any(file is None or not file.is_file() for file in sheets):
            continue
        name = _written(sheets, html)
        asked.add(name)
        up = "../" * len(page.relative_to(html).parts[1:])
        kept = PRELOADED.sub("", LINK.sub("", head))
        of = " ".join(quote(Path(os.path.relpath(sheet, html.resolve())).as_posix()) for sheet in sheets)
        link = f'<link rel="stylesheet" href="{up}{FOLDER}/{name}" data-of="{of}" />\n'
        page.write_text(f"{kept}{link}{end}{rest}", encoding="utf-8")
    for old in (html / FOLDER).glob(WRITTEN):
        if old.name not in asked:
            old.unlink()


def _files(link: str, page: Path, html: Path) -> list[Path | None]:
    """The file that a link asks for, or those joined for it; None where it says more, or asks another host."""
    if joined := re.search(r'data-of="([^"]*)"', link):
        return [(html / unquote(name)).resolve() for name in joined[1].split()]
    address = re.search(r'href="([^"]*)"', link)
    if address is None or ODD.search(link):
        return [None]
    return [(page.parent / unquote(urlsplit(address[1]).path)).resolve()]


def _written(sheets: Sequence[Path], html: Path) -> str:
    """The name of the file that has all sheets; it says what is in it, so that no browser keeps an old one."""
    folder = html / FOLDER
    text = "\n".join(text_of(sheet, folder.resolve()) for sheet in sheets)
    name = WRITTEN.replace("*", hashlib.sha256(text.encode()).hexdigest()[:12])
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(text, encoding="utf-8")
    return name


def text_of(sheet: Path, folder: Path) -> str:
    """A sheet with those that it imports, its addresses as seen from another folder; both paths are whole."""

    def there(found: re.Match) -> str:
        path, mark, more = re.match(r"([^?#]*)([?#]?)(.*)", found[2]).groups()
        asked = Path(os.path.relpath((sheet.parent / path).resolve(), folder)).as_posix()
        return f'url("{asked}{mark}{more}")'

    text = NOISE.sub("", sheet.read_text(encoding="utf-8"))
    imported = IMPORT.findall(text)
    own = ADDRESS.sub(there, IMPORT.sub("", text))
    return "\n".join([*(text_of((sheet.parent / name).resolve(), folder) for name in imported), own])
