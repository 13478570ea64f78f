"""The one door: a path becomes Scans, whoever wrote the file, and every failure becomes one micdb error."""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

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
from micdb.ingest.reader import HEAD, Reader, readers
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
    (rb"\AONTMATRX0101ATEM", "an Omicron MATRIX parameter file", "its data files"),
    (rb"\A\s*T\s*=\s*SerialEM", "a SerialEM .mdoc text", "its .mrc"),
    (rb"\AServer Software Version\s+=", "a Direct Electron info text", "its .mrc"),
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
        raise UnknownFormatError(file, _unknown(head, trouble))
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
    for name in readers().names():
        try:
            reader = readers().get(name)
            with _quiet():
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


def _unknown(head: bytes, trouble: list[str]) -> str:
    shown = head[:8].hex(" ")
    reason = f"no reader knows this file (it starts with bytes {shown}); installed readers: "
    return "; ".join([reason + ", ".join(readers().names()), *trouble])


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the reading libraries: their warnings and log lines are not for the user's terminal."""
    loggers = [logging.getLogger(name) for name in _CHATTY]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextmanager
def _guard(file: Path, reader: str) -> Iterator[None]:
    """Let micdb's errors pass and turn everything else into one that names file and reader."""
    try:
        with _quiet():
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
    load: Callable[..., np.ndarray]

    def __call__(self, *frame: int) -> np.ndarray:
        with _guard(self.file, self.reader):
            array = self.load(*frame)
        if array.shape != self.shape or array.dtype != self.dtype or not array.dtype.isnative:
            raise DamagedFileError(
                self.file,
                f"the header promises {self.dtype} {self.shape}, the pixels are {array.dtype} {array.shape}",
                reader=self.reader,
            )
        return array


def _sealed(file: Path, reader: str, scan: Scan) -> Scan:
    pixels = scan.pixels
    if tuple(axis.size for axis in scan.axes) != pixels.shape:
        named = [(axis.name, axis.size) for axis in scan.axes]
        raise ContractError(f"reader {reader!r} gave axes {named} for pixels of shape {pixels.shape}")
    if 0 in pixels.shape:
        raise DamagedFileError(file, f"an image of {pixels.shape} has no pixels", reader=reader)
    leading = len(scan.frame_axes)
    load = _Sealed(file, reader, pixels.shape, pixels.dtype, pixels.load)
    load_frame = pixels.load_frame and _Sealed(
        file, reader, pixels.shape[leading:], pixels.dtype, pixels.load_frame
    )
    return replace(scan, pixels=replace(pixels, load=load, load_frame=load_frame))
