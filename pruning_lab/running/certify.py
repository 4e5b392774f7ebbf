"""Making certificates: small twins of every kind of published record, run on the code of a commit and on today's.

Answers that are the same bit by bit give a certificate, unless a changed line ran in no twin: then it is refused, or a
test that covers the line is named. `certificates.py` says what a certificate is good for.
"""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import MISSING, asdict, dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from .. import environment, experiments
from ..records import certificates, provenance, record, source, syntax
from ..records.experiment import Experiment, lineage
from ..records.source import state
from ..records.twins import rebuild
from ..training.recipe import Recipe
from .smoke import SIDES, WIDTHS

ROOT = source.PACKAGE.parent
SMALL = dict(
    at=(0, 6), epochs=(0, 1, 2), sample=32, test_images=50, seed=0, followed=50, ends=3, repeats=2, density=0.3
)


class Refused(Exception):
    """No certificate: answers differ, or changed lines ran in no twin; the message says which."""


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
        return syntax.statements(
            source.closure((self.library / "experiments" / "__init__.py").resolve(), self.library), self.library
        )

    def answer(self, k: int) -> dict[str, np.ndarray]:
        """What the k-th twin answers, by name."""
        with np.load(self.folder / f"{k}.npz") as z:
            return {name: z[name] for name in z.files}


@dataclass
class Waivers:
    """Functions, or whole files, whose changed lines ran in no twin, each with the tests that cover them."""

    tests: dict[str, list[str]] = field(default_factory=dict)

    def of(self, line: syntax.Line) -> list[str]:
        """The tests that were named for a line: for its function, or else for its file."""
        return self.tests.get(line.place) or self.tests.get(line.file) or []

    @classmethod
    def read(cls, words: Iterable[str], since: str | None = None) -> Waivers:
        """From words such as "train:_Run.resume=tests/test_train.py::test_x".

        Raises:
            ValueError: for others, and where neither the library of today nor that of the commit `since` has the file
                or the function, or there is no such test.
        """
        found = cls()
        for word in words:
            place, equals, test = word.partition("=")
            if not equals or not place or not (ROOT / test.partition("::")[0]).is_file():
                raise ValueError(
                    f"waiver {word!r}: expected FILE:FUNCTION=TEST, or FILE=TEST, with a test that there is"
                )
            if lacking := _lacking(test):
                raise ValueError(
                    f"waiver {word!r}: {test.partition('::')[0]} has no {lacking}: expected a test that there is"
                )
            found.tests.setdefault(place, []).append(test)
        if found.tests:
            _see_places(found.tests, since)
        return found


def _lacking(test: str) -> str | None:
    """The first name in the id of a test, such as "tests/test_x.py::TestX::test_y[1]", that its file does not have."""
    file, *names = test.partition("[")[0].split("::")
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8")) if names else ast.Module([], [])
    defined = {
        n.name
        for n in ast.walk(tree)
        if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.alias)
    }
    return next((name for name in names if name not in defined), None)


def _see_places(named: Iterable[str], since: str | None) -> None:
    """See that there are the files and functions that waivers name, today or in the commit; ValueError names those."""
    known = _places(source.PACKAGE)
    if since and not known.issuperset(named):  # what is gone since may be waived, too
        with checked_out(since) as tree:
            known |= _places(tree / "pruning_lab")
    for place in named:
        file, colon, _ = place.partition(":")
        if place not in known:
            inside = colon and file in known
            beside = sorted(p for p in known if (p.startswith(f"{file}:") if inside else ":" not in p))
            raise ValueError(
                f"waiver of {place!r}: there is no such {'function' if inside else 'file'}; "
                f"there are {', '.join(beside)}"
            )


def _places(library: Path) -> set[str]:
    """The files and functions of a library, as waivers name them."""
    files = sorted(library.rglob("*.py"))
    return {source.name_in(f, library) for f in files} | {line.place for line in syntax.statements(files, library)}


def bounds(words: Iterable[tuple[str, str]]) -> dict[str, float]:
    """Kind of measurement -> how far it may move; ValueError: no such kind, a training, or no number above 0."""
    found = {}
    for kind, text in words:
        known = getattr(experiments, kind, None)
        if kind not in experiments.__all__ or known.is_net:
            raise ValueError(
                f"--rounding {kind}: expected a kind of measurement, one of {', '.join(experiments.__all__)}, "
                "and no training"
            )
        try:
            found[kind] = float(text)
        except ValueError:
            found[kind] = float("nan")
        if not 0 < found[kind] < 1:
            raise ValueError(f"--rounding {kind} {text}: expected a number above 0 and below 1")
    return found


# twins


def published() -> Iterator[tuple[Path, Mapping[str, Any]]]:
    """Folder and `record.json` of every published record."""
    for file in sorted(environment.published_shelf().glob(f"*/*/{record.META}")):
        yield file.parent, record.read(file.parent).meta


def experiment_of(meta: Mapping[str, Any]) -> Experiment:
    """The experiment of a stored record, as today's code reads its settings."""
    return rebuild(getattr(experiments, meta["experiment"]), meta["config"])


def small(e: Any) -> Any:
    """A twin of an experiment or a recipe that takes a moment: digits, tiny widths, a few steps; all else its own."""
    if isinstance(e, Recipe):
        short = dict(iterations=6) if e.iterations else dict(epochs=2)
        held = dict(drops=(3,) if e.drops else (), holdout=10 if e.holdout else 0)
        return replace(e, batch=min(e.batch, 32), **short, **held)
    if isinstance(e, experiments.InferenceSpeed):
        return replace(e, width=4, shape=(1, 8, 8), batches=(1, 8), rounds=2, density=0.3)
    given = {f.name: getattr(e, f.name) for f in fields(e)}
    change = {k: small(v) for k, v in given.items() if isinstance(v, Experiment | Recipe)}
    change |= {k: v for k, v in SMALL.items() if given.get(k) is not None}
    if isinstance(e, experiments.Train):
        name = "gaussian:digits" if e.dataset.startswith("gaussian:") else "digits"
        change |= dict(dataset=name, width=WIDTHS.get(e.model, 8), limit=96, image_size=SIDES.get(e.model))
    return replace(e, **change)


def twins(published: Iterable[Experiment]) -> list[Experiment]:
    """The different twins of some experiments and of all that these are made of, what is built on first."""
    return lineage(dict.fromkeys(map(small, published)))


# both trees


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
    running = []
    for k, tree in enumerate(trees):
        folder = out / str(k)
        (folder / "published").mkdir(parents=True)
        (folder / "job.json").write_text(json.dumps(job), encoding="utf-8")
        own = dict(
            STORE=folder / "store", RESULTS=folder / "published", DEVICE="cpu", PLUGINS="", WORKERS="1", CLUSTER=""
        )
        settings = (
            os.environ | {f"PRUNING_LAB_{name}": str(value) for name, value in own.items()} | {"TQDM_DISABLE": "1"}
        )
        settings |= {"PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1"}
        command = [
            sys.executable,
            str(source.PACKAGE / "records" / "twins.py"),
            str(tree),
            str(folder / "job.json"),
            str(folder),
        ]
        running.append(
            subprocess.Popen(
                command, cwd=tree, env=settings, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
            )
        )
    return [
        _said(tree, out / str(k), *_ended(process))
        for k, (tree, process) in enumerate(zip(trees, running, strict=True))
    ]


def _ended(process: subprocess.Popen) -> tuple[int, str]:
    words, _ = process.communicate()
    return process.returncode, words


def _said(tree: Path, folder: Path, code: int, words: str) -> Said:
    if code:
        raise RuntimeError(f"twins on {tree.name} ended with {code}:\n{words[-3000:]}")
    said = json.loads((folder / "said.json").read_text(encoding="utf-8"))
    library = tree / "pruning_lab"
    ran = {source.name_in(library / name, library): set(rows) for name, rows in said["ran"].items()}
    return Said(library, said["codes"], said["errors"], ran, said.get("tests", 0), words, folder)


# what came out


def differing(old: Said, new: Said, asked: Sequence[Experiment]) -> dict[int, str]:
    """Twins whose answers are not the same on both trees: their numbers, and what differs."""
    found = {}
    for k, e in enumerate(asked):
        if old.errors[k] or new.errors[k]:
            if old.errors[k] != new.errors[k]:
                found[k] = f"was {old.errors[k] or 'an answer'}, is {new.errors[k] or 'an answer'}"
            continue
        a, b = old.answer(k), new.answer(k)
        timed = {f"table.{name}" for name in e.timed}
        if other := sorted(
            n for n in (a.keys() | b.keys()) - timed if n not in a or n not in b or not _same(a[n], b[n])
        ):
            found[k] = ", ".join(other[:5]) + (f" and {len(other) - 5} more" if len(other) > 5 else "")
    return found


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
    [exact] = ask([ROOT], dict(twins=[_described(e) for e in asked], double=True), out / "double") if wide else [None]
    for k in differ:
        kind = type(asked[k]).__name__
        if kind not in bounds or asked[k].is_net or old.errors[k] or new.errors[k] or exact.errors[k]:
            raise Refused(f"{kind} {asked[k].key} differs: {differ[k]}")
        a, b, c = old.answer(k), new.answer(k), exact.answer(k)
        for name in (n for n in a if not _same(a[n], b.get(n, a[n][:0]))):
            moved, before, after = _distance(a[name], b[name]), _distance(a[name], c[name]), _distance(b[name], c[name])
            if not moved <= bounds[kind] or not after <= max(before, np.finfo(np.float32).eps):
                far = (
                    f"moved by {moved:.2g} (bound {bounds[kind]:.2g}), "
                    f"from {before:.2g} to {after:.2g} away from float64"
                )
                raise Refused(f"{kind} {asked[k].key}: {name} {far}")
            worst = told.setdefault(kind, dict(bound=bounds[kind], moved=0.0))
            worst["moved"] = max(worst["moved"], float(moved))
    return told


def _distance(a: np.ndarray, b: np.ndarray) -> float:
    """The largest difference over the largest size; infinite where shapes, kinds or gaps are not the same."""
    if a.shape != b.shape or {a.dtype.kind, b.dtype.kind} - set("fiub") or not np.array_equal(np.isnan(a), np.isnan(b)):
        return float("inf")
    a, b = np.nan_to_num(a.astype(np.float64)), np.nan_to_num(b.astype(np.float64))
    return float(np.abs(a - b).max(initial=0) / max(np.abs(a).max(initial=0), np.finfo(np.float64).tiny))


def unseen(old: Said, new: Said) -> list[syntax.Line]:
    """The lines that changed and that no twin ran: of the new tree, and of the old one what is gone from it."""
    before, after = old.lines(), new.lines()
    unproved = set(syntax.unproved(before, after))
    fresh = [line for line in syntax.changed(before, after) if line in unproved or not line.ran(new.ran)]
    return fresh + [line for line in syntax.changed(after, before) if not line.ran(old.ran)]


def states(old: Said, new: Said) -> dict[str, dict[str, str]]:
    """Class -> old digest of its code -> new one, for all that published records are made of."""
    found: dict[str, dict[str, str]] = {}
    for before, after in zip(old.codes, new.codes, strict=True):
        for (kind, code), (same_kind, today) in zip(before or (), after or (), strict=False):
            if kind == same_kind and state(code) != state(today):
                found.setdefault(kind, {})[state(code)] = state(today)
    return found


def certify(
    since: str, waivers: Waivers, bounds: Mapping[str, float], spot: int = 0, say=print
) -> Mapping[str, Any] | None:
    """Make a certificate that today's code answers as that of a commit, and store it.

    None where the code says the same that published records of today's keys rest on.

    Args:
        since: a commit whose code made the published records, or is certified to give their answers.
        waivers: functions whose changed lines no twin ran, and the tests that cover them.
        bounds: kinds of measurements that may move by rounding -> how far, relative to an array's largest number.
        spot: also run so many of the cheapest full records on both trees.

    Raises:
        Refused: answers differ, or lines have neither run nor been waived. ValueError: no such commit.
    """
    shelf = [(folder, meta, experiment_of(meta)) for folder, meta in published()]
    # those left out await what their raised version asks for
    asked_for = [e for folder, _, e in shelf if e.key == folder.name]
    with checked_out(since) as tree, tempfile.TemporaryDirectory(prefix="certify-") as out:
        found = states(*ask([tree, ROOT], dict(codes=[_described(e) for e in asked_for]), Path(out) / "codes"))
        if not found:
            return None
        stand = _verified(
            [*certificates.stored(), dict(devices="all", states=found)], [(type(e).__name__, m, e) for _, m, e in shelf]
        )
        if lost := [f.name for (f, _, e), stands in zip(shelf, stand, strict=True) if e.key == f.name and not stands]:
            raise Refused(
                f"{len(lost)} published records did not stand at {since} ({lost[0]}, ...): "
                "name an older commit with --since"
            )
        asked = twins(asked_for) + cheapest(shelf, spot)
        say(f"{len(asked)} twins of {len(asked_for)} published records, on {since} and on today's code")
        old, new = ask([tree, ROOT], dict(twins=[_described(e) for e in asked]), Path(out) / "twins")
        differ = differing(old, new, asked)
        moved = rounded(asked, differ, bounds, old, new, Path(out)) if bounds else {}
        if differ and not bounds:
            named = (f"  {type(asked[k]).__name__} {asked[k].key}: {why}" for k, why in differ.items())
            raise Refused("\n".join(["answers differ:", *named]))
        silent = {type(e).__name__ for e in asked} - {
            type(e).__name__ for e, error in zip(asked, new.errors, strict=True) if not error
        }
        if silent:
            raise Refused(
                f"no twin of {', '.join(sorted(silent))} gives an answer here: {next(filter(None, new.errors))}"
            )
        missed = unseen(old, new)
        covered(missed, waivers, Path(out), say)
        waived = told(missed, syntax.unproved(old.lines(), new.lines()), waivers)
        device = [line for line in syntax.changed(old.lines(), new.lines()) if line.on_device and not waivers.of(line)]
    made = provenance.here()
    certificate = dict(
        kind="rounding" if moved else "bits", since=since, date=provenance.now(), twins=len(asked) - spot, spot=spot,
        refusals=sum(error is not None for error in new.errors),
        devices="cpu" if device else "all", torch=made["versions"]["torch"], processor=made["device"]["name"],
        instructions=made["device"]["instructions"], states=found, rounding=moved, **waived,
        on_device=sorted({line.place for line in device}),
    )  # fmt: skip
    keep(certificate, [(type(e).__name__, meta, e) for _, meta, e in shelf])
    return certificate


def covered(missed: Sequence[syntax.Line], waivers: Waivers, out: Path, say) -> None:
    """See that the tests that were named for the lines that no twin ran pass, and run them.

    Raises:
        Refused: a line is not waived, or its tests fail or do not run it.
    """
    if left := [line for line in missed if not waivers.of(line)]:
        how = "waive a function, or a file, by a test that covers it (--waive FILE:FUNCTION=TEST)"
        raise Refused(f"changed lines that no twin ran; {how}:\n{_listed(left)}")
    named = sorted({test for line in missed for test in waivers.of(line)})
    if not named:
        return
    say(f"{len(named)} tests for {len(missed)} changed lines that no twin ran")
    [ran] = ask([ROOT], dict(tests=named), out / "tests")
    if ran.tests:
        failed = re.findall(r"^(?:FAILED|ERROR) .*", ran.words, re.MULTILINE) or [ran.words[-2000:]]
        raise Refused("\n  ".join(["tests that waive lines fail:", *failed]))
    today = set(ran.lines())
    if left := [line for line in missed if line in today and not line.ran(ran.ran) and not line.on_device]:
        raise Refused(f"lines that the tests named for them do not run:\n{_listed(left)}")


def told(missed: Iterable[syntax.Line], unproved: Iterable[syntax.Line], waivers: Waivers) -> dict[str, Any]:
    """What a certificate says of waived lines: by function, what they say and which tests were named for them.

    `constants` are those, apart, that run at import whatever a test does: that their tests would notice, a person has
    said.
    """
    found: dict[str, dict[str, Any]] = dict(waived={}, constants={})
    settled = set(unproved)
    for line in missed:
        under = found["constants" if line in settled else "waived"]
        under.setdefault(line.place, dict(lines=[], tests=waivers.of(line)))["lines"].append(line.text)
    return found


def _by_place(lines: Iterable[syntax.Line]) -> dict[str, list[syntax.Line]]:
    found: dict[str, list[syntax.Line]] = {}
    for line in lines:
        found.setdefault(line.place, []).append(line)
    return found


def _listed(lines: Iterable[syntax.Line]) -> str:
    return "\n".join(
        f"  {place}\n" + "\n".join(f"      {line.text}" for line in of) for place, of in _by_place(lines).items()
    )


def keep(certificate: Mapping[str, Any], shelf: Sequence[tuple[str, Mapping[str, Any], Experiment]]) -> None:
    """Store a certificate; earlier ones since the same commit go where no published record needs them."""
    before = list(certificates.stored())
    fewer = [c for c in before if c["since"] != certificate["since"]] + [certificate]
    alike = _verified(fewer, shelf) == _verified([*before, certificate], shelf)
    certificates.save(fewer if alike else [*before, certificate])


def _verified(
    found: Sequence[Mapping[str, Any]], shelf: Sequence[tuple[str, Mapping[str, Any], Experiment]]
) -> list[bool]:
    return [
        state(e.code()) in certificates.reached(kind, state(m["code"]), found, m["device"]["type"])
        for kind, m, e in shelf
    ]


def cheapest(shelf: Sequence[tuple[Path, Mapping[str, Any], Experiment]], count: int) -> list[Experiment]:
    """The published experiments that took least, what they build on included, at full size, on data that are here."""
    if not count:
        return []
    seconds = {e: meta["seconds"] for _, meta, e in shelf}
    here = [e for _, meta, e in shelf if not e.alone and meta["data"].keys() <= e.data_read().keys()]

    def took(e: Experiment) -> float:
        return sum(seconds[part] if part in seconds else part.cost() for part in lineage([e]))

    return sorted(here, key=took)[:count]


def unverified() -> list[str]:
    """Published records that are neither current nor certified, or have another key today: name and why."""
    found = []
    for folder, meta in published():
        e = experiment_of(meta)
        name = f"{folder.parent.name}/{folder.name}"
        if e.key != folder.name:
            found.append(f"{name}: {_moved(e, meta.get('version', 1), folder.name)}")
        elif certificates.standing(type(e).__name__, meta["code"], e.code(), meta["device"]["type"]) == "unverified":
            found.append(f"{name}: made by other code than today's")
    return found


def _moved(e: Experiment, version: int, name: str) -> str:
    """Why a published record of that version and name is not found under the name that its settings have today."""
    if version == e.version:
        for kind, setting, value in _given(e):
            if _key_at_default(e, kind, setting, value) == name:
                was = f"the default of {kind.__name__}.{setting} was {value!r} when it was made"
                return (
                    f"{was}, so that its settings are {e.key} today; put the default back, or sweep and publish again"
                )
    return f"superseded by {e.key}; sweep and publish that"


def _given(tree: Any) -> dict[tuple[type, str, Any], None]:
    """Class, name and value of every setting that is not its default, nested ones too; values can be hashed."""
    found: dict[tuple[type, str, Any], None] = {}
    for f in fields(tree):
        value = getattr(tree, f.name)
        if is_dataclass(value):
            found |= _given(value)
        elif value != f.default and f.default is not MISSING:
            found[type(tree), f.name, value] = None
    return found


def _key_at_default(e: Experiment, *one: Any) -> str | None:
    try:
        return _at_default(e, *one).key
    except ValueError:  # such settings are refused, so that no record has them
        return None


def _at_default(tree: Any, kind: type, setting: str, value: Any) -> Any:
    """The same settings, but one of a kind, where it has that value, at its default."""
    change = {
        f.name: _at_default(v, kind, setting, value) for f in fields(tree) if is_dataclass(v := getattr(tree, f.name))
    }
    if type(tree) is kind and getattr(tree, setting) == value:
        change[setting] = next(f.default for f in fields(tree) if f.name == setting)
    return replace(tree, **change)


def reference() -> str:
    """The commit in which published records or certificates last changed: then all of them stood."""
    shelf = environment.published_shelf()
    found = subprocess.run(
        ["git", "log", "-1", "--format=%h", "--", str(shelf)], cwd=ROOT, capture_output=True, text=True
    )
    if found.returncode or not found.stdout.strip():
        raise ValueError("git knows no commit with published records: name one with --since")
    return found.stdout.strip()


def _described(e: Experiment) -> tuple[str, dict[str, Any]]:
    return type(e).__name__, {f.name: v for f in fields(e) if (v := _plain(getattr(e, f.name))) is not None}


def _plain(value: Any) -> Any:
    return asdict(value) if isinstance(value, Experiment | Recipe) else value
