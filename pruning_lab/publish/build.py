"""Clean chapters -> papermill -> a mirror of the sources -> jupyter-book: `build(profile)`."""

import argparse
import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path

import nbformat
import yaml
from filelock import FileLock

from .. import environment
from ..sweeps import PROFILES

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("torch", "torchvision", "numpy", "pandas", "scipy", "scikit-learn", "plotly", "ipykernel", "papermill")
NOT_READ = ("build.py", "sphinx_ext.py", "plotly_mime.py", "figure_rows.py")  # of the package, by no chapter
CELL_SECONDS = {"smoke": 300, "laptop": 3600}  # of one cell; the larger profiles may take a night
WORKERS = 4  # at most, unless PRUNING_LAB_WORKERS says more: each takes half a gigabyte
SLOW_DISK = "ignore:Creating scratch directories is taking a surprisingly long time"  # Dask, where a folder takes a second
ANSI = re.compile(r"\x1b\[[0-9;]*m")


class BuildError(Exception):
    """The book could not be built; the message says what and where."""


def build(profile: str = "laptop", force: bool = False, parameters: dict | None = None, folder=None) -> Path:
    """Execute the chapters that changed, build the book, return its folder: `<folder>/html`, by default `_build/html`.

    The last good book stays in place until the new one is whole. Raises BuildError.
    """
    if profile not in PROFILES:
        raise BuildError(f"no profile {profile!r}: it is one of {', '.join(PROFILES)}")
    folder = Path(folder or ROOT / "_build").resolve()
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".lock"):
        chapters = {path: execute(path, profile, force, parameters, folder) for path in notebooks()}
        for path, done in chapters.items():  # later chapters stored records: what was executed here counts as fresh
            chapters[path] = done.replace(executed(path, profile, parameters, folder))
        mirror(folder / "src", {path.name: done for path, done in chapters.items()})
        return _html(folder)


def notebooks() -> list[Path]:
    """Every notebook of the book, by name."""
    return sorted((ROOT / "book").glob("*.ipynb"))


def execute(path: Path, profile: str, force: bool = False, parameters: dict | None = None, folder=None) -> Path:
    """The executed copy of one notebook, by papermill or from last time; a line says which and how long it took."""
    done = executed(path, profile, parameters, folder)
    if done.exists() and not force:
        seconds = nbformat.read(done, as_version=4).metadata["pruning_lab"]["seconds"]
        print(f"  {path.stem}: as executed before ({seconds:.0f} s then)", flush=True)
        return done
    print(f"  {path.stem}: executing, profile {profile}", flush=True)
    start = time.perf_counter()
    part = done.with_name(f".{done.name}")
    part.parent.mkdir(parents=True, exist_ok=True)
    chosen = {"profile": profile, **(parameters or {})} if has_parameters(path) else {}
    book = _papermill(path, part, chosen, CELL_SECONDS.get(profile))
    seconds = time.perf_counter() - start
    book.metadata["pruning_lab"] = {"profile": profile, "parameters": parameters or {}, "seconds": round(seconds, 1)}
    nbformat.write(book, part)
    for old in part.parent.glob(f"{path.stem}-{profile}-*.ipynb"):
        old.unlink()
    print(f"  {path.stem}: executed in {seconds:.0f} s", flush=True)
    return part.replace(executed(path, profile, parameters, folder))  # only a finished run gets the final name


def executed(path: Path, profile: str, parameters: dict | None = None, folder=None) -> Path:
    """Where the executed copy lies that is right as things stand now, whether it is there or not."""
    name = f"{path.stem}-{profile}-{key(path, {'profile': profile, **(parameters or {})})}.ipynb"
    return Path(folder or ROOT / "_build") / "executed" / name


def has_parameters(path: Path) -> bool:
    """Whether the notebook has a cell tagged `parameters`; the landing page may have none."""
    return any("parameters" in cell.metadata.get("tags", []) for cell in nbformat.read(path, as_version=4).cells)


def _papermill(path: Path, part: Path, parameters: dict, cell_seconds: int | None) -> nbformat.NotebookNode:
    """Run the notebook at the root of the project and return it without the paths and times of this machine."""
    import papermill
    from nbclient.exceptions import CellTimeoutError, DeadKernelError

    os.environ["TQDM_DISABLE"] = "1"
    if SLOW_DISK not in (quiet := os.environ.get("PYTHONWARNINGS", "")):  # any warning on a page is an error
        os.environ["PYTHONWARNINGS"] = ",".join(filter(None, (quiet, SLOW_DISK)))
    try:
        papermill.execute_notebook(
            path,
            part,
            parameters=parameters,
            cwd=ROOT,
            kernel_name="python3",
            progress_bar=False,
            log_output=False,
            execution_timeout=cell_seconds,
            start_timeout=300,
            extra_arguments=["--log-level=50"],  # the kernel's own
        )
    except papermill.PapermillExecutionError as error:
        part.unlink(missing_ok=True)
        raise BuildError(_failure(path, error)) from None
    except (CellTimeoutError, RuntimeError) as error:
        if type(error) not in (CellTimeoutError, DeadKernelError, RuntimeError):  # a kernel that does not start is a plain one
            raise
        part.unlink(missing_ok=True)
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


def key(path: Path, parameters: dict) -> str:
    """A hash of all that an executed notebook depends on: its bytes, its parameters, and `surroundings()`."""
    digest = hashlib.sha256(path.read_bytes())
    digest.update(json.dumps([parameters, surroundings()], sort_keys=True, default=str).encode())
    return digest.hexdigest()[:16]


def surroundings() -> dict:
    """The library's source, plug-ins, versions, settings, records and data files, by digest or date."""
    source = [path for path in (ROOT / "pruning_lab").rglob("*.py") if path.name not in NOT_READ]
    source += (ROOT / "pruning_lab" / "widgets" / "static").glob("*")  # each widget's state holds its script
    plugins = os.environ.get("PRUNING_LAB_PLUGINS", "").replace(",", " ").split()
    names = {dist.metadata["Name"].lower(): dist.version for dist in metadata.distributions()}
    local, data = environment.local_shelf().glob("*/*/record.json"), environment.data_root().glob("*/*.npz")
    return {
        "source": _bytes_of(source + list(ROOT.glob("*.yml")) + list((ROOT / "book").glob("*.yml"))),
        "plugins": {name: _bytes_of(_source_of(name)) for name in plugins},
        "versions": [sys.version, *(f"{name} {names.get(name)}" for name in PACKAGES)],
        "device": os.environ.get("PRUNING_LAB_DEVICE", ""),
        "records": _bytes_of(environment.published_shelf().rglob("record.json")),
        "files": [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in sorted([*local, *data])],
    }


def _bytes_of(paths) -> str:
    digest = hashlib.sha256()
    for path in sorted(paths):
        digest.update(f"{path.name}\0{path.stat().st_size}\0".encode() + path.read_bytes())
    return digest.hexdigest()


def _source_of(module: str) -> list[Path]:
    spec = importlib.util.find_spec(module)
    return [Path(spec.origin)] if spec and spec.origin else []


def mirror(target: Path, executed: dict[str, Path]) -> None:
    """Copy the book's sources to `target` with the executed notebooks in the place of the clean ones."""
    shutil.rmtree(target, ignore_errors=True)
    leave = shutil.ignore_patterns(".ipynb_checkpoints", "results", *executed)
    shutil.copytree(ROOT / "book", target / "book", ignore=leave)
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


def _html(folder: Path) -> Path:
    """Run jupyter-book on the mirror, warnings being errors, and put the result in the place of the last book."""
    work, html = folder / "work", folder / "html"
    shutil.rmtree(work, ignore_errors=True)  # Sphinx leaves stale static files behind
    start = time.perf_counter()
    command = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()", "build", str(folder / "src")]
    options = ["--path-output", str(work), "-W", "-n", "--keep-going"]
    done = subprocess.run([*command, *options], cwd=ROOT, capture_output=True, text=True)
    (folder / "sphinx.log").write_text(done.stdout + done.stderr, encoding="utf-8")
    if done.returncode:
        lines = ANSI.sub("", done.stdout + done.stderr).splitlines()
        told = [line for line in lines if "WARNING" in line or "ERROR" in line] or lines[-30:]
        raise BuildError("\n".join(["jupyter-book failed; all of it is in " + str(folder / "sphinx.log"), *told]))
    made = work / "_build" / "html"
    leaks = machine_paths(made)
    if leaks:
        raise BuildError("paths of this machine in the built pages:\n" + "\n".join(leaks))
    shutil.rmtree(html, ignore_errors=True)
    made.replace(html)
    print(f"  pages: built in {time.perf_counter() - start:.0f} s", flush=True)
    return html


def machine_paths(html: Path) -> list[str]:
    """The built pages, notebooks, scripts and rows that hold the project's, the environment's or the user's folder."""
    home = str(Path.home())
    folders = {str(ROOT), sys.prefix, *([home + "/"] if len(home) > 1 else [])}
    found = []
    for path in sorted(html.rglob("*")):
        if path.suffix not in (".html", ".ipynb", ".js", ".csv", ".txt", ".json", ".md") or "vendor" in path.parts:
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        found += [f"{path.relative_to(html)}: {folder}" for folder in sorted(folders) if folder in text]
    return found


@contextmanager
def _workers(profile: str) -> Iterator[None]:
    """Chapters sweep with a worker a core, unless the environment says otherwise; not at smoke, whose runs are over before one begins."""
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
    start = time.perf_counter()
    print(f"Building the book, profile {chosen.profile}", flush=True)
    try:
        with _workers(chosen.profile):
            html = build(chosen.profile, chosen.force)
    except BuildError as error:
        print(f"\n{error}\n\nThe last good book, if there was one, is still in place.", file=sys.stderr)
        return 1
    print(f"Done in {time.perf_counter() - start:.0f} s. Open {html / 'index.html'} or run `make serve`.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
