"""Look up where an object lies: the catalog knows the rows, the store opens the bytes.

Every query that leads to bytes of micrographs adds `COLUMNS` and `with_packs`, and hands its rows to `place`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Engine, FromClause

from micdb.catalog.engine import reading
from micdb.catalog.sqlite import PRESENT
from micdb.catalog.tables import object_
from micdb.store.packs import member_name
from micdb.store.places import Place

PACK = object_.alias("pack")
COLUMNS = (
    object_.c.path.label("object_path"),
    object_.c.sha256.label("object_sha256"),
    object_.c.size.label("object_size"),
    object_.c.pack_offset,
    PACK.c.path.label("pack_path"),
)


def with_packs(rows: FromClause) -> FromClause:
    """Return rows that hold the table ``object``, joined to the packs some of these objects lie in."""
    return rows.outerjoin(PACK, PACK.c.pk == object_.c.pack_pk)


def place(engine: Engine, root: Path, row: Any) -> Place:
    """Return where the object of a row with `COLUMNS` lies.

    Parameters
    ----------
    engine, root
        Catalog the row came from, and folder of the database: asked again when the object moves.
    row
        Of an object, not of nothing: ``object_path`` is no NULL.
    """
    again = _Again(engine, root, row.object_sha256)
    if row.pack_path is None:
        return Place(root / row.object_path, row.object_size, again=again)
    name = member_name(row.object_path)
    return Place(root / row.pack_path, row.object_size, row.pack_offset, name, again)


def find(engine: Engine, root: Path, sha256: str) -> Place | None:
    """Return where the live object with that hash lies; None when there is none."""
    statement = sa.select(*COLUMNS).select_from(with_packs(object_))
    with reading(engine) as connection:
        row = connection.execute(
            statement.where(object_.c.sha256 == sha256, object_.c.state == "live")
        ).one_or_none()
    return None if row is None else place(engine, root, row)


@dataclass(frozen=True, slots=True)
class _Again:
    """Looks an object up once more.

    A snapshot's catalog is frozen and may name a file that has gone into a pack since: then the catalog of
    the database itself knows.
    """

    engine: Engine
    root: Path
    sha256: str

    def __call__(self) -> Place | None:
        found = find(self.engine, self.root, self.sha256)
        present = self.engine.get_execution_options().get(PRESENT)
        if present is None or (found is not None and found.path.is_file()):
            return found
        return find(present, self.root, self.sha256)
