"""Experiments and their records: computed once, kept whole, found again by what determines the answer.

A record is a folder `<experiment>/<key>/` with `record.json`, `table.csv`, `arrays.npz` and, on the local shelf only,
`weights.safetensors`. Two shelves: the published one (the book's evidence) and this machine's own, which may be
deleted.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import lru_cache
from glob import escape
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
import torch
from filelock import FileLock, Timeout
from safetensors.torch import load_file, save_file

from .. import data, environment
from . import certificates, provenance, record, source
from .disk import room
from .experiment import Experiment, Result, same, settings
from .record import FORMAT, WEIGHTS, Stored, forget

__all__ = ["FORMAT", "Note", "Record", "find", "forget", "gather", "half_done", "publish", "put", "run", "scratch",
           "write"]  # fmt: skip

ARRAY_LIMIT = 1_000_000  # bytes of one published array file
SHELF_LIMIT = 30_000_000  # bytes of the published shelf


class Note(NamedTuple):
    """One thing in which the making of a record differs from what would be made here and now."""

    kind: Literal["code", "parent", "data", "torch", "device", "threads"]
    words: str


@dataclass(frozen=True)
class Record:
    """A stored answer; `notes` say in what its making differs from what would be made here and now.

    `standing` is "current" (made by today's code), "certified" (by other code that gives the same answers) or
    "unverified".
    """

    table: pd.DataFrame = field(repr=False)
    arrays: Mapping[str, np.ndarray] = field(repr=False)
    meta: Mapping[str, Any] = field(repr=False)
    shelf: str
    folder: Path
    notes: tuple[Note, ...] = ()
    standing: str = "current"

    def weights(self) -> dict[str, Any]:
        """Trained weights, name -> tensor on the CPU; empty where none were kept."""
        file = self.folder / WEIGHTS
        return load_file(file) if file.is_file() else {}


def _folder(e: Experiment, shelf: str) -> Path:
    root = environment.published_shelf() if shelf == "published" else environment.local_shelf()
    return root / type(e).__name__ / e.key


def scratch(e: Experiment) -> Path:
    """A file in which an experiment may keep its state while it runs, other code another file; removed once the record
    is stored.
    """
    return _checkpoints() / f"{type(e).__name__}-{e.key}-{source.state(e.code())[:8]}.safetensors"


def half_done(e: Experiment) -> Path | None:
    """The file in which a run that did not end left its state, by today's code or by code that is certified."""
    if (own := scratch(e)).is_file():
        return own
    begin, device = f"{type(e).__name__}-{e.key}-", environment.device().type
    left = [f for f in _checkpoints().glob(f"{escape(begin)}{'[0-9a-f]' * 8}.safetensors") if f.is_file()]
    sound = [f for f in left if certificates.leads_here(type(e).__name__, f.stem.removeprefix(begin), e.code(), device)]
    return max(sound, key=lambda f: f.stat().st_mtime_ns, default=None)


def _adopt(e: Experiment) -> None:
    """Give what such a run left the names that today's code looks for; the caller holds the experiment's lock."""
    found, own = half_done(e), scratch(e)
    if found is None or found == own:
        return
    for beside in sorted(found.parent.glob(f"{escape(found.stem)}.*.safetensors")):  # first: a death leaves the state
        beside.replace(own.with_name(own.stem + beside.name.removeprefix(found.stem)))
    found.replace(own)


def _checkpoints() -> Path:
    return environment.local_shelf() / "checkpoints"


def find(e: Experiment, weights: bool = False) -> Record | None:
    """The stored record of an experiment, published before local, or None; nothing is computed.

    A broken record is named on the way and passed over. One that was made by other code than today's, or on other data
    bytes, does not count on the local shelf; on the published one it does, and is marked. With `weights` only a record
    that has them counts.
    """
    return _on_shelf(e, "published", weights) or _on_shelf(e, "local", weights)


def _on_shelf(e: Experiment, shelf: str, weights: bool) -> Record | None:
    folder = _folder(e, shelf)
    if shelf == "local" and not folder.exists() and record.left(folder):
        _recover(e)
    if not (folder / record.META).is_file() or (weights and not (folder / WEIGHTS).is_file()):
        return None
    try:
        stored = _read(e, folder)
    except Exception as error:  # whatever is wrong with one record, the others are none the worse
        why = error if isinstance(error, ValueError | OSError) else f"{type(error).__name__}: {error}"
        print(f"record {folder.parent.name}/{folder.name} ({shelf}) is not used: {why}", flush=True)
        return None
    standing, other = _standing(e, stored.meta), _other_data(e, stored.meta)
    if shelf == "local" and (why := _stale(e, stored.meta, standing, other)):
        _say(why)
        return None
    notes = tuple(_notes(e, stored.meta, standing, other))
    return Record(stored.table, stored.arrays, stored.meta, shelf, folder, notes, standing)


def _read(e: Experiment, folder: Path) -> Stored:
    stored = record.read(folder)
    if not same(e, stored.meta["config"]):
        raise ValueError("its settings are not those asked for")
    return stored


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
    used = _data_used(e, _data_here(e)) if other else {}
    if any(meta["data"][k] != used[k] for k in other):  # else it is a published parent that was made on them
        return f"local records made on other data bytes than today's do not count ({', '.join(other)})"
    if standing == "unverified" and meta["code"] != _used(e, e.code())["code"]:  # else it is a published parent that is
        how = "`python -m pruning_lab certify` tells whether the answers are the same"
        other_code = source.differing(meta["code"], e.code())
        return f"local records of {type(e).__name__} made by other code than today's do not count ({other_code}); {how}"
    return None


@lru_cache
def _say(words: str) -> None:
    """Print a line, once in a process."""
    print(words, flush=True)


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
    file = _folder(e, "published") / record.META
    return _weights_of(file, file.stat().st_mtime_ns) if file.is_file() else None


@lru_cache(maxsize=4096)
def _weights_of(file: Path, _mtime: int) -> str | None:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))["files"].get(WEIGHTS)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None  # it is broken, which is said where it is read
    return found if isinstance(found, str) else None


THREADS = 1  # CPU threads of every run but those that measure time: sums round otherwise with another number


@contextmanager
def _threads(e: Experiment) -> Iterator[None]:
    """The same number of threads whoever computes: this process, a pool's or a cluster's worker."""
    before = torch.get_num_threads()
    if not e.alone:
        torch.set_num_threads(THREADS)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def run(e: Experiment, weights: bool = False) -> Record:
    """The stored record, or the answer computed now and stored on the local shelf; two processes compute it once.

    On a CPU it is computed by one thread, so that the answer does not depend on where a sweep computes.

    Raises:
        DiskFull: there is no room for the record or for the state of its training. Else what `e.compute` raises.
    """
    if found := find(e, weights):
        _tidy(e, found)
        return found
    with room(f"{type(e).__name__} {e.key}", environment.local_shelf(), scratch(e).with_suffix(".part")), _lock(e):
        if found := find(e, weights):
            return found
        _adopt(e)
        with _threads(e):
            _compute(e)
    found = find(e, weights)
    if found is None:
        raise RuntimeError(f"{type(e).__name__}/{e.key} was stored but cannot be read back")
    return found


def _compute(e: Experiment) -> None:
    provenance.count_memory()
    _see_unchanged(e)
    own, made, start = e.code(), provenance.here(), time.perf_counter()
    try:
        with _reading(e) as read, data.watched():
            result = e.compute()
    except Exception as error:
        if isinstance(error, data.Changed):
            _clear(e)  # what was trained on such images is not gone on with
        error.add_note(f"while computing {type(e).__name__} {e.key}")
        raise
    _see_unchanged(e)  # what it imported on its way, too
    seconds = round(result.seconds or time.perf_counter() - start, 3)
    write(e, result, made | _used(e, own) | dict(data=_data_used(e, read), seconds=seconds))
    _clear(e)


def _see_unchanged(e: Experiment) -> None:
    """See that what computes is the code that its record will name; ValueError: a file changed before it was loaded."""
    source.see_unchanged(type(e), plugins=bool(e.plugin_digests()))


_RUNNING: ContextVar[tuple[tuple[Experiment, Mapping[str, Any]], ...]] = ContextVar("running", default=())


@contextmanager
def _reading(e: Experiment) -> Iterator[dict[str, Any]]:
    """The data that an experiment reads, as they are before the block; after it also what came here meanwhile.

    Raises:
        Changed: in the end, if a file was replaced.
    """
    before = e.data_read()
    read = dict(before)
    token = _RUNNING.set((*_RUNNING.get(), (e, before)))
    try:
        yield read
    finally:
        _RUNNING.reset(token)
    read |= {k: f for k, f in _as_before(e, before).items() if k not in before}


def _as_before(e: Experiment, before: Mapping[str, Any]) -> dict[str, Any]:
    """The data that an experiment reads, now. Changed: they are others than before; what is gone is not."""
    lost = f"while {e.key} was computed from them, so that the answer does not count"
    try:
        now = e.data_read()
    except (ValueError, OSError) as error:
        raise data.Changed(f"data files became unreadable {lost}: {error}") from error
    if other := sorted(k for k in before if now.get(k, before[k]) != before[k]):
        again = "run it again, and leave data files alone meanwhile"
        raise data.Changed(f"the files of {', '.join(other)} were replaced {lost}: {again}")
    return now


def _lock(e: Experiment, timeout: float = -1) -> FileLock:
    """Held by the one process that computes an experiment."""
    return record.lock(_folder(e, "local"), timeout)


def _recover(e: Experiment) -> None:
    """Take up a record whose process died between two renames, unless one is at it now."""
    try:
        with _lock(e, timeout=0):
            record.recover(_folder(e, "local"))
    except Timeout:
        return  # it is being written


def _clear(e: Experiment) -> None:
    """Remove the states that runs of an experiment left, by whatever code; the caller holds its lock."""
    for file in _checkpoints().glob(f"{type(e).__name__}-{e.key}-*"):
        file.unlink(missing_ok=True)


def _tidy(e: Experiment, found: Record) -> None:
    """Remove what a process left that died after it had stored a local record: its state, and what it was writing."""
    if found.shelf != "local":
        return
    states = any(_checkpoints().glob(f"{type(e).__name__}-{e.key}-*"))
    if not states and not record.left(found.folder):
        return
    try:
        with _lock(e, timeout=0):
            _clear(e)
            record.clean(found.folder)
    except Timeout:
        return  # somebody is at it


def put(e: Experiment, result: Result) -> None:
    """Store the answer of an experiment that another came by, unless its sound record with weights is there.

    The caller answers for it that `e.compute()` would have given the same. A process that computes it now is waited
    for.
    """
    with _lock(e):
        if find(e, weights=e.has_weights) is None:
            _see_unchanged(e)
            read = e.data_read()
            for running, before in _RUNNING.get():  # what is put rests on what they read since they began
                _as_before(running, before)
            rests = _used(e, e.code()) | dict(data=_data_used(e, read))
            write(e, result, provenance.here() | rests | dict(seconds=round(result.seconds, 3)))


def _used(e: Experiment, own: Mapping[str, str]) -> dict[str, Any]:
    """The code that an answer did rest on, that of its parents as their records say, and which weights it started from.

    A parent that is certified counts as made by today's code: its answer is the same.
    """
    code, parents = dict(own), {}
    for parent in e.needs():
        found = find(parent, weights=parent.has_weights)
        code |= found.meta["code"] if found and found.standing == "unverified" else parent.code()
        parents[parent.key] = found.meta["files"].get(WEIGHTS) if found else None
    return dict(code=dict(sorted(code.items())), parents=parents)


def _data_used(e: Experiment, own: Mapping[str, Any]) -> dict[str, Any]:
    """The data that an answer did rest on: its own and, of what a parent reads too, those in its record."""
    read = dict(own)
    for parent in e.needs():
        found, today = find(parent, weights=parent.has_weights), _data_here(parent)
        read |= {k: f for k, f in (found.meta["data"] if found else {}).items() if own.get(k) == today.get(k)}
    return read


def write(e: Experiment, result: Result, made: Mapping[str, Any]) -> Path:
    """Store a result and how it was `made` on the local shelf, whole or not at all; the data are today's if `made` has
    none.

    The caller holds the experiment's lock.
    """

    def fill(part: Path) -> None:
        result.table.to_csv(part / record.TABLE, index=False)
        np.savez_compressed(part / record.ARRAYS, **result.arrays)
        if result.weights:
            save_file({k: v.detach().cpu().contiguous() for k, v in result.weights.items()}, part / WEIGHTS)
        what = dict(format=FORMAT, experiment=type(e).__name__, version=e.version, key=e.key, config=e.config())
        what |= dict(data=made["data"] if "data" in made else e.data_read())
        files = {f.name: record.checksum(f) for f in sorted(part.iterdir())}
        end = dict(peak_memory_bytes=provenance.peak_memory(), time=provenance.now(), files=files)
        (part / record.META).write_text(json.dumps(what | dict(made) | end, indent=1) + "\n", encoding="utf-8")

    return record.place(_folder(e, "local"), fill)


def publish(e: Experiment) -> Path:
    """Copy a local record, without its weights, to the published shelf, in place of the one whose `version` it raises.

    Raises:
        LookupError: there is no sound local record. ValueError: it is of a kind that stays on this machine, or its
            array file is larger than may be published.
    """
    if not e.published:
        raise ValueError(f"records of {type(e).__name__} are never published; publish what builds on them")
    local, target = _folder(e, "local"), _folder(e, "published")
    if not (local / record.META).is_file():
        raise LookupError(f"no local record of {type(e).__name__}/{e.key} to publish; run it first")
    _read(e, local)
    if (size := (local / record.ARRAYS).stat().st_size) > ARRAY_LIMIT:
        raise ValueError(f"arrays of {e.key} take {size:,} bytes; at most {ARRAY_LIMIT:,} are published")

    def fill(part: Path) -> None:
        for name in (record.TABLE, record.ARRAYS, record.META):
            shutil.copyfile(local / name, part / name)

    with _lock(e):
        record.place(target, fill)
        for old in superseded(e):
            shutil.rmtree(old)
    return target


def superseded(e: Experiment) -> list[Path]:
    """Published records of the same settings under an older `version`, its own or that of what it builds on."""
    beside = sorted(_folder(e, "published").parent.glob(f"{escape(e.label())}-*"))
    return [folder for folder in beside if folder.name != e.key and _is_older(e, folder)]


def _is_older(e: Experiment, folder: Path) -> bool:
    try:
        meta = record.read(folder).meta
    except (ValueError, OSError):
        return False  # it is broken, which is said where it is read
    return same(e, meta["config"]) and meta.get("version", 1) <= e.version


def gather(experiments: Iterable[Experiment]) -> pd.DataFrame:
    """One tidy table of the stored records, with a column for the seed and every field that varies; what is missing is
    left out.

    A setting that shares its name with a result has its full name, such as `recipe.lr`. ValueError: that is taken, too.
    """
    found = [(e, r) for e in experiments if (r := find(e)) is not None]
    results = {column for _, r in found for column in r.table}
    names = [{full if short in results else short: value for short, full, value in settings(e)} for e, _ in found]
    table = pd.DataFrame(names, dtype=object)  # a seed stays a whole number beside None or 0.1
    table = table.map(lambda v: ", ".join(map(str, v)) if isinstance(v, list) else v)
    varying = [c for c in table if c == "seed" or table[c].map(repr).nunique() > 1]
    if clash := results & set(varying):
        raise ValueError(
            f"columns {sorted(clash)} are both settings and results; rename them in the experiment's table"
        )
    rows = zip(found, table[varying].to_dict("records"), strict=True)
    parts = [r.table.assign(**row)[[*varying, *r.table]] for (_, r), row in rows]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()
