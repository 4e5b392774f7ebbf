"""Verdicts by the table of the design, in parts and as claims; how many nets would decide; what is amended; strips."""

import itertools
import math
import xml.etree.ElementTree as ElementTree

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from pruning_lab.report import answers, board, claims, strips, verdicts

YES, NO, OPEN = "reproduced", "not reproduced", "open"
AT = [-0.1, 0.0, 0.1]  # 95 % interval of three nets: +-0.2484; 90 %: +-0.1686


def around(mean, scale=1.0):
    return [mean + scale * x for x in AT]


@pytest.fixture
def claimed(monkeypatch, tmp_path):
    """Puts made-up claims in the place of the book's."""

    def put(text):
        file = tmp_path / "claims.yml"
        file.write_text(text)
        monkeypatch.setattr(claims, "FILE", file)

    return put


HEAD = "- {id: AA1, chapter: c, source: s, where: w, claim: It rises., measure: m, expect: e"


# one part


@pytest.mark.parametrize("confidence", [0.9, 0.95])
@given(
    values=st.lists(st.floats(-1e3, 1e3).map(lambda x: round(x, 3)), min_size=2, max_size=8).filter(
        lambda v: np.std(v) > 1e-3
    )
)
@settings(max_examples=30, deadline=None)
def test_the_interval_is_student_s(confidence, values):
    mean, low, high = verdicts.interval(values, confidence)
    expected = stats.t.interval(confidence, len(values) - 1, loc=np.mean(values), scale=stats.sem(values))
    assert mean == pytest.approx(np.mean(values), abs=1e-9)
    assert (low, high) == pytest.approx(expected, rel=1e-9, abs=1e-6)


def test_the_interval_of_too_few_nets_is_infinite():
    assert verdicts.interval([3.0]) == (3.0, -math.inf, math.inf)
    mean, low, high = verdicts.interval([])
    assert math.isnan(mean)
    assert (low, high) == (-math.inf, math.inf)
    assert verdicts.interval([2.0, 2.0, 2.0]) == (2.0, 2.0, 2.0)


@pytest.mark.parametrize(
    "kind, margin, values, word",
    [
        ("differs", 0, around(0.25), YES),
        ("differs", 0, around(0.24), OPEN),
        ("differs", 0, around(-0.24), OPEN),
        ("differs", 0, around(-0.25), NO),
        ("differs", 5, around(0.25), YES),  # the margin is not read
        ("differs", 0, [0, 0, 0], OPEN),
        ("either", 0, around(0.25), YES),
        ("either", 0, around(-0.25), YES),  # a question of ours, which either sign answers
        ("either", 0, around(0.24), OPEN),
        ("either", 0, around(-0.24), OPEN),
        ("either", 0, [1, 1, 1], OPEN),
        ("at_least", 1, around(-0.75), YES),
        ("at_least", 1, around(-0.76), OPEN),
        ("at_least", 1, around(-1.24), OPEN),
        ("at_least", 1, around(-1.25), NO),
        ("at_least", 1, around(50), YES),
        ("at_least", 0, around(0.25), YES),
        ("same", 1, around(0.83), YES),
        ("same", 1, around(0.84), OPEN),
        ("same", 1, around(-0.83), YES),
        ("same", 1, around(-0.84), OPEN),
        ("same", 1, around(1.16), OPEN),
        ("same", 1, around(1.17), NO),
        ("same", 1, around(-1.17), NO),
        ("same", 0.1, around(0), OPEN),  # wider than the margin on both sides
        ("size", math.e, around(0.75), YES),
        ("size", math.e, around(0.76), OPEN),
        ("size", math.e, around(-0.75), YES),
        ("size", math.e, around(-0.76), OPEN),
        ("size", math.e, around(1.24), OPEN),
        ("size", math.e, around(1.25), NO),
        ("size", math.e, around(-1.25), NO),
        ("differs", 0, [5, 5.1], OPEN),
        ("differs", 0, [-5, -5.1], OPEN),
        ("same", 1, [0, 0.001], OPEN),
        ("differs", 0, [5], OPEN),
        ("differs", 0, [], "not run"),
        ("differs", 0, [5, 5.1, 5.2], YES),
        ("differs", 0, [5, 5, 5], OPEN),
        ("at_least", 1, [0, 0, 0], YES),
    ],
)
def test_verdicts_are_those_of_the_table(kind, margin, values, word):
    found = verdicts.verdict(values, kind, margin)
    assert (found.word, found.n) == (word, len(values))
    assert bool(found.reason) == (word == OPEN)
    if len(values) > 1:
        assert (found.low, found.high) == verdicts.interval(values, 0.9 if kind == "same" else 0.95)[1:]


@pytest.mark.parametrize(
    "values, kind, margin, says",
    [
        (AT, "bigger", 0, "no verdict for claims of kind 'bigger'"),
        (AT, "none", 0, "no verdict"),
        (AT, "same", 0, "needs a positive margin"),
        (AT, "same", -1, "needs a positive margin"),
        (AT, "at_least", -1, "needs a positive margin"),
        (AT, "size", 1, "a factor above 1"),
        ([1, math.nan, 2], "differs", 0, "must be finite"),
        ([1, math.inf, 2], "differs", 0, "must be finite"),
    ],
)
def test_what_allows_no_verdict_is_refused(values, kind, margin, says):
    with pytest.raises(ValueError, match=says):
        verdicts.verdict(values, kind, margin)


@pytest.mark.parametrize(
    "values, kind, reason",
    [
        ([1.0, 2.0], "differs", "2 of 3 nets so far"),
        ([1.0, 1.0, 1.0], "differs", "all nets gave one number"),
        (around(0.1), "differs", "the interval spans zero"),
        (around(-0.1), "either", "the interval spans zero"),
        (around(1.0), "same", "the interval spans the margin"),
    ],
)
def test_what_is_open_says_why(values, kind, reason):
    assert verdicts.verdict(values, kind, 1.0).reason == reason


def test_nets_that_miss_the_regime_leave_a_part_out_of_reach_unless_three_are_left():
    found = verdicts.verdict([1.0], "differs", short=2)
    assert (found.word, found.n, found.reason) == ("not in reach", 1, "2 of 3 nets did not get there")
    assert verdicts.verdict([], "differs", short=3).word == "not in reach"
    assert verdicts.verdict(around(1.0), "differs", short=2).word == YES


def test_with_fewer_nets_than_were_fixed_before_nothing_is_decided_yet(claimed):
    found = verdicts.verdict(around(1.0), "differs", nets=5)
    assert (found.word, found.reason) == (OPEN, "3 of 5 nets so far")
    assert verdicts.verdict([*around(1.0), 1.0, 1.0], "differs", nets=5).word == YES
    assert verdicts.verdict(around(1.0), "differs", short=2, nets=5).word == YES  # all five were trained
    claimed(HEAD + ", nets: 4, parts: [{name: a}]}")
    row = verdicts.judge("AA1", {"a": around(1)}).iloc[0]
    assert board.came_out(row) == "open: 3 of 4 nets so far"


# how many nets would decide


def share_decided(effect, nets, kind, margin, tries=1_000):
    """By drawing: how often so many nets with this mean, in deviations, are decided as their mean says."""
    drawn = np.random.default_rng(0).normal(effect, 1, (tries, nets))
    words = [verdicts.verdict(row, kind, margin).word for row in drawn]
    return words.count(YES) / tries


@pytest.mark.parametrize(
    "effect, kind, margin", [(1.0, "differs", 0), (0.4, "at_least", 0.6), (2.0, "differs", 0), (0.0, "same", 1.2)]
)
def test_so_many_nets_decide_four_times_out_of_five(effect, kind, margin):
    spread = np.array([-1.0, 0.0, 1.0])
    needed = verdicts.needed(effect + spread, kind, margin)
    two_sided = kind == "same" and effect == 0  # both margins can be missed: the nearer one is counted
    assert share_decided(effect, needed, kind, margin) > (0.55 if two_sided else 0.77)
    if needed > 3:
        assert share_decided(effect, needed - 2, kind, margin) < 0.8


def test_the_numbers_of_nets_are_those_of_published_tables():
    at = {0.5: 34, 0.8: 15, 1.0: 10}  # one-sample t, two-sided, 5 %, power 0.8
    for effect, nets in at.items():
        assert verdicts.needed(effect + np.array([-1.0, 0.0, 1.0])) == nets


def test_a_spread_that_is_not_known_or_an_effect_too_small_gives_no_number():
    assert verdicts.needed([1.0]) is None
    assert verdicts.needed([1.0, 1.0, 1.0]) is None
    assert verdicts.needed([-1.0, 0.01, 1.0]) is None


# claims


@pytest.mark.parametrize(
    "words, of, whole",
    [
        ([], "parts", "not run"),
        ([YES, YES], "parts", YES),
        ([OPEN], "parts", OPEN),
        (["holds", "holds", "fails"], "layers", "holds in 2 of 3 layers, fails in 1"),
        (["fails", "holds", OPEN, OPEN], "masks", "holds in 1 of 4 masks, fails in 1, open in 2"),
        ([OPEN, "not run"], "nets", "open in 1 of 2 nets, not run in 1"),
        ([NO, "not in reach"], "nets", "not reproduced where run: in 1 of 2 nets, not in reach in 1"),
        (["holds", "not run", "not run"], "layers", "holds where run: in 1 of 3 layers, not run in 2"),
        (["holds", OPEN, "not run"], "layers", "holds in 1 of 3 layers, open in 1, not run in 1"),
        (["no verdict at this size", "not run"], "nets", "no verdict at this size in 1 of 2 nets, not run in 1"),
    ],
)
def test_a_claim_has_the_word_of_its_parts_or_says_how_many_have_which(words, of, whole):
    assert verdicts.tally(words, of) == whole


def test_only_the_source_s_parts_decide(claimed):
    claimed(HEAD + ", parts: [{name: a}, {name: b, by: ours}]}")
    rows = verdicts.judge("AA1", {"a": around(1), "b": around(-1)})
    assert rows.verdict.tolist() == [YES, NO]
    assert set(rows.overall) == {YES}
    assert rows.by.tolist() == ["source", "ours"]


def test_a_part_has_a_kind_margin_and_unit_of_its_own_or_those_of_its_claim(claimed):
    claimed(HEAD + ", kind: same, margin: 1, unit: ranks, parts: [{name: a}, {name: b, kind: differs, unit: points}]}")
    a, b = claims.load()["AA1"].parts
    assert (a.kind, a.margin, a.unit) == ("same", 1, "ranks")
    assert (b.kind, b.margin, b.unit) == ("differs", 0, "points")


def test_the_margin_of_a_log_ratio_is_written_as_a_factor(claimed):
    claimed(HEAD + ", kind: at_least, margin: 1.05, unit: log ratio, parts: [{name: a}]}")
    assert claims.load()["AA1"].parts[0].margin == pytest.approx(math.log(1.05))


@pytest.mark.parametrize(
    "row, says",
    [
        (", kind: bigger}", "one of"),
        (", colour: red}", "colour"),
        (", parts: [{name: a}, {name: a}]}", "differ"),
        (", parts: [{name: a, by: me}]}", "by of"),
        (", parts: [{name: a, kind: same, margin: small}]}", "margin in numbers"),
        (", parts: [{name: a, hue: 1}]}", "hue"),
    ],
)
def test_a_claim_that_cannot_be_judged_is_refused_when_it_is_read(claimed, row, says):
    claimed(HEAD + row)
    with pytest.raises(ValueError, match=says):
        claims.load()


def test_a_part_that_lacks_was_not_run_and_one_that_no_claim_has_is_refused(claimed):
    claimed(HEAD + ", of: layers, parts: [{name: a}, {name: b}]}")
    rows = verdicts.judge("AA1", {"a": around(1)})
    assert rows.verdict.tolist() == [YES, "not run"]
    assert set(rows.overall) == {"reproduced where run: in 1 of 2 layers, not run in 1"}
    with pytest.raises(ValueError, match=r"no part 'c'; .* \['a', 'b'\]"):
        verdicts.judge("AA1", {"c": around(1)})


def test_only_seeds_trained_after_an_amendment_decide(claimed):
    claimed(HEAD + ", parts: [{name: a, seeds: 10}]}")
    values = pd.Series([-5.0, *around(1)], index=[0, 10, 11, 12])
    row = verdicts.judge("AA1", {"a": values}).iloc[0]
    assert (row.n, row.verdict) == (3, YES)
    assert row.counted == [False, True, True, True]
    assert row["values"] == [-5.0, *around(1)]


def test_a_part_of_which_no_seed_decides_says_from_which_on_they_do(claimed):
    claimed(HEAD + ", parts: [{name: a, seeds: 10}, {name: b}]}")
    rows = verdicts.judge("AA1", {"a": pd.Series(around(1), index=[0, 1, 2]), "b": []})
    assert rows.reason.tolist() == ["since the part was amended only seeds from 10 on decide", ""]
    assert set(rows.verdict) == {"not run"}


def test_a_part_may_have_a_number_of_nets_of_its_own(claimed):
    claimed(HEAD + ", nets: 3, parts: [{name: a, nets: 5}, {name: b}]}")
    rows = verdicts.judge("AA1", {"a": around(1), "b": around(1)})
    assert rows.verdict.tolist() == ["open", YES] and rows.reason.tolist() == ["3 of 5 nets so far", ""]
    assert [part.nets for part in claims.load()["AA1"].parts] == [5, 3]


def test_away_from_the_source_s_size_the_words_are_others_and_smoke_has_none(claimed):
    claimed(HEAD + ", parts: [{name: a}, {name: b}, {name: c}]}")
    rows = verdicts.judge("AA1", {"a": around(1), "b": around(-1)}, on="narrow nets")
    assert rows.verdict.tolist() == ["holds", "fails", "not run"]
    assert set(rows.on) == {"narrow nets"}
    smoke = verdicts.judge("AA1", {"a": around(1)}, on="digits", profile="smoke")
    assert smoke.verdict.tolist() == ["no verdict at this size", "not run", "not run"]


def test_every_claim_of_a_written_chapter_has_parts_and_the_others_have_none_yet():
    from pruning_lab import chapters

    written = {path.stem[3:] for path in chapters.chapters()}
    asked = [claim for claim in claims.load().values() if not claim.claim.startswith("(question)")]
    assert {claim.id for claim in asked if claim.parts} == {claim.id for claim in asked if claim.chapter in written}
    assert all(any(part.by == "source" for part in claim.parts) for claim in asked if claim.parts)


# on the page


def svg(text):
    return ElementTree.fromstring(text)


def test_a_strip_has_a_dot_a_net_hollow_where_it_does_not_count(claimed):
    claimed(HEAD + ", kind: same, margin: 1, parts: [{name: 'a & b', seeds: 1}]}")
    row = verdicts.judge("AA1", {"a & b": pd.Series(around(0.5), index=[0, 1, 2])}).iloc[0]
    drawn = svg(strips.of_nets(row))
    dots = drawn.findall("circle")
    assert [dot.get("class") for dot in dots] == ["lab-net lab-hollow", "lab-net", "lab-net"]
    places = [float(dot.get("cx")) for dot in dots]
    assert places == sorted(places)
    assert places[0] > strips.WIDTH / 2
    assert len([mark for mark in drawn.findall("path") if mark.get("class") == "lab-margin"]) == 2
    assert drawn.get("aria-label").startswith("a & b: mean")
    assert strips.of_nets({**row, "values": []}) == ""


@pytest.mark.parametrize("kind, margin", [("differs", 0.0), ("at_least", 1.0), ("same", 1.0), ("size", math.e)])
@given(mean=st.floats(-3, 3), scale=st.floats(0.01, 3))
@settings(max_examples=40, deadline=None)
def test_beyond_one_half_interval_a_claim_is_decided(kind, margin, mean, scale):
    found = verdicts.verdict(around(mean, scale), kind, margin)
    place = strips.distance(vars(found) | dict(kind=kind, margin=margin))
    if found.word == YES:
        assert place > 1 - 1e-9
    elif found.word == NO:
        assert place < -1 + 1e-9
    else:
        assert abs(place) < 1 + 1e-9 or kind in ("same", "size")  # an interval wider than both margins


def test_a_claim_s_strip_has_a_dot_for_every_part_that_has_an_interval():
    rows = verdicts.judge("FP1", {"LeNet fc1": around(1), "Conv-2 fc1": [1.0]})
    assert len(svg(strips.of_claim(rows, "Short first")).findall("circle")) == 1
    assert strips.of_claim(verdicts.judge("FP1", {}), "Short first") == ""


def places(judged):
    drawn = svg(strips.of_claim(judged, "Short first")).findall("circle")
    zero = strips.WIDTH / 2
    return [(float(dot.get("cx")) - zero) / ((zero - strips.EDGE) / strips.MOST) for dot in drawn]


def test_a_dot_keeps_off_the_bar_s_ends_on_the_side_that_its_word_says():
    half = 4.303 * 0.1 / 3**0.5  # of the interval of three such nets
    for mean, word, expected in ((1.02, YES, 1.25), (-1.02, NO, -1.25), (0.98, "open", 0.75), (-0.98, "open", -0.75)):
        rows = verdicts.judge("FP1", {"LeNet fc1": [mean * half + d for d in (-0.1, 0, 0.1)]})
        rows = rows.assign(n=9, reason="")  # as many as were planned
        assert verdicts.verdict([mean * half + d for d in (-0.1, 0, 0.1)], "differs", nets=3).word == word
        rows["verdict"] = [word, *rows.verdict[1:]]
        assert places(rows) == pytest.approx([expected], abs=0.01)
        assert f"LeNet fc1 {mean:+.1f}" in strips.of_claim(rows, "Short first")  # in words what was measured


def test_a_part_that_got_nowhere_has_no_dot():
    rows = verdicts.judge("FP1", {"LeNet fc1": [1.0]}, short={"LeNet fc1": 4, "Conv-2 fc1": 5})
    assert set(rows.verdict[:2]) == {"not in reach"} and strips.of_claim(rows, "Short first") == ""


def test_a_part_s_dot_is_hollow_where_it_has_fewer_nets_than_were_fixed_and_only_there():
    sure = [1.0, 1.1, 0.9, 1.05, 0.95]
    wide = [-9.0, 9.0, 1.0, 0.0, -2.0]
    rows = verdicts.judge("FP1", {"LeNet fc1": sure, "Conv-2 fc1": sure[:3], "Conv-2 conv2": wide})
    dots = [dot.get("class") for dot in svg(strips.of_claim(rows, "Short first")).findall("circle")]
    assert dots == ["lab-net", "lab-net lab-hollow", "lab-net"]
    few = verdicts.judge("FP1", {"LeNet fc1": wide[:3]})  # open by its interval, too
    assert strips.of_claim(few, "Short first").count("lab-hollow") == 1


def test_a_line_of_claims_says_from_how_many_to_how_many_nets_its_parts_have():
    rows = verdicts.judge("FP1", {"LeNet fc1": [1.0, 1.1, 0.9, 1.05, 0.95], "Conv-2 fc1": [1.0, 1.1, 0.9]})
    assert "holds in 1" not in answers.strip(rows).data
    assert "(3 to 5 nets)" in answers.strip(rows).data and strips.HOLLOW in answers.strip(rows).data
    assert "(5 nets)" in answers.strip(rows.iloc[:1]).data


def test_the_table_says_what_was_claimed_what_came_out_and_what_would_decide(claimed):
    claimed(
        HEAD + ", needs: nets that fit, parts: [{name: <a>}, {name: b, by: ours}], amended: [{date: 2026-01-02, "
        "what: No x., why: It was wrong., before: open}]}"
    )
    rows = verdicts.judge("AA1", {"<a>": around(0.1), "b": around(1)}, on="digits")
    page = board.table(rows, hours=0.5).data
    told = ["AA1: It rises. Needs: nets that fit.", "&lt;a&gt;", "<th>open</th>", "b (our question)", "holds"]
    told += ["open: the interval spans zero; about 10 nets in all would decide it, for 3.5 core-hours more"]
    told += ["Amended", "2026-01-02: No x. Why: It was wrong. Under the rule before: open."]
    for words in told:
        assert words in page
    assert "<a>" not in page
    assert "Of the sources' parts, 1 claim a difference" in page
    assert "by chance alone about 0.1 of them" in page


def test_a_page_without_any_claim_says_so():
    assert "No part of these claims" in board.table(pd.DataFrame()).data


def test_dots_that_would_cover_each_other_stand_above_each_other():
    row = verdicts.judge("FP1", {"LeNet fc1": [1.0, 1.0, 1.0, 2.0, 3.0]}).iloc[0]
    dots = svg(strips.of_nets(row)).findall("circle")
    places = [(float(dot.get("cx")), float(dot.get("cy"))) for dot in dots]
    assert len(set(places)) == 5 and len({x for x, _ in places}) == 3
    assert {y for _, y in places[:3]} == set(strips.ROWS)
    assert [y for _, y in places[3:]] == [strips.MIDDLE] * 2
    for (x, y), (u, v) in itertools.combinations(places, 2):
        assert abs(x - u) >= 2 * strips.RADIUS or y != v
