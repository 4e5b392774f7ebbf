"""Units that go together in nets of any form: groups of them, their scores, accuracy along an order, real removal.

A room of its own, as what records hold rests on plain nets alone: `from pruning_lab.units import coupled`.
"""

from .along import group_curve, group_scores
from .grouping import Group, groups, remove_units, zero_units
from .tracing import OUTPUTS

__all__ = ["OUTPUTS", "Group", "group_curve", "group_scores", "groups", "remove_units", "zero_units"]
