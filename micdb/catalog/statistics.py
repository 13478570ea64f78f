"""What SQLite knows of a catalog's size: counted again whenever a table has doubled.

Without it SQLite takes every index for equally good: that of the run, which holds a million rows, and that
of the image, which holds five. PostgreSQL counts by itself.
"""

from __future__ import annotations

from sqlalchemy import Connection, Engine

from micdb.catalog.engine import reading, writing

FEW = 1000  # rows of a table that no statistics are kept of
MANY = 200_000  # rows of a table that is sampled: counting it whole would hold the write lock too long
SAMPLE = 1000  # entries of each index that are read then


def refresh(engine: Engine) -> list[str]:
    """Count the tables that have doubled since they were counted, and return their names.

    Asking costs the same in a large catalog as in a small one, so that it may follow every larger write.
    """
    if engine.dialect.name != "sqlite":
        return []
    with reading(engine) as connection:
        if not _outgrown(connection):
            return []
    with writing(engine) as connection:
        grown = _outgrown(connection)
        for table, rows in grown.items():
            connection.exec_driver_sql(f"PRAGMA analysis_limit = {SAMPLE if rows > MANY else 0}")
            connection.exec_driver_sql(f'ANALYZE "{table}"')
            if rows > MANY:
                _agree(connection, table, rows)
    return list(grown)


def _agree(connection: Connection, table: str, rows: int) -> None:
    """Mend the statistics of a sampled table.

    Of a sample SQLite guesses the number of rows from how many entries a page holds, for each index
    differently and up to twenty times too many; and of an entry that more rows have than it reads, such as a
    run's millions of defects, it knows no more than that. It compares these numbers when it chooses an index.
    """
    text = (
        "SELECT idx, stat FROM sqlite_stat1 WHERE tbl = ?"
        " AND idx IN (SELECT name FROM pragma_index_list(?) WHERE NOT partial)"  # which has all rows
    )
    for index, stat in connection.exec_driver_sql(text, (table, table)).all():
        mean = [int(number) for number in stat.split()[1:]]
        for width, number in enumerate(mean, 1):
            found = _different(connection, table, index, width) if number > SAMPLE else None
            if found is not None:
                mean[width - 1] = max(rows // found, 1)
        written = " ".join(map(str, [rows, *mean]))
        connection.exec_driver_sql("UPDATE sqlite_stat1 SET stat = ? WHERE idx = ?", (written, index))
    connection.exec_driver_sql("ANALYZE sqlite_schema")  # reads them again


def _different(connection: Connection, table: str, index: str, width: int) -> int | None:
    """Return how many different entries the first columns of an index have; None where they are many."""
    entries = connection.exec_driver_sql("SELECT name FROM pragma_index_info(?) ORDER BY seqno", (index,))
    names = [f'"{name}"' for name in entries.scalars().all()[:width]]
    columns, places = ", ".join(names), ", ".join("?" * width)
    known = " AND ".join(f"{name} IS NOT NULL" for name in names)
    ordered = f'SELECT {columns} FROM "{table}" WHERE {{}} ORDER BY {columns} LIMIT 1'  # noqa: S608 - of the schema
    first, after = ordered.format(known), ordered.format(f"({columns}) > ({places})")
    found, row = 0, connection.exec_driver_sql(first).first()
    while row is not None and found < SAMPLE:
        found, row = found + 1, connection.exec_driver_sql(after, tuple(row)).first()
    return None if row is not None else max(found, 1)


def _outgrown(connection: Connection) -> dict[str, int]:
    """Return the rows of each table that is at least twice as large as when it was counted."""
    names = connection.exec_driver_sql("SELECT name FROM sqlite_schema WHERE type = 'table'").scalars().all()
    known: dict[str, int] = {}
    if "sqlite_stat1" in names:
        for table, stat in connection.exec_driver_sql("SELECT tbl, stat FROM sqlite_stat1"):
            known[table] = max(known.get(table, 0), int(stat.split()[0]))
    found = {}
    for table in names:
        if table.startswith("sqlite_"):
            continue
        largest = connection.exec_driver_sql(f'SELECT max(rowid) FROM "{table}"').scalar() or 0  # noqa: S608
        if largest >= max(FEW, 2 * known.get(table, 0)):
            found[table] = int(largest)
    return found
