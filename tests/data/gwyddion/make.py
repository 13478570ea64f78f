"""Writes tiny Gwyddion files: version 2 with gwyfile, version 1 by hand."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
from gwyfile.objects import GwyContainer, GwyDataField, GwyObject, GwySIUnit


def data_field(
    image: np.ndarray, *, size: tuple[float, float], unit: str = "m", z_unit: str = "m"
) -> GwyDataField:
    """Return a field ``(y, x)`` of a given (x, y) size."""
    return GwyDataField(
        image,
        xreal=size[0],
        yreal=size[1],
        si_unit_xy=GwySIUnit(unitstr=unit),
        si_unit_z=GwySIUnit(unitstr=z_unit),
    )


def brick(
    volume: np.ndarray, *, step: float, unit: str = "m", w_unit: str = "A", **more: object
) -> GwyObject:
    """Return a volume ``(z, y, x)`` of one step; `unit` is that of z, x and y are in metres."""
    parts: dict[str, object] = {}
    for name, size in zip("zyx", volume.shape, strict=True):
        parts |= {f"{name}res": np.int32(size), f"{name}real": size * step, f"{name}off": 0.0}
        parts[f"si_unit_{name}"] = GwySIUnit(unitstr=unit if name == "z" else "m")
    parts |= {"si_unit_w": GwySIUnit(unitstr=w_unit), "data": volume.astype(float).ravel(), **more}
    return GwyObject("GwyBrick", parts)


def write_gwy(path: Path, fields: dict[str, GwyDataField], meta: dict[str, str] | None = None) -> Path:
    """Write a version 2 file with one channel per title."""
    container = GwyContainer()
    for number, (title, field) in enumerate(fields.items()):
        container[f"/{number}/data"] = field
        container[f"/{number}/data/title"] = title
        if meta:
            container[f"/{number}/meta"] = GwyContainer(meta)
    with path.open("wb") as stream:
        container.tofile(stream)
    return path


def write_version_1(path: Path, image: np.ndarray, *, size: float, unit: str, z_unit: str) -> Path:
    """Write a ``GWYO`` file: container entries carry GLib type numbers, 64 text and 80 object."""

    def wrap(name: bytes, content: bytes) -> bytes:
        return name + b"\0" + struct.pack("<I", len(content)) + content

    def si_unit(text: str) -> bytes:
        return wrap(b"GwySIUnit", b"unitstr\0s" + text.encode("latin-1") + b"\0")

    field = (
        b"xres\0i" + struct.pack("<i", image.shape[1]) + b"yres\0i" + struct.pack("<i", image.shape[0])
        + b"xreal\0d" + struct.pack("<d", size) + b"yreal\0d" + struct.pack("<d", size)
        + b"si_unit_xy\0o" + si_unit(unit) + b"si_unit_z\0o" + si_unit(z_unit)
        + b"data\0D" + struct.pack("<I", image.size) + image.astype("<f8").tobytes()
    )  # fmt: skip
    entries = struct.pack("<I", 64) + b"/0/base/palette\0Blue\0"
    entries += struct.pack("<I", 80) + b"/0/data\0" + wrap(b"GwyDataField", field)
    path.write_bytes(b"GWYO" + wrap(b"GwyContainer", entries))
    return path
