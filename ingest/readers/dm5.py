"""Gatan DigitalMicrograph 5: the tag tree of DM4 as HDF5, a dialect of the reader ``hdf5``.

Tag groups are groups, tags are attributes, lists have members ``[0]``, ``[1]``, ... ("*.dm5 documentation",
Gatan). ``ImageList/[i]/ImageData/Data`` is a dataset of the shape of Dimensions, reversed: ``(..., y, x)``.
Text is UTF-8 or, as in Gatan's own example scripts, Latin-1. Everything else is as in `dm_image`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from micdb.errors import DamagedFileError
from micdb.ingest import hdf5_probe
from micdb.ingest.readers import dm_image, dm_pixels, hdf5_pixels
from micdb.provenance import package_version
from micdb.records import Pixels, Scan, Source

if TYPE_CHECKING:
    import h5py
    import numpy as np

_READER = "hdf5"
_FORMAT = "dm5"
_MEMBER = re.compile(r"\[(\d{1,9})\]\Z")
_PIXELS = re.compile(r"/ImageList/\[\d+\]/ImageData/Data\Z")
_VALUE_LIMIT = 1 << 16  # [byte] of a dataset that is a tag; longer ones are noted
_ITEM_LIMIT = 100_000  # groups and attributes altogether
_PLAIN_COMPLEX = 3  # data type of complex numbers that are not packed
_PACKED = (*dm_pixels.COLOUR, *dm_pixels.FOURIER, dm_pixels.BINARY)


def known(file: h5py.File) -> bool:
    """Return whether this HDF5 file is one of DigitalMicrograph."""
    return hasattr(hdf5_probe.member(file, "ImageList/[0]/ImageData"), "keys")


def scans(path: Path, file: h5py.File) -> tuple[list[Scan], list[str]]:
    """Return the images of the file, and a sentence for each entry that is none.

    Raises
    ------
    DamagedFileError
        An image has no size or type, or its pixels are not what these promise.
    """
    walk = _Walk(path)
    groups = {name: hdf5_probe.member(file, name) for name in ("ImageList", "Thumbnails")}
    root = {name: walk.tags(group) for name, group in groups.items() if hasattr(group, "keys")}
    found: list[Scan] = []
    refused: list[str] = []
    for entry in dm_image.entries(path, root, reader=_READER):
        reason = dm_image.refusal(entry) or _unreadable(path, entry)
        if reason:
            refused.append(f"{entry.name!r} {reason}")
            continue
        source = Source(str(path), _FORMAT, _READER, package_version(), len(found))
        found.append(dm_image.scan(entry, _pixels(path, entry), source))
    return found, refused


@dataclass(slots=True)
class _Walk:
    """Turns groups into the dictionaries and lists that `dm_tags` gives; pixels stay datasets."""

    path: Path
    items: int = 0
    seen: set[Any] = field(default_factory=set)

    def tags(self, group: h5py.Group, depth: int = 0) -> Any:
        """Return a group with everything below it."""
        attributes, members = hdf5_probe.attributes(group), hdf5_probe.members(group)
        self.items += len(attributes) + len(members)
        if depth > hdf5_probe.DEPTH_LIMIT or self.items > _ITEM_LIMIT or group.id in self.seen:
            limits = f"more than {_ITEM_LIMIT} entries, {hdf5_probe.DEPTH_LIMIT} levels or a circle"
            raise DamagedFileError(self.path, f"the tree of tags has {limits}", reader=_READER)
        self.seen.add(group.id)
        named = {name: _value(group, name, said) for name, said in attributes.items()}
        for name, member in members.items():
            if hasattr(member, "keys"):
                named[name] = self.tags(member, depth + 1)
            elif hasattr(member, "shape"):
                named[name] = member if _PIXELS.match(member.name) else _small(member)
        return _listed(named)


def _listed(named: dict[str, Any]) -> dict[str, Any] | list[Any]:
    """Return the values in order when every name is a number in brackets."""
    numbers = {name: int(found[1]) for name in named if (found := _MEMBER.match(name))}
    if len(numbers) < len(named) or not named:
        return named
    return [named[name] for name in sorted(named, key=numbers.__getitem__)]


def _value(group: h5py.Group, name: str, said: Any) -> Any:
    if isinstance(said, str) and "\ufffd" in said:  # not UTF-8: "µm" of GMS on a Western European computer
        raw = group.attrs[name]
        return raw.decode("latin-1").rstrip("\0") if isinstance(raw, bytes) else said
    return _own(said)


def _own(value: Any) -> Any:
    """Return numpy numbers, structs and arrays as Python's own."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    return [_own(item) for item in value] if isinstance(value, list | tuple) else value


def _small(dataset: h5py.Dataset) -> Any:
    value = hdf5_probe.value(dataset) if (dataset.nbytes or 0) <= _VALUE_LIMIT else None
    return f"<{dataset.size} values>" if value is None else _own(value)


def _unreadable(path: Path, entry: dm_image.Entry) -> str | None:
    """Say why HDF5 cannot give the pixels of an entry; they must be those that its tags promise."""
    if not hasattr(entry.data, "dtype"):
        return "has no dataset of pixels"
    kind, promised = _kind(entry), dm_pixels.stored_shape(_kind(entry), entry.shape)
    if entry.data.shape != promised or not _fits(entry.data.dtype, kind):
        reason = f"image {entry.number} promises {dm_pixels.STORED[kind]} {promised}"
        found = f"the dataset is {entry.data.dtype} {entry.data.shape}"
        raise DamagedFileError(path, f"{reason}, {found}", reader=_READER)
    return hdf5_probe.refusal(entry.data)


def _kind(entry: dm_image.Entry) -> int:
    """Return the data type, which for a Fourier transform saved as a whole is that of complex numbers."""
    whole = entry.data.dtype.kind == "c" and entry.data.shape == entry.shape
    return _PLAIN_COMPLEX if whole and entry.data_type in dm_pixels.FOURIER else entry.data_type


def _fits(dtype: np.dtype[Any], kind: int) -> bool:
    """Whether a dataset can hold a data type; HDF5 knows its numbers itself where they are not packed."""
    if kind in dm_pixels.COLOUR:
        return dtype.kind in "iu" and dtype.itemsize == 4
    if kind in dm_pixels.FOURIER:
        return bool(dtype.newbyteorder("=") == dm_pixels.STORED[kind])
    known_kind = hdf5_pixels.kind(dtype)
    return known_kind is not None and not known_kind.colour


def _pixels(path: Path, entry: dm_image.Entry) -> Pixels:
    kind, rank = _kind(entry), len(entry.shape)
    stored = hdf5_pixels.Stored(path, entry.data.name, tuple(range(rank)), rank - 2)
    if kind not in _PACKED:
        return stored.pixels(entry.data)
    packed = _Packed(stored, kind, entry.shape[-1])
    shape = (*entry.shape, 3) if kind in dm_pixels.COLOUR else entry.shape
    one_by_one = (packed.load_frame, packed.stream) if rank > 2 else (None, None)
    return Pixels(shape, dm_pixels.shown_dtype(kind), packed.load, *one_by_one)


@dataclass(frozen=True, slots=True)
class _Packed:
    """Pixels of a dataset that are stored in another shape or type than they have."""

    stored: hdf5_pixels.Stored
    kind: int
    width: int

    def load(self) -> np.ndarray:
        return dm_pixels.unpack(self.stored.load(), self.kind, self.width)

    def load_frame(self, number: int) -> np.ndarray:
        return dm_pixels.unpack(self.stored.load_frame(number), self.kind, self.width)

    def stream(self) -> Iterator[np.ndarray]:
        for frame in self.stored.stream():
            yield dm_pixels.unpack(frame, self.kind, self.width)
