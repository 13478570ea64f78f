"""Everything micdb raises on purpose, one class per thing a caller could do differently.

::

    MicdbError
    ├── UsageError(ValueError)            an argument is wrong: mend the call
    │   ├── UnitError                     unknown unit, or the wrong physical dimension
    │   ├── ExpressionError(TypeError)    `and`, `or`, chained comparison, truth of a frame
    │   ├── QuerySyntaxError              the text of a query cannot be parsed
    │   ├── UnknownColumnError            no such column (also a KeyError and an AttributeError)
    │   ├── SheetError                    a samples sheet or its map is wrong: row and column named
    │   └── TooFewGroupsError             a link has too few independent groups to be believed
    ├── NotFoundError(FileNotFoundError)  a file, folder or database is not there
    ├── ReadError                         one microscope file cannot be read
    │   ├── UnknownFormatError            nobody knows this file
    │   ├── DamagedFileError              the format is known, the bytes are broken
    │   └── NotAnImageError               a spectrum, a force curve, an orphaned part
    ├── MissingExtraError(ImportError)    an optional package is not installed
    ├── RegistryError(LookupError)        unknown or duplicate plug-in name
    ├── CatalogError                      the catalog refuses
    │   ├── OldSchemaError                written by an older micdb: upgrade it
    │   ├── NewSchemaError                written by a newer micdb: upgrade the program
    │   ├── ForeignDatabaseError          not a micdb catalog
    │   └── NetworkFilesystemError        SQLite's WAL does not work there
    ├── StoreError                        an object or part on disk is missing or damaged
    └── ContractError(TypeError)          a plug-in broke its contract: a bug in the plug-in

A message says what was found, what was expected, and the command or argument that mends it, in one
line: the command line prints it as it is.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from os import PathLike, fspath


class MicdbError(Exception):
    """Root of every error micdb raises on purpose."""


class UsageError(MicdbError, ValueError):
    """An argument is wrong; mend the call."""


class UnitError(UsageError):
    """A unit is unknown, or has the wrong physical dimension."""


class ExpressionError(UsageError, TypeError):
    """Python would silently mis-evaluate this expression; the message shows the right spelling."""


class QuerySyntaxError(UsageError):
    """The text of a query cannot be parsed; the message points at the column."""


class UnknownColumnError(UsageError, KeyError, AttributeError):
    """No column of that name; the message offers the nearest ones."""

    def __init__(self, name: str, known: Iterable[str], where: str) -> None:
        self.name = name
        ValueError.__init__(self, f"no column {name!r} in {where}{suggestion(name, known)}")

    def __str__(self) -> str:  # KeyError would print the repr of the message
        return str(self.args[0])


class SheetError(UsageError):
    """A samples sheet or its map is wrong; the message names row and column."""


class TooFewGroupsError(UsageError):
    """A link has too few independent groups to say anything."""


class NotFoundError(MicdbError, FileNotFoundError):
    """A file, folder or database is not there."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class ReadError(MicdbError):
    """One microscope file cannot be read.

    Parameters
    ----------
    path
        The file.
    reason
        What was found and what was expected.
    reader
        Name of the reader that refused, when one was chosen.
    offset
        Byte where reading stopped, when known [byte].
    """

    def __init__(
        self,
        path: str | PathLike[str],
        reason: str,
        *,
        reader: str | None = None,
        offset: int | None = None,
    ) -> None:
        self.path = fspath(path)
        self.reason = reason
        self.reader = reader
        self.offset = offset
        by = f" [{reader}]" if reader else ""
        at = f" at byte {offset}" if offset is not None else ""
        super().__init__(f"{self.path}{by}{at}: {reason}")

    def __reduce__(self) -> tuple[object, ...]:  # keyword arguments must survive a process pool
        return (_rebuild_read_error, (type(self), self.path, self.reason, self.reader, self.offset))


def _rebuild_read_error(
    kind: type[ReadError], path: str, reason: str, reader: str | None, offset: int | None
) -> ReadError:
    return kind(path, reason, reader=reader, offset=offset)


class UnknownFormatError(ReadError):
    """No reader knows this file by its content."""


class DamagedFileError(ReadError):
    """The format is known, the bytes are broken or cut short."""


class NotAnImageError(ReadError):
    """The file is sound and holds no image: a spectrum, a force curve, a part of a set."""


class MissingExtraError(MicdbError, ImportError):
    """An optional package is not installed; the message is the install line."""


class RegistryError(MicdbError, LookupError):
    """A plug-in name is unknown, or taken twice."""


class CatalogError(MicdbError):
    """The catalog refuses an operation."""


class OldSchemaError(CatalogError):
    """The catalog was written by an older micdb."""


class NewSchemaError(CatalogError):
    """The catalog was written by a newer micdb."""


class ForeignDatabaseError(CatalogError):
    """The database exists and is not a micdb catalog."""


class NetworkFilesystemError(CatalogError):
    """SQLite's write-ahead log does not work on network file systems."""


class StoreError(MicdbError):
    """An object or part that a committed row names is missing or damaged."""


class ContractError(MicdbError, TypeError):
    """A plug-in broke its contract; this is a bug in the plug-in, never in the user's data."""


def suggestion(name: str, known: Iterable[str]) -> str:
    """Return the tail of a message that offers the nearest known names, or lists them all."""
    names = sorted(set(known))
    near = get_close_matches(name, names, n=3, cutoff=0.6)
    if near:
        return f"; did you mean {' or '.join(near)}?"
    if not names:
        return "; there are none"
    shown = ", ".join(names[:40])
    return f"; there are {shown}{', ...' if len(names) > 40 else ''}"
