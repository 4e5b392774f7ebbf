"""Python source as statements: which of them two trees do not share, wherever they stand."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from . import source

DEVICE = re.compile(r"cuda|\bmps\b|device|autocast|tf32|tensor_float|bfloat16|channels_last|fused", re.IGNORECASE)


@dataclass(frozen=True)
class Line:
    """One statement, of a compound one its head: where it stands, what it says, and the rows by which one sees that it ran."""

    file: str  # as `source.name_in` names it
    where: str  # the functions and classes around it, dots between; "" at the top
    text: str  # without comments, layout and annotations
    rows: range
    name: str = ""  # of a value that a module or a class gives a name: that name

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
    return [line for f in sorted(files) for line in _body(_parsed(f).body, source.name_in(f, library), (), True)]


def changed(old: Iterable[Line], new: Iterable[Line]) -> list[Line]:
    """The new statements that say what no old one says, and those that give a name another value than it had in that file."""
    old = list(old)
    texts, values = {line.text for line in old}, _values(old)
    return [line for line in new if line.text not in texts or _differs(line, values)]


def revalued(old: Iterable[Line], new: Iterable[Line]) -> list[Line]:
    """The new statements in which a module or class gives a name another value: that they ran says nothing of what it does."""
    values = _values(old)
    return [line for line in new if _differs(line, values)]


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


def _body(body: list[ast.stmt], file: str, where: tuple[str, ...], named: bool) -> Iterator[Line]:
    for node in body:
        if not isinstance(node, ast.Import | ast.ImportFrom) and not _is_text(node):
            yield from _statement(node, file, where, named)


def _statement(node: ast.stmt, file: str, where: tuple[str, ...], named: bool) -> Iterator[Line]:
    here = ".".join(where)
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            inside = (*where, node.name)
            yield Line(file, ".".join(inside), _head(node), range(node.body[0].lineno, node.end_lineno + 1))
            yield from _body(node.body, file, inside, isinstance(node, ast.ClassDef))
        case ast.Try() | ast.TryStar():
            yield from _body(node.body, file, where, named)
            for handler in node.handlers:
                caught = f"except {ast.unparse(handler.type) if handler.type else ''} as {handler.name}"
                yield Line(file, here, caught, range(handler.lineno, handler.body[0].lineno))
                yield from _body(handler.body, file, where, named)
            yield from _body(node.orelse + node.finalbody, file, where, named)
        case ast.Match():
            yield Line(file, here, f"match {ast.unparse(node.subject)}", range(node.lineno, node.subject.end_lineno + 1))
            for case in node.cases:
                guard = f" if {ast.unparse(case.guard)}" if case.guard else ""
                yield Line(file, here, f"case {ast.unparse(case.pattern)}{guard}", range(case.pattern.lineno, case.body[0].lineno + 1))
                yield from _body(case.body, file, where, named)
        case _ if hasattr(node, "body"):
            yield Line(file, here, _head(node), range(node.lineno, max(node.lineno + 1, node.body[0].lineno)))
            yield from _body(node.body + getattr(node, "orelse", []), file, where, named)
        case _:
            yield Line(file, here, ast.unparse(node), range(node.lineno, node.end_lineno + 1), _target(node) if named else "")


def _head(node: ast.stmt) -> str:
    """What a compound statement says up to its colon, its decorators too."""
    body = {name: getattr(node, name) for name in ("body", "orelse") if hasattr(node, name)}
    node.body = [ast.Pass()]
    if "orelse" in body:
        node.orelse = []
    text = ast.unparse(node).removesuffix("pass").rstrip()
    for name, value in body.items():
        setattr(node, name, value)
    return text


def _target(node: ast.stmt) -> str:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    names = ", ".join(map(ast.unparse, targets))
    return "" if names == "version" or names.startswith("__") else names  # a raised version is in every key


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
