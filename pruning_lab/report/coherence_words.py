"""What the page on coherence says of its numbers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from .coherence import alike, compare, memorised, others
from .contrast import NAMES, deep, geometric, histories, home, origin, peak, peak_epoch, resnets
from .evidence import Evidence
from .numbers import counted, side
from .page import Page

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


def sentences(page: Page) -> dict[str, str]:
    """What the page says, by the names that its prose has for it."""
    kinds = resnets(page)
    return dict(
        answer_co1=_factors(page, (*kinds, "vit", "mlp")),
        answer_co2=_factors_again(page, (*kinds, "mlp")),
        answer_co6=_early(others(deep(page), kinds[0])["CO6"]),
        main_read=read(page, kinds[0]),
        vit_read=read(page, "vit"),
        mlp_read=read(page, "mlp"),
        magnitudes_read=_magnitudes(alike(home(page, kinds[0]), kinds[0])),
        choices_read=f"{_pixels(home(page, 'mlp'))} {_own_statistics(page, kinds[0])}",
        origin=origin(page),
    )


def read(page: Page, model: str) -> str:
    """The peaks of a model on both kinds of images, and what it memorised."""
    found = home(page, model)
    real, noise = (histories(found, model, kind).values() for kind in ("real", "noise"))
    if not real or not noise:
        return f"The {NAMES[model]} has not been run at this size."
    peaks = [f"{geometric(map(peak, nets)):.3g}" for nets in (real, noise)]
    when = np.mean([peak_epoch(e) for e in real])
    return (
        f"On the {NAMES[model]}, coherence peaks at {peaks[0]} on real images (epoch {when:.0f}) and at {peaks[1]} on "
        f"Gaussian ones, of which it gets {np.mean(memorised(found, model)):.0f} % right in the end."
    )


def _factors(page: Page, models: Iterable[str]) -> str:
    pieces = [f"{factor:.1f} times on a {place}" for factor, place in _ratios(page, models, "noise")]
    return f"Peak coherence on real images over that on Gaussian ones: {', '.join(pieces)}" if pieces else "Not run yet"


def _factors_again(page: Page, models: Iterable[str]) -> str:
    pieces = [f"{1 / factor:.2f} on a {place}" for factor, place in _ratios(page, models, "again")]
    begin = "Peak coherence on noise from trained weights, over that on real images from fresh ones"
    return f"{begin}: {', '.join(pieces)}" if pieces else "Not run yet"


def _ratios(page: Page, models: Iterable[str], kind: str) -> Iterator[tuple[float, str]]:
    """Of each model that was run in both: the factor of peaks, real over another arm; net, data and number of nets."""
    for model in models:
        found = home(page, model)
        if logs := compare(found, model, "real", kind):
            nets = counted(len(histories(found, model, "real")), "net")
            yield float(np.exp(np.mean(logs))), f"{NAMES[model]} ({found.data(model)}, {nets})"


def _early(parts: Mapping[str, Sequence[float]]) -> str:
    begin = "Counted in the epochs to 99 % of the final accuracy, the peak on real images comes after"
    ran = [(0.5 - np.mean(values), name, counted(len(values), "net")) for name, values in parts.items() if values]
    pieces = [f"{share:.2f} of them on a {name} ({nets})" for share, name, nets in ran]
    return f"{begin} {', '.join(pieces)}" if pieces else "Whether it peaks early is not known at this size yet"


def _magnitudes(parts: Mapping[str, Sequence[float]]) -> str:
    begin = "The distance between the two trained distributions, over that between the real one and the start"
    pieces = " and ".join(f"{0.25 - np.mean(values):.2f} ({name})" for name, values in parts.items() if values)
    return f"{begin}: {pieces}; the claim needs less than 0.25." if pieces else "Not run at this size yet."


def _pixels(found: Evidence) -> str:
    logs = {scale: compare(found, "mlp", "real", "noise", scale=scale) for scale in ("standardised", "unit")}
    word = side(logs["unit"], least=1) if all(logs.values()) else "none"
    return SCALE[word].format(**{scale: np.exp(np.mean(values)) for scale, values in logs.items() if values})


def _own_statistics(page: Page, model: str) -> str:
    nets = histories(home(page, model), model, "real").values()
    moved = geometric(peak(e, "refreshed") / peak(e) for e in nets)
    return f"The images' own statistics move ResNet50's peak by a factor of {moved:.2f}." if nets else ""
