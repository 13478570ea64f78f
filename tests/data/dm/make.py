"""Tiny DM3 and DM4 files, written by the writer of nionswift-io."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from nionswift_plugin.DM_IO import parse_dm3

# numpy dtype -> DataType tag
DATA_TYPES = {"int16": 1, "float32": 2, "int32": 7, "uint16": 10, "uint32": 11, "float64": 12}

MICROSCOPE = {
    "Voltage": 200000.0,
    "Indicated Magnification": 225000.0,
    "Illumination Mode": "STEM NANOPROBE",
    "Stage Position": {"Stage X": 12.5, "Stage Y": -3.0, "Stage Alpha": 10.0},
}
DATA_BAR = {"Acquisition Date": "27/08/2016", "Acquisition Time": "08:55:59 p.m.", "Device Name": "DigiScan"}


def axis(step: float = 1.0, unit: str = "", origin: float = 0.0) -> dict[str, Any]:
    return {"Origin": origin, "Scale": step, "Units": unit}


def image(
    pixels: np.ndarray, *, axes: list[dict[str, Any]] | None = None, name: str = "HAADF", tags: Any = None
) -> dict[str, Any]:
    """One entry of ImageList; `axes` fastest first: x, y, z."""
    return entry(pixels, DATA_TYPES[str(pixels.dtype)], pixels.shape[::-1], axes=axes, name=name, tags=tags)


def entry(
    data: np.ndarray,
    data_type: int,
    dimensions: Any,
    *,
    axes: Any = None,
    name: str = "HAADF",
    tags: Any = None,
) -> dict[str, Any]:
    return {
        "ImageData": {
            "Calibrations": {"Dimension": axes or [axis() for _ in dimensions]},
            "Data": parse_dm3.DataChunkWriter(data),
            "DataType": data_type,
            "Dimensions": [int(size) for size in dimensions],
        },
        "ImageTags": {"GMS Version": {"Created": "2.3"}} if tags is None else tags,
        "Name": name,
    }


def colour(rgb: np.ndarray, *, name: str = "preview") -> dict[str, Any]:
    """A DataType 23 entry: B, G, R and an unused byte for each pixel of an (y, x, 3) array."""
    packed = np.zeros((*rgb.shape[:2], 4), np.uint8)
    packed[..., :3] = rgb[..., ::-1]
    return entry(packed.view(np.int32)[..., 0], 23, rgb.shape[1::-1], name=name)


def write(path: Path, *images: dict[str, Any], version: int = 3, thumbnail: bool = True) -> Path:
    """Write a DM file; with `thumbnail`, entry 0 is an RGB preview as in every file of DigitalMicrograph."""
    preview = [colour(np.full((4, 4, 3), 128, np.uint8))] if thumbnail else []
    tree = {"ImageList": [*preview, *images], "InImageMode": True}
    if thumbnail:
        tree["Thumbnails"] = [{"ImageIndex": 0}]
    with path.open("wb+") as stream:
        parse_dm3.dm_write_header(stream, version, tree)
    return path
