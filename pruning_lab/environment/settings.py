"""What the environment says: where data and records lie, on which device to compute. Nothing here changes an answer."""

from __future__ import annotations

import os
import time
from pathlib import Path

import torch


def cache_folder() -> Path:
    """The user's cache folder for this library (`XDG_CACHE_HOME`, else `~/.cache`). ValueError: there is no home."""
    try:
        return (_named("XDG_CACHE_HOME") or Path.home() / ".cache") / "pruning_lab"
    except RuntimeError as error:
        how = "set PRUNING_LAB_STORE and PRUNING_LAB_DATA to folders of yours"
        raise ValueError(f"this user has no home folder: {how}") from error


def _named(setting: str) -> Path | None:
    """The folder that a setting names, `~` expanded; None: it is not set. ValueError: no such home folder."""
    text = os.environ.get(setting)
    try:
        return Path(text).expanduser() if text else None
    except RuntimeError as error:
        raise ValueError(f"{setting}={text!r} is no folder ({error}): name one that is there or can be made") from error


def data_root() -> Path:
    """Folder of the image sets: `PRUNING_LAB_DATA`, else `data` in the cache folder."""
    return _named("PRUNING_LAB_DATA") or cache_folder() / "data"


def local_shelf() -> Path:
    """Folder of this machine's own records, checkpoints and weights: `PRUNING_LAB_STORE`, else in the cache folder."""
    return _named("PRUNING_LAB_STORE") or cache_folder() / "store"


def published_shelf() -> Path:
    """Folder of the book's records: `PRUNING_LAB_RESULTS`, else `book/results` beside the package."""
    return _named("PRUNING_LAB_RESULTS") or Path(__file__).parents[2] / "book" / "results"


def cluster() -> str | None:
    """Address of a Dask scheduler for sweeps: `PRUNING_LAB_CLUSTER`, such as `tcp://host:8786`; None: here."""
    return os.environ.get("PRUNING_LAB_CLUSTER") or None


def workers() -> int:
    """Worker processes of a sweep that is told no executor: `PRUNING_LAB_WORKERS`; 1: in this process.

    ValueError: no number above 0.
    """
    text = os.environ.get("PRUNING_LAB_WORKERS") or "1"
    if not text.isdigit() or int(text) < 1:
        raise ValueError(f"PRUNING_LAB_WORKERS={text!r}: expected a number of worker processes, at least 1")
    return int(text)


def plugins() -> list[str]:
    """Modules named in `PRUNING_LAB_PLUGINS` (commas between), imported with the library: a user's own criteria."""
    return [name for name in os.environ.get("PRUNING_LAB_PLUGINS", "").replace(" ", "").split(",") if name]


def device() -> torch.device:
    """`PRUNING_LAB_DEVICE`, else the best that is there: cuda, mps, cpu.

    Raises:
        ValueError: the named device is unknown or not there.
    """
    name = os.environ.get("PRUNING_LAB_DEVICE")
    if not name:
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"PRUNING_LAB_DEVICE={name!r} cannot be used here: {error}") from error
    return torch.device(name)


def age() -> float:
    """Seconds since this process began, imports included; where the system does not say, those that it has computed."""
    try:
        ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])  # from the start of the machine
        return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, AttributeError, IndexError, ValueError):
        return time.process_time()
