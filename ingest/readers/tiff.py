"""TIFF and BigTIFF by tifffile: microscope vendors' tags, ImageJ, OME, plain.

Values stay as stored: no orientation tag, no min-max range and no grey look-up table is applied.
Only a palette with colours becomes RGB, because there the indices are no measurement. A plain TIFF, or one
whose tags give nothing, is completed by the sidecar that some SEM programs write (`sem_sidecars`).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from micdb.errors import DamagedFileError, NotAnImageError
from micdb.ingest.metadata import plain, text, tolerate
from micdb.ingest.reader import Format, Reader
from micdb.ingest.readers import tiff_fei, tiff_openfibsem, tiff_park, tiff_tem, tiff_tescan, tiff_zeiss
from micdb.ingest.readers.sem_sidecars import sidecar
from micdb.ingest.readers.tiff_checks import check_series
from micdb.ingest.readers.tiff_header import Header
from micdb.ingest.readers.tiff_layout import SIGNATURES, check_chain
from micdb.ingest.readers.tiff_ome import ome_header, other_files
from micdb.ingest.readers.tiff_open import imagej_header
from micdb.ingest.readers.tiff_pixels import Frames, series_layout
from micdb.ingest.xml_tree import declares_entities
from micdb.provenance import package_version
from micdb.records import Axis, Quantity, Scan, Source

_LEADING = {"Z": "z", "T": "time"}  # tifffile's letters; every other leading axis is a "frame"
_MAX_COMPARED = 4000  # pages; the time grows as their square
_MAX_KINDS = 1000  # of pages; here, too
_ORIENTATION = 274
_DESCRIPTION, _MAKE, _MODEL = 270, 271, 272
_TEXT_TAGS = (_DESCRIPTION, _MAKE, _MODEL, 305, 306, 315, 316)  # and software, date, artist, host

# Tag -> the function that reads it; the first that finds something decides.
_VENDORS: tuple[tuple[int, Callable[[Path, Any, Header], None]], ...] = (
    (34682, tiff_fei.fei), (34680, tiff_fei.fei), (34118, tiff_zeiss.zeiss), (50431, tiff_tescan.tescan),
    (34683, tiff_fei.phenom), (tiff_tem.DM_SCALE, tiff_tem.digital_micrograph), (33560, tiff_tem.olympus),
    (37706, tiff_tem.tvips),
)  # fmt: skip


class Tiff(Reader):
    """TIFF family: one scan per series and channel; pages of equal shape are one stack."""

    name = "tiff"
    formats = (
        Format("tif", "TIFF and BigTIFF", (".tif", ".tiff", ".btf"), tested=True),
        Format("tif_fei", "FEI and Thermo Fisher SEM TIFF", (".tif",), tested=True),
        Format("tif_phenom", "Thermo Fisher Phenom SEM TIFF", (".tif", ".tiff")),
        Format("tif_zeiss", "Zeiss and LEO SEM TIFF", (".tif",), tested=True),
        Format("tif_tescan", "TESCAN SEM TIFF", (".tif",), tested=True),
        Format("tif_jeol", "JEOL SEM TIFF with its .txt", (".tif",)),
        Format("tif_hitachi", "Hitachi SEM TIFF with its .txt", (".tif",)),
        Format("tif_dm", "TIFF exported by DigitalMicrograph", (".tif",), tested=True),
        Format("tif_sis", "Olympus SIS TIFF", (".tif",), tested=True),
        Format("tif_tvips", "TVIPS EM-MENU TIFF", (".tif",), tested=True),
        Format("tif_sightx", "JEOL SightX TIFF", (".tif",)),
        Format("tif_openfibsem", "OpenFIBSEM TIFF", (".tif",)),
        Format("tif_park", "Park Systems scanning-probe TIFF", (".tiff",)),
        Format("tif_imagej", "ImageJ TIFF", (".tif",), tested=True),
        Format("tif_ome", "OME-TIFF", (".ome.tif", ".ome.tiff"), tested=True),
    )

    @classmethod
    def sniff(cls, path: Path, head: bytes) -> int:  # noqa: ARG003
        """Say 2 for TIFF's byte-order mark and version."""
        return 2 if head[:4] in SIGNATURES else 0

    def read(self, path: Path) -> list[Scan]:
        """Return one scan per series and channel; see `Reader.read`."""
        import tifffile

        kinds = check_chain(path, self.name)
        with tifffile.TiffFile(path, _multifile=False) as file:
            if kinds > 1:
                file.is_uniform = False  # tifffile looks at four pages only
            if declares_entities(file.pages.first.description):  # tifffile would parse it
                for kind in ("ome", "scn", "qpi", "philips"):
                    setattr(file, f"is_{kind}", False)
            _bound(path, file, kinds)
            if tiff_park.MAGIC_TAG in file.pages.first.tags:
                return [tiff_park.scan(path, file.pages.first)]
            scans: list[Scan] = []
            for number, series in enumerate(file.series):
                if series.keyframe.is_reduced and len(file.series) > 1:
                    continue  # a thumbnail by its own declaration
                check_series(path, series)
                scans.extend(_scans(path, file, number, first=len(scans)))
        if not scans:
            raise NotAnImageError(path, "the TIFF holds no image page", reader=self.name)
        return scans


def _bound(path: Path, file: Any, kinds: int) -> None:
    """Keep tifffile from comparing every page with every other: 33 000 pages took it three minutes.

    And every kind of page with every other, as the levels of a pyramid: 3000 kinds took it 15 seconds.
    """
    compare = file._series_generic

    def bounded() -> Any:
        if len(file.pages) > _MAX_COMPARED or kinds > _MAX_KINDS:
            raise DamagedFileError(
                path,
                f"its {len(file.pages)} directories differ ({kinds} kinds), and so many are not sorted into "
                "stacks; save them as stacks of equal pages",
                reader=Tiff.name,
            )
        return compare()

    file._series_generic = bounded


def _scans(path: Path, file: Any, number: int, *, first: int) -> list[Scan]:
    series = file.series[number]
    header = _header(path, file, number)
    letters: str = series.axes
    sizes = dict(zip(letters, series.shape, strict=True))
    palette = series.keyframe.colormap if _coloured_palette(series.keyframe, header) else None
    colour = sizes.get("S") in (3, 4)
    channel = "C" if "C" in letters else ("S" if "S" in letters and not colour else "")
    leading = [letter for letter in letters if letter not in ("Y", "X", "S", channel)]
    axes = [_axis(name, sizes[letter], header) for name, letter in _named(leading)]
    axes += [_axis("y", sizes["Y"], header), _axis("x", sizes["X"], header)]
    if colour or palette is not None:
        axes.append(Axis("colour", sizes["S"] if colour else 3))
    wanted = [*channel, *leading, "Y", "X", *("S" if colour else "")]
    bits = palette is not None or series.dtype.kind == "b"
    common = {
        "path": path,
        "series": number,
        "shape": tuple(axis.size for axis in axes),
        "dtype": "uint8" if bits else series.dtype.newbyteorder("=").name,
        "colour": colour or palette is not None,
        "channel_axis": letters.index(channel) if channel else None,
        "order": tuple(letters.index(letter) for letter in wanted),
        "palette": palette,
        **series_layout(series),
    }
    channels: list[int | None] = list(range(sizes[channel])) if channel else [None]
    return [
        _scan(series.keyframe, header, Frames(**common, channel=index), tuple(axes), first + place)
        for place, index in enumerate(channels)
    ]


def _scan(page: Any, header: Header, frames: Frames, axes: tuple[Axis, ...], index: int) -> Scan:
    position = frames.channel or 0
    named = header.channels[position] if position < len(header.channels) else None
    detector = header.settings.get("detector")
    path = frames.path
    return Scan(
        pixels=frames.pixels(),
        axes=axes,
        name=path.stem,
        source=Source(str(path), header.format or "tif", "tiff", _version(), index=index, parts=header.parts),
        channel=named if frames.channel is not None else (str(detector.value) if detector else None),
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
        header = _ome(path, file, number)
    elif file.is_imagej and tiff_tem.DM_SCALE not in page.tags:  # HyperSpy writes both: ImageJ's has one unit
        header = imagej_header(page, file.imagej_metadata or {})
    else:
        header = _vendor_header(path, page)
    orientation = page.tags[_ORIENTATION].value if _ORIENTATION in page.tags else 1
    if orientation != 1:
        header.problems.append(
            f"the orientation tag asks for display {int(orientation)}; pixels are as stored"
        )
    return header


def _ome(path: Path, file: Any, number: int) -> Header:
    header = ome_header(file.ome_metadata, number, len(file.series))
    elsewhere = other_files(file.ome_metadata, path.name)
    if elsewhere and file.series[number].kind != "ome":
        header.problems.append(
            f"only the planes in this file are read: the OME image goes on in {len(elsewhere)} other files, "
            f"{elsewhere[0]!r} for one"
        )
    return header


def _vendor_header(path: Path, page: Any) -> Header:
    """Return the header of one page by the first vendor whose tag gives something, else by its sidecar."""
    header = Header()
    for tag, parse in _VENDORS:
        if tag in page.tags and not header.format:
            with tolerate(header.problems, f"the metadata in tag {tag}"):
                parse(path, page, header)
    make = text(page.tags[_MAKE].value) if _MAKE in page.tags else ""
    if not header.format and make.startswith("JEOL") and _DESCRIPTION in page.tags:
        with tolerate(header.problems, "the SightX report"):
            tiff_tem.sightx(path, page, header)
    if not header.format and page.description.startswith("{"):
        with tolerate(header.problems, "the JSON of the description"):
            tiff_openfibsem.openfibsem(path, page, header)
    if not header.format:
        beside = sidecar(path, (page.imagewidth, page.imagelength))
        beside.problems[:0] = header.problems
        beside.original = {**header.original, **beside.original}
        header = beside
    known_model = bool(header.format)  # the vendor's own text says better what the model is
    for tag, setting in ((_MAKE, "vendor"), *(() if known_model else ((_MODEL, "instrument"),))):
        value = text(page.tags[tag].value) if tag in page.tags else ""
        if value and setting not in header.settings:
            header.settings[setting] = Quantity(value, None, "file", f"{page.tags[tag].name} = {value}")
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


def _coloured_palette(page: Any, header: Header) -> bool:
    table = page.colormap
    if table is None or page.photometric.name != "PALETTE" or header.format == "tif_imagej":
        return False  # ImageJ's tables are for display only
    return bool((table[0] != table[1]).any() or (table[1] != table[2]).any())


def _version() -> str:
    return f"tifffile {package_version('tifffile')}"
