"""Notebooks -> executed copies by papermill, several at a time; what was executed before and holds still is kept."""

import os
import re
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from functools import partial
from pathlib import Path

import nbformat

from .. import environment
from ..records import disk
from ..records.disk import DiskFull
from ..running import prose, verify
from . import beside, inputs
from .inputs import key, surroundings

CELL_SECONDS = {"smoke": 1800, "laptop": 3600}  # of one cell; the larger profiles may take a night
WORKERS = 4  # at most, unless PRUNING_LAB_WORKERS says more: each takes half a gigabyte
# Dask says so where a folder takes a second
SLOW_DISK = "ignore:Creating scratch directories is taking a surprisingly long time"
EXECUTED = "PRUNING_LAB_EXECUTED"  # tells a kernel where the executed chapters of its build lie
VERDICTS = "judged"  # what a chapter hands to the pages that show all claims
ANSI = re.compile(r"(?:\x1b|\\u001b)\[[0-9;]*m")


class BuildError(Exception):
    """The book could not be built; the message says what and where."""


def execute_all(
    paths: list[Path], profile: str, force: bool, parameters: dict | None, folder: Path
) -> dict[Path, Path]:
    """The executed copies by notebook: chapters side by side, then one by one those that read what chapters left.

    Raises BuildError that names all that failed, when the others are done; the copies of those stay.
    """
    done, failed = {}, {}
    chapters = [path for path in paths if is_chapter(path)]
    try:
        for several in (chapters, [path for path in paths if not is_chapter(path)]):
            around = surroundings()  # of the pages that read records: with those that chapters have just stored
            kept = {} if force else {path: _as_before(path, profile, parameters, folder, around) for path in several}
            done |= {path: copy for path, copy in kept.items() if copy}
            due = [path for path in several if path not in done]
            at_once = min(processes(), len(due)) if several is chapters else 1
            for path, future in _ended(due, profile, parameters, folder, at_once):
                if error := future.exception():
                    failed[path] = error
                else:
                    done[path] = future.result()
    finally:
        around = surroundings()  # chapters stored records: what was executed here counts as fresh
        done = {path: copy.replace(executed(path, profile, parameters, folder, around)) for path, copy in done.items()}
    _raise(failed)
    return {path: done[path] for path in paths}


def _ended(
    paths: list[Path], profile: str, parameters: dict | None, folder: Path, at_once: int
) -> Iterator[tuple[Path, Future]]:
    """What becomes of each notebook, as they end; at most so many at a time."""
    if not paths:
        return
    from .kernels import Kernels  # papermill takes a second to import

    plans = {path: beside.planned(path, profile, parameters) for path in paths} if at_once > 1 else {}
    kernels = Kernels(_kernel_environment(at_once) | {EXECUTED: str(folder / "executed")})
    work = partial(
        kernels.execute_in_thread,
        execute,
        profile=profile,
        force=True,
        parameters=parameters,
        folder=folder,
        kernels=kernels,
    )
    yield from beside.run(paths, work, at_once, plans, kernels.stop)


def processes() -> int:
    """How many processes execute chapters: PRUNING_LAB_WORKERS, else one a core and at most WORKERS."""
    return environment.workers() if os.environ.get("PRUNING_LAB_WORKERS") else min(WORKERS, os.cpu_count() or 1)


def _kernel_environment(at_once: int) -> dict[str, str]:
    """Chapters side by side share the cores: each sweeps with its part of the workers, of one thread each."""
    quiet = ",".join(filter(None, (os.environ.get("PYTHONWARNINGS"), SLOW_DISK)))  # any warning on a page is an error
    shared = {
        "PRUNING_LAB_WORKERS": str(max(1, processes() // at_once)),
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1"),
    }
    here = [os.environ.get("PYTHONPATH"), os.getcwd()] if environment.plugins() else []  # kernels run elsewhere
    found = {"PYTHONPATH": os.pathsep.join(filter(None, here))} if here else {}
    return {"TQDM_DISABLE": "1", "PYTHONWARNINGS": quiet} | found | (shared if at_once > 1 else {})


def _raise(failed: Mapping[Path, BaseException]) -> None:
    """All that failed as one BuildError; what nobody foresaw as it is."""
    for error in failed.values():
        if not isinstance(error, BuildError):
            raise error
    if failed:
        raise BuildError("\n\n".join(str(error) for _, error in sorted(failed.items())))


def _as_before(path: Path, profile: str, parameters: dict | None, folder: Path, around: dict) -> Path | None:
    """The executed copy from last time, if it is right still; a line says so."""
    done = executed(path, profile, parameters, folder, around)
    if not done.exists():
        return None
    try:
        book = nbformat.read(done, as_version=4)
        seconds = float(book.metadata["pruning_lab"]["seconds"])
        _leave_verdicts(book, _verdicts(done.parent, path, profile))  # in the place of half a file, if that is there
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError, nbformat.ValidationError):
        say(f"{path.stem}: the executed copy is broken")
        return None
    say(f"{path.stem}: as executed before ({seconds:.0f} s then)")
    return done


def say(text: str) -> None:
    """Print a line of a build's progress."""
    print(f"  {text}\n", end="", flush=True)  # in one piece: other threads write too


def execute(
    path: Path, profile: str, force: bool = False, parameters: dict | None = None, folder=None, kernels=None
) -> Path:
    """The executed copy of one notebook, by papermill or from last time; lines say which and how long it took.

    kernels: `kernels.Kernels` that others run in too; None: one of its own.
    """
    folder = Path(folder or inputs.ROOT / "_build")
    if not force and (done := _as_before(path, profile, parameters, folder, surroundings())):
        return done
    say(f"{path.stem}: executing, profile {profile}")
    start = time.perf_counter()
    part = folder / "executed" / f".{path.stem}-{profile}.ipynb"
    part.parent.mkdir(parents=True, exist_ok=True)
    chosen = {"profile": profile, **(parameters or {})} if has_parameters(path) else {}
    try:
        book = run_by_papermill(path, part, chosen, CELL_SECONDS.get(profile), kernels)
        seconds = time.perf_counter() - start
        book.metadata["pruning_lab"] = {
            "profile": profile,
            "parameters": parameters or {},
            "seconds": round(seconds, 1),
        }
        nbformat.write(book, part)
        _leave_verdicts(book, _verdicts(part.parent, path, profile))
    except BaseException:
        part.unlink(missing_ok=True)
        say(f"{path.stem}: failed after {time.perf_counter() - start:.0f} s")
        raise
    for old in part.parent.glob(f"{path.stem}-{profile}-*.ipynb"):
        old.unlink(missing_ok=True)
    say(f"{path.stem}: executed in {seconds:.0f} s")
    return part.replace(executed(path, profile, parameters, folder))  # only a finished run gets the final name


def _verdicts(place: Path, path: Path, profile: str) -> Path:
    return place / f"{path.stem}-{profile}.verdicts.json"


def _leave_verdicts(book: nbformat.NotebookNode, file: Path) -> None:
    """Put the verdicts that a notebook handed on beside it; nothing stays there of one that has none."""
    text = prose.said(book).get(VERDICTS)
    if text:
        file.write_text(text, encoding="utf-8")
    else:
        file.unlink(missing_ok=True)


def is_chapter(path: Path) -> bool:
    """Whether a notebook is a chapter; the other pages read what chapters store and hand on."""
    return path.name[0].isdigit()


def executed(path: Path, profile: str, parameters: dict | None = None, folder=None, around: dict | None = None) -> Path:
    """Where the executed copy lies that is right as things stand, there or not; around: `surroundings()`."""
    place = Path(folder or inputs.ROOT / "_build") / "executed"
    around = surroundings() if around is None else around
    if not is_chapter(path):
        around = around | {"verdicts": inputs.bytes_of(place.glob(f"*-{profile}.verdicts.json"))}
        around |= {"verified": inputs.bytes_of([verify.file()])}  # which one page shows
    return place / f"{path.stem}-{profile}-{key(path, {'profile': profile, **(parameters or {})}, around)}.ipynb"


def has_parameters(path: Path) -> bool:
    """Whether the notebook has a cell tagged `parameters`; the landing page may have none."""
    return any("parameters" in cell.metadata.get("tags", []) for cell in nbformat.read(path, as_version=4).cells)


def run_by_papermill(
    path: Path, part: Path, parameters: dict, cell_seconds: int | None, kernels=None
) -> nbformat.NotebookNode:
    """Run the notebook at the root of the project and return it without the paths and times of this machine."""
    from nbclient.exceptions import CellTimeoutError, DeadKernelError
    from papermill import PapermillExecutionError

    from .kernels import Kernels

    kernels = kernels or Kernels(_kernel_environment(1) | {EXECUTED: str(part.parent)})
    try:
        kernels.execute(path, part, parameters, inputs.ROOT, cell_seconds)
    except PapermillExecutionError as error:
        raise_full(error.ename, error.evalue, "\n".join(error.traceback))
        raise BuildError(_failure(path, error)) from None
    except (CellTimeoutError, RuntimeError) as error:
        # a kernel that does not start is a plain RuntimeError
        if type(error) not in (CellTimeoutError, DeadKernelError, RuntimeError):
            raise
        raise BuildError(f"{path.name}: {type(error).__name__}: {error}") from None
    book = nbformat.read(part, as_version=4)
    book.metadata.pop("papermill", None)
    removed = any({"parameters", "remove-cell"} <= set(cell.metadata.get("tags", [])) for cell in book.cells)
    for cell in book.cells:
        cell.metadata.pop("papermill", None)
        cell.metadata.pop("execution", None)
        if "injected-parameters" in cell.metadata.get("tags", []):
            same = removed or parameters == {"profile": "laptop"}  # as the parameters cell above it says
            cell.metadata["tags"].append("remove-cell" if same else "hide-input")
            if "id" in cell:
                cell["id"] = "injected-parameters"  # papermill draws one: the same book is the same bytes
    return book


def raise_full(name: str, said: str, trace: str = "") -> None:
    """Raise what a process says that met a full disk; nothing where it met something else."""
    if name == DiskFull.__name__:  # of the store: a sentence that says what to do
        raise DiskFull(ANSI.sub("", said))
    for code in disk.FULL:
        if any(sign in said + trace for sign in (f"[Errno {code}]", f"(os error {code})", os.strerror(code))):
            raise OSError(code, os.strerror(code))


def _failure(path: Path, error) -> str:
    """What failed in which cell: its source, the error, the end of the traceback."""
    trace = ANSI.sub("", "\n".join(error.traceback)).splitlines()
    rule = "-" * 80
    return "\n".join(
        [
            f"{path.name}, cell {error.cell_index + 1}, failed:",
            rule,
            error.source.rstrip(),
            rule,
            *trace[-25:],
            rule,
            f"{error.ename}: {ANSI.sub('', error.evalue)}",
        ]
    )
