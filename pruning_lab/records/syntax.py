"""Python source as statements: which of them two trees do not share, wherever they stand."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path

from . import texts

DEVICE = re.compile(r"cuda|\bmps\b|device|autocast|tf32|tensor_float|bfloat16|channels_last|fused", re.IGNORECASE)


@dataclass(frozen=True)
class Line:
    """One statement, of a compound one its head: where it stands, what it says, and rows that show that it ran."""

    file: str  # as `texts.name_in` names it
    where: str  # the functions and classes around it, dots between; "" at the top
    text: str  # without comments, layout and annotations
    rows: range
    name: str = ""  # of a value that a module or a class gives a name, or a default of a parameter: that name
    under: str = ""  # the heads of the compound statements around it, within its function
    at_import: bool = False  # of a module or a class, and no name given to a value, function or class

    @property
    def place(self) -> str:
        """File and function, by which a waiver names it."""
        return f"{self.file}:{self.where}" if self.where else self.file

    @property
    def on_device(self) -> bool:
        """Whether it may say something else on another kind of device."""
        return bool(DEVICE.search(self.text))

    def ran(self, ran: Mapping[str, Iterable[int]]) -> bool:
        """Whether a row of it is among those that ran: name of the file -> rows."""
        return not set(self.rows).isdisjoint(ran.get(self.file, ()))


def statements(files: Iterable[Path], library: Path) -> list[Line]:
    """All statements of some files of a library, imports and docstrings aside."""
    return [line for f in sorted(files) for line in _body(_parsed(f).body, _Place(texts.name_in(f, library)))]


def changed(old: Iterable[Line], new: Iterable[Line]) -> list[Line]:
    """The new statements that their function did not have, or not as often, under the same heads, in any file.

    Those that give a name another value than it had in that file are among them.
    """
    old, new = list(old), list(new)
    before, after = (Counter((line.where, line.under, line.text) for line in lines) for lines in (old, new))
    values = _values(old)
    more = {key for key, count in after.items() if count > before[key]}
    return [line for line in new if (line.where, line.under, line.text) in more or _differs(line, values)]


def unproved(old: Iterable[Line], new: Iterable[Line]) -> list[Line]:
    """The changed statements of which it says nothing that they ran: other values of names and defaults, and what a
    module does when it is imported."""
    old, new = list(old), list(new)
    values = _values(old)
    return [line for line in changed(old, new) if line.at_import or _differs(line, values)]


def _values(lines: Iterable[Line]) -> dict[tuple[str, str, str], str]:
    return {(line.file, line.where, line.name): line.text for line in lines if line.name}


def _differs(line: Line, values: Mapping[tuple[str, str, str], str]) -> bool:
    return values.get((line.file, line.where, line.name), line.text) != line.text


def _parsed(file: Path) -> ast.Module:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            node.returns = None
        elif isinstance(node, ast.arg):
            node.annotation = None
    return tree


@dataclass(frozen=True)
class _Place:
    """Where statements stand: their file, the functions and classes around them, the heads within these."""

    file: str
    where: tuple[str, ...] = ()
    heads: tuple[str, ...] = ()
    in_function: bool = False

    def line(self, text: str, rows: range, name: str = "", at_import: bool = False) -> Line:
        where, under = ".".join(self.where), " ".join(self.heads)
        return Line(self.file, where, text, rows, name, under, at_import and not self.in_function)

    def inside(self, head: str) -> _Place:
        return replace(self, heads=(*self.heads, head))


def _body(body: list[ast.stmt], place: _Place) -> Iterator[Line]:
    for node in body:
        if not isinstance(node, ast.Import | ast.ImportFrom) and not _is_text(node):
            yield from _statement(node, place)


def _statement(node: ast.stmt, place: _Place) -> Iterator[Line]:
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            yield from _definition(node, place)
        case ast.Try() | ast.TryStar():
            yield from _body(node.body, place.inside("try:"))
            for handler in node.handlers:
                caught = f"except {ast.unparse(handler.type) if handler.type else ''} as {handler.name}"
                yield place.line(caught, range(handler.lineno, handler.body[0].lineno))
                yield from _body(handler.body, place.inside(caught))
            yield from _body(node.orelse, place.inside("try's else:"))
            yield from _body(node.finalbody, place.inside("finally:"))
        case ast.Match():
            subject = f"match {ast.unparse(node.subject)}"
            yield place.line(subject, range(node.lineno, node.subject.end_lineno + 1))
            for case in node.cases:
                guard = f" if {ast.unparse(case.guard)}" if case.guard else ""
                head = f"case {ast.unparse(case.pattern)}{guard}"
                yield place.line(head, range(case.pattern.lineno, case.body[0].lineno + 1))
                yield from _body(case.body, place.inside(subject).inside(head))
        case _ if hasattr(node, "body"):
            head = _head(node)
            yield place.line(head, range(node.lineno, max(node.lineno + 1, node.body[0].lineno)))
            yield from _body(node.body, place.inside(head))
            yield from _body(getattr(node, "orelse", []), place.inside(f"{head} else:"))
        case _:
            name = "" if place.in_function else _target(node)
            rows = range(node.lineno, node.end_lineno + 1)
            yield place.line(ast.unparse(node), rows, name, at_import=not _names_values(node))


def _definition(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef, place: _Place) -> Iterator[Line]:
    is_class = isinstance(node, ast.ClassDef)
    inside = _Place(place.file, (*place.where, node.name), (), place.in_function or not is_class)
    rows = range(node.body[0].lineno, node.end_lineno + 1)
    yield inside.line(_head(node), rows)
    for name, default in () if is_class else _defaults(node.args):
        yield inside.line(f"{name}={default}", rows, name)
    yield from _body(node.body, inside)


def _defaults(arguments: ast.arguments) -> Iterator[tuple[str, str]]:
    positional = arguments.posonlyargs + arguments.args
    for argument, default in zip(positional[::-1], arguments.defaults[::-1], strict=False):
        yield argument.arg, ast.unparse(default)
    for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        if default is not None:
            yield argument.arg, ast.unparse(default)


def _head(node: ast.stmt) -> str:
    """What a compound statement says up to its colon, its decorators too."""
    head = copy(node)
    head.body, head.orelse = [ast.Pass()], []
    return ast.unparse(head).removesuffix("pass").rstrip()


def _names_values(node: ast.stmt) -> bool:
    """Whether a statement gives values names, and nothing else: an entry of a registry is no name."""
    return bool(found := _targets(node)) and all(isinstance(part, ast.Name | ast.Tuple) for part in found)


def _targets(node: ast.stmt) -> list[ast.expr]:
    return node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []


def _target(node: ast.stmt) -> str:
    targets = _targets(node)
    names = ", ".join(map(ast.unparse, targets))
    return "" if names == "version" or names.startswith("__") else names  # a raised version is in every key


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
