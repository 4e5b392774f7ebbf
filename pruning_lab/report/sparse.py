"""Sparse nets against dense ones of equal size: parts of the claims PW1 to PW5, the table of speeds."""

from __future__ import annotations

import pandas as pd

from ..records.store import Record
from . import curves, fitting, masks
from .fitting import Parts
from .masks import SOURCE, Pair, complete, named, per_seed, tenths
from .page import Page

NONE = pd.Series(dtype=float)
LOW = 512  # the source's section 5.4 calls this width low
OTHERS = ("magnitude", "diff")  # masks with which random ones are to catch up
NETS = {"csr": "compressed rows (CSR)", "smaller": "dense, of equal size"}


def wide(table: pd.DataFrame, pair: Pair) -> tuple[pd.DataFrame, ...]:
    """Test accuracy by seed and complete width, a table a mask, of the seeds that have all; none below three widths."""
    widths, found = complete(table, pair), tenths(table)
    if len(widths) < 3:
        return ()
    each = [found[found["mask"] == mask].pivot(index="seed", columns="width", values="test")[widths] for mask in pair]
    whole = pd.concat(each, keys=pair, axis=1).dropna()
    return tuple(whole[mask] for mask in pair)


def slopes(table: pd.DataFrame, pair: Pair) -> pd.Series:
    """How much the first gains on the second per doubling of the width, one number a seed."""
    both = wide(table, pair)
    return curves.slopes(both[0] - both[1]) if both else NONE


def wider(table: pd.DataFrame, pair: Pair) -> pd.Series:
    """Doublings between the widths at which each reaches 99 % of its own best, one number a seed."""
    both = [curves.sufficient(part) for part in wide(table, pair)]
    return both[0] - both[1] if both else NONE


def over_dense(table: pd.DataFrame, rung: str = "") -> Parts:
    """Parts of PW1: each mask's test accuracy minus the dense net's, over the widths."""
    return {f"{m} over dense": per_seed(table, (named(m, rung), "dense")) for m in SOURCE}


def catching(table: pd.DataFrame, rung: str = "") -> Parts:
    """Parts of PW2: random masks catch up, end highest, and need more width."""
    pairs = {m: (named("random", rung), named(m, rung)) for m in OTHERS}
    return (
        {f"random over {m}, per doubling": slopes(table, pair) for m, pair in pairs.items()}
        | {f"random over {m}, widest": per_seed(table, pair, widest=True) for m, pair in pairs.items()}
        | {f"random needs more width than {m}, doublings": wider(table, pair) for m, pair in pairs.items()}
    )


def too_narrow(table: pd.DataFrame, rung: str = "") -> list[str]:
    """The parts of PW2 of which these widths cannot tell.

    Who ends highest is told by widths that the source does not call low; who needs more width, where the accuracy
    under the other mask levels off.
    """
    found = []
    for m in OTHERS:
        pair = (named("random", rung), named(m, rung))
        both = wide(table, pair)
        found += [f"random over {m}, widest"] * (max(complete(table, pair), default=0) <= LOW)
        found += [f"random needs more width than {m}, doublings"] * (not both or not fitting.levels_off(both[1]))
    return found


def better(table: pd.DataFrame, rung: str = "") -> Parts:
    """The part of PW3: test accuracy under magnitude masks minus that under diff masks."""
    return {"magnitude over diff": per_seed(table, (named("magnitude", rung), named("diff", rung)))}


def gaps(table: pd.DataFrame, rung: str = "") -> Parts:
    """Parts of PW4: differences in gap over the widths, the last over the lower half of the planned ones."""
    arms, widths = {criterion: named(criterion, rung) for criterion in SOURCE}, sorted(table.width.unique())
    m, d, r = arms.values()
    return (
        {f"dense over {criterion}": per_seed(table, ("dense", arm), "gap") for criterion, arm in arms.items()}
        | {"magnitude over random": per_seed(table, (m, r), "gap"), "diff over random": per_seed(table, (d, r), "gap")}
        | {"magnitude over diff, narrow": per_seed(table, (m, d), "gap", widths[: len(widths) // 2])}
    )


def fits(table: pd.DataFrame, rung: str = "") -> Parts:
    """Parts of PW5: the dense net's training accuracy minus that of each mask's child, over the widths."""
    return {f"dense over {m}, in training": per_seed(table, ("dense", named(m, rung)), "fit") for m in SOURCE}


CLAIMS = {"PW1": over_dense, "PW2": catching, "PW3": better, "PW4": gaps, "PW5": fits}


def fitted(table: pd.DataFrame) -> pd.DataFrame:
    """The rows that count: of widths at which most dense nets fit, and of seeds whose dense nets fit at each."""
    widths, seeds = fitting.counted(table[table.criterion == "dense"], "width")
    return table[table.width.isin(widths) & table.seed.isin(seeds)]


def verdicts(page: Page, table: pd.DataFrame, rung: str = "") -> pd.DataFrame:
    """The verdicts of PW1 to PW5 on what is shown, for masks of one rung; of nets that fit their training images."""
    on, counted = page.shown.apart(masks.SIZES, "mlp"), fitted(table)
    judged = []
    for id, measure in CLAIMS.items():
        every, parts = measure(table, rung), measure(counted, rung)
        if id == "PW2":
            parts |= {name: parts[name].iloc[:0] for name in too_narrow(counted, rung)}
        judged.append(page.judge(id, parts, short=fitting.short(every, parts), on=on))
    return pd.concat(judged)


def speeds(record: Record) -> pd.DataFrame:
    """`InferenceSpeed` as the page has it: a row a net and batch; the milliseconds with their quartiles."""
    rows = record.table
    spans = [f"{row.milliseconds:.2f} ({row.low:.2f} to {row.high:.2f})" for row in rows.itertuples()]
    return pd.DataFrame(
        {
            "net": rows.net.replace(NETS),
            "images at once": rows.batch,
            "numbers stored": rows.parameters.map("{:,}".format),
            "multiplications an image": rows.multiplications.map("{:,}".format),
            "megabytes": (rows.bytes / 1e6).round(2),
            "milliseconds": spans,
            "of the dense net's": rows.of_dense.map("{:.2f}".format),
        }
    )
