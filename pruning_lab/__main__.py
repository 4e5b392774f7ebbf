"""The command line: what is stored, what is missing, and how to make, publish or clear it."""

from __future__ import annotations

import argparse
import gc
import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from . import environment
from .records.experiment import Experiment
from .records.provenance import one_thread
from .running import arguments, chapters, folders, parameters, shelves, sweeps
from .running.cluster import ClusterError


def main(words: Sequence[str] | None = None) -> int:
    """Run one command; the exit code is 0, or 2 after an error, which is printed."""
    parser = _parser()
    if not (sys.argv[1:] if words is None else words):
        parser.print_help(sys.stderr)
        return 2
    args = parser.parse_args(words)
    args.began = time.monotonic() - (environment.age() if words is None else 0.0)  # when the command began
    try:
        folders.settle(*args.writes)
        args.command(args)
    except (ValueError, LookupError, OSError, ImportError, sweeps.SweepError, ClusterError) as error:
        print(f"pruning_lab: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        if args.command is not _sweep:  # which has said what is stored
            print("pruning_lab: interrupted; what was stored before stays", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = arguments.Parser(prog="python -m pruning_lab", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=arguments.Command)

    def command(function: Any, name: str, words: str, writes: str | None = None) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=words, description=words, allow_abbrev=False)
        sub.set_defaults(command=function, writes=[f"PRUNING_LAB_{writes}"] if writes else [])
        return sub

    command(_list, "list", "chapters and profiles: records stored, time they took")
    plan = command(_estimate, "plan", "what of chapters is stored and missing, and what that takes on this device")
    _of_chapters(plan)
    words = "also with so many worker processes, of one CPU thread each"
    plan.add_argument("--workers", type=arguments.workers, default=1, help=words)
    plan.add_argument("--fresh", action="store_true", help="as if nothing were stored")
    run = command(_run, "run", "execute a chapter with papermill, and print its answer", "STORE")
    _of_chapters(run, several=None)
    words = "executed notebook (default: _build/run/<chapter>-<profile>.ipynb)"
    run.add_argument("-o", "--output", type=Path, help=words)
    _sweeping(command(_sweep, "sweep", "compute the missing records of chapters; needs no Jupyter", "STORE"))
    words = "one of every kind of experiment, tiny: does this device do it, and how fast"
    smoke = command(_smoke, "smoke", words)
    smoke.add_argument("--device", help="cpu, cuda or mps (default: PRUNING_LAB_DEVICE, else the best there is)")
    _of_chapters(command(_publish, "publish", "copy the local records of chapters to the published shelf", "RESULTS"))
    words = "take from the published shelf the records of chapters that no other chapter or profile has"
    _of_chapters(command(_unpublish, "unpublish", words, "RESULTS"), "what no plan of the book has")
    pack = command(_pack, "pack", "write new local records to a few files, to carry them to another machine")
    pack.add_argument("out", type=Path, help="a new folder")
    _of_chapters(pack, "all new records")
    pack.add_argument("--since", metavar="TIME", help="made then or later, such as 2026-01-31T12:00:00Z")
    pack.add_argument("--weights", action="store_true", help="with trained weights")
    words = "put packed records on the local shelf; none that is there is overwritten"
    unpack = command(lambda args: shelves.unpack(args.files), "unpack", words, "STORE")
    unpack.add_argument("files", nargs="+", type=Path, metavar="FILE")
    build = command(_build, "build", "build the book", "STORE")
    build.add_argument("--profile", default=os.environ.get("PROFILE") or "laptop", choices=sweeps.PROFILES)
    build.add_argument("--force", action="store_true", help="execute chapters that have not changed, too")
    build.add_argument("--archive", action="store_true", help="pack it too, into one file that opens offline")
    words = "the redundancy of a net of your own, as one HTML file that opens offline"
    _reporting(command(_report, "report", words))
    _certifying(
        command(_certify, "certify", "show by small twins that today's code answers as that of the published records")
    )
    words = "compute published records again, those that take least first, and compare"
    verify = command(_verify, "verify", words)
    words = "how long; what does not fit is left (default: 5)"
    verify.add_argument("--minutes", type=float, default=5.0, help=words)
    command(_doctor, "doctor", "what will work on this machine, and what to install for the rest")
    words = "sizes of this machine's shelf and caches; empties what is named"
    clean = command(lambda args: shelves.clean(args.what), "clean", words)
    clean.add_argument("what", nargs="*", choices=[[], *shelves.PLACES], help="what to empty")
    return parser


def _of_chapters(sub: argparse.ArgumentParser, default: str = "", several: str | None = "+") -> None:
    words = "number, name or path of a notebook" + f" (default: {default})" * bool(default)
    sub.add_argument("chapter", nargs="*" if default else several, help=words)
    sub.add_argument("--profile", default="laptop", choices=sweeps.PROFILES)
    how = dict(nargs=2, action="append", default=[], metavar=("NAME", "VALUE"), dest="given")
    sub.add_argument("-p", help="a parameter of the chapter; NAME=VALUE, too", **how)


def _sweeping(sweep: argparse.ArgumentParser) -> None:
    _of_chapters(sweep)
    words = "end inside this time; what decides most per second comes first (default: none)"
    sweep.add_argument("--budget", type=arguments.seconds, metavar="SECONDS", help=words)
    where = sweep.add_mutually_exclusive_group()
    words = "worker processes, one CPU thread each (default: in this process)"
    where.add_argument("--workers", type=arguments.workers, default=1, help=words)
    words = "of a Dask scheduler (default: PRUNING_LAB_CLUSTER, if that is set)"
    where.add_argument("--cluster", metavar="ADDRESS", help=words)


def _reporting(report: argparse.ArgumentParser) -> None:
    report.add_argument("model", metavar="MODULE:NAME", help="an nn.Module, or a function that gives one")
    words = "a folder with train.npz and test.npz, my_module:data, or the name of a set"
    report.add_argument("--data", required=True, help=words)
    report.add_argument("--weights", metavar="FILE", help="the net's weights as .safetensors")
    report.add_argument("-o", "--output", type=Path, default=Path("report.html"), help="default: report.html")
    words = "about how long; more time means more images (default: 1)"
    report.add_argument("--minutes", type=float, default=1.0, help=words)


def _certifying(certify: argparse.ArgumentParser) -> None:
    words = "whose code to compare with (default: where published records last changed)"
    certify.add_argument("--since", metavar="COMMIT", help=words)
    words, many = "a test that covers lines no twin ran", dict(action="append", default=[])
    certify.add_argument("--waive", metavar="FILE:FUNCTION=TEST", help=words, **many)
    words = "a kind of measurement that may move by rounding, and how far, relative to its largest number"
    certify.add_argument("--rounding", nargs=2, metavar=("KIND", "BOUND"), help=words, **many)
    words = "also remake the N cheapest full records on both"
    certify.add_argument("--spot", type=arguments.count, default=0, metavar="N", help=words)


def _plan(args: argparse.Namespace) -> list[Experiment]:
    """The experiments of all the chapters that were named."""
    return _planned(args, arguments.parameters(args.given))


def _planned(args: argparse.Namespace, given: dict[str, Any]) -> list[Experiment]:
    """The experiments of these chapters if they are given these parameters."""
    planned: dict[Experiment, None] = {}
    for path in map(chapters.chapter, args.chapter):
        with _cells_of(path, args):
            planned |= dict.fromkeys(chapters.plan(path, args.profile, given))
    return list(planned)


@contextmanager
def _cells_of(path: Path, args: argparse.Namespace) -> Iterator[None]:
    """Whatever the `parameters` and `plan` cells of a chapter raise inside is told in one line."""
    try:
        yield
    except (ValueError, OSError):
        raise
    except Exception as error:
        how = f"--profile {args.profile}{arguments.typed(args.given)}"
        raise ValueError(f"the plan of {path.stem} fails with {how}: {type(error).__name__}: {error}") from error


def _list(_: argparse.Namespace) -> None:
    shelves.show()


def _estimate(args: argparse.Namespace) -> None:
    from .running import estimate  # here: a sweep needs none of it

    start = time.monotonic() - args.began
    with one_thread():  # as every run computes
        told = estimate.estimate(
            _plan(args), fresh=args.fresh, say=lambda words: print(words, file=sys.stderr, flush=True)
        )
        print(told.text(args.workers, start))
    if told.left_out:
        first = next(iter(told.left_out.values()))
        raise ValueError(f"of {len(told.left_out)} runs it cannot be told what they take; the first: {first}")


def _run(args: argparse.Namespace) -> None:
    path = chapters.chapter(args.chapter)
    with _cells_of(path, args):
        known = chapters.defaults(path)
    # a page of the book may have no profile
    given = ({"profile": args.profile} if "profile" in known else {}) | arguments.parameters(args.given)
    parameters.check(path.stem, known, given)
    size = f" at profile {given['profile']}" if "profile" in given else ""
    print(f"{path.stem}{size} is executed, in a Jupyter kernel that starts now", file=sys.stderr, flush=True)
    from .publish.single import execute

    place = environment.project() or Path.cwd()
    output = args.output or place / "_build" / "run" / f"{path.stem}-{args.profile}.ipynb"
    before = output.is_file()
    if answer := execute(path, output, given):
        print(answer)
    if before:
        print("It is in the place of an earlier run's; -o FILE writes another:")
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


def _only_public(profile: str) -> None:
    if profile in parameters.PRIVATE:
        raise ValueError(
            f"records of profile {profile} are never published; name another: --profile night, gpu or paper"
        )


def _publish(args: argparse.Namespace) -> None:
    _only_public(args.profile)
    shelves.publish(_plan(args), _planned(args, {}))


def _unpublish(args: argparse.Namespace) -> None:
    if args.chapter:
        _only_public(args.profile)
    named = {} if args.given else {(chapters.chapter(name), args.profile) for name in args.chapter}
    shelves.unpublish(_plan(args) if args.chapter else None, _of_others(args, named))


def _of_others(args: argparse.Namespace, named: Iterable[tuple[Path, str]]) -> Iterator[Experiment]:
    """What the book and the chapters named plan at profiles that are published, but for those (chapter, profile)."""
    every = dict.fromkeys([*chapters.chapters(), *map(chapters.chapter, args.chapter)])
    for path in every:
        for profile in sweeps.PROFILES:
            if profile not in parameters.PRIVATE and (path, profile) not in named:
                try:
                    yield from chapters.plan(path, profile)
                except ValueError:  # a notebook of one's own that has no such profile
                    if path in chapters.chapters():
                        raise


def _smoke(args: argparse.Namespace) -> None:
    from .running import smoke

    said = smoke.run(args.device or str(environment.device()), lambda words: print(words, flush=True))
    bad = [s for s in said if s.failure]
    print(f"{len(said) - len(bad)} of {len(said)} work, {sum(s.seconds for s in said):.0f} s")
    if bad:
        failed = ", ".join(f"{type(s.experiment).__name__} {s.experiment.key}" for s in bad)
        raise ValueError(f"{len(bad)} of {len(said)} failed: {failed}")


def _pack(args: argparse.Namespace) -> None:
    shelves.pack(args.out, _plan(args) if args.chapter else None, args.since, args.weights)


def _build(args: argparse.Namespace) -> None:
    chapters.folder("the build of the book")
    from .publish import build

    if build.main(["--profile", args.profile, *["--force"] * args.force, *["--archive"] * args.archive]):
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


def _report(args: argparse.Namespace) -> None:
    from . import redundancy
    from .running import doctor

    if lacking := doctor.undrawn():
        raise ValueError(
            f"a report cannot be drawn: {', '.join(lacking)} not here; {doctor.REPORT} in the project's folder"
        )
    from .publish import one_file
    from .redundancy.found import means
    from .report import redundancy as told
    from .report import redundancy_words

    if not args.output.parent.is_dir():
        raise ValueError(f"-o {args.output}: there is no folder {str(args.output.parent)!r}; make it first")
    print("reading the net and its data, and trying which of its units go together", flush=True)
    given = redundancy.given(args.model, args.data, args.weights)
    found = redundancy.report(
        given.model, given.train, given.test, minutes=args.minutes, say=lambda words: print(words, flush=True)
    )
    sections = told.sections(found, _typed_report(args))
    title, words = f"Redundancy of {given.name}", redundancy_words.answer(found)
    one_file.write(
        args.output,
        one_file.page(title, words, redundancy_words.origin(found), sections, redundancy_words.rounded, means),
    )
    print(words)
    print(args.output)


def _typed_report(args: argparse.Namespace) -> str:
    """The command that makes a report again."""
    weights = f" --weights {args.weights}" if args.weights else ""
    return f"python -m pruning_lab report {args.model} --data {args.data}{weights} -o {args.output}"


def _verify(args: argparse.Namespace) -> None:
    from .running import verify

    verify.run(args.minutes, lambda words: print(words, flush=True))


def _doctor(_: argparse.Namespace) -> None:
    from .running import doctor

    doctor.run()


def script() -> int:
    """As `main`, for a process that ends with it."""
    ended = main()
    gc.freeze()  # all goes with the process: the last look through a million objects takes a second or two
    return ended


if __name__ == "__main__":
    sys.exit(script())
