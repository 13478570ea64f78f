"""micdb's own files, taken out of a database and handed on: everything comes back as it went in.

The layout is docs/format.md. Steps and offsets are read from the attributes that keep them exactly, not from
the positions, and every setting keeps its unit, its origin and its words.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from micdb import units
from micdb.ingest.hdf5_probe import attribute, member, members, refusal, value
from micdb.ingest.metadata import TEXT_SETTINGS, plain, text, tolerate
from micdb.ingest.readers.hdf5_pixels import Stored, kind
from micdb.provenance import package_version
from micdb.records import SETTINGS, Axis, Modality, Origin, Quantity, Scan, Source
from micdb.store import layout

if TYPE_CHECKING:
    import h5py

_SETTINGS = {field: setting for setting, field in layout.FIELDS.items()}


def known(file: h5py.File) -> bool:
    """Return whether micdb wrote the file."""
    return attribute(file, "micdb_format") is not None


def scans(path: Path, file: h5py.File) -> tuple[list[Scan], list[str]]:
    """Return the one image of the file, or why there is none."""
    version = attribute(file, "micdb_format")
    if version != layout.FORMAT_VERSION:
        return [], [f"micdb's format {version} is not the {layout.FORMAT_VERSION} that this micdb reads"]
    group = member(file, layout.IMAGE)
    data = member(group, layout.SIGNAL) if group is not None else None
    names = attribute(group, "axes") if group is not None else None
    if data is None or not isinstance(names, list) or len(names) != data.ndim or names.count("y") != 1:
        return [], [f"{layout.IMAGE} holds no pixels with one axis for each dimension"]
    reason = "holds no numbers" if kind(data.dtype) is None else refusal(data)
    if reason:
        return [], [f"{layout.IMAGE} {reason}"]
    return [_scan(path, file, group, names)], []


def _scan(path: Path, file: h5py.File, group: h5py.Group, names: list[str]) -> Scan:
    data = group[layout.SIGNAL]
    # What the first reader could not read stays unread.
    problems = [str(problem) for problem in _listed(member(file, f"{layout.ENTRY}/problems"))]
    imaginary = member(group, layout.IMAGINARY)
    apart = imaginary is not None and imaginary.shape == data.shape and refusal(imaginary) is None
    stored = Stored(
        path, data.name, tuple(range(data.ndim)), names.index("y"), imaginary.name if apart else None
    )
    sizes = zip(names, data.shape, strict=True)
    axes = [_axis(member(group, name), name, size, problems) for name, size in sizes]
    modality = _text(file, "modality")
    moment = member(file, f"{layout.ENTRY}/start_time")
    return Scan(
        pixels=stored.pixels(data),
        axes=tuple(axes),
        name=_text(file, "title") or path.stem,
        source=Source(str(path), "micdb", "hdf5", f"h5py {package_version('h5py')}"),
        channel=_text(file, "channel"),
        modality=modality if modality in get_args(Modality) else None,  # type: ignore[arg-type]
        intensity_unit=units.known(attribute(data, "units")),
        acquired=_text(file, "start_time"),
        acquired_raw=attribute(moment, "raw") if moment is not None else None,
        settings=_settings(member(file, layout.INSTRUMENT), problems),
        original=_original(file, problems),
        problems=tuple(problems),
    )


def _text(file: h5py.File, name: str) -> str | None:
    item = member(file, f"{layout.ENTRY}/{name}")
    return text(value(item)) or None if hasattr(item, "shape") else None


def _listed(item: Any) -> list[Any]:
    found = value(item) if hasattr(item, "shape") else None
    return found if isinstance(found, list) else []


def _axis(scale: Any, name: str, size: int, problems: list[str]) -> Axis:
    origin = _origin(attribute(scale, "origin")) if scale is not None else "file"
    step = attribute(scale, "step") if scale is not None else None
    if step is None:
        return Axis(name, size, origin=origin)
    with tolerate(problems, f"the axis {name}"):
        unit = units.normalise(attribute(scale, "units"))
        return Axis(name, size, float(step), float(attribute(scale, "offset") or 0.0), unit, origin)
    return Axis(name, size, origin=origin)


def _origin(said: Any) -> Origin:
    return said if said in get_args(Origin) else "file"


def _settings(group: Any, problems: list[str]) -> dict[str, Quantity]:
    found: dict[str, Quantity] = {}
    for field, item in (members(group) if group is not None else {}).items():
        name = _SETTINGS.get(field, field)
        if name not in SETTINGS or not hasattr(item, "shape"):
            continue
        with tolerate(problems, f"the setting {name}"):
            said, unit = value(item), SETTINGS[name]
            if name not in TEXT_SETTINGS:
                said = units.convert(float(said), units.normalise(attribute(item, "units")), unit)
            raw = attribute(item, "raw") or f"{field} = {said}"
            found[name] = Quantity(said, unit, _origin(attribute(item, "origin")), raw)
    return found


def _original(file: h5py.File, problems: list[str]) -> dict[str, Any]:
    with tolerate(problems, "the original metadata"):
        tree = plain(json.loads(value(member(file, f"{layout.ORIGINAL}/data"))))
        return tree if isinstance(tree, dict) else {}
    return {}
