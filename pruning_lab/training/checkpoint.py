"""The state of an unfinished run on disk: tensors by group and plain values, whole or absent, nothing pickled."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file

Groups = Mapping[str, Mapping[str, torch.Tensor]]


def save(file: Path, groups: Groups, values: Mapping[str, Any]) -> None:
    """Write groups of tensors, JSON values and a digest of all to a file that replaces the older one in one step."""
    tensors = {f"{group}/{name}": t for group, named in groups.items() for name, t in named.items()}
    tensors = {name: t.detach().cpu().contiguous().clone() for name, t in tensors.items()}
    text = json.dumps(values)
    file.parent.mkdir(parents=True, exist_ok=True)
    part = _part(file)
    try:
        save_file(tensors, part, metadata={"values": text, "digest": digest(tensors, text)})
        part.replace(file)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def load(file: Path) -> tuple[dict[str, dict[str, torch.Tensor]], dict[str, Any]] | None:
    """What `save` wrote, on the CPU; None where there is no file, or a broken one, which is named on stderr."""
    if not file.is_file():
        return None
    try:
        tensors, values = _read(file)
    except Exception as error:  # safetensors has exceptions of its own for what is truncated
        print(f"checkpoint {file.name} is broken ({error}); the run starts over", file=sys.stderr)
        return None
    groups: dict[str, dict[str, torch.Tensor]] = {}
    for name, tensor in tensors.items():
        group, _, rest = name.partition("/")
        groups.setdefault(group, {})[rest] = tensor
    return groups, values


def clear(file: Path) -> None:
    """Take away what a `save` that was killed left half-written; only for the one run that writes this file."""
    _part(file).unlink(missing_ok=True)


def _part(file: Path) -> Path:
    return file.with_suffix(".part")


def _read(file: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    with safe_open(file, "pt") as stored:
        about = stored.metadata() or {}
        tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118  it is no dict
    if lacking := [k for k in ("values", "digest") if k not in about]:
        raise ValueError(f"it has no {' and no '.join(lacking)}")
    if about["digest"] != digest(tensors, about["values"]):
        raise ValueError("its content is not what its digest says")
    values = json.loads(about["values"])
    if not isinstance(values, dict):
        raise ValueError(f"its values are {type(values).__name__}: expected names with values")
    return tensors, values


def digest(tensors: Mapping[str, torch.Tensor], text: str = "") -> str:
    """SHA-256, in hexadecimal, of a text and of all tensors in the order of their names: name, type, shape, bytes."""
    found = hashlib.sha256(text.encode())
    for name, t in sorted(tensors.items()):
        found.update(f"\n{name} {t.dtype} {list(t.shape)}\n".encode())
        found.update(t.detach().cpu().reshape(-1).view(torch.uint8).numpy())  # NumPy knows no bfloat16
    return found.hexdigest()
