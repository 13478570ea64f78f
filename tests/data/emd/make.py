"""Tiny Velox and NCEM EMD files, laid out as the two programs do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np


def velox_metadata(*, mode: str = "2", unit: str = "m", step: float = 1e-9) -> dict[str, Any]:
    """The keys of Velox's JSON that carry calibration and settings; numbers are texts there."""
    return {
        "Instrument": {"Manufacturer": "FEI Company", "InstrumentModel": "Titan"},
        "Acquisition": {"AcquisitionStartDatetime": {"DateTime": "1596041299"}},
        "Optics": {
            "AccelerationVoltage": "300000",
            "NominalMagnification": "26996.3" if mode == "1" else "0",
            "Defocus": "-1e-6",
            "OperatingMode": mode,
            "ProjectorMode": "2" if mode == "1" else "1",
            "CameraLength": "0.3",
        },
        "Scan": {"DwellTime": "1e-05"},
        "Detectors": {"Detector-0": {"DetectorName": "HAADF", "ExposureTime": "0.4"}},
        "BinaryResult": {
            "Detector": "HAADF",
            "DetectorIndex": "0",
            "PixelSize": {"width": str(step), "height": str(2 * step)},
            "Offset": {"x": "0", "y": "0"},
            "PixelUnitX": unit,
            "PixelUnitY": unit,
        },
        "CustomProperties": {"StemMagnification": {"type": "double", "value": "7100"}},
    }


def write_velox(path: Path, images: dict[str, tuple[np.ndarray, Any]]) -> Path:
    """Write images: key -> ((y, x, frame) pixels, metadata dictionary or raw text)."""
    with h5py.File(path, "w") as file:
        file["Application/Velox/DisplayLayout"] = "layout"
        for key, (pixels, metadata) in images.items():
            group = file.create_group(f"Data/Image/{key}")
            group["Data"] = pixels
            written = metadata if isinstance(metadata, bytes) else json.dumps(metadata).encode()
            block = np.zeros((6000, pixels.shape[2]), np.uint8)
            block[: len(written)] = np.frombuffer(written, np.uint8)[:, None]
            group["Metadata"] = block
    return path


def write_ncem(path: Path, datasets: dict[str, tuple[np.ndarray, list[tuple[str, str, Any]]]]) -> Path:
    """Write data groups: name -> (array, [(dimension name, unit, positions), ...])."""
    with h5py.File(path, "w") as file:
        file.attrs["version_major"], file.attrs["version_minor"] = 0, 2
        file.create_group("microscope").attrs["voltage"] = "300kV"
        for name, (array, dimensions) in datasets.items():
            group = file.create_group(f"data/{name}")
            group.attrs["emd_group_type"] = 1
            group["data"] = array
            for number, (label, unit, positions) in enumerate(dimensions, start=1):
                dimension = group.create_dataset(f"dim{number}", data=positions)
                dimension.attrs["name"], dimension.attrs["units"] = np.bytes_(label), np.bytes_(unit.encode())
    return path
