"""Image sets by name, as tensors on the device.

A set is looked for in this order: embedded (`digits`), `<root>/<name>/{train,test}.npz`, torchvision's downloads.
What torchvision brought is written as `.npz` for the next time. Nothing pickled is ever read. A file that is written
anew counts from the next call on: its time and size belong to the key of all that is kept of it.
"""

from .downloads import DOWNLOADS, names
from .loading import check_known, fingerprint, is_here, load, shared, size
from .pixels import SCALES, scaled_by
from .sharing import Changed, watched
from .split import Split

__all__ = [
    "DOWNLOADS", "SCALES", "Changed", "Split", "check_known", "fingerprint", "is_here", "load", "names", "scaled_by",
    "shared", "size", "watched",
]  # fmt: skip
