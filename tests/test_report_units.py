"""Readings of what units are worth, on made-up records with known answers."""

import numpy as np
import pandas as pd
import pytest

from pruning_lab import Recipe, Train, UnitCurve, UnitImportance, figures, replace, report
from pruning_lab.report import claims, evidence, live, units, units_words
from pruning_lab.report import verdicts as rules
from pruning_lab.running import chapters

NET = Train("digits", "lenet_300_100", Recipe(lr=0.1, iterations=4), width=4)
FC1, CONV = ("lenet_300_100", "fc1"), ("conv_2", "conv2")
WHERE = [FC1, ("conv_2", "fc1"), CONV]
LINES = {  # five cuts, from none to all of four units
    ("norm", "lowest"): [0.9, 0.9, 0.8, 0.5, 0.1],  # mean 64 points
    ("norm", "highest"): [0.9, 0.1, 0.1, 0.1, 0.1],
    ("frame_potential", "lowest"): [0.9, 0.7, 0.5, 0.3, 0.1],  # 50
    ("frame_potential", "highest"): [0.9, 0.4, 0.2, 0.1, 0.1],  # 34
    ("random", "lowest"): [0.9, 0.6, 0.4, 0.4, 0.1],  # 48
}


def rows(lift=0.0, leave_out=()):
    """The curves above, that by norm, lowest first, lifted at every cut."""
    lifted = {order: [x + lift * (order == ("norm", "lowest")) for x in line] for order, line in LINES.items()}
    return [
        dict(criterion=criterion, remove=remove, repeat=0, removed=k, accuracy=accuracy, loss=1.0)
        for (criterion, remove), line in lifted.items() if criterion not in leave_out for k, accuracy in enumerate(line)
    ]  # fmt: skip


def curve(seed, where=FC1, dataset="digits", **choice):
    return UnitCurve(replace(NET, model=where[0], dataset=dataset, seed=seed, **choice), where[1])


@pytest.fixture
def three(made_up):
    """Three nets of LeNet whose curves by norm differ by two points."""
    return evidence.stored("laptop", [made_up(curve(seed), rows(0.02 * seed)) for seed in range(3)])


def page(found, **given):
    plans = {found.profile: found.experiments}
    return report.Page("01_frame_potential", lambda profile: plans.get(profile, []), "laptop", **given)


def test_a_claim_is_the_mean_of_its_better_curve_minus_that_of_its_worse_one(three):
    found = {claim: units.parts(three, [FC1, CONV], claim) for claim in units.CLAIMS}
    assert found["FP1"]["LeNet fc1"].to_dict() == pytest.approx({0: 14, 1: 16, 2: 18})
    assert found["FP1"]["Conv-2 conv2"].empty and found["FP1"][units.LIVE].empty
    assert found["FP2"]["LeNet fc1"].tolist() == pytest.approx([2, 2, 2])
    assert found["FP3"]["LeNet fc1"].tolist() == pytest.approx([14, 14, 14])


def test_a_net_that_lacks_one_of_both_curves_is_left_out(made_up):
    nets = [made_up(curve(seed), rows(0.02 * seed, ["norm"] if seed == 1 else [])) for seed in range(3)]
    table = units.curves(evidence.stored("laptop", nets), *FC1)
    assert units.difference(table, "FP1").to_dict() == pytest.approx({0: 14, 2: 18})
    assert len(units.difference(table, "FP2")) == 3
    assert units.difference(table[table.criterion == "norm"], "FP1").empty


def test_halves_share_the_cut_in_the_middle_and_say_where_nothing_was_run(three):
    first, second = pytest.approx(100 * (0.1 + 0.1) / 3), pytest.approx(100 * (0.1 - 0.1) / 3, abs=1e-9)
    table = units.curves(three, *FC1)
    assert units.difference(table, "FP2", 0.0, 0.5)[0] == first
    assert units.difference(table, "FP2", 0.5, 1.0)[0] == second
    told = units.halves(three, WHERE).set_index("share minus random, points")
    assert told.index.tolist() == ["Conv-2 conv2", "Conv-2 fc1", "LeNet fc1"]
    assert told.loc["LeNet fc1", "first half of the units"] == "+6.7 (+6.7 to +6.7)"
    assert told.loc["Conv-2 fc1"].tolist() == ["not run", "not run"]


def test_nets_made_another_way_are_not_among_the_curves(made_up):
    nets = [made_up(curve(0), rows()), made_up(curve(1, init="glorot"), rows(0.5))]
    found = evidence.stored("laptop", nets)
    assert units.difference(units.curves(found, *FC1), "FP1").tolist() == pytest.approx([14])
    assert units.difference(units.curves(found, *FC1, init="glorot"), "FP1").tolist() == pytest.approx([64])
    assert list(units.panels(found, [FC1, CONV])) == ["LeNet fc1, digits", "Conv-2 conv2"]


OTHERS = {"Glorot's initialisation": dict(init="glorot"), "standardised pixels": dict(scale="standardised")}


def test_a_choice_moves_curves_by_the_other_minus_ours_on_the_same_seeds(made_up):
    nets = [made_up(curve(seed), rows(0.02 * seed)) for seed in range(3)]
    nets += [made_up(curve(seed, init="glorot"), rows(0.1)) for seed in (1, 2, 3)]
    found = evidence.stored("laptop", nets)
    table = units.shifts(found, OTHERS, FC1)
    names = ("norm", "frame potential", "random")
    assert table.label.tolist() == [f"Glorot's initialisation: {name}" for name in names]
    assert table["values"][0] == pytest.approx([8, 6])
    assert table["values"][1] == pytest.approx([0, 0])
    assert table.n.tolist() == [2, 2, 2] and table["mean"][0] == pytest.approx(7)
    told = units.choices(found, OTHERS, FC1)
    assert told["LeNet fc1"].tolist() == ["as above", *OTHERS]
    assert told.nets.tolist() == [3, 3, 0]
    assert told.FP1.tolist() == ["+16.0 (+11.0 to +21.0)", "+24.0 (+24.0 to +24.0)", "not run"]


def test_where_nothing_was_run_no_choice_has_a_shift(store_folder):
    nothing = evidence.Evidence("laptop", (), ())
    assert units.shifts(nothing, OTHERS, FC1).empty
    assert units.choices(nothing, OTHERS, FC1).nets.tolist() == [0, 0, 0]


def importance(made_up, seed, worth, where=FC1):
    norm, share = [1.0, 2.0, 3.0, 4.0, 5.0], [0.1, 0.3, 0.2, 0.5, 0.4]
    table = pd.DataFrame(dict(unit=range(5), norm=norm, share=share, loss_increase=worth, accuracy_drop=0.0))
    return made_up(UnitImportance(replace(NET, seed=seed, model=where[0]), where[1]), table)


def test_rank_correlations_with_and_without_the_norm(made_up):
    worth = [[2.0, 1.0, 3.0, 4.0, 5.0], [5.0, 4.0, 3.0, 2.0, 1.0]]
    found = evidence.stored("laptop", [importance(made_up, seed, w) for seed, w in enumerate(worth)])
    ranked = units.ranks(found, [FC1, CONV])
    table = ranked["LeNet fc1"]
    assert table["share and norm"].tolist() == pytest.approx([0.8, 0.8])  # 1 - 6 (1 + 1 + 1 + 1) / (5 * 24)
    assert table["norm and worth"].tolist() == pytest.approx([0.9, -1])
    assert table["share and worth"].tolist() == pytest.approx([0.6, -0.8])  # 8 in place of the 4
    assert table[units.NORM_HELD][0] == pytest.approx((0.6 - 0.8 * 0.9) / (0.36 * 0.19) ** 0.5)
    assert table[units.NORM_HELD].isna().tolist() == [False, True]  # worth that follows the norm leaves nothing
    assert ranked["Conv-2 conv2"].empty and list(ranked["Conv-2 conv2"]) == list(table)
    told = units.averages(ranked)
    assert told["rank correlation of"].tolist() == ["LeNet fc1"]
    assert told["norm and worth"].tolist() == pytest.approx([-0.05])
    assert units.averages({"Conv-2 conv2": ranked["Conv-2 conv2"]}).empty


def test_the_units_of_one_net_are_those_of_its_seed(made_up):
    nets = [importance(made_up, seed, [float(seed)] * 5) for seed in range(2)]
    found = evidence.stored("laptop", nets)
    assert units.worth(found, *FC1).loss_increase.tolist() == [0.0] * 5
    assert units.worth(found, *FC1, seed=1).loss_increase.tolist() == [1.0] * 5
    assert units.worth(found, *CONV).empty


def test_angles_are_judged_raw_with_the_length_held_and_among_live_units(made_up):
    where, found = ("conv_2", "fc1"), []
    for seed, worth in enumerate([[0.0, 0.0, 1.0, 3.0, 2.0], [0.0, 1.0, 3.0, 4.0, 2.0]], 10):
        found.append(importance(made_up, seed, worth, where))
    parts = units.angles(evidence.stored("laptop", found), [where])
    assert list(parts) == ["Conv-2 fc1", "Conv-2 fc1, length held", units.LIVE]
    assert parts["Conv-2 fc1"].index.tolist() == [10, 11]
    assert parts["Conv-2 fc1"][11] == pytest.approx(0.7)  # shares' ranks 1 3 2 5 4, worths' 1 2 4 5 3
    assert parts[units.LIVE].to_dict() == pytest.approx({10: 1.0, 11: 0.4})  # without the unit, or the two, worth 0
    assert parts["Conv-2 fc1, length held"][11] == pytest.approx((0.7 - 0.8 * 0.7) / (0.36 * 0.51) ** 0.5)


def test_the_curve_of_live_units_leaves_out_the_cuts_that_change_nothing(made_up):
    losses = [1.0, 1.0, 1.5, 1.5, 2.0]  # the first and third unit never fire
    lines = {("norm", "lowest"): [0.9, 0.9, 0.6, 0.6, 0.3], ("frame_potential", "lowest"): [0.9, 0.9, 0.3, 0.3, 0.3]}
    table = [
        dict(criterion=criterion, remove=remove, repeat=0, removed=k, accuracy=accuracy, loss=losses[k])
        for (criterion, remove), line in lines.items() for k, accuracy in enumerate(line)
    ]  # fmt: skip
    found = evidence.stored("laptop", [made_up(curve(3, units.MANY_DEAD), table)])
    left = live.moving(units.curves(found, *units.MANY_DEAD)).query("criterion == 'norm'")
    assert left.removed.tolist() == [0, 1, 2] and left.accuracy.tolist() == [0.9, 0.6, 0.3]
    parts = units.parts(found, [units.MANY_DEAD], "FP1")
    assert parts["Conv-2 fc1"].to_dict() == pytest.approx({3: 100 * (0.3 + 0.3) / 5})
    assert parts[units.LIVE].to_dict() == pytest.approx({3: 10})


def test_half_of_the_units_are_gone_in_the_middle(three, made_up):
    table = units.curves(three, *FC1)
    assert units.half(table).to_dict() == pytest.approx({"norm": 82, "frame_potential": 50, "random": 40})
    whole = 100 * (5 * 0.9 + 0.02) / 5
    assert units.left(table) == (
        f"The nets start at {whole:.1f} %. With half of the units gone, 82.0 % is left by norm, "
        "50.0 % by share of the frame potential and 40.0 % in random order."
    )
    assert units.left(table[table.criterion != "norm"]) == units.left(pd.DataFrame()) == units.NOT_RUN


def read_off(seeds=5):
    """Curves of figure 2a: straight lines between the points that were read off it, to 10 % where nothing is left.

    Nets differ by a tenth of a point: the figure has one.
    """
    rows = []
    for order, points in units.crosses().items():
        criterion, remove = order.split("/")
        at = {0: evidence.reference("heitmann_lenet_fc1")["dense"]} | points | {300: 10.0}
        line = np.interp(np.arange(301), list(at), list(at.values())) / 100
        for seed in range(10, 10 + seeds):
            lift = 0.001 * (seed - 12) * (criterion == "norm") + 0.0005 * (seed - 12) * (remove == "highest")
            told = dict(criterion=criterion, remove=remove, repeat=0, seed=seed, loss=1.0)
            rows += [told | dict(removed=k, accuracy=accuracy + lift) for k, accuracy in enumerate(line)]
    table = pd.DataFrame(rows)
    noisy = table.accuracy + 0.001 * (table.seed - 12) * (table.criterion == "random")
    return table.assign(accuracy=noisy)


@pytest.mark.parametrize("claim, word", [("FP1", "reproduced"), ("FP2", "not reproduced"), ("FP3", "reproduced")])
def test_the_source_s_own_figure_comes_out_as_its_text_says_but_where_they_disagree(claim, word):
    """Figure 2a has smallest share first below random; the text says above: the claim's note, and the page, say so."""
    judged = rules.judge(claim, {"LeNet fc1": units.difference(read_off(), claim)})
    assert judged.verdict.iloc[0] == word
    assert "disagree" in claims.load()["FP2"].note


def test_the_source_s_text_on_angles_comes_out(made_up):
    """Its text: smallest share first is harmless, largest first does damage. So a unit's worth rises with its share."""
    found = [importance(made_up, seed, [1.0, 3.0, 2.0, 5.0, 4.0 + seed / 100]) for seed in range(10, 15)]
    lone = units.angles(evidence.stored("laptop", found), [FC1])["LeNet fc1"]
    noisy = lone - 0.01 * (lone.index.to_numpy() - 10)  # the spread of five nets
    assert rules.judge("FP4", {"LeNet fc1": noisy}).verdict.iloc[0] == "reproduced"


def test_published_crosses_are_named_as_our_orders():
    found, read = units.crosses(), evidence.reference("heitmann_lenet_fc1")["accuracy_after_removing"]
    assert set(found) == {f"{criterion}/{remove}" for criterion, remove in units.THEIRS.values()}
    assert found["norm/lowest"] == read["max_mag"]
    assert found["frame_potential/highest"] == read["min_fp"]


def test_a_gap_is_the_published_point_minus_our_line(three):
    table = units.curves(three, *FC1)
    assert units.gap(table, "frame_potential/lowest", {1: 71.0, 2: 53.0}) == pytest.approx(2)
    assert units.gap(table, "norm/highest", {3: 9.0}) == pytest.approx(-1)


def test_gaps_name_every_published_order(three, monkeypatch):
    monkeypatch.setattr(units, "crosses", lambda: {"norm/lowest": {0: 92.0}, "random/lowest": {1: 50.0}})
    lines = figures.line_name("norm", "lowest"), figures.line_name("random", "lowest")
    said = f" The source's points minus our lines, averaged: {lines[0]} +0.0; {lines[1]} -10.0 points."
    assert units.gaps(units.curves(three, *FC1)) == said
    assert units.gaps(pd.DataFrame()) == ""


def judged(found, **given):
    judge = page(found, **given).judge
    return pd.concat([*(judge(claim, units.parts(found, WHERE, claim)) for claim in units.CLAIMS), judge("FP4", {})])


def test_sentences_have_the_numbers_of_the_records(three):
    told = units.sentences(page(three), WHERE)
    assert "82.0 % is left by norm" in told["lenet_read"] and told["fc1_read"] == told["conv2_read"] == units.NOT_RUN
    assert (told["crosses"], told["held_out"]) == ("", "100")
    assert told["own_note"].startswith("Compare the order of the lines")
    assert units.sentences(page(three, dataset="digits"), WHERE)["own_note"] == ""


def test_only_the_source_s_own_nets_are_held_against_its_figure(made_up, monkeypatch):
    monkeypatch.setattr(units, "crosses", lambda: {"norm/lowest": {2: 85.0}})
    found = evidence.stored("night", [made_up(curve(seed, dataset="mnist"), rows(0.02 * seed)) for seed in range(3)])
    told = units.sentences(page(found), WHERE)
    assert told["lenet_read"].endswith(f"averaged: {figures.line_name('norm', 'lowest')} +3.0 points.")
    assert told["crosses"].startswith("The crosses were read off") and told["held_out"] == "5,000"


def test_what_was_not_run_has_no_numbers(store_folder):
    nothing = evidence.Evidence("laptop", (), ())
    assert units.sentences(page(nothing), WHERE)["lenet_read"] == units.NOT_RUN
    told = units_words.sentences(nothing, WHERE)
    assert told == dict(lenet_best="", fc1_best="", conv2_best="", dead_read=units.NOT_RUN, conv2_reversed="")
    assert units_words.stretch(nothing) == 0 and set(units_words.lively(nothing)["all cuts"]) == {"not run"}


def test_units_that_never_fire_are_counted_net_by_net(made_up):
    where = units.MANY_DEAD
    worth = [[0.0, 0.0, 1.0, -1.0, 2.0], [0.0, 1.0, 1.0, 1.0, 1e-9]]
    found = evidence.stored("laptop", [importance(made_up, seed, w, where) for seed, w in enumerate(worth)])
    assert units_words.deaths(found, WHERE) == (
        "Units that change no test loss when they go, net by net: 2, 1 of 5 in Conv-2 fc1."
    )
    assert units_words.stretch(found) == 1
    numbers = units_words.numbers(found, judged(found))
    assert (numbers["dead"], numbers["nets"]) == ("30", "0")


def test_differences_of_live_units_stand_beside_those_of_all(made_up):
    losses = [1.0, 1.0, 1.0, 1.5, 2.0]  # the first two cuts of these orders take units that never fire
    table = [row | dict(loss=losses[row["removed"]]) for row in rows()]
    told = units_words.lively(evidence.stored("laptop", [made_up(curve(3, units.MANY_DEAD), table)]))
    assert told["Conv-2 fc1, points"].tolist() == list(units_words.DIFFERENCES.values())
    assert told["all cuts"].tolist() == ["+14.0", "+2.0", "+14.0"]
    assert told["cuts of live units"].tolist() == ["+6.7", "-3.3", "+10.0"]  # cuts 0, 3 and 4


def test_the_best_criterion_and_a_reversal_are_named(three):
    table = units.curves(three, *FC1)
    assert units_words.best(table) == (
        "Of all criteria, norm leaves most with half gone (82.0 %), norm most over all cuts."
    )
    assert units_words.reversal(table) == (
        "Largest share first minus smallest norm first: -32.0 (-37.0 to -27.0) points over all cuts."
    )
    assert units_words.reversal(table[table.criterion == "norm"]) == ""


def test_the_answer_has_the_numbers_of_the_nets(made_up):
    where = units.MANY_DEAD
    found = [made_up(curve(seed, one), rows(0.002 * seed)) for seed in range(5) for one in (FC1, where)]
    found += [importance(made_up, seed, [0.0, 0.0, 1.0, 2.0, 3.0], where) for seed in range(5)]
    found = evidence.stored("laptop", found)
    told = report.answer(table_of_answers(), judged(found), **units_words.numbers(found, judged(found)))
    assert told.startswith(
        "Not angles: in 5 LeNets, removing short vectors first beats removing unusual ones by 14 points."
    )
    assert told.endswith(
        "In a convolutional net's dense layer, where 40 % never fire, open: all nets gave one number."
    )


def table_of_answers():
    names = {}
    for cell in chapters.read(chapters.chapter("01_frame_potential"))["cells"]:
        if (source := "".join(cell["source"])).startswith("ANSWER = {"):
            exec(source, names)
    return names["ANSWER"]


def test_the_printed_numbers_of_weights_stand_beside_those_of_the_layers():
    table = units.sizes().set_index("net")
    assert table["its layers have"]["lenet_300_100"] == 784 * 300 + 300 * 100 + 100 * 10
    told = units.size_words()
    assert told["vgg_head"] == f"{2 * 512 * 512:,}"
    assert told["vgg_short"] == f"{table['its layers have']['vgg19'] - 2 * 512 * 512:,}"
    assert told["conv6_more"] == f"{100 * table['its layers have']['conv_6'] / 1.7e6 - 100:.0f}"


def test_a_figure_of_curves_says_which_layer_and_data(three):
    told = units.about(page(three), *FC1)
    assert (told["title"], told["file"]) == ("Test accuracy as units go: LeNet fc1, digits", "lenet_300_100-fc1.csv")
    assert units.about(page(three), *CONV)["title"] == "Test accuracy as units go: Conv-2 conv2"


def test_the_toy_says_what_its_shares_do():
    shares = np.array([[1.0, 1.0, 3.0], [2.0, 1.5, 2.0], [1.5, 3.0, 3.0]])
    assert units_words.turned([0, 5, 10], shares) == dict(
        toy_read="From 0° to 5°, where the first vector's share is largest, it goes from 1.0 to 2.0; of the other 2 "
        "shares 1 rise with it."
    )


def test_at_night_five_nets_of_each_kind_have_curves_and_the_earlier_conv_2_count_among_them():
    planned = chapters.plan("01", "night")
    curves = {(e.parent.model, e.parent.seed) for e in planned if isinstance(e, UnitCurve)}
    alone = {(e.parent.model, e.parent.seed) for e in planned if isinstance(e, UnitImportance)}
    assert {seed for model, seed in curves if model == "conv_2"} == {0, 1, 2, 10, 11}
    assert {seed for model, seed in curves if model == "lenet_300_100"} == {0, 1, 2, 3, 4}
    assert {(model, seed) for model in ("conv_2", "lenet_300_100") for seed in range(10, 15)} <= alone
