"""What the sources claim, as `book/claims.yml` has it: claims, their parts, and what was amended later."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any

from ..running import chapters

FILE = chapters.FOLDER / "claims.yml"
KINDS = ("differs", "at_least", "same", "size", "either", "none")
BY = ("source", "ours")


@dataclass(frozen=True)
class Part:
    """One number a net, and what it has to be for the claim to hold.

    kind, margin, unit: see `verdicts.verdict`; the margin is in the unit, of a log ratio as its logarithm.
    by: "source" where the source says so, "ours" where we ask beyond it; only the first decide.
    seeds: of an amended part the first seed that was trained after the amendment; earlier ones are shown, not counted.
    turned: its sentence says that something falls, of which the number is the inverse: pages write the fall.
    nets: how many were fixed before the first run of them; the claim's, where the part does not say.
    one: what one number is of, as pages count them, such as "net"; the claim's, where the part does not say.
    """

    name: str
    kind: str
    margin: float
    unit: str
    by: str
    measure: str
    seeds: int
    turned: bool = False
    nets: int = 3
    one: str = "net"

    def counts(self, seed: int) -> bool:
        """Whether a net of this seed decides."""
        return seed >= self.seeds


@dataclass(frozen=True)
class Amendment:
    """What was changed after the first run, on which day and why, and the claim's word under the rule before."""

    date: str
    what: str
    why: str
    before: str


@dataclass(frozen=True)
class Claim:
    """One row of `book/claims.yml`.

    short: the claim in about ten words. of: what its parts are, for a tally. needs: the regime that it speaks about.
    nets: how many were fixed before the first run; with fewer nothing is decided yet. one: what one number is of.
    """

    id: str
    chapter: str
    source: str
    where: str
    claim: str
    measure: str
    expect: str
    short: str = ""
    kind: str = "differs"
    margin: str | float = 0.0
    unit: str = "points"
    note: str = ""
    of: str = "parts"
    needs: str = ""
    nets: int = 3
    one: str = "net"
    parts: tuple[Part, ...] = ()
    amended: tuple[Amendment, ...] = ()

    @property
    def asks(self) -> bool:
        """Whether the source only asks, so that there is no verdict."""
        return self.expect == "open" or self.kind == "none"


def load() -> dict[str, Claim]:
    """All claims by id, in the order of the file.

    Raises:
        ValueError: an unknown kind or field, a margin without a number, or two claims or parts of one name; or the book
            is not here.
    """
    chapters.folder("the list of claims")
    return dict(_claims(FILE.read_text(encoding="utf-8")))


@lru_cache(maxsize=4)
def _claims(text: str) -> dict[str, Claim]:
    """What `load` returns, of the file's text: a page asks for it a dozen times, and YAML is slow to read."""
    import yaml

    rows = [_claim(row) for row in yaml.safe_load(text)]
    read = {row.id: row for row in rows}
    if len(read) != len(rows):
        raise ValueError(f"{FILE.name}: ids must differ")
    return read


def _claim(row: Mapping[str, Any]) -> Claim:
    """A claim of its row. ValueError: what `load` says."""
    if unknown := row.keys() - {field.name for field in fields(Claim)}:
        raise ValueError(f"{FILE.name}: {row.get('id')} has {sorted(unknown)}, which no claim has")
    whole = Claim(**{name: value for name, value in row.items() if name not in ("parts", "amended")})
    parts = tuple(_part(whole, part) for part in row.get("parts", ()))
    if whole.kind not in KINDS or len({part.name for part in parts}) != len(parts):
        raise ValueError(f"{FILE.name}: {whole.id} is of kind {whole.kind!r}, one of {KINDS}; its parts must differ")
    amended = tuple(Amendment(**change) for change in row.get("amended", ()))
    return Claim(**{**vars(whole), "parts": parts, "amended": amended})


def _part(claim: Claim, row: Mapping[str, Any]) -> Part:
    """A part of its row; what the row does not say is the claim's."""
    told = dict(kind=claim.kind, margin=claim.margin, unit=claim.unit, by="source", measure=claim.measure)
    told |= dict(seeds=0, turned=False, nets=claim.nets, one=claim.one)
    if unknown := row.keys() - {"name", *told}:
        raise ValueError(f"{FILE.name}: a part of {claim.id} has {sorted(unknown)}, which no part has")
    told |= row
    if told["kind"] in ("differs", "either") and "margin" not in row:
        told["margin"] = 0.0
    if not isinstance(told["margin"], int | float) or told["kind"] not in KINDS or told["by"] not in BY:
        got = f"{told['margin']!r}, {told['kind']!r}, {told['by']!r}"
        asked = f"expected a margin in numbers, a kind of {KINDS} and by of {BY}"
        raise ValueError(f"{FILE.name}: {claim.id}, part {row['name']!r}: {asked}, got {got}")
    if told["unit"].startswith("log ratio") and told["margin"] and told["kind"] != "size":
        told["margin"] = math.log(told["margin"])  # written as a factor
    return Part(**told)
