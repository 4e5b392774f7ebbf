"""What may stand between a layer and the next, and what is said of nets where units cannot go."""

from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from pruning_lab import environment, units
from pruning_lab.nets import models, surgery


def net(seed=0):
    """8 inputs, 6 hidden units, 3 classes; every other layer plain."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))


def split(shape=(8,), n=20):
    generator = torch.Generator().manual_seed(4)
    images = torch.randn(n, *shape, generator=generator)
    return SimpleNamespace(images=images, labels=torch.arange(n) % 3, classes=("a", "b", "c"))


# What may stand between a layer and the next


def pictures(*between, side=6, channels=5):
    """A convolution, what stands between, a convolution over what it gives, and a classifier."""
    return nn.Sequential(
        nn.Conv2d(2, channels, 3, padding=1), *between, nn.Conv2d(channels, 4, 3), nn.AdaptiveAvgPool2d(1),
        nn.Flatten(), nn.Linear(4, 3),
    )  # fmt: skip


APART = {
    "instance norm": lambda: pictures(nn.InstanceNorm2d(5)),
    "instance norm, affine": lambda: pictures(nn.InstanceNorm2d(5, affine=True)),
    "instance norm, running": lambda: pictures(nn.InstanceNorm2d(5, affine=True, track_running_stats=True)),
    "a group a unit": lambda: pictures(nn.GroupNorm(5, 5)),
    "a group a unit, not affine": lambda: pictures(nn.GroupNorm(5, 5, affine=False)),
    "a norm over positions": lambda: pictures(nn.LayerNorm((6, 6))),
    "synchronised batch norm": lambda: pictures(nn.SyncBatchNorm(5)),
    "upsampling": lambda: pictures(nn.Upsample(scale_factor=2)),
    "bilinear upsampling": lambda: pictures(nn.Upsample(scale_factor=2, mode="bilinear")),
    "zeros around": lambda: pictures(nn.ZeroPad2d(1)),
    "ones around": lambda: pictures(nn.ConstantPad2d(1, 1.0)),
    "mirrors around": lambda: pictures(nn.ReflectionPad2d(1)),
    "edges around": lambda: pictures(nn.ReplicationPad2d(1)),
    "circles around": lambda: pictures(nn.CircularPad2d(1)),
    "a slope a unit": lambda: pictures(nn.PReLU(5)),
    "one slope": lambda: pictures(nn.PReLU()),
    "power pooling": lambda: pictures(nn.ReLU(), nn.LPPool2d(2, 2)),
    "thresholds": lambda: pictures(nn.Threshold(0.1, 0.2), nn.Softshrink(), nn.Hardshrink(), nn.RReLU()),
    "alpha dropout": lambda: pictures(nn.SELU(), nn.AlphaDropout(), nn.FeatureAlphaDropout()),
    "a slope a position": lambda: nn.Sequential(
        nn.Conv2d(2, 5, 3, padding=1), nn.Flatten(), nn.PReLU(180), nn.BatchNorm1d(180), nn.Linear(180, 3)
    ),
    "a slope a neuron": lambda: nn.Sequential(nn.Flatten(), nn.Linear(72, 5), nn.PReLU(5), nn.Linear(5, 3)),
}


def shaken(model):
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for tensor in [*model.parameters(), *model.buffers()]:
            if tensor.is_floating_point():
                tensor.copy_(torch.rand(tensor.shape, generator=generator) - 0.3 * (tensor.ndim > 1))
    return model.eval()


@pytest.mark.parametrize("name", APART)
def test_what_does_not_mix_units_is_measured_and_removed(name):
    model, data = shaken(APART[name]()), split((2, 6, 6))
    layer = next(n for n, m in model.named_modules() if isinstance(m, nn.Linear | nn.Conv2d))
    assert surgery.removable(model)[0] == layer
    curve = units.pruning_curve(model, layer, range(5), data)
    with torch.no_grad():
        for k in range(5):
            zero, small = (f(model, layer, list(range(k))) for f in (units.zeroed, units.remove))
            torch.testing.assert_close(small(data.images), zero(data.images), rtol=1e-4, atol=1e-5)
            loss = F.cross_entropy(zero(data.images).double(), data.labels)
            assert curve.loss[k] == pytest.approx(float(loss), rel=1e-4)
    assert len(small.get_submodule(layer).weight) == 1
    F.cross_entropy(small.train()(torch.cat([data.images] * 2)), data.labels.repeat(2)).backward() if (
        name != "synchronised batch norm"
    ) else None


class Centred(nn.ReLU):
    """Called an activation, and mixes units."""

    def forward(self, x):
        return x - x.mean(1, keepdim=True)


MIXES = {
    "groups of units": pictures(nn.GroupNorm(1, 5)),
    "local response": pictures(nn.LocalResponseNorm(3)),
    "shuffled channels": pictures(nn.ChannelShuffle(5)),
    "softmax over units": pictures(nn.Softmax2d()),
    "a norm over units too": pictures(nn.LayerNorm((5, 6, 6))),
    "a subclass": pictures(Centred()),
    "padding among units": pictures(nn.ConstantPad3d((0, 0, 0, 0, 1, -1), 0.0)),
    "pooling of neurons": nn.Sequential(nn.Flatten(), nn.Linear(72, 5), nn.ZeroPad2d((1, -1, 0, 0)), nn.Linear(5, 3)),
    "instance norm of neurons": nn.Sequential(nn.Flatten(), nn.Linear(72, 5), nn.InstanceNorm1d(5), nn.Linear(5, 3)),
    "a norm over positions, once flattened": nn.Sequential(
        nn.Conv2d(2, 5, 3, padding=1), nn.Flatten(), nn.LayerNorm(180), nn.Linear(180, 3)
    ),
    "a mixing hook": pictures(nn.ReLU()),
}


@pytest.mark.parametrize("name", [n for n in MIXES if n != "a mixing hook"])
def test_what_mixes_units_is_refused(name):
    model = MIXES[name]
    layer = next(n for n, m in model.named_modules() if isinstance(m, nn.Linear | nn.Conv2d))
    for call in (
        lambda: units.remove(model, layer, [0]),
        lambda: units.pruning_curve(model, layer, range(5), split((2, 6, 6))),
    ):
        with pytest.raises(ValueError, match="may mix units: expected activations, pooling, padding, norms of each"):
            call()


def test_a_hook_between_is_measured_but_not_removed_by():
    model = pictures(nn.ReLU()).eval()
    model[1].register_forward_hook(lambda _, __, out: out - out.mean(1, keepdim=True))
    data = split((2, 6, 6))
    loss = F.cross_entropy(model(data.images), data.labels).item()
    assert units.removal_losses(model, "0", data).whole_loss == pytest.approx(loss, rel=1e-5)
    with pytest.raises(ValueError, match="'1' has forward hooks"):
        units.remove(model, "0", [0])


# Nets with branches


class Residual(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(width, width, 3, padding=1), nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x):
        return x + self.conv2(self.conv1(x).relu())


def test_only_layers_whose_units_can_go_are_offered():
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.ReLU(), Residual(4), nn.Flatten(), nn.Linear(16, 3)
    )
    assert surgery.removable(model) == ["0"]
    with pytest.raises(ValueError, match=r"'9' has no units that can go: .*, one of \['0'\]"):
        units.order(model, "9", "norm")
    with pytest.raises(ValueError, match="'4', a Residual with layers of its own, between '2' and '6' may mix") as told:
        units.order(model, "2", "norm")
    assert len(str(told.value)) < 250
    assert units.order(model, "0", "norm").shape == (4,)


def test_a_net_of_branches_says_once_and_shortly_that_no_unit_can_go():
    environment.import_torchvision()
    model = models.build("resnet50", (3, 32, 32), width=4)
    assert surgery.removable(model) == []
    for layer in ("fc9", "conv1", "layer1.0.conv1"):
        with pytest.raises(ValueError, match="'layer1.0', a Bottleneck with .* 'conv1' and 'out' may mix") as told:
            units.order(model, layer, "norm")
        assert len(str(told.value)) < 350 and "one of" not in str(told.value)
    whole = environment.import_torchvision().models.resnet18()
    with pytest.raises(ValueError, match=r"ResNet is not a plain nn.Sequential: .*layers stand in a row.*\(masks\)"):
        units.order(whole, "conv1", "norm")
    with pytest.raises(ValueError, match="no two linear or convolutional layers in a row"):
        units.order(nn.Sequential(nn.ReLU(), nn.Linear(2, 2)), "1", "norm")


class Backwards(nn.Sequential):
    """A Sequential that does not call its layers in their order."""

    def forward(self, x):
        for layer in reversed(self):
            x = layer(x)
        return x


def test_a_sequential_with_a_forward_of_its_own_is_one_module():
    tail = Backwards(nn.Linear(6, 3), nn.Tanh(), nn.Linear(5, 6))
    model, data = nn.Sequential(nn.Linear(8, 7), nn.ReLU(), nn.Linear(7, 5), tail), split()
    loss = F.cross_entropy(model(data.images), data.labels).item()
    assert units.removal_losses(model, "0", data).whole_loss == pytest.approx(loss, rel=1e-5)
    assert surgery.removable(model) == ["0"]
    with pytest.raises(ValueError, match="Backwards is not a plain nn.Sequential"):
        units.order(tail, "0", "norm")


@pytest.mark.parametrize(
    "wrong", ["ab", [0.0], [9], [-1], [True, False], [1j], object()], ids=lambda wrong: str(wrong).split(" at ")[0]
)
def test_what_names_no_units_is_refused_before_anything_is_copied(wrong, monkeypatch):
    monkeypatch.setattr(surgery.copy, "deepcopy", lambda _: pytest.fail("copied"))
    for call in (units.remove, units.zeroed):
        with pytest.raises(ValueError, match="removed=.*: expected numbers of units, 0..5"):
            call(net(), "0", wrong)


def test_nothing_is_copied_before_a_layer_is_checked(monkeypatch):
    monkeypatch.setattr(surgery.copy, "deepcopy", lambda _: pytest.fail("copied"))
    for call in (
        lambda: units.remove(net(), "9", [0]),
        lambda: units.remove(net(), "0", range(6)),
        lambda: units.zeroed(net(), "1", [0]),
    ):
        with pytest.raises(ValueError):
            call()
