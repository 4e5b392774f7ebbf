"""Parameters of a chapter: which values they may have, told by those that its `parameters` cell gives them.

Whoever calls a chapter, the same function checks what it is given: `run`, `sweep`, `plan` and `pack` before anything
runs; in a notebook that papermill or a reader executes, the import of the library, and every cell after it.
"""

from __future__ import annotations

import ast
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from .. import data
from .nearest import near

#: The sizes at which a chapter can be run, the smallest first.
PROFILES = ("smoke", "laptop", "night", "gpu", "paper")
PRIVATE = PROFILES[:2]  # whose records are never published
MOST_SEEDS = 1000
LARGEST = 1024  # pixels of a side
# what a parameter is; else a cell's name is a function, a module
PLAIN = (type(None), bool, int, float, str, tuple, list, dict)
SHOWN = 60  # characters of a value that an error shows

Rule = tuple[str, Callable[[Any], bool]]  # what is expected, in words, and whether a value is that


def check(where: str, defaults: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    """Refuse what a chapter is given if one of its parameters has another name, kind or range.

    Args:
        where: the chapter's name, for the message. defaults: the names and values of its `parameters` cell.

    Raises:
        ValueError: names the parameter, its value and what is expected.
    """
    known = {name: value for name, value in defaults.items() if name[0] != "_" and isinstance(value, PLAIN)}
    if unknown := given.keys() - known.keys():
        named = ", ".join(repr(name) for name in sorted(unknown))
        meant = near(min(unknown), known)
        raise ValueError(f"{where} has no parameter {named}; it has {', '.join(sorted(known)) or 'none'}{meant}")
    for name, value in given.items():
        words, fits = _rule(name, known[name])
        if not (known[name] is None and value is None) and not fits(value):
            or_none = " or None" if known[name] is None else ""
            meant = near(value, PROFILES) if name == "profile" and isinstance(value, str) else ""
            raise ValueError(f"{where}: {name}={_short(value)}: expected {words}{or_none}{meant}")
        if name == "dataset" and isinstance(value, str):
            _check_dataset(where, value)


def _check_dataset(where: str, name: str) -> None:
    try:
        data.check_known(name)
    except ValueError as error:
        meant = near(name, data.names()).removeprefix("; ")
        raise ValueError(f"{where}: dataset={_short(name)}{f' ({meant})' * bool(meant)}: {error}") from error


def check_notebook() -> None:
    """The same for the notebook whose kernel this is, by its cells that begin with `# parameters` and, from papermill,
    `# Parameters`; nothing outside a notebook. ValueError: as `check`."""
    if shell := _shell():
        check_cells(shell.user_ns.get("In", ()))


def watch_notebook() -> None:
    """Refuse what the notebook whose kernel this is was given, now and before each of its cells; nothing outside one.

    A cell runs again once the cell that gives the parameters is right. ValueError: as `check`.
    """
    shell = _shell()
    if shell is None:
        return
    check_notebook()
    watching = [t for t in shell.ast_transformers if type(t).__name__ == "ParametersChecked"]  # of an earlier import
    for old in watching:
        shell.ast_transformers.remove(old)
    shell.ast_transformers.append(_watcher())


def _watcher() -> Any:
    """What IPython shows the syntax tree of each cell before it runs; one that raises InputRejected is not run."""
    from IPython.core.error import InputRejected

    class ParameterError(InputRejected, ValueError):
        """A notebook was given a parameter that it does not have, or of another kind or range."""

    class ParametersChecked:
        def visit(self, tree: ast.AST) -> ast.AST:
            try:
                check_notebook()
            except ValueError as error:
                raise ParameterError(str(error)) from None
            return tree

    return ParametersChecked()


def _shell() -> Any:
    """IPython's shell, where this process has one."""
    return getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()


def check_cells(sources: Sequence[str]) -> None:
    """The same for cells in the order in which they were executed; the last `parameters` cell counts."""
    starts = [k for k, source in enumerate(sources) if source.startswith("# parameters\n")]
    if not starts:
        return
    defaults, given = _assigned(sources[starts[-1]]), {}
    for source in sources[starts[-1] + 1 :]:
        if source.startswith("# Parameters\n"):
            given |= _assigned(source)
    # as somebody may have typed them there
    own = {name: defaults[name] for name in ("dataset", "seeds") if name in defaults}
    check("this notebook", dict.fromkeys(own), own)
    check("this notebook", defaults, given)


def _assigned(source: str) -> dict[str, Any]:
    """Names and plain values that a cell assigns; none where it is not Python alone."""
    values = {}
    try:
        body = ast.parse(source).body
    except SyntaxError:
        return {}
    for node in body:
        if isinstance(node, ast.Assign | ast.AnnAssign):
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                with suppress(ValueError, TypeError):  # it is no literal
                    values |= {target.id: _value(node.value)} if isinstance(target, ast.Name) else {}
    return values


def _value(node: ast.expr | None) -> Any:
    """The value of a literal; ValueError, TypeError: it is none. papermill writes `float('inf')`, `float('nan')`."""
    if isinstance(node, ast.Call) and ast.unparse(node.func) == "float" and len(node.args) == 1:
        return float(ast.literal_eval(node.args[0]))
    return ast.literal_eval(node)


def _rule(name: str, default: Any) -> Rule:
    """What a parameter may be: by its name, where all chapters mean the same, else by its default's kind and range."""
    if name in _OF_ALL and (default is None or _OF_ALL[name][1](default)):
        return _OF_ALL[name]
    for kind, rule in _OF_KIND.items():
        if isinstance(default, kind):
            return rule(default)
    return "a plain value", lambda value: isinstance(value, PLAIN)


def _of_number(default: float) -> Rule:
    least = -math.inf if default < 0 else 0
    words = "a number" + (", 0 or more" if least == 0 else "")
    return words, lambda value: _finite(value) and value >= least


def _of_whole(default: int) -> Rule:
    least = -math.inf if default < 0 else min(default, 1)
    words = "a whole number" + (f", {least} or more" if least >= 0 else "")
    return words, lambda value: _whole(value) and _finite(value) and value >= least


def _of_several(default: Sequence[Any]) -> Rule:
    """As many as one likes, but some where the default has some, each of the kind of the default's first."""
    words, fits = _rule("", default[0]) if default else ("anything", lambda _: True)
    some = bool(default)
    told = f"a list, each of it {words}" if some else "a list"
    return told, lambda value: isinstance(value, tuple | list) and len(value) >= some and all(map(fits, value))


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _finite(value: Any) -> bool:
    try:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:
        return False  # a whole number that no float holds


def _named(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


_OF_ALL: dict[str, Rule] = {
    "profile": (f"one of {', '.join(PROFILES)}", lambda value: isinstance(value, str) and value in PROFILES),
    "dataset": ("the name of a data set", _named),
    "seeds": (f"a whole number from 1 to {MOST_SEEDS:,}", lambda value: _whole(value) and 1 <= value <= MOST_SEEDS),
    "image_size": (f"a whole number from 1 to {LARGEST:,}", lambda value: _whole(value) and 1 <= value <= LARGEST),
}
_OF_KIND: dict[type, Callable[[Any], Rule]] = {
    bool: lambda _: ("True or False", lambda value: isinstance(value, bool)),
    int: _of_whole,
    float: _of_number,
    str: lambda _: ("a name", _named),
    tuple: _of_several,
    list: _of_several,
    dict: lambda _: ("a dictionary", lambda value: isinstance(value, dict)),
}


def _short(value: Any) -> str:
    """A value in one line of an error."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # a number of too many digits to be written, a list within lists
        text = f"{type(value).__name__} too large to show"
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 3]}..."
