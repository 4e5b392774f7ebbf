"""Gradient statistics and weights of each layer as a few numbers, histograms, quantiles: what a snapshot keeps."""

import torch
from torch import Tensor, nn

from .result import Statistics

EDGE = 0.99  # |diff| above which nearly all samples agree
COLUMNS = ("coherence", "unbiased", "mean", "sd", "kurtosis", "agree", "dead")


def matrices(model: nn.Module) -> dict[str, nn.Parameter]:
    """Weights by layer, in order: those with two dimensions or more that belong to a module; biases, norms and tokens
    are left out.
    """
    named = {n.removesuffix(".weight"): p for n, p in model.named_parameters() if n.endswith(".weight") and p.ndim >= 2}
    return {n: p for n, p in named.items() if p.requires_grad}


def rows(model: nn.Module, statistics: Statistics, bins: int = 201) -> dict[str, Tensor]:
    """A snapshot of L layers (`matrices`), the whole model first: `numbers` [1 + L, 7] float64 and `histograms` [1 + L,
    bins] int64.

    Numbers: coherence and its unbiased form, of all parameters of the layer; of its weights' diffs, where any sample
    has a gradient, mean, standard deviation, excess kurtosis and share beyond 0.99; and the share of weights where none
    has. A diff has `bins` places from -1 to 1.
    """
    alive, numbers, counts = [], [], []
    for layer in matrices(model):
        diffs, silent = _diffs(statistics, layer)
        alive.append(diffs[~silent])
        counts.append(_histogram(alive[-1], bins))
        numbers.append([*_coherence(statistics, layer), *_moments(alive[-1]), silent.double().mean().item()])
    total = sum(p.numel() for p in matrices(model).values())
    pooled = torch.cat(alive)
    numbers.insert(0, [*_coherence(statistics, None), *_moments(pooled), 1 - len(pooled) / total])
    return dict(numbers=torch.tensor(numbers, dtype=torch.float64), histograms=torch.stack([sum(counts), *counts]))


def magnitudes(model: nn.Module, kept: float = 0.99, grid: int = 500) -> Tensor:
    """Quantiles of the lowest `kept` of all |w|, [1 + L, grid] float32, all layers pooled first; each mid-step."""
    weights = [p.detach().abs().flatten().float() for p in matrices(model).values()]
    return torch.stack([_quantiles(values, kept, grid) for values in (torch.cat(weights), *weights)])


def followed(model: nn.Module, statistics: Statistics, most: int, seed: int = 0) -> dict[str, Tensor]:
    """Some weights of each layer, at most `most`, the same for the same seed: `<layer>.weights` and `<layer>.diffs`
    [weights] float32.

    The diff of a weight for which no sample has a gradient is NaN.
    """
    out = {}
    for layer, p in matrices(model).items():
        drawn = (
            torch.randperm(p.numel(), generator=torch.Generator().manual_seed(seed))[:most].sort().values.to(p.device)
        )
        diffs, silent = _diffs(statistics, layer)
        out[f"{layer}.weights"] = p.detach().flatten()[drawn].float()
        out[f"{layer}.diffs"] = torch.where(silent, torch.nan, diffs)[drawn].float()
    return out


def _diffs(statistics: Statistics, layer: str) -> tuple[Tensor, Tensor]:
    """Diffs of a layer's weights, flat, and where no sample has a gradient: mean and mean sign are exactly zero."""
    diffs, mean = (kept[f"{layer}.weight"].flatten() for kept in (statistics.diffs, statistics.mean))
    return diffs, (diffs == 0) & (mean == 0)


def _coherence(statistics: Statistics, layer: str | None) -> list[float]:
    return [statistics.coherence(layer), statistics.coherence(layer, unbiased=True)]


def _moments(diffs: Tensor) -> list[float]:
    """Mean, standard deviation, excess kurtosis, share beyond the edge; NaN where there is nothing to tell."""
    if not len(diffs):
        return [torch.nan] * 4
    x = diffs.double()
    mean = x.mean()
    second, fourth = (x - mean).square().mean(), (x - mean).square().square().mean()
    return [
        mean.item(),
        second.sqrt().item(),
        (fourth / second.square() - 3).item(),
        (x.abs() > EDGE).double().mean().item(),
    ]


def _histogram(diffs: Tensor, bins: int) -> Tensor:
    places = ((diffs.double() + 1) / 2 * bins).long().clamp_(0, bins - 1)
    return torch.bincount(places, minlength=bins)


def _quantiles(values: Tensor, kept: float, grid: int) -> Tensor:
    lowest = values.sort().values[: max(1, int(kept * len(values)))]
    steps = (torch.arange(grid, device=values.device, dtype=torch.float64) + 0.5) / grid
    return lowest[(steps * len(lowest)).long()]
