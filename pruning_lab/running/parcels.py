"""Records on the way from one machine to another: a few files of limited size, checked before anything is taken.

A file is a zip: `parcel.json` with the sha256 of every member, then `<experiment>/<key>/<file>`. Nothing is a pickle.
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import tempfile
import zipfile
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path

from .. import environment
from ..records import record
from ..records.disk import reason, records, room
from .sound import CONTENTS, NAMES, TooLarge, check, check_members, content, counts, is_sound, kinds, name_of, time

FORMAT = 1
LIMIT = 16_000_000  # bytes of one file
FILES = 8


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
            left_out.append(f"{name_of(folder)}: {size / 1e6:.1f} MB in one record, a file holds {LIMIT / 1e6:.0f} MB")
        elif boxes and not rest and sum(s for _, s in boxes[-1]) + size <= LIMIT:
            boxes[-1].append((folder, size))
        elif len(boxes) < FILES:
            boxes.append([(folder, size)])
        else:
            rest.append((made, folder))  # and all that are younger, so that `since` finds them
    zipped = (_zipped([folder for folder, _ in box], weights) for box in boxes)
    files = tuple(_write(target / f"records-{k}.zip", found) for k, found in enumerate(zipped, 1))
    folders, since = tuple(folder for _, folder in rest), rest[0][0] if rest else ""
    return Packed(files, sum(map(len, boxes)), tuple(left_out), folders, since)


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
        places: dict[str, Path] = {}
        for k, file in enumerate(files):
            sound, odd = _laid_out(file, beside / str(k))
            places = {name: beside / str(k) for name in sound} | places
            left_out += odd
        for name, place in places.items():
            folder = shelf / name
            with record.lock(folder):
                if is_sound(environment.published_shelf() / name) or counts(folder):
                    here.append(name)
                    continue
                record.place(folder, partial(_copy, place / name))
            new.append(name)
    idle = tuple(name for name in new if not counts(shelf / name))
    return Taken(tuple(new), tuple(here), idle, tuple(dict.fromkeys(left_out)))


def _chosen(folders: Iterable[Path], since: datetime | None) -> tuple[list[tuple[str, Path]], list[str]]:
    """Time and folder of the sound records that are to be packed, the oldest first, and what is said of broken ones."""
    known, chosen, left_out = kinds(), [], []
    for folder in sorted(set(folders)):
        try:
            meta = check(folder)
        except FileNotFoundError:
            continue  # it went while one looked
        except (ValueError, OSError) as error:
            left_out.append(record.plain(f"{name_of(folder)}: {error}"))
            continue
        kind = known.get(folder.parent.name)
        published = (environment.published_shelf() / name_of(folder) / record.META).is_file()
        if not published and (kind is None or kind.published) and (since is None or time(meta["time"]) >= since):
            chosen.append((meta["time"], folder))
    return sorted(chosen), left_out


def _zipped(folders: Sequence[Path], weights: bool) -> bytes:
    """A packed file of these records, as bytes."""
    names = NAMES if weights else NAMES - {record.WEIGHTS}
    members = {f"{name_of(folder)}/{k}": v for folder in folders for k, v in sorted(_files(folder, names).items())}
    sums = {name: hashlib.sha256(found).hexdigest() for name, found in members.items()}
    contents = json.dumps(dict(format=FORMAT, records=len(folders), sha256=sums)) + "\n"
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as z:
        for name, found in ({CONTENTS: contents.encode()} | members).items():
            z.writestr(zipfile.ZipInfo(name), found, zipfile.ZIP_DEFLATED)  # the same bytes whenever it is written
    return stream.getvalue()


def _files(folder: Path, names: Collection[str]) -> dict[str, bytes]:
    """Those of a record's files that are named, as they travel: the table plain, in whichever form it lies here."""
    found = {f.name: f.read_bytes() for f in folder.iterdir() if f.name in names and f.name != record.TABLE}
    return found | {record.TABLE: record.text(folder)}


def _write(file: Path, found: bytes) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_suffix(".part")
    with room(file.name, file.parent, part):
        try:
            part.write_bytes(found)
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
        why = error or type(error).__name__
        raise ValueError(record.plain(f"{file.name} is not taken, nor any other: {why}")) from error


def _write_members(z: zipfile.ZipFile, place: Path) -> list[str]:
    """Write the members of a zip below a folder, each as its list of contents says; names of the records."""
    check_members(z.infolist())
    contents = json.loads(content(z, z.getinfo(CONTENTS)))
    if not isinstance(contents, dict) or contents.get("format") != FORMAT:
        found = contents.get("format") if isinstance(contents, dict) else contents
        raise ValueError(f"its format is {found!r}, this library reads {FORMAT}")
    sums, members = contents.get("sha256"), [info for info in z.infolist() if info.filename != CONTENTS]
    if not isinstance(sums, dict) or sums.keys() != {info.filename for info in members}:
        raise ValueError(f"its members are not those that {CONTENTS} lists")
    for info in members:
        if hashlib.sha256(found := content(z, info)).hexdigest() != sums[info.filename]:
            raise ValueError(f"its members are not those that {CONTENTS} lists: {info.filename!r} is another")
        (place / info.filename).parent.mkdir(parents=True, exist_ok=True)
        (place / info.filename).write_bytes(found)
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
            odd.append(record.plain(f"{name}: {error}"))
        else:
            sound.append(name)
    return sound, odd


_copy = partial(shutil.copytree, copy_function=shutil.copyfile, dirs_exist_ok=True)


@contextmanager
def _folder_beside(shelf: Path) -> Iterator[Path]:
    """An empty folder on the shelf's disk, which goes in the end."""
    shelf.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=shelf, prefix=".unpack-") as folder:
        yield Path(folder)
