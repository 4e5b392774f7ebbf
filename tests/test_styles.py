"""Style sheets: a page asks for one, last in its head, which has what its own had, in their order."""

import re

import pytest
from sphinx.cmd import build

from pruning_lab.publish import styles

HEAD = """<html><head>
<link href="{up}_static/styles/theme.css?digest=1" rel="stylesheet" />
<link rel="preload" as="script" href="{up}_static/scripts/theme.js" />
<script>const first = 1;</script>
    <link rel="stylesheet" type="text/css" href="{up}_static/own.css?v=2" />
<script defer src="{up}_static/scripts/theme.js"></script>
</head><body><link href="kept.css" rel="stylesheet" /></body></html>"""


@pytest.fixture
def site(tmp_path):
    """A built site of two pages, two sheets and one that the first imports."""
    (tmp_path / "_static" / "styles").mkdir(parents=True)
    (tmp_path / "book").mkdir()
    (tmp_path / "_static" / "basic.css").write_text("a { color: red }")
    theme = '@charset "UTF-8";\n@import "../basic.css";\nb { background: url(../file.png) }\n'
    theme += "c { mask: url('data:image/svg+xml,<svg/>') } d { src: url(\"fonts/a.woff2?v=1#x\") }"
    (tmp_path / "_static" / "styles" / "theme.css").write_text(theme + "\n/*# sourceMappingURL=theme.css.map*/")
    (tmp_path / "_static" / "own.css").write_text("a { color: blue; fill: url(#place) }")
    (tmp_path / "index.html").write_text(HEAD.format(up=""))
    (tmp_path / "book" / "page.html").write_text(HEAD.format(up="../"))
    return tmp_path


def sheet(site):
    """The text of the sheet that the site's pages ask for."""
    name = re.search(r'href="_static/(book-[0-9a-f]+\.css)"', (site / "index.html").read_text())[1]
    return (site / "_static" / name).read_text()


def test_a_page_asks_for_one_sheet_last_in_its_head_and_for_no_script_early(site):
    styles.join(site)
    for page, up in ((site / "index.html", ""), (site / "book" / "page.html", "../")):
        head, body = page.read_text().split("</head>")
        assert re.fullmatch(
            r"<html><head>\n<script>const first = 1;</script>\n"
            rf'<script defer src="{re.escape(up)}_static/scripts/theme.js"></script>\n'
            rf'<link rel="stylesheet" href="{re.escape(up)}_static/book-[0-9a-f]+\.css" '
            r'data-of="_static/styles/theme.css _static/own.css" />\n',
            head,
        )
        assert 'href="kept.css"' in body
    assert len(list((site / "_static").glob("book-*.css"))) == 1


def test_the_sheet_has_all_rules_in_their_order_and_addresses_from_where_it_lies(site):
    styles.join(site)
    text = sheet(site)
    assert text.index("color: red") < text.index("file.png") < text.index("color: blue")
    assert 'url("file.png")' in text and 'url("styles/fonts/a.woff2?v=1#x")' in text
    assert "url('data:image/svg+xml,<svg/>')" in text and "url(#place)" in text
    assert "@import" not in text and "@charset" not in text and "sourceMappingURL" not in text


def test_once_more_changes_nothing_and_another_rule_another_name(site):
    """Sphinx does not write a page again of which a sheet alone has changed."""
    styles.join(site)
    before = (site / "index.html").read_text(), sheet(site)
    styles.join(site)
    assert ((site / "index.html").read_text(), sheet(site)) == before
    (site / "_static" / "own.css").write_text("a { color: green }")
    (site / "index.html").write_text(HEAD.format(up=""))  # one page was written again, the other was not
    styles.join(site)
    assert "green" in sheet(site) and "red" in sheet(site) and "blue" not in sheet(site)
    name = re.search(r"book-[0-9a-f]+\.css", (site / "index.html").read_text())[0]
    assert name in (site / "book" / "page.html").read_text()
    assert [file.name for file in (site / "_static").glob("book-*.css")] == [name]


def test_a_book_joins_its_sheets_when_the_theme_has_written_the_last_of_them(tmp_path):
    """The theme writes the colours of code when a build has ended."""
    (tmp_path / "conf.py").write_text(
        'extensions = ["pruning_lab.publish.sphinx_ext"]\nhtml_theme = "sphinx_book_theme"\nroot_doc = "index"\n'
    )
    (tmp_path / "index.rst").write_text("A page\n======\n\n.. code-block:: python\n\n   import there\n")
    assert build.main(["-q", "-b", "html", str(tmp_path), str(tmp_path / "html")]) == 0
    [name] = re.findall(r'href="_static/(book-[0-9a-f]+\.css)"', (tmp_path / "html" / "index.html").read_text())
    assert (tmp_path / "html" / "_static" / "pygments.css").read_text() in (
        tmp_path / "html" / "_static" / name
    ).read_text()


def test_what_widgets_draw_comes_after_the_text(tmp_path):
    """In the head, where myst-nb puts it, a megabyte of it is read before the first sentence."""
    data = '{"state": {"a": "<b>"}}'
    (tmp_path / "conf.py").write_text(
        'extensions = ["pruning_lab.publish.sphinx_ext"]\nhtml_theme = "sphinx_book_theme"\nroot_doc = "index"\n'
        "def hold(app, page, *_):\n    if page == 'index':\n"
        f"        app.add_js_file(None, type='application/vnd.jupyter.widget-state+json', body='{data}')\n"
        "        app.add_js_file(None, body='let first = 1;')\n"
        "def setup(app):\n    app.connect('html-page-context', hold)\n"
    )
    (tmp_path / "index.rst").write_text("A page\n======\n\nThe first sentence.\n\n.. toctree::\n\n   other\n")
    (tmp_path / "other.rst").write_text("Another\n=======\n")
    assert build.main(["-q", "-b", "html", str(tmp_path), str(tmp_path / "html")]) == 0
    text = (tmp_path / "html" / "index.html").read_text()
    whole = f'<script type="application/vnd.jupyter.widget-state+json">{data}</script>'
    assert text.count(whole) == 1 and text.index("The first sentence.") < text.index(whole) < text.index("</article>")
    assert text.index("let first = 1;") < text.index("</head>")  # what runs stays where it was asked for
    assert "widget-state" not in (tmp_path / "html" / "other.html").read_text()


@pytest.mark.parametrize(
    "link",
    [
        '<link rel="stylesheet" media="print" href="_static/own.css" />',
        '<link rel="stylesheet" href="https://example.org/own.css" />',
        '<link rel="stylesheet" href="//example.org/own.css" />',
        '<link rel="stylesheet" href="_static/lacks.css" />',
    ],
)
def test_a_page_with_a_sheet_of_another_kind_stays_as_it_is(site, link):
    text = HEAD.format(up="").replace("</head>", f"{link}\n</head>")
    (site / "index.html").write_text(text)
    styles.join(site)
    assert (site / "index.html").read_text() == text
