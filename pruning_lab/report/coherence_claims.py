"""Parts of the claims on coherence: one number a net for each, in the unit of its claim, and their verdicts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import pandas as pd

from ..experiments import GradientHistory
from .coherence import SIZES
from .contrast import PARTS, RESNETS, coherent, histories, last, peak, peak_epoch
from .evidence import Evidence
from .page import Page
from .reads import run
from .regime import FITS, LEFT, MEMORISED, Measured, Parts, accuracy, judged, measured

CLAIMS = ("CO1", "CO2", "CO3", "CO4", "CO5", "CO6", "CO7")
BOTH = ("real", "noise")
ALIKE = 0.25  # CO3: how far apart trained magnitudes may be, over the way from the start
EARLY = 0.5  # CO6: of the epochs until the images are fitted
SMALL = 2.0  # CO7: how many times higher the peak on real images is at least
LOSSES = (2.0, 1.5, 1.0, 0.7, 0.5, 0.3, 0.2, 0.1)  # CO7: training losses at which both arms are compared
SPIKE, BELOW, EQUAL = "spike", "less than half of the real peak", "real above noise at equal training loss"


def higher(one: GradientHistory, other: GradientHistory, column: str | None = None) -> float:
    """CO1, CO2: log of the ratio of peaks."""
    return float(np.log(peak(one, column) / peak(other, column)))


def likeness(real: GradientHistory, noise: GradientHistory) -> tuple[float, float]:
    """Distance of trained magnitudes, real to noise, over real to its start: of all weights, of the median layer."""
    (start, trained), other = run(real).arrays["magnitudes"], run(noise).arrays["magnitudes"][1]
    ratios = np.abs(trained - other).mean(axis=1) / np.abs(trained - start).mean(axis=1)
    return ratios[0], np.median(ratios[1:])


def at_the_end(real: GradientHistory, noise: GradientHistory, column: str | None = None) -> float:
    """CO4: log of Gaussian over real in the last tenth of the epochs that both have."""
    common = min(e.snapshots.net.recipe.epochs for e in (real, noise))
    return float(np.log(last(noise, common, column) / last(real, common, column)))


def early(e: GradientHistory, column: str | None = None) -> float:
    """CO6: how much before half of the epochs until the images are fitted the peak comes, in units of those epochs."""
    learnt = accuracy(e)
    return EARLY - peak_epoch(e, column) / learnt.index[learnt >= FITS].min()


def phases(e: GradientHistory, column: str | None = None) -> tuple[pd.Series, pd.Series, pd.Series]:
    """Logs of coherence by epoch, epoch 0 left out: before a net memorises, while it does, and after."""
    alpha, learnt = np.log(coherent(e, column)), accuracy(e)
    begun, done = (learnt.index[learnt >= level].min() for level in (LEFT, FITS))
    at = alpha.index
    return alpha[at < begun], alpha[(at >= begun) & (at < done)], alpha[at >= done]


def spike(noise: GradientHistory, column: str | None = None) -> float:
    """CO7: log of coherence while noise is memorised over that before or after, whichever is larger."""
    before, during, after = (part.mean() for part in phases(noise, column))
    return float(during - pd.Series([before, after]).max())


def below(real: GradientHistory, noise: GradientHistory, column: str | None = None) -> float:
    """CO7: log of half the peak on real images over the highest coherence while noise is memorised."""
    return float(np.log(peak(real, column) / SMALL) - phases(noise, column)[1].max())


def by_loss(e: GradientHistory, column: str | None = None) -> pd.Series:
    """Log of coherence by the training loss of the epoch, ascending; epoch 0 left out."""
    loss = run(e.snapshots.net).table.set_index("epoch").train_loss
    both = pd.DataFrame(dict(loss=loss, alpha=coherent(e, column))).dropna()
    return np.log(both.groupby("loss").alpha.mean())


def at_equal_loss(real: GradientHistory, noise: GradientHistory, column: str | None = None) -> float:
    """CO7: mean log of real over Gaussian at the losses that both went through; NaN: at none."""
    lines = [by_loss(e, column) for e in (real, noise)]
    low, high = max(line.index.min() for line in lines), min(line.index.max() for line in lines)
    levels = [loss for loss in LOSSES if low <= loss <= high]
    one, other = (np.interp(levels, line.index, line) for line in lines)
    return float((one - other).mean()) if levels else np.nan


def parts(found: Evidence, models: Sequence[str]) -> Parts:
    """Parts of the claims on these models. No transformer goes on from trained weights."""
    named = {PARTS[model]: model for model in models}
    again = {name: model for name, model in named.items() if model != "vit"}
    resnets = {name: model for name, model in named.items() if model in RESNETS}
    theirs = {name: model for name, model in named.items() if model != "mlp"}
    return {
        "CO1": {name: measured(found, model, BOTH, higher) for name, model in named.items()},
        "CO2": {name: measured(found, model, ("real", "again"), higher) for name, model in again.items()},
        "CO3": {part: m for name, model in resnets.items() for part, m in alike(found, name, model).items()},
        "CO4": {name: measured(found, model, BOTH, at_the_end) for name, model in named.items()},
        "CO5": memorised(found, theirs),
        "CO6": {name: measured(found, model, ("real",), early) for name, model in theirs.items()},
        "CO7": {part: m for name, model in named.items() for part, m in memorising(found, name, model).items()},
    }


def alike(found: Evidence, name: str, model: str) -> dict[str, Measured]:
    """CO3: how far both likenesses are below a quarter."""

    def nearer(k: int, real: GradientHistory, noise: GradientHistory) -> float:
        return ALIKE - likeness(real, noise)[k]

    words = ("all weights", "median layer")
    return {f"{name}, {word}": measured(found, model, BOTH, partial(nearer, k)) for k, word in enumerate(words)}


def memorised(found: Evidence, theirs: dict[str, str]) -> dict[str, Measured]:
    """CO5: how far training accuracy on noise ends above 99 % or below 90 %, in points; only where the length is the
    source's.
    """
    sides: dict[str, tuple[str, Callable[[float], float]]] = {
        "ResNet50": ("ResNet50, above 99 %", lambda end: end - 99),
        "ViT": ("ViT, below 90 %", lambda end: 90 - end),
    }
    out = {}
    for name, model in theirs.items():
        part, side = sides[name]
        ends = {s: side(100 * accuracy(e).iloc[-1]) for s, e in histories(found, model, "noise").items()}
        full = found.profile == "paper"
        out[part] = Measured(pd.Series(ends if full else {}, dtype=float), 0 if full else len(ends))
    return out


def memorising(found: Evidence, name: str, model: str) -> dict[str, Measured]:
    """CO7: the spike, its size, and both arms at equal loss; of a ResNet50 also the spike after trained weights."""
    arms = {name: BOTH} | ({f"{name}, from trained weights": ("real", "again")} if model in RESNETS else {})
    tell = partial(measured, found, model, needs=MEMORISED)
    told = {f"{who}: {SPIKE}": tell(kinds, lambda _, noise: spike(noise)) for who, kinds in arms.items()}
    told |= {f"{who}: {BELOW}": tell(kinds, below) for who, kinds in arms.items()}
    return told | {f"{name}: {EQUAL}": tell(BOTH, at_equal_loss)}


def verdicts(page: Page, found: Evidence, resnet: str) -> pd.DataFrame:
    """The verdicts on a run, claim by claim, on this kind of ResNet50, the ViT and, as a part of ours, the MLP."""
    return judged(page, found, parts(found, [resnet, "vit", "mlp"]), CLAIMS, found.apart(SIZES))
