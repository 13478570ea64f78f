"""Create, check and upgrade the schema. Revisions live in `micdb.migrations`, one history for all engines."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy import Connection, Engine
from sqlalchemy.schema import SetColumnComment, SetTableComment

from micdb.catalog.columns import metadata
from micdb.catalog.engine import place, reading, restructuring
from micdb.catalog.tables import setting
from micdb.errors import ForeignDatabaseError, NewSchemaError, OldSchemaError, UsageError
from micdb.provenance import package_version

if TYPE_CHECKING:
    from alembic.config import Config

# Every revision this micdb knows, oldest first; the last is the one it reads and writes.
REVISIONS = ("0001", "0002", "0003", "0004", "0005", "0006", "0007", "0008", "0009")
HEAD = REVISIONS[-1]


def create(engine: Engine, settings: Mapping[str, Any] | None = None, *, at: str = HEAD) -> None:
    """Create the schema in an empty database, with what it should know about itself, in one transaction.

    Parameters
    ----------
    engine
        The catalog.
    settings
        Rows of the table of settings.
    at
        An older revision, for rows of an older micdb that are to be upgraded.

    Raises
    ------
    UsageError
        There are tables in it already; nothing is changed.
    """
    with restructuring(engine) as connection:
        tables = sorted(sa.inspect(connection).get_table_names())
        if tables:
            ours = "alembic_version" in tables
            what = "is a micdb database already" if ours else f"holds the tables {', '.join(tables[:5])}"
            raise UsageError(f"{place(engine)} {what}; give the name of an empty database")
        _upgrade(connection, at)
        for name, value in (settings or {}).items():
            connection.execute(setting.insert(), {"name": name, "value": value})


def upgrade(engine: Engine) -> str | None:
    """Bring an older schema to `HEAD` in one transaction; return the revision it had.

    Raises
    ------
    NewSchemaError, ForeignDatabaseError
        There is nothing this micdb may do to it.
    """
    with restructuring(engine) as connection:
        before = revision(connection)
        try:
            _check(connection, before, name=place(engine))
        except OldSchemaError:
            _upgrade(connection)
    return before


def check(engine: Engine, *, name: str) -> None:
    """Refuse a catalog that this micdb must not touch.

    Parameters
    ----------
    engine
        The catalog.
    name
        What the user called it, for the message.

    Raises
    ------
    OldSchemaError
        An older micdb wrote it; the message is the command that upgrades it.
    NewSchemaError
        A newer micdb wrote it; the message says how to upgrade micdb.
    ForeignDatabaseError
        It is some other database.
    """
    with reading(engine) as connection:
        _check(connection, revision(connection), name=name)


def revision(connection: Connection) -> str | None:
    """Return the schema revision, or None when the database has none."""
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()


def _check(connection: Connection, found: str | None, *, name: str) -> None:
    if found == HEAD:
        return
    if found is None:
        tables = sa.inspect(connection).get_table_names()
        holds = f"it holds the tables {', '.join(sorted(tables)[:5])}" if tables else "it is empty"
        make = "micdb init DIR" if connection.dialect.name == "sqlite" else "micdb init ADDRESS --folder DIR"
        raise ForeignDatabaseError(f"{name} is not a micdb database: {holds}; make one with: {make}")
    if found in REVISIONS:
        kept = "a backup is kept" if connection.dialect.name == "sqlite" else "make a backup first: pg_dump"
        raise OldSchemaError(
            f"{name} has schema {found}, this micdb ({package_version()}) needs {HEAD}; "
            f"upgrade it ({kept}) with: micdb upgrade --db {name}"
        )
    raise NewSchemaError(
        f"{name} has schema {found}, newer than this micdb ({package_version()}) knows ({HEAD}); "
        "upgrade the program with: pip install --upgrade micdb"
    )


def _upgrade(connection: Connection, to: str = HEAD) -> None:
    from alembic import command

    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, to)
    if to == HEAD and connection.dialect.supports_comments:
        _explain(connection)


def _explain(connection: Connection) -> None:
    """Write what tables and columns mean, for people who look at the server with other programs."""
    comments: list[SetTableComment | SetColumnComment] = []
    for table in metadata.sorted_tables:
        comments += [SetTableComment(table), *map(SetColumnComment, table.columns)]
    said = (str(comment.compile(dialect=connection.dialect)) for comment in comments)
    connection.connection.cursor().execute(";\n".join(said))


def _config() -> Config:
    from alembic.config import Config

    config = Config()
    # A resource name, not an import: the catalog lies below the migrations.
    config.set_main_option("script_location", str(files("micdb.migrations")))
    config.set_main_option("path_separator", "os")
    return config
