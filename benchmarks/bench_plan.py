"""What `plan` foretells for a chapter against what its sweep then takes, in an empty store, on one CPU thread.

Run `python benchmarks/bench_plan.py [CHAPTER [PROFILE]]`; without words, chapter 5 at the laptop profile. The estimate
is for a machine on which nothing else computes, so that what counts is the seconds on a processor; those that passed
are printed beside them.
"""

import contextlib
import io
import os
import sys
import tempfile
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from pruning_lab.running import chapters, estimate, sweeps

LIMIT = 2.0  # of the ratio, either way


def main() -> None:
    """Print the estimate, the time of the sweep and their ratio; fail where that is beyond `LIMIT`."""
    name, profile = (*sys.argv[1:], *("05", "laptop")[len(sys.argv) - 1 :])
    torch.set_num_threads(1)
    os.environ["PRUNING_LAB_DEVICE"] = "cpu"
    with tempfile.TemporaryDirectory() as folder:
        os.environ["PRUNING_LAB_STORE"] = os.environ["PRUNING_LAB_RESULTS"] = folder
        plan = chapters.plan(chapters.chapter(name), profile)
        start, used = time.perf_counter(), time.process_time()
        found = estimate.estimate(plan)
        print(found.text())
        measuring, (seconds, _) = time.perf_counter() - start, found.total()
        print(
            f"measuring took {measuring:.0f} s, {time.process_time() - used:.0f} s of them on a processor", flush=True
        )
        start, used = time.perf_counter(), time.process_time()
        with contextlib.redirect_stdout(io.StringIO()):
            sweeps.sweep(plan)
        passed, used = time.perf_counter() - start, time.process_time() - used
    print(
        f"the sweep took {passed:.0f} s, {used:.0f} s of them on a processor; estimated {seconds:.0f} s: "
        f"{seconds / used:.2f} times"
    )
    assert 1 / LIMIT < seconds / used < LIMIT, f"the estimate is more than {LIMIT} times off"


if __name__ == "__main__":
    main()
