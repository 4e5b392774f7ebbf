"""How a claim came out: verdicts of its parts from one number a net, their tally, and how many nets would decide."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from . import claims
from .claims import Part

YES, NO, OPEN, NOT_RUN, NOT_IN_REACH = "reproduced", "not reproduced", "open", "not run", "not in reach"
WORDS = (YES, NO, OPEN, NOT_RUN, NOT_IN_REACH)
ELSEWHERE = {YES: "holds", NO: "fails"}  # away from the source's own nets and data
SMOKE = "no verdict at this size"
FEWEST = 3  # nets below which nothing is decided
SO_FAR = "so far"  # ends the reason of a part that has fewer nets than were fixed
MOST = 1_000  # nets beyond which nobody counts
POWER = 0.8


@dataclass(frozen=True)
class Verdict:
    """What a part came out as: `n` nets, their mean and its interval in the measure's unit.

    reason: why it is open or not in reach, else "". needed: how many nets would decide it at the spread seen here;
    None where it is decided, or where no number up to `MOST` would.
    """

    word: str
    n: int
    mean: float
    low: float
    high: float
    reason: str = ""
    needed: int | None = None


def interval(values: Sequence[float], confidence: float = 0.95) -> tuple[float, float, float]:
    """Mean and the ends of Student's t interval over nets; the ends are infinite for fewer than two nets."""
    x = np.asarray(values, dtype=float)
    if len(x) < 2:
        return (float(x.mean()) if len(x) else math.nan), -math.inf, math.inf
    from scipy import stats

    half = stats.t.ppf(0.5 + confidence / 2, len(x) - 1) * x.std(ddof=1) / math.sqrt(len(x))
    return float(x.mean()), float(x.mean() - half), float(x.mean() + half)


def confidence(kind: str) -> float:
    """Of the interval that decides a part of this kind: two one-sided tests at 5 % have one of 90 %."""
    return 0.90 if kind == "same" else 0.95


def verdict(
    values: Sequence[float], kind: str = "differs", margin: float = 0.0, short: int = 0, nets: int = FEWEST
) -> Verdict:
    """The verdict of one part from one number a net, signed so that the claim says "above zero".

    differs: the interval above zero. either: off zero, on whichever side. at_least: above -margin. same: the 90 %
    interval (two one-sided tests) inside +-margin. size: `values` are logs of measured over claimed and the interval
    lies inside +-log(margin), the margin being the tolerance factor. Wholly on the other side: not reproduced.
    Otherwise open, as with fewer nets than were fixed, or (differs, either) where all have one number. `short`: nets
    that did not reach the regime of the claim; where they leave fewer than three, it is not in reach. `nets`: how many
    were fixed before, at least three; with fewer it is open.

    Raises:
        ValueError: an unknown kind, a margin that the kind needs and does not get, a number that is not finite.
    """
    x = np.asarray(values, dtype=float)
    bound = _bound(kind, margin)
    if not np.isfinite(x).all():
        raise ValueError(f"numbers must be finite, got {list(values)}")
    mean, low, high = interval(x, confidence(kind))
    numbers = dict(n=len(x), mean=mean, low=low, high=high)
    if short and len(x) < FEWEST:
        return Verdict(NOT_IN_REACH, **numbers, reason=f"{short} of {short + len(x)} nets did not get there")
    if not len(x):
        return Verdict(NOT_RUN, **numbers)
    if kind in ("differs", "at_least"):
        yes, no = low > -bound, high < -bound
    elif kind == "either":  # a question that both signs answer
        yes, no = low > 0 or high < 0, False
    else:
        yes, no = -bound < low and high < bound, high < -bound or low > bound
    if reason := _undecided(x, kind, yes or no, nets - short):
        return Verdict(OPEN, **numbers, reason=reason, needed=needed(x, kind, margin))
    return Verdict(YES if yes else NO, **numbers)


def _bound(kind: str, margin: float) -> float:
    """How far from zero the end of the interval may lie, in the unit of the numbers."""
    if kind not in claims.KINDS or kind == "none":
        raise ValueError(f"no verdict for claims of kind {kind!r}; it is one of {claims.KINDS[:-1]}")
    too_small = margin <= 1 if kind == "size" else margin <= 0 if kind == "same" else margin < 0
    if too_small:
        raise ValueError(f"kind {kind!r} needs a positive margin (size: a factor above 1), got {margin}")
    return {"differs": 0.0, "either": 0.0, "size": math.log(margin) if kind == "size" else 0.0}.get(kind, margin)


def _undecided(x: np.ndarray, kind: str, told: bool, nets: int) -> str:
    """Why these numbers decide nothing; "" where they do."""
    if len(x) < max(nets, FEWEST):
        return f"{len(x)} of {max(nets, FEWEST)} nets {SO_FAR}"
    if kind in ("differs", "either") and np.ptp(x) == 0:  # all on one point of a grid: the spread is not known
        return "all nets gave one number"
    edge = "zero" if kind in ("differs", "either") else "the margin"
    return "" if told else f"the interval spans {edge}"


def needed(values: Sequence[float], kind: str = "differs", margin: float = 0.0) -> int | None:
    """How many nets decide with power 0.8, if further ones spread as these do and the mean stays where it is.

    None: the spread is not known (fewer than two nets, or one number), or more than `MOST` nets.
    """
    x, bound = np.asarray(values, dtype=float), _bound(kind, margin)
    spread = x.std(ddof=1) if len(x) > 1 else 0.0
    if not spread:
        return None
    away = abs(x.mean()) - bound if kind in ("same", "size") else x.mean() + bound
    return _nets(abs(away) / spread, confidence(kind))


def _nets(effect: float, wanted: float) -> int | None:
    """The fewest nets at which a t interval of this confidence keeps off a bound that lies `effect` deviations away."""
    from scipy import stats

    def power(n: int) -> float:
        edge = stats.t.ppf(0.5 + wanted / 2, n - 1)
        return float(stats.nct.sf(edge, n - 1, effect * math.sqrt(n)))

    if power(MOST) < POWER:
        return None
    low, high = FEWEST - 1, MOST  # power grows with n: halve the stretch that holds the first n that suffices
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if power(middle) >= POWER else (middle, high)
    return high


def tally(words: Sequence[str], of: str = "parts") -> str:
    """The word of a claim from those of its parts: the one that all share, or how many of them have which.

    A word that all have which were run is said with "where run", so that it is not read as the word of all.
    """
    counts = Counter(words)
    if len(counts) <= 1:
        return next(iter(counts), NOT_RUN)
    order = [word for word in (YES, "holds", NO, "fails", OPEN, NOT_IN_REACH, SMOKE, NOT_RUN) if counts[word]]
    first, *others = order
    whole = first in (*ELSEWHERE, *ELSEWHERE.values()) and not {*others} - {NOT_RUN, NOT_IN_REACH, SMOKE}
    head = f"{first} where run:" if whole else first
    said = [f"{head} in {counts[first]} of {len(words)} {of}", *(f"{word} in {counts[word]}" for word in others)]
    return ", ".join(said)


def lacks_nets(row: Mapping[str, object]) -> bool:
    """Whether a part, a row of `judge`, has fewer nets than were fixed: then its dot is hollow on every page."""
    return row["n"] < FEWEST or str(row["reason"]).endswith(SO_FAR)


def worded(word: str, elsewhere: bool = False, profile: str = "") -> str:
    """The word as the page says it: away from the source's nets and data other words; smoke runs have no verdict."""
    if profile == "smoke" and word != NOT_RUN:
        return SMOKE
    return ELSEWHERE.get(word, word) if elsewhere else word


def judge(
    id: str, values: Mapping[str, Sequence[float]], *, short: Mapping[str, int] | None = None, on: str = "",
    profile: str = "",
) -> pd.DataFrame:  # fmt: skip
    """The verdicts of one claim, a row a part of `book/claims.yml`: claim, part, label, by, kind, margin, unit, n,
    mean, low, high, verdict, reason, needed, counted, values, turned, one, and `overall` and `on`, the claim's.

    Args:
        values: part -> one number a net, signed so that the claim says "above zero"; a part that lacks was not run.
            A series is indexed by seeds: then only those decide that were trained after the part was amended.
        short: part -> how many nets did not reach the regime that the claim needs.
        on: what sets the run apart from the source's own, such as "narrow nets"; "": nothing does.
        profile: "smoke" gives no verdict.

    Raises:
        ValueError: values of a part that the claim does not have.
    """
    claim, short = claims.load()[id], short or {}
    names = [part.name for part in claim.parts]
    if unknown := [*(values.keys() - set(names)), *(short.keys() - set(names))]:
        raise ValueError(f"{id} has no part {unknown[0]!r}; book/claims.yml has {names}")
    rows = [_row(claim, part, values.get(part.name, ()), short.get(part.name, 0)) for part in claim.parts]
    table = pd.DataFrame(rows)
    table["verdict"] = [worded(word, bool(on), profile) for word in table.verdict]
    theirs = table.verdict[table.by == "source"]
    return table.assign(overall=tally(theirs.tolist(), claim.of), on=on)


def said(judged: pd.DataFrame) -> dict[str, str]:
    """Each claim's word, with what sets its run apart from the source's own."""
    first = judged.groupby("claim", sort=False)[["overall", "on"]].first()
    return {row.Index: row.overall + (f" ({row.on})" if row.on else "") for row in first.itertuples()}


def _row(claim: claims.Claim, part: Part, values: Sequence[float], short: int) -> dict[str, object]:
    counted = [part.counts(seed) for seed in values.index] if isinstance(values, pd.Series) else [True] * len(values)
    numbers = [float(value) for value in values]
    decides = [value for value, yes in zip(numbers, counted, strict=True) if yes]
    found = verdict(decides, part.kind, part.margin, short, part.nets)
    idle = found.word == NOT_RUN and numbers
    old = f"since the part was amended only seeds from {part.seeds} on decide" if idle else ""
    return dict(
        claim=claim.id, part=part.name, label=f"{claim.id}  {part.name}", by=part.by, kind=part.kind,
        margin=part.margin, unit=part.unit, n=found.n, mean=found.mean, low=found.low, high=found.high,
        verdict=found.word, reason=found.reason or old, needed=found.needed, counted=counted, values=numbers,
        turned=part.turned, one=part.one,
    )  # fmt: skip
