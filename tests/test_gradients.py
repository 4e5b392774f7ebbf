"""Per-sample statistics against a naive loop: one sample at a time, in float64, nothing clever."""

import copy
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from pruning_lab import gradients
from pruning_lab.gradients import broadcast, calls, fallback, kept, parts, passes, plan, sums, verify
from pruning_lab.gradients.silent import heard_rows
from pruning_lab.nets import models

CLASSES, TOKENS = 4, 11
pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def split(shape, n=13, seed=0, dtype=torch.float32):
    if dtype == torch.int64:
        images = torch.randint(TOKENS, (n, *shape), generator=seeded(seed))
    else:
        images = torch.randn(n, *shape, generator=seeded(seed), dtype=dtype)
    return SimpleNamespace(images=images, labels=torch.randint(CLASSES, (n,), generator=seeded(seed + 1)))


def part(test, index):
    return SimpleNamespace(images=test.images[index], labels=test.labels[index])


def shaken(model, seed=0):
    """The same model in evaluation mode with scales, shifts and stored statistics that are not trivial."""
    for k, tensor in enumerate([*model.parameters(), *model.buffers()]):
        if tensor.is_floating_point() and tensor.ndim == 1:
            tensor.data = torch.rand(tensor.shape, generator=seeded(seed + k), dtype=tensor.dtype) + 0.5
    return model.eval()


# The nets


class Residual(nn.Module):
    """A block of ResNet, stride 2, in-place activations and sum."""

    def __init__(self, inputs, outputs):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(inputs, outputs, 3, 2, 1, bias=False), nn.BatchNorm2d(outputs)
        self.conv2, self.bn2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs)
        self.short, self.relu = (
            nn.Sequential(nn.Conv2d(inputs, outputs, 1, 2, bias=False), nn.BatchNorm2d(outputs)),
            nn.ReLU(True),
        )

    def forward(self, x):
        out = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        out += self.short(x)
        return self.relu(out)


class ViT(nn.Module):
    """Class token, positions and layer scale held by the model; tokens first or samples first."""

    def __init__(self, batch_first=True, token="expand"):
        super().__init__()
        self.batch_first, self.token = batch_first, token
        self.patch, self.head = nn.Conv2d(1, 8, 2, 2), nn.Linear(8, CLASSES)
        self.cls, self.pos = nn.Parameter(torch.randn(1, 1, 8)), nn.Parameter(torch.randn(1, 10, 8))
        self.scale = nn.Parameter(torch.rand(8) + 0.5)
        self.norm1, self.norm2 = nn.LayerNorm(8), nn.LayerNorm(8)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=batch_first)
        self.fc1, self.fc2 = nn.Linear(8, 12), nn.Linear(12, 8)

    def forward(self, x):
        t = self.patch(x).flatten(2).transpose(1, 2)
        first = self.cls.expand(len(t), -1, -1) if self.token == "expand" else self.cls.repeat(len(t), 1, 1)
        t = torch.cat([first, t], 1) + self.pos
        t = t if self.batch_first else t.transpose(0, 1)
        h = self.norm1(t)
        t = t + self.scale * self.attention(h, h, h, need_weights=False)[0]
        t = t + self.fc2(F.gelu(self.fc1(self.norm2(t))))
        return self.head(t[:, 0] if self.batch_first else t[0])


class Words(nn.Module):
    """An embedding whose rows repeat within a sample; if tied, its weight is the output's too."""

    def __init__(self, tied=False, functional=False, **options):
        super().__init__()
        self.embed, self.fc = nn.Embedding(TOKENS, 6, **options), nn.Linear(6, 6)
        self.out, self.functional = nn.Linear(6, TOKENS), functional
        if tied:
            self.out.weight = self.embed.weight

    def forward(self, x):
        h = self.fc(self.embed(x)).relu().mean(1)
        return (F.linear(h, self.embed.weight) if self.functional else self.out(h))[:, :CLASSES]


class Function(nn.Module):
    """Parts by name, and what is done with them."""

    def __init__(self, forward, **parts):
        super().__init__()
        self.function = forward
        for name, value in parts.items():
            setattr(self, name, value)

    def forward(self, x):
        return self.function(self, x)


def twice():
    return Function(
        lambda m, x: m.out(m.b(m.a(m.a(x).relu()).relu()).relu()),
        a=nn.Linear(6, 6),
        b=nn.Linear(6, 6),
        out=nn.Linear(6, 4),
    )


def tied():
    model = twice()
    model.b.weight = model.a.weight
    return model


def frozen():
    model = models.build("mlp", (1, 2, 3), CLASSES, width=5)
    model.fc2.requires_grad_(False)
    model.fc3.bias.requires_grad_(False)
    return model


def hooked():
    model = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, CLASSES))
    model[0].register_forward_pre_hook(lambda m, args: (args[0] * 2,))
    model[0].register_forward_hook(lambda m, args, out: out * (m.weight.square().sum() + 1))
    return model


def parted():
    """One call of a module hands something to the next behind the model's back."""

    aside = []

    def scale(m, x):
        aside.append(x * m.weight)
        return x * 1 if len(aside) == 1 else x * m.weight.square() * aside[-2]

    def forward(m, x):
        aside.clear()
        return m.out(m.scale(m.a(m.scale(x))))

    weight = nn.Parameter(torch.rand(6) + 0.5)
    return Function(forward, scale=Function(scale, weight=weight), a=nn.Linear(6, 6), out=nn.Linear(6, CLASSES))


def generated():
    """A layer whose weight is no parameter but computed from one."""

    def forward(m, x):
        m.a.weight = (m.code.square() * 2).view(5, 6)
        out = m.out(m.a(x).relu())
        m.a.weight = None
        return out

    a, code = nn.Linear(6, 5), nn.Parameter(torch.rand(30))
    del a.weight
    return Function(forward, a=a, code=code, out=nn.Linear(5, CLASSES))


def conv(first, shape, between=(), outputs=None):
    out = [nn.AdaptiveAvgPool1d(2) if len(shape) == 2 else nn.AdaptiveAvgPool2d((1, 2)), nn.Flatten()]
    return nn.Sequential(
        first, nn.ReLU(True), *between, *out, nn.Linear(2 * (outputs or first.out_channels), CLASSES)
    ), shape


def frames(x, minor):
    """Merges samples and frames, samples first or frames first."""
    return x.transpose(0, 1).flatten(0, 1) if minor else x.flatten(0, 1)


def changed(when):
    """A module's input is changed in place after it was read, which autograd allows as nothing has kept it."""

    def forward(m, x):
        h = x * 1
        y = m.b(h)
        return m.out(y + (h.mul_(2) if when(x) else h))

    return Function(
        forward, b=Function(lambda m, x: (x + 0) * m.w, w=nn.Parameter(torch.rand(6))), out=nn.Linear(6, CLASSES)
    )


def joined(m, rows):
    return m.out(rows[:-1] * rows[-1:])


IMAGE, SIX = (3, 8, 7), (6,)
ZOO = {  # name: model and shape of an image
    "mlp": lambda: (models.build("mlp", (1, 4, 4), CLASSES, width=9), (1, 4, 4)),
    "lenet": lambda: (models.build("lenet_300_100", (1, 4, 4), CLASSES, width=9), (1, 4, 4)),
    "conv_2": lambda: (models.build("conv_2", (2, 8, 8), CLASSES, width=4), (2, 8, 8)),
    "vgg19_bn": lambda: (models.build("vgg19_bn", (3, 32, 32), CLASSES, width=2), (3, 32, 32)),
    "strided": lambda: conv(nn.Conv2d(3, 6, 3, stride=(2, 1), padding=(1, 2)), IMAGE),
    "dilated": lambda: conv(nn.Conv2d(3, 5, (3, 2), dilation=(2, 3), stride=2), IMAGE),
    "grouped": lambda: conv(nn.Conv2d(3, 6, 3, groups=3, padding=1), IMAGE,
                            [nn.Conv2d(6, 4, 3, groups=2, bias=False)], 4),
    "depthwise": lambda: conv(nn.Conv2d(3, 3, 3, groups=3), IMAGE, [nn.Conv2d(3, 6, 1, stride=2), nn.ReLU()], 6),
    "asymmetric": lambda: conv(nn.Conv2d(3, 4, (2, 4), padding="same", dilation=(1, 1)), IMAGE),
    "same, dilated": lambda: conv(nn.Conv2d(3, 4, 3, padding="same", dilation=(2, 1)), IMAGE),
    "circular": lambda: conv(nn.Conv2d(3, 4, 3, padding=(1, 2), padding_mode="circular"), IMAGE),
    "reflect": lambda: conv(nn.Conv2d(3, 4, 3, padding="same", padding_mode="reflect"), IMAGE),
    "replicate": lambda: conv(nn.Conv2d(3, 4, 3, padding=2, padding_mode="replicate", stride=2), IMAGE),
    "one position": lambda: conv(nn.Conv2d(3, 4, (8, 7)), IMAGE),
    "one position, grouped": lambda: conv(nn.Conv2d(3, 6, (8, 7), groups=3), IMAGE),
    "pixelwise": lambda: conv(nn.Conv2d(3, 4, 1, stride=(3, 2), padding=1), IMAGE),
    "conv1d": lambda: conv(nn.Conv1d(3, 6, 3, stride=2, padding=2, dilation=2, groups=3), (3, 9)),
    "conv1d, same": lambda: conv(nn.Conv1d(3, 4, 4, padding="same", padding_mode="circular"), (3, 9),
                                 [nn.BatchNorm1d(4)]),
    "norms": lambda: conv(nn.Conv2d(3, 4, 3), IMAGE, [nn.GroupNorm(2, 4), nn.Tanh(), nn.BatchNorm2d(4), nn.Tanh(),
                                                             nn.LayerNorm([6, 5]), nn.Tanh(), nn.RMSNorm(5)]),
    "wide norms": lambda: conv(nn.Conv2d(3, 4, 3), IMAGE,
                               [nn.GroupNorm(2, 4, eps=0.3), nn.Tanh(), nn.BatchNorm2d(4, eps=0.3), nn.Tanh(),
                                nn.LayerNorm([6, 5], eps=0.3), nn.Tanh(), nn.RMSNorm(5, eps=0.3)]),
    "norms of vectors": lambda: (nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.GroupNorm(2, 8),
                                               nn.Tanh(), nn.LayerNorm(8), nn.Linear(8, CLASSES)), SIX),
    "resnet": lambda: (nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(True), Residual(4, 6),
                                     Residual(6, 8), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, CLASSES)),
                       (3, 9, 9)),
    "vit": lambda: (ViT(), (1, 6, 6)),
    "vit, tokens first": lambda: (ViT(batch_first=False), (1, 6, 6)),
    "vit, token repeated": lambda: (ViT(token="repeat"), (1, 6, 6)),
    "encoder": lambda: (nn.Sequential(nn.Flatten(2), nn.Linear(9, 8),
                                      nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), nn.Flatten(),
                                      nn.Linear(24, CLASSES)), (3, 3, 3)),
    "words": lambda: (Words(), (5,)),
    "words, padded": lambda: (Words(padding_idx=3), (5,)),
    "words, sparse": lambda: (Words(sparse=True), (5,)),
    "words, tied": lambda: (Words(tied=True), (5,)),
    "words, tied by a function": lambda: (Words(functional=True), (5,)),
    "bag": lambda: (nn.Sequential(nn.EmbeddingBag(TOKENS, 6), nn.Linear(6, CLASSES)), (5,)),
    "twice": lambda: (twice(), SIX),
    "tied": lambda: (tied(), SIX),
    "frozen": lambda: (frozen(), (1, 2, 3)),
    "hooked": lambda: (hooked(), SIX),
    "parted": lambda: (parted(), SIX),
    "conv twice": lambda: (Function(lambda m, x: m.out(m.a(F.max_pool2d(m.a(x).relu(), 2)).amax((2, 3))),
                                    a=nn.Conv2d(3, 3, 2), out=nn.Linear(3, CLASSES)), IMAGE),
    "others twice": lambda: (Function(lambda m, x: m.out(m.b(m.a(m.b(x)))), a=nn.Linear(6, 6), b=nn.PReLU(6),
                                      out=nn.Linear(6, 4)), SIX),
    "weight from elsewhere": lambda: (generated(), SIX),
    "by a function": lambda: (Function(lambda m, x: m.out(F.linear(m.a(x).relu(), m.a.weight.T)), a=nn.Linear(6, 6),
                                       out=nn.Linear(6, CLASSES)), SIX),
    "weight norm": lambda: (nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(6, 5)), nn.ReLU(),
                                          nn.Linear(5, CLASSES)), SIX),
    "lstm": lambda: (Function(lambda m, x: m.out(m.lstm(x)[0][:, -1]), lstm=nn.LSTM(4, 5, batch_first=True),
                              out=nn.Linear(5, CLASSES)),
                     (3, 4)),
    "others": lambda: (nn.Sequential(nn.ConvTranspose2d(3, 4, 2), nn.PReLU(4), nn.InstanceNorm2d(4, affine=True),
                                     nn.Flatten(1, 2), nn.Linear(8, 3), nn.Flatten(), nn.Linear(108, CLASSES)), IMAGE),
    "conv3d": lambda: (nn.Sequential(nn.Conv3d(1, 3, 2), nn.BatchNorm3d(3), nn.Flatten(), nn.Linear(36, CLASSES)),
                       (1, 4, 3, 3)),
    "branch": lambda: (Function(lambda m, x: m.out(m.b(x) if (x != 1).any() else x), out=nn.Linear(6, CLASSES),
                                b=Function(lambda m, x: x * (m.w if x.sum().item() < 1e9 else 1),
                                           w=nn.Parameter(torch.rand(6)))), SIX),
    "frames": lambda: (Function(
        lambda m, x: m.out(m.a(frames(x, False)).relu().amax((2, 3)).unflatten(0, (-1, 3)).flatten(1)),
        a=nn.Conv2d(1, 4, 3), out=nn.Linear(12, CLASSES)), (3, 1, 5, 5)),
    "frames of vectors": lambda: (Function(
        lambda m, x: m.out(m.a(frames(x, False)).relu().unflatten(0, (-1, 3)).flatten(1)),
        a=nn.Linear(5, 4), out=nn.Linear(12, CLASSES)), (3, 5)),
    "norms of frames": lambda: (Function(
        lambda m, x: m.out(m.b(m.a(frames(x, False))).tanh().unflatten(0, (-1, 3)).flatten(1)),
        a=nn.GroupNorm(2, 4), b=nn.BatchNorm1d(4), out=nn.Linear(12, CLASSES)), (3, 4)),
    "frames first": lambda: (Function(lambda m, x: m.out(m.a(frames(x, True)).relu().unflatten(0, (3, -1)).sum(0)),
                                      a=nn.Linear(5, 4), out=nn.Linear(4, CLASSES)), (3, 5)),
    "constant": lambda: (Function(lambda m, x: m.out(x * m.a(m.code)), a=nn.Linear(2, 6), out=nn.Linear(6, CLASSES),
                                  code=nn.Parameter(torch.rand(2))), SIX),
    "temperature": lambda: (Function(lambda m, x: m.out(m.a(x).tanh()) * m.t + m.b, a=nn.Linear(6, 5),
                                     out=nn.Linear(5, CLASSES), t=nn.Parameter(torch.tensor(1.5)),
                                     b=nn.Parameter(torch.rand(CLASSES))), SIX),
    "handed on": lambda: (Function(lambda m, x: m.out(sum(m.b((x * m.b.w).tanh()))), out=nn.Linear(6, CLASSES),
                                   b=Function(lambda m, x: (x, x.sin() * m.w), w=nn.Parameter(torch.rand(6)))), SIX),
    "read, then changed": lambda: (changed(lambda x: True), SIX),
    "a row more": lambda: (Function(lambda m, x: m.out(m.a(torch.cat([x, m.row])).tanh()[:-1] * m.a(m.row).tanh()),
                                    a=nn.Linear(6, 6), row=nn.Parameter(torch.rand(1, 6)),
                                    out=nn.Linear(6, CLASSES)), SIX),
    "a row for all": lambda: (Function(lambda m, x: joined(m, m.a(torch.cat([x, m.row])).tanh()), a=nn.Linear(6, 6),
                                       row=nn.Parameter(torch.rand(1, 6)), out=nn.Linear(6, CLASSES)), SIX),
    "half detached": lambda: (Function(lambda m, x: m.out(m.a(x).detach() * m.a(x.sin())), a=nn.Linear(6, 6),
                                       out=nn.Linear(6, CLASSES)), SIX),
    "unused": lambda: (Function(lambda m, x: m.out(x), a=nn.Linear(6, 5), out=nn.Linear(6, CLASSES),
                                p=nn.Parameter(torch.rand(2))), SIX),
    "keyword": lambda: (Function(lambda m, x: m.out(input=x) * m.a(x2=x, x1=x), out=nn.Linear(6, CLASSES),
                                 a=Pair()), SIX),
}  # fmt: skip


class Pair(nn.Module):
    """Arguments by name, one of them no tensor, and two outputs inside."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.rand(6))

    def both(self, x1, x2):
        return x1 * self.weight, x2.sin() * self.weight.square()

    def forward(self, x1, x2, power=2):
        a, b = self.both(x1, x2)
        return 0.1 * (a + b).pow(power)[:, :CLASSES]


def case(name, seed=0):
    torch.manual_seed(seed)
    model, shape = ZOO[name]()
    words = name.startswith(("words", "bag"))
    return shaken(model, seed), split(shape, dtype=torch.int64 if words else torch.float32)


# The naive loop


def naive(model, test, loss=gradients.cross_entropy):
    """Every sample's gradient in float64, by parameter, [n, ...]; zeros where there is none."""
    model = copy.deepcopy(model).double()
    parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
    rows = {name: torch.zeros(len(test.images), *p.shape, dtype=torch.float64) for name, p in model.named_parameters()}
    for i, image in enumerate(test.images):
        image = image.double() if image.is_floating_point() else image
        one = loss(model(image[None]), test.labels[i : i + 1]).sum()
        for name, g in zip(
            parameters, torch.autograd.grad(one, list(parameters.values()), allow_unused=True), strict=True
        ):
            if g is not None:
                rows[name][i] = g.to_dense()
    return rows


def coherence(rows):
    """alpha of a list of gradients [n, ...] of several parameters."""
    mean = sum(g.mean(0).square().sum() for g in rows)
    return float(mean / sum(g.square().sum() / len(g) for g in rows))


def assert_exact(found, rows, rounding=3e-6, doubtful_share=0.03):
    """All statistics against those of the rows; diffs may differ only where float64 gradients are below rounding, which
    is counted.
    """
    largest, doubtful_entries, entries = max(float(g.abs().max()) for g in rows.values()), 0, 0
    assert set(found.mean) == set(found.diffs) == set(found.mean_square) == set(rows)
    for name, g in rows.items():
        n, scale = len(g), float(g.abs().max())
        assert found.mean[name].shape == found.diffs[name].shape == g.shape[1:]
        torch.testing.assert_close(
            found.mean[name].double(), g.mean(0), rtol=0, atol=rounding * (scale + 1e-2 * largest)
        )
        square = float(g.square().sum() / n)
        assert found.mean_square[name] == pytest.approx(square, rel=1e-5, abs=(rounding * largest) ** 2)
        doubtful = ((g != 0) & (g.abs() <= rounding * (scale + 1e-2 * largest))).sum(0)
        wrong = (found.diffs[name].double() - g.sign().mean(0)).abs() * n
        assert (wrong <= 2 * doubtful + 1e-4).all(), name
        doubtful_entries, entries = doubtful_entries + int(doubtful.sum()), entries + g.numel()
    assert doubtful_entries <= doubtful_share * entries
    assert found.coherence() == pytest.approx(coherence(list(rows.values())), rel=1e-5)
    for layer in found.layers:
        own = [g for name, g in rows.items() if name.rpartition(".")[0] == layer]
        expected = coherence(own)
        if any(float(g.abs().max()) > 1e-3 * largest for g in own):
            assert found.coherence(layer) == pytest.approx(expected, rel=1e-5), layer
        elif not any(g.any() for g in own):
            assert math.isnan(found.coherence(layer)) and math.isnan(expected)


def statistics(model, test, moves=False, **options):
    """Statistics, and a failure if the first comparison with autograd did not hold, or did although it should not
    (`moves`).
    """
    give_to, moved = plan.Plan.give_to, []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan.Plan, "give_to", lambda how, module, name: (moved.append(name), give_to(how, module, name)))
        found = gradients.statistics(model, test, **options)
    assert bool(moved) == moves, moved
    return found


MOVES = {"parted", "weight from elsewhere"}  # modules that do not work alone


@pytest.mark.parametrize("name", ZOO)
def test_statistics_equal_the_naive_loop(name):
    model, test = case(name)
    assert_exact(statistics(model, test, name in MOVES), naive(model, test))


@pytest.mark.parametrize("name", ZOO)
def test_in_float64_no_sign_is_in_doubt(name):
    model, test = case(name, seed=3)
    found = statistics(model.double(), test, name in MOVES, chunk=5)
    # a bias of keys has the gradient zero but for rounding
    share = 0.03 if name.startswith(("vit", "encoder", "others")) else 1e-4
    assert_exact(found, naive(model, test), rounding=1e-13, doubtful_share=share)
    assert found.precision == "float64"


SMALL = 2**9  # bytes: strips of a few outputs, few samples at once


@pytest.mark.parametrize("name", [name for name in ZOO if name not in ("lenet", "vgg19_bn", "reflect", "replicate")])
def test_chunks_strips_and_what_else_is_wanted_change_nothing(name, monkeypatch):
    model, test = case(name)
    model = model.double()
    whole = gradients.statistics(model, test)
    monkeypatch.setattr(sums, "BYTES", {"cpu": SMALL})
    monkeypatch.setattr(fallback, "_MORE", 2)
    for chunk, want in ((4, {"diffs"}), (5, {"coherence"}), (6, {"mean"}), (4, {"diffs", "coherence"})):
        some = gradients.statistics(model, test, chunk=chunk, want=want)
        assert bool(some.mean) == bool(want & {"mean", "coherence"}) and bool(some.diffs) == ("diffs" in want)
        for kind in ("mean", "diffs"):
            for key, value in getattr(some, kind).items():
                sure = whole.mean[key].abs() > 1e-12 if "in_proj_bias" in key or name == "others" else ...
                torch.testing.assert_close(value[sure], getattr(whole, kind)[key][sure], rtol=1e-9, atol=1e-9)
        if "coherence" in want:
            assert some.coherence() == pytest.approx(whole.coherence(), rel=1e-9)
        else:
            with pytest.raises(ValueError, match='ask for it with want={"coherence"}'):
                some.coherence()


@pytest.mark.parametrize("name", ["mlp", "conv_2", "resnet", "vit", "words, tied", "lstm"])
def test_the_order_of_samples_changes_nothing(name):
    model, test = case(name)
    model, order = model.double(), torch.randperm(len(test.images), generator=seeded(5))
    found = [gradients.statistics(model, part(test, index), chunk=4) for index in (slice(None), order)]
    assert found[0].coherence() == pytest.approx(found[1].coherence(), rel=1e-9)
    for key, value in found[0].diffs.items():
        if "attention" not in key:
            torch.testing.assert_close(value, found[1].diffs[key], rtol=0, atol=1e-12)


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_architectures_drawn_at_random(data):
    torch.manual_seed(data.draw(st.integers(0, 2**20)))
    draw, layers, channels, two = data.draw, [], 2, data.draw(st.booleans())
    shape = (2, 7, 6) if two else (2, 9)
    kind = nn.Conv2d if two else nn.Conv1d
    dims = len(shape) - 1
    for _ in range(draw(st.integers(1, 3))):
        groups = draw(st.sampled_from([g for g in (1, 2, 4) if channels % g == 0]))
        outputs = groups * draw(st.integers(1, 3))
        small = st.tuples(*[st.integers(1, 2)] * dims)
        options = {
            "stride": draw(small),
            "dilation": draw(small),
            "padding": draw(st.tuples(*[st.integers(2, 3)] * dims)),
        }
        kernel, bias = draw(st.tuples(*[st.integers(1, 3)] * dims)), draw(st.booleans())
        layers.append(kind(channels, outputs, kernel, groups=groups, bias=bias, **options))
        norms = [
            nn.Identity(),
            nn.GroupNorm(groups, outputs),
            (nn.BatchNorm2d if two else nn.BatchNorm1d)(outputs),
            nn.PReLU(outputs),
        ]
        layers += [draw(st.sampled_from(norms)), draw(st.sampled_from([nn.Tanh(), nn.ReLU(inplace=True), nn.GELU()]))]
        channels = outputs
    width = draw(st.integers(3, 5))
    tokens = [nn.Flatten(2), nn.LazyLinear(width), nn.LayerNorm(width), nn.GELU(), nn.Linear(width, 3), nn.Flatten()]
    layers += (
        tokens if draw(st.booleans()) else [(nn.AdaptiveAvgPool2d if two else nn.AdaptiveAvgPool1d)(1), nn.Flatten()]
    )
    model, test = nn.Sequential(*layers, nn.LazyLinear(CLASSES)).double(), split(shape, 6, dtype=torch.float64)
    model.eval()(test.images)
    rows = naive(shaken(model), test)
    found = statistics(model, test, chunk=draw(st.sampled_from([None, 1, 4])))
    for name, g in rows.items():
        scale = max(float(r.abs().max()) for r in rows.values())
        torch.testing.assert_close(found.mean[name], g.mean(0), rtol=1e-9, atol=1e-12 * scale)
        doubtful = (g.abs() < 1e-12 * scale).sum(0)  # a norm of very few numbers leaves nothing but rounding
        assert ((found.diffs[name] - g.sign().mean(0)).abs() * 6 <= 2 * doubtful + 1e-9).all()
    assert found.coherence() == pytest.approx(coherence(list(rows.values())), rel=1e-9)


# Inputs far from zero


def far(layer, outputs):
    """A layer over positions, a norm behind it that lets nothing of a shift pass, and an output layer."""
    return nn.Sequential(*layer, nn.Tanh(), nn.Flatten(), nn.Linear(outputs, CLASSES))


class Turned(nn.Module):
    """Tokens behind features, where InstanceNorm wants them."""

    def forward(self, x):
        return x.mT


FAR = {  # layers, numbers that they give, shape of a sample; so small that norms come from Gram matrices
    "linear over tokens": lambda: ([nn.Linear(96, 96), nn.LayerNorm(96)], 768, (8, 96)),
    "tokens": lambda: ([nn.Linear(96, 96), Turned(), nn.InstanceNorm1d(96)], 768, (8, 96)),
    "convolution": lambda: ([nn.Conv2d(3, 96, 5), nn.InstanceNorm2d(96)], 864, (3, 7, 7)),
    "grouped": lambda: ([nn.Conv2d(4, 96, 5, groups=2), nn.InstanceNorm2d(96)], 864, (4, 7, 7)),
    "padded": lambda: ([nn.Conv2d(3, 96, 5, stride=2, padding=1), nn.GroupNorm(48, 96)], 864, (3, 7, 7)),
    "one dimension": lambda: ([nn.Conv1d(8, 96, 9), nn.InstanceNorm1d(96)], 768, (8, 16)),
    "norms": lambda: ([nn.InstanceNorm2d(3), nn.GroupNorm(1, 3), nn.Conv2d(3, 96, 5)], 864, (3, 7, 7)),
}


@pytest.mark.parametrize("offset", [0, 1, 100, 255, 1e4])
@pytest.mark.parametrize("name", FAR)
def test_coherence_alone_is_right_where_inputs_lie_far_from_zero(name, offset):
    torch.manual_seed(0)
    layers, outputs, shape = FAR[name]()
    model, test = far(layers, outputs).eval(), split(shape)
    test.images += offset
    alone, both = (gradients.statistics(model, test, want=want) for want in ({"coherence"}, {"coherence", "diffs"}))
    rows = naive(model, test)
    exact = coherence(list(rows.values()))
    rounding = abs(both.coherence() / exact - 1)  # of the pass itself, and of gradients that are formed
    assert abs(alone.coherence() / exact - 1) <= 2 * rounding + 1e-6
    assert rounding <= 1e-6 + 1e-6 * offset or offset == 1e4
    for key, g in rows.items():
        square = float(g.square().sum() / len(g))
        off = abs(both.mean_square[key] - square)
        assert abs(alone.mean_square[key] - square) <= 2 * off + 1e-6 * square + 1e-12


@pytest.mark.parametrize("offset", [0, 1, 100, 255, 1e4])
@pytest.mark.parametrize("groups", [1, 3])
def test_norms_without_diffs_are_those_of_the_gradients_whatever_cancels(offset, groups):
    """Output gradients that sum to zero over positions, and inputs far from zero: the sum over pairs of positions
    cancels.
    """
    d = torch.randn(5, groups, 64, 8, generator=seeded(0))
    d[2:] -= d[2:].mean(-1, keepdim=True)  # in some samples only
    u = torch.randn(5, groups, 64, 8, generator=seeded(1)) + offset
    found = sums.Sums(torch.zeros(groups, 64, 64), frozenset({"coherence"}), 1)
    parts.Product(d, u, lambda some: some, 64, lazy=True).add_to(found)
    g = d.double() @ u.double().mT
    torch.testing.assert_close(found.squares[0], g.square().sum(), rtol=1e-6, atol=0)
    found = sums.Sums(torch.zeros(groups, 64, 64), frozenset({"coherence"}), 1)
    parts.Product(d[2:], u[2:], lambda some: some, 64, lazy=True).add_to(found)
    torch.testing.assert_close(found.squares[0], g[2:].square().sum(), rtol=1e-6 + 1e-7 * offset, atol=0)


def test_nothing_is_formed_where_nothing_cancels(monkeypatch):
    """The numbers of ordinary inputs are those that two Gram matrices give."""
    d, u = torch.randn(5, 2, 64, 8, generator=seeded(0)), torch.rand(5, 2, 64, 8, generator=seeded(1))
    found = sums.Sums(torch.zeros(2, 64, 64), frozenset({"coherence"}), 1)
    monkeypatch.setattr(sums.Sums, "add_squares", lambda *_: pytest.fail("formed"))
    parts.Product(d, u, lambda some: some, 64, lazy=True).add_to(found)
    inner = (d.flatten(0, 1).mT @ d.flatten(0, 1)) * (u.flatten(0, 1).mT @ u.flatten(0, 1))
    assert found.squares[0] == inner.sum(dtype=torch.float64)


# Gradients that are zero but for rounding


class Keys(nn.Module):
    """Attention written out, with layers of its own for queries, keys and values, or a norm's shift for a key bias."""

    def __init__(self, width, heads=2, normed=False, pixels=False, each=False):
        super().__init__()
        layer = (lambda: nn.Conv2d(width, width, 1)) if pixels else (lambda: nn.Linear(width, width))
        self.q, self.k, self.v = layer(), layer(), layer()
        self.norm, self.heads, self.each = nn.LayerNorm(width) if normed else nn.Identity(), heads, each

    def forward(self, x):
        one = lambda layer: torch.stack([layer(t) for t in x.unbind(1)], 1) if self.each else layer(x)  # noqa: E731
        q, k, v = (one(layer) for layer in (self.q, self.k, self.v))
        q, k, v = (t.flatten(2).mT if t.ndim == 4 else t for t in (q, self.norm(k), v))
        q, k, v = (t.unflatten(2, (self.heads, -1)).transpose(1, 2) for t in (q, k, v))
        return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)


def attention(inside, width=16, tokens=7, pixels=False):
    shape = (width, 3, 3) if pixels else (tokens, width)
    return nn.Sequential(inside, nn.Flatten(), nn.Linear(width * (9 if pixels else tokens), CLASSES)), shape


class Itself(nn.Module):
    """`nn.MultiheadAttention` of tokens to themselves."""

    def __init__(self, width, **options):
        super().__init__()
        self.attention = nn.MultiheadAttention(width, 2, batch_first=True, **options)

    def forward(self, x):
        return self.attention(x, x, x, need_weights=False)[0]


class Fused(nn.Module):
    """Queries, keys and values from one layer."""

    def __init__(self, width):
        super().__init__()
        self.qkv = nn.Linear(width, 3 * width)

    def forward(self, x):
        q, k, v = self.qkv(x).unflatten(2, (3, 2, -1)).permute(2, 0, 3, 1, 4)
        return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)


KEY, BOTH = slice(16, 32), slice(0, 32)
SILENT = {  # model and shape; parameters whose gradient is zero, and where
    "the book's transformer": lambda: ((models.build("vit", (1, 8, 8), CLASSES, width=16), (1, 8, 8)),
                                       {f"block{k}.attention.qkv.bias": KEY for k in range(1, 7)}),
    "fused": lambda: (attention(Fused(16)), {"0.qkv.bias": KEY}),
    "fused, wide": lambda: (attention(Fused(256), 256), {"0.qkv.bias": slice(256, 512)}),
    "of PyTorch": lambda: (attention(Itself(16)), {"0.attention.in_proj_bias": KEY}),
    "a layer for keys": lambda: (attention(Keys(16)), {"0.k.bias": ...}),
    "a layer for keys, called for each token": lambda: (attention(Keys(16, each=True)), {"0.k.bias": ...}),
    "a norm of keys": lambda: (attention(Keys(16, normed=True)), {"0.norm.bias": ...}),
    "of pixels": lambda: (attention(Keys(16, pixels=True), pixels=True), {"0.k.bias": ...}),
    "one token": lambda: (attention(Fused(16), tokens=1), {"0.qkv.bias": BOTH, "0.qkv.weight": BOTH}),
    "one token, of PyTorch": lambda: (attention(Itself(16), tokens=1),
                                      {"0.attention.in_proj_bias": BOTH, "0.attention.in_proj_weight": BOTH}),
    "encoder": lambda: ((nn.Sequential(nn.TransformerEncoderLayer(16, 2, 8, batch_first=True), nn.Flatten(),
                                       nn.Linear(80, CLASSES)),
                         (5, 16)), {"0.self_attn.in_proj_bias": KEY}),
    "before an instance norm": lambda: ((far([nn.Conv2d(3, 6, 3), nn.InstanceNorm2d(6)], 180), IMAGE), {"0.bias": ...}),
    "a shift before an instance norm": lambda: (
        (far([nn.Conv2d(3, 6, 3, bias=False), nn.BatchNorm2d(6), nn.InstanceNorm2d(6)], 180), IMAGE), {"1.bias": ...}),
}  # fmt: skip


@pytest.mark.parametrize("double", [False, True])
@pytest.mark.parametrize("name", SILENT)
def test_a_gradient_that_is_zero_but_for_rounding_has_diff_zero(name, double):
    torch.manual_seed(0)
    (model, shape), zero = SILENT[name]()
    test = split(shape, 40)
    model, test.images = (model.double(), test.images.double()) if double else (model, test.images)
    found, loud = (gradients.statistics(model.eval(), test, **how) for how in ({}, {"silent": 0}))
    rows = naive(model, test)
    for key, where in zero.items():
        assert not found.diffs[key][where].any(), key
        assert float(rows[key][:, where].abs().max() if where is not ... else rows[key].abs().max()) < 1e-12
    for key, g in rows.items():
        assert torch.equal(found.mean[key], loud.mean[key]) and found.mean_square[key] == loud.mean_square[key]
        rest = torch.ones_like(found.diffs[key], dtype=torch.bool)
        if key in zero:
            rest[zero[key]] = False
        assert torch.equal(found.diffs[key][rest], loud.diffs[key][rest]), key
        near = (g.abs() < 1e-6 * g.abs().max()).sum(0)  # float32 may round a sign away where a gradient is that small
        assert ((found.diffs[key].double() - g.sign().mean(0)).abs()[rest] * 40 <= 2 * near[rest] + 1e-3).all(), key
    assert any(loud.diffs[key][where].any() for key, where in zero.items())


@pytest.mark.parametrize("name", [name for name in ZOO if not name.startswith(("vit", "encoder"))])
def test_nothing_else_is_silent(name):
    model, test = case(name)
    found, loud = (gradients.statistics(model, test, **how) for how in ({}, {"silent": 0}))
    assert all(torch.equal(g, loud.diffs[key]) for key, g in found.diffs.items())


def test_small_signs_count_where_nothing_is_summed():
    """A sure answer has tiny gradients at the other classes, and they are not rounding."""
    model = nn.Linear(3, CLASSES)
    with torch.no_grad():
        model.bias[:] = torch.tensor([0.0, -20.0, -40.0, -60.0])
    test = split((3,))
    test.images, test.labels = test.images.abs(), torch.zeros(13, dtype=torch.long)
    found = gradients.statistics(model, test)
    assert torch.equal(found.diffs["bias"], torch.tensor([-1.0, 1, 1, 1])) and (found.diffs["weight"][1:] == 1).all()


def test_how_small_silence_is_can_be_said():
    torch.manual_seed(0)
    (model, _), test = attention(Fused(16)), split((7, 16), 40)
    few, many = (gradients.statistics(model, test, silent=silent).diffs["0.qkv.bias"] for silent in (0.01, 1e5))
    assert few[KEY].any() and not many[KEY].any() and not torch.equal(few[:16], many[:16])
    for silent in (-1, 2e6, math.nan):
        with pytest.raises(ValueError, match=f"silent={silent}: expected a number of times the precision's eps"):
            gradients.statistics(model, test, silent=silent)


def test_one_sample_and_other_losses():
    model, test = case("mlp")
    found = gradients.statistics(model, part(test, slice(1)))
    assert found.n == 1 and found.coherence() == pytest.approx(1, rel=1e-6)
    rows = naive(model, part(test, slice(1)))
    assert all(torch.equal(found.diffs[name].double(), g[0].sign()) for name, g in rows.items())
    test.labels = torch.randn(13, CLASSES, generator=seeded(4))

    def squared(out, y):
        return (out - y).square().sum(1)

    assert_exact(gradients.statistics(model, test, squared), naive(model, test, squared))


LAYOUTS = {
    "channels last": lambda model, x: (
        model.to(memory_format=torch.channels_last),
        x.contiguous(memory_format=torch.channels_last),
    ),
    "weights channels last": lambda model, x: (model.to(memory_format=torch.channels_last), x),
    "turned": lambda model, x: (model, x.mT.contiguous().mT),
    "one channel for all": lambda model, x: (model, x[:, :1].expand_as(x)),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", ["conv_2", "grouped", "depthwise", "pixelwise", "norms", "resnet"])
@pytest.mark.parametrize("want", [{"diffs", "coherence"}, {"coherence"}])
def test_where_numbers_lie_in_memory_changes_nothing(name, layout, want):
    model, test = case(name)
    model, test.images = LAYOUTS[layout](model.double(), test.images)
    found, rows = gradients.statistics(model, test, want=want, chunk=5), naive(model, test)
    for key, g in rows.items():
        torch.testing.assert_close(found.mean[key], g.mean(0), rtol=0, atol=1e-13 * float(g.abs().max()) + 1e-15)
        if "diffs" in want:
            sure = (g.abs() > 1e-13).all(0) | (g == 0).all(0)
            torch.testing.assert_close(found.diffs[key][sure], g.sign().mean(0)[sure])
    assert found.coherence() == pytest.approx(coherence(list(rows.values())), rel=1e-10)


def test_a_sure_answer_has_a_gradient_at_its_true_class():
    """p - 1, rounded, is zero from 17 on in float32, and from 37 on in float64."""
    outputs = torch.tensor([[0.0, 5.0], [0.0, 18.0], [0.0, 60.0], [60.0, 0.0], [3e4, 0.0]], requires_grad=True)
    labels = torch.tensor([1, 1, 1, 1, 0])
    each = gradients.cross_entropy(outputs, labels)
    torch.testing.assert_close(each, F.cross_entropy(outputs, labels, reduction="none"), atol=1e-7, rtol=1e-6)
    (g,) = torch.autograd.grad(each.sum(), outputs)
    torch.testing.assert_close(
        g[:4, 1], torch.tensor([-math.exp(-5) / (1 + math.exp(-5)), -math.exp(-18), -math.exp(-60), -1.0])
    )
    assert torch.equal(g[:, 0], -g[:, 1]) and not g[4].any()
    many, classes = torch.randn(50, 7, generator=seeded(0), dtype=torch.float64), torch.arange(50) % 7
    torch.testing.assert_close(gradients.cross_entropy(many, classes), F.cross_entropy(many, classes, reduction="none"))
    shares = many.softmax(1)
    assert torch.equal(gradients.cross_entropy(many, shares), F.cross_entropy(many, shares, reduction="none"))


def test_an_embedding_scaled_by_how_often_a_token_is_read_counts_within_a_sample():
    model, test = Words(scale_grad_by_freq=True), split((5,), dtype=torch.int64)
    test.images[:3] = torch.tensor([[0, 0, 0, 1, 2], [3, 3, 4, 4, 4], [5, 6, 6, 6, 6]])  # each its own tokens
    assert_exact(statistics(model, test), naive(model, test))


@pytest.mark.parametrize("kind", [torch.int32, torch.uint8, torch.int16])
def test_labels_may_be_any_whole_numbers(kind):
    model, test = case("mlp")
    expected, test.labels = gradients.statistics(model, test), test.labels.to(kind)
    assert gradients.statistics(model, test).coherence() == expected.coherence()


def test_inference_mode_outside_changes_nothing():
    model, test = case("conv_2")
    expected = gradients.statistics(model, test)
    with torch.inference_mode():
        test.images = test.images * 1
        found = gradients.statistics(model, test)
    assert all(torch.equal(found.mean[name], g) for name, g in expected.mean.items())


def test_which_way_each_parameter_goes(monkeypatch):
    """What is fast where: a net may be exact and slow without anybody noticing."""
    found, divide = [], plan._divide

    def keep(how, *rest):
        divide(how, *rest)
        found.append(how)

    monkeypatch.setattr(plan, "_divide", keep)
    for name, others in {
        "resnet": set(),
        "norms": set(),
        "words": set(),
        "twice": set(),
        "words, tied": set(),
        "frames of vectors": set(),
        "vit": set(),
        "vit, tokens first": set(),
        "lstm": {"LSTM"},
        "encoder": set(),
        "weight norm": {"ParametrizedLinear"},
    }.items():
        gradients.statistics(*case(name))
        assert {type(m).__name__ for m in found[-1].fallback} == others, name
        assert set(found[-1].rows) == ({"cls", "pos", "scale"} if name.startswith("vit") else set())
    gradients.statistics(*case("vit, token repeated"))
    assert set(found[-1].rows) == {"pos", "scale"}


# What is kept and what it costs


class Largest(TorchDispatchMode):
    """The most numbers in any tensor that is made."""

    def __init__(self):
        super().__init__()
        self.numbers = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        for t in torch.utils._pytree.tree_leaves(out):
            if isinstance(t, torch.Tensor):
                self.numbers = max(self.numbers, t.untyped_storage().nbytes() // t.element_size())
        return out


@pytest.mark.parametrize("name", ["mlp", "conv_2", "vit", "words", "twice"])
def test_no_tensor_holds_every_samples_gradient(name, monkeypatch):
    model, test = case(name)
    n = 80
    test = part(test, torch.arange(n) % 13)
    monkeypatch.setattr(sums, "BYTES", {"cpu": 2**10})
    monkeypatch.setattr(fallback, "_MORE", 1)
    with Largest() as largest:
        gradients.statistics(model, test, chunk=2)
    biggest = max(p.numel() for p in model.parameters())
    assert (
        largest.numbers
        <= max(3 * biggest, test.images.numel(), 4000)
        < n * sum(p.numel() for p in model.parameters()) / 2
    )


def test_a_convolution_used_twice_unfolds_few_samples_at_once(monkeypatch):
    model = Function(
        lambda m, x: m.out(m.a(m.a(x).relu()).amax((2, 3))), a=nn.Conv2d(2, 2, 9, padding=4), out=nn.Linear(2, CLASSES)
    )
    test = split((2, 12, 12), 64)
    monkeypatch.setattr(sums, "BYTES", {"cpu": 2**10})
    with Largest() as largest:
        gradients.statistics(model, test, chunk=64)
    unfolded = 2 * 81 * 144  # of one sample
    assert largest.numbers <= 9 * unfolded


def test_the_first_images_are_checked_once(monkeypatch):
    seen, add = [], passes.Task.add
    monkeypatch.setattr(passes.Task, "add", lambda task, x, *rest: (seen.append(len(x)), add(task, x, *rest))[1])
    gradients.statistics(*case("conv_2"))
    assert seen == [3, 13]


def flops(call):
    with FlopCounterMode(display=False) as counter:
        call()
    return counter.get_total_flops()


@pytest.mark.parametrize("name, want, most", [
    ("mlp", {"diffs", "coherence"}, 1.45), ("mlp", {"coherence"}, 1.01), ("mlp", {"diffs"}, 1.01),
    ("conv_2", {"diffs", "coherence"}, 1.45), ("conv_2", {"coherence"}, 1.25), ("resnet", {"diffs", "coherence"}, 1.15),
    ("resnet", {"coherence"}, 1.2), ("frames of vectors", {"diffs", "coherence"}, 1.1),
])  # fmt: skip
def test_products_cost_what_a_plain_backward_pass_costs(name, want, most, monkeypatch):
    """Multiplications over those of one forward and backward pass; the plan's few images are not counted."""
    model, test = case(name)
    test = part(test, torch.arange(300) % 13)
    plain = flops(
        lambda: torch.autograd.grad(F.cross_entropy(model(test.images), test.labels), list(model.parameters()))
    )
    gradients.statistics(model, test, want=want)  # makes the plan
    monkeypatch.setattr(verify.Watch, "chosen", lambda *_: [])
    assert flops(lambda: gradients.statistics(model, test, want=want)) <= most * plain


def test_the_model_stays_as_it_is():
    for name in ("resnet", "vit", "frozen", "parted"):
        model, test = case(name)
        before = copy.deepcopy(model.state_dict())
        flags = [(p, p.requires_grad) for p in model.parameters()]
        images = test.images.clone()
        with torch.no_grad():
            gradients.statistics(model, test)
        bad = part(test, slice(None))
        bad.images = bad.images.clone()
        bad.images[7] = torch.nan
        with pytest.raises(ValueError, match="not finite"):
            gradients.statistics(model, bad, chunk=5)
        assert all(torch.equal(before[k], v) for k, v in model.state_dict().items()) and torch.equal(
            images, test.images
        )
        assert all(
            p is q and p.requires_grad is flag and p.grad is None
            for (p, flag), q in zip(flags, model.parameters(), strict=True)
        )
        assert not any(m._forward_hooks or m._forward_pre_hooks or m.training for m in model.modules())


def test_buffers_that_a_pass_changes_are_put_back():
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.utils.parametrizations.spectral_norm(nn.Linear(6, 5), n_power_iterations=3), nn.Linear(5, CLASSES)
    )
    before = {name: (b, b.clone()) for name, b in model.named_buffers()}
    gradients.statistics(model, split((6,)))
    assert all(b is before[name][0] and torch.equal(b, before[name][1]) for name, b in model.named_buffers()) and before


@pytest.mark.parametrize("switches", [(True, True), (False, True)])
def test_precision_is_the_parameters_own(switches):
    model, test = case("mlp")
    seen, products, convolutions = [], torch.backends.cuda.matmul, torch.backends.cudnn
    before = products.allow_tf32, convolutions.allow_tf32

    def note(*_):
        seen.append((products.allow_tf32, convolutions.allow_tf32, torch.is_autocast_enabled("cpu")))

    model[0].register_forward_hook(note)
    try:
        products.allow_tf32, convolutions.allow_tf32 = switches
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = gradients.statistics(model, test)
        assert set(seen) == {(False, False, False)} and (products.allow_tf32, convolutions.allow_tf32) == switches
    finally:
        products.allow_tf32, convolutions.allow_tf32 = before
    assert found.precision == "float32" and found.diffs["fc1.weight"].dtype == torch.float32


def test_precision_is_that_of_what_has_a_gradient():
    def forward(m, x):
        return m.out(m.a(x.to(m.a.weight.dtype)).to(m.out.weight.dtype))

    model, test = (
        Function(forward, a=nn.Linear(6, 6).double().requires_grad_(False), out=nn.Linear(6, CLASSES)),
        split((6,)),
    )
    assert gradients.statistics(model, test).precision == "float32"
    assert gradients.statistics(model.requires_grad_(), test).precision == "float32 and float64"


def test_parameters_without_gradient_are_listed_and_zero():
    model, test = case("frozen")
    found = gradients.statistics(model, test)
    assert found.without_gradient == ("fc2.weight", "fc2.bias", "fc3.bias")
    assert not any(
        found.diffs[name].any() or found.mean[name].any() or found.mean_square[name] for name in found.without_gradient
    )
    assert gradients.statistics(*case("unused")).without_gradient == ("p", "a.weight", "a.bias")
    dead, test = case("mlp")
    dead.fc2.bias.data.fill_(-1e3)  # a gradient of zero is a gradient
    found = gradients.statistics(dead, test)
    assert found.without_gradient == () and not found.diffs["fc1.weight"].any() and math.isnan(found.coherence("fc1"))


# Coherence: its forms, null lines and error


def one_weight(g):
    """A model whose per-sample gradients are the rows of `g` [n, inputs]."""
    model = nn.Sequential(nn.Linear(g.shape[1], 1, bias=False)).to(g.dtype)
    test = SimpleNamespace(images=g, labels=torch.zeros(len(g)))
    return gradients.statistics(model, test, lambda out, y: out[:, 0], groups=min(4, len(g)))


def test_coherence_of_identical_orthogonal_and_opposite_gradients():
    row = torch.rand(5, generator=seeded(0))
    same, orthogonal, opposite = (
        one_weight(row.expand(8, 5)),
        one_weight(torch.eye(8)),
        one_weight(torch.stack([row, -row])),
    )
    assert [same.coherence(), same.coherence(unbiased=True), same.coherence(scaled=True)] == pytest.approx(
        [1, 1, 8], rel=1e-6
    )
    values = [orthogonal.coherence(), orthogonal.coherence(unbiased=True), orthogonal.coherence(scaled=True)]
    assert values == pytest.approx([1 / 8, 0, 1], abs=1e-7)
    assert opposite.coherence() == 0 and opposite.coherence(unbiased=True) == -1


@settings(max_examples=20, deadline=None)
@given(n=st.integers(2, 9), seed=st.integers(0, 999))
def test_unbiased_is_the_mean_product_of_two_different_samples(n, seed):
    g = torch.randn(n, 3, generator=seeded(seed), dtype=torch.float64) + 0.3
    pairs = [float(g[i] @ g[j]) for i in range(n) for j in range(n) if i != j]
    found = one_weight(g)
    assert found.coherence(unbiased=True) == pytest.approx(
        np.mean(pairs) / float(g.square().sum(1).mean()), rel=1e-9, abs=1e-12
    )
    assert found.coherence(scaled=True) == pytest.approx(n * coherence([g]))


def test_null_lines_are_what_fair_coins_give():
    n, draws, generator = 12, 400, seeded(1)
    size = torch.rand(n, 3, generator=generator) + 0.1  # samples of unlike sizes
    found = [one_weight(size * (torch.randint(2, (n, 3), generator=generator) * 2 - 1)) for _ in range(draws)]
    for how in ({}, {"unbiased": True}, {"scaled": True}):
        values = np.array([f.coherence(**how) for f in found])
        assert abs(values.mean() - found[0].coherence_null(**how)) < 4 * values.std() / math.sqrt(draws)
    values, chances = found[0].diffs_null()
    np.testing.assert_allclose(chances, binom.pmf(np.arange(n + 1), n, 0.5), rtol=1e-9)
    assert values[0] == -1 and values[-1] == 1 and float(chances @ values**2) == pytest.approx(1 / n)
    diffs = torch.stack([f.diffs["0.weight"] for f in found]).flatten().double()
    shares = torch.stack([(diffs - v).abs().lt(1e-6).double().mean() for v in values])
    assert ((shares - chances).abs() <= 4 * (chances / len(diffs)).sqrt() + 1e-3).all()
    assert (
        found[0].coherence_null() == 1 / n
        and found[0].coherence_null(unbiased=True) == 0
        and found[0].coherence_null(scaled=True) == 1
    )


@pytest.mark.parametrize("groups", [2, 3, 13])
@pytest.mark.parametrize("unbiased", [False, True])
def test_the_error_is_the_jackknife_over_blocks(groups, unbiased):
    model, test = case("conv_2")
    model, n = model.double(), len(test.images)
    found = gradients.statistics(model, test, groups=groups, chunk=4)
    bounds = [n * b // groups for b in range(groups + 1)]
    for layer in (None, "conv1", "fc2"):
        left = []
        for first, last in zip(bounds, bounds[1:], strict=False):
            kept = [i for i in range(n) if not first <= i < last]
            left.append(gradients.statistics(model, part(test, kept)).coherence(layer, unbiased=unbiased))
        expected = math.sqrt((groups - 1) / groups * sum((v - np.mean(left)) ** 2 for v in left))
        assert found.coherence_error(layer, unbiased=unbiased) == pytest.approx(expected, rel=1e-6)
    whole = gradients.statistics(model, test)
    assert found.coherence() == pytest.approx(whole.coherence(), rel=1e-12) and found.blocks == tuple(np.diff(bounds))
    assert found.coherence_error(scaled=True) == pytest.approx(n * found.coherence_error())
    assert all(
        torch.allclose(found.mean[k], v) and torch.equal(found.diffs[k], whole.diffs[k]) for k, v in whole.mean.items()
    )


@pytest.mark.parametrize("name", ["mlp", "conv_2", "grouped", "resnet", "vit", "words", "words, tied", "lstm", "twice"])
@pytest.mark.parametrize("want", [{"coherence"}, {"diffs", "coherence"}])
def test_every_block_has_the_sums_of_its_own_samples(name, want):
    model, test = case(name)
    model, rows = model.double(), naive(model, test)
    found = gradients.statistics(model, test, want=want, groups=5, chunk=2)
    for key, g in rows.items():
        blocks, largest = g.flatten(1).split(found.blocks), float(g.square().sum())
        total = torch.stack([block.sum(0) for block in blocks])
        torch.testing.assert_close(found.inner[key], total @ total.T, rtol=1e-9, atol=1e-12 * largest + 1e-25)
        torch.testing.assert_close(
            found.squares[key], torch.stack([b.square().sum() for b in blocks]), rtol=1e-9, atol=1e-25
        )


def test_the_jackknife_error_is_about_the_spread_over_samples():
    generator = seeded(2)
    found = [one_weight(torch.randn(400, 4, generator=generator, dtype=torch.float64) + 0.5) for _ in range(60)]
    spread = np.std([f.coherence() for f in found])
    assert 0.6 < np.mean([f.coherence_error() for f in found]) / spread < 1.5


def test_the_table_has_a_row_a_layer_and_one_for_the_whole():
    model, test = case("conv_2")
    found = gradients.statistics(model, test, groups=3)
    table = found.table().set_index("layer")
    assert list(table.index) == ["whole", "conv1", "conv2", "fc1", "fc2", "out"] == ["whole", *found.layers]
    assert (
        table.loc["fc1", "coherence"] == found.coherence("fc1")
        and table.loc["whole", "error"] == found.coherence_error()
    )
    assert table.loc["whole", "parameters"] == table.parameters[1:].sum() == sum(p.numel() for p in model.parameters())
    assert gradients.statistics(model, test).table().error.isna().all()


# Errors


def mixing(m, x):
    return m.out(x - x.mean(0))


def noisy(m, x):
    return m.out(x + torch.rand_like(x))


def in_place(m, x):
    return m.out(x.mul_(2))


def rough(m, x):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        return m.out(x).float()


REFUSED = {
    "input changed": (lambda: Function(in_place, out=nn.Linear(6, CLASSES)),
                      "changes its input in place: make its first operation out"),
    "autocast inside": (lambda: Function(rough, out=nn.Linear(6, CLASSES)),
                        r"Linear gives half precision.*take autocast out of it"),
    "batch norm": (lambda: case("vgg19_bn")[0].train(),
                   r"'bn1', 'bn2', 'bn3' and 13 more: batch statistics.*model\.eval\(\).*GroupNorm"),
    "no stored statistics": (
        lambda: nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4, track_running_stats=False)).eval(), "batch stat"),
    "dropout": (lambda: nn.Sequential(nn.Linear(6, 4), nn.Dropout(0.1)),
                r"'1': dropout in training mode.*model\.eval\(\)"),
    "random slopes": (lambda: nn.Sequential(nn.Linear(6, 4), nn.RReLU()),
                      "'1': RReLU in training mode draws random numbers"),
    "attention": (lambda: nn.Sequential(nn.Linear(6, 4), nn.TransformerEncoderLayer(4, 1, dropout=0.2)),
                  "dropout in training mode"),
    "samples mixed": (lambda: Function(mixing, out=nn.Linear(6, CLASSES)),
                      "depends on the other images of its batch, or on chance"),
    "random numbers": (lambda: Function(noisy, out=nn.Linear(6, CLASSES)),
                       "depends on the other images of its batch, or on chance"),
    "gradients mixed": (lambda: Words(scale_grad_by_freq=True),
                        "'embed.weight', sample by sample, do not add up to those of the batch"),
    "frozen": (lambda: nn.Linear(6, CLASSES).requires_grad_(False),
               "no parameter of the model requires a gradient: unfreeze"),
    "nothing used": (lambda: Function(lambda m, x: x[:, :4], a=nn.Linear(6, 6)),
                     "depends on no parameter that requires a gradient"),
    "half": (lambda: nn.Linear(6, CLASSES).half(), r"parameters are torch.float16: expected float32 or float64"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_models_that_have_no_gradient_for_each_sample(name):
    model, message = REFUSED[name]
    test = split(
        (3, 32, 32) if name == "batch norm" else (6,), dtype=torch.int64 if name == "gradients mixed" else torch.float32
    )
    with pytest.raises(ValueError, match=message):
        gradients.statistics(model(), test)


def test_losses_that_are_not_each_samples_own():
    model, test = case("mlp")

    def shared(out, y):
        return gradients.cross_entropy(out, y) / len(y)

    def penalty(out, y):
        return gradients.cross_entropy(out, y) + model.fc1.weight.square().sum()

    with pytest.raises(
        ValueError, match=r"the loss of one sample depends on the others of its batch.*reduction='none'"
    ):
        gradients.statistics(model, test, shared)
    with pytest.raises(
        ValueError, match="'fc1.weight', sample by sample, do not add up .*the loss reads parameters itself"
    ):
        gradients.statistics(model, test, penalty)
    both = Function(lambda m, x: (m.out(x.flatten(1)), m.out.weight.square().sum()), out=nn.Linear(16, CLASSES))
    with pytest.raises(ValueError, match="an output that all samples share, such as a penalty on weights"):
        gradients.statistics(both, test, lambda out, y: gradients.cross_entropy(out[0], y) + out[1])
    found = gradients.statistics(both, test, lambda out, y: gradients.cross_entropy(out[0], y))
    assert found.coherence() == pytest.approx(
        gradients.statistics(nn.Sequential(nn.Flatten(), both.out), test).coherence()
    )


def test_images_stay_as_they_are():
    test = split((6,))
    before = test.images.clone()
    with pytest.raises(ValueError, match="in place"):
        gradients.statistics(Function(in_place, out=nn.Linear(6, CLASSES)), test)
    assert torch.equal(test.images, before)


def test_instance_norm_in_training_mode_is_each_samples_own():
    torch.manual_seed(0)
    norm = nn.InstanceNorm2d(3, affine=True, track_running_stats=True)
    model, test = (
        nn.Sequential(nn.Conv2d(2, 3, 3), norm, nn.Tanh(), nn.Flatten(), nn.Linear(48, CLASSES)),
        split((2, 6, 6)),
    )
    before = copy.deepcopy(model.state_dict())
    assert_exact(statistics(model, test), naive(model, test))
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_dropout_of_nothing_and_frozen_layers_are_allowed():
    model = nn.Sequential(
        nn.Linear(6, 5), nn.BatchNorm1d(5).eval(), nn.Dropout(0.0), nn.Dropout(0.5).eval(), nn.Linear(5, CLASSES)
    )
    assert gradients.statistics(model, split((6,))).n == 13


def test_bad_arguments_say_what_was_expected():
    model, test = case("mlp")
    empty, short, wrong = part(test, slice(0)), part(test, slice(None)), part(test, slice(None))
    short.labels, wrong.images = short.labels[:5], wrong.images.flatten(1)[:, :7]
    column, high, low = (part(test, slice(None)) for _ in range(3))
    column.labels, high.labels, low.labels = test.labels[:, None], test.labels.clone(), test.labels.clone()
    high.labels[1], low.labels[1] = 9, -1
    pair = Function(lambda m, x: (m.out(x.flatten(1)), x), out=nn.Linear(16, CLASSES))
    calls = {
        "split has no samples": lambda: gradients.statistics(model, empty),
        r"images \[13, 1, 4, 4\] and labels \[5\]: expected tensors": lambda: gradients.statistics(model, short),
        "images NoneType and labels NoneType": lambda: gradients.statistics(model, object()),
        r"expected a set of some of \['coherence', 'diffs', 'mean'\]": lambda: gradients.statistics(
            model, test, want={"alpha"}
        ),
        "want='diffs': expected a set": lambda: gradients.statistics(model, test, want="diffs"),
        "want=set": lambda: gradients.statistics(model, test, want=set()),
        "chunk=0: expected at least 1": lambda: gradients.statistics(model, test, chunk=0),
        "groups=14: expected 0 .* or 2 to 13": lambda: gradients.statistics(model, test, groups=14),
        "groups=1: expected": lambda: gradients.statistics(model, test, groups=1),
        r"the loss gives \[\] for 3 samples: .*reduction='none'": lambda: gradients.statistics(
            model, test, F.cross_entropy
        ),
        r"the model gives \[3, 4\] for labels \[3, 1\]: expected logits": lambda: gradients.statistics(model, column),
        "labels go from .* to 9, but the model has 4 outputs: expected 0 to 3": lambda: gradients.statistics(
            model, high
        ),
        "labels go from -1 to": lambda: gradients.statistics(model, low),
        r"the model gives tuple for labels \[3\]": lambda: gradients.statistics(pair, test),
        "no layer 'fc9' holds parameters: expected one of": lambda: gradients.statistics(model, test).coherence("fc9"),
        "two ways to undo": lambda: gradients.statistics(model, test).coherence(unbiased=True, scaled=True),
        "at least two": lambda: gradients.statistics(model, part(test, slice(1))).coherence(unbiased=True),
        "the jackknife needs blocks": lambda: gradients.statistics(model, test).coherence_error(),
    }
    for message, call in calls.items():
        with pytest.raises(ValueError, match=message):
            call()


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
@pytest.mark.parametrize("where", [0, 9])
def test_losses_that_are_not_finite_are_refused(value, where):
    model, test = case("mlp")
    test.images[where] = value
    with pytest.raises(ValueError, match="the loss of 1 of .* is not finite: check inputs and weights"):
        gradients.statistics(model, test, chunk=5)


@pytest.mark.parametrize("want", [{"diffs"}, {"coherence"}])
def test_gradients_that_are_not_finite_are_refused(want):
    root = Function(lambda m, x: m.out((m.a(x) * 0).abs().sqrt()), a=nn.Linear(6, 5), out=nn.Linear(5, CLASSES))  # 1/0
    with pytest.raises(ValueError, match="gradients of .* are not finite, though their losses are"):
        gradients.statistics(root, split((6,)), want=want)
    large = nn.Sequential(nn.Linear(6, 4))
    with pytest.raises(ValueError, match="is too large for torch.float32"):
        gradients.statistics(large, split((6,)), lambda out, y: out.sum(1) * 1e25, want={"coherence"})


def test_a_model_that_branches_between_chunks_is_refused():
    torch.manual_seed(0)
    model = Function(
        lambda m, x: m.out(m.a(x) if x[0, 0] < 100 else m.a(m.a(x))), a=nn.Linear(6, 6), out=nn.Linear(6, CLASSES)
    )
    test = split((6,))
    test.images[8] += 1000
    with pytest.raises(ValueError, match="called 1 times for some images and 2 times for others"):
        gradients.statistics(model, test, chunk=4)


def test_an_input_that_is_changed_for_some_images_only_is_refused():
    test = split((6,))
    test.images[8] += 1000
    model = changed(lambda x: x.sum() > 1000)
    model.out.requires_grad_(False)
    with pytest.raises(
        ValueError, match="what Function has read was changed in place afterwards: make that operation out of place"
    ):
        gradients.statistics(model, test, chunk=4)


def test_rows_for_each_sample_are_tried_before_they_are_trusted():
    """A row may fit by shape and still be another sample's."""
    wrong = Function(lambda m, x: m.out(x + m.p.flip(0)), p=nn.Parameter(torch.rand(1, 6)), out=nn.Linear(6, CLASSES))
    model, test = wrong.eval(), split((6,))
    here = kept.Kept(model)
    (own,) = calls.run(model, test.images[:3], [model], here)[1][model]
    first = [calls.Place(0, 1)]
    assert broadcast.row_shape(model, model.p, [own], [(first, first)]) is None
    assert_exact(gradients.statistics(model, test), naive(model, test))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("name", ["mlp", "conv_2", "resnet", "vit", "words, tied"])
def test_the_same_on_cuda(name):
    model, test = case(name)
    rows = naive(model, test)
    found = gradients.statistics(copy.deepcopy(model).cuda(), test)
    assert found.coherence() == pytest.approx(coherence(list(rows.values())), rel=1e-4)
    assert all(torch.allclose(found.mean[k].cpu().double(), g.mean(0), atol=1e-5) for k, g in rows.items())


def test_one_number_a_sample_is_never_silent():
    rows = torch.tensor([1e-30, -3.0, 0.0])
    assert torch.equal(heard_rows(rows, 8), rows)
