"""Createc STM images (.dat): a text header, then all channels in one block, usually deflated.

Three generations, told apart by the first line, as Gwyddion's createc module and the package createc read
them: ``[Parameter]`` int16 and ``[Paramet32]`` float32 as they are, ``[Paramco32]`` float32 in one zlib
block. The header is padded to 16384 bytes and ends in the mark ``DATA``; files whose header was edited have
it elsewhere, so it is searched. The first number of the block is no pixel. Then come the images, row
0 first and that is the top of the scan, in the order voltage (multi-voltage scans), direction, channel;
backward images are stored as seen, not mirrored.

Numbers are DAC units. They become ``z [m] = DAC * 20 V / 2^bits * GainZ * ZPiezoconst`` and ``current [A] =
DAC * 20 V / 2^bits / 10^Gainpreamp`` where the header agrees with itself: ``Dacto[A]z`` must be
ZPiezoconst * 20 V / 2^bits within its digits. (Gwyddion has the same z. The program's own lengths follow
10 V / 524272, which is 3e-5 more.) On a real file this gives terraces 0.25 nm apart, as atomic steps of a
metal are, and the current that the set-point asks for. Other channels stay DAC units.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from micdb.errors import DamagedFileError, NotAnImageError
from micdb.ingest.bombs import is_bomb
from micdb.ingest.metadata import Key, apply, local_time, plain, text
from micdb.ingest.reader import HEAD, Format, Reader
from micdb.ingest.readers.createc_block import DEFLATE_RATIO, Plane
from micdb.provenance import package_version
from micdb.records import Axis, Modality, Pixels, Quantity, Scan, Source

_DTYPES = {b"[Parameter]": "<i2", b"[Paramet32]": "<f4", b"[Paramco32]": "<f4"}
_DEFLATED = b"[Paramco32]"
_SPECTRUM = re.compile(rb"\A\[Par(VERT|LAT|TSPEC)\d*\]")

_HEADER_SIZE = 16384  # [byte] mark included
_SEARCHED = 1 << 17  # [byte] a header that was edited may be longer
_MARK = re.compile(rb"DATA(?=\x78[\x01\x5e\x9c\xda])")  # "DATA" may stand in a folder's name too

_CHANNEL_LIMIT = 1024  # 10 voltages, 2 directions and 16 channels at most

_TOPOGRAPHY, _CURRENT = "Topography", "Current"
_CHANNELS = (_TOPOGRAPHY, _CURRENT, "ADC1", "ADC2")  # bits of Channelselectval; higher ones stay numbers
_DIRECTIONS = ("forward", "backward")

_NAMED = re.compile(r"(?<!\d)(\d{6})\.(\d{6})(?!\d)")  # A250320.191933.dat
_NO_TIME = "the date is in the file name only, and this name has none"


def _number(value: object) -> str:
    return text(value).replace(",", ".")


_KEYS = (
    Key("BiasVolt.[mV]", "bias", "mV", _number),
    Key("BiasVoltage", "bias", "mV", _number),
    Key("Biasvolt[mV]", "bias", "mV", _number),
    Key("SetPoint", "setpoint_current", "A", _number),
    Key("Current[A]", "setpoint_current", "A", _number),
    Key("Rotation", "scan_angle", "deg", _number),
    Key("Username", "operator"),
    Key("memo", "comment"),
)


class Createc(Reader):
    """Every channel, direction and voltage of Createc .dat files; spectra are refused by name."""

    name = "createc"
    formats = (Format("createc_dat", "Createc STM image", (".dat",), tested=True),)

    @classmethod
    def sniff(cls, path: Path, head: bytes) -> int:  # noqa: ARG003 (the head is enough)
        """Say 3 for the first line and the number of pixels; 3 for spectra, so that they are refused."""
        if _SPECTRUM.match(head):
            return 3
        return 3 if head[:11] in _DTYPES and b"Num.X" in head else 0

    def read(self, path: Path) -> list[Scan]:
        """Return one scan per image; see `Reader.read`."""
        with path.open("rb") as stream:
            start = stream.read(_SEARCHED)
        found = _SPECTRUM.match(start[:HEAD])
        if found:
            kind = found[1].decode()
            raise NotAnImageError(path, f"a Createc spectrum (.{kind}), not an image", reader=self.name)
        header = _Header.read(path, start)
        return [_scan(path, header, image, index) for index, image in enumerate(_images(path, header))]


class _Header(NamedTuple):
    kind: bytes
    original: dict[str, str]
    named: dict[str, str]  # a field by each of its two names
    fields: dict[str, str]  # the same in lower case: the program's versions differ in that
    data: int  # [byte]

    @classmethod
    def read(cls, path: Path, start: bytes) -> _Header:
        kind = start[:11]
        data = _data(path, start)
        original: dict[str, str] = {}
        named: dict[str, str] = {}
        for line in start[11:data].decode("cp1252", "replace").split("\n"):
            key, sign, value = line.partition("=")
            names = [name.strip() for name in key.split(" / ")]
            if sign and names[0]:
                original.setdefault(key.strip(), text(value))
                for name in names:
                    named.setdefault(name, text(value))
        notes = [named[key] for key in sorted(named) if key.lower().startswith("memo")]
        named["memo"] = "\n".join(note for note in notes if note)
        return cls(kind, original, named, {key.lower(): value for key, value in named.items()}, data)

    def number(self, *keys: str) -> float | None:
        """Return the first of the fields that is a finite number."""
        for key in keys:
            try:
                value = float(_number(self.fields[key]))
            except (KeyError, ValueError):
                continue
            if math.isfinite(value):
                return value
        return None

    def count(self, *keys: str) -> int:
        """Return a field that counts something; 0 where there is none."""
        value = self.number(*keys)
        return int(value) if value is not None and 0 < value < 1 << 31 else 0


def _data(path: Path, start: bytes) -> int:
    """Return where the block begins behind its mark."""
    if start[:11] == _DEFLATED:
        marks = [found.end() for found in _MARK.finditer(start)]
        if not marks:
            reason = "there is no mark DATA with a compressed block behind it; the file was cut short"
            raise DamagedFileError(path, reason, reader=Createc.name, offset=len(start))
        return _HEADER_SIZE if _HEADER_SIZE in marks else marks[0]
    if len(start) <= _HEADER_SIZE:
        reason = f"the header takes {_HEADER_SIZE} bytes; the file was cut short"
        raise DamagedFileError(path, reason, reader=Createc.name, offset=len(start))
    behind = start[_HEADER_SIZE : _HEADER_SIZE + 200]
    if re.fullmatch(rb"\s*-?\d[\d\s.+\-eE]*", behind):
        raise NotAnImageError(path, "a Createc spectrum: numbers as text, not an image", reader=Createc.name)
    return _HEADER_SIZE


class _Image(NamedTuple):
    channel: str
    step: int | None  # number of the voltage in a multi-voltage scan, from 1
    pixels: Pixels
    unit: str | None
    problems: list[str]


def _images(path: Path, header: _Header) -> Iterator[_Image]:
    shape = (header.count("num.y"), header.count("num.x"))
    count = header.count("channels")
    if not all(shape) or not 0 < count <= _CHANNEL_LIMIT:
        reason = f"the header promises {count} channels of {shape[1]} x {shape[0]} pixels"
        raise DamagedFileError(path, reason, reader=Createc.name)
    dtype = _DTYPES[header.kind]
    size = math.prod(shape) * int(dtype[2:])
    deflated = header.kind == _DEFLATED
    needed, found = int(dtype[2:]) + count * size, path.stat().st_size - header.data
    if needed > found * (DEFLATE_RATIO if deflated else 1) or is_bomb(size, found):
        reason = f"the header promises {count} channels of {shape[1]} x {shape[0]} pixels, {needed} bytes"
        raise DamagedFileError(
            path, f"{reason}; {found} cannot hold them", reader=Createc.name, offset=header.data
        )
    names = _names(header, count)
    for index in range(count):
        name, direction, step = names[index] if names else (f"channel {index}", "", None)
        factor, unit, problems = _factor(header, name)
        if not names:
            problems.append(f"{count} channels do not fit the header's list of channels and directions")
        skip = int(dtype[2:]) + index * size
        plane = Plane(path, header.data, deflated, skip, shape, dtype, factor)
        yield _Image(f"{name} {direction}".strip(), step, plane.pixels(), unit, problems)


def _names(header: _Header, count: int) -> list[tuple[str, str, int | None]]:
    """Return channel, direction and voltage of every image, or nothing where the numbers do not fit."""
    selected = header.count("channelselectval")
    if selected:
        bits = [bit for bit in range(selected.bit_length()) if selected >> bit & 1]
    else:
        bits = list(range(min(header.count("chan(1,2,4)"), len(_CHANNELS))))
    names = [_CHANNELS[bit] if bit < len(_CHANNELS) else f"channel bit {bit}" for bit in bits]
    both = header.count("scanmode") == 2 or ("scanmode" not in header.fields and count == 2 * len(names))
    directions = _DIRECTIONS[: 2 if both else 1]
    voltages = header.count("mvoltnumber11") if header.count("scantype") == 2 else 1
    if count != len(names) * len(directions) * voltages:
        return []
    return [
        (name, direction, step if voltages > 1 else None)
        for step in range(1, voltages + 1)
        for direction in directions
        for name in names
    ]


def _factor(header: _Header, channel: str) -> tuple[float | None, str | None, list[str]]:
    """Return what a DAC unit of the channel is worth and in which unit; no factor where uncertain."""
    if channel not in (_TOPOGRAPHY, _CURRENT):
        return None, None, []
    volt = _volt_per_unit(header)
    if volt is None:
        return None, None, [f"{channel} is in DAC units: the header does not say what a unit is worth"]
    if channel == _TOPOGRAPHY:
        gain, piezo = header.number("gainz"), header.number("zpiezoconst")
        if not gain or not piezo:
            return None, None, ["Topography is in DAC units: GainZ or ZPiezoconst is missing"]
        factor = volt * gain * piezo * 1e-10
        if not math.isfinite(factor):
            return None, None, [f"Topography is in DAC units: GainZ is {gain}"]
        return factor, "m", []
    gain = header.number("gainpreamp")
    other = header.number("chmodegainpreamp") if header.count("chmode") else gain
    if gain is None or gain != other or abs(gain) > 15:
        return None, None, [f"Current is in DAC units: the gain of the preamplifier is {gain} or {other}"]
    return volt / math.pow(10, gain), "A", []


def _volt_per_unit(header: _Header) -> float | None:
    """Return the voltage of one DAC unit, only where the header's own factors agree with it."""
    written = re.match(r"(\d+)\s*bit", header.fields.get("dac-type", ""), re.IGNORECASE)
    if _DTYPES[header.kind] == "<i2":
        bits = [16]
    else:
        bits = [int(written[1])] if written and int(written[1]) < 64 else [16, 20]
    piezo, stated = header.number("zpiezoconst"), header.number("dacto[a]z")
    if piezo is None or stated is None:
        return None
    decimals = len(_number(header.fields["dacto[a]z"]).partition(".")[2])
    for volt in (20 / math.pow(2, bit) for bit in bits):
        if abs(volt * piezo - stated) <= 0.501 * 10**-decimals:
            return volt
    return None


def _scan(path: Path, header: _Header, image: _Image, index: int) -> Scan:
    settings = apply(_KEYS, header.named)
    values = dict(settings.values)
    problems = [*image.problems, *settings.problems, *_bias(header, image, values), *_remarks(header)]
    named = _NAMED.search(path.name)
    acquired = local_time(f"{named[1]} {named[2]}", ("%y%m%d %H%M%S",)) if named else None
    if acquired is None:
        problems.append(_NO_TIME)
    voltage = f" at {values['bias'].value:g} V" if image.step and "bias" in values else ""
    return Scan(
        pixels=image.pixels,
        axes=(_axis("y", header, problems), _axis("x", header, problems)),
        name=path.stem,
        source=Source(str(path), "createc_dat", Createc.name, package_version(), index),
        channel=image.channel + voltage,
        modality=_modality(header),
        intensity_unit=image.unit,
        acquired=acquired,
        acquired_raw=path.name if acquired else None,
        settings=values,
        original=plain(header.original),
        problems=tuple(problems),
    )


def _bias(header: _Header, image: _Image, values: dict[str, Quantity]) -> list[str]:
    """Mend the bias of multi-voltage and constant-height scans, which have fields of their own."""
    if image.step:
        values.pop("bias", None)
        found = apply((Key(f"MVolt_{image.step}", "bias", "mV", _number),), header.named)
        values.update(found.values)
        return found.problems
    here, there = header.number("biasvoltage", "biasvolt[mv]"), header.number("chmodebias[mv]")
    if header.count("chmode") and here != there and "bias" in values:
        del values["bias"]
        return [f"bias unknown: a constant-height scan with {here} mV and CHModeBias {there} mV"]
    return []


def _modality(header: _Header) -> Modality | None:
    """Say STM where no sensor oscillates: the same program runs qPlus force microscopes."""
    return "STM" if header.number("pllon") == 0 else None


def _remarks(header: _Header) -> Iterator[str]:
    lines = header.count("num.y")
    if "imageyposmax" in header.fields and header.count("imageyposmax") <= lines:
        done = max(header.count("imageyposmax") - 1, 0)
        yield f"the scan was stopped after {done} of {lines} lines: the rest are zeros"
    if header.fields.get("scanydirec", "1") != "1":
        yield "the scan ran against the usual direction: rows stand as stored, the image may be upside down"


def _axis(name: str, header: _Header, problems: list[str]) -> Axis:
    size = header.count(f"num.{name}")
    length = header.number(f"length {name}[a]")
    if header.count("scanmodesine"):
        problems.append(f"step of {name} unknown: the tip moved as a sine")
    elif length is None or length <= 0:
        problems.append(f"step of {name} unknown: the header has no Length {name}[A]")
    else:
        return Axis(name, size, length / size * 1e-10, unit="m")
    return Axis(name, size)
