"""The one door: a path becomes Scans, whoever wrote the file, and every failure becomes one micdb error."""

from __future__ import annotations

import logging
import math
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, NamedTuple

from micdb.errors import (
    ContractError,
    DamagedFileError,
    MicdbError,
    MissingExtraError,
    NotAnImageError,
    NotFoundError,
    ReadError,
    UnknownFormatError,
)
from micdb.ingest import archive
from micdb.ingest.reader import HEAD, Reader, readers
from micdb.ingest.texts import fit
from micdb.records import Scan

if TYPE_CHECKING:
    import numpy as np

# Loggers of the libraries that read for us; what they have to say reaches the user as an error or not at all.
_CHATTY = ("tifffile", "PIL", "rsciio", "hyperspy", "mrcfile", "h5py", "nanonispy2", "gwyfile", "igor2")

# First bytes of files that accompany an image -> what they are, and what to open instead.
_COMPANIONS: tuple[tuple[bytes, str, str], ...] = (
    (rb"\A(?:\xef\xbb\xbf)?\s*\$(?:CM|\$SM|SEM)_", "a JEOL SEM parameter text", "its .tif"),
    (rb"\A\s*\[SemImageFile\]", "a Hitachi SEM parameter text", "its image"),
    (rb"\A(?:\xff\xfe)?\[\0S\0e\0m\0I\0m\0a\0g\0e\0F\0i\0l\0e\0", "a Hitachi SEM text", "its image"),
    (rb"\A\s*\[MAIN\]", "a TESCAN image header", "its image"),
    (rb"\AHDR,\s", "a Merlin detector header", "its .mib"),
    (rb"\A\s*T\s*=\s*SerialEM", "a SerialEM .mdoc text", "its .mrc"),
    (rb"\AServer Software Version\s+=", "a Direct Electron info text", "its .mrc"),
)  # fmt: skip

_CONVERT = "convert it to .gwy with Gwyddion"
# First bytes of formats that no reader here reads -> what they are, and what to do. After Gwyddion's table of
# signatures; only what cannot be anything else.
_UNREAD: tuple[tuple[bytes, str, str], ...] = (
    (rb"\A\x01\xb0\x93\xff", "an NT-MDT file (.mdt)", _CONVERT),
    (rb"\A\[DataSet\]\r\n", "a Nanosurf or NanoScan file (.nid, .ezd)", _CONVERT),
    (
        rb"(?s)\A(?:\0{4}(?:TP|ER|PH)|[\1\2]\0{3}.{20}(?:T\0P|E\0R|P\0H)\0)",
        "an Ando AFM movie (.asd)", "export its frames as TIFF",
    ),
    (rb"(?s)\A.{8}ARDF", "an Asylum Research data file (.ardf)", "save its images as .ibw"),
    (rb"\A\[Data ?Version\]\r\nProgram=SPMLab", "an SPMLab file (.flt)", _CONVERT),
    (rb"\AGwyddion Simple Field 1\.", "a Gwyddion simple field (.gsf)", _CONVERT),
    (rb"\A;[ \t\r\n;]+Omicron SPM Control\.", "an Omicron SCALA parameter file (.par)", _CONVERT),
    (rb"\A;ANFATEC Parameterfile", "an Anfatec parameter file", _CONVERT),
    (rb"\A\x01\0Directory", "a Wyko profiler file (.opd)", _CONVERT),
    (rb"\AZISRAWFILE", "a Zeiss file (.czi)", "save it as OME-TIFF"),
)  # fmt: skip


class Candidate(NamedTuple):
    """A reader that may know a file: the highest `score` reads it."""

    score: int
    name: str
    reader: type[Reader]


def open_scans(path: str | PathLike[str]) -> list[Scan]:
    """Return every image of a microscope file, pixels unread.

    The format is recognised by content, never by extension alone. Pixels that are read later are
    checked against the shape and dtype promised here, and their errors are micdb's too.

    Raises
    ------
    NotFoundError
        There is no such file.
    UnknownFormatError
        No reader knows the content.
    DamagedFileError
        The format is known and the bytes are broken, or the file is empty.
    NotAnImageError
        The file is sound and holds no image, or accompanies one.
    MissingExtraError
        The format needs an extra; the message is the install line.
    """
    file = Path(path)
    head = _head(file)
    found, trouble = _ask(file, head)
    if not found or found[0].score < 2:
        _refuse_companions(file, head)
    if not found:
        raise UnknownFormatError(file, _packed(file) or _unknown(head, trouble))
    best = found[0]
    with _guard(file, best.name):
        scans = best.reader().read(file)
    if not scans:
        raise NotAnImageError(file, "the file holds no image", reader=best.name)
    return [_sealed(file, best.name, scan) for scan in scans]


def candidates(path: str | PathLike[str]) -> list[Candidate]:
    """Return the readers that may know a file, the surest first, equal ones by name."""
    file = Path(path)
    return _ask(file, _head(file))[0]


def _head(file: Path) -> bytes:
    try:
        if file.is_dir():
            raise NotAnImageError(file, "this is a folder; give a file, or ingest the folder")
        if not file.exists():
            raise NotFoundError(f"{file}: no such file; check the spelling and the current folder")
        if not file.is_file():
            raise NotAnImageError(file, "this is a device or pipe, not a regular file")
        with file.open("rb") as stream:
            head = stream.read(HEAD)
    except MicdbError:
        raise
    except (OSError, ValueError) as error:  # ValueError: NUL in the name
        raise ReadError(file, f"the file cannot be opened: {_sentence(error)}") from error
    if not head:
        raise DamagedFileError(file, "the file is empty (0 bytes)")
    return head


def _ask(file: Path, head: bytes) -> tuple[list[Candidate], list[str]]:
    """Ask every reader; one that fails while looking must not stop the others, and is named in `trouble`."""
    found: list[Candidate] = []
    trouble: list[str] = []
    with quiet():
        for name in readers().names():
            try:
                reader = readers().get(name)
                score = reader.sniff(file, head)
            except Exception as error:
                trouble.append(f"reader {name!r} failed while looking at it ({_sentence(error)})")
                continue
            if score > 0:
                found.append(Candidate(score, name, reader))
    found.sort(key=lambda candidate: (-candidate.score, candidate.name))
    return found, trouble


def _refuse_companions(file: Path, head: bytes) -> None:
    for pattern, what, instead in _COMPANIONS:
        if re.search(pattern, head):
            raise NotAnImageError(file, f"this is {what}, without pixels of its own; open {instead}")


def _packed(file: Path) -> str | None:
    if not archive.is_archive(file):
        return None
    count = len(archive.members(file))
    files = "1 file" if count == 1 else f"{count} files"
    return f"this is an archive of {files}; ingest it by itself, or unpack it"


def _unknown(head: bytes, trouble: list[str]) -> str:
    shown = f"it starts with bytes {head[:8].hex(' ')}"
    named = (f"this is {what}; {advice}" for pattern, what, advice in _UNREAD if re.search(pattern, head))
    installed = ", ".join(readers().names())
    reason = f"no reader knows this file ({next(named, shown)}); installed readers: {installed}"
    return "; ".join([reason, *trouble])


@contextmanager
def quiet() -> Iterator[None]:
    """Silence the reading libraries: their warnings and log lines are not for the user's terminal.

    Inside another `quiet` it costs nothing; whoever reads many files wraps them in one.
    """
    with _silence.changing:
        _silence.depth += 1
        if _silence.depth == 1:
            _silence.begin()
    try:
        yield
    finally:
        with _silence.changing:
            _silence.depth -= 1
            if not _silence.depth:
                _silence.end()


class _Silence:
    """How loggers and warnings were before the first `quiet` that is not over."""

    def __init__(self) -> None:
        self.changing, self.depth = Lock(), 0
        self._levels: list[tuple[logging.Logger, int]] = []
        self._warnings = warnings.catch_warnings()

    def begin(self) -> None:
        loggers = [logging.getLogger(name) for name in _CHATTY]
        self._levels = [(logger, logger.level) for logger in loggers]
        for logger in loggers:
            logger.setLevel(logging.CRITICAL + 1)
        self._warnings = warnings.catch_warnings()
        self._warnings.__enter__()
        warnings.simplefilter("ignore")

    def end(self) -> None:
        self._warnings.__exit__(None, None, None)
        for logger, level in self._levels:
            logger.setLevel(level)


_silence = _Silence()


@contextmanager
def _guard(file: Path, reader: str) -> Iterator[None]:
    """Let micdb's errors pass and turn everything else into one that names file and reader."""
    try:
        with quiet():
            yield
    except MissingExtraError as error:
        raise MissingExtraError(f"{file}: {error}") from error
    except MicdbError:
        raise
    except FileNotFoundError as error:
        raise NotFoundError(f"{file}: {_sentence(error)}") from error
    except MemoryError as error:
        reason = "the header promises more pixels than memory can hold"
        raise DamagedFileError(file, reason, reader=reader) from error
    except Exception as error:  # libraries raise struct.error, AssertionError, KeyError, their own trees
        reason = f"the file could not be read: {_sentence(error)}"
        raise DamagedFileError(file, reason, reader=reader) from error


def _sentence(error: BaseException) -> str:
    said = re.sub(r"\s+", " ", str(error)).strip()
    return f"{type(error).__name__}: {said[:200]}" if said else type(error).__name__


@dataclass(frozen=True, slots=True)
class _Sealed:
    """A load function that keeps the promise of its `Pixels`, or says that the file does not."""

    file: Path
    reader: str
    shape: tuple[int, ...]
    dtype: str
    load: Callable[..., Any]

    def __call__(self, *frame: int) -> np.ndarray:
        with _guard(self.file, self.reader):
            array: np.ndarray = self.load(*frame)
        return self._checked(array)

    def _checked(self, array: np.ndarray) -> np.ndarray:
        if array.shape != self.shape or array.dtype != self.dtype or not array.dtype.isnative:
            raise DamagedFileError(
                self.file,
                f"the header promises {self.dtype} {self.shape}, the pixels are {array.dtype} {array.shape}",
                reader=self.reader,
            )
        return array


@dataclass(frozen=True, slots=True)
class _SealedStream(_Sealed):
    """The same for a function that yields `count` frames."""

    count: int = 1

    def __call__(self) -> Iterator[np.ndarray]:  # type: ignore[override]
        found = 0
        frames = None
        while True:
            with _guard(self.file, self.reader):  # around each step: what the caller does is not ours
                frames = frames or iter(self.load())
                frame = next(frames, None)
            if frame is None:
                break
            found += 1
            yield self._checked(frame)
        if found != self.count:
            reason = f"the header promises {self.count} frames, the file holds {found}"
            raise DamagedFileError(self.file, reason, reader=self.reader)


def _sealed(file: Path, reader: str, scan: Scan) -> Scan:
    pixels = scan.pixels
    if tuple(axis.size for axis in scan.axes) != pixels.shape:
        named = [(axis.name, axis.size) for axis in scan.axes]
        raise ContractError(f"reader {reader!r} gave axes {named} for pixels of shape {pixels.shape}")
    if 0 in pixels.shape:
        raise DamagedFileError(file, f"an image of {pixels.shape} has no pixels", reader=reader)
    frame = pixels.shape[len(scan.frame_axes) :]
    load = _Sealed(file, reader, pixels.shape, pixels.dtype, pixels.load)
    load_frame = pixels.load_frame and _Sealed(file, reader, frame, pixels.dtype, pixels.load_frame)
    stream = pixels.stream and _SealedStream(
        file, reader, frame, pixels.dtype, pixels.stream, count=scan.n_frames
    )
    scan = replace(scan, pixels=replace(pixels, load=load, load_frame=load_frame, stream=stream))
    return fit(_without_impossible_steps(scan))


def _without_impossible_steps(scan: Scan) -> Scan:
    """Return the scan with steps unknown that are no number: a length of 5e-324 over 24 pixels is 0."""
    wrong = [
        axis
        for axis in scan.axes
        if axis.step == 0 or not (math.isfinite(axis.step or 0.0) and math.isfinite(axis.offset))
    ]
    if not wrong:
        return scan
    axes = (replace(axis, step=None, offset=0.0, unit=None) if axis in wrong else axis for axis in scan.axes)
    said = [f"pixel size of {axis.name} unknown: it would be {axis.step} {axis.unit}" for axis in wrong]
    return replace(scan, axes=tuple(axes), problems=(*scan.problems, *said))
