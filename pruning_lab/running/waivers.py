"""Waivers: changed lines that no twin ran, and the tests that were named for them."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..records import syntax, texts
from .trials import ROOT, Refused, ask, checked_out


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
        waivers = cls()
        for word in words:
            place, equals, test = word.partition("=")
            file = test.partition("::")[0]
            if not equals or not place or not (ROOT / file).is_file():
                how = "expected FILE:FUNCTION=TEST, or FILE=TEST, with a test that there is"
                raise ValueError(f"waiver {word!r}: {how}")
            if lacking := _lacking(test):
                raise ValueError(f"waiver {word!r}: {file} has no {lacking}: expected a test that there is")
            waivers.tests.setdefault(place, []).append(test)
        if waivers.tests:
            _see_places(waivers.tests, since)
        return waivers


def _lacking(test: str) -> str | None:
    """The first name in the id of a test, such as "tests/test_x.py::TestX::test_y[1]", that its file does not have."""
    file, *names = test.partition("[")[0].split("::")
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8")) if names else ast.Module([], [])
    kinds = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.alias
    defined = {n.name for n in ast.walk(tree) if isinstance(n, kinds)}
    return next((name for name in names if name not in defined), None)


def _see_places(named: Iterable[str], since: str | None) -> None:
    """See that there are the files and functions that waivers name, today or in the commit; ValueError names those."""
    known = _places(texts.PACKAGE)
    if since and not known.issuperset(named):  # what is gone since may be waived, too
        with checked_out(since) as tree:
            known |= _places(tree / "pruning_lab")
    for place in named:
        if place not in known:
            file, colon, _ = place.partition(":")
            kind = "function" if colon and file in known else "file"
            beside = sorted(p for p in known if (p.startswith(f"{file}:") if kind == "function" else ":" not in p))
            raise ValueError(f"waiver of {place!r}: there is no such {kind}; there are {', '.join(beside)}")


def _places(library: Path) -> set[str]:
    """The files and functions of a library, as waivers name them."""
    files = sorted(library.rglob("*.py"))
    return {texts.name_in(f, library) for f in files} | {line.place for line in syntax.statements(files, library)}


def covered(missed: Sequence[syntax.Line], waivers: Waivers, out: Path, say: Callable[[str], None]) -> None:
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
    said: dict[str, dict[str, Any]] = dict(waived={}, constants={})
    settled = set(unproved)
    for line in missed:
        under = said["constants" if line in settled else "waived"]
        under.setdefault(line.place, dict(lines=[], tests=waivers.of(line)))["lines"].append(line.text)
    return said


def _listed(lines: Iterable[syntax.Line]) -> str:
    by_place: dict[str, str] = {}
    for line in lines:
        by_place[line.place] = f"{by_place.get(line.place, f'  {line.place}')}\n      {line.text}"
    return "\n".join(by_place.values())
