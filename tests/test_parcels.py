"""Records carried from machine to machine: round trips, limits, files that are damaged or somebody else's."""

import hashlib
import io
import json
import re
import shutil
import stat
import tracemalloc
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
import torch

from pruning_lab.__main__ import main
from pruning_lab.records import record, store
from pruning_lab.records.store import Experiment, Result
from pruning_lab.running import parcels, sound


@dataclass(frozen=True)
class Parcel(Experiment):
    has_weights: ClassVar[bool] = True
    name: str
    size: int = 10

    def compute(self):
        noise = np.random.default_rng(len(self.name)).integers(0, 256, self.size, dtype=np.uint8)
        return Result(pd.DataFrame(dict(x=[1.5, 2.5])), dict(noise=noise), dict(w=torch.ones(3)))

    def label(self):
        return self.name


@dataclass(frozen=True)
class Private(Parcel):
    published: ClassVar[bool] = False


@pytest.fixture(autouse=True)
def shelves(store_folder, tmp_path, monkeypatch):
    """Two empty shelves."""
    monkeypatch.setenv("PRUNING_LAB_RESULTS", str(tmp_path / "results"))
    return store_folder


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """A function that makes this another machine, with an empty shelf, and gives its folder."""

    def move(name=""):
        monkeypatch.setenv("PRUNING_LAB_STORE", str(tmp_path / f"elsewhere{name}"))
        return tmp_path / f"elsewhere{name}"

    return move


def files(folder):
    """All files below a folder, but locks, and their bytes."""
    found = {str(f.relative_to(folder)): f.read_bytes() for f in folder.rglob("*") if f.is_file()}
    return {name: content for name, content in found.items() if not name.startswith("locks")}


def packed(tmp_path, *experiments, **how):
    for e in experiments:
        store.run(e)
    return parcels.pack(tmp_path / "out", **how).files


def rewritten(file, change):
    """The same file with its members, name -> bytes, changed by a function; its list of contents fits them again."""
    with zipfile.ZipFile(file) as z:
        members = {name: z.read(name) for name in z.namelist()}
    members = change({name: content for name, content in members.items() if name != "parcel.json"})
    sums = {name: hashlib.sha256(content).hexdigest() for name, content in members.items()}
    contents = dict(format=1, records=1, sha256=sums)
    with zipfile.ZipFile(file, "w") as z:
        for name, content in ({"parcel.json": json.dumps(contents).encode()} | members).items():
            z.writestr(name, content)
    return file


def with_meta(**change):
    """A change of a packed file: something else in its `record.json`."""

    def changed(members):
        [name] = [name for name in members if name.endswith("record.json")]
        return members | {name: json.dumps(json.loads(members[name]) | change).encode()}

    return changed


# Round trips


def test_what_is_packed_is_found_on_another_machine(tmp_path, elsewhere):
    plan = [Parcel(n) for n in "abc"]
    archives = packed(tmp_path, *plan)
    before = {e: store.find(e) for e in plan}
    there = elsewhere()
    assert [store.find(e) for e in plan] == [None] * 3
    taken = parcels.unpack(archives)
    assert taken.new == tuple(sorted(f"Parcel/{e.key}" for e in plan)) and taken.here == ()
    for e in plan:
        found = store.find(e)
        pd.testing.assert_frame_equal(found.table, before[e].table)
        assert found.meta == before[e].meta and np.array_equal(found.arrays["noise"], before[e].arrays["noise"])
        assert found.weights() == {} and store.find(e, weights=True) is None
    assert len(files(there)) == 9


def test_weights_travel_if_asked_for(tmp_path, elsewhere):
    archives = packed(tmp_path, Parcel("a"), weights=True)
    elsewhere()
    parcels.unpack(archives)
    assert torch.equal(store.find(Parcel("a"), weights=True).weights()["w"], torch.ones(3))


def test_what_is_published_or_never_will_be_or_is_older_stays(tmp_path, shelves):
    old, shown, private, new = Parcel("old"), Parcel("shown"), Private("private"), Parcel("new")
    for e in (old, shown, private, new):
        store.run(e)
    store.publish(shown)
    file = store.folder_of(old) / "record.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | dict(time="2020-01-31T12:00:00Z")))

    def names(archives):
        return sorted(
            name.split("/")[1]
            for f in archives
            for name in zipfile.ZipFile(f).namelist()
            if name.endswith("record.json")
        )

    assert names(parcels.pack(tmp_path / "all").files) == sorted([old.key, new.key])
    both = [new.key, old.key]
    for text, expected in (
        ("2020-01-31T12:00:01Z", [new.key]),
        ("2020-01-31", both),
        ("2020-01-31T13:30:00+01:30", both),
    ):
        assert names(parcels.pack(tmp_path / text, since=parcels.time(text)).files) == sorted(expected)
    assert names(parcels.pack(tmp_path / "one", [store.folder_of(new)]).files) == [new.key]


def test_the_same_records_are_the_same_bytes(tmp_path):
    packed(tmp_path, Parcel("a"), Parcel("b"))
    parcels.pack(tmp_path / "again")
    assert files(tmp_path / "out") == files(tmp_path / "again")


def test_nothing_to_pack_writes_nothing(tmp_path):
    assert parcels.pack(tmp_path / "out") == parcels.Packed((), 0) and not (tmp_path / "out").exists()


def test_a_second_unpacking_takes_nothing(tmp_path, elsewhere):
    archives = packed(tmp_path, Parcel("a"))
    there = elsewhere()
    parcels.unpack(archives)
    before = files(there)
    assert parcels.unpack([*archives, *archives]) == parcels.Taken((), (f"Parcel/{Parcel('a').key}",))
    assert files(there) == before


# Sizes


def test_files_hold_no_more_than_their_limit_and_the_oldest_go_first(tmp_path, monkeypatch, elsewhere):
    monkeypatch.setattr(parcels, "LIMIT", 50_000)
    plan = [Parcel(n, 20_000) for n in ("a", "bb", "ccc", "dddd", "eeeee")]
    archives = packed(tmp_path, *plan)
    assert [f.name for f in archives] == ["records-1.zip", "records-2.zip", "records-3.zip"]
    assert max(f.stat().st_size for f in archives) <= 50_000
    elsewhere()
    assert len(parcels.unpack(archives).new) == 5 and all(store.find(e) for e in plan)


def test_the_limits_are_eight_files_of_16_megabytes():
    assert (parcels.LIMIT, parcels.FILES) == (16_000_000, 8)


def test_what_needs_more_files_is_said_and_can_be_packed_afterwards(tmp_path, monkeypatch, capsys, elsewhere):
    monkeypatch.setattr(parcels, "LIMIT", 30_000)
    monkeypatch.setattr(parcels, "FILES", 2)
    plan = [Parcel(n, 20_000) for n in ("a", "bb", "ccc", "dddd")]
    for k, e in enumerate(plan):
        store.run(e)
        file = store.folder_of(e) / "record.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | dict(time=f"2026-01-0{k + 1}T00:00:00Z")))
    assert main(["pack", str(tmp_path / "first")]) == 0
    out = capsys.readouterr().out
    assert (
        "2 records packed" in out
        and "2 records need more than 2 files of 0 MB" in out
        and "--since 2026-01-03T00:00:00Z" in out
    )
    assert main(["pack", str(tmp_path / "second"), "--since", "2026-01-03T00:00:00Z"]) == 0
    elsewhere()
    parcels.unpack([*(tmp_path / "first").iterdir(), *(tmp_path / "second").iterdir()])
    assert all(store.find(e) for e in plan)


def test_a_record_that_no_file_can_hold_is_named_and_the_others_are_packed(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(parcels, "LIMIT", 30_000)
    for e in (Parcel("a"), Parcel("large", 40_000)):
        store.run(e)
    assert main(["pack", str(tmp_path / "out")]) == 0
    out = capsys.readouterr().out
    assert f"left out: Parcel/{Parcel('large', 40_000).key}: 0.0 MB in one record" in out and "1 records packed" in out


def test_a_broken_record_is_named_and_left_out(tmp_path, capsys, shelves):
    store.run(Parcel("a"))
    store.run(Parcel("b"))
    (store.folder_of(Parcel("a")) / "table.csv").write_text("x\n9\n")
    (shelves / "Parcel" / "odd").mkdir()
    (shelves / "Parcel" / "odd" / "record.json").write_text("[" * 100_000)
    assert main(["pack", str(tmp_path / "out")]) == 0
    out = capsys.readouterr().out
    assert f"left out: Parcel/{Parcel('a').key}: table.csv is missing or not what record.json says" in out
    assert "left out: Parcel/odd: record.json is nested too deeply" in out and "1 records packed" in out


def test_a_folder_that_holds_packed_records_is_left_alone(tmp_path, capsys):
    packed(tmp_path, Parcel("a"))
    before = files(tmp_path / "out")
    assert main(["pack", str(tmp_path / "out")]) == 2
    assert "holds packed records already" in capsys.readouterr().err and files(tmp_path / "out") == before
    (tmp_path / "file").write_text("mine")
    assert main(["pack", str(tmp_path / "file")]) == 2 and (tmp_path / "file").read_text() == "mine"


def test_a_time_that_is_none_is_one_line(tmp_path, capsys):
    assert main(["pack", str(tmp_path / "out"), "--since", "yesterday"]) == 2
    assert (
        capsys.readouterr().err
        == "pruning_lab: 'yesterday' is no time: expected one such as 2026-01-31T12:00:00Z or 2026-01-31\n"
    )


# What must not be taken


def refused(archives, says, there):
    before = files(there) if there.exists() else {}
    with pytest.raises(ValueError, match=says):
        parcels.unpack(archives)
    assert (files(there) if there.exists() else {}) == before and not list(there.rglob(".part*"))


def left_out(archives, says, there):
    """The one record of these files is left out, with such words, and nothing of it stays."""
    taken = parcels.unpack(archives)
    assert taken.new == taken.here == () and re.search(says, taken.left_out[0]) and len(taken.left_out) == 1
    assert not files(there) and not list(there.rglob(".part*")) and not list(there.glob(".unpack*"))


def test_every_byte_of_a_packed_file_counts(tmp_path, elsewhere):
    [file] = packed(tmp_path, Parcel("a"))
    whole, there = file.read_bytes(), elsewhere()
    wrong = 0
    for k in range(0, len(whole), 7):
        file.write_bytes(whole[:k] + bytes([whole[k] ^ 0x55]) + whole[k + 1 :])
        try:
            assert not parcels.unpack([file]).left_out
        except ValueError:
            wrong += 1
        else:  # a byte that says nothing, such as a date
            assert store.find(Parcel("a")) is not None
            shutil.rmtree(there)
        assert not [f for f in files(there)] if there.exists() else True
    assert wrong > len(whole) // 7 * 0.6


@pytest.mark.parametrize(
    "content", [b"", b"PK", b"no archive", b"\x80\x04N."], ids=["empty", "two bytes", "text", "pickle"]
)
def test_what_is_no_archive_is_refused(tmp_path, elsewhere, content):
    (tmp_path / "a.zip").write_bytes(content)
    refused([tmp_path / "a.zip"], "a.zip is not taken, nor any other", elsewhere())


def test_a_file_cut_short_or_missing_is_refused_and_no_other_is_taken(tmp_path, elsewhere):
    [file] = packed(tmp_path, Parcel("a"))
    (tmp_path / "cut.zip").write_bytes(file.read_bytes()[:-40])
    there = elsewhere()
    refused([file, tmp_path / "cut.zip"], "cut.zip is not taken, nor any other", there)
    refused([file, tmp_path / "none.zip"], "there is no file .*none.zip", there)


EVIL = [
    "../evil", "/evil", "Parcel/../../evil", "Parcel/key/../../../table.csv", "C:\\evil", "Parcel\\key\\table.csv",
    "Parcel/key/run.py", "Parcel/key/deep/table.csv", "Parcel/.part-x/table.csv", "/Parcel/key/table.csv",
    "Parcel//table.csv", "locks/x/record.json", "checkpoints/x/table.csv",
    "locks/k/table.csv/", "~/x/table.csv", "Parcel/a\nb/table.csv", "Parcel/" + 300 * "k" + "/table.csv",
]  # fmt: skip


@pytest.mark.parametrize("name", EVIL, ids=range(len(EVIL)))
def test_names_that_lead_elsewhere_are_refused(tmp_path, elsewhere, name):
    [file] = packed(tmp_path, Parcel("a"))
    there = elsewhere()
    around = set(tmp_path.parent.iterdir())
    refused(
        [rewritten(file, lambda members: members | {name: b"x"})],
        "is no name of a record's file|is no plain file",
        there,
    )
    assert set(tmp_path.parent.iterdir()) == around and not Path("/evil").exists()


def test_links_and_devices_are_refused(tmp_path, elsewhere):
    [file] = packed(tmp_path, Parcel("a"))
    whole, there = file.read_bytes(), elsewhere()
    for kind in (stat.S_IFLNK, stat.S_IFIFO, stat.S_IFDIR):
        file.write_bytes(whole)
        with zipfile.ZipFile(file, "a") as z:
            info = zipfile.ZipInfo("Parcel/link/table.csv")
            info.external_attr = (kind | 0o777) << 16
            z.writestr(info, "/etc/passwd")
        refused([file], "is no plain file", there)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_that_is_there_twice_is_refused(tmp_path, elsewhere):
    [file] = packed(tmp_path, Parcel("a"))
    with zipfile.ZipFile(file, "a") as z:
        z.writestr(z.namelist()[1], "x")
    refused([file], "is in it twice", elsewhere())


def test_members_that_would_fill_the_disk_are_refused_before_they_are_read(tmp_path, elsewhere, monkeypatch):
    monkeypatch.setattr(sound, "UNPACKED", 1_000_000)
    [file] = packed(tmp_path, Parcel("a"))
    stream = io.BytesIO(file.read_bytes())
    with zipfile.ZipFile(stream, "a", zipfile.ZIP_DEFLATED) as z:
        z.writestr("Parcel/bomb/table.csv", b"0" * 2_000_000)
    file.write_bytes(stream.getvalue())
    refused(
        [file],
        "it would take 2,0.* bytes, at most 1,000,000 are read; most of them are 'Parcel/bomb/table.csv'",
        elsewhere(),
    )


def npz(method=zipfile.ZIP_DEFLATED, **members):
    """An archive of arrays as NumPy writes it; of a member given as bytes just these."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as z:
        for name, content in members.items():
            if not isinstance(content, bytes):
                part = io.BytesIO()
                np.save(part, content)
                content = part.getvalue()
            z.writestr(f"{name}.npy", content)
    return stream.getvalue()


def with_file(name, content):
    """A change of a packed file: another file in its record, which `record.json` agrees with."""

    def changed(members):
        [place] = [member for member in members if member.endswith("record.json")]
        meta = json.loads(members[place])
        meta["files"][name] = hashlib.sha256(content).hexdigest()
        return members | {place: json.dumps(meta).encode(), place.replace("record.json", name): content}

    return changed


def header(shape, dtype="|u1"):
    """The beginning of a stored array, which tells of a shape."""
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, dict(descr=dtype, fortran_order=False, shape=shape))
    return stream.getvalue()


def lying(archive, declared):
    """The same zip; both of its headers of the first member declare so many bytes."""
    [info] = zipfile.ZipFile(io.BytesIO(archive)).infolist()[:1]
    true = info.file_size.to_bytes(4, "little")
    assert archive.count(true) == 2
    return archive.replace(true, declared.to_bytes(4, "little"))


def peak(call):
    """Bytes of Python's and NumPy's memory at the peak of a call."""
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


ZEROS = np.zeros(40_000_000, np.uint8)
BOMBS = {
    "arrays that are too large": (
        lambda: npz(noise=ZEROS),
        "Parcel/.*: arrays.npz would take 40,000,128 bytes, most of them 'noise.npy'; at most 9,000,000"),
    "many arrays that are too large together": (
        lambda: npz(**{f"n{k}": ZEROS[:1_000_000] for k in range(10)}), "arrays.npz would take 10,001,280 bytes"),
    "a member that is larger than it says": (
        lambda: lying(npz(noise=ZEROS), 1128), "arrays.npz: 'noise.npy' is not what its header says"),
    "an array that is smaller than it says": (
        lambda: npz(noise=header((10**12,)) + b"x"),
        "'noise.npy' has 129 bytes, its header tells of 1,000,000,000,128"),
    "an array that is larger than it says": (
        lambda: npz(noise=header((5,)) + bytes(2_000_000)), "'noise.npy' has 2,000,128 bytes, its header tells of 133"),
    "a shape of many digits": (lambda: npz(noise=header((10**300, 10**300))),
                               "'noise.npy' has .* bytes, its header tells of"),
    "another way of packing": (lambda: npz(zipfile.ZIP_BZIP2, noise=ZEROS[:1_000_000]),
                               "'noise.npy' is packed by method 12"),
    "and one more": (lambda: npz(zipfile.ZIP_LZMA, noise=ZEROS[:1_000_000]), "'noise.npy' is packed by method 14"),
}  # fmt: skip


@pytest.mark.parametrize("bomb", BOMBS)
def test_arrays_that_would_fill_the_memory_are_refused_by_their_headers(tmp_path, elsewhere, monkeypatch, bomb):
    make, says = BOMBS[bomb]
    [file] = packed(tmp_path, Parcel("a"))
    rewritten(file, with_file("arrays.npz", make()))
    there = elsewhere()
    monkeypatch.setattr(sound, "IN_MEMORY", 9_000_000)
    assert peak(lambda: refused([file], says, there)) < 20_000_000


def test_the_limit_of_arrays_is_far_above_what_is_published():
    assert sound.IN_MEMORY == 256_000_000 and sound.UNPACKED == 512_000_000


@pytest.mark.parametrize(
    "content", [b"", b"PK", b"no zip", npz(noise=b"no array"), npz(noise=np.array([None, {}]))], ids=range(5)
)
def test_arrays_that_are_none_are_a_broken_record(tmp_path, elsewhere, content):
    [file] = packed(tmp_path, Parcel("a"))
    left_out([rewritten(file, with_file("arrays.npz", content))], "arrays.npz", elsewhere())


@pytest.mark.parametrize("name, declared", [("table.csv", 100), ("record.json", 50), ("parcel.json", 50)])
def test_no_more_is_read_of_a_member_than_its_header_says(tmp_path, elsewhere, name, declared):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as z:
        z.writestr(name if name == "parcel.json" else f"Parcel/a/{name}", b"0" * 50_000_000)
        if name != "parcel.json":
            z.writestr("parcel.json", json.dumps(dict(format=1, sha256={f"Parcel/a/{name}": "0"})))
    (tmp_path / "a.zip").write_bytes(lying(stream.getvalue(), declared))
    there = elsewhere()
    assert (
        peak(lambda: refused([tmp_path / "a.zip"], f"a.zip is not taken, nor any other: .*{name}", there)) < 20_000_000
    )


@pytest.mark.parametrize("name, most", [("table.csv", 16), ("record.json", 1), ("parcel.json", 16), ("arrays.npz", 64)])
def test_a_member_that_is_too_large_is_named_before_it_is_read(tmp_path, elsewhere, name, most):
    member = name if name == "parcel.json" else f"Parcel/a/{name}"
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as z:
        with z.open(member, "w") as stream:
            for _ in range(most + 1):
                stream.write(b"0" * 1_000_000)
        if name != "parcel.json":
            z.writestr("parcel.json", "{}")
    there = elsewhere()
    says = f"{member}' would take {most + 1},000,000 bytes, at most {most},000,000 are read"
    assert peak(lambda: refused([tmp_path / "a.zip"], says, there)) < 20_000_000


@pytest.mark.parametrize(
    "table",
    ["x" + ",x" * 100_000 + "\n1\n", "x\n" + "1," * 100_000, "x\n1\n" + "," * 100_000],
    ids=["header", "first", "later"],
)
def test_a_table_of_very_many_columns_is_refused(tmp_path, elsewhere, table):
    [file] = packed(tmp_path, Parcel("a"))
    refused(
        [rewritten(file, with_file("table.csv", table.encode()))],
        "table.csv has 100,001 columns, at most 1,000",
        elsewhere(),
    )


def test_very_many_members_are_refused_at_once(tmp_path, elsewhere):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as z:
        for k in range(sound.MEMBERS + 1):
            z.writestr(f"Parcel/{k}/table.csv", b"")
    refused([tmp_path / "a.zip"], "it has 50,001 members, at most 50,000", elsewhere())


@pytest.mark.parametrize(
    "name", ["E" * 300 + "/k", "Parcel/" + "\u00e9" * 130, "P" * 120 + "/" + "k" * 120], ids=range(3)
)
def test_names_that_no_file_system_takes_are_refused(tmp_path, elsewhere, name):
    [file] = packed(tmp_path, Parcel("a"))
    refused(
        [rewritten(file, lambda members: members | {f"{name}/table.csv": b"x"})],
        "is no name of a record's file",
        elsewhere(),
    )


@pytest.mark.parametrize(
    "content", [b"[" * 100_000, b'{"a":' * 100_000, b"1" * 5_000, b"\xff", b"null", b'"x"'], ids=range(6)
)
def test_json_that_is_odd_is_one_line(tmp_path, elsewhere, content, capsys):
    [file] = packed(tmp_path, Parcel("a"), Parcel("b"))
    name = f"Parcel/{Parcel('a').key}/record.json"
    rewritten(file, lambda members: members | {name: content})
    elsewhere()
    assert main(["unpack", str(file)]) == 2
    out, err = capsys.readouterr()
    assert err.count("\n") == 1 and out.count("left out: Parcel/a-") == 1 and store.find(Parcel("b")) is not None
    with zipfile.ZipFile(file, "w") as z:
        z.writestr("parcel.json", content)
    assert main(["unpack", str(file)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_what_is_too_large_to_be_unpacked_is_not_packed(tmp_path, monkeypatch):
    monkeypatch.setattr(sound, "IN_MEMORY", 1_000_000)
    store.run(Parcel("large", 2_000_000))
    [said] = parcels.pack(tmp_path / "out").left_out
    assert "arrays.npz would take 2,000,128 bytes" in said and not (tmp_path / "out").exists()


def test_a_record_that_is_odd_in_one_file_is_taken_from_another(tmp_path, elsewhere):
    [file] = packed(tmp_path, Parcel("a"))
    shutil.copy(file, tmp_path / "odd.zip")
    rewritten(tmp_path / "odd.zip", with_meta(seconds="x"))
    elsewhere()
    taken = parcels.unpack([tmp_path / "odd.zip", file])
    assert (
        taken.new == (f"Parcel/{Parcel('a').key}",) and len(taken.left_out) == 1 and store.find(Parcel("a")) is not None
    )


@pytest.mark.parametrize(
    "change, says",
    [
        (dict(format=2), "its format is 2, this library reads 1"),
        (dict(version=7), "it is of version 7 of Parcel, this library's is 1"),
        (dict(key="other"), "it says that it is Parcel/other"),
        (dict(experiment="Train"), "it says that it is Train/a-"),
        (dict(files={}), "record.json has no checksum of arrays.npz, table.csv"),
        (dict(files={"table.csv": "0", "arrays.npz": "0"}), "is missing or not what record.json says"),
        (dict(files="x"), "record.json lacks files"),
        (dict(time=None), "`time` is no time"),
        (dict(time="soon"), "`time` is no time"),
    ],
    ids=str,
)
def test_records_that_this_library_cannot_trust_are_left_out(tmp_path, elsewhere, change, says):
    [file] = packed(tmp_path, Parcel("a"))
    left_out([rewritten(file, with_meta(**change))], says, elsewhere())


ODD = {
    "seconds": [10**400, float("nan"), float("inf"), -1, "5", True, None, [], {}],
    "peak_memory_bytes": [10**400, float("nan"), "x", None],
    "version": [10**400, "1", None, [1], {}],
    "time": ["0001-01-01T00:00:00+14:00", 5, "", "\ud800"],
    "config": [
        {},
        {"name": 10**400},
        {"name": "b"},
        {"name": "a", "size": "x", "more": 1},
        [],
        "x",
        {"name": {"deep": {}}},
    ],
    "device": [{}, {"type": 1}, None, "cpu"],
    "data": [{"digits/train": 5}, [], None],
    "key": [5, None, "\ud800", "a\nb", "\x1b[31m", "k" * 100_000],
    "experiment": [5, None, "\x1b[2J", "Train"],
    "parents": [{"a": 5}, None],
    "code": [{"train": 5}, None],
    "versions": [{}, {"torch": 2}, None],
}


@pytest.mark.parametrize("what", ODD)
def test_an_odd_record_is_named_and_left_out_and_the_others_are_taken(tmp_path, elsewhere, capsys, what):
    [file] = packed(tmp_path, Parcel("a"), Parcel("b"))
    whole, odd = file.read_bytes(), f"Parcel/{Parcel('a').key}"
    for number, value in enumerate(ODD[what]):
        file.write_bytes(whole)

        def changed(members, value=value):
            name = f"{odd}/record.json"
            return members | {name: json.dumps(json.loads(members[name]) | {what: value}).encode()}

        there = elsewhere(str(number))
        code = main(["unpack", str(rewritten(file, changed))])
        out, err = capsys.readouterr()
        assert store.find(Parcel("b")) is not None, (what, value)
        if code == 0:  # it says nothing that is wrong
            assert what in ("time", "version", "data"), (what, value)
            continue
        assert code == 2 and store.find(Parcel("a")) is None and err.count("\n") == 1, (what, value)
        said = [line for line in out.splitlines() if line.startswith(f"left out: {odd}: ")]
        assert len(said) == 1 and len(said[0]) < 500 and said[0].isprintable() and "1 records taken, 0 were here" in out
        assert f"1 records were left out: the first is {odd}: " in err
        assert {name.split("/")[1] for name in files(there)} == {Parcel("b").key}


@pytest.mark.parametrize("what", ODD)
def test_an_odd_record_that_is_here_is_left_out_of_what_is_packed_and_makes_way(tmp_path, elsewhere, shelves, what):
    archives = packed(tmp_path, Parcel("a"))
    file = store.folder_of(Parcel("a")) / "record.json"
    sound = file.read_text()
    for number, value in enumerate(ODD[what]):
        file.write_text(json.dumps(json.loads(sound) | {what: value}))
        done = parcels.pack(tmp_path / f"again-{number}")
        if not done.left_out:
            assert what in ("time", "version", "data"), (what, value)
            continue
        assert done.records == 0 and f"Parcel/{Parcel('a').key}: " in done.left_out[0]
        assert parcels.unpack(archives).new == (f"Parcel/{Parcel('a').key}",) and file.read_text() == sound


def test_a_record_without_one_of_its_files_or_with_one_more_is_refused(tmp_path, elsewhere):
    [file] = packed(tmp_path, Parcel("a"))
    whole, there = file.read_bytes(), elsewhere()
    for name in ("table.csv", "arrays.npz", "record.json"):
        file.write_bytes(whole)
        rewritten(file, lambda members, name=name: {k: v for k, v in members.items() if not k.endswith(name)})
        left_out([file], "is missing", there)
    file.write_bytes(whole)
    with zipfile.ZipFile(file, "a") as z:
        z.writestr("Parcel/a/table.csv", "x")
    refused([file], "its members are not those that parcel.json lists", there)


def test_a_file_of_another_format_is_refused(tmp_path, elsewhere):
    [file] = packed(tmp_path, Parcel("a"))
    for contents in (b'{"format": 2}', b"[]", b"no json", b'"x"'):
        with zipfile.ZipFile(tmp_path / "other.zip", "w") as z:
            z.writestr("parcel.json", contents)
        refused([tmp_path / "other.zip"], "other.zip is not taken", elsewhere())
    with zipfile.ZipFile(tmp_path / "none.zip", "w") as z:
        z.writestr("Parcel/a/table.csv", "x")
    refused([tmp_path / "none.zip"], "it has no parcel.json", elsewhere())


# What is here


def test_a_sound_record_that_is_here_is_never_overwritten(tmp_path, elsewhere, capsys):
    archives = packed(tmp_path, Parcel("a"), Parcel("b"))
    there = elsewhere()
    store.run(Parcel("a"), weights=True)
    before = files(there / "Parcel" / Parcel("a").key)
    assert main(["unpack", *map(str, archives)]) == 0
    assert files(there / "Parcel" / Parcel("a").key) == before and store.find(Parcel("a"), weights=True)
    lines = capsys.readouterr().out.splitlines()
    assert lines == [f"here already, left as it is: Parcel/{Parcel('a').key}", "1 records taken, 1 were here already"]


def test_what_is_published_here_is_not_taken_again(tmp_path, elsewhere):
    archives = packed(tmp_path, Parcel("a"))
    store.publish(Parcel("a"))
    there = elsewhere()
    assert parcels.unpack(archives).here == (f"Parcel/{Parcel('a').key}",) and not files(there)


def test_a_local_record_with_a_packed_table_travels_with_a_plain_one(tmp_path, elsewhere):
    [plain] = packed(tmp_path / "plain", Parcel("a"))
    folder = store.folder_of(Parcel("a"))
    (folder / "table.csv.gz").write_bytes(record.packed((folder / "table.csv").read_bytes()))
    (folder / "table.csv").unlink()
    [file] = packed(tmp_path / "gz", Parcel("a"))
    assert file.read_bytes() == plain.read_bytes()
    elsewhere()
    assert parcels.unpack([file]).new == (f"Parcel/{Parcel('a').key}",) and store.find(Parcel("a")) is not None


def test_a_packed_table_of_very_many_columns_or_bytes_is_no_sound_record():
    store.run(Parcel("a"))
    store.publish(Parcel("a"))
    folder = store.folder_of(Parcel("a"), "published")
    assert sound.check(folder)["key"] == Parcel("a").key and sound.is_sound(folder)
    (folder / "table.csv.gz").write_bytes(record.packed(b"x\n1\n" + b"," * 2_000))
    with pytest.raises(sound.TooLarge, match="table.csv has 2,001 columns, at most 1,000"):
        sound.check(folder)
    (folder / "table.csv.gz").write_bytes(bytes(16_000_001))
    with pytest.raises(sound.TooLarge, match="table.csv.gz holds 16,000,001 bytes, at most 16,000,000"):
        sound.check(folder)


@pytest.mark.parametrize("spoil", ["table.csv", "arrays.npz", "record.json"])
def test_a_broken_record_that_is_here_makes_way(tmp_path, elsewhere, spoil):
    archives = packed(tmp_path, Parcel("a"))
    elsewhere()
    store.run(Parcel("a"))
    (store.folder_of(Parcel("a")) / spoil).write_bytes(b"broken")
    assert parcels.unpack(archives).new == (f"Parcel/{Parcel('a').key}",)
    assert store.find(Parcel("a")) is not None


def test_a_full_disk_leaves_nothing_half_written(tmp_path, elsewhere, monkeypatch, capsys):
    archives = packed(tmp_path, Parcel("a"))
    there, write = elsewhere(), Path.write_bytes

    def full(self, content):
        if self.name == "table.csv":
            raise OSError(28, "No space left on device")
        return write(self, content)

    monkeypatch.setattr(Path, "write_bytes", full)
    assert main(["unpack", *map(str, archives)]) == 2
    assert "no space left" in capsys.readouterr().err and not files(there) and not list(there.rglob(".part*"))


def test_packing_on_a_full_disk_leaves_no_half_file(tmp_path, monkeypatch, capsys):
    store.run(Parcel("a"))

    def full(self, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    assert main(["pack", str(tmp_path / "out")]) == 2
    assert "no space left" in capsys.readouterr().err and not list((tmp_path / "out").iterdir())


def test_a_record_that_does_not_count_makes_way_for_one_that_does_and_one_that_does_not_is_named(
    tmp_path, elsewhere, capsys
):
    archives = packed(tmp_path, Parcel("a"), Parcel("b"))
    there = elsewhere()
    parcels.unpack(archives)
    stale = there / "Parcel" / Parcel("a").key / "record.json"
    stale.write_text(json.dumps(json.loads(stale.read_text()) | dict(code={"train": "000000000000"})))
    assert store.find(Parcel("a")) is None
    taken = parcels.unpack(archives)
    assert (
        taken.new == (f"Parcel/{Parcel('a').key}",) and taken.here == (f"Parcel/{Parcel('b').key}",) and not taken.idle
    )
    assert store.find(Parcel("a")) is not None
    other = {"train": "000000000000"}

    def of_other_code(members):
        metas = {
            name: json.loads(content) | dict(code=other)
            for name, content in members.items()
            if name.endswith("record.json")
        }
        return members | {name: json.dumps(meta).encode() for name, meta in metas.items()}

    rewritten(archives[0], of_other_code)
    shutil.rmtree(there / "Parcel" / Parcel("a").key)
    assert main(["unpack", *map(str, archives)]) == 0
    assert "of those taken are not used here: made by other code or on other data" in capsys.readouterr().out
