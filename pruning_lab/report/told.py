"""What chapters leave for the pages that show all claims: their verdicts, in a file beside each executed notebook."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from ..running import chapters
from . import claims, verdicts

NAME = "judged"  # of the verdicts among what a notebook hands on
FOLDER = chapters.FOLDER.parent / "_build" / "executed"  # unless the build says another


@dataclass(frozen=True)
class Told:
    """A chapter's verdicts, rows as of `verdicts.judge`; the profile of the records that they are read from, what one
    more net of all costs in core-hours (None: not known), and where the numbers come from, in a line.
    """

    judged: pd.DataFrame
    profile: str
    hours: float | None
    origin: str


def written(judged: pd.DataFrame | None, **about: Any) -> str:
    """A chapter's verdicts and what is told about them, as text that `read` takes; "" without a verdict."""
    if judged is None or judged.empty:
        return ""
    columns = [name for name in verdicts.judge(judged.claim.iloc[0], {}) if name in judged]
    rows = json.loads(judged[columns].to_json(orient="split", double_precision=15))
    return json.dumps(rows | {"about": about}, separators=(",", ":"))


def read(text: str) -> Told:
    """What `written` wrote. ValueError: it is not."""
    try:
        found = json.loads(text)
        table = pd.DataFrame(found["data"], columns=found["columns"])
        table["low"] = table.low.astype(float).fillna(-float("inf"))  # JSON has no infinity
        table["high"] = table.high.astype(float).fillna(float("inf"))
        return Told(table.assign(mean=table["mean"].astype(float)), **found["about"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"no verdicts of a chapter: {error!r}") from error


def file(folder: Path, chapter: str, profile: str) -> Path:
    """Where the verdicts of a chapter, by its notebook's name, lie; there or not."""
    return folder / f"{chapter}-{profile}.verdicts.json"


def folder() -> Path:
    """Where the executed chapters of this build lie: the build tells the kernels."""
    return Path(os.environ.get("PRUNING_LAB_EXECUTED") or FOLDER)


def all_chapters(profile: str) -> dict[str, Told]:
    """The verdicts of every chapter that this build has executed at a profile, by the notebook's name, in order."""
    places = {path.stem: file(folder(), path.stem, profile) for path in chapters.chapters()}
    return {stem: _read(place) for stem, place in places.items() if place.is_file()}


def _read(place: Path) -> Told:
    try:
        return read(place.read_text(encoding="utf-8"))
    except ValueError as error:
        how = "delete it and build the book again, which writes it anew"
        raise ValueError(f"{place.name} is broken ({error}): {how}") from error


def every(told: Mapping[str, Told]) -> pd.DataFrame:
    """A row a part of every claim that the sources make, in the order of the book's list: as chapters told them, else
    "not run"; a claim whose parts are not fixed yet has one row. Questions are left out.
    """
    tables = [one.judged.assign(page=stem, profile=one.profile) for stem, one in told.items()]
    known = {id: rows for table in tables for id, rows in table.groupby("claim", sort=False)}
    asked = [claim for claim in claims.load().values() if not claim.asks]
    rows = [known.get(claim.id, _not_run(claim)) for claim in asked]
    return pd.concat([part.astype(object) for part in rows], ignore_index=True)


def _not_run(claim: claims.Claim) -> pd.DataFrame:
    """Its parts, or where there are none yet one row, without a net."""
    pages = {path.stem[3:]: path.stem for path in chapters.chapters()}
    if claim.parts:
        table = verdicts.judge(claim.id, {})
    else:
        row = dict(claim=claim.id, part="", by="source", kind=claim.kind, margin=0.0, unit=claim.unit, n=0)
        numbers = dict(mean=float("nan"), low=-float("inf"), high=float("inf"), needed=None, counted=[], values=[])
        numbers |= dict(turned=False)
        words = dict(label=claim.id, verdict=verdicts.NOT_RUN, overall=verdicts.NOT_RUN, reason="", on="")
        table = pd.DataFrame([row | numbers | words])
    return table.assign(page=pages.get(claim.chapter, ""), profile="")
