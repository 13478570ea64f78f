"""EMD 1.0, which py4DSTEM and emdfile write, and the files of py4DSTEM 0.13, its forerunner.

After emdfile: below a group marked ``emd_group_type = root``, groups marked ``array`` (1 in 0.13) hold
``data`` and ``dim0``, ``dim1`` ..., two positions being enough for an even axis; a stack has a last ``dim``
called ``_labels_``, for its first dimension (0.13: for its last). The classes of py4DSTEM keep their pixel
sizes in the root's metadata ``calibration`` instead. Its first index, x, runs down.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from micdb.ingest.hdf5_probe import attribute, member, members, refusal, tree, walk
from micdb.ingest.metadata import plain, text, tolerate
from micdb.ingest.readers.hdf5_axis import axis_unit, leading_names, modality, no_image, spaced
from micdb.ingest.readers.hdf5_pixels import Stored, kind
from micdb.provenance import package_version
from micdb.records import Axis, Scan, Source

if TYPE_CHECKING:
    import h5py

# Class -> which calibration each dimension has: R is the scan, Q the detector.
_SPACES = {
    "DataCube": "RRQQ", "RealSlice": "RR", "VirtualImage": "RR",
    "DiffractionSlice": "QQ", "VirtualDiffraction": "QQ", "DiffractionImage": "QQ", "Probe": "QQ",
}  # fmt: skip
_SCAN = ["scan_y", "scan_x", "y", "x"]
_LABELS = "_labels_"


class _Array(NamedTuple):
    group: h5py.Group
    data: h5py.Dataset
    order: tuple[int, ...]  # the file's dimensions in our order, a stack's slices first
    stacked: bool


def known(file: h5py.File) -> bool:
    """Return whether a top group is the root of an EMD 1.0 tree."""
    return attribute(file, "emd_group_type") == "file" or bool(_roots(file))


def scans(path: Path, file: h5py.File) -> tuple[list[Scan], list[str]]:
    """Return the images of the file, and a sentence for each array that is none."""
    found: list[Scan] = []
    refused: list[str] = []
    for root in _roots(file):
        calibration = _calibration(root)
        for group in [item for item in walk(root) if attribute(item, "emd_group_type") in ("array", 1)]:
            name = group.name.lstrip("/")
            array = _array(group)
            reason = "is no array of numbers" if array is None else _refusal(array, calibration)
            if reason or array is None:
                refused.append(f"{name} {reason}")
            else:
                found.append(_scan(path, array, calibration, index=len(found)))
    return found, refused or ["this EMD 1.0 file holds no array, only points or metadata"]


def _roots(file: h5py.File) -> list[Any]:
    return [item for item in members(file).values() if attribute(item, "emd_group_type") == "root"]


def _calibration(root: h5py.Group) -> dict[str, Any]:
    """Return the metadata called calibration, or nothing."""
    for item in walk(root):
        if item.name.rsplit("/", 1)[-1] == "calibration" and member(item, "Q_pixel_size") is not None:
            return tree(item)
    return {}


def _array(group: h5py.Group) -> _Array | None:
    data = member(group, "data")
    if not hasattr(data, "shape") or data.shape is None or kind(data.dtype) is None:
        return None
    rank = data.ndim
    labels = member(group, f"dim{rank - 1}")
    stacked = labels is not None and attribute(labels, "name") == _LABELS
    last = stacked and attribute(group, "py4dstem_class") is not None and labels.shape != data.shape[:1]
    order = (rank - 1, *range(rank - 1)) if last else tuple(range(rank))
    return _Array(group, data, order, stacked)


def _refusal(array: _Array, calibration: Mapping[str, Any]) -> str | None:
    if array.data.ndim - array.stacked < 2:
        return "is a curve (1-D), not an image"
    return no_image(_axes(array, calibration, [])) or refusal(array.data)


def _scan(path: Path, array: _Array, calibration: Mapping[str, Any], *, index: int) -> Scan:
    problems: list[str] = []
    group, data = array.group, array.data
    axes = _axes(array, calibration, problems)
    name = str(group.name).rsplit("/", 1)[-1]
    original: dict[str, Any] = {}
    with tolerate(problems, "the metadata"):
        original = {"calibration": dict(calibration), "group": tree(group, skip=("data",))}
    return Scan(
        pixels=Stored(path, data.name, array.order, len(array.order) - 2).pixels(data),
        axes=tuple(axes),
        name=name or path.stem,
        source=Source(str(path), "py4dstem", "hdf5", f"h5py {package_version('h5py')}", index=index),
        channel=name or None,
        modality=modality(axes),
        original=plain(original),
        problems=tuple(problems),
    )


def _axes(array: _Array, calibration: Mapping[str, Any], problems: list[str]) -> list[Axis]:
    rank = len(array.order) - array.stacked
    spaces = _SPACES.get(str(_class(array.group)), "")
    vectors = [member(array.group, f"dim{number}") for number in range(rank)]
    written = [text(attribute(vector, "name") or "") if vector is not None else "" for vector in vectors]
    scanned = spaces == "RRQQ" or [name.lower() for name in written] == ["rx", "ry", "qx", "qy"]
    names = _SCAN if scanned and rank == 4 else [*leading_names(written[: rank - 2]), "y", "x"]
    axes = [Axis("slice", array.data.shape[array.order[0]])] if array.stacked else []
    for number, name in enumerate(names):
        size = array.data.shape[array.order[number + array.stacked]]
        if len(spaces) == rank and f"{spaces[number]}_pixel_size" in calibration:
            axes.append(_calibrated(name, size, spaces[number], calibration, problems))
        else:
            unit = text(attribute(vectors[number], "units") or "") if vectors[number] is not None else ""
            axes.append(spaced(name, size, vectors[number], axis_unit(unit), problems, written=unit))
    known_kind = kind(array.data.dtype)
    return [*axes, *([Axis("colour", known_kind.colour)] if known_kind and known_kind.colour else [])]


def _class(group: h5py.Group) -> Any:
    return attribute(group, "python_class") or attribute(group, "py4dstem_class")


def _calibrated(
    name: str, size: int, space: str, calibration: Mapping[str, Any], problems: list[str]
) -> Axis:
    """Return the axis that the calibration describes: 1 pixels is py4DSTEM's word for unknown."""
    unit = axis_unit(text(calibration.get(f"{space}_pixel_units") or ""))
    with tolerate(problems, f"the pixel size along {name}"):
        step = float(calibration[f"{space}_pixel_size"])
        if unit is not None and 0 < step < float("inf"):
            return Axis(name, size, step, 0.0, unit)
    return Axis(name, size)
