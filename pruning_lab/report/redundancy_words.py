"""The redundancy of a given net in words: the answer, what each layer can spare, how fast smaller copies are."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ..redundancy import Report
from ..redundancy.curves import MARGIN
from ..redundancy.prices import ROUNDS
from ..units.coupled import OUTPUTS
from .numbers import counted

ROUNDED = 4  # digits of numbers in tables
FEW = 0.1  # a larger share of the parameters in layers that could not be looked at is told first


def answer(found: Report) -> str:
    """What was found, in at most 45 words and three numbers."""
    free, best = found.layers[found.layers.free.notna()], smallest(found)
    seen = 1 - found.beyond / max(found.parameters, 1)
    if free.empty:
        first = "No layer's units could be taken out: each layer has its reason below."
        if seen < 1 - FEW:
            return f"{first} {100 * (1 - seen):.0f} % of the parameters are in layers of kinds that are not looked at."
        return f"{first} Weights, angles and gradients were measured all the same."
    if guesses(found):
        right, chance = (f"{100 * share:.0f} %" for share in (found.accuracy, found.chance))
        return (f"The net names {right} of the images rightly, and guessing {chance}: what its layers can spare says "
                "nothing yet. Give it its trained weights.")  # fmt: skip
    share, beside = (100 * free[column].sum() / free.units.sum() for column in ("free", "random"))
    left = found.layers.free.isna() & (found.layers.reason != OUTPUTS)
    where = "In the layers that could be looked at (others: below)" if left.any() else "Layer by layer"
    random = f"; in random order {beside:.0f} %"
    if seen < 1 - FEW and not any(left & (found.layers.kind != "weights")):
        where, random = f"In layers with {100 * seen:.0f} % of the parameters (others: below)", ""
    least = "" if everywhere(found) else "at least "
    first = f"{where}, {least}{share:.0f} % of the units can go before "
    if found.images * MARGIN >= 1:
        first += f"accuracy falls by more than a point{random}."
    else:  # one image is more than a point
        asked = f"{found.images} images that it was asked" if random else "images that it was asked"
        first += f"the net misses more of the {asked}."
    if best is None:
        return f"{first} Nothing smaller could be built from it."
    lost = 100 * (found.accuracy - best.accuracy)
    if lost <= 100 * MARGIN:
        changes = f"changes by {-lost:+.1f} points" if round(lost, 1) else "stays as it is"
        return f"{first} All of these can be left out at once: accuracy {changes}."
    return f"{first} Not all at once: that loses {lost:.1f} points of accuracy."


def guesses(found: Report) -> bool:
    """Whether a net names no more images rightly than by always saying the most common class, as far as can be told."""
    return found.accuracy < found.chance + 3 * (found.chance * (1 - found.chance) / found.images) ** 0.5


def smallest(found: Report) -> pd.Series | None:
    """The copy of which most was left out; None where there is none."""
    copies = found.savings[found.savings.left_out.astype(float) > 0]
    return copies.loc[copies.left_out.astype(float).idxmax()] if len(copies) else None


def origin(found: Report) -> str:
    """What was measured, where and on what, in one line."""
    half = "test images" if found.measured_on == "test" else "training images, as no others were given"
    return (f"{found.net}, {found.parameters:,} parameters, images of {' x '.join(map(str, found.in_shape))}; accuracy "
            f"{100 * found.accuracy:.1f} % on {counted(found.images, 'image')} ({half}), so that one image is "
            f"{100 / found.images:.2g} points; device {found.device}; {found.seconds:.0f} s.")  # fmt: skip


def of_layers(found: Report) -> str:
    """Which layers can spare most and least, with what to mind, and which are kept whole."""
    free = found.layers[found.layers.free.notna()]
    kept = found.layers[found.layers.free.isna()]
    told = []
    if len(free):
        most, least = free.loc[free.share.idxmax()], free.loc[free.share.idxmin()]
        beside = f"; layer {least.layer} least, {100 * least.share:.0f} % of {least.units:.0f}"
        if most.share > least.share:
            told.append(f"Layer {most.layer} can spare most, {100 * most.share:.0f} % of {most.units:.0f}{beside}.")
        else:
            all_of = f"Each of {len(free)} layers" if len(free) > 1 else f"Layer {most.layer}"
            told.append(f"{all_of} can spare {100 * most.share:.0f} % of its units.")
        told.append("The criterion is the best of three, chosen on the same images, which flatters it a little.")
        told.append("The three random orders may lie far apart.")
        if not everywhere(found):
            told.append("Accuracy was looked at in a few places along each order (see below), so that more may go.")
    if guesses(found):
        told.append(f"Careful: the net names {100 * found.accuracy:.0f} % of the images rightly, and the most common "
                    f"class has {100 * found.chance:.0f} %, so that what its layers spare says little.")  # fmt: skip
    own = kept.layer[kept.kind == "weights"]
    parts = [counted(len(kept) - len(own), "layer")] * (len(kept) > len(own))
    parts += [f"{counted(len(own), 'other')} with weights of a kind of their own"] * bool(len(own))
    if parts:
        told.append(f"{' and '.join(parts)} kept whole: the table has each one's reason.")
    return " ".join(told)


def everywhere(found: Report) -> bool:
    """Whether accuracy was looked at after every single unit."""
    looks = found.curves.groupby(["layer", "criterion", "seed"]).removed
    return bool((looks.max() - looks.min() + 1 == looks.count()).all())


def speed(copy: pd.Series) -> str:
    """How fast a copy is beside the whole net, as far as several rounds tell."""
    rounds = f"{copy.slowest:.2f} to {copy.fastest:.2f} times as fast in {ROUNDS} rounds"
    if copy.slowest > 1:
        return f"is {copy.faster:.2f} times as fast ({rounds})"
    return f"is slower ({rounds})" if copy.fastest < 1 else f"is no faster as far as this machine tells ({rounds})"


def rounded(table: pd.DataFrame) -> pd.DataFrame:
    """A table as a page shows it: whole numbers whole, others to four digits, nothing where nothing was measured."""
    return table.apply(lambda column: column.map(_written))


def _written(value: object) -> str:
    if value is None or (isinstance(value, float | np.floating) and not np.isfinite(value)):
        return ""
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, float | np.floating):
        return f"{int(value):,}" if value == int(value) and abs(value) < 1e15 else f"{value:.{ROUNDED}g}"
    return f"{value:,}" if isinstance(value, int | np.integer) else str(value)
