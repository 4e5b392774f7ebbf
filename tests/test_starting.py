"""What a command says before the library is loaded: at once, to a terminal alone, and only of slow commands."""

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from pruning_lab.running import starting

ROOT = Path(__file__).resolve().parents[1]
PYTHON = ["/usr/bin/python", "-X", "dev"]


@pytest.mark.parametrize(
    "words, command",
    [
        ([*PYTHON, "-m", "pruning_lab", "plan", "01"], "plan"),
        (["/usr/bin/python", "/usr/bin/pruning-lab", "sweep", "01"], "sweep"),
        ([*PYTHON, "-m", "pruning_lab", "sweep", "--help"], ""),
        ([*PYTHON, "-m", "pruning_lab"], ""),
        ([*PYTHON, "-m", "pytest", "plan"], ""),
        ([*PYTHON, "-c", "import pruning_lab", "plan"], ""),
        ([], ""),
    ],
)
def test_the_command_is_read_off_the_words_of_the_process(words, command):
    assert starting.command(words) == command


@pytest.mark.parametrize("command", ["plan", "report", "run", "sweep", "verify", "list"])
@pytest.mark.parametrize("terminal", [True, False])
def test_the_line_goes_to_a_terminal_alone(capsys, monkeypatch, command, terminal):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    starting.say([*PYTHON, "-m", "pruning_lab", command])
    said = capsys.readouterr()
    assert said.out == "" and said.err == (f"{starting.LOADING}\n" if terminal and command != "list" else "")


def test_it_is_said_before_anything_slow_is_imported():
    pty = pytest.importorskip("pty", reason="no terminals here")
    ours, theirs = pty.openpty()
    words = [sys.executable, "-X", "importtime", "-m", "pruning_lab", "plan", "no_such_chapter"]
    with subprocess.Popen(words, env=os.environ | dict(PYTHONPATH=str(ROOT)), stderr=theirs, cwd=ROOT) as process:
        os.close(theirs)
        said = "".join(read(ours))
    before, _, after = said.replace("\r\n", "\n").partition(starting.LOADING)
    assert process.returncode == 2 and after
    for slow in ("torch", "numpy", "pandas"):
        assert f"| {slow}\n" not in before and f"{slow}\n" in after


def read(terminal):
    """All that is written to a terminal until nobody holds its other end."""
    with open(terminal, encoding="utf-8", errors="replace") as lines, suppress(OSError):  # EIO is its end
        yield from lines
