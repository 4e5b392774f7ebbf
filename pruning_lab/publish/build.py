"""Clean chapters -> papermill -> a mirror of the sources -> jupyter-book: `build(profile)`."""

import argparse
import errno
import hashlib
import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from functools import partial
from importlib import metadata
from pathlib import Path

import nbformat
import yaml
from filelock import FileLock

from .. import environment
from ..records import disk
from ..records.disk import DiskFull
from ..running import folders
from ..running.sweeps import PROFILES
from . import beside, tied

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("torch", "torchvision", "numpy", "pandas", "scipy", "scikit-learn", "plotly", "ipykernel", "papermill")
# files of this folder that no chapter reads
NOT_READ = ("build.py", "beside.py", "kernels.py", "tied.py", "sphinx_ext.py", "plotly_mime.py", "figure_rows.py")
CELL_SECONDS = {"smoke": 1800, "laptop": 3600}  # of one cell; the larger profiles may take a night
WORKERS = 4  # at most, unless PRUNING_LAB_WORKERS says more: each takes half a gigabyte
# Dask says so where a folder takes a second
SLOW_DISK = "ignore:Creating scratch directories is taking a surprisingly long time"
PAGES = "pages.json"  # what the built pages were made from
SYSTEM = ("/usr", "/usr/local")  # a Python of the system says nothing of this machine
GONE = (errno.ENOENT, errno.ENOTDIR, errno.ESTALE)  # what a file is that somebody takes away while one looks
ANSI = re.compile(r"(?:\x1b|\\u001b)\[[0-9;]*m")


class BuildError(Exception):
    """The book could not be built; the message says what and where."""


def build(profile: str = "laptop", force: bool = False, parameters: dict | None = None, folder=None) -> Path:
    """Execute the chapters that changed, build the book, return its folder: `<folder>/html`, by default `_build/html`.

    The last good book stays in place until the new one is whole, and for good where nothing changed since.

    Raises:
        BuildError: it could not be built. DiskFull: something did not fit.
    """
    if profile not in PROFILES:
        raise BuildError(f"no profile {profile!r}: it is one of {', '.join(PROFILES)}")
    folder = Path(folder or ROOT / "_build").resolve()
    with _room(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".lock"):
            chapters = execute_all(notebooks(), profile, force, parameters, folder)
            mirror(folder / "src", {path.name: done for path, done in chapters.items()})
            return _pages(folder)


@contextmanager
def _room(folder: Path) -> Iterator[None]:
    """Say that a disk is full in words that help, and leave nothing on it that a build makes anew anyway."""
    with disk.room("the book", folder, folder / PAGES):
        try:
            yield
        except Exception as error:
            if disk.reason(error):
                for made in ("src", "work"):
                    shutil.rmtree(folder / made, ignore_errors=True)
            raise


def notebooks() -> list[Path]:
    """Every notebook of the book, by name."""
    return sorted((ROOT / "book").glob("*.ipynb"))


def execute_all(
    paths: list[Path], profile: str, force: bool, parameters: dict | None, folder: Path
) -> dict[Path, Path]:
    """The executed copies by notebook: chapters side by side, then one by one those that read records or time.

    Raises BuildError that names all that failed, when the others are done; the copies of those stay.
    """
    around, done, chapters, others = surroundings(), {}, [], []
    for path in paths:
        if not force and (copy := _as_before(path, profile, parameters, folder, around)):
            done[path] = copy
        else:
            (chapters if path.name[0].isdigit() else others).append(path)
    failed = {}
    try:
        for several in (chapters, others):
            at_once = min(processes(), len(several)) if several is chapters else 1
            for path, future in _ended(several, profile, parameters, folder, at_once):
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
    kernels = Kernels(_kernel_environment(at_once))
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
    return {"TQDM_DISABLE": "1", "PYTHONWARNINGS": quiet} | (shared if at_once > 1 else {})


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
    seconds = nbformat.read(done, as_version=4).metadata["pruning_lab"]["seconds"]
    _say(f"{path.stem}: as executed before ({seconds:.0f} s then)")
    return done


def _say(text: str) -> None:
    print(f"  {text}\n", end="", flush=True)  # in one piece: other threads write too


def execute(
    path: Path, profile: str, force: bool = False, parameters: dict | None = None, folder=None, kernels=None
) -> Path:
    """The executed copy of one notebook, by papermill or from last time; lines say which and how long it took.

    kernels: `kernels.Kernels` that others run in too; None: one of its own.
    """
    folder = Path(folder or ROOT / "_build")
    if not force and (done := _as_before(path, profile, parameters, folder, surroundings())):
        return done
    _say(f"{path.stem}: executing, profile {profile}")
    start = time.perf_counter()
    part = folder / "executed" / f".{path.stem}-{profile}.ipynb"
    part.parent.mkdir(parents=True, exist_ok=True)
    chosen = {"profile": profile, **(parameters or {})} if has_parameters(path) else {}
    try:
        book = _papermill(path, part, chosen, CELL_SECONDS.get(profile), kernels)
        seconds = time.perf_counter() - start
        book.metadata["pruning_lab"] = {
            "profile": profile,
            "parameters": parameters or {},
            "seconds": round(seconds, 1),
        }
        nbformat.write(book, part)
    except BaseException:
        part.unlink(missing_ok=True)
        _say(f"{path.stem}: failed after {time.perf_counter() - start:.0f} s")
        raise
    for old in part.parent.glob(f"{path.stem}-{profile}-*.ipynb"):
        old.unlink(missing_ok=True)
    _say(f"{path.stem}: executed in {seconds:.0f} s")
    return part.replace(executed(path, profile, parameters, folder))  # only a finished run gets the final name


def executed(path: Path, profile: str, parameters: dict | None = None, folder=None, around: dict | None = None) -> Path:
    """Where the executed copy lies that is right as things stand, there or not; around: `surroundings()`."""
    name = f"{path.stem}-{profile}-{key(path, {'profile': profile, **(parameters or {})}, around)}.ipynb"
    return Path(folder or ROOT / "_build") / "executed" / name


def has_parameters(path: Path) -> bool:
    """Whether the notebook has a cell tagged `parameters`; the landing page may have none."""
    return any("parameters" in cell.metadata.get("tags", []) for cell in nbformat.read(path, as_version=4).cells)


def _papermill(
    path: Path, part: Path, parameters: dict, cell_seconds: int | None, kernels=None
) -> nbformat.NotebookNode:
    """Run the notebook at the root of the project and return it without the paths and times of this machine."""
    from nbclient.exceptions import CellTimeoutError, DeadKernelError
    from papermill import PapermillExecutionError

    from .kernels import Kernels

    kernels = kernels or Kernels(_kernel_environment(1))
    try:
        kernels.execute(path, part, parameters, ROOT, cell_seconds)
    except PapermillExecutionError as error:
        _raise_full(error.ename, error.evalue, "\n".join(error.traceback))
        raise BuildError(_failure(path, error)) from None
    except (CellTimeoutError, RuntimeError) as error:
        # a kernel that does not start is a plain RuntimeError
        if type(error) not in (CellTimeoutError, DeadKernelError, RuntimeError):
            raise
        raise BuildError(f"{path.name}: {type(error).__name__}: {error}") from None
    book = nbformat.read(part, as_version=4)
    book.metadata.pop("papermill", None)
    for cell in book.cells:
        cell.metadata.pop("papermill", None)
        cell.metadata.pop("execution", None)
        if "injected-parameters" in cell.metadata.get("tags", []):
            same = parameters == {"profile": "laptop"}  # as the parameters cell above it says
            cell.metadata["tags"].append("remove-cell" if same else "hide-input")
    return book


def _raise_full(name: str, said: str, trace: str = "") -> None:
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


def key(path: Path, parameters: dict, around: dict | None = None) -> str:
    """A hash of all that an executed notebook depends on: its bytes, its parameters, and `surroundings()`, which may be
    given.
    """
    digest = hashlib.sha256(path.read_bytes())
    digest.update(
        json.dumps([parameters, surroundings() if around is None else around], sort_keys=True, default=str).encode()
    )
    return digest.hexdigest()[:16]


def surroundings() -> dict:
    """The library's source, plug-ins, versions, settings, records and data files, by digest or date."""
    source = [path for path in _below(ROOT / "pruning_lab", ".py") if path.name not in NOT_READ]
    source += _below(ROOT / "pruning_lab" / "widgets" / "static")  # each widget's state holds its script
    plugins = os.environ.get("PRUNING_LAB_PLUGINS", "").replace(",", " ").split()
    names = {dist.metadata["Name"].lower(): dist.version for dist in metadata.distributions()}
    settings = [path for folder in (ROOT, ROOT / "book") for path in _in(folder) if path.suffix == ".yml"]
    local = [
        path
        for path in _below(environment.local_shelf(), "record.json", deep=2)
        if not path.parent.name.startswith(".")
    ]
    data = _below(environment.data_root(), ".npz", deep=1)
    return {
        "source": _bytes_of(source + settings),
        "plugins": {name: _bytes_of(_source_of(name)) for name in plugins},
        "versions": [sys.version, *(f"{name} {names.get(name)}" for name in PACKAGES)],
        "device": os.environ.get("PRUNING_LAB_DEVICE", ""),
        # certificates too: they take marks off pages
        "records": _bytes_of(_below(environment.published_shelf(), ".json")),
        "files": [[str(path), size, date] for path, size, date in _dated([*local, *data])],
    }


def _in(folder: Path) -> list[Path]:
    """What lies in a folder, in order; nothing where it is not there."""
    _, _, names = next(os.walk(folder), ("", [], []))
    return sorted(Path(folder, name) for name in names)


def _below(folder: Path, end: str = "", deep: int | None = None) -> list[Path]:
    """The files below a folder, `deep` folders down, whose names end so, in order. One that goes meanwhile is empty."""
    found = []
    for where, inside, names in os.walk(folder):  # passes over what it cannot read
        depth = len(Path(where).relative_to(folder).parts)
        if depth == deep:
            inside.clear()
        found += [Path(where, name) for name in names if name.endswith(end) and deep in (None, depth)]
    return sorted(found)


@contextmanager
def _unless_gone() -> Iterator[None]:
    """A file that goes while one looks is not there."""
    try:
        yield
    except OSError as error:
        if error.errno not in GONE:
            raise


def _dated(paths: Iterable[Path]) -> Iterator[tuple[Path, int, int]]:
    """Each file with its size in bytes and its time in nanoseconds."""
    for path in sorted(paths):
        with _unless_gone():
            seen = path.stat()
            yield path, seen.st_size, seen.st_mtime_ns


def _bytes_of(paths: Iterable[Path]) -> str:
    """A digest of files: their names and what is in them."""
    digest = hashlib.sha256()
    for path in sorted(paths):
        with _unless_gone():
            content = path.read_bytes()
            digest.update(f"{path.name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


def _source_of(module: str) -> list[Path]:
    spec = importlib.util.find_spec(module)
    return [Path(spec.origin)] if spec and spec.origin else []


def mirror(target: Path, executed: dict[str, Path]) -> None:
    """Copy the book's sources to `target` with the executed notebooks in the place of the clean ones."""
    shutil.rmtree(target, ignore_errors=True)
    book = ROOT / "book"
    for path in _below(book):
        place = path.relative_to(book)
        if place.parts[0] != "results" and ".ipynb_checkpoints" not in place.parts and path.name not in executed:
            (target / "book" / place).parent.mkdir(parents=True, exist_ok=True)
            with _unless_gone():
                shutil.copy2(path, target / "book" / place)
    shutil.copy(ROOT / "_toc.yml", target)
    for name, path in executed.items():
        shutil.copy(path, target / "book" / name)
    text = yaml.safe_dump(configuration((ROOT / "_config.yml").read_text(encoding="utf-8")), sort_keys=False)
    (target / "_config.yml").write_text(text, encoding="utf-8")


def configuration(text: str, repository: str | None = None) -> dict:
    """`_config.yml` for the mirror: nothing is executed again; buttons where the repository's address is known."""
    config = yaml.safe_load(text)
    config["execute"]["execute_notebooks"] = "off"
    config["sphinx"]["config"]["lab_root"] = str(ROOT)
    url = repository or os.environ.get("PRUNING_LAB_REPOSITORY") or config["repository"].get("url")
    if url:
        config["repository"]["url"] = url.rstrip("/").removesuffix(".git")
        config["html"] |= dict.fromkeys(("use_repository_button", "use_issues_button", "use_edit_page_button"), True)
        config["launch_buttons"] = {"notebook_interface": "jupyterlab", "binderhub_url": "https://mybinder.org"}
        if "//github.com/" in url:  # Colab opens notebooks from nowhere else
            config["launch_buttons"]["colab_url"] = "https://colab.research.google.com"
    else:
        del config["repository"]
    return config


def _pages(folder: Path) -> Path:
    """The built pages: those of last time, if they were made from the same and nobody touched them, else new ones."""
    html, file = folder / "html", folder / PAGES
    inputs = _inputs(folder / "src")
    with suppress(OSError, ValueError):  # no such file, or half of one
        if json.loads(file.read_text(encoding="utf-8")) == {"from": inputs, "made": _made(html)}:
            _say("pages: as built before")
            return html
    file.unlink(missing_ok=True)
    _html(folder)
    file.write_text(json.dumps({"from": inputs, "made": _made(html)}), encoding="utf-8")
    return html


def _inputs(source: Path) -> str:
    """A digest of all that pages are made from: the mirror of the sources, this package, and every version."""
    mirrored = [[path.relative_to(source).as_posix(), _bytes_of([path])] for path in _below(source)]
    package = _bytes_of(_below(ROOT / "pruning_lab", ".py"))
    versions = sorted(f"{dist.metadata['Name']} {dist.version}" for dist in metadata.distributions())
    return hashlib.sha256(json.dumps([mirrored, package, sys.version, versions]).encode()).hexdigest()


def _made(html: Path) -> str:
    """A digest of the names, sizes and times of built pages."""
    seen = [[path.relative_to(html).as_posix(), size, date] for path, size, date in _dated(_below(html))]
    return hashlib.sha256(json.dumps(seen).encode()).hexdigest()


def _html(folder: Path) -> Path:
    """Run jupyter-book on the mirror, warnings being errors, and put the result in the place of the last book."""
    work, html = folder / "work", folder / "html"
    shutil.rmtree(work, ignore_errors=True)  # Sphinx leaves stale static files behind
    start = time.perf_counter()
    command = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()", "build", str(folder / "src")]
    code, said = _run([*command, "--path-output", str(work), "-W", "-n", "--keep-going"])
    (folder / "sphinx.log").write_text(said, encoding="utf-8")
    if code:
        _raise_full("", said)
        lines = ANSI.sub("", said).splitlines()
        told = [line for line in lines if "WARNING" in line or "ERROR" in line] or lines[-30:]
        raise BuildError("\n".join(["jupyter-book failed; all of it is in " + str(folder / "sphinx.log"), *told]))
    made = work / "_build" / "html"
    leaks = machine_paths(made)
    if leaks:
        raise BuildError("paths of this machine in the built pages:\n" + "\n".join(leaks))
    shutil.rmtree(html, ignore_errors=True)
    made.replace(html)
    _say(f"pages: built in {time.perf_counter() - start:.0f} s")
    return html


def _run(command: list[str]) -> tuple[int, str]:
    """Exit code and output of a command at the root of the project; it ends with this process, and with the wait."""
    pipes = dict(stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    with subprocess.Popen(
        tied.command(command), cwd=ROOT, start_new_session=True, text=True, errors="replace", **pipes
    ) as running:
        try:
            said, _ = running.communicate()
        except BaseException:
            os.killpg(running.pid, signal.SIGKILL)
            raise
    return running.returncode, said


def machine_paths(html: Path) -> list[str]:
    """The built pages, notebooks, scripts and rows that hold the project's, the environment's or the user's folder."""
    folders = {str(ROOT), sys.prefix} - {"/", *SYSTEM}
    with suppress(RuntimeError):  # a user without one
        folders |= {f"{Path.home()}/"} - {"//"}
    found = []
    for path in _below(html):
        if path.suffix not in (".html", ".ipynb", ".js", ".csv", ".txt", ".json", ".md") or "vendor" in path.parts:
            continue
        text = ANSI.sub("", path.read_text(encoding="utf-8", errors="replace"))
        found += [f"{path.relative_to(html)}: {folder}" for folder in sorted(folders) if _whole(folder).search(text)]
    return found


def _whole(folder: str) -> re.Pattern:
    """Finds a folder where it is or begins a path of its own, not where it is part of another or of an address."""
    before = r"(?:(?<=file://)|(?<=\\n)|(?<=\\r)|(?<=\\t)|(?<![\w./~$}%<-]))"  # line ends as JSON writes them
    return re.compile(before + re.escape(folder) + ("" if folder.endswith("/") else r"(?![\w-]|\.\w)"))


@contextmanager
def _workers(profile: str) -> Iterator[None]:
    """Chapters sweep with a worker a core, unless the environment says otherwise; not at smoke, too short for one."""
    if profile == "smoke" or "PRUNING_LAB_WORKERS" in os.environ:
        yield
        return
    os.environ["PRUNING_LAB_WORKERS"] = str(min(WORKERS, os.cpu_count() or 1))  # kernels inherit it
    try:
        yield
    finally:
        del os.environ["PRUNING_LAB_WORKERS"]


def main(arguments: list[str] | None = None) -> int:
    """`python -m pruning_lab.publish.build`: 0, or 1 with the reason on standard error."""
    parser = argparse.ArgumentParser(prog="python -m pruning_lab.publish.build", description="Build the book.")
    parser.add_argument("--profile", default=os.environ.get("PROFILE") or "laptop", help=", ".join(PROFILES))
    parser.add_argument("--force", action="store_true", help="execute chapters again that have not changed")
    chosen = parser.parse_args(arguments)
    try:
        folders.settle("PRUNING_LAB_STORE")
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    start = time.perf_counter()
    print(f"Building the book, profile {chosen.profile}", flush=True)
    try:
        with _workers(chosen.profile):
            html = build(chosen.profile, chosen.force)
    except DiskFull as error:
        print(error, file=sys.stderr)
        return 1
    except BuildError as error:
        print(f"\n{error}\n\nThe last good book, if there was one, is still in place.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped. What was executed stays; the same command goes on from there.", file=sys.stderr)
        return 130
    print(f"Done in {time.perf_counter() - start:.0f} s. Open {html / 'index.html'} or run `make serve`.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
