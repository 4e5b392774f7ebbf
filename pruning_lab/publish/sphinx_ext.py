"""The Sphinx side of the book; `_config.yml` names it among the extensions."""

import re
import shutil
from html import escape
from pathlib import Path

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.util.docutils import SphinxDirective

from . import carrying_on, icons, not_found, reference_text, styles

MOVED = {"book/own_model.html": "your_own.html"}  # pages that had another address -> theirs now, beside it
MAY_WAIT = ("doctools.js", "sphinx_highlight.js", "clipboard.min.js", "copybutton.js", "togglebutton.js",
            "design-tabs.js", "scripts/sphinx-book-theme.js")  # fmt: skip
FOLD = re.compile(r'<details class="admonition hide above-input">\s*<summary.*?</summary>(.*?)</details>', re.S)

PARAMETERS = re.compile(r"<dl>\s*((?:<dd>.*?</dd>\s*)+)</dl>", re.S)


def setup(app):
    """Register the hooks, the folder that paths in figures (`layout.meta.rows`) are relative to, and where sources are
    shown: an address, or nothing.
    """
    app.add_config_value("lab_root", "", "env")
    app.add_config_value("lab_sources", "", "env")
    app.add_directive("reference", Reference)
    app.connect("doctree-read", carrying_on.add)
    app.connect("config-inited", _searches)
    app.connect("html-page-context", _scripts, priority=900)
    app.connect("html-page-context", _code, priority=900)
    app.connect("build-finished", _copy_plotly)
    app.connect("build-finished", _thin_icons)
    app.connect("build-finished", _join_styles, priority=900)  # after the icons and the theme's colours of code
    app.connect("build-finished", _lead_on)
    app.connect("build-finished", _not_found)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}


def _searches(app, config):
    """Name the script that the page of searches takes into its own by its whole path: Sphinx may run elsewhere."""
    script = Path(app.srcdir, "book", "_static", "search.js")
    if script.is_file():
        config.html_search_scorer = str(script)


class Reference(SphinxDirective):
    """`{reference} masks`: the entries of a section of the reference; `{reference} names`: links to all of them."""

    required_arguments, final_argument_whitespace = 1, True

    def run(self):
        """The nodes of what `reference_text` writes."""
        name, sources = self.arguments[0], self.env.config.lab_sources
        text = reference_text.index() if name == "names" else reference_text.section(name, sources)
        held = nodes.container()
        self.state.nested_parse(StringList(text.splitlines(), source=f"reference of {name}"), self.content_offset, held)
        return held.children


def _scripts(app, page, template, context, doctree):
    """Leave a page the scripts it needs: each once, MathJax only beside formulas, Thebe (from another host) never.

    Sphinx 7.4 lists inline scripts twice, and a `const` declared twice is an error. What nothing in the page asks for
    while it is read waits until it is there, so that a reader sees its text sooner; the page of searches does ask. What
    widgets draw, up to a megabyte that would stand before all else, comes after the text for the same reason.
    """
    formulas = app.env.get_domain("math").data["has_equations"].get(page)  # not those of the pages below it
    kept = {}
    for script in context.get("script_files", []):
        name, attributes = str(getattr(script, "filename", script) or ""), getattr(script, "attributes", None) or {}
        mathjax = name.endswith(app.config.mathjax_path)
        if "thebe" in (name + str(attributes.get("body", ""))).lower() or (mathjax and not formulas):
            continue
        kept.setdefault((name, repr(sorted(attributes.items()))), script)
    data = [key for key, script in kept.items() if _is_data(script)]
    context["body"] = context.get("body", "") + "".join(_tag(kept.pop(key)) for key in data)
    waits = {name for name, _ in kept if page != "search" and name.endswith(MAY_WAIT)}
    context["script_files"] = [_waiting(s) if name in waits else s for (name, _), s in kept.items()]


def _is_data(script) -> bool:
    """Whether an inline script is one that no browser runs: data of widgets."""
    attributes = getattr(script, "attributes", None) or {}
    return "body" in attributes and attributes.get("type", "").endswith("json")


def _tag(script) -> str:
    return f'<script type="{escape(script.attributes["type"])}">{script.attributes["body"]}</script>\n'


def _waiting(script):
    """A script that runs when the page has been read, after those before it that wait, too."""
    return type(script)(script.filename, priority=script.priority, **script.attributes | {"defer": "defer"})


def _code(app, page, template, context, doctree):
    """Take folds off code cells: one switch for the whole book hides their code (code.js); without scripts it stays.

    Mend what docutils and Sphinx call by names that readers of screens do not know.
    """
    if context.get("body"):
        context["body"] = listed(in_lines(unfolded(context["body"])))


def unfolded(body: str) -> str:
    """A page's HTML with the code of cells tagged hide-input in plain sight, without a fold."""
    return FOLD.sub(r"\1", body)


def in_lines(body: str) -> str:
    """A page's HTML with the parameters of a long signature in spans: Sphinx makes a list of them that has no terms."""
    return PARAMETERS.sub(lambda found: re.sub("<(/?)dd>", _span, found[1]), body)


def listed(body: str) -> str:
    """A page's HTML whose works of a bibliography are items of its list: docutils gives them a role that ARIA has since
    withdrawn, so that the list has no item.
    """
    return body.replace('role="doc-biblioentry"', 'role="listitem"')


def _span(tag: re.Match) -> str:
    return "</span>" if tag[1] else '<span class="lab-parameter">'


def _copy_plotly(app, error):
    """Serve the plotly.js of the installed Python package, once for the whole book: so the two versions are equal."""
    if error is not None or app.builder.format != "html":
        return
    import plotly

    source = Path(plotly.__file__).parent / "package_data" / "plotly.min.js"
    target = Path(app.outdir, "_static", "vendor")
    target.mkdir(parents=True, exist_ok=True)
    shutil.copy(source, target)


def _thin_icons(app, error):
    """Serve the icons that the pages show, and not the theme's script of all icons, half a megabyte for each page."""
    if error is None and app.builder.format == "html":
        icons.thin(Path(app.outdir))


def _join_styles(app, error):
    """Serve one style sheet a page."""
    if error is None and app.builder.format == "html":
        styles.join(Path(app.outdir))


def _lead_on(app, error):
    """Put a page that leads on at each address that a page had before."""
    if error is None and app.builder.format == "html":
        for old, new in MOVED.items():
            if (page := Path(app.outdir, old)).with_name(new).is_file():  # else it is another book
                page.write_text(leading_on(new), encoding="utf-8")


def leading_on(address: str) -> str:
    """A page that goes to an address at once; a reader without that has a link."""
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>This page has moved</title>'
        f'<meta http-equiv="refresh" content="0; url={address}"><link rel="canonical" href="{address}">'
        f'</head><body><p>This page has moved: <a href="{address}">{address}</a>.</p></body></html>\n'
    )


def _not_found(app, error):
    """Leave the page that a server shows where there is none, with a link to each page of the book, in its order."""
    if error is not None or app.builder.format != "html":
        return
    root = app.config.root_doc
    order = [root, *(name for name in app.env.toctree_includes.get(root, []) if name in app.env.titles)]
    titles = {app.builder.get_target_uri(name): app.env.titles[name].astext() for name in order}
    text = not_found.page(app.config.html_title or app.config.project, titles)
    Path(app.outdir, "404.html").write_text(text, encoding="utf-8")
