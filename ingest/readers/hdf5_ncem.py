"""NCEM EMD 0.2: every group marked ``emd_group_type = 1`` holds data and its ``dim1 .. dimN`` vectors.

The last two dimensions are y and x, except where names say that the image comes first and further dimensions
after it (``R_x, R_y, depth``), or that x comes before y: Prismatic stores images that way, NCEM's programs
have ``Y, X``. py4DSTEM alone means rows by x; its order is kept. HyperSpy since 1.6, which also marks the
group ``/signals``, writes every array in reverse.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from micdb.ingest.hdf5_probe import attribute, attributes, member, members, refusal, walk
from micdb.ingest.metadata import Key, apply, flatten, plain, positive, text
from micdb.ingest.readers.hdf5_axis import axis_unit, leading_names, modality, no_image, spaced
from micdb.ingest.readers.hdf5_pixels import Stored, kind
from micdb.provenance import package_version
from micdb.records import Axis, Scan, Source

if TYPE_CHECKING:
    import h5py

# Attributes of the groups beside the data; NCEM's writers use SI units throughout.
_KEYS = (
    Key("microscope.high tension", "accelerating_voltage", "V", positive),
    Key("microscope.accelerating voltage", "accelerating_voltage", "V", positive),
    Key("microscope.voltage", "accelerating_voltage", None, positive),
    Key("microscope.magnification", "magnification", None, positive),
    Key("microscope.dwell time", "dwell_time", "s", positive),
    Key("microscope.camera length", "camera_length", "m", positive),
    Key("microscope.convergence angle", "convergence_angle", "rad", positive),
    Key("microscope.defocus", "defocus", "m"),
    Key("microscope.name", "instrument"),
    Key("sample.sample name", "sample"),
    Key("sample.name", "sample"),
    Key("sample.material", "sample"),
    Key("user.name", "operator"),
    Key("user.User name", "operator"),
)
_METADATA_GROUPS = ("microscope", "sample", "user", "comments", "stage")
_IMAGE_AXIS = re.compile(r"(?:\A|[_\W])[kqr]?[xy]\Z|\A(?:height|width)\Z", re.IGNORECASE)

_PY4DSTEM = "/4DSTEM_experiment"


class _Dimension(NamedTuple):
    name: str
    vector: Any
    unit: str | None
    written_unit: str


def known(file: h5py.File) -> bool:
    """Return whether any group is marked as an EMD data group."""
    return any(_marked(item) for item in walk(file))


def scans(path: Path, file: h5py.File) -> tuple[list[Scan], list[str]]:
    """Return the images of the file, and a sentence for each data group that is none."""
    metadata = {
        name: attributes(item) for name in _METADATA_GROUPS if (item := member(file, name)) is not None
    }
    found: list[Scan] = []
    refused: list[str] = []
    for group in (item for item in walk(file) if _marked(item)):
        data = _data(group)
        if data is None and any(hasattr(item, "keys") for item in members(group).values()):
            continue  # it only holds further groups
        reason = _refusal(group, data)
        if reason:
            refused.append(f"{group.name.lstrip('/')} {reason}")
        else:
            found.append(_scan(path, group, data, metadata, index=len(found)))
    return found, refused


def _marked(item: Any) -> bool:
    mark = attribute(item, "emd_group_type") if hasattr(item, "keys") else None
    return isinstance(mark, int | float) and mark == 1


def _data(group: h5py.Group) -> Any:
    """Return the dataset named data, else the only one that is no dimension vector (py4DSTEM's slices)."""
    inside = members(group)
    if "data" in inside:
        return inside["data"]
    others = [
        item for key, item in inside.items() if hasattr(item, "shape") and not re.match(r"dim\d+\Z", key)
    ]
    return others[0] if len(others) == 1 else None


def _refusal(group: h5py.Group, data: Any) -> str | None:
    if data is None or not hasattr(data, "shape") or data.shape is None:
        return "holds no single data set"
    if kind(data.dtype) is None:
        return f"holds {data.dtype}, not numbers"
    if data.ndim < 2:
        return "is a curve (1-D), not an image"
    if 0 in data.shape:
        return "is empty"
    dimensions = _dimensions(group, data.ndim)
    order = _order(dimensions, group)
    axes = [Axis(dimensions[at].name or f"dim{at + 1}", 1, unit=dimensions[at].unit) for at in order]
    return no_image(axes) or refusal(data)


def _scan(path: Path, group: h5py.Group, data: h5py.Dataset, metadata: dict[str, Any], *, index: int) -> Scan:
    problems: list[str] = []
    dimensions = _dimensions(group, data.ndim)
    order = _order(dimensions, group)
    pixels = Stored(path, data.name, order, len(order) - 2).pixels(data)
    names = _names([dimensions[position].name for position in order])
    axes = [
        spaced(
            name,
            data.shape[position],
            dimensions[position].vector,
            dimensions[position].unit,
            problems,
            written=dimensions[position].written_unit,
        )
        for name, position in zip(names, order, strict=True)
    ]
    axes += [Axis("colour", size) for size in pixels.shape[len(axes) :]]
    settings = apply(_KEYS, flatten(metadata))
    own = {**metadata, "group": attributes(group)}
    name = str(group.name).rsplit("/", 1)[-1].replace("__unnamed__", "")  # HyperSpy's
    return Scan(
        pixels=pixels,
        axes=tuple(axes),
        name=name or path.stem,
        source=Source(str(path), "emd_ncem", "hdf5", f"h5py {package_version('h5py')}", index=index),
        channel=name or None,
        modality=modality(axes),
        settings=settings.values,
        original=plain(own),
        problems=(*problems, *settings.problems),
    )


def _dimensions(group: h5py.Group, count: int) -> list[_Dimension]:
    dimensions = []
    for number in range(1, count + 1):
        item = member(group, f"dim{number}")
        item = item if hasattr(item, "shape") else None
        written = text(attribute(item, "units") or "") if item is not None else ""
        name = text(attribute(item, "name") or "") if item is not None else ""
        # "[n_m]" and "n_m" are EMD's spelling of nm: prefix and unit parted by an underscore.
        unit = axis_unit(written.replace("_", ""))
        dimensions.append(_Dimension(name, item, unit, written))
    return dimensions


def _order(dimensions: list[_Dimension], group: h5py.Group) -> tuple[int, ...]:
    """Return the file's dimensions in our order, the image axes last."""
    count = len(dimensions)
    if group.parent.name == "/signals" and _marked(group.parent):
        return tuple(reversed(range(count)))
    image = [number for number, item in enumerate(dimensions) if _IMAGE_AXIS.search(item.name)]
    if image not in ([0, 1], [count - 2, count - 1]):
        return tuple(range(count))
    ends = [dimensions[number].name[-1:].lower() for number in image]
    swapped = ends == ["x", "y"] and not group.name.startswith(_PY4DSTEM)
    return (*(number for number in range(count) if number not in image), *(image[::-1] if swapped else image))


def _names(written: list[str]) -> list[str]:
    """Return axis names: leading ones as the file calls them where that is clear, then y and x."""
    if [name.lower() for name in written[:-2]] == ["r_x", "r_y"]:
        return ["scan_y", "scan_x", "y", "x"]  # py4DSTEM, whose first index, x, runs down
    return [*leading_names(written[:-2]), "y", "x"]
