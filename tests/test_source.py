"""Digests of code: what a file says and what it imports, comments and layout aside."""

import ast
import importlib
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pruning_lab import Train
from pruning_lab.records import imports, source, texts
from pruning_lab.records.experiment import Experiment

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
        texts.forget()
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
    "plug/theirs/__init__.py": "import helper\nfrom . import net\n\nnet.SCALE = 2\n",
    "plug/theirs/net.py": "SCALE = 1\n",
    "plug/theirs/deep/__init__.py": '"""Says nothing."""  # at all\n',
    "plug/theirs/deep/inner.py": "import lib.c\n",
    "plug/reads.py": "import theirs.deep.inner\n",
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
        # through the package to where f comes from
        ("lib/d.py", "lib/d.py lib/a.py lib/b.py lib/c.py lib/deep/inner.py"),
        ("lib/e.py", "lib/e.py lib/__init__.py lib/a.py lib/b.py lib/c.py lib/deep/inner.py"),
        ("lib/deep/outer.py", "lib/deep/outer.py lib/d.py lib/a.py lib/b.py lib/c.py lib/deep/inner.py"),
        ("lib/own.py", "lib/own.py lib/__init__.py lib/a.py lib/b.py lib/c.py lib/deep/inner.py"),
        ("plug/mine.py",
         "plug/mine.py plug/helper.py plug/yours/net.py plug/yours/parts.py lib/deep/inner.py lib/c.py lib/b.py"),
        ("plug/theirs/net.py",
         "plug/theirs/net.py plug/theirs/__init__.py plug/helper.py plug/mine.py plug/yours/net.py"
         " plug/yours/parts.py lib/deep/inner.py lib/c.py lib/b.py"),
        ("plug/reads.py",
         "plug/reads.py plug/theirs/deep/inner.py plug/theirs/net.py plug/theirs/__init__.py plug/helper.py "
         "plug/mine.py plug/yours/net.py plug/yours/parts.py lib/deep/inner.py lib/c.py lib/b.py"),
    ],
)  # fmt: skip
def test_a_file_rests_on_all_that_it_imports_and_on_nothing_else(tree, file, found):
    assert imports.closure(tree / file, tree / "lib") == {tree / name for name in found.split()}


def test_an_installed_plugin_is_followed_into_itself_alone(tree, monkeypatch):
    monkeypatch.setattr(imports, "NOT_FOLLOWED", {tree / "plug"})
    assert imports.closure(tree / "plug/yours/net.py", tree / "lib") == {
        tree / f for f in ("plug/yours/net.py", "plug/yours/parts.py", "lib/b.py", "lib/c.py")
    }


def test_code_of_a_class_has_helpers_of_its_module_and_those_of_what_it_imports():
    code = source.code_of(Train, Experiment)
    rooms = {"experiments.train", "training.fit", "data", "nets.architectures", "training.checkpoint", "records.store"}
    assert rooms <= code.keys() and "masks" not in code
    assert code["training.fit"] == source.digest((texts.PACKAGE / "training" / "fit.py").read_text(encoding="utf-8"))


def module(tmp_path, monkeypatch, text, name="plug_of_mine"):
    """A module of one's own, imported from a file."""
    file = tmp_path / f"{name}.py"
    file.write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    spec = importlib.util.spec_from_file_location(name, file)
    found = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, found)
    texts.forget()
    import linecache

    linecache.checkcache()
    spec.loader.exec_module(found)
    return found


def test_the_digest_of_a_plugin_sees_what_its_module_says_and_imports(tmp_path, monkeypatch):
    text = "import beside\n\ndef scale(w):\n    return 2 * w\n\ndef mine(weight):\n    return scale(weight)\n"
    texts = [
        text,
        text.replace("2 * w", "3 * w"),
        text.replace("scale(weight)", "scale(weight) + 1"),
        text + "# a comment\n",
    ]
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
    files = sorted(texts.PACKAGE.rglob("*.py"))
    assert len({texts.name_in(f, texts.PACKAGE) for f in files}) == len(files) > 80
    assert all(Path(f).is_file() for file in files for f in imports.closure(file.resolve()))


def test_what_has_no_file_has_no_source_file():
    assert source._file_of(int) is None and source._file_of(type("Made", (), dict(__module__="nowhere"))) is None


# what a package's own file says


@pytest.mark.parametrize("init", sorted(texts.PACKAGE.rglob("__init__.py")), ids=lambda f: f.parent.name)
def test_a_package_of_the_library_holds_nothing_that_answers_rest_on(init):
    """What takes a name from a package rests on the module where that comes from, and not on the package's own file."""
    for node in ast.parse(init.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            _gives_no_module_s_name_to_something_else(node, init.parent)
        elif isinstance(node, ast.Assign):
            assert [ast.unparse(t) for t in node.targets] in (["__all__"], ["__version__"]) and ast.literal_eval(
                node.value
            )
        elif not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):
            assert ast.unparse(node) in ("_load(environment.plugins())", "_watch()")


def _gives_no_module_s_name_to_something_else(node, folder):
    modules = {f.stem for f in folder.glob("*.py")} | {f.name for f in folder.iterdir() if f.is_dir()}
    for alias in node.names:
        name = alias.asname or alias.name
        its_file = isinstance(node, ast.ImportFrom) and node.level == 1 and (node.module or alias.name) == name
        assert alias.name != "*" and (its_file or name not in modules), ast.unparse(node)


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """Writes files of plug-ins, by name without ending, `__` for a folder's bar; they can be imported until the test
    ends.
    """
    before = set(sys.modules)

    def write(folder=tmp_path, **files):
        monkeypatch.syspath_prepend(str(folder))
        for name, text in files.items():
            file = folder / f"{name.replace('__', '/')}.py"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        for name in set(sys.modules) - before:
            del sys.modules[name]

    yield write
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_the_digest_of_a_plugin_s_package_sees_its_own_file(tmp_path, plugin):
    net, digests = "import pack\n\ndef mine(weight):\n    return pack.SCALE * weight\n", set()
    for k, text in enumerate(("SCALE = 2\n", "SCALE = 3\n", "SCALE = 3\nimport pack_beside\n", "")):
        plugin(tmp_path / str(k), pack__net=net, pack_beside="x = 1\n")
        (tmp_path / str(k) / "pack" / "__init__.py").write_text(text)
        source.load("pack.net")
        digests.add(source.plugin_digest(sys.modules["pack.net"].mine))
    assert len(digests) == 4


# what changes on disk while a process runs

WEIGHED = "import {name}_beside\n\ndef mine(weight):\n    return {name}_beside.scale(weight)\n"
BESIDE = "def scale(weight):\n    return 2 * weight\n"


@pytest.mark.parametrize("edited", ["", "_beside"])
def test_a_plugin_edited_after_it_was_loaded_keeps_its_digest_until_it_is_loaded_anew(tmp_path, plugin, edited):
    name = f"edited{edited}"
    plugin(**{name: WEIGHED.format(name=name), f"{name}_beside": BESIDE})
    source.load(name)
    file, old = tmp_path / f"{name}{edited}.py", (tmp_path / f"{name}{edited}.py").read_text()
    file.write_text(f"x = 1\n{old.replace('weight', 'w')}")
    first = source.plugin_digest(sys.modules[name].mine)
    file.write_text(old)
    importlib.reload(sys.modules[f"{name}{edited}"])
    assert source.plugin_digest(sys.modules[name].mine) == first
    file.write_text(f"x = 1\n{old.replace('weight', 'w')}")
    assert source.plugin_digest(sys.modules[name].mine) == first
    importlib.reload(sys.modules[f"{name}{edited}"])
    assert source.plugin_digest(sys.modules[name].mine) != first


def test_a_plugin_that_is_gone_from_the_disk_keeps_its_digest(tmp_path, plugin):
    plugin(gone=WEIGHED.format(name="gone"), gone_beside=BESIDE)
    source.load("gone")
    first = source.plugin_digest(sys.modules["gone"].mine)
    for file in tmp_path.glob("gone*.py"):
        file.unlink()
    texts.forget()
    assert source.plugin_digest(sys.modules["gone"].mine) == first


def test_a_class_rests_on_what_its_file_said_when_it_was_defined(tmp_path, plugin):
    text = (
        "from pruning_lab.records.experiment import Experiment\n\nclass Own(Experiment):\n    def compute(self):\n"
        "        return 1\n"
    )
    plugin(defined=text)
    kind = importlib.import_module("defined").Own
    (tmp_path / "defined.py").write_text(text.replace("return 1", "return 2"))
    assert source.code_of(kind, Experiment)["defined.py"] == source.digest(text)


def test_a_plugin_that_there_is_not_or_that_is_broken_is_named(plugin):
    with pytest.raises(ModuleNotFoundError, match="no_such_plugin"):
        source.load("no_such_plugin")
    plugin(broken="def f(:\n")
    with pytest.raises(SyntaxError, match="broken.py"):
        source.load("broken")
    source.load("sys")
    source.load("pytest")


COPY = """
import pathlib, sys
import pruning_lab
from pruning_lab import Recipe, Train
from pruning_lab.records import source
package = pathlib.Path(pruning_lab.__file__).parent
assert package.parent == pathlib.Path(sys.argv[1])
net = lambda seed: Train("digits", "mlp", Recipe(epochs=1), seed, width=4, limit=40)

def write(name, text):
    (package / f"{name}.py").write_text(text)
"""
EDITED = """
train = (package / "training" / "fit.py").read_text()
write("training/fit", train + "\\nMORE = 1\\n")
(package / "metrics" / "curves.py").unlink()
meta = pruning_lab.run(net(0)).meta
assert meta["code"]["training.fit"] == source.digest(train) and meta["library"] == sys.argv[2], meta
assert net(0).code()["training.fit"] == source.digest(train)
"""
LATE = """
def refused(seed, name):
    try:
        pruning_lab.run(net(seed))
    except ValueError as error:
        assert f"{name} changed on disk since this process began; start again" in str(error), error
        return pruning_lab.find(net(seed)) is None
    return False

write("late", "VALUE = 2\\n")
assert refused(0, "late")
write("late", "VALUE = 1\\n")
pruning_lab.run(net(0))
write("late", "VALUE = 2\\n")
# it is loaded: what runs is the old one
assert pruning_lab.run(net(1)).meta["code"]["late"] == source.digest("VALUE = 1\\n")
(package / "later.py").unlink()
assert refused(2, "later")
write("later", "VALUE = 2\\n")
from pruning_lab import later
assert refused(2, "later")
"""


@pytest.mark.parametrize("words", [EDITED, LATE], ids=["edited", "late"])
def test_a_record_never_names_other_code_than_what_ran(tmp_path, words):
    tmp_path = tmp_path.resolve()
    shutil.copytree(texts.PACKAGE, tmp_path / "pruning_lab", ignore=shutil.ignore_patterns("__pycache__"))
    if words is LATE:
        file, head = tmp_path / "pruning_lab" / "experiments" / "train.py", "    def compute(self) -> Result:\n"
        assert file.read_text().count(head) == 1
        file.write_text(file.read_text().replace(
            head,
            f"{head}        from .. import late\n        if self.seed == 2:\n            from .. import later\n",
        ))  # fmt: skip
        for name in ("late", "later"):
            (tmp_path / "pruning_lab" / f"{name}.py").write_text("VALUE = 1\n")
    more = dict(
        PYTHONPATH=str(tmp_path),
        PRUNING_LAB_STORE=str(tmp_path / "store"),
        PRUNING_LAB_RESULTS=str(tmp_path / "results"),
    )
    command = [sys.executable, "-c", COPY + words, str(tmp_path), source.files_digest(texts.PACKAGE)]
    done = subprocess.run(command, env=os.environ | more, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]


def test_a_file_that_changes_or_goes_before_its_module_is_loaded_is_named(tmp_path, monkeypatch):
    file = tmp_path.resolve() / "seldom.py"
    file.write_text("VALUE = 1\n")
    monkeypatch.setitem(texts.KEPT, file, texts.Kept(file.read_text(), "seldom"))
    source.see_unchanged(Train, plugins=True)
    for change in (lambda: file.write_text("VALUE = 2\n"), lambda: file.write_bytes(b"\xff"), file.unlink):
        change()
        with pytest.raises(ValueError, match="seldom.py changed on disk since this process began; start again"):
            source.see_unchanged(Train, plugins=True)
    source.see_unchanged(Train, plugins=False)


WHILE = """
import pathlib
from pruning_lab import unit_criterion

file = pathlib.Path("seldom.py")

@unit_criterion
def by_seldom(weight):
    file.write_text("VALUE = 2\\n")
    import seldom
    return seldom.VALUE * weight.flatten(1).norm(dim=1)
"""


def test_a_plugin_s_file_that_changes_while_its_criterion_computes_makes_no_record(tmp_path):
    (tmp_path / "mine.py").write_text(WHILE)
    (tmp_path / "seldom.py").write_text("VALUE = 1\n")
    code = """
from pruning_lab import Recipe, Train, UnitCurve, find, run
e = UnitCurve(Train("digits", "mlp", Recipe(epochs=1), width=4, limit=40), "fc1", ("by_seldom",), test_images=20)
try:
    run(e)
except ValueError as error:
    assert "seldom.py changed on disk since this process began; start again" in str(error), error
    raise SystemExit(find(e) is not None)
raise SystemExit("a record was made")
"""
    more = dict(PYTHONPATH=os.pathsep.join([str(texts.PACKAGE.parent), str(tmp_path)]), PRUNING_LAB_PLUGINS="mine")
    more |= dict(PRUNING_LAB_STORE=str(tmp_path / "store"), PRUNING_LAB_RESULTS=str(tmp_path / "results"))
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | more, cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
