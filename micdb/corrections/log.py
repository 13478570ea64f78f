"""Annotations: written, looked up, listed; never changed. Callers hold the transaction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
import sqlalchemy as sa
from sqlalchemy import Connection, Row

from micdb import config
from micdb.catalog.results import annotation
from micdb.catalog.rows import add, find_or_add, record
from micdb.catalog.tables import person
from micdb.errors import UsageError
from micdb.provenance import now, uuid7

Found = Row[Any]
TARGET = "defect"


@dataclass(frozen=True, slots=True)
class Correction:
    """One correction that was written.

    Parameters
    ----------
    uid
        Of the annotation: what `Corrections.undo` takes.
    verb
        ``accept``, ``reject``, ``relabel``, ``move``, ``add`` or ``undo``.
    target
        uid of the defect it speaks of.
    defect
        uid of the defect that stands for it now; None when none does.
    """

    uid: str
    verb: str
    target: str
    defect: str | None

    def as_json(self) -> dict[str, str | None]:
        """Return it as plain JSON values."""
        return {"uid": self.uid, "verb": self.verb, "target": self.target, "defect": self.defect}


def annotate(
    connection: Connection,
    verb: str,
    target: str,
    by: str | None,
    *,
    stands: str | None = None,
    value: Mapping[str, Any] | None = None,
    supersedes: str | None = None,
    table: str = TARGET,
) -> Correction:
    """Write an annotation.

    Parameters
    ----------
    connection
        A write transaction.
    verb, target
        As in `Correction`.
    by
        Who says so; the user of the computer unless given.
    stands
        uid of the defect that stands now.
    value
        ``before``, the state of the row until now; ``made``, the uid of a new row; ``said``, what it says;
        ``carried``, the uid of the defect of another run that it was said of first.
    supersedes
        uid of the annotation that it undoes or stands for; that before it unless given.
    table
        Of the row that it speaks of.
    """
    who = find_or_add(connection, person, {"name": by or config.load().actor})
    before = latest(connection, target) if supersedes is None and table == TARGET else None
    uid = uuid7()
    row = {
        "uid": uid,
        "target_table": table,
        "target_uid": target,
        "verb": verb,
        "value": {name: one for name, one in (value or {}).items() if one is not None and one != {}},
        "person_pk": who,
        "created_at": now(),
        "supersedes_uid": supersedes or (None if before is None else before.uid),
    }
    add(connection, annotation, row)
    record(connection, verb, table, uid=target, detail={"annotation": uid})
    return Correction(uid, verb, target, stands)


def latest(connection: Connection, target: str) -> Found | None:
    """Return the last annotation of a row that is not undone."""
    a, undone = annotation.c, annotation.alias("undone")
    query = (
        sa.select(annotation)
        .where(
            a.target_table == TARGET,
            a.target_uid == target,
            a.verb != "undo",
            ~sa.exists().where(undone.c.supersedes_uid == a.uid, undone.c.verb == "undo"),
        )
        .order_by(a.pk.desc())
    )
    return connection.execute(query).first()


def annotation_of(connection: Connection, uid: str) -> Found:
    """Return an annotation that can be undone.

    Raises
    ------
    UsageError
        There is none of that uid, or it is an undo, or undone.
    """
    a = annotation.c
    row = connection.execute(sa.select(annotation).where(a.uid == uid, a.target_table == TARGET)).first()
    if row is None:
        raise UsageError(f"there is no correction {uid!r}: db.corrections.history() has their uids")
    if row.verb == "undo":
        raise UsageError(f"{uid} is an undo itself: correct the defect again instead")
    undone = connection.execute(sa.select(a.uid).where(a.supersedes_uid == uid, a.verb == "undo")).scalar()
    if undone is not None:
        raise UsageError(f"{row.verb} {uid} is undone already")
    return row


def listed(connection: Connection) -> pd.DataFrame:
    """Return all corrections, oldest first; the columns are those of `Corrections.history`."""
    a, undone = annotation.c, annotation.alias("undone")
    query = (
        sa.select(
            a.uid, a.verb, a.target_uid, a.value, person.c.name, a.created_at, undone.c.uid.label("undo")
        )
        .outerjoin(person, person.c.pk == a.person_pk)
        .outerjoin(undone, sa.and_(undone.c.supersedes_uid == a.uid, undone.c.verb == "undo"))
        .where(a.target_table == TARGET)
        .order_by(a.pk)
    )
    told = [
        (
            row.uid,
            row.verb,
            row.target_uid,
            row.value.get("made"),
            row.value.get("said"),
            row.name,
            row.created_at,
            row.undo is not None,
        )
        for row in connection.execute(query)
    ]
    return pd.DataFrame(told, columns=["uid", "verb", "target", "defect", "value", "by", "at", "undone"])


def of_defect(table: pd.DataFrame, uid: str) -> pd.DataFrame:
    """Return the corrections of a defect, of what it replaced, and of what replaced it."""
    linked = table[table["defect"].notna() & (table["verb"] != "add")]
    pairs = list(zip(linked["target"], linked["defect"], strict=True))
    chain = {uid}
    while grown := {end for pair in pairs if chain & set(pair) for end in pair} - chain:
        chain |= grown
    return table[table["target"].isin(chain)].reset_index(drop=True)
