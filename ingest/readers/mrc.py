"""MRC and CCP4 maps: images, stacks, movies and volumes, with what stands in and beside them.

`mrc_header` tells the layout, `mrc_extended` FEI's extended headers, `mrc_sidecars` the texts of SerialEM and
Direct Electron. Pixels are read image by image where they stand. The pixel size is the cell of the main
header, else the extended header's, else the text's; FEI's older files hold it in the extended header only,
and their cell is a placeholder.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from micdb.errors import DamagedFileError, NotAnImageError
from micdb.ingest.block import Block
from micdb.ingest.metadata import Settings, apply, plain, tolerate
from micdb.ingest.reader import HEAD, Format, Reader
from micdb.ingest.readers import mrc_extended, mrc_sidecars
from micdb.ingest.readers.mrc_extended import Extended
from micdb.ingest.readers.mrc_header import MODES, UNREAD_MODES, Header, read_header
from micdb.ingest.readers.mrc_sidecars import Sidecar
from micdb.provenance import package_version
from micdb.records import Axis, Origin, Pixels, Scan, Source

if TYPE_CHECKING:
    import numpy as np


class Mrc(Reader):
    """MRC and CCP4 maps: images, stacks, movies, volumes."""

    name = "mrc"
    formats = (
        Format("mrc", "MRC2014", (".mrc", ".mrcs", ".map", ".rec", ".st", ".ali", ".ccp4"), tested=True),
    )

    @classmethod
    def sniff(cls, path: Path, head: bytes) -> int:
        """Say 2 for the word MAP in a sane header, 1 for an old header that fits the file's size exactly."""
        size = path.stat().st_size
        header = read_header(head, size)
        if header is None:
            return 0
        if header.has_word:
            return 2
        return 1 if header.mode in MODES and header.end == size else 0

    def read(self, path: Path) -> list[Scan]:
        """Return the one image, stack or volume of the file; see `Reader.read`."""
        size = path.stat().st_size
        with path.open("rb") as stream:
            header = read_header(stream.read(HEAD), size)
        if header is None:
            reason = "the MRC header is cut short or its sizes make no sense"
            raise DamagedFileError(path, reason, reader=self.name)
        if header.mode not in MODES:
            what = UNREAD_MODES[header.mode]
            raise NotAnImageError(path, f"MRC mode {header.mode} ({what}) is not read", reader=self.name)
        if size < header.end:
            reason = f"the pixels are cut off: {header.end - size} bytes are missing"
            raise DamagedFileError(path, reason, reader=self.name, offset=size)
        problems: list[str] = []
        extended = mrc_extended.NOTHING
        with tolerate(problems, "the extended header"):
            extended = mrc_extended.read_extended(path, header)
        return [_scan(path, header, extended, mrc_sidecars.read_sidecar(path, header, problems), problems)]


def _scan(
    path: Path, header: Header, extended: Extended, sidecar: Sidecar | None, problems: list[str]
) -> Scan:
    plane = _plane(header, list(_steps(header, extended, sidecar, problems)))
    colour = (Axis("colour", header.samples),) if header.samples > 1 else ()
    axes = (*_leading(path, header, sidecar), *plane, *colour)
    inside = apply(mrc_extended.KEYS, extended.told)
    beside = _beside(sidecar)
    acquired, acquired_raw = extended.acquired()
    if acquired is None and sidecar is not None:
        acquired, acquired_raw = sidecar.acquired, sidecar.acquired_raw
    original = {"header": header.told(), "extended_header": mrc_extended.shown(extended)}
    return Scan(
        pixels=_Images(path, header, tuple(axis.size for axis in axes)).pixels(),
        axes=axes,
        name=path.stem,
        source=Source(
            str(path), "mrc", Mrc.name, package_version(), parts=(str(sidecar.path),) if sidecar else ()
        ),
        modality=extended.modality,
        acquired=acquired,
        acquired_raw=acquired_raw,
        settings={**beside.values, **inside.values},
        original=plain(original | ({sidecar.kind: mrc_sidecars.told(sidecar)} if sidecar else {})),
        problems=(*problems, *inside.problems, *beside.problems),
    )


def _beside(sidecar: Sidecar | None) -> Settings:
    if sidecar is None:
        return Settings({}, [])
    return apply(mrc_sidecars.KEYS[sidecar.kind], sidecar.values, origin="sidecar")


class _Steps(NamedTuple):
    """One answer to the question of the pixel size; a direction that it does not know is None."""

    y: float | None
    x: float | None
    unit: str
    origin: Origin = "file"


def _steps(
    header: Header, extended: Extended, sidecar: Sidecar | None, problems: list[str]
) -> Iterator[_Steps]:
    """Yield what says something of the pixel size, the most trustworthy first."""
    size, unit = extended.pixel_size, mrc_extended.pixel_unit(extended)
    inside = None if size is None or unit is None else _Steps(size[1], size[0], unit)
    if size is not None and unit is None:
        problems.append(
            f"the pixel size {size[0]:g} of the extended header is neither m nor 1/m for its mode"
        )
    if inside is not None and (unit == "1/m" or extended.kind == mrc_extended.OLD):
        yield inside
    if extended.modality != "diffraction":  # the cell is a length
        yield _Steps(header.step(1), header.step(0), "angstrom")
    if inside is not None:
        yield inside
    if sidecar is not None and extended.modality != "diffraction":
        yield _Steps(sidecar.steps[1], sidecar.steps[0], sidecar.unit, "sidecar")


def _plane(header: Header, steps: list[_Steps]) -> tuple[Axis, Axis]:
    y = next((Axis("y", header.rows, s.y, 0.0, s.unit, s.origin) for s in steps if s.y), None)
    x = next((Axis("x", header.columns, s.x, 0.0, s.unit, s.origin) for s in steps if s.x), None)
    return y or Axis("y", header.rows), x or Axis("x", header.columns)


def _leading(path: Path, header: Header, sidecar: Sidecar | None) -> tuple[Axis, ...]:
    names, depth, step = header.leading(path.suffix), header.sections, header.step(2)
    if names == ("frame", "z"):
        depth = int(header.values["mz"])
        return Axis("frame", header.sections // depth), _depth(depth, step)
    if names == ("z",) and sidecar is None:
        return (_depth(depth, step),)
    if (
        names and sidecar is not None and sidecar.time
    ):  # both texts belong to cameras: one image after another
        return (Axis("time", depth, sidecar.time, 0.0, "s", "sidecar"),)
    return (Axis("frame", depth),) if names else ()


def _depth(size: int, step: float | None) -> Axis:
    return Axis("z", size, step, 0.0, "angstrom") if step else Axis("z", size)


@dataclass(frozen=True, slots=True)
class _Images:
    """The pixels, image by image."""

    path: Path
    header: Header
    shape: tuple[int, ...]

    def load_frame(self, number: int) -> np.ndarray:
        """Return one image."""
        at = self.header.data + number * self.header.rows * self.header.row_bytes
        return self._read(at, self._image)

    def load(self) -> np.ndarray:
        """Return all of them."""
        return self._read(self.header.data, self.shape)

    def pixels(self) -> Pixels:
        """Return them unread."""
        import numpy as np

        several = self.load_frame if len(self.shape) > len(self._image) else None
        return Pixels(self.shape, np.dtype(self.header.dtype).name, self.load, several)

    @property
    def _image(self) -> tuple[int, ...]:
        return self.shape[-3:] if self.header.samples > 1 else self.shape[-2:]

    def _read(self, at: int, shape: tuple[int, ...]) -> np.ndarray:
        if not self.header.half_bytes:
            return Block(self.path, at, shape, self.header.dtype).load()
        rows = math.prod(shape[:-1])
        packed = Block(self.path, at, (rows, self.header.row_bytes), "u1").load()
        return _unpacked(packed)[:, : shape[-1]].reshape(shape)


def _unpacked(packed: np.ndarray) -> np.ndarray:
    """Return two pixels for every byte, the low four bits first."""
    import numpy as np

    return np.stack([packed & 15, packed >> 4], axis=-1).reshape(len(packed), -1)
