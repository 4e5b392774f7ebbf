"""The built book as one file to pass on: unpacked, it opens by a double click, with no network."""

from __future__ import annotations

import zipfile
from pathlib import Path

from . import inputs

NAME = "pruning_lab-book"  # of the archive, and of the one folder in it
TIME = (1980, 1, 1, 0, 0, 0)  # of every file in it: the first that the format knows
LICENCES = ("LICENSE", "LICENSE-TEXT", "CITATION.cff")


def write(html: Path, folder: Path) -> Path:
    """Pack the built pages into `<folder>/pruning_lab-book.zip`, whole or not at all; the same pages, the same bytes.

    Raises:
        FileNotFoundError: there is no built book.
    """
    if not (html / "index.html").is_file():
        raise FileNotFoundError(f"there is no built book in {html}: build it first (make book)")
    there = {path.relative_to(html).as_posix(): path for path in inputs.below(html)}
    there |= {name: inputs.ROOT / name for name in LICENCES}
    part, file = folder / f".{NAME}.part", folder / f"{NAME}.zip"
    try:
        with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as packed:
            for name in sorted(there):
                about = zipfile.ZipInfo(f"{NAME}/{name}", TIME)
                about.external_attr, about.create_system = 0o644 << 16, 3  # as on Unix, wherever it is made
                packed.writestr(about, there[name].read_bytes(), zipfile.ZIP_DEFLATED, 9)
        return part.replace(file)
    finally:
        part.unlink(missing_ok=True)
