"""A chapter's page on made-up records: which run it shows, its command, its words."""

import math

import pandas as pd
import pytest

from pruning_lab import Recipe, Train, replace, report
from pruning_lab.report import evidence, numbers
from pruning_lab.running.sweeps import SweepError

NET = Train("digits", "lenet_300_100", Recipe(lr=0.1, iterations=2), width=4)
END = dict(epoch=1, iteration=2, lr=0.1, train_loss=1.0, train_accuracy=0.5, test_loss=1.0, test_accuracy=0.5)
COUNTS = {"smoke": 1, "laptop": 2, "night": 3, "gpu": 4, "paper": 5}


def plan(profile):
    return [
        replace(NET, seed=seed, recipe=replace(NET.recipe, batch=1 + COUNTS[profile]))
        for seed in range(COUNTS[profile])
    ]


def page(profile="laptop", **given):
    return report.Page("01_frame_potential", plan, profile, **given)


def told(monkeypatch):
    heard = {}
    monkeypatch.setattr(evidence, "glue", lambda **words: heard.update(words))
    return heard


def test_a_page_shows_the_largest_run_that_is_whole_and_its_own_beside(made_up):
    for profile in ("laptop", "night"):
        for e in plan(profile):
            made_up(e, [END])
    made_up(plan("gpu")[0], [END])
    found = page()
    assert (found.shown.profile, len(found.shown.experiments)) == ("night", 3)
    assert (found.own.profile, len(found.own.experiments)) == ("laptop", 2)
    assert found.is_source and found.counted.few() == "Every line has at least three nets."


def test_without_a_larger_run_a_page_shows_its_own(made_up):
    made_up(plan("laptop")[1], [END])
    found = page()
    assert found.shown is found.own and not found.is_source
    assert found.counted.few() == "Fewer than three nets: lenet_300_100-digits (4 wide): 1 of 3."


def test_what_counts_chooses_the_run_and_all_of_it_is_shown(made_up):
    for e in [*plan("night"), *plan("gpu")]:
        made_up(e, [END])
    chosen = report.Page("01", plan, "laptop", counts=lambda e: e.recipe.batch != 5)  # none of the four nets of gpu
    assert chosen.counted.profile == chosen.shown.profile == "night"
    few = report.Page("01", plan, "laptop", counts=lambda e: e.seed < 2)
    assert {e.seed for e in few.counted.experiments} == {0, 1} and len(few.shown.experiments) > 2


def test_the_command_has_what_was_given_and_the_profile_of_what_it_is_about(made_up):
    made_up(plan("laptop")[0], [END])
    given = page(dataset="mnist", seeds=None, ours=True, other=False)
    assert (
        given.command() == "python -m pruning_lab run 01_frame_potential -p dataset mnist -p ours True --profile laptop"
    )
    assert not given.is_source
    night = evidence.Evidence("night", (), ())
    assert page().command(night).endswith("01_frame_potential --profile night")
    about = page().about("rows", title="a title", alt="words", found=night)
    assert about == dict(title="a title", alt="words", file="rows.csv", command=page().command(night))


def test_home_is_the_larger_run_that_has_something_else_its_own(made_up):
    for e in [*plan("laptop"), *plan("night")]:
        made_up(e, [END])
    found = page()
    assert found.home(lambda run: len(run.experiments) == 3) is found.shown
    assert found.home(lambda run: len(run.experiments) == 2) is found.own
    assert found.home(lambda run: False) is found.own


def test_a_page_tells_its_verdicts_its_origin_and_its_sentences(made_up, monkeypatch):
    for e in plan("night"):
        made_up(e, [END])
    heard, found = told(monkeypatch), page()
    verdicts = pd.concat(
        [
            found.judge("FP1", {"LeNet fc1": [1.0, 1.1, 1.2]}),
            found.judge("FP2", {"LeNet fc1": [-1.0, -1.1, -1.2]}, on="digits"),
        ]
    )
    found.tell(verdicts, answer="so it is")
    assert heard["FP1"] == "reproduced in 1 of 3 layers, not run in 2"
    assert heard["FP2"] == "fails in 1 of 3 layers, not run in 2 (digits)"
    assert heard["answer"] == "so it is"
    assert heard["origin"].startswith("profile night") and heard["own_origin"].startswith("profile laptop")


def test_at_smoke_a_page_gives_no_verdict(made_up):
    made_up(plan("smoke")[0], [END])
    words = page("smoke").judge("FP1", {"LeNet fc1": [1.0, 1.1, 1.2]}).verdict
    assert words.tolist() == ["no verdict at this size", "not run", "not run"]


def test_a_sweep_leaves_out_what_may_be_lost_and_raises_anything_else(store_folder):
    def diverging(profile):
        return [replace(NET, recipe=Recipe(lr=1e20, batch=64, epochs=3), width=None, seed=k) for k in range(2)]

    lost = report.Page("01", diverging, "laptop")
    lost.sweep(lost=FloatingPointError)
    assert not lost.own
    with pytest.raises(SweepError):
        lost.sweep()
    with pytest.raises(SweepError):
        lost.sweep(lost=ValueError)


@pytest.mark.parametrize(
    "values, digits, unit, words",
    [
        ([], 1, "points", "not run"),
        ([2.0], 1, "", "+2.0"),
        ([2.0], 2, "points", "+2.00 points"),
        ([-0.1, 0.0, 0.1], 1, "points", "+0.0 points (-0.2 to +0.2)"),
        ([1.0, 1.0], 0, "", "+1 (+1 to +1)"),
    ],
)
def test_numbers_are_written_in_one_way(values, digits, unit, words):
    assert numbers.spoken(values, digits, unit) == words


def test_an_interval_without_ends_is_its_mean():
    assert numbers.spelled(1.25, -math.inf, math.inf, 1) == "+1.2"


@pytest.mark.parametrize(
    "values, word",
    [
        ([], "none"), ([1.0], "few"), ([5.0, 5.1], "few"), ([1.0, 1.1, 1.2], "above"),
        ([-1.0, -1.1, -1.2], "below"), ([-1.0, 0.0, 1.0], "open"),
    ],
)  # fmt: skip
def test_the_side_of_zero_on_which_an_interval_lies(values, word):
    assert numbers.side(values) == word


def test_a_count_agrees_with_its_noun():
    assert [numbers.counted(n, "net") for n in (0, 1, 2)] == ["0 nets", "1 net", "2 nets"]
    assert numbers.counted(2, "mask", "masks in all") == "2 masks in all"
