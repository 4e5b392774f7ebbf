"""The wiring: what each experiment is made of, one file a subject."""

from .gradients import GradientHistory, GradientSnapshots
from .layers import LayerGraph, LayerStructure, Snapshots
from .mask_sources import MaskSources
from .masked import MaskedTraining
from .speed import InferenceSpeed
from .subspace import Projection, Spectrum
from .train import Train
from .units import UnitCurve, UnitImportance

__all__ = [
    "GradientHistory", "GradientSnapshots", "InferenceSpeed", "LayerGraph", "LayerStructure", "MaskSources",
    "MaskedTraining", "Projection", "Snapshots", "Spectrum", "Train", "UnitCurve", "UnitImportance",
]  # fmt: skip
