"""Where a sweep computes: this process, worker processes on this machine, whatever else takes work."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from functools import partial
from multiprocessing import connection, current_process, get_context, parent_process, resource_tracker
from queue import Empty, SimpleQueue
from types import SimpleNamespace
from typing import Any

import torch
from tqdm import tqdm

from .. import environment
from ..nets.given import check_whole
from ..records.disk import DiskFull
from ..records.experiment import Experiment, named
from ..records.provenance import THREADS
from ..records.store import run

QUIET = 20.0  # seconds of silence, after which a sweep says that it is at work, and then at twice the time


def task(e: Experiment) -> float:
    """Compute and store an experiment; the seconds that it took."""
    environment.reuse_memory()
    start = time.perf_counter()
    run(e, weights=e.has_weights)
    return time.perf_counter() - start


class Here:
    """Where one sweep computes: in this process, each experiment when its result is asked for."""

    slots = 1  # runs at a time

    def __init__(self, call: Callable[[Experiment], float] = task) -> None:
        self.call = call
        self.running: dict[Experiment, Any] = {}  # futures
        self.finished: SimpleQueue[tuple[Experiment, Any]] = SimpleQueue()

    def submit(self, e: Experiment) -> None:
        """Start it; one that must be alone, here. A future that does not say when it is done is waited for in turn."""
        try:
            future = Here.start(self, e) if e.alone else self.start(e)
        except Exception as error:  # a worker died: the pool takes nothing more
            future = Future()
            future.set_exception(error)
        self.running[e] = future
        getattr(future, "add_done_callback", lambda put: put(future))(lambda done: self.finished.put((e, done)))

    def start(self, e: Experiment) -> Any:
        """A future of the seconds that it takes."""
        return SimpleNamespace(result=partial(self.call, e))

    def next(self, patience: Callable[[], float]) -> Experiment:
        """What finished next; `patience()` seconds are waited between looks at what runs. A terminal is told of a long
        wait; a notebook is not, whose page would then depend on how busy its machine was.
        """
        began, told = time.monotonic(), QUIET
        while True:
            with suppress(Empty):
                e, future = self.finished.get(timeout=patience())
                if self.running.get(e) is future:  # else it was cancelled and started again
                    return e
            self.look()
            if (waited := time.monotonic() - began) >= told and self.running and sys.stderr.isatty():
                told *= 2
                at_work = f"{len(self.running)} at work or in line, the first of them {named(next(iter(self.running)))}"
                print(f"{at_work}; none has ended for {waited:.0f} s", file=sys.stderr, flush=True)

    def look(self) -> None:
        """See to what runs."""

    def result(self, e: Experiment) -> float:
        """The seconds that it took, once; raises what it raised."""
        return self.running.pop(e).result()

    def stop(self) -> None:
        """End what runs where that can be ended; what it was at goes on from its checkpoint next time."""
        for future in self.running.values():
            with uninterrupted(), suppress(Exception):  # a cluster that is gone takes nothing back
                getattr(future, "cancel", bool)()


class Elsewhere(Here):
    """Where an executor computes."""

    def __init__(self, executor: Any, call: Callable[[Experiment], float] = task) -> None:
        super().__init__(call)
        self.executor, self.slots = executor, getattr(executor, "slots", 1)

    def start(self, e: Experiment) -> Any:
        """A future of the executor."""
        return self.executor.submit(task, e)

    def result(self, e: Experiment) -> float:
        """As in this process. Unguarded: no worker could be started for want of a guard in the script."""
        try:
            return super().result(e)
        except BrokenProcessPool:
            if isinstance(self.executor, Pool):
                self.executor.see_guard()
            raise

    def stop(self) -> None:
        """End our own workers; take back from others what they would first finish."""
        if isinstance(self.executor, Pool):
            self.executor.stop()
        else:
            super().stop()


UNGUARDED = 3  # exit code of a worker that was about to start workers itself


class Unguarded(RuntimeError):
    """The script that sweeps would sweep anew in each worker, which reads the script to know what it defines."""


class Pool(ProcessPoolExecutor):
    """Worker processes that end with the block they serve when that is stopped; checkpoints keep what they were at."""

    def submit(self, *args: Any, **kwargs: Any) -> Future:
        """As any executor's; a worker that this starts hears no Ctrl-C until it is ready to end without a word."""
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            return super().submit(*args, **kwargs)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    @property
    def slots(self) -> int:
        """Runs at a time."""
        return self._max_workers

    def stop(self) -> None:
        """End the workers at once; what they were at and what waits is given up. It is not cancelled: where the workers
        end by themselves meanwhile, the pool's own thread would fail on what is cancelled already."""
        for process in list((self._processes or {}).values()):
            process.terminate()

    def see_guard(self) -> None:
        """Unguarded: that is why a worker of this pool ended, if it is broken."""
        if self._broken:
            self._executor_manager_thread.join()  # it waits for all workers before it ends
        if any(process.exitcode == UNGUARDED for process in (self._processes or {}).values()):
            how = 'put what sweeps under `if __name__ == "__main__":`'
            raise Unguarded(f"{sys.argv[0]} is read by every worker process, and would sweep in each: {how}")

    def __exit__(self, kind: type[BaseException] | None, *rest: Any) -> bool | None:
        if kind is not None and issubclass(kind, KeyboardInterrupt | DiskFull):
            self.stop()  # to wait for them would take as long as their trainings
        return super().__exit__(kind, *rest)


def pool(workers: int) -> Pool:
    """Worker processes of one CPU thread each: small nets run fastest one a core.

    ValueError: no number of workers, or more than any machine has use for.

    SystemExit: in a worker, which reads the script that sweeps: put there what sweeps under `if __name__ ==
    "__main__":`.

    >>> from pruning_lab import pool
    >>> pool(0)
    Traceback (most recent call last):
        ...
    ValueError: workers=0: expected a whole number from 1 to 1024
    """
    check_whole("workers", workers, most=environment.MOST_WORKERS)
    if getattr(current_process(), "_inheriting", False):  # a worker that starts, and reads the script that sweeps
        raise SystemExit(UNGUARDED)
    # the tracker lets Ctrl-C through when it starts, which must not be in the middle of `submit`
    resource_tracker.ensure_running()
    return Pool(workers, mp_context=get_context("spawn"), initializer=_begin_worker)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Let Ctrl-C wait until the end of the block: a client that is interrupted in a call leaves a traceback behind."""
    if threading.current_thread() is not threading.main_thread() or (before := signal.getsignal(signal.SIGINT)) is None:
        yield  # it is not here that Ctrl-C arrives, or not by Python
        return
    pressed: list[int] = []
    signal.signal(signal.SIGINT, lambda number, _: pressed.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if pressed:
            signal.raise_signal(signal.SIGINT)


def _begin_worker() -> None:
    """One CPU thread; no word of its own on Ctrl-C; and an end with the pool's process, also where that is killed."""
    torch.set_num_threads(THREADS)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    # tqdm's own would be a semaphore of the system, which a process that is ended leaves behind
    tqdm.set_lock(threading.RLock())

    def follow() -> None:
        connection.wait([parent_process().sentinel])
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()
