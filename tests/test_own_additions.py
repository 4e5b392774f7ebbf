"""What a reader adds, in whole chapters: criteria of their own, one of which fails; images that a net does not take."""

import os
import subprocess
import sys
from pathlib import Path

import nbformat
import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]
MINE = """from pruning_lab import unit_criterion, weight_criterion


@unit_criterion
def largest_weight(weight):
    return weight.flatten(1).abs().amax(1)


@unit_criterion
def wrong_shape(weight):
    return weight.sum()


@weight_criterion
def travelled(weight, init):
    return (weight - init).abs()


@weight_criterion
def broken(weight):
    raise RuntimeError("broken on purpose")
"""
GOOD = {"01": "largest weight", "06": "travelled", "07": "travelled", "08": "travelled"}
BAD = {"01": "wrong_shape", "06": "broken", "07": "broken", "08": "broken"}


def some(kept, chapters):
    """Chapters as parameters of a test: those named are run always, the others are alike and soak."""
    return [pytest.param(number, marks=[pytest.mark.soak] * (number not in kept)) for number in chapters]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """One store for all: chapters share nets."""
    return tmp_path_factory.mktemp("store")


@pytest.fixture
def run(store, tmp_path):
    """A function: a chapter at smoke as a reader runs it -> what was printed, and the executed notebook."""

    def made(chapter, *words, **more):
        out, path = tmp_path / "out.ipynb", next((ROOT / "book").glob(f"{chapter}_*.ipynb"))
        own = dict(PYTHONPATH=str(ROOT), PRUNING_LAB_STORE=str(store), PRUNING_LAB_DEVICE="cpu")
        command = [sys.executable, "-m", "pruning_lab", "run", str(path), "--profile", "smoke", "-o", str(out), *words]
        done = subprocess.run(command, env=os.environ | own | more, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout, nbformat.read(out, as_version=4)

    return made


def prose(book):
    return "\n".join(cell.source for cell in book.cells if cell.cell_type == "markdown")


def figures(book):
    outputs = [output for cell in book.cells for output in cell.get("outputs", []) if "data" in output]
    return [data["layout"] for output in outputs if (data := output.data.get("application/vnd.plotly.v1+json"))]


@pytest.mark.parametrize("chapter", some(("01", "07"), GOOD))  # one of criteria of units, one of criteria of weights
def test_a_chapter_draws_criteria_of_one_s_own_and_names_the_one_that_fails(tmp_path, run, chapter):
    (tmp_path / "mine.py").write_text(MINE)
    words = ["-p", "ours", "True"] if chapter in ("06", "07") else []
    said, book = run(chapter, *words, PRUNING_LAB_PLUGINS="mine")
    assert said.startswith("Answer. ") and "{glue" not in prose(book) and "{cite" not in prose(book)
    [where] = [line for line in prose(book).splitlines() if "numbers come from" in line]
    assert f"-{BAD[chapter]}" in where.partition("Left out: ")[2]
    assert f"-{BAD[chapter]}" in said.partition("Left out: ")[2]  # and in the terminal
    drawn = [layout for layout in figures(book) if GOOD[chapter].replace(" ", "_") in str(layout["meta"]["rows"])]
    assert drawn
    assert not [rows for layout in drawn for rows in str(layout["meta"]["rows"]).splitlines() if BAD[chapter] in rows]


@pytest.fixture(scope="module")
def odd(tmp_path_factory):
    """A folder with a set of images of 17 x 23 pixels."""
    folder, draw = tmp_path_factory.mktemp("data"), np.random.default_rng(0)
    (folder / "odd").mkdir()
    for half, n in (("train", 300), ("test", 80)):
        images = draw.integers(0, 256, (n, 17, 23, 3)).astype(np.uint8)
        np.savez(folder / "odd" / f"{half}.npz", images=images, labels=np.arange(n) % 10)
    return folder


@pytest.mark.parametrize("chapter", some(("05",), ("03", "04", "05", "08")))
def test_images_that_the_transformer_does_not_take_leave_it_out_by_name(run, odd, chapter):
    said, book = run(chapter, "-p", "dataset", "odd", PRUNING_LAB_DATA=str(odd))
    assert said.startswith("Answer. ") and "These are numbers of this run: profile smoke; " in said
    [where] = [line for line in prose(book).splitlines() if "numbers come from" in line]
    lost = where.partition("Left out: ")[2]
    assert "vit-odd" in lost and "17 x 23 pixels of patches of 4" in lost and "resnet" not in lost and "mlp" not in lost
    assert any(layout["height"] != 230 for layout in figures(book))  # not all say that nothing was run


@pytest.mark.parametrize("chapter", some(("05",), ("03", "05")))
def test_resized_images_fit_the_transformer(run, odd, chapter):
    words = ["-p", "dataset", "odd", "-p", "image_size", "16"]
    _, book = run(chapter, *words, PRUNING_LAB_DATA=str(odd))
    assert "Left out" not in prose(book) and "{glue" not in prose(book)
