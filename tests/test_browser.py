"""The built book in headless Chromium: what a reader sees, in light and dark, on a phone, without scripts, offline."""

import csv
import gzip
import json
import re
from contextlib import contextmanager
from pathlib import Path

import page_checks
import pytest
from conftest import served

from pruning_lab.publish import sphinx_ext

pytestmark = pytest.mark.browser

FIGURE = ".lab-figure"
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True}
# For each element the colours of its text and of the page, as [r, g, b].
COLOURS = """elements => elements.map(element =>
    [getComputedStyle(element).fill, getComputedStyle(document.body).backgroundColor]
        .map(colour => colour.match(/[\\d.]+/g).slice(0, 3).map(Number)))"""

# Texts of plots that are cut by the edge or lie on one another, of titles of panels and of the legend's entries.
CROWDED = """plots => plots.flatMap(plot => { const edge = plot.getBoundingClientRect();
    const boxes = [...plot.querySelectorAll(".annotation-text, .legendtext")].filter(text => text.textContent)
        .map(text => [text.textContent, text.getBoundingClientRect()]);
    const cut = boxes.filter(([, box]) => box.left < edge.left - 1 || box.right > edge.right + 1);
    const meet = (a, b) => a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 1 && b.top < a.bottom - 1;
    const over = boxes.filter(([, box], i) => boxes.some(([, other], j) => i !== j && meet(box, other)));
    return [...cut, ...over].map(([text]) => text); })"""


# Widgets are there: a page that goes while they begin reports that they could not.
LIVE = """() => document.querySelectorAll(".lab-widget > *").length
    >= document.querySelectorAll("script[type='application/vnd.jupyter.widget-view+json']").length"""


@contextmanager
def visit(browser, address, **options):
    """A page with all its figures drawn; whatever went wrong on it is an error when it closes."""
    context = browser.new_context(**{"viewport": {"width": 1280, "height": 1000}} | options)
    context.set_default_timeout(600_000)
    page, wrong, host = context.new_page(), [], re.match(r"\w+://[^/]*/", address)[0]
    page.on("console", lambda m: wrong.append(f"console: {m.text}") if m.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: wrong.append(f"page: {error}"))
    if options.get("java_script_enabled", True):  # without, Chromium gives up the scripts that the theme preloads
        page.on("requestfailed", lambda request: wrong.append(f"failed: {request.url}"))
    page.on("response", lambda answer: wrong.append(f"{answer.status}: {answer.url}") if answer.status >= 400 else None)
    page.on("request", lambda r: None if r.url.startswith((host, "data:", "blob:")) else wrong.append(f"asks {r.url}"))
    page.goto(address, wait_until="load")
    for figure in page.locator(FIGURE).all() if options.get("java_script_enabled", True) else []:
        figure.scroll_into_view_if_needed()
        figure.locator(".lab-plot[data-drawn] svg.main-svg").first.wait_for()
    if options.get("java_script_enabled", True):
        page.wait_for_function(LIVE)
    yield page
    context.close()
    assert not wrong, "\n".join(wrong)


def waited(page, milliseconds):
    """Wait by the page's own clock: whatever it has put off for less has happened, however busy the machine is."""
    page.evaluate("milliseconds => new Promise(done => setTimeout(done, milliseconds))", milliseconds)


@pytest.fixture(scope="module")
def pages(book):
    """The paths of all pages of the book."""
    found = {path.relative_to(book).as_posix() for path in (book / "book").rglob("*.html")}
    return sorted(found - set(sphinx_ext.MOVED))  # those lead on to another at once


@pytest.fixture(scope="module")
def axe(require):
    """The source of axe-core."""
    found = page_checks.axe()
    require("axe", found is not None, "axe-playwright-python is not installed")
    return found


@pytest.fixture(scope="module")
def figure_page(book, site):
    """The address of the first chapter with a figure."""
    paths = sorted((book / "book").glob("[0-9]*.html")) + [book / "book" / "intro.html"]
    path = next(path for path in paths if "lab-figure" in path.read_text(encoding="utf-8"))
    return f"{site}/book/{path.name}"


@pytest.fixture(scope="module")
def wordy_page(book, site):
    """The address of the chapter whose legends have the longest name."""

    def longest(path):
        figures = map(json.loads, re.findall(r'class="lab-json"[^>]*>(.*?)</script>', path.read_text(encoding="utf-8")))
        shown = [trace for figure in figures for trace in figure["data"] if trace.get("showlegend") is not False]
        return max((len(trace.get("name") or "") for trace in shown), default=0)

    return f"{site}/book/{max((book / 'book').glob('[0-9]*.html'), key=longest).name}"


@pytest.fixture(scope="module")
def page(browser, figure_page):
    """That chapter on a desktop, in light, for the tests that leave it as it was."""
    with visit(browser, figure_page, color_scheme="light") as page:
        yield page


def contrast(one, other):
    """The contrast of two colours [r, g, b] as WCAG 2 defines it, 1 to 21."""

    def luminance(colour):
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (v / 255 for v in colour)]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def least_contrast(page):
    """The least contrast with the page of any axis, legend or title text of its figures."""
    texts = page.locator(f"{FIGURE} :is(.xtick text, .ytick text, .xtitle, .ytitle, .legendtext, .annotation-text)")
    pairs = texts.evaluate_all(COLOURS)
    assert pairs
    return min(contrast(*pair) for pair in pairs)


def crowded(page):
    """The texts of a page's figures that cannot be read: cut off, or on top of one another."""
    return page.locator(f"{FIGURE} .lab-plot").evaluate_all(CROWDED)


def is_calm(page, path, theme):
    """A page in a theme, with nothing that cannot be read."""
    assert not crowded(page), path
    assert page.locator("html").get_attribute("data-theme") == theme
    assert page.locator(".modebar-btn[data-title^='Share']").count() == 0


NARROW = "width => [...document.querySelectorAll('.lab-plot')].every(plot => plot._fullLayout.width <= width)"
LEGENDS = "plots => plots.map(plot => plot._fullLayout.legend?.orientation).filter(Boolean)"


def fits_a_phone(page, path):
    """A page that is open, on a screen as narrow as a phone's: nothing is cut and nothing is wider than the screen."""
    page.set_viewport_size(PHONE["viewport"])
    page.wait_for_function(NARROW, arg=390)
    page.wait_for_function("document.documentElement.scrollWidth <= innerWidth")
    page.wait_for_function(f"({CROWDED})([...document.querySelectorAll('{FIGURE} .lab-plot')]).length === 0")
    legends = page.locator(f"{FIGURE} .lab-plot").evaluate_all(LEGENDS)
    assert set(legends) <= {"h"}, f"{path}: a legend beside its plot"


def is_for_everybody(page, path):
    """A page that is open moves nothing by itself, is in reach of a keyboard, and can be printed and enlarged."""
    assert page.evaluate(page_checks.MOVES) == [], path
    assert page_checks.out_of_reach(page) == [], path
    assert page_checks.on_paper(page) == [], path
    page.set_viewport_size({"width": 640, "height": 500})  # 1280 at 200 %
    page.wait_for_function("document.documentElement.scrollWidth <= innerWidth")


def test_pages_ask_nobody_report_nothing_are_for_everybody_and_fit_a_phone(browser, site, pages):
    """One visit for all: what is drawn on a wide screen is drawn anew on a narrow one."""
    for path in pages:
        with visit(browser, f"{site}/{path}", color_scheme="light", reduced_motion="reduce") as page:
            is_calm(page, path, "light")
            is_for_everybody(page, path)
            fits_a_phone(page, path)


def test_a_page_weighs_at_most_a_megabyte_without_the_script_of_its_plots(book, pages):
    weights = {path: len(gzip.compress((book / path).read_bytes(), 6)) for path in pages}
    assert {path: weight for path, weight in weights.items() if weight > 1_000_000} == {}


def without_barriers(browser, addresses, axe, theme):
    """Opens pages and looks at them as axe-core does."""
    for address in addresses:
        with visit(browser, address, color_scheme=theme, reduced_motion="reduce") as page:
            assert page_checks.barriers(page, axe) == [], f"{address}, {theme}"


def in_the_dark(browser, site, paths):
    """Opens pages on a tablet in the dark, and makes it a phone."""
    tablet = PHONE | {"color_scheme": "dark", "viewport": {"width": 768, "height": 1000}}
    for path in paths:
        with visit(browser, f"{site}/{path}", **tablet) as page:
            is_calm(page, path, "dark")
            fits_a_phone(page, path)


# a page of curves, one of tables alone, and the one that opens the book: the others have parts of these
KINDS = ("01_frame_potential", "claims", "intro")


def test_pages_of_each_kind_in_the_dark_fit_a_tablet_and_then_a_phone(browser, site, pages):
    found = [path for path in pages if Path(path).stem in KINDS]
    assert len(found) == len(KINDS)
    in_the_dark(browser, site, found)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_pages_of_each_kind_have_no_barriers(browser, site, book, pages, axe, theme):
    kinds = [f"{site}/{path}" for path in pages if Path(path).stem in KINDS]
    nowhere = (book / "404.html").as_uri()  # it has a style of its own; a server is asked for the book's folder
    without_barriers(browser, [*kinds, nowhere], axe, theme)


@pytest.mark.soak
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_all_other_pages_have_no_barriers(browser, site, pages, axe, theme):
    others = [path for path in pages if Path(path).stem not in KINDS]
    without_barriers(browser, [f"{site}/{path}" for path in (*others, "search.html", "genindex.html")], axe, theme)


@pytest.mark.soak
def test_all_other_pages_in_the_dark_fit_a_tablet_and_then_a_phone(browser, site, pages):
    in_the_dark(browser, site, [path for path in pages if Path(path).stem not in KINDS])


def test_names_in_a_legend_are_broken_on_a_phone_only(browser, wordy_page):
    names = "() => [...document.querySelectorAll('.lab-plot')].flatMap(plot => plot.data.map(trace => trace.name))"
    with visit(browser, wordy_page, **PHONE) as page:
        on_a_phone = page.evaluate(names)
        assert any("<br>" in name for name in on_a_phone)
        for width, some in ((1280, "false"), (390, "true")):
            page.set_viewport_size({"width": width, "height": 844})
            page.wait_for_function(f"() => ({names})().some(name => name.includes('<br>')) === {some}")
        page.wait_for_function(f"names => JSON.stringify(({names})()) === JSON.stringify(names)", arg=on_a_phone)
        assert not crowded(page)


def test_a_click_in_the_legend_switches_a_line_off_and_on(page):
    figure = page.locator(FIGURE).filter(has=page.locator(".legendtoggle")).first
    plot = figure.locator(".lab-plot")
    off = "element => element.data.filter(trace => trace.visible === 'legendonly').length"
    before = plot.evaluate(off)
    for same in ("!==", "==="):
        waited(page, 500)  # a second click any sooner would be a double click
        figure.locator(".legendtoggle").first.click()
        page.wait_for_function(f"([element, n]) => ({off})(element) {same} n", arg=[plot.element_handle(), before])


def test_hovering_shows_values(page):
    figure = page.locator(FIGURE).first
    figure.scroll_into_view_if_needed()
    box = figure.locator(".nsewdrag").first.bounding_box()
    for x, y in 3 * [(x, y) for x in range(1, 10) for y in (3, 5, 7)]:
        page.mouse.move(box["x"] + box["width"] * x / 10, box["y"] + box["height"] * y / 10, steps=2)
        waited(page, 80)
        if figure.locator(".hoverlayer .hovertext, .hoverlayer .legend").count():
            return
    pytest.fail("no hover label anywhere in the first figure")


def test_rows_can_be_downloaded(page, tmp_path):
    for link in page.locator(".lab-tools a[download]").all():
        with page.expect_download() as download:
            link.click()
        path = tmp_path / download.value.suggested_filename
        download.value.save_as(path)
        rows = list(csv.reader(path.read_text(encoding="utf-8").splitlines()))
        assert path.suffix == ".csv" and len(rows) > 1 and len({len(row) for row in rows}) == 1


def test_command_and_table_unfold(page):
    figure = page.locator(FIGURE).filter(has=page.get_by_text("Command", exact=True)).first
    for label, content in (("Command", "details pre"), ("Table", ".lab-table td")):
        figure.get_by_text(label, exact=True).click()
        assert figure.locator(content).first.is_visible()


def test_text_in_figures_can_be_read_also_after_a_switch_of_theme(page):
    for theme in ("light", "dark", "light"):
        page.evaluate("theme => { document.documentElement.dataset.theme = theme }", theme)
        waited(page, 500)
        assert least_contrast(page) >= 4.5, theme


def test_text_in_figures_can_be_read_where_dark_is_preferred(browser, figure_page):
    with visit(browser, figure_page, color_scheme="dark") as page:
        assert least_contrast(page) >= 4.5


def test_without_scripts_there_are_text_table_and_rows(browser, figure_page):
    with visit(browser, figure_page, java_script_enabled=False) as page:
        for figure in page.locator(FIGURE).all():
            assert figure.locator(".lab-alt").inner_text() == figure.get_attribute("aria-label")
            assert not figure.locator(".lab-plot").is_visible()
            figure.locator("summary").first.click()
            assert figure.locator("details[open] td").first.is_visible()
            assert figure.locator("a[download]").get_attribute("href").endswith(".csv")


def test_the_book_opens_from_its_folder(browser, book, figure_page):
    path = book / "book" / Path(figure_page).name
    with visit(browser, path.as_uri()) as page:
        assert page.locator(f"{FIGURE} svg.main-svg").count()


def test_the_search_of_a_book_in_a_folder_finds_pages_and_reads_none(browser, book):
    with visit(browser, f"{(book / 'search.html').as_uri()}?q=coherence") as page:
        found = page.locator("#search-results li a")
        found.first.wait_for()
        page.locator("#search-results .search-summary, #search-results > p").first.wait_for()
        assert found.first.evaluate("link => link.href").startswith((book / "book").as_uri())


ROOTED = re.compile(r"""\b(?:href|src|action|content|data-[a-z]+)=["'](?:\d+; *url=)?/[^"']*["']""")


def test_no_page_names_an_address_of_the_server_s_root(book):
    pages = {path: path.read_text(encoding="utf-8") for path in book.rglob("*.html")}
    assert len(pages) > 10 and {path.name for path in pages} >= {"404.html", "search.html", "index.html"}
    assert {path.name: found for path, text in pages.items() if (found := ROOTED.findall(text))} == {}


def test_the_book_works_in_a_folder_of_a_site(browser, book, figure_page, tmp_path):
    """A graph, a figure, the search and the links of a book that is not at the root of its server, where nothing is."""
    (tmp_path / "some").mkdir()
    (tmp_path / "some" / "sub").symlink_to(book, target_is_directory=True)
    with served(tmp_path) as address:
        home, page, wrong = f"{address}/some/sub/", browser.new_page(), []
        page.set_default_timeout(600_000)
        # of what may be wrong on a page, here is looked at what a folder can make wrong: addresses
        page.on("request", lambda r: None if r.url.startswith((home, "data:", "blob:")) else wrong.append(r.url))
        page.on("response", lambda answer: wrong.append(answer.url) if answer.status >= 400 else None)
        page.goto(f"{home}book/02_force_graph.html")
        page.wait_for_function(f"document.querySelectorAll('.lab-widget > *').length && ({LIVE})()")
        page.goto(f"{home}book/{Path(figure_page).name}")
        page.locator(FIGURE).first.scroll_into_view_if_needed()
        page.locator(".lab-plot[data-drawn] svg.main-svg").first.wait_for()
        page.locator("a.right-next").click()
        page.wait_for_url(f"{home}book/*.html")
        page.goto(f"{home}search.html?q=coherence")
        page.locator("#search-results li a").first.click()
        page.wait_for_url(f"{home}book/*.html*")
        page.goto(home)
        page.wait_for_url(f"{home}book/intro.html")
        page.close()
    assert not wrong, wrong


def test_the_page_where_there_is_none_names_every_page_of_the_contents(book):
    named = re.findall(r'<li><a href="([^"]+)">([^<]+)</a>', (book / "404.html").read_text(encoding="utf-8"))
    pages = {path.relative_to(book).as_posix() for path in (book / "book").glob("*.html")}
    assert named[0][0] == "book/intro.html" and all(title.strip() for _, title in named)
    assert {name for name, _ in named} == pages - sphinx_ext.MOVED.keys()
