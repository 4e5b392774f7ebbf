"""Curves against zeroing units and running the whole net at every step, and the time of a greedy order.

Run `python benchmarks/bench_units.py`. Speed does not depend on what a net has learnt: nets are untrained, and images
are seeded noise in the shapes of MNIST and CIFAR-10.
"""

import statistics
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import torch
import torch.nn.functional as F
from torch import nn

sys.path.insert(0, str(Path(__file__).parents[1]))

from pruning_lab import units
from pruning_lab.nets import models

REPEATS = 5


def split(n, shape, seed=0):
    """Seeded noise images and labels in the form of a `Split`."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(n, *shape, generator=generator)
    return SimpleNamespace(images=images, labels=torch.randint(10, (n,), generator=generator))


@torch.no_grad()
def naive_steps(model, layer, order, test, steps):
    """Zero one unit after the other and run the whole net each time: losses after `steps` removals, evenly spread."""
    wanted = torch.linspace(0, len(order), steps).round().int().tolist()
    losses, gone = [], 0
    for step in wanted:
        model = units.zeroed(model, layer, order[gone:step])
        gone = step
        losses.append(
            float(
                sum(
                    F.cross_entropy(model(x), y, reduction="sum")
                    for x, y in zip(test.images.split(500), test.labels.split(500), strict=True)
                )
            )
            / len(test.labels)
        )
    return wanted, losses


def curve(name, shape, n, steps):
    """Ratios naive time over ours, interleaved; the naive time is that of `steps` steps, scaled to all of them."""
    model, test = models.build(name, shape), split(n, shape)
    order = units.order(model, "fc1", "frame_potential")
    ratios = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        wanted, losses = naive_steps(model, "fc1", order, test, steps)
        middle = time.perf_counter()
        fast = units.pruning_curve(model, "fc1", order, test)
        ours = time.perf_counter() - middle
        torch.testing.assert_close(fast.loss[wanted].float(), torch.tensor(losses), rtol=1e-5, atol=1e-5)
        ratios.append((middle - start) * (len(order) + 1) / steps / ours)
    return ratios


def greedy(n=4096, inputs=512):
    """Seconds for the greedy order of `n` units."""
    model = nn.Sequential(nn.Linear(inputs, n), nn.ReLU(), nn.Linear(n, 10))
    seconds = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        units.order(model, "0", "frame_potential")
        seconds.append(time.perf_counter() - start)
    return seconds


def rows():
    """One row a measurement: what, all values, their kind, the bound."""
    yield "LeNet fc1 curve, 10,000 images", curve("lenet_300_100", (1, 28, 28), 10_000, 32), "times naive", ">= 10"
    yield "Conv-2 fc1 curve, 2,000 images", curve("conv_2", (3, 32, 32), 2_000, 16), "times naive", ">= 100"
    yield "greedy order of 4,096 units", greedy(), "s", "< 2"


if __name__ == "__main__":
    for what, values, kind, bound in rows():
        print(
            f"{what}: min {min(values):.3g}, median {statistics.median(values):.3g}, max {max(values):.3g} {kind} "
            f"({len(values)} runs; expected {bound})",
            flush=True,
        )
