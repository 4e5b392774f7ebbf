"""What the command line does with records that are stored: lists, publishes, packs, unpacks and clears them."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from .. import environment
from ..records import disk, record, store
from ..records.experiment import Experiment, lineage, named, odd
from . import chapters, parameters, parcels

Stored = list[tuple[Experiment, store.Record]]


def sound(experiments: Sequence[Experiment]) -> list[Experiment]:
    """All that experiments are made of, themselves included; one that cannot say what it is is named and left out."""
    bad = odd(experiments)
    for e, error in bad.items():
        left_out(named(e), error)
    return lineage([e for e in experiments if e not in bad])


def stored(experiments: Iterable[Experiment]) -> Stored:
    """Those that are stored, and their records; one that cannot be looked for is named and left out."""
    there = []
    for e in experiments:
        try:
            there += [(e, record)] if (record := store.find(e)) is not None else []
        except Exception as error:  # whatever a class of somebody else's may raise
            left_out(named(e), error)
    return there


def left_out(what: str, error: Exception) -> None:
    """Say on standard error what a command goes on without, and why."""
    print(f"left out: {what}: {type(error).__name__}: {error}", file=sys.stderr, flush=True)


def show() -> None:
    """Print chapters and profiles: how many records are stored and published, and the time they took.

    ValueError: the book is not here.
    """
    chapters.folder("the list of chapters")
    print("reading the records that are stored, each with its checksums", file=sys.stderr, flush=True)
    print(f"{'chapter':28} {'profile':8} {'records':>9} {'published':>9} {'time to make':>13}")
    known: dict[Experiment, store.Record | None] = {}  # chapters share nets, and reading a record takes time
    for path in chapters.chapters():
        for profile in parameters.PROFILES:
            try:
                plan = sound(chapters.plan(path, profile))
            except Exception as error:  # whatever the cells of one chapter may raise
                left_out(f"{path.stem} {profile}", error)
                continue
            new = [e for e in plan if e not in known]
            known |= dict.fromkeys(new) | dict(stored(new))
            records = [record for e in plan if (record := known[e]) is not None]
            seconds = sum(r.meta["seconds"] for r in records)
            published = "never" if profile in parameters.PRIVATE else sum(r.shelf == "published" for r in records)
            print(
                f"{path.stem:28} {profile:8} {f'{len(records)}/{len(plan)}':>9} {published:>9} "
                f"{f'{seconds:,.0f} s' if records else '-':>13}"
            )


def publish(experiments: Sequence[Experiment], planned: Sequence[Experiment]) -> None:
    """Copy the local records of experiments, and of what they are made of, to the published shelf.

    Args:
        planned: what the chapters plan at that profile for whoever gives them no parameter.

    Raises:
        ValueError: some are in no such plan or rest on code from outside the library, or they do not all fit: nothing
            was copied; or a record went meanwhile or is too large: the others were copied.
    """
    wanted = [e for e in sound(experiments) if e.published]
    _only_planned(wanted, planned)
    there = stored(wanted)
    local = [(e, record) for e, record in there if record.shelf == "local"]
    _room([record.folder for _, record in local])
    failed = []
    for e, _ in local:
        try:
            print(store.publish(e).relative_to(environment.published_shelf()))
        except (ValueError, LookupError, FileNotFoundError) as error:  # it is too large, or went meanwhile
            failed.append(f"{type(e).__name__} {e.key}: {error}")
    print(f"{len(local) - len(failed)} records published; {_held()}")
    if not local:
        print(f"{len(there)} were published before, and {len(wanted) - len(there)} are not stored: sweep computes them")
    if failed:
        raise ValueError(f"{len(failed)} of {len(local)} were not published: {'; '.join(failed)}")


def _only_planned(wanted: Sequence[Experiment], planned: Sequence[Experiment]) -> None:
    bad = odd(planned)
    known = set(lineage(e for e in planned if e not in bad))
    if strange := [e for e in wanted if e not in known or chapters.own(e)]:
        raise ValueError(
            f"nothing was published: {len(strange)} of {len(wanted)} are in no plan that a reader without your -p and "
            f"PRUNING_LAB_PLUGINS has, such as {named(strange[0])}; leave these away, or write them into the chapter's "
            "plan"
        )


def unpublish(experiments: Sequence[Experiment] | None, kept: Iterable[Experiment]) -> None:
    """Take the records of experiments, and of what they are made of, from the published shelf, but for those of `kept`.

    For None all but those of `kept` go. It does not matter whether this machine has them on its own shelf, too.
    """
    shelf = environment.published_shelf()
    stay = {_published(e) for e in lineage(kept)}
    there = disk.records(shelf) if experiments is None else map(_published, sound(experiments))
    gone = [folder for folder in there if folder.is_dir() and folder not in stay]
    for folder in gone:
        disk.remove(folder)
        print(folder.relative_to(shelf))
    print(f"{len(gone)} records taken from the published shelf; {_held()}")


def _published(e: Experiment) -> Path:
    return environment.published_shelf() / type(e).__name__ / e.key


def _held() -> str:
    return f"the shelf holds {disk.size(environment.published_shelf()) / 1e6:.1f} MB"


def _room(folders: Sequence[Path]) -> None:
    """Refuse to publish what does not fit the shelf."""
    total = disk.size(environment.published_shelf()) + sum(map(_published_size, folders))
    if total > store.SHELF_LIMIT:
        raise ValueError(
            f"the published shelf would hold {total / 1e6:.1f} MB; "
            f"at most {store.SHELF_LIMIT / 1e6:.0f} MB are kept in git"
        )


def _published_size(folder: Path) -> int:
    """Bytes of a local record as it is published: its table packed, its weights left here. 0: it went meanwhile."""
    with suppress(ValueError, OSError):
        table = len(record.packed(record.text(folder)))
        return table + sum((folder / name).stat().st_size for name in (record.META, record.ARRAYS))
    return 0


def pack(out: Path, experiments: Sequence[Experiment] | None, since: str | None, weights: bool) -> None:
    """Write the new local records of experiments, or for None all, to a few files in a new folder; say which."""
    begin = parcels.time(since) if since else None
    folders = None
    if experiments is not None:
        folders = [record.folder for _, record in stored(sound(experiments)) if record.shelf == "local"]
    packed = parcels.pack(out, folders, begin, weights)
    for file in packed.files:
        print(f"{file.name} {file.stat().st_size / 1e6:.1f} MB")
    for words in packed.left_out:
        print(f"left out: {words}")
    print(f"{packed.records} records packed" if packed.records else "no new records to pack; nothing was written")
    if packed.rest:
        what = f"{len(packed.rest)} records need more than {parcels.FILES} files of {parcels.LIMIT / 1e6:.0f} MB"
        print(f"{what}: carry these away, then pack the rest into another folder with --since {packed.rest_since}")


def unpack(files: Sequence[Path]) -> None:
    """Put packed records on the local shelf, and say which. ValueError: some were left out."""
    taken = parcels.unpack(files)
    for name in taken.here:
        print(f"here already, left as it is: {name}")
    for words in taken.left_out:
        print(f"left out: {words}")
    print(f"{len(taken.new)} records taken, {len(taken.here)} were here already")
    if taken.idle:
        print(
            f"{len(taken.idle)} of those taken are not used here: made by other code or on other data, "
            f"such as {taken.idle[0]}"
        )
    if taken.left_out:
        raise ValueError(f"{len(taken.left_out)} records were left out: the first is {taken.left_out[0]}")


PLACES = {
    "records": lambda: sorted({folder.parent for folder in disk.records(environment.local_shelf())}),
    "checkpoints": lambda: [environment.local_shelf() / "checkpoints"],
    "locks": lambda: [environment.local_shelf() / "locks"],
    "data": lambda: _downloads(),
    "book": lambda: [chapters.FOLDER.parent / "_build"],
}


def _downloads() -> list[Path]:
    """Where data sets are downloaded, never a folder of the user's; nowhere for a user without a home folder."""
    with suppress(ValueError):
        return [environment.cache_folder() / "data"]
    return []


def clean(names: Sequence[str]) -> None:
    """Print the size of each of PLACES; empty those that are named."""
    for name, places in PLACES.items():
        there = [p for p in places() if p.exists()]
        size = sum(map(disk.size, there))
        for place in there if name in names else ():
            disk.remove(place)
        print(f"{name:12} {size / 1e6:10.1f} MB{'  emptied' if name in names else ''}")
