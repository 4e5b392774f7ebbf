"""Readings of coherence while nets train, on made-up records with known answers."""

import numpy as np
import pandas as pd
import pytest

from pruning_lab import GradientHistory, GradientSnapshots, Recipe, Train, replace, report
from pruning_lab.report import coherence, coherence_words, contrast, evidence

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
    assert coherence.at_the_end(found(nets), "mlp") == pytest.approx([np.log(3)])
    assert coherence.at_the_end(found(nets[:1]), "mlp") == coherence.at_the_end(found([]), "mlp") == []


def test_the_first_and_the_last_tenth_are_means_without_epoch_0(put):
    e = put(history(epochs=20), 7.0, 0.1, 0.3, *[0.5] * 16, 0.2, 0.6)
    assert (contrast.first(e), contrast.last(e)) == (pytest.approx(0.2), pytest.approx(0.4))
    short = put(history(epochs=4), 7.0, 0.1, 0.3, 0.2, 0.25)
    assert (contrast.first(short), contrast.last(short)) == (0.1, 0.25)


def test_a_peak_is_early_before_half_of_the_way_to_the_accuracy(put):
    at = [0.0, 0.3, 0.6, 0.8, 0.8]
    assert coherence.early(put(history(seed=0), 9, 3, 1, 1, 1, accuracy=at)) == pytest.approx(0.5 - 1 / 3)
    assert coherence.early(put(history(seed=1), 9, 1, 3, 1, 1, accuracy=at)) == pytest.approx(0.5 - 2 / 3)


def test_weights_are_alike_where_real_and_noise_end_nearer_than_they_began(put):
    steps = np.array([1.0, 2.0, 4.0, 8.0])[:, None] * np.ones((4, 500))
    real, noise = np.stack([0 * steps, steps]), np.stack([0 * steps, steps * [[0.9], [0.5], [1.5], [3.0]]])
    nets = [put(history("real"), 0, 1, magnitudes=real), put(history("noise"), 0, 1, magnitudes=noise)]
    assert coherence.likeness(*nets) == (pytest.approx(0.1), pytest.approx(0.5))
    assert coherence.alike(found(nets), "mlp") == {
        "all weights": pytest.approx([0.15]),
        "median layer": pytest.approx([-0.25]),
    }
    assert coherence.alike(found(nets[:1]), "mlp") == {"all weights": [], "median layer": []}


def test_magnitudes_shift_from_start_to_end_by_place(put):
    ends = np.stack([np.ones((2, 500)), 3 * np.ones((2, 500))])
    nets = [put(history(kind), 0, 1, magnitudes=ends) for kind in ("real", "noise", "again")]
    table = coherence.shifts(found(nets), "mlp")
    assert table.images.unique().tolist() == ["real images", "Gaussian images"] and len(table) == 2 * 100
    assert table["shift"].eq(2).all() and table["weights below, %"].iloc[[0, 99]].tolist() == pytest.approx(
        [0.5, 98.5], abs=0.01
    )
    assert coherence.shifts(found([]), "mlp").empty


def test_parts_are_named_by_net_and_only_the_full_length_tells_what_is_memorised(put):
    nets = [put(history(kind, model=m), 0, 2, 1) for m in ("resnet50_cifar", "vit") for kind in ("real", "noise")]
    nets += [put(history("again", model="resnet50_cifar"), 0, 1, 2)]
    parts = coherence.ratios(found(nets), ["resnet50_cifar", "vit"])
    assert {id: list(named) for id, named in parts.items()} == {
        "CO1": ["ResNet50", "ViT"],
        "CO2": ["ResNet50"],
        "CO4": ["ResNet50", "ViT"],
    }
    short, full = (coherence.others(found(nets, profile), "resnet50_cifar") for profile in ("night", "paper"))
    assert short["CO5"] == {"ResNet50, above 99 %": [], "ViT, below 90 %": []}
    assert full["CO5"] == {"ResNet50, above 99 %": [1.0], "ViT, below 90 %": [-10.0]}
    assert list(short["CO3"]) == ["ResNet50, all weights", "ResNet50, median layer"]
    assert short["CO6"] == {"ResNet50": [0.0], "ViT": [0.0]}


def test_verdicts_come_claim_by_claim_with_their_units(put):
    arms = [(kind, seed, 2 + seed if kind == "real" else 1) for seed in range(3) for kind in ("real", "noise")]
    nets = [put(history(kind, seed, epochs=1), 0, value) for kind, seed, value in arms]
    verdicts = coherence.judged(page(nets), found(nets), "resnet50_cifar")
    assert verdicts.claim.unique().tolist() == ["CO1", "CO2", "CO3", "CO4", "CO5", "CO6"]
    ours = verdicts[verdicts.part == "fully-connected net"].set_index("claim")
    assert set(ours.unit) == {"log ratio"}
    assert ours.verdict.to_dict() == {"CO1": "holds", "CO2": "not run", "CO4": "fails"}
    assert set(verdicts.overall) == {"not run"}, "our own net decides nothing"


def test_a_figure_has_every_epoch_of_either_record_and_the_level_of_what_was_differentiated(put):
    e = put(history(sample=5000, limit=None), 0.5, 0.2, 0.1)
    table = coherence.by_epoch(found([e]), "mlp")
    assert table.epoch.tolist() == [0, 1, 2] and table.coherence.tolist() == [0.5, 0.2, 0.1]
    assert table.test_accuracy.tolist() == [0, 0.25, 0.5] and set(table.arm) == {"real images"}
    told = coherence.about(page([e]), found([e]), "mlp")
    size = len(e.snapshots.net.split("train"))
    assert size < 5000 and told["floor"] == {"coherence": 1 / size}  # the set is smaller than the sample
    assert (told["title"], told["file"]) == ("fully-connected net, digits", "mlp-laptop.csv")
    none = coherence.about(page([e]), found([e]), "vit")
    assert none["floor"] == {"coherence": 1.0} and coherence.by_epoch(found([e]), "vit").empty


def test_spans_have_a_row_a_model_and_arm_averaged_as_logarithms(put):
    nets = [
        put(history("real", seed, epochs=3), 9, *values)
        for seed, values in enumerate([(0.1, 0.4, 0.2), (0.1, 0.05, 0.2)])
    ]
    table = coherence.spans(page(nets))
    row = dict(net="fully-connected net", data="digits", images="real images", peak="0.283", nets=2)
    row |= {"epoch of the peak": "2.5", "first tenth": "0.1", "last tenth": "0.2"}
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
    assert table["peak on real images"].tolist() == ["0.2", "0.8", "0.4", "0.2"]
    assert table["peak on Gaussian images"].tolist() == ["0.1", "not run", "0.2", "0.1"]
    ratios = coherence.statistics(page(nets))
    assert ratios.columns.tolist() == ["ResNet50 (small stem), log ratios", "CO1"] and ratios.CO1.tolist() == [
        "+0.69",
        "+0.69",
    ]


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
    assert (
        coherence_words.sentences(page(nets))["choices_read"]
        == coherence_words.SCALE[side].format(standardised=1, unit=unit) + " "
    )


def test_every_side_has_its_sentence():
    sides = {report.side(values, least=1) for values in ([], [1], [1, 1, 1], [-1, -1, -1], [-1, 0, 1])}
    assert sides == set(coherence_words.SCALE)


def test_sentences_have_the_numbers_of_the_records(put):
    peaks = dict(real=0.4, noise=0.1, again=0.2)
    nets = [put(history(kind, seed), 9, 0.01, peak, 0.01, 0.01) for seed in range(2) for kind, peak in peaks.items()]
    nets += [
        put(history(kind, model="resnet50_cifar"), 9, 0.3, 0.1, 0.1, 0.1, refreshed=2) for kind in ("real", "noise")
    ]
    told = coherence_words.sentences(page(nets))
    begin = "Peak coherence on real images over that on Gaussian ones: "
    both = "1.0 times on a ResNet50 (small stem) (digits, 1 net), 4.0 times on a fully-connected net (digits, 2 nets)"
    assert told["answer_co1"] == begin + both
    assert told["answer_co2"].endswith(
        " on real images from fresh ones: 0.50 on a fully-connected net (digits, 2 nets)"
    )
    assert told["answer_co6"].endswith(" real images comes after 0.25 of them on a ResNet50 (1 net)")
    assert told["mlp_read"] == (
        "On the fully-connected net, coherence peaks at 0.4 on real images (epoch 2) and at 0.1 on Gaussian ones, "
        "of which it gets 100 % right in the end."
    )
    assert told["vit_read"] == "The ViT has not been run at this size."
    assert told["choices_read"] == " The images' own statistics move ResNet50's peak by a factor of 2.00."


def test_the_likeness_of_weights_is_told_as_measured(put):
    parts = {"all weights": [0.15, 0.05], "median layer": [-0.25]}
    told = coherence_words._magnitudes(parts)
    assert told.endswith("the start: 0.15 (all weights) and 0.50 (median layer); the claim needs less than 0.25.")


def test_without_any_net_sentences_say_so(store_folder):
    told = coherence_words.sentences(page([]))
    assert told["answer_co1"] == told["answer_co2"] == "Not run yet"
    assert told["magnitudes_read"] == "Not run at this size yet."
    assert told["answer_co6"] == "Whether it peaks early is not known at this size yet"
    assert told["choices_read"].strip() == ""
    reads = {told[f"{name}_read"] for name in ("main", "vit", "mlp")}
    assert reads == {f"The {name} has not been run at this size." for name in NAMES}


@pytest.mark.parametrize("degrees, value", [(0, 1.0), (90, 0.5), (180, 0.0)])
def test_two_arrows_agree_are_unrelated_or_cancel(degrees, value):
    rows, told = coherence.fans()
    caption = told.query("samples == 2 and angle == @degrees").caption.item()
    assert caption == f"coherence {value:.2f}"
    ends = rows[(rows.samples == 2) & (rows.angle == degrees)].groupby("curve", sort=False)[["x", "y"]].last()
    assert ends.index.tolist() == ["sample 1", "sample 2", "their mean"]
    pd.testing.assert_series_equal(ends.iloc[2], ends.iloc[:2].mean(), check_names=False, atol=1e-4)
