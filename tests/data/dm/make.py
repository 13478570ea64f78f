"""Tiny DM3 and DM4 files, written after C. Boothroyd's description of the formats.

Tags are Python values: a dictionary is a group with names, a list a group without; text, numbers, and tuples
(structs) are what they look like; numpy arrays are arrays, ``Raw`` is one with a type of its own.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

# numpy dtype -> DataType tag
DATA_TYPES = {
    "int16": 1, "float32": 2, "complex64": 3, "uint8": 6, "int32": 7, "int8": 9, "uint16": 10, "uint32": 11,
    "float64": 12, "complex128": 13, "bool": 14, "int64": 39, "uint64": 40,
}  # fmt: skip

# numpy kind and size -> type word of a number
TYPE_WORDS = {
    "i2": 2,
    "i4": 3,
    "u2": 4,
    "u4": 5,
    "f4": 6,
    "f8": 7,
    "b1": 8,
    "i1": 9,
    "u1": 10,
    "i8": 11,
    "u8": 12,
}

MICROSCOPE = {
    "Voltage": 200000.0,
    "Indicated Magnification": 225000.0,
    "Illumination Mode": "STEM NANOPROBE",
    "Stage Position": {"Stage X": 12.5, "Stage Y": -3.0, "Stage Alpha": 10.0},
}
DATA_BAR = {"Acquisition Date": "27/08/2016", "Acquisition Time": "08:55:59 p.m.", "Device Name": "DigiScan"}


class Raw(NamedTuple):
    """An array as it stands in the file: type words and bytes."""

    words: tuple[int, ...]
    content: bytes


def axis(step: float = 1.0, unit: str = "", origin: float = 0.0) -> dict[str, Any]:
    return {"Origin": np.float32(origin), "Scale": np.float32(step), "Units": unit}


def image(pixels: np.ndarray, **more: Any) -> dict[str, Any]:
    """One entry of ImageList; `axes` fastest first: x, y, z."""
    return entry(pixels, DATA_TYPES[str(pixels.dtype)], pixels.shape[::-1], **more)


def entry(
    data: np.ndarray,
    data_type: int,
    dimensions: Any,
    *,
    axes: Any = None,
    name: str = "HAADF",
    tags: Any = None,
    brightness: dict[str, Any] | None = None,
) -> dict[str, Any]:
    return {
        "ImageData": {
            "Calibrations": {
                "Brightness": brightness or axis(),
                "Dimension": axes or [axis() for _ in dimensions],
            },
            "Data": data,
            "DataType": data_type,
            "Dimensions": [np.uint32(size) for size in dimensions],
            "PixelDepth": data.dtype.itemsize,
        },
        "ImageTags": {"GMS Version": {"Created": "2.3"}} if tags is None else tags,
        "Name": name,
    }


def colour(rgb: np.ndarray, *, name: str = "preview") -> dict[str, Any]:
    """A DataType 23 entry: 0x00RRGGBB for each pixel of a (..., y, x, 3) array."""
    red, green, blue = (rgb[..., sample].astype(np.int32) for sample in range(3))
    return entry(red << 16 | green << 8 | blue, 23, rgb.shape[-2::-1], name=name)


def half_plane(picture: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Fourier transform of a real image, origin in the middle, and the half that types 27 and 28 hold."""
    plane = np.fft.fftshift(np.fft.fft2(picture))
    half = plane[:, picture.shape[1] // 2 :]
    if picture.shape[1] % 2 == 0:
        half = np.hstack([half, plane[:, :1]])
    return plane, half


def write(
    path: Path,
    *images: dict[str, Any],
    version: int = 3,
    thumbnail: bool = True,
    order: str = "<",
    more: dict[str, Any] | None = None,
) -> Path:
    """Write a DM file; with `thumbnail`, entry 0 is an RGB preview as in every file of DigitalMicrograph."""
    preview = [colour(np.full((4, 4, 3), 128, np.uint8))] if thumbnail else []
    tree: dict[str, Any] = {"ImageList": [*preview, *images], "InImageMode": True}
    if thumbnail:
        tree["Thumbnails"] = [{"ImageIndex": 0}]
    path.write_bytes(document({**tree, **(more or {})}, version=version, order=order))
    return path


def document(tree: dict[str, Any], *, version: int = 3, order: str = "<") -> bytes:
    """Return a whole file with the given tags."""
    writer = _Writer(version, order)
    root = writer.entries(tree)
    length = struct.pack(">I" if version == 3 else ">Q", len(root))
    return struct.pack(">I", version) + length + struct.pack(">I", int(order == "<")) + root + bytes(8)


class _Writer(NamedTuple):
    version: int
    order: str

    def number(self, *values: int) -> bytes:
        return struct.pack(f">{len(values)}{'I' if self.version == 3 else 'Q'}", *values)

    def entries(self, tags: Any) -> bytes:
        """A group after its own length: sorted, open, number of entries, entries."""
        items = tags.items() if isinstance(tags, dict) else [("", value) for value in tags]
        return b"\x01\x00" + self.number(len(items)) + b"".join(self.named(*item) for item in items)

    def named(self, name: str, value: Any) -> bytes:
        raw = name.encode("latin-1")
        group = isinstance(value, dict | list)
        content = self.entries(value) if group else self.tag(value)
        length = struct.pack(">Q", len(content)) if self.version == 4 else b""
        return struct.pack(">BH", 20 if group else 21, len(raw)) + raw + length + content

    def tag(self, value: Any) -> bytes:
        words, content = self.value(value)
        return b"%%%%" + self.number(len(words), *words) + content

    def value(self, value: Any) -> tuple[tuple[int, ...], bytes]:
        if isinstance(value, Raw):
            return value
        if isinstance(value, str):
            value = np.frombuffer(value.encode("utf-16-le"), np.uint16)
        if isinstance(value, tuple):
            parts = [self.value(item) for item in value]
            fields = [word for words, _content in parts for word in (0, words[0])]
            return (15, 0, len(parts), *fields), b"".join(content for _words, content in parts)
        if isinstance(value, np.ndarray) and value.dtype.kind == "c":  # pairs of real numbers
            value = np.ascontiguousarray(value).view(f"f{value.dtype.itemsize // 2}")
        plain = np.asarray(np.int32(value) if type(value) is int else value)
        stored = plain.astype(plain.dtype.newbyteorder(self.order))
        word = TYPE_WORDS[f"{plain.dtype.kind}{plain.dtype.itemsize}"]
        return ((20, word, plain.size) if isinstance(value, np.ndarray) else (word,)), stored.tobytes()
