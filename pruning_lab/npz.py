"""Image sets in `.npz` files: what one may hold, read without pickles, and one sentence for whatever is not sound.

Shapes and types are read from the headers of the arrays before any pixel is; of the other half of a set these, its
class names and, where neither half has names, its labels.
"""

from __future__ import annotations

import math
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from zipfile import ZipFile, ZipInfo

import numpy as np

KNOWN = ("images", "labels", "classes", "lossy")  # whatever else a file holds is not read
NAMED = 2**24  # bytes that class names may take
NUMBERED = 10_000  # classes that need no names


@dataclass(frozen=True)
class Raw:
    """Half of an image set as stored."""

    images: np.ndarray = field(repr=False)  # [N, H, W, C] uint8 or float in [0, 1]
    labels: np.ndarray = field(repr=False)  # [N] int64
    classes: tuple[str, ...]
    lossy: np.ndarray = field(repr=False, default_factory=lambda: np.zeros(0, np.int64))
    white: float = 255.0


@dataclass(frozen=True)
class Header:
    """Shape and type of a stored array."""

    shape: tuple[int, ...]
    dtype: np.dtype


def read(file: Path) -> Raw:
    """One half of a set, checked by itself and against the other half where that lies beside it.

    Raises:
        ValueError: names the file that is not sound, and what was expected.
    """
    own, other = headers(file), other_half(file)
    theirs = headers(other) if other.is_file() else None
    if theirs and own["images"].shape[1:] != theirs["images"].shape[1:]:
        raise ValueError(
            f"{file}: images {own['images'].shape}, but those of {other.name} are {theirs['images'].shape}; expected "
            "both halves of a set to agree in height, width and channels: write one of them again"
        )
    arrays = _arrays(file, KNOWN)
    if {name: Header(a.shape, a.dtype) for name, a in arrays.items()} != own:
        raise ValueError(f"{file} was changed while it was read; load it again")
    images, labels = arrays["images"], arrays["labels"]
    classes = _classes(file, arrays, other, theirs)
    _check_values(file, images, labels, classes)
    lossy = _positions(file, arrays.get("lossy", np.zeros(0, np.int64)), len(labels))
    return Raw(images, labels.astype(np.int64), classes, lossy, 255.0 if images.dtype == np.uint8 else 1.0)


def headers(file: Path) -> dict[str, Header]:
    """Name -> header of those arrays that a set may have; none is read. ValueError: it is broken, or no image set."""
    with _opened(file) as z:
        found = {name: _header(z, info) for name, info in _members(z).items()}
        names = sorted(info.filename.removesuffix(".npy") for info in z.infolist())
    if not {"images", "labels"} <= found.keys():
        raise ValueError(f"{file} holds {names[:20]}; expected arrays 'images' and 'labels'")
    _check_headers(file, found)
    return found


def write(file: Path, raw: Raw) -> None:
    """Store a half under a name, whole or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=file.parent, suffix=".npz", delete=False) as part:
        try:
            np.savez_compressed(
                part, images=raw.images, labels=raw.labels.astype(np.uint8), classes=np.array(raw.classes)
            )
            Path(part.name).replace(file)
        except BaseException:
            Path(part.name).unlink(missing_ok=True)
            raise


def other_half(file: Path) -> Path:
    """Where the test images lie that belong to these training images, or the other way about."""
    return file.with_name("test.npz" if file.name == "train.npz" else "train.npz")


@contextmanager
def _opened(file: Path) -> Iterator[ZipFile]:
    """The file as a zip; whatever fails inside is told as the file's fault."""
    try:
        with file.open("rb") as stream, ZipFile(stream) as z:
            yield z
    except Exception as error:  # zipfile, zlib, numpy and the file system each have their own
        raise ValueError(
            f"{file} cannot be read as .npz without pickles ({error}); delete it or write it again"
        ) from error


def _members(z: ZipFile) -> dict[str, ZipInfo]:
    """Array name -> its place in the zip, of the known names. ValueError: two arrays of one name."""
    found: dict[str, ZipInfo] = {}
    for info in z.infolist():
        z.open(info).close()  # both of the names that a zip has for it agree: a flipped bit hides no array
        if (name := info.filename.removesuffix(".npy")) in KNOWN:
            if name in found:
                raise ValueError(f"two arrays are named {name!r}")
            found[name] = info
    return found


def _header(z: ZipFile, info: ZipInfo) -> Header:
    """What an array's own header tells. ValueError: objects, or another number of bytes than the header tells of."""
    with z.open(info) as stream:
        version = np.lib.format.read_magic(stream)
        if version not in ((1, 0), (2, 0), (3, 0)):
            raise ValueError(f"{info.filename} is written in version {version} of NumPy's format")
        first = version == (
            1,
            0,
        )  # the third differs from the second in how names of columns are written, which none here has
        shape, _, dtype = (np.lib.format.read_array_header_1_0 if first else np.lib.format.read_array_header_2_0)(
            stream
        )
        if dtype.hasobject:
            raise ValueError(f"{info.filename} holds Python objects")
        told = stream.tell() + math.prod(shape) * dtype.itemsize
    if min(shape, default=0) < 0 or told != info.file_size:
        raise ValueError(
            f"{info.filename} has {info.file_size} bytes, its header tells of {shape} {dtype}, {told} bytes"
        )
    return Header(shape, dtype)


def _arrays(file: Path, names: tuple[str, ...]) -> dict[str, np.ndarray]:
    """The arrays of these names, those that are there."""
    found = {}
    with _opened(file) as z:
        for name, info in _members(z).items():
            if name not in names:
                continue
            with z.open(info) as stream:
                found[name] = np.lib.format.read_array(stream, allow_pickle=False)
                if stream.read(1):  # the end has to be reached for the zip to compare its checksum
                    raise ValueError(f"{info.filename} goes on behind its end")
    return found


def _check_headers(file: Path, found: dict[str, Header]) -> None:
    images, labels = found["images"], found["labels"]
    sound = (
        len(images.shape) == 4
        and labels.shape == images.shape[:1]
        and min(images.shape) > 0
        and images.shape[3] in (1, 3)
    )
    if not sound:
        raise ValueError(
            f"{file}: images {images.shape} and labels {labels.shape}; expected [N, H, W, C] with C 1 or 3, and [N], "
            "N > 0, H > 0, W > 0"
        )
    if labels.dtype.kind not in "iu":
        raise ValueError(f"{file}: labels are {labels.dtype}; expected whole numbers")
    if images.dtype != np.uint8 and images.dtype not in (np.float16, np.float32, np.float64):
        raise ValueError(
            f"{file}: images are {images.dtype}; expected uint8 in 0..255 (or float16, float32, float64 in [0, 1])"
        )
    _check_extras(file, found, images.shape[0])


def _check_extras(file: Path, found: dict[str, Header], images: int) -> None:
    for name, h in found.items():
        flat = len(h.shape) == 1
        if name == "classes" and not (flat and h.dtype.kind in "USiufb" and h.shape[0] * h.dtype.itemsize <= NAMED):
            raise ValueError(f"{file}: classes {h.shape} {h.dtype}; expected one name a class, [K], of text")
        if name == "lossy" and not (flat and h.shape[0] <= images and (h.dtype.kind in "iu" or h.shape[0] == 0)):
            raise ValueError(
                f"{file}: lossy {h.shape} {h.dtype}; expected positions in images, [n], whole numbers, each once"
            )


def _check_values(file: Path, images: np.ndarray, labels: np.ndarray, classes: tuple[str, ...]) -> None:
    if labels.min() < 0 or labels.max() >= len(classes):
        raise ValueError(
            f"{file}: labels from {labels.min()} to {labels.max()}, but {len(classes)} classes; "
            "expected 0 to classes - 1"
        )
    if images.dtype == np.uint8:
        return
    if not np.isfinite(images).all():
        raise ValueError(f"{file}: {int((~np.isfinite(images)).sum())} pixels are NaN or infinite; expected [0, 1]")
    if images.min() < 0 or images.max() > 1:
        raise ValueError(f"{file}: float pixels from {images.min():g} to {images.max():g}; expected [0, 1]")


def _positions(file: Path, lossy: np.ndarray, images: int) -> np.ndarray:
    """Which images are lossy, as int64."""
    if len(lossy) and (lossy.min() < 0 or lossy.max() >= images or len(np.unique(lossy)) < len(lossy)):
        raise ValueError(
            f"{file}: lossy from {lossy.min()} to {lossy.max()}; expected positions from 0 to {images - 1}, each once"
        )
    return lossy.astype(np.int64)


def _classes(
    file: Path, arrays: dict[str, np.ndarray], other: Path, theirs: dict[str, Header] | None
) -> tuple[str, ...]:
    """The class names of a set: those of either half, the same if both have some; else numbers to the highest label."""
    named = theirs is not None and "classes" in theirs
    there = _names(other, _arrays(other, ("classes",))["classes"]) if named else None
    if "classes" not in arrays:
        return there if named else _numbered(file, arrays["labels"], other if theirs else None)
    here = _names(file, arrays["classes"])
    if named and here != there:
        raise ValueError(
            f"{file}: {len(here)} classes {_few(here)}, but {other.name} has {len(there)}, {_few(there)}; expected the "
            "same names in the same order in both halves of a set: write one of them again"
        )
    return here


def _few(names: tuple[str, ...]) -> str:
    return f"({', '.join(names[:5])}{', ...' if len(names) > 5 else ''})"


def _names(file: Path, classes: np.ndarray) -> tuple[str, ...]:
    try:
        return tuple(c.decode() if isinstance(c, bytes) else str(c) for c in classes)
    except UnicodeDecodeError as error:
        raise ValueError(f"{file}: classes are no text ({error}); expected names in UTF-8") from error


def _numbered(file: Path, labels: np.ndarray, other: Path | None) -> tuple[str, ...]:
    """Class names for a set that has none: numbers up to the highest label in either half, at most 10,000."""
    halves = {file: labels} | ({other: _arrays(other, ("labels",))["labels"]} if other else {})
    highest = {half: int(found.max()) for half, found in halves.items()}
    where = max(highest, key=highest.get)
    if highest[where] >= NUMBERED:
        raise ValueError(f"{where}: a label of {highest[where]}, and no array 'classes' that names so many")
    _tell_of_empty(file.parent, highest[where] + 1, {int(k) for found in halves.values() for k in np.unique(found)})
    return tuple(map(str, range(highest[where] + 1)))


class EmptyClass(UserWarning):
    """A set without class names skips a number: nets for it get an output that no image is of."""


def _tell_of_empty(folder: Path, classes: int, seen: set[int]) -> None:
    if empty := [str(k) for k in range(classes) if k not in seen]:
        warnings.warn(
            f"{folder}: no image has the label {_few(tuple(empty))}, so that nets with {classes} outputs are trained "
            f"for {classes - len(empty)} classes: number labels from 0 on without a gap, or name them in an array "
            "'classes'",
            EmptyClass,
            stacklevel=2,
        )
