"""Coherence and diffs against one plain forward and backward pass over the same images, `vmap(grad)`, and Opacus where it is installed.

Run `python benchmarks/bench_gradients.py`; names of nets after it choose some of them. Pairs alternate, and the ratio of each pair
counts. Nets are untrained and images are seeded noise: speed hardly depends on either. All give the same answer, which is checked.
"""

import statistics
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import torch
import torch.nn.functional as F
from torch import nn
from torch.func import functional_call, grad, vmap

sys.path.insert(0, str(Path(__file__).parents[1]))

from pruning_lab import environment, gradients, models

PAIRS = 5
BATCH = 128  # of the plain pass


class Tokens(nn.Module):
    """Class token and positions."""

    def __init__(self, count, dim):
        super().__init__()
        self.token, self.positions = nn.Parameter(torch.randn(1, 1, dim)), nn.Parameter(torch.randn(1, count + 1, dim))

    def forward(self, x):
        x = x.flatten(2).transpose(1, 2)
        return torch.cat([self.token.expand(len(x), -1, -1), x], 1) + self.positions


class Block(nn.Module):
    """Attention and two linear layers, each behind a norm."""

    def __init__(self, dim, heads, hidden):
        super().__init__()
        self.norm1, self.norm2, self.heads = nn.LayerNorm(dim), nn.LayerNorm(dim), heads
        self.qkv, self.out = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.fc1, self.fc2 = nn.Linear(dim, hidden), nn.Linear(hidden, dim)

    def forward(self, x):
        q, k, v = self.qkv(self.norm1(x)).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        x = x + self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        return x + self.fc2(F.gelu(self.fc1(self.norm2(x))))


class First(nn.Module):
    """The class token's place."""

    def forward(self, x):
        return x[:, 0]


def vit(dim=512, depth=6, heads=8, patch=4):
    """The source's ViT for images of 32 x 32 pixels."""
    first, blocks = nn.Conv2d(3, dim, patch, patch), [Block(dim, heads, dim) for _ in range(depth)]
    return nn.Sequential(first, Tokens((32 // patch) ** 2, dim), *blocks, nn.LayerNorm(dim), First(), nn.Linear(dim, 10))


def resnet50(stem):
    """torchvision's ResNet50, its stem for ImageNet or that for CIFAR-10: one 3 x 3 convolution, no pooling."""
    model = environment.import_torchvision().models.resnet50(num_classes=10)
    if stem == "cifar":
        model.conv1, model.maxpool = nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.Identity()
    return model


NETS = {  # net, images, images for vmap(grad), at most so many plain passes, at least so many times faster than vmap(grad)
    "mlp": (lambda: models.build("mlp", (3, 32, 32)), 2_000, 20, 2, 30),
    "conv_2": (lambda: models.build("conv_2", (3, 32, 32)), 256, 16, 2, 5),
    "vit": (vit, 64, 8, 3.5, None),
    "resnet50, cifar": (lambda: resnet50("cifar"), 16, None, 3.5, None),
    "resnet50, imagenet": (lambda: resnet50("imagenet"), 16, None, 3.5, None),
}


def split(n):
    """Noise images and labels in the form of a `Split`."""
    generator = torch.Generator().manual_seed(0)
    return SimpleNamespace(images=torch.randn(n, 3, 32, 32, generator=generator), labels=torch.randint(10, (n,), generator=generator))


def plain(model, test):
    """One pass as in training, without the optimiser's step: gradients of the mean loss of every batch, added up."""
    model.zero_grad()
    for x, y in zip(test.images.split(BATCH), test.labels.split(BATCH), strict=True):
        (F.cross_entropy(model(x), y, reduction="sum") / len(test.labels)).backward()
    return {name: p.grad for name, p in model.named_parameters()}


def ours(model, test, want=frozenset({"diffs", "coherence"})):
    """The library's own."""
    return gradients.statistics(model, test, want=want)


def by_vmap(model, test, chunk=8):
    """`vmap(grad)` over the whole model, a few samples at once: mean, diffs, and the coherence of the whole."""
    parameters = {name: p.detach() for name, p in model.named_parameters()}

    def one(parameters, x, y):
        return F.cross_entropy(functional_call(model, parameters, x[None]), y[None])

    each = vmap(grad(one), (None, 0, 0))
    rows = (each(parameters, *pair) for pair in zip(test.images.split(chunk), test.labels.split(chunk), strict=True))
    return _summed(rows, len(test.labels))


def by_opacus(model, test, chunk=8):
    """Opacus' per-sample gradients, summed up the same way; None where the package is not installed."""
    try:
        from opacus.grad_sample import GradSampleModule
    except ImportError:
        return None
    wrapped = GradSampleModule(model, loss_reduction="sum").train()  # it sees nothing in evaluation mode; no net here differs

    def rows():
        for x, y in zip(test.images.split(chunk), test.labels.split(chunk), strict=True):
            wrapped.zero_grad()
            F.cross_entropy(wrapped(x), y, reduction="sum").backward()
            yield {name: p.grad_sample for name, p in model.named_parameters()}

    found = _summed(rows(), len(test.labels))
    wrapped.to_standard_module().eval()
    return found


def _summed(chunks, n):
    mean, signs, squares = {}, {}, 0.0
    for rows in chunks:
        for name, g in rows.items():
            mean[name] = mean.get(name, 0) + g.sum(0) / n
            signs[name] = signs.get(name, 0) + g.sign().sum(0) / n
            squares += float(g.square().sum()) / n
    return SimpleNamespace(mean=mean, diffs=signs, coherence=lambda: float(sum(m.square().sum() for m in mean.values())) / squares)


def seconds(call, *args):
    """Seconds that a call takes, and what it returns."""
    start = time.perf_counter()
    found = call(*args)
    return time.perf_counter() - start, found


def against(base, model, test, few, scale):
    """Ratios of another way's time on a few images, scaled to all, over ours on all: of each pair; None if it is not there."""
    if base(model, few) is None:
        return None
    return [seconds(base, model, few)[0] * scale / seconds(ours, model, test)[0] for _ in range(PAIRS)]


def report(what, ratios, bound):
    """One line: what, least and median ratio, what is wanted."""
    if ratios is None:
        print(f"  {what}: not installed", flush=True)
    else:
        print(f"  {what}: min {min(ratios):.2f}, median {statistics.median(ratios):.2f}   ({bound})", flush=True)


def check(model, test):
    """Ours is the batch's gradient, and so are the diffs and coherence of `vmap(grad)`."""
    found, slow, batch = ours(model, test), by_vmap(model, test), plain(model, test)
    for name, g in batch.items():
        torch.testing.assert_close(found.mean[name], g, rtol=1e-3, atol=1e-4 * float(g.abs().max()) + 1e-7)
        assert (found.diffs[name] - slow.diffs[name]).abs().gt(1e-3).double().mean() < 0.02, name
    assert abs(found.coherence() / slow.coherence() - 1) < 1e-3


def measure(name):
    """All ratios of one net."""
    build, n, few, most, faster = NETS[name]
    torch.manual_seed(0)
    model, test = build().eval(), split(n)
    print(f"{name}: {n} images, {sum(p.numel() for p in model.parameters()):,} parameters, {torch.get_num_threads()} threads", flush=True)
    check(model, split(3))
    for want in ({"diffs", "coherence"}, {"diffs"}, {"coherence"}):
        ratios = [seconds(ours, model, test, want)[0] / seconds(plain, model, test)[0] for _ in range(PAIRS + 1)][1:]
        report(f"{' and '.join(sorted(want))}, plain passes", ratios, f"at most {most} is wanted" if len(want) == 2 else "for comparison")
    half = SimpleNamespace(images=test.images[: n // 2], labels=test.labels[: n // 2])
    ratios = [seconds(ours, model, test)[0] / seconds(ours, model, half)[0] for _ in range(PAIRS)]
    report("all images over half of them", ratios, "about 2: linear in samples")
    if few is not None:
        bound = f"at least {faster} is wanted" if faster else "for comparison"
        report("vmap(grad) over ours", against(by_vmap, model, test, split(few), n / few), bound)
        report("Opacus over ours", against(by_opacus, model, test, split(few), n / few), "for comparison")


if __name__ == "__main__":
    for chosen in sys.argv[1:] or NETS:
        measure(chosen)
