"""What chapter 9 says: verdicts of its claims, its sentences and the numbers of its answer."""

from __future__ import annotations

import numpy as np
import pandas as pd

from . import gathering, students, xord
from .page import Page

SIZES = {"paper": "", "gpu": "", "night": "fewer images"}  # of nets on images
MODELS = dict(AL1="conv_max", AL3="conv_max", RU1="lenet_300_100")
WAITING = "Not run at this size yet."


def judged(page: Page) -> pd.DataFrame:
    """The verdicts of the chapter's claims on what is shown."""
    found = page.shown
    blocks, units = xord.blocks(found), gathering.units(found)
    learnt = students.students(found)
    small = "" if found.profile in SIZES else "smaller"
    on = {id: found.apart(SIZES, model, "MNIST") for id, model in MODELS.items()}
    closer, far = gathering.closer(gathering.angles(found))
    images, unfit = gathering.from_centres(gathering.ends(found))
    slopes, poor = gathering.rising(units)
    errors, stuck = students.parts(learnt)
    begun = {"MNIST: four filters for 120": images, "XORD: k = 2 for 100": xord.closed(blocks)}
    return pd.concat([
        page.judge("AL1", closer, short=far, on=on["AL1"]),
        page.judge("AL2", xord.parts(blocks), on=small),
        page.judge("AL3", begun, short={"MNIST: four filters for 120": unfit}, on=on["AL3"]),
        page.judge("RU1", slopes, short=poor, on=on["RU1"]),
        page.judge("TS1", errors, short=stuck, on=small),
    ])  # fmt: skip


def sentences(page: Page) -> dict[str, str]:
    """What the page says of its figures, by the names that its prose has for them."""
    found = page.shown
    blocks, units = xord.blocks(found), gathering.units(found)
    learnt = students.students(found)
    return dict(
        chances=xord.chances(blocks),
        fails_read=_ends(blocks[blocks.arm == xord.SAMPLED], "k", "fails", "the share of fitted runs that fail", "%"),
        narrow_read=_narrow(blocks[blocks.arm == xord.SAMPLED].k),
        diverse_read=_diverse(blocks),
        centres_read=_centres(blocks),
        angles_read=_angles(gathering.angles(found)),
        small_read=_small(gathering.ends(found)),
        units_read=_units(units),
        students_read=_students(learnt),
    )


def _ends(table: pd.DataFrame, by: str, column: str, words: str, unit: str, digits: int = 0) -> str:
    """From what to what a mean goes between the smallest and the largest size."""
    means = table.groupby(by)[column].mean().dropna()
    if len(means) < 2:
        return WAITING
    (a, b), (x, y) = means.index[[0, -1]], means.iloc[[0, -1]]
    return f"From {by} = {a} to {by} = {b}, {words} goes from {x:.{digits}f} to {y:.{digits}f} {unit}."


def _narrow(widths: pd.Series) -> str:
    """Which widths the answer and AL2 mean by narrow and by wide."""
    narrow, wide = ([str(k) for k in side if k in set(widths)] for side in (xord.NARROW, xord.WIDE))
    if not narrow or not wide:
        return WAITING
    return (
        f"Narrow nets of the answer are those of k = {' and '.join(narrow)}, wide ones of {' and '.join(wide)}, "
        "each pair's mean."
    )


def _diverse(blocks: pd.DataFrame) -> str:
    table = blocks[blocks.arm == xord.DIVERSE]
    return _ends(table, "k", "fails", "trained on diverse points alone the share that fails", "%")


def _centres(blocks: pd.DataFrame) -> str:
    """Failing runs of small nets from random weights and from centres, and of the large ones."""
    means = blocks.groupby(["arm", "k"]).failed.mean()
    if (xord.CENTRES, xord.SMALL) not in means or (xord.SAMPLED, xord.SMALL) not in means:
        return WAITING
    sampled = means[xord.SAMPLED]
    return (
        f"Of all nets of k = {xord.SMALL}, fitted or not, {sampled[xord.SMALL]:.0f} % err on some input from random "
        f"weights, {means[xord.CENTRES, xord.SMALL]:.0f} % from the centres of nets of k = {sampled.index[-1]}, "
        f"of which {sampled.iloc[-1]:.0f} % do."
    )


def _angles(table: pd.DataFrame) -> str:
    if table.empty:
        return WAITING
    start, end, random = (table[kind].mean() for kind in gathering.KINDS)
    return (
        f"On average a filter lies {start:.0f} degrees from the nearest centre at the start and {end:.0f} after "
        f"training; random vectors of the trained lengths lie at {random:.0f}."
    )


def _small(table: pd.DataFrame) -> str:
    if table.empty:
        return WAITING
    large, small, centres = (table[name].mean() for name in gathering.STARTS)
    return (
        f"Test error in the end: {large:.1f} % of the large net, {small:.1f} % of the small one from random weights, "
        f"{centres:.1f} % from the centres."
    )


def _units(table: pd.DataFrame) -> str:
    words = dict(half="repeated units (from 0.5)", nearly="those from 0.9", gone="removable ones")
    told = [_ends(table, "width", column, f"the share of {said}", "%") for column, said in words.items()]
    return " ".join(dict.fromkeys(told))


def _students(table: pd.DataFrame) -> str:
    """Mean errors of the narrowest and the widest student of each arm."""
    told = []
    for name, part in table.groupby("arm", sort=False):
        means = part.groupby("width").error.mean()
        told.append(f"{name}: {_error(means.iloc[0])} to {_error(means.iloc[-1])}")
    if not told:
        return WAITING
    narrow, wide = table.width.min(), table.width.max()
    return f"Mean error from {narrow} to {wide} units: {'; '.join(told)}."


def _error(value: float) -> str:
    return "none" if value <= 10 * students.FLOOR else f"{value:.2g}"


def numbers(page: Page) -> dict[str, str]:
    """What the answer's sentences ask for: failing shares of narrow and of wide nets, and how the error grows."""
    wide = xord.blocks(page.shown)
    wide = wide[wide.arm == xord.SAMPLED].groupby("k").fails.mean()
    told = students.parts(students.students(page.shown))[0]
    times = float(np.exp(told["first layer only: error rises"].mean()))
    return dict(
        narrow=f"{wide[[k for k in xord.NARROW if k in wide]].mean():.0f}",
        wide=f"{wide[[k for k in xord.WIDE if k in wide]].mean():.0f}",
        times=f"{times:.0f}" if times >= 10 else f"{times:.1f}",
    )
