"""Every format that the installed readers know, plug-ins included: the table behind ``micdb formats``."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from typing import TYPE_CHECKING, NamedTuple

from micdb.extras import EXTRAS
from micdb.ingest.reader import Format, Reader, readers

if TYPE_CHECKING:
    import pandas as pd


class KnownFormat(NamedTuple):
    """One row of the table.

    Parameters
    ----------
    format, title, extensions
        As the reader gives them; the extensions separated by blanks.
    reader
        Its registered name.
    extra
        Extra of micdb that it needs, or None.
    ready
        Whether files of this format can be read now.
    tested
        Whether a file of an instrument was compared with an independent reader.
    trouble
        Why the reader cannot be used at all; such a row has no format.
    """

    format: str | None
    title: str | None
    extensions: str
    reader: str
    extra: str | None
    ready: bool
    tested: bool
    trouble: str | None = None


def formats() -> pd.DataFrame:
    """Return every format of every installed reader by title, one row each: the columns of `KnownFormat`.

    A reader that cannot be imported, or is none, has one row that says so under ``trouble``.
    """
    import pandas as pd

    return pd.DataFrame(known_formats(), columns=list(KnownFormat._fields))


def known_formats() -> list[KnownFormat]:
    """Return the rows of `formats`."""
    rows = [row for name in readers().names() for row in _rows(name)]
    return sorted(rows, key=lambda row: (row.title or "").lower())


def _rows(name: str) -> Iterator[KnownFormat]:
    try:
        yield from [_row(name, reader, known) for reader in [readers().get(name)] for known in reader.formats]
    except Exception as error:  # a plug-in may raise anything, and must not hide the others
        said = " ".join(f"{type(error).__name__}: {error}".split())
        yield KnownFormat(None, None, "", name, None, ready=False, tested=False, trouble=said)


def _row(name: str, reader: type[Reader], known: Format) -> KnownFormat:
    return KnownFormat(
        format=known.name,
        title=known.title,
        extensions=" ".join(known.extensions),
        reader=name,
        extra=reader.extra,
        ready=all(find_spec(module) for module, extra in EXTRAS.items() if extra == reader.extra),
        tested=bool(known.tested),
    )
