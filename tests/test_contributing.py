"""The page for contributors: its commands are commands, and need neither Jupyter nor drawing."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from pruning_lab.__main__ import _parser

ROOT = Path(__file__).resolve().parents[1]
PAGES = ("CONTRIBUTING.md", "README.md", "book/library.md")
COMMAND = re.compile(r"^python -m pruning_lab ([^#\n]+)", re.M)
ABSENT = ("plotly", "papermill", "nbformat", "nbclient", "ipykernel", "IPython", "jupyter_client", "jupyter_core",
          "torchvision", "ipywidgets", "anywidget", "sphinx", "yaml", "distributed", "matplotlib")  # fmt: skip
RUN = f"""
import sys

class Absent:
    def find_spec(name, *_):
        if name.partition(".")[0] in {ABSENT!r}:
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Absent)
from pruning_lab.__main__ import main
"""


def run(*commands, before="", expected=0, **own):
    """What commands say, one after the other in one process where the packages of `ABSENT` cannot be imported.

    The exit code of the last one is the expected one, that of the others 0.
    """
    code = (
        f"{RUN}{before}\ncodes = [main(words) for words in {commands!r}]\n"
        "assert not any(codes[:-1]), codes\nsys.exit(codes[-1])"
    )
    own |= dict(PYTHONPATH=str(ROOT), OMP_NUM_THREADS="1", PRUNING_LAB_DEVICE="cpu")
    done = subprocess.run([sys.executable, "-c", code], env=os.environ | own, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == expected, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("page", PAGES)
def test_commands_of_the_pages_are_commands(page):
    found = [words.split() for words in COMMAND.findall((ROOT / page).read_text(encoding="utf-8"))]
    assert len(found) > 3
    for words in found:
        assert _parser().parse_args(words).command, words


def test_the_lines_that_cut_a_set_make_one(tmp_path):
    import numpy as np

    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    [code] = re.findall(r"python - <<'EOF'\n(.*?)EOF", text, re.S)
    (tmp_path / "cifar10").mkdir()
    for half, n in (("train", 15_010), ("test", 4_010)):
        images = np.zeros((n, 2, 2, 3), np.uint8)
        images[:, 0, 0, 0] = np.arange(n) % 251
        np.savez(
            tmp_path / "cifar10" / f"{half}.npz",
            images=images,
            labels=np.arange(n) % 10,
            classes=np.array(list("abcdefghij")),
        )
    settings = os.environ | dict(PRUNING_LAB_DATA=str(tmp_path), PRUNING_LAB_DEVICE="cpu", PYTHONPATH=str(ROOT))
    more = "\nfrom pruning_lab import data\nprint(*(len(data.load('cifar10_cut', half)) for half in ('train', 'test')))"
    done = subprocess.run([sys.executable, "-c", code + more], env=settings, capture_output=True, text=True)
    assert done.stdout.split() == ["15000", "4000"], done.stderr


def snippets(heading):
    """The Python code under a heading of "What additions cost"."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    return re.findall(r"```python\n(.*?)```", text.partition(f"### {heading}\n")[2].partition("\n### ")[0], re.S)


def test_the_criteria_model_and_experiment_of_the_page_work_as_they_stand(tmp_path):
    for name, heading in dict(mine="A criterion", net="A model", weights="An experiment").items():
        [code] = snippets(heading)
        (tmp_path / f"{name}.py").write_text(code, encoding="utf-8")
    code = """
from pruning_lab import MaskedTraining, Recipe, Train, UnitCurve, run
from weights import WeightNorms
net = Train("digits", "two_layers", Recipe(iterations=6), width=8, limit=96)
curve = run(UnitCurve(net, "fc1", ("largest_weight",), test_images=50))
child = run(MaskedTraining(net, "travelled", density=0.3))
norms = run(WeightNorms(net))
print(set(curve.table.criterion), len(child.table) > 0, list(norms.table.layer), len(norms.meta["data"]))
"""
    own = dict(PYTHONPATH=f"{ROOT}{os.pathsep}{tmp_path}", PRUNING_LAB_PLUGINS="mine,net", PRUNING_LAB_DEVICE="cpu")
    settings = os.environ | own | dict(PRUNING_LAB_STORE=str(tmp_path / "store"), OMP_NUM_THREADS="1")
    done = subprocess.run([sys.executable, "-c", code], env=settings, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("{'largest_weight'} True ['fc1.weight', 'out.weight'] 2\n"), done.stdout


def test_the_loop_of_one_s_own_keeps_what_a_layer_was():
    import torch

    text = (ROOT / "book" / "library.md").read_text(encoding="utf-8")
    [code] = [code for code in re.findall(r"```python\n(.*?)```", text, re.S) if code.startswith("taken = ")]
    torch.manual_seed(0)
    model = torch.nn.Sequential()
    model.fc1 = torch.nn.Linear(5, 4)

    def train_an_epoch(model):
        with torch.no_grad():
            model.fc1.weight.add_(1)  # as an optimiser does, in the same memory

    from pruning_lab.widgets import ForceGraph

    names = dict(model=model, train_an_epoch=train_an_epoch, ForceGraph=ForceGraph)
    exec(code, names)
    assert len({float(weight.sum().round(decimals=3)) for weight in names["taken"]}) == 11


def test_masks_and_gradients_of_a_net_of_one_s_own_work_as_they_stand(tmp_path, monkeypatch):
    import torch

    from pruning_lab import data, models

    monkeypatch.chdir(tmp_path)
    text = (ROOT / "book" / "library.md").read_text(encoding="utf-8")
    names = dict(split=data.load("digits", "test", limit=20))
    for begin in ("from pruning_lab import masks", "from pruning_lab import gradients"):
        [code] = [code for code in re.findall(r"```python\n(.*?)```", text, re.S) if code.startswith(begin)]
        exec(code, names | dict(model=models.build("mlp", (1, 8, 8), 10, width=8)), names)
    kept = torch.cat([mask.flatten() for mask in names["kept"].values()])
    assert int(kept.sum()) == round(0.1 * len(kept)) and (tmp_path / "kept.safetensors").is_file()
    assert names["found"].n == 20


LINK = re.compile(r"\]\((?!https?:)([^)#]+)")


@pytest.mark.parametrize("page", PAGES)
def test_files_that_the_pages_lead_to_are_there(page):
    for name in LINK.findall((ROOT / page).read_text(encoding="utf-8")):
        assert (ROOT / page).parent.joinpath(name).is_file(), name


def test_the_readme_is_one_screen_and_a_bit():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 80


def test_a_machine_without_jupyter_sweeps_packs_and_unpacks(tmp_path, monkeypatch):
    """The lines of the page, at a size for tests."""
    monkeypatch.setenv("PRUNING_LAB_RESULTS", str(tmp_path / "results"))

    def there(*commands):
        return run(*commands, PRUNING_LAB_STORE=str(tmp_path / "store"))

    def at_home(*commands):
        return run(*commands, PRUNING_LAB_STORE=str(tmp_path / "home"))

    sweep = ["sweep", "01", "--profile", "smoke", "-p", "seeds", "1", "--budget", "200"]
    said = there(sweep, ["pack", str(tmp_path / "out")])
    [(stored, asked)] = re.findall(r"^(\d+) of (\d+) are stored after", said, re.M)
    assert int(stored) > 3
    [count] = re.findall(r"^(\d+) records packed$", said, re.M)
    taken = at_home(["unpack", *map(str, sorted((tmp_path / "out").iterdir()))], ["list"])
    assert taken.startswith(f"{count} records taken, 0 were here already\n") and int(count) > 3
    assert "01_frame_potential" in taken


def test_a_machine_without_jupyter_has_its_smoke():
    nets = "[smoke.net(name) for name in ('vit', 'vgg19_bn', 'conv_2', 'resnet50')]"
    said = run(
        ["smoke"], before=f"from pruning_lab.running import smoke; smoke.experiments = lambda: {nets}", expected=2
    )
    assert "3 of 4 work, " in said  # the page says that ResNet50 needs torchvision
    assert [line.split()[0] for line in said.splitlines()[:4]] == ["ok", "ok", "ok", "FAILED"]
