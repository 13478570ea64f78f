"""The contract of a reader: a path becomes Scans, and nothing else is touched."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar, NamedTuple

from micdb.records import Scan
from micdb.registry import Registry

HEAD = 4096  # [byte] handed to every reader's `sniff`


class Format(NamedTuple):
    """One format that a reader knows, a row of ``micdb formats``.

    Parameters
    ----------
    name
        What `micdb.records.Source.format` says: ``dm3``, ``tif_zeiss``.
    title
        Name and maker, for people.
    extensions
        Usual file extensions, lower case with dot: a hint, never proof.
    tested
        Whether a file that an instrument or its maker's program wrote was read here and compared with an
        independent reader; False where only files of our own making were.
    """

    name: str
    title: str
    extensions: tuple[str, ...]
    tested: bool = False


class Reader(ABC):
    """Reads the files of one format family.

    A plug-in extends this class, registers under the entry-point group ``micdb.readers`` and proves
    itself by inheriting ``micdb.testing.ReaderContract``. `sniff` must be cheap and import no
    third-party package; `read` imports what it needs.
    """

    #: Registered name, also written into every `Source`.
    name: ClassVar[str]
    #: Every format it knows; the `Source.format` of each scan is one of their names.
    formats: ClassVar[tuple[Format, ...]]
    #: Extra of micdb that must be installed for `read`, or None.
    extra: ClassVar[str | None] = None

    @classmethod
    def extensions(cls) -> tuple[str, ...]:
        """Return the usual extensions of all its formats, sorted."""
        return tuple(sorted({extension for known in cls.formats for extension in known.extensions}))

    @classmethod
    @abstractmethod
    def sniff(cls, path: Path, head: bytes) -> int:
        """Say by content how surely this reader knows the file.

        Parameters
        ----------
        path
            The file; it may be opened for more than `head`, cheaply.
        head
            Its first `HEAD` bytes.

        Returns
        -------
        int
            0 not mine, 1 perhaps (generic container or extension), 2 mine by its signature,
            3 mine by signature and by what stands inside. The highest answer reads the file.
        """

    @abstractmethod
    def read(self, path: Path) -> list[Scan]:
        """Return every image of the file, pixels unread.

        Raises
        ------
        DamagedFileError
            The bytes are broken; names the offset when known.
        NotAnImageError
            The file is sound and holds no image; says what it holds.
        """


def readers() -> Registry[Reader]:
    """Return the registry of readers (entry points ``micdb.readers``)."""
    return _READERS


_READERS: Registry[Reader] = Registry("micdb.readers", Reader)  # type: ignore[type-abstract]
