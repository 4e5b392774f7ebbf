"""Shortcuts by their place in the graph: what is added to a longer path, whatever it is called."""

import random
import threading

import pytest
import torch
from test_between import Residual
from torch import nn

from pruning_lab import environment, masks
from pruning_lab.masks.weights import weights
from pruning_lab.nets import models, shortcuts


class Block(nn.Module):
    """A long path and a shortcut of one convolution, whatever they are called."""

    def __init__(self, names, add=torch.add):
        super().__init__()
        self.add, (self.long, self.short) = add, names
        setattr(self, self.long, nn.Sequential(nn.Conv2d(4, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 1)))
        setattr(self, self.short, nn.Sequential(nn.Conv2d(4, 8, 1), nn.BatchNorm2d(8)))

    def forward(self, x):
        return self.add(getattr(self, self.long)(x), getattr(self, self.short)(x)).relu()


class Stage(nn.Module):
    """A convolution called `downsample` on the main path, before residual blocks."""

    def __init__(self):
        super().__init__()
        self.downsample, self.block = nn.Sequential(nn.BatchNorm2d(2), nn.Conv2d(2, 4, 2, stride=2)), Residual(4)

    def forward(self, x):
        return self.block(self.downsample(x))


class Unreadable(nn.Module):
    """Asks for a number of its images, which a stand-in has not."""

    def __init__(self, **inside):
        super().__init__()
        self.inside, self.seen = nn.ModuleDict(inside), []

    def forward(self, x):
        self.seen.append(x)
        self.last = x
        torch.rand(3), random.random()
        for module in self.inside.values():
            x = module(x)
        return x.reshape(len(x), -1) if x.abs().sum() > -1 else x


def added_in_place(a, b):
    a += b
    return a


@pytest.mark.parametrize("add", [torch.add, added_in_place, lambda a, b: b + a, lambda a, b: a.add_(b)])
def test_a_shortcut_is_what_is_added_to_a_longer_path_whatever_its_name(add):
    for names in (("f", "proj"), ("downsample", "path"), ("shortcut", "downsample")):
        model = nn.Sequential(Stage(), Block(names, add), nn.Flatten(), nn.Linear(8, 3))
        assert masks.left_whole(model) == [f"1.{names[1]}.0.weight"]
        assert "0.downsample.1.weight" in masks.maskable(model) and f"1.{names[0]}.0.weight" in masks.maskable(model)
        assert masks.left_whole(model, small=32) == [] and masks.left_whole(model, small=33) != []


def test_published_nets_leave_whole_what_they_left_before():
    environment.import_torchvision()
    nets = {name: models.build(name, (3, 32, 32), width=8) for name in ("conv_2", "vgg19_bn", "mlp", "vit")}
    assert all(masks.left_whole(model) == [] for model in nets.values())
    for name in ("resnet50", "resnet50_cifar"):
        model = models.build(name, (3, 32, 32), width=8)
        assert masks.left_whole(model) == [n for n in weights(model) if "downsample" in n]


def test_shortcuts_of_other_peoples_nets():
    nets = environment.import_torchvision().models
    assert masks.left_whole(nets.convnext_tiny()) == []
    regnet = nets.regnet_x_400mf()
    assert masks.left_whole(regnet, small=10**9) == [n for n in weights(regnet) if ".proj." in n]


def test_equal_paths_and_sums_of_one_thing_have_no_shortcut():
    class Even(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 3, padding=1)

        def forward(self, x):
            x = self.one(x) + self.two(x)
            return x + x + 1

    assert shortcuts.shortcuts(Even()) == []
    assert shortcuts.shortcuts(nn.Linear(2, 2)) == [] and shortcuts.shortcuts(nn.Conv2d(1, 1, 1)) == []


def test_where_calls_cannot_be_followed_parts_are_and_names_decide_between():
    inside = dict(stage=Stage(), block=Block(("f", "proj")), shortcut=nn.Conv2d(8, 8, 1))
    model = Unreadable(**inside)
    assert masks.left_whole(model) == ["inside.block.proj.0.weight", "inside.shortcut.weight"]


def long_and_short(block, x):
    """The sum of a block's two ways."""
    return block.two(block.one(x).relu()) + block.proj(x)


def unpacked(block, x):
    b, c, h, w = x.shape
    return long_and_short(block, x.reshape(b, c, h, w)).reshape(b, -1)


def compared(block, x):
    assert x.dim() == 4 and x.shape[1] == 4, "images of four channels"
    return long_and_short(block, x if x.shape[2] > 2 else x.repeat(1, 1, 3, 3))


def looped(block, x):
    return torch.stack([long_and_short(block, x[k : k + 1]) for k in range(len(x))])


def starred(block, x):
    b, *rest = x.size()
    return long_and_short(block, x.view(b, *rest)).view(int(b), -1)


def like_the_other(block, x):
    short = block.proj(x)
    return block.two(block.one(x).relu()).view(*short.shape) + short


def in_place(block, x):
    long = block.two(block.one(x).relu())
    long += block.proj(x).view(len(x), 8, *x.shape[2:])
    return long


def made_anew(block, x):
    return long_and_short(block, x) + torch.zeros(len(x), 8, 1, 1)


class Sized(nn.Module):
    """A block whose code needs to know sizes; its ways are `one`, `two` and `proj`, and `downsample` comes before."""

    def __init__(self, does):
        super().__init__()
        self.does, self.downsample = does, nn.Conv2d(3, 4, 3, padding=1)
        self.one, self.two = nn.Conv2d(4, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.proj = nn.Conv2d(4, 8, 1)
        self.register_buffer("runs", torch.zeros((), dtype=torch.int64))

    def forward(self, x):
        self.runs += 1
        return self.does(self, self.downsample(x))


@pytest.mark.parametrize("does", [unpacked, compared, looped, starred, like_the_other, in_place, made_anew])
def test_code_that_needs_to_know_sizes_is_followed_and_names_do_not_decide(does):
    model = nn.Sequential(Sized(does), nn.Flatten())
    model[0].one.register_forward_hook(lambda *_: pytest.fail("a hook ran"))
    state = torch.get_rng_state(), random.getstate()
    assert masks.left_whole(model) == ["0.proj.weight"] and not model[0].runs
    assert torch.equal(state[0], torch.get_rng_state()) and state[1] == random.getstate()
    pruned = masks.to_torch(model, {"0.two.weight": torch.rand(8, 8, 3, 3) < 0.5})
    assert masks.left_whole(pruned) == ["0.proj.weight"]


def test_signals_and_volumes_are_followed_too():
    for conv, kind in ((nn.Conv1d, 1), (nn.Conv3d, 3)):
        model = Sized(lambda block, x: long_and_short(block, x if x.shape[-1] > 1 else None))
        model.downsample, model.proj = conv(3, 4, 3, padding=1), conv(4, 8, 1)
        model.one, model.two = conv(4, 8, 3, padding=1), conv(8, 8, 3, padding=1)
        assert masks.left_whole(model) == ["proj.weight"], kind


def test_a_first_linear_layer_says_what_is_read():
    class Unfolds(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.block = nn.Linear(6, 4 * 64), Sized(unpacked)
            self.block.downsample = nn.Conv2d(4, 4, 1)

        def forward(self, x):
            return self.block(self.first(x).view(len(x), 4, 8, 8))

    assert masks.left_whole(Unfolds()) == ["block.proj.weight"]


def test_what_cannot_be_copied_is_followed_itself_and_stays_as_it_was():
    model = Block(("f", "proj"))
    model.lock = threading.Lock()
    before = dict(vars(model))
    assert masks.left_whole(model) == ["proj.0.weight"] and dict(vars(model)) == before


def test_following_calls_leaves_no_trace():
    model = Unreadable(block=Block(("f", "proj")))
    model.inside["block"].register_forward_hook(lambda *_: pytest.fail("a hook ran"))
    before, states = [dict(vars(m)) for m in model.modules()], (torch.get_rng_state(), random.getstate())
    assert masks.left_whole(model) == ["inside.block.proj.0.weight"]
    after = [dict(vars(m)) for m in model.modules()]
    assert [v.keys() for v in before] == [v.keys() for v in after] and model.seen == [] and not hasattr(model, "last")
    assert torch.equal(states[0], torch.get_rng_state()) and states[1] == random.getstate()


def test_shortcuts_can_be_named():
    model = nn.Sequential(Stage(), Block(("f", "proj")), nn.Flatten(), nn.Linear(8, 3))
    for name in ("0.downsample.1", "0.downsample.1.weight"):
        assert masks.left_whole(model, shortcuts=[name]) == ["0.downsample.1.weight"]
    assert masks.maskable(model, shortcuts=[]) == list(weights(model))
    assert masks.left_whole(model, small=0, shortcuts=["1.proj.0"]) == []
    with pytest.raises(ValueError, match=r"shortcuts=\['proj', '3'\], which are no conv.* some of \['0\."):
        masks.left_whole(model, shortcuts=["proj", "3", "1.proj.0"])
