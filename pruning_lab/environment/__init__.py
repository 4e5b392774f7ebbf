"""Settings: where data and records lie, on which device to compute; and repairs of libraries. No answer hangs on it."""

from .repairs import import_torchvision, reuse_memory
from .settings import age, cache_folder, cluster, data_root, device, local_shelf, plugins, published_shelf, workers

__all__ = [
    "age", "cache_folder", "cluster", "data_root", "device", "import_torchvision", "local_shelf", "plugins",
    "published_shelf", "reuse_memory", "workers",
]  # fmt: skip
