"""TIFF tag 50431 of TESCAN SEMs.

Blocks of ``[length u32][kind u16][payload]`` with the length counting kind and payload; kind 1 is a
thumbnail, the others are ``key=value`` text: 2 of the picture, then 3 of the electron column or 5 of the ion
column, by which it was taken. SI units. Where the tag holds no text, or in other file formats, the same keys
stand in a file beside the image (`sem_sidecars`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from micdb.ingest.metadata import Key, flatten, positive, text
from micdb.ingest.readers.tiff_header import Header, ini, raw_tag, set_date
from micdb.records import Origin

_KEYS = (
    Key("HV", "accelerating_voltage", "V", positive),
    Key("AcceleratorVoltage", "accelerating_voltage", "V", positive),
    Key("Magnification", "magnification", None, positive),
    Key("WD", "working_distance", "m", positive),
    Key("PredictedBeamCurrent", "beam_current", "A", positive),
    Key("EmissionCurrent", "emission_current", "A", positive),
    Key("DwellTime", "dwell_time", "s", positive),
    Key("StageX", "stage_x", "m"),
    Key("StageY", "stage_y", "m"),
    Key("StageZ", "stage_z", "m"),
    Key("Detector", "detector"),
    Key("Detector0", "detector"),
    Key("Device", "instrument"),
    Key("DeviceModel", "instrument"),
    Key("Company", "vendor"),
    Key("UserName", "operator"),
    Key("SampleDesc", "sample"),
    Key("Note", "comment"),
    Key("Description", "comment"),
)
_ELECTRONS, _IONS = 3, 5  # kinds of block
_TIMES = ("%Y-%m-%d %H:%M:%S", "%Y-%m-%d")


def tescan(path: Path, page: Any, header: Header) -> None:  # noqa: ARG001 (all vendors share one signature)
    """Read tag 50431 into the header; one that holds no text leaves it empty."""
    data = raw_tag(page, 50431)
    flat: dict[str, str] = {}
    kinds: set[int] = set()
    position = 0
    while position + 6 <= len(data):
        size = int.from_bytes(data[position : position + 4], "little")
        kind = int.from_bytes(data[position + 4 : position + 6], "little")
        if size < 2:
            break
        kinds.add(kind)
        if kind != 1:
            block = flatten(ini(text(data[position + 6 : position + 4 + size])))
            flat |= {key: value for key, value in block.items() if key not in flat}
        position += 4 + size
    if flat:
        tescan_items(header, flat, "file")
    if _IONS in kinds and _ELECTRONS not in kinds:
        header.modality = None


def tescan_items(header: Header, flat: dict[str, str], origin: Origin) -> None:
    """Take TESCAN's keys, from the tag or from a sidecar."""
    header.format = "tif_tescan"
    header.modality = "SEM"
    header.original = dict(flat)
    header.map(_KEYS, flat, origin=origin)
    set_date(header, flat.get("Date"), flat.get("Time"), formats=_TIMES)
    for axis, key in (("y", "PixelSizeY"), ("x", "PixelSizeX")):
        if flat.get(key):
            header.calibrate(axis, flat[key], unit="m", origin=origin)
