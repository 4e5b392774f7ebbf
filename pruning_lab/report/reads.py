"""Which records a figure draws: pages read records through here, and `about` of a page asks what was read.

A notebook's cell draws one figure from what is read in that cell; tables that were made in an earlier one are noted by
the functions that take rows out of them.
"""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from ..records import record, store
from ..records.experiment import Experiment
from ..records.places import folder_of
from ..records.store import Record

_read: dict[Experiment, None] = {}  # since the cell began, or since `used` was asked last
_cell: list[int | None] = [None]


def run(e: Experiment, weights: bool = False) -> Record:
    """`records.store.run`, noted."""
    note([e])
    return store.run(e, weights)


def find(e: Experiment, weights: bool = False) -> Record | None:
    """`records.store.find`, noted where something is found."""
    if (found := store.find(e, weights)) is not None:
        note([e])
    return found


def gather(experiments: Iterable[Experiment]) -> pd.DataFrame:
    """`records.store.gather`, noted."""
    asked = list(experiments)
    note(asked)
    return store.gather(asked)


def note(experiments: Iterable[Experiment]) -> None:
    """Say that the figure of this cell draws these, too."""
    if (cell := _running()) != _cell[0]:
        _read.clear()
        _cell[0] = cell
    _read.update(dict.fromkeys(experiments))


def only(experiments: Iterable[Experiment]) -> None:
    """Say that the figure of this cell draws these, and nothing else that was read in it."""
    _read.clear()
    note(experiments)


def rows(table: pd.DataFrame, alone: bool = False) -> None:
    """Say that the figure draws what the rows of a table were read from (its column `experiment`, where it has one).

    alone: and nothing else that was read in this cell.
    """
    found = table.get("experiment", ())
    (only if alone else note)({id(e): e for e in found}.values())  # a row a layer: to hash an experiment takes its time


def used() -> tuple[str, ...]:
    """The hashes at the ends of the keys of the published records that were read, in order; what was read is forgotten.

    A hash is of class and settings, so that it names one record of the shelf.
    """
    note(())
    hashes = {e.key.rpartition("-")[2] for e in _read if (folder_of(e, "published") / record.META).is_file()}
    _read.clear()
    return tuple(sorted(hashes))


def _running() -> int | None:
    """The number of the notebook's cell that runs; None outside of notebooks."""
    from sys import modules

    shell = modules["IPython"].get_ipython() if "IPython" in modules else None
    return shell.execution_count if shell else None
