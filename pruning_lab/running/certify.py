"""Making certificates: small twins of every kind of published record, run on the code of a commit and on today's.

Answers that are the same bit by bit give a certificate, unless a changed line ran in no twin: then it is refused, or a
test that covers the line is named. `certificates.py` says what a certificate is good for.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import MISSING, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

from .. import environment, experiments
from ..records import certificates, provenance, record, syntax
from ..records.experiment import Experiment, lineage
from ..records.source import state
from ..records.twins import rebuild
from . import folders
from .trials import ROOT, Refused, Said, ask, checked_out, described, differing, rounded, states, twins, unseen
from .waivers import Waivers, covered, told

Shelf = Sequence[tuple[Path, Mapping[str, Any], Experiment]]  # folder, `record.json` and experiment of records


def bounds(words: Iterable[tuple[str, str]]) -> dict[str, float]:
    """Kind of measurement -> how far it may move; ValueError: no such kind, a training, or no number above 0."""
    most = {}
    for kind, text in words:
        if kind not in experiments.__all__ or getattr(experiments, kind).is_net:
            known = ", ".join(experiments.__all__)
            raise ValueError(f"--rounding {kind}: expected a kind of measurement, one of {known}, and no training")
        most[kind] = 0.0
        with suppress(ValueError):
            most[kind] = float(text)
        if not 0 < most[kind] < 1:
            raise ValueError(f"--rounding {kind} {text}: expected a number above 0 and below 1")
    return most


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
    shelf = published()
    # those left out await what their raised version asks for
    asked_for = [e for folder, _, e in shelf if e.key == folder.name]
    with checked_out(since) as tree, tempfile.TemporaryDirectory(prefix="certify-") as folder:
        out = Path(folder)
        steps = states(*ask([tree, ROOT], dict(codes=[described(e) for e in asked_for]), out / "codes"))
        if not steps:
            return None
        _see_standing(shelf, steps, since)
        asked = twins(asked_for) + cheapest(shelf, spot)
        say(f"{len(asked)} twins of {len(asked_for)} published records, on {since} and on today's code")
        old, new = ask([tree, ROOT], dict(twins=[described(e) for e in asked]), out / "twins")
        certificate = dict(since=since, date=provenance.now(), twins=len(asked) - spot, spot=spot, states=steps)
        certificate |= _see_answers(asked, old, new, bounds, out) | _see_lines(old, new, waivers, out, say)
    keep(certificate, shelf)
    return certificate


def _see_standing(shelf: Shelf, steps: Mapping[str, Mapping[str, str]], since: str) -> None:
    """Refused: a certificate of these states would leave published records unverified."""
    stand = _verified([*certificates.stored(), dict(devices="all", states=steps)], shelf)
    if lost := [f.name for (f, _, e), stands in zip(shelf, stand, strict=True) if e.key == f.name and not stands]:
        which = f"{len(lost)} published records did not stand at {since} ({lost[0]}, ...)"
        raise Refused(f"{which}: name an older commit with --since")


def _see_answers(
    asked: Sequence[Experiment], old: Said, new: Said, bounds: Mapping[str, float], out: Path
) -> dict[str, Any]:
    """What a certificate says of answers. Refused: they differ, or a kind gives none."""
    differ = differing(old, new, asked)
    moved = rounded(asked, differ, bounds, old, new, out) if bounds else {}
    if differ and not bounds:
        named = (f"  {type(asked[k]).__name__} {asked[k].key}: {why}" for k, why in differ.items())
        raise Refused("\n".join(["answers differ:", *named]))
    answer = {type(e).__name__ for e, error in zip(asked, new.errors, strict=True) if not error}
    if silent := sorted({type(e).__name__ for e in asked} - answer):
        raise Refused(f"no twin of {', '.join(silent)} gives an answer here: {next(filter(None, new.errors))}")
    refusals = sum(error is not None for error in new.errors)
    return dict(kind="rounding" if moved else "bits", refusals=refusals, rounding=moved)


def _see_lines(old: Said, new: Said, waivers: Waivers, out: Path, say: Callable[[str], None]) -> dict[str, Any]:
    """What a certificate says of changed lines, and so of where it counts. Refused: one was neither run nor waived."""
    missed = unseen(old, new)
    covered(missed, waivers, out, say)
    device = [line for line in syntax.changed(old.lines(), new.lines()) if line.on_device and not waivers.of(line)]
    made = provenance.here()
    where = dict(torch=made["versions"]["torch"], processor=made["device"]["name"])
    where |= dict(instructions=made["device"]["instructions"], devices="cpu" if device else "all")
    on_device = sorted({line.place for line in device})
    return where | told(missed, syntax.unproved(old.lines(), new.lines()), waivers) | dict(on_device=on_device)


def keep(certificate: Mapping[str, Any], shelf: Shelf) -> None:
    """Store a certificate; earlier ones since the same commit go where no published record needs them."""
    before = list(certificates.stored())
    fewer = [c for c in before if c["since"] != certificate["since"]] + [certificate]
    alike = _verified(fewer, shelf) == _verified([*before, certificate], shelf)
    certificates.save(fewer if alike else [*before, certificate])


def _verified(found: Sequence[Mapping[str, Any]], shelf: Shelf) -> list[bool]:
    def reached(meta: Mapping[str, Any], e: Experiment) -> set[str]:
        return certificates.reached(type(e).__name__, state(meta["code"]), found, meta["device"]["type"])

    return [state(e.code()) in reached(meta, e) for _, meta, e in shelf]


def published() -> Shelf:
    """All published records, each with its experiment as today's code reads its settings."""
    files = sorted(environment.published_shelf().glob(f"*/*/{record.META}"))
    metas = {file.parent: record.read(file.parent).meta for file in files}
    return [(f, m, rebuild(getattr(experiments, m["experiment"]), m["config"])) for f, m in metas.items()]


def reference() -> str:
    """The commit in which published records or certificates last changed: then all of them stood.

    ValueError: git knows none, or there is no book and no other shelf.
    """
    folders.shelf()
    words = ["git", "log", "-1", "--format=%h", "--", str(environment.published_shelf())]
    found = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    if found.returncode or not found.stdout.strip():
        raise ValueError("git knows no commit with published records: name one with --since")
    return found.stdout.strip()


def cheapest(shelf: Shelf, count: int) -> list[Experiment]:
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
    reasons = {}
    for folder, meta, e in published():
        if e.key != folder.name:
            reasons[folder] = _moved(e, meta.get("version", 1), folder.name)
        elif certificates.standing(type(e).__name__, meta["code"], e.code(), meta["device"]["type"]) == "unverified":
            reasons[folder] = "made by other code than today's"
    return [f"{folder.parent.name}/{folder.name}: {why}" for folder, why in reasons.items()]


def _moved(e: Experiment, version: int, name: str) -> str:
    """Why a published record of that version and name is not found under the name that its settings have today."""
    for kind, setting, value in _given(e) if version == e.version else ():
        with suppress(ValueError):  # such settings are refused, so that no record has them
            if _at_default(e, kind, setting, value).key == name:
                was = f"the default of {kind.__name__}.{setting} was {value!r} when it was made"
                how = "put the default back, or sweep and publish again"
                return f"{was}, so that its settings are {e.key} today; {how}"
    return f"superseded by {e.key}; sweep and publish that"


def _given(tree: Any) -> dict[tuple[type, str, Any], None]:
    """Class, name and value of every setting that is not its default, nested ones too; values can be hashed."""
    given: dict[tuple[type, str, Any], None] = {}
    for f in fields(tree):
        value = getattr(tree, f.name)
        if is_dataclass(value):
            given |= _given(value)
        elif value != f.default and f.default is not MISSING:
            given[type(tree), f.name, value] = None
    return given


def _at_default(tree: Any, kind: type, setting: str, value: Any) -> Any:
    """The same settings, but one of a kind, where it has that value, at its default."""
    given = {f.name: getattr(tree, f.name) for f in fields(tree)}
    change = {name: _at_default(v, kind, setting, value) for name, v in given.items() if is_dataclass(v)}
    if type(tree) is kind and given[setting] == value:
        change[setting] = next(f.default for f in fields(tree) if f.name == setting)
    return replace(tree, **change)
