"""Tiny TIA files as the program writes them: series of images or spectra (.ser), and the .emi beside them."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

NUMBERS = {"u1": 1, "u2": 2, "u4": 3, "i1": 4, "i2": 5, "i4": 6, "f4": 7, "f8": 8, "c8": 9, "c16": 10}
TIME, POSITION = 0x4152, 0x4142
REPEATS = (0.0, 1.0, 0, "Number", "")  # of a dimension: offset, step, element, description, unit


def write_ser(
    path: Path,
    elements: list[np.ndarray],
    *,
    version: int = 0x0210,
    step: tuple[float, float] = (5e-9, 4e-9),
    dimensions: list[tuple[int, tuple[float, float, int, str, str]]] | None = None,
    times: list[int] | None = None,
    positions: list[tuple[float, float]] | None = None,
    planned: int | None = None,
) -> Path:
    """Write a series.

    `elements` are images as seen (top row first) or spectra; `step` is that of x and y; `dimensions` hold
    the fastest first; `times` [s since 1970] and `positions` are the tags.
    """
    spectra = bool(elements) and elements[0].ndim == 1
    offset = "I" if version == 0x0210 else "Q"
    dimensions = [(len(elements), REPEATS)] if dimensions is None else dimensions
    times = [1456073345] * len(elements) if times is None else times
    tag_type = POSITION if positions else TIME
    head = struct.pack(
        "<3H4I", 0x4949, 0x0197, version, 0x4120 if spectra else 0x4122, tag_type,
        len(elements) if planned is None else planned, len(elements),
    )  # fmt: skip
    described = b"".join(_dimension(size, rest) for size, rest in dimensions)
    table = len(head) + struct.calcsize(f"<{offset}I") + len(described)
    at = table + 2 * len(elements) * struct.calcsize(f"<{offset}")
    body, places, tags = b"", [], []
    for number, element in enumerate(elements):
        places.append(at + len(body))
        body += _element(element, step)
        tags.append(at + len(body))
        body += struct.pack("<2I", tag_type, times[number])
        body += struct.pack("<2d", *positions[number]) if positions else b""
    head += struct.pack(f"<{offset}I", table, len(dimensions)) + described
    path.write_bytes(head + struct.pack(f"<{2 * len(elements)}{offset}", *places, *tags) + body)
    return path


def _dimension(size: int, rest: tuple[float, float, int, str, str]) -> bytes:
    offset, step, element, description, unit = rest
    words = struct.pack("<I2d2I", size, offset, step, element, len(description)) + description.encode()
    return words + struct.pack("<I", len(unit)) + unit.encode()


def _element(element: np.ndarray, step: tuple[float, float]) -> bytes:
    number = NUMBERS[element.dtype.str[1:]]
    stored = element.astype(element.dtype.newbyteorder("<"))
    if element.ndim == 1:
        return struct.pack("<2dIHI", 0.0, 0.2, 0, number, len(element)) + stored.tobytes()
    rows, columns = element.shape
    x, y = ((-delta * size / 2, delta, 0) for delta, size in zip(step, (columns, rows), strict=True))
    words = struct.pack("<2dI2dIH2I", *x, *y, number, columns, rows)
    return words + stored[::-1].tobytes()


TEM = {"Mode": (" TEM uP SA Zoom Image", ""), "Magnification": ("19500", "x")}
DIFFRACTION = {"Mode": (" TEM uP SA Zoom Diffraction", ""), "Camera length": ("0.490", "m")}
STEM = {
    "Mode": (" STEM nP SA Zoom Diffraction", ""), "Magnification": ("10000", "x"),
    "Camera length": ("0.040", "m"), "Stem rotation": ("12.5", "deg"),
}  # fmt: skip
COMMON = {
    "Microscope": ("Microscope Tecnai 200 kV D2267 SuperTwin", ""), "User": ("ERIC", ""),
    "High tension": ("200", "kV"), "Emission": ("4.50", "uA"), "Defocus": ("-0.250", "um"),
    "Spot size": ("2", ""),
    "Stage X": ("-161.5", "um"), "Stage Y": ("0.018", "um"), "Stage Z": ("0.000", "um"),
    "Stage A": ("-1.50", "deg"), "Stage B": ("0.25", "deg"), "OBJ Aperture": ("retracted", ""),
}  # fmt: skip
CAMERA = {"DwellTimePath": "0.062500", "CameraNamePath": "WA-Orius", "Binning": "4"}
DETECTOR = {"Magnification": "10000 X", "DwellTimePath": "0.000010", "FrameTime": "0.003072"}


def object_info(
    described: dict[str, tuple[str, str]],
    acquired: dict[str, str] | None = None,
    *,
    date: str | None = "Sun Feb 21 17:50:18 2016",
) -> bytes:
    """Return the XML of one object."""
    data = "".join(
        f"<Data><Label>{label}</Label><Value>{value}</Value><Unit>{unit}</Unit></Data>"
        for label, (value, unit) in (COMMON | described).items()
    )
    info = "".join(f"<{key}>{value}</{key}>" for key, value in (acquired or CAMERA).items())
    written = (
        "<ObjectInfo><Uuid>bf249a1f</Uuid><ExperimentalConditions><MicroscopeConditions><AcceleratingVoltage>"
        "200000</AcceleratingVoltage></MicroscopeConditions></ExperimentalConditions><ExperimentalDescription>"
        f"<Root>{data}</Root>\n\t</ExperimentalDescription>"
        "<TrueImageHeaderInfo>&lt;Root&gt;&lt;/Root&gt;</TrueImageHeaderInfo>"
        f"{f'<AcquireDate>{date}</AcquireDate>' if date else ''}<AcquireInfo>{info}</AcquireInfo>"
        "<Manufacturer>FEI</Manufacturer></ObjectInfo>"
    )
    return written.encode()


def write_emi(path: Path, objects: list[tuple[int | None, bytes]], *, gap: int = 300) -> Path:
    """Write an .emi: for each object the number of its .ser (None: a picture of its own) and its XML."""
    content = b"JK\x00\x02\x00\x00\x00\x00\x04M\x01\x00"
    for number, xml in objects:
        name = f"C:\\data\\original_{number}.ser".encode() if number is not None else b"Real Space"
        content += bytes(gap) + name + b"2\x00B\x04\x02\x00`\x00\x19\x04" + struct.pack("<I", len(xml)) + xml
    path.write_bytes(content + bytes(50))
    return path
