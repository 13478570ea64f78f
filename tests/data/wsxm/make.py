"""Writes tiny WSxM files: the rows of an image from the bottom right corner."""

from __future__ import annotations

from pathlib import Path

import numpy as np

FIELDS = {
    "Control": {
        "Angle": "0",
        "Set Point": "0.25 nA",
        "Topography Bias": "-1500 mV",
        "X Amplitude": "2 µm",
        "X Offset": "-100 nm",
        "Y Amplitude": "30 Å",
    },
    "General Info": {
        "Acquisition channel": "Topography",
        "Acquisition time": "14/05/2025, 16:30:58.167",
        "Head type": "STM",
        "X scanning direction": "Backward",
        "Z Amplitude": "4.4 nm",
    },
    "Miscellaneous": {"Comments": "a: first try"},
}
TYPES = {"<i2": "short", "<f4": "float", "<f8": "double"}


def write_wsxm(
    path: Path, image: np.ndarray, *, newline: str = "\r\n", first: str = "", padding: int = 0, **general: str
) -> Path:
    """Write `image` (y, x) as seen; `general` overrides ``[General Info]``, ``first`` the second line."""
    ny, nx = image.shape
    info = {"Image Data Type": TYPES[image.dtype.newbyteorder("<").str], "Number of rows": str(ny)}
    info |= {"Number of columns": str(nx), **FIELDS["General Info"]}
    info |= {key.replace("_", " "): value for key, value in general.items()}
    lines = ["WSxM file copyright UAM", first or "SxM Image file", "Image header size: SIZE", ""]
    for section, fields in (FIELDS | {"General Info": info}).items():
        lines += [f"[{section}]", "", *(f"    {key}: {value}" for key, value in fields.items()), ""]
    header = newline.join([*lines, "[Header end]", ""]).encode("latin-1")
    size = len(header) + padding
    while len(header.replace(b"SIZE", str(size).encode())) + padding != size:
        size = len(header.replace(b"SIZE", str(size).encode())) + padding
    header = header.replace(b"SIZE", str(size).encode()) + bytes(padding)
    path.write_bytes(header + image[::-1, ::-1].astype(image.dtype.newbyteorder("<")).tobytes())
    return path
