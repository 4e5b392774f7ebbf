"""Tensors and arrays -> numbers that describe a layer or a curve.

ValueError: what is given is of another kind or not finite, or no finite number comes out, where no docstring says so.
"""

from . import spectrum, subspaces
from .angles import cosines, frame_potential
from .clusters import angles_to_nearest, kmeans, random_directions
from .curves import curve_means
from .ranks import partial_rank_correlation, rank_correlation
from .repeats import removable, strongest_correlation

__all__ = [
    "angles_to_nearest", "cosines", "curve_means", "frame_potential", "kmeans", "partial_rank_correlation",
    "random_directions", "rank_correlation", "removable", "spectrum", "strongest_correlation", "subspaces",
]  # fmt: skip
