"""What the source claims of large networks: parts of claims, its numbers beside ours, what it says against itself."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from pandas import DataFrame

from . import verdicts
from .evidence import reference
from .large import DENSE, GLOBAL, LOCAL, RANKINGS, level, masked, minus, named, of_kind, ready, starved, thirds
from .numbers import spelled
from .page import Page

SIZES = {"paper": "", "gpu": "fewer epochs", "night": "narrow nets"}
FEWER = {"resnet": "narrow nets, few epochs", "vit": "narrow nets, few images"}  # at profile night, of each kind alone
DIFFS, BEST_DIFF = GLOBAL[3:], GLOBAL[3]
CLOSE = (GLOBAL[1], GLOBAL[0])  # best magnitude and random, that stay close to dense, says the claim
RANKED = [kind for kind in GLOBAL if kind not in CLOSE]
THEIRS = ("none", "random_10", "magnitude_best", "magnitude_worst", "coherence_best", "coherence_worst")
BORNE_OUT = {"reproduced": "yes", "not reproduced": "no"}  # else the word itself
OUTSIDE = {"not run": "not in reach"}  # where nets were run, but none in the regime of the claims
Judged = tuple[dict[str, pd.Series], dict[str, int]]  # parts: numbers in the claim's regime, and how many are not


def collapse(nets: DataFrame, m: str) -> Judged:
    """LN1, on one kind of ResNet50: what the diff masks lose that starve it, and what the best of all starved masks."""
    found = Judging()
    for kind in DIFFS:
        values = 50 - level(nets, m, kind)
        found.add(f"ResNet50: 50 % minus {masked(kind[1:])}", values, ready(nets, m, kind) & starved(nets, m, kind))
    for kind in CLOSE:
        found.add(f"ResNet50: {masked(kind[1:])} minus dense", minus(nets, m, kind, DENSE), ready(nets, m, kind, DENSE))
    found.add("ResNet50: 50 % minus the best starved mask", 50 - starving(nets, m), ready(nets, m, *RANKED))
    return found.told


def starving(nets: DataFrame, model: str) -> pd.Series:
    """Test accuracy of the best of the masks that starve layers and are not to stay close, by seed."""
    found = [level(nets, model, kind).loc[lambda t, k=kind: t.index.isin(starved(nets, model, k))] for kind in RANKED]
    return pd.concat(found).groupby(level=0).max()


def local(nets: DataFrame, m: str) -> Judged:
    """LN2: each local mask minus dense, on one kind of ResNet50."""
    found = Judging()
    for kind in LOCAL:
        found.add(f"ResNet50: {masked(kind[1:])} minus dense", minus(nets, m, kind, DENSE), ready(nets, m, kind, DENSE))
    return found.told


def against_diff(nets: DataFrame) -> Judged:
    """LN3: each of the transformer's diff masks minus the others of its ranking."""
    found = Judging()
    for diff, rival in [(diff, rival) for diff in (3, 4) for ours in (GLOBAL, LOCAL) for rival in ours[:3]]:
        ours = (GLOBAL if rival[0] == "global" else LOCAL)[diff]
        name = f"ViT, {named(ours)} minus {masked(rival[1:])}"
        found.add(name, minus(nets, "vit", ours, rival), ready(nets, "vit", ours, rival))
    return found.told


class Judging:
    """Gathers parts: numbers of the seeds that are in the regime of the claim, and how many are not."""

    def __init__(self) -> None:
        self.told: Judged = ({}, {})

    def add(self, name: str, values: pd.Series, seeds: set[int]) -> None:
        """A part from one number a seed."""
        values = values.dropna()
        inside = values.index.isin(seeds)
        self.told[0][name], self.told[1][name] = values[inside], int((~inside).sum())


def evenness(nets: DataFrame, layers: DataFrame, model: str) -> Judged:
    """LN4, of the layers under the best-diff mask of one kind of ResNet50 and of the ViT, as logarithms."""
    settled = of_kind(nets[nets.settled.astype(bool)], model, BEST_DIFF)
    seeds = set(settled.seed)
    wider = np.log(uneven(layers, model) / uneven(layers, "vit"))
    found = Judging()
    found.add("ResNet50: late over early", thirds(layers, model, BEST_DIFF), seeds)
    found.add("ResNet50: spread over ViT's", wider, seeds)
    blocks = of_kind(layers, "vit", BEST_DIFF)
    thinnest = blocks[blocks.layers.str.startswith("block")].groupby("seed").density.min()
    found.add("ViT: thinnest block layer over 5 %", np.log(thinnest.astype(float) / 5), set(thinnest.index))
    return found.told


def judged(page: Page, nets: DataFrame, layers: DataFrame, resnet: str) -> DataFrame:
    """The verdicts of the chapter's claims, on one kind of ResNet50 and the transformer."""
    residual = page.shown.apart(SIZES | dict(night=FEWER["resnet"]), resnet)
    found = {
        "LN1": (collapse(nets, resnet), residual),
        "LN2": (local(nets, resnet), residual),
        "LN3": (against_diff(nets), page.shown.apart(SIZES | dict(night=FEWER["vit"]), "vit")),
        "LN4": (evenness(nets, layers, resnet), page.shown.apart(SIZES)),
    }
    return pd.concat([page.judge(id, parts, short=short, on=on) for id, ((parts, short), on) in found.items()])


def uneven(layers: DataFrame, model: str) -> pd.Series:
    """Spread of the layers' log densities under the best-diff mask, by seed."""
    parts = of_kind(layers, model, BEST_DIFF).groupby("seed").density
    return pd.Series({seed: np.log(part).std() for seed, part in parts}, dtype=float)


def beside(nets: DataFrame, model: str, name: str) -> DataFrame:
    """The source's numbers beside ours by mask: test accuracy in % (training accuracy), ours ± standard deviation."""
    theirs, rows = reference(name), [{"mask": masked(kind[1:])} for kind in (DENSE, *GLOBAL)]
    for ranking, ours in zip(RANKINGS, (GLOBAL, LOCAL), strict=True):
        for row, kind, called in zip(rows, (DENSE, *ours), THEIRS, strict=True):
            test, train = (100 * theirs[f"{part}{ranking}_10"][called] for part in ("", "train_"))
            row[f"source, {ranking}"] = f"{test:.1f} ({train:.1f})"
            test, train = (level(nets, model, kind, column=column) for column in ("test", "train"))
            spread = f" ± {test.std(ddof=1):.1f}" if len(test) > 1 else ""
            row[f"ours, {ranking}"] = f"{test.mean():.1f}{spread} ({train.mean():.1f})" if len(test) else "not run"
    return DataFrame(rows)


def statement(where: str, says: str, values: Sequence[float], margin: float | None = None) -> dict[str, str | int]:
    """A row of one statement of the source: one number a net, above zero if it is true, or above minus the margin."""
    numbers, kind = pd.Series(values, dtype=float).dropna().tolist(), "differs" if margin is None else "at_least"
    found = verdicts.verdict(numbers, kind, margin or 0)
    measured = spelled(found.mean, found.low, found.high) if found.n else "none"
    says += f" (−{margin})" if margin else ""
    return {
        "where": where,
        "says": says,
        "measured": measured,
        "nets": found.n,
        "borne out": BORNE_OUT.get(found.word, found.word),
    }


def regime(nets: DataFrame, model: str) -> tuple[DataFrame, dict[str, str]]:
    """The nets of the seeds that are in the regime of the claims under every mask of the source, and what a word turns
    into where there is none, though nets were run.
    """
    inside = nets[nets.seed.isin(ready(nets, model, DENSE, *GLOBAL, *LOCAL))]
    return inside, OUTSIDE if inside.empty and level(nets, model, DENSE).any() else {}


def resnet_statements(nets: DataFrame, layers: DataFrame, m: str) -> DataFrame:
    """What text, tables and captions of the source say of its ResNet50, and what is borne out; a row a statement."""
    nets, words = regime(nets, m)
    layers = layers[layers.seed.isin(nets.seed)]
    random, large, small, good, bad = GLOBAL
    fits = level(nets, m, good, column="train") - level(nets, m, good) - 50
    floored = {kind: level(nets, m, kind, column="floored") for kind in GLOBAL}
    text = floored[bad] + floored[large] - floored[good] - floored[small]
    early = pd.concat([thirds(layers, m, kind) for kind in (good, small)], axis=1).min(axis=1, skipna=False)
    return DataFrame([
        statement("table 6.1", "both diff masks stay below 50 %", 50 - level(nets, m, good, bad)),
        statement("table 6.1", "best diff fits: training minus test above 50", fits),
        statement("text 6.1", "worst diff beats all but best magnitude", minus(nets, m, bad, [random, small, good])),
        statement("text 6.1", "best magnitude beats random", minus(nets, m, large, random)),
        statement("table 6.1", "random beats best magnitude", minus(nets, m, random, large)),
        statement("text 6.2", "worst diff and best magnitude have more layers on the floor than their inverses", text),
        statement("caption 6.3", "best diff and worst magnitude have more", -text),
        statement("caption 6.3", "both cut early layers more (log ratio)", early),
        statement("table 6.5", "local: best diff beats worst diff", minus(nets, m, LOCAL[3], LOCAL[4])),
        statement("text 6.2", "local random is close to global magnitude", minus(nets, m, LOCAL[0], large), 2),
    ]).replace({"borne out": words})  # fmt: skip


def vit_statements(nets: DataFrame) -> DataFrame:
    """The same of its transformer."""
    (random, large, small, good, bad), m = GLOBAL, "vit"
    nets, words = regime(nets, m)
    return DataFrame([
        statement("text 6.1", "best diff beats all other masks", minus(nets, m, good, [random, large, small, bad])),
        statement("text 6.1", "best diff is close to dense", minus(nets, m, good, DENSE), 2),
        statement("table 6.2", "best magnitude is close to dense", minus(nets, m, large, DENSE), 2),
        statement("text 6.1", "random beats best magnitude", minus(nets, m, random, large)),
        statement("table 6.2", "best magnitude beats random", minus(nets, m, large, random)),
        statement("table 6.2", "worst diff beats best diff", minus(nets, m, bad, good)),
        statement("table 6.6", "local: best diff beats all others", minus(nets, m, LOCAL[3], [*LOCAL[:3], LOCAL[4]])),
    ]).replace({"borne out": words})  # fmt: skip
