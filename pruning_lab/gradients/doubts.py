"""What a plan may not use though the samples it was made with allow it, and the errors that say so."""

from dataclasses import dataclass, field

from torch import nn

_SAMPLES = 3  # that a plan is made with


@dataclass
class Doubts:
    """What chunks have shown so far; the next plan is made with these samples, and without the rest."""

    samples: list[int] = field(default_factory=lambda: list(range(_SAMPLES)))
    tried: set[int] = field(default_factory=set)  # samples for whose sake a plan was made
    mixed: set[nn.Module] = field(default_factory=set)  # samples cannot be told apart in what they read and give
    unlike: set[nn.Module] = field(default_factory=set)  # layers that no formula gives
    without_row: set[str] = field(default_factory=set)  # parameters that no row for each sample may replace
    apart: bool = True  # whether samples keep apart whatever they show
    whole: set[str] = field(default_factory=set)  # parameters that only the model as a whole gives


def _learnt(told: set, known: set) -> bool:
    """Adds what is told to what is known; whether there was anything new."""
    new = told - known
    known |= new
    return bool(new)


class Doubtful(ValueError):
    """A plan does not hold for some samples; its own sentence is for where no other plan can.

    `told(doubts)` adds what was learnt to the doubts, and is False where they had it already.
    """


class NotTold(Doubtful):
    """Modules whose entries cannot be told apart by sample, though it seemed so for the first ones."""

    def __init__(self, modules: list[nn.Module], why: str):
        super().__init__(why)
        self.modules = modules

    def told(self, doubts: Doubts) -> bool:
        return _learnt(set(self.modules), doubts.mixed)


class Branches(NotTold):
    """Modules that are called another number of times for some samples."""


class NotLike(Doubtful):
    """Layers that give something else than a formula takes them to give."""

    def __init__(self, modules: list[nn.Module]):
        super().__init__(f"{type(modules[0]).__name__} gives something else than its class for some samples")
        self.modules = modules

    def told(self, doubts: Doubts) -> bool:
        return _learnt(set(self.modules), doubts.unlike)


class NotByRows(Doubtful):
    """The model does not run with a row for each sample in the place of some parameters."""

    def __init__(self, names: set[str], error: Exception | str):
        super().__init__(f"the model fails with a row for each sample in the place of {sorted(names)}: {error}")
        self.names = names

    def told(self, doubts: Doubts) -> bool:
        return _learnt(self.names, doubts.without_row)


class Beyond(Doubtful):
    """A sample reads parameters that no sample of the plan has read, or reads them elsewhere."""

    def __init__(self, names: set[str], sample: int):
        super().__init__(
            f"sample {sample} reads {sorted(names)[:3]} elsewhere than the samples before it: a model that branches "
            "on what it sees needs one split for each branch"
        )
        self.names, self.sample = names, sample

    def told(self, doubts: Doubts) -> bool:
        """Once the plan is made with the sample; where that is not enough, the model as a whole is asked."""
        if self.sample not in doubts.tried:
            doubts.tried.add(self.sample)
            doubts.samples = [self.sample, *(i for i in doubts.samples if i != self.sample)][:_SAMPLES]
            return True
        return _learnt(self.names, doubts.whole)
