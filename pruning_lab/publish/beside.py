"""Notebooks side by side: which is next, and what becomes of the others when one fails."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

from ..records import disk
from ..records.experiment import Experiment, lineage
from ..running import chapters


def planned(path: Path, profile: str, parameters: Mapping[str, Any] | None) -> frozenset[Experiment]:
    """All experiments that a chapter may compute; none where its plan cannot be read."""
    try:
        found = lineage(chapters.plan(path, profile, parameters))
    except Exception:  # whatever is wrong, the chapter will say it better when it is executed
        return frozenset()
    return frozenset(found) | {other for e in found for other in e.also_stores()}


def run(
    paths: Iterable[Path],
    work: Callable[[Path], Path],
    at_once: int,
    plans: Mapping[Path, frozenset[Experiment]],
    stop: Callable[[], None],
) -> Iterator[tuple[Path, Future]]:
    """Call `work` for each path, at most `at_once` at a time in threads; each with what it came to, as they end.

    One that fails leaves the others at work. Ctrl-C and a full disk end all: `stop` is called, and the error raised.
    """
    waiting, running = list(paths), {}
    with ThreadPoolExecutor(max(at_once, 1)) as threads:
        try:
            while waiting or running:
                while waiting and len(running) < at_once:
                    path = _next(waiting, running.values(), plans)
                    waiting.remove(path)
                    running[threads.submit(work, path)] = path
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    if disk.reason(future.exception()):
                        raise future.exception()
                    yield running.pop(future), future
        except BaseException:
            stop()
            raise


def _next(waiting: list[Path], running: Iterable[Path], plans: Mapping[Path, frozenset[Experiment]]) -> Path:
    """The one that shares least with those that run, which it would wait for; of several the one with most to do."""
    busy = frozenset().union(*(plans.get(path, frozenset()) for path in running))
    return min(waiting, key=lambda path: (len(plans.get(path, frozenset()) & busy), -len(plans.get(path, ()))))
