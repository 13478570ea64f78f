"""Gwyddion native files (.gwy): every data channel one image, every volume in space or time one stack.

Layout after "Gwyddion Native File" of the Gwyddion user guide: an object is its type name, its size and its
components; a component is a name, a type letter and a value, all little-endian. Version 1 wrote the magic
``GWYO``, and containers whose entries start with GLib's type number instead of the letter. Rows run
from the top, ``xreal / xres`` is the step; ``xoff`` and ``yoff`` are the offsets. Numbers are in base SI
units; where version 1 says ``nm`` it means what the program showed, not what the file holds.
"""

from __future__ import annotations

import math
import mmap
import re
import struct
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from micdb import units
from micdb.errors import DamagedFileError, NotAnImageError
from micdb.ingest.block import Block
from micdb.ingest.metadata import DEPTH_LIMIT, Key, apply, locale_time, measure, plain, text
from micdb.ingest.reader import Format, Reader
from micdb.ingest.readers.igor import IMAGING_MODES
from micdb.provenance import package_version
from micdb.records import Axis, Scan, Source

_MAGICS = (b"GWYP", b"GWYO")

_SCALARS = {"b": "<B", "c": "<b", "i": "<i", "q": "<q", "d": "<d", "f": "<f"}
_ARRAYS = {"C": "<i1", "I": "<i4", "Q": "<i8", "D": "<f8", "F": "<f4"}
# GLib type numbers of version 1 -> letters: char, boolean, int, int64, double, string, object
_GLIB_TYPES = {12: "c", 20: "b", 24: "i", 40: "q", 60: "d", 64: "s", 80: "o"}

# Key of an image or volume, and its type. Other programs than Gwyddion leave the first slash out.
_KINDS = ((re.compile(r"/?(\d+)/data"), "GwyDataField"), (re.compile(r"/?brick/(\d+)"), "GwyBrick"))
_TEXT_LIMIT = 1 << 20  # [byte] longer texts are cut: no metadata, and maybe as large as the file

# A unit with a prefix. Gwyddion drops the prefix when it loads a file.
_PREFIXED = re.compile(r"(?:[fpnumkMG])(m|V|A|Hz|N|Pa|s|W|F)")

# What a file may hold besides images -> in words.
_OTHERS = {
    "GwyGraphModel": "graph", "GwySpectra": "set of spectra", "GwyBrick": "volume of spectra",
    "GwySurface": "point cloud", "GwyLawn": "curve map",
}  # fmt: skip


def _current(value: object) -> str | None:
    """Let a set-point pass that is a current; feedback may as well hold a frequency or a force."""
    return text(value) if units.compatible(measure(value).unit, "A") else None


# Keys of the metadata browser, which Gwyddion's import modules fill; bare numbers are taken only where
# the key itself names the unit.
_KEYS = (
    Key("Bias", "bias"),
    Key("Bias::Bias (V)", "bias", "V"),
    Key("Control::Topography Bias", "bias"),
    Key("EEPA:GapVoltageControl.Voltage [Volt]", "bias", "V"),
    Key("Z controller Setpoint", "setpoint_current", None, _current),
    Key("Control::Set Point", "setpoint_current", None, _current),
    Key("EEPA:Regulator.Setpoint_1 [Ampere]", "setpoint_current", "A"),
    Key("Scan::speed forw. (m/s)", "scan_speed", "m/s"),
    Key("MicroscopeModel", "instrument"),
    Key("Comment", "comment"),
    Key("ImageNote", "comment"),
)


class Gwyddion(Reader):
    """Data channels of Gwyddion files, version 1 and 2, and volumes; graphs and spectra are left out."""

    name = "gwyddion"
    formats = (Format("gwy", "Gwyddion container", (".gwy",), tested=True),)

    @classmethod
    def sniff(cls, path: Path, head: bytes) -> int:  # noqa: ARG003 (the head is enough)
        """Say 3 for the magic followed by a container, 2 for the magic alone."""
        if head[:4] not in _MAGICS:
            return 0
        return 3 if head[4:].startswith(b"GwyContainer\0") else 2

    def read(self, path: Path) -> list[Scan]:
        """Return one scan per data channel, then one per volume; see `Reader.read`."""
        with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as file:
            tree = _Parser(path, file).parse()
        found = [
            _Channel(number, key, item)
            for pattern, kind in _KINDS
            for number, key, item in _numbered(tree, pattern, kind)
            if kind != "GwyBrick" or _in_space_or_time(item)
        ]
        if not found:
            raise NotAnImageError(path, f"the file holds no image, but {_contents(tree)}", reader=self.name)
        return [_scan(path, tree, channel, index) for index, channel in enumerate(found)]


class _Array(NamedTuple):
    """Numbers left in the file."""

    offset: int
    size: int
    dtype: str


class _Object(NamedTuple):
    type: str
    parts: dict[str, Any]
    version: int


class _Channel(NamedTuple):
    number: int
    key: str
    item: _Object

    @property
    def volume(self) -> bool:
        return self.item.type == "GwyBrick"


class _Parser:
    """Walks the serialised objects; arrays are noted, not read."""

    def __init__(self, path: Path, file: mmap.mmap) -> None:
        self.path, self.file, self.position = path, file, 4
        self.version = 1 if file[:4] == b"GWYO" else 2

    def parse(self) -> _Object:
        return self._object(len(self.file), 0)

    def _object(self, end: int, depth: int) -> _Object:
        if depth > DEPTH_LIMIT:
            raise self._damaged(f"objects are nested deeper than {DEPTH_LIMIT}")
        kind = self._string(end)
        size = self._number("<I", end)
        inner = self.position + size
        if inner > end:
            raise self._damaged(f"{kind} claims {size} bytes, {end - self.position} are left")
        parts: dict[str, Any] = {}
        numbered = self.version == 1 and kind == "GwyContainer"
        while self.position < inner:
            if numbered:
                letter = self._letter(self._number("<I", inner))
                name = self._string(inner)
            else:
                name = self._string(inner)
                letter = chr(self._number("<B", inner))
            parts[name] = self._value(letter, inner, depth)
        return _Object(kind, parts, self.version)

    def _value(self, letter: str, end: int, depth: int) -> Any:
        if letter in _SCALARS:
            return self._number(_SCALARS[letter], end)
        if letter == "s":
            return self._string(end)
        if letter == "o":
            return self._object(end, depth + 1)
        if letter in _ARRAYS:
            return self._array(_ARRAYS[letter], end)
        if letter in ("S", "O"):
            return [self._value(letter.lower(), end, depth) for _ in range(self._number("<I", end))]
        raise self._damaged(f"unknown component type {letter!r}")

    def _letter(self, number: int) -> str:
        if number not in _GLIB_TYPES:
            raise self._damaged(
                f"unknown type number {number} in a Gwyddion 1 file; save it again with Gwyddion 2"
            )
        return _GLIB_TYPES[number]

    def _number(self, code: str, end: int) -> Any:
        size = struct.calcsize(code)
        if self.position + size > end:
            raise self._damaged("the file ends inside a number")
        (value,) = struct.unpack_from(code, self.file, self.position)
        self.position += size
        return value

    def _string(self, end: int) -> str:
        stop = self.file.find(b"\0", self.position, end)
        if stop < 0:
            raise self._damaged("the file ends inside a text")
        value = text(self.file[self.position : min(stop, self.position + _TEXT_LIMIT)])
        self.position = stop + 1
        return value

    def _array(self, dtype: str, end: int) -> _Array:
        size = self._number("<I", end)
        array = _Array(self.position, size, dtype)
        self.position += size * int(dtype[2:])
        if self.position > end:
            raise self._damaged(f"an array of {size} numbers goes beyond the end of the file")
        return array

    def _damaged(self, reason: str) -> DamagedFileError:
        return DamagedFileError(
            self.path, reason, reader=Gwyddion.name, offset=min(self.position, len(self.file))
        )


def _contents(tree: _Object) -> str:
    counted = Counter(part.type for part in tree.parts.values() if isinstance(part, _Object))
    named = [f"{count} x {_OTHERS[kind]}" for kind, count in counted.items() if kind in _OTHERS]
    return ", ".join(named) or "neither graphs nor spectra"


def _numbered(tree: _Object, pattern: re.Pattern[str], kind: str) -> list[tuple[int, str, _Object]]:
    """Return the objects of one kind whose keys fit, by their number."""
    found = [
        (int(match[1]), key, part)
        for key, part in tree.parts.items()
        if (match := pattern.fullmatch(key)) and isinstance(part, _Object) and part.type == kind
    ]
    return sorted(found, key=lambda item: item[:2])


def _in_space_or_time(brick: _Object) -> bool:
    """Say whether the planes of a volume are images at heights or moments, not the points of spectra."""
    unit = _unit(brick, "si_unit_z", [])
    return unit is not None and (units.compatible(unit, "m") or units.compatible(unit, "s"))


def _scan(path: Path, tree: _Object, channel: _Channel, index: int) -> Scan:
    meta = _meta(tree, channel)
    settings = apply(_KEYS, meta)
    problems = settings.problems
    block = _block(path, channel)
    title = text(tree.parts.get(f"{channel.key}/title", ""))
    written = " ".join(filter(None, (meta.get("Date"), meta.get("Time"))))
    return Scan(
        pixels=block.pixels(),
        axes=_axes(channel, block.shape, problems),
        name=path.stem,
        source=Source(str(path), "gwy", Gwyddion.name, package_version(), index),
        channel=title or None,
        modality=IMAGING_MODES.get(meta.get("ImagingMode", "")),
        intensity_unit=_unit(channel.item, "si_unit_w" if channel.volume else "si_unit_z", problems),
        acquired=locale_time(written) or locale_time(meta.get("Date", "")),
        acquired_raw=written or None,
        settings=settings.values,
        original=plain({"title": title, "meta": meta, "file": tree.parts.get("/filename")}),
        problems=tuple(problems),
    )


def _meta(tree: _Object, channel: _Channel) -> Mapping[str, str]:
    """Return what the metadata browser shows for a channel; version 1 had one for the whole file."""
    meta = tree.parts.get(f"{channel.key.removesuffix('/data')}/meta", tree.parts.get("/meta"))
    return {key: text(value) for key, value in meta.parts.items()} if isinstance(meta, _Object) else {}


def _block(path: Path, channel: _Channel) -> Block:
    parts = channel.item.parts
    shape = tuple(parts.get(f"{name}res", 0) for name in ("zyx" if channel.volume else "yx"))
    data = parts.get("data")
    if not isinstance(data, _Array) or min(shape) < 1 or data.size != math.prod(shape):
        size = data.size if isinstance(data, _Array) else "no"
        raise DamagedFileError(
            path, f"channel {channel.number} has {size} numbers for {shape} pixels", reader=Gwyddion.name
        )
    return Block(path, data.offset, shape, data.dtype)


def _axes(channel: _Channel, shape: tuple[int, ...], problems: list[str]) -> tuple[Axis, ...]:
    item = channel.item
    if not channel.volume:
        return tuple(
            _axis(item, name, size, part="si_unit_xy", problems=problems)
            for name, size in zip("yx", shape, strict=True)
        )
    z, y, x = (
        _axis(item, name, size, part=f"si_unit_{name}", problems=problems)
        for name, size in zip("zyx", shape, strict=True)
    )
    if "calibration" in item.parts:  # its planes stand at positions of their own
        z = Axis("z", z.size)
        problems.append("step of z unknown: its planes are not evenly spaced")
    return replace(z, name="time" if z.unit and units.compatible(z.unit, "s") else "z"), y, x


def _axis(item: _Object, name: str, size: int, *, part: str, problems: list[str]) -> Axis:
    unit = _unit(item, part, problems)
    extent, offset = item.parts.get(f"{name}real", 0.0), item.parts.get(f"{name}off", 0.0)
    if unit is None or not 0 < extent < math.inf or not math.isfinite(offset):
        return Axis(name, size)
    return Axis(name, size, extent / size, offset=offset, unit=unit)


def _unit(item: _Object, part: str, problems: list[str]) -> str | None:
    si_unit = item.parts.get(part)
    written = si_unit.parts.get("unitstr", "") if isinstance(si_unit, _Object) else ""
    unit = units.known(written)
    if unit is not None and (prefixed := _PREFIXED.fullmatch(unit)):
        unit = prefixed[1] if item.version == 1 else None
    reason = f"{part} unknown: {written!r} is no base unit, as the format demands"
    if unit is None and units.SPELLINGS.get(written, "?") is not None and reason not in problems:
        problems.append(reason)
    return unit
