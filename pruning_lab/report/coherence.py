"""Coherence in numbers: gradients of real and of Gaussian images while nets train -> tables, parts of claims."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace

import numpy as np
import pandas as pd
import torch

from .. import gradients
from ..experiments import GradientHistory
from . import verdicts
from .contrast import (
    ARMS,
    NAMES,
    first,
    geometric,
    histories,
    home,
    last,
    peak,
    peak_epoch,
    reading,
    resnets,
    rowed,
    stacked,
    whole,
)
from .evidence import Evidence
from .page import Page
from .reads import run
from .regime import LEFT, accuracy, at_chance

SIZES = {"paper": "", "gpu": "fewer epochs", "night": "narrow nets, fewer images and epochs"}
MEASURES = {"coherence": "coherence", "train_accuracy": "right of the training images, %"}
RESNET = MEASURES | {"running": "coherence, running statistics", "test_accuracy": "right of the test images, %"}
UNTRAINED = ", at chance"  # ends the name of an arm whose nets learnt nothing
IDLE = tuple(f"{name}{UNTRAINED}" for name in ARMS.values())
REASON = f"hollow: at chance, at most {100 * LEFT:.0f} % of the training images right in the end"
STATISTICS = {"the images' own statistics": "refreshed", "running statistics": "coherence"}  # of batch norms -> column


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
    """The measures of a figure, a row an epoch, a seed and an arm; nets that stay at chance are an arm of their own.

    Empty if not run.
    """
    return _named(stacked(found, model, ARMS, _curves, by="arm"))


def _named(table: pd.DataFrame) -> pd.DataFrame:
    """Rows whose arm says so where the net stays at chance."""
    return table.assign(arm=table.arm.where(~table.idle, table.arm + UNTRAINED)) if len(table) else table


def _curves(e: GradientHistory) -> pd.DataFrame:
    trained = run(e.snapshots.net).table.set_index("epoch")[["train_accuracy", "test_accuracy"]].mul(100).reset_index()
    alpha = whole(e).assign(running=whole(e).coherence, coherence=whole(e)[reading(e)])
    both = alpha[["epoch", "coherence", "running"]].merge(trained, how="outer", on="epoch")
    return both.assign(idle=at_chance(e))


def about(page: Page, found: Evidence, model: str, read: str = "") -> dict[str, object]:
    """How the figure of one model is drawn: dotted, the level of unrelated gradients; its title, alt text and file.

    read: what is to be seen, for who does not see it.
    """
    floor = next((1 / e.snapshots.images for e in histories(found, model, "real").values()), 1.0)
    alt = f"{NAMES[model]}: coherence and accuracy by epoch on real and on Gaussian images. {read}".strip()
    told = page.about(f"{model}-{found.profile}", title=f"{NAMES[model]}, {found.data(model)}", alt=alt, found=found)
    levels = dict.fromkeys(("coherence", "running"), floor)
    return dict(by="arm", log=tuple(levels), floor=levels, hollow=IDLE) | told


def highest(page: Page) -> pd.DataFrame:
    """The peak of every net in every arm, a row a net: `label` is its kind, `idle` that it stays at chance.

    Empty if not run.
    """
    models = (resnets(page)[0], "vit", "mlp")
    tables = [
        stacked(home(page, model), model, ARMS, _highest, by="arm").assign(label=NAMES[model]) for model in models
    ]
    return pd.concat([table for table in tables if "seed" in table] or [pd.DataFrame()])


def _highest(e: GradientHistory) -> pd.DataFrame:
    return pd.DataFrame(dict(peak=[peak(e)], idle=[at_chance(e)]))


def spans(page: Page) -> pd.DataFrame:
    """The peak, its epoch, the first and last tenth of the epochs, and the training accuracy, a row a model and arm."""
    return rowed(page, ARMS, _span)


def _span(nets: list[GradientHistory]) -> dict[str, str]:
    when, measures = np.mean([peak_epoch(e) for e in nets]), {"peak": peak, "first tenth": first, "last tenth": last}
    means = {name: f"{geometric(map(measure, nets)):.3g}" for name, measure in measures.items()}
    right, idle = 100 * np.mean([accuracy(e).iloc[-1] for e in nets]), sum(map(at_chance, nets))
    learnt = f"{right:.1f} %" + (f"; at chance: {idle} of {len(nets)}" if idle else "")
    return {"epoch of the peak": f"{when:.1f}"} | means | {"right in the last epoch": learnt}


def shifts(found: Evidence, model: str) -> pd.DataFrame:
    """Growth in training of the magnitude at each place of the sorted weights, a row a place (per cent) and a net."""
    return stacked(found, model, ("real", "noise"), _shift)


def _shift(e: GradientHistory) -> pd.DataFrame:
    start, end = run(e).arrays["magnitudes"][:, 0, 2::5].astype(float)
    place = 99 * (np.arange(len(start)) + 0.5) / len(start)
    return pd.DataFrame({"weights below, %": place.round(2), "shift": end - start})


def compare(found: Evidence, model: str, above: str, below: str, **choice: str) -> list[float]:
    """The log of the ratio of peaks in two arms, one a net that is in both, whether or not it got far."""
    high, low = histories(found, model, above, **choice), histories(found, model, below, **choice)
    return [float(np.log(peak(high[seed]) / peak(low[seed]))) for seed in high if seed in low]


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


def _choice(page: Page, model: str, words: str, column: str | None = None, **scale: str) -> dict[str, object]:
    found = home(page, model)
    nets = {kind: histories(found, model, kind, **scale).values() for kind in ("real", "noise")}
    peaks = {f"peak on {ARMS[kind]}": scaled([peak(e, column) for e in es]) for kind, es in nets.items()}
    return {"net": NAMES[model], "data": found.data(model), "choice": words} | peaks | {"nets": len(nets["real"])}
