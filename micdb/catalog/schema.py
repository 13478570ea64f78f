"""Create, check and upgrade the schema. Revisions live in `micdb.migrations`, one history for all engines."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from micdb.catalog.engine import reading, writing
from micdb.errors import ForeignDatabaseError, NewSchemaError, OldSchemaError
from micdb.provenance import package_version

if TYPE_CHECKING:
    from alembic.config import Config

# Every revision this micdb knows, oldest first; the last is the one it reads and writes.
REVISIONS = ("0001",)
HEAD = REVISIONS[-1]


def create(engine: Engine) -> None:
    """Create the schema in an empty database."""
    with writing(engine) as connection:
        _upgrade(connection)


def upgrade(engine: Engine) -> str | None:
    """Bring an older schema to `HEAD` in one transaction; return the revision it had.

    Raises
    ------
    NewSchemaError, ForeignDatabaseError
        There is nothing this micdb may do to it.
    """
    with writing(engine) as connection:
        before = revision(connection)
        try:
            _check(connection, before, name=str(engine.url.database))
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
        raise ForeignDatabaseError(f"{name} is not a micdb database: {holds}; make one with: micdb init DIR")
    if found in REVISIONS:
        raise OldSchemaError(
            f"{name} has schema {found}, this micdb ({package_version()}) needs {HEAD}; "
            f"upgrade it (a backup is kept) with: micdb upgrade --db {name}"
        )
    raise NewSchemaError(
        f"{name} has schema {found}, newer than this micdb ({package_version()}) knows ({HEAD}); "
        "upgrade the program with: pip install --upgrade micdb"
    )


def _upgrade(connection: Connection) -> None:
    from alembic import command

    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _config() -> Config:
    from alembic.config import Config

    config = Config()
    # A resource name, not an import: the catalog lies below the migrations.
    config.set_main_option("script_location", str(files("micdb.migrations")))
    config.set_main_option("path_separator", "os")
    return config
