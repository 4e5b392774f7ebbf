"""One chapter executed by itself, for a reader: its notebook has its numbers in its sentences."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nbformat
import papermill

from ..running import prose


def execute(path: Path, output: Path, given: Mapping[str, Any]) -> str:
    """Execute a notebook by papermill, and write it with its sentences filled in; what cells print meanwhile, a line a
    run among it, is seen on standard error.

    Returns: its answer, whose numbers these are, and what it could not compute; empty where it has none.

    Raises:
        ValueError: a cell failed; names it and where what was executed lies.
    """
    output.parent.mkdir(parents=True, exist_ok=True)
    how = dict(kernel_name="python3", stdout_file=sys.stderr, extra_arguments=["--log-level=50"])  # the kernel's own
    try:
        papermill.execute_notebook(path, output, parameters=dict(given), **how)
    except papermill.PapermillExecutionError as error:
        raise ValueError(
            f"{path.name}, cell {error.cell_index + 1}: {error.ename}: {error.evalue}; see {output}"
        ) from None
    book = nbformat.read(output, as_version=4)
    told = prose.said(book)
    prose.fill(book)
    nbformat.write(book, output)
    return "\n".join(filter(None, (prose.answer(book), whose(told, given.get("profile", "")), _left_out(told))))


def whose(told: Mapping[str, str], profile: str) -> str:
    """Which run the numbers of an answer are of, after a run at some profile; empty where the page does not tell."""
    origin = told.get("origin", "")
    shown = origin.removeprefix("profile ").partition(";")[0]
    if not origin or shown == profile:
        return origin and f"These are numbers of this run: {origin}."
    beside = f"What this run at {profile} found stands beside them in the notebook."
    return f"These are numbers of a larger run that is stored: {origin}. {beside}"


def _left_out(told: Mapping[str, str]) -> str:
    """What the run could not compute, if anything."""
    _, mark, words = told.get("missing", "").partition(prose.LEFT_OUT)
    return mark + words
