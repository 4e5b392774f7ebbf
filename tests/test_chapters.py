"""Every chapter runs by itself under papermill, as its reader would run it, and its figures carry what they must."""

import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parents[1]
PLOTLY = "application/vnd.plotly.v1+json"


@pytest.mark.timeout(600)
@pytest.mark.parametrize("chapter", sorted((ROOT / "book").glob("[0-9]*.ipynb")), ids=lambda path: path.stem)
def test_chapter_runs_at_smoke(chapter, tmp_path):
    out = tmp_path / "out.ipynb"
    command = [sys.executable, "-m", "papermill", str(chapter), str(out), "-p", "profile", "smoke", "--no-progress-bar"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
    outputs = [output for cell in nbformat.read(out, as_version=4).cells for output in cell.get("outputs", [])]
    assert not [output for output in outputs if output.output_type == "error" or output.get("name") == "stderr"]
    figures = [output.data[PLOTLY] for output in outputs if PLOTLY in output.get("data", {})]
    assert figures
    for figure in figures:
        layout = figure["layout"]
        title = layout.get("title", {}).get("text")
        assert title and layout.get("meta", {}).get("alt"), f"figure {title!r} has no title or no layout.meta.alt"
