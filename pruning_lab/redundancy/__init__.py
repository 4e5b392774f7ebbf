"""Where the redundancy of one given net lies, layer by layer, and what leaving it out saves on this machine."""

from .found import Report
from .prices import price
from .reading import Given, given
from .whole import report

__all__ = ["Given", "Report", "given", "price", "report"]
