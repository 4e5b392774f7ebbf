"""Which records a figure draws: exactly those that were read for it, of the published ones."""

import re
from urllib.parse import unquote

import pandas as pd
import pytest

from pruning_lab import Recipe, Train, figures, replace, report
from pruning_lab.records import store
from pruning_lab.report import beneath, evidence, graphs, masks, reads
from pruning_lab.widgets import ForceGraph

NET = Train("digits", "lenet_300_100", Recipe(lr=0.1, iterations=2), width=4)
NETS = [replace(NET, seed=seed) for seed in range(3)]
END = dict(epoch=1, iteration=2, lr=0.1, train_loss=1.0, train_accuracy=0.5, test_loss=1.0, test_accuracy=0.5)


def hashes(*experiments):
    return tuple(sorted(e.key.rpartition("-")[2] for e in experiments))


@pytest.fixture
def shelf(made_up, tmp_path, monkeypatch):
    """Nets 0 and 1 published, net 2 of this machine alone; nothing read yet."""
    monkeypatch.setenv("PRUNING_LAB_RESULTS", str(tmp_path / "results"))
    for e in NETS:
        made_up(e, [END])
    for e in NETS[:2]:
        store.publish(e)
    reads.used()


def test_what_was_read_is_told_once_and_what_is_not_published_is_left_out(shelf):
    reads.run(NETS[1])
    assert reads.find(NETS[2]) is not None and reads.find(replace(NET, seed=9)) is None
    assert reads.used() == hashes(NETS[1]) and reads.used() == ()


def test_what_another_cell_read_is_no_record_of_this_one(shelf, monkeypatch):
    cells = iter([1, 2, 2, 2])
    monkeypatch.setattr(reads, "_running", lambda: next(cells))
    reads.run(NETS[0])
    reads.run(NETS[1])
    assert reads.used() == hashes(NETS[1])


def test_a_page_reads_through_here_and_its_figure_carries_what_was_read(shelf):
    page = report.Page("01_frame_potential", lambda profile: NETS, "night")
    assert len(page.shown.experiments) == 3  # to look what is there is not to draw it
    table = page.shown.table(Train, seed=0)
    about = page.about("rows", title="a title", alt="words")
    assert about["records"] == hashes(NETS[0])
    drawn = figures.panels(table.assign(by="net"), {"train_loss": "loss"}, by="by", **about)
    assert drawn.layout.meta["records"] == list(hashes(NETS[0]))


def test_rows_that_a_table_keeps_are_drawn_and_those_that_it_leaves_are_not(shelf):
    table = pd.DataFrame(dict(experiment=NETS[:2], seed=[0, 1]))
    reads.run(NETS[2])
    reads.rows(table[table.seed == 1])
    reads.rows(table.drop(columns="experiment"))  # a table without them says nothing
    assert reads.used() == hashes(NETS[1])
    reads.run(NETS[0])
    reads.rows(table[table.seed == 1], alone=True)
    assert reads.used() == hashes(NETS[1])


def test_a_difference_of_two_masks_draws_the_nets_that_have_each_other(shelf):
    rows = [("a", 0), ("b", 0), ("a", 1), ("c", 0)]
    table = pd.DataFrame(rows, columns=["mask", "seed"]).assign(width=4, density=0.1, test=1.0, gap=1.0)
    table["experiment"] = [NETS[0], NETS[1], NETS[2], NETS[2]]
    assert len(masks.paired(table, {"a minus b": ("a", "b")})) == 1
    assert reads.used() == hashes(*NETS[:2])


def test_under_a_widget_stand_its_records_and_its_command(shelf, monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda *parts: shown.extend(parts))
    graph = ForceGraph.from_snapshots([[[1.0, 0.0], [1.0, 0.1]]], [0], name="two")
    graph.read = NETS[:1]  # made by an earlier cell
    page = report.Page("02_force_graph", lambda profile: NETS, "night")
    page.show(graph)
    assert (
        shown[1] is graph and f'href="evidence.html#figure=02%20two&amp;records={hashes(NETS[0])[0]}"' in shown[2].data
    )
    assert "python -m pruning_lab run 02_force_graph --profile night" in shown[2].data
    page.show(None)
    assert len(shown) == 3 and graphs.film(evidence.Evidence("night", (), ()), "a", "b", "c") is None


def test_rows_that_no_file_holds_stand_in_their_link():
    link = beneath.saved(pd.DataFrame(dict(name=['a "b"'], value=[0.5])), "rows.csv", "01_name")
    text = unquote(re.search('href="data:text/csv;charset=utf-8,([^"]*)"', link)[1])
    assert text == 'name,value\n"a ""b""",0.5\n'
    assert link.count('"') == 4  # none of the text's own
    assert 'download="01_name-rows.csv"' in link


def test_a_name_of_a_figure_stands_in_the_address_letter_by_letter():
    assert beneath.address("01 a&b", ["0a", "1b"]) == "evidence.html#figure=01%20a%26b&records=0a.1b"
