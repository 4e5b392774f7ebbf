"""Whether a folder, wherever it comes from, holds a record that can be trusted, and one that is used here."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..records import record, store
from ..records.experiment import Experiment, lineage
from ..records.twins import rebuild
from .zips import see_that_it_fits


def check(folder: Path) -> dict[str, Any]:
    """The `record.json` of a record's folder, if it is sound, of that name and of today's version.

    ValueError, OSError: why not, whatever it is.
    """
    try:
        see_that_it_fits(folder)
        return _checked(folder)
    except (ValueError, OSError):
        raise
    except Exception as error:  # a number that no float holds, settings that its class cannot compute with, no memory
        raise ValueError(f"it is broken ({type(error).__name__}: {error})") from error


def _checked(folder: Path) -> dict[str, Any]:
    meta = dict(record.read(folder).meta)
    if (meta["experiment"], meta["key"]) != folder.parts[-2:]:
        raise ValueError(f"it says that it is {meta['experiment']}/{meta['key']}")
    if (kind := kinds().get(meta["experiment"])) is not None:
        try:
            e = rebuild(kind, meta["config"])
        except (TypeError, ValueError) as error:
            raise ValueError(f"its settings are none of {kind.__name__} ({error})") from error
        if meta.get("version", 1) != e.version:
            which = f"{meta.get('version', 1)} of {kind.__name__}"
            raise ValueError(f"it is of version {which}, this library's is {e.version}")
        # where there is a plug-in's code, that may be another
        if e.key != meta["key"] and not any(part.plugin_digests() for part in lineage([e])):
            raise ValueError(f"its settings are those of {e.key}")
    time(meta["time"])
    return meta


def is_sound(folder: Path) -> bool:
    """Whether there is a sound record."""
    with suppress(ValueError, OSError):
        return bool(check(folder))
    return False


def counts(folder: Path) -> bool:
    """Whether there is a sound record that is used here: of today's code or certified, on data as here."""
    try:
        meta = check(folder)
        kind = kinds().get(meta["experiment"])
        return kind is None or store.find(rebuild(kind, meta["config"])) is not None
    except Exception:  # whatever is wrong with it, it is not used
        return False


def kinds() -> dict[str, type[Experiment]]:
    """Experiments by name, plug-ins' included."""
    named, todo = {}, [Experiment]
    while todo:
        todo += (below := todo.pop().__subclasses__())
        named |= {kind.__name__: kind for kind in below}
    return named


def name_of(folder: Path) -> str:
    """`<experiment>/<key>` of a record's folder."""
    return "/".join(folder.parts[-2:])


def time(text: str) -> datetime:
    """A time as records say it, `2026-01-31T12:00:00Z`, or a date; in UTC by default. ValueError: it is none."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is no time: expected one such as 2026-01-31T12:00:00Z or 2026-01-31") from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
