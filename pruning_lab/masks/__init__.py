"""Which weights stay: scores of single weights, masks of an exact count, what two masks share, and whether fewer
weights are faster.

A set of masks is a plain dict from the parameter's name to a bool tensor of its shape; True stays.
`training.fit.fit` takes it as `mask`.
"""

from .compare import counts, emptied, overlap, table
from .exchange import from_torch, load, save, to_torch
from .ranking import EmptyLayer, build, grid, random
from .speed import SparseLinear, inference, sparse
from .weights import left_whole, maskable, scores
from .width import mlp_weights, scaled_width

__all__ = [
    "EmptyLayer", "SparseLinear", "build", "counts", "emptied", "from_torch", "grid", "inference", "left_whole", "load",
    "maskable", "mlp_weights", "overlap", "random", "save", "scaled_width", "scores", "sparse", "table", "to_torch",
]  # fmt: skip
