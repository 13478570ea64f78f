"""Velox EMD: ``/Data/Image/*/Data`` as ``[y, x, frame]`` with one JSON text of metadata per frame."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from micdb import units
from micdb.ingest.metadata import Key, apply, flatten, measure, plain, positive, text, tolerate, utc_time
from micdb.provenance import package_version
from micdb.records import Axis, Modality, Pixels, Scan, Source

if TYPE_CHECKING:
    import h5py
    import numpy as np

_IMAGES = "Data/Image"
_DIFFRACTING = "1"  # Optics.ProjectorMode; 2 is imaging
_MODALITIES: dict[str, Modality] = {"1": "TEM", "2": "STEM"}  # Optics.OperatingMode

_KEYS = (
    Key("Optics.AccelerationVoltage", "accelerating_voltage", "V", positive),
    Key("Optics.BeamConvergence", "convergence_angle", "rad", positive),
    Key("Stage.Position.x", "stage_x", "m"),
    Key("Stage.Position.y", "stage_y", "m"),
    Key("Stage.Position.z", "stage_z", "m"),
    Key("Stage.AlphaTilt", "stage_tilt", "rad"),
    Key("Stage.BetaTilt", "stage_tilt_beta", "rad"),
    Key("BinaryResult.Detector", "detector"),
    Key("Instrument.InstrumentModel", "instrument"),
    Key("Instrument.InstrumentClass", "instrument"),
    Key("Instrument.Manufacturer", "vendor"),
    Key("Sample.SampleDescription", "sample"),
    Key("Sample", "sample"),
)
# The keys of the other mode are often left over from an earlier acquisition.
_MODE_KEYS = {
    "TEM": (
        Key("Optics.NominalMagnification", "magnification", None, positive),
        Key("Optics.Defocus", "defocus", "m"),
    ),
    "STEM": (
        Key("CustomProperties.StemMagnification.value", "magnification", None, positive),
        Key("Scan.DwellTime", "dwell_time", "s", positive),
        Key("Scan.ScanRotation", "scan_angle", "rad"),
    ),
}
_CAMERA_LENGTH = Key("Optics.CameraLength", "camera_length", "m", positive)

_COMPLEX_FIELDS = re.compile(r"\A(?:real|imag)", re.IGNORECASE)
_COLOUR_FIELDS = (("r", "g", "b"), ("r", "g", "b", "a"), ("red", "green", "blue"))


def known(file: h5py.File) -> bool:
    """Return whether the file is laid out by Velox, with or without images."""
    return "Data" in file and (
        "Application/Velox" in file or _IMAGES in file or "Data/SpectrumStream" in file
    )


def scans(path: Path, file: h5py.File) -> tuple[list[Scan], list[str]]:
    """Return the images of the file, and a sentence for each dataset that is none."""
    found: list[Scan] = []
    refused: list[str] = []
    for key, group in file.get(_IMAGES, {}).items():
        data = group.get("Data") if hasattr(group, "get") else None
        if data is None or getattr(data, "ndim", 0) != 3:
            refused.append(f"{_IMAGES}/{key} holds no [y, x, frame] data")
        elif _dtype(data.dtype) is None:
            refused.append(f"{_IMAGES}/{key} has pixels of the unknown kind {data.dtype.names}")
        else:
            found.append(_scan(path, group, index=len(found)))
    if not found and not refused:
        refused.append("this Velox file holds spectra and no image")
    return found, refused


def _scan(path: Path, group: h5py.Group, *, index: int) -> Scan:
    problems: list[str] = []
    tree: dict[str, Any] = {}
    with tolerate(problems, "the Velox metadata"):
        tree = json.loads(text(group["Metadata"][:, 0].tobytes().partition(b"\0")[0]))
    flat: dict[str, Any] = {}
    with tolerate(problems, "the Velox metadata"):
        flat = flatten(tree)
    data = group["Data"]
    dtype, colour = _dtype(data.dtype) or ("", 0)
    height, width, frames = data.shape
    axes = [
        *([Axis("frame", frames)] if frames > 1 else []),
        _axis("y", "height", height, flat, problems),
        _axis("x", "width", width, flat, problems),
        *([Axis("colour", colour)] if colour else []),
    ]
    settings = apply(_keys(flat), flat)
    written, moment = _acquired(flat, problems)
    name = data.name
    return Scan(
        pixels=Pixels(
            tuple(axis.size for axis in axes),
            dtype,
            partial(_load, path, name),
            partial(_load_frame, path, name) if frames > 1 else None,
        ),
        axes=tuple(axes),
        name=path.stem,
        source=Source(str(path), "emd_velox", "emd", f"h5py {package_version('h5py')}", index=index),
        channel=text(flat.get("BinaryResult.Detector", "")) or None,
        modality=_modality(flat, axes, dtype),
        acquired=moment,
        acquired_raw=written,
        settings=settings.values,
        original=plain(tree),
        problems=(*problems, *settings.problems),
    )


def _keys(flat: Mapping[str, Any]) -> tuple[Key, ...]:
    keys = _KEYS + _MODE_KEYS.get(_MODALITIES.get(str(flat.get("Optics.OperatingMode")), ""), ())
    if str(flat.get("Optics.ProjectorMode")) == _DIFFRACTING:
        keys += (_CAMERA_LENGTH,)
    detector = f"Detectors.Detector-{flat.get('BinaryResult.DetectorIndex')}"
    return (*keys, Key(f"{detector}.ExposureTime", "exposure_time", "s", positive))


def _axis(name: str, side: str, size: int, flat: Mapping[str, Any], problems: list[str]) -> Axis:
    unit = units.known(text(flat.get(f"BinaryResult.PixelUnit{name.upper()}", "")))
    step = flat.get(f"BinaryResult.PixelSize.{side}")
    if unit is None or step is None:
        return Axis(name, size)
    with tolerate(problems, f"the pixel size along {name}"):
        offset = measure(flat.get(f"BinaryResult.Offset.{name}", 0.0)).value
        number = measure(step).value
        if number > 0:
            return Axis(name, size, number, offset, unit)
    return Axis(name, size)


def _modality(flat: Mapping[str, Any], axes: list[Axis], dtype: str) -> Modality | None:
    if "complex" in dtype:
        return None  # a Fourier transform computed by Velox is neither image nor diffraction pattern
    if any(axis.unit is not None and units.compatible(axis.unit, "1/nm") for axis in axes):
        return "diffraction"
    return _MODALITIES.get(str(flat.get("Optics.OperatingMode")))


def _acquired(flat: Mapping[str, Any], problems: list[str]) -> tuple[str | None, str | None]:
    for key in ("Acquisition.AcquisitionStartDatetime.DateTime", "Acquisition.AcquisitionDatetime.DateTime"):
        written = text(flat.get(key, ""))
        if written and written != "0":
            with tolerate(problems, "the acquisition time"):
                return written, utc_time(written)
    return None, None


def _dtype(stored: np.dtype[Any]) -> tuple[str, int] | None:
    """Return dtype and number of colour samples for a stored pixel type, or None for an unknown one."""
    names = stored.names
    if names is None:
        return (stored.newbyteorder("=").name, 0) if stored.kind in "iuf" else None
    part = stored[0]
    if any(stored[name] != part for name in names) or part.kind not in "iuf":
        return None
    if len(names) == 2 and all(_COMPLEX_FIELDS.match(name) for name in names):
        return {4: "complex64", 8: "complex128"}[part.itemsize], 0
    if tuple(name.lower() for name in names) in _COLOUR_FIELDS:
        return part.newbyteorder("=").name, len(names)
    return None


def _load(path: Path, name: str) -> np.ndarray:
    import h5py
    import hdf5plugin  # noqa: F401 - teaches HDF5 the bitshuffle, blosc and zstd that others write
    import numpy as np

    with h5py.File(path, "r") as file:
        array = _plain(file[name][...])
    frames = np.moveaxis(array, 2, 0)
    return np.ascontiguousarray(frames[0] if len(frames) == 1 else frames)


def _load_frame(path: Path, name: str, frame: int) -> np.ndarray:
    import h5py
    import hdf5plugin  # noqa: F401 - teaches HDF5 the bitshuffle, blosc and zstd that others write

    with h5py.File(path, "r") as file:
        return _plain(file[name][:, :, frame])


def _plain(array: np.ndarray) -> np.ndarray:
    """Return structured pixels as complex numbers or with a colour axis, in native byte order."""
    import numpy as np

    names = array.dtype.names
    if names is None:
        return array.astype(array.dtype.newbyteorder("="), copy=False)
    stored = array.dtype
    if len(names) == 2:
        joined = np.empty(array.shape, _dtype(stored)[0])  # type: ignore[index]
        joined.real, joined.imag = array[names[0]], array[names[1]]
        return joined
    return np.stack([array[name] for name in names], axis=-1).astype(stored[0].newbyteorder("="), copy=False)
