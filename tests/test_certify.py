"""Making certificates: edits that change answers are refused, edits that do not are certified, and no changed line goes
unseen.
"""

import contextlib
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pruning_lab import GradientHistory, MaskedTraining, Recipe, TeacherStudent, Train, UnitCurve, Xord, environment
from pruning_lab.records import syntax, texts
from pruning_lab.records.experiment import lineage
from pruning_lab.records.twins import Lines, rebuild
from pruning_lab.running import certify, trials, waivers

ROOT = Path(__file__).resolve().parents[1]
pytestmark = pytest.mark.timeout(7200)  # some run all twins four times, and machines may be busy
RECIPE = Recipe(lr=0.3, batch=128, epochs=90, drops=(5, 9), holdout=5000)
NET = Train("cifar10", "vgg19", RECIPE, 3, start=Train("mnist", "mlp", Recipe(epochs=1)))


@pytest.fixture(scope="module")
def shelf():
    """The published records: their folder, what `record.json` says, their experiment."""
    return certify.published()


# twins


def test_a_twin_is_small_and_keeps_what_does_not_make_it_large():
    twin = trials.small(MaskedTraining(NET, "diff", 0.02, "local", floor=0.02, invert=True, sample=5000, seed=4))
    assert (twin.criterion, twin.scope, twin.invert, twin.density, twin.seed) == ("diff", "local", True, 0.3, 0)
    net = twin.parent
    assert (net.dataset, net.model, net.width, net.image_size, net.limit) == ("digits", "vgg19", 4, 32, 96)
    assert (net.recipe.batch, net.recipe.epochs, net.recipe.drops, net.recipe.holdout) == (32, 2, (3,), 10)
    assert (
        net.start.dataset == "digits"
        and trials.small(replace(NET, dataset="gaussian:cifar10")).dataset == "gaussian:digits"
    )


def test_every_kind_of_published_record_has_a_twin(shelf):
    experiments = [e for *_, e in shelf]
    made = trials.twins(experiments)
    assert {type(e) for e in made} == {type(e) for s in experiments for e in lineage([s])} and len(set(made)) == len(
        made
    )
    for e in made:
        assert all(part in made[: made.index(e)] for part in e.made_of())


@pytest.mark.parametrize(
    "e", [NET, MaskedTraining(NET), UnitCurve(NET, "fc1", ("norm", "random"))], ids=lambda e: type(e).__name__
)
def test_an_experiment_is_rebuilt_from_what_a_record_says(e):
    assert rebuild(type(e), e.config()) == e and rebuild(type(e), json.loads(json.dumps(trials.described(e)[1]))) == e
    with pytest.raises(TypeError):
        rebuild(type(e), e.config() | {"more": 1})


# statements

OLD = '''
"""A module."""
import os

EDGE = 10


class A:
    size: int = 3
    version = 1

    def f(self, x: int = 1) -> int:
        """Doc."""
        if x > EDGE:  # why
            return x + 1
        try:
            y = 2
        except (ValueError,
                KeyError) as error:
            raise TypeError(
                "long"
            ) from error
        for i in range(3):
            y += i
        else:
            y = 7
        match y:
            case 1:
                return 0
        return y


def g():
    return [i for i in range(3)]
'''


def lines(tmp_path, text, name="m"):
    file = tmp_path / f"{name}.py"
    file.write_text(text)
    return syntax.statements([file], tmp_path)


def test_all_statements_are_seen_with_their_places(tmp_path):
    found = lines(tmp_path, OLD)
    assert [line.text for line in found] == [
        "EDGE = 10", "class A:", "size: int = 3", "version = 1", "def f(self, x=1):", "x=1", "if x > EDGE:",
        "return x + 1", "y = 2", "except (ValueError, KeyError) as error", "raise TypeError('long') from error",
        "for i in range(3):", "y += i", "y = 7", "match y", "case 1", "return 0", "return y", "def g():",
        "return [i for i in range(3)]",
    ]  # fmt: skip
    assert {line.place for line in found} == {"m", "m:A", "m:A.f", "m:g"}
    assert [line.name for line in found if line.name] == ["EDGE", "size", "x"]


@pytest.mark.parametrize(
    "old, new",
    [('"""Doc."""', '"""Another."""'), ("  # why", ""), ("import os", "import re"), ("x: int = 1", "x: float = 1"),
     (" -> int", ""),
     ('            raise TypeError(\n                "long"\n            ) from error',
      '            raise TypeError("long") from error'),
     ("\n\ndef g", "\n\n\n\ndef g"), ('"long"', "'long'")],
)  # fmt: skip
def test_comments_layout_imports_and_annotations_change_no_statement(tmp_path, old, new):
    assert OLD.replace(old, new) != OLD
    assert syntax.changed(lines(tmp_path, OLD), lines(tmp_path, OLD.replace(old, new))) == []


def test_a_function_that_moves_changes_nothing(tmp_path):
    start = OLD.index("\n\ndef g")
    moved = lines(tmp_path, OLD[:start]) + lines(tmp_path, OLD[start:], "other")
    assert syntax.changed(lines(tmp_path, OLD), moved) == [] == syntax.changed(moved, lines(tmp_path, OLD))


@pytest.mark.parametrize(
    "old, new, text",
    [
        ("x + 1", "x + 2", "return x + 2"),
        ("x > EDGE", "x >= EDGE", "if x >= EDGE:"),
        ("x: int = 1", "x: int = 2", "def f(self, x=2):"),
        ("KeyError", "OSError", "except (ValueError, OSError) as error"),
        ("range(3):\n            y", "range(4):\n            y", "for i in range(4):"),
        ("case 1", "case 2", "case 2"),
        ("EDGE = 10", "EDGE = 11", "EDGE = 11"),
        ('"long"', '"longer"', "raise TypeError('longer') from error"),
    ],
)
def test_what_says_something_else_is_seen(tmp_path, old, new, text):
    before, after = lines(tmp_path, OLD), lines(tmp_path, OLD.replace(old, new))
    assert text in [line.text for line in syntax.changed(before, after)] and OLD.count(old) == 1


def test_another_value_of_a_name_is_never_proved_by_its_having_run(tmp_path):
    before = lines(tmp_path, OLD + "\nOTHER = 10\n")
    for old, text in (("EDGE = 10", "EDGE = 11"), ("EDGE = 10", "EDGE = 2 * 5"), ("size: int = 3", "size: int = 4")):
        assert [line.text for line in syntax.unproved(before, lines(tmp_path, OLD.replace(old, text)))] == [text]
    assert [
        line.text for line in syntax.unproved(before, lines(tmp_path, OLD.replace("x: int = 1", "x: int = 2")))
    ] == ["x=2"]
    assert syntax.unproved(before, lines(tmp_path, OLD.replace("x: int = 1", "x: int = 1, z=3"))) == []  # a new one
    # it is in every key
    assert syntax.unproved(before, lines(tmp_path, OLD.replace("version = 1", "version = 2"))) == []
    assert syntax.unproved(before, lines(tmp_path, OLD + "\nNEW = 1\n")) == []
    swapped = OLD.replace("EDGE = 10", "EDGE = 3").replace("= 3\n    version", "= 10\n    version")
    assert len(syntax.unproved(before, lines(tmp_path, swapped))) == 2


@pytest.mark.parametrize("text", ["EDGE *= 2", "g()", "A.size = 7", "REGISTRY['x'] = g"])
def test_what_a_module_does_when_it_is_imported_is_never_proved_by_its_having_run(tmp_path, text):
    [line] = syntax.changed(lines(tmp_path, OLD), found := lines(tmp_path, OLD + f"\n{text}\n"))
    assert line.text == text and syntax.unproved(lines(tmp_path, OLD), found) == [line]


@pytest.mark.parametrize(
    "old, new, texts",
    [("        return y\n", "        return y\n        return y\n", ["return y", "return y"]),  # another of the same
     ("            return x + 1\n", "            return x + 1\n            return y\n", ["return y"]),
     # where `else` has one, but not `try`
     ("            y = 2\n", "            y = 2\n            y = 7\n", ["y = 7"]),
     ("        else:\n            y = 7\n", "        y = 7\n", ["y = 7"])],
)  # fmt: skip
def test_a_statement_counts_where_it_stands_and_as_often(tmp_path, old, new, texts):
    assert OLD.count(old) == 1
    assert [line.text for line in syntax.changed(lines(tmp_path, OLD), lines(tmp_path, OLD.replace(old, new)))] == texts


def test_a_statement_that_goes_is_seen_from_the_other_side(tmp_path):
    twice = OLD.replace("        return y\n", "        return y\n        return y\n")
    assert [line.text for line in syntax.changed(lines(tmp_path, OLD), lines(tmp_path, twice))] == [
        "return y",
        "return y",
    ]
    assert syntax.changed(lines(tmp_path, twice), lines(tmp_path, OLD)) == []


def test_lines_that_ran_are_noted_and_no_others(tmp_path):
    text = (
        "def f(x):\n    if x:\n        return (\n            1\n        )\n    return 2\n\n\ndef never():\n"
        "    return 3\n"
    )
    (tmp_path / "ran.py").write_text(text)
    with Lines(tmp_path) as seen:
        names = {}
        exec(compile((tmp_path / "ran.py").read_text(), str(tmp_path / "ran.py"), "exec"), names)
        names["f"](0)
    names["f"](1)
    ran = {texts.name_in(tmp_path / name, tmp_path): rows for name, rows in seen.found().items()}
    told = {line.text: line.ran(ran) for line in syntax.statements([tmp_path / "ran.py"], tmp_path)}
    assert told == {
        "def f(x):": True,
        "if x:": True,
        "return 1": False,
        "return 2": True,
        "def never():": False,
        "return 3": False,
    }


# rounding

A = np.array([1.0, 2.0, np.nan])


@pytest.mark.parametrize(
    "other, distance",
    [
        (A, 0),
        (A + 0.2, 0.1),
        (A.astype(np.float32), 0),
        (A[:2], np.inf),
        (np.array([1, 2, 3.0]), np.inf),
        (np.array(["1"] * 3), np.inf),
    ],
)
def test_a_distance_is_relative_to_the_largest_number(other, distance):
    assert trials.distance(A, other) == pytest.approx(distance)


@pytest.mark.parametrize(
    "words", ["training.fit", "training.fit:fit", "training.fit:fit=tests/no_such.py::test_x", "=x"]
)
def test_a_waiver_names_a_function_and_a_test_that_there_is(words):
    with pytest.raises(ValueError, match="expected FILE:FUNCTION=TEST"):
        waivers.Waivers.read([words])


@pytest.mark.parametrize(
    "words, says",
    [
        ("trian:fit=tests/test_train.py", "waiver of 'trian:fit': there is no such file; there are .*, training.fit, "),
        ("trian=tests/test_train.py", "waiver of 'trian': there is no such file; there are __init__, "),
        ("train.py=tests/test_train.py", "waiver of 'train.py': there is no such file"),
        (
            "training.fit:fti=tests/test_train.py",
            "waiver of 'training.fit:fti': there is no such function; "
            "there are .*training.fit:_Run, .*training.fit:fit",
        ),
        ("training.fit:_Run.nothing=tests/test_train.py", "there is no such function; .*training.fit:_Run.look"),
        (
            "training.fit:fit=tests/test_train.py::test_no_such",
            "tests/test_train.py has no test_no_such: expected a test that there is",
        ),
        ("training.fit:fit=tests/test_train.py::Nothing::test_x[1]", "tests/test_train.py has no Nothing"),
    ],
)
def test_a_waiver_of_what_there_is_not_names_what_there_is(words, says):
    with pytest.raises(ValueError, match=says):
        waivers.Waivers.read([words])


def test_a_waiver_names_a_file_or_a_function_of_today_or_of_the_code_before(tmp_path, monkeypatch):
    test = f"tests/test_certify.py::{test_a_twin_is_small_and_keeps_what_does_not_make_it_large.__name__}"
    places = (
        "training.fit",
        "training.fit:fit",
        "training.state:State.resume",
        "masks.ranking",
        "masks",
        "gradients.engine",
    )
    assert waivers.Waivers.read(f"{place}={test}" for place in places).tests.keys() == set(places)
    (tmp_path / "pruning_lab").mkdir()
    (tmp_path / "pruning_lab" / "gone.py").write_text("def f():\n    return 1\n")

    @contextlib.contextmanager
    def checked_out(commit):
        assert commit == "before"
        yield tmp_path

    monkeypatch.setattr(waivers, "checked_out", checked_out)
    assert waivers.Waivers.read([f"gone:f={test}[1]", f"training.fit={test}"], "before").tests.keys() == {
        "gone:f",
        "training.fit",
    }
    with pytest.raises(ValueError, match="'gone:g': there is no such function; there are gone:f"):
        waivers.Waivers.read([f"gone:g={test}"], "before")


# whole trees

SQUARE, RANDOM = "    return (rows @ rows.T).square()", "\n\n\n@unit_criterion\ndef random"
EDITS = {  # file, what is replaced, by what
    "a decile": ("experiments/gradients.py", "tenth = len(diffs) // 10", "tenth = len(diffs) // 5"),
    "a boundary": ("training/recipe.py", ">= d for d in", "> d for d in"),
    "an exponent": ("criteria/unit.py", f"{SQUARE}{RANDOM}", f"{SQUARE}.square(){RANDOM}"),
    "a rename": ("training/fit.py", "batch_loss", "loss_of_a_batch"),
    "a docstring": ("training/fit.py", "Train in place on the data's device", "Train where the data are"),
}
REFUSED = ("a decile", "a boundary", "an exponent")


@pytest.fixture
def tree(tmp_path, shelf):
    """A repository with the library and four published records, which today's code made as far as they can tell."""
    shutil.copytree(texts.PACKAGE, tmp_path / "pruning_lab", ignore=shutil.ignore_patterns("__pycache__"))
    chosen = {}
    for folder, meta, e in shelf:
        recipe = meta["config"].get("recipe", {})
        drops = meta["experiment"] == "Train" and bool(recipe["drops"]) and recipe["drop_factor"] == 0.1
        drops &= meta["config"].get("model") != "resnet50"
        small = meta["experiment"] == "GradientHistory" and "mlp" in folder.name
        small |= (
            meta["experiment"] == "UnitCurve"
            and "lenet" in folder.name
            and "frame_potential" in meta["config"]["group"]
        )
        if drops or small:
            chosen.setdefault(meta["experiment"], (folder, meta, e))
    assert chosen.keys() == {"Train", "UnitCurve", "GradientHistory"}
    for folder, meta, e in chosen.values():
        target = tmp_path / "book" / "results" / folder.relative_to(environment.published_shelf())
        shutil.copytree(folder, target)
        (target / "record.json").write_text(json.dumps(dict(meta) | dict(code=e.code())))
    for words in (
        ["init", "-q"],
        ["add", "-A"],
        ["-c", "user.name=x", "-c", "user.email=x@example.org", "commit", "-qm", "begin"],
    ):
        subprocess.run(["git", *words], cwd=tmp_path, check=True)
    return tmp_path


def certified(tree, *words):
    """What `certify` says in a tree, and its exit code."""
    settings = {k: v for k, v in os.environ.items() if not k.startswith("PRUNING_LAB_")} | {"PYTHONPATH": str(tree)}
    settings |= {"PRUNING_LAB_STORE": str(tree / "store"), "GIT_CONFIG_GLOBAL": os.devnull}
    command = [sys.executable, "-m", "pruning_lab", "certify", "--since", "HEAD", *words]
    done = subprocess.run(command, cwd=tree, env=settings, capture_output=True, text=True)
    return done.stdout + done.stderr, done.returncode


def edit(tree, name):
    file, old, new = EDITS[name]
    text = (tree / "pruning_lab" / file).read_text()
    assert old in text
    (tree / "pruning_lab" / file).write_text(text.replace(old, new))


@pytest.mark.parametrize(
    "name", ["a decile", *(pytest.param(n, marks=pytest.mark.soak) for n in EDITS if n != "a decile")]
)
def test_an_edit_that_changes_answers_is_refused_and_one_that_does_not_is_certified(tree, name):
    edit(tree, name)
    said, code = certified(tree)
    certificates = tree / "book" / "results" / "certificates.json"
    if name in REFUSED:
        assert code == 2 and "no certificate: answers differ" in said and not certificates.exists()
    elif name == "a docstring":
        assert code == 0 and "nothing to certify" in said
    else:
        assert code == 0 and "certified (bits; devices: all)" in said, said
        [made] = json.loads(certificates.read_text())["certificates"]
        assert (
            made["states"].keys() >= {"Train", "UnitCurve", "GradientHistory"}
            and made["waived"] == {}
            and made["twins"] >= 4
        )
        assert str(tree) not in certificates.read_text()


@pytest.mark.soak
def test_a_function_that_moves_to_another_file_needs_no_waiver(tree):
    library = tree / "pruning_lab"
    text = (library / "training" / "recipe.py").read_text()
    start = text.index("def crop_flip(")
    end = text.index("\n\n\n", start) if "\n\n\n" in text[start:] else len(text)
    imports = "import torch\nimport torch.nn.functional as F\n\n\n"
    (library / "training" / "cropping.py").write_text(imports + text[start:end].rstrip() + "\n")
    text = (text[:start] + text[end:]).rstrip() + "\n"
    text = text.replace("from ..data import Split", "from ..data import Split\nfrom .cropping import crop_flip")
    (library / "training" / "recipe.py").write_text(text)
    said, code = certified(tree)
    assert code == 0 and "certified (bits" in said, said


@pytest.mark.soak
def test_a_line_that_no_twin_runs_needs_a_test_that_runs_it(tree):
    file = tree / "pruning_lab" / "training" / "recipe.py"
    file.write_text(file.read_text().replace("must be positive", "must be above zero"))
    said, code = certified(tree)
    assert code == 2 and "changed lines that no twin ran" in said
    assert "training.recipe:Recipe.__post_init__" in said and "must be above zero" in said
    (tree / "tests").mkdir()
    test = tree / "tests" / "test_it.py"
    refuses = "pytest.raises(ValueError, Recipe, batch=0, epochs=1)"
    for body, says in (("pass", "do not run"), ("assert False", "fail"), (refuses, "certified (bits")):
        test.write_text(f"import pytest\nfrom pruning_lab import Recipe\n\ndef test_it():\n    {body}\n")
        said, code = certified(tree, "--waive", "training.recipe:Recipe.__post_init__=tests/test_it.py::test_it")
        assert says in said, said
    [made] = json.loads((tree / "book" / "results" / "certificates.json").read_text())["certificates"]
    assert code == 0 and made["waived"]["training.recipe:Recipe.__post_init__"]["tests"] == [
        "tests/test_it.py::test_it"
    ]


@pytest.mark.soak
def test_a_line_for_another_device_covers_records_of_the_cpu_alone(tree):
    file = tree / "pruning_lab" / "training" / "recipe.py"
    file.write_text(file.read_text().replace('in ("cpu", "cuda", "mps")', 'in ("cpu", "mps")'))
    said, code = certified(tree)
    assert code == 0 and "devices: cpu)" in said, said


@pytest.mark.soak
def test_a_measurement_may_move_by_rounding_within_its_bound_and_a_training_never(tree):
    file = tree / "pruning_lab" / "experiments" / "gradients.py"
    text = file.read_text()
    file.write_text(text.replace("return (math.log(high / low)", "return (math.log(high / low) * (1 + 1e-7)"))
    assert "answers differ" in certified(tree)[0]
    said, code = certified(tree, "--rounding", "GradientHistory", "1e-5")
    assert code == 0 and "certified (rounding" in said, said
    assert "bound" in certified(tree, "--rounding", "GradientHistory", "1e-9")[0]
    file.write_text(text)
    edit(tree, "a boundary")
    said, code = certified(tree, "--rounding", "GradientHistory", "0.9")
    assert code == 2 and "no certificate: Train" in said


def test_a_field_that_was_added_with_its_default_is_no_change_of_settings(tree):
    file = tree / "pruning_lab" / "training" / "recipe.py"
    text = file.read_text()
    added = text.replace("    drop_factor: float", '    pause: str = "none"\n    drop_factor: float')
    assert added != text
    file.write_text(added)
    edit(tree, "a rename")
    shutil.rmtree(tree / "book" / "results" / "GradientHistory")  # it takes most of the time, and the others tell
    said, code = certified(tree)
    assert code == 0 and "certified (bits" in said, said


def test_a_default_that_changed_is_named_and_is_not_called_nothing(tree):
    file = tree / "pruning_lab" / "training" / "recipe.py"
    file.write_text(file.read_text().replace("drop_factor: float = 0.1", "drop_factor: float = 0.2"))
    said, code = certified(tree)
    assert (
        code == 2
        and "nothing to certify: no code changed since HEAD under published records that have the same keys" in said
    ), said
    assert (
        "3 published records are still neither" in said
        and said.count("the default of Recipe.drop_factor was 0.1 when it was made") == 3
    )
    assert "comments and docstrings aside" not in said and "superseded" not in said


def test_a_certificate_lists_waived_constants_apart(tmp_path):
    edits = [
        ("EDGE = 10", "EDGE = 11"),
        ('"long"', '"longer"'),
        ("x: int = 1", "x: int = 2"),
        ("def g", "g = 1\nprint(g)\n\n\ndef g"),
    ]
    text = OLD
    for old, new in edits:
        text = text.replace(old, new)
    before, after = lines(tmp_path, OLD), lines(tmp_path, text)
    named = waivers.Waivers({"m": ["tests/test_x.py"], "m:A.f": ["tests/test_f.py"]})
    found = waivers.told(syntax.changed(before, after), syntax.unproved(before, after), named)
    assert found == dict(
        waived={"m": dict(lines=["g = 1"], tests=["tests/test_x.py"]),
                "m:A.f": dict(lines=["def f(self, x=2):", "raise TypeError('longer') from error"],
                              tests=["tests/test_f.py"])},
        constants={"m": dict(lines=["EDGE = 11", "print(g)"], tests=["tests/test_x.py"]),
                   "m:A.f": dict(lines=["x=2"], tests=["tests/test_f.py"])},
    )  # fmt: skip


@pytest.mark.soak
def test_another_value_of_a_constant_is_waived_apart(tree):
    file = tree / "pruning_lab" / "training" / "recipe.py"
    file.write_text(file.read_text().replace('"lowest_validation_loss")\n', '"lowest_validation_loss", "best")\n'))
    (tree / "tests").mkdir()
    test = "from pruning_lab.training.recipe import KEEPS\n\ndef test_it():\n    assert KEEPS[2] == 'best'\n"
    (tree / "tests" / "test_it.py").write_text(test)
    said, code = certified(tree)
    assert code == 2 and "changed lines that no twin ran" in said and "KEEPS" in said
    said, code = certified(tree, "--waive", "training.recipe=tests/test_it.py::test_it")
    assert code == 0, said
    [made] = json.loads((tree / "book" / "results" / "certificates.json").read_text())["certificates"]
    assert made["waived"] == {} and made["constants"]["training.recipe"]["tests"] == ["tests/test_it.py::test_it"]


def test_a_commit_that_there_is_not_is_one_sentence(tree):
    settings = os.environ | {"PYTHONPATH": str(tree)}
    command = [sys.executable, "-m", "pruning_lab", "certify", "--since", "nowhere"]
    done = subprocess.run(command, cwd=tree, env=settings, capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.startswith("pruning_lab: git has no library at 'nowhere'")
    assert "Traceback" not in done.stderr


def test_gradients_of_twins_reach_every_layer_that_histories_name(shelf):
    """What a history says of travel and paths is said of its twin too: a decile of fewer than one weight would hide
    it.
    """
    found = {e for _, meta, e in shelf if meta["experiment"] == "GradientHistory"}
    assert all(isinstance(e, GradientHistory) and trials.small(e).snapshots.followed == 50 for e in found)


def test_the_cheapest_full_records_are_those_whose_data_are_here(shelf, monkeypatch, tmp_path):
    monkeypatch.setenv("PRUNING_LAB_DATA", str(tmp_path))
    made_up = (TeacherStudent, Xord)  # their inputs are drawn
    assert certify.cheapest([one for one in shelf if not isinstance(one[-1], made_up)], 5) == []
    assert all(isinstance(e, made_up) for e in certify.cheapest(shelf, 5)) and certify.cheapest(shelf, 0) == []
    seconds = {e: meta["seconds"] for _, meta, e in shelf}
    monkeypatch.setattr(
        Train, "data_read", lambda self: dict.fromkeys((f"{self.dataset}/train", f"{self.dataset}/test"))
    )
    plain = [(folder, meta, e) for folder, meta, e in shelf if isinstance(e, Train)]
    chosen = certify.cheapest(plain, 3)
    assert len(chosen) == 3 and seconds[chosen[0]] <= min(
        seconds[e] for e in seconds if isinstance(e, Train) and e.start is None
    )


WRONG = [("Train", "1e-6"), ("Nothing", "1e-6"), ("GradientHistory", "x"), ("UnitCurve", "0"), ("UnitCurve", "nan")]


@pytest.mark.parametrize("words", WRONG)
def test_only_a_measurement_may_move_and_by_a_number(words):
    with pytest.raises(ValueError, match="--rounding"):
        certify.bounds([words])
    assert certify.bounds([("UnitCurve", "1e-6")]) == {"UnitCurve": 1e-6}
