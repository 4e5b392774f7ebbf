"""What stands in the reference: every public name, and what its docstring, its signature and its comments say.

Rooms are opened here by name, as a reader opens them; nothing is computed with what they hold.
"""

import ast
import inspect
import re
import textwrap
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import Any

OURS = __name__.partition(".")[0]
# Section, as a reader writes its room -> its module; "" is the front door. What several rooms hand out stands where it
# comes first.
SECTIONS = {
    "experiments": "experiments",
    "recipes": "training.recipe",
    "models": "nets.models",
    "nets.architectures": "nets.architectures",
    "training.fit": "training.fit",
    "criteria": "criteria",
    "criteria.weight": "criteria.weight",
    "units": "units",
    "units.structure": "units.structure",
    "masks": "masks",
    "gradients": "gradients",
    "metrics": "metrics",
    "metrics.spectrum": "metrics.spectrum",
    "metrics.subspaces": "metrics.subspaces",
    "worlds.committee": "worlds.committee",
    "worlds.xord": "worlds.xord",
    "data": "data",
    "environment": "environment",
    "front door": "",
    "chapters": "running.chapters",
    "records.store": "records.store",
    "widgets": "widgets",
}
AT_THE_DOOR = ("experiments", "recipes", "front door")  # sections whose names are those of `pruning_lab` itself


@dataclass(frozen=True)
class Entry:
    """A public name: as a reader writes it (`masks.build`), its section, and the thing itself."""

    name: str
    section: str
    thing: Any
    module: str
    said: str  # the docstring, or the comment above a constant

    @property
    def kind(self) -> str:
        """ "class", "function" or "data", as Sphinx has it."""
        return "class" if inspect.isclass(self.thing) else "function" if _defined(self.thing) else "data"

    @property
    def example(self) -> str:
        """The lines of its docstring from the first prompt on; empty where there are none."""
        return self.said[self.said.find(">>>") :].rstrip() if ">>>" in self.said else ""

    @property
    def text(self) -> str:
        """What is said before the example."""
        return self.said.partition(">>>")[0].rstrip()


@cache
def entries() -> dict[str, Entry]:
    """Every public name with its entry, section by section."""
    front, found, seen = import_module(OURS), {}, set()
    for section in SECTIONS:
        here = room(section)
        for short in public(here):
            thing = getattr(here, short)
            mark = (short, id(thing))
            if inspect.ismodule(thing) or mark in seen or section == "recipes" and not hasattr(front, short):
                continue
            seen.add(mark)
            full = short if section in AT_THE_DOOR else f"{section}.{short}"
            found[full] = Entry(full, section, thing, *_said(here, short, thing))
    return found


def room(section: str) -> ModuleType:
    """The module of a section, whose docstring introduces it."""
    return import_module(f"{OURS}.{SECTIONS[section]}".rstrip("."))


def public(here: ModuleType) -> list[str]:
    """The names that a room hands out: its `__all__`, else its own functions and classes without an underscore."""
    if named := getattr(here, "__all__", None):
        return list(named)
    return [
        name
        for name, thing in vars(here).items()
        if not name.startswith("_") and callable(thing) and getattr(thing, "__module__", None) == here.__name__
    ]


def _said(here: ModuleType, name: str, thing: Any) -> tuple[str, str]:
    """The module that a thing is of, and what is said of it."""
    if inspect.isclass(thing) or _defined(thing):
        return thing.__module__, inspect.getdoc(thing) or ""
    home = _home(here, name)
    return home.__name__, _comment(inspect.getsource(home), name)


def _defined(thing: Any) -> bool:
    """Whether a thing is a function, decorated or not."""
    return inspect.isroutine(thing) or hasattr(thing, "__wrapped__")


def _home(here: ModuleType, name: str) -> ModuleType:
    """The module that assigns a constant: where imports lead to."""
    for node in ast.parse(inspect.getsource(here)).body:
        if isinstance(node, ast.ImportFrom) and name in [alias.name for alias in node.names]:
            package = here.__package__ if node.level else ""
            return _home(import_module("." * node.level + (node.module or ""), package), name)
    return here


def _comment(source: str, name: str) -> str:
    """What the lines `#: ...` above the assignment of a name say, or the comment behind it."""
    lines = source.splitlines()
    for node in ast.parse(source).body:
        targets = [*getattr(node, "targets", []), getattr(node, "target", None)]
        names = {part.id for target in targets if target for part in ast.walk(target) if isinstance(part, ast.Name)}
        if isinstance(node, ast.Assign | ast.AnnAssign) and name in names:
            return comment_of(lines, node)
    return ""


def comment_of(lines: list[str], node: ast.stmt) -> str:
    """The comment of an assignment: behind it, else the lines of comments right above it."""
    behind = re.search(r"#:? (.*)$", lines[node.end_lineno - 1][node.end_col_offset :])
    if behind:
        return behind[1]
    above, row = [], node.lineno - 2
    while row >= 0 and (said := re.match(r"\s*#:? (.*)$", lines[row])):
        above.insert(0, said[1])
        row -= 1
    return " ".join(above)


@dataclass(frozen=True)
class Field:
    """A field of a class: its type and default as the source writes them ("" where there is none), its meaning."""

    name: str
    kind: str
    default: str
    meaning: str


@cache
def fields_of(kind: type) -> tuple[Field, ...]:
    """The fields of a dataclass or a named tuple, in order, with what their comments say; of other classes none."""
    named = [f.name for f in fields(kind)] if is_dataclass(kind) else getattr(kind, "_fields", ())
    found = {}
    for base in reversed(kind.__mro__ if named else ()):
        if base.__module__.partition(".")[0] == OURS:
            source = textwrap.dedent(inspect.getsource(base))
            for node in ast.parse(source).body[0].body:
                if isinstance(node, ast.AnnAssign):
                    meaning = comment_of(source.splitlines(), node)
                    found[node.target.id] = ast.unparse(node.annotation), _default(node.value), meaning
    return tuple(Field(name, *found[name]) for name in named if name in found)


def _default(value: ast.expr | None) -> str:
    """A field's default as the source writes it; "" where there is none."""
    if isinstance(value, ast.Call) and getattr(value.func, "id", "") == "field":
        given = {word.arg: ast.unparse(word.value) for word in value.keywords}
        return given.get("default", f"{given['default_factory']}()" if "default_factory" in given else "")
    return ast.unparse(value) if value else ""
