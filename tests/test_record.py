"""A record's folder: whatever is odd in it is named and passed over, and what a death left behind is taken up or
cleaned away.
"""

import gzip
import io
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import tracemalloc
import zipfile
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from test_store import Child, Toy, computed, folder, shelves, tamper  # noqa: F401  shelves is a fixture

from pruning_lab.records import record, store
from pruning_lab.records.store import Result
from pruning_lab.running import sweeps

TOY = Toy("a")


def meta_of(e):
    return json.loads((folder(e) / "record.json").read_text())


def deep(levels):
    found = {}
    for _ in range(levels):
        found = dict(x=found)
    return found


HUGE, HALF = 10**400, "\ud800"  # a number that no float holds; half a character


def odd_records():
    """Changes of a sound `record.json`, each of which makes it one that must not be used."""
    for name in (*record.NEEDED, "seconds", "time", "key", "experiment", "format", "peak_memory_bytes"):
        for value in (None, "x", [], [1], -1, True, math.nan, {"x": {"y": []}}, {"x": 1}, {"x": None}, HUGE, -HUGE,
                      1e300, HALF, {"x": HALF}, {"x": HUGE}, deep(300)):  # fmt: skip
            if not (name == "parents" and value in ({"x": None},)) and not (
                name in ("key", "experiment") and value == "x"
            ):
                yield name, value
    for field in ("name", "type", "threads"):
        for value in (None, [], {}, -1, 1.5, HUGE, HALF, deep(300)):
            yield "device", dict(type="cpu", name="a processor", threads=1) | {field: value}
    for value in ("x", [], {}, 1.5, True, HALF):
        yield "version", value
    for value in ({"torch": None}, {"torch": 2}, {"numpy": "2"}, {"torch": HALF}):
        yield "versions", value
    for value in (
        {"digits/train": {}},
        {"digits/train": dict(digest="x")},
        {"digits/train": dict(digest=1, lossy=0)},
        {"digits/train": dict(digest="x", lossy=HUGE)},
        {"digits/train": dict(digest=HALF, lossy=0)},
        {"d": 3},
    ):
        yield "data", value
    for value in ({}, {"table.csv": "0"}, {"../x": "0"}, {"table.csv": None}):
        yield "files", value
    for odd in (
        dict(seed=HUGE),
        dict(rate=HUGE),
        dict(rate=math.nan),
        dict(name=HALF),
        dict(inner=deep(400)),
        {HALF: 0},
    ):
        yield "config", dict(name="a", seed=0, rate=0.1) | odd
    yield "of no use to us", HALF


ODD = list(odd_records())


@pytest.mark.parametrize("name, value", ODD, ids=[f"{name}={str(value)[:40]}" for name, value in ODD])
def test_an_odd_record_is_named_and_made_anew_and_stops_nobody(capsys, name, value):
    store.run(TOY)
    sound = meta_of(TOY)
    sound.pop(name) if value is None else sound.update({name: value})
    (folder(TOY) / "record.json").write_text(json.dumps(sound))
    capsys.readouterr()
    assert store.find(TOY) is None and store.gather([TOY]).empty and sweeps.missing([TOY]) == [[TOY]]
    out = capsys.readouterr().out
    assert out.count("\n") in (1, 3) and (f"record Toy/{TOY.key} (local) is not used: " in out or "do not count" in out)
    sweeps.sweep([TOY, Toy("b")])
    assert store.find(TOY).notes == () and store.find(Toy("b")) and computed() == 3


@pytest.mark.parametrize(
    "bytes_of",
    [
        b"",
        b"\xff\xfe{",
        b"[" * 100_000,
        b'{"format": 1, ' + b'"a": {' * 50_000,
        b"null",
        b'"text"',
        b"1e999",
        b"\x00" * 10,
    ],
    ids=lambda b: repr(b[:12]),
)
def test_whatever_stands_in_place_of_a_record_is_no_record(capsys, bytes_of):
    store.run(TOY)
    (folder(TOY) / "record.json").write_bytes(bytes_of)
    assert store.find(TOY) is None and "is not used" in capsys.readouterr().out
    assert store.run(TOY).table.value[0] == 0.1 + 0.2 and computed() == 2


def test_a_list_of_files_without_checksums_does_not_switch_them_off(capsys):
    store.run(TOY)
    (folder(TOY) / "table.csv").write_text("step,value,word\n0,9.9,a\n")
    for files in ({}, {"arrays.npz": meta_of(TOY)["files"]["arrays.npz"]}):
        tamper(TOY, files=files)
        assert store.find(TOY) is None and "has no checksum of" in capsys.readouterr().out
    assert store.run(TOY).table.value[0] == 0.1 + 0.2


def test_weights_that_no_checksum_covers_are_not_used():
    bare = Toy("bare")
    store.run(bare)
    files = {k: v for k, v in meta_of(bare)["files"].items() if k != "weights.safetensors"}
    tamper(bare, files=files)
    assert store.find(bare) is None and store.find(bare, weights=True) is None


@pytest.mark.parametrize("name", ["table.csv", "arrays.npz", "weights.safetensors", "record.json"])
def test_a_folder_or_nothing_in_place_of_a_file_is_named(capsys, name):
    store.run(TOY)
    (folder(TOY) / name).unlink()
    (folder(TOY) / name).mkdir()
    assert store.find(TOY) is None
    assert store.run(TOY).weights() and computed() == 2


def zipped(member, method=zipfile.ZIP_DEFLATED):
    """The bytes of a zip of one member."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as z:
        z.writestr("a.npy", member)
    return stream.getvalue()


def header(shape, descr="'<f8'"):
    """The bytes of a stored array that says it has a shape, and nothing else."""
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


def test_arrays_of_the_wrong_kind_are_named(capsys):
    store.run(TOY)
    odd = [header((10**18,)), header((10**400,)), header((-1,)), header("x"), header((2,), "'|O'"), b"\x93NUMPY"]
    encrypted = bytearray(zipped(b"x" * 40))
    for at in (6, encrypted.index(b"PK\x01\x02") + 8):
        encrypted[at] |= 1
    for content in (b"no zip", b"PK\x03\x04" + b"\x00" * 30, bytes(encrypted), *map(zipped, odd)):
        (folder(TOY) / "arrays.npz").write_bytes(content)
        files = meta_of(TOY)["files"] | {"arrays.npz": record.checksum(folder(TOY) / "arrays.npz")}
        tamper(TOY, files=files)
        assert store.find(TOY) is None and "is not used" in capsys.readouterr().out


def test_what_a_record_hands_out_cannot_change_what_the_next_reader_gets():
    first = store.run(TOY)
    first.table["value"] = 0
    first.meta["config"]["name"] = "other"
    with pytest.raises(ValueError, match="read-only"):
        first.arrays["a"][0] = 9
    second = store.run(TOY)
    assert (
        second.table.value[0] == 0.1 + 0.2
        and second.arrays["a"][0].tolist() == [0, 1, 2]
        and second.meta["config"]["name"] == "a"
    )


def test_a_file_that_changes_is_read_again():
    store.run(TOY)
    assert store.find(TOY)
    whole = bytearray((folder(TOY) / "table.csv").read_bytes())
    whole[-3] ^= 1
    (folder(TOY) / "table.csv").write_bytes(whole)
    assert store.find(TOY) is None  # nobody said `forget`


# the packed table


def test_a_table_is_packed_into_the_same_bytes_always_and_they_say_neither_when_nor_under_what_name():
    csv = b"step,value\n0,0.1\n" * 100
    found = record.packed(csv)
    assert found == record.packed(csv) and found[:10] == bytes.fromhex("1f8b 0800 0000 0000 02ff")
    assert gzip.decompress(found) == csv and len(found) < 100


def packed_in(e):
    """The folder of a record whose table is packed, as on the published shelf."""
    store.run(e)
    (folder(e) / "table.csv.gz").write_bytes(record.packed((folder(e) / "table.csv").read_bytes()))
    (folder(e) / "table.csv").unlink()
    store.forget()
    return folder(e)


def test_both_forms_of_a_table_are_read_alike():
    store.run(TOY)
    plain = store.find(TOY)
    csv = (folder(TOY) / "table.csv").read_bytes()
    assert record.text(folder(TOY)) == csv == record.text(packed_in(TOY))
    found = store.find(TOY)
    pd.testing.assert_frame_equal(found.table, plain.table, check_exact=True)
    assert found.meta == plain.meta and found.arrays["a"].tolist() == plain.arrays["a"].tolist() and computed() == 1


def test_a_packed_table_without_a_row_is_read(monkeypatch):
    monkeypatch.setattr(Toy, "compute", lambda self: Result(pd.DataFrame()))
    assert record.read(packed_in(TOY)).table.empty


CSV = b"step,value,word\n0,9.9,a\n"
UNREADABLE = {
    "truncated": (lambda gz: gz[:-1], "table.csv.gz is truncated, or goes on behind its end"),
    "cut in the middle": (lambda gz: gz[: len(gz) // 2], "table.csv.gz is truncated, or goes on behind its end"),
    "empty": (lambda gz: b"", "table.csv.gz is truncated, or goes on behind its end"),
    "with a tail": (lambda gz: gz + b"\n", "table.csv.gz is truncated, or goes on behind its end"),
    "twice": (lambda gz: gz + gz, "table.csv.gz is truncated, or goes on behind its end"),
    "no gzip": (lambda gz: CSV, "table.csv.gz is broken (Error -3 "),
    "of another checksum": (lambda gz: gz[:-8] + b"abcd" + gz[-4:], "table.csv.gz is broken (Error -3 "),
    "another table": (lambda gz: record.packed(CSV), "table.csv is missing or not what record.json says"),
    "no text": (lambda gz: record.packed(b"\xff\xfe"), "table.csv is missing or not what record.json says"),
}


@pytest.mark.parametrize("change, says", UNREADABLE.values(), ids=UNREADABLE)
def test_a_packed_table_that_is_not_what_it_was_is_named_and_made_anew(capsys, change, says):
    file = packed_in(TOY) / "table.csv.gz"
    file.write_bytes(change(file.read_bytes()))
    assert store.find(TOY) is None
    out = capsys.readouterr().out
    assert f"record Toy/{TOY.key} (local) is not used: {says}" in out and out.count("\n") == 1
    assert store.run(TOY).table.value[0] == 0.1 + 0.2 and computed() == 2
    assert (folder(TOY) / "table.csv").is_file() and not file.exists()


def test_a_record_with_both_forms_of_its_table_is_not_used(capsys):
    csv = (packed_in(TOY), record.text(folder(TOY)))[1]
    (folder(TOY) / "table.csv").write_bytes(csv)
    assert store.find(TOY) is None
    assert "table.csv and table.csv.gz are both there: one has to go" in capsys.readouterr().out
    (folder(TOY) / "table.csv").unlink()
    assert store.find(TOY) is not None


def test_a_packed_table_is_read_up_to_a_bound_and_no_further(monkeypatch):
    place = packed_in(TOY)
    size = len(record.text(place))
    monkeypatch.setattr(record, "TABLE_LIMIT", size)
    assert len(record.text(place)) == size
    monkeypatch.setattr(record, "TABLE_LIMIT", size - 1)
    with pytest.raises(ValueError, match=f"^table.csv.gz would take more than {size - 1:,} bytes$"):
        record.read(place)


def test_a_packed_table_of_gigabytes_is_refused_in_little_memory():
    place, zeros = packed_in(TOY), zlib.compressobj(9, wbits=31)
    bomb = b"".join(zeros.compress(bytes(10_000_000)) for _ in range(100)) + zeros.flush()
    (place / "table.csv.gz").write_bytes(bomb)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r"table.csv.gz would take more than 16,000,000 bytes"):
            record.read(place)
        assert tracemalloc.get_traced_memory()[1] < 60_000_000
    finally:
        tracemalloc.stop()


def test_records_in_memory_have_a_bound_in_bytes(monkeypatch):
    monkeypatch.setattr(
        Toy,
        "compute",
        lambda self: Result(pd.DataFrame(dict(x=[1])), dict(noise=np.full(100_000, self.seed, np.float64))),
    )
    monkeypatch.setattr(record, "CACHE_BYTES", 3_000_000)
    toys = [Toy("big", s) for s in range(12)]
    for toy in toys:
        store.run(toy)
    for _ in range(2):
        assert [store.find(t).arrays["noise"][0] for t in toys] == list(range(12))
    kept = sum(stored.nbytes for _, stored, _ in record._CACHE.known.values())
    assert kept == record._CACHE.nbytes and 800_000 < kept <= 3_000_000
    store.forget()
    assert record._CACHE.nbytes == 0 and not record._CACHE.known


# what a death leaves behind

DIES = """
import os, sys, signal
sys.path.insert(0, sys.argv[1])
from pathlib import Path
import numpy as np
import test_store
from pruning_lab.records import record, store
toy, where, seen = test_store.Toy("a"), sys.argv[2], []
def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)
rename = Path.rename
def renamed(self, to):
    seen.append(self)
    if where == "before the first" or (where == "between" and len(seen) == 2):
        die()
    found = rename(self, to)
    if where == "after the last" and len(seen) == 2:
        die()
    return found
if where == "in write":
    np.savez_compressed = die
elif where == "after storing":
    store.clear = die
else:
    Path.rename = renamed
store.scratch(toy).parent.mkdir(parents=True, exist_ok=True)
store.scratch(toy).write_text("a state")
store.write(toy, toy.compute(), store.provenance.here() | store.used(toy, toy.code()) | dict(seconds=1.0)) \\
    if where != "after storing" else store.run(toy)
"""


def die(where):
    environment = os.environ | {"PYTHONPATH": str(Path(record.__file__).parents[1])}
    command = [sys.executable, "-c", DIES, str(Path(__file__).parent), where]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr


def leftovers():
    place = folder(TOY).parent
    return sorted(f.name for f in place.iterdir() if f.name.startswith(".")) if place.is_dir() else []


def test_a_sound_record_between_two_renames_is_found():
    store.run(TOY)
    die("between")
    assert not folder(TOY).exists() and len(leftovers()) == 2
    before = computed()
    assert store.find(TOY).table.value[0] == 0.1 + 0.2 and store.find(TOY).meta["seconds"] == 1.0  # the new one
    assert leftovers() == [] and store.run(TOY) and computed() == before


def test_of_two_that_a_death_left_the_sound_one_is_taken():
    store.run(TOY)
    die("between")
    new = next(f for f in record.left(folder(TOY)) if not f.name.endswith("-old"))
    (new / "table.csv").write_text("half")
    assert store.find(TOY).meta["seconds"] != 1.0 and leftovers() == []


@pytest.mark.parametrize("where", ["in write", "before the first", "after the last", "after storing"])
def test_what_a_death_left_is_cleaned_by_the_next_run(where):
    if where != "after storing":
        store.run(TOY)
    die(where)
    assert leftovers() or where == "after storing"
    assert store.scratch(TOY).exists()
    assert store.run(TOY).table.value[0] == 0.1 + 0.2
    assert leftovers() == [] and not store.scratch(TOY).exists()
    assert [f.name for f in folder(TOY).parent.iterdir()] == [TOY.key]


def test_what_another_process_is_writing_is_left_alone():
    store.run(TOY)
    part = folder(TOY).parent / f".part-{TOY.key}-abc"
    part.mkdir()
    state = store.scratch(TOY)
    state.parent.mkdir(parents=True, exist_ok=True)
    state.write_text("a state")
    with store.lock(TOY):
        assert store.run(TOY) and part.exists() and state.exists()
        shutil.move(folder(TOY), folder(TOY).with_name("elsewhere"))
        assert store.find(TOY) is None and part.exists()  # between the renames of one that is at it
        shutil.move(folder(TOY).with_name("elsewhere"), folder(TOY))
    assert store.run(TOY) and not part.exists() and not state.exists()


def test_the_leftovers_of_one_record_are_no_business_of_another():
    part = folder(TOY).parent / f".part-{Toy('b').key}-abc"
    part.mkdir(parents=True)
    store.run(TOY)
    assert part.exists()
    store.run(Toy("b"))
    assert not part.exists()


# a raised version


def test_publishing_replaces_what_a_raised_version_supersedes(monkeypatch):
    toy, other = Toy("a"), Toy("a", 1)
    for e in (toy, other, Child(toy)):
        store.run(e)
        store.publish(e)
    old = folder(toy, "published"), folder(Child(toy), "published")
    # by a field: one seed is made anew
    monkeypatch.setattr(Toy, "version", property(lambda self: 2 if self.seed == 0 else 1))
    assert (
        folder(toy, "published") != old[0]
        and folder(other, "published").is_dir()
        and store.find(other).shelf == "published"
    )
    assert (
        store.superseded(toy) == [old[0]] and store.superseded(Child(toy)) == [old[1]] and store.superseded(other) == []
    )
    for e in (toy, Child(toy)):
        store.run(e, weights=e.has_weights)
        store.publish(e)
    assert not any(f.exists() for f in old) and folder(toy, "published").is_dir()
    assert sorted(f.name for f in folder(toy, "published").parent.iterdir()) == sorted([toy.key, other.key])
    assert store.find(toy).meta["version"] == 2 and store.find(other).meta["version"] == 1


def test_publishing_from_older_code_leaves_newer_versions(monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(Toy, "version", 3)
        store.run(TOY)
        newer = store.publish(TOY)
    store.run(TOY)
    store.publish(TOY)
    assert newer.is_dir() and folder(TOY, "published").is_dir()


def test_a_result_is_replaced_whole():
    store.run(TOY)
    made = store.provenance.here() | store.used(TOY, TOY.code()) | dict(seconds=1)
    store.write(TOY, replace(TOY.compute(), table=pd.DataFrame(dict(x=[1]))), made)
    assert list(store.find(TOY).table) == ["x"] and leftovers() == []


@pytest.mark.parametrize("text", ["{", '{"files": 3}', "[]", "{}", '{"files": {"weights.safetensors": 4}}'])
def test_a_broken_published_parent_stops_neither_notes_nor_publishing(monkeypatch, text):
    store.run(Child(TOY))
    store.run(TOY, weights=True)
    store.publish(TOY)
    (folder(TOY, "published") / "record.json").write_text(text)
    assert store.find(Child(TOY)).notes == ()  # of a broken parent nothing is known, which is said where it is read
    monkeypatch.setattr(Toy, "version", 2)
    store.run(TOY)
    store.publish(TOY)
    assert len(list(folder(TOY, "published").parent.iterdir())) == 2 and store.superseded(TOY) == []


@pytest.mark.parametrize(
    "change",
    [
        dict(version="2"),
        dict(version=[HUGE]),
        dict(seconds=HUGE),
        dict(config=deep(300)),
        dict(time=HALF),
        dict(x=HALF),
    ],
    ids=str,
)
def test_an_odd_record_beside_it_on_the_published_shelf_stops_no_publishing(monkeypatch, capsys, change):
    store.run(TOY)
    tamper(TOY, "published" if store.publish(TOY) else "", **change)
    monkeypatch.setattr(Toy, "version", 2)
    store.run(TOY)
    assert store.superseded(TOY) == [] and store.publish(TOY).is_dir() and store.find(TOY).shelf == "published"


def test_an_odd_local_record_is_not_published_and_why_is_said():
    store.run(TOY)
    for change in (dict(seconds=HUGE), dict(version="x"), dict(config=deep(400)), dict(device=dict(threads=HUGE))):
        tamper(TOY, **change)
        with pytest.raises(ValueError, match="record.json: |it is broken|its settings are not"):
            store.publish(TOY)
    assert not folder(TOY, "published").exists()


def test_a_file_s_name_that_cannot_be_printed_is_named_all_the_same(capsys):
    store.run(TOY)
    (folder(TOY) / os.fsdecode(b"more\xff\n")).write_text("x")
    assert store.find(TOY) is None
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    assert "has no checksum of more\\udcff" in out


def test_brackets_in_a_name_are_no_pattern():
    toy = Toy("[a]*")
    part = folder(toy).parent / f".part-{toy.key}-abc"
    part.mkdir(parents=True)
    state = store.scratch(toy)
    state.parent.mkdir(parents=True, exist_ok=True)
    state.write_text("a state")
    assert record.left(folder(toy)) == [part] and store.half_done(toy) == state
    store.run(toy)
    assert not part.exists() and not state.exists()
