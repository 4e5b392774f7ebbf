"""XOR detection (Brutzkus & Globerson 2019): is one of d pairs of signs an equal one? Exact, whatever d.

A net of 2 k filters of two numbers: the k of `w` vote for, the k of `u` against, each by its largest response to any
pair, rectified. So it sees of an input only which of the four patterns are present: there are 15 inputs, whatever d,
and training sets, losses and errors are weights over these. Filters of R nets are [R, 2, k, 2], `w` before `u`.

ValueError: what is given is of another kind, not finite, out of range, or of shapes that do not fit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection

import numpy as np
import torch

from ..numeric import check_whole, checked

PAIRS = 511  # 4^511 inputs are the most that a float64 counts
FILTERS = 10**8  # of all runs of a block
FEW, MANY = (1, 10**6), (1, 10**9)  # filters or runs of a block, and inputs that are drawn
PATTERNS = torch.tensor([[1.0, 1.0], [-1.0, -1.0], [1.0, -1.0], [-1.0, 1.0]], dtype=torch.float64)
EQUAL = (True, True, False, False)  # which patterns make an input positive
SETS = torch.tensor([[bool(s >> p & 1) for p in range(4)] for s in range(1, 16)])  # [15, 4], all that can be present
LABELS = torch.where((SETS & torch.tensor(EQUAL)).any(1), 1.0, -1.0).double()  # [15]


@checked(d=(0, 10_000))
def counts_of_inputs(d: int) -> list[int]:
    """How many of the 4^d inputs have exactly the patterns of each set present, 15 whole numbers.

    >>> from pruning_lab.worlds import xord
    >>> counts = xord.counts_of_inputs(2)
    >>> len(counts), sum(counts)  # 4^2 inputs
    (15, 16)
    """
    sizes = {tuple(s): int(sum(s)) for s in SETS.tolist()}

    def exactly(s: tuple[bool, ...]) -> int:
        inside = [n for t, n in sizes.items() if all(a or not b for a, b in zip(s, t, strict=True))]
        return sum((-1) ** (sizes[s] - n) * n**d for n in inside)

    return [exactly(s) for s in sizes]


@checked(d=(None, PAIRS))
def population(d: int) -> torch.Tensor:
    """The share of each set, [15] float64: both classes are equally likely, and inputs of a class, too.

    ValueError: fewer than two pairs.

    >>> from pruning_lab.worlds import xord
    >>> shares = xord.population(2)
    >>> shares.shape, round(shares.sum().item(), 9)
    (torch.Size([15]), 1.0)
    """
    if d < 2:
        raise ValueError(f"d={d}: expected at least two pairs")
    counts = torch.tensor(counts_of_inputs(d), dtype=torch.float64)
    return sum(torch.where(label == LABELS, counts, 0.0) / counts[label == LABELS].sum() for label in (1.0, -1.0)) / 2


@checked(n=MANY, runs=FEW)
def training_sets(d: int, n: int | None, runs: int, seed: int) -> torch.Tensor:
    """The share of each set among n inputs of the population, drawn anew for each run, [runs, 15] float64.

    n None: one input of each class with all the patterns that its class can have, the "diverse points" of the proofs.

    >>> from pruning_lab.worlds import xord
    >>> sets = xord.training_sets(d=3, n=8, runs=2, seed=0)
    >>> sets.shape, sets.sum(1).tolist()
    (torch.Size([2, 15]), [1.0, 1.0])
    """
    if n is None:
        whole = torch.tensor([15 - 1, 0b1100 - 1])
        return torch.zeros(runs, 15, dtype=torch.float64).index_fill_(1, whole, 0.5)
    draw = np.random.default_rng(seed).multinomial(n, population(d).numpy(), size=runs)
    return torch.from_numpy(draw).double() / n


@checked(k=FEW, runs=FEW, deviation=(0, None))
def fresh(k: int, runs: int, deviation: float, seed: int) -> torch.Tensor:
    """Normal filters, [runs, 2, k, 2] float64.

    >>> from pruning_lab.worlds import xord
    >>> xord.fresh(k=4, runs=3, deviation=0.1, seed=0).shape
    torch.Size([3, 2, 4, 2])
    """
    check_whole("k times runs", k * runs, 1, FILTERS)
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.normal(0, deviation, (runs, 2, k, 2)))


@checked
def responses(filters: torch.Tensor, sets: torch.Tensor = SETS) -> tuple[torch.Tensor, torch.Tensor]:
    """Largest rectified response to any pattern of each set, and which pattern gives it, both [..., k, sets].

    >>> import torch
    >>> from pruning_lab.worlds import xord
    >>> best, winner = xord.responses(torch.tensor([[1.0, 0.5]], dtype=torch.float64))  # one filter
    >>> best.shape, best[0, 0].item(), winner[0, 0].item()  # to the pattern (1, 1)
    (torch.Size([1, 15]), 1.5, 0)
    """
    products = (filters @ PATTERNS.T)[..., None, :]
    best, winner = torch.where(sets, products, -math.inf).max(-1)
    return best.clamp_min(0), winner


@checked
def outputs(filters: torch.Tensor, sets: torch.Tensor = SETS) -> torch.Tensor:
    """What the nets say of each set, [runs, sets]; above zero: positive.

    >>> import torch
    >>> from pruning_lab.worlds import xord
    >>> good = torch.tensor([[[[3.0, 3.0], [-3.0, -3.0]], [[1.0, -1.0], [-1.0, 1.0]]]], dtype=torch.float64)
    >>> xord.outputs(good).shape, xord.outputs(good)[0].gt(0).equal(xord.LABELS.gt(0))
    (torch.Size([1, 15]), True)
    """
    votes = responses(filters, sets)[0].sum(-2)
    return votes[:, 0] - votes[:, 1]


@checked
def errors(filters: torch.Tensor, shares: torch.Tensor) -> torch.Tensor:
    """The share of inputs on which each net has not the sign of the label, [runs]; an output of zero is wrong.

    shares: of each set, [15] or [runs, 15].

    >>> import torch
    >>> from pruning_lab.worlds import xord
    >>> good = torch.tensor([[[[3.0, 3.0], [-3.0, -3.0]], [[1.0, -1.0], [-1.0, 1.0]]]], dtype=torch.float64)
    >>> xord.errors(good, xord.population(10)).tolist()
    [0.0]
    """
    return torch.where(outputs(filters) * LABELS <= 0, shares, 0.0).sum(-1)


def _wins() -> torch.Tensor:
    """Of each of eight sectors of the plane the pattern to which its filters respond in each set, one-hot; zeros where
    they are silent, [8, 15, 4].

    No filter is silent to more than two patterns, and of the other two the order of the responses is the sector's.
    """
    wins = torch.zeros(8, 15, 4, dtype=torch.float64)
    for sector in range(8):
        equal, unequal = (sector >> 2) & 1, 2 + ((sector >> 1) & 1)
        first, second = (unequal, equal) if sector & 1 else (equal, unequal)
        for row, present in enumerate(SETS.tolist()):
            if present[first] or present[second]:
                wins[sector, row, first if present[first] else second] = 1
    return wins


WINS = _wins()


@checked
def sectors(filters: torch.Tensor) -> torch.Tensor:
    """The sector of each filter [runs, 2, k, 2], whole numbers [runs, 2, k] from 0 to 7: which two patterns it answers,
    and which one more.

    >>> import torch
    >>> from pruning_lab.worlds import xord
    >>> xord.sectors(torch.tensor([[1.0, 0.5], [-1.0, -0.5], [1.0, -2.0]])).tolist()
    [0, 6, 5]
    """
    return _sectors(filters)


def _sectors(filters: torch.Tensor) -> torch.Tensor:
    along, across = filters.sum(-1), filters[..., 0] - filters[..., 1]
    return 4 * (along < 0).long() + 2 * (across < 0).long() + (across.abs() > along.abs()).long()


@checked
def gradient(
    filters: torch.Tensor, shares: torch.Tensor, margin: float, wins: torch.Tensor = WINS, labels: torch.Tensor = LABELS
) -> torch.Tensor:
    """Of the mean hinge loss max(0, margin - label x output) by each filter, in the shape of `filters` [runs, 2, k, 2].

    Filters of one sector have one gradient and add up, so that a step costs as much as reading the filters.

    >>> import torch
    >>> from pruning_lab.worlds import xord
    >>> filters = xord.fresh(k=2, runs=3, deviation=0.1, seed=0)
    >>> xord.gradient(filters, xord.training_sets(3, 8, 3, seed=0), margin=1.0).shape == filters.shape
    True
    """
    return _gradient(filters, shares, margin, wins, labels)


def _gradient(
    filters: torch.Tensor, shares: torch.Tensor, margin: float, wins: torch.Tensor, labels: torch.Tensor
) -> torch.Tensor:
    where = _sectors(filters)[..., None].expand(filters.shape)
    summed = filters.new_zeros(*filters.shape[:2], 8, 2).scatter_add_(2, where, filters)
    votes = torch.einsum("rhqp,qsp->rhs", summed @ PATTERNS.T, wins)
    said = (votes[:, 0] - votes[:, 1]) * labels
    push = torch.where(said < margin, -labels * shares, 0.0)
    each = torch.einsum("rs,qsp->rqp", push, wins) @ PATTERNS
    return torch.stack([each, -each], 1).gather(2, where)


def train(
    filters: torch.Tensor, shares: torch.Tensor, *, lr: float, margin: float, steps: int,
    at: Collection[int], look: Callable[[int, torch.Tensor], None],
) -> torch.Tensor:  # fmt: skip
    """The filters [runs, 2, k, 2] after so many steps of plain gradient descent on the whole training set, at rate
    lr / k; shares are [runs, 15].

    at, look: the steps after which `look(step, filters)` is called; 0: before the first.

    >>> from pruning_lab.worlds import xord
    >>> filters, sets, seen = xord.fresh(k=2, runs=3, deviation=0.1, seed=0), xord.training_sets(3, 8, 3, seed=0), []
    >>> look = lambda step, filters: seen.append(step)
    >>> after = xord.train(filters, sets, lr=0.5, margin=1.0, steps=5, at=(0, 5), look=look)
    >>> seen, after.shape
    ([0, 5], torch.Size([3, 2, 2, 2]))
    """
    there = (shares > 0).any(0)
    kept, wins, labels = shares[:, there], WINS[:, there], LABELS[there]
    filters, rate = filters.clone(), lr / filters.shape[2]
    for step in range(steps + 1):
        if step in at:
            look(step, filters)
        if step < steps:
            filters -= rate * _gradient(filters, kept, margin, wins, labels)
    return filters


@checked
def explored(filters: torch.Tensor) -> torch.Tensor:
    """Whether among the filters that vote for, each equal pattern is the closest of all four to one, and among those
    that vote against each unequal one, [runs] bool (Lemma 3.1).

    >>> import torch
    >>> from pruning_lab.worlds import xord
    >>> good = torch.tensor([[[[2.0, 2.0], [-2.0, -2.0]], [[1.0, -1.0], [-1.0, 1.0]]]], dtype=torch.float64)
    >>> xord.explored(good).tolist(), xord.explored(good.abs()).tolist()
    ([True], [False])
    """
    closest = (filters @ PATTERNS.T).argmax(-1)
    has = [(closest == p).any(-1)[:, 0 if equal else 1] for p, equal in enumerate(EQUAL)]
    return torch.stack(has).all(0)


@checked(k=MANY)
def chance_explored(k: int) -> float:
    """The probability of `explored` for normal filters: twice two of four sectors are hit by k draws.

    >>> from pruning_lab.worlds import xord
    >>> xord.chance_explored(2)  # (1 / 8)^2
    0.015625
    """
    return (1 - 2 * (3 / 4) ** k + (1 / 2) ** k) ** 2


@checked
def missed(filters: torch.Tensor) -> torch.Tensor:
    """Which equal patterns a net does not find where nothing but unequal ones stand beside it, [runs, 2] bool.

    >>> import torch
    >>> from pruning_lab.worlds import xord
    >>> half = torch.tensor([[[[2.0, 2.0], [2.0, 2.0]], [[1.0, -1.0], [-1.0, 1.0]]]], dtype=torch.float64)
    >>> xord.missed(half).tolist()
    [[False, True]]
    """
    beside = torch.tensor([[True, False, True, True], [False, True, True, True]])
    return outputs(filters, beside) <= 0


@checked
def angles(filters: torch.Tensor) -> torch.Tensor:
    """Degrees between filters and their closest pattern, a mean over a net's filters weighted by length, [runs].

    45 at most; of random directions 22.5 on average.

    >>> import torch
    >>> from pruning_lab.worlds import xord
    >>> xord.angles(torch.tensor([[[[1.0, 0.0]], [[0.0, 1.0]]]], dtype=torch.float64)).round(decimals=6).tolist()
    [45.0]
    """
    lengths = filters.norm(dim=-1)
    cosines = (filters @ PATTERNS.T).amax(-1) / (lengths * math.sqrt(2)).clamp_min(1e-300)
    degrees = torch.rad2deg(torch.arccos(cosines.clamp(-1, 1)))
    return (degrees * lengths).sum((1, 2)) / lengths.sum((1, 2)).clamp_min(1e-300)
