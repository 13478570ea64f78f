"""Take objects out of use without taking them away: readers may hold them, and snapshots may need them."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy import Connection

from micdb.catalog.rows import id_list
from micdb.catalog.tables import object_
from micdb.fsck.quarantined import referred
from micdb.provenance import now
from micdb.publish import GRACE, later


class Overtaken(Exception):  # noqa: N818  # no error: somebody else has done the work
    """What was to be exchanged is not as it was any more."""


def retire(connection: Connection, keys: Sequence[int]) -> None:
    """Quarantine those of some live objects that no row refers to any more; their grace begins now."""
    chosen = object_.c.pk.in_(sa.select(id_list(connection, keys).c.id))
    connection.execute(
        sa.update(object_)
        .where(chosen, object_.c.state == "live", ~referred(object_.c.pk))
        .values(state="quarantined", expires_at=later(now(), GRACE))
    )
