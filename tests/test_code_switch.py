"""The switch that shows the code of chapters: off at first, remembered, by keyboard; all code without scripts."""

from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import chromium

from pruning_lab.publish import sphinx_ext

STATIC = Path(__file__).resolve().parents[1] / "book" / "_static"
INSIDE = '<div class="cell_input docutils container"><div class="highlight"><pre>import {0}</pre></div></div>'
FOLDED = (
    '<div class="cell tag_hide-input docutils container">\n<details class="admonition hide above-input">\n'
    '<summary aria-label="Toggle hidden content">\n<p class="collapsed admonition-title">Show code cell source</p>\n'
    f"</summary>\n{INSIDE.format('a')}\n</details>\n"
    '<div class="cell_output docutils container"><details><summary>Rows</summary>1</details></div></div>'
)
PLAN = f'<div class="cell tag_plan docutils container">{INSIDE.format("b")}</div>'
OTHER = f'<div class="cell docutils container">{INSIDE.format("c")}</div>'


def test_code_cells_have_no_fold_of_their_own_and_other_folds_stay():
    body = sphinx_ext.unfolded(FOLDED + PLAN + FOLDED)
    assert "above-input" not in body and "Show code" not in body
    assert body.count("import a") == 2 and body.count("<details>") == body.count("</details>") == 2
    assert sphinx_ext.unfolded(PLAN) == PLAN


@pytest.fixture(scope="module")
def running():
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Two chapters, as the book has them, and a page without code that could be hidden."""
    head = f"<style>{(STATIC / 'lab.css').read_text()}</style><script>{(STATIC / 'code.js').read_text()}</script>"
    bar, folder = '<div class="article-header-buttons"></div>', tmp_path_factory.mktemp("code")
    bodies = dict(one=sphinx_ext.unfolded(FOLDED) + PLAN + OTHER, two=sphinx_ext.unfolded(FOLDED), none=OTHER)
    for name, body in bodies.items():
        page = f"<html><head>{head}</head><body>{bar}<main class='bd-article'><p>Text.</p>{body}</main></body></html>"
        (folder / f"{name}.html").write_text(f"<!doctype html>{page}")
    return folder


@contextmanager
def visit(running, **options):
    context = running.new_context(**options)
    page, wrong = context.new_page(), []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    yield page
    context.close()
    assert not wrong


def code(page):
    """The code that is to be seen, on the screen or on paper."""
    return "".join(page.locator("pre:visible").all_inner_texts()).replace("import ", "")


@pytest.mark.browser
def test_the_works_of_a_bibliography_are_items_of_its_list():
    body = '<div role="list" class="citation-list"><div class="citation" id="a" role="doc-biblioentry">A</div></div>'
    assert sphinx_ext.listed(body).count('role="listitem"') == 1 and "biblioentry" not in sphinx_ext.listed(body)


def test_code_is_hidden_until_it_is_switched_on_and_that_is_remembered(running, files):
    with visit(running) as page:
        page.goto((files / "one.html").as_uri())
        assert code(page) == "c"
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        assert code(page) == "abc"
        assert page.get_by_role("button", name="Code").get_attribute("aria-pressed") == "true"
        page.goto((files / "two.html").as_uri())
        assert code(page) == "a"
        page.emulate_media(media="print")
        assert code(page) == "a"
        page.emulate_media(media="screen")
        page.get_by_role("button", name="Code").click()
        assert code(page) == ""
        page.emulate_media(media="print")
        assert code(page) == ""


@pytest.mark.browser
def test_a_page_without_code_to_hide_has_no_switch_and_without_scripts_all_code_is_seen(running, files):
    with visit(running) as page:
        page.goto((files / "none.html").as_uri())
        assert code(page) == "c" and page.get_by_role("button", name="Code").count() == 0
    with visit(running, java_script_enabled=False) as page:
        page.goto((files / "one.html").as_uri())
        assert code(page) == "abc"
