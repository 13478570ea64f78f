"""Writes tiny Createc images: a padded header, one number that is no pixel, then the images."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np

HEADER = {
    "DAC-Type": "20bit",
    "Titel(File) / Titel": "LN2",
    "GainZ / GainZ": "10",
    "Rotation / Rotation": "12.5",
    "BiasVoltage / BiasVolt.[mV]": "-250.00",
    "Gainpreamp / GainPre 10^": "9",
    "Chan(1,2,4) / ScanChannels": "2",
    "ZPiezoconst / ZPiezoconst": " 20.00",
    "Scantype / Scantype": "1",
    "Scanmode / ScanXMode": "2",
    "CHMode / CHMode": "0",
    "ScanYDirec / ScanYDirec": "1",
    "ScanmodeSine / ScanmodeSine": "0",
    "CHModeGainpreamp / CHModeGainpreamp": "6",
    "CHModeBias[mV] / CHModeBias[mV]": "1000.00",
    "Channelselectval / Channelselectval": "3",
    "Username / Username": "Ada",
    "MVoltnumber11 / MVoltnumber11": "1",
    "MVolt_1 / MVolt_1": "-100.00000",
    "MVolt_2 / MVolt_2": "200.00000",
    "Dacto[A]z": "0.00038",
    "ActDriveDir": "C:\\DATA\\x",
    "PLLOn": "0",
    "Length x[A]": "80.0000",
    "Length y[A]": "30.0000",
    "SetPoint": "1.57E-10",
    "memo:0": "a note",
}

KINDS = {"[Parameter]": "<i2", "[Paramet32]": "<f4", "[Paramco32]": "<f4"}


def write_dat(
    path: Path,
    images: list[np.ndarray],
    *,
    kind: str = "[Paramco32]",
    size: int = 16384,
    **header: str | None,
) -> Path:
    """Write `images` ``(y, x)`` of DAC units; `header` overrides fields by their first name, None leaves out.

    `size` is that of the header with its mark ``DATA``.
    """
    ny, nx = images[0].shape
    fields = {
        "Num.X / Num.X": str(nx), "Num.Y / Num.Y": str(ny), "Channels / Channels": str(len(images)),
        "ImageYPosMax": str(ny + 1), **HEADER,
    }  # fmt: skip
    written = {key: header.get(key.split(" / ")[0], value) for key, value in fields.items()}
    lines = [kind, *(f"{key}={value}" for key, value in written.items() if value is not None), " = "]
    text = "\r\n".join([*lines, ""]).encode("cp1252")
    dtype = KINDS[kind]
    block = np.zeros(1, dtype).tobytes() + b"".join(image.astype(dtype).tobytes() for image in images)
    if kind == "[Paramco32]":
        block = zlib.compress(block + bytes(64))
    path.write_bytes(text.ljust(size - 5, b"\0") + b"\nDATA" + block)
    return path
