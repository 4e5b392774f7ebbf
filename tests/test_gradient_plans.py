"""A plan is kept between calls, and only as long as it holds; layers are known by what they do."""

import gc
import weakref
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from test_gradient_checks import assert_right, naive, split
from torch import nn

from pruning_lab import gradients
from pruning_lab.gradients import engine, plan, remembered
from pruning_lab.nets import models


@pytest.fixture
def planned(monkeypatch):
    """The plans that are made while a test runs."""
    made = []
    monkeypatch.setattr(engine, "plan", lambda *args: (made.append(plan.plan(*args)), made[-1])[1])
    return made


class Net(nn.Module):
    """A net that can be changed in many ways."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.out, self.p = (
            nn.Linear(6, 6),
            nn.Linear(6, 6),
            nn.Linear(6, 3),
            nn.Parameter(torch.rand(6)),
        )
        self.twice, self.add, self.how = False, True, torch.relu

    def forward(self, x):
        h = self.how(self.a(x))
        h = self.a(h) if self.twice else h
        return self.out(self.how(self.b(h)) + (self.p if self.add else 0))


def net():
    torch.manual_seed(0)
    return Net(), split(torch.randn(12, 6))


def test_the_second_call_makes_no_plan_and_gives_the_same(planned):
    model, test = net()
    first, second = (gradients.statistics(model, test) for _ in range(2))
    assert len(planned) == 1
    assert all(torch.equal(g, second.mean[name]) and torch.equal(first.diffs[name], second.diffs[name])
               for name, g in first.mean.items())  # fmt: skip
    assert first.squares == second.squares


def test_trained_weights_need_no_other_plan(planned):
    model, test = net()
    gradients.statistics(model, test)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(torch.randn_like(p))
    assert_right(gradients.statistics(model, test), naive(model, test))
    assert len(planned) == 1


def tie(model):
    model.b.weight = model.a.weight


def hook(model):
    model.a.register_forward_hook(lambda m, args, out: out * 2)


def swap(model):
    model.b = nn.Sequential(nn.LayerNorm(6), nn.Linear(6, 6, bias=False))


def own_forward(model):
    model.b.forward = lambda x: F.linear(x.sin(), model.b.weight) + model.b.bias


CHANGED = {
    "frozen": lambda m: m.a.requires_grad_(False),
    "tied": tie,
    "hooked": hook,
    "another layer": swap,
    "a flag": lambda m: setattr(m, "twice", True),
    "a parameter less": lambda m: setattr(m, "add", False),
    "another function": lambda m: setattr(m, "how", torch.tanh),
    "its own forward": own_forward,
    "wider precision": lambda m: m.double(),
    "a bias less": lambda m: setattr(m.b, "bias", None),
}


@pytest.mark.parametrize("what", CHANGED)
def test_a_changed_model_is_planned_anew(what, planned):
    model, test = net()
    gradients.statistics(model, test)
    CHANGED[what](model)
    found = gradients.statistics(model, test)
    assert len(planned) == 2
    if what == "frozen":
        assert found.without_gradient == ("a.weight", "a.bias")
    else:
        assert_right(found, naive_of(model.double(), SimpleNamespace(images=test.images.double(), labels=test.labels)))


@pytest.mark.parametrize("first", [True, False])
def test_what_no_fingerprint_shows_is_found_by_what_the_loss_reads(first, planned):
    """A parameter that a switch outside the model turns off and on."""
    switch, (model, test) = {"on": first}, net()
    model.how = lambda h: h.relu() + (model.p.sin() if switch["on"] else 0)
    model.add = False
    gradients.statistics(model, test)
    switch["on"] = not first
    assert_right(gradients.statistics(model, test), naive_of(model, test))
    assert len(planned) == 2


def naive_of(model, test):
    """As `naive`, of a model that refers to itself."""
    rows = {name: [] for name, _ in model.named_parameters()}
    for image, label in zip(test.images, test.labels, strict=True):
        one = gradients.cross_entropy(model(image[None]), label[None]).sum()
        each = torch.autograd.grad(one, list(model.parameters()), allow_unused=True)
        for (name, p), g in zip(model.named_parameters(), each, strict=True):
            rows[name].append(torch.zeros_like(p) if g is None else g)
    return {name: torch.stack(g).double() for name, g in rows.items()}


def test_a_parameter_read_by_a_function_after_the_plan_is_found(planned):
    switch, (model, test) = {"on": False}, net()
    model.how = lambda h: (F.linear(h, model.b.weight) if switch["on"] else h).relu()
    gradients.statistics(model, test)
    switch["on"] = True
    assert_right(gradients.statistics(model, test), naive_of(model, test))
    assert len(planned) == 2


def test_other_samples_and_another_loss_are_planned_anew(planned):
    model, test = nn.Sequential(nn.Linear(6, 3)), split(torch.randn(12, 6))
    gradients.statistics(model, test)
    gradients.statistics(model, split(torch.randn(12, 4, 6)[:, 0]))
    assert len(planned) == 1
    test.labels = torch.randn(12, 3)
    squared = lambda out, y: (out - y).square().sum(1)  # noqa: E731
    assert_right(gradients.statistics(model, test, squared), naive(model, test, squared))
    wide = nn.Sequential(nn.Linear(6, 3), nn.Flatten(1, -1))
    gradients.statistics(wide, split(torch.randn(12, 6), 3))
    gradients.statistics(wide, split(torch.randn(12, 2, 6), 3))
    assert len(planned) == 4


def test_nothing_that_is_kept_keeps_a_model_alive():
    model, test = net()
    gradients.statistics(model, test)
    assert model in remembered._plans
    ref, layer = weakref.ref(model), weakref.ref(model.a)
    del model
    gc.collect()
    assert ref() is None and layer() is None


def test_a_plan_that_fails_gives_the_error_of_a_fresh_one(planned):
    model, test = net()
    gradients.statistics(model, test)
    test.images[7] = torch.nan
    with pytest.raises(ValueError, match="the loss of 1 of samples 0 to 11 is not finite"):
        gradients.statistics(model, test)
    assert len(planned) == 2


# Layers by what they do


class Last(nn.LayerNorm):
    """As timm's, with a call of its own."""

    def forward(self, x):
        return F.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)


class Channels(nn.LayerNorm):
    def forward(self, x):
        return F.layer_norm(x.movedim(1, -1), self.normalized_shape, self.weight, self.bias, self.eps).movedim(-1, 1)


class Acted(nn.BatchNorm2d):
    """A norm with its activation."""

    def __init__(self, channels, act):
        super().__init__(channels)
        self.drop, self.act = nn.Identity(), act

    def forward(self, x):
        return self.act(self.drop(F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias)))


class Standard(nn.Conv2d):
    """Its weight is standardised on the way."""

    def forward(self, x):
        w = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
        return F.conv2d(x, w, self.bias, self.stride, self.padding)


class Clamped(nn.Linear):
    """As a linear layer for small inputs."""

    def forward(self, x):
        return super().forward(x).clamp(-50, 50)


class Lora(nn.Linear):
    def __init__(self, inputs, outputs):
        super().__init__(inputs, outputs)
        self.up, self.down = nn.Parameter(torch.zeros(outputs, 2)), nn.Parameter(torch.randn(2, inputs))

    def forward(self, x):
        return super().forward(x) + x @ self.down.T @ self.up.T


def images(layer, channels=4):
    return nn.Sequential(nn.Conv2d(2, 4, 3), layer, nn.Flatten(), nn.Linear(channels * 16, 3)), (2, 6, 6)


def vectors(layer):
    return nn.Sequential(nn.Linear(6, 5), layer, nn.Tanh(), nn.Linear(5, 3)), (6,)


LAYERS = {
    "layer norm": (lambda: vectors(Last(5)), False),
    "layer norm of channels": (lambda: images(Channels(4)), False),
    "batch norm, ReLU": (lambda: images(Acted(4, nn.ReLU(True))), False),
    "batch norm, SiLU": (lambda: images(Acted(4, nn.SiLU())), False),
    "batch norm, nothing": (lambda: images(Acted(4, nn.Identity())), False),
    "standardised": (lambda: images(Standard(4, 4, 3, padding=1)), True),
    "clamped": (lambda: vectors(Clamped(5, 5)), True),
    "low rank": (lambda: vectors(Lora(5, 5)), True),
}


@pytest.mark.parametrize("name", LAYERS)
def test_a_subclass_takes_the_formula_if_autograd_confirms_it(name, planned):
    torch.manual_seed(0)
    (model, shape), alone = LAYERS[name][0](), LAYERS[name][1]
    for m in model.modules():
        if isinstance(m, nn.BatchNorm2d):
            m.running_mean.uniform_(-1, 1), m.weight.data.uniform_(0.5, 2)
    test = split(torch.randn(11, *shape))
    assert_right(gradients.statistics(model.eval(), test), naive(model, test))
    assert bool(planned[0].fallback) == alone


def test_a_subclass_that_is_clamped_later_is_right():
    torch.manual_seed(0)
    model, test = vectors(Clamped(5, 5))[0], split(torch.randn(20, 6))
    test.images[5:] *= 1000
    assert_right(gradients.statistics(model, test, chunk=7), naive(model, test))


class Block(nn.Module):
    """A scale that no row replaces, beside layers."""

    def __init__(self):
        super().__init__()
        self.fc, self.gamma = nn.Linear(6, 6), nn.Parameter(torch.rand(6))

    def forward(self, x):
        return x + self.fc(x).tanh() * self.gamma.reshape(1, -1)


def test_loose_parameters_cost_runs_of_their_own_module_only():
    torch.manual_seed(0)
    model, test = nn.Sequential(*[Block() for _ in range(6)], nn.Linear(6, 3)), split(torch.randn(11, 6))
    runs, blocks = [], []
    model.register_forward_pre_hook(lambda m, args: runs.append(1))
    for block in model[:6]:
        block.fc.register_forward_hook(lambda m, args, out: blocks.append(1))
    found = gradients.statistics(model, test)
    assert len(runs) <= 6
    assert found.mean["0.gamma"].any()


def test_planning_costs_about_a_pass_over_a_few_images():
    """In multiplications: three passes over three images and one over two, and checks of two more."""
    from torch.utils.flop_counter import FlopCounterMode

    torch.manual_seed(0)
    model = models.build("vit", (3, 16, 16), width=32, depth=2).eval()
    test = split(torch.randn(64, 3, 16, 16))

    def flops(call):
        with FlopCounterMode(display=False) as counter:
            call()
        return counter.get_total_flops()

    plain = flops(lambda: F.cross_entropy(model(test.images), test.labels).backward())
    first, second = (flops(lambda: gradients.statistics(model, test)) for _ in range(2))
    assert first - second <= 0.35 * plain
    assert second <= 1.15 * plain


def test_watching_costs_less_than_a_twentieth(monkeypatch):
    from torch.utils.flop_counter import FlopCounterMode

    from pruning_lab.gradients import verify

    torch.manual_seed(0)
    model, test = models.build("conv_2", (1, 12, 12), width=8).eval(), split(torch.randn(200, 1, 12, 12))
    gradients.statistics(model, test)
    counts = []
    for chosen in (verify.Watch.chosen, lambda *_: []):
        monkeypatch.setattr(verify.Watch, "chosen", chosen)
        with FlopCounterMode(display=False) as counter:
            gradients.statistics(model, test)
        counts.append(counter.get_total_flops())
    assert counts[1] < counts[0] <= 1.05 * counts[1]


def test_few_samples_of_a_chunk_are_looked_at_however_small_it_is():
    from pruning_lab.gradients.verify import Watch

    def looks(*sizes):
        watch = Watch(None, sum(sizes))
        return [len(watch.chosen(size)) for size in sizes]

    assert looks(28, 28, 8, 2) == [1, 1, 1, 1] and looks(100, 3) == [2, 1]
    assert looks(8, 6) == [1, 1] and looks(5, 3) == [5, 3] and looks(1) == [0]


class Slots:
    """Nothing can refer to it weakly."""

    __slots__ = ("shown",)

    def __init__(self, shown):
        self.shown = shown

    def __repr__(self):
        return f"Slots({self.shown})"


def test_settings_are_the_same_by_content_or_by_being_the_same(planned):
    model, test = net()
    model.plain = [1, (2.0, "a"), {"b": None, "c": torch.float32}, {3}, torch.zeros(2), Slots(1), torch.relu]
    gradients.statistics(model, test)
    model.plain = [1, (2.0, "a"), {"b": None, "c": torch.float32}, {3}, torch.ones(2), Slots(1), torch.relu]
    gradients.statistics(model, test)
    assert len(planned) == 1
    for changed in (Slots(2), lambda x: x, torch.zeros(3), 1.0):
        model.plain = [changed]
        gradients.statistics(model, test)
    assert len(planned) == 5


class Parts(nn.Module):
    """Gives more pieces where it sees large numbers."""

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.rand(6))

    def forward(self, x):
        out = x * self.w
        return (out, out) if x.abs().amax() > 100 else (out,)


def test_a_module_that_gives_more_pieces_later_has_each_samples_own_gradient():
    torch.manual_seed(0)
    model, test = nn.Sequential(), split(torch.randn(9, 6))
    model.a, model.parts, model.out = nn.Linear(6, 6), Parts(), nn.Linear(6, 3)
    model.forward = lambda x: model.out(model.parts(model.a(x))[0])
    test.images[7] *= 1e4
    assert_right(gradients.statistics(model, test, chunk=3), naive_of(model, test))


def test_what_is_mixed_up_to_the_model_itself_is_refused_by_name():
    """Sizes that change with what is seen, in the model's own output."""
    model = nn.Linear(6, 3)
    plain = model.forward
    model.forward = lambda x: plain(x) if x.abs().amax() < 100 else plain(x)[:-1]
    test = split(torch.randn(9, 6))
    test.images[7] *= 1e4
    with pytest.raises(ValueError, match=r"'model' \(Linear\) has . entries for . samples"):
        gradients.statistics(model, test, lambda out, y: F.pad(out.sum(1), (0, len(y) - len(out))), chunk=3)
