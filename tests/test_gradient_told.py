"""Layers that agree with their class for the first samples, not for all: subclasses, hooks, forwards of their own."""

from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from test_gradient_checks import assert_right, split
from test_gradient_plans import naive_of
from torch import nn

from pruning_lab import gradients
from pruning_lab.gradients import calls, engine, norms, plan, told

LARGE = 10_000  # more than noise that formulas are tried on


def quiet(x, dims):
    """1 where a sample is not large, else 0."""
    return (x.abs().amax(dims, keepdim=True) < LARGE).to(x.dtype)


class Masked(nn.Linear):
    def forward(self, x):
        return super().forward(x) * quiet(x, -1)


class Clamped(nn.Linear):
    def forward(self, x):
        return super().forward(x).clamp(-LARGE, LARGE)


class MaskedNorm(nn.LayerNorm):
    def forward(self, x):
        return super().forward(x) * quiet(x, -1)


class Filters(nn.Conv2d):
    def forward(self, x):
        return super().forward(x.clamp(-LARGE, LARGE))


class Line(nn.Conv1d):
    def forward(self, x):
        return super().forward(x).clamp(-LARGE, LARGE)


class Norm(nn.BatchNorm2d):
    def forward(self, x):
        return super().forward(x) * quiet(x, (1, 2, 3))


class Acted(nn.BatchNorm2d):
    """With an activation behind, which is off where it is large."""

    def __init__(self, channels):
        super().__init__(channels)
        self.act = nn.ReLU(True)

    def forward(self, x):
        return self.act(super().forward(x) * 1) * quiet(x, (1, 2, 3))


class Channels(nn.LayerNorm):
    def forward(self, x):
        h = F.layer_norm(x.movedim(1, -1), self.normalized_shape, self.weight, self.bias, self.eps)
        return h.movedim(-1, 1) * quiet(x, (1, 2, 3))


def hooked(layer, pre=False):
    if pre:
        layer.register_forward_pre_hook(lambda m, args: (args[0].clamp(-LARGE, LARGE),))
    else:
        layer.register_forward_hook(lambda m, args, out: out.masked_fill(out.abs() > LARGE, 0))
    return layer


def own_forward(layer):
    layer.forward = lambda x: F.linear(x, layer.weight, layer.bias).clamp(-LARGE, LARGE)
    return layer


VECTORS = {
    "masked": lambda: Masked(6, 6),
    "clamped": lambda: Clamped(6, 6),
    "clamped, without bias": lambda: Clamped(6, 6, bias=False),
    "norm": lambda: MaskedNorm(6),
    "a hook": lambda: hooked(nn.Linear(6, 6)),
    "a hook before": lambda: hooked(nn.Linear(6, 6), pre=True),
    "a norm's hook": lambda: hooked(nn.LayerNorm(6), pre=True),
    "its own forward": lambda: own_forward(nn.Linear(6, 6)),
}
IMAGES = {
    "filters": lambda: Filters(4, 4, 3),
    "groups": lambda: Filters(4, 8, 3, groups=2, padding=1, bias=False),
    "a circular border": lambda: Filters(4, 4, 3, padding=1, padding_mode="circular"),
    "batch norm": lambda: Norm(4),
    "batch norm and activation": lambda: Acted(4),
    "channels": lambda: Channels(4),
}


def net(name):
    torch.manual_seed(0)
    if name in VECTORS:
        model, x = nn.Sequential(nn.Linear(6, 6), VECTORS[name](), nn.Tanh(), nn.Linear(6, 3)), torch.randn(20, 6)
    else:
        model = nn.Sequential(nn.Conv2d(2, 4, 3), IMAGES[name](), nn.Flatten(), nn.LazyLinear(3))
        x = torch.randn(20, 2, 6, 6)
        model(x)
    return model.eval(), x


@pytest.mark.parametrize("chunk", [None, 6])
@pytest.mark.parametrize("name", [*VECTORS, *IMAGES])
def test_a_layer_that_leaves_its_class_later_has_its_own_gradients(name, chunk):
    model, x = net(name)
    x[15] *= 1e5
    rows = naive_of(model, split(x))
    for _ in range(2):
        assert_right(gradients.statistics(model, split(x), chunk=chunk), rows)


@pytest.mark.parametrize("name", [*VECTORS, *IMAGES])
def test_a_layer_that_does_as_its_class_keeps_the_formula(name, monkeypatch):
    made = []
    monkeypatch.setattr(engine, "plan", lambda *args: (made.append(plan.plan(*args)), made[-1])[1])
    model, x = net(name)
    gradients.statistics(model, split(x))
    assert len(made) == 1


def test_one_dimension_more_or_less_is_looked_at_alike():
    torch.manual_seed(0)
    model = nn.Sequential(Line(2, 4, 3, groups=2), nn.Tanh(), nn.Flatten(), nn.Linear(16, 3))
    x = torch.randn(20, 2, 6)
    x[15] *= 1e5
    assert_right(gradients.statistics(model, split(x)), naive_of(model, split(x)))
    model = nn.Sequential(Clamped(6, 4), nn.Tanh(), nn.Flatten(), nn.Linear(12, 3))
    x = torch.randn(20, 3, 6)
    x[15] *= 1e5
    assert_right(gradients.statistics(model, split(x)), naive_of(model, split(x)))


def test_a_class_whose_forward_was_replaced_is_tried(monkeypatch):
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 3)), torch.randn(20, 6)
    x[15] *= 1e5
    monkeypatch.setattr(nn.Linear, "forward", lambda m, x: F.linear(x, m.weight, m.bias).clamp(-LARGE, LARGE))
    assert_right(gradients.statistics(model, split(x)), naive_of(model, split(x)))


def test_a_hook_of_all_modules_is_tried():
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 3)), torch.randn(20, 6)
    x[15] *= 1e5
    hook = nn.modules.module.register_module_forward_hook(
        lambda m, args, out: out.clamp(-LARGE, LARGE) if isinstance(m, nn.Linear) else None
    )
    try:
        assert_right(gradients.statistics(model, split(x)), naive_of(model, split(x)))
    finally:
        hook.remove()


def test_what_has_another_shape_is_not_what_the_class_gives():
    layer, x = nn.LayerNorm(6), torch.randn(4, 6)
    tried = told.Tried(norms.layer_norm, nn.LayerNorm, told.plain)
    for gave, same in ((layer(x), True), (layer(x)[:, :3], False)):
        call = SimpleNamespace(read=[x], gave=[gave], module=layer)
        assert tried.holds(call, calls.Place(0, 1)) is same
