"""Rows of drawings in the catalog. Callers hold the transaction."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pandas as pd
import sqlalchemy as sa
from sqlalchemy import Connection, Row

from micdb.catalog.results import annotation
from micdb.catalog.tables import micrograph, person
from micdb.corrections.log import annotate
from micdb.errors import UsageError
from micdb.masks import Mask

TARGET, VERB = "micrograph", "draw"
_A = annotation.c


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """A mask, and the image it is of.

    Parameters
    ----------
    image, name
        uid and name of the micrograph.
    frame
        Of a stack, from 0.
    kind
        ``phases`` or ``objects``.
    mask
        What was drawn.
    """

    image: str
    name: str
    frame: int
    kind: str
    mask: Mask


def keep(connection: Connection, one: Drawn, by: str | None) -> str:
    """Write a drawing; return the uid of the annotation."""
    before = standing(connection, one.image, one.kind, one.frame)
    value = {"kind": one.kind, "frame": one.frame, **one.mask.as_json()}
    supersedes = None if before is None else before.uid
    return annotate(connection, VERB, one.image, by, value=value, table=TARGET, supersedes=supersedes).uid


def standing(connection: Connection, image: str, kind: str, frame: int) -> Row[Any] | None:
    """Return the last drawing of a kind that is not undone."""
    query = _alive().where(_A.target_uid == image).order_by(_A.pk.desc())
    for row in connection.execute(query):
        if row.value["kind"] == kind and row.value["frame"] == frame:
            return row
    return None


def undo(connection: Connection, uid: str, by: str | None) -> None:
    """Write that a drawing is undone.

    Raises
    ------
    UsageError
        There is none of that uid, or it is undone.
    """
    row = connection.execute(
        sa.select(annotation).where(_A.uid == uid, _A.target_table == TARGET, _A.verb == VERB)
    ).first()
    if row is None:
        raise UsageError(f"there is no drawing {uid!r}: db.annotations.drawings() has their uids")
    if connection.execute(_alive().where(_A.uid == uid)).first() is None:
        raise UsageError(f"drawing {uid} is undone already")
    annotate(connection, "undo", row.target_uid, by, table=TARGET, supersedes=uid)


def listed(connection: Connection) -> pd.DataFrame:
    """Return the drawings that stand; the columns are those of `Annotations.drawings`."""
    columns = ["uid", "image", "name", "kind", "frame", "classes", "by", "at"]
    told = [
        {
            "uid": row.uid,
            "image": row.target_uid,
            "name": row.image_name,
            **{name: row.value[name] for name in ("kind", "frame", "classes")},
            "by": row.person_name,
            "at": row.created_at,
        }
        for row in _last(connection)
    ]
    return pd.DataFrame(told, columns=columns)


def drawn(connection: Connection) -> Iterator[Drawn]:
    """Yield the drawings that stand, oldest first."""
    for row in _last(connection):
        value = row.value
        yield Drawn(row.target_uid, row.image_name, value["frame"], value["kind"], Mask.from_json(value))


def _last(connection: Connection) -> list[Row[Any]]:
    last: dict[tuple[str, str, int], Row[Any]] = {}
    for row in connection.execute(_alive().order_by(_A.pk)):
        key = (row.target_uid, row.value["kind"], row.value["frame"])
        last.pop(key, None)
        last[key] = row
    return list(last.values())


def _alive() -> sa.Select[Any]:
    undone = annotation.alias("undone")
    return (
        sa.select(annotation, micrograph.c.name.label("image_name"), person.c.name.label("person_name"))
        .join(micrograph, micrograph.c.uid == _A.target_uid)
        .outerjoin(person, person.c.pk == _A.person_pk)
        .where(
            _A.target_table == TARGET,
            _A.verb == VERB,
            micrograph.c.deleted_at.is_(None),
            ~sa.exists().where(undone.c.supersedes_uid == _A.uid, undone.c.verb == "undo"),
        )
    )
