"""The prose of an executed notebook: what its cells said stands in its sentences, citations are authors and years."""

import re

import nbformat
import pytest

from pruning_lab.__main__ import main
from pruning_lab.publish import single
from pruning_lab.report import evidence
from pruning_lab.running import chapters, prose


def handed(name, text):
    about = dict(scrapbook=dict(name=name, mime_prefix=prose.HANDED))
    return nbformat.v4.new_output("display_data", {f"{prose.HANDED}text/plain": text}, metadata=about)


def notebook(*texts, **said):
    cell = nbformat.v4.new_code_cell("page.tell()", outputs=[handed(name, text) for name, text in said.items()])
    plain = nbformat.v4.new_code_cell("1", outputs=[nbformat.v4.new_output("stream", text="1")])
    return nbformat.v4.new_notebook(cells=[*map(nbformat.v4.new_markdown_cell, texts), plain, cell])


@pytest.mark.parametrize(
    "text, expected",
    [
        ("It is {glue:text}`gain` (**{glue:text}`FP1`**).", "It is +1.2 points (**holds**)."),
        ("{glue:text}`count` nets, {glue:text}`quoted`", '3 nets, it\'s "so"'),
        ("{glue:text}`gain:s`", "+1.2 points"),
        ("{glue:text}`01_frame_potential.ipynb::FP1:s`", "(see 01_frame_potential)"),
        ("nobody said {glue:text}`other`", "nobody said {glue:text}`other`"),
        ("as {cite:p}`benedetto2003` has it", "as (Benedetto and Fickus, 2003) has it"),
        ("{cite:p}`lecun1998,yauney2024`", "(LeCun et al., 1998; Yauney, 2024)"),
        (
            "{cite:t}`glorot2010` and {cite:t}`dosovitskiy2021`",
            "Glorot and Bengio (2010) and Dosovitskiy et al. (2021)",
        ),
        ("{cite:p}`nobody1900`", "(nobody1900)"),
        ("`{glue}` and $x_{i}$ stay", "`{glue}` and $x_{i}$ stay"),
    ],
)
def test_what_was_said_takes_the_place_of_its_name(text, expected):
    book = notebook(text, gain="'+1.2 points'", FP1="'holds'", count="3", quoted=repr('it\'s "so"'))
    prose.fill(book)
    assert book.cells[0].source == expected


def test_what_a_page_glues_is_what_is_read_back(monkeypatch):
    import IPython.display

    shown = []
    monkeypatch.setattr(
        IPython.display, "display", lambda data, raw, metadata: shown.append(dict(data=data, metadata=metadata))
    )
    evidence.glue(words="two\nlines, 'quoted'", number=0.5, count=3)
    cells = [dict(cell_type="code", outputs=shown), dict(cell_type="markdown", source=["a"])]
    assert prose.said(dict(cells=cells)) == dict(words="two\nlines, 'quoted'", number="0.5", count="3")


def test_a_table_stands_in_the_text_as_html():
    data = {f"{prose.HANDED}text/html": ["<table>", "</table>"], f"{prose.HANDED}text/plain": "<HTML object>"}
    shown = dict(metadata=dict(scrapbook=dict(name="strip")), data=data)
    book = dict(cells=[dict(cell_type="markdown", source="See:\n\n{glue:}`strip`"),
                       dict(cell_type="code", outputs=[shown])])  # fmt: skip
    prose.fill(book)
    assert book["cells"][0]["source"] == "See:\n\n<table></table>"


def test_the_answer_is_plain_text():
    text = "**Answer.** It is {glue:text}`gain` (FP1: **{glue:text}`FP1`**), see [2](b.ipynb)."
    book = notebook(f"# Title\n\n**Question.** Is it?\n\n{text}", gain="'+1.2'", FP1="'holds'")
    prose.fill(book)
    assert prose.answer(book) == "Answer. It is +1.2 (FP1: holds), see 2."
    assert prose.answer(notebook("no answer here")) == ""


@pytest.mark.parametrize("path", sorted(chapters.FOLDER.glob("*.ipynb")), ids=lambda path: path.stem)
def test_every_page_s_roles_are_known_and_its_citations_are_works(path):
    text = "\n".join(
        "".join(cell["source"]) for cell in chapters.read(path)["cells"] if cell["cell_type"] == "markdown"
    )
    assert set(re.findall(r"\{([a-z:]+)\}`", text)) <= {
        "glue:text",
        "glue:",
        "cite:p",
        "cite:t",
    }  # no role that nobody fills
    for _, keys in prose.CITED.findall(text):
        assert {key.strip() for key in keys.split(",")} <= prose._bibliography().keys()


def test_run_prints_the_answer_and_writes_it_into_the_notebook(tmp_path, capsys):
    cell = "from pruning_lab.report import evidence\n\nevidence.glue(gain='+1.2 points', count=4)\nprint('1/1 Toy')"
    path, out = tmp_path / "07_toy.ipynb", tmp_path / "out.ipynb"
    texts = ["# Toy\n\n**Answer.** Worth {glue:text}`gain`.", "Of {glue:text}`count` nets {cite:p}`yauney2024`."]
    book = nbformat.v4.new_notebook(cells=[*map(nbformat.v4.new_markdown_cell, texts), nbformat.v4.new_code_cell(cell)])
    book.metadata["kernelspec"] = dict(name="python3", display_name="Python 3", language="python")
    nbformat.write(book, path)
    before = path.read_bytes()
    assert main(["run", str(path), "-o", str(out)]) == 0
    said, meanwhile = capsys.readouterr()
    assert said == f"Answer. Worth +1.2 points.\n{out}\n" and "1/1 Toy\n" in meanwhile  # what cells print is seen
    assert meanwhile.startswith("07_toy is executed, in a Jupyter kernel that starts now\n")
    filled = [cell.source for cell in nbformat.read(out, as_version=4).cells if cell.cell_type == "markdown"]
    assert filled == ["# Toy\n\n**Answer.** Worth +1.2 points.", "Of 4 nets (Yauney, 2024)."]
    assert path.read_bytes() == before


def test_whose_numbers_an_answer_has_is_told():
    told = dict(origin="profile night; AMD (CPU); 2026-01-31")
    assert single.whose(told, "night") == "These are numbers of this run: profile night; AMD (CPU); 2026-01-31."
    other = single.whose(told, "laptop")
    assert other.startswith("These are numbers of a larger run that is stored: profile night; AMD")
    assert "this run at laptop" in other
    assert single.whose({}, "laptop") == ""


def test_a_page_reads_its_sentences_out_for_who_has_no_book():
    """In what papermill or JupyterLab writes: under the last cell, each paragraph that has something told in it."""
    texts = ["Plain.\n", "\n", "It is {glue:text}`a`.\n", "\n", "Or `b`."]
    cells = [dict(cell_type="markdown", source=texts), dict(cell_type="code", source=["{glue:text}`a`"])]
    assert prose.paragraphs(dict(cells=cells), dict(a="3")) == "It is 3."
