"""Coherence and diffs against one plain forward and backward pass over the same images, `vmap(grad)`, and Opacus where
it is installed.

Run `python benchmarks/bench_gradients.py`; names of nets after it choose some of them. Pairs alternate, and the ratio
of each pair counts. Nets are untrained and images are seeded noise: speed hardly depends on either. All give the same
answer, which is checked. On a GPU (`PRUNING_LAB_DEVICE`) the deep nets see as many images as CIFAR-10 has.
"""

import copy
import statistics
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import torch
import torch.nn.functional as F
from torch.func import functional_call, grad, vmap

sys.path.insert(0, str(Path(__file__).parents[1]))

from pruning_lab import environment, gradients
from pruning_lab.nets import models
from pruning_lab.records import provenance

PAIRS = 5
BATCH = 128  # of the plain pass


NETS = {  # images, images for vmap(grad), at most so many plain passes, at least so many times faster than vmap(grad)
    "mlp": (2_000, 20, 2, 30),
    "conv_2": (256, 16, 2, 5),
    "vit": (64, 8, 3.5, None),
    "resnet50_cifar": (32, None, 3.5, None),
    "resnet50": (128, None, 3.5, None),
}
ON_GPU = {"mlp": (50_000, 200, 2, 30), "conv_2": (50_000, 64, 2, 5), "vit": (50_000, 16, 5, None),
          "resnet50": (50_000, None, 5, None), "resnet50_cifar": (5_000, None, 5, None)}  # fmt: skip
DEVICE = environment.device()


def split(n):
    """Noise images and labels in the form of a `Split`."""
    generator = torch.Generator().manual_seed(0)
    images, labels = torch.randn(n, 3, 32, 32, generator=generator), torch.randint(10, (n,), generator=generator)
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
    """Opacus' per-sample gradients, summed up the same way; None where the package is not installed."""
    try:
        from opacus.grad_sample import GradSampleModule
    except ImportError:
        return None
    # it sees nothing in evaluation mode; no net here differs
    wrapped = GradSampleModule(model, loss_reduction="sum").train()

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
        print(f"  {what}: not installed", flush=True)
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


def measure(name):
    """All ratios of one net."""
    n, few, most, faster = (ON_GPU if DEVICE.type == "cuda" else NETS)[name]
    torch.manual_seed(0)
    model, test = models.build(name, (3, 32, 32)).to(DEVICE).eval(), split(n)
    print(
        f"{name}: {n} images, {sum(p.numel() for p in model.parameters()):,} parameters, "
        f"{torch.get_num_threads()} threads",
        flush=True,
    )
    check(model, split(3))
    for want in ({"diffs", "coherence"}, {"diffs"}, {"coherence"}):
        ratios = [seconds(ours, model, test, want)[0] / seconds(plain, model, test)[0] for _ in range(PAIRS + 1)][1:]
        report(
            f"{' and '.join(sorted(want))}, plain passes",
            ratios,
            f"at most {most} is wanted" if len(want) == 2 else "for comparison",
        )
    half = SimpleNamespace(images=test.images[: n // 2], labels=test.labels[: n // 2])
    ratios = [seconds(ours, model, test)[0] / seconds(ours, model, half)[0] for _ in range(PAIRS)]
    report("all images over half of them", ratios, "about 2: linear in samples")
    if few is not None:
        bound = f"at least {faster} is wanted" if faster else "for comparison"
        report("vmap(grad) over ours", against(by_vmap, model, test, split(few), n / few), bound)
        report("Opacus over ours", against(by_opacus, model, test, split(few), n / few), "for comparison")


if __name__ == "__main__":
    print("on", provenance.device()["name"], flush=True)
    for chosen in sys.argv[1:] or NETS:
        measure(chosen)
