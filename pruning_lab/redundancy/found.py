"""What a look at a net finds: tidy tables, each with the layer's name; what was not measured is a row with a reason."""

from __future__ import annotations

from dataclasses import dataclass, field

import pandas as pd

COLUMNS = {
    "layers": ("layer", "kind", "units", "dead", "repeated", "free", "share", "criterion", "random", "reason"),
    "curves": ("layer", "criterion", "seed", "removed", "accuracy"),
    "units": ("layer", "unit", "norm", "overlap", "nearest", "repeats", "moved", "worth"),
    "why": ("layer", "units", "norm", "angle", "norm_alone", "angle_alone", "by", "reason"),
    "spectra": ("layer", "rows", "columns", "stable_rank", "spikes", "reason"),
    "gradients": ("layer", "parameters", "coherence", "unbiased", "diffs", "beyond", "reason"),
    "masks": ("layer", "weights", "kept", "density", "reason"),
    "edges": ("layer", "one", "other", "cosine"),
    "savings": (
        "layer",
        "left_out",
        "units",
        "parameters",
        "multiply_adds",
        "milliseconds",
        "faster",
        "slowest",
        "fastest",
        "accuracy",
        "reason",
    ),
    "prices": ("layer", "part", "seconds", "images"),
}
ALL = "all layers"
MEANS = {  # of columns that do not say it themselves; "table.column" where tables differ
    "layers.kind": "units of a layer, heads of attention, a stream (layers whose outputs are added), or weights alone",
    "layers.units": "how many; where a grouped convolution reads them, the channels of a group are one",
    "dead": "units to which the loss of no image answers",
    "repeated": "units with a cosine of 0.9 or more to an earlier one",
    "free": "units that go in the best order before accuracy falls by more than a point",
    "share": "the same as a share of the units, from 0 to 1",
    "criterion": "the order in which units go: smallest first of this, or a random draw",
    "random": "units that go in random orders, a mean of three",
    "reason": "why something was not measured",
    "removed": "units that are gone",
    "curves.accuracy": "share of images named rightly, from 0 to 1",
    "overlap": "with all units of the layer: share of the frame potential times their number, 1 if at right angles",
    "nearest": "the largest cosine with another unit",
    "repeats": "whether it repeats an earlier unit",
    "moved": "share of the images whose loss answers to the unit",
    "worth": "first-order change of the loss without the unit",
    "units.norm": "length of the unit's weight vector",
    "why.norm": "rank correlation of worth with the norm",
    "angle": "rank correlation of worth with minus the overlap",
    "norm_alone": "the same as norm, the angle being held",
    "angle_alone": "the same as angle, the norm being held",
    "by": "the larger of the last two",
    "stable_rank": "sum of squared singular values over the largest squared",
    "spikes": "singular values above what noise of the same spread has",
    "coherence": "how far the images' gradients point one way: 1 if all alike; what chance gives shrinks with images",
    "unbiased": "coherence without what chance gives a sample of this size",
    "diffs": "standard deviation of diffs; a weight's diff is the balance of its gradients' signs, from -1 to 1",
    "beyond": "share of the weights whose diff lies beyond 0.99",
    "kept": "weights that a mask of the largest tenth of the whole net leaves",
    "density": "the same as a share of the layer's weights, from 0 to 1",
    "left_out": "how much of what each layer can spare is left out, from 0 to 1",
    "multiply_adds": "multiplications and additions for one image, in pairs",
    "faster": "how many times as fast as the whole net in the same round, the median over rounds",
    "slowest": "the same in the round in which it was least",
    "fastest": "the same in the round in which it was most",
    "savings.accuracy": "share of images named rightly without any retraining, from 0 to 1",
    "part": "what the time was for; groups: what goes together is found, sight: what images' losses say of units",
}


def means(table: str, column: str) -> str:
    """What a column of a table holds; empty where its name says it."""
    return MEANS.get(f"{table}.{column}", MEANS.get(column, ""))


def called(layer: str) -> str:
    """A layer in a sentence: of a plain row it has a number for a name."""
    return f"layer {layer}" if layer.isdigit() else layer


@dataclass(frozen=True)
class Report:
    """The redundancy of one net.

    layers: of each layer (or group of layers whose units go together, or weights that are in none) its units; `dead`
    ones, to which the loss of no image answers; `repeated` ones, which have a cosine of 0.9 or more with an earlier
    one; how many go (`free`, and their `share`) in the order of the best `criterion` before accuracy falls by more than
    a point, and how many in random orders, a mean of three; `reason`, where something was not measured.
    curves: accuracy in [0, 1] after so many are removed. units: a row a unit: l2 `norm` of its weights, their `overlap`
    with those of all units (its share of the frame potential times the number of units), the largest cosine with
    another (`nearest`), whether it `repeats` an earlier one, the share of images whose loss answers to it (`moved`),
    the first-order change of the loss without it (`worth`).
    why: rank correlations of `worth` with norms and with angles (minus the overlap), and of each `alone`, the other
    being held; `by` is the larger of these.
    spectra: stable rank, and singular values above what noise has. gradients: coherence of gradients on a sample, the
    standard deviation of diffs, the share of them `beyond` 0.99. masks: what a mask over all weights leaves of each
    layer. edges: the graph of one layer, pairs of units and their cosines. savings: copies that are really smaller:
    `left_out` of the units that each layer can spare, and what is left. prices: seconds asked for each part.
    """

    net: str
    accuracy: float  # of the whole net, in [0, 1]
    chance: float  # the share of the most common class among the same images
    images: int  # on which accuracy was measured
    measured_on: str  # "test" or "train"
    parameters: int
    multiply_adds: float  # of one image; NaN where they cannot be counted
    in_shape: tuple[int, ...]
    seconds: float
    device: str
    layers: pd.DataFrame = field(repr=False)
    curves: pd.DataFrame = field(repr=False)
    units: pd.DataFrame = field(repr=False)
    why: pd.DataFrame = field(repr=False)
    spectra: pd.DataFrame = field(repr=False)
    gradients: pd.DataFrame = field(repr=False)
    masks: pd.DataFrame = field(repr=False)
    edges: pd.DataFrame = field(repr=False)
    savings: pd.DataFrame = field(repr=False)
    prices: pd.DataFrame = field(repr=False)
    beyond: int = 0  # parameters that are in no layer whose units could be looked at

    def tables(self) -> dict[str, pd.DataFrame]:
        """Name -> table, in the order in which they are read."""
        return {name: getattr(self, name) for name in COLUMNS}


def table(name: str, rows: list[dict]) -> pd.DataFrame:
    """Rows as the table of that name, with its columns in their order; a reason that no row gives is empty."""
    if "reason" in COLUMNS[name]:
        rows = [dict(reason="") | row for row in rows]
    return pd.DataFrame(rows, columns=list(COLUMNS[name]))


def refused(name: str, layer: str, error: Exception | str) -> pd.DataFrame:
    """The table of that name where nothing was measured: one row with the reason, in one line."""
    return table(name, [dict(layer=layer, reason=sentence(error))])


def sentence(error: Exception | str) -> str:
    """What an error says, in one line; of one that is not ours its kind too."""
    said = " ".join(str(error).split())
    return said if isinstance(error, str | ValueError) and said else f"{type(error).__name__}: {said}".rstrip(": ")
