"""ResNet50 against torchvision's own, the vision transformer against its formulas."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from pruning_lab import Recipe, Train, environment
from pruning_lab.nets import architectures, models

CIFAR = (3, 32, 32)


def count(model):
    return sum(p.numel() for p in model.parameters())


@pytest.fixture(scope="module")
def original():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        return environment.import_torchvision().models.resnet50(num_classes=10).eval()


def test_resnet50_is_torchvision_s_weight_for_weight(original):
    model = models.build("resnet50", CIFAR, seed=5).eval()
    ours, theirs = model.state_dict(), original.state_dict()
    assert [k.replace("out.", "fc.") for k in ours] == list(theirs)
    assert all(torch.equal(a, b) for a, b in zip(ours.values(), theirs.values(), strict=True))
    x = torch.randn(2, *CIFAR)
    with torch.inference_mode():
        assert torch.equal(model(x), original(x))


def test_the_cifar_stem_keeps_every_pixel_and_all_else():
    small, large = (models.build(name, CIFAR, width=8).eval() for name in ("resnet50_cifar", "resnet50"))
    x = torch.randn(2, *CIFAR)
    assert small[:3](x).shape == (2, 8, 32, 32) and large[:4](x).shape == (2, 8, 8, 8)
    assert small.conv1.weight.shape == (8, 3, 3, 3) and large.conv1.weight.shape == (8, 3, 7, 7)
    assert [n for n, _ in large.named_modules() if n != "maxpool"] == [n for n, _ in small.named_modules()]
    direct = models.build("resnet50", CIFAR, width=8, stem="cifar").state_dict()
    assert all(torch.equal(v, direct[k]) for k, v in small.state_dict().items())


def test_resnet50_has_the_published_size():
    model = models.build("resnet50", (3, 224, 224), classes=1000)
    assert count(model) == 25_557_032
    assert models.multiplications(model, (3, 224, 224)) == 4_089_184_256
    assert sum(isinstance(m, nn.Conv2d) for m in model.modules()) == 53


@pytest.mark.parametrize("width", [4, 16])
def test_all_of_resnet50_scales_with_its_first_layer(width):
    model = models.build("resnet50_cifar", CIFAR, width=width)
    assert model.conv1.out_channels == width and model.layer1[0].conv1.out_channels == width
    assert model.layer4[2].conv3.out_channels == 32 * width == model.out.in_features


def vit_size(dim, depth, tokens, classes, patch=4, channels=3):
    block = 2 * 2 * dim + 4 * dim * dim + 4 * dim + 2 * (dim * dim + dim)
    return (
        channels * patch**2 * dim + dim + dim + (tokens + 1) * dim + depth * block + 2 * dim + dim * classes + classes
    )


@pytest.mark.parametrize("width, depth, shape", [(None, 6, CIFAR), (16, 2, (1, 8, 8)), (8, 3, (3, 8, 12))], ids=str)
def test_vit_has_the_weights_of_its_formula(width, depth, shape):
    model = models.build("vit", shape, width=width, depth=depth)
    tokens = shape[1] // 4 * (shape[2] // 4)
    assert count(model) == vit_size(width or 512, depth, tokens, 10, channels=shape[0])
    assert not any(isinstance(m, nn.Dropout) for m in model.modules())


def test_vit_attends_as_written_out_by_hand():
    attention = architectures.Attention(12, 3).double()
    x = torch.randn(2, 5, 12, dtype=torch.float64)
    heads = []
    q, k, v = attention.qkv(x).split(12, dim=2)
    for h in range(3):
        part = slice(4 * h, 4 * h + 4)
        scores = q[..., part] @ k[..., part].transpose(1, 2) / math.sqrt(4)
        heads.append(scores.softmax(2) @ v[..., part])
    torch.testing.assert_close(attention(x), attention.out(torch.cat(heads, 2)))


def test_a_block_of_the_vit_has_its_norms_before_its_branches():
    block, x = architectures.Block(8, 2), torch.randn(2, 5, 8)
    middle = x + block.attention(F.layer_norm(x, (8,), block.norm1.weight, block.norm1.bias))
    hidden = F.gelu(block.fc1(F.layer_norm(middle, (8,), block.norm2.weight, block.norm2.bias)))
    torch.testing.assert_close(block(x), middle + block.fc2(hidden))


def test_vit_knows_where_a_patch_stands_and_answers_from_its_class_token():
    model = models.build("vit", CIFAR, width=16, depth=2).eval()
    x = torch.randn(1, *CIFAR)
    moved = torch.roll(x, 4, dims=3)
    with torch.inference_mode():
        assert not torch.allclose(model(x), model(moved))
        model.tokens.positions.zero_()
        torch.testing.assert_close(model(x), model(moved))
        tokens = model[:-2](x)
        assert tokens.shape == (1, 65, 16)
        torch.testing.assert_close(model(x), model.out(tokens[:, 0]))


@pytest.mark.parametrize(
    "name, options, says",
    [
        ("resnet50", dict(stem="small"), "stem 'small' is none of"),
        ("vit", dict(width=12), "width 12 must be a multiple of 8 heads"),
        ("vit", dict(in_shape=(1, 28, 30)), "28 x 30 pixels of patches of 4"),
    ],
    ids=str,
)
def test_sizes_that_do_not_fit_are_refused(name, options, says):
    with pytest.raises(ValueError, match=says):
        models.build(**{"name": name, "in_shape": CIFAR, **options})


@pytest.mark.parametrize("name", ["resnet50", "resnet50_cifar", "vit"])
def test_the_seed_decides_the_weights(name):
    one, again, other = (models.build(name, CIFAR, width=8, seed=seed).state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(one[k], again[k]) for k in one)
    assert not torch.equal(one["out.weight"], other["out.weight"])


def test_a_record_names_the_module_that_its_net_comes_from():
    assert {"nets.models", "nets.architectures"} <= Train("digits", "vit", Recipe(epochs=1)).code().keys()
