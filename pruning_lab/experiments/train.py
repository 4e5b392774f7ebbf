"""One net trained: the record that all others build on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

from torch import nn

from .. import data, environment
from ..nets import architectures as _registered  # noqa: F401  its models are found in the registry of `models`
from ..nets import models
from ..records import source, store
from ..records.experiment import Experiment, Result, Training
from ..training.fit import Hook, When, fit
from ..training.recipe import Recipe
from ..training.state import Log
from . import cost


@dataclass(frozen=True)
class Train(Experiment):
    """One net trained from scratch; the table has one row an epoch (see `training.state.History`).

    options: what its model alone knows, as `models.build` takes it: a mapping, or pairs of name and value; kept as
    pairs in the order of their names. ValueError: the model does not take them.

    >>> from pruning_lab import Recipe, Train, run
    >>> net = Train("digits", "mlp", Recipe(epochs=2), width=6, limit=20)
    >>> run(net).table.epoch.tolist()
    [1, 2]
    >>> net.trained().fc1.weight.shape
    torch.Size([6, 64])
    """

    has_weights: ClassVar[bool] = True
    is_net: ClassVar[bool] = True

    dataset: str  # name of an image set, see `data.names`
    model: str  # name of a net, see `models`
    recipe: Recipe  # how it is trained
    seed: int = 0  # of the first weights, and of all that training draws
    width: int | None = None  # units of the first layer, the others in proportion; None: the source's
    init: str = "default"  # "default" or "glorot", see `models.build`
    scale: str = "unit"  # "unit": pixels in [0, 1]; "standardised": mean 0 and sd 1 a channel
    image_size: int | None = None  # pixels to which images are resized; None: as they are
    limit: int | None = None  # training images; None: all
    start: Train | None = None  # begin at this run's trained weights instead of fresh ones
    options: tuple[tuple[str, Any], ...] = ()  # what the model alone takes: pairs of name and value

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "options", _pairs(self.options))
        models.check_options(self.model, dict(self.options))

    def split(self, name: str, limit: int | None = None) -> data.Split:
        """The training or test images as this net sees them, shared by all: to be read only (see `data.shared`)."""
        return data.shared(self.dataset, name, limit=limit, image_size=self.image_size, scale=self.scale)

    def fresh(self) -> nn.Sequential:
        """The net at weights drawn by its seed, on the CPU, also where its training starts at another run's."""
        shape, classes = self._shape()
        return models.build(self.model, shape, classes, self.width, self.seed, self.init, **dict(self.options))

    def untrained(self) -> nn.Sequential:
        """The net where its training begins, on the CPU: as drawn, or at the weights of the run that it starts from."""
        model = self.fresh()
        if self.start is not None:
            model.load_state_dict(store.run(self.start, weights=True).weights())
        return model

    def trained(self) -> nn.Sequential:
        """The net at its trained weights, on the device, in evaluation mode; trained now if these are not here."""
        model = self.fresh()
        model.load_state_dict(store.run(self, weights=True).weights())
        return model.to(environment.device()).eval()

    def compute(self) -> Result:
        return self.train_with(store.scratch(self))[0]

    def train_with(self, checkpoint_file: Path, hooks: Iterable[tuple[When, Hook]] = ()) -> tuple[Result, Log]:
        """What `compute` gives, trained now, and the snapshots that the hooks took on the way (see `fit`)."""
        model = self.untrained()
        with data.watched():
            train, test = self.split("train", self.limit), self.split("test")
            how = dict(seed=self.seed, hooks=hooks, checkpoint_file=checkpoint_file)
            history = fit(model, train, test, self.recipe, **how)
        return Result(history.table, history.arrays, model.state_dict(), history.seconds), history.snapshots

    def cost(self) -> float:
        return training_cost(self, self.recipe)

    def training(self) -> Training:
        return Training(self, self.recipe)

    def label(self) -> str:
        after = f"-after-{self.start.dataset}" if self.start else ""
        return f"{self.model}-{self.dataset}{after}-s{self.seed}".replace(":", "-")

    def plugin_digests(self) -> dict[str, str]:
        """Source digest of a model that is not the library's own."""
        build = models.MODELS.get(self.model)
        return {} if build is None or source.is_ours(build) else {self.model: source.plugin_digest(build)}

    def data_read(self) -> dict[str, dict[str, str | int]]:
        halves = dict(train=self.limit, test=None)
        asked = {f"{self.dataset}/{half}": (self.dataset, half, limit) for half, limit in halves.items()}
        base = data.scaled_by(self.dataset, self.scale)
        if base is not None and (base, self.limit) != (self.dataset, None):
            asked[f"{base}/train, whole"] = base, "train", None
        return self._start_read(_prints(asked))

    def seen(self, images: int | None) -> dict[str, dict[str, str | int]]:
        """The first so many training images (None: all), where those are more than `data_read` tells of."""
        whole = self.limit is None or data.scaled_by(self.dataset, self.scale) is not None
        if whole or (images is not None and images <= self.limit):
            return {}
        name = f"{self.dataset}/train, {'whole' if images is None else f'first {images}'}"
        return _prints({name: (self.dataset, "train", images)})

    def _start_read(self, own: dict[str, dict[str, str | int]]) -> dict[str, dict[str, str | int]]:
        """Its own data, and those of the net that it starts from, where these are others."""
        before = self.start.data_read() if self.start else {}
        return own | {k if own.get(k) == f else f"{k}, of its start": f for k, f in before.items()}

    def _shape(self) -> tuple[tuple[int, int, int], int]:
        first = self.split("test", 1)
        return tuple(first.images.shape[1:]), len(first.classes)


def _pairs(options: Any) -> tuple[tuple[str, Any], ...]:
    """Options in the order of their names, lists as tuples. ValueError: they are no names with values."""
    try:
        pairs = [(name, value) for name, value in (options.items() if isinstance(options, Mapping) else options)]
    except (TypeError, ValueError):
        pairs = None
    if pairs is None or not all(isinstance(name, str) for name, _ in pairs):
        raise ValueError(f"options={options!r}: expected names with values, as (('hidden', (300, 100)),)")
    names = [name for name, _ in pairs]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"options={options!r} say {twice[0]!r} twice: expected each name once")
    return tuple(sorted((name, _settled(value)) for name, value in pairs))


def _settled(value: Any) -> Any:
    return tuple(_settled(v) for v in value) if isinstance(value, tuple | list) else value


class WhileTraining(Experiment):
    """Base of experiments that look at a `net` while it trains, in a training that leaves the net's own record too."""

    net: Train

    def needs(self) -> list[Experiment]:
        return self.net.needs()

    def also_stores(self) -> list[Experiment]:
        return [self.net]

    def cost(self) -> float:
        return self.net.cost()


def _prints(asked: dict[str, tuple[str, str, int | None]]) -> dict[str, dict[str, str | int]]:
    """The fingerprints of what is on this machine, by the same names."""
    prints = {name: data.fingerprint(*split) for name, split in asked.items()}
    return {name: print_ for name, print_ in prints.items() if print_}


def multiplications(net: Train) -> int:
    """Multiply-adds of a net for one of its images."""
    return _multiplications(replace(net, start=None, seed=0))  # the run that a net starts from may have no record yet


@lru_cache
def _multiplications(net: Train) -> int:
    return models.multiplications(net.untrained(), tuple(net.split("test", 1).images.shape[1:]))


def training_cost(net: Train, recipe: Recipe) -> float:
    """Rough seconds of training a net by a recipe, to its limit where it may stop early.

    ValueError: the recipe holds out all of its images.
    """
    return cost.steps(multiplications(net), recipe.batch, recipe.steps(trained_on(net, recipe)))


def trained_on(net: Train, recipe: Recipe | None = None) -> int:
    """Number of a net's images on which a recipe, its own if None, trains. ValueError: it holds out all of them."""
    return (recipe or net.recipe).trained_on(data.size(net.dataset, "train", net.limit))


def steps_per_epoch(net: Train) -> int:
    """Iterations of one pass over a net's training images."""
    return net.recipe.steps_per_epoch(trained_on(net))


def ends(net: Train, epochs: Iterable[int]) -> list[int]:
    """The iterations after which these epochs of a net are over; 0: before the first."""
    return [epoch * steps_per_epoch(net) for epoch in epochs]


def looked_at(net: Train, sample: int | None) -> int | None:
    """How many of a net's training images are looked at: the first `sample` of its own; None: the whole set."""
    return min((n for n in (net.limit, sample) if n is not None), default=None)
