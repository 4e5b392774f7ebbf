"""Per-sample gradients, each seen once and never kept: their mean, mean sign (diffs) and coherence, exactly.

A layer whose per-sample gradient has a formula uses it (`linear`, `conv`, `norms`, `embedding`), a parameter that
broadcasts over the samples gets a row for each (`free`), and whatever else is differentiated sample by sample, alone
(`other`). `plan` says who does what.
"""

from .engine import statistics
from .loss import cross_entropy
from .result import Statistics

__all__ = ["Statistics", "cross_entropy", "statistics"]
