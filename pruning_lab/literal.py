"""Settings as plain values: what keys, records and checkpoints can hold."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any

import numpy as np


def plain(value: Any) -> Any:
    """The same value without NumPy: scalars as Python's numbers and words, arrays as tuples; also inside others."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return _tuples(value.tolist())
    if type(value) in (tuple, list):
        return type(value)(plain(v) for v in value)
    return {plain(k): plain(v) for k, v in value.items()} if type(value) is dict else value


def _tuples(value: Any) -> Any:
    return tuple(_tuples(v) for v in value) if isinstance(value, list) else value


def settle(instance: Any) -> None:
    """Give all fields of a frozen dataclass their plain values, in its `__post_init__`: NumPy's 3 is the setting 3."""
    for f in fields(instance):
        object.__setattr__(instance, f.name, plain(getattr(instance, f.name)))


def dumps(value: Any, **options: Any) -> str:
    """JSON of settings. TypeError: something in them is no plain value; names it."""
    return json.dumps(value, default=_settled, **options)


def _settled(value: Any) -> Any:
    if type(found := plain(value)) is not type(value):
        return found
    kind = type(value).__name__
    raise TypeError(f"{value!r} ({kind}) is no setting: expected numbers, words, None, or tuples of them")
