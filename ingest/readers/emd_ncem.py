"""NCEM EMD 0.2: every group marked ``emd_group_type = 1`` holds data and its ``dim1 .. dimN`` vectors.

The order of the file is kept: the last two dimensions are y and x, whatever they are called, except
where names say that the image comes first and further dimensions after it.
"""

from __future__ import annotations

import math
import re
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from micdb import units
from micdb.ingest.metadata import Key, apply, flatten, plain, positive, text, tolerate
from micdb.provenance import package_version
from micdb.records import Axis, Modality, Pixels, Scan, Source

if TYPE_CHECKING:
    import h5py
    import numpy as np

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
_UNEVEN = 1e-3  # [step] largest departure from even spacing that single precision explains


class _Dimension(NamedTuple):
    name: str
    vector: Any
    unit: str | None
    written_unit: str


def first_group(file: h5py.File) -> str | None:
    """Return the path of the first EMD data group, or None for a file without any."""
    found: str | None = file.visititems(lambda path, item: path if _marked(item) else None)
    return found


def scans(path: Path, file: h5py.File) -> tuple[list[Scan], list[str]]:
    """Return the images of the file, and a sentence for each data group that is none."""
    groups: list[str] = []
    file.visititems(lambda name, item: groups.append(name) if _marked(item) else None)
    problems: list[str] = []
    metadata: dict[str, Any] = {}
    with tolerate(problems, "the EMD metadata"):
        metadata = {name: dict(file[name].attrs) for name in _METADATA_GROUPS if name in file}
    found: list[Scan] = []
    refused: list[str] = []
    for name in groups:
        data = _data(file[name])
        reason = _refusal(file[name], data)
        if reason:
            refused.append(f"{name} {reason}")
        else:
            found.append(_scan(path, data, metadata, index=len(found)))
    return found, refused


def _marked(item: Any) -> bool:
    mark = item.attrs.get("emd_group_type") if hasattr(item, "keys") else None
    return mark is not None and not isinstance(mark, str | bytes) and int(mark) == 1


def _data(group: h5py.Group) -> Any:
    """Return the dataset named data, else the only one that is no dimension vector (py4DSTEM's slices)."""
    if "data" in group:
        return group["data"]
    others = [
        item for key, item in group.items() if hasattr(item, "dtype") and not re.match(r"dim\d+\Z", key)
    ]
    return others[0] if len(others) == 1 else None


def _refusal(group: h5py.Group, data: Any) -> str | None:
    if data is None or not hasattr(data, "dtype"):
        return "holds no single data set"
    if data.dtype.kind not in "iufc":
        return f"holds {data.dtype}, not numbers"
    if data.ndim < 2:
        return "is a curve (1-D), not an image"
    if 0 in data.shape:
        return "is empty"
    if any(item.unit and units.compatible(item.unit, "eV") for item in _dimensions(group, data.ndim)):
        return "is a spectrum or spectrum image (it has an energy axis)"
    return None


def _scan(path: Path, data: h5py.Dataset, metadata: dict[str, Any], *, index: int) -> Scan:
    group = data.parent
    problems: list[str] = []
    dimensions = _dimensions(group, data.ndim)
    order = _order(dimensions)
    names = _names([dimensions[position].name for position in order])
    axes = tuple(
        _axis(name, data.shape[position], dimensions[position], problems)
        for name, position in zip(names, order, strict=True)
    )
    settings = apply(_KEYS, flatten(metadata))
    own = {**metadata, "group": dict(group.attrs)}
    return Scan(
        pixels=Pixels(
            tuple(axis.size for axis in axes),
            data.dtype.newbyteorder("=").name,
            partial(_load, path, data.name, order),
        ),
        axes=axes,
        name=str(group.name).rsplit("/", 1)[-1] or path.stem,
        source=Source(str(path), "emd_ncem", "emd", f"h5py {package_version('h5py')}", index=index),
        channel=str(group.name).rsplit("/", 1)[-1] or None,
        modality=_modality(axes),
        settings=settings.values,
        original=plain(own),
        problems=(*problems, *settings.problems),
    )


def _dimensions(group: h5py.Group, count: int) -> list[_Dimension]:
    dimensions = []
    for number in range(1, count + 1):
        item = group.get(f"dim{number}")
        attributes = dict(item.attrs) if item is not None else {}
        written = text(attributes.get("units", ""))
        name = text(attributes.get("name", ""))
        # "[n_m]" and "n_m" are EMD's spelling of nm: prefix and unit parted by an underscore.
        unit = units.known(written.strip("[] ").replace("_", ""))
        dimensions.append(_Dimension(name, item[...] if item is not None else None, unit, written))
    return dimensions


def _order(dimensions: list[_Dimension]) -> tuple[int, ...]:
    """Return the file's dimensions in our order, the image axes last."""
    count = len(dimensions)
    image = [number for number, item in enumerate(dimensions) if _IMAGE_AXIS.search(item.name)]
    if count > 2 and image == [0, 1]:
        return (*range(2, count), 0, 1)
    return tuple(range(count))


def _names(written: list[str]) -> list[str]:
    """Return axis names: leading ones as the file calls them where that is clear, then y and x."""
    leading: list[str] = []
    for number, name in enumerate(written[:-2]):
        plain_name = re.sub(r"\W+", "_", name.strip().lower()).strip("_")
        clear = plain_name and plain_name not in ("x", "y", "colour", *leading)
        leading.append(plain_name if clear else ("frame" if number == 0 else f"frame_{number}"))
    return [*leading, "y", "x"]


def _axis(name: str, size: int, dimension: _Dimension, problems: list[str]) -> Axis:
    if dimension.unit is None:
        if dimension.written_unit.strip("[] ") not in ("", "px", "pixels"):
            problems.append(f"axis {name}: unit {dimension.written_unit!r} is unknown, so the step is too")
        return Axis(name, size)
    with tolerate(problems, f"the axis {name}"):
        positions = [float(position) for position in dimension.vector]
        if len(positions) < 2:
            return Axis(name, size, None, 0.0, dimension.unit)
        step = (positions[-1] - positions[0]) / (len(positions) - 1)
        drift = max(abs(position - positions[0] - number * step) for number, position in enumerate(positions))
        if not math.isfinite(step) or step == 0 or drift > _UNEVEN * abs(step) * len(positions):
            problems.append(f"axis {name}: its positions are not evenly spaced, so the step is left unknown")
            return Axis(name, size)
        return Axis(name, size, step, positions[0], dimension.unit)
    return Axis(name, size)


def _modality(axes: tuple[Axis, ...]) -> Modality | None:
    reciprocal = any(axis.unit is not None and units.compatible(axis.unit, "1/nm") for axis in axes[-2:])
    return "diffraction" if reciprocal else None


def _load(path: Path, name: str, order: tuple[int, ...]) -> np.ndarray:
    import h5py
    import hdf5plugin  # noqa: F401 - teaches HDF5 the bitshuffle, blosc and zstd that others write
    import numpy as np

    with h5py.File(path, "r") as file:
        array = file[name][...]
    return np.ascontiguousarray(np.transpose(array, order), dtype=array.dtype.newbyteorder("="))
