"""What a command says before the library is loaded, which takes seconds and more where a disk is slow.

It is said when this module is imported, before all others, to somebody who waits at a terminal: programs that read what
a command says find its own words alone.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

LOADING = "loading the library: seconds, on a slow disk up to a minute"
SAY_SO = ("plan", "report", "run", "sweep", "verify")  # commands that say so


def command(words: Sequence[str]) -> str:
    """The command of a process that was started with these words, `python -m pruning_lab <command>` or its script; ""
    of another process, and of one that only asks for help.
    """
    pairs = zip(words, words[1:], strict=False)
    at = next((k for k, (one, next_) in enumerate(pairs, 2) if (one, next_) == ("-m", "pruning_lab")), None)
    if at is None and len(words) > 1 and Path(words[1]).name == "pruning-lab":
        at = 2
    rest = [] if at is None else list(words[at:])
    return "" if not rest or {"-h", "--help"} & set(rest) else rest[0]


def say(words: Sequence[str]) -> None:
    """Print the line, where the process is such a command and its errors are shown on a terminal."""
    if command(words) in SAY_SO and sys.stderr.isatty():
        print(LOADING, file=sys.stderr, flush=True)


say(sys.orig_argv)
