"""Where the redundancy of one given net lies, layer by layer, and what leaving it out saves on this machine."""

from .found import Report
from .prices import price
from .reading import Given, given
from .whole import LATE, report

__all__ = ["LATE", "Given", "Report", "given", "price", "report"]
