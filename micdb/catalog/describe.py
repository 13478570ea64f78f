"""docs/schema.md, written from the tables themselves: ``python -m micdb.catalog.describe``."""

from __future__ import annotations

import sys

from sqlalchemy import Column, Table
from sqlalchemy.types import TypeEngine

from micdb.catalog import results, tables
from micdb.catalog.columns import metadata
from micdb.catalog.schema import HEAD

HEADING = f"""# Tables

Written by `make docs` from `micdb/catalog/`; a test compares the two. Schema revision {HEAD}.

Entities that people and instruments bring come first, then what runs derive: a derived row always
names its run. Unknown is NULL, never a default. Times are ISO 8601 text. `pk` and `*_pk` are local to
one database; `uid` and `sha256` are what travels. Atoms, bonds and embeddings are Parquet files named
by `part` rows; their columns stand in `micdb/populate/facts.py`.
"""


def describe() -> str:
    """Return the page."""
    order = [*_tables_of(tables), *_tables_of(results)]
    missing = set(metadata.tables.values()) - set(order)
    if missing:
        raise LookupError(f"tables outside tables.py and results.py: {missing}")
    return "\n".join([HEADING, *(_section(table) for table in order)])


def _tables_of(module: object) -> list[Table]:
    return [value for value in vars(module).values() if isinstance(value, Table)]


def _section(table: Table) -> str:
    lines = [f"## {table.name}", "", str(table.comment), ""]
    lines += ["| column | type | unit | meaning |", "|---|---|---|---|"]
    lines += [_row(column) for column in table.columns]
    return "\n".join([*lines, ""])


def _row(column: Column[object]) -> str:
    flags = []
    if column.primary_key:
        flags.append("key")
    elif not column.nullable:
        flags.append("never NULL")
    flags += [f"refers to {key.target_fullname}" for key in column.foreign_keys]
    note = f" ({', '.join(flags)})" if flags else ""
    unit = column.info.get("unit") or ""
    return f"| `{column.name}` | {_type(column.type)} | {unit} | {column.comment}{note} |"


def _type(kind: TypeEngine[object]) -> str:
    names = {
        "BigInteger": "integer",
        "Float": "number",
        "String": "text",
        "JSON": "JSON",
        "LargeBinary": "bytes",
    }
    return names.get(type(kind).__name__, type(kind).__name__.lower())


if __name__ == "__main__":
    sys.stdout.write(describe())
