r"""Bruker, Veeco and Digital Instruments NanoScope images (.spm, .000 to .999).

Layout as the readers Gwyddion (nanoscope) and pySPM have it, and the file-format chapter of the NanoScope
user's guide: a text header of lists, ``\*File list`` to ``\*File list end`` and Ctrl-Z, then per
``\*Ciao image list`` one block of little-endian integers of ``Bytes/pixel`` bytes. From version 9.2 on they
have 32 bits, and ``Bytes/pixel`` says only of which range the Z scale is the whole; which of the two holds is
what ``Data length`` leaves for a pixel. The Z offset is not added, as in both readers.

The bottom row is stored first, whatever ``Frame direction`` says: rows are flipped, so that row 0 is the
top. Trace and retrace are stored as seen, left to right.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any, NamedTuple

from micdb.errors import DamagedFileError, NotAnImageError
from micdb.ingest.block import Block
from micdb.ingest.metadata import Key, apply, local_time, plain
from micdb.ingest.reader import Format, Reader
from micdb.ingest.readers.nanoscope_header import (
    IMAGE_LISTS,
    SCAN_LISTS,
    SCANNER_LISTS,
    Section,
    Size,
    Steps,
    Value,
    scale,
    sections,
    sensed,
    steps,
)
from micdb.ingest.readers.scaled_block import ScaledBlock
from micdb.provenance import package_version
from micdb.records import Axis, Modality, Pixels, Scan, Source

_SIGNATURE = re.compile(rb"\A\\\*(?:EC )?File list\r?\n")
_FORCE = re.compile(rb"\A\\\*Force file list\r?\n")
_AS_TEXT = re.compile(rb"\A\?\*(?:EC |Force )?[Ff]ile list\r?\n")
_HEADER_END = re.compile(rb"\\\*(?:EC )?File list end")
_HEADER_LIMIT = 1 << 20  # [byte] headers are 10 to 80 kB

_IMAGE_LIMIT = 64  # real files have 1 to 16
_LONG_INTEGERS = 0x09200000  # from this version on the integers have 32 bits whatever Bytes/pixel says

# What the start context or operating mode of files without images says -> what they hold
_CONTEXTS = {"FVOL": "a force volume", "FOL": "force curves"}
_MODES = {"force volume": "a force volume", "force": "force curves"}

_TIMES = ("%I:%M:%S %p %a %b %d %Y",)  # 12:34:38 PM Tue Jul 30 2019

# Keys in lower case: the versions differ in that.
_KEYS = (
    Key("microscope", "instrument"),
    Key("description", "instrument"),
    Key("rotate ang.", "scan_angle", "deg"),
    Key("x offset", "offset_x"),
    Key("y offset", "offset_y"),
    Key("tip velocity", "scan_speed"),
    Key("@2:bias", "bias"),
    Key("@2:stmsetcurrent", "setpoint_current"),
    Key("note", "comment"),
    Key("text", "comment"),
)


class Nanoscope(Reader):
    """Image files of NanoScope controllers; force curves and force volumes are refused with their name."""

    name = "nanoscope"
    formats = (
        Format("nanoscope", "Bruker/Veeco/DI NanoScope image", (".spm", ".000", ".001", ".002"), tested=True),
    )

    @classmethod
    def sniff(cls, path: Path, head: bytes) -> int:  # noqa: ARG003 (the head is enough)
        """Say 3 for the header's first line, and 2 for force files and text exports, to refuse them."""
        if _SIGNATURE.match(head):
            return 3
        return 2 if _FORCE.match(head) or _AS_TEXT.match(head) else 0

    def read(self, path: Path) -> list[Scan]:
        """Return one scan per image list; see `Reader.read`."""
        header = _Header.read(path)
        images = [section for section in header.sections if section.name.lower() in IMAGE_LISTS]
        if not images:
            raise NotAnImageError(path, "the header lists no image", reader=self.name)
        if len(images) > _IMAGE_LIMIT:
            raise DamagedFileError(path, f"the header lists {len(images)} images", reader=self.name)
        frame = header.first(SCAN_LISTS)
        blocks = [_block(path, header, image, frame) for image in images]
        if header.line_ends_changed:
            reason = "a text transfer changed the line ends, and with them the numbers; get the file again"
            raise DamagedFileError(path, reason, reader=self.name)
        return [
            _scan(path, header, image, block, index)
            for index, (image, block) in enumerate(zip(images, blocks, strict=True))
        ]


class _Header(NamedTuple):
    sections: list[Section]
    end: int  # [byte]
    line_ends_changed: bool

    @classmethod
    def read(cls, path: Path) -> _Header:
        with path.open("rb") as stream:
            start = stream.read(_HEADER_LIMIT)
        if _FORCE.match(start):
            raise NotAnImageError(path, "a NanoScope file of force curves", reader=Nanoscope.name)
        if _AS_TEXT.match(start):
            reason = "a NanoScope export with its numbers as text; give the file the microscope wrote"
            raise NotAnImageError(path, reason, reader=Nanoscope.name)
        end = _HEADER_END.search(start)
        if end is None:
            reason = r"the header has no \*File list end; it was cut short"
            raise DamagedFileError(path, reason, reader=Nanoscope.name, offset=len(start))
        header = cls(sections(start[: end.start()].decode("latin-1")), end.end(), b"\r\n" not in start[:32])
        header.refuse_curves(path)
        return header

    def refuse_curves(self, path: Path) -> None:
        context = self.sections[0].get("Start context")
        frame = self.first(SCAN_LISTS)
        mode = frame.get("Operating mode").lower() if frame else ""
        what = _CONTEXTS.get(context) or _MODES.get(mode)
        if context.endswith("VAR"):
            what = "profiles of uneven length (Deep Trench mode)"
        if what:
            raise NotAnImageError(path, f"a NanoScope file of {what}", reader=Nanoscope.name)

    def widths(self, image: Section) -> tuple[int, ...]:
        """Return how many bytes an integer of the image may have."""
        version = re.fullmatch(r"0x[0-9a-fA-F]{1,8}", self.sections[0].get("Version"))
        stated = image.count("Bytes/pixel") or 2
        newer = version is not None and int(version[0], 16) >= _LONG_INTEGERS
        return (stated,) if stated in (2, 4) and not newer else (2, 4)

    def first(self, names: frozenset[str]) -> Section | None:
        return next((section for section in self.sections if section.name.lower() in names), None)

    def sensitivities(self) -> list[Section]:
        """Return the lists in which a sensitivity may stand, the scanner's own first."""
        known = [section for section in self.sections if section.name.lower() in SCANNER_LISTS]
        rest = [s for s in self.sections if s.name.lower() not in SCANNER_LISTS | IMAGE_LISTS]
        return known + rest


class _Numbers(NamedTuple):
    block: Block
    own_size: bool  # whether the image's own list gives it, not the scan's


def _block(path: Path, header: _Header, image: Section, frame: Section | None) -> _Numbers:
    """Return the integers of an image; some files have its size right only in the scan's list."""
    offset, length = image.count("Data offset"), image.count("Data length")
    name = channel(image)
    if offset < header.end or not length:
        reason = f"{name} has its {length} bytes at {offset}, inside the header"
        raise DamagedFileError(path, reason, reader=Nanoscope.name)
    if offset + length > path.stat().st_size:
        reason = f"the numbers of {name} are missing: bytes {offset} to {offset + length}"
        raise DamagedFileError(
            path, f"{reason}; the file has {path.stat().st_size}", reader=Nanoscope.name,
            offset=path.stat().st_size,
        )  # fmt: skip
    pairs = re.findall(r"\d{1,10}", image.get("Samps/line"))
    lines = image.count("Number of lines") or (int(pairs[1]) if len(pairs) > 1 else 0)
    own = (lines, image.count("Samps/line"))
    shapes = [own, (frame.count("Lines"), frame.count("Samps/line"))] if frame else [own]
    widths = header.widths(image)
    for shape in filter(all, shapes):
        for width in widths:
            if width * math.prod(shape) == length:
                return _Numbers(Block(path, offset, shape, f"<i{width}", flip=(0,)), shape == own)
    said = " or ".join(map(str, widths))
    reason = f"{name} has {length} bytes for {own[1]} x {own[0]} pixels of {said} bytes"
    raise DamagedFileError(path, reason, reader=Nanoscope.name, offset=offset)


def channel(image: Section) -> str:
    """Return the name of an image: what was measured, in which line, in which direction."""
    names = [image.selected(f"@{group}:Image Data") for group in (2, 3, 4)]
    found = next((quoted or bracket for bracket, quoted in names if quoted or bracket), "")
    line = image.get("Scan line")
    parts = (
        found or image.get("Image data") or "image",
        "" if line == "Main" else line,
        image.get("Line direction"),
    )
    return " ".join(part for part in parts if part)


def _scan(path: Path, header: _Header, image: Section, numbers: _Numbers, index: int) -> Scan:
    modality = _modality(image)
    settings = apply(_KEYS, _flat(header, image, modality))
    problems = [*settings.problems, *_unfinished(image, numbers.block.shape[0])]
    worth = scale(image, header.sensitivities(), image.count("Bytes/pixel") or 2)
    pixels: Pixels = numbers.block.pixels()
    if worth.factor is not None:
        pixels = ScaledBlock(numbers.block, worth.factor).pixels()
    if worth.problem:
        problems.append(worth.problem)
    written = header.sections[0].get("Date")
    return Scan(
        pixels=pixels,
        axes=_axes(header, image, numbers, problems),
        name=path.stem,
        source=Source(str(path), "nanoscope", Nanoscope.name, package_version(), index),
        channel=channel(image),
        modality=modality,
        intensity_unit=worth.unit,
        acquired=local_time(written, _TIMES),
        acquired_raw=written or None,
        settings=settings.values,
        original=_original(header, image),
        problems=tuple(problems),
    )


def _modality(image: Section) -> Modality | None:
    kinds: dict[str, Modality] = {"AFM": "AFM", "STM": "STM", "NCAFM": "AFM"}
    return kinds.get(image.get("Data type").upper()) or kinds.get(
        image.name.upper().split(" ", maxsplit=1)[0]
    )


def _flat(header: _Header, image: Section, modality: Modality | None) -> dict[str, str]:
    """Return the fields that `_KEYS` reads, in lower case; of equal keys the image's own counts."""
    frame = header.first(SCAN_LISTS)
    equipment = header.first(frozenset({"equipment list"}))
    flat: dict[str, str] = {}
    for section in (header.sections[0], equipment, frame, image):
        flat |= {key.lower(): value for key, value in section.fields.items()} if section else {}
    # The speed has no unit; it is um/s where it is the way there and back in the time of a line.
    size, rate, speed = (
        Size.parse(frame.get("Scan size") if frame else ""),
        *(_number(flat.pop(key, "")) for key in ("scan rate", "tip velocity")),
    )
    if size and rate and speed and math.isclose(speed, 2 * rate * size.x_in_um(), rel_tol=1e-3):
        flat["tip velocity"] = f"{speed} um/s"
    bias, current = (Value.parse(flat.pop(key, "")) for key in ("@2:bias", "@2:stmsetcurrent"))
    if modality == "STM" and bias:
        flat["@2:bias"] = f"{bias.number} {bias.unit}"
    if modality == "STM" and current:
        worth = sensed(current, header.sensitivities(), 1)
        if worth.factor is not None and worth.unit:
            flat["@2:stmsetcurrent"] = f"{worth.factor} {worth.unit}"
    return flat


def _number(written: str) -> float:
    try:
        return float(written)
    except ValueError:
        return 0.0


def _unfinished(image: Section, lines: int) -> list[str]:
    done = image.count("Valid data len Y")
    return [f"only {done} of {lines} lines hold data of the scan"] if 0 < done < lines else []


def _axes(header: _Header, image: Section, numbers: _Numbers, problems: list[str]) -> tuple[Axis, Axis]:
    ny, nx = numbers.block.shape
    found = steps(image, header.first(SCAN_LISTS), (ny, nx)) if numbers.own_size else Steps(None, None, None)
    if found.y is None:
        said = f"scan size {image.get('Scan size')!r}, aspect ratio {image.get('Aspect ratio')!r}"
        problems.append(f"step of y unknown: {said} and {ny} lines do not go together")
    if found.x is None:
        problems.append(f"step of x unknown: scan size is {image.get('Scan size')!r}")
    y, x = (Axis(name, size, step, unit=found.unit) if step else Axis(name, size)
            for name, size, step in (("y", ny, found.y), ("x", nx, found.x)))  # fmt: skip
    return y, x


def _original(header: _Header, image: Section) -> dict[str, Any]:
    kept = [s for s in header.sections if s is image or s.name.lower() not in IMAGE_LISTS]
    tree: dict[str, Any] = plain({section.name: section.fields for section in kept})
    return tree
