"""Shelves with odd records, files that go while one looks, folders that cannot be read: commands go on."""

import json
import shutil
import sys
from pathlib import Path

import pytest

from pruning_lab import PROFILES, Recipe, Train, UnitCurve
from pruning_lab.__main__ import main
from pruning_lab.records import disk, store
from pruning_lab.running import chapters, parcels, sweeps

NET = Train("digits", "lenet_300_100", Recipe(lr=0.1, iterations=3), width=4, limit=64)
PLAN = f"""from pruning_lab import Recipe, Train, UnitCurve
experiments = [UnitCurve({NET!r}, "fc1", repeats=1, test_images=20)]
"""
CURVE = UnitCurve(NET, "fc1", repeats=1, test_images=20)

# Records whose `record.json` is judged as a whole, and data bytes that are compared, come with certificates.
with_certificates = pytest.mark.skipif(
    not Path(store.__file__).with_name("record.py").exists(),
    reason="the store here does not yet judge a record as a whole",
)


@pytest.fixture(autouse=True)
def shelves(store_folder, tmp_path, monkeypatch):
    """Two empty shelves."""
    monkeypatch.setenv("PRUNING_LAB_RESULTS", str(tmp_path / "results"))
    forget()
    return store_folder


@pytest.fixture
def chapter(tmp_path, monkeypatch):
    """A book of one chapter, which has one curve at every profile and is computed."""
    path = tmp_path / "01_toy.ipynb"
    cells = [("parameters", 'profile = "laptop"\n'), ("plan", PLAN)]
    found = [dict(cell_type="code", metadata=dict(tags=[tag]), source=text.splitlines(True)) for tag, text in cells]
    path.write_text(json.dumps(dict(cells=found, metadata={}, nbformat=4, nbformat_minor=5)))
    monkeypatch.setattr(chapters, "chapters", lambda: [path])
    store.run(CURVE)
    return str(path)


def forget():
    """Records are read from disk again, where the store does not see by itself that a file is another."""
    store.forget()


def meta_of(e):
    return store.folder_of(e) / "record.json"


def spoil(e, text=None, **change):
    """Another `record.json`: this text, or the old one with these changes; None takes an entry away."""
    meta = json.loads(meta_of(e).read_text()) | change
    meta_of(e).write_text(json.dumps({k: v for k, v in meta.items() if v is not None}) if text is None else text)
    forget()


def goes_on(chapter, capsys):
    """Whether list, plan, sweep and publish end well over a spoilt curve, which is missing until it is made again."""
    capsys.readouterr()
    assert main(["list"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines() if line.startswith("01_toy ")]
    assert [(row[1], row[2]) for row in rows] == [(profile, "1/2") for profile in PROFILES]
    assert main(["plan", chapter, "--profile", "night"]) == 0
    assert "0 of 1 experiments are stored; 1 run is missing" in capsys.readouterr().out
    assert main(["sweep", chapter, "--profile", "night"]) == 0
    assert f"1/1 UnitCurve {CURVE.key}: " in capsys.readouterr().out
    assert main(["publish", chapter, "--profile", "night"]) == 0
    assert "2 records published" in capsys.readouterr().out


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '"text"', "{}", '{"format": 2}'])
def test_a_record_that_is_none_stops_nothing(chapter, capsys, text):
    spoil(CURVE, text)
    goes_on(chapter, capsys)


ODD = [
    dict(versions={}), dict(versions=None), dict(device={}), dict(device={"name": 3}), dict(files={}),
    dict(files={"table.csv": 3}), dict(files=None), dict(data={"digits/train": 3}), dict(parents=None),
    dict(code={"UnitCurve": []}), dict(seconds="x"), dict(seconds=None), dict(config=[]),
    dict(config={"parent": 3}), dict(format="1"), dict(seconds=10**400), dict(peak_memory_bytes=10**400),
    dict(device={"type": "cpu", "name": "a processor", "threads": 10**400}), dict(version="x"), dict(time="\ud800"),
    dict(code={"UnitCurve": "\ud800"}), dict(format=[10**400]), dict(seconds=1e300), dict(version=[]),
]  # fmt: skip


@with_certificates
@pytest.mark.parametrize("change", ODD, ids=str)
def test_a_record_with_one_odd_entry_stops_nothing(chapter, capsys, change):
    spoil(CURVE, **change)
    goes_on(chapter, capsys)


@with_certificates
@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"a":' * 100_000, "\ud800".encode("utf-8", "surrogatepass").decode("latin-1"), "NaN"]
)
def test_a_record_that_cannot_even_be_parsed_stops_nothing(chapter, capsys, text):
    spoil(CURVE, text)
    goes_on(chapter, capsys)


@with_certificates
def test_a_local_record_made_on_other_data_bytes_is_missing_and_said(chapter, capsys):
    data = json.loads(meta_of(CURVE).read_text())["data"]
    spoil(CURVE, data=data | {"digits/test": data["digits/test"] | dict(digest="0" * 16)})
    assert sweeps.missing([CURVE]) == [[CURVE]]
    assert "made on other data bytes" in capsys.readouterr().out
    goes_on(chapter, capsys)


# What goes while one looks


@pytest.fixture
def goes():
    """A function: the folder of that name is gone the moment before somebody lists it."""
    doomed: list[Path] = []

    def hook(event, arguments):
        if event in ("os.scandir", "os.listdir") and doomed and Path(str(arguments[0])) == doomed[0]:
            shutil.rmtree(doomed.pop(0))

    sys.addaudithook(hook)
    yield doomed.append
    doomed.clear()


def test_a_folder_that_goes_while_one_looks_is_not_there(tmp_path, goes):
    for name in "ab":
        (tmp_path / "shelf" / "Kind" / name).mkdir(parents=True)
        (tmp_path / "shelf" / "Kind" / name / "record.json").write_text("12345")
    shelf = tmp_path / "shelf"
    assert disk.size(shelf) == 10 and [f.name for f in disk.records(shelf)] == ["a", "b"]
    goes(shelf / "Kind" / "a")
    assert disk.size(shelf) == 5 and [f.name for f in disk.records(shelf)] == ["b"]
    goes(shelf / "Kind")
    assert disk.records(shelf) == [] and disk.size(shelf) == 0
    assert disk.size(shelf / "never") == 0 and disk.records(shelf / "never") == []
    goes(shelf)
    disk.remove(shelf)
    assert not shelf.exists()


def test_cleaning_and_packing_bear_what_goes_meanwhile(chapter, shelves, tmp_path, goes, capsys):
    goes(shelves / "Train" / NET.key)
    assert main(["pack", str(tmp_path / "out")]) == 0
    assert "1 records packed" in capsys.readouterr().out and not (shelves / "Train" / NET.key).exists()
    goes(shelves / "UnitCurve" / CURVE.key)
    assert main(["clean", "records"]) == 0
    assert not disk.records(shelves)


def test_a_link_to_nowhere_or_a_file_in_a_folder_s_place_is_passed_over(shelves, capsys):
    shelves.mkdir(parents=True)
    (shelves / "Train").write_text("a file")
    (shelves / "Kind" / "key").mkdir(parents=True)
    (shelves / "Kind" / "key" / "record.json").symlink_to(shelves / "nowhere")
    assert disk.records(shelves) == [] and parcels.local() == []
    assert main(["list"]) == 0 and main(["clean"]) == 0


def test_a_record_that_went_before_it_was_published_is_named_and_the_others_are_published(chapter, capsys, monkeypatch):
    publish = store.publish

    def late(e):
        if e == NET:
            shutil.rmtree(store.folder_of(e))
        return publish(e)

    monkeypatch.setattr(store, "publish", late)
    assert main(["publish", chapter, "--profile", "night"]) == 2
    out, err = capsys.readouterr()
    assert out.splitlines()[-1].startswith("1 records published") and f"UnitCurve/{CURVE.key}" in out
    assert err.startswith(f"pruning_lab: 1 of 2 were not published: Train {NET.key}: ") and err.count("\n") == 1


def test_what_cannot_be_deleted_is_said(tmp_path, monkeypatch, capsys, shelves):
    store.run(NET)

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied", "record.json")

    monkeypatch.setattr("os.unlink", refuse)
    monkeypatch.setattr("os.rmdir", refuse)
    assert main(["clean", "records"]) == 2
    assert "Permission denied" in capsys.readouterr().err
