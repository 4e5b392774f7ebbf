"""Where the redundancy of neural networks comes from: models, criteria, metrics, and records of what was measured.

>>> from pruning_lab import Recipe, Train, replace
>>> net = Train("digits", "mlp", Recipe(epochs=3))
>>> replace(net, seed=1).seed, replace(net.recipe, epochs=5).epochs  # all other fields as they are
(1, 5)
"""

from dataclasses import replace

# first of all: a command says that it began, for all that comes next takes its time
from .running import starting as _starting  # noqa: F401

# isort: split
# before all else: `source` reads what the library says, and that is what runs
from .running.plugins import load as _load

# isort: split
from . import criteria, data, environment, gradients, masks, metrics, units, worlds
from .criteria import unit_criterion, weight_criterion
from .experiments import (
    CentreStart,
    FilterClusters,
    Forest,
    GradientHistory,
    GradientSnapshots,
    InferenceSpeed,
    LayerGraph,
    LayerStructure,
    MaskedTraining,
    MaskSources,
    Projection,
    RandomFeatures,
    ShallowNets,
    Snapshots,
    Spectrum,
    TeacherStudent,
    Train,
    UnitCurve,
    UnitImportance,
    UnitRepeats,
    Xord,
)
from .experiments.gradients import snapshot_epochs
from .nets import models
from .records.experiment import Experiment, Result
from .records.store import Record, find, gather, run
from .running import chapters
from .running.parameters import watch_notebook as _watch
from .running.sweeps import PROFILES, pool, sweep
from .training.recipe import Recipe, snapshot_iterations

__version__ = "0.1.0"
__all__ = [
    "PROFILES", "CentreStart", "Experiment", "FilterClusters", "Forest", "GradientHistory", "GradientSnapshots",
    "InferenceSpeed", "LayerGraph", "LayerStructure", "MaskSources", "MaskedTraining", "Projection", "RandomFeatures",
    "Recipe", "Record", "Result", "ShallowNets", "Snapshots", "Spectrum", "TeacherStudent", "Train", "UnitCurve",
    "UnitImportance", "UnitRepeats", "Xord", "chapters", "criteria", "data", "find", "gather", "gradients", "masks",
    "metrics", "models", "pool", "replace", "run", "snapshot_epochs", "snapshot_iterations", "sweep", "unit_criterion",
    "units", "weight_criterion", "worlds",
]  # fmt: skip

_load(environment.plugins())
_watch()
