"""Clean chapters -> papermill -> a mirror of the sources -> jupyter-book: `build(profile)`."""

import argparse
import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from ..records import disk
from ..records.disk import DiskFull
from ..running import chapters, folders
from ..running.sweeps import PROFILES
from . import archive, inputs, pages
from .executing import WORKERS, BuildError, execute_all


def build(profile: str = "laptop", force: bool = False, parameters: dict | None = None, folder=None) -> Path:
    """Execute the chapters that changed, build the book, return its folder: `<folder>/html`, by default `_build/html`.

    The last good book stays in place until the new one is whole, and for good where nothing changed since.

    Raises:
        BuildError: it could not be built. DiskFull: something did not fit.
    """
    if profile not in PROFILES:
        raise BuildError(f"no profile {profile!r}: it is one of {', '.join(PROFILES)}")
    folder = Path(folder or inputs.ROOT / "_build").resolve()
    with _room(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".lock"):
            chapters = execute_all(notebooks(), profile, force, parameters, folder)
            pages.mirror(folder / "src", {path.name: done for path, done in chapters.items()})
            return pages.built(folder)


@contextmanager
def _room(folder: Path) -> Iterator[None]:
    """Say that a disk is full in words that help, and leave nothing on it that a build makes anew anyway."""
    with disk.room("the book", folder, folder / pages.PAGES):
        try:
            yield
        except Exception as error:
            if disk.reason(error):
                for made in ("src", "work"):
                    shutil.rmtree(folder / made, ignore_errors=True)
            raise


def notebooks() -> list[Path]:
    """Every notebook of the book, by name."""
    return sorted((inputs.ROOT / "book").glob("*.ipynb"))


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
    parser.add_argument("--archive", action="store_true", help="pack it too, into one file that opens offline")
    chosen = parser.parse_args(arguments)
    try:
        chapters.folder("a build")
        folders.settle("PRUNING_LAB_STORE")
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    start = time.perf_counter()
    print(f"Building the book, profile {chosen.profile}", flush=True)
    try:
        with _workers(chosen.profile):
            html = build(chosen.profile, chosen.force)
        packed = _packed(html) if chosen.archive else None
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
    if packed:
        print(f"Packed into {packed} ({packed.stat().st_size / 1e6:.0f} MB); unpacked, its index.html opens by itself.")
    return 0


def _packed(html: Path) -> Path:
    with _room(html.parent):
        return archive.write(html, html.parent)


if __name__ == "__main__":
    sys.exit(main())
