"""A sweep of nets under masks on two workers, against the plain loop that a user would write, with a DataLoader and
masks by hand.

Run `python benchmarks/bench_sweep.py` on two quiet cores; `--help` has other sizes. Both train twelve parents of rising
width once each, look at the same epochs of them for diffs, and train each parent's four children (10 % of the weights:
largest, smallest, of highest diff, random) from fresh weights, with the same recipe and the same evaluation after every
epoch. Pairs alternate, and the ratio of each pair counts. The loop has all images as tensors, our own
`gradients.statistics` for the diffs, as nobody has another, and the number of threads at which it is faster. Ours
writes and reads its records; that workers start and import torch is said beside, and not counted.
"""

import argparse
import contextlib
import copy
import io
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

sys.path.insert(0, str(Path(__file__).parents[1]))

from pruning_lab import (
    MaskedTraining,
    Recipe,
    Train,
    environment,
    gather,
    gradients,
    pool,
    replace,
    snapshot_epochs,
    sweep,
)

DENSITY, SAMPLE, WORKERS = 0.1, 256, 2
KINDS = {
    "magnitude": dict(),
    "diff": dict(criterion="diff"),
    "random": dict(criterion="random"),
    "worst": dict(invert=True),
}
CASES = {  # data set, narrowest and widest net, epochs, what is wanted
    "digits, 64 inputs": ("digits", 16, 128, 20, 2.0),
    "2,000 images of CIFAR-10, 3,072 inputs": ("few", 16, 64, 6, 1.3),
}


def write_few(root):
    """The first 2,000 training and 400 test images of CIFAR-10 as a set of their own; random pixels where it is not on
    this machine.
    """
    (root / "few").mkdir()
    for split, n in (("train", 2000), ("test", 400)):
        file, generator = environment.data_root() / "cifar10" / f"{split}.npz", np.random.default_rng(n)
        if file.is_file():
            with np.load(file) as stored:
                images, labels = stored["images"][:n], stored["labels"][:n]
        else:
            images, labels = generator.integers(256, size=(n, 32, 32, 3), dtype=np.uint8), np.arange(n) % 10
        np.savez(root / "few" / f"{split}.npz", images=images, labels=labels, classes=np.arange(10).astype(str))


# The plain loop


def loaders(net):
    """Batches of training images, shuffled, and of test images."""
    train, test = (TensorDataset(s.images, s.labels) for s in (net.split("train"), net.split("test")))
    return DataLoader(train, net.recipe.batch, shuffle=True), DataLoader(test, 1000)


def fit(model, net, masks=None, each_epoch=None):
    """Train; the accuracy after the last epoch, and how many steps were taken."""
    train, test = loaders(net)
    optimizer = torch.optim.Adam(model.parameters(), net.recipe.lr)
    masks, steps = masks or {}, 0
    parameters = dict(model.named_parameters())
    apply(masks, parameters)
    for epoch in range(1, net.recipe.epochs + 1):
        model.train()
        total_loss, right = 0.0, 0
        for images, labels in train:
            optimizer.zero_grad()
            logits = model(images)
            loss = F.cross_entropy(logits, labels)
            loss.backward()
            optimizer.step()
            apply(masks, parameters)
            total_loss += loss.item() * len(labels)
            right += (logits.argmax(1) == labels).sum().item()
            steps += 1
        accuracy = evaluate(model, test)[1]
        if each_epoch:
            each_epoch(epoch, model)
    return accuracy, steps


def apply(masks, parameters):
    with torch.no_grad():
        for name, mask in masks.items():
            parameters[name].mul_(mask)


def evaluate(model, test):
    """Mean loss and accuracy."""
    model.eval()
    loss, right, seen = 0.0, 0, 0
    with torch.no_grad():
        for images, labels in test:
            logits = model(images)
            loss += F.cross_entropy(logits, labels, reduction="sum").item()
            right += (logits.argmax(1) == labels).sum().item()
            seen += len(labels)
    return loss / seen, right / seen


def largest(scores):
    """Masks, as numbers 0 and 1, of the tenth of all weights that score highest."""
    flat = torch.cat([s.flatten() for s in scores.values()])
    mask = torch.zeros_like(flat)
    mask[flat.topk(int(DENSITY * len(flat) + 0.5)).indices] = 1.0
    parts = mask.split([s.numel() for s in scores.values()])
    return {name: part.view_as(s) for (name, s), part in zip(scores.items(), parts, strict=True)}


def family(net):
    """A parent and its four children: accuracies of the children, and the steps of all."""
    best, seen, parent = {}, net.split("train", SAMPLE), net.untrained()

    def look(epoch, model):
        if epoch in snapshot_epochs(net.recipe.epochs):
            found = gradients.statistics(model, seen, want={"coherence", "diffs"})
            if not best or found.coherence() > best["coherence"]:
                best.update(coherence=found.coherence(), diffs=copy.deepcopy(found.diffs))

    steps = fit(parent, net, each_epoch=look)[1]
    weights = {name: p.detach() for name, p in parent.named_parameters() if p.ndim == 2}
    scores = dict(
        magnitude={n: w.abs() for n, w in weights.items()},
        diff={n: best["diffs"][n].abs() for n in weights},
        random={n: torch.rand_like(w) for n, w in weights.items()},
        worst={n: -w.abs() for n, w in weights.items()},
    )
    children = [
        fit(replace(net, seed=net.seed + 1000 + k).untrained(), net, largest(scores[kind]))
        for k, kind in enumerate(KINDS)
    ]
    return [accuracy for accuracy, _ in children], steps + sum(s for _, s in children)


def by_hand(nets, threads):
    """Seconds, the children's mean accuracy, and steps."""
    torch.set_num_threads(threads)
    start = time.perf_counter()
    found = [family(net) for net in nets]
    seconds = time.perf_counter() - start
    return seconds, statistics.mean(a for accuracies, _ in found for a in accuracies), sum(steps for _, steps in found)


# Ours


def children(nets):
    return [MaskedTraining(net, density=DENSITY, sample=SAMPLE, **how) for net in nets for how in KINDS.values()]


def ours(nets, workers):
    """Seconds, the children's mean accuracy, and steps."""
    plan, start = children(nets), time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()):
        sweep(plan, workers)
    seconds = time.perf_counter() - start
    last = gather(plan).groupby(["width", "criterion", "invert"]).last()
    return seconds, last.test_accuracy.mean(), int(last.iteration.sum() + last.iteration.groupby("width").first().sum())


# Both


def compare(nets, threads, workers, turn):
    """Seconds of the loop and of ours, in an order that alternates; AssertionError: other numbers of steps."""
    ways = [lambda: by_hand(nets, threads), lambda: ours(nets, workers)]
    found = [way() for way in (ways if turn % 2 else ways[::-1])]
    (slow, theirs, some), (fast, mine, others) = found if turn % 2 else found[::-1]
    assert some == others, f"{some} and {others} steps"
    learnt = f"children's mean accuracy {100 * theirs:.1f} and {100 * mine:.1f} %"
    print(f"  loop {slow:6.1f} s, ours {fast:6.1f} s; {some:,} steps each, {learnt}", flush=True)
    return slow, fast


def threads_of_the_loop(net):
    """The number of threads, of one and of as many as workers, at which the plain loop trains a net faster."""
    seconds = {}
    for threads in (1, WORKERS, 1, WORKERS):
        torch.set_num_threads(threads)
        start = time.perf_counter()
        fit(net.untrained(), net)
        seconds[threads] = min(time.perf_counter() - start, seconds.get(threads, float("inf")))
    return min(seconds, key=seconds.get)


def case(name, how):
    """Print the ratios of one data set."""
    dataset, narrow, wide, epochs, wanted = CASES[name]
    recipe = Recipe("adam", lr=1e-3, batch=128, epochs=how.epochs or epochs)
    widths = np.unique(np.geomspace(narrow, wide, how.widths).round().astype(int)).tolist()
    nets = [Train(dataset, "mlp", recipe, seed=1, width=w, scale="standardised") for w in widths]
    short = [replace(net, recipe=replace(recipe, epochs=1), seed=9) for net in nets[-2:]]
    threads, start = threads_of_the_loop(nets[len(nets) // 2]), time.perf_counter()
    with pool(WORKERS) as workers:
        ours(short, workers)
        begun = time.perf_counter() - start
        by_hand(short, threads)
        pairs = [
            compare([replace(net, seed=k) for net in nets], threads, workers, k) for k in range(1, how.repeats + 1)
        ]
    ratios = sorted(a / b for a, b in pairs)
    size = f"widths {widths[0]} to {widths[-1]}, {(1 + len(KINDS)) * len(nets)} trainings of {recipe.epochs} epochs"
    print(f"{name}: {size}, the loop on {threads} thread(s)")
    numbers = (
        f"min {ratios[0]:.2f}, median {statistics.median(ratios):.2f} of {len(ratios)} pairs "
        f"(at least {wanted:g} is wanted)"
    )
    print(f"  ratio: {numbers}; {WORKERS} workers were ready after {begun:.1f} s, not counted", flush=True)


def main() -> None:
    """Print the ratios of both data sets, with records in a folder that is gone afterwards."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--widths", type=int, default=12, help="how many parents")
    parser.add_argument("--epochs", type=int, help="of every training, in place of the case's own")
    how, start = parser.parse_args(), time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        write_few(Path(folder))
        places = dict(STORE=f"{folder}/store", RESULTS=f"{folder}/results", DATA=folder, DEVICE="cpu")
        os.environ.update({f"PRUNING_LAB_{name}": value for name, value in places.items()} | dict(TQDM_DISABLE="1"))
        for name in CASES:
            case(name, how)
    print(f"{time.perf_counter() - start:.0f} s in all, on {os.cpu_count()} cores")


if __name__ == "__main__":
    main()
