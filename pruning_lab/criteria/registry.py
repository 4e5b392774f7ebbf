"""What a unit or a weight is worth: one small function each, in two registries.

The names of a criterion's parameters say what it reads, so that nothing is computed that nobody asked for:

    weight                [units, ...], the layer's weights; for a unit, `weight.flatten(1)` has its row
    init, gradient, diff  as `weight`: the weights before training, the loss's gradient, the diffs
    activation            [images, units, positions], what the next layer reads of each unit
    activation_gradient   as `activation`: the gradient of each image's own loss
    noise                 uniform in [0, 1), seeded; [units] for a unit criterion, as `weight` for a weight criterion

What scores higher stays longer. A unit criterion returns scores [units], or pairwise terms [units, units]: then
the score is the row sum over the units still there, and the order is greedy. A weight criterion returns scores
in the shape of `weight`.
"""

import inspect
from collections.abc import Callable

READS = ("weight", "init", "gradient", "diff", "activation", "activation_gradient", "noise")
UNIT: dict[str, Callable] = {}
WEIGHT: dict[str, Callable] = {}


def find(criterion, registry=UNIT) -> Callable:
    """The function behind a registry name; a function is its own answer; ValueError for an unknown name."""
    if callable(criterion):
        return criterion
    if criterion not in registry:
        raise ValueError(f"unknown criterion {criterion!r}: expected {', '.join(sorted(registry))} or a function")
    return registry[criterion]


def needs(criterion) -> tuple[str, ...]:
    """What a criterion reads, in the order of its parameters; ValueError for a parameter that is not in READS."""
    function = find(criterion, UNIT | WEIGHT)
    names = tuple(inspect.signature(function).parameters)
    unknown = [name for name in names if name not in READS]
    if unknown or not names:
        raise ValueError(
            f"criterion {function.__name__!r} has parameters {list(names)}: each must be one of {', '.join(READS)}, "
            "and there must be at least one; rename them to what the function reads"
        )
    return names


def unit_criterion(function=None, *, ours=False):
    """Registers a criterion over units under its own name; `ours=True` marks one that is in no source document."""
    return _decorator(UNIT, function, ours)


def weight_criterion(function=None, *, ours=False):
    """Registers a criterion over single weights under its own name; `ours=True` as for units."""
    return _decorator(WEIGHT, function, ours)


def _decorator(registry, function, ours):
    def register(f):
        needs(f)
        _refuse_taken(f, registry)
        f.ours = ours
        registry[f.__name__] = f
        return f

    return register if function is None else register(function)


def _refuse_taken(f, registry):
    """ValueError: another function has the name; a module or cell that runs again may replace its own, not ours."""
    held = registry.get(f.__name__, f)
    ours = str(held.__module__).split(".")[0] == __name__.split(".")[0]
    if held is not f and (ours or (held.__module__, held.__qualname__) != (f.__module__, f.__qualname__)):
        raise ValueError(
            f"criterion {f.__name__!r} is registered already, by {held.__module__}: give the new function another name"
        )
    other, kind = (WEIGHT, "weights") if registry is UNIT else (UNIT, "units")
    same = other.get(f.__name__, f)
    if needs(same) != needs(f):  # a name says what is read, whichever of the two is meant
        what = f"by {same.__module__}, for {kind}, and reads {', '.join(needs(same))}"
        raise ValueError(f"criterion {f.__name__!r} is registered already, {what}: give the new function another name")
