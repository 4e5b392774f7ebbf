"""The theme's icons as a style sheet that has those alone which the pages show; its script and fonts stay behind."""

import re
import shutil
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import quote

SHEET = "icons.css"
FOLDER = Path("_static", "vendor", "fontawesome")
LINK = re.compile(r'<link href="([^"]*)_static/vendor/fontawesome/[^"]*\.css[^"]*" rel="stylesheet" ?/?>')
SCRIPT = re.compile(r'[ \t]*<script src="[^"]*/fontawesome/[^"]*"></script>\n?')
FONT = re.compile(r'<link rel="preload" as="font"[^>]*>\n?')  # over file:// it is an error
NAME = re.compile(r"\bfa-([a-z0-9-]+)")
LOOK = (
    "display:inline-block;width:1.1em;height:1em;vertical-align:-.125em;background:currentColor;"
    "-webkit-mask:var(--lab-icon) center/contain no-repeat;mask:var(--lab-icon) center/contain no-repeat"
)
LARGE = ":where(.fa-lg){font-size:1.25em}"
GLYPHS = (  # what the theme writes with letters of the font
    ".nav-link.nav-external:after,nav.bd-links li>a.reference.external:after,a.reference.download:before,"
    "div#searchbox p.highlight-link a:before,.admonition-title:after,span.versionmodified:before"
    "{content:none!important}"
)
LICENCE = "/* Icons: Font Awesome Free by Fonticons, CC BY 4.0, fontawesome.com/license/free */"


def thin(html: Path) -> None:
    """Put the style sheet in the place of the theme's script, style sheet and fonts, in all pages of a built book."""
    library = next((html / FOLDER).rglob("all.min.js"), None)
    if library is None:
        return
    pages = {page: page.read_text(encoding="utf-8") for page in html.rglob("*.html")}
    scripts = [file.read_text(encoding="utf-8") for file in (html / "_static" / "scripts").glob("*.js")]
    text = sheet(library.read_text(encoding="utf-8"), [*pages.values(), *scripts])
    (html / "_static" / SHEET).write_text(text, encoding="utf-8")
    for page, text in pages.items():
        page.write_text(lightened(text), encoding="utf-8")
    shutil.rmtree(html / FOLDER)


def lightened(page: str) -> str:
    """A page that asks for the style sheet and no more for the theme's script, style sheet and fonts of icons."""
    return FONT.sub("", SCRIPT.sub("", LINK.sub(rf'<link href="\1_static/{SHEET}" rel="stylesheet" />', page)))


def sheet(library: str, texts: Iterable[str]) -> str:
    """The style sheet of the icons that texts name, drawn as the library's script draws them; the rest is not in it."""
    names = sorted({name for text in texts for name in NAME.findall(text)})
    found = {name: drawn for name in names if (drawn := _icon(library, name))}
    classes = ",".join(f".fa-{name}" for name in found)
    icons = [f'.fa-{name}{{--lab-icon:url("data:image/svg+xml,{quote(drawn)}")}}' for name, drawn in found.items()]
    return "\n".join([LICENCE, f":where({classes}){{{LOOK}}}", LARGE, GLYPHS, *icons]) + "\n"


def _icon(library: str, name: str) -> str:
    """An icon as SVG; "" for a class that is no icon. Of several with one name the last, which is the solid one."""
    asked = rf'[{{,]"?{re.escape(name)}"?:\[(\d+),(\d+),\[[^\]]*\],"[0-9a-f]+","(M[^"]+)"\]'
    found = re.findall(asked, library)
    if not found:
        return ""
    wide, high, path = found[-1]
    return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide} {high}"><path d="{path}"/></svg>'
