"""Mean, mean sign and coherence of per-sample gradients, with null lines and error bars."""

import math
from dataclasses import dataclass, field

import pandas as pd
import torch
from torch import Tensor


@dataclass(frozen=True)
class Statistics:
    """Gradients of n samples at one set of weights; dictionaries by the parameters' names, empty where not wanted.

    A parameter without gradient (frozen, or not read by the loss) has zeros everywhere and is listed.

    >>> from pruning_lab import data, gradients, models
    >>> net = models.build("mlp", (1, 8, 8), width=4, hidden=1)
    >>> found = gradients.statistics(net, data.load("digits", "train", limit=20, device="cpu"))
    >>> found.n, found.layers
    (20, ['fc1', 'out'])
    >>> 0 < found.coherence() < 1, round(found.coherence_null(), 3)
    (True, 0.05)
    >>> list(found.table().layer)
    ['whole', 'fc1', 'out']
    """

    n: int  # samples
    mean: dict[str, Tensor] = field(repr=False)  # in the parameter's shape
    diffs: dict[str, Tensor] = field(repr=False)  # mean sign, in [-1, 1], in the parameter's shape (003, section 3.1)
    # mean over samples of the squared norm of the parameter's gradient
    mean_square: dict[str, float] = field(repr=False)
    without_gradient: tuple[str, ...]  # names of parameters
    precision: str  # in which everything was computed
    blocks: tuple[int, ...] = field(repr=False)  # samples in each block of the jackknife; one block: no error
    # inner products of the blocks' gradient sums, [blocks, blocks] float64
    inner: dict[str, Tensor] = field(repr=False)
    squares: dict[str, Tensor] = field(repr=False)  # sums of squared norms, [blocks] float64

    @property
    def layers(self) -> list[str]:
        """Names of the modules that hold parameters; "" is the model itself."""
        return list(dict.fromkeys(_layer(name) for name in self.inner))

    def coherence(self, layer: str | None = None, *, unbiased: bool = False, scaled: bool = False) -> float:
        """|mean g|^2 / mean |g|^2 of a layer, or of the whole model; NaN if all gradients are zero.

        1 for identical gradients, 1/n for orthogonal ones of equal norm, less where they cancel.

        Args:
            unbiased: without the samples' products with themselves: 0 in expectation for unrelated gradients.
            scaled: times n: alpha_m over its orthogonal limit (Chatterjee & Zielinski 2022; 003, section 2.1).

        Raises:
            ValueError: coherence was not wanted; no such layer; both variants at once; unbiased with one sample.
        """
        inner, squares = self._sums(layer)
        return self._variant(inner.sum(), squares.sum(), self.n, unbiased, scaled)

    def coherence_error(self, layer: str | None = None, *, unbiased: bool = False, scaled: bool = False) -> float:
        """Standard error of `coherence` by the jackknife over blocks: sqrt((g - 1) / g * sum of (value without b -
        their mean)^2).

        `scaled` values are all scaled by n. ValueError: as for `coherence`; fewer than two blocks.
        """
        if len(self.blocks) < 2:
            raise ValueError("the jackknife needs blocks of samples: compute the statistics with groups=10 or so")
        inner, squares = self._sums(layer)
        left = inner.sum() - 2 * inner.sum(1) + inner.diagonal()  # squared norm of the sum without each block
        values = [
            self._variant(total, squares.sum() - own, self.n - size, unbiased, False)
            for total, own, size in zip(left, squares, self.blocks, strict=True)
        ]
        g, centre = len(values), sum(values) / len(values)
        error = math.sqrt((g - 1) / g * sum((value - centre) ** 2 for value in values))
        self._variant(inner.sum(), squares.sum(), self.n, unbiased, scaled)  # which knows what is not allowed
        return error * (self.n if scaled else 1)

    def coherence_null(self, *, unbiased: bool = False, scaled: bool = False) -> float:
        """The expectation of `coherence` where each gradient's sign is a fair coin of its own: 1/n, 0 or 1."""
        return self._variant(torch.tensor(1.0), torch.tensor(1.0), self.n, unbiased, scaled)

    def diffs_null(self) -> tuple[Tensor, Tensor]:
        """Values [n + 1] of a diff and their probabilities, float64, where each sample's sign is a fair coin; its sd is
        1/sqrt(n).
        """
        heads = torch.arange(self.n + 1, dtype=torch.float64)
        n = torch.tensor(float(self.n), dtype=torch.float64)
        log = torch.lgamma(n + 1) - torch.lgamma(heads + 1) - torch.lgamma(n - heads + 1) - n * math.log(2)
        return (2 * heads - n) / n, log.exp()

    def table(self) -> pd.DataFrame:
        """One row a layer and one for the whole model (layer "whole"): parameters, coherence, error, other forms."""
        rows = []
        for layer in (None, *self.layers):
            kinds = {"coherence": {}, "unbiased": {"unbiased": True}, "scaled": {"scaled": True}}
            values = {
                kind: self.coherence(layer, **how) if self.n > 1 or not how else math.nan for kind, how in kinds.items()
            }
            values["error"] = self.coherence_error(layer) if len(self.blocks) > 1 else math.nan
            size = sum(self.mean[name].numel() for name in self._names(layer))
            rows.append({"layer": "whole" if layer is None else layer, "parameters": size, **values})
        return pd.DataFrame(rows)

    def _names(self, layer):
        return [name for name in self.inner if layer is None or _layer(name) == layer]

    def _sums(self, layer):
        if not self.inner:
            raise ValueError('coherence was not computed: ask for it with want={"coherence"}')
        if not (names := self._names(layer)):
            raise ValueError(
                f"no layer {layer!r} holds parameters: expected one of {self.layers}, or None for the whole model"
            )
        return sum(self.inner[name] for name in names), sum(self.squares[name] for name in names)

    @staticmethod
    def _variant(total: Tensor, squares: Tensor, n: int, unbiased: bool, scaled: bool) -> float:
        if unbiased and scaled:
            raise ValueError("unbiased=True and scaled=True are two ways to undo the same 1/n: choose one")
        if unbiased and n < 2:
            raise ValueError("unbiased coherence compares pairs of samples: it needs at least two")
        alpha = float(total) / (n * float(squares)) if squares > 0 else math.nan
        return (n * alpha - 1) / (n - 1) if unbiased else n * alpha if scaled else alpha


def _layer(name: str) -> str:
    return name.rpartition(".")[0]
