"""Arguments of public functions, looked at before anything is done with them, one sentence a fault."""

from collections.abc import Collection, Mapping, Sequence
from numbers import Integral
from typing import Any

import numpy as np
from torch import Tensor

from ..numeric import check_whole as check_whole
from ..numeric import is_number as is_number
from ..numeric import shown as shown

SEEDS = (-(2**63), 2**64 - 1)  # those that torch's generators take


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
