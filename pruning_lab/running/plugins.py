"""Modules of a user's own that are imported with the library, so that all know their criteria and models."""

from __future__ import annotations

import os
import sys
import sysconfig
import traceback
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from ..records import source


class PluginError(ImportError):
    """A module that PRUNING_LAB_PLUGINS names cannot be imported."""


def load(names: Iterable[str]) -> None:
    """Import modules by name, from the current folder too, whichever way the command is called.

    Raises:
        PluginError: one is missing or broken. Where the library is imported to be a command (`python -m`, or its script
        `pruning-lab`), that is said in one line instead, and the process ends with code 2.
    """
    for name in names:
        _see_current_folder()
        try:
            source.load(name)
        except (Exception, SystemExit) as error:  # whatever stands in it
            said = f"PRUNING_LAB_PLUGINS names {name!r}, which cannot be imported: {_why(name, error)}"
            # "-m" is what Python puts there until it has found the module
            if sys.argv and Path(sys.argv[0]).name in ("-m", "pruning-lab"):
                print(f"pruning_lab: {said}", file=sys.stderr)
                raise SystemExit(2) from None
            raise PluginError(said) from error


def _see_current_folder() -> None:
    """Modules are looked for there last; an installed script's path begins with its own folder instead."""
    with suppress(OSError):  # somebody took it away
        if not {"", os.getcwd()} & set(sys.path):
            sys.path.append(os.getcwd())


def _why(name: str, error: BaseException) -> str:
    """What is wrong with a module, in one line, and what to do."""
    if isinstance(error, ModuleNotFoundError) and error.name and f"{name}.".startswith(f"{error.name}."):
        return (
            "there is no such module, neither in the current folder nor where Python looks; add its folder to "
            "PYTHONPATH, or unset PRUNING_LAB_PLUGINS"
        )
    return (
        f"{type(error).__name__}: {' '.join(str(error).split())}{place(error)}; mend it, or unset PRUNING_LAB_PLUGINS"
    )


def place(error: BaseException) -> str:
    """Where in code of a reader's own an error is to be mended, as " (mine.py, line 3)"; empty where it is in none.

    Not where the library, or what is installed beside it, noticed.
    """
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not _is_installed(f.filename)]
    return f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""


def _is_installed(file: str) -> bool:
    """Whether code is this library's, Python's, or some package's."""
    known = sysconfig.get_paths()
    folders = [Path(__file__).parents[1], *(Path(known[n]) for n in ("stdlib", "platstdlib", "purelib", "platlib"))]
    return file.startswith("<") or any(Path(file).is_relative_to(folder) for folder in folders)
