"""What is read of a net's weights and gradients as they are, a row a layer: spectra, coherence and diffs, a mask."""

from __future__ import annotations

import math
import warnings
from types import SimpleNamespace

import numpy as np
import pandas as pd
import torch
from torch import nn

from .. import gradients, masks
from ..gradients.summary import EDGE
from ..metrics import spectrum
from . import prices
from .found import ALL, refused, sentence, table
from .parts import rows, weighted
from .quiet import quiet

DENSITY = 0.1  # of the mask


def spectra(model: nn.Module) -> pd.DataFrame:
    """Stable rank of each weight matrix [units, inputs], and the singular values that stand above noise of its bulk."""
    return table("spectra", [_spectrum(model, name) for name in weighted(model)])


def _spectrum(model: nn.Module, name: str) -> dict:
    weight = rows(model, name)
    if weight is None:
        return dict(layer=name, reason="its weight cannot be read as a matrix")
    (count, columns), row = weight.shape, dict(layer=name, rows=weight.shape[0], columns=weight.shape[1])
    if not weight.isfinite().all():
        return row | dict(reason="weights are not finite")
    if (seconds := prices.decomposition(count, columns)) > prices.LONGEST:
        return row | dict(reason=f"too large: its singular values take about {seconds:.0f} s")
    values = spectrum.singular_values(weight.numpy())
    row["stable_rank"] = spectrum.stable_rank(values)
    if min(count, columns) < 3 or not values.any():
        return row | dict(reason="too few singular values to tell noise from spikes")
    variance = spectrum.bulk_variance(values, count, columns)
    return row | dict(spikes=spectrum.spikes(values, count, columns, variance))


def sampled(model: nn.Module, split, count: int) -> pd.DataFrame:
    """Coherence and diffs of the gradients of the first `count` images; what is refused is one row with the reason."""
    some = SimpleNamespace(images=split.images[:count], labels=split.labels[:count])
    try:
        with quiet(model, gradients=True):
            found = gradients.statistics(model, some)
    except (ValueError, RuntimeError) as error:
        return refused("gradients", ALL, error)
    return table("gradients", [_gradients(found, row) for row in found.table().to_dict("records")])


def _gradients(found: gradients.Statistics, row: dict) -> dict:
    whole = row["layer"] == "whole"
    names = [n for n in found.diffs if whole or n.rpartition(".")[0] == row["layer"]]
    values = np.concatenate([found.diffs[n].flatten().double().cpu().numpy() for n in names])
    said = dict(layer=ALL if whole else row["layer"] or "the model itself", parameters=row["parameters"],
                coherence=row["coherence"], unbiased=row["unbiased"], diffs=float(values.std()),
                beyond=float((np.abs(values) > EDGE).mean()))  # fmt: skip
    return said | (dict(reason="no sample has a gradient here") if math.isnan(row["coherence"]) else {})


def masked(model: nn.Module) -> pd.DataFrame:
    """What a mask over all weights by magnitude leaves of each layer at density `DENSITY`."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", masks.EmptyLayer)  # it stands in the row
            made = masks.table(masks.build(masks.scores(model, "magnitude"), DENSITY))
        whole = masks.left_whole(model)
    except (ValueError, RuntimeError) as error:
        return refused("masks", ALL, error)
    found = [r | dict(reason="" if r["kept"] else "nothing is left: nothing passes") for r in made.to_dict("records")]
    sizes = {name: masks.weights.weights(model)[name].numel() for name in whole}
    found += [dict(layer=name.removesuffix(".weight"), weights=size, kept=size, density=1.0,
                   reason="left whole: a small convolution on a shortcut") for name, size in sizes.items()]  # fmt: skip
    return table("masks", found)


def tried(name: str, call) -> pd.DataFrame:
    """What a call finds; an error of it is a row with the reason, since nothing stops the rest."""
    try:
        return call()
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # whatever a net of somebody else's may raise
        return refused(name, ALL, sentence(error))
