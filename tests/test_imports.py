"""A module imports of ours only what its line in the design names: read from the source, not from a running program."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "pruning_lab"

# From the bottom up: a module may import only what its line names, and its line only what stands above.
ALLOWED = {
    "literal": "",
    "environment": "",
    "models": "",
    "architectures": "environment models",
    "criteria": "",
    "weight_criteria": "criteria",
    "precision": "",
    "metrics": "",
    "gradients": "precision",
    "masks": "criteria weight_criteria gradients",
    "figures": "",
    "structure": "metrics",
    "widgets": "metrics structure figures",
    "recipe": "literal",
    "checkpoint": "",
    "surgery": "",
    "source": "",
    "certificates": "environment source",
    "provenance": "environment source",
    "npz": "",
    "data": "environment npz",
    "experiment": "literal source",
    "disk": "",
    "record": "",
    "store": "environment source certificates provenance data experiment disk record",
    "workers": "disk store",
    "cluster": "environment models source experiment store",
    "lines": "experiment",
    "parameters": "",
    "plugins": "source",
    "folders": "environment",
    "sweeps": "environment certificates experiment disk store workers cluster parameters",
    "chapters": "experiment parameters",
    "units": "models criteria precision surgery",
    "train": "literal precision data recipe checkpoint",
    "experiments": "environment models architectures criteria weight_criteria precision metrics gradients masks structure recipe checkpoint"
    " source data experiment store units train",
    "syntax": "source",
    "twins": "experiment",
    "smoke": "environment criteria recipe experiment store experiments",
    "estimate": "environment data experiment store sweeps train",
    "budget": "checkpoint provenance experiment store workers lines sweeps estimate",
    "certify": "environment source certificates provenance recipe experiment record experiments syntax twins smoke",
    "parcels": "environment experiment disk record store twins",
    "report": "models metrics gradients masks figures widgets experiment store lines sweeps experiments",
    "publish": "environment experiment disk store folders sweeps chapters",
}
FREE = {"__init__", "__main__"}  # the front door and the command line


def imported(path: Path) -> set[str]:
    """The names of our modules that a file imports, at its top or anywhere inside."""
    depth = len(path.relative_to(PACKAGE).parts)
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {a.name.split(".")[1] for a in node.names if a.name.startswith("pruning_lab.")}
        elif isinstance(node, ast.ImportFrom):
            ours = (node.module or "").removeprefix("pruning_lab").removeprefix(".")
            if node.level == depth or (node.level == 0 and (node.module or "").split(".")[0] == "pruning_lab"):
                found |= {ours.split(".")[0]} if ours else {alias.name for alias in node.names}
    return found & {path.stem for path in PACKAGE.iterdir()}


def module_of(path: Path) -> str:
    """The module, or the package's folder, that a file belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def test_the_table_goes_from_the_bottom_up():
    names = list(ALLOWED)
    for name, line in ALLOWED.items():
        assert set(line.split()) <= set(names[: names.index(name)]), name


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_module_imports_only_what_its_line_names(path):
    name = module_of(path)
    if name in FREE:
        return
    assert name in ALLOWED, f"{name} has no line in the table of tests/test_imports.py"
    assert imported(path) - {name} <= set(ALLOWED[name].split())


def test_drawing_and_book_packages_are_imported_where_they_are_used():
    heavy = {"plotly", "papermill", "networkx", "anywidget", "ipywidgets", "nbformat", "sphinx", "dask", "distributed"}
    for path in PACKAGE.glob("*.py"):
        if path.stem in {"figures", "__main__"}:
            continue
        top = ast.parse(path.read_text(encoding="utf-8")).body
        names = {alias.name for node in top if isinstance(node, ast.Import) for alias in node.names}
        names |= {node.module or "" for node in top if isinstance(node, ast.ImportFrom) and node.level == 0}
        assert not {name.split(".")[0] for name in names} & heavy, path.name
