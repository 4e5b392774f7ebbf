"""Records on the way from one machine to another: a few files of limited size, checked before anything is taken.

A file is a zip: `parcel.json` with the sha256 of every member, then `<experiment>/<key>/<file>`. Nothing is a pickle.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import shutil
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from . import environment, record, store
from .disk import reason, records, room
from .experiment import Experiment
from .twins import rebuild

FORMAT = 1
LIMIT = 16_000_000  # bytes of one file
FILES = 8
UNPACKED = 512_000_000  # bytes of all members of one file, at most
CONTENTS = "parcel.json"
NAMES = {record.META, record.TABLE, record.ARRAYS, record.WEIGHTS}
MEMBER = re.compile(r"([A-Za-z]\w*)/(\w[^/\\\x00-\x1f]{0,250})/([a-z]+\.[a-z]+)")


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
    idle: tuple[str, ...] = ()  # of the new ones those that are not used here: made by other code, or on other data bytes


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

    Every file is checked whole before anything of any is taken.

    Raises:
        ValueError: a file is not what `pack` writes, is damaged, or holds records that this library cannot read.
        DiskFull: no room.
    """
    shelf = environment.local_shelf()
    new, here = [], []
    with room("what is packed", shelf, shelf / "none"), _folder_beside(shelf) as place:
        for name in dict.fromkeys(name for file in files for name in _laid_out(file, place)):
            folder = shelf / name
            with record.lock(folder):
                if _sound(environment.published_shelf() / name) or _counts(folder):
                    here.append(name)
                    continue
                record.place(folder, lambda part, name=name: _move(place / name, part))
            new.append(name)
    return Taken(tuple(new), tuple(here), tuple(name for name in new if not _counts(shelf / name)))


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
            left_out.append(f"{_name(folder)}: {error}")
            continue
        kind = kinds.get(folder.parent.name)
        published = (environment.published_shelf() / _name(folder) / record.META).is_file()
        if not published and (kind is None or kind.published) and (since is None or time(meta["time"]) >= since):
            found.append((meta["time"], folder))
    return sorted(found), left_out


def check(folder: Path) -> dict[str, Any]:
    """The `record.json` of a record's folder, if it is sound, of that name and of today's version.

    ValueError, OSError: why not.
    """
    meta = dict(record.read(folder).meta)
    if (meta["experiment"], meta["key"]) != folder.parts[-2:]:
        raise ValueError(f"it says that it is {meta['experiment']}/{meta['key']}")
    if (kind := _kinds().get(meta["experiment"])) is not None:
        try:
            today = rebuild(kind, meta["config"]).version
        except (TypeError, ValueError) as error:
            raise ValueError(f"its settings are none of {kind.__name__} ({error})") from error
        if meta.get("version", 1) != today:
            raise ValueError(f"it is of version {meta.get('version', 1)!r} of {kind.__name__}, this library's is {today}")
    time(meta["time"])
    return meta


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
        f for folder in folders for f in sorted(folder.iterdir()) if f.name in NAMES and (weights or f.name != record.WEIGHTS)
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


def _laid_out(file: Path, place: Path) -> list[str]:
    """Names of the records of a packed file, checked and laid out in a folder. ValueError: what is wrong with it."""
    try:
        members = _members(file)
        contents = json.loads(members.pop(CONTENTS))
        if contents.get("format") != FORMAT:
            raise ValueError(f"its format is {contents.get('format')!r}, this library reads {FORMAT}")
        if contents.get("sha256") != {name: hashlib.sha256(content).hexdigest() for name, content in members.items()}:
            raise ValueError(f"its members are not those that {CONTENTS} lists")
        for name, content in members.items():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            (place / name).write_bytes(content)
        names = list(dict.fromkeys(name.rpartition("/")[0] for name in members))
        for name in names:
            try:
                check(place / name)
            except (ValueError, FileNotFoundError) as error:
                raise ValueError(f"{name}: {error}") from error
    except FileNotFoundError:
        raise ValueError(f"there is no file {file}") from None
    except Exception as error:  # zipfile, zlib, json and the file system each have their own
        if reason(error):
            raise  # the disk is full, which is no fault of the file
        raise ValueError(f"{file.name} is not taken, nor any other: {error or type(error).__name__}") from error
    return names


def _members(file: Path) -> dict[str, bytes]:
    """Everything in a zip, by name. ValueError: a name that no record's file has, a link, too many bytes."""
    with zipfile.ZipFile(file) as z:
        names = [info.filename for info in z.infolist()]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"{twice[0]!r} is in it twice")
        for info in z.infolist():
            match = MEMBER.fullmatch(info.filename)
            if info.filename != CONTENTS and (match is None or match[3] not in NAMES or match[1] in ("locks", "checkpoints")):
                raise ValueError(f"{info.filename!r} is no name of a record's file: expected EXPERIMENT/KEY/FILE")
            if info.external_attr >> 28 not in (0, 8) or info.is_dir():
                raise ValueError(f"{info.filename!r} is no plain file")
        if (size := sum(info.file_size for info in z.infolist())) > UNPACKED:
            raise ValueError(f"it would take {size:,} bytes, at most {UNPACKED:,} are read")
        if CONTENTS not in names:
            raise ValueError(f"it has no {CONTENTS}")
        return {name: z.read(name) for name in names}


def _sound(folder: Path) -> bool:
    """Whether there is a sound record."""
    try:
        check(folder)
    except (ValueError, OSError):
        return False
    return True


def _counts(folder: Path) -> bool:
    """Whether there is a sound record that is used here: of today's code or certified, on the data bytes that are here."""
    try:
        meta = check(folder)
        kind = _kinds().get(meta["experiment"])
        return kind is None or store.find(rebuild(kind, meta["config"])) is not None
    except (ValueError, OSError):
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
