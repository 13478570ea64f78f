"""Tiny blockfiles of NanoMEGAS ASTAR, written byte by byte after the layout."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

HEADER = {
    "version": 0x0102, "image": 0x1000, "unknown": 131141, "rotation": 0, "scan_rotation": 2500,
    "sx": 12.5, "sy": 25.0, "voltage": 300000, "density": 5000, "camera_length": 1230,
    "date": 42339.653470046294,
}  # fmt: skip


def write_blo(path: Path, patterns: np.ndarray, image: np.ndarray | None = None, **changed: float) -> Path:
    """Write `patterns` ``(scan_y, scan_x, y, x)`` and the image of the scan.

    `changed` overrides the header.
    """
    rows, columns, side, _ = patterns.shape
    image = np.zeros((rows, columns), "u1") if image is None else image
    at = 0x1000 + (rows * columns + 15) // 16 * 16
    header = HEADER | {"first": at, "side": side, "columns": columns, "rows": rows} | changed
    names = (
        "version", "image", "first", "unknown", "side", "rotation", "columns", "rows", "scan_rotation",
        "sx", "sy", "voltage", "density", "camera_length", "date",
    )  # fmt: skip
    packed = struct.pack("<6sH3I5H2dIHId22d", b"IMGBLO", *(header[name] for name in names), *[0.0] * 22)
    content = packed + "Precession angle : 0.8°\r\nCamera gamma : on".encode("latin-1")
    content = content.ljust(0x1000, b"\0") + image.tobytes()
    content = content.ljust(at, b"\0")
    for number, pattern in enumerate(patterns.reshape(-1, side, side)):
        content += b"\xaa\x55" + struct.pack("<I", number) + pattern.astype("u1").tobytes()
    path.write_bytes(content)
    return path
