"""What a reader does to a figure stands in the address and comes back from it, on a page that opens from a folder."""

import re
from pathlib import Path

import numpy as np
import page_checks
import plotly
import plotly.graph_objects as go
import pytest
from conftest import chromium, visit

from pruning_lab.publish import plotly_mime
from pruning_lab.widgets import removal

pytestmark = pytest.mark.browser
STATIC = Path(__file__).resolve().parents[1] / "book" / "_static"
VISIBLE = "() => document.querySelector('.lab-plot').data.map(trace => trace.visible ?? true)"
RANGE = "() => document.querySelector('.lab-plot').layout.xaxis.range"
ASKED = "#~rows.off=1&rows.xaxis=0.5%2C1.5&removal.removed=2&removal.order=b"


def figure():
    drawn = go.Figure([go.Scatter(x=[0, 1, 2], y=[k, 1, 2], name=f"line {k}") for k in range(3)])
    drawn.update_layout(title="Three lines", meta=dict(alt="three lines", file="rows.csv", command="python own.py"))
    return plotly_mime.figure_html(drawn.to_dict(), drawn.layout.meta, "../_downloads/rows/page/rows.csv")


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """A page with one plot and one layer whose units go, with the book's own scripts."""
    folder = tmp_path_factory.mktemp("state")
    (folder / "vendor").mkdir()
    (folder / "vendor" / "plotly.min.js").symlink_to(Path(plotly.__file__).parent / "package_data" / "plotly.min.js")
    for name in ("state.js", "legend.js", "lab.js", "removal.js", "lab.css"):
        (folder / name).symlink_to(STATIC / name)
    layer = removal.picture(np.eye(2), np.ones(2), np.array([False, True]), dict(a=[0, 1], b=[1, 0]),
                            dict(a=[1, 0.5, 0.1], b=[1, 1, 0.1]), "A layer", "Two units.")  # fmt: skip
    head = '<meta charset="utf-8"><title>A page</title><link rel="stylesheet" href="lab.css">'
    head += "".join(f'<script defer src="{name}.js"></script>' for name in ("state", "legend", "lab", "removal"))
    body = f'<main class="bd-article">{figure()}{layer}</main>'
    html = f'<!doctype html><html lang="en" data-theme="light"><head>{head}</head><body>{body}</body></html>'
    (folder / "page.html").write_text(html, encoding="utf-8")
    return folder / "page.html"


@pytest.fixture(scope="module")
def running():
    with chromium() as browser:
        yield browser


def drawn(page):
    page.set_default_timeout(300_000)  # other programs may compute, too
    page.locator(".lab-plot[data-drawn]").wait_for()


def test_what_was_set_stands_in_the_address_and_reset_undoes_it(running, file):
    with visit(running, file) as page:
        drawn(page)
        page.evaluate("() => Plotly.restyle(document.querySelector('.lab-plot'), { visible: 'legendonly' }, [1])")
        page.evaluate("() => Plotly.relayout(document.querySelector('.lab-plot'), { 'xaxis.range': [0.5, 1.5] })")
        page.get_by_role("slider").fill("2")
        page.get_by_label("b", exact=True).check()
        page.wait_for_function("address => location.hash === address", arg=ASKED)
        page.locator(".lab-figure").get_by_role("button", name="Reset", exact=True).press("Enter")
        page.wait_for_function("() => location.hash === '#~removal.removed=2&removal.order=b'")
        assert page.evaluate(VISIBLE) == [True] * 3
        assert page.evaluate("() => document.querySelector('.lab-plot').layout.xaxis.autorange") is True
        page.locator(".lab-removal").get_by_role("button", name="Reset", exact=True).press("Enter")
        page.wait_for_function("() => location.hash === ''")
        assert page.locator(".lab-removal output").inner_text().startswith("None of 2 removed")


def test_an_address_brings_back_lines_zoom_sliders_and_choices(running, file):
    with visit(running, file, ASKED) as page:
        drawn(page)
        assert page.evaluate(VISIBLE) == [True, "legendonly", True] and page.evaluate(RANGE) == [0.5, 1.5]
        assert (
            page.get_by_label("b", exact=True).is_checked() and "2 of 2 removed" in page.locator("output").inner_text()
        )
        page.evaluate("() => { location.hash = '#~rows.off=0,2' }")
        page.wait_for_function(f'() => JSON.stringify(({VISIBLE})()) === \'["legendonly",true,"legendonly"]\'')


def test_an_address_that_makes_no_sense_leaves_everything_as_it_is(running, file):
    with visit(running, file, "#~rows.off=x,99&rows.xaxis=1,1&rows.step=7&removal.removed=x&removal.order=c") as page:
        drawn(page)
        assert page.evaluate(VISIBLE) == [True] * 3
        assert page.get_by_label("a", exact=True).is_checked()
        assert page.locator(".lab-removal output").inner_text().startswith("None of 2 removed")


def test_entries_of_a_legend_are_buttons_for_the_keyboard_as_for_a_click(running, file):
    with visit(running, file) as page:
        drawn(page)
        entries = page.locator(".lab-plot [role=button]")
        assert [e.get_attribute("aria-label") for e in entries.all()] == ["line 0", "line 1", "line 2"]
        line = page.get_by_role("button", name="line 1", exact=True)
        assert page_checks.out_of_reach(page) == []
        line.focus()
        for key, visible in (("Space", "legendonly"), ("Enter", True)):
            page.keyboard.press(key)
            page.wait_for_function(f"visible => ({VISIBLE})()[1] === visible", arg=visible)
            page.locator(f"[aria-label='line 1'][aria-pressed={str(visible is True).lower()}]:focus").wait_for()
        assert page.evaluate(VISIBLE) == [True] * 3
        if source := page_checks.axe():
            assert page_checks.barriers(page, source) == []


@pytest.mark.parametrize("of, name", [(".lab-figure", "page-rows"), (".lab-removal", "page-removal")])
def test_pictures_are_saved_as_png_and_svg(running, file, tmp_path, of, name):
    with visit(running, file) as page:
        drawn(page)
        for kind, begins in (("PNG", b"\x89PNG"), ("SVG", b"<svg")):
            with page.expect_download() as download:
                page.locator(of).get_by_role("button", name=kind, exact=True).press("Enter")
            assert download.value.suggested_filename == f"{name}.{kind.lower()}"
            download.value.save_as(tmp_path / kind)
            assert (tmp_path / kind).read_bytes().startswith(begins)


def test_the_address_is_copied(running, file):
    with visit(running, file, ASKED, permissions=["clipboard-read", "clipboard-write"]) as page:
        drawn(page)
        button = page.locator(".lab-figure").get_by_role("button", name="Copy link")
        button.press("Enter")
        page.wait_for_function("() => [...document.querySelectorAll('button')].some(b => b.textContent === 'Copied')")
        assert re.search(re.escape(ASKED) + "$", page.evaluate("() => navigator.clipboard.readText()"))
