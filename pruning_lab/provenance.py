"""Where a record comes from: code, versions, device, time. No host or user names, no paths."""

from __future__ import annotations

import ast
import hashlib
import importlib
import inspect
import io
import os
import platform
import resource
import subprocess
import tokenize
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path

import torch

from . import environment


def code_digest(source: str) -> str:
    """Digest of Python source, comments, docstrings and blank lines aside; the same under every Python version."""
    lines, inside = source.splitlines(), set()  # rows that end inside a string: blank ones among them are no layout
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        row, column = token.start
        if token.type == tokenize.COMMENT:
            lines[row - 1] = lines[row - 1][:column]
        elif token.type in (tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", None)):
            inside |= set(range(row, token.end[0]))
    for node in ast.walk(ast.parse(source)):
        body = getattr(node, "body", None)
        if (
            isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
            and ast.get_docstring(node, clean=False) is not None
        ):
            first, last = body[0].lineno, body[0].end_lineno
            before = lines[first - 1].encode()[: body[0].col_offset].decode()  # "def f():" where the body is on its line
            after = lines[last - 1].encode()[body[0].end_col_offset :].decode()
            lines[first - 1 : last] = [before + after] + [""] * (last - first)
            inside -= set(range(first, last + 1))
    kept = "\n".join(line.rstrip() for row, line in enumerate(lines, 1) if line.strip() or row in inside)
    return hashlib.sha256(kept.encode()).hexdigest()[:12]


@lru_cache
def module_digest(name: str) -> str:
    """Digest of one of the library's modules by its short name, such as "train"; of a package, of all its files."""
    module = importlib.import_module(f"pruning_lab.{name}")
    if not hasattr(module, "__path__"):
        return code_digest(inspect.getsource(module))
    return _files_digest(Path(module.__file__).parent)


@lru_cache
def source_digest(thing: type | Callable) -> str:
    """Digest of the source of one class or function."""
    return code_digest(inspect.cleandoc("\n" + inspect.getsource(thing)))


@lru_cache
def methods_digest(kind: type, base: type) -> str:
    """Digest of what a class computes: `compute` and the methods that `base` does not have, which it may call, inherited ones too."""
    methods = {n: m for k in kind.__mro__[: kind.__mro__.index(base)] for n, m in vars(k).items()}
    own = sorted(n for n, m in methods.items() if inspect.isroutine(m) and not n.startswith("__"))
    parts = [source_digest(getattr(kind, n)) for n in own if n == "compute" or not hasattr(base, n)]
    return hashlib.sha256("".join(parts).encode()).hexdigest()[:12]


@lru_cache
def library_digest() -> str:
    """Digest of the library's whole source."""
    return _files_digest(Path(__file__).parent)


def _files_digest(folder: Path) -> str:
    parts = [f"{f.relative_to(folder).as_posix()} {code_digest(f.read_text())}" for f in sorted(folder.rglob("*.py"))]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]


@lru_cache
def revision() -> dict[str, str | bool | None]:
    """Git revision of the library and whether the work tree differs from it; None outside a checkout."""

    def git(*words: str) -> str | None:
        try:
            whole = ["git", "--no-optional-locks", *words]  # a lock that a process dies with would stay
            answer = subprocess.run(whole, cwd=Path(__file__).parent, capture_output=True, text=True, timeout=20, check=True)
        except (OSError, subprocess.SubprocessError):
            return None
        return answer.stdout.strip()

    top = git("rev-parse", "--show-toplevel")
    ours = top is not None and Path(top) == Path(__file__).parents[1]  # not some other project that holds an installed copy
    commit = git("rev-parse", "--short=12", "HEAD") if ours else None
    return dict(revision=commit, dirty=bool(git("status", "--porcelain", "--", ".")) if commit else None)


@lru_cache
def versions() -> dict[str, str]:
    """Versions that can move a result."""
    return dict(python=platform.python_version(), torch=torch.__version__, numpy=version("numpy"), system=platform.system())


def device() -> dict[str, str | int]:
    """The device that computes, in words, the CPU instructions that torch uses (sums round otherwise with others), and its threads."""
    where = environment.device()
    name = torch.cuda.get_device_name(where) if where.type == "cuda" else _processor()
    instructions = torch.backends.cpu.get_cpu_capability()
    return dict(type=where.type, name=name, instructions=instructions, threads=torch.get_num_threads(), cores=os.cpu_count() or 1)


@lru_cache
def _processor() -> str:
    info = Path("/proc/cpuinfo")
    names = (
        [line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")] if info.is_file() else []
    )
    return names[0] if names else platform.processor() or platform.machine()


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
