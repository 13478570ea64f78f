"""Checks of what a TIFF directory claims, before a library allocates or fills anything for it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from micdb.errors import DamagedFileError
from micdb.ingest.bombs import is_bomb
from micdb.ingest.readers.tiff_inner import check_inner

_MAX_SAMPLES = 512  # samples per pixel; hyperspectral cameras stay below, damaged headers do not
_SHARED = 2  # a writer may give pages of nothing but zeros one and the same strip
_MAX_RATIO = 10_000  # pixel bytes per stored byte; deflate reaches 1032, LZW about 1400


def check_series(path: Path, series: Any) -> None:
    """Refuse what the library would fill up with zeros: missing pages, missing and cut strips."""
    size = path.stat().st_size
    if series.dataoffset is not None and series.dataoffset + series.nbytes > size:
        _cut(path, size, series.dataoffset, series.nbytes, "tiff")
    if series.dataoffset is not None:  # one piece: its first page stands for all
        check_page(path, series.keyframe, "tiff", size=size)
        return
    stored = 0
    for page in series.pages:
        if page is None:
            raise DamagedFileError(path, "planes of this series are in other files or missing", reader="tiff")
        check_page(path, page, "tiff", size=size)
        stored += sum(page.databytecounts)
    if stored > _SHARED * size:
        reason = (
            f"its {len(series.pages)} pages take {stored} bytes of a file of {size}: they share their pixels"
        )
        raise DamagedFileError(path, reason, reader="tiff")


def check_page(path: Path, page: Any, reader: str, *, size: int | None = None) -> None:
    """Refuse one page whose pixels are cut, missing, or more than its bytes can hold."""
    size = path.stat().st_size if size is None else size
    _check_sizes(path, page.keyframe, page.databytecounts, reader)
    for offset, count in zip(page.dataoffsets, page.databytecounts, strict=False):
        if offset + count > size:
            _cut(path, size, offset, count, reader)
        if not count:
            raise DamagedFileError(path, "strips or tiles of the image were never written", reader=reader)
    check_inner(path, page, reader)
    uncompressed = page.keyframe.compression == 1
    if uncompressed and sum(page.databytecounts) < math.ceil(page.keyframe.size * _bits(page) / 8):
        _cut(path, size, page.dataoffsets[0] if page.dataoffsets else 0, page.keyframe.nbytes, reader)


def _check_sizes(path: Path, page: Any, counts: tuple[int, ...], reader: str) -> None:
    sizes = f"{page.imagewidth} x {page.imagelength} x {page.samplesperpixel} samples"
    if not page.size or not counts or page.samplesperpixel > _MAX_SAMPLES:
        raise DamagedFileError(path, f"the header claims {sizes} in {len(counts)} strips", reader=reader)
    if page.compression != 1 and len(counts) < math.prod(page.chunked):
        reason = f"{math.prod(page.chunked)} strips or tiles make the image, the file has {len(counts)}"
        raise DamagedFileError(path, reason, reader=reader)
    if page.nbytes > _MAX_RATIO * sum(counts) or is_bomb(page.nbytes, sum(counts)):
        raise DamagedFileError(
            path, f"the header claims {sizes}, stored in {sum(counts)} bytes", reader=reader
        )


def _bits(page: Any) -> int:
    bits = page.keyframe.bitspersample
    return int(min(bits) if isinstance(bits, tuple) else bits)


def _cut(path: Path, size: int, offset: int, count: int, reader: str) -> None:
    reason = f"the pixels are cut off: {count} bytes from here are promised, the file has {size}"
    raise DamagedFileError(path, reason, reader=reader, offset=offset)
