"""Worker processes on this machine."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import connection, get_context, parent_process, resource_tracker
from typing import Any

import torch
from tqdm import tqdm

from ..records.disk import DiskFull
from ..records.store import THREADS


class Pool(ProcessPoolExecutor):
    """Worker processes that end with the block they serve when that is stopped: what they were at goes on from its
    checkpoint.
    """

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

    def __exit__(self, kind: type[BaseException] | None, *rest: Any) -> bool | None:
        if kind is not None and issubclass(kind, KeyboardInterrupt | DiskFull):
            self.stop()  # to wait for them would take as long as their trainings
        return super().__exit__(kind, *rest)


def pool(workers: int) -> Pool:
    """Worker processes of one CPU thread each: small nets run fastest one a core."""
    # the tracker lets Ctrl-C through when it starts, which must not be in the middle of `submit`
    resource_tracker.ensure_running()
    return Pool(workers, mp_context=get_context("spawn"), initializer=_begin_worker)


@contextmanager
def one_thread() -> Iterator[None]:
    """Inside, this process computes as a worker does; afterwards with as many threads as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    try:
        yield
    finally:
        torch.set_num_threads(before)


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
