"""What a unit or a weight is worth: one small function each, in two registries, and what calls them.

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
from functools import partial

from torch import Tensor

READS = ("weight", "init", "gradient", "diff", "activation", "activation_gradient", "noise")


class Registry(dict[str, Callable]):
    """Criteria by their names."""

    def register(self, function=None, *, ours=False):
        """Registers a criterion under its own name; `ours=True` marks one that is in no source document.

        ValueError: another function has the name; a module or cell that runs again may replace its own, not ours.
        """
        if function is None:
            return partial(self.register, ours=ours)
        name, reads = function.__name__, needs(function)
        held, same = self.get(name, function), (WEIGHT if self is UNIT else UNIT).get(name, function)
        places = {(f.__module__, f.__qualname__) for f in (held, function)}
        if held is not function and (len(places) > 1 or _built_in(held)):
            by = held.__module__
        elif needs(same) != reads:  # a name says what is read, whichever of the two is meant
            by = f"{same.__module__}, for {'weights' if self is UNIT else 'units'}, and reads {', '.join(needs(same))}"
        else:
            function.ours, self[name] = ours, function
            return function
        raise ValueError(f"criterion {name!r} is registered already, by {by}: give the new function another name")


UNIT, WEIGHT = Registry(), Registry()
unit_criterion, weight_criterion = UNIT.register, WEIGHT.register


def _built_in(function) -> bool:
    """Whether a function is of this library, not of a user's module or cell."""
    return str(function.__module__).startswith(__name__.split(".")[0] + ".")


def whose(name) -> str:
    """Whose idea a criterion is: "source" (a document's), "ours" (this library's), "yours" (a user's, or unknown)."""
    found = [registry[name] for registry in (UNIT, WEIGHT) if name in registry]
    return "source" if any(map(_a_source, found)) else "ours" if any(map(_built_in, found)) else "yours"


def _a_source(function) -> bool:
    return _built_in(function) and not function.ours


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


def unread(function, given) -> list[str]:
    """What a criterion reads and nobody has given; ValueError for something given that no criterion reads."""
    if stray := given.keys() - set(READS):
        raise ValueError(f"no criterion reads {', '.join(sorted(stray))}: expected some of {', '.join(READS)}")
    return [read for read in needs(function) if read not in given]


def finite(weight, name) -> Tensor:
    """The weights called `name`; ValueError where some are not finite."""
    if bad := int((~weight.isfinite()).sum()):
        raise ValueError(f"{name!r} has {bad} weights that are not finite: train it again, with a lower learning rate")
    return weight


def evaluate(function, held, name, shapes, ways) -> Tensor:
    """What a criterion returns for the weights called `name`, in one of `shapes`, from what it reads of `held`.

    `held` has `weight`, and noise in the first shape; `ways` says by name how to pass what is not held, if not as a
    tensor. ValueError: what is read is missing or of a wrong shape; what is returned is no tensor, or a wrong one.
    """
    reads, called = needs(function), repr(function.__name__)
    if missing := [read for read in reads if read not in held]:
        way = ways.get(missing[0], f"{missing[0]}=, a tensor")
        raise ValueError(f"{called} reads {', '.join(missing)}, not held by the model: pass {way}")
    for read in reads:
        shape = shapes[0] if read == "noise" else held["weight"].shape
        if not read.startswith("activation") and held[read].shape != shape:
            raise ValueError(f"{read!r} of {name!r} has shape {list(held[read].shape)}: expected {list(shape)}")
    found = function(**{read: held[read] for read in reads})
    if not isinstance(found, Tensor):
        raise ValueError(f"{called} returned {type(found).__name__} for {name!r}: expected a tensor")
    if found.shape not in shapes:
        expected = " or ".join(str(list(shape)) for shape in shapes)
        raise ValueError(f"{called} returned shape {list(found.shape)} for {name!r}: expected {expected}")
    if not found.isfinite().all():
        raise ValueError(f"{called} gives scores of {name!r} that are not finite: check what it reads")
    return found
