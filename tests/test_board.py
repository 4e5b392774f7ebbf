"""The scoreboard and the landing page's picture in a browser: by keyboard, on a phone, without scripts."""

import re
from pathlib import Path

import numpy as np
import pytest
from conftest import chromium, visit
from test_landing import UNITS, packed
from test_scoreboard import AT, fp1, heard

from pruning_lab.report import scoreboard, standing, told, verdicts
from pruning_lab.widgets import removal

pytestmark = pytest.mark.browser
STATIC = Path(__file__).resolve().parents[1] / "book" / "_static"


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """A page with both, as the book has them: their HTML, their styles, their scripts after them."""
    known = heard(**{"01_frame_potential": fp1(AT, [-1.3, -1.0, -0.7, -1.2, -0.8], [1.0]),
                     "05_width": verdicts.judge("WI3", {"peak": [10.0, 10.1, 10.2] * 3})})  # fmt: skip
    cosines, norms = packed()
    orders = {"shortest": [4, 1, 0, 2, 3, 5], "random": [5, 4, 3, 2, 1, 0]}
    accuracy = {name: np.linspace(start, 0, UNITS + 1) for name, start in (("shortest", 0.9), ("random", 0.8))}
    silent = np.isin(np.arange(UNITS), [1, 4])
    drawn = removal.picture(removal.places(cosines, norms), norms[-1], silent, orders, accuracy, "Some", "A layer.")
    css = "".join((STATIC / f"{name}.css").read_text() for name in ("lab", "board"))
    js = "".join(f"<script>{(STATIC / f'{name}.js').read_text()}</script>" for name in ("board", "removal"))
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><style>{css}</style>'
    path = tmp_path_factory.mktemp("board") / "page.html"
    body = f'<main class="bd-article">{drawn}{scoreboard.board(known).data}</main>'
    path.write_text(f"<!doctype html><html><head>{head}</head><body>{body}{js}</body></html>")
    path.with_suffix(".rows").write_text(str(len(standing.table(told.every(known)))))
    return path


@pytest.fixture(scope="module")
def running():
    with chromium() as browser:
        yield browser


def seen(page):
    return page.locator(".lab-board tr[id]:visible").evaluate_all("rows => rows.map(row => row.id)")


def test_a_word_is_chosen_by_keyboard_and_stands_in_the_address(running, file):
    with visit(running, file) as page:
        everything = seen(page)
        assert len(everything) == int(file.with_suffix(".rows").read_text())
        button = page.locator('.lab-squares button[data-word="holds"]')
        button.focus()
        page.keyboard.press("Enter")
        assert seen(page) == ["WI3"]
        assert button.get_attribute("aria-pressed") == "true"
        assert page.locator("output").last.inner_text() == f"1 of {len(everything)} claims"
        assert page.url.endswith("#word=holds")
        page.keyboard.press("Space")
        assert seen(page) == everything
        assert "#" not in page.url


def test_source_chapter_and_setting_filter_together_and_show_all_undoes_it(running, file):
    with visit(running, file) as page:
        page.get_by_role("combobox", name="Source").select_option("003")
        assert "FP1" not in seen(page) and "CO1" in seen(page)
        page.get_by_role("combobox", name="Chapter").select_option("width")
        assert seen(page) == ["WI1", "WI2", "WI3", "WI4", "WI5", "WI7"]
        assert page.locator(".lab-question:visible").count() == page.locator(".lab-chapter:visible").count() == 1
        page.get_by_role("checkbox", name="setting only").check()
        assert seen(page) == ["WI3"]
        page.get_by_role("button", name="Show all").click()
        page.wait_for_function("document.querySelector('.lab-controls output').textContent.startsWith('all')")
        assert len(seen(page)) == int(file.with_suffix(".rows").read_text())


def test_the_surest_stand_first_and_the_order_of_the_book_comes_back(running, file):
    with visit(running, file) as page:
        before = seen(page)
        page.get_by_role("combobox", name="Sort by").select_option("sure")
        assert seen(page)[0] == "WI3"
        assert page.locator(".lab-question:visible").count() == 0
        page.get_by_role("combobox", name="Sort by").select_option("")
        assert seen(page) == before
        assert page.locator(".lab-question:visible").count() == len(standing.QUESTIONS)


def test_an_address_brings_back_what_was_chosen_or_opens_one_claim(running, file):
    with visit(running, file, "#word=holds+and+fails%2Cholds&sort=nets") as page:
        assert sorted(seen(page)) == ["FP1", "WI3"]
    with visit(running, file, "#WI3") as page:
        assert page.locator("#WI3 details[open]").count() == 1
        assert len(seen(page)) == int(file.with_suffix(".rows").read_text())
        assert page.locator("#WI3").evaluate("row => row.getBoundingClientRect().top") < 900


def test_a_claim_s_parts_open_by_keyboard(running, file):
    with visit(running, file) as page:
        page.locator("#FP1 summary").focus()
        page.keyboard.press("Enter")
        assert page.get_by_text("Conv-2 fc1: fails").is_visible()


def test_without_scripts_the_whole_table_and_the_picture_stand_there_and_no_dead_control(running, file):
    with visit(running, file, java_script_enabled=False) as page:
        assert len(seen(page)) == int(file.with_suffix(".rows").read_text())
        assert page.locator(":is(form, button, select):visible").count() == 0
        assert page.locator(".lab-removal svg:visible").count() == 2


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_on_a_phone_nothing_is_wider_than_the_screen(running, file, theme):
    with visit(running, file, viewport={"width": 390, "height": 844}, color_scheme=theme, has_touch=True) as page:
        page.get_by_role("button", name=re.compile("Claims of .*Frame potential")).click()
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        claim, strip = (page.locator(f"#FP1 > {cell}").first.bounding_box() for cell in ("th", "td"))
        assert strip["y"] >= claim["y"] + claim["height"] - 1


def test_the_slider_removes_neurons_by_keyboard_and_says_what_is_left(running, file):
    with visit(running, file) as page:
        gone, said = page.locator(".lab-units .gone"), page.locator(".lab-removal output")
        assert gone.count() == 0
        assert said.inner_text() == "None of 6 removed: 90.0 % of test images right"
        slider = page.get_by_role("slider", name="Neurons removed")
        slider.focus()
        page.keyboard.press("ArrowRight")
        page.keyboard.press("ArrowRight")
        assert gone.count() == 2
        assert said.inner_text() == "2 of 6 removed, none of them ever fired: 60.0 % of test images right"
        assert slider.get_attribute("aria-valuetext") == said.inner_text()
        page.get_by_role("radio", name="random").check()
        assert said.inner_text() == "2 of 6 removed, 1 of them ever fired: 53.3 % of test images right"
        assert page.locator(".lab-line.chosen").get_attribute("data-order") == "random"
        page.keyboard.press("Tab")
        slider.press("End")
        assert gone.count() == UNITS


def test_nothing_moves_by_itself_where_motion_is_reduced(running, file):
    with visit(running, file, reduced_motion="reduce") as page:
        moves = "dot => getComputedStyle(dot).transitionDuration"
        assert page.locator(".lab-units circle").first.evaluate(moves) == "0s"


def test_on_a_phone_claims_are_folded_under_their_chapter(running, file):
    phone = {"width": 390, "height": 844}
    with visit(running, file, viewport=phone) as page:
        assert seen(page) == []
        fold = page.get_by_role("button", name=re.compile("Claims of .*Frame potential"))
        assert "holds and fails 1" in page.locator(".lab-words:visible").first.inner_text()
        fold.focus()
        page.keyboard.press("Enter")
        assert seen(page)[:2] == ["FP1", "FP2"] and fold.get_attribute("aria-expanded") == "true"
        page.keyboard.press("Enter")
        assert seen(page) == []
        page.locator(".lab-squares button", has_text="holds and fails").click()
        assert seen(page) == ["FP1"]
        page.set_viewport_size({"width": 1280, "height": 900})
        page.locator("button[type=reset]").click()
        page.wait_for_function("document.querySelectorAll('.lab-board tr[id]:not([hidden])').length > 9")
        assert "FP2" in seen(page)
    with visit(running, file, "#FP3", viewport=phone) as page:
        assert "FP3" in seen(page) and "CO1" not in seen(page)
