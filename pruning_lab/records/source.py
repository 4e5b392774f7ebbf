"""What code an answer rests on: the files that a file imports, read from their text, and the digests of what they say.

Digests are of the code that runs. So the texts of the library are read once, when this module is imported, and those of
plug-ins when they are; a file that changes on disk later changes no digest, unless its module is loaded anew.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import io
import linecache
import sys
import sysconfig
import tokenize
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).parents[1]
_HERE = PACKAGE.resolve()
NOT_FOLLOWED = {Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "purelib", "platlib")}


def digest(text: str) -> str:
    """Digest of Python source, comments, docstrings and blank lines aside; the same under every Python version."""
    lines, inside = text.splitlines(), set()  # rows that end inside a string: blank ones among them are no layout
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        row, column = token.start
        if token.type == tokenize.COMMENT:
            lines[row - 1] = lines[row - 1][:column]
        elif token.type in (tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", None)):
            inside |= set(range(row, token.end[0]))
    for node in ast.walk(ast.parse(text)):
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
    files = filter(_is_ours, _KEPT) if folder == _HERE else folder.rglob("*.py")
    return state({f.relative_to(folder).as_posix(): _file_digest(f) for f in files})


def code_of(kind: type, base: type) -> dict[str, str]:
    """Digests of the files that a class rests on, by name: its own and all that this imports, one after another.

    Files of this library are named without their ending, such as "masks.ranking"; others, such as a plugin's, with it.
    Of a class from a notebook or a script its methods count, and those of its parents up to `base`, under its own name.
    """
    _look()
    return dict(_code_of(kind, base))


def plugin_digest(thing: type | Callable) -> str:
    """Digest of a class or function from outside this library: its own source, and that of its module with what this
    imports.
    """
    _look()
    file = _file_of(thing)
    _keep([file] if file else [], thing.__module__)
    own = digest(inspect.cleandoc("\n" + _source(thing)))
    if file is None or thing.__module__ == "__main__":
        return own
    return _hash(own + state({name: d for name, d in _digests(file).items() if name.endswith(".py")}))


def is_ours(thing: type | Callable) -> bool:
    """Whether a class or function is this library's own."""
    return getattr(thing, "__module__", "").partition(".")[0] == __name__.partition(".")[0]


def load(plugin: str) -> None:
    """Import a module; its text, and those of the files that it imports of its own, are read just before. Raises what
    it raises.
    """
    spec = None if plugin in sys.modules else find_spec(plugin)
    if spec and str(spec.origin).endswith(".py") and Path(spec.origin).is_file():  # not from an archive
        _keep(closure(Path(spec.origin).resolve()))
    import_module(plugin)
    _look()


def keep(kind: type) -> None:
    """Read, while a class from outside this library is defined, the files that it rests on: its digests are of what
    they say now.
    """
    file = None if is_ours(kind) else _file_of(kind)
    if file:
        _keep([file], kind.__module__)
        _keep(closure(file))
    _look()


def see_unchanged(kind: type, plugins: bool) -> None:
    """See that no module that a class rests on, or a plug-in's, would load from another text than digests have.

    A file that changed after its module was loaded is none: what runs is what was read.

    Raises:
        ValueError: a file changed on disk before its module was loaded.
    """
    _look()
    file = _file_of(kind)
    files = {*(closure(file) if file else ()), *(f for f in _KEPT if plugins and not _is_ours(f))}
    if late := sorted(_name(f) for f in files if f in _KEPT and not _KEPT[f].loaded and _on_disk(f) != _KEPT[f].text):
        why = "its record would name other code than what ran"
        raise ValueError(f"{', '.join(late)} changed on disk since this process began; start again: {why}")


@lru_cache
def closure(file: Path, library: Path = PACKAGE) -> frozenset[Path]:
    """A file and all files that it imports, and that these import: of the library in that folder, and a plugin's.

    Imports are read from the text, those inside functions too. `from package import name` leads to the module that the
    package takes the name from; of a plugin's packages every `__init__.py` on the way to a module counts too. Installed
    packages are not followed.
    """
    found, waiting = set(), {file.resolve()}
    while waiting:
        found.add(here := waiting.pop())
        waiting |= {*_imported(here, library.resolve()), *_run_before(here, library.resolve())} - found
    return frozenset(found)


def name_in(file: Path, library: Path) -> str:
    """The name by which digests call a file of the library in that folder: "masks" is `masks/__init__.py`."""
    return ".".join(file.relative_to(library).with_suffix("").parts).removesuffix(".__init__")


@lru_cache
def _code_of(kind: type, base: type) -> dict[str, str]:
    file = _file_of(kind)
    found = {} if file is None else _digests(file)
    if file is None or kind.__module__ == "__main__":
        found = {name: d for name, d in found.items() if file is None or name != _name(file)}
        found[kind.__name__] = _hash("".join(_methods(kind, base)))
    return found


@lru_cache
def _digests(file: Path) -> dict[str, str]:
    return {_name(f): _file_digest(f) for f in closure(file)}


def _name(file: Path) -> str:
    return name_in(file, _HERE) if _is_ours(file) else ".".join(file.relative_to(_root(file)).parts)


@lru_cache
def _file_digest(file: Path) -> str:
    return digest(_text(file))


def _file_of(thing: type | Callable) -> Path | None:
    try:
        file = inspect.getsourcefile(thing)
    except (TypeError, OSError):
        return None
    return Path(file).resolve() if file and _is_file(Path(file).resolve()) else None


def _source(thing: type | Callable) -> str:
    """The source of a class or function, as its file's kept text has it."""
    thing = inspect.unwrap(thing)
    if kept := _KEPT.get(_file_of(thing)):
        name = inspect.getsourcefile(thing)
        # None: never looked for on disk
        linecache.cache[name] = len(kept.text), None, io.StringIO(kept.text).readlines(), name
    return inspect.getsource(thing)


def _methods(kind: type, base: type) -> Iterator[str]:
    methods = {n: m for k in reversed(kind.__mro__[: kind.__mro__.index(base)]) for n, m in vars(k).items()}
    for name, method in sorted(methods.items()):
        function = getattr(method, "fget", getattr(method, "__func__", method))
        if inspect.isfunction(function) and not name.startswith("__"):
            yield digest(inspect.cleandoc("\n" + _source(function)))


def _root(file: Path) -> Path:
    """The folder from which a file is imported: the first above it that is no package."""
    folder = file.parent
    while _is_file(folder / "__init__.py"):
        folder = folder.parent
    return folder


def _run_before(file: Path, library: Path) -> Iterator[Path]:
    """Of the packages that a plugin's file lies in, each `__init__.py` that says something: Python runs it first."""
    folder = file.parent
    while not file.is_relative_to(library) and _is_file(init := folder / "__init__.py"):
        if _file_digest(init) != digest(""):
            yield init
        folder = folder.parent


def _imported(file: Path, library: Path) -> Iterator[Path]:
    """The files that one file imports, of the library and of its own folder."""
    roots = {library.parent: library.name}
    if not file.is_relative_to(library):
        root = _root(file)
        installed = any(root.is_relative_to(place) for place in NOT_FOLLOWED)
        roots[root] = file.relative_to(root).parts[0].removesuffix(".py") if installed else None
    for module, name in _names(file, library):
        for root, only in roots.items():
            if only in (None, module.partition(".")[0]):
                yield from _found(root, module, name)


def _found(root: Path, module: str, name: str | None) -> Iterator[Path]:
    """The file of a module, or, of a name taken from it, the one where that comes from."""
    if name is not None and (file := _module(root, f"{module}.{name}")):
        yield file
    elif file := _module(root, module):
        taken = _taken(file).get(name) if name is not None and file.name == "__init__.py" else None
        yield from _found(root, *taken) if taken and taken != (module, name) else [file]


@lru_cache
def _module(root: Path, name: str) -> Path | None:
    place = root.joinpath(*name.split("."))
    return next((f for f in (place.with_name(place.name + ".py"), place / "__init__.py") if _is_file(f)), None)


@lru_cache
def _names(file: Path, library: Path) -> tuple[tuple[str, str | None], ...]:
    """What a file imports: modules, and names taken from modules."""
    root = library.parent if file.is_relative_to(library) else _root(file)
    package = list(file.relative_to(root).parts[:-1])
    found: list[tuple[str, str | None]] = []
    for node in ast.walk(_tree(file)):
        if isinstance(node, ast.Import):
            found += [(alias.name, None) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*above, *filter(None, [node.module])])
            found += [(module, None if alias.name == "*" else alias.name) for alias in node.names]
    return tuple(found)


@lru_cache
def _taken(init: Path) -> dict[str, tuple[str, str]]:
    """Of a package: name -> the module that it takes it from, and its name there."""
    root, taken = _root(init), {}
    package = list(init.relative_to(root).parts[:-1])
    for node in _tree(init).body:
        if isinstance(node, ast.ImportFrom) and node.level:
            module = ".".join([*package[: len(package) - node.level + 1], *filter(None, [node.module])])
            taken |= {alias.asname or alias.name: (module, alias.name) for alias in node.names}
    return taken


@lru_cache
def _tree(file: Path) -> ast.Module:
    return ast.parse(_text(file), filename=str(file))


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


# what files said when their modules were loaded


@dataclass
class _Kept:
    """What a file said when it was read, the module that it is, and whether that was loaded from this text, and by
    which spec.
    """

    text: str
    module: str
    loaded: bool = False
    spec: Any = None


def _text(file: Path) -> str:
    return _KEPT[file].text if file in _KEPT else _read(file)


def _read(file: Path) -> str:
    with tokenize.open(file) as stream:
        return stream.read()


def _on_disk(file: Path) -> str | None:
    try:
        return _read(file)
    except (OSError, SyntaxError, UnicodeDecodeError):  # it is gone, or half written
        return None


def _is_file(file: Path) -> bool:
    return file in _KEPT or (not _is_ours(file) and file.is_file())


def _is_ours(file: Path) -> bool:
    return file.is_relative_to(_HERE)


def _keep(files: Iterable[Path], running: str = "") -> None:
    """Keep what files say now, unless that is done; `running` names the module whose code runs, if it is theirs."""
    for file in files:
        if file not in _KEPT:
            module = running or name_in(file, _root(file))
            spec = getattr(sys.modules.get(module), "__spec__", None)
            _KEPT[file] = _Kept(_read(file), module, bool(running or spec), spec)


def _look() -> None:
    """Note which modules are loaded by now, if still from the text that was kept; one loaded anew is read anew."""
    for file, kept in list(_KEPT.items()):
        spec = getattr(sys.modules.get(kept.module), "__spec__", None)
        if spec is None or spec is kept.spec:
            continue
        text = _on_disk(file)
        if kept.spec is None:
            kept.loaded |= text == kept.text
            kept.spec = spec if kept.loaded else None
        elif text is not None:
            kept.text, kept.spec = text, spec
            _forget()


def _forget() -> None:
    for known in (closure, _code_of, _digests, _file_digest, _module, _names, _taken, _tree):
        known.cache_clear()


_KEPT = {f: _Kept(_read(f), name_in(f, _HERE.parent)) for f in _HERE.rglob("*.py") if f.is_file()}
