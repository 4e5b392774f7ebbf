"""The wiring: what each experiment is made of, one file a subject."""

from .fitted import Forest, RandomFeatures, ShallowNets
from .gradients import GradientHistory, GradientSnapshots
from .layers import LayerGraph, LayerStructure, Snapshots
from .mask_sources import MaskSources
from .masked import MaskedTraining
from .speed import InferenceSpeed
from .train import Train
from .units import UnitCurve, UnitImportance

__all__ = [
    "Forest", "GradientHistory", "GradientSnapshots", "InferenceSpeed", "LayerGraph", "LayerStructure", "MaskSources",
    "MaskedTraining", "RandomFeatures", "ShallowNets", "Snapshots", "Train", "UnitCurve", "UnitImportance",
]  # fmt: skip
