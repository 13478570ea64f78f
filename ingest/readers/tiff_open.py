"""Open dialects of TIFF: what ImageJ and OME write in the image description."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

from micdb import units
from micdb.ingest.metadata import Key, apply, positive, text, tolerate
from micdb.ingest.readers.tiff_header import Header

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

# A TIFF that ImageJ opened and saved again carries its print resolution as one of these "units".
_PRINT_UNITS = ("inch", "in", "cm")

_OME_KEYS = (
    Key("Detector.Model", "detector"),
    Key("Microscope.Model", "instrument"),
    Key("Microscope.Manufacturer", "vendor"),
    Key("Objective.NominalMagnification", "magnification", None, positive),
    Key("Experimenter.UserName", "operator"),
    Key("Image.Description", "comment"),
    Key("Plane.ExposureTime", "exposure_time", "s", positive),
)
_OME_LENGTH = "um"  # PhysicalSize without a unit (OME model, 2016-06)
_OME_STEPS = (("y", "PhysicalSizeY"), ("x", "PhysicalSizeX"), ("z", "PhysicalSizeZ"))


def imagej_header(page: Any, metadata: dict[str, Any]) -> Header:
    """Return the calibration ImageJ wrote: its unit, and pixels per unit in the resolution tags."""
    header = Header(format="tif_imagej", original=dict(metadata))
    header.channels = [text(label) for label in metadata.get("Labels", [])]
    unit = text(metadata.get("unit", ""))
    if unit.lower() in _PRINT_UNITS:
        header.problems.append(f"pixel size unknown: {unit} in an ImageJ file is the print resolution")
        return header
    if units.known(unit) is None:
        if unit.lower() not in ("", "pixel", "pixels"):
            header.problems.append(f"pixel size unknown: unit {unit!r} is unknown")
        return header
    for axis, code in (("y", 283), ("x", 282)):
        per_unit = _ratio(page, code)
        if per_unit:
            header.calibrate(axis, 1 / per_unit, unit=_imagej_unit(metadata, f"{axis}unit", unit))
    if metadata.get("spacing"):
        header.calibrate("z", abs(metadata["spacing"]), unit=_imagej_unit(metadata, "zunit", unit))
    if metadata.get("finterval"):
        header.calibrate("time", metadata["finterval"], unit=text(metadata.get("tunit", "s")))
    return header


def _imagej_unit(metadata: dict[str, Any], key: str, default: str) -> str:
    return text(metadata.get(key) or default)


def _ratio(page: Any, code: int) -> float | None:
    if code not in page.tags:
        return None
    above, below = page.tags[code].value
    return above / below if above and below else None


def ome_header(description: str, number: int) -> Header:
    """Return what OME-XML says of image `number`: sizes with units, channels, date, detector."""
    header = Header(format="tif_ome", original={"ome_xml": description})
    with tolerate(header.problems, "the OME-XML"):
        root = ET.fromstring(description.encode())  # noqa: S314 (expat >= 2.4.1 bounds entity expansion)
        for element in root.iter():
            element.tag = element.tag.rpartition("}")[2]
        images = root.findall("Image")
        if number < len(images):
            _ome_image(header, root, images[number])
    return header


def _ome_image(header: Header, root: Element, image: Element) -> None:
    pixels = image.find("Pixels")
    if pixels is None:
        return
    for axis, key in _OME_STEPS:
        if pixels.get(key):
            header.calibrate(axis, pixels.get(key), unit=pixels.get(f"{key}Unit", _OME_LENGTH))
    if pixels.get("TimeIncrement"):
        header.calibrate("time", pixels.get("TimeIncrement"), unit=pixels.get("TimeIncrementUnit", "s"))
    header.channels = [item.get("Name") or item.get("ID") or "" for item in pixels.findall("Channel")]
    date = image.findtext("AcquisitionDate")
    if date:
        header.acquired = header.acquired_raw = date.strip()
    header.take(apply(_OME_KEYS, _ome_flat(root, image, pixels)))


def _ome_flat(root: Element, image: Element, pixels: Element) -> dict[str, Any]:
    """Return the instrument's attributes, following the references of the image."""
    flat: dict[str, Any] = {"Image.Description": image.findtext("Description") or ""}
    things = [*root.findall("Instrument/*"), *root.findall("Experimenter")]
    by_id = {element.get("ID"): element for element in things}
    references = [
        ("Detector", pixels.find("Channel/DetectorSettings")),
        ("Objective", image.find("ObjectiveSettings")),
        ("Experimenter", image.find("ExperimenterRef")),
    ]
    for name, reference in references:
        element = by_id.get(reference.get("ID")) if reference is not None else None
        if element is not None:
            flat |= {f"{name}.{key}": value for key, value in element.attrib.items()}
    for name, element in (
        ("Microscope", root.find("Instrument/Microscope")),
        ("Plane", pixels.find("Plane")),
    ):
        if element is not None:
            flat |= {f"{name}.{key}": value for key, value in element.attrib.items()}
    return flat
