"""The wiring: what each experiment is made of, one file a subject."""

from .alignment import CentreStart, FilterClusters, UnitRepeats
from .fitted import Forest, RandomFeatures, ShallowNets
from .gradients import GradientHistory, GradientSnapshots
from .layers import LayerGraph, LayerStructure, Snapshots
from .mask_sources import MaskSources
from .masked import MaskedTraining
from .speed import InferenceSpeed
from .subspace import Projection, Spectrum
from .train import Train
from .units import UnitCurve, UnitImportance
from .worlds import TeacherStudent, Xord

__all__ = [
    "CentreStart", "FilterClusters", "Forest", "GradientHistory", "GradientSnapshots", "InferenceSpeed", "LayerGraph",
    "LayerStructure", "MaskSources", "MaskedTraining", "Projection", "RandomFeatures", "ShallowNets", "Snapshots",
    "Spectrum", "TeacherStudent", "Train", "UnitCurve", "UnitImportance", "UnitRepeats", "Xord",
]  # fmt: skip
