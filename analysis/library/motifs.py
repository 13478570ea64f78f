"""The library in the catalog: motifs, and which defects belong to them. Callers hold the transaction."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy import Connection

from micdb import config
from micdb.catalog.results import defect, defect_motif
from micdb.catalog.rows import add, find_or_add, id_list, record
from micdb.catalog.tables import person
from micdb.errors import UsageError, suggestion

STATUSES = ("proposed", "accepted", "retired")


class Motif(NamedTuple):
    """A motif as the catalog has it.

    Parameters
    ----------
    pk, uid, name
        Its key, its identity everywhere, its name.
    definition
        See `micdb.analysis.library.definition`.
    status
        One of `STATUSES`.
    curator
        Who made or last changed it.
    """

    pk: int
    uid: str
    name: str
    definition: dict[str, Any]
    status: str
    curator: str | None


def motifs(connection: Connection, *, retired: bool = False) -> list[Motif]:
    """Return the motifs by name; retired ones only when asked for."""
    m = defect_motif.c
    query = sa.select(m.pk, m.uid, m.name, m.definition, m.status, person.c.name).outerjoin(
        person, person.c.pk == m.person_pk
    )
    if not retired:
        query = query.where(m.status != "retired")
    return [Motif(*row) for row in connection.execute(query.order_by(m.name))]


def motif(connection: Connection, name: str) -> Motif:
    """Return a motif that is not retired.

    Raises
    ------
    UsageError
        There is none of that name; the message offers the nearest ones.
    """
    known = {one.name: one for one in motifs(connection)}
    if name not in known:
        have = suggestion(name, known) if known else "; the library is empty: call db.library.build()"
        raise UsageError(f"there is no motif {name!r}{have}")
    return known[name]


def require_free(connection: Connection, name: str) -> None:
    """Refuse a name that is empty or taken, with `UsageError`."""
    if not name.strip():
        raise UsageError("the name of a motif is empty; give it one, for example 'Si1C3'")
    taken = {one.name: one.status for one in motifs(connection, retired=True)}
    if name in taken:
        raise UsageError(
            f"there is a motif {name!r} already ({taken[name]}): choose another name, or rename that one"
        )


def insert(
    connection: Connection, name: str, definition: Mapping[str, Any], *, status: str = "proposed"
) -> int:
    """Add a motif and return its key.

    Raises
    ------
    UsageError
        The name is empty, or taken.
    """
    require_free(connection, name)
    row = {"name": name, "definition": dict(definition), "status": status, "person_pk": _curator(connection)}
    pk = add(connection, defect_motif, row)
    record(connection, "add", "defect_motif", detail={"name": name, "definition": dict(definition)})
    return pk


def change(connection: Connection, pk: int, **values: Any) -> None:
    """Change name, definition or status of a motif."""
    connection.execute(
        defect_motif.update().where(defect_motif.c.pk == pk).values(**values, person_pk=_curator(connection))
    )
    record(connection, "change", "defect_motif", detail={"pk": pk, **values})


def remove(connection: Connection, one: Motif) -> None:
    """Take away a motif whose place others take; no defect may belong to it any more."""
    connection.execute(defect_motif.delete().where(defect_motif.c.pk == one.pk))
    record(connection, "remove", "defect_motif", uid=one.uid, detail={"name": one.name})


def put(connection: Connection, members: Iterable[int], motif_pk: int | None) -> None:
    """Say which motif defects belong to, by their keys."""
    wanted = sa.select(id_list(connection, members).c.id)
    connection.execute(defect.update().where(defect.c.pk.in_(wanted)).values(defect_motif_pk=motif_pk))


def move(connection: Connection, motifs: Iterable[int], into: int | None) -> None:
    """Put every defect of some motifs into another one, or into none: those of older runs as well."""
    mine = defect.c.defect_motif_pk.in_(list(motifs))
    connection.execute(defect.update().where(mine).values(defect_motif_pk=into))


def _curator(connection: Connection) -> int:
    return find_or_add(connection, person, {"name": config.load().actor})
