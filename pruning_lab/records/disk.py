"""A full disk: found in whatever error says so, and said in words that help."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

FULL = {
    errno.ENOSPC: "no space left",
    errno.EDQUOT: "the quota is used up",
    errno.EFBIG: "a file may not grow so large",
}


class DiskFull(OSError):
    """What was to be written does not fit; names the folder and what to do."""


@contextmanager
def room(what: str, folder: Path, half: Path) -> Iterator[None]:
    """Turn an error that comes from a full disk into DiskFull, and take away the file `half`, useless then."""
    try:
        yield
    except DiskFull:
        raise
    except Exception as error:
        if (why := reason(error)) is None:
            raise
        half.unlink(missing_ok=True)
        where = f"{folder}{_free(folder)}"
        raise DiskFull(f"{why}: {what} cannot be stored in {where}; nothing half-written stays. {WAYS}") from error


def below(folder: Path) -> Iterator[Path]:
    """What stands directly in a folder, in order; nothing where it is none, cannot be read or goes while one looks."""
    with suppress(OSError):
        yield from sorted(folder.iterdir())


def records(shelf: Path) -> list[Path]:
    """The folders of a shelf, `<experiment>/<key>`, that hold a `record.json`."""
    return [folder for kind in below(shelf) for folder in below(kind) if (folder / "record.json").is_file()]


def size(place: Path) -> int:
    """Bytes of a file, or of all files below a folder; what goes while one looks counts nothing."""
    places = [place] if place.is_file() else (Path(top, name) for top, _, names in os.walk(place) for name in names)
    total = 0
    for file in places:
        with suppress(OSError):
            total += file.lstat().st_size
    return total


def remove(folder: Path) -> None:
    """Delete a folder with all that is in it, as far as nobody else does meanwhile. OSError: it cannot be."""

    def failed(_: object, __: str, info: tuple) -> None:
        if not isinstance(info[1], FileNotFoundError):
            raise info[1]

    shutil.rmtree(folder, onerror=failed)


WAYS = (
    "Free some space (`python -m pruning_lab clean` shows what takes how much), or set PRUNING_LAB_STORE to a folder "
    "on another disk and move there what is in this one; the same command goes on from there"
)


def reason(error: BaseException | None) -> str | None:
    """Why a write failed, if an error or one that it came from says that there was no room; else None."""
    while error is not None:
        for code, words in FULL.items():
            # safetensors raises an error of its own, in which the number stands as text
            if (isinstance(error, OSError) and error.errno == code) or f"(os error {code})" in str(error):
                return words
        error = error.__cause__ or error.__context__
    return None


def _free(folder: Path) -> str:
    with suppress(OSError):
        return f" ({shutil.disk_usage(folder).free / 1e6:,.0f} MB are free there)"
    return ""
