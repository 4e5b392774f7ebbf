"""Lines: what a figure or a verdict draws from, one experiment's settings under several seeds."""

from __future__ import annotations

from functools import lru_cache

from ..records.experiment import Experiment, settings

ENOUGH = 3  # nets that decide a line


@lru_cache(maxsize=65_536)
def line(e: Experiment) -> str:
    """The name of the line of an experiment: its class and settings, without its own and its parts' seeds."""
    told = [
        f"{short}={value!r}"
        for short, full, value in settings(e)
        if full.rpartition(".")[2] != "seed" and value is not None
    ]
    return f"{type(e).__name__} {', '.join(told)}"
