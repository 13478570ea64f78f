"""What ImageJ writes into the image description: unit, spacing, frame interval, labels.

Pixels per unit stand in the resolution tags. A TIFF that ImageJ opened and saved again carries its print
resolution there, with ``inch`` or ``cm`` as the unit: that is no calibration.
"""

from __future__ import annotations

from typing import Any

from micdb import units
from micdb.ingest.metadata import text
from micdb.ingest.readers.tiff_header import Header

_PRINT_UNITS = ("inch", "in", "cm")


def imagej_header(page: Any, metadata: dict[str, Any]) -> Header:
    """Return the calibration ImageJ wrote."""
    header = Header(format="tif_imagej", original=dict(metadata))
    header.channels = [text(label).split("\n")[0] for label in metadata.get("Labels", [])]
    if _number(metadata, "finterval"):
        header.calibrate("time", metadata["finterval"], unit=text(metadata.get("tunit", "s")))
    unit = text(metadata.get("unit", ""))
    if unit.lower() in _PRINT_UNITS:
        header.problems.append(f"pixel size unknown: {unit} in an ImageJ file is the print resolution")
        return header
    if units.of_axis(unit) is None:
        if unit.lower() not in ("", "pixel", "pixels"):
            header.problems.append(f"pixel size unknown: unit {unit!r} is unknown")
        return header
    for axis, code in (("y", 283), ("x", 282)):
        per_unit = _ratio(page, code)
        if per_unit:
            header.calibrate(axis, 1 / per_unit, unit=_unit(metadata, axis, unit))
    if _number(metadata, "spacing"):
        header.calibrate("z", abs(metadata["spacing"]), unit=_unit(metadata, "z", unit))
    for axis in ("x", "y", "z"):  # ImageJ counts the origin in pixels
        origin, found = _number(metadata, f"{axis}origin"), header.steps.get(axis)
        if origin and found:
            header.steps[axis] = found._replace(offset=-origin * found.step)
    return header


def _unit(metadata: dict[str, Any], axis: str, common: str) -> str:
    written = text(metadata.get(f"{axis}unit") or common)
    return units.of_axis(written) or written


def _number(metadata: dict[str, Any], key: str) -> float:
    value = metadata.get(key)
    return float(value) if isinstance(value, int | float) else 0.0


def _ratio(page: Any, code: int) -> float | None:
    if code not in page.tags:
        return None
    above, below = page.tags[code].value
    return above / below if above and below else None
