"""Readings of diffs while nets train, on made-up records with known answers."""

import math

import numpy as np
import pandas as pd
import pytest

from pruning_lab import GradientHistory, GradientSnapshots, Recipe, Train, replace, report
from pruning_lab.report import claims, diffs, diffs_claims, diffs_words, evidence, regime
from pruning_lab.running import chapters

REAL = Train("digits", "mlp", Recipe("adam", lr=1e-3, batch=64, epochs=3), width=4, limit=100, scale="standardised")
IMAGES = 64
LAYERS = ("fc1", "fc2", "fc3")
COHERENCE = (9.0, 0.1, 0.4, 0.05)  # of the whole net by epoch: the peak is epoch 2, the low epoch 3
WITHIN = dict(mean=0.001, sd=0.1, kurtosis=0.5, agree=0.0, dead=0.0)  # both margins of DI1


def history(kind="real", seed=0, model="mlp", sample=IMAGES, **settings):
    net = replace(REAL, model=model, seed=seed, **settings)
    net = net if kind == "real" else replace(net, dataset="gaussian:digits")
    return GradientHistory(GradientSnapshots(net, tuple(range(len(COHERENCE))), sample), ends=1)


@pytest.fixture
def put(made_up):
    """Stores a history whose layers have the same numbers at each epoch, but for `odd`: {(epoch, layer): numbers}."""

    def put(e, odd=None, travel=((0.0, 0.0),) * 3, histograms=None, accuracy=(0.1, 0.5, 0.9, 1.0), **numbers):
        rows = []
        for t, value in enumerate(COHERENCE):
            for layer in ("whole", *LAYERS):
                row = dict(epoch=t, loss=2.0 - t / 10, layer=layer, peak=t == 2)
                row["coherence"] = value if layer == "whole" else 0.01
                rows.append(row | WITHIN | numbers | (odd or {}).get((t, layer), {}))
        if histograms is None:
            histograms = np.zeros((len(COHERENCE), 1 + len(LAYERS), 201), np.int32)
            histograms[..., 100] = 1
        paths = np.arange(len(COHERENCE) * 2 * len(LAYERS)).reshape(len(COHERENCE), -1).astype(np.float32)
        lines = [dict(epoch=t, train_accuracy=a, train_loss=1.0) for t, a in enumerate(accuracy)]
        made_up(e.snapshots.net, lines)
        return made_up(e, rows, histograms=histograms, travel=np.array(travel, np.float32), paths=paths)

    return put


def page(nets):
    return report.Page("04_diffs", lambda name: nets if name == "laptop" else [], "laptop")


def found(nets):
    return evidence.stored("laptop", nets)


def values(parts, claim, measure, net="fully-connected net", images="real images"):
    """One number a net of a part, seeds aside."""
    name = f"{net}, {images}: {measure}" if measure else net
    return parts[claim][name].values.tolist()


@pytest.mark.parametrize("profile", ["smoke", "night", "paper"])
@pytest.mark.parametrize("given", [{}, dict(dataset="digits", seeds=2)])
def test_nothing_is_left_to_train_where_chapter_3_was_run(profile, given):
    ours, theirs = (chapters.plan(chapters.chapter(name), profile, given) for name in ("04_diffs", "03_coherence"))
    assert ours and set(ours) < set(theirs)
    assert all(e.snapshots.net.start is None and e.snapshots.net.scale == "standardised" for e in ours)
    assert {e.snapshots.net.model for e in ours} == {e.snapshots.net.model for e in theirs}


def test_the_marks_are_the_highest_and_the_lowest_coherence_after_epoch_0(put):
    e = put(history(), {(3, "fc2"): dict(sd=0.7)})
    assert diffs.marks(e) == {"the peak": 2, "the low": 3}
    assert diffs.layers(e).index.tolist() == list(LAYERS) and diffs.layers(e).epoch.eq(2).all()
    assert diffs.layers(e, "the low").sd.tolist() == [0.1, 0.7, 0.1]


def test_spreads_are_over_the_null_of_the_images_that_were_differentiated(put):
    small = put(history(sample=5000, limit=None))
    size = len(small.snapshots.net.split("train"))
    assert size < 5000
    table = diffs.by_layer(found([small]), "mlp")
    assert table.spread.tolist() == pytest.approx([0.1 * math.sqrt(size)] * 3)  # the set is smaller than the sample
    e = put(history(seed=1), travel=[(0, 0), (math.log(2), 0), (-math.log(2), 0)])
    table = diffs.by_layer(found([e]), "mlp")
    assert table.spread.tolist() == pytest.approx([0.8] * 3) and table.depth.tolist() == [1, 2, 3]
    assert table.travel.tolist() == pytest.approx([1, 2, 0.5])
    assert diffs.by_layer(found([e]), "vit").empty


def test_a_figure_is_named_after_its_first_measure(put):
    e = put(history())
    told = diffs.about(page([e]), found([e]), "mlp", diffs.TRAVEL, "how far")
    assert (told["file"], told["title"]) == ("travel-mlp-laptop.csv", "fully-connected net, digits: how far")


def test_the_null_is_the_spread_of_coins(put):
    share = diffs.null(put(history()))
    assert share.sum() == pytest.approx(1) and (share @ diffs.PLACES) == pytest.approx(0, abs=1e-9)
    assert math.sqrt(share @ diffs.PLACES**2) == pytest.approx(1 / math.sqrt(IMAGES), rel=0.01)


def test_histograms_of_the_outer_layers_stand_at_their_diff_at_both_marks(put):
    counts = np.zeros((4, 4, 201), np.int32)
    counts[2, 1, 0] = counts[2, 3, 200] = counts[3, 1, 100] = 5  # first and last layer at the peak, first at the low
    counts[3, 3, :2] = counts[3, 3, 199:] = 5  # the last at the low: halves
    e = put(history(), histograms=counts)
    table = diffs.outer_layers(found([e]), "mlp")
    seen = table[table.images == "real images"].set_index("diff")
    assert list(diffs.PANELS) == ["first_the peak", "first_the low", "last_the peak", "last_the low"]
    assert [seen[panel].idxmax() for panel in diffs.PANELS][:3] == pytest.approx([-0.9851, 0, 0.9851])
    assert seen["last_the low"].iloc[[0, -1]].tolist() == [0.5, 0.5]
    coins = table[table.images == diffs.NULL]
    assert coins["last_the low"].tolist() == pytest.approx(diffs.null(e)) and len(table) == 2 * diffs.BINS
    assert diffs.outer_layers(found([e]), "vit").empty


def test_the_explorer_begins_at_the_peak_and_names_it(put):
    drawn = diffs.explorer(page([put(history(seed=seed)) for seed in range(2)]))
    assert drawn.meta["title"] == "Diffs of one layer at one epoch"
    assert [control["values"] for control in drawn.meta["controls"]][1:] == [
        ["real images"],
        ["whole", *LAYERS],
        [0, 1, 2, 3],
    ]
    assert diffs.explorer(page([])) is None


def test_captions_name_the_marks(put):
    told = pd.DataFrame(diffs._captions(put(history()), dict(net="a net")))
    of_layer = told[told.layer == "fc1"].set_index("epoch").caption
    assert of_layer[2] == "coherence of the layer 0.01; of the whole net this is the peak"
    assert of_layer[3].endswith("the low")
    assert of_layer[1] == "coherence of the layer 0.01"


def test_of_many_places_eight_are_shown_with_both_ends():
    assert diffs.some(3) == [0, 1, 2]
    many = diffs.some(50)
    assert len(many) == 8 and (many[0], many[-1]) == (0, 49)


def test_paths_are_of_the_middle_layer_of_one_net_an_arm(put):
    table = diffs.paths(found([put(history(kind, seed)) for kind in ("real", "noise") for seed in range(2)]), "mlp")
    ways = table[table.images == "real images"].pivot(index="epoch", columns="end", values="way")
    assert ways.highest.tolist() == [2, 8, 14, 20] and ways.lowest.tolist() == [3, 9, 15, 21]
    assert len(table) == 2 * 2 * len(COHERENCE)
    assert diffs.paths(found([]), "mlp").empty


def test_spikes_are_read_at_the_peak_and_averaged_over_nets(put):
    shares = {(2, "whole"): dict(agree=0.01, dead=0.5, sd=0.2), (2, "fc2"): dict(agree=0.03)}
    nets = [put(history(seed=0), shares), put(history(seed=1))]
    row = dict(net="fully-connected net", data="digits", images="real images", loss="1.80", coherence="0.4", nets=2)
    row |= {
        "epoch of the peak": "2",
        "spread of diffs": "0.150",
        "|diff| > 0.99": "0.500%",
        "in its top layer": "1.50%",
    }
    assert diffs.agreeing(page(nets)).to_dict("records") == [row | {"no gradient": "25.0%"}]


def test_parts_are_in_units_of_their_margins(put):
    medians = {
        (2, "fc1"): dict(mean=-0.02, kurtosis=-3),
        (2, "fc2"): dict(mean=0.03, kurtosis=2),
        (2, "fc3"): dict(mean=0),
    }
    e = put(history(), medians, travel=[(math.log(1.25), 0.3), (-math.log(1.25) / 2, -0.2), (math.nan, math.nan)])
    parts = diffs_claims.parts(found([e]), ["mlp"])
    assert values(parts, "DI1", "|mean| / sd") == [pytest.approx(2)]
    assert values(parts, "DI1", "excess kurtosis") == [pytest.approx(2)]
    assert values(parts, "DI1", diffs_claims.WIDER) == [pytest.approx(math.log(0.8))]
    assert values(parts, "DI4", diffs_claims.WAYS) == [pytest.approx(0.75)]  # sizes, so that layers do not cancel
    assert values(parts, "DI4", "rank correlation with |w|") == [pytest.approx(2.5)]


@pytest.mark.parametrize(
    "travel, beyond",
    [
        ([(0.1, 0.05), (-0.1, -0.05), (0.2, 0.09)], 0),
        ([(0.3, 0.05), (-0.3, -0.05), (0.1, 0.2)], 1),
        ([(0.1, 0.2), (0.1, 0), (0.1, 0)], 1 / 3),
        ([(math.nan, 0.2), (math.nan, math.nan), (0.1, 0)], 1 / 2),  # of the layers that tell something
    ],
)
def test_the_share_of_layers_beyond_a_margin_stands_beside_the_median(put, travel, beyond):
    parts = diffs_claims.parts(found([put(history(), travel=travel)]), ["mlp"])
    assert values(parts, "DI4", diffs_claims.BEYOND) == [pytest.approx(0.1 - beyond)]


def test_spreads_are_compared_as_log_ratios_averaged_over_layers(put):
    real = put(history("real"), {(2, "fc1"): dict(sd=0.2), (3, "fc2"): dict(sd=0.0)})
    noise = put(history("noise"), {(2, "fc1"): dict(sd=0.8), (2, "fc2"): dict(sd=0.4)})
    parts = diffs_claims.parts(found([real, noise]), ["mlp"])
    assert values(parts, "DI2", "peak over low") == [pytest.approx(math.log(2) / 2)]  # fc2 has no spread
    assert values(parts, "DI3", "") == [pytest.approx(math.log(16) / 3)]


def test_spikes_are_compared_in_points_of_nets_in_both_arms_and_not_of_a_resnet(put):
    nets = [put(history(kind, model=model), {(2, "whole"): dict(agree=agree)})
            for model in ("vit", "resnet50_cifar") for kind, agree in (("real", 0.01), ("noise", 0.03))]  # fmt: skip
    parts = diffs_claims.parts(found([*nets, put(history("noise", 1, "vit"))]), ["resnet50_cifar", "vit"])
    assert {part: m.values.tolist() for part, m in parts["DI5"].items()} == {"ViT": [pytest.approx(2)]}


def test_parts_are_those_of_the_claims(put):
    parts = diffs_claims.parts(found([]), ["resnet50", "vit", "mlp"])
    assert list(parts) == list(diffs_claims.CLAIMS)
    for id, named in parts.items():
        assert set(named) == {part.name for part in claims.load()[id].parts}, id
        assert all(m.values.empty and not m.short for m in named.values())


def test_nets_that_did_not_get_there_have_no_number(put):
    short = [put(history(kind, model="vit"), accuracy=(0.1, 0.2, 0.4, 0.6)) for kind in ("real", "noise")]
    parts = diffs_claims.parts(found(short), ["vit"])
    assert {(m.values.size, m.short) for named in parts.values() for m in named.values()} == {(0, 1)}
    words = diffs_claims.verdicts(page(short), found(short), "resnet50_cifar")
    assert set(words.verdict[words.part.str.startswith("ViT")]) == {"not in reach"}
    level = put(history("noise", 1, "vit"), accuracy=(0.1, 0.5, 0.6, 0.6))  # a plateau: only noise may end there
    parts = diffs_claims.parts(found([level]), ["vit"])
    assert parts["DI2"]["ViT, Gaussian images: peak over low"].values.index.tolist() == [1]


def test_a_number_that_is_not_finite_counts_as_not_reached(put):
    parts = diffs_claims.parts(found([put(history(seed=0), kurtosis=math.nan), put(history(seed=1))]), ["mlp"])
    tails = parts["DI1"]["fully-connected net, real images: excess kurtosis"]
    assert (tails.values.to_dict(), tails.short) == ({1: 0.5}, 1)
    assert len(values(parts, "DI1", "|mean| / sd")) == 2


def test_the_peak_of_a_net_with_batch_norms_is_read_under_the_images_own_statistics(put, made_up):
    refreshed = (9.0, 0.5, 0.1, 0.2)  # running statistics have the peak at epoch 2 and the low at epoch 3
    e = history(model="resnet50_cifar")
    rows = [
        WITHIN | dict(epoch=t, layer=layer, loss=1.0, peak=t == 2, coherence=c, refreshed=r, sd=0.1 * (t + 1))
        for t, (c, r) in enumerate(zip(COHERENCE, refreshed, strict=True))
        for layer in ("whole", *LAYERS)
    ]
    made_up(e, rows)
    assert diffs.marks(e) == {"the peak": 1, "the low": 2}
    assert diffs.layers(e).sd.tolist() == pytest.approx([0.2] * 3)
    assert diffs.peaks([e]).epoch.tolist() == [1]


def in_words_of_the_source(put):
    """Section 3.2 and figures 3.1 to 3.4: centred, normal, wider at the peak; noise no narrower, and with weights on
    which all agree; no difference in the ways.
    """
    nets = []
    for seed, model in ((seed, model) for seed in range(10, 15) for model in ("resnet50", "vit")):
        some = 1 + 0.01 * (seed - 10)
        low = {(3, layer): dict(sd=0.05 / some) for layer in ("whole", *LAYERS)}
        travel = [(0.02 * some, 0.01 * some)] * 3
        nets.append(put(history("real", seed, model), low, travel=travel, mean=0.001 * some, kurtosis=0.3 * some))
        spikes = low | {(2, "whole"): dict(agree=0.01 * some)}
        nets.append(put(history("noise", seed, model), spikes, mean=0.001 * some, kurtosis=0.3 * some, sd=0.12 * some))
    return nets


def test_what_the_source_says_of_its_own_nets_is_reproduced_by_every_part_that_it_asks_for(put):
    nets = in_words_of_the_source(put)
    told = regime.judged(page(nets), found(nets), diffs_claims.parts(found(nets), ["resnet50", "vit", "mlp"]),
                         diffs_claims.CLAIMS, on="")  # fmt: skip
    assert set(told.verdict[told.by == "source"]) == {"reproduced"}
    assert set(told.n[told.by == "source"]) == {5}


def test_verdicts_take_their_margins_and_the_spread_is_a_difference(put):
    nets = [put(history(kind, seed), sd=0.2 + seed / 100) for kind in ("real", "noise") for seed in range(10, 15)]
    verdicts = diffs_claims.verdicts(page(nets), found(nets), "resnet50_cifar")
    assert verdicts.claim.drop_duplicates().tolist() == list(diffs_claims.CLAIMS)
    rows = verdicts.set_index("part")
    wider, centred = (
        rows.loc[f"fully-connected net, real images: {name}"] for name in (diffs_claims.WIDER, "|mean| / sd")
    )
    assert (wider.kind, wider.unit, wider.verdict) == ("differs", "log ratio", "holds")
    assert (centred.kind, centred.unit, centred.verdict) == ("same", "margins", "holds")
    ways = "fully-connected net, real images: ratio of ways"
    assert rows.loc[ways, "verdict"] == "holds"
    assert set(verdicts.by[verdicts.n > 0]) == {"ours"}


def told(nets):
    return diffs_words.sentences(page(nets), diffs_claims.verdicts(page(nets), found(nets), "resnet50_cifar"))


def test_sentences_have_the_numbers_of_the_records(put):
    ways, seeds = [(math.log(1.5), 0)] * 3, range(10, 13)
    nets = [put(history("real", seed), travel=ways, kurtosis=0.9 + seed / 100) for seed in seeds]
    nets += [put(history("noise", seed), {(2, "whole"): dict(agree=0.01, sd=0.2, dead=0.25)}) for seed in seeds]
    said = told(nets)
    assert said["normal_read"] == "Of 4 tests whether diffs are centred and normal, 3 stay inside their margin."
    assert "differ by a factor of 1.50 (fully-connected net)." in said["travel_read"]
    assert said["travel_read"].endswith(" Layers beyond either margin: 100 % (fully-connected net).")
    assert said["agree_read"].endswith("agree: +1.000 points on a fully-connected net.")
    assert said["mlp_read"] == (
        "The fully-connected net, by layer: on Gaussian images the spread is 0.8 to 0.8 times that of coin tossing and "
        "the excess kurtosis 0.5 to 0.5, on real images the spread is 0.8 to 0.8 times that of coin tossing and the "
        "excess kurtosis 1.0 to 1.0."
    )
    assert said["oq4_read"].startswith(
        "The ViT has not been run at this size. Fully-connected net: on Gaussian images diffs"
    )
    assert "2.00 times as wide as on real ones" in said["oq4_read"]
    assert "where the loss is 1.80 against 1.80 and 25 % against 0 % of the weights" in said["oq4_read"]
    assert said["main_words"] == "a ResNet50 (small stem)"
    assert said["histogram_words"] == "Nets: 0 on each kind of images."


def test_the_claims_are_told_of_their_own_nets_where_these_were_run(put):
    said = told([put(history(kind, 10, model)) for model in ("mlp", "vit") for kind in ("real", "noise")])
    assert "differ by a factor of 1.00 (ViT)." in said["travel_read"]
    assert said["strict_read"] == "Of 6 layers of all these nets 6 have diffs within both margins of DI1."


def test_a_layer_is_within_both_margins_or_it_is_not(put):
    odd = {(2, "fc1"): dict(mean=-0.02), (2, "fc2"): dict(kurtosis=-1.5)}
    assert "Of 3 layers of all these nets 1 have" in told([put(history(model="vit"), odd)])["strict_read"]


def test_spread_and_loss_go_together_from_epoch_to_epoch(put):
    rising = {(t, "whole"): dict(sd=t / 10) for t in range(4)}  # the loss falls
    assert diffs_words.with_loss(put(history(), rising)) == pytest.approx(-1)


def test_spread_and_coherence_go_together_from_layer_to_layer_and_from_epoch_to_epoch(put):
    spreads = {(2, layer): dict(sd=0.1 * k, coherence=0.02 / k) for k, layer in enumerate(LAYERS, 1)}
    spreads |= {(t, "whole"): dict(sd=0.1 + value) for t, value in enumerate(COHERENCE)}
    e = put(history(), spreads)
    assert diffs_words.across_layers(e) == pytest.approx(-1)
    assert diffs_words.over_epochs(e) == pytest.approx(1)
    both = "-1.00 from layer to layer at the peak and +1.00 from epoch to epoch"
    said = told([e, put(history("noise"), spreads)])["oq5_read"]
    assert said.endswith(f"in a fully-connected net: on real images {both}, on Gaussian images {both}.")


def test_the_answer_s_numbers_are_those_of_the_verdicts():
    claim, part = ["DI2", "DI4"], [part for _, part in diffs_words.ANSWERED.values()]
    rows = pd.DataFrame(dict(claim=claim, part=part, n=[5, 4], mean=[math.log(3), 1.0]))
    assert diffs_words.numbers(rows) == dict(spread="3.0", ways="1.2", nets="5")


def test_a_panel_that_is_zero_everywhere_is_not_drawn(put):
    table = diffs.by_layer(found([put(history(), {(2, "fc1"): dict(dead=0.1)})]), "mlp")
    assert list(diffs.seen(table, diffs.TRAVEL)) == ["travel", "dead"]
    assert list(diffs.seen(diffs.by_layer(found([]), "mlp"), diffs.TRAVEL)) == list(diffs.TRAVEL)


def test_a_histogram_that_is_all_at_one_place_is_cut_where_the_others_have_room():
    rows = [dict(layer=str(k), curve="diffs", diff=x, share=y) for k in range(20) for x, y in ((0, 0.1), (1, 0.05))]
    rows[0]["share"] = 0.9
    null = [dict(layer="0", curve=diffs.NULL, diff=0, share=0.7)]
    shares = diffs.cut(pd.DataFrame(rows + null)).share
    assert shares.iloc[[0, -1]].tolist() == pytest.approx([0.11, 0.11])
    assert shares.iloc[1:-1].tolist() == [row["share"] for row in rows[1:]]


def test_who_does_not_see_a_figure_is_told_what_is_to_be_seen(put):
    e = put(history())
    told_of = diffs.about(page([e]), found([e]), "mlp", diffs.SPREAD, "diffs", "Wide.")
    assert told_of["alt"].endswith("Gaussian images. Wide.")


def test_the_spike_is_a_part_of_the_last_layer_at_the_peak(put):
    counts = np.zeros((4, 4, 201), np.int32)
    counts[2, 3, [0, 20, 180, 100]] = 1, 1, 2, 6  # diffs of -1, -0.8, 0.8 and 0
    e = put(history(), histograms=counts)
    assert diffs_words.at_spike(e) == pytest.approx(30)
    said = told([e])
    assert said["relu_read"].endswith("has a |diff| from 0.75 to 0.85: 30 % on real images.")
    assert "ViT" in said["spikes_read"] and "30 %" not in said["spikes_read"]


@pytest.mark.parametrize(
    "ran, agree, words",
    [(0, 0, "No net that counts"), (1, 0, "In a ViT no more weights were seen"), (1, 0.01, "Gaussian images give")],
)
def test_whether_all_images_agree_on_a_weight_is_said_by_what_was_seen(put, ran, agree, words):
    nets = [put(history(kind, 10, "vit"), agree=agree * (kind == "noise")) for kind in ("real", "noise")] if ran else []
    assert told(nets)["agree_read"].startswith(words)


def test_every_outcome_has_its_sentence():
    assert set(diffs_words.AGREED) == {
        (ran, seen) for ran in (False, True) for seen in (False, True) if ran or not seen
    }


def test_without_any_net_sentences_say_so(store_folder):
    said = told([])
    assert said["normal_read"] == said["travel_read"] == said["agree_read"] == regime.NOBODY
    assert said["strict_read"] == "Not run at this size yet."
    assert said["vit_read"] == "The ViT has not been run at this size."
    assert said["oq4_read"] == f"{said['vit_read']} The fully-connected net has not been run at this size."
    assert diffs.agreeing(page([])).empty


def test_samples_vote_by_the_side_of_the_weight_on_which_they_stand():
    rows, captions = diffs.votes()
    at = rows[rows.weight == 0.7]
    assert (at[at.curve == "wants it smaller"].x < 0.7).all() and (at[at.curve == "wants it larger"].x >= 0.7).all()
    votes = (at.curve == "wants it smaller").sum() - (at.curve == "wants it larger").sum()
    assert captions[captions.weight == 0.7].caption.item() == f"diff {votes / 15:+.2f}"
    assert at[at.curve == "the weight"][["x", "y"]].values.tolist() == [[0.7, 0], [0.7, 16]]
