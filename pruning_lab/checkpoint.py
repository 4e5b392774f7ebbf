"""The state of an unfinished run on disk: tensors by group and plain values, whole or absent, nothing pickled."""

from __future__ import annotations

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
    """Write groups of tensors and JSON values to a file that replaces the older one in one step."""
    tensors = {f"{group}/{name}": t.detach().cpu().contiguous().clone() for group, named in groups.items() for name, t in named.items()}
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_suffix(".part")
    save_file(tensors, part, metadata={"values": json.dumps(values)})
    part.replace(file)


def load(file: Path) -> tuple[dict[str, dict[str, torch.Tensor]], dict[str, Any]] | None:
    """What `save` wrote, on the CPU; None where there is no file, or a broken one, which is named on stderr."""
    if not file.is_file():
        return None
    groups: dict[str, dict[str, torch.Tensor]] = {}
    try:
        with safe_open(file, "pt") as stored:
            values = json.loads(stored.metadata()["values"])
            for name in stored.keys():  # noqa: SIM118  it is no dict
                group, _, rest = name.partition("/")
                groups.setdefault(group, {})[rest] = stored.get_tensor(name)
    except Exception as error:  # safetensors has exceptions of its own for what is truncated
        print(f"checkpoint {file.name} is broken ({error}); the run starts over", file=sys.stderr)
        return None
    return groups, values
