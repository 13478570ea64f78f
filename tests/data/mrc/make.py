"""Tiny MRC files, written by mrcfile, and the headers and texts that go with them."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import mrcfile
import numpy as np
from mrcfile.dtypes import get_ext_header_dtype


def write(path: Path, pixels: np.ndarray, *, voxel: float | None = 2.0, volume: bool = False) -> Path:
    """Write an image, a stack or a volume; `voxel` [angstrom], None for an unset cell."""
    with mrcfile.new(path, overwrite=True) as file:
        file.set_data(pixels)
        if pixels.ndim == 3 and not volume:
            file.set_image_stack()
        file.voxel_size = 0.0 if voxel is None else voxel
    return path


def big_endian(path: Path, pixels: np.ndarray, *, stamp: bytes = b"\x11\x11\0\0") -> Path:
    """Write an image as a big-endian machine does; `stamp` names the byte order."""
    rows, columns = pixels.shape
    head = bytearray(1024)
    struct.pack_into(
        ">10i3f", head, 0, columns, rows, 1, 6, 0, 0, 0, columns, rows, 1, columns * 3.0, rows * 3.0, 0
    )
    struct.pack_into(">3i", head, 64, 1, 2, 3)
    head[208:216] = b"MAP " + stamp
    path.write_bytes(bytes(head) + pixels.astype(">u2").tobytes())
    return path


def extend(path: Path, kind: bytes, content: bytes) -> Path:
    """Insert an extended header."""
    whole = bytearray(path.read_bytes())
    struct.pack_into("<i", whole, 92, len(content))
    whole[104:108] = kind.ljust(4, b"\0")
    path.write_bytes(bytes(whole[:1024]) + content + bytes(whole[1024:]))
    return path


# Field -> mask and bit, for the fields of the tests, counted by hand in the specification of FEI.
_BITS = {
    "Timestamp": (1, 0), "Microscope type": (1, 1), "HT": (1, 5), "Alpha tilt": (1, 7), "X-Stage": (1, 9),
    "Pixel size X": (1, 14), "Pixel size Y": (1, 15), "Defocus": (1, 22), "Instrument mode": (1, 25),
    "Projection mode": (1, 26), "Magnification": (1, 31), "Camera length": (2, 0),
    "Integration time": (2, 16), "Camera name": (2, 19), "STEM Detector name": (3, 7), "Dwell time": (3, 15),
    "Scan rotation": (4, 2), "Acquisition time stamp": (4, 6),
}  # fmt: skip


def fei(
    kind: bytes, images: list[dict[str, Any]], *, unset: tuple[str, ...] = (), size: int | None = None
) -> bytes:
    """Return the records of an FEI extended header, one per image; the bits of `unset` fields are not set.

    `size` enlarges the records, as later versions do.
    """
    layout = get_ext_header_dtype(kind, "<")
    content = b""
    for image in images:
        record = np.zeros(1, layout)
        record["Metadata size"] = size or layout.itemsize
        record["Metadata version"] = 2 if kind == b"FEI2" else 0
        for name, value in image.items():
            record[name] = value
            if name not in unset:
                mask, bit = _BITS[name]
                record[f"Bitmask {mask}"] |= np.uint32(1 << bit)
        content += record.tobytes().ljust(size or 0, b"\xff")
    return content


def old_fei(images: list[dict[str, float]]) -> bytes:
    """Return FEI's older extended header: always 1024 records of 128 bytes."""
    names = (
        "a_tilt", "b_tilt", "x_stage", "y_stage", "z_stage", "x_shift", "y_shift", "defocus", "exp_time",
        "mean_int", "tilt_axis", "pixel_size", "magnification",
    )  # fmt: skip
    records = [
        struct.pack("<13f", *(image.get(name, 0.0) for name in names)).ljust(128, b"\0") for image in images
    ]
    return b"".join(records).ljust(1024 * 128, b"\0")


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

MDOC = """PixelSpacing = 6.5
Voltage = 300
ImageFile = tilt.mrc
ImageSize = 6 5
DataMode = 1

[T = SerialEM: Digitized on a Krios   25-Mar-21  16:59:53]

[T =     Tilt axis angle = -86.7, binning = 1  spot = 7  camera = 1]

"""
SECTION = """[ZValue = {number}]
TiltAngle = {tilt}
StagePosition = 919.141 -849.945
StageZ = 54.986
Magnification = 33000
SpotSize = 7
Defocus = -3.5
ExposureTime = 1.25
DateTime = 25-Mar-21  17:00:4{number}

"""
