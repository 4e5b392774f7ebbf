"""The page of all records: each is a row with how it was made, and the whole table is in a link."""

import base64
import csv
import gzip
import io
import json
import re
from html.parser import HTMLParser

import pandas as pd
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
    assert html.count("<tr id=") == 2 and 'data-chapter="01 02" data-profile="night gpu"' in html
    assert html.count('data-state="current"') == 2
    assert "</script>" not in html and "instructions not kept" in html
    for name in shelf.FILTERS:
        assert f'<select name="{name}">' in html
    assert '<option value="night">night</option>' in html and '<option value="lenet_300_100">LeNet</option>' in html
    rows = list(csv.DictReader(io.StringIO(linked(html))))
    assert [one["record"] for one in rows] == list(table.record) and rows[0].keys() == set(register.COLUMNS)


def linked(html):
    """The table that the page's link holds, as text."""
    [found] = re.findall(r'download="records.csv.gz" href="data:application/gzip;base64,([^"]*)"', html)
    return gzip.decompress(base64.b64decode(found)).decode()


class Laid(HTMLParser):
    """A page as its script lays it out: id of a row -> its data- attributes, and the lines of its fold."""

    def __init__(self, html):
        super().__init__()
        self.entries, self.links, self.seeds, self.place, self.cell = {}, {}, {}, None, None
        self.feed(html)
        self.rows = {name: self._laid(name) for name in self.links}

    def _laid(self, name):
        data, lines = dict(self.entries[name][0]), []
        for link in self.links[name]:
            shared, items = self.entries[link]
            data |= shared
            lines += [item.replace("\0", self.seeds.get(name, "")) for item in items]
        return data, lines

    def handle_starttag(self, tag, attrs):
        told = dict(attrs)
        if tag in ("tr", "ul") and "id" in told:
            self.place = told["id"]
            self.entries[self.place] = {k: v for k, v in attrs if k.startswith("data-")}, []
            if tag == "tr":
                self.links[self.place] = []
        if tag == "a" and self.place in self.links:
            self.links[self.place].append(told["href"].removeprefix("#"))
        if tag == "li":
            self.entries[self.place][1].append("")
        self.cell = told.get("data-label") if tag == "td" else "line" if tag in ("li", "var") else None
        if tag == "var":
            self.entries[self.place][1][-1] += "\0"
            self.cell = None

    def handle_endtag(self, tag):
        self.cell = "line" if tag == "var" else None
        self.place = None if tag in ("tr", "ul") else self.place

    def handle_data(self, text):
        if self.cell == "line":
            self.entries[self.place][1][-1] += text
        elif self.cell == "seed":
            self.seeds[self.place] = text


def whole(row):
    """What a row of the page has to say, from the table alone: its data- attributes, the lines of its fold."""
    text = {k: "" if pd.isna(v) else f"{v:g}" if isinstance(v, float) else str(v) for k, v in row.items()}
    places = [place.split() for place in text["chapters"].split("; ") if place]
    broken = text["state"] == register.BROKEN
    data = dict(model=text["model"], data=text["data"], state=text["state"], seconds=text["seconds"],
                memory=text["peak_memory_mb"], made=text["made"],
                processor="" if broken else f"{text['processor']} ({text['device'].upper()})",
                chapter=" ".join(dict.fromkeys(place[0] for place in places)),
                profile=" ".join(dict.fromkeys(place[1] for place in places)))  # fmt: skip
    versions = f"Python {text['python']}, numpy {text['numpy']}, {text['system']}"
    lines = {"Settings": text["settings"], "Data": text["data_digests"], "In chapters": text["chapters"],
             "Source of the library": text["library"], "Versions": versions, "Revision": text["code"]}  # fmt: skip
    said = [f"{name}: {words}" for name, words in lines.items() if words and not broken]
    return {f"data-{name}": value for name, value in data.items()}, said


def agrees(table, html):
    """Whether a page says of each record and holds for download what the table does."""
    laid = Laid(html).rows
    expected = {f"{row['kind']}-{row['record']}": whole(row) for row in table.to_dict("records")}
    assert list(laid) == list(expected)
    assert all(laid[name] == expected[name] for name in expected), next(n for n in laid if laid[n] != expected[n])
    assert linked(html) == table.to_csv(index=False, lineterminator="\n")
    return True


def test_what_rows_share_is_written_once_and_each_row_says_what_it_did(results):
    table = register.table(WHERE)
    one = table[table.record == NET.key]
    rows = [one.assign(record=f"net-{seed}", seed=seed, settings=f"a.seed={seed}, width=7, b=<s>, seed={seed}")
            for seed in (7, 8, 70)]  # fmt: skip
    rows += [one.assign(record="other", settings="a.seed=7, width=70, seed=8"),  # of the two seeds one is the record's
             one.assign(record="no-seed", seed=None, settings="seed=7"), one.assign(record="bare", settings=""),
             one.assign(record="elsewhere", data_digests="x", chapters="")]  # fmt: skip
    broken = pd.DataFrame([dict(kind="Train", record="z", state=register.BROKEN)])
    table = pd.concat([*rows, broken], ignore_index=True)
    html = shelf.page(table).data
    assert agrees(table, html)
    assert html.count("Settings: a.seed=<var>s</var>, width=7, b=&lt;s&gt;, seed=<var>s</var>") == 1
    assert html.count("width=70, seed=8") == 1 and html.count("<li>Versions: ") == 2 and html.count("<ul id=") == 7


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
    table = register.table({})
    assert len(table) > 100 and set(table.state) <= set(shelf.STATES) - {register.BROKEN}
    html = shelf.page(table).data
    assert len(gzip.compress(html.encode())) < 400_000 and len(html) < 2_500_000
    assert len(html) < 800 * len(table) and agrees(table, html)
