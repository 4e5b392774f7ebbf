"""The picture of README.md: `python -m pruning_lab.report.picture` draws it from the published records of chapter 1."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd

from ..experiments import UnitCurve
from ..figures import still
from ..records import store
from ..running import chapters

PROFILE, MODEL, LAYER = "night", "lenet_300_100", "fc1"
NAMES = {"norm": "smallest norm", "random": "at random", "frame_potential": "least like others"}


def file() -> Path:
    """Where it lies. ValueError: the book is not here."""
    return chapters.folder("the picture of README.md").parent / ".github" / "picture.svg"


def curves() -> pd.DataFrame:
    """The rows of the nets that chapter 1 shows first, lowest score first. LookupError: a record is not there."""
    planned = chapters.plan("01", PROFILE)
    first = next(e for e in planned if isinstance(e, UnitCurve) and (e.parent.model, e.layer) == (MODEL, LAYER))
    tables = []
    for e in (e for e in planned if isinstance(e, UnitCurve) and _of(e, first)):
        if (record := store.find(e)) is None:
            how = f"python -m pruning_lab sweep 01 --profile {PROFILE}"
            raise LookupError(f"{type(e).__name__} {e.key} is not stored: {how}")
        tables.append(record.table.assign(seed=e.parent.seed))
    table = pd.concat(tables)
    return table[table.criterion.isin(NAMES) & (table["remove"] == "lowest")]


def _of(e: UnitCurve, first: UnitCurve) -> bool:
    """Whether a curve differs from another by the seed of its net alone."""
    return replace(e, parent=replace(e.parent, seed=first.parent.seed)) == first


def drawn() -> str:
    """The picture as SVG."""
    table = curves()
    nets, units = table.seed.nunique(), int(table.removed.max())
    return still.curves(
        table,
        NAMES,
        title=f"Which of {units} neurons can go first? Mean and SD of {nets} nets",
        x="neurons removed from the first layer of LeNet-300-100 on MNIST",
        y="test accuracy",
        alt=f"Test accuracy as neurons are removed, lowest score first, by three orders; {nets} trained nets.",
    )


if __name__ == "__main__":
    file().write_text(drawn(), encoding="utf-8")
    print(file().relative_to(chapters.FOLDER.parent))
