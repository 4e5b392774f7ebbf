"""Readings of chapter 9, on made-up records with known answers."""

import math

import numpy as np
import pandas as pd
import pytest

from pruning_lab import (
    CentreStart,
    FilterClusters,
    Recipe,
    TeacherStudent,
    Train,
    UnitCurve,
    UnitRepeats,
    Xord,
    replace,
    report,
)
from pruning_lab.records.experiment import lineage
from pruning_lab.report import alignment, evidence, gathering, students, xord

NET = Train("digits", "conv_max", Recipe("adam", lr=1e-3, batch=64, epochs=2), width=12, limit=64)
LENET = replace(NET, model="lenet_300_100")
SEEDS = range(10, 15)
NOTHING = evidence.Evidence("laptop", (), ())


def found(*experiments, profile="laptop"):
    return evidence.stored(profile, experiments)


def block(made_up, k, seed, failing, explored=1.0, end=1.0, unfit=0, **how):
    """A block of ten runs, of which some do not fit their training set, and of the others some fail, erring by 1 %."""
    e = Xord(k, seed, runs=10, steps=10, kept=1, **how)
    wrong = np.arange(10) < unfit + failing
    rows = pd.DataFrame(dict(
        run=range(10), train_error=0.1 * (np.arange(10) < unfit), test_error=0.01 * wrong, missed=0,
        explored=np.arange(10) < 10 * explored, angle_start=22.0, angle_end=22.0 - end,
    ))  # fmt: skip
    paths = np.zeros((2, 1, 2, k, 2))
    paths[0], paths[1] = [1.0, 0.5], [2.0, 2.0]
    errors = np.repeat([[0.5], [0.01]], 10, axis=1)
    return made_up(e, rows, steps=np.array([0, 10]), train_error=0 * errors, test_error=errors, paths=paths)


@pytest.fixture
def nets(made_up):
    """Narrow blocks fail in 6 of 10 and 4 of 8 fitted runs, wide ones in 1 and 2; small ones from centres in 2 of 10"""
    made = []
    for seed in SEEDS:
        made += [block(made_up, 2, seed, 6, 0.1), block(made_up, 4, seed, 4, 0.3, unfit=2)]
        made += [block(made_up, 50, seed, 1, end=20), block(made_up, 100, seed, 2, end=10)]
        made += [block(made_up, 2, seed, 2, start=Xord(100, seed, runs=10, steps=10, kept=1))]
        made += [block(made_up, 2, seed, 9, n=None)]
    return found(*made)


def test_a_share_fails_among_the_runs_that_fit(nets):
    table = xord.blocks(nets).groupby(["arm", "k"])[["fit", "fails", "error", "failed", "explored"]].mean()
    assert table.loc[xord.SAMPLED, 4].tolist() == pytest.approx([80, 50, 0.5, 60, 30])
    assert table.loc[xord.DIVERSE, 2].fails == pytest.approx(90)
    assert table.loc[xord.CENTRES, 2].fails == pytest.approx(20)


def test_failing_shares_of_diverse_points_stand_beside_those_of_sampled_inputs(nets):
    """At the widths that both have: elsewhere there is nothing to compare."""
    table = xord.beside_diverse(xord.blocks(nets)).groupby(["arm", "k"]).fails.mean()
    assert table.to_dict() == pytest.approx({(xord.DIVERSE, 2): 90, (xord.SAMPLED, 2): 60})
    assert xord.beside_diverse(xord.blocks(NOTHING)).empty


def test_narrow_and_wide_blocks_of_a_seed_are_compared(nets):
    parts = xord.parts(xord.blocks(nets))
    assert parts["narrow fail more often"].tolist() == pytest.approx([55 - 15] * 5)
    assert parts["narrow err more"].tolist() == pytest.approx([0.55 - 0.15] * 5)
    assert parts["wide start explores more"].tolist() == pytest.approx([80] * 5)
    assert parts["wide layers cluster"].tolist() == pytest.approx([15] * 5)
    assert parts["narrow err more"].index.tolist() == list(SEEDS)


def test_centres_close_more_or_less_than_half_of_the_gap(nets):
    assert xord.closed(xord.blocks(nets)).tolist() == pytest.approx([60 - 20 - (60 - 20) / 2] * 5)
    assert xord.closed(xord.blocks(NOTHING)).empty


def test_errors_by_step_are_means_of_blocks(nets):
    table = xord.by_step(nets)
    assert set(table.width) == {"k = 2", "k = 4", "k = 50"}
    assert table[table.step == 11].test.tolist() == pytest.approx([1.0] * 15, abs=1e-3)


def test_the_plane_has_filters_at_a_step_and_marks_the_pattern_that_is_missed(nets):
    page = report.Page("09_alignment", lambda p: nets.experiments if p == "laptop" else [], "laptop")
    drawn = xord.explorer(page)
    assert drawn.meta["equal"]
    assert drawn.meta["start"][-1] == drawn._find(drawn.meta, dict(k=2, run=1, step=10))[-1] > 0  # where filters end
    x, y = drawn.curve("for equal pairs", k=2, run=1, step=10)
    assert np.allclose([x, y], 1 / math.sqrt(2), atol=1e-3)
    missed = drawn.curve("missed pattern", k=2, run=1, step=10)  # both kinds of filters lie at (1, 1)
    assert np.isnan(missed[1]).sum() == 4 and len(drawn.curve("patterns", k=2, run=1, step=10)[0]) == 4
    centres = np.nanmean(np.reshape(missed, (2, 2, 6))[..., [0, 1, 3, 4]], axis=2)
    assert np.allclose(centres, np.array([[1, -1], [1, -1]]) * xord.SPAN / math.sqrt(2), atol=1e-2)
    text = drawn._packed.caption(drawn._row(drawn._find(drawn.meta, dict(k=2, run=1, step=10))))
    assert "error on all inputs 1.00 %" in text and "(1, 1) and (-1, -1)" in text
    assert xord.explorer(report.Page("09_alignment", lambda p: [], "laptop")) is None


def angle_rows(trained):
    kinds = dict(initial=70.0, trained=trained, random=60.0)
    return [dict(weights=kind, unit=u, length=1.0, angle=a) for kind, a in kinds.items() for u in range(3)]


@pytest.fixture
def images(made_up):
    """Filters end 30 degrees nearer; the small net errs by 40 %, from centres by 20 %, the large by 10 %."""
    made = []
    for seed in SEEDS:
        large = replace(NET, seed=seed)
        clusters = made_up(FilterClusters(large), angle_rows(40.0))
        small = CentreStart(clusters)
        for e, error in ((large, 0.1), (small.fresh, 0.4), (small, 0.2)):
            fit = 0.9 if seed == 14 else 1.0
            made_up(e, [dict(epoch=n, train_accuracy=fit, test_accuracy=1 - error, test_loss=1.0) for n in (1, 2)])
        made += [clusters, small, small.fresh]
    return found(*made)


def test_filters_come_closer_and_nets_that_do_not_fit_do_not_count(images):
    values, short = gathering.closer(gathering.angles(images))
    assert values["closer than at the start"].tolist() == pytest.approx([30] * 4)
    assert values["closer than random vectors"].tolist() == pytest.approx([20] * 4)
    assert set(short.values()) == {1}


def test_shares_of_angles_sum_to_all_filters(images):
    table = gathering.histogram(images)
    assert table.groupby(["filters", "seed"]).share.sum().tolist() == pytest.approx([100] * 15)
    assert table[(table.filters == "trained") & (table.share > 0)].degrees.unique().tolist() == [45]
    assert gathering.histogram(NOTHING).empty


def test_hours_are_shared_out_over_seeds_also_where_a_net_has_only_that_of_its_parent(images):
    records = len(set(lineage(images.experiments)))
    assert evidence.hours(images) == pytest.approx(records / 3600 / 5)


def test_a_small_net_from_centres_closes_two_thirds_of_the_gap(images):
    values, short = gathering.from_centres(gathering.ends(images))
    assert values.tolist() == pytest.approx([20 - 15] * 4) and short == 1
    assert gathering.by_epoch(images).groupby("net").error.mean().to_dict() == pytest.approx(
        {"large": 10, "small, random weights": 40, "small, from centres": 20}
    )
    assert gathering.from_centres(gathering.ends(NOTHING))[0].empty


@pytest.fixture
def units(made_up):
    """Shares that double with width: a tenth, a fifth and two fifths are repeated; removable likewise from a half on"""
    made = []
    for seed in SEEDS:
        for k, width in enumerate((10, 20, 40)):
            net, share = replace(LENET, width=width, seed=seed), 0.1 * 2**k
            made_up(net, [dict(epoch=2, train_accuracy=1.0, test_accuracy=0.9 + 0.01 * k, test_loss=1.0)])
            strong = np.where(np.arange(width) < round(share * width), 0.95, 0.2)
            made.append(made_up(UnitRepeats(net), dict(unit=range(width), correlation=strong)))
            accuracy = np.where(np.arange(width + 1) <= round(2 * share * width), 0.9, 0.1)
            row = dict(criterion="random", remove="lowest", repeat=0, removed=range(width + 1))
            row |= dict(accuracy=accuracy, loss=0)
            made.append(made_up(UnitCurve(net, "fc1", ("random",), repeats=1), row))
    return found(*made)


def test_repeated_and_removable_units_by_width(units):
    table = gathering.units(units)
    means = table.groupby("width")[["half", "nearly", "gone", "test"]].mean()
    assert means.half.tolist() == means.nearly.tolist() == pytest.approx([10, 20, 40])
    assert means.gone.tolist() == pytest.approx([20, 40, 80])
    assert means.test.tolist() == pytest.approx([90, 91, 92])
    slopes, short = gathering.rising(table)
    assert slopes["removable"].tolist() == pytest.approx([30] * 5)
    assert slopes["repeated: correlation from 0.5"].tolist() == pytest.approx([15] * 5)
    assert set(short.values()) == {0}
    unfit = table.assign(fit=table.fit.where((table.seed != 10) | (table.width != 20), 0.9))
    assert gathering.rising(unfit)[1]["removable"] == 1
    assert len(gathering.rising(unfit)[0]["removable"]) == 4


def student(made_up, width, seed, error, sharing=1, both=True, noise=0.1):
    e = TeacherStudent(width, both=both, noise=noise, seed=seed, steps=10)
    cosines = np.zeros((2, width, 2))
    for m in range(2):
        cosines[1, m * sharing : (m + 1) * sharing, m] = 1
    ones = np.ones((2, width))
    return made_up(e, dict(step=[0, 10], error=[1.0, error]), cosines=cosines, second=ones, lengths=ones)


def test_carriers_count_the_units_that_carry_a_teacher_s():
    two = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, -1.0], [0.0, 0.0]])
    assert students.carriers(two, np.array([1.0, 1.0, -1.0, 5.0]), np.ones(4)) == pytest.approx(1.5)
    assert students.carriers(two[:, :1], np.array([1.0, 3.0, 1.0, 1.0]), np.ones(4)) == pytest.approx(1.6)
    assert students.carriers(-two[:, :1], np.ones(4), np.ones(4)) == 0


def test_errors_of_students_are_compared_where_the_small_one_has_left_the_plateau(made_up):
    made = []
    for seed in SEEDS:
        for both in (True, False):
            small, wide = (0.9 if seed == 14 else 0.001), (0.001 if both else 0.002)
            made.append(student(made_up, 2, seed, small, both=both))
            made.append(student(made_up, 8, seed, wide, 3, both=both))
    table = students.students(found(*made))
    values, short = students.parts(table)
    assert values["first layer only: error rises"].tolist() == pytest.approx([math.log(2)] * 4)
    assert values["both layers: error does not rise"].tolist() == pytest.approx([0] * 4)
    assert values["both layers: units share a teacher's"].tolist() == pytest.approx([2] * 4)
    assert values["both layers, no noise: error does not rise"].empty
    assert short["both layers: error does not rise"] == 1
    steps = students.by_step(found(*made))
    assert students.panels_of(steps) == {"units_2": "error, student of 2", "units_8": "error, student of 8"}
    assert steps[(steps.arm == "first layer only") & (steps.step == 11)].units_8.tolist() == pytest.approx([0.002] * 5)
    matrix = students.overlaps(found(*made))
    assert matrix["teacher's unit 2"].tolist() == ["+0.00"] * 3 + ["+1.00"] * 3 + ["+0.00"] * 2


def test_an_error_of_zero_has_a_logarithm(made_up):
    made = [student(made_up, w, seed, 0.0, noise=0.0) for seed in SEEDS for w in (2, 8)]
    values, _ = students.parts(students.students(found(*made)))
    assert values["both layers, no noise: error does not rise"].tolist() == [0.0] * 5


def test_a_page_of_nothing_says_so_and_one_of_all_has_every_claim(nets, images, units):
    empty = report.Page("09_alignment", lambda p: [], "laptop")
    verdicts = alignment.judged(empty)
    assert set(verdicts.verdict) == {"not run"} and set(verdicts.claim) == {"AL1", "AL2", "AL3", "RU1", "TS1"}
    assert set(alignment.sentences(empty).values()) == {alignment.WAITING}
    every = [*nets.experiments, *images.experiments, *units.experiments]
    page = report.Page("09_alignment", lambda p: every if p == "laptop" else [], "laptop")
    told = alignment.sentences(page)
    assert "30 after training" not in told["angles_read"] and "40 after training" in told["angles_read"]
    assert (
        "60 % err on some input from random weights, 20 % from the centres of nets of k = 100" in told["centres_read"]
    )
    assert "From k = 2 to k = 100" in told["fails_read"]
    assert told["narrow_read"].startswith("Narrow nets of the answer are those of k = 2")
    for said in ("repeated units (from 0.5) goes from 10 to 40 %", "removable ones goes from 20 to 80 %"):
        assert said in told["units_read"]
    assert alignment.numbers(page)["narrow"] == "55"
