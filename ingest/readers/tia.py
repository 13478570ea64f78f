"""Images of FEI's TIA (Tecnai and Titan microscopes): an .emi with the settings, .ser files with the pixels.

``NAME.emi`` describes ``NAME_1.ser``, ``NAME_2.ser``, ...; both layouts are told in `tia_emi` and `tia_ser`.
A series becomes a stack (see `tia_axes`), its rows turned to run from the top down.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from micdb.errors import NotAnImageError
from micdb.ingest.metadata import Key, Settings, apply, flatten, local_time, plain, positive, text, utc_time
from micdb.ingest.reader import Format, Reader
from micdb.ingest.readers import tia_axes, tia_emi, tia_ser
from micdb.ingest.readers.tia_axes import unit_of
from micdb.ingest.readers.tia_ser import Scale, Series
from micdb.provenance import package_version
from micdb.records import Modality, Pixels, Scan, Source

_SHOWN_TAGS = 4096


def _times(value: object) -> str:
    """Take the x off a magnification: ``22500 X``."""
    return text(value).rstrip(" xX")


def _microscope(value: object) -> str:
    return text(value).removeprefix("Microscope ")


_DESCRIPTION = "ExperimentalDescription."
_KEYS = (
    Key(f"{_DESCRIPTION}High tension", "accelerating_voltage", "kV", positive),
    Key(
        "ExperimentalConditions.MicroscopeConditions.AcceleratingVoltage",
        "accelerating_voltage",
        "V",
        positive,
    ),
    Key(f"{_DESCRIPTION}Magnification", "magnification", None, positive),
    Key(f"{_DESCRIPTION}Camera length", "camera_length", "m", positive),
    Key(f"{_DESCRIPTION}Defocus", "defocus", "um"),
    Key(f"{_DESCRIPTION}Emission", "emission_current", "uA", positive),
    Key(f"{_DESCRIPTION}Spot size", "spot_size"),
    Key(f"{_DESCRIPTION}Stem rotation", "scan_angle", "deg"),
    Key(f"{_DESCRIPTION}Stage X", "stage_x", "um"),
    Key(f"{_DESCRIPTION}Stage Y", "stage_y", "um"),
    Key(f"{_DESCRIPTION}Stage Z", "stage_z", "um"),
    Key(f"{_DESCRIPTION}Stage A", "stage_tilt", "deg"),
    Key(f"{_DESCRIPTION}Stage B", "stage_tilt_beta", "deg"),
    Key(f"{_DESCRIPTION}Microscope", "instrument", None, _microscope),
    Key(f"{_DESCRIPTION}User", "operator"),
    Key("AcquireInfo.CameraNamePath", "detector"),
    Key("DetectorName", "detector"),
)
_IMAGING = (Key("AcquireInfo.Magnification", "magnification", None, _times),)
_CAMERA = (Key("AcquireInfo.DwellTimePath", "exposure_time", "s", positive),)
_SCANNING = (Key("AcquireInfo.DwellTimePath", "dwell_time", "s", positive),)


class Tia(Reader):
    """Images, series and maps of diffraction patterns of FEI TIA; spectra are refused by name."""

    name = "tia"
    formats = (Format("tia", "FEI TIA (Emispec ES Vision)", (".emi", ".ser"), tested=True),)

    @classmethod
    def sniff(cls, path: Path, head: bytes) -> int:  # noqa: ARG003 (the head is enough)
        """Say 3 for the first bytes of an .emi or a .ser."""
        return 3 if head.startswith((tia_emi.SIGNATURE, tia_ser.SIGNATURE)) else 0

    def read(self, path: Path) -> list[Scan]:
        """Return one scan per .ser that holds images; see `Reader.read`."""
        with path.open("rb") as stream:
            head = stream.read(len(tia_ser.SIGNATURE))
        if head == tia_ser.SIGNATURE:
            _refuse_part(path)
            return [_scan(_Part(path, path, tia_ser.read_series(path), None, path.stem), 0, [])]
        problems: list[str] = []
        parts = list(_parts(path, problems))
        return [_scan(part, index, problems) for index, part in enumerate(parts)]


class _Part(NamedTuple):
    """One .ser, the file that was opened, and what the .emi says of it."""

    opened: Path
    path: Path
    series: Series
    described: dict[str, Any] | None
    name: str


def _refuse_part(path: Path) -> None:
    stem = re.sub(r"_\d+\Z", "", path.stem)
    for suffix in (".emi", ".EMI", ".Emi"):
        owner = path.with_name(stem + suffix)
        if stem != path.stem and owner.is_file():
            raise NotAnImageError(path, f"this is a part of {owner.name}; open that", reader=Tia.name)


def _parts(path: Path, problems: list[str]) -> Iterator[_Part]:
    """Yield the .ser files of an .emi that hold images; name the others in `problems`, or refuse."""
    numbered = re.compile(re.escape(path.stem) + r"_(\d+)\.ser", re.IGNORECASE)
    named = [(numbered.fullmatch(file.name), file) for file in path.parent.iterdir()]
    found = sorted((int(match[1]), file) for match, file in named if match)
    if not found:
        reason = f"its pixels stand in {path.stem}_1.ser, ..., which are missing"
        raise NotAnImageError(path, reason, reader=Tia.name)
    objects = tia_emi.read_objects(path, problems)
    refused: list[str] = []
    for number, file in found:
        try:
            series = tia_ser.read_series(file)
        except NotAnImageError as error:
            refused.append(f"{file.name}: {error.reason}")
            continue
        known = tia_emi.object_of(objects, number)
        name = path.stem if len(found) == 1 else file.stem
        yield _Part(path, file, series, known.tree if known else None, name)
    if len(refused) == len(found):
        raise NotAnImageError(path, "; ".join(refused), reader=Tia.name)
    problems.extend(f"left out: {reason}" for reason in refused)


def _scan(part: _Part, index: int, problems: list[str]) -> Scan:
    series, tree = part.series, part.described or {}
    found = [*problems]
    if part.described is None and part.path != part.opened:
        found.append(f"{part.opened.name} says nothing about {part.path.name}: settings unknown")
    mode = text(_within(tree, "ExperimentalDescription", "Mode"))
    camera = bool(_within(tree, "AcquireInfo", "CameraNamePath"))
    diffracting = _diffracting(mode, camera=camera)
    unit = unit_of(series, mode, diffracting=diffracting, problems=found)
    tags = series.tags(_SHOWN_TAGS)
    leading = tia_axes.leading(series, tags, found)
    settings = _settings(tree, mode, camera=camera)
    shape = (*(axis.size for axis in leading), *series.first.shape)
    acquired, acquired_raw = _acquired(tree, tags)
    several = series.load_frame if leading else None
    return Scan(
        pixels=Pixels(shape, _native(series), partial(series.load, shape), several),
        axes=(*leading, *tia_axes.plane(series, unit, described=bool(mode))),
        name=part.name,
        source=Source(
            str(part.opened), "tia", Tia.name, package_version(), index,
            () if part.path == part.opened else (str(part.path),),
        ),
        modality=_modality(mode, unit, diffracting=diffracting),
        acquired=acquired,
        acquired_raw=acquired_raw,
        settings=settings.values,
        original=plain({"emi": tree, "ser": _header(series, tags)}),
        problems=(*found, *settings.problems),
    )  # fmt: skip


def _within(tree: dict[str, Any], group: str, key: str) -> Any:
    inside = tree.get(group)
    return inside.get(key, "") if isinstance(inside, dict) else ""


def _native(series: Series) -> str:
    import numpy as np

    return np.dtype(series.first.dtype).name


def _settings(tree: dict[str, Any], mode: str, *, camera: bool) -> Settings:
    exposed = _CAMERA if camera else _SCANNING if "STEM" in mode else ()
    magnified = () if _diffracting(mode, camera=camera) else _IMAGING
    return apply((*_KEYS, *magnified, *exposed), flatten(tree))


def _diffracting(mode: str, *, camera: bool) -> bool:
    """Say whether the pixels are a diffraction pattern; in STEM, the camera sees one and a detector none."""
    return camera if "STEM" in mode else "Diffraction" in mode


def _modality(mode: str, unit: str | None, *, diffracting: bool) -> Modality | None:
    if unit == "1/m" or diffracting:
        return "diffraction"
    return "STEM" if "STEM" in mode else "TEM" if "TEM" in mode else None


def _acquired(tree: dict[str, Any], tags: list[tia_ser.Tag]) -> tuple[str | None, str | None]:
    """Return the local time of the .emi, or the UTC of the first image's tag."""
    written = text(tree.get("AcquireDate", ""))
    if written:
        return local_time(written, ("%a %b %d %H:%M:%S %Y",)), written
    if tags and tags[0].time:
        return utc_time(tags[0].time), f"Time = {tags[0].time}"
    return None, None


def _header(series: Series, tags: list[tia_ser.Tag]) -> dict[str, Any]:
    return {
        "SeriesVersion": series.version,
        "TotalNumberElements": series.planned,
        "ValidNumberElements": series.valid,
        "Dimensions": [_told(dimension.scale, dimension._asdict()) for dimension in series.dimensions],
        "CalibrationX": series.first.x._asdict(),
        "CalibrationY": series.first.y._asdict(),
        "Tags": [{"Time": tag.time, "Position": tag.position} for tag in tags],
    }


def _told(scale: Scale, row: dict[str, Any]) -> dict[str, Any]:
    return row | {"scale": scale._asdict()}
