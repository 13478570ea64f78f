"""Texts beside an MRC file: SerialEM's .mdoc and Direct Electron's _info.txt.

``NAME.mrc.mdoc`` (or ``NAME.mdoc``) is IMOD's autodoc: global ``key = value`` lines, then one section
``[ZValue = n]`` per image, or one ``[FrameSet = 0]`` for a movie. Units after SerialEM's help: kV, angstrom
per pixel, micrometres for stage and defocus, degrees, seconds. Only what is the same in all sections becomes
a setting.
``NAME_info.txt`` belongs to the camera's ``NAME_movie.mrc``, ``NAME_0_movie.mrc``, ``NAME_final.mrc``, and to
images of the scan, ``NAME_1_Virt 1_sum.mrc``, ``NAME_ext1_Ext 1.mrc``; -1 means "not known". Its specimen
pixel is the camera's only where the microscope neither scans nor diffracts; else it is the step of the scan.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any, NamedTuple

from micdb.ingest.metadata import Key, local_time, positive, tolerate, utc_time
from micdb.ingest.readers.mrc_header import Header

_MOST_TEXT = 1 << 24  # [byte]

_MDOC_KEYS = (
    Key("Voltage", "accelerating_voltage", "kV", positive),
    Key("Magnification", "magnification", None, positive),
    Key("Defocus", "defocus", "um"),
    Key("SpotSize", "spot_size", None, positive),
    Key("ExposureTime", "exposure_time", "s", positive),
    Key("TiltAngle", "stage_tilt", "deg"),
    Key("StagePosition.x", "stage_x", "um"),
    Key("StagePosition.y", "stage_y", "um"),
    Key("StageZ", "stage_z", "um"),
)
_INFO_KEYS = (
    Key("Instrument Accelerating Voltage (V)", "accelerating_voltage", "V", positive),
    Key("Instrument Project Magnification", "magnification", None, positive),
    Key("Instrument Project Camera Length (centimeters)", "camera_length", "cm", positive),
    Key("Exposure Time (seconds)", "exposure_time", "s", positive),
    Key("Camera Model", "detector"),
)
_OF_CAMERA = ("exposure_time", "detector")
_SCAN_KEYS = tuple(key for key in _INFO_KEYS if key.setting not in _OF_CAMERA)
#: Kind of text -> its table.
KEYS = {"mdoc": _MDOC_KEYS, "info": _INFO_KEYS, "scan_info": _SCAN_KEYS}
_MDOC_TIME = ("%d-%b-%y %H:%M:%S", "%d-%b-%Y %H:%M:%S", "%Y-%b-%d %H:%M:%S")
_SECTION = re.compile(r"\[\s*(\w+)\s*=\s*(.*?)\s*\]\Z")
_TITLE, _OF_IMAGES = "T", ("ZValue", "FrameSet")  # kinds of section; a montage has others
_PIXEL = "Specimen Pixel Size {} (nanometers)"
_OF_SCAN = re.compile(r"_(?:virt|ext)?\d+_(?!(?:.*_)?(?:movie|final)\Z).+")  # what follows NAME


class Sidecar(NamedTuple):
    """What a text says, ready for `apply`.

    Parameters
    ----------
    path
        The text.
    kind
        ``mdoc``, ``info``, or ``scan_info`` for an info text as an image of the scan has to read it.
    values
        What holds for all images.
    sections
        What is told of each image.
    steps
        Pixel size along x and y, None where not known, and its unit.
    time
        Time between frames [s]; None where not known.
    acquired, acquired_raw
        Moment, ISO 8601 and as written.
    """

    path: Path
    kind: str
    values: dict[str, str]
    sections: list[dict[str, str]]
    steps: tuple[float | None, float | None]
    unit: str
    time: float | None
    acquired: str | None
    acquired_raw: str | None


def read_sidecar(path: Path, header: Header, problems: list[str]) -> Sidecar | None:
    """Return the text beside an MRC file, if it describes images of that size; else say so in `problems`."""
    for kind, candidate in _candidates(path):
        if not candidate.is_file():
            continue
        with tolerate(problems, f"the sidecar {candidate.name}"):
            with candidate.open("rb") as stream:
                written = stream.read(_MOST_TEXT).decode("utf-8", "replace")
            sidecar = _mdoc(candidate, written) if kind == "mdoc" else _info(candidate, written, path.stem)
            if _size(sidecar) == (header.columns, header.rows):
                return sidecar
            problems.append(
                f"the sidecar {candidate.name} is left out: it describes an image of another size"
            )
        return None
    return None


def _candidates(path: Path) -> list[tuple[str, Path]]:
    words = path.stem.split("_")
    infos = ["_".join(words[:count]) + "_info.txt" for count in range(len(words), 0, -1)]
    mdocs = [f"{path.name}.mdoc", f"{path.stem}.mdoc"]
    return [("mdoc", path.with_name(name)) for name in mdocs] + [
        ("info", path.with_name(name)) for name in infos
    ]


def _size(sidecar: Sidecar) -> tuple[int, int] | None:
    written = sidecar.values.get("ImageSize", "")
    if sidecar.kind != "mdoc":
        name = "Image Size {} (pixels)" if sidecar.kind == "info" else "Scan - Size {}"
        if sidecar.kind == "scan_info" and sidecar.values.get("Scan - ROI Enable") == "Enable":
            name = "Scan - ROI Size {}"
        written = " ".join(sidecar.values.get(name.format(side), "") for side in "XY")
    found = re.fullmatch(r"\s*(\d{1,7})\s+(\d{1,7})\s*", written)
    return (int(found[1]), int(found[2])) if found else None


def _mdoc(path: Path, written: str) -> Sidecar:
    values: dict[str, str] = {}
    sections: list[dict[str, str]] = []
    current = values
    for line in written.splitlines():
        section = _SECTION.match(line.strip())
        if section and section[1] == _TITLE:
            values[_TITLE] = "\n".join(filter(None, (values.get(_TITLE), section[2])))
        elif section:
            current = {section[1]: section[2]}
            sections.append(current)
        else:
            key, sign, value = line.partition("=")
            if sign:
                current[key.strip()] = value.strip()
    images = [section for section in sections if any(kind in section for kind in _OF_IMAGES)]
    values |= _common(images)
    x, _, y = values.get("StagePosition", "").partition(" ")
    values |= {"StagePosition.x": x.strip(), "StagePosition.y": y.strip()} if y.strip() else {}
    first = next(iter(images), {}).get("DateTime") or values.get("DateTime")
    step = _number(values.get("PixelSpacing"))
    moment = local_time(first, _MDOC_TIME) if first else None
    return Sidecar(path, "mdoc", values, sections, (step, step), "angstrom", None, moment, first)


def _common(sections: list[dict[str, str]]) -> dict[str, str]:
    """Return what all sections say alike."""
    if not sections:
        return {}
    first, *others = sections
    return {key: value for key, value in first.items() if all(other.get(key) == value for other in others)}


def _info(path: Path, written: str, image: str) -> Sidecar:
    pairs = (line.partition("=") for line in written.splitlines())
    values = {key.strip(): value.strip() for key, sign, value in pairs if sign}
    kind = "scan_info" if _OF_SCAN.fullmatch(image.removeprefix(path.stem.removesuffix("_info"))) else "info"
    steps = (_number(values.get(_PIXEL.format("X"))), _number(values.get(_PIXEL.format("Y"))))
    if _scans(values) != (kind == "scan_info") or (kind == "info" and _diffracts(values)):
        steps = (None, None)
    stamp = values.get("Timestamp (seconds since Epoch)")
    seconds = _number(stamp)
    moment = utc_time(seconds) if seconds else None
    return Sidecar(path, kind, values, [], steps, "nm", _frame_time(values), moment, stamp)


def _scans(values: dict[str, str]) -> bool:
    return values.get("Scan - Enable") == "Enable"


def _diffracts(values: dict[str, str]) -> bool:
    """Whether the camera sees diffraction patterns: in STEM, and where there is a camera length."""
    stem = values.get("Instrument Project TEMorSTEM Mode") == "1"
    return stem or _number(values.get("Instrument Project Camera Length (centimeters)")) is not None


def _frame_time(values: dict[str, str]) -> float | None:
    """Return the time between saved frames of a movie; frames of a scan are points, not times."""
    if _scans(values):
        return None
    rate, summed = _number(values.get("Frames Per Second")), _number(values.get("Autosave Movie Sum Count"))
    return summed / rate if rate and summed else None


def _number(written: str | None) -> float | None:
    """Return a positive number, or None for a missing one, for text and for the -1 of "not known"."""
    try:
        number = float(written or "")
    except ValueError:
        return None
    return number if math.isfinite(number) and number > 0 else None


def told(sidecar: Sidecar) -> dict[str, Any]:
    """Return the text for `Scan.original`."""
    return {**sidecar.values, **({"sections": sidecar.sections} if sidecar.sections else {})}
