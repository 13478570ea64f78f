"""JPK Instruments images (.jpk, .jpk-qi-image): a TIFF with a thumbnail and one page per channel.

Layout after JPKImageSpec 2.0, as JPK's own module for Gwyddion and AFMReader read it. The first page carries
the scan (0x8003 start, 0x8040.. origin and size of the grid [m]), every further page one channel: 0x8050
name, 0x8051 retrace, 0x8081 the slot in which the user saw it. A slot (0x8090 + 48 n) has a name, a unit and
a linear scaling of the stored integers; the default slot's is applied, so values come in its unit. Rows stand
from the bottom up unless 0x8045 says "reflected", so they are flipped. Force curves (.jpk-force,
.jpk-force-map, .jpk-qi-data) are zip archives and are refused with their name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from micdb import units
from micdb.errors import DamagedFileError, NotAnImageError
from micdb.ingest.metadata import Key, Settings, apply, measure, plain, text
from micdb.ingest.reader import HEAD, Format, Reader
from micdb.ingest.readers.tiff_checks import check_page
from micdb.ingest.readers.tiff_layout import check_chain, first_tags
from micdb.provenance import package_version
from micdb.records import Axis, Pixels, Scan, Source

if TYPE_CHECKING:
    import numpy as np

_GRID_U, _GRID_V, _REFLECT, _GRID_I, _GRID_J = 0x8042, 0x8043, 0x8045, 0x8046, 0x8047
_CHANNEL, _RETRACE, _FANCY_NAME, _CHANNEL_INFO = 0x8050, 0x8051, 0x8052, 0x8053
_SLOT_COUNT, _DEFAULT_SLOT = 0x8080, 0x8081
_SLOT, _SLOT_STEP, _MAX_SLOTS = 0x8090, 0x30, 50
_UNIT, _SCALING, _FACTOR, _OFFSET = 0x12, 0x13, 0x14, 0x15  # of a slot, counted from its name

_MAX_PAGES = 1024  # channels, trace and retrace; some 20 in real files
_ZIP = b"PK\x03\x04"
_FORCE_ENTRIES = (b"header.properties", b"segments/", b"index/", b"shared-data/")


def _given(value: Any) -> str | None:
    written = text(value)
    return None if written == "<empty>" else written


# Tags of the first page, by their names in JPK's specification.
_NAMES = {
    0x8000: "ProgramVersion", 0x8001: "FileFormatVersion", 0x8003: "StartDate", 0x8004: "Name",
    0x8005: "Comment", 0x8006: "EndDate", 0x8007: "Sample", 0x8009: "AccountName",
    0x8010: "Cantilever-Comment", 0x8011: "Cantilever-SpringConstant", 0x8030: "Feedback-Mode",
    0x8033: "Feedback-Setpoint", 0x8040: "Grid-x0", 0x8041: "Grid-y0", 0x8042: "Grid-uLength",
    0x8043: "Grid-vLength", 0x8044: "Grid-Theta", 0x8045: "Grid-Reflect", 0x8046: "Grid-iLength",
    0x8047: "Grid-jLength", 0x8049: "Scanrate-Frequency", 0x8052: "ForceMap-Feedback-Mode",
    0x8064: "ForceSettings", 0x8065: "Environment", 0x8070: "Conversions",
}  # fmt: skip
_KEYS = (
    Key("Grid-x0", "offset_x", "m"),
    Key("Grid-y0", "offset_y", "m"),
    Key("AccountName", "operator", None, _given),
    Key("Sample", "sample", None, _given),
    Key("Comment", "comment", None, _given),
    Key("Name", "comment", None, _given),
    Key("metadata.INSTRUMENT_NAME", "instrument"),
    Key("data-description.instrument", "instrument"),
    Key("algorithm.object-name.fancy-name", "signal"),
)
_MOMENT = re.compile(r"(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d(?:\.\d{1,6})?)")  # a zone by its initials may follow


class Jpk(Reader):
    """Images of JPK scanning-probe microscopes, one scan per channel and direction."""

    name = "jpk"
    formats = (Format("jpk", "JPK Instruments image", (".jpk", ".jpk-qi-image"), tested=True),)

    @classmethod
    def sniff(cls, path: Path, head: bytes) -> int:
        """Say 3 for a TIFF whose first page has JPK's grid, and for JPK's force curves, to refuse them."""
        if head.startswith(_ZIP):
            return 3 if _force_curves(path, head) else 0
        return 3 if {_GRID_U, _GRID_V} <= first_tags(path, head) else 0

    def read(self, path: Path) -> list[Scan]:
        """Return one scan per channel and direction; see `Reader.read`."""
        import tifffile

        with path.open("rb") as stream:
            if stream.read(HEAD).startswith(_ZIP):
                raise NotAnImageError(
                    path, "this is a JPK archive of force curves, not an image; it holds header.properties "
                    "and the segments of curves", reader=self.name,
                )  # fmt: skip
        check_chain(path, self.name, limit=_MAX_PAGES)
        with tifffile.TiffFile(path) as file:
            grid = _values(file.pages.first)
            pages: list[Any] = [page for page in file.pages if _CHANNEL in cast("Any", page).tags]
            scans = [_scan(path, grid, page, index) for index, page in enumerate(pages)]
        if not scans:
            raise NotAnImageError(path, "the JPK file holds no channel", reader=self.name)
        return scans


def _force_curves(path: Path, head: bytes) -> bool:
    """Say whether a zip is a force file: by JPK's extension, else by its first entries."""
    if path.suffix.lower().startswith(".jpk"):
        return True
    first = head[30 : 30 + int.from_bytes(head[26:28], "little")]
    return first.startswith(_FORCE_ENTRIES) and b"header.properties" in head


def _values(page: Any) -> dict[int, Any]:
    return {tag.code: tag.value for tag in page.tags}


@dataclass(frozen=True, slots=True)
class _Plane:
    """The pixels of one channel and how to make physical values of them."""

    path: Path
    directory: int  # [byte]
    factor: float
    offset: float
    flip: bool

    def load(self) -> np.ndarray:
        import numpy as np
        import tifffile

        with tifffile.TiffFile(self.path) as file:
            file.filehandle.seek(self.directory)
            stored = tifffile.TiffPage(file, index=0).asarray(maxworkers=1)
        values = stored.astype(np.float64) * self.factor + self.offset
        return np.ascontiguousarray(np.flipud(values) if self.flip else values)


def _scan(path: Path, grid: dict[int, Any], page: Any, index: int) -> Scan:
    check_page(path, page, Jpk.name)
    if len(page.shape) != 2:
        raise DamagedFileError(
            path, f"a channel of shape {page.shape}, expected rows and columns", reader="jpk"
        )
    values = _values(page)
    info = _properties(values.get(_CHANNEL_INFO))
    original = {name: grid[code] for code, name in _NAMES.items() if code in grid}
    environment = {**_properties(grid.get(0x8064)), **_properties(grid.get(0x8065))}
    found = apply(_KEYS, {**environment, **info, **original})
    factor, offset, unit = _scaling(values, found)
    plane = _Plane(path, page.offset, factor, offset, not values.get(_REFLECT, grid.get(_REFLECT)))
    started = _MOMENT.match(text(original.get("StartDate", "")))
    name = text(values.get(_FANCY_NAME) or values[_CHANNEL])
    return Scan(
        pixels=Pixels(tuple(page.shape), "float64", plane.load),
        axes=_axes(grid, page.shape, found.problems),
        name=path.stem,
        source=Source(str(path), "jpk", Jpk.name, f"tifffile {package_version('tifffile')}", index),
        channel=f"{name} {'retrace' if values.get(_RETRACE) else 'trace'}",
        modality="AFM",
        intensity_unit=unit,
        acquired=f"{started[1]}T{started[2]}" if started else None,
        acquired_raw=text(original["StartDate"]) if "StartDate" in original else None,
        settings=found.values,
        original=plain({**original, "channel": _private(values)}),
        problems=tuple(found.problems),
    )


def _scaling(values: dict[int, Any], found: Settings) -> tuple[float, float, str | None]:
    """Return factor, offset and unit of the default slot; stored integers, and why, where there is none."""
    wanted, count = values.get(_DEFAULT_SLOT), values.get(_SLOT_COUNT)
    slots = range(min(count, _MAX_SLOTS)) if isinstance(count, int) else range(0)
    for base in (_SLOT + _SLOT_STEP * slot for slot in slots):
        if wanted is None or values.get(base) != wanted:
            continue
        kind = values.get(base + _SCALING)
        if kind == "NullScaling":
            return 1.0, 0.0, None
        if kind != "LinearScaling":
            break
        written = text(values.get(base + _UNIT) or "")
        unit = units.known(written)
        if written and unit is None:
            found.problems.append(f"unit of the values unknown: {written!r}")
        try:
            return measure(values[base + _FACTOR]).value, measure(values[base + _OFFSET]).value, unit
        except (KeyError, ValueError, TypeError):
            break
    found.problems.append(f"values are the stored integers: the scaling of slot {wanted!r} cannot be read")
    return 1.0, 0.0, None


def _axes(grid: dict[int, Any], shape: tuple[int, int], problems: list[str]) -> tuple[Axis, Axis]:
    stated = (grid.get(_GRID_J, shape[0]), grid.get(_GRID_I, shape[1]))
    lengths = (grid.get(_GRID_V), grid.get(_GRID_U))
    if stated != tuple(shape):
        problems.append(f"pixel size unknown: the grid has {stated} points, the channel {tuple(shape)}")
    elif all(isinstance(length, float) and 0 < abs(length) < 1 for length in lengths):
        steps = [abs(float(length or 0)) / size for length, size in zip(lengths, shape, strict=True)]
        return Axis("y", shape[0], steps[0], unit="m"), Axis("x", shape[1], steps[1], unit="m")
    else:
        problems.append(f"pixel size unknown: the grid is {lengths} m")
    return Axis("y", shape[0]), Axis("x", shape[1])


def _properties(written: Any) -> dict[str, str]:
    """Return the lines ``key : value`` of a tag."""
    pairs = (line.partition(" : ") for line in text(written or "").splitlines())
    return {key.strip(): value.strip() for key, mark, value in pairs if mark}


def _private(values: dict[int, Any]) -> dict[str, Any]:
    return {f"0x{code:04x}": value for code, value in values.items() if code >= 0x8000}
