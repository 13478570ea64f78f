"""Two versions of one row: one is current, the other is kept, and nothing is overwritten in silence."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pandas as pd
import sqlalchemy as sa
from sqlalchemy import Connection, Engine, Table

from micdb.catalog.engine import reading
from micdb.catalog.rows import add
from micdb.catalog.tables import conflict
from micdb.errors import UsageError, suggestion
from micdb.exchange.report import Disagreement, Imported
from micdb.exchange.shape import outer_name, reference
from micdb.provenance import canonical_json, now

POLICIES = ("ours", "theirs", "newest", "fail")


def check_policy(policy: str) -> None:
    """Refuse a policy that there is not."""
    if policy not in POLICIES:
        raise UsageError(f"no policy {policy!r} for conflicts{suggestion(policy, POLICIES)}")


def moment(row: Mapping[str, Any]) -> str:
    """Return when a row was written or changed last, as far as it says; else the time within its uid."""
    return max(
        _born(row["uid"]), *(row.get(name) or "" for name in ("created_at", "retired_at", "changed_at"))
    )


def _born(uid: str) -> str:
    """Return the time within a UUIDv7, RFC 9562; empty where it is none."""
    try:
        value = UUID(uid)
    except ValueError:
        return ""
    if value.version != 7:
        return ""
    made = datetime.fromtimestamp((value.int >> 80) / 1000, UTC)
    return made.isoformat(timespec="microseconds").replace("+00:00", "Z")


def choose(policy: str, ours: str, theirs: str) -> str:
    """Return which version stays current, ``ours`` or ``theirs``; `ours` and `theirs` are their moments."""
    if policy == "newest":
        return "theirs" if theirs > ours else "ours"
    return "theirs" if policy == "theirs" else "ours"


def keep(
    connection: Connection,
    report: Imported,
    found: Disagreement,
    *,
    policy: str,
    revision: Mapping[str, Any],
) -> bool:
    """Write a conflict unless it is known; return whether it is new.

    Parameters
    ----------
    connection
        A write transaction.
    report
        Where it is listed.
    found
        The conflict.
    policy
        By which it was decided.
    revision
        The version that is not current, as `named` gives it.

    Raises
    ------
    UsageError
        The policy is ``fail``.
    """
    if policy == "fail":
        name, (ours, theirs) = next(iter(found.columns.items()))
        raise UsageError(
            f"{found.entity} {found.row} is different in {report.source}: {name} is {theirs!r} there and "
            f"{ours!r} here; nothing was imported: choose a policy, ours, theirs or newest"
        )
    said = canonical_json([found.entity, found.row, found.kept, dict(revision)])
    digest = hashlib.sha256(said.encode()).hexdigest()
    held = connection.scalar(sa.select(conflict.c.pk).where(conflict.c.revision_hash == digest))
    if held is None:
        differing = {name: {"ours": a, "theirs": b} for name, (a, b) in found.columns.items()}
        row = {
            "entity": found.entity, "row_uid": found.row, "source": report.source, "differing": differing,
            "revision": dict(revision), "revision_hash": digest, "kept": found.kept, "policy": policy,
            "created_at": now(),
        }  # fmt: skip
        add(connection, conflict, row)
    told = Disagreement(found.entity, found.row, found.columns, found.kept, held is not None)
    report.conflicts.append(told)
    return held is None


def named(connection: Connection, table: Table, row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row of this database with uids for local keys."""
    made: dict[str, Any] = {}
    for column in table.columns:
        if column.name in ("pk", "object_pk") or column.name not in row:
            continue
        value, target = row[column.name], reference(column)
        if target is not None and value is not None:
            value = connection.scalar(sa.select(target.c.uid).where(target.c.pk == value))
        made[outer_name(column)] = value
    return made


def listed(engine: Engine) -> pd.DataFrame:
    """Return all conflicts, oldest first.

    Returns
    -------
    pandas.DataFrame
        One row for each column that differs: ``uid``, ``entity``, ``row`` (uid), ``source``, ``column``,
        ``ours``, ``theirs``, ``kept``, ``policy``, ``at``.
    """
    names = ["uid", "entity", "row", "source", "column", "ours", "theirs", "kept", "policy", "at"]
    with reading(engine) as connection:
        rows = connection.execute(sa.select(conflict).order_by(conflict.c.pk)).all()
    told = [
        (row.uid, row.entity, row.row_uid, row.source, name, pair["ours"], pair["theirs"], row.kept,
         row.policy, row.created_at)
        for row in rows
        for name, pair in sorted(row.differing.items())
    ]  # fmt: skip
    return pd.DataFrame(told, columns=names)
