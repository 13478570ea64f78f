"""HyperSpy's own files: ``/Experiments/NAME`` with ``data``, ``axis-0`` ... and two trees of metadata.

After the description in HyperSpy's manual and the history of the layout: until 1.1 the two trees were called
``mapped_parameters`` and ``original_parameters``, with title and microscope at their top, and an axis said
``slice_bool`` where it says ``navigate`` now, or nothing, where ``record_by`` says what the signal is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from micdb.ingest.hdf5_probe import attribute, attributes, member, members, refusal, tree
from micdb.ingest.metadata import apply, plain, text, tolerate
from micdb.ingest.readers import hyperspy_tree
from micdb.ingest.readers.hdf5_pixels import Stored, kind
from micdb.provenance import package_version
from micdb.records import Axis, Scan, Source

if TYPE_CHECKING:
    import h5py

_TREES = (("metadata", "original_metadata"), ("mapped_parameters", "original_parameters"))
_COLUMNS = ("TEM", "SEM")
_GENERAL = ("title", "date", "time", "name")
_SIGNAL_AXES = {"image": 2, "spectrum": 1}  # record_by -> number of signal axes
# Python objects as text in attributes of old files: datetime.date(1991, 10, 1), datetime.time(12, 0)
_OBJECT = re.compile(r"\A(?:datetime\.)?(date|time)\(([\d, ]+)\)\Z")


def known(file: h5py.File) -> bool:
    """Return whether the file says that it is HyperSpy's, or has an experiment with data and axes."""
    if attribute(file, "file_format") == "HyperSpy":
        return True
    return any(_is_signal(group) for group in _experiments(file).values())


def scans(path: Path, file: h5py.File) -> tuple[list[Scan], list[str]]:
    """Return the images of the file, and a sentence for each signal that is none."""
    found: list[Scan] = []
    refused: list[str] = []
    for name, group in _experiments(file).items():
        data = member(group, "data")
        if not hasattr(data, "shape"):
            refused.append(f"{name} has no data")
            continue
        metadata = _metadata(group)
        axes = _axes(group, data, metadata)
        if isinstance(axes, str):
            refused.append(f"{name} {axes}")
        else:
            found.append(_scan(path, group, axes, metadata, index=len(found)))
    return found, refused


def _experiments(file: h5py.File) -> dict[str, Any]:
    experiments = member(file, "Experiments")
    return members(experiments) if hasattr(experiments, "keys") else {}


def _is_signal(group: Any) -> bool:
    return member(group, "data") is not None and (
        member(group, "axis-0") is not None or any(name.startswith("_list_") for name in members(group))
    )


def _axes(group: h5py.Group, data: h5py.Dataset, metadata: Mapping[str, Any]) -> list[Axis] | str:
    pixels = kind(data.dtype) if data.shape is not None else None
    if pixels is None:
        return f"holds {data.dtype}, not numbers: a ragged signal or text"
    described = [dict(_modern(attributes(axis))) for axis in _axis_groups(group, data.ndim)]
    if len(described) != data.ndim:
        return f"has {len(described)} axes for an array of shape {data.shape}"
    signal = metadata.get("Signal")
    record_by = signal.get("record_by") if isinstance(signal, Mapping) else None
    for position, (axis, size) in enumerate(zip(described, data.shape, strict=True)):
        axis["size"] = size
        if "navigate" not in axis:
            old = position < data.ndim - _SIGNAL_AXES.get(str(record_by), 0)
            axis["navigate"] = not axis["slice_bool"] if "slice_bool" in axis else old
    axes = hyperspy_tree.image_axes(described)
    if isinstance(axes, str):
        return axes
    reason = refusal(data)
    return reason or [*axes, *([Axis("colour", pixels.colour)] if pixels.colour else [])]


def _axis_groups(group: h5py.Group, rank: int) -> list[Any]:
    found = [member(group, f"axis-{number}") for number in range(rank)]
    if None not in found:
        return found
    listed = member(group, f"_list_{rank}_axes")
    return [item for _, item in sorted(members(listed).items())] if listed is not None else []


def _metadata(group: h5py.Group) -> dict[str, Any]:
    """Return the metadata tree under today's names."""
    for name, _ in _TREES:
        if (item := member(group, name)) is not None:
            found: dict[str, Any] = _modern(tree(item))
            break
    else:
        return {}
    columns = {column: found.pop(column) for column in _COLUMNS if column in found}
    if columns:
        found.setdefault("Acquisition_instrument", columns)
    general = {key: found.pop(key) for key in _GENERAL if isinstance(found.get(key), str)}
    if "name" in general:
        general.setdefault("title", general["name"])
    if general:
        found.setdefault("General", general)
    if isinstance(found.get("record_by"), str):
        found.setdefault("Signal", {"record_by": found["record_by"]})
    return found


def _modern(said: Any) -> Any:
    """Return a value, or a tree, with HyperSpy's marks for None and for Python's dates resolved."""
    if isinstance(said, Mapping):
        pairs = ((key.replace("_datetime_", ""), _modern(child)) for key, child in said.items())
        return {key: child for key, child in pairs if child is not None}
    if not isinstance(said, str) or said == "_None_":
        return None if isinstance(said, str) else said
    found = _OBJECT.match(said)
    if found is None:
        return said
    numbers = [int(number) for number in found[2].split(",") if number.strip()]
    if found[1] == "date":
        return "-".join(f"{number:02d}" for number in numbers)
    return ":".join(f"{number:02d}" for number in (*numbers, 0, 0)[:3])


def _scan(path: Path, group: h5py.Group, axes: list[Axis], metadata: dict[str, Any], *, index: int) -> Scan:
    problems: list[str] = []
    data = member(group, "data")
    moment = hyperspy_tree.acquired(metadata)
    settings = apply(hyperspy_tree.KEYS, hyperspy_tree.short_paths(metadata))
    name = str(group.name).rsplit("/", 1)[-1]
    title = moment.title if moment.title not in ("", "__unnamed__") else ""
    original: dict[str, Any] = {"metadata": metadata}
    with tolerate(problems, "the original metadata"):
        for _, tree_name in _TREES:
            if (item := member(group, tree_name)) is not None:
                original["original_metadata"] = tree(item)
    return Scan(
        pixels=Stored(path, data.name, tuple(range(data.ndim)), data.ndim - 2).pixels(data),
        axes=tuple(axes),
        name=title or (name if name != "__unnamed__" else path.stem),
        source=Source(str(path), "hspy", "hdf5", f"h5py {package_version('h5py')}", index=index),
        channel=title or None,
        modality=hyperspy_tree.modality(metadata, axes),
        intensity_unit=hyperspy_tree.intensity_unit(metadata),
        acquired=moment.moment,
        acquired_raw=text(moment.written) or None,
        settings=settings.values,
        original=plain(original),
        problems=(*problems, *settings.problems),
    )
