"""The folder of one record: read and checked as a whole, written whole or not at all, found after a death."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import shutil
import tempfile
import zlib
from collections import OrderedDict
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from datetime import datetime
from glob import escape
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from filelock import FileLock

#: The number that a record's file names; another one is not read.
FORMAT = 1
TABLE, ARRAYS, WEIGHTS, META = "table.csv", "arrays.npz", "weights.safetensors", "record.json"
PACKED = f"{TABLE}.gz"  # the table of a published record; checksums are of the text in it
NEEDED = ("config", "code", "data", "device", "files", "versions", "parents")  # of record.json, to judge a record by
MOST = 1e18  # of whatever a record counts, in seconds, bytes or threads: what is shown of it is reckoned in floats
CACHE_BYTES = 64_000_000  # of tables and arrays that stay in memory
TABLE_LIMIT = 16_000_000  # bytes of the text of a packed table


@dataclass(frozen=True)
class Stored:
    """What a record's folder holds: `table`, `arrays` (not to be written to) and `meta`, of `record.json`."""

    table: pd.DataFrame
    arrays: Mapping[str, np.ndarray]
    meta: Mapping[str, Any]

    @property
    def nbytes(self) -> int:
        """Bytes of the table and the arrays in memory."""
        return int(self.table.memory_usage(deep=True).sum()) + sum(a.nbytes for a in self.arrays.values())


def read(folder: Path) -> Stored:
    """The record in a folder, checked against its own checksums; the table and `meta` are the caller's to change.

    Raises:
        ValueError: it is broken, with what is wrong. OSError: it cannot be read.
    """
    try:
        stamp = tuple((f.name, (s := f.stat()).st_mtime_ns, s.st_size) for f in sorted(folder.iterdir()))
        known = _CACHE.get(folder, stamp) or _CACHE.add(folder, stamp, _read(folder))
        return Stored(known.table.copy(), known.arrays, deepcopy(known.meta))
    except (ValueError, OSError):
        raise
    except Exception as error:  # a zip that is none, nesting that nothing copies, arrays that memory does not hold
        raise ValueError(f"it is broken ({type(error).__name__}: {error})") from error


def plain(text: object) -> str:
    """The text in one line that any terminal shows, not too long."""
    shown = "".join(c if c.isprintable() else " " if c.isspace() else ascii(c)[1:-1] for c in str(text))
    return shown if len(shown) <= 400 else f"{shown[:397]}..."


def forget() -> None:
    """Read from disk what is asked for next."""
    _CACHE.clear()


class _Cache:
    """The records that were read last, as many as fit `CACHE_BYTES`, each as long as its files stay what they were."""

    def __init__(self) -> None:
        self.known: OrderedDict[Path, tuple[tuple, Stored, int]] = OrderedDict()
        self.nbytes = 0

    def get(self, folder: Path, stamp: tuple) -> Stored | None:
        """The record of a folder whose files are as they were; it is the last to go now."""
        if folder not in self.known or self.known[folder][0] != stamp:
            return None
        self.known.move_to_end(folder)
        return self.known[folder][1]

    def add(self, folder: Path, stamp: tuple, stored: Stored) -> Stored:
        """Keep a record, and drop the oldest that do not fit beside it."""
        self.nbytes -= self.known.pop(folder, ((), None, 0))[2]
        self.known[folder] = stamp, stored, stored.nbytes
        self.nbytes += stored.nbytes
        while self.nbytes > CACHE_BYTES:
            self.nbytes -= self.known.popitem(last=False)[1][2]
        return stored

    def clear(self) -> None:
        self.known.clear()
        self.nbytes = 0


_CACHE = _Cache()


def _read(folder: Path) -> Stored:
    if not (folder / META).is_file():
        raise ValueError(f"{META} is missing")
    meta = read_meta(folder / META)
    files = meta["files"]
    here = {TABLE if f.name == PACKED else f.name for f in folder.iterdir()} - {META}
    if lacking := sorted(({TABLE, ARRAYS} | here) - files.keys()):
        raise ValueError(f"record.json has no checksum of {', '.join(lacking)}")
    csv = text(folder)
    for name, expected in files.items():
        if name == WEIGHTS and name not in here:
            continue  # never published
        if name not in here or (_sum(csv) if name == TABLE else checksum(folder / name)) != expected:
            raise ValueError(f"{name} is missing or not what record.json says")
    table = pd.read_csv(io.BytesIO(csv)) if csv.decode().strip() else pd.DataFrame()
    # NumPy leaves a broken file open
    with (folder / ARRAYS).open("rb") as stream, np.load(stream, allow_pickle=False) as z:
        arrays = {k: z[k] for k in z.files}
    for a in arrays.values():
        a.setflags(write=False)  # they are kept for the next reader
    return Stored(table, arrays, meta)


def text(folder: Path) -> bytes:
    """The table of a record as CSV, in whichever form it lies there: plain, or packed as it is published.

    Raises:
        ValueError: neither is there, or both; or what is packed is broken, or takes more than `TABLE_LIMIT`.
    """
    forms = [name for name in (TABLE, PACKED) if (folder / name).is_file()]
    if len(forms) != 1:
        raise ValueError(f"{TABLE} and {PACKED} are both there: one has to go" if forms else f"{TABLE} is missing")
    found = (folder / forms[0]).read_bytes()
    return _unpacked(found) if forms == [PACKED] else found


def packed(csv: bytes) -> bytes:
    """The text of a table as a gzip file: without a name and a time, so the same bytes whenever it is written."""
    stream = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", compresslevel=9, fileobj=stream, mtime=0) as file:
        file.write(csv)
    return stream.getvalue()


def _unpacked(found: bytes) -> bytes:
    reader = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
    try:
        csv = reader.decompress(found, TABLE_LIMIT + 1)
    except zlib.error as error:
        raise ValueError(f"{PACKED} is broken ({error})") from error
    if len(csv) > TABLE_LIMIT:
        raise ValueError(f"{PACKED} would take more than {TABLE_LIMIT:,} bytes")
    if not reader.eof or reader.unused_data:
        raise ValueError(f"{PACKED} is truncated, or goes on behind its end")
    return csv


def read_meta(file: Path) -> dict[str, Any]:
    """The contents of a `record.json` that has all by which a record is judged, each of its kind; else ValueError."""
    try:
        meta = json.loads(text := file.read_text(encoding="utf-8"))
        if "\\ud" in text.lower():  # half a character, which can be neither printed nor stored
            json.dumps(meta, ensure_ascii=False).encode()
    except ValueError as error:
        raise ValueError(f"record.json is truncated, or no text ({error})") from error
    except RecursionError as error:
        raise ValueError("record.json is nested too deeply") from error
    if not isinstance(meta, dict) or type(meta.get("format")) is not int or meta["format"] != FORMAT:
        told = meta.get("format") if isinstance(meta, dict) else meta
        raise ValueError(f"its format is {told!r:.100}, this library reads {FORMAT}")
    if lacking := [k for k in NEEDED if not isinstance(meta.get(k), dict)]:
        raise ValueError(f"record.json lacks {', '.join(lacking)}")
    for what, sound in _SOUND.items():
        if not sound(meta):
            raise ValueError(f"record.json: {what}")
    return meta


def _texts(*found: Any) -> bool:
    return all(isinstance(text, str) for text in found)


def _count(found: Any) -> bool:
    return type(found) is int and 0 <= found <= MOST


def _number(found: Any) -> bool:
    return type(found) in (int, float) and 0 <= found <= MOST


def _time(found: Any) -> bool:
    try:
        return isinstance(found, str) and bool(datetime.fromisoformat(found))
    except ValueError:
        return False


def _split(found: Any) -> bool:
    return isinstance(found, dict) and _texts(found.get("digest")) and _count(found.get("lossy"))


_SOUND: dict[str, Callable[[Mapping[str, Any]], bool]] = {
    "the digests of `code` are no texts": lambda m: _texts(*m["code"].values()),
    "the checksums of `files` are no texts": lambda m: _texts(*m["files"].values()),
    "there are `files` that no record has": lambda m: m["files"].keys() <= {TABLE, ARRAYS, WEIGHTS},
    "`parents` are neither checksums nor null": lambda m: _texts(*(v for v in m["parents"].values() if v is not None)),
    "`data` has no digest and number of lossy images for each split": lambda m: all(map(_split, m["data"].values())),
    "`device` has no type and name": lambda m: _texts(m["device"].get("type"), m["device"].get("name")),
    "`device` has no number of threads": lambda m: _count(m["device"].get("threads")),
    "`versions` has no torch": lambda m: _texts(*m["versions"].values()) and "torch" in m["versions"],
    "`seconds` is no number of seconds": lambda m: _number(m.get("seconds")),
    "`peak_memory_bytes` is no number of bytes": lambda m: _number(m.get("peak_memory_bytes")),
    "`time` is no time": lambda m: _time(m.get("time")),
    "`key` or `experiment` is no name": lambda m: _texts(m.get("key"), m.get("experiment")),
    "`version` is no whole number": lambda m: type(m.get("version", 1)) is int,
}


def checksum(file: Path) -> str:
    """sha256 of a file's bytes, hexadecimal."""
    return _sum(file.read_bytes())


def _sum(found: bytes) -> str:
    return hashlib.sha256(found).hexdigest()


def lock(folder: Path, timeout: float = -1) -> FileLock:
    """Held by the one process that makes the record of a local folder, or puts it there."""
    file = folder.parents[1] / "locks" / f"{folder.parent.name}-{folder.name}.lock"
    file.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(file, timeout=timeout)


def place(folder: Path, fill: Callable[[Path], None]) -> Path:
    """A record's folder, filled by `fill` under another name and then renamed, so whole or absent.

    The caller holds the record's lock. Raises what `fill` raises; nothing half-written stays.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    clean(folder)
    part = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f"{_prefix(folder)}-"))
    try:
        fill(part)
        part.chmod(0o755)
        if folder.exists():
            folder.rename(part.with_name(f"{part.name}-old"))
        part.rename(folder)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    clean(folder)
    return folder


def left(folder: Path) -> list[Path]:
    """What a process that died while it wrote this record has left beside it."""
    return sorted(folder.parent.glob(f"{escape(_prefix(folder))}-*")) if folder.parent.is_dir() else []


def recover(folder: Path) -> None:
    """Give a sound record the name that it had, or was to have, if its process died between renames; drop the rest.

    The caller holds the record's lock.
    """
    for part in left(folder):  # the new one before the old one, which is named after it
        if folder.exists():
            break
        try:
            read(part)
        except (ValueError, OSError):
            continue
        part.chmod(0o755)
        part.rename(folder)
    clean(folder)


def clean(folder: Path) -> None:
    """Remove what `left` names; the caller holds the record's lock."""
    for part in left(folder):
        shutil.rmtree(part, ignore_errors=True)


def _prefix(folder: Path) -> str:
    return f".part-{folder.name}"
