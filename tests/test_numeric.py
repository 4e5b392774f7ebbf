"""Functions of numbers refuse what is no number of theirs, and an answer that is none; nothing else of them changes."""

import math
import re
from collections.abc import Iterable

import numpy as np
import pytest
import torch

from pruning_lab import criteria, data, metrics, models, numeric
from pruning_lab.metrics import spectrum
from pruning_lab.nets import architectures
from pruning_lab.units import structure
from pruning_lab.worlds import committee, xord

NET = committee.drawn(2, 4, np.random.default_rng(0))
SQUARE = np.array([[1.0, 0.5], [0.5, 1.0]])


def called(value):
    """A name of a value that is the same in every process."""
    return re.sub(r" at 0x\w+", "", str(value))


class Thing:
    """A kind of the test's own."""


@numeric.checked(count=(1, 5), width=(0, None))
def taken(
    count: int = 1, width: float = 0.0, array: np.ndarray = SQUARE, tensor: torch.Tensor = torch.ones(2),  # noqa: B008
    sizes: tuple[int, int] = (2, 3), thing: Thing | None = None, any_: Iterable[int] = (),
):  # fmt: skip
    """Gives what it is given."""
    return count, width, array, tensor, sizes, thing


@pytest.mark.parametrize(
    "argument, value, says",
    [
        *[("count", wrong, "a whole number from 1 to 5") for wrong in (0, 6, 1.5, True, None, "1", 10**30)],
        *[("width", wrong, "a finite number, 0 or more") for wrong in (-1.0, math.nan, math.inf, 1j, None, True)],
        *[("array", wrong, "an array of finite real numbers")
          for wrong in (SQUARE * np.nan, SQUARE * np.inf, SQUARE * 1j, SQUARE.astype(str), None, object())],
        *[("tensor", wrong, "a tensor of finite real numbers")
          for wrong in (torch.tensor([math.nan]), torch.ones(2) * 1j, torch.ones(2, device="meta"), SQUARE, None,
                        torch.ones(2, 2).to_sparse())],
        *[("sizes", wrong, "2 numbers") for wrong in ((1,), "ab", None, 3)],
        ("sizes", (2, 1.5), "a whole number"),
        ("thing", 3, "a Thing"),
    ],
    ids=called,
)  # fmt: skip
def test_an_argument_of_another_kind_or_range_is_named(argument, value, says):
    with pytest.raises(ValueError, match=rf"^{argument}(\[1\])?=.*: expected {says}$"):
        taken(**{argument: value})


def test_what_is_sound_is_passed_on_as_it_is():
    assert all(a is b for a, b in zip(taken(3, 0.5, SQUARE, torch.ones(2), (1, 2)), (3, 0.5, SQUARE), strict=False))
    assert taken(array=[[1, 2]])[2].tolist() == [[1, 2]] and taken(thing=(t := Thing()))[5] is t
    assert taken.__doc__ == "Gives what it is given." and taken(any_="whatever")[0] == 1
    with pytest.raises(TypeError, match="unexpected keyword"):
        taken(nobody=3)


def failing(error):
    def out_of_luck(count: int):
        raise error

    return numeric.checked(out_of_luck)


@pytest.mark.parametrize("error", [RuntimeError("sizes 2 and 3"), ZeroDivisionError("by 0"), OverflowError("large")])
def test_what_does_not_fit_together_is_one_sentence(error):
    with pytest.raises(ValueError, match=rf"^out_of_luck: what it is given does not fit together \('{error}'\)$"):
        failing(error)(1)


def test_memory_that_is_out_is_told_as_it_is():
    with pytest.raises(torch.OutOfMemoryError):
        failing(torch.OutOfMemoryError("full"))(1)


@pytest.mark.parametrize("answer", [math.nan, np.array([1, np.inf]), torch.tensor(math.nan), (1.0, math.inf)])
def test_an_answer_that_is_not_finite_is_none_but_where_it_is_told(answer):
    def said():
        return answer

    with pytest.raises(ValueError, match="^said: what comes out is not finite"):
        numeric.checked(said)()
    assert numeric.checked(said, nan=True)() is answer


BAD = torch.tensor([[1.0, math.nan]])
REFUSED = {
    "a criterion of units": (lambda: criteria.norm(BAD), "weight=tensor"),
    "a criterion of weights": (lambda: criteria.weight_taylor(torch.ones(2), torch.ones(3)), "weight_taylor: what it"),
    "weights that are none": (lambda: criteria.finite("x", "fc1"), "'fc1' is a str: expected a tensor of weights"),
    "what is read by nobody": (lambda: criteria.unread("norm", None), "given=None: expected a mapping"),
    "a set without a name": (lambda: data.scaled_by(None, "unit"), "name=None: expected a str"),
    "a net of endless depth": (lambda: models.build("vit", (1, 8, 8), depth=10**30), "depth=1000.* from 0 to 1000"),
    "heads without end": (lambda: models.build("vit", (1, 8, 8), heads=10**30), "heads=1000.* from 1 to 1000"),
    "patches without end": (lambda: models.build("vit", (1, 8, 8), patch=10**30), "patch=1000.* from 1 to 1000"),
    "layers without end": (lambda: models.build("mlp", (1, 8, 8), hidden=10**30), "hidden=1000.* from 0 to 1000"),
    "classes without end": (lambda: models.mlp((1, 8, 8), 10**30, None), "classes=1000.* from 1 to 1048576"),
    "no width": (lambda: models.conv_4((1, 8, 8), 3, 0), "width=0: .* from 1 to 1048576"),
    "an infinite width": (lambda: models.lenet_300_100((1, 8, 8), 3, math.inf), "width=inf: expected a whole"),
    "no pixels": (lambda: architectures.vit((1, 0, 8), 3, 8), r"in_shape\[1\]=0: expected a whole"),
    "a side too few": (lambda: models.conv_max((1, 8), 3, 2), r"in_shape=\(1, 8\): expected 3 numbers"),
    "a net too large": (lambda: models.mlp((1, 8, 8), 3, 2**20), "mlp: what it is given does not fit together"),
    "options that are none": (lambda: models.check_options("mlp", None), "options=None: expected a mapping"),
    "no rows": (lambda: spectrum.spike_edge(0, 5, 1.0), "rows=0: expected a whole number, 1 or more"),
    "no variance": (lambda: spectrum.bulk_edges(5, 5, math.nan), "variance=nan: expected a finite number, 0"),
    "a huge variance": (lambda: spectrum.bulk_edges(5, 5, 1e308), "bulk_edges: what comes out is not finite"),
    "ranks of words": (lambda: metrics.rank_correlation(np.array(["a", "b"]), np.arange(2)), "x=array.*real numbers"),
    "ranks of nothing": (lambda: metrics.rank_correlation(np.arange(2), None), "y=None: expected an array of real"),
    "no curves": (lambda: metrics.curve_means(None), "curves=None: expected a DataFrame"),
    "no accuracy": (lambda: metrics.removable(np.array([0.5])), "removable: what it is given does not fit"),
    "cosines that are none": (lambda: structure.pack([SQUARE * np.nan]), "cosines=array.*finite real numbers"),
    "no square": (lambda: structure.opposite(np.ones((2, 3)), 5), r"gram is a ndarray of shape \[2, 3\]"),
    "no norms": (lambda: structure.unpack(np.zeros((1, 1), np.int8), None), "norms=None: expected an array"),
    "huge cosines": (lambda: structure.communities(np.ones((8, 8)) * 1e300), "cosines has 64 numbers that are not"),
    "no student": (lambda: committee.error(None, NET), "student=None: expected a Net"),
    "no draw": (lambda: committee.drawn(2, 3, None), "rng=None: expected a Generator"),
    "endless units": (lambda: committee.drawn(10**30, 3, np.random.default_rng(0)), "units=1000.* from 1 to 1000000"),
    "pairs without end": (lambda: xord.counts_of_inputs(10**30), "d=1000.* from 0 to 10000"),
    "shares of more inputs than floats count": (lambda: xord.population(512), "d=512: expected a whole number"),
    "sets without end": (lambda: xord.training_sets(4, 10**30, 2, 0), "n=1000.* from 1 to 1000000000"),
    "runs without end": (lambda: xord.training_sets(4, None, 10**30, 0), "runs=1000.* from 1 to 1000000"),
    "filters without end": (lambda: xord.fresh(10**5, 10**5, 0.1, 0), "k times runs=1000.* from 1 to 100000000"),
    "chances without end": (lambda: xord.chance_explored(10**30), "k=1000.* from 1 to 1000000000"),
    "filters of three numbers": (lambda: xord.sectors(torch.ones(2)[0]), "sectors: |IndexError"),
    "filters that do not fit": (lambda: xord.gradient(torch.ones(1, 2, 3, 3), torch.ones(15), 1.0), "gradient: what"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_public_function_names_what_it_refuses(what):
    call, says = REFUSED[what]
    with pytest.raises((ValueError, IndexError)) as caught:
        call()
    assert re.search(says, f"{caught.type.__name__}: {caught.value}".replace("ValueError: ", "")), caught.value


def test_most_pairs_that_floats_count_still_have_shares():
    assert xord.population(511).sum().item() == pytest.approx(1)


def test_a_step_of_training_follows_the_public_gradient():
    filters, shares = xord.fresh(2, 3, 0.1, seed=0), xord.training_sets(3, 8, 3, seed=0)
    after = xord.train(filters, shares, lr=0.5, margin=1.0, steps=1, at=(), look=print)
    there = (shares > 0).any(0)
    how = dict(margin=1.0, wins=xord.WINS[:, there], labels=xord.LABELS[there])
    assert torch.equal(after, filters - 0.25 * xord.gradient(filters, shares[:, there], **how))


def test_our_criteria_are_evaluated_as_they_stand():
    held = dict(weight=torch.tensor([[3.0, 4.0], [0.0, math.inf]]))
    with pytest.raises(ValueError, match="'norm' gives scores of 'fc1' that are not finite: check what it reads"):
        criteria.evaluate(criteria.norm, held, "fc1", [(2,)], {})
