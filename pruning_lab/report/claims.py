"""Claims of the sources and their verdicts, computed from one number a trained net."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from html import escape
from pathlib import Path

import numpy as np
import pandas as pd

FILE = Path(__file__).parents[2] / "book" / "claims.yml"
KINDS = ("differs", "at_least", "same", "size", "none")


@dataclass(frozen=True)
class Claim:
    """One row of `book/claims.yml`."""

    id: str
    chapter: str
    source: str
    where: str
    claim: str
    measure: str
    expect: str
    kind: str = "differs"
    margin: str = ""
    note: str = ""

    @property
    def asks(self) -> bool:
        """Whether the source only asks, so that there is no verdict."""
        return self.expect == "open" or self.kind == "none"


@dataclass(frozen=True)
class Verdict:
    """What a claim, or a part of one, came out as: `n` nets, their mean and its interval, in the measure's unit."""

    word: str
    n: int
    mean: float
    low: float
    high: float


def load() -> dict[str, Claim]:
    """All claims by id, in the order of the file.

    Raises:
        ValueError: an unknown kind, or two rows with one id.
    """
    return dict(_claims(FILE.read_text(encoding="utf-8")))


@lru_cache(maxsize=4)
def _claims(text: str) -> dict[str, Claim]:
    """What `load` returns, of the file's text: a page asks for it a dozen times, and YAML is slow to read."""
    import yaml

    rows = [Claim(**row) for row in yaml.safe_load(text)]
    claims = {row.id: row for row in rows}
    if len(claims) != len(rows) or any(row.kind not in KINDS for row in rows):
        raise ValueError(f"{FILE.name}: ids must differ and kinds be among {KINDS}")
    return claims


def interval(values: Sequence[float], confidence: float = 0.95) -> tuple[float, float, float]:
    """Mean and the ends of Student's t interval over nets; the ends are infinite for fewer than two nets."""
    x = np.asarray(values, dtype=float)
    if len(x) < 2:
        return (float(x.mean()) if len(x) else math.nan), -math.inf, math.inf
    from scipy import stats

    half = stats.t.ppf(0.5 + confidence / 2, len(x) - 1) * x.std(ddof=1) / math.sqrt(len(x))
    return float(x.mean()), float(x.mean() - half), float(x.mean() + half)


def verdict(values: Sequence[float], kind: str = "differs", margin: float = 0.0) -> Verdict:
    """The verdict of one part from one number a net, signed so that the claim says "above zero".

    differs: the interval above zero. at_least: above -margin. same: the 90 % interval (two one-sided tests) inside
    +-margin. size: `values` are logs of measured over claimed and the interval lies inside +-log(margin), the margin
    being the tolerance factor. Wholly on the other side: not reproduced. Fewer than three nets, or (differs) all with
    one number: undecided.

    Raises:
        ValueError: an unknown kind, a margin that the kind needs and does not get, a number that is not finite.
    """
    if kind not in KINDS or kind == "none":
        raise ValueError(f"no verdict for claims of kind {kind!r}; it is one of {KINDS[:-1]}")
    if (
        (kind in ("same", "at_least") and margin < 0)
        or (kind == "same" and margin == 0)
        or (kind == "size" and margin <= 1)
    ):
        raise ValueError(f"kind {kind!r} needs a positive margin (size: a factor above 1), got {margin}")
    if not np.isfinite(values).all():
        raise ValueError(f"numbers must be finite, got {list(values)}")
    mean, low, high = interval(values, 0.90 if kind == "same" else 0.95)
    bound = {
        "differs": 0.0, "at_least": -margin, "same": margin, "size": math.log(margin) if kind == "size" else 0.0,
    }[kind]  # fmt: skip
    if kind in ("differs", "at_least"):
        yes, no = low > bound, high < bound
    else:
        yes, no = -bound < low and high < bound, high < -bound or low > bound
    # all on one point of a grid: the spread is not known
    few = len(values) < 3 or (kind == "differs" and np.ptp(values) == 0)
    word = "undecided" if few or not (yes or no) else "reproduced" if yes else "not reproduced"
    return Verdict(word if len(values) else "not run", len(values), mean, low, high)


def combine(parts: Mapping[str, Verdict]) -> str:
    """The verdict of a claim in parts: reproduced if all are, not reproduced if all are not, mixed if both occur, else
    undecided.
    """
    words = [part.word for part in parts.values()]
    if not words or all(w == "not run" for w in words):
        return "not run"
    for word in ("reproduced", "not reproduced"):
        if all(w == word for w in words):
            return word
    return "mixed" if {"reproduced", "not reproduced"} <= set(words) else "undecided"


def worded(word: str, on: str = "", profile: str = "") -> str:
    """The word as the page may say it: `on` names data that are not the source's own, which give no verdict; smoke has
    none at all.
    """
    if profile == "smoke" and word != "not run":
        return "no verdict at this size"
    words = {"reproduced": "holds", "not reproduced": "does not hold"}
    return word if not on or word == "not run" else f"{words.get(word, word)} on {on}"


def judge(
    id: str,
    parts: Mapping[str, Sequence[float]],
    *,
    on: str = "",
    profile: str = "",
    unit: str | Mapping[str, str] = "points",
    margin: float = 0.0,
    kinds: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """The verdicts of one claim, a row a part: claim, part, label, kind, unit, n, mean, low, high, verdict, values, and
    `overall`.

    Args:
        parts: every part of the claim -> one number a net, signed so that the claim says "above zero"; none where it is
            not run.
        on, profile: see `worded`. unit: of the numbers, of all parts or by part. margin: the claim's, as a number.
        kinds: part -> its kind, where the claim's measure gives a part one of its own.
    """
    kind = dict.fromkeys(parts, load()[id].kind) | dict(kinds or {})
    found = {name: verdict(list(values), kind[name], margin) for name, values in parts.items()}
    units = dict(unit) if isinstance(unit, Mapping) else dict.fromkeys(parts, unit)
    overall = worded(combine(found), on, profile)
    rows = [
        dict(claim=id, part=name, label=f"{id}  {name}", kind=kind[name], unit=units[name], n=v.n, mean=v.mean,
             low=v.low, high=v.high, verdict=worded(v.word, on, profile), values=[float(x) for x in parts[name]],
             overall=overall)
        for name, v in found.items()
    ]  # fmt: skip
    return pd.DataFrame(rows)


def scoreboard(judged: pd.DataFrame):
    """A table for the page: for each claim its sentence and verdict, then a row a part; last, what chance decides."""
    from IPython.display import HTML

    rows, text = [], load()
    if judged.empty:
        return HTML("<p>No part of these claims has been run yet.</p>")
    for id, parts in judged.groupby("claim", sort=False):
        words = escape(f"{id}: {text[id].claim}"), escape(parts.overall.iloc[0])
        rows.append('<tr class="lab-claim"><th colspan="4">{}</th><th>{}</th></tr>'.format(*words))
        rows += [_row(part) for _, part in parts.iterrows()]
    head = "".join(f"<th>{name}</th>" for name in ("part", "measured", "interval", "nets", "verdict"))
    tried = int(((judged.n >= 3) & (judged.kind == "differs")).sum())
    chance = (
        f"Of {tried} parts that claim a difference and have at least three nets, "
        f"chance alone would decide about {0.05 * tried:.1f}."
    )
    body = "".join(rows)
    return HTML(
        f'<table class="dataframe lab-verdicts"><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table><p>{chance}</p>"
    )


def _row(part: pd.Series) -> str:
    mean = f"{part['mean']:+.2f} {part.unit}" if part.n else "none"
    ends = f"{part.low:+.2f} to {part.high:+.2f}" if np.isfinite(part.low) else "none"
    return (
        "<tr>" + "".join(f"<td>{escape(str(c))}</td>" for c in (part.part, mean, ends, part.n, part.verdict)) + "</tr>"
    )
