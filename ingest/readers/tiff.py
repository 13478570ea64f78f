"""TIFF and BigTIFF by tifffile: microscope vendors' tags, ImageJ, OME, plain.

Values stay as stored: no orientation tag, no min-max range and no grey look-up table is applied.
Only a palette with colours becomes RGB, because there the indices are no measurement.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from micdb.errors import DamagedFileError, NotAnImageError, UnknownFormatError
from micdb.ingest.metadata import plain, tolerate
from micdb.ingest.reader import Reader
from micdb.ingest.readers import tiff_sem, tiff_tem
from micdb.ingest.readers.tiff_header import Header
from micdb.ingest.readers.tiff_open import imagej_header, ome_header
from micdb.provenance import package_version
from micdb.records import Axis, Pixels, Scan, Source

if TYPE_CHECKING:
    import numpy as np

_SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_LEADING = {"Z": "z", "T": "time"}  # tifffile's letters; every other leading axis is a "frame"
_ORIENTATION = 274
_MAX_SAMPLES = 512  # samples per pixel; hyperspectral cameras stay below, damaged headers do not
_MAX_RATIO = 10_000  # pixel bytes per stored byte; deflate reaches 1032, LZW about 1400
# Scanning-probe files in TIFF's clothes: their pages hold unscaled numbers or a screenshot.
_PROBE_TAGS = {32832: "JPK", 50432: "Park Systems"}
_TEXT_TAGS = (270, 271, 272, 305, 306, 315, 316)  # description, maker, model, software, date, artist, host


# Tag -> the function that reads it; the first tag a page carries decides.
_VENDORS: tuple[tuple[int, Callable[[Path, Any, Header], None]], ...] = (
    (34682, tiff_sem.fei), (34680, tiff_sem.fei), (34118, tiff_sem.zeiss), (50431, tiff_sem.tescan),
    (65009, tiff_tem.digital_micrograph), (33560, tiff_tem.olympus), (37706, tiff_tem.tvips),
)  # fmt: skip


class Tiff(Reader):
    """TIFF family: one scan per series and channel; pages of equal shape are one stack."""

    name = "tiff"
    extensions = (".tif", ".tiff", ".btf")

    @classmethod
    def sniff(cls, path: Path, head: bytes) -> int:  # noqa: ARG003
        """Say 2 for TIFF's byte-order mark and version."""
        return 2 if head[:4] in _SIGNATURES else 0

    def read(self, path: Path) -> list[Scan]:
        """Return one scan per series and channel; see `Reader.read`."""
        import tifffile

        with tifffile.TiffFile(path) as file:
            _refuse_probe_files(path, file)
            scans: list[Scan] = []
            for number, series in enumerate(file.series):
                if series.keyframe.is_reduced and len(file.series) > 1:
                    continue  # a thumbnail by its own declaration
                _check_segments(path, series)
                scans.extend(_scans(path, file, number, first=len(scans)))
        if not scans:
            raise NotAnImageError(path, "the TIFF holds no image page", reader=self.name)
        return scans


class _Plan(NamedTuple):
    """How the array of a series becomes the array of one scan."""

    series: int
    order: tuple[int, ...]  # transposition: leading axes, [channel], y, x, [colour]
    channel: int | None  # index along the first axis after transposition
    palette: bool


def _refuse_probe_files(path: Path, file: Any) -> None:
    for tag, maker in _PROBE_TAGS.items():
        if tag in file.pages.first.tags:
            reason = f"a {maker} scanning-probe file inside a TIFF, whose scaling no reader knows"
            raise UnknownFormatError(path, f"{reason}; export it as .gwy", reader="tiff")


def _check_segments(path: Path, series: Any) -> None:
    """Refuse what the library would fill up with zeros: missing pages, missing and cut strips."""
    size = path.stat().st_size
    if series.dataoffset is not None and series.dataoffset + series.nbytes > size:
        _cut(path, size, series.dataoffset, series.nbytes)
    for page in series.pages:
        if page is None:
            raise DamagedFileError(path, "planes of this series are in other files or missing", reader="tiff")
        _check_sizes(path, page.keyframe, page.databytecounts)
        for offset, count in zip(page.dataoffsets, page.databytecounts, strict=False):
            if offset + count > size:
                _cut(path, size, offset, count)
            if not count:
                raise DamagedFileError(path, "strips or tiles of the image were never written", reader="tiff")
        uncompressed = page.keyframe.compression == 1
        if uncompressed and sum(page.databytecounts) < math.ceil(page.keyframe.size * _bits(page) / 8):
            _cut(path, size, page.dataoffsets[0] if page.dataoffsets else 0, page.keyframe.nbytes)


def _check_sizes(path: Path, page: Any, counts: tuple[int, ...]) -> None:
    """Refuse sizes that only a damaged header claims, before anything of that size is made."""
    sizes = f"{page.imagewidth} x {page.imagelength} x {page.samplesperpixel} samples"
    if not page.size or not counts or page.samplesperpixel > _MAX_SAMPLES:
        raise DamagedFileError(path, f"the header claims {sizes} in {len(counts)} strips", reader="tiff")
    if page.compression != 1 and len(counts) < math.prod(page.chunked):
        reason = f"{math.prod(page.chunked)} strips or tiles make the image, the file has {len(counts)}"
        raise DamagedFileError(path, reason, reader="tiff")
    if page.nbytes > _MAX_RATIO * sum(counts):
        raise DamagedFileError(
            path, f"the header claims {sizes}, stored in {sum(counts)} bytes", reader="tiff"
        )


def _bits(page: Any) -> int:
    bits = page.keyframe.bitspersample
    return int(min(bits) if isinstance(bits, tuple) else bits)


def _cut(path: Path, size: int, offset: int, count: int) -> None:
    reason = f"the pixels are cut off: {count} bytes from here are promised, the file has {size}"
    raise DamagedFileError(path, reason, reader="tiff", offset=offset)


def _scans(path: Path, file: Any, number: int, *, first: int) -> list[Scan]:
    series = file.series[number]
    header = _header(path, file, number)
    page = series.keyframe
    palette = _coloured_palette(page) and header.format != "tif_imagej"
    letters = series.axes
    colour = "S" in letters and series.shape[letters.index("S")] in (3, 4)
    channel = "C" if "C" in letters else ("S" if "S" in letters and not colour else "")
    leading = [letter for letter in letters if letter not in ("Y", "X", "S", channel)]
    wanted = [*channel, *leading, "Y", "X", *("S" if colour else "")]
    order = tuple(letters.index(letter) for letter in wanted)
    axes = [_axis(name, series.shape[letters.index(letter)], header) for name, letter in _named(leading)]
    axes += [_axis("y", series.shape[letters.index("Y")], header)]
    axes += [_axis("x", series.shape[letters.index("X")], header)]
    if colour or palette:
        axes.append(Axis("colour", series.shape[letters.index("S")] if colour else 3))
    dtype = "uint8" if palette or series.dtype.kind == "b" else series.dtype.newbyteorder("=").name
    channels: list[int | None] = list(range(series.shape[letters.index(channel)])) if channel else [None]
    plans = [_Plan(number, order, index, palette) for index in channels]
    return [
        _scan(path, page, header, plan, axes=tuple(axes), dtype=dtype, index=first + place)
        for place, plan in enumerate(plans)
    ]


def _scan(
    path: Path, page: Any, header: Header, plan: _Plan, *, axes: tuple[Axis, ...], dtype: str, index: int
) -> Scan:
    position = plan.channel or 0
    named = header.channels[position] if position < len(header.channels) else None
    detector = header.settings.get("detector")
    return Scan(
        pixels=Pixels(tuple(axis.size for axis in axes), dtype, partial(_load, path, plan)),
        axes=axes,
        name=path.stem,
        source=Source(str(path), header.format, "tiff", _version(), index=index, parts=header.parts),
        channel=named if plan.channel is not None else (str(detector.value) if detector else None),
        modality=header.modality,
        acquired=header.acquired,
        acquired_raw=header.acquired_raw,
        settings=header.settings,
        original=plain({**header.original, "tags": _tags(page)}),
        problems=tuple(header.problems),
    )


def _header(path: Path, file: Any, number: int) -> Header:
    page = file.series[number].keyframe
    if file.is_ome and file.ome_metadata:
        header = ome_header(file.ome_metadata, number)
    elif file.is_imagej:
        header = imagej_header(page, file.imagej_metadata or {})
    else:
        header = _vendor_header(path, page)
    orientation = page.tags[_ORIENTATION].value if _ORIENTATION in page.tags else 1
    if orientation != 1:
        header.problems.append(
            f"the orientation tag asks for display {int(orientation)}; pixels are as stored"
        )
    return header


def _vendor_header(path: Path, page: Any) -> Header:
    """Return the header of one page by the first vendor whose tag it carries."""
    header = Header()
    for tag, parse in _VENDORS:
        if tag in page.tags:
            with tolerate(header.problems, f"the metadata in tag {tag}"):
                parse(path, page, header)
            return header
    tiff_sem.tescan_sidecar(path, header)
    return header


def _axis(name: str, size: int, header: Header) -> Axis:
    found = header.steps.get(name)
    if found is None:
        return Axis(name, size)
    return Axis(name, size, found.step, found.offset, found.unit, found.origin)


def _named(leading: list[str]) -> list[tuple[str, str]]:
    """Return a name for every leading axis: z, time, frame, frame_1, ..."""
    named: list[tuple[str, str]] = []
    frames = 0
    for letter in leading:
        name = _LEADING.get(letter) or ("frame" if not frames else f"frame_{frames}")
        frames += letter not in _LEADING
        named.append((name, letter))
    return named


def _tags(page: Any) -> dict[str, Any]:
    return {page.tags[code].name: page.tags[code].value for code in _TEXT_TAGS if code in page.tags}


def _coloured_palette(page: Any) -> bool:
    table = page.colormap
    if table is None or page.photometric.name != "PALETTE":
        return False
    return bool((table[0] != table[1]).any() or (table[1] != table[2]).any())


def _load(path: Path, plan: _Plan) -> np.ndarray:
    import numpy as np
    import tifffile

    with tifffile.TiffFile(path) as file:
        series = file.series[plan.series]
        array = series.asarray().reshape(series.shape)
        table = series.keyframe.colormap if plan.palette else None
    array = np.transpose(array, plan.order)
    if plan.channel is not None:
        array = array[plan.channel]
    if table is not None:
        array = np.moveaxis(table[:, array] >> 8, 0, -1).astype("uint8")  # TIFF palettes have 16 bits
    dtype = np.dtype("uint8") if array.dtype.kind == "b" else array.dtype.newbyteorder("=")
    return np.ascontiguousarray(array, dtype=dtype)


def _version() -> str:
    return f"tifffile {package_version('tifffile')}"
