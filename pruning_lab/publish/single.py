"""One chapter executed by itself, for a reader: its notebook has its numbers in its sentences."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nbformat
import papermill

from ..running import prose


def execute(path: Path, output: Path, given: Mapping[str, Any]) -> str:
    """Execute a notebook by papermill, write it with its sentences filled in; its answer, empty where it has none.

    Raises:
        ValueError: a cell failed; names it and where what was executed lies.
    """
    output.parent.mkdir(parents=True, exist_ok=True)
    how = dict(kernel_name="python3", extra_arguments=["--log-level=50"])  # the kernel's own
    try:
        papermill.execute_notebook(path, output, parameters=dict(given), **how)
    except papermill.PapermillExecutionError as error:
        raise ValueError(
            f"{path.name}, cell {error.cell_index + 1}: {error.ename}: {error.evalue}; see {output}"
        ) from None
    book = nbformat.read(output, as_version=4)
    prose.fill(book)
    nbformat.write(book, output)
    return prose.answer(book)
