"""Digests that outlive their process, in the user's cache folder: a large file is read once, not in every kernel.

They hold for files that stand there as they did: times, size and number are the same. What is younger than a few
seconds is never remembered, for a file may be written twice within one tick of its file system's clock.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from .. import environment
from .files import Stamp, stamp_of

MADE_BY = [1, torch.__version__]  # raise the number when digests are made in another way; draws may be torch's own
AGE = 5.0  # seconds


def recall(name: str, root: Path, stamp: Stamp, asked: str) -> tuple[str, int] | None:
    """Digest and number of lossy images of what was asked for; None: they are not known of the files as they are."""
    found = _read(name, root, stamp).get(asked)
    sound = isinstance(found, list) and [type(part) for part in found] == [str, int]
    return (found[0], found[1]) if sound else None


def remember(name: str, root: Path, stamp: Stamp, asked: str, found: tuple[str, int]) -> None:
    """Keep them, unless the files are young or others by now; where nothing can be written, nothing is kept."""
    file = _file(name, root)
    newest = max((t for times in stamp if times for t in times[:2]), default=None)
    if file is None or newest is None or time.time_ns() - newest < AGE * 1e9 or stamp_of(name, root) != stamp:
        return
    known = _read(name, root, stamp) | {asked: list(found)}
    with suppress(OSError):  # they only save time: a full or locked disk is no reason to stop
        _write(file, dict(made_by=MADE_BY, stamp=_plain(stamp), known=known))


def _file(name: str, root: Path) -> Path | None:
    """Where the digests of a set are kept, one file for each folder of data; None: there is no cache folder here."""
    try:
        folder = environment.cache_folder() / "digests"
    except ValueError:  # a user without a home
        return None
    return folder / f"{name}-{hashlib.sha256(str(root.absolute()).encode()).hexdigest()[:12]}.json"


def _read(name: str, root: Path, stamp: Stamp) -> dict[str, Any]:
    """What was asked for -> what is known of files that are as they are now; nothing of an odd file."""
    file = _file(name, root)
    if file is None or not stamp:
        return {}
    try:
        stored = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):  # it is not there, or no longer whole
        return {}
    alike = isinstance(stored, dict) and [stored.get("made_by"), stored.get("stamp")] == [MADE_BY, _plain(stamp)]
    return stored["known"] if alike and isinstance(stored.get("known"), dict) else {}


def _plain(stamp: Stamp) -> list[list[int] | None]:
    return [list(times) if times else None for times in stamp]


def _write(file: Path, content: dict[str, Any]) -> None:
    """Replace the file in one step."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=file.parent, suffix=".part", delete=False, encoding="utf-8") as part:
        try:
            json.dump(content, part)
            part.close()
            Path(part.name).replace(file)
        except BaseException:
            Path(part.name).unlink(missing_ok=True)
            raise
