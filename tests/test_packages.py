"""The library as a package: what is in it, and what it does where there is no book."""

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from importlib.util import find_spec
from pathlib import Path

import nbformat
import pytest

from pruning_lab.environment import project

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "pruning_lab"
# In one process: what each command ends with, and all that it wrote on standard error.
COMMANDS = """
import contextlib, io, json, sys
import pruning_lab
from pruning_lab.__main__ import main
told = []
for words in json.loads(sys.argv[1]):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(words)
    told.append([code, out.getvalue(), err.getvalue()])
print(json.dumps([pruning_lab.__file__, told]))
"""
PLAN = """
from pruning_lab import Recipe, Train

experiments = [Train("digits", "mlp", Recipe(iterations=2), width=4, limit=40)]
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder that holds the package alone, as an installation leaves it."""
    folder = tmp_path_factory.mktemp("installed")
    shutil.copytree(PACKAGE, folder / "pruning_lab", ignore=shutil.ignore_patterns("__pycache__"))
    return folder


@pytest.fixture
def told(installed, tmp_path):
    """A function: commands in a folder without a book -> (exit code, output, errors) of each."""

    def run(*commands, here=tmp_path, **own):
        own = dict(PYTHONPATH=str(installed), PRUNING_LAB_STORE=str(tmp_path / "store"), OMP_NUM_THREADS="1") | own
        words = [sys.executable, "-c", COMMANDS, json.dumps(commands)]
        done = subprocess.run(words, env=os.environ | own, cwd=here, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        where, said = json.loads(done.stdout)
        assert Path(where).is_relative_to(installed)
        return said

    return run


def test_without_a_book_every_command_that_needs_it_says_so_in_a_sentence(told, installed, tmp_path):
    before = sorted(installed.rglob("[!_]*"))
    publish = ["publish", "01", "--profile", "night"]
    needing = [["list"], ["plan", "01"], ["run", "01"], ["sweep", "01"], publish, ["unpublish"], ["certify"]]
    needing += [["verify"], ["build"]]
    for words, (code, out, err) in zip(needing, told(*needing, PRUNING_LAB_REPOSITORY="https://a.org/b"), strict=True):
        assert code == 2 and not out and err.startswith("pruning_lab: ") and err.count("\n") == 1, (words, out, err)
        assert "needs the book" in err and "git clone https://a.org/b, or unpack" in err, (words, err)
    assert sorted(installed.rglob("[!_]*")) == before and not list(tmp_path.iterdir())


def test_without_a_book_notebooks_of_one_s_own_shelves_and_all_else_work(told, tmp_path):
    cells = [nbformat.v4.new_code_cell(text, metadata={"tags": [tag]}) for tag, text in
             (("parameters", 'profile = "laptop"'), ("plan", PLAN))]  # fmt: skip
    nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "mine.ipynb")
    commands = [["sweep", "mine.ipynb"], ["unpublish", "mine.ipynb", "--profile", "night"], ["doctor"], ["clean"]]
    (swept, _, _), (unpublished, said, _), (_, doctor, _), (cleaned, _, _) = told(
        *commands, PRUNING_LAB_RESULTS=str(tmp_path / "results")
    )
    assert swept == unpublished == cleaned == 0 and said.startswith("0 records taken")
    assert len(list((tmp_path / "store" / "Train").iterdir())) == 1
    [line] = [line for line in doctor.splitlines() if "chapters and claims" in line]
    assert line.startswith("without ") and "needs the book" in line


def test_the_book_is_that_around_the_package_else_that_around_the_current_folder(tmp_path, monkeypatch):
    module = sys.modules[project.__module__]
    assert project() == PACKAGE.parent
    monkeypatch.setattr(module, "__file__", str(tmp_path / "site" / "pruning_lab" / "environment" / "project.py"))
    for name in module.MARKS:
        (tmp_path / "own" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "own" / name).touch()
    (tmp_path / "site").mkdir()
    for here, found in (("own/book", tmp_path / "own"), ("own", tmp_path / "own"), ("site", None)):
        monkeypatch.chdir(tmp_path / here)
        project.cache_clear()
        try:
            assert project() == found, here
        finally:
            project.cache_clear()


def test_a_folder_that_was_removed_has_no_book(tmp_path, monkeypatch):
    module = sys.modules[project.__module__]
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert module._candidates() == [PACKAGE.parent]


def test_all_that_the_package_needs_goes_into_it():
    """Every folder of Python files is found as a package, and every other file is named as the package's data."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    assert settings["packages"]["find"]["include"] == ["pruning_lab*"]
    files = [path for path in PACKAGE.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    assert {path.parent for path in files if path.suffix == ".py"} == {
        path.parent for path in PACKAGE.rglob("__init__.py")
    }
    data = {path for pattern in settings["package-data"]["pruning_lab"] for path in PACKAGE.glob(pattern)}
    assert data == {path for path in files if path.suffix != ".py"} and len(data) > 3


def test_all_places_name_the_same_version():
    import pruning_lab

    cited = re.search(r"^version: (.+)$", (ROOT / "CITATION.cff").read_text(encoding="utf-8"), re.M)[1]
    packaged = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    assert cited == packaged == pruning_lab.__version__


def tracked(*folders):
    """The files of the project that git has below folders."""
    said = subprocess.run(["git", "ls-files", *folders], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(said.stdout.split())


@pytest.mark.soak
def test_the_wheel_is_the_library_alone_and_the_source_archive_the_whole_project(tmp_path, require):
    require("setuptools", bool(find_spec("setuptools")), "there is no setuptools to build packages with")
    source = tmp_path / "source"
    for name in tracked():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, source / name)
    code = "from setuptools import build_meta as b; b.build_wheel('..'); b.build_sdist('..')"
    subprocess.run([sys.executable, "-c", code], cwd=source, capture_output=True, check=True)
    [wheel], [archive] = tmp_path.glob("*.whl"), tmp_path.glob("*.tar.gz")
    inside = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert inside == tracked("pruning_lab")
    with tarfile.open(archive) as packed:
        names = {name.partition("/")[2] for name in packed.getnames()}
    assert tracked() <= names
