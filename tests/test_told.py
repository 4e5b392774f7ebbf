"""Verdicts of chapters on their way to the pages that show all claims: written, read, waited for, kept and missed."""

import math

import nbformat
import pandas as pd
import pytest
from test_build import execute, write  # noqa: F401

from pruning_lab.publish import executing
from pruning_lab.report import claims, told, verdicts
from pruning_lab.running import chapters

AT = [0.9, 1.0, 1.1, 0.95, 1.05]


def judged(first=AT, second=(2.0,)):
    return verdicts.judge("FP1", {"LeNet fc1": first, "Conv-2 fc1": second}, on="narrow <nets>")


def leave(folder, chapter, table, profile="smoke"):
    text = told.written(table, profile="night", hours=0.5, origin="one CPU")
    told.file(folder, chapter, profile).write_text(text)


@pytest.fixture
def left(tmp_path, monkeypatch):
    monkeypatch.setenv("PRUNING_LAB_EXECUTED", str(tmp_path))
    return tmp_path


def test_what_is_written_is_read_again():
    table = judged()
    found = told.read(told.written(table, profile="night", hours=None, origin="one CPU"))
    pd.testing.assert_frame_equal(found.judged, table, check_dtype=False)
    assert (found.profile, found.hours, found.origin) == ("night", None, "one CPU")


def test_a_chapter_without_verdicts_writes_nothing():
    assert told.written(None, profile="night") == told.written(pd.DataFrame(), profile="night") == ""


@pytest.mark.parametrize("text", ["{}", "[]", '{"columns": ["a"], "data": [[1]], "about": {}}', "no json", "null"])
def test_what_is_no_verdicts_is_refused(text):
    with pytest.raises(ValueError):
        told.read(text)


def test_all_claims_are_there_and_those_of_chapters_that_did_not_run_are_not_run(left):
    leave(left, "01_frame_potential", judged())
    leave(left, "99_gone", judged())
    leave(left, "02_force_graph", verdicts.judge("FG2", {"VGG19 conv16: modularity": AT}), profile="laptop")
    found = told.all_chapters("smoke")
    assert list(found) == ["01_frame_potential"]
    table = told.every(found)
    assert list(table.claim.unique()) == [claim.id for claim in claims.load().values() if not claim.asks]
    words = table.groupby("claim").verdict.first()
    assert words["FP1"] == "holds"
    assert set(words.drop("FP1")) == {"not run"}
    here = {path.stem[3:]: path.stem for path in chapters.chapters()}
    pages = table.groupby("claim").page.first()
    assert {id: pages[id] for id in pages.index} == {id: here.get(claims.load()[id].chapter, "") for id in pages.index}
    assert not table.isin([None]).drop(columns="needed").any(axis=None)


def test_where_nothing_was_executed_nothing_was_run(left):
    assert told.all_chapters("smoke") == {}
    assert set(told.every({}).verdict) == {"not run"}
    assert all(math.isinf(low) for low in told.every({}).low)


def test_the_page_hands_its_verdicts_to_its_notebook(monkeypatch, store_folder):
    from pruning_lab.report import evidence, page

    handed = {}
    monkeypatch.setattr(evidence, "glue", lambda **said: handed.update(said))
    made = page.Page("no_chapter", lambda profile: [], "smoke")
    made.tell(judged())
    assert told.read(handed[told.NAME]).judged.verdict.tolist() == judged().verdict.tolist()
    handed.clear()
    made.tell()
    assert told.NAME not in handed


# in the build

CHAPTER = """from pruning_lab.report import evidence, told, verdicts
found = verdicts.judge("FP1", {{"LeNet fc1": {values}}})
evidence.glue(judged=told.written(found, profile="night", hours=1, origin=""))
"""
READER = """from pruning_lab.report import told
print(told.every(told.all_chapters(profile)).set_index("claim").verdict["FP1"].tolist())"""


def said(copies, path):
    return nbformat.read(copies[path], as_version=4).cells[-1].outputs[0].text


def test_a_page_of_all_claims_comes_last_and_again_only_when_a_verdict_changes(write, tmp_path, capsys):  # noqa: F811
    paths = [write("00_claims", "1"), write("01_frame_potential", CHAPTER.format(values=AT)), write("claims", READER)]
    assert said(execute(paths, tmp_path), paths[2]) == "['reproduced', 'not run', 'not run', 'not run']\n"
    capsys.readouterr()
    execute(paths, tmp_path)
    assert capsys.readouterr().out.count("as executed before") == 3
    write("01_frame_potential", CHAPTER.format(values=AT) + "# the same, said in other words")
    execute(paths, tmp_path)
    assert "claims: as executed before" in capsys.readouterr().out
    write("01_frame_potential", CHAPTER.format(values=[-1.0, -1.1, -0.9, -1.05, -0.95]))
    assert said(execute(paths, tmp_path), paths[2]) == "['not reproduced', 'not run', 'not run', 'not run']\n"
    write("01_frame_potential", "'no verdict any more'")
    assert said(execute(paths, tmp_path), paths[2]) == "['not run', 'not run', 'not run', 'not run']\n"


def test_a_chapter_executed_alone_leaves_its_verdicts_too(write, tmp_path):  # noqa: F811
    executing.execute(write("01_frame_potential", CHAPTER.format(values=AT)), "smoke", folder=tmp_path)
    folder = tmp_path / "executed"
    assert told.read(told.file(folder, "01_frame_potential", "smoke").read_text()).judged.n.tolist() == [5, 0, 0, 0]
    path = write("claims", READER)
    copy = executing.execute(path, "smoke", folder=tmp_path)
    assert said({path: copy}, path) == "['reproduced', 'not run', 'not run', 'not run']\n"


def test_a_page_that_read_records_is_executed_again_when_a_chapter_stored_some(write, tmp_path):  # noqa: F811
    shelf = tmp_path / "store" / "Train" / "key"
    page = write("intro", f"import os; print(os.path.exists({str(shelf)!r}))")
    assert said(execute([page], tmp_path), page) == "False\n"
    source = f"import os; os.makedirs({str(shelf)!r}); open({str(shelf / 'record.json')!r}, 'w').close()"
    assert said(execute([write("01_a", source), page], tmp_path), page) == "True\n"


@pytest.mark.parametrize("tags, kept", [(["parameters", "remove-cell"], False), (["parameters"], True)])
def test_a_page_that_hides_its_parameters_hides_those_that_the_build_sets(write, tmp_path, tags, kept):  # noqa: F811
    path = write("intro", "1")
    book = nbformat.read(path, as_version=4)
    book.cells[0].metadata["tags"] = tags
    nbformat.write(book, path)
    book = nbformat.read(executing.execute(path, "smoke", folder=tmp_path), as_version=4)
    injected = next(cell for cell in book.cells if "injected-parameters" in cell.metadata.get("tags", []))
    assert ("remove-cell" not in injected.metadata["tags"]) == kept


def test_the_build_and_the_page_mean_the_same_name():
    assert executing.VERDICTS == told.NAME
