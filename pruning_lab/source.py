"""What code an answer rests on: the files that a file imports, read from their text, and the digests of what they say."""

from __future__ import annotations

import ast
import hashlib
import inspect
import io
import sysconfig
import tokenize
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path

PACKAGE = Path(__file__).parent
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
    return state({f.relative_to(folder).as_posix(): _file_digest(f) for f in folder.rglob("*.py")})


def code_of(kind: type, base: type) -> dict[str, str]:
    """Digests of the files that a class rests on, by name: its own and all that this imports, one after another.

    Files of this library are named without their ending, such as "masks.ranking"; others, such as a plugin's, with it. Of a
    class from a notebook or a script its methods count, and those of its parents up to `base`, under its own name.
    """
    return dict(_code_of(kind, base))


def plugin_digest(thing: type | Callable) -> str:
    """Digest of a class or function from outside this library: its own source, and that of its module with what this imports."""
    file = _file_of(thing)
    own = digest(inspect.cleandoc("\n" + inspect.getsource(thing)))
    if file is None or thing.__module__ == "__main__":
        return own
    return _hash(own + state({name: d for name, d in _digests(file).items() if name.endswith(".py")}))


def is_ours(thing: type | Callable) -> bool:
    """Whether a class or function is this library's own."""
    return getattr(thing, "__module__", "").partition(".")[0] == __name__.partition(".")[0]


@lru_cache
def closure(file: Path, library: Path = PACKAGE) -> frozenset[Path]:
    """A file and all files that it imports, and that these import: of the library in that folder, and of a plugin's own.

    Imports are read from the text, those inside functions too. `from package import name` leads to the module that the
    package takes the name from. Installed packages are not followed.
    """
    found, waiting = set(), {file.resolve()}
    while waiting:
        found.add(here := waiting.pop())
        waiting |= set(_imported(here, library.resolve())) - found
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
    package = PACKAGE.resolve()
    return name_in(file, package) if file.is_relative_to(package) else ".".join(file.relative_to(_root(file)).parts)


@lru_cache
def _file_digest(file: Path) -> str:
    return digest(file.read_text(encoding="utf-8"))


def _file_of(thing: type | Callable) -> Path | None:
    try:
        file = inspect.getsourcefile(thing)
    except (TypeError, OSError):
        return None
    return Path(file).resolve() if file and Path(file).is_file() else None


def _methods(kind: type, base: type) -> Iterator[str]:
    methods = {n: m for k in reversed(kind.__mro__[: kind.__mro__.index(base)]) for n, m in vars(k).items()}
    for name, method in sorted(methods.items()):
        function = getattr(method, "fget", getattr(method, "__func__", method))
        if inspect.isfunction(function) and not name.startswith("__"):
            yield digest(inspect.cleandoc("\n" + inspect.getsource(function)))


def _root(file: Path) -> Path:
    """The folder from which a file is imported: the first above it that is no package."""
    folder = file.parent
    while (folder / "__init__.py").is_file():
        folder = folder.parent
    return folder


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
    return next((f for f in (place.with_name(place.name + ".py"), place / "__init__.py") if f.is_file()), None)


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
    return ast.parse(file.read_text(encoding="utf-8"))


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]
