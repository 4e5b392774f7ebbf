"""The published records as one table: a row each, of what was run, where, by what, and how it stands today."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import pandas as pd

from .. import environment, experiments
from ..records import certificates, record
from ..records.experiment import Experiment, changed, lineage
from ..records.twins import rebuild
from . import chapters, parameters

COLUMNS = ("kind", "record", "model", "data", "seed", "settings", "chapters", "device", "processor", "instructions",
           "threads", "cores", "seconds", "peak_memory_mb", "python", "torch", "numpy", "system", "data_digests",
           "code", "library", "made", "state")  # fmt: skip
# the state of a record that cannot be read or has changed since; any other one is of `certificates.STANDINGS`
BROKEN = "broken"
OLDER = "older key"  # of one that has another key today, so that no chapter finds it


@dataclass(frozen=True, eq=False)
class Entry:
    """A published record: its folder, its `record.json`, and its experiment as today's code reads the settings."""

    folder: Path
    meta: Mapping[str, Any]
    experiment: Experiment


def entries() -> tuple[list[Entry], dict[str, str]]:
    """The published records in order, and of those that are broken the name and why.

    Files are held against the checksums in `record.json`; no table or array is read.
    """
    found, broken = [], {}
    for file in sorted(environment.published_shelf().glob(f"*/*/{record.META}")):
        try:
            meta = record.read_meta(file)  # judged as where it is read, so that no row meets an odd entry
            e = rebuild(getattr(experiments, meta["experiment"]), meta["config"])
            hash(e)  # settings of a kind that no experiment has
            _see_whole(file.parent, meta["files"])
            found.append(Entry(file.parent, meta, e))
        except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
            name = f"{file.parent.parent.name}/{file.parent.name}"
            broken[name] = record.plain(error if type(error) is ValueError else f"{type(error).__name__}: {error}")
    return found, broken


def _see_whole(folder: Path, sums: Mapping[str, str]) -> None:
    """See that the files of a record are those that it was published with; else ValueError."""
    here = {file.name for file in folder.iterdir()}
    if odd := sorted({record.TABLE if name == record.PACKED else name for name in here} - {record.META} - sums.keys()):
        raise ValueError(f"record.json has no checksum of {', '.join(odd)}")
    for name, expected in sums.items():
        lies = record.PACKED if name == record.TABLE and record.PACKED in here else name
        if name == record.WEIGHTS and name not in here:
            continue  # they are never published
        if lies not in here:
            raise ValueError(f"{name} is missing")
        table = name == record.TABLE  # its checksum is of the text, packed or not
        if (sha256(record.text(folder)).hexdigest() if table else record.checksum(folder / name)) != expected:
            raise ValueError(f"{lies} is not what record.json says: take it from git again")


def planned() -> dict[str, list[str]]:
    """Class and key of every experiment that the book plans at profiles that are published -> such as "01 night"."""
    where: dict[str, list[str]] = {}
    for path in chapters.chapters():
        for profile in parameters.PROFILES:
            if profile not in parameters.PRIVATE:
                for e in lineage(chapters.plan(path, profile)):
                    where.setdefault(name(e), []).append(f"{path.stem[:2]} {profile}")
    return where


def name(e: Experiment) -> str:
    """Class and key, as the folders of a shelf have them."""
    return f"{type(e).__name__}/{e.key}"


def table(where: Mapping[str, Iterable[str]] | None = None) -> pd.DataFrame:
    """A row a published record, `COLUMNS`; seconds are of the record alone, not of what it was made from.

    where: what `planned` gives; None: ask it.
    """
    found, broken = entries()
    where = planned() if where is None else where
    rows = [_row(entry, where) for entry in found]
    rows += [dict(zip(("kind", "record"), key.split("/"), strict=True), state=BROKEN) for key in broken]
    return pd.DataFrame(rows, columns=list(COLUMNS)).sort_values(["kind", "record"], ignore_index=True)


def _row(entry: Entry, where: Mapping[str, Iterable[str]]) -> dict[str, Any]:
    meta, e = entry.meta, entry.experiment
    device, versions, net = meta["device"], meta["versions"], _net(e)
    digests = "; ".join(f"{split} {seen['digest']}" for split, seen in sorted(meta["data"].items()))
    return dict(
        kind=entry.folder.parent.name, record=entry.folder.name, model=getattr(net or e, "model", ""),
        data=getattr(net, "dataset", ""), seed=getattr(net, "seed", None), settings=said(e),
        chapters="; ".join(where.get(f"{entry.folder.parent.name}/{entry.folder.name}", ())),
        device=device["type"], processor=device["name"],
        instructions=_kept(device.get("instructions"), str) or "not kept",
        threads=device["threads"], cores=_kept(device.get("cores"), int), seconds=meta["seconds"],
        peak_memory_mb=round(meta["peak_memory_bytes"] / 1e6), python=versions.get("python", ""),
        torch=versions["torch"], numpy=versions.get("numpy", ""), system=versions.get("system", ""),
        data_digests=digests, code=_revision(meta.get("git")), library=_kept(meta.get("library"), str) or "",
        made=meta["time"], state=state(entry),
    )  # fmt: skip


def _kept(value: Any, kind: type) -> Any:
    """What a record may keep and need not; None where it is of another kind."""
    return value if isinstance(value, kind) else None


def _revision(git: Any) -> str:
    return _kept(git.get("revision"), str) or "" if isinstance(git, dict) else ""


def state(entry: Entry) -> str:
    """How a record stands to today's code: a word of `certificates.STANDINGS`, or that its key is an older one."""
    e = entry.experiment
    if e.key != entry.folder.name:
        return OLDER
    return certificates.standing(type(e).__name__, entry.meta["code"], e.code(), entry.meta["device"]["type"])


def _net(e: Experiment) -> Experiment | None:
    """The first net that an experiment is made of, itself included; None: it trains none."""
    return next((part for part in lineage([e]) if part.is_net and hasattr(part, "dataset")), None)


def said(e: Experiment) -> str:
    """The settings that are not their defaults, in one line; of what it is made of, with its name before."""
    return ", ".join(f"{path}={value}" for path, value in _leaves(changed(e), ""))


def _leaves(tree: Mapping[str, Any], before: str) -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{before}{key}.")
        else:
            yield f"{before}{key}", " ".join(map(str, value)) if isinstance(value, list) else value
