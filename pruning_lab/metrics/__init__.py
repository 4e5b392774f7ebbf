"""Tensors and arrays -> numbers that describe a layer or a curve."""

from . import spectrum, subspaces
from .angles import cosines, frame_potential
from .curves import curve_means
from .ranks import partial_rank_correlation, rank_correlation

__all__ = [
    "cosines", "curve_means", "frame_potential", "partial_rank_correlation", "rank_correlation", "spectrum",
    "subspaces",
]  # fmt: skip
