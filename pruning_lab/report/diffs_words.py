"""What the page on diffs says of its numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ..experiments import GradientHistory
from . import contrast
from .contrast import NAMES, histories, home, whole
from .diffs import ARMS, PLACES, at_ends, by_layer, layers, peaks
from .diffs_claims import BEYOND, CENTRED, FACTOR, FEW, NORMAL, WAYS, centred
from .evidence import Evidence
from .page import Page
from .regime import NOBODY, decided, reached

AGREED = {  # whether DI5 was run, and whether any weight was seen on which all images agree -> what the page says
    (False, False): NOBODY,
    (True, False): "In a {nets} no more weights were seen on which all images agree on noise than on real images.",
    (True, True): "Gaussian images give this many more weights on which all images agree: {pieces}.",
}


ANSWERED = {  # number of the answer -> claim and part
    "spread": ("DI2", "ViT, real images: peak over low"),
    "ways": ("DI4", f"ViT, real images: {WAYS}"),
}


def sentences(page: Page, judged: pd.DataFrame) -> dict[str, str]:
    """What the page says, by the names of its prose; judged: the verdicts of its claims."""
    kinds = contrast.resnets(page)
    at = {model: home(page, model) for model in NAMES}
    nets = [e for model in (*kinds, "vit") for kind in ARMS for e in histories(at[model], model, kind).values()]
    return dict(
        normal_read=_normal(decided(judged, "DI1")),
        travel_read=_ways(decided(judged, "DI4", WAYS)) + _beyond(decided(judged, "DI4", BEYOND)),
        agree_read=_agree(decided(judged, "DI5")),
        regime_read=reached(page),
        main_words=f"a {NAMES[kinds[0]]}",
        main_read=read(at[kinds[0]], kinds[0]),
        vit_read=read(at["vit"], "vit"),
        mlp_read=read(at["mlp"], "mlp"),
        histogram_words=f"Nets: {len(histories(at['vit'], 'vit', 'real'))} on each kind of images.",
        spikes_read=spike(at["vit"], "vit"),
        relu_read=spike(at["mlp"], "mlp"),
        oq4_read=" ".join(_with_loss(at[model], model) for model in ("vit", "mlp")),
        oq5_read=" ".join(_with_coherence(at[model], model) for model in ("vit", "mlp")),
        strict_read=_strict(nets),
        origin=contrast.origin(page),
    )


def numbers(judged: pd.DataFrame) -> dict[str, str]:
    """What the answer's sentences ask for: how much wider at the peak, how far ways differ, how many nets decide."""
    rows = {name: judged[(judged.claim == id) & (judged.part == part)].iloc[0] for name, (id, part) in ANSWERED.items()}
    spread, ways = np.exp(rows["spread"]["mean"]), FACTOR ** rows["ways"]["mean"]
    return dict(spread=f"{spread:.1f}", ways=f"{ways:.1f}", nets=str(max(row.n for row in rows.values())))


def read(found: Evidence, model: str) -> str:
    """Between what the spread and the excess kurtosis of the layers lie, on both kinds of images."""
    table = by_layer(found, model)
    if table.empty:
        return f"The {NAMES[model]} has not been run at this size."
    means = table.groupby(["images", "layer"])[["spread", "kurtosis"]].mean()
    low, high = means.groupby("images").min(), means.groupby("images").max()
    pieces = [
        f"on {name} the spread is {low.spread[name]:.1f} to {high.spread[name]:.1f} times that of coin tossing and the "
        f"excess kurtosis {low['kurtosis'][name]:.1f} to {high['kurtosis'][name]:.1f}"
        for name in low.index
    ]
    return f"The {NAMES[model]}, by layer: {', '.join(pieces)}."


def _normal(rows: pd.DataFrame) -> str:
    rows = rows[rows.kind == "same"]
    inside = ((rows.low > -1) & (rows.high < 1)).sum()
    begin = f"Of {len(rows)} tests whether diffs are centred and normal,"
    return f"{begin} {inside} stay inside their margin." if len(rows) else NOBODY


def _ways(rows: pd.DataFrame) -> str:
    pieces = [f"{FACTOR**row.mean:.2f} ({_net(row.part)})" for row in rows.itertuples()]
    begin = "In the median layer, the ways of the tenth with the highest and of the tenth with the lowest diffs differ"
    return f"{begin} by a factor of {', '.join(pieces)}." if pieces else NOBODY


def _beyond(rows: pd.DataFrame) -> str:
    pieces = [f"{100 * (FEW - row.mean):.0f} % ({_net(row.part)})" for row in rows.itertuples()]
    return f" Layers beyond either margin: {', '.join(pieces)}." if pieces else ""


def _agree(rows: pd.DataFrame) -> str:
    pieces = [f"{row.mean:+.3f} points on a {row.part}" for row in rows.itertuples()]
    seen = any(any(values) for values in rows["values"])
    return AGREED[len(rows) > 0, seen].format(nets=" and a ".join(rows.part), pieces=", ".join(pieces))


def _net(part: str) -> str:
    return part.partition(",")[0]


def spike(found: Evidence, model: str) -> str:
    """How many of the last layer's weights are at the spike that ten classes make, in a sentence."""
    nets = {name: histories(found, model, kind).values() for kind, name in ARMS.items()}
    pieces = [f"{np.mean([at_spike(e) for e in es]):.0f} % on {name}" for name, es in nets.items() if es]
    begin = f"In the last layer of a {NAMES[model]}, at the peak, this part of the weights has a |diff| from 0.75 to"
    return f"{begin} 0.85: {', '.join(pieces)}." if pieces else f"The {NAMES[model]} has not been run at this size."


def at_spike(e: GradientHistory) -> float:
    """Share of the last layer's weights with |diff| from 0.75 to 0.85 at the peak, %."""
    near = (np.abs(PLACES) > 0.75) & (np.abs(PLACES) < 0.85)
    return 100 * at_ends(e)["last_the peak"][near].sum()


def _with_loss(found: Evidence, model: str) -> str:
    arms = [histories(found, model, kind).values() for kind in ARMS]
    if not all(arms):
        return f"The {NAMES[model]} has not been run at this size."
    (real, noise), rho = (peaks(nets).mean() for nets in arms), [np.mean([with_loss(e) for e in nets]) for nets in arms]
    return (
        f"{NAMES[model][0].upper() + NAMES[model][1:]}: on Gaussian images diffs are spread {noise.sd / real.sd:.2f} "
        f"times as wide as on real ones, each at its peak, where the loss is {noise.loss:.2f} against {real.loss:.2f} "
        f"and {100 * noise.dead:.0f} % against {100 * real.dead:.0f} % of the weights have no gradient. "
        f"Rank correlation of spread and loss from epoch to epoch: {rho[1]:+.2f} on Gaussian and {rho[0]:+.2f} on real "
        "images."
    )


def _with_coherence(found: Evidence, model: str) -> str:
    nets = {name: histories(found, model, kind).values() for kind, name in ARMS.items()}
    if not all(nets.values()):
        return f"The {NAMES[model]} has not been run at this size."
    pieces = [
        f"on {name} {np.mean([across_layers(e) for e in es]):+.2f} from layer to layer at the peak and "
        f"{np.mean([over_epochs(e) for e in es]):+.2f} from epoch to epoch"
        for name, es in nets.items()
    ]
    return f"Rank correlation of coherence and spread in a {NAMES[model]}: {', '.join(pieces)}."


def across_layers(e: GradientHistory) -> float:
    """Rank correlation of a layer's coherence and its spread of diffs, at the peak."""
    return layers(e)[["coherence", "sd"]].corr("spearman").iloc[0, 1]


def over_epochs(e: GradientHistory) -> float:
    """Rank correlation of the whole net's coherence and its spread from epoch to epoch, epoch 0 left out."""
    return whole(e).query("epoch > 0")[["coherence", "sd"]].corr("spearman").iloc[0, 1]


def with_loss(e: GradientHistory) -> float:
    """Rank correlation of the whole net's spread and its loss from epoch to epoch, epoch 0 left out."""
    return whole(e).query("epoch > 0")[["sd", "loss"]].corr("spearman").iloc[0, 1]


def _strict(nets: Sequence[GradientHistory]) -> str:
    tables = [layers(e) for e in nets]
    inside = sum(int(((centred(table) < CENTRED) & (table["kurtosis"].abs() < NORMAL)).sum()) for table in tables)
    begin = f"Of {sum(map(len, tables))} layers of all these nets"
    return f"{begin} {inside} have diffs within both margins of DI1." if tables else "Not run at this size yet."
