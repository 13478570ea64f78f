"""RHK Technology files (.sm4): every image page one scan.

Layout as the readers Gwyddion (rhk-sm4) and spym write it down: a little-endian tree of objects, each
entry of a list being type, offset and size. File header -> page index header -> page index array; each
page has a header (sizes, scales and a list of further objects, one of them the strings) and data, int32
for images: ``stored * z_scale + z_offset`` in the page's z unit.

The signs of ``x_scale`` and ``y_scale`` say in which direction columns and rows are stored. Images are
turned so that x grows to the right and row 0 is the top: a negative x scale flips the columns, a
positive y scale the rows. Forward and backward pages are then aligned with each other.
"""

from __future__ import annotations

import math
import mmap
import struct
import zlib
from pathlib import Path
from typing import Any, NamedTuple

from micdb import units
from micdb.errors import DamagedFileError, NotAnImageError
from micdb.ingest.block import Block
from micdb.ingest.metadata import Key, apply, local_time, plain, positive, text, tolerate
from micdb.ingest.reader import Format, Reader
from micdb.ingest.readers.scaled_block import ScaledBlock
from micdb.provenance import package_version
from micdb.records import Axis, Pixels, Scan, Source

# Two bytes that give the size of the header come first, except in SM2.
_MAGIC = "STiMage 005.".encode("utf-16le")
_MAGIC_SM3 = "STiMage 004.".encode("utf-16le")
_MAGIC_SM2 = b"STiMage 3."

_LIST_LIMIT = 1024  # entries of an object list; real ones have some 30
_PAGE_LIMIT = 8192
_PRM_LIMIT = 1 << 20  # [byte] instrument parameters as text, some 20 kB in real files

# Types of objects
_INDEX_HEADER, _INDEX_ARRAY, _PAGE_HEADER, _PAGE_DATA, _STRINGS, _PRM, _PRM_HEADER = 1, 2, 3, 4, 10, 13, 15

_IMAGE = 0
# What else a page may hold -> in words
_OTHERS = {
    1: "spectra or curves", 2: "XY data", 3: "annotated curves", 4: "text", 5: "annotated text",
    6: "sequential data", 7: "a movie",
}  # fmt: skip

_HEADER = "<2H3I2i6I2i11f4I"
_RESERVED = 64  # [byte] between a page's header and its list of objects
_FIELDS = (
    "field_size", "string_count", "page_type", "data_sub_source", "line_type", "x_corner", "y_corner",
    "x_size", "y_size", "image_type", "scan_type", "group_id", "data_size", "min_z", "max_z",
    "x_scale", "y_scale", "z_scale", "xy_scale", "x_offset", "y_offset", "z_offset",
    "period", "bias", "current", "angle", "color_info_count", "grid_x", "grid_y", "object_count",
)  # fmt: skip
_STRING_NAMES = (
    "label", "system_text", "session_text", "user_text", "file_name", "date", "time", "x_units", "y_units",
    "z_units", "x_label", "y_label", "status_channel_text", "completed_line_count", "oversampling_count",
    "sliced_voltage", "pll_pro_status", "setpoint_unit", "channel_drive_values",
)  # fmt: skip

_DIRECTIONS = {0: "forward", 1: "backward", 2: "up", 3: "down"}  # scan_type

# RHK's way of writing units -> ours
_UNITS = {"N/sec": "1/s", "Vrms": "V", "Vp": "V"}


def _single(value: float) -> float:
    """Return the decimal number that was rounded to float32: 0.075, not 0.07500000298."""
    return float(f"{value:.7g}")


_KEYS = (
    Key("bias", "bias", "V", _single),
    Key("current", "setpoint_current", "A", _single),
    Key("period", "dwell_time", "s", lambda value: positive(_single(value))),
    Key("angle", "scan_angle", "deg", _single),
    Key("user_text", "comment"),
    Key("session_text", "comment"),
)


class Rhk(Reader):
    """Image pages of RHK SM4 files; pages of spectra are left out, files of nothing else refused."""

    name = "rhk"
    formats = (Format("rhk_sm4", "RHK Technology SM4", (".sm4",), tested=True),)

    @classmethod
    def sniff(cls, path: Path, head: bytes) -> int:  # noqa: ARG003 (the head is enough)
        """Say 3 for the signature, and 2 for RHK's older formats, so that they are refused by name."""
        if head[2:].startswith(_MAGIC):
            return 3
        return 2 if _older(head) else 0

    def read(self, path: Path) -> list[Scan]:
        """Return one scan per image page; see `Reader.read`."""
        with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
            older = _older(content[:64])
            if older:
                reason = f"an {older} file; micdb reads SM4 only: save it as .sm4 or convert it"
                raise NotAnImageError(path, reason, reader=self.name)
            file = _File(path, content)
            pages = file.pages()
            images = [_image(file, page) for page in pages if page.kind == _IMAGE]
            parameters = file.parameters()
        if not images:
            held = ", ".join(sorted({_OTHERS.get(page.kind, f"data of kind {page.kind}") for page in pages}))
            raise NotAnImageError(path, f"the file holds {held or 'no page'}, but no image", reader=self.name)
        return [_scan(path, image, parameters, index) for index, image in enumerate(images)]


def _older(head: bytes) -> str | None:
    if head[2:].startswith(_MAGIC_SM3):
        return "RHK SM3"
    return "RHK SM2" if head.startswith(_MAGIC_SM2) else None


class _Place(NamedTuple):
    offset: int  # [byte]
    size: int


class _Page(NamedTuple):
    number: int
    kind: int
    objects: dict[int, _Place]


class _File:
    """The tree of objects; every offset and count is checked against the file."""

    def __init__(self, path: Path, content: mmap.mmap) -> None:
        self.path, self.content = path, content
        self.texts = 0  # [byte] of strings read so far

    def damaged(self, reason: str, offset: int) -> DamagedFileError:
        return DamagedFileError(self.path, reason, reader=Rhk.name, offset=offset)

    def unpack(self, layout: str, offset: int, what: str) -> tuple[Any, ...]:
        if offset + struct.calcsize(layout) > len(self.content):
            raise self.damaged(f"{what} lies behind the end of the file", offset)
        return struct.unpack_from(layout, self.content, offset)

    def objects(self, offset: int, count: int, what: str) -> dict[int, _Place]:
        """Return the entries of an object list by type; of equal types the first counts."""
        if count > _LIST_LIMIT:
            raise self.damaged(f"{what} claims {count} objects", offset)
        numbers = self.unpack(f"<{3 * count}I", offset, what)
        found: dict[int, _Place] = {}
        for kind, place, size in zip(numbers[::3], numbers[1::3], numbers[2::3], strict=True):
            found.setdefault(kind, _Place(place, size))
        return found

    def find(self, objects: dict[int, _Place], kind: int, what: str) -> _Place:
        if kind not in objects:
            raise self.damaged(f"{what} is missing", 0)
        return objects[kind]

    def root(self) -> dict[int, _Place]:
        _pages, count = self.unpack("<2I", 38, "the file header")
        return self.objects(58, count, "the file header")

    def pages(self) -> list[_Page]:
        header = self.find(self.root(), _INDEX_HEADER, "the page index")
        pages, count = self.unpack("<2I", header.offset, "the page index")
        if pages > _PAGE_LIMIT:
            raise self.damaged(f"the page index claims {pages} pages", header.offset)
        objects = self.objects(header.offset + 16, count, "the page index")
        position = self.find(objects, _INDEX_ARRAY, "the list of pages").offset
        found = []
        headers: set[int] = set()
        for number in range(pages):
            what = f"entry {number + 1} of {pages} in the list of pages"
            kind, _source, count, _version = self.unpack("<4I", position + 16, what)
            found.append(_Page(number, kind, self.objects(position + 32, count, what)))
            start = found[-1].objects.get(_PAGE_HEADER, _Place(-number, 0)).offset
            if start in headers:  # each of them would hold all texts of the page
                raise self.damaged(f"{what} is an earlier page again", position)
            headers.add(start)
            position += 32 + 12 * count
        return found

    def strings(self, place: _Place, count: int) -> dict[str, str]:
        """Return the strings of a page: each is its length [UTF-16 units] and its characters."""
        found: dict[str, str] = {}
        position, end = place.offset, min(place.offset + place.size, len(self.content))
        for number in range(min(count, _LIST_LIMIT)):
            if position + 2 > end:
                break
            start = position + 2
            position = start + 2 * struct.unpack_from("<H", self.content, position)[0]
            name = _STRING_NAMES[number] if number < len(_STRING_NAMES) else f"string_{number}"
            found[name] = text(self.content[start : min(position, end)].decode("utf-16le", "replace"))
        self.texts += position - place.offset
        if self.texts > len(self.content):
            raise self.damaged("pages share their texts", place.offset)
        return found

    def parameters(self) -> str | None:
        """Return the instrument's parameters (PRM) that XPMPro files carry: text, usually deflated."""
        root = self.root()
        header, block = root.get(_PRM_HEADER, _Place(0, 0)), root.get(_PRM, _Place(0, 0))
        if not header.size or not block.size:
            return None
        packed, *_sizes = self.unpack("<3I", header.offset, "the header of the parameters")
        stored = self.content[block.offset : block.offset + min(block.size, _PRM_LIMIT)]
        try:
            content = zlib.decompressobj().decompress(stored, _PRM_LIMIT) if packed else stored
        except zlib.error:
            return None
        return text(content.decode("cp437"))


class _Image(NamedTuple):
    fields: dict[str, Any]  # header and strings
    pixels: Pixels
    unit: str | None
    problems: list[str]


def _image(file: _File, page: _Page) -> _Image:
    what = f"the header of page {page.number + 1}"
    header = file.find(page.objects, _PAGE_HEADER, what)
    fields: dict[str, Any] = dict(zip(_FIELDS, file.unpack(_HEADER, header.offset, what), strict=True))
    start = header.offset + struct.calcsize(_HEADER) + _RESERVED
    problems: list[str] = []
    with tolerate(problems, "the text of the page"):
        strings = file.objects(start, fields["object_count"], what)[_STRINGS]
        fields |= file.strings(strings, fields["string_count"])
    shape = (fields["y_size"], fields["x_size"])
    data = file.find(page.objects, _PAGE_DATA, f"the data of page {page.number + 1}")
    expected = 4 * math.prod(shape)
    if min(shape) < 1 or data.size != expected:
        reason = f"page {page.number + 1} of {shape[1]} x {shape[0]} pixels takes {expected} bytes"
        raise file.damaged(f"{reason}, its data has {data.size}", data.offset)
    if data.offset + data.size > len(file.content):
        reason = f"the data of page {page.number + 1} ends behind the end of the file"
        raise file.damaged(reason, len(file.content))
    unit = _unit(fields, "z_units", problems)
    block = Block(file.path, data.offset, shape, "<i4", _flips(fields, problems))
    factor, offset = fields["z_scale"], fields["z_offset"]
    if not (math.isfinite(factor) and factor and math.isfinite(offset)):
        problems.append(f"values are raw counts: the scale of the page is {factor}, its offset {offset}")
        return _Image(fields, block.pixels(), None, problems)
    return _Image(fields, ScaledBlock(block, factor, offset).pixels(), unit, problems)


def _flips(fields: dict[str, Any], problems: list[str]) -> tuple[int, ...]:
    x, y = fields["x_scale"], fields["y_scale"]
    if not (abs(x) > 0 and abs(y) > 0):  # zero or NaN
        problems.append("the scales have no sign: rows and columns stand as stored and may be mirrored")
    return (*((0,) if y > 0 else ()), *((1,) if x < 0 else ()))


def _unit(fields: dict[str, Any], key: str, problems: list[str]) -> str | None:
    written = fields.get(key, "")
    unit = units.known(_UNITS.get(written, written))
    if written and unit is None:
        problems.append(f"unknown unit {written!r} ({key})")
    return unit


def _scan(path: Path, image: _Image, parameters: str | None, index: int) -> Scan:
    fields = image.fields
    settings = apply(_KEYS, fields)
    problems = [*image.problems, *settings.problems, *_unfinished(fields)]
    label = fields.get("label") or fields.get("y_label") or f"page type {fields['page_type']}"
    direction = _DIRECTIONS.get(fields["scan_type"], "")
    written = f"{fields.get('date', '')} {fields.get('time', '')}".strip()
    axes = tuple(_axis(name, fields, problems) for name in ("y", "x"))
    return Scan(
        pixels=image.pixels,
        axes=axes,
        name=path.stem,
        source=Source(str(path), "rhk_sm4", Rhk.name, package_version(), index),
        channel=f"{label} {direction}".strip(),
        intensity_unit=image.unit,
        acquired=local_time(written, ("%m/%d/%y %H:%M:%S", "%m/%d/%y")),
        acquired_raw=written or None,
        settings=settings.values,
        original=plain(fields | ({"prm": parameters} if parameters else {})),
        problems=tuple(problems),
    )


def _unfinished(fields: dict[str, Any]) -> list[str]:
    done = fields.get("completed_line_count", "")
    if not done.isdecimal() or not 0 < int(done) < fields["y_size"]:
        return []
    return [f"the scan was stopped after {int(done)} of {fields['y_size']} lines"]


def _axis(name: str, fields: dict[str, Any], problems: list[str]) -> Axis:
    size, scale = fields[f"{name}_size"], abs(fields[f"{name}_scale"])
    unit = _unit(fields, f"{name}_units", problems)
    if unit is None or not (math.isfinite(scale) and scale > 0):
        written = fields.get(f"{name}_units", "")
        problems.append(f"step of {name} unknown: the page says {fields[f'{name}_scale']} {written!r}")
        return Axis(name, size)
    return Axis(name, size, scale, unit=unit)
