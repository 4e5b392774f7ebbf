"""Units that go together: what is removed leaves the outputs of zeros in its place, and what stays is named."""

import copy
import functools
import importlib.util
import re
import sys
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from pruning_lab import environment
from pruning_lab.nets import models
from pruning_lab.units import coupled
from pruning_lab.units.coupled.heads import FewerHeads


@pytest.fixture(autouse=True)
def torch_pruning(require):
    there = importlib.util.find_spec("torch_pruning") is not None
    require("torch-pruning", there, "torch-pruning is not installed: pip install torch-pruning==1.6.1")


class Residual(nn.Module):
    """Two blocks on one stream, the second behind a projection."""

    def __init__(self):
        super().__init__()
        self.stem, self.bn = nn.Conv2d(2, 6, 3, padding=1), nn.BatchNorm2d(6)
        self.a, self.b = nn.Conv2d(6, 5, 3, padding=1), nn.Conv2d(5, 6, 3, padding=1)
        self.c, self.d, self.way = nn.Conv2d(6, 4, 3, padding=1), nn.Conv2d(4, 7, 1), nn.Conv2d(6, 7, 1)
        self.fc = nn.Linear(7 * 4, 3)

    def forward(self, x):
        x = F.relu(self.bn(self.stem(x)))
        x = x + self.b(F.relu(self.a(x)))
        x = self.way(x) + self.d(torch.sigmoid(self.c(x)))
        return self.fc(F.adaptive_avg_pool2d(x, 2).flatten(1))


class Depthwise(nn.Module):
    """A wide layer, a convolution of each of its channels, a gate on them (squeeze and excitation)."""

    def __init__(self):
        super().__init__()
        self.wide, self.each, self.bn = nn.Conv2d(2, 8, 1), nn.Conv2d(8, 8, 3, groups=8), nn.BatchNorm2d(8)
        self.squeeze, self.gate, self.prelu = nn.Conv2d(8, 4, 1), nn.Conv2d(4, 8, 1), nn.PReLU(8)
        self.narrow, self.norm, self.fc = nn.Conv2d(8, 5, 1, bias=False), nn.GroupNorm(5, 5), nn.Linear(5, 3)

    def forward(self, x):
        x = self.prelu(self.bn(self.each(self.wide(x))))
        x = x * F.hardsigmoid(self.gate(F.relu(self.squeeze(x.mean((2, 3), keepdim=True)))))
        return self.fc(F.relu(self.norm(self.narrow(x))).mean((2, 3)))


class Dense(nn.Module):
    """Layers that read all that came before, side by side."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(2, 2, 1)
        self.one, self.two, self.three = nn.Conv2d(2, 4, 3, padding=1), nn.Conv2d(6, 3, 1), nn.Conv2d(9, 5, 1)
        self.bn, self.fc = nn.BatchNorm2d(9), nn.Linear(5, 3)

    def forward(self, x):
        x = self.stem(x)
        x = torch.cat([x, self.one(x)], 1)
        x = torch.cat([x, self.two(F.relu(x))], 1)
        return self.fc(self.three(F.relu(self.bn(x))).mean((2, 3)))


class Grouped(nn.Module):
    """A convolution of three groups, between layers of each channel's own and a gate, beside a stream."""

    def __init__(self, kind=nn.Conv2d):
        super().__init__()
        self.stem, self.one, self.bn = nn.Conv2d(2, 4, 1), nn.Conv2d(4, 6, 1), nn.BatchNorm2d(6)
        self.three, self.norm, self.gate = kind(6, 9, 3, padding=1, groups=3), nn.BatchNorm2d(9), nn.Conv2d(9, 9, 1)
        self.last, self.fc = nn.Conv2d(9, 4, 1), nn.Linear(4, 3)

    def forward(self, x):
        x = self.stem(x)
        y = F.relu(self.norm(self.three(F.relu(self.bn(self.one(x))))))
        y = y * torch.sigmoid(self.gate(y.mean((2, 3), keepdim=True)))
        return self.fc(F.relu(x + self.last(y)).mean((2, 3)))


class Scaled(nn.Module):
    """A layer whose units have a scale in a parameter of no layer; and a parameter that is no weight."""

    def __init__(self):
        super().__init__()
        self.fc1, self.gamma, self.fc2 = nn.Linear(72, 5), nn.Parameter(torch.rand(5)), nn.Linear(5, 3)
        self.seen = nn.Parameter(torch.arange(3), requires_grad=False)

    def forward(self, x):
        return self.fc2(torch.tanh(self.gamma * self.fc1(x.flatten(1))) + 1)


class Heads(nn.Module):
    """Attention of each kind that is known, over a picture's positions."""

    def __init__(self, kind):
        super().__init__()
        self.into, self.attention, self.fc = nn.Linear(2, 6), kind(6, 3), nn.Linear(6, 3)

    def forward(self, x):
        x = self.into(x.flatten(2).transpose(1, 2))
        x = torch.tanh(x) + self.attention(x)
        return self.fc(F.layer_norm(x, (6,)).mean(1))


class OfTorch(nn.Module):
    """torch's own."""

    def __init__(self, dim, heads, batch_first=True):
        super().__init__()
        self.inner, self.first = nn.MultiheadAttention(dim, heads, batch_first=batch_first), batch_first

    def forward(self, x):
        if self.first:
            return self.inner(x, x, x, need_weights=False)[0]
        x = x.transpose(0, 1)
        return self.inner(x, x, x)[0].transpose(0, 1)


class Separate(nn.Module):
    """Queries, keys and values from layers of their own; heads of two numbers, six in all from a width of six."""

    def __init__(self, dim, heads):
        super().__init__()
        self.num_heads, self.all_head_size = heads, dim
        self.query, self.key, self.value = nn.Linear(dim, dim), nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.out = nn.Linear(dim, dim)

    def forward(self, x):
        q, k, v = (a(x).unflatten(2, (self.num_heads, -1)).transpose(1, 2) for a in (self.query, self.key, self.value))
        given = F.scaled_dot_product_attention(q, k, v).transpose(1, 2)
        return self.out(given.reshape(len(x), -1, self.all_head_size))


class Interleaved(nn.Module):
    """Queries, keys and values of one head after those of another."""

    def __init__(self, dim, heads):
        super().__init__()
        self.heads, self.qkv, self.proj = heads, nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)

    def forward(self, x):
        q, k, v = self.qkv(x).unflatten(2, (self.heads, 3, -1)).permute(3, 0, 2, 1, 4)
        return self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


def plain():
    return nn.Sequential(
        nn.Conv2d(2, 5, 3), nn.BatchNorm2d(5), nn.ReLU(), nn.Conv2d(5, 4, 3), nn.InstanceNorm2d(4, affine=True),
        nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 6), nn.PReLU(), nn.Linear(6, 3),
    )  # fmt: skip


NETS = {
    "mlp": lambda: models.build("mlp", (2, 6, 6), 3, width=8),
    "plain": plain,
    "residual": Residual,
    "depthwise": Depthwise,
    "dense": Dense,
    "scaled": Scaled,
    "grouped": Grouped,
    "grouped, transposed": lambda: Grouped(nn.ConvTranspose2d),
    "vit": lambda: models.build("vit", (2, 6, 6), 3, width=8, patch=3, depth=1, heads=4),
    "of torch": lambda: Heads(OfTorch),
    "of torch, tokens first": lambda: Heads(lambda *sizes: OfTorch(*sizes, batch_first=False)),
    "separate": lambda: Heads(Separate),
    "interleaved": lambda: Heads(Interleaved),
    "transposed": lambda: nn.Sequential(
        nn.ConvTranspose2d(2, 4, 2),
        nn.ReLU(),
        nn.ConvTranspose2d(4, 5, 2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(5, 3),
    ),  # fmt: skip
}
HEADS = {"vit": ("block1.attention.qkv", 4), "of torch": ("attention.inner", 3), "separate": ("attention.query", 3),
         "of torch, tokens first": ("attention.inner", 3), "interleaved": ("attention.qkv", 3)}  # fmt: skip


def images(n=3, side=6):
    return torch.rand(n, 2, side, side, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def stirred(net):
    """Norms and statistics away from where they begin, so that a wrong cut shows."""
    torch.manual_seed(0)
    for m in net.modules():
        for name in ("weight", "bias", "running_mean", "running_var"):
            if isinstance(held := getattr(m, name, None), torch.Tensor) and held.ndim == 1:
                held.data = torch.rand_like(held) + 0.2
    return net


@functools.cache
def tried(name):
    torch.manual_seed(0)
    net = stirred(NETS[name]()).double().eval()
    return net, coupled.groups(net, images())


def state(net):
    return {n: t.clone() for n, t in net.state_dict().items()}


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[n], b[n]) for n in a)


def close(a, b):
    return torch.allclose(a, b, rtol=1e-9, atol=1e-12)


def named(groups):
    return {g.name: g for g in groups}


# What is removed


@pytest.mark.parametrize("name", NETS)
def test_without_units_outputs_are_those_with_zeros(name):
    net, groups = tried(name)
    before, free = state(net), [g for g in groups if g.tied is None]
    assert free and groups[-1].tied == "the model's outputs"
    for group in free:
        gone = list(range(0, group.units, 2)) if group.units > 1 else []
        small, zeros = coupled.remove_units(net, group, gone, images()), coupled.zero_units(net, group, gone)
        assert close(small(images()), zeros(images())), group
        assert not close(net(images()), zeros(images())), f"{group} does nothing"
        assert sum(p.numel() for p in small.parameters()) < sum(p.numel() for p in net.parameters())
        assert same(before, state(net)) and not net.training


@pytest.mark.parametrize("name", NETS)
def test_zeros_silence_the_units_and_nothing_else(name):
    net, groups = tried(name)
    for group in (g for g in groups if g.tied is None):
        zeros, loud = coupled.zero_units(net, group, [0]), coupled.zero_units(net, group, [0])
        expected = state(net)
        for cut in group.cuts:
            for attribute, dim in cut.tensors:
                key = ".".join(filter(None, [cut.module, attribute]))
                for position in cut.positions[0] if key in expected and not attribute.startswith("running") else ():
                    expected[key].movedim(dim, 0)[position] = 0
                    if not cut.reads:  # whatever the unit says, nobody reads it
                        loud.get_parameter(key).data.movedim(dim, 0)[position] = 7.0
        assert same(expected, state(zeros)) and not same(expected, state(net))
        assert close(zeros(images()), loud(images())), group
        assert all(cut.of([0]) for cut in group.cuts if cut.reads) and any(cut.reads for cut in group.cuts)


def test_a_stream_goes_with_all_that_adds_to_it_and_reads_it():
    groups = named(tried("residual")[1])
    assert list(groups) == ["stem", "a", "c", "way", "fc"] or list(groups) == ["stem", "a", "way", "c", "fc"]
    stem, last = groups["stem"], groups["way"]
    assert (stem.kind, stem.units, stem.norms) == ("stream", 6, ("bn",))
    assert set(stem.layers) == {"stem", "a", "b", "c", "way"} and set(last.layers) == {"way", "d", "fc"}
    assert groups["a"].kind == "units" and set(groups["a"].layers) == {"a", "b"}
    assert all(len(p) == 4 for cut in last.cuts if cut.module == "fc" for p in cut.positions)


def test_a_convolution_of_each_channel_and_its_gate_go_with_what_feeds_them():
    groups = named(tried("depthwise")[1])
    assert {g.name: g.tied for g in groups.values() if g.tied} == {"fc": "the model's outputs"}
    assert set(groups["wide"].layers) == {"wide", "each", "squeeze", "gate", "narrow"}
    assert set(groups["wide"].norms) == {"bn", "prelu"} and groups["narrow"].norms == ("norm",)
    net = tried("depthwise")[0]
    small = coupled.remove_units(net, groups["wide"], [1, 2], images())
    assert (small.each.groups, small.each.in_channels, small.bn.num_features, small.prelu.num_parameters) == (6,) * 4
    assert coupled.remove_units(net, groups["narrow"], [0], images()).norm.num_groups == 4


def test_units_laid_side_by_side_go_from_all_that_read_them():
    groups = named(tried("dense")[1])
    assert set(groups["one"].layers) == {"one", "two", "three"} and groups["one"].norms == ("bn",)
    assert set(groups["stem"].layers) == {"stem", "one", "two", "three"}
    assert [g.name for g in groups.values() if g.tied] == ["fc"]


def test_groups_of_a_convolution_go_whole():
    net, groups = tried("grouped")
    groups = named(groups)
    assert list(groups) == ["stem", "one", "fc"] and (groups["one"].units, groups["one"].kind) == (3, "units")
    assert set(groups["one"].layers) == {"one", "three", "gate", "last"} and groups["one"].norms == ("bn", "norm")
    small = coupled.remove_units(net, groups["one"], [1], images())
    assert (small.three.groups, small.three.in_channels, small.three.out_channels) == (2, 4, 6)
    assert torch.equal(small.one.weight, net.one.weight[[0, 1, 4, 5]])
    rows = net.one.weight.detach().flatten(1).norm(dim=1).reshape(3, 2)
    assert close(coupled.group_scores(net, groups["one"], "norm"), rows.mean(1))


def test_a_parameter_of_no_layer_loses_the_unit_s_entry():
    net, groups = tried("scaled")
    assert named(groups)["fc1"].layers == ("fc1", "gamma", "fc2")
    assert torch.equal(coupled.remove_units(net, groups[0], [0, 3], images()).gamma, net.gamma[[1, 2, 4]])


@pytest.mark.parametrize(("name", "which"), HEADS.items())
def test_heads_go_whole(name, which):
    net, groups = tried(name)
    (group,) = [g for g in groups if g.kind == "heads"]
    assert (group.name, group.units, group.tied) == (*which, None)
    small = coupled.remove_units(net, group, [1, 1], images())
    assert close(small(images()), coupled.zero_units(net, group, [1])(images()))


def test_tokens_as_wide_as_a_norm_stay():
    stream = tried("vit")[1][0]
    assert stream.kind == "stream" and stream.name == "patches" and "block1.norm1" in stream.norms
    assert (
        stream.tied
        == "its channels go through a LayerNorm ('block1.norm1'), whose mean and variance are over all of them"
    )


def test_attention_with_fewer_heads_takes_what_torch_s_own_takes():
    torch.manual_seed(0)
    own = nn.MultiheadAttention(6, 3, batch_first=True).double().eval()
    ours, x = FewerHeads(copy.deepcopy(own), 3), torch.rand(2, 4, 6, dtype=torch.float64)
    late, pad = torch.ones(4, 4, dtype=torch.bool).triu(1), torch.tensor([[False] * 4, [False, False, True, True]])
    for asked in (dict(attn_mask=late), dict(key_padding_mask=pad), dict(average_attn_weights=False),
                  dict(attn_mask=torch.rand(4, 4, dtype=torch.float64))):  # fmt: skip
        for a, b in zip(own(x, x, x, **asked), ours(x, x, x, **asked), strict=True):
            assert close(a, b), asked
    bare = nn.MultiheadAttention(6, 2, bias=False).double().eval()
    assert close(bare(x, x, x)[0], FewerHeads(copy.deepcopy(bare), 2)(x, x, x)[0])
    assert ours(x, x, x, need_weights=False)[1] is None and not ours.training


@pytest.mark.parametrize("shape, mask", [((2, 4, 6), (6, 4, 4)), ((4, 6), None), ((2, 4, 6), (4,))])
def test_attention_with_fewer_heads_refuses_a_mask_of_each_head_and_a_single_sequence(shape, mask):
    ours, x = FewerHeads(nn.MultiheadAttention(6, 3, batch_first=True), 3), torch.rand(shape)
    said = "none" if mask is None else list(mask)
    expected = f"of a query {list(shape)} and a mask {said}: expected a batch of sequences, and one mask"
    with pytest.raises(ValueError, match=re.escape(expected)):
        ours(x, x, x, attn_mask=None if mask is None else torch.zeros(mask))


@pytest.mark.parametrize("width", [8])
def test_torchvision_s_vit_loses_heads_and_hidden_units(width):
    tv = environment.import_torchvision().models
    net = tv.VisionTransformer(8, 4, 1, 2, width, 12, num_classes=3).double().eval()
    x = torch.rand(2, 3, 8, 8, dtype=torch.float64)
    nn.init.normal_(net.heads.head.weight)  # zero at first, so that nothing shows
    groups = named(coupled.groups(net, x))
    block = "encoder.layers.encoder_layer_0"
    assert list(groups) == ["conv_proj", f"{block}.self_attention", f"{block}.mlp.0", "heads.head"]
    for name in (f"{block}.self_attention", f"{block}.mlp.0"):
        small, zeros = coupled.remove_units(net, groups[name], [1], x), coupled.zero_units(net, groups[name], [1])
        assert close(small(x), zeros(x)) and not close(net(x), zeros(x))


def test_resnet18_and_mobilenet_lose_streams_and_inner_units():
    tv = environment.import_torchvision().models
    torch.manual_seed(0)
    for net, kinds in ((tv.resnet18(num_classes=3), {"conv1": "stream", "layer3.0.conv1": "units"}),
                       (tv.mobilenet_v3_small(num_classes=3, width_mult=0.2),
                        {"features.0.0": "units", "features.2.block.2.0": "stream", "features.4.block.0.0": "units",
                         "features.4.block.2.fc1": "units"})):  # fmt: skip
        net, x = net.double().eval(), torch.rand(2, 3, 32, 32, dtype=torch.float64)
        groups = coupled.groups(net, x, only=kinds)
        assert {g.name: g.kind for g in groups} == kinds and not [g for g in groups if g.tied]
        for group in groups:
            gone = range(0, group.units, 3)
            small, zeros = coupled.remove_units(net, group, gone, x), coupled.zero_units(net, group, gone)
            assert torch.allclose(small(x), zeros(x), rtol=1e-8)


def test_groups_that_are_asked_for_are_as_among_all():
    net, groups = tried("vit")
    assert coupled.groups(net, images(), only=[groups[2].name, groups[1].name]) == groups[1:3]
    with pytest.raises(
        ValueError, match=r"only=\['block9'\]: expected names of groups, some of .*block1.attention.qkv"
    ):
        coupled.groups(net, images(), only=["block9", "block1.fc1"])
    with pytest.raises(ValueError, match="only='out': expected several names"):
        coupled.groups(net, images(), only="out")


# What stays, and why


class Branch(nn.Module):
    """A layer, something between, a layer."""

    def __init__(self, between, first=None, second=None):
        super().__init__()
        self.first, self.second = first or nn.Conv2d(2, 4, 1), second or nn.Conv2d(4, 3, 1)
        self.between = between if isinstance(between, nn.Module) else None
        self.do = between

    def forward(self, x):
        return self.second(self.do(self.first(x))).mean((2, 3))


class Both(nn.Module):
    """What two modules make of one thing, together."""

    def __init__(self, a, b, how=None):
        super().__init__()
        self.a, self.b, self.how = a, b, how

    def forward(self, x):
        return self.how([self.a(x), self.b(x)], 1) if self.how else self.a(x) * self.b(x)


class Odd(nn.Module):
    """Layers of which one is not called, one twice, one on the inputs, one where nothing is traced."""

    def __init__(self):
        super().__init__()
        self.each, self.first, self.twice = nn.Conv2d(2, 2, 1, groups=2), nn.Conv2d(2, 4, 1), nn.Conv2d(4, 4, 1)
        self.hidden, self.idle, self.last = nn.Conv2d(4, 4, 1), nn.Linear(3, 3), nn.Conv2d(4, 3, 1)

    def forward(self, x):
        x = self.twice(self.twice(self.first(self.each(x))))
        with torch.no_grad():
            lost = self.hidden(x)
        return self.last(x + lost).mean((2, 3))


def as_it_is(module):
    nn.utils.parametrize.register_parametrization(module, "weight", nn.Identity())
    return module


def tied(net, layer="first"):
    return named(coupled.groups(stirred(net).double().eval(), images()))[layer].tied


@pytest.mark.parametrize(
    ("net", "reason"),
    {
        "norm": (lambda: Branch(nn.GroupNorm(2, 4)), "its channels go through a GroupNorm ('between')"),
        "two groupings": (lambda: Branch(nn.Sequential(nn.Conv2d(4, 4, 1, groups=2), nn.Conv2d(4, 8, 1, groups=4),
                                                       nn.Conv2d(8, 4, 1))),
                          "'between.0' is a grouped convolution of 2 groups"),
        "two readers": (lambda: Branch(Both(nn.Conv2d(4, 4, 1, groups=2), nn.Conv2d(4, 4, 1, groups=2))),
                        "is a grouped convolution of 2 groups"),
        "laid twice": (lambda: Branch(nn.Sequential(Both(nn.Identity(), nn.Identity(), torch.cat),
                                                    nn.Conv2d(8, 4, 1, groups=2))),
                       "'between.1' is a grouped convolution of 2 groups"),
        "mirrored": (lambda: Branch(lambda x: x + x.flip(1)), "more depends on them than the layers that the"),
        "shuffled": (lambda: Branch(nn.ChannelShuffle(2)), "more depends on them than the layers that the trace found"),
        "counted": (lambda: Branch(lambda x: x * x.shape[1]), "without them the model's outputs are not those with"),
        "softmax": (lambda: Branch(nn.Softmax(1)), "more depends on them than the layers that the trace found"),
        "sizes": (lambda: Branch(lambda x: x.view(len(x), 4, 6, 6)), "the model does not run without some of them"),
        "nothing": (lambda: Branch(lambda x: 0 * x), "nothing can be tried: the model's outputs do not depend"),
        "infinite": (lambda: Branch(lambda x: x / 0), "nothing can be tried: outputs of the model with weights drawn"),
        "twice": (lambda: Branch((c := nn.Conv2d(4, 4, 1)) and nn.Sequential(c, c)), "'between.0' is called 2 times"),
        "made": (lambda: Branch(nn.ReLU(), second=nn.utils.parametrizations.weight_norm(nn.Conv2d(4, 3, 1))),
                 "the weight of 'second' is computed from others"),
        "made norm": (lambda: Branch(as_it_is(nn.BatchNorm2d(4))), "the weight of 'between' is computed from"),
    }.values(),
    ids=lambda given: given[:12] if isinstance(given, str) else "",
)  # fmt: skip
def test_what_cannot_lose_units_says_why(net, reason):
    assert reason in tied(net())


def test_a_stream_that_attention_reads_whole_stays():
    assert "'attention.inner', a MultiheadAttention, reads them in a way of its own" in tied(Heads(OfTorch), "into")


def test_a_shared_weight_stays():
    net = nn.Sequential(nn.Conv2d(2, 2, 1), nn.ReLU(), nn.Conv2d(2, 2, 1), nn.Flatten(), nn.Linear(72, 3))
    net[2].weight = net[0].weight
    assert "are one weight or share memory" in tied(net, "0")


def test_what_the_trace_does_not_see_is_named():
    groups = named(coupled.groups(Odd().double().eval(), images()))
    assert groups["first"].tied == "'twice' is called 2 times in a pass" and "twice" in groups["first"].layers
    assert groups["idle"].tied == "not seen by the trace: a pass over the example does not call it as a layer"
    assert groups["each"].tied == "it convolves the model's inputs one by one, which stay"
    assert groups["hidden"].tied == "not seen by the trace: its outputs are lost"
    assert set(groups) == {"each", "first", "hidden", "idle", "last"}


def test_what_torch_pruning_raises_is_one_sentence_and_stops_nothing_else(monkeypatch):
    import torch_pruning

    one = torch_pruning.DependencyGraph.get_pruning_group

    def but_a(self, module, *given):
        if module is self.model.a:
            raise RuntimeError("no way")
        return one(self, module, *given)

    monkeypatch.setattr(torch_pruning.DependencyGraph, "get_pruning_group", but_a)
    groups = named(coupled.groups(Residual().double(), images()))
    assert groups["a"].tied == "not seen by the trace: RuntimeError, 'no way'"
    assert groups["stem"].tied is None and groups["c"].tied is None
    monkeypatch.setattr(torch_pruning.DependencyGraph, "build_dependency", lambda *_, **__: 1 / 0)
    lost = {g.tied for g in coupled.groups(Heads(Separate).double(), images()) if g.kind != "heads"}
    assert lost == {"not seen by the trace: ZeroDivisionError, 'division by zero'"}
    assert named(coupled.groups(Odd().double(), images()))["idle"].tied in lost


def test_a_model_that_takes_no_other_weights_keeps_its_units():
    class Proud(nn.Sequential):
        def forward(self, x):
            if float(self[0].weight.sum()) != 0:
                raise RuntimeError("not mine")
            return super().forward(x)

    net = Proud(nn.Linear(2, 4), nn.Linear(4, 3)).double()
    nn.init.zeros_(net[0].weight)
    reason = coupled.groups(net, images()[:, :, 0, 0])[0].tied
    assert reason == "nothing can be tried: with weights drawn by chance the model does not run, 'not mine'"


def test_attention_that_is_none_of_those_known_stays_and_says_why():
    class Mixed(Separate):
        """Heads that read each other."""

        def forward(self, x):
            q, k, v = (a(x).unflatten(2, (self.num_heads, -1)) for a in (self.query, self.key, self.value))
            return self.out((torch.softmax(q @ k.transpose(2, 3), 3) @ v).flatten(2))

    groups = named(coupled.groups(Heads(Mixed).double().eval(), images()))
    assert groups["attention.query"].kind == "heads"
    assert groups["attention.query"].tied.startswith("more depends on them than the layers that the trace found")
    own = nn.Sequential(OfTorch(6, 3), nn.Linear(6, 3))
    own[0].inner = nn.MultiheadAttention(6, 3, add_bias_kv=True, batch_first=True)
    assert not [g for g in coupled.groups(own.double(), torch.rand(2, 4, 6).double()) if g.kind == "heads"]


def test_attention_with_fewer_keys_than_queries_has_no_heads_that_are_known():
    class Shared(nn.Module):
        def __init__(self, dim, heads):
            super().__init__()
            self.heads, self.qkv, self.proj = heads, nn.Linear(dim, dim + 2 * dim // heads), nn.Linear(dim, dim)

        def forward(self, x):
            q, k, v = self.qkv(x).split([6, 2, 2], 2)
            q = q.unflatten(2, (self.heads, -1)).transpose(1, 2)
            return self.proj((torch.softmax(q @ k.mT[:, None], 3) @ v[:, None]).transpose(1, 2).flatten(2))

    groups = coupled.groups(Heads(Shared).double(), images())
    assert "heads" not in {g.kind for g in groups} and all(g.tied for g in groups)


def test_a_model_that_is_nothing_but_attention_keeps_its_heads():
    class Bare(nn.MultiheadAttention):
        def forward(self, x):
            return super().forward(x, x, x)[0]

    (heads,) = coupled.groups(Bare(4, 2, batch_first=True).double(), torch.rand(2, 3, 4).double())
    assert "the model is nothing but nn.MultiheadAttention" in heads.tied


# Bad input


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ((nn.Linear(2, 2), 3), "the example is int: expected a batch"),
        ((nn.Linear(2, 2), torch.zeros(2)), r"the example is \[2\]: expected a batch"),
        ((nn.Linear(2, 2), torch.zeros(2, 3)), r"does not run on the example of shape \[2, 3\]"),
        (("net", torch.zeros(2, 3)), "model is a str: expected an nn.Module"),
    ],
)
def test_what_is_no_model_or_no_batch_is_refused(given, words):
    with pytest.raises(ValueError, match=words):
        coupled.groups(*given)


def test_hooks_and_pruned_weights_are_refused_before_anything_runs():
    net = Residual()
    handle, calls = net.register_forward_hook(lambda *_: calls.append(1)), []
    with pytest.raises(ValueError, match="'the model' has forward hooks"):
        coupled.groups(net, images().float())
    handle.remove()
    net.a.register_forward_pre_hook(lambda *_: calls.append(1))
    with pytest.raises(ValueError, match="'a' has forward hooks"):
        coupled.groups(net, images().float())
    pruned = Residual()
    nn.utils.prune.random_unstructured(pruned.a, "weight", 0.5)
    with pytest.raises(ValueError, match="the weight of 'a' is computed from others"):
        coupled.groups(pruned, images().float())
    assert not calls


@pytest.mark.parametrize("name", ["residual", "vit", "of torch"])
def test_a_net_that_lost_units_loses_those_of_other_groups(name):
    net, groups = tried(name)
    small = zeros = net
    for group in (g for g in groups if g.tied is None):
        (again,) = coupled.groups(small, images(), only=[group.name])
        assert again == group or name == "residual"  # whose streams have fewer columns by then
        small, zeros = coupled.remove_units(small, again, [0], images()), coupled.zero_units(zeros, group, [0])
    assert close(small(images()), zeros(images()))


def test_half_precision_does_not_tie_what_could_go():
    net, x = Residual().bfloat16().eval(), images().bfloat16()
    groups = coupled.groups(net, x)
    assert [g.name for g in groups if g.tied] == ["fc"]
    assert coupled.remove_units(net, groups[0], [0, 2], x)(x).dtype == torch.bfloat16


def test_memory_that_runs_out_is_told_as_such():
    class Full(nn.Sequential):
        calls, limit = 0, 1000

        def forward(self, x):
            Full.calls += 1
            if Full.calls > Full.limit:
                raise torch.OutOfMemoryError("full")
            return super().forward(x)

    net = Full(nn.Linear(2, 2), nn.Linear(2, 3)).double()
    test = SimpleNamespace(images=images()[:, :, 0, 0], labels=torch.arange(3))
    group, calls = coupled.groups(net, test.images)[0], Full.calls
    for Full.limit in range(calls):
        Full.calls = 0
        with pytest.raises(torch.OutOfMemoryError):
            coupled.groups(net, test.images)
    with pytest.raises(torch.OutOfMemoryError):
        coupled.remove_units(net, group, [0], test.images)
    with pytest.raises(torch.OutOfMemoryError):
        coupled.group_curve(net, group, [0, 1], test, [0])


def test_groups_that_do_not_fit_are_refused_and_the_model_stays():
    net, groups = tried("residual")
    other, before = tried("depthwise")[0], state(net)
    groups = named(groups)
    for call, words in (
        (lambda: coupled.zero_units(net, groups["fc"], [0]), "the units of 'fc' stay: the model's outputs"),
        (lambda: coupled.zero_units(net, "stem", [0]), "group='stem': expected one of groups"),
        (lambda: coupled.zero_units(net, groups["stem"], [6]), r"removed=\[6\]: expected numbers of units, 0..5"),
        (lambda: coupled.zero_units(other, groups["stem"], [0]), "the group is that of another model"),
        (lambda: coupled.remove_units(net, groups["stem"], range(6), images()), "leaves no layer: keep one"),
        (lambda: coupled.remove_units(net, groups["stem"], [0], 5), "the example is int"),
        (lambda: coupled.remove_units(net, groups["stem"], [0], images()[:, :1]), "does not run on the example"),
    ):
        with pytest.raises(ValueError, match=words):
            call()
    assert same(before, state(net))
    hooked = copy.deepcopy(net)
    hooked.a.register_forward_hook(lambda *_: None)
    with pytest.raises(ValueError, match="'a' has forward hooks"):
        coupled.zero_units(hooked, groups["a"], [0])


def test_a_copy_with_other_outputs_is_refused():
    net, other = Branch(nn.ReLU()).double(), Branch(nn.Softmax(1)).double()
    group = coupled.groups(net, images())[0]
    with pytest.raises(ValueError, match="without units of 'first' the model's outputs are not those with zeros"):
        coupled.remove_units(other, group, [1], images())


def test_without_the_package_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch_pruning", None)
    with pytest.raises(ImportError, match=r"pip install '\.\[report\]' in the project's folder"):
        coupled.groups(Residual(), images().float())


def test_modes_and_chance_are_as_they_were():
    net = Residual().double()
    net.a.eval()
    drawn = torch.random.get_rng_state()
    group = coupled.groups(net, images())[0]
    small = coupled.remove_units(net, group, [0], images())
    assert net.training and not net.a.training and small.training and not small.a.training
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in net.modules())
    assert torch.equal(drawn, torch.random.get_rng_state())
    assert all(p.grad is None and p.requires_grad for p in net.parameters())


# Scores, and accuracy along an order


def split(n=7):
    labels = torch.arange(n) % 3
    return SimpleNamespace(images=images(n), labels=labels, classes=("a", "b", "c"))


def test_a_unit_of_one_layer_scores_as_its_row():
    net, groups = tried("residual")
    group, rows = named(groups)["a"], tried("residual")[0].a.weight.detach().flatten(1)
    assert close(coupled.group_scores(net, group, "norm"), torch.stack([row.square().sum().sqrt() for row in rows]))
    unit = [row / row.norm() for row in rows]
    potential = torch.stack([sum((u @ v) ** 2 for v in unit) for u in unit])
    assert close(coupled.group_scores(net, group, "frame_potential"), potential)
    draws = [coupled.group_scores(net, group, "random", seed=seed) for seed in (1, 1, 2)]
    assert torch.equal(draws[0], draws[1]) and not torch.equal(draws[0], draws[2])


def test_a_unit_of_a_stream_scores_as_the_mean_over_its_layers_and_a_head_over_its_rows():
    net, groups = tried("residual")
    rows = [m.weight.detach().flatten(1).norm(dim=1) for m in (net.stem, net.b)]
    assert close(coupled.group_scores(net, named(groups)["stem"], "norm"), (rows[0] + rows[1]) / 2)
    net, groups = tried("vit")
    norms = net.block1.attention.qkv.weight.detach().norm(dim=1).reshape(3, 4, 2)
    assert close(coupled.group_scores(net, named(groups)["block1.attention.qkv"], "norm"), norms.mean((0, 2)))
    net, groups = tried("of torch")
    norms = net.attention.inner.in_proj_weight.detach().norm(dim=1).reshape(3, 3, 2)
    assert close(coupled.group_scores(net, named(groups)["attention.inner"], "norm"), norms.mean((0, 2)))


def read_by(net, name, pictures):
    seen = []
    hook = net.get_submodule(name).register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    net(pictures)
    hook.remove()
    return seen[0].detach()


def test_activations_are_what_the_next_layer_reads():
    net, groups = tried("residual")
    test, groups = split(), named(groups)
    mean = read_by(net, "b", test.images).abs().mean((0, 2, 3))
    assert close(coupled.group_scores(net, groups["a"], "activation", data=test), mean)
    flat = read_by(net, "fc", test.images).unflatten(1, (7, 4)).abs().mean((0, 2))
    assert close(coupled.group_scores(net, groups["way"], "activation", data=test), flat)
    net, groups = tried("vit")
    tokens = read_by(net, "block1.attention.out", test.images).abs().unflatten(2, (4, 2)).mean((0, 1, 3))
    heads = named(groups)["block1.attention.qkv"]
    assert close(coupled.group_scores(net, heads, "activation", data=test), tokens)


def test_the_first_order_change_of_the_loss_is_that_of_a_small_step():
    net, groups = tried("residual")
    test, group, step = split(4), named(groups)["a"], 1e-6

    def losses(unit, by):
        made = copy.deepcopy(net)
        made.b.weight.data[:, unit] *= 1 - by
        return F.cross_entropy(made(test.images), test.labels, reduction="none").detach()

    naive = [((losses(u, step) - losses(u, -step)) / (2 * step)).abs().mean() for u in range(group.units)]
    found = coupled.group_scores(net, group, "taylor", data=test)
    assert torch.allclose(found, torch.stack(naive), rtol=1e-5)


def test_scores_that_cannot_be_had_are_refused():
    net, groups = tried("residual")
    a = named(groups)["a"]
    for criterion, data, words in (
        (lambda gradient: gradient, None, "reads gradient, which coupled units do not have one by one"),
        (lambda weight, activation: weight, split(), "reads weights beside activations"),
        ("activation", None, "'activation' reads activation, not held by the model: pass data="),
        ("none", None, "unknown criterion 'none'"),
    ):
        with pytest.raises(ValueError, match=words):
            coupled.group_scores(net, a, criterion, data=data)
    with pytest.raises(ValueError, match="the units of 'fc' stay"):
        coupled.group_scores(net, named(groups)["fc"], "norm")
    net, groups = tried("of torch")
    with pytest.raises(ValueError, match="the activations of 'attention.inner' cannot be told apart"):
        coupled.group_scores(net, named(groups)["attention.inner"], "activation", data=split())
    bad = copy.deepcopy(tried("residual")[0])
    bad.a.weight.data[0] = torch.nan
    with pytest.raises(ValueError, match="'a' has 18 weights that are not finite|'a' has 54 weights"):
        coupled.group_scores(bad, a, "norm")


@pytest.mark.parametrize(
    ("name", "layer"),
    [("residual", "stem"), ("vit", "block1.attention.qkv"), ("depthwise", "wide"), ("of torch", "attention.inner")],
)
def test_accuracy_along_an_order_is_that_of_nets_without_the_units(name, layer, monkeypatch):
    monkeypatch.setattr("pruning_lab.units.coupled.along.BATCH", 3)
    net, groups = tried(name)
    group, test, before = named(groups)[layer], split(), state(net)
    order = torch.randperm(group.units, generator=torch.Generator().manual_seed(3))
    counts = [0, group.units - 1, 1]
    curve = coupled.group_curve(net, group, order, test, counts, limit=6)
    for k, count in enumerate(counts):
        small = coupled.remove_units(net, group, order[:count], images())
        logits, labels = small(test.images[:6]).detach(), test.labels[:6]
        hits = sum(int(row.argmax()) == int(label) for row, label in zip(logits, labels, strict=True))
        loss = -sum(row.log_softmax(0)[label] for row, label in zip(logits, labels, strict=True)) / 6
        assert float(curve.accuracy[k]) == hits / 6 and close(curve.loss[k], loss)
    assert same(before, state(net))
    assert len(coupled.group_curve(net, group, order, test, [group.units]).loss) == 1


def test_orders_counts_and_images_that_do_not_fit_are_refused():
    net, groups = tried("residual")
    a, test, order = named(groups)["a"], split(), range(5)
    none = SimpleNamespace(images=test.images[:, :1], labels=test.labels)
    for call, words in (
        (lambda: coupled.group_curve(net, a, [0, 0, 1, 2, 3], test, [0]), "is no order of removal"),
        (lambda: coupled.group_curve(net, a, order, test, [6]), r"counts=\[6\]: expected numbers of units, 0..5"),
        (lambda: coupled.group_curve(net, a, order, test, 3), "counts=3: expected several, each from 0 to 5"),
        (lambda: coupled.group_curve(net, a, order, test, [0], limit=0), "limit=0: expected None or a whole number"),
        (lambda: coupled.group_curve(net, a, order, none, [0]), r"cannot read an image of shape \[1, 6, 6\]"),
    ):
        with pytest.raises(ValueError, match=words):
            call()

    class Two(Residual):
        def forward(self, x):
            return super().forward(x), 0

    two = Two().double()
    group = named(coupled.groups(two, images()))["a"]
    with pytest.raises(ValueError, match="the model gives a tuple: expected one tensor of logits"):
        coupled.group_curve(two, group, order, test, [0])


# Other people's nets


@pytest.mark.soak
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("name", "kinds", "free", "options"),
    [
        ("vit_tiny_patch16_224", {"heads": 12, "units": 12}, 24, {"img_size": 32, "patch_size": 8}),
        ("convnext_atto", {"units": 12}, 12, {}),
    ],
)
def test_nets_of_timm_lose_heads_and_hidden_units(name, kinds, free, options):
    environment.import_torchvision()
    timm = pytest.importorskip("timm", reason="timm is not installed: pip install timm==1.0.31")
    torch.manual_seed(0)
    net, x = timm.create_model(name, num_classes=3, **options).eval(), torch.rand(2, 3, 32, 32)
    groups = [g for g in coupled.groups(net, x) if g.tied is None]
    assert {kind: sum(g.kind == kind for g in groups) for kind in kinds} == kinds and len(groups) == free
    net, x = net.double(), x.double()
    for p in net.parameters():  # layer scales near zero would hide what is behind them
        if p.ndim == 1 and float(p.detach().abs().max()) < 1e-2:
            nn.init.uniform_(p, 0.1, 0.5)
    for group in groups[:4] + groups[-2:]:
        gone = range(0, group.units, 2)
        small, zeros = coupled.remove_units(net, group, gone, x), coupled.zero_units(net, group, gone)
        assert torch.allclose(small(x), zeros(x), rtol=1e-8) and not torch.allclose(net(x), zeros(x), rtol=1e-6)
