"""A chapter's page on made-up records: which run it shows, its command, its words."""

import math

import pandas as pd
import pytest

from pruning_lab import Recipe, Train, UnitCurve, replace, report
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


def test_who_sets_a_parameter_is_shown_the_run_that_this_made(made_up):
    """A larger run is another one, also where a part of it has the same parameters."""
    for profile in ("laptop", "night"):
        for e in plan(profile):
            made_up(e, [END])
    asked = page(seeds=5)
    assert asked.shown is asked.own and asked.counted.profile == "laptop"
    none = report.Page("01_frame_potential", lambda p: plan(p) if p == "night" else [], "laptop", seeds=5)
    assert none.shown.profile == "night"  # nothing was made


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
    assert about == dict(title="a title", alt="words", file="rows.csv", command=page().command(night), records=())


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
            found.judge("FP1", {"LeNet fc1": [1.0, 1.1, 1.2, 1.1, 1.0]}),
            found.judge("FP2", {"LeNet fc1": [-1.0, -1.1, -1.2, -1.1, -1.0]}, on="digits"),
        ]
    )
    found.tell(verdicts, answer="so it is")
    assert heard["FP1"] == "reproduced where run: in 1 of 3 layers, not run in 2"
    assert heard["FP2"] == "fails where run: in 1 of 3 layers, not run in 2 (digits)"
    assert heard["answer"] == "so it is"
    assert heard["origin"].startswith("profile night") and heard["own_origin"].startswith("profile laptop")


def test_one_more_seed_costs_what_all_records_took_by_seed(made_up):
    assert page().hours is None
    for e in plan("night"):
        made_up(e, [END])
    found = page()
    seconds = [record.meta["seconds"] for record in found.shown.records()]
    assert len(seconds) == 3
    assert found.hours == pytest.approx(sum(seconds) / 3600 / 3)


def test_at_smoke_a_page_gives_no_verdict(made_up):
    made_up(plan("smoke")[0], [END])
    words = page("smoke").judge("FP1", {"LeNet fc1": [1.0, 1.1, 1.2, 1.1, 1.0]}).verdict
    assert words.tolist() == ["no verdict at this size", "not run", "not run", "not run"]


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


SMALL = replace(NET, recipe=Recipe(lr=0.1, batch=64, iterations=2), width=4, limit=64)


def some(*experiments):
    return lambda profile: list(experiments)


def fail(error):
    def compute(self):
        raise error

    return compute


def test_what_fails_by_a_reader_s_own_code_is_named_and_the_page_goes_on(store_folder, monkeypatch):
    own, heard = UnitCurve(SMALL, "fc1", ("norm",), repeats=1, test_images=20), told(monkeypatch)
    monkeypatch.setattr(UnitCurve, "compute", fail(RuntimeError("no such thing")))
    with pytest.raises(SweepError):
        report.Page("mine", some(SMALL, own), "laptop").sweep()
    monkeypatch.setattr(UnitCurve, "plugin_digests", lambda self: {"mine": "0123456789ab"})
    found = report.Page("mine", some(SMALL, own, replace(own, layer="fc2")), "laptop")
    found.sweep()
    assert found.own.experiments == (SMALL,)
    found.tell()
    assert heard["missing"].endswith(f" Left out: UnitCurve {own.label()} and 1 more (RuntimeError: no such thing).")
    monkeypatch.setattr(Train, "compute", fail(RuntimeError("and this is ours")))
    with pytest.raises(SweepError):
        report.Page("mine", some(replace(SMALL, seed=1), own), "laptop").sweep()


def test_a_net_that_does_not_take_a_reader_s_images_is_named_unless_it_is_all_there_is(store_folder, monkeypatch):
    wrong = replace(SMALL, model="vit")  # of four units: its eight heads cannot share them
    with pytest.raises(SweepError):
        report.Page("mine", some(SMALL, wrong), "laptop").sweep()  # on the chapter's own data it is a fault
    found = report.Page("mine", some(SMALL, wrong), "laptop", dataset="digits")
    found.sweep()
    assert f"Left out: Train {wrong.label()} (ValueError: vit: width 4 must be" in found.left_out
    with pytest.raises(SweepError):
        report.Page("mine", some(wrong), "laptop", dataset="digits").sweep()
    monkeypatch.setattr(Train, "compute", fail(RuntimeError("no memory")))
    with pytest.raises(SweepError):
        report.Page("mine", some(SMALL, replace(SMALL, seed=1)), "laptop", dataset="digits").sweep()


def test_resized_images_are_not_those_of_the_sources(made_up):
    for e in plan("night"):
        made_up(e, [END])
    assert page().is_source and not page(image_size=32).is_source
    assert "-p image_size 32" in page(image_size=32).command()


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
