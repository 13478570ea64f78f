"""One file on its way in: its scans, their pixels judged and written to staging. No SQL here.

Pixels pass through once, frame by frame: hashed, judged, compressed, written. So a movie larger than the
memory comes in like a single image, and a worker process can do all of it (`micdb.ingest.crew`).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from micdb.errors import ReadError
from micdb.ingest.judge import Judge
from micdb.ingest.sniff import open_scans
from micdb.provenance import file_hash
from micdb.publish import Staged, discard, seal, stage
from micdb.records import Axis, Quantity, Scan
from micdb.store import nexus
from micdb.store.files import object_path
from micdb.store.thumbnail import thumbnail

if TYPE_CHECKING:
    import numpy as np

Beat = Callable[[], None]
Part = dict[str, str | None]  # file_name and sha256 of a further file; not hashed while deferred


@dataclass(frozen=True, slots=True)
class Image:
    """One scan with what its pixels say.

    Parameters
    ----------
    scan
        As the reader gave it.
    pixel_hash
        Identity of the pixels; None where they were not read.
    blank
        Whether all pixels are equal: such images carry no identity and are never merged.
    statistics
        ``intensity_min``, ``_max``, ``_mean``, ``_sd`` over finite values; None when there are none.
    staged
        The sealed object; None where the pixels were not read.
    """

    scan: Scan
    pixel_hash: str | None = None
    blank: bool = False
    statistics: dict[str, float | None] = field(default_factory=dict)
    staged: Staged | None = None


@dataclass(frozen=True, slots=True)
class State:
    """Length [byte] and time of change [ns since 1970] of a file."""

    size: int
    modified_ns: int

    @classmethod
    def of(cls, path: Path) -> State:
        """Return the state of a file at this moment."""
        found = path.stat()
        return cls(found.st_size, found.st_mtime_ns)


@dataclass(frozen=True, slots=True)
class Known:
    """What the database has of a file, recognised by its bytes.

    Parameters
    ----------
    positions
        Images of the file, counted from 0, that need nothing: their pixels are here, or they were deleted.
    whole
        Whether the file was read here, so that it has no images but these.
    """

    positions: frozenset[int] = frozenset()
    whole: bool = False


@dataclass(frozen=True, slots=True)
class Arrival:
    """One file, read and judged.

    Parameters
    ----------
    path
        The original file.
    sha256
        Of its bytes; None where its pixels are deferred and nothing was hashed.
    state
        Length and time of change when it was hashed.
    images
        Its images, in the file's order, those that need nothing without pixels; none where that is all.
    parts
        Name and sha256 of the further files that were read with it.
    unpacked
        Whether it came out of an archive: where it lies now it will not lie tomorrow.
    """

    path: Path
    sha256: str | None
    state: State
    images: tuple[Image, ...] = ()
    parts: tuple[Part, ...] = ()
    unpacked: bool = False

    @property
    def staged(self) -> list[Staged]:
        """The sealed objects of its images."""
        return [image.staged for image in self.images if image.staged is not None]


def prepare(
    root: Path,
    path: Path,
    *,
    defer: bool = False,
    unpacked: bool = False,
    known: Callable[[str], Known] = lambda sha256: Known(),  # noqa: ARG005
    beat: Beat = lambda: None,
) -> Arrival:
    """Read a file and write its images to staging, durable and hashed, ready to be published.

    Parameters
    ----------
    root
        The database folder.
    path
        The file.
    defer
        Read the header only: nothing is hashed or staged.
    unpacked
        Whether it came out of an archive.
    known
        Tells what the database has of a file with those bytes: that is not read again.
    beat
        Called whenever a frame is done: a sign of life.

    Raises
    ------
    ReadError
        The file, or the pixels of one of its images, cannot be read, or it changed meanwhile: then
        nothing of it is staged.
    """
    state, sha256 = _identify(path, defer=defer)
    held = Known() if sha256 is None else known(sha256)
    if held.whole:
        return Arrival(path, sha256, state, unpacked=unpacked)
    scans = open_scans(path)
    beat()
    parts = [Path(part) for part in dict.fromkeys(part for scan in scans for part in scan.source.parts)]
    if sha256 is None:
        names: tuple[Part, ...] = tuple({"file_name": part.name, "sha256": None} for part in parts)
        return Arrival(path, None, state, tuple(Image(scan) for scan in scans), names, unpacked)
    before = [State.of(part) for part in parts]
    with ExitStack() as unfinished:
        images = tuple(
            Image(scan) if position in held.positions else _stage(root, scan, sha256, beat, unfinished)
            for position, scan in enumerate(scans)
        )
        hashes: tuple[Part, ...] = tuple(
            {"file_name": part.name, "sha256": file_hash(part)} for part in parts
        )
        if [State.of(file) for file in (path, *parts)] != [state, *before]:
            raise ReadError(
                path, "the file changed while it was being read; ingest it again when it is finished"
            )
        unfinished.pop_all()
    return Arrival(path, sha256, state, images, hashes, unpacked)


def _stage(root: Path, scan: Scan, sha256: str, beat: Beat, unfinished: ExitStack) -> Image:
    path = stage(root, ".nxs")
    unfinished.callback(discard, root, [path])
    judge = Judge(scan.pixels.shape, scan.pixels.dtype)
    frames = scan.pixels.frames(colour=scan.colour)
    first = next(frames)
    picture = thumbnail(first, colour=scan.colour)

    def seen() -> Iterator[np.ndarray]:
        for frame in itertools.chain([first], frames):
            judge.see(frame)
            beat()
            yield frame

    nexus.write_micrograph(path, scan, seen(), thumbnail=picture, source_sha256=sha256)
    return Image(scan, judge.pixel_hash, judge.blank, judge.statistics, seal(path, object_path))


def _identify(path: Path, *, defer: bool) -> tuple[State, str | None]:
    """Return a file's state and hash, or say why it is none that can be read."""
    try:
        if not path.is_file():
            raise ReadError(path, "this is no regular file, or a link that leads nowhere")
        str(path.resolve()).encode()
        state = State.of(path)
        return state, None if defer else file_hash(path)
    except UnicodeEncodeError as error:  # SQLite and JSON take text only
        raise ReadError(path, "the name of the file or of its folder is not UTF-8 text; rename it") from error
    except OSError as error:
        raise ReadError(path, f"the file cannot be opened: {error.strerror or error}") from error


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
