"""Settings: where data and records lie, on which device to compute; and repairs of libraries. No answer hangs on it."""

from .project import project
from .repairs import import_torchvision, reuse_memory
from .settings import (
    MOST_WORKERS,
    age,
    cache_folder,
    check_path,
    cluster,
    data_root,
    device,
    local_shelf,
    plugins,
    published_shelf,
    usable,
    workers,
)

__all__ = [
    "MOST_WORKERS", "age", "cache_folder", "check_path", "cluster", "data_root", "device", "import_torchvision",
    "local_shelf", "plugins", "project", "published_shelf", "reuse_memory", "usable", "workers",
]  # fmt: skip
