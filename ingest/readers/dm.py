"""Gatan DigitalMicrograph, DM3 and DM4: every image of the file, parsed by nionswift-io."""

from __future__ import annotations

import math
from array import array
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from micdb import units
from micdb.errors import DamagedFileError, NotAnImageError
from micdb.ingest.metadata import Key, apply, flatten, locale_time, plain, positive, tolerate, utc_time
from micdb.ingest.reader import Reader
from micdb.provenance import package_version
from micdb.records import Axis, Modality, Pixels, Scan, Source

if TYPE_CHECKING:
    import numpy as np

# DataType tag -> numpy dtype of one pixel (Gatan's image data types; 8 and 23 are bytes B, G, R, unused).
_DTYPES = {
    1: "int16", 2: "float32", 3: "complex64", 6: "uint8", 7: "int32", 9: "int8", 10: "uint16", 11: "uint32",
    12: "float64", 13: "complex128", 14: "uint8", 39: "int64", 40: "uint64",
}  # fmt: skip
_COLOUR = (8, 23)
_PACKED_FFT = (5, 27, 28)

_KEYS = (
    Key("Microscope Info.Voltage", "accelerating_voltage", "V", positive),
    Key("Microscope Info.Indicated Magnification", "magnification", None, positive),
    Key("Microscope Info.Actual Magnification", "magnification", None, positive),
    Key("Microscope Info.STEM Camera Length", "camera_length", "mm", positive),
    Key("Microscope Info.Probe Current (nA)", "beam_current", "nA", positive),
    Key("Microscope Info.Stage Position.Stage X", "stage_x", "um"),
    Key("Microscope Info.Stage Position.Stage Y", "stage_y", "um"),
    Key("Microscope Info.Stage Position.Stage Z", "stage_z", "um"),
    Key("Microscope Info.Stage Position.Stage Alpha", "stage_tilt", "deg"),
    Key("Microscope Info.Stage Position.Stage Beta", "stage_tilt_beta", "deg"),
    Key("DigiScan.Sample Time", "dwell_time", "us", positive),
    Key("DigiScan.Rotation", "scan_angle", "deg"),
    Key("DataBar.Exposure Time (s)", "exposure_time", "s", positive),
    Key("Acquisition.Parameters.Detector.exposure (s)", "exposure_time", "s", positive),
    Key("DataBar.Device Name", "detector"),
    Key("Acquisition.Device.Name", "detector"),
    Key("Microscope Info.Microscope", "instrument"),
    Key("Session Info.Microscope", "instrument"),
    Key("Microscope Info.Name", "instrument"),
    Key("Microscope Info.Operator", "operator"),
    Key("Session Info.Operator", "operator"),
    Key("Microscope Info.Specimen", "sample"),
    Key("Session Info.Specimen", "sample"),
)

# First words of "Illumination Mode" and "Operation Mode".
_MODALITIES: dict[str, Modality] = {
    "STEM": "STEM", "SCANNING": "STEM", "TEM": "TEM", "IMAGING": "TEM", "DIFFRACTION": "diffraction",
}  # fmt: skip

_FILETIME_EPOCH = 11_644_473_600  # [s] from 1601-01-01, where Windows counts from, to 1970-01-01
_FILETIME_TICKS = 1e7  # [1/s]

_parsing = Lock()  # the parser keeps the file version in module globals


class DigitalMicrograph(Reader):
    """DM3 and DM4 files: 2-D images and stacks; thumbnails and plots are left out."""

    name = "dm"
    extensions = (".dm3", ".dm4")

    @classmethod
    def sniff(cls, path: Path, head: bytes) -> int:  # noqa: ARG003
        """Say 2 for a DM3 or DM4 header: version, byte-order flag and the root tag group."""
        version = int.from_bytes(head[:4], "big")
        flag = {3: 8, 4: 12}.get(version)
        if flag is None or len(head) < flag + 6:
            return 0
        return 2 if int.from_bytes(head[flag : flag + 4], "big") == 1 and head[flag + 4] in (0, 1) else 0

    def read(self, path: Path) -> list[Scan]:
        """Return one scan per 2-D or 3-D image; see `Reader.read`."""
        tree = _parse(path)
        images = [_image(path, tree, index) for index in _image_indices(tree)]
        scans: list[Scan] = []
        refused: list[str] = []
        for image in images:
            reason = _refusal(image)
            if reason:
                refused.append(f"{image.name!r} {reason}")
            else:
                scans.append(_scan(path, image, index=len(scans)))
        if not scans:
            raise NotAnImageError(path, "; ".join(refused) or "the file holds no image", reader=self.name)
        return scans


class _Image(NamedTuple):
    """One entry of ImageList, checked."""

    entry: int
    name: str
    data_type: int
    dimensions: list[int]  # fastest first, as DigitalMicrograph counts: x, y, z
    units: list[str | None]
    tags: Mapping[str, Any]
    calibrations: list[Mapping[str, Any]]


class _Stream:
    """A binary file whose short reads name the byte where the file ends."""

    def __init__(self, stream: BinaryIO, path: Path) -> None:
        self._stream, self._path, self._size = stream, path, path.stat().st_size

    def tell(self) -> int:
        return self._stream.tell()

    def read(self, count: int) -> bytes:
        offset = self._stream.tell()
        if count > self._size - offset:
            reason = f"the file ends at byte {self._size}, {count} more bytes are promised"
            raise DamagedFileError(self._path, reason, reader="dm", offset=offset)
        return self._stream.read(count)


def _parse(path: Path) -> dict[str, Any]:
    from nionswift_plugin.DM_IO import parse_dm3

    with path.open("rb") as stream, _parsing:
        tree = parse_dm3.dm_read_header(_Stream(stream, path))
    if not isinstance(tree, dict) or not isinstance(tree.get("ImageList"), list):
        raise DamagedFileError(path, "the tags hold no ImageList", reader="dm")
    return tree


def _image_indices(tree: Mapping[str, Any]) -> list[int]:
    """Return the entries of ImageList that are not previews."""
    count = len(tree["ImageList"])
    listed = tree.get("Thumbnails")
    previews = {thumb.get("ImageIndex") for thumb in listed or [] if isinstance(thumb, dict)}
    if not previews and count > 1 and tree["ImageList"][0]["ImageData"].get("DataType") in _COLOUR:
        previews = {0}  # files of other programs leave the Thumbnails list out
    return [index for index in range(count) if index not in previews or count == 1]


def _image(path: Path, tree: Mapping[str, Any], index: int) -> _Image:
    entry = tree["ImageList"][index]
    data = entry["ImageData"]
    dimensions = [int(size) for size in data["Dimensions"]]
    listed = (data.get("Calibrations") or {}).get("Dimension") or []
    calibrations: list[Mapping[str, Any]] = [axis if isinstance(axis, dict) else {} for axis in listed]
    calibrations += [{}] * (len(dimensions) - len(calibrations))
    image = _Image(
        index,
        _text(entry.get("Name")) or path.stem,
        int(data["DataType"]),
        dimensions,
        [units.known(_text(axis.get("Units"))) for axis in calibrations],
        entry.get("ImageTags") or {},
        calibrations,
    )
    if image.data_type in _DTYPES or image.data_type in _COLOUR:
        _array(path, tree, image)  # a short data block is damage whether or not anybody asks for the pixels
    return image


def _refusal(image: _Image) -> str | None:
    if image.data_type in _PACKED_FFT:
        return "is a Fourier transform packed by DigitalMicrograph, not read; save its modulus as an image"
    if image.data_type not in _DTYPES and image.data_type not in _COLOUR:
        return f"has the unknown data type {image.data_type}"
    if len(image.dimensions) < 2:
        return "is a plot (1-D), not an image"
    if any(unit is not None and units.compatible(unit, "eV") for unit in image.units):
        return "is a spectrum or spectrum image (it has an energy axis)"
    if "spectrum" in _text(_at(image.tags, "Meta Data", "Format")).lower():
        return "is a spectrum or spectrum image (so its Meta Data say)"
    if len(image.dimensions) > 3:
        return f"has {len(image.dimensions)} dimensions, expected an image or a stack of images"
    return None


def _scan(path: Path, image: _Image, *, index: int) -> Scan:
    problems: list[str] = []
    axes = [_axis(image, number, problems) for number in reversed(range(len(image.dimensions)))]
    dtype = _DTYPES.get(image.data_type, "uint8")
    if image.data_type in _COLOUR:
        axes.append(Axis("colour", 3))
    shape = tuple(axis.size for axis in axes)
    tags = _vendor_tags(image.tags)
    flat: dict[str, Any] = {}
    with tolerate(problems, "the DigitalMicrograph tags"):
        flat = flatten(tags)
    settings = apply(_KEYS, flat)
    written, moment = _acquired(flat, problems)
    return Scan(
        pixels=Pixels(shape, dtype, partial(_load, path, image.entry)),
        axes=tuple(axes),
        name=image.name,
        source=Source(str(path), path.suffix.lower().lstrip(".") or "dm", "dm", _version(), index=index),
        channel=_text(_at(tags, "DigiScan", "Signal Name")) or None,
        modality=_modality(flat, axes),
        intensity_unit=None,
        acquired=moment,
        acquired_raw=written,
        settings=settings.values,
        original=plain(_texts(image.tags)),
        problems=(*problems, *settings.problems),
    )


def _axis(image: _Image, number: int, problems: list[str]) -> Axis:
    size, unit, calibration = image.dimensions[number], image.units[number], image.calibrations[number]
    name = ("x", "y", _leading_name(unit))[number]
    written = _text(calibration.get("Units"))
    if written.strip() and unit is None:
        problems.append(f"axis {name}: unit {written!r} is unknown, so the step is left unknown")
    scale, origin = calibration.get("Scale"), calibration.get("Origin")
    if unit is None or not isinstance(scale, float) or not math.isfinite(scale) or scale == 0:
        return Axis(name, size, unit=None)  # without a unit DigitalMicrograph counts pixels
    sound = isinstance(origin, float) and math.isfinite(origin)
    return Axis(name, size, scale, -origin * scale if sound and origin else 0.0, unit)


def _leading_name(unit: str | None) -> str:
    if unit is not None and units.compatible(unit, "s"):
        return "time"
    return "z" if unit is not None and units.compatible(unit, "nm") else "frame"


def _modality(flat: Mapping[str, Any], axes: list[Axis]) -> Modality | None:
    if any(axis.unit is not None and units.compatible(axis.unit, "1/nm") for axis in axes):
        return "diffraction"
    for key in ("Microscope Info.Illumination Mode", "Microscope Info.Operation Mode"):
        words = str(flat.get(key, "")).split()
        if words and words[0].upper() in _MODALITIES:
            return _MODALITIES[words[0].upper()]
    return None


def _acquired(flat: Mapping[str, Any], problems: list[str]) -> tuple[str | None, str | None]:
    """Return the date as written and as ISO: from the UTC clock of the computer, else where certain."""
    day, clock = flat.get("DataBar.Acquisition Date"), flat.get("DataBar.Acquisition Time")
    written = " ".join(str(part) for part in (day, clock) if part) or None
    ticks = flat.get("DataBar.Acquisition Time (OS)")
    if ticks:
        with tolerate(problems, "the acquisition time"):
            return written, utc_time(round(float(ticks) / _FILETIME_TICKS - _FILETIME_EPOCH))
    return written, locale_time(written) if written else None


def _vendor_tags(tags: Mapping[str, Any]) -> dict[str, Any]:
    """Return the tags as text and numbers; stacks of StackBuilder keep them in their first plane."""
    planes = tags.get("plane info vector")
    if "Microscope Info" not in tags and isinstance(planes, list) and planes:
        tags = {**(_at(planes[0], "source tags") or {}), **tags}
    return dict(_texts(tags))


def _texts(value: Any) -> Any:
    """Return a tag tree with its strings, which the parser leaves as arrays of UTF-16 units, as text."""
    if isinstance(value, Mapping):
        return {str(key): _texts(child) for key, child in value.items()}
    if isinstance(value, list | tuple):
        return [_texts(child) for child in value]
    if isinstance(value, array):
        return _text(value) if value.typecode == "H" else plain(value)
    return value if isinstance(value, str | int | float | bool) else str(type(value).__name__)


def _text(value: Any) -> str:
    if isinstance(value, array) and value.typecode == "H":
        return value.tobytes().decode("utf-16-le", "replace")
    return value if isinstance(value, str) else ""


def _at(tree: Any, *keys: str) -> Any:
    for key in keys:
        tree = tree.get(key) if isinstance(tree, Mapping) else None
    return tree


def _load(path: Path, entry: int) -> np.ndarray:
    tree = _parse(path)
    return _array(path, tree, _image_header(tree, entry))


def _image_header(tree: Mapping[str, Any], entry: int) -> _Image:
    data = tree["ImageList"][entry]["ImageData"]
    return _Image(entry, "", int(data["DataType"]), [int(size) for size in data["Dimensions"]], [], {}, [])


def _array(path: Path, tree: Mapping[str, Any], image: _Image) -> np.ndarray:
    import numpy as np

    block = tree["ImageList"][image.entry]["ImageData"]["Data"]
    raw = np.frombuffer(getattr(block, "raw_data", block), dtype=np.uint8)
    shape = tuple(reversed(image.dimensions))
    if image.data_type in _COLOUR:
        shape, dtype = (*shape, 4), "uint8"
    else:
        dtype = _DTYPES[image.data_type]
    expected = math.prod(shape) * np.dtype(dtype).itemsize
    if raw.size != expected:
        reason = f"image {image.entry} of {dtype} {shape} needs {expected} bytes, the file holds {raw.size}"
        raise DamagedFileError(path, reason, reader="dm")
    pixels = raw.view(dtype).reshape(shape)
    return pixels[..., 2::-1] if image.data_type in _COLOUR else pixels  # B, G, R, unused -> R, G, B


def _version() -> str:
    return f"nionswift-io {package_version('nionswift-io')}"
