"""What Python files said when their modules were loaded, for digests are of the code that runs.

The texts of the library are read once, when this module is imported, and those of plug-ins when they are; a file that
changes on disk later changes none, unless its module is loaded anew.
"""

from __future__ import annotations

import sys
import tokenize
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).parents[1]
HERE = PACKAGE.resolve()


@dataclass
class Kept:
    """What a file said, the module that it is, whether that was loaded from this text, and by which spec."""

    text: str
    module: str
    loaded: bool = False
    spec: Any = None


def of_texts(function: Callable) -> Callable:
    """The function, each of its answers kept until a module is loaded anew."""
    _ANSWERS.append(kept := lru_cache(maxsize=None)(function))
    return kept


def forget() -> None:
    """Reckon anew what rests on texts."""
    for answers in _ANSWERS:
        answers.cache_clear()


def text(file: Path) -> str:
    """What a file said when it was kept, or else says now."""
    return KEPT[file].text if file in KEPT else _read(file)


def _read(file: Path) -> str:
    with tokenize.open(file) as stream:
        return stream.read()


def _on_disk(file: Path) -> str | None:
    try:
        return _read(file)
    except (OSError, SyntaxError, UnicodeDecodeError):  # it is gone, or half written
        return None


def is_file(file: Path) -> bool:
    """Whether there is such a file, for the library as it was when this process began."""
    return file in KEPT or (not is_ours(file) and file.is_file())


def is_ours(file: Path) -> bool:
    """Whether a file is of this library."""
    return file.is_relative_to(HERE)


def root(file: Path) -> Path:
    """The folder from which a file is imported: the first above it that is no package."""
    folder = file.parent
    while is_file(folder / "__init__.py"):
        folder = folder.parent
    return folder


def name_in(file: Path, library: Path) -> str:
    """The name by which digests call a file of the library in that folder: "masks" is `masks/__init__.py`."""
    return ".".join(file.relative_to(library).with_suffix("").parts).removesuffix(".__init__")


def name(file: Path) -> str:
    """The name by which digests call a file."""
    return name_in(file, HERE) if is_ours(file) else ".".join(file.relative_to(root(file)).parts)


def keep(files: Iterable[Path], running: str = "") -> None:
    """Keep what files say now, unless that is done; `running` names the module whose code runs, if it is theirs."""
    for file in files:
        if file not in KEPT:
            module = running or name_in(file, root(file))
            spec = getattr(sys.modules.get(module), "__spec__", None)
            KEPT[file] = Kept(_read(file), module, bool(running or spec), spec)


def look() -> None:
    """Note which modules are loaded by now, if still from the text that was kept; one loaded anew is read anew."""
    for file, kept in list(KEPT.items()):
        spec = getattr(sys.modules.get(kept.module), "__spec__", None)
        if spec is None or spec is kept.spec:
            continue
        now = _on_disk(file)
        if kept.spec is None:
            kept.loaded |= now == kept.text
            kept.spec = spec if kept.loaded else None
        elif now is not None:
            kept.text, kept.spec = now, spec
            forget()


def late(files: Iterable[Path]) -> list[str]:
    """The names of those that say something else by now and whose modules are not loaded: they would run another text.

    A file that changed after its module was loaded is none: what runs is what was read.
    """
    look()
    kept = [f for f in files if f in KEPT]
    return sorted(name(f) for f in kept if not KEPT[f].loaded and _on_disk(f) != KEPT[f].text)


_ANSWERS: list[Any] = []
KEPT = {f: Kept(_read(f), name_in(f, HERE.parent)) for f in HERE.rglob("*.py") if f.is_file()}
