"""Faults, one at a time: of every file of a record on both shelves, of every entry of `record.json`, of an array. What
is read afterwards is the answer that was stored, or none.

What other files try already: records that are odd as a whole (`test_record.py`), checkpoints (`test_checkpoint.py`),
files that travel (`test_parcels.py`), data sets (`test_data.py`).
"""

import errno
import io
import json
import shutil
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import nbformat
import numpy as np
import pandas as pd
import pytest
import torch

from pruning_lab import Recipe, Train, masks
from pruning_lab.masks import exchange
from pruning_lab.publish import archive, executing, one_file
from pruning_lab.records import certificates, disk, record, store
from pruning_lab.records.store import Experiment, Result
from pruning_lab.report import shelf, told
from pruning_lab.running import register, verify

FILES = (record.META, record.TABLE, record.ARRAYS, record.WEIGHTS)
PUBLISHED = (record.META, record.PACKED, record.ARRAYS, record.WEIGHTS)
ON = [("local", name) for name in FILES] + [("published", name) for name in PUBLISHED]


@dataclass(frozen=True)
class Answer(Experiment):
    """Another answer for every seed, in a moment."""

    has_weights: ClassVar[bool] = True
    seed: int = 0
    size: int = 6

    def compute(self):
        draw = np.random.default_rng(self.seed)
        table = pd.DataFrame(dict(step=range(4), value=draw.normal(size=4), word=["a", '"b",\n', "</script>", "../c"]))
        arrays = dict(a=draw.normal(size=(2, self.size)), whole=draw.integers(0, 9, 3), on=draw.random(4) > 0.5)
        return Result(table, arrays, dict(w=torch.full((2, 2), float(self.seed))))

    def label(self):
        return f"answer-s{self.seed}"


E, OTHER = Answer(1), Answer(2)


@pytest.fixture(autouse=True)
def shelves(store_folder, tmp_path, monkeypatch):
    """Two empty shelves."""
    monkeypatch.setenv("PRUNING_LAB_RESULTS", str(tmp_path / "results"))
    store.forget()
    return store_folder


def stored_on(where, e=E):
    """The folder of a record that lies on this shelf alone."""
    store.run(e)
    if where == "published":
        store.publish(e)
        shutil.rmtree(store.folder_of(e))
    store.forget()
    return store.folder_of(e, where)


def is_the_answer(found, e=E):
    """Whether a record holds what the experiment computes, bit by bit."""
    right = e.compute()
    pd.testing.assert_frame_equal(found.table, right.table, check_exact=True)
    assert found.arrays.keys() == right.arrays.keys()
    for name, array in right.arrays.items():
        assert found.arrays[name].dtype == array.dtype and np.array_equal(found.arrays[name], array)
    weights = found.weights()
    assert not weights or torch.equal(weights["w"], right.weights["w"])
    return True


# A file of a record


def a_folder(file):
    file.unlink()
    file.mkdir()
    (file / "x").write_text("x")


def cut(share):
    return lambda file: file.write_bytes(file.read_bytes()[: int(file.stat().st_size * share)])


def flip(at):
    """A function that flips one bit in the byte at this share of a file."""

    def change(file):
        whole = bytearray(file.read_bytes())
        whole[int(at * (len(whole) - 1))] ^= 1
        file.write_bytes(whole)

    return change


def of_another(file):
    """In its place the sound file of another record, which some copying gone wrong may bring."""
    store.run(OTHER)
    store.publish(OTHER)
    shelf = "published" if file.name == record.PACKED else "local"
    shutil.copyfile(store.folder_of(OTHER, shelf) / file.name, file)


FAULTS = {
    "removed": Path.unlink,
    "emptied": lambda file: file.write_bytes(b""),
    "cut": cut(0.5),
    "cut by little": cut(0.97),
    "flipped in the middle": flip(0.5),
    "flipped at the end": flip(1.0),
    "of zeros": lambda file: file.write_bytes(bytes(file.stat().st_size)),
    "with a tail": lambda file: file.write_bytes(file.read_bytes() + b"\n"),
    "a folder": a_folder,
    "a link to nowhere": lambda file: (file.unlink(), file.symlink_to("nowhere")),
    "a link to itself": lambda file: (file.unlink(), file.symlink_to(file.name)),
    "of another": of_another,
}
HARMLESS = {
    ("with a tail", record.META)
}  # a line end more, which JSON does not mind; a flip may do no harm there either


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("where, name", ON)
def test_a_file_that_is_not_what_it_was_is_named_and_never_another_answer(capsys, where, name, fault):
    folder = stored_on(where)
    if name == record.WEIGHTS and where == "published":
        assert not (folder / name).exists()
        (folder / name).write_bytes(b"what nobody published")
    FAULTS[fault](folder / name)
    capsys.readouterr()
    found, said = store.find(E), capsys.readouterr().out
    if (
        (fault, name) in HARMLESS
        or (found and name == record.META)
        or (fault, name, where) == ("removed", record.WEIGHTS, "published")
    ):
        assert is_the_answer(found)
    elif (fault, name) == ("removed", record.WEIGHTS):
        assert is_the_answer(found) and store.find(E, weights=True) is None
    else:
        gone = name == record.META and not (folder / name).is_file()
        assert found is None and store.gather([E]).empty
        words = (f"({where}) is not used: ", "do not count (")  # broken; of code that nobody has
        assert said == "" if gone else any(word in said for word in words) and said.count("\n") == 1
    assert is_the_answer(store.run(E, weights=True)) and torch.equal(store.run(E, weights=True).weights()["w"], W)


W = torch.ones(2, 2)


# An entry of record.json


def leaves(value, path=()):
    """The way to every entry of nested names and values that has no entries itself."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    if not (found := [leaf for key, one in inside for leaf in leaves(one, (*path, key))]):
        found = [path]
    return found


def another(value):
    """A value of the same kind that is not this one."""
    if isinstance(value, bool) or value is None:
        return not value
    if isinstance(value, (int, float)):
        return value + 1
    return f"{value}0" if isinstance(value, str) else [*value, 0] if isinstance(value, list) else value | {"more": "x"}


def with_entry(meta, path, value):
    """A copy with one entry replaced, or taken away by `None`."""
    copy = json.loads(json.dumps(meta))
    *way, last = path
    inner = copy
    for key in way:
        inner = inner[key]
    if value is None and isinstance(inner, dict):
        del inner[last]
    else:
        inner[last] = value
    return copy


def changed_entries(meta):
    for path in leaves(meta | dict(code=dict(list(meta["code"].items())[:2]))):  # of its 40 digests two
        value = meta
        for key in path:
            value = value[key]
        for new in (another(value), None, [], "</script>\n'\"../..", -1, float("nan")):
            yield path, with_entry(meta, path, new)
    for path in [(key,) for key, value in meta.items() if isinstance(value, dict)]:
        yield path, with_entry(meta, path, None)


@pytest.mark.parametrize("where", [pytest.param("local", marks=pytest.mark.soak), "published"])
def test_no_entry_of_a_record_changes_an_answer(capsys, where):
    folder = stored_on(where)
    meta = json.loads((folder / record.META).read_text())
    used = set()
    changes = list(changed_entries(meta))
    for path, odd in changes:
        (folder / record.META).write_text(json.dumps(odd))
        store.forget()
        if found := store.find(E):
            assert is_the_answer(found), path
            same = odd == meta or path[0] == "config" and {"size": 6} | odd["config"] == meta["config"]
            used |= set() if same else {path}  # 1 is True, and what is left out is the default
    used -= {("files", record.WEIGHTS)} if where == "published" else set()  # none are there
    assert len(changes) > 150 and not {path[0] for path in used} & {"format", "config", "files"}
    assert where == "published" or "code" not in {path[0] for path in used}
    assert "Traceback" not in capsys.readouterr().out


@pytest.mark.parametrize("step", [pytest.param(1, marks=pytest.mark.soak), 47])
@pytest.mark.parametrize("name", FILES)
def test_no_flipped_bit_of_a_record_changes_an_answer(capsys, name, step):
    folder = stored_on("local")
    whole = (folder / name).read_bytes()
    for at in range(0, len(whole), step):
        bad = bytearray(whole)
        bad[at] ^= 1 << at % 8
        (folder / name).write_bytes(bad)
        store.forget()
        found = store.find(E)
        assert (found is None) if name != record.META else found is None or is_the_answer(found), at
    capsys.readouterr()


def test_no_flipped_bit_of_a_packed_table_changes_an_answer(capsys):
    file = stored_on("published") / record.PACKED
    whole, harmless = file.read_bytes(), set()
    for at in range(8 * len(whole)):
        bad = bytearray(whole)
        bad[at // 8] ^= 1 << at % 8
        file.write_bytes(bad)
        store.forget()
        if (found := store.find(E)) is not None:
            assert is_the_answer(found), at
            harmless.add(at // 8)
    assert harmless <= set(range(3, 10))  # of the header: a time, a system, whether it is text
    capsys.readouterr()


# A part of an array


def npy(array, **header):
    """The bytes of a stored array whose header says something else."""
    stream = io.BytesIO()
    np.lib.format.write_array(stream, array, version=(1, 0))
    if not header:
        return stream.getvalue()
    about = np.lib.format.header_data_from_array_1_0(array) | header
    head = repr(about).encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head + array.tobytes()


A = E.compute().arrays["a"]
PARTS = {
    "another type": npy(A.astype(np.float32)),
    "another type by its header": npy(A, descr="<i8"),
    "the other order of bytes": npy(A, descr=">f8"),
    "another shape": npy(A.reshape(-1, 2)),
    "another shape by its header": npy(A, shape=(A.size, 1)),
    "a longer shape by its header": npy(A, shape=(10**9, 10**9)),
    "columns first": npy(A, fortran_order=True),
    "no numbers": npy(A[:0]),
    "not finite": npy(A * np.nan),
    "a little more": npy(np.nextafter(A, 9)),
    "objects": npy(A, descr="|O"),
    "a header that is none": b"\x93NUMPY\x01\x00v\x00" + b"x" * 118,
    "a version that nobody knows": b"\x93NUMPY\x09\x00" + npy(A)[8:],
    "half": npy(A)[:-7],
    "nothing": b"",
    "no array": b"</script><script>alert(1)</script>",
}
NAMES = {"../../out.npy": "../../out", "a.npy\n": "a.npy\n", "</script>.npy": "</script>"}


def written(folder, members):
    with zipfile.ZipFile(folder / record.ARRAYS, "w", zipfile.ZIP_DEFLATED) as z:
        for name, content in members.items():
            z.writestr(name, content)
    store.forget()


@pytest.mark.parametrize("part", PARTS)
def test_an_array_that_is_not_what_it_was_is_no_answer(capsys, part):
    folder = stored_on("published")
    with zipfile.ZipFile(folder / record.ARRAYS) as z:
        members = {name: z.read(name) for name in z.namelist()}
    written(folder, members | {"a.npy": PARTS[part]})
    assert store.find(E) is None and "arrays.npz is missing or not what record.json says" in capsys.readouterr().out
    assert is_the_answer(store.run(E))


@pytest.mark.parametrize("name", NAMES)
def test_an_array_s_name_leads_nowhere(capsys, tmp_path, name):
    """Also where the checksum is right: it is a name in a table of arrays, and no file is made of it."""
    folder = stored_on("published")
    before = {f for f in tmp_path.rglob("*")}
    written(folder, {name: npy(A)})
    meta = json.loads((folder / record.META).read_text())
    meta["files"][record.ARRAYS] = record.checksum(folder / record.ARRAYS)
    (folder / record.META).write_text(json.dumps(meta))
    found = store.find(E)
    assert found is None or list(found.arrays) == [NAMES[name]]
    assert {f for f in tmp_path.rglob("*")} == before


# What reads records besides


NET = Train("digits", "mlp", Recipe(iterations=1), width=6, limit=20)


@pytest.fixture
def shown():
    """A published record of the library's own, and its file; what is odd in it is named on the page of all records."""
    store.run(NET)
    store.publish(NET)
    return store.folder_of(NET, "published") / record.META


def test_no_odd_entry_of_a_published_record_stops_the_page_of_all_records(shown):
    meta = json.loads(shown.read_text())
    ways = [(key,) for key in meta] + [("device", "name"), ("device", "threads"), ("config", "seed"), ("data",)]
    odd = [with_entry(meta, way, new) for way in ways for new in (None, [], 10**400, {"x": {}})]
    for text in [*map(json.dumps, odd), "[" * 100_000, "", "null", '"x"']:
        shown.write_text(text)
        table = register.table({})
        assert list(table.record) == [NET.key] and shelf.page(table).data
        assert set(table.state) <= {register.BROKEN, "current", "unverified", register.OLDER}
        shelf.sentences(table)
    assert table.state[0] == register.BROKEN


def test_an_odd_outcome_of_computing_again_is_named_with_what_to_do(shown):
    file = verify.save(verify.Outcome(1, [verify.Said("Train/x", "equal bits", True, "equal", 1.0)]), 5.0)
    told = json.loads(file.read_text())
    odd = [with_entry(told, way, new) for way in leaves(told) for new in (None, [], {"x": 1})]
    odd += [with_entry(told, (key,), new) for key in told for new in (None, 3)]
    named = 0
    for text in [*map(json.dumps, odd), "[" * 100_000, "", "null"]:
        file.write_text(text)
        try:
            shelf.verified()
            shelf.again()
        except ValueError as error:
            named += 1
            assert str(error).startswith("verified.json is broken (") and "python -m pruning_lab verify" in str(error)
    assert named > 20


def test_half_of_the_verdicts_of_a_chapter_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("PRUNING_LAB_EXECUTED", str(tmp_path))
    name = told.chapters.chapters()[0].stem
    for text in ('{"data": [', "[" * 100_000, "[]", '{"data": 3, "columns": [], "about": {}}'):
        told.file(tmp_path, name, "smoke").write_text(text)
        with pytest.raises(ValueError, match=rf"^{name}-smoke.verdicts.json is broken .*: delete it and build"):
            told.all_chapters("smoke")


@pytest.mark.parametrize("spoil", [cut(0.5), cut(0), lambda file: file.write_text("{}"), lambda f: f.write_text("[]")])
def test_half_an_executed_copy_is_none(tmp_path, monkeypatch, spoil, capsys):
    path = tmp_path / "01_a.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1")]), path)
    copy = tmp_path / "executed" / "copy.ipynb"
    copy.parent.mkdir()
    made = nbformat.v4.new_notebook(metadata=dict(pruning_lab=dict(seconds=1.0)))
    nbformat.write(made, copy)
    monkeypatch.setattr(executing, "executed", lambda *_: copy)
    monkeypatch.setattr(executing.prose, "said", lambda book: {executing.VERDICTS: "whole"})
    half = copy.parent / "01_a-smoke.verdicts.json"
    half.write_text("wh")
    assert executing._as_before(path, "smoke", None, tmp_path, {}) == copy and half.read_text() == "whole"
    spoil(copy)
    assert executing._as_before(path, "smoke", None, tmp_path, {}) is None
    assert capsys.readouterr().out.endswith("01_a: the executed copy is broken\n")


# A full disk


def half_then_full(write):
    """A function that writes as `write` does, but half, and then finds the disk full."""

    def full(*arguments, **named):
        write(*arguments, **named)
        cut(0.5)(next(place for place in reversed(arguments) if isinstance(place, Path) and place.is_file()))
        raise OSError(errno.ENOSPC, "No space left on device")

    return full


def a_book(folder):
    html = folder / "html"
    html.mkdir(exist_ok=True)
    (html / "index.html").write_text("a page")
    return html


WRITES = {
    "a published record": (shutil, "copyfile", lambda folder: store.publish(E)),
    "an outcome": (Path, "write_text", lambda folder: verify.save(verify.Outcome(1, []), 5.0)),
    "certificates": (Path, "write_text", lambda folder: certificates.save([])),
    "a report": (Path, "write_text", lambda folder: one_file.write(folder / "report.html", "x" * 100)),
    "masks": (exchange, "save_file", lambda folder: masks.save(folder / "m", {"w": torch.ones(3) > 0})),
    "the packed book": (archive.Path, "replace", lambda folder: archive.write(a_book(folder), folder)),
}


@pytest.mark.parametrize("what", WRITES)
def test_a_disk_that_is_full_leaves_the_last_file_or_none(tmp_path, monkeypatch, what):
    owner, name, write = WRITES[what]
    store.run(E)
    a_book(tmp_path)
    (tmp_path / "results").mkdir()

    def files():
        return {f: f.read_bytes() for f in tmp_path.rglob("*") if f.is_file() and f.suffix != ".lock"}

    empty = files()
    whole = getattr(owner, name)
    for _ in range(2):  # where there is none yet, and over the last one
        with monkeypatch.context() as patch, pytest.raises(OSError) as caught:
            patch.setattr(owner, name, half_then_full(whole) if name != "replace" else full)
            write(tmp_path)
        assert disk.reason(caught.value) == "no space left" and files() == empty
        write(tmp_path)
        assert len(files()) > len(empty) or _ == 1
        empty = files()


def full(*_, **__):
    raise OSError(errno.ENOSPC, "No space left on device")
