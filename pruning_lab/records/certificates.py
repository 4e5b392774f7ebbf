"""Certificates: that changed code gives the answers of the code before, shown by small twins run on both.

`version` of an experiment says what its answer means; the digests of its code only say "look"; a certificate says "the
same". `python -m pruning_lab certify` makes them (`certify.py`); they lie beside the published records.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from .. import environment
from .disk import room
from .source import state

FORMAT = 1
STANDINGS = ("current", "certified", "unverified")


def file() -> Path:
    """Where certificates are kept: beside the published records."""
    return environment.published_shelf() / "certificates.json"


def stored() -> Sequence[Mapping[str, Any]]:
    """All certificates, oldest first.

    Raises:
        ValueError: the file is broken.
    """
    place = file()
    return _read(place, place.stat().st_mtime_ns) if place.is_file() else ()


def standing(kind: str, code: Mapping[str, str], today: Mapping[str, str], device: str = "cpu") -> str:
    """How a record of some kind stands to today's code: "current", "certified" (a chain of certificates leads here) or
    "unverified".

    Args:
        code: digests by file, as the record has them. today: those of the code of today. device: type of the one that
            computed.
    """
    if code == today:
        return "current"
    return "certified" if state(today) in reached(kind, state(code), stored(), device) else "unverified"


def leads_here(kind: str, digits: str, today: Mapping[str, str], device: str = "cpu") -> bool:
    """Whether a state of the code, by the first digits of its digest, is today's, or certificates lead from it to that.

    False where digits are those of several states of which one does not lead here.
    """
    if (here := state(today)).startswith(digits):
        return True
    known = stored()
    olds = {old for c in known for old in c["states"].get(kind, {}) if old.startswith(digits)}
    return bool(olds) and all(here in reached(kind, old, known, device) for old in olds)


def reached(kind: str, old: str, certificates: Iterable[Mapping[str, Any]], device: str = "cpu") -> set[str]:
    """The states of the code to which certificates lead from an old one, itself included."""
    count = [c for c in certificates if device == "cpu" or c["devices"] == "all"]
    steps = [step for c in count for step in c["states"].get(kind, {}).items()]
    states, waiting = set(), {old}
    while waiting:
        states.add(here := waiting.pop())
        waiting |= {b for a, b in steps if a == here} - states
    return states


def save(certificates: Iterable[Mapping[str, Any]]) -> None:
    """Write certificates in the place of those that are stored; DiskFull, and those stay, where there is no room."""
    place = file()
    place.parent.mkdir(parents=True, exist_ok=True)
    part = place.with_suffix(".part")
    text = json.dumps(dict(format=FORMAT, certificates=list(certificates)), indent=1) + "\n"
    with room("certificates", place.parent, part):
        part.write_text(text, encoding="utf-8")
        part.replace(place)


@lru_cache(maxsize=4)
def _read(place: Path, _mtime: int) -> tuple[Mapping[str, Any], ...]:
    try:
        found = json.loads(place.read_text(encoding="utf-8"))
        if found["format"] != FORMAT:
            raise ValueError(f"its format is {found['format']}, this library reads {FORMAT}")
        for c in found["certificates"]:
            ends = [end for steps in c["states"].values() for end in steps.values()]
            if c["devices"] not in ("cpu", "all") or not all(isinstance(end, str) for end in ends):
                raise ValueError("a certificate has no devices or no states")
        return tuple(found["certificates"])
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        how = "take it from git again, or run `python -m pruning_lab certify`"
        raise ValueError(f"{place.name} is broken ({error!r}): {how}") from error
