"""Write and read one immutable NeXus HDF5 file per micrograph; docs/format.md specifies it.

The same scan gives the same bytes: no clock, no random number, no path goes into the file, so a file
is named by its hash and writing it twice costs nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from micdb.errors import ContractError, StoreError
from micdb.provenance import file_hash
from micdb.records import Axis, Quantity, Scan
from micdb.store import layout
from micdb.store.chunks import ChunkWriter
from micdb.store.places import Place, opened_hdf5


def write_micrograph(
    path: Path,
    scan: Scan,
    pixels: np.ndarray | Iterable[np.ndarray],
    *,
    thumbnail: bytes,
    source_sha256: str | None = None,
) -> None:
    """Write one micrograph file; of a stack that comes frame by frame only one frame is in memory.

    Parameters
    ----------
    path
        File to write; an existing one is replaced.
    scan
        Axes, settings and metadata as a reader gave them.
    pixels
        The array of `scan`, read: ``(..., y, x)``, or ``(..., y, x, 3 or 4)`` for colour; boolean,
        integer, float (NaN kept) or complex. Or its frames along the flattened leading axes, in order.
    thumbnail
        PNG, from `micdb.store.thumbnail.thumbnail`.
    source_sha256
        Hash of the original file where it is known already; None to hash ``scan.source.path`` here.

    Raises
    ------
    ContractError
        Pixels and axes disagree, or the dtype cannot be kept.
    """
    _check(scan, pixels)
    frames = pixels.reshape(-1, *_frame_shape(scan)) if isinstance(pixels, np.ndarray) else pixels
    with h5py.File(path, "w") as file:
        file.attrs.update(NX_class="NXroot", default="entry", creator=layout.CREATOR)
        file.attrs["micdb_format"] = np.int64(layout.FORMAT_VERSION)
        file.attrs["version_major"], file.attrs["version_minor"] = np.array(layout.EMD_VERSION, np.int64)
        entry = _group(file, layout.ENTRY, "NXentry")
        entry.attrs["default"] = layout.IMAGE.rpartition("/")[2]
        _write_entry(entry, scan)
        _write_image(_group(file, layout.IMAGE, "NXdata"), scan, frames)
        _write_settings(_group(file, layout.INSTRUMENT, "NXinstrument"), scan)
        source = _group(file, layout.SOURCE, "NXnote")
        _write_source(source, scan, source_sha256 or file_hash(scan.source.path))
        original = _group(file, layout.ORIGINAL, "NXnote")
        original["type"] = "application/json"
        original["data"] = _json(scan)
        picture = _group(file, layout.THUMBNAIL, "NXnote")
        picture["type"] = "image/png"
        picture["data"] = np.frombuffer(thumbnail, np.uint8)


def read_pixels(path: Path | Place) -> np.ndarray:
    """Return the whole array, with the shape and dtype it was written with.

    Raises
    ------
    StoreError
        The file is missing or damaged; the message names file and key.
    """
    with opened(path) as file:
        return _read(file, ())


def read_frame(path: Path | Place, i: int) -> np.ndarray:
    """Return frame `i` of the flattened leading axes: ``(y, x)``, or ``(y, x, 3 or 4)`` for colour.

    Raises
    ------
    StoreError
        The file is missing or damaged, or has no such frame.
    """
    with opened(path) as file:
        group = _item(file, layout.IMAGE)
        colour = group.attrs["interpretation"] != layout.INTERPRETATION[0]
        leading = group[layout.SIGNAL].shape[: -3 if colour else -2]
        count = int(np.prod(leading, dtype=np.int64))
        if not 0 <= i < count:
            raise StoreError(f"{path}: there is no frame {i}; it has {count}, counted from 0")
        return _read(file, tuple(int(k) for k in np.unravel_index(i, leading)))


def read_axes(path: Path | Place) -> tuple[Axis, ...]:
    """Return the axes as written; a unit without a step says nothing and is not kept.

    Raises
    ------
    StoreError
        The file is missing or damaged; the message names file and key.
    """
    with opened(path) as file:
        group = _item(file, layout.IMAGE)
        return tuple(_read_axis(_item(file, f"{layout.IMAGE}/{name}"), name) for name in group.attrs["axes"])


def read_original(path: Path | Place) -> dict[str, Any]:
    """Return the vendor's metadata as the reader gave it.

    Raises
    ------
    StoreError
        The file is missing or damaged; the message names file and key.
    """
    with opened(path) as file:
        found: dict[str, Any] = json.loads(_item(file, f"{layout.ORIGINAL}/data").asstr()[()])
        return found


def read_thumbnail(path: Path | Place) -> bytes:
    """Return the thumbnail as PNG.

    Raises
    ------
    StoreError
        The file is missing or damaged; the message names file and key.
    """
    with opened(path) as file:
        return bytes(_item(file, f"{layout.THUMBNAIL}/data")[()].tobytes())


def _frame_shape(scan: Scan) -> tuple[int, ...]:
    return scan.pixels.shape[len(scan.frame_axes) :]


def _check(scan: Scan, pixels: np.ndarray | Iterable[np.ndarray]) -> None:
    promised, dtype = scan.pixels.shape, np.dtype(scan.pixels.dtype)
    if isinstance(pixels, np.ndarray):
        promised, dtype = pixels.shape, pixels.dtype
    sizes = tuple(axis.size for axis in scan.axes)
    names = [axis.name for axis in scan.axes]
    where = f"{scan.source.path} [{scan.source.reader}]"
    if promised != sizes or 0 in sizes or len(sizes) < 2:
        raise ContractError(f"{where}: pixels have shape {promised}, the axes say {sizes}")
    if len({*names, layout.SIGNAL, layout.IMAGINARY}) != len(names) + 2:
        raise ContractError(f"{where}: axes are named {names}; each needs a name of its own")
    if scan.colour and sizes[-1] not in layout.INTERPRETATION:
        raise ContractError(f"{where}: {sizes[-1]} colour samples; 3 (RGB) or 4 (RGBA) can be kept")
    if dtype.itemsize not in layout.STORABLE.get(dtype.kind, ()):
        raise ContractError(f"{where}: pixels of type {dtype} cannot be kept; convert them to float64")


def _write_entry(entry: h5py.Group, scan: Scan) -> None:
    for name, text in (("title", scan.name), ("modality", scan.modality), ("channel", scan.channel)):
        if text is not None:
            entry[name] = _text(text)
    if scan.acquired is not None:
        entry["start_time"] = _text(scan.acquired)
        if scan.acquired_raw is not None:
            entry["start_time"].attrs["raw"] = _text(scan.acquired_raw)
    if scan.problems:
        entry["problems"] = [_text(problem) for problem in scan.problems]


def _write_image(group: h5py.Group, scan: Scan, frames: Iterable[np.ndarray]) -> None:
    dtype = np.dtype(scan.pixels.dtype)
    group.attrs["axes"] = [axis.name for axis in scan.axes]
    group.attrs["signal"] = layout.SIGNAL
    group.attrs["emd_group_type"] = np.int64(layout.EMD_GROUP_TYPE)
    group.attrs["interpretation"] = layout.INTERPRETATION[scan.axes[-1].size if scan.colour else 0]
    names = [layout.SIGNAL]
    if dtype.kind == "c":
        names.append(layout.IMAGINARY)
        group.attrs["auxiliary_signals"] = [layout.IMAGINARY]
        dtype = np.zeros((), dtype).real.dtype
    writers = [ChunkWriter(group, name, scan.pixels.shape, dtype, colour=scan.colour) for name in names]
    count = 0
    for count, frame in enumerate(frames, start=1):
        for writer, values in zip(writers, (frame.real, frame.imag), strict=False):
            writer.write(count - 1, values.astype(dtype, copy=False))
    if count != scan.n_frames:
        raise ContractError(
            f"{scan.source.path} [{scan.source.reader}]: {count} of {scan.n_frames} frames came"
        )
    for name in names:
        data = group[name]
        data.attrs["long_name"] = _text(scan.channel or scan.name)
        if scan.intensity_unit is not None:
            data.attrs["units"] = scan.intensity_unit
    for number, axis in enumerate(scan.axes):
        scale = _write_axis(group, axis)
        group.attrs[f"{axis.name}_indices"] = np.int64(number)
        group[f"dim{number + 1}"] = scale  # EMD 0.2: a second, hard link to the same positions
        for name in names:
            group[name].dims[number].attach_scale(scale)


def _write_axis(group: h5py.Group, axis: Axis) -> h5py.Dataset:
    positions = np.arange(axis.size, dtype=np.float64)
    if axis.step is not None:
        positions = axis.offset + axis.step * positions
    scale = group.create_dataset(axis.name, data=positions)
    scale.make_scale(axis.name)
    scale.attrs["name"] = axis.name
    scale.attrs["origin"] = axis.origin
    unit = None
    if axis.step is not None:
        # Positions alone would give the step back with rounding errors.
        scale.attrs["step"], scale.attrs["offset"] = float(axis.step), float(axis.offset)
        unit = axis.unit
    if unit is not None:
        scale.attrs["units"] = unit
    scale.attrs["long_name"] = f"{axis.name} ({unit or 'index'})"
    return scale


def _write_settings(group: h5py.Group, scan: Scan) -> None:
    for name, quantity in scan.settings.items():
        field = layout.FIELDS.get(name, name)
        value = quantity.value
        group[field] = _text(value) if isinstance(value, str) else float(value)
        group[field].attrs.update(_said(quantity))


def _said(quantity: Quantity) -> dict[str, str]:
    given = {"units": quantity.unit, "origin": quantity.origin, "raw": quantity.raw}
    return {name: _text(text) for name, text in given.items() if text is not None}


def _write_source(group: h5py.Group, scan: Scan, sha256: str) -> None:
    source = scan.source
    group["file_name"] = _text(Path(source.path).name)
    group["sha256"] = sha256
    group["format"] = source.format
    group["reader"] = source.reader
    group["reader_version"] = source.reader_version
    group["index"] = np.int64(source.index)


def _json(scan: Scan) -> str:
    try:
        # Escaped to ASCII: HDF5 text ends at a NUL, and half a surrogate pair is no UTF-8.
        return json.dumps(dict(scan.original), ensure_ascii=True, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ContractError(
            f"{scan.source.path} [{scan.source.reader}]: original metadata is not ready for JSON: {error}"
        ) from error


def _text(text: str) -> str:
    """Return text that HDF5 can hold: without NUL, and in valid Unicode."""
    return text.replace("\x00", "").encode("utf-8", "replace").decode("utf-8")


def _group(file: h5py.File, name: str, kind: str) -> h5py.Group:
    group = file.create_group(name)
    group.attrs["NX_class"] = kind
    return group


@contextmanager
def opened(path: Path | Place) -> Iterator[h5py.File]:
    """Open a micrograph file for reading, in a pack or not; nobody else need lock it: objects never change.

    Raises
    ------
    StoreError
        The file is missing or damaged, or what is done with it meanwhile finds it so; the message names it.
    """
    try:
        with opened_hdf5(path) as file:
            yield file
    except FileNotFoundError as error:
        raise StoreError(
            f"{path} is missing although the catalog names it; see: micdb fsck --deep"
        ) from error
    except (OSError, LookupError, ValueError, RuntimeError, AttributeError, TypeError) as error:
        raise StoreError(f"{path} is no sound micrograph file: {error}; see: micdb fsck --deep") from error


def _item(file: h5py.File, key: str) -> Any:
    if key not in file:
        raise LookupError(f"it has no {key!r}, as a file of format {layout.FORMAT_VERSION} has")
    return file[key]


def _read(file: h5py.File, where: tuple[int, ...]) -> np.ndarray:
    data = _item(file, f"{layout.IMAGE}/{layout.SIGNAL}")
    if f"{layout.IMAGE}/{layout.IMAGINARY}" not in file:
        return np.asarray(data[where])
    real = data[where]
    pixels = np.empty(real.shape, np.result_type(real.dtype, np.complex64))
    pixels.real = real
    pixels.imag = file[f"{layout.IMAGE}/{layout.IMAGINARY}"][where]
    return pixels


def _read_axis(scale: h5py.Dataset, name: str) -> Axis:
    attrs = scale.attrs
    if "step" not in attrs:
        return Axis(name, scale.shape[0], origin=attrs["origin"])
    return Axis(
        name,
        scale.shape[0],
        step=float(attrs["step"]),
        offset=float(attrs["offset"]),
        unit=attrs.get("units"),
        origin=attrs["origin"],
    )
