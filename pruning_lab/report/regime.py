"""Whether nets got where a claim speaks: real images fitted, noise memorised or at a plateau; a number a net there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ..experiments import GradientHistory
from .contrast import NAMES, histories, home
from .evidence import Evidence
from .page import Page
from .reads import run

FITS = 0.99  # training accuracy of the last epoch from which on images are fitted, or noise is memorised
LEFT = 0.2  # twice what guessing among ten classes gets right: below it nothing was memorised
RISE, LAST = 0.02, 0.2  # at a plateau training accuracy rises by less than this over the last fifth of the epochs
Needs = Mapping[str, Callable[[GradientHistory], bool]]  # arm -> whether a net of it got there


NOBODY = "No net that counts has been run at this size yet."


@dataclass(frozen=True)
class Measured:
    """One number a net that got there, by its seed; `short`: how many did not."""

    values: pd.Series
    short: int = 0


Parts = Mapping[str, Mapping[str, Measured]]  # claim -> part


def accuracy(e: GradientHistory) -> pd.Series:
    """Training accuracy in [0, 1] by epoch, a running mean over the epoch."""
    return run(e.snapshots.net).table.set_index("epoch").train_accuracy.dropna()


def fits(e: GradientHistory) -> bool:
    """Whether the last epoch gets 99 % of the training images right."""
    return bool(accuracy(e).iloc[-1] >= FITS)


def at_chance(e: GradientHistory) -> bool:
    """Whether a net ends with no more of its training images right than twice what guessing gets: it learnt nothing."""
    return bool(accuracy(e).iloc[-1] <= LEFT)


def settled(e: GradientHistory) -> bool:
    """Whether noise is memorised, or accuracy has left chance and stays level over the last fifth of the epochs."""
    end = accuracy(e).iloc[-1]
    return bool(end >= FITS or (end > LEFT and rise(e) < RISE))


def rise(e: GradientHistory) -> float:
    """By how much training accuracy rises over the last fifth of the epochs, by a straight line."""
    learnt = accuracy(e)
    learnt = learnt.iloc[-max(2, round(LAST * len(learnt)) + 1) :]
    if len(learnt) < 2:  # one epoch tells of no plateau
        return np.inf
    return float(np.polyfit(learnt.index, learnt, 1)[0] * (learnt.index[-1] - learnt.index[0]))


NEEDS: Needs = dict(real=fits, noise=settled, again=settled)
MEMORISED: Needs = dict.fromkeys(NEEDS, fits)


def measured(
    found: Evidence, model: str, kinds: Sequence[str], number: Callable[..., float], needs: Needs = NEEDS
) -> Measured:
    """A number of the histories of one seed in these arms, of every seed that is in all of them and got there.

    Where the number is not finite the net counts as one that did not get there.
    """
    arms = [histories(found, model, kind) for kind in kinds]
    seeds = [seed for seed in arms[0] if all(seed in arm for arm in arms)]
    there = [s for s in seeds if all(needs[kind](arm[s]) for kind, arm in zip(kinds, arms, strict=True))]
    values = pd.Series({seed: number(*(arm[seed] for arm in arms)) for seed in there}, dtype=float)
    values = values[np.isfinite(values)]
    return Measured(values, len(seeds) - len(values))


def judged(page: Page, found: Evidence, parts: Parts, ids: Iterable[str], on: str) -> pd.DataFrame:
    """The verdicts of these claims on a run; a claim without parts was not run."""
    tables = []
    for id in ids:
        named = parts.get(id, {})
        values, short = ({name: getattr(m, what) for name, m in named.items()} for what in ("values", "short"))
        tables.append(page.judge(id, values, found, short=short, on=on))
    return pd.concat(tables)


def decided(judged: pd.DataFrame, id: str, end: str = "") -> pd.DataFrame:
    """The rows of a claim, of parts whose names end so, that have a net that counts: the source's, else ours."""
    rows = judged[(judged.claim == id) & (judged.n > 0) & judged.part.str.endswith(end)]
    theirs = rows[rows.by == "source"]
    return theirs if len(theirs) else rows


def reached(page: Page) -> str:
    """How many nets of each kind got where the claims speak, on real images and on noise, in a sentence."""
    told = []
    for model in NAMES:
        found = home(page, model)
        real, noise = (histories(found, model, kind) for kind in ("real", "noise"))
        both = [fits(real[seed]) and settled(noise[seed]) for seed in real if seed in noise]
        told += [f"{NAMES[model]} {sum(both)} of {len(both)}"] if both else []
    begin = "Nets that got there on both kinds of images:"
    return f"{begin} {', '.join(told)}." if told else "Nothing has been run at this size yet."
