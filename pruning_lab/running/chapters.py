"""Chapters as lists of experiments: a notebook's cells tagged `parameters` and `plan`, run without Jupyter."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .. import environment
from ..records.experiment import Experiment, lineage
from .nearest import near
from .parameters import check as check_parameters

FOLDER = (environment.project() or Path(__file__).parents[2]) / "book"  # it need not be there


def folder(what: str) -> Path:
    """The book's folder, for `what` is to be done. ValueError: the library is here alone; says where the book is.

    >>> from pruning_lab import chapters
    >>> chapters.folder("This example").name
    'book'
    """
    if environment.project():
        return FOLDER
    address = os.environ.get("PRUNING_LAB_REPOSITORY")
    how = f"git clone {address}" if address else "clone its repository"
    raise ValueError(
        f"{what} needs the book, which the installed package does not bring: get the project ({how}, or unpack "
        "its source archive), and call this in its folder"
    )


def chapters() -> list[Path]:
    """The book's numbered notebooks, in order.

    >>> from pruning_lab import chapters
    >>> chapters.chapters()[0].name
    '01_frame_potential.ipynb'
    """
    return sorted(FOLDER.glob("[0-9][0-9]_*.ipynb"))


def chapter(name: str) -> Path:
    """The notebook meant by a path, a file name, its number or its name without the number; a page of the book that is
    no chapter by its name.

    Raises:
        ValueError: no such chapter, or no book here.

    >>> from pruning_lab import chapters
    >>> chapters.chapter("3").stem == chapters.chapter("coherence").stem
    True
    >>> chapters.chapter("99")
    Traceback (most recent call last):
        ...
    ValueError: no chapter '99'; there are ...
    """
    if not isinstance(name, str | Path):
        raise ValueError(f"no chapter {name!r}: expected a number, a name or a path")
    if Path(name).suffix == ".ipynb" and Path(name).is_file():
        return Path(name)
    is_file = Path(name).suffix == ".ipynb"
    folder(f"{str(name)!r}, which is no notebook here," if is_file else f"chapter {str(name)!r}")
    stem = (Path(name).stem if is_file else str(name)).zfill(2)
    for path in chapters():
        if stem in (path.stem, path.stem[:2], path.stem[3:]):
            return path
    if (page := folder("a page") / f"{Path(name).stem if is_file else name}.ipynb").is_file():
        return page
    names = [p.stem for p in chapters()]
    raise ValueError(f"no chapter {name!r}; there are {', '.join(names)}{near(name, names)}")


def plan(path: Path | str, profile: str, parameters: Mapping[str, Any] | None = None) -> list[Experiment]:
    """The experiments of a chapter at a profile: its `parameters` cell, then the overrides, then its `plan` cells.

    Raises:
        ValueError: the chapter has no such parameter or profile, a parameter is of another kind or range than it may be
            (see `parameters.check`), or the plan does not end in a list `experiments`. FileNotFoundError: no such
            notebook.

    >>> from pruning_lab import chapters
    >>> experiments = chapters.plan("01", "smoke", {"seeds": 1})
    >>> sorted({type(e).__name__ for e in experiments})
    ['UnitCurve', 'UnitImportance']
    """
    path = path if isinstance(path, Path) else chapter(path)
    if not isinstance(parameters, Mapping | None):
        raise ValueError(f"parameters are a {type(parameters).__name__}: expected a mapping from names to values")
    given = {"profile": profile, **(parameters or {})}
    names = defaults(path)
    check_parameters(path.stem, names, given)
    names |= given
    if not _cells(path, "plan"):
        raise ValueError(f"{path.stem} plans nothing: it has no cell tagged `plan`, as chapters have")
    try:
        _execute(path, "plan", names)
    except KeyError as error:
        if error.args != (given["profile"],):
            raise
        raise ValueError(f"the plan of {path.stem} has no profile {given['profile']!r}") from error
    experiments = names.get("experiments")
    if not isinstance(experiments, list) or not all(isinstance(e, Experiment) for e in experiments):
        raise ValueError(f"the plan of {path.stem} must end in a list `experiments`")
    return list(dict.fromkeys(experiments))


def own(e: Experiment) -> bool:
    """Whether an experiment rests on a criterion or a model from outside the library, or cannot even say so.

    >>> from pruning_lab import Recipe, Train, chapters
    >>> chapters.own(Train("digits", "mlp", Recipe(iterations=1)))
    False
    """
    try:
        return any(part.plugin_digests() for part in lineage([e]))
    except Exception:  # whatever a class of somebody else's may raise
        return True


def defaults(path: Path) -> dict[str, Any]:
    """What a chapter's `parameters` cell leaves behind, name -> value; of a notebook without one no parameter.

    >>> from pruning_lab import chapters
    >>> chapters.defaults(chapters.chapter("01"))["profile"]
    'laptop'
    """
    names: dict[str, Any] = {"__name__": f"plan of {path.stem}"}
    _execute(path, "parameters", names)
    return names


def _execute(path: Path, tag: str, names: dict[str, Any]) -> None:
    for number, source in _cells(path, tag):
        exec(compile(source, f"{path.name}, cell {number}", "exec"), names)


def read(path: Path) -> dict[str, Any]:
    """A notebook as it is stored. ValueError: it is none.

    >>> from pruning_lab import chapters
    >>> sorted(chapters.read(chapters.chapter("01")))
    ['cells', 'metadata', 'nbformat', 'nbformat_minor']
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is no notebook ({type(error).__name__}: {error})") from error


def _cells(path: Path, tag: str) -> list[tuple[int, str]]:
    """Number, from 1, and source of the code cells with a tag. ValueError: it is no notebook."""
    notebook = read(path)
    try:
        cells = notebook["cells"]
        return [
            (number, "".join(cell["source"]))
            for number, cell in enumerate(cells, 1)
            if cell["cell_type"] == "code" and tag in cell["metadata"].get("tags", [])
        ]
    except (LookupError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is no notebook ({type(error).__name__}: {error})") from error
