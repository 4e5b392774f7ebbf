"""The folders that the environment names, looked at before a command begins: one sentence says what is wrong."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path

from .. import environment
from . import chapters

NAMES = ("PRUNING_LAB_STORE", "PRUNING_LAB_RESULTS", "PRUNING_LAB_DATA")


def settle(*written: str) -> None:
    """Make the folders that settings name absolute, for this process and all that it starts, `~` expanded.

    Args:
        written: the settings whose folders will be written to.

    Raises:
        ValueError: a setting names no folder, or one that cannot be written to, no number of workers, or no device that
            is there; names the setting.
    """
    for name in NAMES:
        if text := os.environ.get(name):  # an empty one is as none
            os.environ[name] = str(_folder(name, text))
    for name, place in _places().items():
        if name in written:
            _try(name, place)
    environment.workers()
    if os.environ.get("PRUNING_LAB_DEVICE"):
        environment.device()


def shelf() -> None:
    """Raises ValueError: published records belong to the book, which is not here, and no setting names others."""
    if not os.environ.get("PRUNING_LAB_RESULTS"):
        chapters.folder("the shelf of published records, where PRUNING_LAB_RESULTS names no other,")


def _folder(name: str, text: str) -> Path:
    """The absolute path that a setting means: of a folder, or of one that can come to be."""
    environment.check_path(name, text if text.strip() else "")  # one of spaces alone is no folder, below
    wrong = f"{name}={text!r} is no folder: name one that is there or can be made, or unset {name}"
    try:
        path = Path(text).expanduser().absolute()
        nearest = _nearest(path)
    except (OSError, RuntimeError, ValueError) as error:  # too long, in a folder that may not be read, no such user
        raise ValueError(f"{wrong} ({getattr(error, 'strerror', None) or error})") from None
    if not text.strip() or not nearest.is_dir():
        raise ValueError(wrong)
    return path


def _nearest(path: Path) -> Path:
    """A path, or the nearest above it where something stands, be it a broken link. OSError: it cannot be looked at."""
    for place in (path, *path.parents):
        with suppress(FileNotFoundError, NotADirectoryError):
            place.lstat()
            return place
    raise FileNotFoundError(str(path))


def _places() -> dict[str, Path]:
    """Setting -> the folder that holds today. ValueError: there is none, for the user has no home folder."""
    found = environment.local_shelf(), environment.published_shelf(), environment.data_root()
    return dict(zip(NAMES, found, strict=True))


def _try(name: str, place: Path) -> None:
    """Write nothing to the nearest folder that is there."""
    if name == "PRUNING_LAB_RESULTS":
        shelf()
    try:
        with tempfile.TemporaryFile(dir=_nearest(place)):
            pass
    except OSError as error:
        raise ValueError(f"{name}: nothing can be written to {place} ({error.strerror}); name another folder") from None
