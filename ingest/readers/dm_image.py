"""One image of a DigitalMicrograph document, DM3, DM4 or DM5: its entry in ImageList becomes a Scan.

Dimensions and calibrations count the fastest axis first: x, y, z. The position of pixel i is
``(i - Origin) * Scale`` in Units; without Units DigitalMicrograph counts pixels, and there is no scale.

Pixels are never reordered. 4-D data (diffraction patterns over a scan) come in two orders: newer versions of
DigitalMicrograph store the detector fastest and say so by ``Meta Data:Data Order Swapped``; older ones (2018)
the scan, so that a frame is the image which one detector pixel gives. Axes get the names that this tag, or
failing it their units, make certain; elsewhere the leading two are called ``series`` and ``frame``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from micdb import units
from micdb.errors import DamagedFileError, UnitError
from micdb.ingest.metadata import flatten, plain, text, tolerate
from micdb.ingest.readers import dm_pixels, dm_settings
from micdb.ingest.readers.dm_settings import mapping, number, whole, words
from micdb.ingest.readers.dm_tags import TagArray
from micdb.records import Axis, Modality, Pixels, Scan, Source


class Entry(NamedTuple):
    """One entry of ImageList, checked.

    Parameters
    ----------
    number
        Its place in ImageList.
    name
        Title of the image, or ``""``.
    data_type
        The DataType tag.
    shape
        ``(..., y, x)``, colour samples not counted.
    calibrations
        One for each axis, in the order of `shape`.
    tree
        The whole entry, without the pixels.
    data
        What stands for the pixels; None when the entry has none.
    """

    number: int
    name: str
    data_type: int
    shape: tuple[int, ...]
    calibrations: tuple[Mapping[str, Any], ...]
    tree: Mapping[str, Any]
    data: Any

    @property
    def units(self) -> list[str | None]:
        """Known units of the axes, in the order of `shape`."""
        return [units.of_axis(words(calibration.get("Units"))) for calibration in self.calibrations]

    @property
    def tags(self) -> Mapping[str, Any]:
        """Tags of the image; stacks of StackBuilder keep those of their images, the first stands for all."""
        tags = mapping(self.tree.get("ImageTags"))
        if "Microscope Info" in tags:
            return tags
        planes = tags.get("plane info vector")
        first = mapping(planes[0]) if isinstance(planes, list) and planes else {}
        created = mapping(tags.get("source")).get("Tags at creation")
        return {**mapping(first.get("source tags")), **mapping(created), **tags}


def entries(path: Path, root: Mapping[str, Any], *, reader: str) -> Iterator[Entry]:
    """Yield the images of a document; previews are left out.

    Raises
    ------
    DamagedFileError
        There is no list of images, or an entry has no type or size.
    """
    listed = root.get("ImageList")
    if not isinstance(listed, list):
        raise DamagedFileError(path, "the tags hold no ImageList", reader=reader)
    previews = _previews(root, listed) if len(listed) > 1 else set()
    for index, tree in enumerate(listed):
        if index in previews:
            continue
        image = mapping(mapping(tree).get("ImageData"))
        dimensions, data_type = image.get("Dimensions"), image.get("DataType")
        sizes = dimensions if isinstance(dimensions, list) else []
        if not sizes or not all(whole(size) and size > 0 for size in sizes) or not whole(data_type):
            found = f"the dimensions {text(dimensions)[:80]} and the data type {text(data_type)[:20]}"
            raise DamagedFileError(path, f"image {index} has {found}", reader=reader)
        axes = mapping(image.get("Calibrations")).get("Dimension")
        calibrations = [mapping(axis) for axis in axes] if isinstance(axes, list) else []
        calibrations += [{}] * (len(sizes) - len(calibrations))  # plug-ins leave some out
        yield Entry(
            index,
            words(tree.get("Name")),
            int(data_type),
            tuple(int(size) for size in reversed(sizes)),
            tuple(reversed(calibrations[: len(sizes)])),
            {**tree, "ImageData": {key: value for key, value in image.items() if key != "Data"}},
            image.get("Data"),
        )


def _previews(root: Mapping[str, Any], listed: list[Any]) -> set[int]:
    if "Thumbnails" in root:
        thumbnails = root["Thumbnails"] if isinstance(root["Thumbnails"], list) else []
        indices = (mapping(thumbnail).get("ImageIndex") for thumbnail in thumbnails)
        return {index for index in indices if whole(index)}
    first = mapping(mapping(listed[0]).get("ImageData")).get("DataType")
    return {0} if first in dm_pixels.COLOUR else set()  # other programs leave the list of thumbnails out


def refusal(entry: Entry) -> str | None:
    """Say why an entry is no image that can be read; None for an image."""
    if entry.data is None:
        return "has no pixels in this file"
    if entry.data_type not in dm_pixels.STORED:
        return f"has the unknown data type {entry.data_type}"
    if any(unit is not None and units.compatible(unit, "eV") for unit in entry.units):
        return "is a spectrum or spectrum image (it has an energy axis)"
    tags = entry.tags
    if "spectrum" in _format(tags) or ("spim" in tags and len(entry.shape) > 2):
        return "is a spectrum or spectrum image (so its tags say)"
    if len(entry.shape) < 2:
        return "is a plot (1-D), not an image"
    if len(entry.shape) > 4:
        return f"has {len(entry.shape)} dimensions, expected an image or a stack of images"
    height, width = entry.shape[-2:]
    if entry.data_type == dm_pixels.HALF_PLANE_AS_REAL and (height != width or width % 2):
        return f"is a packed Fourier transform of {width} x {height} pixels, expected an even square"
    return None


def scan(entry: Entry, pixels: Pixels, source: Source, problems: Iterable[str] = ()) -> Scan:
    """Return the Scan of an image that was not refused; `problems` are those of the whole file."""
    problems = list(problems)
    described = zip(_names(entry), entry.shape, entry.calibrations, strict=True)
    axes = [_axis(*axis, problems) for axis in described]
    if entry.data_type in dm_pixels.COLOUR:
        axes.append(Axis("colour", 3))
    if entry.data_type in dm_pixels.HALF_PLANE:
        problems.append(
            "half of this Fourier transform is stored, and Gatan does not document which: taken as kx >= 0; "
            "if that is wrong, the plane is mirrored in x"
        )
    flat: dict[str, Any] = {}
    with tolerate(problems, "the DigitalMicrograph tags"):
        flat = flatten(entry.tags)
    settings = dm_settings.settings(flat)
    written, moment = dm_settings.acquired(flat, problems)
    return Scan(
        pixels=pixels,
        axes=tuple(axes),
        name=entry.name or Path(source.path).stem,
        source=source,
        channel=dm_settings.channel(flat),
        modality=_modality(entry, flat),
        intensity_unit=_intensity_unit(entry),
        acquired=moment,
        acquired_raw=written,
        settings=settings.values,
        original=plain(_shown(entry.tree)),
        problems=(*problems, *settings.problems),
    )


def _axis(name: str, size: int, calibration: Mapping[str, Any], problems: list[str]) -> Axis:
    written, unit = words(calibration.get("Units")), None
    try:
        unit = units.of_axis(written) or units.normalise(written)
    except UnitError:
        problems.append(f"axis {name}: unit {written!r} is unknown, so the step is left unknown")
    scale, origin = number(calibration.get("Scale")), number(calibration.get("Origin"))
    if unit is None or not scale:
        return Axis(name, size)
    return Axis(name, size, scale, -origin * scale if origin else 0.0, unit)


def _names(entry: Entry) -> tuple[str, ...]:
    leading, frame = entry.units[:-2], entry.units[-2:]
    meta = mapping(entry.tags.get("Meta Data"))
    patterns = all(_reciprocal(unit) for unit in frame)
    if len(leading) == 1:
        name = _leading_name(leading[0], patterns=patterns)
        return (name if name == "time" or not meta.get("IsSequence") else "frame", "y", "x")
    if len(leading) == 2:
        swapped = meta.get("Data Order Swapped")
        if swapped or (swapped is None and patterns and not any(_reciprocal(unit) for unit in leading)):
            return ("scan_y", "scan_x", "y", "x")
        if all(_reciprocal(unit) for unit in leading) and not any(_reciprocal(unit) for unit in frame):
            return ("detector_y", "detector_x", "y", "x")
        return ("series", "frame", "y", "x")
    return ("y", "x")


def _leading_name(unit: str | None, *, patterns: bool) -> str:
    if unit is not None and units.compatible(unit, "s"):
        return "time"
    if unit is not None and units.compatible(unit, "nm"):
        return "scan" if patterns else "z"
    return "frame"


def _reciprocal(unit: str | None) -> bool:
    return unit is not None and (units.compatible(unit, "1/nm") or unit in ("mrad", "rad"))


def _format(tags: Mapping[str, Any]) -> str:
    return words(mapping(tags.get("Meta Data")).get("Format")).lower()


def _modality(entry: Entry, flat: Mapping[str, Any]) -> Modality | None:
    computed = dm_pixels.shown_dtype(entry.data_type).startswith("complex")  # a Fourier transform or a wave
    if all(_reciprocal(unit) for unit in entry.units[-2:]) and not computed:
        return "diffraction"
    return dm_settings.modality(flat)


def _intensity_unit(entry: Entry) -> str | None:
    """Return the unit of the stored numbers, where they are not to be scaled."""
    brightness = mapping(mapping(mapping(entry.tree["ImageData"]).get("Calibrations")).get("Brightness"))
    plainly = number(brightness.get("Scale")) == 1 and not number(brightness.get("Origin"))
    return units.known(words(brightness.get("Units"))) if plainly else None


def _shown(value: Any) -> Any:
    """Return a tag tree in which arrays are lists, or a note of their size."""
    if isinstance(value, TagArray):
        return f"<{value.elements} values>" if value.value is None else value.value
    if isinstance(value, Mapping):
        return {key: _shown(child) for key, child in value.items()}
    return [_shown(child) for child in value] if isinstance(value, list) else value
