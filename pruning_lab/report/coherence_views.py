"""Coherence beside what the claims compare: by training loss, and under both statistics of batch norms."""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd

from .coherence import STATISTICS
from .coherence_claims import BOTH, at_the_end, by_loss, early, higher, spike
from .contrast import ARMS, NAMES, PARTS, deep, histories, home, resnets
from .numbers import spoken
from .page import Page
from .regime import MEMORISED, measured

MODELS = {name: name for name in dict.fromkeys(PARTS.values())}  # panels
GRID = (2.3, 2.0, 1.7, 1.4, 1.2, 1.0, 0.8, 0.6, 0.4, 0.3, 0.2, 0.1, 0.05, 0.03, 0.02, 0.01)  # training losses drawn


def by_level(page: Page) -> pd.DataFrame:
    """Coherence at training losses on a grid, read off straight lines: a row a level, a net and an arm, a column a
    model; empty if not run.
    """
    rows = []
    for model, kind in ((model, kind) for model in (resnets(page)[0], "vit", "mlp") for kind in BOTH):
        for seed, e in histories(home(page, model), model, kind).items():
            line = by_loss(e)
            at = [loss for loss in GRID if line.index.min() <= loss <= line.index.max()]
            if at:
                told = {"training loss": at, PARTS[model]: np.exp(np.interp(at, line.index, line))}
                rows.append(pd.DataFrame(told | dict(arm=ARMS[kind], seed=seed)))
    return pd.concat(rows).reindex(columns=["training loss", "arm", "seed", *MODELS]) if rows else pd.DataFrame()


def about_levels(page: Page) -> dict[str, object]:
    """How the figure of coherence by training loss is drawn, and what it carries."""
    alt = "Coherence by training loss, on real and on Gaussian images, a panel a kind of net."
    told = page.about("by-loss", title="Coherence while the loss falls, left to right", alt=alt, found=deep(page))
    return dict(by="arm", x="training loss", log=("training loss", *MODELS)) | told


def readings(page: Page) -> pd.DataFrame:
    """What ResNet50 gives under both statistics of its batch norms, claim by claim, of the nets that got there."""
    model, rows = resnets(page)[0], []
    found = home(page, model)
    for words, column in STATISTICS.items():
        tell = partial(measured, found, model)
        told = {
            "CO1": tell(BOTH, partial(higher, column=column)),
            "CO2": tell(("real", "again"), partial(higher, column=column)),
            "CO4": tell(BOTH, partial(at_the_end, column=column)),
            "CO6": tell(("real",), partial(early, column=column)),
            "CO7, spike": tell(("noise",), partial(spike, column=column), MEMORISED),
        }
        spelled = {id: spoken(m.values, 2) for id, m in told.items()}
        rows.append({f"{NAMES[model]}, as the claims have it": words} | spelled)
    return pd.DataFrame(rows)
