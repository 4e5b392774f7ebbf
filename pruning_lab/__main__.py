"""The command line: what is stored, what is missing, and how to make, publish or clear it."""

from __future__ import annotations

import argparse
import ast
import os
import re
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import Any

from . import environment
from .records import disk, store
from .records.experiment import Experiment, lineage, named, odd
from .records.provenance import one_thread
from .running import chapters, folders, parameters, sweeps
from .running.cluster import ClusterError


def main(words: Sequence[str] | None = None) -> int:
    """Run one command; the exit code is 0, or 2 after an error, which is printed."""
    args = _parser().parse_args(words)
    args.began = time.monotonic() - (environment.age() if words is None else 0.0)  # when the command began
    try:
        folders.settle(*args.writes)
        args.command(args)
    except (ValueError, LookupError, OSError, ImportError, sweeps.SweepError, ClusterError) as error:
        print(f"pruning_lab: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m pruning_lab", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(
        function: Any,
        name: str,
        words: str,
        chapter: bool = True,
        several: str | None = None,
        writes: str | None = None,
    ) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=words, description=words)
        sub.set_defaults(command=function, writes=[f"PRUNING_LAB_{writes}"] if writes else [])
        if chapter:
            sub.add_argument("chapter", nargs=several, help="number, name or path of a notebook")
            sub.add_argument("--profile", default="laptop", choices=sweeps.PROFILES)
            sub.add_argument(
                "-p",
                nargs=2,
                action="append",
                default=[],
                metavar=("NAME", "VALUE"),
                dest="given",
                help="a parameter of the chapter",
            )
        return sub

    command(_list, "list", "chapters and profiles: records stored, time they took", chapter=False)
    plan = command(
        _estimate, "plan", "what of chapters is stored and missing, and what that takes on this device", several="+"
    )
    plan.add_argument(
        "--workers", type=_workers, default=1, help="also with so many worker processes, of one CPU thread each"
    )
    plan.add_argument("--fresh", action="store_true", help="as if nothing were stored")
    run = command(_run, "run", "execute a chapter with papermill", writes="STORE")
    run.add_argument(
        "-o", "--output", type=Path, help="executed notebook (default: _build/run/<chapter>-<profile>.ipynb)"
    )
    sweep = command(
        _sweep, "sweep", "compute the missing records of chapters; needs no Jupyter", several="+", writes="STORE"
    )
    sweep.add_argument(
        "--budget",
        type=_seconds,
        metavar="SECONDS",
        help="end inside this time; what decides most per second comes first (default: none)",
    )
    where = sweep.add_mutually_exclusive_group()
    where.add_argument(
        "--workers", type=_workers, default=1, help="worker processes, one CPU thread each (default: in this process)"
    )
    where.add_argument(
        "--cluster", metavar="ADDRESS", help="of a Dask scheduler (default: PRUNING_LAB_CLUSTER, if that is set)"
    )
    smoke = command(
        _smoke, "smoke", "one of every kind of experiment, tiny: does this device do it, and how fast", chapter=False
    )
    smoke.add_argument("--device", help="cpu, cuda or mps (default: PRUNING_LAB_DEVICE, else the best there is)")
    command(
        _publish, "publish", "copy the local records of chapters to the published shelf", several="+", writes="RESULTS"
    )
    pack = command(
        _pack, "pack", "write new local records to a few files, to carry them to another machine", chapter=False
    )
    pack.add_argument("out", type=Path, help="a new folder")
    pack.add_argument("chapter", nargs="*", help="of these chapters only (default: all new records)")
    pack.add_argument("--profile", default="laptop", choices=sweeps.PROFILES, help="of the chapters")
    pack.add_argument(
        "-p", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"), dest="given", help="a parameter of them"
    )
    pack.add_argument("--since", metavar="TIME", help="made then or later, such as 2026-01-31T12:00:00Z")
    pack.add_argument("--weights", action="store_true", help="with trained weights")
    words = "put packed records on the local shelf; none that is there is overwritten"
    unpack = command(_unpack, "unpack", words, chapter=False, writes="STORE")
    unpack.add_argument("files", nargs="+", type=Path, metavar="FILE")
    build = command(_build, "build", "build the book", chapter=False, writes="STORE")
    build.add_argument("--profile", default=os.environ.get("PROFILE") or "laptop", choices=sweeps.PROFILES)
    build.add_argument("--force", action="store_true", help="execute chapters that have not changed, too")
    words = "show by small twins that today's code answers as that which made the published records"
    certify = command(_certify, "certify", words, chapter=False)
    certify.add_argument(
        "--since", metavar="COMMIT", help="whose code to compare with (default: where published records last changed)"
    )
    certify.add_argument(
        "--waive",
        action="append",
        default=[],
        metavar="FILE:FUNCTION=TEST",
        help="a test that covers lines no twin ran",
    )
    certify.add_argument("--rounding", nargs=2, action="append", default=[], metavar=("KIND", "BOUND"),
                         help="a kind of measurement that may move by rounding, and how far, "
                              "relative to its largest number")  # fmt: skip
    certify.add_argument(
        "--spot", type=_count, default=0, metavar="N", help="also remake the N cheapest full records on both"
    )
    clean = command(_clean, "clean", "sizes of this machine's shelf and caches; empties what is named", chapter=False)
    clean.add_argument("what", nargs="*", choices=[[], *_PLACES], help="what to empty")
    return parser


def _parameters(args: argparse.Namespace) -> dict[str, Any]:
    return {name: _literal(value) for name, value in args.given}


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return text


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = float("nan")
    if not 0 < seconds <= sweeps.LONGEST:
        raise argparse.ArgumentTypeError(
            f"{text[:60]!r}: expected a number of seconds above 0, at most {sweeps.LONGEST:,} (a year)"
        )
    return seconds


def _whole(text: str, least: int, most: int, of: str) -> int:
    if not re.fullmatch("[+]?[0-9]{1,9}", text) or not least <= int(text) <= most:
        raise argparse.ArgumentTypeError(f"{text[:60]!r}: expected a number of {of} from {least:,} to {most:,}")
    return int(text)


_workers = partial(_whole, least=1, most=1024, of="workers")
_count = partial(_whole, least=0, most=100_000, of="records")


def _plan(args: argparse.Namespace) -> list[Experiment]:
    """The experiments of the chapter, or of all the chapters, that were named."""
    names = [args.chapter] if isinstance(args.chapter, str) else args.chapter
    found: dict[Experiment, None] = {}
    for path in map(chapters.chapter, names):
        with _cells_of(path, args):
            found |= dict.fromkeys(chapters.plan(path, args.profile, _parameters(args)))
    return list(found)


@contextmanager
def _cells_of(path: Path, args: argparse.Namespace) -> Iterator[None]:
    """Whatever the `parameters` and `plan` cells of a chapter raise inside is told in one line."""
    try:
        yield
    except (ValueError, OSError):
        raise
    except Exception as error:
        given = " ".join(["", *(f"-p {name} {value}" for name, value in args.given)])
        raise ValueError(
            f"the plan of {path.stem} fails with --profile {args.profile}{given}: {type(error).__name__}: {error}"
        ) from error


def _told(experiments: Sequence[Experiment]) -> list[Experiment]:
    """All that experiments are made of, themselves included; one that cannot say what it is is named and left out."""
    bad = odd(experiments)
    for e, error in bad.items():
        _left_out(named(e), error)
    return lineage([e for e in experiments if e not in bad])


def _found(experiments: Sequence[Experiment]) -> list[tuple[Experiment, store.Record]]:
    """Those that are stored, and their records; one that cannot be looked for is named and left out."""
    found = []
    for e in experiments:
        try:
            found += [(e, record)] if (record := store.find(e)) is not None else []
        except Exception as error:  # whatever a class of somebody else's may raise
            _left_out(named(e), error)
    return found


def _left_out(what: str, error: Exception) -> None:
    print(f"left out: {what}: {type(error).__name__}: {error}", file=sys.stderr, flush=True)


def _list(_: argparse.Namespace) -> None:
    print(f"{'chapter':28} {'profile':8} {'records':>9} {'published':>9} {'time to make':>13}")
    for path in chapters.chapters():
        for profile in sweeps.PROFILES:
            try:
                plan = _told(chapters.plan(path, profile))
            except Exception as error:  # whatever the cells of one chapter may raise
                _left_out(f"{path.stem} {profile}", error)
                continue
            found = [r for _, r in _found(plan)]
            seconds = sum(r.meta["seconds"] for r in found)
            published = "never" if profile in parameters.PRIVATE else sum(r.shelf == "published" for r in found)
            print(
                f"{path.stem:28} {profile:8} {f'{len(found)}/{len(plan)}':>9} {published:>9} "
                f"{f'{seconds:,.0f} s' if found else '-':>13}"
            )


def _estimate(args: argparse.Namespace) -> None:
    from .running import estimate  # here: a sweep needs none of it

    with one_thread():  # as every run computes
        found = estimate.estimate(
            _plan(args), fresh=args.fresh, say=lambda words: print(words, file=sys.stderr, flush=True)
        )
        print(found.text(args.workers))
    if found.left_out:
        first = next(iter(found.left_out.values()))
        raise ValueError(f"of {len(found.left_out)} runs it cannot be told what they take; the first: {first}")


def _run(args: argparse.Namespace) -> None:
    path = chapters.chapter(args.chapter)
    with _cells_of(path, args):
        known = chapters.defaults(path)
    # a page of the book may have no profile
    given = ({"profile": args.profile} if "profile" in known else {}) | _parameters(args)
    parameters.check(path.stem, known, given)
    import papermill

    output = args.output or chapters.FOLDER.parent / "_build" / "run" / f"{path.stem}-{args.profile}.ipynb"
    output.parent.mkdir(parents=True, exist_ok=True)
    try:
        papermill.execute_notebook(
            path, output, parameters=given, kernel_name="python3", extra_arguments=["--log-level=50"]
        )
    except papermill.PapermillExecutionError as error:
        raise ValueError(
            f"{path.name}, cell {error.cell_index + 1}: {error.ename}: {error.evalue}; see {output}"
        ) from None
    print(output)


def _sweep(args: argparse.Namespace) -> None:
    if args.cluster:
        os.environ["PRUNING_LAB_CLUSTER"] = args.cluster
    limit = None
    if args.budget:
        from .running.budget import Budget  # here: what it estimates by takes time to import

        limit = Budget(args.budget, args.began)
    with sweeps.pool(args.workers) if args.workers > 1 else nullcontext() as executor:
        sweeps.sweep(_plan(args), executor, limit)


def _publish(args: argparse.Namespace) -> None:
    if args.profile in parameters.PRIVATE:
        raise ValueError(
            f"records of profile {args.profile} are never published; name another: --profile night, gpu or paper"
        )
    wanted = [e for e in _told(_plan(args)) if e.published]
    found = [(e, record) for e, record in _found(wanted) if record.shelf == "local"]
    local = [e for e, _ in found]
    _room([record.folder for _, record in found])
    failed = []
    for e in local:
        try:
            print(store.publish(e).relative_to(environment.published_shelf()))
        except (ValueError, LookupError, FileNotFoundError) as error:  # it is too large, or went meanwhile
            failed.append(f"{type(e).__name__} {e.key}: {error}")
    print(
        f"{len(local) - len(failed)} records published; the shelf holds "
        f"{disk.size(environment.published_shelf()) / 1e6:.1f} MB"
    )
    if failed:
        raise ValueError(f"{len(failed)} of {len(local)} were not published: {'; '.join(failed)}")


def _room(folders: Sequence[Path]) -> None:
    """Refuse to publish what does not fit the shelf."""
    weights = sum(disk.size(f / "weights.safetensors") for f in folders)  # these stay here
    total = disk.size(environment.published_shelf()) + sum(map(disk.size, folders)) - weights
    if total > store.SHELF_LIMIT:
        raise ValueError(
            f"the published shelf would hold {total / 1e6:.1f} MB; "
            f"at most {store.SHELF_LIMIT / 1e6:.0f} MB are kept in git"
        )


def _smoke(args: argparse.Namespace) -> None:
    from .running import smoke

    said = smoke.run(args.device or str(environment.device()), lambda words: print(words, flush=True))
    bad = [s for s in said if s.failure]
    print(f"{len(said) - len(bad)} of {len(said)} work, {sum(s.seconds for s in said):.0f} s")
    if bad:
        failed = ", ".join(f"{type(s.experiment).__name__} {s.experiment.key}" for s in bad)
        raise ValueError(f"{len(bad)} of {len(said)} failed: {failed}")


def _pack(args: argparse.Namespace) -> None:
    from .running import parcels

    since = parcels.time(args.since) if args.since else None
    found = [record for _, record in _found(_told(_plan(args))) if record.shelf == "local"]
    packed = parcels.pack(args.out, [r.folder for r in found] if args.chapter else None, since, args.weights)
    for file in packed.files:
        print(f"{file.name} {file.stat().st_size / 1e6:.1f} MB")
    for words in packed.left_out:
        print(f"left out: {words}")
    print(f"{packed.records} records packed" if packed.records else "no new records to pack; nothing was written")
    if packed.rest:
        what = f"{len(packed.rest)} records need more than {parcels.FILES} files of {parcels.LIMIT / 1e6:.0f} MB"
        print(f"{what}: carry these away, then pack the rest into another folder with --since {packed.rest_since}")


def _unpack(args: argparse.Namespace) -> None:
    from .running import parcels

    taken = parcels.unpack(args.files)
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


def _build(args: argparse.Namespace) -> None:
    from .publish import build

    if build.main(["--profile", args.profile, *["--force"] * args.force]):
        raise ValueError("the book was not built")


def _certify(args: argparse.Namespace) -> None:
    from .running import certify  # here: nothing else needs git

    since = args.since or certify.reference()
    waivers, bounds = certify.Waivers.read(args.waive, since), certify.bounds(args.rounding)
    try:
        made = certify.certify(since, waivers, bounds, args.spot)
    except certify.Refused as refused:
        raise ValueError(f"no certificate: {refused}") from None
    left = certify.unverified()
    if made is None and left:
        print(
            f"nothing to certify: no code changed since {since} under published records that have the same keys today"
        )
    elif made is None:
        print("nothing to certify: the code says the same, comments and docstrings aside")
    else:
        how = f"certified ({made['kind']}; devices: {made['devices']})"
        print(f"{how}: {made['twins']} twins of {len(made['states'])} kinds answer as before")
    if left:
        raise ValueError(
            "\n".join([f"{len(left)} published records are still neither current nor certified:", *left[:10]])
        )


_PLACES = {
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


def _clean(args: argparse.Namespace) -> None:
    for name, places in _PLACES.items():
        found = [p for p in places() if p.exists()]
        size = sum(map(disk.size, found))
        emptied = name in args.what
        for place in found if emptied else ():
            disk.remove(place)
        print(f"{name:12} {size / 1e6:10.1f} MB{'  emptied' if emptied else ''}")


if __name__ == "__main__":
    sys.exit(main())
