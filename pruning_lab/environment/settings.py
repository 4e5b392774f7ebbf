"""What the environment says: where data and records lie, on which device to compute. Nothing here changes an answer."""

from __future__ import annotations

import os
import re
import time
import warnings
from functools import cache
from pathlib import Path

import torch

from .project import project

#: Worker processes that a sweep may have at most.
MOST_WORKERS = 1024
_NO_PATHS = {  # what would be made a folder of that name in the current one, and why it is refused
    r"^\s|\s$": "begins or ends with a space: name the folder without it",
    r"\$\w|\$\{": "has a variable that no shell has put in: write the path out",
    r"^[A-Za-z][A-Za-z0-9+.-]+:/": "is an address: name a folder of this machine",
}


def cache_folder() -> Path:
    """The user's cache folder for this library (`XDG_CACHE_HOME`, else `~/.cache`). ValueError: there is no home.

    >>> from pruning_lab import environment
    >>> environment.cache_folder().is_absolute()
    True
    """
    try:
        return (_named("XDG_CACHE_HOME") or Path.home() / ".cache") / "pruning_lab"
    except RuntimeError as error:
        how = "set PRUNING_LAB_STORE and PRUNING_LAB_DATA to folders of yours"
        raise ValueError(f"this user has no home folder: {how}") from error


def _named(setting: str) -> Path | None:
    """The folder that a setting names, `~` expanded; None: it is not set. ValueError: no home folder, or no path."""
    text = os.environ.get(setting) or ""
    check_path(setting, text)
    try:
        return Path(text).expanduser() if text else None
    except RuntimeError as error:
        raise ValueError(f"{setting}={text!r} is no folder ({error}): name one that is there or can be made") from error


def check_path(setting: str, text: str) -> None:
    """ValueError where the value of a setting is a path in its letters alone, so that a folder of that name were made.

    >>> from pruning_lab import environment
    >>> environment.check_path("PRUNING_LAB_STORE", "file:///records")
    Traceback (most recent call last):
        ...
    ValueError: PRUNING_LAB_STORE='file:///records' is an address: name a folder of this machine
    """
    if odd := next((why for mark, why in _NO_PATHS.items() if re.search(mark, text)), None):
        raise ValueError(f"{setting}={text!r} {odd}")


def data_root() -> Path:
    """Folder of the image sets: `PRUNING_LAB_DATA`, else `data` in the cache folder.

    >>> from pruning_lab import environment
    >>> environment.data_root().is_absolute()
    True
    """
    return _named("PRUNING_LAB_DATA") or cache_folder() / "data"


def local_shelf() -> Path:
    """Folder of this machine's own records, checkpoints and weights: `PRUNING_LAB_STORE`, else in the cache folder.

    >>> from pruning_lab import environment
    >>> environment.local_shelf() != environment.published_shelf()
    True
    """
    return _named("PRUNING_LAB_STORE") or cache_folder() / "store"


def published_shelf() -> Path:
    """Folder of the book's records: `PRUNING_LAB_RESULTS`, else `book/results` of the project, be it there or not.

    >>> from pruning_lab import environment
    >>> environment.published_shelf().name
    'results'
    """
    return _named("PRUNING_LAB_RESULTS") or (project() or Path(__file__).parents[2]) / "book" / "results"


def cluster() -> str | None:
    """Address of a Dask scheduler for sweeps: `PRUNING_LAB_CLUSTER`, such as `tcp://host:8786`; None: here.

    >>> from pruning_lab import environment
    >>> environment.cluster() is None  # unless PRUNING_LAB_CLUSTER names one
    True
    """
    return os.environ.get("PRUNING_LAB_CLUSTER") or None


def workers() -> int:
    """Worker processes of a sweep that is told no executor: `PRUNING_LAB_WORKERS`; 1: in this process.

    ValueError: no number above 0, or more than any machine has use for.

    >>> from pruning_lab import environment
    >>> environment.workers() >= 1
    True
    """
    text = os.environ.get("PRUNING_LAB_WORKERS") or "1"
    if not re.fullmatch("[0-9]+", text) or not text.strip("0"):
        raise ValueError(f"PRUNING_LAB_WORKERS={text!r}: expected a number of worker processes, at least 1")
    if len(text.lstrip("0")) > len(str(MOST_WORKERS)) or int(text) > MOST_WORKERS:
        raise ValueError(
            f"PRUNING_LAB_WORKERS={text[:40]!r}: expected a number of worker processes, at most {MOST_WORKERS:,}"
        )
    return int(text)


def plugins() -> list[str]:
    """Modules named in `PRUNING_LAB_PLUGINS` (commas between), imported with the library: a user's own criteria.

    >>> from pruning_lab import environment
    >>> environment.plugins()  # unless PRUNING_LAB_PLUGINS names some
    []
    """
    return [name for name in os.environ.get("PRUNING_LAB_PLUGINS", "").replace(" ", "").split(",") if name]


def device() -> torch.device:
    """`PRUNING_LAB_DEVICE`, else the best that is there: cuda, mps, cpu.

    Raises:
        ValueError: the named device is unknown or not there.

    >>> from pruning_lab import environment
    >>> environment.device().type in ("cpu", "cuda", "mps")
    True
    """
    name = os.environ.get("PRUNING_LAB_DEVICE")
    if not name:
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    return usable(name, "PRUNING_LAB_DEVICE")


def usable(name: torch.device | str, called: str = "device") -> torch.device:
    """The device of this name, on which something was computed just now. ValueError: it is unknown or not there.

    >>> from pruning_lab import environment
    >>> environment.usable("cpu")
    device(type='cpu')
    >>> environment.usable("abacus")
    Traceback (most recent call last):
        ...
    ValueError: device='abacus' cannot be used here: ...
    """
    try:
        if not isinstance(name, str | torch.device):
            raise TypeError(f"it is a {type(name).__name__}, no name of a device")
        return _tried(str(name))
    except Exception as error:  # torch has many ways to say that a device is not there
        reason = re.split(r"\. |\n", str(error))[0][:120].rstrip(". ")
        shown = repr(str(name))[:60]
        raise ValueError(
            f"{called}={shown} cannot be used here: {reason}; expected cpu, cuda or mps, as this machine has"
        ) from error


@cache
def _tried(name: str) -> torch.device:
    """The device, after a first sum on it, which the meta device has not."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what torch says of names that it gives up
        found = torch.device(name)
        torch.ones(2, device=found).sum().item()
    return found


def age() -> float:
    """Seconds since this process began, imports included; where the system does not say, those that it has computed.

    >>> from pruning_lab import environment
    >>> environment.age() > 0
    True
    """
    try:
        ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])  # from the start of the machine
        return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, AttributeError, IndexError, ValueError):
        return time.process_time()
