"""Small worlds without images: nets that detect equal pairs, students that learn from a teacher."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd
import torch

from ..metrics import kmeans
from ..records import store
from ..records.experiment import Experiment, Result
from ..training.recipe import derived_seed
from ..worlds import committee, xord

LOOKS = 25  # at a net on its way, at most


def looks(steps: int, count: int = LOOKS) -> tuple[int, ...]:
    """At most so many of the steps from 0 to the last, denser at first."""
    return tuple(int(k) for k in np.unique(np.rint(np.geomspace(1, steps + 1, count) - 1)))


@dataclass(frozen=True)
class Xord(Experiment):
    """A block of nets of one width that learn to detect equal pairs, each from a start and training set of its own.

    Nets of all widths at one seed have the same training sets. Table, a row a net: run, train_error, test_error (exact,
    of the whole population), missed (0..2 equal patterns that it does not find), explored (its start has a filter
    closest to every pattern), angle_start, angle_end (degrees to the closest pattern, see `xord.angles`). Arrays:
    `steps` [T]; `train_error`, `test_error` [T, runs] float16; `final` [runs, 2, k, 2] float16; `paths` [T, kept, 2, k,
    2] float16, of the first `kept` nets; `sets` [runs, 15] float16, the shares of pattern sets in training.

    ValueError: numbers that are too small, or a `start` of other runs or of fewer filters.

    >>> from pruning_lab import Xord, run
    >>> record = run(Xord(k=2, runs=3, steps=5))
    >>> record.table.run.tolist()
    [0, 1, 2]
    >>> record.arrays["final"].shape
    (3, 2, 2, 2)
    """

    is_net: ClassVar[bool] = True

    k: int  # filters that vote for, and as many that vote against
    seed: int = 0  # of starts and training sets
    runs: int = 100  # nets
    n: int | None = 60  # inputs to train on; None: `xord.training_sets`'s diverse points
    d: int = 10  # pairs of an input
    lr: float = 0.5  # over k
    margin: float = 1.0  # of the hinge loss
    deviation: float = 1e-3  # of the first weights
    steps: int = 1_000  # of gradient descent
    kept: int = 3  # nets whose paths are kept
    start: Xord | None = None  # begin at k-means centres of this block's trained filters instead

    def __post_init__(self) -> None:
        super().__post_init__()
        low = [name for name in ("k", "runs", "steps") if getattr(self, name) < 1]
        if low or self.d < 2 or (self.n is not None and self.n < 1):
            raise ValueError(f"{self}: expected k, runs, steps and n of at least 1 and d of at least 2")
        if self.start is not None and (self.start.runs != self.runs or self.start.k < self.k):
            raise ValueError(f"start: expected {self.runs} runs of {self.k} filters or more, got {self.start}")

    def compute(self) -> Result:
        shares = xord.training_sets(self.d, self.n, self.runs, derived_seed("xord data", self.d, self.n, self.seed))
        first, tested = self.first(), xord.population(self.d)
        at, seen = looks(self.steps), []

        def look(step: int, filters: torch.Tensor) -> None:
            errors = (xord.errors(filters, shares), xord.errors(filters, tested))
            seen.append((*(e.numpy() for e in errors), filters[: self.kept].numpy().copy()))

        how = dict(lr=self.lr, margin=self.margin, steps=self.steps, at=set(at), look=look)
        final = xord.train(first, shares, **how)
        train, test, paths = (np.stack(part) for part in zip(*seen, strict=True))
        arrays = dict(steps=np.array(at), train_error=train.astype(np.float16), test_error=test.astype(np.float16))
        arrays |= dict(
            final=final.numpy().astype(np.float16),
            paths=paths.astype(np.float16),
            sets=shares.numpy().astype(np.float16),
        )
        return Result(self._table(first, final, train[-1], test[-1]), arrays)

    def first(self) -> torch.Tensor:
        """The filters before training, [runs, 2, k, 2] float64."""
        if self.start is None:
            return xord.fresh(self.k, self.runs, self.deviation, derived_seed("xord start", self.k, self.seed))
        final = store.run(self.start).arrays["final"].astype(float)
        seed = derived_seed("xord centres", self.seed) % 2**32
        return torch.from_numpy(np.stack([[kmeans(side, self.k, seed)[0] for side in net] for net in final]))

    @staticmethod
    def _table(first: torch.Tensor, final: torch.Tensor, train: np.ndarray, test: np.ndarray) -> pd.DataFrame:
        ends = dict(angle_start=xord.angles(first), angle_end=xord.angles(final))
        columns = dict(run=range(len(test)), train_error=train, test_error=test)
        columns |= dict(missed=xord.missed(final).sum(1).numpy(), explored=xord.explored(first).numpy())
        return pd.DataFrame(columns | {name: values.numpy() for name, values in ends.items()}).round(12)

    def cost(self) -> float:
        return 1e-7 * self.runs * (50 + self.k) * self.steps

    def label(self) -> str:
        return f"xord-k{self.k}{'-centres' if self.start else ''}-s{self.seed}"


@dataclass(frozen=True)
class TeacherStudent(Experiment):
    """A student of `student` units that learns online from a teacher of `teacher` units.

    All students of a seed have the same teacher; a student of one layer trained has second-layer weights of 1, as the
    teacher. Table: step, error (exact, see `committee.error`). Arrays: `cosines` [T, K, M] float32 between first-layer
    weights, `second` [T, K] float32 second-layer weights, `lengths` [T, K] float32 of first-layer weights over sqrt(N).

    ValueError: units, inputs or steps below 1, or noise below 0.

    >>> from pruning_lab import TeacherStudent, run
    >>> record = run(TeacherStudent(student=3, inputs=4, steps=10))
    >>> record.arrays["cosines"].shape[1:]  # units of student and teacher
    (3, 2)
    >>> record.table.step.iloc[-1].item()
    10
    """

    is_net: ClassVar[bool] = True

    student: int  # units of the student
    both: bool = True  # both layers are trained; else the first
    noise: float = 0.1  # deviation of what is added to the teacher's outputs
    seed: int = 0  # of both nets and of the inputs
    teacher: int = 2  # units of the teacher
    inputs: int = 50  # numbers in one input
    lr: float = 0.5  # learning rate, over sqrt(N) and N
    steps: int = 40_000  # inputs, each seen once

    def __post_init__(self) -> None:
        super().__post_init__()
        if min(self.student, self.teacher, self.inputs, self.steps) < 1 or self.noise < 0:
            raise ValueError(f"{self}: expected units, inputs and steps of at least 1 and noise of at least 0")

    def compute(self) -> Result:
        drawn = np.random.default_rng(derived_seed("teacher", self.teacher, self.inputs, self.seed))
        teacher = committee.drawn(self.teacher, self.inputs, drawn)
        rng = np.random.default_rng(derived_seed("student", self.student, self.both, self.seed))
        first, rows, seen = committee.drawn(self.student, self.inputs, rng, signs=self.both), [], []

        def look(step: int, student: committee.Net) -> None:
            rows.append((step, committee.error(student, teacher)))
            lengths = np.linalg.norm(student.w, axis=1) / np.sqrt(self.inputs)
            seen.append((committee.cosines(student, teacher), student.v.copy(), lengths))

        how = dict(lr=self.lr, noise=self.noise, both=self.both, steps=self.steps, at=set(looks(self.steps)), look=look)
        committee.train(first, teacher, rng, **how)
        arrays = zip(("cosines", "second", "lengths"), zip(*seen, strict=True), strict=True)
        stacked = {name: np.stack(values).astype(np.float32) for name, values in arrays}
        return Result(pd.DataFrame(rows, columns=["step", "error"]).round(12), stacked)

    def cost(self) -> float:
        return 5e-5 * self.steps

    def label(self) -> str:
        return f"teacher-{self.teacher}-student-{self.student}-{'both' if self.both else 'first'}-s{self.seed}"
