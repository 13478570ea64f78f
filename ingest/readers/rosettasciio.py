"""Further electron-microscopy formats by RosettaSciIO: the extra ``em``, GPL-3.0, imported on use.

This module knows the formats by their content, `rosettasciio_checks` looks at a file before RosettaSciIO
gets it, `rosettasciio_signals` makes scans of what it returns.
"""

from __future__ import annotations

import bz2
import logging
import re
import struct
import sys
import zipfile
from pathlib import Path

from micdb.errors import NotAnImageError, ReadError
from micdb.extras import require
from micdb.ingest.hdf5_stream import signed
from micdb.ingest.reader import HEAD, Format, Reader
from micdb.ingest.readers import rosettasciio_signals
from micdb.ingest.readers.rosettasciio_checks import check
from micdb.records import Scan

_NAME = "rosettasciio"
# Plugin of rsciio and its format. Tested: a real file was read and compared.
_FORMATS = (
    Format("bruker", "Bruker Esprit composite", (".bcf",), tested=True),
    Format("empad", "EMPAD detector", (".xml",)),
    Format("jeol", "JEOL Analysis Station image", (".img", ".map"), tested=True),
    Format("mrcz", "compressed MRC", (".mrcz",)),
    Format("pantarhei", "CEOS Panta Rhei", (".prz",), tested=True),
    Format("phenom", "Phenom Element Identification", (".elid",), tested=True),
    Format("quantumdetector", "Quantum Detectors Merlin", (".mib",), tested=True),
    Format("ripple", "Lispix ripple", (".rpl",)),
    Format("semper", "Semper", (".unf",), tested=True),
    Format("topspin", "NanoMEGAS Topspin", (".app5",)),
    Format("tvips", "TVIPS movie", (".tvips",), tested=True),
)
_OWN = "blockfile digitalmicrograph digitalsurf emd hspy image mrc nexus tia tiff"
_SPECTRAL = "edax hamamatsu jobinyvon msa netcdf quadstar renishaw tofwerk trivista"
# Every other plugin of rsciio -> why it is not used here.
LEFT_OUT = {
    **dict.fromkeys(_OWN.split(), "micdb reads it itself"),
    **dict.fromkeys(_SPECTRAL.split(), "spectra and maps of spectra"),
    **dict.fromkeys(("dens", "impulse", "protochips"), "logs of sample holders"),
    "arina": "its pixels lie in other files, named by links that a stranger wrote",
    "delmic": "spectra of light, in HDF5 that is opened without care",
    "numpy": "a bare array does not say which of its axes are those of an image",
    "usid": "a general table of measurements",
    "zspy": "a folder, not a file",
}

_SIGNATURES = ((b"AAMVHFSS", "bruker"), (b"MQ1,", "quantumdetector"))
_JEOL = b"JED-2200:LibJxImage"  # at byte 4
_SEMPER = "Semper".encode("utf-16-le")  # begins the label, after a header of 12 or 14 bytes and a title
_RIPPLE = re.compile(rb"\A(?:;[^\n]*\n)*key\t\s*value\r?\n", re.IGNORECASE)
_EMPAD = re.compile(rb"\A\s*(?:<\?xml[^>]*>\s*)?<root\b.*<(?:raw_file|pix_x|scan_parameters)\b", re.DOTALL)
_JEOL_PROJECT = re.compile(rb"\A\0{4}.{8,2000}\x01\x0b\0{3}SampleInfo\0", re.DOTALL)
_BZIP2 = re.compile(rb"\ABZh[1-9]1AY&SY")
_BLOCK = 1 << 20  # [byte] a packed block of bzip2 is smaller

_EXTENSIONS = {extension: known.name for known in _FORMATS for extension in known.extensions}
_SHOWS_NOTHING = ("mrcz", "semper", "tvips")  # formats, or parts of a set, known by extension only
_NAMED = {"jeol": (".img", ".map"), "pantarhei": (".prz",), "ripple": (".rpl", ".RPL")}  # rsciio insists

# Content that is never an image -> what it is.
_SPECTRA = (
    (re.compile(rb"\A#FORMAT\s*:\s*EMSA/MAS"), "an EMSA/MAS spectrum"),
    (re.compile(rb"\AMAPSPECTRA_DATA"), "an EDAX map of spectra"),
    (re.compile(rb"\A.{4}JED-2200(?!:LibJxImage)", re.DOTALL), "a JEOL spectrum or map of spectra"),
    (_JEOL_PROJECT, "a JEOL project (its images are .img and .map files)"),
    (re.compile(rb"\AWDF1"), "a Renishaw Raman measurement"),
    (re.compile(rb"\A\s*<\?xml[^>]*>\s*<TRTSpectrum\b"), "a Bruker spectrum"),
)


class RosettaSciIO(Reader):
    """Bruker, Panta Rhei, Phenom, Merlin, TVIPS, JEOL, EMPAD, Semper, Topspin and ripple images."""

    name = _NAME
    formats = _FORMATS
    extra = "em"

    @classmethod
    def sniff(cls, path: Path, head: bytes) -> int:
        """Say 2 for known content, spectra included; 1 for an extension whose format shows nothing."""
        if _by_content(path, head) or _spectra(head):
            return 2
        return 1 if _EXTENSIONS.get(path.suffix.lower()) in _SHOWS_NOTHING else 0

    def read(self, path: Path) -> list[Scan]:
        """Return the images of the file; see `Reader.read`."""
        with path.open("rb") as stream:
            head = stream.read(HEAD)
        plugin = _by_content(path, head) or _EXTENSIONS.get(path.suffix.lower())
        what = _spectra(head)
        if what or plugin is None:
            raise NotAnImageError(
                path, f"this is {what or 'of no format known here'}, no image", reader=_NAME
            )
        wanted = _NAMED.get(plugin, (path.suffix,))
        if path.suffix not in wanted:
            reason = f"RosettaSciIO reads this {plugin} file as {path.stem}{wanted[0]} only: rename it"
            raise ReadError(path, reason, reader=_NAME)
        parts = _parts(path, plugin)
        _load_library()
        check(path, plugin)
        return rosettasciio_signals.scans(path, plugin, parts)


def _load_library() -> None:
    """Import RosettaSciIO, which then wants to print warnings: `micdb.ingest.sniff.quiet` came too early."""
    fresh = "rsciio" not in sys.modules
    require("rsciio")
    if fresh:
        logging.getLogger("rsciio").setLevel(logging.CRITICAL + 1)


def _spectra(head: bytes) -> str | None:
    return next((what for pattern, what in _SPECTRA if pattern.search(head)), None)


def _by_content(path: Path, head: bytes) -> str | None:
    """Return the plugin for what a file begins with."""
    for signature, plugin in _SIGNATURES:
        if head.startswith(signature):
            return plugin
    extension = path.suffix.lower()
    looks = (
        ("jeol", head[4:].startswith(_JEOL)),
        ("semper", head[:4] in (b"\x0c\0\0\0", b"\x0e\0\0\0") and _SEMPER in head[:600]),
        ("tvips", _is_tvips(head)),
        ("ripple", bool(_RIPPLE.search(head))),
        ("empad", bool(_EMPAD.search(head))),
        ("topspin", extension == ".app5" and signed(head)),
        ("pantarhei", head.startswith(b"PK\x03\x04") and (extension == ".prz" or _is_prz(path, head))),
        ("phenom", bool(_BZIP2.search(head)) and (extension == ".elid" or _is_elid(path))),
    )
    return next((plugin for plugin, found in looks if found), None)


def _is_tvips(head: bytes) -> bool:
    """Return whether the general header makes sense: its size, version 1 or 2, two sides, 8 or 16 bit."""
    if len(head) < 256:
        return False
    size, version, width, height, bits = struct.unpack_from("<5I", head)
    side = range(1, 1 << 15)
    return size == 256 and version in (1, 2) and width in side and height in side and bits in (8, 16)


def _is_prz(path: Path, head: bytes) -> bool:
    """Return whether a zip archive, whose first member is an array of NumPy, is one of Panta Rhei's."""
    length = int.from_bytes(head[26:28], "little")
    if not head[30 : 30 + length].endswith(b".npy"):
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            return {"data.npy", "meta_data.npy"} <= set(archive.namelist())
    except (zipfile.BadZipFile, OSError, ValueError):
        return False


def _is_elid(path: Path) -> bool:
    """Return whether what is packed begins as Element Identification's projects do."""
    try:
        with path.open("rb") as stream:
            return bz2.BZ2Decompressor().decompress(stream.read(_BLOCK), 4) == b"EID2"
    except OSError:
        return False


def _parts(path: Path, plugin: str) -> tuple[str, ...]:
    """Return the files that belong to this one; refuse a part that is read through another file."""
    if plugin == "tvips":
        found = re.fullmatch(r"(.+_)(\d{3})", path.stem)
        if found is None or path.suffix.lower() != ".tvips":
            reason = f"RosettaSciIO reads this tvips file as {path.stem}_000.tvips only: rename it"
            raise ReadError(path, reason, reader=_NAME)
        if int(found[2]):
            first = f"{found[1]}000{path.suffix}"
            raise NotAnImageError(path, f"this is a later part of a movie; open {first}", reader=_NAME)
        return tuple(_later(path, found[1]))
    beside = {"quantumdetector": (".hdr",), "ripple": (".raw", ".RAW")}.get(plugin, ())
    return tuple(str(part) for suffix in beside if (part := path.with_suffix(suffix)).is_file())[:1]


def _later(path: Path, stem: str) -> list[str]:
    found: list[str] = []
    while (part := path.with_name(f"{stem}{len(found) + 1:03d}{path.suffix}")).is_file():
        found.append(str(part))
    return found
