"""`python tied.py PARENT COMMAND...`: run a command that ends when the process PARENT, which starts this, ends.

A script of its own, for it is to begin at once: nothing of the library is imported.
"""

import ctypes
import os
import signal
import subprocess
import sys
import time

LOOK = 0.2  # seconds between two looks whether the parent is there, where the system does not tell


def command(words: list[str]) -> list[str]:
    """A command as one that ends with this process."""
    return [sys.executable, "-I", "-S", __file__, str(os.getpid()), *words]


def main(parent: int, words: list[str]) -> int:
    """Become the command where the system ends it with its parent (Linux), else watch over it."""
    if not _ends_with_parent():
        return _watch(parent, words)
    if os.getppid() != parent:  # it ended before the system was asked
        return 1
    os.execvp(words[0], words)


def _ends_with_parent() -> bool:
    """Have the system kill this process, whatever it runs by then, when the thread that started it ends; False: no."""
    try:
        return sys.platform == "linux" and ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0) == 0  # PR_SET_PDEATHSIG
    except (OSError, AttributeError):
        return False


def _watch(parent: int, words: list[str]) -> int:
    running = subprocess.Popen(words)
    while running.poll() is None:
        if os.getppid() != parent:
            running.kill()
        time.sleep(LOOK)
    return running.returncode


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2:]))
