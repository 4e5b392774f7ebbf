"""What a chapter may be given: checked before anything runs, by the same rules whichever way it is called."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from pruning_lab import data
from pruning_lab.__main__ import main
from pruning_lab.running import chapters, parameters, sweeps

ROOT = Path(__file__).resolve().parents[1]
CELL = """# parameters
profile = "laptop"
dataset = None
seeds = None
ours = False
rate = 0.1
shift = -1.5
width = 4
offset = 0
name = "mlp"
widths = (4, 8)
more = []
extra = {}
anything = None
"""
PLAN = """from pruning_lab import Recipe, Train
nets = [Train(dataset or "digits", name, Recipe(lr=rate, iterations=3), seed=s, width=width, limit=64)
        for s in range(seeds or 1)]
experiments = {"smoke": nets, "laptop": nets}[profile]
"""
WRONG = {
    "profile": ["3", "huge", "None", "['smoke']", "True", "''"],
    "dataset": ["5", "['mnist']", "''", "' '", "0", "True", "1e3", "{}", "b'x'"],
    "seeds": ["'x'", "x", "0", "-1", "2.5", "five", "[]", "[1]", "True", "1e3", "1001", "nan", "''", "{}"],
    "ours": ["1", "yes", "'True'", "None", "0", "[]"],
    "rate": ["-0.1", "fast", "nan", "1e999", "None", "True", "9" * 400, "1j", "[]"],
    "shift": ["x", "None", "1e999", "9" * 400, "False"],
    "width": ["0", "-4", "4.0", "x", "None", "True", "9" * 400],
    "offset": ["-1", "0.5", "x"],
    "name": ["5", "None", "''", "[]"],
    "widths": ["4", "[]", "(4, 'x')", "[4, 0]", "None", "'48'"],
    "more": ["5", "None", "'x'"],
    "extra": ["5", "[]", "None"],
    "anything": ["1j", "{1, 2}", "..."],
}
RIGHT = {
    "profile": ["smoke", "gpu"], "dataset": ["None", "mnist", "gaussian:digits"], "seeds": ["1", "5", "1000", "None"],
    "ours": ["True", "False"], "rate": ["0", "0.5", "1", "1e-5"], "shift": ["-3", "0", "2.5"], "width": ["1", "300"],
    "offset": ["0", "7"], "name": ["vit"], "widths": ["[4]", "(4, 8, 16)"], "more": ["[]", "[1, 'x']"],
    "extra": ["{}", "{'a': 1}"], "anything": ["5", "x", "None", "[1]"],
}  # fmt: skip
WRONG["seeds"] += ["9" * 300, "9" * 5000, "10**400"]
GIVEN = [(name, value) for name, values in WRONG.items() for value in values]
ODD = [("sedes", "3"), ("", "3"), ("__name__", "x"), ("__builtins__", "{}"), ("Seeds", "3"), ("seeds ", "3")]


@pytest.fixture(autouse=True)
def shelves(store_folder, tmp_path, monkeypatch):
    """Two empty shelves."""
    monkeypatch.setenv("PRUNING_LAB_RESULTS", str(tmp_path / "results"))
    return store_folder


def notebook(folder, *cells, name="07_toy.ipynb"):
    path = folder / name
    found = [
        dict(
            cell_type="code",
            metadata=dict(tags=[tag]),
            source=text.splitlines(True),
            id=f"c{k}",
            outputs=[],
            execution_count=None,
        )
        for k, (tag, text) in enumerate(cells)
    ]
    kernel = dict(kernelspec=dict(name="python3", display_name="Python 3", language="python"))
    path.write_text(json.dumps(dict(cells=found, metadata=kernel, nbformat=4, nbformat_minor=5)))
    return path


@pytest.fixture
def toy(tmp_path):
    return notebook(
        tmp_path, ("parameters", CELL), ("plan", PLAN), ("", "from pruning_lab import sweep\n\nsweep(experiments)")
    )


@pytest.mark.parametrize("command", ["plan", "sweep", "run", "publish", "pack"])
def test_a_value_that_a_parameter_cannot_have_is_one_line_and_exit_code_2(
    toy, tmp_path, shelves, capsys, command, monkeypatch
):
    monkeypatch.setitem(sys.modules, "papermill", None)  # nothing comes so far
    words = [command, *[str(tmp_path / "out")] * (command == "pack"), str(toy)]
    words += ["--profile", "night"] * (command == "publish")
    for name, value in GIVEN:
        assert main([*words, "-p", name, value]) == 2, (name, value)
        out, err = capsys.readouterr()
        assert err.startswith(f"pruning_lab: 07_toy: {name}=") and ": expected " in err, (name, value, err)
        assert err.count("\n") == 1 and len(err) < 250 and out == "", (name, value, err)
    for name, value in ODD:
        assert main([*words, "-p", name, value]) == 2, name
        err = capsys.readouterr().err
        assert f"07_toy has no parameter {name!r}; it has anything, dataset," in err and err.count("\n") == 1
    assert not shelves.exists() and not (tmp_path / "out").exists()


@pytest.mark.parametrize("command", ["plan", "sweep", "run", "publish", "pack"])
def test_a_parameter_is_a_name_and_a_value_or_both_in_one_word(toy, tmp_path, capsys, command):
    out = [str(tmp_path / "out")] * (command == "pack")
    for words in (["-p", "seeds", "two"], ["-p", "seeds=two"], ["-p", "name=a=b", "-p", "seeds=two"]):
        profile = ["--profile", "night"] if command == "publish" else []
        assert main([command, *words, *out, *profile, str(toy)]) == 2
        assert "07_toy: seeds='two': expected a whole number" in capsys.readouterr().err


def test_a_value_may_have_an_equals_sign_and_a_chapter_one_digit(toy, capsys):
    from pruning_lab.running.arguments import apart

    assert list(apart(["sweep", "-p", "name=a=b", "-p", "name", "c=d", "--since", "a=b"])) == [
        "sweep", "-p", "name", "a=b", "-p", "name", "c=d", "--since", "a=b",
    ]  # fmt: skip
    assert list(apart(["plan", "-pname=a=b", "-p", "=3", "-p=3", "--profile=x"])) == [
        "plan", "-p", "name", "a=b", "-p", "", "3", "-p", "", "3", "--profile=x",
    ]  # fmt: skip
    for given in (["-p", "seeds=2"], ["-pseeds=2"]):
        assert main(["plan", str(toy), "--profile", "smoke", *given]) == 0
        assert "0 of 2 experiments" in capsys.readouterr().out
    assert main(["plan", str(toy), "-p", "=2"]) == 2
    assert "07_toy has no parameter ''; it has anything," in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["plan", str(toy), "--p", "seeds=2"])  # half an option is none
    assert "unrecognized arguments: --p" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["plan", str(toy), "-p", "seeds"])
    assert "-p: expected the name and the value of a parameter, such as -p seeds 3" in capsys.readouterr().err
    for name in ("1", "01"):
        assert chapters.chapter(name).stem == "01_frame_potential"
    for name in ("0", "1.0", "01.md"):
        with pytest.raises(ValueError, match=f"no chapter '{name}'; there are 01_frame_potential"):
            chapters.chapter(name)


@pytest.mark.parametrize("command", ["plan", "sweep", "run", "publish", "pack"])
def test_a_parameter_given_twice_is_one_line(toy, tmp_path, capsys, command, monkeypatch):
    monkeypatch.setitem(sys.modules, "papermill", None)
    out, profile = [str(tmp_path / "out")] * (command == "pack"), ["--profile", "night"] * (command == "publish")
    for words in (["-p", "seeds", "2", "-p", "seeds", "3"], ["-p", "seeds=2", "-p", "width=3", "-p", "seeds=3"]):
        assert main([command, *words, *out, *profile, str(toy)]) == 2
        err = capsys.readouterr().err
        assert err == "pruning_lab: -p seeds is given twice, the second time as '3': give each parameter once\n"
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("command", ["plan", "sweep", "run", "publish", "pack"])
def test_a_data_set_that_nobody_knows_is_one_line(toy, tmp_path, shelves, capsys, command, monkeypatch):
    monkeypatch.setitem(sys.modules, "papermill", None)
    out, profile = [str(tmp_path / "out")] * (command == "pack"), ["--profile", "night"] * (command == "publish")
    for wrong in ("nope", "gaussian:nope", "../x", "/etc", "Digits"):
        assert main([command, *out, str(toy), *profile, "-p", "dataset", wrong]) == 2
        said, err = capsys.readouterr()
        assert err.startswith(f"pruning_lab: 07_toy: dataset={wrong!r}") and err.count("\n") == 1 and not said
        assert "unknown data set" in err or "is no name of a data set" in err
    assert not shelves.exists() and not (tmp_path / "out").exists()


def test_what_keeps_many_runs_from_being_told_is_one_line(toy, capsys, monkeypatch):
    def none(root, split):
        raise OSError("no network")

    monkeypatch.setitem(data.DOWNLOADS, "afar", none)
    assert main(["plan", str(toy), "--profile", "smoke", "-p", "dataset", "afar", "-p", "seeds", "9"]) == 2
    out, err = capsys.readouterr()
    left = [line for line in out.splitlines() if line.startswith("left out: ")]
    assert len(left) == 1 and "and 8 more: FileNotFoundError: afar is not in" in left[0]
    assert "of 9 runs it cannot be told what they take" in err.splitlines()[-1]


def test_values_that_a_parameter_can_have_are_taken(toy):
    from pruning_lab.running.arguments import literal

    defaults = chapters.defaults(toy)
    for name, values in RIGHT.items():
        for value in values:
            parameters.check("toy", defaults, {name: literal(value)})


@pytest.mark.parametrize(
    "name, value, expected",
    [
        ("profile", 3, "one of smoke, laptop, night, gpu, paper"),
        ("dataset", 5, "the name of a data set or None"),
        ("seeds", "x", "a whole number from 1 to 1,000 or None"),
        ("ours", 1, "True or False"),
        ("rate", "x", "a number, 0 or more"),
        ("shift", "x", "a number"),
        ("width", 0, "a whole number, 1 or more"),
        ("offset", -1, "a whole number, 0 or more"),
        ("name", 5, "a name"),
        ("widths", [0], "a list, each of it a whole number, 1 or more"),
        ("more", 5, "a list"),
        ("extra", 5, "a dictionary"),
        ("anything", 1j, "a plain value or None"),
    ],
)
def test_the_words_say_what_is_expected(toy, name, value, expected):
    with pytest.raises(ValueError) as caught:
        parameters.check("toy", chapters.defaults(toy), {name: value})
    assert str(caught.value) == f"toy: {name}={value!r}: expected {expected}"


def test_a_value_that_cannot_be_shown_is_named_by_its_kind(toy):
    deep = []
    for _ in range(100_000):
        deep = [deep]
    for value, shown in (
        (10**5000, "int too large to show"),
        (deep, "list too large to show"),
        ("x" * 999, "'x{56}\\.\\.\\."),
    ):
        with pytest.raises(ValueError, match=f"^toy: seeds={shown}: expected a whole number from 1 to 1,000 or None$"):
            parameters.check("toy", chapters.defaults(toy), dict(seeds=value))


@pytest.mark.parametrize("path", chapters.chapters(), ids=lambda path: path.stem)
def test_every_chapter_refuses_what_its_parameters_cannot_be(path, capsys):
    for name, value in [("seeds", '"x"'), ("seeds", "[]"), ("seeds", "0"), ("profile", "3"), ("dataset", "5")]:
        for command in ("plan", "sweep", "run"):
            assert main([command, str(path), "-p", name, value]) == 2
            err = capsys.readouterr().err
            assert err.startswith(f"pruning_lab: {path.stem}: {name}=") and err.count("\n") == 1
    own = chapters.defaults(path)
    parameters.check(path.stem, own, {name: value for name, value in own.items() if name[0] != "_"})


def test_a_chapter_of_one_s_own_has_profiles_of_its_own(tmp_path):
    cell, plan = 'profile = "tiny"\ndataset = ["a", "b"]\n', "experiments = []\n"
    path = notebook(tmp_path, ("parameters", cell), ("plan", plan))
    assert chapters.plan(path, "huge", dict(dataset=["c"])) == []
    with pytest.raises(ValueError, match=r"dataset='c': expected a list, each of it a name"):
        chapters.plan(path, "huge", dict(dataset="c"))


@pytest.mark.parametrize(
    "cell", ["1 / 0", "nosuch", "[][3]", "{}['x']", "range('x')", "import nosuch", "raise RuntimeError('no')"]
)
@pytest.mark.parametrize("tag", ["parameters", "plan"])
def test_cells_that_fail_are_one_line(tmp_path, capsys, cell, tag):
    cells = dict(parameters='profile = "laptop"\n', plan="experiments = []\n")
    cells[tag] += cell
    path = notebook(tmp_path, *cells.items())
    for command in ("plan", "sweep", *["run"] * (tag == "parameters")):
        assert main([command, str(path), "-p", "profile", "smoke"]) == 2
        err = capsys.readouterr().err
        assert err.startswith("pruning_lab: the plan of 07_toy fails with --profile laptop -p profile smoke: ")
        assert "Error: " in err and err.count("\n") == 1


def test_a_page_without_parameters_is_run_without_any_and_has_none(tmp_path, capsys, monkeypatch):
    import papermill

    path, got = notebook(tmp_path, ("", "1 + 1")), []

    def execute(path, output, *, parameters, **_):
        got.append(parameters)
        shutil.copy(path, output)

    monkeypatch.setattr(papermill, "execute_notebook", execute)
    assert main(["run", str(path), "-o", str(tmp_path / "out.ipynb")]) == 0 and got == [{}]
    capsys.readouterr()
    (tmp_path / "out.ipynb").touch()
    assert main(["run", str(path), "-o", str(tmp_path / "out.ipynb")]) == 0
    said, place = capsys.readouterr().out.splitlines()
    assert "in the place of an earlier run's" in said and place == str(tmp_path / "out.ipynb")
    assert main(["run", str(path), "-p", "seeds", "3"]) == 2
    assert "07_toy has no parameter 'seeds'; it has none" in capsys.readouterr().err


# In a notebook


def injected(**given):
    return "# Parameters\n" + "".join(f"{name} = {value}\n" for name, value in given.items())


@pytest.mark.parametrize(
    "given, says",
    [
        (dict(sedes="3"), "this notebook has no parameter 'sedes'; it has anything, dataset,"),
        (dict(seeds="0"), "this notebook: seeds=0: expected a whole number from 1 to 1,000 or None"),
        (dict(seeds='"five"'), "this notebook: seeds='five'"),
        (dict(rate="float('nan')"), "this notebook: rate=nan"),
        (dict(rate="float('-inf')"), "this notebook: rate=-inf"),
        (dict(dataset="5"), "this notebook: dataset=5"),
    ],
    ids=str,
)
def test_cells_that_papermill_has_filled_in_are_checked(given, says):
    before, after = ["", "import pruning_lab"], ["experiments = []", "sweep(experiments)"]
    with pytest.raises(ValueError, match=says):
        parameters.check_cells([*before, CELL, injected(**given), *after])
    parameters.check_cells([*before, CELL, injected(seeds="3", dataset="None"), *after])
    # the reader went back to the cell of the chapter
    parameters.check_cells([*before, CELL, injected(**given), CELL, *after])


def test_what_a_reader_types_into_the_cell_itself_is_checked():
    for typed in ("seeds = 0", "seeds = 'five'", "dataset = 5", "seeds: int = -1"):
        with pytest.raises(ValueError, match=f"this notebook: {typed.partition(' ')[0].strip(':')}="):
            parameters.check_cells([f"{CELL}\n{typed}\n"])
    parameters.check_cells([f"{CELL}\nseeds = 5\ndataset = 'mnist'\nother = range(3)\n"])


def test_notebooks_and_programs_of_other_kinds_are_left_alone():
    parameters.check_cells([])
    parameters.check_cells(["seeds = 0", "# Parameters\nseeds = 0\n"])
    parameters.check_cells(["# parameters\n%matplotlib inline\nseeds = 0\n"])
    parameters.check_notebook()
    sweeps.sweep([])


FIRST = "import pruning_lab"  # as all chapters do, for the toy of their idea


@pytest.mark.parametrize(
    "given, says, before",
    [
        (["sedes", "3"], "this notebook has no parameter 'sedes'; it has ", [("", FIRST)]),
        (["seeds", "two"], "seeds='two': expected a whole number from 1 to 1,000", []),
        pytest.param(
            ["profile", "smokey"],
            "profile='smokey': expected one of smoke, laptop,",
            [("", FIRST)],
            marks=pytest.mark.soak,
        ),
        pytest.param(["seeds", "2.5"], "seeds=2.5: expected a whole number", [("", FIRST)], marks=pytest.mark.soak),
    ],
    ids=str,
)
def test_papermill_s_own_command_ends_before_the_plan_in_one_sentence(tmp_path, shelves, given, says, before):
    """Whether the library is first imported before the parameters or by the plan itself, which would fail in its own
    words.
    """
    path, out = notebook(tmp_path, *before, ("parameters", CELL), ("plan", PLAN)), tmp_path / "out.ipynb"
    words = ["-p", "profile", "smoke", "-p", *given]
    command = [sys.executable, "-m", "papermill", str(path), str(out), *words, "--no-progress-bar"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode != 0 and says in done.stderr
    failed = [
        output
        for cell in nbformat.read(out, as_version=4).cells
        for output in cell.get("outputs", [])
        if output.output_type == "error"
    ]
    assert [output.ename for output in failed] == ["ParameterError" if before else "ValueError"]
    assert says in failed[0].evalue and not list(shelves.glob("*/*/record.json"))


def test_every_cell_is_refused_until_the_parameters_are_right(monkeypatch):
    """In IPython itself, as JupyterLab has it; each import of the library leaves one watcher."""
    from IPython.core.interactiveshell import InteractiveShell

    shell = InteractiveShell()
    monkeypatch.setattr(parameters, "_shell", lambda: shell)
    shell.run_cell(CELL, store_history=True)
    parameters.watch_notebook()
    parameters.watch_notebook()
    assert len(shell.ast_transformers) == 1
    assert shell.run_cell("before = 1", store_history=True).success
    wrong = shell.run_cell(injected(seeds='"two"'), store_history=True)
    assert "this notebook: seeds='two': expected a whole number" in str(wrong.error_before_exec)
    assert not shell.run_cell("after = 1", store_history=True).success and "after" not in shell.user_ns
    assert shell.run_cell(injected(seeds="2"), store_history=True).success
    assert shell.run_cell("after = 1", store_history=True).success and len(shell.ast_transformers) == 1


@pytest.mark.parametrize(
    "words, said",
    [
        (["rnu", "01"], "invalid choice: 'rnu' .*; did you mean 'run'\\?$"),
        (["plan", "01", "--profile", "smoek"], "; did you mean 'smoke'\\?$"),
        (["plan", "01", "--profile", "zzz"], "invalid choice: 'zzz' [^?]*$"),
        (["plan", "01", "-p", "dataset", "MNIST"], r"dataset='MNIST' \(did you mean 'mnist'\?\): unknown data set"),
        (["plan", "01", "-p", "dataste", "digits"], "; did you mean 'dataset'\\?$"),
        (["plan", "frame_potental"], "; did you mean '01_frame_potential'\\?$"),
        (["plan", "zzz"], "no chapter 'zzz'; there are [^?]*$"),
    ],
)  # fmt: skip
def test_who_mistypes_is_asked_what_was_meant(words, said, capsys):
    try:
        assert main(words) == 2
    except SystemExit as ended:
        assert ended.code == 2
    assert re.search(said, capsys.readouterr().err.strip())


def test_a_profile_that_papermill_gives_is_asked_for_too():
    with pytest.raises(ValueError, match="; did you mean 'laptop'"):
        parameters.check("01", dict(profile="laptop"), dict(profile="laptp"))
