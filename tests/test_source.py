"""Digests of code: what a file says and what it imports, comments and layout aside."""

import importlib.util
import sys
from pathlib import Path

import pytest

from pruning_lab import Train, source
from pruning_lab.experiment import Experiment

CODE = '''"""A module."""
import os  # the system

LONG = """first

third"""


def f(x):
    """What it gives."""
    # why
    return x + 1


class A:
    """What it is."""

    y = "# no comment"
'''


@pytest.mark.parametrize(
    "old, new",
    [
        ('"""A module."""', '"""Another\n\nmodule."""'),
        ("  # the system", ""),
        ("    # why\n", ""),
        ("    # why\n", "\n\n  # other\n"),
        ('    """What it gives."""\n', ""),
        ('"""What it is."""', "'What it was.'"),
        ("\n\n\nclass", "\nclass"),
    ],
)
def test_comments_docstrings_and_blank_lines_do_not_change_the_digest(old, new):
    assert source.digest(CODE.replace(old, new)) == source.digest(CODE) and CODE.replace(old, new) != CODE


@pytest.mark.parametrize(
    "old, new",
    [
        ("x + 1", "x + 2"),
        ("# no comment", "# a comment"),
        ("first\n\nthird", "first\nthird"),
        ("x + 1\n", "x + 1\n    x = 2\n"),
        ("import os", "import re"),
        ('    y = "', '    """no docstring"""; y = "'),
    ],
)
def test_code_changes_the_digest(old, new):
    assert source.digest(CODE.replace(old, new)) != source.digest(CODE)


def test_a_body_on_the_docstring_s_line_counts():
    assert source.digest('def f(): "doc"; return 1') != source.digest('def f(): "doc"; return 2')
    assert source.digest('def f(): "doc"; return 1') == source.digest('def f(): "other"; return 1')
    assert source.digest('class A: "doc"') != source.digest('class B: "doc"')


def test_the_digest_of_a_folder_sees_all_its_files(tmp_path):
    (tmp_path / "inner").mkdir()
    inner, digests = tmp_path / "inner" / "b.py", []
    (tmp_path / "a.py").write_text("x = 1\n")
    for text in ("y = 1\n", "y = 1  # why\n", "y = 2\n"):
        inner.write_text(text)
        source._file_digest.cache_clear()
        digests.append(source.files_digest(tmp_path))
    inner.rename(tmp_path / "inner" / "c.py")
    digests.append(source.files_digest(tmp_path))
    assert digests[0] == digests[1] and len(set(digests)) == 3


# what a file imports

LIBRARY = {
    "lib/__init__.py": "from .a import f\nfrom . import b\n",
    "lib/a.py": "import json\nfrom . import b as other\n\ndef f():\n    from .deep import inner\n",
    "lib/b.py": "from lib.c import *\n",
    "lib/c.py": "x = 1\n",
    "lib/d.py": "from lib import f\nimport numpy.linalg\n",
    "lib/e.py": "import lib\n",
    "lib/deep/__init__.py": "from .inner import g\nfrom .outer import h\n",
    "lib/deep/inner.py": "from ..c import x\n",
    "lib/deep/outer.py": "from .. import d\n",
    "lib/own.py": "from . import own, missing\n",
    "plug/mine.py": "from lib.deep import g\nimport helper\nimport yours.net\n",
    "plug/helper.py": "import mine\n",
    "plug/yours/__init__.py": "",
    "plug/yours/net.py": "from . import parts\n",
    "plug/yours/parts.py": "from lib.b import x\n",
}


@pytest.fixture
def tree(tmp_path):
    """A small library with packages, and a plugin beside it."""
    for name, text in LIBRARY.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path.resolve()


@pytest.mark.parametrize(
    "file, found",
    [
        ("lib/c.py", "lib/c.py"),
        ("lib/b.py", "lib/b.py lib/c.py"),
        ("lib/a.py", "lib/a.py lib/b.py lib/c.py lib/deep/inner.py"),
        ("lib/d.py", "lib/d.py lib/a.py lib/b.py lib/c.py lib/deep/inner.py"),  # through the package to where f comes from
        ("lib/e.py", "lib/e.py lib/__init__.py lib/a.py lib/b.py lib/c.py lib/deep/inner.py"),
        ("lib/deep/outer.py", "lib/deep/outer.py lib/d.py lib/a.py lib/b.py lib/c.py lib/deep/inner.py"),
        ("lib/own.py", "lib/own.py lib/__init__.py lib/a.py lib/b.py lib/c.py lib/deep/inner.py"),
        ("plug/mine.py", "plug/mine.py plug/helper.py plug/yours/net.py plug/yours/parts.py lib/deep/inner.py lib/c.py lib/b.py"),
    ],
)
def test_a_file_rests_on_all_that_it_imports_and_on_nothing_else(tree, file, found):
    assert source.closure(tree / file, tree / "lib") == {tree / name for name in found.split()}


def test_an_installed_plugin_is_followed_into_itself_alone(tree, monkeypatch):
    monkeypatch.setattr(source, "NOT_FOLLOWED", {tree / "plug"})
    assert source.closure(tree / "plug/yours/net.py", tree / "lib") == {
        tree / f for f in ("plug/yours/net.py", "plug/yours/parts.py", "lib/b.py", "lib/c.py")
    }


def test_code_of_a_class_has_helpers_of_its_module_and_those_of_what_it_imports():
    code = source.code_of(Train, Experiment)
    assert {"experiments.train", "train", "data", "architectures", "checkpoint", "store"} <= code.keys() and "masks" not in code
    assert code["train"] == source.digest((source.PACKAGE / "train.py").read_text(encoding="utf-8"))


def module(tmp_path, monkeypatch, text, name="plug_of_mine"):
    """A module of one's own, imported from a file."""
    file = tmp_path / f"{name}.py"
    file.write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    spec = importlib.util.spec_from_file_location(name, file)
    found = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, found)
    for cached in (source._tree, source._names, source._file_digest, source._digests, source.closure):
        cached.cache_clear()
    import linecache

    linecache.checkcache()
    spec.loader.exec_module(found)
    return found


def test_the_digest_of_a_plugin_sees_what_its_module_says_and_imports(tmp_path, monkeypatch):
    text = "import beside\n\ndef scale(w):\n    return 2 * w\n\ndef mine(weight):\n    return scale(weight)\n"
    texts = [text, text.replace("2 * w", "3 * w"), text.replace("scale(weight)", "scale(weight) + 1"), text + "# a comment\n"]
    digests = []
    for k, words in enumerate((*texts, text)):
        (tmp_path / "beside.py").write_text("x = 1\n" if k < 4 else "x = 2\n")
        digests.append(source.plugin_digest(module(tmp_path, monkeypatch, words).mine))
    assert digests[0] == digests[3] and len(set(digests)) == 4
    assert not source.is_ours(sys.modules["plug_of_mine"].mine) and source.is_ours(Train)


def test_of_a_class_from_a_notebook_its_methods_count(monkeypatch):
    kinds = {}
    for name, number in (("First", 1), ("Second", 2)):
        kind = type(name, (Experiment,), dict(compute=first if number == 1 else second, __module__="__main__"))
        kinds[name] = source.code_of(kind, Experiment)
    own = kinds["First"].pop("First"), kinds["Second"].pop("Second")
    assert own[0] != own[1] and kinds["First"] == kinds["Second"]  # what the notebook or script imports is the same


def first(self):
    return 1


def second(self):
    return 2


def test_the_source_of_every_file_of_the_library_can_be_read():
    files = sorted(source.PACKAGE.rglob("*.py"))
    assert len({source.name_in(f, source.PACKAGE) for f in files}) == len(files) > 80
    assert all(Path(f).is_file() for file in files for f in source.closure(file.resolve()))


def test_what_has_no_file_has_no_source_file():
    assert source._file_of(int) is None and source._file_of(type("Made", (), dict(__module__="nowhere"))) is None
