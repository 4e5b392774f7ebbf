"""Published numbers beside ours: what agrees, what differs, what cannot be compared; none is left out."""

import pandas as pd
import pytest
import yaml
from test_scoreboard import AT, heard

from pruning_lab import Recipe, Train
from pruning_lab.experiments import MaskedTraining, UnitCurve
from pruning_lab.report import evidence, published, verdicts
from pruning_lab.report.evidence import Evidence
from pruning_lab.report.published import Row

NOTHING = Evidence("night", (), ())


@pytest.mark.parametrize(
    "theirs, ours, unit, tolerance, apart, so",
    [
        (90, [89.0, 90.0, 91.5], "%", 0, "", "agrees"),
        (90, [94.0, 95.0, 96.0], "%", 0, "", "differs by +5.0 points"),
        (90, [91.9], "%", 2, "", "agrees"),
        (62.1, [50.0, 62.0, 74.0], "%", 2, "", "too wide to tell: an interval of 59.6 points"),
        (62.1, [50.0, 62.0, 74.0], "%", 0, "", "too wide to tell: an interval of 59.6 points"),
        (98, [94.0, 98.0, 99.0], "%", 2, "", "too wide to tell: an interval of 13.1 points"),  # a fifth, but above ten
        (31, [29.0, 31.0, 33.0], "%", 2, "", "too wide to tell: an interval of 9.9 points"),  # below ten, but a third
        (50, [29.0, 31.0, 33.0], "%", 2, "", "differs by -19.0 points"),
        (90, [90.0, 94.0], "%", 0, "", "differs by +2.0 points"),  # of two nets the interval holds nearly anything
        (1.7, [2.26], "million weights", 0.1, "", "differs by +0.6 million weights"),
        (90, [90.0], "%", 2, "narrow nets", "not comparable: narrow nets"),
        (90, [], "%", 2, "", "not run"),
        (90, [], "%", 2, "narrow nets", "not comparable: narrow nets"),
    ],
)
def test_a_number_agrees_differs_or_cannot_be_compared(theirs, ours, unit, tolerance, apart, so):
    assert Row("table 1", "a net", theirs, ours, unit, tolerance, apart).outcome() == so


def test_every_published_entry_has_rows_or_a_reason():
    entries = set(yaml.safe_load(evidence.REFERENCES.read_text(encoding="utf-8")))
    with_rows = {"heitmann_lenet_fc1", "heitmann_sizes", "lenet_dense", "yauney_facts", *published.TABLES}
    reasons = {*published.LATER, *published.OTHERS, *published.SAID}
    assert with_rows | reasons == entries
    assert not with_rows & reasons
    assert len(published.later()) == len(published.LATER) + len(published.OTHERS)


def test_without_any_net_of_ours_only_sizes_are_compared():
    rows = published.rows({}, NOTHING, NOTHING)
    compared = {row.where for row in rows if row.outcome().startswith(("agrees", "differs"))}
    assert compared == {"Heitmann, table in figure 1", "Yauney, 5.4"}
    said = published.tally(rows)
    counts = [row for row in rows if row.count]
    assert len(counts) == 5 and {row.where for row in counts} == compared
    assert said.startswith(f"Of {len(rows) - 5} printed measurements ")
    assert said.endswith(" Of 5 printed counts of weights 3 agree, 2 differ.")


def test_an_interval_of_shares_ends_at_nothing_and_all():
    near = [Row("a", "x", 98, [97.0, 98.0, 99.9]), Row("a", "y", 2, [0.1, 2.0, 5.0])]
    html = published.table(near).data
    assert "(94.6 to 100.0)" in html and "(0.0 to 8.5)" in html


def test_the_page_says_by_which_rule_a_number_agrees():
    said = published.rules([Row("fig", "x", 98, [], "%", 2.0), Row("fig", "y", 9, [], "%", 2.0),
                            Row("table", "z", 9, [], "%", 0.0), Row("c", "z", 9, [], "units", 0.1)])  # fmt: skip
    assert said == dict(within="2 points (fig)", widest="10 points", share="20 %")


def test_what_another_chapter_measures_nearly_is_said_with_what_differs():
    told = published.later().set_index("published")["not comparable because"]
    why = told["Heitmann, table of the projected update"]
    assert "MNIST" in why and "Conv-2" in why and "not at it" not in " ".join(told)


def curve(made_up, dataset):
    net = Train(dataset, "lenet_300_100", Recipe(iterations=6), 0)
    rows = [dict(criterion=c, remove=r, repeat=k, removed=n, accuracy=0.98 if n < 80 else 0.5, loss=1.0)
            for c in ("norm", "frame_potential", "random") for r in ("lowest", "highest")[: 1 if c == "random" else 2]
            for k in range(2) for n in range(301)]  # fmt: skip
    return Evidence("night", (made_up(UnitCurve(net, "fc1"), rows),), ())


@pytest.mark.parametrize("dataset, apart", [("mnist", ""), ("digits", "ours see digits")])
def test_heights_of_the_figure_are_read_off_our_curve(made_up, monkeypatch, dataset, apart):
    monkeypatch.setattr(Train, "data_read", lambda self: {})
    rows = {row.what: row for row in published.heights(curve(made_up, dataset))}
    sixty = rows["LeNet fc1, norm, lowest first, 60 removed"]
    assert (sixty.theirs, sixty.ours, sixty.apart) == (98, [pytest.approx(98)], apart)
    assert rows["LeNet fc1, random, 200 removed"].ours == [50.0]
    assert sixty.outcome() == ("agrees" if not apart else f"not comparable: {apart}")
    whole = next(row for row in published.dense(curve(made_up, dataset)) if row.where == "Heitmann, figure 2a")
    assert whole.ours == [pytest.approx(98)]


def test_tables_have_our_nets_under_the_same_mask_and_say_what_they_are(made_up):
    parent = Train("digits", "vit", Recipe("adam", lr=1e-3, batch=8, epochs=1), 0, width=8, limit=16)
    made = [MaskedTraining(parent, recipe=parent.recipe, seed=0, criterion="magnitude", invert=worst, **how)
            for worst in (False, True) for how in (dict(floor=0.02), dict(scope="local"))]  # fmt: skip
    arrays = dict(covered=[True], kept=[2], weights=[9], layers=["x"])
    import numpy as np

    for number, e in enumerate(made):
        made_up(e, [dict(epoch=1, test_accuracy=0.1 * (number + 1), train_accuracy=0.5)],
                **{name: np.array(value) for name, value in arrays.items()})  # fmt: skip
    known = heard(
        **{"08_large_networks": verdicts.judge("LN3", {"ViT, global: diff, best minus random": AT}, on="narrow")}
    )
    rows = {(row.where, row.what): row for row in published.tables(known, Evidence("night", tuple(made), ()))}
    best = rows["Yauney, table 6.2", "ViT, global: magnitude_best"]
    assert (best.theirs, best.ours, best.apart) == (77.52, [10.0], "narrow")
    assert rows["Yauney, table 6.6", "ViT, local: magnitude_worst"].ours == [40.0]
    assert rows["Yauney, table 6.1", "ResNet50, global: magnitude_best"].ours == []
    assert len(rows) == 24


def test_the_table_names_each_place_once_and_escapes_what_it_says():
    html = published.table([Row("<a>", "x", 1, [1.0]), Row("<a>", "y", 1, [3.0]), Row("b", "z", 1, [])]).data
    assert html.count("&lt;a&gt;") == 1
    assert html.count("<tr>") == 4
    for said in ("agrees", "differs by +2.0 points", "not run", "1 %", "3.0 %, 1 net"):
        assert said in html


def test_an_empty_list_says_nothing():
    assert published.tally([]) == ""
    assert isinstance(published.later(), pd.DataFrame)
