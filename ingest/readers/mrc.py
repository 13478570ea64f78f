"""MRC2014 and its older relatives by mrcfile, with FEI's extended header and Direct Electron's text."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from micdb.errors import DamagedFileError, NotAnImageError
from micdb.ingest.metadata import Key, Settings, apply, plain, positive, text, tolerate, utc_time
from micdb.ingest.reader import Reader
from micdb.provenance import package_version
from micdb.records import Axis, Pixels, Scan, Source

if TYPE_CHECKING:
    import numpy as np

_HEADER = 1024  # [byte] MRC2014 main header; the extended header follows
_DTYPES = {0: "int8", 1: "int16", 2: "float32", 4: "complex64", 6: "uint16", 12: "float16"}
_UNREAD_MODES = {3: "complex int16", 16: "RGB bytes", 101: "4-bit"}
_SANE = 1 << 20  # [pixel] no detector or map is wider
_IMOD_STAMP = 1146047817  # "IMOD": bit 0 of the next word says whether mode 0 holds signed bytes
_VOLUME_STACK = 401  # [space group] from here on: several volumes of mz sections each
_UNIT = "angstrom"

_FEI_KEYS = (
    Key("HT", "accelerating_voltage", "V", positive),
    Key("Magnification", "magnification", None, positive),
    Key("Alpha tilt", "stage_tilt", "deg"),
    Key("Beta tilt", "stage_tilt_beta", "deg"),
    Key("X-Stage", "stage_x", "m"),
    Key("Y-Stage", "stage_y", "m"),
    Key("Z-Stage", "stage_z", "m"),
    Key("Defocus", "defocus", "m"),
    Key("Microscope type", "instrument"),
    Key("Camera name", "detector"),
)
_DIRECT_ELECTRON_KEYS = (
    Key("Instrument Accelerating Voltage (V)", "accelerating_voltage", "V", positive),
    Key("Instrument Project Magnification", "magnification", None, positive),
    Key("Instrument Project Camera Length (centimeters)", "camera_length", "cm", positive),
    Key("Exposure Time (seconds)", "exposure_time", "s", positive),
    Key("Camera Model", "detector"),
)


class Mrc(Reader):
    """MRC and CCP4 maps: images, stacks, volumes."""

    name = "mrc"
    extensions = (".mrc", ".mrcs", ".map", ".rec", ".st", ".ali", ".ccp4")

    @classmethod
    def sniff(cls, path: Path, head: bytes) -> int:
        """Say 2 for the word MAP in a sane header, 1 for an old header that fits the file's size exactly."""
        header = _words(head)
        if header is None:
            return 0
        if head[208:211] == b"MAP":
            return 2
        exact = header.mode in _DTYPES and path.stat().st_size == _data_end(header)
        return 1 if exact else 0

    def read(self, path: Path) -> list[Scan]:
        """Return the one image, stack or volume of the file; see `Reader.read`."""
        import mrcfile

        with path.open("rb") as stream:
            header = _words(stream.read(_HEADER))
        if header is None:
            raise DamagedFileError(
                path, "the MRC header is cut short or its sizes make no sense", reader="mrc"
            )
        if header.mode not in _DTYPES:
            what = _UNREAD_MODES.get(header.mode, "unknown")
            raise NotAnImageError(path, f"MRC mode {header.mode} ({what}) is not read", reader="mrc")
        size, end = path.stat().st_size, _data_end(header)
        if size < end:
            reason = f"the pixels are cut off: {end - size} bytes are missing"
            raise DamagedFileError(path, reason, reader="mrc", offset=size)
        problems: list[str] = []
        original: dict[str, Any] = {}
        fei: dict[str, Any] = {}
        with mrcfile.open(path, permissive=True, header_only=True) as file:
            with tolerate(problems, "the labels"):
                original = {name: plain(file.header[name]) for name in file.header.dtype.names}
                original["label"] = [text(label) for label in file.get_labels()]
            with tolerate(problems, "the extended header"):
                fei = _fei(file)
        return [_scan(path, header, original, fei, problems)]


class _Header(NamedTuple):
    """What of the main header decides shape and calibration."""

    order: str  # struct's byte-order character
    columns: int
    rows: int
    sections: int
    mode: int
    sampling: tuple[int, ...]
    cell: tuple[float, ...]
    map_axes: tuple[int, ...]
    space_group: int
    extended: int  # [byte]
    signed: bool


def _words(head: bytes) -> _Header | None:
    if len(head) < _HEADER:
        return None
    for order in ("<", ">"):
        words = struct.unpack(f"{order}10i", head[:40])
        sane = all(0 < size < _SANE for size in words[:3])
        if sane and (words[3] in _DTYPES or words[3] in _UNREAD_MODES):
            group, extended = struct.unpack(f"{order}2i", head[88:96])
            stamp, flags = struct.unpack(f"{order}2i", head[152:160])
            cell = struct.unpack(f"{order}3f", head[40:52])
            axes = struct.unpack(f"{order}3i", head[64:76])
            signed = stamp != _IMOD_STAMP or bool(flags & 1)
            columns, rows, sections, mode = words[:4]
            return _Header(
                order, columns, rows, sections, mode, words[7:10], cell, axes, group, max(extended, 0), signed
            )
    return None


def _shape(header: _Header) -> tuple[int, ...]:
    depth = header.sampling[2]
    if header.space_group >= _VOLUME_STACK and 0 < depth < header.sections and header.sections % depth == 0:
        return (header.sections // depth, depth, header.rows, header.columns)
    if header.sections > 1:
        return (header.sections, header.rows, header.columns)
    return (header.rows, header.columns)


def _dtype(header: _Header) -> str:
    return "uint8" if header.mode == 0 and not header.signed else _DTYPES[header.mode]


def _data_end(header: _Header) -> int:
    itemsize = {"complex64": 8, "float32": 4, "int8": 1, "uint8": 1}.get(_dtype(header), 2)
    return _HEADER + header.extended + math.prod(_shape(header)) * itemsize


def _fei(file: Any) -> dict[str, Any]:
    """Return the first record of an FEI extended header (EPU, Tomography)."""
    if text(bytes(file.header.exttyp)) not in ("FEI1", "FEI2"):
        return {}
    record = file.indexed_extended_header[0]
    return {name: plain(record[name]) for name in record.dtype.names}


def _scan(
    path: Path, header: _Header, original: dict[str, Any], fei: dict[str, Any], problems: list[str]
) -> Scan:
    shape, dtype = _shape(header), _dtype(header)
    axes = _axes(header, shape)
    settings = apply(_FEI_KEYS, fei)
    acquired_raw: str | None = None
    parts: tuple[str, ...] = ()
    sidecar, info = _direct_electron(path, header, problems)
    if sidecar is not None:
        beside = apply(_DIRECT_ELECTRON_KEYS, info, origin="sidecar")
        settings = Settings({**beside.values, **settings.values}, settings.problems + beside.problems)
        acquired_raw, parts = info.get("Timestamp (seconds since Epoch)"), (str(sidecar),)
        axes = tuple(_from_sidecar(axis, info) for axis in axes)
    acquired = None
    with tolerate(problems, "the acquisition time"):
        acquired = utc_time(acquired_raw) if acquired_raw else None
    return Scan(
        pixels=Pixels(
            shape,
            dtype,
            partial(_load, path, shape, dtype),
            partial(_load_frame, path, shape, dtype) if len(shape) > 2 else None,
        ),
        axes=axes,
        name=path.stem,
        source=Source(str(path), "mrc", "mrc", f"mrcfile {package_version('mrcfile')}", parts=parts),
        acquired=acquired,
        acquired_raw=acquired_raw,
        settings=settings.values,
        original=plain({"header": original, "extended_header": fei, "info": info}),
        problems=(*problems, *settings.problems),
    )


def _axes(header: _Header, shape: tuple[int, ...]) -> tuple[Axis, ...]:
    steps = [_voxel(header, number) for number in range(3)]
    columns, rows, sections = header.map_axes if sorted(header.map_axes) == [1, 2, 3] else (1, 2, 3)
    y, x = _axis("y", header.rows, steps[rows - 1]), _axis("x", header.columns, steps[columns - 1])
    if len(shape) == 2:
        return (y, x)
    if header.space_group == 0:  # MRC2014: an image stack; its third cell length means nothing
        return (Axis("frame", shape[0]), y, x)
    z = _axis("z", shape[-3], steps[sections - 1])
    return (Axis("frame", shape[0]), z, y, x) if len(shape) == 4 else (z, y, x)


def _axis(name: str, size: int, step: float | None) -> Axis:
    return Axis(name, size, step, 0.0, _UNIT) if step else Axis(name, size)


def _voxel(header: _Header, number: int) -> float | None:
    """Return the cell length over its sampling [angstrom]; None for the zeros and NaN many programs write."""
    length, count = header.cell[number], header.sampling[number]
    return length / count if count > 0 and math.isfinite(length) and length > 0 else None


def _direct_electron(path: Path, header: _Header, problems: list[str]) -> tuple[Path | None, dict[str, Any]]:
    """Return Direct Electron's ``NAME_info.txt`` and its items; NAME is the start of the image's name."""
    words = path.stem.split("_")
    for count in range(len(words), 0, -1):
        sidecar = path.with_name("_".join(words[:count]) + "_info.txt")
        if not sidecar.is_file():
            continue
        info: dict[str, Any] = {}
        with tolerate(problems, f"the sidecar {sidecar.name}"):
            pairs = (line.partition("=") for line in sidecar.read_text("utf-8", "replace").splitlines())
            info = {key.strip(): value.strip() for key, sign, value in pairs if sign}
            size = (info.get("Image Size X (pixels)"), info.get("Image Size Y (pixels)"))
            if size == (str(header.columns), str(header.rows)):
                return sidecar, info
        problems.append(f"the sidecar {sidecar.name} is left out: it describes an image of another size")
        return None, {}
    return None, {}


def _from_sidecar(axis: Axis, info: Mapping[str, Any]) -> Axis:
    written = info.get(f"Specimen Pixel Size {axis.name.upper()} (nanometers)", "")
    try:
        step = float(written)
    except ValueError:
        return axis
    if axis.calibrated or not math.isfinite(step) or step <= 0:  # -1 is "not known to the camera"
        return axis
    return Axis(axis.name, axis.size, step, 0.0, "nm", "sidecar")


def _load(path: Path, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    import numpy as np

    return np.array(_mapped(path, shape, dtype))


def _load_frame(path: Path, shape: tuple[int, ...], dtype: str, frame: int) -> np.ndarray:
    import numpy as np

    return np.array(_mapped(path, shape, dtype).reshape(-1, *shape[-2:])[frame])


def _mapped(path: Path, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """Return the pixels by memory map where the byte order allows, native in any case."""
    import mrcfile
    import numpy as np

    with mrcfile.mmap(path, permissive=True) as file:
        if file.data is None:
            raise DamagedFileError(path, "the header and the pixels do not fit together", reader="mrc")
        data: np.ndarray = file.data.reshape(shape)
        if dtype == "uint8":
            data = data.view(np.uint8)
        return data.astype(data.dtype.newbyteorder("="), copy=not data.dtype.isnative)
