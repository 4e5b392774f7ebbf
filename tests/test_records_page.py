"""The page of all records in a browser: filters by keyboard, an address that brings them back, a phone, no scripts."""

from pathlib import Path

import pandas as pd
import pytest
from conftest import chromium, visit

from pruning_lab.report import shelf
from pruning_lab.running import register

pytestmark = pytest.mark.browser
STATIC = Path(__file__).resolve().parents[1] / "book" / "_static"
ROW = dict(
    kind="Train", record="mlp-a", model="mlp", data="mnist", seed=0, settings="recipe.lr=0.1, seed=0",
    chapters="01 night", device="cpu", processor="One", instructions="AVX2", threads=1, cores=2, seconds=2.0,
    peak_memory_mb=500, python="3.12", torch="2.11", numpy="2.4", system="Linux",
    data_digests="mnist/test 1; mnist/train 2",
    code="abc", library="def", made="2026-01-02T00:00:00Z", state="current",
)  # fmt: skip
OTHERS = [
    dict(
        record="mlp-b",
        seed=1,
        settings="recipe.lr=0.1, seed=1",
        seconds=90.0,
        chapters="01 night; 08 gpu",
        made="2026-02-02T00:00:00Z",
    ),
    dict(record="vit-c", model="vit", settings="recipe.lr=0.003", state="certified", chapters="08 gpu", seconds=0.5),
    dict(kind="UnitCurve", record="x-d", processor="Two", state="unverified", chapters=""),
]
BROKEN = dict(kind="UnitCurve", record="y-e", state=register.BROKEN)
TABLE = pd.DataFrame([ROW, *(ROW | other for other in OTHERS), BROKEN], columns=list(register.COLUMNS))
ALL = ["Train-mlp-a", "Train-mlp-b", "Train-vit-c", "UnitCurve-x-d", "UnitCurve-y-e"]


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """The table as the book has it: its HTML, its styles, its script after them."""
    css = "".join((STATIC / f"{name}.css").read_text() for name in ("lab", "board", "records"))
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><style>{css}</style>'
    script = f"<script>{(STATIC / 'records.js').read_text()}</script>"
    path = tmp_path_factory.mktemp("records") / "page.html"
    body = f'<main class="bd-article">{shelf.page(TABLE).data}</main>{script}'
    path.write_text(f"<!doctype html><html><head>{head}</head><body>{body}</body></html>", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def running():
    with chromium() as browser:
        yield browser


def seen(page):
    return page.locator(".lab-records tr[id]:visible").evaluate_all("rows => rows.map(row => row.id)")


def test_filters_go_together_stand_in_the_address_and_show_all_undoes_them(running, file):
    with visit(running, file) as page:
        assert seen(page) == ALL
        page.get_by_role("combobox", name="Chapter").select_option("08")
        assert seen(page) == ["Train-mlp-b", "Train-vit-c"]
        page.get_by_role("combobox", name="Net").focus()
        page.keyboard.type("vit")
        assert seen(page) == ["Train-vit-c"] and page.url.endswith("#model=vit&chapter=08")
        assert page.locator("output").inner_text() == "1 of 5 records"
        assert page.locator(".lab-chapter:visible").count() == 1
        page.get_by_role("button", name="Show all").press("Enter")
        page.wait_for_function("document.querySelector('output').textContent === 'all 5 records'")
        assert seen(page) == ALL and "#" not in page.url
        page.get_by_role("searchbox", name="Text").type("LR=0.003")
        assert seen(page) == ["Train-vit-c"]


def test_an_address_brings_back_what_was_chosen_or_opens_one_record_and_what_is_not_there_is_passed_over(running, file):
    with visit(running, file, "#profile=night&sort=seconds") as page:
        assert seen(page) == ["Train-mlp-b", "Train-mlp-a"] and page.locator(".lab-chapter:visible").count() == 0
        page.get_by_role("combobox", name="Sort by").select_option("")
        assert seen(page) == ["Train-mlp-a", "Train-mlp-b"]
    with visit(running, file, "#profile=nowhere&sort=made") as page:
        assert seen(page)[0] == "Train-mlp-b" and len(seen(page)) == 5
    with visit(running, file, "#Train-vit-c") as page:
        assert seen(page) == ALL and page.locator("#Train-vit-c details[open]").count() == 1
        assert page.get_by_text("Settings: recipe.lr=0.003").is_visible()


def test_a_figure_leads_to_the_records_that_it_draws_and_show_all_ends_that(running, file):
    with visit(running, file, "#figure=01+rows&records=b.d.gone") as page:
        assert seen(page) == ["Train-mlp-b", "UnitCurve-x-d"]
        assert page.locator("output").inner_text() == "2 of 5 records, drawn by figure 01 rows"
        page.get_by_role("combobox", name="Kind").select_option("Train")
        assert seen(page) == ["Train-mlp-b"] and page.url.endswith("#figure=01+rows&records=b.d.gone&kind=Train")
        page.get_by_role("button", name="Show all").press("Enter")
        page.wait_for_function("document.querySelector('output').textContent === 'all 5 records'")
        assert seen(page) == ALL and "#" not in page.url


FOLD = [  # of the first row, as it was when each row had all of it
    "Settings: recipe.lr=0.1, seed=0", "Data: mnist/test 1; mnist/train 2", "In chapters: 01 night",
    "Source of the library: def", "Versions: Python 3.12, numpy 2.4, Linux", "Revision: abc",
]  # fmt: skip
DATA = dict(state="current", seconds="2", memory="500", made="2026-01-02T00:00:00Z", model="mlp", data="mnist",
            processor="One (CPU)", chapter="01", profile="night")  # fmt: skip


def test_what_records_share_is_laid_out_in_each_row(running, file):
    with visit(running, file) as page:
        lines = "row => [...row.querySelectorAll('th details > ul > li')].map(line => line.textContent)"
        first, second = page.locator("#Train-mlp-a"), page.locator("#Train-mlp-b")
        assert first.evaluate(lines) == FOLD and first.evaluate("row => ({...row.dataset})") == DATA
        assert first.locator("th").evaluate("cell => cell.firstChild.data + cell.children.length") == "mlp-a 1"
        assert second.evaluate(lines)[0] == "Settings: recipe.lr=0.1, seed=1" and second.evaluate(lines)[1] == FOLD[1]
        assert page.locator("#Train-vit-c").evaluate("row => row.dataset.model") == "vit"
        assert page.locator("#UnitCurve-y-e details").count() == 0
        assert page.locator(".lab-shared, .lab-records a").count() == 0


def test_the_whole_table_is_saved(running, file, tmp_path):
    with visit(running, file) as page:
        page.wait_for_function("document.querySelector('a[download]').download === 'records.csv'")
        with page.expect_download() as download:
            page.get_by_role("link", name="All records as CSV").click()
        download.value.save_as(tmp_path / "records.csv")
    assert (tmp_path / "records.csv").read_bytes() == TABLE.to_csv(index=False, lineterminator="\n").encode()
    saved = pd.read_csv(tmp_path / "records.csv")
    assert list(saved.columns) == list(register.COLUMNS) and list(saved.record) == [i.partition("-")[2] for i in ALL]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_a_card_a_record_with_the_names_of_its_columns(running, file, scheme):
    phone = {"viewport": {"width": 390, "height": 844}, "has_touch": True}
    with visit(running, file, **phone, color_scheme=scheme) as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= 390 and seen(page) == ALL
        label = "cell => getComputedStyle(cell, '::before').content"
        assert page.locator("#Train-mlp-a td").first.evaluate(label) == '"seed: "'
        page.get_by_role("combobox", name="State").select_option("broken")
        assert seen(page) == ["UnitCurve-y-e"]


def test_without_scripts_every_record_stands_there_leads_to_its_settings_and_no_control_is_dead(
    running, file, tmp_path
):
    with visit(running, file, java_script_enabled=False) as page:
        assert seen(page) == ALL and page.locator(":is(form, button, select):visible").count() == 0
        for words, said in (("settings", "Settings: recipe.lr=0.1, seed=s"), ("data, versions", FOLD[1])):
            page.locator("#Train-mlp-a").get_by_role("link", name=words).press("Enter")
            entry = page.locator(f'[id="{page.url.partition("#")[2]}"]')
            assert said in entry.inner_text() and entry.is_visible()
        with page.expect_download() as download:
            page.get_by_role("link", name="All records as CSV").click()
        assert download.value.suggested_filename == "records.csv.gz"
        download.value.save_as(tmp_path / "records.csv.gz")
    assert list(pd.read_csv(tmp_path / "records.csv.gz").record) == list(TABLE.record)
