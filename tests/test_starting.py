"""What a command says before the library is loaded: at once, where it disturbs no table, and only of slow commands."""

import os
import subprocess
import sys
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


@pytest.mark.parametrize("command, stream", [("plan", "err"), ("sweep", "err"), ("list", "")])
def test_the_line_goes_where_it_disturbs_nothing(capsys, command, stream):
    starting.say([*PYTHON, "-m", "pruning_lab", command])
    said = capsys.readouterr()
    for name in ("out", "err"):
        assert getattr(said, name) == (f"{starting.LOADING}\n" if name == stream else "")


def test_it_is_said_before_anything_slow_is_imported():
    words = [sys.executable, "-X", "importtime", "-m", "pruning_lab", "plan", "no_such_chapter"]
    done = subprocess.run(words, env=os.environ | dict(PYTHONPATH=str(ROOT)), capture_output=True, text=True, cwd=ROOT)
    before, _, after = done.stderr.partition(starting.LOADING)
    assert done.returncode == 2 and after
    for slow in ("torch", "numpy", "pandas"):
        assert f"| {slow}\n" not in before and f"{slow}\n" in after
