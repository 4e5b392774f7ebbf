"""Sparse nets against dense ones of equal size: parts of the claims PW1 to PW5, the table of speeds, sentences."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from ..masks import mlp_weights
from ..records.store import Record
from . import curves, fitting, masks
from .fitting import Parts
from .masks import NOT_RUN, SOURCE, Pair, complete, named, per_seed, ran, ranks, tenths
from .numbers import counted, spoken
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


def sentences(
    page: Page, table: pd.DataFrame, where: pd.DataFrame, settled: pd.DataFrame, timed: Record
) -> dict[str, str]:
    """What the page says, by the names that its prose has for it.

    table: `masks.by_width`, of what is shown; where, settled: `kept.layers`, `kept.settling`; timed: `InferenceSpeed`.
    """
    names, width, device = ranks(table), masks.several(table), timed.meta["device"]
    over = each(table, {m: (m, "dense") for m in names})
    narrower = each(table, {m: ("dense", m) for m in names}, "gap")
    return dict(
        origin=page.shown.origin(),
        missing=page.shown.few(),
        answer_pw1=f"Test accuracy against a dense net of equal size, averaged over widths: {over}",
        answer_pw2=caught_up(table),
        answer_pw3=f"Magnitude against diff: {spoken(per_seed(table, ('magnitude', 'diff')), 1, 'points')}",
        answer_pw4=f"The gap between training and test accuracy, dense minus sparse: {narrower}",
        ends_read=ended(table),
        emptied_read=masks.emptied(ran(tenths(table))) or "No mask leaves a layer without weights.",
        paired_read=f"Averaged over widths: {over}.",
        layers_read=shared(where),
        ladder_read=climbed(masks.ladder(table)),
        inverse_read=inverted(masks.inverses(table)),
        inverse_width=f"width {width}" if width else "no width of this profile",
        settling_read=settled_at(settled),
        speed_read=timings(timed),
        speed_device=f"{device['name']} ({device['type'].upper()}), {timed.table.threads.iloc[0]} CPU threads",
        local_read=f"Layer by layer minus together: {each(table, {m: (named(m, 'local'), m) for m in names})}.",
        biases=f"up to {4 * (table.parent - table.width).max():,}",
        too_many=f"{mlp_weights(2800) / 1e5:.0f}",
        most=f"{mlp_weights(2100) / 1e5:.0f}",
    )


def each(table: pd.DataFrame, pairs: Mapping[str, Pair], column: str = "test") -> str:
    """The differences of pairs, averaged over widths."""
    return "; ".join(f"{name} {spoken(per_seed(table, pair, column), 1, 'points')}" for name, pair in pairs.items())


def caught_up(table: pd.DataFrame) -> str:
    """What random masks gain on those by magnitude, and where they end."""
    pair, gained = ("random", "magnitude"), spoken(slopes(table, ("random", "magnitude")), 1, "points")
    widest = max(complete(table, pair), default=None)
    last = spoken(per_seed(table, pair, widest=True), 1, "points")
    at = f"at width {widest} they stand at {last}" if widest else last
    return f"Per doubling of the width, random masks gain {gained} on those by magnitude; {at}"


def ended(table: pd.DataFrame) -> str:
    """Mean test accuracy of dense nets and of the best masks, by width."""
    found = ran(tenths(table[table.rung == ""]))
    order, told = ["dense", *ranks(table)], []
    for width, part in found.groupby("width"):
        means = part.groupby("mask").test.mean()
        told.append(f"width {width}: " + ", ".join(f"{m} {means[m]:.1f} %" for m in order if m in means))
    return "; ".join(told) + "." if told else NOT_RUN


def climbed(steps: pd.DataFrame) -> str:
    """What each step of the ladder is worth."""
    told = [f"{name} {spoken(values, 1, 'points')}" for name, values in zip(steps.label, steps["values"], strict=True)]
    return "; ".join(told) + "." if told else NOT_RUN


def inverted(inverse: pd.DataFrame) -> str:
    """Best minus worst, by mask and density."""
    groups = inverse.groupby(["mask", "density"])
    told = [f"{mask} at density {d:g} {spoken(part.points.tolist(), 1, 'points')}" for (mask, d), part in groups]
    return f"Best minus worst: {'; '.join(told)}." if told else NOT_RUN


def shared(where: pd.DataFrame) -> str:
    """What each mask keeps of the first layer and of the last."""
    means = where.groupby(["mask", "layer"]).density.mean()
    words = "{} {:.1f} % of the first layer and {:.1f} % of the last"
    told = [words.format(mask, means[mask, "fc1"], means[mask, "out"]) for mask in where["mask"].unique()]
    return f"Kept: {'; '.join(told)}." if told else NOT_RUN


def settled_at(settled: pd.DataFrame) -> str:
    """Share of the final mask that is there before the first step, after a tenth of the training and after half."""
    if settled.empty:
        return NOT_RUN
    means = settled.groupby("epoch")[["overlap", "chance_in_layers"]].mean()
    last = means.index.max()
    start, tenth, half = (100 * means.overlap[means.index <= at].iloc[-1] for at in (0, last / 10, last / 2))
    return (
        f"Before the first step the largest weights already have {start:.0f} % of the final mask, after a tenth of the "
        f"training {tenth:.0f} %, after half {half:.0f} %. Chance that knows how many each layer keeps has "
        f"{100 * means.chance_in_layers[0]:.0f} % at the start."
    )


def timings(timed: Record) -> str:
    """How long each net takes beside the dense one, by how many images it sees at once."""
    ratios = {batch: part.set_index("net").of_dense for batch, part in timed.table.groupby("batch")}
    told = [
        f"with {counted(batch, 'image')} at once a masked net takes {of['masked']:.2f} times as long as the dense one, "
        f"compressed rows {of['csr']:.2f}, the smaller net {of['smaller']:.2f}"
        for batch, of in ratios.items()
    ]
    return "; ".join(told).capitalize() + "."
