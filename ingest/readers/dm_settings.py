"""What the tags of a DigitalMicrograph image say of the instrument and the moment: tables of keys, dates.

Keys are paths below ImageTags, as DigitalMicrograph shows them. Lengths of the stage are micrometres, angles
degrees, the camera length millimetres, the sample time of DigiScan microseconds.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, TypeGuard

from micdb.ingest.metadata import Key, Settings, apply, locale_time, positive, text, tolerate, utc_time
from micdb.records import Modality

_KEYS = (
    Key("Microscope Info.Voltage", "accelerating_voltage", "V", positive),
    Key("Microscope Info.STEM Camera Length", "camera_length", "mm", positive),
    Key("Microscope Info.Emission Current (\u00b5A)", "emission_current", "uA", positive),
    Key("Microscope Info.Emission Current (\u03bcA)", "emission_current", "uA", positive),
    Key("Microscope Info.Probe Current (nA)", "beam_current", "nA", positive),
    Key("Microscope Info.Spot Size", "spot_size", None, positive),
    Key("Microscope Info.Stage Position.Stage X", "stage_x", "um"),
    Key("Microscope Info.Stage Position.Stage Y", "stage_y", "um"),
    Key("Microscope Info.Stage Position.Stage Z", "stage_z", "um"),
    Key("Microscope Info.Stage Position.Stage Alpha", "stage_tilt", "deg"),
    Key("Microscope Info.Stage Position.Stage Beta", "stage_tilt_beta", "deg"),
    Key("EELS.Experimental Conditions.Convergence semi-angle (mrad)", "convergence_angle", "mrad", positive),
    Key("EELS.Convergence semi-angle (mrad)", "convergence_angle", "mrad", positive),
    Key("DigiScan.Sample Time", "dwell_time", "us", positive),
    Key("SI.Acquisition.Pixel time (s)", "dwell_time", "s", positive),
    Key("CL.Acquisition.Dwell time (s)", "dwell_time", "s", positive),
    Key("DigiScan.Rotation", "scan_angle", "deg"),
    Key("DataBar.Exposure Time (s)", "exposure_time", "s", positive),
    Key("Acquisition.Parameters.High Level.Exposure (s)", "exposure_time", "s", positive),
    Key("Acquisition.Parameters.Detector.exposure (s)", "exposure_time", "s", positive),
    Key("DigiScan.Signal Name", "detector"),
    Key("DataBar.Signal Name", "detector"),
    Key("DataBar.Device Name", "detector"),
    Key("Acquisition.Device.Name", "detector"),
    Key("Meta Data.Signal", "signal"),
    Key("Microscope Info.Microscope", "instrument"),
    Key("Session Info.Microscope", "instrument"),
    Key("Microscope Info.Name", "instrument"),
    Key("Microscope Info.Operator", "operator"),
    Key("Session Info.Operator", "operator"),
    Key("Microscope Info.Specimen", "sample"),
    Key("Session Info.Specimen", "sample"),
)


def _length(value: Any) -> str | None:
    """Let a magnification pass that is written as a length: ``285 mm``, not ``10kx``."""
    found = re.search(r"[\d.]+ ?[mc]?m$", text(value))
    return found and found[0]


_MAGNIFICATION = (
    Key("Microscope Info.Indicated Magnification", "magnification", None, positive),
    Key("Microscope Info.Actual Magnification", "magnification", None, positive),
)
# In TEM diffraction both magnifications hold the camera length; only the formatted one has a unit.
_CAMERA_LENGTH = (Key("Microscope Info.Formatted Indicated Mag", "camera_length", None, _length),)

# First words of "Illumination Mode" and "Operation Mode".
_MODALITIES: dict[str, Modality] = {
    "STEM": "STEM", "SCANNING": "STEM", "TEM": "TEM", "IMAGING": "TEM", "SEM": "SEM",
}  # fmt: skip

# Groups of tags with a date and a time in the locale of the computer, the image's own first.
_DATES = (
    ("DataBar.Acquisition Date", "DataBar.Acquisition Time"),
    ("SI.Acquisition.Date", "SI.Acquisition.Start time"),
    ("EELS.Acquisition.Date", "EELS.Acquisition.Start time"),
)
_FILETIME_EPOCH = 11_644_473_600  # [s] from 1601-01-01, where Windows counts from (UTC), to 1970-01-01
_FILETIME_TICKS = 1e7  # [1/s]


def settings(flat: Mapping[str, Any]) -> Settings:
    """Return the settings of an image from its flattened tags."""
    return apply((*_KEYS, *(_CAMERA_LENGTH if _diffracting(flat) else _MAGNIFICATION)), flat)


def channel(flat: Mapping[str, Any]) -> str | None:
    """Return the name of the STEM signal: HAADF, BF."""
    return words(flat.get("DigiScan.Signal Name")) or words(flat.get("DataBar.Signal Name")) or None


def modality(flat: Mapping[str, Any]) -> Modality | None:
    """Return how the microscope was run, by its modes."""
    if _diffracting(flat):
        return "diffraction"
    illumination, operation, _imaging = _modes(flat)
    return _MODALITIES.get(illumination) or _MODALITIES.get(operation)


def acquired(flat: Mapping[str, Any], problems: list[str]) -> tuple[str | None, str | None]:
    """Return the date as written and as ISO: from the UTC clock of the computer, else where certain."""
    pairs = ([words(flat.get(key)) for key in keys] for keys in _DATES)
    written = " ".join(part for part in next(filter(any, pairs), []) if part) or None
    moment = None
    with tolerate(problems, "the acquisition time"):
        ticks = number(flat.get("DataBar.Acquisition Time (OS)")) or 0.0
        seconds = round(ticks / _FILETIME_TICKS) - _FILETIME_EPOCH
        moment = utc_time(seconds) if seconds > 0 else None
    return written, moment or (locale_time(written) if written else None)


def _diffracting(flat: Mapping[str, Any]) -> bool:
    """Whether a TEM shows the diffraction plane; a STEM always does, and its images are none."""
    illumination, operation, imaging = _modes(flat)
    scanning = illumination in ("STEM", "SEM") or operation == "SCANNING"
    return not scanning and any(mode in ("DIFFRACTION", "DIFF") for mode in (operation, imaging))


def _modes(flat: Mapping[str, Any]) -> tuple[str, str, str]:
    keys = ("Illumination Mode", "Operation Mode", "Imaging Mode")
    first = [(words(flat.get(f"Microscope Info.{key}")).upper().split() or [""])[0] for key in keys]
    return first[0], first[1], first[2]


def mapping(value: Any) -> Mapping[str, Any]:
    """Return a tag group, or an empty one where something else stands."""
    return value if isinstance(value, Mapping) else {}


def words(value: Any) -> str:
    """Return a text tag, or ``""``."""
    return text(value) if isinstance(value, str) else ""


def number(value: Any) -> float | None:
    """Return a finite number tag, or None."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def whole(value: Any) -> TypeGuard[int]:
    """Whether a tag is a whole number."""
    return isinstance(value, int) and not isinstance(value, bool)
