"""Which nets got to where a claim speaks: those that fit their training images, and curves that level off."""

from __future__ import annotations

import numpy as np
import pandas as pd

from . import curves

FITS = 99  # per cent of the training images
Parts = dict[str, pd.Series]  # part -> one number a net, by its seed


def counted(nets: pd.DataFrame, along: str, fit: str = "fit") -> tuple[list[float], list[int]]:
    """The sizes at which most nets fit, and the seeds of which every net of these sizes does.

    nets: a row a net, with its seed, its size (`along`) and `fit`, its training accuracy in per cent; missing: not run.
    """
    each = nets.groupby(["seed", along])[fit].min().unstack(along)
    fits = each >= FITS
    sizes = each.columns[fits.sum() > each.notna().sum() / 2]
    whole = (fits | each.isna())[sizes].all(axis=1)
    return sizes.tolist(), each.index[whole].tolist() if len(sizes) else []


def short(every: Parts, counted: Parts) -> dict[str, int]:
    """How many nets of each part did not get there: they have a number without the regime and none in it."""
    return {name: len(every[name].index.difference(counted[name].index)) for name in every}


def levels_off(found: pd.DataFrame, share: float = 0.99) -> bool:
    """Whether the mean over nets has this share of its best before the last size; not below three sizes.

    found: a row a net, a column a size, ascending.
    """
    if found.empty or len(found.columns) < 3:
        return False
    first = curves.sufficient(found.mean().to_frame().T, share).iloc[0]
    return bool(first <= np.log2(float(found.columns[-2])))
