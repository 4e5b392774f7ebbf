"""Entries of the reference -> MyST: signature, what is said, fields, methods, the example, and where the source is."""

import ast
import inspect
import re
import textwrap
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from . import inputs
from .reference import OURS, SECTIONS, Entry, entries, fields_of, room

# The sources' documents by their numbers, as docstrings name them -> keys of the bibliography.
DOCUMENTS = {
    "000": "heitmann_redundancy", "001": "heitmann_dynamics", "002": "denis2019", "003": "yauney2024",
    "004": "sarkar_collapse",
}  # fmt: skip
CITED = re.compile(
    r"\b(?P<first>[A-Z][\w'-]+)(?:(?:, [A-Z][\w'-]+)* (?:&|and) [A-Z][\w'-]+| et al\.)?,? (?P<year>(?:19|20)\d\d)\b"
    r"|(?<![\w,.])(?P<document>00[0-4])(?=[,;:)])"
)
PACKAGE = Path(__file__).parents[1]
HEADS = ("Args:", "Raises:", "Warns:")


def section(name: str, sources: str = "") -> str:
    """The MyST text of a section: what its module says of itself, its entries; `sources` is the address of files."""
    said, _, example = (room(name).__doc__ or "").partition(">>>")
    parts = [paragraphs(said, name, ()), _code(">>>" + example) if example else ""]
    parts += [entry(e, sources) for e in entries().values() if e.section == name]
    return "\n\n".join(filter(None, parts))


def index() -> str:
    """The names of all sections as links, a paragraph a section."""
    lines = []
    for name in SECTIONS:
        held = [_link(e.name.removeprefix(f"{name}."), e) for e in entries().values() if e.section == name]
        lines.append(f"**{name}**: " + ", ".join(held))
    return "\n\n".join(lines)


def entry(e: Entry, sources: str = "") -> str:
    """The MyST text of one entry."""
    options, parts = [f":module: {OURS}"], [paragraphs(e.text, e.section, _parameters(e.thing))]
    if e.kind == "data":
        options += [f":value: {e.thing!r}"] if isinstance(e.thing, str | int | tuple) else []
        parts += [f"Holds {', '.join(f'`{key}`' for key in e.thing)}."] if isinstance(e.thing, dict) else []
    if e.kind == "class":
        parts += [_fields(e), *_methods(e)]
    parts += [_code(e.example) if e.example else "", _source(e, sources)]
    return _fenced(f"py:{e.kind}", e.name + signature(e.thing), options, parts, ticks=7)


def _fenced(directive: str, argument: str, options: list[str], parts: list[str], ticks: int) -> str:
    body = "\n\n".join(filter(None, parts))
    return "\n".join(["`" * ticks + f"{{{directive}}} {argument}", *options, "", body, "`" * ticks])


# Signatures


def signature(thing: Any) -> str:
    """Parameters in brackets and what is returned, as the source writes them; "" of what is no function of ours."""
    if inspect.isclass(thing):
        if named := [f"{f.name}={f.default}" if f.default else f.name for f in fields_of(thing)]:
            return f"({', '.join(named)})"
        thing = vars(thing).get("__init__")
    node = _definition(thing)
    if node is None:
        return ""
    arguments = node.args
    if arguments.args and arguments.args[0].arg in ("self", "cls"):
        del arguments.args[0]
    returned = f" -> {ast.unparse(node.returns)}" if node.returns and node.name != "__init__" else ""
    return f"({ast.unparse(arguments)}){returned}"


def _definition(thing: Any) -> ast.FunctionDef | None:
    """The syntax of a function's definition."""
    thing = inspect.unwrap(getattr(thing, "__func__", thing)) if thing is not None else None
    if not inspect.isfunction(thing):
        return None
    return ast.parse(textwrap.dedent(inspect.getsource(thing))).body[0]


def _parameters(thing: Any) -> tuple[str, ...]:
    """Names of a function's parameters, which are no links where they are named."""
    try:
        return tuple(inspect.signature(thing).parameters)
    except (TypeError, ValueError):
        return ()


# What is said


def paragraphs(text: str, section: str, own: tuple[str, ...]) -> str:
    """A docstring as MyST: paragraphs, lists of arguments, what is raised; its names are links, its sources cited."""
    made = []
    for part in re.split(r"\n\s*\n", inspect.cleandoc(text)):
        head, _, rest = part.partition("\n")
        if head not in HEADS:
            made.append(inline(" ".join(part.split()), section, own))
        elif head == "Args:":
            made.append("\n".join(_item(item, section, own) for item in _items(rest)))
        else:
            made.append(f"**{head[:-1]}** " + inline(" ".join(rest.split()), section, own))
    return "\n\n".join(made)


def _items(text: str) -> list[str]:
    """The arguments of a list, one text each."""
    return [" ".join(item.split()) for item in re.split(r"\n(?=\S)", textwrap.dedent(text))]


def _item(text: str, section: str, own: tuple[str, ...]) -> str:
    name, _, said = text.partition(": ")
    return f"* **{name}**: {inline(said, section, own)}"


def inline(text: str, section: str, own: tuple[str, ...] = ()) -> str:
    """A sentence as MyST: code that is a public name links to its entry, sources are citations, all else stays."""
    made = []
    for part in re.split(r"(``?[^`]+``?)", text):
        if part.startswith("`"):
            found = None if part.strip("`") in own else _named(part.strip("`"), section)
            made.append(_link(part.strip("`"), found) if found else part)
        else:
            made += _cited(part)
    return "".join(made)


def _cited(text: str) -> Iterator[str]:
    """Plain text, escaped, its sources as citations."""
    end = 0
    for found in CITED.finditer(text):
        key = key_of(found)
        if key:
            yield _escaped(text[end : found.start()]) + f"{{cite:t}}`{key}`"
            end = found.end()
    yield _escaped(text[end:])


def _escaped(text: str) -> str:
    return re.sub(r"([\\*_\[\]{}<>$|#~^])", r"\\\1", text)


def key_of(found: re.Match) -> str | None:
    """The key in the bibliography of a source that a docstring names; None: it has none."""
    return DOCUMENTS.get(found["document"]) or bibliography().get((found["first"], found["year"]))


@cache
def bibliography() -> dict[tuple[str, str], str]:
    """Surname of the first author and year -> key, of each entry of `references.bib`."""
    text = (inputs.ROOT / "book" / "references.bib").read_text(encoding="utf-8")
    return {
        (author[1].split(",")[0].strip(), year[1]): re.match(r"\w+", item)[0]
        for item in re.split(r"^@\w+\{", text, flags=re.M)[1:]
        if (author := re.search(r"author\s*=\s*\{([^{}]*)", item)) and (year := re.search(r"year\s*=\s*\{(\d+)", item))
    }


def _named(name: str, section: str) -> Entry | None:
    """The entry that a docstring means by a name: in full, or within its own section or room."""
    known = entries()
    rooms = (section, section.partition(".")[0])
    return known.get(name) or next((known[f"{r}.{name}"] for r in rooms if f"{r}.{name}" in known), None)


def _link(said: str, e: Entry) -> str:
    return f"{{py:obj}}`{said} <{OURS}.{e.name}>`"


# Below what is said


def _fields(e: Entry) -> str:
    """The list of a class's fields: name, type, default, meaning."""
    return "\n".join(
        f"* **{f.name}** (`{f.kind}`{f', default `{f.default}`' if f.default else ''}): " + inline(f.meaning, e.section)
        for f in fields_of(e.thing)
    )


def _methods(e: Entry) -> Iterator[str]:
    """The methods and properties that a class has of its own and says something of."""
    known = vars(entries()["Experiment"].thing) if e.name != "Experiment" else {}
    for name, member in vars(e.thing).items():
        function: Callable | None = getattr(member, "fget", getattr(member, "__func__", member))
        said = function.__doc__ if inspect.isfunction(function) else None  # its own, not what a parent says
        if name.startswith("_") or name in known or not said:
            continue
        directive = "py:property" if isinstance(member, property) else "py:method"
        brackets = "" if isinstance(member, property) else signature(function)
        text = paragraphs(said, e.section, _parameters(function))
        yield _fenced(directive, name + brackets, [":no-contents-entry:"], [text], ticks=5)


def _code(example: str) -> str:
    return f"```pycon\n{textwrap.dedent(example).rstrip()}\n```"


def _source(e: Entry, sources: str) -> str:
    """Where an entry is written; a link where the address of files is known."""
    path = e.module.replace(".", "/")
    file = next((f for f in (f"{path}.py", f"{path}/__init__.py") if (PACKAGE.parent / f).is_file()), "")
    if not file:
        return ""
    line = "" if e.kind == "data" else f"#L{inspect.getsourcelines(inspect.unwrap(e.thing))[1]}"
    return f"Source: [{file}]({sources}/{file}{line})" if sources else f"Source: `{file}`"
