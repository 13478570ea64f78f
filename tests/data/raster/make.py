"""Tiny pictures, written by Pillow (and imagecodecs where Pillow cannot)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
from PIL import Image


def write(path: Path, pixels: np.ndarray, **options: Any) -> Path:
    Image.fromarray(pixels).save(path, **options)
    return path


def write_deep_png(path: Path, pixels: np.ndarray) -> Path:
    """Write a PNG with 16 bits for each of R, G, B."""
    path.write_bytes(imagecodecs.png_encode(pixels))
    return path
