"""Each chapter links to what it uses in the reference, once, where it says how to go on."""

from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest
from docutils import nodes
from docutils.utils import new_document
from sphinx.addnodes import pending_xref

from pruning_lab.publish import carrying_on
from pruning_lab.running import chapters

CELLS = [
    "from pruning_lab import Recipe, Train as Net, figures, masks, report, worlds",
    "%matplotlib inline\nfrom pruning_lab import UnitCurve",
    "found = masks.build({}, 0.1)\nworlds.xord.chance_explored(2)\nfrom pruning_lab import Train\nfound.build",
    "import numpy as np\nfrom pruning_lab.widgets import Explorer\nfigures.panels(np.ones(1), masks.no_such_name)",
]
NAMES = ["Recipe", "Train", "masks.build", "worlds.xord.chance_explored", "widgets.Explorer"]


def notebook(cells):
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(text) for text in cells])


def test_what_code_imports_or_reads_from_a_room_has_its_entry_once():
    assert [e.name for e in carrying_on.used(notebook(CELLS))] == NAMES


def test_each_chapter_uses_something_of_the_reference():
    for path in chapters.chapters():
        names = [e.name for e in carrying_on.used(nbformat.read(path, as_version=4))]
        assert len(names) > 1 and len(set(names)) == len(names), path.name


@pytest.fixture
def page(tmp_path):
    """A chapter's tree with its section on carrying on, and what Sphinx knows of it."""
    nbformat.write(notebook(CELLS), tmp_path / "12_small.ipynb")
    document = new_document("12_small")
    for title, texts in (("The idea", ["A formula."]), (carrying_on.HEAD, ["Type this.", "Sources. A paper."])):
        document += nodes.section("", nodes.title("", title), *(nodes.paragraph("", text) for text in texts))
    known = SimpleNamespace(docname="book/12_small", found_docs={"book/reference"})
    known.doc2path = lambda page: str(tmp_path / f"{Path(page).name}.ipynb")
    return SimpleNamespace(env=known), document


def test_the_links_stand_once_before_the_sources(page):
    app, document = page
    carrying_on.add(app, document)
    idea, last = document.children
    assert [child.astext().split(":")[0] for child in last.children[1:]] == [
        "Type this.", carrying_on.WORDS.split(":")[0], "Sources. A paper."
    ]  # fmt: skip
    targets = [link["reftarget"] for link in document.findall(pending_xref)]
    assert targets == [f"pruning_lab.{name}" for name in NAMES] and len(idea.children) == 2
    assert last.children[2].astext().endswith("worlds.xord.chance_explored, widgets.Explorer.")


def test_a_book_without_a_reference_has_no_links(page):
    app, document = page
    app.env.found_docs = set()
    carrying_on.add(app, document)
    assert not list(document.findall(pending_xref))
