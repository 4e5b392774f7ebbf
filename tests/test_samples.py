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
