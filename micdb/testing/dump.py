"""The logical content of a database: two with equal dumps are the same database.

What is left out is how the database came to be: local and global keys, times, who worked, how often
an item was tried, the order of rows, where files are, and how derived rows are batched into parts. What
stays is everything a query could return.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Engine, RowMapping, Table

from micdb.catalog import results, tables
from micdb.catalog.columns import metadata
from micdb.catalog.engine import CATALOG, reading, sqlite_engine
from micdb.store.parts import read_part

# Columns that say when, by whom or where, not what.
CIRCUMSTANCES = {
    "pk", "uid", "created_at", "changed_at", "ingested_at", "finished_at", "expires_at", "at", "actor", "seq",
    "seconds", "attempt", "worker", "lease_until", "natural_key",
}  # fmt: skip
# Moments whose presence is a fact.
MARKS = {"retired_at", "deleted_at"}
# Columns by which a row of another table is called; a table that is not here is called by its whole row.
NAMES = {
    "lab": ("name",),
    "person": ("name",),
    "instrument": ("name", "vendor", "lab"),
    "material": ("name",),
    "sample": ("name", "lab"),
    "processing_step": ("sample", "position", "kind"),
    "acquisition": ("source_sha256",),
    "property_def": ("name",),
    "model": ("model_hash",),
    "run": ("run_key",),
}

Names = dict[str, dict[int, str]]


def dump(database: Path, engine: Engine | None = None) -> dict[str, list[str]]:
    """Return every fact of a database, by table: sorted rows, each as one line of JSON.

    Parameters
    ----------
    database
        The folder; nobody needs to have it open, and nothing is written.
    engine
        The catalog, where it is not in the folder.

    Returns
    -------
    dict
        Catalog tables by name, and each derived table under ``parts/<name>``. Rows refer to others by
        what they are, never by key: an image by its original file and position.
    """
    catalog = engine or sqlite_engine(database / CATALOG)
    try:
        with reading(catalog) as connection:
            objects = sa.select(tables.object_.c.pk, tables.object_.c.sha256)
            names: Names = {"object": {row.pk: row.sha256 for row in connection.execute(objects)}}
            facts = {
                table.name: sorted(_rows(connection, table, names))
                for table in metadata.sorted_tables
                if table not in (results.part, tables.object_, tables.setting)
            }
            facts["object"] = sorted(_original_objects(connection))
            return facts | _parts(connection, database, names)
    finally:
        if engine is None:
            catalog.dispose()


def _rows(connection: Connection, table: Table, names: Names) -> Iterator[str]:
    """Yield the rows of a table, and learn what each is called by the tables that refer to it."""
    called = names.setdefault(table.name, {})
    call = _image_names(connection) if table is tables.micrograph else None
    for row in connection.execute(sa.select(table)).mappings():
        fact = _fact(table, row, names)
        if "pk" in row:
            shown = {name: fact[name] for name in NAMES.get(table.name, fact)}
            called[row["pk"]] = call(row["pk"]) if call else _line(shown)
        yield _line(fact)


def _fact(table: Table, row: RowMapping, names: Names) -> dict[str, Any]:
    fact: dict[str, Any] = {}
    for column in table.columns:
        value = row[column.name]
        if column.name in CIRCUMSTANCES or (table is tables.source and column.name == "path"):
            continue
        if column.name in MARKS:
            fact[column.name] = value is not None
        elif column.foreign_keys:
            (key,) = column.foreign_keys
            target = key.column.table.name
            fact[column.name.removesuffix("_pk")] = None if value is None else names[target][value]
        elif column.name == "source_name":
            fact[column.name] = Path(value).name
        else:
            fact[column.name] = value
    return fact


def _image_names(connection: Connection) -> Callable[[int], str]:
    """Return what an image is called: the hash of its first original file, and its position there."""
    s = tables.source.c
    query = sa.select(s.micrograph_pk, s.sha256, s.position).order_by(s.sha256.desc(), s.position.desc())
    first = {pk: f"{sha256}:{position}" for pk, sha256, position in connection.execute(query)}
    return lambda pk: first.get(pk, "an image without a source")


def _original_objects(connection: Connection) -> Iterator[str]:
    """Yield every object but the parts, whose bytes depend on which images met in a batch."""
    o = tables.object_.c
    is_part = sa.exists().where(results.part.c.object_pk == o.pk)
    query = sa.select(o.sha256, o.path, o.size, o.media_type, o.state).where(~is_part)
    for row in connection.execute(query).mappings():
        yield _line(dict(row))


def _parts(connection: Connection, database: Path, names: Names) -> dict[str, list[str]]:
    p, o = results.part.c, tables.object_.c
    query = sa.select(p.table_name, o.path).join_from(results.part, tables.object_)
    facts: dict[str, list[str]] = {}
    for table_name, path in connection.execute(query):
        lines = facts.setdefault(f"parts/{table_name}", [])
        for row in read_part(database / path).to_pylist():
            called = {
                "run": names["run"].get(row["run"], row["run"]),
                "image": names["micrograph"].get(row["image"], row["image"]),
            }
            lines.append(_line(row | called))
    return {name: sorted(lines) for name, lines in sorted(facts.items())}


def _line(fact: Mapping[str, Any]) -> str:
    return json.dumps(fact, sort_keys=True, ensure_ascii=False, default=str)
