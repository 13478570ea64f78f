"""Tiny TIFF files with the private tags of microscope makers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import tifffile

FEI = """[User]\r
Date=02/13/2020\r
Time=09:23:51 PM\r
User=supervisor\r
[System]\r
SystemType=Quanta 3D FEG\r
[Beam]\r
HV=20000\r
Beam=EBeam\r
[EBeam]\r
HV=20000\r
WD=0.0083\r
BeamCurrent=4e-009\r
[Scan]\r
Dwelltime=3e-005\r
PixelWidth=5.8e-007\r
PixelHeight=5.9e-007\r
[Stage]\r
StageX=-0.005\r
StageR=1.5707963267948966\r
[Image]\r
ResolutionX=8\r
[Detectors]\r
Name=ETD\r
Mode=None\r
"""

ZEISS = "\r\n".join([
    "0", "0", "0", "5.932882e-07", "1.881884e+02", "6",
    "DP_DETECTOR_CHANNEL", "Signal A = InLens",
    "AP_PIXEL_SIZE", "Pixel Size = 1186.6 nm",
    "AP_IMAGE_PIXEL_SIZE", "Image Pixel Size = 593.3 nm",
    "AP_ACTUALKV", "EHT =  5.00 kV",
    "AP_MAG", "Mag =  10.03 K X",
    "AP_WD", "WD =  5.2 mm",
    "AP_STAGE_AT_T", "Stage at T =   2.0 \xb0",
    "AP_DATE", "Date: 11 Apr 2023", "AP_TIME", "Time: 8:40:47", "",
])  # fmt: skip

TESCAN_MAIN = (
    b"Date=2016-05-16\r\nDevice=MIRA3 XMU\r\nMagnification=108.08\r\n"
    b"PixelSizeX=2.5e-6\r\nPixelSizeY=2.6e-6\r\nTime=16:03:27\r\n"
)
TESCAN_SEM = b"Detector=SE\r\nHV=10000.0\r\nWD=0.01325\r\n"


def tescan() -> bytes:
    """The value of tag 50431: a thumbnail block and two blocks of text."""
    blocks = ((1, b"thumbnail"), (2, TESCAN_MAIN), (3, TESCAN_SEM))
    return b"".join(
        (len(payload) + 2).to_bytes(4, "little") + kind.to_bytes(2, "little") + payload
        for kind, payload in blocks
    )


def write(path: Path, pixels: np.ndarray, *, tags: dict[int, Any] | None = None, **options: Any) -> Path:
    """Write one TIFF; `tags` maps a private tag to text, bytes or a double."""
    extra = []
    for code, value in (tags or {}).items():
        if isinstance(value, str):
            extra.append((code, "s", 0, value.encode("latin-1"), True))
        elif isinstance(value, bytes):
            extra.append((code, "B", len(value), value, True))
        else:
            extra.append((code, "d", 1, value, True))
    options.setdefault("metadata", None)
    options.setdefault("photometric", "minisblack")
    tifffile.imwrite(path, pixels, extratags=extra, **options)
    return path
