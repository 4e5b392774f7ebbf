"""What the units of a trained layer are worth: accuracy along removal orders, and each unit alone."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd
import torch

from .. import criteria, units
from ..records import source
from ..records.experiment import Experiment, Result
from . import cost
from .train import Train, multiplications


@dataclass(frozen=True)
class UnitCurve(Experiment):
    """Accuracy along the removal orders of a group of criteria, which share one pass over the test images.

    Table: criterion, remove ("lowest" or "highest" score first), repeat, removed (0..units), accuracy in [0, 1], loss
    (plain cross-entropy, by whatever recipe the net trained, so that curves of all nets are on one scale; gradients
    that criteria read are of it too, as in `units.order`). `repeats` counts the orders of a criterion that reads noise;
    one that reads nothing else has one direction.

    >>> from pruning_lab import Recipe, Train, UnitCurve, run
    >>> net = Train("digits", "mlp", Recipe(iterations=1), width=6, limit=20)
    >>> table = run(UnitCurve(net, "fc1", group=("norm",), test_images=20)).table
    >>> table[table["remove"] == "lowest"].removed.tolist()
    [0, 1, 2, 3, 4, 5, 6]
    """

    parent: Train  # the trained net
    layer: str  # whose units go
    group: tuple[str, ...] = ("norm", "frame_potential", "random")  # criteria by name, see `criteria.UNIT`
    repeats: int = 5  # orders of a criterion that reads noise
    sample: int = 1000  # training images of which criteria read activations or gradients
    test_images: int | None = None  # None: all

    def compute(self) -> Result:
        model, orders = self.parent.trained(), {}
        for criterion in self.group:
            reads = criteria.needs(criterion)
            seen = self.parent.split("train", self.sample) if _sees(reads) else None
            given = {"init": self.parent.untrained().get_submodule(self.layer).weight} if "init" in reads else {}
            for repeat in range(self.repeats if "noise" in reads else 1):
                for remove in ("lowest",) if reads == ("noise",) else ("lowest", "highest"):
                    order = units.order(model, self.layer, criterion, remove=remove, data=seen, seed=repeat, **given)
                    orders[criterion, remove, repeat] = order
        curves = units.pruning_curves(model, self.layer, orders, self.parent.split("test"), self.test_images)
        tables = [self._table(*curve).assign(criterion=c, remove=r, repeat=k) for (c, r, k), curve in curves.items()]
        return Result(pd.concat(tables)[["criterion", "remove", "repeat", "removed", "accuracy", "loss"]])

    @staticmethod
    def _table(accuracy: torch.Tensor, loss: torch.Tensor) -> pd.DataFrame:
        columns = dict(accuracy=accuracy.cpu().numpy(), loss=loss.cpu().numpy())
        return pd.DataFrame(dict(removed=range(len(accuracy))) | columns).round(6)

    def cost(self) -> float:
        images = self.test_images or len(self.parent.split("test"))
        return cost.passes(multiplications(self.parent), images, 3)

    def label(self) -> str:
        return f"{self.parent.label()}-{self.layer}-{'_'.join(self.group)[:40]}"

    def plugin_digests(self) -> dict[str, str]:
        """Source digests of the criteria that are not the library's own."""
        functions = {name: criteria.find(name) for name in self.group}
        return {name: source.plugin_digest(f) for name, f in functions.items() if not source.is_ours(f)}

    def data_read(self) -> dict[str, dict[str, str | int]]:
        sees = any(_sees(criteria.needs(criterion)) for criterion in self.group)
        return super().data_read() | (self.parent.seen(self.sample) if sees else {})


def _sees(reads: tuple[str, ...]) -> bool:
    """Whether a criterion that reads this needs training images."""
    return any(read.startswith("activation") or read in ("gradient", "diff") for read in reads)


@dataclass(frozen=True)
class UnitImportance(Experiment):
    """What each unit of a layer is worth by itself.

    Table: unit, norm, share (of the frame potential), loss_increase and accuracy_drop when that unit alone goes; the
    loss is plain cross-entropy, by whatever recipe the net trained, so that units of all nets are on one scale.

    >>> from pruning_lab import Recipe, Train, UnitImportance, run
    >>> net = Train("digits", "mlp", Recipe(iterations=1), width=6, limit=20)
    >>> table = run(UnitImportance(net, "fc1", test_images=20)).table
    >>> list(table), len(table)
    (['unit', 'norm', 'share', 'loss_increase', 'accuracy_drop'], 6)
    """

    parent: Train  # the trained net
    layer: str  # whose units go, one at a time
    test_images: int | None = None  # None: all

    def compute(self) -> Result:
        model = self.parent.trained()
        alone = units.removal_losses(model, self.layer, self.parent.split("test"), self.test_images)
        norm, share = (units.scores(model, self.layer, c).cpu().numpy() for c in ("norm", "frame_potential"))
        increase = (alone.loss - alone.whole_loss).cpu().numpy()
        drop = (alone.whole_accuracy - alone.accuracy).cpu().numpy()
        columns = dict(
            unit=range(len(norm)), norm=norm, share=share / share.sum(), loss_increase=increase, accuracy_drop=drop
        )
        return Result(pd.DataFrame(columns).round(9))

    def cost(self) -> float:
        images = self.test_images or len(self.parent.split("test"))
        return cost.passes(multiplications(self.parent), images, 2)

    def label(self) -> str:
        return f"{self.parent.label()}-{self.layer}"
