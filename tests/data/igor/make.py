"""Writes tiny Igor binary waves, version 5, after WaveMetrics Technical Note 003."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np

TYPES = {"f4": 2, "c8": 3, "f8": 4, "i1": 8, "i2": 16, "i4": 32, "u1": 72, "u2": 80, "u4": 96}


def write_ibw(
    path: Path,
    wave: np.ndarray,
    *,
    order: str = "<",
    step: float = 1.0,
    unit: str = "",
    data_unit: str = "",
    note: str = "",
    labels: tuple[int, Sequence[bytes]] = (0, ()),
    kind: int | None = None,
) -> Path:
    """Write `wave`, indexed as in Igor: (x, y, layer). `labels` are the names along one dimension."""
    data = wave.astype(wave.dtype.newbyteorder(order)).tobytes(order="F")
    dimension, names = labels
    block = b"".join(name.ljust(32, b"\0")[:32] for name in (b"", *names)) if names else b""
    label_sizes = [len(block) if number == dimension else 0 for number in range(4)]
    kind = TYPES[wave.dtype.str[1:]] if kind is None else kind
    written_note = note.encode()
    sizes = (320 + len(data), 0, len(written_note), 0, 0, 0, 0, 0, *label_sizes, 0, 0, 0)
    shape = [*wave.shape, 0, 0, 0, 0][:4]
    units = [unit.encode() if number < 2 else b"" for number in range(4)]
    header = struct.pack(
        order + "4xIIih10x32s8x4i4d4d4s4s4s4s4s",
        *(0, 0, wave.size, kind, path.stem.encode()[:31], *shape),
        *(step, step, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0, data_unit.encode(), *units),
    ).ljust(320, b"\0")
    first = struct.pack(order + "hh15i", 5, 0, *sizes) + header
    rest = -sum(struct.unpack(f"{order}192h", first)) & 0xFFFF
    checksum = struct.pack(order + "H", rest)
    path.write_bytes(first[:2] + checksum + first[4:] + data + written_note + block)
    return path
