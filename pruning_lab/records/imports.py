"""What a Python file imports, of this library and of its own folder, read from its text; nothing is run."""

from __future__ import annotations

import ast
import sysconfig
from collections.abc import Iterator, Sequence
from pathlib import Path

from .texts import PACKAGE, is_file, of_texts, root, text

NOT_FOLLOWED = {Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "purelib", "platlib")}


@of_texts
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


def _run_before(file: Path, library: Path) -> Iterator[Path]:
    """Of the packages that a plugin's file lies in, each `__init__.py` that says something: Python runs it first."""
    folder = file.parent
    while not file.is_relative_to(library) and is_file(init := folder / "__init__.py"):
        docstring = ast.get_docstring(tree(init), clean=False) is not None
        if len(tree(init).body) > docstring:
            yield init
        folder = folder.parent


@of_texts
def _imported(file: Path, library: Path) -> frozenset[Path]:
    """The files that one file imports, of the library and of its own folder."""
    roots = {library.parent: library.name}
    if not file.is_relative_to(library):
        own = root(file)
        installed = any(own.is_relative_to(place) for place in NOT_FOLLOWED)
        roots[own] = file.relative_to(own).parts[0].removesuffix(".py") if installed else None
    return frozenset(
        file
        for module, name in _names(file, library)
        for place, only in roots.items()
        if only in (None, module.partition(".")[0])
        for file in _found(place, module, name)
    )


def _found(root: Path, module: str, name: str | None) -> Iterator[Path]:
    """The file of a module, or, of a name taken from it, the one where that comes from."""
    if name is not None and (file := _module(root, f"{module}.{name}")):
        yield file
    elif file := _module(root, module):
        taken = _taken(file).get(name) if name is not None and file.name == "__init__.py" else None
        yield from _found(root, *taken) if taken and taken != (module, name) else [file]


@of_texts
def _module(root: Path, name: str) -> Path | None:
    place = root.joinpath(*name.split("."))
    return next((f for f in (place.with_name(place.name + ".py"), place / "__init__.py") if is_file(f)), None)


def _names(file: Path, library: Path) -> Iterator[tuple[str, str | None]]:
    """What a file imports: modules, and names taken from modules."""
    top = library.parent if file.is_relative_to(library) else root(file)
    package = file.relative_to(top).parts[:-1]
    for node in statements(tree(file)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = _whole_name(node, package)
            yield from ((module, None if alias.name == "*" else alias.name) for alias in node.names)


@of_texts
def _taken(init: Path) -> dict[str, tuple[str, str]]:
    """Of a package: name -> the module that it takes it from, and its name there."""
    package = init.relative_to(root(init)).parts[:-1]
    relative = [node for node in tree(init).body if isinstance(node, ast.ImportFrom) and node.level]
    return {a.asname or a.name: (_whole_name(node, package), a.name) for node in relative for a in node.names}


def _whole_name(node: ast.ImportFrom, package: Sequence[str]) -> str:
    """The name of the module that a `from ... import` in a package means."""
    above = package[: len(package) - node.level + 1] if node.level else ()
    return ".".join([*above, *filter(None, [node.module])])


@of_texts
def tree(file: Path) -> ast.Module:
    """The syntax tree of a file, not to be changed."""
    return ast.parse(text(file), filename=str(file))


def statements(tree: ast.Module) -> Iterator[ast.AST]:
    """A module and all its statements, those inside others too; far fewer than `ast.walk` has nodes."""
    waiting: list[ast.AST] = [tree]
    while waiting:
        yield (node := waiting.pop())
        for name in ("body", "orelse", "finalbody", "handlers", "cases"):
            waiting += getattr(node, name, ())
