"""The explorer: its encoding against the table itself, its limits and errors, and the page in headless Chromium."""

import csv
import re
from pathlib import Path

import graph_page
import numpy as np
import pandas as pd
import pytest
from conftest import chromium, served
from explorer_page import EPOCHS, FIRST, FOURTH, LAYERS, SECOND, THIRD, accuracy, histograms, layered, signs, turned
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from test_browser import COLOURS, PHONE, contrast, visit, waited
from traitlets import TraitError

from pruning_lab.widgets import Explorer, curves

STATIC = Path(__file__).resolve().parents[1] / "pruning_lab" / "widgets" / "static"
CONTROLS = ("net", "layer", "epoch")

# Encoding


def points(explorer, series, **values):
    """x -> y of a curve as the page decodes it."""
    x, y = explorer.curve(series, **values)
    return dict(zip(np.round(x.astype(float), 5), y, strict=True))


def test_every_curve_comes_back_and_what_is_missing_holds_for_all():
    made, table = signs(), histograms()
    for net, layers in LAYERS.items():
        null = table[(table.net == net) & (table.curve == "null")]
        for layer in layers:
            for epoch in EPOCHS[net]:
                seen = table[(table.net == net) & (table.layer == layer) & (table.epoch == epoch)]
                for name, part in (("measured", seen), ("null", null)):
                    stored = dict(zip(part["diff"], part.share, strict=True))
                    half = part.share.max() / 65533 / 2
                    assert points(made, name, net=net, layer=layer, epoch=epoch) == pytest.approx(
                        stored, abs=1.01 * half
                    )


PLACE = st.tuples(st.integers(0, 3), st.sampled_from("ab"), st.integers(-9, 9))  # a control, a series, x
NUMBER = st.floats(-1e6, 1e6) | st.just(float("nan"))


@settings(deadline=None, max_examples=60)
@given(
    st.dictionaries(st.tuples(st.integers(0, 3), st.sampled_from("ab"), st.integers(-9, 9)), NUMBER, min_size=1),
    st.sampled_from([16, 12]),
)
def test_any_numbers_come_back_within_half_a_step(table, bits):
    rows = pd.DataFrame([(*key, y) for key, y in table.items()], columns=["c", "s", "x", "y"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(curves, "MANY", 1e9 if bits == 16 else 0)
        made = Explorer(rows, ["c"], series="s", x="x", y="y")
    for (c, s), part in rows.sort_values("x").groupby(["c", "s"]):
        x, y = made.curve(s, c=c)
        known = part.y.dropna()
        half = (known.max() - known.min()) / (2**bits - 3) / 2 if len(known) else 0
        assert x.tolist() == part.x.tolist()
        assert y.tolist() == pytest.approx(part.y.tolist(), abs=1.001 * half + 1e-9, nan_ok=True)


def test_logarithms_keep_small_numbers_and_zeros():
    rows = pd.DataFrame(dict(c=0, s="a", x=[1, 2, 3, 4], y=[1e-8, 3.0, 0.0, np.nan]))
    y = Explorer(rows, ["c"], series="s", x="x", y="y", log="y").curve("a")[1]
    assert y[:2] == pytest.approx([1e-8, 3.0], rel=2e-4) and y[2] == 0 and np.isnan(y[3])


def test_what_combinations_share_is_stored_once():
    table = histograms(nets=["LeNet"])
    null = table[table.curve == "null"].drop(columns=["layer", "epoch"])
    each = table.dropna()[["layer", "epoch"]].drop_duplicates()
    spelled = pd.concat([table.dropna(), null.merge(each, how="cross")])
    short, long = (Explorer(part, CONTROLS, title="t") for part in (table, spelled))
    assert long.curve("null", layer="fc2", epoch=5)[1].tolist() == short.curve("null", layer="fc2", epoch=5)[1].tolist()
    assert abs(long.state_bytes() - short.state_bytes()) < 300


def test_a_large_table_stays_within_its_limit():
    places = pd.MultiIndex.from_product(
        [range(2), range(2), range(10), range(21), np.linspace(-1, 1, 201)],
        names=["net", "data", "layer", "epoch", "diff"],
    )
    noise = np.random.default_rng(0).random(len(places))  # no table of this size takes more
    made = Explorer(places.to_frame(index=False).assign(curve="measured", share=noise))
    assert made.state_bytes() <= 400_000
    x, y = made.curve("measured", net=1, data=0, layer=7, epoch=20)
    first = np.ravel_multi_index((1, 0, 7, 20, 0), (2, 2, 10, 21, 201))
    assert y == pytest.approx(noise[first : first + 201], abs=1 / 4093 / 2)


# The choice


def test_a_start_is_kept_and_a_choice_goes_to_the_nearest():
    made = signs(start={"net": "Conv-2", "epoch": 8})
    assert made.chosen == {"net": "Conv-2", "layer": "conv1", "epoch": 8} and made.choice == made.meta["start"]
    made.choose(net="LeNet")
    assert made.chosen == {"net": "LeNet", "layer": "fc1", "epoch": 10}  # the first layer, as conv1 was
    made.choose(epoch=1)
    assert made.chosen["epoch"] == 1 and made.chosen["net"] == "LeNet"
    with pytest.raises(ValueError, match="no curve for net LeNet, layer conv1"):
        made.choose(net="LeNet", layer="conv1")
    for wrong in ([0, 0, 99], [0, 0]):
        with pytest.raises(TraitError, match="no combination"):
            made.choice = wrong
    with pytest.raises(ValueError, match="no series 'nul'.*null, measured"):
        made.curve("nul")


def test_numbers_are_sliders_in_their_order_and_categories_menus_in_theirs():
    table = histograms()
    table["layer"] = pd.Categorical(table.layer, ["fc3", "fc2", "fc1", "conv2", "conv1", "none"])
    net, layer, epoch = Explorer(table, CONTROLS, labels={"epoch": "epoch of training", 16: "last"}).meta["controls"]
    assert not net["slider"] and not layer["slider"] and epoch["slider"]
    assert layer["values"] == ["fc3", "fc2", "fc1", "conv2", "conv1"] and net["values"] == ["LeNet", "Conv-2"]
    table = histograms()
    made = Explorer(pd.concat([table[table.net == "Conv-2"], table[table.net == "LeNet"][::-1]]), CONTROLS)
    rows = [
        (made.meta["controls"][1]["values"][layer])
        for net, layer, epoch in made._packed.parts["combinations"]
        if not epoch
    ]
    assert rows == [*LAYERS["Conv-2"], *LAYERS["LeNet"][::-1]]  # each net's own, as they come
    assert epoch["values"] == sorted(set(EPOCHS["LeNet"] + EPOCHS["Conv-2"])) and epoch["shown"][-1] == "last"
    assert epoch["label"] == "epoch of training"


def test_colours_are_those_of_the_book():
    series = {one["name"]: one["colour"] for one in accuracy(colours={"random": "#123456"}).meta["series"]}
    assert series == {"norm": "#0072B2", "random": "#123456", "frame_potential": "#D55E00"}
    assert {one["name"]: one["colour"] for one in signs().meta["series"]} == {
        "null": "currentColor",
        "measured": "#0072B2",
    }


def test_axes_hold_all_combinations_and_bars_stand_on_zero():
    made, table = signs(), histograms()
    low, high = made.meta["y"]["range"]
    assert low == 0 and table.share.max() < high < 1.1 * table.share.max()
    assert made.meta["x"]["range"] == pytest.approx([-1.025, 1.025])  # half a bin more at both ends
    assert accuracy().meta["y"]["range"] == [0, 100]


# What is refused


@pytest.mark.parametrize("change, says", [
    (lambda t: t[:0], "empty"),
    (lambda t: t.drop(columns=["epoch", "share"]), r"lacks \['epoch', 'share'\]"),
    (lambda t: t.assign(diff=t["diff"].where(t.index != 7)), "row 7: diff is nan"),
    (lambda t: t.assign(share=t.share.where(t.index != 3, np.inf)), "row 3: share is inf"),
    (lambda t: t.assign(curve=t.curve.where(t.index != 5)), "row 5: curve is nan"),
    (lambda t: t.assign(share="much"), "'share' must hold numbers"),
    (lambda t: pd.concat([t, t[-1:]]), "diff = 1 comes twice for curve 'measured' at net Conv-2, layer fc3, epoch 16"),
    (lambda t: pd.concat([t, t[-1:].assign(layer=None)]),
     "two curves of 'measured' at net Conv-2, layer fc1, epoch 16"),
    (lambda t: t[t.curve == "null"], "column 'layer' has no value"),
    (lambda t: t[t.curve == "null"].assign(layer=["a", None] * 41, epoch=[np.nan, 1] * 41),
     "no row has a value for each"),
    (lambda t: pd.DataFrame(dict(net="a", layer="b", epoch=1, curve="c", diff=np.arange(200_001), share=0)),
     "200,001 points are too many"),
])  # fmt: skip
def test_a_bad_table_is_refused(change, says):
    with pytest.raises(ValueError, match=says):
        Explorer(change(histograms()), CONTROLS)


@pytest.mark.parametrize("options, says", [
    ({"styles": {"null": "wave"}}, "no style.*wave.*bar, line"),
    ({"log": "z"}, "log is 'x', 'y'"),
    ({"log": "x"}, "no place for zero"),
    ({"ranges": {"z": (0, 1)}}, "ranges are of"),
    ({"ranges": {"y": (1, 0)}}, "y axis goes from 1 to 0"),
    ({"log": "y", "ranges": {"y": (0, 1)}}, "above zero where log"),
    ({"start": {"seed": 1}}, "no control 'seed'.*net, layer, epoch"),
    ({"start": {"layer": "fc9"}}, "no layer 'fc9'.*fc1"),
    ({"start": {"net": "LeNet", "layer": "conv1"}}, "no curve for net LeNet, layer conv1"),
    ({"captions": pd.DataFrame(dict(net=["LeNet"], text="a"))}, "a column 'caption'"),
    ({"captions": pd.DataFrame(dict(net=["LeNet", None], caption=["a", "b"]))}, "two captions.*'a' and 'b'"),
    ({"name": "a b"}, "letters"),
])  # fmt: skip
def test_bad_options_are_refused(options, says):
    with pytest.raises(ValueError, match=says):
        Explorer(histograms(), CONTROLS, **options)


def test_controls_must_be_columns_of_their_own():
    for controls in ((), ("net", "layer", "epoch", "curve")):
        with pytest.raises(ValueError, match="different columns, one control or more"):
            Explorer(histograms(), controls)


def test_a_negative_number_has_no_logarithm():
    with pytest.raises(ValueError, match="y has -1, which has no place"):
        Explorer(histograms().assign(share=-1), CONTROLS, log="y", ranges={"y": (1, 2)})


# On paper


def test_a_control_s_numbers_are_written_with_their_unit():
    table = pd.DataFrame(dict(ratio=[1, 2, 16], curve="a", diff=[0.0, 1.0, 2.0], share=1.0))
    (control,) = Explorer(table, ("ratio",), units=dict(ratio="{} times")).meta["controls"]
    assert (control["values"], control["shown"]) == ([1, 2, 16], ["1 times", "2 times", "16 times"])


def test_the_still_shows_the_start_and_three_more_on_the_same_axes():
    made = signs(start={"layer": "fc2", "epoch": 1})
    picture, fallback = made.still(), made.fallback()
    assert 'class="lab-picture"' in picture._repr_html_() and 'class="lab-still"' in fallback._repr_html_()
    assert re.findall(r'font-weight="600">epoch (\d+)<', picture.svg) == ["0", "1", "5", "10"]
    assert picture.caption.startswith(
        "Signs of gradients. net LeNet, layer fc2. LeNet, fc2: after epoch 0. LeNet, fc2: after epoch 1."
    )
    heads = re.findall(
        r'font-weight="600">([^<]*)<', made.still([{"net": "LeNet"}, {"net": "Conv-2", "layer": "fc3"}]).svg
    )
    assert heads == ["net LeNet, layer fc2, epoch 1", "net Conv-2, layer fc3, epoch 0"]


def test_arrows_have_heads_on_paper_and_paths_have_none():
    paths = dict(re.findall(r'<path d="(M[^"]*)" fill="none" stroke="(#\w+)"', turned().still([{}]).svg))
    assert sorted(path.count("M") for path in paths) == [1, 3, 3, 3]


def test_a_gap_is_a_gap_on_paper():
    lines = re.findall(r'<path d="(M[^"]*)" fill="none" stroke="#D55E00"', accuracy().still([{}]).svg)
    assert [line.count("L") for line in lines] == [2]


def test_no_number_stands_between_two_layers_on_paper():
    def written(chart):
        return re.findall(r'text-anchor="middle">([\d.]+)</text>', chart.still([{}]).svg)

    assert written(layered()) == ["2", "4", "6"] and layered().meta["x"]["whole"]
    assert written(layered(ranges={"x": (0.5, 2.5)})) == ["1", "2"]
    assert not turned().meta["x"]["whole"]


def test_the_module_is_small_and_comes_with_its_licences():
    assert len((STATIC / "explorer.js").read_bytes()) < 40_000
    text = (STATIC / "explorer.LICENSE.txt").read_text()
    assert "d3-array 3" in text and "fflate 0" in text and "Permission is hereby granted" in text


# The page


@pytest.fixture(scope="module")
def explorer_site(tmp_path_factory):
    """The address of a built page with four explorers."""
    with served(graph_page.make(tmp_path_factory.mktemp("explorers"), (FIRST, SECOND, THIRD, FOURTH))) as address:
        yield f"{address}/book/graphs.html"


@pytest.fixture(scope="module")
def browser(explorer_site):
    with chromium() as running:
        yield running


class Chart:
    """One explorer on a page, by its number there."""

    def __init__(self, page, number=0):
        self.page, self.box = page, page.locator(".pl-explorer").nth(number)
        self.svg = self.box.locator(".ex-drawing > svg")
        self.box.locator(".ex-drawing > svg[data-drawn]").wait_for(timeout=300_000)
        self.svg.scroll_into_view_if_needed()
        self.card = self.box.locator(".ex-card")

    def mark(self, series):
        """The path of a series; none where it is not drawn."""
        found = self.box.locator(f".ex-mark[data-series='{series}']")
        return found.get_attribute("d") if found.count() else None

    def heights(self, series):
        """The heights of its bars, parts of the highest."""
        found = re.findall(r"M[\d.-]+ ([\d.-]+)V([\d.-]+)", self.mark(series))
        heights = np.array([float(base) - float(top) for base, top in found])
        return heights / heights.max()

    def chosen(self):
        """What the controls say, in their order."""
        say = (
            "boxes => boxes.map(box => box.tagName === 'SELECT' ? box.selectedOptions[0].text : "
            "box.getAttribute('aria-valuetext'))"
        )
        return self.box.locator(".ex-controls :is(select, input)").evaluate_all(say)

    def menu(self, label):
        return self.box.get_by_role("combobox", name=label)

    def slider(self, label):
        return self.box.get_by_role("slider", name=label)

    def move(self, label, place):
        self.slider(label).evaluate(
            "(input, value) => { input.value = value; input.dispatchEvent(new Event('input')); }", place
        )

    def over(self, x, y):
        """The mouse over a part of the chart."""
        box = self.svg.bounding_box()
        self.page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"])


@pytest.fixture
def page(browser, explorer_site):
    with visit(browser, explorer_site, color_scheme="light") as page:
        yield page


def marked(test):
    """A test that needs the page in a browser."""
    return pytest.mark.browser(pytest.mark.timeout(3600)(test))


@marked
def test_a_slider_moves_the_bars_of_its_own_chart_to_what_python_stored(page):
    shown, made = Chart(page), signs()
    null, others = shown.mark("null"), [Chart(page, 1).mark("w1"), Chart(page, 2).mark("norm")]
    for place, epoch in ((0, 0), (3, 5), (4, 10)):
        shown.move("epoch", place)
        y = made.curve("measured", epoch=epoch)[1]
        assert shown.chosen() == ["LeNet", "fc1", str(epoch)]
        assert shown.heights("measured") == pytest.approx(y / y.max(), abs=2e-4)
        assert shown.box.locator(".ex-caption").inner_text() == f"LeNet, fc1: after epoch {epoch}."
    assert shown.mark("null") == null and [Chart(page, 1).mark("w1"), Chart(page, 2).mark("norm")] == others


@marked
def test_menus_offer_what_exists_and_keep_what_they_can(page):
    shown, made = Chart(page), signs()
    shown.move("epoch", 3)
    shown.menu("net").select_option("Conv-2")
    assert (
        shown.chosen() == ["Conv-2", "fc1", "4"]
        and shown.menu("layer").locator("option").all_inner_texts() == LAYERS["Conv-2"]
    )
    y = made.curve("measured", net="Conv-2", layer="fc1", epoch=4)[1]
    assert shown.heights("measured") == pytest.approx(y / y.max(), abs=2e-4)
    shown.menu("layer").select_option("conv2")
    shown.move("epoch", 3)
    assert shown.chosen() == ["Conv-2", "conv2", "16"]
    shown.menu("net").select_option("LeNet")
    assert (
        shown.chosen() == ["LeNet", "fc2", "10"]
        and shown.menu("layer").locator("option").all_inner_texts() == LAYERS["LeNet"]
    )


@marked
def test_everything_is_in_reach_of_the_keyboard(page):
    shown, made = Chart(page), signs()
    shown.slider("epoch").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert shown.chosen()[2] == "2"
    page.keyboard.press("Tab")
    assert shown.svg.evaluate("svg => svg === document.activeElement")
    page.keyboard.press("ArrowDown")
    for _ in range(25):
        page.keyboard.press("ArrowRight")
    told = re.match(r"diff of a weight: 0\.25\ncoin flips: ([\d.]+)\nmeasured", shown.card.inner_text())
    assert float(told[1]) == pytest.approx(points(made, "null", epoch=2)[0.25], rel=1e-3)
    assert shown.svg.get_attribute("aria-label").startswith("diff of a weight: 0.25. coin flips: 0.00")
    page.keyboard.press("ArrowDown")
    assert shown.card.inner_text().split("\n")[1].startswith("measured: ")
    page.keyboard.press("Home")
    assert shown.card.inner_text().startswith("diff of a weight: -1\nmeasured")
    page.keyboard.press("]")
    assert shown.chosen()[2] == "5" and shown.card.is_visible()
    page.keyboard.press("[")
    assert shown.chosen()[2] == "2"
    page.keyboard.press("Escape")
    assert not shown.card.is_visible()
    named = "([svg, start]) => svg.getAttribute('aria-label').startsWith(start)"  # said when things have come to rest
    page.wait_for_function(
        named, arg=[shown.svg.element_handle(), "Signs of gradients. LeNet, fc1: after epoch 2. net LeNet"]
    )
    page.keyboard.press(" ")
    assert shown.box.get_by_role("button", name="Pause").count() == 1
    page.keyboard.press(" ")
    assert shown.box.get_by_role("button", name="Pause").count() == 0


@marked
def test_hovering_tells_the_values(page):
    shown, made = Chart(page), signs()
    shown.over(0.52, 0.3)
    text = shown.card.inner_text().split("\n")
    x = float(text[0].removeprefix("diff of a weight: "))
    told = {name: float(value) for name, value in (line.split(": ") for line in text[1:3])}
    assert 0 <= x < 0.2 and set(told) == {"measured", "coin flips"} and text[3] == "share of weights"
    for name, series in (("measured", "measured"), ("coin flips", "null")):
        assert told[name] == pytest.approx(points(made, series)[round(x, 5)], rel=1e-3)
    toy = Chart(page, 1)
    box, way = toy.svg.bounding_box(), re.findall(r"L([\d.]+) ([\d.]+)", toy.mark("w1"))[0]
    page.mouse.move(box["x"] + float(way[0]) + 3, box["y"] + float(way[1]) - 3)
    assert toy.card.inner_text().split("\n") == ["w1", "x: 0.7071", "y: 0.7071"]
    page.mouse.move(2, 2)
    assert not toy.card.is_visible() and not shown.card.is_visible()


@marked
def test_arrows_turn_and_a_unit_is_as_long_on_both_axes(page):
    toy = Chart(page, 1)
    for place, angle in ((3, 45), (4, 60), (9, 135)):
        toy.move("angle", place)
        from_x, from_y, to_x, to_y = map(
            float, re.match(r"M([\d.]+) ([\d.]+)L([\d.]+) ([\d.]+)M", toy.mark("w1")).groups()
        )
        assert np.rad2deg(np.arctan2(from_y - to_y, to_x - from_x)) == pytest.approx(angle, abs=0.1)
        assert toy.mark("w1").count("M") == 3 and toy.mark("w0").count("M") == 3  # a head is two strokes
    assert re.fullmatch(r"M([\d.]+) [\d.]+L\1 [\d.]+", toy.mark("wall"))  # upright, and without a head


@marked
def test_gaps_and_dashes_are_drawn(page):
    shown = Chart(page, 2)
    assert (
        re.sub(r"[^ML]", "", shown.mark("frame_potential")) == "MLL"
        and re.sub(r"[^ML]", "", shown.mark("norm")) == "MLLLL"
    )
    dashes = "mark => getComputedStyle(mark).strokeDasharray"
    assert [shown.box.locator(f".ex-mark[data-series={name}]").evaluate(dashes) for name in ("random", "norm")] == [
        "7px, 4px",
        "none",
    ]
    steps = [float(x) for x in re.findall(r"[ML]([\d.]+) ", shown.mark("norm"))]
    assert np.diff(steps) == pytest.approx(np.diff(steps)[0], abs=0.05)  # powers of ten on a logarithmic axis


@marked
def test_no_number_stands_between_two_layers(page):
    below = Chart(page, 3).box.locator(".ex-axes text[text-anchor=middle]").all_text_contents()
    assert below == ["1", "2", "3", "4", "5", "6", "layer"]


@marked
def test_playing_goes_through_the_values_and_is_slower_with_less_motion(browser, explorer_site):
    for motion, before, after in (("no-preference", "60", "75"), ("reduce", "45", "60")):
        with visit(browser, explorer_site, reduced_motion=motion) as page:
            toy = Chart(page, 1)
            page.clock.install()
            page.clock.pause_at("2100-01-01")
            toy.box.get_by_role("button", name="Play").click()
            page.clock.run_for(900)
            assert toy.chosen() == [before]
            page.clock.run_for(600)
            assert toy.chosen() == [after]
            page.clock.run_for(15_000)
            assert toy.chosen() == ["180"] and toy.box.get_by_role("button", name="Pause").count() == 0


@marked
def test_rows_and_picture_are_those_in_sight(page, tmp_path):
    shown, made = Chart(page), signs()
    shown.move("epoch", 2)
    with page.expect_download() as download:
        shown.box.get_by_role("button", name="Rows (CSV)").click()
    assert download.value.suggested_filename == "graphs-signs-LeNet-fc1-2.csv"
    download.value.save_as(tmp_path / "rows.csv")
    rows = list(csv.DictReader((tmp_path / "rows.csv").read_text().splitlines()))
    assert list(rows[0]) == ["net", "layer", "epoch", "series", "diff", "share"] and {row["epoch"] for row in rows} == {
        "2"
    }
    for series in ("null", "measured"):
        found = {float(row["diff"]): float(row["share"]) for row in rows if row["series"] == series}
        assert found == pytest.approx(points(made, series, epoch=2), abs=1e-5) and len(found) == 41
    with page.expect_download() as download:
        shown.box.get_by_role("button", name="Picture").click()
    download.value.save_as(tmp_path / "picture.png")
    colours = Image.open(tmp_path / "picture.png").convert("RGB").getcolors(1 << 20)
    counts = {colour: count for count, colour in colours}
    assert max(counts, key=counts.get) == (255, 255, 255)  # the page's paper
    assert sum(count for (r, _, b), count in counts.items() if b > r + 60) > 5_000  # blue bars


@marked
def test_the_choice_is_in_the_address_and_can_be_reset(browser, explorer_site, page):
    shown = Chart(page)
    shown.menu("net").select_option("Conv-2")
    shown.move("epoch", 2)
    page.wait_for_url("**signs.net=Conv-2&signs.epoch=8")
    with visit(browser, page.url) as again:
        assert Chart(again).chosen() == ["Conv-2", "fc1", "8"] and Chart(again, 1).chosen() == ["45"]
    with visit(
        browser,
        explorer_site + "#~signs.net=Conv-2&signs.layer=none&signs.epoch=7&toy.angle=90&toy.x=1&accuracy.density=0.1",
    ) as again:
        assert [Chart(again, number).chosen() for number in range(3)] == [["Conv-2", "fc1", "0"], ["90"], ["16", "0.1"]]
    shown.box.get_by_role("button", name="Reset").click()
    page.wait_for_url(re.compile("graphs.html$"))
    assert shown.chosen() == ["LeNet", "fc1", "0"]


# The colour of a mark as [r, g, b], whatever the notation.
HUE = """mark => { const context = new OffscreenCanvas(1, 1).getContext("2d"), style = getComputedStyle(mark);
    context.fillStyle = style.fill === "none" ? style.stroke : style.fill;
    context.fillRect(0, 0, 1, 1);
    return [...context.getImageData(0, 0, 1, 1).data].slice(0, 3); }"""


@marked
def test_text_can_be_read_in_light_and_dark_also_after_a_switch(browser, explorer_site):
    with visit(browser, explorer_site, color_scheme="dark") as page:
        shown, inks = Chart(page), []
        for theme in ("dark", "light"):
            page.evaluate("theme => { document.documentElement.dataset.theme = theme }", theme)
            waited(page, 300)
            pairs = shown.box.locator(".ex-axes text").evaluate_all(COLOURS)
            assert len(pairs) > 8 and min(contrast(*pair) for pair in pairs) >= 4.5
            for series, least in (("null", 4.5), ("measured", 3)):
                assert (
                    contrast(shown.box.locator(f".ex-mark[data-series={series}]").evaluate(HUE), pairs[0][1]) >= least
                )
            inks.append(pairs[0][0])
        assert min(inks[0]) > 150 > max(inks[1])


@marked
def test_a_phone_shows_it_in_its_width_and_a_tap_tells_the_values(browser, explorer_site):
    with visit(browser, explorer_site, **PHONE) as page:
        for number in range(3):
            shown = Chart(page, number)
            assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
            inside = (
                "(box) => [...box.querySelectorAll('*')].every((part) => "
                "part.getBoundingClientRect().right <= innerWidth)"
            )
            assert shown.box.evaluate(inside)
            shown.svg.tap()
            assert shown.card.is_visible()


@marked
def test_without_scripts_and_on_paper_there_is_the_still(browser, explorer_site):
    with visit(browser, explorer_site, java_script_enabled=False) as page:
        assert page.locator(".lab-still > svg").is_visible() and page.locator(".lab-picture > svg").is_visible()
    with visit(browser, explorer_site) as page:
        Chart(page)
        assert not page.locator(".lab-still").is_visible()
        page.emulate_media(media="print")
        assert page.locator(".lab-still > svg").is_visible() and not page.locator(".pl-explorer").first.is_visible()


@marked
def test_no_cell_of_the_rows_that_a_widget_saves_is_a_formula(browser):
    """As the rows that pages offer; the source of both widgets' bundles is asked, which hold the same expression."""
    root = Path(__file__).resolve().parents[1]
    with served(root / "js" / "shared") as address, browser.new_page() as page:
        page.goto(f"{address}/")
        given = ["=1+1", "@x", "-x", "\t1", "a,b", "-0.5", "+5", "1e-5", "fc1", -3]
        said = page.evaluate("rows => import('/files.js').then(module => module.table(rows))", [given])
    assert said == "'=1+1,'@x,'-x,'\t1,\"a,b\",-0.5,+5,1e-5,fc1,-3\n"
    for name in ("explorer.js", "force_graph.js"):
        assert "infinity|nan" in (root / "pruning_lab" / "widgets" / "static" / name).read_text(encoding="utf-8")
