"""The toy of chapter 11: what its script fits is what the library fits, and its sliders move both pictures."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from conftest import chromium

from pruning_lab.widgets import descent

STATIC = Path(__file__).resolve().parents[1] / "book" / "_static"
SCRIPT = STATIC / "descent.js"
CURVES = {(False, False): {0.1: 0.5, 1.0: 100.0, 10.0: 0.1}, (True, False): {0.1: 0.6, 1.0: 400.0, 10.0: 0.3},
          (True, True): {0.1: 0.6, 1.0: 0.5, 4.0: 0.4}}  # fmt: skip
CASES = [(n, noise, ridge) for n in (2, 6, 8, 10, 12, 20, 60) for noise in (0.0, 0.3) for ridge in (0.0, 1e-4, 1.0)]


def data(html):
    return json.loads(re.search(r"data-descent='(.*?)'>", html)[1].replace("&#39;", "'").replace("&amp;", "&"))


@pytest.fixture(scope="module")
def page_data():
    return data(descent.picture(CURVES, "A toy", "Ten points.", "some images"))


def run(script):
    """What a script prints as JSON, after the page's own."""
    text = f"{SCRIPT.read_text()}\n{script}"
    done = subprocess.run(["node", "-"], input=text, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_the_script_fits_as_the_library_does(require, page_data):
    require("node", shutil.which("node") is not None, "there is no node on the PATH")
    found = run(
        f"const d = {json.dumps(page_data)}, cases = {json.dumps(CASES)};"
        "const at = Array.from({ length: d.grid }, (_, i) => i / (d.grid - 1));"
        "const fits = cases.map(([n, noise, ridge]) => {"
        "  const y = d.curve.map((v, i) => v + noise * d.noise[i]);"
        "  const a = labDescent.fit(d.x, y, d.directions, n, ridge);"
        "  return [Math.hypot(...a), at.map((x) => labDescent.value(a, x, d.directions))]; });"
        "console.log(JSON.stringify(fits));"
    )
    for case, (norm, line) in zip(CASES, found, strict=True):
        fit = descent.fitted(*case)
        rough = 1e-3 if case[0] in (10, 12) and not case[2] else 1e-6  # at the threshold rounding is magnified
        assert norm == pytest.approx(fit.norms[0], rel=rough), case
        np.testing.assert_allclose(line, fit.test[:, 0], rtol=rough, atol=rough * max(1, abs(fit.test).max()))


def test_the_script_reads_measured_curves_between_logarithms(require, page_data):
    require("node", shutil.which("node") is not None, "there is no node on the PATH")
    curve = [[0.1, 1.0], [1.0, 100.0], [10.0, 1.0]]
    asked = f"[0.1, 0.31622776601683794, 1, 10, 20, 0.05].map((r) => labDescent.between({curve}, r))"
    first, middle, top, last, *beyond = run(f"console.log(JSON.stringify({asked}));")
    assert (first, top, last) == (1.0, pytest.approx(100), pytest.approx(1)) and middle == pytest.approx(10)
    assert beyond == [None, None]


def test_the_still_picture_is_the_fit_of_as_many_features_as_points():
    html = descent.picture(CURVES, "A <toy>", "Ten points.", "some images")
    assert html.count('class="lab-point"') == descent.POINTS
    fit = descent.fitted(descent.POINTS, descent.NOISES[descent.START["noise"]], 0.0)
    line = descent._path(*descent._place(descent.toy().grid, fit.test[:, 0]))
    assert f'class="lab-fit" d="{line}"' in html and "A &lt;toy&gt;" in html
    np.testing.assert_allclose(fit.train[:, 0], descent.toy().curve + 0.2 * descent.toy().noise, atol=1e-6)


def test_each_place_of_a_slider_has_its_words():
    said = data(descent.picture({}, "A toy", "Ten points.", ""))["said"]
    assert said["noise"][:2] == ["none", "sd 0.1"] and len(said["noise"]) == len(descent.NOISES)
    parts = dict(millionth=1e-6, millionths=1e-6, thousandth=1e-3, hundredth=1e-2, tenth=0.1)
    read = [
        0.0 if text == "none" else float(text.split()[0]) * parts.get(text.split()[-1], 1) for text in said["ridge"]
    ]
    assert read == pytest.approx(descent.RIDGES)


def test_without_a_measured_curve_there_is_one_picture():
    html = descent.picture({}, "A toy", "Ten points.", "")
    assert html.count("<svg") == 1 and data(html)["curves"] == []


@pytest.mark.browser
def test_sliders_move_the_fit_and_the_dot(tmp_path):
    drawn = descent.picture(CURVES, "A toy", "Ten points.", "some images")
    css = "".join((STATIC / f"{name}.css").read_text() for name in ("lab", "board"))
    file = tmp_path / "page.html"
    body = f'<main class="bd-article">{drawn}</main><script>{SCRIPT.read_text()}</script>'
    file.write_text(
        f'<!doctype html><html><head><meta charset="utf-8"><style>{css}</style></head><body>{body}</body></html>'
    )
    with chromium() as running:
        page, wrong = running.new_page(), []
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.goto(file.as_uri())
        fit, dot, said = (page.locator(f".lab-descent {what}") for what in (".lab-fit", ".lab-at", "output"))
        assert "10 features for 10 points" in said.inner_text()
        assert "at 1 times as many features as images, test risk 400" in said.inner_text()
        before, place = fit.get_attribute("d"), float(dot.get_attribute("cx"))
        page.locator("[name=features]").focus()
        for _ in range(5):
            page.keyboard.press("ArrowRight")
        assert "20 features for 10 points" in said.inner_text()
        assert fit.get_attribute("d") != before and float(dot.get_attribute("cx")) > place
        page.locator("[name=noise]").fill("0")
        assert page.locator(".lab-line.chosen").get_attribute("data-noisy") == "0"
        page.locator("[name=ridge]").fill("3")  # no such curve was measured: true labels, with a ridge
        assert page.locator(".lab-line.chosen").count() == 0 and float(dot.get_attribute("cx")) < 0
        assert page.locator("[name=ridge]").get_attribute("aria-valuetext") == "ridge: 100 millionths"
        assert page.locator(".lab-value").all_inner_texts() == ["20", "none", "100 millionths"]
        assert not wrong
        for width in (1280, 700, 390):  # wide enough for a finger to choose from a few dozen places
            page.set_viewport_size({"width": width, "height": 800})
            wide = page.locator("input[type=range]").evaluate_all("all => all.map(one => one.offsetWidth)")
            assert min(wide) > 90, width
            assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
