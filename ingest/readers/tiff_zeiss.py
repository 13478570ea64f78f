"""TIFF tag 34118 of Zeiss and LEO SEMs.

A text: first unnamed numbers in SI units (the fourth is the pixel size on a screen 1024 pixels wide, the
fifth the magnification), then key lines (``AP_WD``), each followed by a line ``Label = value unit``. Old LEO
programs wrote the numbers only. ``AP_IMAGE_PIXEL_SIZE`` belongs to the stored image, ``AP_PIXEL_SIZE`` to the
screen: they differ for stored images of another width.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from micdb.ingest.metadata import Key, measure, positive, text
from micdb.ingest.readers.tiff_header import Header, raw_tag, resampled, set_date


def _magnification(written: Any) -> float:
    found = re.fullmatch(r"([\d.]+)\s*(K?)\s*X", text(written), re.IGNORECASE)
    if found is None:
        raise ValueError("expected a number and X or K X")
    return float(found[1]) * (1000 if found[2] else 1)


_COMMON = (
    Key("AP_STAGE_AT_X", "stage_x"),
    Key("AP_STAGE_AT_Y", "stage_y"),
    Key("AP_STAGE_AT_Z", "stage_z"),
    Key("AP_STAGE_AT_R", "stage_rotation"),
    Key("AP_STAGE_AT_T", "stage_tilt"),
    Key("DP_DETECTOR_CHANNEL", "detector"),
    Key("DP_DETECTOR_TYPE", "detector"),
    Key("SV_SERIAL_NUMBER", "instrument"),
    Key("DP_SEM", "instrument"),
    Key("SV_OPERATOR", "operator"),
    Key("SV_USER_NAME", "operator"),
    Key("SV_SAMPLE_ID", "sample"),
    Key("SV_USER_TEXT", "comment"),
)
_ELECTRONS = (
    Key("AP_ACTUALKV", "accelerating_voltage", None, positive),
    Key("AP_MANUALKV", "accelerating_voltage", None, positive),
    Key("AP_MAG", "magnification", None, _magnification),
    Key("AP_WD", "working_distance", None, positive),
    Key("AP_IPROBE", "beam_current", None, positive),
    Key("DP_DWELL_TIME", "dwell_time", None, positive),
    Key("AP_SCANROTATION", "scan_angle"),
)
_IONS = (
    Key("AP_FIB_EHT_ACTUAL", "accelerating_voltage", None, positive),
    Key("AP_FIB_MAGNIFICATION", "magnification", None, _magnification),
    Key("AP_FIB_WORKING_DISTANCE", "working_distance", None, positive),
    Key("AP_FIB_PROBE_CURRENT_ACTUAL", "beam_current", None, positive),
    Key("AP_FIB_SCAN_ROTATION", "scan_angle"),
)
_ITEM = re.compile(r"^((?:AP|DP|SV)_\w+)\r?\n([^\r\n]*)", re.MULTILINE)
_DATES = ("%d %b %Y %H:%M:%S", "%d %b %Y")
_SCREEN = 1024  # [pixel] the width that the unnamed pixel size refers to


def zeiss(path: Path, page: Any, header: Header) -> None:  # noqa: ARG001 (all vendors share one signature)
    """Read tag 34118 into the header."""
    header.format = "tif_zeiss"
    written = raw_tag(page, 34118).decode("cp1252", "replace")
    items = _items(written)
    header.original = {"header": written.split("\r\n")[:40], **items}
    beam = items.get("DP_FIB_IMAGING", "SEM")
    header.modality = "SEM" if beam == "SEM" else None
    header.map((*_COMMON, *(_IONS if beam == "FIB" else _ELECTRONS)), items)
    set_date(header, items.get("AP_DATE"), items.get("AP_TIME"), formats=_DATES)
    if resampled(header, page, items.get("DP_IMAGE_STORE")):
        return
    size, ions = items.get("AP_IMAGE_PIXEL_SIZE"), items.get("AP_FIB_PIXEL_SIZE")
    if beam != "SEM" and size != ions:
        header.problems.append(f"pixel size unknown: {size} for electrons, {ions} for ions, taken by {beam}")
    elif size is not None:
        header.calibrate_both(size)
    else:
        _screen_pixel(header, page, written.split())


def _items(written: str) -> dict[str, str]:
    items = {}
    for key, line in _ITEM.findall(written):
        _, separator, value = line.partition(" = ")
        items[key] = value.strip() if separator else line.partition(":")[2].strip()
    return items


def _screen_pixel(header: Header, page: Any, numbers: list[str]) -> None:
    if len(numbers) > 3:
        try:
            size = measure(numbers[3]).value * _SCREEN / page.imagewidth
        except ValueError:
            return
        header.calibrate_both(size, unit="m", origin="derived")
