"""Tiny MRC files, written by mrcfile."""

from __future__ import annotations

from pathlib import Path

import mrcfile
import numpy as np


def write(path: Path, pixels: np.ndarray, *, voxel: float | None = 2.0, volume: bool = False) -> Path:
    """Write an image, a stack or a volume; `voxel` [angstrom], None for an unset cell."""
    with mrcfile.new(path, overwrite=True) as file:
        file.set_data(pixels)
        if pixels.ndim == 3 and not volume:
            file.set_image_stack()
        file.voxel_size = 0.0 if voxel is None else voxel
    return path


INFO = """Camera Model                                                    = DESim
Exposure Time (seconds)                                         = 30
Image Size X (pixels)                                           = 6
Image Size Y (pixels)                                           = 5
Instrument Accelerating Voltage (V)                             = 300000
Instrument Project Magnification                                = -1
Specimen Pixel Size X (nanometers)                              = 0.5
Specimen Pixel Size Y (nanometers)                              = -1
Timestamp (seconds since Epoch)                                 = 1745955900
"""
