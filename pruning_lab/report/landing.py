"""The landing page: a layer whose units go one by one, a few findings chosen by verdicts, all claims in small."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ..experiments import LayerGraph, UnitCurve
from . import beneath, reads, scoreboard, standing
from .answers import Sentences, outcome
from .evidence import Evidence
from .numbers import size
from .reads import run
from .told import Told, every
from .units import place

if TYPE_CHECKING:
    from IPython.display import HTML

ORDERS = {"shortest weight vector": "norm", "any, at random": "random"}
PAGE = "intro"  # the notebook that this is on
NOTHING = "<p>No layer has been measured in this way here yet.</p>"
SHARES = (  # of a layer's units that never fire, from this share on -> the words for it
    (0.9, "Nearly all"), (0.7, "Most"), (0.51, "More than half"), (0.49, "Half"), (0.4, "Nearly half"),
    (0.3, "About a third"), (0.2, "About a quarter"), (0.0, "Some"),
)  # fmt: skip


def removal(found: Evidence, model: str, layer: str) -> HTML:
    """One net's layer with a slider that removes its units, from the records of its graph and of its curves."""
    from IPython.display import HTML

    from ..widgets import removal

    drawn = found.of(LayerGraph, model=model, layer=layer)
    curves = [e for e in found.of(UnitCurve, layer=layer) for graph in drawn[:1] if e.parent == graph.snapshots.net]
    if not curves:
        return HTML(NOTHING)
    record, rows = run(drawn[0]), run(curves[0]).table.query("remove == 'lowest' and repeat == 0")
    orders = {name: record.arrays[f"order.{criterion}"] for name, criterion in ORDERS.items()}
    accuracy = {name: rows.accuracy[rows.criterion == criterion].tolist() for name, criterion in ORDERS.items()}
    norms, silent = record.arrays["norms"].astype(float), record.arrays["classes"][-1] < 0
    seen = drawn[0].snapshots.sample
    caption = (
        f"{place(found, model, layer)}: the weight vectors of one trained net; larger dots are longer, neighbours "
        f"point in similar directions. Grey ones fire on none of the first {seen:,} training images. "
        "Nothing is retrained."
    )
    where = removal.places(record.arrays["cosines"], norms)
    drawn_as = removal.picture(where, norms[-1], silent, orders, accuracy, heading(silent), caption, found.origin())
    return HTML(drawn_as + _beneath(found, accuracy))


def _beneath(found: Evidence, accuracy: Mapping[str, list[float]]) -> str:
    """The rows, the records and the command of the layer's figure."""
    rows = [(name, k, value) for name, values in accuracy.items() for k, value in enumerate(values)]
    link = beneath.saved(pd.DataFrame(rows, columns=["order", "removed", "accuracy"]), "removal.csv", PAGE)
    command = f"python -m pruning_lab run 02_force_graph --profile {found.profile}"
    return beneath.tools(link, "removal.csv", command, reads.used())


def heading(silent: np.ndarray) -> str:
    """How many of a layer's units never fire: the words of `SHARES` for their share, and the numbers."""
    count, share = int(np.sum(silent)), float(np.mean(silent))
    if not count:
        return "Each of these neurons fires"
    if count == len(silent):
        return f"None of these {count} neurons ever fires"
    if count == 1:
        return f"One of these {len(silent)} neurons never fires"
    words = next(words for least, words in SHARES if share >= least)
    return f"{words} of these neurons never fire ({count} of {len(silent)})"


def findings(told: Mapping[str, Told], sentences: Sentences) -> HTML:
    """A list with a sentence a part, chosen by its verdict, each with a link to its claim; {size} is what was measured.

    Raises:
        KeyError: a part that no claim has, or an outcome without a sentence.
    """
    from IPython.display import HTML

    table = every(told)
    rows = {f"{row['claim']}: {row['part']}": row for row in table.to_dict("records")}
    items = [_finding(rows[part], said) for part, said in sentences.items()]
    return HTML(f'<ul class="lab-findings">{"".join(items)}</ul>')


def _finding(row: Mapping[str, object], said: Mapping[str, str]) -> str:
    text = escape(said[outcome(str(row["verdict"]), said)].format(size=size(row) if row["n"] else ""))
    where = f" On {escape(str(row['on']))}." if row["on"] and row["n"] else ""
    return f'<li>{text}{where} <a href="{row["page"]}.html#claim-{row["claim"]}">{row["claim"]}</a></li>'


def small_board(told: Mapping[str, Told]) -> HTML:
    """All claims as squares, stacked by word; each leads to its row of the scoreboard."""
    from IPython.display import HTML

    return HTML(scoreboard.squares(standing.table(every(told)), "claims.html"))
