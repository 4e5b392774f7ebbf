"""Readings of models past the size at which they fit everything, on made-up records with known answers."""

import math

import numpy as np
import pytest

from pruning_lab import Forest, RandomFeatures, Recipe, ShallowNets, Train, figures, replace, report
from pruning_lab.report import descent, descent_words, evidence

FEATURES = RandomFeatures("digits", (0.5, 1.0, 2.0), 100, noises=(0.0, 0.2))
FOREST = Forest("digits", 100, leaves=(4, 8), trees=(1, 3))
NETS = ShallowNets("digits", (0.25, 0.5, 1.0, 1.5, 4.0), 100)
SEEDS = (10, 11, 12)
RATIOS = (0.25, 0.4, 0.9, 1.5, 4.0)


def page(found):
    return report.Page("11_double_descent", lambda profile: found.experiments if profile == "laptop" else [], "laptop")


def ends(risk, train=0.0, error=0.1):
    return dict(train_risk=train, train_error=train, test_risk=risk, test_error=error)


def waves(seed, ridge=0.0):
    """Risk 0.4 below, 8 at as many features as images, 0.2 beyond; with noise it ends at 0.8, with a ridge it falls."""
    tops = {0.0: {0.5: 0.4, 1.0: 8.0, 2.0: 0.2}, 0.2: {0.5: 0.4, 1.0: 80.0, 2.0: 0.8}}
    if ridge:
        tops = {noise: {0.5: 0.4, 1.0: 0.3, 2.0: 0.25} for noise in tops}
    more = 1 + 0.01 * (seed - 10)
    return [dict(features=round(100 * ratio), images=100, noise=noise, norm=10 * risk, **ends(risk * more))
            for noise, line in tops.items() for ratio, risk in line.items()]  # fmt: skip


def nets(seed, noise=0.0, unfit=()):
    """Fresh: 0.8, 0.6, 0.5, 0.4, 0.2. Begun at the smaller: 0.8, 0.4, 0.9, 0.9, 0.9. Noise is twice all that."""
    lines = {"fresh": (0.8, 0.6, 0.5, 0.4, 0.2), "smaller": (0.8, 0.4, 0.9, 0.9, 0.9)}
    more = (1 + 0.01 * (seed - 10)) * (2 if noise else 1)
    rows = []
    for start, line in lines.items():
        for k, (ratio, risk) in enumerate(zip(RATIOS, line, strict=True)):
            net = dict(start=start, width=k + 1, parameters=1_000 * ratio, threshold=1_000, below=ratio <= 1, epochs=5)
            train = 0.5 if ratio < 1 or ratio in unfit else 0.0
            rows.append(net | dict(norm=1.0) | ends(risk * more, train=train, error=risk / 10))
    return rows


def forest(seed):
    """One tree: 0.6, 0.5 at 4 and 8 leaves, 0.7 full-grown; three of them 0.3; of three with fewer leaves 0.5, 0.4."""
    rows = [("leaves", 4, 1, 0.6), ("leaves", 8, 1, 0.5), ("trees", 0, 1, 0.7), ("trees", 0, 3, 0.3)]
    rows += [("leaves of many trees", leaves, 3, risk) for leaves, risk in ((4, 0.5), (8, 0.4), (0, 0.3))]
    more = 1 + 0.01 * (seed - 10)
    return [dict(axis=axis, leaves=leaves, trees=trees, total=(leaves or 20) * trees, images=100, **ends(risk * more))
            for axis, leaves, trees, risk in rows]  # fmt: skip


@pytest.fixture
def found(made_up):
    stored = []
    for seed in SEEDS:
        stored += [made_up(replace(FEATURES, seed=seed, ridge=ridge), waves(seed, ridge)) for ridge in (0.0, 1.0)]
        stored.append(made_up(replace(FOREST, seed=seed), forest(seed)))
        stored += [made_up(replace(NETS, seed=seed, noise=noise), nets(seed, noise)) for noise in (0.0, 0.2)]
    return evidence.stored("laptop", stored)


NOTHING = evidence.Evidence("laptop", (), ())


def means(parts):
    return {name: round(float(np.exp(values.mean())), 4) for name, values in parts.items()}


def test_features_are_read_at_the_threshold_below_and_at_the_end(found):
    parts = descent.feature_parts(descent.features(found))
    assert means(parts) == {
        "where the risk peaks": 1.0,
        "where the norm peaks": 1.0,
        "most features against the classical best": 2.0,
        "most features against the classical best, noisy labels": 0.5,
        "as many features as images against the classical best, with a ridge": round(0.4 / 0.3, 4),
    }
    assert all(list(values.index) == list(SEEDS) for values in parts.values())


def test_nets_are_read_by_where_they_begin(found):
    parts, short = descent.net_parts(descent.nets(found))
    told = means(parts)
    assert told["nets, re-use to the threshold: rise to the peak"] == round(0.9 / 0.4, 4)
    assert told["nets, re-use to the threshold: fall from the peak"] == round(0.9 / 0.2, 4)
    assert told["nets, re-use to the threshold: where the risk peaks"] == 0.9
    assert told["nets, fresh weights: rise to the peak"] == round(0.5 / 0.6, 4)
    assert told["nets, fresh weights: fall from the peak"] == 2.5
    assert told["nets, re-use throughout: fall from the peak"] == 1.0
    assert told["nets, fresh weights, noisy labels: rise to the peak"] == round(0.5 / 0.6, 4)
    assert set(short.values()) == {0}


def test_the_arms_differ_only_in_where_a_net_begins(found):
    table = descent.nets(found)
    clean = table[(table.noise == 0) & (table.seed == 10)].set_index(["arm", "ratio"]).test_risk
    assert clean[descent.TO].tolist() == [0.8, 0.4, 0.9, 0.4, 0.2]
    assert clean[descent.FRESH].tolist() == [0.8, 0.6, 0.5, 0.4, 0.2]
    assert clean[descent.ALL].tolist() == [0.8, 0.4, 0.9, 0.9, 0.9]


def test_a_seed_whose_nets_do_not_fit_is_left_out_and_counted(made_up):
    stored = [made_up(replace(NETS, seed=seed), nets(seed, unfit=(1.5,) if seed == 11 else ())) for seed in SEEDS]
    found = evidence.stored("laptop", stored)
    parts, short = descent.net_parts(descent.nets(found))
    assert list(parts["nets, fresh weights: rise to the peak"].index) == [10, 12]
    assert short["nets, fresh weights: rise to the peak"] == 1
    verdicts = descent.judged(page(found)).set_index(["claim", "part"])
    row = verdicts.loc[("DD2", "nets, fresh weights: rise to the peak")]
    assert (row.verdict, row.reason) == ("not in reach", "1 of 3 nets did not get there")


def test_forests_are_read_by_leaves_and_by_trees(found):
    assert means(descent.forest_parts(descent.forests(found))) == {
        "forests: rise to one full-grown tree": round(0.7 / 0.5, 4),
        "forests: fall with more trees": round(0.7 / 0.3, 4),
        "many trees: rise with leaves": round(0.3 / 0.4, 4),
    }
    table = descent.forests(found)
    assert set(table.leaves) == {4, 8, 20}
    assert descent_words.axes(table, "leaves").line.value_counts().to_dict() == {"one tree": 9, "many trees": 9}
    assert set(descent_words.axes(table, "trees").trees) == {1, 3}


def test_error_is_compared_from_the_narrowest_net_without_one_in_training(found):
    table = descent.nets(found)
    values, short = descent.past_zero(table[(table.arm == descent.FRESH) & (table.noise == 0)])
    assert values.tolist() == pytest.approx([2.0] * 3) and short == 0  # 0.4 and 0.2 tenths of all images
    none = table.assign(train_error=1.0)
    values, short = descent.past_zero(none[(none.arm == descent.FRESH) & (none.noise == 0)])
    assert not len(values) and short == 3


def test_chapter_5_is_read_from_the_narrowest_width_that_every_seed_fits(made_up):
    ends_ = {4: (0.9, 0.3), 8: (1.0, 0.5), 16: (1.0, 0.58)}
    net = Train("digits", "mlp", Recipe("adam", lr=1e-3, epochs=3))
    stored = [made_up(replace(net, width=w, seed=s), [dict(epoch=3, train_accuracy=fit, test_accuracy=test + s / 100)])
              for w, (fit, test) in ends_.items() for s in (1, 2)]  # fmt: skip
    assert descent.deep(evidence.stored("laptop", stored)).tolist() == pytest.approx([8.0, 8.0])
    assert not len(descent.deep(evidence.stored("laptop", stored[:4])))


def test_claims_are_judged_with_what_sets_the_run_apart(found):
    verdicts = descent.judged(page(found)).set_index(["claim", "part"])
    assert verdicts.on.unique().tolist() == ["digits"]
    assert verdicts.loc[("DD1", "where the risk peaks"), "n"] == 3
    assert set(verdicts.index.get_level_values("claim")) == {"DD1", "DD2", "WI6"}
    assert verdicts.loc[("WI6", "four hidden layers, chapter 5"), "verdict"] == "not run"


def test_sentences_have_the_numbers_of_the_tables(found):
    fits, nets_, forests = descent.features(found), descent.nets(found), descent.forests(found)
    said = descent_words.sentences(fits, nets_, forests)
    assert "is lowest, 0.40, at 0.5 an image; at one an image it is 8, and the norm 20 times" in said["features_read"]
    assert "at 2 an image it is 0.20" in said["features_read"]
    assert "risk is 81 at the threshold and 0.81 at the end" in said["ridge_read"]
    rows = descent_words.ways(nets_).data.set_index("way to start")
    assert rows.loc[descent.FRESH].tolist()[:3] == ["0.61", "0.51", "0.20"]
    assert rows.loc[descent.TO].tolist()[-1] == "0.91 to 0.40"
    assert "is 1.21 before, 1.01 at the threshold, 0.40 at the end; in 3 of 3 seeds" in said["noise_read"]
    assert "moves most with re-use to the threshold: the first net above has 0.44 times" in said["cliff_read"]
    assert "0.51, at 8 leaves, and 0.71 where it is full-grown; 3 such trees have 0.30" in said["forests_read"]
    assert "From 1.5 n K parameters on" in said["errors_read"] and "from 4.0 to 2.0 %" in said["errors_read"]
    assert descent_words.numbers(fits, nets_) == dict(most="2", points="2.0")


def test_nets_that_are_all_past_the_threshold_give_no_verdict_and_no_error(made_up):
    """As where pixels are many and images few: a single hidden unit has a weight a pixel."""
    past = [row for row in nets(10) if row["parameters"] > 2_000]
    stored = [made_up(replace(NETS, seed=seed, noise=noise), past) for seed in SEEDS for noise in (0.0, 0.2)]
    found = evidence.stored("laptop", stored)
    table = descent.nets(found)
    rows = descent_words.ways(table).data.set_index("way to start")
    assert rows.loc[descent.FRESH].tolist() == ["–", "–", "0.20", "–"]
    said = descent_words.sentences(descent.features(found), table, descent.forests(found))
    assert said["cliff_read"] == said["noise_read"] == descent_words.ASIDE
    judged = descent.judged(page(found))
    assert set(judged.verdict[judged.part.str.startswith("nets")]) == {"not run"}


def test_without_records_the_page_says_so():
    fits, nets_, forests = descent.features(NOTHING), descent.nets(NOTHING), descent.forests(NOTHING)
    assert set(descent_words.sentences(fits, nets_, forests).values()) == {descent_words.NOTHING}
    assert not len(descent_words.ways(nets_).data)
    assert set(descent.judged(page(NOTHING)).verdict) == {"not run"}
    assert math.isnan(float(descent_words.numbers(fits, nets_)["points"]))
    for table, measures, name in (
        (fits, descent_words.OF_FEATURES, "features"),
        (nets_, descent_words.OF_NETS, "starts"),
        (descent_words.axes(forests, "leaves"), descent_words.OF_FORESTS, "leaves"),
    ):
        figure = figures.panels(table, measures, **descent_words.drawn(page(NOTHING), NOTHING, name))
        assert "not run" in figure.layout.annotations[0].text
    assert "lab-descent" in descent_words.toy(NOTHING, fits).data


def test_figures_have_a_line_an_arm_and_the_toy_has_the_measured_curves(found):
    table = descent.nets(found)
    drawn = descent_words.drawn(page(found), found, "starts")
    figure = figures.panels(descent_words.starts(table), descent_words.OF_NETS, **drawn)
    named = [trace.name for trace in figure.data if trace.showlegend]
    assert named[0] == f"{descent.TO}: decides (± sd, 3 nets)"
    assert set(named[1:]) == {f"{arm} (± sd, 3 nets)" for arm in (descent.FRESH, descent.ALL)}
    wide = {
        trace.line.width for trace in figure.data if trace.legendgroup == f"{descent.TO}: decides" and not trace.fill
    }
    assert wide == {6} and descent_words.decide() == [descent.TO]
    assert figure.layout.title.text == "Nets by parameters over n K, digits"
    assert {axis.title.text for axis in figure.select_xaxes()} == {None, descent.OVER_NK}
    fits = descent.features(found)
    drawn = descent_words.drawn(page(found), found, "features")
    named = {trace.name for trace in figures.panels(fits, descent_words.OF_FEATURES, **drawn).data if trace.showlegend}
    assert "true labels, ridge 1 (median, band: all, 3 fits)" in named
    html = descent_words.toy(found, descent.features(found)).data
    assert html.count('class="lab-line') == 4 and "digits, 100 images, median test risk of 3 draws" in html
