"""Pictures a reader can turn: in a static page without a kernel, and live in JupyterLab."""

from .explorer import Explorer
from .force_graph import ForceGraph

__all__ = ["Explorer", "ForceGraph"]
