"""Writes tiny Digital Surf files: objects of a header and points."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

# name -> struct code and value; the order is that of the file
HEADER: dict[str, tuple[str, Any]] = {
    "signature": ("12s", "DIGITAL SURF"), "format": ("h", 0), "objects": ("H", 1), "version": ("h", 1),
    "type": ("h", 2), "name": ("30s", "* steel *"), "operator": ("30s", "ana"), "channels": ("h", 1),
    "acquisition": ("h", 9), "range": ("h", 0), "special": ("h", 0), "absolute": ("h", 0),
    "resolution": ("f", 0.0), "w": ("I", 0), "bits": ("h", 16), "zmin": ("i", -100), "zmax": ("i", 100),
    "points": ("i", 0), "lines": ("i", 0), "total": ("i", 0), "dx": ("f", 0.5), "dy": ("f", 0.25),
    "dz": ("f", 0.125), "xname": ("16s", "X"), "yname": ("16s", "Y"), "zname": ("16s", "Height"),
    "xunit": ("16s", "µm"), "yunit": ("16s", "mm"), "zunit": ("16s", "nm"), "xlength": ("16s", "mm"),
    "ylength": ("16s", "mm"), "zlength": ("16s", "nm"), "xratio": ("f", 1000.0), "yratio": ("f", 1.0),
    "zratio": ("f", 1.0), "imprint": ("h", 0), "inverted": ("h", 0), "levelled": ("h", 0), "": ("12s", ""),
    "second": ("h", 6), "minute": ("h", 5), "hour": ("h", 14), "day": ("h", 3), "month": ("h", 2),
    "year": ("h", 2021), "weekday": ("h", 3), "duration": ("f", 0.0), "packed": ("I", 0), " ": ("6s", ""),
    "comment": ("H", 0), "private": ("H", 0), "client": ("128s", ""), "x0": ("f", 2.0), "y0": ("f", 0.0),
    "z0": ("f", 1000.0), "dt": ("f", 0.0), "t0": ("f", 0.0), "tname": ("13s", ""), "tunit": ("13s", ""),
}  # fmt: skip


def surf_object(
    raw: np.ndarray, *, comment: str = "", private: bytes = b"", streams: int = 0, **more: Any
) -> bytes:
    """Return one object with the integers `raw` (y, x); in `streams` packed ones, or plain where 0."""
    values = {name: value for name, (_, value) in HEADER.items()}
    values |= {"bits": 8 * raw.dtype.itemsize, "lines": raw.shape[0], "points": raw.shape[1]}
    values |= {"total": raw.size, "comment": len(comment.encode()), "private": len(private)}
    values |= {"signature": "DSCOMPRESSED"} if streams else {}
    values |= more
    codes = "<" + "".join(code for code, _ in HEADER.values())
    header = struct.pack(
        codes,
        *(value.encode("latin-1") if isinstance(value, str) else value for value in values.values()),
    )
    data = raw.astype(raw.dtype.newbyteorder("<")).tobytes()
    if streams:
        size = -(-len(data) // streams)
        parts = [data[start : start + size] for start in range(0, len(data), size)]
        packed = [zlib.compress(part) for part in parts]
        sizes = [struct.pack("<II", len(part), len(small)) for part, small in zip(parts, packed, strict=True)]
        data = struct.pack("<I", len(parts)) + b"".join(sizes) + b"".join(packed)
    return header + comment.encode() + private + data


def write_sur(path: Path, images: Sequence[np.ndarray], **more: Any) -> Path:
    path.write_bytes(b"".join(surf_object(image, **more) for image in images))
    return path
