"""The parameter text that JEOL SEM programs write beside a picture.

Lines ``$CM_KEY value`` and ``$$SM_KEY value``. Newer programs give the pixel size or the field of view with
unit. In older texts the size is derived: from the marker and its length in pixels, else from the
magnification and the width of picture that it refers to, ``SM_STANDARD_FIELD_SIZE``. Where that is missing
the size is unknown: on some instruments the width is 128 mm, on others 120 mm.
"""

from __future__ import annotations

import re

from micdb import units
from micdb.ingest.metadata import Key, measure, positive
from micdb.ingest.readers.tiff_header import Header, Size, other_size, set_date

_KEYS = (
    Key("CM_ACCEL_VOLT", "accelerating_voltage", "kV", positive),
    Key("CM_ACCEL_VOLTAGE", "accelerating_voltage", "kV", positive),
    Key("CM_MAG", "magnification", None, positive),
    Key("SM_WD", "working_distance", "mm", positive),
    Key("SM_SCAN_ROTATION", "scan_angle", "deg"),
    Key("STAGE_X", "stage_x", "mm"),
    Key("STAGE_Y", "stage_y", "mm"),
    Key("STAGE_Z", "stage_z", "mm"),
    Key("CM_DETECTOR_NAME", "detector"),
    Key("CM_DETECTOR", "detector"),
    Key("SM_DETECTOR", "detector"),
    Key("CM_SIGNAL_NAME", "signal"),
    Key("CM_SIGNAL", "signal"),
    Key("CM_INSTRUMENT", "instrument"),
    Key("CM_OPERATOR", "operator"),
    Key("CM_COMMENT", "comment"),
)
_TIMES = ("%Y/%m/%d %H:%M:%S", "%Y/%m/%d")
_WIDTH = 128.0  # [mm] roughly, of the picture that a magnification refers to
_MEASURE = re.compile(r"([\d.]+(?:[eE][+-]?\d+)?)\s*([A-Za-zµμ]*)")


def jeol(written: str, size: Size, header: Header) -> bool:
    """Read the text of a picture of that size into the header; says that it was for us."""
    words = [line.lstrip("$").split(None, 1) for line in written.splitlines() if line.startswith("$")]
    flat = {pair[0]: pair[1].strip() if len(pair) > 1 else "" for pair in words if pair}
    stated = flat.get("CM_IMAGE_SIZE") or flat.get("CM_FULL_SIZE")
    bar = flat.get("SM_PNU_HEIGHT", "")
    if other_size(header, stated, size, bar=int(bar) if bar.isdigit() else size[1] // 8):
        return True
    header.format = "tif_jeol"
    # Transmission microscopes (JEM) write the same text beside their scanned and their other pictures.
    header.modality = None if flat.get("CM_INSTRUMENT", "").startswith("JEM") else "SEM"
    header.original = flat
    stage = (flat.get("CM_STAGE_POSITION") or flat.get("CM_STAGE_POS") or "").split()
    places = dict(zip(("STAGE_X", "STAGE_Y", "STAGE_Z"), stage, strict=False))
    header.map(_KEYS, {**flat, **places}, origin="sidecar")
    set_date(header, flat.get("CM_DATE"), flat.get("CM_TIME"), formats=_TIMES)
    _pixel(header, flat, size[0], _pair(stated))
    return True


def _pixel(header: Header, flat: dict[str, str], width: int, stated: Size | None) -> None:
    """Calibrate from what is surest: the pixel itself, the field of view, the marker, the magnification."""
    pixel, field = _lengths(flat.get("CM_PIXEL_SIZE")), _field(flat)
    marker, bar = _lengths(flat.get("SM_MICRON_MARKER")), number(flat.get("SM_MICRON_BAR"))
    magnification = number(flat.get("CM_MAG"))
    reference = number((flat.get("SM_STANDARD_FIELD_SIZE") or "").split(" ")[0])
    if pixel:
        header.calibrate("x", pixel[0], unit="um", origin="sidecar")
        header.calibrate("y", pixel[-1], unit="um", origin="sidecar")
    elif len(field) == 2 and stated:
        header.calibrate("x", field[0] / stated[0], unit="um", origin="sidecar")
        header.calibrate("y", field[1] / stated[1], unit="um", origin="sidecar")
    elif marker and bar:
        header.calibrate_both(marker[0] / bar, unit="um", origin="derived")
    elif magnification and reference:
        header.calibrate_both(reference / magnification / width, unit="mm", origin="derived")
    else:
        header.problems.append(
            "pixel size unknown: the text has neither a field of view, nor how long its marker is, nor the"
            " width of picture that its magnification refers to"
        )


def _field(flat: dict[str, str]) -> list[float]:
    """Return the field of view [um]; numbers without a unit are mm where the magnification confirms it."""
    written = flat.get("CM_FIELD_OF_VIEW")
    field = _lengths(written)
    bare = [float(word) for word in (written or "").split() if re.fullmatch(r"[\d.]+(?:[eE][+-]?\d+)?", word)]
    magnification = number(flat.get("CM_MAG"))
    if not field and len(bare) == 2 and magnification and 0.5 < bare[0] * magnification / _WIDTH < 2:
        field = [1000 * value for value in bare]
    return field


def _lengths(written: str | None) -> list[float]:
    """Return every length [um] written with its unit: ``128.000um 96.000um``."""
    found = [(float(value), units.known(unit)) for value, unit in _MEASURE.findall(written or "") if unit]
    return [
        units.convert(value, unit, "um")
        for value, unit in found
        if value > 0 and units.compatible(unit, "um")
    ]


def number(written: str | None) -> float | None:
    """Return a positive number, or None."""
    try:
        value = measure(written or "").value
    except ValueError:
        return None
    return value if value > 0 else None


def _pair(written: str | None) -> Size | None:
    numbers = [int(number) for number in re.findall(r"\d+", written or "")[:2]]
    return (numbers[0], numbers[1]) if len(numbers) == 2 and min(numbers) > 0 else None
