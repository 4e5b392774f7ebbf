"""Worker processes end with the process that they belong to, however that ends."""

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import Future
from pathlib import Path

import pytest

from pruning_lab import Recipe, Train
from pruning_lab.records import store
from pruning_lab.records.experiment import named
from pruning_lab.running import workers

ROOT = Path(__file__).resolve().parents[1]
PLAN = """from pruning_lab import Recipe, Train
nets = [Train("digits", "lenet_300_100", Recipe(iterations=6), width=8, limit=64)]
experiments = nets + [Train("digits", "lenet_300_100", Recipe(iterations=10**7), seed) for seed in (1, 2, 3)]
"""


@pytest.fixture
def sweep(store_folder, tmp_path, monkeypatch):
    """A sweep under way, one net of four stored, by so many workers: `sweep(2)`."""
    monkeypatch.setenv("PRUNING_LAB_RESULTS", str(tmp_path / "results"))
    store.forget()
    path = tmp_path / "07_toy.ipynb"
    cells = [("parameters", 'profile = "laptop"\n'), ("plan", PLAN)]
    found = [dict(cell_type="code", metadata=dict(tags=[tag]), source=text.splitlines(True)) for tag, text in cells]
    path.write_text(json.dumps(dict(cells=found, metadata={}, nbformat=4, nbformat_minor=5)))
    begun = []

    def begin(workers, wait=True):
        words = [sys.executable, "-m", "pruning_lab", "sweep", str(path), "--workers", str(workers)]
        more, pipes = (
            dict(PYTHONPATH=str(ROOT), OMP_NUM_THREADS="1"),
            dict(stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True),
        )
        begun.append(subprocess.Popen(words, env=os.environ | more, cwd=ROOT, start_new_session=True, **pipes))
        assert not wait or begun[0].stdout.readline().startswith("1/4 Train")
        return begun[0]

    yield begin
    for process in begun:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


ALONE = pytest.param(2, os.kill, marks=pytest.mark.soak)


@pytest.mark.parametrize(
    "workers, whom", [(1, os.kill), (2, os.killpg), ALONE], ids=["here", "workers too", "not the workers"]
)
def test_ctrl_c_says_what_is_stored_and_ends_at_once(sweep, store_folder, workers, whom):
    """A terminal interrupts the whole group of processes, other programs the first one only."""
    process = sweep(workers)
    whom(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=900)
    assert (
        process.returncode == 130
        and out == "stopped: 1 of 4 are stored; the same command goes on from there, trainings from their checkpoints\n"
        and err == ""
    )
    assert not list(store_folder.rglob(".part-*")) and len(list((store_folder / "Train").iterdir())) == 1


def group(leader):
    """The worker processes of a group that are not dead."""
    columns = [word for name in ("pgid", "stat", "pid", "args") for word in ("-o", f"{name}=")]
    listed = subprocess.run(["ps", "-A", "-ww", *columns], capture_output=True, text=True).stdout.splitlines()
    rows = [line.split(None, 3) for line in listed if line.strip()]
    return [
        int(pid)
        for group, state, pid, args in rows
        if int(group) == leader and state[0] != "Z" and "spawn_main" in args
    ]


def test_ctrl_c_is_heard_without_a_word_by_workers_that_only_begin(sweep):
    process = sweep(2, wait=False)
    end = time.monotonic() + 900
    while not group(process.pid):
        assert time.monotonic() < end and process.poll() is None, "no worker came"
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=900)
    assert process.returncode == 130 and (out, err) == (
        "stopped: 0 of 4 are stored; the same command goes on from there, trainings from their checkpoints\n",
        "",
    )


@pytest.mark.parametrize("terminal", [True, False])
def test_a_terminal_is_told_of_a_sweep_that_is_at_work_for_long(monkeypatch, capsys, terminal):
    monkeypatch.setattr(workers, "QUIET", 0.01)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    served, slow = workers.Here(), Train("digits", "mlp", Recipe(iterations=1), width=6)
    served.start = lambda e: Future()  # it ends when this test ends it
    served.submit(slow)
    looks = iter(range(4))
    monkeypatch.setattr(served, "look", lambda: next(looks, None) is None and served.running[slow].set_result(1.0))
    assert served.next(lambda: 0.02) == slow
    lines = capsys.readouterr().err.splitlines()
    words = f"1 at work or in line, the first of them {named(slow)}; none has ended for 0 s"
    assert (lines[:2] == [words] * 2 and len(lines) <= 5) if terminal else not lines  # ever more seldom


def test_workers_do_not_outlive_a_sweep_that_is_killed(sweep):
    process = sweep(2)
    assert len(group(process.pid)) == 2
    process.kill()
    end = time.monotonic() + 900
    while group(process.pid):
        assert time.monotonic() < end, "workers go on without anyone who waits for them"
        time.sleep(0.1)


WITHOUT = """from pruning_lab import Recipe, Train, pool, sweep
nets = [Train("digits", "mlp", Recipe(epochs=1), seed, width=4, limit=40) for seed in range(3)]
{begin}sweep(nets, {executor})
"""
GUARD = 'if __name__ == "__main__":\n    '


BY_SETTING = pytest.param("", "None", marks=pytest.mark.soak)  # workers that the environment asks for, refused alike


@pytest.mark.parametrize("begin, executor", [("", "pool(2)"), BY_SETTING, (GUARD, "pool(2)")], ids=str)
def test_a_script_without_a_guard_is_told_so_in_one_sentence_and_stores_nothing(tmp_path, begin, executor):
    script, shelf = tmp_path / "mine.py", tmp_path / "store"
    script.write_text(WITHOUT.format(begin=begin, executor=executor))
    more = dict(PYTHONPATH=str(ROOT), OMP_NUM_THREADS="1", PRUNING_LAB_STORE=str(shelf), PRUNING_LAB_WORKERS="2")
    done = subprocess.run([sys.executable, str(script)], env=os.environ | more, capture_output=True, text=True)
    if begin:
        assert done.returncode == 0 and "3/3 Train" in done.stdout, done.stderr
        return
    lines = done.stderr.splitlines()
    assert done.returncode == 1 and done.stdout == "" and len(lines) < 12 and not list(shelf.glob("Train/*")), lines
    assert lines[-1].endswith(
        f"SweepError: {script} is read by every worker process, and would sweep in each: put what sweeps under "
        '`if __name__ == "__main__":`'
    )
