"""What training adds to a layer's weights: projections, spectra and distances -> tables and claims."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping

import numpy as np
import pandas as pd

from ..experiments import Projection, Spectrum, Train
from ..figures.style import INK
from .curves import slopes
from .evidence import Evidence
from .page import Page
from .reads import run

LAYERS = {"fc1": "first hidden layer", "fc2": "second hidden layer"}
EVERY = "all"
PLACES = {EVERY: "both layers at once", **LAYERS}
KEPT = {"update": "update, its leading directions", "random": "update, random directions",
        "weight": "weights, their leading directions"}  # fmt: skip
WHOLE = "the whole net"
COLOURS = dict(zip([*KEPT.values(), *LAYERS.values(), "thrown away", "noise of the same size", "one hidden layer",
                    WHOLE],
                   ("#0072B2", "#808080", "#D55E00", "#0072B2", "#D55E00", "#0072B2", "#808080", "#0072B2", INK),
                   strict=True))  # fmt: skip
K, SOURCE_WIDTH, BESIDE = 16, 1024, (300, 256)
LARGE = 0.1  # of the norm of W: from here on what is thrown away is large
GROWS = {"spikes": "eigenvalues above the edge", "largest": "largest over the edge",
         "bulk": "variance of the bulk over the start's", "update_stable_rank": "stable rank of the update",
         "potential": "frame potential over chance"}  # fmt: skip
MOVES = {"distance": "distance from the start", "relative": "distance over the norm of the start"}
SIZES = {"paper": "", "gpu": "", "night": "fewer images"}
NARROW = {"paper": "", "gpu": "fewer images", "night": "widths to 1,024, fewer images"}
Parts = dict[str, pd.Series]


def reached(net: Train) -> bool:
    """Whether a rule of its recipe, and not its limit, ended the training."""
    last = run(net).table.iloc[-1]
    return bool(last.filter(regex="_reached$").any())


def spectra(found: Evidence, deep: bool = True) -> list[Spectrum]:
    """The nets of two hidden layers that stop at a margin, or those of one that stop at a loss."""
    return [e for e in found.of(Spectrum) if (e.net.recipe.stop_margin is not None) == deep]


def main_width(found: Evidence) -> int:
    """The source's width where it was run, else the widest there is; 0 where nothing is stored."""
    return max((e.net.width for e in spectra(found)), default=0)


def drawn(found: Evidence) -> set[Train]:
    """The widest nets that reached their margin, or all of that width where none did: what figures show."""
    nets = {e.net for e in spectra(found) if e.net.width == main_width(found)}
    return set(filter(reached, nets)) or nets


def left_out(found: Evidence) -> int:
    """How many nets of the widest figures do not show."""
    return len({e.net for e in spectra(found) if e.net.width == main_width(found)} - drawn(found))


def _projections(found: Evidence) -> list[Projection]:
    nets = drawn(found)
    return [e for e in found.of(Projection) if e.parent in nets]


def by_rank(found: Evidence) -> pd.DataFrame:
    """Accuracy by k of the nets `drawn`, a row a seed, k and what is kept: columns `PLACES`, in per cent."""
    tables = [_ranked(e) for e in _projections(found)]
    return pd.concat(tables) if tables else pd.DataFrame(columns=["seed", "kept", "k", *PLACES])


def _ranked(e: Projection) -> pd.DataFrame:
    wide = (100 * run(e).table.pivot(index=["kept", "k"], columns="place", values="accuracy")).reset_index()
    return wide.assign(seed=e.parent.seed, kept=wide.kept.map(KEPT))


def beside_whole(found: Evidence) -> pd.DataFrame:
    """`by_rank` and, of each net, what it is before anything is thrown away: as high at every k."""
    return pd.concat([by_rank(found), *map(_whole, _projections(found))], ignore_index=True)


def _whole(e: Projection) -> pd.DataFrame:
    """A row a k: what a projection left and what it lost, together, in each place."""
    table = run(e).table.query("kept == 'update'")
    wide = table.assign(whole=100 * table.accuracy + table["drop"]).pivot(index="k", columns="place", values="whole")
    return wide.reset_index().assign(seed=e.parent.seed, kept=WHOLE)


def thrown_away(found: Evidence) -> pd.DataFrame:
    """Norms of what is thrown away over that of W by k, and of noise of its size: columns `LAYERS`, rows as above."""
    rows = []
    for e in _projections(found):
        table = run(e).table.query("kept == 'update' and place != 'all'")
        for column, name in (("residual", "thrown away"), ("noise", "noise of the same size")):
            wide = table.pivot(index="k", columns="place", values=column).reset_index()
            rows.append(wide.assign(seed=e.parent.seed, what=name))
    return pd.concat(rows) if rows else pd.DataFrame(columns=["seed", "what", "k", *LAYERS])


def by_epoch(found: Evidence) -> pd.DataFrame:
    """Spectra of the nets `drawn`, a row a seed, layer and epoch: `GROWS`; the end stands at the last epoch."""
    nets = drawn(found)
    tables = [_grown(e) for e in spectra(found) if e.net in nets]
    return pd.concat(tables) if tables else pd.DataFrame(columns=["seed", "layer", "epoch", *GROWS])


def _grown(e: Spectrum) -> pd.DataFrame:
    table = run(e).table
    return table.assign(
        seed=e.net.seed, layer=table.layer.map(LAYERS), largest=table.largest / table.edge,
        bulk=table.bulk_variance / table.groupby("layer").bulk_variance.transform("first"),
        potential=table.potential / table.chance_potential,
    )  # fmt: skip


def by_width(found: Evidence) -> pd.DataFrame:
    """Nets of one hidden layer, a row each that reached its loss: `MOVES` by width and seed."""
    rows = []
    for e in spectra(found, deep=False):
        if reached(e.net):
            first, last = run(e).table.iloc[0], run(e).table.iloc[-1]
            moved = dict(distance=last.distance, relative=last.distance / first.norm)
            rows.append(dict(net="one hidden layer", width=e.net.width, seed=e.net.seed) | moved)
    table = pd.DataFrame(rows, columns=["net", "width", "seed", *MOVES])
    return table.sort_values(["width", "seed"])


def small_matrices(found: Evidence) -> pd.DataFrame:
    """Matrices too small for a tail, and the exponents of the others at the end: a row a width and layer."""
    rows = []
    for e in spectra(found):
        for row in run(e).table.groupby("layer", sort=False).tail(1).itertuples():
            rows.append(dict(width=e.net.width, layer=row.layer, eigenvalues=int(min(row.rows, row.columns)),
                             alpha=row.alpha, deviation=row.alpha_deviation,
                             reason=row.reason if isinstance(row.reason, str) else ""))  # fmt: skip
    if not rows:
        return pd.DataFrame()
    means = pd.DataFrame(rows).groupby(["width", "layer", "eigenvalues", "reason"], sort=False).mean().reset_index()
    told = {name: means[name].map(lambda v: "–" if math.isnan(v) else f"{v:.2f}") for name in ("alpha", "deviation")}
    return means.assign(**told)[["width", "layer", "eigenvalues", "alpha", "deviation", "reason"]]


# claims


def drops(found: Evidence) -> Parts:
    """SS1: accuracy at k = 16 less the whole net's, in points, and less that of the two controls."""
    parts, widest = {}, main_width(found)
    at = {width: _at_k(found, width) for width in (widest, *BESIDE)}
    lost = at[widest].get("update", {})
    parts |= {name: -lost[place] for place, name in PLACES.items() if place in lost}
    for width in BESIDE:
        if EVERY in (beside := at[width].get("update", {})):
            parts[f"{PLACES[EVERY]}, {width} wide"] = -beside[EVERY]
    for kept, name in (("random", "random directions"), ("weight", "directions of the weights")):
        if EVERY in (other := at[widest].get(kept, {})):
            parts[f"{PLACES[EVERY]}, over {K} {name}"] = other[EVERY] - lost[EVERY]
    return parts


def _at_k(found: Evidence, width: int, column: str = "drop") -> dict[str, dict[str, pd.Series]]:
    """What is kept -> place -> a number a seed at k = 16, of the nets of one width that reached their margin."""
    nets = [e for e in found.of(Projection) if e.parent.width == width and reached(e.parent)]
    tables = [run(e).table.assign(seed=e.parent.seed) for e in nets]
    if not tables:
        return {}
    table = pd.concat(tables)
    table = table[table.k == K]
    return {
        kept: {place: rows.set_index("seed")[column] for place, rows in part.groupby("place")}
        for kept, part in table.groupby("kept")
    }


def residuals(found: Evidence) -> Parts:
    """SS2: the norm of what is thrown away over that of W, less a tenth; and the log of its ratio to noise's."""
    norms, noise = (_at_k(found, main_width(found), c).get("update", {}) for c in ("residual", "noise"))
    parts = {name: norms[layer] - LARGE for layer, name in LAYERS.items() if layer in norms}
    over = {f"{LAYERS[n]}, over noise": np.log(norms[n] / noise[n]) for n in LAYERS if n in norms}
    return parts | over


def signals(found: Evidence) -> Parts:
    """SS3: spikes at the end less those at the start, logs of the largest over the edge and of the shrinking."""
    rows = []
    for e in spectra(found):
        if e.net.width == main_width(found) and reached(e.net):
            for layer, table in _grown(e).groupby("layer", sort=False):
                first, last = table.iloc[0], table.iloc[-1]
                numbers = {"more spikes": last.spikes - first.spikes, "the bulk shrinks": -math.log(last.bulk),
                           "the largest stands above the edge": math.log(last.largest)}  # fmt: skip
                rows += [dict(seed=e.net.seed, part=f"{layer}: {name}", value=v) for name, v in numbers.items()]
    if not rows:
        return {}
    return {part: rows.set_index("seed").value for part, rows in pd.DataFrame(rows).groupby("part")}


def widths_of(page: Page) -> set[int]:
    """Every width of one hidden layer in the plan of what is shown."""
    planned = [e for e in page.plan(page.shown.profile) if isinstance(e, Spectrum)]
    return {e.net.width for e in planned if e.net.recipe.stop_margin is None}


def distances(table: pd.DataFrame, widths: Collection[int]) -> Parts:
    """SS4: how the logs of both distances fall per doubling of the width, one a seed that has all of these widths."""
    table = table[table.groupby("seed").width.transform("nunique") == len(widths)]
    names = dict(distance="distance of the hidden weights", relative="distance over the norm of the start")
    wide = {c: table.pivot(index="seed", columns="width", values=c).astype(float) for c in names}
    return {name: -slopes(np.log(wide[c])) for c, name in names.items()} if len(table) else {}


def judged(page: Page) -> pd.DataFrame:
    """The verdicts of the chapter's claims."""
    found = page.shown
    late = [e for e in spectra(found) if e.net.width == main_width(found) and not reached(e.net)]
    high = {e.net.seed for e in spectra(found, deep=False) if not reached(e.net)}
    on, widest = apart(found, SIZES), main_width(found)
    if widest and widest != SOURCE_WIDTH:
        on = ", ".join(filter(None, (on, f"{widest} wide")))
    said = {"SS1": drops(found), "SS2": residuals(found), "SS3": signals(found)}
    tables = [page.judge(id, parts, short=_short(id, len(late)), on=on) for id, parts in said.items()]
    moved = page.judge(
        "SS4", distances(by_width(found), widths_of(page)), short=_short("SS4", len(high)), on=apart(found, NARROW)
    )
    return pd.concat([*tables, moved])


def apart(found: Evidence, sizes: Mapping[str, str]) -> str:
    """What sets a run apart from the source's own, whose nets see MNIST."""
    return found.apart(sizes, source="MNIST")


def _short(id: str, nets: int) -> dict[str, int]:
    """So many nets did not get to where the source's parts of a claim speak."""
    from . import claims

    return {part.name: nets for part in claims.load()[id].parts if part.by == "source"} if nets else {}
