"""Settings that name no folder, or no number: one sentence, before anything is done. And tests see none of the
user's.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from pruning_lab import environment
from pruning_lab.__main__ import main
from pruning_lab.publish import build, pages
from pruning_lab.running import folders

ROOT = Path(__file__).resolve().parents[1]
NAMES = ["PRUNING_LAB_STORE", "PRUNING_LAB_RESULTS", "PRUNING_LAB_DATA"]
COMMANDS = [
    ["list"],
    ["plan", "01"],
    ["sweep", "01", "--profile", "smoke"],
    ["run", "01"],
    ["clean"],
    ["unpack", "x.zip"],
]


@pytest.fixture
def wrong(tmp_path):
    """Paths that are no folder and cannot become one."""
    (tmp_path / "file").write_text("mine")
    (tmp_path / "nowhere").symlink_to(tmp_path / "gone")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    below = [str(tmp_path / name) for name in ("file", "file/below", "nowhere", "loop", "loop/below", "n" * 300)]
    return [*below, " ", "~nosuchuser/x", "/dev/null"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_setting_that_names_no_folder_is_one_line(name, words, wrong, monkeypatch, capsys, tmp_path):
    for text in wrong:
        monkeypatch.setenv(name, text)
        assert main(words) == 2, text
        out, err = capsys.readouterr()
        assert (
            err.startswith(f"pruning_lab: {name}={text!r} is no folder: name one")
            and err.count("\n") == 1
            and out == ""
        )
    assert (tmp_path / "file").read_text() == "mine" and not (tmp_path / "gone").exists()


def test_the_build_of_the_book_says_it_too(wrong, monkeypatch, capsys):
    monkeypatch.setenv("PRUNING_LAB_STORE", wrong[0])
    assert build.main(["--profile", "smoke"]) == 1
    out, err = capsys.readouterr()
    assert err.startswith(f"PRUNING_LAB_STORE={wrong[0]!r} is no folder") and err.count("\n") == 1 and out == ""


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("text, why", [
    (" ~/x", "begins or ends with a space"), ("x\n", "begins or ends with a space"),
    ("$HOME/x", "has a variable"), ("x/${USER}", "has a variable"), ("file:///x", "is an address"),
    ("s3://x/y", "is an address"),
])  # fmt: skip
def test_what_only_looks_like_a_path_makes_no_folder(name, text, why, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(name, text)
    assert main(["plan", "01"]) == 2
    assert f"{name}={text!r} {why}" in capsys.readouterr().err
    places = dict(
        zip(NAMES, (environment.local_shelf, environment.published_shelf, environment.data_root), strict=True)
    )
    with pytest.raises(ValueError, match=re.escape(f"{name}={text!r} {why}")):
        places[name]()
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("name", NAMES)
def test_a_relative_path_and_a_home_are_made_absolute_and_an_empty_one_is_none(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for text, means in (
        ("x/y", tmp_path / "x/y"),
        ("~/x", tmp_path / "home/x"),
        (".", tmp_path),
        (str(tmp_path), tmp_path),
    ):
        monkeypatch.setenv(name, text)
        folders.settle()
        assert os.environ[name] == str(means)
    monkeypatch.setenv(name, "")
    folders.settle()
    assert os.environ[name] == "" and environment.local_shelf().is_absolute()
    assert not [p for p in tmp_path.iterdir() if p.name in ("~", "x", "home")]  # nothing is made by looking


def test_the_environment_s_folders_are_where_the_command_begins(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PRUNING_LAB_STORE", "mine")
    assert main(["clean"]) == 0 and environment.local_shelf() == tmp_path / "mine"


@pytest.mark.parametrize("words, name", [
    (["sweep", "01", "--profile", "smoke"], "PRUNING_LAB_STORE"), (["run", "01"], "PRUNING_LAB_STORE"),
    (["unpack", "x.zip"], "PRUNING_LAB_STORE"), (["publish", "01", "--profile", "night"], "PRUNING_LAB_RESULTS"),
], ids=str)  # fmt: skip
def test_a_folder_that_cannot_be_written_to_is_one_line_where_it_would_be(words, name, tmp_path, monkeypatch, capsys):
    def refused(*_, dir, **__):
        raise PermissionError(13, "Permission denied", str(dir))

    monkeypatch.setenv(name, str(tmp_path / "shelf"))
    # a test may be root's, to whom nothing is forbidden
    monkeypatch.setattr(folders.tempfile, "TemporaryFile", refused)
    assert main(words) == 2
    err = capsys.readouterr().err
    assert err == (
        f"pruning_lab: {name}: nothing can be written to {tmp_path / 'shelf'} (Permission denied); "
        "name another folder\n"
    )
    assert main(["clean"]) == 0 and not (tmp_path / "shelf").exists()  # what only reads goes on


@pytest.mark.skipif(os.geteuid() == 0, reason="to root nothing is forbidden")
def test_a_folder_without_rights_is_refused(tmp_path, monkeypatch, capsys):
    tmp_path.chmod(0o500)
    monkeypatch.setenv("PRUNING_LAB_STORE", str(tmp_path / "shelf"))
    assert main(["sweep", "01", "--profile", "smoke"]) == 2
    assert "nothing can be written to" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["0", "-1", "many", "2.5", "²", " 2", "1e3"])
def test_a_number_of_workers_that_is_none_is_one_line(text, monkeypatch, capsys):
    monkeypatch.setenv("PRUNING_LAB_WORKERS", text)
    for words in COMMANDS:
        assert main(words) == 2
        err = capsys.readouterr().err
        assert err == f"pruning_lab: PRUNING_LAB_WORKERS={text!r}: expected a number of worker processes, at least 1\n"


@pytest.mark.parametrize("name, wrong", [("WORKERS", "999999999"), ("DEVICE", "meta"), ("DEVICE", "abacus")])
def test_a_setting_that_no_machine_can_follow_is_one_line_of_every_command(name, wrong, monkeypatch, capsys):
    monkeypatch.setenv(f"PRUNING_LAB_{name}", wrong)
    for words in COMMANDS:
        assert main(words) == 2
        err = capsys.readouterr().err
        assert err.startswith(f"pruning_lab: PRUNING_LAB_{name}={wrong!r}") and err.count("\n") == 1


def test_a_user_without_a_home_is_told_which_settings_to_make(monkeypatch, capsys, tmp_path):
    def homeless():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", homeless)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("PRUNING_LAB_STORE")
    monkeypatch.setenv("PRUNING_LAB_DATA", str(tmp_path))
    assert main(["list"]) == 2
    err = capsys.readouterr().err
    assert "set PRUNING_LAB_STORE and PRUNING_LAB_DATA to folders of yours" in err and err.count("\n") == 1
    monkeypatch.setenv("PRUNING_LAB_STORE", str(tmp_path))
    folders.settle("PRUNING_LAB_STORE")
    assert main(["clean"]) == 0 and "data                0.0 MB" in capsys.readouterr().out
    (tmp_path / "page.html").write_text("no path of any machine")
    assert pages.machine_paths(tmp_path) == []


@pytest.mark.parametrize(
    "words",
    [
        *[[command, "01", f"--workers={text}"] for command in ("plan", "sweep")
          for text in ("0", "-1", "2.5", "x", "", "9" * 400, "²", "1e3", "1025")],
        *[["sweep", "01", f"--budget={text}"] for text in ("0", "-1", "nan", "inf", "1e300", "x", "", "9" * 400,
                                                           "1e-400", "31622401")],
        *[["certify", f"--spot={text}"] for text in ("-1", "2.5", "x", "9" * 400)],
    ],
    ids=lambda words: " ".join(words)[:40],
)  # fmt: skip
def test_numbers_of_the_command_line_have_a_range(words, capsys):
    with pytest.raises(SystemExit) as caught:
        main(words)
    said = capsys.readouterr().err.splitlines()[-1]
    assert caught.value.code == 2 and ": expected a number of " in said and len(said) < 250


# Tests see no settings of the user's


def test_tests_see_no_setting_of_the_user_s():
    ours = {name for name in os.environ if name.startswith("PRUNING_LAB_")}
    assert ours <= {"PRUNING_LAB_STORE", "PRUNING_LAB_DATA", "PRUNING_LAB_REQUIRE"}
    assert re.search(r"store\d*$", os.environ["PRUNING_LAB_STORE"])


def test_tests_run_alike_whatever_the_user_has_set(tmp_path):
    odd = dict.fromkeys(("STORE", "RESULTS"), "/etc/passwd") | dict(
        WORKERS="many", DEVICE="abacus", PLUGINS="nosuch", CLUSTER="tcp://x:1"
    )
    more = {f"PRUNING_LAB_{name}": text for name, text in odd.items()} | dict(
        PRUNING_LAB_DATA=str(tmp_path), PYTHONPATH=str(ROOT)
    )
    test = "tests/test_folders.py::test_tests_see_no_setting_of_the_user_s"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", test]
    done = subprocess.run(command, env=os.environ | more, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and "1 passed" in done.stdout, done.stdout
