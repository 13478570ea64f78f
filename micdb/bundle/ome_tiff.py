"""OME-TIFF: what ImageJ, Fiji, QuPath, napari and everything with Bio-Formats opens.

After the OME model 2016-06. It knows lengths along X, Y and Z and time along T, and nothing else: a step
of another kind (1/nm of a diffraction pattern, the scan positions of a 4-D one) is left out there and
stands in the annotations, so that it is unknown to a viewer rather than wrong.

References
----------
https://docs.openmicroscopy.org/ome-model/latest/ome-tiff/specification.html
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from micdb.bundle.form import Folder, Form, Written
from micdb.bundle.image import StoredImage
from micdb.provenance import package_version
from micdb.records import Axis

# Units of length that OME spells, by ours; every other length becomes nm.
_LENGTHS = {"nm": "nm", "um": "µm", "pm": "pm", "mm": "mm", "angstrom": "Å"}
_TYPES = ("int8", "int16", "int32", "uint8", "uint16", "uint32", "float32", "float64")  # of OME and TIFF
_PLANES = {"complex64": "float32", "complex128": "float64"}  # complex: two channels of this type
_BIG = (1 << 32) - (1 << 26)  # [byte] of pixels; more needs 64-bit offsets, which fewer programs read
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # XML 1.0, section 2.2


class _Layout(NamedTuple):
    """How the array stands in the file.

    Parameters
    ----------
    letters, shape
        tifffile's letter and the size of each dimension.
    dtype
        Type in the file.
    planes
        Turns one frame into its planes.
    """

    letters: str
    shape: tuple[int, ...]
    dtype: str
    planes: Callable[[np.ndarray], Sequence[np.ndarray]]


class OmeTiff(Form):
    """One file per image, written frame by frame."""

    name = "ome-tiff"

    def files(self, stem: str, n_frames: int) -> list[str]:  # noqa: ARG002
        """Return one name: a stack is one file."""
        return [f"{stem}.ome.tif"]

    def refusal(self, image: StoredImage) -> str | None:
        """Refuse 64-bit integers beyond 32 bits, which OME has no type for."""
        if _stored_type(image) is None:
            return f"OME-TIFF has no type for {image.dtype} values beyond 32 bits; export as nexus"
        return None

    def write(self, image: StoredImage, names: Sequence[str], folder: Folder) -> Written:
        """Write the image and its OME-XML."""
        import tifffile

        layout = _layout(image)
        notes: list[str] = []
        metadata = {"axes": layout.letters, **_metadata(image, notes)}
        size = math.prod(layout.shape) * np.dtype(layout.dtype).itemsize
        kind: dict[str, Any] = {"photometric": "rgb" if image.colour else "minisblack"}
        if image.colour and image.axes[-1].size == 4:
            kind["extrasamples"] = ["unassalpha"]
        with folder.new(names[0]) as path, tifffile.TiffWriter(path, bigtiff=size > _BIG, ome=True) as file:
            file.write(
                _planes(image, layout), shape=layout.shape, dtype=layout.dtype, metadata=metadata,
                software=f"micdb {package_version()}", **kind,
            )  # fmt: skip
        return Written(image, tuple(names), tuple(notes))


def _stored_type(image: StoredImage) -> str | None:
    dtype = image.dtype
    if dtype in _PLANES:
        return _PLANES[dtype]
    if dtype in ("bool", "float16"):
        return {"bool": "uint8", "float16": "float32"}[dtype]  # both without loss
    if dtype in ("int64", "uint64") and image.intensity_range is not None:
        low, high = image.intensity_range
        for name in ("uint32", "int32"):
            if np.iinfo(name).min <= low <= high <= np.iinfo(name).max:
                return name
        return None
    return dtype if dtype in _TYPES else None


def _layout(image: StoredImage) -> _Layout:
    letters, sizes = _leading(image.frame_axes)
    dtype = _stored_type(image) or image.dtype
    frame = image.shape[len(image.frame_axes) :]
    if image.dtype in _PLANES:
        return _Layout(f"{letters}CYX", (*sizes, 2, *frame), dtype, lambda one: (one.real, one.imag))
    return _Layout(f"{letters}YX{'S' if image.colour else ''}", (*sizes, *frame), dtype, lambda one: (one,))


def _leading(axes: Sequence[Axis]) -> tuple[str, tuple[int, ...]]:
    """Return letters and sizes of the leading axes; all but time and z are flattened to T."""
    known = {"time": "T", "z": "Z"}
    if all(axis.name in known for axis in axes):
        return "".join(known[axis.name] for axis in axes), tuple(axis.size for axis in axes)
    return "T", (math.prod(axis.size for axis in axes),)


def _planes(image: StoredImage, layout: _Layout) -> Iterator[np.ndarray]:
    for frame in image.frames():
        for plane in layout.planes(frame):
            yield np.ascontiguousarray(plane, dtype=layout.dtype)


def _metadata(image: StoredImage, notes: list[str]) -> dict[str, Any]:
    parts = ("real", "imaginary") if image.dtype in _PLANES else ("",)
    channel = image.channel or ""
    described: dict[str, Any] = {
        "Creator": f"micdb {package_version()}",
        "UUID": image.uid,
        "Name": _text(image.name),
        "MapAnnotation": _maps(image),
        "CommentAnnotation": {
            "Namespace": "micdb.original_metadata",
            "Value": _text(json.dumps(image.original(), ensure_ascii=False)),
        },
        **_steps(image, notes),
    }
    channels = [_text(f"{channel} {part}".strip()) for part in parts]
    if all(channels):
        described["Channel"] = {"Name": channels}
    # xsd:dateTime may go without a zone, but not without a time.
    if image.acquired is not None and "T" in image.acquired:
        described["AcquisitionDate"] = image.acquired
    if image.operator is not None:
        described["Experimenter"] = {"UserName": _text(image.operator)}
    return described


def _steps(image: StoredImage, notes: list[str]) -> dict[str, Any]:
    found = _length("PhysicalSizeX", image.axis("x"), notes)
    found |= _length("PhysicalSizeY", image.axis("y"), notes)
    letters, sizes = _leading(image.frame_axes)
    if len(sizes) < len(image.frame_axes):
        flat = ", ".join(axis.name for axis in image.frame_axes)
        notes.append(f"the axes {flat} stand one after the other along T: OME has no place for them")
        return found
    for letter, axis in zip(letters, image.frame_axes, strict=True):
        if letter == "Z":
            found |= _length("PhysicalSizeZ", axis, notes)
        elif step := axis.step_in("s"):
            found |= {"TimeIncrement": step, "TimeIncrementUnit": "s"}
        elif axis.calibrated:
            notes.append(f"the step along {axis.name} is left out: OME has no unit {axis.unit} along T")
    return found


def _length(key: str, axis: Axis, notes: list[str]) -> dict[str, Any]:
    unit = axis.unit if axis.unit in _LENGTHS else "nm"
    step = axis.step_in(unit)
    if step:
        return {key: step, f"{key}Unit": _LENGTHS[unit]}
    if axis.calibrated:
        notes.append(f"the step along {axis.name} is left out: OME has no unit {axis.unit}")
    return {}


def _maps(image: StoredImage) -> list[dict[str, Any]]:
    """Return what has no element of its own: settings, how they were written, axes, identity."""
    about = {
        "uid": image.uid,
        "acquired": image.acquired,
        "modality": image.modality,
        "channel": image.channel,
        "intensity_unit": image.intensity_unit,
        "dtype": image.dtype,
        "sample": image.sample,
        "licence": image.licence,
        "original_file": image.source["file_name"],
        "original_sha256": image.source["sha256"],
    }
    said = image.settings.items()
    maps = {
        "settings": {name: f"{one.value} {one.unit or ''}".strip() for name, one in said},
        "raw": {name: one.raw for name, one in said if one.raw is not None},
        "axes": {axis.name: _shown(axis) for axis in image.axes},
        "image": {name: value for name, value in about.items() if value is not None},
    }
    return [
        {"Namespace": f"micdb.{name}", "Value": {key: _text(str(value)) for key, value in pairs.items()}}
        for name, pairs in maps.items()
        if pairs
    ]


def _shown(axis: Axis) -> str:
    if axis.step is None:
        return f"{axis.size} samples, step unknown"
    unit = f" {axis.unit}" if axis.unit else ""
    return f"{axis.size} samples, step {axis.step!r}{unit}, first at {axis.offset!r}{unit} ({axis.origin})"


def _text(value: str) -> str:
    """Return text without the control characters that XML cannot hold."""
    return _NOT_XML.sub("", value)
