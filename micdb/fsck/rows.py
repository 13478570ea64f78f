"""Checks inside the catalog: schema, references, jobs and properties."""

from __future__ import annotations

from collections.abc import Iterator

import sqlalchemy as sa
from sqlalchemy import Connection

from micdb import units
from micdb.catalog import results, schema
from micdb.catalog.engine import reading, writing
from micdb.catalog.results import part, rollup, run_item
from micdb.catalog.tables import micrograph, object_, property_def, property_value
from micdb.errors import CatalogError, UnitError
from micdb.fsck.report import Finding, Scope
from micdb.fsck.server import check_server
from micdb.provenance import now


def check_catalog(scope: Scope) -> Iterator[Finding]:
    """Find damage of the catalog itself; nothing else can be checked then."""
    try:
        with reading(scope.engine) as connection:
            if scope.engine.dialect.name == "sqlite":
                yield from _check_sqlite(connection)
            else:
                yield from check_server(connection)
            found = schema.revision(connection)
    except CatalogError as error:
        yield Finding("error", "catalog-damaged", "catalog", str(error))
        return
    if found != schema.HEAD:
        message = f"the schema is {found}, this micdb needs {schema.HEAD}; upgrade it with: micdb upgrade"
        yield Finding("error", "schema", "catalog", message)


def check_references(scope: Scope) -> Iterator[Finding]:
    """Find rows that speak of a file which is not live."""
    with reading(scope.engine) as connection:
        for table in (micrograph, part):
            query = (
                sa.select(table.c.uid, object_.c.path, object_.c.state)
                .join(object_, object_.c.pk == table.c.object_pk)
                .where(object_.c.state != "live")
            )
            for uid, path, state in connection.execute(query):
                message = f"its file {path} is {state}, not live; restore it from a backup"
                yield Finding("error", "object-not-live", f"{table.name} {uid}", message)


def check_leases(scope: Scope) -> Iterator[Finding]:
    """Find claims of workers that gave no sign in time; repair makes the images pending again."""
    expired = sa.and_(
        run_item.c.status == "claimed",
        sa.or_(run_item.c.lease_until.is_(None), run_item.c.lease_until < now()),
    )
    with (writing if scope.repair else reading)(scope.engine) as connection:
        for row in connection.execute(sa.select(run_item).where(expired)).all():
            yield Finding(
                "warning",
                "lease-expired",
                f"run {row.run_pk}, micrograph {row.micrograph_pk}",
                f"claimed by {row.worker} until {row.lease_until}; free it with: micdb fsck --repair",
                repaired=scope.repair,
            )
        if scope.repair:
            freed = {"status": "pending", "worker": None, "lease_until": None}
            connection.execute(sa.update(run_item).where(expired).values(freed))


def check_results(scope: Scope) -> Iterator[Finding]:
    """Note images that are done and have no row anywhere: possible, and worth a look."""
    kinds = (rollup, results.defect)
    has_row = [
        sa.exists().where(
            table.c.run_pk == run_item.c.run_pk, table.c.micrograph_pk == run_item.c.micrograph_pk
        )
        for table in kinds
    ]
    in_part = sa.exists().where(
        part.c.run_pk == run_item.c.run_pk,
        run_item.c.micrograph_pk.between(part.c.min_image, part.c.max_image),
    )
    query = sa.select(run_item.c.run_pk, run_item.c.micrograph_pk).where(
        run_item.c.status == "done", ~sa.or_(in_part, *has_row)
    )
    with reading(scope.engine) as connection:
        for run, image in connection.execute(query):
            subject = f"run {run}, micrograph {image}"
            yield Finding("info", "done-without-rows", subject, "done, and there is not one row of it")


def check_properties(scope: Scope) -> Iterator[Finding]:
    """Find properties of unknown unit, and values whose unit as given measures something else."""
    with reading(scope.engine) as connection:
        definitions = connection.execute(sa.select(property_def)).all()
        usable = {}
        for row in definitions:
            try:
                units.normalise(row.unit)
                usable[row.pk] = row
            except UnitError as error:
                yield Finding("error", "property-unit", f"property {row.name}", str(error))
        query = sa.select(property_value).where(property_value.c.retired_at.is_(None))
        for row in connection.execute(query):
            definition = usable.get(row.property_def_pk)
            if definition is None:
                continue
            trouble = _trouble(row, definition)
            if trouble is not None:
                yield Finding("error", "property-value", f"{definition.name} {row.uid}", trouble)


def _check_sqlite(connection: Connection) -> Iterator[Finding]:
    for (message,) in connection.exec_driver_sql("PRAGMA integrity_check").all():
        if message != "ok":
            yield Finding("error", "catalog-damaged", "catalog", f"{message}; restore it from a backup")
    for table, row, parent, _ in connection.exec_driver_sql("PRAGMA foreign_key_check").all():
        message = f"it refers to a row of {parent} that does not exist; restore the catalog from a backup"
        yield Finding("error", "foreign-key", f"{table} {row}", message)


def _trouble(row: sa.Row[tuple[object, ...]], definition: sa.Row[tuple[object, ...]]) -> str | None:
    given = row.value if definition.kind == "number" else row.text
    if given is None:
        return f"a {definition.kind} property without {definition.kind}"
    if definition.kind == "text" or row.raw is None:
        return None
    try:
        unit = units.parse(row.raw).unit
    except UnitError:  # the unit stood elsewhere, in a header or a map
        return None
    if unit is not None and not units.compatible(unit, definition.unit):
        return f"given as {row.raw!r}, kept in {definition.unit or 'no unit'}: different dimensions"
    return None
