"""Velox EMD: ``/Data/Image/*/Data`` as ``[y, x, frame]`` with one JSON text of metadata per frame.

Velox moves things between versions (3.12 dropped ``Operations``, 3.20 again): only the images and their own
metadata are used, which have stayed where they are, and of the displays the title of an image: ``Ca`` above a
map of calcium, ``FFT#1(Ceta)``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from micdb import units
from micdb.ingest.hdf5_probe import TEXT_LIMIT, member, members, refusal, value
from micdb.ingest.metadata import Key, apply, flatten, measure, plain, positive, text, tolerate, utc_time
from micdb.ingest.readers.hdf5_pixels import Stored, kind
from micdb.provenance import package_version
from micdb.records import Axis, Modality, Scan, Source

if TYPE_CHECKING:
    import h5py

_IMAGES = "Data/Image"
_DISPLAYS = (
    "Presentation/Displays/ImageDisplay",
    "Displays/ImageDisplay",
)  # old and new versions
_DIFFRACTING = "1"  # Optics.ProjectorMode; 2 is imaging
_SCANNING = "2"  # Optics.OperatingMode
_TITLES_LIMIT = 1 << 22  # [byte] of displays that are looked at; Velox has some kB for each image
_PLACE = re.compile(r"[a-z]?")  # a display without a name of its own is called a, b, ... by its place
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
_NOMINAL = "Optics.NominalMagnification"  # of the image: left over where the projector shows diffraction
# The keys of the other mode are often left over from an earlier acquisition.
_MODE_KEYS = {
    "TEM": (
        Key(_NOMINAL, "magnification", None, positive),
        Key("Optics.Defocus", "defocus", "m"),
    ),
    "STEM": (
        Key("CustomProperties.StemMagnification.value", "magnification", None, positive),
        Key("Scan.DwellTime", "dwell_time", "s", positive),
        Key("Scan.ScanRotation", "scan_angle", "rad"),
    ),
}
_CAMERA_LENGTH = Key("Optics.CameraLength", "camera_length", "m", positive)


def known(file: h5py.File) -> bool:
    """Return whether the file is laid out by Velox, with or without images."""
    inside = ("Application/Velox", _IMAGES, "Data/SpectrumStream", "Data/Spectrum")
    return any(member(file, path) is not None for path in inside)


def scans(path: Path, file: h5py.File) -> tuple[list[Scan], list[str]]:
    """Return the images of the file, and a sentence for each dataset that is none."""
    found: list[Scan] = []
    refused: list[str] = []
    images = member(file, _IMAGES)
    labels = _labels(file)
    for key, group in (members(images) if images is not None else {}).items():
        data = member(group, "Data")
        reason = _refusal(data)
        if reason:
            refused.append(f"{_IMAGES}/{key} {reason}")
        else:
            found.append(_scan(path, group, data, labels.get(key), index=len(found)))
    if not found and not refused:
        refused.append("this Velox file holds spectra and no image")
    return found, refused


def _refusal(data: Any) -> str | None:
    if getattr(data, "ndim", 0) not in (2, 3):
        return "holds no [y, x, frame] data"
    if kind(data.dtype) is None:
        return f"has pixels of the unknown kind {data.dtype.names or data.dtype}"
    return refusal(data)


def _labels(file: h5py.File) -> dict[str, str]:
    """Return the titles of the images by their keys; displays that are damaged give none."""
    found: dict[str, str] = {}
    room = _TITLES_LIMIT
    groups = (member(file, path) for path in _DISPLAYS)
    for display in (item for group in groups if hasattr(group, "keys") for item in members(group).values()):
        written = _text(display)
        told = _object(written)
        shown, data = told.get("display"), told.get("data")
        if isinstance(shown, dict):
            where, label = told.get("dataPath"), shown.get("label")
        else:  # the display names a reference, and that the image
            reference = _text(member(file, data)) if isinstance(data, str) else ""
            where, label = _object(reference).get("dataPath"), told.get("id")
            room -= len(reference)
        if isinstance(where, str) and isinstance(label, str) and not _PLACE.fullmatch(label):
            found[where.rpartition("/")[2]] = text(unquote(label))
        room -= len(written) + 1024
        if room < 0:
            break
    return found


def _text(item: Any) -> str:
    """Return the text in a dataset, or an empty one."""
    said = value(item) if hasattr(item, "shape") else None
    said = said[0] if isinstance(said, list) and said else said
    return said if isinstance(said, str) else ""


def _object(written: str) -> dict[str, Any]:
    """Return the JSON object of a text, or an empty one."""
    try:
        told = json.loads(written or "{}")
    except (ValueError, RecursionError):
        return {}
    return told if isinstance(told, dict) else {}


def _scan(path: Path, group: h5py.Group, data: h5py.Dataset, label: str | None, *, index: int) -> Scan:
    problems: list[str] = []
    tree: dict[str, Any] = {}
    flat: dict[str, Any] = {}
    with tolerate(problems, "the Velox metadata"):
        tree = _metadata(group)
        flat = flatten(tree)
    height, width = data.shape[:2]
    frames = data.shape[2] if data.ndim == 3 else 1
    stored = Stored(path, data.name, (2, 0, 1) if frames > 1 else (0, 1), int(frames > 1))
    pixels = stored.pixels(data)
    axes = [
        *([_frame_axis(frames, flat, problems)] if frames > 1 else []),
        _axis("y", "height", height, flat, problems),
        _axis("x", "width", width, flat, problems),
    ]
    axes += [Axis("colour", size) for size in pixels.shape[len(axes) :]]
    settings = apply(_keys(flat), flat)
    written, moment = _acquired(flat, problems)
    return Scan(
        pixels=pixels,
        axes=tuple(axes),
        name=path.stem,
        source=Source(str(path), "emd_velox", "hdf5", f"h5py {package_version('h5py')}", index=index),
        channel=label or text(flat.get("BinaryResult.Detector", "")) or None,
        modality=_modality(flat, axes, pixels.dtype),
        acquired=moment,
        acquired_raw=written,
        settings=settings.values,
        original=plain(tree),
        problems=(*problems, *settings.problems),
    )


def _metadata(group: h5py.Group) -> dict[str, Any]:
    """Return the metadata of the first frame: zero-padded JSON, one column per frame."""
    block = member(group, "Metadata")
    if block is None or block.shape[0] > TEXT_LIMIT:
        raise ValueError("there is none" if block is None else f"it claims {block.shape[0]} bytes")
    reason = refusal(block)
    if reason:
        raise ValueError(f"it {reason}")
    column = block[:, 0] if block.ndim == 2 else block[:]
    tree = json.loads(text(column.tobytes().partition(b"\0")[0]))
    return tree if isinstance(tree, dict) else {}


def _keys(flat: Mapping[str, Any]) -> tuple[Key, ...]:
    keys = _KEYS + _MODE_KEYS.get(_MODALITIES.get(str(flat.get("Optics.OperatingMode")), ""), ())
    if str(flat.get("Optics.ProjectorMode")) == _DIFFRACTING:
        keys = (*(key for key in keys if key.vendor != _NOMINAL), _CAMERA_LENGTH)
    detector = f"Detectors.Detector-{flat.get('BinaryResult.DetectorIndex')}"
    return (
        *keys,
        Key(f"{detector}.DetectorName", "detector"),
        Key(f"{detector}.ExposureTime", "exposure_time", "s", positive),
    )


def _frame_axis(frames: int, flat: Mapping[str, Any], problems: list[str]) -> Axis:
    """Return the leading axis: time where a scan says how long a frame took."""
    if str(flat.get("Optics.OperatingMode")) == _SCANNING and "Scan.FrameTime" in flat:
        with tolerate(problems, "the frame time"):
            seconds = measure(flat["Scan.FrameTime"]).value
            if seconds > 0:
                return Axis("time", frames, seconds, unit="s")
    return Axis("frame", frames)


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
