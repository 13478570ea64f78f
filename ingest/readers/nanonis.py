"""Nanonis scan files (.sxm): a text header, then one block of numbers per channel and direction.

Layout after the "File formats" chapter of the Nanonis manual: ``:KEY:`` lines with their values below, up
to ``:SCANIT_END:``; the bytes 1A 04; then big-endian float32 blocks ``(line, pixel)`` in the order of
``:DATA_INFO:``, forward before backward. Lines and pixels stand in the order of acquisition. Images are
turned so that row 0 is the top of the scan field and column 0 its left: scans that ran ``up`` are
flipped in y, backward blocks in x. Lines that were never reached are NaN in the file and stay NaN. In a
multi-pass scan each pass is a channel, ``[P2]_Z``, and may have a bias and a set point of its own.
"""

from __future__ import annotations

import math
import re
import struct
from bisect import bisect_left
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from micdb import units
from micdb.errors import DamagedFileError, NotAnImageError
from micdb.ingest.block import Block
from micdb.ingest.metadata import Key, apply, local_time, measure, plain, text
from micdb.ingest.reader import HEAD, Format, Reader
from micdb.provenance import package_version
from micdb.records import Axis, Scan, Source

_SIGNATURE = b":NANONIS_VERSION:"
_HEADER_END = b":SCANIT_END:"
_DATA_START = b"\x1a\x04"
_HEADER_LIMIT = 1 << 22  # [byte] headers are some 10 kB; without an end mark the whole file would be searched

_DATE = re.compile(rb"(?m)^(?:Saved )?Date\t")  # stands in every .dat

_DTYPES = {"FLOAT MSBFIRST": ">f4", "FLOAT LSBFIRST": "<f4"}  # SCANIT_TYPE -> numpy

_PASS = re.compile(r"\[P(\d{1,3})\]")  # before the name of a channel of a multi-pass scan

_DIRECTIONS = {"both": ("forward", "backward"), "forward": ("forward",), "backward": ("backward",)}


def _number(value: object) -> str:
    """Accept the decimal comma of German and French locales; Nanonis groups no digits."""
    return text(value).replace(",", ".")


def _current(value: object) -> str | None:
    """Let a set-point pass that is a current; the controller may as well hold a frequency or a force."""
    written = _number(value)
    return written if units.compatible(measure(written).unit, "A") else None


def _kelvin(value: object) -> object:
    """Accept a reading of the temperature module; it writes 0 or NaN where no sensor is connected."""
    number = measure(_number(value)).value if text(value) not in ("NaN", "N/A") else 0.0
    return number if number > 0 else None


# REC_TEMP is left out on purpose: the program writes 290 K whatever the temperature was.
_KEYS = (
    Key("BIAS", "bias", "V", _number),
    Key("Bias>Bias (V)", "bias", "V", _number),
    Key("SETPOINT", "setpoint_current", None, _current),
    Key("SCAN_ANGLE", "scan_angle", "deg", _number),
    Key("SCAN_OFFSET.x", "offset_x", "m", _number),
    Key("SCAN_OFFSET.y", "offset_y", "m", _number),
    Key("Temperature 1>Temperature 1 (K)", "temperature", "K", _kelvin),
    Key("COMMENT", "comment"),
)
_SPEED = {
    "forward": Key("Scan>speed forw. (m/s)", "scan_speed", "m/s", _number),
    "backward": Key("Scan>speed backw. (m/s)", "scan_speed", "m/s", _number),
}


class NanonisSxm(Reader):
    """Scan images of SPECS Nanonis controllers; grids and spectra are refused with their name."""

    name = "nanonis"
    formats = (Format("sxm", "SPECS Nanonis scan", (".sxm",), tested=True),)

    @classmethod
    def sniff(cls, path: Path, head: bytes) -> int:  # noqa: ARG003 (the head is enough)
        """Say 3 for the header's first key, and 2 for Nanonis spectra, so that they are refused by name."""
        if head.startswith(_SIGNATURE):
            return 3
        return 2 if _spectra(head) else 0

    def read(self, path: Path) -> list[Scan]:
        """Return one scan per channel and direction; see `Reader.read`."""
        with path.open("rb") as stream:
            head = stream.read(HEAD)
        spectra = _spectra(head)
        if spectra:
            raise NotAnImageError(path, spectra, reader=self.name)
        header = _Header.read(path)
        return [_scan(path, header, plane, index) for index, plane in enumerate(_planes(path, header))]


def _spectra(head: bytes) -> str | None:
    """Say what a Nanonis file without an image is; its keys stand in any order in some versions."""
    start = head.removeprefix(b"\xef\xbb\xbf")
    if start.startswith(b"Grid dim=") or (b"\nChannels=" in start and b"\n:HEADER_END:" in start):
        what = "a Nanonis grid of spectra (.3ds)"
    elif start.startswith(b"Experiment\t") or (b"\n[DATA]" in start and _DATE.search(start)):
        what = "a Nanonis spectrum or time trace (.dat)"
    else:
        return None
    first = text(start.split(b"\n", 1)[0].replace(b"\t", b" "))[:80]
    return f"this is {what}, not an image: it begins with {first!r}"


class _Header(NamedTuple):
    fields: dict[str, str]
    data_start: int  # [byte]

    @classmethod
    def read(cls, path: Path) -> _Header:
        with path.open("rb") as stream:
            start = stream.read(_HEADER_LIMIT)
        end = start.find(_HEADER_END)
        data = start.find(_DATA_START, end)
        if end < 0 or data < 0:
            mark = ":SCANIT_END:" if end < 0 else "the data mark 1A 04"
            raise DamagedFileError(
                path, f"the header has no {mark}; it was cut short", reader=NanonisSxm.name
            )
        return cls(_fields(text(start[:end])), data + len(_DATA_START))

    def pair(self, key: str) -> tuple[float, float] | None:
        """Return the two numbers of a field, x then y; None when it has not exactly two."""
        try:
            x, y = (float(_number(word)) for word in self.fields[key].split())
        except (KeyError, ValueError):
            return None
        return (x, y) if math.isfinite(x) and math.isfinite(y) else None

    def table(self, key: str) -> list[dict[str, str]]:
        """Return the rows of a tab-separated field by its first line's column names."""
        rows = [line.strip().split("\t") for line in self.fields.get(key, "").split("\n") if line.strip()]
        return [dict(zip(rows[0], row, strict=False)) for row in rows[1:]]


def _fields(header: str) -> dict[str, str]:
    collected: dict[str, list[str]] = {}
    lines: list[str] = []
    for raw in header.split("\n"):
        line = raw.rstrip("\r")
        if len(line) > 2 and line.startswith(":") and line.endswith(":") and line[1] != " ":
            lines = collected.setdefault(line[1:-1], [])
        else:
            lines.append(line)
    return {key: "\n".join(lines).strip("\n") for key, lines in collected.items()}


class _Plane(NamedTuple):
    channel: str
    unit: str
    direction: str
    block: Block


def _planes(path: Path, header: _Header) -> Iterator[_Plane]:
    stored = " ".join(header.fields.get("SCANIT_TYPE", "missing").split())
    dtype = _DTYPES.get(stored)
    if dtype is None:
        raise DamagedFileError(
            path, f"SCANIT_TYPE is {stored}, expected FLOAT MSBFIRST", reader=NanonisSxm.name
        )
    size = header.pair("SCAN_PIXELS")
    if size is None or min(size) < 1:
        raise DamagedFileError(path, "SCAN_PIXELS does not give two numbers", reader=NanonisSxm.name)
    shape = (int(size[1]), int(size[0]))
    planes = list(_listed(path, header))
    _check_size(path, header, (len(planes), *shape))
    flip_y = (0,) if header.fields.get("SCAN_DIR", "").strip() == "up" else ()
    for index, (channel, unit, direction) in enumerate(planes):
        flip = (*flip_y, 1) if direction == "backward" else flip_y
        offset = header.data_start + index * 4 * math.prod(shape)
        yield _Plane(channel, unit, direction, Block(path, offset, shape, dtype, flip))


def _listed(path: Path, header: _Header) -> Iterator[tuple[str, str, str]]:
    rows = header.table("DATA_INFO")
    if not rows:
        raise DamagedFileError(path, "DATA_INFO lists no channel", reader=NanonisSxm.name)
    for row in rows:
        directions = _DIRECTIONS.get(row.get("Direction", ""))
        if directions is None:
            raise DamagedFileError(
                path, f"DATA_INFO has a line {row}, expected a direction both, forward or backward",
                reader=NanonisSxm.name,
            )  # fmt: skip
        for direction in directions:
            yield row.get("Name", ""), row.get("Unit", ""), direction


def _check_size(path: Path, header: _Header, shape: tuple[int, int, int]) -> None:
    """Refuse a file whose blocks are not those of its header: every image after the first would be wrong."""
    expected = 4 * math.prod(shape)  # [byte] float32
    found = path.stat().st_size - header.data_start
    if not expected <= found < expected + expected // shape[0]:
        promised = f"the header promises {shape[0]} images of {shape[1:]} float32, {expected} bytes"
        raise DamagedFileError(
            path, f"{promised}; there are {found}", reader=NanonisSxm.name, offset=header.data_start
        )


def _scan(path: Path, header: _Header, plane: _Plane, index: int) -> Scan:
    flat = _flat(header)
    of_pass = _set_pass(flat, header, plane)
    settings = apply((*_KEYS, _SPEED[plane.direction]), flat)
    problems = of_pass + settings.problems + _stopped(plane.block)
    intensity_unit = units.known(plane.unit)
    if plane.unit and intensity_unit is None:
        problems.append(f"unit of {plane.channel} unknown: {plane.unit!r}")
    if header.fields.get("SCAN_DIR", "").strip() not in ("up", "down"):
        problems.append(
            "SCAN_DIR is neither up nor down: rows stand as stored, top and bottom may be exchanged"
        )
    fields = header.fields
    written = f"{fields.get('REC_DATE', '').strip()} {fields.get('REC_TIME', '').strip()}".strip()
    return Scan(
        pixels=plane.block.pixels(),
        axes=_axes(header, plane.block.shape, problems),
        name=path.stem,
        source=Source(str(path), "sxm", NanonisSxm.name, package_version(), index),
        channel=f"{plane.channel} {plane.direction}",
        intensity_unit=intensity_unit,
        acquired=local_time(written, ("%d.%m.%Y %H:%M:%S", "%d.%m.%Y")),
        acquired_raw=written or None,
        settings=settings.values,
        original=plain(header.fields),
        problems=tuple(problems),
    )


def _axes(header: _Header, shape: tuple[int, ...], problems: list[str]) -> tuple[Axis, Axis]:
    extent = header.pair("SCAN_RANGE")
    if extent is None or min(extent) <= 0:
        problems.append(f"pixel size unknown: SCAN_RANGE is {header.fields.get('SCAN_RANGE', 'missing')!r}")
        return Axis("y", shape[0]), Axis("x", shape[1])
    return (
        Axis("y", shape[0], extent[1] / shape[0], unit="m"),
        Axis("x", shape[1], extent[0] / shape[1], unit="m"),
    )


def _flat(header: _Header) -> dict[str, str]:
    """Add the fields that hold several values, each under a key of its own."""
    flat = dict(header.fields)
    setpoint = flat.get("Z-Controller>Setpoint"), flat.get("Z-Controller>Setpoint unit")
    if all(setpoint):
        flat["SETPOINT"] = f"{setpoint[0]} {setpoint[1]}"
    elif controllers := header.table("Z-CONTROLLER"):
        flat["SETPOINT"] = controllers[0].get("Setpoint", "")
    offset = flat.get("SCAN_OFFSET", "").split()
    if len(offset) == 2:
        flat["SCAN_OFFSET.x"], flat["SCAN_OFFSET.y"] = offset
    return flat


def _set_pass(flat: dict[str, str], header: _Header, plane: _Plane) -> list[str]:
    """Put what was set for one pass of a multi-pass scan in the place of what holds for the others.

    The table has a line for the forward and one for the backward scan of every pass.
    """
    found, passes = _PASS.match(plane.channel), header.table("Multipass-Config")
    if not found or not passes:
        return []
    line = 2 * int(found[1]) - 2 + (plane.direction == "backward")
    speed = _SPEED[plane.direction].vendor
    if not 0 <= line < len(passes):
        for key in ("BIAS", "Bias>Bias (V)", "SETPOINT", speed):
            flat.pop(key, None)
        return [f"bias, set point and speed unknown: Multipass-Config has no line for {plane.channel}"]
    row = passes[line]
    if row.get("Bias_override", "").upper() == "TRUE":
        flat["BIAS"] = row.get("Bias_override_value", "")
    if row.get("Z_Setp_override", "").upper() == "TRUE":
        unit = text(flat.get("SETPOINT", "")).rpartition(" ")[2]
        flat["SETPOINT"] = f"{row.get('Z_Setp_override_value', '')} {unit}"
    if _number(row.get("Speed_factor", "1")).rstrip("0") not in ("1", "1."):
        flat.pop(speed, None)
    return []


def _stopped(block: Block) -> list[str]:
    """Say after how many lines a scan was stopped, from single pixels: lines not reached hold NaN."""
    lines, points = block.shape

    def missing(pixel: int) -> bool:
        stream.seek(block.offset + 4 * pixel)
        return math.isnan(struct.unpack(f"{block.dtype[0]}f", stream.read(4))[0])

    with block.path.open("rb") as stream:
        if not missing(lines * points - 1):
            return []
        reached = bisect_left(range(lines), True, key=lambda line: missing(line * points))
    return [f"the scan was stopped after {reached} of {lines} lines, the rest is NaN"]
