"""Networks: the sources' weight counts, seeds that decide all and touch nothing else, shapes, and errors."""

import math

import pytest
import torch
from torch import nn

from pruning_lab.nets import architectures, models

# the rest: test_architectures
PLAIN = [name for name, function in models.MODELS.items() if function.__module__ == models.__name__]
CIFAR, MNIST = (3, 32, 32), (1, 28, 28)


def state(*args, **options):
    return models.build(*args, **options).state_dict()


def equal(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


COUNTS = {  # name: images, weights, those of them in convolutions
    "lenet_300_100": (MNIST, 266_200, 0),
    "conv_2": (CIFAR, 4_300_992, 38_592),
    "conv_4": (CIFAR, 2_425_024, 259_776),
    "conv_6": (CIFAR, 2_261_184, 1_144_512),
    "vgg19": (CIFAR, 20_548_288, 20_018_880),
    "vgg19_bn": (CIFAR, 20_548_288, 20_018_880),
    "mlp": (CIFAR, 2_364_416, 0),
    "conv_max": (MNIST, 4_200, 3_000),
}


@pytest.mark.parametrize("name", PLAIN)
def test_weight_counts_are_the_sources(name):
    assert name in COUNTS, f"count the weights of {name} by hand, for the table COUNTS"
    shape, weights, convolutional = COUNTS[name]
    model = models.build(name, shape)
    assert models.weight_count(model) == weights
    assert models.weight_count(model, nn.Conv2d) == convolutional
    assert models.weight_count(model, nn.Linear) == weights - convolutional


def test_vgg19_with_one_fully_connected_layer_has_the_table_s_number():
    convolutional = models.weight_count(models.build("vgg19", CIFAR, width=64), nn.Conv2d)
    assert convolutional + 512 * 10 == 20_024_000  # the table's 20.0 M


@pytest.mark.parametrize("width", [1, 2, 64, 300, 512, 1000])
def test_mlp_follows_the_source_s_formula(width):
    assert models.weight_count(models.build("mlp", CIFAR, width=width)) == 3 * width**2 + 3082 * width
    assert models.weight_count(models.build("mlp", CIFAR, width=width, hidden=3)) == 2 * width**2 + 3082 * width


LAYERS = {
    "lenet_300_100": "flatten fc1 relu_fc1 fc2 relu_fc2 out",
    "mlp": "flatten fc1 relu_fc1 fc2 relu_fc2 fc3 relu_fc3 fc4 relu_fc4 out",
    "conv_2": "conv1 relu1 conv2 relu2 pool1 flatten fc1 relu_fc1 fc2 relu_fc2 out",
    "conv_4": "conv1 relu1 conv2 relu2 pool1 conv3 relu3 conv4 relu4 pool2 flatten fc1 relu_fc1 fc2 relu_fc2 out",
}


@pytest.mark.parametrize("name", LAYERS)
def test_layers_have_names_in_order(name):
    model = models.build(name, CIFAR, width=8)
    assert [n for n, _ in model.named_children()] == LAYERS[name].split()
    assert models.prunable(model) == [n for n in LAYERS[name].split() if n.startswith(("conv", "fc"))]


def test_vgg19_has_sixteen_convolutions_and_norms_after_each():
    plain, norm = (models.build(name, CIFAR, width=4) for name in ("vgg19", "vgg19_bn"))
    assert models.prunable(plain) == models.prunable(norm) == [f"conv{k}" for k in range(1, 17)] + ["fc1", "fc2"]
    names = [n for n, _ in norm.named_children()]
    assert all(
        names[names.index(f"conv{k}") + 1 : names.index(f"conv{k}") + 3] == [f"bn{k}", f"relu{k}"] for k in range(1, 17)
    )
    assert "avgpool" in names and not any(n.startswith("bn") for n, _ in plain.named_children())


@pytest.mark.parametrize("classes", [10, 3])
@pytest.mark.parametrize("shape", [CIFAR, (1, 33, 37)], ids=str)
@pytest.mark.parametrize("name", PLAIN)
def test_every_model_answers_with_one_number_a_class(name, shape, classes):
    model = models.build(name, shape, classes, width=8).eval()
    with torch.inference_mode():
        assert model(torch.randn(2, *shape)).shape == (2, classes)
    assert isinstance(model, nn.Sequential) and all(
        p.device.type == "cpu" and p.dtype == torch.float32 for p in model.parameters()
    )


@pytest.mark.parametrize("init", models.INITS)
@pytest.mark.parametrize("name", PLAIN)
def test_the_seed_decides_the_weights(name, init):
    torch.manual_seed(1)
    first = state(name, CIFAR, width=8, seed=3, init=init)
    torch.manual_seed(2)
    assert equal(first, state(name, CIFAR, width=8, seed=3, init=init))
    other = state(name, CIFAR, width=8, seed=4, init=init)
    assert all(not torch.equal(first[k], other[k]) for k in first if k.endswith("weight") and not k.startswith("bn"))


def test_building_leaves_the_global_generator_alone():
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    models.build("conv_2", CIFAR, width=4, seed=1, init="glorot")
    assert torch.equal(before, torch.random.get_rng_state())


def test_the_default_initialisation_is_pytorch_s():
    torch.manual_seed(0)
    expected = [nn.Linear(784, 300), nn.Linear(300, 100), nn.Linear(100, 10)]
    found = [m for m in models.build("lenet_300_100", MNIST).children() if isinstance(m, nn.Linear)]
    assert all(
        torch.equal(a.weight, b.weight) and torch.equal(a.bias, b.bias) for a, b in zip(found, expected, strict=True)
    )


FANS = [("lenet_300_100", "fc1", (784, 300)), ("conv_2", "conv2", (64 * 9, 64 * 9)), ("mlp", "fc2", (512, 512))]


@pytest.mark.parametrize("name, layer, fans", FANS)
def test_glorot_weights_are_normal_with_its_variance(name, layer, fans):
    module = models.build(name, MNIST, init="glorot").get_submodule(layer)
    w = module.weight.detach().double().flatten()
    sd = math.sqrt(2 / sum(fans))
    assert abs(w.mean()) < 4 * sd / len(w) ** 0.5 and abs(w.std() / sd - 1) < 4 / (2 * len(w)) ** 0.5
    assert w.abs().max() > 3 * sd  # a uniform draw of this variance ends at 1.73 sd
    assert not module.bias.any()


def test_glorot_leaves_layers_without_a_bias_without_one():
    model = models.build("resnet50", CIFAR, width=4, init="glorot")
    assert model.conv1.bias is None and not model.out.bias.any()


WIDTHS = {  # name: width -> units of every prunable layer
    "lenet_300_100": (75, [75, 25]),
    "mlp": (7, [7] * 4),
    "conv_2": (16, [16, 16, 64, 64]),
    "conv_6": (1, [1, 1, 2, 2, 4, 4, 4, 4]),
    "vgg19": (8, [8] * 2 + [16] * 2 + [32] * 4 + [64] * 10),
}


@pytest.mark.parametrize("name", WIDTHS)
def test_all_layers_scale_with_the_width_of_the_first(name):
    width, units = WIDTHS[name]
    model = models.build(name, CIFAR, width=width)
    assert [len(model.get_submodule(n).weight) for n in models.prunable(model)] == units
    assert equal(state("lenet_300_100", MNIST, width=300), state("lenet_300_100", MNIST))


def test_narrow_nets_keep_at_least_one_unit():
    model = models.build("lenet_300_100", MNIST, width=1)
    assert [len(model.get_submodule(n).weight) for n in models.prunable(model)] == [1, 1]


def by_hand(model, shape):
    """Multiply-adds of one image, layer by layer from the sizes; only 3 x 3 convolutions that keep the size, 5 x 5 ones
    that lose two pixels at each edge, and halving pools, or those behind which nothing is convolved.
    """
    side, total = shape[1] * shape[2], 0
    for m in model.children():
        if isinstance(m, nn.Conv2d):
            if m.kernel_size == (5, 5):
                side = (shape[1] - 4) * (shape[2] - 4)
            total += m.in_channels * m.kernel_size[0] ** 2 * m.out_channels * side
        elif isinstance(m, nn.MaxPool2d):
            side //= 4
        elif isinstance(m, nn.Linear):
            total += m.in_features * m.out_features
    return total


@pytest.mark.parametrize("name", PLAIN)
def test_multiplications_are_those_counted_by_hand(name):
    model = models.build(name, CIFAR, width=8)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    assert models.multiplications(model, CIFAR) == by_hand(model, CIFAR)
    assert equal(before, model.state_dict()) and model.training and not any(m._forward_hooks for m in model.modules())


def test_images_too_small_for_the_pools_are_refused():
    with pytest.raises(
        ValueError, match=r"8 x 8 are too small for 5 pooling layers; 32 pixels are needed \(image_size=32\)"
    ):
        models.build("vgg19", (1, 8, 8))
    with pytest.raises(ValueError, match="too small"):
        models.build("conv_6", (3, 32, 7))
    models.build("conv_6", (3, 8, 8), width=2)


@pytest.mark.parametrize(
    "options, says",
    [
        (dict(name="lenet"), "lenet_300_100, mlp, conv_max, conv_2"),
        (dict(init="he"), "default, glorot"),
        (dict(width=0), "width must be at least 1, got 0"),
        (dict(hidden=3), "lenet_300_100 does not take .'hidden'"),
        (dict(name="mlp", depth=3), "mlp does not take .'depth'"),
        (dict(name=["mlp"]), "no model .'mlp'."),
        *[
            (dict(width=wrong), f"width={wrong!r}: expected None or a whole number")
            for wrong in (2.5, True, "4", "4.0")
        ],
        *[(dict(classes=wrong), f"classes={wrong!r}: expected a whole number, 1 or") for wrong in (0, -1, 2.5, None)],
        *[(dict(seed=wrong), f"seed={wrong!r}: expected a whole number from") for wrong in (1.5, "x", True, 2**64)],
        *[(dict(in_shape=wrong), "in_shape=.*: expected three whole numbers") for wrong in ((3,), None, "abc", 3)],
        *[(dict(in_shape=(3, wrong, 8)), r"in_shape.1.=.*: expected a whole number") for wrong in (0, 2.5, None, "8")],
        *[
            (dict(name="mlp", hidden=wrong), "hidden=.*: expected a whole number from 0 to 1000")
            for wrong in (-1, 2.5, True)
        ],
        *[
            (dict(name="vit", patch=wrong), "patch=.*: expected a whole number from 1 to 1000")
            for wrong in (0, -4, 4.0)
        ],
        *[(dict(name="vit", heads=wrong), "heads=.*: expected a whole number from 1 to 1000") for wrong in (0, "8")],
        *[(dict(name="vit", depth=wrong), "depth=.*: expected a whole number from 0 to 1000") for wrong in (-1, 1.5)],
    ],
    ids=str,
)
def test_unknown_names_and_options_are_refused(options, says):
    with pytest.raises(ValueError, match=says):
        models.build(**{"name": "lenet_300_100", "in_shape": MNIST, **options})


def net_of(module, name="own"):
    """A model as a module or a cell that runs once more defines it."""
    names = {"__name__": module}
    exec(f"def {name}(in_shape, classes, width):\n    return {{}}", names)
    return names[name]


def test_a_model_s_name_is_its_own(monkeypatch):
    monkeypatch.setattr(models, "MODELS", dict(models.MODELS))
    for _ in range(2):
        own = models.register(net_of("mine"))
        assert models.MODELS["own"] is own
    with pytest.raises(
        ValueError, match="model 'own' is registered already, by mine: give the new function another name"
    ):
        models.register(net_of("another"))
    for name in ("mlp", "conv_2", "vit"):
        held = models.MODELS[name]
        for module in ("mine", held.__module__):
            with pytest.raises(ValueError, match=f"model '{name}' is registered already, by pruning_lab"):
                architectures.register(net_of(module, name))
        assert models.MODELS[name] is held
    assert models.MODELS["own"] is own
