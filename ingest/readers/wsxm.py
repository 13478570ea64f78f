"""Nanotec WSxM images (.top, .stp, .tom, ...): a text header, then one block of numbers, one channel a file.

There is no published layout; this follows the headers of WSxM 1 to 5 and what two other programs that write
them say. ``[Section]`` lines with ``Key: value`` below, up to ``[Header end]``; the announced header size
is often wrong. Numbers are little-endian and run from the bottom right corner, so both axes are turned.

- ``short`` images are raw counts that span ``Z Amplitude`` from their own minimum to their own maximum; zero
  counts are zero.
- ``float`` and ``double`` images hold values in the unit of ``Z Amplitude``, whose number counts for nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from micdb import units
from micdb.errors import DamagedFileError, NotAnImageError
from micdb.ingest.block import Block
from micdb.ingest.metadata import Key, apply, local_time, locale_time, measure, plain, text
from micdb.ingest.reader import Format, Reader
from micdb.provenance import package_version
from micdb.records import Axis, Modality, Pixels, Scan, Source

if TYPE_CHECKING:
    import numpy as np

_SIGNATURE = b"WSxM file copyright"
_IMAGE = b"SxM Image file"
_HEADER_END = b"[Header end]"
_HEADER_LIMIT = 1 << 20  # [byte] headers are some 3 kB; without an end mark the whole file would be searched

_DTYPES = {"short": "<i2", "integer": "<i2", "float": "<f4", "double": "<f8"}

# A key that only a stack has -> what the file is.
_STACKS = {
    "General Info::Number of Frames": "a WSxM movie",
    "General Info::Number of points per ramp": "a WSxM map of spectra",
}

_MODALITIES: dict[str, Modality] = {"AFM": "AFM", "STM": "STM"}


def _current(value: object) -> str | None:
    """Let a set point pass that is a current; feedback may as well hold a voltage or a percentage."""
    return text(value) if units.compatible(measure(value).unit, "A") else None


def _angle(value: object) -> str | None:
    """Let an angle pass that has a unit."""
    return text(value) if measure(value).unit else None


_KEYS = (
    Key("Control::Topography Bias", "bias"),
    Key("Control::Set Point", "setpoint_current", None, _current),
    Key("Control::X Offset", "offset_x"),
    Key("Control::Y Offset", "offset_y"),
    Key("Control::Angle", "scan_angle", None, _angle),
    Key("Miscellaneous::Comments", "comment"),
)


class Wsxm(Reader):
    """Images of Nanotec microscopes; curves, movies, maps of spectra and text exports are refused by name."""

    name = "wsxm"
    formats = (Format("wsxm", "Nanotec WSxM image", (".top", ".stp", ".tom"), tested=True),)

    @classmethod
    def sniff(cls, path: Path, head: bytes) -> int:  # noqa: ARG003 (the head is enough)
        """Say 3 for WSxM's first line: also for its curves and movies, so that they are refused by name."""
        return 3 if head.startswith(_SIGNATURE) else 0

    def read(self, path: Path) -> list[Scan]:
        """Return the one image; see `Reader.read`."""
        header = _Header.read(path)
        stored = header.fields.get("General Info::Image Data Type", "short")
        if stored not in _DTYPES:
            known = ", ".join(_DTYPES)
            raise DamagedFileError(path, f"Image Data Type is {stored!r}, expected {known}", reader=self.name)
        shape = (
            _count(path, header.fields, "Number of rows"),
            _count(path, header.fields, "Number of columns"),
        )
        start = _data_start(path, header, shape[0] * shape[1] * int(_DTYPES[stored][2:]))
        return [_scan(path, header.fields, Block(path, start, shape, _DTYPES[stored], flip=(0, 1)))]


class _Header(NamedTuple):
    fields: dict[str, str]  # "Section::Key" -> value
    end: int  # [byte] behind the line of the end mark
    announced: int  # [byte] what "Image header size" says; 0 where it does not

    @classmethod
    def read(cls, path: Path) -> _Header:
        with path.open("rb") as stream:
            start = stream.read(_HEADER_LIMIT)
        kind = start.split(b"\n", 2)[1].strip() if b"\n" in start else b""
        if kind != _IMAGE:
            raise NotAnImageError(path, f"this is a WSxM {text(kind[:60])!r}, not an image", reader="wsxm")
        mark = start.find(_HEADER_END)
        if mark < 0:
            raise DamagedFileError(path, "the header has no [Header end]; it was cut short", reader="wsxm")
        fields = _fields(text(start[:mark]))
        for key, what in _STACKS.items():
            if fields.get(key, "1") not in ("0", "1"):
                raise NotAnImageError(path, f"this is {what} ({key} is {fields[key]})", reader="wsxm")
        line_end = re.compile(rb"\r?\n?").match(start, mark + len(_HEADER_END))
        announced = re.search(rb"(?i)image header size: *(\d{1,9})", start[:mark])
        return cls(fields, line_end.end() if line_end else mark, int(announced[1]) if announced else 0)


def _fields(header: str) -> dict[str, str]:
    section, fields = "", {}
    for line in (raw.strip() for raw in header.split("\n")):
        key, colon, value = line.partition(":")
        if line.startswith("[") and line.endswith("]"):
            section = line[1:-1]
        elif colon:
            fields[f"{section}::{key.strip()}" if section else key.strip()] = value.strip()
    return fields


def _count(path: Path, fields: Mapping[str, str], key: str) -> int:
    written = fields.get(f"General Info::{key}", "missing")
    if not re.fullmatch(r"[1-9]\d{0,8}", written):
        raise DamagedFileError(path, f"{key} is {written}, expected a number above 0", reader="wsxm")
    return int(written)


def _data_start(path: Path, header: _Header, size: int) -> int:
    """Return where the numbers begin: where the header says if they fill the file then, else behind it."""
    found = path.stat().st_size
    if header.announced >= header.end and found - header.announced == size:
        return header.announced
    if found - header.end < size:
        reason = f"the header promises {size} bytes of numbers, there are {found - header.end}"
        raise DamagedFileError(path, reason, reader="wsxm", offset=header.end)
    return header.end


@dataclass(frozen=True, slots=True)
class _Spanned:
    """Counts times the step by which their range becomes `amplitude`."""

    block: Block
    amplitude: float

    def load(self) -> np.ndarray:
        import numpy as np

        counts = self.block.load().astype(np.float64)
        span = float(counts.max() - counts.min())
        if span == 0:
            raise DamagedFileError(
                self.block.path, f"every pixel is {counts.flat[0]:g}, the header gives them a range of"
                f" {self.amplitude:g}: their values are unknown", reader="wsxm",
            )  # fmt: skip
        counts *= self.amplitude / span
        return counts


def _scan(path: Path, fields: Mapping[str, str], block: Block) -> Scan:
    settings = apply(_KEYS, fields)
    problems = settings.problems
    pixels, unit = _values(fields, block, problems)
    written = fields.get("General Info::Acquisition time", "")
    channel = fields.get("General Info::Acquisition channel", "")
    direction = fields.get("General Info::X scanning direction", "").lower()
    return Scan(
        pixels=pixels,
        axes=tuple(
            _axis(name, size, fields.get(f"Control::{name.upper()} Amplitude"), problems)
            for name, size in zip("yx", block.shape, strict=True)
        ),
        name=path.stem,
        source=Source(str(path), "wsxm", "wsxm", package_version()),
        channel=" ".join(filter(None, (channel, direction))) or None,
        modality=_MODALITIES.get(fields.get("General Info::Head type", "")),
        intensity_unit=unit,
        acquired=locale_time(written) or local_time(written, ("%a %b %d %H:%M:%S %Y",)),
        acquired_raw=written or None,
        settings=settings.values,
        original=plain(fields),
        problems=tuple(problems),
    )


def _values(fields: Mapping[str, str], block: Block, problems: list[str]) -> tuple[Pixels, str | None]:
    written = fields.get("General Info::Z Amplitude", "missing")
    number, unit = re.fullmatch(r"([-+.\deE]*) *(.*)", written).groups()  # type: ignore[union-attr]
    amplitude = _positive(number)
    known = units.known(unit)
    if known is None and units.SPELLINGS.get(unit, "?") is not None:
        problems.append(f"unit of the values unknown: Z Amplitude is {written!r}")
    if block.dtype != _DTYPES["short"]:
        return block.pixels(), known
    if amplitude is None:
        problems.append(f"the values are raw counts: Z Amplitude is {written!r}")
        return block.pixels(), None
    load: Callable[[], np.ndarray] = _Spanned(block, amplitude).load
    return Pixels(block.shape, "float64", load), known


def _positive(number: str) -> float | None:
    try:
        value = float(number)
    except ValueError:
        return None
    return value if 0 < value < float("inf") else None


def _axis(name: str, size: int, written: str | None, problems: list[str]) -> Axis:
    try:
        extent = measure(written or "missing")
    except ValueError:
        extent = units.Value(0.0, None)
    if extent.value <= 0 or extent.unit is None:
        problems.append(f"step of {name} unknown: its Amplitude is {written or 'missing'!r}")
        return Axis(name, size)
    return Axis(name, size, extent.value / size, unit=extent.unit)
