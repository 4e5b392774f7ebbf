"""Records on the way from one machine to another: a few files of limited size, checked before anything is taken.

A file is a zip: `parcel.json` with the sha256 of every member, then `<experiment>/<key>/<file>`. Nothing is a pickle.
What a
file, a member or an array would take is read from headers before it is read itself, and no header is believed: whatever
    is
read ends where it said that it would.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import re
import shutil
import tempfile
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from .. import environment
from ..records import record, store
from ..records.disk import reason, records, room
from ..records.experiment import Experiment, lineage
from ..records.twins import rebuild

FORMAT = 1
LIMIT = 16_000_000  # bytes of one file
FILES = 8
UNPACKED = 512_000_000  # bytes of all members of one file, at most
MEMBERS = 50_000  # of one file
IN_MEMORY = 256_000_000  # bytes of all arrays of one record
COLUMNS = 1_000  # of a table
CONTENTS = "parcel.json"
# bytes of a member at most
MOST = {CONTENTS: 16_000_000, record.META: 1_000_000, record.TABLE: 16_000_000, record.ARRAYS: 64_000_000}
NAMES = {record.META, record.TABLE, record.ARRAYS, record.WEIGHTS}
MEMBER = re.compile(r"([A-Za-z]\w*)/(\w[^/\\\x00-\x1f]*)/([a-z]+\.[a-z]+)")
LONGEST_NAME = 235  # bytes of `<experiment>-<key>`, which is a part of the names of other files
CHUNK = 1 << 20  # bytes that are read at once


class TooLarge(ValueError):
    """More than is read, or than its own header says; no record that `pack` writes is."""


@dataclass(frozen=True)
class Packed:
    """What `pack` did: the files, how many records are in them, and why others are not."""

    files: tuple[Path, ...]
    records: int
    left_out: tuple[str, ...] = ()
    rest: tuple[Path, ...] = ()  # folders of records for which `FILES` files did not suffice, the youngest of all
    rest_since: str = ""  # when the first of them was made


@dataclass(frozen=True)
class Taken:
    """What `unpack` did: names of records now on the local shelf, and of those that were here already."""

    new: tuple[str, ...]
    here: tuple[str, ...]
    # of the new ones those that are not used here: made by other code, or on other data bytes
    idle: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()  # records that are not sound, or that this library cannot read, and why


def pack(
    target: Path, folders: Iterable[Path] | None = None, since: datetime | None = None, weights: bool = False
) -> Packed:
    """Write local records that may be published and are not yet to files in a folder, the oldest first.

    Args:
        folders: of the records; None: all of the local shelf. since: only those made at this time or later.
        weights: with the trained weights, which are never published and make files large.

    Raises:
        ValueError: the folder holds packed records already, or is a file. DiskFull: no room.
    """
    if target.exists() and (not target.is_dir() or any(target.glob("records-*.zip"))):
        raise ValueError(f"{target} holds packed records already, or is no folder: name a new one")
    chosen, left_out = _chosen(local() if folders is None else folders, since)
    boxes: list[list[tuple[Path, int]]] = []
    rest: list[tuple[str, Path]] = []
    for made, folder in chosen:
        size = len(_zipped([folder], weights))
        if size > LIMIT:
            left_out.append(f"{_name(folder)}: {size / 1e6:.1f} MB in one record, a file holds {LIMIT / 1e6:.0f} MB")
        elif boxes and not rest and sum(s for _, s in boxes[-1]) + size <= LIMIT:
            boxes[-1].append((folder, size))
        elif len(boxes) < FILES:
            boxes.append([(folder, size)])
        else:
            rest.append((made, folder))  # and all that are younger, so that `since` finds them
    files = []
    for k, box in enumerate(boxes, 1):
        files.append(_write(target / f"records-{k}.zip", _zipped([folder for folder, _ in box], weights)))
    return Packed(
        tuple(files),
        sum(map(len, boxes)),
        tuple(left_out),
        tuple(folder for _, folder in rest),
        rest[0][0] if rest else "",
    )


def local() -> list[Path]:
    """Folders of the local shelf that hold a record, but those that are being written."""
    return [folder for folder in records(environment.local_shelf()) if folder.name[0] != "."]


def unpack(files: Sequence[Path]) -> Taken:
    """Put the records of packed files on the local shelf; a sound record that is here stays as it is.

    Every file is checked whole before anything of any is taken. A record that this library cannot trust or read is left
    out.

    Raises:
        ValueError: a file is not what `pack` writes, is damaged, or would take more than `UNPACKED`, `MOST` or
        `IN_MEMORY`.
        DiskFull: no room.
    """
    shelf = environment.local_shelf()
    new, here, left_out = [], [], []
    with room("what is packed", shelf, shelf / "none"), _folder_beside(shelf) as beside:
        found: dict[str, Path] = {}
        for k, file in enumerate(files):
            sound, odd = _laid_out(file, beside / str(k))
            found = {name: beside / str(k) for name in sound} | found
            left_out += odd
        for name, place in found.items():
            folder = shelf / name
            with record.lock(folder):
                if _sound(environment.published_shelf() / name) or _counts(folder):
                    here.append(name)
                    continue
                record.place(folder, lambda part, name=name, place=place: _move(place / name, part))
            new.append(name)
    return Taken(
        tuple(new),
        tuple(here),
        tuple(name for name in new if not _counts(shelf / name)),
        tuple(dict.fromkeys(left_out)),
    )


def time(text: str) -> datetime:
    """A time as records say it, `2026-01-31T12:00:00Z`, or a date; in UTC by default. ValueError: it is none."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is no time: expected one such as 2026-01-31T12:00:00Z or 2026-01-31") from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _chosen(folders: Iterable[Path], since: datetime | None) -> tuple[list[tuple[str, Path]], list[str]]:
    """Time and folder of the sound records that are to be packed, the oldest first, and what is said of broken ones."""
    kinds, found, left_out = _kinds(), [], []
    for folder in sorted(set(folders)):
        try:
            meta = check(folder)
        except FileNotFoundError:
            continue  # it went while one looked
        except (ValueError, OSError) as error:
            left_out.append(_told(f"{_name(folder)}: {error}"))
            continue
        kind = kinds.get(folder.parent.name)
        published = (environment.published_shelf() / _name(folder) / record.META).is_file()
        if not published and (kind is None or kind.published) and (since is None or time(meta["time"]) >= since):
            found.append((meta["time"], folder))
    return sorted(found), left_out


def check(folder: Path) -> dict[str, Any]:
    """The `record.json` of a record's folder, if it is sound, of that name and of today's version.

    ValueError, OSError: why not, whatever it is.
    """
    try:
        _fits(folder)
        return _checked(folder)
    except (ValueError, OSError):
        raise
    except Exception as error:  # a number that no float holds, settings that its class cannot compute with, no memory
        raise ValueError(f"it is broken ({type(error).__name__}: {error})") from error


def _checked(folder: Path) -> dict[str, Any]:
    meta = dict(record.read(folder).meta)
    if (meta["experiment"], meta["key"]) != folder.parts[-2:]:
        raise ValueError(f"it says that it is {meta['experiment']}/{meta['key']}")
    if (kind := _kinds().get(meta["experiment"])) is not None:
        try:
            e = rebuild(kind, meta["config"])
        except (TypeError, ValueError) as error:
            raise ValueError(f"its settings are none of {kind.__name__} ({error})") from error
        if meta.get("version", 1) != e.version:
            raise ValueError(
                f"it is of version {meta.get('version', 1)!r} of {kind.__name__}, this library's is {e.version}"
            )
        # where there is a plug-in's code, that may be another
        if e.key != meta["key"] and not any(part.plugin_digests() for part in lineage([e])):
            raise ValueError(f"its settings are those of {e.key}")
    time(meta["time"])
    return meta


def _fits(folder: Path) -> None:
    """Refuse a record whose files would take more than is read, by sizes and headers alone. TooLarge, ValueError."""
    for name, most in MOST.items():
        if (folder / name).is_file() and (size := (folder / name).stat().st_size) > most:
            raise TooLarge(f"{name} holds {size:,} bytes, at most {most:,} are read")
    if (folder / record.TABLE).is_file():
        with (folder / record.TABLE).open("rb") as stream:
            if (columns := 1 + max((row.count(b",") for row in stream), default=0)) > COLUMNS:
                raise TooLarge(f"{record.TABLE} has {columns:,} columns, at most {COLUMNS:,} are read")
    if (folder / record.ARRAYS).is_file():
        try:
            with zipfile.ZipFile(folder / record.ARRAYS) as z:
                _fit_in_memory(z)
        except zipfile.BadZipFile as error:
            raise ValueError(f"{record.ARRAYS} is broken ({error})") from error


def _fit_in_memory(z: zipfile.ZipFile) -> None:
    """Refuse arrays that take more than `IN_MEMORY`, or other than their headers say."""
    size, largest = (
        sum(info.file_size for info in z.infolist()),
        max(z.infolist(), key=lambda i: i.file_size, default=None),
    )
    if size > IN_MEMORY:
        raise TooLarge(
            f"{record.ARRAYS} would take {size:,} bytes, most of them {largest.filename!r}; "
            f"at most {IN_MEMORY:,} are read"
        )
    for info in z.infolist():
        _check_method(info)
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
            raise TooLarge(
                f"{record.ARRAYS}: {info.filename!r} has {info.file_size:,} bytes, its header tells of {told:,}"
            )


def _told_bytes(stream: Any) -> int:
    """Bytes of a stored array, its header among them, as that tells. ValueError: it is no array."""
    version = np.lib.format.read_magic(stream)
    first = version == (1, 0)
    shape, _, dtype = (np.lib.format.read_array_header_1_0 if first else np.lib.format.read_array_header_2_0)(stream)
    if dtype.hasobject:
        raise ValueError("it holds Python objects")
    return stream.tell() + math.prod(shape) * dtype.itemsize


def _check_method(info: zipfile.ZipInfo) -> None:
    """Refuse a member that is packed in a way in which it cannot be read piece by piece."""
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise TooLarge(f"{info.filename!r} is packed by method {info.compress_type}; expected stored or deflated")


def _told(text: str) -> str:
    """The text in one line that any terminal shows, not too long."""
    plain = "".join(c if c.isprintable() else " " if c.isspace() else ascii(c)[1:-1] for c in text)
    return plain if len(plain) <= 400 else f"{plain[:397]}..."


def _kinds() -> dict[str, type[Experiment]]:
    """Experiments by name, plug-ins' included."""
    found, todo = {}, [Experiment]
    while todo:
        todo += (below := todo.pop().__subclasses__())
        found |= {kind.__name__: kind for kind in below}
    return found


def _name(folder: Path) -> str:
    return "/".join(folder.parts[-2:])


def _zipped(folders: Sequence[Path], weights: bool) -> bytes:
    """A packed file of these records, as bytes."""
    files = [
        f
        for folder in folders
        for f in sorted(folder.iterdir())
        if f.name in NAMES and (weights or f.name != record.WEIGHTS)
    ]
    members = {f"{_name(f.parent)}/{f.name}": f.read_bytes() for f in files}
    contents = dict(
        format=FORMAT, records=len(folders), sha256={n: hashlib.sha256(b).hexdigest() for n, b in members.items()}
    )
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as z:
        for name, content in ({CONTENTS: (json.dumps(contents) + "\n").encode()} | members).items():
            z.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)  # the same bytes whenever it is written
    return stream.getvalue()


def _write(file: Path, content: bytes) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_suffix(".part")
    with room(file.name, file.parent, part):
        try:
            part.write_bytes(content)
            return part.rename(file)
        except BaseException:
            part.unlink(missing_ok=True)
            raise


def _laid_out(file: Path, place: Path) -> tuple[list[str], list[str]]:
    """Names of the sound records of a packed file, laid out in a folder, and what is said of the others.

    ValueError: what is wrong with the file.
    """
    if not file.is_file():
        raise ValueError(f"there is no file {file}")
    try:
        with zipfile.ZipFile(file) as z:
            names = _write_members(z, place)
        return _sorted_out(names, place)
    except Exception as error:  # zipfile, zlib, json and the file system each have their own
        if reason(error):
            raise  # the disk is full, which is no fault of the file
        raise ValueError(_told(f"{file.name} is not taken, nor any other: {error or type(error).__name__}")) from error


def _write_members(z: zipfile.ZipFile, place: Path) -> list[str]:
    """Write the members of a zip below a folder, each as its list of contents says; names of the records."""
    _check_members(z.infolist())
    contents = json.loads(_content(z, z.getinfo(CONTENTS)))
    if not isinstance(contents, dict) or contents.get("format") != FORMAT:
        found = contents.get("format") if isinstance(contents, dict) else contents
        raise ValueError(f"its format is {found!r}, this library reads {FORMAT}")
    sums, members = contents.get("sha256"), [info for info in z.infolist() if info.filename != CONTENTS]
    if not isinstance(sums, dict) or sums.keys() != {info.filename for info in members}:
        raise ValueError(f"its members are not those that {CONTENTS} lists")
    for info in members:
        if hashlib.sha256(content := _content(z, info)).hexdigest() != sums[info.filename]:
            raise ValueError(f"its members are not those that {CONTENTS} lists: {info.filename!r} is another")
        (place / info.filename).parent.mkdir(parents=True, exist_ok=True)
        (place / info.filename).write_bytes(content)
    return list(dict.fromkeys(info.filename.rpartition("/")[0] for info in members))


def _sorted_out(names: Iterable[str], place: Path) -> tuple[list[str], list[str]]:
    """Names of the sound records below a folder, and what is said of the others. TooLarge: one would take too much."""
    sound, odd = [], []
    for name in names:
        try:
            check(place / name)
        except TooLarge as error:
            raise TooLarge(f"{name}: {error}") from error
        except (ValueError, FileNotFoundError) as error:
            odd.append(_told(f"{name}: {error}"))
        else:
            sound.append(name)
    return sound, odd


def _check_members(members: Sequence[zipfile.ZipInfo]) -> None:
    """Refuse a zip by what its members are said to be: a name of no record's file, a link, too many or large."""
    if len(members) > MEMBERS:
        raise TooLarge(f"it has {len(members):,} members, at most {MEMBERS:,} are read")
    if twice := sorted(name for name, n in Counter(info.filename for info in members).items() if n > 1):
        raise ValueError(f"{twice[0]!r} is in it twice")
    for info in members:
        if info.filename != CONTENTS and not _is_name(info.filename):
            raise ValueError(
                f"{info.filename!r} is no name of a record's file: expected EXPERIMENT/KEY/FILE, not too long"
            )
        if info.external_attr >> 28 not in (0, 8) or info.is_dir():
            raise ValueError(f"{info.filename!r} is no plain file")
        _check_method(info)
    if (size := sum(info.file_size for info in members)) > UNPACKED:
        largest = max(members, key=lambda info: info.file_size)
        raise TooLarge(
            f"it would take {size:,} bytes, at most {UNPACKED:,} are read; most of them are {largest.filename!r}"
        )
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


def _content(z: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    """A member's bytes, never more than its header says: what goes on behind that is found by its checksum."""
    with z.open(info) as stream:
        return b"".join(iter(lambda: stream.read(CHUNK), b""))


def _sound(folder: Path) -> bool:
    """Whether there is a sound record."""
    try:
        check(folder)
    except (ValueError, OSError):
        return False
    return True


def _counts(folder: Path) -> bool:
    """Whether there is a sound record that is used here: of today's code or certified, on data as here."""
    try:
        meta = check(folder)
        kind = _kinds().get(meta["experiment"])
        return kind is None or store.find(rebuild(kind, meta["config"])) is not None
    except Exception:  # whatever is wrong with it, it is not used
        return False


def _move(source: Path, target: Path) -> None:
    for file in source.iterdir():
        shutil.copyfile(file, target / file.name)


@contextmanager
def _folder_beside(shelf: Path) -> Iterator[Path]:
    """An empty folder on the shelf's disk, which goes in the end."""
    shelf.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=shelf, prefix=".unpack-") as folder:
        yield Path(folder)
