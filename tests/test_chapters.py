"""Every chapter runs by itself under papermill, as its reader would run it, its figures carry what they must, its page
asks nobody.
"""

import ast
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from test_publish import Page

from pruning_lab.running import chapters

ROOT = Path(__file__).resolve().parents[1]
CHAPTERS = sorted((ROOT / "book").glob("[0-9]*.ipynb"))
PLOTLY = "application/vnd.plotly.v1+json"


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda path: path.stem)
def test_chapter_runs_at_smoke(executed, chapter):
    """As the build of the book executes it: by papermill, in a kernel of its own, at the root of the project."""
    outputs = [
        output for cell in nbformat.read(executed(chapter), as_version=4).cells for output in cell.get("outputs", [])
    ]
    assert not [output for output in outputs if output.output_type == "error" or output.get("name") == "stderr"]
    figures = [output.data[PLOTLY] for output in outputs if PLOTLY in output.get("data", {})]
    assert figures
    for figure in figures:
        layout = figure["layout"]
        title = layout.get("title", {}).get("text")
        assert title and layout.get("meta", {}).get("alt"), f"figure {title!r} has no title or no layout.meta.alt"


def test_the_command_of_a_reader_sets_what_a_chapter_runs(tmp_path):
    """papermill's command line, on the parameters and the plan of a chapter: the rest takes as long as the build."""
    source, out = nbformat.read(CHAPTERS[0], as_version=4), tmp_path / "out.ipynb"
    kept = [cell for cell in source.cells if {"parameters", "plan"} & set(cell.metadata.get("tags", []))]
    source.cells = [*kept, nbformat.v4.new_code_cell("profile, [e.key for e in experiments]")]
    nbformat.write(source, tmp_path / "in.ipynb")
    given = ["-p", "profile", "smoke", "-p", "seeds", "1"]
    command = [sys.executable, "-m", "papermill", str(tmp_path / "in.ipynb"), str(out), *given, "--no-progress-bar"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
    said = nbformat.read(out, as_version=4).cells[-1].outputs[0].data["text/plain"]
    planned = [e.key for e in chapters.plan(CHAPTERS[0], "smoke", dict(seeds=1))]
    profile, keys = ast.literal_eval(said)
    assert profile == "smoke" and list(dict.fromkeys(keys)) == planned and planned


def code_of(chapter):
    """The code cells of a chapter: their tags, and their lines that are not blank."""
    cells = [cell for cell in nbformat.read(chapter, as_version=4).cells if cell.cell_type == "code"]
    return [
        (set(cell.metadata.get("tags", [])), [line for line in cell.source.splitlines() if line.strip()])
        for cell in cells
    ]


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda path: path.stem)
def test_a_chapter_is_short_and_what_it_needs_between_records_and_figures_is_in_the_library(chapter):
    cells = code_of(chapter)
    assert sum(len(lines) for _, lines in cells) <= 150
    assert max(len(lines) for _, lines in cells) <= 15
    for tags, lines in cells:
        tree = ast.parse("\n".join(lines))
        functions = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)]
        assert not functions or "plan" in tags, f"{functions[0].name} is defined outside the plan"
        assert max(map(len, lines), default=0) <= 120


def test_built_pages_name_no_script_style_or_picture_elsewhere(book):
    for path in book.rglob("*.html"):
        for tag, attributes in Page(path.read_text(encoding="utf-8")).tags:
            source = attributes.get("src") or (attributes.get("href") if tag == "link" else "") or ""
            assert "//" not in source, f"{path.name}: {tag} {source}"
