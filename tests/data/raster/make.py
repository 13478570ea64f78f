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
    """Write a PNG with 16 bits per sample: grey and alpha, RGB or RGBA."""
    path.write_bytes(imagecodecs.png_encode(pixels))
    return path


def write_animation(path: Path, frames: list[np.ndarray]) -> Path:
    """Write an animated GIF, PNG or WebP (lossless)."""
    images = [Image.fromarray(frame) for frame in frames]
    options = {"lossless": True} if path.suffix == ".webp" else {}
    images[0].save(path, save_all=True, append_images=images[1:], duration=100, **options)
    return path
