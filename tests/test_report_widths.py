"""Readings of nets by width, on made-up records with known answers."""

import math

import numpy as np
import pandas as pd
import pytest

from pruning_lab import GradientHistory, GradientSnapshots, Recipe, Train, figures, replace, report
from pruning_lab.report import evidence, widths, widths_words

NET = Train("digits", "mlp", Recipe("adam", lr=1e-3, batch=128, epochs=20), scale="standardised", limit=384)
WIDTHS = (4, 8, 16, 32, 64, 128)


def history(width, seed=0, model="mlp", sample=100, recipe=NET.recipe):
    net = replace(NET, model=model, width=width, seed=seed, recipe=recipe)
    return GradientHistory(GradientSnapshots(net, (0, 1, 2, recipe.epochs), sample))


def at(e, coherence, sd=0.2):
    """Rows of a history: coherences of the whole net at its four epochs, the spread of every layer at the peak."""
    peak = 1 + int(np.argmax(coherence[1:]))
    times = [dict(epoch=n, peak=t == peak, sd=sd if t == peak else 9.0) for t, n in enumerate(e.snapshots.epochs)]
    whole = [row | dict(layer="whole", coherence=c) for row, c in zip(times, coherence, strict=True)]
    return whole + [row | dict(layer=layer, coherence=9.0) for row in times for layer in widths.LAYERS]


@pytest.fixture
def put(made_up):
    """A function that stores a net's end, in its order fit, test and loss, and the history of its gradients."""

    def store(e, fit, test, loss, coherence, **more):
        start = dict(epoch=1, train_accuracy=0.1, test_accuracy=0.1, test_loss=9.0)
        made_up(e.snapshots.net, [start, dict(epoch=20, train_accuracy=fit, test_accuracy=test, test_loss=loss)])
        return made_up(e, at(e, coherence, **more))

    return store


@pytest.fixture
def nets(put):
    """Three seeds of six widths: coherence doubles, the gap grows by two points, then by none; from 16 on all fit."""
    found = []
    for seed in range(3):
        for k, width in enumerate(WIDTHS):
            gap, fit = 0.02 * min(k, 3), 1.0 if k >= 2 else 0.9
            peak, loss = 0.001 * 2**k, 1 + 0.01 * seed if k < 5 else 0.5 * (1 + 0.01 * seed)
            coherence = [5.0, 0.5 * peak, peak, 0.1 * peak]
            found.append(put(history(width, seed), fit, fit - gap, loss, coherence, sd=0.2 / 2**k))
    return evidence.stored("laptop", found)


NOTHING = evidence.Evidence("laptop", (), ())


def page(found):
    return report.Page("05_width", lambda profile: found.experiments if profile == "laptop" else [], "laptop")


def test_a_row_has_the_end_of_the_training_and_the_gradients_at_the_peak(put):
    table = widths.by_width(evidence.stored("laptop", [put(history(8), 0.9, 0.7, 1.5, [5.0, 0.2, 0.4, 0.3], sd=0.3)]))
    row = table.iloc[0]
    assert list(table) == list(widths.COLUMNS) and (row.width, row.seed, row.test_loss) == (8, 0, 1.5)
    assert (row.fit, row.test, row.gap) == pytest.approx((90, 70, 20))
    assert (row.peak, row.when, row["first"]) == pytest.approx((0.4, 2, 0.3))  # epoch 0 does not count
    assert row[list(widths.LAYERS)].tolist() == pytest.approx([0.3 * math.sqrt(100)] * 5)


@pytest.mark.parametrize("sample, images", [(100, 100), (1_000, 384), (None, 384)])
def test_coin_tossing_has_as_many_images_as_were_differentiated(put, sample, images):
    e = put(history(8, sample=sample), 0.9, 0.7, 1.5, [0, 1, 0, 0], sd=1.0)
    table = widths.by_width(evidence.stored("laptop", [e]))
    assert table.fc1.item() == pytest.approx(math.sqrt(images))


def test_in_a_short_training_the_first_epoch_is_its_first_tenth(put):
    short = history(8, recipe=replace(NET.recipe, epochs=5))
    table = widths.by_width(evidence.stored("laptop", [put(short, 0.9, 0.7, 1.5, [0, 0.2, 0.6, 0.1])]))
    assert table["first"].item() == pytest.approx(0.2)


def test_rows_stand_by_width_and_only_fully_connected_nets_have_one(put):
    found = [put(history(w, s), 1, 1, 1, [0, 1, 0, 0]) for s, w in ((1, 8), (0, 8), (0, 4))]
    found.append(put(history(4, model="vit"), 1, 1, 1, [0, 1, 0, 0]))
    table = widths.by_width(evidence.stored("laptop", found))
    assert table[["width", "seed"]].to_numpy().tolist() == [[4, 0], [8, 0], [8, 1]]
    assert widths.whole(evidence.stored("laptop", found)).seed.tolist() == [0, 0]


def test_slopes_are_per_doubling_one_a_seed(nets):
    table = widths.whole(nets)
    assert widths.peaks(table)["peak"].to_dict() == pytest.approx(dict.fromkeys(range(3), math.log(2)))
    first = widths.peaks(table)["mean of the first tenth of the training"]
    assert first.tolist() == pytest.approx([math.log(2)] * 3)
    falling = widths.spreads(table)
    assert list(falling) == list(widths.LAYERS)
    assert falling["out"].tolist() == pytest.approx([math.log(2)] * 3)
    level, rising = widths.gaps(table).values()
    assert level.tolist() == pytest.approx([0] * 3)
    assert rising.tolist() == pytest.approx([1.5] * 3)  # two points, half a point of which is level
    assert widths.accuracies(table)["test accuracy at the end of training"].index.tolist() == [0, 1, 2]


@pytest.mark.parametrize("count, wide, narrow", [(2, [4, 8], [4, 8]), (6, [64, 128], [4, 8]), (1, [4], [4])])
def test_a_third_has_two_widths_at_least(count, wide, narrow):
    table = pd.DataFrame(dict(width=WIDTHS[:count], seed=0))
    assert widths.third(table, widest=True).width.tolist() == wide
    assert widths.third(table, widest=False).width.tolist() == narrow


def test_a_third_of_nine_widths_are_three():
    table = pd.DataFrame(dict(width=range(1, 10), seed=0))
    assert widths.third(table, widest=True).width.tolist() == [7, 8, 9]


def test_the_loss_is_compared_with_the_narrowest_width_whose_nets_all_fit(nets):
    table, part = widths.whole(nets), widths.LOSSES[1]
    assert widths.losses(table)[part].tolist() == pytest.approx([math.log(2)] * 3)  # the widest has the lower loss
    later = table.assign(test_loss=table.test_loss.where(table.width != 32, 4 * table.test_loss))
    one_short = later.assign(fit=later.fit.mask((later.width == 16) & (later.seed == 1), 98.9))
    assert widths.losses(one_short)[part].tolist() == pytest.approx([math.log(8)] * 3)
    for none in (table.assign(fit=98.0), table[table.width == 128]):
        assert widths.losses(none)[part].empty


def test_the_loss_over_all_widths_is_read_off_a_line_of_seeds_whose_nets_all_fit(put):
    found = []
    for seed, fit in enumerate((1.0, 1.0, 0.98), 10):  # trained after the amendment
        for k, width in enumerate(WIDTHS):
            e = put(history(width, seed), fit if k == 0 else 1.0, 0.5, 3.0**k * (seed - 9), [0, 1, 0, 0])
            found.append(e)
    table = widths.whole(evidence.stored("laptop", found))
    assert widths.unfitted(table) == [12]
    end, _, lowest = widths.losses(table).values()
    assert end.to_dict() == pytest.approx({10: -5 * math.log(3), 11: -5 * math.log(3)})  # rising is below zero
    # the first epoch's loss is 9: the lowest of any epoch stops there
    logs = [min(k, 2) * math.log(3) for k in range(6)]
    expected = -5 * np.polyfit(range(6), logs, 1)[0]
    assert lowest[10] == pytest.approx(expected)
    judged = widths.judged(page(evidence.stored("laptop", found)), table, NOTHING)
    rows = judged[judged.claim == "WI1"].set_index("part")
    assert rows.verdict[widths.LOSSES[0]] == "not in reach"
    assert rows.reason[widths.LOSSES[0]] == "1 of 3 nets did not get there"


def test_that_the_gap_levels_off_is_out_of_reach_of_nets_narrower_than_the_source_s(nets):
    judged = widths.judged(page(nets), widths.whole(nets), NOTHING)
    rows = judged[judged.claim == "WI2"].set_index("part")
    assert rows.verdict.tolist() == ["not in reach"] * 2  # a climb alone is not half of a levelling off
    assert set(rows.overall) == {"not in reach"}
    assert rows.reason.tolist() == ["3 of 3 nets did not get there"] * 2
    wide = widths.whole(nets).assign(width=lambda table: 16 * table.width)
    rows = widths.judged(page(nets), wide, NOTHING).query("claim == 'WI2'")
    assert rows.n.tolist() == [0, 0]
    assert rows["values"].map(len).tolist() == [3, 3]


def test_deep_nets_stand_over_the_widest_of_their_own_seed(nets, put):
    wide = 0.001 * 2**5
    deep = [put(history(2, seed, "resnet50_cifar"), 1, 1, 1, [9, 3 * wide, wide, 0]) for seed in (0, 2, 7)]
    both = evidence.stored("laptop", [*nets.experiments, *deep])
    assert widths.over_widest(both, "resnet50_cifar").to_dict() == pytest.approx({0: math.log(3), 2: math.log(3)})
    resnet, vit = widths.deeper(both).values()
    assert resnet.tolist() == pytest.approx([math.log(3)] * 2)
    assert vit.empty
    assert widths.has_deep(both) and not widths.has_deep(nets) and not widths.has_deep(NOTHING)
    assert widths.over_widest(evidence.stored("laptop", deep), "resnet50_cifar").empty


def test_the_source_s_stem_comes_before_the_small_one(nets, put):
    wide = 0.001 * 2**5
    deep = [
        put(history(2, 0, model), 1, 1, 1, [0, k * wide, 0, 0]) for k, model in ((3, "resnet50_cifar"), (2, "resnet50"))
    ]
    both = evidence.stored("laptop", [*nets.experiments, *deep])
    assert widths.deeper(both)["ResNet50 over the widest"].tolist() == pytest.approx([math.log(2)])


def test_nothing_that_was_run_gives_empty_parts_and_sentences_that_say_so(store_folder):
    every = widths.whole(NOTHING)
    judged = widths.judged(page(NOTHING), every, NOTHING)
    assert set(judged.verdict) == {"not run"}
    assert judged.claim.unique().tolist() == ["WI1", "WI2", "WI3", "WI4", "WI5", "WI7"]
    assert widths.puzzle(every).empty
    told = widths_words.sentences(every)
    assert told["puzzle_read"] == told["loss_read"] == "Not run at this size yet."
    about = widths.about(page(NOTHING), NOTHING, "ends", "the end", widths.ENDS)
    drawn = figures.panels(every, widths.ENDS, by="net", x="width", **about)
    assert drawn.layout.annotations[0].text == "not run at this size yet"


def test_a_single_width_has_no_slope(put):
    every = widths.whole(evidence.stored("laptop", [put(history(8), 1, 0.9, 1, [0, 1, 0, 0])]))
    assert all(values.empty for values in [*widths.peaks(every).values(), *widths.losses(every).values()])
    assert widths_words.same_way(every).startswith("Of 0 steps to the next width, 0 raise the coherence")


def test_the_puzzle_has_the_means_of_each_width_as_text(nets):
    table = widths.puzzle(widths.by_width(nets))
    assert list(table) == ["width", *(words for words, _ in widths.PUZZLE.values()), "nets"]
    assert table.iloc[-1].tolist() == ["128", "0.032", "2", "0.024", "6.0", "94.0", "100.0", 3]


def test_sentences_have_the_numbers_of_the_records(nets):
    told = widths_words.sentences(widths.by_width(nets))
    assert told["ends_read"] == "From width 4 to 128, test accuracy goes from 90.0 to 94.0 %."
    loss = "From width 4 to 128, the test loss at the end goes from 1.0 to 0.5; the lowest of any epoch goes from "
    assert told["loss_read"] == loss + "1.0 to 0.5."
    spread = "the spread of the first layer's diffs goes from 2.0 to 0.1"
    assert told["gradients_read"] == f"From width 4 to 128, {spread} times that of coin tossing."
    assert told["when_read"] == "From width 4 to 128, the epoch of the peak goes from 2 to 2."
    assert told["steps_read"].startswith("Of 5 steps to the next width, 5 raise the coherence and ")
    numbers = widths_words.numbers(widths.whole(nets))
    assert numbers["peak"] == "100"
    assert numbers["until"] == "up to 16 units a layer and hardly beyond"  # 90, 88, 96, 94, 94, 94: the best is there
    rising = widths.by_width(nets)
    assert widths_words.until(rising.assign(test=rising.width)) == "with every width"
    level = rising.assign(test=rising.width.map({4: 90.0, 8: 95.6}).fillna(96.0))  # 0.4 points are hardly a rise
    assert widths_words.until(level) == "up to 8 units a layer and hardly beyond"
    assert numbers["points"] == "1.0"  # 90, 88, 96, 94, 94, 94 by a straight line


def test_steps_of_coherence_and_gap_are_counted_by_their_direction():
    peak, gap = [1.0, 2.0, 3.0, 2.0], [1.0, 2.0, 1.0, 0.0]
    table = pd.DataFrame(dict(net="a", seed=0, width=[4, 8, 16, 32], peak=peak, gap=gap))
    said = "Of 3 steps to the next width, 2 raise the coherence and 1 the gap; 2 move both the same way."
    assert widths_words.same_way(table) == said


def test_deep_nets_that_lack_are_named_too(nets, put):
    assert nets.few() == "Every line has at least three nets."
    both = evidence.stored("laptop", [*nets.experiments, put(history(2, 0, "vit"), 1, 1, 1, [0, 1, 0, 0])])
    assert both.few() == "Fewer than three nets: vit-digits (2 wide): 1 of 3."


def test_a_figure_says_its_data_and_the_run_that_it_shows(nets):
    told = widths.about(page(nets), nets, "ends", "the end of training", widths.ENDS)
    assert told["title"] == "Fully-connected nets, digits: the end of training" and told["file"] == "ends-laptop.csv"


@pytest.mark.parametrize(
    "peak, gap, said",
    [
        (1, 1, "In our nets both rise together, as in the source: with width, coherence rises and the gap rises."),
        (-1, -1, "In our nets both fall together: with width, coherence falls and the gap falls."),
        (-1, 1, "In our nets the puzzle runs the other way: with width, coherence falls and the gap rises."),
        (1, -1, "In our nets the puzzle runs the other way: with width, coherence rises and the gap falls."),
        (
            0,
            1,
            "Which way the puzzle runs in our nets is open: with width, coherence does neither for sure and the gap",
        ),
        (
            1,
            0,
            "Which way the puzzle runs in our nets is open: with width, coherence rises and the gap does neither for",
        ),
    ],
)
def test_a_sentence_says_which_way_the_puzzle_runs(peak, gap, said):
    rows = [
        dict(
            net="", width=2**k, seed=s, peak=np.exp(0.1 * s * k + (peak or s - 1) * k), gap=k * (s + 5 * (gap or s - 1))
        )
        for s in range(3)
        for k in range(3)
    ]
    assert widths_words.puzzled(pd.DataFrame(rows)).startswith(said)


def test_of_two_nets_no_puzzle_is_told():
    rows = [dict(net="", width=w, seed=s, peak=w, gap=w) for s in range(2) for w in (4, 8)]
    assert widths_words.puzzled(pd.DataFrame(rows)) == (
        "Which way the puzzle runs in our nets is open: with width, coherence is known of too few nets and the gap is "
        "known of too few nets."
    )
    assert widths_words.puzzled(widths.by_width(NOTHING)) == "Not run at this size yet."


def test_how_many_nets_fit_is_counted(nets):
    assert widths_words.fitted(widths.by_width(nets)) == "Of 18 nets 12 get 99 % of their training images right."
