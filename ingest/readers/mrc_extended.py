"""Extended headers of MRC files that tell of the microscope: FEI1 and FEI2, and FEI's older one.

FEI1 and FEI2 (EPU, Tomography, Velox) hold one record per image. Bit masks inside a record say which of the
fields behind them are set, in their order; an unset field is zero and means nothing. Lengths are in m,
angles in degrees, times in s, voltages in V; the time stamp counts days since 30 December 1899 and its zone
is not told. The older one (Agard and Koster; FEI Tomography, Inspect3D) is always 1024 records of 128
bytes, floats in m, deg and s. Only what is the same for all images becomes a setting; what differs is kept
per image.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from micdb.ingest.metadata import Key, positive, text, utc_time
from micdb.ingest.readers.fei_calibration import unit_of_step
from micdb.ingest.readers.mrc_header import SIZE, Header
from micdb.records import Modality

if TYPE_CHECKING:
    import numpy as np

_MOST_BYTES = 1 << 24  # of records that are read
OLD = "old"  # kind of the older header
_OLD_SIZE = 1024 * 128  # [byte]
_OLD_FIELDS = (
    "a_tilt", "b_tilt", "x_stage", "y_stage", "z_stage", "x_shift", "y_shift", "defocus", "exp_time",
    "mean_int", "tilt_axis", "pixel_size", "magnification",
)  # fmt: skip
_UNUSED_BITS = 6  # of "Unused range": 48 bytes, six fields
_EPOCH = datetime(1899, 12, 30)
_TEM, _STEM = 1, 2  # "Instrument mode"
_DIFFRACTION = 1  # "Projection mode"


def _metres(value: Any) -> Any:
    """Let a length pass that can be metres; older writers put an unknown unit for numbers above 1."""
    return value if abs(float(value)) < 0.01 else None


KEYS = (
    Key("HT", "accelerating_voltage", "V", positive),
    Key("Magnification", "magnification", None, positive),
    Key("Camera length", "camera_length", "m", positive),
    Key("Defocus", "defocus", "m"),
    Key("Spot index", "spot_size"),
    Key("Alpha tilt", "stage_tilt", "deg"),
    Key("Beta tilt", "stage_tilt_beta", "deg"),
    Key("X-Stage", "stage_x", "m"),
    Key("Y-Stage", "stage_y", "m"),
    Key("Z-Stage", "stage_z", "m"),
    Key("Integration time", "exposure_time", "s", positive),
    Key("Dwell time", "dwell_time", "s", positive),
    Key("Scan rotation", "scan_angle", "deg"),
    Key("Microscope type", "instrument"),
    Key("STEM Detector name", "detector"),
    Key("Detector commercial name", "detector"),
    Key("Camera name", "detector"),
    Key("magnification", "magnification", None, positive),
    Key("defocus", "defocus", "m", _metres),
    Key("a_tilt", "stage_tilt", "deg"),
    Key("b_tilt", "stage_tilt_beta", "deg"),
    Key("x_stage", "stage_x", "m", _metres),
    Key("y_stage", "stage_y", "m", _metres),
    Key("z_stage", "stage_z", "m", _metres),
    Key("exp_time", "exposure_time", "s", positive),
)


class Extended(NamedTuple):
    """What an extended header says: the same for all images, different ones as lists, and where it stands."""

    common: dict[str, Any]
    varying: dict[str, list[Any]]
    kind: str

    @property
    def pixel_size(self) -> tuple[float, float] | None:
        """Step along x and y [m or 1/m, see `fei_calibration`]; None where it is not told."""
        names = ("pixel_size", "pixel_size") if self.kind == OLD else ("Pixel size X", "Pixel size Y")
        sizes = tuple(self.common.get(name, 0.0) for name in names)
        return (sizes[0], sizes[1]) if all(size > 0 for size in sizes) else None

    @property
    def told(self) -> dict[str, Any]:
        """What holds for all images and has one meaning: the defocus of the TEM has none in STEM."""
        stem = self.common.get("Instrument mode") == _STEM
        return {name: value for name, value in self.common.items() if not (stem and name == "Defocus")}

    @property
    def modality(self) -> Modality | None:
        """How the image was taken."""
        size = self.pixel_size
        if size is not None and unit_of_step(size[0]) == "1/m":
            return "diffraction"
        mode = self.common.get("Instrument mode")
        if mode == _TEM:
            return "diffraction" if self.common.get("Projection mode") == _DIFFRACTION else "TEM"
        return "STEM" if mode == _STEM else None

    def acquired(self) -> tuple[str | None, str | None]:
        """Return the time of the first image, without zone, and as written."""
        micro = self._first("Acquisition time stamp")  # [us since 1970, UTC], of FEI2
        if micro and micro > 0:
            return utc_time(micro / 1e6), f"Acquisition time stamp = {micro}"
        written = self._first("Timestamp")
        if not written or not 0 < written < 100000:
            return None, None
        moment = _EPOCH + timedelta(seconds=round(written * 86400))
        return moment.isoformat(), f"Timestamp = {written}"

    def _first(self, name: str) -> Any:
        return self.common.get(name, next(iter(self.varying.get(name, [])), None))


NOTHING = Extended({}, {}, "")


def read_extended(path: Path, header: Header) -> Extended:
    """Return what the extended header says; nothing where it is of another kind."""
    kind = text(header.values["exttyp"])
    if kind in ("FEI1", "FEI2"):
        return _fei(path, header, kind)
    if header.extended == _OLD_SIZE and kind in ("", "AGAR") and header.sections <= 1024:
        return _old(path, header)
    return NOTHING


def _fei(path: Path, header: Header, kind: str) -> Extended:
    from mrcfile.dtypes import get_ext_header_dtype

    layout: np.dtype[Any] = get_ext_header_dtype(kind.encode(), header.order)
    records = _records(path, header, layout)
    if len(records) == 0:
        return NOTHING
    used = [name for name in layout.names or () if _is_set(records, name)]
    return _told(records, used, kind)


def _records(path: Path, header: Header, layout: np.dtype[Any]) -> np.ndarray:
    """Return the records of the images; each says its own size, which later versions may enlarge."""
    import numpy as np

    with path.open("rb") as stream:
        stream.seek(SIZE)
        content = stream.read(min(header.extended, _MOST_BYTES))
    size = int.from_bytes(content[:4], "little" if header.order == "<" else "big", signed=True)
    size = max(size, layout.itemsize)
    count = min(header.sections, len(content) // size)
    starts = [content[number * size : number * size + layout.itemsize] for number in range(count)]
    return np.frombuffer(b"".join(starts), layout)


def _is_set(records: np.ndarray, name: str) -> bool:
    """Look up the bit of a field: bits count the fields behind a mask, in order."""
    mask, bit = "", 0
    for field in records.dtype.names or ():
        if field == name:
            break
        if field.startswith("Bitmask"):
            mask, bit = field, 0
        else:
            bit += _UNUSED_BITS if field == "Unused range" else 1
    return bool(mask) and bool((records[mask].astype(int) >> bit & 1).all())


def _old(path: Path, header: Header) -> Extended:
    import numpy as np

    layout = np.dtype([*((name, f"{header.order}f4") for name in _OLD_FIELDS), ("unused", "V76")])
    with path.open("rb") as stream:
        stream.seek(SIZE)
        content = stream.read(header.sections * layout.itemsize)
    records = np.frombuffer(content, layout, len(content) // layout.itemsize)
    sound = len(records) and all(np.isfinite(records[name]).all() for name in _OLD_FIELDS)
    if (
        not sound
        or unit_of_step(float(records["pixel_size"][0])) is None
        or abs(records["a_tilt"]).max() > 90
    ):
        return NOTHING  # some other header of the same length
    return _told(records, list(_OLD_FIELDS), OLD)


def _told(records: np.ndarray, names: list[str], kind: str) -> Extended:
    common: dict[str, Any] = {}
    varying: dict[str, list[Any]] = {}
    for name in names:
        values = records[name].tolist()
        if all(value == values[0] for value in values):
            common[name] = values[0]
        else:
            varying[name] = values
    return Extended(common, varying, kind)


def pixel_unit(extended: Extended) -> str | None:
    """Return ``m`` or ``1/m`` for the pixel size; None where it is neither, or against the mode."""
    size = extended.pixel_size
    if size is None or not all(math.isfinite(step) for step in size):
        return None
    unit = unit_of_step(size[0])
    return None if unit == "m" and extended.modality == "diffraction" else unit


def shown(extended: Extended) -> Mapping[str, Any]:
    """Return the extended header for `Scan.original`."""
    return {**extended.common, **({"per_image": extended.varying} if extended.varying else {})}
