"""Writes tiny Omicron MATRIX sessions: a parameter file and the data files that it names."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

UNTIMED = ("XFER", "SCAN", "DICT", "CHCS", "INST", "CNXS", "GENL")
NAME = "2021 Feb, #3"
TIME = 1612361106  # 2021-02-03 14:05:06 UTC

ELEMENTS: dict[str, dict[str, tuple[object, str]]] = {
    "GapVoltageControl": {"Voltage": (-1.5, "Volt"), "Preamp_Range": ("-1;1", "--")},
    "Regulator": {"Setpoint_1": (3e-11, "Ampere")},
    "XYScanner": {
        "Points": (4, "Count"), "Lines": (3, "Count"), "Width": (2e-8, "Meter"), "Height": (3e-8, "Meter"),
        "X_Retrace": (True, "--"), "Y_Retrace": (True, "--"), "Scan_Constraint": (0, "--"),
        "Raster_Time": (0.01, "Second"), "Angle": (30, "Degree"), "X_Offset": (1e-7, "Meter"),
        "Y_Offset": (-2.5e-8, "Meter"),
    },
}  # fmt: skip
LINEAR = ("TFF_Linear1D", {"Factor": 1e9, "Offset": 5.0})
MULTI = (
    "TFF_MultiLinear1D",
    {"NeutralFactor": 4e12, "Offset": 3.0, "PreFactor": 1.25, "PreOffset": -0.5, "Raw_1": 2.0},
)


def text(value: str) -> bytes:
    return struct.pack("<I", len(value)) + value.encode("utf-16-le")


def value(written: object) -> bytes:
    if isinstance(written, bool):
        return b"LOOB" + struct.pack("<I", written)
    if isinstance(written, int):
        return b"GNOL" + struct.pack("<i", written)
    if isinstance(written, float):
        return b"BUOD" + struct.pack("<d", written)
    return b"GRTS" + text(str(written))


def block(name: str, content: bytes) -> bytes:
    time = b"" if name in UNTIMED else struct.pack("<II", TIME, 0)
    return name[::-1].encode() + struct.pack("<I", len(content)) + time + content


def elements(tree: Mapping[str, Mapping[str, tuple[object, str]]]) -> bytes:
    content = bytes(4) + struct.pack("<I", len(tree))
    for instance, properties in tree.items():
        content += text(instance) + struct.pack("<I", len(properties))
        for name, (written, unit) in properties.items():
            content += text(name) + text(unit) + bytes(4) + value(written)
    return block("EEPA", content)


def change(key: str, written: object, unit: str) -> bytes:
    instance, name = key.split(".")
    return block(
        "PMOD", bytes(4) + text(instance) + text(name) + text(unit) + bytes(4) + value(written) + bytes(4)
    )


def mark(written: str) -> bytes:
    return block("MARK", text(written))


def channels(known: Mapping[str, tuple[str, tuple[str, Mapping[str, object]]]]) -> bytes:
    """Return a CCSY block: channel name -> (unit, (function, constants)); numbers count from 40."""
    names, transfers = b"", b""
    for number, (name, (unit, (function, constants))) in enumerate(known.items(), 40):
        names += struct.pack("<4I", 0, number, 0, 0) + text(name) + text(unit)
        transfers += struct.pack("<II", 0, number) + text(function) + text(unit)
        transfers += struct.pack("<I", len(constants))
        transfers += b"".join(text(key) + value(constant) for key, constant in constants.items())
    devices = struct.pack("<I", 1) + bytes(16) + text("Default::XYScanner::X") + text("triangular")
    dictionary = bytes(8) + devices + struct.pack("<I", len(known)) + names + bytes(4)
    return block(
        "CCSY", bytes(4) + block("DICT", dictionary) + block("SCAN", bytes(50)) + block("XFER", transfers)
    )


def reference(name: str) -> bytes:
    return block("BREF", bytes(4) + text(name))


CHANNELS = {"Z": ("m", LINEAR), "I": ("A", MULTI)}
START = (
    block("META", text("MATRIX") + text("V3.1") + bytes(4) + text("default") + text("ana"))
    + block("EXPD", bytes(4) + text("STM_Basic") + text("v1"))
    + elements(ELEMENTS)
    + mark("MTRX$SAMPLE_NAME-Au(111)")
    + mark("Instrument information: none")
    + channels(CHANNELS)
)


def write_parameters(path: Path, blocks: bytes, *, start: bytes = START) -> Path:
    path.write_bytes(b"ONTMATRX0101" + start + blocks + block("EOED", b""))
    return path


def write_data(path: Path, counts: np.ndarray | Sequence[int], *, asked: int | None = None) -> Path:
    """Write the points that were taken, in the order of acquisition."""
    points = np.asarray(counts, dtype="<i4").ravel()
    asked = points.size if asked is None else asked
    description = bytes(20) + struct.pack("<II", asked, points.size) + text("SI32")
    description += struct.pack("<III", 1, 0, asked)
    inner = bytes(4) + b"CSED" + struct.pack("<I", len(description)) + description
    inner += b"ATAD" + struct.pack("<I", points.nbytes) + points.tobytes()
    path.write_bytes(b"ONTMATRX0101TLKB" + struct.pack("<III", len(inner), TIME, 0) + inner)
    return path


def write_session(
    folder: Path,
    counts: np.ndarray,
    *,
    channel: str = "Z",
    blocks: bytes = b"",
    asked: int | None = None,
    start: bytes = START,
) -> Path:
    """Write a data file and its parameter file, `blocks` before the data file is named; return the former."""
    path = write_data(folder / f"{NAME}--7_12.{channel}_mtrx", counts, asked=asked)
    write_parameters(folder / f"{NAME}_0001.mtrx", blocks + reference(path.name), start=start)
    return path


def acquired(up: np.ndarray, down: np.ndarray | None = None, *, retrace: bool = True) -> np.ndarray:
    """Return the points of images (y, x) as seen in the order in which the scanner takes them.

    The backward image is the forward one plus 100.
    """
    lines = [*up[::-1], *(down if down is not None else ())]
    return np.concatenate([np.concatenate([line, line[::-1] + 100] if retrace else [line]) for line in lines])
