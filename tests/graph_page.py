"""A page of the book with four force graphs and linked controls, made from a notebook of its own."""

import shutil
from pathlib import Path

import nbformat
import numpy as np
import yaml

from pruning_lab.publish import executing, pages

ROOT = Path(__file__).resolve().parents[1]

FIRST = """
import sys
sys.path.insert(0, "tests")
from graph_page import graph, snapshots
from IPython.display import display

first = graph()
display(first.fallback())
display(first.controls())
first
"""
SECOND = """
from pruning_lab.widgets import ForceGraph

ForceGraph.from_snapshots({"256": snapshots(20, 6, 0), "64": snapshots(20, 6, 1)}, range(6), name="two",
                           title="Two nets", time="step")
"""
THIRD = "ForceGraph.from_snapshots([[[1, 2]], [[2, 4]]], [0, 1], name='single', title='One unit')"
FOURTH = """
start, end = snapshots(20, 6)[[0, -1]]
ForceGraph.from_snapshots([end, end, start], range(3), name="gone", title="Edges that go", cutoff=0.3)
"""


def snapshots(units=60, times=6, seed=0, inputs=196):
    """Weights [T, U, D] that gather around five directions while their norms grow apart."""
    rng = np.random.default_rng(seed)
    start, goal = rng.normal(size=(units, inputs)), rng.normal(size=(5, inputs))[np.arange(units) % 5]
    growth = 1 + rng.random((units, 1))
    way = np.linspace(0, 0.8, times)
    return np.stack([((1 - part) * start + part * goal) * growth**part for part in way]).astype(np.float32)


def graph(units=60, times=6, **options):
    """A graph with labels, pictures and an order with its curve."""
    from pruning_lab.widgets import ForceGraph

    weights = snapshots(units, times)
    order = np.argsort(np.linalg.norm(weights[-1], axis=1))
    given = dict(name="first", title="Sixty units", colours={"preferred class": np.arange(units) % 5},
                 orders={"norm": (order, np.linspace(0.95, 0.1, units + 1))},
                 pictures=weights[-1].reshape(units, 14, 14))  # fmt: skip
    return ForceGraph.from_snapshots(weights, range(times), **(given | options))


def make(folder: Path, cells=(FIRST, SECOND, THIRD, FOURTH)) -> Path:
    """The folder of the built page `book/graphs.html` with the output of these cells."""
    source, done = folder / "graphs.ipynb", folder / "src" / "book" / "graphs.ipynb"
    spec = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    code = [nbformat.v4.new_code_cell(cell.strip()) for cell in cells]
    nbformat.write(
        nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# Graphs"), *code], metadata=spec), source
    )
    shutil.copytree(ROOT / "book" / "_static", folder / "src" / "book" / "_static")
    nbformat.write(executing.run_by_papermill(source, folder / "part.ipynb", {}, 120), done)
    (folder / "src" / "book" / "references.bib").write_text("")
    (folder / "src" / "_toc.yml").write_text(yaml.safe_dump({"format": "jb-book", "root": "book/graphs"}))
    config = pages.configuration((ROOT / "_config.yml").read_text(encoding="utf-8"))
    (folder / "src" / "_config.yml").write_text(yaml.safe_dump(config, sort_keys=False))
    return pages.render(folder)
