"""Experiments and their records: computed once, kept whole, found again by what determines the answer.

A record is a folder `<experiment>/<key>/` with `record.json`, `table.csv`, `arrays.npz` and, on the local shelf only,
`weights.safetensors`. Two shelves: the published one (the book's evidence), where the table is `table.csv.gz`, and this
machine's own, which may be deleted.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from contextvars import ContextVar
from glob import escape
from pathlib import Path
from typing import Any

import numpy as np
from filelock import Timeout
from safetensors.torch import save_file

from .. import data, environment
from . import provenance, record, source
from .disk import room
from .experiment import Experiment, Result, same
from .finding import Note, Record, checked, data_used, find, forget, gather, used
from .places import adopt, clear, folder_of, half_done, left_by, lock, scratch, states
from .provenance import one_thread
from .record import FORMAT, WEIGHTS

__all__ = ["FORMAT", "Note", "Record", "find", "folder_of", "forget", "gather", "half_done", "lock", "publish", "put",
           "run", "scratch", "states", "superseded", "used", "write"]  # fmt: skip

ARRAY_LIMIT = 1_000_000  # bytes of one published array file
SHELF_LIMIT = 30_000_000  # bytes of the published shelf


def run(e: Experiment, weights: bool = False) -> Record:
    """The stored record, or the answer computed now and stored on the local shelf; two processes compute it once.

    On a CPU it is computed by one thread, so that the answer does not depend on where a sweep computes.

    Raises:
        DiskFull: there is no room for the record or for the state of its training. RuntimeError: it was stored and
            cannot be read back. Else what `e.compute` raises.

    >>> from pruning_lab import Recipe, Train, run
    >>> net = Train("digits", "mlp", Recipe(iterations=1), width=6, limit=20)
    >>> first, again = run(net), run(net)  # the second is read, not computed
    >>> first.table.equals(again.table)
    True
    """
    if stored := find(e, weights):
        _tidy(e, stored)
        return stored
    with room(f"{type(e).__name__} {e.key}", environment.local_shelf(), scratch(e).with_suffix(".part")), lock(e):
        if stored := find(e, weights):
            return stored
        adopt(e)
        with nullcontext() if e.alone else one_thread():
            _compute(e)
    stored = find(e, weights)
    if stored is None:
        raise RuntimeError(f"{type(e).__name__}/{e.key} was stored but cannot be read back")
    return stored


def _compute(e: Experiment) -> None:
    provenance.count_memory()
    _see_unchanged(e)
    own, made, start = e.code(), provenance.here(), time.perf_counter()
    try:
        with _reading(e) as read, data.watched():
            result = e.compute()
    except Exception as error:
        if isinstance(error, data.Changed):
            clear(e)  # what was trained on such images is not gone on with
        error.add_note(f"while computing {type(e).__name__} {e.key}")
        raise
    _see_unchanged(e)  # what it imported on its way, too
    seconds = round(result.seconds or time.perf_counter() - start, 3)
    write(e, result, made | used(e, own) | dict(data=data_used(e, read), seconds=seconds))
    clear(e)


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


def _tidy(e: Experiment, stored: Record) -> None:
    """Remove what a process left that died after it had stored a local record: its state, and what it was writing."""
    if stored.shelf == "local" and (left_by(e) or record.left(stored.folder)):
        with suppress(Timeout), lock(e, timeout=0):  # else somebody is at it
            clear(e)
            record.clean(stored.folder)


def put(e: Experiment, result: Result) -> None:
    """Store the answer of an experiment that another came by, unless its sound record with weights is there.

    The caller answers for it that `e.compute()` would have given the same. A process that computes it now is waited
    for.

    >>> from pruning_lab import Recipe, Train, run
    >>> from pruning_lab.records import store
    >>> net = Train("digits", "mlp", Recipe(iterations=1), width=6, limit=20, seed=2)
    >>> store.put(net, net.compute())
    >>> store.find(net).shelf
    'local'
    """
    with lock(e):
        if find(e, weights=e.has_weights) is None:
            _see_unchanged(e)
            read = e.data_read()
            for running, before in _RUNNING.get():  # what is put rests on what they read since they began
                _as_before(running, before)
            rests = used(e, e.code()) | dict(data=data_used(e, read))
            write(e, result, provenance.here() | rests | dict(seconds=round(result.seconds, 3)))


def write(e: Experiment, result: Result, made: Mapping[str, Any]) -> Path:
    """Store a result and how it was `made` on the local shelf, whole or not at all; the data are today's if `made` has
    none.

    The caller holds the experiment's lock.

    >>> from pruning_lab import Recipe, Train
    >>> from pruning_lab.records import provenance, store
    >>> net = Train("digits", "mlp", Recipe(iterations=1), width=6, limit=20, seed=3)
    >>> with store.lock(net):
    ...     folder = store.write(net, net.compute(), provenance.here() | store.used(net, net.code()))
    >>> sorted(file.name for file in folder.iterdir() if not file.name.startswith("."))
    ['arrays.npz', 'record.json', 'table.csv', 'weights.safetensors']
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

    return record.place(folder_of(e), fill)


def publish(e: Experiment) -> Path:
    """Copy a local record, its table packed and without its weights, to the published shelf, in place of the one whose
    `version` it raises.

    Raises:
        LookupError: there is no sound local record. ValueError: it is of a kind that stays on this machine, or its
            array file or its table is larger than may be published.

    >>> from pruning_lab import Recipe, Train
    >>> from pruning_lab.records import store
    >>> store.publish(Train("digits", "mlp", Recipe(iterations=1), width=6, limit=20, seed=10**6))
    Traceback (most recent call last):
        ...
    LookupError: no local record of Train/...; run it first
    """
    if not e.published:
        raise ValueError(f"records of {type(e).__name__} are never published; publish what builds on them")
    local, target = folder_of(e), folder_of(e, "published")
    if not (local / record.META).is_file():
        raise LookupError(f"no local record of {type(e).__name__}/{e.key} to publish; run it first")
    checked(e, local)
    if (size := (local / record.ARRAYS).stat().st_size) > ARRAY_LIMIT:
        raise ValueError(f"arrays of {e.key} take {size:,} bytes; at most {ARRAY_LIMIT:,} are published")
    if (size := len(csv := record.text(local))) > record.TABLE_LIMIT:
        raise ValueError(f"the table of {e.key} takes {size:,} bytes; at most {record.TABLE_LIMIT:,} are published")

    def fill(part: Path) -> None:
        (part / record.PACKED).write_bytes(record.packed(csv))
        for name in (record.ARRAYS, record.META):
            shutil.copyfile(local / name, part / name)

    with lock(e):
        record.place(target, fill)
        for old in superseded(e):
            shutil.rmtree(old)
    return target


def superseded(e: Experiment) -> list[Path]:
    """Published records of the same settings under an older `version`, its own or that of what it builds on.

    >>> from pruning_lab import Recipe, Train
    >>> from pruning_lab.records import store
    >>> store.superseded(Train("digits", "mlp", Recipe(iterations=1), width=6, limit=20))
    []
    """
    beside = sorted(folder_of(e, "published").parent.glob(f"{escape(e.label())}-*"))
    return [folder for folder in beside if folder.name != e.key and _is_older(e, folder)]


def _is_older(e: Experiment, folder: Path) -> bool:
    try:
        meta = record.read(folder).meta
    except (ValueError, OSError):
        return False  # it is broken, which is said where it is read
    return same(e, meta["config"]) and meta.get("version", 1) <= e.version
