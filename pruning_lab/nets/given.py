"""Arguments of public functions, looked at before anything is done with them, one sentence a fault."""

from collections.abc import Collection, Mapping, Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np
from torch import Tensor

SEEDS = (-(2**63), 2**64 - 1)  # those that torch's generators take
SHOWN = 80  # characters of a value that an error shows


def check_whole(name: str, value: Any, least: int | None = 1, most: int | None = None, none: bool = False) -> None:
    """ValueError unless a value is a whole number within its range (a bool is none), or None where that is allowed."""
    if (value is None and none) or (
        isinstance(value, Integral)
        and not isinstance(value, bool)
        and (least is None or value >= least)
        and (most is None or value <= most)
    ):
        return
    within = "" if least is None else f", {least} or more" if most is None else f" from {least} to {most}"
    raise ValueError(f"{name}={shown(value)}: expected {'None or ' * none}a whole number{within}")


def is_number(value: Any) -> bool:
    """Whether a value is a real number; a bool is none."""
    return isinstance(value, Real) and not isinstance(value, bool | np.bool_)


def check_seed(seed: Any, name: str = "seed") -> None:
    """ValueError unless a seed is a whole number that torch's generators take."""
    check_whole(name, seed, *SEEDS)


def check_batches(batches: Any, rounds: Any) -> None:
    """ValueError unless batch sizes are several whole numbers of at least 1, and rounds are one."""
    listed = isinstance(batches, Sequence) and not isinstance(batches, str) and len(batches) > 0
    if not listed or not all(
        isinstance(n, Integral) and not isinstance(n, bool) and n >= 1 for n in (*batches, rounds)
    ):
        raise ValueError(
            f"batches={shown(batches)}, rounds={shown(rounds)}: expected some batch sizes of at least 1, "
            "and at least one round"
        )


def check_flag(name: str, value: Any) -> None:
    """ValueError unless a value is True or False."""
    if not isinstance(value, bool | np.bool_):
        raise ValueError(f"{name}={shown(value)}: expected True or False")


def check_names(name: str, value: Any) -> None:
    """ValueError unless a value is a collection of names; a single one is none, as its letters would be taken."""
    if isinstance(value, str) or not isinstance(value, Collection) or not all(isinstance(each, str) for each in value):
        raise ValueError(f"{name}={shown(value)}: expected several names, as in {name}=['fc1']")


def check_mapping(what: str, value: Any) -> None:
    """ValueError unless a value is a mapping, as from names to tensors."""
    if not isinstance(value, Mapping):
        raise ValueError(f"{what} are a {type(value).__name__}: expected a mapping from the weights' names to tensors")


def check_tensors(what: str, value: Any) -> None:
    """ValueError unless a value is a mapping from names to tensors."""
    check_mapping(what, value)
    for name, each in value.items():
        if not isinstance(name, str):
            raise ValueError(f"{what} of {name!r}: expected the weights' names, which are words")
        if not isinstance(each, Tensor):
            kind = type(each).__name__
            raise ValueError(f"{what} of {name!r} are a {kind}: expected tensors by the weights' names")


def shown(value: Any) -> str:
    """A value as an error shows it, in one short line."""
    text = " ".join(repr(value).split())
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 3]}..."
