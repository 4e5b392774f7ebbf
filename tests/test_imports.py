"""A module imports of ours only what its line in the design names: read from the source, not from a running program."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "pruning_lab"

# From the bottom up: a module may import only what its line names, and its line only what stands above.
ALLOWED = {
    "environment": "",
    "precision": "",
    "literal": "",
    "npz": "",
    "registry": "",
    "numeric": "",
    "data": "environment npz numeric",
    "losses": "",
    "metrics": "numeric",
    "worlds": "numeric",
    "fits": "",
    "samples": "",
    "nets": "environment registry numeric",
    "criteria": "registry numeric",
    "gradients": "precision samples",
    "masks": "nets criteria gradients",
    "units": "precision numeric metrics samples nets criteria gradients",
    "redundancy": "environment precision data npz metrics samples nets criteria gradients masks units",
    "training": "precision literal losses numeric data",
    "figures": "criteria",
    "widgets": "metrics fits criteria units figures",
    "records": "environment literal data",
    "experiments": (
        "environment precision data losses metrics worlds fits nets criteria gradients masks units training records"
    ),
    "running": "environment data nets criteria training records experiments",
    "report": (
        "environment data metrics worlds fits nets criteria gradients masks units redundancy figures widgets records "
        "experiments running"
    ),
    "publish": "environment records running report",
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
    heavy = {
        "torch_pruning",
        "plotly",
        "papermill",
        "networkx",
        "anywidget",
        "ipywidgets",
        "nbformat",
        "sphinx",
        "dask",
        "distributed",
    }
    for path in PACKAGE.rglob("*.py"):
        if module_of(path) in {
            "widgets",
            "publish",
            "__main__",
        }:  # a widget is a class of theirs, a build is their work
            continue
        top = ast.parse(path.read_text(encoding="utf-8")).body
        names = {alias.name for node in top if isinstance(node, ast.Import) for alias in node.names}
        names |= {node.module or "" for node in top if isinstance(node, ast.ImportFrom) and node.level == 0}
        assert not {name.split(".")[0] for name in names} & heavy, path.relative_to(PACKAGE)


def test_every_experiment_is_found_at_the_front_door():
    """Certificates and plans look experiments up there."""
    import pruning_lab
    from pruning_lab import experiments

    for name in experiments.__all__:
        assert getattr(pruning_lab, name, None) is getattr(experiments, name), (
            f"import {name} in pruning_lab/__init__.py"
        )
