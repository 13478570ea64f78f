"""Alembic's entry: runs revisions on the connection that `micdb.catalog.schema` hands over."""

from __future__ import annotations

from alembic import context

from micdb.catalog import results, tables
from micdb.catalog.columns import metadata

if not (tables and results):  # importing them fills `metadata`
    raise RuntimeError("the catalog has no tables")

connection = context.config.attributes.get("connection")
if connection is None:
    raise RuntimeError("run migrations through: micdb upgrade --db DIR")

context.configure(
    connection=connection,
    target_metadata=metadata,
    render_as_batch=connection.dialect.name == "sqlite",  # SQLite cannot alter columns in place
    transactional_ddl=True,
)
context.run_migrations()
