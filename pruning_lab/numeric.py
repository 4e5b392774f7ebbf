"""Numbers that functions take and give: of the kind and within the range that is expected, and finite; else one
sentence that names them.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from functools import wraps
from numbers import Integral, Real
from typing import Any, get_args, get_origin, get_type_hints

import numpy as np
import torch
from torch import Tensor

SHOWN = 80  # characters of a value that an error shows
Range = tuple[int | None, int | None]  # least and most, of a real number the least alone


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


def shown(value: Any) -> str:
    """A value as an error shows it, in one short line."""
    text = " ".join(repr(value).split())
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 3]}..."


def checked(reads: Callable | None = None, /, nan: bool = False, **ranges: Range) -> Callable:
    """Makes a function refuse arguments that are not of the annotated kind, within their range, or finite, and an
    answer that is not finite; it changes no number.

    Arrays may come as what NumPy makes real numbers of. `nan`: its answer may be NaN, as its docstring says.
    ranges: least and most of an argument, by its name. ValueError of the function: an argument, by its name; arguments
    that do not fit together; an answer that is not finite.
    """
    if reads is None:
        return lambda function: checked(function, nan=nan, **ranges)
    signature, kinds = inspect.signature(reads), get_type_hints(reads)

    @wraps(reads)
    def careful(*args: Any, **named: Any) -> Any:
        given = signature.bind(*args, **named)
        for name, value in given.arguments.items():
            given.arguments[name] = sound(name, value, kinds.get(name, Tensor), ranges.get(name, (None, None)))
        try:
            answer = reads(*given.args, **given.kwargs)
        except torch.OutOfMemoryError:
            raise
        except (RuntimeError, ArithmeticError) as error:
            why = shown(str(error))
            raise ValueError(f"{reads.__name__}: what it is given does not fit together ({why})") from error
        if not nan and not all(map(_finite, answer if isinstance(answer, tuple) else (answer,))):
            raise ValueError(f"{reads.__name__}: what comes out is not finite: numbers are too large, or none")
        return answer

    return careful


def sound(name: str, value: Any, kind: Any = np.ndarray, within: Range = (None, None)) -> Any:
    """A value of a kind as an argument, an array where one is expected; ValueError where it is of another kind, beyond
    its range, or not finite.

    kind: whole or real numbers, arrays, tensors, tuples of numbers, or any class; None where the kind says so.
    """
    if type(None) in get_args(kind):
        if value is None:
            return value
        kind = next(k for k in get_args(kind) if k is not type(None))
    if get_origin(kind) is tuple:
        return _several(name, value, kind, within)
    if kind is int:
        check_whole(name, value, *within)
    elif kind is float:
        _check_real(name, value, within[0])
    elif kind is np.ndarray:
        return _array(name, value)
    elif kind is Tensor:
        _check_tensor(name, value)
    elif isinstance(kind, type) and not isinstance(value, kind):
        raise ValueError(f"{name}={shown(value)}: expected a {kind.__name__}")
    return value


def _several(name: str, value: Any, kind: Any, within: Range) -> Any:
    kinds = get_args(kind)
    if not isinstance(value, Sequence) or isinstance(value, str) or len(value) != len(kinds):
        raise ValueError(f"{name}={shown(value)}: expected {len(kinds)} numbers")
    for k, (one, its) in enumerate(zip(value, kinds, strict=True)):
        sound(f"{name}[{k}]", one, its, within)
    return value


def _check_real(name: str, value: Any, least: float | None) -> None:
    if not is_number(value) or not math.isfinite(value) or (least is not None and value < least):
        within = "" if least is None else f", {least} or more"
        raise ValueError(f"{name}={shown(value)}: expected a finite number{within}")


def _array(name: str, value: Any) -> np.ndarray:
    array = value if isinstance(value, np.ndarray) else np.asarray(value)
    if array.dtype.kind not in "biuf" or not np.isfinite(array).all():
        raise ValueError(f"{name}={shown(value)}: expected an array of finite real numbers")
    return array


def _check_tensor(name: str, value: Any) -> None:
    plain = isinstance(value, Tensor) and not (value.is_meta or value.is_complex())
    if not plain or value.layout != torch.strided or not value.isfinite().all():
        raise ValueError(f"{name}={shown(value)}: expected a tensor of finite real numbers")


def _finite(answer: Any) -> bool:
    """Whether a number, an array or a tensor is finite; anything else counts as such."""
    if isinstance(answer, Tensor):
        return bool(answer.isfinite().all())
    return not isinstance(answer, np.ndarray | float) or bool(np.isfinite(answer).all())
