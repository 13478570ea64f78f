"""NanoMEGAS blockfiles (.blo) of ASTAR: a diffraction pattern for every point of a scan, 8 bit.

Layout as RosettaSciIO and real files tell it, little-endian: ``IMGBLO`` and the version 0x0102; a packed
header of 240 bytes; a note; at the first offset an image of the scan, one byte per point (the virtual bright
field that ASTAR shows); at the second offset the patterns in the order of the scan, rows of x, each after
six bytes: AA 55 and its number. Units: scan steps in nm, the camera in pixels per 100 cm, angles in 0.01
degrees, camera length in 0.1 mm. The pixel size of a pattern is a length on the camera, not 1/nm. The date
is a serial one, days since 30 December 1899, without a zone.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from micdb.errors import DamagedFileError
from micdb.ingest.block import Block
from micdb.ingest.metadata import Key, apply, measure, plain, positive, text
from micdb.ingest.reader import Format, Reader
from micdb.provenance import package_version
from micdb.records import Axis, Pixels, Scan, Source

if TYPE_CHECKING:
    import numpy as np

_SIGNATURE = b"IMGBLO"
_VERSION = 0x0102
_HEADER = struct.Struct("<6sH3I5H2dIHId22d")
_FRAME_MARK = b"\xaa\x55"
_FRAME_HEADER = 6  # [byte] the mark and the number of the pattern
_NOTE_LIMIT = 1 << 16  # [byte]
_EPOCH = datetime(1899, 12, 30)
_UNSET_DATE = 25570.0  # 2 January 1970: what HyperSpy writes for "unknown"


def _hundredth(value: Any) -> float:
    return measure(value).value / 100


_KEYS = (
    Key("Beam_energy", "accelerating_voltage", "V", positive),
    Key("Camera_length", "camera_length", "mm", lambda tenths: positive(tenths) and tenths / 10),
    Key("Scan_rotation", "scan_angle", "deg", _hundredth),
    Key("Note", "comment"),
)


class Blockfile(Reader):
    """Scanning precession diffraction of NanoMEGAS ASTAR, and the image of the scan beside the patterns."""

    name = "blockfile"
    formats = (Format("blo", "NanoMEGAS ASTAR blockfile", (".blo",), tested=True),)

    @classmethod
    def sniff(cls, path: Path, head: bytes) -> int:  # noqa: ARG003 (the head is enough)
        """Say 3 for the first six bytes."""
        return 3 if head.startswith(_SIGNATURE) else 0

    def read(self, path: Path) -> list[Scan]:
        """Return the patterns and, where it is stored, the image of the scan; see `Reader.read`."""
        header = _Header.read(path)
        patterns = _patterns(path, header).pixels()
        scans = [_scan(path, header, patterns, (*_scan_axes(header), *_camera_axes(header)))]
        if header.rows > 1 and header.columns > 1 and header.image + header.points <= header.patterns:
            image = Block(path, header.image, (header.rows, header.columns), "u1").pixels()
            seen = _scan(path, header, image, _scan_axes(header, names=("y", "x")), index=1)
            scans.append(replace(seen, channel="virtual bright field", modality="STEM"))
        return scans


def _scan(path: Path, header: _Header, pixels: Pixels, axes: tuple[Axis, ...], *, index: int = 0) -> Scan:
    settings = apply(_KEYS, header.values)
    written = header.values["Acquisition_time"]
    return Scan(
        pixels=pixels,
        axes=axes,
        name=path.stem,
        source=Source(str(path), "blo", Blockfile.name, package_version(), index),
        modality="diffraction",
        acquired=_date(written),
        acquired_raw=f"Acquisition_time = {written}" if written else None,
        settings=settings.values,
        original=plain(header.values),
        problems=tuple(settings.problems),
    )


class _Header(NamedTuple):
    values: dict[str, Any]
    image: int  # [byte] where the image of the scan stands
    patterns: int  # [byte] where the patterns stand
    side: int  # [pixel] of a pattern
    columns: int
    rows: int

    @property
    def points(self) -> int:
        """How many patterns there are."""
        return self.columns * self.rows

    @classmethod
    def read(cls, path: Path) -> _Header:
        with path.open("rb") as stream:
            content = stream.read(_HEADER.size)
            if len(content) < _HEADER.size:
                raise _damaged(path, "the file ends in the middle of its header", len(content))
            numbers = _HEADER.unpack(content)
            version, image, patterns = numbers[1:4]
            note = stream.read(min(max(image - _HEADER.size, 0), _NOTE_LIMIT))
        if version != _VERSION:
            raise _damaged(path, f"blockfile version 0x{version:04x}, expected 0x0102", len(_SIGNATURE))
        values = dict(zip(_NAMES, numbers[4:16], strict=True))
        values |= {"Centering": numbers[16:24], "Distortion": numbers[24:38], "Note": _note(note)}
        return cls(values, image, patterns, values["DP_SZ"], values["NX"], values["NY"])


_NAMES = (
    "UNKNOWN1", "DP_SZ", "DP_rotation", "NX", "NY", "Scan_rotation", "SX", "SY", "Beam_energy", "SDP",
    "Camera_length", "Acquisition_time",
)  # fmt: skip


def _note(content: bytes) -> str:
    return text(content.split(b"\0" * 8, 1)[0].decode("latin-1"))


@dataclass(frozen=True, slots=True)
class _Patterns:
    """The patterns, each after a header of its own."""

    path: Path
    offset: int
    shape: tuple[int, ...]

    def load_frame(self, number: int) -> np.ndarray:
        at = self.offset + number * self.stride + _FRAME_HEADER
        return Block(self.path, at, self.shape[-2:], "u1").load()

    def load(self) -> np.ndarray:
        import numpy as np

        layout = np.dtype([("header", "u1", _FRAME_HEADER), ("pattern", "u1", self.shape[-2:])])
        count = math.prod(self.shape[:-2])
        stored = np.fromfile(self.path, layout, count, offset=self.offset)
        if stored.size < count:
            raise _damaged(self.path, f"the file ends after {stored.size} of {count} patterns", self.offset)
        return np.ascontiguousarray(stored["pattern"]).reshape(self.shape)

    def pixels(self) -> Pixels:
        several = self.load_frame if len(self.shape) > 2 else None
        return Pixels(self.shape, "uint8", self.load, several)

    @property
    def stride(self) -> int:
        return _FRAME_HEADER + math.prod(self.shape[-2:])


def _patterns(path: Path, header: _Header) -> _Patterns:
    """Return the patterns, if the file holds them all and the first and last stand where they should."""
    if not (header.side and header.points):
        sizes = f"{header.columns} x {header.rows} patterns of {header.side} pixels"
        raise _damaged(path, f"the header promises {sizes}", 20)
    shape = tuple(axis.size for axis in _scan_axes(header))
    patterns = _Patterns(path, header.patterns, (*shape, header.side, header.side))
    end, size = header.patterns + header.points * patterns.stride, path.stat().st_size
    if end > size:
        whole = max(size - header.patterns, 0) // patterns.stride
        reason = f"the file ends after {whole} of {header.points} patterns: {end - size} bytes are missing"
        raise _damaged(path, reason, size)
    with path.open("rb") as stream:
        for at in (header.patterns, end - patterns.stride):
            stream.seek(at)
            if stream.read(len(_FRAME_MARK)) != _FRAME_MARK:
                raise _damaged(path, "no pattern begins where one should: the mark AA 55 is missing", at)
    return patterns


def _scan_axes(header: _Header, *, names: tuple[str, str] = ("scan_y", "scan_x")) -> tuple[Axis, ...]:
    """Return the axes of the scan, those of one point left out."""
    sizes, steps = (header.rows, header.columns), (header.values["SY"], header.values["SX"])
    return tuple(
        _axis(name, size, step, "nm")
        for name, size, step in zip(names, sizes, steps, strict=True)
        if size > 1
    )


def _camera_axes(header: _Header) -> tuple[Axis, Axis]:
    density = header.values["SDP"]
    step = 100 / density if density else 0.0
    return _axis("y", header.side, step, "cm"), _axis("x", header.side, step, "cm")


def _axis(name: str, size: int, step: float, unit: str) -> Axis:
    known = math.isfinite(step) and step > 0
    return Axis(name, size, step, 0.0, unit) if known else Axis(name, size)


def _date(days: float) -> str | None:
    """Return the local time of a serial date; None for zero and for dates before any blockfile."""
    if not math.isfinite(days) or days <= _UNSET_DATE or days > 100000:
        return None
    return (_EPOCH + timedelta(milliseconds=round(days * 86400000))).isoformat(timespec="milliseconds")


def _damaged(path: Path, reason: str, offset: int) -> DamagedFileError:
    return DamagedFileError(path, reason, reader=Blockfile.name, offset=offset)
