"""The page of all records: each is a row with how it was made, and the whole table is in a link."""

import csv
import io
import json
import re
from urllib.parse import unquote

import pytest

from pruning_lab import Recipe, Train, UnitImportance
from pruning_lab.records import record, store
from pruning_lab.report import shelf
from pruning_lab.running import nearness, register, verify

NET = Train("digits", "lenet_300_100", Recipe(lr=0.05, batch=32, epochs=1), 7, width=4, limit=64)
WORTH = UnitImportance(NET, "fc1", test_images=20)
WHERE = {register.name(NET): ["01 night", "02 gpu"]}


@pytest.fixture
def results(store_folder, tmp_path, monkeypatch):
    """A published shelf of a net and of what was measured on it."""
    monkeypatch.setenv("PRUNING_LAB_RESULTS", str(tmp_path / "results"))
    for e in (NET, WORTH):
        store.run(e)
        store.publish(e)
    return tmp_path / "results"


def change(results, e, **more):
    file = results / type(e).__name__ / e.key / record.META
    file.write_text(json.dumps(json.loads(file.read_text()) | more))


def row(table, e):
    [found] = table[table.record == e.key].to_dict("records")
    return found


def test_a_row_says_what_was_computed_where_from_what_and_how_it_stands(results):
    table = register.table(WHERE)
    net, worth, meta = row(table, NET), row(table, WORTH), store.find(NET).meta
    assert list(table.columns) == list(register.COLUMNS) and len(table) == 2
    assert (net["model"], net["data"], net["seed"], worth["seed"]) == ("lenet_300_100", "digits", 7, 7)
    assert "recipe.lr=0.05" in net["settings"] and "limit=64" in net["settings"] and "hidden" not in net["settings"]
    assert "parent.recipe.lr=0.05" in worth["settings"] or "net.recipe.lr=0.05" in worth["settings"]
    assert (net["seconds"], net["threads"], net["chapters"]) == (meta["seconds"], 1, "01 night; 02 gpu")
    assert net["instructions"] == meta["device"]["instructions"] and worth["chapters"] == ""
    assert f"digits/train {meta['data']['digits/train']['digest']}" in net["data_digests"]
    assert net["state"] == worth["state"] == "current"


def test_a_record_of_other_code_of_another_key_or_that_is_broken_says_so(results):
    change(results, NET, code={"training.fit": "0" * 12})
    (results / "Train" / NET.key).rename(results / "Train" / "old-0123456789")
    (results / "UnitImportance" / WORTH.key / record.META).write_text("{")
    states = dict(zip(*register.table({})[["record", "state"]].T.to_numpy(), strict=True))
    assert states == {"old-0123456789": register.OLDER, WORTH.key: register.BROKEN}
    (results / "Train" / "old-0123456789").rename(results / "Train" / NET.key)
    assert row(register.table({}), NET)["state"] == "unverified"
    html = shelf.page(register.table({})).data
    assert f"{WORTH.key}" in html and html.count('data-state="broken"') == 1


def test_the_page_has_every_record_its_filters_and_the_whole_table_as_a_link(results):
    change(results, NET, device=dict(type="cpu", name="</script><b>", threads=1))
    table = register.table(WHERE)
    html = shelf.page(table).data
    assert html.count("<tr id=") == 2 and 'data-chapter="01 02" data-state="current" data-profile="night gpu"' in html
    assert "</script>" not in html and "instructions not kept" in html
    for name in shelf.FILTERS:
        assert f'<select name="{name}">' in html
    assert '<option value="night">night</option>' in html and '<option value="lenet_300_100">LeNet</option>' in html
    [text] = re.findall(r'href="data:text/csv;charset=utf-8,([^"]*)"', html)
    rows = list(csv.DictReader(io.StringIO(unquote(text))))
    assert [one["record"] for one in rows] == list(table.record) and rows[0].keys() == set(register.COLUMNS)


def test_the_last_outcome_is_told_and_each_record_of_it_leads_to_its_row(results):
    assert shelf.verified() == "No outcome is stored yet." and shelf.again().data == ""
    said = [verify.Said(register.name(NET), nearness.BITS, True, "equal <bits>", 1.0),
            verify.Said(register.name(WORTH), nearness.DEVIATIONS, False, "further", 1.0)]  # fmt: skip
    verify.save(verify.Outcome(2, said, {"they are times of another machine": 3}), 5.0)
    words, html = shelf.verified(), shelf.again().data
    assert (
        "in 5 minutes: 2 of 2 published records computed again: 1 agree by equal bits" in words and "1 differ" in words
    )
    assert words.endswith("Of the others 3 were left, since they are times of another machine.")
    assert shelf.verified(2) == words
    assert shelf.verified(1_261) == f"{words} 2 records were published on that day; now there are 1,261."
    assert f'href="#Train-{NET.key}"' in html and "equal &lt;bits&gt;" in html and "differs" in html
    assert f'id="Train-{NET.key}"' in shelf.page(register.table({})).data


def test_the_page_of_all_published_records_is_small():
    import gzip

    table = register.table({})
    assert len(table) > 100 and set(table.state) <= set(shelf.STATES) - {register.BROKEN}
    assert len(gzip.compress(shelf.page(table).data.encode())) < 400_000
    assert len(shelf.page(table).data) < 2_500_000
