"""Where the records of an experiment lie, and the state of a run that did not end."""

from __future__ import annotations

from glob import escape
from pathlib import Path

from filelock import FileLock

from .. import environment
from . import certificates, record, source
from .experiment import Experiment


def folder_of(e: Experiment, shelf: str = "local") -> Path:
    """The folder of an experiment's record on a shelf, "local" or "published", whether there is one or not.

    >>> from pruning_lab import Recipe, Train
    >>> from pruning_lab.records import store
    >>> net = Train("digits", "mlp", Recipe(iterations=1), width=6, limit=20)
    >>> store.folder_of(net).name == net.key, store.folder_of(net, "published").parent.name
    (True, 'Train')
    """
    root = environment.published_shelf() if shelf == "published" else environment.local_shelf()
    return root / type(e).__name__ / e.key


def lock(e: Experiment, timeout: float = -1) -> FileLock:
    """Held by the one process that computes an experiment.

    >>> from pruning_lab import Recipe, Train
    >>> from pruning_lab.records import store
    >>> with store.lock(Train("digits", "mlp", Recipe(iterations=1), width=6, limit=20)) as held:
    ...     held.is_locked
    True
    >>> held.is_locked
    False
    """
    return record.lock(folder_of(e), timeout)


def states() -> Path:
    """The folder of the states that runs leave which did not end.

    >>> from pruning_lab.records import store
    >>> store.states().name
    'checkpoints'
    """
    return environment.local_shelf() / "checkpoints"


def scratch(e: Experiment) -> Path:
    """A file for the state of an experiment while it runs, of other code another; it goes once the record is stored.

    >>> from pruning_lab import Recipe, Train
    >>> from pruning_lab.records import store
    >>> store.scratch(Train("digits", "mlp", Recipe(iterations=1), width=6, limit=20)).parent == store.states()
    True
    """
    return states() / f"{_begin(e)}{source.state(e.code())[:8]}.safetensors"


def half_done(e: Experiment) -> Path | None:
    """The file in which a run that did not end left its state, by today's code or by code that is certified.

    >>> from pruning_lab import Recipe, Train
    >>> from pruning_lab.records import store
    >>> store.half_done(Train("digits", "mlp", Recipe(iterations=1), width=6, limit=20, seed=10**6)) is None
    True
    """
    if (own := scratch(e)).is_file():
        return own
    begin, device = _begin(e), environment.device().type
    left = [f for f in states().glob(f"{escape(begin)}{'[0-9a-f]' * 8}.safetensors") if f.is_file()]
    sound = [f for f in left if certificates.leads_here(type(e).__name__, f.stem.removeprefix(begin), e.code(), device)]
    return max(sound, key=lambda f: f.stat().st_mtime_ns, default=None)


def adopt(e: Experiment) -> None:
    """Give what such a run left the names that today's code looks for; the caller holds the experiment's lock."""
    state, own = half_done(e), scratch(e)
    if state is None or state == own:
        return
    for beside in sorted(state.parent.glob(f"{escape(state.stem)}.*.safetensors")):  # first: a death leaves the state
        beside.replace(own.with_name(own.stem + beside.name.removeprefix(state.stem)))
    state.replace(own)


def left_by(e: Experiment) -> list[Path]:
    """The files of all states that runs of an experiment left, by whatever code."""
    return list(states().glob(f"{escape(_begin(e))}*"))


def clear(e: Experiment) -> None:
    """Remove those; the caller holds the experiment's lock."""
    for file in left_by(e):
        file.unlink(missing_ok=True)


def _begin(e: Experiment) -> str:
    return f"{type(e).__name__}-{e.key}-"
