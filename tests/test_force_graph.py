"""The force graph: its encoding against a naive loop, its limits and errors, and the page in headless Chromium."""

import base64
import csv
import json
import re
from pathlib import Path

import anywidget
import graph_page
import numpy as np
import pytest
import torch
from conftest import chromium, served
from graph_page import graph, snapshots
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from test_browser import PHONE, visit, waited

from pruning_lab.widgets import ForceGraph, encoding

ROOT = Path(__file__).resolve().parents[1]
STATIC = ROOT / "pruning_lab" / "widgets" / "static"
FEW_BYTES = (
    sum(len((STATIC / name).read_bytes()) for name in ("force_graph.js", "controls.css", "force_graph.css")) + 6_000
)


def naive(rows):
    """Norms and the cosine of every pair i < j of rows, one at a time, in float64; pairs with a zero row are none."""
    rows = np.asarray(rows, np.float64).reshape(len(rows), -1)
    norms = [sum(x * x for x in row) ** 0.5 for row in rows]
    found = {}
    for i in range(len(rows)):
        for j in range(i + 1, len(rows)):
            if norms[i] and norms[j]:
                found[i, j] = sum(x * y for x, y in zip(rows[i], rows[j], strict=True)) / norms[i] / norms[j]
    return norms, found


def edges(graph, snapshot):
    return {(int(i), int(j)): c for i, j, c in zip(*graph.edges(snapshot), strict=True)}


# Encoding


def test_every_pair_of_a_small_layer_comes_back():
    weights = snapshots(units=12, times=3, inputs=7)
    made = ForceGraph.from_snapshots(weights, [0, 1, 5])
    half = (made.meta["high"] - made.meta["low"]) / 510
    for t, rows in enumerate(weights):
        norms, cosines = naive(rows)
        assert edges(made, t) == pytest.approx(cosines, abs=half + 1e-6)
        assert made.node_norms()[t] == pytest.approx(norms, abs=made.meta["norm"] / 65535)
        full = np.array([[cosines.get((min(i, j), max(i, j)), 1.0) for j in range(12)] for i in range(12)])
        shares = np.frombuffer(made.shares, "<u2").reshape(3, 12)[t] * made.meta["share"] / 65535
        assert shares == pytest.approx((full**2).sum(1) / (full**2).sum(), abs=2e-6)


def test_under_a_budget_the_strongest_pairs_of_each_snapshot_are_kept_and_the_weakest_is_said():
    weights = snapshots(units=80, times=4)
    made = ForceGraph.from_snapshots(weights, range(4), limit=FEW_BYTES + 8_000)
    step = (made.meta["high"] - made.meta["low"]) / 255
    for t, rows in enumerate(weights):
        kept, cosines = edges(made, t), naive(rows)[1]
        floor = made.floors[t]
        assert len(kept) < len(cosines)
        assert {pair for pair, c in cosines.items() if c > floor + 1e-6} <= set(kept)
        assert kept == pytest.approx({pair: cosines[pair] for pair in kept}, abs=step / 2 + 1e-6)
        for unit in range(80):  # what a reader is told of a unit does not depend on the budget
            around = sorted(((c, pair) for pair, c in cosines.items() if unit in pair), reverse=True)[:3]
            assert {pair for _, pair in around} <= set(kept)


@settings(deadline=None, max_examples=60)
@example(weights=np.float32([[[1, 2**-126, 0, 0], [0, 1, 0, 0], [0] * 4, [0] * 4, [0, 0, 1, 0]]]))  # a tiny span
@given(arrays(np.float32, st.tuples(st.integers(1, 3), st.integers(1, 9), st.integers(1, 5)),
              elements=st.floats(-1e3, 1e3, width=32)))  # fmt: skip
def test_any_finite_weights_can_be_drawn(weights):
    made = ForceGraph.from_snapshots(weights, range(len(weights)))
    half = (made.meta["high"] - made.meta["low"]) / 510
    for t, rows in enumerate(weights):
        _, cosines = naive(rows)
        assert edges(made, t) == pytest.approx(cosines, abs=half + 1e-3)
    assert made.fallback().svg.count("<circle") == weights.shape[1] * len(
        {round(i * (len(weights) - 1) / 3) for i in range(4)}
    )


@given(st.sets(st.integers(0, 5000), max_size=50))
def test_gaps_of_any_size_come_back(numbers):
    numbers = np.array(sorted(numbers), np.int64)
    steps = encoding.gaps(numbers).astype(int)
    assert (np.cumsum(steps)[steps < 255] == numbers).all()


def test_pairs_that_come_go_and_come_again_are_those_that_were_packed_in_every_snapshot():
    rng, kept = np.random.default_rng(3), []
    for share in (0.5, 0.5, 0.02, 0.9, 0.0, 1.0, 1.0):
        numbers = np.flatnonzero(rng.random(45) < share)
        kept.append((numbers, rng.uniform(-1, 1, len(numbers)), 0.0))
    packed = encoding.pack(kept)
    assert any(packed.anew) and not all(packed.anew)
    upper = np.triu_indices(10, 1)
    for t, (numbers, cosines, _) in enumerate(kept):
        i, j, found = encoding.unpack(packed, t, 10)
        assert (i == upper[0][numbers]).all() and (j == upper[1][numbers]).all()
        assert found == pytest.approx(cosines, abs=(packed.high - packed.low) / 500)


def test_what_hardly_changes_takes_hardly_a_byte():
    cosines = np.random.default_rng(0).uniform(-1, 1, 1225)
    one, many = (len(encoding.pack([(np.arange(1225), cosines, -1.0)] * times).data) for times in (1, 30))
    assert many < 1.2 * one


def test_inner_products_make_the_same_graph_as_weights():
    weights = snapshots(units=30, times=3).astype(np.float64)
    gram = np.einsum("tud,tvd->tuv", weights, weights)
    one, other = ForceGraph.from_snapshots(weights, range(3)), ForceGraph.from_gram(gram, range(3))
    for t in range(3):
        assert edges(one, t) == pytest.approx(edges(other, t), abs=(one.meta["high"] - one.meta["low"]) / 250)
    assert one.node_norms() == pytest.approx(other.node_norms(), rel=1e-3)
    stored = ForceGraph.from_gram(gram.astype(np.float16), range(3))
    assert stored.node_norms() == pytest.approx(one.node_norms(), rel=2e-3)


def test_a_zero_row_is_a_point_without_edges():
    weights = snapshots(units=10, times=2)
    weights[1, 4] = 0
    for made in (ForceGraph.from_snapshots(weights, range(2)),
                 ForceGraph.from_gram(np.einsum("tud,tvd->tuv", weights, weights), range(2))):  # fmt: skip
        assert not any(4 in pair for pair in edges(made, 1)) and any(4 in pair for pair in edges(made, 0))
        assert made.node_norms()[1, 4] == 0


@pytest.mark.parametrize("units, most", [(300, 500_000), (512, 1_000_000)])
def test_the_state_stays_within_its_limit(units, most):
    weights = np.random.default_rng(0).normal(size=(30, units, 40)).astype(np.float32)
    order = np.arange(units)
    made = ForceGraph.from_snapshots(weights, range(30),
                                     colours={"class": order % 10, "community": np.tile(order % 40, (30, 1))},
                                     orders={"norm": (order, np.linspace(1, 0.1, units + 1))})  # fmt: skip
    assert 0.8 * most < made.state_bytes() <= most
    state = json.dumps({key: base64.b64encode(value).decode() if isinstance(value, bytes) else value
                        for key, value in made.get_state().items()}, default=str)  # fmt: skip
    assert len(state) <= most


@pytest.mark.parametrize("times", [150, 260])
def test_more_snapshots_than_fit_are_refused(times):
    weights = np.random.default_rng(0).normal(size=(times, 300, 8)).astype(np.float32)
    says = r"bytes a snapshot are too few for more than each unit's nearest \([\d,]+ pairs\): take fewer snapshots"
    with pytest.raises(ValueError, match=says):
        ForceGraph.from_snapshots(weights, range(times))


def test_weights_may_be_parameters():
    layers = [torch.nn.Linear(4, 6, dtype=dtype) for dtype in (torch.float32, torch.float64)]
    made = ForceGraph.from_snapshots([layer.weight for layer in layers], ["start", "end"])
    assert made.node_norms() == pytest.approx(
        np.stack([layer.weight.detach().norm(dim=1) for layer in layers]), rel=1e-3
    )


def test_still_pictures_obey_the_kernel():
    assert graph(kernel="code").fallback().svg != graph(kernel="report").fallback().svg


def test_two_nets_have_their_own_shares_and_are_told_apart():
    weights = {"one": snapshots(6, 3, 0), "other": snapshots(9, 3, 1)}
    made = ForceGraph.from_snapshots(weights, range(3))
    assert made.meta["nets"] == [("one", 6), ("other", 9)] and "(blue one; orange other)" in made.still().caption
    assert made.meta["colours"][0]["labels"] == ["one", "other"]
    shares = np.frombuffer(made.shares, "<u2").reshape(3, 15) * made.meta["share"] / 65535
    assert shares[:, :6].sum(1) == pytest.approx(1, abs=1e-3) and shares[:, 6:].sum(1) == pytest.approx(1, abs=1e-3)
    assert any(i < 6 <= j for i, j in edges(made, 0))


def test_pictures_are_shrunk_to_means_and_zero_is_the_middle():
    values = np.zeros((2, 28, 28))
    values[0, :2, :2] = 4
    values[1, 2:4, 0] = -1
    data, shape = encoding.pictures(values, 2)
    found = np.frombuffer(data, np.uint8).reshape(2, *shape)[..., 0]
    assert (
        shape == [14, 14, 1] and found[0, 0, 0] == 255 and found[1, 1, 0] == 1 and (found == 128).sum() == 2 * 196 - 2
    )
    assert encoding.pictures(np.ones((3, 3, 3, 3)), 3)[1] == [3, 3, 3]


# What is refused


@pytest.mark.parametrize("weights, epochs, says", [
    (np.full((1, 2, 2), np.nan), [0], "snapshot 0, unit 0: NaN"),
    (np.array([[[1.0, 2], [3, np.inf]]]), [0], "snapshot 0, unit 1: NaN or infinity"),
    (np.zeros((1, 0, 3)), [0], "one row or more"),
    (np.zeros((0, 4, 3)), [], "none"),
    (np.zeros((1, 2049, 1)), [0], "2,049 units are too many.*choose"),
    ([np.ones((2, 3)), np.ones((2, 4))], [0, 1], "same shape"),
    (np.ones((2, 3, 3)), [0], "2 snapshots need as many epochs"),
    ({"a": np.ones((1, 3, 3)), "b": np.ones((2, 3, 3))}, [0], "as many snapshots"),
])  # fmt: skip
def test_bad_weights_are_refused(weights, epochs, says):
    with pytest.raises(ValueError, match=says):
        ForceGraph.from_snapshots(weights, epochs)


@pytest.mark.parametrize("options, says", [
    ({"colours": {"class": [0, 1]}}, "one label a unit"),
    ({"orders": {"norm": ([0, 0], None)}}, "at most once"),
    ({"orders": {"norm": ([0, 1], [0.5])}}, "3 accuracies"),
    ({"pictures": np.zeros((2, 3))}, "pictures must be"),
    ({"colour": "class"}, "no colour 'class'"),
    ({"tempo": 3}, "no setting 'tempo'"),
    ({"speed": 3}, "no speed 3 here: it is one of 0.5, 1, 2, 4"),
    ({"sigma": 0}, "sigma is 0: expected a number above 0"),
    ({"charge": "strong"}, "charge is 'strong': expected a number"),
    ({"snapshot": 2}, "none of 0 to 1"),
    ({"name": "a b"}, "letters"),
    ({"nets": {"a": 2}}, "have 2 units"),
])  # fmt: skip
def test_bad_options_are_refused(options, says):
    with pytest.raises(ValueError, match=says):
        ForceGraph.from_snapshots(snapshots(5, 2), range(2), **options)


def test_bad_inner_products_are_refused():
    with pytest.raises(ValueError, match="square and symmetric"):
        ForceGraph.from_gram(np.ones((1, 2, 3)), [0])
    with pytest.raises(ValueError, match="negative"):
        ForceGraph.from_gram(-np.eye(3)[None], [0])


def test_the_picture_of_both_ends_is_always_shown_and_the_fallback_on_paper_only():
    made = graph(times=5, time="iteration")
    picture, fallback = made.still(), made.fallback()
    assert "iterations 0, 4." in picture.caption and "iteration 4: " in picture.svg and picture.svg.count("<path") == 2
    assert 'class="lab-picture"' in picture._repr_html_() and 'class="lab-still"' in fallback._repr_html_()
    assert fallback.svg.count("<path") == 4 and "iterations 0, 1, 3, 4." in fallback.caption
    assert made.controls().children[2].description == "iteration"


# Controls and files


def test_controls_are_linked_in_the_browser_and_start_where_the_graph_does():
    made = graph(snapshot=2, cutoff=0.4, removed=7)
    rows = {row.description: row for row in made.controls().children}
    assert rows["epoch"].index == 2 and rows["cosine from"].value == 0.4 and rows["units removed"].value == 7
    assert rows["colour"].options == ("preferred class", "share of frame potential", "norm", "none")


def test_the_host_and_python_hold_the_same_line_of_anywidget():
    packages = json.loads((ROOT / "js" / "package.json").read_text())["devDependencies"]
    assert packages["anywidget"].split(".")[:2] == anywidget.__version__.split(".")[:2]
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in packages.values())
    assert not list((ROOT / "js").glob("package-lock.json"))


def test_the_module_is_small_and_comes_with_its_licence():
    assert len((STATIC / "force_graph.js").read_bytes()) < 40_000
    assert "Permission to use" in (STATIC / "force_graph.LICENSE.txt").read_text()


# The page


@pytest.fixture(scope="module")
def graph_site(tmp_path_factory):
    """The address of a built page with four graphs."""
    with served(graph_page.make(tmp_path_factory.mktemp("graphs"))) as address:
        yield f"{address}/book/graphs.html"


@pytest.fixture(scope="module")
def browser(graph_site):
    with chromium() as running:
        yield running


FRAMES = "async count => { while (count-- > 0) await new Promise(requestAnimationFrame); }"
# Until nothing has been drawn for so many frames of the page, with time for what it puts off between them.
RESTS = """async canvas => { for (let calm = 0, last = -1; calm < 12;) {
    await new Promise(requestAnimationFrame);
    await new Promise(done => setTimeout(done, 50));
    calm = canvas.dataset.frames === last ? calm + 1 : 0; last = canvas.dataset.frames; } }"""


class Graph:
    """One graph on a page, by its number there."""

    def __init__(self, page, number=0):
        self.page, self.box = page, page.locator(".pl-force-graph").nth(number)
        self.canvas = self.box.locator(".fg-drawing > canvas")
        self.canvas.scroll_into_view_if_needed()
        page.wait_for_function("canvas => Number(canvas.dataset.frames) > 1", arg=self.canvas.element_handle())

    def rest(self):
        """Wait until the graph moves no more."""
        self.canvas.evaluate(RESTS)

    def frames(self, count):
        """Wait for so many frames of the page, however long each takes."""
        self.page.evaluate(FRAMES, count)

    def summary(self):
        waited(self.page, 600)
        return self.box.locator(".fg-summary").inner_text()

    def edges(self):
        return int(re.search(r"(\d+) edges", self.summary())[1])

    def slider(self, label):
        return self.box.get_by_role("slider", name=label, exact=False)

    def move(self, label, value):
        self.slider(label).evaluate(
            "(input, value) => { input.value = value; input.dispatchEvent(new Event('input')); }", value
        )


@pytest.fixture
def page(browser, graph_site):
    with visit(browser, graph_site, color_scheme="light") as page:
        page.locator(".pl-force-graph canvas").first.wait_for(timeout=300_000)
        yield page


def marked(test):
    """A test that needs the page in a browser."""
    return pytest.mark.browser(pytest.mark.timeout(3600)(test))


@marked
def test_sliders_change_their_own_graph_and_no_other(page):
    first, second = Graph(page), Graph(page, 1)
    before, other = first.edges(), second.summary()
    first.move("Cosine at least", 0.2)
    first.move("Epoch", 5)
    assert first.edges() > before and "Epoch 5: 60 of 60" in first.summary()
    many = first.edges()
    first.move("Units removed", 20)
    assert "40 of 60 units" in first.summary() and first.edges() < many
    assert "20 of 60 units removed" in first.box.locator(".fg-curve").inner_text()
    assert second.summary() == other


@marked
def test_the_edges_in_sight_are_those_that_python_stored(page, tmp_path):
    shown, made = Graph(page), graph()
    shown.move("Cosine at least", 0.3)
    shown.move("Epoch", 4)
    shown.summary()
    with page.expect_download() as download:
        shown.box.get_by_role("button", name="Edges (CSV)").click()
    download.value.save_as(tmp_path / "edges.csv")
    rows = list(csv.DictReader((tmp_path / "edges.csv").read_text().splitlines()))
    found = {(int(row["unit"]), int(row["other"])): float(row["cosine"]) for row in rows}
    assert found == pytest.approx({pair: c for pair, c in edges(made, 4).items() if c >= 0.3}, abs=1e-4)
    for row in rows:
        assert float(row["weight"]) == pytest.approx(np.exp(-(1 - float(row["cosine"])) / 0.49), rel=1e-2)
    with page.expect_download() as download:
        shown.box.get_by_role("button", name="Units (CSV)").click()
    download.value.save_as(tmp_path / "units.csv")
    rows = list(csv.DictReader((tmp_path / "units.csv").read_text().splitlines()))
    assert [float(row["norm"]) for row in rows] == pytest.approx(made.node_norms().ravel().tolist(), rel=1e-3)
    assert [row["preferred class"] for row in rows[:6]] == list("012340")
    with page.expect_download() as download:
        shown.box.get_by_role("button", name="Picture").click()
    download.value.save_as(tmp_path / "picture.png")
    assert (tmp_path / "picture.png").read_bytes()[:4] == b"\x89PNG"


@marked
def test_both_kernels_weigh_the_edges(page, tmp_path):
    shown = Graph(page, 1)
    assert shown.summary().startswith("Step 0: 40 of 40 units") and shown.slider("Step").count() == 1
    shown.box.get_by_text("Forces and kernel").click()
    shown.move("Sigma", 0.5)
    for kernel, exponent in ((0, lambda c: (1 - c) / 0.25), (1, lambda c: ((1 - c) / 2) ** 2 / 0.25)):
        shown.box.get_by_label("Kernel").select_option(index=kernel)
        shown.summary()
        with page.expect_download() as download:
            shown.box.get_by_role("button", name="Edges (CSV)").click()
        download.value.save_as(tmp_path / "edges.csv")
        assert download.value.suggested_filename == "graphs-two-edges-step-0.csv"
        assert (tmp_path / "edges.csv").read_text().startswith("step,net,unit,other_net,other,cosine,weight\n")
        rows = [
            (float(r["cosine"]), float(r["weight"]))
            for r in csv.DictReader((tmp_path / "edges.csv").read_text().splitlines())
        ]
        assert [w for _, w in rows] == pytest.approx([np.exp(-exponent(c)) for c, _ in rows], rel=1e-2) and len(
            rows
        ) > 20


@marked
def test_the_page_counts_the_edges_of_the_snapshot_it_names(page):
    shown, made = Graph(page), graph()
    for epoch in (5, 0, 3, 1):
        shown.move("Epoch", epoch)
        assert shown.edges() == (made.edges(epoch)[2] >= made.cutoff).sum()


def saved(page, shown, kind, path):
    """The rows that a button of a graph saves."""
    with page.expect_download() as download:
        shown.box.get_by_role("button", name=kind).click()
    download.value.save_as(path)
    return list(csv.DictReader(path.read_text().splitlines()))


@marked
def test_edges_that_are_saved_under_way_are_those_of_their_snapshot(page, tmp_path):
    shown, made = Graph(page), graph()
    shown.box.get_by_label("Speed", exact=True).select_option("0.5 ×")
    shown.box.get_by_role("button", name="Play").click()
    rows = saved(page, shown, "Edges", tmp_path / "edges.csv")
    epoch = int(rows[0]["epoch"])
    assert epoch > 0 and len(rows) == (made.edges(epoch)[2] >= made.cutoff).sum()
    assert [float(row["weight"]) for row in rows] == pytest.approx(
        [np.exp(-(1 - float(row["cosine"])) / 0.49) for row in rows], rel=1e-2
    )


@marked
def test_a_slider_that_never_rests_does_not_hold_the_picture_back(page):
    """Only the last snapshot has many edges; the reader goes to and fro between it and the one before.

    We look on the way to the last one: how far that is, a machine's pace decides, and the slower the further.
    """
    shown = Graph(page)
    dark = """canvas => {
        const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d", { willReadFrequently: true });
        copy.drawImage(canvas, 0, 0);
        const { data } = copy.getImageData(0, 0, canvas.width, canvas.height); let ink = 0;
        for (let p = 3; p < data.length; p += 4) ink += data[p];
        return ink; }"""
    shown.move("Cosine at least", 0.3)
    shown.move("Epoch", 1)
    shown.frames(120)
    few = shown.canvas.evaluate(dark)
    for k in range(41):
        shown.move("Epoch", 5 - k % 2)
        shown.frames(4)
    moving = shown.canvas.evaluate(dark)
    shown.move("Epoch", 5)
    shown.frames(120)
    assert moving - few > 0.6 * (shown.canvas.evaluate(dark) - few) > 0


@marked
def test_edges_that_go_fade_while_it_plays(page):
    """Two snapshots have edges and the third has none: on the way there they are drawn still."""
    shown = Graph(page, 3)
    assert shown.edges() > 20
    faint = """async ([canvas, slider, epoch]) => { const found = []; while (found.length < 8) {
        await new Promise(requestAnimationFrame);
        const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d", { willReadFrequently: true });
        copy.drawImage(canvas, 0, 0);
        const { data } = copy.getImageData(0, 0, canvas.width, canvas.height);
        if (Number(slider.value) === epoch)
            found.push(data.filter((value, p) => p % 4 === 3 && value > 8 && value < 150).length); }
        return found; }"""
    parts = [shown.canvas.element_handle(), shown.slider("Epoch").element_handle()]
    rest = min(page.evaluate(faint, [*parts, 0]))
    shown.box.get_by_role("button", name="Play").click()
    assert np.median(page.evaluate(faint, [*parts, 2])) > 0.5 * rest
    shown.box.get_by_role("button", name="Play").wait_for(timeout=300_000)
    assert "Epoch 2" in shown.summary() and "0 edges" in shown.summary()


@marked
def test_nets_keep_their_names_and_units_their_numbers(page, tmp_path):
    shown = Graph(page, 1)
    rows = saved(page, shown, "Units", tmp_path / "units.csv")
    assert [(row["net"], row["unit"]) for row in rows[:40]] == [
        (net, str(k)) for net in ("256", "64") for k in range(20)
    ]
    shown.canvas.focus()
    page.keyboard.press("ArrowRight")
    assert "Unit 0 of 256\n" in shown.box.locator(".fg-unit").inner_text()


@marked
def test_a_disc_answers_all_over_and_a_unit_out_of_sight_comes_back(page):
    shown = Graph(page, 2)
    shown.rest()
    card, box = shown.box.locator(".fg-unit"), shown.canvas.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x + 20, y)  # the only unit has a disc of 28 pixels at least
    assert "Unit 0\n" in card.inner_text()
    page.mouse.move(2, 2)
    shown.canvas.focus()
    for _ in range(30):
        page.keyboard.press("Shift+ArrowRight")
    page.mouse.move(x, y)
    assert not card.is_visible()
    page.keyboard.press("ArrowRight")
    page.mouse.move(x + 1, y)
    assert "Unit 0\n" in card.inner_text()


@marked
def test_linked_buttons_play_the_graph(page):
    shown = Graph(page)
    page.locator(".lab-widget").get_by_role("button", name="play", exact=True).click()
    shown.box.get_by_role("button", name="Pause").wait_for(timeout=300_000)
    page.locator(".lab-widget").get_by_role("button", name="play", exact=True).click()
    shown.box.get_by_role("button", name="Play").wait_for(timeout=300_000)


@marked
def test_linked_controls_move_the_graph_and_follow_it(page):
    shown = Graph(page)
    handle = page.locator(".lab-widget .noUi-handle[aria-label='epoch']")
    handle.focus()
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    assert "Epoch 3" in shown.summary()
    assert handle.get_attribute("aria-valuetext") == "3"
    shown.move("Epoch", 1)
    page.wait_for_function("handle => handle.getAttribute('aria-valuetext') === '1'", arg=handle.element_handle())


@marked
def test_everything_is_in_reach_of_the_keyboard(page):
    shown = Graph(page)
    shown.canvas.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    card = shown.box.locator(".fg-unit")
    assert "Unit 1\n" in card.inner_text() and "norm" in card.inner_text() and card.locator("canvas").count() == 1
    made = graph()
    near = max(((c, pair) for pair, c in edges(made, 0).items() if 1 in pair))[1]
    page.keyboard.press("n")
    assert f"Unit {sum(near) - 1}\n" in card.inner_text()
    waited(page, 500)  # what is said of the whole graph comes late, and must not talk over the unit
    assert shown.canvas.get_attribute("aria-label").startswith(f"Unit {sum(near) - 1}. ")
    page.keyboard.press("]")
    assert "Epoch 1" in shown.summary()
    page.keyboard.press("Escape")
    assert not card.is_visible()
    assert not shown.canvas.get_attribute("aria-label").startswith("Unit")
    page.keyboard.press(" ")
    assert shown.box.get_by_role("button", name="Pause").count() == 1
    page.keyboard.press(" ")
    shown.box.get_by_text("Forces and kernel").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowRight")
    assert shown.slider("Sigma").input_value() == "0.75"
    waited(page, 500)
    assert page.evaluate("new URLSearchParams(location.hash.slice(2)).get('first.snapshot') !== null")


@marked
def test_hovering_tells_of_a_unit(page):
    shown = Graph(page)
    shown.rest()
    box = shown.canvas.bounding_box()
    for k in range(200):  # a spiral from the middle meets a node soon
        x, y = 3 * np.sqrt(k) * np.cos(k), 3 * np.sqrt(k) * np.sin(k)
        page.mouse.move(box["x"] + box["width"] / 2 + x, box["y"] + box["height"] / 2 + y)
        if shown.box.locator(".fg-unit").is_visible():
            break
    assert re.search(r"nearest: \d+ \(\d\.\d\d\), \d+ \(\d\.\d\d\), \d+", shown.box.locator(".fg-unit").inner_text())
    page.mouse.move(2, 2)
    assert not shown.box.locator(".fg-unit").is_visible()


@marked
def test_playing_goes_through_the_epochs_and_ends(page):
    shown = Graph(page)
    shown.box.get_by_label("Speed", exact=True).select_option("4 ×")
    shown.box.get_by_role("button", name="Play").click()
    shown.box.get_by_role("button", name="Play").wait_for(timeout=300_000)
    assert "Epoch 5" in shown.summary()


@marked
def test_playing_begins_at_the_snapshot_before_the_first_edge(page):
    shown, edges = Graph(page), []
    shown.move("Cosine at least", 0.9)
    for epoch in range(6):
        shown.move("Epoch", epoch)
        edges.append(shown.edges())
    first = next(epoch for epoch, count in enumerate(edges) if count)
    assert first > 1
    shown.box.get_by_label("Speed", exact=True).select_option("4 ×")
    played = """([slider, button]) => new Promise((done) => { const seen = new Set();
        const look = () => { seen.add(Number(slider.value));
            if (button.textContent === "Play" && seen.size > 1) done([...seen]); else requestAnimationFrame(look); };
        button.click(); look(); })"""
    parts = [shown.slider("Epoch"), shown.box.get_by_role("button", name="Play")]
    assert sorted(page.evaluate(played, [part.element_handle() for part in parts])) == list(range(first - 1, 6))


@marked
def test_settings_are_in_the_address_and_can_be_reset(browser, graph_site, page):
    shown = Graph(page)
    shown.move("Epoch", 2)
    shown.move("Cosine at least", 0.25)
    before = shown.summary()
    address = page.url
    assert "first.snapshot=2" in address and "first.cutoff=0.25" in address and "sigma" not in address
    with visit(browser, address) as again:
        again.locator(".pl-force-graph canvas").first.wait_for(timeout=300_000)
        assert Graph(again).summary() == before
    wild = (
        "#~first.sigma=0&first.charge=1e99&first.snapshot=77.4&first.colour=-3"
        "&first.removed=1e9&first.nothing=1&first.cutoff=x"
    )
    with visit(browser, graph_site + wild) as again:
        again.locator(".pl-force-graph canvas").first.wait_for(timeout=300_000)
        assert "Epoch 5: 0 of 60 units, 0 edges" in Graph(again).summary()
    shown.box.get_by_role("button", name="Reset").click()
    assert "Epoch 0" in shown.summary() and "#" not in page.url


@marked
def test_what_is_in_sight_stands_in_the_address_too_in_shares_of_the_graph_s_width(browser, graph_site, page):
    shown = Graph(page)
    for _ in range(2):
        shown.box.get_by_role("button", name="+", exact=True).press("Enter")
    shown.canvas.press("Shift+ArrowRight")
    moved = round(-40 / shown.canvas.evaluate("canvas => canvas.clientWidth"), 4)
    view = "new URLSearchParams(location.hash.slice(2)).get('first.view')"
    page.wait_for_function(f"() => {view} === '1.5625,{moved},0'")
    with visit(browser, page.url) as again:
        again.locator(".pl-force-graph canvas").first.wait_for(timeout=300_000)
        second = Graph(again)
        second.canvas.press("-")
        again.wait_for_url(f"**first.view=1.25%2C{moved}%2C0")
        second.box.get_by_role("button", name="Reset").press("Enter")
        again.wait_for_function("() => location.hash === ''")
        again.evaluate("() => { location.hash = '#~first.view=0,x,1e99' }")  # no sense: all of it is in sight
        again.wait_for_function("() => location.hash === ''")
        again.evaluate("() => { location.hash = '#~first.snapshot=1' }")
        again.wait_for_url("**#~first.snapshot=1")


@marked
def test_the_address_keeps_all_graphs_and_is_obeyed_when_it_changes(browser, graph_site):
    with visit(browser, graph_site) as page:
        page.locator(".pl-force-graph canvas").first.wait_for(timeout=300_000)
        first, second = Graph(page), Graph(page, 1)
        first.move("Epoch", 2)
        page.wait_for_url("**first.snapshot=2**")
        page.evaluate("location.hash = '#graphs'")
        second.move("Step", 4)
        page.wait_for_url("**two.snapshot=4**")
        assert "first.snapshot=2" in page.url
        page.evaluate("location.hash = '#~two.snapshot=1'")
        second.box.locator(".fg-summary", has_text="Step 1:").wait_for()
        first.box.locator(".fg-summary", has_text="Epoch 0:").wait_for()


@marked
def test_dark_pages_have_light_lines_also_after_a_switch(browser, graph_site):
    ink = """canvas => {
        const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d", { willReadFrequently: true });
        copy.drawImage(canvas, 0, 0);
        const { data } = copy.getImageData(0, 0, canvas.width, canvas.height); let light = 0, dark = 0;
        for (let p = 0; p < data.length; p += 4) if (data[p + 3] > 100) {
            const grey = Math.max(data[p], data[p + 1], data[p + 2]) - Math.min(data[p], data[p + 1], data[p + 2]) < 20;
            if (grey && data[p] > 180) light++; else if (grey && data[p] < 80) dark++; }
        return light > dark; }"""
    with visit(browser, graph_site, color_scheme="dark") as page:
        page.locator(".pl-force-graph canvas").first.wait_for(timeout=300_000)
        shown = Graph(page)
        shown.canvas.focus()
        page.keyboard.press("ArrowRight")  # the ring around the unit is in full ink
        shown.rest()
        assert shown.canvas.evaluate(ink)
        page.evaluate("document.documentElement.dataset.theme = 'light'")
        shown.rest()
        assert not shown.canvas.evaluate(ink)


@marked
def test_a_phone_shows_it_in_its_width_and_a_tap_tells_of_a_unit(browser, graph_site):
    with visit(browser, graph_site, **PHONE) as page:
        page.locator(".pl-force-graph canvas").first.wait_for(timeout=300_000)
        shown = Graph(page)
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
        shown.rest()
        shown.canvas.tap()
        assert shown.box.locator(".fg-unit").is_visible()


# The sides of what is drawn, [left, top, right, bottom] in pixels of the page.
SIDES = """canvas => { const { width, height } = canvas, box = canvas.getBoundingClientRect(), part = box.width / width;
    const copy = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
    copy.drawImage(canvas, 0, 0);
    const { data } = copy.getImageData(0, 0, width, height), x = [], y = [];
    for (let p = 0; p < width * height; p++)
        if (data[4 * p + 3] > 200) { x.push(p % width); y.push(Math.floor(p / width)); }
    const least = (of) => of.reduce((a, b) => Math.min(a, b)), most = (of) => of.reduce((a, b) => Math.max(a, b));
    return [box.left + part * least(x), box.top + part * least(y),
            box.left + part * most(x), box.top + part * most(y)]; }"""


def pinch(page, start, end, steps=6):
    """Two fingers, one put down after the other, go from `start` to `end` ([2, 2]: finger, x and y) and are lifted."""
    hand = page.context.new_cdp_session(page)
    start, end = np.asarray(start, float), np.asarray(end, float)

    def touch(kind, places):
        points = [{"x": x, "y": y, "id": number} for number, (x, y) in enumerate(places)]
        hand.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    touch("touchStart", start[:1])
    touch("touchStart", start)
    for step in range(1, steps + 1):
        touch("touchMove", start + (end - start) * step / steps)
    touch("touchEnd", [])
    waited(page, 400)


@marked
@pytest.mark.parametrize(
    "along",
    [
        pytest.param((1, 0), marks=pytest.mark.soak, id="across"),
        pytest.param((0, 1), marks=pytest.mark.soak, id="upright"),
        pytest.param((0.6, 0.8), id="askew"),  # both at once
    ],
)
def test_two_fingers_zoom_the_graph_and_not_the_page(browser, graph_site, along):
    with visit(browser, graph_site, reduced_motion="reduce", is_mobile=True, **PHONE) as page:
        page.locator(".pl-force-graph canvas").first.wait_for(timeout=300_000)
        shown, along = Graph(page), np.asarray(along)
        shown.rest()
        box = shown.canvas.bounding_box()
        middle, scrolled = (
            np.array([box["x"] + box["width"] / 2, box["y"] + box["height"] / 2]),
            page.evaluate("scrollY"),
        )
        for hold, factor in ((middle, 0.5), (middle + [20, -15], 1.5), (middle, 0.8)):
            before = np.reshape(shown.canvas.evaluate(SIDES), (2, 2))
            wide = 60 * along if factor > 1 else 60 * along / factor
            pinch(page, [hold - wide, hold + wide], [hold - factor * wide, hold + factor * wide])
            after = np.reshape(shown.canvas.evaluate(SIDES), (2, 2))
            assert after == pytest.approx(hold + factor * (before - hold), abs=3), (
                "what is between the fingers stays there"
            )
        assert page.evaluate("[scrollY, visualViewport.scale]") == [scrolled, 1]
        assert shown.canvas.get_attribute("data-frames") and not shown.canvas.evaluate(
            "canvas => canvas.style.touchAction"
        )
        pinch(page, [middle - [20, 0], middle + [20, 0]], [middle - [110, 0], middle + [110, 0]])
        # now one finger moves the graph
        assert shown.canvas.evaluate("canvas => getComputedStyle(canvas).touchAction") == "none"
        shown.box.get_by_role("button", name="▢").click()
        # and now the page again
        assert shown.canvas.evaluate("canvas => getComputedStyle(canvas).touchAction") == "pan-y"


@marked
def test_reduced_motion_settles_at_once(browser, graph_site):
    with visit(browser, graph_site, reduced_motion="reduce") as page:
        page.locator(".pl-force-graph canvas").first.wait_for(timeout=300_000)
        shown = Graph(page)
        shown.rest()
        count = int(shown.canvas.get_attribute("data-frames"))
        shown.move("Epoch", 3)
        shown.rest()
        assert int(shown.canvas.get_attribute("data-frames")) - count < 12


@marked
def test_paper_and_pages_without_scripts_have_the_still_picture(browser, graph_site):
    with visit(browser, graph_site, java_script_enabled=False) as page:
        assert (
            page.locator(".lab-still svg").is_visible()
            and "epochs 0, 2, 3, 5" in page.locator(".lab-still").inner_text()
        )
    with visit(browser, graph_site) as page:
        page.locator(".pl-force-graph canvas").first.wait_for(timeout=300_000)
        assert not page.locator(".lab-still svg").is_visible()
        page.emulate_media(media="print")
        assert page.locator(".lab-still svg").is_visible() and not page.locator(".pl-force-graph").first.is_visible()
