"""OME-TIFF: what the OME-XML in the image description says of one image.

OME model 2016-06 and older: sizes of pixels are in micrometres unless a unit is given, times in seconds. All
planes of an image may lie in several files; only the planes of the opened file are read, and it is said.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any
from xml.etree import ElementTree as ET

from micdb.ingest.metadata import Key, positive, tolerate
from micdb.ingest.readers.tiff_header import Header
from micdb.ingest.xml_tree import xml_root

_KEYS = (
    Key("Detector.Model", "detector"),
    Key("Microscope.Model", "instrument"),
    Key("Microscope.Manufacturer", "vendor"),
    Key("Objective.NominalMagnification", "magnification", None, positive),
    Key("Objective.CalibratedMagnification", "magnification", None, positive),
    Key("Experimenter.UserName", "operator"),
    Key("Image.Description", "comment"),
    Key("Plane.ExposureTime", "exposure_time", "s", positive),
)
_LENGTH = "um"  # PhysicalSize without a unit
_STEPS = (("y", "PhysicalSizeY"), ("x", "PhysicalSizeX"), ("z", "PhysicalSizeZ"))
_UNSAID = ("", "Other")  # acquisition modes that name no optical technique; all others of the model do


def ome_header(description: str, number: int, images: int) -> Header:
    """Return what OME-XML says of image `number` of the `images` that the file was found to hold."""
    header = Header(format="tif_ome", original={"ome_xml": description})
    with tolerate(header.problems, "the OME-XML"):
        root = _parsed(description)
        described = root.findall("Image")
        companion = root.find("BinaryOnly")
        if companion is not None:
            header.problems.append(f"the OME metadata is in another file, {companion.get('MetadataFile')!r}")
        if len(described) == images or (len(described) == 1 and images > 0):
            _image(header, root, described[number if len(described) == images else 0])
        elif described:
            header.problems.append(
                f"the OME-XML describes {len(described)} images and the file holds {images}: it was not used"
            )
    return header


def other_files(description: str, name: str) -> list[str]:
    """Return the files, other than `name`, among which OME-XML says that the planes are spread."""
    try:
        root = _parsed(description)
    except (ET.ParseError, ValueError):
        return []
    names = {element.get("FileName", "") for element in root.iter() if element.tag == "UUID"}
    return sorted(names - {"", name})


@lru_cache(maxsize=1)
def _parsed(description: str) -> ET.Element:
    """Return the root, with tags without their namespace; a file of many images asks for it with each."""
    root = xml_root(description.encode())
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
    return root


def _image(header: Header, root: ET.Element, image: ET.Element) -> None:
    pixels = image.find("Pixels")
    if pixels is None:
        return
    for axis, key in _STEPS:
        if pixels.get(key):
            header.calibrate(axis, pixels.get(key), unit=pixels.get(f"{key}Unit", _LENGTH))
    if pixels.get("TimeIncrement"):
        header.calibrate("time", pixels.get("TimeIncrement"), unit=pixels.get("TimeIncrementUnit", "s"))
    channels = pixels.findall("Channel")
    header.channels = [item.get("Name") or item.get("ID") or "" for item in channels]
    if channels and channels[0].get("AcquisitionMode", "") not in _UNSAID:
        header.modality = "optical"
    date = image.findtext("AcquisitionDate")
    if date:
        header.acquired = header.acquired_raw = date.strip()
    header.map(_KEYS, _flat(root, image, pixels))


def _flat(root: ET.Element, image: ET.Element, pixels: ET.Element) -> dict[str, Any]:
    """Return the instrument's attributes, following the references of the image."""
    flat: dict[str, Any] = {"Image.Description": image.findtext("Description") or ""}
    things = [*root.findall("Instrument/*"), *root.findall("Experimenter")]
    by_id = {element.get("ID"): element for element in things}
    references = [
        ("Detector", pixels.find("Channel/DetectorSettings")),
        ("Objective", _first(image, "ObjectiveSettings", "ObjectiveRef")),
        ("Experimenter", image.find("ExperimenterRef")),
    ]
    found = [
        (name, by_id.get(reference.get("ID"))) for name, reference in references if reference is not None
    ]
    found += [("Microscope", root.find("Instrument/Microscope")), ("Plane", pixels.find("Plane"))]
    for name, element in found:
        if element is not None:
            flat |= {f"{name}.{key}": value for key, value in element.attrib.items()}
    if flat.get("Plane.ExposureTime") and flat.get("Plane.ExposureTimeUnit"):
        flat["Plane.ExposureTime"] += " " + flat["Plane.ExposureTimeUnit"]
    return flat


def _first(image: ET.Element, *tags: str) -> ET.Element | None:
    return next((found for found in (image.find(tag) for tag in tags) if found is not None), None)
