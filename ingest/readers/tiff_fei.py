"""TIFF tags of FEI and Thermo Fisher: INI text of SEM and FIB (34682, 34680), XML of Phenom (34683).

The INI text has a section for the beam in use (``[Beam] Beam=EBeam``), one for each column (``[EBeam]``,
``[IBeam]``) and SI units throughout; ``Column`` below is the section of the beam in use. Images of the ion
beam keep no modality, because micdb names none for them. The print resolution beside the tags (282, 283, 296)
is no calibration and is never used.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

from micdb.ingest.metadata import Key, flatten, measure, positive, text
from micdb.ingest.readers.tiff_header import Header, ini, raw_tag, resampled, set_date
from micdb.ingest.xml_tree import xml_root
from micdb.records import Modality, Quantity

_KEYS = (
    Key("Beam.HV", "accelerating_voltage", "V", positive),
    Key("Column.HV", "accelerating_voltage", "V", positive),
    Key("Scan.Dwelltime", "dwell_time", "s", positive),
    Key("Column.WD", "working_distance", "m", positive),
    Key("Stage.WorkingDistance", "working_distance", "m", positive),
    Key("Column.BeamCurrent", "beam_current", "A", positive),
    Key("Column.EmissionCurrent", "emission_current", "A", positive),
    Key("Beam.Spot", "spot_size", None, positive),
    Key("Beam.ScanRotation", "scan_angle", "rad"),
    Key("Stage.StageX", "stage_x", "m"),
    Key("Stage.StageY", "stage_y", "m"),
    Key("Stage.StageZ", "stage_z", "m"),
    Key("Stage.StageR", "stage_rotation", "rad"),
    Key("Stage.StageT", "stage_tilt", "rad"),
    Key("Stage.StageTa", "stage_tilt", "rad"),
    Key("Stage.StageTb", "stage_tilt_beta", "rad"),
    Key("Detectors.Name", "detector"),
    Key("Detectors.Mode", "signal", None, lambda mode: None if mode == "None" else mode),
    Key("System.SystemType", "instrument"),
    Key("User.User", "operator"),
    Key("User.UserText", "comment"),
)
_BEAMS: dict[str, Modality] = {"EBeam": "SEM", "IRBeam": "optical"}
_TIMES = ("%m/%d/%Y %I:%M:%S %p", "%m/%d/%Y %H:%M:%S")


def fei(path: Path, page: Any, header: Header) -> None:  # noqa: ARG001 (all vendors share one signature)
    """Read tag 34682 or 34680 into the header."""
    header.format = "tif_fei"
    tag = 34682 if 34682 in page.tags else 34680
    tree = ini(text(raw_tag(page, tag)))
    header.original = tree
    beam = str(flatten(tree).get("Beam.Beam", ""))
    tree_in_use = {**tree, "Column": tree.get(beam, {})}  # the column that took the picture
    flat = {key: value for key, value in flatten(tree_in_use).items() if value != ""}
    header.map(_KEYS, flat)
    header.modality = _BEAMS.get(beam)
    set_date(header, flat.get("User.Date"), flat.get("User.Time"), formats=_TIMES)
    _magnification(header, flat)
    if not resampled(header, page, flat.get("Image.ResolutionX")):
        for axis, sizes in _SIZES.items():
            _pixel_size(header, flat, axis, sizes)


# Axis -> pixel size, and width of the field with the number of pixels across it.
_SIZES = {
    "y": ("Scan.PixelHeight", ("Scan.VerFieldsize", "Column.VFW"), "Image.ResolutionY"),
    "x": ("Scan.PixelWidth", ("Scan.HorFieldsize", "Column.HFW"), "Image.ResolutionX"),
}


def _pixel_size(
    header: Header, flat: dict[str, Any], axis: str, keys: tuple[str, tuple[str, ...], str]
) -> None:
    size, fields, pixels = keys
    if flat.get(size):
        header.calibrate(axis, flat[size], unit="m")
        return
    field = next((flat[key] for key in fields if flat.get(key)), None)
    if field is not None and str(flat.get(pixels, "")).isdigit() and int(flat[pixels]):
        header.calibrate(axis, float(field) / int(flat[pixels]), unit="m", origin="derived")


def _magnification(header: Header, flat: dict[str, Any]) -> None:
    """Derive the magnification the data bar shows: width of the picture on paper over width of the field."""
    canvas, field = flat.get("Image.MagCanvasRealWidth"), flat.get("Scan.HorFieldsize")
    if not canvas or not field or flat.get("Image.ZoomFactor", "1") not in ("1", "1.0"):
        return
    try:
        paper, width = measure(canvas).value, measure(field).value
    except ValueError:
        return
    if paper > 0 and width > 0:
        raw = f"Image.MagCanvasRealWidth / Scan.HorFieldsize = {canvas} / {field}"
        header.settings["magnification"] = Quantity(float(f"{paper / width:.6g}"), None, "derived", raw)


# Phenom: XML whose elements carry their unit as an attribute.

_PHENOM_KEYS = (
    Key("acquisition.scan.highVoltage", "accelerating_voltage", None, lambda given: given.lstrip("-")),
    Key("acquisition.scan.dwellTime", "dwell_time", None, positive),
    Key("acquisition.scan.emissionCurrent", "emission_current", None, positive),
    Key("acquisition.scan.spotSize", "spot_size", None, positive),
    Key("workingDistance", "working_distance", None, positive),
    Key("detector", "detector"),
    Key("instrument.edition", "instrument"),
    Key("instrument.type", "instrument"),
    Key("currentUser", "operator"),
    Key("databarLabel", "comment"),
)
_LARGEST_XML = 1 << 20  # [byte]


def phenom(path: Path, page: Any, header: Header) -> None:  # noqa: ARG001
    """Read the XML in tag 34683 into the header."""
    phenom_xml(raw_tag(page, 34683).strip(b"\x00 \r\n"), header)


def phenom_xml(written: bytes, header: Header) -> None:
    """Read a Phenom ``<FeiImage>`` into the header; other XML is kept and not read."""
    if len(written) > _LARGEST_XML:
        raise ValueError(f"{len(written)} bytes of XML")
    header.original["xml"] = text(written)
    root = xml_root(written)
    if root.tag != "FeiImage":
        return
    header.format = "tif_phenom"
    header.modality = "SEM"
    flat = _measures(root)
    detectors = root.find("acquisition/scan/detectors")
    used = [one.tag for one in detectors if _mixed_in(one)] if detectors is not None else []
    header.map(_PHENOM_KEYS, {**flat, "detector": " + ".join(used)})
    set_date(header, flat.get("time"), None, formats=("%Y-%m-%dT%H:%M:%S",))
    for axis, key in (("y", "pixelHeight"), ("x", "pixelWidth")):
        if flat.get(key):
            header.calibrate(axis, flat[key])


def _mixed_in(detector: ET.Element) -> bool:
    return (detector.findtext("mixFactor") or "0").strip() not in ("0", "0.0")


def _measures(root: ET.Element) -> dict[str, str]:
    """Return path -> text with its unit, for every element that has text."""
    flat: dict[str, str] = {}
    pending = [("", root)]
    while pending:
        path, element = pending.pop()
        pending.extend((f"{path}.{child.tag}" if path else child.tag, child) for child in element)
        if element.text and element.text.strip():
            flat[path] = f"{element.text.strip()} {element.get('unit', '')}".strip()
    return flat
