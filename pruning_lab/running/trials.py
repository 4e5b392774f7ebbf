"""Trials of twins: small experiments, run on the code of a commit and on today's, and what came out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from .. import experiments
from ..experiments.fitted import Fitted
from ..records import imports, syntax, texts
from ..records.experiment import Experiment, changed, lineage
from ..records.source import state
from ..training.recipe import Recipe
from .smoke import SIDES, WIDTHS

ROOT = texts.PACKAGE.parent
SMALL = dict(
    at=(0, 6), epochs=(0, 1, 2), sample=32, test_images=50, seed=0, followed=50, ends=3, repeats=2, density=0.3
)


class Refused(Exception):
    """No certificate: answers differ, or changed lines ran in no twin; the message says which."""


def small(e: Any) -> Any:
    """A twin of an experiment or a recipe that takes a moment: digits, tiny widths, a few steps; all else its own."""
    if isinstance(e, Recipe):
        short = dict(iterations=6) if e.iterations else dict(epochs=2)
        held = dict(drops=(3,) if e.drops else (), holdout=10 if e.holdout else 0)
        return replace(e, batch=min(e.batch, 32), **short, **held)
    if isinstance(e, experiments.InferenceSpeed):
        return replace(e, width=4, shape=(1, 8, 8), batches=(1, 8), rounds=2, density=0.3)
    if isinstance(e, experiments.TeacherStudent):
        return replace(e, steps=60, seed=0)
    if isinstance(e, Fitted):
        return _small_fit(e)
    given = {f.name: getattr(e, f.name) for f in fields(e)}
    change = {k: small(v) for k, v in given.items() if isinstance(v, Experiment | Recipe)}
    change |= {k: v for k, v in SMALL.items() if given.get(k) is not None}
    if isinstance(e, experiments.Xord):
        change |= dict(k=min(e.k, 8), runs=4, steps=60)
    if isinstance(e, experiments.Train):
        name = "gaussian:digits" if e.dataset.startswith("gaussian:") else "digits"
        change |= dict(dataset=name, width=WIDTHS.get(e.model, 8), limit=96, image_size=SIDES.get(e.model))
    return replace(e, **change)


def _small_fit(e: Fitted) -> Fitted:
    """The twin of one kind of model fitted at many sizes: it crosses the size at which it fits its 96 images."""
    given = {f.name for f in fields(e)}
    sizes = dict(ratios=(0.08, 1.0, 1.3), leaves=(4,), trees=(1, 2), multiples=(0.1, 0.4, 2.0), epochs=20, batch=32)
    change = {name: value for name, value in sizes.items() if name in given}
    return replace(e, dataset="digits", limit=96, seed=0, image_size=None, tested_on=50, **change)


def twins(published: Iterable[Experiment]) -> list[Experiment]:
    """The different twins of some experiments and of all that these are made of, what is built on first."""
    return lineage(dict.fromkeys(map(small, published)))


def described(e: Experiment) -> tuple[str, dict[str, Any]]:
    """An experiment's class by name and its settings as plain data, so that another tree can make it again.

    Settings at their defaults are left out: a tree from before a field was there does not know it.
    """
    return type(e).__name__, changed(e)


@dataclass(frozen=True)
class Said:
    """What a tree's twins came to: digests of code by class, errors, lines that ran, and answers in `folder`."""

    library: Path
    codes: list[list[tuple[str, dict[str, str]]] | None]
    errors: list[str | None]
    ran: Mapping[str, set[int]]
    tests: int
    words: str
    folder: Path

    def lines(self) -> list[syntax.Line]:
        """The statements of all files that experiments rest on."""
        front = (self.library / "experiments" / "__init__.py").resolve()
        return syntax.statements(imports.closure(front, self.library), self.library)

    def answer(self, k: int) -> dict[str, np.ndarray]:
        """What the k-th twin answers, by name."""
        with np.load(self.folder / f"{k}.npz") as z:
            return {name: z[name] for name in z.files}


@contextmanager
def checked_out(commit: str) -> Iterator[Path]:
    """The library as it stood in a commit, in a folder of its own; ValueError for no such commit."""
    with tempfile.TemporaryDirectory(prefix="certify-") as folder:
        packed = subprocess.run(["git", "archive", commit, "pruning_lab"], cwd=ROOT, capture_output=True)
        if packed.returncode:
            raise ValueError(f"git has no library at {commit!r}: {packed.stderr.decode().strip()}")
        subprocess.run(["tar", "-x", "-C", folder], input=packed.stdout, check=True)
        yield Path(folder)


def ask(trees: Sequence[Path], job: Mapping[str, Any], out: Path) -> list[Said]:
    """Have the same job done on several trees, side by side, each with an empty store of its own, on the CPU."""
    running = [_begun(tree, job, out / str(k)) for k, tree in enumerate(trees)]
    words = [process.communicate()[0] for process in running]
    return [_said(tree, out / str(k), running[k].returncode, words[k]) for k, tree in enumerate(trees)]


def _begun(tree: Path, job: Mapping[str, Any], folder: Path) -> subprocess.Popen:
    (folder / "published").mkdir(parents=True)
    (folder / "job.json").write_text(json.dumps(job), encoding="utf-8")
    own = dict(STORE=folder / "store", RESULTS=folder / "published", DEVICE="cpu", PLUGINS="", WORKERS="1", CLUSTER="")
    settings = os.environ | {f"PRUNING_LAB_{name}": str(value) for name, value in own.items()}
    settings |= {"PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1"}
    script, piped = texts.PACKAGE / "records" / "twins.py", dict(stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    command = [sys.executable, *map(str, (script, tree, folder / "job.json", folder))]
    return subprocess.Popen(command, cwd=tree, env=settings, text=True, **piped)


def _said(tree: Path, folder: Path, code: int, words: str) -> Said:
    if code:
        raise RuntimeError(f"twins on {tree.name} ended with {code}:\n{words[-3000:]}")
    said = json.loads((folder / "said.json").read_text(encoding="utf-8"))
    library = tree / "pruning_lab"
    ran = {texts.name_in(library / name, library): set(rows) for name, rows in said["ran"].items()}
    return Said(library, said["codes"], said["errors"], ran, said.get("tests", 0), words, folder)


def states(old: Said, new: Said) -> dict[str, dict[str, str]]:
    """Class -> old digest of its code -> new one, for all that published records are made of."""
    steps: dict[str, dict[str, str]] = {}
    for before, after in zip(old.codes, new.codes, strict=True):
        for (kind, code), (same_kind, today) in zip(before or (), after or (), strict=False):
            if kind == same_kind and state(code) != state(today):
                steps.setdefault(kind, {})[state(code)] = state(today)
    return steps


def unseen(old: Said, new: Said) -> list[syntax.Line]:
    """The lines that changed and that no twin ran: of the new tree, and of the old one what is gone from it."""
    before, after = old.lines(), new.lines()
    unproved = set(syntax.unproved(before, after))
    fresh = [line for line in syntax.changed(before, after) if line in unproved or not line.ran(new.ran)]
    return fresh + [line for line in syntax.changed(after, before) if not line.ran(old.ran)]


def differing(old: Said, new: Said, asked: Sequence[Experiment]) -> dict[int, str]:
    """Twins whose answers are not the same on both trees: their numbers, and what differs."""
    differences = {k: _difference(old, new, k, e) for k, e in enumerate(asked)}
    return {k: words for k, words in differences.items() if words}


def _difference(old: Said, new: Said, k: int, e: Experiment) -> str:
    if old.errors[k] or new.errors[k]:
        was, now = (said.errors[k] or "an answer" for said in (old, new))
        return f"was {was}, is {now}" if was != now else ""
    a, b = old.answer(k), new.answer(k)
    names = (a.keys() | b.keys()) - {f"table.{name}" for name in e.timed}
    other = sorted(n for n in names if n not in a or n not in b or not _same(a[n], b[n]))
    return ", ".join(other[:5]) + (f" and {len(other) - 5} more" if len(other) > 5 else "")


def _same(a: np.ndarray, b: np.ndarray) -> bool:
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def rounded(
    asked: Sequence[Experiment], differ: Mapping[int, str], bounds: Mapping[str, float], old: Said, new: Said, out: Path
) -> dict[str, Any]:
    """For kinds whose answers may move by rounding: how far they did, and how far both are from float64 twins.

    Raises:
        Refused: a training moved, a twin moved further than its bound, or away from the one in float64.
    """
    told: dict[str, Any] = {}
    wide = [e for e in asked if type(e).__name__ in bounds]
    [exact] = ask([ROOT], dict(twins=[described(e) for e in asked], double=True), out / "double") if wide else [None]
    for k in differ:
        kind = type(asked[k]).__name__
        if kind not in bounds or asked[k].is_net or old.errors[k] or new.errors[k] or exact.errors[k]:
            raise Refused(f"{kind} {asked[k].key} differs: {differ[k]}")
        moved = _moved_by(kind, asked[k].key, bounds[kind], *(said.answer(k) for said in (old, new, exact)))
        told[kind] = dict(bound=bounds[kind], moved=max(moved, told.get(kind, dict(moved=0.0))["moved"]))
    return told


def _moved_by(kind: str, key: str, bound: float, *answers: Mapping[str, np.ndarray]) -> float:
    """How far an answer moved that may: of the old tree, the new one and the one in float64. Refused: further."""
    a, b, c = answers
    worst = 0.0
    for name in (n for n in a if not _same(a[n], b.get(n, a[n][:0]))):
        moved, before, after = distance(a[name], b[name]), distance(a[name], c[name]), distance(b[name], c[name])
        if not moved <= bound or not after <= max(before, np.finfo(np.float32).eps):
            far = f"moved by {moved:.2g} (bound {bound:.2g}), from {before:.2g} to {after:.2g} away from float64"
            raise Refused(f"{kind} {key}: {name} {far}")
        worst = max(worst, moved)
    return worst


def distance(a: np.ndarray, b: np.ndarray) -> float:
    """The largest difference over the largest size; infinite where shapes, kinds or gaps are not the same."""
    if a.shape != b.shape or {a.dtype.kind, b.dtype.kind} - set("fiub") or not np.array_equal(np.isnan(a), np.isnan(b)):
        return float("inf")
    a, b = np.nan_to_num(a.astype(np.float64)), np.nan_to_num(b.astype(np.float64))
    return float(np.abs(a - b).max(initial=0) / max(np.abs(a).max(initial=0), np.finfo(np.float64).tiny))
