"""Settings from NumPy are the plain settings, in every experiment; what is no setting is named."""

import json
from dataclasses import dataclass, replace

import numpy as np
import pytest

from pruning_lab import Recipe, Snapshots, Train, UnitCurve
from pruning_lab.literal import plain
from pruning_lab.records.experiment import Experiment, Result, same

NET = Train("digits", "lenet_300_100", Recipe(lr=0.1, epochs=2), seed=3, width=9)


@dataclass(frozen=True)
class Toy(Experiment):
    size: object = 3

    def compute(self):
        return Result(None)


@dataclass(frozen=True)
class Checked(Toy):
    """One that does not call the `__post_init__` of its base."""

    def __post_init__(self):
        if self.size == 0:
            raise ValueError("nothing")


@pytest.mark.parametrize(
    "found, expected",
    [
        (np.int64(3), 3),
        (np.uint8(3), 3),
        (np.float64(0.1), 0.1),
        (np.float32(0.5), 0.5),
        (np.bool_(True), True),
        (np.str_("a"), "a"),
        (np.array(7), 7),
        (np.arange(3), (0, 1, 2)),
        (np.array([[1.5], [2.0]]), ((1.5,), (2.0,))),
        ((np.int64(1), (np.float64(2), "x"), None), (1, (2.0, "x"), None)),
        ([np.int64(1)], [1]),
        ({"a": np.int64(1), np.str_("b"): (np.int8(2),)}, {"a": 1, "b": (2,)}),
        (None, None),
        ("word", "word"),
    ],
    ids=repr,
)
def test_a_value_loses_its_numpy_and_nothing_else(found, expected):
    assert plain(found) == expected and repr(plain(found)) == repr(expected)
    assert repr(Toy(found)) == repr(Toy(expected)) and Toy(found).key == Toy(expected).key
    assert Toy(found).config() == json.loads(json.dumps(dict(size=expected)))
    assert same(Toy(found), Toy(expected).config())


@pytest.mark.parametrize("value, expected", [(np.int64(5), 5), (np.bool_(True), True), ((np.int8(2), 1), (2, 1))])
def test_an_experiment_with_checks_of_its_own_has_the_key_of_plain_settings(value, expected):
    found, plainly = Checked(value), Checked(expected)
    assert found.key == plainly.key and found.config() == plainly.config() and same(found, plainly.config())


def test_the_librarys_experiments_take_numpy():
    recipe = Recipe(lr=np.float64(0.1), epochs=np.int64(2))
    net = Train(np.str_("digits"), "lenet_300_100", recipe, seed=np.int32(3), width=np.int64(9))
    assert net == NET and repr(net) == repr(NET) and net.key == NET.key and hash(net) == hash(NET)
    assert replace(net, seed=np.int8(4)).key == replace(NET, seed=4).key
    look = Snapshots(net, ("fc1",), np.arange(0, 9, 4), sample=np.int64(50))
    assert look == (plainly := Snapshots(NET, ("fc1",), (0, 4, 8), sample=50)) and look.key == plainly.key
    assert UnitCurve(net, np.str_("fc1")).key == UnitCurve(NET, "fc1").key


@pytest.mark.parametrize("value", [object(), {1, 2}, b"x", np.complex64(1j), (3, 1j)], ids=lambda v: type(v).__name__)
@pytest.mark.parametrize("kind", [Toy, Checked])
def test_what_is_no_setting_is_named(kind, value):
    for ask in (lambda e: e.key, lambda e: e.config()):
        with pytest.raises(TypeError, match="is no setting: expected numbers, words, None, or tuples of them"):
            ask(kind(value))


def test_a_recipe_from_numpy_is_checked_as_a_plain_one():
    with pytest.raises(ValueError, match="recipe: batch 0"):
        Recipe(epochs=np.int64(1), batch=np.int64(0))
    assert Recipe(epochs=np.int64(2)).steps(150) == Recipe(epochs=2).steps(150) == 6
