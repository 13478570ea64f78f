"""One file on its way in: its scans, their pixels judged and written to staging. No SQL here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from micdb.errors import ReadError
from micdb.ingest.sniff import open_scans
from micdb.provenance import file_hash, pixel_hash
from micdb.publish import Staged, discard, seal, stage
from micdb.records import Axis, Quantity, Scan
from micdb.store import nexus
from micdb.store.files import object_path
from micdb.store.thumbnail import thumbnail


@dataclass(frozen=True, slots=True)
class Image:
    """One scan with what its pixels say.

    Parameters
    ----------
    scan
        As the reader gave it.
    pixel_hash
        Identity of the pixels.
    blank
        Whether all pixels are equal: such images carry no identity and are never merged.
    statistics
        ``intensity_min``, ``_max``, ``_mean``, ``_sd`` over finite values; None when there are none.
    """

    scan: Scan
    pixel_hash: str
    blank: bool
    statistics: dict[str, float | None]


@dataclass(slots=True)
class Arrival:
    """One file, read and judged.

    Parameters
    ----------
    path, sha256
        The original file.
    state
        Its length [byte] and time of change [ns] when it was hashed.
    images
        Its images, in the file's order.
    staged
        Sealed object of each image that needs one, by index.
    """

    path: Path
    sha256: str
    state: tuple[int, int]
    images: list[Image] = field(default_factory=list)
    staged: dict[int, Staged] = field(default_factory=dict)


def read_arrival(arrival: Arrival) -> None:
    """Read the images of a file and judge their pixels; nothing is written.

    Raises
    ------
    ReadError
        The file, or the pixels of one of its images, cannot be read: then nothing of it comes in.
    """
    for scan in open_scans(arrival.path):
        pixels = scan.pixels.read()
        statistics = intensity_statistics(pixels)
        low, high = statistics["intensity_min"], statistics["intensity_max"]
        arrival.images.append(Image(scan, pixel_hash(pixels), low == high, statistics))


def write_objects(root: Path, arrival: Arrival, indices: Iterable[int]) -> None:
    """Write images to staging, durable and hashed, ready to be published; all of them or none.

    Raises
    ------
    ReadError
        The file changed since it was hashed: what was read may be of neither version.
    """
    arrival.staged.clear()
    with ExitStack() as unfinished:
        for index in indices:
            path = stage(root, ".nxs")
            unfinished.callback(discard, root, [path])
            scan = arrival.images[index].scan
            pixels = scan.pixels.read()
            picture = thumbnail(pixels, colour=scan.colour)
            nexus.write_micrograph(path, scan, pixels, thumbnail=picture, source_sha256=arrival.sha256)
            arrival.staged[index] = seal(path, object_path)
        if _state(arrival.path) != arrival.state:
            raise ReadError(
                arrival.path, "the file changed while it was being read; ingest it again when it is finished"
            )
        unfinished.pop_all()


def open_arrival(path: Path) -> Arrival:
    """Return a file by its hash, its images not yet read.

    Raises
    ------
    ReadError
        It cannot be opened, or is no regular file.
    """
    try:
        if not path.is_file():
            raise ReadError(path, "this is no regular file, or a link that leads nowhere")
        str(path.resolve()).encode()
        state = _state(path)
        return Arrival(path, file_hash(path), state)
    except UnicodeEncodeError as error:  # SQLite and JSON take text only
        raise ReadError(path, "the name of the file or of its folder is not UTF-8 text; rename it") from error
    except OSError as error:
        raise ReadError(path, f"the file cannot be opened: {error.strerror or error}") from error


def _state(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_size, found.st_mtime_ns


def intensity_statistics(pixels: np.ndarray) -> dict[str, float | None]:
    """Return minimum, maximum, mean and standard deviation over finite values; magnitudes if complex."""
    values = np.abs(pixels) if np.iscomplexobj(pixels) else pixels
    finite = values[np.isfinite(values)] if values.dtype.kind == "f" else values.reshape(-1)
    names = ("intensity_min", "intensity_max", "intensity_mean", "intensity_sd")
    if finite.size == 0:
        return dict.fromkeys(names)
    with np.errstate(over="ignore", invalid="ignore"):  # what does not fit a float64 is unknown
        numbers = (finite.min(), finite.max(), finite.mean(dtype=np.float64), finite.std(dtype=np.float64))
    return {name: _finite(float(number)) for name, number in zip(names, numbers, strict=True)}


def geometry(scan: Scan) -> dict[str, Any]:
    """Return the geometric columns of a micrograph; unknown stays None."""
    y, x = scan.axis("y"), scan.axis("x")
    length = {name: axis.step_in("nm") for name, axis in (("x", x), ("y", y))}
    reciprocal = {name: axis.step_in("1/nm") for name, axis in (("x", x), ("y", y))}
    return {
        "height": y.size,
        "width": x.size,
        "n_frames": scan.n_frames,
        "colour": scan.colour,
        "dtype": scan.pixels.dtype,
        "reciprocal_pixel_size_x": reciprocal["x"] or None,
        "reciprocal_pixel_size_y": reciprocal["y"] or None,
        **pixel_size_columns(length["x"], length["y"], (x.size, y.size), x.origin),
    }


def pixel_size_columns(
    x: float | None, y: float | None, size: tuple[int, int], origin: str | None
) -> dict[str, Any]:
    """Return the pixel-size columns [nm] and the area [nm**2] for an image of `size` (width, height)."""
    x, y = x or None, y or None  # a step of zero is a broken header, not a scale
    both = x is not None and y is not None
    return {
        "pixel_size_x": x,
        "pixel_size_y": y,
        "pixel_size": max(x, y) if x is not None and y is not None else None,
        "pixel_size_origin": origin if both else None,
        "area": x * y * size[0] * size[1] if x is not None and y is not None else None,
    }


def axes_json(axes: Sequence[Axis]) -> list[dict[str, Any]]:
    """Return the axes as plain JSON values."""
    return [
        {
            "name": axis.name,
            "size": axis.size,
            "step": axis.step,
            "offset": axis.offset,
            "unit": axis.unit,
            "origin": axis.origin,
        }
        for axis in axes
    ]


def setting_json(quantity: Quantity) -> dict[str, Any]:
    """Return a setting as plain JSON values."""
    return {
        "value": quantity.value,
        "unit": quantity.unit,
        "origin": quantity.origin,
        "raw": quantity.raw,
    }


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None
