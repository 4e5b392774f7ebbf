"""The book's machinery: the figure plugin, its rows and tables, the build's cache, settings, the sources' hygiene."""

import ast
import base64
import csv
import hashlib
import io
import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import nbformat
import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from pruning_lab.publish import build, executing, figure_rows, inputs, pages, plotly_mime, sphinx_ext
from pruning_lab.publish.plotly_mime import MIME, PlotlyMime, figure_html
from pruning_lab.report import claims, evidence

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "book").glob("*.ipynb"))
BANNED = re.compile(r"\binteract\b|\binteractive\b|Output\(|FigureWidget|tqdm\.auto")


def line(name="norm", x=(0, 1, 2), y=(98.0, 97.5, 10.0), **more):
    return {"type": "scatter", "name": name, "x": list(x), "y": list(y), **more}


def figure(*traces, **layout):
    return {"data": list(traces or [line()]), "layout": {"meta": {"alt": "one line"}, "title": {"text": "A"}, **layout}}


class Page(HTMLParser):
    """The elements of a piece of HTML and the text of its scripts."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.scripts, self.inside = [], [], False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.inside = tag == "script"

    def handle_endtag(self, tag):
        self.inside = False

    def handle_data(self, data):
        if self.inside:
            self.scripts.append(data)


@pytest.fixture
def rendered(tmp_path):
    """A function figure -> (html, warnings), with the page's folder in `.folder`."""
    warnings = []
    app = SimpleNamespace(outdir=str(tmp_path / "html"), srcdir=str(tmp_path))
    env = SimpleNamespace(app=app, config=SimpleNamespace(lab_root=""), temp_data={}, docname="book/01_name")
    logger = SimpleNamespace(warning=lambda message, **_: warnings.append(message))
    renderer = SimpleNamespace(logger=logger, renderer=SimpleNamespace(sphinx_env=env))

    def render(content, inline=False):
        data = SimpleNamespace(mime_type=MIME, content=content, line=1, cell_metadata={})
        found = PlotlyMime.handle_mime(renderer, data, inline)
        return found and (found[0].astext(), warnings)

    render.folder = tmp_path
    return render


# The plugin


def test_other_outputs_and_inline_figures_are_left_alone(rendered):
    data = SimpleNamespace(mime_type="text/html", content="<b>x</b>")
    assert PlotlyMime.handle_mime(None, data, False) is None
    assert rendered(figure(), inline=True) is None


def test_a_figure_without_alt_text_is_a_warning(rendered):
    assert rendered(figure())[1] == []
    assert "alt" in rendered(figure(meta={}))[1][0]


def test_a_figure_has_a_name_a_title_and_no_template(rendered):
    html, _ = rendered(figure(template={"layout": {}}, title={"text": "A<br><b>b</b><i onclick='x'>"}))
    page = Page(html)
    attributes = next(attributes for tag, attributes in page.tags if tag == "figure")
    assert attributes["role"] == "group" and attributes["aria-label"] == "one line"
    assert "A<br><b>b</b>&lt;i onclick" in html
    layout = json.loads(page.scripts[0])["layout"]
    assert "template" not in layout and "title" not in layout


@settings(deadline=None)
@given(st.text(max_size=60), st.sampled_from(["</script><script>alert(1)</script>", "<!--<script>", "\"'><img src=x>"]))
def test_no_text_of_a_figure_leaves_its_place(text, bad):
    text += bad
    meta = {"alt": text, "command": text}
    page = Page(figure_html(figure(line(name=text), title={"text": text}, meta=meta), meta, "a.csv"))
    assert json.loads(page.scripts[0])["data"][0]["name"] == text
    allowed = {
        "figure",
        "figcaption",
        "div",
        "script",
        "noscript",
        "p",
        "a",
        "details",
        "summary",
        "table",
        "caption",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
        "pre",
        "b",
        "i",
        "em",
        "strong",
        "sub",
        "sup",
        "br",
    }
    assert {tag for tag, _ in page.tags} <= allowed
    assert sum(tag == "script" for tag, _ in page.tags) == 1


# Rows


def test_given_rows_are_served_beside_the_page(rendered):
    html, _ = rendered(figure(meta={"alt": "a", "rows": "a,b\n1,2\n", "file": "../my rows.csv", "command": "make it"}))
    assert 'href="../_downloads/rows/01_name/my-rows.csv" download="01_name-my-rows.csv"' in html and "make it" in html
    assert (rendered.folder / "html/_downloads/rows/01_name/my-rows.csv").read_text() == "a,b\n1,2\n"


def test_rows_may_be_a_path_and_a_missing_one_is_a_warning(rendered):
    (rendered.folder / "table.csv").write_text("a\n1\n")
    assert rendered(figure(meta={"alt": "a", "rows": "table.csv"}))[1] == []
    assert (rendered.folder / "html/_downloads/rows/01_name/figure-1.csv").read_text() == "a\n1\n"
    assert "nowhere.csv" in rendered(figure(meta={"alt": "a", "rows": "nowhere.csv"}))[1][0]


def test_two_figures_of_one_name_have_two_files(rendered):
    first, _ = rendered(figure(meta={"alt": "a", "rows": "a\n1\n", "file": "rows.csv"}))
    again, _ = rendered(figure(meta={"alt": "a", "rows": "a\n1\n", "file": "rows.csv"}))
    other, _ = rendered(figure(meta={"alt": "a", "rows": "a\n2\n", "file": "rows.csv"}))
    assert "/rows.csv" in first and "/rows.csv" in again and "/rows-2.csv" in other


def test_without_given_rows_the_figure_s_own_are_served_in_full(rendered):
    y = np.random.default_rng(0).random(301)
    packed = {"dtype": "f8", "bdata": base64.b64encode(y.tobytes()).decode()}
    rendered(figure(line(x=range(301), y=[]) | {"y": packed}, line("band", hoverinfo="skip")))
    text = (rendered.folder / "html/_downloads/rows/01_name/figure-1.csv").read_text().splitlines()
    assert len(text) == 302 and [float(row.split(",")[2]) for row in text[1:]] == y.tolist()


FORMULAS = ["=1+1", "=cmd|' /C calc'!A0", "@SUM(1)", "+1+1", "-2+3", "-x", "\t=1", " =1", "\uff1dHYPERLINK(1)",
            '=HYPERLINK("a,b")', "- 1", "+", "\n=1",
            "--1", "-1e", "-0x1F", "-1_0"]  # fmt: skip
NUMBERS = [
    "-1",
    "+2.5",
    "-.5",
    "-1e-05",
    "1e3",
    "-inf",
    "nan",
    "-nan",
    "0",
    "",
    "norm",
    "a=b",
    "1-2",
    "user@host",
    "-7.",
    "+12E+3",
]


@pytest.mark.parametrize("cell", FORMULAS)
def test_a_cell_that_a_spreadsheet_would_run_is_text(cell):
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([["line", cell], [cell, -1.5], ["norm", "2"]])
    found = list(csv.reader(io.StringIO(figure_rows.inert(text.getvalue()), newline="")))
    assert found == [["line", "'" + cell], ["'" + cell, "-1.5"], ["norm", "2"]]


def test_numbers_and_plain_words_are_served_letter_by_letter():
    text = "a,b\r\n" + "".join(f'"{cell}",-1\r\n' for cell in NUMBERS)
    assert figure_rows.inert(text) == text and figure_rows.inert("") == ""


def test_rows_of_every_way_are_inert(rendered, tmp_path):
    """Those of the figure itself, those it is given, and those of a file, which stays as it is."""
    file = rendered.folder / "table.csv"
    file.write_text("=a,b\n1,-2\n")
    rendered(figure(line("=line", y=[-1, 2, 3]), meta={"alt": "a"}))
    rendered(figure(meta={"alt": "a", "rows": "a,b\n@x,-1\n", "file": "given.csv"}))
    rendered(figure(meta={"alt": "a", "rows": "table.csv", "file": "read.csv"}))
    served = rendered.folder / "html/_downloads/rows/01_name"
    assert (served / "figure-1.csv").read_text().splitlines()[1] == "'=line,0,-1"
    assert (served / "given.csv").read_text() == "a,b\n'@x,-1\n" and (
        served / "read.csv"
    ).read_text() == "'=a,b\n1,-2\n"
    assert file.read_text() == "=a,b\n1,-2\n"


# Tables


def test_lines_over_one_axis_share_a_table():
    html = figure_rows.table(figure(line("a"), line("b<b>"), xaxis={"title": {"text": "units"}}))
    assert re.findall(r"<th\b[^>]*>(.*?)</th>", html) == ["units", "a", "b"]
    assert html.count("<tr>") == 4


def test_long_tables_are_thinned_with_both_ends():
    html = figure_rows.table(figure(line(x=range(1000), y=range(1000))))
    cells = re.findall(r"<tr><td>(\d+)</td>", html)
    assert len(cells) == figure_rows.MOST_ROWS and cells[0] == "0" and cells[-1] == "999"
    assert "40 of 1000 rows" in html


def test_lines_over_different_axes_stand_one_below_the_other():
    html = figure_rows.table(figure(line("a"), line("b", x=(5, 6), y=(1, 2))))
    assert html.count("<tr>") == 1 + 3 + 2


def test_lines_in_panels_are_named_after_them():
    paper = {"y": 1.0, "xref": "paper", "yref": "paper"}
    notes = [{"text": "fc1", "x": 0.2, **paper}, {"text": "fc2", "x": 0.8, **paper}]
    axes = {"xaxis": {"domain": [0, 0.4], "anchor": "y"}, "xaxis2": {"domain": [0.6, 1], "anchor": "y2"}, "yaxis2": {}}
    drawn = figure(line(), line(xaxis="x2"), annotations=notes, **axes)
    assert [name for name, _, _ in figure_rows.lines(drawn)] == ["fc1: norm", "fc2: norm"]


def test_a_heatmap_has_rows_and_a_table():
    drawn = figure({"type": "heatmap", "z": [[1, 2], [3, 4]], "x": ["p", "q"]})
    assert figure_rows.rows_csv(drawn).splitlines()[1:] == ["map 1,p,0,1", "map 1,q,0,2", "map 1,p,1,3", "map 1,q,1,4"]
    assert figure_rows.table(drawn).count("<td>") == 6


# What is handed to the prose


@pytest.mark.parametrize("value", ["0.5 %", 3, 2.5, np.float64(0.1), "two\nlines, 'quoted'"])
def test_what_is_glued_is_what_myst_would_glue(value, monkeypatch):
    import IPython.display
    import myst_nb.ext.glue

    shown = []
    for module in (IPython.display, myst_nb.ext.glue):
        monkeypatch.setattr(
            module, "display" if module is IPython.display else "ipy_display", lambda *a, **k: shown.append((a, k))
        )
    evidence.glue(name=value)
    myst_nb.glue("name", value.item() if isinstance(value, np.generic) else value, display=False)
    assert shown[0] == shown[1] and "scrapbook" in shown[0][1]["metadata"]


def test_a_chapter_imports_nothing_that_checks_notebooks():
    """The schemas of the notebook format take a kernel some seconds to import."""
    code = (
        "import sys; from pruning_lab import figures; "
        "from pruning_lab.report import claims, evidence; evidence.glue(a=1);"
    )
    code += "print({'nbformat', 'jsonschema', 'myst_nb'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.splitlines()[-1] == "set()", done.stdout + done.stderr


def test_claims_are_read_anew_where_the_file_changed_and_nobody_can_change_them_for_others(tmp_path, monkeypatch):
    monkeypatch.setattr(claims, "FILE", tmp_path / "claims.yml")
    row = dict(id="A1", chapter="a", source="s", where="w", claim="one", measure="m", expect="e")
    for words in ("one", "two"):
        claims.FILE.write_text(yaml.safe_dump([row | dict(claim=words)]))
        claims.load().clear()
        assert claims.load()["A1"].claim == words


# The build


@pytest.fixture
def notebook(tmp_path):
    """A function source -> a notebook with a parameters cell and a cell of that source."""

    def write(source):
        cells = [
            nbformat.v4.new_code_cell('profile = "laptop"', metadata={"tags": ["parameters"]}),
            nbformat.v4.new_code_cell(source),
        ]
        spec = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
        path = tmp_path / "01_try.ipynb"
        nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=spec), path)
        return path

    return write


def test_an_executed_chapter_is_found_again_and_holds_no_paths(notebook, tmp_path):
    path = notebook("import os\nprint(profile, os.environ['TQDM_DISABLE'])")
    first = executing.execute(path, "smoke", folder=tmp_path)
    stamp = first.stat().st_mtime_ns
    assert executing.execute(path, "smoke", folder=tmp_path) == first and first.stat().st_mtime_ns == stamp
    text = first.read_text(encoding="utf-8")
    assert "smoke 1" in text and str(tmp_path) not in text and str(ROOT) not in text
    assert "hide-input" in nbformat.read(first, as_version=4).cells[1].metadata.tags


def test_what_a_chapter_stores_does_not_make_it_stale(notebook, tmp_path, store_folder):
    record = store_folder / "Train" / "key" / "record.json"
    path = notebook(
        f"from pathlib import Path\nfile = Path({str(record)!r})\n"
        "file.parent.mkdir(parents=True)\nfile.write_text('{}');"
    )
    first = executing.execute(path, "smoke", folder=tmp_path)
    assert executing.execute(path, "smoke", folder=tmp_path) == first


def test_a_failing_cell_is_named_and_nothing_stays(notebook, tmp_path):
    path = notebook("answer = 41\nraise ValueError('not 42')")
    with pytest.raises(build.BuildError, match="(?s)01_try.ipynb, cell 3.*answer = 41.*ValueError: not 42"):
        executing.execute(path, "smoke", folder=tmp_path)
    assert list((tmp_path / "executed").iterdir()) == []


def test_the_key_hangs_on_what_the_chapter_reads(notebook, tmp_path, monkeypatch):
    monkeypatch.setenv("PRUNING_LAB_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("PRUNING_LAB_RESULTS", str(tmp_path / "results"))
    monkeypatch.setenv("PRUNING_LAB_STORE", str(tmp_path / "store"))
    path, keys = notebook("1"), []

    def note():
        keys.append(inputs.key(path, {"profile": "smoke"}))

    note()
    note()
    assert keys[0] == keys[1]
    keys.append(inputs.key(path, {"profile": "paper"}))
    for file in ("results/Train/key/record.json", "store/Train/key/record.json", "data/mnist/train.npz"):
        (tmp_path / file).parent.mkdir(parents=True)
        (tmp_path / file).write_text("{}")
        note()
    notebook("2")
    note()
    monkeypatch.setenv("PRUNING_LAB_DEVICE", "cpu")
    note()
    monkeypatch.setattr(inputs, "bytes_of", lambda paths: "another library")
    note()
    assert len(set(keys)) == len(keys) - 1


def test_a_build_that_fails_leaves_the_last_book(tmp_path):
    (tmp_path / "html").mkdir()
    (tmp_path / "html" / "index.html").write_text("the last good book")
    (tmp_path / "src").mkdir()
    with pytest.raises(build.BuildError, match="jupyter-book failed"):
        pages.render(tmp_path)
    assert (tmp_path / "html" / "index.html").read_text() == "the last good book"


def test_an_unknown_profile_is_refused(tmp_path, capsys):
    assert build.main(["--profile", "huge"]) == 1
    assert "laptop" in capsys.readouterr().err


def test_workers_are_set_while_the_book_is_built_and_not_after(monkeypatch):
    seen = []
    monkeypatch.setattr(build, "build", lambda *_: seen.append(os.environ.get("PRUNING_LAB_WORKERS")) or Path("html"))
    monkeypatch.setattr(build.os, "cpu_count", lambda: 16)
    monkeypatch.delenv("PRUNING_LAB_WORKERS", raising=False)
    for profile in ("laptop", "smoke"):
        assert build.main(["--profile", profile]) == 0 and "PRUNING_LAB_WORKERS" not in os.environ
    monkeypatch.setenv("PRUNING_LAB_WORKERS", "1")
    build.main(["--profile", "laptop"])
    assert seen == ["4", None, "1"]


def test_paths_of_this_machine_are_found(tmp_path):
    (tmp_path / "page.html").write_text(f"see {ROOT}/book")
    (tmp_path / "other.html").write_text("see book/")
    assert pages.machine_paths(tmp_path) == [f"page.html: {ROOT}"]


# Settings


def test_buttons_appear_only_with_a_repository(monkeypatch):
    monkeypatch.delenv("PRUNING_LAB_REPOSITORY", raising=False)
    text = (ROOT / "_config.yml").read_text(encoding="utf-8")
    assert pages.configuration(text)["execute"]["execute_notebooks"] == "off"
    without = pages.configuration(re.sub(r'url: ".*"', 'url: ""', text))
    assert "repository" not in without and "launch_buttons" not in without
    assert "lab_sources" not in without["sphinx"]["config"]
    assert not without["html"]["use_repository_button"]
    monkeypatch.setenv("PRUNING_LAB_REPOSITORY", "https://github.com/owner/name.git")
    config = pages.configuration(text)
    assert config["repository"]["url"] == "https://github.com/owner/name"
    assert config["sphinx"]["config"]["lab_sources"] == "https://github.com/owner/name/blob/main"
    assert config["html"]["use_repository_button"] and {"binderhub_url", "colab_url"} <= set(config["launch_buttons"])
    monkeypatch.setenv("PRUNING_LAB_REPOSITORY", "https://example.org/name")
    assert "colab_url" not in pages.configuration(text)["launch_buttons"]


def test_contents_names_what_is_there():
    contents = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    named = [
        page
        for part in contents["parts"]
        for chapter in part["chapters"]
        for page in (chapter, *chapter.get("sections", ()))
    ]
    files = [contents["root"], *(page["file"] for page in named)]
    pages = [path for path in (ROOT / "book").iterdir() if path.suffix in (".md", ".ipynb")]
    assert set(files) == {f"book/{path.stem}" for path in pages}
    named = {
        chapter["file"][5:]: chapter.get("title", "") for part in contents["parts"] for chapter in part["chapters"]
    }
    for path in NOTEBOOKS:
        if path.name[0].isdigit():  # pages speak of "chapter 3", so the list of contents has its number
            assert named[path.stem].split()[0] == str(int(path.stem[:2]))


# Sources


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_sources_are_clean(path):
    book = nbformat.read(path, as_version=4)
    code = [cell for cell in book.cells if cell.cell_type == "code"]
    assert not any(cell.outputs or cell.execution_count for cell in code), "clear the outputs before committing"
    assert book.metadata.kernelspec.name == "python3"
    assert "papermill" not in book.metadata and "widgets" not in book.metadata
    tagged = sum("parameters" in cell.metadata.get("tags", []) for cell in code)
    assert tagged == 1 if path.name[0].isdigit() else tagged <= 1
    for cell in code:
        assert not BANNED.search(cell.source), cell.source
        assert len(cell.source.splitlines()) <= 25, cell.source
        for node in ast.walk(ast.parse(cell.source)):
            if isinstance(node, ast.FunctionDef):
                assert node.end_lineno - node.lineno < 10, f"{node.name}: over ten lines belong in the library"


def test_scripts_wait_for_the_text_of_a_page_except_where_it_asks_for_them():
    from sphinx.builders.html._assets import _JavaScript

    formulas = SimpleNamespace(data={"has_equations": dict.fromkeys(("search", "book/05_width"))})
    env = SimpleNamespace(get_domain=lambda name: formulas)
    app = SimpleNamespace(env=env, config=SimpleNamespace(mathjax_path="f.js"))
    names = ["_static/documentation_options.js", "_static/doctools.js", "_static/code.js", "_static/copybutton.js"]
    for page, waits in (("book/05_width", [1, 3]), ("search", [])):
        context = {"script_files": [_JavaScript(name) for name in names]}
        sphinx_ext._scripts(app, page, "page.html", context, None)
        assert [script.filename for script in context["script_files"]] == names
        assert [k for k, script in enumerate(context["script_files"]) if "defer" in script.attributes] == waits


def test_vendored_scripts_are_those_of_the_manifest():
    vendor = ROOT / "book" / "_static" / "vendor"
    listed = dict(reversed(row.split()) for row in (vendor / "SHA256SUMS").read_text().splitlines())
    found = {path.name: path for path in vendor.iterdir() if path.name != "SHA256SUMS"}
    assert set(listed) == set(found)
    for name, path in found.items():
        assert hashlib.sha256(path.read_bytes()).hexdigest() == listed[name], name
        assert path.suffix == ".txt" or f"{path.stem}.LICENSE.txt" in found, f"{name} comes without its licence"


@pytest.mark.parametrize(
    "command, records, says",
    [
        ("python -m pruning_lab run 01_frame_potential --profile night", ["0a1b", "ff00"],
         '<a href="evidence.html#figure=01%20rows&amp;records=0a1b.ff00">Records (2)</a>'),
        ("python -m pruning_lab run 12_new -p seeds 3", ["0a1b"], "evidence.html#figure=12%20rows&amp;records=0a1b"),
        ("python -m pruning_lab run 01_frame_potential --profile laptop", [], "Records: of this build's own run"),
        ("papermill book/01_frame_potential.ipynb out.ipynb", [], ""),
        ("python own.py", ["0a1b"], ""),
        (None, None, ""),
    ],
)  # fmt: skip
def test_a_figure_leads_to_the_records_that_it_draws_and_keeps_them_out_of_its_json(command, records, says):
    meta = dict(alt="x", command=command, records=records, file="rows.csv")
    html = plotly_mime.figure_html(dict(data=[], layout={}), meta, "rows.csv")
    assert says in html and ("Records" in html) == bool(says)
    assert '"records"' not in html and "Rows (CSV)" in html and ("Command" in html) == bool(command)
