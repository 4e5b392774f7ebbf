"""Readings of children by the size of their parent, on made-up records with known answers."""

import numpy as np
import pandas as pd
import pytest
from test_report_masks import CRITERIA, SEEDS, child, net, put

from pruning_lab import MaskedTraining, figures, replace, report
from pruning_lab.masks import mlp_weights, scaled_width
from pruning_lab.report import evidence, masks, parents, parents_words

BASE, INPUTS, RATIOS = 8, 64, (2, 4, 8)
WEIGHTS = mlp_weights(BASE, INPUTS)
WIDTH = {ratio: scaled_width(BASE, ratio, INPUTS) for ratio in RATIOS}


def fixed(seeds=SEEDS):
    """What the plan of chapter 7 has of children with as many weights as the dense net: experiment -> ratio."""
    found = {}
    for seed in seeds:
        found[net(BASE, seed)] = 1
        for ratio in RATIOS:
            density = WEIGHTS / mlp_weights(WIDTH[ratio], INPUTS)
            arms = [MaskedTraining(net(WIDTH[ratio], seed), c, density, sample=64, seed=seed) for c in CRITERIA]
            found |= dict.fromkeys(arms, ratio)
    return found


def line(values, weights, mask="magnitude", along="ratio", seeds=SEEDS):
    """A table of one mask: test accuracy by size of the parent; the seeds have the same, 0.1 points apart."""
    rows = [
        {"seed": seed, "mask": mask, "criterion": mask, "test": value + seed / 10, along: size, "weights": weight}
        for seed in seeds for size, value, weight in zip(values, values.values(), weights, strict=True)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def table(**values):
    """A table of fixed size, a line a mask: test accuracy of the dense net and at the three ratios."""
    sizes = [1, *RATIOS]
    return pd.concat(
        [line(dict(zip(sizes, row, strict=True)), [100 * s for s in sizes], mask) for mask, row in values.items()]
    )


def page(stored=()):
    return report.Page("07_pruning_by_parent", lambda profile: list(stored) if profile == "laptop" else [], "laptop")


def test_the_dense_net_begins_the_line_of_every_mask(made_up):
    planned = fixed(seeds=(0,))
    for e, ratio in planned.items():
        put(made_up, e, 50 + ratio, shares=(0.1, 0.1, 0, 0, 0), emptied=("fc3.weight",) if ratio == 8 else ())
    found = parents.fixed(evidence.stored("laptop", list(planned)), planned, INPUTS)
    assert found["mask"].tolist() == [m for m in CRITERIA for _ in range(4)] and found.ratio.tolist() == 3 * [
        1,
        2,
        4,
        8,
    ]
    assert found.test.tolist() == pytest.approx(3 * [51, 52, 54, 58])
    assert found.weights.tolist() == 3 * [WEIGHTS, *(mlp_weights(WIDTH[ratio], INPUTS) for ratio in RATIOS)]
    assert found.kept.tolist() == 3 * [WEIGHTS, 110, 110, 110] and found.kept.dtype == int
    hit = ", ".join(f"{mask} at 8 times (1)" for mask in sorted(CRITERIA))
    assert parents.emptied(found) == f"Layers without any weight: {hit}."
    assert parents.emptied(found[found.ratio < 8]) == parents.emptied(found[:0]) == ""


def test_what_is_not_stored_is_left_out_and_nothing_is_an_empty_table(made_up):
    planned = fixed()
    put(made_up, net(BASE), 50)
    one = parents.fixed(evidence.stored("laptop", list(planned)), planned, INPUTS)
    assert one["mask"].tolist() == ["dense"] and parents.against(one).empty and parents.rises(one, "magnitude").empty
    none = parents.fixed(evidence.stored("gpu", []), planned, INPUTS)
    assert none.empty and parents.against(none).empty and parents.emptied(none) == ""
    assert parents.both(none, none, CRITERIA).empty and parents.larger(none, none, "diff").empty
    figure = figures.panels(
        none,
        masks.ENDS,
        by="mask",
        x="weights",
        log=("weights",),
        **parents.about(page(), page().own, none, "Children"),
    )
    assert figure.layout.annotations[0].text == "not run at this size yet"


def test_a_child_of_any_ratio_has_the_plan_s_own(made_up):
    odd = {net(BASE): 1, replace(child(BASE), parent=net(11), density=0.6): 1.5}
    for e in odd:
        put(made_up, e, 50)
    assert parents.fixed(evidence.stored("laptop", list(odd)), odd, INPUTS).ratio.tolist() == [1, 1.5]


def test_masks_are_compared_on_the_same_parent_the_first_minus_the_second():
    found = parents.against(table(magnitude=(50, 60, 61, 62), diff=(50, 55, 55, 55), random=(50, 61, 61, 61)))
    assert found.pair.unique().tolist() == list(parents.PAIRS) and len(found) == 27 and set(found.ratio) == set(RATIOS)
    means = found.groupby(["pair", "ratio"]).points.mean()
    assert means["magnitude minus diff"].tolist() == pytest.approx([5, 6, 7])
    assert means["magnitude minus random"].tolist() == pytest.approx([-1, 0, 1])
    assert means["diff minus random"].tolist() == pytest.approx([-6, -6, -6])
    assert set(parents.against(table(magnitude=(1, 2, 3, 4), random=(1, 2, 3, 4))).pair) == {"magnitude minus random"}


def test_the_far_end_is_the_two_largest_ratios_of_the_plan():
    found, pair = table(magnitude=(50, 60, 61, 63), diff=(50, 55, 55, 55)), ("magnitude", "diff")
    assert parents.extreme(found, pair, [1, 2, 4, 8, 8]).tolist() == pytest.approx([7, 7, 7])
    assert parents.extreme(found, pair, [1, 2, 4]).tolist() == pytest.approx([5.5, 5.5, 5.5])
    assert parents.extreme(found, pair, [4, 8, 16]).empty  # the largest is not stored
    lacking = found[~((found.seed == 1) & (found.ratio == 8) & (found["mask"] == "diff"))]
    assert parents.extreme(lacking, pair, [1, 2, 4, 8]).tolist() == pytest.approx([7, 7])
    assert parents.extreme(found, ("diff", "random"), RATIOS).empty


def test_a_rise_is_a_slope_per_doubling_of_the_parent_over_children_alone():
    found = table(magnitude=(90, 52, 54, 56), diff=(10, 49, 48, 47))  # the dense net is no child
    assert parents.rises(found, "magnitude").to_dict() == pytest.approx({0: 2, 1: 2, 2: 2})
    assert parents.rises(found, "diff").tolist() == pytest.approx([-1, -1, -1])
    assert parents.rises(found, "random").empty and parents.rises(found[found.ratio < 8], "diff").empty
    lacking = found[~((found.seed == 0) & (found.ratio == 4) & (found["mask"] == "diff"))]
    assert parents.rises(lacking, "diff").tolist() == pytest.approx([-1, -1])
    assert len(parents.rises(lacking, "magnitude")) == 3
    short = found[~((found.ratio == 8) & (found["mask"] == "diff"))]
    assert parents.rises(short, "diff").empty  # a line that lacks a size has no slope beside one that has it


def test_how_much_larger_a_parent_must_be_is_counted_in_doublings_of_its_weights():
    one = table(magnitude=(50, 0, 0, 100)).assign(test=lambda t: t.test - t.seed / 10)
    other = line(dict.fromkeys((4, 8, 16), 80), [200, 400, 800], along="width").assign(test=80.0)
    assert parents.larger(one, other, "magnitude").tolist() == pytest.approx([1.99] * 3)
    few = parents.larger(one, other[other.seed > 0], "magnitude")
    assert few.to_dict() == pytest.approx({1: 1.99, 2: 1.99})
    apart = other.assign(weights=other.weights * 100)  # no parents that both series share
    assert parents.larger(one, apart, "magnitude").empty and parents.tops(one, apart, "magnitude").empty
    assert parents.larger(one, other, "diff").empty and parents.larger(one, other[:0], "magnitude").empty


def test_the_tops_are_those_of_the_mean_curves_over_the_parents_that_both_have():
    one = table(magnitude=(99, 50, 60, 55))  # the dense net is no child
    other = line({4: 99, 8: 61, 16: 62, 32: 64}, [100, 200, 400, 800], along="width")  # the first is shared by none
    assert parents.tops(one, other, "magnitude").tolist() == pytest.approx([-4] * 3)
    moved = one.assign(test=one.test.where((one.seed != 2) | (one.ratio != 8), 60.5))  # its own best is elsewhere
    assert parents.tops(moved, other, "magnitude").tolist() == pytest.approx([-4] * 3)


def test_both_series_have_a_column_a_mask():
    one, other = table(magnitude=(50, 60, 61, 62), diff=(50, 55, 55, 55)), line({4: 70}, [400], along="width")
    found = parents.both(one, other, ["magnitude", "diff"])
    assert found.groupby("child").size().to_dict() == {"a tenth": 3, "fixed size": 24}
    tenth = found[found.child == "a tenth"]
    assert tenth.magnitude.tolist() == pytest.approx([70, 70.1, 70.2]) and tenth["diff"].isna().all()
    assert found["diff"].notna().sum() == 12 and (found.magnitude.isna() != found["diff"].isna()).all()


def test_the_plane_has_dense_nets_and_children_by_magnitude(made_up):
    planned = [net(BASE), child(BASE), child(BASE, criterion="diff")]
    for e in planned:
        put(made_up, e, 50)
    found = parents.on_plane(evidence.stored("laptop", planned), planned, INPUTS)
    assert found.criterion.tolist() == ["dense", "magnitude"] and found.kept.tolist() == [WEIGHTS, 150]


def test_no_dot_of_the_plane_lies_on_an_axis():
    rows = pd.DataFrame(dict(seed=0, weights=[1_000, 1_000_000], kept=[1_000, 100_000], test=[50.0, 60.0]))
    figure = figures.plane(
        rows, x="weights", y="kept", value="test", labels=dict(weights="w", kept="k", test="t"),
        **page().about("plane", title="Plane", alt="A plane."))  # fmt: skip
    low, high = figure.layout.xaxis.range
    assert low < 3 - 0.05 and high > 6 + 0.05
    assert figure.layout.yaxis.range[0] < 3 - 0.05 and figure.layout.yaxis.range[1] > 5 + 0.05
    assert figure.layout.xaxis.ticktext == ("1,000", "10,000", "100,000", "1,000,000")
    assert figure.layout.yaxis.tickvals == (1_000, 10_000, 100_000)
    narrow = rows.assign(kept=[1_000, 5_000])
    figure = figures.plane(
        narrow, x="weights", y="kept", value="test", labels=dict(weights="w", kept="k", test="t"),
        **page().about("plane", title="Plane", alt="A plane."))  # fmt: skip
    assert figure.layout.yaxis.ticktext == ("1,000", "2,000", "3,000", "5,000")


def test_the_best_child_and_the_best_dense_net_are_means_over_nets():
    rows = [(1000, 1000, 60), (1000, 1000, 62), (9000, 9000, 50), (9000, 900, 70), (9000, 900, 60), (9000, 4500, 66)]
    plane = pd.DataFrame(rows, columns=["weights", "kept", "test"])
    dense = "the best dense net here has 61.0 %, with 1,000 weights."
    assert parents_words.best_of(plane) == f"The best child keeps 4,500 of 9,000 weights (66.0 %); {dense}"
    assert parents_words.best_of(plane[:3]) == f"No child yet; {dense}"
    assert parents_words.best_of(plane[3:]) == "The best child keeps 4,500 of 9,000 weights (66.0 %)."
    assert parents_words.best_of(plane[:0]) == "Not run at this size yet."


def test_verdicts_have_a_part_a_mask_or_pair_with_its_unit(made_up):
    found = table(magnitude=(50, 52, 54, 56), diff=(50, 49, 48, 47)).assign(parent_fit=99.5)
    put(made_up, net(BASE), 50)
    verdicts = parents.verdicts(page([net(BASE)]), found, found[:0], [1, *RATIOS])
    assert verdicts.groupby("claim").unit.first().to_dict() == dict(
        PP1="points per doubling", PP2="points", PP3="doublings", PP4="points"
    )
    assert verdicts.part.tolist() == [
        *(f"{m}, per doubling of the parent" for m in CRITERIA),
        *(f"{pair}, largest parents" for pair in parents.PAIRS),
        *(f"{m}: parent, fixed size over a tenth" for m in CRITERIA),
        *(f"{m}: fixed size minus a tenth, at the top" for m in CRITERIA)]  # fmt: skip
    assert verdicts["values"].map(len).tolist() == [3, 3, 0, 3, 0, 0, *6 * [0]]
    assert set(verdicts.n) == {0}  # of these seeds none was trained after the amendment
    first = verdicts.iloc[0]
    assert first["values"] == pytest.approx([2, 2, 2]) and set(verdicts[verdicts.claim == "PP3"].verdict) == {"not run"}


def test_sentences_have_the_numbers_of_the_tables():
    found = table(magnitude=(50, 52, 54, 56), diff=(50, 49, 48, 47)).assign(emptied=[()] * 24, parent_fit=99.5)
    other = line(dict.fromkeys((4, 8, 16), 80), [100, 400, 800], along="width").assign(test=80.0)
    said = parents_words.sentences(fixed(), INPUTS, found, other, pd.DataFrame())
    far = "magnitude minus diff +7.5 points (+7.5 to +7.5); magnitude minus random not run; diff minus random not run"
    assert said["pairs_read"] == f"Over the two largest parents: {far}."
    assert parents.larger(found, other, "magnitude").tolist() == pytest.approx([1.72, 1.7195, 1.719])
    more = "magnitude +1.7 doublings (+1.7 to +1.7); diff not run; random not run"
    top = "magnitude -23.9 points (-24.1 to -23.7); diff not run; random not run"
    told = f"Fixed size over a tenth: parent at 99 % of the best, {more}; best accuracy, {top}."
    assert said["both_read"] == told
    assert said["fit_read"] == "Parents end with 99.5 to 99.5 % of their training images right."
    assert said["least"] == "12.5"
    ends = (
        "magnitude from 50.1 % to 56.1 %, best 56.1 % at ratio 8",
        "diff from 50.1 % to 47.1 %, best 50.1 % at ratio 1",
    )
    assert (
        said["ends_read"] == f"Test accuracy: {'; '.join(ends)}."
        and said["emptied_read"] == "No mask leaves a layer without weights."
    )
    assert said["biases"] == f"{100 * 4 * (WIDTH[8] - BASE) / WEIGHTS:.1f}" and said["largest"] == "147"


def test_where_nothing_was_run_the_page_says_so():
    none = table(magnitude=(50, 52, 54, 56)).assign(emptied=None, parent_fit=99.5)[:0]
    said = parents_words.sentences(fixed(), INPUTS, none, none, none)
    assert said["ends_read"] == said["plane_read"] == "Not run at this size yet."
    assert said["fit_read"] == "No child has been run at this size yet."
    assert "magnitude not run; diff not run; random not run" in said["both_read"]


@pytest.mark.parametrize("ratio, units", [(1, 6), (4, 12), (16, 24)])
def test_the_toy_spreads_its_connections_over_more_units(ratio, units):
    points, captions = parents.toy([1, 4, 16])
    mine = points[points.ratio == ratio]
    wires = mine[mine.curve == "connection"].to_numpy()[:, 2:].astype(float).reshape(36, 3, 2)
    assert (mine.curve == "unit").sum() == 2 * units and np.isnan(wires[:, 2, 1]).all()
    assert (wires[:, 0, 0] == 0).all() and (wires[:, 1, 0] == 1).all() and len({tuple(w[:2, 1]) for w in wires}) == 36
    ends = (wires[:, :2, 1] * (units - 1)).round(9)
    assert (ends == ends.round()).all() and ends.min() >= 0 and ends.max() <= units - 1
    each = f"{units} units to {units}: each reads {36 / units:.1f} of {units}"
    assert captions.set_index("ratio").caption[ratio] == each
