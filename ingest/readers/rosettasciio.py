"""Every further electron-microscopy format by RosettaSciIO: the extra ``em``, GPL-3.0, imported on use.

RosettaSciIO leaves half of the metadata in ``mapping`` (original path -> HyperSpy path, function), which
HyperSpy applies on loading; `hyperspy_tree.mapped` does that here. Only images are taken.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from micdb import units
from micdb.errors import DamagedFileError, NotAnImageError
from micdb.extras import require
from micdb.ingest.metadata import apply, plain, text, tolerate
from micdb.ingest.reader import Reader
from micdb.ingest.readers import hyperspy_tree
from micdb.provenance import package_version
from micdb.records import Axis, Pixels, Scan, Source

if TYPE_CHECKING:
    import numpy as np

# First bytes -> plugin of rsciio.
_SIGNATURES = (
    (b"AAMVHFSS", "bruker"), (b"IMGBLO", "blockfile"), (b"II\x97\x01", "tia"), (b"JK\x00\x02", "tia"),
    (b"MQ1,", "quantumdetector"), (b"DSCOMPRESSED", "digitalsurf"), (b"DIGITAL SURF", "digitalsurf"),
)  # fmt: skip
_JEOL = b"JED-2200"  # stands at byte 4 of an Analysis Station image
# Extension -> plugin, where the format has no signature of its own.
_EXTENSIONS = {
    ".prz": "pantarhei", ".elid": "phenom", ".tvips": "tvips", ".unf": "semper", ".hspy": "hspy",
    ".nxs": "nexus",
    ".img": "jeol", ".asw": "jeol", ".map": "jeol", ".mrcz": "mrcz", ".rpl": "ripple", ".hdf5": "hspy",
    ".bcf": "bruker", ".blo": "blockfile", ".emi": "tia", ".ser": "tia", ".mib": "quantumdetector",
    ".sur": "digitalsurf", ".pro": "digitalsurf", ".de5": "emd", ".app5": "topspin",
}  # fmt: skip

_RGB = (("R", "G", "B"), ("R", "G", "B", "A"))


class RosettaSciIO(Reader):
    """Bruker, TIA, Blockfile, Panta Rhei, Phenom, Merlin, TVIPS, Digital Surf, JEOL and more."""

    name = "rosettasciio"
    extensions = tuple(sorted(_EXTENSIONS))
    extra = "em"

    @classmethod
    def sniff(cls, path: Path, head: bytes) -> int:
        """Say 2 for a signature, 1 for an extension whose format has none."""
        if _by_signature(head):
            return 2
        return 1 if path.suffix.lower() in _EXTENSIONS else 0

    def read(self, path: Path) -> list[Scan]:
        """Return the images of the file; see `Reader.read`."""
        require("rsciio")
        with path.open("rb") as stream:
            plugin = _by_signature(stream.read(64)) or _EXTENSIONS.get(path.suffix.lower())
        if plugin is None:
            raise NotAnImageError(path, "RosettaSciIO has no plugin for this file", reader=self.name)
        parts = _parts(path, plugin)
        scans: list[Scan] = []
        for number, signal in enumerate(_signals(path, plugin)):
            layout = _layout(signal)
            if layout is not None:
                origin = _Origin(path, plugin, number, parts)
                scans.append(_scan(origin, signal, layout, index=len(scans)))
        if not scans:
            raise NotAnImageError(
                path, "the file holds spectra or maps of spectra, no image", reader=self.name
            )
        return scans


class _Origin(NamedTuple):
    path: Path
    plugin: str
    signal: int
    parts: tuple[str, ...]


class _Layout(NamedTuple):
    """Axes of a signal in the order of its array, and how many of them are leading."""

    axes: list[Mapping[str, Any]]
    colour: int


def _by_signature(head: bytes) -> str | None:
    for signature, plugin in _SIGNATURES:
        if head.startswith(signature):
            return plugin
    return "jeol" if head[4:12] == _JEOL else None


def _parts(path: Path, plugin: str) -> tuple[str, ...]:
    """Return the files that belong to this one; refuse a part that is read through another file."""
    if plugin == "tia" and path.suffix.lower() == ".emi":
        found = sorted(path.parent.glob(f"{_escaped(path.stem)}_*.[sS][eE][rR]"))
        if not found:
            raise NotAnImageError(
                path, f"its data files {path.stem}_1.ser, ... are missing", reader="rosettasciio"
            )
        return tuple(str(part) for part in found)
    if plugin == "tia":
        owner = path.with_name(re.sub(r"_\d+\Z", "", path.stem) + ".emi")
        if owner.is_file():
            raise NotAnImageError(path, f"this is a part of {owner.name}; open that", reader="rosettasciio")
    if plugin == "tvips":
        found_part = re.search(r"\A(.*_)(\d+)\Z", path.stem)
        if found_part and int(found_part[2]) > 0:
            first = f"{found_part[1]}{'0' * len(found_part[2])}{path.suffix}"
            raise NotAnImageError(
                path, f"this is a later part of a movie; open {first}", reader="rosettasciio"
            )
        if found_part:
            return tuple(
                str(part) for part in sorted(path.parent.glob(f"{_escaped(found_part[1])}*")) if part != path
            )
    return ()


def _escaped(name: str) -> str:
    return re.sub(r"([*?\[])", r"[\1]", name)


def _signals(path: Path, plugin: str) -> list[dict[str, Any]]:
    # Lazily, because a file with one image may hold gigabytes of spectra beside it.
    reader = import_module(f"rsciio.{plugin}").file_reader
    try:
        signals = reader(str(path), lazy=True)
    except NotImplementedError:
        signals = reader(str(path))
    return list(signals)


def _layout(signal: Mapping[str, Any]) -> _Layout | None:
    """Return the axes in array order, or None where the signal is no image."""
    axes = sorted(signal["axes"], key=lambda axis: int(axis.get("index_in_array") or 0))
    if any(axis.get("index_in_array") is None for axis in signal["axes"]):
        axes = list(signal["axes"])
    dtype = signal["data"].dtype
    colour = len(dtype.names) if dtype.names in _RGB else 0
    if len(axes) < 2 or (dtype.names and not colour):
        return None
    if any((unit := units.known(_unit(axis))) and units.compatible(unit, "eV") for axis in axes):
        return None
    plane = [bool(axis.get("navigate")) for axis in axes[-2:]]
    map_of_numbers = all(axis.get("navigate") for axis in axes) and len(axes) == 2
    return _Layout(axes, colour) if plane == [False, False] or map_of_numbers else None


def _unit(axis: Mapping[str, Any]) -> str:
    unit = axis.get("units")
    return unit if isinstance(unit, str) else ""


def _scan(origin: _Origin, signal: Mapping[str, Any], layout: _Layout, *, index: int) -> Scan:
    path, problems = origin.path, list[str]()
    names = _names(layout.axes)
    axes = [_axis(name, axis) for name, axis in zip(names, layout.axes, strict=True)]
    if path.suffix.lower() == ".ser" and origin.plugin == "tia":
        axes = [Axis(axis.name, axis.size) for axis in axes]
        problems.append("pixel size unknown: without its .emi a .ser does not say image or diffraction")
    dtype = signal["data"].dtype
    if layout.colour:
        axes.append(Axis("colour", layout.colour))
        dtype = dtype[0]
    tree: dict[str, Any] = {}
    with tolerate(problems, "the metadata"):
        tree = hyperspy_tree.mapped(signal)
    settings = apply(hyperspy_tree.KEYS, hyperspy_tree.short_paths(tree))
    general = tree.get("General") if isinstance(tree.get("General"), Mapping) else {}
    written = " ".join(text(general[key]) for key in ("date", "time") if general and general.get(key))
    return Scan(
        pixels=Pixels(
            tuple(axis.size for axis in axes),
            dtype.newbyteorder("=").name,
            partial(_load, path, origin.plugin, origin.signal),
        ),
        axes=tuple(axes),
        name=text((general or {}).get("title") or "") or path.stem,
        source=Source(str(path), origin.plugin, "rosettasciio", _version(), index=index, parts=origin.parts),
        channel=text((general or {}).get("title") or "") or None,
        modality=hyperspy_tree.modality(tree, axes),
        intensity_unit=hyperspy_tree.intensity_unit(tree),
        acquired=hyperspy_tree.iso_time(written),
        acquired_raw=written or None,
        settings=settings.values,
        original=plain(signal.get("original_metadata") or {}),
        problems=(*problems, *settings.problems),
    )


def _names(axes: list[Mapping[str, Any]]) -> list[str]:
    """Return our axis names: the navigation axes of a 4-D scan are scan_y and scan_x."""
    leading = len(axes) - 2
    named: list[str] = []
    for number, axis in enumerate(axes[:leading]):
        written = text(axis.get("name") or "").lower()
        name = {"x": "scan_x", "y": "scan_y"}.get(written, written)
        clear = re.fullmatch(r"[a-z_]\w*", name) and name not in named
        named.append(name if clear else ("frame" if number == 0 else f"frame_{number}"))
    return [*named, "y", "x"]


def _axis(name: str, axis: Mapping[str, Any]) -> Axis:
    size, unit = int(axis["size"]), units.known(_unit(axis))
    try:
        step, offset = float(axis["scale"]), float(axis.get("offset") or 0.0)
    except (KeyError, TypeError, ValueError):
        return Axis(name, size)
    # Without a unit, HyperSpy's 1.0 means "nobody said".
    if unit is None or not abs(step) > 0 or not abs(step) < float("inf"):
        return Axis(name, size)
    return Axis(name, size, step, offset, unit)


def _load(path: Path, plugin: str, number: int) -> np.ndarray:
    import numpy as np

    signals = _signals(path, plugin)
    if number >= len(signals):
        raise DamagedFileError(path, f"image {number} is gone", reader="rosettasciio")
    array = np.asarray(signals[number]["data"])
    if array.dtype.names:
        array = np.stack([array[name] for name in array.dtype.names], axis=-1)
    return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("="))


def _version() -> str:
    return f"rosettasciio {package_version('rosettasciio')}"
