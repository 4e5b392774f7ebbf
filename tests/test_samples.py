"""Samples are looked at before anything is computed with them, by one check for units and gradients."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from pruning_lab import gradients, masks, samples, units


def split(**other):
    made = dict(images=torch.randn(6, 4), labels=torch.tensor([0, 1, 2, 0, 1, 2]), classes=("a", "b", "c"))
    return SimpleNamespace(**made | other)


MEASURES = {
    "units": lambda model, data: units.removal_losses(model, "0", data),
    "gradients": lambda model, data: gradients.statistics(model, data),
    "masks": lambda model, data: masks.scores(model, "diff", data=data),
}


@pytest.mark.parametrize("measure", MEASURES)
def test_units_gradients_and_masks_refuse_alike(measure):
    def tried(**other):
        outputs = other.pop("outputs", 3)
        model = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, outputs))
        return lambda: MEASURES[measure](model, split(**other))

    label = torch.zeros(6, dtype=torch.int64)
    for call, text in [
        (tried(images=None), r"split has images NoneType and labels \[6\]: expected tensors \[N, ...\] of the same N"),
        (tried(images=torch.tensor(1.0)), r"split has images \[\] and labels \[6\]: expected tensors"),
        (tried(labels=label[:5]), r"split has images \[6, 4\] and labels \[5\]: expected tensors"),
        (tried(images=torch.zeros(0, 4), labels=label[:0]), "split has no samples: expected at least one"),
        (tried(labels=label + 3), "labels go from 3 to 3, but the model has 3 outputs: expected 0 to 2"),
        (tried(labels=label - 1), "labels go from -1 to -1, but the model has 3 outputs: expected 0 to 2"),
        (tried(labels=label[:, None]), r"for labels \[., 1\]: expected logits \[n, classes\] of two classes or more"),
        (tried(labels=label, outputs=1), r"the model gives \[., 1\] for labels \[.\]: expected logits .*two classes"),
        (tried(labels=label.float()), "float32.*whole number"),
    ]:
        with pytest.raises(ValueError, match=text):
            call()


@pytest.mark.parametrize("kind", [torch.bool, torch.uint8, torch.int16, torch.uint16, torch.int32, torch.uint32])
@pytest.mark.parametrize("measure", MEASURES)
def test_labels_of_any_whole_type_are_taken(measure, kind):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model, images = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 2)), torch.randn(6, 4)
    data = [split(images=images, labels=torch.tensor([0, 1] * 3).to(t)) for t in (torch.int64, kind)]
    one, two = (MEASURES[measure](model, each) for each in data)
    if measure == "units":
        assert torch.equal(one.loss, two.loss)
    else:
        pairs = [(s.diffs if measure == "gradients" else s) for s in (one, two)]
        assert all(torch.equal(value, pairs[1][name]) for name, value in pairs[0].items())


KINDS = [torch.uint8, torch.int64, torch.bool, torch.complex64]


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_images_that_are_no_floating_point_numbers_are_refused_by_every_measure_of_units(kind):
    model, data = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3)), split(images=torch.ones(6, 4).to(kind))
    for call in (
        lambda: units.pruning_curve(model, "0", range(5), data),
        lambda: units.removal_losses(model, "0", data),
        lambda: units.class_activations(model, "0", data),
        lambda: units.order(model, "0", "activation", data=data),
        lambda: units.order(model, "0", "taylor", data=data),
        lambda: units.order(model, "0", lambda gradient: gradient.sum(1), data=data),
    ):
        name = str(kind).removeprefix("torch.")
        with pytest.raises(ValueError, match=f"images are {name}: expected floating-point numbers, as data.load gives"):
            call()
    with pytest.raises(ValueError) as told:
        masks.scores(model, "gradient", data=data)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64], ids=str)
def test_images_of_every_width_are_taken_as_the_model_s(kind):
    model, images = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3)), torch.randn(6, 4).to(kind)
    one, two = (units.removal_losses(model, "0", split(images=i)) for i in (images, images.float()))
    assert torch.equal(one.loss, two.loss)


CONVOLUTION = lambda: nn.Sequential(  # noqa: E731
    nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.ReLU(), nn.Flatten(), nn.Linear(5 * 16, 3)
).eval()
SIZES = [(3, 6), (6, 6), (1, 6, 6), (3, 6, 7), (3, 2, 2), (3, 6, 6, 1), ()]


@pytest.mark.parametrize("shape", SIZES, ids=str)
def test_images_of_other_sizes_are_refused_in_one_sentence_that_says_what_is_read(shape):
    model, data = CONVOLUTION(), split(images=torch.randn(6, *shape))
    for call in (
        lambda: units.pruning_curve(model, "0", range(5), data),
        lambda: units.removal_losses(model, "0", data),
        lambda: units.class_activations(model, "0", data),
        lambda: units.order(model, "0", "activation", data=data),
    ):
        with pytest.raises(
            ValueError, match=r"cannot read an image of .*; expected \[3, height, width\], which"
        ) as told:
            call()
        assert "\n" not in str(told.value) and len(str(told.value)) < 300
    for call in (
        lambda: units.order(model, "0", lambda gradient: gradient.flatten(1).sum(1), data=data),
        lambda: masks.scores(model, "gradient", data=data),
    ):
        with pytest.raises(ValueError) as told:
            call()
        assert "\n" not in str(told.value)


def test_numbers_that_a_first_linear_layer_does_not_read_are_said():
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 5), nn.ReLU(), nn.Linear(5, 3))
    with pytest.raises(ValueError, match=r"an image of shape \[4\]: .*; expected 12 numbers, which its first linear"):
        units.removal_losses(model, "1", split())


@pytest.mark.parametrize("measure", MEASURES)
def test_tensors_without_a_place_for_every_number_are_refused(measure):
    model = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3))
    label = torch.tensor([0, 1, 2, 0, 1, 2])
    for data, text in [
        (split(images=torch.randn(6, 4).to_sparse()), "images are stored as torch.sparse_coo: expected ordinary"),
        (split(images=torch.randn(6, 4, device="meta")), "images lie on the meta device, which holds no values"),
        (split(labels=label.to("meta")), "labels lie on the meta device"),
        (split(labels=label.to_sparse()), "labels are stored as torch.sparse_coo"),
    ]:
        with pytest.raises(ValueError, match=text):
            MEASURES[measure](model, data)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_numbers_that_are_not_finite_never_pass_into_a_mean(bad):
    model, data = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3)), split()
    data.images[3, 1] = bad
    with pytest.raises(
        ValueError, match="of [1-5] of 5 units is not finite: check images and weights for NaN, or widen"
    ):
        units.class_activations(model, "0", data)
    for call in (
        lambda: units.pruning_curve(model, "0", range(5), data),
        lambda: units.removal_losses(model, "0", data),
        lambda: units.order(model, "0", "activation", data=data),
        lambda: units.order(model, "0", "taylor", data=data),
        lambda: masks.scores(model, "gradient", data=data),
        lambda: masks.scores(model, "diff", data=data),
    ):
        with pytest.raises(ValueError, match="not finite"):
            call()
    data = split()
    with torch.no_grad():
        model[0].weight[2, 2] = bad
    with pytest.raises(ValueError, match="of 1 of 5 units is not finite"):
        units.class_activations(model, "0", data)


def test_shares_of_classes_are_labels_where_they_are_asked_for():
    samples.check_logits(torch.zeros(2, 3), torch.full((2, 3), 1 / 3), shares=True)
    with pytest.raises(ValueError, match=r"for labels \[2, 3\] float32: expected logits"):
        samples.check_logits(torch.zeros(2, 3), torch.full((2, 3), 1 / 3))
    with pytest.raises(ValueError, match=r"the model gives tuple for labels \[2\]: .*; or else"):
        samples.check_logits((torch.zeros(2, 3),), torch.zeros(2, dtype=torch.int64), otherwise="; or else")


def test_narrow_numbers_are_widened_and_others_are_not():
    for kind in (torch.float16, torch.bfloat16):
        assert samples.wide(torch.ones(2, dtype=kind)).dtype == torch.float32
    for kind in (torch.float32, torch.float64, torch.int8):
        tensor = torch.ones(2, dtype=kind)
        assert samples.wide(tensor) is tensor
