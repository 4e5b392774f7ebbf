"""The page of a reader's own net: the nets that it shows, looked at, and what it says of them."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pandas as pd
import torch
from torch import nn

from .. import data as sets
from .. import environment
from ..nets import models
from ..records.provenance import one_thread
from ..redundancy import Given, Report, given, report
from . import redundancy, redundancy_words
from .redundancy import Section

SIZES = {  # profile -> images of the one epoch, side of the images, minutes for the residual net and for the plain one
    "smoke": (32, 32, 0.01, 0.01),
    "laptop": (256, 32, 0.5, 0.05),
}


class Look:
    """A net that was looked at, and the messages of its report by name."""

    def __init__(self, given: Given, minutes: float, command: str) -> None:
        self.given, self.said = given, []
        self.report: Report = report(given.model, given.train, given.test, minutes=minutes, say=self.said.append)
        self.sections: dict[str, Section] = {s.heading: s for s in redundancy.sections(self.report, command)}

    @property
    def price(self) -> str:
        """What was said before anything started."""
        return self.said[0]

    def figure(self, heading: str):
        """The figure of a message; None where nothing could be drawn."""
        return self.sections[heading].figure

    def words(self) -> dict[str, str]:
        """For the page's prose: the answer, where it comes from, and what to see in each figure, by short names."""
        after = {key: self.sections[heading].after for key, heading in HEADINGS.items()}
        said = dict(
            answer=redundancy_words.answer(self.report), origin=redundancy_words.origin(self.report), price=self.price
        )
        return said | after

    def table(self, name: str) -> pd.DataFrame:
        """A table of the report as a page shows it."""
        return redundancy_words.rounded(self.report.tables()[name])


HEADINGS = {  # the names of sentences on the page -> headings of their messages
    "spared": "What each layer can spare", "way": "On the way", "idle": "Dead and repeated units",
    "explained": "Norms against angles", "graph": "The graph of one layer", "spectra": "Stable rank and spikes",
    "gradients": "Coherence and diffs", "masks": "A mask at 10 %", "savings": "What leaving units out really saves",
}  # fmt: skip


def look(model: Any = None, data: Any = None, weights: str | None = None, profile: str = "laptop",
         minutes: float | None = None) -> dict[str, Look]:  # fmt: skip
    """Name -> a look at it: of the net that is given alone, else at a residual and a plain net after one small epoch.

    ValueError: as `redundancy.given`; data without a model, or the other way about.
    """
    if (model is None) != (data is None):
        raise ValueError("a net needs its data, and data need a net: give both, as in -p model my_net:make_net -p data "
                         "my_net:data")  # fmt: skip
    if model is not None:
        command = f"python -m pruning_lab report {model} --data {data}"
        command += f" --weights {weights}" if weights is not None else ""
        return {str(model): Look(given(model, data, weights), minutes or 1.0, command)}
    images, side, of_residual, of_plain = SIZES.get(profile, SIZES["laptop"])
    command = "python -m pruning_lab run book/your_own.ipynb"
    with one_thread():  # other pages are made beside this one
        return {
            "resnet18": Look(residual(images, side), minutes or of_residual, command),
            "plain": Look(plain(), minutes or of_plain, command),
        }


def residual(images: int, side: int) -> Given:
    """torchvision's resnet18 with random weights after one epoch of so many digits of this side, in three channels."""
    zoo = environment.import_torchvision().models
    torch.manual_seed(0)
    train, test = (_three_channels(sets.load("digits", half, scale="standardised", image_size=side, device="cpu"))
                   for half in ("train", "test"))  # fmt: skip
    some = SimpleNamespace(images=train.images[:images], labels=train.labels[:images])
    return Given("resnet18", _trained(zoo.resnet18(num_classes=10), some, epochs=1), train, test)


def plain(epochs: int = 10) -> Given:
    """A net of three hidden layers on digits."""
    train, test = (sets.load("digits", half, scale="standardised", device="cpu") for half in ("train", "test"))
    net = models.build("mlp", (1, 8, 8), hidden=(64, 48, 32))
    return Given("plain", _trained(net, train, epochs), train, test)


def _three_channels(split: sets.Split) -> SimpleNamespace:
    return SimpleNamespace(images=split.images.expand(-1, 3, -1, -1).contiguous(), labels=split.labels)


def _trained(model: nn.Module, split: Any, epochs: int, batch: int = 32) -> nn.Module:
    """The same net after so many epochs of Adam, in evaluation mode."""
    optimizer, draw = torch.optim.Adam(model.parameters(), lr=1e-3), torch.Generator().manual_seed(0)
    for _ in range(epochs):
        for some in torch.randperm(len(split.labels), generator=draw).split(batch):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(split.images[some]), split.labels[some]).backward()
            optimizer.step()
    return model.eval()


def beside(looks: Mapping[str, Look]) -> pd.DataFrame:
    """One row a net: units, how many go by the best criterion and at random, dead, repeated, and the smallest copy."""
    rows = []
    for name, one in looks.items():
        layers, found = one.report.layers, one.report
        free, smallest = layers[layers.free.notna()], redundancy_words.smallest(found)
        rows.append({
            "net": name, "layers": len(layers), "kept whole": len(layers) - len(free), "units": int(layers.units.sum()),
            "dead": int(layers.dead.sum()), "repeated": int(layers.repeated.sum()),
            "can go, %": 100 * free.free.sum() / max(free.units.sum(), 1),
            "at random, %": 100 * free.random.sum() / max(free.units.sum(), 1),
            "accuracy, %": 100 * found.accuracy,
            "without all of these, %": float("nan") if smallest is None else 100 * smallest.accuracy,
        })  # fmt: skip
    return redundancy_words.rounded(pd.DataFrame(rows))
