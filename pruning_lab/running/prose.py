"""The prose of an executed notebook as the book's pages show it: sentences and citations in place of their roles."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from .chapters import FOLDER

HANDED = "application/papermill.record/"  # before the kind of what a cell hands to the prose, in its output
SAID = re.compile(r"\{glue:text\}`([^`]+)`")
SHOWN = re.compile(r"\{glue:\}`([^`]+)`")  # a table
CITED = re.compile(r"\{cite:([pt])\}`([^`]+)`")
LEFT_OUT = "Left out: "  # how a page begins to tell what its sweep could not compute
ENTRY = re.compile(r"@\w+\{(\w+),(.*?)\n\}", re.S)  # of a bibliography: its key, its fields
FIELD = re.compile(r"^\s*(author|year)\s*=\s*\{(.*)\}", re.M)


def fill(notebook: Mapping[str, Any]) -> None:
    """Put what its cells handed to the prose into the text of an executed notebook, and authors and years with it."""
    told = said(notebook)
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":
            cell["source"] = filled("".join(cell["source"]), told)


def said(notebook: Mapping[str, Any]) -> dict[str, str]:
    """Name -> the words, or the table as HTML, that a cell of an executed notebook handed to the prose."""
    outputs = [output for cell in notebook["cells"] for output in cell.get("outputs", ())]
    handed = [(output.get("metadata", {}).get("scrapbook"), output["data"]) for output in outputs if "data" in output]
    kinds = [f"{HANDED}text/{kind}" for kind in ("html", "plain")]  # a table is there in both
    return {about["name"]: _words(next(data[k] for k in kinds if k in data)) for about, data in handed if about}


def _words(text: str | list[str]) -> str:
    """What a cell displayed, without the quotes of a text's `repr`."""
    text = "".join(text)
    return ast.literal_eval(text) if text[:1] in ("'", '"') else text


def filled(text: str, told: Mapping[str, str]) -> str:
    """A text with what was told in place of each name, and with citations; names of other pages say of which."""

    def named(found: re.Match) -> str:
        page, _, name = found[1].rpartition("::")
        name = name.partition(":")[0] if page else found[1].partition(":")[0]
        return f"(see {page.removesuffix('.ipynb')})" if page else told.get(name, found[0])

    shown = SHOWN.sub(lambda found: told.get(found[1], found[0]), SAID.sub(named, text))
    return CITED.sub(lambda found: _cited(found[1], found[2].split(",")), shown)


def _cited(how: str, keys: Iterable[str]) -> str:
    """Works by their authors and years: "(A, 2020; B and C, 2021)", or in a sentence "A (2020)"."""
    works = [_bibliography().get(key.strip(), (key.strip(), "")) for key in keys]
    if how == "t":
        return ", ".join(f"{names} ({year})" for names, year in works)
    return f"({'; '.join(', '.join(filter(None, work)) for work in works)})"


@lru_cache(maxsize=1)
def _bibliography() -> dict[str, tuple[str, str]]:
    """Key -> authors as a text names them, and the year."""
    found = {}
    file = FOLDER / "references.bib"
    for key, fields in ENTRY.findall(file.read_text(encoding="utf-8") if file.is_file() else ""):
        told = dict(FIELD.findall(fields))
        names = [name.partition(",")[0].strip("{} ") for name in told.get("author", key).split(" and ")]
        several = len(names) > 2 or names[-1] == "others"
        found[key] = f"{names[0]} et al." if several else " and ".join(names), told.get("year", "")
    return found


def answer(notebook: Mapping[str, Any]) -> str:
    """The answer of an executed notebook as plain text, after `fill`; empty where it has none."""
    texts = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "markdown"]
    found = next((part for text in texts for part in text.split("\n\n") if part.startswith("**Answer.**")), "")
    return re.sub(r"\[([^]]+)\]\([^)]*\)", r"\1", found.replace("**", ""))


def paragraphs(notebook: Mapping[str, Any], told: Mapping[str, str]) -> str:
    """The paragraphs of a notebook, executed or not, that have something told in them, filled."""
    texts = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "markdown"]
    parts = [part for text in texts for part in text.split("\n\n") if SAID.search(part)]
    return "\n\n".join(filled(part, told) for part in parts)
