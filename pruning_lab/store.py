"""Experiments and their records: computed once, kept whole, found again by what determines the answer.

A record is a folder `<experiment>/<key>/` with `record.json`, `table.csv`, `arrays.npz` and, on the local shelf only,
`weights.safetensors`. Two shelves: the published one (the book's evidence) and this machine's own, which may be deleted.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from filelock import FileLock
from safetensors.torch import load_file, save_file

from . import environment, provenance
from .disk import room
from .experiment import Experiment, Result, same, settings

FORMAT = 1
NEEDED = ("config", "code", "data", "device", "files", "versions")  # of record.json, to judge a record by
ARRAY_LIMIT = 1_000_000  # bytes of one published array file
SHELF_LIMIT = 30_000_000  # bytes of the published shelf


@dataclass(frozen=True)
class Record:
    """A stored answer; `notes` say in what its making differs from what would be made here and now."""

    table: pd.DataFrame = field(repr=False)
    arrays: Mapping[str, np.ndarray] = field(repr=False)
    meta: Mapping[str, Any] = field(repr=False)
    shelf: str
    folder: Path
    notes: tuple[str, ...] = ()

    def weights(self) -> dict[str, Any]:
        """Trained weights, name -> tensor on the CPU; empty where none were kept."""
        file = self.folder / "weights.safetensors"
        return load_file(file) if file.is_file() else {}


def _folder(e: Experiment, shelf: str) -> Path:
    root = environment.published_shelf() if shelf == "published" else environment.local_shelf()
    return root / type(e).__name__ / e.key


def scratch(e: Experiment) -> Path:
    """A file in which an experiment may keep its state while it runs, other code another file; removed once the record is stored."""
    code = hashlib.sha256(json.dumps(e.code()).encode()).hexdigest()[:8]
    return environment.local_shelf() / "checkpoints" / f"{type(e).__name__}-{e.key}-{code}.safetensors"


def find(e: Experiment, keep: bool | None = None, weights: bool = False) -> Record | None:
    """The stored record of an experiment, published before local, or None; nothing is computed.

    A broken record is named on the way and passed over. A local record made by other code than today's counts only with
    `keep` (default: `PRUNING_LAB_KEEP` is set); a published one always does; both are marked. With `weights` only a record
    that has them counts.
    """
    keep = bool(os.environ.get("PRUNING_LAB_KEEP")) if keep is None else keep
    for shelf in ("published", "local"):
        folder = _folder(e, shelf)
        if not (folder / "record.json").is_file() or (weights and not (folder / "weights.safetensors").is_file()):
            continue
        try:
            record = _read(folder, shelf, e)
        except (ValueError, OSError) as error:
            print(f"record {folder.parent.name}/{folder.name} ({shelf}) is not used: {error}", flush=True)
            continue
        if shelf == "published" or keep or record.meta["code"] == e.code():
            return record
    return None


def _read(folder: Path, shelf: str, e: Experiment) -> Record:
    table, arrays, meta = _load(folder, (folder / "record.json").stat().st_mtime_ns)
    if not same(e, meta["config"]):
        raise ValueError("its settings are not those asked for")
    return Record(table.copy(), arrays, meta, shelf, folder, tuple(_notes(e, meta)))


@lru_cache(maxsize=4096)
def _load(folder: Path, _mtime: int) -> tuple[pd.DataFrame, dict[str, np.ndarray], dict[str, Any]]:
    try:
        meta = json.loads((folder / "record.json").read_text())
    except json.JSONDecodeError as error:
        raise ValueError(f"record.json is truncated ({error})") from error
    if not isinstance(meta, dict) or meta.get("format") != FORMAT:
        raise ValueError(f"its format is {meta.get('format') if isinstance(meta, dict) else meta!r}, this library reads {FORMAT}")
    if lacking := [k for k in NEEDED if not isinstance(meta.get(k), dict)]:
        raise ValueError(f"record.json lacks {', '.join(lacking)}")
    for name, checksum in meta["files"].items():
        if name == "weights.safetensors" and not (folder / name).exists():
            continue  # never published
        if not (folder / name).is_file() or _checksum(folder / name) != checksum:
            raise ValueError(f"{name} is missing or not what record.json says")
    empty = not (folder / "table.csv").read_text().strip()
    table = pd.DataFrame() if empty else pd.read_csv(folder / "table.csv")
    with np.load(folder / "arrays.npz", allow_pickle=False) as z:
        return table, {k: z[k] for k in z.files}, meta


def _checksum(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _notes(e: Experiment, meta: Mapping[str, Any]) -> list[str]:
    code, notes = e.code(), []
    if other := sorted(k for k in code.keys() | meta["code"].keys() if code.get(k) != meta["code"].get(k)):
        notes.append(f"made by other code than today's ({', '.join(other)})")
    if any(meta["parents"].get(p.key, trained) != trained for p in e.parents() if (trained := _published_weights(p))):
        notes.append("made from another training of its parent than the published one")
    today = e.data_read()
    if other := sorted(k for k in today if meta["data"].get(k, today[k]) != today[k]):
        notes.append(f"made on other data bytes ({', '.join(other)})")
    if (there := meta["versions"]["torch"].split("+")[0]) != (here := provenance.versions()["torch"].split("+")[0]):
        notes.append(f"made with torch {there}, here is {here}")
    if meta["device"]["name"] != provenance.device()["name"]:
        notes.append(f"made on {meta['device']['name']}")
    return notes


def _published_weights(e: Experiment) -> str | None:
    """The checksum of the weights that a published record had when it was made; None: there is none, or it has none."""
    file = _folder(e, "published") / "record.json"
    return _weights_of(file, file.stat().st_mtime_ns) if file.is_file() else None


@lru_cache(maxsize=4096)
def _weights_of(file: Path, _mtime: int) -> str | None:
    try:
        return json.loads(file.read_text())["files"].get("weights.safetensors")
    except (json.JSONDecodeError, KeyError):
        return None  # it is broken, which is said where it is read


def run(e: Experiment, keep: bool | None = None, weights: bool = False) -> Record:
    """The stored record, or the answer computed now and stored on the local shelf; two processes compute it once.

    Raises:
        DiskFull: there is no room for the record or for the state of its training. Else what `e.compute` raises.
    """
    if record := find(e, keep, weights):
        return record
    with room(f"{type(e).__name__} {e.key}", environment.local_shelf(), scratch(e).with_suffix(".part")), _lock(e):
        if record := find(e, keep, weights):
            return record
        provenance.count_memory()
        own, made, start = e.own_code(), provenance.here(), time.perf_counter()
        try:
            result = e.compute()
        except Exception as error:
            error.add_note(f"while computing {type(e).__name__} {e.key}")
            raise
        write(e, result, made | _used(e, own) | dict(seconds=round(result.seconds or time.perf_counter() - start, 3)))
        scratch(e).unlink(missing_ok=True)
    record = find(e, keep, weights)
    if record is None:
        raise RuntimeError(f"{type(e).__name__}/{e.key} was stored but cannot be read back")
    return record


def _lock(e: Experiment) -> FileLock:
    """Held by the one process that computes an experiment."""
    file = environment.local_shelf() / "locks" / f"{type(e).__name__}-{e.key}.lock"
    file.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(file)


def put(e: Experiment, result: Result) -> None:
    """Store the answer of an experiment that another one came by on its way, unless a sound record with its weights is there.

    The caller answers for it that `e.compute()` would have given the same. A process that computes it now is waited for.
    """
    with _lock(e):
        if find(e, keep=False, weights=e.has_weights) is None:
            write(e, result, provenance.here() | _used(e, e.own_code()) | dict(seconds=round(result.seconds, 3)))


def _used(e: Experiment, own: Mapping[str, str]) -> dict[str, Any]:
    """The code that an answer did rest on, that of the parents' records as these say, and which weights it started from."""
    code, parents = dict(own), {}
    for parent in e.parents():
        record = find(parent, weights=parent.has_weights)
        code |= record.meta["code"] if record else parent.code()
        parents[parent.key] = record.meta["files"].get("weights.safetensors") if record else None
    return dict(code=dict(sorted(code.items())), parents=parents)


def write(e: Experiment, result: Result, made: Mapping[str, Any]) -> Path:
    """Store a result and how it was `made` on the local shelf: written under another name, then renamed, so whole or absent."""
    folder = _folder(e, "local")
    folder.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".part-"))
    try:
        result.table.to_csv(part / "table.csv", index=False)
        np.savez_compressed(part / "arrays.npz", **result.arrays)
        if result.weights:
            save_file({k: v.detach().cpu().contiguous() for k, v in result.weights.items()}, part / "weights.safetensors")
        what = dict(format=FORMAT, experiment=type(e).__name__, version=e.version, key=e.key, config=e.config(), data=e.data_read())
        files = {f.name: _checksum(f) for f in sorted(part.iterdir())}
        end = dict(peak_memory_bytes=provenance.peak_memory(), time=provenance.now(), files=files)
        (part / "record.json").write_text(json.dumps(what | dict(made) | end, indent=1) + "\n")
        return _put(part, folder)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise


def _put(part: Path, folder: Path) -> Path:
    """Give a finished folder its name; what had the name before is gone a moment earlier."""
    part.chmod(0o755)
    if folder.exists():
        shutil.rmtree(folder.rename(part.with_name(f"{part.name}-old")))
    return part.rename(folder)


def publish(e: Experiment) -> Path:
    """Copy a local record, without its weights, to the published shelf.

    Raises:
        LookupError: there is no sound local record. ValueError: it is of a kind that stays on this machine, or its array
            file is larger than may be published.
    """
    if not e.published:
        raise ValueError(f"records of {type(e).__name__} are never published; publish what builds on them")
    source, target = _folder(e, "local"), _folder(e, "published")
    if not (source / "record.json").is_file():
        raise LookupError(f"no local record of {type(e).__name__}/{e.key} to publish; run it first")
    _read(source, "local", e)
    if (size := (source / "arrays.npz").stat().st_size) > ARRAY_LIMIT:
        raise ValueError(f"arrays of {e.key} take {size:,} bytes; at most {ARRAY_LIMIT:,} are published")
    target.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(dir=target.parent, prefix=".part-"))
    try:
        for name in ("table.csv", "arrays.npz", "record.json"):
            shutil.copyfile(source / name, part / name)
        return _put(part, target)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise


def gather(experiments: Iterable[Experiment], keep: bool | None = None) -> pd.DataFrame:
    """One tidy table of the stored records, with a column for the seed and every field that varies; what is missing is left out.

    A setting that shares its name with a result has its full name, such as `recipe.lr`. ValueError: that is taken, too.
    """
    found = [(e, r) for e in experiments if (r := find(e, keep)) is not None]
    results = {column for _, record in found for column in record.table}
    names = [{full if short in results else short: value for short, full, value in settings(e)} for e, _ in found]
    table = pd.DataFrame(names, dtype=object)  # a seed stays a whole number beside None or 0.1
    table = table.map(lambda v: ", ".join(map(str, v)) if isinstance(v, list) else v)
    varying = [c for c in table if c == "seed" or table[c].map(repr).nunique() > 1]
    if clash := results & set(varying):
        raise ValueError(f"columns {sorted(clash)} are both settings and results; rename them in the experiment's table")
    rows = zip(found, table[varying].to_dict("records"), strict=True)
    parts = [record.table.assign(**row)[[*varying, *record.table]] for (_, record), row in rows]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()
