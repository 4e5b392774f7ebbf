"""What of the library and the book will work on this machine, a line each, and what to install for the rest."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import sys
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

import torch

from .. import data, environment
from ..records import provenance
from . import chapters, folders

PYTHONS = ((3, 11), (3, 14))  # from, and below
ROOM = 2_000_000_000  # bytes on the store's disk: nets, checkpoints, a book
MEMORY = 2_000_000_000  # bytes of the machine: what the chapters at `laptop` take
SETS = ("mnist", "cifar10")  # that published records were made on
DOWNLOADS = "data sets to download"
PARTS = {  # what for -> the packages as Python imports them, and what brings them
    "the book": (("jupyter_book", "myst_nb", "plotly", "anywidget", "ipywidgets", "sphinxcontrib.bibtex"),
                 "pip install '.[book]'"),
    "chapters by papermill": (("papermill", "ipykernel", "plotly"), "pip install '.[book]'"),
    DOWNLOADS: (("torchvision",), "pip install '.[data]'"),
    "clusters": (("distributed",), "pip install '.[cluster]'"),
    "JupyterLab": (("jupyterlab",), "pip install jupyterlab"),
    "tests": (("pytest", "xdist", "hypothesis", "ruff"), "pip install '.[test]'"),
}  # fmt: skip
REPORT = "pip install '.[report]'"
HERE = ("pip install '.", "pip install .")  # begin what is installed from the project itself
WHERE = "pip installs . and '.[...]' where it is called: in the project's folder"
DRAWN = ("plotly", "anywidget", "yaml")  # what a report is drawn and written with; yaml: of PyYAML


class Line(NamedTuple):
    """Whether something works, whether nothing goes without it, what it is, and what there is or what to do."""

    works: bool
    essential: bool
    what: str
    words: str

    def __str__(self) -> str:
        sign = "ok" if self.works else "MISSING" if self.essential else "without"
        return f"{sign:8} {self.what:22} {self.words}"


def lines() -> Iterator[Line]:
    """All that is looked at, in the order in which it is needed."""
    yield python()
    yield packages()
    yield device()
    yield memory()
    yield from writable()
    yield disk()
    yield from (image_set(name) for name in SETS)
    yield book()
    yield report()
    yield from (downloads(line) if line.what == DOWNLOADS else line
                for line in (part(what, *needs) for what, needs in PARTS.items()))  # fmt: skip
    yield browser()


def python() -> Line:
    """The interpreter."""
    low, high = PYTHONS
    works = low <= sys.version_info[:2] < high
    wanted = "" if works else f"; expected {low[0]}.{low[1]} or later, below {high[0]}.{high[1]}: install one of these"
    return Line(works, True, "Python", f"{platform.python_version()} on {platform.system()}{wanted}")


def packages() -> Line:
    """What the library itself computes with."""
    names = ("torch", "numpy", "pandas", "scikit-learn", "safetensors", "filelock", "networkx")
    found = {name: _version(name) for name in names}
    lacking = [name for name, there in found.items() if not there]
    words = f"{', '.join(lacking)} are not here: pip install ." if lacking else _listed(found)
    return Line(not lacking, True, "packages", words)


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def _listed(found: dict[str, str]) -> str:
    return ", ".join(f"{name} {there}" for name, there in found.items())


def device() -> Line:
    """What computes."""
    try:
        seen = provenance.device()
    except ValueError as error:
        return Line(False, True, "device", str(error))
    here = environment.device()
    more = f", {seen['cores']} cores, instructions {seen['instructions']}"
    if here.type == "cuda":
        more = f", {torch.cuda.get_device_properties(here).total_memory / 1e9:.0f} GB"
    hint = "" if here.type != "cpu" else "; profiles gpu and paper want a GPU"
    return Line(True, True, "device", f"{here.type}: {seen['name']}{more}{hint}")


def memory() -> Line:
    """What the machine has in all."""
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return Line(True, False, "memory", "the system does not say how much there is")
    few = "" if total >= MEMORY else f"; chapters take up to {MEMORY / 1e9:.0f} GB: run one at a time"
    return Line(not few, False, "memory", f"{total / 1e9:.1f} GB{few}")


def writable() -> Iterator[Line]:
    """Whether records can be stored, and published."""
    for setting, what in (("PRUNING_LAB_STORE", "store"), ("PRUNING_LAB_RESULTS", "published shelf")):
        essential = what == "store"
        try:
            folders.settle(setting)
        except ValueError as error:
            yield Line(False, essential, what, str(error))
            continue
        where = environment.local_shelf() if what == "store" else environment.published_shelf()
        yield Line(True, essential, what, f"{where} can be written to; {setting} names another folder")


def disk() -> Line:
    """What is free where records are stored."""
    try:
        free = shutil.disk_usage(_nearest(environment.local_shelf())).free
    except (OSError, ValueError) as error:
        return Line(False, False, "free disk", f"it cannot be told: {error}")
    few = "" if free >= ROOM else f"; a book and its nets take up to {ROOM / 1e9:.0f} GB: free some, or name another"
    return Line(not few, False, "free disk", f"{free / 1e9:.1f} GB{few}")


def _nearest(place: Path) -> Path:
    """A folder, or the nearest above it that is there."""
    return next(path for path in (place, *place.parents) if path.is_dir())


def image_set(name: str) -> Line:
    """A set of images that the published records were made on."""
    try:
        here = all(data.is_here(name, half) for half in ("train", "test"))
    except (ValueError, OSError) as error:
        return Line(False, False, name, str(error))
    how = "it is downloaded when it is first asked for, if torchvision and a network are here; or put train.npz and"
    return Line(here, False, name, "here" if here else f"{how} test.npz into {name}/ of PRUNING_LAB_DATA")


def book() -> Line:
    """The chapters, claims and published records."""
    try:
        chapters.folder("a chapter")
    except ValueError as error:
        return Line(False, False, "chapters and claims", str(error))
    return Line(True, False, "chapters and claims", "here")


def part(what: str, names: Sequence[str], how: str) -> Line:
    """What a part of the project needs beside the library."""
    lacking = [name for name in names if not _found(name)]
    return Line(not lacking, False, what, f"{', '.join(lacking)} not here: {how}" if lacking else "here")


def downloads(line: Line) -> Line:
    """The same of torchvision, which may be here and not fit the torch beside it."""
    if not line.works:
        return line
    try:
        import torchvision  # noqa: F401
    except (RuntimeError, ImportError, OSError) as error:
        how = f"install both from one index: pip install --force-reinstall {' '.join(_pair(torch.__version__))}"
        why = " ".join(str(error).split())[:80]
        words = f"torchvision does not fit this torch ({why}); the library gets by, code of your own may not: {how}"
        return line._replace(works=False, words=words)
    return line


def _pair(torch_s: str) -> tuple[str, str]:
    """What pip is asked for: this torch, and the torchvision that is made with it (0.15 with 2.0, 0.16 with 2.1)."""
    major, minor, *_ = torch_s.split("+")[0].split(".")
    beside = f"torchvision==0.{int(minor) + 15}.*" if major == "2" and minor.isdigit() else "torchvision"
    return f"torch=={torch_s.split('+')[0]}", f"'{beside}'"


def undrawn() -> list[str]:
    """The packages without which no report can be drawn and that are not here."""
    return [name for name in DRAWN if not _found(name)]


def report() -> Line:
    """What the report of a reader's own net needs, and which nets it can take apart with what is here."""
    lacking = undrawn()
    if not _found("torch_pruning"):
        lacking.append("torch_pruning")
    if not lacking:
        words = f"here, with torch-pruning {_version('torch-pruning')}: branches, groups and attention heads, too"
    elif lacking == ["torch_pruning"]:
        words = f"torch_pruning not here: plain nets only, layers that others are tied to are kept; {REPORT}"
    else:
        words = f"{', '.join(lacking)} not here: there is no report; {REPORT}"
    return Line(not lacking, False, "report of your net", words)


def _found(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False


def browser() -> Line:
    """What tests of pages are opened in."""
    lacking = [] if _found("playwright") else ["playwright (pip install playwright)"]
    lacking += [] if shutil.which("chromium") else ["chromium on the PATH"]
    words = f"{' and '.join(lacking)} not here; only tests need them" if lacking else "here"
    return Line(not lacking, False, "tests of pages", words)


def run() -> None:
    """Print the lines. ValueError: something essential is missing."""
    found = []
    for line in lines():
        found.append(line)
        print(line, flush=True)
    if any(begin in line.words for line in found for begin in HERE):
        print(WHERE)
    if bad := [line.what for line in found if line.essential and not line.works]:
        raise ValueError(f"nothing can be computed here before this is mended: {', '.join(bad)}")
    optional = [line for line in found if not line.essential]
    idle = sum(not line.works for line in optional)
    told = f"{idle} of {len(optional)} optional parts are missing"
    print(f"the library works here; {told}" if idle else "all of it works here")
