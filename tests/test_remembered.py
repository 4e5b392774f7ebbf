"""Digests kept from process to process: used for files that stand as they did, and for no other."""

import json
import os
import shutil
import time
from pathlib import Path

import numpy as np
import pytest

from pruning_lab import data, npz
from pruning_lab.data import digests, files, remembered


@pytest.fixture
def root(tmp_path, monkeypatch):
    """An empty data root and an empty cache folder; files of any age are remembered."""
    monkeypatch.setenv("PRUNING_LAB_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(remembered, "AGE", 0.0)
    return tmp_path / "data"


def put(root, shift=0, name="own", split="train"):
    """A small set, stored without compression: other pixels take as many bytes."""
    images = (np.arange(720, dtype=np.uint8).reshape(12, 5, 4, 3) + shift).astype(np.uint8)
    file = root / name / f"{split}.npz"
    file.parent.mkdir(parents=True, exist_ok=True)
    np.savez(file, images=images, labels=np.arange(12, dtype=np.uint8) % 3, lossy=np.array([1, 7]))
    return file


def kept(tmp_path):
    return sorted((tmp_path / "cache" / "pruning_lab" / "digests").glob("*"))


def another_process():
    """What a process has read is forgotten, as in the next one."""
    digests.marks_of.cache_clear(), files.read_half.cache_clear()


@pytest.fixture
def reads(monkeypatch):
    """The files that were read."""
    found, read = [], npz.read
    monkeypatch.setattr(npz, "read", lambda file: found.append(file) or read(file))
    return found


@pytest.mark.parametrize("name", ["own", "gaussian:own"])
@pytest.mark.parametrize("limit", [None, 5])
def test_the_next_process_reads_no_file_for_a_digest(root, reads, name, limit):
    put(root)
    first = data.fingerprint(name, "train", limit)
    another_process()
    assert data.fingerprint(name, "train", limit) == first and len(reads) == 1
    assert first["lossy"] == (0 if name != "own" else 2 if limit is None else 1)
    split = data.load(name, "train", limit=limit)
    assert (split.digest, split.lossy) == (first["digest"], first["lossy"]) and len(reads) == 2


def test_each_question_has_its_own_answer(root):
    put(root), put(root, 3, split="test")
    asked = [(n, s, k) for n in ("own", "gaussian:own") for s in ("train", "test") for k in (None, 4, 5)]
    first = [data.fingerprint(*one) for one in asked]
    another_process()
    assert [data.fingerprint(*one) for one in asked] == first
    assert len({found["digest"] for found in first}) == len(asked)


def in_place(file, other):
    """The same file, other bytes, and times of its contents as before."""
    before = file.stat()
    with file.open("r+b") as stream:
        stream.write(other.read_bytes())
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def moved(file, other):
    """Another file of that name, as old as the first."""
    shutil.copystat(file, other)
    other.replace(file)


def copied(file, other):
    shutil.copy2(other, file)


@pytest.mark.parametrize("change", [in_place, moved, copied])
@pytest.mark.parametrize("half", ["train", "test"])
def test_a_changed_file_is_noticed_by_the_next_process(root, tmp_path, change, half):
    file, other = put(root, split=half), put(tmp_path, 9, "other", half)
    assert file.stat().st_size == other.stat().st_size
    old = data.fingerprint("own", half)
    another_process()
    change(file, other)
    new = data.fingerprint("own", half)
    another_process()
    assert new["digest"] != old["digest"] and data.fingerprint("own", half) == new
    assert data.load("own", half).digest == new["digest"]


def test_two_data_folders_with_a_set_of_one_name_do_not_share(root, tmp_path, monkeypatch):
    put(root), put(tmp_path / "elsewhere", 5)
    first = data.fingerprint("own", "train")
    monkeypatch.setenv("PRUNING_LAB_DATA", str(tmp_path / "elsewhere"))
    second = data.fingerprint("own", "train")
    another_process()
    assert data.fingerprint("own", "train") == second != first and len(kept(tmp_path)) == 2


def test_a_young_file_is_not_remembered(root, tmp_path, monkeypatch):
    monkeypatch.setattr(remembered, "AGE", 5.0)
    put(root)
    data.fingerprint("own", "train")
    assert not kept(tmp_path)
    os.utime(root / "own" / "train.npz", (0, 0))  # a file unpacked with its old times is young all the same
    data.fingerprint("own", "train")
    assert not kept(tmp_path)
    monkeypatch.setattr(time, "time_ns", lambda now=time.time_ns: now() + 6_000_000_000)
    another_process()
    data.fingerprint("own", "train")
    assert len(kept(tmp_path)) == 1


def test_a_file_that_changed_while_it_was_read_is_not_remembered(root, tmp_path, monkeypatch):
    put(root)
    read = npz.read
    monkeypatch.setattr(npz, "read", lambda file: (read(file), put(root, 1))[0])
    data.fingerprint("own", "train")
    assert not kept(tmp_path)


ODD = {
    "empty": "",
    "cut short": '{"made_by": [1',
    "a list": "[]",
    "deep": "[" * 100_000,
    "another version": dict(made_by=[0, "0.1"]),
    "another stamp": dict(stamp=[[1, 1, 1, 1], None]),
    "no answers": dict(known=None),
    "a number": dict(known={"own/train/None": 3}),
    "half an answer": dict(known={"own/train/None": ["0" * 16]}),
    "another kind": dict(known={"own/train/None": [16, "0"]}),
}


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
def test_odd_files_are_read_over_and_written_anew(root, tmp_path, odd):
    put(root)
    first = data.fingerprint("own", "train")
    [file] = kept(tmp_path)
    sound = json.loads(file.read_text())
    file.write_text(odd if isinstance(odd, str) else json.dumps(sound | odd))
    another_process()
    assert data.fingerprint("own", "train") == first
    assert json.loads(file.read_text()) == sound


def test_where_nothing_can_be_written_nothing_is_kept(root, tmp_path, monkeypatch):
    put(root)
    (tmp_path / "cache").write_text("a file in the way")
    assert data.fingerprint("own", "train")["lossy"] == 2
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", classmethod(lambda _: (_ for _ in ()).throw(RuntimeError("no home"))))
    another_process()
    assert data.fingerprint("own", "train")["lossy"] == 2


def test_a_write_that_fails_leaves_nothing(root, tmp_path, monkeypatch):
    put(root)
    monkeypatch.setattr(remembered.json, "dump", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    assert data.fingerprint("own", "train")["lossy"] == 2 and not kept(tmp_path)


def test_digits_need_no_memory(root, tmp_path):
    data.fingerprint("digits", "train"), data.fingerprint("gaussian:digits", "test")
    assert not kept(tmp_path)
