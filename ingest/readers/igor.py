"""Igor Pro binary waves (.ibw), version 5, and the images that Asylum Research software keeps in them.

Layout after WaveMetrics Technical Note 003: a 64-byte file header, a 320-byte wave header, the numbers with
the first dimension fastest, then formula, note, long units and dimension labels. Asylum stores
(x, y, channel) with the channel names as labels of the third dimension, and its settings in the note.
The second dimension counts upwards, so rows are flipped: row 0 of an image is the top. The header's
step is ScanSize / (N - 1).
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Iterator, Mapping
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple

from micdb import units
from micdb.errors import DamagedFileError, NotAnImageError
from micdb.ingest.block import Block
from micdb.ingest.metadata import Key, apply, local_time, plain, text
from micdb.ingest.reader import Format, Reader
from micdb.provenance import package_version
from micdb.records import Axis, Modality, Scan, Source

# version -> bytes of file header and wave header together, over which 16-bit words sum to zero (TN003)
_HEADER_SIZES = {1: 118, 2: 126, 3: 130, 5: 384}
_TAIL_SIZES = (
    "4x15i"  # after version and checksum: wave, formula, note, data unit, 4 dim units, 4 dim labels, rest
)
_WAVE_HEADER = "12xih10x32s8x4i4d32x4s4s4s4s4s"  # points, type, name, sizes, steps, (offsets), 5 units
_LABEL_SIZE = 32  # [byte]
_TAIL_LIMIT = 1 << 24  # [byte] notes are some 20 kB
_CHANNELS_LIMIT = 256  # of one file; a third dimension with more names is a series

# NumberType of the wave header -> numpy type; 1 complex, 2 float32, 4 float64, 8..128 integers, 64 unsigned
_DTYPES = {
    2: "f4", 3: "c8", 4: "f8", 5: "c16", 8: "i1", 16: "i2", 32: "i4", 128: "i8", 72: "u1", 80: "u2", 96: "u4",
    192: "u8",
}  # fmt: skip
_TEXT_WAVE = 0

# Asylum writes one unit, metres, for the whole wave. What the users' own inputs hold is in the note,
# ``UserIn0Unit``; what the other channels hold follows from their names.
_ASYLUM_UNITS = {
    "Height": "m", "ZSensor": "m", "Deflection": "m", "Amplitude": "m", "Phase": "deg", "Current": "A",
    "Frequency": "Hz", "Potential": "V", "Lateral": "V", "UserIn": "V", "BackPackIn": "V",
}  # fmt: skip

#: What Asylum's ``ImagingMode`` says of the instrument.
IMAGING_MODES: dict[str, Modality] = {
    "AC Mode": "AFM", "Contact": "AFM", "Contact Mode": "AFM", "PFM Mode": "AFM", "Fast Force Mapping": "AFM",
    "STM Mode": "STM",
}  # fmt: skip

# Asylum's numbers are in SI units, angles in degrees.
_ASYLUM_KEYS = (
    Key("ScanAngle", "scan_angle", "deg"),
    Key("ScanSpeed", "scan_speed", "m/s"),
    Key("XOffset", "offset_x", "m"),
    Key("YOffset", "offset_y", "m"),
    Key("MicroscopeModel", "instrument"),
    Key("ImageNote", "comment"),
)
_ASYLUM_TIMES = ("%Y-%m-%d %I:%M:%S %p", "%Y-%m-%d %H:%M:%S", "%Y-%m-%d")


class IgorBinaryWave(Reader):
    """Waves of two dimensions, or of three: channels where they are named, else frames."""

    name = "igor"
    formats = (Format("ibw", "Igor Pro binary wave (Asylum Research)", (".ibw", ".bwav"), tested=True),)

    @classmethod
    def sniff(cls, path: Path, head: bytes) -> int:
        """Say 3 where the header's checksum is right, 1 where only its version and the extension are."""
        order = _byte_order(head)
        if order is None:
            return 0
        size = _HEADER_SIZES[struct.unpack_from(order + "h", head)[0]]
        if len(head) >= size and not sum(struct.unpack_from(f"{order}{size // 2}h", head)) & 0xFFFF:
            return 3
        return 1 if path.suffix.lower() in cls.extensions() else 0

    def read(self, path: Path) -> list[Scan]:
        """Return one scan per image; see `Reader.read`."""
        wave = _Wave.read(path)
        note = _note(wave.note)
        return [_scan(path, wave, note, image) for image in _images(path, wave)]


def _byte_order(head: bytes) -> str | None:
    for order in "<>":
        if len(head) >= 2 and struct.unpack_from(order + "h", head)[0] in _HEADER_SIZES:
            return order
    return None


class _Wave(NamedTuple):
    """The header of a wave and what stands behind its numbers."""

    name: str
    dtype: str
    shape: tuple[int, ...]  # first dimension fastest
    steps: tuple[float, ...]
    units: tuple[str, ...]  # one per dimension
    data_unit: str
    note: str
    labels: list[list[str]]  # names of the elements, one list per dimension

    @classmethod
    def read(cls, path: Path) -> _Wave:
        with path.open("rb") as stream:
            head = stream.read(_HEADER_SIZES[5])
            order = _byte_order(head) or "<"
            version = struct.unpack_from(order + "h", head)[0]
            if version != 5 and version in _HEADER_SIZES:
                raise NotAnImageError(
                    path, f"an Igor wave of version {version} has one dimension only", reader="igor"
                )
            if len(head) < _HEADER_SIZES[5]:
                raise DamagedFileError(path, "the wave header is cut short", reader="igor", offset=len(head))
            sizes = struct.unpack_from(order + _TAIL_SIZES, head)
            if not 0 <= sizes[0] <= path.stat().st_size:
                raise DamagedFileError(path, f"the wave claims {sizes[0]} bytes", reader="igor", offset=8)
            stream.seek(64 + sizes[0])
            tail = stream.read(min(sum(size for size in sizes[1:12] if size > 0), _TAIL_LIMIT))
        _, kind, name, *numbers = struct.unpack_from(order + _WAVE_HEADER, head, 64)
        shape = tuple(size for size in numbers[:4] if size > 0)
        dtype = _dtype(path, kind, shape)
        _check_size(path, math.prod(shape) * int(dtype[1:]))
        parts = _split(tail, sizes[1:12])
        short = [_string(unit) for unit in numbers[8:13]]
        data_unit, *dim_units = (text(long) or brief for long, brief in zip(parts[2:7], short, strict=True))
        labels = [_labels(block) for block in parts[7:11]]
        return cls(
            name=_string(name),
            dtype=order + dtype,
            shape=shape,
            steps=tuple(numbers[4:8]),
            units=tuple(dim_units),
            data_unit=data_unit,
            note=text(parts[1]),
            labels=labels,
        )


def _dtype(path: Path, kind: int, shape: tuple[int, ...]) -> str:
    if kind == _TEXT_WAVE:
        raise NotAnImageError(
            path, f"an Igor text wave of {math.prod(shape)} entries, no image", reader="igor"
        )
    if kind not in _DTYPES:
        raise NotAnImageError(
            path, f"an Igor wave of number type {kind}, which is no array of numbers", reader="igor"
        )
    return _DTYPES[kind]


def _check_size(path: Path, expected: int) -> None:
    found = path.stat().st_size - _HEADER_SIZES[5]
    if found < expected:
        reason = f"the header promises {expected} bytes of numbers, there are {found}"
        raise DamagedFileError(path, reason, reader="igor", offset=_HEADER_SIZES[5])


def _split(tail: bytes, sizes: tuple[int, ...]) -> list[bytes]:
    ends = list(accumulate(max(size, 0) for size in sizes))
    return [tail[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def _string(block: bytes) -> str:
    return text(block.split(b"\0", 1)[0])  # behind the NUL stands what an earlier, longer name left over


def _labels(block: bytes) -> list[str]:
    names = [_string(block[start : start + _LABEL_SIZE]) for start in range(0, len(block), _LABEL_SIZE)]
    return names[1:]  # the first one names the dimension as a whole


class _Image(NamedTuple):
    layer: int
    channel: str | None
    block: Block


def _images(path: Path, wave: _Wave) -> Iterator[_Image]:
    if len(wave.shape) not in (2, 3) or min(wave.shape[:2]) < 2:
        sizes = " x ".join(map(str, wave.shape)) or "0"
        raise NotAnImageError(
            path, f"an Igor wave of {sizes} numbers, a curve or a table; an image has 2 or 3 dimensions",
            reader="igor",
        )  # fmt: skip
    along = [units.known(unit) for unit in wave.units[: len(wave.shape)]]
    if any(unit and units.compatible(unit, "V") for unit in along):
        raise NotAnImageError(path, "an Igor wave of spectra: one of its axes is a voltage", reader="igor")
    if len(wave.shape) == 2 and any(wave.labels[1]):
        columns = ", ".join(filter(None, wave.labels[1]))
        raise NotAnImageError(
            path, f"curves with the columns {columns}, for example a force curve", reader="igor"
        )
    plane = (wave.shape[1], wave.shape[0])
    start = _HEADER_SIZES[5]
    if len(wave.shape) == 2:
        yield _Image(0, None, Block(path, start, plane, wave.dtype, flip=(0,)))
    elif not any(wave.labels[2]) or wave.shape[2] > _CHANNELS_LIMIT:
        yield _Image(0, None, Block(path, start, (wave.shape[2], *plane), wave.dtype, flip=(1,)))
    else:
        for index in range(wave.shape[2]):
            name = wave.labels[2][index] if index < len(wave.labels[2]) else ""
            offset = start + index * math.prod(plane) * int(wave.dtype[2:])
            yield _Image(index, name or f"layer {index}", Block(path, offset, plane, wave.dtype, flip=(0,)))


def _note(note: str) -> Mapping[str, str]:
    """Return the ``key: value`` lines of a note; of equal keys the first counts, the current one."""
    pairs: dict[str, str] = {}
    for line in note.replace("\n", "\r").split("\r"):
        key, colon, value = line.partition(":")
        if colon:
            pairs.setdefault(key.strip(), value.strip())
    return pairs


def _scan(path: Path, wave: _Wave, note: Mapping[str, str], image: _Image) -> Scan:
    asylum = "ScanSize" in note
    settings = apply(_ASYLUM_KEYS if asylum else (), note)
    problems = settings.problems
    written = f"{note.get('Date', '')} {note.get('Time', '')}".strip() if asylum else ""
    return Scan(
        pixels=image.block.pixels(),
        axes=_axes(wave, image.block.shape, problems),
        name=path.stem,
        source=Source(str(path), "ibw", "igor", package_version(), image.layer),
        channel=image.channel,
        modality=IMAGING_MODES.get(note.get("ImagingMode", "")) if asylum else None,
        intensity_unit=_intensity_unit(wave, note, image.channel, problems)
        if asylum
        else units.known(wave.data_unit),
        acquired=local_time(written, _ASYLUM_TIMES),
        acquired_raw=written or None,
        settings=settings.values,
        original=_original(wave),
        problems=tuple(problems),
    )


def _intensity_unit(
    wave: _Wave, note: Mapping[str, str], channel: str | None, problems: list[str]
) -> str | None:
    """Return the unit of an Asylum channel."""
    if channel is None:
        return units.known(wave.data_unit)
    key = re.sub(r"(?:Trace|Retrace).*", "Unit", channel)
    if note.get(key):
        unit = units.known(note[key])
        if unit is None:
            problems.append(f"unit of {channel} unknown: {key} is {note[key]!r}")
        return unit
    if "Volt" in channel:
        return "V"
    return next((unit for start, unit in _ASYLUM_UNITS.items() if channel.startswith(start)), None)


def _axes(wave: _Wave, shape: tuple[int, ...], problems: list[str]) -> tuple[Axis, ...]:
    names = ("x", "y", "frame")[: len(shape)]
    axes = []
    for name, size, step, written in zip(names, wave.shape, wave.steps, wave.units, strict=False):
        unit = units.known(written)
        known = unit is not None and math.isfinite(step) and step != 0
        if written and not known:
            problems.append(f"step of {name} unknown: the header says {step} {written!r}")
        axes.append(Axis(name, size, abs(step), unit=unit) if known else Axis(name, size))
    return tuple(reversed(axes))


def _original(wave: _Wave) -> dict[str, Any]:
    described = {"name": wave.name, "steps": wave.steps, "units": wave.units, "data_unit": wave.data_unit}
    tree: dict[str, Any] = plain({"wave": described, "note": wave.note})
    return tree
