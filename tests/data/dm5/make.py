"""Tiny DM5 files: the tag trees of ``tests/data/dm/make.py`` as groups and attributes of HDF5."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np


def write(path: Path, *images: dict[str, Any], preview: dict[str, Any] | None = None, **storage: Any) -> Path:
    """Write a DM5 file; `preview` becomes the last image and the thumbnail. `storage` is for the pixels."""
    listed = [*images, *([preview] if preview else [])]
    thumbnails = [{"ImageIndex": np.uint32(len(images))}] if preview else []
    with h5py.File(path, "w") as file:
        fill(file, {"ImageList": listed, "Thumbnails": thumbnails}, storage)
    return path


def fill(group: h5py.Group, tags: Any, storage: dict[str, Any]) -> None:
    """Write tags: dictionaries and lists as groups, arrays as datasets, the rest as attributes."""
    items = tags.items() if isinstance(tags, dict) else ((f"[{at}]", item) for at, item in enumerate(tags))
    for name, value in items:
        if isinstance(value, dict | list):
            fill(group.create_group(name), value, storage)
        elif isinstance(value, np.ndarray):
            group.create_dataset(name, data=value, **storage)
        elif isinstance(value, tuple):
            fields = [(f"f{at}", np.asarray(item).dtype) for at, item in enumerate(value)]
            group.attrs[name] = np.array(value, fields)[()]
        else:
            group.attrs[name] = np.bytes_(value.encode()) if isinstance(value, str) else value
