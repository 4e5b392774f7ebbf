"""Sweeps: run what is missing of a list of experiments, parents first, in order of cost."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from typing import Any, Protocol

import torch

from .experiment import Experiment
from .store import find, run

PROFILES = ("smoke", "laptop", "night", "gpu", "paper")


class Future(Protocol):
    """What `Executor.submit` returns."""

    def result(self) -> Any:
        """The value of the call, or its exception."""


class Executor(Protocol):
    """Anything that takes work: `concurrent.futures` pools, a Dask client."""

    def submit(self, fn: Any, *args: Any) -> Future:
        """Start a call elsewhere."""


class SweepError(RuntimeError):
    """Some experiments of a sweep failed; the others are stored."""


def sweep(experiments: Iterable[Experiment], executor: Executor | None = None, keep: bool | None = None) -> None:
    """Compute and store every experiment that has no record, and the parents that those need; print a line for each.

    One that fails is named, and what builds on it is left out; the rest goes on, and SweepError is raised in the end.

    Args:
        executor: where to compute; None: here, one after another.
        keep: use local records made by other code than today's (see `store.find`).
    """
    experiments = list(dict.fromkeys(experiments))
    levels = missing(experiments, keep)
    total, done, start = sum(map(len, levels)), 0, time.perf_counter()
    if not total:
        print(f"all {len(experiments)} records are stored", flush=True)
        return
    work = sum(e.cost() for level in levels for e in level) or 1.0
    finished, waiting, failed = 0.0, [], {}
    try:
        for level in levels:
            ready = [e for e in level if not failed.keys() & set(e.parents())]
            failed |= {e: "its parent failed" for e in level if e not in ready}
            waiting = [(e, _submit(executor, e, keep)) for e in ready]
            for e, future in waiting:
                try:
                    seconds = future.result()
                except Exception as error:  # whatever an experiment may raise: the others are none the worse
                    failed[e] = error
                    print(f"failed: {type(e).__name__} {e.key}: {type(error).__name__}: {error}", flush=True)
                    continue
                done, finished = done + 1, finished + e.cost()
                left = (time.perf_counter() - start) * (work / max(finished, 1e-9) - 1)
                print(f"{done}/{total} {type(e).__name__} {e.key}: {seconds:.1f} s, about {left:.0f} s left", flush=True)
    except KeyboardInterrupt:
        for _, future in waiting:  # else a pool would first finish all that it was given
            getattr(future, "cancel", bool)()
        print(f"stopped: {done} of {total} are stored; the same command goes on from there", flush=True)
        raise
    if failed:
        first = next(error for error in failed.values() if isinstance(error, Exception))
        raise SweepError(f"{len(failed)} of {total} failed, {done} are stored; the first: {first}") from first


def missing(experiments: Sequence[Experiment], keep: bool | None = None) -> list[list[Experiment]]:
    """What has to be computed, in levels of which each needs only those before it; the cheapest of a level first."""
    depth: dict[Experiment, int] = {}

    def visit(e: Experiment, weights: bool) -> int:
        if e not in depth:
            if find(e, keep, weights and e.has_weights) is not None:
                return -1
            depth[e] = 1 + max((visit(p, True) for p in e.parents()), default=-1)
        return depth[e]

    for e in experiments:
        visit(e, False)
    left = {other for e in depth for other in e.leaves()}
    depth = {e: d for e, d in depth.items() if e not in left}
    levels = [[e for e in depth if depth[e] == d] for d in range(max(depth.values(), default=-1) + 1)]
    return [sorted(level, key=lambda e: e.cost()) for level in levels]


def pool(workers: int) -> ProcessPoolExecutor:
    """Worker processes of one CPU thread each: small nets run fastest one a core."""
    return ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=torch.set_num_threads, initargs=(1,))


class _Later:
    """A call that is made when its result is asked for: a sweep in this process, or the error of a pool that is broken."""

    def __init__(self, call: Callable[[], Any]) -> None:
        self.result = call


def _submit(executor: Executor | None, e: Experiment, keep: bool | None) -> Future:
    if executor is None:
        return _Later(partial(_task, e, keep))
    try:
        return executor.submit(_task, e, keep)
    except Exception as error:  # a worker died: the pool takes nothing more
        return _Later(partial(_fail, error))


def _fail(error: Exception) -> None:
    raise error


def _task(e: Experiment, keep: bool | None) -> float:
    start = time.perf_counter()
    run(e, keep, weights=e.has_weights)
    return time.perf_counter() - start
