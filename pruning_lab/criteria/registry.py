"""What a unit or a weight is worth: one small function each, in two registries, and what calls them.

The names of a criterion's parameters say what it reads, so that nothing is computed that nobody asked for:

    weight                [units, ...], the layer's weights; for a unit, `weight.flatten(1)` has its row
    init, gradient, diff  as `weight`: the weights before training, the loss's gradient, the diffs
    activation            [images, units, positions], what the next layer reads of each unit
    activation_gradient   as `activation`: the gradient of each image's own loss
    noise                 uniform in [0, 1), seeded; [units] for a unit criterion, as `weight` for a weight criterion

What scores higher stays longer. A unit criterion returns scores [units], or pairwise terms [units, units]: then
the score is the row sum over the units still there, and the order is greedy. A weight criterion returns scores
in the shape of `weight`. Those of this library refuse what is not finite: ValueError.
"""

import inspect
from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import Tensor

from ..numeric import checked, shown
from ..registry import holder

#: What a criterion may read; the module says in which shapes.
READS = ("weight", "init", "gradient", "diff", "activation", "activation_gradient", "noise")


class Registry(dict[str, Callable]):
    """Criteria by their names."""

    def register(self, function=None, *, ours=False):
        """Registers a criterion under its own name; `ours=True` marks one that is in no source document.

        ValueError: another function has the name; a module or cell that runs again may replace its own, not ours.

        >>> from pruning_lab import criteria, models, unit_criterion, units
        >>> @unit_criterion
        ... def largest(weight):
        ...     return weight.flatten(1).abs().amax(1)
        >>> net = models.build("mlp", (1, 8, 8), width=4)
        >>> units.order(net, "fc1", "largest").shape
        torch.Size([4])
        >>> del criteria.UNIT["largest"]  # an example leaves nothing behind

        >>> from pruning_lab import criteria, masks, models, weight_criterion
        >>> @weight_criterion
        ... def movement(weight, init):
        ...     return (weight - init).abs()
        >>> net = models.build("mlp", (1, 8, 8), width=4, hidden=1)
        >>> init = {name: tensor.clone().zero_() for name, tensor in net.state_dict().items()}
        >>> sorted(masks.scores(net, "movement", init=init))
        ['fc1.weight', 'out.weight']
        >>> del criteria.WEIGHT["movement"]  # an example leaves nothing behind
        """
        if function is None:
            return partial(self.register, ours=ours)
        if not callable(function) or not hasattr(function, "__name__"):
            raise ValueError(f"{function!r} has no name to be registered under: expected a function (def ...)")
        name, reads = function.__name__, needs(function)
        same, by = (WEIGHT if self is UNIT else UNIT).get(name, function), holder(self, function)
        if by is None and needs(same) != reads:  # a name says what is read, whichever of the two is meant
            by = f"{same.__module__}, for {'weights' if self is UNIT else 'units'}, and reads {', '.join(needs(same))}"
        if by:
            raise ValueError(f"criterion {name!r} is registered already, by {by}: give the new function another name")
        if _built_in(function):  # which readers call by themselves, too
            function, bare = checked(function), function
            _BARE[function] = bare
        function.ours, self[name] = ours, function
        return function


_BARE: dict[Callable, Callable] = {}  # our own, without a look at what they read, which `evaluate` has had
#: The registries, name -> function: criteria of units, and of single weights.
UNIT, WEIGHT = Registry(), Registry()
unit_criterion, weight_criterion = UNIT.register, WEIGHT.register


def _built_in(function) -> bool:
    """Whether a function is of this library, not of a user's module or cell."""
    return str(function.__module__).startswith(__name__.split(".")[0] + ".")


def whose(name) -> str:
    """Whose idea a criterion is: "source" (a document's), "ours" (this library's), "yours" (a user's, or unknown).

    >>> from pruning_lab import criteria
    >>> criteria.whose("norm"), criteria.whose("taylor"), criteria.whose("my_own")
    ('source', 'ours', 'yours')
    """
    found = [registry[name] for registry in (UNIT, WEIGHT) if isinstance(name, str) and name in registry]
    return "source" if any(map(_a_source, found)) else "ours" if any(map(_built_in, found)) else "yours"


def _a_source(function) -> bool:
    return _built_in(function) and not function.ours


def find(criterion, registry=UNIT) -> Callable:
    """The function behind a registry name; a function is its own answer; ValueError for an unknown name.

    >>> from pruning_lab import criteria
    >>> criteria.find("norm") is criteria.norm
    True
    >>> criteria.find("magnitude", criteria.WEIGHT).__name__
    'magnitude'
    """
    if callable(criterion):
        return criterion
    if not isinstance(criterion, str) or criterion not in registry:
        raise ValueError(f"unknown criterion {criterion!r}: expected {', '.join(sorted(registry))} or a function")
    return registry[criterion]


def needs(criterion) -> tuple[str, ...]:
    """What a criterion reads, in the order of its parameters; ValueError for a parameter that is not in READS.

    >>> from pruning_lab import criteria
    >>> criteria.needs("taylor")
    ('activation', 'activation_gradient')
    >>> criteria.needs(lambda weight, init: weight - init)
    ('weight', 'init')
    """
    function = find(criterion, UNIT | WEIGHT)
    names = _parameters(function)
    unknown = [name for name in names if name not in READS]
    if unknown or not names:
        raise ValueError(
            f"criterion {called(function)!r} has parameters {list(names)}: each must be one of {', '.join(READS)}, "
            "and there must be at least one; rename them to what the function reads"
        )
    return names


def _parameters(function) -> tuple[str, ...]:
    """The names of a function's parameters, with stars where these take several; ValueError: it does not say any."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except ValueError as error:
        raise ValueError(
            f"criterion {called(function)!r} does not say what it reads: write a function with parameters of {READS}"
        ) from error
    stars = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}
    return tuple(
        f"{p.name}, /" if p.kind is p.POSITIONAL_ONLY else f"{stars.get(p.kind, '')}{p.name}" for p in parameters
    )


def called(function) -> str:
    """The name of a function, or of the class of what is called like one."""
    return getattr(function, "__name__", type(function).__name__)


def unread(function, given) -> list[str]:
    """What a criterion reads and nobody has given; ValueError for something given that no criterion reads.

    >>> from pruning_lab import criteria
    >>> criteria.unread(criteria.taylor, {"activation": ...})
    ['activation_gradient']
    """
    if not isinstance(given, Mapping):
        raise ValueError(f"given={shown(given)}: expected a mapping from what is read to its numbers")
    if stray := given.keys() - set(READS):
        raise ValueError(f"no criterion reads {', '.join(sorted(stray))}: expected some of {', '.join(READS)}")
    return [read for read in needs(function) if read not in given]


def finite(weight, name) -> Tensor:
    """The weights called `name`, in their shape; ValueError where some are not finite, or they are no tensor.

    >>> import torch
    >>> from pruning_lab import criteria
    >>> criteria.finite(torch.tensor([1.0, 2.0]), "fc1.weight").tolist()
    [1.0, 2.0]
    >>> criteria.finite(torch.tensor([float("nan")]), "fc1.weight")
    Traceback (most recent call last):
        ...
    ValueError: 'fc1.weight' has 1 weights that are not finite: train it again, with a lower learning rate
    """
    if not isinstance(weight, Tensor):
        raise ValueError(f"{name!r} is a {type(weight).__name__}: expected a tensor of weights")
    if bad := int((~weight.isfinite()).sum()):
        raise ValueError(f"{name!r} has {bad} weights that are not finite: train it again, with a lower learning rate")
    return weight


def evaluate(function, held, name, shapes, ways) -> Tensor:
    """What a criterion returns for the weights called `name`, in one of `shapes`, from what it reads of `held`.

    shapes: of a unit criterion [units] and [units, units], of a weight criterion that of the weight.
    `held` has `weight`, and noise in the first shape; `ways` says by name how to pass what is not held, if not as a
    tensor. One of a user's reads copies: whatever it does with them, the model and what was given stay as they are.
    ValueError: what is read is missing or of a wrong shape; what is returned is no tensor, or a wrong one.

    >>> import torch
    >>> from pruning_lab import criteria
    >>> held = {"weight": torch.tensor([[3.0, 4.0], [0.0, 1.0]])}
    >>> criteria.evaluate(criteria.norm, held, "fc1.weight", [(2,)], {}).tolist()
    [5.0, 1.0]
    """
    reads, name_of = needs(function), repr(called(function))
    if missing := [read for read in reads if read not in held]:
        way = ways.get(missing[0], f"{missing[0]}=, a tensor")
        raise ValueError(f"{name_of} reads {', '.join(missing)}, not held by the model: pass {way}")
    for read in reads:
        _check_read(held[read], held["weight"], read, name, shapes[0])
    copied = (lambda tensor, *_: tensor) if _built_in(function) else _copied  # none of ours writes: a test says so
    returned = _BARE.get(function, function)(**{read: copied(held[read], held["weight"], read) for read in reads})
    _check_returned(returned, name_of, name, shapes)
    return returned


def _check_read(tensor, weight, read, name, first) -> None:
    """ValueError unless what a criterion reads is a tensor with values, of the shape that goes with its name."""
    if not isinstance(tensor, Tensor) or tensor.is_meta:
        kind = (
            "has no values, being on the meta device" if isinstance(tensor, Tensor) else f"is a {type(tensor).__name__}"
        )
        raise ValueError(f"{read!r} of {name!r} {kind}: expected a tensor with values (torch.as_tensor)")
    shape = first if read == "noise" else weight.shape
    if not read.startswith("activation") and tensor.shape != shape:
        raise ValueError(f"{read!r} of {name!r} has shape {list(tensor.shape)}: expected {list(shape)}")


def _copied(tensor, weight, read) -> Tensor:
    """What a criterion gets: numbers of its own; activations are made for one criterion alone."""
    return tensor if read.startswith("activation") else tensor.detach().to(weight.device, copy=True)


def _check_returned(returned, name_of, name, shapes) -> None:
    """ValueError unless these are scores: real, finite, of one of these shapes."""
    if not isinstance(returned, Tensor):
        raise ValueError(f"{name_of} returned {type(returned).__name__} for {name!r}: expected a tensor")
    if returned.shape not in shapes:
        expected = " or ".join(str(list(shape)) for shape in shapes)
        raise ValueError(f"{name_of} returned shape {list(returned.shape)} for {name!r}: expected {expected}")
    if returned.is_complex() or returned.is_quantized or returned.layout != torch.strided or returned.is_meta:
        kind = "on the meta device" if returned.is_meta else f"{returned.dtype}, {returned.layout}"
        raise ValueError(
            f"{name_of} returned scores of {name!r} that are {kind}: expected real numbers in a plain tensor"
        )
    if not returned.isfinite().all():
        raise ValueError(f"{name_of} gives scores of {name!r} that are not finite: check what it reads")
