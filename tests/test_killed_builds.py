"""A build that is killed at any moment, and two at once: the next book is the same, byte for byte. All of it soaks."""

import os
import random
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parents[1]
KILLS = range(10)
# In every Python process of a build: what it does to files of the build is counted by the bytes of a file, and when
# there are as many as asked for the build is killed, be it in its own hands, those of a kernel or of jupyter-book.
COUNTS = """
import os, signal, sys
out, counter, at = os.environ["OUT"], os.environ["COUNTER"], int(os.environ["AT"])
build = int(os.environ.setdefault("BUILD", str(os.getpid())))
WRITES = os.O_WRONLY | os.O_RDWR
def hook(event, arguments):
    if event == "open" and not (isinstance(arguments[2], int) and arguments[2] & WRITES):
        return
    if event not in ("open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "shutil.rmtree", "os.chmod"):
        return
    if isinstance(arguments[0], (str, bytes, os.PathLike)) and os.fsdecode(arguments[0]).startswith(out):
        file = os.open(counter, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(file, b"x")
        if os.fstat(file).st_size == at:
            os.kill(build, signal.SIGKILL)
        os.close(file)
sys.addaudithook(hook)
"""
EXTENSION = "def setup(app):\n    app.add_config_value('lab_root', '', 'env')\n"  # all that a build asks of its book
BUILD = """
import sys
from pathlib import Path
from pruning_lab.publish import build, inputs
inputs.ROOT = Path(sys.argv[1])
whole = build.build
build.build = lambda *chosen: whole(*chosen, folder=sys.argv[2])
sys.exit(build.main(["--profile", "smoke"]))
"""
CONFIG = """
title: A book
logo: ""
only_build_toc_files: true
execute: {execute_notebooks: "off"}
repository: {url: ""}
sphinx: {extra_extensions: [lab_root], config: {html_last_updated_fmt: null}}
"""
CHAPTER = """from pathlib import Path
import os
place = Path(os.environ["PRUNING_LAB_STORE"]) / "Train" / "key"
place.mkdir(parents=True, exist_ok=True)
(place / "record.json").write_text("{}")
print("</script> and 'quotes'")"""


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """The sources of a book of one page and one chapter."""
    folder = tmp_path_factory.mktemp("sources")
    (folder / "book").mkdir()
    (folder / "book" / "intro.md").write_text("# A book\n\nA page.\n")
    tags = {"metadata": {"tags": ["parameters"]}}
    cells = [nbformat.v4.new_markdown_cell("# A chapter"), nbformat.v4.new_code_cell('profile = "laptop"', **tags)]
    spec = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    notebook = nbformat.v4.new_notebook(cells=[*cells, nbformat.v4.new_code_cell(CHAPTER)], metadata=spec)
    nbformat.write(notebook, folder / "book" / "01_a.ipynb")
    (folder / "_toc.yml").write_text("format: jb-book\nroot: book/intro\nchapters:\n- file: book/01_a\n")
    (folder / "_config.yml").write_text(CONFIG)
    (folder / "counts").mkdir()
    (folder / "counts" / "sitecustomize.py").write_text(COUNTS)
    (folder / "counts" / "lab_root.py").write_text(EXTENSION)
    return folder


def begin(sources, place, at=0, out="out"):
    """A build in a folder of its own, which is killed at its `at`-th file."""
    place.mkdir(exist_ok=True)
    told = {"PRUNING_LAB_STORE": "store", "PRUNING_LAB_RESULTS": "results", "PRUNING_LAB_DATA": "data"}
    told = {name: str(place / folder) for name, folder in told.items()} | {"OUT": str(place / out), "AT": str(at)}
    told |= {"COUNTER": str(place / f"counter-{at}"), "PRUNING_LAB_WORKERS": "1"}
    told |= {"PYTHONPATH": os.pathsep.join([str(sources / "counts"), str(ROOT)]), "PYTHONDONTWRITEBYTECODE": "1"}
    words = [sys.executable, "-c", BUILD, str(sources), str(place / out)]
    pipes = dict(stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return subprocess.Popen(words, cwd=sources, env=os.environ | told, **pipes)


def ended(process):
    said, _ = process.communicate()
    return process.returncode, said


def pages(place, out="out"):
    """Every file of a built book and its bytes, but for the seconds that the chapter took."""
    html = place / out / "html"
    files = [f for f in html.rglob("*") if f.is_file()]
    return {f.relative_to(html).as_posix(): re.sub(rb'"seconds": [0-9.]+', b"", f.read_bytes()) for f in files}


def is_same(found, right):
    other = sorted(name for name in found.keys() | right.keys() if found.get(name) != right.get(name))
    return bool(right) and not other or pytest.fail(f"other files than those of a build that nobody killed: {other}")


@pytest.fixture(scope="module")
def whole(sources, tmp_path_factory):
    """The book as built without a fault, and how many times a file was touched."""
    place = tmp_path_factory.mktemp("whole")
    code, said = ended(begin(sources, place))
    assert code == 0, said
    return pages(place), (place / "counter-0").stat().st_size


@pytest.mark.soak
@pytest.mark.parametrize("seed", KILLS)
def test_a_build_that_is_killed_is_built_again_to_the_same_book(sources, whole, tmp_path, seed):
    right, touched = whole
    at = random.Random(seed).randrange(1, touched)
    code, said = ended(begin(sources, tmp_path / "b", at))
    assert code == -signal.SIGKILL, said
    code, said = ended(begin(sources, tmp_path / "b"))
    assert code == 0, said
    assert is_same(pages(tmp_path / "b"), right)
    assert not list((tmp_path / "b" / "out" / "executed").glob(".*"))


@pytest.mark.soak
def test_a_built_book_outlives_a_build_that_is_killed_over_it(sources, whole, tmp_path):
    """What was changed is there after the next build, whatever the killed one had left."""
    right, touched = whole
    shutil.copytree(sources, tmp_path / "sources")
    assert ended(begin(tmp_path / "sources", tmp_path / "b"))[0] == 0
    (tmp_path / "sources" / "book" / "intro.md").write_text("# A book\n\nAnother page.\n")
    code, said = ended(begin(tmp_path / "sources", tmp_path / "b", touched // 2))
    assert code == -signal.SIGKILL, said
    shutil.copy(sources / "book" / "intro.md", tmp_path / "sources" / "book" / "intro.md")
    assert ended(begin(tmp_path / "sources", tmp_path / "b"))[0] == 0
    assert is_same(pages(tmp_path / "b"), right)


@pytest.mark.soak
@pytest.mark.parametrize("folders", [("out", "out"), ("out", "other")], ids=["one folder", "two folders"])
def test_two_builds_at_once_on_one_store_make_the_same_book(sources, whole, tmp_path, folders):
    two = [begin(sources, tmp_path / "b", out=out) for out in folders]
    for code, said in map(ended, two):
        assert code == 0, said
    for out in folders:
        assert is_same(pages(tmp_path / "b", out), whole[0])
