"""Where a record comes from: code, versions, device, time. No host or user names, no paths."""

from __future__ import annotations

import os
import platform
import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path

import torch

from .. import environment
from . import source, texts


@lru_cache
def library_digest() -> str:
    """Digest of the library's whole source."""
    return source.files_digest(texts.PACKAGE)


@lru_cache
def revision() -> dict[str, str | bool | None]:
    """Git revision of the library and whether the work tree differs from it; None outside a checkout."""

    def git(*words: str) -> str | None:
        try:
            whole = ["git", "--no-optional-locks", *words]  # a lock that a process dies with would stay
            told = dict(capture_output=True, text=True, timeout=20, check=True)
            answer = subprocess.run(whole, cwd=Path(__file__).parent, **told)
        except (OSError, subprocess.SubprocessError):
            return None
        return answer.stdout.strip()

    top = git("rev-parse", "--show-toplevel")
    # not some other project that holds an installed copy
    ours = top is not None and Path(top) == Path(__file__).parents[2]
    commit = git("rev-parse", "--short=12", "HEAD") if ours else None
    return dict(revision=commit, dirty=bool(git("status", "--porcelain", "--", ".")) if commit else None)


@lru_cache
def versions() -> dict[str, str]:
    """Versions that can move a result."""
    found = dict(python=platform.python_version(), torch=torch.__version__, numpy=version("numpy"))
    return found | dict(system=platform.system())


def device() -> dict[str, str | int]:
    """The device that computes, in words, torch's CPU instructions (others round sums otherwise), and its threads."""
    where = environment.device()
    name = torch.cuda.get_device_name(where) if where.type == "cuda" else _processor()
    found = dict(type=where.type, name=name, instructions=torch.backends.cpu.get_cpu_capability())
    return found | dict(threads=torch.get_num_threads(), cores=os.cpu_count() or 1)


THREADS = 1  # CPU threads of every run but those that measure time: sums round otherwise with another number


@contextmanager
def one_thread() -> Iterator[None]:
    """Inside, this thread computes with `THREADS`, as every run does; afterwards with as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@lru_cache
def _processor() -> str:
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        if names := [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]:
            return names[0]
    return platform.processor() or platform.machine()


def here() -> dict[str, dict | str]:
    """What a record says of its making that is known at its start."""
    return dict(device=device(), versions=versions(), git=revision(), library=library_digest())


def count_memory() -> None:
    """Count the GPU's memory from now on."""
    if environment.device().type == "cuda":
        torch.cuda.reset_peak_memory_stats()


def peak_memory() -> int:
    """Highest memory use in bytes: of the GPU since `count_memory`, or, without one, of this process since it began."""
    if environment.device().type == "cuda":
        return torch.cuda.max_memory_allocated()
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used if platform.system() == "Darwin" else used * 1024


def now() -> str:
    """The time in UTC, to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
