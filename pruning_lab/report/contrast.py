"""Gradients of nets while they train, by what they train on: real images, noise, or noise from trained weights."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import pandas as pd

from ..experiments import GradientHistory, Train
from .evidence import Evidence
from .page import Page
from .reads import run

NAMES = {"resnet50": "ResNet50", "resnet50_cifar": "ResNet50 (small stem)", "vit": "ViT", "mlp": "fully-connected net"}
PARTS = {model: name.removesuffix(" (small stem)") for model, name in NAMES.items()}  # what parts of claims say
RESNETS = ("resnet50", "resnet50_cifar")
DEEP = (*RESNETS, "vit")  # the nets of the claims; the fully-connected one is ours
ARMS = {"real": "real images", "noise": "Gaussian images", "again": "Gaussian, from trained weights"}
Table = Callable[[GradientHistory], pd.DataFrame]


def arm(net: Train) -> str:
    """What a net trains on: "real" images, "noise" (Gaussian ones), or "again" noise, from weights of real ones."""
    return "again" if net.start else "noise" if net.dataset.startswith("gaussian:") else "real"


def histories(found: Evidence, model: str, kind: str, scale: str = "standardised") -> dict[int, GradientHistory]:
    """Of one model in one arm, on pixels of one scale: what was measured of each net, by its seed."""
    nets = {e: e.snapshots.net for e in found.of(GradientHistory)}
    return {net.seed: e for e, net in nets.items() if (net.model, net.scale, arm(net)) == (model, scale, kind)}


def home(page: Page, *models: str) -> Evidence:
    """The larger run that has one of these models."""
    return page.home(lambda found: any(histories(found, model, "real") for model in models))


def deep(page: Page) -> Evidence:
    """The larger run that has a net of the claims."""
    return home(page, *DEEP)


def resnets(page: Page) -> list[str]:
    """Which kinds of ResNet50 that run has; the one with the small stem where it has none."""
    return [model for model in RESNETS if histories(deep(page), model, "real")] or ["resnet50_cifar"]


def origin(page: Page) -> str:
    """Where the numbers come from, net by net where not all come from one run."""
    models = {"fully-connected net": "mlp", "ResNet50": resnets(page)[0], "ViT": "vit"}
    runs = {name: home(page, model) for name, model in models.items()}
    if len({found.profile for found in runs.values()}) == 1:
        return deep(page).origin()
    return "; ".join(f"{name}: {found.origin()}" for name, found in runs.items())


def whole(e: GradientHistory) -> pd.DataFrame:
    """The rows of the net as a whole, one a snapshot."""
    table = run(e).table
    return table[table.layer == "whole"]


def reading(e: GradientHistory) -> str:
    """The column of coherence that decides: of a net with batch norms the one under these images' own statistics."""
    return "refreshed" if "refreshed" in run(e).table else "coherence"


def coherent(e: GradientHistory, column: str | None = None) -> pd.Series:
    """Coherence of the whole net by epoch, epoch 0 left out, by the reading that decides or by another."""
    alpha = whole(e).set_index("epoch")[column or reading(e)]
    return alpha[alpha.index > 0]


def peak(e: GradientHistory, column: str | None = None) -> float:
    """The highest coherence after epoch 0."""
    return float(coherent(e, column).max())


def peak_epoch(e: GradientHistory, column: str | None = None) -> int:
    """The epoch where it is highest."""
    return int(coherent(e, column).idxmax())


def first(e: GradientHistory) -> float:
    """Mean coherence over the first tenth of the epochs, epoch 0 left out; at least over one."""
    alpha = coherent(e)
    return float(alpha[alpha.index <= max(1, e.snapshots.net.recipe.epochs // 10)].mean())


def last(e: GradientHistory, epochs: int | None = None, column: str | None = None) -> float:
    """Mean coherence over the last tenth of so many epochs, or of all."""
    alpha, end = coherent(e, column), epochs or e.snapshots.net.recipe.epochs
    return float(alpha[(alpha.index > 0.9 * end) & (alpha.index <= end)].mean())


def geometric(values: Iterable[float]) -> float:
    """The mean of coherences, as logarithms; NaN of none."""
    logs = np.log(list(values))
    return float(np.exp(logs.mean())) if len(logs) else np.nan


def stacked(found: Evidence, model: str, kinds: Iterable[str], read: Table, by: str = "images") -> pd.DataFrame:
    """What is read of every net in these arms, with its seed and, in the column `by`, its arm; empty if not run."""
    nets = [(ARMS[kind], seed, e) for kind in kinds for seed, e in histories(found, model, kind).items()]
    return pd.concat([read(e).assign(seed=seed, **{by: name}) for name, seed, e in nets]) if nets else pd.DataFrame()


def rowed(page: Page, kinds: Iterable[str], numbers: Callable[[list[GradientHistory]], dict[str, str]]) -> pd.DataFrame:
    """A table for the page with the numbers of each model and arm that was run, a row each."""
    rows = []
    for model, kind in ((model, kind) for model in NAMES for kind in kinds):
        found = home(page, model)
        if nets := list(histories(found, model, kind).values()):
            where = {"net": NAMES[model], "data": found.data(model), "images": ARMS[kind]}
            rows.append(where | numbers(nets) | {"nets": len(nets)})
    return pd.DataFrame(rows)


def settings(page: Page) -> pd.DataFrame:
    """What each kind of net was trained on and how, of the run that the page shows: a row a model; empty: none was."""
    rows = []
    for model in NAMES:
        found = home(page, model)
        arms = {kind: next(iter(histories(found, model, kind).values()), None) for kind in ARMS}
        if real := arms["real"]:
            net, lengths = real.snapshots.net, [e.snapshots.net.recipe.epochs for e in arms.values() if e]
            row = {"net": NAMES[model], "data": found.data(model), "training images": str(net.limit or "all")}
            row |= {"width": str(net.width or "full"), "optimiser": net.recipe.optimizer, "rate": net.recipe.lr}
            row |= {"epochs": " and ".join(map(str, dict.fromkeys(lengths))), "differentiated": real.snapshots.images}
            rows.append(row)
    return pd.DataFrame(rows)
