"""Records, found again by what determines the answer, and judged by how they were made."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from filelock import Timeout
from safetensors.torch import load_file

from . import certificates, provenance, record, source
from .experiment import Experiment, same, settings
from .places import folder_of, lock
from .provenance import THREADS
from .record import WEIGHTS, Stored


class Note(NamedTuple):
    """One thing in which the making of a record differs from what would be made here and now.

    >>> from pruning_lab.records import store
    >>> store.Note("torch", "made with torch 2.11").kind
    'torch'
    """

    kind: Literal["code", "parent", "data", "torch", "device", "threads"]  # of difference
    words: str  # said to a reader


@dataclass(frozen=True)
class Record:
    """A stored answer; `notes` say in what its making differs from what would be made here and now.

    `standing` is "current" (made by today's code), "certified" (by other code that gives the same answers) or
    "unverified".

    >>> from pruning_lab import Recipe, Train, run
    >>> record = run(Train("digits", "mlp", Recipe(iterations=1), width=6, limit=20), weights=True)
    >>> record.shelf, record.standing
    ('local', 'current')
    >>> record.meta["config"]["recipe"]["iterations"]
    1
    >>> sorted(record.weights())[:2]
    ['fc1.bias', 'fc1.weight']
    """

    table: pd.DataFrame = field(repr=False)  # tidy
    arrays: Mapping[str, np.ndarray] = field(repr=False)  # by name, in the shapes that the experiment's docstring says
    meta: Mapping[str, Any] = field(repr=False)  # all of `record.json`
    shelf: str  # "local" or "published"
    folder: Path  # where it lies
    notes: tuple[Note, ...] = ()  # what differs from here and now
    standing: str = "current"  # how its code stands to today's

    def weights(self) -> dict[str, Any]:
        """Trained weights, name -> tensor on the CPU; empty where none were kept."""
        file = self.folder / WEIGHTS
        return load_file(file) if file.is_file() else {}


def find(e: Experiment, weights: bool = False) -> Record | None:
    """The stored record of an experiment, published before local, or None; nothing is computed.

    A broken record is named on the way and passed over. One that was made by other code than today's, or on other data
    bytes, does not count on the local shelf; on the published one it does, and is marked. With `weights` only a record
    that has them counts.

    >>> from pruning_lab import Recipe, Train, find
    >>> find(Train("digits", "mlp", Recipe(iterations=1), width=6, limit=20, seed=10**6)) is None  # nobody computed it
    True
    """
    return _on_shelf(e, "published", weights) or _on_shelf(e, "local", weights)


def gather(experiments: Iterable[Experiment]) -> pd.DataFrame:
    """One tidy table of the stored records, with a column for the seed and every field that varies; what is missing is
    left out.

    A setting that shares its name with a result has its full name, such as `recipe.lr`. ValueError: that is taken, too.

    >>> from pruning_lab import Recipe, Train, gather, run
    >>> nets = [Train("digits", "mlp", Recipe(iterations=1), width=6, limit=20, seed=seed) for seed in (0, 1)]
    >>> records = [run(net) for net in nets]
    >>> table = gather(nets)
    >>> sorted(set(table.seed)), "test_accuracy" in table
    ([0, 1], True)
    """
    stored = [(e, r) for e in experiments if (r := find(e)) is not None]
    results = {column for _, r in stored for column in r.table}
    names = [{full if short in results else short: value for short, full, value in settings(e)} for e, _ in stored]
    table = pd.DataFrame(names, dtype=object)  # a seed stays a whole number beside None or 0.1
    table = table.map(lambda v: ", ".join(map(str, v)) if isinstance(v, list) else v)
    varying = [c for c in table if c == "seed" or table[c].map(repr).nunique() > 1]
    if clash := results & set(varying):
        how = "rename them in the experiment's table"
        raise ValueError(f"columns {sorted(clash)} are both settings and results; {how}")
    rows = zip(stored, table[varying].to_dict("records"), strict=True)
    parts = [r.table.assign(**row)[[*varying, *r.table]] for (_, r), row in rows]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def _on_shelf(e: Experiment, shelf: str, weights: bool) -> Record | None:
    folder = folder_of(e, shelf)
    if shelf == "local" and not folder.exists() and record.left(folder):
        _recover(e)
    if not (folder / record.META).is_file() or (weights and not (folder / WEIGHTS).is_file()):
        return None
    try:
        stored = checked(e, folder)
    except (ValueError, OSError) as error:  # the others are none the worse
        print(record.plain(f"record {folder.parent.name}/{folder.name} ({shelf}) is not used: {error}"), flush=True)
        return None
    standing, other = _standing(e, stored.meta), _other_data(e, stored.meta)
    if shelf == "local" and (why := _stale(e, stored.meta, standing, other)):
        _say(why)
        return None
    notes = tuple(_notes(e, stored.meta, standing, other))
    return Record(stored.table, stored.arrays, stored.meta, shelf, folder, notes, standing)


def checked(e: Experiment, folder: Path) -> Stored:
    """The sound record of an experiment in a folder; ValueError, OSError: there is none."""
    stored = record.read(folder)
    if not same(e, stored.meta["config"]):
        raise ValueError("its settings are not those asked for")
    return stored


def _recover(e: Experiment) -> None:
    """Take up a record whose process died between two renames, unless one is at it now."""
    with suppress(Timeout), lock(e, timeout=0):  # else it is being written
        record.recover(folder_of(e))


def _standing(e: Experiment, meta: Mapping[str, Any]) -> str:
    return certificates.standing(type(e).__name__, meta["code"], e.code(), meta["device"]["type"])


def _other_data(e: Experiment, meta: Mapping[str, Any]) -> list[str]:
    """Names of the splits whose bytes here are not those that the answer was made on."""
    today = _data_here(e)
    return sorted(k for k in today if meta["data"].get(k, today[k]) != today[k])


def _data_here(e: Experiment) -> dict[str, dict[str, Any]]:
    """What an experiment reads, as far as that is here and can be read; that it cannot is said."""
    try:
        return e.data_read()
    except Exception as error:  # one broken file is no reason to stop a list, a plan or a page
        _say(f"records cannot be compared with their data: {error}")
        return {}


def _stale(e: Experiment, meta: Mapping[str, Any], standing: str, other: list[str]) -> str | None:
    """Why a local record does not count, in words for all of its kind; None if it does."""
    read = data_used(e, _data_here(e)) if other else {}
    if any(meta["data"][k] != read[k] for k in other):  # else it is a published parent that was made on them
        return f"local records made on other data bytes than today's do not count ({', '.join(other)})"
    if standing == "unverified" and meta["code"] != used(e, e.code())["code"]:  # else it is a published parent that is
        how = "`python -m pruning_lab certify` tells whether the answers are the same"
        other_code = source.differing(meta["code"], e.code())
        return f"local records of {type(e).__name__} made by other code than today's do not count ({other_code}); {how}"
    return None


@lru_cache
def _say(words: str) -> None:
    """Print a line, once in a process."""
    print(words, flush=True)


def forget() -> None:
    """Read from disk what is asked for next, and say again what is said once in a process.

    >>> from pruning_lab.records import store
    >>> store.forget()
    """
    record.forget()
    _say.cache_clear()


def _notes(e: Experiment, meta: Mapping[str, Any], standing: str, other: list[str]) -> Iterator[Note]:
    if standing == "unverified":
        other_code = source.differing(meta["code"], e.code())
        yield Note("code", f"made by other code than today's ({other_code})")
    trained = {p.key: _published_weights(p) for p in e.needs()}
    if any(w and meta["parents"].get(key, w) != w for key, w in trained.items()):
        yield Note("parent", "made from another training of its parent than the published one")
    if other:
        yield Note("data", f"made on other data bytes ({', '.join(other)})")
    if (there := meta["versions"]["torch"].split("+")[0]) != (here := provenance.versions()["torch"].split("+")[0]):
        yield Note("torch", f"made with torch {there}, here is {here}")
    device = provenance.device()
    if meta["device"]["name"] != device["name"]:
        yield Note("device", f"made on {meta['device']['name']}")
    on_cpu = device["type"] == meta["device"]["type"] == "cpu"
    if on_cpu and not e.alone and (threads := meta["device"]["threads"]) != THREADS:
        yield Note("threads", f"made with {threads} CPU threads, here {THREADS}")


def _published_weights(e: Experiment) -> str | None:
    """The checksum of the weights that a published record had when it was made; None: there is none, or it has none."""
    try:
        return record.read(folder_of(e, "published")).meta["files"].get(WEIGHTS)
    except (ValueError, OSError):
        return None  # there is none, or it is broken, which is said where it is read


def used(e: Experiment, own: Mapping[str, str]) -> dict[str, Any]:
    """The code that an answer did rest on, that of its parents as their records say, and which weights it started from.

    A parent that is certified counts as made by today's code: its answer is the same.

    >>> from pruning_lab import Recipe, Train
    >>> from pruning_lab.records import store
    >>> net = Train("digits", "mlp", Recipe(iterations=1), width=6, limit=20)
    >>> sorted(store.used(net, net.code()))
    ['code', 'parents']
    """
    code, parents = dict(own), {}
    for parent in e.needs():
        stored = find(parent, weights=parent.has_weights)
        code |= stored.meta["code"] if stored and stored.standing == "unverified" else parent.code()
        parents[parent.key] = stored.meta["files"].get(WEIGHTS) if stored else None
    return dict(code=dict(sorted(code.items())), parents=parents)


def data_used(e: Experiment, own: Mapping[str, Any]) -> dict[str, Any]:
    """The data that an answer did rest on: its own and, of what a parent reads too, those in its record."""
    read = dict(own)
    for parent in e.needs():
        stored, today = find(parent, weights=parent.has_weights), _data_here(parent)
        read |= {k: f for k, f in (stored.meta["data"] if stored else {}).items() if own.get(k) == today.get(k)}
    return read
