"""Coherence in numbers: gradients of real and of Gaussian images while nets train -> tables, parts of claims."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import torch

from .. import gradients
from ..experiments import GradientHistory
from ..records.store import run
from . import verdicts
from .contrast import (
    ARMS,
    NAMES,
    PARTS,
    first,
    geometric,
    histories,
    home,
    last,
    peak,
    peak_epoch,
    resnets,
    rowed,
    stacked,
    whole,
)
from .evidence import Evidence
from .numbers import spelled, spoken
from .page import Page

SIZES = {"paper": "", "gpu": "fewer epochs", "night": "narrow nets, fewer images and epochs"}
MEASURES = {
    "coherence": "coherence",
    "train_accuracy": "accuracy, training images",
    "test_accuracy": "accuracy, test images",
    "train_loss": "loss, training images",
    "test_loss": "loss, test images",
}
COMPARED = {"CO1": "noise", "CO2": "again"}  # the arm that the real one is compared with
STATISTICS = {"running statistics": "coherence", "the images' own statistics": "refreshed"}  # of batch norms -> column
Measure = Callable[[GradientHistory], float]
Parts = Mapping[str, Mapping[str, Sequence[float]]]  # claim -> part -> one number a net


def fans() -> tuple[pd.DataFrame, pd.DataFrame]:
    """The toy: `samples` arrows of length 1 spread over `angle` degrees, and their mean.

    Rows of samples, angle, curve (an arrow's name), x, y, from the origin to its end; and a caption for each place.
    """
    places = [(count, degrees) for count, most in ((2, 180), (10, 360)) for degrees in range(0, most + 1, 15)]
    rows, told = [], []
    for count, degrees in places:
        place = dict(samples=count, angle=degrees)
        turned = np.deg2rad(90 + np.linspace(-degrees / 2, degrees / 2, count))
        arrows = np.stack([np.cos(turned), np.sin(turned)], axis=1)
        ends = {f"sample {k + 1}": end for k, end in enumerate(arrows)} | {"their mean": arrows.mean(axis=0)}
        rows += [place | dict(curve=name, x=x, y=y) for name, end in ends.items() for x, y in ((0, 0), end.round(4))]
        told.append(place | dict(caption=f"coherence {of_arrows(arrows):.2f}"))
    return pd.DataFrame(rows), pd.DataFrame(told)


def of_arrows(arrows: np.ndarray) -> float:
    """Coherence of gradients that are these arrows, [samples, 2]: the gradient of w · x with respect to w is x."""
    images = torch.tensor(arrows, dtype=torch.float64)
    samples = SimpleNamespace(images=images, labels=torch.zeros(len(images)))
    model = torch.nn.Linear(2, 1, bias=False).double()
    return gradients.statistics(model, samples, loss=lambda out, _: out[:, 0]).coherence()


def by_epoch(found: Evidence, model: str) -> pd.DataFrame:
    """The measures of a figure, a row an epoch, a seed and an arm; empty if not run."""
    return stacked(found, model, ARMS, _curves, by="arm")


def _curves(e: GradientHistory) -> pd.DataFrame:
    trained = run(e.snapshots.net).table[["epoch", *(column for column in MEASURES if column != "coherence")]]
    return whole(e)[["epoch", "coherence"]].merge(trained, how="outer", on="epoch")


def about(page: Page, found: Evidence, model: str) -> dict[str, object]:
    """How the figure of one model is drawn: dotted, the level of unrelated gradients; its title, alt text and file."""
    floor = next((1 / e.snapshots.images for e in histories(found, model, "real").values()), 1.0)
    alt = f"{NAMES[model]}: coherence, accuracy and loss by epoch on real and on Gaussian images."
    told = page.about(f"{model}-{found.profile}", title=f"{NAMES[model]}, {found.data(model)}", alt=alt, found=found)
    return dict(by="arm", log=("coherence",), floor={"coherence": floor}) | told


def spans(page: Page) -> pd.DataFrame:
    """The peak, its epoch, and the first and last tenth of the epochs, a row a model and arm that was run."""
    return rowed(page, ARMS, _span)


def _span(nets: list[GradientHistory]) -> dict[str, str]:
    when, measures = np.mean([peak_epoch(e) for e in nets]), {"peak": peak, "first tenth": first, "last tenth": last}
    means = {name: f"{geometric(map(measure, nets)):.3g}" for name, measure in measures.items()}
    return {"epoch of the peak": f"{when:.1f}"} | means


def shifts(found: Evidence, model: str) -> pd.DataFrame:
    """Growth in training of the magnitude at each place of the sorted weights, a row a place (per cent) and a net."""
    return stacked(found, model, ("real", "noise"), _shift)


def _shift(e: GradientHistory) -> pd.DataFrame:
    start, end = run(e).arrays["magnitudes"][:, 0, 2::5].astype(float)
    place = 99 * (np.arange(len(start)) + 0.5) / len(start)
    return pd.DataFrame({"weights below, %": place.round(2), "shift": end - start})


def compare(found: Evidence, model: str, above: str, below: str, measure: Measure = peak, **choice: str) -> list[float]:
    """The log of the ratio of a measure in two arms, one a net that is in both."""
    high, low = histories(found, model, above, **choice), histories(found, model, below, **choice)
    return [float(np.log(measure(high[seed]) / measure(low[seed]))) for seed in high if seed in low]


def at_the_end(found: Evidence, model: str) -> list[float]:
    """The log of Gaussian over real in the last tenth of the epochs that both arms have, one a net."""
    nets = [e for kind in ("real", "noise") for e in histories(found, model, kind).values()]
    common = min((e.snapshots.net.recipe.epochs for e in nets), default=None)
    return compare(found, model, "noise", "real", lambda e: last(e, common))


def early(e: GradientHistory) -> float:
    """How much before half of the way to 99 % of the final training accuracy the peak comes, in units of that way."""
    trained = run(e.snapshots.net).table
    learnt = trained.epoch[trained.train_accuracy >= 0.99 * trained.train_accuracy.iloc[-1]].min()
    return 0.5 - peak_epoch(e) / learnt


def likeness(real: GradientHistory, noise: GradientHistory) -> tuple[float, float]:
    """Distance of trained magnitudes, real to noise, over real to its start: of all weights, of the median layer."""
    (start, trained), other = run(real).arrays["magnitudes"], run(noise).arrays["magnitudes"][1]
    ratios = np.abs(trained - other).mean(axis=1) / np.abs(trained - start).mean(axis=1)
    return ratios[0], np.median(ratios[1:])


def alike(found: Evidence, model: str) -> dict[str, list[float]]:
    """How far both likenesses are below a quarter, one a net."""
    real, noise = histories(found, model, "real"), histories(found, model, "noise")
    pairs = [likeness(real[seed], noise[seed]) for seed in real if seed in noise]
    return {name: [0.25 - pair[k] for pair in pairs] for k, name in enumerate(("all weights", "median layer"))}


def memorised(found: Evidence, model: str) -> list[float]:
    """Final training accuracy on Gaussian images in per cent, one a net."""
    return [100 * run(e.snapshots.net).table.train_accuracy.iloc[-1] for e in histories(found, model, "noise").values()]


def ratios(found: Evidence, models: Sequence[str]) -> Parts:
    """Parts of the claims that compare coherences. No transformer goes on from trained weights."""
    again = [model for model in models if model != "vit"]
    return {
        "CO1": {PARTS[model]: compare(found, model, "real", "noise") for model in models},
        "CO2": {PARTS[model]: compare(found, model, "real", "again") for model in again},
        "CO4": {PARTS[model]: at_the_end(found, model) for model in models},
    }


def others(found: Evidence, resnet: str) -> Parts:
    """Parts of the other claims, on this kind of ResNet50 and the ViT. CO5 needs a training of full length."""
    memory = {model: memorised(found, model) if found.profile == "paper" else [] for model in (resnet, "vit")}
    early_ = {model: [early(e) for e in histories(found, model, "real").values()] for model in memory}
    return {
        "CO3": {f"ResNet50, {name}": values for name, values in alike(found, resnet).items()},
        "CO5": {
            "ResNet50, above 99 %": [value - 99 for value in memory[resnet]],
            "ViT, below 90 %": [90 - value for value in memory["vit"]],
        },
        "CO6": {PARTS[model]: values for model, values in early_.items()},
    }


def judged(page: Page, found: Evidence, resnet: str) -> pd.DataFrame:
    """The verdicts on a run, claim by claim, on this kind of ResNet50, the ViT and, as a part of ours, the MLP."""
    parts, on = ratios(found, [resnet, "vit", "mlp"]) | others(found, resnet), found.apart(SIZES)
    return pd.concat([page.judge(id, parts[id], found, on=on) for id in sorted(parts)])


def measured(row: Any, digits: int = 2, unit: str = "") -> str:
    """Mean and interval of a verdict's row, as its kind of claim has the interval; "not run" without any net."""
    return spelled(row.mean, row.low, row.high, digits, unit) if row.n else "not run"


def scaled(values: Sequence[float]) -> str:
    """Mean and interval of coherences, taken of their logarithms, with three digits; "not run" without any net."""
    if not len(values):
        return "not run"
    mean, low, high = np.exp(verdicts.interval(np.log(values)))
    return f"{mean:.3g}" + (f" ({low:.3g} to {high:.3g})" if np.isfinite(high) else "")


def choices(page: Page) -> pd.DataFrame:
    """The peak in both arms under what the source leaves open: the scale of pixels, the statistics of batch norms."""
    resnet = resnets(page)[0]
    pixels = {"standardised pixels": "standardised", "pixels in [0, 1]": "unit"}
    rows = [_choice(page, "mlp", words, scale=scale) for words, scale in pixels.items()]
    return pd.DataFrame(rows + [_choice(page, resnet, words, column) for words, column in STATISTICS.items()])


def _choice(page: Page, model: str, words: str, column: str = "coherence", **scale: str) -> dict[str, object]:
    found = home(page, model)
    nets = {kind: histories(found, model, kind, **scale).values() for kind in ("real", "noise")}
    peaks = {f"peak on {ARMS[kind]}": scaled([peak(e, column) for e in es]) for kind, es in nets.items()}
    return {"net": NAMES[model], "data": found.data(model), "choice": words} | peaks | {"nets": len(nets["real"])}


def statistics(page: Page) -> pd.DataFrame:
    """Log ratios of ResNet50 under both statistics of its batch norms; a claim that was not run has no column."""
    model, rows = resnets(page)[0], []
    found = home(page, model)
    for words, column in STATISTICS.items():
        measure = partial(peak, column=column)
        logs = {id: compare(found, model, "real", other, measure) for id, other in COMPARED.items()}
        told = {id: spoken(values, 2) for id, values in logs.items() if values}
        rows.append({f"{NAMES[model]}, log ratios": words} | told)
    return pd.DataFrame(rows)
