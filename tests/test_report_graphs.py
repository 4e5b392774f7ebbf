"""Readings of layers while they train, on made-up records with known answers."""

import numpy as np
import pandas as pd
import pytest

from pruning_lab import LayerGraph, LayerStructure, Recipe, Snapshots, Train, UnitCurve, replace, report
from pruning_lab.report import evidence, graphs, graphs_words, verdicts
from pruning_lab.running import chapters

RECIPE = Recipe(lr=0.1, iterations=4)
NET = Train("digits", "lenet_300_100", RECIPE, width=4)
LENET, VGG = ("lenet_300_100", "fc1"), ("vgg19_bn", "conv16")
START = dict(
    pairs=0.01,
    component=0.1,
    largest=0.1,
    modularity=0.2,
    communities=2,
    spread=0.1,
    norm=1.0,
    crowding=0.0,
    agreement=0.1,
)
END = START | dict(pairs=0.21, component=0.9, modularity=0.7, spread=0.3, norm=1.5, crowding=0.4, agreement=0.4)


def structure(seed, model="lenet_300_100", **settings):
    init, settings = settings.pop("init", "default"), settings
    net = replace(NET, seed=seed, model=model, init=init, image_size=32 if model == "vgg19_bn" else None)
    layer = dict((LENET, VGG))[model]
    return LayerStructure(Snapshots(net, (layer,), (0, 4)), layer, **settings)


def rows(shift=0.0, null=0.0, spectrum=None):
    """Trained weights that gain 20, 80, 50 and 20 hundredths; the permuted ones gain `null` in each.

    spectrum: what those of the same spectrum gain, and then 3 of the trained ones' pairs are opposite in the end.
    """
    if spectrum is not None:
        own = {
            (kind, t): row | dict(opposite=0.03 * (kind == "trained" and t > 0)) for kind, t, row in told(shift, null)
        }
        gained = {c: START[c] + spectrum for c in ("pairs", "modularity", "spread")} | dict(opposite=spectrum)
        own |= {("spectrum", 0): START | dict(opposite=0.0), ("spectrum", 4): START | gained}
        return written(own)
    return written({(kind, t): row for kind, t, row in told(shift, null)})


def told(shift, null):
    """What the trained and the permuted weights of one net have: kind, iteration, numbers."""
    moved = {column: START[column] + null for column in ("pairs", "component", "modularity", "spread")}
    ends = {("trained", 0): START, ("trained", 4): END | dict(crowding=END["crowding"] + shift)}
    ends |= {("permuted", 0): START, ("permuted", 4): START | moved}
    return [(*place, found) for place, found in ends.items()]


def written(ends):
    """Rows of a record from kind and iteration -> numbers."""
    return [dict(iteration=t, epoch=t, accuracy=0.5, weights=weights) | found for (weights, t), found in ends.items()]


@pytest.fixture
def three(made_up):
    """Three nets whose trained layer gains the same and whose crowding differs."""
    nets = [made_up(structure(seed), rows((seed - 1) / 100, 0.1)) for seed in range(3)]
    return evidence.stored("laptop", nets)


def page(found):
    return report.Page("02_force_graph", lambda profile: found.experiments if profile == "laptop" else [], "laptop")


def test_a_gain_is_the_rise_above_the_null_in_hundredths(three):
    table = graphs.history(three, *LENET)
    for column, gained in dict(pairs=20, component=80, modularity=50, spread=20).items():
        assert graphs.gain(table, column, "permuted").to_dict() == pytest.approx(dict.fromkeys(range(3), gained - 10))
    assert graphs.growth(table).to_dict() == pytest.approx(dict.fromkeys(range(3), 50))
    assert graphs.gain(table, "modularity").empty, "records without random rows of their spectrum have no such gain"


def test_gains_of_nets_with_both_nulls_are_above_the_one_that_the_part_names(made_up):
    nets = [made_up(structure(0), rows(null=0.1))]
    nets += [made_up(structure(seed, null="spectrum"), rows(null=0.1, spectrum=0.05)) for seed in (10, 11)]
    found = graphs.parts(evidence.stored("laptop", nets), *LENET, graphs.GAINS, grows=True)
    each = {name.partition(": ")[2]: values.to_dict() for name, values in found.items()}
    assert each["more pairs near than opposite"] == pytest.approx(
        {10: 20 - 3, 11: 20 - 3}
    )  # the null's tails are equal
    assert each["modularity"] == pytest.approx({10: 45, 11: 45})
    assert each["pairs nearer than in random rows"] == pytest.approx({10: 15, 11: 15})
    assert each["spread of norms"] == pytest.approx({0: 10, 10: 10, 11: 10})
    assert each["growth of the mean norm"] == pytest.approx({0: 50, 10: 50, 11: 50})


def test_parts_name_the_layer_and_are_empty_where_it_was_not_run(three):
    found = graphs.parts(three, *LENET, ["spread"], grows=True)
    assert list(found) == ["LeNet fc1: spread of norms", "LeNet fc1: growth of the mean norm"]
    assert found["LeNet fc1: growth of the mean norm"].tolist() == pytest.approx([50] * 3)
    assert graphs.parts(three, *VGG, ["modularity"])["VGG19 conv16: modularity"].empty


def test_a_number_that_is_missing_at_one_end_leaves_its_net_out(made_up):
    odd = pd.DataFrame(rows())
    odd.loc[0, "modularity"] = np.nan
    nets = [made_up(structure(seed), odd if seed == 1 else rows()) for seed in range(3)]
    table = graphs.history(evidence.stored("laptop", nets), *LENET)
    assert graphs.gain(table, "modularity", "permuted").to_dict() == pytest.approx({0: 50, 2: 50})


def test_crowding_has_a_row_a_layer_that_was_run(three):
    table = graphs.crowding(three, [LENET, VGG])
    assert table.to_dict("records") == [
        {"layer": "LeNet fc1, digits", "start": "+0.00 (+0.00 to +0.00)", "end": "+0.40 (+0.38 to +0.42)", "nets": 3}
    ]


@pytest.mark.parametrize("shift, word", [(0, "crowd"), (-0.8, "spread"), (-0.4, "do neither for sure")])
def test_whether_large_units_crowd_is_said_by_the_interval(made_up, shift, word):
    nets = [made_up(structure(seed), rows(shift + (seed - 1) / 100)) for seed in range(3)]
    assert (
        graphs_words.crowded(evidence.stored("laptop", nets), [LENET, VGG])
        == f"In LeNet fc1, large units {word} at the end."
    )


def test_few_nets_do_not_tell_whether_units_crowd(made_up):
    found = evidence.stored("laptop", [made_up(structure(0), rows())])
    assert graphs_words.crowded(found, [LENET]) == "LeNet fc1 has too few nets to tell."


def test_every_side_has_its_sentence():
    sides = {report.side(values) for values in ([], [1], [1, 1, 1], [-1, -1, -1], [-1, 0, 1])}
    assert sides == set(graphs_words.CROWDING)


def test_choices_have_a_row_for_each_that_was_run(made_up):
    nets = [made_up(structure(seed), rows()) for seed in range(3)]
    nets += [made_up(structure(seed, deviations=5.0), rows(null=0.1)) for seed in range(2)]
    nets += [made_up(structure(0, init="glorot"), rows(null=-0.1))]
    table = graphs.choices(evidence.stored("laptop", nets), [LENET, VGG])
    assert table.choice.tolist() == ["as above", "cut-off of 5 deviations", "Glorot's initialisation"]
    assert table.nets.tolist() == [3, 2, 1]
    assert table["spread of norms"].tolist() == ["+20.0 (+20.0 to +20.0)", "+10.0 (+10.0 to +10.0)", "+30.0"]
    assert table["near pairs"].tolist()[:2] == ["+20.0 (+20.0 to +20.0)", "+10.0 (+10.0 to +10.0)"]
    assert set(table.above) == {"entries shuffled"}
    drawn = [made_up(structure(seed, null="spectrum"), rows(spectrum=0.05)) for seed in range(3)]
    table = graphs.choices(evidence.stored("laptop", drawn), [LENET])
    assert (table.above[0], table.modularity[0]) == ("random rows of the same spectrum", "+45.0 (+45.0 to +45.0)")


def graph(seed=0):
    net = replace(NET, seed=seed)
    return LayerGraph(Snapshots(net, ("fc1",), (0, 4)), "fc1"), UnitCurve(net, "fc1")


def put_graph(made_up, e, classes=(0, 0, 0, 0)):
    pairs = np.zeros((2, 6), np.int8)
    arrays = dict(
        norms=np.ones((2, 4), np.float16),
        cosines=pairs,
        classes=np.array([[0] * 4, classes]),
        communities=np.zeros(4, int),
    )
    arrays |= {"clusters": np.zeros(4, int), "order.norm": np.array([2, 0, 1, 3], np.int16)}
    return made_up(e, [dict(iteration=0, epoch=0, accuracy=0.1), dict(iteration=4, epoch=1, accuracy=0.5)], **arrays)


def test_a_film_shows_one_net_and_the_accuracy_along_its_orders(made_up):
    e, curve = graph()
    line = [dict(criterion="norm", remove="lowest", repeat=0, removed=k, accuracy=1 - k / 8) for k in range(5)]
    other = [row | dict(remove="highest", accuracy=0.0) for row in line]
    found = evidence.stored("laptop", [put_graph(made_up, e), made_up(curve, line + other)])
    drawn = graphs.film(found, *LENET, "film")
    assert drawn.meta["title"] == "LeNet fc1, digits: weight vectors of one net"
    assert graphs_words.introduced(found, *LENET) == "LeNet fc1, digits: 4 units; the picture is one net, seed 0."
    assert [o["accuracy"] for o in drawn.meta["orders"]] == [pytest.approx([1, 0.875, 0.75, 0.625, 0.5])]
    assert graphs.film(found, *VGG, "none") is None
    assert graphs_words.introduced(found, *VGG) == "VGG19 conv16; it has not been run at this size."


def test_two_nets_in_one_graph_need_weights_of_this_machine(three, store_folder):
    assert graphs.merged(three, *LENET) is None and "needs the weights" in graphs_words.mixed(None)


def test_edges_of_two_nets_are_counted_by_whom_they_join(store_folder):
    nets = [replace(NET, seed=seed, recipe=replace(RECIPE, iterations=1)) for seed in range(2)]
    for net in nets:
        report.Page("02", lambda _, net=net: [net], "laptop").sweep()
    watched = [LayerStructure(Snapshots(net, ("fc1",), (0, 1)), "fc1") for net in nets]
    found = evidence.Evidence("laptop", tuple(watched), ())
    drawn = graphs.merged(found, *LENET)
    i, j, cosines = drawn.edges(1)
    seen = [(a // 4, b // 4) for a, b, c in zip(i, j, cosines, strict=True) if c >= drawn.cutoff]
    assert graphs.across(drawn) == (len(seen), pytest.approx(np.mean([a != b for a, b in seen]) if seen else 0))


DRAWN = dict(conv_2=("conv_2", "fc1"), lenet=LENET, vgg19=VGG)


def test_sentences_have_the_numbers_of_the_records(three):
    told = graphs_words.sentences(page(three), DRAWN, None)
    assert told["lenet_read"] == (
        "In LeNet fc1 on digits, 1.00 % of all pairs are near at the start and 21.0 % at the end; the mean norm "
        "changes by +50 %."
    )
    assert told["conv_2_read"] == "Conv-2 fc1 has not been run at this size."
    assert told["vgg19_numbers"] == "Not run at this size yet." and told["class_read"] == ""
    assert told["lenet_numbers"] == (
        "Modularity goes from 0.20 to 0.70 (entries shuffled: 0.30), "
        "the spread of norms goes from 0.10 to 0.30 (entries shuffled: 0.20)."
    )


def test_sentences_have_opposite_pairs_and_random_rows_where_they_were_measured(made_up):
    nets = [made_up(structure(seed, null="spectrum"), rows(spectrum=0.05)) for seed in range(3)]
    told = graphs_words.sentences(page(evidence.stored("laptop", nets)), DRAWN, None)
    assert "21.0 % at the end, 3.0 % opposite (random rows of the same spectrum: 6.0 and 5.0 %);" in told["lenet_read"]
    assert "0.70 (random rows of the same spectrum: 0.25; entries shuffled: 0.20)" in told["lenet_numbers"]


def test_a_measure_that_no_net_has_gets_no_panel(three, made_up):
    assert list(graphs.measures(graphs.history(three, *LENET))) == ["pairs", "modularity", "spread"]
    nets = [made_up(structure(10, null="spectrum"), rows(spectrum=0.05))]
    table = graphs.history(evidence.stored("laptop", nets), *LENET)
    assert list(graphs.measures(table, classes=True)) == ["pairs", "opposite", "modularity", "spread", "agreement"]
    assert graphs.measures(pd.DataFrame()) == graphs.MEASURES


def test_units_that_never_fire_are_counted_where_they_are_drawn(made_up):
    found = evidence.stored("laptop", [put_graph(made_up, graph()[0], [3, -1, -1, 0])])
    assert graphs_words.silent(found, *LENET).endswith("where colour stands for classes: 2 of 4.")
    assert "of the 1,000 training images" in graphs_words.silent(found, *LENET)
    assert graphs_words.silent(found, *VGG) == ""


def verdicts_of(near, groups):
    first = {"LeNet fc1: growth of the mean norm": [275.0, 276.0, 277.0, 276.0, 276.0],
             "LeNet fc1: more pairs near than opposite": near}  # fmt: skip
    return pd.concat([verdicts.judge("FG1", first), verdicts.judge("FG2", {"VGG19 conv16: modularity": groups})])


@pytest.mark.parametrize(
    "near, groups, said",
    [
        ([9.0, 10, 11, 10, 9], [9.0, 10, 11, 10, 9],
         "They gather: more pairs point alike than apart. Conv-2 has no verdict yet. "
         "In VGG19's last convolution they form groups that random vectors lack."),
        ([-9.0, -10, -11, -10, -9], [1.0, 2],
         "They do not gather: as many pairs point apart. Conv-2 has no verdict yet. "
         "Whether they form groups in VGG19 is open: too few nets yet."),
        ([-9.0, 10, 0, 10, -9], [], "Whether they gather is open: the nets disagree. Conv-2 has no verdict yet."),
    ],
)  # fmt: skip
def test_the_answer_has_the_numbers_of_the_nets(near, groups, said):
    names, judged = {}, verdicts_of(near, groups)
    for cell in chapters.read(chapters.chapter("02_force_graph"))["cells"]:
        if (source := "".join(cell["source"])).startswith("ANSWER = {"):
            exec(source, names)
    told = report.answer(names["ANSWER"], judged, **graphs_words.numbers(judged))
    assert told == f"They grow: in LeNet the mean length rises by 276 %. {said}"


def test_how_far_communities_follow_the_classes(made_up):
    nets = [made_up(structure(seed, "vgg19_bn"), rows()) for seed in range(3)]
    assert graphs_words.followed(evidence.stored("laptop", nets), *VGG).startswith(
        "Do the communities follow the classes? Agreement is +0.40 (+0.40 to +0.40) at the end, +0.10 at the start"
    )


def test_how_vgg_ends_without_batch_normalisation(made_up):
    plain = replace(NET, model="vgg19", image_size=32)
    assert graphs_words.without_norms(evidence.Evidence("laptop", (), ())) == "none was run at this size."
    made_up(plain, [dict(epoch=k, test_accuracy=a) for k, a in enumerate((0.1, 0.5, 0.25))])
    said = graphs_words.without_norms(evidence.stored("laptop", [plain]))
    assert said == "one net of the same training on digits ends at 25.0 % of the test images (best epoch 50.0 %)."


def test_the_toy_says_what_its_lengths_do():
    arrows = np.array([[[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]], [[1.0, 0.0], [0.0, 1.5], [0.0, -3.0]]])
    assert graphs_words.lengths(arrows) == "Their lengths go from 1 to 1, 1.5 and 3."
