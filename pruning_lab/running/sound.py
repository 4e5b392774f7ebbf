"""Whether what comes from elsewhere is sound: zips, and folders that say that they are records.

What one would take is read from headers before it is read itself, and no header is believed: whatever is read ends
where it said that it would.
"""

from __future__ import annotations

import io
import math
import re
import zipfile
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from ..records import record, store
from ..records.experiment import Experiment, lineage
from ..records.twins import rebuild

UNPACKED = 512_000_000  # bytes of all members of one file, at most
MEMBERS = 50_000  # of one file
IN_MEMORY = 256_000_000  # bytes of all arrays of one record
COLUMNS = 1_000  # of a table
CONTENTS = "parcel.json"
# bytes of a member at most
MOST = {CONTENTS: 16_000_000, record.META: 1_000_000, record.TABLE: 16_000_000, record.PACKED: 16_000_000,
        record.ARRAYS: 64_000_000}  # fmt: skip
NAMES = {record.META, record.TABLE, record.ARRAYS, record.WEIGHTS}
MEMBER = re.compile(r"([A-Za-z]\w*)/(\w[^/\\\x00-\x1f]*)/([a-z]+\.[a-z]+)")
LONGEST_NAME = 235  # bytes of `<experiment>-<key>`, which is a part of the names of other files
CHUNK = 1 << 20  # bytes that are read at once


class TooLarge(ValueError):
    """More than is read, or than its own header says; no record that `pack` writes is."""


def check_members(members: Sequence[zipfile.ZipInfo]) -> None:
    """Refuse a zip by what its members are said to be: a name of no record's file, a link, too many or large."""
    if len(members) > MEMBERS:
        raise TooLarge(f"it has {len(members):,} members, at most {MEMBERS:,} are read")
    if twice := sorted(name for name, n in Counter(info.filename for info in members).items() if n > 1):
        raise ValueError(f"{twice[0]!r} is in it twice")
    for info in members:
        if info.filename != CONTENTS and not _is_name(info.filename):
            how = "expected EXPERIMENT/KEY/FILE, not too long"
            raise ValueError(f"{info.filename!r} is no name of a record's file: {how}")
        if info.external_attr >> 28 not in (0, 8) or info.is_dir():
            raise ValueError(f"{info.filename!r} is no plain file")
        _see_method(info)
    if (size := sum(info.file_size for info in members)) > UNPACKED:
        most = max(members, key=lambda info: info.file_size).filename
        raise TooLarge(f"it would take {size:,} bytes, at most {UNPACKED:,} are read; most of them are {most!r}")
    for info in members:
        if info.file_size > (most := MOST.get(info.filename.rpartition("/")[2], UNPACKED)):
            raise TooLarge(f"{info.filename!r} would take {info.file_size:,} bytes, at most {most:,} are read")
    if all(info.filename != CONTENTS for info in members):
        raise ValueError(f"it has no {CONTENTS}")


def _is_name(name: str) -> bool:
    """Whether it is `<experiment>/<key>/<file>`, as a record's file is named, and no longer than file systems take."""
    match = MEMBER.fullmatch(name)
    if match is None or match[3] not in NAMES or match[1] in ("locks", "checkpoints"):
        return False
    return len(f"{match[1]}-{match[2]}".encode(errors="replace")) <= LONGEST_NAME


def _see_method(info: zipfile.ZipInfo) -> None:
    """Refuse a member that is packed in a way in which it cannot be read piece by piece."""
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise TooLarge(f"{info.filename!r} is packed by method {info.compress_type}; expected stored or deflated")


def content(z: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    """A member's bytes, never more than its header says: what goes on behind that is found by its checksum."""
    with z.open(info) as stream:
        return b"".join(iter(lambda: stream.read(CHUNK), b""))


def _see_size(folder: Path) -> None:
    """Refuse a record whose files would take more than is read, by sizes and headers alone. TooLarge, ValueError."""
    for name, most in MOST.items():
        if (folder / name).is_file() and (size := (folder / name).stat().st_size) > most:
            raise TooLarge(f"{name} holds {size:,} bytes, at most {most:,} are read")
    if any((folder / name).is_file() for name in (record.TABLE, record.PACKED)):
        rows = io.BytesIO(record.text(folder))
        if (columns := 1 + max((row.count(b",") for row in rows), default=0)) > COLUMNS:
            raise TooLarge(f"{record.TABLE} has {columns:,} columns, at most {COLUMNS:,} are read")
    if (folder / record.ARRAYS).is_file():
        try:
            with zipfile.ZipFile(folder / record.ARRAYS) as z:
                _fit_in_memory(z)
        except zipfile.BadZipFile as error:
            raise ValueError(f"{record.ARRAYS} is broken ({error})") from error


def _fit_in_memory(z: zipfile.ZipFile) -> None:
    """Refuse arrays that take more than `IN_MEMORY`, or other than their headers say."""
    if (size := sum(info.file_size for info in z.infolist())) > IN_MEMORY:
        most = max(z.infolist(), key=lambda info: info.file_size).filename
        what = f"{record.ARRAYS} would take {size:,} bytes, most of them {most!r}"
        raise TooLarge(f"{what}; at most {IN_MEMORY:,} are read")
    for info in z.infolist():
        _see_method(info)
        try:
            with z.open(info) as stream:
                told = _told_bytes(stream)
                while stream.read(CHUNK):
                    pass  # to its end, where the zip compares its checksum
        except zipfile.BadZipFile as error:
            raise TooLarge(f"{record.ARRAYS}: {info.filename!r} is not what its header says ({error})") from error
        except ValueError as error:
            raise ValueError(f"{record.ARRAYS}: {info.filename!r} is no array ({error})") from error
        if told != info.file_size:
            what = f"{info.filename!r} has {info.file_size:,} bytes"
            raise TooLarge(f"{record.ARRAYS}: {what}, its header tells of {told:,}")


def _told_bytes(stream: Any) -> int:
    """Bytes of a stored array, its header among them, as that tells. ValueError: it is no array."""
    version = np.lib.format.read_magic(stream)
    first = version == (1, 0)
    shape, _, dtype = (np.lib.format.read_array_header_1_0 if first else np.lib.format.read_array_header_2_0)(stream)
    if dtype.hasobject:
        raise ValueError("it holds Python objects")
    return stream.tell() + math.prod(shape) * dtype.itemsize


def check(folder: Path) -> dict[str, Any]:
    """The `record.json` of a record's folder, if it is sound, of that name and of today's version.

    ValueError, OSError: why not, whatever it is.
    """
    try:
        _see_size(folder)
        return _checked(folder)
    except (ValueError, OSError):
        raise
    except Exception as error:  # a number that no float holds, settings that its class cannot compute with, no memory
        raise ValueError(f"it is broken ({type(error).__name__}: {error})") from error


def _checked(folder: Path) -> dict[str, Any]:
    meta = dict(record.read(folder).meta)
    if (meta["experiment"], meta["key"]) != folder.parts[-2:]:
        raise ValueError(f"it says that it is {meta['experiment']}/{meta['key']}")
    if (kind := kinds().get(meta["experiment"])) is not None:
        try:
            e = rebuild(kind, meta["config"])
        except (TypeError, ValueError) as error:
            raise ValueError(f"its settings are none of {kind.__name__} ({error})") from error
        if meta.get("version", 1) != e.version:
            which = f"{meta.get('version', 1)} of {kind.__name__}"
            raise ValueError(f"it is of version {which}, this library's is {e.version}")
        # where there is a plug-in's code, that may be another
        if e.key != meta["key"] and not any(part.plugin_digests() for part in lineage([e])):
            raise ValueError(f"its settings are those of {e.key}")
    time(meta["time"])
    return meta


def is_sound(folder: Path) -> bool:
    """Whether there is a sound record."""
    with suppress(ValueError, OSError):
        return bool(check(folder))
    return False


def counts(folder: Path) -> bool:
    """Whether there is a sound record that is used here: of today's code or certified, on data as here."""
    try:
        meta = check(folder)
        kind = kinds().get(meta["experiment"])
        return kind is None or store.find(rebuild(kind, meta["config"])) is not None
    except Exception:  # whatever is wrong with it, it is not used
        return False


def kinds() -> dict[str, type[Experiment]]:
    """Experiments by name, plug-ins' included."""
    named, todo = {}, [Experiment]
    while todo:
        todo += (below := todo.pop().__subclasses__())
        named |= {kind.__name__: kind for kind in below}
    return named


def name_of(folder: Path) -> str:
    """`<experiment>/<key>` of a record's folder."""
    return "/".join(folder.parts[-2:])


def time(text: str) -> datetime:
    """A time as records say it, `2026-01-31T12:00:00Z`, or a date; in UTC by default. ValueError: it is none."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is no time: expected one such as 2026-01-31T12:00:00Z or 2026-01-31") from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
