"""Readings of coherence while nets train, on made-up records with known answers."""

import numpy as np
import pandas as pd
import pytest

from pruning_lab import GradientHistory, GradientSnapshots, Recipe, Train, figures, replace, report
from pruning_lab.report import (
    claims,
    coherence,
    coherence_claims,
    coherence_views,
    coherence_words,
    contrast,
    evidence,
    regime,
)

REAL = Train("digits", "mlp", Recipe("adam", lr=1e-3, batch=64, epochs=4), width=4, limit=100, scale="standardised")
NAMES = ("fully-connected net", "ViT", "ResNet50 (small stem)")


def history(kind="real", seed=0, model="mlp", epochs=4, scale="standardised", sample=64, **settings):
    net = replace(REAL, model=model, seed=seed, scale=scale, **settings)
    noise = replace(net, dataset="gaussian:digits", recipe=replace(net.recipe, epochs=epochs))
    arms = dict(real=replace(net, recipe=noise.recipe), noise=noise, again=replace(noise, start=net))
    return GradientHistory(GradientSnapshots(arms[kind], tuple(range(epochs + 1)), sample))


@pytest.fixture
def put(made_up):
    """Stores a history of given coherences from epoch 0 on, and its net, which learns in even steps."""

    def put(e, *values, magnitudes=None, refreshed=1.0, accuracy=None):
        peak = 1 + int(np.argmax(values[1:]))
        rows = [
            dict(epoch=t, loss=1.0, layer=layer, peak=t == peak, coherence=value, refreshed=value * refreshed)
            for t, value in enumerate(values)
            for layer in ("whole", "fc1")
        ]
        made_up(
            e, rows, magnitudes=np.stack([np.zeros((2, 500)), np.ones((2, 500))]) if magnitudes is None else magnitudes
        )
        accuracy = [t / (len(values) - 1) for t in range(len(values))] if accuracy is None else accuracy
        losses = dict(train_loss=2, test_loss=3)
        lines = [losses | dict(epoch=t, train_accuracy=a, test_accuracy=a / 2) for t, a in enumerate(accuracy)]
        made_up(e.snapshots.net, lines)
        return e

    return put


def page(nets, profile="laptop"):
    return report.Page("03_coherence", lambda name: nets if name == profile else [], profile)


def found(nets, profile="laptop"):
    return evidence.stored(profile, nets)


@pytest.mark.parametrize("kind", ["real", "noise", "again"])
def test_the_arm_of_a_net_is_read_off_its_images_and_its_start(kind):
    assert contrast.arm(history(kind).snapshots.net) == kind


def test_histories_are_of_one_model_arm_and_scale_by_seed(put):
    nets = [put(history(kind, seed), 0, 1, 2) for seed in (1, 0) for kind in ("real", "noise", "again")]
    nets += [put(history(model="vit"), 0, 1, 2), put(history(scale="unit"), 0, 1, 2)]
    assert list(contrast.histories(found(nets), "mlp", "again")) == [1, 0]
    assert contrast.histories(found(nets), "mlp", "again")[1] == history("again", 1)
    assert contrast.histories(found(nets), "mlp", "real", scale="unit") == {0: history(scale="unit")}
    assert contrast.histories(found(nets), "vit", "noise") == {}


def test_a_part_is_the_log_of_the_ratio_of_peaks_after_epoch_0_of_nets_in_both_arms(put):
    nets = [put(history("real", seed), 9.0, 0.1, 0.4) for seed in range(3)]
    nets += [put(history("noise", seed), 9.0, 0.1 * (1 + seed), 0.05) for seed in range(2)]
    assert coherence.compare(found(nets), "mlp", "real", "noise") == pytest.approx([np.log(4), np.log(2)])
    assert coherence.compare(found(nets), "mlp", "noise", "real") == pytest.approx([-np.log(4), -np.log(2)])
    assert coherence.compare(found(nets), "mlp", "real", "again") == []


def test_the_end_is_the_last_tenth_of_the_epochs_that_both_arms_have(put):
    real, noise = [0.5] * 9 + [0.8, 0.1], [0.2] * 9 + [0.7, 0.3] + [0.9] * 10
    nets = [put(history("real", epochs=10), *real), put(history("noise", epochs=20), *noise)]
    assert coherence_claims.at_the_end(*nets) == pytest.approx(np.log(3))


def test_the_first_and_the_last_tenth_are_means_without_epoch_0(put):
    e = put(history(epochs=20), 7.0, 0.1, 0.3, *[0.5] * 16, 0.2, 0.6)
    assert (contrast.first(e), contrast.last(e)) == (pytest.approx(0.2), pytest.approx(0.4))
    short = put(history(epochs=4), 7.0, 0.1, 0.3, 0.2, 0.25)
    assert (contrast.first(short), contrast.last(short)) == (0.1, 0.25)


def test_a_peak_is_early_before_half_of_the_epochs_until_the_images_are_fitted(put):
    at = [0.0, 0.3, 0.6, 0.99, 1.0]
    assert coherence_claims.early(put(history(seed=0), 9, 3, 1, 1, 1, accuracy=at)) == pytest.approx(0.5 - 1 / 3)
    assert coherence_claims.early(put(history(seed=1), 9, 1, 3, 1, 1, accuracy=at)) == pytest.approx(0.5 - 2 / 3)


def test_weights_are_alike_where_real_and_noise_end_nearer_than_they_began(put):
    steps = np.array([1.0, 2.0, 4.0, 8.0])[:, None] * np.ones((4, 500))
    real, noise = np.stack([0 * steps, steps]), np.stack([0 * steps, steps * [[0.9], [0.5], [1.5], [3.0]]])
    nets = [put(history(kind, model="resnet50"), 0, 1, magnitudes=m) for kind, m in (("real", real), ("noise", noise))]
    assert coherence_claims.likeness(*nets) == (pytest.approx(0.1), pytest.approx(0.5))
    parts = coherence_claims.parts(found(nets), ["resnet50"])["CO3"]
    assert {part: m.values.to_dict() for part, m in parts.items()} == {
        "ResNet50, all weights": {0: pytest.approx(0.15)},
        "ResNet50, median layer": {0: pytest.approx(-0.25)},
    }
    alone = coherence_claims.parts(found(nets[:1]), ["resnet50"])["CO3"]
    assert all(m.values.empty and not m.short for m in alone.values())


def test_magnitudes_shift_from_start_to_end_by_place(put):
    ends = np.stack([np.ones((2, 500)), 3 * np.ones((2, 500))])
    nets = [put(history(kind), 0, 1, magnitudes=ends) for kind in ("real", "noise", "again")]
    table = coherence.shifts(found(nets), "mlp")
    assert table.images.unique().tolist() == ["real images", "Gaussian images"] and len(table) == 2 * 100
    assert table["shift"].eq(2).all() and table["weights below, %"].iloc[[0, 99]].tolist() == pytest.approx(
        [0.5, 98.5], abs=0.01
    )
    assert coherence.shifts(found([]), "mlp").empty


def test_parts_are_those_of_the_claims_and_only_the_full_length_tells_what_is_memorised(put):
    nets = [put(history(kind, model=m), 0, 2, 1) for m in ("resnet50_cifar", "vit") for kind in ("real", "noise")]
    nets += [put(history("again", model="resnet50_cifar"), 0, 1, 2)]
    models = ["resnet50_cifar", "vit", "mlp"]
    parts = coherence_claims.parts(found(nets), models)
    assert list(parts) == list(coherence_claims.CLAIMS)
    for id, named in parts.items():
        assert set(named) == {part.name for part in claims.load()[id].parts}, id
    short, full = (coherence_claims.parts(found(nets, p), models)["CO5"] for p in ("night", "paper"))
    assert {name: (len(m.values), m.short) for name, m in short.items()} == dict.fromkeys(short, (0, 1))
    assert {name: m.values.tolist() for name, m in full.items()} == {
        "ResNet50, above 99 %": [1.0],
        "ViT, below 90 %": [-10.0],
    }
    assert parts["CO6"]["ViT"].values.tolist() == [0.0]


RISING = [0.0, 0.3, 0.8, 1.0]
LEVEL = [0.0, 0.5, 0.7, 0.7, 0.7]


@pytest.mark.parametrize(
    "accuracy, fits, settled",
    [
        (RISING, True, True),
        (LEVEL, False, True),
        ([0.0, 0.1, 0.1, 0.1], False, False),  # level, but it never left chance
        ([0.0, 0.3, 0.5, 0.7], False, False),  # it still learns
        ([*[0.1] * 5, *np.linspace(0.5, 0.519, 5)], False, True),
        ([*[0.1] * 8, 0.5, 0.521], False, False),
        ([0.0, 0.98, 0.9899], False, True),
        ([0.7, 0.7], False, True),
    ],
)
def test_a_net_got_there_where_it_fits_or_has_left_chance_and_learns_no_more(put, accuracy, fits, settled):
    e = put(history("noise", epochs=len(accuracy) - 1), *[0.1] * max(2, len(accuracy)), accuracy=accuracy)
    assert (regime.fits(e), regime.settled(e)) == (fits, settled)


def test_a_plateau_is_read_off_a_straight_line_over_the_last_fifth(put):
    jumps = [0.1] * 16 + [0.5, 0.6, 0.5, 0.6, 0.5]
    e = put(history("noise", epochs=20), *[0.1] * 21, accuracy=jumps)
    assert regime.rise(e) == pytest.approx(0.0)
    assert regime.settled(e)


def test_nets_that_did_not_get_there_have_no_number_and_are_counted(put):
    far, near = [0, 0.5, 1.0], [0, 0.5, 0.9]
    nets = [put(history("real", seed), 0, 0.4, 0.1, accuracy=far if seed else near) for seed in range(4)]
    nets += [put(history("noise", s), 0, 0.1, 0.2, accuracy=[0, 0.5, 0.8] if s == 1 else far) for s in range(3)]
    parts = coherence_claims.parts(found(nets), ["mlp"])
    both = parts["CO1"]["fully-connected net"]
    assert both.values.to_dict() == {2: pytest.approx(np.log(2))}  # 0 does not fit, 1 still learns noise, 3 has no twin
    assert both.short == 2
    again = parts["CO2"]["fully-connected net"]
    assert again.values.empty and not again.short


def test_a_coherence_is_read_under_the_images_own_statistics_where_there_are_batch_norms(put, made_up):
    e = put(history(), 9, 1, 3, 2, refreshed=0.5)
    assert (contrast.reading(e), contrast.peak(e), contrast.peak(e, "coherence")) == ("refreshed", 1.5, 3)
    table = pd.DataFrame(dict(epoch=[0, 1, 2], layer="whole", coherence=[9, 1, 3.0], refreshed=[9, 5, 2.0], peak=False))
    made_up(history(seed=1), table.to_dict("records"))
    assert contrast.peak_epoch(history(seed=1)) == 1
    assert contrast.peak_epoch(history(seed=1), "coherence") == 2
    made_up(history(seed=2), table.drop(columns="refreshed").to_dict("records"))
    assert (contrast.reading(history(seed=2)), contrast.peak_epoch(history(seed=2))) == ("coherence", 2)


# the source's own statements: it has figures here and no numbers

NOISE = dict(accuracy=[0.1, 0.1, 0.1, 0.3, 0.5, 0.8, 0.99, 1.0, 1.0, 1.0, 1.0])
SPIKE = (0.02, 0.01, 0.01, 0.03, 0.04, 0.03, 0.01, 0.01, 0.01, 0.01, 0.01)


def test_while_noise_is_memorised_there_is_a_spike_over_what_is_before_and_after(put):
    e = put(history("noise", epochs=10), *SPIKE, **NOISE)
    before, during, after = coherence_claims.phases(e)
    assert [list(part.index) for part in (before, during, after)] == [[1, 2], [3, 4, 5], [6, 7, 8, 9, 10]]
    assert coherence_claims.spike(e) == pytest.approx(np.log([3, 4, 3]).mean())
    flat = put(history("noise", 1, epochs=10), *[0.01] * 11, **NOISE)
    assert coherence_claims.spike(flat) == pytest.approx(0)
    at_once = put(history("noise", 2, epochs=10), *SPIKE, accuracy=[0.1, *[1.0] * 10])
    assert np.isnan(coherence_claims.spike(at_once))  # no snapshot while it memorises
    from_the_start = put(history("noise", 3, epochs=10), *SPIKE, accuracy=[0.1, *[0.5] * 5, *[1.0] * 5])
    assert coherence_claims.spike(from_the_start) == pytest.approx(np.log([1, 1, 3, 4, 3]).mean())


def test_the_spike_is_small_beside_a_peak_of_more_than_twice_its_height(put):
    noise = put(history("noise", epochs=10), *SPIKE, **NOISE)
    for seed, peak in enumerate((0.08, 0.32)):
        real = put(history("real", seed, epochs=10), 9, peak, *[0.01] * 9)
        assert coherence_claims.below(real, noise) == pytest.approx(np.log(peak / 0.08))


def test_at_equal_loss_coherences_are_read_off_straight_lines(put, made_up):
    real, noise = history("real", epochs=2), history("noise", epochs=2)
    for e, losses, values in ((real, (2.5, 1.0), (0.4, 0.4)), (noise, (2.0, 0.1), (0.1, 0.1))):
        put(e, 9, *values)
        rows = [dict(epoch=t, train_loss=loss, train_accuracy=1.0) for t, loss in enumerate((9, *losses))]
        made_up(e.snapshots.net, rows)
    assert coherence_claims.at_equal_loss(real, noise) == pytest.approx(np.log(4))
    made_up(noise.snapshots.net, [dict(epoch=t, train_loss=0.01, train_accuracy=1.0) for t in range(3)])
    assert np.isnan(coherence_claims.at_equal_loss(real, noise))


def like_the_source(put):
    """Figures 1.1, 2.1, 2.2 and 2.4 in words: real images peak early and highest and fall off, noise is memorised late
    with a small spike, also after trained weights; the transformer learns only some of it.
    """
    some = [0.1, 0.1, 0.2, 0.4, 0.6, 0.7, 0.7, 0.7, 0.7, 0.7, 0.7]
    learnt = [0.1, 0.5, 0.8, 0.9, 0.95, 0.99, 1.0, 1.0, 1.0, 1.0, 1.0]
    nets = []
    for seed, model in ((seed, model) for seed in range(10, 15) for model in ("resnet50", "vit")):
        scale = 1 + 0.01 * (seed - 10)
        start = np.stack([np.zeros((2, 500)), np.ones((2, 500))])
        real = [0.01, 0.3, 0.2 * scale, 0.1, 0.05, 0.02, 0.01, 0.006, 0.005, 0.005 / scale, 0.004 / scale]
        nets.append(put(history("real", seed, model, epochs=10), *real, accuracy=learnt, magnitudes=start))
        noise = [value * scale for value in SPIKE]
        accuracy = some if model == "vit" else NOISE["accuracy"]
        for kind in ("noise", "again")[: 1 + (model != "vit")]:
            near = start * (1 + 0.05 * scale)
            nets.append(put(history(kind, seed, model, epochs=10), *noise, accuracy=accuracy, magnitudes=near))
    return nets


def test_what_the_source_says_of_its_own_nets_is_reproduced_by_every_part_that_it_asks_for(put):
    nets = like_the_source(put)
    parts = coherence_claims.parts(found(nets, "paper"), ["resnet50", "vit", "mlp"])
    told = regime.judged(page(nets, "paper"), found(nets, "paper"), parts, coherence_claims.CLAIMS, on="")
    theirs = told[told.by == "source"].set_index("label")
    early = [label for label in theirs.index if label.startswith(("CO5", "CO6"))]  # all nets alike: no spread
    assert set(theirs.verdict.drop(early)) == {"reproduced"}
    assert set(theirs.verdict[early]) == {"open"}
    assert (theirs["mean"][early] > 0).all()


def test_verdicts_come_claim_by_claim_with_their_units(put):
    arms = [(kind, 10 + seed, 2 + seed if kind == "real" else 1) for seed in range(5) for kind in ("real", "noise")]
    nets = [put(history(kind, seed, epochs=1), 0, value) for kind, seed, value in arms]
    verdicts = coherence_claims.verdicts(page(nets), found(nets), "resnet50_cifar")
    assert verdicts.claim.unique().tolist() == list(coherence_claims.CLAIMS)
    ours = verdicts[verdicts.part == "fully-connected net"].set_index("claim")
    assert set(ours.unit) == {"log ratio"}
    assert ours.verdict.to_dict() == {"CO1": "holds", "CO2": "not run", "CO4": "fails"}
    assert set(verdicts.overall) == {"not run"}, "our own net decides nothing"


def test_nets_from_before_the_amendment_and_fewer_than_were_fixed_decide_nothing(put):
    nets = [put(history(kind, s), 0, 1 + s * (kind == "real")) for s in (0, 1, 2, 10, 11) for kind in ("real", "noise")]
    rows = coherence_claims.verdicts(page(nets), found(nets), "resnet50_cifar")
    row = rows[rows.label == "CO1  fully-connected net"].iloc[0]
    assert (row.verdict, row.n, row.reason) == ("open", 2, "2 of 5 nets so far")
    assert row.counted == [False] * 3 + [True] * 2


def test_a_figure_has_every_epoch_of_either_record_and_the_level_of_what_was_differentiated(put):
    e = put(history(sample=5000, limit=None), 0.5, 0.2, 0.1)
    table = coherence.by_epoch(found([e]), "mlp")
    assert table.epoch.tolist() == [0, 1, 2] and table.coherence.tolist() == [0.5, 0.2, 0.1]
    assert table.test_accuracy.tolist() == [0, 25, 50] and set(table.arm) == {"real images"}
    assert table.running.tolist() == table.coherence.tolist()
    told = coherence.about(page([e]), found([e]), "mlp")
    size = len(e.snapshots.net.split("train"))
    assert size < 5000 and told["floor"]["coherence"] == 1 / size  # the set is smaller than the sample
    assert (told["title"], told["file"]) == ("fully-connected net, digits", "mlp-laptop.csv")
    none = coherence.about(page([e]), found([e]), "vit")
    assert none["floor"]["coherence"] == 1.0 and coherence.by_epoch(found([e]), "vit").empty


def test_the_peaks_of_all_nets_stand_side_by_side(put):
    nets = [put(history(kind, s), 9, 0.1 * (1 + s)) for s in range(2) for kind in ("real", "noise", "again")]
    table = coherence.highest(page([*nets, put(history(model="vit"), 9, 0.3)]))
    assert table.groupby(["label", "arm"], sort=False).peak.apply(list).to_dict() == {
        ("ViT", "real images"): [0.3],
        **{("fully-connected net", arm): pytest.approx([0.1, 0.2]) for arm in contrast.ARMS.values()},
    }
    assert coherence.highest(page([])).empty


def test_nets_that_stay_at_chance_are_marked_in_figures_and_in_the_table(put):
    nets = [put(history(kind, s), 9, 0.1, 0.2, accuracy=[0, end, end]) for s in range(2)
            for kind, end in (("real", 0.2 if s else 0.5), ("noise", 0.1))]  # fmt: skip
    table = coherence.highest(page(nets))
    assert table.groupby("arm", sort=False).idle.apply(list).to_dict() == {
        "real images": [False, True], "Gaussian images": [True, True],
    }  # fmt: skip
    assert [regime.at_chance(e) for e in nets] == [False, True, True, True]
    lines = coherence.by_epoch(found(nets), "mlp")
    assert set(lines.arm) == {"real images", "real images, at chance", "Gaussian images, at chance"}
    told = coherence.about(page(nets), found(nets), "mlp")
    drawn = figures.panels(lines, coherence.MEASURES, **told)
    marks = {t.name.partition(" (")[0]: (t.marker.symbol, t.line.color) for t in drawn.data if t.fill != "toself"}
    assert marks["real images, at chance"] == ("circle-open", figures.colour("real images"))
    assert marks["real images"] == (None, figures.colour("real images"))
    ends = coherence.spans(page(nets))["right in the last epoch"].tolist()
    assert ends == ["35.0 %; at chance: 1 of 2", "10.0 %; at chance: 2 of 2"]


def test_spans_have_a_row_a_model_and_arm_averaged_as_logarithms(put):
    nets = [
        put(history("real", seed, epochs=3), 9, *values)
        for seed, values in enumerate([(0.1, 0.4, 0.2), (0.1, 0.05, 0.2)])
    ]
    table = coherence.spans(page(nets))
    row = dict(net="fully-connected net", data="digits", images="real images", peak="0.283", nets=2)
    row |= {"epoch of the peak": "2.5", "first tenth": "0.1", "last tenth": "0.2", "right in the last epoch": "100.0 %"}
    assert table.to_dict("records") == [row]
    assert coherence.spans(page([])).empty


@pytest.mark.parametrize(
    "values, words",
    [([], "not run"), ([0.25], "0.25"), ([0.5, 0.5], "0.5 (0.5 to 0.5)"), ([0.1, 0.4], "0.2 (2.99e-05 to 1.34e+03)")],
)
def test_coherences_are_averaged_as_logarithms(values, words):
    assert coherence.scaled(values) == words


def test_what_the_source_leaves_open_has_a_row_each(put):
    nets = [put(history(kind), 0, value) for kind, value in (("real", 0.2), ("noise", 0.1))]
    nets += [put(history("real", scale="unit"), 0, 0.8)]
    nets += [
        put(history(kind, model="resnet50_cifar"), 0, value, refreshed=0.5)
        for kind, value in (("real", 0.4), ("noise", 0.2))
    ]
    table = coherence.choices(page(nets))
    assert table.choice.tolist() == ["standardised pixels", "pixels in [0, 1]", *coherence.STATISTICS]
    assert table["peak on real images"].tolist() == ["0.2", "0.8", "0.2", "0.4"]
    assert table["peak on Gaussian images"].tolist() == ["0.1", "not run", "0.1", "0.2"]
    readings = coherence_views.readings(page(nets))
    assert readings.CO1.tolist() == ["+0.69", "+0.69"]
    assert readings.CO2.tolist() == ["not run", "not run"]


def test_coherence_by_loss_has_a_column_a_kind_of_net_at_losses_that_the_net_went_through(put, made_up):
    real, noise = history("real", epochs=2), history("noise", epochs=2)
    for e, losses, values in ((real, (2.0, 0.3), (0.4, 0.1)), (noise, (2.3, 2.2), (0.1, 0.1))):
        put(e, 9, *values)
        rows = [dict(epoch=t, train_loss=loss, train_accuracy=1.0) for t, loss in enumerate((9, *losses))]
        made_up(e.snapshots.net, rows)
    table = coherence_views.by_level(page([real, noise]))
    assert list(table) == ["training loss", "arm", "seed", "ResNet50", "ViT", "fully-connected net"]
    seen = table[table.arm == "real images"].set_index("training loss")["fully-connected net"]
    assert seen.index.tolist() == [2.0, 1.7, 1.4, 1.2, 1.0, 0.8, 0.6, 0.4, 0.3]
    assert (seen[2.0], seen[0.3]) == (pytest.approx(0.4), pytest.approx(0.1))
    assert seen[1.2] == pytest.approx(np.exp(np.interp(1.2, [0.3, 2.0], np.log([0.1, 0.4]))))
    assert table[table.arm == "Gaussian images"]["training loss"].tolist() == [2.3]
    assert table.ViT.isna().all()
    assert coherence_views.by_level(page([])).empty
    drawn = figures.panels(table, coherence_views.MODELS, **coherence_views.about_levels(page([real, noise])))
    assert len(drawn.data) == 2


def test_a_net_that_went_through_none_of_the_losses_has_no_line(put, made_up):
    e = put(history(), 9, 0.1, 0.2)
    made_up(e.snapshots.net, [dict(epoch=t, train_loss=0.001, train_accuracy=1.0) for t in range(3)])
    assert coherence_views.by_level(page([e])).empty


def test_how_nets_were_trained_is_read_off_the_nets_that_are_shown(put):
    nets = [put(history("real", epochs=3), 0, 1), put(history("noise", epochs=5), 0, 1)]
    nets += [put(history("real", model="vit", epochs=3, width=None, limit=None), 0, 1)]
    rows = contrast.settings(page(nets)).set_index("net")
    row = rows.loc["fully-connected net"]
    assert (row["training images"], row.width, row.optimiser, row.rate) == ("100", "4", "adam", 1e-3)
    assert (row.epochs, row.differentiated, row.data) == ("3 and 5", 64, "digits")
    assert rows.loc["ViT", ["training images", "width", "epochs"]].tolist() == ["all", "full", "3"]
    assert contrast.settings(page([])).empty


def test_who_does_not_see_a_figure_is_told_what_is_to_be_seen(put):
    e = put(history(), 0, 1)
    assert coherence.about(page([e]), found([e]), "mlp", "It rises.")["alt"].endswith("Gaussian images. It rises.")
    assert coherence.about(page([e]), found([e]), "mlp")["alt"].endswith("Gaussian images.")


def test_what_is_told_of_a_claim_is_told_of_the_source_s_nets_where_one_counts():
    rows = pd.DataFrame(
        dict(
            claim="CO7",
            part=["ResNet50: spike", "ViT: spike", "ViT: other"],
            by=["source", "ours", "ours"],
            n=[0, 3, 3],
        )
    ).assign(mean=np.log(2), low=np.log(1.5), high=np.log(2.5), unit="log ratio")
    assert regime.decided(rows, "CO7", "spike").part.tolist() == ["ViT: spike"]
    assert regime.decided(rows.assign(n=3), "CO7", "spike").part.tolist() == ["ResNet50: spike"]
    assert regime.decided(rows, "CO1").empty
    begin = "Coherence while noise is memorised, over that before or after"
    told_of = coherence_words._factors(rows, "CO7", ": spike", begin)
    assert told_of == f"{begin}: 2.0 times (1.5 to 2.5), 3 nets (ViT)."
    assert coherence_words._factors(rows.assign(n=0), "CO7", ": spike", begin) == regime.NOBODY


def test_the_larger_run_that_has_a_net_is_shown_and_origins_are_told_apart(put):
    mlp, vit = put(history(model="mlp"), 0, 1), put(history(model="vit"), 0, 1)
    two = report.Page("03", lambda name: dict(laptop=[mlp], night=[vit]).get(name, []), "laptop")
    assert contrast.home(two, "mlp").profile == "laptop" and contrast.deep(two).profile == "night"
    assert contrast.resnets(two) == ["resnet50_cifar"]
    pieces = contrast.origin(two).split("; ")
    assert [piece for piece in pieces if ":" in piece and "profile" in piece] == [
        "fully-connected net: profile laptop", "ResNet50: profile laptop", "ViT: profile night"
    ]  # fmt: skip
    assert contrast.origin(page([mlp])).startswith("profile laptop")


def test_both_kinds_of_resnet_are_named_where_both_were_run(put):
    nets = [put(history(model=model), 0, 1) for model in ("resnet50_cifar", "resnet50")]
    assert contrast.resnets(page(nets)) == ["resnet50", "resnet50_cifar"]


@pytest.mark.parametrize(
    "factors, side", [((2, 2.1, 2.2), "above"), ((0.5, 0.6, 0.4), "below"), ((1, 2, 0.5), "open"), ((2,), "open")]
)
def test_which_is_ahead_with_pixels_from_0_to_1_is_said_by_the_interval(put, factors, side):
    nets = [put(history(kind, s), 0, 1) for s in range(len(factors)) for kind in ("real", "noise")]
    nets += [put(history("real", s, scale="unit"), 0, factor) for s, factor in enumerate(factors)]
    nets += [put(history("noise", s, scale="unit"), 0, 1) for s in range(len(factors))]
    unit = np.exp(np.mean(np.log(factors)))
    said = coherence_words.SCALE[side].format(standardised=1, unit=unit)
    assert told(nets)["pixels_read"] == said


def test_every_side_has_its_sentence():
    sides = {report.side(values, least=1) for values in ([], [1], [1, 1, 1], [-1, -1, -1], [-1, 0, 1])}
    assert sides == set(coherence_words.SCALE)


def told(nets):
    return coherence_words.sentences(page(nets), coherence_claims.verdicts(page(nets), found(nets), "resnet50_cifar"))


def test_sentences_have_the_numbers_of_the_records(put):
    peaks = dict(real=0.4, noise=0.1)
    nets = [put(history(kind, seed), 9, 0.01, peak, 0.01, 0.01) for seed in range(2) for kind, peak in peaks.items()]
    nets += [
        put(history(kind, model="resnet50_cifar"), 9, 0.3, 0.1, 0.1, 0.1, refreshed=0.5) for kind in ("real", "noise")
    ]
    said = told(nets)
    assert said["mlp_read"] == (
        "On the fully-connected net, coherence peaks at 0.4 on real images (epoch 2) and at 0.1 on Gaussian ones "
        "(epoch 2); in the last epoch it gets 100 % and 100 % of them right."
    )
    assert said["vit_read"] == "The ViT has not been run at this size."
    assert said["norms_read"] == "Running statistics move ResNet50's peak by a factor of 2.00."
    got_there = "Nets that got there on both kinds of images: ResNet50 (small stem) 1 of 1, fully-connected net 2 of 2."
    assert said["regime_read"] == got_there


def test_the_likeness_of_weights_is_told_as_measured(put):
    rows = pd.DataFrame(dict(claim="CO3", part=["all weights", "median layer"], n=3, mean=[0.1, -0.25]))
    said = coherence_words._magnitudes(rows)
    assert said.endswith("the start: 0.15 (all weights) and 0.50 (median layer); the claim needs less than 0.25.")


def test_the_answer_s_numbers_are_those_of_the_verdicts():
    rows = pd.DataFrame(dict(claim="CO1", part=["ViT", "ResNet50"], n=[5, 3], mean=np.log([4.0, 2.0])))
    assert coherence_words.numbers(rows) == dict(vit="4.0", resnet="2.0", nets="5")


def test_without_any_net_sentences_say_so(store_folder):
    said = told([])
    assert {said[name] for name in ("magnitudes_read", "spike_read", "again_read")} == {regime.NOBODY}
    assert said["regime_read"] == "Nothing has been run at this size yet."
    assert said["pixels_read"] == said["norms_read"] == ""
    reads = {said[f"{name}_read"] for name in ("main", "vit", "mlp")}
    assert reads == {f"The {name} has not been run at this size." for name in NAMES}


@pytest.mark.parametrize("degrees, value", [(0, 1.0), (90, 0.5), (180, 0.0)])
def test_two_arrows_agree_are_unrelated_or_cancel(degrees, value):
    rows, told = coherence.fans()
    caption = told.query("samples == 2 and angle == @degrees").caption.item()
    assert caption == f"coherence {value:.2f}"
    ends = rows[(rows.samples == 2) & (rows.angle == degrees)].groupby("curve", sort=False)[["x", "y"]].last()
    assert ends.index.tolist() == ["sample 1", "sample 2", "their mean"]
    pd.testing.assert_series_equal(ends.iloc[2], ends.iloc[:2].mean(), check_names=False, atol=1e-4)
