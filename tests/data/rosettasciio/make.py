"""Tiny files of formats that RosettaSciIO reads, written by its own writers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np


def signal(pixels: np.ndarray, axes: list[tuple[str, float, str, bool]], **metadata: Any) -> dict[str, Any]:
    """A signal as rsciio's writers take it; axes are (name, scale, units, navigate) in array order."""
    return {
        "data": pixels,
        "axes": [
            {"_type": "UniformDataAxis", "name": name, "scale": scale, "offset": 0.0, "units": units,
             "navigate": navigate, "size": pixels.shape[number], "index_in_array": number, "is_binned": False}
            for number, (name, scale, units, navigate) in enumerate(axes)
        ],
        "metadata": {"General": {"title": "a signal"}, "Signal": {"signal_type": ""}, **metadata},
        "original_metadata": {},
        "attributes": {"_lazy": False, "ragged": False},
        "package_info": {"package": "micdb", "package_version": "0"},
        "learning_results": {}, "models": {}, "tmp_parameters": {},
    }  # fmt: skip


def write_hspy(path: Path, content: dict[str, Any]) -> Path:
    from rsciio.hspy import file_writer

    file_writer(str(path), content)
    return path
