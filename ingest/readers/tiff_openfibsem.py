"""OpenFIBSEM: the settings of an image as JSON in the image description.

After ``FibsemImageMetadata.to_dict`` of the program: ``image`` has the beam, the size and the dwell time,
``pixel_size`` metres, ``microscope_state`` the time [s since 1970], the stage [m, rad] and both beams [V, A,
m], ``system.info`` the instrument. What was not known stands there as null or ``Not defined``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from micdb.ingest.metadata import Key, flatten, positive, text, utc_time
from micdb.ingest.readers.tiff_header import Header, raw_tag, resampled

_KEYS = (
    Key("image.dwell_time", "dwell_time", "s", positive),
    Key("beam.voltage", "accelerating_voltage", "V", positive),
    Key("beam.beam_current", "beam_current", "A", positive),
    Key("beam.working_distance", "working_distance", "m", positive),
    Key("stage_position.x", "stage_x", "m"),
    Key("stage_position.y", "stage_y", "m"),
    Key("stage_position.z", "stage_z", "m"),
    Key("stage_position.r", "stage_rotation", "rad"),
    Key("stage_position.t", "stage_tilt", "rad"),
    Key("detector.type", "detector"),
    Key("detector.mode", "signal"),
    Key("info.manufacturer", "vendor"),
    Key("info.model", "instrument"),
    Key("user.name", "operator"),
)
_COLUMNS = {"ELECTRON": "electron", "ION": "ion"}
_LARGEST = 1 << 20  # [byte]
_UNKNOWN = (None, "", "null", "None", "Not defined", "Unknown")


def openfibsem(path: Path, page: Any, header: Header) -> None:  # noqa: ARG001 (all vendors share one signature)
    """Read the JSON into the header; other JSON leaves it empty."""
    written = raw_tag(page, 270)
    if len(written) > _LARGEST:
        return
    tree = json.loads(text(written))
    image, state = _group(tree, "image"), _group(tree, "microscope_state")
    column = _COLUMNS.get(str(image.get("beam_type")).upper())
    if column is None or not state:
        return
    header.format = "tif_openfibsem"
    header.original = tree
    header.modality = "SEM" if column == "electron" else None
    parts = {
        "image": image,
        "beam": _group(state, f"{column}_beam"),
        "detector": _group(state, f"{column}_detector"),
        "stage_position": _group(state, "stage_position"),
        "info": _group(_group(tree, "system"), "info"),
        "user": _group(tree, "user"),
    }
    header.map(_KEYS, {key: value for key, value in flatten(parts).items() if value not in _UNKNOWN})
    stamp = state.get("timestamp")
    if isinstance(stamp, int | float):
        header.acquired, header.acquired_raw = utc_time(stamp), f"timestamp = {stamp}"
    size = image.get("resolution")
    if resampled(header, page, size[0] if isinstance(size, list) and size else None):
        return
    for axis in ("y", "x"):
        step = _group(tree, "pixel_size").get(axis)
        if step:
            header.calibrate(axis, step, unit="m")


def _group(tree: Any, name: str) -> dict[str, Any]:
    found = tree.get(name) if isinstance(tree, dict) else None
    return found if isinstance(found, dict) else {}
