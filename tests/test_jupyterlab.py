"""The force graph and the explorer live in JupyterLab: a real server and kernel, and what a reader does there with
mouse and keyboard.
"""

import contextlib
import csv
import importlib.util
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import explorer_page
import graph_page
import nbformat
import pytest
from conftest import chromium
from test_browser import contrast
from test_explorer import Chart
from test_force_graph import Graph, edges

ROOT = Path(__file__).resolve().parents[1]
TOKEN = "of-the-tests"
FOLDERS = ["CONFIG_DIR", "DATA_DIR", "RUNTIME_DIR", "LAB_SETTINGS_DIR", "LAB_WORKSPACES_DIR"]
LIGHT, DARK = "JupyterLab Light", "JupyterLab Dark"

pytestmark = [pytest.mark.browser, pytest.mark.timeout(3600)]


# The server


@contextlib.contextmanager
def jupyterlab(folder):
    """The address of a server for the notebooks in folder/work; it asks nobody and writes nothing outside the
    folder.
    """
    own = {f"JUPYTER{'' if name.startswith('LAB') else '_'}{name}": str(folder / name.lower()) for name in FOLDERS}
    chosen = {
        "notification": {"fetchNews": "false", "checkForUpdates": False},
        "themes": {"theme": LIGHT, "adaptive-theme": False},
    }
    for plugin, values in chosen.items():
        path = folder / "lab_settings_dir" / "@jupyterlab" / "apputils-extension" / f"{plugin}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(values))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "jupyter", "lab", "--no-browser", "--allow-root", "--ip=127.0.0.1",
               f"--port={port}", "--ServerApp.port_retries=0", f"--IdentityProvider.token={TOKEN}",
               f"--ServerApp.root_dir={folder / 'work'}",
               "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
               "--LabApp.extension_manager=readonly"]  # fmt: skip
    here = {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")]), "IPYTHONDIR": str(folder / "ipython")}
    log = folder / "server.log"
    with log.open("w") as written:
        server = subprocess.Popen(
            command, cwd=folder, env=os.environ | own | here, stdout=written, stderr=subprocess.STDOUT
        )
    try:
        answers(server, f"http://127.0.0.1:{port}/api/status?token={TOKEN}", log)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(600)


def answers(server, address, log, seconds=900):
    """Returns when the server answers; fails with what it wrote where it ends or says nothing."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and server.poll() is None:
        with contextlib.suppress(urllib.error.URLError, OSError), urllib.request.urlopen(address, timeout=10):
            return
        time.sleep(0.1)
    pytest.fail(f"JupyterLab did not answer:\n{log.read_text()[-4000:]}", pytrace=False)


@pytest.fixture(scope="module")
def address(tmp_path_factory, require):
    """The address of a server with the chapters, a notebook of two graphs and one of two charts."""
    require("jupyterlab", importlib.util.find_spec("jupyterlab") is not None, "JupyterLab is not installed")
    folder = tmp_path_factory.mktemp("jupyterlab")
    shutil.copytree(ROOT / "book", folder / "work" / "book", ignore=shutil.ignore_patterns("results", "_static"))
    spec = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    for name, sources in (
        ("graphs", (graph_page.FIRST, graph_page.SECOND)),
        ("charts", (explorer_page.FIRST, explorer_page.SECOND)),
    ):
        cells = [nbformat.v4.new_code_cell(cell.strip()) for cell in ("0", *sources)]
        nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=spec), folder / "work" / f"{name}.ipynb")
    with jupyterlab(folder) as address:
        yield address


# The page


class Notebook:
    """A notebook that JupyterLab shows; its first cell is where Python is asked."""

    def __init__(self, page):
        self.page, self.cells = page, page.locator(".jp-Notebook .jp-Cell")

    def choose(self, *menus):
        for name in menus:
            self.page.locator(".lm-MenuBar-item, .lm-Menu-item").filter(visible=True).get_by_text(
                name, exact=True
            ).click()

    def ask(self, code):
        """What Python says to an expression, by way of the first cell."""
        cell = self.cells.first
        before = cell.locator(".jp-OutputPrompt").all_inner_texts()
        cell.locator(".cm-content").click()
        self.page.keyboard.press("ControlOrMeta+a")
        self.page.keyboard.insert_text(code)
        self.page.keyboard.press("Control+Enter")
        self.page.wait_for_function(
            "([cell, was]) => { const now = cell.querySelector('.jp-OutputPrompt')?.innerText; "
            "return now && now !== was; }",
            arg=[cell.element_handle(), "".join(before)])  # fmt: skip
        return cell.locator(".jp-OutputArea-output").inner_text().strip()

    def comes_to(self, code, value, seconds=600):
        """Whether an expression has the value, now or when what was on its way to the kernel has arrived."""
        end = time.monotonic() + seconds
        while (said := self.ask(code)) != value and time.monotonic() < end:
            self.page.wait_for_timeout(200)
        return said == value or pytest.fail(f"{code} is {said}, not {value}")

    def selected(self):
        """The number of the selected cell and how many cells there are."""
        active = "cells => [cells.findIndex(cell => cell.classList.contains('jp-mod-active')), cells.length]"
        return tuple(self.cells.evaluate_all(active))


@contextlib.contextmanager
def opened(context, address, path):
    """A notebook with its kernel at rest; whatever went wrong on its page is an error when it closes."""
    page, wrong, host = context.new_page(), [], re.compile(rf"(http|ws)://{address.split('//')[1]}/|data:|blob:")
    page.set_default_timeout(600_000)
    page.on("console", lambda message: wrong.append(f"console: {message.text}") if message.type == "error" else None)
    page.on("pageerror", lambda error: wrong.append(f"page: {error}"))
    page.on("response", lambda answer: wrong.append(f"{answer.status}: {answer.url}") if answer.status >= 400 else None)
    for event in ("request", "websocket"):
        page.on(event, lambda asked: None if host.match(asked.url) else wrong.append(f"asks {asked.url}"))
    workspace = re.sub(r"\W+", "-", path)  # of its own: else the page may open what another one shows
    page.goto(f"{address}/lab/workspaces/{workspace}/tree/{path}?token={TOKEN}")
    page.get_by_text("| Idle").wait_for()
    yield Notebook(page)
    page.close()
    assert not wrong, "\n".join(wrong)


@pytest.fixture(scope="module")
def context(address):
    with chromium() as browser:
        yield browser.new_context(viewport={"width": 1280, "height": 1000})


@pytest.fixture(scope="module")
def notebook(context, address):
    """The notebook with two graphs, run by its menu."""
    with opened(context, address, "graphs.ipynb") as notebook:
        notebook.choose("Run", "Run All Cells")
        notebook.page.locator(".pl-force-graph canvas[data-frames]").nth(1).wait_for()  # PyTorch is imported first
        yield notebook


class Live(Graph):
    """A graph in JupyterLab."""

    def says(self, text):
        """Returns when the summary says the text."""
        self.box.locator(".fg-summary").filter(has_text=text).wait_for()

    def picture(self):
        """The drawing, when it has come to rest; out of sight it does not move."""
        self.canvas.scroll_into_view_if_needed()
        self.page.wait_for_timeout(300)
        count, before = "canvas => canvas.dataset.frames", None
        while before != (before := self.canvas.evaluate(count)):
            self.page.wait_for_timeout(300)
        return self.canvas.evaluate("canvas => canvas.toDataURL()")


@pytest.fixture
def first(notebook):
    """The first graph, as it was at the start."""
    made = Live(notebook.page)
    notebook.page.mouse.move(2, 2)
    made.box.get_by_role("button", name="Reset").click()
    made.says("Epoch 0: 60 of 60 units")
    return made


@pytest.fixture
def handle(first):
    """The handle of the slider `epoch` among the controls in the page that are linked to the first graph."""
    row = first.page.locator(".widget-inline-hbox").filter(has_text="epoch")
    return row.locator(".noUi-handle")


# What a reader does

INKED = (
    "canvas => canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height)"
    ".data.filter(value => value).length"
)


def test_two_graphs_draw_what_python_stored(notebook, first, tmp_path):
    second = Live(notebook.page, 1)
    second.says("Step 0: 40 of 40 units")
    for shown in (first, second):
        assert shown.canvas.evaluate(INKED) > 10_000
    with notebook.page.expect_download() as download:
        first.box.get_by_role("button", name="Edges (CSV)").click()
    download.value.save_as(tmp_path / "edges.csv")
    rows = csv.DictReader((tmp_path / "edges.csv").read_text().splitlines())
    found = {(int(row["unit"]), int(row["other"])): float(row["cosine"]) for row in rows}
    made = graph_page.graph()
    assert (
        found == pytest.approx({pair: c for pair, c in edges(made, 0).items() if c >= made.cutoff}, abs=1e-4) and found
    )


def test_a_linked_slider_reaches_the_graph_and_the_kernel(notebook, first, handle):
    other = Live(notebook.page, 1).summary()
    handle.focus()
    where = notebook.selected()
    for key in ("ArrowRight", "ArrowRight", "ArrowUp", "ArrowDown"):
        notebook.page.keyboard.press(key)
    first.says("Epoch 2:")
    assert notebook.selected() == where
    assert notebook.comes_to("first.snapshot", "2")
    row = notebook.page.locator(".widget-inline-hbox").filter(has_text="units removed")
    row.locator(".noUi-base").click()
    removed = row.locator(".widget-readout").inner_text()
    first.says(f"{60 - int(removed)} of 60 units")
    assert 20 < int(removed) < 40 and notebook.comes_to("first.removed", removed)
    assert Live(notebook.page, 1).summary() == other


def test_its_own_sliders_reach_the_controls_and_the_kernel(notebook, first, handle):
    slider = first.slider("Epoch")
    slider.focus()
    where = notebook.selected()
    for key in ("ArrowRight", "ArrowRight", "ArrowUp", "ArrowLeft", "ArrowUp", "ArrowDown"):
        notebook.page.keyboard.press(key)
    first.says("Epoch 2:")
    assert notebook.selected() == where
    first.slider("Cosine at least").click()
    cutoff = float(first.slider("Cosine at least").input_value())
    first.says(f"at least {cutoff:.2f}")
    first.box.get_by_label("Colour").select_option("norm")
    assert notebook.comes_to("first.snapshot, first.cutoff, first.colour", f"(2, {cutoff:g}, 2)")
    assert handle.get_attribute("aria-valuenow") == "2.0" or handle.get_attribute("aria-valuetext") == "2"


def test_python_moves_the_picture(notebook, first, handle):
    before = first.picture()
    assert notebook.ask("first.snapshot = 3; first.snapshot") == "3"
    first.says("Epoch 3:")
    assert first.slider("Epoch").input_value() == "3"
    assert first.picture() != before
    assert notebook.ask("first.removed = 60; first.removed") == "60"
    first.says("0 of 60 units, 0 edges")


def test_the_keys_of_the_graph_are_the_graphs(notebook, first):
    first.canvas.focus()
    where, page = notebook.selected(), notebook.page
    for key in ("ArrowRight", "ArrowDown", "ArrowRight", "ArrowLeft"):
        page.keyboard.press(key)
    card = first.box.locator(".fg-unit")
    assert "Unit 1\n" in card.inner_text() and "norm" in card.inner_text()
    page.keyboard.press("n")
    assert "Unit 1\n" not in card.inner_text()
    for key in ("]", "]", "["):
        page.keyboard.press(key)
    first.says("Epoch 1:")
    for key in ("a", "b", "c", "v", "x", "z", "d", "d", "m", "y", "0", "0", "Shift+Enter", "Enter"):
        page.keyboard.press(key)  # JupyterLab would make, cut, change or run cells
    page.keyboard.press(" ")
    assert first.box.get_by_role("button", name="Pause").count() == 1
    page.keyboard.press(" ")
    page.keyboard.press("Escape")
    assert not card.is_visible()
    assert notebook.selected() == where and page.locator(".jp-MarkdownCell").count() == 0
    assert first.canvas.evaluate("canvas => canvas === document.activeElement")
    for key in ("x", "b", "ArrowDown"):
        first.box.get_by_role("button", name="Play").press(key)
        first.slider("Units removed").press(key)
    assert notebook.selected() == where
    first.canvas.focus()
    with page.expect_request(lambda request: request.method == "PUT" and "graphs.ipynb" in request.url):
        page.keyboard.press("ControlOrMeta+s")  # with a modifier a key is still JupyterLab's


def test_hovering_tells_of_a_unit(notebook, first):
    first.picture()
    box, card = first.canvas.bounding_box(), first.box.locator(".fg-unit")
    for x, y in ((x, y) for y in range(60, int(box["height"]), 12) for x in range(100, int(box["width"]) - 100, 12)):
        notebook.page.mouse.move(box["x"] + x, box["y"] + y)
        if card.is_visible():
            break
    assert re.search(r"nearest: \d+ \(\d\.\d\d\), \d+ \(\d\.\d\d\), \d+", card.inner_text())
    notebook.page.mouse.move(2, 2)
    assert not card.is_visible()


COLOURS = """box => { const style = (name) => getComputedStyle(name ? box.querySelector(name) : box);
    const page = getComputedStyle(document.querySelector(".jp-Notebook")).backgroundColor;
    const card = style(".fg-unit"), button = style("button"), canvas = box.querySelector(".fg-drawing > canvas");
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height), ink = [0, 0, 0, 0];
    for (let p = 0; p < data.length; p += 4)
        if (data[p + 3] > 250 && Math.abs(data[p] - data[p + 2]) < 8) ink[data[p] > 128 ? 1 : 0]++;
    const pairs = [[style().color, page], [card.color, card.backgroundColor], [button.color, button.backgroundColor]];
    return { pairs, light: ink[1] > ink[0] }; }"""


def colours(shown):
    """Pairs of text and ground as [r, g, b], and whether the ink of the drawing is light."""
    found = shown.box.evaluate(COLOURS)
    return [
        [[float(v) for v in re.findall(r"[\d.]+", colour)[:3]] for colour in pair] for pair in found["pairs"]
    ], found["light"]


def test_the_dark_theme_has_light_lines_and_text(notebook, first):
    first.canvas.focus()
    notebook.page.keyboard.press("ArrowRight")  # the ring around a unit is in full ink
    before = colours(first)
    notebook.choose("Settings", "Theme", DARK)
    notebook.page.locator("body[data-jp-theme-light=false]").wait_for(state="attached")
    first.canvas.focus()
    notebook.page.keyboard.press("ArrowRight")
    first.picture()
    after = colours(first)
    notebook.choose("Settings", "Theme", LIGHT)
    notebook.page.locator("body[data-jp-theme-light=true]").wait_for(state="attached")
    for was, is_now in zip(before[0], after[0], strict=True):
        assert was[0] != is_now[0] and was[1] != is_now[1]
        assert contrast(*was) >= 4.5 and contrast(*is_now) >= 4.5
    assert (before[1], after[1]) == (False, True)


def test_two_views_of_a_graph_go_together_and_one_may_leave(notebook, first):
    notebook.ask("first")
    view, same = Live(notebook.page, 0), Live(notebook.page, 1)
    same.slider("Epoch").press("ArrowRight")
    view.says("Epoch 1:")
    assert notebook.comes_to("first.snapshot", "1")
    same = Live(notebook.page, 0)
    same.slider("Epoch").press("ArrowRight")
    same.says("Epoch 2:")


def test_a_chart_and_the_kernel_follow_each_other(context, address):
    with opened(context, address, "charts.ipynb") as notebook:
        notebook.choose("Run", "Run All Cells")
        notebook.page.locator(".pl-explorer svg[data-drawn]").nth(1).wait_for()  # PyTorch is imported first
        shown, toy = Chart(notebook.page), Chart(notebook.page, 1)
        before, turned = shown.mark("measured"), toy.mark("w1")
        shown.slider("epoch").focus()
        where = notebook.selected()
        for key in ("ArrowRight", "ArrowRight", "ArrowUp", "ArrowDown"):
            notebook.page.keyboard.press(key)
        shown.svg.focus()
        for key in ("]", "x", "b", "ArrowDown", "ArrowRight", "d", "d"):
            notebook.page.keyboard.press(key)  # JupyterLab would make, cut, change or run cells
        assert shown.chosen() == ["LeNet", "fc1", "5"] and notebook.selected() == where
        assert shown.card.is_visible() and shown.mark("measured") != before
        assert notebook.comes_to("chart.chosen", "{'net': 'LeNet', 'layer': 'fc1', 'epoch': 5}")
        assert notebook.ask("chart.choose(net='Conv-2', layer='conv2'); chart.chosen['epoch']") == "4"
        shown.box.locator(".ex-caption").filter(has_text="Conv-2, conv2: after epoch 4.").wait_for()
        assert shown.chosen() == ["Conv-2", "conv2", "4"] and toy.mark("w1") == turned
        notebook.ask("chart")
        same = Chart(notebook.page, 0)
        same.slider("epoch").press("ArrowRight")
        shown = Chart(notebook.page, 1)
        shown.box.locator(".ex-caption").filter(has_text="after epoch 8.").wait_for()
        assert notebook.comes_to("chart.chosen['epoch']", "8")


CHAPTERS = sorted((ROOT / "book").glob("[0-9]*.ipynb"))
# they open alike, and charts and graphs are above
ALIKE = [pytest.param(path, marks=pytest.mark.soak) for path in CHAPTERS[1:]]


@pytest.mark.parametrize("chapter", [CHAPTERS[0], *ALIKE], ids=lambda path: path.stem)
def test_a_chapter_opens_and_its_first_cells_show_something(context, address, chapter):
    with opened(context, address, f"book/{chapter.name}") as opens:
        assert opens.page.get_by_role("dialog").count() == 0  # it names a kernel that is there
        cells = nbformat.read(chapter, as_version=4).cells
        code = [k for k, cell in enumerate(cells) if cell.cell_type == "code"]
        shows = next(k for k in code if re.search(r"\breport\.(show|plain)\(|\bfigures\.\w+\(", cells[k].source))
        for k in code[: code.index(shows) + 1]:
            cell = opens.cells.nth(k)
            cell.scroll_into_view_if_needed()  # JupyterLab does not lay out what is out of sight
            cell.locator(".cm-content").click()
            opens.page.keyboard.press("Control+Enter")
            ran = cell.locator(".jp-InputPrompt").filter(has_text=re.compile(r"\[\d+\]:"))
            ran.wait_for(state="attached")  # PyTorch is imported first
        cell.locator("svg.main-svg, .pl-force-graph canvas, .pl-explorer svg, table.dataframe").first.wait_for()
