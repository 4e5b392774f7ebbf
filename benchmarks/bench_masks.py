"""Masks over 25 million weights: time and memory beside one stable sort and PyTorch's own global magnitude pruning.

Run `python benchmarks/bench_masks.py`. Weights are seeded noise in the shapes of the source's fully-connected net at
width 2,418 and of ResNet50. The sort gives the same masks, and PyTorch keeps the same magnitudes: both are checked.
Memory is measured in processes of its own.
"""

import copy
import functools
import resource
import statistics
import subprocess
import sys
import time
import warnings
from pathlib import Path

import torch
from torch import nn
from torch.nn.utils import prune

sys.path.insert(0, str(Path(__file__).parents[1]))

from pruning_lab import masks
from pruning_lab.nets import models

REPEATS = 3
GRID = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5]
NETS = {"mlp": 2418, "resnet50": None}


def seconds(work):
    """What `work` returns, how long it took, and how much of that on a processor: where others compute, the two
    differ.
    """
    start, used = time.perf_counter(), time.process_time()
    answer = work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return answer, time.perf_counter() - start, time.process_time() - used


def theirs(model, names):
    """Global magnitude pruning of `torch.nn.utils.prune`, the same weights kept."""
    layers = [(model.get_submodule(name.rpartition(".")[0]), "weight") for name in names]
    total = sum(layer.weight.numel() for layer, _ in layers)
    prune.global_unstructured(layers, prune.L1Unstructured, amount=total - int(0.1 * total + 0.5))
    return masks.from_torch(model)


def by_sort(scores, density):
    """What a k-th value replaces: all scores in one row, sorted, the first so many by place."""
    sizes, row = [s.numel() for s in scores.values()], torch.cat([s.flatten() for s in scores.values()])
    whole = torch.zeros(len(row), dtype=torch.bool, device=row.device)
    whole[row.sort(descending=True, stable=True).indices[: int(density * len(row) + 0.5)]] = True
    return {name: part.view(s.shape) for (name, s), part in zip(scores.items(), whole.split(sizes), strict=True)}


def against_a_sort(model):
    """Seconds of a sort and of `masks.build` over the same scores, in turns; their masks are equal."""
    scores, pairs = masks.scores(model, "magnitude"), []
    for _ in range(REPEATS):
        other, long, _ = seconds(lambda: by_sort(scores, 0.1))
        ours, short, _ = seconds(lambda: masks.build(scores, 0.1))
        assert all(torch.equal(other[name], mask) for name, mask in ours.items()), "the two give other masks"
        pairs.append((long, short))
    return pairs


MEMORY = {  # what makes masks of `scores`
    "masks.build": "masks.build(scores, 0.1)",
    "with a floor": "masks.build(scores, 0.1, floor=0.02)",
    "one sort": "bench_masks.by_sort(scores, 0.1)",
    "torch.nn.utils.prune": "bench_masks.theirs(model, list(scores))",
}


def memory(call):
    """GiB by which a process grows while it makes masks of the fully-connected net's scores."""
    peak = "resource.getrusage(resource.RUSAGE_SELF).ru_maxrss"
    code = (
        f"import resource, sys; sys.path[:0] = [{str(Path(__file__).parent)!r}]; import bench_masks; "
        "from bench_masks import masks, models; "
        f"model = models.build('mlp', (3, 32, 32), width={NETS['mlp']}); scores = masks.scores(model, 'magnitude'); "
        f"before = {peak}; {call}; print(({peak} - before) / 2**20)"
    )
    return float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)


def ways(model):
    """Name -> what is timed, from a model to masks."""
    yield "magnitude, global", lambda: masks.build(masks.scores(model, "magnitude"), 0.1)
    yield "magnitude, global, floor 2 %", lambda: masks.build(masks.scores(model, "magnitude"), 0.1, floor=0.02)
    yield "magnitude, local", lambda: masks.build(masks.scores(model, "magnitude"), 0.1, "local")
    yield (
        "shuffled within layers",
        lambda: masks.build(masks.scores(model, "magnitude"), 0.1, floor=0.02, shuffle="layer"),
    )
    yield "random, ERK budget", lambda: masks.random(model, 0.1, "erk")
    grid = functools.partial(masks.grid, densities=GRID)  # without a floor: the lowest density has no room for one
    yield f"a grid of {len(GRID)} densities", lambda: grid(masks.scores(model, "magnitude"))


def against_torch(model):
    """Seconds of processor of PyTorch's own pruning and of ours over the same weights, in turns."""
    pairs, names = [], masks.maskable(model)
    for _ in range(REPEATS):
        other, _, long = seconds(functools.partial(theirs, copy.deepcopy(model), names))
        ours, _, short = seconds(lambda: masks.build(masks.scores(model, "magnitude"), 0.1))
        kept = [
            torch.cat([model.get_parameter(n)[m].abs() for n, m in found.items()]).sort().values
            for found in (other, ours)
        ]
        assert torch.equal(*kept), "the two keep other weights"  # of equal ones, theirs keeps any
        pairs.append((long, short))
    return pairs


def main() -> None:
    """One line a way, and the ratio to PyTorch's own."""
    warnings.simplefilter("ignore", masks.EmptyLayer)  # untrained weights: some layers' are smaller than others'
    device = "cuda" if torch.cuda.is_available() else "cpu"
    print(f"{device}, {torch.get_num_threads()} threads; expected: under 5 s on two CPU cores, under 0.5 s on a GPU")
    for name, width in NETS.items():
        model: nn.Module = models.build(name, (3, 32, 32), width=width).to(device)
        total = sum(model.get_parameter(n).numel() for n in masks.maskable(model))
        print(f"{name}, {total:,} maskable weights")
        for what, work in ways(model):
            times, used = zip(*(seconds(work)[1:] for _ in range(REPEATS)), strict=True)
            numbers = (
                f"median {statistics.median(times):6.2f} s, max {max(times):6.2f} s; "
                f"processor {statistics.median(used):6.2f} s"
            )
            print(f"  {what:32s} {numbers} ({REPEATS} runs)", flush=True)
        pairs = against_a_sort(model)
        ratios = sorted(long / short for long, short in pairs)
        print(
            f"  build alone: {min(short for _, short in pairs):.2f} s (expected at most 1.5 s), one stable sort "
            f"{min(long for long, _ in pairs):.2f} s, ratio min {ratios[0]:.2f}, median "
            f"{statistics.median(ratios):.2f}; the same masks",
            flush=True,
        )
        pairs = against_torch(model)
        ratios = sorted(long / short for long, short in pairs)
        least = [min(times) for times in zip(*pairs, strict=True)]
        numbers = (
            f"processor {least[0]:.2f} s, ours {least[1]:.2f} s, ratio min {ratios[0]:.2f}, "
            f"median {statistics.median(ratios):.2f}"
        )
        print(f"  torch.nn.utils.prune: {numbers}; the same weights stay", flush=True)
    print(f"peak memory of the process {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.1f} GiB")
    for name, call in MEMORY.items():
        print(f"  {name:24s} +{memory(call):.2f} GiB beside the mlp's weights and scores", flush=True)


if __name__ == "__main__":
    main()
