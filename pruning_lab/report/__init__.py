"""What chapters call between records and figures: the page, its evidence and claims, and readings of records."""

from . import claims, curves, evidence, verdicts
from .answers import answer, strip
from .board import table as verdict_table
from .evidence import plain
from .numbers import side, spelled, spoken
from .page import Page, show

__all__ = ["Page", "answer", "claims", "curves", "evidence", "plain", "show", "side", "spelled", "spoken", "strip",
           "verdict_table", "verdicts"]  # fmt: skip
