"""Bad inputs of public functions: each argument in turn is of another kind, not finite, empty, negative, huge or
without dimensions. The answer is finite, or one documented kind of error with a sentence.
"""

import inspect
import json
import math
import resource
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pruning_lab import data, models
from pruning_lab.publish import reference
from pruning_lab.units import structure
from pruning_lab.worlds.committee import Net

# Of files that published answers rest on, and that change only with these: argument and what comes of it.
KNOWN = {name: set(odd) for name, odd in json.loads(Path(__file__).with_name("bad_inputs.json").read_text()).items()}
ENTRIES = reference.entries()
DOCUMENTED = (ValueError, TypeError, LookupError, OSError)
ALONE = ("snapshot_iterations", "snapshot_epochs", "gradients.statistics", "environment.usable", "chapters.chapter")
ROOMS = ("criteria", "masks", "metrics", "models", "nets.architectures", "units", "worlds", "data", "recipes")
# What computes for long, writes, waits or imports, or hands out something that is no answer
LEFT = {"masks.inference", "masks.save", "worlds.committee.train", "worlds.xord.train",
        "models.register", "criteria.unit_criterion", "criteria.weight_criterion", "criteria.evaluate",
        "data.watched", "data.names", "models.vgg19", "models.vgg19_bn",
        "nets.architectures.resnet50", "nets.architectures.resnet50_cifar"}  # fmt: skip
NAMES = [
    name for name, entry in ENTRIES.items()
    if entry.kind == "function" and name.startswith(ROOMS) and name not in LEFT or name in ALONE
]  # fmt: skip


def rand(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def net():
    return models.build("mlp", (1, 8, 8), width=6)


def digits():
    return data.load("digits", "test", limit=12)


def gram():
    w = np.random.default_rng(0).normal(size=(8, 12))
    return w @ w.T


def cosines():
    return (g := gram()) / np.sqrt(np.outer(g.diagonal(), g.diagonal()))


def committee():
    draw = np.random.default_rng(0)
    return Net(draw.normal(size=(3, 5)), draw.normal(size=3))


# Sound arguments by name; each call makes new ones
SOUND = {
    "model": net, "test": digits, "split": digits, "train": digits, "layer": lambda: "fc1", "criterion": lambda: "norm",
    "order": lambda: torch.arange(6), "orders": lambda: {"a": torch.arange(6)}, "removed": lambda: [0, 2],
    "weight": lambda: rand(4, 6), "gradient": lambda: rand(4, 6), "diff": lambda: rand(4, 6),
    "noise": lambda: rand(4), "activation": lambda: rand(4, 5, 2), "activation_gradient": lambda: rand(4, 5, 2),
    "scores": lambda: {"a": rand(3, 4), "b": rand(5)}, "masks": lambda: {"fc1.weight": rand(6, 64) > 0.5},
    "a": lambda: {"fc1.weight": rand(6, 64) > 0.5}, "b": lambda: {"fc1.weight": rand(6, 64) > 0.4},
    "density": lambda: 0.5, "densities": lambda: (0.2, 0.5), "width": lambda: 6, "ratio": lambda: 4.0,
    "gram": gram, "cosines": cosines, "inputs": lambda: 12, "neighbours": lambda: 3, "count": lambda: 2,
    "vectors": lambda: np.random.default_rng(1).normal(size=(9, 4)), "x": lambda: np.arange(9.0) ** 2,
    "y": lambda: np.cos(np.arange(9.0)), "given": lambda: np.sin(np.arange(9.0)), "seed": lambda: 0,
    "centres": lambda: np.random.default_rng(2).normal(size=(2, 4)), "accuracy": lambda: np.linspace(0.9, 0.1, 7),
    "outputs": lambda: np.random.default_rng(3).normal(size=(20, 5)), "labels": lambda: np.arange(8) % 3,
    "classes": lambda: np.arange(8) % 2, "packed": lambda: structure.pack([cosines()]),
    "matrix": lambda: np.random.default_rng(4).normal(size=(9, 4)), "basis": lambda: np.eye(9)[:, :2],
    "one": lambda: np.eye(9)[:, :2], "other": lambda: np.eye(9)[:, 1:3],
    "values": lambda: np.linspace(3, 0.5, 6), "eigenvalues": lambda: np.linspace(9, 0.5, 60) ** 2,
    "rows": lambda: 20, "columns": lambda: 6, "variance": lambda: 1.0, "name": lambda: "digits",
    "in_shape": lambda: (1, 8, 8), "options": dict, "steps": lambda: 100, "filters": lambda: rand(2, 3, 2),
    "shares": lambda: rand(2, 16), "margin": lambda: 0.5, "d": lambda: 4, "k": lambda: 4, "n": lambda: 6,
    "runs": lambda: 2, "deviation": lambda: 0.1, "units": lambda: 3, "rng": lambda: np.random.default_rng(0),
    "scale": lambda: "unit", "curves": lambda: pd.DataFrame(
        dict(seed=0, criterion="a", remove="lowest", removed=[0, 1], accuracy=[1.0, 0.5])),
    "loss": lambda: "cross_entropy", "net": committee, "student": committee, "teacher": committee, "data": digits,
    "epochs": lambda: 5, "norms": lambda: np.ones((1, 8)), "batch": lambda: 5,
}  # fmt: skip
SPECIAL = {
    "data.fingerprint": dict(split=lambda: "test"), "data.is_here": dict(split=lambda: "test"),
    "data.load": dict(split=lambda: "test"), "data.shared": dict(split=lambda: "test"),
    "data.size": dict(split=lambda: "test"), "models.build": dict(name=lambda: "mlp"),
    "models.check_options": dict(name=lambda: "mlp"), "criteria.finite": dict(name=lambda: "fc1"),
    "masks.scores": dict(criterion=lambda: "magnitude"), "nets.architectures.vit": dict(width=lambda: 8),
    "units.structure.pack": dict(cosines=lambda: [cosines()]), "worlds.committee.said": dict(x=lambda: np.ones((4, 5))),
    "criteria.unread": dict(function=lambda: "taylor", given=lambda: {"activation": 1}),
    "criteria.whose": dict(name=lambda: "norm"), "masks.load": dict(file=lambda: "/nowhere"),
    "environment.usable": dict(name=lambda: "cpu"), "chapters.chapter": dict(name=lambda: "01"),
    "criteria.weight.random": dict(noise=lambda: rand(4, 6)),
}  # fmt: skip
for _name in NAMES:
    if _name.startswith(("models.", "nets.arch")):
        SPECIAL.setdefault(_name, {}).setdefault("classes", lambda: 3)
ROOM = 4_000_000_000  # bytes that bad inputs may take
OF_ANY = [None, "nobody", object(), [[1], [1, 2]], {"x": None}, print]
ARRAYS = [math.nan, math.inf, -math.inf, "empty", "zero-dimensional", "more dimensions", "complex", "text", "huge"]
BAD = {
    bool: [],
    int: [-1, 0, 10**30, -(10**30), 1.5, math.nan, math.inf, True],
    float: [math.nan, math.inf, -math.inf, -1.0, 0.0, 1e308, -1e308, 5, 1j],
    str: ["", "../x", "\0", "x" * 5000, 3],
    tuple: [(), (math.nan,), (-1,), ("a", 2), (10**30,)],
    list: [[], [-1], [10**30], [0, 0], [1.5]],
    dict: [{}, {3: 4}, {"nobody": 1}, {"fc1.weight": None}],
}


def spoilt(value, how):
    """An array or tensor of the same library that is bad in one way."""
    tensor = isinstance(value, torch.Tensor)
    a = np.array(value.numpy() if tensor else value)
    if isinstance(how, float):
        a = a.astype(np.float64)
        a.flat[-1] = how
    changes = {
        "empty": lambda: a[:0], "zero-dimensional": lambda: a.ravel()[0], "more dimensions": lambda: a[None, None],
        "complex": lambda: a.astype(complex), "text": lambda: a.astype(str), "huge": lambda: a.astype(float) * 1e300,
    }  # fmt: skip
    a = np.asarray(changes[how]() if isinstance(how, str) else a)
    return torch.from_numpy(a.copy()) if tensor and a.dtype.kind != "U" else a


def bad_of(value):
    """Bad values in the place of a sound one."""
    if isinstance(value, (np.ndarray, torch.Tensor)):
        return [(how, lambda how=how: spoilt(value, how)) for how in ARRAYS] + [(b, lambda b=b: b) for b in OF_ANY]
    found = [(b, lambda b=b: b) for b in [*BAD.get(type(value), []), *OF_ANY]]
    if isinstance(value, Mapping):
        for name, inner in list(value.items())[:1]:
            if isinstance(inner, torch.Tensor):
                found += [(h, lambda h=h, n=name, i=inner: {**value, n: spoilt(i, h)}) for h in ARRAYS]
    return found


def finite(answer):
    """Whether no number in an answer is NaN or infinite."""
    if isinstance(answer, torch.Tensor):
        return bool(torch.isfinite(answer).all())
    if isinstance(answer, np.ndarray):
        return answer.dtype.kind not in "fc" or bool(np.isfinite(answer).all())
    if isinstance(answer, (float, np.floating)):
        return math.isfinite(answer)
    if isinstance(answer, Mapping):
        return all(map(finite, answer.values()))
    if isinstance(answer, (tuple, list)):
        return all(map(finite, answer))
    return True


def sound(name):
    """Sound arguments of a function, those without a default and of the others the numbers."""
    made = {}
    for p in inspect.signature(ENTRIES[name].thing).parameters.values():
        if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD):
            continue
        if p.default is p.empty or p.name in ("seed", "density", "floor", "limit"):
            maker = SPECIAL.get(name, {}).get(p.name) or SOUND.get(p.name)
            made[p.name] = maker() if maker else p.default if p.default is not p.empty else None
        elif type(p.default) in (int, float, str):
            made[p.name] = p.default
    return made


def outcome(name, arguments):
    """What came of a call that is against what is documented; "" if nothing."""
    try:
        answer = ENTRIES[name].thing(**arguments)
        answer = list(answer) if isinstance(answer, Iterable) and inspect.isgenerator(answer) else answer
    except DOCUMENTED as error:
        return "" if str(error).strip() else f"{type(error).__name__} without a word"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "" if "NaN" in ENTRIES[name].text or finite(answer) else "not finite"


def found(name):
    """What comes of every bad argument of a function and is against what is documented: argument, kind of outcome."""
    odd = {}
    for argument, value in sound(name).items():
        for how, make in bad_of(value):
            try:
                said = outcome(name, sound(name) | {argument: make()})
            except (ValueError, TypeError, OverflowError):  # no such array can be made
                continue
            if said:
                odd.setdefault(f"{argument}: {said.partition(':')[0]}", how)
    return odd


@pytest.fixture(autouse=True, scope="module")
def little_memory():
    """What asks for far more memory than a test has is told so, and takes no machine down."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + ROOM, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.mark.filterwarnings("ignore")  # NumPy says of some that they are not finite, and goes on
@pytest.mark.soak
@pytest.mark.parametrize("name", NAMES)
def test_a_bad_argument_is_answered_finitely_or_named(name):
    assert set(found(name)) == KNOWN.get(name, set()), found(name)


def test_known_cases_are_of_public_functions():
    assert KNOWN.keys() <= set(NAMES)


SCALARS = st.one_of(st.none(), st.floats(), st.integers(-3, 30), st.text(max_size=9), st.just(10**30), st.booleans())
ANYTHING = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=2)
)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.soak
@settings(max_examples=80, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
@given(name=st.sampled_from(NAMES), drawn=st.data())
def test_whatever_stands_in_place_of_an_argument_is_answered_finitely_or_named(name, drawn):
    arguments = sound(name)
    if not arguments:
        return
    argument = drawn.draw(st.sampled_from(sorted(arguments)))
    arguments[argument] = drawn.draw(ANYTHING)
    said = outcome(name, arguments)
    assert not said or f"{argument}: {said.partition(':')[0]}" in KNOWN.get(name, set()), said
