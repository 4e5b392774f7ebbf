"""What is computed must be autograd's: compared for the first samples, and for a few of every chunk."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from .calls import run
from .checks import some
from .company import Passed, parts
from .doubts import NotTold
from .fallback import NotAlone
from .loss import losses
from .meeting import Seen, check_sizes, entangled
from .passes import Task
from .sums import Sums

FEW = 8  # samples of a split at most of which every one is looked at


def verified(task: Task, x: Tensor, y: Tensor) -> Task:
    """A task whose sums over the first samples are autograd's gradient; what differs goes to the model as a whole.

    The walk along the graph is exact but for what modules hand to each other behind its back, such as an attribute.
    """
    expected, task.how.expected = task.how.expected, {}
    for last in (False, True):
        try:
            wrong = _wrong(task, x, y, expected)
        except NotAlone as error:
            if last:
                raise
            wrong = list(task.how.fallback[error.module])
        if not wrong:
            task.how.kinds = task.kinds
            return task
        if last:
            raise ValueError(_differ(task, wrong))
        for name in wrong:
            task.how.give_to(task.model, name)
        task = Task(task.model, task.loss, task.kept, task.how)


def _differ(task: Task, wrong: list[str]) -> str:
    counted = [
        name
        for name, m in task.model.named_modules()
        if isinstance(m, nn.Embedding | nn.EmbeddingBag)
        and m.scale_grad_by_freq
        and f"{name}.weight".removeprefix(".") in wrong
    ]
    why = (
        f"{some(counted)} has scale_grad_by_freq=True, which divides by how often a row is read in the whole batch: "
        "set it to False"
        if counted
        else "the model gives another answer each time, its samples depend on each other, the loss reads parameters "
        "itself, or a hook changes their gradients"
    )
    return f"gradients of {some(wrong)}, sample by sample, do not add up to those of the batch: {why}"


def _wrong(task: Task, x: Tensor, y: Tensor, expected: dict[str, Tensor]) -> list[str]:
    """Parameters whose sum over some samples is not what is expected."""
    sums = {name: Sums(task.how.parameters[name], frozenset({"mean"}), 1) for name in expected}
    task.add(x, y, sums, "the first samples")
    sizes = {name: float(g.abs().max()) for name, g in expected.items()}
    largest = max(sizes.values())
    return [name for name, g in expected.items() if not _close(sums[name].total.view_as(g), g, sizes[name], largest)]


def _close(found: Tensor, expected: Tensor, own: float, largest: float) -> bool:
    return float((found - expected).abs().max()) <= 1e-3 * own + 1e-5 * largest


class Watch:
    """Some samples of every chunk, which must give in another company what they gave in their own."""

    def __init__(self, task: Task, n: int):
        self.task, self.n = task, n
        self.drawn, self.orders = (torch.Generator().manual_seed(seed) for seed in (0, 1))

    def chosen(self, size: int) -> list[int]:
        """Places in a chunk of those that are looked at."""
        if self.n == 1:
            return []
        if self.n <= FEW:
            return list(range(size))
        return torch.randperm(size, generator=self.drawn)[: 1 if size < 64 else 2].tolist()

    def companies(self, places: list[int], start: int) -> list[tuple[list[int], list[int]]]:
        """Samples that pass together, and which of them are looked at, for places in a chunk that begins at `start`.

        Each has another sample beside it. Few of a large chunk go at once; where all are looked at, each pair alone, as
        all together would be the company that they had.
        """
        pairs = [self._pair(start + i) for i in places]
        if len(places) > 2:
            return [(pair, [pair.index(start + i)]) for i, pair in zip(places, pairs, strict=True)]
        ends = [2 * k + pair.index(start + i) for k, (i, pair) in enumerate(zip(places, pairs, strict=True))]
        return [(sum(pairs, []), ends)] if pairs else []

    def _pair(self, i: int) -> list[int]:
        """Another sample of the split before i, or after it."""
        other = (i + 1 + int(torch.randint(self.n - 1, (1,), generator=self.drawn))) % self.n
        return [other, i] if torch.rand(1, generator=self.drawn) < 0.5 else [i, other]

    def check_all(self, was: Passed, start: int, stop: int, samples: Callable[[list[int]], list[Tensor]]) -> None:
        """ValueError or NotTold where a sample of a chunk gives something else in other company."""
        for together, own in parts(start, stop, self.n, self.orders):
            x, y = samples(together)
            calls, each = self._passed(x, y)
            places = [together.index(i) for i in own]
            was.check(self.task.all_of(calls, each), [i - start for i in own], places)

    def _passed(self, x: Tensor, y: Tensor) -> tuple[dict, Tensor]:
        task = self.task
        out, calls = run(task.model, x, task.noted, task.kept)
        each = losses(task.loss, out, y, "a few samples")
        calls = {m: calls.get(m, []) for m in task.noted}
        check_sizes({m: task.how.where[m] for m in task.noted}, calls, task.names, len(x))
        return calls, each

    def check(self, was: list[Seen], x: Tensor, y: Tensor, ends: list[int], backward: bool) -> None:
        """ValueError or NotTold where samples at some places of these do not give what was seen of them."""
        task, noted = self.task, {m: self.task.how.where[m] for m in self.task.noted}
        calls, each = self._passed(x, y)
        for one, at in zip(was, ends, strict=True):
            one.check(task.seen(calls, each, at))
        if not backward:
            return
        if met := entangled(task.model, noted, calls, each, ends[0]):
            raise NotTold(met, f"the loss of one sample depends on what {task.names[met[0]]!r} gives for another")
