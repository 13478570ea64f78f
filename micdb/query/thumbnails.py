"""The small pictures kept inside micrograph files, or in the catalog where the file is elsewhere."""

from __future__ import annotations

from collections.abc import Iterable

import sqlalchemy as sa

from micdb import places
from micdb.catalog.engine import reading
from micdb.catalog.tables import micrograph, object_, thumbnail
from micdb.errors import StoreError
from micdb.query.context import Context
from micdb.store.nexus import read_thumbnail


def load(context: Context, uids: Iterable[str]) -> dict[str, bytes]:
    """Return the thumbnails of images as PNG bytes, by ``uid``.

    An image whose file is missing, unreadable or without a thumbnail is left out: a picture beside
    a table is no reason to refuse the table, and ``micdb fsck`` reports the file.

    Parameters
    ----------
    context
        Surroundings of the query.
    uids
        Images, no more than a screenful.
    """
    wanted = list(uids)
    if not wanted:
        return {}
    statement = (
        sa.select(micrograph.c.uid, *places.COLUMNS)
        .select_from(places.with_packs(micrograph.join(object_)))
        .where(micrograph.c.uid.in_(wanted))
    )
    received = sa.select(micrograph.c.uid, thumbnail.c.png).join_from(thumbnail, micrograph)
    with reading(context.engine) as connection:
        rows = connection.execute(statement).all()
        without = connection.execute(received.where(micrograph.c.uid.in_(wanted)))
        found = {row.uid: row.png for row in without}
    for row in rows:
        try:
            found[row.uid] = read_thumbnail(places.place(context.engine, context.root, row))
        except StoreError:
            continue
    return found
