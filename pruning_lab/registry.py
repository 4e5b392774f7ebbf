"""Functions by their names, in registries: who may take a name that is taken."""

from __future__ import annotations

from collections.abc import Callable, Mapping


def holder(registry: Mapping[str, Callable], function: Callable) -> str | None:
    """The module of another function that has this one's name in a registry; None: the name is free for it.

    A module or a cell that runs again may replace its own function, nobody one of this library.
    """
    held = registry.get(function.__name__, function)
    ours = str(held.__module__).partition(".")[0] == __name__.partition(".")[0]
    moved = (held.__module__, held.__qualname__) != (function.__module__, function.__qualname__)
    return str(held.__module__) if held is not function and (ours or moved) else None
