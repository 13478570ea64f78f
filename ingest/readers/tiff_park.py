"""Park Systems scanning-probe TIFF: the page is for display, the measurement stands in private tags.

Tags: 50432 magic number, 50433 version, 50434 data, 50435 header. The header is a packed little-endian
structure (the maker's description, as Gwyddion and others read it); the data are int16, int32 or float32 in
rows from the bottom up, so they are flipped. Values are data times gain in the unit of the header. Readers
disagree about the offset and the scale beside the gain, so a file that uses them is refused.
"""

from __future__ import annotations

import math
import struct
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from micdb import units
from micdb.errors import DamagedFileError, NotAnImageError, UnknownFormatError
from micdb.ingest.block import Block
from micdb.ingest.metadata import Key, apply, plain
from micdb.ingest.readers.tiff_header import raw_tag
from micdb.provenance import package_version
from micdb.records import Axis, Pixels, Scan, Source

if TYPE_CHECKING:
    import numpy as np

MAGIC_TAG = 50432
_VERSION_TAG, _DATA_TAG, _HEADER_TAG = 50433, 50434, 50435
_MAGIC = 0x0E031301
_VERSIONS = (0x1000001, 0x1000002)
_DTYPES = ("<i2", "<i4", "<f4")

# Field -> struct code, in order; names are ours.
_FIELDS = (
    ("type", "i"), ("source", "64s"), ("mode", "16s"), ("low_pass", "d"), ("flattened", "i"),
    ("flatten_order", "i"), ("width", "i"), ("height", "i"), ("angle", "d"), ("sine_scan", "i"),
    ("overscan", "d"), ("forward", "i"), ("up", "i"), ("swapped", "i"), ("x_size", "d"), ("y_size", "d"),
    ("x_offset", "d"), ("y_offset", "d"), ("scan_rate", "d"), ("setpoint", "d"), ("setpoint_unit", "16s"),
    ("tip_bias", "d"), ("sample_bias", "d"), ("gain", "d"), ("scale", "d"), ("offset", "d"),
    ("unit", "16s"), ("minimum", "i"), ("maximum", "i"), ("mean", "i"), ("compressed", "i"),
    ("logarithmic", "i"), ("square", "i"),
)  # fmt: skip
_MORE = (
    ("servo_gain", "d"), ("scanner_range", "d"), ("xy_voltage", "16s"), ("z_voltage", "16s"),
    ("xy_servo", "16s"), ("data_type", "i"),
)  # fmt: skip
_KINDS = {1: "a line profile", 2: "spectroscopy"}
_KEYS = (
    Key("x_offset", "offset_x", "um"),
    Key("y_offset", "offset_y", "um"),
    Key("angle", "scan_angle", "deg"),
    Key("sample_bias", "bias", "V"),
    Key("mode", "signal"),
)


def scan(path: Path, page: Any) -> Scan:
    """Return the measured image of a Park Systems file, given its only page."""
    fields = _header(path, page)
    _refuse(path, fields)
    block = _block(path, page, fields)
    unit = units.known(fields["unit"].replace("\u03bc", "u").replace("\u00b5", "u"))
    if fields["unit"] and unit is None:
        raise UnknownFormatError(path, f"Park Systems unit {fields['unit']!r} is unknown", reader="tiff")
    found = apply(_KEYS, fields)
    axes = tuple(_axis(name, fields) for name in ("y", "x"))
    return Scan(
        pixels=Pixels(block.shape, "float64", partial(_scaled, block, fields["gain"])),
        axes=axes,
        name=path.stem,
        source=Source(str(path), "tif_park", "tiff", f"tifffile {package_version('tifffile')}"),
        channel=f"{fields['source']} {'forward' if fields['forward'] else 'backward'}",
        modality="AFM",
        intensity_unit=unit,
        settings=found.values,
        original=plain(fields),
        problems=tuple(found.problems),
    )


def _header(path: Path, page: Any) -> dict[str, Any]:
    tags = page.tags
    version = tags[_VERSION_TAG].value if _VERSION_TAG in tags else None
    if tags[MAGIC_TAG].value != _MAGIC or version not in _VERSIONS:
        reason = f"a Park Systems scanning-probe file inside a TIFF, of unknown version {version}"
        raise UnknownFormatError(path, f"{reason}; export it as .gwy", reader="tiff")
    layout = _FIELDS if version == _VERSIONS[0] else (*_FIELDS, *_MORE)
    form = struct.Struct("<" + "".join(code for _, code in layout))
    written = raw_tag(page, _HEADER_TAG) if _HEADER_TAG in tags else b""
    if len(written) < form.size:
        reason = f"the Park Systems header has {len(written)} bytes, expected {form.size}"
        raise DamagedFileError(path, reason, reader="tiff")
    values = form.unpack_from(written)
    fields = {
        name: value.decode("utf-16-le", "replace").split("\0")[0] if isinstance(value, bytes) else value
        for (name, _), value in zip(layout, values, strict=True)
    }
    return {"data_type": 0, **fields}


def _refuse(path: Path, fields: dict[str, Any]) -> None:
    if fields["type"] != 0:
        kind = _KINDS.get(fields["type"], f"type {fields['type']}")
        raise NotAnImageError(path, f"this is Park Systems {kind}, not an image", reader="tiff")
    plain_scale = fields["scale"] in (0.0, 1.0) and fields["offset"] == 0.0
    if not plain_scale or fields["logarithmic"] or fields["square"] or not math.isfinite(fields["gain"]):
        reason = f"Park Systems values scaled by {fields['scale']}, offset {fields['offset']}"
        raise UnknownFormatError(
            path, f"{reason}, in a way no reader knows; export it as .gwy", reader="tiff"
        )


def _block(path: Path, page: Any, fields: dict[str, Any]) -> Block:
    entry = page.tags.get(_DATA_TAG)
    shape = (fields["height"], fields["width"])
    if entry is None or min(shape) < 1 or not 0 <= fields["data_type"] < len(_DTYPES):
        raise DamagedFileError(path, f"the Park Systems header claims {shape} pixels", reader="tiff")
    dtype = _DTYPES[fields["data_type"]]
    if math.prod(shape) * int(dtype[-1]) != entry.valuebytecount:
        reason = f"the header promises {shape} {dtype}, the data tag has {entry.valuebytecount} bytes"
        raise DamagedFileError(path, reason, reader="tiff", offset=entry.valueoffset)
    return Block(path, entry.valueoffset, shape, dtype, (0,))


def _scaled(block: Block, gain: float) -> np.ndarray:
    import numpy as np

    return block.load().astype(np.float64) * gain


def _axis(name: str, fields: dict[str, Any]) -> Axis:
    pixels, extent = fields["width" if name == "x" else "height"], abs(fields[f"{name}_size"])
    if not math.isfinite(extent) or extent <= 0:
        return Axis(name, pixels)
    return Axis(name, pixels, extent / pixels, unit="um")
