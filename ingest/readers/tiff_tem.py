"""TEM cameras' TIFF tags: DigitalMicrograph's export, Olympus Soft Imaging, TVIPS, JEOL SightX.

TVIPS writes two structures: version 1 alone, in fixed point with four decimals (kV, thousands, um, ms), or
followed by version 2 in floating point, with the pixel size in nm. SightX writes XML into the image
description and the size of a pixel *on the camera* into the resolution tags.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

from micdb import units
from micdb.ingest.metadata import Key, flatten, local_time, positive, text
from micdb.ingest.readers.tiff_header import Header, Step, raw_tag
from micdb.ingest.xml_tree import xml_root

# DigitalMicrograph's TIFF export, and HyperSpy's: private tags; unit, scale, position of the first pixel in
# that unit (in a real file of a cropped image it is a whole number of pixels: those that were cut off).

DM_SCALE = 65009
_DM_TAGS = {"x": (65003, DM_SCALE, 65006), "y": (65004, 65010, 65007), "frame": (65005, 65011, 65008)}


def digital_micrograph(path: Path, page: Any, header: Header) -> None:  # noqa: ARG001
    """Read the private tags of a DigitalMicrograph export into the header."""
    header.format = "tif_dm"
    for axis, codes in _DM_TAGS.items():
        written, scale, origin = (page.tags[code].value if code in page.tags else None for code in codes)
        header.original[axis] = {"unit": written, "scale": scale, "origin": origin}
        unit = units.of_axis(text(written or ""))
        if unit is not None and isinstance(scale, float) and scale > 0:
            header.steps[axis] = Step(scale, unit, float(origin or 0.0))
    if "frame" in header.steps:  # HyperSpy may have named the axis of a stack
        header.steps["z"] = header.steps["time"] = header.steps["frame"]


# Olympus Soft Imaging (JEOL and other TEM cameras): a structure that tifffile decodes.

_SIS_KEYS = (
    Key("magnification", "magnification", None, positive),
    Key("cameraname", "detector"),
    Key("Model", "detector"),  # the TIFF tag: the maker's products are cameras
    Key("name", "comment"),
)


def olympus(path: Path, page: Any, header: Header) -> None:  # noqa: ARG001
    """Read tag 33560 of Olympus Soft Imaging into the header."""
    header.format = "tif_sis"
    header.original = dict(page.tags[33560].value)
    model = {"Model": page.tags[272].value} if 272 in page.tags else {}
    header.map(_SIS_KEYS, {**header.original, **model})
    moment = header.original.get("datetime")
    if moment is not None:
        header.acquired = header.acquired_raw = moment.isoformat(timespec="minutes")  # it has no seconds
    for axis, key in (("y", "pixelsizey"), ("x", "pixelsizex")):
        if header.original.get(key):
            header.calibrate(axis, header.original[key], unit="m")


# TVIPS EM-MENU

_TVIPS_TIMES = ("%Y-%m-%d %H:%M:%S",)
_TVIPS_KEYS = (
    Key("TemHighTension", "accelerating_voltage", "V", positive),
    Key("HighTension", "accelerating_voltage", None, lambda tenth: positive(f"{tenth / 10} V")),
    Key("TemMagnification", "magnification", None, positive),
    Key("Magnification", "magnification", None, lambda tenth: positive(tenth / 10)),
    Key("ExposureTime", "exposure_time", "ms", positive),
    Key("ExposureTimeV1", "exposure_time", None, lambda part: positive(f"{part / 10_000} ms")),
    Key("CameraType", "detector"),
    Key("TemType", "instrument"),
    Key("Comment", "comment"),
    Key("CommentV1", "comment"),
)
_NO_MAGNIFICATION = ("TemMagnification", "Magnification")  # in diffraction it is the camera length
_IMAGING, _DIFFRACTION = 0, 3


def tvips(path: Path, page: Any, header: Header) -> None:  # noqa: ARG001
    """Read tag 37706 of TVIPS into the header."""
    header.format = "tif_tvips"
    header.original = dict(page.tags[37706].value)
    items = header.original
    mode = int(items.get("TemMode") or items.get("ImageMode") or 0)
    header.modality = "TEM" if mode != _DIFFRACTION else "diffraction"
    keys = [row for row in _TVIPS_KEYS if mode != _DIFFRACTION or row.vendor not in _NO_MAGNIFICATION]
    header.map(keys, items)
    packed = int(items.get("Date") or items.get("DateV1") or 0)
    seconds = int(items.get("Time") or items.get("TimeV1") or 0)
    if packed:  # one byte of day, one of month, the rest is the year; time in seconds of the day
        day = f"{packed >> 16:04d}-{packed >> 8 & 255:02d}-{packed & 255:02d}"
        clock = f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
        header.acquired_raw = f"{packed} {seconds}"
        header.acquired = local_time(f"{day} {clock}", _TVIPS_TIMES)
    _tvips_pixel(header, page, mode)


def _tvips_pixel(header: Header, page: Any, mode: int) -> None:
    """Take the pixel size in imaging; in other modes only where the resolution tags confirm the length."""
    camera = _camera_pixels(page)
    for axis, key in (("y", "PixelSizeY"), ("x", "PixelSizeX")):
        size, printed = header.original.get(key), camera.get(axis, 0.0) * 1e9
        if size is None and mode == _IMAGING and printed:  # version 1 has it in the resolution tags only
            header.calibrate(axis, printed, unit="nm")
        elif size and (
            mode == _IMAGING or (mode != _DIFFRACTION and math.isclose(size, printed, rel_tol=1e-3))
        ):
            header.calibrate(axis, size, unit="nm")
        elif size:
            header.problems.append(f"pixel size along {axis} unknown: camera mode {mode} is not imaging")


def _camera_pixels(page: Any) -> dict[str, float]:
    """Return the resolution tags as sizes [m]; empty unless they are per inch or per cm."""
    unit = {2: 0.0254, 3: 0.01}.get(int(page.tags[296].value) if 296 in page.tags else 0)
    sizes: dict[str, float] = {}
    for axis, code in (("y", 283), ("x", 282)):
        if unit and code in page.tags:
            above, below = page.tags[code].value
            if above and below:
                sizes[axis] = unit * below / above
    return sizes


# JEOL SightX

_SIGHTX_KEYS = (
    Key("ElectronGun.AccelerationVoltage", "accelerating_voltage", "V", positive),
    Key("GonioStage.StagePosition.TX", "stage_tilt", "deg"),
    Key("GonioStage.StagePosition.TY", "stage_tilt_beta", "deg"),
    Key("Instruments", "instrument"),
    Key("magnification", "magnification", None, positive),
    Key("camera_length", "camera_length", None, positive),
)
_MOMENT = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,6})\d*)?(Z|[+-]\d\d:\d\d)?$")


def sightx(path: Path, page: Any, header: Header) -> None:  # noqa: ARG001
    """Read the XML report of a JEOL SightX camera into the header."""
    written = re.sub(rb"[\x00\x01]|^\s+|\s+$", b"", raw_tag(page, 270), flags=re.MULTILINE)
    header.original["xml"] = text(written)
    root = xml_root(written)
    report = root if root.tag == "TemReporter" else root.find(".//TemReporter")
    if report is None:
        return
    header.format = "tif_sightx"
    flat = _report(report)
    eos, mode = flat.get("Eos.EosMode"), flat.get("ImageFormingSystem.ModeString")
    value = flat.get("ImageFormingSystem.SelectorValue", "")
    unit = flat.get("ImageFormingSystem.SelectorUnitString", "")
    imaging = eos == "eosTEM" and mode == "MAG"
    diffraction = eos == "eosTEM" and mode == "DIFF"
    header.modality = "TEM" if imaging else "diffraction" if diffraction else None
    flat |= {"magnification": value} if imaging else {}
    flat |= {"camera_length": f"{value} {unit}"} if diffraction else {}
    header.map(_SIGHTX_KEYS, flat)
    _sightx_pixel(header, page)
    moment = _MOMENT.match(flat.get("DateTime", ""))
    if moment:
        header.acquired_raw = flat["DateTime"]
        header.acquired = moment[1] + (f".{moment[2]}" if moment[2] else "") + (moment[3] or "")


def _report(root: ET.Element) -> dict[str, str]:
    tree: dict[str, Any] = {}
    pending = [(tree, root)]
    while pending:
        branch, element = pending.pop()
        for child in element:
            if len(child):
                pending.append((branch.setdefault(child.tag, {}), child))
            else:
                branch[child.tag] = (child.text or "").strip()
    return flatten(tree)


def _sightx_pixel(header: Header, page: Any) -> None:
    """Derive the size on the specimen, or in the diffraction pattern, from the pixel of the camera."""
    settings = header.settings
    camera = _camera_pixels(page)
    for axis, size in camera.items():
        if "magnification" in settings:
            header.calibrate(
                axis, size * 1e9 / settings["magnification"].to(None), unit="nm", origin="derived"
            )
        elif "camera_length" in settings and "accelerating_voltage" in settings:
            length = settings["camera_length"].to("m")
            wave = _wavelength(settings["accelerating_voltage"].to("V"))
            header.calibrate(axis, size / (length * wave), unit="1/nm", origin="derived")


def _wavelength(voltage: float) -> float:
    """Return the relativistic wavelength of electrons [nm]; constants of CODATA 2018."""
    mass, charge, light, planck = 9.1093837015e-31, 1.602176634e-19, 299792458.0, 6.62607015e-34
    energy = charge * voltage
    return planck / math.sqrt(2 * mass * energy * (1 + energy / (2 * mass * light**2))) * 1e9
