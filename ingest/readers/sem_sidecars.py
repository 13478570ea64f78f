"""Parameter texts that SEM programs write beside a picture: TESCAN, JEOL, Hitachi.

- TESCAN: ``NAME-EXT.hdr`` or ``NAME.hdr``, INI with ``[MAIN]`` and ``[SEM]`` or ``[FIB]``, SI units.
- JEOL: ``NAME.txt``, see `sem_jeol`.
- Hitachi: ``NAME.txt``, INI with ``[SemImageFile]``, in ASCII or UTF-16; pixel size and stage in nm. Texts of
  older programs give no pixel size: it is derived from the magnification, which refers to 127 mm (in newer
  texts the two agree).

A sidecar belongs to the picture of the same stem; one that states another size of picture is not taken.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from micdb.ingest.metadata import Key, locale_time, positive, text, tolerate
from micdb.ingest.readers.sem_jeol import jeol, number
from micdb.ingest.readers.tiff_header import Header, Size, ini, other_size
from micdb.ingest.readers.tiff_tescan import tescan_items

_LARGEST = 1 << 20  # [byte] such texts have 2 to 10 kB

Take = Callable[[str, Size, Header], bool]  # False for a text of another kind


def sidecar(path: Path, size: Size) -> Header:
    """Return what a sidecar of the picture says; an empty header where there is none.

    Parameters
    ----------
    path
        The picture.
    size
        Its width and height.
    """
    header = Header()
    for name, takes in _names(path):
        beside = path.with_name(name)
        if not _readable(beside):
            continue
        with tolerate(header.problems, f"the sidecar {name}"):
            found = Header()
            if not takes(_decoded(beside.read_bytes()), size, found):
                continue
            if found.format:
                found.parts = (str(beside),)
                return found
            header.problems.extend(f"the sidecar {name} was not taken: {why}" for why in found.problems)
    return header


def _names(path: Path) -> list[tuple[str, Take]]:
    extension = path.suffix.lstrip(".")
    stems = [f"{path.stem}-{extension}.hdr", f"{path.stem}-{extension.upper()}.HDR", f"{path.stem}.hdr"]
    texts = [f"{path.stem}.txt", f"{path.stem}.TXT"]
    return [*((name, _tescan) for name in stems), *((name, _lines) for name in texts)]


def _readable(beside: Path) -> bool:
    try:
        return beside.is_file() and 0 < beside.stat().st_size <= _LARGEST
    except OSError:
        return False


def _decoded(content: bytes) -> str:
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return content.decode("utf-16", "replace")
    if content[1:2] == b"\0":
        return content.decode("utf-16-le", "replace")
    return text(content.removeprefix(b"\xef\xbb\xbf"))


# TESCAN


def _tescan(written: str, size: Size, header: Header) -> bool:  # noqa: ARG001 (no size is stated)
    tree = ini(written)
    main = tree.get("MAIN")
    if not isinstance(main, dict):
        return False  # other makers write .hdr too
    electrons = "SEM" in tree or "FIB" not in tree
    column = tree.get("SEM" if electrons else "FIB")
    tescan_items(header, {**(column if isinstance(column, dict) else {}), **main}, "sidecar")
    header.original = tree
    if not electrons:
        header.modality = None
    return True


def _lines(written: str, size: Size, header: Header) -> bool:
    start = written.lstrip()
    if start.startswith("["):
        return _hitachi(written, size, header)
    return jeol(written, size, header) if re.match(r"\$+(CM|SM|SEM)_", start) else False


# Hitachi


def _volts(written: str) -> Any:
    return positive(written.replace("Volts", "V").replace("Volt", "V"))


_HITACHI_KEYS = (
    Key("AcceleratingVoltage", "accelerating_voltage", "V", _volts),
    Key("Magnification", "magnification", None, positive),
    Key("WorkingDistance", "working_distance", "um", positive),
    Key("EmissionCurrent", "emission_current", None, positive),
    Key("StagePositionX", "stage_x", "nm"),
    Key("StagePositionY", "stage_y", "nm"),
    Key("StagePositionZ", "stage_z", "nm"),
    Key("SignalName", "detector"),
    Key("InstructName", "instrument"),
    Key("SampleName", "sample"),
    Key("Comment", "comment"),
)
_HITACHI_WIDTH = 127.0  # [mm] of the picture that a magnification refers to


def _hitachi(written: str, size: Size, header: Header) -> bool:
    tree = ini(written)
    flat = tree.get("SemImageFile")
    if not isinstance(flat, dict):
        return False
    if other_size(header, flat.get("DataSize"), size):
        return True
    header.format = "tif_hitachi"
    header.modality = "SEM"
    header.original = tree
    header.map(_HITACHI_KEYS, flat, origin="sidecar")
    # The date is in the locale of the microscope's computer: only what can be read in one way is.
    header.acquired_raw = " ".join(part for part in (flat.get("Date"), flat.get("Time")) if part) or None
    header.acquired = locale_time(header.acquired_raw) if header.acquired_raw else None
    magnification = number(flat.get("Magnification"))
    if flat.get("PixelSize"):
        header.calibrate_both(flat["PixelSize"], unit="nm", origin="sidecar")
    elif magnification:
        header.calibrate_both(_HITACHI_WIDTH / magnification / size[0], unit="mm", origin="derived")
    return True
