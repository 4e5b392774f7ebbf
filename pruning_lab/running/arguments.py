"""Words of the command line: numbers within their range, parameters of a chapter as NAME VALUE or NAME=VALUE."""

from __future__ import annotations

import argparse
import ast
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Any, NoReturn

from ..environment import MOST_WORKERS
from .nearest import near
from .sweeps import LONGEST

Given = Sequence[tuple[str, str]]  # names and values of parameters, as they were typed


class _Telling(argparse.ArgumentParser):
    """Asks whether the choice like the one that is none was meant."""

    def error(self, message: str) -> NoReturn:
        if wrong := re.search(r"invalid choice: '([^']*)' \(choose from (.*)\)$", message):
            message += near(wrong[1], re.findall(r"[\w-]+", wrong[2]))
        super().error(message)


class Command(_Telling):
    """Says what a `-p` without its two words lacks."""

    def error(self, message: str) -> NoReturn:
        if message.startswith("argument -p: expected 2"):
            message = "argument -p: expected the name and the value of a parameter, such as -p seeds 3"
        super().error(message)


class Parser(_Telling):
    """Takes `-p NAME=VALUE` for `-p NAME VALUE`."""

    def parse_known_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:
        return super().parse_known_args(list(apart(sys.argv[1:] if args is None else args)), namespace)


def apart(words: Iterable[str]) -> Iterator[str]:
    """The same words, but `-p NAME=VALUE` and `-pNAME=VALUE` as `-p NAME VALUE`; a name may be missing."""
    before = ""
    for word in words:
        alone = re.fullmatch(r"((?:[A-Za-z_]\w*)?)=(.*)", word, re.S) if before == "-p" else None
        glued = re.fullmatch(r"(-p)((?:[A-Za-z_]\w*)?)=(.*)", word, re.S)
        yield from alone.groups() if alone else glued.groups() if glued else [word]
        before = word


def parameters(given: Given) -> dict[str, Any]:
    """Name -> value; what is no literal of Python is text. ValueError: a parameter is given twice."""
    found: dict[str, Any] = {}
    for name, value in given:
        if name in found:
            raise ValueError(f"-p {name} is given twice, the second time as {value[:60]!r}: give each parameter once")
        found[name] = literal(value)
    return found


def literal(text: str) -> Any:
    """The value that a word means; the word itself where it is no literal."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return text


def typed(given: Given) -> str:
    """Parameters as they stand on the command line, with a space before each; empty without any."""
    return "".join(f" -p {name} {value}" for name, value in given)


def seconds(text: str) -> float:
    """A number of seconds. ArgumentTypeError: it is none above 0, or more than a year."""
    try:
        found = float(text)
    except ValueError:
        found = float("nan")
    if not 0 < found <= LONGEST:
        raise argparse.ArgumentTypeError(
            f"{text[:60]!r}: expected a number of seconds above 0, at most {LONGEST:,} (a year)"
        )
    return found


def _whole(text: str, least: int, most: int, of: str) -> int:
    if not re.fullmatch("[+]?[0-9]{1,9}", text) or not least <= int(text) <= most:
        raise argparse.ArgumentTypeError(f"{text[:60]!r}: expected a number of {of} from {least:,} to {most:,}")
    return int(text)


workers = partial(_whole, least=1, most=MOST_WORKERS, of="workers")
count = partial(_whole, least=0, most=100_000, of="records")
