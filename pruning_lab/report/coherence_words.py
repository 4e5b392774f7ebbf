"""What the page on coherence says of its numbers."""

from __future__ import annotations

import numpy as np
import pandas as pd

from .coherence import compare
from .coherence_claims import ALIKE
from .contrast import NAMES, geometric, histories, home, origin, peak, peak_epoch, resnets
from .evidence import Evidence
from .numbers import side, size
from .page import Page
from .regime import NOBODY, accuracy, decided, reached

FACTORS = (
    "Real over Gaussian is a factor of {standardised:.1f} with standardised pixels "
    "and {unit:.1f} with pixels in [0, 1]: "
)
SCALE = {  # side of the interval of the log ratio with pixels in [0, 1] -> what the page says
    "none": "",
    "above": FACTORS + "noise does not overtake real images there.",
    "below": FACTORS + "there noise overtakes real images.",
    "open": FACTORS + "which of the two is ahead there these nets cannot tell.",
}


ANSWERED = {"vit": "ViT", "resnet": "ResNet50"}  # number of the answer -> part of CO1


def sentences(page: Page, judged: pd.DataFrame) -> dict[str, str]:
    """What the page says, by the names that its prose has for it; judged: the verdicts of its claims."""
    kinds = resnets(page)
    return dict(
        main_read=read(page, kinds[0]),
        vit_read=read(page, "vit"),
        mlp_read=read(page, "mlp"),
        regime_read=reached(page),
        spike_read=_factors(judged, "CO7", ": spike", "Coherence while noise is memorised, over that before or after"),
        again_read=_factors(
            judged, "CO2", "", "Peak on real images from fresh weights, over that on noise from theirs"
        ),
        magnitudes_read=_magnitudes(judged),
        pixels_read=_pixels(home(page, "mlp")),
        norms_read=_running_statistics(page, kinds[0]),
        origin=origin(page),
    )


def numbers(judged: pd.DataFrame) -> dict[str, str]:
    """What the answer's sentences ask for: factors between peaks, how many nets decide, why a part is open."""
    rows = {name: judged[(judged.claim == "CO1") & (judged.part == part)].iloc[0] for name, part in ANSWERED.items()}
    factors = {name: f"{np.exp(row['mean']):.1f}" for name, row in rows.items()}
    return factors | dict(nets=str(max(row.n for row in rows.values())))


def read(page: Page, model: str) -> str:
    """The peaks of a model on both kinds of images, and what it memorised."""
    found = home(page, model)
    real, noise = (histories(found, model, kind).values() for kind in ("real", "noise"))
    if not real or not noise:
        return f"The {NAMES[model]} has not been run at this size."
    peaks = [f"{geometric(map(peak, nets)):.3g}" for nets in (real, noise)]
    when = [f"{np.mean([peak_epoch(e) for e in nets]):.0f}" for nets in (real, noise)]
    ends = [f"{100 * np.mean([accuracy(e).iloc[-1] for e in nets]):.0f}" for nets in (real, noise)]
    return (
        f"On the {NAMES[model]}, coherence peaks at {peaks[0]} on real images (epoch {when[0]}) and at {peaks[1]} on "
        f"Gaussian ones (epoch {when[1]}); in the last epoch it gets {ends[0]} % and {ends[1]} % of them right."
    )


def _factors(judged: pd.DataFrame, id: str, end: str, begin: str) -> str:
    rows = decided(judged, id, end)
    pieces = [f"{size(row)} ({_of(row['part'])})" for row in rows.to_dict("records")]
    return f"{begin}: {'; '.join(pieces)}." if pieces else NOBODY


def _of(part: str) -> str:
    return part.partition(":")[0]


def _magnitudes(judged: pd.DataFrame) -> str:
    rows = judged[(judged.claim == "CO3") & (judged.n > 0)]
    begin = "The distance between the two trained distributions, over that between the real one and the start"
    pieces = " and ".join(f"{ALIKE - row.mean:.2f} ({row.part})" for row in rows.itertuples())
    return f"{begin}: {pieces}; the claim needs less than {ALIKE}." if pieces else NOBODY


def _pixels(found: Evidence) -> str:
    logs = {scale: compare(found, "mlp", "real", "noise", scale=scale) for scale in ("standardised", "unit")}
    word = side(logs["unit"], least=1) if all(logs.values()) else "none"
    return SCALE[word].format(**{scale: np.exp(np.mean(values)) for scale, values in logs.items() if values})


def _running_statistics(page: Page, model: str) -> str:
    nets = histories(home(page, model), model, "real").values()
    moved = geometric(peak(e, "coherence") / peak(e) for e in nets)
    return f"Running statistics move ResNet50's peak by a factor of {moved:.2f}." if nets else ""
