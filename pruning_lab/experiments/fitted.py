"""One kind of model fitted to the same images at many sizes, up to and past the size at which it fits them all."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd
import torch

from .. import data
from ..fits import forests, fourier, shallow
from ..fits.labels import error, one_hot, redrawn, risk
from ..records.experiment import Experiment, Result
from ..training.recipe import derived_seed
from . import cost

PIXELS = 28 * 28
STARTS = ("fresh", "smaller")  # where a net's training begins: at drawn weights, or at those of the net before it


class Fitted(Experiment):
    """Base of experiments that fit images of a set, the first `limit` of them, and are tested on `tested_on`.

    risk: mean over images of the squared distance to one-hot labels, summed over classes; error: share of wrong
    answers. Both of training on the labels that were fitted, `noise` of which are redrawn, and of testing on true ones.
    """

    is_net: ClassVar[bool] = True

    dataset: str
    limit: int
    seed: int
    image_size: int | None
    tested_on: int | None

    def half(self, name: str) -> data.Split:
        """The images that are fitted, "train", or those that are not, "test"; to be read only."""
        how = dict(limit=self.limit if name == "train" else self.tested_on, image_size=self.image_size)
        return data.shared(self.dataset, name, **how)

    def rows(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, int]:
        """Pixels [n, inputs] float64 and labels [n] of both halves, and the number of classes."""
        train, test = (self.half(name) for name in ("train", "test"))
        flat = [part for s in (train, test) for part in (s.images.flatten(1).double().cpu().numpy(), s.labels.cpu())]
        return flat[0], flat[1].numpy(), flat[2], flat[3].numpy(), len(train.classes)

    def noisy(self, labels: np.ndarray, share: float, classes: int) -> np.ndarray:
        """The labels that are fitted where a share of them is redrawn."""
        return redrawn(labels, share, classes, np.random.default_rng(derived_seed(self.seed, "labels")))

    def data_read(self) -> dict[str, dict[str, str | int]]:
        asked = {"train": self.limit, "test": self.tested_on}
        prints = {f"{self.dataset}/{half}": data.fingerprint(self.dataset, half, n) for half, n in asked.items()}
        return {name: print_ for name, print_ in prints.items() if print_}

    def label(self) -> str:
        return f"{self.dataset}-{self.limit}-s{self.seed}".replace(":", "-")

    def _sizes(self) -> tuple[int, int, int]:
        """Images fitted, images tested, inputs."""
        train = data.size(self.dataset, "train", self.limit)
        test = data.size(self.dataset, "test", self.tested_on)
        return train, test, self.half("test").images[0].numel()


def measured(train: np.ndarray, fitted: np.ndarray, test: np.ndarray, true: np.ndarray) -> dict[str, float]:
    """Risks and errors of outputs [n, K] on both halves, by the names of their columns."""
    return dict(train_risk=risk(train, fitted), train_error=error(train, fitted),
                test_risk=risk(test, true), test_error=error(test, true))  # fmt: skip


@dataclass(frozen=True)
class RandomFeatures(Fitted):
    """Least squares of least norm on random Fourier features (Belkin et al. 2019, figure 2).

    Table, a row a number of features and share of redrawn labels: features, images, noise, norm, risks, errors. The
    norm is that of the coefficients of all classes, of features over sqrt(N / 2): with their number it tends to the
    norm in the space of the Gaussian kernel.

    >>> from pruning_lab import RandomFeatures, run
    >>> record = run(RandomFeatures("digits", ratios=(0.5, 1.0), limit=20, tested_on=10))
    >>> record.table[["features", "images"]].values.tolist()
    [[10, 20], [20, 20]]
    """

    dataset: str  # name of an image set, see `data.names`
    ratios: tuple[float, ...]  # of real features to images, ascending; their numbers are rounded to even ones
    limit: int  # images that are fitted
    seed: int = 0  # of all that is drawn
    sigma: float = 5.0  # width of the kernel, of 28 x 28 pixels in [0, 1]; of others it grows with their root
    noises: tuple[float, ...] = (0.0,)  # shares of labels that are redrawn; one fit each
    ridge: float = 0.0  # penalty on the squared norm; 0: the least norm that fits
    image_size: int | None = None  # pixels to which images are resized; None: as they are
    tested_on: int | None = None  # the first so many test images; None: all

    def compute(self) -> Result:
        with data.watched():
            train, labels, test, true, classes = self.rows()
            fitted = [self.noisy(labels, share, classes) for share in self.noises]
            targets = np.concatenate([one_hot(some, classes) for some in fitted], axis=1)
            sizes = list(dict.fromkeys(max(2, 2 * round(ratio * len(train) / 2)) for ratio in self.ratios))
            sigma = self.sigma * math.sqrt(train.shape[1] / PIXELS)
            waves = fourier.Fourier(train.shape[1], max(sizes), sigma, derived_seed(self.seed, "directions"))
            found = fourier.fits(waves, train, targets, test, sizes, self.ridge)
        rows = []
        for fit in found:
            for k, (share, some) in enumerate(zip(self.noises, fitted, strict=True)):
                own = slice(k * classes, (k + 1) * classes)
                named = dict(features=fit.features, images=len(train), noise=share)
                norm = float(np.linalg.norm(fit.norms[own]))
                rows.append(named | dict(norm=norm) | measured(fit.train[:, own], some, fit.test[:, own], true))
        return Result(pd.DataFrame(rows).round(6))

    def cost(self) -> float:
        n, tested, inputs = self._sizes()
        most = n * max(self.ratios)
        grams = n * n * most + n**3 * len(self.ratios) / 6
        return cost.passes(1, grams + (2 * n + tested) * most * (inputs / 2 + 50))


@dataclass(frozen=True)
class Forest(Fitted):
    """Random forests by leaves and by trees (Belkin et al. 2019, figure 5), without bootstrap, by scikit-learn.

    Table, a row a forest of an axis: axis ("leaves": one tree of more and more leaves; "trees": more and more
    full-grown trees; "leaves of many trees": as the first, with the most trees), leaves (the most that a tree may
    have, 0: no bound), trees, total (leaves in all), images, risks, errors.

    >>> from pruning_lab import Forest, run
    >>> record = run(Forest("digits", limit=20, leaves=(2, 4), trees=(1, 2), tested_on=10))
    >>> record.table[record.table.axis == "leaves"][["leaves", "trees"]].values.tolist()
    [[2, 1], [4, 1]]
    """

    dataset: str  # name of an image set, see `data.names`
    limit: int  # images that are fitted
    leaves: tuple[int, ...]  # most leaves of a tree, ascending
    trees: tuple[int, ...]  # of the forests of full-grown trees, ascending
    seed: int = 0  # of all that is drawn
    noise: float = 0.0  # share of labels that are redrawn
    image_size: int | None = None  # pixels to which images are resized; None: as they are
    tested_on: int | None = None  # the first so many test images; None: all

    def compute(self) -> Result:
        with data.watched():
            train, labels, test, true, classes = self.rows()
            fitted = self.noisy(labels, self.noise, classes)
            wanted = forests.sizes(self.leaves, self.trees)
            each = dict.fromkeys((leaves, trees) for _, leaves, trees in wanted)
            seed = derived_seed(self.seed, "forest") % 2**32
            answers = {size: dict(total=total, images=len(train), **measured(answer(train), fitted, answer(test), true))
                       for size, total, answer in forests.grown(train, fitted, each, classes, seed)}  # fmt: skip
        rows = [dict(axis=axis, leaves=leaves or 0, trees=trees, **answers[leaves, trees])
                for axis, leaves, trees in wanted]  # fmt: skip
        return Result(pd.DataFrame(rows).round(6))

    def cost(self) -> float:
        n, _, inputs = self._sizes()
        grown = sum(trees for _, _, trees in forests.sizes(self.leaves, self.trees))
        return cost.passes(1, grown * n * (inputs**0.5 * 10_000 + 50_000))


@dataclass(frozen=True)
class ShallowNets(Fitted):
    """Nets of one hidden layer by width, under squared loss, each begun at fresh weights and at the net's before it.

    A net of at most as many parameters as n K is trained at a falling rate until it makes no error in training, or to
    the last epoch; a larger one at the full rate to the last epoch (Belkin et al. 2019, appendix; their re-use ends
    there: `report` joins the two kinds of start). Table, a row a net: start ("fresh": drawn, Glorot's uniform;
    "smaller": at the trained weights of the next narrower net that began so, new ones normal with `sd`), width,
    parameters, threshold (n K), below (whether they are no more), epochs taken, risks, errors, norm of all weights.

    >>> from pruning_lab import ShallowNets, run
    >>> record = run(ShallowNets("digits", multiples=(0.5, 2.0), limit=20, epochs=1, tested_on=10))
    >>> record.table[["start", "width", "below"]].values.tolist()
    [['fresh', 1, True], ['fresh', 5, False], ['smaller', 1, True], ['smaller', 5, False]]
    """

    dataset: str  # name of an image set, see `data.names`
    multiples: tuple[float, ...]  # of n K parameters, ascending; the widest net of no more has this size
    limit: int  # images that are fitted
    epochs: int = 6_000  # at most, a net
    seed: int = 0  # of all that is drawn
    noise: float = 0.0  # share of labels that are redrawn
    lr: float = 0.01  # learning rate at the start
    momentum: float = 0.95  # of SGD
    batch: int = 128  # images a step
    decay: float = 0.9  # factor of the rate after `every` epochs, up to n K parameters
    every: int = 500  # epochs
    sd: float = 0.1  # of the new weights of a net that begins at a smaller one
    image_size: int | None = None  # pixels to which images are resized; None: as they are
    tested_on: int | None = None  # the first so many test images; None: all

    def compute(self) -> Result:
        with data.watched():
            train, test = (self.half(name) for name in ("train", "test"))
            classes = len(train.classes)
            labels = train.labels.cpu().numpy()
            halves = {"fitted": self.noisy(labels, self.noise, classes), "true": test.labels.cpu().numpy()}
            images = [half.images.flatten(1) for half in (train, test)]
            rows = [row for start in STARTS for row in self._chain(start, images, halves, classes)]
        return Result(pd.DataFrame(rows).round(6))

    def _chain(
        self, start: str, images: list[torch.Tensor], labels: dict[str, np.ndarray], classes: int
    ) -> list[dict[str, object]]:
        """The nets of one start, from the narrowest to the widest, a row each."""
        targets = torch.tensor(one_hot(labels["fitted"], classes), dtype=torch.float32, device=images[0].device)
        rows, net = [], None
        for width in self.widths(len(targets), images[0].shape[1], classes):
            draw = torch.Generator().manual_seed(derived_seed(self.seed, start, width))
            begun = (
                shallow.glorot(images[0].shape[1], width, classes, draw)
                if net is None or start == "fresh"
                else shallow.widened(net, width, draw, self.sd)
            )
            threshold = len(targets) * classes
            below = begun.parameters <= threshold
            net, epochs = shallow.train(begun.to(targets.device), images[0], targets, self.rule(below), draw)
            outputs = [net.outputs(part).cpu().double().numpy() for part in images]
            found = measured(outputs[0], labels["fitted"], outputs[1], labels["true"])
            named = dict(start=start, width=width, parameters=net.parameters, threshold=threshold, below=below)
            rows.append(named | dict(epochs=epochs) | found | dict(norm=net.norm))
        return rows

    def widths(self, n: int, inputs: int, classes: int) -> list[int]:
        """Hidden units of the nets, for so many images; one at least."""
        sizes = (max(1, int((m * n * classes - classes) / (inputs + 1 + classes))) for m in self.multiples)
        return list(dict.fromkeys(sizes))

    def rule(self, below: bool) -> shallow.Rule:
        """How a net is trained that has at most n K parameters, or more."""
        slower = dict(decay=self.decay, stop=True) if below else {}
        return shallow.Rule(self.epochs, self.lr, self.momentum, self.batch, every=self.every, **slower)

    def cost(self) -> float:
        n, _, inputs = self._sizes()
        steps = self.epochs * -(-n // self.batch)
        widths = self.widths(n, inputs, 10)
        step = sum(self.batch * inputs * width * 2 + 1e7 for width in widths)  # 1e7: what any step takes
        return len(STARTS) * cost.passes(step, steps)
