"""The bundle that sets formulas: every formula of the book is drawn from paths, with MathML beside it."""

import re
from html import escape
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import chromium

from pruning_lab.publish import sphinx_ext
from pruning_lab.running import chapters

SCRIPT = Path(__file__).resolve().parents[1] / "book" / "_static" / "vendor" / "formulas.js"
CODE = re.compile(r"```.*?```|`[^`]*`", re.S)


def formulas():
    """All formulas in the prose of the book as Sphinx writes them into a page."""
    found = []
    for path in sorted(chapters.FOLDER.glob("*.ipynb")):
        cells = (c for c in chapters.read(path)["cells"] if c["cell_type"] == "markdown")
        text = CODE.sub("", "\n\n".join("".join(cell["source"]) for cell in cells))
        shown = re.findall(r"\$\$(.*?)\$\$", text, re.S)
        inline = re.findall(r"\$([^$]+)\$", re.sub(r"\$\$.*?\$\$", "", text, flags=re.S))
        found += [f'<div class="math notranslate">\\[{escape(one)}\\]</div>' for one in shown]
        found += [f'<span class="math notranslate">\\({escape(one)}\\)</span>' for one in inline]
    return found


@pytest.mark.browser
def test_every_formula_of_the_book_is_set(tmp_path):
    known = [*formulas(), r'<span class="math">\(\mathcal{L} \le \sqrt[3]{x}\)</span>']
    assert len(known) > 30
    page = tmp_path / "page.html"
    body = "".join(f"<p>{one}</p>" for one in known) + r"<p>A price of \(5\) is no formula.</p>"
    page.write_text(f'<!doctype html><meta charset="utf-8">{body}<script src="{SCRIPT.as_uri()}"></script>')
    with chromium() as running:
        shown, wrong = running.new_page(), []
        shown.on("pageerror", lambda error: wrong.append(str(error)))
        shown.goto(page.as_uri())
        assert shown.locator("mjx-container > svg").count() == len(known)
        assert shown.locator("mjx-container mjx-assistive-mml math").count() == len(known)
        assert shown.locator("mjx-container svg :is(text, [data-mml-node=merror])").count() == 0  # a glyph is lacking
        assert r"A price of \(5\)" in shown.locator("body").inner_text()
    assert not wrong


def test_only_a_page_with_formulas_of_its_own_asks_for_the_bundle():
    math = SimpleNamespace(data={"has_equations": {"book/01": True, "book/intro": False}})
    app = SimpleNamespace(
        env=SimpleNamespace(get_domain=lambda name: math), config=SimpleNamespace(mathjax_path="f.js")
    )
    for page, asked in (("book/01", ["f.js", "lab.js"]), ("book/intro", ["lab.js"]), ("search", ["lab.js"])):
        context = {"script_files": [SimpleNamespace(filename=name, attributes={}) for name in ("f.js", "lab.js")]}
        sphinx_ext._scripts(app, page, "page.html", context, None)
        assert [script.filename for script in context["script_files"]] == asked
