"""What determines an answer: experiments as frozen dataclasses, their keys and settings."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, Field, asdict, dataclass, field, fields, is_dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from ..literal import dumps, settle
from . import source


@dataclass
class Result:
    """What an experiment computes: a tidy `table`, `arrays` by name, and `weights`, which are never published.

    `seconds` is given where the work began in an earlier process, and counts that part too.

    >>> import pandas as pd
    >>> from pruning_lab import Result
    >>> Result(pd.DataFrame({"x": [1]})).arrays
    {}
    """

    table: pd.DataFrame  # tidy, a row an observation
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)  # by name, in the shapes that its docstring says
    weights: Mapping[str, Any] = field(default_factory=dict)  # tensors by name, for the local shelf alone
    seconds: float | None = None  # None: as measured around `compute`


@dataclass(frozen=True)
class Training:
    """The training that an experiment is: of which net and data (a `Train`), by which `Recipe`, with which looks."""

    net: Any
    recipe: Any
    look: Callable[[int, Any], Mapping[str, Any]] | None = None  # see `snapshot` of `training.fit.fit`
    looks: int = 0


class Experiment(ABC):
    """Base of frozen dataclasses that hold what determines an answer; one experiment is one seed.

    A subclass has fields and `compute`; fields that are experiments are what it is made of. Raise `version` when the
    meaning of an answer changes; as a property it may depend on fields, so that only what changes is made anew.

    >>> from dataclasses import dataclass
    >>> import pandas as pd
    >>> from pruning_lab import Experiment, Result
    >>> @dataclass(frozen=True)
    ... class Square(Experiment):
    ...     number: int
    ...     def compute(self):
    ...         return Result(pd.DataFrame({"square": [self.number**2]}))
    >>> Square(3).compute().table.square.tolist()  # in a file or a notebook: run(Square(3))
    [9]
    >>> Square(3) == Square(3), Square(3).key == Square(4).key
    (True, False)
    """

    version: ClassVar[int] = 1
    timed: ClassVar[tuple[str, ...]] = ()  # columns of the table that are times, and so never twice the same
    has_weights: ClassVar[bool] = False  # whether a local record holds weights that other experiments start from
    is_net: ClassVar[bool] = False  # whether it is the training of one net
    alone: ClassVar[bool] = False  # whether it takes time, so that a sweep computes nothing beside it
    # whether its records may go to the published shelf; else only what builds on them does
    published: ClassVar[bool] = True

    def __init_subclass__(cls, **named: Any) -> None:
        """What the class rests on is read while it is defined."""
        super().__init_subclass__(**named)
        source.keep(cls)

    def __post_init__(self) -> None:
        """NumPy's numbers become plain ones; a subclass with a `__post_init__` of its own calls this one first."""
        settle(self)

    @abstractmethod
    def compute(self) -> Result:
        """The answer; called by `run` only."""

    def cost(self) -> float:
        """Rough seconds on two CPU cores, to order a sweep by."""
        return 1.0

    def training(self) -> Training | None:
        """The training that `compute` is, to foresee its time and memory; None: it trains nothing."""
        return None

    def label(self) -> str:
        """The readable part of the key."""
        return "record"

    def plugin_digests(self) -> dict[str, str]:
        """Digests of what lies outside the fields and yet enters the key, such as a plugin's code."""
        return {}

    def data_read(self) -> dict[str, dict[str, Any]]:
        """Name of each split that is read -> its digest and number of lossy images, as far as it is on this machine."""
        return {name: seen for e in self.made_of() for name, seen in e.data_read().items()}

    def made_of(self) -> list[Experiment]:
        """The fields that are experiments."""
        values = [getattr(self, f.name) for f in fields(self)]
        return [v for v in values if isinstance(v, Experiment)]

    def needs(self) -> list[Experiment]:
        """Its parents, whose answers it builds on: all that it is made of, unless it makes their answers itself."""
        return self.made_of()

    def also_stores(self) -> list[Experiment]:
        """Experiments whose records it stores on its way: a sweep that computes it does not compute them again."""
        return []

    @property
    def key(self) -> str:
        """Readable label and a hash of class, version, non-default fields, plugins and keys of what it is made of."""
        own = {k: v for k, v in changed(self).items() if not isinstance(getattr(self, k), Experiment)}
        parts = [type(self).__name__, self.version, own, self.plugin_digests(), [p.key for p in self.made_of()]]
        return f"{self.label()}-{hashlib.sha256(dumps(parts, sort_keys=True).encode()).hexdigest()[:10]}"

    def config(self) -> dict[str, Any]:
        """All fields as plain values, experiments included."""
        return json.loads(dumps(asdict(self)))

    def code(self) -> dict[str, str]:
        """Digests of the files that the answer would rest on today, found from imports: its own and its parents'."""
        own = source.code_of(type(self), Experiment)
        for parent in self.needs():
            own |= parent.code()
        return dict(sorted(own.items()))


def lineage(experiments: Iterable[Experiment]) -> list[Experiment]:
    """Experiments and all that they are made of, each once, what is built on before what builds on it."""
    whole: dict[Experiment, None] = {}
    for e in experiments:
        whole |= dict.fromkeys([*lineage(e.made_of()), e])
    return list(whole)


def trainings(e: Experiment) -> list[Training]:
    """The trainings that an experiment and all that it is made of are."""
    return [found for part in lineage([e]) if (found := part.training()) is not None]


def odd(experiments: Iterable[Experiment]) -> dict[Experiment, Exception]:
    """Those whose key, or what they are made of, need or also store, is an error, and that error.

    A plan may hold one whose data, criterion or model is not on this machine.
    """
    errors = {}
    for e in experiments:
        try:
            for part in lineage([e]):
                _ = part.key, part.needs(), part.also_stores()
        except Exception as error:  # whatever a class of somebody else's may raise
            errors[e] = error
    return errors


def named(e: Experiment) -> str:
    """Class and key; of one that has no key here, its class and settings."""
    try:
        return f"{type(e).__name__} {e.key}"
    except Exception:  # it is an odd one, see above
        return f"{e!r:.200}"


def changed(instance: Any) -> dict[str, Any]:
    """Fields of a dataclass that differ from their defaults, nested ones likewise, as plain values."""
    out = {}
    for f in fields(instance):
        value = getattr(instance, f.name)
        if value != _default(f):
            out[f.name] = changed(value) if is_dataclass(value) else json.loads(dumps(value))
    return out


def same(instance: Any, stored: Mapping[str, Any]) -> bool:
    """Whether a stored config equals an experiment field by field; a field added since then must have its default."""
    names = {f.name: f for f in fields(instance)}
    if stored.keys() - names.keys():
        return False
    for name, f in names.items():
        value = getattr(instance, name)
        if name not in stored:
            equal = value == _default(f)
        elif is_dataclass(value):
            equal = isinstance(stored[name], Mapping) and same(value, stored[name])
        else:
            equal = json.loads(dumps(value)) == stored[name]
        if not equal:
            return False
    return True


def _default(f: Field) -> Any:
    return f.default_factory() if f.default_factory is not MISSING else f.default


def flat(e: Experiment) -> dict[str, Any]:
    """Settings as one flat dict; a nested field keeps its own name unless two share it, then `parent.field`."""
    return {short: value for short, _, value in settings(e)}


def settings(e: Experiment) -> list[tuple[str, str, Any]]:
    """Short name, full name and value of every field, nested ones included."""
    leaves = list(_leaves(e.config(), ()))
    last = [path[-1] for path, _ in leaves]
    short = [path[-1] if last.count(path[-1]) == 1 else ".".join(path) for path, _ in leaves]
    return [(name, ".".join(path), value) for name, (path, value) in zip(short, leaves, strict=True)]


def _leaves(tree: Mapping[str, Any], path: tuple[str, ...]) -> Iterable[tuple[tuple[str, ...], Any]]:
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, (*path, name))
        else:
            yield (*path, name), value
