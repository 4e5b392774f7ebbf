"""What will work on this machine: a line each, and an exit code that says whether something essential is missing."""

import sys
import types

import pytest

from pruning_lab.__main__ import main
from pruning_lab.running import doctor


def said(capsys):
    return by_name(capsys.readouterr().out)


def by_name(told):
    return {line[9:31].strip(): line for line in told.splitlines()}


def test_a_machine_that_can_do_all_is_told_so_line_by_line(store_folder, capsys):
    assert main(["doctor"]) == 0
    lines = said(capsys)
    wanted = {
        "Python",
        "packages",
        "device",
        "memory",
        "store",
        "free disk",
        *doctor.SETS,
        *doctor.PARTS,
        "report of your net",
        "tests of pages",
    }
    assert wanted <= lines.keys() and lines["Python"].startswith("ok") and lines["device"].startswith("ok")
    assert str(store_folder) in lines["store"] and not store_folder.exists()


def test_what_is_optional_and_missing_is_named_with_what_brings_it_and_is_no_error(
    tmp_path, store_folder, capsys, monkeypatch
):
    monkeypatch.setenv("PRUNING_LAB_DATA", str(tmp_path))
    monkeypatch.setitem(doctor.PARTS, "clusters", (("no_such_package",), "pip install '.[cluster]'"))
    seen = list(doctor.lines())
    optional = [line for line in seen if not line.essential]
    idle = sum(not line.works for line in optional)
    assert 0 < idle < len(optional) < len(seen)
    assert main(["doctor"]) == 0
    told = capsys.readouterr().out
    assert f"the library works here; {idle} of {len(optional)} optional parts are missing" in told
    lines = by_name(told)
    assert lines["mnist"].startswith("without") and "train.npz" in lines["mnist"]
    assert lines["clusters"].startswith("without") and "no_such_package not here: pip install" in lines["clusters"]


def test_where_the_project_s_own_parts_are_installed_from_is_said_once(capsys, monkeypatch):
    for what, (_, how) in list(doctor.PARTS.items()):
        monkeypatch.setitem(doctor.PARTS, what, (("no_such_package",), how))
    assert main(["doctor"]) == 0
    told = capsys.readouterr().out
    assert told.count("pip install '.[") > 2 and told.count("in the project's folder") == 1
    for what in doctor.PARTS:
        monkeypatch.setitem(doctor.PARTS, what, (("sys",), ""))
    monkeypatch.setattr(doctor, "report", lambda: doctor.Line(True, False, "report of your net", "here"))
    assert main(["doctor"]) == 0 and "in the project's folder" not in capsys.readouterr().out


def test_a_store_that_cannot_be_written_to_is_an_error(tmp_path, capsys, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(doctor.folders, "settle", lambda *names: names and (_ for _ in ()).throw(ValueError("no room")))
    assert main(["doctor"]) == 2
    out, err = capsys.readouterr()
    assert "MISSING  store                  no room" in out and "before this is mended: store" in err
    assert "without  published shelf" in out


@pytest.mark.parametrize("there, works", [((3, 10), False), ((3, 11), True), ((3, 13), True), ((3, 14), False)])
def test_a_python_that_is_too_old_or_too_new_is_essential(monkeypatch, there, works):
    monkeypatch.setattr(sys, "version_info", (*there, 0, "final", 0))
    line = doctor.python()
    assert (
        line.works == works and line.essential and ("expected 3.11 or later, below 3.14" in line.words) == (not works)
    )


@pytest.mark.parametrize("number, part", [(10**9, "memory"), (10**9, "free disk")])
def test_little_room_is_said(monkeypatch, number, part):
    if part == "memory":
        monkeypatch.setattr(doctor.os, "sysconf", lambda name: 1 if name == "SC_PAGE_SIZE" else number)
        line = doctor.memory()
    else:
        monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _: type("Usage", (), dict(free=number)))
        line = doctor.disk()
    assert not line.works and not line.essential and "1.0 GB; " in line.words


@pytest.mark.parametrize(
    "lacking, said",
    [
        ((), "here, with torch-pruning 1."),
        (("torch_pruning",), "torch_pruning not here: plain nets only, layers that others are tied to are kept; pip"),
        (("plotly", "torch_pruning"), "plotly, torch_pruning not here: there is no report; pip install '.["),
    ],
)
def test_what_a_report_lacks_is_said_with_what_still_works(monkeypatch, lacking, said):
    found = doctor._found
    monkeypatch.setattr(doctor, "_found", lambda name: name not in lacking and found(name))
    line = doctor.report()
    assert line.works == (not lacking) and not line.essential and line.words.startswith(said)


@pytest.mark.parametrize("there", [True, False])
def test_a_torchvision_that_does_not_fit_its_torch_is_told(monkeypatch, there):
    monkeypatch.setattr(doctor, "_found", lambda name: True)
    monkeypatch.setitem(sys.modules, "torchvision", types.ModuleType("torchvision") if there else None)
    line = next(line for line in doctor.lines() if line.what == doctor.DOWNLOADS)
    assert line.works == there and not line.essential
    assert line.words == "here" or "torchvision does not fit this torch (" in line.words and "one index" in line.words


def test_a_report_that_cannot_be_drawn_is_refused_before_anything_is_measured(monkeypatch, tmp_path, capsys):
    found = doctor._found
    monkeypatch.setattr(doctor, "_found", lambda name: name != "plotly" and found(name))
    monkeypatch.setattr("pruning_lab.redundancy.report", lambda *_, **__: pytest.fail("it measured"))
    assert main(["report", "none:net", "--data", "digits", "-o", str(tmp_path / "r.html")]) == 2
    err = capsys.readouterr().err
    assert err.startswith("pruning_lab: a report cannot be drawn: plotly not here") and "pip install '.[report]'" in err


@pytest.mark.parametrize(
    "torch_s, pair",
    [
        ("2.13.0+cpu", ("torch==2.13.0", "'torchvision==0.28.*'")),
        ("2.11.1", ("torch==2.11.1", "'torchvision==0.26.*'")),
        ("3.0.0a0+git", ("torch==3.0.0a0", "'torchvision'")),
    ],
)  # fmt: skip
def test_torch_and_the_torchvision_that_fits_it_are_named(torch_s, pair):
    assert doctor._pair(torch_s) == pair
