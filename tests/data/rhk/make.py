"""Writes tiny RHK SM4 files: header, page index, and per page its header, strings and data."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np

PAGE = {
    "kind": 0, "page_type": 1, "line_type": 0, "scan_type": 0, "x_scale": -2e-9, "y_scale": -1e-9,
    "z_scale": 1e-12, "z_offset": 5e-8, "x_offset": 0.0, "period": 0.01, "bias": 0.075, "current": 7e-11,
    "angle": 30.0,
}  # fmt: skip
STRINGS = [
    "Topography", "", "", "a note", "C:\\x.sm4", "08/23/21", "15:18:44", "m", "m", "m", "", "Topography", "",
    "", "0", "", "", "A", "Ch1 Drive Value: 75.000 mV",
]  # fmt: skip


def write_sm4(
    path: Path, pages: list[tuple[np.ndarray, dict[str, Any]]], *, magic: str = "005.004 1"
) -> Path:
    """Write `pages`: numbers as stored, and fields over those of `PAGE`; ``strings`` by position."""
    signature = f"STiMage {magic}\0".encode("utf-16le")
    head = struct.pack("<H", 56) + signature + struct.pack("<5I", len(pages), 1, 12, 0, 0)
    index = len(head) + 12
    array = index + 28
    position = array + len(pages) * (32 + 24)
    content = head + struct.pack("<3I", 1, index, 16)
    content += struct.pack("<4I", len(pages), 1, 0, 0) + struct.pack("<3I", 2, array, 32)
    bodies = b""
    for stored, fields in pages:
        page, data = PAGE | fields, stored.astype("<i4").tobytes()
        strings = [page.get("strings", {}).get(number, text) for number, text in enumerate(STRINGS)]
        text = b"".join(struct.pack("<H", len(s)) + s.encode("utf-16le") for s in strings)
        start = position + len(bodies)
        body = (
            _header(page, stored.shape, len(strings)) + struct.pack("<3I", 10, start + 192, len(text)) + text
        )
        content += bytes(16) + struct.pack("<4I", page["kind"], 0, 2, 6)
        content += struct.pack("<6I", 3, start, 180, 4, start + len(body), len(data))
        bodies += body + data
    path.write_bytes(content + bodies)
    return path


def _header(page: dict[str, Any], shape: tuple[int, int], strings: int) -> bytes:
    ny, nx = shape
    numbers = struct.pack("<2H3I", 180, strings, page["page_type"], 0, page["line_type"])
    numbers += struct.pack("<2i6I2i", 0, 0, nx, ny, 0, page["scan_type"], 0, 4 * ny * nx, 0, 0)
    keys = (
        "x_scale",
        "y_scale",
        "z_scale",
        "",
        "x_offset",
        "",
        "z_offset",
        "period",
        "bias",
        "current",
        "angle",
    )
    numbers += struct.pack("<11f", *(page[key] if key else 0.0 for key in keys))
    return numbers + struct.pack("<4I", 0, 0, 0, 1) + bytes(64)
