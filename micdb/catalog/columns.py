"""How micdb spells a column: type, unit and meaning stand together, so `docs/schema.md` cannot drift."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, BigInteger, Column, ForeignKey, Integer, MetaData
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.types import Float, String, TypeEngine

from micdb.provenance import now

NAMING = {
    "ix": "ix_%(column_0_label)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}
metadata = MetaData(naming_convention=NAMING)

# SQLite gives automatic row ids to INTEGER only; PostgreSQL needs 64 bits spelled out.
Key = BigInteger().with_variant(Integer(), "sqlite")
Json = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")
Text = String()
Moment = String(32)  # ISO 8601 text: sorts as time, and survives every driver unchanged


def column(
    name: str, kind: TypeEngine[Any] | type[TypeEngine[Any]], comment: str, *extra: Any, **options: Any
) -> Column[Any]:
    """Return a column with its meaning; pass ``unit="nm"`` for a physical quantity."""
    unit = options.pop("unit", None)
    return Column(name, kind, *extra, comment=comment, info={"unit": unit}, **options)


def number(name: str, unit: str | None, comment: str) -> Column[Any]:
    """Return a nullable float column; None is "unknown", never a default."""
    return column(name, Float(53), comment, unit=unit)


def key() -> Column[Any]:
    """Return the local surrogate key; it never leaves the database."""
    return column("pk", Key, "local key; never leaves this database", primary_key=True)


def uid() -> Column[Any]:
    """Return the global identifier."""
    return column("uid", String(36), "UUIDv7, time-ordered, global", unique=True, nullable=False)


def changed() -> Column[Any]:
    """Return the moment of the last change; every update writes it that does not say another one."""
    return column("changed_at", Moment, "when anything in it was changed last; NULL: never", onupdate=now)


def refers(target: str, comment: str, *, name: str | None = None, **options: Any) -> Column[Any]:
    """Return an indexed foreign key named ``<table>_pk`` unless `name` says otherwise."""
    options.setdefault("index", not options.get("primary_key", False))
    return column(name or f"{target}_pk", Key, comment, ForeignKey(f"{target}.pk"), **options)
