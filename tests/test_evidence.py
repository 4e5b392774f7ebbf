"""Verdicts by the table of the design, which profile a page shows, and the measures, each beside a naive loop."""

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from pruning_lab import metrics, store
from pruning_lab.publish import claims, evidence
from pruning_lab.store import Experiment, Result

YES, NO, OPEN = "reproduced", "not reproduced", "undecided"


# verdicts


@pytest.mark.parametrize("confidence", [0.9, 0.95])
@given(values=st.lists(st.floats(-1e3, 1e3).map(lambda x: round(x, 3)), min_size=2, max_size=8).filter(lambda v: np.std(v) > 1e-3))
@settings(max_examples=30, deadline=None)
def test_the_interval_is_student_s(confidence, values):
    mean, low, high = claims.interval(values, confidence)
    expected = stats.t.interval(confidence, len(values) - 1, loc=np.mean(values), scale=stats.sem(values))
    assert mean == pytest.approx(np.mean(values), abs=1e-9) and (low, high) == pytest.approx(expected, rel=1e-9, abs=1e-6)


def test_the_interval_of_too_few_nets_is_infinite():
    assert claims.interval([3.0]) == (3.0, -math.inf, math.inf)
    mean, low, high = claims.interval([])
    assert math.isnan(mean) and (low, high) == (-math.inf, math.inf)
    assert claims.interval([2.0, 2.0, 2.0]) == (2.0, 2.0, 2.0)


AT = [-0.1, 0.0, 0.1]  # 95 % interval of three nets: +-0.2484; 90 %: +-0.1686


def around(mean, scale=1.0):
    return [mean + scale * x for x in AT]


@pytest.mark.parametrize(
    "kind, margin, values, word",
    [
        ("differs", 0, around(0.25), YES),
        ("differs", 0, around(0.24), OPEN),
        ("differs", 0, around(-0.24), OPEN),
        ("differs", 0, around(-0.25), NO),
        ("differs", 5, around(0.25), YES),  # the margin is not read
        ("differs", 0, [0, 0, 0], OPEN),
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
    ],
)
def test_verdicts_are_those_of_the_table(kind, margin, values, word):
    found = claims.verdict(values, kind, margin)
    assert (found.word, found.n) == (word, len(values))
    if len(values) > 1:
        assert (found.low, found.high) == claims.interval(values, 0.9 if kind == "same" else 0.95)[1:]


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
        claims.verdict(values, kind, margin)


@pytest.mark.parametrize(
    "words, whole",
    [
        ([YES], YES),
        ([YES, YES], YES),
        ([NO, NO], NO),
        ([YES, NO], "mixed"),
        ([YES, NO, OPEN], "mixed"),
        ([YES, OPEN], OPEN),
        ([NO, OPEN], OPEN),
        ([OPEN], OPEN),
        ([YES, "not run"], OPEN),
        (["not run", "not run"], "not run"),
        ([], "not run"),
    ],
)
def test_a_claim_in_parts(words, whole):
    assert claims.combine({str(k): claims.Verdict(w, 3, 0, 0, 0) for k, w in enumerate(words)}) == whole


def test_digits_have_words_of_their_own_and_smoke_has_none():
    assert claims.worded(YES, "mnist", "night") == YES
    assert claims.worded(YES, "digits", "laptop") == "holds on digits"
    assert claims.worded(NO, "gaussian:digits", "laptop") == "does not hold on digits"
    assert [claims.worded(w, "digits", "laptop") for w in (OPEN, "mixed")] == ["undecided on digits", "mixed on digits"]
    assert {claims.worded(w, d, "smoke") for w in claims.ON_DIGITS for d in ("digits", "mnist")} == {"no verdict at this size"}
    assert not {YES, NO} & {claims.worded(w, "digits", "laptop") for w in claims.ON_DIGITS}


def test_a_claim_is_judged_part_by_part():
    rows = claims.judge("FP1", {"fc1": around(1), "conv2": around(-1)}, "paper", "mnist")
    assert rows.verdict.tolist() == [YES, NO] and set(rows.overall) == {"mixed"} and rows.n.tolist() == [3, 3]
    assert rows.label.tolist() == ["FP1  fc1", "FP1  conv2"] and rows["values"][0] == around(1) and rows["mean"][0] == pytest.approx(1)
    page = claims.scoreboard(rows).data
    assert "FP1: Removing the units" in page and "mixed" in page and "+0.75 to +1.25" in page
    with pytest.raises(KeyError):
        claims.judge("XX9", {}, "paper", "mnist")


def test_all_claims_are_there_once():
    found = claims.load()
    assert len(found) == 87 and all(key == row.id for key, row in found.items())
    assert all(row.kind in claims.KINDS for row in found.values())
    assert all(row.margin for row in found.values() if row.kind in ("same", "size", "at_least"))


@pytest.mark.parametrize("change", ["kind: bigger", "id: B"], ids=str)
def test_claims_that_clash_are_refused(tmp_path, monkeypatch, change):
    row = "{id: %s, chapter: c, source: s, where: w, claim: x, measure: m, expect: e, kind: %s}"
    kind, second = ("bigger", "A") if "kind" in change else ("same", "B")
    (tmp_path / "claims.yml").write_text("- " + row % ("B", "same") + "\n- " + row % (second, kind) + "\n")
    monkeypatch.setattr(claims, "FILE", tmp_path / "claims.yml")
    with pytest.raises(ValueError, match="ids must differ and kinds be among"):
        claims.load()


# which profile a page shows


@dataclass(frozen=True)
class Net(Experiment):
    model: str
    dataset: str = "mnist"
    seed: int = 0

    def compute(self):
        return Result(pd.DataFrame(dict(accuracy=[0.5])))

    def label(self):
        return f"{self.model}-{self.dataset}-s{self.seed}"

    def data_read(self):
        return {self.dataset + "/test": dict(digest="0", lossy=23 if self.dataset == "cifar10" else 0)}


@dataclass(frozen=True)
class Curve(Experiment):
    parent: Net
    layer: str = "fc1"

    def compute(self):
        return Result(pd.DataFrame(dict(removed=[0, 1])))


@pytest.fixture
def shelves(store_folder, tmp_path, monkeypatch):
    """Two empty shelves."""
    monkeypatch.setenv("PRUNING_LAB_RESULTS", str(tmp_path / "results"))


def nets(model, n, have=0):
    found = [Net(model, seed=s) for s in range(n)]
    for e in found[:have]:
        store.run(e)
    return found


def test_the_largest_whole_profile_is_shown(shelves):
    plans = dict(night=nets("a", 3, 3), gpu=nets("b", 3, 3), paper=nets("c", 10, 2), laptop=nets("d", 3, 3))
    found = evidence.largest(plans)
    assert found.profile == "gpu" and found.experiments == tuple(plans["gpu"]) and not found.missing


def test_three_seeds_on_every_line_are_enough(shelves):
    found = evidence.largest(dict(night=nets("a", 3, 3), paper=nets("c", 10, 3)))
    assert found.profile == "paper" and len(found.experiments) == 3 and not found.missing


def test_small_profiles_are_never_shown_as_the_largest(shelves):
    found = evidence.largest(dict(laptop=nets("d", 3, 3), smoke=nets("e", 3, 3)))
    assert not found and found.profile == "none" and found.table(Net).empty and found.origin() == "profile none"


def test_where_none_is_whole_the_most_whole_lines_win_and_the_missing_are_named(shelves):
    paper = nets("a", 5, 5) + nets("b", 5, 2) + [e for k in range(6) for e in nets(f"x{k}", 3)]
    night = nets("c", 3, 3) + nets("d", 3, 3) + nets("e", 3, 1)
    found = evidence.largest(dict(paper=paper, night=night))
    assert found.profile == "night" and found.missing == ("e-mnist, 1 of 3",) and len(found.experiments) == 7
    found = evidence.largest(dict(paper=paper, night=night[:3] + night[6:]))
    assert found.profile == "paper"  # the larger of two equal ones, however many lines have nothing
    assert found.missing == ("b-mnist, 2 of 3", *(f"x{k}-mnist, 0 of 3" for k in range(6)))


def test_single_runs_are_better_than_nothing(shelves):
    found = evidence.largest(dict(paper=nets("a", 5, 1)))
    assert found.profile == "paper" and len(found.experiments) == 1 and found.missing


def test_a_line_is_everything_but_the_seed(shelves):
    assert evidence.line(Net("a", seed=1)) == evidence.line(Net("a", seed=2)) != evidence.line(Net("a", "digits"))
    assert evidence.line(Curve(Net("a", seed=1))) == evidence.line(Curve(Net("a"))) != evidence.line(Net("a"))


def test_experiments_are_picked_by_class_and_settings(shelves):
    plan = [e for seed in range(3) for e in (Net("a", seed=seed), Curve(Net("a", seed=seed)), Curve(Net("b", "digits", seed), "fc2"))]
    for e in plan:
        store.run(e)
    found = evidence.stored("night", plan)
    assert found.of(Curve, layer="fc1", seed=1) == [Curve(Net("a", seed=1))] and len(found.of(Curve)) == 6
    assert found.table(Curve, model="b").seed.tolist() == [0, 0, 1, 1, 2, 2]
    assert found.data("a") == "mnist" and found.data("b") == "digits" and found.data("z") == ""


def test_the_origin_says_profile_device_dates_and_lossy_images(shelves, monkeypatch):
    plan = [Net("a"), Net("b", "cifar10")]
    for e, day in zip(plan, ("2026-01-02", "2026-01-04"), strict=True):
        monkeypatch.setattr(store.provenance, "now", lambda day=day: f"{day}T03:04:05Z")
        store.run(e)
    device = store.find(plan[0]).meta["device"]
    found = evidence.stored("night", plan).origin()
    where = f"{device['name']} ({device['type'].upper()})"
    assert found == f"profile night; {where}; 2026-01-02 to 2026-01-04; cifar10/test: 23 images are JPEG copies"
    assert evidence.stored("night", plan[:1]).origin() == f"profile night; {where}; 2026-01-02"
    monkeypatch.setattr(Net, "data_read", lambda self: {self.dataset + "/test": dict(digest="1", lossy=0)})
    assert "made on other data bytes (mnist/test)" in evidence.stored("night", plan[:1]).origin()


def test_costs_count_nets_and_what_is_stored(shelves):
    store.run(Net("a"))
    table = evidence.costs(dict(night=[Curve(Net("a")), Curve(Net("b"))], paper=[]))
    assert table[["profile", "records", "stored"]].values.tolist() == [["night", 4, 1], ["paper", 0, 0]]


def test_reference_numbers_are_read():
    assert evidence.reference("heitmann_lenet_fc1")["accuracy_after_removing"]["random"][100] == 93


# measures


@given(st.integers(1, 6), st.integers(1, 5), st.integers(0, 10**6))
@settings(max_examples=30, deadline=None)
def test_the_frame_potential_is_the_sum_over_ordered_pairs(n, d, seed):
    w = np.random.default_rng(seed).standard_normal((n, d)) * 3
    w[seed % n] *= seed % 2  # now and then a zero row
    total = 0.0
    for a in w:
        for b in w:
            if a.any() and b.any():
                total += float(a @ b) ** 2 / float(a @ a) / float(b @ b)
    assert metrics.frame_potential(torch.tensor(w)) == pytest.approx(total)
    assert metrics.frame_potential(torch.tensor(w)[:, :, None, None]) == pytest.approx(total)


def test_the_frame_potential_has_its_bounds():
    assert metrics.frame_potential(torch.eye(5)) == pytest.approx(5)
    assert metrics.frame_potential(torch.ones(4, 7)) == pytest.approx(16)
    angles = torch.arange(3) * 2 * math.pi / 3
    assert metrics.frame_potential(torch.stack([angles.cos(), angles.sin()], 1)) == pytest.approx(9 / 2)  # a tight frame: n^2 / d


numbers = st.lists(st.integers(-4, 4), min_size=3, max_size=12)  # with many ties


@given(numbers, st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_rank_correlation_is_spearman_s(x, random):
    y = random.sample(x, len(x))
    found = metrics.rank_correlation(np.array(x), np.array(y))
    if len(set(x)) == 1:
        assert math.isnan(found)
    else:
        assert found == pytest.approx(stats.spearmanr(x, y).statistic, abs=1e-12)


@given(st.integers(0, 10**6), st.integers(5, 40))
@settings(max_examples=40, deadline=None)
def test_partial_rank_correlation_is_that_of_the_residuals_of_ranks(seed, n):
    r = np.random.default_rng(seed)
    z = r.standard_normal(n).round(1)
    x, y = z + r.standard_normal(n), z - r.standard_normal(n)
    ranks = [stats.rankdata(v) for v in (x, y, z)]
    design = np.stack([np.ones(n), ranks[2]], 1)
    rest = [v - design @ np.linalg.lstsq(design, v, rcond=None)[0] for v in ranks[:2]]
    found = metrics.partial_rank_correlation(x, y, z)
    if min(np.linalg.norm(v) for v in rest) < 1e-9:
        assert math.isnan(found)
    else:
        assert found == pytest.approx(np.corrcoef(*rest)[0, 1], abs=1e-9)


@pytest.mark.parametrize("n", [3, 6, 7, 11, 49, 300, 1000])
def test_partial_rank_correlation_tells_rounding_from_a_remainder(n):
    r = np.random.default_rng(n)
    z, y = np.arange(n) / 3, r.standard_normal(n)
    assert math.isnan(metrics.partial_rank_correlation(np.exp(z / n), y, z)) and math.isnan(metrics.partial_rank_correlation(y, -z, z))
    swapped = z.copy()
    swapped[:2] = swapped[1::-1]
    assert abs(metrics.partial_rank_correlation(swapped, y, z)) <= 1 + 1e-9


def test_partial_rank_correlation_is_nan_where_nothing_is_left():
    x, y = np.array([1.0, 2, 3, 4, 5]), np.array([2.0, 1, 4, 3, 5])
    for triple in ((x, y, x), (x, y, x**3), (y, x, -x), (np.ones(5), y, x), (x, y, np.ones(5))):
        assert math.isnan(metrics.partial_rank_correlation(*triple))


@pytest.mark.parametrize("first, last", [(0.0, 1.0), (0.0, 0.5), (0.5, 1.0), (0.3, 0.3)])
def test_curve_means_are_naive_means(first, last):
    r = np.random.default_rng(0)
    lines = [("norm", "lowest", 0), ("norm", "highest", 0), ("random", "lowest", 0), ("random", "lowest", 1)]
    keys = [(s, *line) for s in (0, 1) for line in lines]
    rows = [
        dict(seed=s, criterion=c, remove=k, repeat=p, removed=n, accuracy=r.random()) for s, c, k, p in keys for n in range(11 if s else 5)
    ]
    found = metrics.curve_means(pd.DataFrame(rows), first, last)
    assert found.shape[1] == 3
    for s in found.index:
        for c, k in found:
            units = 10 if s else 4
            picked = [x["accuracy"] for x in rows if (x["seed"], x["criterion"], x["remove"]) == (s, c, k)
                      and first * units <= x["removed"] <= last * units]  # fmt: skip
            assert found[c, k][s] == pytest.approx(100 * np.mean(picked)) if picked else math.isnan(found[c, k][s])
