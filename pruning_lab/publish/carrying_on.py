"""What a chapter's code takes from the library, as links to the reference where the chapter says how to go on."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import nbformat
from docutils import nodes
from sphinx.addnodes import pending_xref

from .reference import OURS, Entry, entries

HEAD, SOURCES = "Run it again", "Sources."  # of the section, and how the paragraph begins that the links precede
WORDS = "The reference has what the code of this chapter takes from the library: "


def used(notebook: nbformat.NotebookNode) -> list[Entry]:
    """The entries of the reference that a notebook's code imports, or reads from a room that it imports; in order.

    What has no entry (figures, what pages say) is left out, as is a cell that is no plain Python.
    """
    known = {(e.name.rpartition(".")[2], id(e.thing)): e for e in entries().values()}
    seen, found = {}, []
    for tree in _trees(notebook):
        seen |= {name: thing for name, _, thing in _imports(tree)}
        named = [(short, thing) for _, short, thing in _imports(tree)]
        found += [known.get((short, id(thing))) for short, thing in [*named, *_attributes(tree, seen)]]
    return list({e.name: e for e in found if e}.values())  # a registry has no hash, and neither has its entry


def _trees(notebook: nbformat.NotebookNode) -> Iterator[ast.Module]:
    for cell in notebook.cells:
        if cell.cell_type == "code":
            try:
                yield ast.parse(cell.source)
            except SyntaxError:  # a line for the notebook and not for Python
                continue


def _imports(tree: ast.Module) -> Iterator[tuple[str, str, Any]]:
    """What is imported from the library: as the code calls it, as the library does, and the thing itself."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == OURS:
            for alias in node.names:
                thing = getattr(import_module(node.module), alias.name, None)
                yield alias.asname or alias.name, alias.name, thing


def _attributes(tree: ast.Module, seen: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """What is read from an imported room, as in `masks.build`: its name and the thing."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and inspect.ismodule(room := _value(node.value, seen)):
            yield node.attr, getattr(room, node.attr, None)


def _value(node: ast.expr, seen: dict[str, Any]) -> Any:
    """What `a` or `a.b` stands for where `a` was imported and is a room; else None."""
    if isinstance(node, ast.Name):
        return seen.get(node.id)
    room = _value(node.value, seen) if isinstance(node, ast.Attribute) else None
    return getattr(room, node.attr, None) if inspect.ismodule(room) else None


def add(app, doctree: nodes.document) -> None:
    """Put the links into the section on carrying on, once, of a chapter of a book that has a reference."""
    page = app.env.docname
    path = Path(app.env.doc2path(page))
    if path.suffix != ".ipynb" or not path.name[0].isdigit() or "book/reference" not in app.env.found_docs:
        return
    sections = [s for s in doctree.findall(nodes.section) if s.next_node(nodes.title).astext() == HEAD]
    if sections and (found := used(nbformat.read(path, as_version=4))):
        last = sections[-1]
        places = [k for k, child in enumerate(last.children) if child.astext().startswith(SOURCES)]
        last.insert(places[0] if places else len(last), links(found, page))


def links(found: list[Entry], page: str) -> nodes.paragraph:
    """A sentence with a link to each entry."""
    made = nodes.paragraph("", WORDS)
    for k, e in enumerate(found):
        target = dict(refdomain="py", reftype="obj", reftarget=f"{OURS}.{e.name}", refexplicit=True, refdoc=page)
        made += [nodes.Text(", ")] if k else []
        made += pending_xref("", nodes.literal("", e.name), **target)
    made += nodes.Text(".")
    return made
