"""Published records: which stand today, and why others do not."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

from .. import environment, experiments
from ..records import certificates, record
from ..records.experiment import Experiment, lineage
from ..records.twins import rebuild
from .trials import ROOT

Shelf = Sequence[tuple[Path, Mapping[str, Any], Experiment]]  # folder, `record.json` and experiment of records


def published() -> Shelf:
    """All published records, each with its experiment as today's code reads its settings."""
    files = sorted(environment.published_shelf().glob(f"*/*/{record.META}"))
    metas = {file.parent: record.read(file.parent).meta for file in files}
    return [(f, m, rebuild(getattr(experiments, m["experiment"]), m["config"])) for f, m in metas.items()]


def reference() -> str:
    """The commit in which published records or certificates last changed: then all of them stood."""
    words = ["git", "log", "-1", "--format=%h", "--", str(environment.published_shelf())]
    found = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    if found.returncode or not found.stdout.strip():
        raise ValueError("git knows no commit with published records: name one with --since")
    return found.stdout.strip()


def cheapest(shelf: Shelf, count: int) -> list[Experiment]:
    """The published experiments that took least, what they build on included, at full size, on data that are here."""
    if not count:
        return []
    seconds = {e: meta["seconds"] for _, meta, e in shelf}
    here = [e for _, meta, e in shelf if not e.alone and meta["data"].keys() <= e.data_read().keys()]

    def took(e: Experiment) -> float:
        return sum(seconds[part] if part in seconds else part.cost() for part in lineage([e]))

    return sorted(here, key=took)[:count]


def unverified() -> list[str]:
    """Published records that are neither current nor certified, or have another key today: name and why."""
    reasons = {}
    for folder, meta, e in published():
        if e.key != folder.name:
            reasons[folder] = _moved(e, meta.get("version", 1), folder.name)
        elif certificates.standing(type(e).__name__, meta["code"], e.code(), meta["device"]["type"]) == "unverified":
            reasons[folder] = "made by other code than today's"
    return [f"{folder.parent.name}/{folder.name}: {why}" for folder, why in reasons.items()]


def _moved(e: Experiment, version: int, name: str) -> str:
    """Why a published record of that version and name is not found under the name that its settings have today."""
    for kind, setting, value in _given(e) if version == e.version else ():
        if _key_at_default(e, kind, setting, value) == name:
            was = f"the default of {kind.__name__}.{setting} was {value!r} when it was made"
            return f"{was}, so that its settings are {e.key} today; put the default back, or sweep and publish again"
    return f"superseded by {e.key}; sweep and publish that"


def _given(tree: Any) -> dict[tuple[type, str, Any], None]:
    """Class, name and value of every setting that is not its default, nested ones too; values can be hashed."""
    given: dict[tuple[type, str, Any], None] = {}
    for f in fields(tree):
        value = getattr(tree, f.name)
        if is_dataclass(value):
            given |= _given(value)
        elif value != f.default and f.default is not MISSING:
            given[type(tree), f.name, value] = None
    return given


def _key_at_default(e: Experiment, *one: Any) -> str | None:
    try:
        return _at_default(e, *one).key
    except ValueError:  # such settings are refused, so that no record has them
        return None


def _at_default(tree: Any, kind: type, setting: str, value: Any) -> Any:
    """The same settings, but one of a kind, where it has that value, at its default."""
    given = {f.name: getattr(tree, f.name) for f in fields(tree)}
    change = {name: _at_default(v, kind, setting, value) for name, v in given.items() if is_dataclass(v)}
    if type(tree) is kind and given[setting] == value:
        change[setting] = next(f.default for f in fields(tree) if f.name == setting)
    return replace(tree, **change)
