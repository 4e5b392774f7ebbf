"""Coherence and diffs against one plain forward and backward pass over the same images, `vmap(grad)`, Opacus and
BackPACK where they are installed; vit_tiny, swin_tiny and convnext_atto where timm is.

Run `python benchmarks/bench_gradients.py`; names of nets after it choose some of them. Pairs alternate, and the ratio
of each pair counts, least and median: other work on the machine only adds to a time. Nets are untrained and images are
seeded noise: speed hardly depends on either. All give the same answer, which is checked. On a GPU
(`PRUNING_LAB_DEVICE`) the deep nets see as many images as CIFAR-10 has. What a first call takes longer is the plan,
which is kept.
"""

import copy
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

from pruning_lab import environment, gradients
from pruning_lab.nets import models
from pruning_lab.records import provenance

PAIRS = 5
BATCH = 128  # of the plain pass


def encoder(shape):
    """PyTorch's own transformer over patches of 4 x 4 pixels."""

    class Encoder(nn.Module):
        def __init__(self):
            super().__init__()
            layer = nn.TransformerEncoderLayer(128, 4, 256, dropout=0, batch_first=True)
            self.patches, self.out = nn.Conv2d(shape[0], 128, 4, 4), nn.Linear(128, 10)
            self.encoder = nn.TransformerEncoder(layer, 4, enable_nested_tensor=False)

        def forward(self, x):
            return self.out(self.encoder(self.patches(x).flatten(2).mT).mean(1))

    return Encoder()


def of_timm(name, **kinds):
    """A function that builds a net of timm; None where the package is not installed."""

    def build(shape):
        try:
            environment.import_torchvision()
            import timm
        except ImportError:
            return None
        return timm.create_model(name, num_classes=10, **kinds)

    return build


OTHERS = {  # nets that are not the library's own, and the side of their images
    "resnet18": (lambda shape: environment.import_torchvision().models.resnet18(num_classes=10), 32),
    "encoder": (encoder, 32),
    "vit_tiny": (of_timm("vit_tiny_patch16_224", img_size=112), 112),
    "swin_tiny": (of_timm("swin_tiny_patch4_window7_224", img_size=112), 112),
    "convnext_atto": (of_timm("convnext_atto"), 96),
}
NETS = {  # images, images for vmap(grad), at most so many plain passes, at least so many times faster than vmap(grad)
    "mlp": (2_000, 20, 2, 30),
    "conv_2": (256, 16, 2, 5),
    "vit": (64, 8, 1.6, 1),
    "resnet50_cifar": (32, 4, 2.5, 1),
    "resnet50": (128, 4, 2.5, 1),
    "resnet18": (64, 8, 2, 1),
    "encoder": (32, 32, 2.5, 1),
    "vit_tiny": (32, 32, 2, 1),
    "swin_tiny": (32, 32, 2.5, 1),
    "convnext_atto": (32, 32, 3, 1),
}
ON_GPU = {"mlp": (50_000, 200, 2, 30), "conv_2": (50_000, 64, 2, 5), "vit": (50_000, 16, 5, None),
          "resnet50": (50_000, None, 5, None), "resnet50_cifar": (5_000, None, 5, None)}  # fmt: skip
DEVICE = environment.device()


def split(n, side=32):
    """Noise images and labels in the form of a `Split`."""
    generator = torch.Generator().manual_seed(0)
    images, labels = torch.randn(n, 3, side, side, generator=generator), torch.randint(10, (n,), generator=generator)
    return SimpleNamespace(images=images.to(DEVICE), labels=labels.to(DEVICE))


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
    """Opacus' per-sample gradients, summed up the same way; None where it is not installed or does not take the net's
    modules.
    """
    try:
        from opacus.grad_sample import GradSampleModule
    except ImportError:
        return None
    try:  # it sees nothing in evaluation mode; no net here differs
        wrapped = GradSampleModule(copy.deepcopy(model), loss_reduction="sum").train()
    except NotImplementedError:
        return None

    def rows():
        for x, y in zip(test.images.split(chunk), test.labels.split(chunk), strict=True):
            wrapped.zero_grad()
            F.cross_entropy(wrapped(x), y, reduction="sum").backward()
            yield {name.removeprefix("_module."): p.grad_sample for name, p in wrapped.named_parameters()}

    try:
        return _summed(rows(), len(test.labels))
    except (AttributeError, TypeError):  # attention called by keywords, layer scales
        return None


def by_backpack(model, test, chunk=8):
    """BackPACK's, likewise; None where it is not installed or does not know the net's modules."""
    try:
        from backpack import backpack, extend
        from backpack.extensions import BatchGrad
    except ImportError:
        return None
    extended, loss = extend(copy.deepcopy(model), use_converter=False), extend(nn.CrossEntropyLoss(reduction="sum"))

    def rows():
        for x, y in zip(test.images.split(chunk), test.labels.split(chunk), strict=True):
            with backpack(BatchGrad()):
                loss(extended(x), y).backward()
            yield {name: p.grad_batch for name, p in extended.named_parameters()}

    try:
        return _summed(rows(), len(test.labels))
    except (AttributeError, NotImplementedError, RuntimeError):  # modules in place, under its hooks
        return None


def _summed(chunks, n):
    mean, signs, squares = {}, {}, 0.0
    for rows in chunks:
        for name, g in rows.items():
            mean[name] = mean.get(name, 0) + g.sum(0) / n
            signs[name] = signs.get(name, 0) + g.sign().sum(0) / n
            squares += float(g.square().sum()) / n
    return SimpleNamespace(
        mean=mean, diffs=signs, coherence=lambda: float(sum(m.square().sum() for m in mean.values())) / squares
    )


def seconds(call, *args):
    """Seconds that a call takes until the device has done all of it, and what it returns."""
    wait()
    start = time.perf_counter()
    found = call(*args)
    wait()
    return time.perf_counter() - start, found


def wait():
    """Until the device has nothing left to do."""
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()


def against(base, model, test, few, scale):
    """Ratios of another way's time on a few images, scaled to all, over ours on all: of each pair; None if it is not
    there.
    """
    if base(model, few) is None:
        return None
    return [seconds(base, model, few)[0] * scale / seconds(ours, model, test)[0] for _ in range(PAIRS)]


def report(what, ratios, bound):
    """One line: what, least and median ratio, what is wanted."""
    if ratios is None:
        print(f"  {what}: not installed, or does not take this net", flush=True)
    else:
        print(f"  {what}: min {min(ratios):.2f}, median {statistics.median(ratios):.2f}   ({bound})", flush=True)


def check(model, test):
    """In float64, ours is the batch's gradient, and so are the diffs and coherence of `vmap(grad)`.

    In float32 a deep net has a ReLU or two that rounding switches, and with it all gradients behind.
    """
    model, test.images = copy.deepcopy(model).double(), test.images.double()
    found, slow, batch = ours(model, test), by_vmap(model, test), plain(model, test)
    for name, g in batch.items():
        torch.testing.assert_close(found.mean[name], g, rtol=0, atol=1e-9 * float(g.abs().max()) + 1e-13)
        # a bias of attention's keys has the gradient zero but for rounding
        sure = g.abs() > 1e-9 * g.abs().max() + 1e-13
        torch.testing.assert_close(found.diffs[name][sure], slow.diffs[name][sure], rtol=0, atol=1e-6)
    assert abs(found.coherence() / slow.coherence() - 1) < 1e-9


def built(name):
    """A net and the side of its images; None where its package is not installed."""
    torch.manual_seed(0)
    if name not in OTHERS:
        return models.build(name, (3, 32, 32)), 32
    build, side = OTHERS[name]
    return build((3, side, side)), side


def measure(name):
    """All ratios of one net."""
    n, few, most, faster = (ON_GPU if DEVICE.type == "cuda" else NETS)[name]
    model, side = built(name)
    if model is None:
        print(f"{name}: not installed", flush=True)
        return
    model, test = model.to(DEVICE).eval(), split(n, side)
    print(
        f"{name}: {n} images, {sum(p.numel() for p in model.parameters()):,} parameters, "
        f"{torch.get_num_threads()} threads",
        flush=True,
    )
    check(model, split(3, side))
    first, again = (seconds(ours, model, test)[0] for _ in range(2))
    print(f"  the first call takes {first - again:.2f} s more than the next, {again:.2f} s", flush=True)
    for want in ({"diffs", "coherence"}, {"diffs"}, {"coherence"}):
        ratios = [seconds(ours, model, test, want)[0] / seconds(plain, model, test)[0] for _ in range(PAIRS + 1)][1:]
        report(
            f"{' and '.join(sorted(want))}, plain passes",
            ratios,
            f"at most {most} is wanted" if len(want) == 2 else "for comparison",
        )
    marginal(model, test)
    if few is not None:
        bound = f"at least {faster} is wanted" if faster else "for comparison"
        some = split(few, side)
        report("vmap(grad) over ours", against(by_vmap, model, test, some, n / few), bound)
        report("Opacus over ours", against(by_opacus, model, test, some, n / few), "for comparison")
        report("BackPACK over ours", against(by_backpack, model, test, some, n / few), "for comparison")


def marginal(model, test):
    """What each further image costs, in plain passes, and what is fixed: best of several runs on all and on half."""
    n = len(test.labels)
    half = SimpleNamespace(images=test.images[: n // 2], labels=test.labels[: n // 2])
    times = {(way, part): min(seconds(way, model, part_of)[0] for _ in range(PAIRS))
             for way in (ours, plain) for part, part_of in (("all", test), ("half", half))}  # fmt: skip
    more = {way: times[way, "all"] - times[way, "half"] for way in (ours, plain)}
    fixed = times[ours, "half"] - more[ours] * (n // 2) / (n - n // 2)
    print(f"  an image more costs {more[ours] / more[plain]:.2f} plain passes; {fixed:.3f} s are fixed", flush=True)


if __name__ == "__main__":
    print("on", provenance.device()["name"], flush=True)
    for chosen in sys.argv[1:] or NETS:
        measure(chosen)
