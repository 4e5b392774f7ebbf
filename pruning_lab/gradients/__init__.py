"""Per-sample gradients, each seen once and never kept: their mean, mean sign (diffs) and coherence, exactly.

A layer whose per-sample gradient has a formula uses it (`formulas`; for the projections inside attention: `attention`),
a parameter that broadcasts over samples gets a row for each (`broadcast`), and whatever else is differentiated sample
by sample, alone (`fallback`). `plan` says who does what, `remembered` keeps it, and `verify` looks at a few samples of
every chunk again.
"""

from .engine import statistics
from .loss import cross_entropy
from .result import Statistics

__all__ = ["Statistics", "cross_entropy", "statistics"]
