"""One of every kind of experiment, tiny, on a device that nothing is known of yet: what works there, and how fast.

Everything is computed on scikit-learn's digits, which need no data folder, and stored in a folder that goes afterwards.
"""

from __future__ import annotations

import contextlib
import math
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from .. import criteria, environment
from ..experiments import (
    CentreStart,
    FilterClusters,
    Forest,
    GradientHistory,
    GradientSnapshots,
    InferenceSpeed,
    LayerGraph,
    LayerStructure,
    MaskedTraining,
    MaskSources,
    Projection,
    RandomFeatures,
    ShallowNets,
    Snapshots,
    Spectrum,
    TeacherStudent,
    Train,
    UnitCurve,
    UnitImportance,
    UnitRepeats,
    Xord,
)
from ..records import store
from ..records.experiment import Experiment, lineage
from ..records.store import Record
from ..training.recipe import Recipe

WIDTHS = dict(
    lenet_300_100=12,
    mlp=8,
    conv_2=4,
    conv_4=4,
    conv_6=4,
    vgg19=4,
    vgg19_bn=4,
    resnet50=2,
    resnet50_cifar=2,
    vit=8,
    conv_max=6,
)
SIDES = dict(conv_2=16, conv_4=16, conv_6=16, vgg19=32, vgg19_bn=32)  # pixels; else 8, as digits come
IMAGES, STEPS, EPOCHS = 96, 6, (0, 1, 2)  # 3 steps an epoch
COMPARED = ("train_loss", "test_loss", "test_accuracy", "loss", "accuracy", "coherence", "test_error")
CLOSE = 0.2  # how far the mean of such a column may be from the CPU's, absolute or relative: a wrong kernel is further


@dataclass(frozen=True)
class Said:
    """How one experiment went: seconds, and why it failed; None if it did not."""

    experiment: Experiment
    seconds: float
    failure: str | None


def net(model: str, **recipe: object) -> Train:
    """A tiny net of a name, trained for two epochs; settings of its recipe may be changed."""
    rate = dict(optimizer="adam", lr=1e-3) if model == "vit" else dict(lr=0.05, momentum=0.9)
    settings = rate | dict(batch=32, iterations=STEPS) | recipe
    return Train("digits", model, Recipe(**settings), width=WIDTHS[model], limit=IMAGES, image_size=SIDES.get(model))


def experiments() -> list[Experiment]:
    """One of every kind, on each family of nets; every precision, criterion and way to mask; all tiny."""
    return [*_nets(), *_units(), *_layers(), *_gradients(), *_masks(), *_alignment(), _speed(), *_fits(), *_spectra()]


def _nets() -> list[Experiment]:
    plain = [net(model) for model in WIDTHS]
    precise = [net(model, precision=p) for model in ("conv_2", "vit") for p in ("tf32", "bfloat16")]
    flipped = net("conv_2", augmentation="crop_flip", drops=(3,))
    best = net("mlp", holdout=10, keep="lowest_validation_loss", shuffle=False)
    on_noise = dict(scale="standardised", init="glorot", start=net("mlp"))
    noise = Train("gaussian:digits", "mlp", net("mlp").recipe, width=8, limit=IMAGES, **on_noise)
    return [*plain, *precise, flipped, best, noise]


def _units() -> list[Experiment]:
    every = tuple(criteria.UNIT)
    places = [("lenet_300_100", "fc1"), ("conv_2", "conv2"), ("vgg19_bn", "conv16")]
    curves = [UnitCurve(net(model), layer, every, repeats=2, sample=32, test_images=50) for model, layer in places]
    return [*curves, *(UnitImportance(net(model), layer, test_images=50) for model, layer in places[:2])]


def _layers() -> list[Experiment]:
    found: list[Experiment] = []
    for model, layer in (("lenet_300_100", "fc1"), ("conv_2", "conv2")):
        seen = Snapshots(net(model), (layer,), (0, STEPS), sample=32)
        found += [LayerStructure(seen, layer), LayerGraph(seen, layer)]
    return found


def _gradients() -> list[Experiment]:
    models = ("mlp", "conv_2", "resnet50_cifar", "vit")
    return [GradientHistory(GradientSnapshots(net(model), EPOCHS, 32, followed=50), ends=3) for model in models]


def _masks() -> list[Experiment]:
    parents = [net("mlp"), net("resnet50_cifar"), net("vit")]
    sources = [MaskSources(parent, EPOCHS, 32, density=0.3) for parent in parents]
    ways = [
        *(dict(criterion=c, sample=32) for c in criteria.WEIGHT),
        dict(criterion="magnitude", invert=True, floor=0.02, begin="initial"),
        dict(criterion="magnitude", scope="local", shuffle="layer", begin=3, skip=("out.weight",)),
        dict(criterion="random", scope="erk"),
    ]
    children = [MaskedTraining(parents[0], density=0.3, **how) for how in ways]
    others = [(parent, c) for parent in parents[1:] for c in ("magnitude", "diff")]
    return [*sources, *children, *(MaskedTraining(parent, c, density=0.3, sample=32) for parent, c in others)]


def _alignment() -> list[Experiment]:
    clusters = FilterClusters(net("conv_max"), clusters=4)
    large = Xord(4, runs=3, steps=20)
    repeats = [UnitRepeats(net("lenet_300_100"), sample=32), UnitRepeats(net("conv_2"), "conv2", sample=32)]
    worlds = [
        large,
        Xord(2, runs=3, steps=20, start=large),
        TeacherStudent(2, steps=20),
        TeacherStudent(2, both=False, steps=20),
    ]
    return [clusters, CentreStart(clusters), *repeats, *worlds]


def _speed() -> Experiment:
    return InferenceSpeed(4, shape=(1, 8, 8), batches=(1, 8), rounds=2, density=0.3)


def _fits() -> list[Experiment]:
    how = dict(limit=IMAGES, tested_on=50)
    features = [
        RandomFeatures("digits", (0.08, 1.0, 1.3), noises=(0.0, 0.2), ridge=ridge, **how) for ridge in (0.0, 0.1)
    ]
    nets = ShallowNets("digits", (0.1, 0.4, 2.0), epochs=20, batch=32, noise=0.2, **how)
    return [*features, Forest("digits", leaves=(4,), trees=(1, 2), noise=0.2, **how), nets]


def _spectra() -> list[Experiment]:
    layers = ("fc1", "fc2")
    return [
        Spectrum(net("mlp"), layers, epochs=EPOCHS, ranks=(1, 2), sample=50),
        Projection(net("lenet_300_100"), layers, ranks=(1, 4), test_images=50),
    ]


def run(device: str, say: Callable[[str], None] = print) -> list[Said]:
    """Compute all of `experiments` on a device and say of each how it went; one that fails stops no other.

    On another device than the CPU the CPU computes them too, and losses, accuracies and coherence must be close.
    """
    with _own_stores(device) as use:
        plan = lineage(experiments())
        beside: dict[Experiment, Record] = {}
        if device != "cpu":
            use("cpu")
            beside = {e: r for e in plan if isinstance(r := _record(e), Record)}
            say(f"the CPU computed {len(beside)} of {len(plan)}, for comparison")
        use(device)
        return [_one(e, beside.get(e), device != "cpu", say) for e in plan]


def _one(e: Experiment, beside: Record | None, compare: bool, say: Callable[[str], None]) -> Said:
    start = time.perf_counter()
    record = _record(e)
    seconds = time.perf_counter() - start
    if isinstance(record, Record):
        there = beside.table if beside else None
        failure = strange(record.table) or (difference(record.table, there) if compare else None)
    else:
        failure = f"{type(record).__name__}: {record}"
    training = e.training()
    precision = f" in {training.recipe.precision}" if training and training.recipe.precision != "float32" else ""
    words = f"{'FAILED' if failure else 'ok':6} {seconds:6.2f} s  {type(e).__name__} {e.key}{precision}"
    say(f"{words}: {failure}" if failure else words)
    return Said(e, seconds, failure)


def _record(e: Experiment) -> Record | Exception:
    try:
        with contextlib.redirect_stdout(None):
            return store.run(e, weights=e.has_weights)
    except Exception as error:  # whatever it is, the others are none the worse
        return error


def strange(table: pd.DataFrame) -> str | None:
    """What cannot be in an answer: no rows, a loss that is no number, an accuracy outside [0, 1]; None: nothing."""
    if table.empty:
        return "it has no rows"
    for column in table.columns.intersection(COMPARED):
        values = table[column].dropna()
        if values.empty or not np.isfinite(values).all():
            return f"{column} is not finite"
        if column.endswith("accuracy") and not values.between(0, 1).all():
            return f"{column} from {values.min():g} to {values.max():g}"
    return None


def difference(table: pd.DataFrame, beside: pd.DataFrame | None) -> str | None:
    """In what an answer is far from the CPU's; None: in nothing."""
    if beside is None:
        return "it fails on the CPU, so that there is nothing to compare with"
    if table.shape != beside.shape:
        (rows, columns), (others, more) = table.shape, beside.shape
        return f"a table of {rows} rows and {columns} columns, on the CPU {others} and {more}"
    for column in table.columns.intersection(COMPARED):
        here, there = table[column].mean(), beside[column].mean()
        if not math.isclose(here, there, rel_tol=CLOSE, abs_tol=CLOSE):
            return f"{column} is {here:.3g} on average, on the CPU {there:.3g}"
    return None


@contextmanager
def _own_stores(device: str) -> Iterator[Callable[[str], None]]:
    """A function that goes over to a device and an empty store of its own; afterwards all settings are as they were.

    Raises:
        ValueError: no such device here.
    """
    names = [f"PRUNING_LAB_{name}" for name in ("DEVICE", "STORE", "RESULTS")]
    before = {name: os.environ.get(name) for name in names}
    with tempfile.TemporaryDirectory(prefix="smoke-") as folder:

        def use(chosen: str) -> None:
            os.environ |= dict(zip(names, (chosen, str(Path(folder, chosen)), str(Path(folder, "none"))), strict=True))
            environment.device()

        try:
            use(device)
            yield use
        finally:
            for name, value in before.items():
                os.environ.pop(name, None)
                if value is not None:
                    os.environ[name] = value
