"""A script for certificates: run small experiments on a tree of the library, and tell answers and lines that ran.

    python twins.py TREE JOB.json OUT

`JOB` has `twins` and `codes`, lists of [class name, settings], `tests` (names for pytest) and `double` (whether what is
measured is computed in float64). `OUT` gets an .npz for each twin and `said.json`. The tree may be an older one, so
nothing of the package beside this file is imported here, and of the tree's only what all of them have.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import io
import json
import sys
import threading
import typing
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

import numpy as np

MEASURES = {"gradients": ("statistics",), "units": ("order", "scores", "pruning_curves", "removal_losses")}


def rebuild(kind: type, config: Mapping[str, Any]) -> Any:
    """The dataclass that a stored config describes, nested ones too; TypeError or ValueError if not of this kind."""
    hints = typing.get_type_hints(kind)
    values = {}
    for name, value in config.items():
        kinds = (hints.get(name), *typing.get_args(hints.get(name)))
        inner = [t for t in kinds if isinstance(t, type) and dataclasses.is_dataclass(t)]
        if isinstance(value, Mapping) and inner:
            value = rebuild(inner[0], value)
        values[name] = tuple(value) if isinstance(value, list) else value
    return kind(**values)


class Lines:
    """Notes which lines of the Python files below a folder run, for as long as the block lasts."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.ran = f"{folder.resolve()}/", dict[str, set[int]]()

    def __enter__(self) -> Lines:
        self.before = sys.gettrace()
        threading.settrace(self.call)
        sys.settrace(self.call)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(self.before)
        threading.settrace(self.before)

    def call(self, frame: FrameType, event: str, _: object) -> Callable | None:
        name = frame.f_code.co_filename
        if not name.startswith(self.folder):
            return None
        lines = self.ran.setdefault(name, set())

        def line(frame: FrameType, event: str, _: object) -> Callable:
            if event == "line":
                lines.add(frame.f_lineno)
            return line

        return line

    def found(self) -> dict[str, list[int]]:
        """File, from the folder on, -> numbers of the lines that ran."""
        return {name.removeprefix(self.folder): sorted(lines) for name, lines in self.ran.items()}


def arrays(record: Any) -> dict[str, np.ndarray]:
    """All that a record answers, by name: columns of its table, arrays, weights."""
    columns = {k: (v.tolist(), None if v.dtype.kind in "biuf" else str) for k, v in record.table.items()}
    named = {f"table.{k}": np.array(*column) for k, column in columns.items()}
    named |= {f"array.{k}": v for k, v in record.arrays.items()}
    return named | {f"weight.{k}": v.numpy() for k, v in record.weights().items()}


def in_double(function: Callable) -> Callable:
    """The function, given models and splits in float64."""

    def doubled(value: Any) -> Any:
        if hasattr(value, "named_parameters"):
            return copy.deepcopy(value).double()
        return dataclasses.replace(value, images=value.images.double()) if hasattr(value, "images") else value

    def measured(*args: Any, **named: Any) -> Any:
        return function(*map(doubled, args), **{k: doubled(v) for k, v in named.items()})

    return measured


def measure_in_double(lab: ModuleType) -> None:
    """From now on what experiments measure on a net, while it trains or after, is in float64; training stays."""
    for module, names in MEASURES.items():
        for name in names:
            setattr(getattr(lab, module), name, in_double(getattr(getattr(lab, module), name)))
    for name, module in list(sys.modules.items()):
        if name.startswith("pruning_lab.experiments") and hasattr(module, "evaluate"):
            module.evaluate = in_double(module.evaluate)


def answer(lab: ModuleType, kind: str, config: Mapping[str, Any], place: Path) -> str | None:
    """Run one experiment and write its answer to `place`; what went wrong, or None."""
    try:
        e = rebuild(getattr(lab, kind), config)
        found = arrays(lab.run(e, weights=e.has_weights))
    except Exception as error:  # a refusal is an answer too: it must be the same on both trees
        return f"{type(error).__name__}: {error}"
    np.savez(place, **found)
    return None


def codes(lab: ModuleType, kind: str, config: Mapping[str, Any]) -> list[tuple[str, dict[str, str]]] | None:
    """Class and digests of the code of an experiment and of all that it is made of; None where the tree has none."""
    lineage = sys.modules[lab.Experiment.__module__].lineage  # wherever that tree has it
    try:
        return [(type(e).__name__, e.code()) for e in lineage([rebuild(getattr(lab, kind), config)])]
    except (AttributeError, TypeError, ValueError):
        return None


def main(tree: Path, job: Mapping[str, Any], out: Path) -> None:
    """Do a job on a tree and write what came out."""
    sys.path[:] = [str(tree), *(p for p in sys.path if Path(p or ".").resolve() != Path(__file__).resolve().parent)]
    warnings.simplefilter("ignore")
    said: dict[str, Any] = {}
    with Lines(tree / "pruning_lab") as lines:
        import torch

        import pruning_lab as lab

        torch.set_num_threads(1)
        if job.get("double"):
            measure_in_double(lab)
        said["codes"] = [codes(lab, *one) for one in job.get("codes", ())]
        with contextlib.redirect_stdout(io.StringIO()):
            said["errors"] = [answer(lab, *one, out / f"{k}.npz") for k, one in enumerate(job.get("twins", ()))]
        if tests := job.get("tests"):
            import pytest

            said["tests"] = int(pytest.main(["-q", "-p", "no:cacheprovider", *tests]))
    said["ran"] = lines.found()
    (out / "said.json").write_text(json.dumps(said), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(), json.loads(Path(sys.argv[2]).read_text(encoding="utf-8")), Path(sys.argv[3]))
