"""TEM cameras' TIFF tags: DigitalMicrograph's export, Olympus Soft Imaging, TVIPS."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from micdb import units
from micdb.ingest.metadata import Key, apply, local_time, positive, text
from micdb.ingest.readers.tiff_header import Header, Step

# DigitalMicrograph's TIFF export: private tags, x before y.

_DM_TAGS = {"x": (65003, 65009, 65006), "y": (65004, 65010, 65007)}  # unit, scale, origin [pixel]


def digital_micrograph(path: Path, page: Any, header: Header) -> None:  # noqa: ARG001
    """Read the private tags of a DigitalMicrograph export into the header."""
    header.format = "tif_dm"
    for axis, codes in _DM_TAGS.items():
        written, scale, origin = (page.tags[code].value if code in page.tags else None for code in codes)
        header.original[axis] = {"unit": written, "scale": scale, "origin": origin}
        unit = units.known(text(written or ""))
        if unit is not None and isinstance(scale, float) and scale > 0:
            header.steps[axis] = Step(scale, unit, -float(origin or 0.0) * scale)


# Olympus Soft Imaging (JEOL and other TEM cameras) and TVIPS: structures that tifffile decodes.

_SIS_KEYS = (
    Key("magnification", "magnification", None, positive),
    Key("cameraname", "detector"),
    Key("name", "comment"),
)
_TVIPS_TIMES = ("%Y-%m-%d %H:%M:%S",)
_TVIPS_KEYS = (
    Key("TemHighTension", "accelerating_voltage", "V", positive),
    Key("TemMagnification", "magnification", None, positive),
    Key("ExposureTime", "exposure_time", "ms", positive),
    Key("CameraType", "detector"),
    Key("TemType", "instrument"),
    Key("Comment", "comment"),
)


def olympus(path: Path, page: Any, header: Header) -> None:  # noqa: ARG001
    """Read tag 33560 of Olympus Soft Imaging into the header."""
    header.format = "tif_sis"
    header.original = dict(page.tags[33560].value)
    header.take(apply(_SIS_KEYS, header.original))
    moment = header.original.get("datetime")
    if moment is not None:
        header.acquired = header.acquired_raw = moment.isoformat()
    for axis, key in (("y", "pixelsizey"), ("x", "pixelsizex")):
        if header.original.get(key):
            header.calibrate(axis, header.original[key], unit="m")


def tvips(path: Path, page: Any, header: Header) -> None:  # noqa: ARG001
    """Read tag 37706 of TVIPS into the header."""
    header.format = "tif_tvips"
    header.modality = "TEM"
    header.original = dict(page.tags[37706].value)
    header.take(apply(_TVIPS_KEYS, header.original))
    packed, seconds = int(header.original.get("Date", 0)), int(header.original.get("Time", 0))
    if packed:  # one byte of day, one of month, the rest is the year; time in seconds of the day
        day = f"{packed >> 16:04d}-{packed >> 8 & 255:02d}-{packed & 255:02d}"
        clock = f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
        header.acquired_raw = f"{packed} {seconds}"
        header.acquired = local_time(f"{day} {clock}", _TVIPS_TIMES)
    if header.original.get("TemMode") != 0:
        header.problems.append(
            f"pixel size unknown: camera mode {header.original.get('TemMode')} is not imaging"
        )
        return
    for axis, key in (("y", "PixelSizeY"), ("x", "PixelSizeX")):
        if header.original.get(key):
            header.calibrate(axis, header.original[key], unit="nm")
