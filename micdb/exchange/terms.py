"""On which terms images may leave a database: embargo and licence, enforced by the writer of bundles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from micdb.catalog.engine import writing
from micdb.catalog.rows import id_list, record
from micdb.catalog.tables import lab, micrograph
from micdb.errors import UsageError
from micdb.provenance import now

# A licence that says one of these lets nothing leave; SPDX has no identifier for "may not be given away".
FORBIDDING = (
    "proprietary", "all rights reserved", "confidential", "no redistribution", "not for redistribution",
    "internal use", "do not distribute", "licenseref-private", "licenseref-internal",
)  # fmt: skip

m = micrograph.c


def withheld(connection: Connection, images: Sequence[int]) -> dict[int, str]:
    """Return the images that may not leave the database now, with the reason.

    Parameters
    ----------
    connection
        A transaction.
    images
        Local keys.
    """
    licence = sa.func.coalesce(m.licence, lab.c.licence)
    query = (
        sa.select(m.pk, m.embargo_until, licence.label("licence"))
        .select_from(micrograph.outerjoin(lab, lab.c.pk == m.lab_pk))
        .where(sa.or_(m.embargo_until.is_not(None), licence.is_not(None)))
        .where(m.pk.in_(sa.select(id_list(connection, images).c.id)))
    )
    moment, found = now(), {}
    for row in connection.execute(query):
        if row.embargo_until is not None and row.embargo_until > moment:
            found[row.pk] = f"under embargo until {row.embargo_until}"
        elif row.licence is not None and forbids(row.licence):
            found[row.pk] = f"its licence forbids it: {row.licence}"
    return found


def forbids(licence: str) -> bool:
    """Return whether a licence says that data may not be given away."""
    said = " ".join(licence.casefold().replace("_", " ").split())
    return any(word in said for word in FORBIDDING)


def set_terms(engine: Engine, images: Sequence[int], values: Mapping[str, str | None]) -> int:
    """Write licence or embargo of images; return how many.

    Parameters
    ----------
    engine
        The catalog.
    images
        Local keys.
    values
        ``licence`` and ``embargo_until``; what is not there stays, None takes it away.

    Raises
    ------
    UsageError
        Nothing is asked for, or the embargo is no date.
    """
    written: dict[str, Any] = dict(values)
    if not written:
        raise UsageError("which terms? give licence=..., embargo_until=..., or both")
    if written.get("embargo_until") is not None:
        written["embargo_until"] = _moment(written["embargo_until"])
    with writing(engine) as connection:
        mine = m.pk.in_(sa.select(id_list(connection, images).c.id))
        changed = connection.execute(micrograph.update().where(mine, m.deleted_at.is_(None)).values(written))
        record(connection, "terms", "micrograph", detail={**written, "images": changed.rowcount})
    return changed.rowcount


def _moment(text: str) -> str:
    """Return a date or moment as the catalog has moments: ISO 8601 in UTC."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(f"{text!r} is no date; write 2030-06-30, or 2030-06-30T12:00+02:00") from error
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return aware.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
