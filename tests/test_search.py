"""The page of searches: what is read comes before the reference, and excerpts are of text, not of menus."""

from pathlib import Path

import pytest
import sphinx
from conftest import chromium, visit

from pruning_lab.publish import sphinx_ext

SCRIPT = Path(__file__).resolve().parents[1] / "book" / "_static" / "search.js"
TOOLS = Path(sphinx.__file__).parent / "themes" / "basic" / "static" / "searchtools.js"
PAGE = """<html><body><main role="main"><div class="header"><a>.ipynb</a><a>.pdf</a></div>
<article class="bd-article"><section id="deep"><h1>Coherence</h1><p>Gradients agree.</p><button>Code</button>
</section></article></main></body></html>"""


class App:
    """What the extension asks of Sphinx."""

    def __init__(self, folder):
        self.srcdir = folder


def test_sphinx_puts_the_book_s_script_into_its_own_and_another_book_s_build_goes_without(tmp_path):
    config = type("Config", (), {"html_search_scorer": ""})()
    sphinx_ext._searches(App(tmp_path), config)
    assert config.html_search_scorer == ""
    sphinx_ext._searches(App(SCRIPT.parents[2]), config)
    assert Path(config.html_search_scorer) == SCRIPT


@pytest.mark.browser
def test_chapters_come_first_and_excerpts_hold_no_menu(tmp_path):
    scripts = "".join(f"<script>{file.read_text(encoding='utf-8')}</script>" for file in (TOOLS, SCRIPT))
    stubs = "<script>const _ready = () => {}, Stemmer = function () {};</script>"
    (tmp_path / "search.html").write_text(f"<!doctype html><body>{stubs}{scripts}</body>", encoding="utf-8")
    with chromium() as running, visit(running, tmp_path / "search.html") as page:
        texts = page.evaluate("html => [Search.htmlToText(html), Search.htmlToText(html, '#deep')]", PAGE)
        rows = [["book/reference_measures", "m", "", "", 26], ["book/03_coherence", "c", "", "", 5],
                ["book/reference", "r", "", "", 900]]  # fmt: skip
        order = "rows => rows.map(row => [row[0], Scorer.score(row)]).sort((a, b) => b[1] - a[1]).map(row => row[0])"
        assert page.evaluate(order, rows) == ["book/03_coherence", "book/reference", "book/reference_measures"]
    for text in texts:
        assert "Coherence" in text and "Gradients agree." in text
        assert ".pdf" not in text and "Code" not in text
