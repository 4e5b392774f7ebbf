"""What an executed notebook and the pages depend on: files by their bytes or dates, versions, settings."""

import errno
import hashlib
import importlib.util
import json
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path

from .. import environment
from ..running import verify

ROOT = (environment.project() or Path(__file__).parents[2]).resolve()
PACKAGES = ("torch", "torchvision", "numpy", "pandas", "scipy", "scikit-learn", "plotly", "ipykernel", "papermill")
GONE = (errno.ENOENT, errno.ENOTDIR, errno.ESTALE)  # what a file is that somebody takes away while one looks


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
    # no chapter reads this folder
    source = [path for path in below(ROOT / "pruning_lab", ".py") if path.parent.name != "publish"]
    source += below(ROOT / "pruning_lab" / "widgets" / "static")  # each widget's state holds its script
    plugins = os.environ.get("PRUNING_LAB_PLUGINS", "").replace(",", " ").split()
    names = {dist.metadata["Name"].lower(): dist.version for dist in metadata.distributions()}
    settings = [path for folder in (ROOT, ROOT / "book") for path in _in(folder) if path.suffix == ".yml"]
    local = [
        path for path in below(environment.local_shelf(), "record.json", deep=2) if not path.parent.name.startswith(".")
    ]
    data = below(environment.data_root(), ".npz", deep=1)
    return {
        "source": bytes_of(source + settings),
        "plugins": {name: bytes_of(_source_of(name)) for name in plugins},
        "versions": [sys.version, *(f"{name} {names.get(name)}" for name in PACKAGES)],
        "device": os.environ.get("PRUNING_LAB_DEVICE", ""),
        # certificates too: they take marks off pages
        "records": bytes_of(
            path for path in below(environment.published_shelf(), ".json") if path.name != verify.file().name
        ),
        "files": [[str(path), size, date] for path, size, date in dated([*local, *data])],
    }


def _in(folder: Path) -> list[Path]:
    """What lies in a folder, in order; nothing where it is not there."""
    _, _, names = next(os.walk(folder), ("", [], []))
    return sorted(Path(folder, name) for name in names)


def below(folder: Path, end: str = "", deep: int | None = None) -> list[Path]:
    """The files below a folder, `deep` folders down, whose names end so, in order. One that goes meanwhile is empty."""
    found = []
    for where, inside, names in os.walk(folder):  # passes over what it cannot read
        depth = len(Path(where).relative_to(folder).parts)
        if depth == deep:
            inside.clear()
        found += [Path(where, name) for name in names if name.endswith(end) and deep in (None, depth)]
    return sorted(found)


@contextmanager
def unless_gone() -> Iterator[None]:
    """A file that goes while one looks is not there."""
    try:
        yield
    except OSError as error:
        if error.errno not in GONE:
            raise


def dated(paths: Iterable[Path]) -> Iterator[tuple[Path, int, int]]:
    """Each file with its size in bytes and its time in nanoseconds."""
    for path in sorted(paths):
        with unless_gone():
            seen = path.stat()
            yield path, seen.st_size, seen.st_mtime_ns


def bytes_of(paths: Iterable[Path]) -> str:
    """A digest of files: their names and what is in them."""
    digest = hashlib.sha256()
    for path in sorted(paths):
        with unless_gone():
            content = path.read_bytes()
            digest.update(f"{path.name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


def _source_of(module: str) -> list[Path]:
    spec = importlib.util.find_spec(module)
    return [Path(spec.origin)] if spec and spec.origin else []
