"""Tiny files of formats that RosettaSciIO reads, laid out as their programs do."""

from __future__ import annotations

import struct
import zipfile
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np


def write_merlin(path: Path, frames: np.ndarray, *, per_trigger: int | None = None) -> Path:
    """Write uint16 frames ``(n, y, x)``, row 0 at the top of the shown image, and a .hdr if `per_trigger`."""
    count, height, width = frames.shape
    content = b""
    for number, frame in enumerate(frames, start=1):
        head = (
            f"MQ1,{number:06d},00384,01,{width:04d},{height:04d},U16,   1x1,01,2021-04-15 14:43:24.7,0.001,"
            f"0,0,0,1.2E2,{'0,' * 20}MQ1A,2021-04-15T13:43:{24 + number % 30}.703250151Z,1000000ns,12,"
        )
        content += head.encode().ljust(384, b" ") + frame[::-1].astype(">u2").tobytes()
    path.write_bytes(content)
    if per_trigger is not None:
        header = [
            "HDR,\t",
            f"Frames in Acquisition (Number):\t{count}",
            f"Frames per Trigger (Number):\t{per_trigger}",
        ]
        path.with_suffix(".hdr").write_text("\n".join([*header, "End\t"]))
    return path


def write_tvips(path: Path, frames: np.ndarray, *, mode: int = 1, sign: bytes = b"TVIPS ") -> Path:
    """Write uint16 frames ``(n, y, x)`` a second apart; mode 1 is imaging, 2 diffraction."""
    _, height, width = frames.shape
    head = struct.pack("<13I", 256, 2, width, height, 16, 0, 0, 1, 1, 15600, 200, 5000, 60)
    content = head + (sign * 40)[:204]
    for number, frame in enumerate(frames):
        content += struct.pack(
            "<4If2I5fI2f", number, 1_600_000_000 + number, 0, 0, 0.0, 5000, mode, *[1.0] * 5, 0, 0.0, 0.0
        )
        content += frame.astype("<u2").tobytes()
    path.write_bytes(content)
    return path


def write_prz(path: Path, array: np.ndarray, *, packed: bool) -> Path:
    """Write an image of Panta Rhei, whose archive is packed or not."""
    method = zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED
    calibration = {"value": 2e-9, "unit": "m", "offset": 0.0}
    described = {"type": "2D", "device.calib": [calibration] * array.ndim, "acquisition.date": "2020-01-02"}
    members: dict[str, Any] = {
        "data": array,
        "meta_data": np.array(["{}"]),
        "meta_data_json": np.array(__import__("json").dumps([described])),
    }
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, value in members.items():
            block = BytesIO()
            np.save(block, value)
            archive.writestr(f"{name}.npy", block.getvalue())
    return path


def write_ripple(path: Path, array: np.ndarray, *, record_by: str = "dont-care") -> Path:
    """Write uint16 pixels ``(y, x)``: the text and the .raw beside it."""
    height, width = array.shape[-2:]
    lines = {
        "width": width, "height": height, "depth": 1, "offset": 0, "data-length": 2, "data-type": "unsigned",
        "byte-order": "little-endian", "record-by": record_by, "width-scale": 0.5, "width-units": "nm",
        "width-name": "x", "height-scale": 0.25, "height-units": "nm", "height-name": "y",
    }  # fmt: skip
    path.write_text("key\tvalue\n" + "".join(f"{key}\t{said}\n" for key, said in lines.items()))
    path.with_suffix(".raw").write_bytes(array.astype("<u2").tobytes())
    return path


def write_empad(path: Path, scan: tuple[int, int], *, raw: str = "scan_x3_y2.raw") -> np.ndarray:
    """Write a 4-D scan of 128 x 128 patterns with two lines of footer, and return the patterns."""
    rows, columns = scan
    patterns = np.zeros((rows, columns, 130, 128), "<f4")
    patterns[:, :, :128] = np.arange(rows * columns, dtype=np.float32).reshape(rows, columns, 1, 1)
    path.write_text(
        f'<root><raw_file filename="{raw}"/><pix_x>{columns}</pix_x><pix_y>{rows}</pix_y>'
        "<timestamp isoformat='2020-01-02T03:04:05'/></root>"
    )
    if "/" not in raw:
        (path.parent / raw).write_bytes(patterns.tobytes())
    return patterns[:, :, :128]


def write_sfs(path: Path, parents: list[int]) -> Path:
    """Write the container of a Bruker composite: a table of folders, each naming its parent."""
    block = bytearray(4096 * 4)
    block[:8] = b"AAMVHFSS"
    struct.pack_into("<fI", block, 0x124, 2.6, 4096)
    struct.pack_into("<III", block, 0x140, 1, len(parents), 4)
    for number, parent in enumerate(parents):
        place = 4096 + 0x138 + number * 0x200
        struct.pack_into("<iQQQQIi", block, place, -1, 0, 0, 0, 0, 0, parent)
        block[place + 220] = 1
        block[place + 224 : place + 225] = bytes([65 + number])
    path.write_bytes(bytes(block))
    return path
