"""Which image of the catalog a mask out of a file belongs to. Callers hold the transaction."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePath

import sqlalchemy as sa
from sqlalchemy import Connection

from micdb.annotations.found import Found
from micdb.catalog.tables import micrograph, source
from micdb.errors import UsageError, suggestion
from micdb.masks import Mask


@dataclass(frozen=True, slots=True, eq=False)
class Match:
    """A mask, the uid of the image it is of, and the frame."""

    image: str
    mask: Mask
    frame: int


def matched(connection: Connection, found: Iterable[Found]) -> list[Match]:
    """Return masks with their images, by the name of the image or of its file, or by uid.

    Raises
    ------
    UsageError
        A name is that of no image, or of several.
    """
    known = _names(connection)
    pairs = []
    for one in found:
        here = known.get(_plain(one.name), set())
        if len(here) > 1:
            raise UsageError(
                f"{one.path}: {len(here)} images are called {one.name!r}; name the file after a uid: "
                f"{', '.join(sorted(here)[:3])}"
            )
        if not here:
            raise UsageError(
                f"{one.path} belongs to no image: none is called {one.name!r}"
                f"{suggestion(_plain(one.name), known)}; name it after the image, its file or its uid"
            )
        pairs.append(Match(next(iter(here)), one.mask, one.frame))
    return pairs


def _names(connection: Connection) -> dict[str, set[str]]:
    """Return the uids of images by what they may be called."""
    query = (
        sa.select(micrograph.c.uid, micrograph.c.name, source.c.file_name)
        .outerjoin(source, source.c.micrograph_pk == micrograph.c.pk)
        .where(micrograph.c.deleted_at.is_(None))
    )
    known: dict[str, set[str]] = {}
    for row in connection.execute(query):
        for name in (row.uid, row.name, row.file_name):
            if name:
                known.setdefault(_plain(name), set()).add(row.uid)
    return known


def _plain(name: str) -> str:
    """Return a name without folders and ending, in lower case; a dot within a name is no ending."""
    last = PurePath(name.replace("\\", "/")).name
    stem, dot, ending = last.rpartition(".")
    return (stem if dot and ending.isalnum() and len(ending) <= 5 and not ending.isdigit() else last).lower()
