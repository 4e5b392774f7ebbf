"""Training LeNet-300-100: `train.fit` against the loop most people write, a torchvision data set behind a DataLoader.

Both train the same net on the same images with the same optimiser settings; pairs alternate, and the ratio of each pair
counts.
"""

import statistics
import tempfile
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader

from pruning_lab import data, environment
from pruning_lab.nets import models
from pruning_lab.training.fit import fit
from pruning_lab.training.recipe import Recipe

STEPS, PAIRS = 300, 5
RECIPE = Recipe("sgd", lr=3e-3, momentum=0.9, batch=64, iterations=STEPS)


def pictures():
    """MNIST as torchvision gives it where PRUNING_LAB_DATA has its files, else as many random pictures from
    torchvision.
    """
    environment.import_torchvision()
    from torchvision import datasets, transforms

    root = environment.data_root()
    if (root / "MNIST" / "raw" / "train-images-idx3-ubyte.gz").exists():
        scratch = Path(tempfile.mkdtemp())
        (scratch / "MNIST" / "raw").mkdir(parents=True)
        for file in (root / "MNIST" / "raw").glob("*.gz"):
            (scratch / "MNIST" / "raw" / file.name).symlink_to(file)
        return datasets.MNIST(scratch, train=True, download=True, transform=transforms.ToTensor()), "MNIST"
    return datasets.FakeData(60_000, (1, 28, 28), 10, transforms.ToTensor()), "random pictures"


def loop(images) -> float:
    """Seconds for STEPS steps of the usual loop."""
    model = models.build("lenet_300_100", (1, 28, 28))
    optimizer = torch.optim.SGD(model.parameters(), RECIPE.lr, RECIPE.momentum)
    start, steps = time.perf_counter(), 0
    for x, y in DataLoader(images, RECIPE.batch, shuffle=True, num_workers=0):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
        if (steps := steps + 1) == STEPS:
            break
    return time.perf_counter() - start


def ours(train, test) -> float:
    """Seconds for STEPS steps of `fit`, its evaluation on 100 test images included."""
    model = models.build("lenet_300_100", (1, 28, 28))
    start = time.perf_counter()
    fit(model, train, test, RECIPE)
    return time.perf_counter() - start


def main() -> None:
    """Print the ratios, least and median, and the device."""
    images, name = pictures()
    generator = torch.Generator().manual_seed(0)
    train = data.Split(
        torch.rand(60_000, 1, 28, 28, generator=generator),
        torch.randint(10, (60_000,), generator=generator),
        tuple("0123456789"),
        "r",
        "",
    )
    test = data.Split(train.images[:100], train.labels[:100], train.classes, "r", "")
    loop(images), ours(train, test)
    pairs = [(loop(images), ours(train, test)) for _ in range(PAIRS)]
    ratios = sorted(a / b for a, b in pairs)
    print(f"LeNet, {STEPS} steps of 64, {torch.get_num_threads()} threads; DataLoader over {name}, num_workers=0")
    print(f"  DataLoader loop {min(a for a, _ in pairs):6.2f} s   fit {min(b for _, b in pairs):6.2f} s")
    print(f"  ratio: min {ratios[0]:.1f}, median {statistics.median(ratios):.1f}   (at least 2 is wanted)")


if __name__ == "__main__":
    main()
