"""Modules of a user's own that are imported with the library, so that all know their criteria and models."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterable
from pathlib import Path

from ..records import source


class PluginError(ImportError):
    """A module that PRUNING_LAB_PLUGINS names cannot be imported."""


def load(names: Iterable[str]) -> None:
    """Import modules by name.

    Raises:
        PluginError: one is missing or broken. Where the library is imported to be a command (`python -m`), that is said
        in one line instead, and the process ends with code 2.
    """
    for name in names:
        try:
            source.load(name)
        except (Exception, SystemExit) as error:  # whatever stands in it
            said = f"PRUNING_LAB_PLUGINS names {name!r}, which cannot be imported: {_why(name, error)}"
            if sys.argv[:1] == ["-m"]:  # what Python puts there until it has found the module
                print(f"pruning_lab: {said}", file=sys.stderr)
                raise SystemExit(2) from None
            raise PluginError(said) from error


def _why(name: str, error: BaseException) -> str:
    """What is wrong with a module, in one line, and what to do."""
    if isinstance(error, ModuleNotFoundError) and error.name and f"{name}.".startswith(f"{error.name}."):
        return "there is no such module; add its folder to PYTHONPATH, or unset PRUNING_LAB_PLUGINS"
    last = traceback.extract_tb(error.__traceback__)[-1]
    words, where = " ".join(str(error).split()), f"{Path(last.filename).name}, line {last.lineno}"
    return f"{type(error).__name__}: {words} ({where}); mend it, or unset PRUNING_LAB_PLUGINS"
