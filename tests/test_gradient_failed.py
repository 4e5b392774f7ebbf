"""Images and layers that do not fit: which layer was given what, in one sentence; and what the checks cost."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from pruning_lab import gradients
from pruning_lab.gradients import calls, doubts, engine, verify

FLAT = nn.Sequential(nn.Flatten(), nn.Linear(6, 3))
IMAGES = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(64, 3))
WORDS = nn.Sequential(nn.Embedding(5, 2), nn.Flatten(), nn.Linear(12, 3))


def split(images):
    return SimpleNamespace(images=images, labels=torch.arange(len(images)) % 3)


def bytes_of(*shape):
    return torch.randint(255, shape, dtype=torch.uint8)


class Shy(nn.Module):
    """Fails before any layer within it is called with a tensor."""

    def forward(self, *, x=None):
        return x


WRONG = {
    "bytes": (
        FLAT,
        bytes_of(4, 6),
        r"samples \[3, 6\]: '1' \(Linear\) is given uint8: expected floating-point.* / 255",
    ),
    "byte pictures": (IMAGES, bytes_of(4, 3, 6, 6), r"'0' \(Conv2d\) is given uint8: expected floating-point numbers"),
    "words as numbers": (WORDS, torch.rand(4, 6), r"'0' \(Embedding\) is given float32: expected whole numbers"),
    "words beyond": (WORDS, torch.full((4, 6), 9), r"samples \[3, 6\], at '0' \(Embedding\): index out of range"),
    "wide": (FLAT, torch.rand(4, 7), r"'1' \(Linear\) is given 7 inputs a sample or token: expected 6; give images of"),
    "one layer": (nn.Linear(6, 3), torch.rand(4, 7), r"samples \[3, 7\]: Linear is given 7 inputs"),
    "channels": (IMAGES, torch.rand(4, 1, 6, 6), r"'0' \(Conv2d\) is given 1 channels: expected 3"),
    "sides": (IMAGES, torch.rand(4, 3, 9, 9), r"'2' \(Linear\) is given 196 inputs a sample or token: expected 64"),
    "too small": (IMAGES, torch.rand(4, 3, 2, 2), r", at '0' \(Conv2d\): .*[Kk]ernel size"),
    "flat": (IMAGES, torch.rand(4, 108), r", at '0' \(Conv2d\): "),
    "no place for images": (nn.Sequential(Shy(), nn.Linear(6, 3)), torch.rand(4, 6), r", at '0' \(Shy\): .*positional"),
}


@pytest.mark.parametrize("name", WRONG)
def test_images_that_do_not_fit_are_refused_by_the_layer_that_they_do_not_fit(name):
    model, images, message = WRONG[name]
    before = {name: p.clone() for name, p in model.named_parameters()}
    with pytest.raises(ValueError, match=message) as told:
        gradients.statistics(model, split(images))
    assert "\n" not in str(told.value)
    assert all(torch.equal(before[name], p) for name, p in model.named_parameters())


def test_a_model_that_fails_before_a_tensor_arrives_anywhere_says_so():
    class Named(nn.Module):
        def __init__(self):
            super().__init__()
            self.shy, self.out = nn.Identity(), nn.Linear(6, 3)

        def forward(self, x):
            return self.shy("x", x, 1) if len(x) < 0 else self.shy(*[])

    with pytest.raises(ValueError, match=r"the model fails on 3 samples \[3, 6\]: .*missing"):
        gradients.statistics(Named(), split(torch.rand(4, 6)))


EMPTY = {
    "no unit": lambda: [nn.Linear(6, 0), nn.Linear(0, 3)],
    "no filter": lambda: [nn.Unflatten(1, (6, 1, 1)), nn.Conv2d(6, 0, 1), nn.Flatten(), nn.Linear(0, 3)],
    "no width": lambda: [nn.Linear(6, 0), nn.LayerNorm(0), nn.Linear(0, 3)],
}


@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")
@pytest.mark.parametrize("name", EMPTY)
def test_layers_without_units_are_refused_by_name(name):
    with pytest.raises(
        ValueError, match=r"'[01]', '[123]'.*: layers without units or without inputs.*expected at least"
    ):
        gradients.statistics(nn.Sequential(*EMPTY[name]()), split(torch.rand(4, 6)))


def test_an_empty_parameter_that_no_layer_holds_has_an_empty_gradient():
    model = nn.Sequential(nn.Linear(6, 3))
    model.register_parameter("spare", nn.Parameter(torch.empty(0)))
    found = gradients.statistics(model, split(torch.rand(4, 6)))
    assert found.mean["spare"].shape == (0,) and "spare" in found.without_gradient


def test_what_two_modules_hand_on_is_compared_once(monkeypatch):
    seen, real = [], calls._place
    monkeypatch.setattr(calls, "_place", lambda a, b: seen.append((id(a), id(b))) or real(a, b))
    deep = nn.Sequential(nn.Sequential(nn.Sequential(nn.Linear(6, 5), nn.Tanh())), nn.Linear(5, 3))
    gradients.statistics(deep, split(torch.rand(4, 6)))
    assert len(seen) == len(set(seen)) == 4 + 1  # images, three more tensors, and the losses


def watched(size, n=300):
    """What is passed again of a chunk of so many samples."""
    watch = verify.Watch(SimpleNamespace(), n)
    return watch.chosen(size), watch


@pytest.mark.parametrize(
    "size, n, looks",
    [(1, 300, 1), (2, 300, 1), (5, 300, 1), (8, 300, 1), (64, 300, 1), (300, 300, 1), (2, 2, 1), (5, 5, 5), (8, 8, 8)],
)
def test_samples_that_are_looked_at_have_another_one_beside_them(size, n, looks):
    places, watch = watched(size, n)
    found = list(watch.companies(places, start=0))
    assert [together[end] for together, ends in found for end in ends] == places
    for together, ends in found:
        assert len(together) == 2 * len(ends)
        assert all(together[end ^ 1] != together[end] for end in ends)
    assert len(found) == looks


def test_no_sample_of_a_single_one_is_looked_at():
    places, watch = watched(1, n=1)
    assert list(watch.companies(places, start=0)) == []


def test_a_large_chunk_is_looked_at_with_one_more_pass(monkeypatch):
    passes, model = [], nn.Sequential(nn.Linear(6, 3))
    gradients.statistics(model, split(torch.rand(100, 6)))
    model.forward = lambda x: passes.append(len(x)) or nn.Sequential.forward(model, x)
    gradients.statistics(model, split(torch.rand(100, 6)))  # plans anew
    passes.clear()
    gradients.statistics(model, split(torch.rand(100, 6)))
    assert passes == [100, 4]


def test_every_number_is_looked_at_for_what_is_not_finite():
    assert engine._finite(torch.zeros(0)) and engine._finite(torch.tensor([-3e38, 3e38]))
    for wrong in (torch.nan, torch.inf, -torch.inf):
        assert not engine._finite(torch.tensor([1.0, wrong, 2.0]))


def test_a_gradient_that_overflows_in_the_sum_is_refused():
    model = nn.Sequential(nn.Linear(1, 2, bias=False))
    huge = SimpleNamespace(images=torch.full((64, 1), 8e37), labels=torch.zeros(64, dtype=torch.long))
    with torch.no_grad():
        model[0].weight.zero_()
    with pytest.raises(ValueError, match="the gradient of '0.weight' is not finite: check inputs and weights"):
        gradients.statistics(model, huge, want={"mean"})


def test_what_was_known_before_is_nothing_new():
    known = doubts.Doubts()
    layer = nn.Linear(2, 2)
    for error in (doubts.NotTold([layer], "why"), doubts.NotLike([layer]), doubts.NotByRows({"p"}, "why")):
        assert error.told(known) and not error.told(known)
    beyond = doubts.Beyond({"p"}, 7)
    assert [beyond.told(known) for _ in range(3)] == [True, True, False]  # the sample, the whole model, nothing more
    assert known.samples == [7, 0, 1] and known.whole == known.without_row == {"p"}
    assert known.mixed == known.unlike == {layer}
