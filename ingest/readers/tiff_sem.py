"""SEM makers' TIFF tags: FEI and Thermo Fisher, Zeiss, TESCAN.

The print resolution beside them (tags 282, 283, 296) is no calibration and is never used.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from micdb.ingest.metadata import Key, apply, flatten, measure, positive, text, tolerate
from micdb.ingest.readers.tiff_header import Header, calibrate_unless_resampled, ini, raw_tag, set_date
from micdb.records import Modality, Origin

# FEI and Thermo Fisher: tag 34682 (dual beams) or 34680 (SFEG), an INI text.

_FEI_KEYS = (
    Key("Beam.HV", "accelerating_voltage", "V", positive),
    Key("EBeam.HV", "accelerating_voltage", "V", positive),
    Key("Scan.Dwelltime", "dwell_time", "s", positive),
    Key("EBeam.WD", "working_distance", "m", positive),
    Key("Stage.WorkingDistance", "working_distance", "m", positive),
    Key("EBeam.BeamCurrent", "beam_current", "A", positive),
    Key("Beam.ScanRotation", "scan_angle", "rad"),
    Key("Stage.StageX", "stage_x", "m"),
    Key("Stage.StageY", "stage_y", "m"),
    Key("Stage.StageZ", "stage_z", "m"),
    Key("Stage.StageR", "stage_rotation", "rad"),
    Key("Stage.StageT", "stage_tilt", "rad"),
    Key("Stage.StageTb", "stage_tilt_beta", "rad"),
    Key("Detectors.Name", "detector"),
    Key("Detectors.Mode", "signal", None, lambda mode: None if mode == "None" else mode),
    Key("System.SystemType", "instrument"),
    Key("User.User", "operator"),
    Key("User.UserText", "comment"),
)
_FEI_BEAMS: dict[str, Modality] = {"EBeam": "SEM", "IRBeam": "optical"}
_FEI_TIMES = ("%m/%d/%Y %I:%M:%S %p", "%m/%d/%Y %H:%M:%S")


def fei(path: Path, page: Any, header: Header) -> None:  # noqa: ARG001 (all vendors share one signature)
    """Read tag 34682 or 34680 of FEI and Thermo Fisher into the header."""
    header.format = "tif_fei"
    tag = 34682 if 34682 in page.tags else 34680
    tree = ini(raw_tag(page, tag).decode("latin-1"))
    header.original = tree
    flat = flatten(tree)
    beam = str(flat.get("Beam.Beam", ""))
    keys = [row for row in _FEI_KEYS if not row.vendor.startswith("EBeam.") or beam == "EBeam"]
    header.take(apply(keys, flat))
    header.modality = _FEI_BEAMS.get(beam)
    set_date(header, flat.get("User.Date"), flat.get("User.Time"), formats=_FEI_TIMES)
    sizes = {"y": flat.get("Scan.PixelHeight"), "x": flat.get("Scan.PixelWidth")}
    calibrate_unless_resampled(header, page, sizes, unit="m", recorded_width=flat.get("Image.ResolutionX"))


# Zeiss: tag 34118, a text of key lines, each followed by "Label = value unit".


def _zeiss_magnification(written: Any) -> float:
    found = re.fullmatch(r"([\d.]+)\s*(K?)\s*X", text(written), re.IGNORECASE)
    if found is None:
        raise ValueError("expected a number and X or K X")
    return float(found[1]) * (1000 if found[2] else 1)


_ZEISS_KEYS = (
    Key("AP_ACTUALKV", "accelerating_voltage", None, positive),
    Key("AP_MANUALKV", "accelerating_voltage", None, positive),
    Key("AP_MAG", "magnification", None, _zeiss_magnification),
    Key("AP_WD", "working_distance", None, positive),
    Key("AP_IPROBE", "beam_current", None, positive),
    Key("DP_DWELL_TIME", "dwell_time", None, positive),
    Key("AP_STAGE_AT_X", "stage_x"),
    Key("AP_STAGE_AT_Y", "stage_y"),
    Key("AP_STAGE_AT_Z", "stage_z"),
    Key("AP_STAGE_AT_R", "stage_rotation"),
    Key("AP_STAGE_AT_T", "stage_tilt"),
    Key("AP_SCANROTATION", "scan_angle"),
    Key("DP_DETECTOR_CHANNEL", "detector"),
    Key("DP_DETECTOR_TYPE", "detector"),
    Key("SV_SERIAL_NUMBER", "instrument"),
    Key("SV_OPERATOR", "operator"),
    Key("SV_USER_NAME", "operator"),
    Key("SV_SAMPLE_ID", "sample"),
    Key("SV_USER_TEXT", "comment"),
)
_ZEISS_ITEM = re.compile(r"^((?:AP|DP|SV)_\w+)\r?\n([^\r\n]*)", re.MULTILINE)
_ZEISS_DATES = ("%d %b %Y %H:%M:%S", "%d %b %Y")
_ZEISS_WIDTH = 1024  # [pixel] the width that the bare pixel size of old LEO headers refers to


def zeiss(path: Path, page: Any, header: Header) -> None:  # noqa: ARG001
    """Read tag 34118 of Zeiss and LEO into the header."""
    header.format = "tif_zeiss"
    header.modality = "SEM"
    written = raw_tag(page, 34118).decode("cp1252", "replace")
    items = {}
    for key, line in _ZEISS_ITEM.findall(written):
        _, separator, value = line.partition(" = ")
        items[key] = value.strip() if separator else line.partition(":")[2].strip()
    header.original = {"header": written.split("\r\n")[:40], **items}
    header.take(apply(_ZEISS_KEYS, items))
    set_date(header, items.get("AP_DATE"), items.get("AP_TIME"), formats=_ZEISS_DATES)
    size = items.get("AP_IMAGE_PIXEL_SIZE")
    if size is not None:
        calibrate_unless_resampled(
            header, page, {"y": size, "x": size}, unit=None, recorded_width=items.get("DP_IMAGE_STORE")
        )
        return
    numbers = written.split()
    if not items and len(numbers) > 3:  # old LEO files: unnamed numbers, the fourth is the pixel size in m
        size = measure(numbers[3]).value * _ZEISS_WIDTH / page.imagewidth
        header.calibrate("y", size, unit="m", origin="derived")
        header.calibrate("x", size, unit="m", origin="derived")


# TESCAN: tag 50431, blocks of [length u32][kind u16][payload]; kind 1 is a thumbnail, the others are text.

_TESCAN_KEYS = (
    Key("HV", "accelerating_voltage", "V", positive),
    Key("AcceleratorVoltage", "accelerating_voltage", "V", positive),
    Key("Magnification", "magnification", None, positive),
    Key("WD", "working_distance", "m", positive),
    Key("PredictedBeamCurrent", "beam_current", "A", positive),
    Key("DwellTime", "dwell_time", "s", positive),
    Key("StageX", "stage_x", "m"),
    Key("StageY", "stage_y", "m"),
    Key("StageZ", "stage_z", "m"),
    Key("Detector", "detector"),
    Key("Detector0", "detector"),
    Key("Device", "instrument"),
    Key("UserName", "operator"),
    Key("Note", "comment"),
    Key("Description", "comment"),
)
_TESCAN_TIMES = ("%Y-%m-%d %H:%M:%S", "%Y-%m-%d")


def tescan(path: Path, page: Any, header: Header) -> None:
    """Read tag 50431 of TESCAN into the header, or the sidecar where it holds no text."""
    data = raw_tag(page, 50431)
    flat: dict[str, str] = {}
    position = 0
    while position + 6 <= len(data):
        size = int.from_bytes(data[position : position + 4], "little")
        kind = int.from_bytes(data[position + 4 : position + 6], "little")
        if size < 2:
            break
        if kind != 1:
            block = ini(data[position + 6 : position + 4 + size].decode("utf-8", "replace"))
            flat |= {key: value for key, value in flatten(block).items() if key not in flat}
        position += 4 + size
    if flat:
        _tescan_items(header, flat, "file")
    else:
        tescan_sidecar(path, header)


def tescan_sidecar(path: Path, header: Header) -> None:
    """Read ``NAME-EXT.hdr``, which other TESCAN exports write beside ``NAME.EXT``."""
    sidecar = path.with_name(f"{path.stem}-{path.suffix.lstrip('.')}.hdr")
    if not sidecar.is_file():
        return
    with tolerate(header.problems, f"the sidecar {sidecar.name}"):
        tree = ini(sidecar.read_bytes().decode("utf-8", "replace"))
        header.parts = (str(sidecar),)
        _tescan_items(header, {**tree.get("SEM", {}), **tree.get("MAIN", {})}, "sidecar")


def _tescan_items(header: Header, flat: dict[str, str], origin: Origin) -> None:
    header.format = "tif_tescan"
    header.modality = "SEM"
    header.original = dict(flat)
    header.take(apply(_TESCAN_KEYS, flat, origin=origin))
    set_date(header, flat.get("Date"), flat.get("Time"), formats=_TESCAN_TIMES)
    for axis, key in (("y", "PixelSizeY"), ("x", "PixelSizeX")):
        if flat.get(key):
            header.calibrate(axis, flat[key], unit="m", origin=origin)
