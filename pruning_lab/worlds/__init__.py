"""Problems so small that they are run as their authors ran them: data and nets in closed form, without images."""

from . import committee, xord

__all__ = ["committee", "xord"]
