"""Where the book is: it is no part of the installed package, which works without it."""

from __future__ import annotations

from contextlib import suppress
from functools import cache
from pathlib import Path

MARKS = ("_toc.yml", "book/claims.yml")  # what only the project's own folder holds


@cache
def project() -> Path | None:
    """The project's folder, with the book: the one around this package, else the first upwards from the current one.

    None: the package was installed alone, and is used elsewhere. It is looked for once a process.

    >>> from pruning_lab import environment
    >>> folder = environment.project()
    >>> folder is None or (folder / "_toc.yml").is_file()
    True
    """
    return next((folder for folder in _candidates() if all((folder / mark).is_file() for mark in MARKS)), None)


def _candidates() -> list[Path]:
    around = Path(__file__).parents[2]
    with suppress(FileNotFoundError):  # the current folder was removed
        return [around, Path.cwd(), *Path.cwd().parents]
    return [around]
