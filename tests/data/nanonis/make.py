"""Writes tiny Nanonis files as the controller does: lines and pixels in the order of acquisition."""

from __future__ import annotations

from pathlib import Path

import numpy as np

HEADER = {
    "NANONIS_VERSION": "2",
    "SCANIT_TYPE": "              FLOAT            MSBFIRST",
    "REC_DATE": " 03.02.2021",
    "REC_TIME": "14:05:06",
    "REC_TEMP": "      290.0000000000",
    "ACQ_TIME": "      12.0",
    "SCAN_TIME": "             2.001E+0             2.001E+0",
    "SCAN_RANGE": "           2.000000E-8           1.000000E-8",
    "SCAN_OFFSET": "             1.500000E-7         -2.500000E-8",
    "SCAN_ANGLE": "            3.000E+1",
    "SCAN_DIR": "down",
    "BIAS": "            -1.500E+0",
    "COMMENT": "first line\nsecond line",
    "Z-Controller>Setpoint": "30E-12",
    "Z-Controller>Setpoint unit": "A",
    "Scan>speed forw. (m/s)": "20E-9",
    "Scan>speed backw. (m/s)": "40E-9",
}


def write_sxm(
    path: Path, channels: dict[tuple[str, str, str], list[np.ndarray]], **header: str | None
) -> Path:
    """Write a scan.

    `channels` maps (name, unit, direction) to the images ``(y, x)`` as seen on the screen, one per
    direction, all of one shape; `header` overrides fields, None leaves one out.
    """
    fields = {key: value for key, value in (HEADER | header).items() if value is not None}
    ny, nx = next(iter(channels.values()))[0].shape
    fields["SCAN_PIXELS"] = f"       {nx}       {ny}"
    rows = ["\tChannel\tName\tUnit\tDirection\tCalibration\tOffset"]
    rows += [
        f"\t{n}\t{name}\t{unit}\t{way}\t1.000E+0\t0.000E+0" for n, (name, unit, way) in enumerate(channels)
    ]
    fields["DATA_INFO"] = "\n".join(rows) + "\n"
    text = "".join(f":{key}:\n{value}\n" for key, value in fields.items()) + ":SCANIT_END:\n\n\n"
    content = text.encode() + b"\x1a\x04"
    for (_, _, way), images in channels.items():
        for number, image in enumerate(images):
            backward = way == "backward" or number == 1
            stored = image[::-1] if fields.get("SCAN_DIR", "").strip() == "up" else image
            content += (stored[:, ::-1] if backward else stored).astype(">f4").tobytes()
    path.write_bytes(content)
    return path
