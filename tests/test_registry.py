"""Who may take a name in a registry, for criteria and models alike."""

from types import FunctionType

import pytest

from pruning_lab import criteria
from pruning_lab.nets import models
from pruning_lab.registry import holder


def function(name="one", module="mine", qualname=None):
    made = FunctionType((lambda: None).__code__, {}, name)
    made.__module__, made.__qualname__ = module, qualname or name
    return made


FREE = {
    "nobody has it": (None, function()),
    "a cell that runs again": (function(module="__main__"), function(module="__main__")),
    "a module that is loaded again": (function(), function()),
    "a module without a name": (function(module=None), function(module=None)),
    "a name that begins as ours": (function(module="pruning_labs"), function(module="pruning_labs")),
}
TAKEN = {
    "another module": (function(), function(module="yours"), "mine"),
    "another place of the module": (function(qualname="Kind.one"), function(), "mine"),
    "a module without a name before": (function(module=None), function(), "None"),
    "one of the library": (function(module="pruning_lab.nets.models"), function(), "pruning_lab.nets.models"),
    "one of the library, told as its own": (
        function(module="pruning_lab.x"), function(module="pruning_lab.x"), "pruning_lab.x",
    ),
}  # fmt: skip


@pytest.mark.parametrize("held, new", FREE.values(), ids=FREE)
def test_a_name_is_free_for_its_own_function(held, new):
    assert holder({"one": held} if held else {}, new) is None
    assert holder({"one": new}, new) is None


@pytest.mark.parametrize("held, new, by", TAKEN.values(), ids=TAKEN)
def test_a_name_that_another_has_is_said_to_be_its(held, new, by):
    assert holder({"one": held}, new) == by


@pytest.mark.parametrize("name", ["norm", "magnitude", "mlp", "vit"])
def test_both_registries_keep_what_is_the_library_s_own(name):
    registry = next(r for r in (criteria.UNIT, criteria.WEIGHT, models.MODELS) if name in r)
    held = registry[name]
    register = models.register if registry is models.MODELS else registry.register

    def again(weight):
        return weight

    again.__name__, again.__module__, again.__qualname__ = name, held.__module__, held.__qualname__
    with pytest.raises(ValueError, match=f"'{name}' is registered already, by pruning_lab.*: give the new function"):
        register(again)
    assert registry[name] is held
