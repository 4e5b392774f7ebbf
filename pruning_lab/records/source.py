"""What code an answer rests on: digests of what files say, a file's own and those of all that it imports."""

from __future__ import annotations

import ast
import hashlib
import inspect
import io
import linecache
import sys
import tokenize
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from . import texts
from .imports import closure, statements, tree
from .texts import is_file, look, of_texts, text


def digest(text: str, tree: ast.Module | None = None) -> str:
    """Digest of Python source, comments, docstrings and blank lines aside; the same under every Python version."""
    lines, inside = text.splitlines(), set()  # rows that end inside a string: blank ones among them are no layout
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        row, column = token.start
        if token.type == tokenize.COMMENT:
            lines[row - 1] = lines[row - 1][:column]
        elif token.type in (tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", None)):
            inside |= set(range(row, token.end[0]))
    for node in statements(tree or ast.parse(text)):
        if has_docstring(node):
            said = node.body[0]
            first, last = said.lineno, said.end_lineno
            before = lines[first - 1].encode()[: said.col_offset].decode()  # "def f():" where the body is on its line
            after = lines[last - 1].encode()[said.end_col_offset :].decode()
            lines[first - 1 : last] = [before + after] + [""] * (last - first)
            inside -= set(range(first, last + 1))
    return _hash("\n".join(line.rstrip() for row, line in enumerate(lines, 1) if line.strip() or row in inside))


def has_docstring(node: ast.AST) -> bool:
    """Whether a syntax node is a module, class or function whose body begins with a docstring."""
    documented = isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
    return documented and ast.get_docstring(node, clean=False) is not None


def state(code: Mapping[str, str]) -> str:
    """One digest for the digests of many files."""
    return _hash(repr(sorted(code.items())))


def differing(old: Mapping[str, str], new: Mapping[str, str]) -> str:
    """The names of the files that do not say the same: of those that both have, else of all; five at most."""
    names = sorted(k for k in old.keys() & new.keys() if old[k] != new[k]) or sorted(old.keys() ^ new.keys())
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def files_digest(folder: Path) -> str:
    """Digest of all Python files below a folder."""
    folder = folder.resolve()
    files = filter(texts.is_ours, texts.KEPT) if folder == texts.HERE else folder.rglob("*.py")
    return state({f.relative_to(folder).as_posix(): _file_digest(f) for f in files})


def code_of(kind: type, base: type) -> dict[str, str]:
    """Digests of the files that a class rests on, by name: its own and all that this imports, one after another.

    Files of this library are named without their ending, such as "masks.ranking"; others, such as a plugin's, with it.
    Of a class from a notebook or a script its methods count, and those of its parents up to `base`, under its own name.
    """
    look()
    return dict(_code_of(kind, base))


def plugin_digest(thing: type | Callable) -> str:
    """Digest of a class or function from outside this library: its source, and its module's with what that imports."""
    look()
    file = _file_of(thing)
    texts.keep([file] if file else [], thing.__module__)
    own = digest(inspect.cleandoc("\n" + _source(thing)))
    if file is None or thing.__module__ == "__main__":
        return own
    return _hash(own + state({name: d for name, d in _digests(file).items() if name.endswith(".py")}))


def is_ours(thing: type | Callable) -> bool:
    """Whether a class or function is this library's own."""
    return getattr(thing, "__module__", "").partition(".")[0] == __name__.partition(".")[0]


def load(plugin: str) -> None:
    """Import a module; its text and those of the files that it rests on are read before. Raises what it raises."""
    spec = None if plugin in sys.modules else find_spec(plugin)
    if spec and str(spec.origin).endswith(".py") and Path(spec.origin).is_file():  # not from an archive
        texts.keep(closure(Path(spec.origin).resolve()))
    import_module(plugin)
    look()


def keep(kind: type) -> None:
    """Read, while a class from outside this library is defined, the files that it rests on, for its digests."""
    file = None if is_ours(kind) else _file_of(kind)
    if file:
        texts.keep([file], kind.__module__)
        texts.keep(closure(file))
    look()


def see_unchanged(kind: type, plugins: bool) -> None:
    """See that no module that a class rests on, or a plug-in's, would load from another text than digests have.

    Raises:
        ValueError: a file changed on disk before its module was loaded.
    """
    file = _file_of(kind)
    files = {*(closure(file) if file else ()), *(f for f in texts.KEPT if plugins and not texts.is_ours(f))}
    if late := texts.late(files):
        why = "its record would name other code than what ran"
        raise ValueError(f"{', '.join(late)} changed on disk since this process began; start again: {why}")


@of_texts
def _code_of(kind: type, base: type) -> dict[str, str]:
    file = _file_of(kind)
    found = {} if file is None else _digests(file)
    if file is None or kind.__module__ == "__main__":
        found = {name: d for name, d in found.items() if file is None or name != texts.name(file)}
        found[kind.__name__] = _hash("".join(_methods(kind, base)))
    return found


@of_texts
def _digests(file: Path) -> dict[str, str]:
    return {texts.name(f): _file_digest(f) for f in closure(file)}


@of_texts
def _file_digest(file: Path) -> str:
    return digest(text(file), tree(file))


def _file_of(thing: type | Callable) -> Path | None:
    try:
        file = inspect.getsourcefile(thing)
    except (TypeError, OSError):
        return None
    return Path(file).resolve() if file and is_file(Path(file).resolve()) else None


def _source(thing: type | Callable) -> str:
    """The source of a class or function, as its file's kept text has it."""
    thing = inspect.unwrap(thing)
    if (file := _file_of(thing)) in texts.KEPT:
        said, name = text(file), inspect.getsourcefile(thing)
        # None: never looked for on disk
        linecache.cache[name] = len(said), None, io.StringIO(said).readlines(), name
    return inspect.getsource(thing)


def _methods(kind: type, base: type) -> Iterator[str]:
    methods = {n: m for k in reversed(kind.__mro__[: kind.__mro__.index(base)]) for n, m in vars(k).items()}
    for name, method in sorted(methods.items()):
        function = getattr(method, "fget", getattr(method, "__func__", method))
        if inspect.isfunction(function) and not name.startswith("__"):
            yield digest(inspect.cleandoc("\n" + _source(function)))


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]
