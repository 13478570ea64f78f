"""Tiny HDF5 files of the other layouts, written by hand as their programs do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np


def write_nexus(path: Path, signal: np.ndarray, axes: dict[str, tuple[Any, str]], **attributes: Any) -> Path:
    """Write one entry with a default plot: axes are name -> (positions, units) in array order."""
    with h5py.File(path, "w") as file:
        file.attrs.update(NX_class="NXroot", default="entry")
        entry = file.create_group("entry")
        entry.attrs.update(NX_class="NXentry", default="plot")
        entry["title"], entry["start_time"] = "a sample", "2021-03-04T05:06:07+01:00"
        plot = entry.create_group("plot")
        plot.attrs.update({"NX_class": "NXdata", "signal": "counts", "axes": list(axes), **attributes})
        plot["counts"] = signal
        for name, (positions, unit) in axes.items():
            plot[name] = positions
            plot[name].attrs["units"] = unit
    return path


def write_hyperspy(
    path: Path, signals: dict[str, tuple[np.ndarray, list[dict[str, Any]], dict[str, Any]]]
) -> Path:
    """Write signals: name -> (array, attributes of each axis, metadata tree of attributes)."""
    with h5py.File(path, "w") as file:
        file.attrs.update(file_format="HyperSpy", file_format_version="3.3")
        for name, (array, axes, metadata) in signals.items():
            group = file.create_group(f"Experiments/{name}")
            group["data"] = array
            for number, axis in enumerate(axes):
                group.create_group(f"axis-{number}").attrs.update({"size": array.shape[number], **axis})
            put(group.create_group("metadata"), metadata)
            put(group.create_group("original_metadata"), {"vendor": {"key": "value"}})
            group.create_group("learning_results")
    return path


def put(group: h5py.Group, tree: dict[str, Any]) -> None:
    """Write a tree as groups and attributes."""
    for key, said in tree.items():
        if isinstance(said, dict):
            put(group.require_group(key), said)
        else:
            group.attrs[key] = said


def write_emd1(
    path: Path, arrays: dict[str, tuple[np.ndarray, str, list[tuple[Any, str, str]]]], **calibration: Any
) -> Path:
    """Write an emdfile tree: name -> (array, python_class, [(two positions, name, units), ...])."""
    with h5py.File(path, "w") as file:
        file.attrs.update(
            emd_group_type="file", version_major=1, version_minor=0, authoring_program="emdfile"
        )
        root = file.create_group("experiment")
        root.attrs.update(emd_group_type="root", python_class="Root")
        if calibration:
            kept = root.create_group("metadatabundle/calibration")
            kept.attrs["emd_group_type"] = "metadata"
            for key, said in calibration.items():
                kept[key] = said
        for name, (array, kind, dimensions) in arrays.items():
            group = root.create_group(name)
            group.attrs.update(emd_group_type="array", python_class=kind)
            group["data"] = array
            for number, (positions, label, unit) in enumerate(dimensions):
                group[f"dim{number}"] = positions
                group[f"dim{number}"].attrs.update(name=label, **({"units": unit} if unit else {}))
    return path


def write_jpk(path: Path, frames: np.ndarray, *, multiplier: float = 1e-12) -> Path:
    """Write a movie ``(frame, y, x)`` of raw values, row 0 at the bottom, as trace and retrace."""
    count, height, width = frames.shape
    with h5py.File(path, "w") as file:
        measurement = file.create_group("Measurement_000")
        grid = "position-pattern.grid."
        measurement.attrs.update({
            f"{grid}ilength": width, f"{grid}jlength": height,
            f"{grid}ulength": 2e-6, f"{grid}vlength": 2e-6, "timing-settings.scanRate": 20.0,
        })  # fmt: skip
        for number, retrace in enumerate(("false", "true")):
            channel = measurement.create_group(f"Channel_{number:03d}")
            channel.attrs.update({
                "channel.name": "height", "retrace": retrace,
                "net-encoder.scaling.multiplier": multiplier, "net-encoder.scaling.offset": 1e-9,
                "net-encoder.scaling.unit.unit": "m",
            })  # fmt: skip
            channel["Height"] = frames.reshape(count, -1).T + number
    return path
