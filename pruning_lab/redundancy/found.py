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
    "savings": ("layer", "left_out", "units", "parameters", "multiply_adds", "milliseconds", "accuracy", "reason"),
    "prices": ("layer", "part", "seconds", "images"),
}
ALL = "all layers"


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
