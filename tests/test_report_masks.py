"""Readings of masked children and of dense nets of their size, on made-up records with known answers."""

import math

import numpy as np
import pandas as pd
import pytest

from pruning_lab import InferenceSpeed, MaskedTraining, Recipe, Train, figures, find, report
from pruning_lab.masks import scaled_width
from pruning_lab.report import evidence, kept, masks, sparse, sparse_words

RECIPE = Recipe("adam", lr=0.001, batch=128, epochs=2)
WIDTHS, SEEDS, CRITERIA = (4, 8, 16), (0, 1, 2), ("magnitude", "diff", "random")
# Test accuracy in per cent at width 4, and what a doubling of the width adds; what is not named is as its criterion.
LEVELS = {"dense": (50, 0), "magnitude": (60, 1), "diff": (56, 1), "random": (40, 3), "magnitude, worst": (45, 1)}
GAPS = {"dense": 20, "magnitude": 5, "diff": 8, "random": 2}


def net(width, seed=0):
    return Train("digits", "mlp", RECIPE, width=width, seed=seed)


def child(width, seed=0, criterion="magnitude", **how):
    return MaskedTraining(net(scaled_width(width, 10, 64), seed), criterion, sample=64, seed=seed, **how)


def put(made_up, e, test, gap=10, shares=(0.1,) * 5, emptied=()):
    """Store how a net ends, in hundredths, after an epoch that is no end."""
    ends = [(0.2, 0.3), (test / 100, (test + gap) / 100)]
    rows = [
        dict(epoch=k, train_accuracy=fit, test_accuracy=score, test_loss=2.0 - k)
        for k, (score, fit) in enumerate(ends, 1)
    ]
    of = np.array([1000, 100, 100, 100, 200])
    arrays = dict(weights=of, kept=(of * np.array(shares)).astype(int), emptied=np.array(emptied, dtype=str))
    return made_up(e, rows, **(arrays if isinstance(e, MaskedTraining) else {}))


def family(width, seed):
    """What the plan of chapter 6 has at one width, seed by seed."""
    arms = [dict(criterion=c) for c in CRITERIA] + [dict(criterion=c, scope="local") for c in CRITERIA]
    arms += [dict(invert=True), dict(shuffle="layer"), dict(criterion="random", scope="erk"), dict(begin="initial")]
    arms += [dict(density=0.5), dict(density=0.5, invert=True)] if width == 8 else []
    return [net(width, seed), *(child(width, seed, **arm) for arm in arms)]


def plan(profile="laptop"):
    return [e for width in WIDTHS for seed in SEEDS for e in family(width, seed)] if profile == "laptop" else []


def level(e, width):
    """The test accuracy and the gap of a net; seeds move masks by magnitude, so that intervals have a width."""
    told = masks.described(e)
    start, more = LEVELS.get(told["mask"], LEVELS[told["criterion"]])
    moved = (e.seed - 1) / 2 if told["mask"] == "magnitude" else 0
    return start + more * math.log2(width / WIDTHS[0]) + moved, GAPS[told["criterion"]]


def ended(planned, ends):
    """The table of a run that has stored the nets of which `ends` knows test accuracy and gap; None: not stored."""
    table = masks.by_width(evidence.Evidence("laptop", (), ()), planned)
    found = [ends(e, width) or (None, None) for e, width in zip(table.experiment, table.width, strict=True)]
    test, gap = (pd.Series(values, dtype=float) for values in zip(*found, strict=True))
    emptied = [() if stored else None for stored in test.notna()]
    return table.assign(test=test, gap=gap, fit=test + gap, emptied=emptied)


@pytest.fixture(scope="module")
def table():
    """Everything that is planned is stored."""
    return ended(plan(), level)


def page(planned=plan):
    return report.Page("06_pruning_by_width", planned, "laptop")


@pytest.mark.parametrize(
    "how, mask, rung, scope",
    [
        (dict(), "magnitude", "", "global"),
        (dict(scope="local"), "magnitude, local", "local", "local"),
        (dict(criterion="random", scope="erk"), "random, ERK", "ERK", "erk"),
        (dict(criterion="diff", invert=True), "diff, worst", "worst", "global"),
        (dict(shuffle="layer"), "magnitude, shuffled", "shuffled", "global"),
        (dict(begin="initial"), "magnitude, first weights", "first weights", "global"),
        (dict(scope="local", invert=True), "magnitude, local, worst", "local, worst", "local"),
    ],
)
def test_what_a_child_is_called_is_read_from_its_fields(how, mask, rung, scope):
    told = masks.described(child(4, seed=2, density=0.2, **how))
    assert (told["mask"], told["rung"], told["scope"]) == (mask, rung, scope)
    assert (told["criterion"], told["density"], told["seed"]) == (how.get("criterion", "magnitude"), 0.2, 2)
    assert told["parent"] == scaled_width(4, 10, 64)


def test_a_dense_net_is_a_mask_of_its_own_that_keeps_everything():
    told = masks.described(net(8, seed=1))
    assert (told["mask"], told["criterion"], told["rung"], told["density"], told["parent"]) == (
        "dense",
        "dense",
        "",
        1.0,
        8,
    )


def test_a_net_ends_at_its_last_epoch_in_per_cent_and_points(made_up):
    put(made_up, child(4), 62.5, 12.5, shares=(0.1, 0, 0.2, 0, 0.5), emptied=("fc2.weight", "fc4.weight"))
    put(made_up, net(4), 50, 25)
    found = masks.ends(evidence.stored("laptop", [child(4), net(4)]), [child(4), net(4)])
    assert found.test.tolist() == [62.5, 50] and found.fit.tolist() == [75, 75] and found.gap.tolist() == [12.5, 25]
    assert found.loss.tolist() == [0, 0] and found.kept[0] == 100 + 20 + 100 and pd.isna(found.kept[1])
    assert found.emptied.tolist() == [("fc2", "fc4"), ()]


def test_what_is_planned_has_a_row_and_only_what_is_stored_has_numbers(made_up):
    planned = [net(8), child(8), net(4), child(4), child(4).diffs_from, child(4)]
    put(made_up, child(4), 60)
    found = masks.by_width(evidence.stored("laptop", planned), planned)
    assert found.experiment.tolist() == planned[:4] and found.test.notna().tolist() == [False, False, False, True]
    assert masks.ran(found).experiment.tolist() == [child(4)]
    nothing = masks.by_width(evidence.stored("gpu", []), planned)
    assert masks.ran(nothing).empty and nothing.width.tolist() == [8, 8, 4, 4]


def test_a_child_stands_at_the_width_of_the_dense_net_of_its_size(table):
    children = table[table.criterion != "dense"]
    assert [scaled_width(w, 10, 64) for w in children.width] == children.parent.tolist()
    assert (table.width == table.parent)[table.criterion == "dense"].all()


def test_parents_without_a_dense_net_of_their_size_are_named_an_error(made_up):
    with pytest.raises(ValueError, match="zip"):
        masks.by_width(evidence.stored("laptop", []), [net(4), child(4), child(8)])


def test_criteria_come_in_the_order_of_the_plan_and_random_ranks_nothing(table):
    assert masks.ranks(table) == list(CRITERIA) and masks.ranked(table) == ["magnitude", "diff"]


def test_lines_are_the_stored_tenths_in_the_order_asked_for(table):
    drawn = masks.lines(table, ["magnitude"], ["", "worst", "local"])
    assert drawn["mask"].unique().tolist() == ["dense", "magnitude", "magnitude, worst", "magnitude, local"]
    assert drawn[drawn["mask"] == "magnitude"].width.tolist() == [4, 4, 4, 8, 8, 8, 16, 16, 16]
    assert set(drawn.density) == {0.1, 1.0}
    both = masks.lines(table, ["random", "diff"])
    assert both["mask"].unique().tolist() == ["dense", "random", "random, local", "random, ERK", "diff", "diff, local"]


def test_masks_that_leave_a_layer_without_weights_are_named(made_up):
    planned = [net(4), child(4), child(4, 1), child(4, criterion="diff"), net(8), child(8)]
    put(made_up, child(4), 60, emptied=("out.weight",))
    put(made_up, child(4, 1), 60, emptied=("fc1.weight", "out.weight"))
    put(made_up, child(4, criterion="diff"), 60)
    drawn = masks.lines(masks.by_width(evidence.stored("laptop", planned), planned), CRITERIA)
    assert masks.emptied(drawn) == "A layer without any weight: magnitude at width 4 (fc1, out; out)."
    assert masks.emptied(drawn[drawn.criterion == "diff"]) == masks.emptied(drawn[:0]) == ""


def test_a_difference_is_the_first_minus_the_second_on_the_same_seed_and_width(table):
    found = masks.against(
        table, {"a": ("magnitude", "dense"), "b": ("dense", "magnitude"), "c": ("magnitude", "taylor")}
    )
    assert found.pair.unique().tolist() == ["a", "b"] and len(found) == 18
    one = found[found.pair == "a"].set_index(["width", "seed"]).points
    assert one[4, 0] == pytest.approx(9.5) and one[4, 2] == pytest.approx(10.5) and one[16, 1] == pytest.approx(12)
    assert found[found.pair == "b"].points.tolist() == pytest.approx((-one).tolist())
    gap = masks.against(table, {"a": ("magnitude", "dense")}, "gap").points
    assert gap.tolist() == pytest.approx([-15] * 9)


def test_differences_in_accuracy_and_gap_stand_in_one_table(table):
    found = masks.paired(table, {"magnitude": ("magnitude", "dense"), "random": ("random", "dense")})
    row = found[(found.width == 4) & (found.seed == 1)].set_index("pair")
    assert row.test.to_dict() == pytest.approx({"magnitude": 10, "random": -10})
    assert row.gap.to_dict() == pytest.approx({"magnitude": -15, "random": -18}) and len(found) == 18


def test_a_width_counts_with_three_seeds_of_both():
    table = ended(plan(), lambda e, width: None if e == net(16, 2) else level(e, width))
    assert masks.complete(table, ("magnitude", "dense")) == [4, 8]
    assert masks.complete(table, ("magnitude", "random")) == [4, 8, 16]
    assert masks.complete(table, ("magnitude", "taylor")) == []


def test_a_seed_has_one_number_its_mean_over_the_complete_widths(table):
    pair = ("magnitude", "dense")
    assert masks.per_seed(table, pair).tolist() == pytest.approx([10.5, 11, 11.5])
    assert masks.per_seed(table, pair, widest=True).tolist() == pytest.approx([11.5, 12, 12.5])
    assert masks.per_seed(table, pair, widths=[4, 32]).tolist() == pytest.approx([9.5, 10, 10.5])
    assert masks.per_seed(table, pair, "gap").tolist() == pytest.approx([-15, -15, -15])
    assert masks.per_seed(table, ("magnitude", "taylor")).empty and masks.per_seed(table, pair, widths=[]).empty
    assert masks.per_seed(table, pair).index.tolist() == [0, 1, 2]


def test_a_width_that_is_not_complete_moves_no_mean():
    table = ended(plan(), lambda e, width: None if (width, e.seed) == (16, 2) else level(e, width))
    assert masks.per_seed(table, ("magnitude", "dense"), widest=True).tolist() == pytest.approx([10.5, 11, 11.5])


def test_a_plan_of_one_seed_asks_for_one():
    table = ended([net(4), child(4)], lambda e, width: (53 if isinstance(e, MaskedTraining) else 50, 10))
    assert masks.complete(table, ("magnitude", "dense")) == [4]
    assert masks.per_seed(table, ("magnitude", "dense")).tolist() == pytest.approx([3])


def test_a_step_of_the_ladder_is_the_first_mask_minus_the_second(table):
    steps = masks.ladder(table).set_index("label")
    means = {
        "magnitude: best minus worst": 15,
        "magnitude: best minus shuffled": 0,
        "magnitude: together minus layer by layer": 0,
        "diff: together minus layer by layer": 0,
        "magnitude: shuffled minus random": 18,
        "random: layer by layer minus plain": 0,
        "random: ERK minus plain": 0,
        "magnitude: first weights minus fresh": 0,
    }
    assert steps["mean"].to_dict() == pytest.approx(means)
    assert steps.group.tolist() == [name.split(":")[0] for name in steps.index] and set(steps.n) == {3}
    assert steps.loc["magnitude: best minus worst", "values"] == pytest.approx([14.5, 15, 15.5])
    gap = masks.ladder(table, "gap").set_index("label")["mean"]
    assert gap["magnitude: best minus worst"] == pytest.approx(0) and gap[
        "magnitude: shuffled minus random"
    ] == pytest.approx(3)


def test_the_ladder_counts_the_widths_that_are_planned_with_all_of_it(table):
    fewer = table[~((table.rung == "shuffled") & (table.width == 16))]
    steps = masks.ladder(fewer).set_index("label")["mean"]
    assert steps["magnitude: shuffled minus random"] == pytest.approx(19)  # of widths 4 and 8: 20 and 18


def test_nothing_that_was_run_makes_no_step():
    empty = ended(plan(), lambda e, width: None)
    assert masks.ladder(empty).empty and sparse_words.climbed(masks.ladder(empty)) == "Not run at this size yet."


def test_best_minus_worst_by_density_is_read_where_several_are_planned(table):
    found = masks.inverses(table)
    assert (
        masks.several(table) == 8 and sorted(set(found.density)) == [0.1, 0.5] and set(found["mask"]) == {"magnitude"}
    )
    assert found[found.density == 0.5].points.tolist() == pytest.approx([14.5, 15, 15.5])
    narrow = table[table.width == 4]
    assert masks.several(narrow) is None and masks.inverses(narrow).empty


def test_layers_are_those_of_the_largest_width_with_all_masks(made_up):
    planned = [e for width in (4, 8) for e in (net(width), child(width), child(width, invert=True))]
    for e in planned:
        worst = isinstance(e, MaskedTraining) and e.invert
        put(made_up, e, 50, shares=(0.05, 0.1, 0.2, 0.3, 0.4) if worst else (0.2, 0, 0, 0, 1))
    found = kept.layers(masks.by_width(evidence.stored("laptop", planned), planned))
    assert set(found.width) == {8} and found["mask"].unique().tolist() == ["magnitude", "magnitude, worst"]
    assert found.density.tolist() == pytest.approx([20, 0, 0, 0, 100, 5, 10, 20, 30, 40])
    assert found.layer.tolist() == 2 * list(kept.LAYERS)
    best = "magnitude 20.0 % of the first layer and 100.0 % of the last"
    assert (
        sparse_words.shared(found) == f"Kept: {best}; magnitude, worst 5.0 % of the first layer and 40.0 % of the last."
    )
    fewer = [*planned[:5], net(16), child(16)]
    put(made_up, child(16), 50)
    assert set(kept.layers(masks.by_width(evidence.stored("laptop", fewer), fewer)).width) == {4}
    assert kept.layers(masks.by_width(evidence.stored("gpu", []), planned)).empty


def test_children_are_shown_beside_the_dense_net_of_their_width(made_up):
    planned = [net(4), net(4, 1), child(4), child(4, 1), net(8), child(8)]
    for e in planned:
        put(made_up, e, 50 + 2 * e.seed)
    table = masks.by_width(evidence.stored("laptop", planned), planned)
    assert names_of(kept.learning(table, "learning")) == {"training", "test", "dense, training", "dense, test"}
    means = kept.curves_of(planned[:2])
    assert [point["curve"] for point in means] == ["training", "training", "test", "test"]
    assert means[1]["accuracy"] == pytest.approx(61) and means[3] == dict(
        curve="test", epoch=2, accuracy=pytest.approx(51)
    )
    assert kept.caption(planned[2:4]) == "mean of 2 nets; kept: fc1 10 %, fc2 10 %, fc3 10 %, fc4 10 %, out 10 %"
    without = table[(table.criterion != "dense") | (table.width == 4)]  # a width has no dense net: children stand alone
    assert names_of(kept.learning(without, "learning")) == {"training", "test"}
    assert kept.learning(table[table.criterion == "dense"], "none") is None


def names_of(explorer):
    return {series["name"] for series in explorer.meta["series"]}


def test_masks_settle_by_parents_named_by_their_dense_net(made_up):
    planned = [net(4), child(4), child(4, 1), net(8), child(8), *(child(w).diffs_from for w in (4, 8))]
    for width, overlap in ((4, 0.2), (8, 0.4)):
        rows = [dict(epoch=k, overlap=overlap + k / 20, chance_in_layers=0.1) for k in (0, 1, 5, 10)]
        made_up(child(width).diffs_from, rows)
    found = evidence.stored("laptop", planned)
    settled = kept.settling(found, masks.by_width(found, planned))
    assert settled.name.unique().tolist() == ["width 4", "width 8"] and len(settled) == 8
    assert settled[settled.name == "width 8"].overlap.tolist() == pytest.approx([0.4, 0.45, 0.65, 0.9])
    assert sparse_words.settled_at(settled) == (
        "Before the first step the largest weights already have 30 % of the final mask, after a tenth of the training "
        "35 %, after half 55 %. Chance that knows how many each layer keeps has 10 % at the start."
    )
    assert sparse_words.settled_at(settled[:0]) == "Not run at this size yet."
    assert kept.settling(evidence.stored("laptop", []), masks.by_width(found, planned)).empty


def test_ranked_together_the_layer_with_larger_weights_keeps_more():
    points, captions = kept.toy([0.1, 0.5])
    counts = (
        points[points.curve == "kept"]
        .assign(second=lambda t: t.layer > 0.5)
        .groupby(["ranked", "density", "second"])
        .size()
    )
    assert counts["layer by layer", 0.1].tolist() == [30, 30] and counts["layer by layer", 0.5].tolist() == [150, 150]
    assert counts["together", 0.1].sum() == 60 and counts["together", 0.1][True] > 2 * counts["together", 0.1][False]
    assert len(points) == 4 * 600 and "kept: first layer 10 %, second layer 10 %" in captions.caption.tolist()


def test_what_random_masks_gain_per_doubling_is_a_slope_over_three_widths(table):
    assert sparse.slopes(table, ("random", "magnitude")).tolist() == pytest.approx([2, 2, 2])
    assert sparse.slopes(table, ("magnitude", "random")).tolist() == pytest.approx([-2, -2, -2])
    two = table[table.width < 16]
    assert sparse.slopes(two, ("random", "magnitude")).empty and sparse.wider(two, ("random", "magnitude")).empty


def test_a_seed_that_lacks_a_width_has_no_slope():
    seeds = (0, 1, 2, 3)
    planned = [e for w in WIDTHS for s in seeds for e in (net(w, s), child(w, s), child(w, s, "random"))]
    table = ended(planned, lambda e, width: None if e == child(16, 3) else (50, 10))
    assert masks.complete(table, ("random", "magnitude")) == list(WIDTHS)
    assert sparse.slopes(table, ("random", "magnitude")).tolist() == pytest.approx([0, 0, 0], abs=1e-9)
    assert sparse.slopes(table, ("random", "dense")).tolist() == pytest.approx([0] * 4, abs=1e-9)


def test_how_much_more_width_a_mask_needs_is_counted_in_doublings():
    planned = [e for w in WIDTHS for s in SEEDS for e in (net(w, s), child(w, s), child(w, s, "random"))]
    scores = {"dense": (50, 50, 50), "magnitude": (80, 80, 80), "random": (0, 0, 100)}
    table = ended(planned, lambda e, width: (scores[masks.described(e)["criterion"]][WIDTHS.index(width)], 10))
    assert sparse.wider(table, ("random", "magnitude")).tolist() == pytest.approx([1.99] * 3)
    assert sparse.wider(table, ("magnitude", "random")).tolist() == pytest.approx([-1.99] * 3)


def test_the_parts_of_catching_up_stand_in_three_units(table):
    parts = sparse.catching(table)
    for m in ("magnitude", "diff"):
        assert parts[f"random over {m}, per doubling"].tolist() == pytest.approx([2] * 3)
        assert len(parts[f"random needs more width than {m}, doublings"]) == 3
    assert parts["random over magnitude, widest"].tolist() == pytest.approx([-15.5, -16, -16.5])
    assert parts["random over diff, widest"].tolist() == pytest.approx([-12] * 3)
    none = sparse.catching(table, "ERK")
    assert none["random over magnitude, widest"].empty and none["random over diff, widest"].empty


def test_the_parts_of_the_gap_are_signed_as_the_claim_says(table):
    gaps = {name: np.mean(values) for name, values in sparse.gaps(table).items()}
    assert gaps == pytest.approx({
        "dense over magnitude": 15, "dense over diff": 12, "dense over random": 18,
        "magnitude over random": 3, "diff over random": 6, "magnitude over diff, narrow": -3,
    })  # fmt: skip


def test_narrow_is_the_lower_half_of_the_planned_widths():
    widths = (4, 8, 16, 32)
    planned = [e for w in widths for s in SEEDS for e in (net(w, s), child(w, s), child(w, s, "diff"))]
    table = ended(planned, lambda e, width: (50, 10 + width * (masks.described(e)["mask"] == "magnitude")))
    assert sparse.gaps(table)["magnitude over diff, narrow"].tolist() == pytest.approx([6] * 3)  # of 4 and 8


def test_verdicts_have_every_part_with_its_unit(table, made_up):
    put(made_up, net(4), 50)
    found = sparse.verdicts(page(), table)
    assert found.groupby("claim").size().to_dict() == dict(PW1=3, PW2=6, PW3=1, PW4=6, PW5=3)
    units = found[found.claim == "PW2"].groupby("unit", sort=False).size().to_dict()
    assert units == {"points per doubling": 2, "points": 2, "doublings": 2} and set(
        found[found.claim != "PW2"].unit
    ) == {"points"}
    assert set(found.verdict) == {"not in reach"}  # at 70 % the dense nets do not fit
    local = sparse.verdicts(page(), table, "local")
    assert local.part.tolist()[:3] == ["magnitude over dense", "diff over dense", "random over dense"]
    assert set(sparse.verdicts(page(), table, "ERK").query("claim == 'PW3'").verdict) == {"not run"}


SPEED = InferenceSpeed(4, shape=(1, 3, 2), classes=3, density=0.2, batches=(1, 5), rounds=2)


@pytest.fixture
def timed(made_up):
    shares = {"dense": 1.0, "masked": 1.1, "csr": 0.5, "smaller": 0.25}
    rows = [
        dict(net=name, batch=b, parameters=1234, multiplications=1200, bytes=4_936_000, of_dense=of, threads=1,
             milliseconds=b * of, low=b * of / 2, high=b * of * 2)
        for b in (1, 5) for name, of in shares.items()
    ]  # fmt: skip
    return find(made_up(SPEED, rows))


def test_speeds_have_words_and_quartiles(timed):
    row = sparse.speeds(timed).iloc[6]
    assert row.tolist() == ["compressed rows (CSR)", 5, "1,234", "1,200", 4.94, "2.50 (1.25 to 5.00)", "0.50"]
    one = "masked net takes 1.10 times as long as the dense one, compressed rows 0.50, the smaller net 0.25"
    assert sparse_words.timings(timed) == f"With 1 image at once a {one}; with 5 images at once a {one}."


def test_sentences_have_the_numbers_of_the_table(table, timed):
    where = pd.DataFrame(
        [dict(mask="diff", layer=name, density=share) for name, share in (("fc1", 9.0), ("out", 30.0))]
    )
    said = sparse_words.sentences(page(), table, where, pd.DataFrame(), timed)
    assert said["layers_read"] == "Kept: diff 9.0 % of the first layer and 30.0 % of the last."
    over = "magnitude +11.0 points (+9.8 to +12.2); diff +7.0 points (+7.0 to +7.0); random -7.0 points (-7.0 to -7.0)"
    assert said["paired_read"] == f"Averaged over widths: {over}."
    narrow = "At width 4, dense 50.0 %, magnitude 60.0 %, diff 56.0 %, random 40.0 %"
    wide = "at width 16, dense 50.0 %, magnitude 62.0 %, diff 58.0 %, random 46.0 %."
    assert said["ends_read"] == f"{narrow}; {wide}"
    assert said["fit_read"] == "Dense nets end with 70.0 to 70.0 % of their training images right."
    ends = ", ".join(f"+15.0 points (+13.8 to +16.2) at density {d}" for d in ("0.1", "0.5"))
    assert said["inverse_read"] == f"Best minus worst: magnitude {ends}."
    assert said["source_read"].endswith("best minus worst is 1.2, 0.3, 49.5 and -0.5 points.")
    assert said["inverse_width"] == "width 8" and said["emptied_read"] == "No mask leaves a layer without weights."
    most = "magnitude: shuffled minus random, +18.0 points (+18.0 to +18.0)"
    assert said["ladder_read"] == f"The largest step: {most}. Of 8 steps, 2 have an interval clear of zero."
    assert said["local_read"].startswith("Layer by layer minus together: magnitude +0.0 points")
    assert said["biases"] == f"up to {4 * (scaled_width(16, 10, 64) - 16):,}"
    assert (said["too_many"], said["most"]) == ("321", "197")
    assert said["settling_read"] == "Not run at this size yet." and said["origin"] == "profile laptop"


def test_where_nothing_was_run_every_sentence_says_so(timed):
    nothing = ended(plan(), lambda e, width: None)
    said = sparse_words.sentences(page(), nothing, kept.layers(nothing), pd.DataFrame(), timed)
    assert {name for name, words in said.items() if words == "Not run at this size yet."} == {
        "ends_read", "layers_read", "ladder_read", "inverse_read", "settling_read"}  # fmt: skip
    assert said["fit_read"] == "No dense net has been run at this size yet."
    assert said["missing"].startswith("Fewer than three nets: ")
    few = ended([net(4), child(4)], lambda e, width: None)
    assert (
        sparse_words.sentences(page(), few, kept.layers(few), pd.DataFrame(), timed)["inverse_width"]
        == "no width of this profile"
    )


def test_lines_with_fewer_than_three_nets_are_named_dense_ones_too(made_up):
    put(made_up, net(4), 50)
    assert evidence.stored("laptop", [net(4)]).few() == "Fewer than three nets: mlp-digits (4 wide): 1 of 3."


def test_a_figure_of_masks_says_whose_lines_it_has(table, made_up):
    put(made_up, net(4), 50)
    drawn = masks.lines(table, ["random"])
    told = masks.about(page(), page().own, drawn, "random", "Random masks")
    assert (told["title"], told["file"]) == ("Random masks, digits", "random-laptop.csv")
    assert told["alt"].endswith(
        "random 40.0 to 46.0 %; random, local 40.0 to 46.0 %; random, ERK 40.0 to 46.0 %."
    ) and told["command"].endswith("--profile laptop")
    figure = figures.panels(drawn, masks.SHORT, by="mask", x="width", log=("width",), **told)
    assert figure.layout.meta["rows"].splitlines()[:2] == ["seed,mask,width,test,gap", "0,dense,4,50,20"]
